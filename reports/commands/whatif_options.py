"""The options of `margin-ledger whatif`: what their texts mean, the files they name, and the file that is written."""

import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    import polars as pl

    from ledger.policies import Policies
    from ledger.risk.order_changes import Proposal

    Reader = tuple[Callable[[Any], pl.DataFrame], Any]
    """What reads, and the file or files to read; nothing where none is given."""

_NEEDED = ("instrument", "margin_currency", "side", "quantity", "price")


class Amount(click.ParamType[Decimal]):
    """A number with all its digits."""

    name = "amount"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Decimal:
        """The amount of a text."""
        from ledger.cells import judge_amount

        found = judge_amount(str(value))
        if not isinstance(found, Decimal):
            self.fail(f"{value!r}: {found.rule} {found.remedy}", param, ctx)
        return found


AMOUNT = Amount()


def named_amounts(option: str, given: Sequence[str]) -> dict[str, Decimal]:
    """The amounts of NAME=AMOUNT texts."""
    found: dict[str, Decimal] = {}
    for text in given:
        name, equals, amount = text.rpartition("=")
        if not (equals and name):
            raise click.UsageError(f"{option} {text}: write NAME=NUMBER")
        if name in found:
            raise click.UsageError(f"{option} {text}: {name} is given twice")
        found[name] = _amount(option, amount)
    return found


def prices_of(given: Sequence[str]) -> Decimal | dict[str, Decimal] | None:
    """One price for all, or prices by instrument."""
    if len(given) == 1 and "=" not in given[0]:
        return _amount("--price", given[0])
    if any("=" not in text for text in given) and any("=" in text for text in given):
        raise click.UsageError("--price: give one price for all, or INSTRUMENT=PRICE for each, not both")
    return named_amounts("--price", given) or None


def _amount(option: str, text: str) -> Decimal:
    try:
        return AMOUNT.convert(text, None, None)
    except click.BadParameter as bad:
        raise click.UsageError(f"{option} {bad.message}") from None


def proposal_of(position: str, add: Decimal | None, reduce: Decimal | None, leverage: Decimal | None) -> "Proposal":
    """The one change that is asked about."""
    from ledger.risk.order_changes import Proposal

    if sum(amount is not None for amount in (add, reduce, leverage)) != 1:
        raise click.UsageError("Give one of --add-margin, --reduce-margin and --leverage.")
    for option, amount in (("--add-margin", add), ("--reduce-margin", reduce)):
        if amount is not None and amount <= 0:
            raise click.UsageError(f"{option} {amount}: give an amount above zero")
    if leverage is not None and leverage < 1:
        raise click.UsageError(f"--leverage {leverage}: give a leverage of at least 1")
    margin = add if reduce is None else -reduce
    return Proposal(position, margin, leverage)


def one_or_the_other(orders: Path | None, single: Mapping[str, Any]) -> None:
    """Refuse a file of orders together with a single order, neither, and a single order that lacks something."""
    given = [name for name, value in single.items() if value is not None]
    if orders is not None and given:
        raise click.UsageError(f"{_options(given)}: only for a single order, without the file {orders}.")
    missing = [name for name in _NEEDED if single[name] is None]
    if orders is None and missing:
        raise click.UsageError(f"Give a file of orders, or a single order: {_options(missing)} is missing.")


def _options(names: Iterable[str]) -> str:
    return ", ".join(f"--{name.replace('_', '-')}" for name in names)


def single_order(single: Mapping[str, Any]) -> "pl.DataFrame":
    """The single order of the options (columns ORDERS)."""
    import polars as pl

    from ledger.columns import schema
    from ledger.risk.order_columns import ORDERS

    values = {**single, "order_id": "order", "account": single["account"] or "main"}
    values["reduce_only"] = bool(single["reduce_only"])
    row = {name: values.get(name) for name in schema(ORDERS)}
    return pl.DataFrame([row], schema=schema(ORDERS), orient="row")


# --- files ------------------------------------------------------------------------------------------------------


def events_of(paths: Sequence[Path], policies: "Policies") -> "Reader":
    """Reads the events, if any are given."""
    from ledger.files import read_events

    return lambda files: read_events(files, policies), paths or None


def readers_of(tiers: Path | None, balances: Path | None, marks: Path | None) -> "list[Reader]":
    """Read tiers, balances and marks, each if it is given."""
    from ledger.risk.balances_file import read_balances
    from ledger.risk.tiers_file import read_tiers

    return [(read_tiers, tiers), (read_balances, balances), marks_of(marks)]


def marks_of(marks: Path | None) -> "Reader":
    """Reads the marks, if they are given."""
    from ledger.marks import read_marks

    return read_marks, marks


def all_read(*readers: "Reader") -> "list[Any]":
    """What each reader gives, nothing where it has no file. Raises BadInput with all that is wrong with all files."""
    import polars as pl

    from ledger.refusals import BadInput

    found: list[pl.DataFrame | None] = []
    refusals = []
    for read, files in readers:
        try:
            found.append(None if files is None else read(files))
        except BadInput as bad:
            refusals.append(bad.refusals)
    if refusals:
        raise BadInput(pl.concat(refusals))
    return found


def names_of(events: Sequence[Path]) -> dict[int, str]:
    """Names of the event files by number."""
    return {number: str(path) for number, path in enumerate(events, start=1)}


def refuse_out(out: Path | None, inputs: Iterable[Path | None]) -> None:
    """Say before the work that the file to write has a name of no known format, or is one that is read."""
    from ledger.refusals import LedgerError

    if out is None:
        return
    if out.suffix not in (".csv", ".parquet"):
        raise LedgerError(f"{out}: give it a name that ends with .csv or .parquet")
    if out.is_dir():
        raise LedgerError(f"{out}: is a folder; give a file")
    for path in inputs:
        if path is not None and path.resolve() == out.resolve():
            raise LedgerError(f"{out}: is read; give another name")


def write_out(frame: "pl.DataFrame", out: Path | None) -> None:
    """Write the frame, whole or not at all, where a file is asked for, and say so."""
    from ledger.output import write_frame
    from ledger.refusals import LedgerError

    if out is None:
        return
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{out.stem}-", dir=out.parent) as work:
            ready = Path(work, out.name)
            write_frame(frame, ready)
            ready.replace(out)
    except OSError as error:
        raise LedgerError(f"{out}: cannot be written ({error.strerror or error})") from error
    click.echo(f"Wrote {out}")


def tell_lines(lines: Iterable[str]) -> None:
    """Print the lines."""
    for line in lines:
        click.echo(line)
