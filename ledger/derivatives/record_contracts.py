"""Records of contract positions, read from their own numbers: class, contract size, mark, rates and tick.

A record states figures that follow from each other, and leaves out what they follow from. What an exchange chooses
(contract sizes, rates, ticks, marks) are short decimals: a way to read a record stands when such decimals explain it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from ledger.derivatives.columns import DERIVATIVE_FIGURES, DERIVATIVE_MEASURES
from ledger.derivatives.record_figures import (
    DOUBLE,
    LAST_DIGIT,
    Cells,
    Figure,
    measured,
    near,
    nearest,
    number,
    plain,
    shortest,
)

_COLUMNS = (*DERIVATIVE_FIGURES, *DERIVATIVE_MEASURES)
_MARK_DECIMALS = 10
_TIER_DECIMALS = 5  # of a tier's maintenance rate; real ones have up to 4
_TICKS = [Fraction(step, 10**places) for places in range(9) for step in (1, 2, 5)]
_FEES = [Fraction(step, 20_000) for step in range(41)]  # up to 0.2 %
_NEAR_SIZE = Fraction(1, 50)  # how far a notional value in dollars may be from one in a stable coin
_SAME_SIZE = Fraction(1, 10**9)


@dataclass
class Reading:
    """A way to read a record: values by the names of columns, what was inferred, how much does not follow from it."""

    values: dict[str, Any]
    words: list[str] = field(default_factory=list)
    doubts: int = 0
    mark_from_pnl: bool = False


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
    """long or short: as stated, or by the sign of a net position; nothing where there is no position."""
    held = number(cells.get("pos"))
    if not held:
        return None
    stated = cells.get("posSide")
    return stated if stated in ("long", "short") else ("long" if held > 0 else "short")


def read_contract(cells: Cells) -> tuple[list[Figure], str]:
    """The figures of a record of a contract position, and in words what was inferred or is missing."""
    missing = [name for name in ("pos", "avgPx", "margin") if not number(cells.get(name))]
    if missing:
        return _not_compared(cells), f"not compared: no {', '.join(missing)}"
    size, words = _contract_size(cells)
    if size is None:
        return _not_compared(cells), words
    readings = [_with_rates(cells, one) for one in _with_marks(cells, _balances(cells, size, words))]
    if not readings:
        return _not_compared(cells), "; ".join(
            filter(None, (words, "not compared: no mark, and no PnL to take it from"))
        )
    best = min(readings, key=lambda one: one.doubts)
    figures = _figures(cells, best)
    return figures, "; ".join(filter(None, best.words))


def _balances(cells: Cells, face_value: Fraction, words: str) -> Reading:
    contracts, entry = number(cells["pos"]) or Fraction(0), number(cells["avgPx"]) or Fraction(1)
    is_long, is_inverse = direction(cells) == "long", instrument_class(cells) == "inverse"
    size = abs(contracts) * face_value
    values = {
        "contracts": abs(contracts) * (1 if is_long else -1),
        "face_value": face_value,
        "multiplier": Fraction(1),
        "entry_value": size / entry if is_inverse else size * entry,
        "margin": number(cells["margin"]),
        "leverage": number(cells.get("lever")),
        "is_long": Fraction(is_long),
        "is_inverse": Fraction(is_inverse),
        "is_option": Fraction(instrument_class(cells) == "option"),
    }
    return Reading(measured(values, DERIVATIVE_FIGURES), [instrument_class(cells), words])


# --- the size of a contract -----------------------------------------------------------------------------------


def _contract_size(cells: Cells) -> tuple[Fraction | None, str]:
    """What one contract is of, its multiplier included, and in words where that comes from."""
    stated = number((cells.get("ctVal", "").split() or [""])[0])
    if stated:
        return stated * (number(cells.get("ctMult")) or 1), ""
    for raw, tolerance, words in _sizes(cells):
        short = _short_size(raw, tolerance)
        if short:
            return short, f"contract size {plain(short)} from {words}"
    return None, "not compared: the contract size is not stated, and no short number explains margin, PnL or notional"


def _sizes(cells: Cells) -> Iterator[tuple[Fraction, Fraction, str]]:
    """Contract sizes that figures of the record imply, the surest first, and how far each may be off."""
    inverse = instrument_class(cells) == "inverse"
    held, entry = abs(number(cells.get("pos")) or Fraction(0)), number(cells.get("avgPx")) or Fraction(0)
    margin, leverage, mark, pnl, notional = (
        number(cells.get(name)) for name in ("margin", "lever", "markPx", "upl", "notionalUsd")
    )
    if margin and leverage:
        yield margin * leverage * (entry if inverse else 1 / entry) / held, _SAME_SIZE, "margin x leverage"
    if mark and pnl and mark != entry:
        gain = abs(1 / entry - 1 / mark) if inverse else abs(mark - entry)
        yield abs(pnl) / gain / held, _SAME_SIZE, "PnL"
    if notional and (inverse or mark):
        yield notional / held / (1 if inverse else mark or 1), _NEAR_SIZE, "notional value"


def _short_size(raw: Fraction, tolerance: Fraction) -> Fraction | None:
    """A power of ten, or twice or five times one, within the tolerance; contract sizes are such numbers [V]."""
    for places in range(-9, 9):
        for step in (1, 2, 5):
            size = step * Fraction(10) ** places
            if abs(raw - size) <= tolerance * size:
                return size
    return None


# --- marks and rates ------------------------------------------------------------------------------------------


def _with_marks(cells: Cells, reading: Reading) -> Iterator[Reading]:
    """The reading at the mark that is stated, and at the one that the PnL implies."""
    stated, pnl = number(cells.get("markPx")), number(cells.get("upl"))
    if stated and stated > 0:
        doubts = int(pnl is not None and not _gives(reading.values, stated, pnl))
        words = ["the mark contradicts the PnL"] if doubts else []
        yield _at(reading, stated, words, doubts)
        if not doubts:
            return
    if pnl is None:
        return
    implied = _implied_mark(reading.values, pnl)
    if implied is not None and implied > 0:
        short = shortest(implied, lambda mark: mark > 0 and _gives(reading.values, mark, pnl), _MARK_DECIMALS)
        mark = short or implied
        said = f"the mark is no number ({cells['markPx'][:60]})" if "markPx" in cells and not stated else ""
        said = f"the stated mark {cells['markPx']} contradicts the PnL" if stated else said
        yield _at(reading, mark, [said, f"mark {plain(mark)} from the PnL"], int(bool(stated)), from_pnl=True)


def _at(reading: Reading, mark: Fraction, words: list[str], doubts: int, from_pnl: bool = False) -> Reading:
    return Reading({**reading.values, "mark_price": mark}, [*reading.words, *words], doubts, from_pnl)


def _gives(values: dict[str, Any], mark: Fraction, pnl: Fraction) -> bool:
    there = measured({**values, "mark_price": mark}, DERIVATIVE_MEASURES)
    return near(there["floating_pnl"], pnl, _size(there))


def _implied_mark(values: dict[str, Any], pnl: Fraction) -> Fraction | None:
    """The mark at which the legs are worth the PnL: base x mark + quote = PnL, of an inverse contract PnL x mark."""
    inverse = values["is_inverse"]
    slope = values["base_leg"] - pnl * inverse
    return (pnl * (1 - inverse) - values["quote_leg"]) / slope if slope else None


def _size(values: dict[str, Any]) -> Fraction:
    """The largest of the numbers that PnL and equity come from, in the settle currency."""
    gross = max(abs(values["base_leg"] * values["mark_price"]), abs(values["quote_leg"])) / values["settle_price"]
    return Fraction(max(gross, abs(values["margin"])))


def _with_rates(cells: Cells, reading: Reading) -> Reading:
    """The reading with the shortest rates from which maintenance margin and ratio follow.

    Where none does, the nearest rate with few decimals counts, and the figures differ; of the fee first one that gives
    the liquidation price.
    """
    values = measured(reading.values, DERIVATIVE_MEASURES)
    value, size = values["exposure_value"] / values["settle_price"], _size(values)
    equity = values["floating_pnl"] + values["margin"]
    needed, stated = number(cells.get("mmr")), number(cells.get("mgnRatio"))
    rate = fee = None
    if needed is not None:
        rate = shortest(needed / value, lambda one: near(value * one, needed, needed), _TIER_DECIMALS)
        reading.doubts += rate is None
        reading.words.append(_rate_in_words("maintenance", rate, nearest(needed / value)))
        rate = rate if rate is not None else nearest(needed / value)
    if rate is not None and stated:
        kept, raw = rate, equity / stated / value - rate
        fee = shortest(raw, lambda one: near(equity, stated * value * (kept + one), size))
        reading.doubts += fee is None
        other = _fee_by_price(cells, {**reading.values, "maintenance_rate": rate}) if fee is None else None
        other = other if other is not None else nearest(raw)
        reading.words.append(_rate_in_words("liquidation fee", fee, other))
        fee = fee if fee is not None else other
    rates = {"maintenance_rate": rate, "liquidation_fee_rate": fee, "tick": None}
    reading.values = measured({**reading.values, **rates}, DERIVATIVE_MEASURES)
    return reading


def _rate_in_words(name: str, found: Fraction | None, instead: Fraction | None) -> str:
    if found is not None:
        return f"{name} {plain(found)}"
    return f"no short {name} rate fits" + (f", {plain(instead)} taken" if instead is not None else "")


def _fee_by_price(cells: Cells, values: dict[str, Any]) -> Fraction | None:
    """A usual fee rate that gives the stated liquidation price."""
    stated = number(cells.get("liqPx"))
    for fee in _FEES if stated else ():
        there = measured({**values, "liquidation_fee_rate": fee, "tick": None}, DERIVATIVE_MEASURES)
        figure = Figure("liquidation_price", stated, there["liquidation_price"], cells["liqPx"])
        if _at_tick(cells, figure, there["is_long"]).verdict == "agrees":
            return fee
    return None


# --- the figures ----------------------------------------------------------------------------------------------

_STATED = {
    "margin_formula": "margin",
    "floating_pnl": "upl",
    "floating_pnl_ratio": "uplRatio",
    "maintenance_margin": "mmr",
    "margin_ratio": "mgnRatio",
    "liquidation_price": "liqPx",
    "option_value": "optVal",
}
"""Figures that are compared, and what the exchange calls them."""


def _not_compared(cells: Cells) -> list[Figure]:
    return [
        Figure(name, number(cells.get(theirs)), None, cells.get(theirs, ""))
        for name, theirs in _STATED.items()
        if theirs in cells
    ]


def _figures(cells: Cells, reading: Reading) -> list[Figure]:
    values, size, found = reading.values, _size(reading.values), []
    value = values["exposure_value"] / values["settle_price"]
    base = values["margin_formula"]
    sizes = {
        "floating_pnl": size,
        "floating_pnl_ratio": size / base if base else Fraction(0),
        "margin_ratio": size / (values["requirement_rate"] * value) if values["requirement_rate"] else Fraction(0),
    }
    for name, theirs in _STATED.items():
        if theirs not in cells or (name == "option_value" and not values["is_option"]):
            continue
        stated, computed = number(cells[theirs]), values[name]
        figure = Figure(name, stated, computed, cells[theirs], sizes.get(name, Fraction(0)))
        if name == "liquidation_price":
            figure = _at_tick(cells, figure, values["is_long"])
        elif name == "margin_formula" and figure.verdict == "differs":
            note = "margin is not value at entry / leverage: some was added or taken out"
            figure = Figure(name, stated, computed, taken=True, note=note)
        elif name == "floating_pnl" and reading.mark_from_pnl:
            figure = _pnl_at_stated_mark(cells, figure, reading)
        elif name == "floating_pnl_ratio" and figure.verdict != "agrees" and values["margin"]:
            of_margin = values["floating_pnl"] / values["margin"]
            share = Figure(name, stated, of_margin, cells[theirs], size / values["margin"], note="share of the margin")
            figure = share if share.verdict == "agrees" else figure
        found.append(figure)
    return found


def _pnl_at_stated_mark(cells: Cells, figure: Figure, reading: Reading) -> Figure:
    """The PnL where the mark is taken from it: not compared, or compared at the mark that contradicts it."""
    stated = number(cells.get("markPx"))
    if not stated:
        return Figure(figure.name, figure.stated, figure.computed, taken=True, note="the mark is taken from it")
    there = measured({**reading.values, "mark_price": stated}, DERIVATIVE_MEASURES)
    return Figure(
        figure.name, figure.stated, there["floating_pnl"], figure.text, figure.size, note="at the stated mark"
    )


def _at_tick(cells: Cells, figure: Figure, is_long: Fraction) -> Figure:
    """The liquidation price as the exchange shows it: one tick nearer to the mark, if a tick explains it (rules 7)."""
    if figure.stated is None or figure.computed is None or figure.verdict == "agrees":
        return figure
    nearer = 2 * is_long - 1
    apart = (figure.stated - figure.computed) * nearer
    off = DOUBLE * abs(figure.stated) + LAST_DIGIT
    known = number(cells.get("tickSz"))
    for tick in [known] if known else _TICKS:
        if abs(apart - tick) <= off and tick * 100 <= figure.stated:
            note = f"one tick of {plain(tick)} nearer to the mark"
            return Figure(figure.name, figure.stated, figure.computed + tick * nearer, figure.text, note=note)
    return figure
