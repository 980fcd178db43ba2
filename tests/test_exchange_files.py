"""The generator against itself and against the replay: same states, chains that hold, files that read back."""

import csv
import gzip
import io
import json
import zipfile
from fractions import Fraction
from random import Random

import exchange_events
import exchange_files
import exchange_snapshots
import exchange_truth
import oracle
import polars as pl
import pytest
from exact import rows_of

import ledger
from ledger.feeds import read_files
from ledger.files import Request, read_events, replay_files
from ledger.statements.columns import STATEMENTS
from ledger.statements.layouts import LAYOUTS
from ledger.statements.merging import ROWS_SCHEMA, merged
from ledger.statements.transactions import Defaults, events_of

SEEDS = range(12)
ZERO = Fraction(0)


def made(seed, **asked):
    return exchange_truth.history(Random(seed), positions=1 + seed % 4, events=(5, 80), **asked)["events"]


@pytest.mark.parametrize("seed", SEEDS)
def test_the_replay_of_the_house_ledger_is_the_truth(tmp_path, seed):
    events = made(seed, leftovers=seed % 2 == 1)
    path = exchange_files.write(tmp_path / "ledger.csv", exchange_files.house_ledger(events))
    found = {row["position"]: row for row in rows_of(ledger.replay(read_events([path])).positions)}
    for name, state in exchange_events.states(events).items():
        legs = dict(zip(("base_leg", "quote_leg", "margin"), oracle.balances(state), strict=True))
        assert {leg: found[name][leg] for leg in legs} == legs
        assert found[name]["direction"] == (state["direction"] or found[name]["direction"])


def test_the_files_line_takes_the_house_ledger(tmp_path):
    path = exchange_files.write(tmp_path / "ledger.csv", exchange_files.house_ledger(made(3)))
    checks = replay_files(Request([path]), tmp_path / "out")
    assert checks["failures"].sum() == 0


@pytest.mark.parametrize("seed", SEEDS)
def test_balances_chain_and_end_in_the_state(seed):
    events = made(seed, leftovers=True)
    rows = exchange_files.bills(events)
    assert [int(row["billId"]) for row in rows] == sorted({int(row["billId"]) for row in rows})
    ends = {}
    for row in rows:
        place = (row["instId"], row["ccy"])
        assert row["posBal"] == ends.get(place, ZERO) + row["posBalChg"]
        ends[place] = row["posBal"]
    for state in exchange_events.states(events).values():
        base, quote, margin = oracle.balances(state)
        instrument = f"{state['base_currency']}-{state['quote_currency']}"
        stated = (ends.get((instrument, state["base_currency"])), ends.get((instrument, state["quote_currency"])))
        assert stated == ((base + margin, quote) if state["margin_is_base"] else (base, quote + margin))


@pytest.mark.parametrize("seed", SEEDS)
def test_legs_are_net_of_their_fee(seed):
    for row in exchange_files.bills(made(seed)):
        if row["subType"] in ("1", "2", "102", "103", "106", "107"):
            sign = 1 if row["subType"] in ("1", "102", "106") else -1
            assert row["posBalChg"] == sign * row["sz"] + row["fee"]


def test_files_read_back(tmp_path):
    rows = exchange_files.bills(made(5))
    text = exchange_files.archive(rows)
    packed = exchange_files.write(tmp_path / "bills.csv.gz", text)
    zipped = exchange_files.write(tmp_path / "bills.zip", text)
    assert gzip.decompress(packed.read_bytes()).decode() == text
    with zipfile.ZipFile(zipped) as archive:
        assert archive.read("bills.csv").decode() == text
    read = list(csv.DictReader(io.StringIO(text)))
    stated = json.loads(exchange_files.answer(exchange_files.bill_records(rows)))["data"]
    assert [row["billId"] for row in read] == [row["billId"] for row in stated] == [row["billId"] for row in rows[::-1]]
    assert len(read[0]) == 28
    assert sum(Fraction(row["posBalChg"]) for row in read) == sum(row["posBalChg"] for row in rows)


def test_a_plain_history_fits_the_web_export():
    rows = exchange_files.bills(made(2, plain=True))
    read = list(csv.DictReader(io.StringIO(exchange_files.trading_history(rows).partition("\n")[2])))
    assert [Fraction(row["Position Change"]) for row in read] == [row["posBalChg"] for row in reversed(rows)]


@pytest.mark.parametrize("seed", SEEDS)
def test_snapshots_state_what_is_open(seed):
    events = made(seed, ends_open=True)
    records = exchange_snapshots.position_records(events)
    states = [state for state in exchange_events.states(events).values() if state["direction"]]
    assert len(records) == len(states) > 0
    assert [Fraction(record["liab"]) for record in records] == [-state["debt"] for state in states]


def test_closed_positions_are_listed():
    events = made(4, ends_open=False)
    closes = [row for _, rows, _ in exchange_events.walk(events) for row in rows if row["action"] == "close"]
    assert len(exchange_snapshots.closed_records(events)) == len(closes) > 0


# The package reads what an exchange would give, and comes to the truth


SAID = ("time", "kind", "mode", "side", "quantity", "price", "fee", "amount", "currency")


def read_back(folder, files):
    """The events that the package makes of files."""
    (folder / "unpacked").mkdir()
    paths = [exchange_files.write(folder / name, content) for name, content in files.items()]
    parts = [part for file in read_files(paths, LAYOUTS, {}, folder / "unpacked") for part in file.parts]
    assert not any(part.refusals.height for part in parts)
    rows = pl.concat(
        [part.rows.with_columns(account=pl.lit("main")) for part in parts if part.feed.gives is STATEMENTS]
    )
    found = events_of(merged(rows.select(ROWS_SCHEMA.names())).rows, Defaults(account="main"))
    assert found.refusals.is_empty()
    assert found.alone.is_empty()
    return found.events


def said(event):
    return tuple(event[name] or None for name in SAID)


def bill_files(events, form):
    rows = exchange_files.bills(events)
    files = {
        "json": {"bills.json": exchange_files.answer(exchange_files.bill_records(rows))},
        "archive": {"bills.csv.gz": exchange_files.archive(rows)},
        "fills": {"fills.json": exchange_files.answer(exchange_files.fill_records(events))},
        "interest": {"interest.json": exchange_files.answer(exchange_files.interest_records(events))},
    }
    return (
        files[form]
        if form in ("json", "archive")
        else {name: text for each in files.values() for name, text in each.items()}
    )


@pytest.mark.parametrize("form", ["json", "archive", "all"])
@pytest.mark.parametrize("seed", SEEDS)
def test_bills_read_back_are_the_events(tmp_path, seed, form):
    events = made(seed, leftovers=True)
    found = read_back(tmp_path, bill_files(events, form))
    true = [event if event["amount"] else event | {"currency": None} for event in events]
    rows = [row if row["amount"] else row | {"currency": None} for row in rows_of(found)]
    assert [said(row) for row in rows] == [said(event) for event in true]


@pytest.mark.parametrize("seed", SEEDS)
def test_the_web_export_read_back_is_the_truth(tmp_path, seed):
    events = made(seed, plain=True)
    text = exchange_files.trading_history(exchange_files.bills(events))
    found = read_back(tmp_path, {"export.csv": text})
    in_order = found.with_columns(input=pl.lit(1, pl.UInt16), row=pl.int_range(1, pl.len() + 1, dtype=pl.UInt32))
    ends = {row["position"]: row for row in rows_of(ledger.replay(in_order).positions)}
    for name, state in exchange_events.states(events).items():
        assert tuple(ends[name][leg] for leg in ("base_leg", "quote_leg", "margin")) == oracle.balances(state)
