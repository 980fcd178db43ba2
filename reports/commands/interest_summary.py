"""What comparing or identifying interest says on the terminal."""

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import polars as pl
from rich.table import Table
from rich.text import Text

from ledger.explain import plain, read_frame
from ledger.interest.identification import Identified
from reports.commands.summary import rendered

_SHOWN = 20
_VALUES = 4
"""Values of a property that are shown, of each verdict; `--out` writes all of them."""


def comparison_told(folder: Path) -> Iterator[str]:
    """Lines about the frames interest and interest_causes in a folder."""
    interest, causes = (read_frame(folder, name).collect() for name in ("interest", "interest_causes"))
    yield from differences_told(interest, causes)
    yield f"Every charge: {folder}/interest, every cause: {folder}/interest_causes"


def identified_told(found: Identified) -> Iterator[str]:
    """Lines about the values that explain the rows, and about what is left."""
    table = Table("property", "value", "rows explained", "of", "", title="How interest was charged")
    for (name,), fits in found.fits.group_by("property", maintain_order=True):
        shown = fits.filter(pl.int_range(pl.len()).over("verdict") < _VALUES)
        for row in shown.iter_rows(named=True):
            cells = (str(name), row["value"], f"{row['explained']:,}", f"{row['tested']:,}", row["verdict"])
            table.add_row(*(Text(cell) for cell in cells))
        table.add_section()
    yield from rendered(table)
    yield "In words: " + "; ".join(_sentences(found.fits)) + "."
    yield from differences_told(found.comparison.interest, found.comparison.causes)


def _sentences(fits: pl.DataFrame) -> Iterator[str]:
    """One sentence for each property: its best value, the values that tie, or that nothing tells."""
    for (name,), values in fits.group_by("property", maintain_order=True):
        best = values.filter(pl.col("verdict").is_in(["best", "tied"]))
        if best.is_empty():
            yield f"{name}: no value explains a row" if values["tested"].sum() else f"{name}: no row can tell"
            continue
        count = f"{best['explained'][0]:,} of {best['tested'][0]:,}"
        if best.height == 1:
            yield f"{name}: {best['value'][0]} ({count})"
        else:
            more = f" and {best.height - _VALUES} more" if best.height > _VALUES else ""
            names = " / ".join(best["value"].head(_VALUES))
            yield f"{name}: cannot be told, {names}{more} explain the same number ({count})"


def differences_told(interest: pl.DataFrame, causes: pl.DataFrame) -> Iterator[str]:
    """Lines about the frames INTEREST and INTEREST_CAUSES: how many charges agree, the sums, and why they differ."""
    counts = dict(interest["status"].value_counts().rows())
    agree = counts.pop("agrees", 0)
    parts = [f"{agree:,} agree", *(f"{number:,} {status}" for status, number in counts.items())]
    yield f"{interest.height:,} charge{'s' * (interest.height != 1)}: {', '.join(parts)}"
    compared = interest.filter(pl.col("status") != "accrued")
    totals = compared.group_by("currency", maintain_order=True).agg(pl.col("charged", "computed", "difference").sum())
    table = Table("currency", "charged", "computed", "difference", title="Interest")
    for row in totals.iter_rows(named=True):
        table.add_row(
            row["currency"], *(plain(row[name] or Decimal(0)) for name in ("charged", "computed", "difference"))
        )
    yield from rendered(table)
    # What is unexplained has its line wherever something differs.
    found = causes.filter((pl.col("amount") != 0).any().over("position", "currency"))
    if found.height:
        yield from rendered(_causes(found))


def _causes(causes: pl.DataFrame) -> Table:
    caption = f"first {_SHOWN} of {causes.height:,}" if causes.height > _SHOWN else None
    table = Table("position", "cause", "charges", "amount", "", "first", title="Why they differ", caption=caption)
    for row in causes.head(_SHOWN).iter_rows(named=True):
        first = f"{row['first_time']:%Y-%m-%d %H:%M}" if row["first_time"] else ""
        cells = (row["position"], row["cause"], f"{row['charges']:,}", plain(row["amount"]), row["currency"], first)
        table.add_row(*(Text(cell) for cell in cells))
    return table
