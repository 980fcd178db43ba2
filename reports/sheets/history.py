"""The sheet Over time: each position's liability and margin ratio at every event and mark, with charts on top."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

import polars as pl

from ledger.columns import DISPLAY, HISTORY, MARK_FIGURES, MEASURES, Column
from ledger.history import POINTS
from ledger.money import MONEY
from reports.cells.fields import Field, Placed, Tables, exact, field, iso_time, letter
from reports.cells.formulas import cells
from reports.cells.number_formats import CURRENCIES
from reports.cells.tables import COLUMN_MARGIN, PAGE_WIDTH, PRINT_SCALE, Book, fit_columns, write_table
from reports.charts.over_time import DAYS_BEFORE, Life, Limit, draw_life
from reports.charts.per_day import chart_rows
from reports.sheets.checks import HERE
from reports.sheets.reference import parameter_cell

OVER_TIME = "Over time"
CHARTS_MAX = 12
_CHARTS_ON_PAGE = 6
_CHART_WIDTH_MIN, _CHARACTER = 560, 7
"""In pixels, as the width of a character."""
_EXACT = "Exact times and amounts"
_TOP = 3
"""The row (from 1) below title and note."""
_LIFE = ("position", "episode")
_CHANGE = Column(
    "liability_change",
    MONEY,
    "liability's currency",
    "Liability less that of the moment before; at the first moment of a life all of it.",
    HERE,
)
_GROUPS = {
    "Life of a position": _LIFE,
    "Moment": ("time", "what", "event_number"),
    "As the exchange shows it": ("liability_shown", "liability_change", "margin_ratio"),
    "Mark in force": ("mark_price", "maintenance_rate", "liquidation_fee_rate"),
    "Balances": ("base_leg", "quote_leg", "margin"),
    "Workings": ("equity_value", "liability_value", "requirement_rate", "is_long", "margin_is_base", "moments"),
}
_PRINTED = list(_GROUPS)[:-1]
_NOTE = "Every life of a position after each event, and at each mark while it is open."
_LONG = f" At most {POINTS} moments of each (see Moments)."
_LIMITS = {"liquidation_ratio": ("Liquidation", "dash"), "alert_ratio": ("Alert", "round_dot")}
_OWED = pl.when(pl.col("is_long") == 1).then(CURRENCIES["quote"]).otherwise(CURRENCIES["base"])
_COMPUTED = ("liability_shown", "liability_value", "requirement_rate", "equity_value", "margin_ratio")
_WITHIN = ("margin_price", "net_value")
"""Measures without a column: their formulas stand within those that read them."""


def history_parts(frames: Mapping[str, pl.DataFrame], cut: Callable[..., Tables]) -> Tables:
    """Where the moments will stand, below their charts; nowhere without a moment."""
    frame = frames["history"].sort(*_LIFE, maintain_order=True)
    if frame.is_empty():
        return ()
    same = pl.all_horizontal(pl.col(name) == pl.col(name).shift(1) for name in _LIFE).fill_null(value=False)
    days = pl.when(same).then(pl.col("time").diff().dt.total_microseconds() / 86_400_000_000).otherwise(0.0)
    change = pl.col("liability_shown") - pl.when(same).then(pl.col("liability_shown").shift(1)).otherwise(0)
    rows = frame.with_columns(days_before=days, liability_change=change.cast(MONEY))
    charts = min(_lives(rows).height, CHARTS_MAX)
    return cut(OVER_TIME, rows, history_fields(), top=_TOP + chart_rows(charts))


def history_fields() -> tuple[Field, ...]:
    """The fields of the sheet, with live formulas for what is computed from the balances and the mark."""
    fields = _fields()
    letters = {one.name: letter(fields, one.heading) for one in fields if one.group != _EXACT}
    formulas = _formulas(lambda name: None if name in _WITHIN else f"{letters[name]}{{row}}")
    same = "AND(" + ",".join(f"{letters[name]}{{row}}={{sheet}}{letters[name]}{{above}}" for name in _LIFE) + ")"
    words = _formulas(lambda name: None if name in _WITHIN else name)
    for name, of, first in (("liability_change", "liability_shown", "{here}"), ("days_before", "time", "0")):
        here, above = f"{letters[of]}{{row}}", f"{{sheet}}{letters[of]}{{above}}"
        formulas[name] = f"IF({same},{here}-{above},{first.format(here=here)})"
        words[name] = f"IF(same life as in the row above,{of}-{of} of the row above,{first.format(here=of)})"
    return tuple(
        replace(one, formula=formulas[one.name], words=words[one.name])
        if one.name in formulas and one.group != _EXACT
        else one
        for one in fields
    )


def limits_of(parameters: pl.DataFrame) -> list[Limit]:
    """The ratios that the charts draw lines at; `parameters` are those of the workbook (columns PARAMETERS)."""
    values = dict(parameters.select("name", "value").iter_rows())
    return [
        Limit(said, Decimal(values[name]), parameter_cell(parameters, name), dash)
        for name, (said, dash) in _LIMITS.items()
    ]


def write_history(book: Book, tables: Tables, limits: Sequence[Limit]) -> None:
    """Write the sheets: the moments, and on the first one charts of the lives that say most; `limits` are drawn in."""
    before: Placed | None = None
    for placed, frame in tables:
        sheet = book.sheet(placed.sheet)
        widths = fit_columns(sheet, placed.fields, frame, widest=40)
        if before is None:
            whole = frame if len(tables) == 1 else frame.filter(~_same_life(frame.row(-1, named=True)))
            _draw(book, sheet, placed, whole, limits, _chart_width(placed, widths))
        else:
            book.title(sheet, placed.sheet, _NOTE)
        name, top = placed.sheet.replace(" ", "_"), placed.first - 4
        before = write_table(book, sheet, name, placed.fields, frame, top=top, bands=True, before=before)
        _set_print(sheet, placed, widths)


def _same_life(row: Mapping[str, Any]) -> pl.Expr:
    """The moments of the life that a row is of: the last one of a sheet goes on on the next."""
    return pl.all_horizontal(pl.col(name) == row[name] for name in _LIFE)


def _draw(book: Book, sheet: Any, placed: Placed, frame: pl.DataFrame, limits: Sequence[Limit], width: int) -> None:
    """The title, and a chart for each of the lives that say most, page by page."""
    lives = _lives(frame)
    drawn = lives.head(CHARTS_MAX)
    told = f" Charts of {drawn.height:,} of {lives.height:,} lives with several moments: open ones first, lowest"
    told += f" margin ratio first. Figures from row {placed.first}."
    is_long = frame["moments"].max() != 1
    book.title(sheet, placed.sheet, _NOTE + told + (_LONG if is_long else ""))
    for number, life in enumerate(drawn.iter_rows(named=True)):
        rows = replace(placed, first=placed.first + life["first"], last=placed.first + life["last"])
        moments = frame[life["first"] : life["last"] + 1]
        state = "open" if life["is_open"] else "closed"
        name = f"{life['position']}, life {life['episode']} ({state})"
        shown = Life(name, life["currency"], rows, moments)
        draw_life(book, sheet, shown, limits, place=number, of=drawn.height, width=width)
    pages = range(_CHARTS_ON_PAGE, drawn.height + _CHARTS_ON_PAGE, _CHARTS_ON_PAGE)
    sheet.set_h_pagebreaks([_TOP - 1 + chart_rows(min(charts, drawn.height)) for charts in pages])


def _printed(placed: Placed, widths: Sequence[float]) -> list[float]:
    """The widths of the columns that are printed."""
    return [width + COLUMN_MARGIN for width, one in zip(widths, placed.fields, strict=True) if one.group in _PRINTED]


def _chart_width(placed: Placed, widths: Sequence[float]) -> int:
    """Pixels of a chart, so that two of them are as wide as what is printed."""
    return max(_CHART_WIDTH_MIN, int(sum(_printed(placed, widths)) * _CHARACTER / 2) - 12)


def _set_print(sheet: Any, placed: Placed, widths: Sequence[float]) -> None:
    """Print the columns up to the balances across one page; workings and exact amounts are for the screen."""
    printed = _printed(placed, widths)
    sheet.print_area(0, 0, placed.last - 1, len(printed) - 1)
    sheet.set_print_scale(int(PRINT_SCALE * min(1, PAGE_WIDTH / sum(printed))))
    sheet.repeat_rows(placed.first - 5, placed.first - 2)


def _lives(frame: pl.DataFrame) -> pl.DataFrame:
    """The lives to draw, those first that say most: open, lowest ratio; and where their moments stand in the frame."""
    lives = (
        frame.with_row_index("row")
        .group_by(_LIFE, maintain_order=True)
        .agg(
            pl.col("row").first().alias("first"),
            pl.col("row").last().alias("last"),
            is_open=pl.col("what").last() != "close",
            lowest=pl.col("margin_ratio").min(),
            currency=_OWED.first(),
        )
    )
    told = lives.filter(pl.col("last") > pl.col("first"))
    return told.sort("is_open", "lowest", *_LIFE, descending=[True, False, False, False], nulls_last=True)


def _formulas(address: Callable[[str], str | None]) -> dict[str, str]:
    """The formulas of the computed columns; those that have no column of their own stand within the others.

    At a moment of the ledger no interest is accrued and not charged: what is owed is the leg.
    """
    of_leg = {"base_owed": "base_leg", "quote_owed": "quote_leg"}
    columns = [column for column in (*DISPLAY, *MEASURES) if column.name in (*_COMPUTED, *_WITHIN)]
    empties = {column.name for column in MARK_FIGURES}
    found = cells(columns, lambda name: address(of_leg.get(name, name)), empties)
    return {name: found[name].formula for name in _COMPUTED}


def _fields() -> list[Field]:
    columns = {column.name: column for column in (*HISTORY, _CHANGE)}
    fields = [_shown(columns[name]).in_group(group) for group, names in _GROUPS.items() for name in names]
    meaning = "Days since the moment before of the same life; 0 at its first one."
    fields.append(Field(DAYS_BEFORE, "days", pl.col("days_before"), "days", meaning, HERE, "days_before", "Workings"))
    fields.append(iso_time(columns["time"]).in_group(_EXACT))
    amounts = [column for column in columns.values() if column.dtype == MONEY]
    return [*fields, *(exact(column).in_group(_EXACT) for column in amounts)]


def _shown(column: Column) -> Field:
    """The field of a column; balances at several moments are not added up, changes are."""
    one = field(column)
    if column is _CHANGE:
        return replace(one, currency=_OWED, made_of=("liability_shown",))
    return replace(one, currency=_OWED if column.unit == _CHANGE.unit else None, adds_up=False)
