"""The columns of derivatives, as `ledger.columns` has those of spot margin."""

import polars as pl

from ledger import measures as spot
from ledger.columns import DIRECTIONS, FLAG, HOW_CLOSED, MARK_FIGURES, POSTINGS, SIDES, TIME, Column, computed
from ledger.derivatives import measures
from ledger.money import MONEY
from ledger.risk import measures as risk
from ledger.risk.columns import CLASSES, LIQUIDATIONS, RISK, plain

CONTRACT_CLASSES = tuple(name for name in CLASSES if name != "spot_margin")
"""linear: settled in quote; inverse: settled in base, its face value in quote; option: linear in its premium."""
POSITION_SIDES = ("net", "long", "short")
"""net: one position of an instrument, which a fill can turn round; long and short: one beside the other."""
DERIVATIVE_KINDS = ("fill", "funding", "margin", "leverage", "liquidation")
DERIVATIVE_ACTIONS = ("open", "increase", "reduce", "close", "funding", "margin", "leverage")
DERIVATIVE_STEPS = ("pair", "partial", "full")
"""What a liquidation does: long against short of hedge mode, some tiers down, the whole at the bankruptcy price."""

CONTRACTS = (
    Column("instrument", pl.String, "", "Name of the contract, for example BTC-USD-SWAP.", "contracts file"),
    Column("instrument_class", pl.Enum(CONTRACT_CLASSES), "", "linear, inverse or option.", "rules 7"),
    Column("face_value", MONEY, "base; inverse: quote", "What one contract is of, before the multiplier.", "rules 7"),
    Column("multiplier", MONEY, "times", "Multiplier of the face value; empty: 1.", "rules 7"),
    Column("base_currency", pl.String, "", "Currency that is priced.", "contracts file"),
    Column("quote_currency", pl.String, "", "Currency of the price.", "contracts file"),
    Column(
        "settle_currency",
        pl.String,
        "",
        "Currency of margin, PnL and fees; empty: quote, of an inverse contract base.",
        "rules 7",
    ),
    Column("tier_family", pl.String, "", "Family whose tiers count; empty: the instrument.", "contracts file"),
    Column("tick", MONEY, "quote per base", "Smallest step of the price.", "contracts file"),
    Column("lot", MONEY, "contracts", "Smallest step of the quantity.", "contracts file"),
)
"""One row per contract that is traded."""

_SETTLE = "settle currency"
_OPTION = "two real records [V]"
_BOTH = f"rules 7 [V]; options: {_OPTION}"

DERIVATIVE_EVENTS = (
    Column("time", TIME, "UTC", "When it happened; ISO 8601 with zone, or epoch milliseconds.", "derivative events"),
    Column("event_id", pl.String, "", "Identifier of the event, unique over all input.", "derivative events"),
    Column("account", pl.String, "", "Account the position belongs to.", "derivative events"),
    Column("instrument", pl.String, "", "Contract, as the contracts name it.", "derivative events"),
    Column(
        "position_side",
        pl.Enum(POSITION_SIDES),
        "",
        "net in one-way mode, long or short in hedge mode; empty: net.",
        "rules 7",
    ),
    Column("kind", pl.Enum(DERIVATIVE_KINDS), "", f"{', '.join(DERIVATIVE_KINDS)}.", "rules 7"),
    Column("side", pl.Enum(SIDES), "", "buy or sell.", "derivative events"),
    Column("quantity", MONEY, "contracts", "Contracts of the fill.", "derivative events"),
    Column("price", MONEY, "quote per base", "Fill price; of an option, its premium.", "derivative events"),
    Column("fee", MONEY, _SETTLE, "Fee paid; a rebate is negative.", "derivative events"),
    Column(
        "amount",
        MONEY,
        _SETTLE,
        "Funding received (paid: negative), margin added (negative: taken out), a fill's recorded initial margin, or"
        " what a liquidation left to the account.",
        "rules 5, 6, 7",
    ),
    Column("leverage", MONEY, "times", "Leverage; kept until another one is stated.", "rules 7"),
)
"""One row per event of a contract position."""

_POSITION = Column("position", pl.String, "", "account:instrument:net, long or short.", "rules 7")
_EPISODE = Column(
    "episode", pl.UInt32, "", "Life of the position, counted from 1; 0 before the first opening.", "rules 7"
)
_SETTLE_CURRENCY = Column("settle_currency", pl.String, "", "Currency of margin, PnL and fees.", "contracts file")

DERIVATIVE_LEDGER = (
    _POSITION,
    _EPISODE,
    Column("event_number", pl.UInt32, "", "Event of the position, counted from 1.", "derivative events"),
    Column("part", pl.UInt8, "", "Part of the event: 1, or 2 after a fill that turned the position round.", "rules 7"),
    Column("time", TIME, "UTC", "When it happened.", "event"),
    Column("event_id", pl.String, "", "Identifier of the event.", "event"),
    Column("input", pl.UInt16, "", "Input file, by its number.", "event"),
    Column("row", pl.UInt32, "", "Row of that file.", "event"),
    Column("kind", pl.Enum(DERIVATIVE_KINDS), "", "Kind of the event.", "event"),
    Column("action", pl.Enum(DERIVATIVE_ACTIONS), "", "What the part did to the position.", "rules 7"),
    Column("direction", pl.Enum(DIRECTIONS), "", "Direction of the position; empty while there is none.", "rules 7"),
    Column("side", pl.Enum(SIDES), "", "Side of the fill.", "event"),
    Column("quantity", MONEY, "contracts", "Contracts of this part of the fill.", "event"),
    Column("price", MONEY, "quote per base", "Fill price.", "event"),
    Column("value", MONEY, _SETTLE, "Value of this part at its price: N x price, inverse N / price.", "rules 7"),
    Column("fee", MONEY, _SETTLE, "Fee of this part; a rebate is negative.", "event"),
    Column("funding", MONEY, _SETTLE, "Funding received; paid: below zero.", "policy funding: two real records [V]"),
    Column("leverage", MONEY, "times", "Leverage in force.", "event"),
    Column("initial_margin", MONEY, _SETTLE, "Margin posted by opening or increasing.", "rules 7"),
    Column("margin_formula", MONEY, _SETTLE, "Initial margin by the formula value / leverage.", "rules 7"),
    Column("entry_price", MONEY, "quote per base", "Average entry price of what remains after the event.", "rules 7"),
    Column("realised_pnl", MONEY, _SETTLE, "PnL of the contracts that this part closed.", "rules 7"),
    Column("contracts_opening", MONEY, "contracts", "Contracts before the event: below zero short.", "rules 8"),
    Column("contracts_change", MONEY, "contracts", "Contracts bought less contracts sold.", "rules 7"),
    computed(measures.contracts_closing, "contracts", "rules 8"),
    Column("entry_value_opening", MONEY, _SETTLE, "Value at entry before the event.", "rules 8"),
    Column("entry_value_change", MONEY, _SETTLE, "Value added by opening, or released in proportion.", "rules 7"),
    computed(measures.entry_value_closing, _SETTLE, "rules 8"),
    Column("margin_opening", MONEY, _SETTLE, "Margin before the event.", "rules 5, 8"),
    Column(
        "margin_change",
        MONEY,
        _SETTLE,
        "Margin posted, added, taken out, released or lost, and funding.",
        "rules 5, 7 [V]",
    ),
    computed(spot.margin_closing, _SETTLE, "rules 8"),
    Column("account_change", MONEY, _SETTLE, "Change of the account.", "rules 8"),
    Column("insurance_fund", MONEY, _SETTLE, "What a liquidation left to the insurance fund.", "rules 6 [S]"),
    _SETTLE_CURRENCY,
)
"""One row per part of an event of a contract position, by position, in order."""

DERIVATIVE_POSTINGS = (_POSITION, _EPISODE, *POSTINGS[2:])
"""The postings of the derivative ledger; an event part's sum to zero."""

_RISK = {column.name: column for column in RISK}
_SPOT = {column.name: column for column in LIQUIDATIONS}


def _pair(name: str, unit: str, what: str, source: str) -> tuple[Column, Column]:
    """A figure as it was due and as it is booked."""
    return (
        Column(f"{name}_due", MONEY, unit, f"{what}, as it was due.", source),
        Column(f"{name}_booked", MONEY, unit, f"{what}, as it is booked.", "ledger"),
    )


_BALANCES = (
    Column("contracts", MONEY, "contracts", "Contracts: above zero long, below zero short.", "rules 7"),
    Column("face_value", MONEY, "base; inverse: quote", "What one contract is of.", "contracts file"),
    Column("multiplier", MONEY, "times", "Multiplier of the face value.", "contracts file"),
    Column("tick", MONEY, "quote per base", "Smallest step of the price.", "contracts file"),
    Column("entry_value", MONEY, _SETTLE, "Value at entry of the contracts that remain.", "rules 7"),
    Column("margin", MONEY, _SETTLE, "Margin of the position.", "rules 7"),
    Column("leverage", MONEY, "times", "Leverage in force.", "event"),
    Column("initial_margin", MONEY, _SETTLE, "Margin posted by the opening fills.", "rules 7"),
    Column("realised_pnl", MONEY, _SETTLE, "PnL of the contracts that were closed.", "rules 7"),
    Column("funding", MONEY, _SETTLE, "Funding received; paid: below zero.", "policy funding: two real records [V]"),
    Column("fees", MONEY, _SETTLE, "Fees paid.", "ledger"),
    Column("insurance_fund", MONEY, _SETTLE, "What a liquidation left to the insurance fund.", "rules 6 [S]"),
    Column("is_long", FLAG, "1 or 0", "1 for a long position.", "rules 7"),
    Column("is_inverse", FLAG, "1 or 0", "1 for an inverse contract.", "rules 7"),
    Column("is_option", FLAG, "1 or 0", "1 for an option.", "rules 7"),
)

DERIVATIVE_FIGURES = (
    computed(measures.position_size, "base; inverse: quote", "rules 7"),
    computed(measures.entry_price, "quote per base", "rules 7"),
    computed(measures.base_leg, "base", "rules 7 [D]"),
    computed(measures.quote_leg, "quote", "rules 7 [D]"),
    computed(measures.margin_formula, _SETTLE, f"rules 7; options: {_OPTION}"),
)
"""What a position is at any mark."""

DERIVATIVE_MEASURES = (
    computed(measures.settle_price, "quote per settle currency", "rules 7"),
    computed(measures.net_value, "quote", "rules 7"),
    computed(measures.exposure_value, "quote; options: base", f"rules 7; options: {_OPTION}"),
    computed(measures.floating_pnl, _SETTLE, "rules 7 [V]"),
    computed(measures.floating_pnl_ratio, "share of initial margin", f"rules 4 [V]; options: {_OPTION}"),
    computed(measures.maintenance_margin, _SETTLE, _BOTH),
    computed(measures.liquidation_fee, _SETTLE, _BOTH),
    computed(measures.requirement_rate, "share of value", "rules 7 [D]"),
    computed(measures.equity_value, "quote", _BOTH),
    computed(measures.margin_ratio, "1 = 100 %", _BOTH),
    computed(measures.liquidation_price, "quote per base", _BOTH),
    computed(measures.liquidation_price_shown, "quote per base", "rules 7 [V]"),
    computed(risk.distance_to_liquidation, "share of mark price", "rules 4 [D]"),
    computed(measures.bankruptcy_price, "quote per base", "rules 7 [D]"),
    computed(measures.option_value, _SETTLE, "rules 7 [S]"),
)
"""What a position is at a mark price."""

DERIVATIVE_POSITIONS = (
    _POSITION,
    _EPISODE,
    Column("account", pl.String, "", "Account the position belongs to.", "event"),
    Column("instrument", pl.String, "", "Contract.", "event"),
    Column("instrument_class", pl.Enum(CONTRACT_CLASSES), "", "linear, inverse or option.", "rules 7"),
    Column("position_side", pl.Enum(POSITION_SIDES), "", "net, long or short.", "event"),
    Column("direction", pl.Enum(DIRECTIONS), "", "long or short.", "rules 7"),
    Column("base_currency", pl.String, "", "Currency that is priced.", "contracts file"),
    Column("quote_currency", pl.String, "", "Currency of the price.", "contracts file"),
    _SETTLE_CURRENCY,
    Column("how", pl.Enum(HOW_CLOSED), "", "open, or how it was closed.", "rules 6, 7"),
    _RISK["opened"],
    _RISK["closed"],
    _RISK["status"],
    _RISK["tier"],
    Column("events", pl.UInt32, "", "Ledger rows of this life.", "ledger"),
    *_BALANCES,
    *DERIVATIVE_FIGURES,
    _RISK["mark_time"],
    MARK_FIGURES[0],
    plain(MARK_FIGURES[1], "maintenance_rate", "Maintenance rate of the tier, as a share of the value."),
    MARK_FIGURES[2],
    *DERIVATIVE_MEASURES,
    *(_RISK[name] for name in ("alert_at", "cancelled_at", "partial_at", "full_at")),
    plain(_RISK["lowest_ratio"], "lowest_ratio", "Lowest margin ratio of the life."),
    *(_RISK[name] for name in ("lowest_at", "graded")),
)
"""One row per life of a contract position, as at the end or the time asked for.

What is of the end (mark, rates, measures, status, tier) is empty for a closed life.
"""

DERIVATIVE_LIQUIDATIONS = (
    _POSITION,
    _EPISODE,
    Column("number", pl.UInt32, "", "Liquidation of this life, counted from 1.", "rules 6"),
    Column("instrument", pl.String, "", "Contract.", "event"),
    Column("instrument_class", pl.Enum(CONTRACT_CLASSES), "", "linear, inverse or option.", "rules 7"),
    Column("direction", pl.Enum(DIRECTIONS), "", "long or short.", "rules 7"),
    _SPOT["verdict"],
    _SPOT["label"],
    Column("step", pl.Enum(DERIVATIVE_STEPS), "", f"{', '.join(DERIVATIVE_STEPS)}.", "rules 6, 7 [S]"),
    *(_SPOT[name] for name in ("due_at", "due_mark", "booked_at", "event_id", "side", "tier_before", "tier_after")),
    Column("ratio_before", MONEY, "1 = 100 %", "Margin ratio before it.", "rules 7 [V]"),
    Column("ratio_after", MONEY, "1 = 100 %", "Margin ratio after it; none if full.", "rules 7 [V]"),
    *_pair("quantity", "contracts", "Contracts that are closed", "rules 6 [D]"),
    Column(
        "price_due",
        MONEY,
        "quote per base",
        "Price as it was due: the mark; of a full one the bankruptcy price, or the mark if it is booked at that.",
        "rules 6 [S]",
    ),
    Column("price_booked", MONEY, "quote per base", "Price as it is booked.", "ledger"),
    Column(
        "realised_pnl_due",
        MONEY,
        _SETTLE,
        "PnL of what is closed, at the mark and before the fee; of a full one margin + PnL = fee + insurance fund +"
        " what is returned.",
        "rules 7",
    ),
    *_pair("fee", _SETTLE, "Fee", "rules 6, 7"),
    *_pair(
        "insurance_fund",
        _SETTLE,
        "What goes to the insurance fund; below zero it pays what the margin lacks, so that the loss is the margin",
        "rules 6 [S]",
    ),
    *_pair(
        "returned",
        _SETTLE,
        "What goes to the account: nothing; of a sold option its premium, which the margin does not contain",
        "rules 6 [S,D]",
    ),
    _SPOT["explanation"],
    _SETTLE_CURRENCY,
)
"""One row per liquidation of a contract position that was due, or is booked, or both, in order of the life.

A life is looked at up to its first liquidation that was due, and again from each one that is booked. A pair of hedge
mode has a row for each of its sides.
"""

DERIVATIVE_FRAMES: dict[str, tuple[Column, ...]] = {
    "derivative_ledger": DERIVATIVE_LEDGER,
    "derivative_postings": DERIVATIVE_POSTINGS,
    "derivative_positions": DERIVATIVE_POSITIONS,
    "derivative_liquidations": DERIVATIVE_LIQUIDATIONS,
}
"""The frames a run with derivatives gives besides those of spot margin, by name."""
