"""The sheet Interest per day: charts, and below them the daily sums of each currency that they show."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import polars as pl

from ledger.columns import Column
from ledger.interest.columns import INTEREST_DAILY
from ledger.money import MONEY
from reports.cells.fields import Field, Placed, exact, field, letter
from reports.cells.tables import Book, fit_columns, write_table
from reports.charts.per_day import CHART_ROWS, draw_days

PER_DAY = "Interest per day"
CHARTS_MAX = 12
ROWS_MAX = 100_000
"""Longer daily sums (of hundreds of currencies) are left out: the sheet is there to be looked at."""
LIVE_WORK_MAX = 10_000_000
"""Charges times days up to which the sums are live; above it a spreadsheet would stand still at every change."""
_MADE_OF = {"difference": ("charged", "computed")}
_SUMMED = "sum, not live"
_LIVE_NOTE = "Sums of the sheet Interest by currency and day, live."
_NOT_LIVE_NOTE = "Sums by currency and day, as values: the charges are too many for live sums."


def daily_fields(detail: Sequence[Placed], rows: int) -> tuple[Field, ...]:
    """The fields for `rows` daily sums of the charges that stand at `detail`.

    The sums are live unless the charges stand on several sheets, or on none, or are too many.
    """
    charges = sum(placed.last - placed.first + 1 for placed in detail)
    is_live = len(detail) == 1 and charges * rows <= LIVE_WORK_MAX
    fields = [
        _shown(column).in_group("Interest of the day" if column.dtype == MONEY else "Day") for column in INTEREST_DAILY
    ]
    if not is_live:
        fields = [replace(one, said=_SUMMED) if one.kind in ("count", "amount") else one for one in fields]
    fields += [exact(column).in_group("Exact amounts") for column in INTEREST_DAILY if column.dtype == MONEY]
    if not is_live:
        return tuple(fields)
    formulas = _formulas(detail[0], letter(fields, "Currency"), letter(fields, "Day"))
    return tuple(
        replace(one, formula=formulas[one.name][0], words=formulas[one.name][1], made_of=_MADE_OF.get(one.name, ()))
        if one.name in formulas and one.kind != "exact"
        else one
        for one in fields
    )


def top_row(daily: pl.DataFrame) -> int:
    """The row (from 1) where the table begins: below the charts."""
    charts = min(CHARTS_MAX, daily["currency"].n_unique())
    return 3 + (charts + (charts > 1)) // min(charts, 2) * CHART_ROWS


def write_daily(book: Book, frame: pl.DataFrame, placed: Placed) -> Placed:
    """Write the sheet: charts of the currencies with the most charges, and the table at `placed`."""
    sheet = book.sheet(PER_DAY)
    fit_columns(sheet, placed.fields, frame)
    is_live = any(one.is_live for one in placed.fields)
    drawn = (
        frame.group_by("currency").agg(pl.col("charges").sum()).sort("charges", "currency", descending=[True, False])
    )
    names = drawn["currency"].head(CHARTS_MAX).to_list()
    hint = f" Charts of the {CHARTS_MAX} currencies with the most charges." if drawn.height > CHARTS_MAX else ""
    where = f" The figures begin in row {placed.first}."
    book.title(sheet, PER_DAY, (_LIVE_NOTE if is_live else _NOT_LIVE_NOTE) + hint + where)
    table = write_table(book, sheet, "Interest_per_day", placed.fields, frame, top=placed.first - 4, bands=True)
    for number, currency in enumerate(names):
        rows = (frame["currency"] == currency).arg_true()
        days = replace(placed, first=placed.first + int(rows[0]), last=placed.first + int(rows[-1]))
        own = frame[rows]
        is_compared = own["charged"].count() > 0
        in_a_row = bool((own["day"].diff() == timedelta(days=1)).any())
        series = ("Computed", "Charged") if is_compared else ("Computed",)
        draw_days(book, sheet, days, own, currency, series=series, in_a_row=in_a_row, place=number, of=len(names))
    sheet.fit_to_pages(1, 0)
    sheet.repeat_rows(placed.first - 5, placed.first - 2)
    return table


def _shown(column: Column) -> Field:
    one = field(column)
    if column.name == "day":
        return replace(one, kind="day", values=pl.col("day").dt.epoch("us") // 86_400_000_000 + 25_569)
    return replace(one, decimals_max=16) if column.dtype == MONEY else one


def _formulas(detail: Placed, currency: str, day: str) -> dict[str, tuple[str, str]]:
    """The live sums, each as a formula and in words."""
    where = f"{detail.range('Currency')},{currency}{{row}},{detail.range('Day')},{day}{{row}}"
    said = "of the currency and day"
    nothing = f'COUNTIFS({where},{detail.range("Charged")},"<>")=0'
    formulas = {
        "charges": (f"COUNTIFS({where})", f"COUNTIFS(charges {said})"),
        "computed": (f"SUMIFS({detail.range('Computed')},{where})", f"SUMIFS(computed {said})"),
    }
    for name in ("charged", "difference"):
        total = f"SUMIFS({detail.range(name.capitalize())},{where})"
        words = f'IF(nothing charged is compared,"",SUMIFS({name} {said}))'
        formulas[name] = (f'IF({nothing},"",{total})', words)
    return formulas
