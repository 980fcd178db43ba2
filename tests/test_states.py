"""The states of lives from whole ledgers: their balances, where they are cut, and the risk they add up to."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction

import polars as pl
import pytest
import risk_oracle
import strategies
from exact import event
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

import ledger
from ledger.checks import history_check
from ledger.columns import MARKS, schema
from ledger.history import history_of
from ledger.money import MONEY
from ledger.ordering import index_positions
from ledger.positions import positions_of, valued
from ledger.risk.columns import RISK, TIERS
from ledger.risk.grading import grade, grading_checks
from ledger.risk.policies import RiskPolicies
from ledger.risk.request import RiskInput
from ledger.risk.run import RiskRun
from ledger.risk.statement import graded_check, risk_of
from ledger.risk.states import STATES, spot_states

BUY = {"side": "buy", "quantity": "1", "price": "100", "leverage": "10"}
SELL = {"side": "sell", "price": "100"}
RATES = ("0.03", "0.0015")
START = datetime(2024, 1, 1, tzinfo=UTC)
POLICIES = RiskPolicies()
LIFE = [
    event(1, **BUY),
    event(4, kind="margin", amount="5"),
    event(6, **SELL, quantity="0.5"),
    event(9, **SELL, quantity="0.5", reduce_only=True),
]


def minute(number):
    """The time of event `number`."""
    return None if number is None else START + timedelta(minutes=number)


def marks_of(*marks):
    """Marks of BTC-USDT: minute (or nothing), price and, where they are stated, both rates."""
    rows = [("BTC-USDT", minute(at), str(price), *(rates or [(None, None)])[0]) for at, price, *rates in marks]
    texts = dict.fromkeys(schema(MARKS), pl.String) | {"time": schema(MARKS)["time"]}
    return pl.DataFrame(rows, schema=texts, orient="row").cast(dict(schema(MARKS)))


def tiers_of(*tables):
    """Tiers of BTC-USDT: (minute from which they are in force, then limit in quote and rate of each tier)."""
    rows = [
        {"instrument": "BTC-USDT", "valid_from": minute(at), "tier": number, "largest_quote_loan": limit}
        | {"largest_base_loan": limit, "maintenance_rate": rate}
        for at, *tiers in tables
        for number, (limit, rate) in enumerate(tiers, start=1)
    ]
    texts = {name: pl.String if isinstance(dtype, pl.Decimal) else dtype for name, dtype in schema(TIERS).items()}
    return pl.DataFrame(rows, schema=texts).cast(dict(schema(TIERS)))


def states_of(events, marks=None, tiers=None, policies=POLICIES, as_at=None):
    frame = strategies.frame(events)
    book = ledger.replay(frame, marks=marks, as_at=as_at)
    return spot_states(book.ledger, index_positions(frame), marks, tiers, policies, as_at)


def risk(events, marks=None, tiers=None, policies=POLICIES, as_at=None):
    frame = strategies.frame(events)
    book = ledger.replay(frame, marks=marks, as_at=as_at)
    states = spot_states(book.ledger, index_positions(frame), marks, tiers, policies, as_at)
    graded = grade(states, marks, policies, as_at)
    return risk_of(book.positions, graded.lives, marks, tiers, policies, as_at)


def minutes(frame, *names):
    return frame.select((pl.col(name) - START).dt.total_minutes() for name in names).rows()


# --- where a state begins and ends ------------------------------------------------------------------------------


def test_a_state_goes_from_one_event_to_the_next():
    found = states_of(LIFE, marks_of((None, 100, RATES)))
    assert minutes(found, "from_time", "until_time") == [(1, 4), (4, 6), (6, 9)]
    assert found.select("base_leg", "quote_leg", "margin").rows() == [
        (1, -100, 10),
        (1, -100, 15),
        (Decimal("0.5"), -50, 15),
    ]
    assert found["event_number"].to_list() == [1, 2, 3]
    assert found.schema == schema(STATES)


def test_a_state_that_stands_has_no_end_and_nothing_after_the_as_at_time_counts():
    assert minutes(states_of(LIFE[:2]), "from_time", "until_time") == [(1, 4), (4, None)]
    assert minutes(states_of(LIFE, as_at=minute(5)), "from_time", "until_time") == [(1, 4), (4, None)]
    assert states_of([]).is_empty()


def test_a_reversal_and_events_of_one_time_have_states_of_their_own():
    twice = [*LIFE[:1], event(2, **{**SELL, "quantity": "3", "leverage": "5"}), {**event(3, **BUY), "time": minute(2)}]
    found = states_of(twice)
    assert found["episode"].to_list() == [1, 2, 2]
    assert minutes(found, "from_time", "until_time") == [(1, 2), (2, 2), (2, None)]
    assert found["is_long"].to_list() == [1, 0, 0]


def test_marks_that_state_other_rates_cut_a_state_and_equal_ones_do_not():
    other = ("0.05", "0.0015")
    marks = marks_of((0, 99, RATES), (2, 98, RATES), (3, 97, other), (7, 96, other), (8, 95), (20, 90, RATES))
    found = states_of(LIFE, marks)
    assert minutes(found, "from_time", "until_time") == [(1, 3), (3, 4), (4, 6), (6, 8), (8, 9)]
    rates = [Decimal("0.03"), *[Decimal("0.05")] * 3, None]
    assert found["maintenance_rate"].to_list() == rates
    assert found["liquidation_fee_rate"].to_list() == [Decimal("0.0015")] * 4 + [POLICIES.liquidation_fee_rate]
    assert found["event_number"].to_list() == [1, 1, 2, 3, 3]


def test_a_new_table_of_tiers_cuts_a_state_where_it_changes_its_tier_or_rate():
    tiers = tiers_of(
        (None, ("60", "0.03"), ("200", "0.04")), (2, ("60", "0.03"), ("300", "0.04")), (5, ("200", "0.02"))
    )
    found = states_of(LIFE, marks_of((None, 100)), tiers)
    assert minutes(found, "from_time", "until_time") == [(1, 4), (4, 5), (5, 6), (6, 9)]
    assert found["tier"].to_list() == [2, 2, 1, 1]
    assert found["maintenance_rate"].to_list() == [Decimal(rate) for rate in ("0.04", "0.04", "0.02", "0.02")]
    assert found["is_full"].to_list() == [False, False, True, True]


def test_a_table_that_comes_after_the_last_event_and_mark_does_not_count():
    tiers = tiers_of((None, ("200", "0.03")), (9, ("200", "0.05")))
    assert states_of(LIFE[:2], marks_of((8, 100)), tiers)["maintenance_rate"].to_list() == [Decimal("0.03")] * 2
    later = states_of(LIFE[:2], marks_of((9, 100)), tiers)
    assert minutes(later, "from_time", "until_time") == [(1, 4), (4, 9), (9, None)]
    assert states_of(LIFE[:2], marks_of((9, 100)), tiers, as_at=minute(8)).height == 2
    elsewhere = marks_of((9, 100)).with_columns(instrument=pl.lit("LTC-BTC"))
    assert minutes(states_of(LIFE[:2], elsewhere, tiers), "from_time", "until_time") == [(1, 4), (4, 9), (9, None)]


def test_a_statement_at_a_time_has_the_tiers_in_force_then_in_all_frames():
    tiers = tiers_of((None, ("200", "0.03")), (8, ("200", "0.30")), (30, ("200", "0.05")))
    events, marks = strategies.frame(LIFE[:2]), marks_of((2, 104), (7, 101))
    index, rates = index_positions(events), RiskInput(POLICIES, tiers).rates()
    for end, rate, times in ((7, "0.03", {}), (20, "0.30", {"cancelled_at": minute(8), "full_at": minute(8)})):
        book = ledger.replay(events, marks=marks, as_at=minute(end))
        positions = valued(positions_of(book.ledger, index), marks, minute(end), rates)
        history = history_of(book.ledger, index, marks, minute(end), rates)
        run = RiskRun(RiskInput(POLICIES, tiers), marks, minute(end), ledger.Policies())
        frames, findings = run.frames(book.ledger, index, positions, history)
        found, span = frames["risk"].row(0, named=True), frames["risk_spans"].row(-1, named=True)
        wanted = risk_oracle.ratio_of("LQ", 1, 100, 15, 101, Fraction(rate), Fraction("0.001"))
        for ratio in (found["margin_ratio"], positions["margin_ratio"].item()):
            assert abs(Fraction(ratio) - wanted) < Fraction(1, 10**16)
        assert (found["status"], span["status"]) == (("full",) * 2 if times else ("normal",) * 2)
        assert {name: found[name] for name in times} == times
        assert (found["stated_at"], found["mark_time"]) == (minute(end), minute(7))
        checks = pl.concat([*findings, history_check(history, positions)])
        failed = checks.filter(pl.col("failures") > 0)["check"].to_list()
        assert failed == (["liquidations_agree"] if times else [])


def test_a_history_with_another_ratio_or_equity_is_found():
    book = ledger.replay(strategies.frame(LIFE[:2]), marks=marks_of((2, 104, RATES)))
    assert history_check(book.history, book.positions)["failures"].item() == 0
    for name in ("margin_ratio", "equity_value", "liability_shown"):
        wrong = book.history.with_columns(pl.col(name) + 1)
        assert history_check(wrong, book.positions)["failures"].item() == 1


def test_policies_say_when_a_liquidation_is_full():
    tiers = tiers_of((None, ("60", "0.03"), ("200", "0.04")))
    whole = states_of(LIFE[:1], None, tiers, RiskPolicies(liquidation="all_at_once"))
    assert whole["is_full"].item()
    assert states_of(LIFE[:1], None, tiers, RiskPolicies(full_tier_spot="2"))["is_full"].item()
    assert states_of(LIFE[:1])["is_full"].item()


# --- what a state is worth ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", ["LB", "LQ", "SB", "SQ"])
@pytest.mark.parametrize("mark", ["81", "96.5", "130"])
def test_the_lines_of_a_state_give_the_ratio_of_its_case(case, mark):
    opening = {**BUY, "side": "buy" if case[0] == "L" else "sell"}
    opening["margin_currency"] = "BTC" if case[1] == "B" else "USDT"
    row = states_of([event(1, **opening)], marks_of((None, mark, RATES))).row(0, named=True)
    values = {name: Fraction(value) for name, value in row.items() if isinstance(value, Decimal)}
    equity = values["equity_slope"] * Fraction(mark) + values["equity_constant"]
    required = values["requirement_slope"] * Fraction(mark) + values["requirement_constant"]
    assets, liability = (1, 100) if case[0] == "L" else (100, 1)
    margin = Fraction("0.1") if case[1] == "B" else 10
    wanted = risk_oracle.ratio_of(case, assets, liability, margin, Fraction(mark), *map(Fraction, RATES))
    assert equity / required == wanted


@given(strategies.histories(events=20), st.data())
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
def test_states_are_the_ledger_s_balances_and_statuses_the_history_s_ratios(events, data):
    times = sorted({one["time"] for one in events})
    drawn = st.lists(st.tuples(st.sampled_from([None, *times]), st.sampled_from([0, 30])), max_size=6, unique=True)
    prices = st.sampled_from(["0.5", "1.000001", "87.98", "62961.4", "70000"])
    marks = pl.concat(
        [
            marks_of((None, data.draw(prices), RATES)).with_columns(
                instrument=pl.lit(name),
                time=pl.lit(time and time + timedelta(seconds=later)).cast(schema(MARKS)["time"]),
            )
            for name in ("BTC-USDT", "LTC-BTC")
            for time, later in data.draw(drawn)
        ]
        or [schema(MARKS).to_frame()]
    ).unique(["instrument", "time"], keep="first")
    frame = strategies.frame(events)
    try:
        book = ledger.replay(frame, marks=marks)
    except ledger.BadInput:
        assume(False)
    states = spot_states(book.ledger, index_positions(frame), marks, None, POLICIES)
    lasting = book.history.filter(pl.col("what") != "close")
    ends = lasting.filter(pl.col("what") != "mark")
    by_event = states.unique(["position", "episode", "event_number"], keep="first", maintain_order=True)
    names = ("position", "episode", "event_number", "base_leg", "quote_leg", "margin", "is_long", "margin_is_base")
    assert by_event.select(names).equals(ends.select(names))
    graded = grade(states, marks, POLICIES)
    assert graded.spans["graded"].sum() == lasting.height
    assert sum(one["failures"].item() for one in grading_checks(graded, book.history, POLICIES)) == 0


# --- the statement of risk ---------------------------------------------------------------------------------------


def test_the_risk_of_an_open_life_is_what_positions_say_and_when_it_crossed():
    marks = marks_of((2, 104, RATES), (3, 91, RATES), (5, 110, RATES), (7, 98, RATES))
    found = risk(LIFE[:2], marks).row(0, named=True)
    book = ledger.replay(strategies.frame(LIFE[:2]), marks=marks).positions.row(0, named=True)
    both = set(schema(RISK)) & set(book) - {"status"}
    assert {name: found[name] for name in both} == {name: book[name] for name in both}
    assert (found["status"], found["tier"], found["mark_time"], found["graded"]) == ("normal", None, minute(7), 5)
    assert (found["alert_at"], found["cancelled_at"], found["full_at"]) == (minute(3),) * 3
    assert (found["partial_at"], found["lowest_at"]) == (None, minute(3))
    distance = (Fraction(found["liquidation_price"]) - 98) / 98
    assert abs(Fraction(found["distance_to_liquidation"]) - distance) < Fraction(1, 10**17)
    assert found["distance_to_liquidation"] < 0


def test_the_rates_of_a_tier_count_where_the_mark_states_none():
    tiers = tiers_of((None, ("60", "0.03"), ("200", "0.04")))
    found = risk(LIFE[:1], marks_of((2, 104)), tiers).row(0, named=True)
    assert (found["tier"], found["maintenance_rate"]) == (2, Decimal("0.04"))
    stated = risk(LIFE[:1], marks_of((2, 104, RATES)), tiers).row(0, named=True)
    assert (stated["tier"], stated["maintenance_rate"]) == (2, Decimal("0.03"))
    wanted = risk_oracle.ratio_of("LQ", 1, 100, 10, 104, Fraction("0.04"), Fraction("0.001"))
    assert abs(Fraction(found["margin_ratio"]) - wanted) < Fraction(1, 10**16)


def test_a_closed_life_has_nothing_of_the_end_and_all_of_its_course():
    found = risk(LIFE, marks_of((2, 104, RATES), (3, 91, RATES), (20, 90, RATES))).row(0, named=True)
    assert [found[name] for name in ("status", "tier", "mark_time", "mark_price", "margin_ratio")] == [None] * 5
    assert (found["full_at"], found["lowest_at"], found["graded"]) == (minute(3), minute(3), 4)


def test_without_marks_nothing_is_graded_and_every_life_has_its_row():
    found = risk(LIFE[:2])
    assert found.select("status", "graded", "alert_at", "lowest_ratio", "margin_ratio").row(0) == (
        "not_graded",
        0,
        None,
        None,
        None,
    )
    assert found.schema == schema(RISK)
    assert risk([]).schema == schema(RISK)


@pytest.mark.parametrize(
    ("marks", "tiers", "why"),
    [
        (marks_of((7, 104)), None, "no maintenance rate: the mark states none, and no tiers are given"),
        (marks_of((9, 104)), tiers_of((None, ("200", "0.03"))), "no mark of BTC-USDT"),
        (
            marks_of((7, 104)),
            tiers_of((9, ("200", "0.03"))),
            "no maintenance rate: no tier of BTC-USDT is in force yet",
        ),
        (
            marks_of((7, 104)),
            tiers_of((None, ("200", "0.03"))).with_columns(instrument=pl.lit("LTC-BTC")),
            "no maintenance rate: no tier of BTC-USDT",
        ),
        (
            marks_of((7, 104)),
            tiers_of((None, ("200", "0.03"))).with_columns(largest_quote_loan=pl.lit(None, MONEY)),
            "no maintenance rate: no tier of BTC-USDT limits a liability in USDT",
        ),
    ],
)
def test_a_position_that_is_not_graded_says_why_and_fails_a_check(marks, tiers, why):
    found = risk(LIFE[:2], marks, tiers, as_at=minute(8))
    assert found.select("status", "why_not_graded", "stated_at").row(0) == ("not_graded", why, minute(8))
    check = graded_check(found, marks).row(0, named=True)
    assert (check["rows_tested"], check["failures"]) == (1, 1)
    assert check["first_failure"].endswith(f" 1 {why}")
    assert graded_check(found, None)["rows_tested"].item() == 0


def test_positions_that_are_graded_or_closed_do_not_say_why_not():
    graded = risk(LIFE[:2], marks_of((7, 98, RATES)))
    assert graded["why_not_graded"].item() is None
    assert graded_check(graded, graded).select("rows_tested", "failures").row(0) == (1, 0)
    closed = risk(LIFE, schema(MARKS).to_frame())
    assert closed.select("status", "why_not_graded", "stated_at").row(0) == (None, None, minute(9))
    assert graded_check(closed, closed)["rows_tested"].item() == 0
