"""Records of contract positions, read from their own numbers: contract size, mark, rates and tick.

A record states figures that follow from each other, and leaves out what they follow from. What an exchange chooses
(contract sizes, rates, ticks, marks) are short decimals: a way to read a record stands when such decimals explain it,
and of several the one that explains most figures.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

from ledger.derivatives.columns import DERIVATIVE_FIGURES, DERIVATIVE_MEASURES
from ledger.derivatives.record_figures import (
    MARK_DECIMALS,
    Cells,
    Figure,
    decimals_of,
    measured,
    near,
    number,
    plain,
    quotient_size,
    shortest,
)
from ledger.derivatives.record_instruments import contract_sizes, contradicts_notional, direction, instrument_class
from ledger.derivatives.record_rates import RATED, Rating, rated

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
_TICKS = sorted(Fraction(step, 10**places) for places in range(13) for step in (1, 2, 5))


@dataclass
class Reading:
    """A way to read a record: values by the names of columns, and what was inferred.

    `taken`: figures that only gave what they are computed from, with the reason.
    """

    values: dict[str, Any]
    words: list[str] = field(default_factory=list)
    taken: dict[str, str] = field(default_factory=dict)


def read_contract(cells: Cells) -> tuple[list[Figure], str]:
    """The figures of a record of a contract position, and in words what was inferred or is missing."""
    is_bought_option = instrument_class(cells) == "option" and direction(cells) == "long"
    needed = ("pos", "avgPx") if is_bought_option else ("pos", "avgPx", "margin")
    missing = [name for name in needed if not number(cells.get(name))]
    if missing:
        return not_compared(cells), f"not compared: no {', '.join(missing)}"
    sizes, words = contract_sizes(cells)
    readings = [
        _with_rates(cells, there)
        for size, origin in sizes
        for there in _with_marks(cells, _balances(cells, size, origin))
    ]
    if not readings:
        return not_compared(cells), words or "not compared: no mark, and no PnL to take it from"
    read = [(_figures(cells, one), one) for one in readings]
    figures, best = min(read, key=lambda one: _doubts(cells, *one))
    return figures, "; ".join(filter(None, best.words))


def not_compared(cells: Cells) -> list[Figure]:
    """The figures that a record states, none of them computed."""
    return [
        Figure(name, number(cells.get(theirs)), None, cells.get(theirs, ""))
        for name, theirs in _STATED.items()
        if theirs in cells
    ]


def _doubts(cells: Cells, figures: list[Figure], reading: Reading) -> int:
    """How much of a record does not follow from a way to read it."""
    unfit = [one for one in figures if one.stated is not None and not one.fits]
    return len(unfit) + contradicts_notional(cells, reading.values["face_value"])


def _balances(cells: Cells, face_value: Fraction, words: str) -> Reading:
    contracts, entry = number(cells["pos"]) or Fraction(0), number(cells["avgPx"]) or Fraction(1)
    kind, is_long = instrument_class(cells), direction(cells) == "long"
    size = abs(contracts) * face_value
    values = {
        "contracts": abs(contracts) * (1 if is_long else -1),
        "face_value": face_value,
        "multiplier": Fraction(1),
        "entry_value": size / entry if kind == "inverse" else size * entry,
        "margin": number(cells.get("margin")) or Fraction(0),
        "leverage": number(cells.get("lever")) or (Fraction(1) if kind == "option" else None),
        "is_long": Fraction(is_long),
        "is_inverse": Fraction(kind == "inverse"),
        "is_option": Fraction(kind == "option"),
    }
    return Reading(measured(values, DERIVATIVE_FIGURES), [kind, words])


# --- marks and rates ------------------------------------------------------------------------------------------


def _with_marks(cells: Cells, reading: Reading) -> Iterator[Reading]:
    """The reading at the mark that is stated, and at the one that the PnL implies."""
    stated, pnl = number(cells.get("markPx")), number(cells.get("upl"))
    if stated and stated > 0:
        contradicted = pnl is not None and not _gives(reading.values, stated, pnl)
        yield _at(reading, stated, "the mark contradicts the PnL" if contradicted else "")
        if not contradicted:
            return
    if pnl is None:
        return
    implied = _implied_mark(reading.values, pnl)
    if implied is not None and implied > 0:
        short = shortest(implied, lambda mark: mark > 0 and _gives(reading.values, mark, pnl), MARK_DECIMALS)
        mark = short or implied
        there = _at(reading, mark, *_said_of_mark(cells, stated), f"mark {plain(mark)} from the PnL")
        yield there if stated and stated > 0 else replace(there, taken={"floating_pnl": "the mark is taken from it"})


def _at(reading: Reading, mark: Fraction, *words: str) -> Reading:
    return Reading({**reading.values, "mark_price": mark}, [*reading.words, *words])


def _said_of_mark(cells: Cells, stated: Fraction | None) -> Iterator[str]:
    if stated:
        yield f"the stated mark {cells['markPx']} contradicts the PnL"
    elif "markPx" in cells:
        yield f"the mark is no number ({cells['markPx'][:60]})"


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
    """The reading with the rates that its figures imply."""
    stated = {name: number(cells.get(_STATED[name])) for name in RATED}
    known = {name: value for name, value in stated.items() if value is not None}
    kind = instrument_class(cells)
    found = rated(Rating(kind, known, DERIVATIVE_MEASURES, reading.values, lambda *figure: _figure(cells, *figure)))
    taken = {**reading.taken, **found.taken}
    return Reading(found.values, [*reading.words, *found.words], taken)


# --- the figures ----------------------------------------------------------------------------------------------


def _figures(cells: Cells, reading: Reading) -> list[Figure]:
    found = []
    for name, theirs in _STATED.items():
        if theirs not in cells or (name == "option_value" and not reading.values["is_option"]):
            continue
        figure = _figure(cells, name, reading.values)
        if name in reading.taken and figure.fits:
            figure = replace(figure, taken=True, note=reading.taken[name])
        found.append(figure)
    return found


def _figure(cells: Cells, name: str, values: dict[str, Any]) -> Figure:
    """A figure of the record, with the size of the numbers it comes from."""
    text = cells.get(_STATED[name], "")
    figure = Figure(name, number(text), values[name], text, _figure_size(name, values))
    if name == "margin_formula":
        return _margin(cells, figure, values)
    if name == "floating_pnl":
        return _at_stated_mark(cells, figure, values)
    if name != "liquidation_price":
        return figure
    if figure.computed is None and values["requirement_rate"] is not None:
        return replace(figure, note="by the rules no such price exists")
    return _at_tick(cells, figure, values)


def _figure_size(name: str, values: dict[str, Any]) -> Fraction:
    """The size of the numbers that a figure comes from; zero where it is no larger than the figure."""
    if name == "liquidation_price":
        return _price_size(values)
    if name == "margin_ratio":
        base = (values["maintenance_margin"] or 0) + (values["liquidation_fee"] or 0)
    else:
        base = {"floating_pnl": Fraction(1), "floating_pnl_ratio": values["margin_formula"]}.get(name)
    return _size(values) / base if base else Fraction(0)


def _margin(cells: Cells, figure: Figure, values: dict[str, Any]) -> Figure:
    """The margin: value at entry / leverage, and funding, which moves it (two real records [V])."""
    funding = number(cells.get("fundingFee"))
    if values["is_option"]:
        return replace(figure, computed=None, note="no formula of an option's margin is published")
    if figure.computed is None:
        return replace(figure, note="no leverage")
    if funding is not None:
        note = f"value at entry / leverage, with funding of {plain(funding)}" if funding else ""
        figure = replace(figure, computed=figure.computed + funding, note=note)
        return figure if figure.fits else replace(figure, note=f"{note or 'no funding'}: was some added or taken out?")
    if figure.fits:
        return figure
    note = "margin is not value at entry / leverage: funding, or some added or taken out, which the record does not say"
    return replace(figure, apart=True, note=note)


def _at_stated_mark(cells: Cells, figure: Figure, values: dict[str, Any]) -> Figure:
    """The PnL at the stated mark, where another one is taken because that contradicts it."""
    stated = number(cells.get("markPx"))
    if not stated or stated <= 0 or stated == values["mark_price"]:
        return figure
    there = measured({**values, "mark_price": stated}, DERIVATIVE_MEASURES)
    return replace(figure, computed=there["floating_pnl"], note="at the stated mark")


def _price_size(values: dict[str, Any]) -> Fraction:
    """The size of the numbers that a liquidation price comes from."""
    inverse, size, rate = values["is_inverse"], values["position_size"], values["requirement_rate"]
    if values["liquidation_price"] is None:
        return Fraction(0)
    over = (size * inverse * rate, -values["quote_leg"], -values["margin"] * (1 - inverse))
    under = (values["base_leg"], values["margin"] * inverse, -size * (1 - inverse) * rate)
    if values["is_option"]:
        over, under = (values["margin"], -size * rate, Fraction(0)), (size, Fraction(0), Fraction(0))
    return quotient_size(values["liquidation_price"], over, under)


def _at_tick(cells: Cells, figure: Figure, values: dict[str, Any]) -> Figure:
    """The liquidation price as the exchange shows it: one tick nearer to the mark, if a tick explains it (rules 7)."""
    if figure.stated is None or figure.computed is None or figure.fits:
        return figure
    known = number(cells.get("tickSz"))
    nearer = 2 * values["is_long"] - 1
    if not 0 < (figure.stated - figure.computed) * nearer <= (known or _TICKS[-1]) * 2:
        return figure
    for tick in [known] if known else _ticks(cells, values["mark_price"]):
        shown = figure.computed + tick * nearer
        if near(shown, figure.stated, figure.size):
            return replace(figure, computed=shown, note=f"one tick of {plain(tick)} nearer to the mark")
    return figure


def _ticks(cells: Cells, mark: Fraction) -> Iterator[Fraction]:
    """Ticks that the prices of the record allow: they are as fine as the decimals of those, and divide the last one.

    Entry prices are averages: one with more decimals than the mark says nothing, and marks may have one more than the
    tick [V].
    """
    last, marks = number(cells.get("last")), [mark, number(cells.get("idxPx"))]
    of_entry = decimals_of(number(cells["avgPx"]) or Fraction(0))
    of_marks = [decimals_of(price) for price in marks if price is not None]
    of_mark = max((decimals for decimals in of_marks if decimals <= MARK_DECIMALS), default=0)
    least = of_entry if 0 < of_entry <= max(of_mark, 1) else max(of_mark - 1, 1)
    for tick in _TICKS:
        if tick * 10**least <= 5 and tick * 100 <= mark and (last is None or last % tick == 0):
            yield tick
