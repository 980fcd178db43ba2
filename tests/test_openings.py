"""Histories that are cut in the middle: begun with a snapshot of the exchange, they end as the whole history does."""

import json
from datetime import timedelta
from fractions import Fraction
from itertools import product
from pathlib import Path
from random import Random

import exchange_events
import exchange_files
import exchange_snapshots
import exchange_truth
import oracle
import polars as pl
import pytest
from exact import rows_of
from exchange_events import name_of

from ledger import BadInput, ReconcileRequest, reconcile_files

CASES = list(product(exchange_truth.CASES, ("old", "new")))
every_case = pytest.mark.parametrize(("case", "mode"), CASES, ids=[f"{case}-{mode}" for case, mode in CASES])
BALANCES = ("base_leg", "quote_leg", "margin")
SECOND = timedelta(seconds=1)


def position_of(case, mode, seed=0):
    """The history of one position, and a moment at which it is open as this case, and in this mode."""
    for number in range(seed * 1000, seed * 1000 + 1000):
        events = exchange_truth.history(Random(number), events=(14, 30), ends_open=True)["events"]
        moment = events[len(events) // 2]["time"]
        (state,) = exchange_events.states(events, moment).values()
        if state["direction"] and oracle.case_of(state) == case and state["mode"] == mode:
            return events, moment
    raise ValueError("no such history")


def account_of(seed, positions=6):
    """The histories of several positions, and a moment in their middle."""
    events = exchange_truth.history(Random(seed), positions=positions, events=(10, 30))["events"]
    return events, events[len(events) // 2]["time"]


def after(events, moment):
    return [event for event in events if event["time"] > moment]


def reconciled(folder, ledger, opening, *, exchange=None, truth=None, **asked):
    """The frames of a reconciliation of these events, begun with these records of positions."""
    folder.mkdir(exist_ok=True)
    house = exchange_files.write(folder / "ledger.csv", exchange_files.house_ledger(ledger))
    first = exchange_files.write(folder / "opening.json", exchange_files.answer(opening))
    records = exchange_snapshots.position_records(truth or ledger) if exchange is None else exchange
    end = exchange_files.write(folder / "positions.json", exchange_files.answer(records))
    files = [end]
    if truth is not None:
        bills = exchange_files.answer(exchange_files.bill_records(exchange_files.bills(truth)))
        files.append(exchange_files.write(folder / "bills.json", bills))
    given = {"account": exchange_truth.ACCOUNT} | asked
    request = ReconcileRequest(ledger=[house], exchange=files, opening=[first], **given)
    checks = reconcile_files(request, folder / "out")
    frames = {path.stem: pl.read_parquet(path) for path in Path(folder / "out").glob("*.parquet")}
    return frames | {"checks": checks}


def ends_of(frames):
    """The last balances of each position of the ledger."""
    last = frames["ledger"].unique("position", keep="last", maintain_order=True)
    return {
        row["position"]: tuple(row[f"{name}_closing"] for name in ("base", "quote", "margin")) for row in rows_of(last)
    }


def true_ends(events):
    return {name: oracle.balances(state) for name, state in exchange_events.states(events).items()}
