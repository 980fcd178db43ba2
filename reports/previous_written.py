"""What our workbook says of itself, against what is read of it: rows that are missing, and sheets under other names."""

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import polars as pl

from ledger.refusals import BadInput
from ledger.tables import refusals_frame
from reports.cells.fields import without_number
from reports.sheets.reconciliation_breaks import BREAKS_SHEET
from reports.sheets.reconciliation_earlier import EARLIER_SHEET

REVIEWED = re.compile(rf"({BREAKS_SHEET}|{EARLIER_SHEET})( [0-9]+)?")
"""The names of the sheets that reviewers write on."""
HEADER_WITHIN = 100
"""Rows within which the headings stand; people write notes above a table."""
_OURS = {"Checks", "Glossary"}
_CHECKS, _SHEET, _COLUMN, _TOTAL = "Checks", "Sheet", "Column", "Engine's total (exact)"
_COUNTS_ROWS = re.compile(r"\brows\b")


def refuse_renamed(file: str, book: Any, headings: set[str]) -> None:
    """Refuse (BadInput) sheets of our workbook that have all of the headings of breaks, and the name of none."""
    if not set(book.sheetnames) >= _OURS:
        return
    names = [name for name in book.sheetnames if not REVIEWED.fullmatch(name)]
    found = [name for name in names if any(headings <= set(line) for line in _lines(book[name], HEADER_WITHIN))]
    if found:
        rule = "The sheet has breaks and what reviewers wrote, and is not called as such a sheet is."
        remedy = f"Call it {BREAKS_SHEET} or {EARLIER_SHEET} again, as it was; take a copy out of the workbook."
        raise BadInput(refusals_frame([(f"{file}, sheet {name}", None, None, None, rule, remedy) for name in found]))


def missing_rows(file: str, book: Any, reviews: Sequence[tuple[str, pl.DataFrame]]) -> pl.DataFrame:
    """Refusals of sheets that have fewer breaks than Checks says they were written with.

    `reviews` has the name of each sheet, and its rows as texts (columns of REVIEWS, and `row`).
    """
    found = dict[str, set[str]]()
    for name, rows in reviews:
        one_each = rows.select(pl.col("break_id").fill_null(pl.format("row {}", "row"))).to_series()
        found.setdefault(without_number(name), set()).update(one_each)
    refused = []
    for sheet, written in _written(book).items():
        there = len(found.get(sheet, ()))
        if there < written:
            rule = f"The sheet has {there:,} of the {written:,} breaks that it was written with (sheet {_CHECKS})."
            remedy = "Put the rows back; a break that is done with gets the status accepted or corrected."
            refused.append((f"{file}, sheet {sheet}", None, None, None, rule, remedy))
    return refusals_frame(refused)


def _written(book: Any) -> Mapping[str, int]:
    """The rows that each sheet of breaks was written with, all its parts together, as the tie-out has them."""
    written = dict[str, int]()
    places: list[int] = []
    for line in _lines(book[_CHECKS]) if _CHECKS in book.sheetnames else ():
        if {_SHEET, _COLUMN, _TOTAL} <= set(line):
            places = [line.index(heading) for heading in (_SHEET, _COLUMN, _TOTAL)]
        elif places and len(line) > max(places):
            sheet, column, total = (line[place] for place in places)
            if REVIEWED.fullmatch(sheet) and _COUNTS_ROWS.search(column) and total.isdecimal():
                whole = without_number(sheet)
                written[whole] = max(int(total), written.get(whole, 0))
    return written


def _lines(sheet: Any, most: int | None = None) -> Iterator[list[str]]:
    """The rows of a sheet as texts."""
    return ([str(cell.value or "").strip() for cell in cells] for cells in islice(sheet.iter_rows(), most))
