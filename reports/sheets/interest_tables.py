"""The sheets Interest (a row per charge), Interest causes and Interest roll-forward, with live differences."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import polars as pl

from ledger.columns import Column
from ledger.interest.columns import INTEREST, INTEREST_CAUSES, INTEREST_ROLL, STATUSES
from ledger.money import MONEY
from reports.cells.by_group import write_sheet
from reports.cells.fields import Field, Placed, exact, field, iso_time, letter
from reports.cells.formulas import cells, in_words
from reports.cells.number_formats import most_decimals
from reports.cells.tables import AGREES, DIFFERS, FOLLOWS, Book

DETAIL, CAUSES, ROLL = "Interest", "Interest causes", "Interest roll-forward"
_DETAIL_GROUPS = {
    "Charge": ("position", "currency", "time"),
    "Computed and charged": ("liability", "rate", "rate_unit", "computed", "charged", "difference", "status"),
    "Explanation": ("cumulative_difference", "carried", "own_difference", "cause", "note"),
    "The exchange's row": ("stated_liability", "stated_rate", "booked", "row_id", "input", "row"),
    "Reference": ("charge", "episode", "rate_row"),
}
_CAUSE_GROUPS = {
    "Cause": ("position", "currency", "cause"),
    "What it explains": ("charges", "amount", "first_time", "last_time"),
    "Meaning": ("description",),
}
_ROLL_GROUPS = {
    "Loan": ("position", "currency"),
    "Liability": ("liability_opening", "borrowed", "interest_charged", "repaid", "liability_closing"),
    "Interest of the period": ("accrued_opening", "accrued_closing", "interest_for_period"),
    "Period": ("from_time", "to_time"),
}
_PROSE = {"note", "description"}
_DECIMALS_MAX = 16
"""Of what is charged: exchanges round interest at up to 16 decimals, so differences begin there."""
_STATUS_LOOKS: dict[str, dict[str, Any]] = {"accrued": {}, "agrees": AGREES, "follows": FOLLOWS}
"""Of the statuses that are no break; every other one is."""
_ABOUT_DETAIL = (
    "One row per charge due, charged, or both. Difference = charged - computed, empty where nothing is compared; in the"
    " last decimals the exact one counts."
)
_ABOUT_CAUSES = (
    "One row per position, currency and cause. The amounts add up to the differences on the sheet Interest;"
    " the sheet Checks ties the two."
)
_ABOUT_ROLL = (
    "Opening + borrowed + interest charged - repaid = closing. Interest for period = charged in it, less what had run"
    " before, and what has run since."
)


def in_order(interest: pl.DataFrame) -> pl.DataFrame:
    """The charges by position and currency, otherwise in the order of the frame, as their sums so far need it."""
    return interest.sort("position", "currency", maintain_order=True)


def detail_fields(frame: pl.DataFrame) -> tuple[Field, ...]:
    """The fields of the sheet Interest, for the charges `in_order`.

    A live difference shows nothing where what it compares is empty. The cumulative difference is live where it goes
    through all rows; a run that compares nothing has none. What a spreadsheet computes from differences is rounded to
    the decimals the amounts have, or its lost digits would show as amounts.
    """
    fields = [_shown(one) for one in _fields(INTEREST, _DETAIL_GROUPS)]
    fields.insert(next(n for n, one in enumerate(fields) if one.group == "Exact amounts"), _day())
    letters = {one.name: letter(fields, one.heading) for one in fields if one.kind != "exact" and one.name}
    empties = {name for name in frame.columns if frame[name].null_count()} | {"charged"}
    found = cells(INTEREST, _in_row(letters), empties)
    formulas = {name: cell.formula for name, cell in found.items()}
    words = {column.name: in_words(column) for column in INTEREST}
    own, places = found["own_difference"], most_decimals(frame, ["computed", "charged", "carried"])
    formulas["own_difference"] = replace(own, text=f"ROUND({own.text},{places})").formula
    words["own_difference"] = f"ROUND({words['own_difference']},{places})"
    if not frame["cumulative_difference"].null_count():
        formulas["cumulative_difference"] = f"ROUND({_so_far(letters)},{places})"
        words["cumulative_difference"] = (
            "ROUND(IF(position and currency are those of the row above,cumulative_difference of the row above,0)"
            f'+IF(difference="",0,difference),{places})'
        )
    return tuple(_live(one, INTEREST, formulas, words) for one in fields)


def _so_far(letters: dict[str, str]) -> str:
    """The sum of the differences from the first row of a position and currency on."""
    same = ",".join(f"{letters[name]}{{row}}={{sheet}}{letters[name]}{{above}}" for name in ("position", "currency"))
    before = f"IF(AND({same}),{{sheet}}{letters['cumulative_difference']}{{above}},0)"
    return f'{before}+IF({letters["difference"]}{{row}}="",0,{letters["difference"]}{{row}})'


def cause_fields() -> tuple[Field, ...]:
    """The fields of the sheet Interest causes."""
    return tuple(_shown(one) for one in _fields(INTEREST_CAUSES, _CAUSE_GROUPS))


def roll_fields() -> tuple[Field, ...]:
    """The fields of the sheet Interest roll-forward, with live closings and interest for the period."""
    fields = _fields(INTEREST_ROLL, _ROLL_GROUPS, times="Period")
    letters = {one.name: letter(fields, one.heading) for one in fields if one.kind != "exact"}
    formulas = {name: cell.formula for name, cell in cells(INTEREST_ROLL, _in_row(letters), set()).items()}
    words = {column.name: in_words(column) for column in INTEREST_ROLL}
    return tuple(_live(one, INTEREST_ROLL, formulas, words) for one in fields)


def write_detail(book: Book, name: str, frame: pl.DataFrame, fields: Sequence[Field], before: Placed | None) -> Placed:
    """Write a sheet of charges (`in_order`, at most a sheet's rows); `before` is the part on the sheet before."""
    placed, sheet = write_sheet(book, name, frame, fields, note=_ABOUT_DETAIL, repeated=3, before=before)
    _mark_statuses(book, sheet, placed)
    return placed


def write_causes(book: Book, name: str, frame: pl.DataFrame, fields: Sequence[Field]) -> Placed:
    """Write a sheet of causes; the frame has the columns INTEREST_CAUSES and at most a sheet's rows."""
    return write_sheet(book, name, frame, fields, note=_ABOUT_CAUSES, repeated=2)[0]


def write_roll(book: Book, name: str, frame: pl.DataFrame, fields: Sequence[Field]) -> Placed:
    """Write a sheet of the roll-forward; the frame has the columns INTEREST_ROLL and at most a sheet's rows."""
    return write_sheet(book, name, frame, fields, note=_ABOUT_ROLL, repeated=2)[0]


def _fields(columns: Sequence[Column], groups: dict[str, tuple[str, ...]], times: str = "Exact amounts") -> list[Field]:
    """The columns by group, then times (in a group of that name) and amounts as text, a difference's beside it."""
    named = {column.name: column for column in columns}
    fields = []
    for group, names in groups.items():
        for name in names:
            fields.append(field(named[name]).in_group(group))
            if name == "difference":
                fields.append(exact(named[name]).in_group(group))
    rest = [column for column in columns if column.dtype == MONEY and column.name != "difference"]
    fields += [iso_time(column).in_group(times) for column in columns if column.unit == "UTC"]
    return [*fields, *(exact(column).in_group("Exact amounts") for column in rest)]


def _shown(one: Field) -> Field:
    """Prose wraps, rates show every digit, and what is charged its last decimal."""
    if one.kind == "exact":
        return one
    if one.kind == "percent":
        return replace(one, kind="rate")
    if one.kind == "amount" and "liability" not in one.name:
        return replace(one, decimals_max=_DECIMALS_MAX)
    return replace(one, kind="prose") if one.name in _PROSE else one


def _day() -> Field:
    day = pl.col("time").dt.epoch("us") // 86_400_000_000 + 25_569
    meaning = "Day of the time, by which the charges are added up."
    return Field("Day", "day", day, "UTC", meaning, "this workbook", group="Workings")


def _in_row(letters: dict[str, str]) -> Any:
    return lambda name: letters[name] + "{row}"


def _live(one: Field, columns: Sequence[Column], formulas: dict[str, str], words: dict[str, str]) -> Field:
    if one.kind == "exact" or one.name not in formulas:
        return one
    return replace(one, formula=formulas[one.name], words=words[one.name], made_of=_made_of(one.name, columns))


def _made_of(name: str, columns: Sequence[Column]) -> tuple[str, ...]:
    """The recorded columns that a computed one is made of, through other computed ones."""
    read = {column.name: column.parameters for column in columns}[name]
    found = [recorded for other in read for recorded in _made_of(other, columns) or (other,)]
    return tuple(dict.fromkeys(found))


def _mark_statuses(book: Book, sheet: Any, placed: Placed) -> None:
    """Colour what agrees, what follows from earlier differences, and what differs; the words say it all the same."""
    statuses = placed.range("Status", other_sheet=False)
    for word in STATUSES:
        look = _STATUS_LOOKS.get(word, DIFFERS)
        if look:
            style = book.workbook.add_format(look)
            sheet.conditional_format(
                statuses, {"type": "cell", "criteria": "==", "value": f'"{word}"', "format": style}
            )
