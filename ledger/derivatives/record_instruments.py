"""What a position record says of its contract: class, currencies, direction, and the size of a contract.

Exchanges leave the size out; margin, PnL, option value and notional value imply it. Sizes are powers of ten, or twice
or five times one [V]: such a number explains the record, or it is not compared.
"""

from collections.abc import Iterator
from fractions import Fraction

from ledger.derivatives.record_figures import Cells, number, plain

_NEAR_SIZE = Fraction(1, 50)  # how far a notional value in dollars may be from one in a stable coin
_SAME_SIZE = Fraction(1, 10**9)
_NO_SIZE = "the contract size is not stated, and no short number explains margin, PnL or notional"


def instrument_class(cells: Cells) -> str:
    """linear, inverse or option: by what the record says of the contract, its currencies, or the contract's name."""
    name = cells.get("instId", "").split("-")
    base, quote = (*name, "", "")[:2]
    unit = contract_unit(cells)
    if cells.get("instType") == "OPTION" or (len(name) > 3 and name[-1] in ("C", "P")):
        return "option"
    for currency, of_base, of_quote in ((cells.get("ccy"), "inverse", "linear"), (unit, "linear", "inverse")):
        if currency == base:
            return of_base
        if currency == quote:
            return of_quote
    if cells.get("ctType") in ("linear", "inverse"):
        return cells["ctType"]
    return "inverse" if quote == "USD" else "linear"


def contract_unit(cells: Cells) -> str | None:
    """The currency of the contract's face value, where the record says it."""
    words = cells.get("ctVal", "").split()
    return cells.get("ctValCcy") or (words[1] if len(words) == 2 else None)


def settle_currency(cells: Cells) -> str:
    """The currency of margin and PnL: as stated, or by the class."""
    name = (*cells.get("instId", "").split("-"), "", "")
    return cells.get("ccy") or (name[1] if instrument_class(cells) == "linear" else name[0])


def direction(cells: Cells) -> str | None:
    """long or short: as stated, or by the sign of a net position; nothing where there is none, or both at once."""
    held = number(cells.get("pos"))
    if not held or contradiction(cells):
        return None
    stated = cells.get("posSide")
    return stated if stated in ("long", "short") else ("long" if held > 0 else "short")


def contradiction(cells: Cells) -> str | None:
    """What the record says of its direction, in words, where that is long and short at once."""
    held = number(cells.get("pos"))
    if held is not None and held < 0 and cells.get("posSide") == "long":
        return f"posSide long contradicts pos {cells['pos']}"
    return None


def contract_sizes(cells: Cells) -> tuple[list[tuple[Fraction, str]], str]:
    """What one contract may be of, multiplier included, each with where it comes from; why not, where there is none."""
    stated = number((cells.get("ctVal", "").split() or [""])[0])
    if stated:
        return [(stated * (number(cells.get("ctMult")) or 1), "")], ""
    found: dict[Fraction, str] = {}
    for raw, tolerance, words in _implied(cells):
        short = _short_size(raw, tolerance)
        if short:
            found.setdefault(short, f"contract size {plain(short)} from {words}")
    return list(found.items()), "" if found else f"not compared: {_NO_SIZE}"


def contradicts_notional(cells: Cells, size: Fraction) -> bool:
    """Whether the record's notional value in dollars is another one than with this contract size."""
    raw = _by_notional(cells)
    return raw is not None and abs(raw - size) > _NEAR_SIZE * size


def _by_notional(cells: Cells) -> Fraction | None:
    """The contract size that the notional value implies, a stable coin taken for a dollar; of options it is another."""
    held, mark, notional = (number(cells.get(name)) for name in ("pos", "markPx", "notionalUsd"))
    kind = instrument_class(cells)
    if not held or not notional or kind == "option" or (kind == "linear" and not mark):
        return None
    return abs(notional / held / (1 if kind == "inverse" else mark or 1))


def _implied(cells: Cells) -> Iterator[tuple[Fraction, Fraction, str]]:
    """Contract sizes that figures of the record imply, the surest first, and how far each may be off."""
    inverse = instrument_class(cells) == "inverse"
    held, entry = abs(number(cells.get("pos")) or Fraction(0)), number(cells.get("avgPx")) or Fraction(0)
    margin, leverage, mark, pnl, value = (
        number(cells.get(name)) for name in ("margin", "lever", "markPx", "upl", "optVal")
    )
    notional = _by_notional(cells)
    if margin and leverage:
        yield margin * leverage * (entry if inverse else 1 / entry) / held, _SAME_SIZE, "margin x leverage"
    if mark and pnl and mark != entry:
        gain = abs(1 / entry - 1 / mark) if inverse else abs(mark - entry)
        yield abs(pnl) / gain / held, _SAME_SIZE, "PnL"
    if value and mark and instrument_class(cells) == "option":
        yield abs(value / mark) / held, _SAME_SIZE, "option value"
    if notional:
        yield notional, _NEAR_SIZE, "notional value"


def _short_size(raw: Fraction, tolerance: Fraction) -> Fraction | None:
    """A power of ten, or twice or five times one, within the tolerance."""
    for places in range(-9, 9):
        for step in (1, 2, 5):
            size = step * Fraction(10) ** places
            if abs(raw - size) <= tolerance * size:
                return size
    return None
