"""What the sheets of a reconciliation share: columns by group with their exact text, cells to type in, colours."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import polars as pl

from ledger.columns import Column
from ledger.money import MONEY
from reports.cells.bodies import ENTRY_LINE
from reports.cells.fields import ENTRY, LONG_ENTRY, Field, exact, field, iso_time, letter
from reports.cells.tables import (
    AGREES,
    DIFFERS,
    FOLLOWS,
    KINDS_LOOK,
    NUMBER_FORMATS,
    WIDTHS,
    Book,
)

LIVE_WORK_MAX = 10_000_000
"""Rows that look up times rows looked through, up to which a sum is live: above it a spreadsheet would stand still."""
EXACT_GROUP = "Exact amounts"
DECIMALS_MAX = 16
"""Of parts of differences: exchanges book interest with 16 decimals, so breaks begin there."""
LIVE_DECIMALS_MAX = 12
"""Of live differences: a spreadsheet's numbers have but noise behind it; the exact text stands beside them."""
_TEXTS_MAX = 1_500
"""Characters of a wrapped text that a row can show: a spreadsheet's row is at most 409 points high."""

GOOD: dict[str, Any] = AGREES
OPEN: dict[str, Any] = FOLLOWS
BAD: dict[str, Any] = DIFFERS
"""Colours of what agrees, of what is only noted, and of what does not agree."""
DAYS = "days"
"""Kind of the cells that say how long something was open."""

NUMBER_FORMATS[DAYS] = "#,##0.0"
WIDTHS[DAYS] = 9
NUMBER_FORMATS[ENTRY] = NUMBER_FORMATS[LONG_ENTRY] = "@"
WIDTHS[ENTRY], WIDTHS[LONG_ENTRY] = ENTRY_LINE + 1, WIDTHS["prose"]
TO_FILL_IN: dict[str, Any] = {"bg_color": "#FFFBEA", "border_color": "#BF9000"}
# open to entries on a protected sheet, and framed so that it shows
_FILLED_IN = {"align": "left", "indent": 1, "text_wrap": True, "locked": False, "border": 1, **TO_FILL_IN}
KINDS_LOOK[ENTRY] = KINDS_LOOK[LONG_ENTRY] = _FILLED_IN


def grouped(columns: Sequence[Column], groups: Mapping[str, Sequence[str]], beside: Sequence[str] = ()) -> list[Field]:
    """The fields of the columns by group; amounts named in `beside` have their exact text next to them.

    Behind them stand times as text and all other amounts to the last digit. Columns in no group are left out.
    """
    named = {column.name: column for column in columns}
    fields: list[Field] = []
    chosen = [named[name] for names in groups.values() for name in names]
    for group, names in groups.items():
        for name in names:
            fields.append(_shown(named[name]).in_group(group))
            if name in beside:
                fields.append(exact(named[name]).in_group(group))
    fields += [iso_time(column).in_group(EXACT_GROUP) for column in chosen if column.unit == "UTC"]
    rest = [column for column in chosen if column.dtype == MONEY and column.name not in beside]
    return [*fields, *(exact(column).in_group(EXACT_GROUP) for column in rest)]


def prose(fields: Sequence[Field], names: Sequence[str]) -> list[Field]:
    """The fields, those named as wrapped text; what no row is high enough to show is cut, and says so."""
    return [replace(one, kind="prose", values=_cut(pl.col(one.name))) if one.name in names else one for one in fields]


def live(fields: Sequence[Field], formulas: Mapping[str, tuple[str, str]], **made_of: tuple[str, ...]) -> list[Field]:
    """The fields, those named with a formula and the same in words; `made_of` as in Field."""
    return [
        one
        if one.kind == "exact" or one.name not in formulas
        else replace(one, formula=formulas[one.name][0], words=formulas[one.name][1], made_of=made_of.get(one.name, ()))
        for one in fields
    ]


def in_row(fields: Sequence[Field]) -> dict[str, str]:
    """Where each column's cell of a row is, by the column's name, with `{row}` for the row; its text is not meant."""
    cells = [one for one in fields if one.kind != "exact" and one.name and not one.heading.endswith("(ISO)")]
    return {one.name: letter(fields, one.heading) + "{row}" for one in cells}


def difference_formula(fields: Sequence[Field], frame: pl.DataFrame) -> dict[str, tuple[str, str]]:
    """The formula of ledger less exchange, which shows nothing on just the rows on which the frame has none.

    That is where one side is empty, or both are, or the verdict says that they are not compared. Where it is none of
    these there is no formula: it must not say more than the frame.
    """
    cell = in_row(fields)
    ledger, exchange = pl.col("ledger").is_null(), pl.col("exchange").is_null()
    nothing = {
        'OR({ledger}="",{exchange}="")': ledger | exchange,
        'AND({ledger}="",{exchange}="")': ledger & exchange,
    }
    if "verdict" in cell:
        nothing['{verdict}="not_compared"'] = pl.col("verdict") == "not_compared"
    for text, holds in nothing.items():
        if frame.select((holds == pl.col("difference").is_null()).all()).item():
            formula = f'IF({text},"",{{ledger}}-{{exchange}})'
            return {"difference": (formula.format(**cell), formula.format(**{name: name for name in cell}))}
    return {}


def mark_words(book: Book, sheet: Any, cells: str, words: Mapping[str, dict[str, Any]]) -> None:
    """Colour the cells that say one of the words; the words say it all the same."""
    for word, look in words.items():
        style = book.workbook.add_format(look)
        sheet.conditional_format(cells, {"type": "cell", "criteria": "==", "value": f'"{word}"', "format": style})


def _cut(text: pl.Expr) -> pl.Expr:
    size = text.str.len_chars()
    cut = pl.format("{}... ({} characters)", text.str.head(_TEXTS_MAX), size)
    return pl.when(size > _TEXTS_MAX).then(cut).otherwise(text)


def _shown(column: Column) -> Field:
    one = field(column)
    if column.dtype == pl.Boolean:
        flag = pl.col(column.name)
        return replace(one, values=pl.when(flag).then(pl.lit("yes")).when(flag.not_()).then(pl.lit("no")))
    return replace(one, kind="rate") if one.kind == "percent" else one
