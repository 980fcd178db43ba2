"""Single mistakes whose amount follows from what is off: the only one that fits, and then a likely one, or a guess."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Any

from ledger.explain import plain
from ledger.reconciliation.hypotheses import (
    NOTHING,
    Effect,
    Event,
    Hypothesis,
    fee_rates,
    flows,
    less,
    money,
    received,
)
from ledger.reconciliation.typing_errors import is_slip

Answer = tuple[Hypothesis, ...]
NO_EFFECT: Effect = (NOTHING, NOTHING, NOTHING)
_PRICE_RANGE = (Decimal("0.8"), Decimal("1.25"))
_VENUE = Decimal("1e-8")  # quantities and prices have at most so many decimals
_RATE = Decimal("1e-5")  # fee rates, too


def fitted(events: Sequence[Event], off: Effect) -> list[Answer]:
    """Slips and fees that follow from what is off: the amount is the only one that fits, and a likely one."""
    base, quote, margin = off
    found: list[Hypothesis] = []
    for event in events:
        if event["kind"] == "fill":
            which = f"the {event['side']} of {plain(event['quantity'])} at {plain(event['price'])}"
            found += _fees_fitted(event, off, which)
            posted = event["posted"] or NOTHING
            if not base and not quote and is_slip(posted, posted - margin):
                added = {**event, "amount": posted - margin, "posted": posted - margin}
                words = f"the margin of {which} is {plain(posted - margin)}"
                found.append(Hypothesis("margin_amount", words, off, event["time"], event, added, slips=1))
            found += _price_fitted(event, off, which)
        elif (
            event["kind"] == "margin" and not base and not quote and is_slip(event["amount"], event["amount"] - margin)
        ):
            amount = event["amount"] - margin
            words = f"the change of margin by {plain(event['amount'])} is one by {plain(amount)}"
            added = {**event, "amount": amount}
            found.append(Hypothesis("margin_amount", words, off, event["time"], event, added, slips=1))
    return [(single,) for single in found]


def _price_fitted(event: Event, off: Effect, which: str) -> Iterator[Hypothesis]:
    base, quote, margin = off
    if base or not quote or margin:
        return
    sign = 1 if event["side"] == "buy" else -1
    price = (event["price"] + sign * quote / event["quantity"]).quantize(_VENUE)
    added = {**event, "price": price, "value": None}
    if price > 0 and is_slip(event["price"], price) and less(flows(event), flows(added)) == off:
        yield Hypothesis("price", f"{which} is at {plain(price)}", off, event["time"], event, added, slips=1)


def _fees_fitted(event: Event, off: Effect, which: str) -> Iterator[Hypothesis]:
    """A fee at a rate of few decimals, in the currency received, that is all that is off."""
    base, quote, margin = off
    currency, amount = received(event)
    buys = event["side"] == "buy"
    lacking = base if buys else quote
    if margin or not lacking or (quote if buys else base):
        return
    own = event["fee"] if event["fee_currency"] == currency and event["fee"] else NOTHING
    fee = own + lacking
    rate = (fee / amount).quantize(_RATE)
    if abs(rate) < Decimal("0.01") and money(amount * rate) == fee:
        cause = "fee_amount" if own else "fee_not_deducted"
        added = {**event, "fee": fee, "fee_currency": currency}
        words = f"{which} bears a fee of {plain(fee)} {currency}"
        yield Hypothesis(cause, words, off, event["time"], event, added, slips=1 if own else 0)


def margin_missing(events: Sequence[Event], off: Effect, until: datetime) -> list[Answer]:
    """A change of margin that the ledger lacks."""
    base, quote, margin = off
    if base or quote or not margin:
        return []
    added = blank(events[-1], until) | {"kind": "margin", "amount": -margin}
    added["currency"] = added["margin_currency"]
    words = f"the margin was changed by {plain(-margin)} {added['margin_currency']}, which the ledger lacks"
    return [(Hypothesis("margin_change_missing", words, off, until, added=added, guesses=1),)]


def missing_fill(events: Sequence[Event], off: Effect, until: datetime) -> list[Answer]:
    """A fill that the ledger lacks; where it may have been a liquidation, that stands beside it."""
    base, quote, margin = off
    if base * quote >= 0 or margin > 0:
        return []
    prices = [event["price"] for event in events if event["price"]]
    price = abs(quote / base)
    if prices and not min(prices) * _PRICE_RANGE[0] <= price <= max(prices) * _PRICE_RANGE[1]:
        return []
    side = "buy" if base < 0 else "sell"
    added = blank(events[-1], until) | {"kind": "fill", "side": side, "amount": -margin, "posted": -margin}
    exact = _exact_fill(events, side, abs(base), abs(quote), added)
    rough = {"quantity": abs(base), "price": price.quantize(Decimal("1e-18")), "value": abs(quote), "fee": NOTHING}
    whole = exact or {**added, **rough}
    about = "" if exact else "about "
    words = (
        f"a {side} of {about}{plain(whole['quantity'])} at {about}{plain(whole['price'].quantize(_VENUE))} is missing"
    )
    guesses = 1 if exact else 2
    found: list[Answer] = [(Hypothesis("missing_fill", words, off, until, added=whole, guesses=guesses),)]
    is_long = events[-1]["is_long"]
    if margin == 0 and is_long == (side == "sell"):
        words = f"a liquidation by a {side} of about {plain(abs(base))} is missing"
        forced = {**whole, "kind": "liquidation", "amount": None}
        found.append((Hypothesis("liquidation", words, off, until, added=forced, guesses=guesses),))
    return found


def _exact_fill(events: Sequence[Event], side: str, base: Decimal, quote: Decimal, blank_fill: Event) -> Event | None:
    """The fill with a usual fee rate, and quantity and price of few decimals, that changes the legs so."""
    pair = blank_fill["instrument"].split("-")
    for rate in fee_rates(events):
        gross = (base if side == "buy" else quote) / (1 - rate)
        quantity = (gross if side == "buy" else base).quantize(_VENUE)
        value = quote if side == "buy" else gross
        price = (value / quantity).quantize(_VENUE) if quantity else NOTHING
        fee = money((quantity if side == "buy" else quantity * price) * rate)
        fill = {"quantity": quantity, "price": price, "fee": fee, "fee_currency": pair[0] if side == "buy" else pair[1]}
        if price > 0 and flows({**blank_fill, **fill, "posted": NOTHING})[:2] == _signed(side, base, quote):
            return {**blank_fill, **fill}
    return None


def _signed(side: str, base: Decimal, quote: Decimal) -> tuple[Decimal, Decimal]:
    return (base, -quote) if side == "buy" else (-base, quote)


def opening(events: Sequence[Event], off: Effect) -> list[Answer]:
    """An opening balance that is another at the exchange."""
    base, quote, margin = off
    opening = events[0]
    if opening["kind"] != "opening":
        return []
    sign = 1 if opening["side"] == "buy" else -1
    added = {
        **opening,
        "quantity": opening["quantity"] - sign * base,
        "value": opening["value"] + sign * quote,
        "amount": opening["amount"] - margin,
        "posted": opening["amount"] - margin,
    }
    words = "the balances with which the ledger begins are others at the exchange"
    return [(Hypothesis("opening_balance", words, off, opening["time"], opening, added, guesses=3),)]


def cut_offs(events: Sequence[Event], off: Effect, until: datetime) -> list[Answer]:
    """The last events that the exchange does not count yet, or the next ones that it counts already."""
    found: list[Answer] = []
    total, parts = NO_EFFECT, []
    for event in reversed([event for event in events if event["time"] <= until]):
        effect = flows(event)
        total = _sum(total, effect)
        parts.append(Hypothesis("cut_off", "the exchange counts it later", effect, event["time"], removed=event))
        if total == off and event is not events[0]:  # of a whole life no snapshot shows when it began
            found.append(tuple(parts))
    total, parts = NO_EFFECT, []
    for event in (event for event in events if event["time"] > until):
        effect = less(NO_EFFECT, flows(event))
        total = _sum(total, effect)
        moved = {**event, "time": until}
        parts.append(Hypothesis("cut_off", "the exchange counts it already", effect, until, event, moved))
        if total == off:
            found.append(tuple(parts))
    return found


def _sum(one: Effect, other: Effect) -> Effect:
    return one[0] + other[0], one[1] + other[1], one[2] + other[2]


# --- events that are put in -----------------------------------------------------------------------------------


def blank(like: Event, time: datetime) -> Event:
    """An event of the same position with nothing in it."""
    kept = ("account", "instrument", "mode", "margin_currency", "margin_is_base", "leverage_in_force", "sequence")
    empty = dict.fromkeys(like)
    return {**empty, **{name: like[name] for name in kept}, "time": time, "event_id": "assumed", "reduce_only": False}


def restated(events: Sequence[Event], moment: dict[str, Any], words: str) -> Answer:
    """The ledger taken to have the exchange's balances from the moment on, whatever led there: a guess of everything.

    The events of the position up to the moment make way for an opening balance. The effect is not asked for.
    """
    legs = {name: moment[f"{name}_stated"] or NOTHING for name in ("base", "quote", "margin")}
    long = moment["is_long_stated"] == 1
    sign = 1 if long else -1
    added = blank(events[-1], moment["time"]) | {
        "kind": "opening",
        "side": "buy" if long else "sell",
        "quantity": sign * legs["base"],
        "value": -sign * legs["quote"],
        "price": moment["stated_entry_price"] or abs(legs["quote"] / legs["base"]),
        "amount": legs["margin"],
    }
    gone = [Hypothesis("cut_off", words, NO_EFFECT, event["time"], removed=event, guesses=3) for event in events]
    return (*gone, Hypothesis("cut_off", words, NO_EFFECT, moment["time"], added=added, guesses=3))


def named(answer: Answer) -> Answer:
    """The answer with an identifier of its own for every event that it puts in."""
    return tuple(
        replace(part, added={**part.added, "event_id": f"assumed {number} {part.added['event_id']}"})
        if part.added
        else part
        for number, part in enumerate(answer)
    )
