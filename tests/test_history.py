"""The moments of positions: by hand, against replays that stop at each moment, and cut down to what can be read."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from functools import partial
from pathlib import Path
from random import Random

import polars as pl
import pytest
import strategies
from exact import event
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

import ledger
from ledger import history
from ledger.checks import history_check
from ledger.columns import FLAG, HISTORY, LEDGER, MARK_FIGURES, MARKS, schema
from ledger.files import Request, replay_files
from ledger.money import ZERO
from ledger.risk.columns import TIERS
from ledger.risk.policies import RiskPolicies
from ledger.risk.rates import with_rates
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
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
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


# --- against the way that makes and measures every moment ---------------------------------------------------------


def plain_history(ledger_rows, index, marks, as_at=None, rates=None):
    """The history with every moment made, by sorting events and marks, and measured, before any is left out."""
    prices, events = history._prices(marks, as_at), history._events(ledger_rows)
    lives = history._episodes(events, index, prices)
    return plainly_thinned(plainly_valued(plain_moments(events, lives, prices), events, lives, prices, rates))


def plain_moments(events, lives, prices):
    place = pl.int_range(pl.len())
    life = events["begins"].cum_sum().cast(pl.Int64) - 1
    before = lives["mark_before"].fill_null(-1).gather(life)
    rows = events.select("time", life=life, event=place, mark=pl.when("begins").then(before))
    own = pl.int_ranges("first_mark", pl.col("first_mark") + pl.col("marks"))
    marked = lives.select(life=place, mark=own).filter(lives["marks"] > 0).explode("mark")
    marked = marked.with_columns(time=prices["time"].gather(marked["mark"]))
    rows = pl.concat([marked, rows], how="diagonal").sort("life", "time", maintain_order=True)
    is_mark = pl.col("event").is_null()
    same = [pl.col(name) == pl.col(name).shift(-1) for name in ("life", "time")]
    told = pl.all_horizontal(is_mark, *same, ~is_mark.shift(-1)).fill_null(value=False)
    filled = rows.with_columns(pl.col("event", "mark").forward_fill(), is_mark=is_mark, told=told)
    return filled.filter(~pl.col("told")).with_columns(mark=pl.when(pl.col("mark") != -1).then("mark"))


def plainly_valued(rows, events, lives, prices, rates):
    states = events.drop("time", "direction", "begins")[rows["event"]]
    whose = lives.select("is_long", "margin_is_base").cast(FLAG)[rows["life"]]
    known = pl.concat([states, whose, rows.drop("event")], how="horizontal").with_columns(
        what=pl.when("is_mark").then(pl.lit("mark")).otherwise(pl.col("action").cast(pl.String)),
        event_number=pl.when(~pl.col("is_mark")).then("event_number"),
        mark=pl.when(pl.col("action") != "close").then("mark"),
    )
    known = known.join(prices.select("mark", *schema(MARK_FIGURES)), on="mark", how="left", maintain_order="left")
    if rates is not None:
        known = rates(known.with_columns(lives["instrument"].gather(rows["life"])))
        names = ("maintenance_rate", "liquidation_fee_rate")
        known = known.with_columns(pl.when(pl.col("mark").is_not_null()).then(name).alias(name) for name in names)
    known = known.with_columns(base_interest=ZERO, quote_interest=ZERO)
    return history.measured(known, history._COMPUTED).with_columns(pl.col("what").cast(schema(HISTORY)["what"]))


def plainly_thinned(rows):
    number, of = pl.int_range(pl.len()).over("life"), pl.len().over("life").cast(pl.Int64)
    placed = rows.with_columns(row=pl.int_range(pl.len()), number=number, of=of)
    is_short, slot = pl.col("of") <= history.POINTS, pl.col("number") * history._SLOTS // pl.col("of")
    slots = placed.filter(~is_short).group_by("life", slot)
    lowest = [
        pl.col("row").get(pl.col(name).arg_min(), null_on_oob=True).alias(name)
        for name in ("margin_ratio", "liability_shown")
    ]
    picked = slots.agg(*lowest, last=pl.col("row").last())
    rows_kept = pl.concat([picked["margin_ratio"], picked["liability_shown"], picked["last"]])
    kept = placed.filter(is_short | (pl.col("number") == 0) | pl.col("row").is_in(rows_kept.implode()))
    step = pl.when(pl.col("number") > 0).then(pl.col("number") - pl.col("number").shift(1)).otherwise(1)
    return kept.with_columns(moments=step.cast(pl.UInt32)).select(schema(HISTORY).names())


AMOUNTS = {
    "usual": lambda random: str(random.randint(1, 1000) / 10),
    "tiny": lambda random: f"{random.randint(1, 3000)}e-13",
    "dust": lambda random: f"{random.randint(1, 30)}e-18",
    "large": lambda random: str(random.randint(1, 10**18)),
    "none": lambda _: "0",
    "negative": lambda random: str(-random.randint(1, 50)),
}
KINDS = (*[("usual",)] * 4, ("usual", "tiny"), ("usual", "dust", "none"), ("usual", "large"), tuple(AMOUNTS))
LIVED = ("position", "episode", "event_number", "time", "action", "direction")
BALANCES = ("base_closing", "quote_closing", "margin_closing")


def some_lives(random):
    """The ledger of some positions, as far as the history reads it, and their index: balances may be anything."""
    kinds, rows, index = random.choice(KINDS), [], []
    for place in range(random.randint(1, 3)):
        index.append((f"p{place}", random.choice(("BTC-USDT", "ETH-USDT")), random.random() < 0.5))
        at, number = random.randint(0, 100), 0
        for episode in (1, 2):
            side = random.choice((1, -1))
            direction, is_closed = {1: "long", -1: "short"}[side], episode == 1 or random.random() < 0.5
            for action in ["open", *["increase"] * random.choice((0, 0, 1, 9)), *["close"] * is_closed]:
                number += 1
                base, quote, margin = (Decimal(AMOUNTS[random.choice(kinds)](random)) for _ in range(3))
                quote *= random.choice((1, 100))
                left = (0, 0, 0) if action == "close" else (base * side, -quote * side, margin)
                rows.append((f"p{place}", episode, number, minute(at), action, direction, *map(str, left)))
                at += random.choice((0, 1, 5, 30))
    types = {name: dtype for name, dtype in schema(LEDGER).items() if name in LIVED + BALANCES}
    ledger_rows = pl.DataFrame(rows, schema=[*LIVED, *BALANCES], orient="row").cast(types)
    return ledger_rows, pl.DataFrame(index, schema=["position", "instrument", "margin_is_base"], orient="row")


def some_marks(random):
    """Marks with few different prices, so that many are equal, and with rates that change now and then."""
    rows = []
    for instrument in ("BTC-USDT", "ETH-USDT"):
        steps = random.choice(("0.1", "0.000000000000000001", "7000000000000000"))
        prices = [str(100 + random.randint(-40, 40) * Decimal(steps)).lstrip("-") for _ in range(random.choice((1, 9)))]
        rates, changing = ["0.03", "0.0015"], random.choice((0, 0, 0.02, 0.2))
        for at in sorted(random.sample(range(400), random.choice((0, 60, 200)))):
            if random.random() < changing:
                rates = [random.choice((None, "0.04", "0")), random.choice((None, "0.0015", "0.000000000000000003"))]
            rows.append((instrument, minute(at), random.choice(prices), *rates))
    text = dict.fromkeys(schema(MARKS), pl.String) | {"time": schema(MARKS)["time"]}
    return pl.DataFrame(rows, schema=text, orient="row").cast(dict(schema(MARKS)))


def some_tiers(random):
    """Tables of two tiers that come into force now and then."""
    types = {name: pl.String if dtype.is_decimal() else dtype for name, dtype in schema(TIERS).items()}
    rows = [
        {"instrument": "BTC-USDT", "valid_from": minute(since), "tier": tier, "largest_base_loan": str(5 * tier)}
        | {"largest_quote_loan": str(500 * tier), "maintenance_rate": str(random.choice(("0.01", "0.05")) * tier)[:4]}
        for since in (None, *random.sample(range(400), 3))
        for tier in (1, 2)
    ]
    return pl.DataFrame(rows, schema=types).cast(dict(schema(TIERS)))


def outcome(call):
    """What a call gives, or that it refuses."""
    try:
        return call()
    except ledger.BadInput:
        return None


@given(st.integers(0, 2**32))
@settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck))
def test_what_is_kept_is_the_same_as_where_every_moment_is_made(seed):
    random = Random(seed)
    (lived, index), marks, tiers = some_lives(random), some_marks(random), some_tiers(random)
    as_at = random.choice((None, minute(300)))
    rates, changes = random.choice(((None, None), (partial(with_rates, tiers=tiers, policies=RiskPolicies()), tiers)))
    with pytest.MonkeyPatch.context() as patch:
        points = random.choice((4, 7, 13))
        patch.setattr(history, "POINTS", points)
        patch.setattr(history, "_SLOTS", (points - 1) // 3)
        patch.setattr(history, "_TOGETHER", random.choice((30, 1_000_000)))
        wanted = outcome(lambda: plain_history(lived, index, marks, as_at, rates))
        for told in (changes, None):
            found = outcome(lambda told=told: history.history_of(lived, index, marks, as_at, rates, told))
            assert (found is None) == (wanted is None)
            assert found is None or found.equals(wanted)


def one_life(base, quote, margin):
    """The ledger of one open position with quote margin, and its index."""
    direction = "long" if Decimal(base) > 0 else "short"
    types = {name: dtype for name, dtype in schema(LEDGER).items() if name in LIVED + BALANCES}
    row = ("p", 1, 1, minute(0), "open", direction, base, quote, margin)
    lived = pl.DataFrame([row], schema=[*LIVED, *BALANCES], orient="row").cast(types)
    return lived, pl.DataFrame({"position": ["p"], "instrument": ["BTC-USDT"], "margin_is_base": [False]})


@pytest.mark.parametrize(
    ("balances", "prices", "rates", "is_counted"),
    [
        (("1", "-80", "10"), ("100", "99", "101"), {}, True),
        (("-1", "100", "10"), ("100", "99", "101"), {}, True),
        # The price hardly counts, so that roundings decide.
        (("3e-12", "-80", "10"), ("1.000000000000000001", "1", "1.000000000000000002"), {}, False),
        # The ratio at the worst price does not fit, and at the better ones it does.
        (("1", "-100", "0"), ("40", "100", "99"), {"maintenance_rate": "3e-18", "liquidation_fee_rate": "0"}, False),
        # A value does not fit at the better price.
        (("5000", "-10000000000000000", "10"), ("99999999999999999", "1"), {}, False),
    ],
)
def test_few_moments_of_a_long_life_are_measured_unless_they_must_be(monkeypatch, balances, prices, rates, is_counted):
    marks = marks_of(*((number, prices[number % len(prices)]) for number in range(1, 3_000)))
    types = {name: schema(MARKS)[name] for name in RATES}
    marks = marks.with_columns(pl.lit((RATES | rates)[name]).cast(types[name]).alias(name) for name in RATES)
    lived = one_life(*balances)
    wanted = outcome(lambda: plain_history(*lived, marks))
    heights, measured = [], history.measured
    monkeypatch.setattr(
        history, "measured", lambda rows, columns: heights.append(rows.height) or measured(rows, columns)
    )
    found = outcome(lambda: history.history_of(*lived, marks))
    assert (found is None) == (wanted is None)
    assert found is None or found.equals(wanted)
    assert (heights[-1] <= history.POINTS) == is_counted


def test_a_table_of_tiers_that_comes_into_force_between_marks_is_seen():
    at = minute(1_501)
    types = {name: pl.String if dtype.is_decimal() else dtype for name, dtype in schema(TIERS).items()}
    rows = [
        {
            "instrument": "BTC-USDT",
            "valid_from": since,
            "tier": 1,
            "largest_quote_loan": "500",
            "maintenance_rate": rate,
        }
        for since, rate in ((None, "0.01"), (at, "0.5"), (minute(1_502), "0.01"))
    ]
    tiers = pl.DataFrame(rows, schema=types).cast(dict(schema(TIERS)))
    marks = marks_of(*((number, 100 + number % 7) for number in range(1, 3_000)))
    marks = marks.with_columns(maintenance_rate=pl.lit(None, schema(MARKS)["maintenance_rate"]))
    rates = partial(with_rates, tiers=tiers, policies=RiskPolicies())
    found = history.history_of(*one_life("1", "-80", "10"), marks, rates=rates, changes=tiers)
    assert found["time"][found["margin_ratio"].arg_min()] == at
    assert found.equals(plain_history(*one_life("1", "-80", "10"), marks, rates=rates))
