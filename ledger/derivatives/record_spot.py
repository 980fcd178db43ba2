"""Records of isolated spot-margin positions, read from their own numbers: margin currency, mode, mark and rates.

What a record leaves out is taken from its figures: of all ways to read it the one counts that explains most of them
(rules 1 and 4 [V]), as `ledger.statements.inference` does for snapshots in columns.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

from ledger.columns import MEASURES
from ledger.derivatives.record_figures import (
    MARK_DECIMALS,
    Cells,
    Figure,
    near,
    number,
    plain,
    quotient_size,
    shortest,
)
from ledger.derivatives.record_rates import RATED, Rated, Rating, rated
from ledger.money import LARGEST

_STATED = {
    "floating_pnl": "upl",
    "floating_pnl_ratio": "uplRatio",
    "maintenance_margin": "mmr",
    "margin_ratio": "mgnRatio",
    "liquidation_price": "liqPx",
}
_NEEDED = ("pos", "margin", "markPx")


@dataclass
class _Reading:
    """A way to read a record: its mode, nothing where both are alike, and whether its margin is base currency."""

    mode: str | None
    in_base: bool
    values: dict[str, Any]
    rated: Rated = field(default_factory=lambda: Rated({}, {}, []))
    figures: list[Figure] = field(default_factory=list)

    @property
    def doubts(self) -> int:
        """How many figures do not follow from it; a way without assets is none."""
        unfit = sum(figure.verdict == "differs" for figure in self.figures)
        has_assets = self.values["base_leg"] > 0 or self.values["quote_leg"] > 0
        return unfit if has_assets else unfit + len(_STATED)


def is_spot(cells: Cells) -> bool:
    """Whether a record is of a spot-margin position."""
    if "instType" in cells:
        return cells["instType"] == "MARGIN"
    return cells.get("instId", "").count("-") == 1


def spot_direction(cells: Cells) -> str | None:
    """long where the asset is base, short where it is quote; nothing where there is no position."""
    pair = cells.get("instId", "").split("-")
    if len(pair) != 2 or not number(cells.get("pos")):
        return None
    asset, owed = cells.get("posCcy"), cells.get("liabCcy")
    if asset in pair or owed in pair:
        return "long" if asset == pair[0] or (asset not in pair and owed == pair[1]) else "short"
    return None


def read_spot(cells: Cells) -> tuple[list[Figure], str, str | None]:
    """The figures of a record, what was inferred in words, and the currency of the margin."""
    missing = [name for name in _NEEDED if not number(cells.get(name))]
    if spot_direction(cells) is None:
        missing.append("posCcy")
    from_pnl = missing == ["markPx"] and number(cells.get("upl")) is not None
    if missing and not from_pnl:
        return not_compared(cells), f"not compared: no {', '.join(missing)}", cells.get("ccy")
    found = [_rated(cells, one) for one in _readings(cells, from_pnl)]
    if not found:
        return not_compared(cells), "not compared: no markPx, and the PnL implies no short one", cells.get("ccy")
    fewest = min(one.doubts for one in found)
    best = [one for one in found if one.doubts == fewest]
    currency = cells["instId"].split("-")[0 if best[0].in_base else 1]
    words = [*_said_of_mark(cells, best[0], from_pnl), *_said(cells, best, currency), *best[0].rated.words]
    if fewest:
        words.append("the stated figures do not all follow from each other")
    return best[0].figures, "; ".join(words), currency


def not_compared(cells: Cells) -> list[Figure]:
    """The figures that a record states, none of them computed."""
    return [
        Figure(name, number(cells.get(theirs)), None, cells.get(theirs, ""))
        for name, theirs in _STATED.items()
        if theirs in cells
    ]


def _readings(cells: Cells, from_pnl: bool) -> Iterator[_Reading]:
    """Every way to read a record that does not contradict what it states, the default first."""
    is_long, pair = spot_direction(cells) == "long", cells["instId"].split("-")
    stated = cells.get("ccy")
    for in_base in (True, False):
        if stated in pair and in_base != (stated == pair[0]):
            continue
        for mode in ("new", "old") if in_base == is_long else (None,):
            values = _balances(cells, is_long, in_base, mode)
            mark = _implied_mark(values, number(cells.get("upl"))) if from_pnl else number(cells["markPx"])
            if mark is not None and mark > 0:
                yield _Reading(mode, in_base, {**values, "mark_price": mark})


def _balances(cells: Cells, is_long: bool, in_base: bool, mode: str | None) -> dict[str, Any]:
    """The legs of a record: in old mode its assets contain a margin in their currency (rules 1)."""
    held, owed, interest = (abs(number(cells.get(name)) or Fraction(0)) for name in ("pos", "liab", "interest"))
    margin = number(cells["margin"]) or Fraction(0)
    assets, zero = held - margin if mode == "old" else held, Fraction(0)
    return {
        "base_leg": assets if is_long else -owed,
        "quote_leg": -owed if is_long else assets,
        "base_interest": zero if is_long else interest,
        "quote_interest": interest if is_long else zero,
        "margin": margin,
        "initial_margin": margin,
        "is_long": Fraction(is_long),
        "margin_is_base": Fraction(in_base),
    }


def _implied_mark(values: dict[str, Any], pnl: Fraction | None) -> Fraction | None:
    """The shortest mark at which the legs are worth the PnL, base x mark + quote, over the mark where it is in base."""
    base, quote = values["base_leg"] - values["base_interest"], values["quote_leg"] - values["quote_interest"]
    in_base = values["margin_is_base"]
    if pnl is None:
        return None
    above, below = (quote, pnl - base) if in_base else (pnl - quote, base)
    if not below or not 0 < above / below < LARGEST:
        return None
    size = max(abs(base), abs(quote * below / above)) if in_base else max(abs(quote), abs(base * above / below))

    def gives_pnl(mark: Fraction) -> bool:
        worth = base * mark + quote
        return mark > 0 and near(worth / mark if in_base else worth, pnl, size)

    return shortest(above / below, gives_pnl, MARK_DECIMALS)


def _rated(cells: Cells, reading: _Reading) -> _Reading:
    """The reading with the rates that its figures imply, and its figures."""
    stated = {name: number(cells.get(_STATED[name])) for name in RATED}
    known = {name: value for name, value in stated.items() if value is not None}
    found = rated(Rating("spot_margin", known, MEASURES, reading.values, lambda *figure: _figure(cells, *figure)))
    taken = dict(found.taken)
    if not number(cells.get("markPx")):
        taken["floating_pnl"] = "the mark is taken from it"
    figures = []
    for name, theirs in _STATED.items():
        if theirs in cells:
            figure = _figure(cells, name, found.values)
            is_taken = name in taken and figure.fits
            figures.append(replace(figure, taken=True, note=taken[name]) if is_taken else figure)
    return replace(reading, rated=found, figures=figures)


def _figure(cells: Cells, name: str, values: dict[str, Any]) -> Figure:
    """A figure of the record, with the size of the numbers it comes from."""
    mark, margin, price = values["mark_price"], abs(values["margin"]), values["margin_price"] or Fraction(1)
    gross = max(abs(values["base_owed"]) * mark, abs(values["quote_owed"])) / price
    required = (values["maintenance_margin"] or 0) + (values["liquidation_fee"] or 0)
    sizes = {
        "floating_pnl": gross,
        "floating_pnl_ratio": gross / margin,
        "margin_ratio": max(gross, margin) / required if required else Fraction(0),
        "liquidation_price": _price_size(values),
    }
    text = cells.get(_STATED[name], "")
    return Figure(name, number(text), values[name], text, sizes.get(name, Fraction(0)))


def _price_size(values: dict[str, Any]) -> Fraction:
    """The size of the numbers that a liquidation price comes from."""
    base, quote, rate = values["base_owed"], values["quote_owed"], values["requirement_rate"]
    margin, in_base = values["margin"], values["margin_is_base"]
    if values["liquidation_price"] is None:
        return Fraction(0)
    over = (max(-quote, 0) * rate, -quote, -margin * (1 - in_base))
    under = (base, margin * in_base, -max(-base, 0) * rate)
    return quotient_size(values["liquidation_price"], over, under)


# --- in words -------------------------------------------------------------------------------------------------


def _said_of_mark(cells: Cells, reading: _Reading, from_pnl: bool) -> Iterator[str]:
    if from_pnl:
        if "markPx" in cells:
            yield f"the mark is no number ({cells['markPx'][:60]})"
        yield f"mark {plain(reading.values['mark_price'])} from the PnL"


def _said(cells: Cells, best: list[_Reading], currency: str) -> Iterator[str]:
    """Mode and margin currency: inferred, or the default where figures do not tell."""
    why = "both explain as many figures" if best[0].doubts else "the figures fit both"
    if best[0].mode is None:
        yield "modes alike"
    elif len({one.mode for one in best} - {None}) > 1:
        yield f"mode {best[0].mode} by default: {why}"
    else:
        yield f"mode {best[0].mode} inferred"
    if cells.get("ccy") not in cells["instId"].split("-"):
        is_open = len({one.in_base for one in best}) > 1
        yield f"margin in {currency} by default: {why}" if is_open else f"margin in {currency} inferred"
