"""The sheets Liquidations, as due beside as booked, with live differences, and Simulated ledger, of those due."""

from collections.abc import Sequence
from dataclasses import replace

import polars as pl

from ledger.risk.columns import LIQUIDATION_VERDICTS, LIQUIDATIONS, SIMULATED_LEDGER
from reports.cells.by_group import write_sheet
from reports.cells.fields import Field, Placed
from reports.cells.tables import Book
from reports.sheets.reconciliation_fields import BAD, GOOD, LIVE_DECIMALS_MAX, OPEN, mark_words, prose
from reports.sheets.risk_fields import shown

LIQUIDATIONS_SHEET, SIMULATED_SHEET = "Liquidations", "Simulated ledger"
AGREEING = ("agrees", "late")
"""The verdicts of what is booked as it was due, be it later."""
_PAIRS = ("quantity", "price", "repaid", "fee", "realised_pnl", "insurance_fund", "returned")
_DIFFERENCES = tuple(f"{name}_difference" for name in _PAIRS)
_GROUPS = {
    "Liquidation": ("position", "episode", "number", "verdict"),
    "When": ("due_at", "due_mark", "booked_at", "step", "label"),
    "Explanation": ("explanation",),
    **{name.replace("_", " ").capitalize(): (f"{name}_due", f"{name}_booked", f"{name}_difference") for name in _PAIRS},
    "Ratio and tier": ("ratio_before", "ratio_after", "tier_before", "tier_after", "bankruptcy_price"),
    "Identity": ("instrument", "instrument_class", "direction", "side", "liability_currency", "margin_currency"),
    "Source": ("event_id",),
}
_VERDICT_LOOKS = dict.fromkeys(LIQUIDATION_VERDICTS, BAD) | {"agrees": GOOD, "late": OPEN, "not_graded": OPEN}
_ABOUT = (
    "One row per liquidation that was due by the marks, or is booked, or both. Difference = booked - due; in the last"
    " decimals the exact one counts."
)
_SIMULATED_GROUPS = {
    "Event": ("position", "event_number", "part", "time", "action", "side"),
    "Base leg": ("base_opening", "base_change", "base_closing"),
    "Quote leg": ("quote_opening", "quote_change", "quote_closing"),
    "Margin": ("margin_opening", "margin_change", "margin_closing"),
    "Source": ("event_id",),
    "Fill": ("quantity", "price", "value", "fee", "fee_currency"),
    "Other accounts": ("account_base", "account_quote", "insurance_fund", "interest", "realised_pnl"),
    "State": ("kind", "episode", "direction", "mode", "reason"),
    "Leverage and entry": ("leverage", "initial_margin", "margin_formula", "entry_price"),
}
_NO_FILE = ("input", "row")
"""Columns of the ledger that name a file: what is simulated comes from none."""
_ABOUT_SIMULATED = (
    "The rows that liquidations would have when they were due, in place of what came after them. None of it is booked."
)


def liquidation_fields() -> tuple[Field, ...]:
    """The fields of the sheet Liquidations, the differences live."""
    empties = [f"{name}_{side}" for name in _PAIRS for side in ("due", "booked")]
    fields = prose(shown(LIQUIDATIONS, _GROUPS, empties=empties, beside=_DIFFERENCES), ["explanation"])
    return tuple(
        replace(one, decimals_max=LIVE_DECIMALS_MAX) if one.kind == "amount" and one.name in _DIFFERENCES else one
        for one in fields
    )


def simulated_fields() -> tuple[Field, ...]:
    """The fields of the sheet Simulated ledger: as on the Ledger, but openings are those of a moment, as recorded."""
    return tuple(shown(SIMULATED_LEDGER, _SIMULATED_GROUPS, left_out=_NO_FILE))


def write_liquidations(book: Book, name: str, frame: pl.DataFrame, fields: Sequence[Field]) -> Placed:
    """Write a sheet of liquidations; the frame has the columns LIQUIDATIONS and at most a sheet's rows."""
    placed, sheet = write_sheet(book, name, frame, fields, note=_ABOUT, repeated=3)
    mark_words(book, sheet, placed.range("Verdict", other_sheet=False), _VERDICT_LOOKS)
    return placed


def write_simulated(book: Book, name: str, frame: pl.DataFrame, fields: Sequence[Field]) -> Placed:
    """Write a sheet of simulated rows; the frame has the columns SIMULATED_LEDGER and at most a sheet's rows."""
    return write_sheet(book, name, frame, fields, note=_ABOUT_SIMULATED, repeated=3)[0]
