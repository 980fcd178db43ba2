"""Interest computed: from events without it to the same events with every charge among them.

What is owed decides the charges, and the charges decide what is owed and what a fill closes. So replay the events,
compute the charges, put their sums between the events, and replay again, until the liability path stays as it was.
Each turn mends at least the first wrong stretch of every position, for nothing before it has changed; mostly the path
is right at the second look.
"""

from dataclasses import dataclass

import polars as pl

from ledger.columns import schema
from ledger.interest.charging import Moments, charges
from ledger.interest.columns import INTEREST, RATE_UNITS, UNITS
from ledger.interest.moments import liability_path, liability_rows, moments_due
from ledger.interest.rates import SCOPE
from ledger.interest.terms import Terms
from ledger.money import LARGEST, MONEY, SCALE, from_units, units
from ledger.ordering import order_of
from ledger.policies import Policies
from ledger.refusals import refuse_file
from ledger.replay import ledger_of, replay_parts

_UNIT = pl.Int128


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
        seen, due = decisive, charges_due(path, terms)
        together = interleave(numbered, _sums(due))
    charged = (
        due.with_row_index("row", offset=number + 1).filter(pl.col("computed") > 0).with_columns(event_id=_event_id())
    )
    events = interleave(ordered, charged.select("after", "event_id", "time", "currency", "row", amount="computed"))
    return Accrued(events, _as_interest(due, "accrued"))


_DECISIVE = ("position", "episode", "row", "time", "to_time", "spell", "level", "borrowed", "repaid_so_far", "currency")
"""With whether anything is owed, all of a path that decides what is charged."""


def _event_id() -> pl.Expr:
    moment = pl.col("time").dt.to_string("%Y-%m-%dT%H:%M:%S%.6fZ")
    return pl.format("{}:{}:{}", pl.col("charge").cast(pl.String), "position", moment)


def _as_interest(due: pl.DataFrame, status: str) -> pl.DataFrame:
    """Charges that nothing is compared with, as rows of INTEREST."""
    expected = schema(INTEREST)
    absent = [pl.lit(None, dtype).alias(name) for name, dtype in expected.items() if name not in due.columns]
    return due.with_columns(absent).with_columns(status=pl.lit(status, expected["status"])).select(*expected)


def charges_due(path: pl.DataFrame, terms: Terms) -> pl.DataFrame:
    """Every charge due on a liability path (see `moments.liability_path`), in the order of the path.

    One row per charge: the columns of INTEREST from `position` to `computed`, and `after`, the `row` of the path that
    it follows. Raises BadInput where a rate is missing or interest outgrows the money type.
    """
    due = moments_due(path, terms.policy)
    stretch = path.select("position", "episode", "currency", "row", "level", "repaid_so_far")[due["place"]]
    due = due.hstack(stretch).hstack(_rates(path, due, terms))
    hours = pl.when(pl.col("charge") == "opening_fee").then(1).otherwise(terms.policy.period_hours)
    rows = due.select(
        level=units(pl.col("level")),
        repaid=units(pl.col("repaid_so_far")),
        fixed=units(pl.col("fixed")).fill_null(0),
        free=pl.col("fixed").is_null().cast(_UNIT),
        rate=units(pl.col("rate")) * hours.cast(_UNIT),
        hours=pl.col("rate_unit").replace_strict({**UNITS, "once": 1}, return_dtype=_UNIT),
    )
    loans = due.select(pl.struct("position", "episode").rle_id()).to_series()
    found = charges(Moments(rows, loans.is_first_distinct().arg_true()), terms.policy)
    if found.height and int(found["charge"].max()) >= LARGEST * 10**SCALE:  # type: ignore[arg-type]
        raise refuse_file("rates", "Interest outgrows what an amount can be.", "Check the rates and their units.")
    return due.with_columns(
        after="row", liability=from_units(pl.lit(found["basis"])), computed=from_units(pl.lit(found["charge"]))
    ).select(*_DUE, "after")


_DUE = schema(INTEREST).names()[: schema(INTEREST).names().index("computed") + 1]
_RATE_UNIT = pl.Enum(RATE_UNITS)


def _rates(path: pl.DataFrame, due: pl.DataFrame, terms: Terms) -> pl.DataFrame:
    """Rate, its unit and its row in the rates file for every charge."""
    found = terms.rates.in_force(path.select(SCOPE), due["place"], due["rate_time"])
    is_fee = due["charge"] == "opening_fee"
    return found.select(
        rate=pl.when(is_fee).then(pl.lit(terms.policy.opening_fee, MONEY)).otherwise("rate"),
        rate_unit=pl.when(is_fee).then(pl.lit("once")).otherwise(pl.col("unit").cast(pl.String)).cast(_RATE_UNIT),
        rate_row=pl.when(~is_fee).then("rate_row"),
    )


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
