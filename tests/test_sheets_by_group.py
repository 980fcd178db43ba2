"""Sheets on paper: which columns stand on which page, what repeats on each, and that nothing is cut."""

import re
import zipfile
from pathlib import Path

import openpyxl
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reports.cells.by_group import _HEADER_MAX, pages, write_sheet
from reports.cells.fields import Field
from reports.cells.tables import BAND, new_book

NOTE = "One row per thing & part. What is more. "
FEW_GROUPS = st.lists(st.tuples(st.sampled_from("abc"), st.floats(9, 60)), min_size=3, max_size=40)


def of(*columns: tuple[str, float]) -> tuple[list[Field], list[float]]:
    """Fields of these groups, and the widths of their columns."""
    fields = [
        Field(f"Column {number}", "exact", pl.col("text"), "", "", "", group=group)
        for number, (group, _) in enumerate(columns)
    ]
    return fields, [width for _, width in columns]


@given(columns=FEW_GROUPS, repeated=st.integers(1, 3), width=st.floats(100, 300))
def test_every_column_is_on_one_page_that_has_room_for_it(
    columns: list[tuple[str, float]], repeated: int, width: float
) -> None:
    fields, widths = of(*columns)
    found = pages(fields, widths, repeated, width)
    assert [number for page in found for number in page] == list(range(repeated, len(fields)))
    taken = [sum(widths[n] + 0.71 for n in (*range(repeated), *page)) for page in found]
    assert all(room <= width + 1e-6 or len(page) == 1 for room, page in zip(taken, found, strict=True))


def test_a_group_begins_a_page_if_that_leaves_the_one_before_full_enough() -> None:
    whole = of(("Name", 10), ("a", 30), ("a", 30), ("b", 30), ("b", 30), ("c", 20))
    assert pages(*whole, repeated=1, width=110) == [[1, 2], [3, 4, 5]]
    broken = of(("Name", 10), ("a", 30), ("b", 30), ("b", 30), ("b", 20))
    assert pages(*broken, repeated=1, width=110) == [[1, 2, 3], [4]]


def printed(
    path: Path, fields: list[Field], texts: list[str], note: str = NOTE
) -> openpyxl.worksheet.worksheet.Worksheet:
    with new_book(path) as book:
        write_sheet(book, "Rows", pl.DataFrame({"text": texts}), fields, note=note, repeated=2)
    return openpyxl.load_workbook(path)["Rows"]


def test_a_group_that_is_broken_is_named_again_on_the_next_page(tmp_path: Path) -> None:
    fields, _ = of(("Name", 0), ("Name", 0), *[("Exact amounts", 0)] * 12)
    sheet = printed(tmp_path / "book.xlsx", fields, ["1" * 40])
    breaks = [one.id for one in sheet.col_breaks.brk]
    assert breaks
    bands = [cell.value for cell in sheet[3]]
    assert [bands.index("Name"), bands.index("Exact amounts")] == [0, 2]
    assert [n for n, band in enumerate(bands) if band == "Exact amounts (continued)"] == breaks
    assert all(sheet.cell(3, n + 1).fill.start_color.rgb == "FF" + BAND["bg_color"][1:] for n in breaks)


def test_title_and_note_are_the_header_of_every_page_and_not_cut_in_cells(tmp_path: Path) -> None:
    sheet = printed(tmp_path / "book.xlsx", of(("Name", 0), ("Name", 0), ("a", 0))[0], ["1", "2"])
    assert sheet.oddHeader.left.text.endswith("One row per thing && part. What is more. ")
    assert sheet["A2"].value == NOTE
    assert sheet.print_area == "'Rows'!$A$3:$C$8"
    assert (sheet.print_title_rows, sheet.print_title_cols) == ("$3:$6", "$A:$B")


@pytest.mark.parametrize("note", ["", "Word " * 100 + ".", "A sentence. " * 40])
def test_a_long_note_is_printed_as_far_as_it_goes(tmp_path: Path, note: str) -> None:
    printed(tmp_path / "book.xlsx", of(("Name", 0), ("Name", 0), ("a", 0))[0], ["1"], note)
    with zipfile.ZipFile(tmp_path / "book.xlsx") as book:
        text = book.read("xl/worksheets/sheet1.xml").decode()
    header = re.search("<oddHeader>(.*?)</oddHeader>", text, re.DOTALL)
    assert header
    said = header[1].replace("&amp;", "&").replace("&quot;", '"')
    assert len(said) <= _HEADER_MAX
    assert said.count("A sentence") == (18 if note.startswith("A sentence") else 0)


def test_headings_units_and_what_cells_are_fit_on_two_lines(tmp_path: Path) -> None:
    headings = ("Liability opening (exact)", "Row", "Unbroken_and_long")
    fields = [
        Field(one, "exact", pl.col("text"), "quote per margin currency", "", "", formulas=("A1",)) for one in headings
    ]
    sheet = printed(tmp_path / "book.xlsx", fields, ["1"])
    found = [sheet.column_dimensions[letter].width for letter in "ABC"]
    assert found == pytest.approx([18.7, 15.7, 20.7], abs=0.02)
