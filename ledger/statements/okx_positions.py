"""OKX positions: the answer of /account/positions (rules.md 4, exports 3), one row per open position.

pos is in posCcy: base of a long, quote of a short, without a sign. liab is negative, mmr is an amount, not the rate.
What is a double of the exchange is rounded to the money type. Positions that are not isolated spot margin are kept and
told apart; so is a position of size zero, which the exchange keeps after a close or a transfer of margin [O].
"""

import polars as pl

from ledger.feeds import Feed
from ledger.statements.columns import SNAPSHOTS
from ledger.statements.okx_snapshots import IS_ISOLATED_MARGIN, are_numbers, figure, in_pair, side_of_asset

_DOUBLES = {
    "entry_price": "avgPx",
    "leverage": "lever",
    "mark_price": "markPx",
    "floating_pnl": "upl",
    "floating_pnl_ratio": "uplRatio",
    "maintenance_margin": "mmr",
    "margin_ratio": "mgnRatio",
    "liquidation_price": "liqPx",
    "realised_pnl": "realizedPnl",
}
_is_margin = pl.col("instType") == "MARGIN"

FEED = Feed(
    name="okx-positions",
    gives=SNAPSHOTS,
    title="OKX positions",
    known_by=(frozenset({"instType", "mgnMode", "pos"}),),
    names={
        "time": "uTime",
        "instrument": "instId",
        "opened": "cTime",
        "assets_shown": "pos",
        "liability_shown": "liab",
        "interest": "interest",
        "margin": "margin",
        **_DOUBLES,
    },
    needs=("instType", "instId", "mgnMode", "pos"),
    also={"instType": pl.String, "mgnMode": pl.String, "posCcy": pl.String, "ccy": pl.String}
    | dict.fromkeys(_DOUBLES.values(), pl.String),
    values={
        "layout": pl.lit("okx-positions"),
        "is_isolated_margin": IS_ISOLATED_MARGIN & (pl.col("pos") != 0),
        "status": pl.lit("open"),
        "direction": pl.when(_is_margin).then(side_of_asset(pl.col("posCcy"))),
        "margin_currency": pl.when(_is_margin & in_pair(pl.col("ccy"))).then(pl.col("ccy")),
        "liability_shown": -pl.col("liab").abs(),
        **{ours: figure(theirs) for ours, theirs in _DOUBLES.items()},
    },
    rules=are_numbers(_DOUBLES),
)
"""The layout of open positions."""
