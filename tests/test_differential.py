"""The engine equals the oracle on every row, column and posting, to the last digit of the rounding."""

from collections import Counter
from itertools import product
from random import Random

import oracle
import polars as pl
import pytest
import strategies
from exact import event, oracle_policies, rows_of, run
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import ledger
from ledger.columns import LEDGER
from ledger.events import Events

POLICIES = (
    (),
    ("overfill=spot_first",),
    ("entry_price=net_remaining",),
    ("liquidation_residual=account",),
    ("overfill=spot_first", "entry_price=net_remaining", "liquidation_residual=account"),
)
COLUMNS = [column.name for column in LEDGER]
every_policy = pytest.mark.parametrize("policies", POLICIES, ids=lambda names: " ".join(names) or "default")


def place(row):
    return row["position"], row["event_number"], row["part"]


def differences(engine, expected, columns, key):
    """(key, column, engine, oracle) wherever two lists of rows differ, in the order of the keys."""
    found, wanted = {key(row): row for row in engine}, {key(row): row for row in expected}
    assert (len(found), len(wanted)) == (len(engine), len(expected))
    only = [(at, "row", at in found, at in wanted) for at in sorted(found.keys() ^ wanted.keys())]
    return only + [
        (at, name, found[at][name], wanted[at][name])
        for at in sorted(found.keys() & wanted.keys())
        for name in columns
        if found[at][name] != wanted[at][name]
    ]


def posted(postings):
    """The sum of the postings per event part, posting account and currency, without the zeros."""
    sums = Counter()
    for posting in postings:
        sums[place(posting), posting["posting_account"], posting["currency"]] += posting["amount"]
    return {key: amount for key, amount in sums.items() if amount}


def oracle_postings(postings):
    named = ("posting_account", "currency", "amount")
    return [{**row, **dict(zip(named, rest, strict=True))} for row, *rest in postings]


def lives(rows):
    """What the rows of the oracle say about each episode, by the names of the positions frame."""
    found = {}
    for row in rows:
        if row["action"] == "leftover" or row["direction"] is None:
            continue
        life = found.setdefault(
            (row["position"], row["episode"]),
            {
                "initial_margin": 0,
                "interest_charged": 0,
                "realised_pnl": None,
                "returned": None,
                "status": "open",
            },
        )
        life["initial_margin"] += row["initial_margin"] or 0
        life["interest_charged"] += row["interest"] or 0
        life |= {name: row[name] for name in ("position", "episode", "direction", "mode", "entry_price")}
        life |= {"base_leg": row["base_closing"], "quote_leg": row["quote_closing"]}
        life["margin"] = row["margin_closing"]
        if row["action"] == "close":
            account = row["account_base"] + row["account_quote"]
            status = "liquidated" if row["kind"] == "liquidation" else "closed"
            life |= {"realised_pnl": row["realised_pnl"], "returned": account, "status": status}
    opening = {row["event_id"] for row in rows if row["action"] == "open"}
    for row in rows:
        if row["action"] == "close" and row["event_id"] in opening:
            found[row["position"], row["episode"]]["status"] = "reversed"
    return list(found.values())


def compare(events, policies):
    result = run(events, policies)
    rows, postings = oracle.replay(events, oracle_policies(policies))
    assert differences(rows_of(result.ledger), rows, COLUMNS, place)[:5] == []
    assert posted(rows_of(result.postings)) == posted(oracle_postings(postings))
    expected = lives(rows)
    columns = expected[0].keys() if expected else ()
    life = lambda row: (row["position"], row["episode"])  # noqa: E731
    assert differences(rows_of(result.positions), expected, columns, life)[:5] == []
    checks = result.checks.filter(pl.col("check") != "initial_margin_as_formula")  # histories record any margin
    assert checks.filter(pl.col("failures") > 0)["check"].to_list() == []


@every_policy
@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_any_history(policies, data):
    compare(data.draw(strategies.histories(oracle_policies(policies))), policies)


@every_policy
def test_a_long_history_of_all_cases(policies):
    random = Random(20241122)
    events = strategies.history(random, events=2500, positions=8, policies=oracle_policies(policies))
    rows, _ = oracle.replay(events, oracle_policies(policies))
    cases = Counter((row["position"].split(":")[2], row["direction"], row["action"]) for row in rows)
    assert len({(margin, direction) for margin, direction, action in cases if action == "close"}) >= 4
    compare(events, policies)


@given(strategies.histories())
@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
def test_histories_are_valid_events(events):
    Events.validate(strategies.frame(events).drop("input", "row"))


BUY = {"side": "buy", "quantity": "1", "price": "100", "leverage": "10"}
SELL = {**BUY, "side": "sell", "leverage": None}
BASE = {"margin_currency": "BTC"}
OPENING = {"kind": "opening", "side": "buy", "quantity": "2", "value": "150", "price": "90", "amount": "30"}
SHORT = {**OPENING, "side": "sell"}
BY_HAND = {"kind": "adjustment", "currency": "USDT", "reason": "write_off"}
REFUSED = {
    "reduce-only without a position": [{**SELL, "reduce_only": True}],
    "liquidation without a position": [{**SELL, "kind": "liquidation"}],
    "reduce-only in the opening direction": [BUY, {**BUY, "reduce_only": True}],
    "liquidation in the opening direction": [BUY, {**BUY, "leverage": None, "kind": "liquidation"}],
    "interest on a flat position": [{"kind": "interest", "amount": "1", "currency": "USDT"}],
    "interest after the close": [BUY, SELL, {"kind": "interest", "amount": "1", "currency": "USDT"}],
    "interest in the asset's currency": [BUY, {"kind": "interest", "amount": "1", "currency": "BTC"}],
    "margin on a flat position": [{"kind": "margin", "amount": "1", "currency": "USDT"}],
    "leverage with an amount on a flat position": [{"kind": "leverage", "leverage": "5", "amount": "1"}],
    "margin below zero": [BUY, {"kind": "margin", "amount": "-10.000000000000000001"}],
    "leverage takes margin below zero": [BUY, {"kind": "leverage", "leverage": "20", "amount": "-11"}],
    "opening without a leverage": [{**BUY, "leverage": None}],
    "margin on a fill that only reduces": [BUY, {**SELL, "quantity": "0.5", "amount": "1"}],
    "margin on a fill that only closes": [BUY, {**SELL, "amount": "1"}],
    "margin on a reduce-only overfill": [BUY, {**SELL, "quantity": "2", "amount": "1", "reduce_only": True}],
    "mode change while open": [BUY, {**SELL, "mode": "old"}],
    "opening of an open position": [BUY, OPENING],
    "opening after an opening": [OPENING, OPENING],
    "opening that owes nothing and is closed by that": [{**OPENING, **BASE, "value": "0"}],
    "opening of a long that owes less than nothing": [{**OPENING, **BASE, "value": "-5"}],
    "opening of a short that has less than nothing": [{**SHORT, **BASE, "value": "-5"}],
    "adjustment of a flat position": [{**BY_HAND, "amount": "1"}],
    "adjustment after the close": [BUY, SELL, {**BY_HAND, "amount": "1"}],
    "adjustment that closes": [BUY, {**BY_HAND, "amount": "-1", "currency": "BTC"}],
    "adjustment that turns": [BUY, {**BY_HAND, "amount": "-2", "currency": "BTC"}],
    "adjustment that repays all": [{**BUY, **BASE}, {**BY_HAND, **BASE, "amount": "100"}],
    "adjustment that a short owes nothing after": [SHORT, {**BY_HAND, "amount": "2", "currency": "BTC"}],
    "adjustment of an opening that leaves no assets": [{**SHORT, **BASE}, {**BY_HAND, **BASE, "amount": "-150"}],
}


@pytest.mark.parametrize("steps", REFUSED.values(), ids=REFUSED)
def test_both_refuse_what_the_state_does_not_allow(steps):
    events = [event(number, **given) for number, given in enumerate(steps, start=1)]
    if events[:-1]:
        compare(events[:-1], ())
    with pytest.raises(oracle.RefusedError):
        oracle.replay(events)
    with pytest.raises(ledger.BadInput) as refused:
        run(events)
    assert refused.value.refusals["row"].to_list() == [len(events)]


def test_spot_first_refuses_a_margin_where_all_is_left_over():
    sells_all = {**SELL, "quantity": "0.9", "price": "125", "amount": "1"}
    events = [event(number, **given, margin_currency="BTC") for number, given in enumerate([BUY, sells_all], start=1)]
    with pytest.raises(oracle.RefusedError):
        oracle.replay(events, oracle_policies(["overfill=spot_first"]))
    with pytest.raises(ledger.BadInput):
        run(events, ["overfill=spot_first"])


DUST_OPENS = {**SELL, **BASE, "quantity": "0.000666666666666667", "price": "150000"}
REBATE = {"fee": "-0.000000000000000001", "fee_currency": "BTC"}
ALLOWED = {
    "the rest of a fill has a value but no quantity": [{**BUY, **BASE}, DUST_OPENS],
    "what is left over has a quantity but no value": [
        {**BUY, **BASE, **REBATE, "price": "0.1"},
        {**SELL, **BASE, "quantity": "2", "price": "0.1"},
    ],
    "zero margin on a fill that only reduces": [BUY, {**SELL, "quantity": "0.5", "amount": "0"}],
    "leverage without an amount on a flat position": [{"kind": "leverage", "leverage": "5"}],
    "opening at the leverage of an earlier event": [
        {"kind": "leverage", "leverage": "5"},
        {**BUY, "leverage": None},
    ],
    "opening with a recorded margin and no leverage": [{**BUY, "leverage": None, "amount": "7"}],
    "margin taken out to the last digit": [BUY, {"kind": "margin", "amount": "-10"}],
    "mode change while flat": [BUY, SELL, {**BUY, "mode": "old"}],
    "leverage event after the close": [BUY, SELL, {"kind": "leverage", "leverage": "5"}],
    "interest while there is no debt": [
        BUY,
        {**SELL, "quantity": "0.5", "price": "200"},
        {"kind": "interest", "amount": "1", "currency": "USDT"},
    ],
    "liquidation with an amount that does not close": [
        BUY,
        {**SELL, "quantity": "0.5", "kind": "liquidation"},
        {**SELL, "quantity": "0.5", "kind": "liquidation", "amount": "1"},
    ],
    "opening brought forward": [OPENING],
    "opening of a short": [SHORT],
    "opening of a long with base margin": [{**OPENING, **BASE}],
    "opening of a short with base margin": [{**SHORT, **BASE}],
    "opening that owes nothing": [{**OPENING, "value": "0"}, SELL],
    "opening that owes less than nothing": [
        {**OPENING, "value": "-5"},
        SELL,
        {**SELL, "leverage": "3", "quantity": "4"},
    ],
    "opening without margin": [{**OPENING, "amount": "0"}, {**SELL, "quantity": "2"}],
    "opening at a leverage that is used later": [{**OPENING, "leverage": "4"}, {**BUY, "leverage": None}],
    "opening after a close, in another mode": [BUY, SELL, {**SHORT, "mode": "old"}],
    "opening that is reversed": [OPENING, {**SELL, "quantity": "5", "leverage": "5"}],
    "opening that is liquidated": [OPENING, {**SELL, "kind": "liquidation", "quantity": "2", "amount": "3"}],
    "adjustment of what is owned": [BUY, {**BY_HAND, "amount": "-0.99", "currency": "BTC"}],
    "adjustment of what is owed": [BUY, {**BY_HAND, "amount": "-0.00000001"}],
    "adjustment that makes the liability a surplus": [BUY, {**BY_HAND, "amount": "250"}, SELL],
    "adjustments of a short with base margin": [
        {**SHORT, **BASE},
        {**BY_HAND, **BASE, "amount": "1", "currency": "BTC"},
        {**BY_HAND, **BASE, "amount": "-149.99"},
    ],
    "any kind by hand": [
        {**BUY, "reason": "missing_fill"},
        {"kind": "interest", "amount": "1", "currency": "USDT", "reason": "missing_interest"},
        {"kind": "margin", "amount": "-1", "reason": "margin_amount"},
        {**SELL, "quantity": "3", "leverage": "3", "reason": "missing_fill"},
    ],
    "recorded values that are not quantity x price": [
        {**BUY, "value": "100.01"},
        {**BUY, "leverage": None, "value": "99.99"},
        {**SELL, "quantity": "2", "value": "200.02"},
    ],
}
CROSSED = {"quantity": "3", "price": "110", "leverage": "5", "fee": "0.003", "fee_currency": "BTC"}
VALUES = ("330", "330.01", "329.99", "330.000000000000000001", "329.999999999999999999", "111", "110", "109.5", "20")
"""Recorded values of a fill of 3 at 110: near that, or less than what closes the position has already."""


@every_policy
@pytest.mark.parametrize("steps", ALLOWED.values(), ids=ALLOWED)
def test_both_allow(steps, policies):
    compare([event(number, **given) for number, given in enumerate(steps, start=1)], policies)


def crossing(begun, value, fee_currency, side, margin_currency):
    """A fill that crosses zero, after a fill, an opening balance or an adjustment; and one that crosses back."""
    other = {"buy": "sell", "sell": "buy"}[side]
    begin = {**OPENING, "quantity": "1", "value": "99.75"} if begun == "opening" else {**BUY, "value": "100.25"}
    crossed = {**CROSSED, "fee_currency": fee_currency}
    steps = [{**begin, "side": other}, {**crossed, "side": side, "value": value}, {**crossed, "side": other}]
    if begun == "adjusted":
        steps.insert(1, {**BY_HAND, "amount": "0.125" if other == "buy" else "-0.125", "currency": "BTC"})
    return [{**step, "margin_currency": margin_currency} for step in steps]


@every_policy
def test_both_split_fills_of_recorded_values(policies):
    """Each way to cross zero in an account of its own."""
    ways = product(("fill", "opening", "adjusted"), VALUES, ("BTC", "USDT"), ("buy", "sell"), ("BTC", "USDT"))
    steps = [{**step, "account": f"way {number}"} for number, way in enumerate(ways) for step in crossing(*way)]
    compare([event(number, **step) for number, step in enumerate(steps, start=1)], policies)
