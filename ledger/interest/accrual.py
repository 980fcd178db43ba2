"""Interest computed: from events without it to the same events with every charge among them.

What is owed decides the charges, and the charges decide what is owed and what a fill closes. So replay the events,
compute the charges, put their sums between the events, and replay again, until the liability path stays as it was.
Each turn mends at least the first wrong stretch of every position, for nothing before it has changed; mostly the path
is right at the second look.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

import polars as pl

from ledger.columns import schema
from ledger.interest.checks import accrual_checks
from ledger.interest.columns import INTEREST, INTEREST_CAUSES, INTEREST_FRAMES
from ledger.interest.dues import dues, with_charges, with_rates
from ledger.interest.moments import liability_path, liability_rows, pieces
from ledger.interest.roll_forward import roll_forward
from ledger.interest.terms import Terms
from ledger.ordering import order_of
from ledger.policies import Policies
from ledger.replay import ledger_of, replay_parts


@dataclass(frozen=True)
class Accrued:
    """Events with their charges among them, in order; and the charges (columns INTEREST)."""

    events: pl.DataFrame
    interest: pl.DataFrame


def accrue(events: pl.DataFrame, index: pl.DataFrame, policies: Policies, terms: Terms, number: int = 0) -> Accrued:
    """The events of whole positions (see `ordering.with_positions`) with every charge that is due (rules.md 3).

    Recorded interest is left out. A charge has no `input`; its `row` is its number among the charges, counted on
    from `number`. Raises BadInput where a rate is missing or interest outgrows the money type.
    """
    order = order_of(events)
    ordered = (events if order is None else events[order]).filter(pl.col("kind") != "interest")
    # While the charges are sought, the row of an event is its place among the others.
    numbered = ordered.with_columns(input=pl.lit(None, pl.UInt16), row=pl.int_range(pl.len(), dtype=pl.UInt32))
    together, seen = numbered, None
    while True:
        ledger = ledger_of(replay_parts(together, policies), index, policies)
        path = liability_path(liability_rows(ledger, index), terms.until, terms.policy)
        decisive = path.select(*_DECISIVE, owes=pl.col("owed") > 0)
        if seen is not None and seen.equals(decisive):
            break
        # A path that is not right yet may lack a rate that is never needed.
        due = with_rates(dues(path, terms.policy), terms.rates, terms.policy, required=False)
        due, seen = with_charges(due, terms.policy), decisive
        together = interleave(numbered, _sums(due))
    with_rates(due.drop("rate", "rate_unit", "rate_row"), terms.rates, terms.policy)  # refuses what is missing
    charged = due.with_row_index("row", offset=number + 1).filter(pl.col("computed") > 0)
    charged = charged.with_columns(event_id=_event_id())
    events = interleave(ordered, charged.select("after", "event_id", "time", "currency", "row", amount="computed"))
    return Accrued(events, _as_interest(due, "accrued"))


_DECISIVE = ("position", "episode", "row", "time", "to_time", "spell", "level", "borrowed", "repaid_so_far", "currency")
"""With whether anything is owed, all of a path that decides what is charged."""


def _event_id() -> pl.Expr:
    """Charge, position and moment; two borrowings may be of one moment, so they have the number of their event."""
    moment = pl.col("time").dt.to_string("%Y-%m-%dT%H:%M:%S%.6fZ")
    name = pl.format("{}:{}:{}", pl.col("charge").cast(pl.String), "position", moment)
    begins = pl.col("position") != pl.col("position").shift(1, fill_value="")
    event = pl.col("after") - pl.when(begins).then("after").forward_fill()
    return pl.when(pl.col("charge") == "period").then(name).otherwise(pl.format("{}:{}", name, event))


def _as_interest(due: pl.DataFrame, status: str) -> pl.DataFrame:
    """Charges that nothing is compared with, as rows of INTEREST."""
    expected = schema(INTEREST)
    absent = [pl.lit(None, dtype).alias(name) for name, dtype in expected.items() if name not in due.columns]
    return due.with_columns(absent).with_columns(status=pl.lit(status, expected["status"])).select(*expected)


def interleave(events: pl.DataFrame, charged: pl.DataFrame) -> pl.DataFrame:
    """The events with interest events among them, in order.

    `charged` has, in order, `after` (the place of the event that each charge follows), `event_id`, `time`, `currency`,
    `amount` and `row`. An interest event comes from no file: its `input` is empty, and so it stays where it stands.
    """
    rows = events.select(_OF_POSITION)[charged["after"]].hstack(charged.drop("after"))
    rows = rows.with_columns(kind=pl.lit("interest", events.schema["kind"]), reduce_only=pl.lit(value=False))
    places = [pl.int_range(events.height, dtype=pl.Int64, eager=True), charged["after"].cast(pl.Int64)]
    together = pl.concat([events, rows], how="diagonal", rechunk=True)
    return together[pl.concat([places[0] * 2, places[1] * 2 + 1]).arg_sort()]


_OF_POSITION = ("position_number", "mode", "base_currency", "quote_currency", "margin_is_base")


def _sums(due: pl.DataFrame) -> pl.DataFrame:
    """The charges between two events as one."""
    together = due.filter(pl.col("computed") > 0).group_by("after", maintain_order=True)
    return together.agg(
        pl.col("time").last(), pl.col("currency").first(), amount=pl.col("computed").sum()
    ).with_columns(event_id=pl.lit(""), row=pl.lit(0, pl.UInt32))


class Accrual:
    """Interest computed, as a step of a run over files (see `steps.Step`)."""

    frame_names = tuple(INTEREST_FRAMES)

    def __init__(self, terms: Terms, policies: Policies, begin: datetime | None) -> None:
        self._terms, self._policies, self._begin = terms, policies, begin
        self._interest = pl.DataFrame()
        self._charges = 0

    def pieces(self, events: pl.DataFrame, index: pl.DataFrame) -> Iterator[pl.DataFrame]:
        """Whole positions with about so many charging moments as a batch may have."""
        yield from pieces(events, index, self._terms.until, self._terms.policy)

    def among(self, events: pl.DataFrame, index: pl.DataFrame) -> pl.DataFrame:
        """The events with what is charged among them."""
        accrued = accrue(events, index, self._policies, self._terms, self._charges)
        self._interest = accrued.interest
        self._charges += accrued.interest.height
        return accrued.events

    def traced(self, ledger: pl.DataFrame) -> pl.DataFrame:
        """The ledger as it is: a computed charge comes from no file, its row is the one in the interest frame."""
        return ledger

    def frames(self, ledger: pl.DataFrame, index: pl.DataFrame) -> tuple[dict[str, pl.DataFrame], list[pl.DataFrame]]:
        """The charges and the roll-forward; and that the ledger owes what the charges are on."""
        rows = liability_rows(ledger, index)
        frames = {
            "interest": self._interest,
            "interest_causes": pl.DataFrame(schema=schema(INTEREST_CAUSES)),
            "interest_roll": roll_forward(rows, self._terms, self._begin),
        }
        return frames, accrual_checks(self._interest, rows, frames["interest_roll"], self._terms.policy)

    def unclaimed(self) -> tuple[dict[str, pl.DataFrame], list[pl.DataFrame]]:
        """Nothing: every charge belongs to a position."""
        return {}, []
