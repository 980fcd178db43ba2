"""Open checks: every example of the rules, boundaries to the last digit, and random orders against the oracle."""

import random
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction

import oracle
import polars as pl
import pytest
from exact import events_of, read, rows_of
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import rounded
from oracle_measures import measures as published
from strategies import BLANK, DUST, frame, histories, history, text

from ledger.columns import MARKS, schema
from ledger.refusals import BadInput, LedgerError
from ledger.risk.columns import BALANCES, TIERS
from ledger.risk.order_columns import ORDER_CHECKS, ORDERS
from ledger.risk.orders import check_orders
from ledger.risk.orders_file import read_orders

FILE = read("rules", "open_checks.json")
EXAMPLES = FILE["examples"]
NOON = datetime(2024, 1, 1, 12, tzinfo=UTC)
AFTER = {"side": "buy", "quantity": "1", "price": "100000", "leverage": "10", "margin_currency": "quote"}


def table(columns, rows):
    """Rows of text and times as a frame of these columns."""
    types = schema(columns)
    texts = {name: pl.String if isinstance(dtype, (pl.Decimal, pl.UInt16)) else dtype for name, dtype in types.items()}
    return pl.DataFrame([{name: row.get(name) for name in types} for row in rows], schema=texts, orient="row").cast(
        dict(types)
    )


def orders(*rows):
    """Orders of main:BTC-USDT; what is not said is as in AFTER."""
    whose = {"account": "main", "instrument": "BTC-USDT", "reduce_only": False}
    return table(ORDERS, [{"order_id": str(place), **whose, **AFTER, **row} for place, row in enumerate(rows)])


def balances(*rows):
    early = {"time": datetime(2024, 1, 1, tzinfo=UTC), "account": "main", "currency": "USDT"}
    return table(BALANCES, [{**early, "account_mode": "single_currency", **row} for row in rows])


def tiers(rows=FILE["tiers"]):
    return table(TIERS, rows)


def marks(*rows):
    return table(MARKS, [{"instrument": "BTC-USDT", **row} for row in rows])


MARK = marks({"mark_price": FILE["mark_price"], "liquidation_fee_rate": FILE["liquidation_fee_rate"]})


def rich(amount="1000000"):
    """An account that has enough of everything."""
    return balances(*({"currency": currency, "available": amount} for currency in ("USDT", "BTC")))


def check(asked, **known):
    given = {"tiers": tiers(), "balances": rich(), "marks": MARK} | known
    return check_orders(asked, **given)


def only(checks):
    (row,) = rows_of(checks)
    return row


def figure(value):
    try:
        return Fraction(value) if isinstance(value, str) else value
    except ValueError:
        return value


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example["title"])
def test_examples(example):
    code = {"base": "BTC", "quote": "USDT"}[example["order"]["margin_currency"]]
    equities = {name: example[name] for name in ("adjusted_equity", "hold_equity") if name in example}
    known = {"currency": code, "available": example["available"], **equities}
    known["account_mode"] = "multi_currency" if equities else "single_currency"
    past = {"mode": "new", "margin_currency": example["order"]["margin_currency"], "events": example.get("events", [])}
    row = only(
        check(
            orders(example["order"]),
            balances=balances(known) if example["available"] is not None else None,
            tiers=tiers(example.get("tiers", FILE["tiers"])),
            events=frame(events_of(past)),
        )
    )
    expected = {name: figure(value) for name, value in example["expected"].items()}
    assert {name: row[name] for name in expected} == expected
    says = example.get("says", [])
    assert [words for words in says if words not in (row["rule"] or "")] == []
    assert (row["rule"] is None) == (not says)
    assert (example.get("note") or "") in (row["note"] or "")
    assert ("Fee taken as zero." in (row["note"] or "")) == ("fee_rate" not in example["order"])


def test_the_six_rows_of_the_opening_table_are_among_them():
    rows = [example["title"] for example in EXAMPLES if example["section"] == "rules 1"]
    assert [title.split(":")[0] for title in rows] == [
        f"{case} {mode}" for case in ("LB", "LQ", "SB", "SQ") for mode in ("old", "new")
    ]


def test_the_position_after_is_valued_at_the_mark():
    """The 110 BTC example of rules 4 and 6 after one order: liquidation price by the published formula."""
    mark = marks({"mark_price": "29000", "maintenance_rate": "0.04", "liquidation_fee_rate": "0.0001"})
    asked = orders({"side": "sell", "quantity": "110", "price": "27271", "leverage": "10", "mode": "old"})
    row = only(check(asked, marks=mark, tiers=None))
    formulas = published(
        "SQ",
        row["quote_leg"],
        row["margin"],
        -row["base_leg"],
        mark=29000,
        rate=Fraction("0.04"),
        fee_rate=Fraction("0.0001"),
    )
    assert abs(row["margin_ratio"] - formulas["margin_ratio"]) < 10 * DUST
    assert abs(row["liquidation_price"] - formulas["liquidation_price"]) < DUST
    assert (row["priced_at"], row["mark_price"], row["tier"]) == ("mark", 29000, None)


def test_without_a_mark_it_is_valued_at_its_own_price():
    row = only(check(orders({}), marks=None))
    assert (row["priced_at"], row["mark_price"]) == ("order_price", 100_000)
    assert row["note"] == "Fee taken as zero. No mark price: valued at the order's price."


def test_an_order_that_would_be_liquidated_at_once_is_told():
    row = only(check(orders({}), marks=marks({"mark_price": "92000"})))
    assert row["verdict"] == "accepted"
    assert "a liquidation would be due" in row["note"]
    assert "an alert would be due" in only(check(orders({}), marks=marks({"mark_price": "99000"})))["note"]


def test_what_is_later_than_the_order_does_not_count():
    past = {"mode": "new", "margin_currency": "quote", "events": [dict(AFTER, kind="fill")] * 2}
    past["events"] = [
        {name: value for name, value in event.items() if name != "margin_currency"} for event in past["events"]
    ]
    events = frame(events_of(past))
    first, second = events["time"]
    known = {
        "events": events,
        "balances": balances({"time": first, "available": "20000"}, {"time": second, "available": "1"}),
        "marks": marks({"time": first, "mark_price": "90000"}, {"time": second, "mark_price": "110000"}),
        "tiers": tiers([*FILE["tiers"], {**FILE["tiers"][0], "valid_from": second, "maximum_leverage": "2"}]),
    }
    early = {"time": first, "leverage": "5"}
    rows = rows_of(
        check(
            orders(early, {**early, "time": second}, {"leverage": "5"}, {**early, "time": first.replace(year=2023)}),
            **known,
        )
    )
    assert [row["assets_shown_new"] for row in rows] == [2, 3, 3, 1]
    assert [row["available"] for row in rows] == [20000, 1, 1, None]
    assert [row["mark_price"] for row in rows] == [90000, 110000, 110000, 100000]
    assert [row["maximum_leverage"] for row in rows] == [5, 2, 2, 10]
    assert [row["verdict"] for row in rows] == ["accepted", "refused", "refused", "not_checked"]


def test_each_order_is_judged_by_itself():
    asked = orders({}, {}, {"side": "sell", "quantity": "3"}, {"margin_currency": "base"})
    together = check(asked, balances=rich("10000"))
    apart = pl.concat(check(asked[place], balances=rich("10000")) for place in range(asked.height))
    assert together.equals(apart)
    assert together.schema == schema(ORDER_CHECKS)


def test_in_sequence_accepted_orders_use_up_the_balance():
    asked = orders({}, {"quantity": "2"}, {}, {"side": "sell", "quantity": "0.5"}, {"instrument": "ETH-USDT"})
    wide = [{**FILE["tiers"][0], "largest_quote_loan": "900000"}]
    known = {"balances": rich("25000"), "tiers": tiers(wide), "marks": None}
    alone = rows_of(check(asked, **known))
    assert [row["effect"] for row in alone] == ["open"] * 5
    rows = rows_of(check(asked, **known, in_sequence=True))
    assert [row["available"] for row in rows] == [25000, 15000, 15000, 5000, 5000]
    assert [row["effect"] for row in rows] == ["open", "increase", "increase", "reduce", "open"]
    assert [row["verdict"] for row in rows] == ["accepted", "refused", "accepted", "accepted", "refused"]
    assert [row["assets_shown_new"] for row in rows] == [1, 3, 2, Fraction(3, 2), 1]


def test_in_sequence_a_close_gives_back():
    asked = orders({}, {"side": "sell", "price": "125000"}, {"quantity": "2", "leverage": "5"})
    rows = rows_of(check(asked, balances=rich("10000"), in_sequence=True))
    assert [row["available"] for row in rows] == [10000, 0, 35000]
    assert [row["verdict"] for row in rows] == ["accepted", "accepted", "refused"]
    assert [row["effect"] for row in rows] == ["open", "close", "open"]


def test_in_sequence_base_margin_uses_up_base():
    asked = orders(*[{"margin_currency": "base", "quantity": "0.5"}] * 3)
    rows = rows_of(check(asked, balances=rich("0.1"), in_sequence=True))
    assert [row["available"] for row in rows] == [Fraction("0.1"), Fraction("0.05"), 0]
    assert [row["verdict"] for row in rows] == ["accepted", "accepted", "refused"]


def test_in_sequence_mode_and_leverage_are_those_that_earlier_orders_leave():
    none = {"leverage": None, "price": "10000"}
    asked = orders({**AFTER, "mode": "old", "price": "10000"}, none, {**none, "side": "sell", "quantity": "2"}, none)
    rows = rows_of(check(asked, tiers=tiers([{**FILE["tiers"][0], "largest_base_loan": "9"}]), in_sequence=True))
    assert [row["mode"] for row in rows] == ["old", "old", "old", "new"]
    assert [row["leverage"] for row in rows] == [10] * 4
    assert [row["effect"] for row in rows] == ["open", "increase", "close", "open"]
    assert [row["verdict"] for row in rows] == ["accepted"] * 4


def test_in_sequence_orders_stand_at_one_moment():
    with pytest.raises(LedgerError, match="one moment"):
        check(orders({"time": NOON}, {}), in_sequence=True)


def test_no_order_gives_no_row():
    assert check(orders()).is_empty()


def test_events_that_are_wrong_are_refused_with_file_and_row():
    past = {"mode": "new", "margin_currency": "quote", "events": [{"kind": "margin", "amount": "5"}]}
    with pytest.raises(BadInput) as bad:
        check(orders({}), events=frame(events_of(past)), files={1: "fills.csv"})
    assert bad.value.refusals.select("file", "row", "column").row(0) == ("fills.csv", 1, "kind")


# --- random histories against the oracle ------------------------------------------------------------------------


def books_of(events, policies):
    """The oracle's positions after all events, by key."""
    books = {}
    for event in sorted(events, key=lambda event: (event["time"], event["input"], event["row"])):
        key = (event["account"], event["instrument"], event["margin_currency"])
        oracle.step(books.setdefault(key, oracle.new_position(*key)), event, policies)
    return books


def an_order(draw, events, books):
    """An order on one of the positions, sized by what it holds or by what was traded."""
    key = draw(st.sampled_from(sorted(books)))
    position = books[key]
    fills = [event for event in events if event["quantity"] is not None and event["instrument"] == key[1]]
    like = draw(st.sampled_from(fills or [{"quantity": Fraction(3), "price": Fraction(7)}]))
    held = position["assets"] if position["direction"] == "long" else position["debt"]
    size = draw(st.sampled_from([abs(held), like["quantity"], like["quantity"] / 3, like["quantity"] * 7]))
    return {
        **dict(zip(("account", "instrument", "margin_currency"), key, strict=True)),
        "mode": draw(st.sampled_from([None, "old", "new"])),
        "side": draw(st.sampled_from(["buy", "sell"])),
        "quantity": max(rounded(size), DUST),
        "price": like["price"],
        "leverage": draw(st.sampled_from([None, Fraction(3), Fraction("12.5")])),
        "reduce_only": draw(st.booleans()),
        "fee_rate": draw(st.sampled_from([None, Fraction(0), Fraction("0.001"), Fraction("-0.0002")])),
    }


def as_event(order, position):
    """The order as an event of the oracle: its fee rounded as money is."""
    value = rounded(order["quantity"] * order["price"])
    base, quote = order["instrument"].split("-")
    received, currency = (order["quantity"], base) if order["side"] == "buy" else (value, quote)
    mode = order["mode"] or (position["mode"] if position["direction"] else "new")
    place = {"time": NOON.replace(year=2100), "event_id": "order", "input": 9, "row": 1, "kind": "fill"}
    stated = {name: order[name] for name in ("account", "instrument", "margin_currency", "side", "quantity", "price")}
    fee = {"fee": rounded(received * (order["fee_rate"] or 0)), "fee_currency": currency}
    return (
        BLANK
        | place
        | stated
        | fee
        | {"mode": mode, "leverage": order["leverage"], "reduce_only": order["reduce_only"]}
    )


def plausible(order):
    product = rounded(order["quantity"] * order["price"])
    least = rounded(min(order["quantity"], 1) * min(order["price"], 1))
    return max(order["quantity"], product) < 10**15 and least > 0 and product > 0


@settings(max_examples=25)
@given(data=st.data(), policy=st.sampled_from(["reverse", "spot_first"]))
def test_the_position_after_is_the_oracles(data, policy):
    policies = oracle.DEFAULTS | {"overfill": policy}
    events = data.draw(histories(policies, events=10, positions=2))
    books = books_of(events, policies)
    asked = [an_order(data.draw, events, books) for _ in range(3)]
    asked = [order for order in asked if plausible(order)]
    if not asked:
        return
    from ledger import Policies

    told = [
        {name: text(value) if isinstance(value, Fraction) else value for name, value in order.items()}
        for order in asked
    ]
    given_orders = table(ORDERS, [{"order_id": str(place), **row} for place, row in enumerate(told)])
    checks = check_orders(given_orders, events=frame(events), replay_policies=Policies(overfill=policy))
    for order, row in zip(asked, rows_of(checks), strict=True):
        same_as_oracle(
            order, row, dict(books[order["account"], order["instrument"], order["margin_currency"]]), policies
        )


def same_as_oracle(order, row, position, policies):
    event = as_event(order, position)
    try:
        parts = oracle.step(position, event, policies)
    except oracle.RefusedError:
        assert (row["verdict"], row["effect"], row["need"]) == ("refused", None, None)
        return
    actions = [part["action"] for part in parts]
    effect = "reverse" if {"open", "close"} <= set(actions) else actions[0]
    assert row["effect"] == effect
    assert row["need"] == sum(part["initial_margin"] or 0 for part in parts)
    assert row["verdict"] == ("accepted" if effect in ("reduce", "close") else "not_checked")
    legs = (row["base_leg"], row["quote_leg"], row["margin"])
    assert (row["direction"], *legs) == (position["direction"], *oracle.balances(position))
    for currency in ("account_base", "account_quote"):
        assert row[currency] == sum(part[currency] for part in parts)
    needs_by_formula(order, row, actions)


def needs_by_formula(order, row, actions):
    """q / lev or q * P / lev, where the whole order opens or increases (rules 2)."""
    if actions in (["open"], ["increase"]):
        base = order["instrument"].split("-")[0]
        traded = order["quantity"] if order["margin_currency"] == base else rounded(order["quantity"] * order["price"])
        assert row["need"] == rounded(traded / row["leverage"])


def test_many_orders_on_long_histories_are_those_of_each_alone():
    """Only the events of the life that stands are replayed; here, all of them by the oracle."""
    events = history(random.Random(7), events=200, positions=3)
    books = books_of(events, oracle.DEFAULTS)
    asked = []
    for key, position in sorted(books.items()):
        price = next(event["price"] for event in reversed(events) if event["price"] and event["instrument"] == key[1])
        held = abs(position["assets"]) or Fraction(1)
        for side, size in (("buy", held / 2), ("sell", held / 2), ("sell", held * 3)):
            names = dict(zip(("account", "instrument", "margin_currency"), key, strict=True))
            asked.append(
                {
                    **names,
                    "mode": None,
                    "side": side,
                    "quantity": rounded(size),
                    "price": price,
                    "leverage": Fraction(5),
                    "reduce_only": False,
                    "fee_rate": Fraction("0.001"),
                }
            )
    told = [
        {name: text(value) if isinstance(value, Fraction) else value for name, value in order.items()}
        for order in asked
    ]
    checks = check_orders(
        table(ORDERS, [{"order_id": str(place), **row} for place, row in enumerate(told)]), events=frame(events)
    )
    for order, row in zip(asked, rows_of(checks), strict=True):
        same_as_oracle(
            order, row, dict(books[order["account"], order["instrument"], order["margin_currency"]]), oracle.DEFAULTS
        )


# --- the file ---------------------------------------------------------------------------------------------------

HEADER = "order_id,account,instrument,mode,margin_currency,side,quantity,price,leverage,reduce_only,fee_rate,time"
GOOD = "a,main,BTC-USDT,new,quote,buy,1,100000,10,false,0.001,2024-01-01T00:00:00Z"


def test_read_orders(tmp_path):
    file = tmp_path / "orders.csv"
    file.write_text(f"{HEADER}\n{GOOD}\nb,main,BTC-USDT,,base,sell,1e-3,9.5,,,,\n")
    first, second = read_orders(file).rows(named=True)
    assert read_orders(file).schema == schema(ORDERS)
    assert (first["margin_currency"], first["fee_rate"], first["time"]) == (
        "USDT",
        Decimal("0.001"),
        datetime(2024, 1, 1, tzinfo=UTC),
    )
    assert (second["margin_currency"], second["quantity"], second["reduce_only"]) == ("BTC", Decimal("0.001"), False)
    assert (second["mode"], second["leverage"], second["time"]) == (None, None, None)


BAD = [
    ("quantity", "1", "-1", "above zero"),
    ("quantity", "1", "1,5", "separators"),
    ("quantity", "1", "", "needs quantity"),
    ("quantity", "1", "0.0000000000000000001", "18 decimals"),
    ("price", "100000", "0", "above zero"),
    ("price", "100000", "99999999999999999", "Quantity times price"),
    ("leverage", "10", "0.5", "at least 1"),
    ("fee_rate", "0.001", "1", "share"),
    ("side", "buy", "long", "one of: buy, sell"),
    ("mode", "new", "newer", "one of: old, new"),
    ("margin_currency", "quote", "EUR", "margin currency"),
    ("instrument", "BTC-USDT", "BTCUSDT", "BASE-QUOTE"),
    ("reduce_only", "false", "maybe", "true or false"),
    ("time", "2024-01-01T00:00:00Z", "2024-01-01T00:00:00", "zone"),
    ("account", "main", " main", "blank"),
]


@pytest.mark.parametrize(("column", "good", "bad", "fragment"), BAD, ids=lambda value: str(value)[:20])
def test_a_bad_value_is_refused_with_its_place(tmp_path, column, good, bad, fragment):
    names, values = HEADER.split(","), GOOD.split(",")
    assert values[names.index(column)] == good
    values[names.index(column)] = f'"{bad}"'
    values[0] = "b"
    many = tmp_path / "orders.csv"
    # a price may be too large only together with a quantity
    line = ",".join(values).replace("buy,1,", "buy,10,") if fragment == "Quantity times price" else ",".join(values)
    many.write_text(f"{HEADER}\n{GOOD}\n{line}\n")
    with pytest.raises(BadInput) as refused:
        read_orders(many)
    (row,) = refused.value.refusals.rows(named=True)
    assert (row["file"], row["row"], row["column"]) == (str(many), 3, column)
    assert fragment in row["rule"]
    assert row["remedy"]


def test_every_bad_value_is_told_at_once(tmp_path):
    file = tmp_path / "orders.csv"
    file.write_text(f"{HEADER}\n{GOOD}\n{GOOD.replace('buy', 'bid').replace('100000', '-3')}\n")
    with pytest.raises(BadInput) as refused:
        read_orders(file)
    found = refused.value.refusals.select("row", "column").rows()
    assert sorted(found) == [(3, "order_id"), (3, "price"), (3, "side")]
    file.write_text("order_id,account,quantity,prize\n")
    with pytest.raises(BadInput) as refused:
        read_orders(file)
    assert {"prize", "price", "side"} <= set(refused.value.refusals["column"])


def test_orders_in_memory_are_judged_alike():
    with pytest.raises(BadInput) as refused:
        check(orders({"quantity": "0"}, {"order_id": "0", "price": None}))
    assert sorted(refused.value.refusals.select("row", "column").rows()) == [
        (1, "quantity"),
        (2, "order_id"),
        (2, "price"),
    ]
