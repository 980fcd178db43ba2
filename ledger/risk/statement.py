"""The risk of each life at the end, and when it crossed which threshold."""

from datetime import datetime

import polars as pl

from ledger.checks import finding
from ledger.columns import DISPLAY, MARK_FIGURES, MEASURES, TIME, schema
from ledger.money import MONEY
from ledger.positions import marks_in_force, measured
from ledger.risk.columns import RISK, STEPS
from ledger.risk.grading import GRADED_LIVES
from ledger.risk.policies import RiskPolicies
from ledger.risk.rates import with_rates
from ledger.risk.states import ALWAYS, latest
from ledger.risk.tiers import BY_SIZE

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
    last mark up to `as_at`, or else up to the `latest` time in lives and marks, with the rates in force then: those the
    mark states, else its tier's. Without a mark or a rate its measures are empty, and `why_not_graded` says so. Raises
    BadInput when a value does not fit the money type.
    """
    times = pl.concat([positions["opened"], positions["closed"], lives["since"]])
    own = [name for name in positions.columns if name not in (*schema(MARK_FIGURES), *schema(_MEASURED))]
    told = lives.select(*_LIFE, *(name for name in schema(GRADED_LIVES) if name not in _LIFE))
    rows = positions.select(own).rename({"status": "how"}).join(told, on=_LIFE, how="left", maintain_order="left")
    rows = rows.join(marks_in_force(marks, as_at), on="instrument", how="left", maintain_order="left")
    end = pl.lit(as_at or latest(times, marks)).cast(TIME)
    rated = with_rates(rows.with_columns(time=end, stated_at=end), tiers, policies)
    is_open = pl.col("how") == "open"
    ended = rated.with_columns(pl.when(is_open).then(name).alias(name) for name in _OF_THE_END)
    told_why = ended.with_columns(why_not_graded=_why_not_graded(tiers))
    return measured(told_why, _MEASURED).select(schema(RISK).names())


def _why_not_graded(tiers: pl.DataFrame | None) -> pl.Expr:
    """What is missing where the status is not_graded, for rows with the mark, the rates and the tier of the end."""
    return pl.when(pl.col("status") == "not_graded").then(
        pl.when(pl.col("mark_price").is_null())
        .then(pl.format("no mark of {}", "instrument"))
        .otherwise(pl.format("no maintenance rate: {}", _why_no_rate(tiers)))
    )


def _why_no_rate(tiers: pl.DataFrame | None) -> pl.Expr:
    if tiers is None:
        return pl.lit("the mark states none, and no tiers are given")
    of_loans = tiers.filter(~BY_SIZE)
    in_force = of_loans.group_by("instrument").agg(pl.col("valid_from").fill_null(ALWAYS).min())
    owed = [pl.when(pl.col(f"{leg}_leg") < 0).then(f"{leg}_currency") for leg in ("base", "quote")]
    since = pl.col("instrument").replace_strict(in_force["instrument"], in_force["valid_from"], default=None)
    return (
        pl.when(since.is_null())
        .then(pl.format("no tier of {}", "instrument"))
        .when(since > pl.col("stated_at"))
        .then(pl.format("no tier of {} is in force yet", "instrument"))
        .when(pl.col("tier").is_not_null())
        .then(pl.format("tier {} of {} states none", "tier", "instrument"))
        .otherwise(
            pl.format(
                "no tier of {} limits a liability in {}",
                "instrument",
                pl.concat_str(owed, separator=" and ", ignore_nulls=True),
            )
        )
    )


def graded_check(risk: pl.DataFrame, marks: pl.DataFrame | None) -> pl.DataFrame:
    """The finding every_position_is_graded for the open lives of `risk` (columns RISK).

    A life that could not be graded counts 1, and is told with what is missing. Without marks nothing is tested.
    """
    is_missed = (pl.col("status") == "not_graded") if marks is not None else pl.lit(None, pl.Boolean)
    residuals = risk.select(is_missed.cast(pl.Int8).cast(MONEY).alias("missed")).to_series()
    return finding("every_position_is_graded", risk.select(*_LIFE, "why_not_graded"), residuals)


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
