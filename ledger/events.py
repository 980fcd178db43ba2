"""The canonical events as a schema: types from the registry of columns, and the rules of a row.

A rule's name, the column it blames, its sentence and its remedy stand in one table; the schema is made of it.
"""

import types
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import dataframely as dy
import polars as pl

from ledger.columns import EVENTS, TIME, Column
from ledger.money import LARGEST, LARGEST_DIGITS, MONEY
from ledger.policies import Policies
from ledger.rules import Rule

REQUIRED = ("time", "event_id", "account", "instrument", "mode", "margin_currency", "kind")
"""Columns that a file must have and a row must fill. The others may be absent, which is the same as empty."""

TRADES = ("fill", "liquidation", "opening")
"""Kinds that move both legs. An opening balance has the shape of a fill."""

_ON_A_LEG = ("interest", "adjustment")
_CODE = "[A-Z0-9]{1,20}"
_FIRST, _LAST = datetime(2009, 1, 1, tzinfo=UTC), datetime(2101, 1, 1, tzinfo=UTC)

_kind, _quantity, _price, _fee, _amount = (pl.col(name) for name in ("kind", "quantity", "price", "fee", "amount"))
_instrument, _margin_currency, _currency = (pl.col(name) for name in ("instrument", "margin_currency", "currency"))
_ONE = pl.lit(1).cast(MONEY)
_legs = _instrument.str.splitn("-", 2)


def _is_base(code: pl.Expr) -> pl.Expr:
    return _instrument.str.starts_with(code + "-")


def _is_quote(code: pl.Expr) -> pl.Expr:
    return _instrument.str.ends_with("-" + code)


def _in_pair(code: pl.Expr) -> pl.Expr:
    return _is_base(code) | _is_quote(code)


def _value() -> pl.Expr:
    # A product that does not fit the type would stop the whole column, so it is taken only where it fits.
    # Below one unit the price alone decides that; above, the quotient itself fits.
    too_large = _price.abs() > pl.lit(LARGEST).cast(MONEY) / pl.max_horizontal(_quantity.abs(), _ONE)
    return pl.when(too_large).then(pl.lit(LARGEST).cast(MONEY)).otherwise(pl.when(~too_large).then(_quantity) * _price)


def _plain(column: str) -> Rule:
    return Rule(
        column,
        "An identifier has no blank at its ends and no invisible character.",
        "Remove blanks, line breaks, byte order marks and control characters.",
        pl.col(column).str.contains(r"^[^\p{C}\s]([^\p{C}]*[^\p{C}\s])?$"),
    )


def _code(column: str) -> Rule:
    return Rule(
        column,
        "A currency is a code of 1 to 20 capital letters and digits.",
        "Write the code as in the instrument, for example USDT.",
        pl.col(column).str.contains(f"^{_CODE}$"),
    )


def bounded(column: str) -> Rule:
    """The rule that an amount has a size the money type can be added up in."""
    return Rule(
        column,
        f"An amount has at most {LARGEST_DIGITS} digits before the point.",
        "Check its unit.",
        pl.col(column).abs() < LARGEST,
    )


def _positive(column: str, unless: pl.Expr | None = None) -> Rule:
    return Rule(
        column,
        f"A {column} is above zero.",
        "Give what was traded, without a sign; the side says the direction.",
        (pl.col(column) > 0) if unless is None else unless | (pl.col(column) > 0),
    )


def needed(column: str, kinds: tuple[str, ...]) -> Rule:
    """The rule that rows of these kinds have the column."""
    words = " or ".join(kinds)
    return Rule(
        column,
        f"A row of kind {words} needs {column}.",
        "Fill it in.",
        ~_kind.is_in(kinds) | pl.col(column).is_not_null(),
    )


def unused(column: str, kinds: tuple[str, ...], empty: pl.Expr | None = None) -> Rule:
    """The rule that only rows of these kinds have the column; `empty` says what counts as having none."""
    return Rule(
        column,
        f"Only a row of kind {' or '.join(kinds)} has {column}; elsewhere it would be ignored.",
        "Leave it empty, or mend the kind.",
        _kind.is_in(kinds) | (pl.col(column).is_null() if empty is None else empty.fill_null(True)),
    )


RULES: Mapping[str, Rule] = {
    "time_is_plausible": Rule(
        "time",
        "A time lies in the years 2009 to 2100.",
        "Check its unit: epoch times count milliseconds.",
        pl.col("time").is_between(pl.lit(_FIRST, dtype=TIME), pl.lit(_LAST, dtype=TIME), closed="left"),
    ),
    "event_id_is_plain": _plain("event_id"),
    "account_is_plain": _plain("account"),
    "instrument_is_a_pair": Rule(
        "instrument",
        "An instrument is BASE-QUOTE, two currency codes of capital letters and digits.",
        "Write it as BTC-USDT.",
        _instrument.str.contains(f"^{_CODE}-{_CODE}$"),
    ),
    "pair_has_two_currencies": Rule(
        "instrument",
        "Base and quote of an instrument are different currencies.",
        "Name the pair that was traded.",
        _legs.struct.field("field_0") != _legs.struct.field("field_1"),
    ),
    "margin_currency_is_in_pair": Rule(
        "margin_currency",
        "The margin currency is `base`, `quote`, or the code of one of the two.",
        "Choose the one in which the position's margin is held.",
        _in_pair(_margin_currency),
    ),
    "quantity_is_bounded": bounded("quantity"),
    "price_is_bounded": bounded("price"),
    "fee_is_bounded": bounded("fee"),
    "leverage_is_bounded": bounded("leverage"),
    "amount_is_bounded": bounded("amount"),
    "quantity_is_positive": _positive("quantity"),
    "value_is_positive": _positive("value", unless=_kind == "opening"),
    "price_is_positive": _positive("price"),
    "leverage_is_at_least_one": Rule(
        "leverage", "A leverage is at least 1.", "State the leverage of the position.", pl.col("leverage") >= 1
    ),
    "fee_currency_is_a_code": _code("fee_currency"),
    "currency_is_a_code": _code("currency"),
    "side_is_needed": needed("side", TRADES),
    "quantity_is_needed": needed("quantity", TRADES),
    "price_is_needed": needed("price", TRADES),
    "value_is_needed": needed("value", ("opening",)),
    "leverage_is_needed": needed("leverage", ("leverage",)),
    "amount_is_needed": needed("amount", ("interest", "margin", "opening", "adjustment")),
    "currency_is_needed": needed("currency", ("interest", "adjustment")),
    "reason_is_needed": needed("reason", ("adjustment",)),
    "reason_is_plain": _plain("reason"),
    "side_is_unused": unused("side", TRADES),
    "quantity_is_unused": unused("quantity", TRADES),
    "price_is_unused": unused("price", TRADES),
    "value_is_unused": unused("value", TRADES),
    "fee_is_unused": unused("fee", ("fill", "liquidation"), _fee == 0),
    "fee_currency_is_unused": unused("fee_currency", ("fill", "liquidation")),
    "leverage_is_unused": unused("leverage", ("fill", "leverage", "opening")),
    "reduce_only_is_unused": unused("reduce_only", ("fill", "liquidation"), ~pl.col("reduce_only")),
    "booked_value_is_bounded": bounded("value"),
    "value_is_bounded": Rule(
        "price",
        f"Quantity times price has at most {LARGEST_DIGITS} digits before the point.",
        "Check the units of quantity and price.",
        _value() < LARGEST,
    ),
    "value_is_not_zero": Rule(
        "price",
        "Quantity times price is above zero when rounded to 18 decimals.",
        "Check the units of quantity and price.",
        # at most the real value, zero when that is, and never too large for the type
        (_kind == "opening") | (pl.min_horizontal(_quantity.abs(), _ONE) * pl.min_horizontal(_price.abs(), _ONE) > 0),
    ),
    "fee_has_currency": Rule(
        "fee_currency",
        "A fee other than zero needs its currency.",
        "Name the currency in which the fee was charged.",
        (_fee == 0) | pl.col("fee_currency").is_not_null(),
    ),
    "fee_is_below_fill": Rule(
        "fee",
        "A fee is smaller than what was traded in its currency.",
        "Check the unit of the fee: it is an amount, not a rate.",
        pl.when(_is_base(pl.col("fee_currency")))
        .then(_fee.abs() < _quantity)
        .when(_is_quote(pl.col("fee_currency")))
        .then(_fee.abs() < pl.coalesce("value", _value())),
    ),
    "amount_is_not_negative": Rule(
        "amount",
        "Interest, a recorded or opening margin and a liquidation's residual are not negative.",
        "Give its size; only a margin or leverage event or an adjustment may take something out.",
        _kind.is_in(("margin", "leverage", "adjustment")) | (_amount >= 0),
    ),
    "interest_is_in_pair": Rule(
        "currency",
        "Interest and adjustments are in one of the instrument's two currencies.",
        "Name the currency of the leg.",
        ~_kind.is_in(_ON_A_LEG) | _in_pair(_currency),
    ),
    "amount_is_in_margin_currency": Rule(
        "currency",
        "An amount other than interest or an adjustment is in the margin currency.",
        "Convert it, mend the currency, or leave the currency empty.",
        _kind.is_in(_ON_A_LEG) | (_currency == _margin_currency),
    ),
}
"""Every rule of a row that needs no other row."""

PAIR_FEE_RULES: Mapping[str, Rule] = {
    "fee_is_in_pair": Rule(
        "fee_currency",
        "Under policy fee_outside_pair=refuse a fee is in one of the instrument's two currencies.",
        "Choose the policy fee_outside_pair=keep_apart, or mend the currency.",
        (_fee == 0) | _in_pair(pl.col("fee_currency")),
    )
}


def rules_for(policies: Policies) -> Mapping[str, Rule]:
    """The rules in force, by name."""
    return {**RULES, **PAIR_FEE_RULES} if policies.fee_outside_pair == "refuse" else RULES


def _schema_column(column: Column) -> dy.Column:
    nullable = column.name not in (*REQUIRED, "reduce_only")
    if column.dtype == TIME:
        return dy.Datetime(nullable=nullable, time_unit="us", time_zone="UTC")
    if column.dtype == MONEY:
        return dy.Decimal(MONEY.precision, MONEY.scale, nullable=nullable)
    if column.dtype == pl.Boolean:
        return dy.Bool(nullable=nullable)
    if column.dtype == pl.String:
        return dy.String(nullable=nullable)
    return dy.Enum(column.dtype.categories, nullable=nullable)


def _schema_rule(holds: pl.Expr) -> Any:
    return dy.rule()(lambda _schema: holds)


def _schema(name: str, rules: Mapping[str, Rule]) -> type[dy.Schema]:
    body: dict[str, Any] = {column.name: _schema_column(column) for column in EVENTS}
    body |= {rule: _schema_rule(rules[rule].holds) for rule in rules}
    return types.new_class(name, (dy.Schema,), exec_body=lambda namespace: namespace.update(body))


Events = _schema("Events", RULES)
"""The canonical events, in which the margin currency is a code and `reduce_only` is never empty."""

PairFeeEvents = _schema("PairFeeEvents", {**RULES, **PAIR_FEE_RULES})
"""The canonical events under policy fee_outside_pair=refuse."""


def schema_for(policies: Policies) -> type[dy.Schema]:
    """The schema with the rules in force."""
    return PairFeeEvents if policies.fee_outside_pair == "refuse" else Events
