"""The risk of each life at the end, and when it crossed which threshold."""

from datetime import datetime

import polars as pl

from ledger.columns import DISPLAY, MARK_FIGURES, MARKS, MEASURES, schema
from ledger.positions import measured
from ledger.risk.columns import RISK
from ledger.risk.grading import GRADED_LIVES, Graded
from ledger.risk.policies import RiskPolicies
from ledger.risk.rates import with_rates
from ledger.risk.states import NEVER

_LIFE = ["position", "episode"]
_OF_THE_END = ("status", "tier", "mark_time", *schema(MARK_FIGURES))
"""What a closed life does not have."""
_COMPUTED = tuple(column for column in (*DISPLAY, *MEASURES, *RISK) if column.formula is not None)
_MEASURED = tuple({column.name: column for column in _COMPUTED}.values())


def risk_of(
    positions: pl.DataFrame,
    graded: Graded,
    marks: pl.DataFrame | None,
    tiers: pl.DataFrame | None,
    policies: RiskPolicies,
    as_at: datetime | None = None,
) -> pl.DataFrame:
    """One row per life of `positions` (columns POSITIONS), in its order: its risk at the end (columns RISK).

    `graded` is the grading of the same lives up to the same time. An open life is valued at the last mark up to `as_at`
    with the rates in force then: those the mark states, else its tier's. Without a mark or a rate its measures are
    empty, and its status says so. Raises BadInput when a value does not fit the money type.
    """
    own = [name for name in positions.columns if name not in (*schema(MARK_FIGURES), *schema(_MEASURED))]
    told = graded.lives.select(*_LIFE, *(name for name in schema(GRADED_LIVES) if name not in _LIFE))
    rows = positions.select(own).rename({"status": "how"}).join(told, on=_LIFE, how="left", maintain_order="left")
    rows = rows.join(_marks_in_force(marks, as_at), on="instrument", how="left", maintain_order="left")
    rated = with_rates(rows.with_columns(time=pl.max_horizontal("mark_time", "since")), tiers, policies)
    is_open = pl.col("how") == "open"
    ended = rated.with_columns(pl.when(is_open).then(name).alias(name) for name in _OF_THE_END)
    return measured(ended, _MEASURED).select(schema(RISK).names())


def _marks_in_force(marks: pl.DataFrame | None, as_at: datetime | None) -> pl.DataFrame:
    """One row per instrument: its last mark up to the time asked for; one without a time counts as the first."""
    rows = pl.concat([schema(MARKS).to_frame(), *([] if marks is None else [marks])], how="diagonal")
    known = rows.filter(pl.col("time").is_null() | (pl.col("time") <= (as_at or NEVER)))
    last = known.sort("time", nulls_last=False).unique("instrument", keep="last", maintain_order=True)
    return last.rename({"time": "mark_time"})
