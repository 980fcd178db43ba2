"""The sheets of interest: which there are, where each stands, and writing them in their order."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from ledger.interest.daily import daily_sums
from reports.cells.fields import Field, Placed, Tables, place
from reports.cells.tables import Book
from reports.sheets import interest_tables as tables
from reports.sheets.interest_daily import PER_DAY, ROWS_MAX, daily_fields, top_row, write_daily

Cut = Callable[[str, pl.DataFrame, Sequence[Field]], Tables]
"""Cuts a frame into what fits a sheet, and says where each part will stand."""


@dataclass(frozen=True)
class InterestParts:
    """Where the sheets of interest stand, in their order, from the summary to the charges."""

    daily: Tables = ()
    causes: Tables = ()
    roll: Tables = ()
    detail: Tables = ()

    @property
    def all(self) -> Tables:
        """Every sheet of interest."""
        return (*self.daily, *self.causes, *self.roll, *self.detail)

    def first_of_each(self) -> list[Placed]:
        """The first sheet of each kind."""
        return [found[0][0] for found in (self.daily, self.causes, self.roll, self.detail) if found]


def interest_parts(frames: Mapping[str, pl.DataFrame], cut: Cut) -> InterestParts:
    """Where the interest sheets will stand: none without the frames of interest, or for one without rows."""
    if "interest" not in frames:
        return InterestParts()
    causes, roll = frames["interest_causes"], frames["interest_roll"]
    interest = tables.in_order(frames["interest"])
    detail = cut(tables.DETAIL, interest, tables.detail_fields(interest)) if interest.height else ()
    return InterestParts(
        daily=_daily(interest, detail),
        causes=cut(tables.CAUSES, causes, tables.cause_fields()) if causes.height else (),
        roll=cut(tables.ROLL, roll, tables.roll_fields()) if roll.height else (),
        detail=detail,
    )


def write_interest(book: Book, parts: InterestParts) -> None:
    """Write the sheets of interest where `interest_parts` put them."""
    for placed, frame in parts.daily:
        write_daily(book, frame, placed)
    for placed, frame in parts.causes:
        tables.write_causes(book, placed.sheet, frame, placed.fields)
    for placed, frame in parts.roll:
        tables.write_roll(book, placed.sheet, frame, placed.fields)
    before: Placed | None = None
    for placed, frame in parts.detail:
        before = tables.write_detail(book, placed.sheet, frame, placed.fields, before)


def _daily(interest: pl.DataFrame, detail: Tables) -> Tables:
    sums = daily_sums(interest)
    if not 0 < sums.height <= ROWS_MAX:
        return ()
    fields = daily_fields([placed for placed, _ in detail], sums.height)
    return ((place(PER_DAY, fields, sums.height, top_row(sums), bands=True), sums),)
