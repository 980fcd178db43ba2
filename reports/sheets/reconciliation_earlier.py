"""The sheet Earlier breaks: those of earlier runs that this one does not have, with what reviewers wrote of them."""

from collections.abc import Sequence
from dataclasses import replace

import polars as pl

from ledger.reconciliation.columns import REVIEWS
from reports.cells.by_group import write_sheet
from reports.cells.fields import Field, Placed
from reports.cells.tables import Book
from reports.sheets.reconciliation_fields import DECIMALS_MAX, EXACT_GROUP, grouped, in_row
from reports.sheets.reconciliation_reviews import allow_entries, as_entries, days_open

EARLIER_SHEET = "Earlier breaks"
_GROUPS = {
    "Break": ("position", "figure", "stated_by", "unit"),
    "When last seen": ("difference",),
    "Age": ("state", "change", "first_seen", "last_seen", "resolved_at", "days_open"),
    "Review": ("owner", "status", "comment"),
    EXACT_GROUP: ("break_id",),
}
_ABOUT = (
    "Breaks of earlier runs that this one does not have: resolved where it compared the figure and it agrees;"
    " open where it did not compare it. One that comes back is on the sheet Breaks again, as old as it was."
)
_COLUMNS = tuple(column for column in REVIEWS if column.name != "difference_before")


def earlier(reviews: pl.DataFrame) -> pl.DataFrame:
    """The rows of REVIEWS whose breaks this run does not have."""
    return reviews.filter(pl.col("change").cast(pl.String).is_in(["resolved", "resolved before", "not compared"]))


def earlier_fields(_: pl.DataFrame) -> tuple[Field, ...]:
    """The fields of the sheet."""
    fields = as_entries(grouped(_COLUMNS, _GROUPS, beside=("difference",)))
    cell = in_row(fields)
    aged = [
        days_open(one, cell["first_seen"], cell["resolved_at"]) if one.name == "days_open" else one for one in fields
    ]
    return tuple(replace(one, decimals_max=DECIMALS_MAX) if one.kind == "amount" else one for one in aged)


def write_earlier(book: Book, name: str, frame: pl.DataFrame, fields: Sequence[Field]) -> Placed:
    """Write a sheet of breaks of earlier runs; the frame has the columns REVIEWS and at most a sheet's rows."""
    placed, sheet = write_sheet(book, name, frame, fields, note=_ABOUT, repeated=2)
    allow_entries(sheet, placed)
    return placed
