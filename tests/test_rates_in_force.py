"""The rates of a state: as the marks state them, else those of its tier and of the policies."""

from datetime import UTC, datetime
from decimal import Decimal

import polars as pl
import pytest

from ledger.columns import TIME
from ledger.money import MONEY
from ledger.risk.policies import RiskPolicies
from ledger.risk.rates import with_rates
from ledger.risk.tiers import TIERS_SCHEMA

NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)
TIERS = pl.DataFrame(
    [
        {
            "instrument": "BTC-USDT",
            "tier": tier,
            "largest_base_loan": Decimal(base),
            "largest_quote_loan": Decimal(quote),
            "maintenance_rate": Decimal(rate),
        }
        for tier, base, quote, rate in ((1, "100", "1000000", "0.03"), (2, "200", "2000000", "0.04"))
    ],
    schema=TIERS_SCHEMA,
)


def state(base: str, quote: str, rate: str | None, fee: str | None, instrument: str = "BTC-USDT") -> pl.DataFrame:
    stated = [None if text is None else Decimal(text) for text in (rate, fee)]
    names = ("base_leg", "quote_leg", "maintenance_rate", "liquidation_fee_rate")
    schema = {"instrument": pl.String, "time": TIME, **dict.fromkeys(names, MONEY)}
    return pl.DataFrame([(instrument, NOON, Decimal(base), Decimal(quote), *stated)], schema=schema, orient="row")


@pytest.mark.parametrize(
    ("rows", "tiers", "tier", "rate", "fee"),
    [
        (state("-110", "3199000", None, None), TIERS, 2, "0.04", "0.001"),
        (state("-110", "3199000", "0.05", None), TIERS, 2, "0.05", "0.001"),
        (state("-110", "3199000", None, "0.0001"), TIERS, 2, "0.04", "0.0001"),
        (state("-110", "3199000", "0.05", "0"), TIERS, 2, "0.05", "0"),
        (state("150", "-1000000", None, None), TIERS, 1, "0.03", "0.001"),
        (state("3", "4", None, None), TIERS, 1, "0.03", "0.001"),
        (state("-110", "3199000", "0.05", None), None, None, "0.05", "0.001"),
        (state("-110", "3199000", None, None), None, None, None, "0.001"),
        (state("-1", "1", None, None, "ETH-USDT"), TIERS, None, None, "0.001"),
    ],
)
def test_what_is_stated_counts_before_the_tier_and_the_policy(
    rows: pl.DataFrame, tiers: pl.DataFrame | None, tier: int | None, rate: str | None, fee: str
) -> None:
    found = with_rates(rows, tiers, RiskPolicies())
    assert found.schema == {**rows.schema, "tier": pl.UInt16()}
    expected = (tier, None if rate is None else Decimal(rate), Decimal(fee))
    assert found.select("tier", "maintenance_rate", "liquidation_fee_rate").row(0) == expected


def test_rows_keep_their_order_and_the_fee_is_that_of_the_policy() -> None:
    rows = pl.concat([state("-150", "0", None, None), state("0", "0", "0.1", "0.002"), state("-1", "0", None, None)])
    found = with_rates(
        rows.with_columns(what=pl.Series(list("cab"))), TIERS, RiskPolicies.parse(["liquidation_fee_rate=0.0015"])
    )
    assert found.select("what", "tier").rows() == [("c", 2), ("a", 1), ("b", 1)]
    assert found["liquidation_fee_rate"].to_list() == [Decimal("0.0015"), Decimal("0.002"), Decimal("0.0015")]


def test_contracts_go_by_their_size() -> None:
    of_size = TIERS.with_columns(
        pl.lit(None, MONEY).alias("largest_base_loan"),
        pl.lit(None, MONEY).alias("largest_quote_loan"),
        largest_size="largest_base_loan",
    )
    rows = state("0", "0", None, None, "BTC-USDT-SWAP").with_columns(size=pl.lit("101").cast(MONEY))
    assert with_rates(rows, pl.concat([TIERS, of_size]), RiskPolicies())["tier"].to_list() == [2]
