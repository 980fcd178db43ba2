"""What a run over files reads: every event into the spool, the marks, and what interest and risk need."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeVar

import polars as pl

from ledger.book import replay_batch
from ledger.columns import INPUTS, schema
from ledger.input_sums import AsRead
from ledger.inputs import file_facts
from ledger.marks import read_marks
from ledger.ordering import POSITION_KEY
from ledger.progress import Progress
from ledger.reading import read_batches
from ledger.refusals import REFUSAL_SCHEMA, BadInput
from ledger.request import Request
from ledger.risk.request import RiskInput
from ledger.sequence_rules import repeated_refusals
from ledger.spool import BATCH_EVENTS, Spool
from ledger.steps import Step

_NEVER = datetime(1970, 1, 1, tzinfo=UTC)
_Read = TypeVar("_Read")


@dataclass(frozen=True)
class RunInputs:
    """The marks, the step of interest and what risk needs; and one row per input file (columns INPUTS)."""

    marks: pl.DataFrame | None
    step: Step | None
    risk: RiskInput | None = None
    files: pl.DataFrame = field(default_factory=schema(INPUTS).to_frame)


def read_inputs(request: Request, spool: Spool, sums: AsRead, progress: Progress) -> RunInputs:
    """Read every file of a request; the events go into the spool, and their sums as they are read into `sums`.

    Raises BadInput with all refusals of all files.
    """
    found = _Found()
    spoiled = _read_events(request, spool, sums, progress, found)
    repeated = spool.repeated()
    found.refusals.append(repeated_refusals(repeated, request.names()))
    if any(refused.height for refused in found.refusals):
        found.refusals += _course_of_others(request, spool, [*spoiled, repeated.select(POSITION_KEY)])
    last_event = max((file["last_time"] for file in found.inputs if file["last_time"] is not None), default=_NEVER)
    marks = step = risk = None
    if request.marks is not None:
        path = request.marks
        marks = found.tried(lambda: read_marks(path))
        found.add([(path, 0 if marks is None else marks.height, [])])
    if request.interest is not None:
        interest, number = request.interest, len(found.inputs) + 1
        asked = found.tried(lambda: interest.read(number))
        if asked is not None:
            found.add(asked.files)
            step = found.tried(lambda: asked.step(request.policies, last_event, request.as_at))
    if request.risk is not None:
        asked_of_risk, number = request.risk, len(found.inputs) + 1
        risk = found.tried(lambda: asked_of_risk.read(number))
        found.add([] if risk is None else risk.files)
    refusals = pl.concat(found.refusals)
    if refusals.height:
        raise BadInput(refusals)
    return RunInputs(marks, step, risk, pl.DataFrame(found.inputs, schema=schema(INPUTS)))


class _Found:
    """What is known so far: a row for each file, and all refusals."""

    def __init__(self) -> None:
        self.inputs: list[dict[str, Any]] = []
        self.refusals: list[pl.DataFrame] = [REFUSAL_SCHEMA.to_frame()]

    def add(self, files: list[tuple[Any, int, list[Any]]]) -> None:
        """The next files: path, rows and times."""
        for file in files:
            self.inputs.append(file_facts(len(self.inputs) + 1, *file))

    def tried(self, read: Callable[[], _Read]) -> _Read | None:
        """What was read; nothing where it was refused."""
        try:
            return read()
        except BadInput as bad:
            self.refusals.append(bad.refusals)
            return None


def _read_events(
    request: Request, spool: Spool, sums: AsRead, progress: Progress, found: _Found
) -> list[pl.DataFrame | None]:
    """Every event into the spool; returns, for each batch with a refusal, the positions that it spoils."""
    done, spoiled = 0, []
    for number, path in enumerate(request.events, start=1):
        rows, times = 0, []
        for batch in read_batches(path, number, request.policies):
            found.refusals.append(batch.refusals)
            if batch.refusals.height:
                spoiled.append(batch.spoiled)
            rows, done = rows + batch.rows, done + batch.rows
            progress("Reading", done, 0)
            times += [batch.events["time"].min(), batch.events["time"].max()]
            is_late = pl.lit(value=False) if request.as_at is None else pl.col("time") > request.as_at
            sums.add(batch.events, is_late)
            spool.add(batch.events if request.as_at is None else batch.events.filter(~is_late))
        found.add([(path, rows, times)])
    return spoiled


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
            request.names(),
            sample=False,
        ).refusals
        for events in spool.batches(index, BATCH_EVENTS)
    ]
