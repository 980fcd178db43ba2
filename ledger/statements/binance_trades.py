"""Binance: trades of margin accounts, from the API and as two downloaded tables."""

from dataclasses import replace

import polars as pl

from ledger.feeds import Feed
from ledger.statements.binance_symbols import TIME_IS_READ, amount, base, given, pair, quote, utc_moment
from ledger.statements.columns import STATEMENTS

_NAME = "binance-trades"
_SIDES = {"BUY": "buy", "SELL": "sell"}
_IS_ISOLATED, _ID = pl.col("isIsolated"), pl.col("id")
_INSTRUMENT = pair("symbol", pl.col("commissionAsset"))

API = Feed(
    name=_NAME,
    title="Binance margin trades",
    gives=STATEMENTS,
    known_by=(frozenset({"commissionAsset", "isBuyer"}),),
    names={
        "time": "time",
        "instrument": "symbol",
        "order_id": "orderId",
        "trade_id": "id",
        "size": "qty",
        "price": "price",
        "value": "quoteQty",
        "fee": "commission",
        "fee_currency": "commissionAsset",
    },
    needs=("symbol", "id", "orderId", "price", "qty", "commission", "commissionAsset", "time", "isBuyer"),
    also={"isBuyer": pl.Boolean, "isIsolated": pl.Boolean},
    values={
        "layout": pl.lit(_NAME),
        # The numbers of trades are counted for each symbol by itself: two symbols have the same ones.
        "row_id": pl.format("{}:{}", _INSTRUMENT, _ID),
        "instrument": _INSTRUMENT,
        "stated_type": pl.when(_IS_ISOLATED).then(pl.lit("isolated")).when(~_IS_ISOLATED).then(pl.lit("cross")),
        # Trades of the spot account, which say nothing of it, are as far outside as those of the cross account.
        "meaning": pl.when(_IS_ISOLATED).then(pl.lit("fill")).otherwise(pl.lit("outside")),
        "side": pl.when("isBuyer").then(pl.lit("buy")).otherwise(pl.lit("sell")),
        "currency": base(_INSTRUMENT),
    },
)
"""GET /sapi/v1/margin/myTrades. `commission` is what was paid."""

_UNIT = r"^-?[0-9,.]+([A-Z][A-Z0-9]*)$"
"""The unit behind a number, where it does not begin with a digit (1INCH)."""
_STATED = pl.col("Amount").str.extract(_UNIT)  # no quote currency begins with a digit
_DOWNLOADED = (
    pl.when(pl.col("Pair").str.ends_with(_STATED))
    .then(pl.col("Pair").str.strip_suffix(_STATED) + "-" + _STATED)
    .otherwise(pair("Pair", _STATED))
)
_FEE_UNIT = (
    pl.when(base(_DOWNLOADED).str.contains("^[0-9]") & pl.col("Fee").str.ends_with(base(_DOWNLOADED)))
    .then(base(_DOWNLOADED))
    .otherwise(pl.col("Fee").str.extract(_UNIT))
)

WITH_UNITS = Feed(
    name=_NAME,
    title="Binance trade history",
    gives=STATEMENTS,
    known_by=(frozenset({"Pair", "Side", "Executed"}),),
    names={
        "time": "Date(UTC)",
        "instrument": "Pair",
        "side": "Side",
        "price": "Price",
        "size": "Executed",
        "value": "Amount",
        "fee": "Fee",
    },
    needs=("Date(UTC)", "Pair", "Side", "Price", "Executed", "Amount", "Fee"),
    also=dict.fromkeys(("Date(UTC)", "Pair", "Side", "Price", "Executed", "Amount", "Fee"), pl.String),
    values={
        "time": utc_moment("Date(UTC)"),
        "layout": pl.lit(_NAME),
        "instrument": _DOWNLOADED,
        "stated_type": pl.col("Side"),
        "meaning": pl.lit("fill"),
        "side": pl.col("Side").str.to_uppercase().replace_strict(_SIDES, default=None, return_dtype=pl.String),
        "currency": base(_DOWNLOADED),
        "price": amount(pl.col("Price")),
        "size": amount(pl.col("Executed").str.strip_suffix(base(_DOWNLOADED))),
        "value": amount(pl.col("Amount").str.strip_suffix(quote(_DOWNLOADED))),
        "fee": amount(pl.col("Fee").str.strip_suffix(_FEE_UNIT)),
        "fee_currency": _FEE_UNIT,
    },
    rules={
        "time_is_read": TIME_IS_READ,
        "side_is_read": given("side", "A side", "BUY or SELL"),
        "price_is_read": given("price", "A price", "28,931.8800000000"),
        "size_is_read": given("size", "What was executed", "0.0020010000BTC"),
        "value_is_read": given("value", "The amount of a trade", "32.51329432USDT"),
        "fee_is_read": given("fee", "A fee", "0.0000010200BTC"),
        "fee_unit_is_read": given("fee_currency", "A fee", "0.0000010200BTC"),
    },
)
"""The trade history as a table, with units in the cells. It is the same for the spot, the cross and the isolated
account and does not say which: whoever names the file says that it is the isolated one."""

_MARKET = pair("Market", pl.col("Fee Coin"))
_OLDER_VALUES = {
    "instrument": _MARKET,
    "stated_type": pl.col("Type"),
    "side": pl.col("Type").str.to_uppercase().replace_strict(_SIDES, default=None, return_dtype=pl.String),
    "currency": base(_MARKET),
    "size": amount(pl.col("Amount")),
    "value": amount(pl.col("Total")),
    "fee": amount(pl.col("Fee")),
}

OLDER = replace(
    WITH_UNITS,
    title="Binance trade history, older",
    known_by=(frozenset({"Market", "Type", "Total", "Fee Coin"}),),
    names={
        "time": "Date(UTC)",
        "instrument": "Market",
        "side": "Type",
        "price": "Price",
        "size": "Amount",
        "value": "Total",
        "fee": "Fee",
        "fee_currency": "Fee Coin",
    },
    needs=("Date(UTC)", "Market", "Type", "Price", "Amount", "Total", "Fee", "Fee Coin"),
    also=dict.fromkeys(("Date(UTC)", "Market", "Type", "Price", "Amount", "Total", "Fee"), pl.String),
    values={**{name: WITH_UNITS.values[name] for name in ("time", "layout", "meaning", "price")}, **_OLDER_VALUES},
    rules={
        **{name: WITH_UNITS.rules[name] for name in ("time_is_read", "side_is_read", "price_is_read")},
        "size_is_read": given("size", "An amount", "1,263.00000000"),
        "value_is_read": given("value", "A total", "1,263.00000000"),
        "fee_is_read": given("fee", "A fee", "0.00000375"),
    },
)
"""The same before 2021, with the currency of the fee in a column of its own."""

FEEDS = (API, WITH_UNITS, OLDER)
