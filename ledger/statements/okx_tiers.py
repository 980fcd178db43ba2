"""OKX position tiers: the answer of /public/position-tiers (exports 3, samples/tiers.json), one row per tier."""

import polars as pl

from ledger.columns import TIME
from ledger.feeds import Feed
from ledger.risk.columns import TIERS
from ledger.rules import Rule

_TIER = pl.col("tier").is_not_null() & (pl.col("tier") > 0)
_TITLE = "OKX position tiers"

FEED = Feed(
    name="okx-tiers",
    gives=TIERS,
    title=_TITLE,
    known_by=(frozenset({"tier", "maxLever", "mmr"}),),
    names={
        "instrument": "instId",
        "smallest_size": "minSz",
        "largest_size": "maxSz",
        "largest_base_loan": "baseMaxLoan",
        "largest_quote_loan": "quoteMaxLoan",
        "maintenance_rate": "mmr",
        "minimum_initial_rate": "imr",
        "maximum_leverage": "maxLever",
    },
    needs=("tier", "mmr"),
    also={"tier": pl.String, "instFamily": pl.String, "uly": pl.String, "valid_from": TIME, "ts": TIME},
    values={
        "instrument": pl.coalesce("instId", "instFamily", "uly"),
        "tier": pl.col("tier").cast(pl.UInt16, strict=False),
        "valid_from": pl.coalesce("valid_from", "ts"),
        "stated_by": pl.lit(_TITLE),
    },
    rules={
        "tier_is_a_number": Rule(
            "tier", "A tier is a whole number from 1.", "Ask the exchange again, and keep its answer.", _TIER
        ),
        "maintenance_rate_is_a_share": Rule(
            "maintenance_rate",
            "A maintenance rate is a share: above zero and below one.",
            "Write 3 % as 0.03.",
            (pl.col("maintenance_rate") > 0) & (pl.col("maintenance_rate") < 1),
        ),
        **{
            f"{name}_is_not_negative": Rule(
                name, "A limit of a tier is not negative.", "Mend it at its source.", pl.col(name) >= 0
            )
            for name in ("smallest_size", "largest_size", "largest_base_loan", "largest_quote_loan")
        },
    },
)
"""The layout of tiers. The answer has no time of its own; one that a user adds as `ts` or `valid_from` counts."""
