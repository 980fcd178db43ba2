"""Rates as an exchange's rows print them: cut to 16 decimals, though interest is charged at the full quotient.

The API documentation's own sample of accrued interest is charged at a 24th of 0.0098 % a day, and prints that hourly
rate with 16 decimals; only the quotient gives the charge [V].
"""

import polars as pl

from ledger.interest.columns import UNITS
from ledger.money import MONEY, SCALE, from_units, units

_PRINTED = 14
"""A rate with so many decimals is taken for a cut-off quotient, if one of few decimals is near enough."""
_QUOTIENTS = {"daily": (24, 10), "annual": (8760, 8)}
"""Of what an hourly rate can be the quotient, its divisor, and the decimals such a rate has at most."""
_LAST = 16
_UNIT = pl.Enum(list(UNITS))


def exact_rates(rate: pl.Series, unit: pl.Series) -> pl.DataFrame:
    """`rate` and `unit` as they were charged: the daily or annual rate of which a printed hourly one is the quotient.

    A rate stays as it is unless it has 14 decimals or more and a short daily (else annual) rate gives all of them.
    """
    rows = pl.DataFrame({"rate": rate, "unit": unit.cast(_UNIT)})
    is_long = (units(pl.col("rate")) % pl.lit(10 ** (SCALE - _PRINTED + 1), pl.Int128)) != 0
    for name, (parts, decimals) in _QUOTIENTS.items():
        grid = 10 ** (SCALE - decimals)
        whole = (units(pl.col("rate")) * parts + grid // 2) // grid * grid
        near = (whole - units(pl.col("rate")) * parts).abs() <= parts * 10 ** (SCALE - _LAST)
        holds = is_long & near & (pl.col("unit") == "hourly")
        rows = rows.with_columns(
            rate=pl.when(holds).then(from_units(whole)).otherwise("rate").cast(MONEY),
            unit=pl.when(holds).then(pl.lit(name, _UNIT)).otherwise("unit"),
        )
    return rows


def in_likely_units(rates: pl.DataFrame) -> pl.DataFrame:
    """The rates with the unit in which each is near to both beside it, where in its own it is far off both.

    `rates` has `rate`, `unit` and `loan`, in order. Near is two thirds to three halves, far is twelve times: rates
    move from hour to hour, but not 24-fold and back. The first and the last of a loan stay as they are.
    """
    value, hours = units(pl.col("rate")), pl.col("unit").replace_strict(UNITS, return_dtype=pl.Int128)
    found = rates.with_columns(value=value, hours=hours, likely=pl.col("unit"))
    beside = [(_beside("value", step), _beside("hours", step)) for step in (1, -1)]
    far = pl.all_horizontal(
        _apart(pl.col("value"), pl.col("hours"), *other, share=(12, 1)).fill_null(value=False) for other in beside
    )
    for unit in ("hourly", "daily", "annual"):
        per = pl.lit(UNITS[unit], pl.Int128)
        near = pl.all_horizontal(~_apart(pl.col("value"), per, *other, share=(3, 2)) for other in beside)
        found = found.with_columns(
            likely=pl.when(far & near.fill_null(value=False)).then(pl.lit(unit, _UNIT)).otherwise("likely")
        )
    return found.with_columns(unit="likely").drop("value", "hours", "likely")


def _beside(name: str, step: int) -> pl.Expr:
    """The value of the row before (1) or after (-1), if it is of the same loan."""
    return pl.when(pl.col("loan") == pl.col("loan").shift(step)).then(pl.col(name).shift(step))


def _apart(value: pl.Expr, hours: pl.Expr, other: pl.Expr, other_hours: pl.Expr, share: tuple[int, int]) -> pl.Expr:
    """True where one rate an hour is more than that share of the other; empty where there is no other."""
    mine, others, (more, less) = value * other_hours, other * hours, share
    return (mine * less > others * more) | (others * less > mine * more)
