"""The straight line for files: read -> spool -> replay by position -> ledger -> postings -> positions -> checks.

Memory is bounded by a batch of events or the largest position, not by the files: events wait on disk by position
until their turn comes, and every frame is written as it is made.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import accumulate
from pathlib import Path
from typing import Any

import polars as pl
from polars.io.plugins import register_io_source

from ledger.book import replay_batch
from ledger.checks import combined, history_check, position_checks, posting_checks
from ledger.columns import HISTORY, INPUTS, LEDGER, PARAMETERS, POSTINGS, schema
from ledger.history import LEDGER_COLUMNS, history_of
from ledger.input_sums import AsRead, Booked, booked_check, input_sums
from ledger.inputs import file_facts
from ledger.interest.request import InterestRequest
from ledger.marks import read_marks
from ledger.ordering import POSITION_KEY
from ledger.output import complete_or_nothing, write_frame
from ledger.policies import Policies
from ledger.positions import positions_of, valued
from ledger.postings import posting_amounts, postings_of
from ledger.progress import Progress, silent
from ledger.reading import EVENTS_SCHEMA, read_batches
from ledger.refusals import REFUSAL_SCHEMA, BadInput, refuse_file
from ledger.sequence_rules import repeated_refusals
from ledger.spool import Spool
from ledger.steps import Step

BATCH_EVENTS = 250_000
"""Events replayed together, unless one position has more: few enough that memory is used again, not asked for."""

_NEVER = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Request:
    """What to replay and how: event files, an optional marks file, policies, and the time to stop at.

    `interest` asks to compute interest, or to compare what was charged; nothing: recorded interest is replayed.
    """

    events: Sequence[Path]
    marks: Path | None = None
    policies: Policies = Policies()
    as_at: datetime | None = None
    interest: InterestRequest | None = None

    def files(self) -> list[Path | None]:
        """Every file that is read; nothing in place of one that is not given."""
        return [*self.events, self.marks, *(self.interest.files() if self.interest else [])]


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


def replay_files(request: Request, folder: Path, suffix: str = "parquet", progress: Progress = silent) -> pl.DataFrame:
    """Replay event files into the frames of `ledger.columns.FRAMES`, one file each in `folder`; returns the checks.

    Raises BadInput with all refusals, of single rows and of the course of every position whose rows can all be read;
    then it leaves the folder as it was.
    """
    with complete_or_nothing(folder, request.files()) as ready:
        spool = Spool(ready.parent)
        read = AsRead()
        inputs, marks, interest = _read(request, spool, read, progress)
        run = SpooledRun(request, spool, marks, interest, progress)
        findings = run.write(ready, suffix)
        sums = input_sums(read, run.booked, not_tied=() if request.interest is None else ("interest",))
        checks = combined([*findings, booked_check(sums)])
        run.keep_ledger(ready, suffix)
        write_frame(checks, ready / f"checks.{suffix}")
        write_frame(parameters_of(request), ready / f"parameters.{suffix}")
        write_frame(inputs, ready / f"inputs.{suffix}")
        write_frame(sums, ready / f"input_sums.{suffix}")
    return checks


class SpooledRun:
    """One replay of the events in a spool: frames are written as they are made, findings and refusals kept."""

    def __init__(
        self,
        request: Request,
        spool: Spool,
        marks: pl.DataFrame | None,
        step: Step | None,
        progress: Progress,
    ) -> None:
        self._request, self._spool, self._marks, self._step = request, spool, marks, step
        self._progress = progress
        self._files = _names(request)
        self._index = spool.index()
        self._stored: dict[str, _Stored] = {}
        self._findings: list[pl.DataFrame] = []
        self._refusals: list[pl.DataFrame] = []
        self._ledger_rows: list[int] = []
        self.ledger = Path()
        self.booked = Booked()

    def write(self, ready: Path, suffix: str) -> list[pl.DataFrame]:
        """Write all frames into the folder but the ledger, which stands beside it; returns the findings.

        Raises BadInput where there is no event, and with all that the course of the positions shows to be wrong.
        """
        if self._index.is_empty():
            raise refuse_file(
                str(self._request.events[0]), "There is no event to replay.", "Check the files and the as-at time."
            )
        work = ready.parent
        names = ["positions", *(self._step.frame_names if self._step else [])]
        self._stored = {name: _Stored(work / name) for name in names}
        self.ledger = work / "ledger.parquet"
        _sink(self._ledgers(), LEDGER, self.ledger)
        _refuse(pl.concat([REFUSAL_SCHEMA.to_frame(), *self._refusals]))
        _sink(self._postings(self.ledger), POSTINGS, ready / f"postings.{suffix}")
        _sink(self._histories(), HISTORY, ready / f"history.{suffix}")
        for name, frame in self._frames().items():
            write_frame(frame, ready / f"{name}.{suffix}")
        return self._findings

    def refuse_repeated(self, repeated: pl.DataFrame) -> None:
        """Raise BadInput for events whose identifier another one has (see `Spool.repeated`)."""
        _refuse(repeated_refusals(repeated, self._files))

    def keep_ledger(self, ready: Path, suffix: str) -> None:
        """Put the ledger with the other frames."""
        _keep(self.ledger, ready / f"ledger.{suffix}")

    def _ledgers(self) -> Iterator[pl.DataFrame]:
        """The ledger of each batch of positions, unless something was refused."""
        done, total = 0, int(self._index["events"].sum())
        for events in self._spool.batches(self._index, BATCH_EVENTS):
            for piece in [events] if self._step is None else self._step.pieces(events, self._index):
                yield from self._ledger_of(piece, sample=done == 0)
                done += piece.height
                self._progress("Replaying", done, total)

    def _ledger_of(self, events: pl.DataFrame, sample: bool) -> Iterator[pl.DataFrame]:
        together = events if self._step is None else self._step.among(events, self._index)
        batch = replay_batch(together, self._index, self._request.policies, self._files, sample)
        self._refusals.append(batch.refusals)
        if batch.refusals.height:
            return
        ledger = batch.ledger if self._step is None else self._step.traced(batch.ledger)
        positions = valued(positions_of(ledger, self._index), self._marks, self._request.as_at)
        self._findings += [*batch.findings, *position_checks(positions)]
        self.booked.add(ledger, self._index)
        self._stored["positions"].add(positions)
        self._ledger_rows.append(ledger.height)
        if self._step is not None:
            frames, findings = self._step.frames(ledger, self._index)
            self._findings += findings
            for name, frame in frames.items():
                self._stored[name].add(frame)
        yield ledger

    def _postings(self, ledger: Path) -> Iterator[pl.DataFrame]:
        """The postings of the ledger that was written, some rows at a time."""
        rows = pl.scan_parquet(ledger)
        total = int(rows.select(pl.len()).collect().item())
        for start in range(0, total, BATCH_EVENTS):
            amounts = posting_amounts(rows.slice(start, BATCH_EVENTS), self._index)
            self._progress("Posting", min(start + BATCH_EVENTS, total), total)
            self._findings += posting_checks(amounts)
            yield postings_of(amounts)

    def _histories(self) -> Iterator[pl.DataFrame]:
        """The moments of each batch of positions, from the ledger that was written: whole positions, as it was made."""
        ends = accumulate(self._ledger_rows)
        for rows, end, positions in zip(self._ledger_rows, ends, self._stored["positions"].parts(), strict=True):
            ledger = pl.scan_parquet(self.ledger).slice(end - rows, rows).select(LEDGER_COLUMNS).collect()
            history = history_of(ledger, self._index, self._marks, self._request.as_at)
            self._findings.append(history_check(history, positions))
            yield history

    def _frames(self) -> dict[str, pl.LazyFrame]:
        """The frames besides ledger and postings, by name, of all batches."""
        unclaimed, findings = ({}, []) if self._step is None else self._step.unclaimed()
        self._findings += findings
        for name, rows in unclaimed.items():
            self._stored[name].add(rows)
        return {name: stored.frame() for name, stored in self._stored.items()}


class _Stored:
    """A frame that comes in parts, kept on disk until all are there."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._files: list[Path] = []

    def add(self, part: pl.DataFrame) -> None:
        """Keep the next rows."""
        self._files.append(self._path.with_name(f"{self._path.name}_{len(self._files):06}.parquet"))
        part.write_parquet(self._files[-1], compression="lz4")

    def parts(self) -> Iterator[pl.DataFrame]:
        """The parts, as they came."""
        return map(pl.read_parquet, self._files)

    def frame(self) -> pl.LazyFrame:
        """All rows."""
        return pl.scan_parquet(self._files)


def _read(
    request: Request, spool: Spool, read: AsRead, progress: Progress
) -> tuple[pl.DataFrame, pl.DataFrame | None, Step | None]:
    """Every event into the spool; one row per input file (columns INPUTS), the marks, and what interest needs.

    `read` takes the sums of the events as they are read. Raises BadInput with all refusals of all files.
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
            is_late = pl.lit(value=False) if request.as_at is None else time > request.as_at
            read.add(batch.events, is_late)
            spool.add(batch.events if request.as_at is None else batch.events.filter(~is_late))
        inputs.append(file_facts(number, path, rows, times))
    repeated = spool.repeated()
    refusals.append(repeated_refusals(repeated, _names(request)))
    if any(found.height for found in refusals):
        refusals += _course_of_others(request, spool, [*spoiled, repeated.select(POSITION_KEY)])
    marks = None
    if request.marks is not None:
        try:
            marks = read_marks(request.marks)
            inputs.append(file_facts(len(inputs) + 1, request.marks, marks.height, []))
        except BadInput as bad:
            refusals.append(bad.refusals)
    step = None
    if request.interest is not None:
        try:
            asked = request.interest.read(len(inputs) + 1)
            inputs += [file_facts(len(inputs) + 1 + place, *file) for place, file in enumerate(asked.files)]
            step = asked.step(request.policies, _last(inputs[: len(request.events)]), request.as_at)
        except BadInput as bad:
            refusals.append(bad.refusals)
    _refuse(pl.concat(refusals))
    return pl.DataFrame(inputs, schema=schema(INPUTS)), marks, step


def _last(inputs: list[dict[str, Any]]) -> datetime:
    """The time of the last event there is."""
    return max((file["last_time"] for file in inputs if file["last_time"] is not None), default=_NEVER)


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


def parameters_of(request: Request) -> pl.DataFrame:
    """One row per parameter and policy of the run (columns PARAMETERS)."""
    as_at = "" if request.as_at is None else request.as_at.isoformat()
    chosen = {
        "name": "as_at",
        "value": as_at,
        "description": "Events after this time are left out; empty: all events count.",
        "source": "run",
    }
    interest = [] if request.interest is None else request.interest.parameters()
    return pl.DataFrame([chosen, *request.policies.rows(), *interest], schema=schema(PARAMETERS))


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
