"""The checks of grading: they hold for what grading gives, and find what is not so."""

from fractions import Fraction

import polars as pl
from test_grading import frame, hour, kernel, marks_of, ratio, state, text

from ledger.columns import MARKS, schema
from ledger.money import MONEY
from ledger.risk import grading
from ledger.risk.columns import RISK_SPANS
from ledger.risk.grading import grade, grading_checks
from ledger.risk.policies import RiskPolicies


def test_the_checks_find_a_gap_and_a_status_that_is_not_the_ratio_s():
    marks = [("BTC-USDT", hour(0), 100_000), ("BTC-USDT", hour(1), 80_000)]
    graded = grade(frame([state()]), marks_of(marks), RiskPolicies())
    history = history_like(state(), marks)
    assert failures(graded, history) == {"grades_agree": 0, "statuses_in_order": 0}
    gap = graded.spans.with_columns(until_time=pl.lit(hour(9)).cast(schema(RISK_SPANS)["until_time"]))
    assert failures(grading.Graded(gap, graded.lives), history)["statuses_in_order"] == 1
    calm = graded.spans.with_columns(status=pl.lit("normal").cast(schema(RISK_SPANS)["status"]))
    assert failures(grading.Graded(calm, graded.lives), history)["grades_agree"] == 1


def failures(graded, history):
    found = pl.concat(grading_checks(graded, history, RiskPolicies()))
    assert found["rows_tested"].min() > 0
    return dict(found.select("check", "failures").rows())


def history_like(one, marks):
    """The columns of a history that the check reads, for one of the cases in which required is a constant."""
    lines = kernel(one)
    rate = one["rate"] + (1 + one["rate"]) * one["fee"]
    figures = [
        {
            "mark_price": price,
            "liability_value": one["liability"],
            "requirement_rate": rate,
            "equity_value": lines["equity_slope"] * price + lines["equity_constant"],
            "margin_ratio": round(ratio(one, Fraction(price)), 18),
        }
        for _, _, price in marks
    ]
    texts = pl.DataFrame([{name: text(value) for name, value in row.items()} for row in figures])
    times = pl.Series("time", [time for _, time, _ in marks], dtype=schema(MARKS)["time"])
    key = {"position": pl.lit("p"), "episode": pl.lit(1, pl.UInt32)}
    return texts.cast(MONEY).with_columns(times, **key)
