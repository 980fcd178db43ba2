"""Where the exchange gives no events: which mistakes of the ledger give its snapshots, searched and then replayed.

The snapshots of a position are taken in order of time. Where the ledger, corrected so far, is off, the search looks for
mistakes that explain it; an answer counts only if replaying it gives all three balances to the last digit. Answers that
fit as well stand beside it. What nothing fits stays unexplained.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import polars as pl

from ledger.columns import EVENTS, schema
from ledger.ordering import index_positions, with_positions
from ledger.policies import Policies
from ledger.reconciliation.corrections import Corrections, assumed, correction_steps, no_corrections
from ledger.reconciliation.fitted import NO_EFFECT, Answer, named, restated
from ledger.reconciliation.hypotheses import NOTHING, Effect, Event, less, single_mistakes, wide_decimals
from ledger.reconciliation.interest_hypotheses import interest_mistakes
from ledger.reconciliation.search import in_order, rank, tiers
from ledger.reconciliation.states import states_at
from ledger.reconciliation.variants import ADDED_SCHEMA, REMOVED_SCHEMA, VARIANT_SCHEMA, Edits, histories
from ledger.replay import ledger_of, replay_parts

MOST_SEARCHED = 3_000
"""Events of one position that are searched, the latest of them."""
MOST_ANSWERS = 24
"""Answers of one tier that are replayed, the likeliest first."""
_MOST_REPLAYED = 400_000
_BALANCES = ("base", "quote", "margin")


@dataclass(frozen=True)
class _Found:
    answer: Answer
    alternatives: str


def investigated(events: pl.DataFrame, moments: pl.DataFrame, end: datetime, policies: Policies) -> Corrections:
    """Corrections after which the ledger agrees with the snapshots, of each position of which some are off.

    `events` (EVENTS, `position`, `sequence`, `input`, `row`) is the ledger's side, as the exchange's own events
    correct it; `moments` (MOMENT_SCHEMA) are the snapshots of the same positions; `end` is the time of the last event
    of any position.
    """
    found = no_corrections()
    with wide_decimals():
        for (position,), own in moments.sort("time").group_by("position", maintain_order=True):
            of_position = events.filter(pl.col("position") == position)
            answered = _Investigation(of_position, end, policies).answers(own)
            found = found.and_then(assumed(str(position), [(each.answer, each.alternatives) for each in answered]))
    return found


class _Investigation:
    """One position: its events, corrected step by step as answers are found."""

    def __init__(self, events: pl.DataFrame, end: datetime, policies: Policies) -> None:
        self._events, self._end, self._policies = events, end, policies
        self._carried = NO_EFFECT  # what stayed unexplained at an earlier moment

    def answers(self, moments: pl.DataFrame) -> list[_Found]:
        """What explains each moment at which the corrected ledger is off, in order of time."""
        found: list[_Found] = []
        agreed: datetime | None = None
        for moment in moments.iter_rows(named=True):
            off = self._off(moment)
            if off is None:
                continue
            if not any(off):
                self._carried = NO_EFFECT
            new = less(off, self._carried)
            if any(new):
                answer = self._explained(moment, new, agreed)
                if answer is None:
                    self._carried = off
                else:
                    found.append(answer)
                    self._events = _edited(self._events, answer.answer)
            agreed = moment["time"]
        return found

    def _off(self, moment: dict[str, Any]) -> Effect | None:
        if self._events.is_empty():
            return None
        states = self._states([()], moment["time"])
        return None if states[0] is None else _less_stated(states[0], moment)

    def _explained(self, moment: dict[str, Any], off: Effect, agreed: datetime | None) -> _Found | None:
        """The likeliest answer that holds when it is replayed, and the causes of those that are as likely."""
        until = moment["time"]
        events = _with_course(self._events, self._policies)[-MOST_SEARCHED:]
        before = [event for event in events if event["time"] <= until]
        if not before:
            return None
        life = [event for event in events if event["episode"] == before[-1]["episode"]]
        for number, tier in enumerate(tiers(life, off, agreed, until)):
            fitting = self._fitting(in_order(tier, agreed)[:MOST_ANSWERS], moment)
            if not fitting and number == 0:
                fitting = self._fitting(in_order(self._replayed_singles(before, until), agreed), moment)
            if not fitting and number == 0:
                stopped = self._stopped(before, moment)
                if stopped is not None:
                    return stopped
            if fitting:
                return _likeliest(fitting)
        return None

    def _stopped(self, events: Sequence[Event], moment: dict[str, Any]) -> _Found | None:
        """Where the ledger of all positions ends before the moment: what happened since is missing."""
        if self._end >= moment["time"] or not moment["base_stated"] or any(self._carried):
            return None
        words = f"the ledger ends at {self._end:%Y-%m-%d %H:%M:%S}, before the snapshot: what happened since is missing"
        fitting = self._fitting([restated(events, moment, words)], moment)
        return _Found(fitting[0], "missing_fill") if fitting else None

    def _replayed_singles(self, events: Sequence[Event], until: datetime) -> list[Answer]:
        """Single mistakes of any life, where a close makes the effect more than a sum."""
        every = single_mistakes(events, until) + interest_mistakes(events, until)
        singles = [single for single in every if single.slips == 0]
        most = max(_MOST_REPLAYED // max(len(events), 1), 1)
        return [(single,) for single in singles[-most:]]

    def _fitting(self, candidates: Sequence[Answer], moment: dict[str, Any]) -> list[Answer]:
        """The answers that, replayed, give the exchange's balances at the moment, but for what is off from before."""
        states = self._states(candidates, moment["time"])
        return [
            answer
            for answer, state in zip(candidates, states, strict=True)
            if state is not None and _less_stated(state, moment) == self._carried
        ]

    def _states(self, candidates: Sequence[Answer], time: datetime) -> list[Effect | None]:
        """The three balances at a time after each answer; nothing where it breaks the course of the position."""
        position = self._events["position"][0]
        edits = _edits(position, [named(answer) for answer in candidates])
        if edits.variants.is_empty():
            return []
        history = histories(self._events, edits, self._policies).with_columns(
            position=pl.col("variant").cast(pl.String)
        )
        asked = edits.variants.select(
            position=pl.col("variant").cast(pl.String), time=pl.lit(time, history.schema["time"])
        )
        states = states_at(history.drop("variant"), asked)
        alive = pl.col("position").is_in(history["position"].unique().implode())
        legs = states.select(alive.alias("alive"), pl.col("base_leg", "quote_leg", "margin"))
        return [(b or NOTHING, q or NOTHING, m or NOTHING) if alive else None for alive, b, q, m in legs.iter_rows()]


def _less_stated(state: Effect, moment: dict[str, Any]) -> Effect:
    stated = [moment[f"{balance}_stated"] or NOTHING for balance in _BALANCES]
    return state[0] - stated[0], state[1] - stated[1], state[2] - stated[2]


def _likeliest(fitting: Sequence[Answer]) -> _Found:
    """The first answer, and the causes of the others that take as many mistakes and guesses."""
    best = [answer for answer in fitting if rank(answer)[:2] == rank(fitting[0])[:2]]
    causes = [_causes(answer) for answer in best]
    others = [cause for cause in dict.fromkeys(causes) if cause != causes[0]]
    if rank(fitting[0])[1] > 1:  # what was guessed would fit a sum of several mistakes as well
        others.append("several mistakes together")
    return _Found(fitting[0], " or ".join(others))


def _causes(answer: Answer) -> str:
    return " and ".join(dict.fromkeys(part.cause for part in answer))


def _edits(position: str, candidates: Sequence[Answer]) -> Edits:
    removed, added = [], []
    for number, answer in enumerate(candidates):
        removed += [(number, part.removed["event_id"]) for part in answer if part.removed]
        added += [{**part.added, "variant": number} for part in answer if part.added]
    rows = [{name: row.get(name) for name in ADDED_SCHEMA} for row in added]
    variants = [(number, position, None) for number in range(len(candidates))]
    return Edits(
        pl.DataFrame(variants, schema=VARIANT_SCHEMA, orient="row"),
        pl.DataFrame(removed, schema=REMOVED_SCHEMA, orient="row"),
        pl.DataFrame(rows, schema=ADDED_SCHEMA, orient="row"),
    )


def _edited(events: pl.DataFrame, answer: Answer) -> pl.DataFrame:
    """The events after the answer."""
    gone = [part.removed["event_id"] for part in answer if part.removed]
    kept = events.filter(~pl.col("event_id").is_in(gone))
    rows = [{name: row.get(name) for name in events.columns} for row in _put_in(answer)]
    position = events["position"][0] if events.height else None
    added = pl.DataFrame(rows, schema=events.schema, orient="row").with_columns(position=pl.lit(position, pl.String))
    return pl.concat([kept, added]).sort("time", "sequence", maintain_order=True)


def _put_in(answer: Answer) -> list[Event]:
    return [part.added for part in named(answer) if part.added]


def _with_course(events: pl.DataFrame, policies: Policies) -> list[Event]:
    """The events of one position in order, with what the replay makes of each: see `hypotheses.Event`."""
    ordered = events.sort("time", "sequence", maintain_order=True).with_columns(
        input=pl.lit(0, pl.UInt16), row=pl.int_range(1, pl.len() + 1, dtype=pl.UInt32), own_input="input", own_row="row"
    )
    index = index_positions(ordered)
    parts = replay_parts(with_positions(ordered.select(*schema(EVENTS), "input", "row"), index), policies)
    ledger = ledger_of(parts, index, policies)
    is_long = pl.col("direction") == "long"
    course = ledger.group_by("event_id").agg(
        posted=pl.when(pl.col("initial_margin").is_not_null().any()).then(pl.col("initial_margin").sum()),
        episode=pl.col("episode").last(),
        leverage_in_force=pl.col("leverage").last(),
        liability=pl.when(is_long).then(-pl.col("quote_opening")).otherwise(-pl.col("base_opening")).first(),
        is_long=is_long.last(),
        liability_after=pl.when(is_long).then(-pl.col("quote_closing")).otherwise(-pl.col("base_closing")).last(),
    )
    known = ordered.join(course, on="event_id", how="left", maintain_order="left")
    known = known.with_columns(input="own_input", row="own_row", margin_is_base=pl.lit(index["margin_is_base"][0]))
    return known.drop("own_input", "own_row").rows(named=True)


def mislabelled(moments: pl.DataFrame, events: pl.DataFrame) -> Corrections:
    """One correction per position whose events name another mode than the figures of its last snapshot show.

    Both modes show the same where margin and assets are of different currencies; then nothing is said.
    """
    shown = moments.filter(pl.col("is_long_stated") == pl.col("margin_is_base_stated")).sort("time")
    last = shown.unique("position", keep="last", maintain_order=True).select("position", "time", "mode_stated")
    modes = events.group_by("position").agg(mode=pl.col("mode").last())
    wrong = last.join(modes, on="position").filter(pl.col("mode") != pl.col("mode_stated"))
    steps = wrong.with_columns(
        step=pl.lit(1, pl.UInt32),
        cause=pl.lit("mode"),
        certainty=pl.lit("fits"),
        mode_instead="mode_stated",
        hypothesis=pl.format("the exchange shows the position in mode {}", "mode_stated"),
    )
    return Corrections(correction_steps(steps), no_corrections().added)
