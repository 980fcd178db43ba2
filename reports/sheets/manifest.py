"""The Manifest sheet: input files with their hashes and control sums, files beside the workbook, rows of each sheet."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import Any

import polars as pl

from ledger.columns import INPUTS, TIME, Column
from reports.cells.fields import Field, Placed, Tables, field, iso_time, place
from reports.cells.tables import NOTE, Book, fit_columns, mark_results, write_table
from reports.sheets.checks import HERE
from reports.sheets.manifest_sums import can_be_live, sum_fields

MANIFEST_SHEET = "Manifest"
_TOP = 6
_GAP = 5
"""Rows from the last one of a table to the headings of the next: a blank, its title, its note, a blank."""
_WIDEST = 55
_PRINT_SCALE, _PRINTED = 54, 9
"""How the sheet prints, and the columns that do; those behind them are workings, for the screen."""

_FILES = (
    Column("part", pl.String, "", "Sheet that the file stands for.", HERE),
    Column("file", pl.String, "", "Name of the file, in the folder of this workbook.", HERE),
    Column("bytes", pl.UInt64, "bytes", "Size.", HERE),
    Column("rows", pl.UInt64, "rows", "Rows of the file.", HERE),
    Column("first_time", TIME, "UTC", "First time of the rows.", HERE),
    Column("last_time", TIME, "UTC", "Last time of the rows.", HERE),
    Column("sha256", pl.String, "", "Hash of the content.", HERE),
)
_ABOUT = {
    "inputs": "Every file that was read, as it was: to be compared with the files at hand.",
    "sums": "Sums of each file of events as it was read, before anything else, beside what the sheet Ledger has of"
    " them. What is left out is later than the as-at time or before the opening balances.",
    "sums, recorded": "Sums of each file of events as it was read, before anything else, beside what the ledger has of"
    " them; as values, because live sums would be too much work, or not sure. What is left out is later than the as-at"
    " time or before the opening balances.",
    "files": "Rows that are too many for a workbook. They are not on a sheet: these files belong to it.",
    "totals": "Control totals of those files, recorded; margin-ledger verify adds the files up again.",
    "sheets": "Rows of every sheet, counted, against the engine's.",
}


@dataclass(frozen=True)
class Section:
    """A table of the sheet: its title, its note, where it stands, its frame."""

    name: str
    title: str
    note: str
    placed: Placed
    frame: pl.DataFrame


@dataclass(frozen=True)
class Manifest:
    """The tables of the sheet by name: inputs, sums, files and totals (of what is beside), sheets."""

    sections: tuple[Section, ...]

    def placed(self, name: str) -> Placed | None:
        """Where a table stands, if it is there."""
        return next((one.placed for one in self.sections if one.name == name), None)

    def linked(self, totals: pl.DataFrame) -> pl.DataFrame:
        """The lines of the tie-out of the files beside, each with a formula that reads its total here."""
        placed = self.placed("totals")
        if placed is None:
            return totals
        cells = [f"'{placed.sheet}'!{placed.letter('Total')}{placed.first + row}" for row in range(totals.height)]
        return totals.with_columns(formula=pl.Series(cells, dtype=pl.String), added=pl.col("total").cast(pl.Float64))

    @property
    def tied(self) -> Tables:
        """The table whose amounts are tied out to the engine."""
        return tuple((one.placed, one.frame) for one in self.sections if one.name == "sums")

    @property
    def results(self) -> Tables:
        """The tables that say OK or FAIL, under the heading Tied out."""
        return tuple((one.placed, one.frame) for one in self.sections if one.name in ("sums", "sheets"))


def manifest_parts(
    frames: Mapping[str, pl.DataFrame], sheets: Tables, ledger: Tables, files: pl.DataFrame, totals: pl.DataFrame
) -> Manifest:
    """What the sheet will have, and where.

    `sheets` are all other tables whose rows are counted, `ledger` those of the ledger. `files` (`detail.FILES_SCHEMA`)
    are beside the workbook, `totals` (`sheets_checks.tie_out_lines`) their control totals.
    """
    sums = frames["input_sums"]
    is_live = can_be_live(sums, ledger)
    counts = _counts(sheets)
    wanted = (
        ("inputs", "Input files", "inputs", input_fields(), frames["inputs"]),
        ("sums", "Control sums of the inputs", "sums" if is_live else "sums, recorded", (), sums),
        ("files", "Files beside this workbook", "files", file_fields(), files),
        ("totals", "Control totals of the files beside", "totals", total_fields(), totals),
        ("sheets", "Sheets of this workbook", "sheets", count_fields(counts), counts),
    )
    sections, top = list[Section](), _TOP
    for name, title, about, fields, frame in wanted:
        if frame.is_empty() and name != "inputs":
            continue
        own = sum_fields(sums, ledger if is_live else (), top + 1) if name == "sums" else fields
        placed = place(MANIFEST_SHEET, own, frame.height, top)
        sections.append(Section(name, title, _ABOUT[about], placed, frame))
        top = max(placed.first, placed.last) + _GAP
    return Manifest(tuple(sections))


def write_manifest(book: Book, manifest: Manifest) -> None:
    """Write the sheet as `manifest_parts` laid it out."""
    sheet = book.sheet(MANIFEST_SHEET)
    _fit(sheet, manifest)
    book.title(sheet, MANIFEST_SHEET, "What went into this workbook, and that all of it is there.")
    for one in manifest.sections:
        top = one.placed.first - 1
        book.text(sheet, top - 3, 0, one.title, bold=True, font_size=12)
        book.text(sheet, top - 2, 0, one.note, **NOTE)
        write_table(book, sheet, f"Manifest_{one.name}", one.placed.fields, one.frame, top=top)
    for placed, _ in manifest.results:
        mark_results(book, sheet, placed.range("Tied out", other_sheet=False))
    sheet.freeze_panes(1, 1)
    sheet.set_print_scale(_PRINT_SCALE)
    sheet.print_area(0, 0, max(one.placed.last for one in manifest.sections) - 1, _PRINTED - 1)
    # The table of sheets is not cut in two: it begins a page.
    sheet.set_h_pagebreaks([manifest.sections[-1].placed.first - _GAP])


def input_fields() -> tuple[Field, ...]:
    """The fields of the inputs; times stand as dates and as text."""
    return _file_columns(INPUTS, ("input", "file", "bytes", "rows", "first_time", "last_time", "sha256"))


def file_fields() -> tuple[Field, ...]:
    """The fields of the files beside the workbook (`detail.FILES_SCHEMA`)."""
    return _file_columns(_FILES, tuple(column.name for column in _FILES))


def total_fields() -> tuple[Field, ...]:
    """The fields of the control totals of those files, for lines of the tie-out."""
    total = pl.col("total").cast(pl.Float64)
    made_by = pl.when(pl.col("column") == "rows").then(pl.lit("counting")).otherwise(pl.lit("adding"))
    return (
        Field("Part", "text", pl.col("sheet"), "", "Sheet that the file stands for.", HERE),
        Field("Column", "prose", pl.col("column"), "", "Column that is added up; rows counts the rows.", HERE),
        Field("Line", "count", pl.int_range(1, pl.len() + 1), "", "Number of the total.", HERE),
        Field("Made by", "text", made_by, "", "counting of rows, or adding of amounts.", HERE),
        Field("Total", "amount", total, "as the column", "Total of the engine's exact amounts, as a number.", HERE),
        Field("Total (exact)", "exact", pl.col("total"), "as the column", "The same to the last digit, as text.", HERE),
    )


def count_fields(counts: pl.DataFrame) -> tuple[Field, ...]:
    """The fields of the rows of the sheets."""
    result = pl.when(pl.col("counted") == pl.col("rows")).then(pl.lit("OK")).otherwise(pl.lit("FAIL"))
    return (
        Field("Number", "count", pl.col("number"), "", "Place of the sheet among those with rows of a frame.", HERE),
        Field("Sheet", "text", pl.col("sheet"), "", "Sheet whose rows are counted.", HERE),
        Field(
            "Rows on the sheet",
            "count",
            pl.col("counted"),
            "rows",
            "Rows that the sheet has.",
            HERE,
            formulas=tuple(counts["formula"]),
            words="COUNTIFS(the first column)",
        ),
        Field("Engine's rows", "count", pl.col("rows"), "rows", "Rows that the engine gave for the sheet.", HERE),
        Field(
            "Tied out",
            "result",
            result,
            "",
            "OK when the sheet has just those rows.",
            HERE,
            formula='IF(C{row}=D{row},"OK","FAIL")',
            words='IF(rows on the sheet=engine\'s rows,"OK","FAIL")',
        ),
    )


def _counts(sheets: Tables) -> pl.DataFrame:
    """One row per sheet: number, name, rows of its frame, rows counted, and the formula that counts them."""
    rows: list[dict[str, Any]] = [
        {
            "number": number,
            "sheet": placed.sheet,
            "rows": frame.height,
            "counted": frame.height,
            "formula": f'COUNTIFS({placed.range(placed.fields[0].heading)},"<>")',
        }
        for number, (placed, frame) in enumerate(sheets, start=1)
    ]
    return pl.DataFrame(rows, schema=_COUNTS)


_COUNTS = {"number": pl.UInt32, "sheet": pl.String, "rows": pl.UInt64, "counted": pl.UInt64, "formula": pl.String}


def _file_columns(columns: Sequence[Column], names: Sequence[str]) -> tuple[Field, ...]:
    named = {column.name: column for column in columns}
    fields: list[Field] = []
    for name in names:
        one = field(named[name])
        fields.append(replace(one, kind="prose") if name in ("file", "sha256") else one)
        fields += [iso_time(named[name])] if named[name].unit == "UTC" else []
    return tuple(fields)


def _fit(sheet: Any, manifest: Manifest) -> None:
    """Each column as wide as the widest table needs it."""
    widths = [fit_columns(sheet, one.placed.fields, one.frame, widest=_WIDEST) for one in manifest.sections]
    for column, wanted in enumerate(zip_longest(*widths, fillvalue=0.0)):
        sheet.set_column(column, column, max(wanted))
