"""The options of `margin-ledger import` and `reconcile`, and what their texts mean."""

from collections.abc import Iterator, Sequence
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING

import click

from reports.commands.terminal import FILE, Time

if TYPE_CHECKING:
    from ledger.interest.request import InterestRequest
    from ledger.statements.margin_currency import Defaults

ACCOUNT = click.option("--account", metavar="NAME", help="Account of rows that name none.")
MARGIN_CURRENCY = click.option(
    "--margin-currency", metavar="base|quote|CODE", help="Margin currency of positions of which no row states it."
)
MODE = click.option("--mode", type=click.Choice(["old", "new"]), help="Mode of positions of which no row states it.")
LEVERAGE = click.option("--leverage", metavar="NUMBER", help="Leverage where the files state no margin (fills alone).")
LAYOUT = click.option(
    "--from",
    "layouts",
    multiple=True,
    metavar="[FILE=]LAYOUT",
    help="Layout of all files, or of one; default: recognised. `margin-ledger import --layouts` lists them.",
)
OUT = click.option("--out", required=True, type=FILE, metavar="DIR", help="Folder for the frames.")
FORMAT = click.option("--format", "suffix", type=click.Choice(["parquet", "csv"]), default="parquet", show_default=True)
AS_AT = click.option("--as-at", type=Time(), metavar="TIME", help="Leave out what is later (with its zone).")


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


def defaults_of(account: str | None, margin_currency: str | None, mode: str | None, leverage: str | None) -> "Defaults":
    """What neither side's files state."""
    from ledger.statements.margin_currency import Defaults

    return Defaults(account or "main", margin_currency, mode, _number("--leverage", leverage, least=Decimal(1)))


def interest_of(rates: Path | None, policy: str | None) -> "InterestRequest | None":
    """The interest to re-perform, where rates are given."""
    if rates is None:
        if policy is not None:
            raise click.UsageError("--interest-policy: only with --rates.")
        return None
    from ledger.interest.policy import find_policy
    from ledger.interest.request import InterestRequest

    return InterestRequest(find_policy(policy or "okx"), rates)


def layouts_of(given: Sequence[str], files: Sequence[Path]) -> dict[Path, str]:
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


def tolerances_of(tolerances: dict[str, Decimal]) -> dict[str, Decimal]:
    """The tolerances, of figures that are compared."""
    from ledger.reconciliation.figures import FIGURES

    names = sorted({figure.name for figure in FIGURES})
    for name in tolerances:
        if name not in names:
            raise click.UsageError(f"--tolerance {name}: choose a figure from {', '.join(names)}")
    return tolerances


def amounts_of(option: str, given: Sequence[str], named: bool = False) -> dict[str, Decimal]:
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
