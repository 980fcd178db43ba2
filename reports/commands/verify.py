"""The command `margin-ledger verify`: proves workbooks, and names every cell that disagrees."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from reports.commands.terminal import BAD_INPUT, BREAKS, FILE, OK, errors_told, progress_told

if TYPE_CHECKING:
    from ledger.refusals import LedgerError
    from reports.verification.run import Verification

_TOGETHER = 20
"""Workbooks that one run of LibreOffice recalculates."""
_SHOWN = 20
"""Cells named on the terminal for each workbook; --out writes all."""


@click.command()
@click.argument("books", nargs=-1, required=True, type=FILE, metavar="OUT.xlsx...")
@click.option("--inputs", type=FILE, metavar="DIR", help="Folder of the inputs, if they are not where they were.")
@click.option(
    "--frames", type=FILE, metavar="DIR", help="Folder of the run: make the workbook again, compare all cells."
)
@click.option("--out", type=FILE, metavar="CELLS.csv", help="Write every cell that disagrees to this file.")
def verify(books: tuple[Path, ...], inputs: Path | None, frames: Path | None, out: Path | None) -> None:
    """Prove workbooks, as they were written or as Excel or LibreOffice saved them again.

    \b
    recalculated  every saved value is what LibreOffice computes, to 15 digits
    engine        every number is the exact amount beside it, to 15 digits
    formulas      one formula per column, of the functions allowed; no constant typed over one
    sheets        every sheet and table is there
    glossary      it says of every column what this program says of it
    front pages   what About and Sign-off show are formulas
    exact texts   added up again, they come to the engine's totals
    inputs        the input files at hand are those that were read; files beside the workbook are there
    result        the master check says what its lines say
    frames        with --frames: every cell is that of the workbook made again from the frames

    \b
    Examples:
      margin-ledger verify books.xlsx
      margin-ledger verify books.xlsx reviewed.xlsx --inputs exports --out cells.csv
      margin-ledger verify books.xlsx --frames books

    Exit codes: 0 verified, 1 something disagrees, 2 not a workbook of this tool, damaged, or no LibreOffice.
    """
    with errors_told(None):
        from ledger.refusals import LedgerError

        if frames is not None and len(books) > 1:
            raise LedgerError("--frames: give the one workbook that was made of this folder")
        for folder in (inputs, frames):
            if folder is not None and not folder.is_dir():
                raise LedgerError(f"{folder}: there is no such folder")
        if out is not None and not out.parent.is_dir():
            raise LedgerError(f"{out}: cannot be written (there is no folder {out.parent})")
        found, worst = list["Verification"](), OK
        for start in range(0, len(books), _TOGETHER):
            for one in _each(books[start : start + _TOGETHER], inputs, frames):
                if isinstance(one, LedgerError):
                    click.echo(f"Error: {one}", err=True)
                    worst = BAD_INPUT
                    continue
                _tell(one)
                found.append(one)
                worst = max(worst, BREAKS if one.findings.height else OK)
        if out is not None:
            _write(found, out)
        sys.exit(worst)


def _each(books: Sequence[Path], inputs: Path | None, frames: Path | None) -> "Iterator[Verification | LedgerError]":
    """What is found of each workbook, or why it cannot be read: then the others are verified all the same."""
    from ledger.refusals import LedgerError
    from reports.verification.run import verify as verified

    try:
        with progress_told() as progress:
            found = verified(books, inputs, frames, progress)
    except LedgerError as error:
        if len(books) == 1:
            yield error
            return
        for book in books:
            yield from _each([book], inputs, frames)
        return
    yield from found


def _tell(one: "Verification") -> None:
    """A line per check, then the cells that disagree."""
    click.echo(str(one.path))
    for result in one.results:
        click.echo(f"  {result.outcome:4}  {result.check:12}  {result.told}")
    for row in one.findings.head(_SHOWN).iter_rows(named=True):
        place = f"{row['sheet']}!{row['cell']}" if row["sheet"] and row["cell"] else row["sheet"] or row["check"]
        details = [
            f"saved {row['saved']}" if row["saved"] else "",
            f"{_EXPECTED.get(row['check'], 'expected')} {row['expected']}" if row["expected"] else "",
            f"formula {row['formula']}" if row["formula"] else "",
        ]
        said = ", ".join(detail for detail in details if detail)
        click.echo(f"    {place}: {said}: {row['problem']}" if said else f"    {place}: {row['problem']}")
    rest = one.findings.height - _SHOWN
    if rest > 0:
        click.echo(f"    ... and {rest:,} more; --out CELLS.csv writes them all.")


_EXPECTED = {"recalculated": "recalculated", "engine": "exact", "formulas": "column"}


def _write(found: "Sequence[Verification]", out: Path) -> None:
    """All findings as CSV; the file appears when it is complete."""
    import polars as pl

    from reports.verification.results import FINDINGS

    none = pl.DataFrame(schema={"workbook": pl.String, **FINDINGS})
    named = [one.findings.select(pl.lit(str(one.path)).alias("workbook"), pl.all()) for one in found]
    cells = pl.concat([none, *named])
    draft = out.with_name(f".{out.name}.draft")
    try:
        cells.write_csv(draft)
        draft.replace(out)
    finally:
        draft.unlink(missing_ok=True)
    click.echo(f"All cells that disagree: {out}")
