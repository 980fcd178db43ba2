"""The spreadsheet reading of the column formulas: what gives frames their columns gives sheets live formulas.

`Column.of(lambda name: Cell.at(address))` runs a formula of `ledger.measures` on cells. What comes back is a
`Cell` that holds the formula's text, with no more brackets than needed, and the conditions under which it
shows nothing.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from ledger.columns import Column
from ledger.measures import larger, positive_ratio, ratio

LARGEST_AMOUNT = "largest_amount"
"""Name of the parameter that every amount is below."""
_SUM, _PRODUCT, _ATOM = range(3)


@dataclass(frozen=True)
class Cell:
    """A cell, or an expression on cells.

    `empty_when` lists the cells that may be empty: if one is, the result is empty too, never an error.
    `nothing_when` lists further conditions for an empty result, such as a zero denominator, in the order they
    must be asked.
    """

    text: str
    binding: int = _ATOM
    empty_when: tuple[str, ...] = ()
    nothing_when: tuple[str, ...] = ()

    @classmethod
    def at(cls, address: str, may_be_empty: bool = False) -> "Cell":
        """The cell at an address (or under any other name a formula can read)."""
        return cls(address, empty_when=(address,) if may_be_empty else ())

    @property
    def may_be_empty(self) -> bool:
        """Whether the formula can show nothing."""
        return bool(self.empty_when or self.nothing_when)

    @property
    def formula(self) -> str:
        """The formula without its equals sign: empty results first, then the arithmetic."""
        text = self.text
        for condition in reversed(self.nothing_when):
            text = f'IF({condition},"",{text})'
        empties = [f'{address}=""' for address in self.empty_when]
        if not empties:
            return text
        condition = empties[0] if len(empties) == 1 else f"OR({','.join(empties)})"
        return f'IF({condition},"",{text})'

    def __add__(self, other: Any) -> "Cell":
        """Sum."""
        return _joined(self, "+", _cell(other), _SUM)

    def __radd__(self, other: Any) -> "Cell":
        """Sum."""
        return _cell(other) + self

    def __sub__(self, other: Any) -> "Cell":
        """Difference."""
        return _joined(self, "-", _cell(other), _SUM)

    def __rsub__(self, other: Any) -> "Cell":
        """Difference."""
        return _cell(other) - self

    def __mul__(self, other: Any) -> "Cell":
        """Product."""
        return _joined(self, "*", _cell(other), _PRODUCT)

    def __rmul__(self, other: Any) -> "Cell":
        """Product."""
        return _cell(other) * self

    def __truediv__(self, other: Any) -> "Cell":
        """Quotient."""
        return _joined(self, "/", _cell(other), _PRODUCT)

    def __rtruediv__(self, other: Any) -> "Cell":
        """Quotient."""
        return _cell(other) / self


@larger.register
def _(first: Cell, second: Any) -> Cell:
    other = _cell(second)
    return _with_conditions(f"MAX({first.text},{other.text})", _ATOM, first, other)


@ratio.register
def _(numerator: Cell, denominator: Any) -> Cell:
    below = _cell(denominator)
    return _nothing_if(_too_large(numerator, below), numerator / below)


@positive_ratio.register
def _(numerator: Cell, denominator: Any) -> Cell:
    below = _cell(denominator)
    quotient = _nothing_if(f"MIN({numerator.text},{below.text})<=0", numerator / below)
    return _nothing_if(_too_large(numerator, below), quotient)


def cells(columns: Iterable[Column], address: Callable[[str], str | None], empties: set[str]) -> dict[str, Cell]:
    """The formula of each computed column, by name, reading other columns at `address(name)`.

    A computed column without an address has no cell: its formula stands within those that read it.
    `empties` names the columns whose cells may be empty. A computed column joins them when its own formula
    can show nothing, so `columns` must come in an order in which every formula reads columns before it.
    """
    found: dict[str, Cell] = {}
    may_be_empty = set(empties)

    def read(name: str) -> Cell:
        where = address(name)
        return found[name] if where is None else Cell.at(where, name in may_be_empty)

    for column in columns:
        if column.formula is None:
            continue
        cell: Cell = column.of(read)
        found[column.name] = cell
        if cell.may_be_empty:
            may_be_empty.add(column.name)
    return found


def in_words(column: Column) -> str:
    """The formula with the columns' names in it, as the glossary shows it; empty for a recorded column."""
    return column.of(Cell.at).formula if column.formula else ""


def _joined(left: Cell, operator: str, right: Cell, binding: int) -> Cell:
    """Two operands with brackets where the order of operations would change without them.

    A sum on the right of a sum keeps its brackets too: a spreadsheet rounds after each step, from left to
    right, and `a+1-1` loses what `a+(1-1)` keeps.
    """
    text = f"{_bracketed(left, binding)}{operator}{_bracketed(right, binding + 1)}"
    return _with_conditions(text, binding, left, right)


def _bracketed(cell: Cell, binding: int) -> str:
    return cell.text if cell.binding >= binding else f"({cell.text})"


def _with_conditions(text: str, binding: int, left: Cell, right: Cell) -> Cell:
    empty = dict.fromkeys(left.empty_when + right.empty_when)
    nothing = dict.fromkeys(left.nothing_when + right.nothing_when)
    return Cell(text, binding, tuple(empty), tuple(nothing))


def _too_large(numerator: Cell, denominator: Cell) -> str:
    """Where a quotient is no amount, as in the frames: it would be too large, or the denominator is zero."""
    return f"ABS({numerator.text})/{LARGEST_AMOUNT}>=ABS({denominator.text})"


def _nothing_if(condition: str, cell: Cell) -> Cell:
    return Cell(cell.text, cell.binding, cell.empty_when, (*cell.nothing_when, condition))


def _cell(value: Any) -> Cell:
    """A whole number as it stands in a formula; every other constant belongs on the Parameters sheet."""
    if isinstance(value, Cell):
        return value
    if isinstance(value, int):
        return Cell(str(value), _ATOM if value >= 0 else _SUM)
    raise TypeError(f"{value!r} cannot stand in a formula: only cells and whole numbers can")
