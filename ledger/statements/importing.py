"""Exchange files read and written as frames: what each row is, what events they give, that none is missing."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import polars as pl

from ledger.columns import EVENTS, MODES, schema
from ledger.output import RUN_FRAMES, complete_or_nothing, write_frame
from ledger.progress import Progress
from ledger.statements.certificate import ALL_FILES, Window
from ledger.statements.columns import CERTIFICATE, IMPORT_FRAMES, STATEMENT_FRAMES, SUMS
from ledger.statements.inference import with_readings
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
    """Read files of any layout and write `events`, `snapshots`, `tiers`, `inputs` and STATEMENT_FRAMES to `folder`.

    Snapshots have `mode` and `margin_currency` filled in where their figures tell, the rates that the figures follow
    from, and `inferred`, which says so (see `inference.with_readings`).

    Returns the frames. Raises BadInput with all refusals of all files; then it leaves the folder as it was.
    """
    with complete_or_nothing(folder, paths, (*RUN_FRAMES, *IMPORT_FRAMES)) as ready:
        asked = ("margin_currency", "leverage")  # nothing is replayed here, so that nothing need be known of them
        read = read_statements(paths, defaults, ready.parent, layouts, account, progress, not_asked=asked)
        names = list(schema(EVENTS))
        events = pl.concat([read.transactions.events.select(names), read.events.select(names)])
        events = events.sort("time", maintain_order=True)
        frames = {
            "events": events,
            "snapshots": _as_read(read.snapshots),
            "tiers": read.tiers,
            "inputs": read.files,
            **statement_frames({"": read}),
        }
        for name, frame in frames.items():
            write_frame(frame, ready / f"{name}.{suffix}")
    return frames


def _as_read(snapshots: pl.DataFrame) -> pl.DataFrame:
    """The snapshots, those of open isolated positions with what their figures tell."""
    stated = pl.col("is_isolated_margin") & pl.col("direction").is_not_null() & pl.col("assets_shown").is_not_null()
    is_open = stated & (pl.col("status") == "open")
    unknown = {"known_margin": pl.lit(None, pl.String), "known_mode": pl.lit(None, pl.Enum(MODES))}
    numbered = snapshots.with_row_index("snapshot").with_columns(**unknown)
    told = with_readings(numbered.filter(is_open)).select(
        "snapshot", "mode", "margin_currency", "maintenance_rate", "liquidation_fee_rate", "inferred"
    )
    beside = numbered.join(told, on="snapshot", how="left", suffix="_told", maintain_order="left")
    known = {name: pl.coalesce(f"{name}_told", name) for name in ("mode", "margin_currency")}
    return beside.with_columns(**known).select(
        *snapshots.columns, "maintenance_rate", "liquidation_fee_rate", "inferred"
    )


def statement_frames(sides: Mapping[str, Statements], window: Window = (None, None)) -> dict[str, pl.DataFrame]:
    """The frames of STATEMENT_FRAMES of all that was read, by the name of the side; `window` is what the replay covers.

    A side whose files have no rows that move anything has no certificate.
    """
    stated = {name: side.certificate(window) for name, side in sides.items() if side.read.height}
    together = [
        each[0].with_columns(pl.col("file").replace(ALL_FILES, f"{ALL_FILES} {name}".strip()))
        for name, each in stated.items()
    ]
    return {
        "statements": pl.concat([_with_events(side) for side in sides.values()]),
        "statement_sums": pl.concat([pl.DataFrame(schema=schema(SUMS)), *(each[1] for each in stated.values())]),
        "certificate": pl.concat([pl.DataFrame(schema=schema(CERTIFICATE)), *together]),
    }


def _with_events(side: Statements) -> pl.DataFrame:
    """Every row of the files once, with the event it is part of or the reason why it gives none."""
    placed = side.transactions.placed.rename({"reason": "no_event_because"})
    told = side.rows.join(placed, on=["input", "row"], how="left", maintain_order="left")
    return told.select(pl.col(name).cast(dtype) for name, dtype in schema(STATEMENT_FRAMES["statements"]).items())
