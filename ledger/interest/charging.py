"""The rule of a charge, and how it is applied moment after moment.

A charge is rounded and, where interest compounds, owed from then on: each one depends on the one before, and there is
no closed form. The rule is written once, for integers: of Python, or whole columns of them. Many loans are stepped
side by side, moment by moment; the few that are longer than the rest are walked one after the other.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from ledger.interest.policy import InterestPolicy, Rounding
from ledger.measures import larger
from ledger.money import SCALE

FEW_LOANS = 350
"""Side by side, a step costs the same for few loans as for one; below this number it is quicker to walk each."""
_LARGEST_PRODUCT = 2**126
"""Integer columns wrap around in silence from 2**127 on; Python's integers have no end."""
_UNIT = pl.Int128
MOMENT = ("level", "repaid", "fixed", "free", "rate", "hours")
"""Columns of a moment, all integers."""


# --- the rule: the same for an integer and a column of integers ---------------------------------------------------


def quotient(numerator: Any, denominator: Any, rounding: Rounding) -> Any:
    """The quotient of two integers, zero or more, as a whole number rounded once from the exact value."""
    if rounding == "up":
        return (numerator + (denominator - 1)) // denominator
    if rounding == "down":
        return numerator // denominator
    halves = numerator * 2 + denominator
    nearest = halves // (denominator * 2)
    if rounding == "half_up":
        return nearest
    is_tie = halves == nearest * (denominator * 2)
    return nearest - nearest % 2 * is_tie


def owed_after(level: Any, charged: Any) -> Any:
    """What is owed, from the level the fills alone give and the interest charged since the position opened."""
    return larger(level + charged, 0)


def unpaid_after(unpaid: Any, repaid: Any) -> Any:
    """Interest still unpaid after a repayment: it pays interest first."""
    return larger(unpaid - repaid, 0)


def principal(owed: Any, unpaid: Any) -> Any:
    """What is owed without interest that was charged and not paid."""
    return larger(owed - unpaid, 0)


# --- a rate and a policy as whole numbers ------------------------------------------------------------------------


@dataclass(frozen=True)
class Scale:
    """How a charge is made of whole numbers: liability * rate / (hours * divisor), in steps of `step` units.

    A liability counts units of 10**-18, a rate units of 10**-(18 - dropped), a charge steps of its last decimal.
    """

    dropped: int
    divisor: int
    step: int

    @classmethod
    def of(cls, rates: pl.Series, decimals: int) -> "Scale":
        """The scale for these rates (in units of 10**-18): without the zeros at the end that all of them have."""
        shared = math.gcd(*(int(rate) for rate in rates.unique().to_list()))
        dropped = next((zeros for zeros in range(SCALE, 0, -1) if shared and shared % 10**zeros == 0), 0)
        return cls(10**dropped, 10 ** (2 * SCALE - decimals - int(math.log10(10**dropped))), 10 ** (SCALE - decimals))


def charge_on(basis: pl.Series, rate: pl.Series, hours: pl.Series, policy: InterestPolicy) -> pl.Series:
    """The charge on each liability by itself, in units of 10**-18 (Int128).

    `basis` is in the same units, and so is `rate`; `hours` are those the rate is for.
    """
    scale = Scale.of(rate, policy.decimals)
    frame = _scaled(pl.DataFrame({"basis": basis, "rate": rate, "hours": hours}), scale)
    if frame.is_empty() or _fits(*(_largest(frame, {}, name) for name in frame.columns)):
        steps = frame.select(quotient(pl.col("basis") * pl.col("rate"), pl.col("hours"), policy.rounding)).to_series()
    else:
        rows = frame.iter_rows()
        steps = pl.Series([quotient(one * part, whole, policy.rounding) for one, part, whole in rows], dtype=_UNIT)
    return steps * _one(scale.step)


# --- moment after moment -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Moments:
    """Charging moments of many loans, in the order they happen, loan after loan; amounts in units of 10**-18.

    One row per moment: `level` is what would be owed had no interest been charged, `repaid` the sum of all repayments
    so far, `rate` and `hours` as in `charge_on`. `free` is 1 where the charge is on what is owed, 0 where it is on
    the amount `fixed` alone. `starts` has the row of each loan's first moment (UInt32).
    """

    rows: pl.DataFrame
    starts: pl.Series


def charges(moments: Moments, policy: InterestPolicy) -> pl.DataFrame:
    """What is charged at each moment, as columns `basis` and `charge`, in units of 10**-18 (Int128)."""
    scale = Scale.of(moments.rows["rate"], policy.decimals)
    rows, constants = _without_constants(_scaled(moments.rows, scale))
    rule = _Rule(policy, scale.step, constants)
    lengths = moments.starts.extend_constant(moments.rows.height, 1).diff(null_behavior="drop")
    order = lengths.arg_sort(descending=True)
    starts, lengths = moments.starts.gather(order), lengths.gather(order)
    state = pl.DataFrame({name: pl.zeros(starts.len(), _UNIT, eager=True) for name in rule.state})
    step, places, found = 0, [], []
    while (active := int((lengths > step).sum())) >= FEW_LOANS:
        place = starts[:active] + step
        now = rows[place].hstack(state[:active])
        if not rule.fits(now):
            break
        after = now.select(rule.stepped)
        places.append(place)
        found.append(after[_NOTHING.columns])
        state, step = after[rule.state], step + 1
    for start, length, before in zip(starts[:active], lengths[:active], state[:active].iter_rows(), strict=True):
        places.append(pl.int_range(start + step, start + length, dtype=pl.UInt32, eager=True))
        found.append(rule.walked(rows[start + step : start + length], before))
    in_order = pl.concat(places).arg_sort() if places else starts
    return pl.concat([_NOTHING, *found], rechunk=True)[in_order]


_NOTHING = pl.DataFrame(schema={"basis": _UNIT, "charge": _UNIT})


class _Rule:
    """The rule for one moment, with what is the same at every moment filled in."""

    def __init__(self, policy: InterestPolicy, step: int, constants: Mapping[str, int]) -> None:
        self._policy, self._step, self._constants = policy, step, constants
        self.state = ["charged"] if policy.compounding else ["charged", "unpaid", "repaid_before"]
        columns = {name: pl.col(name) for name in (*MOMENT, *self.state)}
        literals = {name: pl.lit(value, _UNIT) for name, value in constants.items()}
        self.stepped = [result.alias(name) for name, result in self._moment(columns | literals).items()]

    def walked(self, rows: pl.DataFrame, state: tuple[int, ...]) -> pl.DataFrame:
        """Basis and charge of the moments of one loan, one after the other, from a state on."""
        standing = dict(zip(self.state, state, strict=True))
        found = []
        for row in rows.iter_rows(named=True):
            standing = self._moment({**self._constants, **row, **standing})
            found.append((standing["basis"], standing["charge"]))
        return pl.DataFrame(found, schema=_NOTHING.schema, orient="row")

    def fits(self, rows: pl.DataFrame) -> bool:
        """True where no product leaves the integer columns at this moment."""
        level, rate, hours = (_largest(rows, self._constants, name) for name in ("level", "rate", "hours"))
        return _fits(level + _largest(rows, self._constants, "charged"), rate, hours)

    def _moment(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Basis and charge, and the state after it: interest charged; for simple interest also what is unpaid."""
        after: dict[str, Any] = {}
        basis = owed_after(row["level"], row["charged"])
        if not self._policy.compounding:
            unpaid = unpaid_after(row["unpaid"], row["repaid"] - row["repaid_before"])
            basis = principal(basis, unpaid)
        if self._policy.charges_at_borrowing:
            basis = row["fixed"] + row["free"] * basis
        charge = quotient(basis * row["rate"], row["hours"], self._policy.rounding) * self._step
        if not self._policy.compounding:
            after = {"unpaid": unpaid + charge, "repaid_before": row["repaid"]}
        return {"basis": basis, "charge": charge, "charged": row["charged"] + charge, **after}


def _without_constants(rows: pl.DataFrame) -> tuple[pl.DataFrame, dict[str, int]]:
    """The columns that change, and the value of those that are the same in every row."""
    bounds = rows.select(pl.all().min().name.prefix("min_"), pl.all().max().name.prefix("max_")).row(0, named=True)
    # The level stays a column: a frame without any would have no rows.
    same = [name for name in rows.columns if name != "level" and bounds[f"min_{name}"] == bounds[f"max_{name}"]]
    return rows.drop(same), {name: bounds[f"min_{name}"] for name in same}


def _largest(rows: pl.DataFrame, constants: Mapping[str, int], name: str) -> int:
    """The largest value of a column that is zero or more; a level below zero is nothing owed."""
    return max(constants[name] if name in constants else int(rows[name].max()), 0)  # type: ignore[arg-type]


def _scaled(rows: pl.DataFrame, scale: Scale) -> pl.DataFrame:
    return rows.with_columns(
        pl.col("rate") // pl.lit(scale.dropped, _UNIT), pl.col("hours") * pl.lit(scale.divisor, _UNIT)
    )


def _fits(basis: int, rate: int, hours: int) -> bool:
    """True where no product of the rule leaves the integer columns."""
    return 2 * basis * rate + 2 * hours < _LARGEST_PRODUCT


def _one(value: int) -> pl.Series:
    return pl.Series([value], dtype=_UNIT)
