"""A sheet of one table whose columns stand in groups: title, note, table, and which columns are on which page."""

import re
from collections.abc import Sequence
from itertools import groupby
from typing import Any

from reports.cells.bodies import Rows
from reports.cells.fields import Field, Placed
from reports.cells.tables import BAND, COLUMN_MARGIN, PAGE_WIDTH, PRINT_SCALE, Book, fit_columns, write_table

_TOP, _HEADER_ROW = 3, 6
"""The row of the groups, and that of the headings, counted from 1."""
_SCALE_MIN = 54
"""Per cent at which small print can still be read."""
_FULL_ENOUGH = 0.4
"""Share of a page that is filled before a group which goes beyond it begins the next one."""
_HEADER = '&L&"Arial,Bold"&20&A\n&13&"Arial,Italic"'
"""Name of the sheet and begin of the note, in sizes that the print scale makes smaller."""
_FOOTER = "&LSpot margin ledger, &F&RPage &P of &N"
_HEADER_MAX = 255
"""Characters that a spreadsheet takes for a page's header, codes included."""


def write_sheet(
    book: Book,
    name: str,
    frame: Rows,
    fields: Sequence[Field],
    *,
    note: str,
    repeated: int,
    before: Placed | None = None,
) -> tuple[Placed, Any]:
    """Write a frame of at most a sheet's rows as a sheet of its own: title, note, groups, table, print set-up.

    The first columns, so many as are `repeated`, stay beside all others, on the screen and on every page. `before` is
    where the rows before these ones stand, when they are on another sheet.
    """
    sheet = book.sheet(name)
    widths = fit_columns(sheet, fields, frame)
    book.title(sheet, name, note)
    placed = write_table(book, sheet, table_name(name), fields, frame, top=_TOP, bands=True, before=before)
    sheet.freeze_panes(_HEADER_ROW, repeated)
    scale, columns = _fewest_pages(fields, widths, repeated)
    _break_pages(book, sheet, fields, [page[0] for page in columns[1:]])
    _set_print(sheet, placed, scale, repeated, note)
    return placed, sheet


def table_name(sheet: str) -> str:
    """The name of a sheet's table: a name takes no blanks and hyphens."""
    return sheet.replace(" ", "_").replace("-", "_")


def pages(fields: Sequence[Field], widths: Sequence[float], repeated: int, width: float) -> list[list[int]]:
    """The columns of each page by their numbers from 0, but for the first ones that are `repeated` on all.

    A page takes columns while they fit its `width`, in characters as `widths`. A group that goes beyond it begins the
    next page if it fits there and leaves this one full enough; else it is broken between columns.
    """
    taken = [one + COLUMN_MARGIN for one in widths]
    room = width - sum(taken[:repeated])
    found: list[list[int]] = [[]]
    for _, numbers in groupby(range(repeated, len(fields)), key=lambda number: fields[number].group):
        group = list(numbers)
        whole, used = sum(taken[n] for n in group), sum(taken[n] for n in found[-1])
        if _FULL_ENOUGH * room <= used and room - used < whole <= room:
            found.append([])
        for number in group:
            if found[-1] and sum(taken[n] for n in found[-1]) + taken[number] > room:
                found.append([])
            found[-1].append(number)
    return found


def _fewest_pages(fields: Sequence[Field], widths: Sequence[float], repeated: int) -> tuple[int, list[list[int]]]:
    """The largest scale, in per cent, that takes no more pages than smaller print would, and the columns of each."""
    scales = range(PRINT_SCALE, _SCALE_MIN - 1, -1)
    found = [(scale, pages(fields, widths, repeated, PAGE_WIDTH * PRINT_SCALE / scale)) for scale in scales]
    return min(found, key=lambda one: len(one[1]))


def _break_pages(book: Book, sheet: Any, fields: Sequence[Field], firsts: list[int]) -> None:
    """Begin pages at these columns, and say again which group goes on there."""
    for first in firsts:
        if fields[first - 1].group == fields[first].group:
            sheet.write_string(_TOP - 1, first, f"{fields[first].group} (continued)", book.style(**BAND))
    sheet.set_v_pagebreaks(firsts)


def _set_print(sheet: Any, placed: Placed, scale: int, repeated: int, note: str) -> None:
    """Title and note are the header of each page: in cells, they would be cut at its edge."""
    sheet.print_area(_TOP - 1, 0, max(placed.first, placed.last) - 1, len(placed.fields) - 1)
    sheet.set_print_scale(scale)
    sheet.repeat_columns(0, repeated - 1)
    sheet.repeat_rows(_TOP - 1, _HEADER_ROW - 1)
    sheet.print_across()
    sheet.set_margins(left=0.4, right=0.4, top=0.9, bottom=0.6)
    sheet.set_header(_HEADER + _printed_note(note))
    sheet.set_footer(_FOOTER)


def _printed_note(note: str) -> str:
    """As many sentences of a note as a page's header takes, which fit on a line."""
    sentences = re.split(r"(?<=\.) ", note.replace("&", "&&"))
    while len(_HEADER + " ".join(sentences)) > _HEADER_MAX:
        sentences.pop()
    return " ".join(sentences)
