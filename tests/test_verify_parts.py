"""What `verify` is made of: cells out of XML of every make, formulas taken apart, digits that may be lost."""

from fractions import Fraction
from io import BytesIO

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reports.verification.formulas import FUNCTIONS, forms, objection
from reports.verification.model import is_that_of_the_code, model
from reports.verification.rounding import allowed, rounded
from reports.verification.xml import ARRAY, CELLS, read_cells

NAMES = {"tie_out_tolerance": "'Parameters'!$C$20"}
SHEETS = ("Ledger", "Ledger 1", "Parameters")


# Cells


def cells(rows: str, head: str = "<worksheet><sheetData>", tail: str = "</sheetData></worksheet>") -> list[tuple]:
    """Row, column, formula, text, number of each cell of these rows."""
    texts = pl.Series("texts", ["shared & so on"], pl.String)
    found = read_cells(BytesIO((head + rows + tail).encode()), texts, frozenset({"7"}))
    return pl.concat([pl.DataFrame(schema=CELLS), *found]).drop("is_error", "is_open").rows()


def test_cells_are_read_whoever_wrote_them() -> None:
    assert cells('<row r="2"><c r="AB2" s="1"><v>1.5</v></c></row>') == [(2, 28, None, None, 1.5)]
    assert cells("<row r='2'><c t='n' s='1' r='B2' ><v>-3E-7</v></c></row>") == [(2, 2, None, None, -3e-7)]
    assert cells('<row><c r="A1" t="s"><v>0</v></c></row>') == [(1, 1, None, "shared & so on", None)]
    runs = '<r><rPr><b/></rPr><t>a &lt;</t></r><r><t xml:space="preserve"> b&#10;</t></r>'
    inline = f'<c r="A1" t="inlineStr"><is>{runs}</is></c>'
    assert cells(f"<row>{inline}</row>") == [(1, 1, None, "a < b\n", None)]
    assert cells('<row><c r="A1" t="b"><v>1</v></c></row>') == [(1, 1, None, "TRUE", None)]
    formula = '<c r="A1" t="str"><f aca="false">IF(B1=&quot;&amp;lt;&quot;,&quot;&quot;,1)</f><v></v></c>'
    assert cells(f"<row>{formula}</row>") == [(1, 1, 'IF(B1="&lt;","",1)', "", None)]
    assert cells('<row><c r="A1"><f>B1</f><v></v></c></row>') == [(1, 1, "B1", None, None)]
    assert cells('<row><c r="A1" s="1"/><c r="B1" s="7"/></row>') == [(1, 2, None, None, None)]
    assert cells("", head="<worksheet><sheetData/></worksheet>", tail="") == []
    prefixed = cells(
        '<x:row r="1"><x:c r="A1"><x:f>B1+1</x:f><x:v>2</x:v></x:c></x:row>',
        "<x:worksheet><x:sheetData>",
        "</x:sheetData>",
    )
    assert prefixed == [(1, 1, "B1+1", None, 2.0)]


def test_shared_formulas_are_written_out_and_arrays_are_marked() -> None:
    rows = (
        '<row r="1"><c r="A1"><f t="shared" ref="A1:A2" si="0">$B1+C$1</f><v>1</v></c></row>'
        '<row r="2"><c r="A2"><f t="shared" si="0"/><v>1</v></c>'
        '<c r="B2"><f t="array" ref="B2">SUM(C1)</f><v>1</v></c></row>'
    )
    assert [row[2] for row in cells(rows)] == ["$B1+C$1", "$B2+C$1", f"{ARRAY}SUM(C1)"]


@pytest.mark.parametrize(
    ("rows", "tail"),
    [
        ('<row r="1"><c r="A1"><v>1</v></c></row>', ""),
        ('<row r="1"><c><v>1</v></c></row>', "</sheetData>"),
        ('<row r="1"><c r="A1"><v><![CDATA[1]]></v></c></row>', "</sheetData>"),
    ],
)
def test_what_could_be_overlooked_is_refused(rows: str, tail: str) -> None:
    with pytest.raises(ValueError, match=r"breaks off|unusual"):
        cells(rows, tail=tail)


# Formulas


def test_formulas_are_one_where_they_read_the_same_cells_from_where_they_stand() -> None:
    texts = ["G7+H7", "G8+H8", "G8+H7", "SUM($A$1:$A$9)*G9", "'Q1'!G7+\"G7\"", "'Q1'!G8+\"G7\""]
    found = forms(pl.DataFrame({"row": [7, 8, 8, 9, 7, 8], "formula": texts}, schema_overrides={"row": pl.UInt32}))
    form = found["form"].to_list()
    assert form[0] == form[1] != form[2]
    assert form[4] == form[5]
    assert found["refs"].to_list() == [[7, 7], [8, 8], [8, 7], [9], [7], [8]]


@pytest.mark.parametrize(
    ("formula", "words"),
    [
        ("IF(A1=0,ROUND('Ledger 1'!B2,2)*tie_out_tolerance,MAX(1,2))", None),
        ("NOW()", "uses NOW"),
        ("INDIRECT(A1)", "uses INDIRECT"),
        ("[1]Ledger!A1", "reads another workbook"),
        ("Lead!A1", "reads the sheet Lead, which this workbook does not have"),
        ("some_name*2", "reads the name some_name"),
        ('"[1] NOW()"', None),
        ("#REF!+1", "reads a cell that is gone"),
        ("A1+", None),
    ],
)
def test_what_formulas_may_not_do_is_named(formula: str, words: str | None) -> None:
    found = objection(formula, NAMES, SHEETS)
    assert found is None if words is None else found is not None and words in found
    assert "SUMIFS" in FUNCTIONS


def test_a_formula_is_held_against_that_of_the_code() -> None:
    expected = {"IF(A{row}={sheet}A{above},SUM('Ledger'!$B$7:$B$7),ROUND(C{row},0))"}
    sheets = {"Ledger", "Breaks"}
    assert is_that_of_the_code("IF(A8=A7,SUM(Ledger!$B$7:$B$99),ROUND(C8,16))", 8, expected, sheets)
    assert not is_that_of_the_code("IF(A8=A7,SUM(Ledger!$B$7:$B$99),ROUND(D8,16))", 8, expected, sheets)
    assert is_that_of_the_code("anything", 8, expected, {"Ledger 1", "Ledger 2"})


def test_the_code_says_what_is_live_and_what_is_tied_out() -> None:
    assert model().cells["Roll-forward"]["Tied"] == {"live formula"}
    assert model().cells["Breaks"]["Explained"] == {"live formula", "recorded"}
    assert model().cells["Sign-off"]["Exceptions"] == {"live formula, own in each row"}
    assert {"rows", "Base change", "Quote change"} <= set(model().tied["Ledger"])


# Digits


def bound(formula: str, columns: dict[int, list[float]], row: int = 1) -> float:
    """What the formula in a row may lose: it reads columns of numbers that are exact but for their saved digits."""

    def load(sheet: str, column: int) -> pl.DataFrame:
        frame = pl.DataFrame({"number": columns[column]}, schema={"number": pl.Float64}).with_row_index("row", 1)
        return frame.select("row", pl.lit(None, pl.String).alias("text"), "number", error=rounded(pl.col("number")))

    one = pl.DataFrame({"row": [row], "formula": [formula], "number": [0.0]}, schema_overrides={"row": pl.UInt32})
    return allowed(forms(one), "Ledger", {}, load)["allowed"].item()


amounts = st.decimals(min_value=-(10**9), max_value=10**9, places=10).map(float)


@given(amounts, amounts, amounts)
def test_what_rounding_to_15_digits_makes_is_allowed(first: float, second: float, third: float) -> None:
    numbers = [Fraction(number) for number in (first, second, third)]
    cut = [float(f"{number:.15g}") for number in (first, second, third)]
    columns = {1: [first], 2: [second], 3: [third]}
    for formula, exact, computed in (
        ("A1+B1-C1", numbers[0] + numbers[1] - numbers[2], cut[0] + cut[1] - cut[2]),
        ("A1*B1", numbers[0] * numbers[1], cut[0] * cut[1]),
        ("MAX(A1,B1)-ABS(C1)", max(numbers[:2]) - abs(numbers[2]), max(cut[:2]) - abs(cut[2])),
        ("SUM(A1:A1)+B1", numbers[0] + numbers[1], cut[0] + cut[1]),
    ):
        assert abs(Fraction(computed) - exact) <= Fraction(bound(formula, columns)), formula
    if third:
        assert abs(Fraction(cut[0] / cut[2]) - numbers[0] / numbers[2]) <= Fraction(bound("A1/C1", columns))


def test_a_small_row_is_judged_by_what_it_reads() -> None:
    columns = {1: [1e9, 1e-6, 1e9], 2: [1e8, 1e-7, 1e8]}
    assert bound("A2+B2", columns) < 2e-20
    assert bound("A1+B1", columns) < 1e-5
    assert bound("IF(A2>0,A1,B2)", columns) == 0.0
    assert bound("SUMIFS(A1:A3,B1:B3,B2)", columns) < 2e-20
    assert bound("SUMIFS(A1:A3,B1:B3,1)", columns) == 0.0
    assert 1e-7 < bound("SUM(A1:A3)", columns) < 1e-5
    assert bound("ROUND(A2-B2,12)", columns) == 0.0
    assert bound('COUNTIFS(A1:A3,">0")', columns) == 0.0


def test_each_step_of_a_long_formula_is_worked_out_once() -> None:
    """Each product reads the value and the error of the one before twice: within each other they would be 2^40."""
    columns = {1: [1.5], 2: [1.0]}
    longest, shortest = bound("A1" + "*B1" * 40, columns), bound("A1*B1", columns)
    assert shortest < longest < 60 * shortest
    assert bound("SUMIFS(A1:A1,B1:B1,B1)+COUNTIFS(A1:A1,A1,B1:B1,B1)+COUNTIFS(B1:B1,B1)", columns) < 1e-13


def test_a_whole_number_loses_nothing_and_a_unit_of_the_15th_digit_is_another_number() -> None:
    numbers = pl.DataFrame({"n": [36202.0, 0.0, 1.5, 9.99999999999999]})
    lost = numbers.select(r=rounded(pl.col("n")))["r"].to_list()
    assert lost[:2] == [0.0, 0.0]
    assert lost[2] == pytest.approx(0.75e-14)
    assert lost[3] == pytest.approx(0.75e-14)
