"""The events of `exchange_truth`, walked through by the oracle.

An event is a dict as `oracle.step` takes it (amounts are fractions) with what only an exchange knows beside it:
order_id, trade_id, bill_id (of its first bill), is_maker, rate and liability (of interest), is_auto (of margin).
"""

from datetime import UTC, datetime, timedelta
from fractions import Fraction

import oracle

EVENT = (
    *("time", "event_id", "account", "instrument", "mode", "margin_currency", "kind", "side", "quantity", "price"),
    *("value", "fee", "fee_currency", "leverage", "reduce_only", "amount", "currency", "reason"),
)
EXCHANGE_ONLY = ("order_id", "trade_id", "bill_id", "is_maker", "rate", "liability", "is_auto")
HOUR = timedelta(hours=1)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)


def walk(events, policies=oracle.DEFAULTS):
    """Each event with the rows it makes and its position afterwards; raises RefusedError.

    The position has beside what the oracle says: `since` it was opened, `until` something last happened to it, and
    the `posted` margin of its opening fills.
    """
    positions = {}
    for event in events:
        key = key_of(event)
        position = positions.setdefault(key, oracle.new_position(*key))
        rows = oracle.step(position, event, policies)
        if rows[-1]["action"] == "open":
            position |= {"since": event["time"], "posted": Fraction(0)}
        position["posted"] = position.get("posted", Fraction(0)) + (rows[-1]["initial_margin"] or 0)
        position["until"] = event["time"]
        yield event, rows, dict(position)


def states(events, until=None):
    """The last state of each position, by its name, of events up to and with a moment."""
    kept = [event for event in events if until is None or event["time"] <= until]
    return {position["position"]: position for _, _, position in walk(kept)}


def key_of(event):
    """Account, instrument and margin currency."""
    return event["account"], event["instrument"], event["margin_currency"]


def name_of(event):
    """The name of the event's position."""
    return ":".join(key_of(event))


def milliseconds(moment):
    """Milliseconds since 1970."""
    return (moment - EPOCH) // MILLISECOND


def fits(event, rows, decimals):
    """Whether every amount of an event and its rows has at most so many decimals."""
    amounts = [value for each in (event, *rows) for name, value in each.items() if name in _STATED]
    return all((Fraction(amount or 0) * 10**decimals).denominator == 1 for amount in amounts)


_STATED = ("quantity", "price", "value", "fee", "amount", "account_base", "account_quote", "insurance_fund", "interest")


def down(amount, decimals):
    """The amount with so many decimals, cut towards zero."""
    return Fraction(int(amount * 10**decimals), 10**decimals)
