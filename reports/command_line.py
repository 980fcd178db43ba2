"""The command `margin-ledger`: replay event files, write the workbook, explain a balance, run the demo.

Exit codes: 0 reconciled, 1 a check failed, 2 bad input.
"""

import os

# Before Polars is loaded: keep freed memory for the next batch instead of giving it back and asking again.
os.environ.setdefault("_RJEM_MALLOC_CONF", "dirty_decay_ms:10000,muzzy_decay_ms:-1")

import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from reports.commands.interest import interest
from reports.commands.reconcile import adjustments, import_files, reconcile
from reports.commands.records import records
from reports.commands.risk import risk
from reports.commands.terminal import (
    DETAIL_ROWS,
    FILE,
    REFUSALS,
    Time,
    errors_told,
    exit_code,
    progress_told,
    tell,
    write_and_tell,
)
from reports.commands.verify import verify
from reports.commands.whatif import whatif

if TYPE_CHECKING:
    import polars as pl

    from ledger.request import Request


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="spot-margin-ledger")
def main() -> None:
    """Exact, auditable accounting for isolated spot-margin positions.

    \b
    Examples:
      margin-ledger demo
      margin-ledger replay events.csv --marks marks.csv --out books
      margin-ledger report books books.xlsx
      margin-ledger verify books.xlsx
      margin-ledger explain books main:BTC-USDT:USDT
      margin-ledger reconcile --ledger bills.zip --exchange positions.json --out books --report books.xlsx
      margin-ledger import bills.zip fills.json --out read
      margin-ledger adjustments adjustments.xlsx
      margin-ledger interest reperform interest.csv --events fills.csv --rates rates.csv --out books
      margin-ledger risk events.csv --marks marks.parquet --tiers tiers.json --out books
      margin-ledger records positions.json
      margin-ledger whatif close fills.csv --marks marks.csv --fee-rate 0.001

    Exit codes: 0 reconciled, 1 a check failed, 2 bad input.
    """


@main.command()
@click.argument("events", nargs=-1, required=True, type=FILE)
@click.option("--out", required=True, type=FILE, metavar="DIR", help="Folder for the frames.")
@click.option("--marks", type=FILE, metavar="FILE", help="Mark prices and rates: instrument, mark_price, ...")
@click.option("--policy", "policies", multiple=True, metavar="NAME=VALUE", help="Choose a policy; may be repeated.")
@click.option("--as-at", type=Time(), metavar="TIME", help="Leave out events after this time (with its zone).")
@click.option("--format", "suffix", type=click.Choice(["parquet", "csv"]), default="parquet", show_default=True)
@REFUSALS
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
    with errors_told(refusals):
        from ledger.files import replay_files
        from ledger.policies import Policies
        from ledger.request import Request

        request = Request(events, marks, Policies.parse(list(policies)), as_at)
        with progress_told() as progress:
            checks = replay_files(request, out, suffix, progress)
        tell(out, checks)
        sys.exit(exit_code(checks))


@main.command()
@click.argument("folder", metavar="DIR", type=FILE)
@click.argument("workbook", metavar="OUT.xlsx", type=FILE)
@DETAIL_ROWS
def report(folder: Path, workbook: Path, detail_rows: int | None) -> None:
    """Write the workbook OUT.xlsx of the frames that a replay left in DIR.

    What has more rows than a sheet takes goes on on further sheets. Detail (ledger, interest, comparison, events,
    course over time, unclassified rows) of more than --detail-rows rows goes, whole, to Parquet beside the workbook:
    OUT.ledger.parquet and so on, named in the workbook with hash and control totals.

    \b
    Examples:
      margin-ledger report books books.xlsx
      margin-ledger report books books.xlsx --detail-rows 100000
    """
    with errors_told(None):
        from ledger.checks import balance_checks
        from ledger.refusals import LedgerError
        from reports.detail import refuse_foreign
        from reports.frames import read_frames
        from reports.previous import refuse_loss
        from reports.previous_kept import Target

        if workbook.suffix.lower() != ".xlsx":
            raise LedgerError(f"{workbook}: give the workbook a name that ends with .xlsx")
        refuse_foreign(workbook)
        target = Target.of(workbook)
        frames = read_frames(folder)
        refuse_loss(workbook, frames.get("reviews"))
        if any(found["failures"].item() for found in balance_checks(frames["ledger"])):
            raise LedgerError(f"{folder}: the ledger has been changed since its replay; run the replay again")
        write_and_tell(frames, workbook, detail_rows, target)
        for row in frames["checks"].iter_rows(named=True):
            if row["failures"]:
                click.echo(f"FAIL: {row['check']}, {row['failures']:,} rows, first {row['first_failure']}")
        sys.exit(exit_code(frames["checks"]))


@main.command()
@click.argument("folder", metavar="DIR", type=FILE)
@click.argument("position")
@click.option("--at", type=Time(), metavar="TIME", help="Stop at this time (with its zone).")
def explain(folder: Path, position: str, at: datetime | None) -> None:
    """Tell how the balances of POSITION (NAME or NAME#EPISODE) came to be, event by event, back to file and row.

    \b
    Examples:
      margin-ledger explain books main:BTC-USDT:USDT
      margin-ledger explain books main:BTC-USDT:USDT#2 --at 2025-01-31T00:00:00Z
    """
    with errors_told(None):
        from ledger.explain import explain as lines_of

        for line in lines_of(folder, position, at):
            click.echo(line)


@main.command()
@click.option("--out", type=FILE, default=Path(), metavar="DIR", help="Folder to write to; default: the current one.")
def demo(out: Path) -> None:
    """Replay the shipped records and examples, compare interest, reconcile a house's ledger, look at risk.

    Writes spot-margin-demo/, spot-margin-interest/, spot-margin-reconciliation/, spot-margin-risk/ and a workbook of
    each beside it. The exit code is that of the replay; what breaks in the others is there to be seen.
    """
    with errors_told(None):
        from ledger.interest.policy import find_policy
        from ledger.interest.request import InterestRequest
        from ledger.request import Request
        from reports.commands.interest_summary import comparison_told

        frames = _demo_files(out / "spot-margin-demo", "demo", ("events.csv", "marks.csv"))
        checks = _demonstrate(Request([frames / "events.csv"], frames / "marks.csv"), frames)
        tell(frames, checks)
        click.echo(f"Wrote {frames}.xlsx")
        click.echo(f"Try:  margin-ledger explain {frames} example-lq:BTC-USDC:USDC\n")

        names = ("events.csv", "rates.csv", "record.json", "desk.csv")
        compared = _demo_files(out / "spot-margin-interest", "demo/interest", names)
        events, rates, *rows = (compared / name for name in names)
        asked = InterestRequest(find_policy("okx"), rates, rows)
        _demonstrate(Request([events], interest=asked), compared)
        click.echo("Interest: seven real rows, and those of an exchange that makes five mistakes")
        for line in comparison_told(compared):
            click.echo(line)
        click.echo(f"Wrote {compared}.xlsx")
        click.echo(f"Try:  margin-ledger interest identify {rows[0]}\n")

        _demonstrate_reconciliation(out / "spot-margin-reconciliation")
        _demonstrate_risk(out / "spot-margin-risk")
        sys.exit(exit_code(checks))


def _demonstrate_reconciliation(folder: Path) -> None:
    """Reconcile the shipped ledger of a house with its exchange's files; frames go to a folder within this one."""
    from ledger.interest.policy import find_policy
    from ledger.interest.request import InterestRequest
    from ledger.reconciliation.request import ReconcileRequest
    from reports.commands.reconcile import reconciled

    house = ("house.csv", "adjustments.xlsx")
    exchange = ("bills-2025-q1.zip", "interest.json", "positions.json", "positions-history.json")
    _demo_files(folder, "demo/reconcile", (*house, *exchange, "marks.csv", "rates.csv"))
    click.echo("Reconciliation: an exchange's files, and the ledger of a house that makes five mistakes")
    ledger, stated = ([folder / name for name in names] for names in (house, exchange))
    interest = InterestRequest(find_policy("okx"), folder / "rates.csv")
    request = ReconcileRequest(ledger, stated, marks=folder / "marks.csv", interest=interest)
    reconciled(request, folder / "books", report=folder.with_suffix(".xlsx"))
    click.echo(f"Try:  margin-ledger explain {folder / 'books'} desk:BTC-USDT:BTC")


def _demonstrate_risk(folder: Path) -> None:
    """Hold the shipped positions against two days of marks; frames go to a folder within this one."""
    from ledger.request import Request
    from ledger.risk.request import RiskRequest
    from reports.commands.risk_summary import risk_told

    names = ("events.csv", "marks.csv", "tiers.csv", "balances.csv", "contracts.csv", "futures.csv")
    _demo_files(folder, "demo/risk", names)
    events, marks, tiers, balances, contracts, futures = (folder / name for name in names)
    asked = RiskRequest(tiers, balances, contracts=contracts, derivatives=[futures])
    books = folder / "books"
    _demonstrate(Request([events], marks, risk=asked), books, folder.with_suffix(".xlsx"))
    click.echo(
        "\nRisk: two days of marks, tiers, a liquidation booked otherwise than it was due, and one that is missing"
    )
    for line in risk_told(books):
        click.echo(line)
    click.echo(f"Wrote {folder}.xlsx")
    click.echo(f"Try:  margin-ledger whatif close {events} --marks {marks} --fee-rate 0.001")


def _demo_files(folder: Path, source: str, names: tuple[str, ...]) -> Path:
    """The folder, with copies of the shipped files to look at."""
    from importlib.resources import as_file, files
    from shutil import copyfile

    folder.mkdir(parents=True, exist_ok=True)
    with as_file(files("fixtures").joinpath(source)) as shipped:
        for name in names:
            copyfile(shipped / name, folder / name)
    return folder


def _demonstrate(request: "Request", folder: Path, workbook: Path | None = None) -> "pl.DataFrame":
    """Replay into the folder, and write the workbook, beside it unless another place is given."""
    from ledger.files import replay_files
    from reports.frames import read_frames
    from reports.previous import refuse_loss
    from reports.workbook import write_workbook

    place = workbook or folder.with_suffix(".xlsx")
    refuse_loss(place, None)
    with progress_told() as progress:
        checks = replay_files(request, folder, progress=progress)
    write_workbook(read_frames(folder), place)
    return checks


main.add_command(interest)
main.add_command(import_files)
main.add_command(reconcile)
main.add_command(adjustments)
main.add_command(risk)
main.add_command(records)
main.add_command(verify)
main.add_command(whatif)
