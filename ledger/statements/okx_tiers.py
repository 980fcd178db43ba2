"""OKX position tiers: the answer of /public/position-tiers (exports 3, samples/tiers.json), one row per tier."""

import polars as pl

from ledger.columns import Column
from ledger.feeds import Feed
from ledger.money import MONEY
from ledger.rules import Rule

TIERS = (
    Column("instrument", pl.String, "", "Instrument, or family of instruments, of the tier.", "exchange file"),
    Column("tier", pl.UInt16, "", "Number of the tier, from 1.", "exchange file"),
    Column("smallest_size", MONEY, "as the exchange states", "Smallest position of the tier.", "exchange file"),
    Column("largest_size", MONEY, "as the exchange states", "Largest position of the tier.", "exchange file"),
    Column("largest_base_loan", MONEY, "base", "Largest liability in base of the tier.", "exchange file"),
    Column("largest_quote_loan", MONEY, "quote", "Largest liability in quote of the tier.", "exchange file"),
    Column("maintenance_rate", MONEY, "share of liability", "Maintenance rate of the tier.", "rules 6 [S]"),
    Column("minimum_initial_rate", MONEY, "share", "Smallest initial margin rate of the tier.", "exchange file"),
    Column("maximum_leverage", MONEY, "times", "Largest leverage of the tier.", "exchange file"),
)
"""One row per instrument and tier. Spot margin is tiered by liability, whichever currency gives the higher tier."""

_TIER = pl.col("tier").is_not_null() & (pl.col("tier") > 0)

FEED = Feed(
    name="okx-tiers",
    gives=TIERS,
    title="OKX position tiers",
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
    also={"tier": pl.String, "instFamily": pl.String, "uly": pl.String},
    values={
        "instrument": pl.coalesce("instId", "instFamily", "uly"),
        "tier": pl.col("tier").cast(pl.UInt16, strict=False),
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
"""The layout of tiers."""
