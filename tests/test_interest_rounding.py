"""The four roundings of a charge against exact fractions, for Python's integers and for columns of integers."""

import math
from fractions import Fraction

import polars as pl
import pytest

from ledger.interest.charging import QUOTIENTS

EXACT = {
    "up": math.ceil,
    "down": math.floor,
    "half_up": lambda number: math.floor(number + Fraction(1, 2)),
    "half_even": round,
}
CASES = [(numerator, denominator) for denominator in range(1, 13) for numerator in range(61)]


@pytest.mark.parametrize("rounding", EXACT)
def test_every_small_quotient(rounding):
    expected = [EXACT[rounding](Fraction(*case)) for case in CASES]
    assert [QUOTIENTS[rounding](*case, 1) for case in CASES] == expected
    numerators, denominators, one = (
        pl.Series(values, dtype=pl.Int128) for values in (*map(list, zip(*CASES, strict=True)), [1])
    )
    assert QUOTIENTS[rounding](numerators, denominators, one).to_list() == expected
