"""The rates in force for an open position: those the marks state, else those of its tier and of the policies."""

import polars as pl

from ledger.money import MONEY, ZERO
from ledger.risk.policies import RiskPolicies
from ledger.risk.tiers import TIER_COLUMNS, tier_of

_TIER = TIER_COLUMNS["tier"]


def with_rates(rows: pl.DataFrame, tiers: pl.DataFrame | None, policies: RiskPolicies) -> pl.DataFrame:
    """The rows in their order, `tier` (UInt16) added, `maintenance_rate` and `liquidation_fee_rate` filled in.

    `rows` has one row per state of a position: instrument, time, base_leg, quote_leg (MONEY), and both rates as the
    marks state them for its instrument and time, empty where they state none; for contracts `size` too. `tiers` is a
    frame of TIERS. A rate that is stated counts before that of the tier [V]; a liquidation fee rate comes from
    `policies` else (rules.md 4). The tier is that of the liability without uncharged interest (rules.md 6 [S]), whether
    its rate counts or not. Where nothing says a rate it stays empty.
    """
    fee_rate = pl.col("liquidation_fee_rate").cast(MONEY)
    filled = rows.with_columns(liquidation_fee_rate=fee_rate.fill_null(pl.lit(policies.liquidation_fee_rate, MONEY)))
    rate = pl.col("maintenance_rate").cast(MONEY)
    if tiers is None:
        return filled.with_columns(rate, tier=pl.lit(None, _TIER))
    size = ["size"] if "size" in rows.columns else []
    loans = rows.select(
        "instrument",
        "time",
        *size,
        base_loan=pl.max_horizontal(-pl.col("base_leg"), ZERO),
        quote_loan=pl.max_horizontal(-pl.col("quote_leg"), ZERO),
    )
    found = tier_of(loans, tiers)
    return filled.with_columns(rate.fill_null(found["tier_maintenance_rate"]).alias("maintenance_rate"), found["tier"])
