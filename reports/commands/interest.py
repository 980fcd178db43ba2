"""The commands `margin-ledger interest ...`: compute interest, compare it with what was charged, find the policy."""

import sys
from datetime import datetime
from pathlib import Path

import click

from reports.commands.terminal import BREAKS, FILE, OK, REFUSALS, Time, errors_told, exit_code, progress_told, tell

_POLICY = click.option(
    "--interest-policy",
    "policy",
    default="okx",
    show_default=True,
    metavar="NAME|FILE.toml[:NAME]",
    help="How interest is charged: okx, binance_isolated, bitget, kraken, or a policy of your own.",
)
_RATES = click.option(
    "--rates", type=FILE, metavar="FILE", help="Rates: time, currency or instrument, rate, unit; default: those stated."
)
_EVENTS = click.option(
    "--events", multiple=True, type=FILE, metavar="FILE", help="Events of the positions; repeatable."
)
_ACCOUNT = click.option("--account", metavar="NAME", help="Account of rows that name none.")
_OUT = click.option("--out", required=True, type=FILE, metavar="DIR", help="Folder for the frames.")
_POLICIES = click.option("--policy", "policies", multiple=True, metavar="NAME=VALUE", help="A policy of the replay.")
_MARKS = click.option("--marks", type=FILE, metavar="FILE", help="Mark prices and rates: instrument, mark_price, ...")
_BEGIN = click.option("--from", "begin", type=Time(), metavar="TIME", help="Begin of the period, with its zone.")
_AS_AT = click.option(
    "--as-at", type=Time(), metavar="TIME", help="Cut-off, with its zone; default: the last event, or row of interest."
)
_FORMAT = click.option(
    "--format", "suffix", type=click.Choice(["parquet", "csv"]), default="parquet", show_default=True
)


@click.group()
def interest() -> None:
    """Compute interest, compare it with what was charged, or find out how it was charged."""


@interest.command()
@click.argument("events", nargs=-1, required=True, type=FILE)
@click.option("--rates", type=FILE, required=True, metavar="FILE", help="time, currency or instrument, rate, unit.")
@_POLICY
@_OUT
@_MARKS
@_POLICIES
@_BEGIN
@_AS_AT
@_FORMAT
@REFUSALS
def accrue(
    events: tuple[Path, ...],
    rates: Path,
    policy: str,
    out: Path,
    marks: Path | None,
    policies: tuple[str, ...],
    begin: datetime | None,
    as_at: datetime | None,
    suffix: str,
    refusals: Path | None,
) -> None:
    """Replay EVENTS with interest computed from RATES; interest among the events is left out.

    \b
    Examples:
      margin-ledger interest accrue fills.csv --rates rates.csv --out books
      margin-ledger interest accrue fills.csv --rates rates.csv --interest-policy desk.toml --out books
      margin-ledger interest accrue fills.csv --rates rates.csv --as-at 2025-01-31T14:37:00Z --out books
    """
    with errors_told(refusals):
        from ledger.files import replay_files
        from ledger.interest.policy import find_policy
        from ledger.interest.request import InterestRequest
        from ledger.policies import Policies
        from ledger.request import Request

        _in_order(begin, as_at)
        asked = InterestRequest(find_policy(policy), rates, begin=begin)
        request = Request(events, marks, Policies.parse(list(policies)), as_at, asked)
        with progress_told() as progress:
            checks = replay_files(request, out, suffix, progress)
        tell(out, checks)
        sys.exit(exit_code(checks))


@interest.command()
@click.argument("rows", nargs=-1, type=FILE)
@_EVENTS
@_RATES
@_POLICY
@_ACCOUNT
@_OUT
@_MARKS
@_POLICIES
@_BEGIN
@_AS_AT
@_FORMAT
@REFUSALS
def reperform(
    rows: tuple[Path, ...],
    events: tuple[Path, ...],
    rates: Path | None,
    policy: str,
    account: str | None,
    out: Path,
    marks: Path | None,
    policies: tuple[str, ...],
    begin: datetime | None,
    as_at: datetime | None,
    suffix: str,
    refusals: Path | None,
) -> None:
    """Compare the exchange's ROWS of interest, hour by hour, with what was due, and say why they differ.

    ROWS are accrued interest or bills (OKX), interest history (Binance) or columns of our own, as JSON, CSV, Parquet
    or NDJSON. With events, rows are put to positions and the whole is replayed, and interest among the events is left
    out; without rows, that is what is compared; without events, what was due is on the liabilities the rows state.

    \b
    Examples:
      margin-ledger interest reperform interest-accrued.json --out books
      margin-ledger interest reperform interest.csv --events fills.csv --rates rates.csv --out books
      margin-ledger interest reperform --events events.csv --rates rates.csv --out books
    """
    with errors_told(refusals):
        from ledger.files import replay_files
        from ledger.interest.policy import find_policy
        from ledger.interest.request import InterestRequest
        from ledger.interest.run import reperform_files
        from ledger.policies import Policies
        from ledger.request import Request
        from reports.commands.interest_summary import comparison_told

        _need_one(rows, events)
        _in_order(begin, as_at)
        asked = InterestRequest(find_policy(policy), rates, rows, account, begin)
        if events:
            request = Request(events, marks, Policies.parse(list(policies)), as_at, asked)
            with progress_told() as progress:
                checks = replay_files(request, out, suffix, progress)
            tell(out, checks)
        else:
            _need_events(marks=marks, policy=policies, as_at=as_at, begin=begin)
            checks = reperform_files(asked, out, suffix)
        for line in comparison_told(out):
            click.echo(line)
        sys.exit(exit_code(checks))


@interest.command()
@click.argument("rows", nargs=-1, type=FILE)
@_EVENTS
@_RATES
@_POLICY
@_ACCOUNT
@_POLICIES
@click.option("--out", type=FILE, metavar="FILE.csv", help="Write every count to this file, too.")
@REFUSALS
def identify(
    rows: tuple[Path, ...],
    events: tuple[Path, ...],
    rates: Path | None,
    policy: str,
    account: str | None,
    policies: tuple[str, ...],
    out: Path | None,
    refusals: Path | None,
) -> None:
    """Find out how the exchange charged: how many of its ROWS each way to charge gives to the last digit.

    Ways that explain the same rows are shown as tied. Exit code 0: all rows are explained; 1: some are not.

    \b
    Examples:
      margin-ledger interest identify interest-accrued.json
      margin-ledger interest identify interest.csv --events fills.csv --rates rates.csv
    """
    with errors_told(refusals):
        from ledger.interest.policy import find_policy
        from ledger.interest.request import InterestRequest
        from ledger.interest.run import identify_files
        from ledger.policies import Policies
        from reports.commands.interest_summary import identified_told

        _need_one(rows, events)
        asked = InterestRequest(find_policy(policy), rates, rows, account)
        found = identify_files(asked, events, Policies.parse(list(policies)))
        for line in identified_told(found):
            click.echo(line)
        if out is not None:
            found.fits.write_csv(out)
            click.echo(f"Wrote {out}")
        agrees = (found.comparison.interest["difference"] == 0).all()
        sys.exit(OK if agrees else BREAKS)


def _need_one(rows: tuple[Path, ...], events: tuple[Path, ...]) -> None:
    if not rows and not events:
        raise click.UsageError("Give files with the exchange's rows of interest, or events with interest (--events).")


def _in_order(begin: datetime | None, as_at: datetime | None) -> None:
    if begin is not None and as_at is not None and begin > as_at:
        raise click.UsageError("--from lies after --as-at.")


def _need_events(**options: object) -> None:
    given = [f"--{name.replace('_', '-').replace('begin', 'from')}" for name, value in options.items() if value]
    if given:
        raise click.UsageError(f"{', '.join(given)}: only with --events.")
