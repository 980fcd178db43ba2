"""What a verification says: a line per thing that was proved, and every cell that disagrees."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

import polars as pl
from openpyxl.utils import get_column_letter  # type: ignore[import-untyped]

FINDINGS = pl.Schema(
    {
        "check": pl.String,
        "sheet": pl.String,
        "cell": pl.String,
        "saved": pl.String,
        "expected": pl.String,
        "formula": pl.String,
        "problem": pl.String,
    }
)
"""One row per cell that disagrees, or per sheet or file where there is no cell to name."""
OK, FAIL, NOTE = "OK", "FAIL", "note"


@dataclass(frozen=True)
class Result:
    """What one check says: its outcome, a sentence with counts, and findings with the columns FINDINGS."""

    check: str
    outcome: str
    told: str
    findings: pl.DataFrame


def judged(check: str, told: str, findings: pl.DataFrame) -> Result:
    """A result that fails where anything was found."""
    problem = f"{findings.height:,} disagree; {told}" if findings.height else told
    return Result(check, FAIL if findings.height else OK, problem, findings)


def noted(check: str, told: str) -> Result:
    """A result that neither proves nor disproves the workbook."""
    return Result(check, NOTE, told, nothing())


@cache
def nothing() -> pl.DataFrame:
    """No findings."""
    return pl.DataFrame(schema=FINDINGS)


def together(findings: Iterable[pl.DataFrame]) -> pl.DataFrame:
    """All findings of several checks, in their order; most checks find nothing."""
    found = [one for one in findings if one.height]
    return pl.concat(found) if found else nothing()


def finding(
    check: str, problem: str, sheet: str = "", cell: str = "", saved: str = "", expected: str = ""
) -> pl.DataFrame:
    """One finding."""
    row = {"check": check, "sheet": sheet, "cell": cell, "saved": saved, "expected": expected, "problem": problem}
    return pl.DataFrame([row], schema=FINDINGS)


def found(
    cells: pl.DataFrame,
    check: str,
    sheet: str,
    problem: str | pl.Expr,
    saved: pl.Expr | None = None,
    expected: pl.Expr | None = None,
) -> pl.DataFrame:
    """A finding per cell; `cells` has the columns row, column, text and number, and formula if any has one."""
    if cells.is_empty():
        return nothing()
    letters = {number: get_column_letter(number) for number in cells["column"].unique()}
    letter = pl.col("column").replace_strict(letters, return_dtype=pl.String)
    none = pl.lit(None, pl.String)
    return cells.select(
        check=pl.lit(check),
        sheet=pl.lit(sheet),
        cell=pl.format("{}{}", letter, "row"),
        saved=value("text", "number") if saved is None else saved,
        expected=none if expected is None else expected,
        formula=pl.concat_str(pl.lit("="), "formula") if "formula" in cells.columns else none,
        problem=pl.lit(problem) if isinstance(problem, str) else problem,
    )


def value(text: str, number: str) -> pl.Expr:
    """The value of a cell as people read it."""
    return pl.coalesce(text, pl.col(number).cast(pl.String)).fill_null("nothing")
