"""Binance: the history of interest charged on margin loans."""

import polars as pl

from ledger.feeds import Feed
from ledger.statements.binance_symbols import SYMBOL_HAS_ASSET, pair
from ledger.statements.columns import STATEMENTS

_NAME = "binance-interest"

FEED = Feed(
    name=_NAME,
    title="Binance interest history",
    gives=STATEMENTS,
    known_by=(frozenset({"interestAccuredTime"}),),
    names={
        "time": "interestAccuredTime",
        "row_id": "txId",
        "instrument": "isolatedSymbol",
        "currency": "asset",
        "interest": "interest",
        "rate": "interestRate",
        "liability": "principal",
    },
    needs=("interestAccuredTime", "asset", "interest"),
    also={"type": pl.String},
    values={
        "layout": pl.lit(_NAME),
        "instrument": pair("isolatedSymbol", pl.col("asset")),
        "stated_type": pl.col("type"),
        # Loans of the cross account name no symbol.
        "meaning": pl.when(pl.col("isolatedSymbol").is_null()).then(pl.lit("outside")).otherwise(pl.lit("interest")),
        "unit": pl.when(pl.col("interestRate").is_not_null()).then(pl.lit("daily")),
    },
    rules={"symbol_has_the_asset": SYMBOL_HAS_ASSET},
)
"""GET /sapi/v1/margin/interestHistory. `interestRate` is daily: 45.3313 x 0.00013233 / 24 = 0.00024995."""
