"""What a workbook says of itself against what the code says: its Glossary, and the formulas of its front pages."""

import polars as pl

from reports.cells.fields import without_number
from reports.sheets.checks import MASTER
from reports.verification.model import ALWAYS, BY_CIRCUMSTANCES, model, plain
from reports.verification.results import Result, finding, judged, nothing, together
from reports.verification.sheets import Sheets, told_columns

GLOSSARY, FRONT = "glossary", "front pages"
_RESULT, _AREAS, _CONCLUSION = "Result of all checks", "Sheet by sheet", "Conclusion"


def glossary(sheets: Sheets) -> Result:
    """Each column that the Glossary tells of is one of the code's and is what the code says; none is left out."""
    told = told_columns(sheets)
    findings = [nothing()]
    for where, heading, cells in told.select("where", "heading", "cells").iter_rows():
        expected = model().cells.get(where, {}).get(heading)
        place = f"{where}: {heading}"
        if where not in model().cells or (where, heading) in BY_CIRCUMSTANCES:
            continue  # a sheet that only some runs have, such as Unclassified
        if expected is None:
            findings.append(finding(GLOSSARY, f"{place} is no column of this program", "Glossary"))
        elif cells not in expected:
            said = " or ".join(sorted(expected))
            findings.append(finding(GLOSSARY, f"{place} is told to be something else", "Glossary", "", cells, said))
    for where, columns in model().cells.items():
        known = told.filter(pl.col("where") == where)["heading"].to_list()
        findings += [_left_out(sheets, where, list(columns), known)]
    told_of = f"{told.height:,} columns that the Glossary tells of are what this program makes them"
    return judged(GLOSSARY, told_of, together(findings))


def _left_out(sheets: Sheets, where: str, headings: list[str], known: list[str]) -> pl.DataFrame:
    """Columns of a table that stand on its sheet, and of which the Glossary says nothing."""
    base = where.split(", ", maxsplit=1)[0]
    names = [name for name in sheets.book.sheets if without_number(name) == base]
    problem = f"the Glossary does not tell of {where}"
    if not known:
        is_wanted = bool(names) and (where == base or where in ALWAYS)
        is_there = any(_has_headings(sheets, name, headings[:2]) for name in names)
        return finding(GLOSSARY, problem, "Glossary") if is_wanted or is_there else nothing()
    rows = sheets.tables.filter((pl.col("table") == where) & pl.col("cells").is_not_null())
    findings = [nothing()]
    for sheet, first in rows.select("sheet", "first").unique().iter_rows():
        texts = sheets.scan(sheet).filter(pl.col("row") == first - 1).collect()["text"].to_list()
        gone = [heading for heading in headings if heading in texts and heading not in known]
        findings += [finding(GLOSSARY, f"{problem}: {heading}", sheet) for heading in gone]
    return together(findings)


def _has_headings(sheets: Sheets, sheet: str, headings: list[str]) -> bool:
    """Whether a row of the sheet begins with these headings."""
    begins = sheets.cells(sheet, [1, 2]).group_by("row", maintain_order=True).agg("text")
    return headings in begins["text"].to_list()


def front(sheets: Sheets) -> Result:
    """What About and Sign-off show are formulas that read the sheets: the master cell, every count, the verdict."""
    findings = [nothing(), *(_no_master(sheets, sheet) for sheet in ("About", "Sign-off"))]
    if "Sign-off" in sheets.book.sheets:
        findings.append(_no_counts(sheets))
    return judged(FRONT, "what About and Sign-off say are formulas that read the sheets", together(findings))


def _formulas(sheets: Sheets, sheet: str) -> tuple[dict[int, str], dict[tuple[int, int], str]]:
    """The texts of the first column by row, and all formulas by row and column."""
    cells = sheets.scan(sheet).collect()
    first = cells.filter(pl.col("column") == 1).select("row", pl.col("text").fill_null("")).iter_rows()
    live = cells.filter(pl.col("formula").is_not_null()).select("row", "column", "formula").iter_rows()
    return dict(first), {(row, column): formula for row, column, formula in live}


def _no_master(sheets: Sheets, sheet: str) -> pl.DataFrame:
    """A finding where a front page does not read the master cell beside the words for it."""
    if sheet not in sheets.book.sheets:
        return nothing()
    texts, formulas = _formulas(sheets, sheet)
    row = next((row for row, text in texts.items() if text == _RESULT), None)
    if row is None:
        return finding(FRONT, f"there is no line {_RESULT!r}", sheet)
    return _expect(formulas, sheet, row, "B", plain(MASTER), whole=True)


def _no_counts(sheets: Sheets) -> pl.DataFrame:
    """Findings where a count, a result or the verdict of the sign-off is no formula that reads what it should."""
    texts, formulas = _formulas(sheets, "Sign-off")
    begin = next((row for row, text in texts.items() if text == _RESULT), 0)
    areas = next((row for row, text in texts.items() if text == _AREAS), 0)
    if not 0 < begin < areas:
        return finding(FRONT, f"there is no line {_AREAS!r}", "Sign-off")
    *counts, verdict = [row for row, text in texts.items() if begin <= row < areas and text]
    end = next(row for row in range(areas + 2, max(texts) + 2) if not texts.get(row))
    findings = [_expect(formulas, "Sign-off", row, "B", "!") for row in (*counts[1:], *range(areas + 2, end))]
    findings += [
        _expect(formulas, "Sign-off", row, "C", f'IF(B{row}=0,"OK","LOOK")', whole=True)
        for row in range(areas + 2, end)
    ]
    findings.append(_expect(formulas, "Sign-off", verdict, "A", f"$B${begin}"))
    conclusion = max((row for row, text in texts.items() if text == _CONCLUSION), default=end)
    findings.append(_expect(formulas, "Sign-off", conclusion, "E", f"$B${begin}"))
    return together(findings)


def _expect(
    formulas: dict[tuple[int, int], str], sheet: str, row: int, letter: str, words: str, whole: bool = False
) -> pl.DataFrame:
    """A finding where the formula of a cell is missing, is not these words, or does not have them in it."""
    formula = plain(formulas.get((row, "ABCDE".index(letter) + 1), ""))
    if formula == words or (words in formula and not whole):
        return nothing()
    problem = "is no formula that reads what it shows" if formula else "no formula, where this program has one"
    return finding(FRONT, problem, sheet, f"{letter}{row}", f"={formula}" if formula else "", f"={words}")
