"""The Sign-off sheet: what it counts, what a reviewer's entries change, and what can be filled in."""

import re
from pathlib import Path

import openpyxl
import polars as pl
import pytest
from test_reconciliation_sheets import interest_too
from test_workbook import HEADER_ROW, made_up_frames, values

from ledger.reconciliation.columns import BREAKS
from reports.cells.counts import ABOVE_ZERO, BELOW_ZERO, FILLED, Count, count, rows_of
from reports.cells.fields import Placed, field
from reports.picture import convert
from reports.sheets.sign_off import CONCLUSIONS
from reports.workbook import write_workbook

# The chart that LibreOffice writes again is more than openpyxl can read; the one of the workbook it can.
pytestmark = pytest.mark.filterwarnings("ignore:Unable to read chart")


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("signed") / "book.xlsx"
    write_workbook(interest_too(), path)
    return path


def said(path: Path) -> dict[str, object]:
    """What stands beside each label of the sheet, where it stands first."""
    rows = list(values(path)["Sign-off"].iter_rows(values_only=True))
    return {str(row[0]): row[1] for row in reversed(rows) if row[0] is not None}


def place_of(book: openpyxl.Workbook, label: str) -> int:
    """The last row with this label: entries stand below what is counted."""
    return max(cell.row for cell in book["Sign-off"]["A"] if cell.value == label)


def with_entries(
    book: Path, folder: Path, statuses: dict[int, str], conclusion: str | None = None
) -> tuple[dict[str, object], str | None]:
    """What the sheet says once a reviewer has set these statuses, and what it says of the conclusion."""
    typed = openpyxl.load_workbook(book)
    headings = [cell.value for cell in typed["Breaks"][HEADER_ROW]]
    for number, status in statuses.items():
        typed["Breaks"].cell(HEADER_ROW + number, headings.index("Status") + 1).value = status
    row = place_of(typed, "Conclusion")
    typed["Sign-off"].cell(row, 4).value = conclusion
    typed.save(folder / "typed.xlsx")
    computed = convert(folder / "typed.xlsx", "xlsx", folder / "recalculated")
    return said(computed), values(computed)["Sign-off"].cell(row, 5).value


def test_breaks_are_counted(book: Path) -> None:
    # The first of three, the only material one, was accepted in an earlier run; one more is resolved.
    found = said(book)
    assert (found["Breaks"], found["Open breaks"], found["Open breaks that are material"]) == (3, 2, 0)
    assert found["Open breaks not all explained"] == found["Breaks resolved by now"] == 1
    assert found["Result of all checks"] == values(book)["Checks"]["B3"].value == "OK"
    assert any(label.startswith("Breaks are open: neither") for label in found)


@pytest.mark.libreoffice
@pytest.mark.usefixtures("libreoffice")
def test_what_reviewers_type_changes_the_counts(book: Path, tmp_path: Path) -> None:
    found, _ = with_entries(book, tmp_path, {1: "in review", 2: "corrected"})
    assert (found["Open breaks"], found["Open breaks that are material"]) == (2, 1)
    assert found["Open breaks not all explained"] == 2
    assert any(label.startswith("Breaks are open: neither") for label in found)


@pytest.mark.libreoffice
@pytest.mark.usefixtures("libreoffice")
@pytest.mark.parametrize(
    ("statuses", "conclusion", "contradicts"),
    [
        ({1: "accepted", 2: "corrected", 3: "accepted"}, "reconciled", False),
        ({1: "accepted", 2: "corrected", 3: "disputed"}, "reconciled with accepted breaks", True),
        ({1: "accepted", 2: "corrected", 3: "open"}, "reconciled", True),
    ],
)
def test_a_conclusion_that_the_workbook_does_not_allow_is_told(
    book: Path, tmp_path: Path, statuses: dict[int, str], conclusion: str, contradicts: bool
) -> None:
    found, told = with_entries(book, tmp_path, statuses, conclusion)
    assert found["Breaks"] == 3
    assert str(told or "").startswith("CONTRADICTION") == contradicts


@pytest.mark.libreoffice
@pytest.mark.usefixtures("libreoffice")
def test_reconciled_cannot_be_concluded_where_a_check_fails(tmp_path: Path) -> None:
    frames = interest_too()
    checks = frames["checks"].with_columns(failures=pl.Series([0, 1, 0], dtype=pl.UInt64))
    write_workbook(frames | {"checks": checks}, tmp_path / "book.xlsx")
    settled = dict.fromkeys((1, 2, 3), "accepted")
    found, told = with_entries(tmp_path / "book.xlsx", tmp_path, settled, "reconciled")
    assert str(told).startswith("CONTRADICTION")
    assert any("reconciled cannot be concluded, with accepted breaks it can" in label for label in found)


def test_a_replay_has_no_breaks_to_count(tmp_path: Path) -> None:
    write_workbook(made_up_frames(), tmp_path / "book.xlsx")
    found = said(tmp_path / "book.xlsx")
    assert not any("reak" in label for label in found)
    assert "Nothing on these sheets stands against the conclusion reconciled." in found
    assert {"Checks", "Positions", "Ledger", "Manifest"} <= set(found)
    assert not {"Lead", "Interest"} & set(found)
    frames = made_up_frames()
    frames["checks"] = frames["checks"].with_columns(failures=pl.Series([0, 1, 0], dtype=pl.UInt64))
    write_workbook(frames, tmp_path / "book.xlsx")
    found = said(tmp_path / "book.xlsx")
    assert found["Checks that fail"] == 1
    assert "Not every check says OK: reconciled cannot be concluded. See the sheet Checks." in found


def test_only_entries_are_open_and_they_take_what_they_should(book: Path) -> None:
    saved = openpyxl.load_workbook(book)
    sheet = saved["Sign-off"]
    entries = {cell.coordinate for row in sheet.iter_rows() for cell in row if not cell.protection.locked}
    assert sheet.protection.sheet
    conclusion = f"D{place_of(saved, 'Conclusion')}"
    names = [f"D{place_of(saved, role)}" for role in ("Prepared by", "Reviewed by", "Approved by")]
    assert {conclusion, *names} <= entries
    assert all(sheet[cell].value is None for cell in entries)
    rules = {str(rule.sqref): rule for rule in sheet.data_validations.dataValidation}
    assert set(rules) == entries
    assert rules[conclusion].formula1 == f'"{",".join(CONCLUSIONS)}"'
    assert {rules[name.replace("D", "E")].type for name in names} == {"date"}
    assert sheet.sheet_properties.pageSetUpPr.fitToPage


def test_links_go_to_sheets_that_are_there(book: Path) -> None:
    saved = openpyxl.load_workbook(book)
    linked = {}
    for name in ("About", "Sign-off"):
        links = [cell.hyperlink.location for row in saved[name].iter_rows() for cell in row if cell.hyperlink]
        linked[name] = {re.fullmatch("'(.*)'!A1", link)[1] for link in links}
    assert linked["About"] == set(saved.sheetnames) - {"About"}
    assert {"Checks", "Breaks", "Manifest"} <= linked["Sign-off"] <= set(saved.sheetnames)


def test_a_count_is_a_formula_and_what_it_comes_to() -> None:
    columns = {column.name: column for column in BREAKS}
    fields = tuple(field(columns[name]) for name in ("figure", "difference"))
    amounts = pl.Series(["1", None, "-2", "0"]).cast(pl.Decimal(38, 18))
    frame = pl.DataFrame({"figure": ["margin", None, "margin", "base_leg"], "difference": amounts})
    tables = ((Placed("Breaks", fields, 7, 10), frame), (Placed("Breaks 2", fields, 7, 10), frame))
    assert count(tables, ("Figure", "margin")).value == 4
    assert count(tables[:1], ("Figure", "margin"), ("Difference", BELOW_ZERO)) == Count(
        "COUNTIFS('Breaks'!$A$7:$A$10,\"margin\",'Breaks'!$B$7:$B$10,\"<0\")", 1
    )
    assert count(tables[:1], ("Difference", ABOVE_ZERO)).value == 1
    assert rows_of(tables[:1]) == count(tables[:1], ("Figure", FILLED))
    assert (rows_of(tables) - count(tables[1:], ("Figure", "margin"))).value == 4
    assert rows_of(()) == count((), ("Figure", "margin")) == Count()
