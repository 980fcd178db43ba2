"""Two building blocks: the exact proportion of money columns, and policies read from text."""

from decimal import Decimal
from fractions import Fraction

import oracle
import polars as pl
import pytest
import strategies
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.money import MONEY, proportion
from ledger.policies import Policies
from ledger.refusals import PolicyError


def units(largest):
    """Whole numbers of 10**-18, of every magnitude."""
    return st.integers(0, 59).flatmap(lambda bits: st.integers(0, min(largest, 2 ** (2 * bits))))


@st.composite
def shares(draw):
    """Amount, part and whole in units: also ties, and parts that are all or nothing."""
    whole = max(draw(units(10**34)), 1)
    part = draw(st.one_of(st.integers(0, whole), st.sampled_from([0, 1, whole // 2, whole])))
    amount = draw(st.one_of(units(10**35 - 1), st.just(whole), st.just(whole // 2)))
    return amount, min(part, whole), whole


@settings(max_examples=200, deadline=None)
@given(st.lists(shares(), min_size=1, max_size=20))
def test_proportion_is_the_exact_quotient_rounded_once(drawn):
    columns = [
        pl.Series([strategies.text(Fraction(number, 10**18)) for number in numbers]).cast(MONEY)
        for numbers in zip(*drawn, strict=True)
    ]
    expected = [oracle.rounded(Fraction(amount * part, whole * 10**18)) for amount, part, whole in drawn]
    assert [Fraction(value) for value in proportion(*columns)] == expected


def test_policies_are_read_from_text():
    chosen = Policies.parse(["overfill=spot_first", "initial_margin_tolerance=0.01"])
    assert (chosen.overfill, chosen.initial_margin_tolerance) == ("spot_first", Decimal("0.01"))
    assert Policies.parse([]) == Policies()


@pytest.mark.parametrize(
    ("assignments", "problems"),
    [
        (["overfil=reverse"], ["policy overfil=reverse: write NAME=VALUE"]),
        (["overfill"], ["policy overfill: write NAME=VALUE"]),
        (["overfill=sideways"], ["policy overfill=sideways: choose one of reverse, spot_first"]),
        (["overfill="], ["policy overfill=: choose one of"]),
        (["overfill=reverse", "overfill=reverse"], ["policy overfill: given twice"]),
        (["initial_margin_tolerance=little"], ["policy initial_margin_tolerance=little: give a number"]),
        (["initial_margin_tolerance=-1"], ["policy initial_margin_tolerance=-1: give a number"]),
        (["initial_margin_tolerance=NaN"], ["policy initial_margin_tolerance=NaN: give a number"]),
        (["initial_margin_tolerance=Infinity"], ["policy initial_margin_tolerance=Infinity: give a number"]),
        (["a=b", "time_order"], ["policy a=b:", "policy time_order:"]),
        (["entry_price=x", "time_order=y"], ["policy entry_price=x:", "policy time_order=y:"]),
    ],
)
def test_wrong_policies_are_all_named(assignments, problems):
    with pytest.raises(PolicyError) as refused:
        Policies.parse(assignments)
    found = refused.value.problems
    assert len(found) == len(problems)
    assert all(text.startswith(start) for text, start in zip(found, problems, strict=True))
