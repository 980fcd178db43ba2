"""The commands `margin-ledger whatif ...`: may this order be placed, what closes a position, what would a change do."""

import sys
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import click

from reports.commands.terminal import BREAKS, FILE, OK, REFUSALS, Time, errors_told
from reports.commands.whatif_options import (
    AMOUNT,
    all_read,
    events_of,
    marks_of,
    named_amounts,
    names_of,
    one_or_the_other,
    prices_of,
    proposal_of,
    readers_of,
    refuse_out,
    single_order,
    tell_lines,
    write_out,
)

_EVENTS = click.option(
    "--events", multiple=True, type=FILE, metavar="FILE", help="Events of the positions; repeatable."
)
_BALANCES = click.option("--balances", type=FILE, metavar="FILE", help="time, account, currency, available, ...")
_TIERS = click.option(
    "--tiers", type=FILE, metavar="FILE", help="Tiers: the exchange's answer, announcements, or a table."
)
_MARKS = click.option("--marks", type=FILE, metavar="FILE", help="Mark prices and rates: instrument, mark_price, ...")
_POLICY = click.option("--policy", "policies", multiple=True, metavar="NAME=VALUE", help="Choose a policy; repeatable.")
_OUT = click.option("--out", type=FILE, metavar="FILE", help="Write every column to this file: .csv or .parquet.")
_AS_AT = click.option("--as-at", type=Time(), metavar="TIME", help="Leave out what is later (with its zone).")
_POSITION = click.option("--position", required=True, metavar="NAME", help="ACCOUNT:INSTRUMENT:MARGIN_CURRENCY.")


@click.group()
def whatif() -> None:
    """Ask before acting: check an order, find what closes a position, try a change of margin or leverage.

    Nothing is booked. Exit codes: 0 all is accepted, 1 something is refused or cannot be checked, 2 bad input.
    """


@whatif.command("open")
@click.argument("orders", required=False, type=FILE)
@_EVENTS
@_BALANCES
@_TIERS
@_MARKS
@_POLICY
@click.option("--in-sequence", is_flag=True, help="Accepted orders are filled before the next one is looked at.")
@click.option("--account", metavar="NAME", help="Of a single order; default: main.")
@click.option("--instrument", metavar="BASE-QUOTE", help="Of a single order.")
@click.option("--mode", type=click.Choice(["old", "new"]), help="Of a single order; default: the position's, else new.")
@click.option("--margin-currency", metavar="base|quote|CODE", help="Of a single order.")
@click.option("--side", type=click.Choice(["buy", "sell"]), help="Of a single order.")
@click.option("--quantity", type=AMOUNT, metavar="NUMBER", help="Of a single order, in base currency.")
@click.option("--price", type=AMOUNT, metavar="NUMBER", help="Of a single order.")
@click.option("--leverage", type=AMOUNT, metavar="NUMBER", help="Of a single order; default: the position's.")
@click.option("--reduce-only", is_flag=True, default=None, help="The single order may not open a position.")
@click.option("--fee-rate", type=AMOUNT, metavar="SHARE", help="Of a single order, 0.1 % as 0.001; default: zero.")
@click.option("--time", type=Time(), metavar="TIME", help="When the single order is placed; default: after everything.")
@_OUT
@REFUSALS
def open_orders(
    orders: Path | None,
    events: tuple[Path, ...],
    balances: Path | None,
    tiers: Path | None,
    marks: Path | None,
    policies: tuple[str, ...],
    in_sequence: bool,
    out: Path | None,
    refusals: Path | None,
    **single: Any,
) -> None:
    """Check ORDERS, a file, or a single order: verdict, every rule that refuses it, need, and the position after it.

    ORDERS has order_id, account, instrument, margin_currency, side, quantity, price, and may have mode, leverage,
    reduce_only, fee_rate, time. Each order is judged by itself, as if it were filled whole at its price.

    \b
    Examples:
      margin-ledger whatif open orders.csv --events fills.csv --balances b.csv --tiers tiers.json --marks marks.csv
      margin-ledger whatif open --instrument BTC-USDT --side buy --quantity 1 --price 100000 --leverage 10 \\
        --margin-currency USDT --balances balances.csv --tiers tiers.json
      margin-ledger whatif open orders.csv --in-sequence --balances balances.csv --tiers tiers.json --out checks.csv

    Exit codes: 0 all accepted, 1 one is refused or cannot be checked, 2 bad input.
    """
    one_or_the_other(orders, single)
    with errors_told(refusals):
        from ledger.policies import Policies, parsed
        from ledger.risk.orders import check_orders
        from ledger.risk.orders_file import read_orders
        from ledger.risk.policies import RiskPolicies
        from reports.commands.whatif_told import orders_told

        refuse_out(out, [orders, *events, balances, tiers, marks])
        replay_policies, risk_policies = parsed(policies, (Policies, RiskPolicies))
        asked, known, tier_rows, balance_rows, mark_rows = all_read(
            (read_orders, orders), events_of(events, replay_policies), *readers_of(tiers, balances, marks)
        )
        checks = check_orders(
            single_order(single) if asked is None else asked,
            tier_rows,
            balance_rows,
            mark_rows,
            risk_policies,
            replay_policies,
            known,
            in_sequence=in_sequence,
            files=names_of(events),
        )
        write_out(checks, out)
        tell_lines(orders_told(checks))
        sys.exit(OK if (checks["verdict"] == "accepted").all() else BREAKS)


@whatif.command("close")
@click.argument("events", nargs=-1, required=True, type=FILE)
@_MARKS
@click.option("--price", "prices", multiple=True, metavar="[INSTRUMENT=]PRICE", help="Price to close at; repeatable.")
@click.option("--fee-rate", type=AMOUNT, default="0", metavar="SHARE", help="0.1 % as 0.001; default: zero.")
@click.option("--lot-size", "lots", multiple=True, metavar="INSTRUMENT=SIZE", help="Smallest step of a quantity.")
@click.option("--pending", multiple=True, metavar="POSITION=QUANTITY", help="Pending reduce-only orders of a position.")
@click.option("--position", metavar="NAME", help="Only this one: ACCOUNT:INSTRUMENT:MARGIN_CURRENCY.")
@_POLICY
@_AS_AT
@_OUT
@REFUSALS
def close_positions(
    events: tuple[Path, ...],
    marks: Path | None,
    prices: tuple[str, ...],
    fee_rate: Decimal,
    lots: tuple[str, ...],
    pending: tuple[str, ...],
    position: str | None,
    policies: tuple[str, ...],
    as_at: datetime | None,
    out: Path | None,
    refusals: Path | None,
) -> None:
    """Find what closes each open position of EVENTS: side, quantity, cost or proceeds, and what comes back.

    \b
    Examples:
      margin-ledger whatif close fills.csv interest.csv --marks marks.csv --fee-rate 0.001
      margin-ledger whatif close fills.csv --price 125000 --lot-size BTC-USDT=0.0001 --position main:BTC-USDT:USDT
      margin-ledger whatif close fills.csv --marks marks.csv --pending main:BTC-USDT:USDT=0.5 --out closes.csv

    Exit codes: 0 each has an answer, 1 one has no price or loses more than its margin, 2 bad input.
    """
    if not prices and marks is None:
        raise click.UsageError("Give marks (--marks), or a price (--price).")
    price, sizes, waiting = prices_of(prices), named_amounts("--lot-size", lots), named_amounts("--pending", pending)
    with errors_told(refusals):
        import polars as pl

        from ledger.policies import Policies
        from ledger.positions import positions_of
        from ledger.refusals import LedgerError
        from ledger.risk.closing import closing_orders
        from ledger.risk.order_replay import replayed
        from reports.commands.whatif_told import closes_told

        refuse_out(out, [*events, marks])
        replay_policies = Policies.parse(list(policies))
        known, stated = all_read(events_of(events, replay_policies), marks_of(marks))
        known = known if as_at is None else known.filter(pl.col("time") <= as_at)
        _, ledger, index = replayed(known, replay_policies, names_of(events))
        found = positions_of(ledger, index).filter(pl.col("status") == "open")
        for name in [*waiting, *([] if position is None else [position])]:
            if name not in found["position"]:
                raise LedgerError(
                    f"{name}: no such position is open; open: {', '.join(found['position'][:5]) or 'none'}"
                )
        _refuse_unknown(found["instrument"].to_list(), [*sizes, *(price if isinstance(price, dict) else ())])
        found = found if position is None else found.filter(pl.col("position") == position)
        closes = closing_orders(found, stated, price, fee_rate, sizes, waiting, as_at)
        write_out(closes, out)
        tell_lines(closes_told(closes))
        sys.exit(BREAKS if closes["note"].count() else OK)


def _refuse_unknown(known: Sequence[str], named: Sequence[str]) -> None:
    """Raise LedgerError for an instrument that is named in an option and has no open position: it may be misspelt."""
    from ledger.refusals import LedgerError

    problems = [
        f"{name}: no position of this instrument is open; open: {', '.join(sorted(set(known))[:5]) or 'none'}"
        for name in named
        if name not in known
    ]
    if problems:
        raise LedgerError("\n".join(problems))


@whatif.command("change")
@click.argument("events", nargs=-1, required=True, type=FILE)
@_POSITION
@click.option("--add-margin", type=AMOUNT, metavar="AMOUNT", help="Margin to add, in margin currency.")
@click.option("--reduce-margin", type=AMOUNT, metavar="AMOUNT", help="Margin to take out, in margin currency.")
@click.option("--leverage", type=AMOUNT, metavar="NUMBER", help="Leverage to set.")
@_MARKS
@_TIERS
@_BALANCES
@_POLICY
@_AS_AT
@_OUT
@REFUSALS
def change_position(
    events: tuple[Path, ...],
    position: str,
    add_margin: Decimal | None,
    reduce_margin: Decimal | None,
    leverage: Decimal | None,
    marks: Path | None,
    tiers: Path | None,
    balances: Path | None,
    policies: tuple[str, ...],
    as_at: datetime | None,
    out: Path | None,
    refusals: Path | None,
) -> None:
    """Try a change of margin or leverage of a position of EVENTS: equity, ratio and liquidation price before and after.

    A lower leverage adds the margin that is missing for it; a higher one takes nothing out.

    \b
    Examples:
      margin-ledger whatif change fills.csv --position main:BTC-USDT:USDT --add-margin 500 --balances b.csv
      margin-ledger whatif change fills.csv --position main:BTC-USDT:USDT --reduce-margin 500 --marks marks.csv
      margin-ledger whatif change fills.csv --position main:BTC-USDT:USDT --leverage 5 --balances b.csv --tiers t.json

    Exit codes: 0 allowed, 1 refused or not to be checked, 2 bad input.
    """
    proposal = proposal_of(position, add_margin, reduce_margin, leverage)
    with errors_told(refusals):
        from ledger.policies import Policies, parsed
        from ledger.risk.order_changes import proposed_change
        from ledger.risk.policies import RiskPolicies
        from reports.commands.whatif_told import change_told

        refuse_out(out, [*events, marks, tiers, balances])
        replay_policies, risk_policies = parsed(policies, (Policies, RiskPolicies))
        known, tier_rows, balance_rows, mark_rows = all_read(
            events_of(events, replay_policies), *readers_of(tiers, balances, marks)
        )
        change = proposed_change(
            proposal,
            known,
            marks=mark_rows,
            tiers=tier_rows,
            balances=balance_rows,
            policies=risk_policies,
            replay_policies=replay_policies,
            as_at=as_at,
            files=names_of(events),
        )
        if change.refusal is not None:
            click.echo(f"refused: {change.refusal}")
            sys.exit(BREAKS)
        write_out(change.log, out)
        tell_lines(change_told(change.log))
        sys.exit(OK if (change.log["verdict"] == "allowed").all() else BREAKS)
