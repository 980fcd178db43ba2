"""Every charge that is due on a liability path: its moment, its rate, and by the policy its amount."""

import polars as pl

from ledger.interest.charging import Moments, charge_on, charges
from ledger.interest.columns import RATE_UNITS, UNITS
from ledger.interest.moments import moments_due
from ledger.interest.policy import InterestPolicy
from ledger.interest.rates import SCOPE, Rates
from ledger.money import LARGEST, MONEY, SCALE, ZERO, from_units, units
from ledger.refusals import refuse_file

_UNIT = pl.Int128
RATE_UNIT = pl.Enum(RATE_UNITS)
_HOURS = {**UNITS, "once": 1}
_OF_PATH = ("position", "episode", *SCOPE, "row", "level", "repaid_so_far")


def dues(path: pl.DataFrame, policy: InterestPolicy) -> pl.DataFrame:
    """One row per charge due on a path (see `moments.liability_path`), in its order.

    Position, episode, account, instrument, currency; `after`, the `row` of the path it follows; `loan`, the number of
    the life of the position; `time`, `charge`, `rate_time` and `fixed` as in `moments.moments_due`; `level` and
    `repaid_so_far` of the path.
    """
    moments = moments_due(path, policy)
    return (
        moments.hstack(path.select(_OF_PATH)[moments["place"]])
        .rename({"row": "after"})
        .with_columns(loan=pl.struct("position", "episode").rle_id())
        .drop("place")
    )


def with_rates(due: pl.DataFrame, rates: Rates, policy: InterestPolicy, required: bool = True) -> pl.DataFrame:
    """The charges due with `rate`, `rate_unit` and `rate_row`; raises BadInput where one is required and not known."""
    loans = due.select("loan", *SCOPE).unique("loan", keep="first", maintain_order=True)
    loan = due.select(pl.col("loan").rle_id()).to_series()
    is_fee = due["charge"] == "opening_fee"
    found = rates.in_force(loans, loan, due["rate_time"], required=~is_fee if required else None)
    return due.hstack(
        found.select(
            rate=pl.when(is_fee).then(pl.lit(policy.opening_fee, MONEY)).otherwise("rate"),
            rate_unit=pl.when(is_fee).then(pl.lit("once")).otherwise(pl.col("unit").cast(pl.String)).cast(RATE_UNIT),
            rate_row=pl.when(~is_fee).then("rate_row"),
        )
    )


def with_charges(due: pl.DataFrame, policy: InterestPolicy) -> pl.DataFrame:
    """The charges due with `liability`, what each is on, and `computed`, its amount by the policy.

    Raises BadInput where interest outgrows the money type.
    """
    rows = due.select(
        level=units(pl.col("level")),
        repaid=units(pl.col("repaid_so_far")),
        fixed=units(pl.col("fixed")).fill_null(0),
        free=pl.col("fixed").is_null().cast(_UNIT),
        rate=_rate(policy),
        hours=_hours(),
    )
    too_large = refuse_file("rates", "Interest outgrows what an amount can be.", "Check the rates and their units.")
    try:
        found = charges(Moments(rows, due["loan"].is_first_distinct().arg_true()), policy)
    except OverflowError:
        raise too_large from None
    if found.height and int(found["charge"].max()) >= LARGEST * 10**SCALE:  # type: ignore[arg-type]
        raise too_large
    liability, computed = (from_units(pl.lit(found[name])) for name in ("basis", "charge"))
    return due.with_columns(liability=liability, computed=computed)


def charge_if(
    due: pl.DataFrame, basis: str, policy: InterestPolicy, rate: str = "rate", times: int = 1, per: int = 1
) -> pl.Series:
    """What each charge would be on the liability in column `basis`, at `times / per` of the rate in column `rate`.

    Empty where one of the two is.
    """
    rows = due.select(
        basis=units(pl.col(basis).fill_null(ZERO)),
        rate=_rate(policy, rate) * times,
        hours=_hours() * per,
    )
    amount = from_units(pl.lit(charge_on(rows["basis"], rows["rate"], rows["hours"], policy)))
    return due.select(pl.when(pl.col(basis).is_not_null() & pl.col(rate).is_not_null()).then(amount)).to_series()


def _rate(policy: InterestPolicy, column: str = "rate") -> pl.Expr:
    """The rate, times the hours that are charged; nothing where none is known."""
    hours = pl.when(pl.col("charge") == "opening_fee").then(1).otherwise(policy.period_hours)
    return units(pl.col(column)).fill_null(0) * hours.cast(_UNIT)


def _hours() -> pl.Expr:
    """Hours that the rate is for."""
    return pl.col("rate_unit").replace_strict(_HOURS, return_dtype=_UNIT).fill_null(1)
