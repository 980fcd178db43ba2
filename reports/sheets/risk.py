"""The sheets of risk, and of derivatives: which there are, where each stands, and writing them in their order."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import polars as pl

from reports.cells.fields import Field, Placed, Tables, without_number
from reports.cells.tables import AGREES, DIFFERS, FOLLOWS, Book
from reports.sheets import (
    derivatives,
    liquidations,
    margin_changes,
    position_history,
    risk_positions,
    risk_statuses,
    tiers,
)

DESCRIPTIONS = {
    risk_positions.RISK_SHEET: "Charts and figures: margin ratio, status and liquidation price of each position.",
    risk_statuses.CHANGES_SHEET: "From when to when each life had which status, by events and marks.",
    liquidations.LIQUIDATIONS_SHEET: "Every liquidation that was due or is booked, side by side, with the verdict.",
    liquidations.SIMULATED_SHEET: "The rows that liquidations would have had when they were due; none is booked.",
    margin_changes.MARGIN_CHANGES: "Every change of margin or leverage: before, after, and what the rules say.",
    position_history.POSITION_HISTORY: "Each life of a position: opened, at its peak, closed, and how.",
    derivatives.DERIVATIVES: "Contract positions under isolated margin: balances, risk, measures at the mark price.",
    derivatives.DERIVATIVES_DUE: "Liquidations of contracts that were due, beside those that are booked.",
    derivatives.DERIVATIVE_ROWS: "Opening, change and closing of contracts, value at entry and margin.",
    tiers.TIERS_SHEET: "Rates and limits of the exchange's tiers.",
}
"""What each sheet is, for the index on About."""

COLOURS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("normal", "nothing is due, or it was allowed: green, and says so", AGREES),
    ("alert", "at or below the alert ratio, or nothing to tell by: yellow, and says so", FOLLOWS),
    ("full", "at or below the liquidation ratio, or refused: orange, and says what is due", DIFFERS),
)
"""Samples of the colours of these sheets, for About."""


@dataclass(frozen=True)
class RiskParts:
    """Where the sheets of risk and of derivatives stand; each is empty where its frame is not there, or has no row."""

    lives: Tables = ()
    by_status: Tables = ()
    statuses: Tables = ()
    liquidations: Tables = ()
    simulated: Tables = ()
    margin_changes: Tables = ()
    history: Tables = ()
    derivatives: Tables = ()
    derivatives_due: Tables = ()
    derivative_ledger: Tables = ()
    tiers: Tables = ()

    @property
    def after_over_time(self) -> Tables:
        """The sheets behind Over time."""
        risk = (*self.lives, *self.statuses, *self.liquidations, *self.simulated, *self.margin_changes, *self.history)
        return (*risk, *self.derivatives, *self.derivatives_due, *self.derivative_ledger)

    @property
    def before_parameters(self) -> Tables:
        """The sheet before Parameters."""
        return self.tiers

    @property
    def all(self) -> Tables:
        """Every sheet of risk and of derivatives."""
        return (*self.after_over_time, *self.before_parameters)


def risk_parts(
    frames: Mapping[str, pl.DataFrame], limits: Mapping[str, Decimal], cut: Callable[..., Tables]
) -> RiskParts:
    """Where the sheets will stand: one for each frame that is there and has rows; Risk also without.

    `limits` has the ratios of alert and liquidation by parameter, `cut` cuts a frame into what fits a sheet.
    """

    def sheet(name: str, frame: str, fields: Callable[[], Sequence[Field]], *by: str) -> Tables:
        rows = frames.get(frame)
        if rows is None or rows.is_empty():
            return ()
        return cut(name, rows.sort(*by, nulls_last=False, maintain_order=True) if by else rows, fields())

    life = ("position", "episode")
    lives, by_status = risk_positions.risk_parts(frames["risk"], limits, cut) if "risk" in frames else ((), ())
    changes = frames.get("margin_changes", pl.DataFrame())
    return RiskParts(
        lives=lives,
        by_status=by_status,
        statuses=sheet(risk_statuses.CHANGES_SHEET, "risk_spans", risk_statuses.change_fields, *life, "from_time"),
        liquidations=sheet(
            liquidations.LIQUIDATIONS_SHEET, "liquidations", liquidations.liquidation_fields, *life, "number"
        ),
        simulated=sheet(
            liquidations.SIMULATED_SHEET, "simulated_ledger", liquidations.simulated_fields, "position", "time"
        ),
        margin_changes=margin_changes.change_parts(changes, cut) if changes.height else (),
        history=sheet(position_history.POSITION_HISTORY, "lives", position_history.life_fields, *life),
        derivatives=sheet(derivatives.DERIVATIVES, "derivative_positions", derivatives.derivative_fields, *life),
        derivatives_due=sheet(
            derivatives.DERIVATIVES_DUE, "derivative_liquidations", derivatives.due_fields, *life, "number"
        ),
        derivative_ledger=sheet(
            derivatives.DERIVATIVE_ROWS,
            "derivative_ledger",
            derivatives.ledger_fields,
            *life[:1],
            "event_number",
            "part",
        ),
        tiers=sheet(tiers.TIERS_SHEET, "tiers", tiers.tier_fields, "instrument", "valid_from", "tier"),
    )


def write_risk(book: Book, found: RiskParts, tables: Tables, limits: Mapping[str, Decimal]) -> None:
    """Write those sheets of `found` that are in `tables`, for example `found.after_over_time`, where they stand."""
    writers: dict[str, Callable[..., Placed]] = {
        risk_statuses.CHANGES_SHEET: risk_statuses.write_changes,
        liquidations.LIQUIDATIONS_SHEET: liquidations.write_liquidations,
        liquidations.SIMULATED_SHEET: liquidations.write_simulated,
        position_history.POSITION_HISTORY: position_history.write_lives,
        derivatives.DERIVATIVES: derivatives.write_derivatives,
        derivatives.DERIVATIVES_DUE: derivatives.write_due,
        tiers.TIERS_SHEET: tiers.write_tiers,
    }
    whole = {
        risk_positions.RISK_SHEET: lambda: risk_positions.write_risk(book, found.lives, found.by_status, limits),
        margin_changes.MARGIN_CHANGES: lambda: margin_changes.write_changes(book, found.margin_changes),
        derivatives.DERIVATIVE_ROWS: lambda: derivatives.write_ledgers(book, found.derivative_ledger),
    }
    for name in dict.fromkeys(without_number(placed.sheet) for placed, _ in tables):
        if name in whole:
            whole[name]()
        else:
            for placed, frame in tables:
                if without_number(placed.sheet) == name:
                    writers[name](book, placed.sheet, frame, placed.fields)
