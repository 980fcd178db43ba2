"""The sheet Position history: each life of a position from its opening over its peak to its end."""

from collections.abc import Sequence

import polars as pl

from ledger.risk.columns import LIQUIDATED, LIVES
from reports.cells.by_group import write_sheet
from reports.cells.fields import Field, Placed
from reports.cells.tables import Book
from reports.sheets.reconciliation_fields import BAD, mark_words
from reports.sheets.risk_fields import shown

POSITION_HISTORY = "Position history"
_GROUPS = {
    "Life of a position": ("position", "episode", "mode", "direction", "how", "label"),
    "Opened, at its peak, closed": ("opened", "peak_at", "peak_liability", "closed"),
    "Quantities": ("opened_quantity", "closed_quantity", "liquidated_quantity"),
    "Average prices": ("entry_price", "exit_price"),
    "Margin": ("margin_posted", "margin_added", "lowest_ratio"),
    "Costs": ("fees_base", "fees_quote", "interest_charged"),
    "Outcome": ("realised_pnl", "returned", "insurance_fund"),
    "Identity": ("account", "instrument", "margin_currency"),
}
_ABOUT = (
    f"One row per life of a position. {LIQUIDATED}: a liquidation is booked. Prices are averages, for display; closed"
    " quantities have those of liquidations in them."
)


def life_fields() -> tuple[Field, ...]:
    """The fields of the sheet."""
    return tuple(shown(LIVES, _GROUPS))


def write_lives(book: Book, name: str, frame: pl.DataFrame, fields: Sequence[Field]) -> Placed:
    """Write a sheet of lives; the frame has the columns LIVES and at most a sheet's rows."""
    placed, sheet = write_sheet(book, name, frame, fields, note=_ABOUT, repeated=2)
    mark_words(book, sheet, placed.range("Label", other_sheet=False), {LIQUIDATED: BAD})
    return placed
