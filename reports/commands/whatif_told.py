"""What `margin-ledger whatif` says on the terminal: every amount with all its digits."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import polars as pl
from rich.table import Table
from rich.text import Text

from ledger.explain import plain
from reports.commands.summary import rendered

_SHOWN = 20
"""Orders and positions that are shown in full."""

Row = dict[str, Any]


def orders_told(checks: pl.DataFrame) -> Iterator[str]:
    """Lines of text about orders and what the rules say to them (columns ORDER_CHECKS)."""
    for row in checks.head(_SHOWN).iter_rows(named=True):
        yield from _block(_order_title(row), _of_order(row))
    if checks.height > _SHOWN:
        yield f"{_SHOWN} of {checks.height:,} orders are shown; --out FILE.csv has all of them."
    counts = dict(checks["verdict"].value_counts().rows())
    told = [f"{counts[verdict]:,} {words}" for verdict, words in _VERDICTS.items() if verdict in counts]
    yield f"{checks.height:,} order{'s' if checks.height != 1 else ''}: {', '.join(told) or 'none'}."


_VERDICTS = {"accepted": "accepted", "refused": "refused", "not_checked": "not checked"}


def _order_title(row: Row) -> str:
    times = f", {plain(row['leverage'])}x" if row["leverage"] is not None else ""
    only = ", reduce-only" if row["reduce_only"] else ""
    whose = f"{row['account']}:{row['instrument']}:{row['margin_currency']}"
    return f"{row['order_id']}: {row['side']} {plain(row['quantity'])} at {plain(row['price'])}{times}{only} on {whose}"


def _of_order(row: Row) -> Iterator[tuple[str, str]]:
    base, _, quote = row["instrument"].partition("-")
    margin = row["margin_currency"]
    yield "verdict", _VERDICTS[row["verdict"]]
    if row["rule"]:
        yield "because", row["rule"]
    if row["note"]:
        yield "note", row["note"]
    if row["effect"] is None:
        return
    yield "it would", _EFFECTS[row["effect"]]
    yield "need", _money(row["need"], margin)
    yield from _stated("available", row["available"], margin)
    yield from _stated("adjusted equity", row["adjusted_equity"])
    yield from _stated("hold equity", row["hold_equity"])
    yield "fee", _money(row["fee"], row["fee_currency"])
    yield "account", f"{_signed(row['account_base'], base)}, {_signed(row['account_quote'], quote)}"
    yield from _stated("realised PnL", row["realised_pnl"], margin)
    if row["direction"] is not None:
        yield from _position_after(row, base, quote)


_EFFECTS = {
    "open": "open a position",
    "increase": "increase the position",
    "reduce": "reduce the position",
    "close": "close the position",
    "reverse": "close the position and open the opposite one",
}


def _position_after(row: Row, base: str, quote: str) -> Iterator[tuple[str, str]]:
    asset, owed = (base, quote) if row["direction"] == "long" else (quote, base)
    margin = row["margin_currency"]
    yield "after it", f"{row['direction']}, {row['mode']} mode"
    yield "assets shown, old mode", _money(row["assets_shown_old"], asset)
    yield "assets shown, new mode", _money(row["assets_shown_new"], asset)
    yield "liability shown", _money(row["liability_shown"], owed)
    yield "margin", _money(row["margin"], margin)
    yield "entry price", _text(row["entry_price"])
    if row["tier"] is not None:
        most = "" if row["maximum_leverage"] is None else f", leverage at most {plain(row['maximum_leverage'])}"
        yield "tier", f"{row['tier']}{most}"
    source = "mark price" if row["priced_at"] == "mark" else "order price, in place of a mark"
    yield source, _text(row["mark_price"])
    yield "margin ratio", _text(row["margin_ratio"])
    yield "liquidation price", _text(row["liquidation_price"])


def closes_told(closes: pl.DataFrame) -> Iterator[str]:
    """Lines of text about what closes each open position (columns CLOSES)."""
    for row in closes.head(_SHOWN).iter_rows(named=True):
        title = f"{row['position']}#{row['episode']}: {row['direction']}, {row['mode']} mode"
        yield from _block(title, _of_close(row))
    if closes.height > _SHOWN:
        yield f"{_SHOWN} of {closes.height:,} open positions are shown; --out FILE.csv has all of them."
    if closes.is_empty():
        yield "No position is open."


def _of_close(row: Row) -> Iterator[tuple[str, str]]:
    base, quote, margin = row["base_currency"], row["quote_currency"], row["margin_currency"]
    if row["note"]:
        yield "note", row["note"]
        return
    source = "the mark price" if row["priced_at"] == "mark" else "the price given"
    yield "order", f"{row['side']} {plain(row['quantity'])} {base}, reduce-only, at {plain(row['price'])}, {source}"
    yield "closes exactly", _money(row["needed_quantity"], base)
    yield from _stated("lot size", row["lot_size"], base)
    yield ("costs" if row["side"] == "buy" else "yields"), _money(row["order_value"], quote)
    yield "fee", _money(row["fee"], row["fee_currency"])
    yield "realised PnL", _money(row["realised_pnl"], margin)
    yield "returned", _money(row["returned"], margin)
    if row["leftover_base"] or row["leftover_quote"]:
        yield "left over", f"{_signed(row['leftover_base'], base)}, {_signed(row['leftover_quote'], quote)}"
    yield "account", f"{_signed(row['account_base'], base)}, {_signed(row['account_quote'], quote)}"
    if row["pending_quantity"]:
        yield "pending reduce-only", _money(row["pending_quantity"], base)
    yield "largest reduce-only", _money(row["largest_reduce_only"], base)


def change_told(log: pl.DataFrame) -> Iterator[str]:
    """Lines of text about a change that is asked about (columns MARGIN_CHANGE_LOG)."""
    for row in log.iter_rows(named=True):
        title = f"{row['position']}#{row['episode']}: {row['change'].replace('_', ' ')}"
        yield from _block(f"{title} at {row['time']:%Y-%m-%d %H:%M:%S} UTC", _of_change(row))


def _of_change(row: Row) -> Iterator[tuple[str, str]]:
    margin = row["margin_currency"]
    yield "verdict", row["verdict"].replace("_", " ")
    if row["rule"]:
        yield "because", row["rule"]
    yield "margin", f"{plain(row['margin_before'])} {_signed(row['amount'], '')}= {_money(row['margin_after'], margin)}"
    for name, title in _BOTH.items():
        unit = f" {margin}" if name == "equity" else ""
        yield title, f"{_text(row[f'{name}_before'])} -> {_text(row[f'{name}_after'])}{unit}"
    yield from _stated("mark price", row["mark_price"])
    if row["tier"] is not None:
        yield "tier", f"{row['tier']}, leverage at most {_text(row['maximum_leverage'])}"
    yield from _stated("available", row["available"], margin)


_BOTH = {
    "leverage": "leverage",
    "equity": "equity",
    "margin_ratio": "margin ratio",
    "liquidation_price": "liquidation price",
}


def _block(title: str, lines: Iterator[tuple[str, str]]) -> Iterator[str]:
    """A title, and a table of two columns beneath it."""
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 2))
    for name, value in lines:
        table.add_row(Text(name), Text(value))
    yield title
    yield from rendered(table)
    yield ""


def _stated(name: str, amount: Decimal | None, currency: str = "") -> Iterator[tuple[str, str]]:
    if amount is not None:
        yield name, _money(amount, currency)


def _money(amount: Decimal | None, currency: str) -> str:
    return f"{_text(amount)} {currency}".strip() if amount is not None else "-"


def _signed(amount: Decimal, currency: str) -> str:
    return f"{'-' if amount < 0 else '+'} {plain(abs(amount))} {currency}"


def _text(amount: Decimal | None) -> str:
    return "-" if amount is None else plain(amount)
