"""Native charts of the workbook: they read cells of the sheet they stand on, and hold no figures of their own."""

from collections.abc import Sequence
from typing import Any

from reports.sheets import Book
from reports.sheets_fields import Placed

CHART_ROWS = 17
"""Rows of a sheet that a chart takes, with the gap below it."""
_HEIGHT = 320
_WIDTHS = {1: 980, 2: 640}
"""Width of a chart in pixels, by the number of charts that stand side by side."""
_COLUMNS_MAX = 62
"""Days up to which columns can be told apart; more of them are drawn as lines."""
_LABELS = 7
_FONT = {"name": "Arial", "size": 9, "bold": False}
_INK = {"Computed": "#1F3864", "Charged": "#C55A11"}
_GRID = {"visible": True, "line": {"color": "#D9D9D9", "width": 0.5}}


def draw_days(
    book: Book, sheet: Any, days: Placed, currency: str, *, series: Sequence[str], in_a_row: bool, place: int, of: int
) -> None:
    """Draw amounts per day of one currency on the sheet of `days`, the rows of which are that currency's alone.

    `series` names the headings to draw; `in_a_row` says whether any day follows directly on another; `place` is the
    number of the chart (from 0) `of` so many.
    """
    kind = "column" if days.last - days.first < _COLUMNS_MAX else "line"
    chart = book.workbook.add_chart({"type": kind})
    for heading in series:
        chart.add_series(
            {
                "name": f"{heading} ({currency})",
                "categories": f"={days.range('Day')}",
                "values": f"={days.range(heading)}",
                **_ink(kind, heading),
            }
        )
    chart.set_title(
        {"name": f"Interest per day, {currency}", "overlay": False, "name_font": {**_FONT, "size": 12, "bold": True}}
    )
    chart.set_x_axis(_days_axis(days.last - days.first + 1, in_a_row))
    amounts = {"name": f"Interest ({currency})", "num_format": "#,##0.00######"}
    chart.set_y_axis({**amounts, "name_font": _FONT, "num_font": _FONT, "major_gridlines": _GRID})
    chart.set_legend({"position": "bottom", "font": _FONT})
    beside = min(of, 2)
    chart.set_size({"width": _WIDTHS[beside], "height": _HEIGHT})
    options = {
        "x_offset": 4 + (place % beside) * (_WIDTHS[beside] + 12),
        "object_position": 3,
        "description": f"Interest per day in {currency}; the table below has the figures.",
    }
    sheet.insert_chart(2 + place // beside * CHART_ROWS, 0, chart, options)


def _days_axis(days: int, in_a_row: bool) -> dict[str, Any]:
    """An axis of time, on which days without a charge keep their place, with few enough dates to stand side by side.

    Programs take months or years for its steps when no two days are `in_a_row`: then the days stand one by one.
    """
    axis = {"name": "Day (UTC)", "num_format": "yyyy-mm-dd", "name_font": _FONT, "num_font": _FONT}
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
