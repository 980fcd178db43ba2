"""Counts of rows that are live on a sheet: the formula, and what it comes to, from one definition."""

from collections.abc import Callable
from dataclasses import dataclass

import polars as pl

from reports.cells.fields import Placed, Tables

FILLED, ABOVE_ZERO, BELOW_ZERO = "<>", ">0", "<0"
"""Criteria beside words: a cell that is not empty, a number above or below zero."""

_HOLDS: dict[str, Callable[[pl.Expr], pl.Expr]] = {
    FILLED: lambda value: value.is_not_null(),
    ABOVE_ZERO: lambda value: value > 0,
    BELOW_ZERO: lambda value: value < 0,
}


@dataclass(frozen=True)
class Count:
    """The text of a formula, without its equals sign, and its value."""

    formula: str = "0"
    value: int = 0

    def __add__(self, other: "Count") -> "Count":
        """The sum of two counts."""
        if self == Count():
            return other
        return Count(f"{self.formula}+{other.formula}", self.value + other.value)

    def __sub__(self, other: "Count") -> "Count":
        """What one count has more than the other."""
        return Count(f"{self.formula}-({other.formula})", self.value - other.value)


def rows_of(tables: Tables) -> Count:
    """All rows."""
    return count(tables, (tables[0][0].fields[0].heading, FILLED)) if tables else Count()


def count(tables: Tables, *conditions: tuple[str, str]) -> Count:
    """The rows of all these tables that meet each condition: a heading and a word, or a criterion of those above."""
    parts = [_count(placed, frame, conditions) for placed, frame in tables]
    return Count("+".join(part.formula for part in parts), sum(part.value for part in parts)) if parts else Count()


def _count(placed: Placed, frame: pl.DataFrame, conditions: tuple[tuple[str, str], ...]) -> Count:
    cells = ",".join(f'{placed.range(heading)},"{criterion}"' for heading, criterion in conditions)
    values = {one.heading: one.values for one in placed.fields}
    holds = [_holds(values[heading], criterion) for heading, criterion in conditions]
    return Count(f"COUNTIFS({cells})", frame.select(pl.all_horizontal(holds).sum()).item() or 0)


def _holds(value: pl.Expr, criterion: str) -> pl.Expr:
    holds = _HOLDS[criterion](value) if criterion in _HOLDS else value == criterion
    return holds.fill_null(value=False)
