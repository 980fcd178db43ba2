"""The one money type, and the two roundings the replay needs.

Every amount is a decimal with 18 places and 20 integer digits. Sums and differences of such numbers are exact; a
product or a quotient is rounded once, half-even, at the 18th place (rules.md 9).
"""

import functools

import polars as pl

SCALE = 18
MONEY = pl.Decimal(38, SCALE)
INTEGER_DIGITS = 38 - SCALE
"""Digits before the point. The sum of the absolute amounts of one position must stay below 10**20."""

LARGEST_DIGITS = 17
LARGEST = 10**LARGEST_DIGITS
"""Every amount that is read, and every quantity times price, is below this. Money holds 10**20, so the sums of a
position with a thousand of the largest events fit, and so does every split of a fill (see `proportion`)."""

ZERO = pl.lit("0").cast(MONEY)
_ONE_UNIT = pl.lit("1e-18").cast(MONEY)


def units(amount: pl.Expr) -> pl.Expr:
    """The amount as an integer count of its smallest unit, 10**-18."""
    return amount.to_physical()


def from_units(count: pl.Expr) -> pl.Expr:
    """The inverse of `units`, for counts of at most 38 digits."""
    return count.cast(pl.Decimal(38, 0)) * _ONE_UNIT


def in_digits(amount: pl.Expr) -> pl.Expr:
    """The amount as text, with all its digits and no zero that says nothing."""
    text: pl.Expr = amount.cast(pl.String).str.replace(r"(\.[0-9]*?)0+$", "${1}").str.strip_suffix(".")
    return text


def proportion(amount: pl.Series, part: pl.Series, whole: pl.Series) -> pl.Series:
    """`amount * part / whole` rounded once, half-even, at the 18th place, for each row of three money columns.

    Needs 0 <= part <= whole, 0 < whole < 10**19 and 0 <= |amount| < 10**17. The product can need 76 digits, which no
    column type holds. So the quotient `part / whole` is taken to 36 places in two steps, which leaves the result wrong
    by at most one unit, and the remainder of the long division says by which. The products in the remainders wrap
    around at 2**128; their *difference* is smaller than 2 `whole`, so it comes out exact all the same.
    """
    columns = pl.LazyFrame({"amount": amount, "part": part, "whole": whole})
    a, p, w, share, near = (pl.col(name) for name in ("amount", "part", "whole", "share", "near"))
    rest_of_part = from_units(units(p) * _integer(10**SCALE) - units(share) * units(w))
    return (
        columns.with_columns(share=p / w)
        .with_columns(near=a * share + a * (rest_of_part / w) * _ONE_UNIT)
        .with_columns(remainder=units(a) * units(p) - units(near) * units(w))
        .select(near + _nearest_step(pl.col("remainder"), units(w), units(near)))
        .collect()
        .to_series()
    )


def since(start: str, flow: str, total: str) -> pl.Expr:
    """The sum of the flows since the row whose number stands in the column `start`, that row included.

    `total` names the cumulative sum of the column `flow`. One sum over the whole frame less its value before the
    start costs a fraction of a sum per group, and is as exact.
    """
    return pl.col(total) - (pl.col(total) - pl.col(flow)).gather(pl.col(start))


def divide(numerator: int, denominator: int) -> int:
    """The quotient of two integers, rounded half-even; the denominator is above zero."""
    quotient, remainder = divmod(abs(numerator), denominator)
    quotient += 2 * remainder > denominator or (2 * remainder == denominator and quotient % 2)
    return quotient if numerator >= 0 else -quotient


def _nearest_step(remainder: pl.Expr, whole: pl.Expr, quotient: pl.Expr) -> pl.Expr:
    """What brings the quotient to the nearest unit: one unit up, one down or nothing; ties to even."""
    twice, is_odd = remainder * _integer(2), (quotient & _integer(1)) == _integer(1)
    up = (twice > whole) | ((twice == whole) & is_odd)
    down = (twice + whole < _integer(0)) | ((twice + whole == _integer(0)) & is_odd)
    return pl.when(up).then(_ONE_UNIT).when(down).then(-_ONE_UNIT).otherwise(ZERO)


@functools.cache
def _integer(value: int) -> pl.Expr:
    return pl.lit(value, dtype=pl.Int128)
