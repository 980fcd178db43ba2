"""Tiers of positions: which one a liability, or a size, falls in, and the limits and rates of it (rules.md 6).

A table is the tiers of one instrument that come into force together. It has limits of loans, in base, in quote or in
both, for spot margin; or else limits of size, for contracts. Both kinds may stand side by side under one name, as a
family of contracts may be named like a pair: they never mix.
"""

from datetime import UTC, datetime

import polars as pl

from ledger.columns import TIME, schema
from ledger.money import MONEY, ZERO, from_units, units
from ledger.risk.columns import TIERS

TIERS_SCHEMA = schema(TIERS)
TIER_COLUMNS = pl.Schema(
    {
        "tier": pl.UInt16(),
        "tier_maintenance_rate": MONEY,
        "tier_minimum_initial_rate": MONEY,
        "tier_maximum_leverage": MONEY,
        "above_tiers": pl.Boolean(),
    }
)
"""What `tier_of` adds."""
LOAN_LIMITS = ("largest_base_loan", "largest_quote_loan")
LIMITS = (*LOAN_LIMITS, "largest_size")
BY_SIZE = pl.all_horizontal(pl.col(name).is_null() for name in LOAN_LIMITS)
"""Whether a tier is one of size: it has no limit of a loan."""
KEY = ("instrument", "by_size", "valid_from")
"""What the tiers of one table have in common; `by_size` is BY_SIZE."""

_ALWAYS = datetime(1, 1, 1, tzinfo=UTC)
_AMOUNTS = {"base_loan": LIMITS[0], "quote_loan": LIMITS[1], "size": LIMITS[2]}
_INSTRUMENT = pl.col("instrument")
_FAMILY = _INSTRUMENT.str.extract("^([^-]+-[^-]+)-")
_ONE, _HUNDREDTH = 10**18, 10**16


# --- the tier of a position -----------------------------------------------------------------------------------


def tier_of(rows: pl.DataFrame, tiers: pl.DataFrame) -> pl.DataFrame:
    """The rows in their order with the columns of TIER_COLUMNS: the tier of each, and its rates.

    `rows` has one row per state of a position: instrument, time (empty: before all), base_loan and quote_loan (MONEY,
    zero where nothing is owed: the liability without uncharged interest) and, for contracts, `size` (MONEY, as the
    tiers state it; empty for spot margin). `tiers` is a frame of TIERS. The table in force is the latest that is valid
    from the row's time or earlier; for contracts that of the instrument or, without one, of its family (BTC-USDT of
    BTC-USDT-SWAP). The tier is the lowest whose limit covers the loan, the limit itself included, and the higher of
    the two currencies' [S]. Above all limits it is the last one, and `above_tiers` is true. All columns are empty
    where no table is in force, or it has no limit in a currency that is owed.
    """
    sized = pl.col("size").is_not_null() if "size" in rows.columns else pl.lit(value=False)
    absent = [pl.lit(None, MONEY).alias(name) for name in _AMOUNTS if name not in rows.columns]
    asked = rows.select("instrument", "time", *(name for name in _AMOUNTS if name in rows.columns))
    asked = asked.with_columns(*absent, sized=sized).with_row_index("place")
    tables = _tables(tiers)
    asked = asked.with_columns(
        table=pl.when("sized")
        .then(pl.coalesce(_in_force(asked, tables, by_size=True), _in_force(asked, tables, by_size=True, name=_FAMILY)))
        .otherwise(_in_force(asked, tables, by_size=False))
    )
    found = asked.select("place", "table")
    for amount, limit in _AMOUNTS.items():
        own = asked.filter((pl.col("sized") == (amount == "size")) & pl.col("table").is_not_null())
        found = found.join(_by_limit(own, tables, amount, limit), on="place", how="left", maintain_order="left")
    every = {what: [f"{what}_{amount}" for amount in _AMOUNTS] for what in ("tier", "above", "unknown")}
    known = ~pl.any_horizontal(pl.col(every["unknown"]).fill_null(value=False))
    found = found.with_columns(
        tier=pl.when(known).then(pl.max_horizontal(every["tier"])),
        above_tiers=pl.any_horizontal(pl.col(every["above"]).fill_null(value=False)),
    )
    rates = tables.select("table", "tier", *(pl.col(name).alias(f"tier_{name}") for name in _RATES))
    found = found.join(rates, on=["table", "tier"], how="left", maintain_order="left")
    found = found.with_columns(above_tiers=pl.when(pl.col("tier").is_not_null()).then("above_tiers"))
    return rows.with_columns(found.select(pl.col(name).cast(dtype) for name, dtype in TIER_COLUMNS.items()))


def limits_of(rows: pl.DataFrame, tiers: pl.DataFrame) -> pl.DataFrame:
    """The rows in their order with largest_base_loan, largest_quote_loan, largest_size and maintenance_rate of a tier.

    `rows` has one row per tier asked for: instrument, time and `tier`, and for contracts `size`, of which only counts
    whether there is one. `tiers` is a frame of TIERS; the table is the one `tier_of` takes. Where no `size` is given
    it is that of loans, or else that of size. A column of that name is replaced; all are empty where there is no such
    tier.
    """
    sized = pl.col("size").is_not_null() if "size" in rows.columns else pl.lit(value=False)
    asked = rows.select("instrument", "time", pl.col("tier").cast(pl.UInt16), sized=sized).with_row_index("place")
    tables = _tables(tiers)
    of_size = pl.coalesce(_in_force(asked, tables, by_size=True), _in_force(asked, tables, by_size=True, name=_FAMILY))
    of_loans = pl.lit(_in_force(asked, tables, by_size=False))
    asked = asked.with_columns(table=pl.when("sized").then(of_size).otherwise(pl.coalesce(of_loans, of_size)))
    columns = (*LIMITS, "maintenance_rate")
    found = asked.join(
        tables.select("table", "tier", *columns), on=["table", "tier"], how="left", maintain_order="left"
    )
    return rows.with_columns(found.select(columns))


_RATES = ("maintenance_rate", "minimum_initial_rate", "maximum_leverage")


def _tables(tiers: pl.DataFrame) -> pl.DataFrame:
    """The tiers with the number of their `table`, which of loans or of size it is, and from when it is in force."""
    known = tiers.select(
        "instrument", "tier", *LIMITS, *_RATES, by_size=BY_SIZE, since=pl.col("valid_from").fill_null(_ALWAYS)
    )
    return known.with_columns(table=pl.struct("instrument", "by_size", "since").rank("dense").cast(pl.UInt32))


def _in_force(asked: pl.DataFrame, tables: pl.DataFrame, by_size: bool, name: pl.Expr = _INSTRUMENT) -> pl.Series:
    """The number of the table in force for each row of `asked`, by the instrument or another `name` of it."""
    since = tables.filter(pl.col("by_size") == by_size).select(pl.col("instrument").alias("name"), "since", "table")
    times = asked.select("place", name=name, at=pl.col("time").cast(TIME).fill_null(_ALWAYS)).sort("at")
    found = times.join_asof(
        since.unique().sort("since"), left_on="at", right_on="since", by="name", check_sortedness=False
    )
    return found.sort("place")["table"]


def _by_limit(asked: pl.DataFrame, tables: pl.DataFrame, amount: str, limit: str) -> pl.DataFrame:
    """By one limit alone: `place`, the tier, whether the amount is above the last, and whether nothing limits it."""
    limited = tables.filter(pl.col(limit).is_not_null()).select("table", "tier", limit=limit)
    steps = limited.sort("limit", "tier").unique(["table", "limit"], keep="first", maintain_order=True)
    amounts = asked.select("place", "table", amount=pl.col(amount).cast(MONEY)).drop_nulls("amount").sort("amount")
    found = amounts.join_asof(
        steps, left_on="amount", right_on="limit", by="table", strategy="forward", check_sortedness=False
    )
    last = limited.group_by("table").agg(last=pl.col("tier").max())
    is_limited, is_covered = pl.col("last").is_not_null(), pl.col("tier").is_not_null()
    return found.join(last, on="table", how="left").select(
        "place",
        pl.coalesce("tier", "last").alias(f"tier_{amount}"),
        (is_limited & ~is_covered).alias(f"above_{amount}"),
        (~is_limited & (pl.col("amount") > ZERO)).alias(f"unknown_{amount}"),
    )


# --- tables that go on ----------------------------------------------------------------------------------------

STEPPED = ("smallest_size", *LIMITS, "maintenance_rate", "minimum_initial_rate")
"""Columns to which each further tier adds."""


def _before(name: str) -> pl.Expr:
    """The value in the tier before."""
    return pl.col(name).shift().over("table", order_by="tier")


def further_tiers() -> pl.Expr:
    """How many tiers an open row stands for (rows of `expanded`), Int128; empty where its rates never end them.

    The maintenance rate of the last one is below 1, its smallest initial rate is at most 1.
    """
    rate, initial = "maintenance_rate", "minimum_initial_rate"
    rooms = (_room(rate, below_one=True), _room(initial, below_one=False))
    return pl.min_horizontal(rooms).clip(lower_bound=0)


def _room(name: str, below_one: bool) -> pl.Expr:
    step = units(pl.col(name))
    room = pl.lit(_ONE - below_one, pl.Int128) - units(_before(name))
    return room // pl.when(step > 0).then(step)


def expanded(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows with all tiers for which an open row ("4+") stands in its place.

    `rows` has the columns of TIERS, `table` (tables are told apart by it) and `is_open`; an open row is the last of its
    table and holds what each further tier adds to the one before. `further_tiers` of it must be known. The largest
    leverage of those tiers is 1 / smallest initial rate, cut off at 2 decimals as the exchange states it [O], and never
    above that of the tier before them. Other columns are kept. The rows come out by table and tier.
    """
    last = [_before(name).alias(f"{name}_last") for name in (*STEPPED, "maximum_leverage")]
    is_open = pl.col("is_open")
    further = rows.with_columns(*last, count=further_tiers()).filter(is_open)
    further = further.with_columns(step=pl.int_ranges(1, pl.col("count").cast(pl.Int64) + 1)).explode(
        "step", empty_as_null=False
    )
    steps = pl.col("step").cast(MONEY)
    further = further.with_columns((pl.col(f"{name}_last") + steps * pl.col(name)).alias(name) for name in STEPPED)
    leverage = pl.min_horizontal(inverse("minimum_initial_rate"), "maximum_leverage_last")
    further = further.with_columns(
        (pl.col("tier") + pl.col("step") - 1).cast(pl.UInt16).alias("tier"),
        maximum_leverage=pl.when(pl.col("minimum_initial_rate").is_not_null()).then(leverage),
    )
    stated = rows.filter(~is_open)
    return pl.concat([stated, further.select(stated.columns)]).sort("table", "tier", maintain_order=True)


def inverse(rate: str) -> pl.Expr:
    """The leverage of an initial rate: 1 / rate, cut off at 2 decimals."""
    hundredths = pl.lit(100 * _ONE, pl.Int128) // pl.when(pl.col(rate) > ZERO).then(units(pl.col(rate)))
    return from_units(hundredths * pl.lit(_HUNDREDTH, pl.Int128))
