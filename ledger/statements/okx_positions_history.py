"""OKX closed positions: the answer of /account/positions-history (exports 3), one row per position.

`type` is how it was closed last: 1 in part, 2 wholly, 3 by liquidation, 4 by partial liquidation, 5 and 6 by
deleveraging in part and wholly [O]; after 1, 4 and 5 something of it is still open. realizedPnl is not given for spot
margin; pnl, before fees, stands there [O].
"""

import polars as pl

from ledger.feeds import Feed
from ledger.statements.columns import SNAPSHOTS
from ledger.statements.okx_snapshots import IS_ISOLATED_MARGIN, are_numbers, figure, in_pair

_is_margin = pl.col("instType") == "MARGIN"
_is_in_part = pl.col("type").is_in(["1", "4", "5"]).fill_null(False)

FEED = Feed(
    name="okx-positions-history",
    gives=SNAPSHOTS,
    title="OKX positions history",
    known_by=(frozenset({"openAvgPx", "closeAvgPx"}), frozenset({"openMaxPos", "closeTotalPos"})),
    names={
        "time": "uTime",
        "instrument": "instId",
        "opened": "cTime",
        "direction": "direction",
        "entry_price": "openAvgPx",
        "leverage": "lever",
        "realised_pnl": "realizedPnl",
    },
    needs=("instType", "instId", "uTime"),
    also=dict.fromkeys(
        ("instType", "mgnMode", "type", "direction", "ccy", "openAvgPx", "lever", "realizedPnl", "pnl"), pl.String
    ),
    values={
        "layout": pl.lit("okx-positions-history"),
        "is_isolated_margin": IS_ISOLATED_MARGIN,
        "status": pl.when(_is_in_part).then(pl.lit("open")).otherwise(pl.lit("closed")),
        "direction": pl.when(_is_margin & pl.col("direction").is_in(["long", "short"])).then(pl.col("direction")),
        "margin_currency": pl.when(_is_margin & in_pair(pl.col("ccy"))).then(pl.col("ccy")),
        "closed": pl.when(~_is_in_part).then(pl.col("uTime")),
        "entry_price": figure("openAvgPx"),
        "leverage": figure("lever"),
        "realised_pnl": pl.coalesce(figure("realizedPnl"), figure("pnl")),
    },
    rules=are_numbers(("entry_price", "leverage", "realised_pnl")),
)
"""The layout of closed positions."""
