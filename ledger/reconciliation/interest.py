"""Interest within a reconciliation: what the exchange charged, beside what is due on the liability of the ledger."""

from collections.abc import Iterator
from datetime import datetime

import polars as pl

from ledger.interest.causes import cause_of_charge
from ledger.interest.columns import INTEREST_FRAMES, LATE
from ledger.interest.dues import charge_if
from ledger.interest.matching import last_moment
from ledger.interest.policy import InterestPolicy
from ledger.interest.reperformance import Reperformance, Reperformed
from ledger.interest.request import InterestInput
from ledger.interest.rows import ROWS_SCHEMA
from ledger.money import ZERO
from ledger.policies import Policies
from ledger.reconciliation.sides import Sides
from ledger.reconciliation.sources import Sources

CHARGES_SCHEMA = pl.Schema([*ROWS_SCHEMA.items(), ("of_position", pl.String)])
"""Charges: rows of interest (ROWS_SCHEMA), each with its position."""

_OF_A_ROW = ("input", "row")
_TELLING = ("rate", "unit", "liability")


def charges_of(sides: Sides) -> pl.DataFrame:
    """What was charged (CHARGES_SCHEMA), each charge once: by the exchange's files, with all that these say of it.

    Positions, accounts and the cut-off are those of the reconciliation. Where a file states the rate or the liability
    of a charge, its row stands for it, else the bill. Of accounts for which the exchange's files have no interest, it
    is the interest that the ledger records.
    """
    theirs = _with_what_is_stated(_recorded(sides.exchange_events), sides)
    ours = _recorded(sides.ledger_events).join(theirs, on="account", how="anti", maintain_order="left")
    absent = [
        pl.lit(None, dtype).alias(name) for name, dtype in CHARGES_SCHEMA.items() if name in (*_TELLING, "row_id")
    ]
    ours = ours.with_columns(absent).with_columns(row_id="event_id")
    both = [part.select(CHARGES_SCHEMA.names()) for part in (theirs, ours)]
    return pl.concat(both).sort("time", "input", "row", maintain_order=True)


def _recorded(events: pl.DataFrame) -> pl.DataFrame:
    """The interest among events, with the names that rows of interest have."""
    return events.filter(pl.col("kind") == "interest").select(
        *("event_id", "time", "account", "instrument", "currency", *_OF_A_ROW),
        interest="amount",
        of_position="position",
    )


def _with_what_is_stated(charged: pl.DataFrame, sides: Sides) -> pl.DataFrame:
    """The exchange's charges with `row_id`, rate, unit and liability, with time and place of the row that has them.

    A bill and a row of accrued interest may be one charge (see `statements.charges`): both are then of one event.
    """
    events = sides.exchange.transactions.placed.select(*_OF_A_ROW, of_event="event_id").drop_nulls()
    rows = sides.exchange.rows.filter(pl.col("meaning") == "interest").join(events, on=_OF_A_ROW, maintain_order="left")
    says_most = pl.sum_horizontal(pl.col(name).is_null() for name in _TELLING)
    rows = rows.sort(says_most, *_OF_A_ROW).unique(_EVENT, keep="first", maintain_order=True)
    told = rows.select(*_EVENT, "row_id", *_TELLING, **{f"stated_{name}": pl.col(name) for name in _PLACE})
    found = charged.join(events, on=_OF_A_ROW, how="left", maintain_order="left")
    found = found.join(told, on=_EVENT, how="left", maintain_order="left")
    places = {name: pl.coalesce(f"stated_{name}", name) for name in _PLACE}
    return found.with_columns(row_id=pl.coalesce("row_id", "event_id"), **places)


_PLACE = ("time", *_OF_A_ROW)
_EVENT = ["account", "of_event"]


def reperformance_of(sides: Sides, asked: InterestInput, policies: Policies, as_at: datetime | None) -> Reperformance:
    """The re-performance of the charges of both sides, up to `as_at`, or else as far as events and charges go."""
    charged = charges_of(sides)
    last_event, last_charge = sides.ledger_events["time"].max(), charged["time"].max()
    ends = [last_event, last_moment(last_charge) if isinstance(last_charge, datetime) else None]
    until = as_at or max(end for end in ends if isinstance(end, datetime))
    # The ledger says what it records up to its end; the exchange's rows say nothing of what comes after them.
    is_ledgers_own = charged["input"].is_in(sides.ledger.files["input"].implode()).all()
    covered_to = until if is_ledgers_own else as_at
    request = asked.request
    return Reperformance(request.policy, asked.rates, charged, policies, until, request.begin, covered_to)


_CHARGE = ("position", "currency", "time", "charge")


def ledger_notes(done: Reperformed, ledger: pl.DataFrame, policy: InterestPolicy) -> pl.DataFrame:
    """What the ledger has of each charge of which it has something else: columns position ... charge, `ledger_note`.

    The amount is that of its interest within five minutes of the charge. A mistake that gives it to the last digit is
    named, as if it were what was charged (see `interest.causes`).
    """
    periods = done.due.filter(pl.col("charge") == "period", "is_covered")
    own = ledger.filter(pl.col("kind") == "interest").select("position", "time", "interest").sort("time")
    due = periods.select("position", "time", due_time="time").sort("time")
    placed = own.join_asof(due, on="time", by="position", strategy="nearest", tolerance=LATE, check_sortedness=False)
    sums = placed.drop_nulls("due_time").group_by("position", time="due_time").agg(in_ledger=pl.col("interest").sum())
    both = periods.join(sums, on=["position", "time"], how="left", maintain_order="left")
    unlike = both.filter(pl.col("in_ledger").fill_null(ZERO) != pl.col("recorded")).with_columns(
        charged="in_ledger", basis="recorded_liability", by_charge=pl.col("in_ledger") - pl.col("recorded")
    )
    seen = unlike.select(*_CHARGE, "in_ledger").hstack(cause_of_charge(unlike, policy, done.rates))
    amount = pl.col("in_ledger").cast(pl.String).str.strip_chars_end("0").str.strip_chars_end(".")
    why = pl.when(charge_if(unlike, "basis", policy) == unlike["charged"]).then(pl.lit("as is due")).otherwise("note")
    why = pl.format(", {}", why).fill_null("")
    said = pl.when(pl.col("in_ledger").is_null()).then(pl.lit("the ledger has none"))
    return seen.select(*_CHARGE, ledger_note=said.otherwise(pl.format("the ledger has {}{}", amount, why)))


def _noted(interest: pl.DataFrame, notes: pl.DataFrame) -> pl.DataFrame:
    """The charges due, each with its note and with what the ledger has otherwise."""
    found = interest.join(notes, on=_CHARGE, how="left", maintain_order="left")
    is_due = ~pl.col("status").is_in(["extra", "duplicate", "unattributed"])
    both = pl.concat_str("note", pl.when(is_due).then("ledger_note"), separator="; ", ignore_nulls=True)
    return found.with_columns(note=pl.when(both != "").then(both)).drop("ledger_note")


class InterestBeside:
    """A step of the run that re-performs interest beside the ledger, which stays as its files have it.

    It is done when a batch has been replayed, so that refusals of the course of its positions come first.
    """

    frame_names = tuple(INTEREST_FRAMES)

    def __init__(self, sources: Sources, reperformance: Reperformance, policy: InterestPolicy) -> None:
        self._sources, self._reperformance, self._policy = sources, reperformance, policy
        self._events = pl.DataFrame()

    def pieces(self, events: pl.DataFrame, index: pl.DataFrame) -> Iterator[pl.DataFrame]:
        """Whole accounts and instruments with about so many charging moments as a batch may have."""
        yield from self._reperformance.pieces(events, index)

    def among(self, events: pl.DataFrame, index: pl.DataFrame) -> pl.DataFrame:
        """The events as they are."""
        self._events = events
        return events

    def traced(self, ledger: pl.DataFrame) -> pl.DataFrame:
        """The ledger with the file and row of each event."""
        return self._sources.traced(ledger)

    def frames(self, ledger: pl.DataFrame, index: pl.DataFrame) -> tuple[dict[str, pl.DataFrame], list[pl.DataFrame]]:
        """The comparison, its causes and the roll-forward of the ledger's liability, and what must hold of them."""
        self._reperformance.among(self._events, index)
        frames, findings = self._reperformance.frames(ledger, index)
        notes = ledger_notes(self._reperformance.done, ledger, self._policy)
        return frames | {"interest": _noted(frames["interest"], notes)}, findings

    def unclaimed(self) -> tuple[dict[str, pl.DataFrame], list[pl.DataFrame]]:
        """The charges of positions that the ledger does not have, and what must hold of them."""
        return self._reperformance.unclaimed()
