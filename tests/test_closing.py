"""What closes a position: the closing table of the rules, worked closes, lots, and random positions in fractions."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction

import oracle
import polars as pl
import pytest
from exact import event, events_of, read, rows_of, run
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from strategies import BLANK, DUST, histories, text

from ledger.columns import MARKS, schema
from ledger.money import MONEY
from ledger.refusals import LedgerError
from ledger.risk.closing import closing_orders
from ledger.risk.closing_quantity import in_lots, needed_quantity
from ledger.risk.order_columns import CLOSES

TABLE = read("rules", "closing_table.json")
NOON = datetime(2024, 1, 1, 12, tzinfo=UTC)
CASES = {"LB": ("base", "buy"), "LQ": ("quote", "buy"), "SB": ("base", "sell"), "SQ": ("quote", "sell")}


def opened(case, mode="new"):
    """1 BTC opened at 100,000, 10x."""
    margin, side = CASES[case]
    fill = {"kind": "fill", "side": side, "quantity": "1", "price": "100000", "leverage": "10"}
    return run(events_of({"mode": mode, "margin_currency": margin, "events": [fill]})).positions


def marks(*rows):
    types = schema(MARKS)
    texts = {name: pl.String if dtype == MONEY else dtype for name, dtype in types.items()}
    return pl.DataFrame([{name: row.get(name) for name in types} for row in rows], schema=texts, orient="row").cast(
        dict(types)
    )


def close(positions, **asked):
    (row,) = rows_of(closing_orders(positions, **asked))
    return row


def back(row):
    """What comes back in margin currency, what is left over aside."""
    leg = "base" if row["margin_currency"] == row["base_currency"] else "quote"
    assert row[f"account_{leg}"] == row["returned"] + row[f"leftover_{leg}"]
    return row["returned"]


@pytest.mark.parametrize("example", TABLE, ids=lambda example: example["title"])
def test_closing_table(example):
    """Quantity, fee, PnL and what comes back are those of the published table, to the last digit."""
    before = run(events_of(example | {"events": example["events"][:-1]})).positions
    given, booked, last = example["table"], example["rows"][-1], example["events"][-1]
    row = close(before, price=Decimal(given["price"]), fee_rate=Decimal(given["fee_rate"]))
    assert (row["needed_quantity"], back(row)) == (Fraction(given["quantity"]), Fraction(given["back"]))
    assert (row["quantity"], row["side"]) == (row["needed_quantity"], last["side"])
    assert (row["fee"], row["fee_currency"]) == (Fraction(last["fee"]), last["fee_currency"])
    assert row["realised_pnl"] == Fraction(booked["realised_pnl"])
    assert (row["leftover_base"], row["leftover_quote"]) == (0, 0)


WORKED = [
    ("LB", "125000", "0.8", "0.2", "0.3"),
    ("LQ", "125000", "1", "25000", "35000"),
    ("LQ", "95000", "1", "-5000", "5000"),
    ("SB", "80000", "1.25", "0.25", "0.35"),
    ("SQ", "80000", "1", "20000", "30000"),
    ("SQ", "105000", "1", "-5000", "5000"),
]


@pytest.mark.parametrize("mode", ["old", "new"])
@pytest.mark.parametrize("worked", WORKED, ids=lambda worked: f"{worked[0]} at {worked[1]}")
def test_worked_closes_are_the_same_in_both_modes(worked, mode):
    case, price, *amounts = worked
    row = close(opened(case, mode), price=Decimal(price))
    assert [row["quantity"], row["realised_pnl"], back(row)] == [Fraction(amount) for amount in amounts]
    assert (row["mode"], row["order_value"]) == (mode, row["quantity"] * Fraction(price))


def test_long_with_base_margin_below_its_price():
    """LB at 95,000 sells 1.0526315789..., 0.0473684210... comes back; the rounding up is the account's."""
    row = close(opened("LB"), price=Decimal(95_000))
    assert (int(row["quantity"] * 10**10), int(back(row) * 10**10)) == (10526315789, 473684210)
    assert 0 <= row["quantity"] - Fraction(20, 19) < DUST
    assert row["leftover_quote"] == row["quantity"] * 95_000 - 100_000
    assert 0 < row["leftover_quote"] < Fraction(1, 10**12)


LOTS = [
    ("LB", "125000", "0.3", "0.9", ("-0.1", "12500")),
    ("LQ", "125000", "0.3", "1.2", ("-0.2", "25000")),
    ("SB", "80000", "0.3", "1.5", ("0.25", "-20000")),
    ("SQ", "80000", "0.3", "1.2", ("0.2", "-16000")),
    ("LB", "125000", "0.4", "0.8", ("0", "0")),
    ("SB", "80000", "0.000000000000000001", "1.25", ("0", "0")),
]


@pytest.mark.parametrize("lots", LOTS, ids=lambda lots: f"{lots[0]} in lots of {lots[2]}")
def test_lots_are_rounded_up_and_the_rest_goes_to_the_account(lots):
    case, price, size, quantity, leftover = lots
    row = close(opened(case), price=Decimal(price), lot_sizes={"BTC-USDT": Decimal(size), "ETH-USDT": Decimal(1)})
    exact = close(opened(case), price=Decimal(price))
    assert (row["quantity"], row["lot_size"]) == (Fraction(quantity), Fraction(size))
    assert (row["leftover_base"], row["leftover_quote"]) == tuple(map(Fraction, leftover))
    same = ("needed_quantity", "realised_pnl", "returned")
    assert [row[name] for name in same] == [exact[name] for name in same]
    for leg in ("base", "quote"):
        assert row[f"account_{leg}"] == exact[f"account_{leg}"] + row[f"leftover_{leg}"]


def test_the_largest_reduce_only_order_is_what_pending_ones_leave():
    asked = {"price": Decimal(125_000), "lot_sizes": {"BTC-USDT": Decimal("0.3")}}
    for pending, largest in (("0", "1.2"), ("0.5", "0.7"), ("1.2", "0"), ("7", "0")):
        row = close(opened("LQ"), pending={"main:BTC-USDT:USDT": Decimal(pending)}, **asked)
        assert (row["pending_quantity"], row["largest_reduce_only"]) == (Fraction(pending), Fraction(largest))


def test_the_mark_in_force_is_the_price():
    known = marks(
        {"instrument": "BTC-USDT", "mark_price": "90000"},
        {"instrument": "BTC-USDT", "mark_price": "125000", "time": NOON},
        {"instrument": "ETH-USDT", "mark_price": "1"},
    )
    row = close(opened("LB"), marks=known)
    assert (row["price"], row["priced_at"], row["quantity"]) == (125_000, "mark", Fraction("0.8"))
    assert close(opened("LB"), marks=known, as_at=NOON - timedelta(seconds=1))["price"] == 90_000
    given = close(opened("LB"), marks=known, price={"BTC-USDT": Decimal(80_000)})
    assert (given["price"], given["priced_at"], given["quantity"]) == (80_000, "given", Fraction("1.25"))
    assert close(opened("LB"), marks=known, price={"ETH-USDT": Decimal(80_000)})["priced_at"] == "mark"


def test_without_a_price_nothing_is_said():
    row = close(opened("SQ"))
    assert row["note"] == "No price of BTC-USDT is known."
    amounts = ("price", "quantity", "needed_quantity", "order_value", "fee", "returned", "largest_reduce_only")
    assert [row[name] for name in amounts] == [None] * len(amounts)
    assert (row["side"], row["direction"]) == ("buy", "short")


def test_a_quantity_that_does_not_fit_is_said():
    fill = {"kind": "fill", "side": "buy", "quantity": "1e12", "price": "1000", "leverage": "10"}
    before = run(events_of({"mode": "new", "margin_currency": "base", "events": [fill]})).positions
    row = close(before, price=Decimal("0.0001"))
    assert (row["note"], row["quantity"]) == ("At this price the quantity or its value is too large.", None)
    assert close(before, price=Decimal(1))["quantity"] == 10**15
    assert close(before, price=Decimal(10**13))["quantity"] == 100


def test_interest_that_has_run_is_paid_as_well():
    run_up = opened("SQ").with_columns(base_interest=pl.lit("0.5").cast(MONEY))
    row = close(run_up, price=Decimal(80_000), fee_rate=Decimal("0.2"))
    assert (row["needed_quantity"], row["fee"]) == (Fraction("1.875"), Fraction("0.375"))
    assert back(row) == 100_000 - 150_000 + 10_000


def test_one_row_for_each_open_life():
    fills = [
        {"kind": "fill", "side": side, "quantity": "1", "price": "100000", "leverage": "10"}
        for side in ("buy", "sell", "sell")
    ]
    positions = run(events_of({"mode": "new", "margin_currency": "quote", "events": fills})).positions
    closes = closing_orders(positions, price=Decimal(100_000))
    assert closes.schema == schema(CLOSES)
    assert closes.select("position", "episode", "direction").rows() == [("main:BTC-USDT:USDT", 2, "short")]
    assert closing_orders(positions.filter(pl.col("status") != "open"), price=Decimal(1)).is_empty()


def test_amounts_that_are_none_are_refused_together():
    wrong = {"fee_rate": Decimal(1), "price": Decimal(0), "lot_sizes": {"BTC-USDT": Decimal(-1)}}
    with pytest.raises(LedgerError) as error:
        closing_orders(opened("LQ"), pending={"main:BTC-USDT:USDT": Decimal(-1)}, **wrong)
    for words in ("fee rate 1", "price 0 of all", "lot size -1 of BTC-USDT", "pending -1 of main:BTC-USDT:USDT"):
        assert words in str(error.value)


# --- random positions -------------------------------------------------------------------------------------------


def published(case, assets, liability, price, fee_rate):
    """The quantity that closes a position, by the published table (rules 2)."""
    kept = 1 - fee_rate
    return {"LB": liability / (price * kept), "LQ": assets, "SB": assets / price, "SQ": liability / kept}[case]


RATES = [Fraction(rate) for rate in ("0", "0.001", "0.0015", "-0.0002", "0.5", "0.0234375")]


@settings(max_examples=15)
@given(
    events=histories(events=8, positions=1),
    factor=st.sampled_from([Fraction(1), Fraction(3, 7), Fraction(17, 10)]),
    fee_rate=st.sampled_from(RATES),
    lots=st.sampled_from([None, Fraction(1, 3), Fraction(1, 1000), Fraction(5, 2)]),
)
def test_the_order_closes_the_position_and_nothing_else(events, factor, fee_rate, lots):
    """Replayed after the position's events it leaves it flat, and the account gets what was said; so by the oracle."""
    positions = run(events).positions
    for row in positions.filter(pl.col("status") == "open").iter_rows(named=True):
        last = [event for event in events if event["instrument"] == row["instrument"] and event["price"]][-1]
        price = oracle.rounded(last["price"] * factor)
        own = positions.filter((pl.col("position") == row["position"]) & (pl.col("episode") == row["episode"]))
        assume(price > 0)
        quantity = close(own, price=as_decimal(price), fee_rate=as_decimal(fee_rate))["quantity"]
        assume(quantity is not None and quantity < 10**14 and quantity * price < 10**15)
        sizes = {} if lots is None else {row["instrument"]: as_decimal(max(oracle.rounded(quantity * lots), DUST))}
        told = close(own, price=as_decimal(price), fee_rate=as_decimal(fee_rate), lot_sizes=sizes)
        quantity_is_least(told, own, price, fee_rate, sizes)
        assume(told["order_value"] > 0 and oracle.rounded(min(told["quantity"], 1) * min(price, 1)) > 0)
        assume(abs(told["fee"]) < (told["quantity"] if told["side"] == "buy" else told["order_value"]))
        replayed_alike(events, row, told)


def quantity_is_least(told, own, price, fee_rate, sizes):
    """Not less than the published quantity, and not more than rounding up needs."""
    (position,) = rows_of(own)
    long = position["direction"] == "long"
    legs = position["base_leg"], position["quote_leg"]
    assets, liability = (legs[0], -legs[1]) if long else (legs[1], -legs[0])
    case = ("L" if long else "S") + ("B" if position["margin_is_base"] else "Q")
    exact = published(case, assets, liability, price, fee_rate)
    assert 0 <= told["needed_quantity"] - exact < DUST * (1 + (1 / price if case[1] == "B" else 0))
    lot = Fraction(next(iter(sizes.values()), Decimal("1e-18")))
    assert told["quantity"] % lot == 0
    assert 0 <= told["quantity"] - told["needed_quantity"] < lot


def replayed_alike(events, row, told):
    when = max(event["time"] for event in events) + timedelta(days=1)
    keep = [event for event in events if position_of(event) == row["position"]]
    closing = BLANK | {
        **{name: row[name] for name in ("account", "instrument", "mode", "margin_currency")},
        **{name: told[name] for name in ("side", "quantity", "price", "fee", "fee_currency")},
        "time": when, "event_id": "close", "input": 9, "row": 1, "kind": "fill", "reduce_only": True,
    }  # fmt: skip
    closed = run([*keep, closing])
    parts = [part for part in rows_of(closed.ledger) if part["event_id"] == "close"]
    flat = closed.positions.filter(pl.col("episode") == row["episode"]).row(0, named=True)
    assert (flat["status"], flat["base_leg"], flat["quote_leg"], flat["margin"]) == ("closed", 0, 0, 0)
    assert [part["action"] for part in parts] in (["close"], ["close", "leftover"])
    assert parts[0]["realised_pnl"] == told["realised_pnl"]
    by_oracle = [part for part in oracle.replay([*keep, closing])[0] if part["event_id"] == "close"]
    for found in (parts, by_oracle):
        assert sum(part["fee"] for part in found) == told["fee"]
        for leg in ("account_base", "account_quote"):
            assert sum(part[leg] for part in found) == told[leg]
            assert (
                sum(part[leg] for part in found if part["action"] == "leftover")
                == told[leg.replace("account", "leftover")]
            )


def position_of(event):
    return f"{event['account']}:{event['instrument']}:{event['margin_currency']}"


def as_decimal(amount):
    """The decimal of a fraction that has at most 18 places."""
    return Decimal(text(amount))


def test_quantities_are_rounded_up_whatever_the_digits():
    """Prices and fees at which every division goes on for ever: not one unit less than needed."""
    long = ["-99999999999.999999999999999999", "0.000000000000000001", "-7", "12345678901234.5"]
    amounts = {"settlement": [*long, "-0.000000000000000001"]}
    cases = pl.DataFrame(amounts).with_columns(
        pl.col("settlement").cast(MONEY),
        price=pl.Series(["0.000007", "3", "0.3", "7777777.777777777777777777", "0.000000000000000003"]).cast(MONEY),
        fee_rate=pl.Series(["0.0007", "0", "0.9", "-0.3", "0"]).cast(MONEY),
        lot=pl.Series(["0.7", None, "1000", "0.000000000000000003", None]).cast(MONEY),
    )
    for base_margin in (True, False):
        found = cases.with_columns(
            needed=needed_quantity(
                pl.col("settlement"), pl.col("price"), pl.col("fee_rate"), margin_is_base=pl.lit(base_margin)
            )
        ).with_columns(whole=in_lots(pl.col("needed"), pl.col("lot")))
        for row in rows_of(found):
            kept = 1 - row["fee_rate"] if row["settlement"] < 0 else 1
            exact = abs(row["settlement"]) / kept / (row["price"] if base_margin else 1)
            assert 0 <= row["needed"] - exact < DUST * (1 + (1 / row["price"] if base_margin else 0))
            lot = row["lot"] or DUST
            assert row["whole"] == -(-row["needed"] // lot) * lot


def test_a_close_that_is_found_and_booked_is_the_ledgers_own():
    events = [event(1, side="buy", quantity="2", price="50000", leverage="4", fee="0.002", fee_currency="BTC")]
    told = close(run(events).positions, price=Decimal(60_000), fee_rate=Decimal("0.001"))
    fill = {name: told[name] for name in ("side", "quantity", "price", "fee", "fee_currency")}
    ended = rows_of(run([*events, event(2, **fill, reduce_only=True)]).positions)[0]
    assert (ended["status"], ended["returned"], ended["realised_pnl"]) == (
        "closed",
        told["returned"],
        told["realised_pnl"],
    )
