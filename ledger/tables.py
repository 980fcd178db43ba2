"""What a file's table is: its columns, and batches of its raw rows."""

from dataclasses import dataclass
from functools import cached_property
from itertools import count
from pathlib import Path
from typing import Any

import polars as pl

from ledger.columns import Column
from ledger.refusals import REFUSAL_SCHEMA, BadInput

IS_MISSING = "The column is required."
UTF_16 = (b"\xff\xfe", b"\xfe\xff")
"""How a file in UTF-16 begins."""

LONGEST_CELL = 64 * 2**10
"""Bytes that a cell of an exchange's file may have."""
CONTROL = r"\x00-\x08\x0b\x0c\x0e-\x1f\x7f"
"""Control characters, as the inside of a character class, but for tabs and line breaks."""
IS_TOO_LONG = f"A cell has at most {LONGEST_CELL // 2**10} KiB."
HAS_CONTROL = "A text has no control characters or line breaks."
TOO_LONG_REMEDY = "Download the file again; if it is whole, empty the cell."
CONTROL_REMEDY = "Download the file again, and do not edit it by hand."


@dataclass(frozen=True)
class Source:
    """Where the plain bytes of a file are, and the name of it that a person gave."""

    path: Path
    file: str


@dataclass(frozen=True)
class RawBatch:
    """`frame` has the columns of the file and `row` (UInt32), without the rows in `refusals`."""

    frame: pl.DataFrame
    refusals: pl.DataFrame


@dataclass(frozen=True)
class Table:
    """What columns a file may and must have. Others are refused, or left unread where `ignores_others` says so.

    Where `is_plain`, no cell of the file may be longer than LONGEST_CELL or have control characters, read or not.
    """

    columns: tuple[Column, ...]
    required: tuple[str, ...]
    ignores_others: bool = False
    is_plain: bool = False

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names of all columns."""
        return tuple(column.name for column in self.columns)

    @cached_property
    def known(self) -> frozenset[str]:
        """The same names, to ask quickly whether one is among them."""
        return frozenset(self.names)

    def check_names(self, file: str, found: list[str]) -> None:
        """Refuse a file (BadInput, naming every column) with unknown, repeated or missing columns."""
        problems = []
        for name in dict.fromkeys(found):
            if name == "" and self.ignores_others:
                continue
            if name not in self.names and (not self.ignores_others or name == "row"):  # `row` is the number of a row
                rule = "The column is not known; a misspelt one would be ignored."
                problems.append((name, rule, f"Remove it, or choose from: {', '.join(self.names)}."))
            elif found.count(name) > 1 and f"{name} (2)" not in self.names:
                problems.append((name, "The column is given more than once.", "Keep one of them."))
        for name in self.required:
            if name not in distinct(found):
                problems.append((name, IS_MISSING, "Add it."))
        if problems:
            rows = [(file, None, name, None, rule, remedy) for name, rule, remedy in problems]
            raise BadInput(pl.DataFrame(rows, schema=REFUSAL_SCHEMA, orient="row"))

    def spelled(self, found: list[str]) -> list[str]:
        """The names of a header, those in our spelling that differ in capitals only; where others are left unread."""
        if not self.ignores_others:
            return found
        ours = {name.lower(): name for name in self.names}
        own = [ours.get(name.lower(), name) for name in found]
        return [mine if own.count(mine) == 1 else name for name, mine in zip(found, own, strict=True)]


def distinct(names: list[str]) -> list[str]:
    """The names with those that are repeated numbered: Unit, Unit (2)."""
    numbered: list[str] = []
    for name in names:
        free = (f"{name} ({number})" for number in count(2) if f"{name} ({number})" not in (*names, *numbered))
        numbered.append(next(free) if name in numbered else name)
    return numbered


def refusals_frame(rows: list[tuple[Any, ...]]) -> pl.DataFrame:
    """Refusals as a frame of REFUSAL_SCHEMA."""
    return pl.DataFrame(rows, schema=REFUSAL_SCHEMA, orient="row")
