"""An independent oracle: one position, one event after the other, in exact fractions.

It is written from the published rules, which name four cases: LB and LQ are a long with base or quote
margin, SB and SQ a short. A position is `assets`, a `debt` and a `margin`; a debt below zero is a surplus: in
LQ and SB the debt can reach zero before the assets are gone (rules.md 2). It shares no line and no idea with
the package: there, all cases are two signed legs.

What a fill cost is its recorded value, or else quantity x price. An `opening` is a position brought forward: its
assets, debt and margin come from no account and no market. An `adjustment` corrects one leg and nothing else.

Events, positions and rows are plain dicts; every amount is a Fraction that is a whole number of 10**-18.
"""

from fractions import Fraction

UNITS = 10**18
DEFAULTS = {
    "overfill": "reverse",
    "entry_price": "cumulative_opened",
    "liquidation_residual": "insurance_fund",
}
OPENING_SIDE = {"long": "buy", "short": "sell"}
ZERO = Fraction(0)
STATE = ("position", "episode", "event_number", "direction", "leverage")
EVENT = ("time", "event_id", "input", "row", "kind", "reason", "mode", "side", "price", "fee_currency")


class RefusedError(Exception):
    """An event that the state of its position does not allow."""


def rounded(number):
    """The number at 18 decimals, half-even."""
    return Fraction(round(number * UNITS), UNITS)


def new_position(account, instrument, margin_currency):
    """A position nothing has happened to yet."""
    base, quote = instrument.split("-")
    names = {
        "position": f"{account}:{instrument}:{margin_currency}",
        "margin_is_base": margin_currency == base,
    }
    currencies = {"base_currency": base, "quote_currency": quote}
    state = {"direction": None, "mode": None, "leverage": None, "episode": 0, "event_number": 0}
    return {**names, **currencies, **state, **_nothing()}


def _nothing():
    """Balances and entry statistics of a position that is closed."""
    balances = dict.fromkeys(("assets", "debt", "margin"), ZERO)
    return {**balances, "opened": ZERO, "opened_cost": ZERO, "remaining": ZERO, "entry_price": None}


def case_of(position):
    """LB, LQ, SB or SQ."""
    return {"long": "L", "short": "S"}[position["direction"]] + ("B" if position["margin_is_base"] else "Q")


def balances(position):
    """The position's base leg, quote leg and margin."""
    if position["direction"] == "long":
        return position["assets"], -position["debt"], position["margin"]
    if position["direction"] == "short":
        return -position["debt"], position["assets"], position["margin"]
    return ZERO, ZERO, ZERO


def replay(events, policies=DEFAULTS):
    """Rows and postings of all events, in the order of time, file and row; raises RefusedError."""
    positions, rows, postings = {}, [], []
    for event in sorted(events, key=lambda event: (event["time"], event["input"], event["row"])):
        key = (event["account"], event["instrument"], event["margin_currency"])
        position = positions.setdefault(key, new_position(*key))
        for row in step(position, event, policies):
            rows.append(row)
            postings += postings_of(position, row)
    return rows, postings


def step(position, event, policies=DEFAULTS):
    """Apply one event to the position, in place, and give one row per part; raises RefusedError."""
    if position["direction"] and event["mode"] != position["mode"]:
        raise RefusedError("the mode changes while the position is open")
    position["mode"] = event["mode"]
    position["event_number"] += 1
    if event["leverage"] is not None:
        position["leverage"] = event["leverage"]
    others = {"interest": _interest, "margin": _margin, "leverage": _leverage}
    others |= {"opening": _brought_forward, "adjustment": _adjustment}
    apply = others.get(event["kind"], _fill)
    rows = apply(position, event, policies)
    for number, row in enumerate(rows, start=1):
        averages = row.pop("entry_prices")
        row |= {"part": number, "entry_price": averages[policies["entry_price"]]}
    return rows


# Fills


def _fill(position, event, policies):
    """Open, increase, reduce or close; what goes beyond closing opens the opposite or is left over."""
    fill = {"quantity": event["quantity"], "value": value_of(event), "fee": event["fee"] or ZERO}
    only_reduces = event["kind"] == "liquidation" or bool(event["reduce_only"])
    if position["direction"] is None or OPENING_SIDE[position["direction"]] == event["side"]:
        if only_reduces:
            raise RefusedError("nothing to reduce")
        return [_open(position, event, fill)]
    needed, whole = _needed_to_close(position, event, fill)
    if whole < needed:
        rows = [_reduce(position, event, fill)]
    else:
        closing = fill if whole == needed else _closing_part(position, event, fill, needed / whole)
        spot = _spot_part(position, event, fill, closing) if policies["overfill"] == "spot_first" else None
        rows = [_close(position, event, closing, policies)]
        if whole > needed:
            rest = _without(fill, closing)
            rows += _after_close(position, event, rest, rest if only_reduces else spot)
    if event["kind"] == "fill" and event["amount"] and rows[-1]["action"] != "open":
        raise RefusedError("an initial margin on a fill that opens nothing")
    return rows


def value_of(event):
    """What a fill comes to in the quote currency: as recorded, or else quantity times price."""
    recorded = event.get("value")
    return rounded(event["quantity"] * event["price"]) if recorded is None else recorded


def _fees(position, event, fee):
    """What the fee takes of the base and of the quote leg: nothing, if it is paid in a third currency."""
    currencies = position["base_currency"], position["quote_currency"]
    return tuple(fee if event["fee_currency"] == currency else ZERO for currency in currencies)


def _needed_to_close(position, event, fill):
    """What closes the position (rules.md 2), and what the whole fill brings of it."""
    fee_base, fee_quote = _fees(position, event, fill["fee"])
    return {
        "LB": (position["debt"], fill["value"] - fee_quote),
        "LQ": (position["assets"], fill["quantity"] + fee_base),
        "SB": (position["assets"], fill["value"] + fee_quote),
        "SQ": (position["debt"], fill["quantity"] - fee_base),
    }[case_of(position)]


def _closing_part(position, event, fill, share):
    """The part of an overfill that closes the position exactly."""
    case, price = case_of(position), event["price"]
    fee = rounded(fill["fee"] * share)
    fee_base, fee_quote = _fees(position, event, fee)
    if case in ("LQ", "SQ"):
        quantity = position["assets"] - fee_base if case == "LQ" else position["debt"] + fee_base
        value = min(fill["value"], rounded(quantity * price))
    else:
        value = position["debt"] + fee_quote if case == "LB" else position["assets"] - fee_quote
        quantity = min(fill["quantity"], rounded(value / price))
    return {"quantity": quantity, "value": value, "fee": fee}


def _spot_part(position, event, fill, closing):
    """Policy spot_first: the part of the rest that trades what a closed LB or SQ position left; or None."""
    gives = {"LB": "quantity", "SQ": "value"}.get(case_of(position))
    after, rest = dict(position), _without(fill, closing)
    _trade(after, event, closing)
    if gives is None or after["assets"] <= 0 or rest[gives] <= 0:
        return None
    given = min(after["assets"], rest[gives])
    rest_net = _needed_to_close(position, event, rest)[1]
    net = rounded(rest_net * given / rest[gives])
    if net == rest_net:  # what remains would open a position of nothing
        return rest
    fee = rounded(rest["fee"] * net / rest_net)
    fee_base, fee_quote = _fees(position, event, fee)
    if gives == "quantity":
        return {"quantity": given, "value": net + fee_quote, "fee": fee}
    return {"quantity": net + fee_base, "value": given, "fee": fee}


def _after_close(position, event, rest, left):
    """Rows for what a fill brings beyond the close: `left` goes to the account, the others open."""
    rows = [_leftover(position, event, left)] if left else []
    return rows if left == rest else [*rows, _open(position, event, _without(rest, left) if left else rest)]


def _without(fill, part):
    return {name: fill[name] - part[name] for name in fill}


def _trade(position, event, fill):
    """Move assets and debt of an open position by a fill and its fee."""
    fee_base, fee_quote = _fees(position, event, fill["fee"])
    if position["direction"] == "long" and event["side"] == "buy":
        position["assets"] += fill["quantity"] - fee_base
        position["debt"] += fill["value"] + fee_quote
    elif position["direction"] == "long":
        position["assets"] -= fill["quantity"] + fee_base
        position["debt"] -= fill["value"] - fee_quote
    elif event["side"] == "sell":
        position["debt"] += fill["quantity"] + fee_base
        position["assets"] += fill["value"] - fee_quote
    else:
        position["debt"] -= fill["quantity"] - fee_base
        position["assets"] -= fill["value"] + fee_quote


def _open(position, event, fill):
    """Open or increase, with new margin from the account."""
    opening = balances(position)
    action = "increase" if position["direction"] else "open"
    if action == "open":
        position["direction"] = {"buy": "long", "sell": "short"}[event["side"]]
        position["episode"] += 1
    size = fill["quantity"] if position["margin_is_base"] else fill["value"]
    formula = None if position["leverage"] is None else rounded(size / position["leverage"])
    margin = formula if event["amount"] is None else event["amount"]
    if margin is None:
        raise RefusedError("neither a leverage nor a recorded margin")
    _trade(position, event, fill)
    position["margin"] += margin
    _average(position, fill["quantity"], rounded(fill["quantity"] * event["price"]))
    account = (-margin, ZERO) if position["margin_is_base"] else (ZERO, -margin)
    margins = {"initial_margin": margin, "margin_formula": formula}
    return _row(position, event, action, opening, fill=fill, account=account, **margins)


def _average(position, quantity, cost):
    """Both entry prices: over everything opened, and over what remains.

    The cost is quantity times price: the value of an opening part is a remainder, and can carry the rounding
    of the part that closed.
    """
    remaining = position["remaining"] + quantity
    total = position["remaining"] * (position["entry_price"] or ZERO) + cost
    position["entry_price"] = rounded(total / remaining) if remaining else None
    position["remaining"] = remaining
    position["opened"] += quantity
    position["opened_cost"] += cost


def _reduce(position, event, fill):
    opening = balances(position)
    _trade(position, event, fill)
    position["remaining"] = max(ZERO, position["remaining"] - fill["quantity"])
    return _row(position, event, "reduce", opening, fill=fill)


def _close(position, event, fill, policies):
    """Settle, and give what is left to the account; a liquidation leaves it as recorded, or as the policy says.

    What it lacks is never the account's: the insurance fund pays it.
    """
    opening, case = balances(position), case_of(position)
    _trade(position, event, fill)
    profit = position["assets"] if case in ("LB", "SQ") else -position["debt"]
    back, fund = profit + position["margin"], ZERO
    if event["kind"] == "liquidation":
        left, given = back, event["amount"]
        if given is None:
            given = ZERO if policies["liquidation_residual"] == "insurance_fund" or left < 0 else left
        back, fund = given, left - given
    account = (back, ZERO) if position["margin_is_base"] else (ZERO, back)
    direction, averages = position["direction"], _entry_prices(position)
    position.update(_nothing(), direction=None)
    amounts = {"realised_pnl": profit, "insurance_fund": fund}
    row = _row(position, event, "close", opening, fill=fill, account=account, **amounts)
    return row | {"direction": direction, "entry_prices": averages}


def _leftover(position, event, fill):
    """A part that touches no balance of the position: the account trades it."""
    fee_base, fee_quote = _fees(position, event, fill["fee"])
    if event["side"] == "buy":
        account = (fill["quantity"] - fee_base, -fill["value"] - fee_quote)
    else:
        account = (-fill["quantity"] - fee_base, fill["value"] - fee_quote)
    return _row(position, event, "leftover", balances(position), fill=fill, account=account)


# Everything else


def _interest(position, event, policies):
    """Interest is charged into the liability, in its currency."""
    if position["direction"] is None:
        raise RefusedError("interest on no position")
    leg = "quote" if position["direction"] == "long" else "base"
    if event["currency"] != position[f"{leg}_currency"]:
        raise RefusedError("interest in another currency than the liability's")
    opening = balances(position)
    position["debt"] += event["amount"]
    return [_row(position, event, "interest", opening, interest=event["amount"])]


def _margin(position, event, policies):
    if position["direction"] is None:
        raise RefusedError("margin of no position")
    opening = balances(position)
    position["margin"] += event["amount"]
    if position["margin"] < 0:
        raise RefusedError("more margin taken out than there is")
    account = (-event["amount"], ZERO) if position["margin_is_base"] else (ZERO, -event["amount"])
    return [_row(position, event, event["kind"], opening, account=account)]


def _leverage(position, event, policies):
    if event["amount"]:
        return _margin(position, event, policies)
    return [_row(position, event, "leverage", balances(position))]


def _brought_forward(position, event, policies):
    """A position that exists already: its balances are stated, and no account pays for them."""
    if position["direction"] is not None:
        raise RefusedError("an opening balance of a position that is open")
    opening = balances(position)
    position["direction"] = {"buy": "long", "sell": "short"}[event["side"]]
    position["episode"] += 1
    is_long = position["direction"] == "long"
    position["assets"], position["debt"] = (event["quantity"], event["value"])[:: 1 if is_long else -1]
    position["margin"] = event["amount"]
    if _to_settle(position) <= 0:
        raise RefusedError("an opening balance with nothing to settle")
    _average(position, event["quantity"], rounded(event["quantity"] * event["price"]))
    fill = {"quantity": event["quantity"], "value": event["value"], "fee": ZERO}
    return [_row(position, event, "open", opening, fill=fill, initial_margin=event["amount"])]


def _to_settle(position):
    """What is to become zero for the position to be closed (rules.md 2)."""
    return position["assets" if case_of(position) in ("LQ", "SB") else "debt"]


def _adjustment(position, event, policies):
    """A signed amount on the leg of a currency. What owes less owes a positive amount less."""
    if position["direction"] is None:
        raise RefusedError("an adjustment of no position")
    opening = balances(position)
    owned = "base_currency" if position["direction"] == "long" else "quote_currency"
    if event["currency"] == position[owned]:
        position["assets"] += event["amount"]
    else:
        position["debt"] -= event["amount"]
    if _to_settle(position) <= 0:
        raise RefusedError("an adjustment that closes or turns the position")
    return [_row(position, event, "adjustment", opening)]


# Rows


def _entry_prices(position):
    average = rounded(position["opened_cost"] / position["opened"]) if position["opened"] else None
    return {"cumulative_opened": average, "net_remaining": position["entry_price"]}


def _row(position, event, action, opening, *, fill=None, account=(ZERO, ZERO), **amounts):
    """One part of an event, with opening, change and closing of every balance."""
    row = {name: position[name] for name in STATE}
    row |= {name: event.get(name) for name in EVENT}
    row |= {name: fill and fill[name] for name in ("quantity", "value", "fee")}
    row |= {"action": action, "entry_prices": _entry_prices(position)}
    for leg, before, after in zip(("base", "quote", "margin"), opening, balances(position), strict=True):
        row |= {f"{leg}_opening": before, f"{leg}_change": after - before, f"{leg}_closing": after}
    row |= {"account_base": account[0], "account_quote": account[1], "insurance_fund": ZERO}
    row |= {"interest": None, "initial_margin": None, "margin_formula": None, "realised_pnl": None}
    return row | amounts


def postings_of(position, row):
    """The non-zero postings of a row: (row, posting account, currency, amount)."""
    base, quote = position["base_currency"], position["quote_currency"]
    margin_currency = base if position["margin_is_base"] else quote
    entries = [("account", base, row["account_base"]), ("account", quote, row["account_quote"])]
    for leg, currency in (("base", base), ("quote", quote)):
        before, after = row[f"{leg}_opening"], row[f"{leg}_closing"]
        entries.append(("assets", currency, max(after, ZERO) - max(before, ZERO)))
        entries.append(("liability", currency, min(after, ZERO) - min(before, ZERO)))
    entries.append(("margin", margin_currency, row["margin_change"]))
    entries.append(("insurance_fund", margin_currency, row["insurance_fund"]))
    entries.append(("interest", quote if row["direction"] == "long" else base, row["interest"] or ZERO))
    if row["fee"]:
        entries.append(("fees", row["fee_currency"], row["fee"]))
        if row["fee_currency"] not in (base, quote):
            entries.append(("account", row["fee_currency"], -row["fee"]))
    if row["quantity"] is not None:
        sign = -1 if row["side"] == "buy" else 1
        other = "brought_forward" if row["kind"] == "opening" else "counterparty"
        entries.append((other, base, sign * row["quantity"]))
        entries.append((other, quote, -sign * row["value"]))
    if row["kind"] == "opening":
        entries.append(("brought_forward", margin_currency, -row["initial_margin"]))
    if row["kind"] == "adjustment":
        entries.append(("adjustments", base, -row["base_change"]))
        entries.append(("adjustments", quote, -row["quote_change"]))
    return [(row, name, currency, amount) for name, currency, amount in entries if amount]
