"""Recorded liquidations of contract positions held against those that were due; options, by their margin alone."""

from datetime import timedelta
from fractions import Fraction

import pytest
from exact import rows_of
from test_derivative_liquidation import HEDGED, tiers
from test_derivative_replay import OPTION, START, event, mark, run

from ledger.risk.policies import RiskPolicies


def liquidation(minutes, quantity, price, fee="0", **values):
    side = {"side": "sell", "quantity": quantity, "price": price, "fee": fee}
    return event(minutes, kind="liquidation", **side) | values


def judged(*booked, price="9000", policies=(), events=None):
    """Verdicts and the rest, of a long of 1 BTC from 10,000 with a margin of 1,000: taken over at 9,000."""
    opening = [event(1, side="buy", quantity="100", price="10000", leverage="10")]
    marks = [mark(0, "10000"), mark(5, price), mark(60, "9900")]
    book = run([*(events or opening), *booked], marks, policies=RiskPolicies.parse(list(policies)))
    return rows_of(book.liquidations_due), book


@pytest.mark.parametrize(
    ("booked", "verdict", "words"),
    [
        (None, "not_booked", "due in full at 9000 at 2024-01-01 00:05, not booked"),
        ((5, "100", "9000", "9"), "agrees", "booked then at the mark"),
        ((6, "100", "9000", "9"), "late", "00:05, booked at 2024-01-01 00:06 at the mark"),
        ((4, "100", "9000", "9"), "early", "booked at 2024-01-01 00:04, before it was due in full at 9000"),
        ((6, "100", "9000", "9.5"), "differs", "at the mark; fee differs by 0.5 USDT"),
        ((6, "100", "8990", "9"), "differs", "; price differs by -10 USDT"),
        ((6, "60", "9000", "9"), "differs", "booked in part, not in full; quantity differs by -40 contracts"),
    ],
)
def test_a_booked_liquidation_is_held_against_the_one_that_was_due(booked, verdict, words):
    found, book = judged(*([] if booked is None else [liquidation(*booked)]))
    row = found[0]
    assert row["verdict"] == verdict
    assert words in row["explanation"]
    assert row["label"] == "LIQ"
    assert (row["quantity_due"], row["step"]) == (100, "full")
    (check,) = [one for one in rows_of(book.checks) if one["check"] == "liquidations_agree"]
    assert bool(check["failures"]) == (verdict not in ("agrees", "late"))
    if booked is not None:
        assert [row[f"{name}_booked"] for name in ("quantity", "price", "fee")] == [Fraction(one) for one in booked[1:]]


def test_at_the_bankruptcy_price_it_agrees_too():
    (row,), _ = judged(liquidation(6, "100", "8950", "9.04"), price="9040", policies=["liquidation_ratio=3"])
    assert row["verdict"] == "differs"
    (row,), _ = judged(liquidation(6, "100", "9000", "9.04"), price="9040", policies=["liquidation_ratio=3"])
    assert (row["verdict"], row["price_due"]) == ("late", 9000)
    assert "at the bankruptcy price" in row["explanation"]


def test_one_that_was_not_due_or_cannot_be_graded():
    (row,), _ = judged(liquidation(6, "100", "9500"), price="9500")
    assert (row["verdict"], row["due_at"], row["event_id"]) == ("not_due", None, "6")
    assert "above 1: none was due" in row["explanation"]
    opening = event(1, side="buy", quantity="100", price="10000", leverage="10")
    book = run([opening, liquidation(6, "100", "9500")])
    assert book.liquidations_due["verdict"].to_list() == ["not_graded"]
    assert book.checks["failures"].sum() == 0


def test_more_to_the_account_than_is_left_is_a_difference():
    (row,), _ = judged(liquidation(5, "100", "9000", "9", amount="1"))
    assert row["verdict"] == "differs"
    assert "; 1 USDT more than is left goes to the account" in row["explanation"]
    assert (row["returned_due"], row["returned_booked"], row["insurance_fund_booked"]) == (0, 1, -10)
    (row,), _ = judged(liquidation(5, "100", "9040", "9.04", amount="30.96"), price="9040")
    assert (row["verdict"], row["insurance_fund_booked"]) == ("agrees", 0)


def test_the_mark_of_a_booked_liquidation_makes_it_due_then():
    _, book = judged(liquidation(5, "100", "9000", "9"))
    (life,) = rows_of(book.positions)
    then = START + timedelta(minutes=5)
    assert [life[name] for name in ("alert_at", "cancelled_at", "full_at", "lowest_at")] == [then] * 4
    assert (life["how"], life["lowest_ratio"], life["partial_at"]) == ("liquidated", 0, None)


def test_after_a_booked_liquidation_the_rest_is_looked_at_again():
    found, _ = judged(liquidation(5, "60", "9000"), liquidation(7, "40", "9000", "3.6"))
    assert [(row["number"], row["verdict"], row["quantity_due"]) for row in found] == [
        (1, "differs", 100),
        (2, "late", 40),
    ]


def as_due(steps, later):
    """The steps as events, booked so much later."""
    return [
        event(
            1000 + number,
            instrument=step["instrument"],
            position_side=step["position"].rsplit(":", 1)[1],
            kind="liquidation",
            side=step["side"],
            quantity=step["quantity_due"],
            price=step["price_due"],
            fee=step["fee_due"],
            amount=step["returned_due"],
            time=step["due_at"] + later,
        )
        for number, step in enumerate(steps)
    ]


@pytest.mark.parametrize("seconds", [0, 1])
@pytest.mark.parametrize(("price", "fee"), [("9300", "none"), ("9100", "charged"), ("9010", "none"), ("8500", "none")])
def test_what_is_booked_step_by_step_as_it_was_due_agrees(price, fee, seconds):
    """Several steps at one mark, each an event of its own, at the time of the mark or after it."""
    opening = event(1, side="buy", quantity="450", price="10000", leverage="10")
    marks = [mark(0, "10000", rate=None), mark(5, price, rate=None)]
    options = {"tiers": tiers(), "policies": RiskPolicies(partial_fee=fee)}
    steps = rows_of(run([opening], marks, **options).liquidations_due)
    book = run([opening, *as_due(steps, timedelta(seconds=seconds))], marks, **options)
    found = rows_of(book.liquidations_due)
    assert [row["verdict"] for row in found] == ["late" if seconds else "agrees"] + ["agrees"] * (len(steps) - 1)
    for name in ("step", "quantity_due", "price_due", "insurance_fund_due", "ratio_before"):
        assert [row[name] for row in found] == [step[name] for step in steps]
    assert book.checks["failures"].sum() == 0


@pytest.mark.parametrize("price", ["9040", "9030"])
def test_pairs_that_are_booked_as_they_were_due_agree(price):
    """The short, closed by its pair, gets back its margin and gain."""
    marks = [mark(0, "10000"), mark(5, price)]
    steps = rows_of(run(HEDGED, marks).liquidations_due)
    for later in (0, 1):
        book = run([*HEDGED, *as_due(steps, timedelta(seconds=later))], marks)
        assert set(book.liquidations_due["verdict"]) <= {"agrees", "late"}
        assert book.liquidations_due.height == len(steps)
        assert book.checks["failures"].sum() == 0


# --- options -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("quantity", "count"), [("1", 1), ("150", 2)])
def test_a_sold_option_is_liquidated_by_its_margin_alone(quantity, count):
    """Sold at 0.09 with a margin of 0.24 a unit; rates of 1 and 2 % of the size, and a fee of 0.1 % of it."""
    size = Fraction(quantity) / 100
    sold = event(1, instrument=OPTION, side="sell", quantity=quantity, price="0.09", amount=size * Fraction("0.24"))
    marks = [mark(0, "0.09", OPTION, rate=None), mark(5, "0.235", OPTION, rate=None)]
    steps = rows_of(run([sold], marks, tiers=tiers(OPTION)).liquidations_due)
    assert len(steps) == count
    last = steps[-1]
    # What is left of the margin after 50 contracts are bought back at 0.235 is 0.2425 a unit.
    assert (last["step"], last["price_due"]) == ("full", Fraction("0.24") if count == 1 else Fraction("0.2425"))
    assert last["returned_due"] == last["quantity_due"] / 100 * Fraction("0.09")
    flows = sum(
        step["realised_pnl_due"] - step["fee_due"] - step["insurance_fund_due"] - step["returned_due"] for step in steps
    )
    assert size * Fraction("0.24") + flows == 0
    book = run([sold, *as_due(steps, timedelta())], marks, tiers=tiers(OPTION))
    assert set(book.liquidations_due["verdict"]) == {"agrees"}
    assert book.checks["failures"].sum() == 0


def test_a_bought_option_is_never_liquidated():
    bought = event(1, instrument=OPTION, side="buy", quantity="10", price="0.05")
    book = run([bought], [mark(5, "0.000001", OPTION), mark(6, "0.2", OPTION)])
    assert book.liquidations_due.is_empty()
    (life,) = rows_of(book.positions)
    assert (life["status"], life["margin"], life["option_value"]) == ("normal", Fraction("0.005"), Fraction("0.02"))
    assert (life["margin_ratio"], life["liquidation_price"], life["maintenance_margin"]) == (None, None, 0)
