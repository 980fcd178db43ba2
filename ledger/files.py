"""The straight line for files: read -> spool -> replay by position -> ledger -> postings -> positions -> checks.

Memory is bounded by a batch of events or the largest position, not by the files: events wait on disk by position
until their turn comes, and every frame is written as it is made.
"""

from collections.abc import Iterable, Iterator
from itertools import accumulate
from pathlib import Path
from typing import Any

import polars as pl
from polars.io.plugins import register_io_source

from ledger.book import replay_batch
from ledger.checks import combined, history_check, position_checks, posting_checks
from ledger.columns import FRAMES, HISTORY, LEDGER, POSTINGS, Column, schema
from ledger.derivatives.replay import DerivativeBook
from ledger.history import LEDGER_COLUMNS, history_of
from ledger.input_sums import AsRead, Booked, booked_check, input_sums
from ledger.interest.columns import INTEREST_FRAMES
from ledger.output import complete_or_nothing, write_frame
from ledger.policies import Policies
from ledger.positions import positions_of, valued
from ledger.postings import posting_amounts, postings_of
from ledger.progress import Progress, silent
from ledger.reading import EVENTS_SCHEMA, read_batches
from ledger.refusals import REFUSAL_SCHEMA, BadInput, refuse_file
from ledger.request import Request
from ledger.risk.columns import RISK_FRAMES
from ledger.risk.run import PER_POSITION, RiskRun
from ledger.risk.states import latest
from ledger.run_inputs import RunInputs, read_inputs
from ledger.sequence_rules import repeated_refusals
from ledger.spool import BATCH_EVENTS, Spool

__all__ = ["Request", "SpooledRun", "read_events", "replay_files"]


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
        inputs = read_inputs(request, spool, read, progress)
        run = SpooledRun(request, spool, inputs, progress)
        findings = run.write(ready, suffix)
        sums = input_sums(read, run.booked, not_tied=() if request.interest is None else ("interest",))
        checks = combined([*findings, booked_check(sums)])
        run.keep_ledger(ready, suffix)
        write_frame(checks, ready / f"checks.{suffix}")
        write_frame(request.parameters(), ready / f"parameters.{suffix}")
        write_frame(inputs.files, ready / f"inputs.{suffix}")
        write_frame(sums, ready / f"input_sums.{suffix}")
    return checks


class SpooledRun:
    """One replay of the events in a spool: frames are written as they are made, findings and refusals kept."""

    def __init__(
        self,
        request: Request,
        spool: Spool,
        inputs: RunInputs,
        progress: Progress,
    ) -> None:
        self._request, self._spool, self._progress = request, spool, progress
        self._marks, self._step = inputs.marks, inputs.step
        self._rates, self._risk, self._end = None, None, request.as_at
        if inputs.risk is not None:
            self._rates = inputs.risk.rates()
            self._end = request.as_at or latest(inputs.files["last_time"], inputs.marks)
            self._risk = RiskRun(inputs.risk, inputs.marks, self._end, request.policies)
        self._files = request.names()
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
        if self._index.is_empty() and not self._is_of_derivatives():
            raise refuse_file(
                str(self._request.events[0]), "There is no event to replay.", "Check the files and the as-at time."
            )
        work = ready.parent
        names = ["positions", *(self._step.frame_names if self._step else [])]
        names += PER_POSITION if self._risk else []
        columns = FRAMES | INTEREST_FRAMES | RISK_FRAMES
        self._stored = {name: _Stored(work / name, columns[name]) for name in names}
        self.ledger = work / "ledger.parquet"
        _sink(self._ledgers(), LEDGER, self.ledger)
        derivatives = self._replay_derivatives()
        _refuse(pl.concat([REFUSAL_SCHEMA.to_frame(), *self._refusals]))
        _sink(self._postings(self.ledger), POSTINGS, ready / f"postings.{suffix}")
        _sink(self._histories(), HISTORY, ready / f"history.{suffix}")
        if derivatives is not None:
            self._keep({"risk_spans": derivatives.spans}, [derivatives.checks])
        frames: dict[str, pl.DataFrame | pl.LazyFrame] = {**self._frames()}
        if derivatives is not None:
            frames |= derivatives.frames()
        if self._risk is not None:
            frames["tiers"] = self._risk.tiers()
        for name, frame in frames.items():
            write_frame(frame, ready / f"{name}.{suffix}")
        return self._findings

    def _is_of_derivatives(self) -> bool:
        return self._risk is not None and self._risk.asked.events is not None

    def _replay_derivatives(self) -> DerivativeBook | None:
        """The book of the derivatives, if there are any; what is wrong with them is among the refusals."""
        if self._risk is None:
            return None
        try:
            return self._risk.derivatives()
        except BadInput as bad:
            self._refusals.append(bad.refusals)
            return None

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
        positions = valued(positions_of(ledger, self._index), self._marks, self._end, self._rates)
        self._findings += [*batch.findings, *position_checks(positions)]
        self.booked.add(ledger, self._index)
        self._stored["positions"].add(positions)
        self._ledger_rows.append(ledger.height)
        if self._step is not None:
            self._keep(*self._step.frames(ledger, self._index))
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
            columns = LEDGER_COLUMNS if self._risk is None else schema(LEDGER).names()
            ledger = pl.scan_parquet(self.ledger).slice(end - rows, rows).select(columns).collect()
            changes = None if self._risk is None else self._risk.tiers()
            history = history_of(ledger, self._index, self._marks, self._end, self._rates, changes)
            self._findings.append(history_check(history, positions))
            if self._risk is not None:
                self._progress("Grading", end, sum(self._ledger_rows))
                self._keep(*self._risk.frames(ledger, self._index, positions, history))
            yield history

    def _keep(self, frames: dict[str, pl.DataFrame], findings: list[pl.DataFrame]) -> None:
        """Keep the frames of some whole positions, and the findings of their checks."""
        self._findings += findings
        for name, frame in frames.items():
            self._stored[name].add(frame)

    def _frames(self) -> dict[str, pl.LazyFrame]:
        """The frames besides ledger and postings, by name, of all batches."""
        unclaimed, findings = ({}, []) if self._step is None else self._step.unclaimed()
        self._findings += findings
        for name, rows in unclaimed.items():
            self._stored[name].add(rows)
        return {name: stored.frame() for name, stored in self._stored.items()}


class _Stored:
    """A frame that comes in parts, kept on disk until all are there."""

    def __init__(self, path: Path, columns: tuple[Column, ...]) -> None:
        self._path, self._columns = path, columns
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
        return pl.scan_parquet(self._files) if self._files else schema(self._columns).to_frame().lazy()


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
