"""The charts of risk: margin ratios of open positions against the limits, statuses counted, changes of a margin."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import polars as pl

from reports.cells.fields import Placed
from reports.cells.tables import Book
from reports.charts.axes import Axis, amounts_axis, shares_axis
from reports.charts.per_day import FONT, GRID, insert, values

_TITLE = {**FONT, "size": 11, "bold": True}
_EDGE, _LIMIT = "#1F3864", "#595959"
_INK = {"not_graded": "#FFFFFF", "normal": "#8EA9DB", "alert": "#FFE699"}
_DUE = "#F4B084"
"""Colours of the columns by status, light enough for the figures that stand in them."""
_DASHES = ("round_dot", "dash")
_LABEL = {"font": FONT, "fill": {"color": "#FFFFFF"}, "border": {"color": _EDGE, "width": 0.5}}
_ABOVE = Decimal("1.6")
"""Times the largest limit where the axis ends: what is far above the limits need not be told apart."""


@dataclass(frozen=True)
class Ratios:
    """Margin ratios as they are drawn: where they stand, their rows, and the ratio of each limit by its heading."""

    placed: Placed
    rows: pl.DataFrame
    limits: Mapping[str, Decimal]


@dataclass(frozen=True)
class Changes:
    """The changes of a life's margin as they are drawn: the name and margin currency of the life, where they stand."""

    name: str
    currency: str
    placed: Placed
    rows: pl.DataFrame


def draw_ratios(book: Book, sheet: Any, ratios: Ratios) -> None:
    """Draw a column for each position, in the colour of its status, and a line across at each limit."""
    chart = book.workbook.add_chart({"type": "column"})
    statuses = ratios.rows["status"].cast(pl.String).to_list()
    edge = {"color": _EDGE, "width": 0.75}
    chart.add_series(
        {
            "name": "margin ratio",
            **_points(ratios.placed, "Position", "Margin ratio", ratios.rows),
            "points": [{"fill": {"color": _INK.get(status, _DUE)}, "border": edge} for status in statuses],
            "fill": {"color": _INK["normal"]},
            "border": edge,
            "gap": 40,
            "data_labels": {"value": True, "num_format": "0%", "position": "inside_base", **_LABEL},
        }
    )
    lines = book.workbook.add_chart({"type": "line"})
    for (heading, limit), dash in zip(ratios.limits.items(), _DASHES, strict=False):
        line = {"color": _LIMIT, "width": 1.5, "dash_type": dash}
        points = _points(ratios.placed, "Position", heading, ratios.rows)
        lines.add_series({"name": f"{heading.lower()} ({limit:.0%})", **points, "line": line})
    chart.combine(lines)
    chart.set_title({"name": "Margin ratio of open positions, lowest first", "overlay": False, "name_font": _TITLE})
    chart.set_x_axis({"label_position": "low", "num_font": {**FONT, "rotation": -45}})
    chart.set_y_axis({**_ratio_axis(ratios).options, "num_font": FONT, "major_gridlines": GRID})
    chart.set_legend({"position": "bottom", "font": FONT})
    said = "Margin ratio of open positions against the ratios of alert and liquidation; the table has the figures."
    insert(sheet, chart, said, place=0, of=2)


def _ratio_axis(ratios: Ratios) -> Axis:
    """An axis that holds the limits and what is near them; columns that reach an end go on beyond it."""
    found = ratios.rows["margin_ratio"].to_list()
    end = _ABOVE * max(ratios.limits.values())
    return shares_axis(max(-end, min(found)), min(end, max([*found, *ratios.limits.values()])))


def draw_statuses(book: Book, sheet: Any, placed: Placed, counts: pl.DataFrame, *, place: int) -> None:
    """Draw how many positions have each status now, and how many lives ever came to it; `place` as for `insert`."""
    chart = book.workbook.add_chart({"type": "bar"})
    for heading, name, colour in (("Open now", "open now", _EDGE), ("Ever", "lives that ever came to it", _DUE)):
        chart.add_series(
            {
                "name": name,
                **_points(placed, "Status", heading, counts),
                "fill": {"color": colour},
                "border": {"color": _EDGE, "width": 0.75},
                "gap": 60,
                # A label for what there is: the third part of the format, for zero, is empty.
                "data_labels": {"value": True, "num_format": "#,##0;;", "font": FONT},
            }
        )
    most = max([*counts["now"].drop_nulls(), *counts["ever"].drop_nulls(), 1])
    chart.set_title({"name": "Positions and lives by status", "overlay": False, "name_font": _TITLE})
    chart.set_y_axis({"reverse": True, "num_font": FONT, "major_gridlines": {"visible": False}})
    steps = {"min": 0, "major_unit": -(-most // 5), "num_format": "#,##0", "label_position": "high"}
    chart.set_x_axis({**steps, "num_font": FONT, "major_gridlines": GRID})
    chart.set_legend({"position": "bottom", "font": FONT})
    said = "Open positions that have each status, and lives that came to it; the table below has the figures."
    insert(sheet, chart, said, place=place, of=2)


def draw_changes(book: Book, sheet: Any, changes: Changes, *, place: int, of: int) -> None:
    """Draw a life's margin before and after each change as columns, and its ratio before and after as lines."""
    chart = book.workbook.add_chart({"type": "column"})
    for heading, colour in (("Margin before", "#D6DCE5"), ("Margin after", "#8EA9DB")):
        look = {"fill": {"color": colour}, "border": {"color": _EDGE, "width": 0.75}, "gap": 60}
        name = f"{heading.lower()} ({changes.currency}, left)"
        chart.add_series({"name": name, **_points(changes.placed, "Time", heading, changes.rows), **look})
    chart.set_title({"name": changes.name, "overlay": False, "name_font": _TITLE})
    chart.set_x_axis({"text_axis": True, "num_format": "mm-dd hh:mm", "num_font": FONT, "label_position": "low"})
    margins = [amount for name in ("margin_before", "margin_after") for amount in changes.rows[name].drop_nulls()]
    amounts = amounts_axis(min(margins, default=Decimal(0)), max(margins, default=Decimal(1)))
    named = {"name": f"Margin ({changes.currency})", "name_font": FONT, "num_font": FONT, "major_gridlines": GRID}
    chart.set_y_axis({**amounts.options, **named})
    _draw_ratios_around(book, chart, changes)
    chart.set_legend({"position": "bottom", "font": FONT})
    said = f"Margin and margin ratio of {changes.name} before and after each change; the table has the figures."
    insert(sheet, chart, said, place=place, of=of)


def _draw_ratios_around(book: Book, chart: Any, changes: Changes) -> None:
    """The ratios on an axis of their own at the right, where there are any."""
    names = {"Margin ratio before": "round_dot", "Margin ratio after": "solid"}
    known = [one for name in ("margin_ratio_before", "margin_ratio_after") for one in changes.rows[name].drop_nulls()]
    if not known:
        return
    lines = book.workbook.add_chart({"type": "line"})
    for (heading, dash), kind in zip(names.items(), ("circle", "diamond"), strict=True):
        lines.add_series(
            {
                "name": f"{heading.lower()} (right)",
                **_points(changes.placed, "Time", heading, changes.rows),
                "y2_axis": True,
                "line": {"color": "#C55A11", "width": 1.25, "dash_type": dash},
                "marker": {"type": kind, "size": 6, "fill": {"color": "#C55A11"}, "border": {"color": "#C55A11"}},
            }
        )
    named = {"name": "Margin ratio", "name_font": FONT, "num_font": FONT}
    lines.set_y2_axis({**shares_axis(min(known), max(known)).options, **named})
    chart.combine(lines)


def _points(placed: Placed, category: str, heading: str, rows: pl.DataFrame) -> dict[str, Any]:
    """The points of a series, and their values, where nothing reads the cells."""
    return {
        "categories": f"={placed.range(category)}",
        "categories_data": values(placed, category, rows),
        "values": f"={placed.range(heading)}",
        "values_data": values(placed, heading, rows),
    }
