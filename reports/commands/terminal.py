"""What every command shares: options, exit codes, progress bars, and errors told in plain words."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    import polars as pl

    from ledger.progress import Progress
    from ledger.refusals import BadInput
    from reports.previous_kept import Target

OK, BREAKS, BAD_INPUT, STOPPED = 0, 1, 2, 130
_LISTED = 1_000
"""Refusals printed on the terminal; `--refusals` writes all of them, however many."""


class Time(click.ParamType[datetime]):
    """A time of day with its zone."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """The time of an ISO 8601 text."""
        try:
            time = datetime.fromisoformat(str(value))
        except ValueError:
            self.fail(f"{value!r} is no time; write for example 2025-01-31T00:00:00Z", param, ctx)
        if time.tzinfo is None:
            example = f"{time.isoformat(timespec='seconds')}Z"
            self.fail(f"{value!r} has no zone; for UTC write {example}", param, ctx)
        return time


FILE = click.Path(path_type=Path)
REFUSALS = click.option("--refusals", type=FILE, metavar="FILE.csv", help="Write all refusals to this file, too.")


DETAIL_ROWS = click.option(
    "--detail-rows",
    type=click.IntRange(min=1),
    metavar="N",
    help="Rows of a sheet of detail above which they go to Parquet beside the workbook; default: 2,000,000.",
)


def exit_code(checks: "pl.DataFrame") -> int:
    """0 where all checks hold, 1 where one does not."""
    return BREAKS if checks["failures"].sum() else OK


@contextmanager
def errors_told(refusals: Path | None) -> Iterator[None]:
    """Tell what a user can mend in plain words, with exit code 2; refusals also go to the file asked for."""
    from polars.exceptions import PolarsError

    from ledger.refusals import BadInput, LedgerError

    try:
        yield
    except KeyboardInterrupt:
        click.echo("Stopped; nothing was written.", err=True)
        sys.exit(STOPPED)
    except BadInput as bad:
        _tell_refusals(bad, refusals)
        sys.exit(BAD_INPUT)
    except LedgerError as error:
        _fail(str(error))
    except OSError as error:
        _fail(f"{error.filename}: {error.strerror}")
    except PolarsError as error:
        # Rows are validated before they are computed, so this should not happen; if it does, no figure is wrong.
        _fail(f"the figures could not be computed: {str(error).splitlines()[0]}\nPlease report it with the input.")


def _fail(problem: str) -> None:
    click.echo(f"Error: {problem}", err=True)
    sys.exit(BAD_INPUT)


def _tell_refusals(bad: "BadInput", file: Path | None) -> None:
    found = bad.refusals
    for row in found.head(_LISTED).iter_rows(named=True):
        place = ", ".join(
            text
            for text in (
                row["file"],
                f"row {row['row']}" if row["row"] is not None else "",
                f"column {row['column']}" if row["column"] else "",
            )
            if text
        )
        value = f": {row['value']!r}" if row["value"] is not None else ""
        click.echo(f"{place}{value}\n    {row['rule']}\n    {row['remedy']}", err=True)
    if found.height > _LISTED:
        click.echo(f"... and {found.height - _LISTED} more; --refusals FILE.csv writes them all.", err=True)
    click.echo(f"Refused: {found.height}. Nothing was written.", err=True)
    if bad.more_may_follow:
        click.echo("A position is judged as a whole only once all of its rows can be read.", err=True)
    if file is not None:
        try:
            found.write_csv(file)
        except OSError as error:
            _fail(f"{file}: {error.strerror or error}")
        click.echo(f"All refusals: {file}", err=True)


@contextmanager
def progress_told() -> Iterator["Progress"]:
    """Progress bars on a terminal's standard error; silence elsewhere."""
    if not sys.stderr.isatty():
        yield lambda stage, done, total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description:10}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        tasks: dict[str, Any] = {}

        def tell(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage, total=total or None)
            bars.update(tasks[stage], completed=done)

        yield tell


def write_and_tell(
    frames: "Mapping[str, pl.DataFrame]", workbook: Path, detail_rows: int | None, target: "Target | None" = None
) -> None:
    """Write the workbook of a run, and say so: of it, of each file beside it, and of what was there and is kept.

    `target` is the place as it was before the run; without it, as it is now.
    """
    from reports import detail
    from reports.previous_kept import Target, kept_sentence
    from reports.workbook import write_workbook

    place, copies = target or Target.of(workbook), list[Path | None]()

    def keep() -> None:
        copies.append(place.make_room())

    rows_max = detail_rows or detail.DETAIL_ROWS
    with progress_told() as progress:
        files = write_workbook(frames, workbook, rows_max, progress, before_replacing=keep)
    click.echo(f"Wrote {workbook}")
    for copy in filter(None, copies):
        click.echo(kept_sentence(copy))
    for sentence in detail.sentences(files, rows_max):
        click.echo(sentence)


def tell(folder: Path, checks: "pl.DataFrame") -> None:
    """Say what a replay has found."""
    from reports.commands.summary import summary

    for line in summary(folder, checks):
        click.echo(line)


def refuse_bad_place(workbook: Path) -> None:
    """Say before the work what could only fail after it."""
    from ledger.refusals import LedgerError

    if workbook.suffix.lower() != ".xlsx":
        raise LedgerError(f"{workbook}: give the workbook a name that ends with .xlsx")
    if workbook.is_dir() or not workbook.parent.is_dir():
        raise LedgerError(f"{workbook}: cannot be written; give a file in a folder that exists")
