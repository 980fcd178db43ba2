"""Interest by currency and day."""

import polars as pl

from ledger.columns import schema
from ledger.interest.columns import INTEREST_DAILY


def daily_sums(interest: pl.DataFrame) -> pl.DataFrame:
    """The columns INTEREST_DAILY of the charges (columns INTEREST): one row per currency and day, in that order.

    Raises a Polars error where a sum does not fit the money type: in streaming it is checked, in memory it would wrap.
    """
    compared = pl.col("charged").is_not_null().any()
    found = (
        interest.lazy()
        .group_by("currency", day=pl.col("time").dt.truncate("1d"))
        .agg(
            pl.len().cast(pl.UInt32).alias("charges"),
            pl.col("computed").sum(),
            *(pl.when(compared).then(pl.col(name).sum()).alias(name) for name in ("charged", "difference")),
        )
        .sort("currency", "day")
        .collect(engine="streaming")
    )
    return found.select(pl.col(name).cast(dtype) for name, dtype in schema(INTEREST_DAILY).items())
