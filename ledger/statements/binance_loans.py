"""Binance: margin loans taken out and repaid."""

import polars as pl

from ledger.feeds import Feed
from ledger.money import MONEY
from ledger.statements.binance_symbols import SYMBOL_HAS_ASSET, pair
from ledger.statements.columns import STATEMENTS

_NAME = "binance-loans"
_TYPE = pl.col("type").str.to_uppercase()
_COUNTS = (pl.col("status") == "CONFIRMED") & pl.col("isolatedSymbol").is_not_null()
_IS_REPAYMENT = _TYPE.str.contains("REPAY") | (pl.col("interest") > 0)

FEED = Feed(
    name=_NAME,
    title="Binance loans and repayments",
    gives=STATEMENTS,
    known_by=(frozenset({"principal", "status"}),),
    names={"time": "timestamp", "row_id": "txId", "instrument": "isolatedSymbol", "currency": "asset"},
    needs=("timestamp", "txId", "asset", "principal", "status"),
    also={
        "type": pl.String,
        "status": pl.String,
        "amount": MONEY,
        "principal": MONEY,
        "interest": MONEY,
    },
    values={
        "layout": pl.lit(_NAME),
        "instrument": pair("isolatedSymbol", pl.col("asset")),
        "stated_type": pl.concat_str("type", "status", separator="/", ignore_nulls=True),
        # PENDING and FAILED ones moved nothing; loans of the cross account name no symbol. The rows do not say
        # whether they were asked for as BORROW or as REPAY: `type` is AUTO or MANUAL. A loan brings no interest with
        # it, and a repayment pays first the interest, of which the first hour is charged at once. [I]
        "meaning": pl.when(~_COUNTS.fill_null(False))
        .then(pl.lit("outside"))
        .when(_IS_REPAYMENT.fill_null(False))
        .then(pl.lit("repayment"))
        .otherwise(pl.lit("borrowing")),
        # The older records of loans have the principal only.
        "size": pl.coalesce("amount", pl.col("principal") + pl.col("interest"), "principal"),
    },
    rules={"symbol_has_the_asset": SYMBOL_HAS_ASSET},
)
"""GET /sapi/v1/margin/borrow-repay, and before it .../loan and .../repay; amount = interest + principal."""
