"""Records of isolated spot-margin positions, read as reconciliation reads snapshots (`ledger.statements.inference`)."""

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from itertools import product
from typing import Any

import polars as pl

from ledger.columns import DISPLAY, MEASURES, MODES, schema
from ledger.derivatives.record_figures import Cells, Figure, measured, near, nearest, number, plain, shortest
from ledger.money import LARGEST
from ledger.statements.columns import SNAPSHOTS
from ledger.statements.inference import with_readings

_STATED = {
    "floating_pnl": "upl",
    "floating_pnl_ratio": "uplRatio",
    "maintenance_margin": "mmr",
    "margin_ratio": "mgnRatio",
    "liquidation_price": "liqPx",
}
_AMOUNTS = {
    "assets_shown": "pos",
    "liability_shown": "liab",
    "interest": "interest",
    "margin": "margin",
    "entry_price": "avgPx",
    "leverage": "lever",
    "mark_price": "markPx",
    **_STATED,
}
_MARK_DECIMALS = 10
_NEEDED = ("pos", "margin", "markPx")
_READ = ("base_leg", "quote_leg", "margin", "base_interest", "quote_interest", "is_long", "margin_is_base")
_RATES = ("maintenance_rate", "liquidation_fee_rate")


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


def read_spot(cells: Cells) -> tuple[list[Figure], str, dict[str, Any]]:
    """The figures of a record, what was inferred in words, and the reading's `margin_currency`, `mode`."""
    missing = [name for name in _NEEDED if not number(cells.get(name))]
    if spot_direction(cells) is None:
        missing.append("posCcy")
    if missing == ["markPx"] and number(cells.get("upl")) is not None:
        return _read_at_implied_mark(cells)
    if missing:
        figures = [
            Figure(name, number(cells.get(theirs)), None, cells.get(theirs, ""))
            for name, theirs in _STATED.items()
            if theirs in cells
        ]
        return figures, f"not compared: no {', '.join(missing)}", {}
    return _read(cells)


def _read(cells: Cells) -> tuple[list[Figure], str, dict[str, Any]]:
    row = with_readings(_snapshot(cells)).row(0, named=True)
    numbers = {name: Fraction(row[name]) for name in (*_READ, "mark_price", *_RATES) if row[name] is not None}
    numbers = _with_nearest(cells, numbers)
    values = measured(
        {**dict.fromkeys(_RATES), **numbers, "initial_margin": Fraction(row["margin"])}, (*DISPLAY, *MEASURES)
    )
    return _figures(cells, values), str(row["inferred"]), row


def _read_at_implied_mark(cells: Cells) -> tuple[list[Figure], str, dict[str, Any]]:
    """The record at the mark that its PnL implies, of all ways to read it the one that explains most figures."""
    found = [_read({**cells, "markPx": plain(mark)}) for mark in sorted(set(_implied_marks(cells)))]
    if not found:
        return [], "not compared: no markPx, and the PnL implies no short one", {}
    figures, words, row = min(found, key=lambda one: one[2]["doubts"])
    said = f"the mark is no number ({cells['markPx'][:60]}); " if "markPx" in cells else ""
    taken = [
        replace(one, taken=True, note="the mark is taken from it") if one.name == "floating_pnl" else one
        for one in figures
    ]
    return taken, f"{said}mark {plain(Fraction(row['mark_price']))} from the PnL; {words}", row


def _implied_marks(cells: Cells) -> Iterator[Fraction]:
    """Short marks that give the PnL: base x mark + quote, over the mark where the margin is base; in either mode."""
    held, owed, margin, interest = (
        abs(number(cells.get(name)) or Fraction(0)) for name in ("pos", "liab", "margin", "interest")
    )
    for assets, in_base in product((held, held - margin), (True, False)):
        legs = (assets, -owed - interest)
        mark = _implied_mark(*(legs if spot_direction(cells) == "long" else legs[::-1]), in_base, number(cells["upl"]))
        if mark is not None:
            yield mark


def _implied_mark(base: Fraction, quote: Fraction, in_base: bool, pnl: Fraction | None) -> Fraction | None:
    """The shortest mark at which the legs are worth the PnL; nothing where no short one is."""
    if pnl is None:
        return None
    above, below = (quote, pnl - base) if in_base else (pnl - quote, base)
    if not below or not 0 < above / below < LARGEST:
        return None
    size = max(abs(base), abs(quote * below / above)) if in_base else max(abs(quote), abs(base * above / below))

    def gives_pnl(mark: Fraction) -> bool:
        worth = base * mark + quote
        return mark > 0 and near(worth / mark if in_base else worth, pnl, size)

    return shortest(above / below, gives_pnl, _MARK_DECIMALS)


def _with_nearest(cells: Cells, numbers: dict[str, Fraction]) -> dict[str, Fraction]:
    """The numbers with the nearest rates of few decimals where no short ones explain the figures."""
    for rate, theirs in zip(_RATES, ("mmr", "mgnRatio"), strict=True):
        stated = number(cells.get(theirs))
        if rate in numbers or not stated:
            continue
        there = measured({**dict.fromkeys(_RATES), "initial_margin": None, **numbers}, (*DISPLAY, *MEASURES))
        owed = there["liability_value"] / there["margin_price"]
        kept = numbers.get("maintenance_rate")
        if rate == "maintenance_rate":
            raw = stated / owed if owed else None
        else:
            equity = there["equity_value"] / there["margin_price"]
            raw = (equity / stated / owed - kept) / (1 + kept) if owed and kept is not None else None
        found = nearest(raw) if raw is not None else None
        if found is not None:
            numbers = {**numbers, rate: found}
    return numbers


def _snapshot(cells: Cells) -> pl.DataFrame:
    """The record as one row of SNAPSHOTS, and what `with_readings` needs besides."""
    amounts = {name: number(cells.get(theirs)) for name, theirs in _AMOUNTS.items()}
    held, owed = amounts["assets_shown"], amounts["liability_shown"]
    amounts["assets_shown"] = abs(held) if held is not None else None
    amounts["liability_shown"] = -abs(owed) if owed is not None else None
    pair, currency = cells["instId"].split("-"), cells.get("ccy")
    stated = {
        "instrument": cells["instId"],
        "direction": spot_direction(cells),
        "margin_currency": currency if currency in pair else None,
        **{name: plain(amount) if amount is not None else None for name, amount in amounts.items()},
    }
    types = schema(SNAPSHOTS)
    row = pl.DataFrame([{name: stated.get(name) for name in types}], schema=dict.fromkeys(types, pl.String))
    return row.cast(types).with_columns(
        snapshot=pl.lit(0, pl.UInt32),
        known_margin=pl.lit(None, pl.String),
        known_mode=pl.lit(None, pl.Enum(MODES)),
    )


def _figures(cells: Cells, values: dict[str, Any]) -> list[Figure]:
    mark, margin = values["mark_price"], abs(values["margin"])
    price = values["margin_price"] or Fraction(1)
    gross = max(abs(values["base_owed"]) * mark, abs(values["quote_owed"])) / price
    required = values["liability_value"] * (values["requirement_rate"] or 0) / price
    sizes = {
        "floating_pnl": gross,
        "floating_pnl_ratio": gross / margin,
        "margin_ratio": max(gross, margin) / required if required else Fraction(0),
    }
    return [
        Figure(name, number(cells[theirs]), values[name], cells[theirs], sizes.get(name, Fraction(0)))
        for name, theirs in _STATED.items()
        if theirs in cells
    ]
