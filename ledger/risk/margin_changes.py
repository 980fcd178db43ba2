"""Every change of a position's margin or leverage, what it was before and after, and what the rules say (rules 5)."""

from datetime import UTC, datetime

import polars as pl

from ledger.checks import finding
from ledger.columns import FLAG, MARKS, MEASURES, TIME, Column, schema
from ledger.money import MONEY, ZERO
from ledger.positions import measured
from ledger.risk.columns import BALANCES, MARGIN_CHANGE_LOG, MARGIN_CHANGES
from ledger.risk.margin_rules import verdicts
from ledger.risk.policies import RiskPolicies
from ledger.risk.rates import with_rates
from ledger.risk.tiers import TIER_COLUMNS, tier_of

_ALWAYS = datetime(1, 1, 1, tzinfo=UTC)
_CHANGE = pl.Enum(MARGIN_CHANGES)
_POSTS = pl.col("action").is_in(["open", "increase"])
_LEGS = ("base", "quote")
_LOG = schema(MARGIN_CHANGE_LOG)
_CHAIN = (
    *("base_owed", "quote_owed", "margin_price", "net_value", "liability_value", "floating_pnl"),
    *("requirement_rate", "equity_value", "margin_ratio", "liquidation_price"),
)
_COMPUTED = tuple(column for column in MEASURES if column.name in _CHAIN)
"""The measures that are told of each side of a change, and what leads to them."""
_TOLD = ("equity", "margin_ratio", "liquidation_price")
_MARGIN_AFTER = next(column for column in MARGIN_CHANGE_LOG if column.name == "margin_after")
_KEY = ("position", "episode", "event_number", "part")


def margin_changes(
    ledger: pl.DataFrame,
    index: pl.DataFrame,
    marks: pl.DataFrame | None,
    tiers: pl.DataFrame | None,
    balances: pl.DataFrame | None,
    policies: RiskPolicies,
    as_at: datetime | None = None,
) -> pl.DataFrame:
    """One row per part of a ledger that changes a life's margin or leverage, in its order (columns MARGIN_CHANGE_LOG).

    These are fills that open or increase (an opening balance, too), and the kinds margin and leverage. What a close
    gives back is no change of the log, nor is a leverage stated while there is no position. `index` comes from
    `ordering.index_positions`; `marks` has the columns MARKS, `tiers` TIERS, `balances` BALANCES: of each the last row
    up to the time of the change is in force, and a mark or tier without a time from the beginning. Rows of the ledger
    after `as_at` are left out.

    Both sides of a change are valued at the mark in force, at the rates of the tier of that side's liability where
    the mark states none. Before an opening there is nothing to value. A recorded change has happened: refused means
    that the rules would not have allowed it (see `margin_rules.verdicts`).
    Raises BadInput when a value at a mark does not fit the money type.
    """
    changes = _changes(ledger, index, as_at)
    if changes.is_empty():
        return _LOG.to_frame()
    changes = in_force(changes, marks, MARKS, ("instrument",))
    changes = in_force(changes, balances, BALANCES, ("account", "currency"))
    changes = _valued(changes.rename({"currency": "margin_currency"}), tiers, policies)
    return verdicts(changes, policies).select(*_LOG)


def in_force(
    rows: pl.DataFrame, table: pl.DataFrame | None, columns: tuple[Column, ...], by: tuple[str, ...]
) -> pl.DataFrame:
    """The rows in their order with the amounts of the last row of a table up to their time, of the same `by`.

    A row of the table without a time is in force from the beginning. Where none is, the amounts are empty.
    """
    amounts = [column.name for column in columns if column.dtype == MONEY]
    known = pl.concat([schema(columns).to_frame(), *([] if table is None else [table])], how="diagonal")
    known = known.select("time", *by, *amounts).with_columns(pl.col("time").fill_null(pl.lit(_ALWAYS, TIME)))
    asked = rows.with_row_index("place").sort("time", maintain_order=True)
    found = asked.join_asof(
        known.sort("time", maintain_order=True), on="time", by=list(by), check_sortedness=False, coalesce=True
    )
    return found.sort("place").drop("place")


def _changes(ledger: pl.DataFrame, index: pl.DataFrame, as_at: datetime | None) -> pl.DataFrame:
    """The parts that change margin or leverage, with what `index` says of their positions and what they change."""
    same = pl.col("position") == pl.col("position").shift(1)
    before = pl.when(same & (pl.col("action") != "open")).then(pl.col("leverage").shift(1))
    rows = ledger.with_columns(leverage_before=before, leverage_after="leverage").filter(
        pl.col("direction").is_not_null() & (_POSTS | pl.col("kind").is_in(["margin", "leverage"]))
    )
    if as_at is not None:
        rows = rows.filter(pl.col("time") <= as_at)
    known = index.select(
        *("position", "account", "instrument", "base_currency", "quote_currency", "margin_is_base"),
        currency="margin_currency",
    )
    return rows.join(known, on="position", how="left", maintain_order="left").with_columns(
        margin_before="margin_opening",
        amount="margin_change",
        change=_kind_of_change(),
        is_long=(pl.col("direction") == "long").cast(FLAG),
        margin_is_base=pl.col("margin_is_base").cast(FLAG),
    )


def _kind_of_change() -> pl.Expr:
    """What a part changes. A leverage that was not stated before counts by the margin that its change moved."""
    amount = pl.col("margin_change")
    rise = (pl.col("leverage_after") - pl.col("leverage_before")).fill_null(-amount)
    return (
        pl.when(_POSTS)
        .then(pl.lit("posted", _CHANGE))
        .when(pl.col("kind") == "margin")
        .then(pl.when(amount < 0).then(pl.lit("reduced", _CHANGE)).otherwise(pl.lit("added", _CHANGE)))
        .when(rise > 0)
        .then(pl.lit("leverage_raised", _CHANGE))
        .when(rise < 0)
        .then(pl.lit("leverage_lowered", _CHANGE))
        .otherwise(pl.lit("leverage_kept", _CHANGE))
    )


def _valued(changes: pl.DataFrame, tiers: pl.DataFrame | None, policies: RiskPolicies) -> pl.DataFrame:
    """The changes with both sides valued, the tier that they come to, its maximum leverage, and what is owed in it."""
    sides = pl.concat([_side(changes, when) for when in ("opening", "closing")])
    sides = measured(with_rates(sides, tiers, policies), _COMPUTED)
    sides = sides.with_columns(equity=pl.col("floating_pnl") + pl.col("margin"))
    before, after = sides.head(changes.height), sides.tail(changes.height)
    was_open = changes["action"] != "open"
    return changes.drop("maintenance_rate", "liquidation_fee_rate").hstack(
        [
            *before.select(pl.when(was_open).then(name).alias(f"{name}_before") for name in _TOLD),
            *after.select(pl.col(_TOLD).name.suffix("_after"), "maintenance_rate", "requirement_rate", *_LOANS),
            *_tiers(after, tiers),
            changes.select(_MARGIN_AFTER.expression()).to_series(),
        ]
    )


_LOANS = ("base_loan", "quote_loan")


def _side(changes: pl.DataFrame, when: str) -> pl.DataFrame:
    """The state of each position before (`opening`) or after (`closing`) its change."""
    legs = {f"{leg}_leg": pl.col(f"{leg}_{when}") for leg in _LEGS}
    return changes.select(
        *("instrument", "time", "is_long", "margin_is_base", "mark_price", "maintenance_rate", "liquidation_fee_rate"),
        **legs,
        margin=f"margin_{when}",
        base_interest=ZERO,
        quote_interest=ZERO,
        **{f"{leg}_loan": pl.max_horizontal(-amount, ZERO) for leg, amount in zip(_LEGS, legs.values(), strict=True)},
    )


def _tiers(states: pl.DataFrame, tiers: pl.DataFrame | None) -> pl.DataFrame:
    """The tier of each state, its maximum leverage, and whether more is owed than the last tier allows."""
    if tiers is None:
        found = TIER_COLUMNS.to_frame().clear(states.height)
    else:
        found = tier_of(states.select("instrument", "time", *_LOANS), tiers)
    return found.select("tier", "above_tiers", maximum_leverage="tier_maximum_leverage")


def margin_change_checks(log: pl.DataFrame, ledger: pl.DataFrame) -> list[pl.DataFrame]:
    """The findings for a log (columns MARGIN_CHANGE_LOG) of a ledger.

    The margin of a life changes through the log only: at each row of a life the log's last margin is the ledger's,
    after the row, or before it where it closes the life; and each change starts from what the one before it came to,
    the first one from nothing. And no change is refused, of those that could be checked.
    """
    live = ledger.filter(pl.col("direction").is_not_null()).select(*_KEY, "event_id", *_MARGINS, "action")
    told = log.select(*_KEY, "margin_before", "margin_after")
    rows = live.join(told, on=_KEY, how="left", maintain_order="left").with_columns(
        life=(pl.col("action") == "open").cum_sum()
    )
    rows = rows.with_columns(so_far=pl.col("margin_after").forward_fill().over("life").fill_null(ZERO))
    rows = rows.with_columns(earlier=pl.col("so_far").shift(1, fill_value=ZERO).over("life"))
    due = pl.when(pl.col("action") == "close").then("margin_opening").otherwise("margin_closing")
    gap = (pl.col("margin_before") - pl.col("earlier")).fill_null(ZERO)
    apart = rows.select(pl.max_horizontal((pl.col("so_far") - due).abs(), gap.abs())).to_series()
    is_refused = (pl.col("verdict") == "refused").cast(pl.Int8).cast(MONEY)
    refused = log.select(pl.when(pl.col("verdict") != "not_checked").then(is_refused)).to_series()
    return [
        finding("margin_changes_add_up", rows.select(*_PLACE), apart),
        finding("margin_changes_are_allowed", log.select(*_PLACE), refused),
    ]


_PLACE = ("position", "event_id", "part")
_MARGINS = ("margin_opening", "margin_closing")
