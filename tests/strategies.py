"""Whole histories of several positions, valid event by event, for the engine and the oracle to replay.

The oracle is the state: an intention (flip, close exactly, pay interest ...) becomes an event that fits the
balances of its position, and an event the oracle refuses is dropped. `histories` draws them with hypothesis;
`history` takes any random.Random.
"""

from datetime import UTC, datetime, timedelta
from fractions import Fraction
from itertools import product

import oracle
import polars as pl
from hypothesis import assume
from hypothesis import strategies as st
from oracle import rounded

from ledger.columns import EVENTS, schema

KEYS = [
    (account, instrument, instrument.split("-")[leg])
    for account, instrument, leg in product(("main", "second"), ("BTC-USDT", "LTC-BTC"), (0, 1))
]
SCALES = [
    (Fraction(price), Fraction(quantity))
    for price, quantity in (
        ("62961.4", "0.00158827"),
        ("100000", "1"),
        ("1", "1"),
        ("0.07", "12345.678901234567890123"),
        ("1e12", "1e-16"),
        ("1e-9", "1e12"),
        ("1000", "1e12"),
        ("0.1", "1e-16"),
        ("0.000123", "1e-10"),
    )
]
"""Price and quantity, from the smallest amounts to the largest; a value stays below 10**16."""
LARGEST = 10**16
DUST = Fraction(1, 10**18)
OPEN_INTENTIONS = (
    ["flip"] * 5
    + ["increase", "reduce", "interest"] * 3
    + ["close", "reduce_only", "repay", "adjust"] * 2
    + ["liquidate_part", "liquidate", "liquidate_over", "add_margin", "take_margin", "leverage", "deleverage"]
)
FLAT_INTENTIONS = ["increase"] * 6 + ["leverage"] + ["opening"] * 2
REASONS = ("missing_fill", "missing_interest", "write_off", "margin_change_missing")
BLANK = dict.fromkeys([column.name for column in EVENTS]) | {"reduce_only": False}


@st.composite
def histories(draw, policies=oracle.DEFAULTS, events=40, positions=3):
    """A list of valid events (plain dicts, amounts as fractions) of one to `positions` positions."""
    random = draw(st.randoms(use_true_random=False))
    size, count = draw(st.integers(1, events)), draw(st.integers(1, positions))
    found = history(random, events=size, positions=count, policies=policies)
    assume(found)
    return found


def history(random, *, events, positions, policies=oracle.DEFAULTS):
    """At most `events` valid events of `positions` positions, interleaved, from two files."""
    books = [_book(random, key) for key in random.sample(KEYS, positions)]
    clock = {"time": datetime(2024, 1, 1, tzinfo=UTC), "input": 1, "rows": {1: 1, 2: 1}}
    done = []
    for _ in range(events):
        book = random.choice(books)
        event = _stamped(random, clock, _event(random, book), len(done))
        position = dict(book["position"])
        if not _is_plausible(event):
            continue
        try:
            rows = oracle.step(position, event, policies)
        except oracle.RefusedError:
            continue
        if _is_sound(position, rows):
            book["position"] = position
            clock.update(time=event["time"], input=event["input"])
            clock["rows"][event["input"]] = event["row"]
            done.append(event)
    return done


def frame(events):
    """The events as a typed frame, file by file, as the reader would give it."""
    types = {**schema(EVENTS), "input": pl.UInt16, "row": pl.UInt32}
    ordered = sorted(events, key=lambda event: (event["input"], event["row"]))
    columns = {name: [_plain(event[name]) for event in ordered] for name in types}
    texts = {name: pl.String if isinstance(dtype, pl.Decimal) else dtype for name, dtype in types.items()}
    return pl.DataFrame(columns, schema=texts).cast(types)


def _plain(value):
    return text(value) if isinstance(value, Fraction) else value


def text(amount):
    """A fraction of at most 18 decimals as text, exactly."""
    units = amount * oracle.UNITS
    if units.denominator != 1:
        raise ValueError(f"{amount} has more than 18 decimals")
    whole, decimals = divmod(abs(units.numerator), oracle.UNITS)
    return f"{'-' if amount < 0 else ''}{whole}.{decimals:018d}"


def _book(random, key):
    """A position with the prices and sizes that are usual in it."""
    price, size = random.choice(SCALES)
    return {
        "key": key,
        "position": oracle.new_position(*key),
        "price": price,
        "size": size,
        "flips": random.random() < 0.3,
        "tidy": random.random() < 0.3,
        "mode": random.choice(("old", "new")),
    }


def _is_plausible(event):
    """What the reader asks of a fill: bounded amounts, a value above zero, a fee smaller than the fill."""
    if event["quantity"] is None:
        return True
    quantity, price = event["quantity"], event["price"]
    base, quote = event["instrument"].split("-")
    product, value = rounded(quantity * price), oracle.value_of(event)
    traded = {base: quantity, quote: value}.get(event["fee_currency"], LARGEST)
    least = rounded(min(quantity, 1) * min(price, 1)) if event["kind"] != "opening" else DUST
    stated = value > 0 or event["kind"] == "opening"
    return (
        max(quantity, price, product, abs(value)) < LARGEST
        and min(least, price) > 0
        and stated
        and (abs(event["fee"] or 0) < traded)
    )


def _is_sound(position, rows):
    """Amounts within bounds, and an open position has something to settle."""
    amounts = [abs(value) for row in rows for value in row.values() if isinstance(value, Fraction)]
    settlement = position["assets"] if position["direction"] and _settles_assets(position) else position["debt"]
    return max(amounts) < LARGEST and (position["direction"] is None or settlement > 0)


def _settles_assets(position):
    return oracle.case_of(position) in ("LQ", "SB")


def _stamped(random, clock, event, number):
    """The event with its time, its file and row: most follow the one before, some share its time."""
    seconds = random.choice((0, 0, 1, 60))
    file = random.choice((1, 2)) if seconds else random.choice((clock["input"], 2))
    place = {"input": file, "row": clock["rows"][file] + 1, "event_id": f"event-{number}"}
    return event | place | {"time": clock["time"] + timedelta(seconds=seconds)}


def _event(random, book):
    position, (account, instrument, margin_currency) = book["position"], book["key"]
    is_open = position["direction"] is not None
    if not is_open and random.random() < 0.1:
        book["mode"] = random.choice(("old", "new"))
    often = is_open and book["flips"] and random.random() < 0.6
    intention = "flip" if often else random.choice(OPEN_INTENTIONS if is_open else FLAT_INTENTIONS)
    whose = {"account": account, "instrument": instrument, "margin_currency": margin_currency}
    event = BLANK | whose | {"mode": book["mode"]} | _intended(random, book, intention)
    if event["kind"] in ("fill", "liquidation") and random.random() < 0.3:
        event["value"] = _recorded(random, event)
    if event["kind"] == "adjustment" or random.random() < 0.1:
        event["reason"] = random.choice(REASONS)
    return event


def _recorded(random, event):
    """What was booked for a fill: quantity x price, cut or rounded otherwise, or of a price a little off."""
    value = rounded(event["quantity"] * event["price"])
    decimals = Fraction(10 ** random.choice((4, 8, 12)))
    apart = random.choice((-DUST, DUST, value / 10**6, -value / 10**6, value / 1000, None))
    return Fraction(int(value * decimals)) / decimals if apart is None else rounded(value + apart)


def _intended(random, book, intention):
    if intention == "increase":
        side = oracle.OPENING_SIDE.get(book["position"]["direction"]) or random.choice(("buy", "sell"))
        quantity = rounded(book["size"] * random.randint(1, 999) / 10 ** random.randint(0, 2))
        return _opening_fill(random, book, side, quantity)
    others = {"interest": _interest, "leverage": _leverage_event, "deleverage": _leverage_event}
    others |= {"add_margin": _margin_event, "take_margin": _margin_event}
    others |= {"opening": _opening_balance, "adjust": _adjustment}
    return others.get(intention, _reducing_fill)(random, book, intention)


def _interest(random, book, intention):
    position = book["position"]
    leg = "quote" if position["direction"] == "long" else "base"
    amount = rounded(abs(position["debt"]) * random.choice((Fraction(115, 10**8), Fraction(1, 100), 0)))
    return {"kind": "interest", "amount": amount + DUST, "currency": position[f"{leg}_currency"]}


def _opening_balance(random, book, intention):
    """A position brought forward; what it owes can be more or less than its assets, or repaid to the last digit."""
    price, quantity = _price(random, book), max(rounded(book["size"] * random.randint(1, 999) / 10), DUST)
    factor = random.choice((1, 1, Fraction(9, 10), Fraction(13, 10), Fraction(1, 1000), 0, Fraction(-1, 10)))
    stated = {"kind": "opening", "side": random.choice(("buy", "sell")), "quantity": quantity, "price": price}
    stated |= {"value": rounded(quantity * price * factor), "currency": book["key"][2]}
    size = quantity if book["position"]["margin_is_base"] else quantity * price
    stated["leverage"] = _leverage(random) if random.random() < 0.7 else None
    return stated | {"amount": rounded(size * random.choice((Fraction(1, 3), Fraction(1, 10), 0)))}


def _adjustment(random, book, intention):
    """A write-off of dust or of a share of what stands on a leg, of either sign."""
    position, leg = book["position"], random.choice(("base", "quote"))
    owned = "base" if position["direction"] == "long" else "quote"
    standing = position["assets" if leg == owned else "debt"]
    size = random.choice((DUST, 10**10 * DUST, abs(standing) / 10**6, abs(standing) / 7, abs(standing)))
    return {
        "kind": "adjustment",
        "amount": rounded(size) * random.choice((-1, 1)),
        "currency": position[f"{leg}_currency"],
    }


def _margin_event(random, book, intention):
    amount = rounded(book["position"]["margin"] * random.randint(1, 10) / 10)
    return _paid_in(book, "margin", -amount if intention == "take_margin" else amount + DUST)


def _leverage_event(random, book, intention):
    stated = {"leverage": _leverage(random)}
    if intention == "leverage":
        return {"kind": "leverage"} | stated
    delta = rounded(book["position"]["margin"] * random.choice((-1, 1, 2)) / 3)
    return _paid_in(book, "leverage", delta) | stated


def _paid_in(book, kind, amount):
    return {"kind": kind, "amount": amount, "currency": book["key"][2]}


def _leverage(random):
    return Fraction(random.choice(("2", "3", "5", "7.5", "10", "125")))


def _price(random, book):
    factor = random.choice((1, 1, Fraction(9, 10), Fraction(11, 10), 2, Fraction(1, 2), Fraction(98765, 100000)))
    return max(rounded(book["price"] * factor), DUST)


def _opening_fill(random, book, side, quantity):
    """A fill with a leverage or a recorded margin, now and then neither."""
    price = _price(random, book)
    fill = {"kind": "fill", "side": side, "quantity": max(quantity, DUST), "price": price}
    fill |= _fee(random, book, side, quantity, rounded(quantity * price))
    return fill | _margin_terms(random, book, quantity, price)


def _margin_terms(random, book, quantity, price):
    position = book["position"]
    terms = {}
    if position["leverage"] is None or random.random() < 0.3:
        terms["leverage"] = _leverage(random)
    if random.random() < 0.3:
        size = quantity if position["margin_is_base"] else quantity * price
        amount = rounded(size / 5 * random.choice((1, Fraction(100024, 100000))))
        terms |= {"amount": amount, "currency": book["key"][2]}
    return terms


def _fee(random, book, side, quantity, value):
    """A fee or a rebate, in the currency received, the other one or a third; or none."""
    base, quote = book["key"][1].split("-")
    kind = random.choice(("none", "received", "received", "received", "given", "third"))
    if kind == "none":
        return {}
    rate = Fraction(random.choice(("0.001", "0.0015", "0", "-0.0002", "0.01")))
    if kind == "third":
        return {"fee": rounded(value * rate), "fee_currency": "OKB"}
    in_base = (side == "buy") == (kind == "received")
    return {
        "fee": rounded((quantity if in_base else value) * rate),
        "fee_currency": base if in_base else quote,
    }


def _reducing_fill(random, book, intention):
    """A fill against the position: part of it, exactly all of it, or more."""
    position, price = book["position"], _price(random, book)
    settles_base = not position["margin_is_base"]
    target = position["assets"] if _settles_assets(position) else position["debt"]
    side = {"long": "sell", "short": "buy"}[position["direction"]]
    liquidates = intention.startswith("liquidate")
    fill = {"kind": "liquidation" if liquidates else "fill", "side": side, "price": price}
    if intention == "close" or (intention == "liquidate" and random.random() < 0.5):
        fill |= _exact(position, side, price, target, settles_base=settles_base)
    elif intention == "repay":
        fill |= _repayment(random, position, settles_base=settles_base)
    else:
        quantity = max(rounded(_share(random, intention, target) / (1 if settles_base else price)), DUST)
        fill |= {"quantity": quantity, **_fee(random, book, side, quantity, rounded(quantity * price))}
    if intention == "flip":
        return fill | _margin_terms(random, book, fill["quantity"], price)
    if liquidates and intention != "liquidate_part" and random.random() < 0.5:
        fill |= {"amount": rounded(position["margin"] / 7), "currency": book["key"][2]}
    return fill | {"reduce_only": True if intention == "reduce_only" else liquidates and random.random() < 0.5}


def _share(random, intention, target):
    """How much of what closes the position the fill brings, before its fee."""
    if intention in ("reduce", "liquidate_part"):
        return random.choice((target / 3, target / 2, target * Fraction(999, 1000), target - DUST, DUST))
    return random.choice((target * 2, target * Fraction(1001, 1000), target * Fraction(7, 3), target + DUST))


def _exact(position, side, price, target, *, settles_base):
    """Quantity and fee that bring the settlement leg to exactly zero."""
    if settles_base:
        fee = rounded(target / 1000) * (1 if side == "buy" else -1)
        return {"quantity": target + fee, "fee": abs(fee), "fee_currency": position["base_currency"]}
    quantity = max(rounded(target / price), DUST)
    surplus = rounded(quantity * price) - target
    fee = surplus if side == "sell" else -surplus
    return {"quantity": quantity, "fee": fee, "fee_currency": position["quote_currency"]}


def _repayment(random, position, *, settles_base):
    """LQ, SB: repay the whole debt with a part of the assets. Others: whatever this happens to do."""
    share = Fraction(random.randint(1, 9), 10)
    debt, assets = max(position["debt"], DUST), max(position["assets"], DUST)
    if settles_base == (position["direction"] == "long"):
        quantity = max(rounded(assets * share), DUST) if settles_base else debt
        price = max(rounded(debt / quantity if settles_base else assets * share / quantity), DUST)
        surplus = rounded(quantity * price) - debt if settles_base else Fraction(0)
        return {
            "quantity": quantity,
            "price": price,
            "fee": surplus,
            "fee_currency": position["quote_currency"],
        }
    return {"quantity": max(rounded(min(assets, debt) * share), DUST)}
