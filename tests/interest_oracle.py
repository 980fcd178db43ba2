"""An independent oracle for interest: one position, one event and one charging moment after the other.

It walks the events of each position in the order of time, asks before each of them which charging moments have
passed, and charges one after the other into the position of `oracle.step`, in exact fractions. Nothing is shared
with the package but the words of the policy.

A policy is a plain dict with the fields of a policy file; what it leaves out is in `POLICY`. A rate is a dict of
`time` (datetime, UTC), `account`, `instrument`, `currency` (text or None), `rate` (Fraction) and `unit`.
"""

from datetime import UTC, datetime, timedelta
from fractions import Fraction

import oracle
from oracle import DEFAULTS, RefusedError

HOURS = {"hourly": 1, "4-hourly": 4, "daily": 24, "annual": 8760}
POLICY = {
    "period_hours": 1,
    "opening_fee": Fraction(0),
    "rate_of": "charge",
    "same_moment": "charge_first",
}
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
ZERO = Fraction(0)
NO_FILL = ("side", "quantity", "price", "fee", "fee_currency", "leverage", "event_id", "input", "row")


def accrue(events, rates, policy, until, policies=DEFAULTS, books=None):
    """Charges and ledger rows of all positions, up to and with the moment `until`; raises RefusedError.

    A charge has position, episode, time, charge, currency, liability (what it is on), rate, rate_unit, computed.
    Charges and rows come position by position, in the order of time. `books(charge, loan)` gives the amounts an
    exchange charges instead of `computed`, none or several, for exchanges that err.
    """
    loans = loans_at(events, rates, policy, until, policies, books)
    return [each for loan in loans for each in loan["charges"]], [row for loan in loans for row in loan["rows"]]


def accrued(events, rates, policy, until, policies=DEFAULTS):
    """Interest that has run at `until` and is not charged yet, by position; 0 where there is none."""
    policy = POLICY | policy
    loans = loans_at(events, rates, policy, until, policies)
    return {loan["position"]["position"]: accrued_by(loan, rates, policy, until) for loan in loans}


def loans_at(events, rates, policy, until, policies=DEFAULTS, books=None):
    """One loan per position as it stands at `until`, with its charges and its ledger rows."""
    if any(rate["rate"] < 0 for rate in rates):
        raise RefusedError("a rate below zero")
    loans = {}
    for event in sorted(events, key=lambda event: (event["time"], event["input"], event["row"])):
        if event["kind"] == "interest" or event["time"] > until:
            continue
        key = (event["account"], event["instrument"], event["margin_currency"])
        loan = loans.setdefault(key, new_loan(*key, policies))
        charge_before(loan, event["time"], rates, policy, books)
        happen(loan, event, rates, policy, books)
    for loan in loans.values():
        _charge_moments(loan, until, rates, POLICY | policy, books, is_cut_off=True)
    return list(loans.values())


# One loan


def new_loan(account, instrument, margin_currency, policies=DEFAULTS):
    """What a position owes, before its first event.

    `spell` is the moment when the debt began, None while nothing is owed; `unpaid` the interest within the debt;
    `seen` the moment of the latest event. `policies` are those of the replay.
    """
    position = oracle.new_position(account, instrument, margin_currency)
    whose = {"account": account, "instrument": instrument, "margin_currency": margin_currency}
    state = {"spell": None, "unpaid": ZERO, "seen": None}
    return {**whose, "position": position, **state, "charges": [], "rows": [], "policies": policies}


def owed(loan):
    """What the position owes: the debt of its direction; nothing while it is flat or has a surplus."""
    position = loan["position"]
    return max(ZERO, position["debt"]) if position["direction"] else ZERO


def basis(loan, policy):
    """What a charge is on: all that is owed, or what is owed less the interest in it."""
    return owed(loan) if policy["compounding"] else owed(loan) - loan["unpaid"]


def currency_owed(loan):
    """Quote for a long, base for a short."""
    leg = {"long": "quote", "short": "base"}[loan["position"]["direction"]]
    return loan["position"][f"{leg}_currency"]


def happen(loan, event, rates, policy, books=None):
    """The event, part by part, and what is charged for that which its parts borrowed."""
    rows = oracle.step(loan["position"], event, loan["policies"])
    loan["rows"] += rows
    loan["seen"] = event["time"]
    borrowed = sum((_part(loan, row) for row in rows), ZERO)
    if borrowed:
        _charge_borrowing(loan, event["time"], borrowed, rates, POLICY | policy, books)


def charge_before(loan, time, rates, policy, books=None):
    """Every charge that comes before the events of that moment."""
    _charge_moments(loan, time, rates, POLICY | policy, books, is_cut_off=False)


def _part(loan, row):
    """What one part of an event borrows; the spell and the unpaid interest follow."""
    before, after = _owed_by(row, "opening"), _owed_by(row, "closing")
    if after < before:
        loan["unpaid"] = max(ZERO, loan["unpaid"] - (before - after))
    if row["action"] == "close":
        loan["unpaid"] = ZERO
    if after == 0:
        loan["spell"] = None
    elif before == 0:
        loan["spell"] = row["time"]
    return max(ZERO, after - before)


def _owed_by(row, when):
    if row["direction"] is None:
        return ZERO
    leg = row[f"quote_{when}"] if row["direction"] == "long" else row[f"base_{when}"]
    return -leg if leg < 0 else ZERO


# Moments


def moments(loan, policy, *, first, last):
    """The charging moments of the running spell from `first` to `last`, both included."""
    period = policy["period_hours"] * HOUR
    if owed(loan) == 0:
        return []
    if policy["grid"] in ("part_hour_rounds_up", "rollover"):
        moment = loan["spell"] + period
    elif policy["grid"] in ("on_the_hour", "first_hour_at_borrow"):
        moment = EPOCH + (first - EPOCH) // period * period
    else:
        raise ValueError(policy["grid"])
    found = []
    while moment <= last:
        if moment >= first:
            found.append(moment)
        moment += period
    return found


def _charge_moments(loan, time, rates, policy, books, *, is_cut_off):
    """Charge the moments since the latest event, up to `time`, of which the events have not happened yet.

    With charge_first, moments at `time` itself are charged now; with events_first they wait for its events,
    and those of the moment of the latest event are charged now. At a cut-off no more events follow.
    """
    if loan["seen"] is None:
        return
    for moment in moments(loan, policy, first=loan["seen"], last=time):
        if policy["same_moment"] == "charge_first" and moment == loan["seen"]:
            continue
        if policy["same_moment"] == "events_first" and moment == time and not is_cut_off:
            continue
        rate = rate_for(loan, rates, policy, moment)
        _charge(loan, "period", moment, basis(loan, policy), rate, policy["period_hours"], policy, books)


def _charge_borrowing(loan, time, borrowed, rates, policy, books):
    """What is charged at once, on the amount that a fill borrowed."""
    if policy["grid"] in ("first_hour_at_borrow", "part_hour_rounds_up"):
        rate = rate_for(loan, rates, policy, time)
        _charge(loan, "first_period", time, borrowed, rate, 1, policy, books)
    if policy["opening_fee"]:
        fee = {"rate": Fraction(policy["opening_fee"]), "unit": "once"}
        _charge(loan, "opening_fee", time, borrowed, fee, 1, policy, books)


# Charges


def rate_for(loan, rates, policy, moment):
    """The rate in force at the moment, or when the spell began: the most specific one, of these the latest."""
    if policy["rate_of"] == "borrowing":
        moment = loan["spell"]
    whose = {
        "account": loan["account"],
        "instrument": loan["instrument"],
        "currency": currency_owed(loan),
    }
    best = None
    for rate in rates:
        if rate["time"] > moment or any(rate[name] not in (None, whose[name]) for name in whose):
            continue
        rank = (*(rate[name] is not None for name in whose), rate["time"])
        if best is None or rank > best[0]:
            best = (rank, rate)
    if best is None:
        raise RefusedError(f"no rate in force at {moment}")
    return best[1]


def for_hours(rate, hours):
    """The rate for so many hours; a fee is charged once, whatever the hours."""
    return rate["rate"] if rate["unit"] == "once" else rate["rate"] / HOURS[rate["unit"]] * hours


def rounded(amount, rounding, decimals):
    """An amount of zero or more, rounded up, down, half_up or half_even at the decimals."""
    units = amount * 10**decimals
    whole = units.numerator // units.denominator
    rest = units - whole
    if rounding == "up":
        add = rest > 0
    elif rounding == "down":
        add = False
    elif rounding == "half_up":
        add = rest >= Fraction(1, 2)
    elif rounding == "half_even":
        add = rest > Fraction(1, 2) or (rest == Fraction(1, 2) and whole % 2 == 1)
    else:
        raise ValueError(rounding)
    return Fraction(whole + int(add), 10**decimals)


def _charge(loan, charge, time, liability, rate, hours, policy, books):
    """Note the charge, and take it as an interest event; nothing happens for a charge of zero."""
    position = loan["position"]
    computed = rounded(liability * for_hours(rate, hours), policy["rounding"], policy["decimals"])
    noted = {
        "position": position["position"],
        "episode": position["episode"],
        "time": time,
        "charge": charge,
        "currency": currency_owed(loan),
        "liability": liability,
        "rate": rate["rate"],
        "rate_unit": rate["unit"],
        "computed": computed,
    }
    loan["charges"].append(noted)
    for amount in [computed] if books is None else books(noted, loan):
        if amount:
            loan["rows"] += oracle.step(position, _event(loan, time, amount), loan["policies"])
            loan["unpaid"] += amount


def _event(loan, time, amount):
    whose = {name: loan[name] for name in ("account", "instrument", "margin_currency")}
    what = {"kind": "interest", "amount": amount, "currency": currency_owed(loan), "reduce_only": False}
    return {**dict.fromkeys(NO_FILL), **whose, "time": time, "mode": loan["position"]["mode"], **what}


# What has run and is not charged


def accrued_by(loan, rates, policy, until):
    """The loan's interest since its latest moment, or since its spell began, as an exact share of the hour."""
    if policy["grid"] in ("first_hour_at_borrow", "part_hour_rounds_up") or owed(loan) == 0:
        return ZERO
    period = policy["period_hours"] * HOUR
    start = loan["spell"] if policy["grid"] == "rollover" else EPOCH
    since = max(start + (until - start) // period * period, loan["spell"])
    if since == until:
        return ZERO
    hours = Fraction((until - since) // timedelta(microseconds=1), 3_600_000_000)
    rate = rate_for(loan, rates, policy, until)
    return rounded(basis(loan, policy) * for_hours(rate, hours), policy["rounding"], policy["decimals"])
