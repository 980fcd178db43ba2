"""The cells of one sheet of an Excel workbook as texts: nothing is computed, and nothing is guessed.

A spreadsheet keeps 15 digits of a number and shows a formula's last result: both would be taken for what a person
entered. So a cell is a text, a short number, a date or a flag, and anything else is refused.
"""

import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import openpyxl  # type: ignore[import-untyped]

from ledger.refusals import BadInput, refuse_file

ROWS_MAX, COLUMNS_MAX = 20_000, 100
LARGEST_BYTES = 64 * 2**20
"""A workbook is not unpacked beyond this size."""
TEXT_LENGTH_MAX = 2_000
"""Characters of a cell that is read."""
DIGITS_MAX = 14
"""Significant digits of a number in a cell. One with 15 may have had more when it was entered."""

OLD = b"\xd0\xcf\x11\xe0"  # .xls, and any workbook with a password
_ENCRYPTED = "EncryptedPackage".encode("utf-16-le")
_SAVE = "Save it in a spreadsheet program as an Excel workbook (.xlsx)."


@dataclass(frozen=True)
class Problem:
    """Why a cell is refused, and what to do about it."""

    value: str
    rule: str
    remedy: str


Cells = dict[int, str | Problem]
"""The filled cells of a row by the number of their column, from 1."""


@dataclass(frozen=True)
class Sheet:
    """The rows of a sheet by their number, as a person counts; rows and cells that are empty are left out."""

    name: str
    rows: dict[int, Cells]


def read_sheets(path: Path) -> dict[str, Sheet]:
    """The visible worksheets of an .xlsx file by name.

    Raises BadInput where it is none, or one that has a password or is damaged. No macro, link or formula is run.
    """
    refuse_foreign(path)
    _refuse_large(path)
    with told(path), path.open("rb") as stream, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of styles and extensions that do not matter here
        book = openpyxl.load_workbook(stream, data_only=False, keep_links=False, rich_text=False)
        visible = [sheet for sheet in book.worksheets if sheet.sheet_state == "visible"]
        return {sheet.title: Sheet(sheet.title, dict(_rows(path, sheet))) for sheet in visible}


def shown(cell: str | Problem | None) -> str:
    """What a cell says, also where it is refused."""
    return cell.value if isinstance(cell, Problem) else cell or ""


def refuse_foreign(path: Path) -> None:
    """Refuse what is no .xlsx workbook, or has a password (BadInput), before it is opened."""
    file = str(path)
    if not path.is_file():
        raise refuse_file(file, "The file does not exist.", "Check its name.")
    with path.open("rb") as stream:
        start = stream.read(8)
    if start.startswith(OLD):
        if _ENCRYPTED in path.read_bytes():
            raise refuse_file(file, "The workbook has a password.", "Save it without one.")
        raise refuse_file(file, "The workbook is in the old format of Excel (.xls).", _SAVE)
    if not start.startswith(b"PK"):
        raise refuse_file(file, "The file is not an Excel workbook.", f"{_SAVE} A CSV file is named .csv.")
    with told(path), zipfile.ZipFile(path) as archive:
        if "xl/workbook.xml" not in archive.namelist():
            raise refuse_file(file, "The file is not an Excel workbook.", _SAVE)


def _refuse_large(path: Path) -> None:
    """Refuse a workbook that would fill the memory."""
    with told(path), zipfile.ZipFile(path) as archive:
        if sum(member.file_size for member in archive.infolist()) > LARGEST_BYTES:
            rule = f"The workbook unpacks to more than {LARGEST_BYTES // 2**20} MiB."
            raise refuse_file(str(path), rule, "Keep the adjustments in a workbook of their own.")


@contextmanager
def told(path: Path) -> Iterator[None]:
    """What goes wrong in a damaged workbook, in plain words; the reader of workbooks raises nearly anything."""
    try:
        yield
    except BadInput:
        raise
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")[:200]
        rule = f"The workbook is damaged or cut off: {reason}."
        raise refuse_file(str(path), rule, "Save it again in a spreadsheet program.") from None


def _rows(path: Path, sheet: Any) -> Iterator[tuple[int, Cells]]:
    if sheet.max_row > ROWS_MAX or sheet.max_column > COLUMNS_MAX:
        rule = f"A sheet has at most {ROWS_MAX} rows and {COLUMNS_MAX} columns."
        found = f"{sheet.max_row} rows, {sheet.max_column} columns"
        remedy = "Delete the empty rows and columns behind the table."
        raise refuse_file(f"{path}, sheet {sheet.title}", rule, remedy, value=found)
    merged = {
        (row, column): str(area)
        for area in sheet.merged_cells.ranges
        for row in range(area.min_row, area.max_row + 1)
        for column in range(area.min_col, area.max_col + 1)
    }
    for cells in sheet.iter_rows():
        texts = {cell.column: _text(cell) for cell in cells if cell.value is not None and cell.value != ""}
        for cell in cells:
            area = merged.get((cell.row, cell.column))
            if area:
                rule = f"The cells {area} are merged: they are one value for several."
                texts[cell.column] = Problem(shown(texts.get(cell.column)), rule, "Unmerge them, and fill in each.")
        if texts:
            yield cells[0].row, texts


def _text(cell: Any) -> str | Problem:
    """The text of a filled cell, or why it is refused."""
    value = cell.value
    if cell.data_type in ("f", "e"):
        return no_value(cell)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, float)):
        return _number(value)
    if isinstance(value, datetime):
        return value.isoformat(timespec="milliseconds" if value.microsecond else "seconds")
    text = str(value)
    if len(text) <= TEXT_LENGTH_MAX:
        return text
    rule = f"A cell has at most {TEXT_LENGTH_MAX} characters."
    return Problem(f"{text[:80]}... ({len(text)} characters)", rule, "Shorten it.")


def no_value(cell: Any) -> Problem:
    """Why a formula or an error is refused."""
    if cell.data_type == "e":
        return Problem(str(cell.value), "The cell shows an error of the spreadsheet.", "Fill in the value.")
    text = str(getattr(cell.value, "text", cell.value))[:80]
    return Problem(text, "A cell holds a value, not a formula.", "Copy the result, and paste it as text.")


def _number(value: float) -> str | Problem:
    """A number with all its digits; one that has as many as a spreadsheet keeps may have lost some."""
    exact = Decimal(repr(value))
    if not exact.is_finite():
        return Problem(str(value), "The cell is no number.", "Fill in the value.")
    text = f"{exact:f}"
    plain = text.rstrip("0").rstrip(".") if "." in text else text
    if len(exact.normalize().as_tuple().digits) > DIGITS_MAX:
        rule = f"A number in a cell has at most {DIGITS_MAX} digits; of more, a spreadsheet has rounded it."
        return Problem(plain, rule, "Enter it as text with a leading apostrophe.")
    return plain
