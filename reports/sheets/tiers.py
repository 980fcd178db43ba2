"""The sheet Tiers: what the exchange allows and asks for, by size of the liability or the position."""

from collections.abc import Sequence

import polars as pl

from ledger.risk.columns import TIERS
from reports.cells.by_group import write_sheet
from reports.cells.fields import Field, Placed
from reports.cells.tables import Book
from reports.sheets.risk_fields import not_added, shown

TIERS_SHEET = "Tiers"
_LIMITS = ("smallest_size", "largest_size", "largest_base_loan", "largest_quote_loan")
_GROUPS = {
    "Tier": ("instrument", "valid_from", "tier"),
    "Rates": ("maintenance_rate", "minimum_initial_rate", "maximum_leverage"),
    "Holds up to": ("largest_base_loan", "largest_quote_loan", "smallest_size", "largest_size"),
    "Source": ("stated_by",),
}
_ABOUT = (
    "A position is in the lowest tier whose limit covers what it owes, or the higher one of its two currencies. Tables"
    " are in force until the next one; no time: from the beginning."
)


def tier_fields() -> tuple[Field, ...]:
    """The fields of the sheet; limits are not added up."""
    return tuple(not_added(shown(TIERS, _GROUPS), _LIMITS))


def write_tiers(book: Book, name: str, frame: pl.DataFrame, fields: Sequence[Field]) -> Placed:
    """Write a sheet of tiers; the frame has the columns TIERS and at most a sheet's rows."""
    return write_sheet(book, name, frame, fields, note=_ABOUT, repeated=3)[0]
