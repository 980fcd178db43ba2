"""The mark prices at which a state's margin ratio is down to a threshold: exact to the last digit of a price.

A ratio is equity over requirement, and both are straight lines in the mark. So the prices at which it is at most `k`
are those below one price, or above one, or all, or none: the solutions of `(es - k rs) x mark + (ec - k rc) <= 0`. That
price is a quotient of integers, rounded towards the side on which the threshold is met, so that comparing a mark with
it is comparing the ratio with `k`, without any rounding between.
"""

from datetime import datetime
from decimal import Decimal
from fractions import Fraction

import polars as pl

from ledger.columns import MARKS, TIME, schema
from ledger.money import LARGEST, MONEY, SCALE, ZERO, units
from ledger.refusals import refuse_file
from ledger.risk.columns import STATUSES
from ledger.risk.policies import RiskPolicies
from ledger.risk.states import ALWAYS, NEVER, last_place

HIGHEST = LARGEST * 10**SCALE
"""No mark has so many units of 10**-18."""
NOT_GRADED, NORMAL, ALERT, CANCELLED, PARTIAL, FULL = range(len(STATUSES))
BLOCKS = (512, 64, 8, 1)
"""Numbers of marks that are looked at together where all of them have the same status."""
PLACES = 2**32
"""A sort key holds a rank and a place below this: its minimum is the lowest rank, at the first place that has it."""
_ROOM = 2**126
"""Integer columns wrap around in silence from 2**127 on."""


def interval(states: pl.DataFrame, k: Decimal) -> pl.DataFrame:
    """The prices at which each state's ratio is at most `k`: columns lowest and highest, both included, in units.

    `states` has the columns equity_slope, equity_constant, requirement_slope and requirement_constant, with
    requirements of zero or more. Where nothing is required no price is in it (lowest is above highest); where the
    requirement is not known, both are empty. Raises BadInput where the amounts are too large to be compared exactly.
    """
    exact = Fraction(k)
    _check_room(states, exact)
    own, times = _integer(exact.denominator), _integer(exact.numerator)
    lines = states.select(
        slope=units(pl.col("equity_slope")) * own - units(pl.col("requirement_slope")) * times,
        constant=units(pl.col("equity_constant")) * own - units(pl.col("requirement_constant")) * times,
        is_required=(pl.col("requirement_slope") > 0) | (pl.col("requirement_constant") > 0),
    )
    slope, constant, zero = pl.col("slope"), pl.col("constant"), _integer(0)
    root = quotient(lines.select(numerator=zero - constant, denominator=slope.abs()))
    met_above = (slope < zero) & pl.col("is_required")
    met_below = (slope > zero) & pl.col("is_required")
    always = (slope == zero) & (constant <= zero) & pl.col("is_required")
    is_known = pl.col("is_required").is_not_null()
    lowest = pl.when(met_above).then(zero - root).when(met_below | always).then(zero).otherwise(_integer(HIGHEST))
    highest = pl.when(met_below).then(root).when(met_above | always).then(_integer(HIGHEST)).otherwise(_integer(-1))
    return lines.select(lowest=pl.when(is_known).then(lowest), highest=pl.when(is_known).then(highest))


def quotient(quotients: pl.DataFrame) -> pl.Series:
    """The quotient of two integers times 10**18, rounded down: a price in units; 1 stands for a denominator of zero.

    Long division, some digits at a time: as many as the largest denominator leaves room for.
    """
    one = _integer(1)
    rows = quotients.select("numerator", divisor=pl.max_horizontal("denominator", one))
    whole = (pl.col("numerator") // pl.col("divisor")).clip(_integer(-LARGEST - 1), _integer(LARGEST))
    rows = rows.with_columns(root=whole, rest=pl.col("numerator") % pl.col("divisor"))
    largest = rows["divisor"].max()
    step = len(str(_ROOM // (largest if isinstance(largest, int) else 1))) - 1
    left = SCALE
    while left:
        digits = min(step, left)
        more = pl.col("rest") * _integer(10**digits)
        rows = rows.with_columns(
            root=pl.col("root") * _integer(10**digits) + more // pl.col("divisor"), rest=more % pl.col("divisor")
        )
        left -= digits
    return rows["root"]


def _check_room(states: pl.DataFrame, k: Fraction) -> None:
    """Raise BadInput where a line's coefficient times ten, and `k` on a common denominator, leaves no room."""
    names = ("equity_slope", "equity_constant", "requirement_slope", "requirement_constant")
    sizes = states.select(pl.col(name).abs().max().to_physical() for name in names).row(0)
    if max((size for size in sizes if size is not None), default=0) * (k.numerator + k.denominator) * 10 >= _ROOM:
        raise refuse_file(
            "positions",
            f"a balance is too large for its margin ratio to be compared with {float(k):g} exactly",
            "Check the units of the amounts; or give the threshold with fewer digits.",
        )


def _integer(value: int) -> pl.Expr:
    return pl.lit(value, dtype=pl.Int128)


# --- marks and states, as grading reads them -----------------------------------------------------------------


def prices_of(states: pl.DataFrame, marks: pl.DataFrame | None, as_at: datetime | None) -> pl.DataFrame:
    """The marks of the states' instruments by instrument and time: columns instrument, time, mark_price and `place`.

    Each instrument begins with a row without a price, which is in force until its first mark.
    """
    asked = states.select("instrument").unique()
    rows = pl.concat([schema(MARKS).to_frame(), *([] if marks is None else [marks])], how="diagonal")
    rows = rows.with_columns(pl.col("time").fill_null(pl.lit(ALWAYS))).filter(pl.col("time") <= (as_at or NEVER))
    rows = rows.join(asked, on="instrument", how="semi", maintain_order="left")
    none = asked.with_columns(time=pl.lit(ALWAYS).cast(TIME), mark_price=pl.lit(None, MONEY))
    every = pl.concat([none, rows.select("instrument", "time", "mark_price")])
    return every.sort("instrument", "time", maintain_order=True).with_columns(
        place=pl.int_range(pl.len(), dtype=pl.Int32)
    )


def prepared_of(states: pl.DataFrame, prices: pl.DataFrame, policies: RiskPolicies) -> tuple[pl.DataFrame, pl.Series]:
    """What grading reads of each state, one row each, and the rank of every price.

    Columns: state, life, first and end (the places of its marks, the end excluded), rising (1: its ratio rises with the
    mark, -1: it falls), due (status when a liquidation is), is_known, and the ranks at which the ratio is down to the
    alert's (alert_from, alert_to) and to the liquidation's (due_from, due_to).
    """
    alert, due = interval(states, policies.alert_ratio), interval(states, policies.liquidation_ratio)
    limits = pl.concat(
        [alert.rename(lambda name: f"alert_{name}"), due.rename(lambda name: f"due_{name}")], how="horizontal"
    )
    ranks, placed = _ranks(prices, states["instrument"], limits)
    begins = pl.any_horizontal(pl.col(name).ne_missing(pl.col(name).shift(1)) for name in ("position", "episode"))
    first = last_place(states, "from_time", prices, or_then=True)
    until = states.select("instrument", until=pl.col("until_time").fill_null(pl.lit(NEVER)))
    end = last_place(until, "until", prices, or_then=False) + 1
    prepared = states.select(
        state=pl.int_range(pl.len(), dtype=pl.Int32),
        life=begins.cast(pl.Int32).cum_sum() - 1,
        first=first.cast(pl.Int32),
        end=pl.max_horizontal(first + 1, end).cast(pl.Int32),
        rising=_rising(states),
        due=pl.when("is_full").then(FULL).otherwise(PARTIAL).cast(pl.UInt8),
        is_known=alert["lowest"].is_not_null(),
    )
    return prepared.hstack(placed), ranks


def _ranks(prices: pl.DataFrame, instruments: pl.Series, limits: pl.DataFrame) -> tuple[pl.Series, pl.DataFrame]:
    """The rank of every price among those of its instrument, and the limits of each state as ranks.

    Equal prices have one rank. A lower limit is the rank of the first price at or above it, an upper limit of the last
    one at or below it: at the same number a lower limit sorts before the prices, an upper one after them.
    """
    kinds = {name: 2 if name.endswith("highest") else 0 for name in limits.columns}
    names = prices["instrument"].unique(maintain_order=True)
    numbers = pl.Series(range(names.len()), dtype=pl.Int32)
    told = [prices.select("instrument", number=units(pl.col("mark_price")), kind=pl.lit(1, pl.Int8))]
    told += [
        pl.DataFrame({"instrument": instruments, "number": limits[name]}).with_columns(kind=pl.lit(kind, pl.Int8))
        for name, kind in kinds.items()
    ]
    as_number = pl.col("instrument").replace_strict(names, numbers, return_dtype=pl.Int32)
    every = pl.concat(told).with_columns(as_number, row=pl.int_range(pl.len()))
    in_order = every.sort("instrument", "number", "kind", nulls_last=False)
    same = [pl.col(name).eq_missing(pl.col(name).shift(1)) for name in ("instrument", "number", "kind")]
    is_new = (pl.col("kind") == 1) & ~pl.all_horizontal(same)
    counted = in_order.select("row", rank=is_new.cast(pl.Int32).cum_sum() + (pl.col("kind") == 0))
    ranks = counted.sort("row")["rank"]
    found = ranks.head(prices.height).to_frame().select(pl.when(prices["mark_price"].is_not_null()).then("rank"))
    columns = [
        ranks.slice(prices.height + number * limits.height, limits.height).alias(name)
        for number, name in enumerate(kinds)
    ]
    return found.to_series(), pl.DataFrame(columns)


def _rising(states: pl.DataFrame) -> pl.Series:
    """1 where the ratio rises with the mark, -1 where it falls, 0 where it stays: never both, as a ratio of lines."""
    per_mark = quotient(
        states.select(numerator=units(pl.col("equity_slope")), denominator=units(pl.col("requirement_slope")))
    )
    fixed = quotient(
        states.select(numerator=units(pl.col("equity_constant")), denominator=units(pl.col("requirement_constant")))
    )
    return states.select(
        pl.when(pl.col("requirement_constant") == 0)
        .then(_sign(ZERO, pl.col("equity_constant")))
        .when(pl.col("requirement_slope") == 0)
        .then(_sign(pl.col("equity_slope"), ZERO))
        .otherwise(_sign(pl.lit(per_mark), pl.lit(fixed)))
    ).to_series()


def _sign(larger: pl.Expr, smaller: pl.Expr) -> pl.Expr:
    return (larger > smaller).cast(pl.Int64) - (larger < smaller).cast(pl.Int64)


def blocks_of(prices: pl.DataFrame, size: int) -> pl.DataFrame:
    """One row per block of so many places: low and high, the keys of its lowest and highest price, their ranks, whole.

    The key of the highest price is that of its rank below zero; `whole` is whether all have a price. `prices` are those
    of `prices_of` with their rank.
    """
    rank, place = pl.col("rank"), pl.col("place")
    keyed = prices.select("rank", block=place // size, low=key_of(rank, place), high=key_of(-rank, place))
    return keyed.group_by("block", maintain_order=True).agg(
        pl.col("low", "high").min(), low_rank=rank.min(), high_rank=rank.max(), whole=rank.is_not_null().all()
    )


def key_of(rank: pl.Expr, place: pl.Expr) -> pl.Expr:
    """Rank and place in one integer, which sorts by rank and then by place."""
    return rank.cast(pl.Int64) * PLACES + place
