"""What a file's table is: its columns, and batches of its raw rows."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import polars as pl

from ledger.columns import Column
from ledger.refusals import REFUSAL_SCHEMA, BadInput

IS_MISSING = "The column is required."
UTF_16 = (b"\xff\xfe", b"\xfe\xff")
"""How a file in UTF-16 begins."""


@dataclass(frozen=True)
class RawBatch:
    """`frame` has the columns of the file and `row` (UInt32), without the rows in `refusals`."""

    frame: pl.DataFrame
    refusals: pl.DataFrame


@dataclass(frozen=True)
class Table:
    """What columns a file may and must have. Others are refused, or left unread where `ignores_others` says so."""

    columns: tuple[Column, ...]
    required: tuple[str, ...]
    ignores_others: bool = False

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names of all columns."""
        return tuple(column.name for column in self.columns)

    def check_names(self, file: str, found: list[str]) -> None:
        """Refuse a file (BadInput, naming every column) with unknown, repeated or missing columns."""
        problems = []
        for name in dict.fromkeys(found):
            if name not in self.names and (not self.ignores_others or name == "row"):  # `row` is the number of a row
                rule = "The column is not known; a misspelt one would be ignored."
                problems.append((name, rule, f"Remove it, or choose from: {', '.join(self.names)}."))
            elif found.count(name) > 1:
                problems.append((name, "The column is given more than once.", "Keep one of them."))
        for name in self.required:
            if name not in found:
                problems.append((name, IS_MISSING, "Add it."))
        if problems:
            rows = [(file, None, name, None, rule, remedy) for name, rule, remedy in problems]
            raise BadInput(pl.DataFrame(rows, schema=REFUSAL_SCHEMA, orient="row"))


def refusals_frame(rows: list[tuple[Any, ...]]) -> pl.DataFrame:
    """Refusals as a frame of REFUSAL_SCHEMA."""
    return pl.DataFrame(rows, schema=REFUSAL_SCHEMA, orient="row")
