"""Statuses over time against the branchy oracle, thresholds to the last digit, and what must never happen."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction

import polars as pl
import pytest
import risk_oracle
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ledger.columns import MARKS, schema
from ledger.money import MONEY
from ledger.refusals import BadInput
from ledger.risk import grading, thresholds
from ledger.risk.columns import RISK_SPANS
from ledger.risk.grading import GRADED_LIVES, grade
from ledger.risk.policies import RiskPolicies
from ledger.risk.states import STATES

CASES = ("LB", "LQ", "SB", "SQ")
START = datetime(2025, 3, 1, tzinfo=UTC)
UNIT = Fraction(1, 10**18)


def hour(number):
    return START + timedelta(hours=number)


def text(number):
    """A fraction of at most 18 decimals, exactly."""
    units = Fraction(number) * 10**18
    assert units.denominator == 1
    return f"{'-' if units < 0 else ''}{abs(units.numerator) // 10**18}.{abs(units.numerator) % 10**18:018d}"


def state(case="LQ", assets=1, liability=90_000, margin=10_000, rate="0.04", fee="0.001", **other):
    """A state as the oracle reads it, from a table's row of rules 4."""
    amounts = {"assets": Fraction(assets), "liability": Fraction(liability), "margin": Fraction(margin)}
    rates = {"rate": rate and Fraction(rate), "fee": Fraction(fee)}
    where = {"position": "p", "episode": 1, "instrument": "BTC-USDT", "from_time": hour(0), "until_time": None}
    return {"case": case, **amounts, **rates, **where, "tier": 1, "is_full": True, **other}


def kernel(one):
    """The straight lines of a state, by case: equity and what is required, in quote."""
    assets, liability, margin = one["assets"], one["liability"], one["margin"]
    rate = None if one["rate"] is None else one["rate"] + (1 + one["rate"]) * one["fee"]
    required = (None, None) if rate is None else (0, liability * rate)
    if one["case"] == "LB":
        equity = (assets + margin, -liability)
    elif one["case"] == "LQ":
        equity = (assets, margin - liability)
    else:
        required = (None, None) if rate is None else (liability * rate, 0)
        equity = (margin - liability, assets) if one["case"] == "SB" else (-liability, assets + margin)
    return {
        "equity_slope": equity[0],
        "equity_constant": equity[1],
        "requirement_slope": required[0],
        "requirement_constant": required[1],
    }


def frame(states):
    rows = [one | kernel(one) for one in states]
    names = ("position", "episode", "instrument", "from_time", "until_time", "tier", "is_full", *kernel(state()))
    types = {name: schema(STATES)[name] for name in names}
    columns = {
        name: [text(row[name]) if dtype == MONEY and row[name] is not None else row[name] for row in rows]
        for name, dtype in types.items()
    }
    texts = {name: pl.String if dtype == MONEY else dtype for name, dtype in types.items()}
    return pl.DataFrame(columns, schema=texts).cast(types)


def marks_of(rows):
    texts = {"instrument": pl.String, "time": schema(MARKS)["time"], "mark_price": pl.String}
    rows = [(name, time, text(price)) for name, time, price in rows]
    return pl.DataFrame(rows, schema=texts, orient="row").cast({"mark_price": MONEY})


def ratio(one, price):
    if one["rate"] is None:
        return "unknown"
    amounts = (one[name] for name in ("case", "assets", "liability", "margin"))
    return risk_oracle.ratio_of(*amounts, price, one["rate"], one["fee"])


def status_at(one, price):
    return grade(frame([one]), marks_of([("BTC-USDT", None, price)]), RiskPolicies()).spans["status"].item()


# --- against the oracle, moment by moment ----------------------------------------------------------------------

PRICES = st.sampled_from(
    [Fraction(one) for one in ("0.5", "90", "95.5", "97", "99", "100", "101", "104.25", "108", "200")]
)
AMOUNTS = st.sampled_from(
    [Fraction(one) for one in ("0", "0.0001", "1", "9.5", "10", "95", "100", "100.000001", "1000")]
)


@st.composite
def lives(draw):
    """States of some lives of positions of two instruments, in the order that grading asks for."""
    found = []
    for position in range(draw(st.integers(1, 3))):
        instrument, time = draw(st.sampled_from(["BTC-USDT", "ETH-USDT"])), draw(st.integers(0, 6))
        for episode in range(1, draw(st.integers(1, 2)) + 1):
            case = draw(st.sampled_from(CASES))
            count = draw(st.integers(1, 3))
            for number in range(count):
                length = draw(st.integers(0, 12))
                is_last = number == count - 1 and draw(st.booleans()) and episode == 1
                where = {
                    "position": f"p{position}",
                    "episode": episode,
                    "instrument": instrument,
                    "from_time": hour(time),
                }
                found.append(
                    state(
                        case,
                        *(draw(AMOUNTS) for _ in range(3)),
                        draw(st.sampled_from([None, "0", "0.01", "0.04", "0.5"])),
                        **where,
                        until_time=None if is_last else hour(time + length),
                        tier=draw(st.sampled_from([None, 1, 2])),
                        is_full=draw(st.booleans()),
                    )
                )
                time += length
            if found[-1]["until_time"] is None:
                break
    return found


@st.composite
def mark_rows(draw):
    rows = []
    for instrument in ("BTC-USDT", "ETH-USDT"):
        for number in draw(st.lists(st.integers(-1, 30), unique=True, max_size=25)):
            rows.append((instrument, None if number < 0 else hour(number), draw(PRICES)))
    return draw(st.permutations(rows))


def expected(states, marks, policies, as_at):
    spans, crossed = [], []
    for key in dict.fromkeys((one["position"], one["episode"]) for one in states):
        life = [one for one in states if (one["position"], one["episode"]) == key]
        life = [one for one in life if as_at is None or one["from_time"] <= as_at]
        if not life:
            continue
        last = life[-1]["until_time"]
        if as_at is not None and last is not None and last > as_at:
            life[-1] = life[-1] | {"until_time": None}
        rows = risk_oracle.graded(life, marks, ratio, policies, as_at)
        named = {"position": key[0], "episode": key[1], "instrument": life[0]["instrument"]}
        spans += [named | span for span in risk_oracle.spans_of(rows)]
        crossed.append({"position": key[0], "episode": key[1], "status": rows[-1][3], "since": life[-1]["from_time"]})
        crossed[-1] |= risk_oracle.crossings_of(rows, policies)
    return spans, crossed


def same(found, wanted):
    """The frame's rows are the wanted ones; a ratio is one of the frame, rounded once at its last place."""
    assert found.height == len(wanted)
    for row, want in zip(found.iter_rows(named=True), wanted, strict=True):
        for name, value in want.items():
            if isinstance(value, Fraction):
                assert abs(Fraction(row[name]) - value) <= UNIT / 2, (name, row, want)
            else:
                assert row[name] == value, (name, row, want)


@given(
    lives(),
    mark_rows(),
    st.sampled_from([None, hour(0), hour(7), hour(15)]),
    st.sampled_from(["same_mark", "next_mark"]),
    st.sampled_from([((1,), 1), ((4, 2, 1), 9), ((3, 1), 10**6), (grading.BLOCKS, 10**6)]),
)
@settings(max_examples=70, deadline=None, suppress_health_check=list(HealthCheck))
def test_every_moment_is_graded_as_the_table_says(states, marks, as_at, recheck, sizes):
    policies = RiskPolicies(recheck=recheck)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(grading, "BLOCKS", sizes[0])
        patched.setattr(grading, "_TOGETHER", sizes[1])
        found = grade(frame(states), marks_of(marks), policies, as_at)
    spans, crossed = expected(states, marks, policies, as_at)
    same(found.spans, spans)
    same(found.lives, crossed)
    assert found.spans.schema == schema(RISK_SPANS)
    assert found.lives.schema == schema(GRADED_LIVES)


# --- the last digit of a price -----------------------------------------------------------------------------------

DIRECTION = {"LB": 1, "LQ": 1, "SB": -1, "SQ": -1}
OPEN = {"LB": (1, 90_000, "0.03"), "LQ": (1, 97_000, 9_000), "SB": (93_000, 1, "0.17"), "SQ": (93_000, 1, 17_000)}
"""Assets, liability and margin of each case, whose liquidation price is no decimal of 18 places."""


def nearest(price, direction):
    """The price of 18 places at which a threshold is met just so, seen from the side on which it is not."""
    units = price * 10**18
    return (units.numerator // units.denominator if direction > 0 else -(-units.numerator // units.denominator)) * UNIT


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("rate", ["0.04", "0.013"])
def test_a_ratio_of_100_percent_is_due_and_one_unit_of_the_price_more_is_not(case, rate):
    one = state(case, *OPEN[case], rate=rate)
    amounts = (case, one["assets"], one["liability"], one["margin"], one["rate"], one["fee"])
    at = nearest(risk_oracle.liquidation_price_of(*amounts), DIRECTION[case])
    assert status_at(one, at) == status_at(one, at - UNIT * DIRECTION[case]) == "full"
    assert status_at(one, at + UNIT * DIRECTION[case]) == "alert"
    found = grade(frame([one]), marks_of([("BTC-USDT", None, at)]), RiskPolicies())
    assert found.lives.select("alert_at", "cancelled_at", "full_at").row(0) == (hour(0),) * 3


def test_a_price_that_gives_100_percent_exactly_is_due():
    one = state("LQ", 1, 100_000, 10_000, rate="0.04", fee="0")
    assert ratio(one, 94_000) == 1
    assert [status_at(one, price) for price in (94_000 - UNIT, Fraction(94_000), 94_000 + UNIT)] == [
        "full",
        "full",
        "alert",
    ]
    assert [status_at(one, price) for price in (Fraction(102_000), 102_000 + UNIT)] == ["alert", "normal"]
    at_every_mark = state("LQ", 0, 100, 104, fee="0")
    assert [status_at(at_every_mark, price) for price in (1, 10**6)] == ["full", "full"]


@given(
    st.sampled_from(CASES),
    *(st.integers(1, 10**40) for _ in range(3)),
    st.sampled_from(["0.0001", "0.04", "0.999"]),
    st.sampled_from(["1", "3", "1.05", "0.3333"]),
    st.integers(-2, 2),
)
@settings(max_examples=150, deadline=None)
def test_thresholds_are_exact_for_the_largest_and_the_smallest_amounts(case, assets, liability, margin, rate, k, step):
    # Digits are drawn evenly; a liability of 12 decimals times a rate of 6 is a requirement that needs no rounding.
    amounts = [Fraction(int(str(one)[: 1 + one % 33]), 10**18) for one in (assets, liability, margin)]
    amounts[1] = Fraction(int(amounts[1] * 10**18) // 10**7 + 1, 10**10)
    one = state(case, *amounts, rate=rate)
    lines = {name: Fraction(value) for name, value in kernel(one).items()}
    found = thresholds.interval(frame([one]), Decimal(k)).row(0)
    for bound in found:
        units = min(max(bound + step, 1), 10**35 - 1)
        mark = units * UNIT
        equity = lines["equity_slope"] * mark + lines["equity_constant"]
        required = lines["requirement_slope"] * mark + lines["requirement_constant"]
        assert (found[0] <= units <= found[1]) == (equity <= Fraction(k) * required)


def test_an_amount_that_leaves_no_room_to_compare_is_refused():
    one = state("LQ", 10**19, 10**19, 1)
    with pytest.raises(BadInput) as refused:
        status_at(one, Fraction(1))
    assert "too large" in refused.value.refusals["rule"].item()


# --- rules 6 -------------------------------------------------------------------------------------------------------


def test_the_worked_example_of_the_rules():
    one = state("SQ", 3_289_800, "110.5", 10_000, rate="0.04", fee="0.0001", is_full=False, tier=2)
    marks = marks_of([("BTC-USDT", hour(0), 19_500), ("BTC-USDT", hour(1), 29_000)])
    found = grade(frame([one]), marks, RiskPolicies())
    assert found.spans.select("status", "from_time", "tier", "graded").rows() == [
        ("normal", hour(0), 2, 1),
        ("partial", hour(1), 2, 1),
    ]
    assert [round(value, 4) for value in found.spans["margin_ratio"]] == [Decimal("13.2507"), Decimal("0.7416")]
    assert status_at(one, Fraction("28711.0168")) == "alert"
    assert status_at(one, Fraction("28711.0169")) == "partial"


def test_after_the_orders_are_cancelled_the_next_mark_decides():
    one, policies = state(), RiskPolicies(recheck="next_mark")
    prices = (100_000, 80_000, 80_000, 100_000, 80_000, 100_000)
    marks = marks_of([("BTC-USDT", hour(number), price) for number, price in enumerate(prices)])
    found = grade(frame([one]), marks, policies)
    statuses = ["normal", "orders_cancelled", "full", "normal", "orders_cancelled", "normal"]
    assert found.spans["status"].to_list() == statuses
    assert found.lives.select("alert_at", "cancelled_at", "full_at").row(0) == (hour(1), hour(1), hour(2))


def test_an_event_between_two_marks_does_not_look_at_a_ratio_again():
    times = [hour(0), hour(0) + timedelta(minutes=20), hour(0) + timedelta(minutes=40), hour(2)]
    ends = [*times[1:], None]
    life = [state(from_time=begin, until_time=end, tier=2) for begin, end in zip(times, ends, strict=True)]
    marks = marks_of([("BTC-USDT", hour(number), price) for number, price in enumerate((80_000, 81_000, 82_000))])
    found = grade(frame(life), marks, RiskPolicies(recheck="next_mark"))
    assert found.spans.select("status", "from_time", "graded").rows() == [
        ("orders_cancelled", hour(0), 3),
        ("full", hour(1), 2),
    ]
    at_its_time = [state(until_time=hour(1)), state(from_time=hour(1))]
    found = grade(frame(at_its_time), marks, RiskPolicies(recheck="next_mark"))
    assert found.lives.select("cancelled_at", "full_at").row(0) == (hour(0), hour(1))
    in_between = [state(until_time=times[1]), state(from_time=times[1], until_time=times[2], margin=10**6)]
    found = grade(frame([*in_between, state(from_time=times[2])]), marks, RiskPolicies(recheck="next_mark"))
    assert found.spans["status"].to_list() == ["orders_cancelled", "normal", "orders_cancelled", "full"]


def test_what_is_not_known_is_not_graded_and_what_owes_nothing_is_normal():
    marks = marks_of([("BTC-USDT", hour(2), 1)])
    found = grade(frame([state()]), marks, RiskPolicies())
    assert found.spans.select("status", "graded").rows() == [("not_graded", 1), ("full", 1)]
    assert found.lives["graded"].item() == 1
    assert status_at(state(liability=0), 1) == "normal"
    assert status_at(state(rate=None), 1) == "not_graded"
    assert grade(frame([state()]), None, RiskPolicies()).spans["status"].to_list() == ["not_graded"]
    assert grade(frame([]), marks, RiskPolicies()).spans.is_empty()


# --- what must never happen ----------------------------------------------------------------------------------------


@given(st.sampled_from(CASES), st.tuples(AMOUNTS, AMOUNTS, AMOUNTS), PRICES, PRICES, AMOUNTS)
@settings(max_examples=60, deadline=None)
def test_a_better_mark_and_more_margin_never_bring_liquidation_nearer(case, amounts, price, other, more):
    worse, better = sorted((price, other), reverse=DIRECTION[case] < 0)
    one = state(case, *amounts)
    three = [
        one | {"position": "a", "instrument": "A-B"},
        one | {"position": "b", "instrument": "C-D"},
        one | {"position": "c", "instrument": "A-B", "margin": one["margin"] + more},
    ]
    found = grade(frame(three), marks_of([("A-B", None, worse), ("C-D", None, better)]), RiskPolicies())
    severity = [risk_oracle.ORDER.index(status) for status in found.spans["status"]]
    assert max(severity) == severity[0]
