"""Histories of contract positions: the engine against the oracle, the invariants of rules.md 8, net and hedge mode."""

from datetime import UTC, datetime, timedelta
from fractions import Fraction

import derivative_oracle as oracle
import polars as pl
import pytest
from exact import rows_of
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import text

from ledger.columns import MARKS, schema
from ledger.derivatives.columns import CONTRACTS, DERIVATIVE_EVENTS, DERIVATIVE_FRAMES
from ledger.derivatives.course import ledger_of, parts_of, with_positions
from ledger.derivatives.files import (
    read_contracts,
    read_derivative_events,
    typed_contracts,
    typed_derivative_events,
)
from ledger.derivatives.replay import replay_derivatives
from ledger.marks import read_marks
from ledger.money import MONEY
from ledger.refusals import BadInput

START = datetime(2024, 1, 1, tzinfo=UTC)
FACES = {"BTC-USDT-SWAP": ("linear", Fraction(1, 100)), "BTC-USD-SWAP": ("inverse", Fraction(100))}
TERMS = {name: {"kind": kind, "face_value": face} for name, (kind, face) in FACES.items()}
HALF = Fraction(1, 2)
OPTION = "BTC-USD-260327-60000-C"


def frame(rows, columns):
    """Plain rows, whose amounts may be text or fractions, in the schema of columns."""
    types = schema(columns)
    amounts = {name for name, dtype in types.items() if dtype == MONEY}
    plain = [
        {name: text(Fraction(value)) if name in amounts and value is not None else value for name, value in row.items()}
        for row in rows
    ]
    texts = {name: pl.String if name in amounts else dtype for name, dtype in types.items()}
    return pl.DataFrame([{name: row.get(name) for name in types} for row in plain], schema=texts).cast(types)


def contracts():
    """One linear and one inverse contract, and an option settled in coin."""
    rows = [
        {
            "instrument": name,
            "instrument_class": kind,
            "face_value": face,
            "base_currency": "BTC",
            "quote_currency": name.split("-")[1],
            "tick": "0.1",
        }
        for name, (kind, face) in FACES.items()
    ]
    pair = {"base_currency": "BTC", "quote_currency": "USD", "settle_currency": "BTC", "tick": "0.0005"}
    return frame([*rows, {"instrument": OPTION, "instrument_class": "option", "face_value": "0.01"} | pair], CONTRACTS)


def event(number, **values):
    """A fill of the linear contract in one-way mode; `number` is its minute and its identifier."""
    common = {"time": START + timedelta(minutes=number), "event_id": str(number), "account": "main"}
    return common | {"instrument": "BTC-USDT-SWAP", "position_side": "net", "kind": "fill"} | values


def run(events, marks=None, **options):
    found = None if marks is None else frame(marks, MARKS)
    return replay_derivatives(frame(events, DERIVATIVE_EVENTS), contracts(), found, **options)


def ledger_alone(events, policies=None):
    """The ledger without postings, grading and checks."""
    placed = with_positions(typed_derivative_events(frame(events, DERIVATIVE_EVENTS)), typed_contracts(contracts()))
    return ledger_of(parts_of(placed, policies))


def mark(minutes, price, instrument="BTC-USDT-SWAP", rate="0.005", fee="0.001"):
    return {
        "instrument": instrument,
        "time": START + timedelta(minutes=minutes),
        "mark_price": price,
        "maintenance_rate": rate,
        "liquidation_fee_rate": fee,
    }


@st.composite
def histories(draw, funding="margin"):
    """Valid events of up to three positions, funding before a first fill among them, and the rows of the oracle."""
    every = [(instrument, side) for instrument in FACES for side in ("net", "long", "short")]
    places = draw(st.lists(st.sampled_from(every), min_size=1, max_size=3, unique=True))
    books = {place: oracle.flat() for place in places}
    events, told = [], {place: [] for place in places}
    for number in range(draw(st.integers(1, 16))):
        place = draw(st.sampled_from(places))
        drawn = _drawn(draw, number, place, books[place])
        after = dict(books[place])
        try:
            rows = oracle.step(after, drawn, TERMS[place[0]], funding)
        except oracle.RefusedError:
            continue
        if after["margin"] < 0:
            continue
        books[place] = after
        events.append(drawn)
        told[place] += rows
    return events, told


def _drawn(draw, number, place, position):
    held = abs(position["contracts"])
    kinds = ["fill"] * 6 + ["funding", "leverage"] + (["margin", "liquidation", "close"] if held else [])
    kind = draw(st.sampled_from(kinds))
    common = event(number, instrument=place[0], position_side=place[1], kind=kind)
    amount = Fraction(draw(st.integers(-1000, 5000)), 1000)
    if kind in ("funding", "margin"):
        return common | {"amount": amount}
    if kind == "leverage":
        return common | {"leverage": Fraction(draw(st.integers(1, 100))), "amount": abs(amount) if held else None}
    side = (
        draw(st.sampled_from(["buy", "sell"])) if kind == "fill" else ("sell" if position["contracts"] > 0 else "buy")
    )
    quantity = held if kind == "close" else Fraction(draw(st.integers(1, 30)))
    trade = {
        "side": side,
        "quantity": min(quantity, held) if kind == "liquidation" else quantity,
        "price": Fraction(draw(st.integers(90_000, 110_000)), 10),
        "fee": Fraction(draw(st.integers(-10, 50)), 1000),
    }
    leverage = {"leverage": Fraction(draw(st.integers(1, 20)))} if kind == "fill" else {}
    return common | trade | leverage | {"kind": "fill" if kind == "close" else kind}


@settings(max_examples=25, deadline=None)
@given(histories())
def test_engine_agrees_with_the_oracle_and_every_check_holds(history):
    events, told = history
    book = run(events)
    rows = rows_of(book.ledger)
    for (instrument, side), expected in told.items():
        found = [row for row in rows if row["position"] == f"main:{instrument}:{side}"]
        kept = [
            {name: row[name] or Fraction(0) for name in wanted} for row, wanted in zip(found, expected, strict=True)
        ]
        assert kept == expected
    assert book.checks["failures"].sum() == 0
    sums = book.postings.group_by("position", "event_number", "part", "currency").agg(pl.col("amount").sum())
    assert (sums["amount"] == 0).all()
    for name, columns in DERIVATIVE_FRAMES.items():
        assert book.frames()[name].schema == schema(columns)


@settings(max_examples=20, deadline=None)
@given(histories())
def test_splitting_a_fill_changes_no_balance_but_by_its_last_places(history):
    events, _ = history
    halves = []
    for one in events:
        if one["kind"] != "fill" or one.get("amount"):
            halves.append(one)
            continue
        half = {"quantity": one["quantity"] * HALF, "fee": one["fee"] * HALF}
        halves += [one | half, one | half | {"event_id": one["event_id"] + "b"}]
    names = ["contracts_closing", "entry_value_closing", "margin_closing"]
    ends = [
        rows_of(ledger_alone(told).group_by("position", maintain_order=True).agg(pl.col(names).last()).sort("position"))
        for told in (events, halves)
    ]
    for whole, cut in zip(*ends, strict=True):
        assert whole["contracts_closing"] == cut["contracts_closing"]
        for name in names[1:]:
            assert abs(whole[name] - cut[name]) <= Fraction(100, 10**18)


@settings(max_examples=15, deadline=None)
@given(histories(), st.lists(st.integers(60, 140), min_size=1, max_size=4))
def test_crossings_are_the_first_moments_at_which_the_published_ratio_is_that_low(history, shares):
    events, _ = history
    marks = [
        mark(number * 3 - 1, 10_000 * share / Fraction(100), name)
        for number, share in enumerate(shares)
        for name in FACES
    ]
    book = run(events, marks)
    rows = rows_of(book.ledger)
    for life in rows_of(book.positions):
        own = [r for r in rows if (r["position"], r["episode"], bool(r["direction"])) == (*_life(life), True)]
        moments = list(_moments(own, [one for one in marks if one["instrument"] == life["instrument"]], life))
        for limit, column in ((3, "alert_at"), (1, "full_at")):
            expected = next((time for time, ratio in moments if ratio is not None and ratio <= limit), None)
            assert life[column] == expected, column


def _life(life):
    return life["position"], life["episode"]


def _moments(rows, marks, life):
    """Time and published ratio at every event and mark of a life.

    At the mark of a liquidation's own time the position as it was before counts too, if one was due.
    """
    states = {row["event_number"]: row for row in rows}
    times = sorted({row["time"] for row in states.values()} | {one["time"] for one in marks})
    for time in times:
        standing = [row for row in states.values() if row["time"] <= time]
        known = [one for one in marks if one["time"] <= time]
        if not standing or not known:
            continue
        row, price = standing[-1], Fraction(known[-1]["mark_price"])
        if row["time"] == time and row["kind"] == "liquidation" and len(standing) > 1:
            before = _ratio(standing[-2], price, life)
            if before <= 1:
                yield time, before
        if row["contracts_closing"]:
            yield time, _ratio(row, price, life)


def _ratio(row, price, life):
    kind, face = FACES[life["instrument"]]
    return oracle.measures(
        kind,
        row["direction"],
        abs(row["contracts_closing"]) * face,
        row["entry_value_closing"],
        row["margin_closing"],
        mark=price,
        rate=Fraction("0.005"),
        fee_rate=Fraction("0.001"),
    )["margin_ratio"]


def test_a_fill_beyond_zero_turns_a_net_position_round():
    book = run(
        [
            event(1, side="buy", quantity="100", price="10000", leverage="10", fee="1"),
            event(2, side="sell", quantity="150", price="11000", fee="3"),
        ]
    )
    close, opened = rows_of(book.ledger)[1:]
    assert (close["action"], close["quantity"], close["realised_pnl"], close["fee"]) == ("close", 100, 1000, 2)
    assert close["account_change"] == 1000 + 1000 - 2
    assert (opened["action"], opened["direction"], opened["initial_margin"], opened["fee"]) == ("open", "short", 550, 1)
    assert book.positions["how"].to_list() == ["reversed", "open"]


def test_hedge_mode_keeps_long_and_short_side_by_side():
    book = run(
        [
            event(1, position_side="long", side="buy", quantity="5", price="10000", leverage="10"),
            event(2, position_side="short", side="sell", quantity="3", price="10100", leverage="10"),
        ]
    )
    assert book.positions["position"].to_list() == ["main:BTC-USDT-SWAP:long", "main:BTC-USDT-SWAP:short"]
    assert book.positions["contracts"].cast(pl.Int64).to_list() == [5, -3]


def test_entry_price_is_over_what_remains_and_harmonic_for_inverse():
    fills = [
        {"side": "buy", "quantity": "10", "price": "10000", "leverage": "10"},
        {"side": "sell", "quantity": "5", "price": "12000"},
        {"side": "buy", "quantity": "5", "price": "20000"},
    ]
    for instrument, entry in (("BTC-USDT-SWAP", 15000), ("BTC-USD-SWAP", Fraction(40000, 3))):
        book = run([event(n, instrument=instrument, **fill) for n, fill in enumerate(fills)])
        found = Fraction(book.positions["entry_price"][0])
        assert abs(found - entry) < Fraction(1, 10**9)


def test_a_liquidation_leaves_to_the_insurance_fund_what_is_left():
    book = run(
        [
            event(1, side="buy", quantity="100", price="10000", leverage="10"),
            event(2, kind="liquidation", side="sell", quantity="100", price="9100", fee="5"),
        ]
    )
    last = rows_of(book.ledger)[-1]
    assert (last["account_change"], last["insurance_fund"], last["realised_pnl"]) == (0, 95, -900)
    assert book.positions["how"].to_list() == ["liquidated"]


@pytest.mark.parametrize(
    ("events", "column"),
    [
        ([{"side": "buy", "quantity": "1", "price": "1"}], "leverage"),
        ([{"instrument": OPTION, "side": "sell", "quantity": "1", "price": "0.05", "leverage": "2"}], "leverage"),
        ([{"kind": "margin", "amount": "1"}], "kind"),
        ([{"kind": "liquidation", "side": "buy", "quantity": "1", "price": "1"}], "kind"),
        ([{"side": "sell", "quantity": "1", "price": "1", "leverage": "2", "position_side": "long"}], "quantity"),
        ([{"side": "buy", "price": "1", "leverage": "2"}], "quantity"),
        ([{"side": "buy", "quantity": "-1", "price": "1", "leverage": "2"}], "quantity"),
        ([{"side": "buy", "quantity": "1", "price": "1", "leverage": "0.5"}], "leverage"),
        ([{"instrument": "NO-SWAP", "kind": "funding", "amount": "1"}], "instrument"),
        ([{"kind": "funding", "amount": "1", "side": "buy"}], "side"),
        ([{"side": "buy", "quantity": "1e16", "price": "1e16", "leverage": "2"}], "price"),
        (
            [{"instrument": "BTC-USD-SWAP", "side": "buy", "quantity": "1e15", "price": "1e-9", "leverage": "2"}],
            "price",
        ),
        ([{"kind": "funding", "amount": "1"}, {"event_id": "1", "kind": "funding", "amount": "1"}], "event_id"),
        (
            [
                {"side": "buy", "quantity": "1", "price": "1", "leverage": "2"},
                {"kind": "liquidation", "side": "sell", "quantity": "2", "price": "1"},
            ],
            "quantity",
        ),
        (
            [
                {"side": "buy", "quantity": "1", "price": "1", "leverage": "2"},
                {"kind": "margin", "amount": "-1"},
            ],
            "amount",
        ),
        (
            [
                {"side": "buy", "quantity": "1", "price": "1", "leverage": "2"},
                {"kind": "funding", "amount": "-1"},
            ],
            "amount",
        ),
        (
            [
                {"side": "buy", "quantity": "2", "price": "1", "leverage": "2"},
                {"side": "sell", "quantity": "1", "price": "1", "amount": "1"},
            ],
            "amount",
        ),
        (
            [
                {"side": "buy", "quantity": "1", "price": "1", "leverage": "2", "time": START + timedelta(days=2)},
                {"kind": "funding", "amount": "1"},
            ],
            "time",
        ),
    ],
)
def test_what_cannot_be_is_refused_with_its_row(events, column):
    with pytest.raises(BadInput) as refused:
        run([event(number, **values) for number, values in enumerate(events, start=1)])
    assert refused.value.refusals["column"].to_list() == [column]
    assert refused.value.refusals["row"].to_list() == [len(events)]


def test_what_comes_after_the_time_asked_for_does_not_count():
    fills = [event(n, side="buy", quantity="1", price="10000", leverage="10") for n in (1, 5)]
    book = run(fills, [mark(0, "10000"), mark(9, "1")], as_at=START + timedelta(minutes=3))
    assert book.ledger.height == 1
    assert book.positions["mark_price"].cast(pl.Int64).to_list() == [10000]
    assert book.positions["status"].to_list() == ["normal"]


def test_an_open_position_without_a_rate_is_told(tmp_path):
    header = "time,event_id,account,instrument,position_side,kind,side,quantity,price,leverage\n"
    (tmp_path / "events.csv").write_text(f"{header}2025-01-01T00:00:00Z,a,main,X-USD-SWAP,net,fill,buy,1,100,10\n")
    columns = "instrument,instrument_class,face_value,base_currency,quote_currency\n"
    (tmp_path / "contracts.csv").write_text(f"{columns}X-USD-SWAP,linear,1,X,USD\n")
    (tmp_path / "marks.csv").write_text("instrument,mark_price\nX-USD-SWAP,90\n")
    files = read_derivative_events([tmp_path / "events.csv"]), read_contracts(tmp_path / "contracts.csv")
    for marks, failures in ((read_marks(tmp_path / "marks.csv"), 1), (None, 0)):
        found = replay_derivatives(*files, marks).checks.filter(check="every_position_is_graded")
        assert found["failures"].to_list() == [failures]
