"""Figures of position records: numbers as they are printed, short decimals that explain them, and what agrees.

Records are few and are read by eye, so that they are worked on one by one, in exact fractions.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from ledger.columns import Column
from ledger.money import LARGEST, SCALE, divide

Cells = Mapping[str, str]
"""A record: texts by the exchange's names, without those that are empty."""
VERDICTS = ("agrees", "differs", "not_compared")
DOUBLE = Fraction(1, 10**13)
"""How far a double of the exchange may be off, relative to the numbers it comes from (rules 9 [V])."""
LAST_DIGIT = Fraction(1, 10**15)
"""Doubles are printed with 16 decimals, of which the last is not sure [V]."""
RATE_DECIMALS = 6
"""Decimals that a maintenance rate or a fee rate has at most; real ones have 2 to 5 [V]."""
_USUAL_DECIMALS = 4
_NUMBER = re.compile(r"[+-]?(\d{1,40}\.?\d{0,40}|\.\d{1,40})([eE][+-]?\d{1,3})?")
_ENOUGH_DIGITS = 6  # so many are needed for a last printed digit to say something


@dataclass(frozen=True)
class Figure:
    """A figure of a record: its name, as it is stated and as it is computed, and what is to be said of it.

    `size` is that of the numbers it comes from; `taken` is true where the record's figure was used to compute it.
    """

    name: str
    stated: Fraction | None
    computed: Fraction | None
    text: str = ""
    size: Fraction = Fraction(0)
    taken: bool = False
    note: str = ""

    @property
    def verdict(self) -> str:
        """What the comparison says: one of VERDICTS."""
        if self.taken or self.stated is None or self.computed is None:
            return "not_compared"
        is_near = near(self.computed, self.stated, self.size)
        return "agrees" if is_near or self._agrees_as_printed() else "differs"

    def _agrees_as_printed(self) -> bool:
        """Whether both are the same to the last digit that is printed, where enough of them are."""
        if self.stated is None or self.computed is None:
            return False
        shown, _, decimals = self.text.lower().partition("e")[0].lstrip("+-").partition(".")
        digits = (shown + decimals).lstrip("0")
        if "e" in self.text.lower() or len(digits) < _ENOUGH_DIGITS:
            return False
        return abs(self.computed - self.stated) <= Fraction(1, 10 ** len(decimals))


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


def shortest(raw: Fraction, fits: Callable[[Fraction], bool], decimals: int = RATE_DECIMALS) -> Fraction | None:
    """The decimal with the fewest places near `raw` that fits; nothing where none with that many does."""
    for places in range(decimals + 1):
        rounded = Fraction(divide(raw.numerator * 10**places, raw.denominator), 10**places)
        if rounded >= 0 and fits(rounded):
            return rounded
    return None


def nearest(raw: Fraction) -> Fraction | None:
    """The rate with 4 decimals near `raw`, for figures that no short rate explains; nothing where it is no rate."""
    rounded = Fraction(divide(raw.numerator * 10**_USUAL_DECIMALS, raw.denominator), 10**_USUAL_DECIMALS)
    return rounded if 0 <= rounded < 1 else None


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
        known = all(found.get(name) is not None for name in column.parameters)
        divides = known and column.name in ("floating_pnl", "maintenance_margin", "liquidation_fee")
        by_zero = divides and 0 in (found.get(column.parameters[-1]),)
        found[column.name] = column.of(found.__getitem__) if known and not by_zero else None
    return found
