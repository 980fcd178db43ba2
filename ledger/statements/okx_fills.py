"""OKX fills: the answers of /trade/fills and /trade/fills-history (exports 3), a whole fill in one row.

fillSz is in base before the fee; the fee is negative where it was paid, in the currency received; billId is that of the
bills. Fills do not say whether the margin is isolated: one of instType MARGIN is taken to be.
"""

import polars as pl

from ledger.feeds import Feed
from ledger.money import MONEY
from ledger.statements.columns import STATEMENTS

_instrument_type, _fee = pl.col("instType"), pl.col("fee")

FEED = Feed(
    name="okx-fills",
    gives=STATEMENTS,
    title="OKX fills",
    known_by=(frozenset({"fillPx", "fillSz", "side"}),),
    names={
        "time": "ts",
        "row_id": "billId",
        "instrument": "instId",
        "order_id": "ordId",
        "trade_id": "tradeId",
        "side": "side",
        "size": "fillSz",
        "price": "fillPx",
        "fee_currency": "feeCcy",
    },
    needs=("ts", "instId", "side", "fillSz", "fillPx"),
    also={"instType": pl.String, "subType": pl.String, "fee": MONEY},
    values={
        "layout": pl.lit("okx-fills"),
        "row_id": pl.coalesce("billId", "tradeId"),
        "stated_type": _instrument_type.fill_null("") + "/" + pl.col("subType").fill_null(""),
        "meaning": pl.when(_instrument_type == "MARGIN")
        .then(pl.lit("fill"))
        .when(_instrument_type.is_null())
        .then(pl.lit("unclassified"))
        .otherwise(pl.lit("outside")),
        # the size of a derivative is in contracts
        "currency": pl.when(_instrument_type.is_in(["SPOT", "MARGIN"])).then(pl.col("instId").str.extract("^([^-]+)-")),
        "fee": -_fee,
        "fee_currency": pl.when(_fee != 0).then(pl.col("feeCcy")),
    },
)
"""The layout of fills."""
