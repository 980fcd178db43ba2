"""What the sheets of risk say in a few words: for About, and for the counts and the areas of the sign-off."""

from collections.abc import Iterator, Sequence
from functools import reduce
from operator import add

import polars as pl

from ledger.risk.columns import STATUSES
from reports.cells.counts import Count, count, rows_of
from reports.cells.fields import Tables
from reports.sheets.derivatives import DERIVATIVE_ROWS, DERIVATIVES
from reports.sheets.liquidations import AGREEING, LIQUIDATIONS_SHEET, SIMULATED_SHEET
from reports.sheets.margin_changes import MARGIN_CHANGES
from reports.sheets.position_history import POSITION_HISTORY
from reports.sheets.risk import RiskParts
from reports.sheets.risk_fields import AT_OR_BELOW_ALERT, AT_OR_BELOW_LIQUIDATION
from reports.sheets.risk_positions import RISK_SHEET
from reports.sheets.risk_statuses import CHANGES_SHEET

_DUE = "liquidations that are due"


def statuses_told(statuses: Sequence[pl.Series]) -> str:
    """How many open positions have each of their statuses (closed lives have none), in words, from the worst on."""
    counts = dict(pl.concat(statuses).drop_nulls().cast(pl.String).alias("status").value_counts().iter_rows())
    told = [f"{counts[word]:,} {word.replace('_', ' ')}" for word in reversed(STATUSES) if word in counts]
    return ", ".join(told) or "no open position"


def risk_counts(found: RiskParts) -> dict[str, Count]:
    """What is counted at the top of the sign-off, by its label; nothing of sheets that are not there."""
    graded = [tables for tables in (found.lives, found.derivatives) if tables]
    counts = dict[str, Count]()
    if graded:
        counts["At or below the alert ratio"] = _at(graded, AT_OR_BELOW_ALERT)
        counts["At or below the liquidation ratio"] = _at(graded, AT_OR_BELOW_LIQUIDATION)
    if found.liquidations:
        counts["Liquidations that do not agree"] = _not_agreeing(found.liquidations)
    if found.margin_changes:
        counts["Changes of margin that are refused"] = count(found.margin_changes, ("Verdict", "refused"))
    return counts


def risk_areas(found: RiskParts) -> Iterator[tuple[str, Tables, Count, str]]:
    """The areas to sign off: name of the sheet, where it stands, its exceptions, and what those are."""
    yield RISK_SHEET, found.lives, _at([found.lives], AT_OR_BELOW_LIQUIDATION), _DUE
    yield CHANGES_SHEET, found.statuses, Count(), ""
    yield LIQUIDATIONS_SHEET, found.liquidations, _not_agreeing(found.liquidations), "liquidations that do not agree"
    yield SIMULATED_SHEET, found.simulated, Count(), ""
    refused = count(found.margin_changes, ("Verdict", "refused"))
    yield MARGIN_CHANGES, found.margin_changes, refused, "changes that are refused"
    yield POSITION_HISTORY, found.history, Count(), ""
    yield DERIVATIVES, found.derivatives, _at([found.derivatives], AT_OR_BELOW_LIQUIDATION), _DUE
    yield DERIVATIVE_ROWS, found.derivative_ledger, Count(), ""


def _at(tables: Sequence[Tables], statuses: Sequence[str]) -> Count:
    """Open positions that have one of the statuses."""
    return reduce(add, (count(one, ("Status", status)) for one in tables for status in statuses), Count())


def _not_agreeing(liquidations: Tables) -> Count:
    """Liquidations that were not booked as they were due; those that only came late agree."""
    found = rows_of(liquidations)
    for verdict in AGREEING:
        found -= count(liquidations, ("Verdict", verdict))
    return found
