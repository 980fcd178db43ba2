"""The Ledger sheet: one row per part of an event; opening + change = closing for every balance, live."""

from collections.abc import Sequence
from dataclasses import replace

import polars as pl

from ledger.columns import LEDGER
from ledger.money import MONEY
from reports.cells.by_group import write_sheet
from reports.cells.fields import Field, Placed, exact, field, iso_time, letter
from reports.cells.formulas import cells, in_words
from reports.cells.tables import Book

BALANCES = ("base", "quote", "margin")
_GROUPS = {
    "Event": ("position", "event_number", "part", "time", "action", "side"),
    "Base leg": ("base_opening", "base_change", "base_closing"),
    "Quote leg": ("quote_opening", "quote_change", "quote_closing"),
    "Margin": ("margin_opening", "margin_change", "margin_closing"),
    "Source": ("event_id", "input", "row"),
    "Fill": ("quantity", "price", "value", "fee", "fee_currency"),
    "Other accounts": ("account_base", "account_quote", "insurance_fund", "interest", "realised_pnl"),
    "State": ("kind", "episode", "direction", "mode", "reason"),
    "Leverage and entry": ("leverage", "initial_margin", "margin_formula", "entry_price"),
}
_HOW_TO_READ = (
    "Each opening is the closing of the row above, or zero on a position's first row. Input is the number"
    " of a file"
    " on the sheet Manifest, Row its row."
)


def ledger_fields() -> tuple[Field, ...]:
    """The fields of the sheet, with live formulas for opening and closing balances."""
    fields = _fields()
    letters = {one.name: letter(fields, one.heading) for one in fields if one.kind != "exact"}
    closings = cells(LEDGER, lambda name: letters[name] + "{row}", set())
    formulas = {name: closing.formula for name, closing in closings.items()}
    words = {column.name: in_words(column) for column in LEDGER}
    first_row = f"AND({letters['event_number']}{{row}}=1,{letters['part']}{{row}}=1)"
    for balance in BALANCES:
        formulas[f"{balance}_opening"] = f"IF({first_row},0,{{sheet}}{letters[f'{balance}_closing']}{{above}})"
        words[f"{balance}_opening"] = f"IF(AND(event_number=1,part=1),0,{balance}_closing of the row above)"
    return tuple(
        replace(one, formula=formulas[one.name], words=words[one.name])
        if one.name in formulas and one.kind != "exact"
        else one
        for one in fields
    )


def write_ledger(book: Book, name: str, frame: pl.DataFrame, fields: Sequence[Field], before: Placed | None) -> Placed:
    """Write a sheet of the ledger; the frame has the columns LEDGER, sorted, and at most a sheet's rows.

    `before` is the part of the ledger on the sheet before: the first openings link to its last closings.
    """
    return write_sheet(book, name, frame, fields, note=_HOW_TO_READ, repeated=3, before=before)[0]


def in_order(frame: pl.DataFrame) -> pl.DataFrame:
    """The ledger by position and in the order of its events, as the corkscrew needs it."""
    return frame.sort("position", "event_number", "part", maintain_order=True)


def _fields() -> list[Field]:
    columns = {column.name: column for column in LEDGER}
    fields = [field(columns[name]).in_group(group) for group, names in _GROUPS.items() for name in names]
    fields += [iso_time(columns["time"]).in_group("Exact amounts")]
    fields += [exact(column).in_group("Exact amounts") for column in LEDGER if column.dtype == MONEY]
    return fields
