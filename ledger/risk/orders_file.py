"""The orders file: orders that are only asked about."""

from collections.abc import Mapping
from pathlib import Path

import polars as pl

from ledger.columns import schema
from ledger.events import RULES
from ledger.feeds import canonical, read_feed
from ledger.money import MONEY
from ledger.refusals import BadInput
from ledger.risk.order_columns import ORDERS
from ledger.risk.order_replay import in_schema
from ledger.rules import Rule, broken_rules, refusals_of

REQUIRED = ("order_id", "account", "instrument", "margin_currency", "side", "quantity", "price")
"""Columns that a file must have and a row must fill. The others may be absent, which is the same as empty."""

_QUANTITY, _PRICE, _ONE = pl.col("quantity"), pl.col("price"), pl.lit(1).cast(MONEY)
_INSTRUMENT, _MARGIN = pl.col("instrument"), pl.col("margin_currency")
_AS_IN_EVENTS = (
    *("account_is_plain", "instrument_is_a_pair", "pair_has_two_currencies", "quantity_is_bounded", "price_is_bounded"),
    *("leverage_is_bounded", "quantity_is_positive", "price_is_positive", "leverage_is_at_least_one"),
    *("time_is_plausible", "value_is_bounded"),
)

ORDER_RULES: Mapping[str, Rule] = {
    **{name: RULES[name] for name in _AS_IN_EVENTS},
    "margin_currency_is_in_pair": Rule(
        "margin_currency",
        RULES["margin_currency_is_in_pair"].sentence,
        RULES["margin_currency_is_in_pair"].remedy,
        _MARGIN.is_in(["base", "quote"])
        | _INSTRUMENT.str.starts_with(_MARGIN + "-")
        | _INSTRUMENT.str.ends_with("-" + _MARGIN),
    ),
    "value_is_not_zero": Rule(
        "price",
        RULES["value_is_not_zero"].sentence,
        RULES["value_is_not_zero"].remedy,
        pl.min_horizontal(_QUANTITY, _ONE) * pl.min_horizontal(_PRICE, _ONE) > 0,
    ),
    "fee_rate_is_a_share": Rule(
        "fee_rate",
        "A fee_rate is a share: above -1 and below 1.",
        "Write 0.1 % as 0.001, a rebate of it as -0.001.",
        pl.col("fee_rate").abs() < 1,
    ),
    "order_is_given_once": Rule(
        "order_id",
        "An order_id stands once.",
        "Remove the repeated order, or give different orders different names.",
        pl.col("order_id").is_first_distinct(),
    ),
}
"""Every rule of an order by itself."""

FEEDS = (canonical(ORDERS, REQUIRED, known_by=tuple(schema(ORDERS))),)
"""The layouts that are read."""


def read_orders(path: str | Path) -> pl.DataFrame:
    """The orders of a CSV, Parquet, NDJSON or JSON file: a frame of ORDERS in the order of the file.

    The margin currency comes out as a code; an order that does not say whether it is reduce-only is not. Raises
    BadInput with all refusals.
    """
    found = read_feed(Path(path), FEEDS, ORDERS, ORDER_RULES)
    if found.refusals.height:
        raise BadInput(found.refusals)
    return completed(found.rows)


def refuse_broken(orders: pl.DataFrame, name: str) -> None:
    """Raise BadInput for orders (columns ORDERS) that break a rule; `name` stands in place of a file."""
    rows = orders.with_row_index("row", offset=1)
    empty = [
        Rule(column, f"Every order needs {column}.", "State it.", pl.col(column).is_not_null()) for column in REQUIRED
    ]
    rules = {**{rule.column: rule for rule in empty}, **ORDER_RULES}
    refusals = refusals_of(name, rows, broken_rules(rows, rules, []))
    if refusals.height:
        raise BadInput(refusals)


def completed(orders: pl.DataFrame) -> pl.DataFrame:
    """Orders with every column of ORDERS in its type: absent ones empty, the margin currency a code."""
    legs = _INSTRUMENT.str.splitn("-", 2).struct
    code = pl.when(_MARGIN == "base").then(legs.field("field_0")).when(_MARGIN == "quote").then(legs.field("field_1"))
    return in_schema(orders, schema(ORDERS)).with_columns(
        pl.col("reduce_only").fill_null(value=False), margin_currency=code.otherwise(_MARGIN)
    )
