"""The command `risk`: what is due of each position at its marks, since when, and whether what is booked agrees."""

import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from reports.commands.terminal import (
    DETAIL_ROWS,
    FILE,
    REFUSALS,
    Time,
    errors_told,
    exit_code,
    progress_told,
    refuse_bad_place,
    tell,
    write_and_tell,
)

if TYPE_CHECKING:
    from reports.previous_kept import Target


@click.command()
@click.argument("events", nargs=-1, type=FILE)
@click.option("--marks", type=FILE, metavar="FILE", help="Mark prices over time: instrument, time, mark_price, ...")
@click.option(
    "--tiers", type=FILE, metavar="FILE", help="Tiers: the exchange's answer or announcement, or own columns."
)
@click.option("--balances", type=FILE, metavar="FILE", help="Available balances: time, account, currency, available.")
@click.option("--contracts", type=FILE, metavar="FILE", help="Perpetuals, futures and options: their sizes.")
@click.option(
    "--derivatives", multiple=True, type=FILE, metavar="FILE", help="Events of isolated derivatives; repeatable."
)
@click.option("--out", type=FILE, metavar="DIR", help="Folder for the frames.")
@click.option("--report", type=FILE, metavar="OUT.xlsx", help="Write the workbook, too.")
@DETAIL_ROWS
@click.option("--policy", "policies", multiple=True, metavar="NAME=VALUE", help="Choose a policy; may be repeated.")
@click.option("--as-at", type=Time(), metavar="TIME", help="Statement at this time (with its zone); later is left out.")
@click.option("--format", "suffix", type=click.Choice(["parquet", "csv"]), default="parquet", show_default=True)
@REFUSALS
def risk(
    events: tuple[Path, ...],
    marks: Path | None,
    tiers: Path | None,
    balances: Path | None,
    contracts: Path | None,
    derivatives: tuple[Path, ...],
    out: Path | None,
    report: Path | None,
    detail_rows: int | None,
    policies: tuple[str, ...],
    as_at: datetime | None,
    suffix: str,
    refusals: Path | None,
) -> None:
    """Replay EVENTS against a series of mark prices: status, thresholds crossed, liquidations due and booked.

    Gives, beside the frames of a replay, `risk` (each life's ratio, liquidation price and status, and when it first
    crossed each threshold), `risk_spans` (its statuses over time), `liquidations` (due and booked, side by side),
    `simulated_ledger` and `simulated_postings` (what the due ones would have booked), `margin_changes` (with what the
    rules say to each) and `lives` (the position history).

    \b
    Examples:
      margin-ledger risk events.csv --marks marks.parquet --tiers tiers.json --out books
      margin-ledger risk events.csv --marks marks.csv --tiers tiers.csv --balances balances.csv --out books \\
          --report books.xlsx
      margin-ledger risk events.csv --marks marks.csv --as-at 2025-03-01T03:00:00Z --out at-three
      margin-ledger risk events.csv --marks marks.csv --policy liquidation=all_at_once --out books
      margin-ledger risk --derivatives futures.csv --contracts contracts.csv --marks marks.csv --out books

    Exit codes: 0 all agrees, 1 a check fails (a liquidation that is due and not booked as it was due, a change of
    margin that the rules refuse), 2 bad input.
    """
    with errors_told(refusals):
        place = _refuse_incomplete(events, derivatives, contracts, out)
        target = None if report is None else _target(report)
        from ledger.files import replay_files
        from ledger.policies import Policies, parsed
        from ledger.request import Request
        from ledger.risk.policies import RiskPolicies
        from ledger.risk.request import RiskRequest
        from reports.commands.risk_summary import risk_told
        from reports.frames import read_frames

        of_replay, of_risk = parsed(policies, (Policies, RiskPolicies))
        asked = RiskRequest(tiers, balances, of_risk, contracts, derivatives)
        with progress_told() as progress:
            checks = replay_files(Request(events, marks, of_replay, as_at, risk=asked), place, suffix, progress)
        tell(place, checks)
        for line in risk_told(place):
            click.echo(line)
        if report is not None:
            write_and_tell(read_frames(place), report, detail_rows, target)
        sys.exit(exit_code(checks))


def _refuse_incomplete(
    events: tuple[Path, ...], derivatives: tuple[Path, ...], contracts: Path | None, out: Path | None
) -> Path:
    """The folder to write to; raises LedgerError, or UsageError, with all that is missing."""
    problems = []
    if not events and not derivatives:
        problems.append("give event files: EVENTS of spot margin, or --derivatives")
    if derivatives and contracts is None:
        problems.append("--derivatives needs --contracts, the file that says how large a contract is")
    if contracts is not None and not derivatives:
        problems.append("--contracts is for --derivatives; give their events, or leave it out")
    if out is None:
        problems.append("--out names the folder for the frames")
    if problems or out is None:
        raise click.UsageError("; ".join(problems))
    return out


def _target(report: Path) -> "Target":
    """The place of the workbook as it is now; raises LedgerError where it cannot, or must not, be written."""
    from reports.detail import refuse_foreign
    from reports.previous import refuse_loss
    from reports.previous_kept import Target

    refuse_bad_place(report)
    refuse_foreign(report)
    refuse_loss(report, None)
    return Target.of(report)
