"""The formula a sheet gets from a column, against the same column in exact fractions."""

import random
from fractions import Fraction
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from xlsxwriter import Workbook

from ledger.columns import LEDGER, POSITIONS, Column
from ledger.money import LARGEST
from reports.cells.formulas import LARGEST_AMOUNT, Cell, cells, in_words
from reports.picture import convert

COMPUTED = [column for column in (*LEDGER, *POSITIONS) if column.formula]
FLAGS = {"is_long", "margin_is_base"}
A, B, C = Cell.at("A1"), Cell.at("B1"), Cell.at("C1")


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        (A + B - C, "A1+B1-C1"),
        (A + (B - C), "A1+(B1-C1)"),
        (A - (B + C), "A1-(B1+C1)"),
        (A * (B + C), "A1*(B1+C1)"),
        (A * B / C, "A1*B1/C1"),
        (A * (B / C), "A1*(B1/C1)"),
        (A * B + C / A, "A1*B1+C1/A1"),
        (A / (B * C), "A1/(B1*C1)"),
        (A / (B / C), "A1/(B1/C1)"),
        (1 - A * 2, "1-A1*2"),
        (A - -1, "A1-(-1)"),
        (1 / (A - B), "1/(A1-B1)"),
        (2 * (0 - A), "2*(0-A1)"),
    ],
)
def test_brackets_stand_where_the_order_of_operations_needs_them(cell: Cell, text: str) -> None:
    assert cell.formula == text


@pytest.mark.parametrize("constant", [0.5, "1", None, Fraction(1, 2)])
def test_only_whole_numbers_stand_in_a_formula(constant: Any) -> None:
    with pytest.raises(TypeError, match="cannot stand in a formula"):
        A + constant


def test_a_formula_reads_as_the_glossary_shows_it() -> None:
    words = {column.name: in_words(column) for column in COMPUTED}
    assert words["base_closing"] == "base_opening+base_change"
    assert words["maintenance_margin"] == "liability_value*maintenance_rate/margin_price"
    both = "equity_value/liability_value"
    inner = f'IF(ABS({both})/largest_amount>=ABS(requirement_rate),"",{both}/requirement_rate)'
    assert words["margin_ratio"] == f'IF(ABS(equity_value)/largest_amount>=ABS(liability_value),"",{inner})'


def test_an_empty_cell_makes_what_reads_it_empty() -> None:
    found = cells(POSITIONS, lambda name: name, {"mark_price"})
    assert found["margin_price"].empty_when == ("mark_price",)
    assert found["net_value"].formula == 'IF(mark_price="","",base_owed*mark_price+quote_owed)'
    assert found["floating_pnl"].empty_when == ("net_value", "margin_price")
    assert found["base_owed"].formula == "base_leg-base_interest"


def inputs(column: Column, count: int = 50) -> list[dict[str, float]]:
    """Varied values for a formula's parameters: all sizes, both signs, zeros where there is a result."""
    chance = random.Random(column.name)
    sizes = (0.001, 0.5, 1.0, 30.0, 2500.0, 99_999.0)

    def number(name: str) -> float:
        if name in FLAGS:
            return chance.randint(0, 1)
        value = round(chance.uniform(0.1, 1) * chance.choice(sizes), 6)
        positive = name.endswith(("price", "rate")) or chance.random() < 0.6
        return (
            0
            if chance.random() < 0.05 and not name.endswith(("price", "liability_value"))
            else value
            if positive
            else -value
        )

    return [{name: number(name) for name in column.parameters} for _ in range(count)]


@pytest.mark.libreoffice
@pytest.mark.usefixtures("libreoffice")
def test_every_formula_agrees_with_exact_fractions(tmp_path: Path) -> None:
    path = tmp_path / "formulas.xlsx"
    with Workbook(str(path)) as book:
        for number, column in enumerate(COMPUTED):
            write_cases(book.add_worksheet(str(number)), column)
        book.define_name(LARGEST_AMOUNT, f"={LARGEST}")
    computed = openpyxl.load_workbook(convert(path, "xlsx", tmp_path / "recalculated"), data_only=True)
    compared = 0
    for number, column in enumerate(COMPUTED):
        for row, case in enumerate(inputs(column), 1):
            found = computed[str(number)].cell(row, 1).value
            compared += agrees(column, case, found)
    assert compared > 40 * len(COMPUTED)


def write_cases(sheet: Any, column: Column) -> None:
    """One case a row: the formula in column A, its parameters from B on."""
    for row, case in enumerate(inputs(column)):
        letters = {name: f"{chr(ord('B') + place)}{row + 1}" for place, name in enumerate(case)}
        formula: Cell = column.of(lambda name, at=letters: Cell.at(at[name], may_be_empty=True))
        sheet.write_formula(row, 0, f"={formula.formula}", None, "not recalculated")
        for place, value in enumerate(case.values(), 1):
            sheet.write_number(row, place, value)


def agrees(column: Column, case: dict[str, float], found: Any) -> bool:
    """Whether a number was compared; fails when it is not the exact one to 13 digits."""
    exact = column.of(lambda name: Fraction(repr(case[name])))
    if exact is None:
        assert found in (None, ""), (column.name, case)
        return False
    assert abs(Fraction(found) - exact) <= Fraction(1, 10**13) * abs(exact), (column.name, case, found)
    return True
