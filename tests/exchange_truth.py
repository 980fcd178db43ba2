"""Random histories of isolated positions as an exchange has them: the truth that files and breaks are made of.

`history` gives the events of one or several positions, each fitting what `oracle.step` says the position then is.
Quantities have 8 decimals, prices 1 to 4, fees are 0.1 % of what is received (a maker now and then gets a rebate),
interest is charged at every full hour on what is owed and rounded up at 16 decimals. An order that closes a position
is sized to the last digit, as an exchange sizes a "close all". Events are those of `exchange_events`; nothing here
shares a line with the package.
"""

from datetime import UTC, datetime, timedelta
from fractions import Fraction
from math import ceil
from random import Random

import oracle
from exchange_events import EPOCH, EVENT, EXCHANGE_ONLY, HOUR, MILLISECOND, down, fits, name_of

ACCOUNT = "main"
CASES = ("LB", "LQ", "SB", "SQ")
INSTRUMENTS = {
    "BTC-USDT": (Fraction("61234.5"), 1, Fraction(1, 2)),
    "ETH-USDT": (Fraction("3301.27"), 2, Fraction(9)),
    "SOL-USDC": (Fraction("143.217"), 3, Fraction(250)),
    "XRP-USDT": (Fraction("0.5432"), 4, Fraction(70_000)),
    "ETH-BTC": (Fraction("0.0534"), 4, Fraction(8)),
    "LTC-USDT": (Fraction("72.61"), 2, Fraction(400)),
}
"""Price, its decimals, and a usual size of a fill."""
FIRST_BILL = 623_950_854_533_513_219
FILL_FEE, LIQUIDATION_FEE, REBATE = Fraction(1, 1000), Fraction(15, 10_000), Fraction(-1, 20_000)
INTENTIONS = (
    *["increase"] * 6,
    *["reduce"] * 6,
    *["wait"] * 4,
    *["close", "reverse", "add_margin", "remove_margin"] * 2,
    *["liquidate_part", "liquidate", "many_fills"],
)
ATTEMPTS = 30


def history(random, *, positions=1, events=(5, 60), leftovers=False, plain=False, ends_open=None, account=ACCOUNT):
    """The history of an account: its `events` in the order they happened, and its `positions`.

    `events` bounds the events of each position. With `leftovers` a reduce-only fill may be larger than what it
    closes. A `plain` history has no amount of more than 8 decimals, and so no interest. `ends_open` says whether
    positions are open at the end; None leaves it to chance.
    """
    salt = random.getrandbits(40)
    start = datetime(2025, 1, 1, tzinfo=UTC) + timedelta(milliseconds=random.randrange(200 * 86_400_000))
    books = [_book(random, account, number + 1, salt, plain, leftovers) for number in range(positions)]
    for book in books:
        book["time"] = start + timedelta(milliseconds=random.randrange(3_600_000))
        _live(random, book, random.randint(*events), ends_open)
    lived = [
        (event["time"], number, place, event)
        for number, book in enumerate(books)
        for place, event in enumerate(book["events"])
    ]
    return {
        "account": account,
        "positions": [book["position"]["position"] for book in books],
        "events": _numbered(Random(salt), [event for *_, event in sorted(lived, key=lambda each: each[:3])]),
    }


# One position


def _book(random, account, number, salt, plain, leftovers):
    """A position, and how it is traded. Beyond the first few, instruments are numbered: BTC7-USDT."""
    name = list(INSTRUMENTS)[(number - 1) % len(INSTRUMENTS)]
    price, decimals, size = INSTRUMENTS[name]
    base, quote = name.split("-")
    base += str(number) if number > len(INSTRUMENTS) else ""
    case = random.choice(CASES)
    key = (account, f"{base}-{quote}", base if case[1] == "B" else quote)
    traded = {"price": price, "price_decimals": decimals, "size": size, "size_decimals": 8}
    if plain:  # 3 + 2 decimals, and 3 more of the fee
        decimals = min(decimals, 2)
        traded |= {"price": max(down(price, decimals), 1), "price_decimals": decimals, "size_decimals": 3}
    return {
        "key": key,
        "case": case,
        "position": oracle.new_position(*key),
        "mode": random.choice(("old", "new")),
        "leverage": Fraction(random.choice((3, 3, 4, 5, 5, 8, 10))),
        "events": [],
        "orders": 0,
        "salt": salt,
        "plain": plain,
        "leftovers": leftovers,
        **traded,
    }


def _live(random, book, count, ends_open):
    """Events until there are enough of them and the position is as it is to end."""
    for _ in range(20 * count):
        is_open = book["position"]["direction"] is not None
        enough = len(book["events"]) >= count
        if enough and (ends_open is None or ends_open == is_open):
            return
        _wait(random, book)
        if enough:
            intention = "close" if is_open else "increase"
        else:
            intention = random.choice(INTENTIONS) if is_open else "increase"
        for _ in range(ATTEMPTS):
            if _happens(book, _intended(random, book, intention)):
                break
            intention = random.choice(("increase", "reduce", "add_margin")) if is_open else "increase"
        if intention == "many_fills":
            _many_fills(random, book)
    raise ValueError("the history does not come to an end")


def _wait(random, book):
    """Time passes, and interest is charged at each full hour of it, before what happens at the hour itself."""
    span = 40_000 if book["plain"] else random.choice((40_000, 1_500_000, 1_500_000, 5 * 3_600_000))
    before = book["time"]
    now = before + timedelta(milliseconds=random.randrange(1, span))
    if random.random() < 0.05 and not book["plain"]:
        now = _next_hour(before)
    if book["plain"] and _next_hour(before) <= now:  # nothing is owed over a full hour
        now = before + MILLISECOND
    hour = _next_hour(before)
    while hour <= now:
        book["time"] = hour
        if not book["plain"]:
            _happens(book, _charge(book, hour))
        hour += HOUR
    book["time"] = now


def _next_hour(moment):
    return EPOCH + ((moment - EPOCH) // HOUR + 1) * HOUR


def _charge(book, hour):
    """Interest on all that is owed, rounded up at 16 decimals; None while nothing is owed."""
    position = book["position"]
    if position["direction"] is None or position["debt"] <= 0:
        return None
    currency = position["quote_currency" if position["direction"] == "long" else "base_currency"]
    rate = rate_of(book["salt"], currency, hour)
    amount = Fraction(ceil(position["debt"] * rate * 10**16), 10**16)
    return {"kind": "interest", "amount": amount, "currency": currency, "rate": rate, "liability": position["debt"]}


def rate_of(salt, currency, hour):
    """The hourly rate of a currency, which stays for a few hours."""
    spell = (hour - EPOCH) // (4 * HOUR)
    return Fraction(Random(f"{salt} {currency} {spell}").randint(40, 2500), 10**8)


def _happens(book, happened, *, same_order=False):
    """Whether the event fits the position; if so, it has happened."""
    if happened is None:
        return False
    event = _event(book, happened)
    try:
        position, rows = _tried(book, event)
        opened = rows[-1]["initial_margin"]
        if event["kind"] == "fill" and opened is not None:
            event |= {"amount": _recorded(book, opened), "currency": book["key"][2]}
            position, rows = _tried(book, event)
    except oracle.RefusedError:
        return False
    if not _is_sound(position, rows) or (book["plain"] and not fits(event, rows, 8)):
        return False
    book["orders"] += event["kind"] in ("fill", "liquidation") and not same_order
    event["order_id"] = book["orders"] if event["kind"] in ("fill", "liquidation") else None
    book["position"] = position
    book["events"].append(event)
    return True


def _recorded(book, margin):
    """The margin on record: that of the formula, now and then of the order's price, which was another one [V]."""
    if book["plain"]:
        return down(margin, 3)
    chance = Random(f"{book['salt']} {book['key']} {len(book['events'])}")
    return margin if chance.random() < 0.85 else down(margin * chance.randint(9_997, 10_003) / 10_000, 10)


def _event(book, happened):
    whose = dict(zip(("account", "instrument", "margin_currency"), book["key"], strict=True)) | {"mode": book["mode"]}
    blank = dict.fromkeys((*EVENT, *EXCHANGE_ONLY)) | {"reduce_only": False, "is_maker": False}
    return {**blank, **whose, "time": book["time"], "input": 1, "row": 0, **happened}


def _tried(book, event):
    position = dict(book["position"])
    return position, oracle.step(position, event)


def _is_sound(position, rows):
    """An exchange never shows a surplus as a liability, pays no less than nothing back, and posts some margin."""
    if position["direction"] and (position["debt"] <= 0 or position["assets"] <= 0 or position["margin"] <= 0):
        return False
    if any(row["action"] == "close" and min(row["account_base"], row["account_quote"]) < 0 for row in rows):
        return False
    return all(row["quantity"] is None or min(row["quantity"], row["value"]) > 0 for row in rows)


# What happens


def _intended(random, book, intention):
    """The event of an intention, or None for waiting."""
    if intention == "wait":
        return None
    if intention in ("add_margin", "remove_margin"):
        return _margin(random, book, intention)
    price = book["price"] = _walked(random, book)
    if intention in ("increase", "many_fills"):
        return _opening(random, book, price)
    return _reducing(random, book, intention, price)


def _walked(random, book):
    unit = Fraction(1, 10 ** book["price_decimals"])
    return max(down(book["price"] * random.randint(9_900, 10_100) / 10_000, book["price_decimals"]), unit)


def _margin(random, book, intention):
    amount, adds = book["position"]["margin"] * random.randint(2, 30) / 100, intention == "add_margin"
    amount = down(amount, 3 if book["plain"] else 8)
    stated = {"kind": "margin", "amount": amount if adds else -amount, "currency": book["key"][2]}
    return stated | {"is_auto": adds and random.random() < 0.2} if amount else None


def _opening(random, book, price):
    position = book["position"]
    usual = "buy" if book["case"][0] == "L" else "sell"
    other = {"buy": "sell", "sell": "buy"}[usual]
    drawn = other if position["episode"] and random.random() < 0.3 else usual
    side = oracle.OPENING_SIDE.get(position["direction"], drawn)
    quantity = down(book["size"] * random.randint(100, 3999) / 1999, book["size_decimals"])
    leverage = book["leverage"] if position["leverage"] is None or random.random() < 0.3 else None
    return _fill(random, book, side, quantity, price) | {"leverage": leverage}


def _reducing(random, book, intention, price):
    """A fill against the position: a part of it, exactly all of it, or more than it."""
    position = book["position"]
    side = {"long": "sell", "short": "buy"}[position["direction"]]
    if intention == "close" and book["leftovers"] and random.random() < 0.5:
        needed = _needed(position, price, FILL_FEE)
        quantity = down(needed, book["size_decimals"]) + Fraction(random.randint(2, 99), 10 ** book["size_decimals"])
        return _fill(random, book, side, quantity, price, takes=True) | {"reduce_only": True}
    if intention in ("close", "liquidate"):
        return _closing(random, book, side, price, liquidates=intention == "liquidate")
    rate = LIQUIDATION_FEE if intention == "liquidate_part" else FILL_FEE
    low, high = (120, 250) if intention == "reverse" else (10, 80)
    quantity = down(_needed(position, price, rate) * random.randint(low, high) / 100, book["size_decimals"])
    fill = _fill(random, book, side, quantity, price, rate=rate, takes=intention != "reduce")
    if intention == "reduce":
        return fill | {"reduce_only": random.random() < 0.5}
    return fill | ({"kind": "liquidation"} if intention == "liquidate_part" else {})


def _closing(random, book, side, price, *, liquidates):
    """The fill that brings the settlement leg to zero; its fee takes up what the quantity's decimals cannot."""
    position, rate = book["position"], LIQUIDATION_FEE if liquidates else FILL_FEE
    if position["margin_is_base"]:
        target = position["debt" if side == "sell" else "assets"]
        quantity = down(_needed(position, price, rate), book["size_decimals"])
        fee = quantity * price - target if side == "sell" else Fraction(0)
        if side == "buy":  # what is given is quote, the fee is in base
            quantity = oracle.rounded(target / price)
            if quantity * price != target:
                return _closing_by_fee(book, side, price, target, rate, liquidates)
            fee = quantity * rate
    else:
        target = position["assets" if side == "sell" else "debt"]
        fee = down(target * rate, 16)
        quantity = target if side == "sell" else target + fee
        fee = fee if side == "buy" else quantity * price * rate
    received = position["quote_currency" if side == "sell" else "base_currency"]
    fee = down(fee, 8) if book["plain"] else oracle.rounded(fee)
    traded = {"side": side, "quantity": quantity, "price": price, "fee": fee, "fee_currency": received}
    return _closed(random, book, traded, liquidates=liquidates)


def _closing_by_fee(book, side, price, target, rate, liquidates):
    """A short with base margin spends all its quote: where no quantity costs just that, the fee is in quote."""
    quantity = down(target / price / (1 + rate), book["size_decimals"])
    fee = oracle.rounded(target - oracle.rounded(quantity * price))
    traded = {"side": side, "quantity": quantity, "price": price, "fee": fee}
    return {"kind": "liquidation" if liquidates else "fill", **traded, "fee_currency": book["key"][1].split("-")[1]}


def _closed(random, book, traded, *, liquidates):
    if not liquidates:
        return {"kind": "fill", **traded, "reduce_only": random.random() < 0.5}
    residual = down(book["position"]["margin"] / 9, 3 if book["plain"] else 8) if random.random() < 0.3 else None
    given = {} if residual is None else {"amount": residual, "currency": book["key"][2]}
    return {"kind": "liquidation", **traded, **given}


def _needed(position, price, rate):
    """The quantity that closes the position (rules.md 2)."""
    return {
        "LB": position["debt"] / price / (1 - rate),
        "LQ": position["assets"],
        "SB": position["assets"] / price,
        "SQ": position["debt"] / (1 - rate),
    }[oracle.case_of(position)]


def _fill(random, book, side, quantity, price, *, rate=FILL_FEE, takes=False):
    """A fill whose fee is taken from what is received; a maker may get a rebate instead."""
    base, quote = book["key"][1].split("-")
    is_maker = not takes and not book["plain"] and random.random() < 0.15
    received = quantity if side == "buy" else quantity * price
    fee = received * (REBATE if is_maker else rate)
    fee = down(fee, 8) if book["plain"] else oracle.rounded(fee)
    traded = {"kind": "fill", "side": side, "quantity": quantity, "price": price, "is_maker": is_maker}
    return {**traded, "fee": fee, "fee_currency": base if side == "buy" else quote}


def _many_fills(random, book):
    """Further fills of the same order, some in the same millisecond."""
    last = book["events"][-1] if book["events"] else None
    if last is None or last["kind"] != "fill" or book["position"]["direction"] is None:
        return
    for _ in range(random.randint(1, 4)):
        quantity = down(last["quantity"] * random.randint(10, 90) / 100, book["size_decimals"])
        if oracle.OPENING_SIDE[book["position"]["direction"]] != last["side"]:
            return
        book["time"] += MILLISECOND * random.choice((0, 0, 1, 3))
        _happens(book, _fill(random, book, last["side"], quantity, last["price"], takes=True), same_order=True)


# All positions together


def _numbered(random, events):
    """Identifiers as an exchange gives them: increasing, with jumps; orders of a position get numbers of their own."""
    bill, trade, orders = FIRST_BILL + random.randrange(10**15), 570_000_000 + random.randrange(10**6), {}
    for row, event in enumerate(events, start=1):
        bill += random.randrange(50, 10**10)
        trade += random.randrange(1, 999)
        is_trade = event["kind"] in ("fill", "liquidation")
        order = orders.setdefault((name_of(event), event["order_id"]), str(bill - 12)) if is_trade else None
        numbers = {"order_id": order, "trade_id": str(trade) if is_trade else None, "bill_id": bill}
        event |= {**numbers, "row": row, "event_id": f"event-{row}"}
    return events
