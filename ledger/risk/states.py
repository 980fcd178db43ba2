"""The states of each life of a spot-margin position: the stretches of time in which its balances and rates hold.

At any mark within a state its margin ratio is `(equity_slope x mark + equity_constant) / (requirement_slope x mark +
requirement_constant)`: all that `ledger.risk.grading` needs to know of it.
"""

from datetime import UTC, datetime

import polars as pl

from ledger.columns import FLAG, LEDGER, MARKS, MEASURES, POSITIONS, TIME, Column, schema
from ledger.history import LEDGER_COLUMNS
from ledger.money import MONEY, ZERO
from ledger.positions import measured
from ledger.risk.lines import with_lines
from ledger.risk.policies import RiskPolicies
from ledger.risk.rates import with_rates

_POSITION = {column.name: column for column in POSITIONS}
_KERNEL = "rules 4, 7"

STATES = (
    *(_POSITION[name] for name in ("position", "episode", "instrument")),
    Column("from_time", TIME, "UTC", "First moment of the state: an event, or a change of its rates.", "event"),
    Column("until_time", TIME, "UTC", "First moment after it; empty: it stands.", "event"),
    next(column for column in LEDGER if column.name == "event_number"),
    *(_POSITION[name] for name in ("base_leg", "quote_leg", "margin", "base_interest", "quote_interest")),
    *(_POSITION[name] for name in ("is_long", "margin_is_base")),
    Column("tier", pl.UInt16, "", "Tier of the position by its liability, or its size.", "tiers file, rules 6 [S]"),
    *(_POSITION[name] for name in ("maintenance_rate", "liquidation_fee_rate")),
    Column("is_full", pl.Boolean, "", "Whether a liquidation that is due would be a full one.", "rules 6"),
    Column("equity_slope", MONEY, "per unit of mark price", "Equity is slope x mark price + constant.", _KERNEL),
    Column("equity_constant", MONEY, "quote", "Equity at a mark price of zero.", _KERNEL),
    Column("requirement_slope", MONEY, "per unit of mark price", "What equity is to exceed, likewise.", _KERNEL),
    Column("requirement_constant", MONEY, "quote", "What is required at a mark price of zero.", _KERNEL),
)
"""One row per stretch of time in which a life's balances and rates are constant, by position, life and time.

Equity and requirement may be in any one unit; a requirement is rounded once, as every product is (rules 9)."""

ALWAYS, NEVER = datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC)
_BALANCES = {"base_closing": "base_leg", "quote_closing": "quote_leg", "margin_closing": "margin"}
_LIFE = ("position", "episode")
_RATES = ("maintenance_rate", "liquidation_fee_rate")
_MEASURED = tuple(column for column in MEASURES if column.name in ("base_owed", "quote_owed", "requirement_rate"))


def spot_states(
    ledger: pl.DataFrame,
    index: pl.DataFrame,
    marks: pl.DataFrame | None,
    tiers: pl.DataFrame | None,
    policies: RiskPolicies,
    as_at: datetime | None = None,
) -> pl.DataFrame:
    """The states (columns STATES) of every life of a ledger, in its order.

    `index` comes from `ordering.index_positions`; events and marks after `as_at` do not count. A state begins at an
    event, where a table of tiers comes into force, and where the marks begin to state other rates; a table that comes
    into force after `as_at` does not count, nor, without one, after the `latest` time in ledger and marks. Raises
    BadInput when a product does not fit the money type.
    """
    events = _between_events(ledger, index, as_at)
    stated = _stated_rates(marks, as_at)
    cut = _cut(events, _changes(index, stated, tiers), as_at or latest(ledger["time"], marks))
    rated = with_rates(_with_stated(cut, stated), tiers, policies)
    same = [pl.col(name).eq_missing(pl.col(name).shift(1)) for name in (*_LIFE, "event_number", "tier", *_RATES)]
    return _with_kernel(rated.filter(~pl.all_horizontal(same)), policies).select(schema(STATES).names())


def latest(times: pl.Series, marks: pl.DataFrame | None) -> datetime:
    """The last of some times and of those of the marks (columns MARKS): where a run ends that has no as-at time."""
    known = [times.max(), None if marks is None else marks["time"].max()]
    return max((time for time in known if isinstance(time, datetime)), default=ALWAYS)


def _between_events(ledger: pl.DataFrame, index: pl.DataFrame, as_at: datetime | None) -> pl.DataFrame:
    """The balances from each event of a life to its next one; `time` is the event's, `ends` the next one's."""
    live = ledger.select(LEDGER_COLUMNS).rename(_BALANCES).filter(pl.col("direction").is_not_null())
    if as_at is not None:
        live = live.filter(pl.col("time") <= as_at)
    of_next = [pl.col(name).ne_missing(pl.col(name).shift(-1)) for name in (*_LIFE, "event_number")]
    last_part = live.filter(pl.any_horizontal(of_next))
    same_life = pl.all_horizontal(pl.col(name).eq_missing(pl.col(name).shift(-1)) for name in _LIFE)
    states = last_part.with_columns(ends=pl.when(same_life).then(pl.col("time").shift(-1)))
    known = index.select("position", "instrument", pl.col("margin_is_base").cast(FLAG))
    return (
        states.filter(pl.col("action") != "close")
        .with_columns(is_long=(pl.col("direction") == "long").cast(FLAG), base_interest=ZERO, quote_interest=ZERO)
        .join(known, on="position", how="left", maintain_order="left")
    )


def _stated_rates(marks: pl.DataFrame | None, as_at: datetime | None) -> pl.DataFrame:
    """The rates that marks state, by instrument: one row per time from which they are others than before."""
    rows = pl.concat([schema(MARKS).to_frame(), *([] if marks is None else [marks])], how="diagonal")
    rows = rows.with_columns(pl.col("time").fill_null(pl.lit(ALWAYS))).filter(pl.col("time") <= (as_at or NEVER))
    same = [pl.col(name).eq_missing(pl.col(name).shift(1)) for name in ("instrument", *_RATES)]
    return rows.select("instrument", "time", *_RATES).sort("instrument", "time").filter(~pl.all_horizontal(same))


def _changes(index: pl.DataFrame, stated: pl.DataFrame, tiers: pl.DataFrame | None) -> pl.DataFrame:
    """When the rates of an instrument may change: columns instrument, time, and `place` in that order.

    Each instrument has one at the beginning of time, so that there is always one before an event.
    """
    found = [index.select("instrument", time=pl.lit(ALWAYS).cast(TIME)), stated.select("instrument", "time")]
    if tiers is not None:
        found.append(tiers.select("instrument", time=pl.col("valid_from").cast(TIME)).drop_nulls())
    return pl.concat(found).unique().sort("instrument", "time").with_row_index("place")


def last_place(rows: pl.DataFrame, time: str, known: pl.DataFrame, *, or_then: bool) -> pl.Series:
    """The last `place` of each row's instrument before a time of the row, or at that time.

    `known` holds instrument, time and place.
    """
    asked = rows.select("instrument", asked=time).with_row_index("order").sort("asked")
    found = asked.join_asof(
        known.select("instrument", "time", "place").sort("time", maintain_order=True),
        left_on="asked",
        right_on="time",
        by="instrument",
        allow_exact_matches=or_then,
        check_sortedness=False,
    )
    return found.sort("order")["place"].cast(pl.Int64)


def _cut(events: pl.DataFrame, changes: pl.DataFrame, end: datetime) -> pl.DataFrame:
    """The states between events, each cut at the changes within it up to the end: rows with `from_time`, in order."""
    rows = events.with_columns(before=pl.coalesce("ends", "time"), end=pl.lit(end).cast(TIME))
    first = last_place(rows, "time", changes, or_then=True)
    within = last_place(rows, "before", changes, or_then=False)
    standing = last_place(rows, "end", changes, or_then=True)
    last = pl.when(pl.col("ends").is_null()).then(standing).otherwise(within)
    pieces = rows.with_columns(first=first, change=pl.int_ranges(first, pl.max_horizontal(first, last) + 1))
    cut = pieces.explode("change")
    return cut.with_columns(
        from_time=pl.when(pl.col("change") == pl.col("first")).then("time").otherwise(changes["time"][cut["change"]])
    )


def _with_stated(rows: pl.DataFrame, stated: pl.DataFrame) -> pl.DataFrame:
    """The rows with the rates that the mark in force at `from_time` states, which is called `time` from here on."""
    known = stated.with_row_index("place")
    places = last_place(rows, "from_time", known, or_then=True)
    return rows.with_columns(pl.col("from_time").alias("time"), *(known[name].gather(places) for name in _RATES))


def _with_kernel(states: pl.DataFrame, policies: RiskPolicies) -> pl.DataFrame:
    """The states with `is_full` and the straight lines of equity and requirement (rules 4)."""
    is_low = pl.col("tier").cast(MONEY) <= pl.lit(policies.full_tier_spot).cast(MONEY)
    is_full = pl.lit(value=True) if policies.liquidation == "all_at_once" else is_low.fill_null(value=True)
    again = pl.all_horizontal(pl.col(name).eq_missing(pl.col(name).shift(-1)) for name in (*_LIFE, "event_number"))
    return with_lines(measured(states, _MEASURED)).with_columns(
        is_full=is_full, until_time=pl.when(again).then(pl.col("from_time").shift(-1)).otherwise("ends")
    )
