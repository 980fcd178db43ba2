"""The Positions sheet: a row per life of a position, old and new display side by side, live measures."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import polars as pl

from ledger.columns import MARKS, POSITIONS, Column
from ledger.money import MONEY
from reports.cells.by_group import write_sheet
from reports.cells.fields import Field, Placed, exact, field, iso_time, letter
from reports.cells.formulas import cells, in_words
from reports.cells.tables import Book

_GROUPS = {
    "Position": ("position", "episode", "mode", "direction", "status"),
    "As the exchange shows it": ("assets_shown_old", "assets_shown_new", "liability_shown", "entry_price"),
    "At the mark price": ("mark_price", "floating_pnl", "floating_pnl_ratio", "margin_ratio"),
    "Liquidation": ("liquidation_price", "bankruptcy_price"),
    "Balances": ("base_leg", "quote_leg", "margin"),
    "Requirement": ("maintenance_rate", "liquidation_fee_rate", "maintenance_margin", "liquidation_fee"),
    "Accrued and realised": (
        "base_interest",
        "quote_interest",
        "initial_margin",
        "interest_charged",
        "realised_pnl",
        "returned",
    ),
    "Life": ("opened", "closed", "events"),
    "Identity": ("account", "instrument", "base_currency", "quote_currency", "margin_currency"),
}
"""Columns of the sheet by group; every other column of the frame is a working."""

_HEADINGS = {
    "assets_shown_old": "Assets shown, old mode",
    "assets_shown_new": "Assets shown, new mode",
    "liability_shown": "Liability shown, both modes",
}
_HOW_TO_READ = (
    "One row per life of a position (episode). A leg above zero is an asset, below zero a liability."
    " Old mode shows the margin inside the assets when both are the same currency; nothing else differs."
)


def position_fields(frame: pl.DataFrame) -> tuple[Field, ...]:
    """The fields of the sheet for a positions frame, with their live formulas.

    A formula shows nothing where a cell it reads may be empty and is: always for the marks, and for other
    columns when the frame holds an empty one.
    """
    fields = _fields()
    letters = {one.name: letter(fields, one.heading) for one in fields if one.kind != "exact"}
    empties = {column.name for column in MARKS if column.dtype == MONEY}
    empties |= {column.name for column in POSITIONS if frame[column.name].null_count()}
    formulas = cells(POSITIONS, lambda name: letters[name] + "{row}", empties)
    columns = {column.name: column for column in POSITIONS}
    return tuple(
        replace(one, formula=formulas[one.name].formula, words=in_words(columns[one.name]))
        if one.name in formulas and one.kind != "exact"
        else one
        for one in fields
    )


def write_positions(book: Book, name: str, frame: pl.DataFrame, fields: Sequence[Field]) -> Placed:
    """Write a sheet of positions; the frame has the columns POSITIONS and at most a sheet's rows."""
    placed, sheet = write_sheet(book, name, frame, fields, note=_HOW_TO_READ, repeated=2)
    _mark_liquidation(book, sheet, placed)
    return placed


def _fields() -> list[Field]:
    columns = {column.name: column for column in POSITIONS}
    chosen = [name for names in _GROUPS.values() for name in names]
    workings = [name for name in columns if name not in chosen]
    fields = []
    for group, names in (*_GROUPS.items(), ("Workings", workings)):
        for name in names:
            fields.append(_named(columns[name]).in_group(group))
            if group == "Balances":
                fields.append(exact(columns[name]).in_group(group))
    rest = [column for column in POSITIONS if column.name not in _GROUPS["Balances"]]
    fields += [iso_time(column).in_group("Times") for column in rest if column.unit == "UTC"]
    fields += [_named_exact(column).in_group("Exact amounts") for column in rest if column.dtype == MONEY]
    return fields


def _named(column: Column) -> Field:
    one = field(column)
    return replace(one, heading=_HEADINGS.get(column.name, one.heading))


def _named_exact(column: Column) -> Field:
    return replace(exact(column), heading=f"{_named(column).heading} (exact)")


def _mark_liquidation(book: Book, sheet: Any, placed: Placed) -> None:
    """Bold and underlined where the margin ratio is down to 1, the liquidation by its definition."""
    ratio = f"{placed.letter('Margin ratio')}{placed.first}"
    style = book.workbook.add_format({"bold": True, "underline": 1, "bg_color": "#F4B084"})
    criteria = f'=AND(${ratio}<>"",${ratio}<=1)'
    cells_marked = placed.range("Margin ratio", other_sheet=False)
    sheet.conditional_format(cells_marked, {"type": "formula", "criteria": criteria, "format": style})
