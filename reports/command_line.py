"""The command `margin-ledger`: replay event files, write the workbook, explain a balance, run the demo.

Exit codes: 0 reconciled, 1 a check failed, 2 bad input.
"""

import os

# Before Polars is loaded: keep freed memory for the next batch instead of giving it back and asking again.
os.environ.setdefault("_RJEM_MALLOC_CONF", "dirty_decay_ms:10000,muzzy_decay_ms:-1")

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    import polars as pl

    from ledger.files import Progress

OK, BREAKS, BAD_INPUT, STOPPED = 0, 1, 2, 130
_LISTED = 1_000
"""Refusals printed on the terminal; `--refusals` writes all of them, however many."""


class _Time(click.ParamType[datetime]):
    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        try:
            time = datetime.fromisoformat(str(value))
        except ValueError:
            self.fail(f"{value!r} is no time; write for example 2025-01-31T00:00:00Z", param, ctx)
        if time.tzinfo is None:
            example = f"{time.isoformat(timespec='seconds')}Z"
            self.fail(f"{value!r} has no zone; for UTC write {example}", param, ctx)
        return time


_FILE = click.Path(path_type=Path)
_REFUSALS = click.option("--refusals", type=_FILE, metavar="FILE.csv", help="Write all refusals to this file, too.")


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="spot-margin-ledger")
def main() -> None:
    """Exact, auditable accounting for isolated spot-margin positions.

    \b
    Examples:
      margin-ledger demo
      margin-ledger replay events.csv --marks marks.csv --out books
      margin-ledger report books books.xlsx
      margin-ledger explain books main:BTC-USDT:USDT

    Exit codes: 0 reconciled, 1 a check failed, 2 bad input.
    """


@main.command()
@click.argument("events", nargs=-1, required=True, type=_FILE)
@click.option("--out", required=True, type=_FILE, metavar="DIR", help="Folder for the frames.")
@click.option("--marks", type=_FILE, metavar="FILE", help="Mark prices and rates: instrument, mark_price, ...")
@click.option("--policy", "policies", multiple=True, metavar="NAME=VALUE", help="Choose a policy; may be repeated.")
@click.option("--as-at", type=_Time(), metavar="TIME", help="Leave out events after this time (with its zone).")
@click.option("--format", "suffix", type=click.Choice(["parquet", "csv"]), default="parquet", show_default=True)
@_REFUSALS
def replay(
    events: tuple[Path, ...],
    out: Path,
    marks: Path | None,
    policies: tuple[str, ...],
    as_at: datetime | None,
    suffix: str,
    refusals: Path | None,
) -> None:
    """Replay EVENTS (CSV, Parquet or NDJSON) into ledger, postings, positions and checks.

    \b
    Examples:
      margin-ledger replay fills.csv interest.csv --out books
      margin-ledger replay events.parquet --marks marks.csv --as-at 2025-01-31T00:00:00Z --out books
      margin-ledger replay events.ndjson --policy overfill=spot_first --format csv --out books
    """
    with _errors_told(refusals):
        from ledger.files import Request, replay_files
        from ledger.policies import Policies

        request = Request(events, marks, Policies.parse(list(policies)), as_at)
        with _progress() as progress:
            checks = replay_files(request, out, suffix, progress)
        _tell(out, checks)
        sys.exit(_exit_code(checks))


@main.command()
@click.argument("folder", metavar="DIR", type=_FILE)
@click.argument("workbook", metavar="OUT.xlsx", type=_FILE)
def report(folder: Path, workbook: Path) -> None:
    """Write the workbook OUT.xlsx of the frames that a replay left in DIR.

    \b
    Example:
      margin-ledger report books books.xlsx
    """
    with _errors_told(None):
        from ledger.checks import balance_checks
        from ledger.refusals import LedgerError
        from reports.workbook import read_frames, write_workbook

        if workbook.suffix.lower() != ".xlsx":
            raise LedgerError(f"{workbook}: give the workbook a name that ends with .xlsx")
        frames = read_frames(folder)
        if any(found["failures"].item() for found in balance_checks(frames["ledger"])):
            raise LedgerError(f"{folder}: the ledger has been changed since its replay; run the replay again")
        if sys.stderr.isatty():
            click.echo(f"Writing {frames['ledger'].height:,} ledger rows; some 100,000 rows take a minute.", err=True)
        write_workbook(frames, workbook)
        click.echo(f"Wrote {workbook}")
        for row in frames["checks"].iter_rows(named=True):
            if row["failures"]:
                click.echo(f"FAIL: {row['check']}, {row['failures']:,} rows, first {row['first_failure']}")
        sys.exit(_exit_code(frames["checks"]))


@main.command()
@click.argument("folder", metavar="DIR", type=_FILE)
@click.argument("position")
@click.option("--at", type=_Time(), metavar="TIME", help="Stop at this time (with its zone).")
def explain(folder: Path, position: str, at: datetime | None) -> None:
    """Tell how the balances of POSITION (NAME or NAME#EPISODE) came to be, event by event, back to file and row.

    \b
    Examples:
      margin-ledger explain books main:BTC-USDT:USDT
      margin-ledger explain books main:BTC-USDT:USDT#2 --at 2025-01-31T00:00:00Z
    """
    with _errors_told(None):
        from ledger.explain import explain as lines_of

        for line in lines_of(folder, position, at):
            click.echo(line)


@main.command()
@click.option("--out", type=_FILE, default=Path(), metavar="DIR", help="Folder to write to; default: the current one.")
def demo(out: Path) -> None:
    """Replay the shipped records and examples; write spot-margin-demo/ and spot-margin-demo.xlsx."""
    with _errors_told(None):
        import shutil
        from importlib.resources import as_file, files

        from ledger.files import Request, replay_files
        from reports.workbook import read_frames, write_workbook

        frames, workbook = out / "spot-margin-demo", out / "spot-margin-demo.xlsx"
        frames.mkdir(parents=True, exist_ok=True)
        with as_file(files("fixtures") / "demo") as source:
            for name in ("events.csv", "marks.csv"):
                shutil.copyfile(source / name, frames / name)
        request = Request([frames / "events.csv"], frames / "marks.csv")
        with _progress() as progress:
            checks = replay_files(request, frames, progress=progress)
        write_workbook(read_frames(frames), workbook)
        _tell(frames, checks)
        click.echo(f"Wrote {workbook}")
        click.echo(f"Try:  margin-ledger explain {frames} example-lq:BTC-USDC:USDC")
        sys.exit(_exit_code(checks))


def _exit_code(checks: "pl.DataFrame") -> int:
    return BREAKS if checks["failures"].sum() else OK


@contextmanager
def _errors_told(refusals: Path | None) -> Iterator[None]:
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
    click.echo("A position is judged as a whole only once all of its rows can be read.", err=True)
    if file is not None:
        try:
            found.write_csv(file)
        except OSError as error:
            _fail(f"{file}: {error.strerror or error}")
        click.echo(f"All refusals: {file}", err=True)


@contextmanager
def _progress() -> Iterator["Progress"]:
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


def _tell(folder: Path, checks: "pl.DataFrame") -> None:
    from reports.summary import summary

    for line in summary(folder, checks):
        click.echo(line)
