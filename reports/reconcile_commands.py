"""The commands `margin-ledger import` and `reconcile`: exchange files read, and the ledger compared with them."""

import sys
from collections.abc import Iterator, Sequence
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from reports.terminal import BREAKS, FILE, OK, REFUSALS, Time, errors_told, exit_code, progress_told

if TYPE_CHECKING:
    import polars as pl

    from ledger.reconciliation.request import ReconcileRequest
    from ledger.statements.margin_currency import Defaults

_ACCOUNT = click.option("--account", metavar="NAME", help="Account of rows that name none.")
_MARGIN = click.option(
    "--margin-currency", metavar="base|quote|CODE", help="Margin currency of positions of which no row states it."
)
_MODE = click.option("--mode", type=click.Choice(["old", "new"]), help="Mode of positions of which no row states it.")
_LEVERAGE = click.option("--leverage", metavar="NUMBER", help="Leverage where the files state no margin (fills alone).")
_LAYOUT = click.option(
    "--from",
    "layouts",
    multiple=True,
    metavar="[FILE=]LAYOUT",
    help="Layout of all files, or of one; default: recognised. `margin-ledger import --layouts` lists them.",
)
_OUT = click.option("--out", required=True, type=FILE, metavar="DIR", help="Folder for the frames.")
_FORMAT = click.option(
    "--format", "suffix", type=click.Choice(["parquet", "csv"]), default="parquet", show_default=True
)
_AS_AT = click.option("--as-at", type=Time(), metavar="TIME", help="Leave out what is later (with its zone).")


class ListsOfFiles(click.Command):
    """A command of which some options take all names up to the next option: `--ledger a.csv b.csv --exchange ...`."""

    lists = ("--ledger", "--exchange", "--opening")

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Repeat the option before each of its names, as click has it."""
        return super().parse_args(ctx, list(self._repeated(args)))

    def _repeated(self, args: Sequence[str]) -> Iterator[str]:
        current = ""
        for place, word in enumerate(args):
            if word in self.lists:
                current = word
                if place + 1 == len(args) or args[place + 1].startswith("-"):
                    raise click.BadOptionUsage(word, f"Option {word} needs the name of a file.")
                continue
            if word.startswith("-") and word != "-":
                current = ""
            if current:
                yield current
            yield word


@click.command("import")
@click.argument("files", nargs=-1, type=FILE)
@click.option("--out", type=FILE, metavar="DIR", help="Folder for events, statements, certificate.")
@click.option("--layouts", "list_layouts", is_flag=True, help="List the layouts that are known, and stop.")
@_LAYOUT
@_ACCOUNT
@_MARGIN
@_MODE
@_LEVERAGE
@_FORMAT
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
        from reports.reconciliation_summary import imported_told

        if list_layouts:
            for name in NAMES:
                titles = "; ".join(layout.title for layout in LAYOUTS if layout.name == name)
                click.echo(f"{name:24} {titles}")
            return
        if not files or out is None:
            raise click.UsageError("Give the files to read, and --out DIR.")
        defaults = _defaults(account, margin_currency, mode, leverage)
        with progress_told() as progress:
            frames = import_statements(files, out, defaults, _layouts(layouts, files), account, suffix, progress)
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
@_OUT
@click.option("--report", type=FILE, metavar="OUT.xlsx", help="Write the workbook, too.")
@_LAYOUT
@_ACCOUNT
@_MARGIN
@_MODE
@_LEVERAGE
@click.option("--marks", type=FILE, metavar="FILE", help="Mark prices and rates, to value what no snapshot values.")
@click.option("--policy", "policies", multiple=True, metavar="NAME=VALUE", help="A policy of the replay.")
@_AS_AT
@click.option(
    "--tolerance", "tolerances", multiple=True, metavar="FIGURE=AMOUNT", help="Largest difference that is no break."
)
@click.option(
    "--materiality",
    multiple=True,
    metavar="[CURRENCY=]AMOUNT",
    help="Mark breaks from this amount on as material; default: all.",
)
@_FORMAT
@REFUSALS
def reconcile(ledger: tuple[Path, ...], exchange: tuple[Path, ...], **given: Any) -> None:
    """Rebuild the ledger from files, compare it with what the exchange states, and say why they differ.

    --ledger names the files the ledger is rebuilt from: bills, fills, interest, canonical events, adjustments (.xlsx).
    --exchange names what the exchange states: position snapshots, and bills, fills or interest, whose events are
    then compared one by one. The same file may stand on both sides.

    \b
    Examples:
      margin-ledger reconcile --ledger bills.zip --exchange positions.json --out books --report books.xlsx
      margin-ledger reconcile --ledger house.csv --exchange bills.json interest.json positions.json --out books
      margin-ledger reconcile --ledger bills.csv adjustments.xlsx --exchange positions.json \\
          --opening positions-2024.json --materiality USDT=0.01 --out books

    Exit codes: 0 reconciled, 1 breaks or a control that fails, 2 bad input.
    """
    with errors_told(given["refusals"]):
        from ledger.policies import Policies
        from ledger.reconciliation.breaks import Tolerances
        from ledger.reconciliation.request import ReconcileRequest

        report: Path | None = given["report"]
        if report is not None:
            _refuse_bad_place(report)
        materiality = _amounts("--materiality", given["materiality"])
        every = [*ledger, *exchange, *given["opening"]]
        request = ReconcileRequest(
            ledger=ledger,
            exchange=exchange,
            opening=given["opening"],
            opening_at=given["opening_at"],
            snapshot_at=given["snapshot_at"],
            account=given["account"],
            defaults=_defaults(given["account"], given["margin_currency"], given["mode"], given["leverage"]),
            layouts=_layouts(given["layouts"], every),
            marks=given["marks"],
            policies=Policies.parse(list(given["policies"])),
            tolerances=Tolerances(
                figures=_figures(_amounts("--tolerance", given["tolerances"], named=True)),
                materiality=materiality.pop("", Decimal(0)),
                by_currency=materiality,
            ),
            as_at=given["as_at"],
        )
        sys.exit(exit_code(reconciled(request, given["out"], given["suffix"], report)))


def reconciled(
    request: "ReconcileRequest", out: Path, suffix: str = "parquet", report: Path | None = None
) -> "pl.DataFrame":
    """Reconcile into a folder, say what was found, and write the workbook if asked for; returns the checks.

    Raises BadInput with all refusals; then nothing is written.
    """
    from ledger.reconciliation.run import reconcile_files
    from reports.reconciliation_summary import reconciliation_told
    from reports.workbook import read_frames, write_workbook

    with progress_told() as progress:
        checks = reconcile_files(request, out, suffix, progress)
    frames = read_frames(out)
    for line in reconciliation_told(frames):
        click.echo(line)
    if report is not None:
        write_workbook(frames, report)
        click.echo(f"Wrote {report}")
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

        _refuse_bad_place(workbook)
        if workbook.exists():
            raise LedgerError(f"{workbook}: there is such a file; choose another name, or move it away")
        write_template(workbook)
        click.echo(f"Wrote {workbook}; fill it in, then: margin-ledger reconcile --ledger FILES... {workbook} ...")


def _refuse_bad_place(workbook: Path) -> None:
    """Say before the work what could only fail after it."""
    from ledger.refusals import LedgerError

    if workbook.suffix.lower() != ".xlsx":
        raise LedgerError(f"{workbook}: give the workbook a name that ends with .xlsx")
    if workbook.is_dir() or not workbook.parent.is_dir():
        raise LedgerError(f"{workbook}: cannot be written; give a file in a folder that exists")


def _defaults(account: str | None, margin_currency: str | None, mode: str | None, leverage: str | None) -> "Defaults":
    from ledger.statements.margin_currency import Defaults

    return Defaults(account or "main", margin_currency, mode, _number("--leverage", leverage, least=Decimal(1)))


def _layouts(given: Sequence[str], files: Sequence[Path]) -> dict[Path, str]:
    """The layout of each file for which one is given."""
    from ledger.statements.layouts import NAMES

    found: dict[Path, str] = {}
    for text in given:
        file, _, name = text.rpartition("=")
        if name not in NAMES:
            raise click.UsageError(f"--from {text}: choose a layout from {', '.join(NAMES)}")
        chosen = [path for path in files if not file or path == Path(file)]
        if not chosen:
            raise click.UsageError(f"--from {text}: {file} is none of the files given")
        found.update(dict.fromkeys(chosen, name))
    return found


def _figures(tolerances: dict[str, Decimal]) -> dict[str, Decimal]:
    from ledger.reconciliation.figures import FIGURES

    names = sorted({figure.name for figure in FIGURES})
    for name in tolerances:
        if name not in names:
            raise click.UsageError(f"--tolerance {name}: choose a figure from {', '.join(names)}")
    return tolerances


def _amounts(option: str, given: Sequence[str], named: bool = False) -> dict[str, Decimal]:
    """Amounts by name; the name may be left out unless `named`."""
    found: dict[str, Decimal] = {}
    for text in given:
        name, equals, amount = text.rpartition("=")
        if named and not equals:
            raise click.UsageError(f"{option} {text}: write FIGURE=AMOUNT")
        number = _number(option, amount, least=Decimal(0))
        if number is not None:
            found[name] = number
    return found


def _number(option: str, text: str | None, least: Decimal) -> Decimal | None:
    if text is None:
        return None
    try:
        number = Decimal(text)
    except InvalidOperation:
        number = Decimal("NaN")
    if not number.is_finite() or number < least or number >= 10**17 or number != number.quantize(Decimal("1e-18")):
        raise click.UsageError(f"{option} {text}: give a number of at least {least}, for example {least + 1}")
    return number
