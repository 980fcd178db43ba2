"""Large sets: no row is ever lost, be it on a sheet, on one of several, or in a file beside the workbook."""

import shutil
from pathlib import Path

import openpyxl
import polars as pl
import pytest
from click.testing import CliRunner
from test_reconciliation_sheets import differing, interest_too
from test_workbook import HEADER_ROW, column, made_up_frames, values
from xlsxwriter.exceptions import FileCreateError

from ledger.inputs import file_facts
from ledger.refusals import LedgerError
from reports import detail, workbook
from reports.cells.fields import without_number
from reports.command_line import main
from reports.detail import DETAIL_ROWS, FRAMES_BY_SHEET
from reports.workbook import write_workbook

# The chart that LibreOffice writes again is more than openpyxl can read; the one of the workbook it can.
pytestmark = pytest.mark.filterwarnings("ignore:Unable to read chart")

LIMIT = 4
SHEET_ROWS = HEADER_ROW + LIMIT


def sheets_of(book: openpyxl.Workbook, name: str) -> list[str]:
    """The sheets that have the parts of one."""
    return [sheet for sheet in book.sheetnames if without_number(sheet) == name]


def lines_of(book: openpyxl.Workbook, sheet: str) -> dict[str, tuple]:
    """The lines of the tie-out of a sheet: sum, engine's total, exact total and result, by column."""
    rows = list(book["Checks"].iter_rows(values_only=True))
    header = next(place for place, row in enumerate(rows) if row[0] == "Sheet")
    return {row[1]: (row[2], row[3], row[5], row[8]) for row in rows[header + 1 :] if row[0] == sheet}


def manifest(book: openpyxl.Workbook, heading: str) -> list[dict]:
    """The rows of the table on the Manifest that has the heading first."""
    rows = list(book["Manifest"].iter_rows(values_only=True))
    header = next(place for place, row in enumerate(rows) if row[0] == heading)
    found = []
    for row in rows[header + 1 :]:
        if row[0] is None:
            break
        found.append(dict(zip(rows[header], row, strict=True)))
    return found


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, pl.DataFrame]]:
    """A workbook of which all detail of more than a few rows is beside it, and its frames."""
    path, frames = tmp_path_factory.mktemp("beside") / "book.xlsx", interest_too()
    write_workbook(frames, path, LIMIT)
    return path, frames


@pytest.fixture
def beside(written: tuple[Path, dict[str, pl.DataFrame]], tmp_path: Path) -> tuple[Path, dict[str, pl.DataFrame]]:
    """A copy of that workbook and of the files beside it, which a test may replace."""
    path, frames = written
    for file in path.parent.iterdir():
        shutil.copyfile(file, tmp_path / file.name)
    return tmp_path / path.name, frames


def test_every_row_is_on_a_sheet_or_in_the_file_beside(beside: tuple[Path, dict[str, pl.DataFrame]]) -> None:
    path, frames = beside
    whole = path.with_name("whole.xlsx")
    write_workbook(frames, whole)
    on_sheets = {row["Sheet"]: row["Rows on the sheet"] for row in manifest(values(whole), "Number")}
    saved = openpyxl.load_workbook(path)
    moved = 0
    for sheet, name in FRAMES_BY_SHEET.items():
        rows = on_sheets.get(sheet, 0)
        file = path.with_name(f"book.{name}.parquet")
        assert file.is_file() == (rows > LIMIT)
        assert (sheet in saved.sheetnames) == (0 < rows <= LIMIT)
        if file.is_file():
            moved += 1
            assert pl.read_parquet(file).height == rows
    assert moved >= 3


def test_a_file_beside_has_the_rows_as_the_engine_gave_them(beside: tuple[Path, dict[str, pl.DataFrame]]) -> None:
    path, frames = beside
    expected = frames["ledger"].sort("position", "event_number", "part", maintain_order=True)
    found = pl.read_parquet(path.with_name("book.ledger.parquet"))
    assert found.equals(expected)
    assert found.schema == expected.schema


def test_the_manifest_names_each_file_beside_with_its_hash_and_sums(
    beside: tuple[Path, dict[str, pl.DataFrame]],
) -> None:
    path, frames = beside
    saved = values(path)
    files = {row["Part"]: row for row in manifest(saved, "Part")}
    assert set(files) >= {"Ledger", "Interest", "Comparison"}
    for row in files.values():
        facts = file_facts(0, path.with_name(row["File"]), 0, [])
        assert (row["Bytes"], row["SHA-256"]) == (facts["bytes"], facts["sha256"])
        assert row["Rows"] == pl.read_parquet(path.with_name(row["File"])).height
    ledger = lines_of(saved, "Ledger")
    assert ledger["rows"][:3] == (9, 9, "9")
    total = frames["ledger"]["base_change"].sum()
    assert ledger["Base change"][2] == str(total).rstrip("0").rstrip(".")
    assert {result for *_, result in ledger.values()} == {"OK"}
    assert saved["Checks"]["B3"].value == "OK"


def test_about_sign_off_and_parameters_say_so(beside: tuple[Path, dict[str, pl.DataFrame]]) -> None:
    saved = values(beside[0])
    about = [str(row[1]) for row in saved["About"].iter_rows(values_only=True)]
    assert any(text.startswith("Ledger: 9 rows in book.ledger.parquet") for text in about)
    areas = [row[0] for row in saved["Sign-off"].iter_rows(values_only=True)]
    assert "Ledger (in a file)" in areas
    limits = dict(zip(column(saved, "Parameters", "Name", 4), column(saved, "Parameters", "Value", 4), strict=True))
    assert limits["detail_rows"] == str(LIMIT)
    assert {"ledger (file beside)", "Positions"} <= set(column(saved, "Glossary", "Where", 4))
    assert "Ledger" not in column(saved, "Glossary", "Where", 4)


@pytest.mark.libreoffice
@pytest.mark.usefixtures("libreoffice")
def test_what_is_beside_leaves_values_that_are_recalculated_to_themselves(
    beside: tuple[Path, dict[str, pl.DataFrame]], tmp_path: Path
) -> None:
    found = differing(beside[0], tmp_path / "recalculated")
    assert [one for one in found if not (one[0] == "Checks" and one[1][0] == "E")] == []


def test_a_split_sheet_has_a_line_that_totals_all_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workbook, "SHEET_ROWS_MAX", SHEET_ROWS)
    write_workbook(made_up_frames(), tmp_path / "book.xlsx")
    saved = values(tmp_path / "book.xlsx")
    parts = [lines_of(saved, name) for name in sheets_of(saved, "Ledger")]
    whole = lines_of(saved, "Ledger")
    assert len(parts) == 3
    assert whole["rows"][:3] == (9, 9, "9")
    assert set(whole) == set(parts[0])
    for name, line in whole.items():
        assert line[0] == pytest.approx(sum(part[name][0] for part in parts), rel=1e-12)
        assert line[3] == "OK"
    rows = [row for name in sheets_of(saved, "Ledger") for row in column(saved, name, "Event ID")]
    assert len(rows) == 9


@pytest.mark.libreoffice
@pytest.mark.usefixtures("libreoffice")
def test_sums_of_the_manifest_go_over_all_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workbook, "SHEET_ROWS_MAX", SHEET_ROWS + 4)
    write_workbook(interest_too(), tmp_path / "book.xlsx")
    found = differing(tmp_path / "book.xlsx", tmp_path / "recalculated")
    assert [one for one in found if not (one[0] == "Checks" and one[1][0] == "E")] == []


def test_files_of_an_earlier_run_are_removed(beside: tuple[Path, dict[str, pl.DataFrame]]) -> None:
    path, frames = beside
    write_workbook(frames, path)
    assert [file.name for file in path.parent.iterdir()] == ["book.xlsx"]


def test_a_file_of_someone_else_is_never_replaced(tmp_path: Path) -> None:
    foreign = tmp_path / "book.ledger.parquet"
    pl.DataFrame({"theirs": [1]}).write_parquet(foreign)
    for content in (foreign.read_bytes(), b"no Parquet at all"):
        foreign.write_bytes(content)
        with pytest.raises(LedgerError, match=r"book\.ledger\.parquet: is not of an earlier run; move it away"):
            write_workbook(made_up_frames(), tmp_path / "book.xlsx", LIMIT)
        assert foreign.read_bytes() == content
        assert not (tmp_path / "book.xlsx").exists()


@pytest.mark.parametrize("fails_at", [1, 2, 3, 4])
def test_the_files_appear_together_or_not_at_all(
    beside: tuple[Path, dict[str, pl.DataFrame]], monkeypatch: pytest.MonkeyPatch, fails_at: int
) -> None:
    path, frames = beside
    before = {file.name: file.read_bytes() for file in path.parent.iterdir()}
    moves, move = [], Path.replace

    def failing(source: Path, target: Path) -> Path:
        assert path.exists()  # there is a workbook at every moment, the old one or the new
        moves.append(target)
        if len(moves) == fails_at:
            raise PermissionError(13, "no", str(target))
        return move(source, target)

    put = detail.put_in_place

    def put_and_fail(drafts: Path, target: Path) -> None:
        monkeypatch.setattr(Path, "replace", failing)
        put(drafts, target)

    monkeypatch.setattr(workbook, "put_in_place", put_and_fail)
    changed = frames | {"checks": frames["checks"].head(2)}
    with pytest.raises(LedgerError, match="cannot be written"):
        write_workbook(changed, path, LIMIT)
    assert {file.name: file.read_bytes() for file in path.parent.iterdir()} == before


def test_a_folder_of_the_workbooks_name_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "book.xlsx").mkdir()
    (tmp_path / "book.xlsx" / "kept").write_text("kept")
    with pytest.raises(LedgerError, match="cannot be written"):
        write_workbook(made_up_frames(), tmp_path / "book.xlsx", LIMIT)
    assert (tmp_path / "book.xlsx" / "kept").read_text() == "kept"
    assert [file.name for file in tmp_path.iterdir()] == ["book.xlsx"]


def test_saved_sums_of_files_are_the_totals_that_their_formulas_read(
    beside: tuple[Path, dict[str, pl.DataFrame]],
) -> None:
    path, _ = beside
    book = values(path)
    lines = [line for part in FRAMES_BY_SHEET for line in lines_of(book, part).values()]
    assert len(lines) > 10
    assert [line for line in lines if line[0] != line[1]] == []


def test_a_full_disk_is_told_in_plain_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise FileCreateError(OSError(28, "No space left on device"))

    monkeypatch.setattr("xlsxwriter.Workbook.close", full)
    with pytest.raises(LedgerError, match=r"cannot be written \(No space left on device\)"):
        write_workbook(made_up_frames(), tmp_path / "book.xlsx", LIMIT)
    assert list(tmp_path.iterdir()) == []


def test_the_same_frames_give_the_same_files(beside: tuple[Path, dict[str, pl.DataFrame]]) -> None:
    path, frames = beside
    before = {file.name: file.read_bytes() for file in path.parent.iterdir()}
    write_workbook(frames, path, LIMIT)
    assert {file.name: file.read_bytes() for file in path.parent.iterdir()} == before


def test_the_command_says_what_is_beside(tmp_path: Path) -> None:
    for name, frame in made_up_frames().items():
        frame.write_parquet(tmp_path / f"{name}.parquet")
    told = CliRunner().invoke(main, ["report", str(tmp_path), str(tmp_path / "out.xlsx"), "--detail-rows", "5"])
    assert told.exit_code == 0, told.output
    assert "Ledger: 9 rows in out.ledger.parquet beside this workbook, as there are more than 5" in told.output
    refused = CliRunner().invoke(main, ["report", str(tmp_path), str(tmp_path / "out.xlsx"), "--detail-rows", "0"])
    assert refused.exit_code == 2
    for command in ("report", "reconcile"):
        assert f"{DETAIL_ROWS:,}" in CliRunner().invoke(main, [command, "--help"]).output
