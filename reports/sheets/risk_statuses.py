"""How many positions are in each status, counted above the table of the sheet Risk; and the sheet Status changes."""

from collections.abc import Sequence

import polars as pl

from ledger.risk.columns import RISK_SPANS, STATUSES
from reports.cells.by_group import write_sheet
from reports.cells.counts import FILLED, count
from reports.cells.fields import Field, Placed, Tables
from reports.cells.tables import Book
from reports.sheets.checks import HERE
from reports.sheets.reconciliation_fields import mark_words
from reports.sheets.risk_fields import STATUS_LOOKS, shown

CHANGES_SHEET = "Status changes"
_CROSSED = {"alert": "Alert at", "orders_cancelled": "Cancelled at", "partial": "Partial at", "full": "Full at"}
"""The heading that says when a life first came to a status."""
_MEANINGS = {
    "not_graded": "There is no mark, or no rate, to tell.",
    "normal": "The ratio is above that of the alert, or nothing is owed.",
    "alert": "The ratio is down to that of the alert.",
    "orders_cancelled": "The ratio is down to that of the liquidation: the orders of the position are cancelled.",
    "partial": "It still is: a liquidation in part is due.",
    "full": "It still is: a full liquidation is due.",
}
_GROUPS = {
    "Life of a position": ("position", "episode"),
    "Status": ("status", "from_time", "until_time", "tier"),
    "At its first moment": ("mark_price", "margin_ratio"),
    "Within it": ("lowest_ratio", "lowest_at", "graded"),
    "Identity": ("instrument",),
}
_ABOUT_CHANGES = (
    "One row per stretch of time in which a life has one status; the next one begins where it ends. Empty: it stands."
)


def status_counts(risk: Tables) -> pl.DataFrame:
    """One row per status: status, now (open positions that have it), ever (lives that came to it), meaning."""
    ever = {word: count(risk, (heading, FILLED)).value for word, heading in _CROSSED.items()}
    rows = [
        {"status": word, "now": count(risk, ("Status", word)).value, "ever": ever.get(word), "meaning": _MEANINGS[word]}
        for word in STATUSES
    ]
    schema = {"status": pl.String, "now": pl.UInt64, "ever": pl.UInt64, "meaning": pl.String}
    return pl.DataFrame(rows, schema=schema)


def status_fields(risk: Tables) -> tuple[Field, ...]:
    """The fields of these counts, live from the lives that stand at `risk`."""
    own = "+".join(f"COUNTIFS({placed.range('Status')},A{{row}})" for placed, _ in risk)
    ever, words = '""', '""'
    for word, heading in reversed(_CROSSED.items()):
        ever = f'IF(A{{row}}="{word}",{count(risk, (heading, FILLED)).formula},{ever})'
        words = f'IF(status="{word}",COUNTIFS(lives with {heading.lower().replace(" ", "_")}),{words})'
    now_meaning = "Open positions that have the status."
    ever_meaning = "Lives, open and closed, that came to it at some moment."
    own_words = "COUNTIFS(open positions of the status)"
    return (
        Field("Status", "text", pl.col("status"), "", "What is due.", HERE),
        Field("Open now", "count", pl.col("now"), "positions", now_meaning, HERE, formula=own, words=own_words),
        Field("Ever", "count", pl.col("ever"), "lives", ever_meaning, HERE, formula=ever, words=words),
        Field("Meaning", "text", pl.col("meaning"), "", "What the status means.", HERE),
    )


def change_fields() -> tuple[Field, ...]:
    """The fields of the sheet Status changes."""
    return tuple(shown(RISK_SPANS, _GROUPS))


def write_changes(book: Book, name: str, frame: pl.DataFrame, fields: Sequence[Field]) -> Placed:
    """Write a sheet of stretches; the frame has the columns RISK_SPANS and at most a sheet's rows."""
    placed, sheet = write_sheet(book, name, frame, fields, note=_ABOUT_CHANGES, repeated=2)
    mark_words(book, sheet, placed.range("Status", other_sheet=False), STATUS_LOOKS)
    return placed
