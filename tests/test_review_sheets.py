"""What the workbook says of reviews: entries carried on, days open, bands of age, resolved breaks."""

import re
import zipfile
from pathlib import Path

import openpyxl
import polars as pl
import pytest
from test_reconciliation_sheets import AGEING_AT, LONG, all_frames, write_book
from test_workbook import HEADER_ROW, column, formulas, values

from ledger.reconciliation.columns import BREAKS, REVIEWS
from reports.picture import convert

pytestmark = pytest.mark.filterwarnings("ignore:Unable to read chart")

BY_CAUSE = "Breaks by cause"
BANDS = ["up to 7 days", "over 7 to 30 days", "over 30 to 90 days", "over 90 days"]


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("reviews") / "book.xlsx"
    write_book(all_frames(), path)
    return path


def by_age(saved: openpyxl.Workbook) -> dict[str, list]:
    """The table of ages: its columns by heading."""
    sheet = saved[BY_CAUSE]
    header = next(row for row in range(1, 100) if sheet.cell(row, 1).value == "Age band")
    headings = ("Age band", "Breaks", "Material", "Open, material", "Open, other", "Settled")
    return {heading: column(saved, BY_CAUSE, heading, header)[:4] for heading in headings}


def changed(book: Path, folder: Path, **cells: tuple[str, int, str, object]) -> openpyxl.Workbook:
    """The workbook with cells (sheet, row, heading, value) changed, recalculated by LibreOffice."""
    again = openpyxl.load_workbook(book)
    for sheet, row, heading, value in cells.values():
        headings = [cell.value for cell in again[sheet][HEADER_ROW if sheet == "Breaks" else 4]]
        again[sheet].cell(row, headings.index(heading) + 1).value = value
    again.save(folder / "changed.xlsx")
    return values(convert(folder / "changed.xlsx", "xlsx", folder / "computed"))


def test_entries_of_earlier_runs_stand_where_they_were_typed(book: Path) -> None:
    saved = openpyxl.load_workbook(book)
    assert column(saved, "Breaks", "Owner") == ["=Ann", "=Ann", None]
    assert column(saved, "Breaks", "Status") == ["accepted", "open", "open"]
    comment = f"{LONG.strip()}\nSee _x005F_x0041_."  # as the file has it: a spreadsheet shows _x0041_
    assert column(saved, "Breaks", "Comment") == [None, comment, None]
    headings = [cell.value for cell in saved["Breaks"][HEADER_ROW]]
    owner = saved["Breaks"].cell(HEADER_ROW + 1, headings.index("Owner") + 1)
    assert (owner.data_type, owner.quotePrefix, owner.protection.locked) == ("s", True, False)


def test_breaks_are_aged_from_when_they_were_first_seen(book: Path) -> None:
    saved = values(book)
    assert column(saved, "Breaks", "Change") == ["carried on", "carried on", "new"]
    assert [round(days, 9) for days in column(saved, "Breaks", "Days open")] == [47.208333333, 47.208333333, 7]
    assert column(saved, "Breaks", "Age band") == [BANDS[2], BANDS[2], BANDS[0]]
    assert column(saved, "Breaks", "First seen (ISO)")[0] == "2026-09-22T09:55:00.123Z"
    found = {place[1]: text for place, text in formulas(book).items() if place[0] == "Breaks" and "ageing_at" in text}
    assert len(found) == 3
    assert all(re.fullmatch(r'=IF\((\w+)="","",ageing_at-\1\)', text) for text in found.values())


def test_the_constants_of_ages_are_named_parameters(book: Path) -> None:
    saved = openpyxl.load_workbook(book)
    names = {"ageing_at", "ageing_days_new", "ageing_days_recent", "ageing_days_old"}
    assert names <= set(saved.defined_names)
    place = saved.defined_names["ageing_at"].attr_text.replace("$", "").split("!")[1]
    number = (AGEING_AT.timestamp() / 86_400) + 25_569
    assert abs(saved["Parameters"][place].value - number) < 1e-9


def test_breaks_are_counted_and_drawn_by_age(book: Path) -> None:
    assert by_age(values(book)) == {
        "Age band": BANDS,
        "Breaks": [1, 0, 2, 0],
        "Material": [0, 0, 1, 0],
        "Open, material": [0, 0, 0, 0],
        "Open, other": [1, 0, 1, 0],
        "Settled": [0, 0, 1, 0],
    }
    with zipfile.ZipFile(book) as archive:
        charts = [archive.read(name).decode() for name in archive.namelist() if "charts/chart" in name]
    ages = next(chart for chart in charts if "Breaks by age" in chart)
    letters = re.findall(r"<c:f>'Breaks by cause'!\$(\w)\$\d+:\$\w\$\d+</c:f>", ages)
    assert letters == ["A", "D", "A", "E", "A", "F"]


@pytest.mark.libreoffice
@pytest.mark.usefixtures("libreoffice")
def test_words_and_counts_follow_the_limits_and_the_reviewers(book: Path, tmp_path: Path) -> None:
    limits = column(openpyxl.load_workbook(book), "Parameters", "Name", header=4)
    row = limits.index("ageing_days_new") + 5
    computed = changed(
        book,
        tmp_path,
        limit=("Parameters", row, "Number", 5),
        settled=("Breaks", HEADER_ROW + 2, "Status", "corrected"),
        disputed=("Breaks", HEADER_ROW + 1, "Status", "disputed"),
    )
    found = by_age(computed)
    assert found["Age band"] == ["up to 5 days", "over 5 to 30 days", *BANDS[2:]]
    assert column(computed, "Breaks", "Age band") == [BANDS[2], BANDS[2], "over 5 to 30 days"]
    assert (found["Breaks"], found["Settled"]) == ([0, 1, 2, 0], [0, 0, 1, 0])
    assert (found["Open, material"], found["Open, other"]) == ([0, 0, 1, 0], [0, 1, 0, 0])
    assert computed["Checks"]["B3"].value == "OK"


@pytest.mark.libreoffice
@pytest.mark.usefixtures("libreoffice")
def test_ages_are_counted_over_all_sheets_of_breaks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reports.workbook.SHEET_ROWS_MAX", HEADER_ROW + 2)
    frames = all_frames()
    del frames["roll_forward"]
    write_book(frames, tmp_path / "book.xlsx")
    assert {"Breaks 1", "Breaks 2"} <= set(values(tmp_path / "book.xlsx").sheetnames)
    computed = values(convert(tmp_path / "book.xlsx", "xlsx", tmp_path / "computed"))
    assert by_age(computed)["Breaks"] == [1, 0, 2, 0]
    assert by_age(computed) == by_age(values(tmp_path / "book.xlsx"))


def test_resolved_breaks_keep_what_was_known_of_them(book: Path) -> None:
    saved = values(book)
    assert column(saved, "Earlier breaks", "Figure") == ["margin"]
    assert column(saved, "Earlier breaks", "State") == ["resolved"]
    assert column(saved, "Earlier breaks", "Change") == ["resolved"]
    assert column(saved, "Earlier breaks", "Resolved at (ISO)") == ["2026-11-08T14:55:00.123Z"]
    assert [round(days, 9) for days in column(saved, "Earlier breaks", "Days open")] == [47.208333333]
    assert column(saved, "Earlier breaks", "Difference (exact)") == ["0.000000000000000001"]
    assert column(saved, "Earlier breaks", "Owner") == ["=Ann"]
    sheet = saved["Earlier breaks"]
    assert {rule.type for rule in sheet.data_validations.dataValidation} == {"list", "textLength"}


def test_without_resolved_breaks_there_is_no_such_sheet(tmp_path: Path) -> None:
    frames = all_frames()
    frames["reviews"] = frames["reviews"].filter(pl.col("state") == "open")
    write_book(frames, tmp_path / "book.xlsx")
    assert "Earlier breaks" not in openpyxl.load_workbook(tmp_path / "book.xlsx").sheetnames


def test_reviews_have_the_columns_of_a_break() -> None:
    assert {column.name for column in REVIEWS[:6]} <= {column.name for column in BREAKS}
