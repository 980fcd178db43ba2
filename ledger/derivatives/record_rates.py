"""Rates of position records: the maintenance rate and the liquidation fee rate that their figures imply.

Three figures follow from the two rates: maintenance margin, margin ratio and liquidation price. The first gives a
maintenance rate and the second a fee, whatever they say: only the third can confirm them, and it confirms their sum.
So that both rates must be usual ones, as exchanges publish them, for the maintenance margin to be proven [D]. Where
the three contradict each other, the pair of rates counts that leaves the fewest figures unexplained, and those differ.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cache
from typing import Any

from ledger.columns import Column
from ledger.derivatives.record_figures import Figure, following, measured, plain, rounded_to, shortest

RATED = ("maintenance_margin", "margin_ratio", "liquidation_price")
"""Figures that follow from the two rates."""
_RATES = ("maintenance_rate", "liquidation_fee_rate")
_TIER_DECIMALS = 4  # of a maintenance rate
_FEE_DECIMALS = 5
_HIGHEST_FEE = Fraction(1, 500)  # no liquidation fee above 0.2 % is known [D]
_TIER_STEP = Fraction(1, 2000)  # published maintenance rates are multiples of 0.05 % [O]
_FEE_STEP = Fraction(1, 20_000)  # and taker fees multiples of 0.005 % [O]
_LIKELY = {
    "spot_margin": (Fraction(1, 1000), Fraction(3, 2000)),
    "option": (Fraction(3, 10_000), Fraction(3, 10_000)),
}
_CONTRACT = (Fraction(1, 2000), Fraction(1, 2000))

Pair = tuple[Fraction | None, Fraction | None]
"""Maintenance rate and liquidation fee rate."""


@dataclass(frozen=True)
class Rated:
    """What the rates of a record come to.

    `values`: its measures at those rates; `taken`: those of RATED that only gave their own rate, with the reason;
    `words`: what was inferred.
    """

    values: dict[str, Any]
    taken: Mapping[str, str]
    words: list[str]


@dataclass
class Rating:
    """A record whose rates are looked for.

    `columns` are the measures of its class, `values` what they read besides the rates; `figure` gives one of RATED at
    such measures, compared with what is stated, and `stated` what the record states of them.
    """

    kind: str
    stated: Mapping[str, Fraction]
    columns: tuple[Column, ...]
    values: Mapping[str, Any]
    figure: Callable[[str, dict[str, Any]], Figure]
    _seen: dict[Pair, dict[str, Any]] = field(default_factory=dict)

    def at(self, pair: Pair) -> dict[str, Any]:
        """The measures at a pair of rates."""
        if not self._seen:
            unrated = {**self.values, **dict.fromkeys((*_RATES, "tick"))}
            self._seen[None, None] = measured(unrated, self.columns)
        if pair not in self._seen:
            there = {**self._seen[None, None], **dict(zip(_RATES, pair, strict=True))}
            self._seen[pair] = measured(there, following(self.columns, _RATES))
        return self._seen[pair]

    def fits(self, name: str, pair: Pair) -> bool:
        """Whether a figure is as stated at a pair of rates."""
        return name in self.stated and self.figure(name, self.at(pair)).fits

    def wrong(self, pair: Pair) -> int:
        """How many of the stated figures are not as stated at a pair of rates."""
        return sum(not self.fits(name, pair) for name in RATED if name in self.stated)


def rated(record: Rating) -> Rated:
    """The rates of a record, of all pairs that its figures imply the one that explains most of them."""
    pair: Pair = (None, None)
    origin, least = "", None
    for one, words in _pairs(record):
        wrong = (record.wrong(one), not _is_usual(record.kind, one))
        if least is None or wrong < least:
            pair, origin, least = one, words, wrong
        if not wrong[0]:
            break
    return Rated(record.at(pair), _taken(record, pair), _words(record, pair, origin))


def _pairs(record: Rating) -> Iterator[tuple[Pair, str]]:
    """Pairs of rates that figures imply, the likeliest first, and in words where that is worth saying."""
    rate = _rate_of_margin(record)
    fee = _fee_of_ratio(record, rate) if rate is not None else None
    if fee is not None or (rate is not None and not {"margin_ratio", "liquidation_price"} & set(record.stated)):
        yield (rate, fee), ""
    if rate is not None and "liquidation_price" in record.stated:
        for usual in _usual_fees(record.kind):
            if record.fits("liquidation_price", (rate, usual)):
                yield (rate, usual), f"liquidation fee {plain(usual)} from the liquidation price"
    yield from _by_ratio_and_price(record)
    instead = rate if rate is not None else _nearest_rate(record)
    if instead is not None:
        yield (instead, _nearest_fee(record, instead)), "the nearest"


def _rate_of_margin(record: Rating) -> Fraction | None:
    """The short maintenance rate from which the maintenance margin follows."""
    raw = _raw_rate(record)
    if raw is None:
        return None
    return shortest(raw, lambda rate: record.fits("maintenance_margin", (rate, None)), _TIER_DECIMALS)


def _raw_rate(record: Rating) -> Fraction | None:
    """The rate that the maintenance margin implies: it is a straight line in it."""
    stated = record.stated.get("maintenance_margin")
    least, more = (record.at((Fraction(rate), None))["maintenance_margin"] for rate in (0, 1))
    if stated is None or least is None or more is None:
        return None
    if more == least:
        return Fraction(0)
    return Fraction((stated - least) / (more - least))


def _fee_of_ratio(record: Rating, rate: Fraction) -> Fraction | None:
    """The short fee from which, with this maintenance rate, the margin ratio follows."""
    raw = _raw_of_ratio(record, lambda fee: (rate, fee))
    if raw is None or raw > _HIGHEST_FEE:
        return None
    return shortest(raw, lambda fee: record.fits("margin_ratio", (rate, fee)), _FEE_DECIMALS)


def _by_ratio_and_price(record: Rating) -> Iterator[tuple[Pair, str]]:
    """Pairs with a usual fee that explain both margin ratio and liquidation price, whatever the maintenance margin."""
    if not {"margin_ratio", "liquidation_price"} <= set(record.stated):
        return
    for fee in _usual_fees(record.kind):
        rate = _rate_of_ratio(record, fee)
        if rate is not None and record.fits("liquidation_price", (rate, fee)):
            said = f"maintenance {plain(rate)} and liquidation fee {plain(fee)} from margin ratio and liquidation price"
            yield (rate, fee), said


def _rate_of_ratio(record: Rating, fee: Fraction) -> Fraction | None:
    """The short maintenance rate from which, with this fee, the margin ratio follows."""
    raw = _raw_of_ratio(record, lambda rate: (rate, fee))
    if raw is None:
        return None
    return shortest(raw, lambda rate: record.fits("margin_ratio", (rate, fee)), _TIER_DECIMALS)


def _raw_of_ratio(record: Rating, pair: Callable[[Fraction], Pair]) -> Fraction | None:
    """The rate that the margin ratio implies: what is required is a straight line in each of the two."""
    stated = record.stated.get("margin_ratio")
    first, second = (record.at(pair(Fraction(rate)))["margin_ratio"] for rate in (1, 2))
    if not stated or not first or not second or first == second:
        return None
    return Fraction(1 + (1 / stated - 1 / first) / (1 / second - 1 / first))


def _nearest_rate(record: Rating) -> Fraction | None:
    """The maintenance rate of few decimals nearest to what the maintenance margin implies, at least 0."""
    raw = _raw_rate(record)
    return max(rounded_to(raw, _TIER_DECIMALS), Fraction(0)) if raw is not None else None


def _nearest_fee(record: Rating, rate: Fraction) -> Fraction | None:
    """The sensible fee nearest to what the margin ratio implies; where none is stated, the likeliest one."""
    if "margin_ratio" in record.stated:
        raw = _raw_of_ratio(record, lambda fee: (rate, fee)) or Fraction(0)
        return min(max(rounded_to(raw, _FEE_DECIMALS), Fraction(0)), _HIGHEST_FEE)
    return _usual_fees(record.kind)[0] if "liquidation_price" in record.stated else None


@cache
def _usual_fees(kind: str) -> list[Fraction]:
    """Taker fees that are published for a class of instruments, the likeliest first."""
    likeliest, highest = _LIKELY.get(kind, _CONTRACT)
    fees = [_FEE_STEP * step for step in range(3, int(highest / _FEE_STEP) + 1)]
    return sorted(fees, key=lambda fee: abs(fee - likeliest))


def _is_usual(kind: str, pair: Pair) -> bool:
    """Whether both rates are as exchanges publish them."""
    rate, fee = pair
    return rate is not None and rate > 0 and rate % _TIER_STEP == 0 and fee in _usual_fees(kind)


def _taken(record: Rating, pair: Pair) -> dict[str, str]:
    """Figures that only gave their own rate, and why no other confirms it."""
    if not record.fits("liquidation_price", pair):
        reason = "its rate is taken from it, and no liquidation price confirms it"
        return dict.fromkeys(("maintenance_margin", "margin_ratio"), reason)
    if _is_usual(record.kind, pair):
        return {}
    return {
        "maintenance_margin": "its rate is taken from it: the liquidation price confirms the sum of both rates, "
        "and they are no usual ones"
    }


def _words(record: Rating, pair: Pair, origin: str) -> list[str]:
    """What was inferred, in words."""
    rate, fee = pair
    if origin.startswith("maintenance"):
        return [origin]
    said = []
    if rate is not None:
        short = "maintenance_margin" not in record.stated or record.fits("maintenance_margin", pair)
        said.append(f"maintenance {plain(rate)}" if short else f"no short maintenance rate fits, {plain(rate)} taken")
    if fee is not None:
        unfit = "no short liquidation fee rate fits, " + plain(fee) + " taken"
        short = record.fits("margin_ratio", pair)
        said.append(f"liquidation fee {plain(fee)}" if short else unfit if origin == "the nearest" else origin)
    return said
