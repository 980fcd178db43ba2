"""Searches side by side: what each of them asks to be replayed is replayed together with what the others ask.

A replay of a few hundred events takes some 40 milliseconds, one of a million events a second: so searches do not
replay, they yield a request and go on with the answer. The searches of different positions know nothing of each other.
"""

from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

import polars as pl

from ledger.columns import EVENTS, TIME, schema
from ledger.ordering import index_positions, with_positions
from ledger.policies import Policies
from ledger.reconciliation.fitted import Answer, named
from ledger.reconciliation.hypotheses import NOTHING, Effect, Event
from ledger.reconciliation.states import states_at
from ledger.reconciliation.variants import (
    ADDED_SCHEMA,
    MOST_EVENTS,
    REMOVED_SCHEMA,
    VARIANT_SCHEMA,
    Edits,
    histories,
)
from ledger.replay import ledger_of, replay_parts

_T = TypeVar("_T")


@dataclass(frozen=True)
class Balances:
    """Asks for the three balances at a time after each of the answers, each of which edits the events.

    The reply is a list, with nothing where an answer breaks the course of the position.
    """

    events: pl.DataFrame
    answers: Sequence[Answer]
    time: datetime

    @property
    def size(self) -> int:
        """How many events are replayed."""
        return self.events.height * len(self.answers)


@dataclass(frozen=True)
class Course:
    """Asks for the events of a position in order, with what the replay makes of each: see `hypotheses.Event`."""

    events: pl.DataFrame

    @property
    def size(self) -> int:
        """How many events are replayed."""
        return self.events.height


Request = Balances | Course
Search = Generator[Request, Any, _T]
"""Yields requests, is sent the reply to each, and returns what it found."""


def side_by_side(searches: Sequence[Search[_T]], policies: Policies) -> list[_T]:
    """What each of the searches returns; each is of another position."""
    found: dict[int, _T] = {}
    replies: dict[int, Any] = dict.fromkeys(range(len(searches)))
    while replies:
        asked: dict[int, Request] = {}
        for number, reply in replies.items():
            try:
                asked[number] = searches[number].send(reply)
            except StopIteration as stop:
                found[number] = stop.value
        replies = {}
        for kind, answer in ((Balances, _balances), (Course, _courses)):
            of_kind = [number for number, request in asked.items() if isinstance(request, kind)]
            for batch in _batches(of_kind, asked):
                replies |= zip(batch, answer([asked[number] for number in batch], policies), strict=True)
    return [found[number] for number in range(len(searches))]


def _batches(numbers: Iterable[int], asked: dict[int, Request]) -> Iterator[list[int]]:
    """The requests in batches of few enough events together."""
    batch: list[int] = []
    size = 0
    for number in numbers:
        own = asked[number].size
        if batch and size + own > MOST_EVENTS:
            yield batch
            batch, size = [], 0
        batch.append(number)
        size += own
    if batch:
        yield batch


# --- balances after answers -----------------------------------------------------------------------------------


def _balances(requests: Sequence[Any], policies: Policies) -> list[list[Effect | None]]:
    edits = _edits(requests)
    if edits.variants.is_empty():
        return [[] for _ in requests]
    events = pl.concat([request.events for request in requests if request.answers])
    history = histories(events, edits, policies).with_columns(position=pl.col("variant").cast(pl.String))
    times = [request.time for request in requests for _ in request.answers]
    asked = edits.variants.select(position=pl.col("variant").cast(pl.String), time=pl.Series(times, dtype=TIME))
    states = states_at(history.drop("variant"), asked)
    alive = pl.col("position").is_in(history["position"].unique().implode())
    rows = states.select(alive.alias("alive"), pl.col("base_leg", "quote_leg", "margin")).iter_rows()
    every = [(b or NOTHING, q or NOTHING, m or NOTHING) if alive else None for alive, b, q, m in rows]
    replies, begin = list[list[Effect | None]](), 0
    for request in requests:
        replies.append(every[begin : begin + len(request.answers)])
        begin += len(request.answers)
    return replies


def _edits(requests: Sequence[Any]) -> Edits:
    """The answers of all requests as variants, numbered through."""
    variants, removed, added = list[Any](), list[Any](), list[Any]()
    for request in requests:
        position = request.events["position"][0] if request.answers else None
        for answer in request.answers:
            number = len(variants)
            variants.append((number, position, None))
            for part in named(answer):
                if part.removed:
                    removed.append((number, part.removed["event_id"]))
                if part.added:
                    added.append({**{name: part.added.get(name) for name in ADDED_SCHEMA}, "variant": number})
    return Edits(
        pl.DataFrame(variants, schema=VARIANT_SCHEMA, orient="row"),
        pl.DataFrame(removed, schema=REMOVED_SCHEMA, orient="row"),
        pl.DataFrame(added, schema=ADDED_SCHEMA, orient="row"),
    )


# --- the course of positions ------------------------------------------------------------------------------------


def _courses(requests: Sequence[Any], policies: Policies) -> list[list[Event]]:
    every = pl.concat([request.events for request in requests])
    ordered = every.sort("time", "sequence", maintain_order=True).with_columns(
        input=pl.lit(0, pl.UInt16), row=pl.int_range(1, pl.len() + 1, dtype=pl.UInt32), own_input="input", own_row="row"
    )
    index = index_positions(ordered)
    parts = replay_parts(with_positions(ordered.select(*schema(EVENTS), "input", "row"), index), policies)
    ledger = ledger_of(parts, index, policies)
    is_long = pl.col("direction") == "long"
    course = ledger.group_by("position", "event_id").agg(
        posted=pl.when(pl.col("initial_margin").is_not_null().any()).then(pl.col("initial_margin").sum()),
        episode=pl.col("episode").last(),
        leverage_in_force=pl.col("leverage").last(),
        liability=pl.when(is_long).then(-pl.col("quote_opening")).otherwise(-pl.col("base_opening")).first(),
        is_long=is_long.last(),
        liability_after=pl.when(is_long).then(-pl.col("quote_closing")).otherwise(-pl.col("base_closing")).last(),
    )
    known = ordered.join(course, on=["position", "event_id"], how="left", maintain_order="left")
    known = known.join(index.select("position", "margin_is_base"), on="position", how="left", maintain_order="left")
    known = known.with_columns(input="own_input", row="own_row").drop("own_input", "own_row")
    of_position = known.partition_by("position", as_dict=True, maintain_order=True)
    return [of_position[request.events["position"][0],].rows(named=True) for request in requests]
