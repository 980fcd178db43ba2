"""Mistakes of the ledger in interest: an hour missing or too many, a rate in another unit, another rounding.

What is charged follows from the liability and a rate of few decimals (rules.md 3 [V]: rounded up at 16 decimals). So a
charge that is mistaken shows by its neighbours' rates, or by what is off: what is off must itself be the charge of
such a rate, or turn a charge into one.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Decimal
from typing import Any

from ledger.explain import plain
from ledger.interest.columns import EARLY, UNITS
from ledger.reconciliation.hypotheses import NOTHING, Effect, Event, Hypothesis, flows, instead, less, without

_HOUR = timedelta(hours=1)
_DIGIT = Decimal(1).scaleb(-16)
_COARSE = Decimal(1).scaleb(-8)
_RATE_DECIMALS = 10  # real hourly rates have 8 [V]; one that needs more is a quotient, or no rate
_LARGEST_RATE = Decimal("0.01")
_UNITS = (*(hours for hours in UNITS.values() if hours > 1), UNITS["annual"] // UNITS["daily"])
_NEAR = Decimal("0.001")


def interest_mistakes(events: Sequence[Event], until: datetime) -> list[Hypothesis]:
    """Every mistake in the interest of one life of a position, up to a time."""
    known = [event for event in events if event["time"] <= until]
    charges = [event for event in known if event["kind"] == "interest"]
    rates = [_short_rate(event["amount"], event["liability"], NOTHING) for event in charges]
    hours = [_hour(event["time"]) for event in charges]
    found: list[Hypothesis] = []
    for number, event in enumerate(charges):
        which = f"the interest of {plain(event['amount'])}"
        again = hours.count(hours[number]) > 1
        words = f"{which} is charged twice" if again else f"{which} is unknown to the exchange"
        found.append(without(event, "extra_interest", words))
        beside = [rates[place] for place in (number - 1, number + 1) if 0 <= place < len(charges)]
        own = [rate for rate in dict.fromkeys([rates[number], *beside]) if rate]
        found += _other_rates(event, which, own)
        found += _other_roundings(event, which, own)
    if charges:
        found += _missing_hours(known, charges, rates, until)
    return found


def _other_rates(event: Event, which: str, rates: Sequence[Decimal]) -> Iterator[Hypothesis]:
    """The charge at a rate that another unit makes of its own, or at a neighbour's where that is it."""
    other = [rate * unit for rate in rates for unit in _UNITS] + [rate / unit for rate in rates for unit in _UNITS]
    for charge in dict.fromkeys(_charge(event["liability"], rate) for rate in (*rates, *other)):
        if _in_other_unit(charge, event["amount"]):
            yield instead(event, "rate_unit", f"{which} is {plain(charge)}, at a rate in another unit", amount=charge)


def _in_other_unit(one: Decimal, other: Decimal) -> bool:
    if not one or not other:
        return False
    ratio = max(one / other, other / one)
    return any(abs(ratio / unit - 1) < _NEAR for unit in _UNITS)


def _other_roundings(event: Event, which: str, rates: Sequence[Decimal]) -> Iterator[Hypothesis]:
    charges: dict[Decimal, None] = {}
    for rate in rates:
        for unit in (_DIGIT, _COARSE):
            for rounding in (ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN):
                charges[(event["liability"] * rate).quantize(unit, rounding)] = None
    for charge in charges:
        if charge != event["amount"] and abs(charge - event["amount"]) <= _COARSE:
            yield instead(event, "interest_rounding", f"{which} is {plain(charge)}, rounded otherwise", amount=charge)


def _missing_hours(
    events: Sequence[Event], charges: Sequence[Event], rates: Sequence[Decimal | None], until: datetime
) -> Iterator[Hypothesis]:
    """Charges at the hours without one, at the rates of the charges near them."""
    for hour, liability in _hours_without(events, charges, until):
        near = min(range(len(charges)), key=lambda place: abs(charges[place]["time"] - hour))
        beside = [rates[place] for place in (near, near - 1, near + 1) if 0 <= place < len(charges)]
        for charge in dict.fromkeys(_charge(liability, rate) for rate in beside if rate):
            if charge:
                yield _missing(charges[near], hour, charge)


def _hours_without(
    events: Sequence[Event], charges: Sequence[Event], until: datetime
) -> Iterator[tuple[datetime, Decimal]]:
    """The full hours at which something is owed and nothing is charged, and what is owed."""
    charged = {_hour(event["time"]) for event in charges}
    hour, place = _hour(events[0]["time"]) + _HOUR, 0
    while hour <= until:
        while place + 1 < len(events) and events[place + 1]["time"] <= hour:
            place += 1
        if hour not in charged and events[place]["liability_after"] > 0:
            yield hour, events[place]["liability_after"]
        hour += _HOUR


def _missing(like: Event, hour: datetime, charge: Decimal) -> Hypothesis:
    added = {**like, "time": hour, "event_id": f"interest of {hour.isoformat()}", "amount": charge, "reason": None}
    effect = less((NOTHING, NOTHING, NOTHING), flows(added))
    words = f"interest of {plain(charge)} was charged at {hour:%Y-%m-%d %H:%M}"
    return Hypothesis("missing_interest", words, effect, hour, added=added)


# --- led by what is off ---------------------------------------------------------------------------------------


def interest_fitted(events: Sequence[Event], off: Effect, until: datetime) -> list[tuple[Hypothesis, ...]]:
    """Answers whose amounts follow from what is off, each at a rate of few decimals: `off` is in one leg alone."""
    base, quote, margin = off
    gap = base or quote
    if margin or (base and quote) or not gap:
        return []
    known = [event for event in events if event["time"] <= until]
    charges = [event for event in known if event["kind"] == "interest"]
    currency = known[0]["instrument"].split("-")[0 if base else 1]
    like = next((event for event in charges if event["currency"] == currency), None)
    found: list[tuple[Hypothesis, ...]] = []
    for hour, liability in _hours_without(known, charges, until):
        if gap > 0 and _short_rate(gap, liability, NOTHING):
            model = like or {**known[-1], "kind": "interest", "currency": currency, **_NO_TRADE}
            found.append((_missing(model, hour, gap),))
    charges = [event for event in charges if event["currency"] == currency]
    for event in charges:
        charge = event["amount"] + gap
        if _in_other_unit(charge, event["amount"]) and _short_rate(charge, event["liability"], NOTHING):
            words = f"the interest of {plain(event['amount'])} is {plain(charge)}, at a rate in another unit"
            found.append((instead(event, "rate_unit", words, amount=charge),))
    return found + _rounded(charges, gap)


_NO_TRADE: dict[str, Any] = dict.fromkeys(
    ("side", "quantity", "price", "value", "fee", "fee_currency", "leverage", "posted")
)


def _rounded(charges: Sequence[Event], gap: Decimal) -> list[tuple[Hypothesis, ...]]:
    """All charges from one on rounded otherwise, each on the liability that the ones before make."""
    found: list[tuple[Hypothesis, ...]] = []
    for tolerance in (_DIGIT, _COARSE):
        rates = [_short_rate(event["amount"], event["liability"], tolerance) for event in charges]
        for first in range(len(charges)):
            carried, parts = NOTHING, []
            for event, rate in zip(charges[first:], rates[first:], strict=True):
                if rate is None:
                    break
                charge = _charge(event["liability"] + carried, rate)
                if charge != event["amount"]:
                    words = f"the interest of {plain(event['amount'])} is {plain(charge)}, rounded otherwise"
                    parts.append(instead(event, "interest_rounding", words, amount=charge))
                carried += charge - event["amount"]
            else:
                if parts and carried == gap:
                    found.append(tuple(parts))
    return found


# --- charges --------------------------------------------------------------------------------------------------


def _hour(moment: datetime) -> datetime:
    return (moment + EARLY).replace(minute=0, second=0, microsecond=0)


def _charge(liability: Decimal, rate: Decimal) -> Decimal:
    return (liability * rate).quantize(_DIGIT, ROUND_CEILING)


def _short_rate(amount: Decimal, liability: Decimal, tolerance: Decimal) -> Decimal | None:
    """The rate with the fewest decimals that gives a charge, exactly or to a tolerance; nothing where none does."""
    if liability <= 0 or amount <= 0:
        return None
    for decimals in range(4, _RATE_DECIMALS + 1):
        rate = (amount / liability).quantize(Decimal(1).scaleb(-decimals), ROUND_HALF_EVEN)
        if not 0 < rate <= _LARGEST_RATE:
            continue
        if abs(liability * rate - amount) <= tolerance if tolerance else _charge(liability, rate) == amount:
            return rate
    return None
