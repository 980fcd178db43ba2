"""Native charts of the workbook: they read cells of the sheet they stand on, and hold no figures of their own."""

from collections.abc import Sequence
from typing import Any

import polars as pl

from reports.cells.fields import Placed
from reports.cells.tables import Book

CHART_ROWS = 18
"""Rows of a sheet that a chart takes, with the gap below it."""
_HEIGHT = 340
_WIDTHS = {1: 980, 2: 640}
"""Width of a chart in pixels, by the number of charts that stand side by side."""
_GAP = 12
_ROW_HEIGHT = 15
"""In points, 20 pixels: programs differ in what they take without being told, and charts would be squeezed."""
_COLUMNS_MAX = 62
"""Days up to which columns can be told apart; more of them are drawn as lines."""
_LABELS = 7
FONT = {"name": "Arial", "size": 9, "bold": False}
_INK = {"Computed": "#1F3864", "Charged": "#C55A11"}
GRID = {"visible": True, "line": {"color": "#D9D9D9", "width": 0.5}}


def draw_days(
    book: Book,
    sheet: Any,
    days: Placed,
    sums: pl.DataFrame,
    currency: str,
    *,
    series: Sequence[str],
    in_a_row: bool,
    place: int,
    of: int,
) -> None:
    """Draw amounts per day of one currency on the sheet of `days`, where the `sums` of that currency alone stand.

    `series` names the headings to draw; `in_a_row` says whether any day follows directly on another; `place` is the
    number of the chart (from 0) `of` so many.
    """
    kind = "column" if days.last - days.first < _COLUMNS_MAX else "line"
    chart = book.workbook.add_chart({"type": kind})
    for heading in series:
        points = {"categories": f"={days.range('Day')}", "values": f"={days.range(heading)}"}
        # What is drawn where nothing reads the cells, such as in the preview of a mail.
        shown = {"categories_data": values(days, "Day", sums), "values_data": values(days, heading, sums)}
        chart.add_series({"name": f"{heading} ({currency})", **points, **shown, **_ink(kind, heading)})
    chart.set_title(
        {"name": f"Interest per day, {currency}", "overlay": False, "name_font": {**FONT, "size": 12, "bold": True}}
    )
    chart.set_x_axis(_days_axis(days.last - days.first + 1, in_a_row))
    amounts: dict[str, Any] = {"name": f"Interest ({currency})", "num_format": "#,##0.00######"}
    if kind == "column" and sums.select((pl.col("computed", "charged") >= 0).all()).row(0) == (True, True):
        amounts["min"] = 0  # columns that begin elsewhere make small differences look large
    chart.set_y_axis({**amounts, "name_font": FONT, "num_font": FONT, "major_gridlines": GRID})
    chart.set_legend({"position": "bottom", "font": FONT})
    said = f"Interest per day in {currency}; the table below has the figures."
    insert(sheet, chart, said, place=place, of=of)


def insert(sheet: Any, chart: Any, said: str, *, place: int, of: int, width: int = 0) -> None:
    """Put a chart below the title of a sheet, two in a row; `place` is its number (from 0) `of` so many.

    `said` tells it to who cannot see it; `width` is that of a chart, in pixels.
    """
    beside = min(of, 2)
    width = width or _WIDTHS[beside]
    chart.set_size({"width": width, "height": _HEIGHT})
    options = {
        "x_offset": 4 + (place % beside) * (width + _GAP),
        "y_offset": 6,
        "object_position": 3,
        "description": said,
    }
    first = 2 + place // beside * CHART_ROWS
    for row in range(first, first + CHART_ROWS):
        sheet.set_row(row, _ROW_HEIGHT)
    sheet.insert_chart(first, 0, chart, options)


def values(placed: Placed, heading: str, rows: pl.DataFrame) -> list[Any]:
    """The values of the cells under a heading, of these rows."""
    one = next(one for one in placed.fields if one.heading == heading)
    return rows.select(one.values).to_series().to_list()


def chart_rows(charts: int) -> int:
    """Rows of a sheet that so many charts take."""
    return -(-charts // 2) * CHART_ROWS


def _days_axis(days: int, in_a_row: bool) -> dict[str, Any]:
    """An axis of time, on which days without a charge keep their place, with few enough dates to stand side by side.

    Programs take months or years for its steps when no two days are `in_a_row`: then the days stand one by one.
    """
    axis = {"name": "Day (UTC)", "num_format": "yyyy-mm-dd", "name_font": FONT, "num_font": FONT}
    step = max(1, -(-days // _LABELS))
    if in_a_row:
        return {**axis, "date_axis": True, "major_unit": step, "major_unit_type": "days"}
    return {**axis, "text_axis": True, "interval_unit": step}


def _ink(kind: str, heading: str) -> dict[str, Any]:
    """Colours that differ in print too: what was charged is hatched, or dashed as a line."""
    ink, is_charged = _INK[heading], heading == "Charged"
    if kind == "line":
        return {"line": {"color": ink, "width": 1.75, "dash_type": "dash" if is_charged else "solid"}}
    if is_charged:
        pattern = {"pattern": "wide_upward_diagonal", "fg_color": ink, "bg_color": "#FFFFFF"}
        return {"pattern": pattern, "border": {"color": ink, "width": 0.75}, "gap": 60}
    return {"fill": {"color": ink}, "border": {"color": ink, "width": 0.75}, "gap": 60}
