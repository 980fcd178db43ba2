"""The sheet Breaks by cause: a chart of how often each cause is named, and the counts below it that it shows."""

from typing import Any

import polars as pl

from ledger.reconciliation.columns import CAUSES, CERTAINTY
from reports.sheets import Book, fit_columns, write_table
from reports.sheets_checks import HERE
from reports.sheets_fields import Field, Placed, Tables
from reports.sheets_reconciliation_fields import table_name

BY_CAUSE = "Breaks by cause"
_ROW_PIXELS = 20
_WIDTH = 900
_FONT = {"name": "Arial", "size": 9, "bold": False}
_TITLE_FONT = {"name": "Arial", "size": 12, "bold": True}
_GRID = {"visible": True, "line": {"color": "#D9D9D9", "width": 0.5}}
_INK = {"proved": "#1F3864", "fits": "#8EA9DB", "guessed": "#F8CBAD", "ambiguous": "#FFE699", "unexplained": "#FFFFFF"}
"""From dark to light, so that they differ in print too."""
_BARE = {"major_tick_mark": "none", "minor_tick_mark": "none", "line": {"color": "#D9D9D9"}}
_STEPS = 8
_REST = "unexplained"
_MEANINGS = {
    "proved": "Parts of which the exchange's rows show the cause.",
    "fits": "Parts of which replaying the cause gives the exchange's figures.",
    "guessed": "Parts of which the cause fits with an amount chosen to fit.",
    "ambiguous": "Parts that other causes explain equally well.",
    "unexplained": "Parts that no cause explains.",
}
_NOTE = (
    "Parts of breaks by cause, live from the sheet Break causes; a rest of zero is not counted. Amounts are not added"
    " up: they are in different currencies."
)


def cause_counts(parts: pl.DataFrame) -> pl.DataFrame:
    """One row per cause that parts of breaks have, the most frequent first: cause, parts, one column per certainty.

    A break that is explained wholly has a rest of zero, which is nothing unexplained.
    """
    parts = parts.filter((pl.col("cause") != _REST) | (pl.col("amount") != 0))
    certainties = [(pl.col("certainty") == word).sum().alias(word) for word in CERTAINTY]
    counted = parts.group_by(pl.col("cause").cast(pl.String)).agg(pl.len().alias("parts"), *certainties)
    meaning = pl.col("cause").replace_strict(CAUSES, return_dtype=pl.String)
    return counted.sort("parts", "cause", descending=[True, False]).with_columns(meaning=meaning)


def cause_fields(parts: Tables) -> tuple[Field, ...]:
    """The fields of the counts of the parts that stand at `parts`."""

    def counted(heading: str, meaning: str, *criteria: tuple[str, str]) -> Field:
        formula = "+".join(_count(placed, *criteria) for placed, _ in parts)
        words = (
            "COUNTIFS(parts of the cause)" if len(criteria) == 1 else f"COUNTIFS({heading.lower()} parts of the cause)"
        )
        name = heading.lower()
        return Field(heading, "count", pl.col(name), "parts", meaning, HERE, formula=formula, words=words)

    own = ("Cause", "A{row}")
    return (
        Field("Cause", "text", pl.col("cause"), "", "Name of the cause.", HERE),
        counted("Parts", "Parts of breaks that have the cause.", own),
        *(counted(word.capitalize(), _MEANINGS[word], own, ("Certainty", f'"{word}"')) for word in CERTAINTY),
        Field("Meaning", "prose", pl.col("meaning"), "", "What the cause means.", HERE),
    )


def _count(parts: Placed, *criteria: tuple[str, str]) -> str:
    """The formula for the parts on one sheet that meet the criteria, less rests of zero."""
    rests = (*criteria, ("Cause", f'"{_REST}"'), ("Amount", "0"))
    every, zero = (
        f"COUNTIFS({','.join(f'{parts.range(column)},{wanted}' for column, wanted in asked)})"
        for asked in (criteria, rests)
    )
    return f"{every}-{zero}"


def top_row(causes: int) -> int:
    """The row (from 1) where the table begins: below the chart of so many causes."""
    return 4 - -_height(causes) // _ROW_PIXELS


def write_by_cause(book: Book, frame: pl.DataFrame, placed: Placed) -> Placed:
    """Write the sheet: the chart, and the counts at `placed`."""
    sheet = book.sheet(BY_CAUSE)
    fit_columns(sheet, placed.fields, frame)
    book.title(sheet, BY_CAUSE, _NOTE)
    _draw(book, sheet, placed, frame["parts"].max())
    table = write_table(book, sheet, table_name(BY_CAUSE), placed.fields, frame, top=placed.first - 1)
    sheet.fit_to_pages(1, 0)
    return table


def _draw(book: Book, sheet: Any, counts: Placed, most: Any) -> None:
    """Bars side on, the most frequent cause on top, each cut by how sure the cause is."""
    chart = book.workbook.add_chart({"type": "bar", "subtype": "stacked"})
    for word in CERTAINTY:
        ink = "#FFFFFF" if word == "proved" else "#000000"
        chart.add_series(
            {
                "name": word,
                "categories": f"={counts.range('Cause')}",
                "values": f"={counts.range(word.capitalize())}",
                # A label for what there is: the third part of the format, for zero, is empty.
                "data_labels": {"value": True, "num_format": "#,##0;;", "font": {**_FONT, "color": ink}},
                "fill": {"color": _INK[word]},
                "border": {"color": "#1F3864", "width": 0.75},
                "gap": 50,
            }
        )
    chart.set_title({"name": "Breaks by cause", "overlay": False, "name_font": _TITLE_FONT})
    chart.set_y_axis({**_BARE, "reverse": True, "num_font": _FONT, "major_gridlines": {"visible": False}})
    axis = {"name": "Parts of breaks", "name_font": _FONT, "num_font": _FONT, "num_format": "#,##0", "min": 0}
    chart.set_x_axis(
        {**axis, "major_gridlines": _GRID, "label_position": "high", **_BARE, "major_unit": -(-most // _STEPS)}
    )
    chart.set_legend({"position": "bottom", "font": _FONT})
    chart.set_size({"width": _WIDTH, "height": _height(counts.last - counts.first + 1)})
    said = "Number of parts of breaks by cause, cut by how sure it is; the table below has the figures."
    sheet.insert_chart(2, 0, chart, {"x_offset": 4, "object_position": 3, "description": said})


def _height(causes: int) -> int:
    return 150 + 30 * causes
