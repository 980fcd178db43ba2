"""The position history: worked lives, and random ones against a walk through the rows of the oracle."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from random import Random

import oracle
import polars as pl
import pytest
import strategies
from exact import event, oracle_policies, rows_of, run
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from ledger.columns import schema
from ledger.ordering import index_positions
from ledger.risk.columns import LIVES
from ledger.risk.lives import lives_of

BUY = {"side": "buy", "quantity": "1", "price": "100", "leverage": "10"}
SELL = {"side": "sell", "quantity": "1", "price": "104"}
START = datetime(2024, 1, 1, tzinfo=UTC)
TAKEN = {**SELL, "kind": "liquidation"}


def lives(events, policies=(), graded=None):
    """The lives of the events, as rows of fractions."""
    return rows_of(lives_of(run(events, policies).ledger, index_positions(strategies.frame(events)), graded))


def numbered(*events):
    return [event(number, **values) for number, values in enumerate(events, start=1)]


def at(number):
    return START + timedelta(minutes=number)


def expected(**values):
    """Amounts may be text."""
    return {
        name: Fraction(value) if isinstance(value, str) and value[-1].isdigit() else value
        for name, value in values.items()
    }


def test_a_life_from_its_opening_over_its_peak_to_its_end():
    fee = {"fee": "0.5", "fee_currency": "USDT"}
    (found,) = lives(
        numbered(
            {**BUY, "fee": "0.001", "fee_currency": "BTC"},
            {"kind": "margin", "amount": "5"},
            {**BUY, "price": "103"},
            {"kind": "interest", "amount": "0.25", "currency": "USDT"},
            {**SELL, "quantity": "0.5", **fee},
            {"kind": "leverage", "leverage": "20", "amount": "-2"},
            {**SELL, "quantity": "1.499", "price": "110", "fee": "3", "fee_currency": "OKB"},
        )
    )
    assert found == expected(
        position="main:BTC-USDT:USDT",
        episode=1,
        account="main",
        instrument="BTC-USDT",
        margin_currency="USDT",
        mode="new",
        direction="long",
        how="closed",
        label=None,
        opened=at(1),
        closed=at(7),
        peak_liability="-203.25",
        peak_at=at(4),
        opened_quantity="2",
        closed_quantity="1.999",
        liquidated_quantity="0",
        entry_price="101.5",
        exit_price=oracle.rounded(Fraction("216.89") / Fraction("1.999")),
        margin_posted="20.3",
        margin_added="3",
        fees_base="0.001",
        fees_quote="0.5",
        interest_charged="0.25",
        realised_pnl="13.14",
        returned="36.44",
        insurance_fund="0",
        lowest_ratio=None,
    )


HALF = {"quantity": "0.5"}
REVERSED = {**SELL, "quantity": "3", "leverage": "10"}


@pytest.mark.parametrize(
    ("events", "ends"),
    [
        ([BUY], [("open", None)]),
        ([BUY, {"kind": "adjustment", "amount": "-0.1", "currency": "BTC", "reason": "write_off"}], [("open", None)]),
        ([BUY, {**SELL, **HALF}], [("reduced", None)]),
        ([BUY, {**SELL, **HALF}, {**SELL, **HALF}], [("closed", None)]),
        ([BUY, SELL, BUY], [("closed", None), ("open", None)]),
        ([BUY, REVERSED], [("reversed", None), ("open", None)]),
        ([BUY, REVERSED, {**BUY, "quantity": "5"}], [("reversed", None), ("reversed", None), ("open", None)]),
        ([BUY, {**TAKEN, **HALF}], [("partly_liquidated", "LIQ")]),
        ([BUY, {**TAKEN, **HALF}, {**SELL, **HALF}], [("partly_liquidated", "LIQ")]),
        ([BUY, {**TAKEN, **HALF}, REVERSED], [("partly_liquidated", "LIQ"), ("open", None)]),
        ([BUY, {**SELL, **HALF}, {**TAKEN, **HALF}], [("liquidated", "LIQ")]),
        ([BUY, TAKEN, BUY], [("liquidated", "LIQ"), ("open", None)]),
        ([BUY, {**SELL, "quantity": "3", "reduce_only": True}], [("closed", None)]),
        ([BUY, {**TAKEN, "quantity": "3"}], [("liquidated", "LIQ")]),
    ],
)
def test_what_became_of_a_life(events, ends):
    assert [(life["how"], life["label"]) for life in lives(numbered(*events))] == ends


def test_of_a_reversal_each_life_has_its_own_part():
    fee = {"fee": "3", "fee_currency": "USDT"}
    first, second = lives(numbered(BUY, {**REVERSED, **fee}))
    amounts = ("opened_quantity", "closed_quantity", "fees_quote", "margin_posted", "exit_price", "direction")
    assert [first[name] for name in amounts] == [1, 1, 1, 10, 104, "long"]
    assert [second[name] for name in amounts] == [2, 0, 2, Fraction("20.8"), None, "short"]
    assert (first["closed"], second["opened"], second["closed"]) == (at(2), at(2), None)


def test_what_is_left_over_of_a_fill_is_in_no_life():
    fee = {"fee": "3", "fee_currency": "USDT", "reduce_only": True}
    (found,) = lives(numbered(BUY, {**SELL, "quantity": "3", **fee}))
    assert (found["closed_quantity"], found["fees_quote"], found["realised_pnl"]) == (1, 1, 3)


def test_a_liquidation_with_its_quantity_and_what_it_leaves():
    found = lives(numbered(BUY, {**TAKEN, **HALF, "price": "95"}, {**TAKEN, **HALF, "price": "94"}))[0]
    amounts = ("closed_quantity", "liquidated_quantity", "exit_price", "realised_pnl", "insurance_fund", "returned")
    assert [found[name] for name in amounts] == [1, 1, Fraction("94.5"), Fraction("-5.5"), Fraction("4.5"), 0]
    found = lives(numbered(BUY, {**SELL, **HALF, "price": "95"}, {**TAKEN, **HALF, "price": "94"}))[0]
    assert (found["closed_quantity"], found["liquidated_quantity"]) == (1, Fraction("0.5"))


def test_the_peak_is_told_when_it_was_first_so_large():
    again = {"kind": "interest", "amount": "50", "currency": "USDT"}
    (found,) = lives(numbered(BUY, {**SELL, **HALF, "price": "100"}, again, again))
    assert (found["peak_liability"], found["peak_at"]) == (-150, at(4))
    (found,) = lives(numbered(BUY, {**SELL, **HALF, "price": "100"}, again))
    assert (found["peak_liability"], found["peak_at"]) == (-100, at(1))


def test_an_opening_balance_begins_a_life():
    opening = {"kind": "opening", "side": "sell", "quantity": "2", "price": "90", "value": "180", "amount": "7"}
    (found,) = lives(numbered(opening, {"side": "buy", "quantity": "0.5", "price": "80"}))
    amounts = ("how", "direction", "peak_liability", "opened_quantity", "entry_price", "exit_price", "margin_posted")
    assert [found[name] for name in amounts] == ["reduced", "short", -2, 2, 90, 80, 7]


def test_the_lowest_ratio_comes_from_the_grading():
    events = numbered(BUY, SELL, BUY)
    graded = pl.DataFrame(
        {"position": ["main:BTC-USDT:USDT"], "episode": [2], "lowest_ratio": [Decimal("0.74")]},
        schema_overrides={"episode": pl.UInt32},
    )
    assert [life["lowest_ratio"] for life in lives(events, graded=graded)] == [None, Fraction("0.74")]


def test_without_an_opening_there_is_no_life():
    events = numbered({"kind": "leverage", "leverage": "5"})
    found = lives_of(run(events).ledger, index_positions(strategies.frame(events)))
    assert (found.height, found.schema) == (0, schema(LIVES))


# Against a walk through the oracle's rows


def blank(row):
    """The life that a row of the oracle opens."""
    zeros = ("opened_quantity", "closed_quantity", "closed_value", "liquidated_quantity", "margin_posted")
    zeros += ("margin_added", "fees_base", "fees_quote", "interest_charged", "insurance_fund")
    life = dict.fromkeys(zeros, Fraction(0)) | {"peak_liability": Fraction(1), "label": None}
    return life | {"opened": row["time"], "closed": None, "realised_pnl": None, "returned": None, "how": "open"}


def walked(events, policies):
    """The lives by the oracle: position and number of the life, and what it came to."""
    rows, _ = oracle.replay(events, policies)
    found = {}
    for row in rows:
        if row["direction"] is not None and row["action"] != "leftover":
            key = (row["position"], row["episode"])
            if row["action"] == "open":
                other = found.get((row["position"], row["episode"] - 1))
                if other and other["closed_by"] == row["event_number"] and other["how"] == "closed":
                    other["how"] = "reversed"
                found[key] = blank(row)
            lived(found[key], row)
    for life in found.values():
        quantity, value = life["closed_quantity"], life.pop("closed_value")
        life["exit_price"] = oracle.rounded(value / quantity) if quantity else None
    return found


def lived(life, row):
    """One row of the oracle in its life."""
    _, instrument, margin_currency = row["position"].split(":")
    base, quote = instrument.split("-")
    life |= {name: row[name] for name in ("direction", "mode", "entry_price")}
    if row["action"] in ("open", "increase"):
        life["opened_quantity"] += row["quantity"]
        life["margin_posted"] += row["initial_margin"]
    elif row["action"] in ("reduce", "close"):
        ended(life, row, row["account_base"] if margin_currency == base else row["account_quote"])
    elif row["action"] in ("margin", "leverage"):
        life["margin_added"] += row["margin_change"]
    elif row["action"] == "interest":
        life["interest_charged"] += row["interest"]
    if row["fee"] and row["fee_currency"] == base:
        life["fees_base"] += row["fee"]
    if row["fee"] and row["fee_currency"] == quote:
        life["fees_quote"] += row["fee"]
    owed = min(row["quote_closing"] if row["direction"] == "long" else row["base_closing"], Fraction(0))
    if owed < life["peak_liability"]:
        life |= {"peak_liability": owed, "peak_at": row["time"]}


def ended(life, row, received):
    """What a fill takes off a life, and how that ends it."""
    life["closed_quantity"] += row["quantity"]
    life["closed_value"] += row["value"]
    was_taken = life["label"] is not None
    if row["kind"] == "liquidation":
        life["liquidated_quantity"] += row["quantity"]
        life["label"] = "LIQ"
    if row["action"] == "reduce":
        life["how"] = "partly_liquidated" if life["label"] else "reduced"
        return
    life |= {"closed": row["time"], "closed_by": row["event_number"], "realised_pnl": row["realised_pnl"]}
    life |= {"returned": received, "insurance_fund": row["insurance_fund"]}
    life["how"] = "liquidated" if row["kind"] == "liquidation" else "partly_liquidated" if was_taken else "closed"


@pytest.mark.parametrize("policies", [[], ["overfill=spot_first", "liquidation_residual=account"]], ids=str)
@settings(max_examples=20)
@given(st.integers(0, 2**32))
def test_lives_are_those_of_a_walk_through_the_oracles_rows(policies, seed):
    events = strategies.history(Random(seed), events=30, positions=3, policies=oracle_policies(policies))
    assume(events)
    wanted = walked(events, oracle_policies(policies))
    found = {(life["position"], life["episode"]): life for life in lives(events, policies)}
    assert list(found) == sorted(wanted)
    for key, life in wanted.items():
        told = {name: value for name, value in life.items() if name != "closed_by"}
        assert {name: found[key][name] for name in told} == told


@settings(max_examples=15)
@given(strategies.histories(events=30))
def test_lives_add_up_to_the_ledger_and_are_those_of_the_positions(events):
    book = run(events)
    found = lives_of(book.ledger, index_positions(strategies.frame(events)))
    same = ["position", "episode", "direction", "mode", "opened", "closed", "entry_price", "realised_pnl", "returned"]
    assert found.select(same).equals(book.positions.select(same))
    assert found["margin_posted"].equals(book.positions["initial_margin"].rename("margin_posted"))
    is_closed = pl.col("closed").is_not_null()
    held = found.with_columns(held=pl.col("margin_posted") + pl.col("margin_added"))
    released = book.ledger.filter(pl.col("action") == "close")["margin_opening"]
    assert held.filter(is_closed)["held"].to_list() == released.to_list()
    assert held.filter(~is_closed)["held"].to_list() == book.positions.filter(~is_closed)["margin"].to_list()
    parts = book.ledger.filter(pl.col("direction").is_not_null(), pl.col("quantity").is_not_null())
    traded = found.select(quantity=pl.col("opened_quantity") + pl.col("closed_quantity"))
    assert traded["quantity"].sum() == parts["quantity"].sum()
    assert found.filter(pl.col("liquidated_quantity") > 0)["label"].to_list() == [*found["label"].drop_nulls()]
