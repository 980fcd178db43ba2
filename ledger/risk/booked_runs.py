"""Runs of moments at which a liquidation was due, and the one that a recorded liquidation belongs to.

A run begins with a due moment and goes on until the position is no longer due. A liquidation is held against the run
in which it is booked; a run that is over by then was not booked.
"""

import polars as pl

from ledger.columns import TIME
from ledger.risk.grading import grade
from ledger.risk.policies import RiskPolicies

_SEGMENT, _STEP = "episode", pl.duration(microseconds=1)


def runs_of(states: pl.DataFrame, marks: pl.DataFrame | None, policies: RiskPolicies) -> pl.DataFrame:
    """One row per run of due moments of a segment, in order.

    `states` (columns STATES, the segment in the place of the episode) comes from `apart`. Columns: episode; `moment`,
    the first one at which a liquidation was due; and `over`, the first one after the run (empty: it goes on). Both are
    in the times of `states`. A run in which only the orders were cancelled is none.
    """
    spans = grade(states, marks, policies).spans
    status = pl.col("status").cast(pl.String)
    steps = status.is_in(("partial", "full"))
    is_due = steps | (status == "orders_cancelled")
    begins = pl.any_horizontal(is_due != is_due.shift(1), pl.col(_SEGMENT) != pl.col(_SEGMENT).shift(1))
    runs = spans.with_columns(run=begins.fill_null(value=True).cum_sum()).filter(is_due)
    return (
        runs.group_by("run", maintain_order=True)
        .agg(
            pl.col(_SEGMENT).first(), moment=pl.col("from_time").filter(steps).first(), over=pl.col("until_time").last()
        )
        .drop("run")
        .drop_nulls("moment")
    )


def apart(states: pl.DataFrame) -> pl.DataFrame:
    """The states with the times of a segment all different, so that a moment has one state; `own_time` is the real one.

    Of events at the same time each is a microsecond after the one before it.
    """
    nth = pl.int_range(pl.len()).over(_SEGMENT) * _STEP
    moved = states.with_columns(
        own_time="from_time", from_time=(pl.col("from_time") - nth).cum_max().over(_SEGMENT) + nth
    )
    following = pl.col("from_time").shift(-1).over(_SEGMENT)
    end = pl.max_horizontal("until_time", pl.col("from_time") + _STEP)
    ends = pl.when(pl.col("until_time").is_not_null()).then(end)
    return moved.with_columns(until_time=pl.coalesce(following, ends))


def picked(runs: pl.DataFrame, states: pl.DataFrame, ends: pl.DataFrame) -> pl.DataFrame:
    """The runs to tell of: the one of each segment that counts, and before it the first one that was missed.

    `ends` has one row per segment that a recorded liquidation ends: segment, booked_event and booked_at. Of such a
    segment that run counts which is not over when it is booked, or else the first one after it; of any other the last
    one. Adds `is_missed`, `missed_again` (how many more were missed), `missed_until` (when the last of them began),
    `ends_with` (the recorded liquidation of the segment) and `booked_event` (the same where the run is its own).
    """
    known = states.join(ends, left_on=_SEGMENT, right_on="segment", how="inner", maintain_order="left")
    before = known.filter(pl.col("own_time") <= pl.col("booked_at")).group_by(_SEGMENT, maintain_order=True)
    booked = before.agg(
        ends_with=pl.col("booked_event").first(), booking=pl.max_horizontal("booked_at", "from_time").max()
    )
    rows = runs.join(booked, on=_SEGMENT, how="left", maintain_order="left")
    goes_on = pl.col("over").is_null() | (pl.col("over") > pl.col("booking"))
    is_last = pl.col(_SEGMENT).ne_missing(pl.col(_SEGMENT).shift(-1))
    rows = rows.with_columns(is_missed=~pl.when(pl.col("booking").is_null()).then(is_last).otherwise(goes_on))
    missed = pl.col("is_missed")
    rows = rows.with_columns(
        missed_again=pl.when(missed).then(missed.sum().over(_SEGMENT) - 1).cast(pl.UInt32),
        missed_until=pl.when(missed).then(pl.col("moment").filter(missed).last().over(_SEGMENT)),
        over=pl.when(missed).then("over"),
        booked_event=pl.when(~missed).then("ends_with"),
    )
    return rows.unique([_SEGMENT, "is_missed"], keep="first", maintain_order=True).drop("booking")


def at_moments(runs: pl.DataFrame, states: pl.DataFrame) -> pl.DataFrame:
    """The states at the moments of runs, with real times: `due_at`, `over` and `missed_until`, where they are given."""
    rows = states.join(runs, on=_SEGMENT, how="inner", maintain_order="left")
    over = pl.col("until_time") <= pl.col("moment")
    rows = rows.filter((pl.col("from_time") <= pl.col("moment")) & ~over.fill_null(value=False))
    rows = rows.with_columns(due_at="moment")
    real = states.select(_SEGMENT, "from_time", "own_time")
    for name in ("due_at", "over", "missed_until"):
        if name in rows.columns:
            own = rows.select(_SEGMENT, from_time=name).join(
                real, on=[_SEGMENT, "from_time"], how="left", maintain_order="left"
            )
            rows = rows.with_columns(pl.coalesce(own["own_time"], name).cast(TIME).alias(name))
    return rows.drop("moment")
