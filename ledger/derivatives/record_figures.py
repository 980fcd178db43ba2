"""Figures of position records: numbers as they are printed, short decimals that explain them, and what agrees.

Records are few and are read by eye, so that they are worked on one by one, in exact fractions.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Any

from ledger.columns import Column
from ledger.money import LARGEST, SCALE, divide

Cells = Mapping[str, str]
"""A record: texts by the exchange's names, without those that are empty."""
VERDICTS = ("agrees", "differs", "taken", "not_compared")
"""`taken`: the figure only gave what it is computed from (its own rate, the mark), and no other figure confirms it."""
DOUBLE = Fraction(1, 10**13)
"""How far a double of the exchange may be off, relative to the numbers it comes from (rules 9 [V])."""
LAST_DIGIT = Fraction(1, 10**15)
"""Doubles are printed with 16 decimals, of which the last is not sure [V]."""
MARK_DECIMALS = 10
"""Decimals that a mark has at most where it is taken from the PnL."""
_NUMBER = re.compile(r"[+-]?(\d{1,40}\.?\d{0,40}|\.\d{1,40})([eE][+-]?\d{1,3})?")
_ENOUGH_DIGITS = 6  # so many are needed for a last printed digit to say something
_BY_PRICE = ("floating_pnl", "maintenance_margin", "liquidation_fee")  # what is divided by a price


@dataclass(frozen=True)
class Figure:
    """A figure of a record: its name, as it is stated and as it is computed, and what is to be said of it.

    `size` is that of the numbers it comes from; `taken` is true where it only gave what it is computed from;
    `apart` where the two are shown and not compared, for the reason in `note`.
    """

    name: str
    stated: Fraction | None
    computed: Fraction | None
    text: str = ""
    size: Fraction = Fraction(0)
    taken: bool = False
    apart: bool = False
    note: str = ""

    @property
    def fits(self) -> bool:
        """Whether what is computed is what is stated, as a double or to the last digit that is printed."""
        if self.stated is None or self.computed is None:
            return False
        return near(self.computed, self.stated, self.size) or self._fits_as_printed(self.computed - self.stated)

    @property
    def verdict(self) -> str:
        """What the comparison says: one of VERDICTS."""
        if self.apart or self.stated is None or self.computed is None:
            return "not_compared"
        if not self.fits:
            return "differs"
        return "taken" if self.taken else "agrees"

    def _fits_as_printed(self, difference: Fraction) -> bool:
        """Whether both are the same to the last digit that is printed, where enough of them are."""
        shown, _, decimals = self.text.lower().partition("e")[0].lstrip("+-").partition(".")
        digits = (shown + decimals).lstrip("0")
        if "e" in self.text.lower() or len(digits) < _ENOUGH_DIGITS:
            return False
        return abs(difference) <= Fraction(1, 10 ** len(decimals))


def number(text: str | None) -> Fraction | None:
    """The number in a text, in 18 decimals and below the limit of an amount; nothing where it is none."""
    if text is None or not _NUMBER.fullmatch(text.strip()):
        return None
    value = Fraction(text.strip())
    rounded = Fraction(divide(value.numerator * 10**SCALE, value.denominator), 10**SCALE)
    return rounded if abs(value) < LARGEST else None


def near(value: Fraction, stated: Fraction, size: Fraction) -> bool:
    """Whether two figures are the same double of numbers of that size, printed with 16 decimals."""
    return abs(value - stated) <= DOUBLE * max(abs(size), abs(stated)) + LAST_DIGIT


def quotient_size(quotient: Fraction | None, *sums: tuple[Fraction, ...]) -> Fraction:
    """The size of the numbers a quotient comes from, given the terms of its numerator and denominator.

    Terms that nearly cancel make it larger than the quotient: what they are off by, their difference is off by too.
    """
    if quotient is None:
        return Fraction(0)
    none = Fraction(0)
    totals = [(sum((abs(term) for term in terms), none), abs(sum(terms, none))) for terms in sums]
    return abs(quotient) * max(gross / net if net else Fraction(1) for gross, net in totals)


def rounded_to(raw: Fraction, places: int) -> Fraction:
    """A number rounded to so many decimals."""
    return Fraction(divide(raw.numerator * 10**places, raw.denominator), 10**places)


def shortest(raw: Fraction, fits: Callable[[Fraction], bool], decimals: int) -> Fraction | None:
    """The decimal with the fewest places near `raw` that fits; nothing where none with that many does."""
    for places in range(decimals + 1):
        rounded = rounded_to(raw, places)
        if rounded >= 0 and fits(rounded):
            return rounded
    return None


def decimals_of(value: Fraction) -> int:
    """How many decimals a number has, at most those of an amount."""
    return next((places for places in range(SCALE) if (value * 10**places).denominator == 1), SCALE)


def plain(value: Fraction) -> str:
    """The number in at most 18 decimals."""
    units = divide(value.numerator * 10**SCALE, value.denominator)
    whole, rest = divmod(abs(units), 10**SCALE)
    text = f"{whole}.{rest:0{SCALE}d}".rstrip("0").rstrip(".")
    return f"-{text}" if units < 0 else text


def measured(values: Mapping[str, Any], columns: Iterable[Column]) -> dict[str, Any]:
    """The values with these computed columns, each nothing where a value it reads is."""
    found = dict(values)
    for column in columns:
        reads = _parameters(column)
        known = all(found.get(name) is not None for name in reads)
        by_zero = known and column.name in _BY_PRICE and found[reads[-1]] == 0
        formula = column.formula if known and not by_zero else None
        found[column.name] = formula(*(found[name] for name in reads)) if formula else None
    return found


@lru_cache
def following(columns: tuple[Column, ...], changed: tuple[str, ...]) -> tuple[Column, ...]:
    """Those of the computed columns that follow from values that changed, in order."""
    names, found = set(changed), []
    for column in columns:
        if names & set(_parameters(column)):
            names.add(column.name)
            found.append(column)
    return tuple(found)


@lru_cache
def _parameters(column: Column) -> tuple[str, ...]:
    return column.parameters
