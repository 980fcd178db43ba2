"""Proving a workbook, as it was written or as a reviewer saved it again.

    read the cells, recalculate a copy -> of each sheet: recalculated, engine, formulas
                                       -> of the whole: sheets, exact texts, inputs, files beside, result, frames

Each step says what it proved and names every cell that disagrees.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl

from ledger.progress import Progress, silent
from ledger.refusals import LedgerError
from reports import libreoffice
from reports.cells.fields import without_number
from reports.sheets.about import SHEETS
from reports.verification.again import made_again
from reports.verification.cells import SavedBook, open_book
from reports.verification.checks import (
    ENGINE,
    FORMULAS,
    RECALCULATED,
    consistent,
    engine,
    recalculated,
)
from reports.verification.formulas import forms
from reports.verification.inputs import beside, inputs
from reports.verification.results import Result, finding, judged, noted, nothing, together
from reports.verification.sheets import Sheets, find_tables
from reports.verification.told import front, glossary
from reports.verification.totals import master, tied_out

_SHEETS = "sheets"
_NOT_PROVED = "texts, recorded times and recorded counts: --frames DIR holds them against the frames of the run"
_ALWAYS = ("About", "Sign-off")
"""Sheets that have no table and need none."""


@dataclass(frozen=True)
class Verification:
    """What was found of one workbook."""

    path: Path
    results: tuple[Result, ...]

    @property
    def findings(self) -> pl.DataFrame:
        """Every cell that disagrees (columns FINDINGS)."""
        return pl.concat([nothing(), *(one.findings for one in self.results)])


def verify(
    books: Sequence[Path], folder: Path | None = None, frames: Path | None = None, progress: Progress = silent
) -> list[Verification]:
    """Verify workbooks; all of them are recalculated in one run of LibreOffice, while they are read.

    `folder` has inputs that are not where they were, `frames` is the folder of the run that the workbook was made of.
    Raises LedgerError where a file is no workbook of this tool or cannot be read, or LibreOffice is not installed.
    """
    saved = [open_book(path) for path in books]
    with TemporaryDirectory(prefix="verify-") as work, ThreadPoolExecutor(1) as background:
        copies = background.submit(_recalculated, books, Path(work))
        read = [_read(one, Path(work) / str(number), progress) for number, one in enumerate(saved)]
        again = copies.result()
        return [_verified(sheets, other, folder, frames, progress) for sheets, other in zip(read, again, strict=True)]


def _recalculated(books: Sequence[Path], work: Path) -> list[SavedBook]:
    """Copies of the workbooks, recalculated; named by number, as two of them may have the same name."""
    copies = [work / f"{number}.xlsx" for number in range(len(books))]
    for copy, path in zip(copies, books, strict=True):
        copy.symlink_to(path.resolve())
    try:
        return [open_book(path) for path in libreoffice.convert(copies, "xlsx", work / "recalculated")]
    except FileNotFoundError as error:
        problem = "LibreOffice (soffice) is not installed, and nothing else recalculates a workbook"
        raise LedgerError(f"{problem}; on Debian it is the package libreoffice-calc-nogui") from error
    except RuntimeError as error:
        raise LedgerError(str(error)) from error


def _read(book: SavedBook, folder: Path, progress: Progress) -> Sheets:
    """The cells of a workbook."""
    folder.mkdir()
    sheets = Sheets(book, folder)
    for number, sheet in enumerate(book.sheets):
        sheets.keep(sheet)
        progress(f"read {book.path.name}", number + 1, len(book.sheets))
    return sheets


def _verified(
    sheets: Sheets, again: SavedBook, folder: Path | None, frames: Path | None, progress: Progress
) -> Verification:
    """The results of one workbook."""
    for sheet in sheets.book.sheets:
        sheets.keep_recalculated(sheet, again)
    tables, missing = find_tables(sheets)
    sheets.take_tables(tables)
    results = [
        *_of_each_sheet(sheets, progress),
        _all_there(sheets, missing),
        glossary(sheets),
        front(sheets),
        tied_out(sheets),
        inputs(sheets, folder),
        beside(sheets),
        master(sheets),
        made_again(sheets, frames) if frames is not None else noted("not proved", _NOT_PROVED),
    ]
    sheets.release()
    return Verification(sheets.book.path, tuple(one for one in results if one is not None))


def _of_each_sheet(sheets: Sheets, progress: Progress) -> list[Result]:
    """What is proved sheet by sheet; causes come before what follows from them. Sheets of others are left alone."""
    own = [sheet for sheet in sheets.book.sheets if _is_ours(sheet)]
    findings: dict[str, list[pl.DataFrame]] = {FORMULAS: [nothing()], ENGINE: [nothing()], RECALCULATED: [nothing()]}
    formulas, amounts = 0, 0
    for number, sheet in enumerate(own):
        cells = forms(sheets.formulas(sheet))
        apart, compared = engine(sheets, sheet)
        findings[RECALCULATED].append(recalculated(sheets, sheet, cells.drop("skeleton", "refs", "form")))
        findings[ENGINE].append(apart)
        findings[FORMULAS].append(consistent(sheets, sheet, cells))
        sheets.forget()
        formulas, amounts = formulas + cells.height, amounts + compared
        progress(f"verify {sheets.book.path.name}", number + 1, len(own))
    for part in sheets.book.outside:
        findings[FORMULAS].append(finding(FORMULAS, f"the workbook leads outside, or runs a program: {part}"))
    told = {
        RECALCULATED: f"saved values of {formulas:,} formulas, against what LibreOffice computes, to 15 digits",
        ENGINE: f"{amounts:,} numbers against the exact amounts beside them, to 15 digits",
        FORMULAS: "one formula per column, where the Glossary says so, of the functions allowed",
    }
    return [judged(check, told[check], together(parts)) for check, parts in findings.items()]


def _all_there(sheets: Sheets, missing: Sequence[str]) -> Result:
    """Whether every sheet is there that the workbook tells of; sheets that a reviewer has added are named."""
    listed = (
        sheets.cells("About", [1])["text"].drop_nulls()
        if "About" in sheets.book.sheets
        else pl.Series([], dtype=pl.String)
    )
    gone = [name for name in listed if without_number(name) in SHEETS and name not in sheets.book.sheets]
    said = [f"The sheet {name} is missing, or has another name; About lists it." for name in dict.fromkeys(gone)]
    findings = [nothing(), *(finding(_SHEETS, problem) for problem in dict.fromkeys([*said, *missing]))]
    findings += [finding(_SHEETS, f"the sheet {name} is hidden", name) for name in sheets.book.hidden if _is_ours(name)]
    added = [sheet for sheet in sheets.book.sheets if not _is_ours(sheet)]
    told = f"{len(sheets.book.sheets) - len(added)} sheets and their tables are there"
    if added:
        told += f"; not of this tool, and not verified: {', '.join(added)}"
    return judged(_SHEETS, told, together(findings))


def _is_ours(sheet: str) -> bool:
    return sheet in _ALWAYS or without_number(sheet) in SHEETS
