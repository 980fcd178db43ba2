"""What only the course of a contract position can show to be wrong."""

from collections.abc import Mapping

import polars as pl

from ledger.derivatives.rules import MOST, bounded_product
from ledger.money import INTEGER_DIGITS, LARGEST, LARGEST_DIGITS, ZERO
from ledger.refusals import REFUSAL_SCHEMA
from ledger.sequence_rules import SequenceRule

_kind, _amount = pl.col("kind"), pl.col("amount").fill_null(ZERO)
_before, _after = pl.col("contracts_before"), pl.col("contracts_after")
_HEDGED = pl.when(pl.col("position_side") == "long").then(1).when(pl.col("position_side") == "short").then(-1)
_posts_any = pl.col("posts") | (pl.col("turns") & (pl.col("part") == 1))

_RULES = (
    SequenceRule(
        "kind",
        "A liquidation, margin and a change of margin by leverage need an open position.",
        "Include the fills that opened the position.",
        (_before == 0) & (_kind.is_in(("liquidation", "margin")) | ((_kind == "leverage") & (_amount != 0))),
    ),
    SequenceRule(
        "side",
        "A liquidation goes against the position.",
        "Turn the side round.",
        (_kind == "liquidation") & (_before != 0) & pl.col("posts"),
    ),
    SequenceRule(
        "quantity",
        "A liquidation closes at most the position.",
        "Check the quantity, and that all fills are included.",
        (_kind == "liquidation") & (_before.sign() * _after.sign() < 0),
    ),
    SequenceRule(
        "quantity",
        "In hedge mode a long is opened by buying, a short by selling, and neither turns round.",
        "Give the position_side of the fill, and include all fills.",
        _after.sign() * _HEDGED < 0,
    ),
    SequenceRule(
        "amount",
        "The margin of a position cannot fall below zero.",
        "Check the sign and the size of the amount, and that earlier margin events are included; or choose"
        " funding=account.",
        pl.col("margin") < 0,
    ),
    SequenceRule(
        "leverage",
        "A fill that opens or increases a position needs a leverage or its recorded initial margin; that of a sold"
        " option is always recorded.",
        "Give leverage on this or an earlier event of the position, or amount on this fill.",
        (_kind == "fill") & pl.col("posts") & pl.col("initial_margin").is_null(),
    ),
    SequenceRule(
        "amount",
        "Only a fill that opens or increases a position posts initial margin.",
        "Leave amount empty on fills that reduce or close.",
        (_kind == "fill") & ~_posts_any & (_amount != 0),
    ),
)


def sequence_refusals(parts: pl.DataFrame, files: Mapping[int, str]) -> pl.DataFrame:
    """The refusals (REFUSAL_SCHEMA) that the parts of `course.parts_of` show; `files` names the inputs by number."""
    once = pl.col("part") == 1
    found = [
        _refused(parts.filter((once | pl.col("turns")) & rule.broken.fill_null(value=False)), rule, files)
        for rule in _RULES
    ]
    return pl.concat([REFUSAL_SCHEMA.to_frame(), *found])


_UNKNOWN = SequenceRule(
    "instrument",
    "The contract of an event is among the contracts: its size and class decide every amount.",
    "Add it to the contracts, or leave the event out.",
    pl.col("contract_size").is_null(),
)


def size_refusals(events: pl.DataFrame, files: Mapping[int, str]) -> pl.DataFrame:
    """The refusals of events whose contract is not known, or whose value does not fit the money type.

    `events` comes from `course.with_positions`. Every total is at most the count of rows times the largest amount; a
    fill can take its value, margin, fee and a release: four times is enough.
    """
    size = bounded_product(pl.col("quantity"), pl.col("contract_size"))
    price = pl.col("price")
    least = size / LARGEST
    inverse = pl.when(price > least).then(size / pl.max_horizontal(price, least)).when(size.is_not_null()).then(MOST)
    value = pl.when("is_inverse").then(inverse).otherwise(bounded_product(size, price))
    amounts = pl.max_horizontal("quantity", size, value, pl.col("fee").abs(), pl.col("amount").abs())
    largest = events.select(pl.col("input", "row", "price"), largest=amounts.fill_null(ZERO))
    limit = min(LARGEST, 10**INTEGER_DIGITS // (4 * max(events.height, 1)))
    too_large = SequenceRule(
        "price",
        f"The value of a fill has at most {LARGEST_DIGITS} digits before the point, and all together stay below 10^20.",
        "Check the units of quantity, price and face value.",
        pl.col("largest") >= limit,
    )
    unknown = _refused(events.filter(_UNKNOWN.broken), _UNKNOWN, files)
    return pl.concat([unknown, _refused(largest.filter(too_large.broken), too_large, files)])


def _refused(rows: pl.DataFrame, rule: SequenceRule, files: Mapping[int, str]) -> pl.DataFrame:
    return rows.select(
        file=pl.col("input").replace_strict(dict(files), default="derivative events", return_dtype=pl.String),
        row="row",
        column=pl.lit(rule.column),
        value=pl.col(rule.column).cast(pl.String),
        rule=pl.lit(rule.rule),
        remedy=pl.lit(rule.remedy),
    ).cast(REFUSAL_SCHEMA)
