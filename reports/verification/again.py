"""The workbook made again from the frames of its run, and held against the saved one cell by cell."""

import re
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl

from ledger.refusals import LedgerError
from reports.detail import DETAIL_ROWS
from reports.frames import read_frames
from reports.sheets.reference import VERSION, program_version
from reports.verification.cells import open_book
from reports.verification.results import Result, finding, found, judged, nothing, value
from reports.verification.rounding import rounded
from reports.verification.sheets import Sheets
from reports.verification.xml import CELLS
from reports.workbook import write_workbook

FRAMES = "frames"
_PLAIN_NAME = r"'([A-Za-z]+)'!"
"""Some programs write the quotes of a sheet's name that needs none, some do not."""
_LIMIT = "detail_rows"


def made_again(sheets: Sheets, frames: Path) -> Result:
    """Every formula, number and text against those of the workbook that the frames give; entries are left out.

    Raises LedgerError where the folder has no frames of a run.
    """
    with TemporaryDirectory(prefix="verify-") as folder:
        path = Path(folder) / sheets.book.path.name
        write_workbook(read_frames(frames), path, _detail_rows(sheets))
        again = open_book(path)
        findings, compared = [nothing()], 0
        for sheet in again.sheets:
            if sheet not in sheets.book.sheets:
                findings.append(finding(FRAMES, "the sheet is missing", sheet))
                continue
            made = pl.concat([pl.DataFrame(schema=CELLS), *again.cells(sheet)])
            compared += made.height
            findings.append(_apart(sheets, sheet, made))
    told = f"{compared:,} cells against the workbook made again from {frames}"
    return judged(FRAMES, told + _other_version(sheets), pl.concat(findings))


def _other_version(sheets: Sheets) -> str:
    """That another version of this program wrote the workbook, if so."""
    written = _parameter(sheets, VERSION)
    if written == program_version():
        return ""
    return f"; version {written or 'unknown'} wrote it, and this is {program_version()}: words may have changed"


def _parameter(sheets: Sheets, name: str) -> str | None:
    """The value of a parameter, as text."""
    parameters = sheets.table("Parameters")
    values = parameters.filter(pl.col("Name") == name)["Value"].to_list() if parameters.height else []
    return str(values[0]) if values else None


def _detail_rows(sheets: Sheets) -> int:
    """The limit that the workbook was made with."""
    limit = _parameter(sheets, _LIMIT)
    if limit is not None and not re.fullmatch("[0-9]{1,18}", limit):
        raise LedgerError(f"{sheets.book.path}: Parameters, {_LIMIT}: {limit!r} is no number of rows")
    return DETAIL_ROWS if limit is None else int(limit)


def _apart(sheets: Sheets, sheet: str, made: pl.DataFrame) -> pl.DataFrame:
    """Cells of a sheet that are not those of the one made again."""
    saved = sheets.scan(sheet).collect()
    both = saved.join(made, on=["row", "column"], how="full", coalesce=True, suffix="_made")
    formulas = [pl.col(name).str.replace_all(_PLAIN_NAME, "${1}!") for name in ("formula", "formula_made")]
    same_formula = formulas[0].eq_missing(formulas[1])
    same_text = pl.col("text").fill_null("") == pl.col("text_made").fill_null("")
    no_number = pl.col("number").is_null() & pl.col("number_made").is_null()
    is_near = ((pl.col("number") - pl.col("number_made")).abs() <= rounded(pl.col("number_made"))).fill_null(False)
    # What a formula comes to is proved by recalculation; it may follow from what a reviewer has entered.
    is_same = pl.col("formula").is_not_null() | (same_text & (no_number | is_near))
    is_entry = pl.col("is_open_made").fill_null(False)
    wrong = both.filter(is_entry.not_() & (same_formula & is_same).not_())
    expected = pl.when(same_formula).then(value("text_made", "number_made"))
    formula = pl.concat_str(pl.lit("="), "formula_made").fill_null("no formula")
    return found(wrong, FRAMES, sheet, "not what the frames give", expected=expected.otherwise(formula))
