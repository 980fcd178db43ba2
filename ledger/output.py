"""Frames on disk: each appears only when all are complete, and under its own name or not at all."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import polars as pl

from ledger.columns import FRAMES
from ledger.interest.columns import INTEREST_FRAMES
from ledger.reconciliation.columns import RECONCILIATION_FRAMES
from ledger.refusals import LedgerError
from ledger.statements.columns import IMPORT_FRAMES, STATEMENT_FRAMES

FORMATS = ("parquet", "csv")
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
def complete_or_nothing(folder: Path) -> Iterator[Path]:
    """A temporary folder whose `out` files move into `folder` when the block ends without an error.

    Raises LedgerError when the folder cannot be written. Frames of an earlier run that this one does not write
    are removed, so that the folder holds one run and no two versions of one frame.
    """
    try:
        parent = next(parent for parent in folder.resolve().parents if parent.is_dir())
        if folder.exists() and not folder.is_dir():
            raise LedgerError(f"{folder}: is a file; give a folder for the frames")
        with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=parent) as work:
            ready = Path(work, "out")
            ready.mkdir()
            yield ready
            folder.mkdir(parents=True, exist_ok=True)
            _replace(ready, folder)
    except OSError as error:
        raise LedgerError(f"{folder}: cannot be written ({error.strerror or error})") from error


def _replace(ready: Path, folder: Path) -> None:
    files = sorted(ready.iterdir())
    for file in files:
        file.replace(folder / file.name)
    fresh = {file.name for file in files}
    for name in (*FRAMES, *INTEREST_FRAMES, *STATEMENT_FRAMES, *RECONCILIATION_FRAMES, *IMPORT_FRAMES):
        for suffix in FORMATS:
            if f"{name}.{suffix}" not in fresh:
                (folder / f"{name}.{suffix}").unlink(missing_ok=True)
