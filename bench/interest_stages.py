"""The stages of interest without the command: charges, accrual, re-performance, and the plain loops beside them.

Run as a module: `python -m bench.interest_stages FOLDER SHAPE UNTIL SECONDS STAGE ...` works on the files of a folder
(see `interest_shapes.write_loans`) and prints for each stage the seconds of a pass and the charges in it. Passes are
repeated until they have taken SECONDS, after one over the first piece that does not count.
"""

import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from statistics import median
from typing import Any

import polars as pl

import ledger
from bench.interest_loops import LOOPS, Loan, Stretch, in_decimals
from bench.interest_shapes import BEGIN, SHAPES
from ledger.columns import TIME
from ledger.files import Request, read_events, replay_files
from ledger.interest.accrual import accrue
from ledger.interest.columns import INTEREST_ROWS
from ledger.interest.dues import dues, with_charges, with_rates
from ledger.interest.moments import HOUR, liability_path, liability_rows, pieces
from ledger.interest.policy import InterestPolicy, shipped_policies
from ledger.interest.rates import Rates
from ledger.interest.rates_file import read_rates
from ledger.interest.request import InterestRequest
from ledger.interest.terms import Terms
from ledger.money import from_units, units
from ledger.ordering import index_positions, with_positions
from ledger.replay import ledger_of, replay_parts

LOOP_CHARGES = 1_000_000
"""The loops run over the first positions, up to about so many charges: they cost the same for each."""
POLICIES = ledger.Policies()


@dataclass(frozen=True)
class Work:
    """What the stages work on: the files of a folder, the policy by its name, and the cut-off."""

    folder: Path
    policy_name: str
    until: datetime

    @cached_property
    def policy(self) -> InterestPolicy:
        """How interest is charged."""
        return shipped_policies()[self.policy_name]

    @cached_property
    def events(self) -> pl.DataFrame:
        """The events by position."""
        return with_positions(self._events, self.index)

    @cached_property
    def index(self) -> pl.DataFrame:
        """The positions."""
        return index_positions(self._events)

    @cached_property
    def rates(self) -> pl.DataFrame:
        """The rows of the rates file."""
        return read_rates(self.folder / "rates.csv")

    @cached_property
    def terms(self) -> Terms:
        """Policy, rates and cut-off."""
        return Terms(self.policy, Rates(self.rates), self.until)

    @cached_property
    def _events(self) -> pl.DataFrame:
        return read_events([self.folder / "events.parquet"])

    def pieces(self) -> Iterator[pl.DataFrame]:
        """The events as the program takes them: whole positions, with so many charges together."""
        yield from pieces(self.events, self.index, self.until, self.policy)

    def ledger_of(self, events: pl.DataFrame) -> pl.DataFrame:
        """The ledger without interest, of events in order."""
        return ledger_of(replay_parts(events, POLICIES), self.index, POLICIES)

    def path(self, replayed: pl.DataFrame) -> pl.DataFrame:
        """What is owed from one event to the next, of a ledger without interest."""
        return liability_path(liability_rows(replayed, self.index), self.until, self.policy)

    def charges(self, replayed: pl.DataFrame) -> pl.DataFrame:
        """Every charge that is due, from a ledger without interest on."""
        return with_charges(
            with_rates(dues(self.path(replayed), self.policy), self.terms.rates, self.policy), self.policy
        )

    def accrued(self, events: pl.DataFrame) -> pl.DataFrame:
        """Every charge, from the events on, when events and charges agree."""
        return accrue(events, self.index, POLICIES, self.terms).interest


# --- stages ---------------------------------------------------------------------------------------------------


def engine(work: Work, seconds: float) -> dict[str, float]:
    """From the ledger of the events alone to every charge."""
    return _timed(work.charges, [work.ledger_of(piece) for piece in work.pieces()], seconds)


def accrual(work: Work, seconds: float) -> dict[str, float]:
    """From the events to the events with every charge among them."""
    return _timed(work.accrued, list(work.pieces()), seconds)


def _timed(
    stage: Callable[[pl.DataFrame], pl.DataFrame], parts: list[pl.DataFrame], seconds: float
) -> dict[str, float]:
    """The median seconds of a pass over all parts, and the charges of one."""
    stage(parts[0])
    taken: list[float] = []
    while not taken or sum(taken) < seconds:
        started, charges = time.perf_counter(), 0
        for part in parts:
            charges += stage(part).height
        taken.append(time.perf_counter() - started)
    return {"seconds": median(taken), "charges": charges}


def loops(work: Work, seconds: float) -> dict[str, float]:
    """The plain loops over the first positions; raises ValueError where a charge is not the engine's to the digit."""
    piece = _first(work)
    replayed = work.ledger_of(piece)
    loans = _loans(work, work.path(replayed))
    ours = {"engine": work.charges(replayed)["computed"], "accrue": work.accrued(piece)["computed"]}
    answer: dict[str, float] = {"charges": ours["engine"].len()}
    for name, loop in LOOPS[work.policy_name].items():
        given = in_decimals(loans) if name == "decimal" else loans
        taken: list[float] = []
        while not taken or sum(taken) < seconds:
            started = time.perf_counter()
            found = loop(given) if name != "rows" else _money_columns(loop(given))["charge"]
            taken.append(time.perf_counter() - started)
        answer[name] = median(taken)
        for stage, computed in ours.items():
            _compare(computed, found, f"{stage} and loop {name}")
    return answer


def _first(work: Work) -> pl.DataFrame:
    """The events of the first positions, at least of one, with some LOOP_CHARGES hours together."""
    hours = (pl.lit(work.until, TIME) - pl.col("time").min()).dt.total_hours()
    sizes = work.events.group_by("position_number", maintain_order=True).agg(hours=hours)
    some = max(1, sizes.filter(pl.col("hours").cum_sum() <= LOOP_CHARGES).height)
    return work.events.filter(pl.col("position_number").is_in(sizes["position_number"].head(some).implode()))


def _money_columns(kept: dict[str, list[int]]) -> pl.DataFrame:
    """Columns of a loop as a frame, amounts and rates in the money type."""
    amounts = ("owed", "rate", "charge")
    frame = pl.DataFrame(kept, schema={name: pl.Int128 if name in amounts else pl.Int64 for name in kept})
    return frame.with_columns(from_units(pl.col(name)) for name in amounts)


def _loans(work: Work, path: pl.DataFrame) -> list[Loan]:
    """The loans of a path for a loop: what each fill changes, and the full hours between them."""
    by_time = work.rates.sort("time").with_columns(units(pl.col("rate")))
    rates = {currency: part["rate"].to_list() for (currency,), part in by_time.group_by("currency")}
    level = units(pl.col("level"))
    hour, last = (pl.col(name).to_physical() - pl.lit(BEGIN, TIME).to_physical() for name in ("time", "to_time"))
    loans = path.group_by("position", maintain_order=True).agg(
        pl.col("currency").first(), change=level - level.shift(1, fill_value=0), hour=hour // HOUR, last=last // HOUR
    )
    return [
        Loan(rates[row["currency"]], list(map(Stretch, row["change"], row["hour"], row["last"])))
        for row in loans.iter_rows(named=True)
    ]


def _compare(computed: pl.Series, found: pl.Series | list[Any], who: str) -> None:
    """Raise ValueError where the charges differ; integers count units of 10**-18."""
    if isinstance(found, list) and isinstance(found[0], int):
        found = pl.select(from_units(pl.lit(pl.Series(found, dtype=pl.Int128)))).to_series()
    theirs = pl.Series(found, dtype=computed.dtype)
    if not computed.equals(theirs):
        raise ValueError(f"{who} differ: {computed.len()} and {theirs.len()} charges")


def reperform(work: Work, _: float) -> dict[str, float]:
    """The exchange's rows held against what is due, from file to file; raises ValueError where one does not agree."""
    _write_rows(work)
    asked = InterestRequest(work.policy, rows=[work.folder / "rows.csv"])
    request = Request([work.folder / "events.parquet"], as_at=work.until, interest=asked)
    started = time.perf_counter()
    replay_files(request, work.folder / "compared")
    seconds = time.perf_counter() - started
    statuses = pl.read_parquet(work.folder / "compared" / "interest.parquet")["status"].value_counts()
    if statuses["status"].to_list() != ["agrees"]:
        raise ValueError(f"not every row agrees: {statuses.rows()}")
    return {"seconds": seconds, "charges": int(statuses["count"].sum())}


def _write_rows(work: Work) -> None:
    """The accrual as the rows an exchange would give: `rows.csv` in the columns INTEREST_ROWS."""
    charges = pl.concat([work.accrued(piece) for piece in work.pieces()])
    named = work.index.select("position", "account", "instrument")
    rows = charges.join(named, on="position", maintain_order="left").with_columns(
        row_id=pl.format("row-{}", pl.int_range(pl.len())), interest="computed", unit="rate_unit"
    )
    rows.sort("time", maintain_order=True).select(column.name for column in INTEREST_ROWS).write_csv(
        work.folder / "rows.csv", datetime_format="%Y-%m-%dT%H:%M:%SZ"
    )


STAGES: dict[str, Callable[[Work, float], dict[str, float]]] = {
    "engine": engine,
    "accrue": accrual,
    "loops": loops,
    "reperform": reperform,
}


if __name__ == "__main__":
    directory, shape, until, seconds_each, *stages = sys.argv[1:]
    given = Work(Path(directory), SHAPES[shape].policy, datetime.fromisoformat(until))
    print(json.dumps({stage: STAGES[stage](given, float(seconds_each)) for stage in stages}))
