"""Random histories of one loan, with the rates and the interest rows of an exchange that charges right, or errs.

`history` gives events, rates and the true rows; `planted` the same of an exchange that makes one error. Both depend
on nothing but the seed and the policy. Times are ISO 8601 text in UTC, amounts are Decimal, an empty cell is None;
every row names its account, which is unique to the seed, so that many histories fit in one file.

A fill that closes is reduce-only and a little larger than what is needed, so the position closes whatever the
last digits of its interest are; what is left over goes to the account.
"""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from random import Random

import interest_oracle
import oracle
from interest_oracle import EPOCH, HOUR, HOURS, POLICY, basis, for_hours, owed

KINDS = (
    "dropped_hour",
    "doubled_hour",
    "daily_rate_as_hourly",
    "stale_rate",
    "simple_interest",
    "rounding_changed",
    "charged_after_repayment",
    "row_missing",
)
INSTRUMENTS = {
    "BTC-USDT": (Fraction(61000), 2, Fraction(2), 6),
    "ETH-USDT": (Fraction(3300), 2, Fraction(30), 5),
    "ETH-BTC": (Fraction("0.0534"), 5, Fraction(40), 5),
    "LTC-BTC": (Fraction("0.00131"), 6, Fraction(2000), 3),
}
"""Price and its decimals, size and its decimals."""
CASES = ("LB", "LQ", "SB", "SQ")
EVENT = (
    *("time", "event_id", "account", "instrument", "mode", "margin_currency", "kind", "side", "quantity", "price"),
    *("value", "fee", "fee_currency", "leverage", "reduce_only", "amount", "currency", "reason"),
)
LARGER = Fraction(1001, 1000)
"""How much larger a closing fill is than needed."""
ERROR = 25
"""How many times the largest charge it repays beside the debt: more than any error adds."""
ATTEMPTS = 200
MICROSECOND = timedelta(microseconds=1)


def history(seed, policy, *, with_liability=True):
    """A history that the exchange charges as the policy says.

    A dict of account, instrument, margin_currency, mode, until, `events`, `rates` and `rows`: the exchange's rows
    with time, row_id, account, instrument, currency, interest, rate, unit and liability (what the charge is on);
    without the last three where `with_liability` is False.
    """
    policy = POLICY | policy
    story = _story(seed, 0, policy, ends_flat=False)
    rows, _ = _booked(story, policy, _rightly)
    return _told(story, rows, with_liability=with_liability)


def planted(seed, kind, policy, *, with_liability=True):
    """A history in which the exchange makes one error, with `truth`: what is wrong.

    `truth` has kind, the `time` of the first charge that is wrong, the `hours` (times of all that are), and
    `amount`: what was charged there less what the policy gives on what the exchange then claimed. A lost row counts
    as not charged. Raises ValueError for an error that cannot be seen under the policy.
    """
    policy = POLICY | policy
    if kind not in kinds(policy):
        raise ValueError(f"{kind} cannot be seen under this policy")
    for attempt in range(ATTEMPTS):
        story = _story(seed, attempt, policy, ends_flat=kind == "charged_after_repayment")
        found = _planted(Random(f"{seed} {kind} {attempt}"), kind, story, policy)
        if found:
            rows, truth = found
            return _told(story, rows, with_liability=with_liability) | {"truth": {"kind": kind, **truth}}
    raise ValueError(f"seed {seed}: no history found for {kind}")


def kinds(policy):
    """The errors that can be seen under a policy."""
    policy = POLICY | policy
    unseen = {"simple_interest"} if not policy["compounding"] else set()
    unseen |= {"stale_rate"} if policy["rate_of"] == "borrowing" else set()
    return tuple(kind for kind in KINDS if kind not in unseen)


# What the oracles take


def oracle_events(told):
    """The events of a history as `oracle.step` takes them."""
    return [
        {name: _exact(value) for name, value in event.items()} | {"time": moment(event["time"]), "input": 1, "row": row}
        for row, event in enumerate(told["events"], start=1)
    ]


def oracle_rates(told):
    """The rates of a history as `interest_oracle.accrue` takes them."""
    return [
        {name: _exact(value) for name, value in rate.items()} | {"time": moment(rate["time"])} for rate in told["rates"]
    ]


def moment(text):
    """The time of an ISO 8601 text."""
    return datetime.fromisoformat(text)


def _exact(value):
    return Fraction(value) if isinstance(value, Decimal) else value


# A story: events and rates


def _story(seed, attempt, policy, *, ends_flat):
    """Events and rates of one loan, and `last`: the loan just before the fill that ends it, if the end is flat."""
    random = Random(f"{seed} {attempt}")
    case, instrument = CASES[seed % len(CASES)], random.choice(list(INSTRUMENTS))
    base, quote = instrument.split("-")
    account, margin = f"account-{seed}", base if case[1] == "B" else quote
    times = _times(random, seed)
    until = times[-1] + (policy["period_hours"] + random.randint(1, 3)) * HOUR
    scope = {"account": account, "instrument": instrument if random.random() < 0.3 else None}
    rates = _rates(random, scope, (base, quote), times[0], until)
    book = {
        "case": case,
        "leverage": random.randint(3, 10),
        "fee_rate": Fraction(random.choice((0, 5, 8, 10)), 10_000),
        "mode": random.choice(("old", "new")),
        "price": INSTRUMENTS[instrument][0],
        "largest": Fraction(0),
        "ends_flat": random.random() < 0.6 or ends_flat,
    }
    loan = interest_oracle.new_loan(account, instrument, margin)
    events, last = _lived(random, book, loan, times, rates, policy)
    currencies = {charge["currency"] for charge in loan["charges"]}
    currencies |= {interest_oracle.currency_owed(loan)} if loan["position"]["direction"] else set()
    whose = {"account": account, "instrument": instrument, "margin_currency": margin, "mode": book["mode"]}
    rates = [rate for rate in rates if rate["currency"] in currencies]
    return {**whose, "events": events, "rates": rates, "until": until, "last": last}


def _times(random, seed):
    """When something happens, over one to four days; now and then at a full hour."""
    start = datetime(2024, 1, 1, tzinfo=UTC) + timedelta(days=seed % 330, seconds=random.randrange(86_400))
    seconds = random.randint(24, 96) * 3600
    later = {start + timedelta(seconds=random.randrange(600, seconds)) for _ in range(random.randint(2, 8))}
    on_the_hour = {EPOCH + (time - EPOCH) // HOUR * HOUR if random.random() < 0.12 else time for time in later}
    end = start + timedelta(seconds=seconds + random.randrange(3600))
    return [start, *sorted(time for time in on_the_hour if time > start), end]


def _rates(random, scope, currencies, start, until):
    """A rate for each hour and currency, 0.000001 to 0.00002 hourly; where it does not change, a row may be absent."""
    unit, decimals = random.choice(("hourly", "daily")), random.randint(8, 10)
    least = HOURS[unit] * 10 ** (decimals - 6)
    found = []
    for currency in currencies:
        rate, hour = random.randint(least, 20 * least), EPOCH + (start - EPOCH) // HOUR * HOUR - 6 * HOUR
        row = {"time": hour, **scope, "currency": currency, "unit": unit}
        while hour <= until:
            if random.random() < 0.75:
                rate = min(max(rate * random.randint(85, 118) // 100, least), 20 * least)
            if not found or found[-1]["rate"] != Fraction(rate, 10**decimals) or random.random() < 0.5:
                found.append(row | {"time": hour, "rate": Fraction(rate, 10**decimals)})
            hour += HOUR
    return found


def _lived(random, book, loan, times, rates, policy):
    """The events, one per time, each fitting what the loan then is."""
    events, last = [], None
    for number, time in enumerate(times, start=1):
        interest_oracle.charge_before(loan, time, rates, policy)
        book["largest"] = max(book["largest"], owed(loan))
        is_last, is_open = number == len(times), loan["position"]["direction"] is not None
        if is_last and not (is_open and book["ends_flat"]):
            break
        if is_last:
            last = loan | {"position": dict(loan["position"]), "closes": time}
        happened = _event(random, book, loan, "close" if is_last else _intention(random, book, loan))
        place = {"time": time, "event_id": f"{loan['account']}-{number}", "input": 1, "row": number}
        whose = {name: loan[name] for name in ("account", "instrument", "margin_currency")}
        event = {**dict.fromkeys(EVENT), "reduce_only": False, **whose, "mode": book["mode"], **place, **happened}
        interest_oracle.happen(loan, event, rates, policy)
        events.append(event)
    return events, last


def _intention(random, book, loan):
    if loan["position"]["direction"] is None:
        return "open"
    if owed(loan) == 0 or owed(loan) < book["largest"] / 6:
        return random.choice(("increase", "increase", "close"))
    often = ["increase"] * 6 + ["reduce"] * 8 + ["close"] * 2 + ["margin"]
    return random.choice([*often, "repay"] if oracle.case_of(loan["position"]) in ("LQ", "SB") else often)


def _event(random, book, loan, intention):
    """The event of an intention: a fill, or margin paid in."""
    position, (_, price_decimals, size, decimals) = loan["position"], INSTRUMENTS[loan["instrument"]]
    if intention == "margin":
        amount = oracle.rounded(position["margin"] * random.randint(5, 30) / 100)
        return {"kind": "margin", "amount": amount, "currency": loan["margin_currency"]}
    price = book["price"] = _down(book["price"] * random.randint(9_920, 10_080) / 10_000, price_decimals)
    if intention in ("open", "increase"):
        quantity = _down(size * random.randint(100, 999) / (250 if intention == "open" else 1_000), decimals)
        side = _opening_side(random, book, position)
        leverage = Fraction(book["leverage"]) if intention == "open" or random.random() < 0.3 else None
        return _fill(book, loan, side, quantity, price) | {"leverage": leverage}
    return _reducing_fill(random, book, loan, intention, price)


def _reducing_fill(random, book, loan, intention, price):
    """A fill against the position that reduces it, repays its debt out of a part of the assets, or closes it."""
    position, (_, price_decimals, _, decimals) = loan["position"], INSTRUMENTS[loan["instrument"]]
    side = {"long": "sell", "short": "buy"}[position["direction"]]
    if intention == "close":
        claimed = position | {"debt": position["debt"] + ERROR * _largest_charge(loan)}
        quantity = _down(_needed(book, claimed, price) * LARGER, decimals) + _unit(decimals)
        return _fill(book, loan, side, quantity, price) | {"reduce_only": True}
    share = Fraction(random.randint(10, 60), 100)
    if intention == "repay":
        gain = Fraction(109, 100) if side == "sell" else Fraction(91, 100)
        price = book["price"] = _down(price * gain, price_decimals)
        share = Fraction(97, 100)
    quantity = _down(_needed(book, position, price) * share, decimals)
    return _fill(book, loan, side, quantity, price) | {"reduce_only": random.random() < 0.5}


def _largest_charge(loan):
    """The largest charge of the running episode."""
    episode = loan["position"]["episode"]
    return max((charge["computed"] for charge in loan["charges"] if charge["episode"] == episode), default=Fraction(0))


def _opening_side(random, book, position):
    """That of the position; of a new one, mostly that of the case."""
    if position["direction"]:
        return oracle.OPENING_SIDE[position["direction"]]
    usual = "buy" if book["case"][0] == "L" else "sell"
    other = "sell" if usual == "buy" else "buy"
    return other if position["episode"] and random.random() < 0.3 else usual


def _needed(book, position, price):
    """The quantity that closes the position (rules.md 2)."""
    kept = 1 - book["fee_rate"]
    return {
        "LB": position["debt"] / price / kept,
        "LQ": position["assets"],
        "SB": position["assets"] / price,
        "SQ": position["debt"] / kept,
    }[oracle.case_of(position)]


def _fill(book, loan, side, quantity, price):
    """A fill whose fee is taken from what is received."""
    base, quote = loan["instrument"].split("-")
    received = quantity if side == "buy" else oracle.rounded(quantity * price)
    fee = oracle.rounded(received * book["fee_rate"])
    traded = {"kind": "fill", "side": side, "quantity": quantity, "price": price}
    return {**traded, "fee": fee, "fee_currency": base if side == "buy" else quote}


def _unit(decimals):
    return Fraction(1, 10**decimals)


def _down(amount, decimals):
    return amount // _unit(decimals) * _unit(decimals)


# The exchange: what it charges, and the rows it states


def _booked(story, policy, behaves):
    """Rows of an exchange that charges as `behaves(charge, loan, rate)` says, and each charge with what it booked.

    `behaves` gives (amount, rate) for each time the exchange charges; `rate` is the one in force.
    """
    rows, charges = [], []

    def books(charge, loan):
        rate = {"rate": charge["rate"], "unit": charge["rate_unit"]}
        bookings = behaves(charge, loan, rate)
        stated = [_row(story, charge, *booking) for booking in bookings if booking[0]]
        rows.extend(stated)
        charges.append(charge | {"amount": sum((amount for amount, _ in bookings), Fraction(0)), "rows": stated})
        return [amount for amount, _ in bookings]

    interest_oracle.accrue(story["events"], story["rates"], policy, story["until"], books=books)
    return rows, charges


def _rightly(charge, loan, rate):
    return [(charge["computed"], rate)]


def _row(story, charge, amount, rate):
    """A row as the exchange states it; a fee has no rate of a unit of time."""
    whose = {"account": story["account"], "instrument": story["instrument"], "currency": charge["currency"]}
    rate, unit = (None, None) if rate["unit"] == "once" else _stated_rate(rate)
    stated = {"interest": amount, "rate": rate, "unit": unit, "liability": charge["liability"]}
    return {"time": charge["time"], **whose, **stated}


def _stated_rate(rate):
    """The rate by the hour if that has at most 18 decimals, else as in the table."""
    hourly = for_hours(rate, 1)
    if (hourly * oracle.UNITS).denominator == 1:
        return hourly, "hourly"
    return rate["rate"], rate["unit"]


def _told(story, rows, *, with_liability):
    """The story as a user has it: text, decimals, and no more than files hold."""
    whose = {name: story[name] for name in ("account", "instrument", "margin_currency", "mode")}
    events = [{name: event[name] for name in EVENT} for event in story["events"]]
    numbered = [{"row_id": f"{story['account']}-charge-{number}", **row} for number, row in enumerate(rows, start=1)]
    blank = {} if with_liability else dict.fromkeys(("rate", "unit", "liability"))
    stated = {"events": events, "rates": story["rates"], "rows": [row | blank for row in numbered]}
    plain = {name: [_plain_row(row) for row in found] for name, found in stated.items()}
    return {**whose, "until": _plain(story["until"]), **plain}


def _plain_row(row):
    return {name: _plain(value) for name, value in row.items()}


def _plain(value):
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return _decimal(value) if isinstance(value, Fraction) else value


def _decimal(amount):
    """The fraction as a Decimal without trailing zeros, exactly."""
    units = amount * oracle.UNITS
    if units.denominator != 1:
        raise ValueError(f"{amount} has more than 18 decimals")
    whole, decimals = divmod(abs(units.numerator), oracle.UNITS)
    return Decimal(f"{'-' if amount < 0 else ''}{whole}.{decimals:018d}".rstrip("0").rstrip("."))


# Errors


def _planted(random, kind, story, policy):
    """Rows and truth of a story with the error, or None where the story has no place for it."""
    rows, charges = _booked(story, policy, _rightly)
    if kind == "charged_after_repayment":
        return _charged_after(story, rows, policy)
    if kind == "simple_interest":
        return _erring(story, policy, lambda *charged: _simply(policy, *charged), least=3)
    places = _places(charges)
    if kind == "rounding_changed":
        return _rounded_otherwise(random, story, policy, places)
    if kind == "stale_rate":
        places = [charge for charge in places if _stale(charge, story, policy)]
    if not places:
        return None
    place = random.choice(places)
    if kind == "row_missing":
        kept = [row for row in rows if row not in place["rows"]]
        return kept, _truth([(place["time"], -place["computed"])])
    wrongly = {
        "dropped_hour": lambda charge, loan, rate: [],
        "doubled_hour": lambda charge, loan, rate: [(charge["computed"], rate)] * 2,
        "daily_rate_as_hourly": lambda charge, loan, rate: [
            _at_rate(charge, rate | {"rate": 24 * rate["rate"]}, policy)
        ],
        "stale_rate": lambda charge, loan, rate: [_at_rate(charge, _stale(charge, story, policy), policy)],
    }[kind]
    here = place["time"]

    def behaves(charge, loan, rate):
        errs = charge["charge"] == "period" and charge["time"] == here
        return (wrongly if errs else _rightly)(charge, loan, rate)

    return _erring(story, policy, behaves)


def _erring(story, policy, behaves, least=1):
    """Rows and truth of the exchange that behaves so, or None if fewer charges than `least` are wrong."""
    rows, charges = _booked(story, policy, behaves)
    wrong = [(charge["time"], charge["amount"] - charge["computed"]) for charge in charges]
    wrong = [(time, amount) for time, amount in wrong if amount]
    return (rows, _truth(wrong)) if len(wrong) >= least else None


def _truth(wrong):
    hours = [_plain(time) for time, _ in wrong]
    return {"time": hours[0], "hours": hours, "amount": _decimal(sum(amount for _, amount in wrong))}


def _places(charges):
    """Charges of a period with two before and three after them in the same episode, none of them zero."""
    found = []
    for episode in sorted({charge["episode"] for charge in charges}):
        periods = [charge for charge in charges if charge["episode"] == episode and charge["charge"] == "period"]
        found += [charge for charge in periods[2:-3] if charge["computed"]]
    return found


def _at_rate(charge, rate, policy):
    """The amount of a charge at another rate, and that rate."""
    amount = charge["liability"] * for_hours(rate, policy["period_hours"])
    return interest_oracle.rounded(amount, policy["rounding"], policy["decimals"]), rate


def _stale(charge, story, policy):
    """The rate in force one period before the charge, if that makes a difference; else None."""
    before = charge["time"] - policy["period_hours"] * HOUR
    known = [rate for rate in story["rates"] if rate["currency"] == charge["currency"] and rate["time"] <= before]
    rate = max(known, key=lambda rate: rate["time"], default=None)
    if rate is None or _at_rate(charge, rate, policy)[0] == charge["computed"]:
        return None
    return {"rate": rate["rate"], "unit": rate["unit"]}


def _simply(policy, charge, loan, rate):
    """A charge on the principal alone; the row states all that is owed."""
    if charge["charge"] != "period":
        return _rightly(charge, loan, rate)
    principal = basis(loan, policy | {"compounding": False})
    return [(_at_rate(charge | {"liability": principal}, rate, policy)[0], rate)]


def _rounded_otherwise(random, story, policy, places):
    """From a charge on, where that is seen, all are rounded in another way."""
    usual = (policy["rounding"], policy["decimals"])
    ways = {("down", policy["decimals"]), ("half_even", policy["decimals"]), (policy["rounding"], 8)} - {usual}
    for way in random.sample(sorted(ways), len(ways)):
        seen = [place for place in places if _rounded_as(place, way, policy) != place["computed"]]
        if not seen:
            continue
        start = random.choice(seen)["time"]

        def behaves(charge, loan, rate, way=way, start=start):
            if charge["time"] < start:
                return _rightly(charge, loan, rate)
            return [(_rounded_as(charge, way, policy), rate)]

        found = _erring(story, policy, behaves, least=3)
        if found and found[1]["time"] == _plain(start):
            rows, truth = found
            return rows, truth | dict(zip(("rounding", "decimals"), way, strict=True))
    return None


def _rounded_as(charge, way, policy):
    hours = policy["period_hours"] if charge["charge"] == "period" else 1
    rate = {"rate": charge["rate"], "unit": charge["rate_unit"]}
    return interest_oracle.rounded(charge["liability"] * for_hours(rate, hours), *way)


def _charged_after(story, rows, policy):
    """One charge more at the first moment after the position was closed, on what it owed last."""
    last = story["last"]
    if last is None or not owed(last):
        return None
    closed, period = last["closes"], policy["period_hours"] * HOUR
    time = interest_oracle.moments(last, policy, first=closed + MICROSECOND, last=closed + period)[0]
    rate = interest_oracle.rate_for(last, story["rates"], policy, time)
    charge = {"time": time, "currency": interest_oracle.currency_owed(last), "liability": basis(last, policy)}
    amount, rate = _at_rate(charge, rate, policy)
    if not amount:
        return None
    return [*rows, _row(story, charge, amount, rate)], _truth([(time, amount)])
