"""Frames on disk: each appears only when all are complete, and under its own name or not at all."""

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import polars as pl

from ledger.columns import FRAMES
from ledger.derivatives.columns import DERIVATIVE_FRAMES
from ledger.interest.columns import INTEREST_FRAMES
from ledger.reconciliation.columns import RECONCILIATION_FRAMES
from ledger.refusals import LedgerError
from ledger.risk.columns import RISK_FRAMES
from ledger.statements.columns import STATEMENT_FRAMES

FORMATS = ("parquet", "csv")
RUN_FRAMES = (
    *(*FRAMES, *INTEREST_FRAMES, *STATEMENT_FRAMES, *RECONCILIATION_FRAMES),
    *(*RISK_FRAMES, *DERIVATIVE_FRAMES),
)
"""Names of the frames that a run may leave in a folder; those of the events that are imported are not among them."""
_OF_EVERY_RUN = ("checks", "certificate")
"""One of these is in every folder that a run, or an import, wrote."""
COMPRESSION: Literal["lz4"] = "lz4"
"""Of Parquet files: a third faster to write than the default, a third larger."""
_CSV_TIME = "%Y-%m-%dT%H:%M:%S%.6fZ"


def write_frame(frame: pl.DataFrame | pl.LazyFrame, path: Path) -> None:
    """Write a frame as Parquet or CSV, by the ending of the path, without holding all of it in memory."""
    rows = frame.lazy()
    if path.suffix == ".csv":
        rows.sink_csv(path, datetime_format=_CSV_TIME)
    else:
        rows.sink_parquet(path, compression=COMPRESSION)


@contextmanager
def complete_or_nothing(
    folder: Path, inputs: Iterable[Path | None], names: Sequence[str] = RUN_FRAMES
) -> Iterator[Path]:
    """A temporary folder whose `out` files move into `folder` when the block ends without an error.

    `inputs` are the files that are read. Frames (`names`) of an earlier run that this one does not write are removed,
    so that the folder holds one run and no two versions of one frame. Raises LedgerError when the folder cannot be
    written, and where that would replace or remove a file that is read, or one that no earlier run wrote.
    """
    try:
        parent = next(parent for parent in folder.resolve().parents if parent.is_dir())
        if folder.exists() and not folder.is_dir():
            raise LedgerError(f"{folder}: is a file; give a folder for the frames")
        _refuse_inputs(folder, inputs, names)
        with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=parent) as work:
            ready = Path(work, "out")
            ready.mkdir()
            yield ready
            folder.mkdir(parents=True, exist_ok=True)
            _replace(ready, folder, names)
    except OSError as error:
        raise LedgerError(f"{folder}: cannot be written ({error.strerror or error})") from error


def _refuse_inputs(folder: Path, inputs: Iterable[Path | None], names: Sequence[str]) -> None:
    """Say before the work that a file which is read has the name of a frame, in the folder of the frames."""
    ours = {(folder / file).resolve() for file in _files(names)}
    for path in inputs:
        if path is not None and path.resolve() in ours:
            raise LedgerError(
                f"{path}: is read, and has the name of a frame in the folder that is written; give another folder"
            )


def _replace(ready: Path, folder: Path, names: Sequence[str]) -> None:
    fresh = sorted(file.name for file in ready.iterdir())
    present = {name for name in (*fresh, *_files(names)) if (folder / name).exists()}
    if present and not any((folder / file).exists() for file in _files(_OF_EVERY_RUN)):
        first = min(present)
        raise LedgerError(f"{folder / first}: is not of an earlier run; move it away, or give another folder")
    for name in fresh:
        (ready / name).replace(folder / name)
    for name in present - set(fresh):
        (folder / name).unlink()


def _files(names: Sequence[str]) -> list[str]:
    return [f"{name}.{suffix}" for name in names for suffix in FORMATS]
