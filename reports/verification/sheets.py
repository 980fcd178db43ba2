"""A workbook's cells on disk while it is verified, with what was recalculated beside them, and where its tables stand.

The Glossary says which columns a sheet has and what their cells are; a table is found by its row of headings, and goes
on to the first row without a cell. So tables are found whichever program saved the workbook, and wherever rows stand.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from ledger.refusals import LedgerError
from reports.cells.fields import without_number
from reports.verification.cells import SavedBook
from reports.verification.formulas import NotUnderstoodError
from reports.verification.rounding import rounded
from reports.verification.xml import CELLS

GLOSSARY = ("Where", "Heading", "Cells")
EXACT_HEADING = " (exact)"
EXACT_TEXT = r"^-?[0-9]{1,20}(\.[0-9]{1,18})?$"
"""An amount to its last digit, as the ledger's type of money holds it."""
TABLE_COLUMNS = pl.Schema(
    {
        "sheet": pl.String,
        "table": pl.String,
        "first": pl.UInt32,
        "last": pl.UInt32,
        "column": pl.UInt16,
        "heading": pl.String,
        "cells": pl.String,
        "exact_column": pl.UInt16,
    }
)
"""One row per column of each table: sheet, the table's name in the Glossary, first and last row of data, number and
heading of the column, what its cells are, and the column of its exact texts if it has one. A further table under the
headings of the first one of a sheet, such as its totals, has no word for its cells."""
_AGAIN = {"text": "again_text", "number": "again_number", "is_error": "again_is_error"}
_GROUP_ROWS = 50_000
_HELD_CELLS = 50_000
"""Cells of a sheet up to which they stay in memory, as they are asked for many times; more of them go to disk."""
_SAVED, _RECALCULATED = "saved", "again"


@dataclass
class Sheets:
    """The sheets of one workbook; `folder` takes their cells, `tables` has the columns TABLE_COLUMNS."""

    book: SavedBook
    folder: Path
    tables: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=TABLE_COLUMNS))
    _loaded: dict[tuple[str, int], pl.DataFrame] = field(default_factory=dict)
    _held: dict[tuple[str, str], pl.DataFrame] = field(default_factory=dict)
    _by_column: dict[str, dict[int, pl.DataFrame]] = field(default_factory=dict)
    _formulas: dict[str, pl.DataFrame] = field(default_factory=dict)
    _tables: dict[str, pl.DataFrame] = field(default_factory=dict)
    _columns: dict[str, list[Mapping[str, Any]]] = field(default_factory=dict)

    def keep(self, sheet: str) -> None:
        """Read a sheet as it was saved."""
        self._store(sheet, _SAVED, pl.concat([pl.DataFrame(schema=CELLS), *self.book.cells(sheet)]))
        if self.is_held(sheet):
            by_column = self._held[sheet, _SAVED].partition_by("column", as_dict=True, maintain_order=True)
            self._by_column[sheet] = {int(column): own for (column,), own in by_column.items()}

    def keep_recalculated(self, sheet: str, again: SavedBook) -> None:
        """Read what a recalculated copy has where the sheet has formulas: row, column, and again_text etc."""
        columns = [pl.col(name).alias(again) for name, again in _AGAIN.items()]
        is_formula = pl.col("formula").is_not_null()
        parts = [part.filter(is_formula) for part in again.cells(sheet)] if sheet in again.sheets else []
        cells = pl.concat([pl.DataFrame(schema=CELLS), *parts]).select("row", "column", *columns)
        self._store(sheet, _RECALCULATED, cells)

    def take_tables(self, tables: pl.DataFrame) -> None:
        """Take what `find_tables` has found (columns TABLE_COLUMNS)."""
        self.tables = tables
        for one in tables.iter_rows(named=True):
            self._columns.setdefault(one["sheet"], []).append(one)

    def columns(self, sheet: str) -> list[Mapping[str, Any]]:
        """The rows of `tables` of a sheet, one by one: there are few, and they are asked for many times."""
        return self._columns.get(sheet, [])

    def first_tables(self, name: str) -> list[Mapping[str, Any]]:
        """The columns of the first table with exact texts, or else of the first one, of a sheet or of all its parts."""
        names = [name] if name in self.book.sheets else [n for n in self.book.sheets if without_number(n) == name]
        parts = [one for sheet in names for one in self.columns(sheet) if one["cells"] is not None]
        first = dict[str, str]()
        for one in [one for one in parts if one["exact_column"] is not None] or parts:
            first.setdefault(one["sheet"], one["table"])
        return [one for one in parts if first.get(one["sheet"]) == one["table"]]

    def is_held(self, sheet: str) -> bool:
        """Whether the cells of a sheet are so few that they stay in memory."""
        return (sheet, _SAVED) in self._held

    def scan(self, sheet: str) -> pl.LazyFrame:
        """The cells of a sheet, by column and row."""
        return self._scan(sheet, _SAVED)

    def cells(self, sheet: str, columns: Iterable[int]) -> pl.DataFrame:
        """The cells of some columns of a sheet, by column and row."""
        wanted = sorted(set(columns))
        if sheet in self._by_column:
            by_column = self._by_column[sheet]
            parts = [by_column[column] for column in wanted if column in by_column]
            return pl.concat(parts) if parts else pl.DataFrame(schema=CELLS)
        return self.scan(sheet).filter(pl.col("column").is_in(wanted)).collect()

    def formulas(self, sheet: str) -> pl.DataFrame:
        """The cells of a sheet that hold a formula, with again_text, again_number, again_is_error: recalculated."""
        if sheet in self._formulas:
            return self._formulas[sheet]
        found = self.scan(sheet).filter(pl.col("formula").is_not_null()).collect()
        again = self._scan(sheet, _RECALCULATED).collect()
        joined = found.join(again, on=["row", "column"], how="left", maintain_order="left")
        if self.is_held(sheet):
            self._formulas[sheet] = joined
        return joined

    def table(self, name: str) -> pl.DataFrame:
        """The rows of the table of this name in the Glossary, the first of its sheet, all as text, by heading.

        There is one column more: row, that on the sheet. The frame is empty where there is no such table.
        """
        if name not in self._tables:
            self._tables[name] = self._table(name)
        return self._tables[name]

    def _table(self, name: str) -> pl.DataFrame:
        columns = self.tables.filter((pl.col("table") == name) & pl.col("cells").is_not_null())
        if columns.is_empty():
            return pl.DataFrame()
        sheet, first, last = columns.select("sheet", "first", "last").row(0)
        cells = self.cells(sheet, columns["column"]).filter(pl.col("row").is_between(first, last))
        value = pl.coalesce("text", pl.col("number").cast(pl.String))
        rows = pl.DataFrame({"row": range(first, last + 1)}, schema={"row": pl.UInt32})
        for column, heading in columns.select("column", "heading").iter_rows():
            one = cells.filter(pl.col("column") == column).select("row", value.alias(heading))
            rows = rows.join(one, on="row", how="left", maintain_order="left")
        return rows

    def read_by_formulas(self, sheet: str, column: int) -> pl.DataFrame:
        """A column of a sheet as a formula reads it: row, text, number, and error, as `verification_rounding` has it.

        Raises NotUnderstoodError where a formula names a sheet that is not there.
        """
        if sheet not in self.book.sheets:
            raise NotUnderstoodError(sheet)
        if (sheet, column) not in self._loaded:
            again = self._scan(sheet, _RECALCULATED).filter(pl.col("column") == column).drop("column").collect()
            found = self.cells(sheet, [column]).join(again, on="row", how="left", maintain_order="left")
            joined = found.join(self._exact(sheet, column), on="row", how="left", maintain_order="left")
            apart = pl.max_horizontal((pl.col("number") - pl.col("again_number", "exact")).abs()).fill_null(0.0)
            columns = ("row", "text", "number")
            self._loaded[sheet, column] = joined.select(*columns, error=apart + rounded(pl.col("number")))
        return self._loaded[sheet, column]

    def forget(self) -> None:
        """Give back the memory of the columns that formulas have read."""
        self._loaded.clear()

    def release(self) -> None:
        """Give back all memory, when the workbook has been verified."""
        for kept in (self._loaded, self._held, self._by_column, self._formulas, self._tables):
            kept.clear()

    def _exact(self, sheet: str, column: int) -> pl.DataFrame:
        """Row and exact amount, as the nearest number, of the cells beside those of a column."""
        here = self.tables.filter(
            (pl.col("sheet") == sheet) & (pl.col("column") == column) & pl.col("exact_column").is_not_null()
        )
        found = [pl.DataFrame(schema={"row": pl.UInt32, "exact": pl.Float64})]
        for one in here.iter_rows(named=True):
            texts = self.cells(sheet, [one["exact_column"]]).filter(pl.col("row").is_between(one["first"], one["last"]))
            found.append(texts.select("row", exact=pl.col("text").cast(pl.Float64, strict=False)))
        return pl.concat(found)

    def _store(self, sheet: str, which: str, cells: pl.DataFrame) -> None:
        """Keep cells by column and row."""
        ordered = cells.sort("column", "row")
        if ordered.height <= _HELD_CELLS:
            self._held[sheet, which] = ordered
        else:
            ordered.write_parquet(self._file(sheet, which), row_group_size=_GROUP_ROWS)

    def _scan(self, sheet: str, which: str) -> pl.LazyFrame:
        held = self._held.get((sheet, which))
        return pl.scan_parquet(self._file(sheet, which)) if held is None else held.lazy()

    def _file(self, sheet: str, which: str) -> Path:
        return self.folder / f"{which}-{list(self.book.sheets).index(sheet)}.parquet"


def find_tables(sheets: Sheets) -> tuple[pl.DataFrame, list[str]]:
    """The tables of a workbook (TABLE_COLUMNS), and the tables of the Glossary that it does not have, each in words.

    Raises LedgerError where the workbook has no Glossary: then it is none of this tool's.
    """
    glossary = told_columns(sheets)
    found, missing = [], []
    for (where,), columns in glossary.group_by("where", maintain_order=True):
        base = str(where).split(", ")[0]
        names = [name for name in sheets.book.sheets if base in (name, without_number(name))]
        if not names:
            missing.append(f"The sheet {base} is missing, or has another name; the Glossary tells of it.")
        for name in names:
            tables = _on_sheet(sheets, name, str(where), columns)
            found.append(tables)
            if tables.is_empty():
                missing.append(f"The sheet {name} has no row with the headings that the Glossary gives for {where}.")
    return pl.concat([pl.DataFrame(schema=TABLE_COLUMNS), *found]), missing


def told_columns(sheets: Sheets) -> pl.DataFrame:
    """What the Glossary tells of each column of a sheet: where, heading, cells.

    Raises LedgerError where there is none.
    """
    problem = f"{sheets.book.path}: this is no workbook of margin-ledger"
    if "Glossary" not in sheets.book.sheets or "Checks" not in sheets.book.sheets:
        raise LedgerError(f"{problem}: it has no sheet Glossary, or no sheet Checks")
    cells = sheets.cells("Glossary", [1, 2, 4])
    places = {"where": 1, "heading": 2, "cells": 4}
    named = cells.select(pl.col("row").unique().sort())
    for name, column in places.items():
        one = cells.filter(pl.col("column") == column).select("row", pl.col("text").alias(name))
        named = named.join(one, on="row", how="left", maintain_order="left")
    top = named.filter(pl.concat_str("where", "heading", "cells") == "".join(GLOSSARY))
    if top.is_empty():
        raise LedgerError(f"{problem}: the sheet Glossary has no headings {', '.join(GLOSSARY)}")
    return named.filter(
        (pl.col("row") > top["row"][0]) & pl.col("heading").is_not_null() & pl.col("cells").is_not_null()
    )


def _on_sheet(sheets: Sheets, sheet: str, where: str, columns: pl.DataFrame) -> pl.DataFrame:
    """The tables of a sheet under these headings, from the first column on."""
    headings = columns["heading"].to_list()
    begins = sheets.scan(sheet).filter((pl.col("column") == 1) & (pl.col("text") == headings[0]))
    rows = begins.select("row").collect()["row"].to_list()
    heads = sheets.scan(sheet).filter(pl.col("row").is_in(rows)).collect().sort("column")
    holds = pl.any_horizontal(pl.col("formula", "text", "number").is_not_null())
    taken = sheets.scan(sheet).filter(holds).select(pl.col("row").cast(pl.Int64).unique()).collect()["row"].sort()
    tables = list[pl.DataFrame]()
    for row in rows:
        if heads.filter(pl.col("row") == row)["text"].to_list()[: len(headings)] == headings:
            below = taken.filter(taken > row)
            in_a_row = below == pl.int_range(row + 1, row + 1 + below.len(), eager=True)
            last = row + in_a_row.cast(pl.UInt32).cum_min().sum()
            tables.append(_table(sheet, where, row + 1, last, columns, is_first=not tables))
    return pl.concat([pl.DataFrame(schema=TABLE_COLUMNS), *tables])


def _table(sheet: str, where: str, first: int, last: int, columns: pl.DataFrame, is_first: bool) -> pl.DataFrame:
    """The columns of one table (TABLE_COLUMNS)."""
    headings = columns["heading"].to_list()
    exact = {
        heading.removesuffix(EXACT_HEADING): number
        for number, heading in enumerate(headings, 1)
        if heading.endswith(EXACT_HEADING)
    }
    return columns.select(
        sheet=pl.lit(sheet),
        table=pl.lit(where),
        first=pl.lit(first, pl.UInt32),
        last=pl.lit(last, pl.UInt32),
        column=pl.int_range(1, pl.len() + 1, dtype=pl.UInt16),
        heading="heading",
        cells=pl.col("cells") if is_first else pl.lit(None, pl.String),
        exact_column=pl.col("heading").replace_strict(exact, default=None, return_dtype=pl.UInt16),
    )
