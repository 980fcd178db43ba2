"""The liquidations that were due of contract positions, step by step (rules 6 and 7).

In hedge mode opposing contracts close first, long against short at the mark [S]; then the position goes down some
tiers of size at the mark; at the lowest tiers it is taken over wholly at the bankruptcy price. PnL and fee of a step
are the margin's: nothing is released [D], but of a sold option its premium, which its margin does not contain [D].
Only the first liquidation of a segment is told (see `segments`): what came after it is booked.
"""

from collections.abc import Sequence
from typing import Any

import polars as pl

from ledger.columns import DIRECTIONS, FLAG, SIDES, TIME
from ledger.derivatives.columns import CONTRACT_CLASSES, DERIVATIVE_MEASURES, DERIVATIVE_STEPS
from ledger.derivatives.segments import Segments
from ledger.derivatives.states import LEGS, all_marks, is_full, rated_contracts, with_contract_lines
from ledger.money import MONEY, ZERO, proportion, units
from ledger.positions import measured
from ledger.risk.liquidation import full_tier, steps_down
from ledger.risk.policies import RiskPolicies
from ledger.risk.thresholds import interval
from ledger.risk.tiers import limits_of

DUE: dict[str, Any] = {
    "position": pl.String,
    "segment": pl.UInt32,
    "number": pl.UInt32,
    "instrument": pl.String,
    "instrument_class": pl.Enum(CONTRACT_CLASSES),
    "settle_currency": pl.String,
    "direction": pl.Enum(DIRECTIONS),
    "side": pl.Enum(SIDES),
    "is_long": FLAG,
    "is_own": pl.Boolean,
    "is_full": pl.Boolean,
    "step": pl.Enum(DERIVATIVE_STEPS),
    "due_at": TIME,
    "due_mark": MONEY,
    "tier_before": pl.UInt16,
    "tier_after": pl.UInt16,
    **dict.fromkeys(("ratio_before", "ratio_after", "bankruptcy_price", "quantity_due", "price_due"), MONEY),
    **dict.fromkeys(("realised_pnl_due", "fee_due", "insurance_fund_due", "returned_due"), MONEY),
}
"""Columns of `due_steps`. `is_own` is false where only the other side of the pair was due; `is_full` is whether the
tier it was due at is one of the lowest. The other columns are those of DERIVATIVE_LIQUIDATIONS."""
_SEGMENT = ["position", "segment"]
_WHEN = ["account", "instrument", "time", "is_after"]
"""Where and when sides stand beside each other: `is_after` what liquidations of that very moment left, or before."""
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
_HEDGED = pl.col("position_side") != "net"
_SOLD = pl.col("is_option") * (1 - pl.col("is_long"))


def due_steps(
    segments: Segments, marks: pl.DataFrame | None, tiers: pl.DataFrame | None, policies: RiskPolicies
) -> pl.DataFrame:
    """The steps (columns DUE) of the first liquidation that was due of each segment, in order.

    A pair has a row for both sides, that of a side which was not due too; of a segment that ends with a recorded
    liquidation there is the first step only. `tiers` comes from `tiers_of_contracts`.
    """
    rows = _first_due(segments, marks, tiers, policies)
    if rows.is_empty():
        return pl.DataFrame(schema=DUE)
    found, standing = _pair_steps(_with_pairs(rows, segments, tiers, policies), tiers, policies)
    number = 1
    while standing.height:
        number += 1
        sized = _sized(standing.with_columns(number=pl.lit(number, pl.UInt32)), tiers, policies)
        goes_down = _goes_down(sized, policies)
        after = _reduced(sized.filter(goes_down), tiers, policies)
        pays = after.filter(pl.col("margin") >= 0).select("segment")
        after = after.join(pays, on="segment", how="semi", maintain_order="left")
        down = sized.join(pays, on="segment", how="semi", maintain_order="left")
        whole = _taken_over(sized.join(pays, on="segment", how="anti", maintain_order="left"))
        found += [_steps(down, after, "partial", policies), _steps(whole, None, "full", policies)]
        standing = after.filter(is_due(after, policies))
    booked = segments.table.filter(pl.col("booked_event").is_not_null())["segment"]
    steps = pl.concat(found).sort("segment", "number")
    steps = steps.with_columns(number=pl.int_range(1, pl.len() + 1, dtype=pl.UInt32).over("segment"))
    return steps.filter((pl.col("number") == 1) | ~pl.col("segment").is_in(booked.implode()))


def opposing_pairs(states: pl.DataFrame, key: Sequence[str] = ("account", "instrument", "time")) -> pl.DataFrame:
    """Contracts that long and short of one account and contract close against each other, at the mark [S].

    `states` has the columns of `key`, position_side and contracts (below zero short): one row per position and moment.
    One row per account, instrument and moment with both sides: `pair_quantity` closes of each.
    """
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
    prices = interval(with_contract_lines(rows), policies.liquidation_ratio).hstack(
        rows.select(mark=units(pl.col("mark_price")))
    )
    met = (pl.col("lowest") <= pl.col("mark")) & (pl.col("mark") <= pl.col("highest"))
    return prices.select(met.fill_null(value=False)).to_series()


def _first_due(
    segments: Segments, marks: pl.DataFrame | None, tiers: pl.DataFrame | None, policies: RiskPolicies
) -> pl.DataFrame:
    """The state of each segment when a liquidation was due first, valued at the mark in force then.

    Of several states of one moment it is the first that is due; or the second, if the first only had the orders
    cancelled.
    """
    moment = pl.min_horizontal("partial_at", "full_at")
    skipped = (pl.col("cancelled_at") == moment).cast(pl.Int64)
    due = segments.lives.select("position", "episode", time=moment, skipped=skipped).drop_nulls("time")
    rows = segments.states.drop("time", strict=False).join(due, on=["position", "episode"], maintain_order="left")
    over = (pl.col("until_time") <= pl.col("time")).fill_null(value=False) & (pl.col("from_time") < pl.col("time"))
    rows = rows.filter((pl.col("from_time") <= pl.col("time")) & ~over).rename({"episode": "segment"})
    rows = valued_at(rows.select(*_SEGMENT, *_OF_STATE, "time", "skipped"), marks, tiers, policies)
    rows = rows.filter(is_due(rows, policies))
    nth = pl.col("skipped") if policies.recheck == "next_mark" else 0
    first = rows.filter(pl.int_range(pl.len()).over("segment") == nth).drop("skipped")
    return first.with_columns(is_own=pl.lit(value=True), number=pl.lit(1, pl.UInt32))


def _with_pairs(
    rows: pl.DataFrame, segments: Segments, tiers: pl.DataFrame | None, policies: RiskPolicies
) -> pl.DataFrame:
    """The positions that are due, and those beside them which they close pairs with, with `pair_quantity`.

    A side that was due later by itself is told of here only; one that was due before is not told of again.
    """
    own = segments.table.select("segment", "began_at", "booked_at", "after_liquidation")
    rows = rows.join(own, on="segment", how="left", maintain_order="left").with_columns(is_after=_BEGAN_THEN)
    beside = _beside(segments.states, own, rows)
    pairs = opposing_pairs(beside, _WHEN)
    beside = beside.join(pairs.select(_WHEN), on=_WHEN, how="semi", maintain_order="left")
    due_at = rows.select("segment", due_at="time")
    added = beside.join(due_at, on="segment", how="left").filter((pl.col("time") < pl.col("due_at")).fill_null(True))
    added = added.sort("time").unique("segment", keep="first", maintain_order=True)
    kept = rows.join(added, on="segment", how="anti", maintain_order="left")
    at_mark = rows.select("instrument", "time", "mark_price", *(f"stated_{name}" for name in _RATES)).unique()
    found = added.select(*_SEGMENT, *_OF_STATE, "time", "is_after").join(at_mark, on=["instrument", "time"], how="left")
    found = found.with_columns(is_own=pl.lit(value=False), number=pl.lit(1, pl.UInt32))
    kept = kept.drop(own.columns[1:])
    every = pl.concat([kept, _valued(found, tiers, policies).select(kept.columns)])
    every = every.join(pairs, on=_WHEN, how="left", maintain_order="left").sort("segment")
    return every.with_columns(pair_quantity=pl.when(_HEDGED).then("pair_quantity"))


_BEGAN_THEN = (pl.col("began_at") == pl.col("time")) & pl.col("after_liquidation")


def _beside(states: pl.DataFrame, table: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame:
    """The states of both sides of the same accounts and contracts at the moments of the rows, by segment.

    What liquidations of that very moment left counts for a row that began with one, else what they found.
    """
    known = states.drop("time", strict=False).rename({"episode": "segment"}).filter(_HEDGED)
    held = rows.select(_WHEN).unique().join(known.join(table, on="segment"), on=_WHEN[:2], how="inner")
    held = held.filter(
        pl.col("from_time") <= pl.col("time"), (pl.col("until_time") > pl.col("time")).fill_null(value=True)
    )
    is_after, booked = pl.col("is_after"), pl.col("booked_at")
    gone = (booked < pl.col("time")) | ((booked == pl.col("time")) & is_after)
    held = held.filter(~gone.fill_null(value=False), ~(_BEGAN_THEN & ~is_after))
    return held.sort("segment", "from_time").unique(["position", *_WHEN[2:]], keep="last", maintain_order=True)


def valued_at(
    rows: pl.DataFrame, marks: pl.DataFrame | None, tiers: pl.DataFrame | None, policies: RiskPolicies
) -> pl.DataFrame:
    """The positions (columns of a state, and their `time`) at the mark in force then, in their order.

    Adds mark_price, both rates as it states them (`stated_...`) and in force, tier, legs and measures.
    """
    price = all_marks(marks, None).select("instrument", "time", "mark_price", *_RATES)
    price = price.rename({name: f"stated_{name}" for name in _RATES}).sort("time")
    asked = rows.with_row_index("place").sort("time")
    found = asked.join_asof(price, on="time", by="instrument", check_sortedness=False)
    return _valued(found.sort("place").drop("place"), tiers, policies)


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
    """The steps that close pairs, and the positions that are due still.

    What a side has left that is closed wholly goes back to the account: nobody takes it over.
    """
    has_pair = pl.col("pair_quantity").is_not_null()
    paired = rows.filter(has_pair).with_columns(quantity_due=pl.min_horizontal("pair_quantity", _held))
    after = _reduced(paired, tiers, policies)
    ended, left = pl.col("contracts") == 0, pl.col("margin")
    after = after.with_columns(
        returned_due=pl.col("returned_due") + pl.when(ended).then(pl.max_horizontal(left, ZERO)).otherwise(ZERO),
        insurance_fund_due=pl.when(ended).then(pl.min_horizontal(left, ZERO)).otherwise(ZERO),
    )
    still = pl.concat([rows.filter(~has_pair), after.select(rows.columns)])
    goes_on = is_due(still, policies) & (still["contracts"] != 0) & still["is_own"]
    return [_steps(paired, after, "pair", policies)], still.filter(goes_on)


_held = pl.col("contracts").abs()


def _goes_down(sized: pl.DataFrame, policies: RiskPolicies) -> pl.Series:
    """Whether the next step is a partial one: a tier above the lowest ones, whose step down the margin pays for."""
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
    shares = shares.with_columns(returned_due=pl.col("entry_released") * _SOLD, insurance_fund_due=ZERO)
    after = shares.with_columns(
        contracts=pl.col("contracts") - pl.col("contracts").sign() * pl.col("quantity_due"),
        entry_value=pl.col("entry_value") - pl.col("entry_released"),
        margin=pl.col("margin") + pl.col("realised_pnl_due") - pl.col("fee_due") - pl.col("returned_due"),
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
    left = pl.col("margin") + pl.col("floating_pnl") - pl.col("liquidation_fee")
    premium = pl.col("entry_value") * _SOLD
    return rows.with_columns(
        quantity_due=_held,
        price_due="bankruptcy_price",
        realised_pnl_due="floating_pnl",
        fee_due="liquidation_fee",
        insurance_fund_due=left - premium,
        returned_due=premium,
    )


def _steps(before: pl.DataFrame, after: pl.DataFrame | None, step: str, policies: RiskPolicies) -> pl.DataFrame:
    """The columns DUE of one step of each position."""
    if after is not None:
        before = before.with_columns(
            after["realised_pnl_due"],
            after["fee_due"],
            after["returned_due"],
            after["insurance_fund_due"],
            price_due="mark_price",
            tier_after=pl.when(after["contracts"] != 0).then(after["tier"]),
            ratio_after=after["margin_ratio"],
        )
    is_long = pl.col("is_long") == 1
    known = before.with_columns(
        step=pl.lit(step),
        direction=pl.when(is_long).then(pl.lit("long")).otherwise(pl.lit("short")),
        side=pl.when(is_long).then(pl.lit("sell")).otherwise(pl.lit("buy")),
        is_full=is_full(policies),
        due_at="time",
        due_mark="mark_price",
        tier_before="tier",
        ratio_before="margin_ratio",
    )
    absent = [pl.lit(None, dtype).alias(name) for name, dtype in DUE.items() if name not in known.columns]
    return known.with_columns(absent).select(pl.col(name).cast(dtype) for name, dtype in DUE.items())
