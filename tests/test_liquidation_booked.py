"""Recorded liquidations against those that were due: every verdict with its sentence, and the whole round trip."""

from fractions import Fraction
from random import Random

import polars as pl
import pytest
from exact import event, rows_of, run
from oracle import rounded
from test_liquidation import TABLE, tiers_of
from test_simulation import SQ_TABLE, at, history, index_of, marks_of

from ledger import Policies, checks
from ledger.columns import schema
from ledger.risk.booked import compare, liquidation_checks
from ledger.risk.columns import LIQUIDATIONS
from ledger.risk.policies import RiskPolicies
from ledger.risk.simulation import simulate

FEE_RATE = Fraction(1, 10_000)
MARKS = marks_of([(at(0), 28_000), (at(60), 29_000), (at(120), 20_000)], FEE_RATE)
LARGE = {"side": "sell", "quantity": "110", "price": "27271", "amount": "299990", "currency": "USDT"}
"""Due in part at 29,000: buys 10 BTC."""
SMALL = {"side": "sell", "quantity": "50", "price": "27271", "amount": "120000", "currency": "USDT"}
"""Due in full at 29,000, at tier 1; bankrupt at 29,671."""
IN_BASE = SMALL | {"price": "27508", "amount": "4", "currency": "BTC", "margin_currency": "BTC"}
"""The same with base margin: bankrupt at 29,900, where 46 BTC cost its 1,375,400 USDT."""
FEE = {"fee": "0.00515", "fee_currency": "BTC"}
DUE = "due in part at 29000 at 2024-01-01 01:00"
IN_FULL = "due in full at 29000 at 2024-01-01 01:00"


def liquidation(minute, quantity, price="29000", **more):
    return event(minute, kind="liquidation", side="buy", quantity=quantity, price=price, **more)


EXAMPLES = {
    "agrees": (LARGE, [liquidation(60, "10")], f"{DUE}, booked then"),
    "late": (LARGE, [liquidation(67, "10")], f"{DUE}, booked at 01:07 (7 min later)"),
    "late, full, at the mark": (
        SMALL,
        [liquidation(67, "50.00515", **FEE)],
        f"{IN_FULL}, booked at 01:07 (7 min later) at the mark",
    ),
    "agrees, full, at the bankruptcy price": (
        SMALL,
        [liquidation(60, "50.00515", "29671", **FEE)],
        f"{IN_FULL}, booked then at the bankruptcy price",
    ),
    "agrees, base margin, at the bankruptcy price": (
        IN_BASE,
        [liquidation(60, "46", "29900", **FEE)],
        f"{IN_FULL}, booked then at the bankruptcy price",
    ),
    "early": (LARGE, [liquidation(53, "10")], f"booked at 2024-01-01 00:53, 7 min before it was {DUE}"),
    "differs in quantity": (
        LARGE,
        [liquidation(67, "10.5")],
        f"{DUE}, booked at 01:07 (7 min later); quantity differs by 0.5 BTC; repaid differs by 0.5 BTC",
    ),
    "differs in price": (
        LARGE,
        [liquidation(67, "10", "29000.1")],
        f"{DUE}, booked at 01:07 (7 min later); price differs by 0.1 USDT",
    ),
    "differs in fee": (
        LARGE,
        [liquidation(67, "10.001", fee="0.001", fee_currency="BTC")],
        f"{DUE}, booked at 01:07 (7 min later); quantity differs by 0.001 BTC; fee differs by 0.001 BTC",
    ),
    "differs in the fee's currency": (
        LARGE,
        [liquidation(67, "10", fee="0.5", fee_currency="OKB")],
        f"{DUE}, booked at 01:07 (7 min later); the fee is booked in another currency",
    ),
    "differs in step": (
        LARGE,
        [liquidation(60, "110")],
        f"{DUE}, booked then; booked in full, not in part; quantity differs by 100 BTC; repaid differs by 100 BTC",
    ),
    "not_booked": (LARGE, [], f"{DUE}, not booked"),
    "not_due": (
        LARGE,
        [liquidation(30, "10"), event(40, kind="margin", amount="1000000", currency="USDT")],
        "booked at 2024-01-01 00:30; the ratio at the mark 28000 was 1.779464301905953621, above 1: none was due",
    ),
    "not_graded": (
        LARGE | {"instrument": "LTC-BTC", "currency": "BTC", "margin_currency": "BTC"},
        [liquidation(30, "10")],
        "booked at 2024-01-01 00:30; no mark price is known of then",
    ),
}
VERDICTS = {name: name.split()[0].strip(",") for name in EXAMPLES}


def compared(events, marks, table, policies=(), as_at=None):
    book, index = run(events), index_of(events)
    policies = RiskPolicies.parse(list(policies))
    tiers = tiers_of(table)
    due = simulate(book.ledger, index, marks, tiers, policies, Policies(), as_at)
    return compare(due, book.ledger, index, marks, tiers, policies), due, index, book


@pytest.fixture(scope="module")
def examples():
    """Every example as an account of its own, in one run."""
    events = []
    for name, (opening, later, _) in EXAMPLES.items():
        own = {key: opening[key] for key in ("instrument", "margin_currency") if key in opening}
        whose = {"account": name, "instrument": "BTC-USDT", "margin_currency": "USDT"} | own
        given = [event(1, **opening), *later]
        events += [one | whose | {"event_id": f"{name} {number}"} for number, one in enumerate(given)]
    found, due, index, _ = compared([one | {"row": row} for row, one in enumerate(events, start=1)], MARKS, SQ_TABLE)
    return found, due, index


@pytest.mark.parametrize("name", EXAMPLES)
def test_verdict_and_sentence(examples, name):
    rows = [row for row in rows_of(examples[0]) if row["position"].startswith(f"{name}:")]
    assert [(row["verdict"], row["explanation"]) for row in rows] == [(VERDICTS[name], EXAMPLES[name][2])]
    assert (rows[0]["number"], rows[0]["label"]) == (1, "LIQ")


def row_of(found, name):
    return next(row for row in rows_of(found) if row["position"].startswith(f"{name}:"))


def test_both_halves_and_their_differences(examples):
    found = examples[0]
    assert found.schema == schema(LIQUIDATIONS)
    row = row_of(found, "differs in fee")
    assert (row["fee_due"], row["fee_booked"], row["fee_difference"]) == (0, Fraction("0.001"), Fraction("0.001"))
    assert (row["tier_before"], row["tier_after"], row["step"], row["side"]) == (2, 1, "partial", "buy")
    assert (row["liability_currency"], row["margin_currency"], row["direction"]) == ("BTC", "USDT", "short")
    full = row_of(found, "late, full, at the mark")
    assert (full["realised_pnl_due"], full["realised_pnl_booked"]) == (-86_450, -86_450)
    # 120,000 of margin less the loss and the fee of 0.00515 BTC at 29,000
    assert (full["insurance_fund_due"], full["insurance_fund_booked"]) == (Fraction("33400.65"),) * 2
    assert (full["returned_due"], full["returned_booked"], full["returned_difference"]) == (0, 0, 0)
    over = row_of(found, "agrees, base margin, at the bankruptcy price")
    assert (over["quantity_due"], over["price_due"], over["bankruptcy_price"]) == (46, 29_900, 29_900)
    missing = row_of(found, "not_booked")
    assert (missing["quantity_booked"], missing["event_id"], missing["booked_at"]) == (None, None, None)
    extra = row_of(found, "not_due")
    assert (extra["quantity_due"], extra["due_at"], extra["tier_before"], extra["step"]) == (None, None, 2, "partial")


def test_check_counts_what_does_not_agree(examples, monkeypatch):
    monkeypatch.setitem(checks.DESCRIPTIONS, "liquidations_agree", "")
    monkeypatch.setitem(checks.DESCRIPTIONS, "simulated_postings_balance", "")
    agrees, balances = liquidation_checks(*examples)
    good = sum(verdict in ("agrees", "late") for verdict in VERDICTS.values())
    assert (agrees["rows_tested"].item(), agrees["failures"].item()) == (len(EXAMPLES), len(EXAMPLES) - good)
    assert (balances["failures"].item(), balances["rows_tested"].item() > 5) == (0, True)
    nothing = liquidation_checks(examples[0].clear(), simulate(*_empty()), examples[2])
    assert [found["failures"].item() for found in nothing] == [0, 0]


def _empty():
    events = [event(1, **LARGE)]
    return run(events).ledger, index_of(events), None, None, RiskPolicies(), Policies()


def test_without_marks_nothing_is_graded():
    events = [event(1, **LARGE), liquidation(67, "10"), liquidation(68, "100")]
    found, _, _, _ = compared(events, None, SQ_TABLE)
    assert found["verdict"].to_list() == ["not_graded", "not_graded"]
    assert found["number"].to_list() == [1, 2]


def test_booked_before_the_mark_at_which_it_is_looked_at_again_is_early():
    found, _, _, _ = compared(
        [event(1, **LARGE), liquidation(61, "10")],
        marks_of([(at(60), 29_000), (at(65), 29_000)], FEE_RATE),
        SQ_TABLE,
        ["recheck=next_mark"],
    )
    assert found["verdict"].to_list() == ["early"]


def test_one_side_only_is_in_order_of_the_life():
    """Two steps due, the first booked, then one when none was due any more."""
    marks = marks_of([(at(60), 29_000), (at(120), 29_500), (at(180), 20_000)], FEE_RATE)
    events = [event(1, **LARGE), liquidation(60, "10"), liquidation(200, "1")]
    found, _, _, _ = compared(events, marks, SQ_TABLE)
    assert found["verdict"].to_list() == ["agrees", "not_booked", "not_due"]
    found, _, _, _ = compared(events[:2], marks, SQ_TABLE)
    assert found["verdict"].to_list() == ["agrees", "not_booked"]
    found, _, _, _ = compared(events[:1], marks, SQ_TABLE)
    assert found["verdict"].to_list() == ["not_booked", "not_booked"]
    assert found["explanation"][1].endswith("not booked; what is recorded after the first is left out")


def opened_of(seed, positions, events):
    """The first event of each account of a history, and its marks."""
    made, prices = history(Random(seed), positions=positions, events=events)
    accounts = [one["account"] for one in made]
    return [one for place, one in enumerate(made) if one["account"] not in accounts[:place]], marks_of(prices)


def booked_back(due, turn, at_bankruptcy=False):
    """Events that book the first of the liquidations that were due, and not booked, of each position."""
    fresh = due.due.filter(pl.col("booked_event").is_null())
    first = fresh.filter(pl.col("due_at") == pl.col("due_at").min().over("position"))
    known = {row["event_id"]: row for row in rows_of(first)}
    booked = []
    for row in rows_of(due.ledger):
        if row["event_id"] not in known:
            continue
        of, trade = known[row["event_id"]], {name: row[name] for name in ("quantity", "price", "value")}
        if at_bankruptcy and of["step"] == "full" and of["bankruptcy_price"] is not None:
            trade["price"] = of["bankruptcy_price"]
            if of["margin_is_base"]:
                trade["quantity"] = rounded(trade["value"] / trade["price"])
            else:
                trade["value"] = rounded(trade["quantity"] * trade["price"])
        account, _, margin_currency = row["position"].split(":")
        same = {name: row[name] for name in ("kind", "side", "fee", "fee_currency", "time")}
        name = {"event_id": f"{row['event_id']} {turn}", "account": account, "margin_currency": margin_currency}
        booked.append(event(0, **trade) | same | name | {"row": 1_000 * turn + len(booked)})
    return booked


@pytest.mark.parametrize("at_bankruptcy", [False, True])
@pytest.mark.parametrize("policies", [(), ("partial_fee=charged",)])
def test_what_was_due_agrees_when_it_is_booked(policies, at_bankruptcy):
    """The liquidations that were due, booked one after the other, are those that were due: at either price."""
    events, marks = opened_of(18, positions=25, events=100)
    for turn in range(1, 20):
        found, due, _, _ = compared(sorted(events, key=lambda one: one["time"]), marks, TABLE, policies)
        fresh = booked_back(due, turn, at_bankruptcy)
        assert set(found.filter(pl.col("booked_at").is_not_null())["verdict"]) <= {"agrees"}
        if not fresh:
            break
        events = [*events, *fresh]
    assert (found.height > 20, found["verdict"].unique().to_list()) == (True, ["agrees"])
    kinds = found.select("step", pl.col("side"), pl.col("margin_currency")).unique()
    assert kinds.height == 8
    for name in ("quantity", "price", "repaid", "fee", "insurance_fund", "returned"):
        assert (found[f"{name}_difference"].fill_null(0) != 0).sum() == 0
    assert found["realised_pnl_due"].equals(found["realised_pnl_booked"])


def test_what_waits_for_the_next_mark_is_compared_once():
    events, marks = opened_of(5, positions=25, events=160)
    policies = ("recheck=next_mark",)
    _, due, _, _ = compared(events, marks, TABLE, policies)
    events = sorted([*events, *booked_back(due, 1)], key=lambda one: one["time"])
    found, again, _, book = compared(events, marks, TABLE, policies)
    liquidated = book.ledger.filter(pl.col("kind") == "liquidation")["event_id"]
    assert sorted(found["event_id"].drop_nulls()) == sorted(liquidated)
    assert again.due.height == found["due_at"].count()
