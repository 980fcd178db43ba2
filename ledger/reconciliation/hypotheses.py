"""One possible mistake of the ledger at a time, with what it would explain: used where the exchange gives no events.

A snapshot says by how much each balance is off, not why. So every event of the open position is taken as mistaken in
each way a ledger goes wrong, and the effect of that on the balances is compared with what is off. Between two closes
balances are sums, so the effect is a difference of the event's own flows; what fits is replayed before it is believed.

The search walks the events of one position that is off, in Python's decimals: it is short, and nothing else needs it.
Callers work under `wide_decimals`.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from typing import Any

from ledger.explain import plain
from ledger.reconciliation.typing_errors import slips

Effect = tuple[Decimal, Decimal, Decimal]
"""What the ledger has too much of: base leg, quote leg, margin."""
Event = dict[str, Any]
"""A row of EVENTS, with `posted` margin, `episode`, `liability` before it, `leverage_in_force` and `sequence`."""

NOTHING = Decimal(0)


def wide_decimals() -> AbstractContextManager[Any]:
    """Decimals with room for every product of two amounts: the default 28 digits round in silence."""
    return localcontext(prec=80)


_CENT = Decimal(1).scaleb(-18)
_USUAL_FEES = tuple(map(Decimal, ("0.001", "0.0008", "0.0006", "0.0005", "0.0015", "-0.0001", "-0.0002")))


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
    """Every mistake but in interest in the events of the life of one position that is open at a time, `until`.

    `events` are all events of that life, in order.
    """
    known = [event for event in events if event["time"] <= until]
    rates = fee_rates(known)
    counts = Counter(map(_alike, known))
    found: list[Hypothesis] = []
    for event in known:
        if event["kind"] in ("fill", "liquidation"):
            found += _trade_mistakes(event, rates, counts[_alike(event)] > 1)
        elif event["kind"] == "margin":
            found += _margin_mistakes(event)
        elif event["kind"] == "adjustment":
            found.append(without(event, "adjustment", f"the adjustment {event['reason']} is unknown to the exchange"))
    return found


def _alike(event: Event) -> tuple[Any, ...]:
    return tuple(event[name] for name in ("kind", "side", "quantity", "price"))


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


def without(event: Event, cause: str, words: str) -> Hypothesis:
    """The event should not be there."""
    return Hypothesis(cause, words, flows(event), event["time"], removed=event)


def instead(event: Event, cause: str, words: str, slip: int = 0, **changes: Any) -> Hypothesis:
    """The event should be another; the margin that it posts by the formula follows."""
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
                rates[(event["fee"] / amount).quantize(Decimal("1e-6"))] = None
    return list(dict.fromkeys([*(rate for rate in rates if rate), *_USUAL_FEES]))


def _trade_mistakes(event: Event, rates: list[Decimal], repeated: bool) -> Iterator[Hypothesis]:
    which = f"the {event['side']} of {plain(event['quantity'])} at {plain(event['price'])}"
    if event["reason"]:
        yield without(event, "adjustment", f"{which}, posted by hand, is unknown to the exchange")
    elif repeated:
        yield without(event, "duplicate_fill", f"{which} stands twice")
    else:
        yield without(event, "extra_fill", f"{which} is unknown to the exchange")
    other_side = "sell" if event["side"] == "buy" else "buy"
    yield from _turned(event, which, other_side)
    yield from _fee_mistakes(event, rates, which)
    if event["kind"] == "fill" and event["amount"]:
        for margin in slips(event["amount"]):
            yield instead(event, "margin_amount", f"the margin of {which} is {plain(margin)}", 1, amount=margin)
    for price in slips(event["price"]):
        yield instead(event, "price", f"{which} is at {plain(price)}", 1, price=price, value=None)
    for quantity in slips(event["quantity"]):
        yield instead(event, "quantity", f"{which} is of {plain(quantity)}", 1, quantity=quantity, value=None)


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
            yield instead(
                event,
                "fee_not_deducted",
                f"{which} bears a fee of {plain(each)} {currency}",
                fee=each,
                fee_currency=currency,
            )
        return
    if in_received:
        yield instead(
            event, "fee_currency", f"the fee of {which} is in neither currency", fee=NOTHING, fee_currency=None
        )
        return
    price = event["price"]
    converted = money(fee / price) if event["side"] == "buy" else money(fee * price)
    for each in dict.fromkeys([*due, converted, fee]):
        yield instead(
            event, "fee_currency", f"the fee of {which} is {plain(each)} {currency}", fee=each, fee_currency=currency
        )


# --- margin ---------------------------------------------------------------------------------------------------


def _margin_mistakes(event: Event) -> Iterator[Hypothesis]:
    amount = event["amount"]
    which = f"the change of margin by {plain(amount)}"
    cause = "adjustment" if event["reason"] else "margin_change_extra"
    yield without(event, cause, f"{which} is unknown to the exchange")
    yield instead(event, "sign", f"{which} is one by {plain(-amount)}", amount=-amount)
    for other in slips(amount):
        yield instead(event, "margin_amount", f"{which} is one by {plain(other)}", 1, amount=other)
