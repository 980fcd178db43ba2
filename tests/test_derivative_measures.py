"""The measures of contract positions against the published table and its documented examples (rules.md 7)."""

from fractions import Fraction

import polars as pl
import pytest
from derivative_oracle import measures as published
from exact import read, rows_of
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import text

from ledger.columns import FLAG
from ledger.derivatives.columns import (
    DERIVATIVE_FIGURES,
    DERIVATIVE_FRAMES,
    DERIVATIVE_LIQUIDATIONS,
    DERIVATIVE_MEASURES,
)
from ledger.money import MONEY
from reports.cells.formulas import Cell

COLUMNS = (*DERIVATIVE_FIGURES, *DERIVATIVE_MEASURES)
FLAGS = ("is_long", "is_inverse", "is_option")
EXAMPLES = read("rules", "contracts.json")


def by_fractions(values):
    found = dict(values)
    for column in COLUMNS:
        known = all(found[name] is not None for name in column.parameters)
        found[column.name] = column.of(found.__getitem__) if known else None
    return found


def by_columns(values):
    frame = pl.DataFrame({name: [text(value)] for name, value in values.items()})
    frame = frame.cast(MONEY).cast(dict.fromkeys(FLAGS, FLAG))
    for column in COLUMNS:
        frame = frame.with_columns(column.expression())
    return rows_of(frame)[0]


@st.composite
def positions(draw):
    """Values of a position with rates, at a mark that is not far from its entry."""
    price = Fraction(draw(st.integers(1, 10**7)), 1000)
    kind, is_long = draw(st.sampled_from(["linear", "inverse", "option"])), draw(st.integers(0, 1))
    is_inverse, is_option = kind == "inverse", kind == "option"
    contracts, face = (
        Fraction(draw(st.integers(1, 10**6)), 10),
        draw(st.sampled_from([Fraction(1, 100), Fraction(100)])),
    )
    size = contracts * face
    entry_value = Fraction(round((size / price if is_inverse else size * price) * 10**18), 10**18)
    leverage = Fraction(draw(st.integers(1, 125)))
    return {
        "contracts": contracts if is_long else -contracts,
        "face_value": face,
        "multiplier": Fraction(1),
        "tick": Fraction(1, 10),
        "entry_value": entry_value,
        "margin": Fraction(round(entry_value / leverage * 10**18), 10**18),
        "leverage": leverage,
        "is_long": Fraction(is_long),
        "is_inverse": Fraction(is_inverse),
        "is_option": Fraction(is_option),
        "mark_price": Fraction(round(price * draw(st.integers(700, 1300))), 1000) + Fraction(1, 1000),
        "maintenance_rate": Fraction(draw(st.integers(0, 200)), 1000),
        "liquidation_fee_rate": Fraction(draw(st.integers(0, 20)), 10000),
    }


def table_of(values, **changes):
    """The published figures of a position."""
    given_values = values | changes
    return published(
        "option" if given_values["is_option"] else "inverse" if given_values["is_inverse"] else "linear",
        "long" if given_values["is_long"] else "short",
        abs(given_values["contracts"]) * given_values["face_value"],
        given_values["entry_value"],
        given_values["margin"],
        mark=given_values["mark_price"],
        rate=given_values["maintenance_rate"],
        fee_rate=given_values["liquidation_fee_rate"],
    )


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example["title"])
def test_documented_examples_come_out_as_printed(example):
    values = {name: Fraction(value) for name, value in example["values"].items()}
    exact, columns = by_fractions(values), by_columns(values)
    for name, printed in example["printed"].items():
        places = len(printed.partition(".")[2])
        assert round(exact[name], places) == Fraction(printed), name
        assert abs(columns[name] - exact[name]) <= Fraction(1, 10**14) * max(1, abs(exact[name])), name


@settings(max_examples=80, deadline=None)
@given(positions())
def test_one_expression_gives_all_rows_of_the_published_table(values):
    exact, expected = by_fractions(values), table_of(values)
    assert {name: exact[name] for name in expected} == expected


@settings(max_examples=40, deadline=None)
@given(positions())
def test_ratio_is_one_at_the_liquidation_price_and_equity_is_nothing_at_bankruptcy(values):
    exact = by_fractions(values)
    if exact["liquidation_price"] is not None and exact["requirement_rate"]:
        assert by_fractions(values | {"mark_price": exact["liquidation_price"]})["margin_ratio"] == 1
    if exact["bankruptcy_price"] is not None:
        there = by_fractions(values | {"mark_price": exact["bankruptcy_price"]})
        assert there["equity_value"] == -there["option_value"]


TWO_SOLD_OPTIONS = (
    ("0.1446234821387017", "0.001746234821387", "1.378417633171292", "-0.000541234821387", "-0.5980495263944942"),
    ("0.136155529238958", "0.0016615552923896", "1.448540720384059", "-0.0004565552923896", "-0.5044809860658341"),
)


@pytest.mark.parametrize(("mark", "maintenance", "margin_ratio", "pnl", "pnl_ratio"), TWO_SOLD_OPTIONS)
def test_two_real_records_of_sold_options_come_out(mark, maintenance, margin_ratio, pnl, pnl_ratio):
    """One contract of 0.01 BTC sold at 0.0905; a maintenance rate of 3 % of the size, and a fee of 0.03 %."""
    option = next(example for example in EXAMPLES if "sold" in example["title"])
    values = {name: Fraction(value) for name, value in option["values"].items()}
    found = by_fractions(values | {"mark_price": Fraction(mark)})
    stated = {
        "maintenance_margin": maintenance,
        "margin_ratio": margin_ratio,
        "floating_pnl": pnl,
        "floating_pnl_ratio": pnl_ratio,
    }
    for name, text_of in stated.items():
        assert abs(found[name] - Fraction(text_of)) <= Fraction(1, 10**14) * max(1, abs(found[name])), name
    assert found["option_value"] == -Fraction("0.01") * Fraction(mark)
    assert found["liquidation_price"] == values["margin"] / Fraction("0.01") - Fraction("0.0303")


@settings(max_examples=20, deadline=None)
@given(positions())
def test_nothing_is_required_of_an_option_that_is_bought(values):
    found = by_fractions(values | {"is_option": Fraction(1), "is_inverse": Fraction(0), "is_long": Fraction(1)})
    assert (found["maintenance_margin"], found["liquidation_fee"]) == (0, 0)
    assert [found[name] for name in ("margin_ratio", "liquidation_price", "bankruptcy_price")] == [None] * 3


@settings(max_examples=40, deadline=None)
@given(positions(), st.integers(1, 1000))
def test_a_higher_mark_never_hurts_a_long_nor_a_lower_one_a_short(values, more):
    better = values["mark_price"] + (1 if values["is_long"] else -1) * values["mark_price"] * Fraction(more, 1001)
    here, there = by_fractions(values), by_fractions(values | {"mark_price": better})
    assert there["floating_pnl"] > here["floating_pnl"]


@settings(max_examples=40, deadline=None)
@given(positions(), st.integers(1, 10**6))
def test_margin_added_never_brings_liquidation_nearer(values, added):
    before = by_fractions(values)
    after = by_fractions(values | {"margin": values["margin"] + Fraction(added, 1000)})
    if before["liquidation_price"] is not None and after["liquidation_price"] is not None:
        away = after["liquidation_price"] - before["liquidation_price"]
        assert away < 0 if values["is_long"] else away > 0
    if before["margin_ratio"] is not None:
        assert after["margin_ratio"] > before["margin_ratio"]


@settings(max_examples=40, deadline=None)
@given(positions())
def test_columns_agree_with_fractions(values):
    exact, columns = by_fractions(values), by_columns(values)
    for name in ("floating_pnl", "maintenance_margin", "liquidation_fee", "liquidation_price", "bankruptcy_price"):
        if exact[name] is not None and columns[name] is not None:
            assert abs(columns[name] - exact[name]) <= Fraction(1, 10**9) * max(1, abs(exact[name])), name


def test_every_formula_reads_columns_before_it_and_is_a_formula_of_cells():
    for columns in (*DERIVATIVE_FRAMES.values(), DERIVATIVE_LIQUIDATIONS):
        known = []
        for column in columns:
            assert set(column.parameters) <= set(known), column.name
            known.append(column.name)
            if column.formula is not None:
                assert column.of(lambda name: Cell.at(name.upper())).formula
        assert len(known) == len(set(known))
