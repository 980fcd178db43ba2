"""The sheet Over time: live figures, charts that read the right cells, axes that can be read."""

import re
import zipfile
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import openpyxl
import polars as pl
import pytest
import strategies
from exact import event
from test_history import BUY, LIFE, SELL, marks_of
from test_workbook import column, differences, made_up_frames, values

import ledger
from reports import workbook
from reports.charts.axes import STEPS, amounts_axis, shares_axis, time_axis
from reports.sheets.history import CHARTS_MAX, OVER_TIME
from reports.workbook import write_workbook

DRAWING = "http://schemas.openxmlformats.org/drawingml/2006"
SPACE = {"c": f"{DRAWING}/chart", "a": f"{DRAWING}/main"}
MANY = [
    one
    for number in range(15)
    for one in (
        event(2 * number + 1, **{**BUY, "account": f"a{number:02}"}),
        event(2 * number + 2, **{**SELL, "account": f"a{number:02}", "quantity": "1" if number % 3 == 0 else "0.5"}),
    )
]


def write(path: Path, events: list, marks: pl.DataFrame | None = None) -> pl.DataFrame:
    """A workbook of events with the moments of their replay, which are returned."""
    book = ledger.replay(strategies.frame(events), marks=marks)
    frames = {name: getattr(book, name) for name in ("ledger", "postings", "positions", "history", "checks")}
    made_up = made_up_frames()
    # The control sums are those of other events.
    write_workbook(made_up | frames | {"input_sums": made_up["input_sums"].clear()}, path)
    return book.history


def charts(path: Path) -> list[ElementTree.Element]:
    """The charts of the sheet Over time, in the order they stand there."""
    with zipfile.ZipFile(path) as archive:
        names = [name for name in archive.namelist() if re.fullmatch(r"xl/charts/chart\d+\.xml", name)]
        names.sort(key=lambda name: int(re.sub(r"\D", "", name)))
        return [ElementTree.fromstring(archive.read(name)) for name in names]


def title(chart: ElementTree.Element) -> str:
    return "".join(text.text or "" for text in chart.findall("c:chart/c:title//a:t", SPACE))


def series(chart: ElementTree.Element) -> dict[str, ElementTree.Element]:
    found = chart.findall(".//c:ser", SPACE)
    return {one.findtext("c:tx/c:v", None, SPACE): one for one in reversed(found)}


def cells(one: ElementTree.Element, path: str) -> str:
    return one.findtext(f"{path}/c:numRef/c:f", "", SPACE)


def cached(one: ElementTree.Element, path: str) -> list[float]:
    return [float(value.text or "nan") for value in one.findall(f"{path}/c:numRef/c:numCache/c:pt/c:v", SPACE)]


def read(book: openpyxl.Workbook, range_: str) -> list:
    """The values of cells that a chart names."""
    sheet, where = range_.rsplit("!", 1)
    found = book[sheet.strip("'")][where.replace("$", "")]
    return [found.value] if not isinstance(found, tuple) else [row[0].value for row in found]


def header_of(book: openpyxl.Workbook) -> int:
    return next(row[0].row for row in book[OVER_TIME].iter_rows() if row[0].value == "Position")


def below(book: openpyxl.Workbook, heading: str) -> list:
    return column(book, OVER_TIME, heading, header_of(book))


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("history") / "book.xlsx"
    write(path, LIFE, marks_of((2, 104), (4, 90), (7, "100.5"), (9, 98)))
    return path


def test_the_sheet_has_every_moment_as_number_and_as_text(book: Path) -> None:
    saved = values(book)
    assert below(saved, "What") == ["open", "mark", "margin", "reduce", "mark", "close"]
    assert below(saved, "Liability shown") == [-100, -100, -100, -48, -48, 0]
    assert below(saved, "Liability change") == [-100, 0, 0, 52, 0, 48]
    assert below(saved, "Liability shown (exact)") == ["-100", "-100", "-100", "-48", "-48", "0"]
    days = [0, 1 / 1440, 2 / 1440, 2 / 1440, 1 / 1440, 1 / 1440]
    assert below(saved, "Days since the moment before") == pytest.approx(days, rel=1e-12)
    assert [ratio is None for ratio in below(saved, "Margin ratio")] == [True, False, False, False, False, True]


@pytest.mark.libreoffice
@pytest.mark.usefixtures("libreoffice")
def test_another_program_recalculates_every_formula_to_the_saved_value(book: Path, tmp_path: Path) -> None:
    assert [one for one in differences(book, tmp_path) if one[0] == OVER_TIME] == []


def test_each_series_reads_the_moments_of_its_life_and_those_with_a_ratio(tmp_path: Path) -> None:
    two = [*LIFE, event(9, **BUY), event(20, **{**SELL, "quantity": "0.25"})]
    write(tmp_path / "book.xlsx", two, marks_of((2, 104), (4, 90), (12, 98)))
    saved = values(tmp_path / "book.xlsx")
    found = charts(tmp_path / "book.xlsx")
    whose = "main:BTC-USDT:USDT"
    assert [title(chart) for chart in found] == [f"{whose}, life 2 (open)", f"{whose}, life 1 (closed)"]
    for chart, life in zip(found, (2, 1), strict=True):
        here = [number for number, episode in enumerate(below(saved, "Episode")) if episode == life]
        liability, ratio = series(chart)["Liability (USDT, left)"], series(chart)["Margin ratio (right)"]
        for name, heading in (("xVal", "Time"), ("yVal", "Liability shown")):
            assert read(saved, cells(liability, f"c:{name}")) == [below(saved, heading)[number] for number in here]
        there = [number for number in here if below(saved, "Margin ratio")[number] is not None]
        assert read(saved, cells(ratio, "c:yVal")) == [below(saved, "Margin ratio")[number] for number in there]
        assert read(saved, cells(ratio, "c:xVal")) == [below(saved, "Time")[number] for number in there]
        assert cached(ratio, "c:yVal") == read(saved, cells(ratio, "c:yVal"))


def test_the_liability_is_drawn_in_steps(book: Path) -> None:
    saved, liability = values(book), series(charts(book)[0])["Liability (USDT, left)"]
    across, up = liability.findall("c:errBars", SPACE)
    days, changes = below(saved, "Days since the moment before"), below(saved, "Liability change")
    assert read(saved, cells(across, "c:plus")) == [*days[1:], None]
    assert cached(across, "c:plus") == [*days[1:], 0]
    assert read(saved, cells(up, "c:minus")) == changes == cached(up, "c:minus")


def test_limits_are_lines_at_the_parameters(book: Path) -> None:
    saved, drawn = values(book), series(charts(book)[0])
    lines = {name: read(saved, cells(one, "c:yVal")) for name, one in drawn.items() if name.endswith("%)")}
    assert lines == {"Liquidation (100%)": [1], "Alert (300%)": [3]}


def test_a_limit_that_is_far_away_is_not_drawn(tmp_path: Path) -> None:
    write(tmp_path / "book.xlsx", [event(1, **{**BUY, "leverage": "1"})], marks_of((0, 300), (2, 301)))
    assert list(series(charts(tmp_path / "book.xlsx")[0])) == ["Margin ratio (right)", "Liability (USDT, left)"]


def test_without_marks_the_liability_is_drawn_alone(tmp_path: Path) -> None:
    write(tmp_path / "book.xlsx", LIFE)
    assert list(series(charts(tmp_path / "book.xlsx")[0])) == ["Liability (USDT, left)"]


def test_open_lives_are_drawn_first_and_it_is_said_how_many(tmp_path: Path) -> None:
    path = tmp_path / "book.xlsx"
    found = write(path, MANY, marks_of((0, 100), (40, 99)))
    lowest = found.group_by("position").agg(pl.col("what").last() == "close", pl.col("margin_ratio").min())
    drawn = [title(chart) for chart in charts(path)]
    assert len(drawn) == CHARTS_MAX
    assert [name.endswith("(open)") for name in drawn] == [True] * 10 + [False] * 2
    ratios = dict(lowest.select("position", "margin_ratio").iter_rows())
    first_open = [ratios[name.split(",")[0]] for name in drawn[:10]]
    assert first_open == sorted(first_open)
    assert "Charts of 12 of 15 lives" in openpyxl.load_workbook(path)[OVER_TIME]["A2"].value


def test_charts_stand_above_the_table(tmp_path: Path) -> None:
    path = tmp_path / "book.xlsx"
    write(path, MANY)
    sheet = openpyxl.load_workbook(path)[OVER_TIME]
    rows = sorted(chart.anchor._from.row for chart in sheet._charts)
    assert len(rows) == CHARTS_MAX
    assert all(after - before in (0, 18) for before, after in pairwise(rows))
    assert rows[-1] + 18 <= header_of(openpyxl.load_workbook(path)) - 4


def test_a_life_of_one_moment_is_on_the_sheet_but_not_drawn(tmp_path: Path) -> None:
    write(tmp_path / "book.xlsx", LIFE[:1])
    assert charts(tmp_path / "book.xlsx") == []
    assert below(values(tmp_path / "book.xlsx"), "What") == ["open"]


def test_without_a_moment_there_is_no_sheet(tmp_path: Path) -> None:
    frames = made_up_frames()
    write_workbook(frames | {"history": frames["history"].clear()}, tmp_path / "book.xlsx")
    assert OVER_TIME not in openpyxl.load_workbook(tmp_path / "book.xlsx").sheetnames


@pytest.mark.libreoffice
@pytest.mark.usefixtures("libreoffice")
def test_many_moments_go_on_on_a_further_sheet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workbook, "SHEET_ROWS_MAX", 40)
    path = tmp_path / "book.xlsx"
    frames = made_up_frames()
    book = ledger.replay(strategies.frame(LIFE), marks=marks_of(*((2 + n, 100) for n in range(30)), (3, 90)))
    write_workbook(frames | {"history": book.history}, path)
    saved = values(path)
    names = [name for name in saved.sheetnames if name.startswith(OVER_TIME)]
    assert len(names) == 1
    write_workbook(frames | {"history": pl.concat([frames["history"], book.history, book.history])}, path)
    names = [name for name in values(path).sheetnames if name.startswith(OVER_TIME)]
    assert names == ["Over time 1", "Over time 2"]
    assert [one for one in differences(path, tmp_path) if one[0] in names] == []


START = datetime(2025, 3, 10, 8, 10, tzinfo=UTC)


@pytest.mark.parametrize(
    ("lowest", "highest", "low", "high", "form"),
    [
        ("-40001", "0", -50_000, 0, "#,##0"),
        ("-0.5", "0", -0.5, 0, "#,##0.0"),
        ("-110.5", "0", -125, 0, "#,##0"),
        ("0", "0", -5, 0, "#,##0"),
        ("-0.0052", "0", -0.0075, 0, "#,##0.0000"),
        ("-3", "45", -15, 60, "#,##0"),
    ],
)
def test_amounts_stand_between_round_ends(lowest: str, highest: str, low: float, high: float, form: str) -> None:
    axis = amounts_axis(Decimal(lowest), Decimal(highest))
    assert (axis.low, axis.high, axis.form) == (pytest.approx(low), pytest.approx(high), form)
    assert axis.high - axis.low == pytest.approx(STEPS * axis.step)


def test_shares_are_labelled_in_percent() -> None:
    assert (shares_axis(Decimal("0.74"), Decimal(3)).high, shares_axis(Decimal(1), Decimal(3)).form) == (5, "#,##0%")
    assert shares_axis(Decimal("-0.3"), Decimal(3)).low == -1
    assert shares_axis(Decimal("0.001"), Decimal("0.002")).form == "#,##0.00%"


@pytest.mark.parametrize("lasting", [0, 1, 20, 260, 2_880, 57_600, 576_000, 5_760_000])
def test_dates_are_few_and_hold_the_life(lasting: int) -> None:
    axis, _ = time_axis(START, START + timedelta(minutes=lasting))
    first = (START.replace(tzinfo=None) - datetime(1899, 12, 30)) / timedelta(days=1)
    assert axis.low <= first + 1e-9
    assert axis.high >= first + lasting / 1440 - 1e-9
    assert 1 <= round((axis.high - axis.low) / axis.step) <= 6


def test_the_axis_of_time_says_the_day_where_its_labels_do_not() -> None:
    lasting = (timedelta(hours=1), timedelta(days=1), timedelta(days=99))
    called = [time_axis(START, START + one)[1] for one in lasting]
    assert called == ["Time of day on 2025-03-10 (UTC)", "Month, day and time (UTC), from 2025-03-10 on", "Day (UTC)"]
