"""Binance: transfers into and out of isolated margin accounts."""

import polars as pl

from ledger.feeds import Feed
from ledger.money import MONEY
from ledger.statements.binance_symbols import TIME_IS_READ, pair, utc_moment
from ledger.statements.columns import STATEMENTS

_NAME = "binance-transfers"
_ISOLATED = "ISOLATED_MARGIN"
_INTO, _OUT = pl.col("transTo") == _ISOLATED, pl.col("transFrom") == _ISOLATED
# Between two isolated accounts, `type` tells from which of them one looks.
_IN = (_INTO & ~(_OUT & (pl.col("type") == "ROLL_OUT"))).fill_null(_INTO).fill_null(False)
_COUNTS = ((pl.col("status") == "CONFIRMED") & (_INTO | _OUT)).fill_null(False)
_ASKED = ("isolatedSymbol", "symbol")  # not in the answer: a desk that joins several answers adds it
_INSTRUMENT = pl.coalesce(
    pl.when(_IN).then(pair("toSymbol", pl.col("asset"))).otherwise(pair("fromSymbol", pl.col("asset"))),
    *(pair(name, pl.col("asset")) for name in _ASKED),
)

FEED = Feed(
    name=_NAME,
    title="Binance isolated transfers",
    gives=STATEMENTS,
    known_by=(frozenset({"transFrom", "transTo"}),),
    names={"time": "timestamp", "row_id": "txId", "currency": "asset", "size": "amount"},
    needs=("timestamp", "asset", "amount", "status"),
    also={
        **dict.fromkeys(("timestamp", "type", "status", "transFrom", "transTo", "fromSymbol", "toSymbol"), pl.String),
        **dict.fromkeys(_ASKED, pl.String),
        "amount": MONEY,
    },
    values={
        "time": utc_moment("timestamp"),
        "layout": pl.lit(_NAME),
        "instrument": _INSTRUMENT,
        "stated_type": pl.concat_str("transFrom", "transTo", "status", separator="/", ignore_nulls=True),
        # PENDING and FAILED ones moved nothing; those of the cross account concern no isolated position.
        "meaning": pl.when(~_COUNTS)
        .then(pl.lit("outside"))
        .when(_IN)
        .then(pl.lit("margin_added"))
        .otherwise(pl.lit("margin_removed")),
        "change": pl.when(_COUNTS & _IN).then("amount").when(_COUNTS).then(-pl.col("amount")),
    },
    rules={"time_is_read": TIME_IS_READ},
)
"""GET /sapi/v1/margin/isolated/transfer, and /sapi/v1/margin/transfer with isolatedSymbol. The answer names the symbol
only where both ends are isolated accounts: otherwise the instrument stays empty."""
