"""The chart of a position's life: its liability in steps, its margin ratio as a line, on a real axis of time."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

import polars as pl

from reports.cells.fields import Placed
from reports.cells.tables import Book
from reports.charts.axes import Axis, amounts_axis, shares_axis, time_axis
from reports.charts.per_day import FONT, GRID, insert, values

CHANGE, DAYS_BEFORE = "Liability change", "Days since the moment before"
_LIABILITY, _RATIO, _LIMIT = "#C55A11", "#1F3864", "#595959"
_MARKED_MAX = 80
"""Moments up to which each has a marker that can be told from the next one."""
_NEAR = Decimal(4)
"""A limit is drawn where the lowest ratio is at most so many times the limit."""


@dataclass(frozen=True)
class Life:
    """A life of a position as it is drawn: its name, the currency it owes, its moments and where they stand."""

    name: str
    currency: str
    placed: Placed
    moments: pl.DataFrame

    def values(self, heading: str) -> list[Any]:
        """The values of the cells under a heading."""
        return values(self.placed, heading, self.moments)

    def part(self, first: int, rows: int) -> "Life":
        """So many of its moments, from the `first` (from 0) on."""
        begin = self.placed.first + first
        placed = replace(self.placed, first=begin, last=begin + rows - 1)
        return replace(self, placed=placed, moments=self.moments[first : first + rows])


@dataclass(frozen=True)
class Limit:
    """A margin ratio at which something happens: its name, the ratio (1 = 100 %), its cell, the dashes of its line."""

    name: str
    ratio: Decimal
    cell: str
    dash: str


def draw_life(book: Book, sheet: Any, life: Life, limits: Sequence[Limit], *, place: int, of: int, width: int) -> None:
    """Draw a life on the sheet of its moments; `place`, `of` and `width` say where (see `charts.insert`).

    `limits` are lines across the margin ratio, drawn where it comes near them.
    """
    moments = life.moments
    chart = book.workbook.add_chart({"type": "scatter", "subtype": "straight"})
    times, called = time_axis(moments["time"][0], moments["time"][-1])
    axis = {"name_font": FONT, "num_font": FONT}
    chart.add_series(_liability(life))
    debts = amounts_axis(min(moments["liability_shown"].to_list()), Decimal(0))
    left = {**axis, "name": f"Liability ({life.currency})", "major_gridlines": GRID, "crossing": "min"}
    chart.set_y_axis({**debts.options, **left})
    ratios, lines = moments["margin_ratio"].drop_nulls().to_list(), _ratio(life)
    if ratios:
        near = [limit for limit in limits if min(ratios) <= _NEAR * limit.ratio]
        shares = shares_axis(min(ratios), max([*ratios, *(limit.ratio for limit in near)]))
        for series in (*lines, *(_across(limit, life, times) for limit in near)):
            chart.add_series({**series, "y2_axis": True})
        chart.set_y2_axis({**shares.options, **axis, "name": "Margin ratio"})
        chart.set_x2_axis({**times.options, "visible": False})
    chart.set_x_axis({**times.options, **axis, "name": called, "label_position": "low"})
    chart.set_title({"name": life.name, "overlay": False, "name_font": {**FONT, "size": 11, "bold": True}})
    chart.set_legend({"position": "bottom", "font": FONT, "delete_series": list(range(2, len(lines) + 1))})
    said = f"Liability and margin ratio of {life.name} over time; the table below has the figures."
    insert(sheet, chart, said, place=place, of=of, width=width)


def _liability(life: Life) -> dict[str, Any]:
    """The liability in steps: a point at each moment, a bar from it to the next one's time, a bar to it from before.

    The days that a moment lasts stand in the row of the next one; in the row below the last there are none.
    """
    lasting = replace(life.placed, first=life.placed.first + 1, last=life.placed.last + 1)
    days = [*life.values(DAYS_BEFORE)[1:], 0.0]
    bar = {"type": "custom", "end_style": 0, "line": {"color": _LIABILITY, "width": 1.75 if _is_marked(life) else 1}}
    until = {"plus_values": f"={lasting.range(DAYS_BEFORE)}", "plus_data": days}
    jump = {"minus_values": f"={life.placed.range(CHANGE)}", "minus_data": life.values(CHANGE)}
    return {
        "name": f"Liability ({life.currency}, left)",
        **_points(life, "Liability shown"),
        "line": {"none": True},
        "marker": _marker("square", _LIABILITY, life),
        "x_error_bars": {**bar, "direction": "plus", **until},
        "y_error_bars": {**bar, "direction": "minus", **jump},
    }


def _ratio(life: Life) -> list[dict[str, Any]]:
    """The margin ratio: a line for every stretch of moments that have one, for an empty cell would be drawn as zero."""
    there = life.moments.select(place=pl.int_range(pl.len()), stretch=pl.col("margin_ratio").is_null().rle_id())
    there = there.filter(life.moments["margin_ratio"].is_not_null())
    stretches = there.group_by("stretch", maintain_order=True).agg(first=pl.col("place").min(), rows=pl.len())
    lines = []
    for _, first, rows in stretches.iter_rows():
        lines.append(
            {
                "name": "Margin ratio (right)",
                **_points(life.part(first, rows), "Margin ratio"),
                "line": {"color": _RATIO, "width": 1.75 if _is_marked(life) else 1.25},
                "marker": _marker("diamond", _RATIO, life),
            }
        )
    return lines


def _across(limit: Limit, life: Life, times: Axis) -> dict[str, Any]:
    """A line across at a limit: its cell is the one point, at the first moment, from where a bar goes on to the end."""
    line = {"color": _LIMIT, "width": 1.25, "dash_type": limit.dash}
    start = life.part(0, 1)
    bar = {"type": "fixed", "direction": "plus", "end_style": 0, "line": line}
    return {
        "name": f"{limit.name} ({limit.ratio:.0%})",
        **_points(start, "Time"),
        "values": f"={limit.cell}",
        "values_data": [float(limit.ratio)],
        "line": line,
        "marker": {"type": "none"},
        "x_error_bars": {**bar, "value": times.high - start.values("Time")[0]},
    }


def _points(life: Life, heading: str) -> dict[str, Any]:
    """The points of a series: the times, and the cells under a heading; and their values, where nothing reads them."""
    return {
        "categories": f"={life.placed.range('Time')}",
        "categories_data": life.values("Time"),
        "values": f"={life.placed.range(heading)}",
        "values_data": life.values(heading),
    }


def _marker(kind: str, ink: str, life: Life) -> dict[str, Any]:
    size = 5 if _is_marked(life) else 2
    return {"type": kind, "size": size, "fill": {"color": ink}, "border": {"color": ink}}


def _is_marked(life: Life) -> bool:
    return life.moments.height <= _MARKED_MAX
