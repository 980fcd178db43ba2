"""The liquidations that were due in whole histories: against the oracle, and what the engine makes of them."""

from datetime import timedelta
from fractions import Fraction
from random import Random

import liquidation_oracle
import oracle
import polars as pl
import pytest
import strategies
from exact import event, rows_of, run
from hypothesis import given, settings
from hypothesis import strategies as st
from test_liquidation import FEE_RATE, TABLE, WORDS, frame, position, tiers_of

from ledger import Policies, checks
from ledger.columns import LEDGER, MARKS, POSTINGS, schema
from ledger.money import MONEY
from ledger.ordering import index_positions
from ledger.postings import imbalances, posting_amounts
from ledger.risk.booked import liquidation_checks
from ledger.risk.grading import grade
from ledger.risk.liquidation import BALANCES, steps_at
from ledger.risk.liquidation_events import replayed
from ledger.risk.policies import RiskPolicies
from ledger.risk.simulation import DUE, simulate
from ledger.risk.states import spot_states

START = event(0)["time"]
SQ_TABLE = [{"base": Fraction(100), "rate": Fraction(3, 100)}, {"base": Fraction(1000), "rate": Fraction(4, 100)}]
SQ = [
    event(1, side="sell", quantity="110", price="27271", amount="299990", currency="USDT"),
]
"""SQ of rules 4 without its interest: 2,999,810 USDT of assets and 110 BTC of debt."""


def at(minute):
    return START + timedelta(minutes=minute)


def marks_of(prices, fee_rate=FEE_RATE):
    """(time, price) as a frame of MARKS that states the fee rate, and leaves the maintenance rate to the tiers."""
    rows = {
        "instrument": ["BTC-USDT"] * len(prices),
        "time": [time for time, _ in prices],
        "mark_price": [strategies.text(Fraction(price)) for _, price in prices],
        "liquidation_fee_rate": [strategies.text(Fraction(fee_rate))] * len(prices),
    }
    columns = [pl.col(name) if name in rows else pl.lit(None).alias(name) for name in schema(MARKS)]
    return pl.DataFrame(rows).select(columns).cast(dict(schema(MARKS)))


def index_of(events):
    return index_positions(strategies.frame(events))


def simulated(events, marks, table=TABLE, policies=(), replay=(), **more):
    book = run(events, replay)
    return simulate(
        book.ledger,
        index_of(events),
        marks,
        tiers_of(table),
        RiskPolicies.parse(list(policies)),
        Policies.parse(list(replay)),
        **more,
    )


# --- worked examples ----------------------------------------------------------------------------------------------


def test_example_of_the_rules_over_time():
    """Bought 10 BTC at 29,000; the rest, whose assets are a little more, is liquidated when the mark goes on."""
    marks = marks_of([(at(0), 28_000), (at(60), 29_000), (at(120), 29_050), (at(180), 29_500)], Fraction(1, 10_000))
    found = simulated(SQ, marks, SQ_TABLE)
    first, second = rows_of(found.due)
    assert (first["step"], first["due_at"], first["quantity_due"], first["value_due"]) == (
        "partial",
        at(60),
        10,
        290_000,
    )
    assert (second["step"], second["due_at"], second["repaid_due"]) == ("full", at(180), 100)
    reduced, closed = rows_of(found.ledger)
    assert (reduced["action"], reduced["base_closing"], reduced["quote_closing"]) == ("reduce", -100, 2_709_810)
    assert (closed["action"], closed["base_opening"], closed["insurance_fund"]) == (
        "close",
        -100,
        second["insurance_fund_due"],
    )
    assert [row["event_number"] for row in (reduced, closed)] == [2, 3]
    assert {row["position"] for row in (reduced, closed)} == {"main:BTC-USDT:USDT"}


def test_events_after_the_first_liquidation_are_left_out():
    later = [
        event(70, kind="interest", amount="50", currency="BTC"),
        event(80, kind="margin", amount="1000000", currency="USDT"),
    ]
    marks = marks_of([(at(60), 29_000), (at(120), 29_500)], Fraction(1, 10_000))
    assert simulated([*SQ, *later], marks, SQ_TABLE).due.equals(simulated(SQ, marks, SQ_TABLE).due)


def test_nothing_is_due_after_the_life_is_closed():
    marks = marks_of([(at(60), 29_000), (at(120), 29_500)], Fraction(1, 10_000))
    closed = [*SQ, event(90, side="buy", quantity="110", price="29000")]
    assert simulated(closed, marks, SQ_TABLE).due["due_at"].to_list() == [at(60)]


def test_at_the_next_mark_it_is_looked_at_again():
    prices = [(at(60), 29_000), (at(120), 20_000), (at(180), 29_000), (at(240), 29_010)]
    marks = marks_of(prices, Fraction(1, 10_000))
    assert simulated(SQ, marks, SQ_TABLE, ["recheck=next_mark"]).due["due_at"].to_list() == [at(240)]


def test_as_at_and_no_marks():
    marks = marks_of([(at(60), 29_000), (at(180), 29_500)], Fraction(1, 10_000))
    assert simulated(SQ, marks, SQ_TABLE, as_at=at(100)).due["step"].to_list() == ["partial"]
    nothing = simulated(SQ, None, SQ_TABLE)
    assert [part.height for part in (nothing.due, nothing.ledger, nothing.postings)] == [0, 0, 0]
    schemas = [part.schema for part in (nothing.due, nothing.ledger, nothing.postings)]
    assert schemas == [pl.Schema(DUE), schema(LEDGER), schema(POSTINGS)]


@pytest.mark.parametrize(("side", "worse", "better"), [("buy", 80, 92), ("sell", 125, "107.5")])
@pytest.mark.parametrize("residual", ["insurance_fund", "account"])
def test_a_gap_beyond_bankruptcy_costs_the_margin_and_no_more(side, worse, better, residual):
    """The fund pays the lack, whoever would have received what is left: in all four cases."""
    given = {"side": side, "quantity": "10", "price": "100", "leverage": "10"}
    opened = [event(1, **given, margin_currency=code, event_id=code) for code in ("BTC", "USDT")]
    replay, policies = (f"liquidation_residual={residual}",), ["liquidation=all_at_once"]
    found = [
        simulated(opened, marks_of([(at(5), price)]), replay=replay, policies=policies) for price in (worse, better)
    ]
    for due in rows_of(found[0].due):
        assert due["returned_due"] == 0 > due["insurance_fund_due"]
    for due in rows_of(found[1].due):
        left = due["insurance_fund_due"], due["returned_due"]
        assert (left[0] > 0, left[1] > 0) == (residual == "insurance_fund", residual == "account")
        assert 0 in left
    assert [one.due.height for one in found] == [2, 2]


def test_interest_not_yet_charged_is_charged_before_a_full_liquidation():
    """SQ of the rules with 0.5 BTC of interest at 29,500: 10 BTC in part, then the interest, then 100.5 BTC."""
    rows = frame([position("SQ", 29_500, Fraction(2_999_800), Fraction(110), Fraction(300_000), Fraction(1, 2))])
    steps = steps_at(rows, tiers_of(SQ_TABLE), RiskPolicies())
    starts = rows.select(BALANCES)[steps["place"]]
    before = {
        f"{name.removesuffix('_leg')}_before": pl.when(pl.col("step_number") == 1)
        .then(starts[name])
        .otherwise(pl.col(name).shift(1))
        for name in BALANCES
    }
    events = [event(1, side="sell", quantity="110", price="27271", leverage="10")]
    named = {"position": "main:BTC-USDT:USDT", "mode": "new"}
    known = steps.with_columns(
        **{name: pl.lit(word) for name, word in named.items()},
        segment=pl.lit(1, pl.UInt32),
        episode=pl.lit(1, pl.UInt32),
        event_number=pl.lit(7, pl.UInt32),
        event_id=pl.format("due {}", "step_number"),
        time=pl.lit(at(60)),
        mark_price=rows["mark_price"][0],
        is_long=pl.lit(0),
        leverage=pl.lit(None, MONEY),
        entry_price=pl.lit(None, MONEY),
        **before,
    )
    ledger, postings = replayed(known, index_of(events), Policies())
    part, charge, whole = rows_of(ledger)
    assert [row["kind"] for row in (part, charge, whole)] == ["liquidation", "interest", "liquidation"]
    assert [row["event_number"] for row in (part, charge, whole)] == [8, 9, 10]
    assert (part["base_closing"], charge["interest"], charge["base_closing"]) == (
        -100,
        Fraction(1, 2),
        Fraction("-100.5"),
    )
    assert (whole["action"], whole["base_closing"]) == ("close", 0)
    assert whole["insurance_fund"] == Fraction(steps["left_due"][1])
    assert postings.group_by("event_id", "currency").agg(pl.col("amount").sum())["amount"].abs().max() == 0


# --- against the oracle -------------------------------------------------------------------------------------------


def history(random, positions=8, events=60):
    """Valid events of positions of one instrument near their ends, some liquidated, and marks about 100."""
    made, price = [], Fraction(100)
    keys = [(f"a{number}", "BTC-USDT", random.choice(("BTC", "USDT"))) for number in range(positions)]
    books = [
        {"key": key, "position": oracle.new_position(*key), "size": Fraction(random.randint(5, 300))} for key in keys
    ]
    for number in range(events):
        book, price = random.choice(books), max(price + random.randint(-2, 2), Fraction(60))
        whose = {"account": book["key"][0], "margin_currency": book["key"][2]}
        own = event(5 * (number // 2) + random.choice((0, 1)) * (number % 2), **_event(random, book, price), **whose)
        trial = dict(book["position"])
        try:
            oracle.step(trial, own)
        except oracle.RefusedError:
            continue
        book["position"] = trial
        made.append(own | {"event_id": f"e{number}", "row": number + 1})
    return made, _prices(random, 5 * (events // 2) + 30)


def _prices(random, minutes):
    marks, price = [], Fraction(100)
    for minute in range(0, minutes, 5):
        if random.random() < 0.6:
            price = max(price + random.choice((-9, -4, -1, 0, 1, 4, 9)), Fraction(20))
            marks.append((at(minute), price))
    return marks


def _event(random, book, price):
    position, size = book["position"], book["size"]
    if position["direction"] is None:
        leverage = random.choice(("5", "10", "20"))
        return {"side": random.choice(("buy", "sell")), "quantity": size, "price": price, "leverage": leverage}
    kind = random.choice(("interest", "margin", "fill", "liquidation", "liquidation", "close"))
    if kind == "interest":
        currency = "USDT" if position["direction"] == "long" else "BTC"
        return {"kind": kind, "amount": oracle.rounded(abs(position["debt"]) / 1_000), "currency": currency}
    if kind == "margin":
        return {"kind": kind, "amount": oracle.rounded(position["margin"] / 5), "currency": book["key"][2]}
    side = {"long": "sell", "short": "buy"}[position["direction"]]
    quantity = size * (2 if kind == "close" else Fraction(random.randint(1, 12), 8))
    fill = {
        "kind": "liquidation" if kind == "liquidation" else "fill",
        "side": side,
        "quantity": quantity,
        "price": price,
    }
    return fill | ({"reduce_only": True} if kind != "liquidation" else {})


SIMULATIONS = ((), ("recheck=next_mark",), ("liquidation=all_at_once",), ("partial_fee=charged", "steps_spot=2"))
COMPARED = (
    *("position", "episode", "due_at", "due_mark", "step", "side", "tier_before", "tier_after", "quantity_due"),
    *("value_due", "price_due", "repaid_due", "fee_due", "realised_pnl_due"),
    *("is_missed", "missed_again", "missed_until", "over"),
)


def wanted_of(events, marks, policies):
    pairs = (text.split("=") for text in policies)
    chosen = {WORDS.get(name, name): int(value) if value.isdigit() else value for name, value in pairs}
    rows, _ = oracle.replay(events)
    found = liquidation_oracle.due_of(rows, marks, TABLE, FEE_RATE, liquidation_oracle.DEFAULTS | chosen)
    return [{name: row.get(name) for name in COMPARED} for row in found]


@pytest.mark.parametrize("policies", SIMULATIONS, ids=lambda names: " ".join(names) or "default")
@settings(max_examples=4)
@given(random=st.randoms(use_true_random=False))
def test_what_was_due_is_what_the_oracle_says(policies, random):
    events, marks = history(random)
    if not marks:
        return
    found = simulated(events, marks_of(marks), policies=policies)
    assert [{name: row[name] for name in COMPARED} for row in rows_of(found.due)] == wanted_of(events, marks, policies)


@pytest.fixture(scope="module")
def runs():
    """Fixed histories with much due in them: (events, marks, what was due), under both policies on what is left."""
    found = []
    for seed, residual in enumerate(("insurance_fund", "account")):
        events, marks = history(Random(seed), positions=30, events=200)
        due = simulated(events, marks_of(marks), replay=(f"liquidation_residual={residual}",))
        assert due.due.height > 20
        assert due.due.group_by("segment").len()["len"].max() > 1
        found.append((events, marks, due))
    return found


def test_rows_of_the_engine_balance_and_follow_each_other(runs):
    for events, _, found in runs:
        lacking = imbalances(posting_amounts(found.ledger, index_of(events)))
        assert lacking.select(pl.all_horizontal(pl.all() == 0).all()).item()
        sums = found.postings.group_by("event_id", "currency").agg(pl.col("amount").sum())
        assert sums["amount"].abs().max() == 0
        rows = found.ledger.join(found.due.select("event_id", "segment"), on="event_id", maintain_order="left")
        assert rows.height == found.ledger.height
        same = pl.col("segment") == pl.col("segment").shift(1)
        follows = pl.col("event_number") == pl.col("event_number").shift(1) + 1
        chained = [pl.col(f"{leg}_opening") == pl.col(f"{leg}_closing").shift(1) for leg in ("base", "quote", "margin")]
        assert rows.filter(same & ~pl.all_horizontal(follows, *chained)).height == 0
        assert rows.filter(same).height > 0


def test_amounts_due_are_those_of_the_engine(runs):
    """Fund and account, and realised PnL + margin - fee - fund - returned = 0 in margin currency, fee at the mark."""
    for _, _, found in runs:
        booked = {row["event_id"]: row for row in rows_of(found.ledger)}
        assert {row["kind"] for row in booked.values()} <= {"liquidation", "interest"}
        for due in rows_of(found.due):
            row = booked[due["event_id"]]
            assert (row["quantity"], row["value"], row["fee"]) == (
                due["quantity_due"],
                due["value_due"],
                due["fee_due"],
            )
            assert (row["action"] == "close") == (due["step"] == "full")
            assert (row["price"], row["time"], row["side"]) == (due["due_mark"], due["due_at"], due["side"])
            if due["step"] == "full":
                returned = row["account_base" if due["margin_is_base"] else "account_quote"]
                assert (due["insurance_fund_due"], due["returned_due"]) == (row["insurance_fund"], returned)
                assert returned >= 0
                fee = due["realised_pnl_due"] - row["realised_pnl"]
                rest = due["realised_pnl_due"] + row["margin_opening"] - fee - row["insurance_fund"] - returned
                assert rest == 0
                settles_at = {(1, 1): 1 / due["due_mark"], (0, 0): due["due_mark"]}
                at_mark = due["fee_due"] * settles_at.get((due["is_long"], due["margin_is_base"]), 1)
                assert abs(fee - at_mark) <= Fraction(1, 10**18)


def test_grading_that_is_known_changes_nothing(runs):
    events, prices, found = runs[0]
    book, index, marks, policies = run(events), index_of(events), marks_of(prices), RiskPolicies()
    states = spot_states(book.ledger, index, marks, tiers_of(TABLE), policies)
    graded = grade(states, marks, policies)
    same = simulate(book.ledger, index, marks, tiers_of(TABLE), policies, Policies(), graded=graded)
    assert same.due.equals(found.due)


def test_the_check_of_postings_sees_what_does_not_balance(runs, monkeypatch):
    monkeypatch.setitem(checks.DESCRIPTIONS, "liquidations_agree", "")
    monkeypatch.setitem(checks.DESCRIPTIONS, "simulated_postings_balance", "")
    events, _, found = runs[0]
    index = index_of(events)
    none = pl.DataFrame(schema={"position": pl.String, "episode": pl.UInt32, "number": pl.UInt32, "verdict": pl.String})
    assert liquidation_checks(none, found, index)[1]["failures"].item() == 0
    wrong = found.ledger.with_columns(insurance_fund=pl.col("insurance_fund") + 1)
    broken = type(found)(found.due, wrong, found.postings)
    assert liquidation_checks(none, broken, index)[1]["failures"].item() == wrong.height
