"""The rows of tables, as XML that Polars makes: what other programs read back is what the frame holds."""

import re
import zipfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from xml.etree import ElementTree

import openpyxl
import pandas
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.columns import LEDGER, Column
from ledger.money import MONEY
from reports.cells import bodies, number_formats, packing
from reports.cells import tables as sheets
from reports.cells.bodies import Rows
from reports.cells.fields import Field, Placed, field
from reports.cells.number_formats import number_format, shown
from reports.cells.tables import new_book, write_table
from reports.cells.texts import safe_text
from reports.picture import convert

NUMBERS = [
    *(0.0, -0.0, 1.0, -1.5, 0.1, 0.30000000000000004, 1 / 3, 123456789012345.6, 999999999999999.0, 12345678901234567.0),
    *(1e-18, 1e19, -1e19, 1e-7, 0.00001234, 5e-300, 1.7976931348623157e308, 45962.62153880787),
]
TEXTS = {
    "=1+1": "=1+1",
    "+cmd|' /C calc'!A0": "+cmd|' /C calc'!A0",
    "-7": "-7",
    "@SUM(A1)": "@SUM(A1)",
    "  blanks around  ": "  blanks around  ",
    "<r><t>x</t></r> & \"quoted\" 'so' ]]>": "<r><t>x</t></r> & \"quoted\" 'so' ]]>",
    "&amp; &#65;": "&amp; &#65;",
    "a\x00b\x1bc\nd\te\r": r"a\x00b\x1bc\x0ad\x09e\x0d",
    "right\u202eleft\u2066\ufffe": r"right\x202eleft\x2066\xfffe",
    "_x0041_ _x0041_x0042_": r"\x5fx0041\x5f \x5fx0041\x5fx0042_",
    "smile \U0001f600 caf\u00e9 \u6f22\u5b57": "smile \U0001f600 caf\u00e9 \u6f22\u5b57",
    "1e5": "1e5",
    "TRUE": "TRUE",
    "{row} {} %s $1 \\1": "{row} {} %s $1 \\1",
    "x" * 40_000: "x" * 32_000 + "... (40000 characters)",
    "\U0001f600" * 20_000: "\U0001f600" * 16_000 + "... (20000 characters)",
}
"""Texts, and what a cell holds of them."""


def plain(name: str, kind: str, formula: str = "") -> Field:
    return Field(name, kind, pl.col(name), "", "", "", name, formula=formula)


def saved(path: Path, fields: Sequence[Field], frame: Rows, before: Placed | None = None) -> Placed:
    """One sheet with the table, from its first row on."""
    with new_book(path) as book:
        return write_table(book, book.sheet("Rows"), "Rows", fields, frame, top=1, before=before)


def read(path: Path, data_only: bool = True) -> list[tuple]:
    """The rows below the headings."""
    return list(openpyxl.load_workbook(path, data_only=data_only)["Rows"].iter_rows(min_row=2, values_only=True))


def member(path: Path, name: str = "xl/worksheets/sheet1.xml") -> str:
    with zipfile.ZipFile(path) as archive:
        return archive.read(name).decode()


def table(numbers: Sequence[float | None], texts: Sequence[str | None]) -> tuple[list[Field], pl.DataFrame]:
    """Numbers and texts, each recorded and as the value of a formula that only repeats it."""
    frame = pl.DataFrame({"number": numbers, "text": texts}, schema={"number": pl.Float64, "text": pl.String})
    fields = [plain("number", "plain"), plain("text", "text")]
    return [
        *fields,
        replace(fields[0], heading="number again", formula='IF(A{row}="","",A{row})'),
        replace(fields[1], heading="text again", formula='IF(B{row}="","",B{row})'),
    ], frame


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bodies") / "rows.xlsx"
    numbers = [*NUMBERS, *[None] * len(TEXTS)]
    saved(path, *table(numbers, [*[None] * len(NUMBERS), *TEXTS]))
    return path


def expected() -> list[tuple]:
    return [(one, None) for one in NUMBERS] + [(None, one) for one in TEXTS.values()]


def as_read(rows: Sequence[Sequence]) -> list[tuple]:
    """Rows in which a formula that shows nothing is empty, as readers differ in that."""
    return [tuple(None if cell == "" else cell for cell in row) for row in rows]


def test_openpyxl_reads_every_value(book: Path) -> None:
    assert as_read(read(book)) == [(*pair, *pair) for pair in expected()]
    assert read(book, data_only=False)[0] == (0, None, '=IF(A2="","",A2)', '=IF(B2="","",B2)')


def test_polars_reads_every_value(book: Path) -> None:
    types = {"number": pl.Float64, "text": pl.String, "number again": pl.Float64, "text again": pl.String}
    found = pl.read_excel(book, sheet_name="Rows", schema_overrides=types)
    assert as_read(found.rows()) == [(*pair, *pair) for pair in expected()]


def test_pandas_reads_every_value(book: Path) -> None:
    found = pandas.read_excel(book, sheet_name="Rows", dtype={"text": str, "text again": str}, keep_default_na=False)
    assert as_read(found.to_numpy().tolist()) == [(*pair, *pair) for pair in expected()]


@pytest.mark.libreoffice
@pytest.mark.usefixtures("libreoffice")
def test_libreoffice_reads_every_value_and_computes_the_same(book: Path, tmp_path: Path) -> None:
    found = as_read(read(convert(book, "xlsx", tmp_path)))
    for row, pair in zip(found, expected(), strict=True):
        for cell, value in zip(row, (*pair, *pair), strict=True):
            assert cell == (pytest.approx(value, rel=1e-14, abs=0) if isinstance(value, float) else value)


def test_text_like_a_formula_is_marked_as_text(book: Path) -> None:
    cells = [row[1] for row in openpyxl.load_workbook(book)["Rows"].iter_rows(min_row=2) if row[1].value is not None]
    assert {cell.data_type for cell in cells} == {"s"}
    assert [cell.quotePrefix for cell in cells] == [cell.value[0] in "=+-@" for cell in cells]


def test_no_cell_takes_more_than_a_spreadsheet_allows() -> None:
    for text in ("x" * 40_000, "\U0001f600" * 32_000, "\x01" * 32_000):
        assert len(safe_text(text).encode("utf-16-le")) // 2 <= 32_767


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(allow_nan=False, allow_infinity=False, allow_subnormal=False), min_size=1, max_size=30))
def test_any_number_is_read_back(numbers: list[float]) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "book.xlsx"
        saved(path, *table(numbers, [None] * len(numbers)))
        assert [(row[0], row[2]) for row in read(path)] == [(one, one) for one in numbers]
        types = {"number": pl.Float64, "number again": pl.Float64}
        found = pl.read_excel(path, columns=["number", "number again"], schema_overrides=types)
        assert found.rows() == [(one, one) for one in numbers]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), min_size=1, max_size=30))
def test_any_text_is_read_back(texts: list[str]) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "book.xlsx"
        saved(path, *table([1.0] * len(texts), texts))
        safe = [safe_text(text) for text in texts]
        assert [(row[1], row[3]) for row in read(path)] == [(one, one) for one in safe]
        found = pl.read_excel(
            path, columns=["text", "text again"], schema_overrides=dict.fromkeys(["text", "text again"], pl.String)
        )
        assert found.rows() == [(one, one) for one in safe]


# --- formulas ---------------------------------------------------------------------------------------------------


def test_the_first_row_links_to_the_sheet_before(tmp_path: Path) -> None:
    frame = pl.DataFrame({"change": [1.0, 2.0, 3.0], "closing": [11.0, 13.0, 16.0]})
    fields = [plain("change", "amount"), plain("closing", "amount", "{sheet}B{above}+A{row}")]
    saved(tmp_path / "book.xlsx", fields, frame, before=Placed("Rows & 1", tuple(fields), 2, 9))
    found = [row[1] for row in read(tmp_path / "book.xlsx", data_only=False)]
    assert found == ["='Rows & 1'!B9+A2", "=B2+A3", "=B3+A4"]


def test_each_row_may_have_a_formula_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "CHUNK_ROWS", 2)
    formulas = ("1+1", '"<"&"&"', "3", "4", "5")
    frame = pl.DataFrame({"link": ["2", "<&", "3", "4", None]})
    one = replace(plain("link", "text"), formulas=formulas)
    assert one.how == "live formula, own in each row"
    saved(tmp_path / "book.xlsx", [one], frame)
    assert [row[0] for row in read(tmp_path / "book.xlsx", data_only=False)] == [f"={text}" for text in formulas]
    assert as_read(read(tmp_path / "book.xlsx")) == frame.rows()


@pytest.mark.parametrize("rows", [1, 2, 3, 4, 7])
def test_rows_that_are_made_in_parts_are_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: int) -> None:
    numbers, texts = NUMBERS[:rows], [*TEXTS][:rows]
    fields, frame = table([*numbers[:-1], None], texts)
    fields.append(replace(fields[0], heading="above", formula="A{above}"))
    saved(tmp_path / "whole.xlsx", fields, frame)
    monkeypatch.setattr(bodies, "CHUNK_ROWS", 2)
    saved(tmp_path / "parts.xlsx", fields, frame)
    frame.write_parquet(tmp_path / "rows.parquet")
    saved(tmp_path / "lazy.xlsx", fields, pl.scan_parquet(tmp_path / "rows.parquet"))
    whole, parts, lazy = (member(tmp_path / f"{name}.xlsx") for name in ("whole", "parts", "lazy"))
    assert whole == parts == lazy


# --- the sheet around the rows ----------------------------------------------------------------------------------


def test_the_xml_is_well_formed_and_says_how_far_it_goes(book: Path) -> None:
    rows = 1 + len(NUMBERS) + len(TEXTS)
    with zipfile.ZipFile(book) as archive:
        for name in archive.namelist():
            ElementTree.fromstring(archive.read(name))
    assert f'<dimension ref="A1:D{rows}"/>' in member(book)
    places = re.findall(r'<c r="([A-Z]+)(\d+)"', member(book))
    assert places == [(letter, str(row)) for row in range(1, rows + 1) for letter in "ABCD"]
    found = openpyxl.load_workbook(book)["Rows"].tables["Rows"]
    assert (found.ref, found.autoFilter.ref) == (f"A1:D{rows}",) * 2


def test_two_tables_on_a_sheet_and_the_text_between_them(tmp_path: Path) -> None:
    frame, fields = pl.DataFrame({"text": ["a", "b"]}), [plain("text", "text")]
    with new_book(tmp_path / "book.xlsx") as book:
        sheet = book.sheet("Rows")
        below = write_table(book, sheet, "Below", fields, frame, top=6)
        book.text(sheet, 4, 0, "=between")
        above = write_table(book, sheet, "Above", fields, frame, top=2)
        book.text(sheet, 0, 0, "title")
    assert (above.first, above.last, below.first, below.last) == (3, 4, 7, 8)
    cells = [row[0] for row in openpyxl.load_workbook(tmp_path / "book.xlsx")["Rows"].iter_rows(values_only=True)]
    assert cells == ["title", "text", "a", "b", "=between", "text", "a", "b"]


def test_a_table_without_rows_has_headings_and_filters(tmp_path: Path) -> None:
    saved(tmp_path / "book.xlsx", *table([], []))
    sheet = openpyxl.load_workbook(tmp_path / "book.xlsx")["Rows"]
    assert (sheet.max_row, sheet.auto_filter.ref, len(sheet.tables)) == (1, "A1:D2", 0)


def test_prose_makes_its_row_higher_and_no_higher_than_rows_are(tmp_path: Path) -> None:
    frame = pl.DataFrame({"note": ["short", "x" * 55, None, "x" * 3_000]})
    saved(tmp_path / "book.xlsx", [plain("note", "prose")], frame)
    rows = openpyxl.load_workbook(tmp_path / "book.xlsx")["Rows"].row_dimensions
    assert [rows[row].height for row in range(2, 6)] == [None, 28, None, 406]


def test_narrow_letters_need_fewer_lines_than_wide_ones(tmp_path: Path) -> None:
    texts = ["still, it is all in a little list: " * 2, "W" * 54, "two\nlines"]
    saved(tmp_path / "book.xlsx", [plain("note", "prose")], pl.DataFrame({"note": texts}))
    rows = openpyxl.load_workbook(tmp_path / "book.xlsx")["Rows"].row_dimensions
    assert [rows[row].height for row in range(2, 5)] == [None, 28, 28]


def obstructed(path: Path, row: int, column: int) -> None:
    """A table, and a text at this place (counted from 0), in the way of its rows."""
    with new_book(path) as book:
        sheet = book.sheet("Rows")
        write_table(book, sheet, "Rows", [plain("text", "text")], pl.DataFrame({"text": ["a", "b"]}), top=1)
        book.text(sheet, row, column, "in the way")


@pytest.mark.parametrize(("row", "column"), [(1, 3), (2, 0)])
def test_other_cells_in_the_rows_of_a_table_are_refused(tmp_path: Path, row: int, column: int) -> None:
    with pytest.raises(ValueError, match=f"sheet Rows: row {row + 1} "):
        obstructed(tmp_path / "book.xlsx", row, column)
    assert list(tmp_path.iterdir()) == []


def test_a_number_that_no_cell_can_hold_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="sheet Rows, number: a number that is not finite"):
        saved(tmp_path / "book.xlsx", *table([1.0, float("inf")], [None, None]))
    assert list(tmp_path.iterdir()) == []


def test_what_is_too_long_for_a_short_entry_takes_the_long_form(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bodies, "CHUNK_ROWS", 2)
    monkeypatch.setattr(packing, "ZIP64_LIMIT", 1_000)
    fields, frame = table(NUMBERS, [None] * len(NUMBERS))
    saved(tmp_path / "book.xlsx", fields, frame)
    with zipfile.ZipFile(tmp_path / "book.xlsx") as archive:
        needed = {entry.filename: entry.extract_version for entry in archive.infolist()}
    assert {name for name, version in needed.items() if version == 45} == {"xl/worksheets/sheet1.xml"}
    assert [row[0] for row in read(tmp_path / "book.xlsx")] == NUMBERS


# --- formats of amounts -----------------------------------------------------------------------------------------


def amounts(*rows: tuple[str | None, str | None]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema={"currency": pl.String, "amount": pl.String}, orient="row").with_columns(
        pl.col("amount").cast(MONEY)
    )


def formats(path: Path, frame: pl.DataFrame, **changes: object) -> list[str]:
    """The number format of each amount."""
    one = replace(field(Column("amount", MONEY, "currency", "", "")), **changes)
    saved(path, [one], frame)
    return [row[0].number_format for row in openpyxl.load_workbook(path)["Rows"].iter_rows(min_row=2)]


def test_amounts_have_the_decimals_and_the_code_of_their_currency(tmp_path: Path) -> None:
    frame = amounts(("BTC", "0.001"), ("USDT", "-5"), ("BTC", "2"), (None, "0.5"), ("=1", "1"), ("XRP", None))
    btc, usdt, none = number_format(3, "BTC", 4, 4), number_format(2, "USDT", 4, 4), number_format(2, "", 4, 4)
    assert formats(tmp_path / "book.xlsx", frame) == [btc, usdt, btc, none, none, none]


def test_points_and_codes_stand_under_each_other_and_zero_is_a_dash_under_the_units() -> None:
    assert number_format(2) == '#,##0.00_);[Red](#,##0.00);"-"_._0_0_)'
    assert number_format(3, "BTC", 3, 4) == '#,##0.000_)" BTC   ";[Red](#,##0.000)" BTC   ";"-"_._0_0_0_)"           "'
    assert number_format(2, "USDT", 3, 4).startswith('#,##0.00_)_0" USDT";[Red](#,##0.00)_0" USDT";"-"_._0_0_0_)"')
    codes = ("", "A", "A" * 10, "A" * 20)
    assert max(len(number_format(digits, code, 16, 20)) for digits in (2, 16) for code in codes) <= 255


def test_zero_is_still_a_number(tmp_path: Path) -> None:
    frame = amounts(("BTC", "0"), ("BTC", "1"))
    saved(tmp_path / "book.xlsx", [field(Column("amount", MONEY, "currency", "", ""))], frame)
    assert [row[0] for row in openpyxl.load_workbook(tmp_path / "book.xlsx")["Rows"].values][1:] == [0, 1]


def test_one_currency_needs_no_code(tmp_path: Path) -> None:
    frame = amounts(("BTC", "0.123456789"), ("BTC", "1"))
    assert formats(tmp_path / "book.xlsx", frame) == [number_format(8)] * 2
    assert formats(tmp_path / "book.xlsx", frame, decimals_max=16) == [number_format(9)] * 2
    assert formats(tmp_path / "book.xlsx", frame.drop("currency"), decimals_max=3) == [number_format(3)] * 2


def test_currencies_beyond_what_a_spreadsheet_takes_have_no_codes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = amounts(("A", "1"), ("B", "0.001"), ("C", "1"))
    monkeypatch.setattr(number_formats, "CODES_MAX", 2)
    assert formats(tmp_path / "book.xlsx", frame) == [number_format(3)] * 3
    monkeypatch.undo()
    monkeypatch.setattr(sheets, "FORMATS_MAX", 2)
    assert formats(tmp_path / "book.xlsx", frame) == [number_format(3)] * 3


def test_the_unit_of_a_column_says_which_currency_it_is() -> None:
    frame = pl.DataFrame(
        {
            "position": ["a:b:BTC-USDT:BTC", "main:ETH-EUR:EUR"],
            "direction": ["long", "short"],
            "fee_currency": ["USDT", "EUR"],
        }
    )
    units = {one.unit for one in LEDGER if one.dtype == MONEY} | {"asset's currency"}
    found = {}
    for unit in units:
        code = number_formats.code_of(Field("", "amount", pl.col("x"), unit, "", ""), frame.columns)
        found[unit] = None if code is None else frame.select(code).to_series().to_list()
    assert found == {
        "base": ["BTC", "ETH"],
        "quote": ["USDT", "EUR"],
        "margin currency": ["BTC", "EUR"],
        "liability's currency": ["USDT", "ETH"],
        "asset's currency": ["BTC", "EUR"],
        "fee_currency": ["USDT", "EUR"],
        "quote per base": None,
        "times": None,
    }


def test_columns_are_wide_enough_for_the_code() -> None:
    one = field(Column("amount", MONEY, "currency", "", ""))
    several = shown([one], amounts(("BTC", "0.001"), ("USDT", "1")))
    alone = shown([one], amounts(("BTC", "0.001"), ("BTC", "1")))
    assert (several[0].width, alone[0].width) == (3 + 1 + len("USDT"), 3)
