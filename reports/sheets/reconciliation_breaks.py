"""The sheets Breaks, where a reviewer writes down what becomes of each, and Break causes, the parts of every one."""

from collections.abc import Sequence
from dataclasses import replace

import polars as pl

from ledger.reconciliation.columns import BREAK_CAUSES, BREAKS, REVIEWS, STATUSES
from reports.cells.by_group import write_sheet
from reports.cells.fields import Field, Placed, Tables
from reports.cells.tables import Book, mark_results
from reports.sheets.checks import HERE, TOLERANCE
from reports.sheets.reconciliation_fields import (
    BAD,
    DECIMALS_MAX,
    EXACT_GROUP,
    GOOD,
    LIVE_DECIMALS_MAX,
    LIVE_WORK_MAX,
    OPEN,
    difference_formula,
    grouped,
    in_row,
    live,
    mark_words,
    prose,
)
from reports.sheets.reconciliation_reviews import age_band, allow_entries, as_entries, days_open
from reports.sheets.reference import AGEING_AT, WORKBOOK_PARAMETERS

BREAKS_SHEET, PARTS_SHEET = "Breaks", "Break causes"
REVIEW = STATUSES
"""What becomes of a break, in a reviewer's words."""
_OF_REVIEWS = ("difference_before", "first_seen", "change", "days_open", "owner", "status", "comment")
"""Columns of REVIEWS that stand beside those of the break; first seen is that of all runs."""
_COLUMNS = (
    *(column for column in BREAKS if column.name not in _OF_REVIEWS),
    *(column for column in REVIEWS if column.name in _OF_REVIEWS),
)
_PARTS_OF_IT = "Its parts"
_BREAK_GROUPS = {
    "Break": ("position", "figure", "stated_by", "unit"),
    "Ledger and exchange": ("ledger", "exchange"),
    "Difference": ("difference",),
    "Why": ("causes",),
    _PARTS_OF_IT: ("explained", "unexplained"),
    "Weight": ("ambiguous", "material"),
    "Age": ("change", "first_seen", "last_seen", "days_open"),
    "Review": ("difference_before", "owner", "status", "comment"),
    EXACT_GROUP: ("break_id",),
}
_PART_GROUPS = {
    "Part of a break": ("place", "cause", "amount", "certainty"),
    "What was replayed": ("hypothesis",),
    "Or else": ("alternatives",),
    "In the ledger": ("ledger_input", "ledger_row"),
    "At the exchange": ("exchange_input", "exchange_row"),
    "Identity": ("break_id",),
}
_CERTAINTIES = {"proved": GOOD, "guessed": OPEN, "ambiguous": OPEN, "unexplained": BAD}
_UNEXPLAINED = "unexplained"
_DIGITS = "; venue_digits -?[0-9.]+$"
_ABOUT_PARTS = (
    "One row per break and cause; the amounts add up to the difference of the break, whose number is that of Breaks."
)


def numbered(breaks: pl.DataFrame, parts: pl.DataFrame, reviews: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Breaks with their reviews, and parts; both with the column number, of the break in its frame from 1 on.

    Parts stand in the breaks' order. Formulas find them by the number: a spreadsheet takes an identifier for a number,
    or for a pattern, if it looks like one.
    """
    reviewed = breaks.drop("first_seen").join(
        reviews.select("break_id", *_OF_REVIEWS), on="break_id", how="left", maintain_order="left"
    )
    ordered = reviewed.with_row_index("number", 1)
    names = ordered.select("number", "break_id", "position", "figure", "unit")
    return ordered, parts.join(names, on="break_id", how="left", maintain_order="left").sort(
        "number", "place", nulls_last=True, maintain_order=True
    )


def break_fields(frame: pl.DataFrame, parts: Tables) -> tuple[Field, ...]:
    """The fields of the sheet Breaks for the breaks `numbered`, whose parts stand at `parts`.

    What is explained and what is not are sums of the parts, live unless that would be too much work.
    """
    fields = as_entries(prose(grouped(_COLUMNS, _BREAK_GROUPS, beside=("difference",)), ["causes"]))
    fields = [_without_digits(one) if one.name == "causes" else one for one in fields]
    fields = [
        replace(one, decimals_max=LIVE_DECIMALS_MAX)
        if one.kind == "amount" and one.name in ("difference", "explained", "unexplained")
        else one
        for one in [_number(), *fields]
    ]
    formulas = difference_formula(fields, frame)
    if parts and frame.height * sum(part.height for _, part in parts) <= LIVE_WORK_MAX:
        # Behind every cell that it and the other formulas read, so that none of those moves.
        behind = next(n for n, one in enumerate(fields) if one.group == "Weight")
        fields.insert(behind, _adds_up(fields))
        formulas |= _sums(parts, in_row(fields)["number"])
        fields = [_or_zero(one) if one.name in ("explained", "unexplained") else one for one in fields]
    return tuple(live(_aged(fields), formulas, difference=("ledger", "exchange")))


def write_breaks(book: Book, name: str, frame: pl.DataFrame, fields: Sequence[Field]) -> Placed:
    """Write a sheet of breaks; owner, status and comment are open to entries, the status from a list."""
    placed, sheet = write_sheet(book, name, frame, fields, note=_said(frame), repeated=3)
    if any(one.heading == "Adds up" for one in fields):
        mark_results(book, sheet, placed.range("Adds up", other_sheet=False))
    mark_words(book, sheet, placed.range("Ambiguous", other_sheet=False), {"yes": OPEN})
    mark_words(book, sheet, placed.range("Material", other_sheet=False), {"yes": BAD})
    if frame.height:
        allow_entries(sheet, placed)
    return placed


def part_fields() -> tuple[Field, ...]:
    """The fields of the sheet Break causes, for the parts `numbered`."""
    fields = grouped(BREAK_CAUSES, _PART_GROUPS, beside=("amount",))
    named = {column.name: column for column in BREAKS}
    which = grouped([named["position"], named["figure"], named["unit"]], {"Break": ("position", "figure", "unit")})
    fields = prose([_number(), *which, *fields], ["hypothesis", "alternatives"])
    return tuple(replace(one, decimals_max=DECIMALS_MAX) if one.kind == "amount" else one for one in fields)


def write_parts(book: Book, name: str, frame: pl.DataFrame, fields: Sequence[Field]) -> Placed:
    """Write a sheet of the parts of the breaks."""
    placed, sheet = write_sheet(book, name, frame, fields, note=_ABOUT_PARTS, repeated=3)
    mark_words(book, sheet, placed.range("Certainty", other_sheet=False), _CERTAINTIES)
    return placed


def _said(breaks: pl.DataFrame) -> str:
    if breaks.is_empty():
        return "No breaks: every figure that both sides have agrees within its tolerance."
    counts = (
        f"{breaks.height:,} breaks, {breaks['material'].sum():,} material, {breaks['ambiguous'].sum():,} ambiguous."
    )
    return (
        f"{counts} Difference = ledger - exchange = explained + unexplained; the parts are on the sheet Break causes."
        " Owner, status and comment are yours to fill in; the next run carries them on: --previous this workbook."
    )


def _without_digits(causes: Field) -> Field:
    """The causes without what the exchange's printed digits make beside them: the last digits, on every second row."""
    meaning = f"{causes.meaning} What the digits the exchange prints make beside them is on {PARTS_SHEET}."
    return replace(causes, values=causes.values.str.replace(_DIGITS, ""), meaning=meaning)


def _number() -> Field:
    meaning = (
        "Number of the break in this workbook, by which the sheets find each other; its stable name is the break ID."
    )
    one = Field("Break", "count", pl.col("number"), "", meaning, HERE, name="number", group="Break")
    return replace(one, said="number")


def _aged(fields: Sequence[Field]) -> list[Field]:
    """The fields with the days open as a live formula, and the band of age behind them."""
    cell, aged = in_row(fields), list[Field]()
    for one in fields:
        aged.append(days_open(one, cell["first_seen"], AGEING_AT) if one.name == "days_open" else one)
        if one.name == "days_open":
            aged.append(age_band(cell["days_open"]).in_group(one.group))
    return aged


def _sums(parts: Tables, number: str) -> dict[str, tuple[str, str]]:
    """What the parts of a break come to, with a cause and without, over all sheets of parts."""
    asked = {"explained": ("<>", "every cause but unexplained"), "unexplained": ("", "the cause unexplained")}
    formulas = {}
    for name, (sign, said) in asked.items():
        sums = [
            f"SUMIFS({placed.range('Amount')},{placed.range('Break')},{number},"
            f'{placed.range("Cause")},"{sign}{_UNEXPLAINED}")'
            for placed, _ in parts
        ]
        formulas[name] = ("+".join(sums), f"SUMIFS(amounts of the break's parts of {said})")
    return formulas


def _or_zero(one: Field) -> Field:
    """The sum of no parts is zero on the sheet."""
    return one if one.kind == "exact" else replace(one, values=one.values.fill_null(0))


def _adds_up(fields: Sequence[Field]) -> Field:
    """OK where the parts come to the difference, as far as the digits of a spreadsheet tell; empty without one."""
    cell = in_row(fields)
    tolerance = float(WORKBOOK_PARAMETERS[0]["value"])
    parts = pl.col("explained").fill_null(0) + pl.col("unexplained").fill_null(0)
    rest = (pl.col("difference") - parts).abs().cast(pl.String).cast(pl.Float64)
    size = pl.sum_horizontal(pl.col(name).cast(pl.Float64).abs() for name in ("ledger", "exchange", "explained"))
    sides = "+".join(f"ABS({cell[name]})" for name in ("ledger", "exchange", "explained"))
    said = "ABS(difference-(explained+unexplained))"
    formula = f"ABS({cell['difference']}-({cell['explained']}+{cell['unexplained']}))<={TOLERANCE}*({sides})"
    return Field(
        "Adds up",
        "result",
        pl.when(rest <= tolerance * size).then(pl.lit("OK")).when(rest.is_not_null()).then(pl.lit("FAIL")),
        "",
        "OK when the parts come to the difference, within the digits of a spreadsheet.",
        HERE,
        group=_PARTS_OF_IT,
        formula=f'IF({cell["difference"]}="","",IF({formula},"OK","FAIL"))',
        words=f'IF({said}<={TOLERANCE}*(sum of the absolute sides and of what is explained),"OK","FAIL")',
    )
