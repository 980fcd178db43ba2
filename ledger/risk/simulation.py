"""The liquidations that were due at the marks, in place of what happened after them.

A life is cut into segments at its recorded liquidations (`liquidation_segments`), and what was due in a segment comes
in runs of due moments (`booked_runs`). Where a recorded liquidation ends the segment, only the first step of its run
counts: what followed is in the records. Of a run that was over before, and not booked, the steps at its first moment
count, and what is recorded goes on. Where no liquidation ends the segment, what is recorded after the last run began is
left out, interest too, and the reduced position is held against the marks that follow, until the life is closed in the
ledger.

    segments -> states -> grading -> runs -> steps at a first moment -> reduced position -> states -> ... -> replay
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import polars as pl

from ledger.columns import FLAG, LEDGER, MARKS, POSTINGS, TIME, schema
from ledger.money import MONEY
from ledger.policies import Policies
from ledger.risk.booked_runs import apart, at_moments, picked, runs_of
from ledger.risk.columns import LIQUIDATIONS
from ledger.risk.grading import Graded
from ledger.risk.liquidation import BALANCES, LIQUIDATION_STEPS, steps_at
from ledger.risk.liquidation_events import replayed
from ledger.risk.liquidation_segments import continued, segments_of, told
from ledger.risk.policies import RiskPolicies
from ledger.risk.states import ALWAYS, last_place, spot_states

_DUE_HALF = (
    *("label", "instrument", "instrument_class", "step", "due_at", "due_mark", "ratio_before", "ratio_after"),
    *("tier_before", "tier_after", "side", "liability_currency", "margin_currency", "bankruptcy_price"),
)
DUE: dict[str, Any] = {
    "position": pl.String,
    "episode": pl.UInt32,
    "segment": pl.UInt32,
    "round": pl.UInt32,
    "step_number": pl.UInt32,
    "event_id": pl.String,
    "booked_event": pl.UInt32,
    "ends_with": pl.UInt32,
    "is_missed": pl.Boolean,
    "over": TIME,
    "missed_again": pl.UInt32,
    "missed_until": TIME,
    "is_long": FLAG,
    "margin_is_base": FLAG,
    "value_due": MONEY,
    "fee_in_margin": MONEY,
    **{one.name: one.dtype for one in LIQUIDATIONS if one.name in _DUE_HALF or one.name.endswith("_due")},
}
"""One row per liquidation that was due: the due half of LIQUIDATIONS, and where it belongs.

`booked_event` is the number of the recorded liquidation that it is held against, `ends_with` that of the one that ends
its segment. Of a run that was missed (`is_missed`), `over` is when it was no longer due, `missed_again` how many more
were missed in the segment, `missed_until` when the last of them began. `segment` numbers the stretches that are
replayed by themselves: a segment has one for the run that it missed, and one for what counts. `round` counts the
moments of a segment at which it was liquidated, `step_number` all its steps; `event_id` is that of its rows in the
simulated ledger, `fee_in_margin` the fee in margin currency at the mark."""


@dataclass(frozen=True)
class Simulated:
    """What was due (columns DUE), and the ledger and postings it would have (SIMULATED_LEDGER, SIMULATED_POSTINGS)."""

    due: pl.DataFrame
    ledger: pl.DataFrame
    postings: pl.DataFrame


@dataclass(frozen=True)
class _Asked:
    """What lives are held against."""

    index: pl.DataFrame
    marks: pl.DataFrame | None
    tiers: pl.DataFrame | None
    policies: RiskPolicies
    as_at: datetime | None


def simulate(
    ledger: pl.DataFrame,
    index: pl.DataFrame,
    marks: pl.DataFrame | None,
    tiers: pl.DataFrame | None,
    policies: RiskPolicies,
    replay_policies: Policies,
    as_at: datetime | None = None,
    graded: Graded | None = None,
) -> Simulated:
    """The liquidations that were due in the lives of a ledger, at the marks up to `as_at`.

    `ledger` has the columns LEDGER, `index` comes from `ordering.index_positions`, `tiers` is a frame of TIERS.
    `graded`, where it is known, saves the work on lives that were never due. Raises BadInput when a value at a mark
    does not fit the money type.
    """
    asked = _Asked(index, _up_to(marks, as_at), tiers, policies, as_at)
    segments = _worth_it(segments_of(ledger), graded)
    ends = segments.filter(pl.col("booked_event").is_not_null()).select("segment", "booked_event", "booked_at")
    found, standing, number = [], segments, 0
    while standing.height:
        number += 1
        rows = _due(standing, asked, ends if number == 1 else None)
        if not rows.height:
            break
        steps = _steps(rows, asked).with_columns(round=pl.lit(number, pl.UInt32))
        found.append(steps)
        last = steps.filter(pl.col("place") != pl.col("place").shift(-1, fill_value=2**32 - 1))
        goes_on = pl.col("booked_event").is_null() & ~pl.col("is_missed")
        reduced = last.filter((pl.col("step") == "partial") & goes_on)
        standing = continued(reduced.with_columns(_after()), segments)
    if not found:
        return Simulated(pl.DataFrame(schema=DUE), schema(LEDGER).to_frame(), schema(POSTINGS).to_frame())
    return _replayed(pl.concat(found, how="diagonal"), index, replay_policies)


def _up_to(marks: pl.DataFrame | None, as_at: datetime | None) -> pl.DataFrame | None:
    """The marks that count at a time."""
    if marks is None or as_at is None:
        return marks
    return marks.filter(pl.col("time").is_null() | (pl.col("time") <= as_at))


def marks_at(rows: pl.DataFrame, marks: pl.DataFrame | None) -> pl.DataFrame:
    """The rows with the mark in force at their `time`: mark_price, and the rates it states, as `stated_...`.

    `rows` has instrument and time; all three are empty where there is no mark yet.
    """
    given = [schema(MARKS).to_frame(), *([] if marks is None else [marks])]
    known = pl.concat(given, how="diagonal").with_columns(pl.col("time").fill_null(pl.lit(ALWAYS)).cast(TIME))
    known = known.sort("instrument", "time").with_row_index("place")
    places = last_place(rows, "time", known, or_then=True)
    stated = {name: f"stated_{name}" for name in ("maintenance_rate", "liquidation_fee_rate")}
    columns = known.select("mark_price", *stated).rename(stated)
    return rows.with_columns(columns[name].gather(places) for name in columns.columns)


def _worth_it(segments: pl.DataFrame, graded: Graded | None) -> pl.DataFrame:
    """The segments of lives of which a liquidation was due or is booked."""
    if graded is None:
        return segments
    life = ["position", "episode"]
    due = graded.lives.filter(pl.col("cancelled_at").is_not_null()).select(life)
    booked = segments.filter(pl.col("booked_event").is_not_null()).select(life)
    return segments.join(pl.concat([due, booked]).unique(), on=life, how="semi", maintain_order="left")


def _due(segments: pl.DataFrame, asked: _Asked, ends: pl.DataFrame | None) -> pl.DataFrame:
    """The states of segments at the first moments of the runs that count (see `booked_runs.picked`), and their marks.

    Without `ends` the segments are what liquidations in part left of them: then the first run of each counts.
    """
    found = spot_states(told(segments), asked.index, asked.marks, asked.tiers, asked.policies, asked.as_at)
    states = apart(found)
    runs = runs_of(states, asked.marks, asked.policies)
    if ends is None:
        first = runs.unique("episode", keep="first", maintain_order=True)
        told_of = first.with_columns(is_missed=pl.lit(value=False), booked_event=pl.lit(None, pl.UInt32)).drop("over")
    else:
        told_of = picked(runs, states, ends)
    rows = at_moments(told_of, states).sort("episode", "due_at", "is_missed", descending=[False, False, True])
    rows = rows.with_columns(time="due_at", instrument_class=pl.lit("spot_margin"))
    rows = marks_at(rows, asked.marks).rename({"episode": "segment"})
    kept = segments.unique(["segment", "event_number"], keep="last", maintain_order=True)
    described = kept.select("segment", "event_number", "episode", "direction", "mode", "leverage", "entry_price")
    return rows.join(described, on=["segment", "event_number"], how="left", maintain_order="left")


def _steps(rows: pl.DataFrame, asked: _Asked) -> pl.DataFrame:
    """The steps of the liquidations of these positions, each with the state it starts from (`..._before`)."""
    steps = steps_at(rows, asked.tiers, asked.policies)
    states = rows.drop("instrument_class", *(name for name in LIQUIDATION_STEPS if name in rows.columns), strict=False)
    known = pl.concat([steps, states[steps["place"]]], how="horizontal")
    first = pl.col("step_number") == 1
    starts = rows.select(BALANCES)[steps["place"]]
    before = [
        pl.when(first).then(starts[name]).otherwise(pl.col(name).shift(1)).alias(f"{_short(name)}_before")
        for name in BALANCES
    ]
    return known.with_columns(before).filter(first | pl.col("booked_event").is_null())


def _short(name: str) -> str:
    return name.removesuffix("_leg")


def _after() -> list[pl.Expr]:
    """The balances after a step under the names of the ledger."""
    names = {"base_leg": "base_closing", "quote_leg": "quote_closing", "margin": "margin_closing"}
    return [pl.col(old).alias(new) for old, new in names.items()]


def _replayed(found: pl.DataFrame, index: pl.DataFrame, policies: Policies) -> Simulated:
    """The steps in order, with what the engine makes of them."""
    life = ["position", "episode"]
    order = pl.int_range(1, pl.len() + 1, dtype=pl.UInt32)
    told_apart = found.with_columns(segment=(pl.col("segment") * 2 - pl.col("is_missed")).cast(pl.UInt32))
    steps = told_apart.sort("segment", "round", "step_number", maintain_order=True).with_columns(
        step_number=order.over("segment"), number=order.over(life)
    )
    name = pl.format("{}#{} due {}", "position", "episode", "number")
    steps = steps.with_columns(event_id=name)
    ledger, postings = replayed(steps, index, policies)
    closes = ledger.filter((pl.col("action") == "close") & (pl.col("kind") == "liquidation")).select(
        "event_id",
        insurance_fund_due="insurance_fund",
        account_base="account_base",
        account_quote="account_quote",
    )
    known = steps.join(closes, on="event_id", how="left", maintain_order="left")
    currencies = index.select("position", "base_currency", "quote_currency", "margin_currency")
    known = known.join(currencies, on="position", how="left", maintain_order="left")
    due = known.with_columns(
        label=pl.lit("LIQ"),
        instrument_class=pl.lit("spot_margin"),
        due_at="time",
        due_mark="mark_price",
        liability_currency=pl.when(pl.col("is_long") == 1).then("quote_currency").otherwise("base_currency"),
        returned_due=pl.when(pl.col("margin_is_base") == 1).then("account_base").otherwise("account_quote"),
    )
    due = due.select(pl.col(name).cast(dtype) for name, dtype in DUE.items())
    return Simulated(due, ledger.select(schema(LEDGER).names()), postings)
