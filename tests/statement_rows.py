"""Rows of exchange files built in Python, for tests of what is made of them."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import polars as pl

from ledger.money import MONEY
from ledger.statements.merging import ROWS_SCHEMA

START = datetime(2025, 1, 1, tzinfo=UTC)


def frame(*rows):
    """Rows as a frame of ROWS_SCHEMA: of bills of main:BTC-USDT in file 1, unless they say otherwise.

    `minute` is the time; amounts may be text.
    """
    return pl.DataFrame([_full(number, row) for number, row in enumerate(rows, start=1)], schema=ROWS_SCHEMA)


def _full(number, row):
    usual = {"account": "main", "instrument": "BTC-USDT", "layout": "okx-bills", "input": 1, "row": number}
    given = {**usual, **row}
    time = START + timedelta(minutes=given.pop("minute", 0), seconds=given.pop("second", 0))
    full = {**dict.fromkeys(ROWS_SCHEMA), "time": time, **given}
    return {
        name: Decimal(str(value)) if ROWS_SCHEMA[name] == MONEY and value is not None else value
        for name, value in full.items()
    }


def legs(bill, side, quantity, price, *, fee="0", order="o1", trade=None, **others):
    """The two bills of a fill; the fee is taken from what is received."""
    quantity, price, fee = (Decimal(str(value)) for value in (quantity, price, fee))
    meaning = others.pop("meaning", "leg")
    shared = {"meaning": meaning, "price": price, "order_id": order, "trade_id": trade, **others}
    received = {"BTC": quantity, "USDT": quantity * price}
    found = []
    for number, currency in enumerate(("BTC", "USDT") if side == "buy" else ("USDT", "BTC")):
        gross = received[currency]
        paid = fee if number == 0 else Decimal(0)
        found.append(
            {
                "row_id": str(bill + number),
                "side": "sell" if number else "buy",
                "stated_type": f"2/{number + 1}",
                "currency": currency,
                "size": gross,
                "fee": paid,
                "fee_currency": currency if paid else None,
                "change": gross - paid if number == 0 else -gross,
                "account_change": 0,
                **shared,
            }
        )
    return found


def margin(bill, meaning, amount, *, code="332", currency="USDT", order=None, **others):
    """A row on margin; `amount` has no sign."""
    sign = -1 if meaning in ("margin_removed", "margin_returned", "margin_loss") else 1
    change = sign * Decimal(str(amount))
    stated = {"stated_type": f"6/{code}", "size": abs(change), "change": change, "account_change": -change}
    return {"row_id": str(bill), "meaning": meaning, "currency": currency, "order_id": order, **stated, **others}


def interest(bill, amount, *, currency="USDT", **others):
    """A charge of interest."""
    stated = {"stated_type": "7/9", "interest": amount, "change": -Decimal(str(amount)), "size": amount}
    identifier = None if bill is None else str(bill)
    return {"row_id": identifier, "meaning": "interest", "currency": currency, **stated, **others}


def opened(bill=100, **others):
    """Margin of 1,000 posted and 0.1 BTC bought at 100,000, all of order o1."""
    posted = margin(bill, "margin_posted", 1000, order="o1", **others)
    return [posted, *legs(bill + 1, "buy", "0.1", 100_000, fee="0.0001", trade="t1", **others)]
