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

from ledger.policies import Policies
from ledger.progress import Progress, silent
from ledger.reconciliation.corrections import Corrections, assumed, correction_steps, no_corrections
from ledger.reconciliation.fitted import NO_EFFECT, Answer, named, restated
from ledger.reconciliation.hypotheses import NOTHING, Effect, Event, less, single_mistakes, wide_decimals
from ledger.reconciliation.interest_hypotheses import interest_mistakes
from ledger.reconciliation.search import in_order, rank, tiers
from ledger.reconciliation.trials import Balances, Course, Search, side_by_side

MOST_SEARCHED = 3_000
"""Events of one position that are searched, the latest of them."""
MOST_ANSWERS = 24
"""Answers of one tier that are replayed, the likeliest first."""
_MOST_REPLAYED, _MOST_REPLAYED_IN_ALL = 400_000, 20_000_000
"""Events replayed for single mistakes before the last close, of one position and of all: half a minute together."""
_MOST_AT_ONCE = 4_000_000
"""Events of one position that are replayed for the answers of a tier: of a very long one fewer answers, for memory."""
MOST_TOGETHER = 1_000_000
"""Events of all positions that are searched: some minutes on two cores. More are off when a whole file is missing,
which no search of single mistakes finds."""
_SIDE_BY_SIDE = 100
"""Positions that are searched at a time: each has its events and hypotheses in memory."""
_STAGE = "Explaining"
_BALANCES = ("base", "quote", "margin")


@dataclass(frozen=True)
class _Found:
    answer: Answer
    alternatives: str


def investigated(
    events: pl.DataFrame, moments: pl.DataFrame, end: datetime, policies: Policies, progress: Progress = silent
) -> Corrections:
    """Corrections after which the ledger agrees with the snapshots, of each position of which some are off.

    `events` (EVENTS, `position`, `sequence`, `input`, `row`) is the ledger's side, as the exchange's own events
    correct it; `moments` (MOMENT_SCHEMA) are the snapshots of the same positions; `end` is the time of the last event
    of any position. `progress` is told the positions done.
    """
    of_position = events.partition_by("position", as_dict=True, maintain_order=True)
    groups = moments.sort("time").partition_by("position", as_dict=True, maintain_order=True)
    names, found = list(groups), [no_corrections()]
    most_replayed = min(_MOST_REPLAYED, _MOST_REPLAYED_IN_ALL // max(len(names), 1))
    progress(_STAGE, 0, len(names))
    with wide_decimals():
        for begin in range(0, len(names), _SIDE_BY_SIDE):
            some = names[begin : begin + _SIDE_BY_SIDE]
            own = [of_position.get(name, events.clear()) for name in some]
            searches = [
                _Investigation(each, end, most_replayed).answers(groups[name])
                for name, each in zip(some, own, strict=True)
            ]
            for (position,), answered in zip(some, side_by_side(searches, policies), strict=True):
                found.append(assumed(str(position), [(each.answer, each.alternatives) for each in answered]))
            progress(_STAGE, begin + len(some), len(names))
    return Corrections(pl.concat([each.steps for each in found]), pl.concat([each.added for each in found]))


def beyond_search(events: pl.DataFrame, moments: pl.DataFrame) -> list[str]:
    """Positions that are left out of the search, by name, because there is too much to search (MOST_TOGETHER).

    Those with the fewest events are searched, so that as many as possible are; one is in any case.
    """
    asked = events.filter(pl.col("position").is_in(moments["position"].unique().implode()))
    sizes = asked.group_by("position").agg(events=pl.len()).sort("events", "position")
    beyond = sizes.filter((pl.col("events").cum_sum() > MOST_TOGETHER) & (pl.int_range(pl.len()) > 0))
    return beyond["position"].sort().to_list()


class _Investigation:
    """One position: its events, corrected step by step as answers are found."""

    def __init__(self, events: pl.DataFrame, end: datetime, most_replayed: int) -> None:
        self._events, self._end, self._most_replayed = events, end, most_replayed
        self._carried = NO_EFFECT  # what stayed unexplained at an earlier moment

    def answers(self, moments: pl.DataFrame) -> Search[list[_Found]]:
        """What explains each moment at which the corrected ledger is off, in order of time."""
        found: list[_Found] = []
        agreed: datetime | None = None
        for moment in moments.iter_rows(named=True):
            off = yield from self._off(moment)
            if off is None:
                continue
            if not any(off):
                self._carried = NO_EFFECT
            new = less(off, self._carried)
            if any(new):
                answer = yield from self._explained(moment, new, agreed)
                if answer is None:
                    self._carried = off
                else:
                    found.append(answer)
                    self._events = _edited(self._events, answer.answer)
            agreed = moment["time"]
        return found

    def _off(self, moment: dict[str, Any]) -> Search[Effect | None]:
        if self._events.is_empty():
            return None
        states = yield Balances(self._events, [()], moment["time"])
        return None if states[0] is None else _less_stated(states[0], moment)

    def _explained(self, moment: dict[str, Any], off: Effect, agreed: datetime | None) -> Search[_Found | None]:
        """The likeliest answer that holds when it is replayed, and the causes of those that are as likely."""
        until = moment["time"]
        course = yield Course(self._events)
        events = course[-MOST_SEARCHED:]
        before = [event for event in events if event["time"] <= until]
        if not before:
            return None
        life = [event for event in events if event["episode"] == before[-1]["episode"]]
        most = max(min(MOST_ANSWERS, _MOST_AT_ONCE // self._events.height), 2)
        for number, tier in enumerate(tiers(life, off, agreed, until)):
            fitting = yield from self._fitting(in_order(tier, agreed)[:most], moment)
            if not fitting and number == 0:
                fitting = yield from self._fitting(in_order(self._replayed_singles(before, until), agreed), moment)
            if not fitting and number == 0:
                stopped = yield from self._stopped(before, moment)
                if stopped is not None:
                    return stopped
            if fitting:
                return _likeliest(fitting, len(events) == len(course))
        return None

    def _stopped(self, events: Sequence[Event], moment: dict[str, Any]) -> Search[_Found | None]:
        """Where the ledger of all positions ends before the moment: what happened since is missing."""
        if self._end >= moment["time"] or not moment["base_stated"] or any(self._carried):
            return None
        words = f"the ledger ends at {self._end:%Y-%m-%d %H:%M:%S}, before the snapshot: what happened since is missing"
        fitting = yield from self._fitting([restated(events, moment, words)], moment)
        return _Found(fitting[0], "missing_fill") if fitting else None

    def _replayed_singles(self, events: Sequence[Event], until: datetime) -> list[Answer]:
        """Single mistakes of any life, where a close makes the effect more than a sum."""
        every = single_mistakes(events, until) + interest_mistakes(events, until)
        singles = [single for single in every if single.slips == 0]
        most = max(self._most_replayed // max(len(events), 1), 1)
        return [(single,) for single in singles[-most:]]

    def _fitting(self, candidates: Sequence[Answer], moment: dict[str, Any]) -> Search[list[Answer]]:
        """The answers that, replayed, give the exchange's balances at the moment, but for what is off from before."""
        states = yield Balances(self._events, candidates, moment["time"])
        return [
            answer
            for answer, state in zip(candidates, states, strict=True)
            if state is not None and _less_stated(state, moment) == self._carried
        ]


def _less_stated(state: Effect, moment: dict[str, Any]) -> Effect:
    stated = [moment[f"{balance}_stated"] or NOTHING for balance in _BALANCES]
    return state[0] - stated[0], state[1] - stated[1], state[2] - stated[2]


def _likeliest(fitting: Sequence[Answer], whole: bool) -> _Found:
    """The first answer, and the causes of the others that take as many mistakes and guesses.

    Where not the `whole` position was searched, a mistake before may explain it as well.
    """
    best = [answer for answer in fitting if rank(answer)[:2] == rank(fitting[0])[:2]]
    causes = [_causes(answer) for answer in best]
    others = [cause for cause in dict.fromkeys(causes) if cause != causes[0]]
    if rank(fitting[0])[1] > 1:  # what was guessed would fit a sum of several mistakes as well
        others.append("several mistakes together")
    if not whole:
        others.append(f"a mistake before the last {MOST_SEARCHED:,} events")
    return _Found(fitting[0], " or ".join(others))


def _causes(answer: Answer) -> str:
    return " and ".join(dict.fromkeys(part.cause for part in answer))


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
