"""The state of each contract position: one row per life, with its measures at a mark price."""

from datetime import datetime

import polars as pl

from ledger.columns import FLAG, HOW_CLOSED, schema
from ledger.derivatives.columns import DERIVATIVE_FIGURES, DERIVATIVE_MEASURES, DERIVATIVE_POSITIONS
from ledger.derivatives.states import all_marks, rated_contracts
from ledger.money import ZERO
from ledger.positions import measured
from ledger.risk.grading import Graded
from ledger.risk.policies import RiskPolicies

_LIFE = ["position", "episode"]
_SUMS = ("initial_margin", "realised_pnl", "funding", "fee", "insurance_fund")
_STATUS = pl.Enum(HOW_CLOSED)


def lives_of(ledger: pl.DataFrame, events: pl.DataFrame, contracts: pl.DataFrame) -> pl.DataFrame:
    """One row per life: identity, contract, balances, sums, how and when it was opened and closed.

    `ledger` has the columns DERIVATIVE_LEDGER; `events` comes from `course.with_positions`.
    """
    totals = {f"{name}_total": pl.col(name).fill_null(ZERO).cum_sum() for name in _SUMS}
    live = ledger.filter(pl.col("direction").is_not_null()).with_columns(**totals).with_row_index("rows_to")
    opens = live["action"] == "open"
    first = live.filter(opens).select(
        opened="time",
        opened_by="event_number",
        rows_before="rows_to",
        **{f"{name}_before": pl.col(f"{name}_total") - pl.col(name).fill_null(ZERO) for name in _SUMS},
    )
    last = live.filter(opens.shift(-1, fill_value=True)).hstack(first)
    known = events.select("position", "account", "instrument", "position_side").unique("position")
    closed = pl.col("action") == "close"
    next_opened = pl.when(pl.col("position").shift(-1) == pl.col("position")).then(pl.col("opened_by").shift(-1))
    how = (
        pl.when(pl.col("kind") == "liquidation")
        .then(pl.lit("liquidated", _STATUS))
        .when(next_opened == pl.col("event_number"))
        .then(pl.lit("reversed", _STATUS))
        .otherwise(pl.lit("closed", _STATUS))
    )
    sums = {name: pl.col(f"{name}_total") - pl.col(f"{name}_before") for name in _SUMS}
    return (
        last.join(known, on="position", how="left", maintain_order="left")
        .drop("settle_currency")
        .join(contracts, on="instrument", how="left", maintain_order="left")
        .with_columns(
            how=pl.when(closed).then(how).otherwise(pl.lit("open", _STATUS)),
            closed=pl.when(closed).then("time"),
            events=(pl.col("rows_to") - pl.col("rows_before") + 1).cast(pl.UInt32),
            contracts="contracts_closing",
            entry_value="entry_value_closing",
            margin="margin_closing",
            is_long=(pl.col("direction") == "long").cast(FLAG),
            is_inverse=(pl.col("instrument_class") == "inverse").cast(FLAG),
            is_option=(pl.col("instrument_class") == "option").cast(FLAG),
            **sums,
        )
        .with_columns(fees="fee")
    )


def valued(
    lives: pl.DataFrame,
    graded: Graded,
    marks: pl.DataFrame | None,
    tiers: pl.DataFrame | None,
    policies: RiskPolicies,
    as_at: datetime | None,
) -> pl.DataFrame:
    """The positions (columns DERIVATIVE_POSITIONS): lives with their mark, rates, measures, status and crossings.

    What is of the end is empty for a closed life. Raises BadInput when a value does not fit the money type.
    """
    current = (
        all_marks(marks, as_at).unique("instrument", keep="last", maintain_order=True).rename({"time": "mark_time"})
    )
    known = lives.join(current, on="instrument", how="left", maintain_order="left")
    at = pl.max_horizontal("time", "mark_time") if as_at is None else pl.lit(as_at)
    rated = rated_contracts(known.with_columns(time=at.cast(lives.schema["time"])), tiers, policies)
    is_open = pl.col("how") == "open"
    of_end = ("mark_price", "mark_time", "maintenance_rate", "liquidation_fee_rate", "tier")
    rows = measured(rated.with_columns(pl.when(is_open).then(name).alias(name) for name in of_end), DERIVATIVE_FIGURES)
    rows = measured(rows, DERIVATIVE_MEASURES)
    standing = graded.spans.filter(pl.col("until_time").is_null()).select(*_LIFE, "status")
    rows = rows.join(standing, on=_LIFE, how="left", maintain_order="left")
    rows = rows.join(graded.lives, on=_LIFE, how="left", maintain_order="left", suffix="_graded")
    return rows.with_columns(status=pl.when(is_open).then("status")).select(*schema(DERIVATIVE_POSITIONS))
