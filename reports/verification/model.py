"""What the code says of every column: which are live, recorded or exact, by which formula, and which are tied out.

A workbook's own Glossary could be made to say anything. So the sheets are laid out once more for frames with a single
row each, as this program would write them; only where ranges end and how many digits are kept depends on the rows.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from itertools import chain
from typing import Any

import polars as pl

from ledger.columns import schema
from reports.frames import wanted_frames
from reports.sheets.manifest import MANIFEST_SHEET, file_fields, total_fields
from reports.sheets.reference import AGEING_AT
from reports.workbook import described

ALWAYS = ("Checks, tie-out", f"{MANIFEST_SHEET}, inputs", f"{MANIFEST_SHEET}, sheets")
"""Tables beside the first one of a sheet that every workbook has."""
_SOME_TIME = datetime(2020, 1, 1, tzinfo=UTC)
_QUOTED = re.compile(r"'([A-Za-z]+)'!")
_FIXED_ROW = re.compile(r"\$[0-9]+")
_DIGITS = re.compile(r",[0-9]+\)")
_OTHER_SHEET = re.compile(r"(?:'([^']+)'|([A-Za-z]+))!")


@dataclass(frozen=True)
class Model:
    """By table and heading: what cells may be, and formulas they may have; columns that are tied out, by sheet.

    What is live depends on how much there is: then both ways are given.
    """

    cells: dict[str, dict[str, set[str]]]
    formulas: dict[tuple[str, str], set[str]]
    tied: dict[str, list[str]]


BY_CIRCUMSTANCES = {
    (table, heading)
    for table in ("Interest", "Comparison", "Breaks")
    for heading in ("Difference", "Own difference", "Cumulative difference")
}
"""Columns whose formula follows from what the frame compares, and whether it does: the model has not all of them."""


@cache
def model() -> Model:
    """The model of this version of the program."""
    full, empty = _frames(1), _frames(0)
    ways = [described(full), described(full, 0), described(empty | {"checks": full["checks"]})]
    beside = {f"{MANIFEST_SHEET}, files": file_fields(), f"{MANIFEST_SHEET}, totals": total_fields()}
    cells = dict[str, dict[str, set[str]]]()
    formulas = dict[tuple[str, str], set[str]]()
    for where, columns in chain(beside.items(), *(fields.items() for fields, _ in ways)):
        for one in columns:
            cells.setdefault(where, {}).setdefault(one.heading, set()).add(one.how)
            if one.formula:
                formulas.setdefault((where, one.heading), set()).add(one.formula)
    tied = dict[str, list[str]]()
    for sheet, column in ways[0][1].select("sheet", "column").iter_rows():
        if ", against" not in column:
            tied.setdefault(sheet, []).append(column)
    return Model(cells, formulas, tied)


def is_that_of_the_code(formula: str, row: int, expected: set[str], sheets: set[str]) -> bool:
    """Whether the formula of a row is one that the code gives to its column, wherever the ranges it reads end.

    Where the rows it reads go on on several sheets, which are not those of `sheets`, that cannot be told.
    """
    others = {name for one in expected for names in _OTHER_SHEET.findall(one) for name in names if name}
    if not others <= sheets:
        return True
    written = {_bare(one.format(row=row, sheet="", above=row - 1)) for one in expected}
    return _bare(formula) in written


def plain(formula: str) -> str:
    """A formula without the quotes of sheets' names that need none: some programs write them, some do not."""
    return _QUOTED.sub(r"\1!", formula)


def _bare(formula: str) -> str:
    return _DIGITS.sub(",#)", _FIXED_ROW.sub("$#", plain(formula)))


def _frames(rows: int) -> dict[str, pl.DataFrame]:
    """Every frame with so many rows of no importance."""
    frames = {
        name: pl.DataFrame(schema=schema(columns)).clear(rows).select(_some(*one) for one in schema(columns).items())
        for name, columns in wanted_frames(lambda _: True).items()
    }
    parameters = {"name": AGEING_AT, "value": f"{_SOME_TIME:%Y-%m-%dT%H:%M:%SZ}", "description": "", "source": ""}
    sums = frames["input_sums"]
    return frames | {
        "parameters": pl.DataFrame([parameters], schema=frames["parameters"].schema),
        "input_sums": sums.with_columns(booked=pl.lit(None, sums.schema["booked"])),
        # one that stands on Earlier breaks
        "reviews": frames["reviews"].with_columns(change=pl.lit("not compared", frames["reviews"].schema["change"])),
    }


def _some(name: str, dtype: Any) -> pl.Expr:
    """A value of a type in place of nothing."""
    if isinstance(dtype, pl.Enum):
        value: Any = dtype.categories[0]
    elif dtype == pl.String:
        value = "x"
    elif isinstance(dtype, pl.Datetime):
        value = _SOME_TIME
    else:
        value = False if dtype == pl.Boolean else 0
    return pl.col(name).fill_null(value)
