"""The state of each position: one row per episode, with its measures at a mark price."""

from collections.abc import Callable, Iterable
from datetime import datetime

import polars as pl

from ledger.columns import DISPLAY, FLAG, HOW_CLOSED, MARK_FIGURES, MARKS, MEASURES, POSITIONS, TIME, Column, schema
from ledger.money import ZERO
from ledger.refusals import refuse_file

_STATUS = pl.Enum(HOW_CLOSED)

Rates = Callable[[pl.DataFrame], pl.DataFrame]
"""Fills the rates that the marks do not state, for rows with instrument, time, both legs and what the marks state."""


def positions_of(ledger: pl.DataFrame, index: pl.DataFrame) -> pl.DataFrame:
    """One row per episode of the ledger: balances, entry price, how and when it was opened and closed.

    `index` comes from `ordering.index_positions`. Every episode begins with a row that opens it; its totals are the
    running totals at its last row less those before its first. Mark prices and measures are added by `valued`.
    """
    totals = {f"{name}_total": pl.col(name).fill_null(ZERO).cum_sum() for name in _TOTALS}
    live = ledger.select(_READ).filter(pl.col("direction").is_not_null())
    live = live.with_columns(**totals).with_row_index("rows_to")
    opens = live["action"] == "open"
    first = live.filter(opens).select(
        opened="time",
        opened_by="event_number",
        **{f"{name}_before": pl.col(f"{name}_total") - pl.col(name).fill_null(ZERO) for name in _TOTALS},
        rows_before="rows_to",
    )
    last = live.filter(opens.shift(-1, fill_value=True)).hstack(first)
    known = last.join(index.drop("position_number"), on="position", how="left", maintain_order="left")
    closed = pl.col("action") == "close"
    next_opened = pl.when(pl.col("position").shift(-1) == pl.col("position")).then(pl.col("opened_by").shift(-1))
    how = (
        pl.when(pl.col("kind") == "liquidation")
        .then(pl.lit("liquidated", _STATUS))
        .when(next_opened == pl.col("event_number"))
        .then(pl.lit("reversed", _STATUS))
        .otherwise(pl.lit("closed", _STATUS))
    )
    return known.with_columns(
        status=pl.when(closed).then(how).otherwise(pl.lit("open", _STATUS)),
        closed=pl.when(closed).then("time"),
        events=(pl.col("rows_to") - pl.col("rows_before") + 1).cast(pl.UInt32),
        base_leg="base_closing",
        quote_leg="quote_closing",
        margin="margin_closing",
        base_interest=ZERO,
        quote_interest=ZERO,
        initial_margin=pl.col("initial_margin_total") - pl.col("initial_margin_before"),
        interest_charged=pl.col("interest_total") - pl.col("interest_before"),
        returned=pl.when(closed).then(pl.when("margin_is_base").then("account_base").otherwise("account_quote")),
        is_long=(pl.col("direction") == "long").cast(FLAG),
        margin_is_base=pl.col("margin_is_base").cast(FLAG),
    )


_TOTALS = ("initial_margin", "interest")
_READ = (
    *("position", "episode", "event_number", "time", "kind", "action", "direction", "mode"),
    *("entry_price", "realised_pnl", "base_closing", "quote_closing", "margin_closing"),
    *("account_base", "account_quote", *_TOTALS),
)
"""Columns of the ledger that say something about an episode."""


def valued(
    positions: pl.DataFrame, marks: pl.DataFrame | None, as_at: datetime | None, rates: Rates | None = None
) -> pl.DataFrame:
    """The positions (columns POSITIONS) with what the exchange displays and the measures at the mark prices.

    `marks` (columns MARKS) gives each instrument's last mark up to `as_at`; `rates`, where there are tiers, the rates
    it does not state, as in force at `as_at`, or, without one, at the last event and mark of the position. The measures
    are empty without them, and for a closed position, of which nothing is left.
    Raises BadInput when a position's value at its mark price does not fit the money type.
    """
    known = positions.join(marks_in_force(marks, as_at), on="instrument", how="left", maintain_order="left")
    is_open = pl.col("status") == "open"
    if rates is not None:
        end = pl.max_horizontal("time", "mark_time") if as_at is None else pl.lit(as_at).cast(TIME)
        known = rates(known.with_columns(time=end))
    known = known.with_columns(pl.when(is_open).then(column.name).alias(column.name) for column in MARK_FIGURES)
    return measured(known, (*DISPLAY, *MEASURES)).select(*schema(POSITIONS))


def measured(rows: pl.DataFrame, columns: Iterable[Column]) -> pl.DataFrame:
    """The rows with these computed columns, each of which may read those before it.

    Raises BadInput when a position's value at its mark price does not fit the money type.
    """
    try:
        for column in columns:
            rows = rows.with_columns(column.expression())
    except (pl.exceptions.InvalidOperationError, pl.exceptions.ComputeError) as problem:
        raise refuse_file(
            "marks", "the value of a position at its mark price has more than 20 digits", "check the mark prices"
        ) from problem
    return rows


def marks_in_force(marks: pl.DataFrame | None, as_at: datetime | None) -> pl.DataFrame:
    """One row per instrument: its last mark (columns MARKS) up to the time asked for, of which `mark_time` is the time.

    A mark without a time counts as the first.
    """
    rows = pl.concat([pl.DataFrame(schema=schema(MARKS)), *([] if marks is None else [marks])], how="diagonal")
    if as_at is not None:
        rows = rows.filter(pl.col("time").is_null() | (pl.col("time") <= as_at))
    latest = rows.sort("time", nulls_last=False).unique("instrument", keep="last", maintain_order=True)
    return latest.rename({"time": "mark_time"})
