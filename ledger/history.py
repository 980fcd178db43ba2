"""Each position over time: its balances, its liability and its margin ratio at every event and at every mark.

A moment is the state of an episode after one of its events, or at a mark of its instrument while it is open. The
measures are those of the positions frame, at the last mark up to the moment.

There can be far more moments than can be kept, so they are counted and not made: a stretch is an event with the marks
that follow it, and where it begins among all moments says where every one of them is. Of a long life, which is cut into
slots, only moments that may be kept are made and measured: all events, the first and the last moment of each slot, and
of the marks of one slot, one stretch and the same rates the one with the worst price, as there the ratio goes one way
with the price. Where digits are too few for that, or nothing is saved, all moments of the life are made.
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
"""Moments that are measured together, unless one episode has more: there can be many marks for each event."""
_ALWAYS, _NEVER = datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC)
_WHAT = pl.Enum(MOMENTS)
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
_OF_LIFE = ("instrument", "is_long", "margin_is_base", "begun", "moments", "is_whole")
_LAST_PLACE, _LEAST, _MANY, _LARGE = 1e-18, 1e-12, 1e6, 1e19
"""Of money; then: balances are usual that owe more, have less times that, and are worth less in quote than that.

Floats only bound errors here (see `_is_sure`): no amount is one."""
_USUAL = (1e-10, 10)
"""And so are shares that are required."""
_PLACES = 2**32
"""A key holds the rank of a price and a place below this: the lowest is of that price, at its first place."""


def history_of(
    ledger: pl.DataFrame,
    index: pl.DataFrame,
    marks: pl.DataFrame | None,
    as_at: datetime | None = None,
    rates: Rates | None = None,
    changes: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """The moments of every episode of a ledger, in their order (columns HISTORY), at most POINTS of each.

    `index` comes from `ordering.index_positions`. `marks` (columns MARKS) may give an instrument many marks; those up
    to `as_at` count, and one without a time counts from the beginning; `rates` are as in `positions.valued`. A mark has
    a moment of its own where the episode is open and none of its events has the same time. `changes` (columns
    instrument and valid_from, empty: from the beginning) says when `rates` may give other rates for the same balances
    and stated rates; without it that is at any mark, which costs time and changes nothing else. Raises BadInput when a
    value at a mark does not fit the money type.
    """
    prices = _with_runs(_prices(marks, as_at), rates, changes)
    events = _events(ledger)
    episodes = _episodes(events, index, prices)
    stretches = _stretches(events, episodes, prices)
    lives = _sized(episodes, stretches, events, prices)
    pieces = [schema(HISTORY).to_frame()]
    for _, some in lives.group_by((lives["size"].cum_sum() - lives["size"]) // _TOGETHER, maintain_order=True):
        own = stretches.slice(int(some["first"][0]), int(some["events"].sum()))
        known = own.hstack(lives.select(_OF_LIFE)[own["life"]])
        valued = _valued(known, events, prices, rates)
        required = valued["requirement_rate"].cast(pl.Float64)
        if not ((required == 0) | required.is_between(*_USUAL)).all():
            valued = _valued(known.with_columns(is_whole=True), events, prices, rates)
        pieces.append(_thinned(valued))
    return pl.concat(pieces)


# --- marks, events, episodes --------------------------------------------------------------------------------------


def _prices(marks: pl.DataFrame | None, as_at: datetime | None) -> pl.DataFrame:
    """The marks up to the time asked for, by instrument and time; `mark` is their place then, `rank` the price's."""
    rows = pl.concat([schema(MARKS).to_frame(), *([] if marks is None else [marks])], how="diagonal")
    rows = rows.with_columns(pl.col("time").fill_null(pl.lit(_ALWAYS))).filter(pl.col("time") <= (as_at or _NEVER))
    rank = pl.col("mark_price").rank("dense").cast(pl.Int64)
    return rows.sort("instrument", "time").with_columns(mark=pl.int_range(pl.len()), rank=rank)


def _with_runs(prices: pl.DataFrame, rates: Rates | None, changes: pl.DataFrame | None) -> pl.DataFrame:
    """The marks with their `run`: those of one run have the same rates for the same balances. Runs count from 0."""
    if rates is not None and changes is None:
        return prices.with_columns(run="mark")
    told = ["instrument", *_RATES]
    if rates is not None and changes is not None:
        since = changes.select("instrument", time=pl.col("valid_from").fill_null(pl.lit(_ALWAYS))).unique().sort("time")
        tables = since.with_columns(change=pl.int_range(pl.len()))
        prices, told = prices.with_columns(_last("change", tables, prices, or_then=True)), [*told, "change"]
    begins = pl.any_horizontal(pl.col(name).ne_missing(pl.col(name).shift(1)) for name in told)
    return prices.with_columns(run=begins.cast(pl.Int64).cum_sum() - 1)


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
    mark_before = _last("mark", prices, lives, or_then=True)
    first_mark = pl.coalesce(mark_before + 1, "first_of_instrument")
    marks = _last("mark", prices, lives.with_columns(time="end"), or_then=False) + 1 - first_mark
    return lives.select(
        *("position", "episode", "instrument", "first", "margin_is_base"),
        is_long=pl.col("direction") == "long",
        events=pl.col("first").shift(-1, fill_value=events.height) - pl.col("first"),
        mark_before=mark_before,
        first_mark=first_mark,
        marks=marks.clip(lower_bound=0).fill_null(0),
    )


def _last(what: str, known: pl.DataFrame, rows: pl.DataFrame, *, or_then: bool) -> pl.Series:
    """What is known last of each row's instrument before its time, or at that time."""
    asked = rows.select("instrument", "time").with_row_index("place").sort("time")
    told = known.select("instrument", "time", what).sort("time", maintain_order=True)
    found = asked.join_asof(told, on="time", by="instrument", allow_exact_matches=or_then, check_sortedness=False)
    return found.sort("place")[what]


# --- moments, by counting -----------------------------------------------------------------------------------------


def _stretches(events: pl.DataFrame, lives: pl.DataFrame, prices: pl.DataFrame) -> pl.DataFrame:
    """One row per event, with the marks that follow it and have a moment of their own.

    Columns: event and life (places in the frames), mark (in force at the event), first_mark and marks (those that
    follow), moment (how many moments are before the event's own, of all lives). The mark of an event's time is told by
    the first such event.
    """
    life = events["begins"].cum_sum().cast(pl.Int64) - 1
    own = lives.select("instrument", "mark_before", "first_mark", of_life="marks")[life]
    rows = events.select("time", "begins", life=life, event=pl.int_range(pl.len(), dtype=pl.Int64)).hstack(own)
    in_force = _last("mark", prices, rows, or_then=True)
    seen = (in_force + 1 - pl.col("first_mark")).fill_null(0).clip(0, pl.col("of_life"))
    rows = rows.with_columns(seen=seen).with_columns(
        mark=pl.when(pl.col("seen") > 0).then(pl.col("first_mark") + pl.col("seen") - 1).otherwise("mark_before")
    )
    is_new = ~pl.col("begins") & (pl.col("seen") > pl.col("seen").shift(1))
    told = is_new & (prices["time"].gather(rows["mark"]) == pl.col("time")).fill_null(value=False)
    ends = pl.col("begins").shift(-1, fill_value=True)
    up_to = pl.when(ends).then("of_life").otherwise(pl.col("seen").shift(-1))
    marks = up_to - pl.col("seen") - told.fill_null(value=False).shift(-1, fill_value=False)
    owes_quote = pl.when(events["quote_leg"] < 0).then(True).when(events["base_leg"] < 0).then(False)
    stretches = rows.select(
        *("event", "life", "mark"), first_mark=pl.col("first_mark") + pl.col("seen"), marks=marks, owes_quote=owes_quote
    )
    return stretches.with_columns(moment=(pl.col("marks") + 1).cum_sum() - pl.col("marks") - 1)


def _sized(lives: pl.DataFrame, stretches: pl.DataFrame, events: pl.DataFrame, prices: pl.DataFrame) -> pl.DataFrame:
    """The lives with `begun` (the place of their first moment), `moments`, `size` (how many are made) and `is_whole`.

    Of a life that is whole all moments are made: it is short, or the others cannot be told not to be kept.
    """
    begun = stretches["moment"].gather(lives["first"])
    has_marks, run = pl.col("marks") > 0, pl.lit(prices["run"])
    ends = [pl.when(has_marks).then(place) for place in ("first_mark", pl.col("first_mark") + pl.col("marks") - 1)]
    runs = (run.gather(ends[1]) - run.gather(ends[0])).fill_null(0)
    is_sure = stretches.select("life", is_sure=_is_sure(events, stretches, lives, prices) | (pl.col("marks") == 0))
    sized = lives.with_columns(
        is_sure.group_by("life", maintain_order=True).agg(pl.col("is_sure").all())["is_sure"],
        begun=begun,
        moments=begun.shift(-1, fill_value=int((stretches["marks"] + 1).sum())) - begun,
        picked=POINTS + pl.col("events") + runs,
    )
    is_whole = (~pl.col("is_sure") | (pl.col("moments") <= pl.col("picked"))).fill_null(value=True)
    return sized.with_columns(is_whole=is_whole, size=pl.when(is_whole).then("moments").otherwise("picked"))


def _is_sure(events: pl.DataFrame, stretches: pl.DataFrame, lives: pl.DataFrame, prices: pl.DataFrame) -> pl.Series:
    """Whether the balances after each event say which of two marks has the lower ratio, however it is rounded.

    The ratio times the required share is `(slope x mark + constant) / owed`: it rises with the mark where quote is
    owed, and falls where base is owed. So they say where between any two prices it changes by more than four times what
    roundings can, and where no value comes near the largest there can be; or where nothing is owed.
    """
    of_life = lives.join(_scales(prices), on="instrument", how="left", maintain_order="left")
    of_life = of_life.select("margin_is_base", "low", "high", "step")
    rows = events.select(pl.col(*_BALANCES.values()).cast(pl.Float64)).hstack(of_life[stretches["life"]])
    base, quote, margin, low, high = (pl.col(name) for name in (*_BALANCES.values(), "low", "high"))
    base_margin = margin * pl.col("margin_is_base").cast(pl.Float64)
    owes_quote = (base >= 0) & (quote < 0)
    owed_least, owed_most = (pl.when(owes_quote).then(-quote).otherwise(-base * at) for at in (low, high))
    change = pl.when(owes_quote).then(base + base_margin).otherwise((quote + margin - base_margin) / high)
    largest = (base.abs() + margin.abs()) * high + quote.abs() + margin.abs()
    rounding = 4 * _LAST_PLACE * (1 + largest / owed_least + 3 * owed_most)
    is_told = (change * pl.col("step") > rounding) & (owed_least > _LEAST) & (largest < _MANY * owed_least) & (low > 0)
    one_way, nothing_owed = owes_quote | ((base < 0) & (quote >= 0)), (base >= 0) & (quote >= 0)
    is_sure = (nothing_owed | (one_way & is_told)) & (largest < _LARGE)
    return rows.select(is_sure.fill_null(value=False)).to_series()


def _scales(prices: pl.DataFrame) -> pl.DataFrame:
    """One row per instrument: its lowest and highest price, and the smallest step between two, as floats."""
    price = pl.col("mark_price")
    ordered = prices.select("instrument", "mark_price").drop_nulls().unique().sort("instrument", "mark_price")
    scales = ordered.group_by("instrument").agg(low=price.min(), high=price.max(), step=price.diff().min())
    return scales.with_columns(pl.col("low", "high", "step").cast(pl.Float64)).with_columns(pl.col("step").fill_null(1))


def _picked(stretches: pl.DataFrame, prices: pl.DataFrame) -> pl.DataFrame:
    """The moments to be made, in their order: columns event (of their stretch) and moment (place among all moments)."""
    every = pl.int_ranges("moment", pl.col("moment") + pl.col("marks") + 1)
    whole = stretches.filter("is_whole").select("event", moment=every).explode("moment")
    narrow = stretches.filter(~pl.col("is_whole"))
    if narrow.is_empty():
        return whole
    slots = _slots(narrow)
    firsts = slots.filter(pl.col("from") == pl.col("begin")).select("event", moment="from")
    lasts = slots.filter(pl.col("to") == pl.col("end")).select("event", moment=pl.col("to") - 1)
    parts = [whole, narrow.select("event", "moment"), firsts, lasts, _worst(slots, prices)]
    return pl.concat(parts).sort("moment").filter(pl.col("moment").ne_missing(pl.col("moment").shift(1)))


def _slots(stretches: pl.DataFrame) -> pl.DataFrame:
    """The stretches cut into the slots of their lives: the moments `from` up to `to` are of this one.

    The slot has those from `begin` up to `end`; the place of the mark of a moment is `shift` more than the moment's.
    """
    number, of = pl.col("moment") - pl.col("begun"), pl.col("moments")
    last = number + pl.col("marks")
    cut = stretches.select(
        *("event", "moment", "begun", "moments", "owes_quote"),
        stop=pl.col("moment") + pl.col("marks") + 1,
        shift=pl.col("first_mark") - pl.col("moment") - 1,
        slot=pl.int_ranges(number * _SLOTS // of, last * _SLOTS // of + 1),
    ).explode("slot")
    begin, end = (pl.col("begun") + ((pl.col("slot") + one) * of + _SLOTS - 1) // _SLOTS for one in (0, 1))
    return cut.with_columns(begin=begin, end=end).with_columns(
        pl.max_horizontal("moment", "begin").alias("from"), to=pl.min_horizontal("stop", "end")
    )


def _worst(slots: pl.DataFrame, prices: pl.DataFrame) -> pl.DataFrame:
    """The moment of the first mark with the worst price, of the marks of each slot, stretch and run of rates."""
    first, run = pl.max_horizontal("from", pl.col("moment") + 1) + pl.col("shift"), prices["run"]
    asked = slots.select("event", "shift", "owes_quote", first=first, last=pl.col("to") - 1 + pl.col("shift"))
    asked = asked.filter(pl.col("owes_quote").is_not_null() & (pl.col("first") <= pl.col("last")))
    runs = pl.int_ranges(run.gather(asked["first"]), run.gather(asked["last"]) + 1)
    starts = prices.select(pl.col("mark").filter(pl.col("run").ne_missing(pl.col("run").shift(1)))).to_series()
    cut = asked.with_columns(run=runs).explode("run")
    begins, ends = starts.gather(cut["run"]), starts.extend_constant(prices.height, 1).gather(cut["run"] + 1) - 1
    cut = cut.with_columns(first=pl.max_horizontal("first", begins), last=pl.min_horizontal("last", ends))
    found = []
    for owes_quote, order in ((True, pl.col("rank")), (False, -pl.col("rank"))):
        some = cut.filter(pl.col("owes_quote") == owes_quote)
        keys = prices.select(order * _PLACES + pl.col("mark")).to_series()
        worst = _lowest(keys, some["first"], some["last"] - some["first"] + 1) % _PLACES
        found.append(some.select("event", moment=worst - pl.col("shift")))
    return pl.concat(found).drop_nulls()


def _lowest(keys: pl.Series, first: pl.Series, count: pl.Series) -> pl.Series:
    """The lowest of so many keys from a first place on, for each pair of them.

    Two stretches of a power of two cover any: the lowest keys of those from every place on come from shorter ones.
    """
    asked = pl.DataFrame({"first": first, "count": count}).with_row_index("row")
    found, size = [asked.clear().select("row", lowest=pl.lit(None, pl.Int64))], 1
    while asked.height:
        own, asked = asked.filter(pl.col("count") < 2 * size), asked.filter(pl.col("count") >= 2 * size)
        ends = [keys.gather(own["first"]), keys.gather(own["first"] + own["count"] - size)]
        found.append(own.select("row", lowest=pl.min_horizontal(*ends)))
        keys, size = pl.select(pl.min_horizontal(keys, keys.shift(-size))).to_series(), 2 * size
    return pl.concat(found).sort("row")["lowest"]


# --- measures, and what is kept -----------------------------------------------------------------------------------


def _valued(stretches: pl.DataFrame, events: pl.DataFrame, prices: pl.DataFrame, rates: Rates | None) -> pl.DataFrame:
    """The moments that may be kept with their balances, the mark in force and the measures; and of which life each is.

    `number` counts the moments of the life before each, and `of` all of them.
    """
    picked = _picked(stretches, prices)
    own = ("life", "mark", "first_mark", "begun", pl.col("moment").alias("told"), pl.col("moments").alias("of"))
    whose = stretches.select("instrument", pl.col("is_long", "margin_is_base").cast(FLAG), *own)
    rows = picked.hstack(whose[picked["event"] - stretches["event"][0]])
    rows = rows.hstack(events.drop("direction", "begins")[picked["event"]])
    after = pl.col("moment") - pl.col("told")
    rows = rows.with_columns(
        is_mark=after > 0,
        number=pl.col("moment") - pl.col("begun"),
        mark=pl.when(after > 0).then(pl.col("first_mark") + after - 1).otherwise("mark"),
    )
    rows = rows.with_columns(
        time=pl.when("is_mark").then(prices["time"].gather(rows["mark"])).otherwise("time"),
        what=pl.when("is_mark").then(pl.lit("mark", _WHAT)).otherwise(pl.col("action").cast(_WHAT)),
        event_number=pl.when(~pl.col("is_mark")).then("event_number"),
        mark=pl.when(pl.col("action") != "close").then("mark"),
    )
    known = rows.hstack(prices.select(schema(MARK_FIGURES).names()).select(pl.all().gather(rows["mark"])))
    if rates is not None:
        known = rates(known).with_columns(
            pl.when(pl.col("mark").is_not_null()).then(name).alias(name) for name in _RATES
        )
    if not known["mark"].count():
        return measured(known, _COMPUTED[:1]).with_columns(pl.lit(None, MONEY).alias(one.name) for one in _COMPUTED[1:])
    return measured(known.with_columns(base_interest=ZERO, quote_interest=ZERO), _COMPUTED)


def _thinned(moments: pl.DataFrame) -> pl.DataFrame:
    """At most POINTS moments of each episode (columns HISTORY); `moments` counts those left out before each, and it.

    Of more, the first is kept, and of each of _SLOTS equal parts the lowest ratio, the largest liability, the last.
    """
    number, of, is_long = pl.col("number"), pl.col("of"), pl.col("of") > POINTS
    if not moments.select(is_long.any()).item():
        return moments.with_columns(moments=pl.lit(1, pl.UInt32)).select(schema(HISTORY).names())
    slot = pl.col("life") * _SLOTS + number * _SLOTS // of
    placed = moments.with_columns(row=pl.int_range(pl.len()), slot=slot)
    slots = placed.filter(is_long).group_by("slot")
    lowest = [pl.col("row").get(pl.col(name).arg_min(), null_on_oob=True).alias(name) for name in _LOWEST]
    picked = slots.agg(*lowest, last=pl.col("row").last()).unpivot([*_LOWEST, "last"])["value"]
    kept = placed.filter(~is_long | (number == 0) | pl.col("row").is_in(picked.implode()))
    step = pl.when(number > 0).then(number - number.shift(1)).otherwise(1)
    return kept.with_columns(moments=step.cast(pl.UInt32)).select(schema(HISTORY).names())
