"""Interest done again: the exchange's rows put to positions and hours, and compared with what was due."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

import polars as pl

from ledger.interest.accrual import interleave
from ledger.interest.checks import comparison_checks, roll_check
from ledger.interest.columns import INTEREST_FRAMES
from ledger.interest.comparison import (
    Comparison,
    compared,
    covered,
    with_assumed,
    with_lost_rows,
    with_recorded,
    without_due,
)
from ledger.interest.dues import dues, with_charges, with_rates
from ledger.interest.loans import reperform_rows
from ledger.interest.matching import coverage, matched, recorded_rows, with_account
from ledger.interest.moments import liability_path, liability_rows, pieces
from ledger.interest.policy import InterestPolicy
from ledger.interest.rates import Rates
from ledger.interest.roll_forward import roll_forward
from ledger.interest.terms import Terms
from ledger.ordering import order_of
from ledger.policies import Policies
from ledger.replay import ledger_of, replay_parts

_NO_TIME = pl.lit(None, pl.UInt16)


@dataclass(frozen=True)
class Reperformed:
    """Events with the exchange's interest among them, in order, and what the comparison says.

    `sources` has `input` and `row` of each of these interest events, empty where its row is lost; `due` the charges
    that were due with all that is known of each; `used` the numbers of the exchange's rows that belong to these
    positions.
    """

    events: pl.DataFrame
    sources: pl.DataFrame
    due: pl.DataFrame
    comparison: Comparison
    rates: Rates
    used: pl.Series


def reperform(
    events: pl.DataFrame,
    index: pl.DataFrame,
    rows: pl.DataFrame,
    policies: Policies,
    *,
    policy: InterestPolicy,
    rates: Rates | None,
    until: datetime,
    covers: pl.DataFrame,
) -> Reperformed:
    """What the exchange charged whole positions (see `ordering.with_positions`), beside what was due (rules.md 3).

    `rows` are those of the exchange (ROWS_SCHEMA, and `number`), of these positions or others. What was charged is
    replayed as it is, so that what is owed is what the exchange holds to be owed; what was due is computed on a
    liability free of errors. Without `rates` those that the rows state are taken; raises BadInput where there are none.
    Nothing is compared outside what `covers` says of an account (see `matching.coverage`): before that, and for an
    account without any, what was due is taken as charged; after it nothing is.
    """
    order = order_of(events)
    plain = (events if order is None else events[order]).filter(pl.col("kind") != "interest")
    numbered = plain.with_columns(_NO_INPUT, row=pl.int_range(pl.len(), dtype=pl.UInt32))
    in_force = rates or Rates.stated(rows)
    together, before = numbered, None
    while True:
        ledger = ledger_of(replay_parts(together, policies), index, policies)
        path = liability_path(liability_rows(ledger, index), until, policy)
        due = covered(dues(path, policy), covers, rates is not None)
        if rates is None:  # what a row states is its own rate, whenever that was agreed
            due = due.with_columns(rate_time="time")
        # A path that is not right yet may lack a rate that is never needed.
        due = with_charges(with_rates(due, in_force, policy, required=False), policy)
        found = matched(rows, due, path)
        due = with_recorded(due.drop("liability", "computed"), found.booked, policy)
        due = with_lost_rows(with_assumed(due, policy), policy)
        booked = _booked(due, found.booked)
        if before is not None and before.equals(booked):
            break
        before, together = booked, interleave(numbered, booked.select(*_OF_A_CHARGE))
    with_rates(due.drop("rate", "rate_unit", "rate_row"), in_force, policy)  # refuses what is missing
    repeated = found.booked.filter(~pl.col("due").is_first_distinct())
    others = pl.concat([found.others, repeated.drop("due").with_columns(cause=pl.lit("doubled_hour"))], how="diagonal")
    due = with_charges(due, policy)
    return Reperformed(
        events=interleave(plain, booked.select(*_OF_A_CHARGE)),
        sources=booked.select("input", "row"),
        due=due,
        comparison=compared(due, others, policy, in_force),
        rates=in_force,
        used=pl.concat([found.booked["number"], found.others["number"]]),
    )


_NO_INPUT = pl.lit(None, pl.UInt16).alias("input")
_OF_A_CHARGE = ("after", "event_id", "time", "currency", "amount", "row")


def _booked(due: pl.DataFrame, booked: pl.DataFrame) -> pl.DataFrame:
    """Every charge of the exchange in order, with the event it follows; those that no row has as well."""
    lost = due.select("due", amount=pl.coalesce("lost", "assumed")).drop_nulls()
    charged = pl.concat([booked.select("due", "number", "input", "row", amount="interest"), lost], how="diagonal")
    places = due.select("due", "after", "time", "currency", "position", "charge")
    moment = pl.col("time").dt.to_string("%Y-%m-%dT%H:%M:%S%.6fZ")
    parts = [
        pl.col("charge").cast(pl.String),
        pl.col("position"),
        moment,
        pl.col("number").fill_null(0).cast(pl.String),
    ]
    return (
        charged.filter(pl.col("amount") > 0)
        .join(places, on="due", how="left")
        .sort("due", "number")
        .with_columns(event_id=pl.concat_str(parts, separator=":"))
    )


class Reperformance:
    """Interest compared, as a step of a run over files (see `steps.Step`).

    Without `rows` the interest among the events is what was charged.
    """

    frame_names = tuple(INTEREST_FRAMES)

    def __init__(
        self,
        policy: InterestPolicy,
        rates: Rates | None,
        rows: pl.DataFrame | None,
        policies: Policies,
        until: datetime,
        begin: datetime | None,
        as_at: datetime | None,
    ) -> None:
        self._policy, self._rates, self._policies, self._until = policy, rates, policies, until
        self._begin, self._as_at = begin, as_at
        self._coverage = pl.DataFrame()
        self._rows = None if rows is None else rows.with_row_index("number")
        self._done: Reperformed | None = None

    def pieces(self, events: pl.DataFrame, index: pl.DataFrame) -> Iterator[pl.DataFrame]:
        """Whole accounts and instruments with about so many charging moments as a batch may have."""
        yield from pieces(events, index, self._until, self._policy)

    def among(self, events: pl.DataFrame, index: pl.DataFrame) -> pl.DataFrame:
        """The events with what the exchange charged among them."""
        if self._rows is None:
            rows = recorded_rows(events, index).with_row_index("number")
            self._coverage = coverage(rows, self._begin, self._until)
        elif self._coverage.is_empty():
            rows = with_account(self._rows, index)
            self._coverage = coverage(rows, self._begin, self._as_at)
        else:
            rows = self._rows
        self._done = reperform(
            events,
            index,
            rows,
            self._policies,
            policy=self._policy,
            rates=self._rates,
            until=self._until,
            covers=self._coverage,
        )
        if self._rows is not None:
            self._rows = rows.filter(~pl.col("number").is_in(self._done.used.implode()))
        return self._done.events

    def traced(self, ledger: pl.DataFrame) -> pl.DataFrame:
        """The ledger, whose rows of interest come from the exchange's rows."""
        places = (ledger["kind"] == "interest").arg_true()
        sources = self.done.sources
        return ledger.with_columns(ledger[name].scatter(places, sources[name]) for name in ("input", "row"))

    def frames(self, ledger: pl.DataFrame, index: pl.DataFrame) -> tuple[dict[str, pl.DataFrame], list[pl.DataFrame]]:
        """The comparison, its causes and the roll-forward, and what must hold of them."""
        found = self.done
        rows = liability_rows(ledger, index)
        terms = Terms(self._policy, found.rates, self._until)
        roll = roll_forward(rows, terms, self._begin)
        frames = {
            "interest": found.comparison.interest,
            "interest_causes": found.comparison.causes,
            "interest_roll": roll,
        }
        return frames, [*comparison_checks(found.comparison.interest, found.comparison.causes), roll_check(roll, rows)]

    def unclaimed(self) -> tuple[dict[str, pl.DataFrame], list[pl.DataFrame]]:
        """The rows of the exchange that belong to no position, and what must hold of them."""
        if self._rows is None:
            return {}, []
        # Loans of the whole account are no position's: their rows are compared by themselves.
        of_account = pl.col("instrument").is_null() & pl.col("liability").is_not_null()
        found = [without_due(_strange(self._rows.filter(~of_account)))]
        whole = self._rows.filter(of_account).drop("number")
        if whole.height:
            found.append(reperform_rows(whole, self._policy, self._rates, {})[0])
        frames = {
            "interest": pl.concat([one.interest for one in found]),
            "interest_causes": pl.concat([one.causes for one in found]),
        }
        return frames, comparison_checks(frames["interest"], frames["interest_causes"])

    @property
    def done(self) -> Reperformed:
        """What the comparison of the last piece says."""
        if self._done is None:
            raise ValueError("nothing has been compared yet")
        return self._done


def _strange(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows that belong to no position, with a name and a cause."""
    return rows.with_columns(
        position=pl.concat_str(pl.col("account", "instrument").fill_null("?"), pl.lit("?"), separator=":"),
        cause=pl.when(pl.col("account").is_null() & pl.col("instrument").is_not_null())
        .then(pl.lit("which_position"))
        .otherwise(pl.lit("no_position")),
    )
