"""Exchange files read and written as frames: what each row is, what events they give, that none is missing."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import polars as pl

from ledger.columns import EVENTS, schema
from ledger.output import complete_or_nothing, write_frame
from ledger.progress import Progress
from ledger.statements.certificate import Window
from ledger.statements.columns import STATEMENT_FRAMES
from ledger.statements.margin_currency import Defaults
from ledger.statements.reading import Statements, read_statements


def import_statements(
    paths: Sequence[Path],
    folder: Path,
    defaults: Defaults,
    layouts: Mapping[Path, str],
    account: str | None,
    suffix: str,
    progress: Progress,
) -> dict[str, pl.DataFrame]:
    """Read files of any layout and write `events`, `snapshots`, `inputs` and STATEMENT_FRAMES to `folder`.

    Returns the frames. Raises BadInput with all refusals of all files; then it leaves the folder as it was.
    """
    with complete_or_nothing(folder) as ready:
        read = read_statements(paths, defaults, ready.parent, layouts, account, progress)
        names = list(schema(EVENTS))
        events = pl.concat([read.transactions.events.select(names), read.events.select(names)])
        events = events.sort("time", maintain_order=True)
        frames = {"events": events, "snapshots": read.snapshots, "inputs": read.files, **statement_frames([read])}
        for name, frame in frames.items():
            write_frame(frame, ready / f"{name}.{suffix}")
    return frames


def statement_frames(sides: Sequence[Statements], window: Window = (None, None)) -> dict[str, pl.DataFrame]:
    """The frames of STATEMENT_FRAMES of all that was read; `window` is what the replay covers."""
    certificates = [side.certificate(window) for side in sides]
    return {
        "statements": pl.concat([_with_events(side) for side in sides]),
        "statement_sums": pl.concat([each[1] for each in certificates]),
        "certificate": pl.concat([each[0] for each in certificates]),
    }


def _with_events(side: Statements) -> pl.DataFrame:
    """Every row of the files once, with the event it is part of or the reason why it gives none."""
    placed = side.transactions.placed.rename({"reason": "no_event_because"})
    told = side.rows.join(placed, on=["input", "row"], how="left", maintain_order="left")
    return told.select(pl.col(name).cast(dtype) for name, dtype in schema(STATEMENT_FRAMES["statements"]).items())
