"""The truth of `exchange_truth` as the files a back office has: those of OKX, and the house's own ledger.

Bills are built here from the oracle's rows: two for a fill (what is received, net of the fee, and what is given), and
rows for margin posted, returned, lost, added and removed. A position's balance in a currency is its leg and its
margin in that currency, so that every row's balance is the one before plus its change.
"""

import csv
import gzip
import io
import json
import zipfile
from datetime import timedelta
from fractions import Fraction

import oracle
from exchange_events import EPOCH, EVENT, milliseconds, walk

BILL_COLUMNS = (
    *("instType", "billId", "subType", "ts", "balChg", "posBalChg", "bal", "posBal", "sz", "px", "ccy", "pnl", "fee"),
    *("mgnMode", "instId", "ordId", "execType", "interest", "tag", "fillTime", "tradeId", "clOrdId", "fillIdxPx"),
    *("fillMarkPx", "fillPxVol", "fillPxUsd", "fillMarkVol", "fillFwdPx"),
)
"""The columns of the quarterly archive, in the order of its documentation."""
TRADING_HISTORY = (
    *("id", "Order id", "Time", "Trade Type", "Symbol", "Action", "Amount", "Trading Unit", "Filled Price", "PnL"),
    *("Fee", "Fee Unit", "Position Change", "Position Balance", "Balance Change", "Balance", "Balance Unit"),
)
TYPES = {
    **dict.fromkeys(("1", "2"), "2"),
    **dict.fromkeys(("102", "103", "106", "107", "110", "111"), "5"),
    **dict.fromkeys(("160", "161", "162", "200", "202", "332", "333", "334"), "6"),
    "9": "7",
}
ACTIONS = {
    "1": "Buy",
    "2": "Sell",
    "9": "Interest deduction for Market loans",
    "102": "Partial liquidation buy",
    "103": "Partial liquidation sell",
    "106": "Liquidation buy",
    "107": "Liquidation sell",
    "110": "Liquidation transfer in",
    "111": "Liquidation transfer out",
    "160": "Manual margin increase",
    "161": "Manual margin decrease",
    "162": "Auto margin increase",
    "200": "System transfer in",
    "202": "System transfer out",
    "332": "Margin transfer in isolated margin position",
    "333": "Margin transfer out isolated margin position",
    "334": "Margin loss when closing isolated margin position",
}
MARGIN_CODES = {"new": {"in": "332", "out": "333", "fund": "334"}, "old": {"in": "200", "out": "202", "fund": "111"}}
STARTING = Fraction(10**9)
"""What the account has of every currency before the history."""
ZERO = Fraction(0)
MAINTENANCE, LIQUIDATION_FEE = Fraction(3, 100), Fraction(15, 10_000)


def text(amount):
    """A fraction as decimal text without trailing zeros, exactly; empty for None."""
    if amount is None:
        return ""
    units = Fraction(amount) * oracle.UNITS
    if units.denominator != 1:
        raise ValueError(f"{amount} has more than 18 decimals")
    whole, decimals = divmod(abs(units.numerator), oracle.UNITS)
    return f"{'-' if amount < 0 else ''}{whole}.{decimals:018d}".rstrip("0").rstrip(".")


# Bills


def bills(events):
    """The bills of a history, in the order they were booked: dicts with the names of the API, amounts as fractions.

    `event_id` names the event each is of; the API has no such thing.
    """
    rows, balances, account = [], {}, {}
    for event, parts, _ in walk(events):
        for number, row in enumerate(_booked(event, parts)):
            place = (event["instrument"], row["ccy"])
            balances[place] = balances.get(place, ZERO) + row["posBalChg"]
            account[row["ccy"]] = account.get(row["ccy"], STARTING) + row["balChg"]
            numbers = {"billId": str(event["bill_id"] + number), "posBal": balances[place], "bal": account[row["ccy"]]}
            rows.append(_of_event(event) | row | numbers | {"type": TYPES[row["subType"]]})
    return rows


def _of_event(event):
    """What all bills of an event share."""
    now = milliseconds(event["time"])
    is_trade = event["kind"] in ("fill", "liquidation")
    return {
        "instType": "MARGIN",
        "instId": event["instrument"],
        "mgnMode": "isolated",
        "ts": str(now),
        "fillTime": str(now - int(event["trade_id"]) % 2) if is_trade else "",
        "ordId": event["order_id"] or "",
        "tradeId": "",
        "execType": "",
        "px": None,
        "pnl": ZERO,
        "fee": ZERO,
        "interest": ZERO,
        "event_id": event["event_id"],
    }


def _row(code, currency, change, account_change=ZERO, **others):
    stated = {"subType": code, "ccy": currency, "posBalChg": change, "balChg": account_change}
    return {**stated, "sz": abs(change or account_change), **others}


def _booked(event, parts):
    """The bills of an event, without what they share."""
    codes = MARGIN_CODES[event["mode"]]
    if event["kind"] == "interest":
        return [_row("9", event["currency"], -event["amount"], interest=event["amount"])]
    if event["kind"] == "margin":
        code = "161" if event["amount"] < 0 else "162" if event["is_auto"] else "160"
        return [_row(code, event["currency"], event["amount"], -event["amount"])]
    legs, closing = _legs(event, parts), [row for row in parts if row["action"] == "close"]
    posted = [_posted(event, codes, row) for row in parts if row["initial_margin"]]
    if not closing:
        return posted + legs
    return legs + _returned(event, codes, closing[0]) + posted


def _posted(event, codes, row):
    return _row(codes["in"], event["margin_currency"], row["initial_margin"], -row["initial_margin"])


def _returned(event, codes, row):
    """What a close gives back to the account, and what it leaves to the insurance fund or takes from it."""
    currency, profit, fund = event["margin_currency"], row["realised_pnl"], row["insurance_fund"]
    back = row["account_base"] + row["account_quote"]
    rows = []
    if event["kind"] == "liquidation":
        rows += [_row(codes["fund"] if fund > 0 else "110", currency, -fund)] if fund else []
    elif profit < 0 and event["mode"] == "new":
        rows.append(_row("334", currency, ZERO, pnl=profit) | {"sz": -profit})
    gain = ZERO if profit < 0 and event["mode"] == "new" else profit
    return rows + ([_row(codes["out"], currency, -back, back, pnl=gain)] if back else [])


def _legs(event, parts):
    """What a fill brings, net of its fee, and what it gives; what is left over moves the account, not the position."""
    base, quote = event["instrument"].split("-")
    value, fee = sum(row["value"] for row in parts), event["fee"] or ZERO
    left = [row for row in parts if row["action"] == "leftover"]
    signs = (1, -1) if event["side"] == "buy" else (-1, 1)
    legs = []
    for currency, size, sign, name in (
        (base, event["quantity"], signs[0], "account_base"),
        (quote, value, signs[1], "account_quote"),
    ):
        paid = fee if event["fee_currency"] == currency else ZERO
        outside = sum((row[name] for row in left), ZERO)
        amounts = {"posBalChg": sign * size - paid - outside, "balChg": outside, "fee": -paid, "sz": size}
        codes = _trade_codes(event, parts)
        exchange = {"px": event["price"], "tradeId": event["trade_id"], "execType": "M" if event["is_maker"] else "T"}
        legs.append({"subType": codes[sign], "ccy": currency, **amounts, **exchange})
    return sorted(legs, key=lambda leg: leg["subType"])


def _trade_codes(event, parts):
    """The sub-type of the leg received (1) and of that given (-1)."""
    if event["kind"] == "fill":
        return {1: "1", -1: "2"}
    is_full = any(row["action"] == "close" for row in parts)
    return {1: "106", -1: "107"} if is_full else {1: "102", -1: "103"}


def _plain(row, names):
    return {name: text(row[name]) if isinstance(row.get(name), Fraction) else row.get(name) or "" for name in names}


def bill_records(rows):
    """Bills as the API has them, newest first."""
    names = (*BILL_COLUMNS, "type", "from", "to", "notes")
    return [_plain(row, names) for row in reversed(rows)]


def answer(records):
    """The API's answer with these records."""
    return json.dumps({"code": "0", "msg": "", "data": records}, indent=1)


def archive(rows):
    """Bills as the quarterly archive has them: CSV of 28 columns, newest first, no type."""
    return _csv(BILL_COLUMNS, [_plain(row, BILL_COLUMNS) for row in reversed(rows)])


def trading_history(rows, hours=8):
    """Bills as the web export has them: each amount rounded at 8 decimals, times by the second in its own zone."""
    records = []
    for row in reversed(rows):
        local = EPOCH + timedelta(milliseconds=int(row["ts"]), hours=hours)
        rounded = {
            name: f"{float_free(row[name] or ZERO)}" for name in ("sz", "px", "pnl", "fee", "posBalChg", "posBal")
        }
        own = (row["billId"], row["ordId"], f"{local:%Y-%m-%d %H:%M:%S}", "Margin", row["instId"])
        traded = (ACTIONS[row["subType"]], rounded["sz"], row["ccy"], rounded["px"], rounded["pnl"])
        changes = (rounded["posBalChg"], rounded["posBal"], float_free(row["balChg"]), float_free(row["bal"]))
        cells = (*own, *traded, rounded["fee"], row["ccy"], *changes, row["ccy"])
        records.append(dict(zip(TRADING_HISTORY, cells, strict=True)))
    preamble = f"UID:123456789012345678,Account Type:Main,Time Zone:UTC{hours:+d}\n"
    return preamble + _csv(TRADING_HISTORY, records)


def float_free(amount):
    """An amount with exactly 8 decimals, half-even."""
    units = round(Fraction(amount) * 10**8)
    whole, decimals = divmod(abs(units), 10**8)
    return f"{'-' if units < 0 else ''}{whole}.{decimals:08d}"


def _csv(columns, rows):
    stream = io.StringIO()
    writer = csv.DictWriter(stream, columns, lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue()


def write(path, content):
    """The content in a file: plain, or packed where the name ends with .gz or .zip."""
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(content.encode()))
    elif path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
            packed.writestr(path.stem + ".csv", content)
    else:
        path.write_text(content, encoding="utf-8")
    return path


# Fills and interest


def fill_records(events):
    """Fills as the API has them, newest first; it lists no liquidation."""
    fills = [event for event in events if event["kind"] == "fill"]
    legs = {row["event_id"]: row["billId"] for row in bills(events) if row["subType"] == "1"}
    return [_fill_record(event, legs[event["event_id"]]) for event in reversed(fills)]


def _fill_record(event, bill):
    now = milliseconds(event["time"])
    return {
        "side": event["side"],
        "fillSz": text(event["quantity"]),
        "fillPx": text(event["price"]),
        "fee": text(-event["fee"]),
        "feeCcy": event["fee_currency"],
        "fillPnl": "0",
        "ordId": event["order_id"],
        "tradeId": event["trade_id"],
        "billId": bill,
        "instType": "MARGIN",
        "instId": event["instrument"],
        "clOrdId": "",
        "posSide": "net",
        "subType": {"buy": "1", "sell": "2"}[event["side"]],
        "tag": "",
        "execType": "M" if event["is_maker"] else "T",
        "fillTime": str(now - int(event["trade_id"]) % 2),
        "ts": str(now),
    }


def interest_records(events):
    """Interest as the API has it, newest first."""
    return [
        {
            "type": "2",
            "ccy": event["currency"],
            "instId": event["instrument"],
            "mgnMode": "isolated",
            "interest": text(event["amount"]),
            "interestRate": text(event["rate"]),
            "liab": text(event["liability"]),
            "totalLiab": text(event["liability"]),
            "interestFreeLiab": "0",
            "ts": str(milliseconds(event["time"])),
        }
        for event in reversed(events)
        if event["kind"] == "interest"
    ]


# The house's ledger


def house_ledger(events, *, with_value=True):
    """The events as a ledger of the house has them: canonical columns, in the order they happened."""
    return _csv(EVENT, [_house_row(event, with_value=with_value) for event in events])


def _house_row(event, *, with_value):
    row = {name: event.get(name) for name in EVENT} | {"time": str(milliseconds(event["time"]))}
    if with_value and row["quantity"] is not None:
        row["value"] = oracle.rounded(event["quantity"] * event["price"])
    row["reduce_only"] = "true" if event["reduce_only"] else "false"
    return {name: text(value) if isinstance(value, Fraction) else value or "" for name, value in row.items()}
