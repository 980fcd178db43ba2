"""Histories that are cut in the middle: begun with a snapshot of the exchange, they end as the whole history does."""

from fractions import Fraction
from functools import cache
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
EMPTY = dict.fromkeys(exchange_events.EVENT) | {"reduce_only": False}


@cache
def position_of(case, mode, seed=0):
    """The history of one position, and a moment at which it is open as this case and mode; it stays open."""
    for number in range(seed * 2000, seed * 2000 + 2000):
        events = exchange_truth.history(Random(number), events=(14, 30), ends_open=True)["events"]
        moment = events[len(events) // 2]["time"]
        (state,), (end,) = (exchange_events.states(events, until).values() for until in (moment, None))
        is_one = state["direction"] and oracle.case_of(state) == case and state["mode"] == mode
        if is_one and end["episode"] == state["episode"] and after(events, moment):
            return events, moment
    raise ValueError("no such history")


def account_of(seed):
    """The histories of several positions, and a moment in their middle or, every other time, near their end."""
    events = exchange_truth.history(Random(seed), positions=6, events=(10, 30))["events"]
    return events, events[len(events) * (4, 7)[seed % 2] // 8]["time"]


def after(events, moment):
    return [event for event in events if event["time"] > moment]


def reconciled(folder, ledger, records, truth, *, bills=False, **asked):
    """The frames of a reconciliation of a ledger's events, begun with these records of positions.

    The exchange gives the positions that the true events end with, and its bills of them where that is asked for.
    """
    folder.mkdir(exist_ok=True)
    house = exchange_files.write(folder / "ledger.csv", exchange_files.house_ledger(ledger))
    first = exchange_files.write(folder / "opening.json", exchange_files.answer(records))
    end = exchange_files.answer(exchange_snapshots.position_records(truth))
    files = [exchange_files.write(folder / "positions.json", end)]
    if bills:
        stated = exchange_files.answer(exchange_files.bill_records(exchange_files.bills(truth)))
        files.append(exchange_files.write(folder / "bills.json", stated))
    given = {"account": exchange_truth.ACCOUNT} | asked
    reconcile_files(ReconcileRequest(ledger=[house], exchange=files, opening=[first], **given), folder / "out")
    return {path.stem: pl.read_parquet(path) for path in (folder / "out").glob("*.parquet")}


def ends_of(frames):
    """The last balances of each position of the ledger."""
    last = frames["ledger"].unique("position", keep="last", maintain_order=True)
    return {
        row["position"]: tuple(row[f"{name}_closing"] for name in ("base", "quote", "margin")) for row in rows_of(last)
    }


def true_ends(events):
    return {name: oracle.balances(state) for name, state in exchange_events.states(events).items()}


# One position, as every case


FORMS = ("the whole ledger", "its later part", "bills of the exchange beside it")
LEARNED_BEFORE = {"entry_price", "floating_pnl_ratio"}
"""Figures that need more than a snapshot says: the average over everything opened, and the margin posted for it."""


@every_case
@pytest.mark.parametrize("form", FORMS)
def test_begun_with_a_snapshot_it_ends_as_the_whole_history(tmp_path, case, mode, form):
    events, moment = position_of(case, mode)
    ledger = after(events, moment) if form == FORMS[1] else events
    opening = exchange_snapshots.position_records(events, moment)
    found = reconciled(tmp_path, ledger, opening, events, bills=form == FORMS[2])
    assert ends_of(found) == true_ends(events)
    assert set(found["breaks"]["figure"]) <= LEARNED_BEFORE
    assert found["ledger"]["kind"].to_list().count("opening") == 1
    assert found["ledger"]["mode"].unique().to_list() == [mode]
    if form == FORMS[2]:
        assert found["matches"]["found"].unique().to_list() == ["in_common"]
        assert found["matches"].height == len(after(events, moment))


@every_case
def test_the_roll_forward_begins_with_the_opening(tmp_path, case, mode):
    events, moment = position_of(case, mode, seed=1)
    opening = exchange_snapshots.position_records(events, moment)
    found = reconciled(tmp_path, after(events, moment), opening, events, bills=True)
    rolled = {row["balance"]: row for row in rows_of(found["roll_forward"])}
    (begin,), (end,) = (exchange_events.states(events, until).values() for until in (moment, None))
    assert tuple(rolled[name]["opening"] for name in BALANCES) == oracle.balances(begin)
    assert tuple(rolled[name]["closing"] for name in BALANCES) == oracle.balances(end)
    assert found["checks"].filter(pl.col("check") == "balances_roll_forward")["failures"].to_list() == [0]
    assert found["checks"].filter(pl.col("check") == "breaks_add_up")["failures"].to_list() == [0]
    (first,) = rows_of(found["ledger"].filter(pl.col("kind") == "opening"))
    assert (first["action"], first["account_base"], first["account_quote"]) == ("open", 0, 0)
    posted = found["postings"].filter(pl.col("event_id") == first["event_id"])["posting_account"].unique().to_list()
    assert set(posted) <= {"assets", "liability", "margin", "brought_forward"}


@every_case
def test_what_happened_at_the_moment_itself_is_in_the_snapshot(tmp_path, case, mode):
    """The event at the snapshot's own time is not booked again, whatever it is; one a millisecond later is."""
    events, moment = position_of(case, mode, seed=2)
    opening = exchange_snapshots.position_records(events, moment)
    last = next(event for event in reversed(events) if event["time"] <= moment)
    assert opening[0]["uTime"] == str(exchange_events.milliseconds(last["time"]))
    added = {"kind": "margin", "amount": Fraction(1, 8), "currency": last["margin_currency"]}
    at, past = (
        EMPTY | {name: last[name] for name in exchange_events.EVENT[2:6]} | added | {"event_id": name, "time": time}
        for name, time in (("at", moment), ("past", moment + exchange_events.MILLISECOND))
    )
    later = after(events, moment)
    found = reconciled(tmp_path, [*events[: -len(later)], at, past, *later], opening, events)
    kept = ["past", *(event["event_id"] for event in later)]
    assert found["ledger"]["event_id"].unique(maintain_order=True).to_list()[1:] == kept
    base, quote, margin = true_ends(events)[name_of(last)]
    assert ends_of(found) == {name_of(last): (base, quote, margin + Fraction(1, 8))}


def test_no_account_pays_for_what_is_brought_forward(tmp_path):
    events, moment = position_of("SQ", "new")
    opening = exchange_snapshots.position_records(events, moment)
    found = reconciled(tmp_path, after(events, moment), opening, events)
    later = [row for event, rows, _ in exchange_events.walk(events) if event["time"] > moment for row in rows]
    for name in ("account_base", "account_quote"):
        assert sum(Fraction(amount) for amount in found["ledger"][name]) == sum(row[name] for row in later)


# Several positions


@pytest.mark.parametrize("seed", range(8))
def test_positions_opened_after_the_snapshot_and_closed_before_it(tmp_path, seed):
    events, moment = account_of(seed)
    opening = exchange_snapshots.position_records(events, moment)
    found = reconciled(tmp_path, events, opening, events, bills=True, opening_at=moment)
    ends, true = ends_of(found), true_ends(events)
    assert ends == {name: true[name] for name in {name_of(event) for event in after(events, moment)} | opened(opening)}
    assert found["ledger"].filter(pl.col("kind") == "opening").height == len(opening)
    assert found["ledger"]["time"].min() == moment
    assert found["checks"].filter(pl.col("check") == "balances_roll_forward")["failures"].to_list() == [0]
    assert found["matches"]["found"].unique().to_list() == ["in_common"]


def opened(records):
    return {f"{exchange_truth.ACCOUNT}:{record['instId']}:{record['ccy']}" for record in records}


def test_the_accounts_of_that_test_have_every_sort_of_position():
    sorts = set()
    for seed in range(8):
        events, moment = account_of(seed)
        before, later = exchange_events.states(events, moment), {name_of(event) for event in after(events, moment)}
        for name in true_ends(events):
            was_open = bool(before[name]["direction"]) if name in before else None
            sorts.add((was_open, name in later))
    assert sorts >= {(True, True), (True, False), (False, True), (False, False)}


def test_a_position_that_nothing_happened_to_since_has_no_break(tmp_path):
    events, moment = account_of(1)
    opening = exchange_snapshots.position_records(events, moment)
    found = reconciled(tmp_path, events, opening, events, bills=True, opening_at=moment)
    assert set(found["breaks"]["figure"]) <= LEARNED_BEFORE


def test_the_account_is_that_of_the_ledger(tmp_path):
    events, moment = position_of("LB", "new")
    others = [event | {"account": "second"} for event in events]
    opening = exchange_snapshots.position_records(events, moment)
    found = reconciled(tmp_path, others, opening, events, account=None)
    assert ends_of(found) == true_ends(others)


# What is refused


def refused(folder, records, events, **asked):
    """Column, rule and remedy of what is refused."""
    with pytest.raises(BadInput) as error:
        reconciled(folder, events, records, events, **asked)
    rows = error.value.refusals.rows(named=True)
    assert not (folder / "out").exists()
    for row in rows:
        assert row["rule"].endswith(".")
        assert row["remedy"].endswith(".")
        assert row["file"].endswith((".json", ".csv"))
    return [(Path(row["file"]).name, row["row"], row["column"], row["rule"], row["remedy"]) for row in rows]


AGAIN = "Ask the exchange for the positions again."
UNFIT = {
    "no time": ({"uTime": ""}, "time", "An opening balance needs a time.", "Give --opening-at TIME."),
    "no direction": (
        {"posCcy": ""},
        "direction",
        "An opening balance needs a direction.",
        "Give a positions file of an exchange that states it.",
    ),
    "no liability": ({"liab": ""}, "liability_shown", "An opening balance needs the liability.", AGAIN),
    "no margin": ({"margin": ""}, "margin", "An opening balance needs the margin.", AGAIN),
}


@pytest.mark.parametrize("unfit", UNFIT.values(), ids=UNFIT)
def test_a_snapshot_that_cannot_open_a_position_is_refused(tmp_path, unfit):
    events, moment = position_of("LB", "new")
    (record,) = exchange_snapshots.position_records(events, moment)
    change, *said = unfit
    assert refused(tmp_path, [record | change], events) == [("opening.json", 1, *said)]


def test_all_that_is_wrong_is_told_at_once(tmp_path):
    events, moment = position_of("LB", "new")
    (record,) = exchange_snapshots.position_records(events, moment)
    bad = [record | change for change, *_ in UNFIT.values()]
    assert sorted(refused(tmp_path, bad, events)) == sorted(
        ("opening.json", row, *said) for row, (_, *said) in enumerate(UNFIT.values(), start=1)
    )


@pytest.mark.parametrize("change", [{"pos": "0"}, {"mgnMode": "cross"}, {"instType": "SWAP"}], ids=str)
def test_a_file_without_an_open_position_is_refused(tmp_path, change):
    events, moment = position_of("LB", "new")
    (record,) = exchange_snapshots.position_records(events, moment)
    rule = "The file states no open isolated spot-margin position."
    assert refused(tmp_path, [record | change], events) == [("opening.json", None, None, rule, "Leave it out.")]


def test_a_position_that_owes_nothing_is_refused_where_that_closes_it(tmp_path):
    events, moment = position_of("LB", "new")
    (record,) = exchange_snapshots.position_records(events, moment)
    found = refused(tmp_path, [record | {"liab": "0"}], events)
    rules = {rule for file, row, column, rule, _ in found if (file, row, column) == ("opening.json", 1, "kind")}
    assert [rule.partition(":")[0] for rule in rules] == ["An opening balance has something to settle"]
    assert not [column for _, _, column, *_ in found if column == "fee"]


def test_two_snapshots_of_a_position_are_refused(tmp_path):
    events, moment = position_of("LB", "new")
    records = exchange_snapshots.position_records(events, moment)
    assert ("opening.json", 2) in {(file, row) for file, row, *_ in refused(tmp_path, records * 2, events)}


def test_a_time_before_the_snapshots_own_is_refused(tmp_path):
    events, moment = position_of("LB", "new")
    earlier = [event["time"] for event in events if event["time"] < moment][-2]
    refused(tmp_path, exchange_snapshots.position_records(events, moment), events, opening_at=earlier)


def test_a_snapshot_without_a_time_opens_at_the_time_given(tmp_path):
    events, moment = position_of("SB", "old")
    records = [record | {"uTime": ""} for record in exchange_snapshots.position_records(events, moment)]
    found = reconciled(tmp_path, events, records, events, opening_at=moment)
    assert ends_of(found) == true_ends(events)
    assert found["ledger"]["time"].to_list()[0] == moment


@pytest.mark.parametrize("missing", [{"ccy": ""}, {"avgPx": ""}, {"lever": ""}], ids=str)
def test_what_else_a_snapshot_lacks_changes_no_balance(tmp_path, missing):
    events, moment = position_of("LB", "new")
    records = [record | missing for record in exchange_snapshots.position_records(events, moment)]
    found = reconciled(tmp_path, events, records, events)
    assert ends_of(found) == true_ends(events)
