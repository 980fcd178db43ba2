"""Manual adjustments from the template to the frames: they mend the ledger, and are shown apart from it everywhere."""

from fractions import Fraction
from functools import cache
from random import Random

import exchange_breaks
import exchange_events
import exchange_files
import exchange_snapshots
import exchange_truth
import openpyxl
import oracle
import polars as pl
import pytest
from exact import rows_of

from ledger import ReconcileRequest, reconcile_files
from ledger.statements.adjustments import SHEET
from reports.adjustment_template import ENTRY_ROWS, write_template
from reports.frames import read_frames
from reports.sheets.statements import ADJUSTMENTS_SHEET
from reports.workbook import write_workbook

DUST = Fraction(1, 10**8)
FIRST_ENTRY = 4
"""Below the headings, the meanings and the example."""
REASONS = {"fill": "missing_fill", "margin": "margin_change_missing", "interest": "missing_interest"}
BALANCES = ("base_leg", "quote_leg", "margin")
SEEDS = range(4)
with_bills = pytest.mark.parametrize("bills", [False, True], ids=["positions", "bills"])


@cache
def world(seed):
    """True events of one position, the house's ledger of them, and what mends it.

    The ledger lacks a fill, a change of margin and a charge of interest, and another charge is off by 1e-8.
    """
    random = Random(seed)
    for _ in range(200):
        truth = exchange_truth.history(random, events=(16, 30), ends_open=True)["events"]
        (name, end), *_ = exchange_events.states(truth).items()
        causes = ["missing_fill", "margin_change_missing", "missing_interest"]
        found = exchange_breaks.plant(random, truth, name, causes)
        if found is None or any(one["seen_in"] != "state" for one in found["planted"]):
            continue
        lives = {row["episode"] for _, rows, _ in exchange_events.walk(truth) for row in rows}
        left = {event["event_id"] for event in found["events"]}
        lacking = [event for event in truth if event["event_id"] not in left]
        alone = all(sum(other["time"] == event["time"] for other in truth) == 1 for event in lacking)
        charges = [event for event in found["events"] if event["kind"] == "interest" and event["amount"] > DUST]
        if alone and charges and lives == {end["episode"]}:
            off = [event | {"amount": event["amount"] + DUST} if event is charges[-1] else event for event in truth]
            house = [event for event in off if event["event_id"] in left]
            write_off = {
                "kind": "adjustment",
                "amount": DUST,
                "currency": charges[-1]["currency"],
                "reason": "write_off",
            }
            blank = dict.fromkeys(exchange_events.EVENT)
            whose = {field: charges[-1][field] for field in exchange_events.EVENT[2:6]}
            mends = [event | {"reason": REASONS[event["kind"]]} for event in lacking]
            return (
                truth,
                house,
                [*mends, {**blank, **whose, **write_off, "time": truth[-1]["time"], "event_id": "dust"}],
            )
    raise ValueError("no such history")


def adjustments(path, events):
    """The template, filled in as a person does: texts from the first prepared row on, each with a comment."""
    write_template(path)
    book = openpyxl.load_workbook(path)
    page = book[SHEET]
    names = [str(cell.value).removesuffix(" (UTC)") for cell in page[1]]
    assert len(events) <= ENTRY_ROWS
    for row, event in enumerate(events, start=FIRST_ENTRY):
        said = {name: event.get(name) for name in exchange_events.EVENT} | {"comment": "J. Doe: ticket 17"}
        said |= {"event_id": f"adjustment-{event['event_id']}", "time": f"{event['time']:%Y-%m-%dT%H:%M:%S.%f}Z"}
        said["reduce_only"] = "true" if event.get("reduce_only") else None
        for column, name in enumerate(names, start=1):
            value = said[name]
            page.cell(row, column).value = exchange_files.text(value) if isinstance(value, Fraction) else value
    book.save(path)
    return path


def reconciled(folder, truth, house, by_hand, *, bills=False):
    folder.mkdir(exist_ok=True)
    given = {"positions.json": exchange_snapshots.position_records(truth)}
    if bills:
        given["bills.json"] = exchange_files.bill_records(exchange_files.bills(truth))
    exchange = [exchange_files.write(folder / name, exchange_files.answer(rows)) for name, rows in given.items()]
    ledger = [exchange_files.write(folder / "ledger.csv", exchange_files.house_ledger(house))]
    if by_hand:
        ledger.append(adjustments(folder / "adjustments.xlsx", by_hand))
    request = ReconcileRequest(ledger=ledger, exchange=exchange, account=exchange_truth.ACCOUNT)
    reconcile_files(request, folder / "out")
    return read_frames(folder / "out")


def sums_of(truth, by_hand):
    """What events posted by hand move on each balance, by the oracle; those of one life that goes on."""
    own = {event["event_id"] for event in by_hand}
    sums = dict.fromkeys(BALANCES, Fraction(0))
    for event, rows, _ in exchange_events.walk(truth):
        for row in rows:
            if event["event_id"] in own:
                for name in BALANCES:
                    sums[name] += row[f"{name.removesuffix('_leg')}_change"]
    return sums


@with_bills
@pytest.mark.parametrize("seed", SEEDS)
def test_the_breaks_are_gone(tmp_path, seed, bills):
    truth, house, by_hand = world(seed)
    before = reconciled(tmp_path / "before", truth, house, [], bills=bills)["breaks"]
    assert {"liability_shown", "margin"} <= set(before["figure"])
    after = reconciled(tmp_path / "after", truth, house, by_hand, bills=bills)
    left = [(row["figure"], row["difference"], row["causes"]) for row in rows_of(after["breaks"])]
    # What was charged is not mended by an amount on a leg: only the bills tell of it.
    charged = [row for row in left if row[0] in ("interest_base", "interest_quote")]
    assert left == charged
    assert [row[1:] for row in charged] == ([(DUST, "interest_amount 0.00000001")] if bills else [])
    failing = set(after["checks"].filter(pl.col("failures") > 0)["check"])
    assert failing == ({"events_agree", "exchange_agrees"} if bills else set())
    end = after["ledger"].row(-1, named=True)
    (state,) = exchange_events.states(truth).values()
    legs = tuple(Fraction(end[f"{name}_closing"]) for name in ("base", "quote", "margin"))
    assert legs == oracle.balances(state)


@pytest.mark.parametrize("seed", SEEDS)
def test_without_the_write_off_only_the_dust_is_left(tmp_path, seed):
    truth, house, by_hand = world(seed)
    found = reconciled(tmp_path, truth, house, by_hand[:-1])["breaks"]
    owed = rows_of(found.filter(pl.col("figure") == "liability_shown"))
    assert [row["difference"] for row in owed] == [-DUST]
    assert not {"assets_shown", "margin"} & set(found["figure"])


@pytest.mark.parametrize("seed", SEEDS)
def test_they_are_shown_apart_in_roll_forward_and_lead(tmp_path, seed):
    truth, house, by_hand = world(seed)
    frames = reconciled(tmp_path, truth, house, by_hand)
    sums = sums_of(truth, by_hand)
    (state,) = exchange_events.states(truth).values()
    owed = "quote_leg" if state["direction"] == "long" else "base_leg"
    sums[owed] += DUST
    rolled = {row["balance"]: row for row in rows_of(frames["roll_forward"])}
    assert {name: rolled[name]["adjustments"] for name in BALANCES} == sums
    classes = {"liability" if name == owed else "assets": name for name in BALANCES[:2]} | {"margin": "margin"}
    for row in rows_of(frames["lead"]):
        assert row["adjustments"] == sums[classes[row["account_class"]]]
        assert row["ledger"] + row["adjustments"] == row["exchange"]
        assert row["difference"] == 0
    assert frames["lead"].height == 3


def test_the_sheet_lists_each_of_them_with_its_reason(tmp_path):
    truth, house, by_hand = world(0)
    frames = reconciled(tmp_path, truth, house, by_hand)
    write_workbook(frames, tmp_path / "books.xlsx")
    page = openpyxl.load_workbook(tmp_path / "books.xlsx", read_only=True)[ADJUSTMENTS_SHEET]
    cells = {str(cell) for row in page.iter_rows(values_only=True) for cell in row if cell is not None}
    assert {event["reason"] for event in by_hand} <= cells
    assert {f"adjustment-{event['event_id']}" for event in by_hand} <= cells
    assert not {event["event_id"] for event in house} & cells
    listed = frames["ledger"].filter(pl.col("reason").is_not_null())
    assert set(listed["event_id"]) == {f"adjustment-{event['event_id']}" for event in by_hand}
    assert set(listed["input"]) == {2}
    assert sorted(listed["row"].unique()) == [FIRST_ENTRY + number for number in range(len(by_hand))]


def test_the_postings_of_an_adjustment_are_of_their_own_account(tmp_path):
    truth, house, by_hand = world(1)
    postings = reconciled(tmp_path, truth, house, by_hand)["postings"]
    own = rows_of(postings.filter(pl.col("event_id") == "adjustment-dust"))
    assert {row["posting_account"]: row["amount"] for row in own} == {"liability": DUST, "adjustments": -DUST}


@pytest.mark.parametrize("seed", SEEDS)
def test_bills_match_what_was_posted_by_hand_and_name_what_the_exchange_does_not_have(tmp_path, seed):
    truth, house, by_hand = world(seed)
    matches = reconciled(tmp_path, truth, house, by_hand, bills=True)["matches"]
    known = {row["ledger_event_id"]: row for row in matches.rows(named=True)}
    for event in by_hand[:-1]:
        row = known[f"adjustment-{event['event_id']}"]
        assert (row["found"], row["cause"]) == ("in_common", None)
    dust = known["adjustment-dust"]
    assert (dust["found"], dust["cause"]) == ("only_in_ledger", "adjustment")
    assert (dust["ledger_input"], dust["ledger_row"]) == (2, FIRST_ENTRY + len(by_hand) - 1)
    others = matches.filter(pl.col("found") != "in_common", pl.col("ledger_event_id") != "adjustment-dust")
    assert others["kind"].to_list() == ["interest"]


@pytest.mark.parametrize("seed", SEEDS)
def test_an_adjustment_that_nothing_asks_for_is_a_break_of_that_name(tmp_path, seed):
    truth, _, by_hand = world(seed)
    wrong = by_hand[-1] | {"amount": Fraction(-1, 4)}
    frames = reconciled(tmp_path, truth, truth, [wrong], bills=True)
    parts = frames["break_causes"].join(frames["breaks"].select("break_id", "figure", "difference"), on="break_id")
    (state,) = exchange_events.states(truth).values()
    leg = "quote_leg" if state["direction"] == "long" else "base_leg"
    assert set(parts["figure"]) >= {"liability_shown", leg}
    for row in rows_of(parts.filter(pl.col("figure").is_in(["liability_shown", leg]))):
        assert (row["cause"], row["certainty"], row["amount"]) == ("adjustment", "proved", row["difference"])
        assert row["amount"] == Fraction(-1, 4)
        assert (row["ledger_input"], row["ledger_row"]) == (2, FIRST_ENTRY)


@pytest.mark.parametrize("seed", SEEDS)
def test_an_adjustment_for_what_the_ledger_has_already_is_named(tmp_path, seed):
    """A change of margin posted although the ledger has it: the exchange has it but once."""
    truth, _, by_hand = world(seed)
    frames = reconciled(tmp_path, truth, truth, [event for event in by_hand if event["kind"] == "margin"], bills=True)
    extra = frames["matches"].filter(pl.col("found") == "only_in_ledger")
    assert extra["cause"].to_list() == ["adjustment"]
    parts = frames["break_causes"].join(frames["breaks"].select("break_id", "figure", "stated_by"), on="break_id")
    of_margin = rows_of(parts.filter(pl.col("figure") == "margin"))
    amount = next(event["amount"] for event in by_hand if event["kind"] == "margin")
    assert {row["stated_by"] for row in of_margin} == {"snapshot", "events"}
    assert [(row["cause"], row["certainty"], row["amount"]) for row in of_margin] == [
        ("adjustment", "proved", amount)
    ] * 2
    assert set(parts["cause"]) <= {"adjustment", "venue_digits"}
