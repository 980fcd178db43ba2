"""Breaks by age: how many are in each band of age, open or settled, live from the sheet Breaks."""

from dataclasses import replace

import polars as pl

from ledger.reconciliation.columns import SETTLED
from reports.cells.fields import Field, Placed, Tables
from reports.charts.bars import Bars
from reports.sheets.checks import HERE
from reports.sheets.reconciliation_reviews import AGE_BAND, age_band, bands

BY_AGE = "Breaks by age"
_SERIES = {"Open, material": "#1F3864", "Open, other": "#8EA9DB", "Settled": "#FFFFFF"}
_NOT_SETTLED = tuple(("Status", f'"<>{word}"') for word in SETTLED)
_IS_MATERIAL, _IS_OTHER = ("Material", '"yes"'), ("Material", '"<>yes"')


def age_counts(breaks: pl.DataFrame) -> pl.DataFrame:
    """One row per band of age, the youngest first: band, formula, breaks, material, open_material, open_other, settled.

    `breaks` are those `numbered`, with `days_open`, `status` and `material`.
    """
    is_open, material = ~pl.col("status").cast(pl.String).is_in(SETTLED), pl.col("material")
    counted = (
        breaks.group_by(band=age_band("").values)
        .agg(
            breaks=pl.len(),
            material=material.sum(),
            open_material=(is_open & material).sum(),
            open_other=(is_open & ~material).sum(),
            settled=(~is_open).sum(),
        )
        .cast({pl.UInt32: pl.Int64})
    )
    return (
        bands().join(counted, on="band", how="left", maintain_order="left").with_columns(pl.col(pl.Int64).fill_null(0))
    )


def age_fields(breaks: Tables) -> tuple[Field, ...]:
    """The fields of the counts of the breaks that stand at `breaks`, whose first column has the bands of age."""
    band = Field(
        AGE_BAND,
        "text",
        pl.col("band"),
        "",
        "Days open; the limits of the bands are on the sheet Parameters.",
        HERE,
        formulas=tuple(bands()["formula"]),
        words="words of the limits",
    )
    open_words = "neither accepted nor corrected"
    return (
        band,
        _counted("Breaks", "breaks", "Breaks of this age.", breaks, [()]),
        _counted("Material", "material", "Material breaks among them.", breaks, [(_IS_MATERIAL,)]),
        _counted(
            "Open, material", "open_material", f"Material, and {open_words}.", breaks, [(*_NOT_SETTLED, _IS_MATERIAL)]
        ),
        _counted("Open, other", "open_other", f"Not material, {open_words}.", breaks, [(*_NOT_SETTLED, _IS_OTHER)]),
        _counted(
            "Settled", "settled", "Accepted or corrected.", breaks, [(("Status", f'"{word}"'),) for word in SETTLED]
        ),
    )


def age_bars(counts: pl.DataFrame, width: int, height: int) -> Bars:
    """What the chart of the counts shows."""
    most: int = counts.select(pl.col("breaks").max()).item()
    said = "Number of breaks by age, open and material, open and not, settled; the table below has the figures."
    return Bars(BY_AGE, AGE_BAND, _SERIES, max(1, most), "Breaks", said, width, height)


def age_line(ages: Placed, counts: pl.DataFrame, breaks: Tables) -> pl.DataFrame:
    """The line that ties the breaks counted by age to all of them, as `tie_out_lines` gives them."""
    total = str(sum(frame["days_open"].count() for _, frame in breaks))
    line = {
        "sheet": ages.sheet,
        "column": "Breaks by age, against the rows of the sheet Breaks",
        "formula": f"SUM({ages.range('Breaks')})",
        "added": float(counts["breaks"].sum()),
        "total": total,
        "scale": total,
    }
    return pl.DataFrame([line])


def _counted(heading: str, name: str, meaning: str, breaks: Tables, asked: list[tuple[tuple[str, str], ...]]) -> Field:
    """The field that counts the breaks of a band which meet one of the criteria."""
    formulas = []
    for criteria in asked:
        for placed, _ in breaks:
            wanted = ((AGE_BAND, "A{row}"), *criteria)
            formulas.append(f"COUNTIFS({','.join(f'{placed.range(column)},{word}' for column, word in wanted)})")
    words = f"COUNTIFS({heading.lower()} breaks of the band)" if heading != "Breaks" else "COUNTIFS(breaks of the band)"
    one = Field(heading, "count", pl.col(name), "breaks", meaning, HERE)
    return replace(one, formula="+".join(formulas), words=words)
