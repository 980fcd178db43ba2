"""Recorded liquidations of contracts held against those that were due, as `ledger.risk.booked` does for spot margin.

A recorded liquidation ends a segment of its life (see `segments`), and is compared with what was due first in it. Its
own state and the mark in force say whether one was due at all when it was booked.
"""

import polars as pl

from ledger.checks import finding
from ledger.columns import FLAG
from ledger.derivatives.booked_words import explanation
from ledger.derivatives.columns import DERIVATIVE_LIQUIDATIONS, DERIVATIVE_STEPS
from ledger.derivatives.liquidation import DUE, valued_at
from ledger.derivatives.segments import Segments
from ledger.money import MONEY, ZERO
from ledger.risk.columns import LIQUIDATED, LIQUIDATION_VERDICTS
from ledger.risk.policies import RiskPolicies

_SEGMENT = ["position", "segment"]
_ALSO_BOOKED = (
    *("instrument", "instrument_class", "settle_currency", "is_long", "direction", "side"),
    *("tier_before", "ratio_before", "bankruptcy_price"),
)
"""What both sides know: that of the moment it was due counts, or else that of the booking."""
_OF_CONTRACT = ("account", "instrument", "instrument_class", "position_side", "face_value", "multiplier")


def compare(
    due: pl.DataFrame,
    segments: Segments,
    ledger: pl.DataFrame,
    lives: pl.DataFrame,
    marks: pl.DataFrame | None,
    tiers: pl.DataFrame | None,
    policies: RiskPolicies,
) -> pl.DataFrame:
    """One row per liquidation that was due, or is booked, or both, in order of the lives.

    `due` comes from `liquidation.due_steps`, `lives` from `positions.lives_of`, `ledger` has the columns
    DERIVATIVE_LEDGER. Columns DERIVATIVE_LIQUIDATIONS, and `is_own`, `is_full` (see `liquidation.DUE`). The verdicts
    are those of `ledger.risk.booked.compare`; besides, a full liquidation differs that leaves more to the account than
    there was. A partial one and a pair are due at the mark, a full one at the bankruptcy price or at the mark [S].
    Raises BadInput when a value at a mark does not fit the money type.
    """
    booked = _booked(ledger, segments, lives, marks, tiers, policies)
    both = due.with_columns(is_due=True).join(booked, on=_SEGMENT, how="full", coalesce=True)
    rows = both.join(segments.table.select("segment", "episode"), on="segment", how="left", maintain_order="left")
    rows = rows.with_columns(
        pl.col("is_due", "is_booked").fill_null(value=False),
        *(pl.coalesce(name, f"{name}_booked").alias(name) for name in _ALSO_BOOKED),
        step_number=pl.col("number"),
        step_due="step",
        label=pl.lit(LIQUIDATED),
    ).with_columns(step=pl.coalesce("step_due", "step_booked"))
    rows = _with_differences(_on_booked_price(rows)).sort("segment", "step_number")
    rows = rows.with_columns(number=pl.int_range(1, pl.len() + 1, dtype=pl.UInt32).over("position", "episode"))
    rows = rows.with_columns(verdict=_verdict()).with_columns(explanation=explanation(policies))
    own = ("is_own", "is_full")
    return rows.select(
        *(pl.col(column.name).cast(column.dtype) for column in DERIVATIVE_LIQUIDATIONS),
        *(pl.col(name).cast(DUE[name]) for name in own),
    )


def liquidation_check(liquidations: pl.DataFrame) -> pl.DataFrame:
    """The finding liquidations_agree of `compare`: a row fails unless it agrees, is late only or cannot be graded."""
    fails = ~pl.col("verdict").cast(pl.String).is_in(("agrees", "late", "not_graded"))
    return finding(
        "liquidations_agree",
        liquidations.select("position", "episode", "number"),
        liquidations.select(fails.cast(pl.Int64).cast(MONEY)).to_series(),
    )


def _booked(
    ledger: pl.DataFrame,
    segments: Segments,
    lives: pl.DataFrame,
    marks: pl.DataFrame | None,
    tiers: pl.DataFrame | None,
    policies: RiskPolicies,
) -> pl.DataFrame:
    """One row per recorded liquidation: its booked half, and the state before it at the mark in force."""
    ends = segments.table.filter(pl.col("booked_event").is_not_null())
    ends = ends.select("segment", "position", "episode", event_number="booked_event")
    rows = ledger.filter(pl.col("kind") == "liquidation").join(
        ends, on=["position", "episode", "event_number"], how="inner", maintain_order="left"
    )
    known = lives.select("position", "episode", *_OF_CONTRACT, "is_inverse", "is_option")
    rows = rows.join(known, on=["position", "episode"], how="left", maintain_order="left")
    rows = rows.with_columns(
        is_long=(pl.col("direction") == "long").cast(FLAG),
        contracts="contracts_opening",
        entry_value="entry_value_opening",
        margin="margin_opening",
    )
    rows = valued_at(rows, marks, tiers, policies)
    closes, owes = pl.col("action") == "close", (pl.col("is_option") == 0) | (pl.col("is_long") == 0)
    left = pl.col("margin") + pl.col("realised_pnl") - pl.col("fee")
    premium = pl.when(pl.col("is_option") == 1).then("entry_value").otherwise(ZERO)
    return rows.select(
        *_SEGMENT,
        "event_id",
        *(pl.col(name).alias(f"{name}_booked") for name in _ALSO_BOOKED if name in rows.columns),
        is_booked=pl.lit(value=True),
        booked_at="time",
        step_booked=pl.when(closes).then(pl.lit("full")).otherwise(pl.lit("partial")).cast(pl.Enum(DERIVATIVE_STEPS)),
        tier_before_booked="tier",
        ratio_before_booked="margin_ratio",
        booked_mark="mark_price",
        booked_ratio="margin_ratio",
        is_graded=pl.col("mark_price").is_not_null() & (pl.col("requirement_rate").is_not_null() | ~owes),
        quantity_booked="quantity",
        price_booked="price",
        fee_booked="fee",
        insurance_fund_booked=pl.when(closes).then("insurance_fund"),
        returned_booked="account_change",
        too_much=pl.when(closes).then(pl.col("account_change") - pl.max_horizontal(left, premium)),
    )


def _on_booked_price(rows: pl.DataFrame) -> pl.DataFrame:
    """The price due of a full liquidation: the mark or the bankruptcy price, as it is booked."""
    full = (pl.col("step_due") == "full") & pl.col("is_booked") & (pl.col("step_booked") == "full")
    at_due_mark = full & (pl.col("price_booked") == pl.col("due_mark"))
    at_bankruptcy = full & ~at_due_mark & (pl.col("price_booked") == pl.col("price_due"))
    return rows.with_columns(
        at_due_mark=at_due_mark.fill_null(value=False), at_bankruptcy=at_bankruptcy.fill_null(value=False)
    ).with_columns(price_due=pl.when("at_due_mark").then("due_mark").otherwise("price_due"))


def _with_differences(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows with booked less due, of each figure that is compared; `more_left` is what the account got too much.

    A pair gives back what is left; of a full liquidation the bills say how much that is, if it is not more than all.
    """
    apart = [
        (pl.col(f"{name}_booked") - pl.col(f"{name}_due")).alias(f"{name}_difference")
        for name in ("quantity", "price", "fee")
    ]
    of_pair = pl.col("returned_booked") - pl.col("returned_due")
    more = pl.when(pl.col("step_due") == "pair").then(of_pair).when(pl.col("too_much") > 0).then("too_much")
    return rows.with_columns(*apart, more_left=pl.when(more != 0).then(more))


def _other_step() -> pl.Expr:
    """Whether a full one is booked where a partial one was due, or the other way; a pair may close the position."""
    return (pl.col("step_due") != pl.col("step_booked")) & (pl.col("step_due") != "pair")


def _verdict() -> pl.Expr:
    """The verdict; of several that hold, the first of these lines."""
    name = pl.Enum(LIQUIDATION_VERDICTS)
    apart = [pl.col(f"{what}_difference").ne_missing(ZERO) for what in ("quantity", "price", "fee")]
    is_early = pl.col("due_at") > pl.col("booked_at")
    lines = (
        (~pl.col("is_booked"), "not_booked"),
        (~pl.col("is_graded") & (~pl.col("is_due") | is_early), "not_graded"),
        (~pl.col("is_due"), "not_due"),
        (is_early, "early"),
        (pl.any_horizontal(_other_step(), pl.col("more_left").is_not_null(), *apart), "differs"),
        (pl.col("booked_at") > pl.col("due_at"), "late"),
    )
    verdict = pl.lit("agrees", name)
    for holds, word in reversed(lines):
        verdict = pl.when(holds).then(pl.lit(word, name)).otherwise(verdict)
    return verdict
