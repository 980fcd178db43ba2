"""How far a formula's value may be from what another program computes, or from the exact amount: the lost digits alone.

A spreadsheet's numbers have 15 digits. So with the numbers that a formula reads, each with an error of its own, an
error comes out that can be told:

- a number as it is saved: that of rounding to 15 digits; none, if it is whole and has no more digits than that
- a cell that is read: that, and by how much it is apart from the exact amount beside it or from its recalculated value
- sums and differences: the errors of both sides, and `STEP` of both; so much a spreadsheet takes for nothing
- products and quotients: the relative errors of both sides, `STEP` of the result, and the 18th decimal, to which the
  ledger rounds
- SUM and SUMIFS: the errors of what is added up, and for each addition the last bit of the sum of absolute amounts
- IF: the error of the branch that is taken; MAX, MIN: the largest one; ABS: that of what is inside; ROUND: none, where
  that is less than half a unit of the last place

No error is passed on that is not there: a row is judged by the numbers it reads, not by a column's.
"""

import ast
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count

import polars as pl

from ledger.money import SCALE
from reports.verification.formulas import NotUnderstoodError, Operand, tree

STEP = 2.0**-48
"""Share by which two numbers may differ and still be equal to a spreadsheet: 15 digits are 2^-49.8 at best."""
_LAST_BIT = 2.0**-53
_LAST_DECIMAL = 10.0**-SCALE
_NOTHING = pl.lit(None, pl.Float64)
_NO_TEXT = pl.lit(None, pl.String)
_ORDERS: dict[type[ast.cmpop], Callable[[pl.Expr, pl.Expr], pl.Expr]] = {
    ast.Lt: lambda left, right: left < right,
    ast.LtE: lambda left, right: left <= right,
    ast.Gt: lambda left, right: left > right,
    ast.GtE: lambda left, right: left >= right,
}

Load = Callable[[str, int], pl.DataFrame]
"""Gives a column of a sheet: row, text, number, and error, that of a cell that is read."""


def rounded(number: pl.Expr) -> pl.Expr:
    """What saving a number may lose: three quarters of a unit of its 15th digit; zero if it is whole and has fewer.

    Half a unit is rounding; what is near to the half, LibreOffice rounds either way. A whole unit is another number.
    """
    size = number.abs()
    is_whole = (size < 1e15) & (number == number.round(0))
    return pl.when(is_whole).then(0.0).otherwise(0.75 * pl.lit(10.0).pow(size.log10().floor() - 14))


def allowed(cells: pl.DataFrame, sheet: str, names: Mapping[str, str], load: Load) -> pl.DataFrame:
    """The cells (columns row, formula, skeleton, refs, number) of a sheet with the column allowed.

    It is the error of the formula's value, and that of saving it. It is empty where a formula is not understood.
    """
    found = []
    for (_,), group in cells.group_by("skeleton", maintain_order=True):
        try:
            found.append(_Reading(group, sheet, names, load).allowed())
        except NotUnderstoodError:
            found.append(group.with_columns(allowed=_NOTHING))
    return pl.concat(found) if found else cells.with_columns(allowed=_NOTHING)


@dataclass(frozen=True)
class _Term:
    """Part of a formula: its value, a number or a text, and the error of the number."""

    number: pl.Expr
    error: pl.Expr
    text: pl.Expr = _NO_TEXT

    @property
    def size(self) -> pl.Expr:
        return self.value.abs()

    @property
    def value(self) -> pl.Expr:
        """The number; nothing counts as zero."""
        return self.number.fill_null(0.0)


class _Reading:
    """Formulas that differ only in the rows of the cells they read, evaluated for all of their rows at once."""

    def __init__(self, group: pl.DataFrame, sheet: str, names: Mapping[str, str], load: Load) -> None:
        self.sheet, self.load = sheet, load
        self.tree, self.operands = tree(group["formula"][0], names)
        self.frame = group
        self.known: dict[str, _Term] = {}
        self.numbers = count()

    def allowed(self) -> pl.DataFrame:
        """The rows with the column allowed."""
        columns = self.frame.columns
        error = self._term(self.tree).error
        return self.frame.select(*columns, allowed=error + rounded(pl.col("number")).fill_null(0.0))

    def _term(self, node: ast.expr) -> _Term:
        match node:
            case ast.Constant(value=str(text)):
                return _Term(_NOTHING, pl.lit(0.0), pl.lit(text))
            case ast.Constant(value=int(number) | float(number)):
                return _Term(pl.lit(float(number)), pl.lit(0.0))
            case ast.Name(id=name):
                return self._cell(name)
            case ast.UnaryOp(op=ast.USub(), operand=inner):
                return self._kept(self._binary(_Term(pl.lit(0.0), pl.lit(0.0)), ast.Sub(), self._term(inner)))
            case ast.BinOp(left=left, op=operator, right=right):
                return self._kept(self._binary(self._term(left), operator, self._term(right)))
            case ast.Call(func=ast.Name(id=name), args=parts):
                return self._kept(self._call(name, parts))
        raise NotUnderstoodError(ast.dump(node))

    def _kept(self, term: _Term) -> _Term:
        """The term as columns of the frame: each is read several times, and would be worked out anew at each level."""
        number = next(self.numbers)
        parts = {f"{name} {number}": getattr(term, name) for name in ("number", "error", "text")}
        self.frame = self.frame.with_columns(**parts)
        return _Term(*(pl.col(name) for name in parts))

    def _cell(self, name: str) -> _Term:
        """A single cell: the value that the rows read there."""
        if name not in self.known:
            one = self._operand(name)
            row = pl.lit(one.first) if one.place is None else pl.col("refs").list.get(one.place)
            column = self.load(one.sheet, one.column).select(
                pl.col("row").alias("at"),
                *(pl.col(part).alias(f"{name} {part}") for part in ("number", "error", "text")),
            )
            here = self.frame.with_columns(at=row.cast(pl.UInt32))
            self.frame = here.join(column, on="at", how="left", maintain_order="left").drop("at")
            number, error, text = (pl.col(f"{name} {part}") for part in ("number", "error", "text"))
            self.known[name] = _Term(number, error.fill_null(0.0), text)
        return self.known[name]

    def _operand(self, name: str) -> Operand:
        one = self.operands[int(name.removeprefix("cells_"))]
        return Operand(one.sheet or self.sheet, one.column, one.first, one.last, one.place)

    def _binary(self, left: _Term, operator: ast.operator, right: _Term) -> _Term:
        both = left.error + right.error
        match operator:
            case ast.Add():
                return _Term(left.value + right.value, both + STEP * (left.size + right.size))
            case ast.Sub():
                return _Term(left.value - right.value, both + STEP * (left.size + right.size))
            case ast.Mult():
                crossed = left.size * right.error + right.size * left.error + left.error * right.error
                return _Term(left.value * right.value, crossed + STEP * left.size * right.size + _LAST_DECIMAL)
            case ast.Div():
                ratio = left.value / right.value
                passed = (left.error + ratio.abs() * right.error) / right.size
                return _Term(ratio, passed + STEP * ratio.abs() + _LAST_DECIMAL)
        raise NotUnderstoodError(ast.dump(operator))

    def _call(self, name: str, parts: Sequence[ast.expr]) -> _Term:
        match name:
            case "IF":
                return self._chosen(parts)
            case "ABS":
                inner = self._term(parts[0])
                return _Term(inner.size, inner.error)
            case "ROUND":
                return self._to_places(self._term(parts[0]), parts[1])
            case "MAX" | "MIN":
                terms = [self._term(part) for part in parts]
                choose = pl.max_horizontal if name == "MAX" else pl.min_horizontal
                return _Term(choose(term.value for term in terms), pl.max_horizontal(term.error for term in terms))
            case "SUM" | "SUMIFS" | "COUNTIFS":
                return self._aggregated(name, parts)
        raise NotUnderstoodError(name)

    def _to_places(self, inner: _Term, places: ast.expr) -> _Term:
        """Less than half a unit of the last place is lost in rounding; more comes out as whole units of it."""
        if not isinstance(places, ast.Constant) or not isinstance(places.value, int):
            raise NotUnderstoodError(ast.dump(places))
        half = 0.5 * 10.0**-places.value
        lost = pl.when(inner.error < half).then(0.0).otherwise(inner.error + half)
        return _Term(inner.number, lost)

    def _aggregated(self, name: str, parts: Sequence[ast.expr]) -> _Term:
        if name == "SUMIFS":
            return self._added(self._rows(parts[0]), self._criteria(parts[1:]))
        if name == "COUNTIFS":
            return self._counted(self._criteria(parts))
        total, *others = [self._added(self._rows(part), {}) for part in parts]
        for term in others:
            total = self._binary(total, ast.Add(), term)
        return total

    def _chosen(self, parts: Sequence[ast.expr]) -> _Term:
        """The branch that is taken; where that is not known, the larger error."""
        condition, yes, no = self._condition(parts[0]), self._term(parts[1]), self._term(parts[2])

        def either(one: pl.Expr, other: pl.Expr, unknown: pl.Expr) -> pl.Expr:
            return pl.when(condition).then(one).when(condition.not_()).then(other).otherwise(unknown)

        larger = pl.max_horizontal(yes.error, no.error)
        return _Term(
            either(yes.number, no.number, pl.coalesce(yes.number, no.number)),
            either(yes.error, no.error, larger).fill_nan(0.0),
            either(yes.text, no.text, _NO_TEXT),
        )

    def _condition(self, node: ast.expr) -> pl.Expr:
        match node:
            case ast.Call(func=ast.Name(id="AND"), args=parts):
                return pl.all_horizontal(self._condition(part) for part in parts)
            case ast.Call(func=ast.Name(id="OR"), args=parts):
                return pl.any_horizontal(self._condition(part) for part in parts)
            case ast.Compare(left=left, ops=[operator], comparators=[right]):
                return self._compared(self._term(left), operator, self._term(right))
        raise NotUnderstoodError(ast.dump(node))

    def _compared(self, left: _Term, operator: ast.cmpop, right: _Term) -> pl.Expr:
        """Whether the two stand so to each other; an empty cell equals an empty text, and zero."""
        if type(operator) in _ORDERS:
            return _ORDERS[type(operator)](left.value, right.value)
        texts = [term.text.fill_null("").str.to_lowercase() for term in (left, right)]
        is_text = pl.any_horizontal(text != "" for text in texts) | left.number.is_null() | right.number.is_null()
        is_nothing = (texts[0] == texts[1]) & (left.number.is_null() == right.number.is_null())
        same = pl.when(is_text).then(is_nothing).otherwise(left.value == right.value)
        return same if isinstance(operator, ast.Eq) else same.not_()

    def _rows(self, node: ast.expr) -> Operand:
        if not isinstance(node, ast.Name):
            raise NotUnderstoodError(ast.dump(node))
        return self._operand(node.id)

    def _criteria(self, parts: Sequence[ast.expr]) -> dict[Operand, list[ast.expr]]:
        """What is asked of each range; one range may be asked twice."""
        asked: dict[Operand, list[ast.expr]] = {}
        for cells, wanted in zip(parts[::2], parts[1::2], strict=True):
            asked.setdefault(self._rows(cells), []).append(wanted)
        return asked

    def _added(self, cells: Operand, criteria: dict[Operand, list[ast.expr]]) -> _Term:
        """The sum of the cells whose rows meet the criteria."""
        size, bits = pl.col("number").abs().sum(), _LAST_BIT * pl.len()
        sums = {
            "number": pl.col("number").sum(),
            "error": pl.col("error").sum() + (bits + STEP) * size,
        }
        number, error = self._grouped(cells, criteria, sums)
        return _Term(number.fill_null(0.0), error.fill_null(0.0))

    def _counted(self, criteria: dict[Operand, list[ast.expr]]) -> _Term:
        """The number of rows that meet the criteria: a count has no error."""
        (number,) = self._grouped(next(iter(criteria)), criteria, {"number": pl.len().cast(pl.Float64)})
        is_known = all(_is_plain(one) for wanted in criteria.values() for one in wanted)
        return _Term(number.fill_null(0.0) if is_known else _NOTHING, pl.lit(0.0))

    def _grouped(
        self, cells: Operand, criteria: dict[Operand, list[ast.expr]], sums: Mapping[str, pl.Expr]
    ) -> list[pl.Expr]:
        """The sums over the rows of a range that meet the criteria, as columns joined to the frame of formulas.

        A criterion with a pattern or an order is left out: then it is the sums of more rows, never of fewer.
        """
        rows, keys = self._range(cells).with_columns(pl.col("row") - cells.first), list[str]()
        for number, (asked, wanted) in enumerate(criteria.items()):
            key = f"key {number}"
            column = self._range(asked).select(pl.col("row") - asked.first, _key("text", "number").alias(key))
            rows = rows.join(column, on="row", how="full", coalesce=True)
            for one in filter(_is_plain, wanted):
                if isinstance(one, ast.Constant):
                    rows = rows.filter(_meets(pl.col(key), one.value))
                elif isinstance(one, ast.Name):
                    term = self._cell(one.id)
                    self.frame = self.frame.with_columns(_key(term.text, term.number).alias(key))
                    keys.append(key)
        return self._joined(rows, keys, sums)

    def _joined(self, rows: pl.DataFrame, keys: list[str], sums: Mapping[str, pl.Expr]) -> list[pl.Expr]:
        """The sums of the rows by their keys, or of all, as columns of the frame of formulas."""
        number = next(self.numbers)
        names = [f"{name} {number}" for name in sums]
        named = [expression.alias(name) for name, expression in zip(names, sums.values(), strict=True)]
        if keys:
            self.frame = self.frame.join(rows.group_by(keys).agg(named), on=keys, how="left", maintain_order="left")
        else:
            self.frame = self.frame.join(rows.select(named), how="cross")
        self.frame = self.frame.drop(keys)
        return [pl.col(name) for name in names]

    def _range(self, cells: Operand) -> pl.DataFrame:
        column = self.load(cells.sheet, cells.column)
        return column.filter(pl.col("row").is_between(cells.first, cells.last))


def _key(text: str | pl.Expr, number: str | pl.Expr) -> pl.Expr:
    """What a criterion compares: a text without regard to capitals, or a number."""
    words, figure = (pl.col(one) if isinstance(one, str) else one for one in (text, number))
    return pl.coalesce(words.str.to_lowercase(), figure.cast(pl.String))


def _is_plain(wanted: ast.expr) -> bool:
    """Whether a criterion is a cell, a number, or a word that is to be there or not, without a pattern or an order."""
    if isinstance(wanted, ast.Constant) and isinstance(wanted.value, str):
        return not re.search(r"[*?~]|^(>|<(?!>))", wanted.value)
    return isinstance(wanted, ast.Constant | ast.Name)


def _meets(key: pl.Expr, wanted: object) -> pl.Expr:
    """Whether a criterion that is written in the formula holds: a word, or `<>` before a word or before nothing."""
    if isinstance(wanted, int | float):
        return key == str(float(wanted))
    text = str(wanted).lower()
    if text.startswith("<>"):
        return key.fill_null("") != text[2:]
    return key.fill_null("") == text.removeprefix("=")
