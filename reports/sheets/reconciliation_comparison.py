"""The sheets Comparison, a row per figure of ledger and exchange, and Events, what is not on both sides alike."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import polars as pl

from ledger.reconciliation.columns import COMPARISON, FOUND, MATCHES
from reports.cells.by_group import write_sheet
from reports.cells.fields import Field, Placed
from reports.cells.tables import Book
from reports.sheets.reconciliation_fields import (
    BAD,
    GOOD,
    LIVE_DECIMALS_MAX,
    OPEN,
    difference_formula,
    grouped,
    live,
    mark_words,
    prose,
)

COMPARISON_SHEET, EVENTS_SHEET = "Comparison", "Events"
_COMPARISON_GROUPS = {
    "Figure": ("position", "figure", "unit", "time"),
    "Ledger and exchange": ("ledger", "exchange"),
    "Difference": ("difference", "tolerance", "verdict", "material", "break_id"),
    "Explanation": ("note",),
    "Source of the exchange's figure": ("stated_by", "input", "row"),
}
_VERDICTS = {
    "matched": GOOD,
    "break": BAD,
    "only_in_ledger": BAD,
    "only_at_exchange": BAD,
    "not_compared": OPEN,
}
_EVENT_GROUPS = {
    "Event": ("position", "time", "kind", "found"),
    "What differs": ("cause", "differs_in"),
    "In the ledger": ("ledger_event_id", "ledger_input", "ledger_row"),
    "At the exchange": ("exchange_event_id", "exchange_input", "exchange_row"),
}
_ABOUT_COMPARISON = (
    "Difference = ledger - exchange, in the last decimals the exact one counts. Matched: within the tolerance. A figure"
    " that is not compared says why."
)
_IN_COMMON = "in_common"


def comparison_fields(frame: pl.DataFrame) -> tuple[Field, ...]:
    """The fields of the sheet Comparison; differences are live, and empty where the frame's are."""
    fields = prose(grouped(COMPARISON, _COMPARISON_GROUPS, beside=("difference",)), ["note"])
    looks: dict[str, dict[str, Any]] = {
        "difference": {"decimals_max": LIVE_DECIMALS_MAX},
        "tolerance": {"kind": "small"},
    }
    fields = [replace(one, **looks[one.name]) if one.kind == "amount" and one.name in looks else one for one in fields]
    return tuple(live(fields, difference_formula(fields, frame), difference=("ledger", "exchange")))


def write_comparison(book: Book, name: str, frame: pl.DataFrame, fields: Sequence[Field]) -> Placed:
    """Write a sheet of the comparison; the frame has the columns COMPARISON and at most a sheet's rows."""
    placed, sheet = write_sheet(book, name, frame, fields, note=_ABOUT_COMPARISON, repeated=2)
    mark_words(book, sheet, placed.range("Verdict", other_sheet=False), _VERDICTS)
    return placed


def apart(matches: pl.DataFrame) -> pl.DataFrame:
    """The events that are not alike on both sides, by position and time."""
    return matches.filter(pl.col("found") != _IN_COMMON).sort("position", "time", maintain_order=True)


def counted(matches: pl.DataFrame) -> str:
    """A sentence on how many events stand where."""
    counts = dict(matches["found"].cast(pl.String).value_counts().iter_rows())
    said = ", ".join(f"{counts.get(word, 0):,} {word.replace('_', ' ')}" for word in FOUND)
    return f"{said}. Those in common are not listed."


def event_fields() -> tuple[Field, ...]:
    """The fields of the sheet Events."""
    return tuple(prose(grouped(MATCHES, _EVENT_GROUPS), ["differs_in"]))


def write_events(book: Book, name: str, frame: pl.DataFrame, fields: Sequence[Field], note: str) -> Placed:
    """Write a sheet of the events that are not in common; `note` is what `counted` says of all."""
    placed, sheet = write_sheet(book, name, frame, fields, note=note, repeated=2)
    mark_words(book, sheet, placed.range("Found", other_sheet=False), dict.fromkeys(FOUND[1:], BAD))
    return placed
