"""The template for manual adjustments: a workbook to fill in, which `ledger.statements.adjustments` reads."""

from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl
from xlsxwriter import Workbook  # type: ignore[import-untyped]

from ledger.columns import Column
from ledger.reconciliation.columns import CAUSES
from ledger.refusals import LedgerError
from ledger.statements.adjustments import ADJUSTMENTS, ADJUSTMENTS_REQUIRED, MAPPING, REMARK, SHEET
from reports.cells.bodies import LINE_HEIGHT
from reports.cells.tables import HEADING, LOOK, NOTE

ENTRY_ROWS = 500
"""Rows prepared for entries, below the headings, the meanings and the example."""

_EXPLANATION = "Explanation"
_FIRST_ENTRY = 3
_TEXT = {"num_format": "@"}
_WIDTH, _WIDE = 18, 40
_FIXED_DATE = datetime(2000, 1, 1)
_LINES_OF_MEANING, _LINES_OF_EXAMPLE = 7, 3
_FLAGS = ("true", "false")

_EXAMPLE = {
    "time": f"{REMARK}example, which is not read: 2024-05-01T12:00:00Z",
    "event_id": "adjustment-2024-05-01-1",
    "account": "main",
    "instrument": "BTC-USDT",
    "mode": "new",
    "margin_currency": "quote",
    "kind": "adjustment",
    "amount": "-0.0227737993648251",
    "currency": "USDT",
    "reason": "missing_interest",
    "comment": "J. Doe: the 11:00 charge is missing from the file, see ticket 17",
}

_HOW = (
    "Fill in one row for each adjustment on the sheet Adjustments, from row 4 on.",
    "Every cell is text there, so that no digit is lost: a spreadsheet keeps 15 digits of a number. In a cell with "
    "another format, write an apostrophe before the number.",
    "Times are in UTC, as 2024-05-01T12:00:00Z, or dates of the spreadsheet: the heading says UTC.",
    "Formulas, merged cells and errors are refused. A hidden sheet is not read.",
    f"A row whose first filled cell begins with {REMARK.strip()} and a blank is a remark and is not read.",
    "A row of any kind may be an adjustment: a missing fill is a fill with a reason, a forgotten deposit of margin a "
    "margin with a reason. The kind adjustment moves a signed amount on the leg of its currency, and nothing else.",
    "Every row needs a reason and a comment: who adjusts, and why. A reason is a short code of your own; those "
    "below are the words of the reconciliation.",
    f"To have your own sheet read as it is, add a sheet {MAPPING} with two columns: a canonical column, and the "
    "heading that it has on your sheet. A column that is not mapped, and is not called as one here, is left out then.",
)


def write_template(path: Path) -> None:
    """Write an empty sheet of adjustments as .xlsx: headings, meanings, an example that is not read, an explanation.

    The file appears only when it is complete, and is the same each time. Raises LedgerError where it cannot be written.
    """
    try:
        with TemporaryDirectory(prefix=".template-", dir=path.parent) as folder:
            draft = Path(folder) / "template.xlsx"
            book = Workbook(str(draft), {"default_format_properties": dict(LOOK)})
            book.set_properties({"title": "Manual adjustments", "created": _FIXED_DATE})
            _write_entries(book)
            _write_explanation(book)
            book.close()
            draft.replace(path)
    except OSError as error:
        raise LedgerError(f"{path}: cannot be written ({error.strerror or error})") from error


def _write_entries(book: Workbook) -> None:
    sheet = book.add_worksheet(SHEET)
    text, wrapped = book.add_format({**LOOK, **_TEXT}), book.add_format({**LOOK, **_TEXT, **NOTE, "text_wrap": True})
    heading = book.add_format({**LOOK, **HEADING, **_TEXT})
    sheet.set_row(1, _LINES_OF_MEANING * LINE_HEIGHT)
    sheet.set_row(2, _LINES_OF_EXAMPLE * LINE_HEIGHT)
    for number, column in enumerate(ADJUSTMENTS):
        width = _WIDE if column.name in ("time", "comment") else _WIDTH
        sheet.set_column(number, number, width, text)
        sheet.write_string(0, number, _title(column), heading)
        sheet.write_string(1, number, f"{REMARK if number == 0 else ''}{column.description}", wrapped)
        if column.name in _EXAMPLE:
            sheet.write_string(2, number, _EXAMPLE[column.name], wrapped)
        words = _words(column)
        if words:
            last = _FIRST_ENTRY + ENTRY_ROWS - 1
            options = {"validate": "list", "source": list(words), "error_message": f"One of: {', '.join(words)}."}
            sheet.data_validation(_FIRST_ENTRY, number, last, number, options)
    sheet.freeze_panes(_FIRST_ENTRY, 0)


def _write_explanation(book: Workbook) -> None:
    sheet = book.add_worksheet(_EXPLANATION)
    wrapped = book.add_format({**LOOK, "text_wrap": True})
    heading = book.add_format({**LOOK, **HEADING})
    sheet.set_column(0, 0, 24)
    sheet.set_column(1, 1, 24, wrapped)
    sheet.set_column(2, 2, 90, wrapped)
    sheet.write_string(0, 0, "Manual adjustments", book.add_format({**LOOK, "bold": True, "font_size": 14}))
    row = 2
    for sentence in _HOW:
        sheet.merge_range(row, 0, row, 2, sentence, wrapped)
        sheet.set_row(row, LINE_HEIGHT * (1 + len(sentence) // 120))
        row += 1
    columns = [(_title(column), column.unit, f"{column.description}{_needed(column)}") for column in ADJUSTMENTS]
    row = _write_table(sheet, row + 1, ("column", "unit", "meaning"), columns, heading)
    reasons = [(code, "", meaning) for code, meaning in CAUSES.items()]
    _write_table(sheet, row + 1, ("reason", "", "meaning"), reasons, heading)


def _write_table(sheet: Any, row: int, names: tuple[str, ...], lines: Iterable[tuple[str, ...]], heading: Any) -> int:
    """The table from `row` on; returns the row behind it."""
    for number, name in enumerate(names):
        sheet.write_string(row, number, name, heading)
    for line in lines:
        row += 1
        for number, cell in enumerate(line):
            sheet.write_string(row, number, cell)
    return row + 1


def _title(column: Column) -> str:
    return f"{column.name} (UTC)" if column.name == "time" else column.name


def _needed(column: Column) -> str:
    return " Always needed." if column.name in ADJUSTMENTS_REQUIRED else ""


def _words(column: Column) -> tuple[str, ...]:
    """What a cell of the column may say, where that is a list."""
    if column.dtype == pl.Boolean:
        return _FLAGS
    return tuple(column.dtype.categories) if isinstance(column.dtype, pl.Enum) else ()
