"""What is due of each life at every event and at every mark: nothing, an alert, a liquidation; and since when.

A state of a position (see `ledger.risk.states`) has a moment when it begins, at the mark in force, and one at every
mark until it ends. Its thresholds are prices, exactly (see `ledger.risk.thresholds`), and prices are compared by rank:
as small integers. Marks are looked at in blocks: where the lowest and the highest one of a block have the same status,
all of it have, and only the other blocks are split into smaller ones, down to single marks. So the work grows with
marks at which something changes, not with positions times marks.
"""

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime

import polars as pl

from ledger.checks import finding
from ledger.columns import TIME, Column, schema
from ledger.measures import ratio
from ledger.money import MONEY, ZERO
from ledger.refusals import refuse_file
from ledger.risk.columns import RISK, RISK_SPANS, STATUSES
from ledger.risk.policies import RiskPolicies
from ledger.risk.states import NEVER
from ledger.risk.thresholds import (
    ALERT,
    BLOCKS,
    CANCELLED,
    FULL,
    NORMAL,
    NOT_GRADED,
    PARTIAL,
    PLACES,
    blocks_of,
    prepared_of,
    prices_of,
)

_RISK = {column.name: column for column in RISK}
GRADED_LIVES = (
    *(_RISK[name] for name in ("position", "episode", "status")),
    Column("since", TIME, "UTC", "Since when the balances and rates of its end hold.", "rules 6"),
    *(_RISK[name] for name in ("alert_at", "cancelled_at", "partial_at", "full_at")),
    *(_RISK[name] for name in ("lowest_ratio", "lowest_at", "graded")),
)
"""One row per life: its status at the end of its states, and the first moments at which it crossed a threshold."""

_TOGETHER = 2_000_000
"""Moments of lives that are worked on together, unless one life has more: it bounds the memory."""
_THREADS = 2
"""Such pieces of work that are done at the same time."""
_STATUS = pl.Enum(STATUSES)


@dataclass(frozen=True)
class Graded:
    """`spans`: one row per stretch of one status (columns RISK_SPANS); `lives`: one per life (columns GRADED_LIVES)."""

    spans: pl.DataFrame
    lives: pl.DataFrame


def grade(
    states: pl.DataFrame, marks: pl.DataFrame | None, policies: RiskPolicies, as_at: datetime | None = None
) -> Graded:
    """The status of every life at each of its moments up to `as_at`, as stretches, and its first crossings.

    `states` are the states of whole lives, sorted by position, episode and time: columns position, episode, instrument,
    from_time, until_time, tier, is_full, equity_slope, equity_constant, requirement_slope and requirement_constant
    (see `states.STATES`; other columns do not matter). `marks` has the columns MARKS; a mark without a time counts from
    the beginning. A mark at the time of a state's begin is told by the state. Where nothing is required the status is
    normal, without a mark or a rate not_graded. Raises BadInput when a value does not fit the money type.
    """
    end = as_at or NEVER
    within = pl.when(pl.col("until_time") <= end).then("until_time")
    known = states.filter(pl.col("from_time") <= end).with_columns(within)
    prices = prices_of(known, marks, as_at)
    prepared, ranks = prepared_of(known, prices, policies)
    blocks = {size: blocks_of(prices.with_columns(rank=ranks), size) for size in BLOCKS}
    sizes = prepared.group_by("life", maintain_order=True).agg(moments=(pl.col("end") - pl.col("first")).sum())
    chunk = ((sizes["moments"].cum_sum() - sizes["moments"]) // _TOGETHER).gather(prepared["life"])
    chunks = [some for _, some in prepared.group_by(chunk.alias("chunk"), maintain_order=True)] or [prepared]
    known, marked = known.with_columns(prepared["first"]), prices.select("time", "mark_price")

    def graded_of(some: pl.DataFrame) -> Graded:
        rows = _rows(some, prepared, blocks)
        parts = _parts(_rechecked(rows, prepared, blocks[1]) if policies.recheck == "next_mark" else rows)
        spans = _spans(_valued(parts, known, marked), known)
        return Graded(spans.select(schema(RISK_SPANS).names()), _lives(spans))

    with ThreadPoolExecutor(_THREADS) as threads:  # each operation on a chunk keeps one processor busy
        found = list(_told(threads.map(graded_of, chunks)))
    ends = [pl.col(name).ne_missing(pl.col(name).shift(-1)) for name in ("position", "episode")]
    since = known.filter(pl.any_horizontal(ends)).select(since="from_time")
    lives = pl.concat([one.lives for one in found]).hstack(since)
    return Graded(pl.concat([one.spans for one in found]), lives.select(schema(GRADED_LIVES).names()))


def _told(found: Iterator[Graded]) -> Iterator[Graded]:
    """The same; raises BadInput when a value does not fit the money type."""
    try:
        yield from found
    except (pl.exceptions.InvalidOperationError, pl.exceptions.ComputeError) as problem:
        raise refuse_file(
            "marks", "the value of a position at its mark price has more than 20 digits", "check the mark prices"
        ) from problem


# --- moments ----------------------------------------------------------------------------------------------------


def _rows(states: pl.DataFrame, every: pl.DataFrame, blocks: Mapping[int, pl.DataFrame]) -> pl.DataFrame:
    """The moments of some of the states in order, those of a block in one row where all of it have one status.

    Columns: life, state, place (of the first mark of the row), stop (the place after its last one), status, and `key`:
    the smallest is of the lowest ratio of a state, at the first place that has it; empty without a price.
    """
    rows = states.select(
        "life", "state", place="first", stop="end", status=pl.lit(None, pl.UInt8), key=pl.lit(None, pl.Int64)
    )
    for size in blocks:
        rows = _split(rows, every, size, blocks[size])
    return rows


def _split(rows: pl.DataFrame, states: pl.DataFrame, size: int, blocks: pl.DataFrame) -> pl.DataFrame:
    """The rows that have no status yet split by blocks, those of a whole block with one status having it now.

    At both ends of a block's prices the status is the same: so it is between, as a threshold is one price.
    """
    is_open, place, stop = pl.col("status").is_null(), pl.col("place"), pl.col("stop")
    last = pl.when(is_open).then((stop - 1) // size).otherwise(place // size)
    pieces = rows.with_columns(block=pl.int_ranges(place // size, last + 1, dtype=pl.Int32)).explode("block")
    begin = pl.col("block") * size
    pieces = pieces.with_columns(
        place=pl.when(is_open).then(pl.max_horizontal("place", begin)).otherwise(place),
        stop=pl.when(is_open).then(pl.min_horizontal("stop", begin + size)).otherwise(stop),
    )
    known = pl.concat(
        [pieces, states.select(_LIMITS)[pieces["state"]], blocks.drop("block")[pieces["block"]]], how="horizontal"
    )
    graded = known.with_columns(at_low=_status(pl.col("low_rank")), at_high=_status(pl.col("high_rank")))
    is_whole = (
        is_open & (stop - place == size) & (pl.col("whole") | (size == 1)) & (pl.col("at_low") == pl.col("at_high"))
    )
    rising, is_one = pl.col("rising"), pl.col("is_one")
    lowest = pl.when(rising > 0).then("low").when(rising < 0).then("high").otherwise("place")
    return graded.with_columns(is_one=is_whole).select(
        "life",
        "state",
        "place",
        "stop",
        status=pl.when(is_one).then("at_low").otherwise("status"),
        key=pl.when(is_one & pl.col("whole")).then(lowest).otherwise("key"),
    )


_LIMITS = ("rising", "due", "is_known", "due_lowest", "due_highest", "alert_lowest", "alert_highest")


def _status(rank: pl.Expr) -> pl.Expr:
    """The status of a state at the price of a rank, before anything is cancelled."""
    is_graded = pl.col("is_known") & rank.is_not_null()
    return (
        pl.when(~is_graded)
        .then(pl.lit(NOT_GRADED, pl.UInt8))
        .when(rank.is_between(pl.col("due_lowest"), pl.col("due_highest")))
        .then("due")
        .when(rank.is_between(pl.col("alert_lowest"), pl.col("alert_highest")))
        .then(pl.lit(ALERT, pl.UInt8))
        .otherwise(pl.lit(NORMAL, pl.UInt8))
    )


def _rechecked(rows: pl.DataFrame, states: pl.DataFrame, marks: pl.DataFrame) -> pl.DataFrame:
    """The rows where the first mark of a run of due moments only cancels the orders, each a row of its own.

    At an event, or a change of rates, before the next mark they are cancelled still. `marks` are the blocks of one mark
    each.
    """
    is_due = pl.col("status") >= PARTIAL
    goes_on = is_due.shift(1) & (pl.col("life") == pl.col("life").shift(1))
    begins = is_due & ~goes_on.fill_null(value=False)
    cancels = is_due & (pl.col("place") == pl.when(begins).then("place").forward_fill())
    again = rows.with_columns(
        status=pl.when(cancels & (pl.col("stop") - pl.col("place") > 1)).then(None).otherwise("status")
    )
    single = _split(again, states, 1, marks)
    return single.with_columns(status=pl.when(cancels).then(pl.lit(CANCELLED, pl.UInt8)).otherwise("status"))


# --- stretches --------------------------------------------------------------------------------------------------

_KERNEL = ("equity_slope", "equity_constant", "requirement_slope", "requirement_constant")


def _parts(rows: pl.DataFrame) -> pl.DataFrame:
    """One row per stretch of one state and one status: life, state, status, first place, lowest key, and moments."""
    changes = [pl.col(name) != pl.col(name).shift(1) for name in ("state", "status")]
    begins = rows.select(pl.any_horizontal(changes).fill_null(value=True)).to_series()
    sums = _by_group(
        rows.select("key", graded=pl.col("stop") - pl.col("place")), begins, pl.col("key").min(), pl.col("graded").sum()
    )
    return rows.select("life", "state", "status", "place").filter(begins).hstack(sums)


def _by_group(rows: pl.DataFrame, begins: pl.Series, *sums: pl.Expr, **named: pl.Expr) -> pl.DataFrame:
    """One row of sums per group of rows that stand together: each group begins where `begins` says so."""
    numbered = rows.with_columns(group=begins.cast(pl.Int32).cum_sum().set_sorted())  # in order: nothing is hashed
    return numbered.group_by("group", maintain_order=True).agg(*sums, **named).drop("group")


def _valued(parts: pl.DataFrame, states: pl.DataFrame, prices: pl.DataFrame) -> pl.DataFrame:
    """The parts with time, mark price and ratio of their first moment, and lowest_at and lowest_ratio.

    Columns: life, state, status, graded, and those five: first_at, first_mark, first_ratio, lowest_at, lowest_ratio.
    """
    lines = states.select("from_time", "first", *_KERNEL)[parts["state"]]
    lowest = (pl.col("key") % PLACES).fill_null(pl.col("place"))
    places = parts.select(first="place", lowest=lowest)
    found = [parts.select("life", "state", "status", pl.col("graded").cast(pl.UInt32))]
    for name in places.columns:
        at_begin = places[name] == lines["first"]
        marked = prices[places[name]]
        found.append(
            pl.concat([lines, marked, at_begin.to_frame("at_begin")], how="horizontal").select(
                pl.when("at_begin").then("from_time").otherwise("time").alias(f"{name}_at"),
                pl.col("mark_price").alias(f"{name}_mark"),
                _ratio().alias(f"{name}_ratio"),
            )
        )
    return pl.concat(found, how="horizontal").drop("lowest_mark")


def _ratio() -> pl.Expr:
    """The margin ratio of a state at a mark."""
    mark = pl.col("mark_price")
    equity = pl.col("equity_slope") * mark + pl.col("equity_constant")
    found: pl.Expr = ratio(equity, pl.col("requirement_slope") * mark + pl.col("requirement_constant"))
    return found.cast(MONEY)


def _spans(parts: pl.DataFrame, states: pl.DataFrame) -> pl.DataFrame:
    """One row per stretch of one status of a life, in order (columns RISK_SPANS, and life and the status' code)."""
    changes = [pl.col(name) != pl.col(name).shift(1) for name in ("life", "status")]
    begins = parts.select(pl.any_horizontal(changes).fill_null(value=True)).to_series()
    last_state = parts["state"].filter(begins.shift(-1, fill_value=True))
    firsts = parts.select("life", "state", "status", "first_at", "first_mark", "first_ratio").filter(begins)
    whose = states.select("position", "episode", "instrument", "tier")[firsts["state"]]
    ends = states["until_time"].gather(last_state)
    spans = pl.concat([firsts.drop("state"), whose, ends.to_frame(), _lowest(parts, begins)], how="horizontal")
    goes_on = pl.col("life") == pl.col("life").shift(-1)
    return spans.select(
        "life",
        *("position", "episode", "instrument", "tier", "lowest_ratio", "lowest_at", "graded"),
        code="status",
        status=pl.Series(STATUSES, dtype=_STATUS).gather(spans["status"]),
        from_time="first_at",
        until_time=pl.when(goes_on).then(pl.col("first_at").shift(-1)).otherwise("until_time"),
        mark_price="first_mark",
        margin_ratio="first_ratio",
    )


def _lowest(rows: pl.DataFrame, begins: pl.Series) -> pl.DataFrame:
    """One row per group of rows (see `_by_group`): lowest_ratio, lowest_at (its first moment), the sum of graded."""
    groups = begins.cast(pl.Int32).cum_sum() - 1
    found = _by_group(
        rows.select("lowest_ratio", pl.col("graded").cast(pl.UInt64)),
        begins,
        pl.col("lowest_ratio").min(),
        pl.col("graded").sum(),
    )
    there = rows["lowest_ratio"].eq_missing(found["lowest_ratio"].gather(groups))
    is_first = (groups.filter(there) != groups.filter(there).shift(1)).fill_null(value=True)
    first = rows["lowest_at"].filter(there).filter(is_first)
    return found.with_columns(lowest_at=pl.when(pl.col("lowest_ratio").is_not_null()).then(first))


def _lives(spans: pl.DataFrame) -> pl.DataFrame:
    """One row per life (columns GRADED_LIVES, but for `since`)."""
    first = {
        "alert_at": (ALERT, FULL),
        "cancelled_at": (CANCELLED, FULL),
        "partial_at": (PARTIAL,) * 2,
        "full_at": (FULL,) * 2,
    }
    reached = {
        name: pl.col("from_time").filter(pl.col("code").is_between(*codes)).first() for name, codes in first.items()
    }
    begins = (spans["life"] != spans["life"].shift(1)).fill_null(value=True)
    lives = _by_group(spans, begins, pl.col("position", "episode").first(), pl.col("status").last(), **reached)
    graded = pl.when(pl.col("code") != NOT_GRADED).then("graded").otherwise(0)
    return lives.hstack(_lowest(spans.with_columns(graded=graded), begins))


# --- checks -----------------------------------------------------------------------------------------------------


def grading_checks(graded: Graded, history: pl.DataFrame, policies: RiskPolicies) -> list[pl.DataFrame]:
    """The findings grades_agree and statuses_in_order; `history` (columns HISTORY) is of the same positions."""
    return [_grades_agree(graded.spans, history, policies), _in_order(graded.spans)]


def _grades_agree(spans: pl.DataFrame, history: pl.DataFrame, policies: RiskPolicies) -> pl.DataFrame:
    """The finding for the moments that the history keeps: the status by threshold is the one by the ratio as measured.

    Where they differ it is by how much equity is on the other side of the threshold, over the sum of what a last place
    can weigh: each product of the measures rounds once, so does what is required per unit of the mark, and the measured
    ratio is a quotient by the liability, rounded too.
    """
    life = ["position", "episode"]
    last = history.filter(
        pl.any_horizontal(pl.col(name).ne_missing(pl.col(name).shift(-1)) for name in (*life, "time")),
    )
    asked = last.filter(pl.col("margin_ratio").is_not_null()).sort("time")
    known = spans.select(*life, "status", "from_time").sort("from_time", maintain_order=True)
    both = asked.join_asof(known, left_on="time", right_on="from_time", by=life, check_sortedness=False)
    code, required = pl.col("status").to_physical(), pl.col("liability_value") * pl.col("requirement_rate")
    apart = []
    for reached, k in ((ALERT, policies.alert_ratio), (CANCELLED, policies.liquidation_ratio)):
        threshold = pl.lit(k).cast(MONEY)
        is_same = (code >= reached) == (pl.col("margin_ratio") <= threshold)
        weight = threshold * (pl.col("mark_price") + 5) + pl.col("liability_value")
        beyond = (pl.col("equity_value") - required * threshold).abs() / weight
        apart.append(
            pl.when(is_same).then(ZERO).otherwise(beyond).fill_null(pl.lit(1).cast(MONEY)).alias(f"at_{reached}")
        )
    residuals = both.select(residual=pl.max_horizontal(apart))["residual"]
    return finding("grades_agree", both.select(*life, "time"), residuals, _LAST_PLACE)


def _in_order(spans: pl.DataFrame) -> pl.DataFrame:
    """The finding for the stretches: each ends where the next of its life begins, and only the last may stand."""
    goes_on = pl.all_horizontal(pl.col(name) == pl.col(name).shift(-1) for name in ("position", "episode"))
    ends, begins = pl.col("until_time"), pl.col("from_time")
    follows = (ends == begins.shift(-1)) & (pl.col("status") != pl.col("status").shift(-1))
    is_right = pl.when(goes_on).then(follows.fill_null(value=False)).otherwise(ends.is_null() | (ends >= begins))
    residuals = spans.select((~is_right.fill_null(value=True)).cast(pl.Int8).cast(MONEY)).to_series()
    return finding("statuses_in_order", spans.select("position", "episode", "from_time"), residuals)


_LAST_PLACE = "0.000000000000000001"
