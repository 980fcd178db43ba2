"""Frames and example files as plain rows of exact fractions, so that tests compare with ==."""

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import oracle
import strategies

import ledger
from ledger.columns import EVENTS
from ledger.money import MONEY

FIXTURES = Path(__file__).parent.parent / "fixtures"
AMOUNTS = {column.name for column in EVENTS if column.dtype == MONEY}


def fractions(row):
    """The row with every decimal as a fraction."""
    return {name: Fraction(value) if isinstance(value, Decimal) else value for name, value in row.items()}


def rows_of(frame):
    """All rows of a frame, decimals as fractions."""
    return [fractions(row) for row in frame.iter_rows(named=True)]


def read(folder, name):
    """The content of one fixture file."""
    return json.loads((FIXTURES / folder / name).read_text(encoding="utf-8"))


def run(events, policies=()):
    """The engine's run over events that are plain dicts; `policies` are NAME=VALUE texts."""
    return ledger.replay(strategies.frame(events), policies=ledger.Policies.parse(list(policies)))


def oracle_policies(policies):
    """The same policies as the oracle takes them."""
    return oracle.DEFAULTS | dict(text.split("=") for text in policies)


def event(number, **values):
    """An event of main:BTC-USDT:USDT; `number` is its minute and its row, amounts may be text."""
    time = datetime(2024, 1, 1, tzinfo=UTC) + timedelta(minutes=number)
    place = {"time": time, "event_id": str(number), "input": 1, "row": number}
    whose = {
        "account": "main",
        "instrument": "BTC-USDT",
        "margin_currency": "USDT",
        "mode": "new",
        "kind": "fill",
    }
    given = {
        name: Fraction(value) if name in AMOUNTS and value is not None else value for name, value in values.items()
    }
    return strategies.BLANK | place | whose | given


def events_of(example):
    """The events of an example of rules.md."""
    currency = {"base": "BTC", "quote": "USDT"}[example["margin_currency"]]
    common = {"mode": example["mode"], "margin_currency": currency}
    return [event(number, **common, **given) for number, given in enumerate(example["events"], start=1)]
