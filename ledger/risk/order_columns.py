"""The columns of orders that are only asked about, of what the rules say to them, and of what closes a position."""

import polars as pl

from ledger.columns import (
    DIRECTIONS,
    DISPLAY,
    MARK_FIGURES,
    MEASURES,
    MODES,
    POSITIONS,
    SIDES,
    TIME,
    Column,
    computed,
)
from ledger.money import MONEY
from ledger.risk import order_measures
from ledger.risk.columns import BALANCES

ORDER_VERDICTS = ("accepted", "refused", "not_checked")
EFFECTS = ("open", "increase", "reduce", "close", "reverse")
"""What a filled order does to the position; `reverse` closes it and opens the opposite one."""
PRICES = ("mark", "order_price", "given")
"""Where a price comes from: the mark in force, the order itself, or whoever asks."""

ORDERS = (
    Column("order_id", pl.String, "", "Name of the order.", "orders file"),
    Column("account", pl.String, "", "Account of the position.", "orders file"),
    Column("instrument", pl.String, "", "Base and quote currency, for example BTC-USDT.", "orders file"),
    Column("mode", pl.Enum(MODES), "", "Mode; empty: that of the open position, else new.", "rules 1 [O]"),
    Column("margin_currency", pl.String, "", "Currency of the margin: base, quote or the code.", "rules 1 [O]"),
    Column("side", pl.Enum(SIDES), "", "buy or sell.", "orders file"),
    Column("quantity", MONEY, "base", "Base quantity.", "orders file"),
    Column("price", MONEY, "quote per base", "Price at which it would be filled.", "orders file"),
    Column("leverage", MONEY, "times", "Leverage; empty: the one in force for the position.", "rules 2"),
    Column("reduce_only", pl.Boolean, "", "It may reduce or close a position, never open one.", "rules 2 [O]"),
    Column(
        "fee_rate", MONEY, "share", "Fee as a share of what it receives; empty: zero. A rebate is negative.", "rules 2"
    ),
    Column("time", TIME, "UTC", "When it is placed; empty: after all that the files hold.", "orders file"),
)
"""One row per order."""

_ORDER = {column.name: column for column in ORDERS}
_POSITION = {column.name: column for column in POSITIONS}
_BALANCE = {column.name: column for column in BALANCES}
_AFTER = tuple(column for column in (*DISPLAY, *MEASURES) if column.name != "floating_pnl_ratio")
_TO_ACCOUNT = "Change of the account in {} currency, all parts of the fill together."

ORDER_CHECKS = (
    *(_ORDER[name] for name in ("order_id", "account", "instrument", "mode", "margin_currency", "side", "quantity")),
    *(_ORDER[name] for name in ("price", "leverage", "reduce_only", "fee_rate", "time")),
    Column("verdict", pl.Enum(ORDER_VERDICTS), "", f"What the rules say: {', '.join(ORDER_VERDICTS)}.", "rules 5"),
    Column("rule", pl.String, "", "Every rule that refuses it; else what is missing to check it.", "rules 2, 5, 6"),
    Column("note", pl.String, "", "What was taken for granted, or is worth knowing.", "run"),
    Column("effect", pl.Enum(EFFECTS), "", f"What it does when filled: {', '.join(EFFECTS)}.", "rules 2"),
    Column("need", MONEY, "margin currency", "Initial margin that it posts; zero if it only reduces.", "rules 2 [V]"),
    _BALANCE["account_mode"],
    Column("available", MONEY, "margin currency", "Available balance of the account before it.", "balances file"),
    _BALANCE["adjusted_equity"],
    _BALANCE["hold_equity"],
    Column("maximum_leverage", MONEY, "times", "Largest leverage of the tier after it.", "tiers file"),
    Column("tier", pl.UInt16, "", "Tier of the liability after it.", "tiers file, rules 6 [S]"),
    Column("value", MONEY, "quote", "Quantity at the price.", "rules 2"),
    Column("fee", MONEY, "fee_currency", "Fee when filled.", "rules 2 [V]"),
    Column("fee_currency", pl.String, "", "Currency that it receives.", "rules 2 [V]"),
    Column("account_base", MONEY, "base", _TO_ACCOUNT.format("base"), "rules 1, 2"),
    Column("account_quote", MONEY, "quote", _TO_ACCOUNT.format("quote"), "rules 1, 2"),
    Column("realised_pnl", MONEY, "margin currency", "Realised PnL of what it closes.", "rules 1"),
    Column("direction", pl.Enum(DIRECTIONS), "", "Direction after it; empty: nothing is left open.", "rules 1"),
    *(_POSITION[name] for name in ("base_leg", "quote_leg", "margin", "base_interest", "quote_interest")),
    *(_POSITION[name] for name in ("entry_price", "is_long", "margin_is_base")),
    Column("priced_at", pl.Enum(PRICES), "", "Where the mark price comes from: mark or order_price.", "run"),
    *MARK_FIGURES,
    *_AFTER,
)
"""One row per order asked about: the verdict, what it needs, and the position after its fill, valued at the mark."""

CLOSES = (
    *(_POSITION[name] for name in ("position", "episode", "account", "instrument", "base_currency", "quote_currency")),
    *(_POSITION[name] for name in ("margin_currency", "mode", "direction")),
    Column("side", pl.Enum(SIDES), "", "Side of the order that closes it.", "rules 2"),
    Column("price", MONEY, "quote per base", "Price at which it is closed.", "run"),
    Column("priced_at", pl.Enum(PRICES), "", "Where the price comes from: mark or given.", "run"),
    Column("fee_rate", MONEY, "share", "Fee as a share of what is received.", "run"),
    Column("needed_quantity", MONEY, "base", "Quantity that closes it, rounded up at the last decimal.", "rules 2 [O]"),
    Column("lot_size", MONEY, "base", "Smallest step of a quantity; empty: none.", "run"),
    Column("quantity", MONEY, "base", "Needed quantity, rounded up to whole lots.", "rules 2"),
    computed(order_measures.order_value, "quote", "rules 2"),
    Column("fee", MONEY, "fee_currency", "Fee.", "rules 2 [V]"),
    Column("fee_currency", pl.String, "", "Currency that is received.", "rules 2 [V]"),
    Column("realised_pnl", MONEY, "margin currency", "What the close leaves of the leg in margin currency.", "rules 1"),
    Column("returned", MONEY, "margin currency", "Realised PnL and margin, back to the account.", "rules 2"),
    Column("leftover_base", MONEY, "base", "Base of what is traded beyond the close; the account's.", "rules 2"),
    Column("leftover_quote", MONEY, "quote", "Quote of what is traded beyond the close; the account's.", "rules 2"),
    Column("account_base", MONEY, "base", _TO_ACCOUNT.format("base"), "rules 2"),
    Column("account_quote", MONEY, "quote", _TO_ACCOUNT.format("quote"), "rules 2"),
    Column("pending_quantity", MONEY, "base", "Quantity of reduce-only orders that are pending.", "run"),
    computed(order_measures.largest_reduce_only, "base", "rules 2 [D]"),
    Column("note", pl.String, "", "Why nothing is said of it, or that the margin does not cover it.", "run"),
)
"""One row per open life of a position: the reduce-only order that closes it now, and what then comes back."""
