"""The files that a workbook names on Manifest: its inputs where they are at hand, and the files that belong to it."""

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import polars as pl

from ledger.money import MONEY
from reports.cells.fields import heading
from reports.sheets.checks import exact_total
from reports.verification.results import NOTE, Result, finding, judged, nothing, together
from reports.verification.sheets import Sheets

INPUTS, BESIDE = "inputs", "files beside"
_FACTS = {"File", "Bytes", "Rows", "SHA-256"}


def inputs(sheets: Sheets, folder: Path | None) -> Result:
    """Size and hash of each input that is at hand: where it was, beside the workbook, or in `folder`."""
    findings, absent, proved = [nothing()], list[str](), 0
    named = list(_files(sheets, "Input"))
    for one in named:
        problems = [_apart(path, one) for path in _at_hand(one["File"], sheets.book.path, folder)]
        if not problems:
            absent.append(one["File"])
        elif any(problem.is_empty() for problem in problems):
            proved += 1
        else:
            findings.append(problems[0])
    findings.append(_unnamed(sheets, {one["Input"] for one in named}))
    result = judged(INPUTS, f"{proved:,} of {len(named):,} input files are those that were read", together(findings))
    if not absent:
        return result
    told = f"{result.told}; not at hand: {', '.join(absent)} (--inputs DIR names their folder)"
    return Result(INPUTS, NOTE if result.findings.is_empty() else result.outcome, told, result.findings)


def _unnamed(sheets: Sheets, named: set[str]) -> pl.DataFrame:
    """A finding for each input that rows of a sheet are of, and that Manifest does not name."""
    columns = sheets.tables.filter(pl.col("heading") == "Input", pl.col("cells").is_not_null())
    findings = [nothing()]
    for sheet, column, first, last in columns.select("sheet", "column", "first", "last").iter_rows():
        cells = sheets.cells(sheet, [column]).filter(pl.col("row").is_between(first, last))
        read = cells["number"].drop_nulls().unique().sort().cast(pl.String)
        for number in read.filter(read.is_in(list(named)).not_()):
            findings.append(finding(INPUTS, f"rows of input {number.removesuffix('.0')}, which Manifest lacks", sheet))
    return together(findings)


def beside(sheets: Sheets) -> Result | None:
    """The files that belong to the workbook: there, as written, with the sums it says; None where there are none."""
    named = list(_files(sheets, "Part"))
    if not named:
        return None
    findings = [nothing()]
    for one in named:
        path = sheets.book.path.parent / Path(one["File"]).name
        if not path.is_file():
            problem = f"{path.name}: is missing; it has rows of {one['Part']} and belongs beside the workbook"
            findings.append(finding(BESIDE, problem, one["sheet"], f"row {one['row']}"))
            continue
        problems = _apart(path, one)
        findings += [problems, _sums(sheets, one["Part"], path, one["Rows"]) if problems.is_empty() else nothing()]
    return judged(BESIDE, f"{len(named):,} files beside the workbook, their rows and sums", together(findings))


def _files(sheets: Sheets, key: str) -> Iterator[dict[str, str]]:
    """The lines of the table of files that has the heading `key`, as text by heading, with the name of its sheet."""
    for (table,), columns in sheets.tables.group_by("table", maintain_order=True):
        if _FACTS | {key} <= set(columns["heading"]):
            for line in sheets.table(str(table)).iter_rows(named=True):
                yield {**{name: str(value or "") for name, value in line.items()}, "sheet": columns["sheet"][0]}


def _at_hand(name: str, book: Path, folder: Path | None) -> list[Path]:
    """The files of this name: as given, beside the workbook and in the folder, with their path there or without."""
    given = Path(name)
    near = [base / part for base in (book.parent, folder) if base is not None for part in (given, given.name)]
    return [path for path in (given, *near) if path.is_file()]


def _apart(path: Path, one: Mapping[str, str]) -> pl.DataFrame:
    """Size and hash of a file that are not those the workbook names."""
    with path.open("rb") as file:
        found = {"Bytes": float(path.stat().st_size), "SHA-256": hashlib.file_digest(file, "sha256").hexdigest()}
    named = {"Bytes": float(one["Bytes"] or "nan"), "SHA-256": one["SHA-256"]}
    if found == named:
        return nothing()
    check = INPUTS if "Input" in one else BESIDE
    what = "size" if found["Bytes"] != named["Bytes"] else "content"
    problem = f"{path}: is not the file that was read; its {what} is another"
    if check == BESIDE:
        problem = f"{path.name}: is not the file that was written with this workbook; its {what} is another"
    word = "Bytes" if what == "size" else "SHA-256"
    return finding(check, problem, one["sheet"], f"row {one['row']}", str(named[word]), str(found[word]))


def _sums(sheets: Sheets, part: str, path: Path, rows: str) -> pl.DataFrame:
    """Rows and sums of a file beside the workbook that are not those the workbook gives for its part."""
    frame = pl.scan_parquet(path)
    columns = {heading(name): name for name in frame.collect_schema().names()}
    height = frame.select(pl.len()).collect().item()
    findings = [nothing()]
    if height != float(rows or "nan"):
        findings.append(finding(BESIDE, f"{path.name}: has another number of rows", saved=rows, expected=str(height)))
    for line in _totals(sheets, part):
        name = columns.get(line["Column"])
        if name is None or line["Column"] == "rows":
            continue
        again = exact_total(frame.select(pl.col(name).cast(MONEY)).collect().to_series())
        if again != line["Total (exact)"]:
            problem = f"{path.name}: {line['Column']} does not come to the total that the workbook gives"
            findings.append(finding(BESIDE, problem, line["sheet"], f"row {line['row']}", line["Total (exact)"], again))
    return together(findings)


def _totals(sheets: Sheets, part: str) -> Iterator[dict[str, str]]:
    """The control totals of a part that stands beside the workbook."""
    for (table,), columns in sheets.tables.group_by("table", maintain_order=True):
        if {"Part", "Column", "Total (exact)"} <= set(columns["heading"]):
            for line in sheets.table(str(table)).filter(pl.col("Part") == part).iter_rows(named=True):
                yield {**{name: str(value or "") for name, value in line.items()}, "sheet": columns["sheet"][0]}
