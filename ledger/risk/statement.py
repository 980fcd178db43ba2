"""The risk of each life at the end, and when it crossed which threshold."""

from datetime import datetime

import polars as pl

from ledger.columns import DISPLAY, MARK_FIGURES, MEASURES, schema
from ledger.positions import marks_in_force, measured
from ledger.risk.columns import RISK, STEPS
from ledger.risk.grading import GRADED_LIVES
from ledger.risk.policies import RiskPolicies
from ledger.risk.rates import with_rates

_LIFE = ["position", "episode"]
_OF_THE_END = ("status", "tier", "mark_time", *schema(MARK_FIGURES))
"""What a closed life does not have."""
_COMPUTED = tuple(column for column in (*DISPLAY, *MEASURES, *RISK) if column.formula is not None)
_MEASURED = tuple({column.name: column for column in _COMPUTED}.values())


def risk_of(
    positions: pl.DataFrame,
    lives: pl.DataFrame,
    marks: pl.DataFrame | None,
    tiers: pl.DataFrame | None,
    policies: RiskPolicies,
    as_at: datetime | None = None,
) -> pl.DataFrame:
    """One row per life of `positions` (columns POSITIONS), in its order: its risk at the end (columns RISK).

    `lives` (columns GRADED_LIVES) is the grading of the same lives up to the same time. An open life is valued at the
    last mark up to `as_at` with the rates in force then: those the mark states, else its tier's. Without a mark or a
    rate its measures are empty, and its status says so. Raises BadInput when a value does not fit the money type.
    """
    own = [name for name in positions.columns if name not in (*schema(MARK_FIGURES), *schema(_MEASURED))]
    told = lives.select(*_LIFE, *(name for name in schema(GRADED_LIVES) if name not in _LIFE))
    rows = positions.select(own).rename({"status": "how"}).join(told, on=_LIFE, how="left", maintain_order="left")
    rows = rows.join(marks_in_force(marks, as_at), on="instrument", how="left", maintain_order="left")
    rated = with_rates(rows.with_columns(time=pl.max_horizontal("mark_time", "since")), tiers, policies)
    is_open = pl.col("how") == "open"
    ended = rated.with_columns(pl.when(is_open).then(name).alias(name) for name in _OF_THE_END)
    return measured(ended, _MEASURED).select(schema(RISK).names())


def with_booked(lives: pl.DataFrame, liquidations: pl.DataFrame) -> pl.DataFrame:
    """The lives (columns GRADED_LIVES) with what was due when it was booked: at the very mark that made it due.

    A mark at the time of an event is told by the event, which leaves nothing to be due; but a liquidation at that time
    is due by this mark, and the life crossed its thresholds then. `liquidations` has the columns LIQUIDATIONS.
    """
    is_then = pl.col("due_at") == pl.col("booked_at")
    step = {name: pl.col("due_at").filter(pl.col("step") == name).min() for name in STEPS}
    first = (
        liquidations.filter(is_then)
        .group_by(_LIFE)
        .agg(
            **{f"{name}_then": time for name, time in step.items()},
            due_then=pl.col("due_at").min(),
            ratio_then=pl.col("ratio_before").min(),
            lowest_then=pl.col("due_at").sort_by("ratio_before").first(),
        )
    )
    known = lives.join(first, on=_LIFE, how="left", maintain_order="left")
    is_lower = pl.col("ratio_then") < pl.col("lowest_ratio")
    earlier = {"alert_at": "due_then", "cancelled_at": "due_then", "partial_at": "partial_then", "full_at": "full_then"}
    return known.with_columns(
        *(pl.min_horizontal(name, then).alias(name) for name, then in earlier.items()),
        lowest_ratio=pl.min_horizontal("lowest_ratio", "ratio_then"),
        lowest_at=pl.when(is_lower.fill_null(pl.col("ratio_then").is_not_null()))
        .then("lowest_then")
        .otherwise("lowest_at"),
    ).select(schema(GRADED_LIVES).names())
