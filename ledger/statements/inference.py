"""What a position snapshot does not say, read from its numbers: mode, margin currency and the rates of its tier.

A snapshot states assets, liability, margin and what follows from them. Each way to read it (old or new mode, base or
quote currency as margin) gives other legs, and so another floating PnL, other rates, another liquidation price. The
rates that an exchange uses are short decimals: a way to read the figures stands when they follow from such rates.
"""

from decimal import Decimal
from typing import Any

import polars as pl

from ledger.columns import DISPLAY, FLAG, MEASURES, MODES
from ledger.money import MONEY, ZERO

RATE_DECIMALS = 6
"""Decimals that a tier's maintenance rate or a fee rate has at most; real ones have 2 to 5 [V]."""
DOUBLE = Decimal("1e-13")
"""How far a double of the exchange may be off, relative to the numbers it comes from (rules.md 9 [V])."""
LAST_DIGIT = pl.lit("1e-15").cast(MONEY)
"""Doubles are printed with 16 decimals, of which the last is not sure [V]."""
_ONE = pl.lit(1).cast(MONEY)


def with_readings(snapshots: pl.DataFrame) -> pl.DataFrame:
    """The snapshots with `mode`, `margin_currency`, legs, `maintenance_rate`, `liquidation_fee_rate` and `inferred`.

    `snapshots` (columns SNAPSHOTS and `snapshot`, its number) holds open isolated positions whose direction is known;
    `known_margin` and `known_mode` are those of the ledger, where it has the position. One row per snapshot comes out,
    in order; `inferred` says in words what was read from the numbers. What is given is never overruled, only doubted
    in words (rules.md 1 and 4 [V]).
    """
    readings = _possible(snapshots).pipe(_with_legs).pipe(_with_rates).pipe(_with_doubts)
    given = pl.col("margin_is_base") == pl.col("known_base")
    as_known = given.cast(pl.Int8).fill_null(0) + (pl.col("mode") == pl.col("known_mode")).cast(pl.Int8).fill_null(0)
    ranked = readings.with_columns(as_known=as_known).sort(
        ["snapshot", "doubts", "as_known", "mode"], descending=[False, False, True, True], maintain_order=True
    )
    fits = pl.col("doubts") == pl.col("doubts").min().over("snapshot")
    ranked = ranked.with_columns(
        modes=pl.col("mode").filter(fits).n_unique().over("snapshot"),
        currencies=pl.col("margin_is_base").filter(fits).n_unique().over("snapshot"),
    )
    best = ranked.unique("snapshot", keep="first", maintain_order=True)
    return best.with_columns(inferred=_in_words(), margin_currency=_currency())


def _possible(snapshots: pl.DataFrame) -> pl.DataFrame:
    """One row per snapshot and way to read it that does not contradict what is given."""
    legs = pl.col("instrument").str.split_exact("-", 1)
    known = snapshots.with_columns(
        base_currency=legs.struct.field("field_0"),
        quote_currency=legs.struct.field("field_1"),
        is_long=(pl.col("direction") == "long").cast(FLAG),
        given_mode="mode",
        given_margin="margin_currency",
    )
    known = known.with_columns(
        known_base=(pl.coalesce("margin_currency", "known_margin") == pl.col("base_currency")).cast(FLAG),
        known_mode=pl.coalesce("mode", "known_mode"),
    )
    ways = pl.DataFrame(
        {"mode": list(MODES) * 2, "margin_is_base": [0, 0, 1, 1]},
        schema={"mode": pl.Enum(MODES), "margin_is_base": FLAG},
    )
    every = known.drop("mode").join(ways, how="cross", maintain_order="left")
    stated = pl.col("given_margin") == pl.when(pl.col("margin_is_base") == 1).then("base_currency").otherwise(
        "quote_currency"
    )
    return every.filter(stated.fill_null(value=True) & (pl.col("given_mode") == pl.col("mode")).fill_null(value=True))


def _with_legs(readings: pl.DataFrame) -> pl.DataFrame:
    """The legs, without the margin that the old mode shows among the assets, and what follows from them."""
    shows_margin = (pl.col("mode") == "old") & (pl.col("is_long") == pl.col("margin_is_base"))
    assets = pl.col("assets_shown") - pl.when(shows_margin).then(pl.col("margin").fill_null(ZERO)).otherwise(ZERO)
    owed = pl.col("liability_shown").fill_null(ZERO)
    interest = pl.col("interest").fill_null(ZERO)
    is_long = pl.col("is_long") == 1
    return readings.with_columns(
        base_leg=pl.when(is_long).then(assets).otherwise(owed),
        quote_leg=pl.when(is_long).then(owed).otherwise(assets),
        base_interest=pl.when(is_long).then(ZERO).otherwise(interest),
        quote_interest=pl.when(is_long).then(interest).otherwise(ZERO),
        initial_margin=pl.col("margin"),
        stated_pnl="floating_pnl",
        stated_maintenance="maintenance_margin",
        stated_ratio="margin_ratio",
        stated_liquidation="liquidation_price",
    )


def _with_rates(readings: pl.DataFrame) -> pl.DataFrame:
    """The shortest rates from which the stated maintenance margin and margin ratio follow; empty where none do."""
    for column in _measures("base_owed", "quote_owed", "margin_price", "net_value", "liability_value", "floating_pnl"):
        readings = readings.with_columns(column.expression())
    owed = pl.col("liability_value") / pl.col("margin_price")
    stated = pl.col("stated_maintenance")
    raw = stated / pl.when(owed > 0).then(owed)
    rate = _shortest(raw, lambda rate: _near(owed * rate, stated, stated.abs()))
    readings = readings.with_columns(maintenance_rate=rate)
    equity = pl.col("net_value") / pl.col("margin_price") + pl.col("margin")
    needed = equity / pl.when(pl.col("stated_ratio") > 0).then("stated_ratio")
    fee_base = owed * (_ONE + pl.col("maintenance_rate"))
    raw_fee = (needed - owed * pl.col("maintenance_rate")) / pl.when(fee_base > 0).then(fee_base)
    # Equity and requirement are differences and sums of doubles: their error is that of the largest of them.
    size = pl.max_horizontal(pl.col("net_value").abs() / pl.col("margin_price"), owed, "margin")
    found = _shortest(
        raw_fee,
        lambda fee: _near(
            equity,
            pl.col("stated_ratio") * owed * (pl.col("maintenance_rate") + (_ONE + pl.col("maintenance_rate")) * fee),
            size,
        ),
    )
    return readings.with_columns(liquidation_fee_rate=found, size=size)


def _with_doubts(readings: pl.DataFrame) -> pl.DataFrame:
    """How many of the stated figures do not follow from this way to read the snapshot, as `doubts`."""
    for column in _measures("requirement_rate", "liquidation_price"):
        readings = readings.with_columns(column.expression())
    stated = pl.col("stated_liquidation")
    gross = pl.max_horizontal(pl.col("base_owed").abs() * pl.col("mark_price"), pl.col("quote_owed").abs())
    doubts = [
        ~_near(pl.col("floating_pnl"), pl.col("stated_pnl"), gross / pl.col("margin_price")),
        pl.col("maintenance_rate").is_null() & pl.col("stated_maintenance").is_not_null(),
        pl.col("liquidation_fee_rate").is_null() & pl.col("stated_ratio").is_not_null(),
        ~_near(pl.col("liquidation_price"), stated, stated.abs())
        | (pl.col("liquidation_price").is_null() & stated.is_not_null()),
        pl.col("base_leg").is_null() | pl.col("quote_leg").is_null(),
    ]
    return readings.with_columns(
        doubts=pl.sum_horizontal(doubt.fill_null(value=False).cast(pl.Int8) for doubt in doubts)
    )


def _measures(*names: str) -> list[Any]:
    return [column for column in (*DISPLAY, *MEASURES) if column.name in names]


def _near(value: pl.Expr, stated: pl.Expr, size: pl.Expr) -> pl.Expr:
    """Whether two figures are the same double of numbers of that size, printed with 16 decimals."""
    largest = pl.max_horizontal(size.abs(), stated.abs())
    near: pl.Expr = (value - stated).abs() <= pl.lit(DOUBLE).cast(MONEY) * largest + LAST_DIGIT
    return near


def _shortest(raw: pl.Expr, fits: Any) -> pl.Expr:
    """The decimal with the fewest places near `raw` that fits; empty where none with RATE_DECIMALS does."""
    tries = [raw.round(decimals) for decimals in range(1, RATE_DECIMALS + 1)]
    return pl.coalesce(pl.when(fits(rate) & (rate >= 0)).then(rate) for rate in tries)


def _currency() -> pl.Expr:
    return pl.when(pl.col("margin_is_base") == 1).then("base_currency").otherwise("quote_currency")


def _in_words() -> pl.Expr:
    """What was inferred, and what could not be."""
    silent = pl.lit("")
    both = pl.col("is_long") != pl.col("margin_is_base")
    mode = (
        pl.when(pl.col("given_mode").is_not_null())
        .then(silent)
        .when(both)
        .then(pl.lit("modes alike"))
        .when(pl.col("modes") > 1)
        .then(pl.format("mode {} as in the ledger or by default: the figures fit both", "mode"))
        .otherwise(pl.format("mode {} inferred", "mode"))
    )
    margin = (
        pl.when(pl.col("given_margin").is_not_null())
        .then(silent)
        .when(pl.col("currencies") > 1)
        .then(pl.format("margin in {} as in the ledger or by default: the figures fit both", _currency()))
        .otherwise(pl.format("margin in {} inferred", _currency()))
    )
    rates = (
        pl.when(pl.col("maintenance_rate").is_not_null() & pl.col("liquidation_fee_rate").is_not_null())
        .then(
            pl.format(
                "maintenance {}, liquidation fee {}",
                _plain("maintenance_rate"),
                _plain("liquidation_fee_rate"),
            )
        )
        .when(pl.col("maintenance_rate").is_not_null())
        .then(pl.format("maintenance {}", _plain("maintenance_rate")))
        .otherwise(silent)
    )
    doubt = pl.when(pl.col("doubts") > 0).then(pl.lit("the stated figures do not all follow from each other"))
    words = pl.concat_list(mode, margin, rates, doubt.otherwise(silent)).list.eval(
        pl.element().filter(pl.element() != "")
    )
    return words.list.join("; ")


def _plain(rate: str) -> pl.Expr:
    return pl.col(rate).cast(pl.String).str.replace(r"\.?0+$", "")
