"""Stacked bars, side on: how counts are drawn as a native chart."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from reports.cells.fields import Placed
from reports.cells.tables import Book

ROW_PIXELS = 20
_FONT = {"name": "Arial", "size": 9, "bold": False}
_TITLE_FONT = {"name": "Arial", "size": 12, "bold": True}
_GRID = {"visible": True, "line": {"color": "#D9D9D9", "width": 0.5}}
_BARE = {"major_tick_mark": "none", "minor_tick_mark": "none", "line": {"color": "#D9D9D9"}}
_DARK, _STEPS = "#1F3864", 6


@dataclass(frozen=True)
class Bars:
    """What is drawn: a bar for each row of a table, cut by the counts under some of its headings.

    `series` has the colour of each of those headings, from dark to light so that they differ in print too. `most` is
    the largest sum of a bar; `axis` names what is counted; `said` tells it to who cannot see it. Sizes are pixels.
    """

    title: str
    category: str
    series: Mapping[str, str]
    most: int
    axis: str
    said: str
    width: int
    height: int


def height_of(bars: int) -> int:
    """Pixels that a chart of so many bars needs."""
    return 150 + 30 * bars


def draw_bars(book: Book, sheet: Any, counts: Placed, bars: Bars, left: int) -> None:
    """Draw the table at `counts` below the title of its sheet, `left` pixels from the margin; the first row on top."""
    chart = book.workbook.add_chart({"type": "bar", "subtype": "stacked"})
    for heading, colour in bars.series.items():
        ink = "#FFFFFF" if colour == _DARK else "#000000"
        chart.add_series(
            {
                "name": heading.lower(),
                "categories": f"={counts.range(bars.category)}",
                "values": f"={counts.range(heading)}",
                # A label for what there is: the third part of the format, for zero, is empty.
                "data_labels": {"value": True, "num_format": "#,##0;;", "font": {**_FONT, "color": ink}},
                "fill": {"color": colour},
                "border": {"color": _DARK, "width": 0.75},
                "gap": 50,
            }
        )
    chart.set_title({"name": bars.title, "overlay": False, "name_font": _TITLE_FONT})
    chart.set_y_axis({**_BARE, "reverse": True, "num_font": _FONT, "major_gridlines": {"visible": False}})
    axis = {"name": bars.axis, "name_font": _FONT, "num_font": _FONT, "num_format": "#,##0", "min": 0}
    steps = {"label_position": "high", "major_unit": -(-bars.most // _STEPS)}
    chart.set_x_axis({**axis, "major_gridlines": _GRID, **_BARE, **steps})
    chart.set_legend({"position": "bottom", "font": _FONT})
    chart.set_size({"width": bars.width, "height": bars.height})
    sheet.insert_chart(2, 0, chart, {"x_offset": left, "object_position": 3, "description": bars.said})
