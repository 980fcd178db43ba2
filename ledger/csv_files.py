"""CSV files as batches of raw rows: preamble, header, and rows as the file has them."""

import csv
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO

import polars as pl

from ledger.refusals import refuse_file
from ledger.tables import (
    CONTROL,
    CONTROL_REMEDY,
    HAS_CONTROL,
    IS_TOO_LONG,
    LONGEST_CELL,
    TOO_LONG_REMEDY,
    UTF_16,
    RawBatch,
    Source,
    Table,
    distinct,
    refusals_frame,
)

_LONGEST_LINE = 2**20
_WIDEST_PATTERN = 200  # more columns make the pattern of a regular line too large
_BOM = "\ufeff"
_CONTROL, _CONTROL_OR_BREAK = re.compile(f"[{CONTROL}]"), re.compile(f"[{CONTROL}\\n\\r]")
_FACTS = ("UID", "Account Type", "Time Zone")  # exports 2: what a preamble says, as "name:value"
_REMEDY = "Give every row as many cells as the header; put quotes around a cell with a comma in it."


@dataclass(frozen=True)
class Header:
    """Names of the columns as the file has them, the row they stand in, and what the preamble above them says."""

    names: list[str]
    row: int
    facts: dict[str, str]


def csv_names(source: Source) -> list[str]:
    """Names of the columns; of those that are repeated the second is `Unit (2)`. Raises BadInput."""
    return distinct(_header(source).names)


def csv_batches(source: Source, table: Table, batch_rows: int) -> Iterator[RawBatch]:
    """The rows of a CSV file, the cells of a preamble as constant columns `@Time Zone`; see `formats.raw_batches`."""
    header = _header(source)
    found = table.spelled(header.names)
    table.check_names(source.file, found)
    names = distinct(found)
    shape = _shape(source, header, names, table)
    scan = pl.scan_csv(
        source.path,
        has_header=False,  # read as a row and left out: names of ours are not as they stand there
        skip_lines=header.row - 1,
        schema=dict.fromkeys(names, pl.String),
        truncate_ragged_lines=True,  # those rows are refused by `_irregular`
        row_index_name="row",
        row_index_offset=header.row,
        glob=False,
    ).filter(pl.col("row") > header.row)
    known = [name for name in names if name in table.known]
    facts = [pl.lit(value).alias(name) for name, value in header.facts.items() if name in table.known]
    scan = scan if shape.has_blanks else scan.select("row", *known)
    read, refused = 0, shape.refusals
    is_filled = pl.any_horizontal(pl.exclude("row").fill_null("") != "")
    for frame in scan.collect_batches(chunk_size=batch_rows, maintain_order=True):
        rows = frame.filter(is_filled) if shape.has_blanks else frame
        read += rows.height
        if shape.refusals.height:
            rows = rows.join(shape.refusals, on="row", how="anti", maintain_order="left")
        yield RawBatch(rows.select("row", *known, *facts), refused)
        refused = shape.refusals.clear()
    if read != shape.filled:
        rule = f"Of the {shape.filled:,} rows of the file {read:,} could be told apart."
        raise refuse_file(source.file, rule, "Export it again, without quotes inside of cells.")


# --- preamble and header ------------------------------------------------------------------------------------


def _header(source: Source) -> Header:
    """What stands above the rows; raises BadInput when the file is no text in UTF-8 with commas."""
    facts: dict[str, str] = {}
    row = 1
    with source.path.open("rb") as stream:
        while (names := _names(source.file, stream)) is not None and (said := _said(names)) is not None:
            facts |= said
            row += 1
    if not names:
        rule = "The file has no row with the names of its columns."
        raise refuse_file(source.file, rule, "Export it again, with its header.")
    return Header(names, row, facts)


def _names(file: str, stream: IO[bytes]) -> list[str] | None:
    """The cells of the next line, without byte order marks; nothing at the end of the file."""
    line = stream.readline(_LONGEST_LINE)
    if line.startswith(UTF_16) or b"\x00" in line:
        raise refuse_file(file, "The file is not in UTF-8 but in UTF-16 or binary.", "Save it as CSV UTF-8.")
    if len(line) == _LONGEST_LINE:
        raise refuse_file(file, "The header does not end.", "Export the file again.")
    if not line:
        return None
    try:
        text = line.decode("utf-8-sig").rstrip("\r\n")
    except UnicodeDecodeError:
        raise refuse_file(file, "The header is not in UTF-8.", "Save it as CSV UTF-8.") from None
    if "\r" in text:
        raise refuse_file(file, "Lines end in a bare carriage return.", "Save it with line feeds.")
    names = [name.lstrip(_BOM) for name in next(csv.reader([text]), [])]
    if len(names) == 1 and any(separator in names[0] for separator in ";\t|"):
        raise refuse_file(file, "The columns are not separated by commas.", "Save it with commas.")
    return names


def _said(cells: list[str]) -> dict[str, str] | None:
    """The facts in a row of a preamble; nothing when it is no preamble but a header."""
    filled = [cell.strip() for cell in cells if cell.strip()]
    pairs = [cell.partition(":") for cell in filled]
    facts = {f"@{name.strip()}": value.strip() for name, colon, value in pairs if colon}
    if any(name.strip() in _FACTS for name, colon, _ in pairs if colon):
        return facts
    if filled[:1] == ["UID"] and len(filled) > 1 and filled[1].isdigit():  # UID,123456,Trading account,,,
        return facts | {"@UID": filled[1]} | ({"@Account Type": filled[2]} if len(filled) > 2 else {})
    return {} if not filled else None


# --- rows that are not as the others ------------------------------------------------------------------------


@dataclass(frozen=True)
class _Shape:
    """Refusals of rows that Polars would cut, fill or take in silence; whether there may be blank rows; the others."""

    refusals: pl.DataFrame
    has_blanks: bool
    filled: int


def _shape(source: Source, header: Header, names: list[str], table: Table) -> _Shape:
    """What the lines are, by one pattern; where it fails for any, row by row."""
    line = pl.col("line")
    barred = CONTROL if table.is_plain else ""
    cell = rf'(?:[^",{barred}]*|"[^"{barred}]*(?:""[^"{barred}]*)*")'
    is_blank = line.str.strip_chars(',"\r') == ""
    regular = line.str.contains(rf"^{cell}(?:,{cell}){{{len(names) - 1}}}$") | (is_blank & ~line.str.contains('"'))
    if table.is_plain:
        regular &= line.str.len_bytes() <= LONGEST_CELL
    lines = pl.scan_lines(source.path, row_index_name="number", row_index_offset=1, glob=False)
    rows = lines.filter(pl.col("number") > header.row)  # below the preamble and the header
    try:
        if len(names) <= _WIDEST_PATTERN:
            said = rows.select(regular.all(), blank=is_blank.any(), filled=(~is_blank).sum())
            are_regular, has_blanks, filled = said.collect(engine="streaming").row(0)
            if are_regular:
                return _Shape(refusals_frame([]), has_blanks, filled)
    except pl.exceptions.ComputeError:
        pass  # not UTF-8: the slow way says so
    return _shape_by_row(source, header, names, table)


def _shape_by_row(source: Source, header: Header, names: list[str], table: Table) -> _Shape:
    found: list[tuple[str | int | None, ...]] = []
    number = filled = 0
    with source.path.open(encoding="utf-8-sig", newline="") as stream, _cells_of_any_length():
        try:
            for number, cells in enumerate(csv.reader(stream, strict=True), start=1):
                if number <= header.row or not any(cells):
                    continue
                filled += 1
                if len(cells) != len(names):
                    rule = f"The row has {'more' if len(cells) > len(names) else 'fewer'} cells than the header."
                    found.append((source.file, number, None, f"{len(cells)} cells for {len(names)}", rule, _REMEDY))
                elif table.is_plain:
                    found += [(source.file, number, *odd) for odd in _odd_cells(names, cells, table)]
        except UnicodeDecodeError:
            rule, remedy = "The file has bytes that are not UTF-8.", "Save it as CSV UTF-8."
            raise refuse_file(source.file, rule, remedy) from None
        except csv.Error as error:
            rule = f"Quotes are not closed or out of place, in the row after row {number}: {error}."
            raise refuse_file(source.file, rule, "Close the quotes; double a quote inside a cell.") from None
    return _Shape(refusals_frame(found), True, filled)


def _odd_cells(names: list[str], cells: list[str], table: Table) -> Iterator[tuple[str, str, str, str]]:
    """Column, value, rule and remedy of the cells that are too long or have control characters."""
    if "".join(cells).isprintable() and max(map(len, cells), default=0) <= LONGEST_CELL // 4:
        return
    for name, cell in zip(names, cells, strict=False):
        barred = _CONTROL_OR_BREAK if name in table.known else _CONTROL
        if len(cell.encode()) > LONGEST_CELL:
            yield name, cell[:40] + " ...", IS_TOO_LONG, TOO_LONG_REMEDY
        elif barred.search(cell):
            yield name, ascii(cell[:200]), HAS_CONTROL, CONTROL_REMEDY


@contextmanager
def _cells_of_any_length() -> Iterator[None]:
    """The reader's own limit lifted: it would take a long cell for an open quote."""
    before = csv.field_size_limit(2**31 - 1)
    try:
        yield
    finally:
        csv.field_size_limit(before)
