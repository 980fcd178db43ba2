"""The roll-forward of interest, what has run and is not charged yet, and the checks that prove both."""

from collections import Counter
from datetime import timedelta
from fractions import Fraction
from functools import cache
from random import Random

import interest_histories
import interest_oracle
import oracle
import polars as pl
import pytest
from exact import event, oracle_policies, rows_of
from hypothesis import given, settings
from hypothesis import strategies as st
from interest_tables import (
    HOUR,
    SHIPPED,
    START,
    accrued_book,
    checked,
    expected_roll,
    files,
    frames_in,
    lived,
    policy,
    rate,
    rates_frame,
)

from ledger.columns import schema
from ledger.files import Request, replay_files
from ledger.interest.checks import accrual_checks
from ledger.interest.columns import INTEREST_ROLL
from ledger.interest.moments import liability_rows
from ledger.interest.request import InterestRequest

POLICIES = SHIPPED | {
    "okx events first": policy("okx", same_moment="events_first"),
    "okx simple, every 4 hours": policy("okx", compounding=False, period_hours=4),
    "okx with an opening fee": policy("okx", opening_fee="0.0005"),
    "kraken compounding, current rate": policy("kraken", compounding=True, rate_of="charge"),
    "kraken events first, rounded up at 6": policy("kraken", same_moment="events_first", rounding="up", decimals=6),
}
UNTIL = START + timedelta(days=7)
FLOWS = ("liability_opening", "borrowed", "interest_charged", "repaid")
SUMS = ("borrowed", "interest_charged", "repaid", "interest_for_period")
every_policy = pytest.mark.parametrize("name", POLICIES)
UNIT = Fraction(1, 10**18)


def exactly(fields):
    return {**fields, "opening_fee": Fraction(fields.get("opening_fee", 0))}


@cache
def histories(name):
    """Events and rates of some loans that begin within four days."""
    events, rates = [], []
    for seed in (day + 330 * number for number in range(2) for day in range(4)):
        told = interest_histories.history(seed, exactly(POLICIES[name]))
        events += interest_histories.oracle_events(told)
        rates += interest_histories.oracle_rates(told)
    return [each | {"row": row} for row, each in enumerate(events, start=1)], rates


def roll_of(book):
    """The rows of the roll-forward by position and currency."""
    return {(row["position"], row["currency"]): row for row in rows_of(book.roll)}


def book_of(name, until, begin=None):
    return accrued_book(*histories(name), POLICIES[name], until, begin=begin)


def moments(seed, count):
    """Random moments in order, one of them at a full hour."""
    random = Random(seed)
    found = {START + timedelta(seconds=random.randrange(3600, 7 * 86_400)) for _ in range(count)}
    found.add(START + random.randrange(5, 160) * HOUR)
    return sorted(found)


@every_policy
@settings(max_examples=2)
@given(seed=st.integers(0, 2**32))
def test_the_roll_forward_is_that_of_the_oracle(name, seed):
    begin, *_, until = moments(seed, 2)
    book = book_of(name, until, begin)
    events, rates = histories(name)
    fields = exactly(POLICIES[name])
    _, rows = interest_oracle.accrue(events, rates, fields, until)
    found = roll_of(book)
    wanted = expected_roll(rows, until, begin)
    assert {key: {flow: row[flow] for flow in FLOWS} for key, row in found.items()} == wanted
    opening, closing = (interest_oracle.accrued(events, rates, fields, at) for at in (begin, until))
    owed = {key: sum(row[flow] for flow in FLOWS[:3]) - row["repaid"] for key, row in wanted.items()}
    for (position, currency), row in found.items():
        assert row["liability_closing"] == owed[position, currency]
        assert row["accrued_opening"] in (0, opening.get(position, 0))
        assert row["accrued_closing"] in (0, closing.get(position, 0))
        assert (row["from_time"], row["to_time"]) == (begin, until)
        run = row["interest_charged"] - row["accrued_opening"] + row["accrued_closing"]
        assert row["interest_for_period"] == run
    for when, run in (("opening", opening), ("closing", closing)):
        totals = Counter()
        for (position, _), row in found.items():
            totals[position] += row[f"accrued_{when}"]
        assert {position: amount for position, amount in totals.items() if amount} == {
            position: amount for position, amount in run.items() if amount
        }
    assert book.failures() == []
    assert book.roll.schema == schema(INTEREST_ROLL)


@every_policy
def test_two_adjacent_periods_add_up_to_the_whole(name):
    begin, cut, until = START + timedelta(days=1, minutes=7), START + timedelta(days=2, minutes=35), UNTIL
    first, second, whole = (
        roll_of(book_of(name, end, start)) for start, end in ((begin, cut), (cut, until), (begin, until))
    )
    nothing = dict.fromkeys((*SUMS, "liability_opening", "liability_closing", "accrued_closing", "accrued_opening"), 0)
    assert set(whole) >= set(first) | set(second)
    for loan, row in whole.items():
        one, other = first.get(loan, nothing), second.get(loan, nothing)
        assert {flow: one[flow] + other[flow] for flow in SUMS} == {flow: row[flow] for flow in SUMS}
        assert one["liability_closing"] == other["liability_opening"]
        assert one["accrued_closing"] == other["accrued_opening"]
        assert one["liability_opening"] == row["liability_opening"]
        assert other["liability_closing"] == row["liability_closing"]


@every_policy
def test_without_a_begin_the_period_starts_with_nothing(name):
    all_of_it = roll_of(book_of(name, UNTIL))
    since_before = roll_of(book_of(name, UNTIL, START - HOUR))
    assert {row["from_time"] for row in all_of_it.values()} == {None}
    assert all_of_it == {loan: row | {"from_time": None} for loan, row in since_before.items()}
    assert {row["liability_opening"] for row in all_of_it.values()} == {0}


@pytest.mark.parametrize("name", ["okx", "binance_isolated", "kraken"])
@pytest.mark.parametrize("policies", [(), ("overfill=spot_first",)], ids=["reverse", "spot first"])
def test_the_roll_forward_of_flips_and_overfills(name, policies):
    """Both currencies of one instrument can be owed within the period."""
    rates = [rate(START - HOUR, "0.0005", currency=currency) for currency in ("BTC", "USDT", "LTC")]
    replay, fields = oracle_policies(policies), exactly(POLICIES[name])
    both = 0
    for seed in range(4):
        events = lived(Random(seed), rates, fields, replay)
        begin, until = START + timedelta(hours=9, minutes=5), START + timedelta(days=2, minutes=17)
        _, rows = interest_oracle.accrue(events, rates, fields, until, replay)
        book = accrued_book(events, rates, POLICIES[name], until, policies, begin)
        found = roll_of(book)
        wanted = expected_roll(rows, until, begin)
        assert {key: {flow: row[flow] for flow in FLOWS} for key, row in found.items()} == wanted
        assert book.failures() == []
        both += len(found) - len({position for position, _ in found})
    assert both


# What has run and is not charged


@every_policy
@settings(max_examples=2)
@given(seed=st.integers(0, 2**32))
def test_what_has_run_at_a_cut_off_is_that_of_the_oracle(name, seed):
    events, rates = histories(name)
    for until in moments(seed, 1):
        wanted = interest_oracle.accrued(events, rates, exactly(POLICIES[name]), until)
        found = Counter()
        for row in rows_of(book_of(name, until).roll):
            found[row["position"]] += row["accrued_closing"]
        assert {position: found[position] for position in wanted} == wanted
        assert any(wanted.values()) == any(found.values())


LONG = event(10, side="buy", quantity="1", price="1000", leverage="10")
HOURLY = [rate(START, "0.00001", currency="USDT")]


@pytest.mark.parametrize(
    ("name", "changes", "minutes", "accrued"),
    [
        ("okx", {}, 10, "0"),
        ("okx", {}, 40, "0.005"),
        ("okx", {}, 60, "0"),
        ("okx", {}, 90, "0.00500005"),
        ("okx", {"compounding": False}, 90, "0.005"),
        ("okx", {"period_hours": 4}, 220, "0.035"),
        ("okx", {"rounding": "down", "decimals": 4}, 59, "0.0081"),
        ("binance_isolated", {}, 90, "0"),
        ("bitget", {}, 90, "0"),
        ("kraken", {"opening_fee": "0.0"}, 130, "0.02"),
        ("kraken", {"opening_fee": "0.0"}, 250, "0"),
        ("kraken", {"opening_fee": "0.0"}, 280, "0.005"),
    ],
    ids=str,
)
def test_a_part_of_an_hour_is_an_exact_share(name, changes, minutes, accrued):
    """1000 USDT from 00:10 on."""
    until = START + timedelta(minutes=minutes)
    row = accrued_book([LONG], HOURLY, policy(name, **changes), until).roll.row(0, named=True)
    assert Fraction(row["accrued_closing"]) == Fraction(accrued)


def test_a_microsecond_of_interest_is_rounded_like_a_charge():
    until = START + timedelta(minutes=10, microseconds=1)
    wanted = interest_oracle.rounded(Fraction("0.01") / 3_600_000_000, "up", 16)
    row = accrued_book([LONG], HOURLY, policy("okx"), until).roll.row(0, named=True)
    assert Fraction(row["accrued_closing"]) == wanted > 0


def test_accrued_needs_a_rate_in_force_only_where_something_is_owed():
    closed = [LONG, event(20, side="sell", quantity="1", price="1000")]
    book = accrued_book(closed, [rate(START + HOUR, "0.1", currency="USDT")], policy("okx"), START + HOUR / 2)
    assert rows_of(book.roll.select("accrued_closing", "borrowed", "repaid")) == [
        {"accrued_closing": 0, "borrowed": 1000, "repaid": 1000}
    ]


def test_a_run_over_files_has_the_same_roll_forward(tmp_path):
    events, rates = histories("okx")
    begin, until = START + timedelta(days=2, minutes=5), START + timedelta(days=3, minutes=37)
    paths, table = files(tmp_path, events, rates)
    asked = InterestRequest(checked(POLICIES["okx"]), table, begin=begin)
    checks = replay_files(Request(paths, as_at=until, interest=asked), tmp_path / "books")
    assert checks["failures"].sum() == 0
    frames = frames_in(tmp_path / "books")
    assert frames["interest_roll"].equals(book_of("okx", until, begin).roll)
    assert dict(frames["parameters"].select("name", "value").rows())["interest.from"] == begin.isoformat()


# The checks


@cache
def clean(name):
    book = accrued_book(*histories(name), POLICIES[name], UNTIL, begin=START + timedelta(days=2))
    return book, liability_rows(book.ledger, book.index)


def failures(name, interest=None, roll=None):
    """How many failures the two checks find in these frames, by name."""
    book, rows = clean(name)
    found = accrual_checks(
        book.interest if interest is None else interest, rows, book.roll if roll is None else roll,
        checked(POLICIES[name]),
    )  # fmt: skip
    return {one["check"][0]: one["failures"][0] for one in found}


def nudged(frame, column, row):
    """The frame with one unit more in one cell."""
    more = pl.Series([UNIT_TEXT]).cast(frame.schema[column])
    here = pl.int_range(pl.len()) == row
    return frame.with_columns(pl.when(here).then(pl.col(column) + pl.lit(more)).otherwise(column).alias(column))


UNIT_TEXT = "0.000000000000000001"
ON_WHAT, CLOSES = "interest_is_on_what_is_owed", "interest_roll_forward_closes"


@every_policy
def test_the_checks_pass_and_have_something_to_test(name):
    assert failures(name) == {ON_WHAT: 0, CLOSES: 0}
    book, _ = clean(name)
    tested = dict(book.checks.filter(pl.col("check").is_in([ON_WHAT, CLOSES])).select("check", "rows_tested").rows())
    assert tested == {ON_WHAT: (book.interest["computed"] > 0).sum(), CLOSES: book.roll.height}


def places_of(book, kinds):
    """The first, a middle and the last charge of these kinds, in the interest frame."""
    numbered = book.interest.with_row_index("place").filter(pl.col("computed") > 0, pl.col("charge").is_in(kinds))
    return [numbered["place"][at] for at in (0, numbered.height // 2, numbered.height - 1)]


@every_policy
@pytest.mark.parametrize("column", ["computed", "liability"])
def test_a_charge_that_is_off_by_one_unit_is_found(name, column):
    book, _ = clean(name)
    for place in places_of(book, ["period"]):
        assert failures(name, interest=nudged(book.interest, column, place)) == {ON_WHAT: 1, CLOSES: 0}


@pytest.mark.parametrize("column", ["computed", "liability"])
@pytest.mark.parametrize(
    ("name", "kind"), [("bitget", "first_period"), ("okx with an opening fee", "opening_fee")], ids=str
)
def test_a_charge_at_a_borrowing_that_is_off_by_one_unit_is_found(name, kind, column):
    """It is on what the fill before it borrowed."""
    book, _ = clean(name)
    for place in places_of(book, [kind]):
        assert failures(name, interest=nudged(book.interest, column, place)) == {ON_WHAT: 1, CLOSES: 0}


@every_policy
def test_a_charge_in_the_ledger_that_is_off_by_one_unit_is_found(name):
    book, _ = clean(name)
    ledger = book.ledger.with_row_index("place")
    place = ledger.filter(pl.col("kind") == "interest")["place"][3]
    rows = liability_rows(nudged(book.ledger, "interest", place), book.index)
    found = accrual_checks(book.interest, rows, book.roll, checked(POLICIES[name]))
    assert [one["failures"][0] > 0 for one in found if one["check"][0] == ON_WHAT] == [True]


@every_policy
def test_a_closing_of_the_roll_forward_that_is_off_by_one_unit_is_found(name):
    book, _ = clean(name)
    for place in range(book.roll.height):
        assert failures(name, roll=nudged(book.roll, "liability_closing", place)) == {ON_WHAT: 0, CLOSES: 1}


@pytest.mark.parametrize("column", FLOWS)
def test_a_flow_of_the_roll_forward_that_is_off_by_one_unit_is_found(column):
    book, _ = clean("okx")
    assert failures("okx", roll=nudged(book.roll, column, 0)) == {ON_WHAT: 0, CLOSES: 1}


def test_a_row_that_lacks_in_the_roll_forward_is_found():
    book, rows = clean("okx")
    owing = rows.unique("position", keep="last", maintain_order=True).filter(pl.col("owed") > 0)["position"][0]
    assert failures("okx", roll=book.roll.filter(pl.col("position") != owing))[CLOSES] == 1


def test_the_first_failure_names_the_place():
    book, rows = clean("okx")
    interest, roll = nudged(book.interest, "computed", 5), nudged(book.roll, "liability_closing", 1)
    found = accrual_checks(interest, rows, roll, checked(POLICIES["okx"]))
    places = {one["check"][0]: one["first_failure"][0] for one in found}
    assert places[ON_WHAT].startswith(book.interest["position"][5])
    assert places[CLOSES] == f"{book.roll['position'][1]} {book.roll['currency'][1]}"
    assert {one["largest_residual"][0] for one in found} == {rates_frame([rate(START, UNIT)])["rate"][0]}


def test_what_has_run_is_empty_where_no_rate_is_known():
    """Nothing was charged yet, but something has run, and no rate says how much."""
    rates = [rate(START + HOUR, "0.00001", currency="USDT")]
    with pytest.raises(oracle.RefusedError):
        interest_oracle.accrued([LONG], rates, policy("okx"), START + HOUR / 2)
    row = accrued_book([LONG], rates, policy("okx"), START + HOUR / 2).roll.row(0, named=True)
    assert (row["liability_closing"], row["accrued_opening"]) == (1000, 0)
    assert (row["accrued_closing"], row["interest_for_period"]) == (None, None)
