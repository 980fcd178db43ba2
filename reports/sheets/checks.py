"""The Checks sheet: the engine's checks, a tie-out of the sheets to its totals, one result over all."""

from collections.abc import Sequence
from dataclasses import replace
from decimal import Context, Decimal
from functools import reduce
from itertools import zip_longest
from math import fsum
from typing import Any

import polars as pl

from ledger.columns import CHECKS, MEASURES
from ledger.money import SCALE
from reports.cells.fields import Field, Placed, Tables, exact, field, letter, place, without_number
from reports.cells.tables import LIVE, NOTE, Book, fit_columns, fit_page, mark_results, write_table

MASTER = "'Checks'!$B$3"
TOLERANCE = "tie_out_tolerance"
_NOT_ADDED = ("quote per", "times", "share", "1 = 100")
_CHECKS_TOP = 6
HERE = "this workbook"
_EXACT = Context(prec=60)
_ROWS, _AMOUNTS = "rows", "amounts of all currencies: a control total"
_ABOUT_RESIDUALS = (
    "A residual is in the currency or unit of the row that has it, so those of two checks do not compare."
)
_ABOUT_TOTALS = (
    "Control totals: they add all rows of a sheet, whatever the currency, and prove that nothing was lost or"
    " changed on the way into the workbook. Live balances are added as recalculated."
    " A sheet in several parts has lines for each and for all; rows in a file beside have the sums on the Manifest."
)
_TIE_OUT = {
    "Sheet": ("Sheet that is tied out.", ""),
    "Column": ("Column that is added up; rows counts the rows of the sheet.", ""),
    "Sum of the sheet": ("Sum of the numbers on the sheet.", "SUM(the column)"),
    "Engine's total": ("Total of the engine's exact amounts, as a number.", ""),
    "Difference": ("Sheet less engine.", "sum of the sheet-engine's total"),
    "Engine's total (exact)": ("Total of the engine's exact amounts, as text.", ""),
    "Absolute sum": ("The engine's total of the amounts without their signs.", ""),
    "Tolerance allowed": ("What the 15 digits of a spreadsheet's numbers need.", f"{TOLERANCE}*absolute sum"),
    "Tied out": (
        "OK when sheet and engine differ by no more than the tolerance.",
        'IF(ABS(difference)<=tolerance allowed,"OK","FAIL")',
    ),
    "What is added": ("Rows, or amounts whatever their currency: their sum only shows that nothing was lost.", ""),
}
"""Meaning and formula in words of each column of the tie-out."""
_LINES_SCHEMA = dict.fromkeys(("sheet", "column", "formula"), pl.String) | {
    "added": pl.Float64,
    "total": pl.String,
    "scale": pl.String,
}


def check_fields() -> tuple[Field, ...]:
    """The fields of the engine's checks; the result is a live formula."""
    columns = {column.name: column for column in CHECKS}
    names = ("check", "description", "rows_tested", "failures")
    fields = [field(columns[name]) for name in names]
    fields[1] = replace(fields[1], kind="prose")
    fields += [replace(field(columns["largest_residual"]), kind="small"), exact(columns["largest_residual"])]
    fields += [replace(field(columns["tolerance"]), kind="small"), exact(columns["tolerance"])]
    cell = {one.name: letter(fields, one.heading) + "{row}" for one in fields if one.kind != "exact"}
    holds = (pl.col("failures") == 0) & (pl.col("largest_residual").fill_null(0) <= pl.col("tolerance").fill_null(0))
    result = Field(
        "Result",
        "result",
        pl.when(holds).then(pl.lit("OK")).otherwise(pl.lit("FAIL")),
        "",
        "OK when no row failed and the largest residual is within the tolerance.",
        HERE,
        formula=f'IF(AND({cell["failures"]}=0,{cell["largest_residual"]}<={cell["tolerance"]}),"OK","FAIL")',
        words='IF(AND(failures=0,largest_residual<=tolerance),"OK","FAIL")',
    )
    return (*fields, result, field(columns["first_failure"]))


def tie_out_lines(sheets: Tables) -> pl.DataFrame:
    """One line per sheet and money column that can be added up, and one for the sheet's rows.

    Prices, rates, the measures at the mark price and sums so far are not amounts that add up. Columns: sheet, column,
    formula (of the sum), added (the sum as the sheet has it), total (the exact one, text), scale (exact sum
    of absolute amounts, text).
    """
    not_added = {column.name for column in MEASURES} | {"cumulative_difference"}
    lines: list[dict[str, Any]] = []
    for placed, frame in sheets:
        rows = placed.range(placed.fields[0].heading)
        count = {
            "formula": f'COUNTIFS({rows},"<>")',
            "added": float(frame.height),
            "total": str(frame.height),
        }
        lines.append({"sheet": placed.sheet, "column": _ROWS, **count, "scale": str(frame.height)})
        for one in placed.fields:
            is_added = one.adds_up and one.name not in not_added and not one.unit.startswith(_NOT_ADDED)
            if one.kind == "amount" and is_added:
                amounts = frame[one.name]
                larger = [Decimal(exact_total(frame[name].abs())) for name in one.made_of or (one.name,)]
                lines.append(
                    {
                        "sheet": placed.sheet,
                        "column": one.heading,
                        "formula": f"SUM({placed.range(one.heading)})",
                        "added": fsum(frame.select(one.values.drop_nulls()).to_series()),
                        "total": exact_total(amounts),
                        "scale": f"{reduce(_EXACT.add, larger):f}",
                    }
                )
    return pl.DataFrame(lines, schema=_LINES_SCHEMA)


def causes_line(causes: Tables, charges: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """The line that ties the amounts of the causes to the differences they explain, as `tie_out_lines` gives them."""
    amounts = pl.concat([frame["amount"] for _, frame in causes])
    differences = pl.concat([frame["difference"].drop_nulls() for frame in charges])
    scale = _EXACT.add(Decimal(exact_total(amounts.abs())), Decimal(exact_total(differences.abs())))
    line = {
        "sheet": causes[0][0].sheet,
        "column": "Amount, against the differences of the sheet Interest",
        "formula": "+".join(f"SUM({placed.range('Amount')})" for placed, _ in causes),
        "added": fsum(amounts.cast(pl.String).cast(pl.Float64)),
        "total": exact_total(differences),
        "scale": f"{scale:f}",
    }
    return pl.DataFrame([line])


def part_totals(lines: pl.DataFrame) -> pl.DataFrame:
    """For each sheet that goes on on further ones, such as `Ledger 2`, a line per column of all its parts together."""
    whole = lines.with_columns(whole=pl.Series([without_number(sheet) for sheet in lines["sheet"]], dtype=pl.String))
    several = whole.filter(pl.col("whole") != pl.col("sheet"))
    totals = [
        {
            "sheet": sheet,
            "column": column,
            "formula": "+".join(part["formula"]),
            "added": fsum(part["added"]),
            "total": _sum_of(part["total"]),
            "scale": _sum_of(part["scale"]),
        }
        for (sheet, column), part in several.group_by("whole", "column", maintain_order=True)
    ]
    return pl.DataFrame(totals, schema=lines.schema)


def _sum_of(amounts: pl.Series) -> str:
    """The exact sum of amounts that are given as text."""
    return f"{reduce(_EXACT.add, map(Decimal, amounts)):f}"


def exact_total(amounts: pl.Series) -> str:
    """The sum of a money column as text, exact: whole and broken parts, added apart, cannot overflow."""
    units = pl.col("amounts").to_physical()
    one = pl.lit(10**SCALE, dtype=pl.Int128)
    parts = amounts.to_frame("amounts").select(whole=(units // one).sum(), broken=(units % one).sum())
    whole, broken = parts.row(0)
    total = Decimal(int(whole) * 10**SCALE + int(broken)).scaleb(-SCALE, _EXACT)
    text = f"{total:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def tie_out_fields(lines: pl.DataFrame, tolerance: float) -> tuple[Field, ...]:
    """The fields of the tie-out for its lines, in the order of the checks' columns above them."""
    total, scale, added = pl.col("total").cast(pl.Float64), pl.col("scale").cast(pl.Float64), pl.col("added")
    is_count = pl.col("column").str.contains(rf"\b{_ROWS}\b")
    agrees = (added - total).abs() <= scale * tolerance
    result = pl.when(agrees).then(pl.lit("OK")).otherwise(pl.lit("FAIL"))
    absolute = _line("Absolute sum", "small", scale)
    if lines["sheet"].str.starts_with("Interest").any():
        absolute = replace(absolute, meaning=f"{absolute.meaning} Of a live difference: that of its parts.")
    return (
        _line("Sheet", "text", pl.col("sheet")),
        _line("Column", "prose", pl.col("column")),
        replace(_line("Sum of the sheet", "amount", added), formulas=tuple(lines["formula"]), is_count=is_count),
        replace(_line("Engine's total", "amount", total), is_count=is_count),
        _line("Difference", "small", added - total, "C{row}-D{row}"),
        _line("Engine's total (exact)", "exact", pl.col("total")),
        absolute,
        _line("Tolerance allowed", "small", scale * tolerance, f"{TOLERANCE}*G{{row}}"),
        _line("Tied out", "result", result, 'IF(ABS(E{row})<=H{row},"OK","FAIL")'),
        _line("What is added", "text", pl.when(is_count).then(pl.lit("rows")).otherwise(pl.lit(_AMOUNTS))),
    )


def overall(checks: pl.DataFrame, lines: pl.DataFrame, tolerance: float) -> str:
    """OK when every check and every line of the tie-out is OK: the value of the master cell."""
    tables = ((checks, check_fields()), (lines, tie_out_fields(lines, tolerance)))
    results = [
        frame.select(one.values).to_series() for frame, fields in tables for one in fields if one.kind == "result"
    ]
    return "OK" if all(result.eq("OK").all() for result in results) else "FAIL"


def checks_parts(checks: pl.DataFrame, lines: pl.DataFrame, tolerance: float) -> tuple[Placed, Placed]:
    """Where the engine's checks and the tie-out will stand."""
    placed = place("Checks", check_fields(), checks.height, _CHECKS_TOP)
    return placed, place("Checks", tie_out_fields(lines, tolerance), lines.height, placed.last + 5)


def write_checks(book: Book, checks: pl.DataFrame, lines: pl.DataFrame, tolerance: float) -> tuple[Placed, Placed]:
    """Write the sheet: the master cell, the engine's checks, the tie-out."""
    sheet = book.sheet("Checks")
    fields, tied = check_fields(), tie_out_fields(lines, tolerance)
    widths = _fit_both(sheet, fields, checks, tied, lines)
    placed, tie_out = checks_parts(checks, lines, tolerance)
    top = tie_out.first - 1
    book.title(sheet, "Checks")
    book.text(sheet, 2, 0, "All checks", bold=True)
    sheet.write_formula(
        2,
        1,
        _master(placed, tie_out),
        book.style(bold=True, border=1, **LIVE),
        overall(checks, lines, tolerance),
    )
    book.text(sheet, 4, 0, "Checks of the engine", bold=True, font_size=12)
    book.text(sheet, 4, 1, _ABOUT_RESIDUALS, **NOTE)
    write_table(book, sheet, "Check_results", fields, checks, top=_CHECKS_TOP)
    book.text(sheet, top - 3, 0, "Tie-out of the sheets to the engine", bold=True, font_size=12)
    book.text(sheet, top - 2, 0, _ABOUT_TOTALS, **NOTE)
    write_table(book, sheet, "Tie_out", tied, lines, top=top)
    for cells in ("$B$3", placed.range("Result", False), tie_out.range("Tied out", False)):
        mark_results(book, sheet, cells)
    sheet.freeze_panes(3, 1)
    fit_page(sheet, widths)
    sheet.set_h_pagebreaks([top - 3])
    sheet.repeat_rows(top - 3, top - 1)
    return placed, tie_out


def _master(checks: Placed, tie_out: Placed) -> str:
    results = ((checks, "Result", "Check"), (tie_out, "Tied out", "Sheet"))
    passed = "+".join(f'COUNTIFS({placed.range(result, False)},"OK")' for placed, result, _ in results)
    asked = "+".join(f'COUNTIFS({placed.range(named, False)},"<>")' for placed, _, named in results)
    return f'=IF({passed}={asked},"OK","FAIL")'


def _fit_both(
    sheet: Any, fields: Sequence[Field], checks: pl.DataFrame, tied: Sequence[Field], lines: pl.DataFrame
) -> list[float]:
    upper, lower = fit_columns(sheet, fields, checks), fit_columns(sheet, tied, lines)
    widths = [max(both) for both in zip_longest(upper, lower, fillvalue=0.0)]
    for column, width in enumerate(widths):
        sheet.set_column(column, column, width)
    return widths


def _line(name: str, kind: str, values: pl.Expr, formula: str = "") -> Field:
    meaning, words = _TIE_OUT[name]
    return Field(name, kind, values, "as the column", meaning, HERE, formula=formula, words=words)
