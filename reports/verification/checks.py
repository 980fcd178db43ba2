"""What a workbook's cells must be: recalculated as saved, the engine's to 15 digits, one formula per column."""

import re
from collections.abc import Mapping
from typing import Any

import polars as pl

from reports.cells.fields import serial, without_number
from reports.previous_rules import is_own_id
from reports.verification.formulas import forms, objection
from reports.verification.model import BY_CIRCUMSTANCES, is_that_of_the_code, model
from reports.verification.results import found, nothing, together, value
from reports.verification.rounding import allowed, rounded
from reports.verification.sheets import EXACT_TEXT, Sheets
from reports.verification.xml import ARRAY

RECALCULATED, ENGINE, FORMULAS = "recalculated", "engine", "formulas"
LIVE, EXACT, ENTRY = "live formula", "exact text", "yours to fill in"
OWN = "own in each row"
_ISO = " (ISO)"
_MILLISECOND = 1.2e-8
"""In days, with what a spreadsheet's number of a date loses."""
_NAMED = {"Break ID": "break_id", "Position": "position", "Figure": "figure", "Stated by": "stated_by"}
_SHEET_NAMES = r"'[^']*'!|[A-Za-z_][A-Za-z0-9_.]*!"
_NOT_RECALCULATED = "no saved values: this program kept none; open the workbook in a spreadsheet and save it there"


def beyond(sheets: Sheets, sheet: str, cells: pl.DataFrame, apart: pl.Expr) -> pl.DataFrame:
    """Those cells with formulas (row, column, formula, number, ...) of a sheet that are further apart than they may be.

    To be asked of few: what a formula may lose is worked out for each.
    """
    if cells.is_empty():
        return cells
    judged = allowed(forms(cells), sheet, sheets.book.names, sheets.read_by_formulas)
    return judged.filter(apart > pl.col("allowed").fill_null(0.0)).select(cells.columns)


def recalculated(sheets: Sheets, sheet: str, formulas: pl.DataFrame) -> pl.DataFrame:
    """Formulas whose saved value is not what LibreOffice computes, or is an error; values that were not saved."""
    shows_something = (pl.col("again_text").fill_null("") != "") | pl.col("again_number").is_not_null()
    is_unsaved = pl.col("text").is_null() & pl.col("number").is_null() & shows_something
    is_error = pl.col("is_error") | pl.col("again_is_error").fill_null(False)
    saved = formulas.filter(is_unsaved.not_() & is_error.not_())
    has_numbers = pl.col("number").is_not_null() & pl.col("again_number").is_not_null()
    apart = (pl.col("number") - pl.col("again_number")).abs()
    doubtful = saved.filter(has_numbers & (apart > rounded(pl.col("number"))))
    is_text = pl.col("number").is_null() & pl.col("again_number").is_null()
    same_text = is_text & (pl.col("text").fill_null("") == pl.col("again_text").fill_null(""))
    wrong = [beyond(sheets, sheet, doubtful, apart), saved.filter(has_numbers.not_() & same_text.not_())]
    again = value("again_text", "again_number")
    return pl.concat(
        [
            _first_of(formulas.filter(is_unsaved), sheet),
            found(formulas.filter(is_error), RECALCULATED, sheet, "is an error", expected=again),
            *(found(cells, RECALCULATED, sheet, "not what is recalculated", expected=again) for cells in wrong),
        ]
    )


def _first_of(unsaved: pl.DataFrame, sheet: str) -> pl.DataFrame:
    """One finding for all cells of a sheet without a saved value."""
    formulas = "1 formula has" if unsaved.height == 1 else f"{unsaved.height:,} formulas have"
    problem = f"{formulas} {_NOT_RECALCULATED}"
    return found(unsaved.sort("row", "column").head(1), RECALCULATED, sheet, problem)


def engine(sheets: Sheets, sheet: str) -> tuple[pl.DataFrame, int]:
    """Numbers that are not the exact amount beside them, and how many were compared."""
    has_exact = (pl.col("sheet") == sheet) & pl.col("exact_column").is_not_null()
    pairs = sheets.tables.filter(has_exact).with_row_index("pair")
    findings, compared = list[pl.DataFrame](), 0
    # All columns at once, or column by column where there are many cells.
    for some in pairs.iter_slices(max(1, pairs.height) if sheets.is_held(sheet) else 1):
        numbers, exact = (_paired(sheets, sheet, some, column) for column in ("column", "exact_column"))
        findings += [_no_amounts(sheet, exact), _apart(sheets, sheet, numbers, exact)]
        compared += exact.height
    findings += [_other_times(sheets, sheet), _other_names(sheets, sheet)]
    return together(findings), compared


def _paired(sheets: Sheets, sheet: str, pairs: pl.DataFrame, column: str) -> pl.DataFrame:
    """The cells of these columns, the numbers or their exact texts, with the number of their `pair` and `beside`.

    `beside` is the column of the numbers, of which `pairs` has one row per table.
    """
    places = pairs.select("pair", "first", "last", beside="column", column=column)
    cells = sheets.cells(sheet, places["column"])
    inside = pl.col("row").is_between("first", "last")
    return places.join(cells, on="column", maintain_order="left_right").filter(inside).drop("first", "last")


def _other_times(sheets: Sheets, sheet: str) -> pl.DataFrame:
    """Dates that are not the time as ISO text beside them, to the millisecond."""
    here = sheets.tables.filter((pl.col("sheet") == sheet) & pl.col("cells").is_not_null())
    findings = list[pl.DataFrame]()
    for one in here.filter(pl.col("heading").str.ends_with(_ISO)).iter_rows(named=True):
        dates = here.filter(
            (pl.col("table") == one["table"]) & (pl.col("heading") == one["heading"].removesuffix(_ISO))
        )
        inside = pl.col("row").is_between(one["first"], one["last"])
        for column in dates["column"]:
            texts = sheets.cells(sheet, [one["column"]]).filter(inside).select("row", iso="text")
            both = sheets.cells(sheet, [column]).filter(inside).join(texts, on="row", how="full", coalesce=True)
            both = both.with_columns(pl.col("column").fill_null(column))
            time = pl.col("iso").str.strip_chars_end("Z").str.to_datetime(time_unit="us", strict=False)
            is_near = ((serial(time) - pl.col("number")).abs() < _MILLISECOND).fill_null(value=False)
            has_one = pl.col("number").is_not_null() | (pl.col("iso").fill_null("") != "")
            wrong = both.filter(has_one & is_near.not_())
            findings.append(found(wrong, ENGINE, sheet, "not the time as text beside it", expected=pl.col("iso")))
    return together(findings)


def _other_names(sheets: Sheets, sheet: str) -> pl.DataFrame:
    """Break IDs that are not those of their row's position and figure, which they are made of."""
    here = sheets.tables.filter((pl.col("sheet") == sheet) & pl.col("cells").is_not_null())
    places = dict(here.select("heading", "column").iter_rows())
    if not set(_NAMED) <= set(places) or here["table"].n_unique() > 1:
        return nothing()
    rows = pl.DataFrame({"row": range(here["first"][0], here["last"][0] + 1)}, schema={"row": pl.UInt32})
    for heading, name in _NAMED.items():
        cells = sheets.cells(sheet, [places[heading]]).select("row", pl.col("text").alias(name))
        rows = rows.join(cells, on="row", how="left", maintain_order="left")
    wrong = rows.filter(is_own_id().not_()).with_columns(pl.lit(places["Break ID"], pl.UInt16).alias("column"))
    columns = {"text": pl.col("break_id"), "number": pl.lit(None, pl.Float64)}
    return found(wrong.with_columns(**columns), ENGINE, sheet, "not the name of its position and figure")


def _no_amounts(sheet: str, exact: pl.DataFrame) -> pl.DataFrame:
    """Cells under a heading of exact texts that hold something else."""
    is_amount = pl.col("text").str.contains(EXACT_TEXT).fill_null(False)
    is_nothing = pl.col("text").fill_null("") == ""
    wrong = exact.filter((is_amount | (is_nothing & pl.col("number").is_null())).not_())
    return found(wrong, ENGINE, sheet, "no plain decimal as text")


def _apart(sheets: Sheets, sheet: str, numbers: pl.DataFrame, exact: pl.DataFrame) -> pl.DataFrame:
    """Numbers apart from their exact texts; both as `_paired` gives them.

    Both are the same to 15 digits. Where a spreadsheet has calculated and saved the workbook, a live number may be
    apart by what its formula loses; sums of no rows are zero then, and their exact amount is nothing.
    """
    is_live = pl.col("formula").is_not_null()
    text = pl.col("text").str.contains(EXACT_TEXT)
    amounts = exact.filter(text).select("pair", "row", "beside", exact="text", amount=pl.col("text").cast(pl.Float64))
    joined = numbers.drop("beside").join(amounts, on=["pair", "row"], how="full", coalesce=True)
    both = joined.with_columns(pl.coalesce("column", "beside"))
    apart = (pl.col("number") - pl.col("amount")).abs()
    is_sum_of_none = pl.col("exact").is_null() & (pl.col("number") == 0) & is_live
    is_unsaved = is_live & pl.col("text").is_null() & pl.col("number").is_null()
    has_one = pl.col("number").is_not_null() | pl.col("exact").is_not_null()
    is_near = (apart <= rounded(pl.col("amount"))).fill_null(False)
    wrong = both.filter(has_one & (is_near | is_sum_of_none | is_unsaved).not_())
    if not sheets.book.is_as_written:
        is_doubtful = is_live & apart.is_not_null()
        doubtful = beyond(sheets, sheet, wrong.filter(is_doubtful), apart)
        wrong = pl.concat([wrong.filter(is_doubtful.not_()), doubtful])
    expected = pl.col("exact").fill_null("nothing")
    return found(wrong, ENGINE, sheet, "not the exact amount beside it", expected=expected)


def consistent(sheets: Sheets, sheet: str, formulas: pl.DataFrame) -> pl.DataFrame:
    """Formulas where none must be, none where one must be, others than those of their column, or forbidden ones."""
    findings, none = [_forbidden(sheets, sheet, formulas)], formulas.clear()
    by_column = formulas.partition_by("column", as_dict=True, maintain_order=True)
    for one in sheets.columns(sheet):
        words = one["cells"]
        if words == ENTRY:
            continue
        inside = pl.col("row").is_between(one["first"], one["last"])
        here = by_column.get((one["column"],), none)
        here = here.filter(inside) if here.height else none
        if words is None:
            words = LIVE if here.height else ""
        if not words.startswith(LIVE):
            findings.append(found(here, FORMULAS, sheet, f"a formula, where the Glossary says: {words}"))
            continue
        findings.append(_constants(sheets, one, here["row"]))
        if OWN not in words:
            findings += [_others(sheet, here, one["first"]), _not_of_the_code(sheets, one, here)]
    return together(findings)


def _constants(sheets: Sheets, one: Mapping[str, Any], with_formula: pl.Series) -> pl.DataFrame:
    """Cells of a column of formulas that hold none."""
    if with_formula.n_unique() == one["last"] + 1 - one["first"]:
        return nothing()
    rows = pl.DataFrame({"row": range(one["first"], one["last"] + 1)}, schema={"row": pl.UInt32})
    missing = rows.filter(pl.col("row").is_in(with_formula.implode()).not_())
    if missing.is_empty():
        return nothing()
    cells = sheets.cells(str(one["sheet"]), [one["column"]])
    here = missing.join(cells, on="row", how="left").with_columns(pl.col("column").fill_null(one["column"]))
    return found(here, FORMULAS, str(one["sheet"]), "no formula, where the column has one")


def _others(sheet: str, here: pl.DataFrame, first: int) -> pl.DataFrame:
    """Formulas that are not the one most rows of the column have; the first row may link to the sheet before."""
    if here.is_empty():
        return nothing()
    if here["form"].n_unique() == 1:
        return nothing()
    rule = _rule(here, first)
    common = rule["form"][0]
    bare = pl.col("skeleton").str.replace_all(_SHEET_NAMES, "").str.replace_all("#", "", literal=True)
    is_link = pl.lit(value=False)
    if without_number(sheet) != sheet:
        # A further part of a sheet begins where the part before it ends.
        reads_a_part = pl.col("skeleton").str.contains(rf"'{re.escape(without_number(sheet))} [0-9]+'!")
        is_link = (pl.col("row") == first) & (bare == rule.select(bare).item()) & reads_a_part
    others = here.filter((pl.col("form") != common) & is_link.not_())
    expected = pl.lit(f"as in row {rule['row'][0]}: ={rule['formula'][0]}")
    return found(others, FORMULAS, sheet, "not the formula of its column", expected=expected)


def _rule(here: pl.DataFrame, first: int) -> pl.DataFrame:
    """The first of the formulas that most rows of a column have, the first row of data left aside where it can be."""
    below = here.filter(pl.col("row") > first)
    rows = below if below.height else here
    if rows["form"].n_unique() == 1:
        return rows.head(1)
    common = rows["form"].value_counts(sort=True)["form"][0]
    return rows.filter(pl.col("form") == common).head(1)


def _not_of_the_code(sheets: Sheets, one: Mapping[str, Any], here: pl.DataFrame) -> pl.DataFrame:
    """The formula of a column, if it is not one that this program gives to it."""
    expected = model().formulas.get((one["table"], one["heading"]))
    by_circumstances = (one["table"], one["heading"]) in BY_CIRCUMSTANCES
    if here.is_empty() or expected is None or one["cells"] is None or by_circumstances:
        return nothing()
    rule = _rule(here, one["first"])
    row, formula = rule["row"][0], rule["formula"][0]
    is_linked = row == one["first"] and without_number(one["sheet"]) != one["sheet"]
    if is_linked or is_that_of_the_code(formula, row, expected, set(sheets.book.sheets)):
        return nothing()
    written = pl.lit("=" + min(expected).format(row=row, sheet="", above=row - 1))
    return found(
        rule, FORMULAS, one["sheet"], "not the formula that this program gives to the column", expected=written
    )


def _forbidden(sheets: Sheets, sheet: str, formulas: pl.DataFrame) -> pl.DataFrame:
    """Formulas with functions, links or names that a workbook of this tool does not have."""
    objections = {
        skeleton: "is part of an array"
        if formula.startswith(ARRAY)
        else objection(formula, sheets.book.names, sheets.book.sheets)
        for skeleton, formula in formulas.unique("skeleton").select("skeleton", "formula").iter_rows()
    }
    wrong = {skeleton: said for skeleton, said in objections.items() if said is not None}
    cells = formulas.filter(pl.col("skeleton").is_in(list(wrong)))
    problem = pl.col("skeleton").replace_strict(wrong, default=None, return_dtype=pl.String)
    return found(cells, FORMULAS, sheet, problem)
