"""The liquidation that was due of a contract position, step by step (rules 6 and 7).

In hedge mode opposing contracts close first, long against short at the mark [S]; then the position goes down some
tiers of size at the mark; at the lowest tiers it is taken over wholly at the bankruptcy price. PnL and fee of a step
are the margin's: nothing is released [D]. Only the first liquidation of a life is told: what came after it is booked.
"""

import polars as pl

from ledger.columns import DIRECTIONS, SIDES, schema
from ledger.derivatives.columns import (
    DERIVATIVE_LIQUIDATIONS,
    DERIVATIVE_MEASURES,
    DERIVATIVE_STEPS,
)
from ledger.derivatives.states import LEGS, all_marks, rated_contracts
from ledger.money import MONEY, ZERO, proportion, units
from ledger.positions import measured
from ledger.risk.liquidation import full_tier, steps_down
from ledger.risk.policies import RiskPolicies
from ledger.risk.thresholds import interval
from ledger.risk.tiers import limits_of

_LIFE = ["position", "episode"]
_RATES = ("maintenance_rate", "liquidation_fee_rate")
_CHAIN = (
    *("settle_price", "net_value", "exposure_value", "floating_pnl", "liquidation_fee"),
    *("requirement_rate", "equity_value", "margin_ratio", "bankruptcy_price"),
)
_COMPUTED = tuple(column for column in DERIVATIVE_MEASURES if column.name in _CHAIN)
_OF_STATE = (
    *("account", "instrument", "instrument_class", "position_side", "settle_currency", "contracts", "entry_value"),
    *("margin", "face_value", "multiplier", "is_long", "is_inverse", "is_option"),
)


def liquidations_due(
    states: pl.DataFrame,
    graded_lives: pl.DataFrame,
    marks: pl.DataFrame | None,
    tiers: pl.DataFrame | None,
    policies: RiskPolicies,
) -> pl.DataFrame:
    """The steps (columns DERIVATIVE_LIQUIDATIONS) of the first liquidation that was due of each life, in order.

    `states` comes from `states.contract_states`, `graded_lives` from grading them, `tiers` from `tiers_of_contracts`.
    """
    due = graded_lives.select(*_LIFE, time=pl.min_horizontal("partial_at", "full_at")).drop_nulls("time")
    rows = _at_moments(states, due, marks)
    if rows.is_empty():
        return schema(DERIVATIVE_LIQUIDATIONS).to_frame()
    pairs = opposing_pairs(_beside(states, rows))
    rows = rows.join(pairs, on=["account", "instrument", "time"], how="left", maintain_order="left")
    found, standing = _pair_steps(_valued(rows, tiers, policies), tiers, policies)
    number = 1
    while standing.height:
        number += 1
        sized = _sized(standing.with_columns(number=pl.lit(number, pl.UInt32)), tiers, policies)
        goes_down = _goes_down(sized, policies)
        down, whole = sized.filter(goes_down), _taken_over(sized.filter(~goes_down))
        after = _reduced(down, tiers, policies)
        found += [_steps(down, after, "partial"), _steps(whole, None, "full")]
        standing = after.filter(is_due(after, policies))
    steps = pl.concat(found).sort("position", "episode", "number")
    return steps.with_columns(number=pl.int_range(1, pl.len() + 1, dtype=pl.UInt32).over("position", "episode"))


def opposing_pairs(states: pl.DataFrame) -> pl.DataFrame:
    """Contracts that long and short of one account and contract close against each other, at the mark [S].

    `states` has account, instrument, time, position_side and contracts (below zero short): one row per position and
    moment. One row per account, instrument and moment with both sides: `pair_quantity` closes of each.
    """
    key = ["account", "instrument", "time"]
    sides = [
        states.filter(pl.col("position_side") == side, pl.col("contracts") != 0).select(
            *key, pl.col("contracts").abs().alias(side)
        )
        for side in ("long", "short")
    ]
    both = sides[0].unique(key).join(sides[1].unique(key), on=key, how="inner", maintain_order="left")
    return both.select(*key, pair_quantity=pl.min_horizontal("long", "short"))


def is_due(rows: pl.DataFrame, policies: RiskPolicies) -> pl.Series:
    """Whether the ratio of each position at its mark is at most `liquidation_ratio`, without any rounding between."""
    inverse, required = pl.col("is_inverse"), pl.col("position_size") * pl.col("requirement_rate")
    lines = rows.select(
        equity_slope=pl.col("base_leg") + pl.col("margin") * inverse,
        equity_constant=pl.col("quote_leg") + pl.col("margin") * (1 - inverse),
        requirement_slope=required * (1 - inverse),
        requirement_constant=required * inverse,
    )
    prices = interval(lines, policies.liquidation_ratio).hstack(rows.select(mark=units(pl.col("mark_price"))))
    met = (pl.col("lowest") <= pl.col("mark")) & (pl.col("mark") <= pl.col("highest"))
    return prices.select(met.fill_null(value=False)).to_series()


def _at_moments(states: pl.DataFrame, due: pl.DataFrame, marks: pl.DataFrame | None) -> pl.DataFrame:
    """The state of each life when it was due, with the mark in force and the rates it states."""
    held = due.join(states, on=_LIFE, how="inner").filter(pl.col("from_time") <= pl.col("time"))
    held = held.sort(*_LIFE, "from_time", maintain_order=True).unique(_LIFE, keep="last", maintain_order=True)
    price = all_marks(marks, None).select("instrument", "time", "mark_price", *_RATES)
    asked = held.select(*_LIFE, *_OF_STATE, "time").sort("time")
    found = asked.join_asof(price.sort("time"), on="time", by="instrument", check_sortedness=False)
    found = found.rename({name: f"stated_{name}" for name in _RATES}).with_columns(number=pl.lit(1, pl.UInt32))
    return found.sort(_LIFE)


def _beside(states: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame:
    """The states of all positions of the same accounts and contracts at the moments of the rows."""
    moments = rows.select("account", "instrument", "time").unique()
    held = moments.join(states.drop("time", strict=False), on=["account", "instrument"], how="inner").filter(
        pl.col("from_time") <= pl.col("time"), (pl.col("until_time") > pl.col("time")).fill_null(value=True)
    )
    return held.sort("from_time").unique(["position", "time"], keep="last", maintain_order=True)


def _valued(rows: pl.DataFrame, tiers: pl.DataFrame | None, policies: RiskPolicies) -> pl.DataFrame:
    """The positions with tier, rates in force and measures at their mark."""
    names = [column.name for column in (*LEGS, *_COMPUTED)]
    asked = rows.drop("tier", *names, *_RATES, strict=False).with_columns(
        pl.col(f"stated_{name}").alias(name) for name in _RATES
    )
    return measured(measured(rated_contracts(asked, tiers, policies), LEGS), _COMPUTED)


def _pair_steps(
    rows: pl.DataFrame, tiers: pl.DataFrame | None, policies: RiskPolicies
) -> tuple[list[pl.DataFrame], pl.DataFrame]:
    """The steps that close pairs, and the positions that are due still."""
    has_pair = pl.col("pair_quantity").is_not_null()
    paired = rows.filter(has_pair).with_columns(quantity_due=pl.min_horizontal("pair_quantity", _held))
    after = _reduced(paired, tiers, policies)
    still = pl.concat([rows.filter(~has_pair), after.select(rows.columns)])
    return [_steps(paired, after, "pair")], still.filter(is_due(still, policies) & (still["contracts"] != 0))


_held = pl.col("contracts").abs()


def _goes_down(sized: pl.DataFrame, policies: RiskPolicies) -> pl.Series:
    """Whether the next step is a partial one: a tier above the lowest ones, whose step down closes something."""
    above = pl.col("tier").cast(pl.Int64) > full_tier(policies)
    closes = (pl.col("quantity_due") > 0) & (pl.col("quantity_due") < _held)
    in_parts = pl.lit(policies.liquidation == "by_tier")
    return sized.select(goes_down=(in_parts & above & closes).fill_null(value=False)).to_series()


def _sized(rows: pl.DataFrame, tiers: pl.DataFrame | None, policies: RiskPolicies) -> pl.DataFrame:
    """The contracts to close, so that what remains fits the tier that a step comes down to; empty without tiers."""
    if tiers is None:
        return rows.with_columns(quantity_due=pl.lit(None, MONEY))
    below = pl.max_horizontal(pl.col("tier").cast(pl.Int64) - steps_down(policies), pl.lit(1, pl.Int64))
    asked = rows.select("instrument", "time", below.cast(pl.UInt16).alias("tier"), size=_held)
    return rows.with_columns(quantity_due=_held - limits_of(asked, tiers)["largest_size"])


def _reduced(rows: pl.DataFrame, tiers: pl.DataFrame | None, policies: RiskPolicies) -> pl.DataFrame:
    """The positions after `quantity_due` is closed at the mark: PnL and fee stay with the margin."""
    held, quantity = rows["contracts"].abs(), rows["quantity_due"]
    released = proportion(rows["entry_value"], quantity, held)
    shares = rows.with_columns(
        entry_released=released,
        realised_pnl_due=_realised(rows, released),
        fee_due=proportion(rows["liquidation_fee"], quantity, held),
    )
    if policies.partial_fee == "none":
        shares = shares.with_columns(fee_due=ZERO)
    after = shares.with_columns(
        contracts=pl.col("contracts") - pl.col("contracts").sign() * pl.col("quantity_due"),
        entry_value=pl.col("entry_value") - pl.col("entry_released"),
        margin=pl.col("margin") + pl.col("realised_pnl_due") - pl.col("fee_due"),
    )
    return _valued(after, tiers, policies)


def _realised(rows: pl.DataFrame, released: pl.Series) -> pl.Series:
    """PnL of the contracts that are closed at the mark: their value there against their value at entry."""
    size = pl.col("quantity_due") * (pl.col("face_value") * pl.col("multiplier"))
    value = pl.when(pl.col("is_inverse") == 1).then(size / pl.col("mark_price")).otherwise(size * pl.col("mark_price"))
    gain = pl.when(pl.col("is_long") == pl.col("is_inverse")).then(-1).otherwise(1).cast(MONEY)
    return rows.with_columns(released=released).select((value - pl.col("released")) * gain).to_series()


def _taken_over(rows: pl.DataFrame) -> pl.DataFrame:
    """The positions that are taken over wholly, at the bankruptcy price."""
    return rows.with_columns(
        quantity_due=_held,
        price_due="bankruptcy_price",
        realised_pnl_due="floating_pnl",
        fee_due="liquidation_fee",
        insurance_fund_due=pl.col("margin") + pl.col("floating_pnl") - pl.col("liquidation_fee"),
    )


def _steps(before: pl.DataFrame, after: pl.DataFrame | None, step: str) -> pl.DataFrame:
    """The columns DERIVATIVE_LIQUIDATIONS of one step of each position."""
    rows = (
        before
        if after is None
        else before.with_columns(
            after["realised_pnl_due"],
            after["fee_due"],
            price_due="mark_price",
            insurance_fund_due=ZERO,
            tier_after=pl.when(after["contracts"] != 0).then(after["tier"]),
            ratio_after=after["margin_ratio"],
        )
    )
    is_long = pl.col("is_long") == 1
    known = rows.with_columns(
        step=pl.lit(step, pl.Enum(DERIVATIVE_STEPS)),
        direction=pl.when(is_long).then(pl.lit("long")).otherwise(pl.lit("short")).cast(pl.Enum(DIRECTIONS)),
        side=pl.when(is_long).then(pl.lit("sell")).otherwise(pl.lit("buy")).cast(pl.Enum(SIDES)),
        due_at="time",
        due_mark="mark_price",
        tier_before="tier",
        ratio_before="margin_ratio",
    )
    expected = schema(DERIVATIVE_LIQUIDATIONS)
    absent = [pl.lit(None, dtype).alias(name) for name, dtype in expected.items() if name not in known.columns]
    return known.with_columns(absent).select(pl.col(name).cast(dtype) for name, dtype in expected.items())
