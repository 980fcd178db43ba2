"""Every example of the rules (sections 1, 2 and 4, and single sentences of 5, 6 and 8) comes out exactly."""

from fractions import Fraction

import oracle
import polars as pl
import pytest
from exact import events_of, oracle_policies, read, rows_of, run
from oracle_measures import measures as published_measures

from ledger.columns import DISPLAY, MEASURES
from ledger.money import MONEY

CLOSING_TABLE = read("rules", "closing_table.json")
REPLAYS = [
    example
    for name in ("openings", "closes", "closing_table", "sentences")
    for example in read("rules", f"{name}.json")
]
POINTS = read("rules", "measures.json")


def titled(examples):
    return pytest.mark.parametrize("example", examples, ids=lambda example: example["title"])


def expected(values):
    """An example's figures: amounts are text in the file, counts are numbers, words stay words."""
    return {name: _figure(value) for name, value in values.items()}


def _figure(value):
    try:
        return Fraction(value) if isinstance(value, str) else value
    except ValueError:
        return value


def same_rows(example, rows):
    """The rows of the example, each with only the columns the example names."""
    found = {(row["event_id"], row["part"]): row for row in rows}
    wanted = [expected(row) for row in example["rows"]]
    last = len(example["events"])
    parts = sum(row["event_id"] == str(last) for row in rows)
    assert parts == max(row["part"] for row in wanted if row["event"] == last)
    for row in wanted:
        actual = found[str(row.pop("event")), row["part"]]
        assert {name: actual[name] for name in row} == row


@titled(REPLAYS)
def test_engine_replays_the_example(example):
    result = run(events_of(example), example.get("policies", []))
    same_rows(example, rows_of(result.ledger))


@titled(REPLAYS)
def test_oracle_replays_the_example(example):
    rows, _ = oracle.replay(events_of(example), oracle_policies(example.get("policies", [])))
    same_rows(example, rows)


@titled([example for example in REPLAYS if "position" in example])
def test_position_shows_what_the_exchange_displays(example):
    shown = rows_of(run(events_of(example), example.get("policies", [])).positions)[-1]
    wanted = expected(example["position"])
    assert {name: shown[name] for name in wanted} == wanted


@titled(CLOSING_TABLE)
def test_closing_table(example):
    """The figures of the file are those of the published formulas, and the fill states them."""
    table = expected(example["table"])
    assets, liability, margin = table["assets"], table["liability"], table["margin"]
    price, kept = table["price"], 1 - table["fee_rate"]
    quantity, back = {
        "LB": (liability / (price * kept), assets - liability / (price * kept) + margin),
        "LQ": (assets, assets * price * kept - liability + margin),
        "SB": (assets / price, assets / price * kept - liability + margin),
        "SQ": (liability / kept, assets - liability / kept * price + margin),
    }[example["case"]]
    assert (quantity, back) == (table["quantity"], table["back"])
    closing = example["events"][-1]
    received = quantity if closing["side"] == "buy" else quantity * price
    assert Fraction(closing["quantity"]) == quantity
    assert Fraction(closing["fee"]) == received * table["fee_rate"]


def test_long_with_base_margin_closes_below_its_price():
    """LB at 95,000 by exact quantities: sells 1.0526315789..., 0.0473684210... comes back."""
    sold = Fraction(100_000) / 95_000
    back = 1 - sold + Fraction(1, 10)
    assert (sold, back) == (Fraction(20, 19), Fraction(9, 190))
    assert (int(sold * 10**10), int(back * 10**10)) == (10526315789, 473684210)


def rounded_as_printed(value, printed):
    decimals = len(printed.partition(".")[2])
    return round(value * 10**decimals) == Fraction(printed) * 10**decimals


@titled(POINTS)
def test_measures_as_exact_fractions(example):
    values = expected(example["values"])
    for column in (*DISPLAY, *MEASURES):
        values[column.name] = column.of(values.__getitem__)
    wrong = {
        name: values[name] for name, text in example["printed"].items() if not rounded_as_printed(values[name], text)
    }
    assert wrong == {}


@titled(POINTS)
def test_measures_as_columns(example):
    names = list(example["values"])
    flags = {"is_long", "margin_is_base"}
    point = pl.DataFrame({name: [example["values"][name]] for name in names}).with_columns(
        pl.col(name).cast(pl.Int8 if name in flags else MONEY) for name in names
    )
    for column in (*DISPLAY, *MEASURES):
        point = point.with_columns(column.expression())
    (row,) = rows_of(point)
    wrong = {name: row[name] for name, text in example["printed"].items() if not rounded_as_printed(row[name], text)}
    assert wrong == {}


@titled(POINTS)
def test_measures_by_the_published_table(example):
    values = expected(example["values"])
    liability = values["base_interest"] - values["base_leg"]
    published = published_measures(
        example["case"],
        values["quote_leg"],
        values["margin"],
        liability,
        mark=values["mark_price"],
        rate=values["maintenance_rate"],
        fee_rate=values["liquidation_fee_rate"],
    )
    named = {name: text for name, text in example["printed"].items() if name in published}
    assert "margin_ratio" in named
    assert [name for name, text in named.items() if not rounded_as_printed(published[name], text)] == []
