"""The states of contract positions, as `ledger.risk.states` has those of spot margin: what grading needs to know.

Equity and requirement are straight lines in the mark, in quote: of a linear contract N x mark is required, of an
inverse one N, and its margin counts at the mark (rules 7). Of a sold option N x mark is owed and N is required, and
its margin stands alone against both; of a bought one nothing is required (two real records [V]).
"""

from datetime import UTC, datetime

import polars as pl

from ledger.columns import MARKS, TIME, schema
from ledger.derivatives.columns import DERIVATIVE_FIGURES, DERIVATIVE_MEASURES
from ledger.money import MONEY, ZERO
from ledger.positions import measured
from ledger.risk.policies import RiskPolicies
from ledger.risk.rates import with_rates

ALWAYS, NEVER = datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC)
_LIFE = ("position", "episode")
_RATES = ("maintenance_rate", "liquidation_fee_rate")
LEGS = tuple(column for column in DERIVATIVE_FIGURES if column.name in ("position_size", "base_leg", "quote_leg"))
"""The size and the legs: what a position is worth at any mark."""
_REQUIRED = tuple(column for column in DERIVATIVE_MEASURES if column.name == "requirement_rate")
_BALANCES = {"contracts_closing": "contracts", "entry_value_closing": "entry_value", "margin_closing": "margin"}


def contract_states(
    ledger: pl.DataFrame,
    positions: pl.DataFrame,
    marks: pl.DataFrame | None,
    tiers: pl.DataFrame | None,
    policies: RiskPolicies,
    as_at: datetime | None = None,
) -> pl.DataFrame:
    """One row per stretch of time in which a life's balances and rates are constant, by position, life and time.

    `ledger` has the columns DERIVATIVE_LEDGER, `positions` what `positions.lives_of` gives; `tiers` (columns TIERS)
    are those of the contracts (`tiers_of_contracts`). Columns: those of `ledger.risk.states`, and `contracts`,
    `entry_value`, `position_size`, `is_inverse`, `is_option`. Raises BadInput when a product does not fit.
    """
    events = _between_events(ledger, positions, as_at)
    stated = _stated_rates(marks, as_at)
    cut = _cut(events, _changes(stated, tiers, marks, as_at))
    rated = rated_contracts(_with_stated(cut, stated), tiers, policies)
    again = pl.all_horizontal(pl.col(name).eq_missing(pl.col(name).shift(-1)) for name in _STRETCH)
    rows = measured(measured(rated, LEGS), _REQUIRED).with_columns(is_full=is_full(policies))
    rows = rows.with_columns(until_time=pl.when(again).then(pl.col("from_time").shift(-1)).otherwise("ends"))
    flat = rows.with_columns(margin_is_base="is_inverse", base_interest=ZERO, quote_interest=ZERO)
    return with_contract_lines(flat).drop("ends")


_FLAGS = ("is_long", "is_inverse", "is_option")
_STRETCH = (*_LIFE, "event_number")


def with_contract_lines(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows with equity_slope, equity_constant, requirement_slope and requirement_constant, as `risk.lines` has.

    `rows` has one row per state of a position: margin, requirement_rate, the flags of its contract, and the columns
    LEGS.
    """
    inverse, option, is_long = pl.col("is_inverse"), pl.col("is_option"), pl.col("is_long")
    size, sold, bought = pl.col("position_size"), option * (1 - is_long), option * is_long
    required = pl.when(bought == 1).then(ZERO).otherwise(size * pl.col("requirement_rate"))
    own = 1 - sold
    return rows.with_columns(
        equity_slope=pl.col("base_leg") * own + pl.col("margin") * inverse,
        equity_constant=pl.col("quote_leg") * own + pl.col("margin") * (1 - inverse),
        requirement_slope=required * ((1 - inverse) * (1 - option)) + size * sold,
        requirement_constant=required * (inverse + sold),
    )


def is_full(policies: RiskPolicies) -> pl.Expr:
    """Whether a liquidation that is due would be a full one: at the lowest tiers, or where no tier is known."""
    if policies.liquidation == "all_at_once":
        return pl.lit(value=True)
    option, contract = (
        pl.lit(int(tier), pl.UInt16) for tier in (policies.full_tier_option, policies.full_tier_contract)
    )
    lowest = pl.when(pl.col("is_option") == 1).then(option).otherwise(contract)
    return (pl.col("tier") <= lowest).fill_null(value=True)


def tiers_of_contracts(tiers: pl.DataFrame | None, contracts: pl.DataFrame) -> pl.DataFrame | None:
    """The tiers (columns TIERS) of each contract under its own name: its own, or those of its family.

    Without a `tier_family` that is the pair its name begins with: BTC-USDT of BTC-USDT-SWAP.
    """
    if tiers is None:
        return None
    own = pl.col("tier_family").is_in(tiers["instrument"].unique().implode())
    family = pl.coalesce(pl.col("instrument").str.extract("^([^-]+-[^-]+)-"), "instrument")
    families = contracts.select(
        contract="instrument",
        instrument=pl.when(own | (pl.col("tier_family") != pl.col("instrument"))).then("tier_family").otherwise(family),
    )
    joined = families.join(tiers, on="instrument", how="inner", maintain_order="left_right")
    return joined.drop("instrument").rename({"contract": "instrument"}).select(tiers.columns)


def rated_contracts(rows: pl.DataFrame, tiers: pl.DataFrame | None, policies: RiskPolicies) -> pl.DataFrame:
    """The rows (instrument, time, contracts, both rates as marks state them) with `tier`, and the rates filled in."""
    asked = rows.select("instrument", "time", *_RATES, base_leg=ZERO, quote_leg=ZERO, size=pl.col("contracts").abs())
    found = with_rates(asked, tiers, policies)
    return rows.with_columns(found["tier"], *(found[name] for name in _RATES))


def _between_events(ledger: pl.DataFrame, positions: pl.DataFrame, as_at: datetime | None) -> pl.DataFrame:
    """The balances from each event of a life to its next one; `ends` is the next one's time."""
    live = ledger.filter(pl.col("direction").is_not_null(), pl.col("time") <= (as_at or NEVER)).rename(_BALANCES)
    of_next = [pl.col(name).ne_missing(pl.col(name).shift(-1)) for name in _STRETCH]
    last_part = live.filter(pl.any_horizontal(of_next))
    same_life = pl.all_horizontal(pl.col(name).eq_missing(pl.col(name).shift(-1)) for name in _LIFE)
    states = last_part.with_columns(ends=pl.when(same_life).then(pl.col("time").shift(-1)))
    known = positions.select(
        *_LIFE, "account", "instrument", "instrument_class", "position_side", "face_value", "multiplier", *_FLAGS
    )
    kept = states.filter(pl.col("action") != "close").select(
        *_STRETCH, "time", "ends", "settle_currency", *_BALANCES.values()
    )
    return kept.join(known, on=_LIFE, how="left", maintain_order="left")


def all_marks(marks: pl.DataFrame | None, as_at: datetime | None) -> pl.DataFrame:
    """The marks (columns MARKS) up to the time asked for, by instrument and time; none without a time."""
    rows = pl.concat([schema(MARKS).to_frame(), *([] if marks is None else [marks])], how="diagonal")
    rows = rows.with_columns(pl.col("time").fill_null(pl.lit(ALWAYS))).filter(pl.col("time") <= (as_at or NEVER))
    return rows.sort("instrument", "time")


def _stated_rates(marks: pl.DataFrame | None, as_at: datetime | None) -> pl.DataFrame:
    """The rates that marks state, by instrument: one row per time from which they are others than before."""
    same = [pl.col(name).eq_missing(pl.col(name).shift(1)) for name in ("instrument", *_RATES)]
    return all_marks(marks, as_at).select("instrument", "time", *_RATES).filter(~pl.all_horizontal(same))


def _changes(
    stated: pl.DataFrame, tiers: pl.DataFrame | None, marks: pl.DataFrame | None, as_at: datetime | None
) -> pl.DataFrame:
    """When the rates of an instrument may change: columns instrument and change; up to its last mark, or `as_at`."""
    found = [stated.select("instrument", "time")]
    if tiers is not None:
        found.append(tiers.select("instrument", time=pl.col("valid_from").cast(TIME)).drop_nulls())
    last = all_marks(marks, as_at).group_by("instrument").agg(last=pl.col("time").max())
    known = pl.concat(found).unique().join(last, on="instrument", how="inner")
    up_to = pl.col("last") if as_at is None else pl.lit(as_at).cast(TIME)
    return known.filter(pl.col("time") <= up_to).select("instrument", change="time")


def _cut(events: pl.DataFrame, changes: pl.DataFrame) -> pl.DataFrame:
    """The stretches between events, each cut at the changes within it: rows with `from_time`, in order."""
    numbered = events.with_row_index("stretch")
    within = numbered.join(changes, on="instrument", how="inner").filter(
        pl.col("change") > pl.col("time"), (pl.col("change") < pl.col("ends")).fill_null(value=True)
    )
    whole = numbered.with_columns(from_time="time")
    pieces = within.with_columns(from_time="change").select(whole.columns)
    return pl.concat([whole, pieces]).sort("stretch", "from_time").drop("stretch", "time")


def _with_stated(rows: pl.DataFrame, stated: pl.DataFrame) -> pl.DataFrame:
    """The rows with the rates that the mark in force at `from_time` states; `time` is that time from here on."""
    asked = rows.with_columns(time="from_time").with_row_index("place").sort("time")
    found = asked.join_asof(stated.sort("time"), on="time", by="instrument", check_sortedness=False)
    return found.sort("place").drop("place").with_columns(pl.col(name).cast(MONEY) for name in _RATES)
