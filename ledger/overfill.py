"""A fill that does more than close the position: its closing part, what is left over, what opens the other way.

The closing part brings the settlement leg to exactly zero. Its fee is in proportion; the gross amount of the
settlement leg follows from the fee, that of the result leg from the price. What remains goes to the later parts, so
nothing is created or lost (rules.md 2).
"""

import polars as pl

from ledger.flows import settlement, with_leg_flows
from ledger.money import MONEY, ZERO, proportion

_AMOUNTS = ("quantity", "value", "fee")
SPLIT_READS = (
    *_AMOUNTS,
    "price",
    "booked",
    "margin_is_base",
    "is_trade",
    "never_opens",
    "buys",
    "fee_in_base",
    "fee_in_quote",
    "amount_in_base",
)
"""What of an event its split reads."""


def split_fills(fills: pl.DataFrame) -> pl.LazyFrame:
    """The parts of crossing fills: one row per part, each with its own quantity, value, fee, flows and `cost`.

    `fills` holds crossing rows of a settlement path beside their events. `part` 1 closes; a later one is left over
    or opens; `closes`, `opens` and `is_leftover` say which. `cost` is the value without the rounding that the value
    of an opening part, being a remainder, carries.
    """
    gross, base_settles = pl.col("gross"), ~pl.col("margin_is_base")
    # Where the other leg settles, the product or the quotient means nothing and need not fit the money type.
    value = pl.min_horizontal("value", gross * pl.when(base_settles).then("price"))
    quantity = pl.min_horizontal("quantity", gross / pl.when("margin_is_base").then("price"))
    parts = (
        fills.with_columns(close_fee=_closing_fee(fills))
        .lazy()
        .with_columns(gross=pl.col("settlement_before").abs() + _fee_in_settlement("close_fee"))
        .with_columns(
            close_quantity=pl.when(base_settles).then(gross).otherwise(quantity),
            close_value=pl.when(base_settles).then(value).otherwise(gross),
        )
        .with_columns(_left_over(name) for name in _AMOUNTS)
        .with_columns(_rest(name) for name in _AMOUNTS)
        .collect()  # once, for all three kinds of part
        .lazy()
    )
    leaves = pl.any_horizontal(pl.col(f"left_{name}") != 0 for name in _AMOUNTS)
    opens = pl.col("settlement_after") != 0
    return pl.concat(
        [
            _part(parts, "close", 1, "closes"),
            _part(parts.filter(leaves), "left", 2, "is_leftover"),
            _part(parts.filter(opens), "open", 2 + leaves.cast(pl.UInt8), "opens"),
        ]
    ).pipe(with_leg_flows)


def _part(fills: pl.LazyFrame, name: str, part: int | pl.Expr, flag: str) -> pl.LazyFrame:
    return fills.with_columns(
        *(pl.col(f"{name}_{amount}").alias(amount) for amount in _AMOUNTS),
        *(pl.lit(other == flag).alias(other) for other in ("closes", "is_leftover", "opens")),
        part=pl.lit(part, pl.UInt8) if isinstance(part, int) else part,
        settlement_before=pl.col("settlement_before") if flag == "closes" else ZERO,
        settlement_after=pl.col("settlement_after") if flag == "opens" else ZERO,
        cost=pl.col(f"{name}_quantity") * pl.col("price"),
    )


def _closing_fee(fills: pl.DataFrame) -> pl.Series:
    fee = fills["fee"]
    share = proportion(fee.abs(), fills["settlement_before"].abs(), fills["settlement_flow"].abs())
    return share * fee.sign().cast(MONEY)


def _fee_in_settlement(fee: str) -> pl.Expr:
    """What turns the net settlement flow of a part into its gross amount: the fee, if it is in that currency.

    A fee makes a receipt smaller and a payment larger.
    """
    paid = pl.when(settlement("fee_in_{leg}")).then(pl.col(fee)).otherwise(ZERO)
    return pl.when(pl.col("settlement_flow") > 0).then(paid).otherwise(-paid)


def _left_over(name: str) -> pl.Expr:
    rest = pl.col(name) - pl.col(f"close_{name}")
    left = pl.col(f"left_{name}").fill_null(ZERO)
    return pl.when("never_opens").then(rest).otherwise(left).alias(f"left_{name}")


def _rest(name: str) -> pl.Expr:
    return (pl.col(name) - pl.col(f"close_{name}") - pl.col(f"left_{name}")).alias(f"open_{name}")
