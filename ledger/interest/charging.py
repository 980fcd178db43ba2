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

FEW_LOANS = 120
"""Side by side, a step costs the same for few loans as for one; below this number it is quicker to walk each."""
_LARGEST_PRODUCT = 2**126
"""Integer columns wrap around in silence from 2**127 on; Python's integers have no end."""
_UNIT = pl.Int128
_NOTHING = pl.DataFrame(schema={"basis": _UNIT, "charge": _UNIT})


# --- the rule: the same for an integer and a column of integers ---------------------------------------------------


def _up(numerator: Any, denominator: Any, one: Any) -> Any:
    return (numerator + denominator - one) // denominator


def _down(numerator: Any, denominator: Any, _one: Any) -> Any:
    return numerator // denominator


def _half_up(numerator: Any, denominator: Any, one: Any) -> Any:
    two = one + one
    return (numerator * two + denominator) // (denominator * two)


def _half_even(numerator: Any, denominator: Any, one: Any) -> Any:
    # One less, unless the whole quotient is odd: so a half goes down to an even one and up from an odd one.
    two = one + one
    return (numerator * two + denominator - one + numerator // denominator % two) // (denominator * two)


QUOTIENTS: Mapping[Rounding, Callable[[Any, Any, Any], Any]] = {
    "up": _up,
    "down": _down,
    "half_up": _half_up,
    "half_even": _half_even,
}
"""The quotient of two integers, zero or more, as a whole number rounded once from the exact value.

The third argument is the number one, as an integer or as a column: columns of integers know no others.
"""

MOMENT = ("level", "repaid", "fixed", "free", "rate", "hours")
"""What a moment is: columns of integers, see `Moments`."""
_STATE = ("charged", "unpaid", "repaid_before")
"""What is known before it: all interest charged, what of it is unpaid, and all repayments."""


class Rule:
    """The charge of a moment, for integers of Python or whole columns of them.

    `larger` gives the larger of two, `number` turns a number into such an integer.
    """

    def __init__(
        self, policy: InterestPolicy, step: int, larger: Callable[[Any, Any], Any], number: Callable[[int], Any]
    ) -> None:
        self._compounds, self._at_once = policy.compounding, policy.charges_at_borrowing
        self._quotient, self._larger = QUOTIENTS[policy.rounding], larger
        self._zero, self._one, self._step = number(0), number(1), number(step)

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
        basis = self._larger(level + charged, self._zero)
        if not self._compounds:
            unpaid = self._larger(unpaid - (repaid - repaid_before), self._zero)
            basis = self._larger(basis - unpaid, self._zero)
        if self._at_once:
            basis = fixed + free * basis
        charge = self._quotient(basis * rate, hours, self._one) * self._step
        # Compounding never looks at what is unpaid.
        return basis, charge, charged + charge, unpaid if self._compounds else unpaid + charge, repaid


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
        steps = quotient(rows["basis"] * rows["rate"], rows["hours"], _column(1))
    else:
        values = [quotient(liability * part, whole, 1) for liability, part, whole in rows.iter_rows()]
        steps = pl.Series(values, dtype=_UNIT)
    in_units: pl.Series = steps * _column(scale.step)
    return in_units


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
    """What is charged at each moment, as columns `basis` and `charge`, in units of 10**-18 (Int128).

    Raises OverflowError where interest outgrows these integers.
    """
    if moments.rows.is_empty():
        return _NOTHING
    scale = Scale.of(moments.rows["rate"], policy.decimals)
    rows, constants = _without_constants(_scaled(moments.rows, scale))
    lengths = moments.starts.extend_constant(moments.rows.height, 1).diff(null_behavior="drop")
    order = lengths.arg_sort(descending=True)
    starts, longest_first = moments.starts.gather(order), lengths.gather(order).to_list()
    fits = _always_fits(rows, constants, max(longest_first, default=0), scale.step)
    places = _moment_by_moment(starts, longest_first) if fits else []
    found, state = _side_by_side(rows, constants, places, Rule(policy, scale.step, _larger, _column))
    rule, steps = Rule(policy, scale.step, max, int), len(places)
    for loan, (start, length) in enumerate(zip(starts, longest_first, strict=True)):
        if length == steps:
            break
        rest = slice(start + steps, start + length)
        before = [known[loan if known.len() > 1 else 0] for known in state]
        places.append(pl.int_range(rest.start, rest.stop, dtype=pl.UInt32, eager=True))
        found.append(_walked(rows[rest], constants, rule, before))
    return pl.concat([_NOTHING, *found], rechunk=True)[pl.concat([starts.clear(), *places]).arg_sort()]


def _moment_by_moment(starts: pl.Series, longest_first: Sequence[int]) -> list[pl.Series]:
    """For the first, the second, ... moment the rows of all loans that have so many, while these are many."""
    places: list[pl.Series] = []
    active = len(longest_first)
    while active >= FEW_LOANS:
        places.append(starts[:active] + len(places))
        while active and longest_first[active - 1] <= len(places):
            active -= 1
    return places


def _side_by_side(
    rows: pl.DataFrame, constants: Mapping[str, int], places: Sequence[pl.Series], rule: Rule
) -> tuple[list[pl.DataFrame], list[pl.Series]]:
    """The rule for many loans at once, moment by moment: basis and charge, and the state after the last moment."""
    state = [_column(0) for _ in _STATE]
    if not places:
        return [], state
    # All moments are gathered at once, so that those of each step lie side by side.
    beside = rows[pl.concat(places)]
    given = {name: _column(value) for name, value in constants.items()}
    bases, charged, start = [], [], 0
    for place in places:
        now = slice(start, start + place.len())
        moment = (given[name] if name in given else beside[name][now] for name in MOMENT)
        basis, charge, *state = rule(*moment, *(known[: place.len()] for known in state))
        bases.append(basis)
        charged.append(charge)
        start += place.len()
    return [pl.DataFrame({"basis": pl.concat(bases), "charge": pl.concat(charged)})], state


def _larger(first: pl.Series, second: pl.Series) -> pl.Series:
    return first.zip_with(first > second, second)


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


def _column(value: int) -> pl.Series:
    """A number as a column that is as long as the one it is taken with."""
    return pl.Series([value], dtype=_UNIT)
