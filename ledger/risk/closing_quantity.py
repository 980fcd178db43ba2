"""The quantity that closes a position: never less than what brings its settlement leg to zero (rules 2)."""

import polars as pl

from ledger.money import LARGEST, MONEY, SCALE, ZERO, from_units, units

_UNIT = pl.lit("1e-18").cast(MONEY)


def needed_quantity(settlement: pl.Expr, price: pl.Expr, fee_rate: pl.Expr, *, margin_is_base: pl.Expr) -> pl.Expr:
    """Base quantity of the order that closes a position, in all of its four cases; rounded up at the last decimal.

    `settlement` is the leg that is not in the margin currency, interest that is not yet charged included. What is owed
    (LB, SQ) is repaid out of what the order receives, which the fee makes smaller: L / (1 - f). What is held (LQ, SB)
    is given away whole. In quote (LB, SB) that is a value, which the price turns into a quantity. Empty where the
    quantity would not fit the money type.
    """
    net = settlement.abs()
    gross = pl.when(settlement < 0).then(_quotient_up(net, pl.lit(1).cast(MONEY) - fee_rate)).otherwise(net)
    fits = gross / LARGEST < price
    return pl.when(margin_is_base).then(_quotient_up(gross, pl.when(fits).then(price))).otherwise(gross)


def in_lots(quantity: pl.Expr, lot_size: pl.Expr) -> pl.Expr:
    """The quantity rounded up to whole lots; as it is where the lot size is empty."""
    lots = (units(quantity) + units(lot_size) - pl.lit(1, dtype=pl.Int128)) // units(lot_size)
    return pl.when(lot_size.is_null()).then(quantity).otherwise(from_units(lots * units(lot_size)))


def _quotient_up(amount: pl.Expr, divisor: pl.Expr) -> pl.Expr:
    """amount / divisor, rounded up at the 18th decimal; both are above zero, or the amount is zero.

    The quotient is rounded half-even first, and the remainder says whether that was down. Its two products wrap around
    at 2**128; their difference is at most half the divisor, so it comes out exact all the same.
    """
    nearest = amount / divisor
    remainder = units(amount) * pl.lit(10**SCALE, dtype=pl.Int128) - units(nearest) * units(divisor)
    return nearest + pl.when(remainder > pl.lit(0, dtype=pl.Int128)).then(_UNIT).otherwise(ZERO)
