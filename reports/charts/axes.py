"""The axes of charts over time: round steps, so that the figures and dates on them can be read."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import count
from math import ceil, floor

STEPS = 5
"""Of both axes of amounts, so that the lines of one grid serve both."""
_AMOUNT_STEPS = [Decimal(digits) for digits in ("1", "1.5", "2", "2.5", "3", "4", "5", "6", "8")]
_SHARE_STEPS = [Decimal(digits) for digits in ("1", "2", "2.5", "3", "4", "5")]
"""Few for shares, so that 100 % has a line of its own as a rule."""
_DATES_MAX = 6
_DAY = timedelta(days=1)
_MINUTES, _DAYS = (1, 2, 5, 10, 15, 30, 60, 120, 180, 360, 720), (1, 2, 4, 7, 14, 28, 56, 91, 182)
_YEAR = 365
_NEXT_TO = 1e-6
"""Of a step: what a quotient of dates can be beside the whole number that it stands for."""
_ZERO_DAY = datetime(1899, 12, 30)
"""From which a spreadsheet counts its days."""


@dataclass(frozen=True)
class Axis:
    """Where an axis begins and ends, its step, and how its labels are written; times are a spreadsheet's dates."""

    low: float
    high: float
    step: float
    form: str

    @property
    def options(self) -> dict[str, object]:
        """The same as the writer of charts takes it."""
        return {"min": self.low, "max": self.high, "major_unit": self.step, "num_format": self.form}


def amounts_axis(lowest: Decimal, highest: Decimal) -> Axis:
    """An axis of STEPS round steps that holds zero and all amounts between the two."""
    step, low = _span(lowest, highest, _AMOUNT_STEPS)
    return Axis(float(low), float(low + STEPS * step), float(step), f"#,##0{_decimals(step)}")


def shares_axis(lowest: Decimal, highest: Decimal) -> Axis:
    """The same for shares (1 = 100 %), labelled in percent."""
    step, low = _span(lowest, highest, _SHARE_STEPS)
    return Axis(float(low), float(low + STEPS * step), float(step), f"#,##0{_decimals(step * 100)}%")


def time_axis(first: datetime, last: datetime) -> tuple[Axis, str]:
    """An axis of times with few enough dates to stand side by side, and what it is called."""
    start, end = ((time.replace(tzinfo=None) - _ZERO_DAY) / _DAY for time in (first, last))
    steps = [*(minutes / 1440 for minutes in _MINUTES), *map(float, _DAYS)]
    years = _YEAR * ceil((end - start) / _YEAR / (_DATES_MAX - 1))
    step = next((step for step in steps if end - start <= step * (_DATES_MAX - 1)), float(years))
    low = floor(start) if step >= 1 else floor(start / step + _NEXT_TO) * step
    high = low + step * max(1, ceil((end - low) / step - _NEXT_TO))
    if step >= 1:
        return Axis(low, high, step, "yyyy-mm-dd"), "Day (UTC)"
    if first.date() == last.date():
        return Axis(low, high, step, "hh:mm"), f"Time of day on {first:%Y-%m-%d} (UTC)"
    return Axis(low, high, step, "mm-dd hh:mm"), f"Month, day and time (UTC), from {first:%Y-%m-%d} on"


def _span(lowest: Decimal, highest: Decimal, digits: Sequence[Decimal]) -> tuple[Decimal, Decimal]:
    """The smallest round step of which STEPS hold zero and both amounts, and the multiple of it to begin with."""
    lowest, highest = min(lowest, Decimal(0)), max(highest, Decimal(0))
    for step in _round_numbers((highest - lowest) / STEPS or Decimal(1), digits):
        low = floor(lowest / step) * step if highest else -STEPS * step
        if low + STEPS * step >= highest:
            break
    return step, low


def _round_numbers(least: Decimal, digits: Sequence[Decimal]) -> Iterator[Decimal]:
    """Numbers with these first digits from `least` on, each larger than the one before."""
    for power in count(least.adjusted()):
        yield from (number for one in digits if (number := one.scaleb(power)) >= least)


def _decimals(step: Decimal) -> str:
    """The decimals of a number format that shows every multiple of a step."""
    exponent = step.normalize().as_tuple().exponent
    return "." + "0" * -exponent if isinstance(exponent, int) and exponent < 0 else ""
