"""The fields of a sheet: what a column holds, and where a table of them stands."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import polars as pl
from xlsxwriter.utility import xl_col_to_name  # type: ignore[import-untyped]

from ledger.columns import Column
from ledger.money import MONEY

_WORDS = {"pnl": "PnL", "id": "ID", "sha256": "SHA-256", "utc": "UTC"}

ENTRY, LONG_ENTRY = "entry", "long entry"
"""Kinds of the cells that people fill in; what they wrote is written again unchanged."""


@dataclass(frozen=True)
class Field:
    """One column of a sheet: how it reads, what its cells hold and where that comes from.

    `formula` is the text of a live formula, with `{row}` for its row and `{sheet}`, `{above}` for the row
    above; `formulas` gives each row its own where one cannot do. `words` says the same in column names.
    `values` gives a cell's value, or the value of its formula that is shown where nothing recalculates.
    `currency` gives the currency code of each row's amount, where the unit does not say which it is.
    `is_count` says which rows of a column of amounts hold a number of rows instead.
    `adds_up` is false for amounts at several times: the tie-out does not add them.
    `said` says what the cells are where neither the formula nor the kind does. `made_of` names the recorded amounts of
    a live one that can be far smaller than they are: a spreadsheet's numbers lose the last digits of those.
    """

    heading: str
    kind: str
    values: pl.Expr
    unit: str
    meaning: str
    source: str
    name: str = ""
    group: str = ""
    formula: str = ""
    formulas: tuple[str, ...] = ()
    words: str = ""
    said: str = ""
    decimals_max: int = 8
    made_of: tuple[str, ...] = ()
    currency: pl.Expr | None = None
    is_count: pl.Expr | None = None
    adds_up: bool = True

    @property
    def is_live(self) -> bool:
        """Whether the cells are formulas."""
        return bool(self.formula or self.formulas)

    @property
    def how(self) -> str:
        """In a word, what the cells are."""
        if self.said:
            return self.said
        if self.formulas:
            return "live formula, own in each row"
        return "live formula" if self.is_live else "exact text" if self.kind == "exact" else "recorded"

    def in_group(self, group: str) -> "Field":
        """The same field under a group's heading."""
        return replace(self, group=group)


def heading(name: str) -> str:
    """A column's name as people read it: `floating_pnl` is `Floating PnL`."""
    words = [_WORDS.get(word, word) for word in name.split("_")]
    return " ".join([words[0][:1].upper() + words[0][1:], *words[1:]])


def field(column: Column) -> Field:
    """The field of a registry column: numbers, text, or times as a real date."""
    values = pl.col(column.name)
    if column.dtype == MONEY:
        # Through text: the cast of a decimal to a float can miss the nearest one.
        values = values.cast(pl.String).cast(pl.Float64)
    elif isinstance(column.dtype, pl.Datetime):
        values = serial(values)
    elif not column.dtype.is_numeric():
        values = values.cast(pl.String)
    return Field(
        heading(column.name),
        _kind(column),
        values,
        column.unit,
        column.description,
        column.source,
        column.name,
    )


def serial(time: pl.Expr) -> pl.Expr:
    """A time as a spreadsheet's date: days since the end of 1899."""
    return time.dt.epoch("us") / 86_400_000_000 + 25_569


def exact(column: Column) -> Field:
    """The amount of a money column as text, to its last digit."""
    digits = pl.col(column.name).cast(pl.String).str.strip_chars_end("0").str.strip_chars_end(".")
    meaning = f"{column.description} To the last digit, as text."
    return Field(f"{heading(column.name)} (exact)", "exact", digits, column.unit, meaning, column.source, column.name)


def iso_time(column: Column) -> Field:
    """A time as ISO 8601 text in UTC, to the millisecond, or the microsecond where there are any."""
    time = pl.col(column.name)
    whole = time.dt.microsecond() % 1000 == 0
    text = pl.when(whole).then(_stamp(time, "3")).otherwise(_stamp(time, "6"))
    meaning = f"{column.description} ISO 8601 text."
    return Field(f"{heading(column.name)} (ISO)", "text", text, "UTC", meaning, column.source, column.name)


@dataclass(frozen=True)
class Placed:
    """Where a table stands: its sheet, its fields, and its first and last row of data, counted from 1."""

    sheet: str
    fields: tuple[Field, ...]
    first: int
    last: int

    def letter(self, heading: str) -> str:
        """The letter of the column under a heading."""
        return letter(self.fields, heading)

    def range(self, heading: str, other_sheet: bool = True) -> str:
        """The cells under a heading, as a formula on another sheet (or the same one) names them."""
        column = self.letter(heading)
        cells = f"${column}${self.first}:${column}${max(self.first, self.last)}"
        return f"'{self.sheet}'!{cells}" if other_sheet else cells


Tables = Sequence[tuple[Placed, pl.DataFrame]]
"""Frames and where they stand: one, or the parts of one that needs several sheets."""


def without_number(sheet: str) -> str:
    """The name of a sheet without the number of its part: `Ledger 2` is of `Ledger`."""
    return sheet.rstrip("0123456789 ")


def letter(fields: Sequence[Field], heading: str) -> str:
    """The letter of the column under a heading."""
    headings = [one.heading for one in fields]
    return str(xl_col_to_name(headings.index(heading)))


def place(sheet: str, fields: Sequence[Field], rows: int, top: int, bands: bool = False) -> Placed:
    """Where `write_table` with the same arguments puts its rows of data."""
    first = top + (4 if bands else 1)
    return Placed(sheet, tuple(fields), first, first + rows - 1)


def _kind(column: Column) -> str:
    if isinstance(column.dtype, pl.Datetime):
        return "time"
    if column.dtype == MONEY:
        return "percent" if column.unit.startswith(("share", "1 = 100")) else "amount"
    return "count" if column.dtype.is_numeric() else "text"


def _stamp(time: pl.Expr, digits: str) -> pl.Expr:
    return time.dt.strftime(f"%Y-%m-%dT%H:%M:%S%.{digits}fZ")
