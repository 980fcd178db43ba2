"""Funding of contract positions, by policy, and that no balance of one position reaches another."""

from fractions import Fraction

import polars as pl
import pytest
from exact import rows_of
from hypothesis import given, settings
from test_derivative_replay import contracts, event, frame, histories, ledger_alone, run

from ledger.derivatives.columns import DERIVATIVE_EVENTS
from ledger.derivatives.files import typed_contracts
from ledger.derivatives.replay import replay_derivatives
from ledger.money import MONEY
from ledger.risk.policies import RiskPolicies


@settings(max_examples=8, deadline=None)
@given(histories("account"))
def test_funding_moves_the_account_where_the_policy_says_so(history):
    events, told = history
    rows = rows_of(ledger_alone(events, RiskPolicies(funding="account")))
    for (instrument, side), expected in told.items():
        found = [row for row in rows if row["position"] == f"main:{instrument}:{side}"]
        for name in ("margin_closing", "account_change", "entry_value_closing"):
            assert [row[name] for row in found] == [row[name] for row in expected]


@pytest.mark.parametrize(
    ("fill", "amount", "margin"),
    [
        (("0.3", "59029.5", "3"), "0.0797279385178201", "5.9826779385178201"),
        (("16.5", "60346.5", "1"), "-0.1491539875899736", "995.5680960124100264"),
    ],
)
def test_funding_moves_the_margin_as_in_two_real_records(fill, amount, margin):
    quantity, price, leverage = fill
    swap = typed_contracts(contracts()).with_columns(face_value=pl.lit("0.001").cast(MONEY))
    events = [
        event(1, side="buy", quantity=quantity, price=price, leverage=leverage, fee="0.008854425"),
        event(2, kind="funding", amount=amount),
    ]
    book = replay_derivatives(frame(events, DERIVATIVE_EVENTS), swap)
    last = rows_of(book.ledger)[-1]
    assert (last["margin_closing"], last["account_change"]) == (Fraction(margin), 0)
    assert last["margin_change"] == last["funding"] == Fraction(amount)
    assert book.checks["failures"].sum() == 0
    assert rows_of(book.postings)[-1]["posting_account"] == "counterparty"


def test_a_reduction_releases_margin_with_the_funding_in_it():
    book = run(
        [
            event(1, side="buy", quantity="100", price="10000", leverage="10"),
            event(2, kind="funding", amount="-20"),
            event(3, side="sell", quantity="25", price="10000"),
            event(4, kind="funding", amount="-1"),
            event(5, side="sell", quantity="75", price="10000"),
            event(6, kind="funding", amount="3"),
        ]
    )
    rows = rows_of(book.ledger)
    assert [row["margin_closing"] for row in rows] == [1000, 980, 735, 734, 0, 0]
    assert [row["account_change"] for row in rows] == [-1000, 0, 245, 0, 734, 3]
    assert book.positions["funding"].cast(pl.Int64).to_list() == [-21]


def test_no_balance_of_a_position_reaches_the_next_one():
    """ETH comes after BTC in the order of positions, and begins with a leverage and funding."""
    eth = {"instrument": "ETH-USDT-SWAP"}
    swap = contracts().filter(pl.col("instrument") == "BTC-USDT-SWAP")
    both = pl.concat([swap, swap.with_columns(instrument=pl.lit("ETH-USDT-SWAP"), base_currency=pl.lit("ETH"))])
    events = [
        event(1, side="buy", quantity="450", price="10000", leverage="10"),
        event(2, **eth, kind="funding", amount="2"),
        event(3, **eth, kind="leverage", leverage="5"),
        event(4, **eth, side="buy", quantity="10", price="2000"),
    ]
    book = replay_derivatives(frame(events, DERIVATIVE_EVENTS), both)
    rows = rows_of(book.ledger)
    assert [row["margin_closing"] for row in rows] == [4500, 0, 0, 40]
    assert [row["account_change"] for row in rows] == [-4500, 2, 0, -40]
    assert book.checks["failures"].sum() == 0
