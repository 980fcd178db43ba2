"""The Manifest: inputs, their control sums held against the sheet Ledger, and the rows of every sheet."""

import random
from pathlib import Path

import openpyxl
import polars as pl
import pytest
from strategies import frame, history
from test_large_sets import manifest
from test_workbook import HEADER_ROW, differences, formulas, made_up_frames, values

from ledger.columns import INPUTS
from ledger.files import Request, replay_files
from ledger.input_sums import TIES
from reports.cells.fields import heading
from reports.frames import read_frames
from reports.picture import convert
from reports.sheets import manifest_sums as sheets_manifest_sums
from reports.workbook import write_workbook

# The chart that LibreOffice writes again is more than openpyxl can read; the one of the workbook it can.
pytestmark = pytest.mark.filterwarnings("ignore:Unable to read chart")

INPUTS_TOP, SUMS_TOP = 6, 12


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A replay of many positions with every kind of event, flips, left-over parts and adjustments among them."""
    where = tmp_path_factory.mktemp("replay")
    paths = []
    events = pl.concat(
        frame(history(random.Random(seed), events=40, positions=3)).with_columns(
            account=pl.concat_str("account", pl.lit(f"{seed}")), event_id=pl.concat_str("event_id", pl.lit(f"-{seed}"))
        )
        for seed in range(8)
    )
    for (number,), rows in events.group_by("input", maintain_order=True):
        paths.append(where / f"events_{number}.parquet")
        rows.sort("time", maintain_order=True).drop("input", "row").write_parquet(paths[-1])
    assert set(events["kind"]) == {kind for tie in TIES for kind in tie.kinds}
    replay_files(Request(paths), where / "books")
    return where / "books"


@pytest.fixture(scope="module")
def book(folder: Path) -> Path:
    write_workbook(read_frames(folder), folder / "book.xlsx")
    return folder / "book.xlsx"


def sums(path: Path) -> list[dict]:
    """The table of control sums: the second one that begins with the heading Input."""
    rows = list(values(path)["Manifest"].iter_rows(values_only=True))
    header = [place for place, row in enumerate(rows) if row[0] == "Input"][1]
    lines = rows[header + 1 :]
    end = next((place for place, row in enumerate(lines) if row[0] is None), len(lines))
    return [dict(zip(rows[header], row, strict=True)) for row in lines[:end]]


def test_inputs_have_the_headings_of_the_frame_and_its_values(folder: Path, book: Path) -> None:
    found, inputs = manifest(values(book), "Input"), read_frames(folder)["inputs"]
    assert {heading(column.name) for column in INPUTS} <= set(found[0])
    assert [row["SHA-256"] for row in found] == inputs["sha256"].to_list()
    assert [row["File"] for row in found] == inputs["file"].to_list()
    assert [row["First time (ISO)"][:19] for row in found] == [
        time.strftime("%Y-%m-%dT%H:%M:%S") for time in inputs["first_time"]
    ]


@pytest.mark.libreoffice
@pytest.mark.usefixtures("libreoffice")
def test_live_sums_are_recalculated_to_those_of_the_engine(folder: Path, book: Path, tmp_path: Path) -> None:
    live = {cell for sheet, cell in formulas(book) if sheet == "Manifest"}
    assert len(live) > 40
    assert [one for one in differences(book, tmp_path) if one[0] in ("Manifest", "Sign-off")] == []
    frame = read_frames(folder)["input_sums"]
    assert frame["booked"].count() > 40
    assert [row["Total (exact)"] for row in sums(book)] == [
        f"{total:f}".rstrip("0").rstrip(".") for total in frame["total"]
    ]


def test_what_the_ledger_has_not_as_such_is_not_tied(book: Path) -> None:
    for row in sums(book):
        is_record = row["Column"] == "amount" and row["Kind"] in ("fill", "liquidation")
        assert row["Tied out"] == ("not tied" if is_record else "OK")
        assert (row["Booked"] is None) == is_record


def test_the_rows_of_every_sheet_are_counted(book: Path) -> None:
    found = manifest(values(book), "Number")
    sheets = [row["Sheet"] for row in found]
    saved = openpyxl.load_workbook(book)
    assert sheets == [name for name in saved.sheetnames if name in sheets]
    assert {"Positions", "Ledger"} <= set(sheets)
    ledger = next(row for row in found if row["Sheet"] == "Ledger")
    assert ledger["Rows on the sheet"] == ledger["Engine's rows"] == saved["Ledger"].max_row - HEADER_ROW
    assert {row["Tied out"] for row in found} == {"OK"}


@pytest.mark.libreoffice
@pytest.mark.usefixtures("libreoffice")
@pytest.mark.parametrize(("column", "value"), [("Quantity", 1234.5), ("Kind", "margin"), ("Position", "x:A-B:B")])
def test_a_ledger_that_is_changed_is_no_more_what_was_read(tmp_path: Path, column: str, value: object) -> None:
    write_workbook(made_up_frames(), tmp_path / "book.xlsx")
    changed = openpyxl.load_workbook(tmp_path / "book.xlsx")
    sheet = changed["Ledger"]
    headings = [cell.value for cell in sheet[HEADER_ROW]]
    kinds = [row[headings.index("Kind")].value for row in sheet.iter_rows(min_row=HEADER_ROW + 1)]
    sheet.cell(HEADER_ROW + 1 + kinds.index("fill"), headings.index(column) + 1).value = value
    changed.save(tmp_path / "changed.xlsx")
    computed = convert(tmp_path / "changed.xlsx", "xlsx", tmp_path / "recalculated")
    assert "FAIL" in {row["Tied out"] for row in sums(computed)}
    saved = values(computed)
    areas = {row[0]: row[2] for row in saved["Sign-off"].iter_rows(values_only=True)}
    assert areas["Manifest"] == "LOOK"
    assert saved["Checks"]["B3"].value == "FAIL"


@pytest.mark.wrong_frames
def test_a_row_that_is_gone_from_the_ledger_fails(folder: Path, tmp_path: Path) -> None:
    frames = read_frames(folder)
    short = frames["input_sums"].with_columns(booked=pl.col("booked") - pl.lit("1").cast(pl.Decimal(38, 18)))
    short = short.with_columns(not_booked=pl.col("total") - pl.col("left_out") - pl.col("booked"))
    write_workbook(frames | {"input_sums": short}, tmp_path / "book.xlsx")
    assert {row["Tied out"] for row in sums(tmp_path / "book.xlsx")} == {"FAIL", "not tied"}


@pytest.mark.parametrize("account", ["desk-usdt", "a:BTC-x"])
def test_sums_that_would_not_be_sure_are_values(tmp_path: Path, account: str) -> None:
    frames = made_up_frames()
    renamed = {name: pl.col("position").str.replace("^main", account) for name in ("ledger", "positions")}
    changed = {name: frames[name].with_columns(position=position) for name, position in renamed.items()}
    write_workbook(frames | changed, tmp_path / "book.xlsx")
    assert not any("SUMIFS" in text for (sheet, _), text in formulas(tmp_path / "book.xlsx").items())
    assert {row["Tied out"] for row in sums(tmp_path / "book.xlsx")} == {"OK"}


def test_sums_that_would_be_too_much_work_are_values(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sheets_manifest_sums, "LIVE_WORK_MAX", 10)
    write_workbook(made_up_frames(), tmp_path / "book.xlsx")
    assert not any("SUMIFS" in text for (sheet, _), text in formulas(tmp_path / "book.xlsx").items())
    said = [row[0] for row in values(tmp_path / "book.xlsx")["Manifest"].iter_rows(values_only=True)]
    assert any("as values" in str(text) for text in said)
