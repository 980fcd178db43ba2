"""What every command shares: options, exit codes, progress bars, and errors told in plain words."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    import polars as pl

    from ledger.progress import Progress

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
        _tell_refusals(bad.refusals, refusals)
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


def _tell_refusals(found: "pl.DataFrame", file: Path | None) -> None:
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
    if found["row"].is_not_null().any():
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


def tell(folder: Path, checks: "pl.DataFrame") -> None:
    """Say what a replay has found."""
    from reports.summary import summary

    for line in summary(folder, checks):
        click.echo(line)
