"""The tie-out added up again from the exact texts, and the one result over all."""

import re
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

import polars as pl
from openpyxl.utils import get_column_letter  # type: ignore[import-untyped]

from ledger.money import MONEY
from reports.cells.fields import without_number
from reports.sheets.checks import exact_total
from reports.verification.model import model, plain
from reports.verification.results import FAIL, NOTE, OK, Result, finding, judged, nothing, together
from reports.verification.sheets import EXACT_HEADING, EXACT_TEXT, Sheets

EXACT, MASTER = "exact texts", "result"
_AGAINST = re.compile(r"^.+, against the (differences|rows) of the sheet (.+)$")
_MEANT = {"differences": "Difference", "rows": "rows"}
_TIE_OUT, _COUNTED, _BESIDE = "Checks, tie-out", "Manifest, sheets", "Manifest, totals"
_SUM_COLUMN = 3
_BY_AGE = "Breaks by age"
ROWS = "rows"
_EXCHANGE = "exchange_agrees"
_RESULTS = (("Checks", "Result"), (_TIE_OUT, "Tied out"))
_MASTER_ROW, _MASTER_COLUMN = 3, 2


def tied_out(sheets: Sheets) -> Result:
    """Every line of the tie-out against the exact texts of its sheet, or of all parts of it, and against its rows."""
    lines = sheets.table(_TIE_OUT)
    if lines.is_empty():
        return judged(EXACT, "there is no tie-out", finding(EXACT, "the tie-out is missing", "Checks"))
    made = sheets.formulas("Checks").filter(pl.col("column") == _SUM_COLUMN)
    formulas = dict(made.select("row", "formula").iter_rows())
    findings, others, readded = [_missing_lines(sheets, lines), _other_counts(sheets)], 0, 0
    for line in lines.iter_rows(named=True):
        sheet, column, total = (line[name] or "" for name in ("Sheet", "Column", "Engine's total (exact)"))
        expected = _sum_of(sheets, sheet, column)
        findings.append(_other_sum(formulas.get(line["row"]), expected, f"C{line['row']}"))
        again = _readded(sheets, sheet, column)
        if again is None:
            # Rows in files beside the workbook are added up there; some columns have no exact texts, but a sum.
            others += 1
            if expected is None:
                problem = f"nothing in this workbook adds up to the line {sheet}, {column}"
                findings.append(finding(EXACT, problem, "Checks", f"B{line['row']}"))
            continue
        readded += 1
        if not _is_same(again, total):
            problem = f"the exact texts of {sheet}, {column}, do not come to the engine's total"
            findings.append(finding(EXACT, problem, "Checks", f"F{line['row']}", total, again))
    told = f"{readded:,} totals of the engine added up again from exact texts and rows"
    if others:
        told += f"; {others:,} more have no exact texts on a sheet"
    return judged(EXACT, told, together(findings))


def _missing_lines(sheets: Sheets, lines: pl.DataFrame) -> pl.DataFrame:
    """A finding for each column of a sheet that this program ties out, and the tie-out does not."""
    there = set(lines.select("Sheet", "Column").iter_rows())
    findings = list[pl.DataFrame]()
    for base, columns in model().tied.items():
        for name in sheets.book.sheets:
            if base not in (name, without_number(name)):
                continue
            headings = {ROWS, *(one["heading"] for one in sheets.first_tables(name))}
            wanted = {(sheet, column) for sheet in (name, base) for column in columns if column in headings}
            findings += [
                finding(EXACT, f"the tie-out has no line {sheet}, {column}", "Checks")
                for sheet, column in sorted(wanted - there)
            ]
    return together(findings)


def _other_counts(sheets: Sheets) -> pl.DataFrame:
    """Findings where Manifest counts other rows than those of the sheet that it names."""
    columns = sheets.tables.filter((pl.col("table") == _COUNTED) & (pl.col("heading") == "Rows on the sheet"))
    if columns.is_empty():
        return nothing()
    sheet, column = columns.select("sheet", "column").row(0)
    made = sheets.formulas(sheet).filter(pl.col("column") == column)
    formulas = dict(made.select("row", "formula").iter_rows())
    letter = get_column_letter(column)
    # The first line of a sheet counts its first table, a further one another table.
    lines = sheets.table(_COUNTED).filter(pl.col("Number") == pl.col("Number").first().over("Sheet"))
    return together(
        _other_sum(formulas.get(row), _sum_of(sheets, name, ROWS), f"{letter}{row}", sheet)
        for row, name in lines.select("row", "Sheet").iter_rows()
        if name in sheets.book.sheets
    )


def _other_sum(formula: str | None, expected: str | None, cell: str, sheet: str = "Checks") -> pl.DataFrame:
    """A finding where the formula of a sum is not the sum of what its line names, and that can be told."""
    if expected is None or (formula is not None and plain(formula) == plain(expected)):
        return nothing()
    problem = "not the sum of what the line names"
    return finding(EXACT, problem, sheet, cell, f"={formula}" if formula else "no formula", f"={expected}")


def _sum_of(sheets: Sheets, sheet: str, column: str) -> str | None:
    """The formula that adds up what a line of the tie-out names; None where it is of another kind."""
    heading = column.split(", against ", maxsplit=1)[0]
    if column.startswith(_BY_AGE):
        by_age = (pl.col("table") == f"{sheet}, by age") & (pl.col("heading") == "Breaks")
        columns = list[Mapping[str, Any]](sheets.tables.filter(by_age).iter_rows(named=True))
    else:
        # What is held against another sheet is the sum of all parts of this one.
        columns = sheets.first_tables(sheet if heading == column else without_number(sheet))
        columns = [one for one in columns if (one["column"] == 1 if column == ROWS else one["heading"] == heading)]
    if not columns:
        return _line_beside(sheets, sheet, column)
    if any(one["last"] < one["first"] for one in columns):
        return None
    ranges = [
        f"'{one['sheet']}'!${letter}${one['first']}:${letter}${one['last']}"
        for one in columns
        for letter in (get_column_letter(one["column"]),)
    ]
    return "+".join(f'COUNTIFS({one},"<>")' if column == ROWS else f"SUM({one})" for one in ranges)


def _line_beside(sheets: Sheets, sheet: str, column: str) -> str | None:
    """The cell of Manifest with a total of a file beside the workbook."""
    totals = sheets.table(_BESIDE)
    if totals.is_empty():
        return None
    line = totals.filter((pl.col("Part") == sheet) & (pl.col("Column") == column))
    letter = get_column_letter(totals.columns.index("Total"))
    return f"'Manifest'!{letter}{line['row'][0]}" if line.height else None


def _readded(sheets: Sheets, sheet: str, column: str) -> str | None:
    """What a line of the tie-out must come to, as text; None where that is not a sum of one column."""
    against = _AGAINST.match(column)
    if against:
        sheet, column = against.group(2), _MEANT[against.group(1)]
    columns = sheets.first_tables(sheet)
    if not columns:
        return None
    if column == ROWS:
        return str(sum(one["last"] + 1 - one["first"] for one in columns if one["column"] == 1))
    parts = [one for one in columns if one["heading"] == column + EXACT_HEADING]
    if not parts:
        return None
    return exact_total(pl.concat([_amounts(sheets, **part) for part in parts]))


def _amounts(sheets: Sheets, sheet: str, column: int, first: int, last: int, **_: object) -> pl.Series:
    """The exact texts of a column as money; what is no amount is left out, as it is named elsewhere."""
    cells = sheets.cells(sheet, [column]).filter(pl.col("row").is_between(first, last))
    return cells.filter(pl.col("text").str.contains(EXACT_TEXT))["text"].cast(MONEY)


def _is_same(one: str, other: str) -> bool:
    try:
        return Decimal(one) == Decimal(other)
    except InvalidOperation:
        return False


def master(sheets: Sheets) -> Result:
    """Whether the master cell says what its lines say, and every sheet says what it says; FAIL in words is a note."""
    cell = sheets.cells("Checks", [_MASTER_COLUMN]).filter(pl.col("row") == _MASTER_ROW)
    said = cell["text"][0] if cell.height else None
    findings = list[pl.DataFrame]()
    if cell.is_empty() or cell["formula"][0] is None:
        findings.append(finding(MASTER, "the master check is no formula", "Checks", "B3", str(said), "a formula"))
    lines = [sheets.table(table) for table, _ in _RESULTS]
    results = [line[heading] for line, (_, heading) in zip(lines, _RESULTS, strict=True) if heading in line.columns]
    holds = OK if all(result.eq_missing(pl.Series([OK])).all() for result in results) else FAIL
    if said is not None and said != holds:
        findings.append(finding(MASTER, "not what the lines of Checks come to", "Checks", "B3", said, holds))
    findings += [_repeated(sheets, sheet, said) for sheet in sheets.book.sheets if sheet != "Checks"]
    findings.append(_denied(sheets))
    wrong = together(findings)
    if said is None:
        return Result(
            MASTER, NOTE if wrong.is_empty() else FAIL, "the workbook does not say: no value was saved", wrong
        )
    told = f"the workbook says {said} of all its checks"
    if wrong.is_empty() and said == FAIL:
        return Result(MASTER, NOTE, f"{told}: see the sheet Checks", wrong)
    return judged(MASTER, told, wrong)


def _denied(sheets: Sheets) -> pl.DataFrame:
    """A finding where there are breaks, and the check of the exchange's figures has no failures."""
    checks, breaks = sheets.table("Checks"), sheets.first_tables("Breaks")
    if checks.is_empty() or all(one["last"] < one["first"] for one in breaks):
        return nothing()
    line = checks.filter((pl.col("Check") == _EXCHANGE) & (pl.col("Failures").cast(pl.Float64, strict=False) == 0))
    problem = f"{_EXCHANGE} has no failures, and the sheet Breaks has rows"
    return finding(MASTER, problem, "Checks", f"row {line['row'][0]}", "0") if line.height else nothing()


def _repeated(sheets: Sheets, sheet: str, said: str | None) -> pl.DataFrame:
    """Cells of a sheet that show the master cell and say something else."""
    formulas = sheets.formulas(sheet)
    shows = formulas.filter(pl.col("formula").str.contains(r"^'?Checks'?!\$B\$3$") & pl.col("text").ne_missing(said))
    return together(
        finding(MASTER, "not what Checks!B3 says", sheet, f"row {row}", str(text), str(said))
        for row, text in shows.select("row", "text").iter_rows()
    )
