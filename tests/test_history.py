"""The moments of positions: by hand, against replays that stop at each moment, and cut down to what can be read."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import polars as pl
import pytest
import strategies
from exact import event
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

import ledger
from ledger import history
from ledger.checks import history_check
from ledger.columns import HISTORY, MARKS, schema
from ledger.files import Request, replay_files
from reports.frames import read_frames

BUY = {"side": "buy", "quantity": "1", "price": "100", "leverage": "10"}
SELL = {"side": "sell", "price": "100"}
RATES = {"maintenance_rate": "0.03", "liquidation_fee_rate": "0.0015"}
REQUIRED = Fraction("0.03") + (1 + Fraction("0.03")) * Fraction("0.0015")
START = datetime(2024, 1, 1, tzinfo=UTC)
COMPARED = [column.name for column in HISTORY if column.name not in ("time", "what", "event_number", "moments")]


def minute(number):
    """The time of event `number`."""
    return None if number is None else START + timedelta(minutes=number)


def marks_of(*marks, instrument="BTC-USDT"):
    """Marks at minutes (or at no time): pairs of minute and price."""
    rows = [{"instrument": instrument, "time": minute(at), "mark_price": str(price), **RATES} for at, price in marks]
    frame = pl.DataFrame(rows, schema=dict.fromkeys(schema(MARKS), pl.String) | {"time": schema(MARKS)["time"]})
    return frame.cast(dict(schema(MARKS)))


def moments(events, marks=None, as_at=None):
    return ledger.replay(strategies.frame(events), marks=marks, as_at=as_at).history


def told(frame):
    """Minute, what happened, liability and ratio of each moment, as text."""
    minutes = (pl.col("time") - START).dt.total_minutes()
    ratio = pl.col("margin_ratio").cast(pl.Float64).round(6)
    return frame.select(minutes, "what", pl.col("liability_shown").cast(pl.Float64), ratio).rows()


def ratio(base, quote, margin, mark):
    """The margin ratio of a long position with quote margin."""
    return round(float((Fraction(base) * mark + quote + margin) / -Fraction(quote) / REQUIRED), 6)


LIFE = [
    event(1, **BUY),
    event(4, kind="margin", amount="5"),
    event(6, **{**SELL, "quantity": "0.5", "price": "104"}),
    event(8, **{**SELL, "quantity": "0.5"}),
]


def test_a_moment_for_every_event_and_every_mark_while_the_position_is_open():
    found = moments(LIFE, marks_of((0, 95), (2, 104), (4, 90), (7, 101), (8, 99), (9, 98)))
    assert told(found) == [
        (1, "open", -100, ratio(1, -100, 10, 95)),
        (2, "mark", -100, ratio(1, -100, 10, 104)),
        (4, "margin", -100, ratio(1, -100, 15, 90)),
        (6, "reduce", -48, ratio("0.5", -48, 15, 90)),
        (7, "mark", -48, ratio("0.5", -48, 15, 101)),
        (8, "close", 0, None),
    ]
    assert found["event_number"].to_list() == [1, None, 2, 3, None, 4]
    assert found["mark_price"].to_list() == [95, 104, 90, 90, 101, None]
    assert found.schema == schema(HISTORY)


def test_a_mark_without_a_time_counts_from_the_beginning_and_has_no_moment():
    found = moments(LIFE[:2], marks_of((3, 104), (None, 95)))
    assert [(row[0], row[1]) for row in told(found)] == [(1, "open"), (3, "mark"), (4, "margin")]
    assert found["mark_price"].to_list() == [95, 104, 104]


def test_before_the_first_mark_there_is_no_ratio():
    found = moments(LIFE[:2], marks_of((3, 104)))
    assert found["margin_ratio"].is_null().to_list() == [True, False, False]


def test_marks_of_other_instruments_and_after_the_as_at_time_do_not_count():
    marks = pl.concat([marks_of((2, 104), (5, 90), (7, 80)), marks_of((3, 1), instrument="ETH-USDT")])
    found = moments(LIFE, marks, as_at=minute(5))
    assert [(row[0], row[1]) for row in told(found)] == [(1, "open"), (2, "mark"), (4, "margin"), (5, "mark")]


def test_an_open_position_goes_on_to_its_last_mark():
    book = ledger.replay(strategies.frame(LIFE[:2]), marks=marks_of((2, 104), (50, 90)))
    assert told(book.history)[-1] == (50, "mark", -100, ratio(1, -100, 15, 90))
    assert book.history["margin_ratio"][-1] == book.positions["margin_ratio"][0]


def test_a_reversal_ends_one_life_and_begins_the_next():
    found = moments([event(1, **BUY), event(2, **{**SELL, "quantity": "3", "leverage": "5"})], marks_of((0, 100)))
    assert found.select("episode", "what", pl.col("liability_shown").cast(pl.Int64)).rows() == [
        (1, "open", -100),
        (1, "close", 0),
        (2, "open", -2),
    ]
    assert found["event_number"].to_list() == [1, 2, 2]


def test_events_of_one_time_have_a_moment_each_and_the_mark_of_that_time():
    twice = [event(1, **BUY), event(2, **BUY), {**event(3, **BUY), "time": minute(2)}]
    found = moments(twice, marks_of((1, 99), (2, 101)))
    assert [(row[0], row[1]) for row in told(found)] == [(1, "open"), (2, "increase"), (2, "increase")]
    assert found["mark_price"].to_list() == [99, 101, 101]


def test_without_marks_there_is_a_liability_and_no_ratio():
    found = moments(LIFE)
    assert [row[2] for row in told(found)] == [-100, -100, -48, 0]
    assert found["margin_ratio"].null_count() == found.height


def test_without_events_there_is_no_moment():
    assert moments([], marks_of((1, 99))).is_empty()
    assert moments([event(1, kind="leverage", leverage="5")]).is_empty()


def test_a_long_life_keeps_its_extremes_and_says_what_it_leaves_out():
    prices = [(2 + number, 120 + number % 7) for number in range(5_000)]
    prices[3_210] = (prices[3_210][0], 91)
    deeper = [event(1, **BUY), event(4_000, kind="interest", amount="3", currency="USDT")]
    deeper.append(event(4_001, kind="adjustment", amount="4", currency="USDT", reason="write_off"))
    found = moments(deeper, marks_of(*prices))
    assert found.height <= history.POINTS
    assert found["moments"].sum() == 5_001
    assert found["margin_ratio"].min() == found.filter(pl.col("mark_price") == 91)["margin_ratio"].item()
    assert found["liability_shown"].min() == -103
    assert (found["time"][0], found["time"][-1]) == (minute(1), minute(5_001))
    assert found["time"].is_sorted()


def test_a_life_that_is_short_enough_keeps_all():
    found = moments([event(1, **BUY)], marks_of(*((2 + number, 100) for number in range(history.POINTS - 1))))
    assert (found.height, set(found["moments"])) == (history.POINTS, {1})


def test_it_does_not_matter_how_many_moments_are_worked_on_together(monkeypatch):
    events = [event(number, **{**BUY, "account": f"a{number % 5}"}) for number in range(1, 40)]
    marks = marks_of(*((number, 100 + number) for number in range(30)))
    whole = moments(events, marks)
    monkeypatch.setattr(history, "_TOGETHER", 7)
    assert moments(events, marks).equals(whole)


@given(strategies.histories(events=25), st.data())
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
def test_each_moment_is_the_position_as_at_that_time(events, data):
    times = sorted({one["time"] for one in events})
    drawn = st.lists(st.tuples(st.sampled_from([None, *times]), st.sampled_from([0, 30])), max_size=6, unique=True)
    rows = [
        {"instrument": name, "time": time and time + timedelta(seconds=later), "mark_price": price, **RATES}
        for name in ("BTC-USDT", "LTC-BTC")
        for time, later in data.draw(drawn)
        for price in [data.draw(st.sampled_from(["0.5", "1.000001", "87.98", "62961.4"]))]
    ]
    text = dict.fromkeys(schema(MARKS), pl.String) | {"time": schema(MARKS)["time"]}
    marks = pl.DataFrame(rows, schema=text).unique(["instrument", "time"], keep="first").cast(dict(schema(MARKS)))
    try:
        found = moments(events, marks)
    except ledger.BadInput:
        assume(False)
    for time in found["time"].unique().to_list()[:15]:
        last = found.filter(pl.col("time") <= time).unique(["position", "episode"], keep="last", maintain_order=True)
        there = ledger.replay(strategies.frame(events), marks=marks, as_at=time).positions
        assert last.select(COMPARED).equals(there.select(COMPARED))


def test_the_check_finds_a_last_moment_that_is_not_the_position_s():
    book = ledger.replay(strategies.frame(LIFE[:2]), marks=marks_of((2, 104)))
    assert history_check(book.history, book.positions)["failures"].item() == 0
    for column in ("liability_shown", "margin_ratio"):
        wrong = book.history.with_columns(pl.col(column) + pl.lit("0.001").cast(schema(HISTORY)[column]))
        assert history_check(wrong, book.positions)["largest_residual"].item() == Decimal("0.001")
    without = book.history.with_columns(margin_ratio=pl.lit(None, schema(HISTORY)["margin_ratio"]))
    for frame in (without, book.history.clear()):
        assert history_check(frame, book.positions)["failures"].item() == 1


def test_a_mark_on_the_way_at_which_a_value_is_too_large_is_refused(tmp_path: Path):
    events = strategies.frame([event(1, **{**BUY, "quantity": "1000000", "price": "0.01"})])
    marks = marks_of((2, "99999999999999999"), (3, "0.01"))
    with pytest.raises(ledger.BadInput, match="1 value refused"):
        ledger.replay(events, marks=marks)
    marks.write_parquet(tmp_path / "marks.parquet")
    events.drop("input", "row", strict=False).write_parquet(tmp_path / "events.parquet")
    request = Request([tmp_path / "events.parquet"], tmp_path / "marks.parquet")
    with pytest.raises(ledger.BadInput, match="1 value refused"):
        replay_files(request, tmp_path / "books")
    assert not (tmp_path / "books").exists()


def test_a_liquidation_price_that_rounds_to_zero_is_no_obstacle():
    begun = {"kind": "opening", "side": "buy", "quantity": "1000000000000", "value": "0.0000001", "price": "1"}
    events = [event(1, **begun, amount="1", margin_currency="BTC")]
    book = ledger.replay(strategies.frame(events), marks=marks_of((0, "0.5")))
    assert book.positions["liquidation_price"].item() == 0
    assert book.checks["failures"].sum() == 0


@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_files_give_the_same_moments_and_are_read_as_they_were_written(tmp_path: Path, suffix, monkeypatch):
    monkeypatch.setattr("ledger.files.BATCH_EVENTS", 3)
    events = [event(number, **{**BUY, "account": f"a{number % 4}"}) for number in range(1, 14)]
    marks = marks_of((None, 100), (5, 104), (20, 99))
    frame = strategies.frame(events).drop("input", "row", strict=False)
    frame.write_parquet(tmp_path / "events.parquet")
    marks.write_parquet(tmp_path / "marks.parquet")
    replay_files(Request([tmp_path / "events.parquet"], tmp_path / "marks.parquet"), tmp_path / "books", suffix)
    read = read_frames(tmp_path / "books")
    assert (
        read["history"]
        .sort("position", "time", maintain_order=True)
        .equals(moments(events, marks).sort("position", "time", maintain_order=True))
    )
    assert read["checks"].filter(pl.col("check") == "history_agrees").select("rows_tested", "failures").row(0) == (4, 0)
