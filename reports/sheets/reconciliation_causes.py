"""The sheet Breaks by cause: charts of how often each cause is named and how old breaks are, and the counts below."""

import polars as pl

from ledger.reconciliation.columns import CAUSES, CERTAINTY
from reports.cells.by_group import table_name
from reports.cells.fields import Field, Placed, Tables
from reports.cells.tables import Book, fit_columns, write_table
from reports.charts.bars import ROW_PIXELS, Bars, draw_bars, height_of
from reports.sheets.checks import HERE
from reports.sheets.reconciliation_ages import BY_AGE, age_bars

BY_CAUSE = "Breaks by cause"
_WIDTH, _AGES_WIDTH, _APART = 640, 470, 14
"""Pixels of the two charts, side by side, and between them."""
_INK = {"proved": "#1F3864", "fits": "#8EA9DB", "guessed": "#F8CBAD", "ambiguous": "#FFE699", "unexplained": "#FFFFFF"}
"""From dark to light, so that they differ in print too."""
_AGES_MIN = 5
"""Bars for which both charts have room: there are four bands of age."""
_ABOUT_AGES = "Breaks by age, live from the sheet Breaks: settled is what reviewers accepted or corrected"
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
    """The row (from 1) where the table begins: below the charts of so many causes, and of ages."""
    return 4 - -_height(causes) // ROW_PIXELS


def write_by_cause(book: Book, frame: pl.DataFrame, placed: Placed, ages: Tables = ()) -> Placed:
    """Write the sheet: the charts, the counts by cause at `placed`, and those by age at `ages`."""
    sheet = book.sheet(BY_CAUSE)
    fit_columns(sheet, placed.fields, frame)
    book.title(sheet, BY_CAUSE, _NOTE)
    height = _height(frame.height)
    draw_bars(book, sheet, placed, _bars(frame, height), left=4)
    table = write_table(book, sheet, table_name(BY_CAUSE), placed.fields, frame, top=placed.first - 1)
    for counted, counts in ages:
        draw_bars(book, sheet, counted, age_bars(counts, _AGES_WIDTH, height), left=4 + _WIDTH + _APART)
        book.text(sheet, counted.first - 4, 0, _ABOUT_AGES, bold=True, font_size=12)
        write_table(book, sheet, table_name(BY_AGE), counted.fields, counts, top=counted.first - 1)
    sheet.fit_to_pages(1, 0)
    return table


def _bars(counts: pl.DataFrame, height: int) -> Bars:
    """The most frequent cause on top, each cut by how sure it is."""
    series = {word.capitalize(): _INK[word] for word in CERTAINTY}
    said = "Number of parts of breaks by cause, cut by how sure it is; the table below has the figures."
    most: int = counts.select(pl.col("parts").max()).item()
    return Bars(BY_CAUSE, "Cause", series, most, "Parts of breaks", said, _WIDTH, height)


def _height(causes: int) -> int:
    return height_of(max(causes, _AGES_MIN))
