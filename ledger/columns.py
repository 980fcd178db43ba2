"""The one registry of columns: name, type, unit, meaning, source, and the formula where the column is computed.

Frames take their schema from here, sheets their formulas, the glossary and the README their text.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import polars as pl

from ledger import measures
from ledger.money import MONEY

TIME = pl.Datetime("us", "UTC")
FLAG = pl.Int8

KINDS = ("fill", "interest", "margin", "leverage", "liquidation", "opening", "adjustment")
SIDES = ("buy", "sell")
MODES = ("old", "new")
DIRECTIONS = ("long", "short")
ACTIONS = ("open", "increase", "reduce", "close", "leftover", "interest", "margin", "leverage", "adjustment")
ACCOUNTS = (
    "account",
    "assets",
    "liability",
    "margin",
    "interest",
    "fees",
    "insurance_fund",
    "counterparty",
    "brought_forward",
    "adjustments",
)
HOW_CLOSED = ("open", "closed", "reversed", "liquidated")
MOMENTS = (*ACTIONS, "mark")


@dataclass(frozen=True)
class Column:
    """One column of one frame. `formula` is set where the column is computed from others of the same row."""

    name: str
    dtype: Any
    unit: str
    description: str
    source: str
    formula: Callable[..., Any] | None = None

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of the columns the formula reads."""
        return tuple(inspect.signature(self.formula).parameters) if self.formula else ()

    def of(self, values: Callable[[str], Any]) -> Any:
        """The formula applied to whatever `values` gives for each parameter's name."""
        if self.formula is None:
            raise ValueError(f"{self.name} is not computed from other columns")
        return self.formula(**{name: values(name) for name in self.parameters})

    def expression(self) -> pl.Expr:
        """The formula as a Polars expression under the column's name."""
        expression: pl.Expr = self.of(pl.col)
        return expression.cast(self.dtype).alias(self.name)


def computed(formula: Callable[..., Any], unit: str, source: str) -> Column:
    """The money column of a measure: its name and first line are those of the function."""
    description = (inspect.getdoc(formula) or "").splitlines()[0]
    return Column(formula.__name__, MONEY, unit, description, source, formula)


EVENTS = (
    Column("time", TIME, "UTC", "When it happened; ISO 8601 with zone, or epoch milliseconds.", "canonical events"),
    Column("event_id", pl.String, "", "Identifier of the event, unique over all input.", "canonical events"),
    Column("account", pl.String, "", "Account the position belongs to.", "canonical events"),
    Column("instrument", pl.String, "", "Base and quote currency, for example BTC-USDT.", "canonical events"),
    Column("mode", pl.Enum(MODES), "", "Isolated-margin mode: old or new.", "rules 1 [O]"),
    Column("margin_currency", pl.String, "", "Currency of the margin: base, quote or the code.", "rules 1 [O]"),
    Column(
        "kind",
        pl.Enum(KINDS),
        "",
        "fill, interest, margin, leverage, liquidation, opening (balance) or adjustment.",
        "canonical events",
    ),
    Column("side", pl.Enum(SIDES), "", "buy or sell; of an opening balance, buy is long.", "canonical events"),
    Column("quantity", MONEY, "base", "Base quantity of the fill; base leg of an opening balance.", "canonical events"),
    Column("price", MONEY, "quote per base", "Fill price; entry price of an opening balance.", "canonical events"),
    Column(
        "value",
        MONEY,
        "quote",
        "Quote value as it was booked; empty: quantity x price. Quote leg of an opening balance.",
        "rules 9 [D]",
    ),
    Column("fee", MONEY, "fee_currency", "Fee paid; a rebate is negative.", "rules 2 [V]"),
    Column("fee_currency", pl.String, "", "Currency of the fee.", "rules 2 [V]"),
    Column("leverage", MONEY, "times", "Leverage; kept until another one is stated.", "rules 2, 5"),
    Column("reduce_only", pl.Boolean, "", "The fill may reduce or close a position, never open one.", "rules 2 [O]"),
    Column(
        "amount",
        MONEY,
        "currency",
        "Interest charged, margin added (negative: taken out), a fill's recorded initial margin, or an adjustment.",
        "rules 2, 3, 5",
    ),
    Column("currency", pl.String, "", "Currency of the amount.", "canonical events"),
    Column("reason", pl.String, "", "Reason code of a manual adjustment; empty for all else.", "canonical events"),
)

_LEG = "above zero an asset, below zero a liability"

LEDGER = (
    Column("position", pl.String, "", "account:instrument:margin currency.", "rules 1"),
    Column("episode", pl.UInt32, "", "Life of the position, counted from 1; 0 before the first opening.", "rules 1"),
    Column("event_number", pl.UInt32, "", "Event of the position, counted from 1.", "canonical events"),
    Column("part", pl.UInt8, "", "Part of the event: 1, or 2 and 3 after a fill that closed the position.", "rules 2"),
    Column("time", TIME, "UTC", "When it happened.", "event"),
    Column("event_id", pl.String, "", "Identifier of the event.", "event"),
    Column("input", pl.UInt16, "", "Input file, as numbered in the inputs frame.", "event"),
    Column("row", pl.UInt32, "", "Row of that file.", "event"),
    Column("kind", pl.Enum(KINDS), "", "Kind of the event.", "event"),
    Column("reason", pl.String, "", "Reason code of a manual adjustment.", "event"),
    Column("action", pl.Enum(ACTIONS), "", "What the part did to the position.", "rules 2"),
    Column("direction", pl.Enum(DIRECTIONS), "", "Direction of the position; empty while there is none.", "rules 1"),
    Column("mode", pl.Enum(MODES), "", "Isolated-margin mode of the position.", "rules 1 [O]"),
    Column("side", pl.Enum(SIDES), "", "Side of the fill.", "event"),
    Column("quantity", MONEY, "base", "Base quantity of this part of the fill.", "rules 2"),
    Column("price", MONEY, "quote per base", "Fill price.", "event"),
    Column("value", MONEY, "quote", "Quantity at the price, of this part of the fill.", "rules 2, 9"),
    Column("fee", MONEY, "fee_currency", "Fee of this part; a rebate is negative.", "rules 2 [V]"),
    Column("fee_currency", pl.String, "", "Currency of the fee.", "event"),
    Column("interest", MONEY, "liability's currency", "Interest charged into the liability.", "rules 3 [V]"),
    Column("leverage", MONEY, "times", "Leverage in force.", "event"),
    Column("initial_margin", MONEY, "margin currency", "Margin posted by opening or increasing.", "rules 2 [V]"),
    Column("margin_formula", MONEY, "margin currency", "Initial margin by the formula quantity / leverage.", "rules 2"),
    Column("entry_price", MONEY, "quote per base", "Average entry price after the event; for display.", "rules 2 [O]"),
    Column("realised_pnl", MONEY, "margin currency", "What the closing left of the leg in margin currency.", "rules 1"),
    Column("base_opening", MONEY, "base", f"Base leg before the event: {_LEG}.", "rules 1, 8"),
    Column("base_change", MONEY, "base", "Change of the base leg, from the flows of the event.", "rules 2"),
    computed(measures.base_closing, "base", "rules 8"),
    Column("quote_opening", MONEY, "quote", f"Quote leg before the event: {_LEG}.", "rules 1, 8"),
    Column("quote_change", MONEY, "quote", "Change of the quote leg, from the flows of the event.", "rules 2"),
    computed(measures.quote_closing, "quote", "rules 8"),
    Column("margin_opening", MONEY, "margin currency", "Margin before the event.", "rules 5, 8"),
    Column("margin_change", MONEY, "margin currency", "Margin posted, added, taken out or released.", "rules 2, 5"),
    computed(measures.margin_closing, "margin currency", "rules 8"),
    Column("account_base", MONEY, "base", "Change of the account in base currency.", "rules 1, 2"),
    Column("account_quote", MONEY, "quote", "Change of the account in quote currency.", "rules 1, 2"),
    Column("insurance_fund", MONEY, "margin currency", "What a liquidation left to the insurance fund.", "rules 6"),
)

POSTINGS = (
    Column("position", pl.String, "", "account:instrument:margin currency.", "rules 1"),
    Column("episode", pl.UInt32, "", "Life of the position, counted from 1.", "rules 1"),
    Column("event_number", pl.UInt32, "", "Event of the position, counted from 1.", "canonical events"),
    Column("part", pl.UInt8, "", "Part of the event.", "rules 2"),
    Column("event_id", pl.String, "", "Identifier of the event.", "event"),
    Column("posting_account", pl.Enum(ACCOUNTS), "", "Account of the posting.", "rules 8"),
    Column("currency", pl.String, "", "Currency of the amount.", "rules 8"),
    Column("amount", MONEY, "currency", "Change of the account; an event's postings sum to zero.", "rules 8"),
)

_IDENTITY = (
    Column("position", pl.String, "", "account:instrument:margin currency.", "rules 1"),
    Column("episode", pl.UInt32, "", "Life of the position, counted from 1.", "rules 1"),
    Column("account", pl.String, "", "Account the position belongs to.", "event"),
    Column("instrument", pl.String, "", "Base and quote currency.", "event"),
    Column("base_currency", pl.String, "", "Base currency of the instrument.", "event"),
    Column("quote_currency", pl.String, "", "Quote currency of the instrument.", "event"),
    Column("margin_currency", pl.String, "", "Currency of the margin and of the PnL.", "event"),
    Column("mode", pl.Enum(MODES), "", "Isolated-margin mode.", "event"),
    Column("direction", pl.Enum(DIRECTIONS), "", "long or short.", "rules 1"),
    Column("status", pl.Enum(HOW_CLOSED), "", "open, or how it was closed.", "rules 2, 6"),
    Column("opened", TIME, "UTC", "Time of the opening fill.", "event"),
    Column("closed", TIME, "UTC", "Time it was closed; empty while open.", "event"),
    Column("events", pl.UInt32, "", "Ledger rows of this episode.", "ledger"),
)

_BALANCES = (
    Column("base_leg", MONEY, "base", f"Base leg: {_LEG}.", "rules 1"),
    Column("quote_leg", MONEY, "quote", f"Quote leg: {_LEG}.", "rules 1"),
    Column("margin", MONEY, "margin currency", "Margin of the position.", "rules 1"),
    Column("base_interest", MONEY, "base", "Interest accrued in base, not yet charged.", "rules 3"),
    Column("quote_interest", MONEY, "quote", "Interest accrued in quote, not yet charged.", "rules 3"),
    Column("initial_margin", MONEY, "margin currency", "Margin posted by the opening fills.", "rules 2 [V]"),
    Column("entry_price", MONEY, "quote per base", "Average entry price; for display.", "rules 2 [O]"),
    Column("interest_charged", MONEY, "liability's currency", "Interest charged so far.", "rules 3"),
    Column("realised_pnl", MONEY, "margin currency", "Realised PnL; empty while open.", "rules 1"),
    Column("returned", MONEY, "margin currency", "Returned to the account at the close.", "rules 2"),
    Column("is_long", FLAG, "1 or 0", "1 for a long position.", "rules 1"),
    Column("margin_is_base", FLAG, "1 or 0", "1 when the margin is base currency.", "rules 1"),
)

MARK_FIGURES = (
    Column("mark_price", MONEY, "quote per base", "Mark price at which the position is valued.", "marks file"),
    Column("maintenance_rate", MONEY, "share of liability", "Maintenance rate of the tier.", "marks file"),
    Column("liquidation_fee_rate", MONEY, "share", "Taker fee rate of a liquidation.", "marks file"),
)

DISPLAY = (
    computed(measures.assets_shown_new, "asset's currency", "rules 1 [O]"),
    computed(measures.assets_shown_old, "asset's currency", "rules 1 [O]"),
    computed(measures.liability_shown, "liability's currency", "rules 1 [O]"),
)

MEASURES = (
    computed(measures.base_owed, "base", "rules 3 [O]"),
    computed(measures.quote_owed, "quote", "rules 3 [O]"),
    computed(measures.margin_price, "quote per margin currency", "rules 4"),
    computed(measures.net_value, "quote", "rules 4"),
    computed(measures.liability_value, "quote", "rules 4"),
    computed(measures.floating_pnl, "margin currency", "rules 4 [V]"),
    computed(measures.floating_pnl_ratio, "share of initial margin", "rules 4 [V]"),
    computed(measures.maintenance_margin, "margin currency", "rules 4 [V]"),
    computed(measures.liquidation_fee, "margin currency", "rules 4 [V]"),
    computed(measures.requirement_rate, "share of liability", "rules 4 [D]"),
    computed(measures.equity_value, "quote", "rules 4 [V]"),
    computed(measures.margin_ratio, "1 = 100 %", "rules 4 [V]"),
    computed(measures.liquidation_price, "quote per base", "rules 4 [V]"),
    computed(measures.bankruptcy_price, "quote per base", "rules 4 [O]"),
)

POSITIONS = (*_IDENTITY, *_BALANCES, *DISPLAY, *MARK_FIGURES, *MEASURES)
"""One row per position episode, as at the end of the replay or the time asked for."""

_OF_A_MOMENT = ("liability_shown", "liability_value", "requirement_rate", "equity_value", "margin_ratio")

HISTORY = (
    *_IDENTITY[:2],
    Column("time", TIME, "UTC", "Time of the event or of the mark.", "event or marks file"),
    Column("what", pl.Enum(MOMENTS), "", "What the event did to the position, or mark.", "rules 2, 4"),
    Column("event_number", pl.UInt32, "", "Event of the position, counted from 1; empty at a mark.", "ledger"),
    *(column for column in _BALANCES if column.name in ("base_leg", "quote_leg", "margin")),
    *_BALANCES[-2:],
    *MARK_FIGURES,
    *(column for column in (*DISPLAY, *MEASURES) if column.name in _OF_A_MOMENT),
    Column("moments", pl.UInt32, "moments", "1, or more with those before it that are left out of a long life.", "run"),
)
"""One row per moment of an episode: as after an event, or at a mark while it is open (see `ledger.history`)."""

CHECKS = (
    Column("check", pl.String, "", "Name of the check.", "rules 8"),
    Column("description", pl.String, "", "What must hold.", "rules 8"),
    Column("rows_tested", pl.UInt64, "rows", "Rows the check looked at.", "check"),
    Column("failures", pl.UInt64, "rows", "Rows on which it does not hold.", "check"),
    Column("largest_residual", MONEY, "as the rows", "Largest difference found.", "check"),
    Column("tolerance", MONEY, "as the rows", "Largest difference allowed.", "check"),
    Column("first_failure", pl.String, "", "Where it first failed: position and event.", "check"),
)

PARAMETERS = (
    Column("name", pl.String, "", "Name of the parameter or policy.", "run"),
    Column("value", pl.String, "", "Its value in this run.", "run"),
    Column("description", pl.String, "", "What it decides.", "run"),
    Column("source", pl.String, "", "Where the rule comes from.", "run"),
)

INPUTS = (
    Column("input", pl.UInt16, "", "Number of the file in this run.", "run"),
    Column("file", pl.String, "", "Path as given.", "run"),
    Column("bytes", pl.UInt64, "bytes", "Size.", "run"),
    Column("sha256", pl.String, "", "Hash of the content.", "run"),
    Column("rows", pl.UInt64, "rows", "Events read.", "run"),
    Column("first_time", TIME, "UTC", "Time of the first event.", "run"),
    Column("last_time", TIME, "UTC", "Time of the last event.", "run"),
)

INPUT_SUMS = (
    Column("input", pl.UInt16, "", "Number of the file in this run.", "run"),
    Column("column", pl.String, "", "Column that is added up; a value not stated is quantity x price.", "run"),
    Column("kind", pl.Enum(KINDS), "", "Kind of the events.", "event"),
    Column("currency", pl.String, "", "Currency of the amounts.", "event"),
    Column("rows", pl.UInt64, "rows", "Events that have such an amount.", "run"),
    Column("total", MONEY, "currency", "Sum as the file was read.", "run"),
    Column("absolute_total", MONEY, "currency", "Sum of the amounts without their signs.", "run"),
    Column("left_out", MONEY, "currency", "Of the sum: after the as-at time, or before the opening.", "run"),
    Column("booked", MONEY, "currency", "Sum in the ledger; empty: it stands there otherwise.", "ledger"),
    computed(measures.not_booked, "currency", "rules 8"),
)

MARKS = (
    Column("instrument", pl.String, "", "Base and quote currency, for example BTC-USDT.", "marks file"),
    Column("time", TIME, "UTC", "When the mark was taken; optional: the last one up to as-at counts.", "marks file"),
    *MARK_FIGURES,
)

FRAMES: dict[str, tuple[Column, ...]] = {
    "ledger": LEDGER,
    "postings": POSTINGS,
    "positions": POSITIONS,
    "history": HISTORY,
    "checks": CHECKS,
    "parameters": PARAMETERS,
    "inputs": INPUTS,
    "input_sums": INPUT_SUMS,
}
"""The frames a replay gives, by name."""


def schema(columns: tuple[Column, ...]) -> pl.Schema:
    """The Polars schema of a frame."""
    return pl.Schema({column.name: column.dtype for column in columns})
