"""Contract positions by the published formulas (rules.md 7), event by event and branch by branch, in exact fractions.

It shares no line with the engine. What a money column cannot hold is rounded where the rules say so (`money`).
"""

from fractions import Fraction

PLACES = 10**18


class RefusedError(Exception):
    """An event that the rules do not allow."""


def money(value):
    """A quotient or product as a money column holds it: rounded half-even at the 18th place."""
    return Fraction(round(value * PLACES), PLACES)


def measures(kind, side, size, entry_value, margin, *, mark, rate, fee_rate):
    """The measures by the table of rules.md 7: one branch per case; None where a price does not exist."""
    if kind == "option":
        return _option(side, size, entry_value, margin, mark, rate, fee_rate)
    if kind == "inverse":
        pnl = entry_value - size / mark if side == "long" else size / mark - entry_value
        maintenance, fee = size * rate / mark, size * fee_rate / mark
        if side == "long":
            liquidation, bankruptcy = (size * (1 + rate + fee_rate), margin + entry_value), (size, margin + entry_value)
        else:
            liquidation, bankruptcy = (size * (1 - rate - fee_rate), entry_value - margin), (size, entry_value - margin)
    else:
        pnl = size * mark - entry_value if side == "long" else entry_value - size * mark
        maintenance, fee = size * mark * rate, size * mark * fee_rate
        if side == "long":
            liquidation, bankruptcy = (entry_value - margin, size * (1 - rate - fee_rate)), (entry_value - margin, size)
        else:
            liquidation, bankruptcy = (entry_value + margin, size * (1 + rate + fee_rate)), (entry_value + margin, size)
    return {
        "floating_pnl": pnl,
        "maintenance_margin": maintenance,
        "liquidation_fee": fee,
        "margin_ratio": (pnl + margin) / (maintenance + fee) if maintenance + fee else None,
        "liquidation_price": _price(*liquidation),
        "bankruptcy_price": _price(*bankruptcy),
    }


def _option(side, size, entry_value, margin, mark, rate, fee_rate):
    """By two real records of sold options; of one that is bought nothing is required."""
    if side == "long":
        owed = dict.fromkeys(("maintenance_margin", "liquidation_fee"), Fraction(0))
        none = dict.fromkeys(("margin_ratio", "liquidation_price", "bankruptcy_price"))
        return {"floating_pnl": size * mark - entry_value, **owed, **none}
    maintenance, fee = size * (rate + mark), size * fee_rate
    return {
        "floating_pnl": entry_value - size * mark,
        "maintenance_margin": maintenance,
        "liquidation_fee": fee,
        "margin_ratio": margin / (maintenance + fee),
        "liquidation_price": _price(margin / size - rate - fee_rate, 1),
        "bankruptcy_price": _price(margin / size, 1),
    }


def _price(numerator, denominator):
    return numerator / denominator if numerator > 0 and denominator > 0 else None


def flat():
    """A position before its first event."""
    return {"contracts": Fraction(0), "entry": Fraction(0), "margin": Fraction(0), "leverage": None}


def step(position, event, contract, funding="margin"):
    """Book an event into `position`, which is changed; returns one row of flows per part. Raises RefusedError.

    `funding` says what funding of an open position moves: its margin, or the account.
    """
    if event["kind"] == "fill":
        return _fill(position, event, contract)
    if event["kind"] == "funding":
        if funding == "account" or not position["contracts"]:
            return [_row(position, account=event["amount"], funding=event["amount"])]
        position["margin"] += event["amount"]
        return [_row(position, account=0, funding=event["amount"])]
    if event["kind"] in ("margin", "leverage"):
        position["leverage"] = event.get("leverage") or position["leverage"]
        amount = event.get("amount") or Fraction(0)
        if amount and not position["contracts"]:
            raise RefusedError
        if position["margin"] + amount < 0 or (event["kind"] == "margin" and not position["contracts"]):
            raise RefusedError
        position["margin"] += amount
        return [_row(position, account=-amount)]
    return _liquidation(position, event, contract)


def _value(quantity, price, contract):
    size = quantity * contract["face_value"]
    return money(size / price) if contract["kind"] == "inverse" else money(size * price)


def _fill(position, event, contract):
    position["leverage"] = event.get("leverage") or position["leverage"]
    signed = event["quantity"] if event["side"] == "buy" else -event["quantity"]
    held = position["contracts"]
    fee, value = event.get("fee") or Fraction(0), _value(event["quantity"], event["price"], contract)
    if held * signed >= 0:
        return [_open(position, event, signed, value, fee)]
    if abs(signed) <= abs(held):
        if event.get("amount"):
            raise RefusedError
        return [_reduce(position, event, signed, value, fee, contract)]
    if event["position_side"] != "net":
        raise RefusedError
    share = abs(held) / abs(signed)
    closing, closing_fee = money(value * share), money(fee * share)
    first = _reduce(position, event, -held, closing, closing_fee, contract)
    return [first, _open(position, event, signed + held, value - closing, fee - closing_fee)]


def _open(position, event, signed, value, fee):
    wrong = {"long": signed < 0, "short": signed > 0}.get(event["position_side"], False)
    if wrong or (position["leverage"] is None and event.get("amount") is None):
        raise RefusedError
    posted = event.get("amount")
    posted = money(value / position["leverage"]) if posted is None else posted
    position["contracts"] += signed
    position["entry"] += value
    position["margin"] += posted
    return _row(position, account=-posted - fee, fee=fee)


def _reduce(position, event, signed, value, fee, contract):
    share = abs(signed) / abs(position["contracts"])
    entry, margin = money(position["entry"] * share), money(position["margin"] * share)
    is_long = position["contracts"] > 0
    gain = entry - value if is_long == (contract["kind"] == "inverse") else value - entry
    position["contracts"] += signed
    position["entry"] -= entry
    if event["kind"] == "liquidation" and position["contracts"]:
        left = event.get("amount") or Fraction(0)
        position["margin"] += gain - fee - left
        if position["margin"] < 0:
            raise RefusedError
        return _row(position, account=left, fee=fee, realised=gain)
    position["margin"] -= margin
    if event["kind"] == "liquidation":
        left = event.get("amount") or Fraction(0)
        return _row(position, account=left, fee=fee, realised=gain, insurance=margin + gain - fee - left)
    return _row(position, account=margin + gain - fee, fee=fee, realised=gain)


def _liquidation(position, event, contract):
    signed = event["quantity"] if event["side"] == "buy" else -event["quantity"]
    if position["contracts"] * signed >= 0 or abs(signed) > abs(position["contracts"]):
        raise RefusedError
    value = _value(event["quantity"], event["price"], contract)
    return [_reduce(position, event, signed, value, event.get("fee") or Fraction(0), contract)]


def _row(position, *, account, fee=0, realised=0, funding=0, insurance=0):
    return {
        "contracts_closing": position["contracts"],
        "entry_value_closing": position["entry"],
        "margin_closing": position["margin"],
        "account_change": Fraction(account),
        "fee": Fraction(fee),
        "realised_pnl": Fraction(realised),
        "funding": Fraction(funding),
        "insurance_fund": Fraction(insurance),
    }
