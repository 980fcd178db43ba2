"""Which mistakes together explain by how much a position is off: one, or two or three, or one whose amount is free.

Exactness makes this a search and no estimate: effects must add up to the last of 18 decimals, so that what fits by
chance is rare, and two answers that both fit are told as two answers.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import chain, combinations, product
from typing import Any

from ledger.reconciliation.fitted import (
    NO_EFFECT,
    Answer,
    cut_offs,
    fitted,
    margin_missing,
    missing_fill,
    opening,
)
from ledger.reconciliation.hypotheses import NOTHING, Effect, Event, Hypothesis, less, single_mistakes
from ledger.reconciliation.interest_hypotheses import interest_fitted, interest_mistakes

_MOST_FOR_TWO, _MOST_FOR_THREE = 20_000, 400
_TOGETHER = {"cut_off", "interest_rounding"}  # causes of which one mistake touches several events
_CHOICES = 3
"""Explanations of one balance that are put together with those of the others."""


def tiers(events: Sequence[Event], off: Effect, since: datetime | None, until: datetime) -> Iterator[list[Answer]]:
    """Sets of mistakes whose effects add up to `off`, the likelier ones first: tier after tier, computed on demand.

    `events` are all of one life of a position that is open at `until`, the later ones included; `since` is the time
    at which ledger and exchange last agreed, or were off by what is known: mistakes are looked for after it. An answer
    without a guessed amount is likelier than one with, fewer mistakes are likelier than more.
    """
    every = single_mistakes(events, until) + interest_mistakes(events, until)
    singles = [one for one in every if one.effect != NO_EFFECT and (since is None or one.time > since)]
    known = [event for event in events if event["time"] <= until]
    alone: list[Answer] = [(one,) for one in singles if one.effect == off]
    led = [*fitted(known, off), *interest_fitted(events, off, until)]
    yield [
        *alone,
        *(answer for answer in led if since is None or answer[0].time > since),
        *cut_offs(events, off, until),
    ]
    yield _two(singles, off)
    yield margin_missing(events, off, until)
    apart = _Apart(events, singles, since, until)
    yield apart.answers(off)
    if len(singles) <= _MOST_FOR_THREE:
        yield _three(singles, off)
    yield apart.beside_one(off)
    yield missing_fill(events, off, until)
    yield opening(events, off)


def rank(answer: Answer) -> tuple[int, int, int]:
    """How unlikely an answer is: how many mistakes it takes, how many amounts were guessed, how many slips."""
    causes = {part.cause for part in answer}
    size = 1 if len(causes) == 1 and causes <= _TOGETHER else len(answer)
    return size, sum(part.guesses for part in answer), sum(part.slips for part in answer)


def in_order(answers: Sequence[Answer], since: datetime | None) -> list[Answer]:
    """The answers, each once, the likeliest first: those after `since`, when the two last agreed, and small ones."""

    def key(answer: Answer) -> tuple[Any, ...]:
        earlier = 0 if since is None else sum(part.time <= since for part in answer)
        return (
            *rank(answer),
            earlier,
            sum(sum(map(abs, part.effect)) for part in answer),
            min(part.time for part in answer),
        )

    distinct = {_name(answer): answer for answer in answers}
    return sorted(distinct.values(), key=key)


def _name(answer: Answer) -> tuple[Any, ...]:
    return tuple(sorted((part.cause, str(part.source.get("event_id")), part.words) for part in answer))


# --- several mistakes -----------------------------------------------------------------------------------------


def _two(singles: list[Hypothesis], off: Effect) -> list[Answer]:
    """Pairs of mistakes in two different events."""
    if len(singles) > _MOST_FOR_TWO:
        return []
    by_effect: dict[Effect, list[int]] = {}
    for number, single in enumerate(singles):
        by_effect.setdefault(single.effect, []).append(number)
    return [
        (single, singles[other])
        for number, single in enumerate(singles)
        for other in by_effect.get(less(off, single.effect), ())
        if other > number and single.removed is not singles[other].removed
    ]


def _three(singles: list[Hypothesis], off: Effect) -> list[Answer]:
    by_effect: dict[Effect, list[Hypothesis]] = {}
    for single in singles:
        by_effect.setdefault(single.effect, []).append(single)
    found: list[Answer] = []
    for first, second in combinations(singles, 2):
        for third in by_effect.get(less(less(off, first.effect), second.effect), ()):
            if len({id(part.removed) for part in (first, second, third)}) == 3:
                found.append((first, second, third))
    return found


class _Apart:
    """Mistakes that touch one balance each, put together: each balance that is off is explained by itself."""

    def __init__(
        self, events: Sequence[Event], singles: Sequence[Hypothesis], since: datetime | None, until: datetime
    ) -> None:
        self._events, self._singles, self._since, self._until = events, singles, since, until
        self._known = [event for event in events if event["time"] <= until]
        self._by_effect: dict[Effect, list[Hypothesis]] = {}
        for single in singles:
            if sum(part != 0 for part in single.effect) == 1:
                self._by_effect.setdefault(single.effect, []).append(single)

    def answers(self, off: Effect, led: bool = True) -> list[Answer]:
        """One mistake for each balance that is off; with `led`, also those whose amount follows from what is off."""
        base, quote, margin = off
        each = ((base, NOTHING, NOTHING), (NOTHING, quote, NOTHING), (NOTHING, NOTHING, margin))
        choices = [self._of_one(one, led) for one in each if one != NO_EFFECT]
        if len(choices) < 2 and led:
            return []  # the tiers before have had it
        return [tuple(chain.from_iterable(parts)) for parts in product(*choices)]

    def _of_one(self, off: Effect, led: bool) -> list[Answer]:
        found: list[Answer] = [(single,) for single in self._by_effect.get(off, ())[:_CHOICES]]
        if not found and led:
            every = [*fitted(self._known, off), *interest_fitted(self._events, off, self._until)]
            found = [answer for answer in every if self._since is None or answer[0].time > self._since][:_CHOICES]
        return found or margin_missing(self._events, off, self._until)

    def beside_one(self, off: Effect) -> list[Answer]:
        """A mistake that touches several balances, and one for each balance that is off without it."""
        found: list[Answer] = []
        for single in self._singles:
            if sum(part != 0 for part in single.effect) > 1 and single.slips == 0:
                others = self.answers(less(off, single.effect), led=False)
                found += [(single, *answer) for answer in others if answer]
        return found
