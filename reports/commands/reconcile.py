"""The commands `margin-ledger import` and `reconcile`: exchange files read, and the ledger compared with them."""

import sys
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from reports.commands.reconcile_options import (
    ACCOUNT,
    AS_AT,
    FORMAT,
    LAYOUT,
    LEVERAGE,
    MARGIN_CURRENCY,
    MODE,
    OUT,
    ListsOfFiles,
    amounts_of,
    defaults_of,
    interest_of,
    layouts_of,
    tolerances_of,
)
from reports.commands.terminal import (
    BREAKS,
    DETAIL_ROWS,
    FILE,
    OK,
    REFUSALS,
    Time,
    errors_told,
    exit_code,
    progress_told,
    refuse_bad_place,
    write_and_tell,
)

if TYPE_CHECKING:
    import polars as pl

    from ledger.reconciliation.request import ReconcileRequest
    from reports.previous_kept import Target


@click.command("import")
@click.argument("files", nargs=-1, type=FILE)
@click.option("--out", type=FILE, metavar="DIR", help="Folder for events, statements, certificate.")
@click.option("--layouts", "list_layouts", is_flag=True, help="List the layouts that are known, and stop.")
@LAYOUT
@ACCOUNT
@MARGIN_CURRENCY
@MODE
@LEVERAGE
@FORMAT
@REFUSALS
def import_files(
    files: tuple[Path, ...],
    out: Path | None,
    list_layouts: bool,
    layouts: tuple[str, ...],
    account: str | None,
    margin_currency: str | None,
    mode: str | None,
    leverage: str | None,
    suffix: str,
    refusals: Path | None,
) -> None:
    """Read exchange FILES and say what each row is: canonical events, control totals, a completeness certificate.

    FILES are bills, fills, interest, positions, Trading History (OKX), trades, interest, loans, transfers, statements,
    accounts (Binance), canonical events or adjustments; CSV, JSON, NDJSON, Parquet, .xlsx, plain, .gz or .zip.

    \b
    Examples:
      margin-ledger import bills-2025q1.zip --out read
      margin-ledger import bills.json fills.json --account desk --out read
      margin-ledger import trades.json --margin-currency quote --leverage 5 --out read

    Exit codes: 0 complete, 1 a control of the certificate fails, 2 bad input.
    """
    with errors_told(refusals):
        from ledger.statements.importing import import_statements
        from ledger.statements.layouts import LAYOUTS, NAMES
        from reports.commands.reconciliation_summary import imported_told

        if list_layouts:
            for name in NAMES:
                titles = "; ".join(layout.title for layout in LAYOUTS if layout.name == name)
                click.echo(f"{name:24} {titles}")
            return
        if not files or out is None:
            raise click.UsageError("Give the files to read, and --out DIR.")
        defaults = defaults_of(account, margin_currency, mode, leverage)
        with progress_told() as progress:
            frames = import_statements(files, out, defaults, layouts_of(layouts, files), account, suffix, progress)
        for line in imported_told(frames):
            click.echo(line)
        click.echo(f"{frames['events'].height:,} events in {out / 'events'}.{suffix}")
        sys.exit(BREAKS if (frames["certificate"]["outcome"] == "fail").any() else OK)


@click.command(cls=ListsOfFiles)
@click.option(
    "--ledger", required=True, multiple=True, type=FILE, metavar="FILES...", help="What the ledger is made of."
)
@click.option("--exchange", multiple=True, type=FILE, metavar="FILES...", help="What the exchange states.")
@click.option("--opening", multiple=True, type=FILE, metavar="FILES...", help="Position snapshots to begin with.")
@click.option(
    "--opening-at", type=Time(), metavar="TIME", help="Time of the opening balances; default: the snapshot's."
)
@click.option(
    "--snapshot-at", type=Time(), metavar="TIME", help="When the snapshots were taken; default: their last change."
)
@OUT
@click.option("--report", type=FILE, metavar="OUT.xlsx", help="Write the workbook, too.")
@DETAIL_ROWS
@click.option(
    "--previous",
    type=FILE,
    metavar="OLD.xlsx",
    help="Workbook of the run before: owner, status and comment of its breaks are carried on.",
)
@LAYOUT
@ACCOUNT
@MARGIN_CURRENCY
@MODE
@LEVERAGE
@click.option("--marks", type=FILE, metavar="FILE", help="Mark prices and rates, to value what no snapshot values.")
@click.option("--rates", type=FILE, metavar="FILE", help="Rates of interest; what was charged is then re-performed.")
@click.option(
    "--interest-policy", metavar="NAME|FILE.toml[:NAME]", help="With --rates: how interest is charged; default: okx."
)
@click.option("--policy", "policies", multiple=True, metavar="NAME=VALUE", help="A policy of the replay.")
@AS_AT
@click.option(
    "--tolerance", "tolerances", multiple=True, metavar="FIGURE=AMOUNT", help="Largest difference that is no break."
)
@click.option(
    "--materiality",
    multiple=True,
    metavar="[CURRENCY=]AMOUNT",
    help="Mark breaks from this amount on as material; default: all.",
)
@FORMAT
@REFUSALS
def reconcile(ledger: tuple[Path, ...], exchange: tuple[Path, ...], **given: Any) -> None:
    """Rebuild the ledger from files, compare it with what the exchange states, and say why they differ.

    --ledger names the files the ledger is rebuilt from: bills, fills, interest, canonical events, adjustments (.xlsx).
    --exchange names what the exchange states: position snapshots, and bills, fills or interest, whose events are
    then compared one by one. The same file may stand on both sides.

    With --rates each charge of the exchange (where its files have none, of the ledger) is compared with what is due on
    the liability of the ledger, as `margin-ledger interest reperform` does it; one that differs is exit code 1.

    With --previous what reviewers wrote on the sheet Breaks is carried on, breaks are aged from when they were first
    seen, and those that now agree are listed as resolved. A break that is settled (accepted, corrected) is open again
    if its amount is another. OLD.xlsx may be OUT.xlsx: it is read first, and kept as OUT.before.xlsx if it was saved
    by hand.

    \b
    Examples:
      margin-ledger reconcile --ledger bills.zip --exchange positions.json --out books --report books.xlsx
      margin-ledger reconcile --ledger bills.zip --exchange positions.json --out books --report books.xlsx \\
          --previous books.xlsx
      margin-ledger reconcile --ledger house.csv --exchange bills.json interest.json positions.json --out books
      margin-ledger reconcile --ledger bills.csv adjustments.xlsx --exchange positions.json \\
          --opening positions-2024.json --materiality USDT=0.01 --out books
      margin-ledger reconcile --ledger house.csv --exchange bills.json interest.json --rates rates.csv --out books

    Exit codes: 0 reconciled, 1 breaks or a control that fails, 2 bad input.
    """
    with errors_told(given["refusals"]):
        from ledger.policies import Policies
        from ledger.reconciliation.breaks import Tolerances
        from ledger.reconciliation.request import ReconcileRequest
        from reports.previous import read_previous
        from reports.previous_kept import Target

        report: Path | None = given["report"]
        if report is not None:
            refuse_bad_place(report)
        target = None if report is None else Target.of(report)
        previous: Path | None = given["previous"]
        materiality = amounts_of("--materiality", given["materiality"])
        every = [*ledger, *exchange, *given["opening"]]
        request = ReconcileRequest(
            ledger=ledger,
            exchange=exchange,
            opening=given["opening"],
            opening_at=given["opening_at"],
            snapshot_at=given["snapshot_at"],
            account=given["account"],
            defaults=defaults_of(given["account"], given["margin_currency"], given["mode"], given["leverage"]),
            layouts=layouts_of(given["layouts"], every),
            marks=given["marks"],
            policies=Policies.parse(list(given["policies"])),
            tolerances=Tolerances(
                figures=tolerances_of(amounts_of("--tolerance", given["tolerances"], named=True)),
                materiality=materiality.pop("", Decimal(0)),
                by_currency=materiality,
            ),
            as_at=given["as_at"],
            interest=interest_of(given["rates"], given["interest_policy"]),
            previous=None if previous is None else read_previous(previous, given["as_at"]),
            previous_file=previous,
        )
        checks = reconciled(request, given["out"], given["suffix"], report, given["detail_rows"], target)
        sys.exit(exit_code(checks))


def reconciled(
    request: "ReconcileRequest",
    out: Path,
    suffix: str = "parquet",
    report: Path | None = None,
    detail_rows: int | None = None,
    target: "Target | None" = None,
) -> "pl.DataFrame":
    """Reconcile into a folder, say what was found, and write the workbook if asked for; returns the checks.

    Raises BadInput with all refusals; then nothing is written. So it does where the workbook would replace one in which
    reviewers wrote what `request.previous` does not have, and, with a `target`, where that is no longer as it says.
    """
    from ledger.reconciliation.run import reconcile_files
    from reports.commands.reconciliation_summary import reconciliation_told
    from reports.detail import refuse_foreign
    from reports.frames import read_frames
    from reports.previous import refuse_loss

    if report is not None:
        refuse_foreign(report)
        refuse_loss(report, request.previous, request.previous_file)
    with progress_told() as progress:
        checks = reconcile_files(request, out, suffix, progress)
    frames = read_frames(out)
    for line in reconciliation_told(frames):
        click.echo(line)
    if report is not None:
        write_and_tell(frames, report, detail_rows, target)
    return checks


@click.command()
@click.argument("workbook", metavar="OUT.xlsx", type=FILE)
def adjustments(workbook: Path) -> None:
    """Write an empty sheet of manual adjustments to fill in; `reconcile --ledger` and `import` read it.

    Each row is an event or an amount with a reason: a missing fill, a change of margin, a write-off. An example and the
    meaning of every column stand in the sheet.

    \b
    Example:
      margin-ledger adjustments adjustments.xlsx

    Exit codes: 0 written, 2 it cannot be written.
    """
    with errors_told(None):
        from ledger.refusals import LedgerError
        from reports.adjustment_template import write_template

        refuse_bad_place(workbook)
        if workbook.exists():
            raise LedgerError(f"{workbook}: there is such a file; choose another name, or move it away")
        write_template(workbook)
        click.echo(f"Wrote {workbook}; fill it in, then: margin-ledger reconcile --ledger FILES... {workbook} ...")
