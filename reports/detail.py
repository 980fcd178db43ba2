"""Large sets: detail that has more rows than a workbook should show goes to Parquet beside it; never a row is cut.

    OUT.xlsx, OUT.ledger.parquet, ...

A frame of detail either is on sheets, whole, or in one such file, whole: its rows in the order of the sheet, in
their own types. The Manifest has the hash and the sums of each file, the tie-out a line for each sum.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from shutil import copyfile
from typing import Any

import polars as pl

from ledger.columns import TIME
from ledger.inputs import file_facts
from ledger.output import COMPRESSION
from ledger.refusals import LedgerError
from reports.cells.fields import Field, Placed, Tables
from reports.sheets.checks import tie_out_lines

DETAIL_ROWS = 2_000_000
"""Rows of a sheet's frame, on one sheet or several, up to which they are in the workbook."""

FRAMES_BY_SHEET = {
    "Ledger": "ledger",
    "Interest": "interest",
    "Comparison": "comparison",
    "Over time": "history",
    "Status changes": "risk_spans",
    "Simulated ledger": "simulated_ledger",
    "Margin changes": "margin_changes",
    "Derivative ledger": "derivative_ledger",
    "Events": "matches",
    "Unclassified": "statements",
}
"""The sheets of detail, and the frame of each, which names its file beside: OUT.ledger.parquet. All others stay."""

FILES_SCHEMA: dict[str, Any] = {
    "part": pl.String,
    "file": pl.String,
    "bytes": pl.UInt64,
    "rows": pl.UInt64,
    "sha256": pl.String,
    "first_time": TIME,
    "last_time": TIME,
}
"""What is said of the files beside a workbook: the sheet that each one stands for, its name, size, rows and hash."""

_MARK = {"margin_ledger": "detail beside a workbook"}
"""What tells a file of ours from one that happens to have its name."""
_NAME_ENDING = ".parquet"


@dataclass(frozen=True)
class Beside:
    """A frame that stands in a file beside the workbook, with the fields of the sheet it would have been."""

    part: str
    fields: tuple[Field, ...]
    frame: pl.DataFrame


@dataclass
class Cutter:
    """Cuts frames into sheets by `parts`, and puts aside what has more than `rows_max` rows of detail."""

    parts: Callable[..., Tables]
    rows_max: int = DETAIL_ROWS
    beside: list[Beside] = field(default_factory=list)

    def __call__(self, name: str, frame: pl.DataFrame, fields: Sequence[Field], **where: int) -> Tables:
        """Where the rows will stand (see `workbook.parts`); nowhere if they go beside the workbook."""
        if name not in FRAMES_BY_SHEET or frame.height <= self.rows_max:
            return self.parts(name, frame, fields, **where)
        self.beside.append(Beside(name, tuple(fields), frame))
        return ()


def write_beside(beside: Sequence[Beside], folder: Path, stem: str) -> pl.DataFrame:
    """Write the files of a workbook called `stem` into the folder; one row each (FILES_SCHEMA)."""
    facts = []
    for one in beside:
        path = folder / _file_name(stem, one.part)
        one.frame.write_parquet(path, compression=COMPRESSION, metadata=_MARK)
        times = [one.frame["time"].min(), one.frame["time"].max()] if "time" in one.frame.columns else []
        facts.append({"part": one.part, **file_facts(0, path, one.frame.height, times), "file": path.name})
    return pl.DataFrame([{name: fact[name] for name in FILES_SCHEMA} for fact in facts], schema=FILES_SCHEMA)


def beside_lines(beside: Sequence[Beside]) -> pl.DataFrame:
    """The lines of the tie-out (see `sheets_checks.tie_out_lines`) of files beside; each formula is still to be set."""
    return tie_out_lines([(Placed(one.part, one.fields, 1, one.frame.height), one.frame) for one in beside])


def sentences(files: pl.DataFrame, rows_max: int) -> list[str]:
    """What About and the terminal say of the files beside."""
    return [
        f"{part}: {rows:,} rows in {file} beside this workbook, as there are more than {rows_max:,} (--detail-rows)."
        for part, file, rows in files.select("part", "file", "rows").iter_rows()
    ]


def refuse_foreign(workbook: Path) -> None:
    """Raise LedgerError where a file that no earlier run wrote has the name of one beside the workbook."""
    for part in FRAMES_BY_SHEET:
        path = workbook.with_name(_file_name(workbook.stem, part))
        if path.exists() and not _is_ours(path):
            raise LedgerError(f"{path}: is not of an earlier run; move it away, or give the workbook another name")


def put_in_place(drafts: Path, workbook: Path) -> None:
    """Move the drafts of a workbook and of all files beside it to their places: all of them, or none.

    The workbook comes last, in one step: whatever happens, there is an old one or a new one. Files beside that an
    earlier run left and this one does not write are removed. Raises OSError; then the folder is as it was.
    """
    names = [*(_file_name(workbook.stem, part) for part in FRAMES_BY_SHEET), workbook.name]
    aside = drafts / "before"
    aside.mkdir()
    before = [name for name in names if workbook.with_name(name).is_file()]
    for name in before:
        _kept(workbook.with_name(name), aside / name)
    try:
        for name in names:
            if (drafts / name).is_file():
                (drafts / name).replace(workbook.with_name(name))
            else:
                workbook.with_name(name).unlink(missing_ok=True)
    except BaseException:
        for name in names:
            if name in before:
                (aside / name).replace(workbook.with_name(name))
            else:
                workbook.with_name(name).unlink(missing_ok=True)
        raise


def _kept(file: Path, other: Path) -> None:
    """The same file under another name too; a copy where the disk knows no links."""
    try:
        other.hardlink_to(file)
    except OSError:
        copyfile(file, other)


def _file_name(stem: str, part: str) -> str:
    return f"{stem}.{FRAMES_BY_SHEET[part]}{_NAME_ENDING}"


def _is_ours(path: Path) -> bool:
    try:
        found: Mapping[str, Any] = pl.read_parquet_metadata(path)
    except (pl.exceptions.PolarsError, OSError):
        return False
    return _MARK.items() <= found.items()
