"""Liquidations of contract positions that were due: by tier, wholly, pairs of hedge mode first (rules.md 6, 7)."""

from datetime import timedelta
from fractions import Fraction

import derivative_oracle as oracle
import polars as pl
import pytest
from exact import rows_of
from hypothesis import given, settings
from hypothesis import strategies as st
from test_derivative_replay import START, event, frame, mark, run

from ledger.derivatives.liquidation import opposing_pairs
from ledger.money import MONEY
from ledger.risk.columns import TIERS
from ledger.risk.policies import RiskPolicies

FEE = Fraction("0.001")


def tiers(instrument="BTC-USDT-SWAP", limits=(100, 200, 300, 400, 500)):
    """Invented tiers of 100 contracts each, whose rate is their number in per cent."""
    rows = [
        {
            "instrument": instrument,
            "tier": number,
            "largest_size": limit,
            "maintenance_rate": Fraction(number, 100),
            "stated_by": "invented",
        }
        for number, limit in enumerate(limits, start=1)
    ]
    return frame(rows, TIERS)


def due(price, policies=(), table=None, quantity="450"):
    """The steps for a long of 4.5 BTC from 10,000 with a margin of 4,500, at a mark that states no maintenance rate."""
    events = [event(1, side="buy", quantity=quantity, price="10000", leverage="10")]
    marks = [mark(0, "10000", rate=None), mark(5, price, rate=None)]
    found = run(events, marks, tiers=tiers() if table is None else table, policies=RiskPolicies.parse(list(policies)))
    return rows_of(found.liquidations_due), found


def test_a_partial_liquidation_goes_two_tiers_down_and_is_looked_at_again():
    (step,), book = due("9300")
    assert (step["step"], step["tier_before"], step["tier_after"], step["quantity_due"]) == ("partial", 5, 3, 150)
    assert (step["price_due"], step["realised_pnl_due"], step["fee_due"]) == (9300, -1050, 0)
    assert step["due_at"] == START + timedelta(minutes=5)
    equity = 4500 - Fraction("4.5") * 700
    assert abs(step["ratio_before"] - equity / (Fraction("4.5") * 9300 * (Fraction("0.05") + FEE))) < Fraction(
        1, 10**15
    )
    assert abs(step["ratio_after"] - equity / (3 * 9300 * (Fraction("0.03") + FEE))) < Fraction(1, 10**15)
    assert book.positions["tier"].to_list() == [5]
    assert book.positions["status"].to_list() == ["partial"]


def test_steps_follow_until_the_ratio_is_high_enough():
    steps, _ = due("9100")
    assert [(step["step"], step["tier_before"], step["tier_after"], step["quantity_due"]) for step in steps] == [
        ("partial", 5, 3, 150),
        ("partial", 3, 1, 200),
    ]


def test_the_lowest_tiers_are_taken_over_at_the_bankruptcy_price():
    steps, _ = due("9010")
    assert [step["step"] for step in steps] == ["partial", "partial", "full"]
    last = steps[-1]
    # 45 USDT of equity are left of 1 BTC: the loss is all of it at 8,965.
    assert (last["quantity_due"], last["price_due"], last["ratio_after"]) == (100, 8965, None)
    assert last["insurance_fund_due"] == 45 - Fraction("9.01")


def test_a_step_that_the_margin_does_not_pay_for_is_a_full_one():
    """From 7,000 on the first step down, 1.5 BTC, would lose more than the margin of 4,500."""
    (step,), _ = due("6990")
    assert (step["step"], step["quantity_due"], step["price_due"]) == ("full", 450, 9000)
    assert due("7000")[0][0]["step"] == "partial"


def test_policies_decide_steps_fee_and_parts():
    (whole,), _ = due("9300", ["liquidation=all_at_once"])
    assert (whole["step"], whole["quantity_due"], whole["price_due"]) == ("full", 450, 9000)
    one_down, _ = due("9300", ["steps_contract=1"])
    assert one_down[0]["tier_after"] == 4
    charged, _ = due("9300", ["partial_fee=charged"])
    assert charged[0]["fee_due"] == Fraction("1.5") * 9300 * FEE


def test_a_position_whose_tier_is_not_known_is_liquidated_wholly():
    events = [event(1, side="buy", quantity="10", price="10000", leverage="10")]
    book = run(events, [mark(5, "9050")])
    assert book.liquidations_due["step"].to_list() == ["full"]
    assert book.positions["full_at"].to_list() == [START + timedelta(minutes=5)]


def test_tiers_of_the_family_count_and_come_into_force_in_time():
    steps, _ = due("9300", table=tiers("BTC-USDT"))
    assert steps[0]["tier_before"] == 5
    later = tiers().with_columns(valid_from=pl.lit(START + timedelta(minutes=6)))
    steps, book = due("9300", table=later)
    assert not steps
    assert book.positions["status"].to_list() == ["not_graded"]


HEDGED = [
    event(1, position_side="long", side="buy", quantity="100", price="10000", leverage="10"),
    event(2, position_side="short", side="sell", quantity="40", price="9950", leverage="10"),
]


def test_opposing_pairs_close_first_and_both_sides_are_told():
    long, short = rows_of(run(HEDGED, [mark(5, "9040")]).liquidations_due)
    assert [(step["position"][-5:], step["step"], step["quantity_due"]) for step in (long, short)] == [
        (":long", "pair", 40),
        ("short", "pair", 40),
    ]
    assert long["ratio_before"] <= 1 < long["ratio_after"]
    assert (short["side"], short["realised_pnl_due"], short["ratio_after"]) == ("buy", 364, None)
    assert (short["returned_due"], short["insurance_fund_due"]) == (398 + 364, 0)
    assert short["ratio_before"] > 3
    steps = rows_of(run(HEDGED, [mark(5, "9030")]).liquidations_due)
    assert [(step["step"], step["quantity_due"]) for step in steps] == [("pair", 40), ("full", 60), ("pair", 40)]
    pair, full, _ = steps
    assert (pair["price_due"], pair["realised_pnl_due"]) == (9030, -388)
    # What is left of the margin after the pair, 1,000 - 388, is over 0.6 BTC from 10,000.
    assert full["price_due"] == (6000 - 612) / Fraction("0.6")


def test_a_position_of_one_way_mode_is_no_side_of_a_pair():
    net = event(3, side="buy", quantity="100", price="10000", leverage="10")
    steps = rows_of(run([*HEDGED, net], [mark(5, "9030")]).liquidations_due)
    assert [step["step"] for step in steps if step["position"].endswith("net")] == ["full"]


def test_the_other_side_is_not_due_and_crosses_nothing():
    lives = rows_of(run(HEDGED, [mark(5, "9030")]).positions)
    assert [life["full_at"] for life in lives] == [START + timedelta(minutes=5), None]


def test_pairs_are_of_one_account_contract_and_moment():
    row = {"account": "a", "instrument": "X", "time": START}
    rows = [
        row | {"position_side": "long", "contracts": "5"},
        row | {"position_side": "short", "contracts": "-7"},
        row | {"account": "b", "position_side": "long", "contracts": "1"},
        row | {"account": "b", "position_side": "net", "contracts": "-1"},
    ]
    found = opposing_pairs(pl.DataFrame(rows).with_columns(pl.col("contracts").cast(MONEY)))
    assert found["account"].to_list() == ["a"]
    assert [Fraction(value) for value in found["pair_quantity"]] == [5]


@pytest.mark.parametrize("instrument", ["BTC-USDT-SWAP", "BTC-USD-SWAP"])
@settings(max_examples=8, deadline=None)
@given(st.integers(1, 600), st.booleans(), st.integers(8000, 12000), st.integers(5, 50))
def test_no_step_costs_more_than_the_margin_and_few_are_needed(instrument, quantity, is_long, price, leverage):
    side = "buy" if is_long else "sell"
    opening = event(1, instrument=instrument, side=side, quantity=str(quantity), price="10000", leverage=str(leverage))
    marks = [mark(0, "10000", instrument, rate=None), mark(5, str(price), instrument, rate=None)]
    book = run([opening], marks, tiers=tiers(instrument))
    steps = rows_of(book.liquidations_due)
    assert len(steps) <= 4
    margin = Fraction(book.positions["margin"][0])
    lost = sum(
        step["realised_pnl_due"] - step["fee_due"] - step["insurance_fund_due"] - step["returned_due"] for step in steps
    )
    if steps and steps[-1]["step"] == "full":
        assert sum(step["quantity_due"] for step in steps) == quantity
        assert abs(margin + lost) <= Fraction(10, 10**18)
    elif steps:
        assert steps[-1]["ratio_after"] > 1
        assert margin + lost > 0
    ratio = oracle.measures(
        "inverse" if instrument == "BTC-USD-SWAP" else "linear",
        "long" if is_long else "short",
        quantity * (100 if instrument == "BTC-USD-SWAP" else Fraction(1, 100)),
        Fraction(book.positions["entry_value"][0]),
        margin,
        mark=Fraction(price),
        rate=Fraction(min(-(-quantity // 100), 5), 100),
        fee_rate=FEE,
    )["margin_ratio"]
    if book.positions["full_at"][0] != START + timedelta(minutes=1) != book.positions["partial_at"][0]:
        assert bool(steps) == (ratio <= 1)
