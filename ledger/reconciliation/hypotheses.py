"""One possible mistake of the ledger at a time, with what it would explain: used where the exchange gives no events.

A snapshot says by how much each balance is off, not why. So every event of the open position is taken as mistaken in
each way a ledger goes wrong, and the effect of that on the balances is compared with what is off. Between two closes
balances are sums, so the effect is a difference of the event's own flows; what fits is replayed before it is believed.

The search walks the events of one position that is off, in Python's decimals: it is short, and nothing else needs it.
Callers work under `wide_decimals`.
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Decimal, localcontext
from typing import Any

from ledger.interest.columns import EARLY
from ledger.reconciliation.typing_errors import slips

Effect = tuple[Decimal, Decimal, Decimal]
"""What the ledger has too much of: base leg, quote leg, margin."""
Event = dict[str, Any]
"""A row of EVENTS, with `posted` margin, `episode`, `liability` before it, `leverage_in_force` and `sequence`."""

NOTHING = Decimal(0)


def wide_decimals() -> AbstractContextManager[Any]:
    """Decimals with room for every product of two amounts: the default 28 digits round in silence."""
    return localcontext(prec=80)


_HOUR = timedelta(hours=1)
_CENT = Decimal(1).scaleb(-18)
_DIGIT = Decimal(1).scaleb(-16)  # OKX charges interest at 16 decimals, rounded up (rules.md 3 [V])
_USUAL_FEES = tuple(map(Decimal, ("0.001", "0.0008", "0.0006", "0.0005", "0.0015", "-0.0001", "-0.0002")))
_UNITS = (24, 365, 8760)


@dataclass(frozen=True)
class Hypothesis:
    """A mistake the ledger may have made: `removed` is its event, `added` what should stand there; and the effect.

    `guesses` counts the amounts that were chosen to fit, so that a hypothesis without any goes first.
    """

    cause: str
    words: str
    effect: Effect
    time: datetime
    removed: Event | None = None
    added: Event | None = None
    guesses: int = 0
    slips: int = field(default=0)

    @property
    def source(self) -> Event:
        """The event it is about."""
        return self.removed or self.added or {}


def single_mistakes(events: Sequence[Event], until: datetime) -> list[Hypothesis]:
    """Every mistake in the events of the life of one position that is open at a time, `until`.

    `events` are all events of that life, in order.
    """
    known = [event for event in events if event["time"] <= until]
    rates = fee_rates(known)
    seen: dict[Any, int] = {}
    found: list[Hypothesis] = []
    for event in known:
        alike = tuple(event[name] for name in ("kind", "side", "quantity", "price", "amount", "currency"))
        seen[alike] = seen.get(alike, 0) + 1
        if event["kind"] in ("fill", "liquidation"):
            found += _trade_mistakes(event, rates, seen[alike] > 1)
        elif event["kind"] == "margin":
            found += _margin_mistakes(event)
        elif event["kind"] == "adjustment":
            found.append(_without(event, "adjustment", f"the adjustment {event['reason']} is unknown to the exchange"))
    return found + list(_interest_mistakes(known, until))


def flows(event: Event) -> Effect:
    """What an event adds to base leg, quote leg and margin of the open position."""
    base_currency, quote_currency = event["instrument"].split("-")
    base = quote = margin = NOTHING
    if event["kind"] in ("fill", "liquidation", "opening"):
        buys = event["side"] == "buy"
        value = event["value"] if event["value"] is not None else money(event["quantity"] * event["price"])
        base, quote = (event["quantity"], -value) if buys else (-event["quantity"], value)
        fee = event["fee"] or NOTHING
        base -= fee if event["fee_currency"] == base_currency else NOTHING
        quote -= fee if event["fee_currency"] == quote_currency else NOTHING
        margin = event["posted"] or NOTHING
    elif event["kind"] in ("interest", "adjustment"):
        amount = -event["amount"] if event["kind"] == "interest" else event["amount"]
        base, quote = (amount, NOTHING) if event["currency"] == base_currency else (NOTHING, amount)
    elif event["kind"] in ("margin", "leverage"):
        margin = event["amount"] or NOTHING
    return base, quote, margin


def money(amount: Decimal) -> Decimal:
    """An amount at the scale of the money type, rounded half-even (rules.md 9)."""
    return amount.quantize(_CENT, ROUND_HALF_EVEN)


def less(one: Effect, other: Effect) -> Effect:
    """The difference of two effects."""
    return one[0] - other[0], one[1] - other[1], one[2] - other[2]


def _without(event: Event, cause: str, words: str) -> Hypothesis:
    return Hypothesis(cause, words, flows(event), event["time"], removed=event)


def _instead(event: Event, cause: str, words: str, slip: int = 0, **changes: Any) -> Hypothesis:
    added = {**event, **changes}
    if changes.keys() & {"quantity", "price"}:
        added["posted"] = _posted(event, added)
    if "amount" in changes and event["kind"] == "fill":
        added["posted"] = added["amount"]
    return Hypothesis(cause, words, less(flows(event), flows(added)), event["time"], event, added, slips=slip)


def _posted(event: Event, added: Event) -> Decimal | None:
    """The margin that an event posts once it is mended: what is recorded, else by the formula."""
    recorded: Decimal | None = event["amount"]
    return recorded if recorded is not None or event["posted"] is None else _by_formula(event, added)


def _by_formula(event: Event, added: Event) -> Decimal | None:
    leverage = event["leverage_in_force"]
    if leverage is None:
        return None
    value = added["value"] if added["value"] is not None else money(added["quantity"] * added["price"])
    size = added["quantity"] if event["margin_is_base"] else value
    return money(size / leverage)


# --- fills ----------------------------------------------------------------------------------------------------


def received(event: Event) -> tuple[str, Decimal]:
    """The currency that a fill receives, and how much before the fee."""
    base, quote = event["instrument"].split("-")
    if event["side"] == "buy":
        return base, event["quantity"]
    return quote, event["value"] if event["value"] is not None else money(event["quantity"] * event["price"])


def fee_rates(events: Sequence[Event]) -> list[Decimal]:
    """The fee rates of the fills, and the usual ones."""
    rates: dict[Decimal, None] = {}
    for event in events:
        if event["kind"] in ("fill", "liquidation") and event["fee"]:
            currency, amount = received(event)
            if currency == event["fee_currency"]:
                rates[event["fee"] / amount.quantize(Decimal("1e-6"))] = None
    return list(dict.fromkeys([*(rate for rate in rates if rate), *_USUAL_FEES]))


def _trade_mistakes(event: Event, rates: list[Decimal], repeated: bool) -> Iterator[Hypothesis]:
    which = f"the {event['side']} of {event['quantity']:f} at {event['price']:f}"
    if event["reason"]:
        yield _without(event, "adjustment", f"{which}, posted by hand, is unknown to the exchange")
    elif repeated:
        yield _without(event, "duplicate_fill", f"{which} stands twice")
    else:
        yield _without(event, "extra_fill", f"{which} is unknown to the exchange")
    other_side = "sell" if event["side"] == "buy" else "buy"
    yield from _turned(event, which, other_side)
    yield from _fee_mistakes(event, rates, which)
    if event["kind"] == "fill" and event["amount"]:
        for margin in slips(event["amount"]):
            yield _instead(event, "margin_amount", f"the margin of {which} is {margin:f}", 1, amount=margin)
    for price in slips(event["price"]):
        yield _instead(event, "price", f"{which} is at {price:f}", 1, price=price, value=None)
    for quantity in slips(event["quantity"]):
        yield _instead(event, "quantity", f"{which} is of {quantity:f}", 1, quantity=quantity, value=None)


def _turned(event: Event, which: str, side: str) -> Iterator[Hypothesis]:
    """The fill with the other side: what increased reduces and posts nothing; what reduced may post margin."""
    words = f"{which} is a {side}"
    by_formula = _by_formula(event, event)
    posted = [None, NOTHING] if event["posted"] else [event["amount"], NOTHING, by_formula]
    for margin in dict.fromkeys(posted):
        added = {**event, "side": side, "amount": margin, "posted": margin}
        yield Hypothesis("sign", words, less(flows(event), flows(added)), event["time"], event, added)


def _fee_mistakes(event: Event, rates: list[Decimal], which: str) -> Iterator[Hypothesis]:
    currency, amount = received(event)
    fee, in_received = event["fee"] or NOTHING, event["fee_currency"] == currency
    due = [money(amount * rate) for rate in rates]
    if fee == 0:
        for each in due:
            yield _instead(
                event,
                "fee_not_deducted",
                f"{which} bears a fee of {each:f} {currency}",
                fee=each,
                fee_currency=currency,
            )
        return
    if in_received:
        yield _instead(
            event, "fee_currency", f"the fee of {which} is in neither currency", fee=NOTHING, fee_currency=None
        )
        return
    price = event["price"]
    converted = money(fee / price) if event["side"] == "buy" else money(fee * price)
    for each in dict.fromkeys([*due, converted, fee]):
        yield _instead(
            event, "fee_currency", f"the fee of {which} is {each:f} {currency}", fee=each, fee_currency=currency
        )


# --- margin ---------------------------------------------------------------------------------------------------


def _margin_mistakes(event: Event) -> Iterator[Hypothesis]:
    amount = event["amount"]
    which = f"the change of margin by {amount:f}"
    cause = "adjustment" if event["reason"] else "margin_change_extra"
    yield _without(event, cause, f"{which} is unknown to the exchange")
    yield _instead(event, "sign", f"{which} is one by {-amount:f}", amount=-amount)
    for other in slips(amount):
        yield _instead(event, "margin_amount", f"{which} is one by {other:f}", 1, amount=other)


# --- interest -------------------------------------------------------------------------------------------------


def _interest_mistakes(events: Sequence[Event], until: datetime) -> Iterator[Hypothesis]:
    charges = [event for event in events if event["kind"] == "interest"]
    rates = [_shortest_rate(event["amount"], event["liability"]) for event in charges]
    hours: set[datetime] = set()
    for number, event in enumerate(charges):
        which = f"the interest of {event['amount']:f}"
        hour = _hour(event["time"])
        second = "is charged a second time" if hour in hours else "is unknown to the exchange"
        hours.add(hour)
        yield _without(event, "extra_interest", f"{which} {second}")
        beside = {rates[place] for place in (number - 1, number + 1) if 0 <= place < len(charges)} - {None}
        yield from _other_rates(event, which, rates[number], beside)
        yield from _other_roundings(event, which, {rates[number], *beside} - {None})
    if charges:
        yield from _missing_hours(events, charges, rates, hours, until)


def _other_rates(event: Event, which: str, own: Decimal | None, beside: set[Any]) -> Iterator[Hypothesis]:
    candidates: set[Decimal] = set()
    for unit in _UNITS:
        for rate in (own and own * unit, own and own / Decimal(unit), *beside):
            if not rate:
                continue
            charge = (event["liability"] * rate).quantize(_DIGIT, ROUND_CEILING)
            ratio = charge / event["amount"] if event["amount"] else NOTHING
            is_unit = any(
                abs(ratio * other - 1) < Decimal("0.01") or abs(ratio - other) < other * Decimal("0.01")
                for other in _UNITS
            )
            if is_unit and charge not in candidates:
                candidates.add(charge)
                yield _instead(event, "rate_unit", f"{which} is {charge:f}, at a rate in another unit", amount=charge)


def _other_roundings(event: Event, which: str, rates: set[Any]) -> Iterator[Hypothesis]:
    charges: dict[Decimal, None] = {}
    for rate in rates:
        for decimals in (16, 8):
            for rounding in (ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN):
                exact = event["liability"] * rate
                charges[exact.quantize(Decimal(1).scaleb(-decimals), rounding)] = None
    for charge in charges:
        if charge != event["amount"] and abs(charge - event["amount"]) <= Decimal("1e-8"):
            yield _instead(event, "interest_rounding", f"{which} is {charge:f}, rounded otherwise", amount=charge)


def _missing_hours(
    events: Sequence[Event],
    charges: Sequence[Event],
    rates: Sequence[Decimal | None],
    hours: set[datetime],
    until: datetime,
) -> Iterator[Hypothesis]:
    """Charges at the hours without one, at the rate of the charge before, or else of the next."""
    hour = _hour(events[0]["time"]) + _HOUR
    while hour <= until:
        if hour not in hours:
            before = [event for event in events if event["time"] <= hour]
            liability = before[-1]["liability_after"]
            near = min(range(len(charges)), key=lambda place: abs(charges[place]["time"] - hour))
            for rate in dict.fromkeys(
                rates[place] for place in (near, near - 1, near + 1) if 0 <= place < len(charges)
            ):
                charge = (liability * rate).quantize(_DIGIT, ROUND_CEILING) if rate else NOTHING
                if charge:
                    added = {
                        **charges[near],
                        "time": hour,
                        "event_id": f"interest of {hour.isoformat()}",
                        "amount": charge,
                        "reason": None,
                    }
                    effect = less((NOTHING, NOTHING, NOTHING), flows(added))
                    words = f"interest of {charge:f} was charged at {hour:%Y-%m-%d %H:%M}"
                    yield Hypothesis("missing_interest", words, effect, hour, added=added)
        hour += _HOUR


def _hour(moment: datetime) -> datetime:
    return (moment + EARLY).replace(minute=0, second=0, microsecond=0)


def _shortest_rate(amount: Decimal, liability: Decimal) -> Decimal | None:
    """The rate with the fewest decimals that gives a charge, rounded up at 16 decimals or less exactly."""
    if not liability or not amount:
        return None
    rate = amount / liability
    for decimals in range(4, 21):
        short = rate.quantize(Decimal(1).scaleb(-decimals), ROUND_HALF_EVEN)
        if (liability * short).quantize(_DIGIT, ROUND_CEILING) == amount:
            return short
    return rate
