"""The measures: one expression equals the published table, and the invariants 4 and 5 of rules.md 8."""

from fractions import Fraction

import oracle
import polars as pl
import strategies
from exact import rows_of
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from oracle_measures import measures as published_measures

from ledger.columns import DISPLAY, MEASURES
from ledger.money import MONEY

thorough = settings(max_examples=100, deadline=None)
MILLI = Fraction(1, 1000)


def amounts(largest):
    return st.integers(1, largest * 10**6).map(lambda number: Fraction(number, 10**6))


RATES = st.integers(1, 2000).map(lambda number: Fraction(number, 10**4))


@st.composite
def points(draw):
    """An open position at a mark price: its case, the table's arguments (none negative), the columns."""
    case = draw(st.sampled_from(["LB", "LQ", "SB", "SQ"]))
    assets, liability = draw(amounts(1000)), draw(amounts(1000))
    margin, mark = draw(st.one_of(st.just(Fraction(0)), amounts(100))), draw(amounts(100))
    interest = draw(st.sampled_from([Fraction(0), liability / 8]))
    rate, fee_rate = draw(RATES), draw(RATES)
    is_long = case[0] == "L"
    columns = {
        "base_leg": assets if is_long else interest - liability,
        "quote_leg": interest - liability if is_long else assets,
        "base_interest": Fraction(0) if is_long else interest,
        "quote_interest": interest if is_long else Fraction(0),
        "margin": margin,
        "initial_margin": margin,
        "is_long": Fraction(is_long),
        "margin_is_base": Fraction(case[1] == "B"),
        "mark_price": mark,
        "maintenance_rate": rate,
        "liquidation_fee_rate": fee_rate,
    }
    return case, (assets, margin, liability), columns


def computed(columns):
    """All measures in exact fractions, from the registry's own formulas."""
    values = dict(columns)
    for column in (*DISPLAY, *MEASURES):
        values[column.name] = column.of(values.__getitem__)
    return values


@thorough
@given(points())
def test_one_expression_equals_the_published_table(point):
    case, position, columns = point
    names = {"mark": "mark_price", "rate": "maintenance_rate", "fee_rate": "liquidation_fee_rate"}
    published = published_measures(case, *position, **{name: columns[column] for name, column in names.items()})
    values = computed(columns)
    assert {name: values[name] for name in published} == published


@thorough
@given(points())
def test_margin_ratio_is_one_at_the_liquidation_price(point):
    """Exactly one in fractions: no tolerance."""
    _, _, columns = point
    price = computed(columns)["liquidation_price"]
    assume(price is not None)
    assert computed({**columns, "mark_price": price})["margin_ratio"] == 1


@thorough
@given(st.lists(points(), min_size=1, max_size=20))
def test_margin_ratio_is_one_at_the_liquidation_price_in_columns(drawn):
    """In decimals the price, and each product and quotient after it, is rounded at the 18th place.

    With a price and a liability of at least 1/1000 each rounding is below 10**-12 of what it rounds. The
    ratio divides a difference of two amounts by the requirement, at least 10**-4 of either: a few times
    10**-8 remain.
    """
    columns = [columns | {"mark_price": computed(columns)["liquidation_price"]} for _, _, columns in drawn]
    priced = [row for row in columns if (row["mark_price"] or 0) > MILLI and _liability(row) > MILLI]
    assume(priced)
    texts = [{name: strategies.text(oracle.rounded(value)) for name, value in row.items()} for row in priced]
    frame = pl.DataFrame(texts).cast(MONEY).cast({"is_long": pl.Int8, "margin_is_base": pl.Int8})
    for column in (*DISPLAY, *MEASURES):
        frame = frame.with_columns(column.expression())
    assert all(abs(row["margin_ratio"] - 1) < Fraction(1, 10**7) for row in rows_of(frame))


def _liability(columns):
    return -min(columns["base_leg"], columns["quote_leg"])


@thorough
@given(points())
def test_mirror_has_the_same_ratio_and_the_reciprocal_price(point):
    _, _, columns = point
    image = {
        **columns,
        "base_leg": columns["quote_leg"],
        "quote_leg": columns["base_leg"],
        "base_interest": columns["quote_interest"],
        "quote_interest": columns["base_interest"],
        "is_long": 1 - columns["is_long"],
        "margin_is_base": 1 - columns["margin_is_base"],
        "mark_price": 1 / columns["mark_price"],
    }
    values, seen = computed(columns), computed(image)
    for name in ("margin_ratio", "floating_pnl", "maintenance_margin", "liquidation_fee"):
        assert values[name] == seen[name]
    for name in ("liquidation_price", "bankruptcy_price"):
        assert seen[name] == (values[name] and 1 / values[name])
