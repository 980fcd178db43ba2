"""The sheets of interest: what they show, what LibreOffice recalculates, and the charts."""

import re
import zipfile
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import openpyxl
import polars as pl
import pytest
from test_workbook import (
    HEADER_ROW,
    SHEETS,
    book,
    column,
    differences,
    formulas,
    made_up_frames,
    typed,
    values,
)

from ledger.interest.columns import INTEREST, INTEREST_CAUSES, INTEREST_FRAMES, INTEREST_ROLL
from ledger.money import MONEY
from ledger.refusals import LedgerError
from reports import workbook
from reports.frames import read_frames
from reports.picture import convert
from reports.sheets import interest_daily as sheets_interest_daily
from reports.workbook import write_workbook

__all__ = ["book"]
# The chart that LibreOffice writes again is more than openpyxl can read; the one of the workbook it can.
pytestmark = pytest.mark.filterwarnings("ignore:Unable to read chart")

INTEREST_SHEETS = ["Interest per day", "Interest causes", "Interest roll-forward", "Interest"]
PER_DAY = INTEREST_SHEETS[0]


def with_sheets(*names: str) -> list[str]:
    """The sheets of a workbook that has these ones of interest, too."""
    ledger = SHEETS.index("Ledger")
    return [*SHEETS[:ledger], *names, *SHEETS[ledger:]]


LONG, SHORT, FLIP = "main:BTC-USDT:BTC", "main:ETH-USDT:USDT", "hedge:BTC-USDT:USDT"
START = datetime(2026, 11, 1, 22, tzinfo=UTC)

# Hours after START, loan, computed, charged. FLIP owes USDT, then BTC, then USDT again; in the second life
# nothing was charged at hour 3 that could be compared.
CHARGES = """
0  LONG  USDT 0.0450550123456789 0.0450550123456789 agrees  -
1  LONG  USDT 0.0450551000000001 0.0450551000000002 differs rounding
2  LONG  USDT 0.0450551450000000 0                  missing missing
3  LONG  USDT 0.0450551900000000 0.0450551450000000 differs missing
3  LONG  USDT 0                  0.0100000000000000 extra   extra
30 SHORT ETH  0.0000100001234567 -                  accrued -
31 SHORT ETH  0.0000100002234567 -                  accrued -
0  FLIP  USDT 0.1                0.2                differs rate
1  FLIP  BTC  0.00000001         0.00000001         agrees  -
2  FLIP  USDT 0.1                0.05               differs rate
3  FLIP  USDT 0.1                -                  accrued -
4  FLIP  USDT 0.1                0.3                differs rate
"""
CARRIED = {3: "-0.000000045"}


def interest_frame(lines: str = CHARGES) -> pl.DataFrame:
    words = [[None if word == "-" else word for word in line.split()] for line in lines.split("\n") if line]
    names = ("hours", "position", "currency", "computed", "charged", "status", "cause")
    frame = pl.DataFrame(words, schema=dict.fromkeys(names, pl.String), orient="row")
    money = pl.col("computed", "charged").cast(MONEY)
    difference = pl.col("charged") - pl.col("computed")
    frame = frame.with_columns(money, pl.col("position").replace({"LONG": LONG, "SHORT": SHORT, "FLIP": FLIP}))
    carried = pl.int_range(pl.len()).replace_strict(CARRIED, default="0", return_dtype=pl.String).cast(MONEY)
    frame = frame.with_columns(
        time=pl.lit(START) + pl.duration(hours=pl.col("hours").cast(pl.Int64)),
        cumulative_difference=difference.fill_null(0).cum_sum().over("position", "currency"),
        carried=pl.when(pl.col("charged").is_not_null()).then(carried),
        booked=pl.when(pl.col("charged") > 0).then(pl.lit(START) + pl.duration(hours=pl.col("hours").cast(pl.Int64))),
        row=pl.when(pl.col("charged") > 0).then(pl.int_range(2, pl.len() + 2)),
        input=pl.when(pl.col("charged") > 0).then(1),
        episode=1,
        charge=pl.lit("period"),
        liability=pl.lit("45055.0123"),
        rate=pl.lit("0.00000100"),
        rate_unit=pl.lit("hourly"),
        rate_row=2,
        note=pl.when(pl.col("cause").is_not_null()).then(pl.lit("Seen by the last decimal of the charge. " * 3)),
    )
    return typed(frame, INTEREST)


def interest_frames(lines: str = CHARGES) -> dict[str, pl.DataFrame]:
    interest = interest_frame(lines)
    explained = interest.filter(pl.col("cause").is_not_null()).group_by("position", "currency", "cause")
    causes = explained.agg(
        charges=pl.len(),
        amount=pl.col("difference").sum(),
        first_time=pl.col("time").min(),
        last_time=pl.col("time").max(),
        description=pl.lit("The exchange's rate is not the one of the rates file, or it was rounded in another way."),
    ).sort("position", "currency", "cause")
    loans = interest.group_by("position", "currency").agg(interest_charged=pl.col("computed").sum())
    roll = loans.sort("position", "currency").with_columns(
        from_time=pl.lit(None),
        to_time=pl.lit(START + timedelta(days=2)),
        liability_opening=pl.lit("45000"),
        borrowed=pl.lit("100.5"),
        repaid=pl.lit("50.25"),
        accrued_opening=pl.lit("0.0000000000000001"),
        accrued_closing=pl.lit("0.0225"),
    )
    return {
        "interest": interest,
        "interest_causes": typed(causes, INTEREST_CAUSES),
        "interest_roll": typed(roll, INTEREST_ROLL),
    }


def charts_per_day(path: Path) -> list[str]:
    """The charts of interest per day, as XML."""
    with zipfile.ZipFile(path) as archive:
        texts = [archive.read(name).decode() for name in archive.namelist() if "charts/chart" in name]
    return [text for text in texts if "<a:t>Interest per day" in text]


def all_frames(lines: str = CHARGES) -> dict[str, pl.DataFrame]:
    return {**made_up_frames(), **interest_frames(lines)}


@pytest.fixture(scope="module")
def interest_book(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("interest") / "interest.xlsx"
    write_workbook(all_frames(), path)
    return path


def apart(path: Path, folder: Path) -> list[tuple]:
    """The differences, without the tie-out's own: those are what is lost in adding up, and have their tolerance."""
    return [one for one in differences(path, folder) if not (one[0] == "Checks" and one[1].startswith("E"))]


def on_sheet(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.sort("position", "currency", maintain_order=True)


def test_the_sheets_stand_between_positions_and_ledger(interest_book: Path) -> None:
    assert openpyxl.load_workbook(interest_book).sheetnames == with_sheets(*INTEREST_SHEETS)


def test_without_interest_the_workbook_is_as_ever(book: Path) -> None:
    assert openpyxl.load_workbook(book).sheetnames == SHEETS
    assert charts_per_day(book) == []
    assert "nterest per day" not in str(column(values(book), "About", "Spot margin ledger", header=1))


def test_a_frame_without_rows_has_no_sheet(tmp_path: Path) -> None:
    frames = all_frames()
    frames["interest_causes"] = frames["interest_causes"].clear()
    write_workbook(frames, tmp_path / "book.xlsx")
    names = openpyxl.load_workbook(tmp_path / "book.xlsx").sheetnames
    assert names == with_sheets(PER_DAY, "Interest roll-forward", "Interest")
    write_workbook({**frames, **{name: frames[name].clear() for name in INTEREST_FRAMES}}, tmp_path / "book.xlsx")
    assert openpyxl.load_workbook(tmp_path / "book.xlsx").sheetnames == SHEETS


def test_every_figure_of_the_frames_is_shown_as_it_is(interest_book: Path) -> None:
    saved, frames = values(interest_book), interest_frames()
    for sheet, name in zip(INTEREST_SHEETS[1:], ("interest_causes", "interest_roll", "interest"), strict=True):
        frame = on_sheet(frames[name]) if name == "interest" else frames[name]
        for one in INTEREST_FRAMES[name]:
            heading = one.name.capitalize().replace("_", " ").replace("Row id", "Row ID")
            shown = column(saved, sheet, heading)
            if one.dtype == MONEY:
                floats = [None if amount is None else float(amount) for amount in frame[one.name]]
                assert [None if cell in (None, "") else cell for cell in shown] == floats, one.name
                exact = column(saved, sheet, f"{heading} (exact)")
                assert [None if text is None else Decimal(text) for text in exact] == frame[one.name].to_list()
            elif one.unit == "UTC":
                assert [cell and cell.replace(tzinfo=UTC) for cell in shown] == frame[one.name].to_list()
            else:
                assert shown == frame[one.name].to_list(), one.name


def test_differences_are_live_and_empty_where_nothing_is_compared(interest_book: Path) -> None:
    saved, found = values(interest_book), formulas(interest_book)
    headings = [cell.value for cell in saved["Interest"][HEADER_ROW]]
    letters = {name: openpyxl.utils.get_column_letter(headings.index(name) + 1) for name in headings}
    charged, computed = (f"{letters[name]}7" for name in ("Charged", "Computed"))
    assert found["Interest", f"{letters['Difference']}7"] == f'=IF({charged}="","",{charged}-{computed})'
    empty = [cell is None for cell in column(saved, "Interest", "Charged")]
    for heading in ("Difference", "Own difference"):
        assert [cell in (None, "") for cell in column(saved, "Interest", heading)] == empty
    flip = [name == FLIP for name in column(saved, "Interest", "Position")]
    sums = [so_far for so_far, own in zip(column(saved, "Interest", "Cumulative difference"), flip, strict=True) if own]
    assert sums == [0, 0.1, 0.05, 0.05, 0.25]
    above, cumulative = (f"{letters['Cumulative difference']}{row}" for row in (7, 8))
    same = f"AND(A8=A7,{letters['Currency']}8={letters['Currency']}7)"
    difference = f"{letters['Difference']}8"
    assert found["Interest", cumulative] == f'=ROUND(IF({same},{above},0)+IF({difference}="",0,{difference}),16)'


def test_interest_that_is_only_computed_shows_no_differences(tmp_path: Path) -> None:
    frames = all_frames("\n".join(line for line in CHARGES.split("\n") if "SHORT" in line))
    nothing = pl.lit(None, MONEY)
    frames["interest"] = frames["interest"].with_columns(cumulative_difference=nothing)
    path = tmp_path / "book.xlsx"
    write_workbook(frames, path)
    saved = values(path)
    for heading in ("Charged", "Difference", "Cumulative difference", "Carried", "Own difference"):
        assert {cell or None for cell in column(saved, "Interest", heading)} == {None}
    assert saved["Checks"]["B3"].value == "OK"
    assert "2 charges of 1 positions; computed, not compared" in [row[1].value for row in saved["About"].iter_rows()]


def test_every_column_is_explained_and_every_sheet_listed(interest_book: Path) -> None:
    saved = values(interest_book)
    where = column(saved, "Glossary", "Where", header=4)
    listed = list(zip(where, column(saved, "Glossary", "Heading", header=4), strict=True))
    header = dict.fromkeys(INTEREST_SHEETS, HEADER_ROW) | {PER_DAY: header_of_days(saved)}
    for sheet in INTEREST_SHEETS:
        headings = [cell.value for cell in saved[sheet][header[sheet]] if cell.value]
        assert headings == [heading for place, heading in listed if place == sheet]
    assert {"rates (input)", "interest rows (input)"} <= set(where)
    about = [cell.value for row in saved["About"].iter_rows() for cell in row]
    assert set(INTEREST_SHEETS) <= set(about)
    assert "12 charges of 3 positions; 9 compared with what was charged, 2 agree" in about
    assert any("SUMIFS" in str(text) for text in about)


def test_each_sheet_is_tied_out_and_causes_to_differences(interest_book: Path) -> None:
    saved = values(interest_book)
    tied = list(zip(*(column(saved, "Checks", name, 14) for name in ("Sheet", "Column", "Tied out")), strict=True))
    for sheet in INTEREST_SHEETS:
        assert (sheet, "rows", "OK") in tied
    for line in ("Computed", "Charged", "Difference"):
        assert (PER_DAY, line, "OK") in tied
        assert ("Interest", line, "OK") in tied
    assert ("Interest causes", "Amount, against the differences of the sheet Interest", "OK") in tied
    assert not [line for line in tied if line[1] in ("Rate", "Stated rate")]


@pytest.mark.libreoffice
@pytest.mark.usefixtures("libreoffice")
def test_a_difference_below_the_digits_of_a_spreadsheet_is_tied_out(tmp_path: Path) -> None:
    line = next(line for line in CHARGES.split("\n") if "rounding" in line)
    frames = all_frames(line)
    roll = {
        name: pl.lit(amount, MONEY) for name, amount in (("repaid", "45100.5450551000000001"), ("borrowed", "100.5"))
    }
    frames["interest_roll"] = typed(
        frames["interest_roll"].drop("liability_closing").with_columns(**roll), INTEREST_ROLL
    )
    assert frames["interest_roll"]["liability_closing"].to_list() == [0]
    write_workbook(frames, tmp_path / "book.xlsx")
    computed = values(convert(tmp_path / "book.xlsx", "xlsx", tmp_path / "recalculated"))
    assert column(computed, "Interest", "Difference (exact)") == ["0.0000000000000001"]
    assert computed["Checks"]["B3"].value == "OK"


def test_causes_that_leave_something_unexplained_fail_the_whole(tmp_path: Path) -> None:
    frames = all_frames()
    frames["interest_causes"] = frames["interest_causes"].head(1)
    write_workbook(frames, tmp_path / "book.xlsx")
    assert values(tmp_path / "book.xlsx")["Checks"]["B3"].value == "FAIL"


@pytest.mark.libreoffice
@pytest.mark.usefixtures("libreoffice")
def test_another_program_recalculates_the_interest_sheets(interest_book: Path, tmp_path: Path) -> None:
    live = [place for place in formulas(interest_book) if place[0] in INTEREST_SHEETS]
    assert {sheet for sheet, _ in live} == set(INTEREST_SHEETS) - {"Interest causes"}
    assert apart(interest_book, tmp_path) == []


@pytest.mark.libreoffice
@pytest.mark.usefixtures("libreoffice")
def test_a_changed_charge_reaches_the_day_and_fails_the_tie_out(interest_book: Path, tmp_path: Path) -> None:
    changed = openpyxl.load_workbook(interest_book)
    headings = [cell.value for cell in changed["Interest"][HEADER_ROW]]
    changed["Interest"].cell(HEADER_ROW + 2, headings.index("Charged") + 1).value = 1000
    changed.save(tmp_path / "changed.xlsx")
    computed = values(convert(tmp_path / "changed.xlsx", "xlsx", tmp_path / "recalculated"))
    assert max(day for day in charged_days(computed) if isinstance(day, float)) > 1000
    assert computed["Checks"]["B3"].value == "FAIL"


def header_of_days(saved: openpyxl.Workbook) -> int:
    return next(row for row in range(1, 400) if saved[PER_DAY].cell(row, 1).value == "Currency")


def charged_days(saved: openpyxl.Workbook) -> list:
    return column(saved, PER_DAY, "Charged", header_of_days(saved))


def test_daily_sums_are_those_of_the_charges(interest_book: Path) -> None:
    saved = values(interest_book)
    header = header_of_days(saved)
    days = [
        column(saved, PER_DAY, name, header)
        for name in ("Currency", "Day", "Charges", "Computed (exact)", "Charged (exact)", "Difference (exact)")
    ]
    assert [(currency, f"{day:%m-%d}", *rest) for currency, day, *rest in zip(*days, strict=True)] == [
        ("BTC", "11-01", 1, "0.00000001", "0.00000001", "0"),
        ("ETH", "11-03", 2, "0.0000200003469134", None, None),
        ("USDT", "11-01", 3, "0.190110112345679", "0.2901101123456791", "0.1000000000000001"),
        ("USDT", "11-02", 6, "0.390110335", "0.405055145", "0.11494481"),
    ]
    assert [cell or None for cell in charged_days(saved)] == [0.00000001, None, 0.2901101123456791, 0.405055145]


def test_each_currency_has_a_chart_of_its_own_cells(interest_book: Path) -> None:
    saved = openpyxl.load_workbook(interest_book)
    assert len(saved[PER_DAY]._charts) == 3
    first = header_of_days(saved) + 1
    rows = {"BTC": (first, first), "ETH": (first + 1, first + 1), "USDT": (first + 2, first + 3)}
    charts = charts_per_day(interest_book)
    found = {re.search(r"<a:t>Interest per day, (\w+)</a:t>", text).group(1): text for text in charts}
    assert set(found) == set(rows)
    for currency, (top, last) in rows.items():
        text = found[currency]
        places = [f"'{PER_DAY}'!${letter}${top}:${letter}${last}" for letter in "BDBE"]
        assert re.findall(r"<c:f>([^<]*)</c:f>", text) == places[: 2 if currency == "ETH" else 4]
        assert "<a:t>Day (UTC)</a:t>" in text
        assert f"<a:t>Interest ({currency})</a:t>" in text
        assert '<c:numFmt formatCode="yyyy-mm-dd" sourceLinked="0"/>' in text
    headings = [cell.value for cell in saved[PER_DAY][first - 1]]
    assert headings[1:5] == ["Day", "Charges", "Computed", "Charged"]


@pytest.mark.parametrize("limit", ["sheets", "work"])
def test_daily_sums_that_cannot_be_live_are_values_and_say_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    if limit == "sheets":
        monkeypatch.setattr(workbook, "SHEET_ROWS_MAX", HEADER_ROW + 5)
    else:
        monkeypatch.setattr(sheets_interest_daily, "LIVE_WORK_MAX", 10)
    path = tmp_path / "book.xlsx"
    write_workbook(all_frames(), path)
    saved = values(path)
    assert not [place for place in formulas(path) if place[0] == PER_DAY]
    header = header_of_days(saved)
    assert [saved[PER_DAY].cell(header - 1, number).value for number in (3, 4, 5, 6)] == ["sum, not live"] * 4
    assert saved["Checks"]["B3"].value == "OK"
    assert len(charts_per_day(path)) == 3


@pytest.mark.libreoffice
@pytest.mark.usefixtures("libreoffice")
def test_many_charges_go_on_on_further_sheets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workbook, "SHEET_ROWS_MAX", HEADER_ROW + 5)
    path = tmp_path / "book.xlsx"
    write_workbook(all_frames(), path)
    saved = values(path)
    names = ["Interest 1", "Interest 2", "Interest 3"]
    assert [name for name in saved.sheetnames if name.startswith("Interest")] == [*INTEREST_SHEETS[:3], *names]
    shown = [name for sheet in names for name in column(saved, sheet, "Position")]
    assert shown == on_sheet(interest_frame())["position"].to_list()
    assert apart(path, tmp_path / "recalculated") == []


@pytest.mark.parametrize("ending", ["parquet", "csv"])
def test_interest_frames_are_read_all_or_none(tmp_path: Path, ending: str) -> None:
    frames = all_frames()
    for name, frame in frames.items():
        getattr(frame, f"write_{ending}")(tmp_path / f"{name}.{ending}")
    read = read_frames(tmp_path)
    for name, frame in frames.items():
        assert read[name].equals(frame), name
    (tmp_path / f"interest_roll.{ending}").unlink()
    with pytest.raises(LedgerError, match=r"interest_roll.*missing"):
        read_frames(tmp_path)
    for name in ("interest", "interest_causes"):
        (tmp_path / f"{name}.{ending}").unlink()
    assert not set(read_frames(tmp_path)) & set(INTEREST_FRAMES)


def test_half_of_the_interest_frames_is_refused(tmp_path: Path) -> None:
    frames = all_frames()
    del frames["interest_causes"]
    with pytest.raises(LedgerError, match="interest_causes: not the frame of a replay"):
        write_workbook(frames, tmp_path / "book.xlsx")


def test_the_same_interest_gives_the_same_bytes(interest_book: Path, tmp_path: Path) -> None:
    write_workbook(all_frames(), tmp_path / "again.xlsx")
    assert (tmp_path / "again.xlsx").read_bytes() == interest_book.read_bytes()


def test_no_interest_formula_shows_an_error_or_uses_another_function(interest_book: Path) -> None:
    saved = values(interest_book)
    allowed = {"IF", "AND", "OR", "MAX", "MIN", "ABS", "ROUND", "SUM", "SUMIFS", "COUNTIFS"}
    for (sheet, cell), formula in formulas(interest_book).items():
        assert not str(saved[sheet][cell].value).startswith("#")
        assert set(re.findall(r"([A-Z]+)\(", formula)) <= allowed


@pytest.mark.parametrize(("days", "kind"), [(62, "barChart"), (63, "lineChart")])
def test_many_days_are_drawn_as_lines(tmp_path: Path, days: int, kind: str) -> None:
    lines = "\n".join(f"{24 * day} LONG USDT 0.1 0.1 agrees -" for day in range(days))
    write_workbook(all_frames(lines), tmp_path / "book.xlsx")
    text = charts_per_day(tmp_path / "book.xlsx")[0]
    assert f"<c:{kind}>" in text
    assert "<c:dateAx>" in text
