"""Recorded liquidations against the run of due marks that they belong to, and every figure that differs in words."""

from datetime import timedelta
from fractions import Fraction

import polars as pl
import pytest
from exact import event, rows_of
from test_liquidation_booked import compared
from test_simulation import at, marks_of

from ledger.money import MONEY

DAY = 24 * 60
LONG = {"side": "buy", "quantity": "1", "price": "100000", "leverage": "10"}
"""Liquidated in full: without tiers, at 93,000 the ratio is 96.68 %; bankrupt at 90,000, fee 103 USDT at 3 %."""
TAKEN = {"side": "sell", "quantity": "1", "price": "90000", "fee": "103", "fee_currency": "USDT"}
MISSED = "due in full at 93000 at 2024-01-01 06:00, not booked, no longer due at 2024-01-01 07:00"


def rated(prices):
    return marks_of(prices, Fraction(1, 1000)).with_columns(maintenance_rate=pl.lit("0.03").cast(MONEY))


def told(events, marks, policies=(), as_at=None):
    found = compared([one | {"row": row} for row, one in enumerate(events, 1)], marks, None, policies, as_at)[0]
    return list(zip(found["verdict"], found["explanation"], strict=True))


def taken(minute, **more):
    return event(minute, kind="liquidation", **TAKEN | more)


RECOVERS = [(at(0), 100_000), (at(360), 93_000), (at(420), 150_000)]


def test_what_recovered_is_not_booked_and_what_is_booked_later_is_not_due():
    """However long ago something was due: by the mark in force nothing is."""
    later = 60 * DAY
    marks = rated([*RECOVERS, (at(later), 150_000)])
    found = told([event(1, **LONG), taken(later)], marks)
    assert [verdict for verdict, _ in found] == ["not_booked", "not_due"]
    assert found[0][1] == MISSED
    assert found[1][1].startswith("booked at 2024-03-01 00:00; the ratio at the mark 150000 was 19.33")
    assert found[1][1].endswith(", above 1: none was due")
    before = told([event(1, **LONG)], marks, as_at=at(DAY))
    assert before == [("not_booked", "due in full at 93000 at 2024-01-01 06:00, not booked")]


def test_a_booking_is_compared_with_the_state_of_its_own_run():
    """The position was doubled since the run that was missed."""
    more = event(9 * DAY, **LONG | {"price": "150000"})
    marks = rated([*RECOVERS, (at(60 * DAY), 115_000)])
    whole = taken(60 * DAY, quantity="2", price="112500", fee="257.5")
    found = told([event(1, **LONG), more, whole], marks)
    assert found == [
        ("not_booked", MISSED),
        ("agrees", "due in full at 115000 at 2024-03-01 00:00, booked then at the bankruptcy price"),
    ]
    assert told([event(1, **LONG), more], marks)[0] == found[0]


def test_a_booking_days_after_the_mark_that_is_still_in_force_is_late():
    booked = taken(0) | {"time": at(360 + DAY + 1) + timedelta(seconds=2, milliseconds=500)}
    assert told([event(1, **LONG), booked], rated(RECOVERS[:2])) == [
        (
            "late",
            "due in full at 93000 at 2024-01-01 06:00, booked at 2024-01-02 06:01:02.500 (1 d 1 min 2.5 s later) at the"
            " bankruptcy price",
        )
    ]


@pytest.mark.parametrize(
    ("runs", "words"),
    [
        (1, ""),
        (2, "; due once more, from 2024-01-02 06:00"),
        (4, "; due 3 more times, the last from 2024-01-04 06:00"),
    ],
)
def test_runs_that_were_missed_are_told_once(runs, words):
    prices = [(time + timedelta(days=day), price) for day in range(runs) for time, price in RECOVERS]
    now = (at(runs * DAY + 360), 93_000)
    events = [event(1, **LONG), taken(runs * DAY + 365)]
    found = told(events, rated([*prices, now]))
    assert [verdict for verdict, _ in found] == ["not_booked", "late"]
    assert found[0][1] == MISSED + words
    assert told(events[:1], rated([*prices, now]))[0] == found[0]


def test_what_the_position_was_relieved_of_in_time_is_not_due():
    """Margin added at the time of the booking, before it; and a mark of that very time that is better."""
    margin = event(365, kind="margin", amount="20000", currency="USDT", event_id="margin")
    assert [one for one, _ in told([event(1, **LONG), margin, taken(365)], rated(RECOVERS[:2]))] == [
        "not_booked",
        "not_due",
    ]
    assert [one for one, _ in told([event(1, **LONG), taken(420)], rated(RECOVERS))] == ["not_booked", "not_due"]


def test_a_mark_that_only_cancels_the_orders_makes_none_due():
    found = told([event(1, **LONG), taken(365)], rated(RECOVERS), ["recheck=next_mark"])
    assert [one for one, _ in found] == ["not_due"]
    assert found[0][1].endswith("and only cancelled its orders: none was due")


# --- the money ----------------------------------------------------------------------------------------------------

AT_NEITHER = "due in full at 93000 at 2024-01-01 06:00, booked then"
MONEY_APART = {
    "what comes back": (
        {"price": "93000", "amount": "5000", "currency": "USDT"},
        " at the mark; insurance fund differs by -5000 USDT; 5000 USDT came back to the account, not 0",
    ),
    "neither price": (
        {"price": "92990"},
        "; booked at 92990: 10 USDT below the mark 93000, 2990 USDT above the bankruptcy price 90000"
        "; realised PnL differs by -10 USDT; insurance fund differs by -10 USDT",
    ),
    "neither price, nearer to the bankruptcy price": (
        {"price": "90000.5"},
        "; booked at 90000.5: 2999.5 USDT below the mark 93000, 0.5 USDT above the bankruptcy price 90000"
        "; realised PnL differs by 0.5 USDT; insurance fund differs by 0.5 USDT",
    ),
    "more than the position": (
        {"price": "93000", "quantity": "5"},
        " at the mark; quantity differs by 4 BTC, 4 BTC of it beyond the position; insurance fund differs by 82.4 USDT",
    ),
    "in part": (
        {"price": "92000", "quantity": "0.5", "fee": "51.5"},
        "; booked in part, not in full; quantity differs by -0.5 BTC; price differs by -1000 USDT"
        "; repaid differs by -54051.5 USDT; fee differs by -51.5 USDT",
    ),
}


@pytest.mark.parametrize("name", MONEY_APART)
def test_every_figure_that_differs_is_named(name):
    more, words = MONEY_APART[name]
    events = [event(1, **LONG), taken(360, **more)]
    found, _, _, _ = compared([one | {"row": row} for row, one in enumerate(events, 1)], rated(RECOVERS[:2]), None)
    row = rows_of(found)[0]
    assert (row["verdict"], row["explanation"]) == ("differs", AT_NEITHER + words)
    assert row["price_difference"] == Fraction(more["price"]) - row["price_due"]
    assert row["quantity_booked"] == Fraction(more.get("quantity", 1))


@pytest.mark.parametrize(("price", "left"), [("93000", 2897), ("90000", -103)])
def test_the_breakdown_is_that_of_the_price_of_the_booking(price, left):
    events = [event(1, **LONG), taken(360, price=price)]
    found, _, _, _ = compared([one | {"row": row} for row, one in enumerate(events, 1)], rated(RECOVERS[:2]), None)
    row = rows_of(found)[0]
    assert row["verdict"] == "agrees"
    assert row["realised_pnl_due"] == row["realised_pnl_booked"] == Fraction(price) - 100_000
    assert row["insurance_fund_due"] == row["insurance_fund_booked"] == left
    assert (row["price_due"], row["returned_due"], row["returned_booked"]) == (Fraction(price), 0, 0)
