"""The rule of a charge, and how it is applied moment after moment.

A charge is rounded and, where interest compounds, owed from then on: each one depends on the one before, and there is
no closed form. The rule is written once, for integers: of Python, or whole columns of them. Many loans are stepped
side by side, moment by moment; the few that are longer than the rest are walked one after the other.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Any

import polars as pl

from ledger.interest.policy import InterestPolicy, Rounding
from ledger.money import SCALE

FEW_LOANS = 300
"""Side by side, a step costs the same for few loans as for one; below this number it is quicker to walk each."""
_LARGEST_PRODUCT = 2**126
"""Integer columns wrap around in silence from 2**127 on; Python's integers have no end."""
_UNIT = pl.Int128


# --- the rule: the same for an integer and a column of integers ---------------------------------------------------


def _up(numerator: Any, denominator: Any) -> Any:
    return (numerator + (denominator - 1)) // denominator


def _down(numerator: Any, denominator: Any) -> Any:
    return numerator // denominator


def _half_up(numerator: Any, denominator: Any) -> Any:
    return (numerator * 2 + denominator) // (denominator * 2)


def _half_even(numerator: Any, denominator: Any) -> Any:
    nearest = _half_up(numerator, denominator)
    is_tie = numerator * 2 + denominator == nearest * (denominator * 2)
    return nearest - nearest % 2 * is_tie


QUOTIENTS: Mapping[Rounding, Callable[[Any, Any], Any]] = {
    "up": _up,
    "down": _down,
    "half_up": _half_up,
    "half_even": _half_even,
}
"""The quotient of two integers, zero or more, as a whole number rounded once from the exact value."""

MOMENT = ("level", "repaid", "fixed", "free", "rate", "hours")
"""What a moment is: columns of integers, see `Moments`."""
_STATE = ("charged", "unpaid", "repaid_before")
"""What is known before it: all interest charged, what of it is unpaid, and all repayments."""


class Rule:
    """The charge of a moment, for integers of Python or whole columns of them: `larger` is the larger of two."""

    def __init__(self, policy: InterestPolicy, step: int, larger: Callable[[Any, Any], Any]) -> None:
        self._compounds, self._at_once = policy.compounding, policy.charges_at_borrowing
        self._quotient, self._step, self._larger = QUOTIENTS[policy.rounding], step, larger

    def __call__(
        self,
        level: Any,
        repaid: Any,
        fixed: Any,
        free: Any,
        rate: Any,
        hours: Any,
        charged: Any,
        unpaid: Any,
        repaid_before: Any,
    ) -> tuple[Any, Any, Any, Any, Any]:
        """Basis and charge, and the state after it. Repayments pay interest first; simple interest is on the rest."""
        basis = self._larger(level + charged, 0)
        if not self._compounds:
            unpaid = self._larger(unpaid - (repaid - repaid_before), 0)
            basis = self._larger(basis - unpaid, 0)
        if self._at_once:
            basis = fixed + free * basis
        charge = self._quotient(basis * rate, hours) * self._step
        return basis, charge, charged + charge, unpaid + charge, repaid


# --- a rate and a policy as whole numbers ------------------------------------------------------------------------


@dataclass(frozen=True)
class Scale:
    """How a charge is made of whole numbers: liability * rate / (hours * divisor), in steps of `step` units.

    A liability counts units of 10**-18, a rate `dropped` such units, a charge steps of its last decimal.
    """

    dropped: int
    divisor: int
    step: int

    @classmethod
    def of(cls, rates: pl.Series, decimals: int) -> "Scale":
        """The scale for these rates (in units of 10**-18): without the zeros at the end that all of them have."""
        shared = math.gcd(*(int(rate) for rate in rates.unique().to_list()))
        zeros = next((zeros for zeros in range(SCALE, 0, -1) if shared and shared % 10**zeros == 0), 0)
        return cls(10**zeros, 10 ** (2 * SCALE - decimals - zeros), 10 ** (SCALE - decimals))


def charge_on(basis: pl.Series, rate: pl.Series, hours: pl.Series, policy: InterestPolicy) -> pl.Series:
    """The charge on each liability by itself, in units of 10**-18 (Int128).

    `basis` is in the same units, and so is `rate`; `hours` are those the rate is for.
    """
    scale, quotient = Scale.of(rate, policy.decimals), QUOTIENTS[policy.rounding]
    rows = _scaled(pl.DataFrame({"basis": basis, "rate": rate, "hours": hours}), scale)
    if rows.is_empty() or _fits(*(int(rows[name].max()) for name in rows.columns)):  # type: ignore[arg-type]
        steps = rows.select(quotient(pl.col("basis") * pl.col("rate"), pl.col("hours"))).to_series()
    else:
        steps = pl.Series([quotient(one * part, whole) for one, part, whole in rows.iter_rows()], dtype=_UNIT)
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
    lengths = moments.starts.extend_constant(moments.rows.height, 1).diff(null_behavior="drop")
    order = lengths.arg_sort(descending=True)
    starts, longest_first = moments.starts.gather(order), lengths.gather(order).to_list()
    # What compounding never looks at is not carried along.
    state_names = ["charged"] if policy.compounding else list(_STATE)
    state = pl.DataFrame({name: pl.zeros(starts.len(), _UNIT, eager=True) for name in state_names})
    one_moment = _side_by_side(policy, scale.step, constants, state_names)
    step, active, places, found = 0, starts.len(), [], []
    if _always_fits(rows, constants, max(longest_first, default=0), scale.step):
        while active >= FEW_LOANS:
            place = starts[:active] + step
            after = rows[place].hstack(state[:active]).select(one_moment)
            places.append(place)
            found.append(after[_NOTHING.columns])
            state, step = after[state_names], step + 1
            while active and longest_first[active - 1] <= step:
                active -= 1
    rule = Rule(policy, scale.step, max)
    known = state[:active].with_columns(pl.lit(0, _UNIT).alias(name) for name in _STATE if name not in state_names)
    for start, length, before in zip(starts, longest_first, known.select(_STATE).iter_rows(), strict=False):
        places.append(pl.int_range(start + step, start + length, dtype=pl.UInt32, eager=True))
        found.append(_walked(rows[start + step : start + length], constants, rule, before))
    in_order = pl.concat(places).arg_sort() if places else starts
    return pl.concat([_NOTHING, *found], rechunk=True)[in_order]


_NOTHING = pl.DataFrame(schema={"basis": _UNIT, "charge": _UNIT})


def _side_by_side(
    policy: InterestPolicy, step: int, constants: Mapping[str, int], state: Sequence[str]
) -> list[pl.Expr]:
    """The rule for one moment of many loans: basis, charge and the state after it."""
    values = {name: pl.lit(value, _UNIT) for name, value in constants.items()}
    given = [values.get(name, pl.col(name)) for name in (*MOMENT, *_STATE)]
    results = zip(("basis", "charge", *_STATE), Rule(policy, step, pl.max_horizontal)(*given), strict=True)
    return [result.alias(name) for name, result in results if name in ("basis", "charge", *state)]


def _always_fits(rows: pl.DataFrame, constants: Mapping[str, int], moments: int, step: int) -> bool:
    """True where no product can leave the integer columns, even if all is charged at the highest rate throughout.

    Over n moments a debt grows by less than 3 to the power of n times the rate, and by a last decimal for each.
    """
    level, fixed, rate, hours = (_bound(rows, constants, name, "max") for name in ("level", "fixed", "rate", "hours"))
    power = moments * rate * step // max(1, _bound(rows, constants, "hours", "min")) + 1
    return power < _LARGEST_PRODUCT.bit_length() and _fits(
        (max(level, fixed, 0) + moments * step) * 3**power, rate, hours
    )


def _bound(rows: pl.DataFrame, constants: Mapping[str, int], name: str, which: str) -> int:
    """The largest or the smallest value of a column."""
    return constants[name] if name in constants else int(getattr(rows[name], which)() or 0)


def _walked(rows: pl.DataFrame, constants: Mapping[str, int], rule: Rule, state: Sequence[Any]) -> pl.DataFrame:
    """The rule for the moments of one loan, one after the other, from a state on."""
    columns = [repeat(constants[name], rows.height) if name in constants else rows[name].to_list() for name in MOMENT]
    basis, charge = [0] * rows.height, [0] * rows.height
    for place, moment in enumerate(zip(*columns, strict=True)):
        basis[place], charge[place], *state = rule(*moment, *state)
    return pl.DataFrame({"basis": pl.Series(basis, dtype=_UNIT), "charge": pl.Series(charge, dtype=_UNIT)})


def _without_constants(rows: pl.DataFrame) -> tuple[pl.DataFrame, dict[str, int]]:
    """The columns that change, and the value of those that are the same in every row."""
    bounds = rows.select(pl.all().min().name.prefix("min_"), pl.all().max().name.prefix("max_")).row(0, named=True)
    # The level stays a column: a frame without any would have no rows.
    same = [name for name in rows.columns if name != "level" and bounds[f"min_{name}"] == bounds[f"max_{name}"]]
    return rows.drop(same), {name: bounds[f"min_{name}"] for name in same}


def _scaled(rows: pl.DataFrame, scale: Scale) -> pl.DataFrame:
    return rows.with_columns(
        pl.col("rate") // pl.lit(scale.dropped, _UNIT), pl.col("hours") * pl.lit(scale.divisor, _UNIT)
    )


def _fits(basis: int, rate: int, hours: int) -> bool:
    """True where no product of the rule leaves the integer columns."""
    return 2 * basis * rate + 2 * hours < _LARGEST_PRODUCT


def _one(value: int) -> pl.Series:
    return pl.Series([value], dtype=_UNIT)
