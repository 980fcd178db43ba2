"""What an event moves, before anyone asks what it does to the position: a pure reading of each row by itself."""

from typing import TypeVar

import polars as pl

from ledger.events import TRADES
from ledger.money import ZERO

Rows = TypeVar("Rows", pl.DataFrame, pl.LazyFrame)


def with_flows(events: pl.DataFrame) -> pl.DataFrame:
    """One row per event: its flags, its value, and the change of the base and the quote leg.

    `events` has the columns that `ordering.with_positions` gives. A buy adds base and takes quote, a sell the other
    way; the fee and the interest lower the leg of their currency (rules.md 2 and 3).
    """
    fee_in_base = (pl.col("fee_currency") == pl.col("base_currency")).fill_null(value=False)
    fee_in_quote = (pl.col("fee_currency") == pl.col("quote_currency")).fill_null(value=False)
    return (
        events.with_columns(
            pl.col("fee").fill_null(ZERO),
            is_trade=pl.col("kind").is_in(TRADES),
            buys=(pl.col("side") == "buy").fill_null(value=False),
            cost=pl.col("quantity") * pl.col("price"),
            never_opens=pl.col("reduce_only").fill_null(value=False) | (pl.col("kind") == "liquidation"),
            fee_in_base=fee_in_base,
            fee_in_quote=fee_in_quote,
            interest=pl.when(pl.col("kind") == "interest").then("amount"),
            booked=_booked(),
            amount_in_base=pl.col("currency") == pl.col("base_currency"),
        )
        .drop("base_currency", "quote_currency", "reduce_only", "currency")
        .with_columns(value=pl.coalesce("value", "cost"))
        .pipe(with_leg_flows)
    )


def _booked() -> pl.Expr:
    """What an event that is no trade adds to the leg of its currency."""
    kind, amount = pl.col("kind"), pl.col("amount")
    return pl.when(kind == "interest").then(-amount).when(kind == "adjustment").then(amount).fill_null(ZERO)


def with_leg_flows(rows: Rows) -> Rows:
    """The change of each leg from quantity, value, fee and what else is booked, as `base_flow` and `quote_flow`."""
    base = pl.when("buys").then("quantity").otherwise(-pl.col("quantity"))
    quote = pl.when("buys").then(-pl.col("value")).otherwise("value")
    return rows.with_columns(
        base_flow=pl.when("is_trade")
        .then(base - pl.when("fee_in_base").then("fee").otherwise(ZERO))
        .otherwise(pl.when("amount_in_base").then("booked").otherwise(ZERO)),
        quote_flow=pl.when("is_trade")
        .then(quote - pl.when("fee_in_quote").then("fee").otherwise(ZERO))
        .otherwise(pl.when("amount_in_base").then(ZERO).otherwise("booked")),
    )


def settlement(what: str) -> pl.Expr:
    """`what` (a flow, a flag) of the leg that is not in the margin currency."""
    base, quote = _column(what, "base"), _column(what, "quote")
    return pl.when("margin_is_base").then(quote).otherwise(base)


def result(what: str) -> pl.Expr:
    """`what` (a flow, a flag) of the leg in the margin currency."""
    base, quote = _column(what, "base"), _column(what, "quote")
    return pl.when("margin_is_base").then(base).otherwise(quote)


def _column(what: str, leg: str) -> str:
    return what.format(leg=leg)
