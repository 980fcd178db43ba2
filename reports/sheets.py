"""What all sheets share: cell styles, safe text, and the one way a table gets onto a sheet."""

import re
from collections.abc import Callable, Sequence
from itertools import groupby
from math import ceil
from typing import Any

import polars as pl
from xlsxwriter import Workbook  # type: ignore[import-untyped]
from xlsxwriter.utility import xl_col_to_name  # type: ignore[import-untyped]

from ledger.money import MONEY
from reports.sheets_fields import Field, Placed, place

CHUNK_ROWS = 10_000
TEXT_LENGTH_MAX = 32_000
"""Longer text is cut, visibly: a cell takes 32,767 characters."""
LONG_TABLE_ROWS = 50_000
"""A workbook with a longer table is streamed to disk, with filters in place of table objects."""

PERCENT = "#,##0.00##%_);[Red](#,##0.00##%);0.00%_)"
NUMBER_FORMATS = {
    "amount": "#,##0.{zeros}_);[Red](#,##0.{zeros});0.{zeros}_)",
    "percent": PERCENT,
    "count": "#,##0_);[Red](#,##0);0_)",
    "small": "0.00E+00_);[Red](0.00E+00);0_)",
    "plain": "General",
    "time": "yyyy-mm-dd hh:mm:ss.000",
    "day": "yyyy-mm-dd",
    "rate": "0.00##############",
    "text": "@",
    "prose": "@",
    "exact": "@",
    "result": "@",
}
WIDTHS = {
    "prose": 55,
    "amount": 12,
    "percent": 11,
    "count": 9,
    "small": 12,
    "plain": 14,
    "time": 23,
    "day": 12,
    "rate": 20,
    "text": 9,
    "exact": 12,
    "result": 9,
}
LINE_HEIGHT = 14
PROSE_LINE = 54
"""Characters of a line of wrapped text that surely fit its column."""
PRINT_SCALE = 58
PAGE_WIDTH, COLUMN_MARGIN = 243.0, 0.71
"""Characters that fit across a landscape page at that scale; the characters that a column takes beside its own."""
LOOK = {"font_name": "Arial", "font_size": 10, "valign": "top"}
DATA = {"bottom": 1, "bottom_color": "#D9D9D9"}
LIVE = {"bg_color": "#EAF1FB"}
EXACT = {"font_color": "#444444", "align": "right"}
KINDS_LOOK: dict[str, dict[str, Any]] = {
    "text": {"align": "left", "indent": 1},
    "prose": {"align": "left", "indent": 1, "text_wrap": True},
    "exact": EXACT,
    "result": {"bold": True, "align": "center"},
}
HEADING = {"bold": True, "font_color": "#FFFFFF", "bg_color": "#1F3864", "text_wrap": True, "border": 1}
BAND = {"bold": True, "bg_color": "#D6DCE5"}
NOTE = {"italic": True, "font_color": "#444444"}
AGREES = {"bg_color": "#C6E0B4"}
FOLLOWS = {"bg_color": "#FFF2CC"}
DIFFERS = {"bg_color": "#F4B084", "bold": True}

FORMULA_SIGNS = ("=", "+", "-", "@")
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ufffe\uffff]")


def safe_text(text: str) -> str:
    """Text as a cell can hold it: what cannot be seen is written as its code, nothing is taken for markup.

    The writer takes a string from `<r>` to `</r>` for rich-text markup and copies it as it is, so the first
    bracket is written as its code. Overlong text ends with its length.
    """
    clean = _UNSAFE.sub(lambda match: f"\\x{ord(match.group()):02x}", text)
    if clean.startswith("<r>"):
        clean = f"\\x3c{clean[1:]}"
    return clean if len(clean) <= TEXT_LENGTH_MAX else f"{clean[:TEXT_LENGTH_MAX]}... ({len(text)} characters)"


class Book:
    """A workbook being written, with its styles."""

    def __init__(self, workbook: Workbook, streaming: bool) -> None:
        """Write to `workbook`; one that is streamed takes rows in order and no table objects."""
        self.workbook = workbook
        self.streaming = streaming
        self._styles: dict[tuple[tuple[str, Any], ...], Any] = {}

    def style(self, **properties: Any) -> Any:
        """A cell style with these properties on top of the common look; made once."""
        key = tuple(sorted({**LOOK, **properties}.items()))
        if key not in self._styles:
            self._styles[key] = self.workbook.add_format(dict(key))
        return self._styles[key]

    def sheet(self, name: str, landscape: bool = True) -> Any:
        """A new sheet: protected without a password, filters usable, page n of m at the foot."""
        sheet = self.workbook.add_worksheet(name)
        sheet.hide_gridlines(2)
        sheet.protect("", {"autofilter": True, "format_columns": True, "format_rows": True})
        sheet.set_paper(9)
        if landscape:
            sheet.set_landscape()
        sheet.set_margins(left=0.4, right=0.4, top=0.7, bottom=0.6)
        sheet.set_header('&L&"Arial,Bold"Spot margin ledger&R&A')
        sheet.set_footer("&L&F&RPage &P of &N")
        return sheet

    def title(self, sheet: Any, title: str, note: str = "", note_column: int = 0) -> None:
        """The first row's title and the second row's note."""
        sheet.set_row(0, 24)
        self.text(sheet, 0, 0, title, bold=True, font_size=14)
        self.text(sheet, 1, note_column, note, **NOTE)

    def text(self, sheet: Any, row: int, column: int, text: str, **look: Any) -> None:
        """Text in a cell (rows and columns from 0), never a formula, and marked so if it begins like one."""
        clean = safe_text(text)
        if clean[:1] in FORMULA_SIGNS:
            look["quote_prefix"] = True
        sheet.write_string(row, column, clean, self.style(**look))


def write_table(
    book: Book,
    sheet: Any,
    name: str,
    fields: Sequence[Field],
    frame: pl.DataFrame,
    *,
    top: int,
    bands: bool = False,
    before: Placed | None = None,
) -> Placed:
    """Write a frame as a table from row `top` (counted from 1) on; the row of headings carries the filters.

    With `bands`, three rows above the headings say the group, the unit and what the cells are. `before` is
    where the rows before these ones stand, when they are on another sheet.
    """
    placed = place(sheet.get_name(), fields, frame.height, top, bands)
    header = placed.first - 2
    if bands:
        _write_bands(book, sheet, fields, top - 1)
    sheet.set_row(header, 30)
    for column, one in enumerate(fields):
        sheet.write_string(header, column, one.heading, book.style(**HEADING))
    _write_rows(book, sheet, placed, frame, before)
    _write_filters(book, sheet, name, placed)
    if frame.height:
        everything = f"A{placed.first}:{xl_col_to_name(len(fields) - 1)}{placed.last}"
        sheet.ignore_errors({"number_stored_as_text": everything, "formula_differs": everything})
    return placed


def fit_columns(sheet: Any, fields: Sequence[Field], frame: pl.DataFrame, widest: int = 60) -> list[float]:
    """Set each column as wide as its longest value and the words of its heading need; gives the widths."""
    lengths = frame.select(_length(one, fields, frame).alias(str(n)) for n, one in enumerate(fields)).row(0)
    widths = [
        min(widest, max(WIDTHS[one.kind], length or 0, *(len(word) + 3 for word in one.heading.split())))
        for one, length in zip(fields, lengths, strict=True)
    ]
    for column, width in enumerate(widths):
        sheet.set_column(column, column, width)
    return [float(width) for width in widths]


def print_by_group(sheet: Any, fields: Sequence[Field], widths: list[float], repeated: int, header: int) -> None:
    """Break the printed page at groups, repeating the first columns and the header rows on every page.

    A group that fits no page by itself is broken between columns.
    """
    widths = [width + COLUMN_MARGIN for width in widths]
    room = PAGE_WIDTH - sum(widths[:repeated])
    groups = [list(numbers) for _, numbers in groupby(range(len(fields)), key=lambda n: fields[n].group)]
    breaks, used = [], 0.0
    for numbers in groups:
        if used and used + sum(widths[n] for n in numbers if n >= repeated) > room:
            breaks.append(numbers[0])
            used = 0.0
        for number in numbers:
            if number < repeated:
                continue
            if used and used + widths[number] > room:
                breaks.append(number)
                used = 0.0
            used += widths[number]
    sheet.set_print_scale(PRINT_SCALE)
    sheet.set_v_pagebreaks(breaks)
    sheet.repeat_columns(0, repeated - 1)
    sheet.repeat_rows(header - 4, header - 1)
    sheet.print_across()


def mark_results(book: Book, sheet: Any, cells: str) -> None:
    """Colour cells that say OK or FAIL; the words say it all the same."""
    for word, look in (("OK", AGREES), ("FAIL", DIFFERS)):
        style = book.workbook.add_format(look)
        sheet.conditional_format(cells, {"type": "cell", "criteria": "==", "value": f'"{word}"', "format": style})


def _write_bands(book: Book, sheet: Any, fields: Sequence[Field], top: int) -> None:
    for column, one in enumerate(fields):
        if column == 0 or fields[column - 1].group != one.group:
            sheet.write_string(top, column, one.group, book.style(**BAND))
        else:
            sheet.write_blank(top, column, None, book.style(**BAND))
    for offset, text in ((1, "unit"), (2, "how")):
        sheet.set_row(top + offset, 26 if text == "unit" else 14)
        for column, one in enumerate(fields):
            sheet.write_string(top + offset, column, getattr(one, text), book.style(**NOTE, text_wrap=True))


def _write_rows(book: Book, sheet: Any, placed: Placed, frame: pl.DataFrame, before: Placed | None) -> None:
    numbers = range(len(placed.fields))
    writers = [_writer(book, sheet, column, placed=placed, before=before, frame=frame) for column in numbers]
    prose = [column for column in numbers if placed.fields[column].kind == "prose"]
    row = placed.first
    for part in frame.iter_slices(CHUNK_ROWS):
        values = part.select(one.values.alias(str(n)) for n, one in enumerate(placed.fields))
        for record in values.iter_rows():
            lines = max([1, *(ceil(len(record[column] or "") / PROSE_LINE) for column in prose)])
            if lines > 1:
                sheet.set_row(row - 1, LINE_HEIGHT * lines)
            for write, value in zip(writers, record, strict=True):
                write(row, value)
            row += 1


def _writer(
    book: Book, sheet: Any, column: int, *, placed: Placed, before: Placed | None, frame: pl.DataFrame
) -> Callable[[int, Any], None]:
    one = placed.fields[column]
    look = {**DATA, **KINDS_LOOK.get(one.kind, {}), **(LIVE if one.is_live else {})}
    look["num_format"] = NUMBER_FORMATS[one.kind].format(zeros="0" * decimals(one, placed.fields, frame))
    style, marked = book.style(**look), book.style(**look, quote_prefix=True)

    def formula(row: int, value: Any) -> None:
        text = one.formula_at(row, placed.first, before)
        sheet.write_formula(row - 1, column, text, style, "" if value is None else value)

    def recorded(row: int, value: Any) -> None:
        if value is None:
            sheet.write_blank(row - 1, column, None, style)
        elif isinstance(value, str):
            clean = safe_text(value)
            sheet.write_string(row - 1, column, clean, marked if clean[:1] in FORMULA_SIGNS else style)
        else:
            sheet.write_number(row - 1, column, value, style)

    return formula if one.is_live else recorded


def _write_filters(book: Book, sheet: Any, name: str, placed: Placed) -> None:
    last = len(placed.fields) - 1
    if book.streaming or placed.last < placed.first:
        sheet.autofilter(placed.first - 2, 0, max(placed.last, placed.first) - 1, last)
        return
    headings = [{"header": one.heading, "header_format": book.style(**HEADING)} for one in placed.fields]
    options = {"name": name, "columns": headings, "style": "Table Style Light 1"}
    sheet.add_table(placed.first - 2, 0, placed.last - 1, last, options)


def decimals(one: Field, fields: Sequence[Field], frame: pl.DataFrame) -> int:
    """Decimals an amount is shown with, from 2 to the field's most: what the amounts of its group and unit need."""
    peers = [other.name for other in fields if (other.group, other.unit) == (one.group, one.unit)]
    amounts = [name for name in peers if name in frame.columns and frame.schema[name] == MONEY]
    if one.kind != "amount" or not amounts:
        return one.decimals_max
    return max(2, min(one.decimals_max, most_decimals(frame, amounts)))


def most_decimals(frame: pl.DataFrame, amounts: Sequence[str]) -> int:
    """The most decimals that any amount of these columns has."""
    digits = pl.col(*amounts).cast(pl.String).str.strip_chars_end("0").str.split(".").list.last()
    most: int = frame.select(pl.max_horizontal(digits.str.len_chars().max().fill_null(0))).item()
    return most


def _length(one: Field, fields: Sequence[Field], frame: pl.DataFrame) -> pl.Expr:
    """Characters the longest value of a field takes on the sheet."""
    if one.kind in ("text", "exact", "result"):
        return one.values.str.len_chars().max().cast(pl.Int64) + 4
    if one.kind in ("amount", "count"):
        whole = one.values.abs().max().log10().floor().clip(0, 30).cast(pl.Int64)
        return whole + whole // 3 + (decimals(one, fields, frame) + 5 if one.kind == "amount" else 4)
    return pl.lit(0, dtype=pl.Int64)
