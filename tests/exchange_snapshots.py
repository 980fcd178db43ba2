"""What the exchange states of the positions of `exchange_truth`: open ones at a moment, and those that were closed.

The figures are those of the published table (rules.md 4) in exact fractions, printed as real records are: amounts
with 16 decimals, ratios and prices as the shortest text of a double.
"""

from decimal import Decimal
from fractions import Fraction
from random import Random

import oracle
from exchange_events import milliseconds, name_of, walk
from exchange_files import LIQUIDATION_FEE, MAINTENANCE, text
from oracle_measures import measures

ZERO = Fraction(0)


def position_records(events, moment=None, marks=None, maintenance=MAINTENANCE, liquidation_fee=LIQUIDATION_FEE):
    """Positions that are open at a moment (the end, if not given), as the API has them.

    `marks` are mark prices by instrument; else they are near the last price traded.
    """
    found, prices = {}, {}
    for event, _, position in walk([event for event in events if moment is None or event["time"] <= moment]):
        found[name_of(event)] = (event["instrument"], position)
        prices[event["instrument"]] = event["price"] or prices.get(event["instrument"])
    records = []
    for instrument, position in found.values():
        if position["direction"]:
            mark = (marks or {}).get(instrument) or near(prices[instrument], f"{instrument} {position['until']}")
            records.append(_record(instrument, position, mark, maintenance, liquidation_fee))
    return records


def near(price, seed):
    """A mark price within half a percent of a price, with up to two decimals more."""
    decimals = len(text(price).partition(".")[2]) + 2
    return Fraction(round(price * Random(seed).randint(9_950, 10_050) / 10_000 * 10**decimals), 10**decimals)


def _record(instrument, position, mark, maintenance, liquidation_fee):
    is_long, margin, case = position["direction"] == "long", position["margin"], oracle.case_of(position)
    assets, liability = position["assets"], position["debt"]
    figures = measures(case, assets, margin, liability, mark=mark, rate=maintenance, fee_rate=liquidation_fee)
    shown = assets + (margin if position["mode"] == "old" and case in ("LB", "SQ") else 0)
    owned, owed = ("base_currency", "quote_currency") if is_long else ("quote_currency", "base_currency")
    return {
        "adl": "1",
        "availPos": text(shown),
        "avgPx": double(position["opened_cost"] / position["opened"]),
        "cTime": str(milliseconds(position["since"])),
        "ccy": position["base_currency"] if position["margin_is_base"] else position["quote_currency"],
        "idxPx": text(mark),
        "imr": "",
        "instId": instrument,
        "instType": "MARGIN",
        "interest": "0",
        "last": text(mark),
        "lever": text(position["leverage"]),
        "liab": text(-liability),
        "liabCcy": position[owed],
        "liqPenalty": "",
        "liqPx": double(figures["liquidation_price"]),
        "margin": text(margin),
        "markPx": text(mark),
        "mgnMode": "isolated",
        "mgnRatio": double(figures["margin_ratio"]),
        "mmr": printed(figures["maintenance_margin"]),
        "notionalUsd": "",
        "pendingCloseOrdLiabVal": "0",
        "pos": text(shown),
        "posCcy": position[owned],
        "posId": identifier(position),
        "posSide": "net",
        "uTime": str(milliseconds(position["until"])),
        "upl": printed(figures["floating_pnl"]),
        "uplRatio": printed(figures["floating_pnl"] / position["posted"]),
        "fee": "",
        "pnl": "",
        "realizedPnl": "",
        "fundingFee": "",
    }


def double(number):
    """The shortest text of the nearest double, without an exponent; empty for None."""
    return "" if number is None else f"{Decimal(repr(float(number))):f}"


def printed(number):
    """An amount with 16 decimals, half-even."""
    return text(Fraction(round(number * 10**16), 10**16))


def identifier(position):
    """A number of 19 digits for a position and its life."""
    return str(Random(f"{position['position']} {position['episode']}").randrange(10**18, 2 * 10**18))


def closed_records(events, moment=None):
    """Positions that were closed up to a moment, as positions-history has them, newest first."""
    records, traded = [], {}
    for event, rows, position in walk([event for event in events if moment is None or event["time"] <= moment]):
        known = traded.setdefault(name_of(event), _nothing())
        for row in rows:
            if row["action"] == "open":
                known = traded[name_of(event)] = _nothing(event["time"])
            if row["action"] in ("reduce", "close") and row["quantity"]:
                known["closed"] += row["quantity"]
                known["closed_cost"] += row["quantity"] * row["price"]
            known["opened"] += row["quantity"] if row["action"] in ("open", "increase") else 0
            known["fee"] += _fee_in_margin(event, row)
            if row["action"] == "close":
                records.append(_closed(event, row, position, known))
    return records[::-1]


def _nothing(since=None):
    return {**dict.fromkeys(("closed", "closed_cost", "opened", "fee"), ZERO), "since": since}


def _fee_in_margin(event, row):
    return row["fee"] or ZERO if event["fee_currency"] == event["margin_currency"] else ZERO


def _closed(event, row, position, known):
    liquidated = event["kind"] == "liquidation"
    identity = {"position": position["position"], "episode": row["episode"]}
    return {
        "instType": "MARGIN",
        "instId": event["instrument"],
        "mgnMode": "isolated",
        "type": "3" if liquidated else "2",
        "cTime": str(milliseconds(known["since"])),
        "uTime": str(milliseconds(event["time"])),
        "openAvgPx": double(row["entry_price"]),
        "closeAvgPx": double(known["closed_cost"] / known["closed"]),
        "posId": identifier(identity),
        "openMaxPos": text(known["opened"]),
        "closeTotalPos": text(known["closed"]),
        "realizedPnl": "",
        "pnl": text(row["realised_pnl"]),
        "pnlRatio": "",
        "fee": text(-known["fee"]),
        "fundingFee": "0",
        "liqPenalty": "0",
        "posSide": "net",
        "lever": text(row["leverage"]),
        "direction": row["direction"],
        "triggerPx": "",
        "uly": event["instrument"],
        "ccy": event["margin_currency"],
    }
