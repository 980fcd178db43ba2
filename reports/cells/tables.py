"""What all sheets share: cell styles, and the one way a table gets onto a sheet."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl
from xlsxwriter import Workbook  # type: ignore[import-untyped]
from xlsxwriter.exceptions import FileCreateError  # type: ignore[import-untyped]
from xlsxwriter.utility import xl_col_to_name  # type: ignore[import-untyped]

from ledger.progress import Progress, silent
from reports.cells.bodies import Body, Looks, Rows
from reports.cells.fields import Field, Placed, place
from reports.cells.number_formats import Shown, code_of, shown
from reports.cells.packing import pack
from reports.cells.texts import FORMULA_SIGNS, safe_text

PERCENT = "#,##0.00##%_);[Red](#,##0.00##%);0.00%_)"
NUMBER_FORMATS = {
    "percent": PERCENT,
    "count": "#,##0_);[Red](#,##0);0_)",
    "small": "0.00E+00_);[Red](0.00E+00);0_)",
    "plain": "General",
    "days": "0.000000",
    "time": "yyyy-mm-dd hh:mm:ss.000",
    "day": "yyyy-mm-dd",
    "rate": "0.00##############",
    "text": "@",
    "prose": "@",
    "exact": "@",
    "result": "@",
}
"""Of every kind of cells but amounts, which have the decimals that their currency needs."""
WIDTHS = {
    "prose": 55,
    "amount": 12,
    "percent": 11,
    "count": 9,
    "small": 12,
    "plain": 14,
    "days": 12,
    "time": 23,
    "day": 12,
    "rate": 20,
    "text": 9,
    "exact": 12,
    "result": 12,
}
_BUTTON = 3
"""Characters that the button of a filter covers."""
PRINT_SCALE = 58
PAGE_WIDTH, COLUMN_MARGIN = 243.0, 0.71
"""Characters that fit across a landscape page at that scale; the characters that a column takes beside its own."""
LOOK = {"font_name": "Arial", "font_size": 10, "valign": "top"}
DATA = {"bottom": 1, "bottom_color": "#D9D9D9"}
LIVE = {"bg_color": "#EAF1FB"}
EXACT = {"font_color": "#444444", "align": "right", "indent": 1}
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

_ONE_LINE = 12
"""Characters of a unit, or of what cells are, that any column is wide enough for."""
FORMATS_MAX = 150
"""Formats of amounts with a currency's code that a workbook takes: a spreadsheet holds some 200 of all kinds."""
FIXED_DATE = datetime(2000, 1, 1)


class Book:
    """A workbook being written: what XlsxWriter writes, the bodies of tables that are put in later, and the styles."""

    def __init__(self, workbook: Workbook) -> None:
        self.workbook = workbook
        self.bodies: defaultdict[int, list[Body]] = defaultdict(list)
        self._styles: dict[tuple[tuple[str, Any], ...], Any] = {}
        self._formats: set[str] = set()

    def style(self, **properties: Any) -> Any:
        """A cell style with these properties on top of the common look; made once."""
        key = tuple(sorted({**LOOK, **properties}.items()))
        if key not in self._styles:
            self._styles[key] = self.workbook.add_format(dict(key))
        return self._styles[key]

    def takes_formats(self, formats: set[str]) -> bool:
        """Whether the workbook has room for these formats with a code; if so, they are counted among its own."""
        if len(self._formats | formats) > FORMATS_MAX:
            return False
        self._formats |= formats
        return True

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

    def title(self, sheet: Any, title: str, note: str = "") -> None:
        """The first row's title and the second row's note."""
        sheet.set_row(0, 24)
        self.text(sheet, 0, 0, title, bold=True, font_size=14)
        self.text(sheet, 1, 0, note, **NOTE)

    def text(self, sheet: Any, row: int, column: int, text: str, **look: Any) -> None:
        """Text in a cell (rows and columns from 0), never a formula, and marked so if it begins like one."""
        clean = safe_text(text)
        if clean.startswith(FORMULA_SIGNS):
            look["quote_prefix"] = True
        if clean.startswith("<r>"):
            # XlsxWriter would take it for markup of its own.
            clean = f"\\x3c{clean[1:]}"
        sheet.write_string(row, column, clean, self.style(**look))


@contextmanager
def new_book(path: Path, progress: Progress = silent, **properties: str) -> Iterator[Book]:
    """A workbook to write on, with document properties; at the end of the block it is saved as `path`.

    It appears only when it is complete: if the block fails, nothing does. What is written in the same way has the same
    bytes. Raises OSError when the file cannot be written.
    """
    # In the same folder, so that the last step is a rename and never a copy.
    with TemporaryDirectory(prefix=".workbook-", dir=path.parent) as folder:
        draft, whole = Path(folder) / "draft.xlsx", Path(folder) / "whole.xlsx"
        book = Book(Workbook(str(draft), {"tmpdir": folder, "default_format_properties": dict(LOOK)}))
        book.workbook.set_properties({"created": FIXED_DATE, **properties})
        yield book
        try:
            book.workbook.close()
        except FileCreateError as error:
            cause = error.args[0] if error.args else error
            raise cause if isinstance(cause, OSError) else OSError(str(error)) from error
        pack(draft, whole, book.bodies, progress)
        whole.replace(path)


def write_table(
    book: Book,
    sheet: Any,
    name: str,
    fields: Sequence[Field],
    frame: Rows,
    *,
    top: int,
    bands: bool = False,
    before: Placed | None = None,
) -> Placed:
    """Write a frame as a table from row `top` (counted from 1) on; the row of headings carries the filters.

    With `bands`, three rows above the headings say the group, the unit and what the cells are. `before` is
    where the rows before these ones stand, when they are on another sheet. The rows are made when the workbook is
    saved (`reports.cells.bodies`): nothing else may stand in them.
    """
    height = frame.lazy().select(pl.len()).collect().item()
    placed = place(sheet.get_name(), fields, height, top, bands)
    header = placed.first - 2
    if bands:
        _write_bands(book, sheet, fields, top - 1)
    sheet.set_row(header, 30)
    for column, one in enumerate(fields):
        sheet.write_string(header, column, one.heading, book.style(**HEADING))
    if height:
        _write_body(book, sheet, name, placed, frame, before)
    else:
        sheet.autofilter(header, 0, header + 1, len(fields) - 1)
    return placed


def fit_columns(sheet: Any, fields: Sequence[Field], frame: Rows, widest: int = 60) -> list[float]:
    """Set each column as wide as its longest value, its heading and its unit need; gives the widths."""
    amounts = shown(fields, frame)
    pairs = enumerate(zip(fields, amounts, strict=True))
    lengths = frame.lazy().select(_length(one, amount).alias(str(n)) for n, (one, amount) in pairs).collect().row(0)
    widths = [
        max(
            min(widest, max(WIDTHS[one.kind], length or 0)),
            _two_lines(one.heading) + _BUTTON,
            _two_lines(one.unit),
            _two_lines(one.how),
        )
        for one, length in zip(fields, lengths, strict=True)
    ]
    for column, width in enumerate(widths):
        sheet.set_column(column, column, width)
    return [float(width) for width in widths]


def fit_page(sheet: Any, widths: Sequence[float]) -> None:
    """Print columns of these widths across one page; unlike a spreadsheet's own fitting it heeds breaks of rows."""
    taken = sum(widths) + COLUMN_MARGIN * len(widths)
    sheet.set_print_scale(int(PRINT_SCALE * min(1, PAGE_WIDTH / taken)))


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
        longest = max(len(getattr(one, text)) for one in fields)
        sheet.set_row(top + offset, 28 if longest > _ONE_LINE else 14)
        for column, one in enumerate(fields):
            sheet.write_string(top + offset, column, getattr(one, text), book.style(**NOTE, text_wrap=True))


def _write_body(book: Book, sheet: Any, name: str, placed: Placed, frame: Rows, before: Placed | None) -> None:
    """Leave the rows to be put in when the workbook is saved; until then the table has one, with their styles in it."""
    headings = [{"header": one.heading, "header_format": book.style(**HEADING)} for one in placed.fields]
    options = {"name": name, "columns": headings, "style": "Table Style Light 1"}
    sheet.add_table(placed.first - 2, 0, placed.first - 1, len(headings) - 1, options)
    styles: dict[Any, int] = {}
    amounts = shown(placed.fields, frame)
    formats = {one.format(code) for one in amounts for code in one.by_code}
    if not book.takes_formats(formats):
        amounts = [one.without_codes() for one in amounts]
    columns = frame.collect_schema()
    looks = [_looks(book, styles, one, amount, columns) for one, amount in zip(placed.fields, amounts, strict=True)]
    for column, style in enumerate(styles):
        sheet.write_blank(placed.first - 1, column, None, style)
    everything = f"A{placed.first}:{xl_col_to_name(len(headings) - 1)}{placed.last}"
    sheet.ignore_errors({"number_stored_as_text": everything, "formula_differs": everything})
    number = book.workbook.worksheets().index(sheet) + 1
    book.bodies[number].append(Body(name, placed, frame, looks, before))


def _looks(book: Book, styles: dict[Any, int], one: Field, amount: Shown, columns: Collection[str]) -> Looks:
    """The styles of a field's cells, added to `styles` where those do not have them yet."""
    look = {**DATA, **KINDS_LOOK.get(one.kind, {}), **(LIVE if one.is_live else {})}

    def style(form: str, **more: Any) -> int:
        return styles.setdefault(book.style(**look, num_format=form, **more), len(styles))

    if one.kind == "amount":
        plain = style(amount.format())
        if one.is_count is not None:
            count = pl.when(one.is_count).then(pl.lit("count"))
            return Looks(plain, plain, {"count": style(NUMBER_FORMATS["count"])}, count)
        by_code = {code: style(amount.format(code)) for code in amount.by_code}
        return Looks(plain, plain, by_code, code_of(one, columns) if by_code else None)
    form = NUMBER_FORMATS[one.kind]
    plain = style(form)
    return Looks(plain, style(form, quote_prefix=True) if form == "@" and not one.is_live else plain)


def _two_lines(text: str) -> int:
    """The width that takes a text on the two lines that there are for it above a column."""
    words = text.split()
    halves = [(" ".join(words[:n]), " ".join(words[n:])) for n in range(len(words))]
    return min((max(map(len, lines)) for lines in halves), default=0)


def _length(one: Field, amount: Shown) -> pl.Expr:
    """Characters the longest value of a field takes on the sheet."""
    if one.kind in ("text", "exact", "result"):
        return one.values.str.len_chars().max().cast(pl.Int64) + 4
    if one.kind in ("amount", "count"):
        whole = one.values.abs().max().log10().floor().clip(0, 30).cast(pl.Int64)
        return whole + whole // 3 + (amount.width + 5 if one.kind == "amount" else 4)
    return pl.lit(0, dtype=pl.Int64)
