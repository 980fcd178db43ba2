"""The straight line for files: read -> spool -> replay by position -> ledger -> postings -> positions -> checks.

Memory is bounded by a batch of events or the largest position, not by the files: events wait on disk by position
until their turn comes, and every frame is written as it is made.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl
from polars.io.plugins import register_io_source

from ledger.book import replay_batch
from ledger.checks import combined, position_checks, posting_checks
from ledger.columns import INPUTS, LEDGER, PARAMETERS, POSTINGS, schema
from ledger.marks import read_marks
from ledger.ordering import POSITION_KEY
from ledger.output import complete_or_nothing, write_frame
from ledger.policies import Policies
from ledger.positions import positions_of, valued
from ledger.postings import posting_amounts, postings_of
from ledger.reading import EVENTS_SCHEMA, read_batches
from ledger.refusals import REFUSAL_SCHEMA, BadInput, refuse_file
from ledger.sequence_rules import repeated_refusals
from ledger.spool import Spool

BATCH_EVENTS = 250_000
"""Events replayed together, unless one position has more: few enough that memory is used again, not asked for."""

Progress = Callable[[str, int, int], None]
"""Told the stage, how many of its rows are done, and how many there are (0 while that is not known)."""


def _silent(stage: str, done: int, total: int) -> None:
    """Progress for those who do not ask."""


@dataclass(frozen=True)
class Request:
    """What to replay and how: event files, an optional marks file, policies, and the time to stop at."""

    events: Sequence[Path]
    marks: Path | None = None
    policies: Policies = Policies()
    as_at: datetime | None = None


def read_events(paths: Iterable[str | Path], policies: Policies | None = None) -> pl.DataFrame:
    """All events of the files (CSV, Parquet or NDJSON), for `replay`: columns EVENTS, `input` and `row`.

    `input` numbers the files from 1 in the order given. Raises BadInput that lists every refused value of every file.
    """
    batches = [
        batch
        for number, path in enumerate(paths, start=1)
        for batch in read_batches(Path(path), number, policies or Policies())
    ]
    _refuse(pl.concat([REFUSAL_SCHEMA.to_frame(), *(batch.refusals for batch in batches)]))
    return pl.concat([EVENTS_SCHEMA.to_frame(), *(batch.events for batch in batches)])


def replay_files(request: Request, folder: Path, suffix: str = "parquet", progress: Progress = _silent) -> pl.DataFrame:
    """Replay event files into the frames of `ledger.columns.FRAMES`, one file each in `folder`; returns the checks.

    Raises BadInput with all refusals, of single rows and of the course of every position whose rows can all be read;
    then it leaves the folder as it was.
    """
    with complete_or_nothing(folder) as ready:
        work = ready.parent
        spool = Spool(work)
        inputs, marks = _read(request, spool, progress)
        run = _Run(request, spool, marks, work, progress)
        if run.is_empty:
            raise refuse_file(
                str(request.events[0]), "There is no event to replay.", "Check the files and the as-at time."
            )
        ledger = work / "ledger.parquet"
        _sink(run.ledgers(), LEDGER, ledger)
        _refuse(pl.concat([REFUSAL_SCHEMA.to_frame(), *run.refusals]))
        _sink(run.postings(ledger), POSTINGS, ready / f"postings.{suffix}")
        _keep(ledger, ready / f"ledger.{suffix}")
        checks = combined(run.findings)
        write_frame(run.positions(), ready / f"positions.{suffix}")
        write_frame(checks, ready / f"checks.{suffix}")
        write_frame(_parameters(request), ready / f"parameters.{suffix}")
        write_frame(inputs, ready / f"inputs.{suffix}")
    return checks


class _Run:
    """The batches of one replay: frames to write as they are made, findings and refusals kept for the end."""

    def __init__(
        self, request: Request, spool: Spool, marks: pl.DataFrame | None, work: Path, progress: Progress
    ) -> None:
        self._request, self._spool, self._marks, self._work = request, spool, marks, work
        self._progress = progress
        self._files = _names(request)
        self._index = spool.index()
        self._position_files: list[Path] = []
        self.findings: list[pl.DataFrame] = []
        self.refusals: list[pl.DataFrame] = []

    @property
    def is_empty(self) -> bool:
        """True where no file has an event up to the time asked for."""
        return self._index.is_empty()

    def ledgers(self) -> Iterator[pl.DataFrame]:
        """The ledger of each batch of positions, unless something was refused."""
        done, total = 0, int(self._index["events"].sum())
        for events in self._spool.batches(self._index, BATCH_EVENTS):
            sample = done == 0
            batch = replay_batch(events, self._index, self._request.policies, self._files, sample)
            done += events.height
            self._progress("Replaying", done, total)
            self.refusals.append(batch.refusals)
            if batch.refusals.is_empty():
                self.findings += batch.findings
                self._add_positions(batch.ledger)
                yield batch.ledger

    def postings(self, ledger: Path) -> Iterator[pl.DataFrame]:
        """The postings of the ledger that was written, some rows at a time."""
        rows = pl.scan_parquet(ledger)
        total = int(rows.select(pl.len()).collect().item())
        for start in range(0, total, BATCH_EVENTS):
            amounts = posting_amounts(rows.slice(start, BATCH_EVENTS), self._index)
            self._progress("Posting", min(start + BATCH_EVENTS, total), total)
            self.findings += posting_checks(amounts)
            yield postings_of(amounts)

    def positions(self) -> pl.LazyFrame:
        """The positions of all batches."""
        return pl.scan_parquet(self._position_files)

    def _add_positions(self, ledger: pl.DataFrame) -> None:
        positions = valued(positions_of(ledger, self._index), self._marks, self._request.as_at)
        self.findings += position_checks(positions)
        file = self._work / f"positions_{len(self._position_files):06}.parquet"
        positions.write_parquet(file, compression="lz4")
        self._position_files.append(file)


def _read(request: Request, spool: Spool, progress: Progress) -> tuple[pl.DataFrame, pl.DataFrame | None]:
    """Every event into the spool; one row per input file (columns INPUTS), and the marks.

    Raises BadInput with all refusals of all files.
    """
    refusals, inputs, done = [REFUSAL_SCHEMA.to_frame()], [], 0
    time, spoiled = pl.col("time"), []
    for number, path in enumerate(request.events, start=1):
        rows, times = 0, []
        for batch in read_batches(path, number, request.policies):
            refusals.append(batch.refusals)
            if batch.refusals.height:
                spoiled.append(batch.spoiled)
            rows, done = rows + batch.rows, done + batch.rows
            progress("Reading", done, 0)
            times += [batch.events["time"].min(), batch.events["time"].max()]
            spool.add(batch.events if request.as_at is None else batch.events.filter(time <= request.as_at))
        inputs.append(_input(number, path, rows, times))
    repeated = spool.repeated()
    refusals.append(repeated_refusals(repeated, _names(request)))
    if any(found.height for found in refusals):
        refusals += _course_of_others(request, spool, [*spoiled, repeated.select(POSITION_KEY)])
    marks = None
    if request.marks is not None:
        try:
            marks = read_marks(request.marks)
            inputs.append(_input(len(inputs) + 1, request.marks, marks.height, []))
        except BadInput as bad:
            refusals.append(bad.refusals)
    _refuse(pl.concat(refusals))
    return pl.DataFrame(inputs, schema=schema(INPUTS)), marks


def _course_of_others(request: Request, spool: Spool, spoiled: list[pl.DataFrame | None]) -> list[pl.DataFrame]:
    """What the course of those positions shows to be wrong of which every row could be read.

    `spoiled` names the other positions; where it does not know them all, nothing can be said of any.
    """
    known = [keys for keys in spoiled if keys is not None]
    if len(known) < len(spoiled) or any(keys.null_count().sum_horizontal().item() for keys in known):
        return []
    index, others = spool.index(), pl.concat(known).unique()
    whole = index.join(others, on=POSITION_KEY, how="anti")["position_number"].implode()
    return [
        replay_batch(
            events.filter(pl.col("position_number").is_in(whole)),
            index,
            request.policies,
            _names(request),
            sample=False,
        ).refusals
        for events in spool.batches(index, BATCH_EVENTS)
    ]


def _names(request: Request) -> dict[int, str]:
    return {number: str(path) for number, path in enumerate(request.events, start=1)}


def _input(number: int, path: Path, rows: int, times: list[Any]) -> dict[str, Any]:
    known, seen = path.is_file(), [time for time in times if time is not None]
    return {
        "input": number,
        "file": str(path),
        "bytes": path.stat().st_size if known else 0,
        "sha256": _sha256(path) if known else "",
        "rows": rows,
        "first_time": min(seen, default=None),
        "last_time": max(seen, default=None),
    }


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _parameters(request: Request) -> pl.DataFrame:
    as_at = "" if request.as_at is None else request.as_at.isoformat()
    chosen = {
        "name": "as_at",
        "value": as_at,
        "description": "Events after this time are left out; empty: all events count.",
        "source": "run",
    }
    return pl.DataFrame([chosen, *request.policies.rows()], schema=schema(PARAMETERS))


def _sink(batches: Iterator[pl.DataFrame], columns: tuple[Any, ...], path: Path) -> None:
    """Write batches as they come; the schema is known even when none does."""

    def source(*_: object) -> Iterator[pl.DataFrame]:
        yield from batches

    write_frame(register_io_source(source, schema=schema(columns)), path)


def _keep(ledger: Path, target: Path) -> None:
    if target.suffix == ledger.suffix:
        ledger.rename(target)
    else:
        write_frame(pl.scan_parquet(ledger), target)


def _refuse(refusals: pl.DataFrame) -> None:
    if refusals.height:
        raise BadInput(refusals)
