"""From rows of exchange files to canonical events: each meaning, each fallback, and what must not matter."""

from decimal import Decimal
from pathlib import Path
from random import Random

import exchange_files
import exchange_truth
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statement_rows import START, frame, interest, legs, margin, opened

import ledger
from ledger.feeds import read_feed
from ledger.refusals import BadInput
from ledger.statements import okx_bills, okx_fills, okx_interest, okx_trading_history
from ledger.statements.columns import STATEMENTS
from ledger.statements.merging import ROWS_SCHEMA, merged
from ledger.statements.reading import read_statements
from ledger.statements.transactions import Defaults, events_of

EVENT = ("event_id", "kind", "side", "quantity", "value", "price", "fee", "fee_currency", "amount", "currency")


def events(*rows, **defaults):
    """The events of the rows, as dicts; none may be refused."""
    found = events_of(frame(*rows), Defaults(**defaults))
    assert found.refusals.is_empty(), found.refusals.rows()
    return found.events.rows(named=True)


def one(*rows, **defaults):
    (event,) = events(*rows, **defaults)
    return event


def placed(*rows, **defaults):
    """What became of each row: its event, or why there is none."""
    found = events_of(frame(*rows), Defaults(**defaults)).placed
    return [event or reason for event, reason in found.select("event_id", "reason").iter_rows()]


def refused(*rows, **defaults):
    return events_of(frame(*rows), Defaults(**defaults)).refusals.rows(named=True)


# --- legs ---------------------------------------------------------------------------------------------------


def test_two_legs_are_one_fill():
    event = one(*opened())
    assert {name: event[name] for name in EVENT} == {
        "event_id": "101",
        "kind": "fill",
        "side": "buy",
        "quantity": Decimal("0.1"),
        "value": Decimal(10_000),
        "price": Decimal(100_000),
        "fee": Decimal("0.0001"),
        "fee_currency": "BTC",
        "amount": Decimal(1000),
        "currency": "USDT",
    }
    assert (event["input"], event["row"]) == (1, 2)


def test_a_sell_is_known_by_the_quote_received():
    event = one(*legs(5, "sell", 2, 50, fee="0.1"), margin_currency="quote", leverage=Decimal(3))
    assert (event["side"], event["quantity"], event["value"]) == ("sell", 2, 100)
    assert (event["fee"], event["fee_currency"], event["leverage"], event["amount"]) == (
        Decimal("0.1"),
        "USDT",
        3,
        None,
    )


def test_a_rebate_raises_what_is_received():
    event = one(*legs(5, "buy", 2, 50, fee="-0.001"), margin_currency="base", leverage=Decimal(3))
    assert (event["quantity"], event["fee"], event["fee_currency"]) == (2, Decimal("-0.001"), "BTC")


def test_what_was_booked_wins_over_the_size():
    rows = legs(5, "buy", 2, 50)
    rows[1]["size"] = 101
    assert one(*rows, margin_currency="base", leverage=3)["value"] == 100


@pytest.mark.parametrize("change", [0, None])
def test_the_size_counts_where_no_change_is_booked(change):
    rows = [row | {"change": change} for row in legs(5, "buy", 2, 50, fee="0.01")]
    event = one(*rows, margin_currency="base", leverage=3)
    assert (event["quantity"], event["value"], event["fee"]) == (2, 100, Decimal("0.01"))


def test_without_a_price_it_is_the_quotient():
    rows = [row | {"price": None} for row in legs(5, "buy", 4, 25)]
    assert one(*rows, margin_currency="base", leverage=3)["price"] == 25


def test_a_second_fee_stays_in_the_amount_of_its_leg():
    rows = legs(5, "buy", 2, 50, fee="0.01")
    rows[1] |= {"fee": "0.5", "fee_currency": "USDT", "change": "-100.5"}
    event = one(*rows, margin_currency="base", leverage=3)
    assert (event["quantity"], event["fee"], event["fee_currency"]) == (2, Decimal("0.01"), "BTC")
    assert event["value"] == Decimal("100.5")


def test_a_fee_on_what_is_given_is_the_fee():
    rows = legs(5, "buy", 2, 50)
    rows[1] |= {"fee": "0.5", "fee_currency": "USDT", "change": "-100.5"}
    event = one(*rows, margin_currency="base", leverage=3)
    assert (event["value"], event["fee"], event["fee_currency"]) == (100, Decimal("0.5"), "USDT")


def test_a_fee_in_a_third_currency_touches_no_leg():
    rows = legs(5, "buy", 2, 50)
    rows[0] |= {"fee": "0.3", "fee_currency": "OKB"}
    event = one(*rows, margin_currency="base", leverage=3)
    assert (event["quantity"], event["fee"], event["fee_currency"]) == (2, Decimal("0.3"), "OKB")


def test_orders_interleave_within_a_moment():
    first, second = legs(1, "buy", 1, 10, order="a", trade="x"), legs(11, "buy", 2, 10, order="b", trade="y")
    found = events(first[0], second[0], second[1], first[1], margin_currency="base", leverage=3)
    assert [(event["event_id"], event["quantity"]) for event in found] == [("1", 1), ("11", 2)]


def test_without_a_trade_consecutive_rows_of_the_order_are_a_fill():
    rows = [*legs(10, "buy", 1, 10), *legs(12, "buy", 2, 10), *legs(14, "buy", 3, 10)]
    found = events(*rows[::-1], margin_currency="base", leverage=3)
    assert [(event["event_id"], event["value"]) for event in found] == [("10", 10), ("12", 20), ("14", 30)]


def test_a_lost_leg_does_not_shift_the_others():
    rows = [*legs(10, "buy", 1, 10), *legs(12, "buy", 2, 10), *legs(14, "buy", 3, 10)]
    found = events_of(frame(*rows[1:]), Defaults(margin_currency="base", leverage=3))
    assert found.events["event_id"].to_list() == ["12", "14"]
    assert found.alone.rows() == [(1, 1)]


def test_without_consecutive_rows_the_nth_received_is_of_the_nth_given():
    one_fill, other = legs(10, "buy", 1, 10), legs(30, "buy", 2, 11)
    apart = [row | {"row_id": f"{number}"} for row, number in zip([*one_fill, *other], (10, 20, 30, 40), strict=True)]
    found = events(apart[2], apart[0], apart[1], apart[3], margin_currency="base", leverage=3)
    assert [(event["event_id"], event["value"]) for event in found] == [("10", 10), ("30", 22)]


def test_legs_of_one_moment_and_different_orders_are_no_fill():
    rows = [legs(10, "buy", 1, 10, order="a")[0], legs(10, "buy", 1, 10, order="b")[1]]
    found = events_of(frame(*rows), Defaults())
    assert found.events.is_empty()
    assert found.alone.height == 2
    assert placed(*rows) == ["a leg without the other leg of its fill"] * 2


def test_liquidation_legs_are_a_liquidation():
    rows = legs(200, "sell", "0.0999", 101_000, meaning="liquidation_leg", order="liq", minute=5)
    back = margin(203, "margin_returned", 30, code="333", order="liq", minute=5)
    fund = {**rows[1], "row_id": "202", "stated_type": "5/111", "currency": "USDT", "change": -50, "trade_id": None}
    *_, event = events(*opened(), *rows, fund, back)
    assert (event["kind"], event["side"], event["amount"], event["leverage"]) == ("liquidation", "sell", 30, None)
    assert (
        placed(*opened(), *rows, fund, back)[-2:]
        == [
            "evidence of a close, which returns what is left by itself",
        ]
        * 2
    )
    assert events_of(frame(*opened(), *rows, fund, back), Defaults()).alone.is_empty()


# --- whole fills --------------------------------------------------------------------------------------------

FILL = {
    "meaning": "fill",
    "layout": "okx-fills",
    "side": "buy",
    "size": "0.1",
    "price": 100_000,
    "fee": "0.0001",
    "fee_currency": "BTC",
    "order_id": "o1",
    "trade_id": "t1",
}


def test_a_whole_fill_is_taken_as_it_is():
    event = one(FILL | {"row_id": "7", "value": "10000.5"}, margin_currency="quote", leverage=5)
    assert (event["event_id"], event["value"], event["leverage"]) == ("7", Decimal("10000.5"), 5)
    assert event["amount"] is None


@pytest.mark.parametrize("known_by", [{"row_id": "999"}, {"row_id": "102", "trade_id": None}])
def test_a_fill_that_bills_have_too_is_one_event(known_by):
    rows = [*opened(), {**FILL, **known_by, "input": 2}]
    assert one(*rows)["event_id"] == "101"
    assert placed(*rows) == ["101"] * 4


def test_a_fill_stands_for_a_leg_whose_other_is_missing():
    rows = [*opened()[:2], FILL | {"row_id": "101", "input": 2, "row": 1}]
    found = events_of(frame(*rows), Defaults())
    assert found.events["event_id"].to_list() == ["101"]
    assert found.alone.is_empty()


def test_identifiers_that_clash_are_told_apart():
    other = FILL | {"instrument": "LTC-USDT", "layout": "binance-trades", "row_id": "7"}
    found = events(FILL | {"row_id": "7", "layout": "binance-trades"}, other, margin_currency="quote", leverage=5)
    assert [event["event_id"] for event in found] == ["7:BTC-USDT:main", "7:LTC-USDT:main"]


# --- interest -----------------------------------------------------------------------------------------------


def test_interest_is_an_event():
    event = events(*opened(), interest(103, "0.125", minute=60))[1]
    assert (event["kind"], event["amount"], event["currency"], event["event_id"]) == (
        "interest",
        Decimal("0.125"),
        "USDT",
        "103",
    )


def test_interest_counts_by_its_change_where_no_amount_is_stated():
    assert events(*opened(), interest(103, "0.125", minute=60) | {"interest": None})[1]["amount"] == Decimal("0.125")


ACCRUED = {"layout": "okx-interest", "input": 2, "change": None, "size": None}


def test_accrued_interest_and_its_bill_are_one_charge():
    rows = [*opened(), interest(103, "0.125", minute=60), interest(None, "0.125", minute=62, **ACCRUED)]
    assert len(events(*rows)) == 2
    assert placed(*rows)[-1] == "103"


@pytest.mark.parametrize(
    "other", [{"minute": 66}, {"minute": 60, "currency": "BTC"}, {"minute": 60, "amount": "0.126"}]
)
def test_another_charge_stays_another(other):
    late = {"amount": "0.125", **other}
    rows = [*opened(), interest(103, "0.125", minute=60), interest(None, late.pop("amount"), **ACCRUED, **late)]
    assert len(events(*rows)) == 3


def test_a_charge_that_the_accrued_file_has_twice_stays_twice():
    twice = [interest(None, "0.125", minute=60, **ACCRUED, row=row) for row in (1, 2)]
    found = events(*opened(), interest(103, "0.125", minute=60), *twice)
    assert [event["amount"] for event in found[1:]] == [Decimal("0.125")] * 2


def test_all_decimals_win_over_a_rounded_bill():
    bill = interest(103, "0.12345679", minute=60, layout="okx-trading-history")
    found = events(*opened(), bill, interest(None, "0.1234567891234567", minute=60, **ACCRUED))
    assert [(event["event_id"], event["amount"]) for event in found[1:]] == [("103", Decimal("0.1234567891234567"))]


def test_interest_without_an_identifier_has_a_name_of_its_own():
    event = events(*opened(), interest(None, "0.125", minute=60, **ACCRUED))[1]
    assert event["event_id"] == "interest:main:BTC-USDT:USDT:1735693200000"


# --- margin -------------------------------------------------------------------------------------------------


def amounts(*rows, **defaults):
    return [(event["event_id"], event["kind"], event["amount"]) for event in events(*rows, **defaults)]


def test_margin_posted_is_of_the_next_fill_of_its_order():
    rows = [
        *legs(1, "buy", 1, 100, order="a", trade="x"),
        margin(3, "margin_posted", 20, order="a"),
        *legs(4, "buy", 2, 100, order="a", trade="y"),
        margin(6, "margin_posted", 7, order="a"),
    ]
    assert amounts(*rows) == [("1", "fill", 0), ("4", "fill", 27)]


def test_margin_posted_by_a_reversal_is_of_the_part_that_opens():
    close = legs(200, "sell", "0.0999", 101_000, order="o2", trade="t2", minute=5)
    opens = legs(203, "sell", "0.05", 101_000, order="o2", trade="t3", minute=5)
    posted = margin(202, "margin_posted", 500, order="o2", minute=5)
    early = [*opened(), posted | {"row_id": "199"}, *close, *opens]
    late = [*opened(), *close, posted, *opens]
    assert amounts(*early) == amounts(*late) == [("101", "fill", 1000), ("200", "fill", 0), ("203", "fill", 500)]


def test_margin_posted_without_an_order_is_of_the_next_fill_while_flat():
    rows = opened()
    rows[0]["order_id"] = None
    assert amounts(*rows) == [("101", "fill", 1000)]


def test_margin_posted_without_an_order_changes_an_open_position():
    more = margin(150, "margin_posted", 9, minute=2)
    assert amounts(*opened(), more)[1] == ("150", "margin", 9)


def test_margin_while_flat_and_without_a_fill_is_no_event():
    lost = margin(300, "margin_posted", 9, minute=50)
    close = legs(200, "sell", "0.0999", 101_000, order="o2", trade="t2", minute=5)
    assert placed(*opened(), *close, lost)[-1] == "margin while no position was open, and no fill follows"


def test_margin_added_and_removed_are_events():
    added = margin(150, "margin_added", "9.5", code="160", minute=2)
    removed = margin(151, "margin_removed", 3, code="161", minute=3)
    assert amounts(*opened(), added, removed)[1:] == [("150", "margin", Decimal("9.5")), ("151", "margin", -3)]


def test_margin_added_while_flat_is_of_the_next_fill():
    assert amounts(margin(50, "margin_added", 5, code="160"), *opened()) == [("101", "fill", 1005)]


def test_what_a_close_returns_and_takes_is_no_event():
    close = legs(200, "sell", "0.0999", 101_000, order="o2", trade="t2", minute=5)
    by_order = margin(202, "margin_returned", 1050, code="333", order="o2", minute=5)
    while_flat = margin(203, "margin_loss", 3, code="334", minute=5)
    rows = [*opened(), *close, by_order, while_flat]
    assert [event["kind"] for event in events(*rows)] == ["fill", "fill"]
    assert placed(*rows)[-2:] == ["evidence of a close, which returns what is left by itself"] * 2


@pytest.mark.parametrize(("meaning", "code"), [("margin_returned", "333"), ("margin_loss", "334")])
def test_what_is_returned_while_open_lowers_the_margin(meaning, code):
    part = legs(200, "sell", "0.05", 101_000, order="o2", trade="t2", minute=5)
    given_back = margin(202, meaning, 400, code=code, order="o2", minute=5)
    assert amounts(*opened(), *part, given_back)[1:] == [("200", "fill", 0), ("202", "margin", -400)]


def test_margin_in_another_currency_than_the_pair_is_no_event():
    strange = margin(150, "margin_added", 1, currency="ETH", minute=2)
    assert len(events(*opened(), strange)) == 1
    assert placed(*opened(), strange)[-1] == "in another currency than the margin of its position"


def test_a_takeover_while_the_position_stays_open_is_reported():
    taken = {"row_id": "150", "meaning": "liquidation_leg", "stated_type": "5/111", "currency": "USDT", "change": -5}
    found = events_of(frame(*opened(), taken | {"minute": 3}), Defaults())
    assert found.events.height == found.alone.height == 1


def test_an_order_that_closes_more_than_there_is_leaves_the_rest_to_the_account():
    close = legs(200, "sell", "0.12", 101_000, order="o2", trade="t2", minute=5)
    assert [event["reduce_only"] for event in events(*opened(), *close)] == [False, True]
    posted = margin(199, "margin_posted", 200, order="o2", minute=5)
    assert [event["reduce_only"] for event in events(*opened(), posted, *close)] == [False, False]
    close[1] |= {"balance": "-0.0201"}
    assert [event["reduce_only"] for event in events(*opened(), *close)] == [False, False]


# --- margin currency, mode, leverage ------------------------------------------------------------------------


def test_the_margin_currency_is_that_of_the_margin_rows():
    rows = [margin(1, "margin_posted", "0.01", currency="BTC", order="o1"), *legs(2, "buy", "0.1", 100_000)]
    found = events_of(frame(*rows), Defaults(margin_currency="quote"))
    assert found.events["margin_currency"].to_list() == ["BTC"]
    assert found.inferred["currency_from"].to_list() == ["margin rows"]


@pytest.mark.parametrize(("given", "code"), [("base", "BTC"), ("quote", "USDT"), ("USDT", "USDT")])
def test_without_margin_rows_the_caller_says_the_margin_currency(given, code):
    assert one(*legs(1, "buy", 1, 100), margin_currency=given, leverage=3)["margin_currency"] == code


def test_what_is_known_of_a_position_counts_before_what_is_said_of_all():
    known = {("main", "BTC-USDT"): "BTC"}
    event = one(*legs(1, "buy", 1, 100), margin_currency="quote", margin_currencies=known, leverage=3)
    assert event["margin_currency"] == "BTC"


@pytest.mark.parametrize("given", [None, "ETH"])
def test_an_unknown_margin_currency_is_refused_once_for_a_position(given):
    rows = [*legs(1, "buy", 1, 100, trade="x"), *legs(3, "buy", 1, 100, trade="y", minute=1)]
    (refusal,) = refused(*rows, margin_currency=given, leverage=3)
    assert (refusal["file"], refusal["row"], refusal["column"], refusal["value"]) == (
        "file 1",
        1,
        "margin_currency",
        "BTC-USDT",
    )
    assert "--margin-currency" in refusal["remedy"]


def test_an_unknown_leverage_is_refused_where_no_margin_is_stated():
    rows = [*legs(1, "buy", 1, 100, trade="x"), *legs(3, "sell", "0.5", 100, trade="y", minute=1)]
    (refusal,) = refused(*rows, margin_currency="quote")
    assert (refusal["row"], refusal["column"]) == (1, "leverage")
    assert "--leverage" in refusal["remedy"]


@pytest.mark.parametrize(
    ("code", "given", "mode", "source"),
    [
        ("332", "old", "new", "margin rows"),
        ("200", "new", "old", "margin rows"),
        ("160", "old", "old", "default"),
        ("160", None, "new", "nothing: taken for new"),
    ],
)
def test_the_mode_is_told_by_the_margin_rows(code, given, mode, source):
    found = events_of(frame(*[row | {"stated_type": f"6/{code}"} for row in opened()]), Defaults(mode=given))
    assert found.events["mode"].to_list() == [mode]
    assert found.inferred.rows() == [("main:BTC-USDT:USDT", mode, "USDT", source, "margin rows")]


def test_each_life_has_its_mode():
    close = legs(200, "sell", "0.0999", 101_000, order="o2", trade="t2", minute=5)
    again = [row | {"order_id": "o3", "minute": 9} for row in opened(300)]
    again[0]["stated_type"] = "6/200"
    again[1]["trade_id"] = again[2]["trade_id"] = "t3"
    assert [event["mode"] for event in events(*opened(), *close, *again)] == ["new", "new", "old"]


def test_two_positions_of_an_instrument_are_told_apart():
    quote, base = opened(), margin(200, "margin_posted", "0.01", currency="BTC", order="o2", minute=1)
    short = legs(201, "sell", "0.1", 100_000, order="o2", trade="t2", minute=1)
    owed = interest(300, "0.1", minute=60), interest(301, "0.00001", currency="BTC", minute=60)
    reduces = legs(310, "sell", "0.01", 100_000, order="o3", trade="t3", minute=61)
    found = events(*quote, base, *short, *owed, *reduces)
    assert [event["margin_currency"] for event in found] == ["USDT", "BTC", "USDT", "BTC", "USDT"]


# --- order, and rows that give no event ---------------------------------------------------------------------


def test_events_of_one_moment_are_in_the_order_of_their_identifiers():
    rows = [interest(101, "0.2", minute=60), interest(99, "0.1", minute=60), interest(100, "0.3", minute=60)]
    found = events(*opened(1), *rows)
    assert [event["event_id"] for event in found] == ["2", "99", "100", "101"]


def test_a_fill_is_as_late_as_its_later_leg():
    first, second = legs(10, "buy", 1, 10, trade="x")
    event = one(first | {"minute": 0}, second | {"minute": 1}, margin_currency="base", leverage=3)
    assert (event["time"] - START).total_seconds() == 60
    assert event["event_id"] == "10"


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"meaning": "outside"}, "no concern of an isolated spot-margin position"),
        ({"meaning": "unclassified"}, "type or sub-type unknown"),
        ({"meaning": "borrowing"}, "a loan by itself moves no balance of the position in sum"),
        ({"meaning": "repayment"}, "a repayment by itself moves no balance of the position in sum"),
        ({"meaning": "fee"}, "a fee in a row of its own"),
        ({"meaning": "interest", "instrument": None}, "names no instrument that is a pair"),
        ({"meaning": "interest", "instrument": "BTC-USDT-SWAP"}, "names no instrument that is a pair"),
        ({"meaning": "margin_added", "currency": "USDT", "change": 0, "minute": 1}, "states no amount"),
    ],
)
def test_a_row_that_gives_no_event_says_why(row, reason):
    assert placed(*opened(), {"row_id": "900", **row})[-1] == reason


def test_an_event_that_breaks_a_rule_is_refused_with_its_row():
    rows = [FILL | {"row_id": "7", "size": 0, "input": 3, "row": 12}]
    found = events_of(frame(*rows), Defaults(margin_currency="quote", leverage=Decimal(3)), {3: "fills.json"})
    assert ("fills.json", 12, "quantity") in found.refusals.select("file", "row", "column").rows()


def test_a_history_that_is_cut_off_knows_that_it_is_open():
    charged = [
        interest(91, "0.1", currency="BTC", minute=60, balance="-2.1"),
        interest(92, "0.1", currency="BTC", minute=120, balance="-2.2"),
    ]
    added = margin(90, "margin_added", 5)
    assert amounts(added, *charged)[0] == ("90", "margin", 5)
    # one balance alone does not show what it counts
    assert placed(added, charged[0])[0] == "margin while no position was open, and no fill follows"


def test_no_rows_give_no_events():
    found = events_of(frame(), Defaults())
    assert found.events.is_empty()
    assert found.placed.is_empty()
    assert found.refusals.is_empty()


# --- merging ------------------------------------------------------------------------------------------------


def test_overlapping_files_give_each_row_once():
    rows = frame(*opened(), *[row | {"input": 2, "row": 8} for row in opened()[:1]])
    once = merged(rows)
    assert once.rows.height == 3
    assert once.repeated.rows() == [(2, 8, "100", 1, 1)]


def test_bills_and_trading_history_share_identifiers():
    bill = interest(103, "0.1234567891234567")
    rounded = interest(103, "0.12345679", layout="okx-trading-history", input=1, row=4)
    once = merged(frame(rounded, bill | {"input": 2, "row": 9}))
    assert once.rows["layout"].to_list() == ["okx-bills"]
    assert once.repeated.rows() == [(1, 4, "103", 2, 9)]


def test_other_layouts_and_accounts_have_identifiers_of_their_own():
    bill = interest(103, "0.1")
    rows = frame(bill, bill | {"layout": "binance-interest"}, bill | {"account": "second"})
    assert merged(rows).rows.height == 3


@pytest.mark.parametrize(
    ("other", "column"),
    [
        ({"interest": "0.2"}, "interest"),
        ({"currency": "BTC"}, "currency"),
        ({"minute": 5}, "time"),
        ({"layout": "okx-trading-history", "interest": "0.10000001"}, "interest"),
    ],
)
def test_rows_that_contradict_each_other_are_refused(other, column):
    bill = interest(103, "0.1", change=None, size=None)
    rows = frame(bill, {**bill, **other, "input": 2, "row": 7})
    with pytest.raises(BadInput) as bad:
        merged(rows, {1: "one.csv", 2: "two.csv"})
    (refusal,) = bad.value.refusals.rows(named=True)
    assert (refusal["file"], refusal["row"], refusal["column"]) == ("two.csv", 7, column)
    assert "row 1 of one.csv" in refusal["rule"]


def test_rows_without_an_identifier_count_as_often_as_in_the_file_that_has_most():
    charge = interest(None, "0.1", layout="okx-interest")
    rows = frame(charge, charge, charge | {"input": 2, "row": 1}, charge | {"input": 3, "row": 1, "minute": 9})
    once = merged(rows)
    assert once.rows.select("input", "row").rows() == [(1, 1), (1, 2), (3, 1)]
    assert once.repeated.rows() == [(2, 1, None, 1, 1)]


# --- whole histories ----------------------------------------------------------------------------------------

RECORDS = Path(__file__).parent.parent / "fixtures" / "records"
FEEDS = (okx_fills.FEED, okx_bills.FEED, okx_interest.FEED, *okx_trading_history.FEEDS)
BALANCES = ("position", "episode", "direction", "mode", "status", "base_leg", "quote_leg", "margin", "realised_pnl")


def read(*paths):
    parts = [read_feed(path, FEEDS, STATEMENTS, {}) for path in paths]
    assert all(part.refusals.is_empty() for part in parts)
    rows = [
        part.rows.with_columns(pl.lit(number, dtype=pl.UInt16).alias("input"), account=pl.lit("main"))
        for number, part in enumerate(parts, start=1)
    ]
    return pl.concat([part.select(ROWS_SCHEMA.names()) for part in rows])


def what_happened(rows):
    """The events without where they were read."""
    found = events_of(merged(rows).rows, Defaults())
    assert found.refusals.is_empty()
    return found.events.drop("input", "row")


def states(frame_of_events):
    """The positions after a replay of events in the order of the frame."""
    place = pl.int_range(1, pl.len() + 1, dtype=pl.UInt32)
    ordered = frame_of_events.with_columns(input=pl.lit(1, dtype=pl.UInt16), row=place)
    return ledger.replay(ordered).positions.select(BALANCES)


def history(seed, **others):
    random = Random(seed)
    return exchange_truth.history(random, positions=random.randint(1, 3), events=(3, 25), **others)["events"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("statements")


def written(folder, happened, shape):
    bills = exchange_files.bills(happened)
    content = {
        "bills.json": lambda: exchange_files.answer(exchange_files.bill_records(bills)),
        "archive.csv": lambda: exchange_files.archive(bills),
        "history.csv": lambda: exchange_files.trading_history(bills),
        "fills.json": lambda: exchange_files.answer(exchange_files.fill_records(happened)),
        "interest.json": lambda: exchange_files.answer(exchange_files.interest_records(happened)),
        "house.csv": lambda: exchange_files.house_ledger(happened),
    }[shape]()
    return exchange_files.write(folder / shape, content)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(["bills.json", "archive.csv", "history.csv"]), st.booleans())
def test_the_events_of_a_history_lead_where_it_led(folder, seed, shape, leftovers):
    happened = history(seed, leftovers=leftovers, plain=shape == "history.csv")
    house = ledger.read_events([written(folder, happened, "house.csv")])
    expected = ledger.replay(house).positions.select(BALANCES)
    assert states(what_happened(read(written(folder, happened, shape)))).rows() == expected.rows()


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.randoms(use_true_random=False))
def test_neither_files_nor_their_order_change_the_events(folder, seed, random):
    happened = history(seed)
    rows = read(written(folder, happened, "bills.json"))
    expected = what_happened(rows)
    order = list(range(rows.height))
    random.shuffle(order)
    cut, lap = random.randrange(rows.height), random.randrange(rows.height)
    first, second = rows[: max(cut, lap)], rows[min(cut, lap) :].with_columns(input=pl.lit(2, pl.UInt16))
    for other in (rows[::-1], rows[order], pl.concat([first, second]), pl.concat([second, first[::-1]])):
        assert what_happened(other).equals(expected)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6))
def test_what_other_files_repeat_changes_nothing(folder, seed):
    happened = history(seed)
    bills = written(folder, happened, "bills.json")
    others = [written(folder, happened, name) for name in ("fills.json", "archive.csv", "interest.json")]
    assert what_happened(read(bills, *others)).equals(what_happened(read(bills)))
    assert what_happened(read(*others, bills)).equals(what_happened(read(bills)))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.booleans())
def test_the_events_change_the_legs_by_what_the_rows_do(folder, seed, leftovers):
    rows = read(written(folder, history(seed, leftovers=leftovers), "bills.json"))
    found = events_of(merged(rows).rows, Defaults()).events
    moved = rows.filter(pl.col("meaning").is_in(["leg", "liquidation_leg", "interest"]))
    moved = moved.filter(~pl.col("stated_type").str.contains("/11[01]$"))
    change = pl.col("change") + pl.col("account_change")  # a leftover goes past the position to the account
    booked = moved.group_by("instrument", "currency").agg(total=change.sum()).filter(pl.col("total") != 0)
    codes = pl.col("instrument").str.split("-")
    sign = pl.when(pl.col("side") == "buy").then(1).otherwise(-1).cast(pl.Decimal(38, 18))
    legs_of = [
        found.select("instrument", currency=codes.list.get(0), moved=sign * pl.col("quantity")),
        found.select("instrument", currency=codes.list.get(1), moved=-sign * pl.col("value")),
        found.select("instrument", currency="fee_currency", moved=-pl.col("fee")),
        found.filter(pl.col("kind") == "interest").select("instrument", "currency", moved=-pl.col("amount")),
    ]
    by_events = pl.concat(legs_of).drop_nulls().group_by("instrument", "currency").agg(total=pl.col("moved").sum())
    key = ["instrument", "currency"]
    assert by_events.filter(pl.col("total") != 0).sort(key).rows() == booked.sort(key).rows()


# --- files together -----------------------------------------------------------------------------------------


def test_files_are_read_together(folder, tmp_path):
    happened = history(7)
    paths = [written(folder, happened, name) for name in ("bills.json", "house.csv", "interest.json")]
    found = read_statements(paths, Defaults(account="main"), tmp_path, first_number=4)
    assert found.files["input"].to_list() == [4, 5, 6]
    assert found.events.height == len(happened)
    assert found.events["input"].unique().to_list() == [5]
    assert found.transactions.events.height == len(happened)
    assert found.rows.height == found.read.height
    assert found.layouts[4] == ("OKX bills",)


def test_a_snapshot_tells_the_margin_currency_of_fills(folder, tmp_path):
    happened = [event for event in history(11) if event["instrument"] == "BTC-USDT"]
    fills = written(folder, happened, "fills.json")
    said = Defaults(margin_currencies={("main", "BTC-USDT"): "USDT"}, leverage=Decimal(5))
    for paths, code in (([fills], "USDT"), ([fills, RECORDS / "positions.json"], "BTC")):
        found = read_statements(paths, said, tmp_path)
        assert found.transactions.events["margin_currency"].unique().to_list() == [code]


def test_all_refusals_of_all_files_are_raised_together(tmp_path):
    for number in (1, 2):
        (tmp_path / f"bad{number}.csv").write_text(f"billId,subType,ts,ccy\n{number},1,yesterday,BTC\n")
    with pytest.raises(BadInput) as bad:
        read_statements([tmp_path / "bad1.csv", tmp_path / "bad2.csv"], Defaults(), tmp_path)
    assert bad.value.refusals["file"].n_unique() == 2


def test_amounts_whose_sums_could_leave_the_type_are_refused(tmp_path):
    row = {"billId": "1", "subType": "11", "ts": "1735689600000", "ccy": "SHIB", "balChg": "9" * 17}
    lines = [",".join(row), *[",".join({**row, "billId": str(number)}.values()) for number in range(2000)]]
    (tmp_path / "bills.csv").write_text("\n".join(lines))
    with pytest.raises(BadInput, match="refused") as bad:
        read_statements([tmp_path / "bills.csv"], Defaults(), tmp_path)
    assert "less than 10^20" in bad.value.refusals["rule"][0]
