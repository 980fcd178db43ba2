"""Formulas of a workbook as something to compare and to take apart: relative forms, functions, trees.

The formulas of a column are one formula when each reads the same cells as seen from its own row. So a formula is taken
apart into its text without row numbers and the rows of the cells it reads: both with column operations, as a workbook
has millions of formulas and a parser of formulas takes a tenth of a millisecond for each.
"""

import ast
from collections.abc import Container, Mapping
from dataclasses import dataclass

import polars as pl
from openpyxl.formula import Tokenizer  # type: ignore[import-untyped]
from openpyxl.formula.tokenizer import Token  # type: ignore[import-untyped]
from openpyxl.utils import column_index_from_string  # type: ignore[import-untyped]

FUNCTIONS = frozenset({"SUM", "SUMIFS", "COUNTIFS", "INDEX", "MATCH", "IF", "AND", "OR", "ABS", "ROUND", "MIN", "MAX"})
"""What formulas of the workbook may use: understood by every spreadsheet, and computed again at every change."""

_CELL = r"\$?[A-Z]{1,3}\$?[0-9]+"
_WHOLE = rf""""[^"]*"|'[^']*'!|[A-Za-z_][A-Za-z0-9_.]*[!(]|{_CELL}:{_CELL}"""
_TOKENS = rf"({_WHOLE})|(\$?[A-Z]{{1,3}}\$?)[0-9]+"
"""What is left as it is (texts, sheets, functions, ranges), or the letters of a cell before its row."""
_FORBIDDEN = {"[": "reads another workbook", "{": "is an array", "#REF!": "reads a cell that is gone"}
_OPERATORS = {"=": "==", "<>": "!=", **{sign: sign for sign in ("+", "-", "*", "/", "&", "<", ">", "<=", ">=")}}


class NotUnderstoodError(Exception):
    """A formula with parts that the formulas of this tool's workbooks do not have."""


@dataclass(frozen=True)
class Operand:
    """The cells that a formula reads in one place: sheet (that of the formula if empty), column, and rows.

    `place` is which of the formula's single cells it is, counted from 0, where the row is that of each formula.
    """

    sheet: str
    column: int
    first: int
    last: int
    place: int | None = None


def forms(cells: pl.DataFrame) -> pl.DataFrame:
    """The cells (columns row and formula at least) with three columns more.

    skeleton: the formula without the rows of single cells; refs: those rows; form: the formula as seen from its row,
    equal for formulas that read the same cells from where they stand.
    """
    tokens = pl.col("formula").str.extract_all(_TOKENS)
    single = tokens.list.eval(pl.element().filter(pl.element().str.contains(rf"^{_CELL}$")))
    found = cells.with_columns(
        skeleton=pl.col("formula").str.replace_all(_TOKENS, "${1}${2}#"),
        refs=single.list.eval(pl.element().str.extract("([0-9]+)$").cast(pl.UInt32)),
        is_fixed=single.list.eval(pl.element().str.contains(r"\$[0-9]+$")),
    ).with_row_index("n")
    each = found.select("n", "row", "refs", "is_fixed").explode("refs", "is_fixed")
    here = pl.when("is_fixed").then(pl.lit(0)).otherwise(pl.col("row").cast(pl.Int64))
    seen = each.group_by("n").agg(seen=(pl.col("refs").cast(pl.Int64) - here).cast(pl.String))
    rows = pl.col("seen").list.join(" ").fill_null("")
    joined = found.join(seen, on="n", how="left", maintain_order="left")
    return joined.with_columns(form=pl.format("{} {}", "skeleton", rows)).drop("n", "is_fixed", "seen")


def objection(formula: str, names: Mapping[str, str], sheets: Container[str]) -> str | None:
    """What is wrong with a formula, in words, if anything: functions and links that must not be, cells that are gone.

    `names` and `sheets` are those that the workbook has.
    """
    bare = "".join(token.value for token in _tokens(formula) if token.subtype != Token.TEXT)
    for sign, problem in _FORBIDDEN.items():
        if sign in bare:
            return problem
    for token in _tokens(formula):
        if token.type == Token.FUNC and token.subtype == Token.OPEN and token.value[:-1].upper() not in FUNCTIONS:
            return f"uses {token.value[:-1]}, which is none of {', '.join(sorted(FUNCTIONS))}"
        is_read = token.type == Token.OPERAND and token.subtype == Token.RANGE
        if is_read and _is_name(token.value) and token.value not in names:
            return f"reads the name {token.value}, which this workbook does not have"
        if is_read and "!" in token.value and _sheet_and_cells(token.value)[0] not in sheets:
            return f"reads the sheet {_sheet_and_cells(token.value)[0]}, which this workbook does not have"
    return None


def tree(formula: str, names: Mapping[str, str]) -> tuple[ast.expr, list[Operand]]:
    """The formula as a tree of Python's own kind, in which `cells_3` stands for the third of the operands given.

    A spreadsheet's operators bind as Python's do. Raises NotUnderstoodError.
    """
    words, operands, singles = [], list[Operand](), 0
    for token in _tokens(formula):
        if token.type == Token.OPERAND and token.subtype == Token.RANGE:
            is_single = ":" not in token.value and not _is_name(token.value)
            operands.append(_operand(names.get(token.value, token.value), singles if is_single else None))
            singles += is_single
            words.append(f"cells_{len(operands) - 1}")
        else:
            words.append(_python(token))
    try:
        return ast.parse("".join(words), mode="eval").body, operands
    except SyntaxError as error:
        raise NotUnderstoodError(formula) from error


def _tokens(formula: str) -> list[Token]:
    return list(Tokenizer(f"={formula}").items)


def _is_name(text: str) -> bool:
    return "!" not in text and ":" not in text and not any(sign.isdigit() for sign in text)


def _sheet_and_cells(text: str) -> tuple[str, str]:
    sheet, _, cells = text.rpartition("!")
    return sheet.strip("'").replace("''", "'"), cells


def _operand(text: str, place: int | None) -> Operand:
    sheet, cells = _sheet_and_cells(text)
    first, _, last = cells.replace("$", "").partition(":")
    if not first.isalnum() or not first[-1].isdigit():
        raise NotUnderstoodError(text)
    column, row = first.rstrip("0123456789"), int(first.lstrip("ABCDEFGHIJKLMNOPQRSTUVWXYZ"))
    end = int(last.lstrip("ABCDEFGHIJKLMNOPQRSTUVWXYZ")) if last else row
    if last and last.rstrip("0123456789") != column:
        raise NotUnderstoodError(text)
    return Operand(sheet, column_index_from_string(column), row, end, place)


def _python(token: Token) -> str:
    """A part of a formula as Python writes it."""
    if token.type == Token.OPERAND and token.subtype == Token.TEXT:
        return repr(token.value[1:-1].replace('""', '"'))
    if token.type == Token.OP_IN and token.value in _OPERATORS:
        return _OPERATORS[token.value]
    if token.type == Token.FUNC and token.subtype == Token.OPEN and token.value[:-1] in FUNCTIONS:
        return str(token.value)
    if token.type == Token.OPERAND and token.subtype == Token.NUMBER:
        return str(token.value)
    if token.type in (Token.FUNC, Token.SEP, Token.PAREN, Token.OP_PRE) and token.value in {")", "(", ",", "+", "-"}:
        return str(token.value)
    if token.type == Token.WSPACE:
        return " "
    raise NotUnderstoodError(token.value)
