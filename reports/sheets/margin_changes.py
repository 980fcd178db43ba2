"""The sheet Margin changes: every change of a margin or a leverage, and what the rules say; charts on top."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import polars as pl

from ledger.risk.columns import MARGIN_CHANGE_LOG
from reports.cells.fields import Field, Placed, Tables
from reports.cells.number_formats import CURRENCIES
from reports.cells.tables import Book, fit_columns, write_table
from reports.charts.per_day import chart_rows
from reports.charts.risk import Changes, draw_changes
from reports.sheets.reconciliation_fields import BAD, EXACT_GROUP, GOOD, OPEN, mark_words, prose
from reports.sheets.risk_fields import WORKINGS, not_added, print_below_charts, shown

MARGIN_CHANGES = "Margin changes"
_CHARTS_MAX, _DRAWN_MAX = 4, 24
"""Lives that are drawn, and the last changes of each."""
_TOP = 3
_LIFE = ("position", "episode")
_GROUPS = {
    "Life of a position": _LIFE,
    "Change": ("time", "change", "direction"),
    "Margin": ("margin_before", "amount", "margin_after"),
    "Leverage": ("leverage_before", "leverage_after"),
    "Margin ratio": ("margin_ratio_before", "margin_ratio_after"),
    "What the rules say": ("verdict", "rule"),
    "At the mark": ("mark_price", "equity_before", "equity_after"),
    "Liquidation price": ("liquidation_price_before", "liquidation_price_after"),
    "Checked with": ("tier", "maximum_leverage", "available"),
    "Event": ("event_id", "event_number", "part", "margin_currency"),
}
_STATES = ("margin_before", "margin_after", "equity_before", "equity_after", "available")
_SCREEN = {"At the mark", "Liquidation price", "Checked with", "Event", WORKINGS, EXACT_GROUP}
"""Groups that are not printed."""
_VERDICTS = {"allowed": GOOD, "refused": BAD, "not_checked": OPEN}
_NOTE = (
    "Every posting, addition and withdrawal of margin and every change of leverage. Refused: the rules would not have"
    " allowed it. Margin after = margin before + amount."
)
_DRAWN = " Drawn: {drawn:,} of {all:,} lives with several changes, the last {most} of each. Figures from row {row}."


def in_order(frame: pl.DataFrame) -> pl.DataFrame:
    """The changes by life, in the order of its events."""
    return frame.sort(*_LIFE, "event_number", "part", maintain_order=True)


def change_parts(frame: pl.DataFrame, cut: Callable[..., Tables]) -> Tables:
    """Where the changes will stand, below their charts."""
    charts = min(_most_changed(frame).height, _CHARTS_MAX)
    return cut(MARGIN_CHANGES, in_order(frame), change_fields(), top=_TOP + chart_rows(charts))


def change_fields() -> tuple[Field, ...]:
    """The fields of the sheet; what is before and after is not added up, the amounts are."""
    return tuple(prose(not_added(shown(MARGIN_CHANGE_LOG, _GROUPS), _STATES), ["rule"]))


def write_changes(book: Book, tables: Tables) -> None:
    """Write the sheets where `change_parts` put them."""
    for number, (placed, frame) in enumerate(tables):
        sheet = book.sheet(placed.sheet)
        widths = fit_columns(sheet, placed.fields, frame)
        book.title(sheet, placed.sheet, _NOTE + ("" if number else _draw(book, sheet, placed, frame)))
        name, top = placed.sheet.replace(" ", "_"), placed.first - 4
        write_table(book, sheet, name, placed.fields, frame, top=top, bands=True)
        mark_words(book, sheet, placed.range("Verdict", other_sheet=False), _VERDICTS)
        print_below_charts(sheet, placed, widths, _SCREEN)


def _most_changed(frame: pl.DataFrame) -> pl.DataFrame:
    """The lives with several changes, those with the most first: a single change needs no chart."""
    lives = frame.group_by(_LIFE, maintain_order=True).agg(changes=pl.len())
    several = lives.filter(pl.col("changes") > 1)
    return several.sort("changes", *_LIFE, descending=[True, False, False])


def _draw(book: Book, sheet: Any, placed: Placed, frame: pl.DataFrame) -> str:
    """The charts of the lives whose changes stand on this sheet; gives what the note says of them."""
    several = _most_changed(frame)
    drawn = several.head(_CHARTS_MAX)
    rows = frame.with_columns(currency=CURRENCIES["margin currency"]).with_row_index("at")
    for place, (position, episode, _) in enumerate(drawn.iter_rows()):
        own = rows.filter((pl.col("position") == position) & (pl.col("episode") == episode)).tail(_DRAWN_MAX)
        stands = replace(placed, first=placed.first + own["at"][0], last=placed.first + own["at"][-1])
        changes = Changes(f"{position}, life {episode}", own["currency"][0] or "margin", stands, own)
        draw_changes(book, sheet, changes, place=place, of=drawn.height)
    counts = {"drawn": drawn.height, "all": several.height}
    return _DRAWN.format(**counts, most=_DRAWN_MAX, row=placed.first) if drawn.height else ""
