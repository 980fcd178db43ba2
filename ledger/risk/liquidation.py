"""The steps of a liquidation at one mark: down tier by tier while the ratio is too low, or wholly (rules.md 6).

The positions are worked on together, column by column; the loop is over the steps, of which there are at most as
many as tiers. A step is in part or full; its amounts stand in `liquidation_amounts`.
"""

from typing import Any

import polars as pl

from ledger.columns import MEASURES, SIDES
from ledger.money import MONEY, units
from ledger.positions import measured
from ledger.risk.columns import STEPS
from ledger.risk.lines import with_lines
from ledger.risk.liquidation_amounts import with_full_amounts, with_partial_amounts
from ledger.risk.policies import RiskPolicies
from ledger.risk.rates import with_rates
from ledger.risk.thresholds import interval
from ledger.risk.tiers import limits_of

BALANCES = ("base_leg", "quote_leg", "margin", "base_interest", "quote_interest")
POSITION_AT_MARK = (
    *("instrument", "instrument_class", "time", "mark_price", *BALANCES),
    *("maintenance_rate", "liquidation_fee_rate", "is_long", "margin_is_base"),
)
"""What is read of a position at a mark."""
LIQUIDATION_STEPS: dict[str, Any] = {
    "place": pl.UInt32,
    "step_number": pl.UInt32,
    "step": pl.Enum(STEPS),
    "side": pl.Enum(SIDES),
    "tier_before": pl.UInt16,
    "tier_after": pl.UInt16,
    **dict.fromkeys(("ratio_before", "ratio_after", "bankruptcy_price"), MONEY),
    **dict.fromkeys(("quantity_due", "price_due", "value_due", "repaid_due", "fee_due", "fee_in_margin"), MONEY),
    **dict.fromkeys(("realised_pnl_due", "left_due", *BALANCES), MONEY),
}
"""Columns of `steps_at`. `place` is the row of the position, `left_due` what a full liquidation leaves of the margin
after loss and fee, below zero what it lacks, in margin currency; the balances are those after the step. The other
columns are those of LIQUIDATIONS; `value_due` is in quote, `fee_in_margin` is the fee in margin currency."""
_CHAIN = (
    *("base_owed", "quote_owed", "margin_price", "net_value", "liability_value"),
    *("requirement_rate", "equity_value", "margin_ratio", "bankruptcy_price"),
)
_COMPUTED = tuple(column for column in MEASURES if column.name in _CHAIN)


def steps_at(rows: pl.DataFrame, tiers: pl.DataFrame | None, policies: RiskPolicies) -> pl.DataFrame:
    """The steps of the liquidation of each position at its mark (columns LIQUIDATION_STEPS), in order.

    `rows` has one row per position of which a liquidation is due: POSITION_AT_MARK, the rates as they are in force,
    and perhaps `stated_maintenance_rate`, which then counts in every tier; without it a step brings the rate of the
    tier it comes down to. A position is liquidated wholly under `liquidation=all_at_once`, where no tier is known, at
    the lowest tiers and where its assets do not pay for the step down; otherwise in part, and again while the ratio is
    not above `liquidation_ratio`. Raises BadInput when a value at the mark does not fit the money type.
    """
    standing = _prepared(rows)
    found = [pl.DataFrame(schema=LIQUIDATION_STEPS)]
    number = 0
    while standing.height:
        number += 1
        graded = at_mark(standing, tiers, policies).with_columns(
            step_number=pl.lit(number, pl.UInt32),
            tier_before="tier",
            ratio_before="margin_ratio",
            tier_after=pl.lit(None, pl.UInt16),
            ratio_after=pl.lit(None, MONEY),
        )
        sized = graded.pipe(_with_limit, tiers, policies).pipe(with_partial_amounts, policies)
        goes_down = _has_tier_below(policies) & pl.col("is_possible")
        down = at_mark(sized.filter(goes_down).pipe(_moved), tiers, policies)
        down = down.with_columns(step=pl.lit("partial"), tier_after="tier", ratio_after="margin_ratio")
        whole = graded.filter(~sized.select(goes_down.fill_null(value=False)).to_series()).pipe(with_full_amounts)
        found += [_as_steps(down), _as_steps(whole)]
        standing = down.filter(is_due(with_lines(down), policies))
    return pl.concat(found).sort("place", "step_number")


def at_mark(rows: pl.DataFrame, tiers: pl.DataFrame | None, policies: RiskPolicies) -> pl.DataFrame:
    """The positions with their tier, the rates in force and the measures of the registry at their mark.

    `rows` has POSITION_AT_MARK with `stated_maintenance_rate` and `known_maintenance_rate`: the one counts before that
    of the tier, the other where there is none. Raises BadInput when a value does not fit the money type.
    """
    asked = rows.drop("tier", *_CHAIN, strict=False).with_columns(maintenance_rate="stated_maintenance_rate")
    known = with_rates(asked, tiers, policies)
    return measured(
        known.with_columns(pl.col("maintenance_rate").fill_null(pl.col("known_maintenance_rate"))), _COMPUTED
    )


def is_due(rows: pl.DataFrame, policies: RiskPolicies) -> pl.Series:
    """Whether the ratio of each position is at most `liquidation_ratio` at its mark, without any rounding between.

    `rows` has mark_price, and equity and requirement as straight lines in it (see `states.STATES`).
    """
    prices = interval(rows, policies.liquidation_ratio).with_columns(rows["mark_price"])
    mark = units(pl.col("mark_price"))
    met = (pl.col("lowest") <= mark) & (mark <= pl.col("highest"))
    return prices.select(met.fill_null(value=False)).to_series()


def full_tier(policies: RiskPolicies) -> pl.Expr:
    """The highest tier at which an instrument of the row's class is liquidated wholly."""
    return _of_class(policies.full_tier_spot, policies.full_tier_contract, policies.full_tier_option)


def steps_down(policies: RiskPolicies) -> pl.Expr:
    """How many tiers a partial liquidation of the row's class goes down."""
    return _of_class(policies.steps_spot, policies.steps_contract, policies.steps_option)


def _of_class(spot: object, contract: object, option: object) -> pl.Expr:
    number = [pl.lit(int(str(value)), pl.Int64) for value in (spot, contract, option)]
    name = pl.col("instrument_class").cast(pl.String)
    return pl.when(name == "spot_margin").then(number[0]).when(name == "option").then(number[2]).otherwise(number[1])


def _prepared(rows: pl.DataFrame) -> pl.DataFrame:
    """The positions with their place, no tier come down from yet, and the rates that hold in every tier."""
    stated = "stated_maintenance_rate"
    given = rows if stated in rows.columns else rows.with_columns(pl.lit(None, MONEY).alias(stated))
    return given.select(
        *POSITION_AT_MARK,
        stated,
        known_maintenance_rate="maintenance_rate",
        place=pl.int_range(pl.len(), dtype=pl.UInt32),
        tier_above=pl.lit(None, pl.UInt16),
    )


def _has_tier_below(policies: RiskPolicies) -> pl.Expr:
    """True where a partial liquidation is what the policies say; each step must have come down."""
    if policies.liquidation == "all_at_once":
        return pl.lit(value=False)
    came_down = (pl.col("tier") < pl.col("tier_above")).fill_null(value=True)
    return ((pl.col("tier").cast(pl.Int64) > full_tier(policies)) & came_down).fill_null(value=False)


def _with_limit(rows: pl.DataFrame, tiers: pl.DataFrame | None, policies: RiskPolicies) -> pl.DataFrame:
    """The largest loan, in the currency owed, of the tier that a step comes down to (`largest_loan`)."""
    if tiers is None:
        return rows.with_columns(largest_loan=pl.lit(None, MONEY))
    below = pl.max_horizontal(pl.col("tier").cast(pl.Int64) - steps_down(policies), pl.lit(1, pl.Int64))
    limits = limits_of(rows.select("instrument", "time", below.cast(pl.UInt16).alias("tier")), tiers)
    loans = limits.select("largest_base_loan", "largest_quote_loan")
    loan = pl.when(pl.col("is_long") == 1).then("largest_quote_loan").otherwise("largest_base_loan")
    return pl.concat([rows, loans], how="horizontal").with_columns(largest_loan=loan).drop(loans.columns)


def _moved(rows: pl.DataFrame) -> pl.DataFrame:
    """The positions as a partial liquidation leaves them."""
    is_long = pl.col("is_long") == 1
    base = pl.when(is_long).then(-pl.col("quantity_due")).otherwise("repaid_due")
    quote = pl.when(is_long).then("repaid_due").otherwise(-pl.col("value_due"))
    return rows.with_columns(base_leg=pl.col("base_leg") + base, quote_leg=pl.col("quote_leg") + quote).with_columns(
        tier_above="tier"
    )


def _as_steps(rows: pl.DataFrame) -> pl.DataFrame:
    """The columns of LIQUIDATION_STEPS; empty where a step does not have one."""
    side = pl.when(pl.col("is_long") == 1).then(pl.lit("sell")).otherwise(pl.lit("buy"))
    sided = rows.with_columns(side=side)
    absent = [pl.lit(None, dtype).alias(name) for name, dtype in LIQUIDATION_STEPS.items() if name not in sided.columns]
    return sided.with_columns(absent).select(pl.col(name).cast(dtype) for name, dtype in LIQUIDATION_STEPS.items())
