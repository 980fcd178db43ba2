"""The same accounting as a plain Python loop over `decimal.Decimal`: what one would write without Polars.

One pass over the events in order of time, one object of balances per position. Default policies. It shares
no code with the engine, so agreement of the two says something.
"""

import json
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Context, Decimal, localcontext
from pathlib import Path
from typing import Any, NamedTuple

ZERO = Decimal(0)
UNIT = Decimal("1e-18")
BALANCES = ("base_leg", "quote_leg", "margin", "entry_price", "realised_pnl")
EXACT = Context(prec=80, rounding=ROUND_HALF_EVEN)


class Part(NamedTuple):
    """A fill or a part of one, as gross amounts: its fee is not yet taken off."""

    quantity: Decimal
    value: Decimal
    fee: Decimal

    def less(self, other: "Part") -> "Part":
        """What `other` leaves of this part."""
        return Part(self.quantity - other.quantity, self.value - other.value, self.fee - other.fee)


class Row(NamedTuple):
    """One ledger row: the flows of a part of an event and the balances after it. Pairs are (base, quote)."""

    action: str
    part: Part
    legs_change: tuple[Decimal, Decimal]
    margin_change: Decimal
    account: tuple[Decimal, Decimal]
    legs_closing: tuple[Decimal, Decimal]
    margin_closing: Decimal
    realised_pnl: Decimal | None
    insurance_fund: Decimal


@dataclass
class Position:
    """The running balances of one position."""

    base_currency: str
    quote_currency: str
    margin_is_base: bool
    base: Decimal = ZERO
    quote: Decimal = ZERO
    margin: Decimal = ZERO
    leverage: Decimal | None = None
    is_long: bool = True
    episode: int = 0
    opened_quantity: Decimal = ZERO
    opened_value: Decimal = ZERO
    entry_price: Decimal | None = None

    @property
    def settlement(self) -> Decimal:
        """The leg that is not in the margin currency: the position is open unless it is zero."""
        return self.quote if self.margin_is_base else self.base

    def in_margin(self, amount: Decimal) -> tuple[Decimal, Decimal]:
        """An amount of the margin currency as a (base, quote) pair."""
        return (amount, ZERO) if self.margin_is_base else (ZERO, amount)


def rounded(amount: Decimal) -> Decimal:
    """To the 18th place, ties to even."""
    return amount.quantize(UNIT)


def flows(position: Position, event: dict[str, Any], part: Part) -> tuple[Decimal, Decimal]:
    """What the part does to the base and the quote leg, after its fee."""
    sign = 1 if event["side"] == "buy" else -1
    base, quote = sign * part.quantity, -sign * part.value
    if event["fee_currency"] == position.base_currency:
        base -= part.fee
    elif event["fee_currency"] == position.quote_currency:
        quote -= part.fee
    return base, quote


def closing_part(position: Position, event: dict[str, Any], fill: Part, whole: Decimal) -> Part:
    """The part of a fill that brings the settlement leg to exactly zero."""
    need, price = abs(position.settlement), event["price"]
    fee = rounded(fill.fee * need / whole)
    in_quote = position.margin_is_base
    settlement_currency = position.quote_currency if in_quote else position.base_currency
    fee_taken = fee if event["fee_currency"] == settlement_currency else ZERO
    receives_settlement = (event["side"] == "sell") == in_quote
    gross = need + fee_taken if receives_settlement else need - fee_taken
    if in_quote:
        return Part(min(fill.quantity, rounded(gross / price)), gross, fee)
    return Part(gross, min(fill.value, rounded(gross * price)), fee)


def apply_fill(position: Position, event: dict[str, Any]) -> Iterator[Row]:
    """The rows of a fill: one, or two where it brings the position to zero and something is left."""
    fill = Part(event["quantity"], rounded(event["quantity"] * event["price"]), event["fee"] or ZERO)
    is_buy = event["side"] == "buy"
    never_opens = bool(event["reduce_only"]) or event["kind"] == "liquidation"
    if position.settlement == 0:
        yield start(position, event, fill, is_buy)
    elif is_buy == position.is_long:
        yield increase(position, event, fill, "increase")
    else:
        base, quote = flows(position, event, fill)
        whole, need = abs(quote if position.margin_is_base else base), abs(position.settlement)
        if whole < need:
            yield move(position, "reduce", fill, legs=(base, quote))
            return
        closing = closing_part(position, event, fill, whole)
        yield close(position, event, closing)
        if whole == need:
            return
        rest = fill.less(closing)
        if never_opens:
            yield move(position, "leftover", rest, account=flows(position, event, rest))
        else:
            yield start(position, event, rest, is_buy)


def start(position: Position, event: dict[str, Any], part: Part, is_long: bool) -> Row:
    """Open a new episode."""
    position.episode += 1
    position.is_long = is_long
    position.opened_quantity = position.opened_value = ZERO
    return increase(position, event, part, "open")


def increase(position: Position, event: dict[str, Any], part: Part, action: str) -> Row:
    """Add a part in the position's direction, with its initial margin."""
    position.opened_quantity += part.quantity
    # Not the part's value: after a split that is a remainder, and carries the closing part's rounding.
    position.opened_value += rounded(part.quantity * event["price"])
    position.entry_price = rounded(position.opened_value / position.opened_quantity)
    initial = event["amount"]
    if initial is None:
        if position.leverage is None:
            raise ValueError(f"{event['event_id']}: no leverage stated")
        initial = rounded((part.quantity if position.margin_is_base else part.value) / position.leverage)
    return move(
        position,
        action,
        part,
        legs=flows(position, event, part),
        margin=initial,
        account=position.in_margin(-initial),
    )


def close(position: Position, event: dict[str, Any], part: Part) -> Row:
    """Bring all balances to zero; what is left goes to the account or, liquidated, to the insurance fund."""
    base, quote = flows(position, event, part)
    left = position.base + base if position.margin_is_base else position.quote + quote
    returned = left + position.margin
    insurance = returned - (event["amount"] or ZERO) if event["kind"] == "liquidation" else ZERO
    to_account = position.in_margin(returned - insurance)
    legs = -position.base, -position.quote
    return move(
        position,
        "close",
        part,
        legs=legs,
        margin=-position.margin,
        account=to_account,
        realised_pnl=left,
        insurance=insurance,
    )


def move(
    position: Position,
    action: str,
    part: Part,
    *,
    legs: tuple[Decimal, Decimal] = (ZERO, ZERO),
    margin: Decimal = ZERO,
    account: tuple[Decimal, Decimal] = (ZERO, ZERO),
    realised_pnl: Decimal | None = None,
    insurance: Decimal = ZERO,
) -> Row:
    """Add the changes to the balances."""
    position.base += legs[0]
    position.quote += legs[1]
    position.margin += margin
    closing = position.base, position.quote
    return Row(action, part, legs, margin, account, closing, position.margin, realised_pnl, insurance)


def apply_event(position: Position, event: dict[str, Any]) -> Iterator[Row]:
    """The ledger rows of one event."""
    if event["leverage"] is not None:
        position.leverage = event["leverage"]
    kind, amount, nothing = event["kind"], event["amount"] or ZERO, Part(ZERO, ZERO, ZERO)
    if kind in ("fill", "liquidation"):
        yield from apply_fill(position, event)
    elif kind == "interest":
        in_base = event["currency"] == position.base_currency
        yield move(position, kind, nothing, legs=(-amount, ZERO) if in_base else (ZERO, -amount))
    else:
        yield move(position, kind, nothing, margin=amount, account=position.in_margin(-amount))


def postings(position: Position, event: dict[str, Any], row: Row) -> list[tuple[str, str, Decimal]]:
    """The postings of a ledger row as account, currency and amount; zero amounts are left out."""
    base, quote = position.base_currency, position.quote_currency
    margin_currency = base if position.margin_is_base else quote
    entries = [
        ("margin", margin_currency, row.margin_change),
        ("insurance_fund", margin_currency, row.insurance_fund),
    ]
    for currency, change, closing, account in zip(
        (base, quote), row.legs_change, row.legs_closing, row.account, strict=True
    ):
        opening = closing - change
        entries += [
            ("assets", currency, max(closing, ZERO) - max(opening, ZERO)),
            ("liability", currency, min(closing, ZERO) - min(opening, ZERO)),
            ("account", currency, account),
        ]
    if event["side"] is not None:
        sign = 1 if event["side"] == "buy" else -1
        entries += [
            ("counterparty", base, -sign * row.part.quantity),
            ("counterparty", quote, sign * row.part.value),
            ("fees", event["fee_currency"], row.part.fee),
        ]
        if event["fee_currency"] not in (base, quote):
            entries.append(("account", event["fee_currency"], -row.part.fee))
    if event["kind"] == "interest":
        entries.append(("interest", event["currency"], event["amount"]))
    return [entry for entry in entries if entry[2]]


def check_balanced(event: dict[str, Any], entries: list[tuple[str, str, Decimal]]) -> None:
    """Raise where the postings of an event do not sum to zero in each currency."""
    totals: dict[str, Decimal] = {}
    for _, currency, amount in entries:
        totals[currency] = totals.get(currency, ZERO) + amount
    if any(totals.values()):
        raise ValueError(f"{event['event_id']}: postings do not balance: {totals}")


def account_for(events: list[dict[str, Any]]) -> tuple[dict[tuple[str, int], list[Decimal | None]], int, int]:
    """Balances per position and episode, named by BALANCES; how many ledger rows and postings."""
    positions: dict[str, Position] = {}
    episodes: dict[tuple[str, int], list[Decimal | None]] = {}
    ledger: list[Row] = []
    journal: list[tuple[str, str, Decimal]] = []
    for event in events:
        key = f"{event['account']}:{event['instrument']}:{event['margin_currency']}"
        position = positions.get(key)
        if position is None:
            base, quote = event["instrument"].split("-")
            position = positions[key] = Position(base, quote, event["margin_currency"] == base)
        entries = []
        for row in apply_event(position, event):
            ledger.append(row)
            entries += postings(position, event, row)
            if row.action != "leftover":
                balances = [*row.legs_closing, row.margin_closing, position.entry_price, row.realised_pnl]
                episodes[key, position.episode] = balances
        check_balanced(event, entries)
        journal += entries
    return episodes, len(ledger), len(journal)


def _text(amount: Decimal | None) -> str | None:
    return None if amount is None else f"{amount:f}"


def main(events_file: Path, balances_file: Path) -> None:
    """Account for a Parquet file of events; write the balances, print how long the loop took."""
    import polars as pl

    frame = pl.read_parquet(events_file).sort("time", maintain_order=True)
    started = time.perf_counter()
    with localcontext(EXACT):
        episodes, rows, entries = account_for(frame.to_dicts())
    seconds = time.perf_counter() - started
    columns = zip(*episodes.values(), strict=True)
    pl.DataFrame(
        {
            "position": [position for position, _ in episodes],
            "episode": [episode for _, episode in episodes],
            # As text: the comparison casts it to the engine's money type.
            **{name: [_text(amount) for amount in column] for name, column in zip(BALANCES, columns, strict=True)},
        },
    ).write_parquet(balances_file)
    print(json.dumps({"seconds": seconds, "events": frame.height, "ledger_rows": rows, "postings": entries}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
