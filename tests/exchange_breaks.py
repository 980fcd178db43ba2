"""Breaks of known cause in the house's own ledger of a history of `exchange_truth`.

`plant` changes the ledger's copy of the events, cause by cause, and says what it did: the cause by its name, the
position, the event, and what of each balance at the end is due to it, by the oracle. What is planted is always
something that a ledger can hold (the oracle replays it) and that changes the position's end or what flowed.
"""

import math
from datetime import timedelta
from fractions import Fraction

import oracle
from exchange_events import down, fits, name_of, walk

ATTEMPTS = 60
BALANCES = ("base_leg", "quote_leg", "margin", "assets_shown", "liability_shown")
FLOWS = ("account_base", "account_quote", "insurance_fund", "interest", "fee", "initial_margin")
BILL_CAUSES = ("missing_fill", "missing_interest", "margin_change_missing", "liquidation", "cut_off")
"""Causes that a ledger kept as the exchange's own bills can have: rows that it lacks."""
SWAPPED = {"buy": "sell", "sell": "buy", "old": "new", "new": "old"}
ROUNDINGS = (("half_up", 16), ("down", 16), ("half_up", 8), ("up", 8), ("down", 8))


def plant(random, events, position, causes):
    """The ledger's events with one break of each of the causes in that position, and what was planted; or None.

    What was planted: cause, position, event_id, time, `detail` in words, `effect` (by balance, the ledger's end less
    what it would be without), and `seen_in`: state or flows.
    """
    ledger, planted, touched = list(events), [], set()
    for cause in causes:
        found = _planted(random, ledger, position, cause, touched)
        if found is None:
            return None
        ledger, one = found
        planted.append(one)
        touched |= one.pop("touched")
    return {"events": ledger, "planted": planted}


def cut_off(events, moment):
    """The ledger of a house that has nothing after a moment, and what each position lacks, as `plant` gives it."""
    ledger = [event for event in events if event["time"] <= moment]
    planted = []
    for position in sorted({name_of(event) for event in events if event["time"] > moment}):
        ends, true = outcome(ledger, position), outcome(events, position)
        effect = {name: ends[name] - true[name] for name in true}
        if any(effect.values()):
            first = next(event for event in events if event["time"] > moment and name_of(event) == position)
            whose = {"cause": "cut_off", "position": position, "event_id": first["event_id"], "time": first["time"]}
            planted.append({**whose, "detail": "the ledger stops", "effect": effect, "seen_in": _seen_in(effect)})
    return {"events": ledger, "planted": planted}


def ledger_bills(rows, ledger):
    """The bills of those events that the ledger still has."""
    kept = {event["event_id"] for event in ledger}
    return [row for row in rows if row["event_id"] in kept]


def outcome(events, position):
    """Balances of a position at the end, and the sums of what flowed; raises RefusedError."""
    totals, state = dict.fromkeys(FLOWS, Fraction(0)), None
    for event, rows, now in walk([event for event in events if name_of(event) == position]):
        state = now
        for row in rows:
            for name in FLOWS:
                totals[name] += row[name] or 0
        if not _is_bookable(event, rows):
            raise oracle.RefusedError("more decimals than a ledger holds, or amounts that make no sense")
    legs = oracle.balances(state) if state else (Fraction(0),) * 3
    return {**dict(zip(BALANCES, (*legs, *_shown(state)), strict=True)), **totals}


def _seen_in(effect):
    return "state" if any(effect[name] for name in BALANCES) else "flows"


def _shown(state):
    """Assets and liability as they are displayed."""
    if state is None or state["direction"] is None:
        return Fraction(0), Fraction(0)
    with_margin = state["mode"] == "old" and oracle.case_of(state) in ("LB", "SQ")
    return max(state["assets"], 0) + (state["margin"] if with_margin else 0), -max(state["debt"], 0)


def _is_bookable(event, rows):
    if not fits(event, rows, 18):
        return False
    return event["quantity"] is None or all(row["quantity"] > 0 and row["value"] > 0 for row in rows)


def _planted(random, ledger, position, cause, touched):
    """One break in a place not touched yet, or None where there is no room for it."""
    before = outcome(ledger, position)
    for _ in range(ATTEMPTS):
        found = PLANTERS[cause](random, ledger, _places(random, ledger, position, touched))
        if not found:
            continue
        changed, event, detail, *others = found
        try:
            after = outcome(changed, position)
        except oracle.RefusedError:
            continue
        effect = {name: after[name] - before[name] for name in after}
        if not any(effect.values()):
            continue
        whose = {"cause": cause, "position": position, "event_id": event["event_id"], "time": event["time"]}
        found = {**whose, "detail": detail, "effect": effect, "seen_in": _seen_in(effect)}
        return changed, found | {"touched": {event["event_id"], *(each["event_id"] for each in others)}}
    return None


def _places(random, ledger, position, touched):
    """Events of the position that may be touched: mostly those of its last life."""
    own = [event for event in ledger if name_of(event) == position and event["event_id"] not in touched]
    start = 0
    if random.random() < 0.8:
        opened = [event["event_id"] for event, rows, _ in walk(_of(ledger, position)) if rows[-1]["action"] == "open"]
        start = next((place for place, event in enumerate(own) if opened and event["event_id"] == opened[-1]), 0)
    return own[start:]


def _of(ledger, position):
    return [event for event in ledger if name_of(event) == position]


# What can be done to a ledger


def _without(ledger, *events):
    gone = {event["event_id"] for event in events}
    return [event for event in ledger if event["event_id"] not in gone]


def _with(ledger, event, **changes):
    return [other | changes if other["event_id"] == event["event_id"] else other for other in ledger]


def _beside(ledger, event, added):
    """The event more, after all that happened up to its time; a copy of the same moment right after the original."""
    place = ledger.index(event) + 1
    if added["time"] > event["time"]:
        place = sum(other["time"] <= added["time"] for other in ledger)
    return [*ledger[:place], added, *ledger[place:]]


def _later(ledger, event, **by):
    """A while later, but not after the position's last event: what comes then, a snapshot of it cannot show."""
    return min(event["time"] + timedelta(**by), max(other["time"] for other in _of(ledger, name_of(event))))


def _one(random, places, *kinds, where=lambda event: True):
    found = [event for event in places if event["kind"] in kinds and where(event)]
    return random.choice(found) if found else None


def _copy(event, letter, **changes):
    return event | {"event_id": event["event_id"] + letter} | changes


def _missing(kind):
    def planter(random, ledger, places):
        event = _one(random, places, kind)
        return event and (_without(ledger, event), event, f"{kind} left out")

    return planter


def _duplicate_fill(random, ledger, places):
    event = _one(random, places, "fill")
    return event and (_beside(ledger, event, _copy(event, "b")), event, "fill entered twice")


def _extra_fill(random, ledger, places):
    """A fill that never was: of another size, at another time and about the same price."""
    event = _one(random, places, "fill", where=lambda event: not event["reduce_only"])
    if event is None:
        return None
    share = Fraction(random.randint(20, 170), 100)
    amounts = {name: event[name] and down(event[name] * share, 8) for name in ("quantity", "fee", "amount")}
    price = down(event["price"] * random.randint(9_960, 10_040) / 10_000, 4)
    moved = {"time": _later(ledger, event, seconds=random.randint(60, 3000)), "price": price}
    added = _copy(event, "x", **amounts, **moved, order_id=None, trade_id=None)
    return _beside(ledger, event, added), added, "fill that never was"


def _fee_not_deducted(random, ledger, places):
    event = _one(random, places, "fill", where=lambda event: event["fee"])
    return event and (_with(ledger, event, fee=None, fee_currency=None), event, "fee left out")


def _fee_currency(random, ledger, places):
    """The fee in the other currency of the pair, as the same number or converted, or in a third currency."""
    event = _one(random, places, "fill", where=lambda event: event["fee"])
    if event is None:
        return None
    base, quote = event["instrument"].split("-")
    in_base = event["fee_currency"] == base
    way = random.choice(("number", "converted", "third"))
    other = quote if in_base else base
    fee = event["fee"]
    if way == "converted":
        fee = down(fee * event["price"] if in_base else fee / event["price"], 12)
    other = "OKB" if way == "third" else other
    size = {base: event["quantity"], quote: event["quantity"] * event["price"]}.get(other)
    if not fee or (size is not None and abs(fee) >= size):
        return None
    return _with(ledger, event, fee=fee, fee_currency=other), event, f"fee in {other} ({way})"


def _extra_interest(random, ledger, places):
    """A charge twice at its hour, or one more between two hours."""
    event = _one(random, places, "interest")
    if event is None:
        return None
    time = _later(ledger, event, minutes=random.choice((0, 0, 30)))
    added = _copy(event, "x", time=time)
    return _beside(ledger, event, added), added, "charge twice" if time == event["time"] else "charge at no hour"


def _rate_unit(random, ledger, places):
    event = _one(random, places, "interest")
    if event is None:
        return None
    factor = random.choice((Fraction(24), Fraction(1, 24)))
    amount = rounded(event["liability"] * event["rate"] * factor, "up", 16)
    return _with(ledger, event, amount=amount), event, f"charge at {factor} of the rate"


def _interest_rounding(random, ledger, places):
    """All charges from one on, rounded in another way."""
    charges = [event for event in places if event["kind"] == "interest"]
    if not charges:
        return None
    way = random.choice(ROUNDINGS)
    charges = charges[random.randrange(len(charges)) :]
    new = {event["event_id"]: rounded(event["liability"] * event["rate"], *way) for event in charges}
    changed = [event | {"amount": new.get(event["event_id"], event["amount"])} for event in ledger]
    return changed, charges[0], f"interest rounded {way[0]} at {way[1]} decimals", *charges


def _mode(random, ledger, places):
    """The other mode in all of the position's life."""
    if not places:
        return None
    position = name_of(places[0])
    changed = [event | {"mode": SWAPPED[event["mode"]]} if name_of(event) == position else event for event in ledger]
    return changed, places[0], f"labelled {SWAPPED[places[0]['mode']]}"


def _margin_change_extra(random, ledger, places):
    """A change of margin that never was, or one entered twice."""
    event = _one(random, places, "margin") if random.random() < 0.5 else None
    if event:
        return _beside(ledger, event, _copy(event, "b")), event, "change of margin entered twice"
    event = _one(random, places, "fill", where=lambda event: event["amount"])
    if event is None:
        return None
    amount = down(event["amount"] * random.randint(-30, 40) / 100, 6)
    blank = dict.fromkeys(("side", "quantity", "price", "fee", "fee_currency", "leverage", "order_id", "trade_id"))
    time = _later(ledger, event, seconds=random.randint(1, 900))
    stated = {"kind": "margin", "amount": amount, "reduce_only": False, "is_auto": False, "time": time}
    added = _copy(event, "m", **blank, **stated)
    return amount and (_beside(ledger, event, added), added, "change of margin that never was")


def _margin_amount(random, ledger, places):
    event = _one(random, places, "margin", "fill", where=lambda event: event["amount"])
    if event is None:
        return None
    amount = typo(random, abs(event["amount"])) * (1 if event["amount"] > 0 else -1)
    return _with(ledger, event, amount=amount), event, f"margin of a {event['kind']} mistyped"


def _cut_off(random, ledger, places):
    """The ledger stops before the last events of the position."""
    count = random.randint(1, min(6, max(len(places) - 1, 1)))
    left = places[-count:]
    return left and (_without(ledger, *left), left[0], f"last {len(left)} events not yet in the ledger", *left)


def _mistyped(column):
    def planter(random, ledger, places):
        event = _one(random, places, "fill")
        return event and (
            _with(ledger, event, **{column: typo(random, event[column])}),
            event,
            f"{column} mistyped",
        )

    return planter


def _sign(random, ledger, places):
    """A fill on the other side, or margin taken out instead of added."""
    event = _one(random, places, "margin" if random.random() < 0.4 else "fill")
    if event is None:
        return None
    if event["kind"] == "margin":
        return _with(ledger, event, amount=-event["amount"]), event, "sign of a change of margin"
    changes = {"side": SWAPPED[event["side"]], "reduce_only": False, "amount": None, "currency": None}
    return _with(ledger, event, **changes), event, "side of a fill"


PLANTERS = {
    "missing_fill": _missing("fill"),
    "duplicate_fill": _duplicate_fill,
    "extra_fill": _extra_fill,
    "fee_not_deducted": _fee_not_deducted,
    "fee_currency": _fee_currency,
    "missing_interest": _missing("interest"),
    "extra_interest": _extra_interest,
    "rate_unit": _rate_unit,
    "interest_rounding": _interest_rounding,
    "mode": _mode,
    "margin_change_missing": _missing("margin"),
    "liquidation": _missing("liquidation"),
    "margin_change_extra": _margin_change_extra,
    "margin_amount": _margin_amount,
    "cut_off": _cut_off,
    "price": _mistyped("price"),
    "quantity": _mistyped("quantity"),
    "sign": _sign,
}
"""How a break of each cause is planted; the names are those of `ledger.reconciliation.columns.CAUSES`."""


# Amounts


def typo(random, amount):
    """The amount with two neighbouring digits exchanged, or its point moved by one place."""
    units = str(int(amount * oracle.UNITS))
    pairs = [place for place in range(min(len(units) - 1, 8)) if units[place] != units[place + 1]]
    if pairs and random.random() < 0.7:
        place = random.choice(pairs)
        swapped = units[:place] + units[place + 1] + units[place] + units[place + 2 :]
        if int(swapped):
            return Fraction(int(swapped), oracle.UNITS)
    return amount * random.choice((Fraction(10), Fraction(1, 10)))


def rounded(amount, way, decimals):
    """An amount above zero, rounded."""
    units = amount * 10**decimals
    whole = {"up": math.ceil(units), "down": math.floor(units), "half_up": math.floor(units + Fraction(1, 2))}[way]
    return Fraction(whole, 10**decimals)
