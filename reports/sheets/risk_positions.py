"""The sheet Risk: a row per life, worst first, with live measures; charts and counts of statuses on top."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

import polars as pl

from ledger.columns import MARK_FIGURES
from ledger.risk.columns import RISK, STATUSES
from reports.cells.fields import Field, Placed, Tables, place
from reports.cells.tables import Book, fit_columns, write_table
from reports.charts.per_day import CHART_ROWS
from reports.charts.risk import Ratios, draw_ratios, draw_statuses
from reports.sheets.checks import HERE
from reports.sheets.reconciliation_fields import EXACT_GROUP, mark_words
from reports.sheets.risk_fields import STATUS_LOOKS, WORKINGS, print_below_charts, shown
from reports.sheets.risk_statuses import status_counts, status_fields

RISK_SHEET = "Risk"
LIMITS = {"alert_ratio": "Alert ratio", "liquidation_ratio": "Liquidation ratio"}
"""The parameters that lines are drawn at, and the headings of the columns that the lines read."""
_DRAWN_MAX = 20
"""Open positions that are drawn: more of them could not be told apart."""
_COUNTS_TITLE = 3 + CHART_ROWS
_COUNTS_TOP = _COUNTS_TITLE + 1
_TOP = _COUNTS_TOP + len(STATUSES) + 2
"""Rows (from 1) below title, note and charts: of the title of the counts, their headings, and the table's groups."""
_GROUPS = {
    "Life of a position": ("position", "episode", "mode", "direction"),
    "Risk": ("status", "tier", "margin_ratio", "mark_price", "liquidation_price", "distance_to_liquidation"),
    "First moment of": ("alert_at", "cancelled_at", "partial_at", "full_at"),
    "Lowest": ("lowest_ratio", "lowest_at", "graded"),
    "Balances": ("base_leg", "quote_leg", "margin", "liability_shown"),
    "Requirement": (
        "floating_pnl",
        "maintenance_margin",
        "liquidation_fee",
        "maintenance_rate",
        "liquidation_fee_rate",
    ),
    "Life": ("opened", "closed", "mark_time", "stated_at", "why_not_graded"),
    "Identity": ("account", "instrument", "base_currency", "quote_currency", "margin_currency"),
}
_PRINTED = tuple(_GROUPS)[:4]
_BALANCES = ("base_leg", "quote_leg", "margin", "base_interest", "quote_interest")
_EMPTIES = {*_BALANCES, *(column.name for column in MARK_FIGURES)}
"""Recorded columns that may be empty: those of the end, for a closed life, and those of a mark where there is none."""
_IS_DRAWN = pl.col("status").is_not_null() & pl.col("margin_ratio").is_not_null()
_BEGINS = "The worst open positions first, then closed lives. An empty status: the life is closed."
_DRAWN = (
    " Drawn: {drawn:,} of {all:,} open positions with a ratio; orange: at or below that of the liquidation, yellow:"
    " alert, blue: normal; what reaches the top goes on. Figures from row {row}."
)


def in_order(risk: pl.DataFrame) -> pl.DataFrame:
    """The lives: open ones with a ratio, from the worst status and the lowest ratio on; those without; closed ones."""
    is_closed, severity = pl.col("status").is_null(), pl.col("status").to_physical()
    ratio = pl.coalesce("margin_ratio", "lowest_ratio")
    keys = (is_closed, pl.col("margin_ratio").is_null(), -severity.cast(pl.Int16), ratio, "position", "episode")
    return risk.sort(*keys, nulls_last=True, maintain_order=True)


def risk_parts(risk: pl.DataFrame, limits: Mapping[str, Decimal], cut: Callable[..., Tables]) -> tuple[Tables, Tables]:
    """Where the lives will stand, and the counts of their statuses above them, where one sheet holds all."""
    lives = cut(RISK_SHEET, in_order(risk), risk_fields(limits), top=_TOP)
    if len(lives) > 1:
        return lives, ()
    counts = status_counts(lives)
    return lives, ((place(RISK_SHEET, status_fields(lives), counts.height, _COUNTS_TOP), counts),)


def risk_fields(limits: Mapping[str, Decimal]) -> tuple[Field, ...]:
    """The fields of the sheet; `limits` has the ratio of each parameter that lines are drawn at."""
    fields = shown(RISK, _GROUPS, empties=_EMPTIES, beside=("base_leg", "quote_leg", "margin"))
    place_of = next(number for number, one in enumerate(fields) if one.group == EXACT_GROUP)
    lines = [_limit(name, ratio) for name, ratio in limits.items()]
    return (*fields[:place_of], *lines, *fields[place_of:])


def write_risk(book: Book, tables: Tables, counts: Tables, limits: Mapping[str, Decimal]) -> None:
    """Write the sheets where `risk_parts` put them."""
    for number, (placed, frame) in enumerate(tables):
        sheet = book.sheet(placed.sheet)
        widths = fit_columns(sheet, placed.fields, frame, widest=40)
        note = _BEGINS
        if not number:
            note += _draw(book, sheet, placed, frame, counts, limits)
        book.title(sheet, placed.sheet, note)
        write_table(book, sheet, placed.sheet.replace(" ", "_"), placed.fields, frame, top=placed.first - 4, bands=True)
        mark_words(book, sheet, placed.range("Status", other_sheet=False), STATUS_LOOKS)
        print_below_charts(sheet, placed, widths, _not_printed(placed.fields))


def _draw(
    book: Book, sheet: Any, placed: Placed, frame: pl.DataFrame, counts: Tables, limits: Mapping[str, Decimal]
) -> str:
    """The charts and the counts on top of the first sheet; gives what the note says of them."""
    graded = frame.filter(_IS_DRAWN).height
    rows = frame.head(min(graded, _DRAWN_MAX))
    if graded:
        stands = replace(placed, last=placed.first + rows.height - 1)
        lines = {LIMITS[name]: ratio for name, ratio in limits.items()}
        draw_ratios(book, sheet, Ratios(stands, rows, lines))
    for counted, numbers in counts:
        draw_statuses(book, sheet, counted, numbers, place=1 if graded else 0)
        book.text(sheet, _COUNTS_TITLE - 1, 0, "Statuses, live from the table below", bold=True, font_size=12)
        write_table(book, sheet, "Risk_by_status", counted.fields, numbers, top=_COUNTS_TOP)
        mark_words(book, sheet, counted.range("Status", other_sheet=False), STATUS_LOOKS)
    return _DRAWN.format(drawn=rows.height, all=graded, row=placed.first)


def _limit(name: str, ratio: Decimal) -> Field:
    """A column that holds a parameter in every row, for the line across the chart."""
    values = pl.lit(float(ratio), pl.Float64)
    meaning = "The parameter of this name, for the line of the chart."
    return Field(LIMITS[name], "percent", values, "1 = 100 %", meaning, HERE, group=WORKINGS, formula=name, words=name)


def _not_printed(fields: Sequence[Field]) -> set[str]:
    return {one.group for one in fields} - set(_PRINTED)
