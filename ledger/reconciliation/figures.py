"""The figures that are compared: what the ledger's is, what the exchange's is, and how exact the two can be."""

from dataclasses import dataclass

import polars as pl

from ledger.money import MONEY, ZERO

SNAPSHOT, NET, HISTORY, EVENTS = "snapshot", "balances", "history", "events"
"""What an exchange's figure is from: a position snapshot, balances by currency, its list of closed positions, or its
own events replayed."""


@dataclass(frozen=True)
class Figure:
    """`ours` is read from a state of the ledger, `stated` beside it. A double of the exchange has a `size`: that of
    the numbers it was computed from, to which its error is in proportion; an amount has none and is exact."""

    name: str
    of: str
    unit: pl.Expr
    ours: pl.Expr
    stated: pl.Expr
    size: pl.Expr | None = None


def _currency(of_base: pl.Expr) -> pl.Expr:
    return pl.when(of_base).then("base_currency").otherwise("quote_currency")


_LONG, _IN_BASE = pl.col("is_long") == 1, pl.col("margin_is_base") == 1
_ASSET, _OWED, _MARGIN = _currency(_LONG), _currency(~_LONG), _currency(_IN_BASE)
_OPPOSITE = (pl.col("is_long") != pl.col("is_long_stated")).fill_null(value=False)
_PRICE, _SHARE = pl.lit("quote per base"), pl.lit("share")
_GROSS = pl.max_horizontal(pl.col("base_owed").abs() * pl.col("mark_price"), pl.col("quote_owed").abs())
_GROSS_IN_MARGIN = _GROSS / pl.col("margin_price")
_NEEDED = pl.col("liability_value") * pl.col("requirement_rate")


def _per(numerator: pl.Expr, denominator: pl.Expr) -> pl.Expr:
    return numerator / pl.when(denominator > 0).then(denominator)


def _stated(name: str) -> pl.Expr:
    return pl.col(f"stated_{name}")


def _alike(name: str) -> pl.Expr:
    """What is stated, unless the two sides have the position in opposite directions, and so in other currencies."""
    return pl.when(~_OPPOSITE).then(_stated(name))


def _whole_life(name: str) -> pl.Expr:
    """A figure that depends on how the position was opened, which a balance brought forward does not tell."""
    return pl.when(~pl.col("is_brought_forward").fill_null(value=False)).then(name)


FIGURES = (
    Figure(
        "assets_shown",
        SNAPSHOT,
        _ASSET,
        pl.when(pl.col("mode") == "old").then("assets_shown_old").otherwise("assets_shown_new"),
        _alike("assets_shown"),
    ),
    Figure("liability_shown", SNAPSHOT, _OWED, pl.col("liability_shown"), _alike("liability_shown")),
    Figure("margin", SNAPSHOT, _MARGIN, pl.col("margin"), _stated("margin")),
    Figure("entry_price", SNAPSHOT, _PRICE, _whole_life("entry_price"), _alike("entry_price"), pl.col("entry_price")),
    Figure("floating_pnl", SNAPSHOT, _MARGIN, pl.col("floating_pnl"), _alike("floating_pnl"), _GROSS_IN_MARGIN),
    Figure(
        "floating_pnl_ratio",
        SNAPSHOT,
        _SHARE,
        _whole_life("floating_pnl_ratio"),
        _alike("floating_pnl_ratio"),
        _per(_GROSS_IN_MARGIN, pl.col("initial_margin")),
    ),
    Figure(
        "maintenance_margin",
        SNAPSHOT,
        _MARGIN,
        pl.col("maintenance_margin"),
        _alike("maintenance_margin"),
        pl.col("maintenance_margin"),
    ),
    Figure("margin_ratio", SNAPSHOT, _SHARE, pl.col("margin_ratio"), _alike("margin_ratio"), _per(_GROSS, _NEEDED)),
    Figure(
        "liquidation_price",
        SNAPSHOT,
        _PRICE,
        pl.col("liquidation_price"),
        _alike("liquidation_price"),
        pl.col("liquidation_price"),
    ),
    Figure("base_leg", SNAPSHOT, pl.col("base_currency"), pl.col("base_leg"), pl.when(_OPPOSITE).then("base_stated")),
    Figure(
        "quote_leg", SNAPSHOT, pl.col("quote_currency"), pl.col("quote_leg"), pl.when(_OPPOSITE).then("quote_stated")
    ),
    Figure(
        "base_net",
        NET,
        pl.col("base_currency"),
        pl.col("base_leg") + pl.when(_IN_BASE).then("margin").otherwise(ZERO),
        _stated("base_net"),
    ),
    Figure(
        "quote_net",
        NET,
        pl.col("quote_currency"),
        pl.col("quote_leg") + pl.when(_IN_BASE).then(ZERO).otherwise("margin"),
        _stated("quote_net"),
    ),
    Figure(
        "entry_price",
        HISTORY,
        _PRICE,
        # where one fill closed it and opened the opposite one, the state is that of the other already
        pl.when(pl.col("is_long") == pl.col("is_long_stated")).then("entry_price"),
        _stated("entry_price"),
        pl.col("entry_price"),
    ),
    # what the exchange counts in it is not stated; a figure of ours would be compared with another one
    Figure("realised_pnl", HISTORY, _MARGIN, pl.lit(None), _stated("realised_pnl"), pl.lit(0).cast(MONEY)),
    Figure("base_leg", EVENTS, pl.col("base_currency"), pl.col("base_leg"), _stated("base_leg")),
    Figure("quote_leg", EVENTS, pl.col("quote_currency"), pl.col("quote_leg"), _stated("quote_leg")),
    Figure("margin", EVENTS, _MARGIN, pl.col("margin"), _stated("margin")),
    Figure("account_base", EVENTS, pl.col("base_currency"), pl.col("account_base"), _stated("account_base")),
    Figure("account_quote", EVENTS, pl.col("quote_currency"), pl.col("account_quote"), _stated("account_quote")),
    Figure("interest_base", EVENTS, pl.col("base_currency"), pl.col("interest_base"), _stated("interest_base")),
    Figure("interest_quote", EVENTS, pl.col("quote_currency"), pl.col("interest_quote"), _stated("interest_quote")),
    Figure("fees_outside", EVENTS, pl.lit("third currencies"), pl.col("fees_outside"), _stated("fees_outside")),
)
"""In the order in which they are shown."""

STATED = tuple(
    dict.fromkeys(name for figure in FIGURES for name in figure.stated.meta.root_names() if name.startswith("stated_"))
)
"""Columns of the moments that hold the exchange's figures."""


def figures_of(states: pl.DataFrame, *keys: str | pl.Expr) -> pl.DataFrame:
    """One row per state and figure that its kind (`stated_by`) has: `keys`, `figure`, `unit`, `ours`, `stated`, `size`.

    `states` comes from `states.measured`, with the currencies of the pair. `size` is empty for an exact amount.
    """
    order = pl.int_range(pl.len()).alias("state_order")
    numbered = states.with_columns(order)
    found = [
        numbered.filter(pl.col("stated_by") == figure.of).select(
            *keys,
            "state_order",
            pl.lit(place).alias("figure_order"),
            pl.lit(figure.name).alias("figure"),
            figure.unit.cast(pl.String).alias("unit"),
            figure.ours.cast(MONEY).alias("ours"),
            figure.stated.cast(MONEY).alias("stated"),
            (pl.lit(None) if figure.size is None else figure.size.abs()).cast(MONEY).alias("size"),
        )
        for place, figure in enumerate(FIGURES)
    ]
    return pl.concat(found).sort("state_order", "figure_order").drop("state_order", "figure_order")
