"""Each position over time: its balances, its liability and its margin ratio at every event and at every mark.

A moment is the state of an episode after one of its events, or at a mark of its instrument while it is open. The
measures are those of the positions frame, at the last mark up to the moment.
"""

from datetime import UTC, datetime

import polars as pl

from ledger.columns import DISPLAY, FLAG, HISTORY, MARK_FIGURES, MARKS, MEASURES, MOMENTS, schema
from ledger.money import MONEY, ZERO
from ledger.positions import Rates, measured

POINTS = 500
"""Moments of an episode that are kept: more would be too many to read, or to draw."""
_SLOTS = (POINTS - 1) // 3
"""Parts of a longer life, of each of which three moments are kept; and its first one is."""
_LOWEST = ("margin_ratio", "liability_shown")
"""Of these the lowest values are kept; a liability is below zero, so that its lowest is the largest."""
_TOGETHER = 1_000_000
"""Moments that are worked on together, unless one episode has more: there can be many marks for each event."""
_ALWAYS, _NEVER = datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC)
_WHAT = pl.Enum(MOMENTS)
_NO_MARK = -1
_BALANCES = {"base_closing": "base_leg", "quote_closing": "quote_leg", "margin_closing": "margin"}
LEDGER_COLUMNS = ("position", "episode", "event_number", "time", "action", "direction", *_BALANCES)
"""Columns of the ledger that say something of a moment."""
_CHAIN = (
    *("liability_shown", "base_owed", "quote_owed", "margin_price"),
    *("net_value", "liability_value", "requirement_rate", "equity_value", "margin_ratio"),
)
"""The measures of a moment and what leads to them."""
_RATES = ("maintenance_rate", "liquidation_fee_rate")
_COMPUTED = tuple(column for column in (*DISPLAY, *MEASURES) if column.name in _CHAIN)


def history_of(
    ledger: pl.DataFrame,
    index: pl.DataFrame,
    marks: pl.DataFrame | None,
    as_at: datetime | None = None,
    rates: Rates | None = None,
) -> pl.DataFrame:
    """The moments of every episode of a ledger, in their order (columns HISTORY), at most POINTS of each.

    `index` comes from `ordering.index_positions`. `marks` (columns MARKS) may give an instrument many marks; those up
    to `as_at` count, and one without a time counts from the beginning; `rates` are as in `positions.valued`. A mark has
    a moment of its own where the episode is open and none of its events has the same time. Raises BadInput when a value
    at a mark does not fit the money type.
    """
    prices = _prices(marks, as_at)
    events = _events(ledger)
    episodes = _episodes(events, index, prices)
    sizes = episodes["events"] + episodes["marks"]
    pieces = [schema(HISTORY).to_frame()]
    for _, lives in episodes.group_by((sizes.cum_sum() - sizes) // _TOGETHER, maintain_order=True):
        own = events.slice(int(lives["first"][0]), int(lives["events"].sum()))
        pieces.append(_thinned(_valued(_moments(own, lives, prices), own, lives, prices, rates)))
    return pl.concat(pieces)


def _prices(marks: pl.DataFrame | None, as_at: datetime | None) -> pl.DataFrame:
    """The marks up to the time asked for, by instrument and time, with their place in that order (`mark`)."""
    rows = pl.concat([schema(MARKS).to_frame(), *([] if marks is None else [marks])], how="diagonal")
    rows = rows.with_columns(pl.col("time").fill_null(pl.lit(_ALWAYS))).filter(pl.col("time") <= (as_at or _NEVER))
    return rows.sort("instrument", "time").with_columns(mark=pl.int_range(pl.len()))


def _events(ledger: pl.DataFrame) -> pl.DataFrame:
    """The state of each episode after each of its events; `begins` says where the next episode has its rows."""
    live = ledger.select(LEDGER_COLUMNS).rename(_BALANCES).filter(pl.col("direction").is_not_null())
    last_part = [pl.col(name).ne_missing(pl.col(name).shift(-1)) for name in ("position", "episode", "event_number")]
    begins = [pl.col(name).ne_missing(pl.col(name).shift(1)) for name in ("position", "episode")]
    return live.filter(pl.any_horizontal(last_part)).with_columns(begins=pl.any_horizontal(begins))


def _episodes(events: pl.DataFrame, index: pl.DataFrame, prices: pl.DataFrame) -> pl.DataFrame:
    """One row per episode: where its events stand (`first`, `events`) and its marks (`first_mark`, `marks`).

    `mark_before` is the mark in force when it begins; its own marks come after that, and before it ends.
    """
    closed = pl.when(pl.col("action") == "close").then("time").otherwise(pl.lit(_NEVER))
    ends = events.filter(pl.col("begins").shift(-1, fill_value=True)).select(end=closed)
    lives = events.with_columns(first=pl.int_range(pl.len())).filter("begins").hstack(ends)
    known = index.select("position", "instrument", "margin_is_base")
    starts = prices.group_by("instrument").agg(first_of_instrument=pl.col("mark").min())
    lives = lives.join(known, on="position", how="left", maintain_order="left")
    lives = lives.join(starts, on="instrument", how="left", maintain_order="left")
    mark_before = _last_mark(lives, "time", prices, or_then=True)
    first_mark = pl.coalesce(mark_before + 1, "first_of_instrument")
    marks = _last_mark(lives, "end", prices, or_then=False) + 1 - first_mark
    return lives.select(
        *("position", "episode", "instrument", "first", "margin_is_base"),
        is_long=pl.col("direction") == "long",
        events=pl.col("first").shift(-1, fill_value=events.height) - pl.col("first"),
        mark_before=mark_before,
        first_mark=first_mark,
        marks=marks.clip(lower_bound=0).fill_null(0),
    )


def _last_mark(lives: pl.DataFrame, time: str, prices: pl.DataFrame, *, or_then: bool) -> pl.Series:
    """The last mark of each episode's instrument before a time of the episode, or at that time."""
    asked = lives.select("instrument", time).with_row_index("place").sort(time)
    known = prices.select("instrument", "mark", marked="time").sort("marked")
    found = asked.join_asof(
        known, left_on=time, right_on="marked", by="instrument", allow_exact_matches=or_then, check_sortedness=False
    )
    return found.sort("place")["mark"]


def _moments(events: pl.DataFrame, lives: pl.DataFrame, prices: pl.DataFrame) -> pl.DataFrame:
    """The moments of some episodes in their order: columns life and event (places in the frames), time, mark, is_mark.

    An event has the mark before it or of its time; a mark has the event before it.
    """
    place = pl.int_range(pl.len())
    life = events["begins"].cum_sum().cast(pl.Int64) - 1
    before = lives["mark_before"].fill_null(_NO_MARK).gather(life)
    moments = events.select("time", life=life, event=place, mark=pl.when("begins").then(before))
    own = pl.int_ranges("first_mark", pl.col("first_mark") + pl.col("marks"))
    marked = lives.select(life=place, mark=own).filter(lives["marks"] > 0).explode("mark")
    if marked.height:
        marked = marked.with_columns(time=prices["time"].gather(marked["mark"]))
        # Marks first: the sort leaves them before the events of their time, which have them then.
        moments = pl.concat([marked, moments], how="diagonal").sort("life", "time", maintain_order=True)
    is_mark = pl.col("event").is_null()
    same = [pl.col(name) == pl.col(name).shift(-1) for name in ("life", "time")]
    told_by_event = pl.all_horizontal(is_mark, *same, ~is_mark.shift(-1)).fill_null(value=False)
    filled = moments.with_columns(
        pl.col("event", "mark").forward_fill(), is_mark=is_mark, told_by_event=told_by_event
    ).filter(~pl.col("told_by_event"))
    return filled.with_columns(mark=pl.when(pl.col("mark") != _NO_MARK).then("mark"))


def _valued(
    moments: pl.DataFrame, events: pl.DataFrame, lives: pl.DataFrame, prices: pl.DataFrame, rates: Rates | None
) -> pl.DataFrame:
    """The moments with their balances, the mark in force and the measures; and which life each belongs to."""
    states = events.drop("time", "direction", "begins")[moments["event"]]
    whose = lives.select("is_long", "margin_is_base").cast(FLAG)[moments["life"]]
    rows = pl.concat([states, whose, moments.drop("event")], how="horizontal").with_columns(
        what=pl.when("is_mark").then(pl.lit("mark", _WHAT)).otherwise(pl.col("action").cast(_WHAT)),
        event_number=pl.when(~pl.col("is_mark")).then("event_number"),
        mark=pl.when(pl.col("action") != "close").then("mark"),
    )
    known = rows.join(prices.select("mark", *schema(MARK_FIGURES)), on="mark", how="left", maintain_order="left")
    if rates is not None:
        known = rates(known.with_columns(lives["instrument"].gather(moments["life"])))
        known = known.with_columns(pl.when(pl.col("mark").is_not_null()).then(name).alias(name) for name in _RATES)
    if not known["mark"].count():
        return measured(known, _COMPUTED[:1]).with_columns(pl.lit(None, MONEY).alias(one.name) for one in _COMPUTED[1:])
    return measured(known.with_columns(base_interest=ZERO, quote_interest=ZERO), _COMPUTED)


def _thinned(moments: pl.DataFrame) -> pl.DataFrame:
    """At most POINTS moments of each episode (columns HISTORY); `moments` counts those left out before each, and it.

    Of more, the first is kept, and of each of _SLOTS equal parts the lowest ratio, the largest liability, the last.
    """
    if (moments["life"].unique_counts() <= POINTS).all():
        return moments.with_columns(moments=pl.lit(1, pl.UInt32)).select(schema(HISTORY).names())
    number, of = pl.int_range(pl.len()).over("life"), pl.len().over("life").cast(pl.Int64)
    placed = moments.with_columns(row=pl.int_range(pl.len()), number=number, of=of)
    slots = placed.filter(pl.col("of") > POINTS).group_by("life", pl.col("number") * _SLOTS // pl.col("of"))
    lowest = [pl.col("row").get(pl.col(name).arg_min(), null_on_oob=True).alias(name) for name in _LOWEST]
    picked = slots.agg(*lowest, last=pl.col("row").last()).unpivot([*_LOWEST, "last"])["value"]
    is_kept = (pl.col("of") <= POINTS) | (pl.col("number") == 0) | pl.col("row").is_in(picked.implode())
    kept = placed.filter(is_kept)
    step = pl.when(pl.col("number") > 0).then(pl.col("number") - pl.col("number").shift(1)).otherwise(1)
    return kept.with_columns(moments=step.cast(pl.UInt32)).select(schema(HISTORY).names())
