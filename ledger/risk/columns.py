"""The columns of risk, as `ledger.columns` has those of the replay."""

import polars as pl

from ledger.columns import (
    DISPLAY,
    LEDGER,
    MARK_FIGURES,
    MEASURES,
    POSITIONS,
    POSTINGS,
    SIDES,
    TIME,
    Column,
    computed,
)
from ledger.money import MONEY
from ledger.risk import measures

STATUSES = ("not_graded", "normal", "alert", "orders_cancelled", "partial", "full")
"""What is due at a mark, from bad to worse: nothing is known; nothing; an alert; the orders of the position are
cancelled and its ratio is looked at again; a liquidation in part; a full one."""
CLASSES = ("spot_margin", "linear", "inverse", "option")
"""Classes of instruments: spot margin, contracts settled in quote, contracts settled in base, options."""
STEPS = ("partial", "full")
MARGIN_CHANGES = ("posted", "added", "reduced", "leverage_raised", "leverage_lowered", "leverage_kept")
LIQUIDATION_VERDICTS = ("agrees", "late", "early", "differs", "not_booked", "not_due", "not_graded")
CHANGE_VERDICTS = ("allowed", "refused", "not_checked")
ENDINGS = ("open", "reduced", "closed", "reversed", "partly_liquidated", "liquidated")
LIQUIDATED = "LIQ"
"""The label of a liquidation."""

TIERS = (
    Column("instrument", pl.String, "", "Instrument, or family of instruments, of the tier.", "tiers file"),
    Column("valid_from", TIME, "UTC", "From when the tier is in force; empty: from the beginning.", "tiers file"),
    Column("tier", pl.UInt16, "", "Number of the tier, from 1.", "tiers file"),
    Column("smallest_size", MONEY, "as the exchange states", "Smallest position of the tier.", "tiers file"),
    Column("largest_size", MONEY, "as the exchange states", "Largest position of the tier.", "tiers file"),
    Column("largest_base_loan", MONEY, "base", "Largest liability in base of the tier.", "tiers file"),
    Column("largest_quote_loan", MONEY, "quote", "Largest liability in quote of the tier.", "tiers file"),
    Column("maintenance_rate", MONEY, "share of liability", "Maintenance rate of the tier.", "rules 6 [S]"),
    Column("minimum_initial_rate", MONEY, "share", "Smallest initial margin rate of the tier.", "tiers file"),
    Column("maximum_leverage", MONEY, "times", "Largest leverage of the tier.", "tiers file"),
    Column("stated_by", pl.String, "", "Where the tier is stated.", "tiers file"),
)
"""One row per instrument, time from which it is in force, and tier: of liability for spot margin, else of size."""

_POSITION = {column.name: column for column in POSITIONS}
_LEDGER = {column.name: column for column in LEDGER}
_LIFE = (_POSITION["position"], _POSITION["episode"])
_TIER = Column("tier", pl.UInt16, "", "Tier of the position by its liability, or its size.", "tiers file, rules 6 [S]")
_STATUS = Column("status", pl.Enum(STATUSES), "", f"What is due: {', '.join(STATUSES)}.", "rules 6")
_CLASS = Column("instrument_class", pl.Enum(CLASSES), "", f"Class of the instrument: {', '.join(CLASSES)}.", "rules 7")
_MARGIN_RATIO = next(column for column in MEASURES if column.name == "margin_ratio")


def plain(column: Column, name: str, description: str) -> Column:
    """A column of the type, unit and source of another, which is no longer computed from those beside it."""
    return Column(name, column.dtype, column.unit, description, column.source)


RISK = (
    *(_POSITION[name] for name in ("position", "episode", "account", "instrument", "base_currency", "quote_currency")),
    *(_POSITION[name] for name in ("margin_currency", "mode", "direction", "opened", "closed")),
    _STATUS,
    Column("why_not_graded", pl.String, "", "What is missing where the status is not_graded.", "rules 6"),
    _TIER,
    Column("stated_at", TIME, "UTC", "The end: the time asked for, or the last event or mark of the run.", "run"),
    Column("mark_time", TIME, "UTC", "Time of the mark in force at the end.", "marks file"),
    *MARK_FIGURES,
    *(_POSITION[name] for name in ("base_leg", "quote_leg", "margin", "base_interest", "quote_interest")),
    *(_POSITION[name] for name in ("is_long", "margin_is_base")),
    *(
        column
        for column in (*DISPLAY, *MEASURES)
        if column.name not in ("assets_shown_new", "assets_shown_old", "floating_pnl_ratio")
    ),
    computed(measures.distance_to_liquidation, "share of mark price", "rules 4 [D]"),
    Column("alert_at", TIME, "UTC", "First moment at which the ratio was down to the alert's.", "rules 6 [O]"),
    Column("cancelled_at", TIME, "UTC", "First moment at which it was down to the liquidation's.", "rules 6 [O]"),
    Column("partial_at", TIME, "UTC", "First moment at which a partial liquidation was due.", "rules 6"),
    Column("full_at", TIME, "UTC", "First moment at which a full liquidation was due.", "rules 6"),
    plain(_MARGIN_RATIO, "lowest_ratio", "Lowest margin ratio of the life."),
    Column("lowest_at", TIME, "UTC", "First moment of the lowest ratio.", "rules 4"),
    Column("graded", pl.UInt64, "moments", "Events and marks at which the ratio was looked at.", "run"),
)
"""One row per life of a position: its risk at the end or the time asked for, and when it crossed which threshold.

What is of the end is empty for a closed life. A moment is an event, or a mark while the life is open.
"""

RISK_SPANS = (
    *_LIFE,
    _POSITION["instrument"],
    _STATUS,
    Column("from_time", TIME, "UTC", "First moment of the status.", "rules 6"),
    Column(
        "until_time",
        TIME,
        "UTC",
        "First moment after it: of another status, or the close; empty: it stands.",
        "rules 6",
    ),
    _TIER,
    plain(MARK_FIGURES[0], "mark_price", "Mark price at its first moment."),
    plain(_MARGIN_RATIO, "margin_ratio", "Margin ratio at its first moment."),
    plain(_MARGIN_RATIO, "lowest_ratio", "Lowest margin ratio in it."),
    Column("lowest_at", TIME, "UTC", "First moment of its lowest ratio.", "rules 4"),
    Column("graded", pl.UInt64, "moments", "Events and marks in it.", "run"),
)
"""One row per stretch of time in which a life of a position has one status, in order."""

_LIABILITY = "liability's currency"


def _pair(name: str, unit: str, what: str, source: str) -> tuple[Column, Column]:
    return (
        Column(f"{name}_due", MONEY, unit, f"{what} as it was due.", source),
        Column(f"{name}_booked", MONEY, unit, f"{what} as it is booked.", "ledger"),
    )


LIQUIDATIONS = (
    *_LIFE,
    Column("number", pl.UInt32, "", "Liquidation of this life, counted from 1.", "rules 6"),
    _POSITION["instrument"],
    _CLASS,
    _POSITION["direction"],
    Column(
        "verdict",
        pl.Enum(LIQUIDATION_VERDICTS),
        "",
        f"What the comparison says: {', '.join(LIQUIDATION_VERDICTS)}.",
        "rules 6",
    ),
    Column("label", pl.String, "", f"{LIQUIDATED} for a liquidation.", "rules 6 [S]"),
    Column("step", pl.Enum(STEPS), "", "partial or full.", "rules 6 [S,O]"),
    Column("due_at", TIME, "UTC", "First moment of its run of due marks.", "rules 6"),
    Column("due_mark", MONEY, "quote per base", "Mark price at which it was due.", "marks file"),
    Column("booked_at", TIME, "UTC", "When it is booked.", "ledger"),
    Column("event_id", pl.String, "", "Event that books it.", "ledger"),
    plain(_MARGIN_RATIO, "ratio_before", "Margin ratio before it."),
    plain(
        _MARGIN_RATIO, "ratio_after", "Margin ratio after it, at the rate of the tier it comes down to; none if full."
    ),
    Column("tier_before", pl.UInt16, "", "Tier before it.", "tiers file"),
    Column("tier_after", pl.UInt16, "", "Tier after it; empty if full.", "tiers file"),
    Column("side", pl.Enum(SIDES), "", "Side of the liquidating trade.", "rules 6"),
    Column("liability_currency", pl.String, "", "Currency of the liability.", "event"),
    Column("margin_currency", pl.String, "", "Currency of margin, PnL, insurance fund and what is returned.", "event"),
    plain(
        _POSITION["bankruptcy_price"], "bankruptcy_price", "Price at which a full one is taken over: nothing is left."
    ),
    *_pair("quantity", "base", "Base quantity of the trade", "rules 6 [D]"),
    *_pair("price", "quote per base", "Price of the trade", "rules 6 [S]"),
    *_pair("repaid", _LIABILITY, "Liability repaid", "rules 6 [S]"),
    *_pair("fee", _LIABILITY, "Fee", "rules 4, 6"),
    *_pair("realised_pnl", "margin currency", "Realised PnL before the fee; a full one's only", "rules 6 [S]"),
    *_pair(
        "insurance_fund", "margin currency", "What goes to the insurance fund; below zero, what it pays", "rules 6 [S]"
    ),
    *_pair("returned", "margin currency", "What comes back to the account", "rules 6 [S]"),
    computed(measures.quantity_difference, "base", "rules 6"),
    computed(measures.price_difference, "quote per base", "rules 6"),
    computed(measures.repaid_difference, _LIABILITY, "rules 6"),
    computed(measures.fee_difference, _LIABILITY, "rules 6"),
    computed(measures.realised_pnl_difference, "margin currency", "rules 6"),
    computed(measures.insurance_fund_difference, "margin currency", "rules 6"),
    computed(measures.returned_difference, "margin currency", "rules 6"),
    Column("explanation", pl.String, "", "In words: what was due when, what is booked, what differs.", "rules 6"),
)
"""One row per liquidation that was due, or is booked, or both, in order of the life."""

SIMULATED_LEDGER = LEDGER
"""The ledger of the liquidations that were due: the rows they would have, in place of what came after them."""
SIMULATED_POSTINGS = POSTINGS
"""The postings of those rows."""


def _around(column: Column, what: str, source: str) -> tuple[Column, Column]:
    return tuple(
        Column(f"{column.name}_{when}", column.dtype, column.unit, f"{what} {when} it.", source)
        for when in ("before", "after")
    )  # type: ignore[return-value]


_MEASURE = {column.name: column for column in MEASURES}
_EQUITY = Column("equity", MONEY, "margin currency", "", "rules 4")

MARGIN_CHANGE_LOG = (
    *_LIFE,
    _LEDGER["time"],
    _LEDGER["event_id"],
    _LEDGER["event_number"],
    _LEDGER["part"],
    _POSITION["direction"],
    _POSITION["margin_currency"],
    Column("change", pl.Enum(MARGIN_CHANGES), "", f"What it was: {', '.join(MARGIN_CHANGES)}.", "rules 5"),
    Column("margin_before", MONEY, "margin currency", "Margin before it.", "rules 5 [S]"),
    Column("amount", MONEY, "margin currency", "Margin added; below zero: taken out.", "rules 5"),
    computed(measures.margin_after, "margin currency", "rules 5 [S]"),
    *_around(_LEDGER["leverage"], "Leverage", "event"),
    plain(MARK_FIGURES[0], "mark_price", "Mark price in force."),
    *_around(_EQUITY, "Floating PnL and margin", "rules 5 [S]"),
    *_around(_MEASURE["margin_ratio"], "Margin ratio", "rules 4 [V]"),
    *_around(_MEASURE["liquidation_price"], "Liquidation price", "rules 4 [V]"),
    _TIER,
    Column("maximum_leverage", MONEY, "times", "Largest leverage of the tier.", "tiers file"),
    Column("available", MONEY, "margin currency", "Available balance of the account before it.", "balances file"),
    Column("verdict", pl.Enum(CHANGE_VERDICTS), "", f"What the rules say: {', '.join(CHANGE_VERDICTS)}.", "rules 5"),
    Column("rule", pl.String, "", "The rule that refuses it, or what is missing to check it.", "rules 5"),
)
"""One row per change of a position's margin or leverage, posting by fills included, and what the rules say to it."""

LIVES = (
    *(
        _POSITION[name]
        for name in ("position", "episode", "account", "instrument", "margin_currency", "mode", "direction")
    ),
    Column("how", pl.Enum(ENDINGS), "", f"What became of it: {', '.join(ENDINGS)}.", "rules 6"),
    Column("label", pl.String, "", f"{LIQUIDATED} where a liquidation is booked.", "rules 6 [S]"),
    _POSITION["opened"],
    _POSITION["closed"],
    Column("peak_liability", MONEY, _LIABILITY, "Largest liability; below zero, as shown.", "ledger"),
    Column("peak_at", TIME, "UTC", "When it was first that large.", "ledger"),
    Column("opened_quantity", MONEY, "base", "Base quantity of the fills that opened and increased it.", "ledger"),
    Column("closed_quantity", MONEY, "base", "Base quantity of the fills that reduced and closed it.", "ledger"),
    Column("liquidated_quantity", MONEY, "base", "Of that, by liquidation.", "ledger"),
    _POSITION["entry_price"],
    Column(
        "exit_price", MONEY, "quote per base", "Average price of the reducing and closing fills; for display.", "ledger"
    ),
    Column("margin_posted", MONEY, "margin currency", "Margin posted by fills.", "ledger"),
    Column(
        "margin_added", MONEY, "margin currency", "Margin added less margin taken out by hand or leverage.", "ledger"
    ),
    Column("fees_base", MONEY, "base", "Fees paid in base.", "ledger"),
    Column("fees_quote", MONEY, "quote", "Fees paid in quote.", "ledger"),
    _POSITION["interest_charged"],
    _POSITION["realised_pnl"],
    _POSITION["returned"],
    Column("insurance_fund", MONEY, "margin currency", "What a liquidation left to the insurance fund.", "ledger"),
    plain(_MARGIN_RATIO, "lowest_ratio", "Lowest margin ratio, where it was graded."),
)
"""The position history: one row per life, from its opening over its peak to its end."""

RISK_FRAMES: dict[str, tuple[Column, ...]] = {
    "risk": RISK,
    "risk_spans": RISK_SPANS,
    "liquidations": LIQUIDATIONS,
    "simulated_ledger": SIMULATED_LEDGER,
    "simulated_postings": SIMULATED_POSTINGS,
    "margin_changes": MARGIN_CHANGE_LOG,
    "lives": LIVES,
    "tiers": TIERS,
}
"""The frames a run with risk gives besides those of the replay, by name."""

BALANCES = (
    Column("time", TIME, "UTC", "From when the balance holds, until the next one.", "balances file"),
    Column("account", pl.String, "", "Account.", "balances file"),
    Column("currency", pl.String, "", "Currency.", "balances file"),
    Column("available", MONEY, "currency", "Balance that is free to be used.", "rules 5 [O]"),
    Column(
        "account_mode",
        pl.Enum(("single_currency", "multi_currency")),
        "",
        "Mode of the account; empty: single_currency.",
        "rules 5 [O]",
    ),
    Column(
        "adjusted_equity",
        MONEY,
        "as the exchange states",
        "Adjusted equity of a multi-currency account.",
        "rules 5 [O]",
    ),
    Column(
        "hold_equity",
        MONEY,
        "as the exchange states",
        "Equity held by pending orders of a multi-currency account.",
        "rules 5 [O]",
    ),
)
"""What an account has: one row per account, currency and time."""
