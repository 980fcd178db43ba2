"""The sheets of derivatives: a row per life of a contract position, per part of an event, per liquidation."""

from collections.abc import Sequence
from dataclasses import replace

import polars as pl

from ledger.columns import MARK_FIGURES
from ledger.derivatives.columns import DERIVATIVE_LEDGER, DERIVATIVE_LIQUIDATIONS, DERIVATIVE_POSITIONS
from ledger.risk.columns import LIQUIDATION_VERDICTS
from reports.cells.by_group import write_sheet
from reports.cells.fields import Field, Placed, Tables
from reports.cells.tables import Book
from reports.sheets.reconciliation_fields import BAD, GOOD, OPEN, in_row, live, mark_words, prose
from reports.sheets.risk_fields import STATUS_LOOKS, not_added, shown

DERIVATIVES, DERIVATIVE_ROWS, DERIVATIVES_DUE = "Derivatives", "Derivative ledger", "Derivative liquidations"
_BALANCES = ("contracts", "entry_value", "margin")
_GROUPS = {
    "Life of a position": ("position", "episode", "direction", "how"),
    "Risk": ("status", "tier", "margin_ratio", "mark_price", "liquidation_price", "liquidation_price_shown"),
    "Balances": _BALANCES,
    "At the mark price": ("floating_pnl", "floating_pnl_ratio", "maintenance_margin", "liquidation_fee"),
    "Paid and realised": ("initial_margin", "realised_pnl", "funding", "fees", "insurance_fund"),
    "First moment of": ("alert_at", "cancelled_at", "partial_at", "full_at"),
    "Lowest": ("lowest_ratio", "lowest_at", "graded"),
    "Entry and size": ("entry_price", "position_size", "bankruptcy_price", "distance_to_liquidation", "option_value"),
    "Rates": ("maintenance_rate", "liquidation_fee_rate", "leverage"),
    "Life": ("opened", "closed", "mark_time", "events"),
    "Contract": ("instrument", "instrument_class", "position_side", "face_value", "multiplier", "tick"),
    "Identity": ("account", "base_currency", "quote_currency", "settle_currency"),
}
_EMPTIES = {
    *("contracts", "face_value", "multiplier", "tick", "entry_value", "margin", "initial_margin"),
    *(column.name for column in MARK_FIGURES),
}
"""Recorded columns that may be empty: those of the end, for a closed life, and of a mark or contract, if unknown."""
_ABOUT = (
    "One row per life of a contract position under isolated margin. Contracts below zero are short. Liquidation price"
    " shown: as the exchange shows it, one tick nearer to the mark."
)
_LEDGER_GROUPS = {
    "Event": ("position", "event_number", "part", "time", "action", "side"),
    "Contracts": ("contracts_opening", "contracts_change", "contracts_closing"),
    "Value at entry": ("entry_value_opening", "entry_value_change", "entry_value_closing"),
    "Margin": ("margin_opening", "margin_change", "margin_closing"),
    "Source": ("event_id", "input", "row"),
    "Fill": ("quantity", "price", "value", "fee", "funding"),
    "Other accounts": ("realised_pnl", "account_change", "insurance_fund"),
    "State": ("kind", "episode", "direction", "settle_currency"),
    "Leverage and entry": ("leverage", "initial_margin", "margin_formula", "entry_price"),
}
_ABOUT_LEDGER = (
    "Each opening is the closing of the row above, or zero on a position's first row. Row is that of the input."
)
_PAIRS = ("quantity", "price", "fee", "insurance_fund", "returned")
_DUE_GROUPS = {
    "Liquidation": ("position", "episode", "number", "verdict"),
    "When": ("due_at", "due_mark", "booked_at", "step", "label"),
    "Explanation": ("explanation",),
    **{name.replace("_", " ").capitalize(): (f"{name}_due", f"{name}_booked") for name in _PAIRS},
    "Realised PnL": ("realised_pnl_due",),
    "Ratio and tier": ("ratio_before", "ratio_after", "tier_before", "tier_after"),
    "Contract": ("instrument", "instrument_class", "direction", "side", "settle_currency"),
    "Source": ("event_id",),
}
_ABOUT_DUE = (
    "One row per liquidation of a contract position that was due by the marks, or is booked, or both. A full one is due"
    " at the bankruptcy price or at the mark."
)
_VERDICT_LOOKS = dict.fromkeys(LIQUIDATION_VERDICTS, BAD) | {"agrees": GOOD, "late": OPEN, "not_graded": OPEN}
_SETTLE = "settle currency"


def derivative_fields() -> tuple[Field, ...]:
    """The fields of the sheet Derivatives, measures live; these are at a mark and are not added up."""
    computed = {column.name for column in DERIVATIVE_POSITIONS if column.formula} | {"face_value"}
    fields = shown(DERIVATIVE_POSITIONS, _GROUPS, empties=_EMPTIES)
    return tuple(map(_in_settle_currency, not_added(fields, computed)))


def ledger_fields() -> tuple[Field, ...]:
    """The fields of the sheet Derivative ledger, with live openings and closings."""
    fields = shown(DERIVATIVE_LEDGER, _LEDGER_GROUPS)
    cell = in_row(fields)
    formulas = {}
    for balance in _BALANCES:
        above = cell[f"{balance}_closing"].replace("{row}", "{above}")
        first = "AND({},{})".format(*(f"{cell[name]}=1" for name in ("event_number", "part")))
        words = f"IF(AND(event_number=1,part=1),0,{balance}_closing of the row above)"
        formulas[f"{balance}_opening"] = (f"IF({first},0,{{sheet}}{above})", words)
    return tuple(map(_in_settle_currency, live(fields, formulas)))


def write_derivatives(book: Book, name: str, frame: pl.DataFrame, fields: Sequence[Field]) -> Placed:
    """Write a sheet of lives; the frame has the columns DERIVATIVE_POSITIONS and at most a sheet's rows."""
    placed, sheet = write_sheet(book, name, frame, fields, note=_ABOUT, repeated=2)
    mark_words(book, sheet, placed.range("Status", other_sheet=False), STATUS_LOOKS)
    return placed


def due_fields() -> tuple[Field, ...]:
    """The fields of the sheet Derivative liquidations."""
    return tuple(map(_in_settle_currency, prose(shown(DERIVATIVE_LIQUIDATIONS, _DUE_GROUPS), ["explanation"])))


def write_due(book: Book, name: str, frame: pl.DataFrame, fields: Sequence[Field]) -> Placed:
    """Write a sheet of liquidations; the frame has the columns DERIVATIVE_LIQUIDATIONS, at most a sheet's rows."""
    placed, sheet = write_sheet(book, name, frame, fields, note=_ABOUT_DUE, repeated=3)
    mark_words(book, sheet, placed.range("Verdict", other_sheet=False), _VERDICT_LOOKS)
    return placed


def write_ledgers(book: Book, tables: Tables) -> None:
    """Write the sheets of the ledger, each of which goes on where the one before ends."""
    before: Placed | None = None
    for placed, frame in tables:
        fields = placed.fields
        before = write_sheet(book, placed.sheet, frame, fields, note=_ABOUT_LEDGER, repeated=3, before=before)[0]


def _in_settle_currency(one: Field) -> Field:
    return replace(one, currency=pl.col("settle_currency")) if one.unit == _SETTLE and one.kind == "amount" else one
