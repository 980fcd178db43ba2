"""The sheets of risk and of derivatives: what they show, what is live on them, their charts, and that they verify."""

from decimal import Decimal
from pathlib import Path
from xml.etree.ElementTree import Element

import openpyxl
import polars as pl
import pytest
import strategies
from exact import event
from openpyxl.utils import get_column_letter
from test_history import marks_of, minute
from test_history_sheet import cells, charts, read, series, title
from test_workbook import HEADER_ROW, column, formulas, made_up_frames, typed, values

import ledger
from ledger.checks import combined
from ledger.columns import INPUT_SUMS
from ledger.derivatives.columns import CONTRACTS, DERIVATIVE_FRAMES
from ledger.derivatives.replay import DerivativeBook, replay_derivatives
from ledger.input_sums import Booked
from ledger.money import MONEY
from ledger.ordering import index_positions
from ledger.refusals import LedgerError
from ledger.risk.columns import BALANCES, RISK, RISK_FRAMES, STATUSES, TIERS
from ledger.risk.policies import RiskPolicies
from ledger.risk.request import RiskInput
from ledger.risk.run import RiskRun
from reports.cells.fields import heading
from reports.frames import read_frames
from reports.sheets.reference import with_workbook_parameters
from reports.sheets.risk import DESCRIPTIONS
from reports.sheets.risk_positions import in_order
from reports.verification.run import verify
from reports.workbook import write_workbook

BUY = {"side": "buy", "price": "100", "quantity": "1", "leverage": "10"}
TAKEN = {"kind": "liquidation", "side": "sell", "price": "92", "quantity": "1"}
ETHER = {"instrument": "ETH-USDT", "account": "ether"}
# The fall to 92 makes `whole` due wholly and `large`, of a tier above, in part; `warned` is told of, `safe` is not.
EVENTS = [
    event(1, account="whole", **BUY),
    event(2, account="large", **BUY | {"quantity": "3"}),
    event(3, account="warned", **BUY | {"leverage": "8"}),
    event(4, account="safe", **BUY | {"leverage": "2"}),
    event(6, **ETHER, **BUY),
    event(7, account="desk", **BUY | {"leverage": "4"}),
    event(8, account="desk", kind="margin", amount="5"),
    event(9, account="desk", kind="leverage", leverage="8", amount="-10"),
    event(11, account="desk", kind="margin", amount="-12.5"),
    event(12, account="desk", kind="margin", amount="20.25"),
    event(5, account="gone", **BUY),
    event(13, account="gone", **TAKEN, fee="0.1", fee_currency="USDT"),
    event(15, account="gone", **BUY | {"price": "94", "leverage": "3"}),
]
MARKS = marks_of((0, "100.5"), (5, 97), (10, 92), (16, 93))
RATIOS = "Margin ratio of open positions, lowest first"
SHOWN = ("risk", "risk_spans", "liquidations", "simulated_ledger", "margin_changes", "lives")
SHOWN = (*SHOWN, "derivative_positions", "derivative_liquidations", "derivative_ledger", "tiers")
TIER_LINES = ((1, "150", "0.03", "10"), (2, "400", "0.04", "8"), (3, "9000", "0.06", "5"))


def tiers() -> pl.DataFrame:
    rows = [
        {"instrument": "BTC-USDT", "tier": str(tier), "largest_base_loan": loan, "largest_quote_loan": loan}
        | {"maintenance_rate": rate, "maximum_leverage": leverage, "stated_by": "invented"}
        for tier, loan, rate, leverage in TIER_LINES
    ]
    return typed(pl.DataFrame(rows), TIERS)


def balances() -> pl.DataFrame:
    rows = [{"account": name, "currency": "USDT", "available": "10"} for name in ("desk", "safe")]
    return typed(pl.DataFrame(rows).with_columns(time=pl.lit(minute(0))), BALANCES)


def contracts() -> pl.DataFrame:
    linear = {"instrument": "BTC-USDT-SWAP", "instrument_class": "linear", "face_value": "0.01", "tick": "0.1"}
    inverse = {"instrument": "BTC-USD-SWAP", "instrument_class": "inverse", "face_value": "100"}
    pairs = ((linear, "USDT"), (inverse, "USD"))
    rows = [one | {"base_currency": "BTC", "quote_currency": quote} for one, quote in pairs]
    return typed(pl.DataFrame(rows, infer_schema_length=None), CONTRACTS)


def derivative_book(policies: RiskPolicies) -> DerivativeBook:
    """A linear long whose liquidation is due, a short that was closed, and an inverse short that was turned round."""
    fill = {"kind": "fill", "account": "desk", "leverage": "10"}
    rows = [
        fill | {"instrument": "BTC-USDT-SWAP", "side": "buy", "quantity": "120", "price": "100", "fee": "0.05"},
        fill | {"instrument": "BTC-USD-SWAP", "side": "buy", "quantity": "3", "price": "101"},
        fill | {"instrument": "BTC-USD-SWAP", "side": "sell", "quantity": "5", "price": "99.5"},
        fill
        | {"instrument": "BTC-USDT-SWAP", "position_side": "short", "side": "sell", "quantity": "7", "price": "99"},
        {"kind": "funding", "account": "desk", "instrument": "BTC-USDT-SWAP", "amount": "-0.0123"},
        fill | {"instrument": "BTC-USDT-SWAP", "position_side": "short", "side": "buy", "quantity": "7", "price": "97"},
    ]
    frame = pl.DataFrame(rows, infer_schema_length=None).with_row_index("row", 1)
    places = {"input": pl.lit(1, pl.UInt16), "event_id": pl.format("d{}", "row")}
    frame = frame.with_columns(**places, time=pl.lit(minute(0)) + pl.duration(minutes="row"))
    marks = pl.concat([MARKS.with_columns(instrument=pl.lit(name)) for name in contracts()["instrument"]])
    amounts = pl.col("quantity", "price", "leverage", "fee", "amount").cast(MONEY)
    return replay_derivatives(frame.with_columns(amounts), contracts(), marks, None, policies)


def all_frames(policies: RiskPolicies | None = None) -> dict[str, pl.DataFrame]:
    """The frames of a run with risk and derivatives, its policies among the parameters."""
    policies = policies or RiskPolicies()
    events = strategies.frame(EVENTS)
    index, book = index_positions(events), ledger.replay(events, marks=MARKS)
    asked = RiskInput(policies, tiers(), balances())
    risk, findings = RiskRun(asked, MARKS, None, ledger.Policies()).frames(
        book.ledger, index, book.positions, book.history
    )
    derivatives = derivative_book(policies)
    made_up, booked = made_up_frames(), Booked()
    booked.add(book.ledger, index)
    sums = booked.frame().with_columns(rows=pl.lit(3), total="booked", absolute_total=pl.col("booked").abs())
    own = {name: getattr(book, name) for name in ("ledger", "postings", "positions", "history")}
    own |= {
        "checks": pl.concat([book.checks, combined(findings), derivatives.checks]),
        "parameters": made_up["parameters"].vstack(pl.DataFrame(policies.rows(), schema=made_up["parameters"].schema)),
        "input_sums": typed(sums.with_columns(left_out=pl.lit("0")), INPUT_SUMS).filter(pl.col("booked") != 0),
    }
    contracts_too = {name: derivatives.frames()[name] for name in DERIVATIVE_FRAMES}
    return made_up | own | risk | {"tiers": tiers()} | contracts_too


@pytest.fixture(scope="module")
def frames() -> dict[str, pl.DataFrame]:
    return all_frames()


@pytest.fixture(scope="module")
def book(frames: dict[str, pl.DataFrame], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("risk")
    for name, frame in frames.items():
        frame.write_parquet(folder / f"{name}.parquet")
    write_workbook(read_frames(folder), folder / "risk.xlsx")
    return folder / "risk.xlsx"


@pytest.fixture(scope="module")
def saved(book: Path) -> openpyxl.Workbook:
    """The workbook with the values its formulas were saved with."""
    return values(book)


@pytest.fixture(scope="module")
def live(book: Path) -> dict[tuple[str, str], str]:
    """Every formula of the workbook by sheet and cell."""
    return formulas(book)


@pytest.fixture(scope="module")
def drawn(book: Path) -> dict[str, dict[str, Element]]:
    """The series of each chart, by the chart's title."""
    return {title(one): series(one) for one in charts(book)}


def header_of(book: openpyxl.Workbook, sheet: str, first: str = "Position") -> int:
    return next(row[0].row for row in book[sheet].iter_rows() if row[0].value == first)


def below(book: openpyxl.Workbook, sheet: str, heading: str) -> list:
    return column(book, sheet, heading, header_of(book, sheet))


def floats(amounts: pl.Series) -> list[float | None]:
    return amounts.cast(pl.String).cast(pl.Float64).to_list()


def test_the_sheets_stand_behind_over_time_and_about_lists_them(saved: openpyxl.Workbook) -> None:
    first, *_, tiers_ = DESCRIPTIONS
    names = saved.sheetnames
    begin = names.index(first)
    assert names[begin - 1] == "Over time"
    assert names[begin : begin + len(DESCRIPTIONS) - 1] == list(DESCRIPTIONS)[:-1]
    assert names[names.index(tiers_) + 1] == "Parameters"
    assert set(DESCRIPTIONS) <= {row[0].value for row in saved["About"].iter_rows(max_col=1)}
    assert column(saved, "Tiers", "Maintenance rate", HEADER_ROW) == [0.03, 0.04, 0.06]


def test_every_column_is_told_in_the_glossary_on_its_sheet(saved: openpyxl.Workbook) -> None:
    told = set(zip(column(saved, "Glossary", "Where", 4), column(saved, "Glossary", "Column", 4), strict=True))
    registry = {**RISK_FRAMES, **DERIVATIVE_FRAMES}
    columns = {(sheet, one.name) for frame, sheet in zip(SHOWN, DESCRIPTIONS, strict=True) for one in registry[frame]}
    assert columns - told == {("Simulated ledger", "input"), ("Simulated ledger", "row")}


def test_the_worst_positions_come_first_and_every_measure_is_live(
    saved: openpyxl.Workbook, live: dict[tuple[str, str], str], frames: dict[str, pl.DataFrame]
) -> None:
    assert below(saved, "Risk", "Status") == ["full", "partial", "alert", *["normal"] * 3, "not_graded", None]
    assert below(saved, "Risk", "Position")[:2] == ["whole:BTC-USDT:USDT", "large:BTC-USDT:USDT"]
    rows = in_order(frames["risk"])
    head = header_of(saved, "Risk")
    headings = [cell.value for cell in saved["Risk"][head]]
    for one in RISK:
        if one.formula is None:
            continue
        letter = get_column_letter(headings.index(heading(one.name)) + 1)
        assert {("Risk", f"{letter}{row}") in live for row in range(head + 1, head + 1 + rows.height)} == {True}
        assert [value or None for value in below(saved, "Risk", heading(one.name))] == [
            value or None for value in floats(rows[one.name])
        ]
    exact = [Decimal(text) for text in below(saved, "Risk", "Margin (exact)")]
    assert exact == rows["margin"].to_list()


def test_statuses_are_counted_above_the_table(
    saved: openpyxl.Workbook, drawn: dict[str, dict[str, Element]], frames: dict[str, pl.DataFrame]
) -> None:
    top = header_of(saved, "Risk", "Status")
    rows = [[cell.value for cell in row[:3]] for row in saved["Risk"].iter_rows(min_row=top + 1, max_row=top + 6)]
    risk = frames["risk"]
    now = {word: (risk["status"] == word).sum() for word in STATUSES}
    crossed = {"alert": "alert_at", "orders_cancelled": "cancelled_at", "partial": "partial_at", "full": "full_at"}
    ever = {word: risk[name].count() for word, name in crossed.items()}
    assert rows == [[word, now[word], ever.get(word)] for word in STATUSES]
    bars = drawn["Positions and lives by status"]
    assert read(saved, cells(bars["open now"], "c:val")) == list(now.values())


def test_the_chart_of_ratios_reads_the_open_positions_and_the_limits(
    saved: openpyxl.Workbook, drawn: dict[str, dict[str, Element]]
) -> None:
    columns = drawn[RATIOS]
    ratios = [value for value in below(saved, "Risk", "Margin ratio") if value]
    assert read(saved, cells(columns["margin ratio"], "c:val")) == ratios == sorted(ratios)
    assert read(saved, cells(columns["alert ratio (300%)"], "c:val")) == [3] * len(ratios)
    assert read(saved, cells(columns["liquidation ratio (100%)"], "c:val")) == [1] * len(ratios)


def test_limits_are_those_of_the_run_and_stand_once(tmp_path: Path, frames: dict[str, pl.DataFrame]) -> None:
    policies = RiskPolicies(alert_ratio=Decimal("2.5"))
    others = frames["parameters"].filter(~pl.col("name").is_in([row["name"] for row in policies.rows()]))
    own = pl.DataFrame(policies.rows(), schema=others.schema)
    for parameters, expected in ((others.vstack(own), "2.5"), (others, "3")):
        listed = with_workbook_parameters(parameters).filter(pl.col("name") == "alert_ratio")
        assert listed["value"].to_list() == [expected]
    write_workbook(frames | {"parameters": others.vstack(own)}, tmp_path / "book.xlsx")
    columns = next(series(one) for one in charts(tmp_path / "book.xlsx") if title(one) == RATIOS)
    assert "alert ratio (250%)" in columns
    assert set(below(values(tmp_path / "book.xlsx"), "Risk", "Alert ratio")) == {2.5}


def test_differences_of_liquidations_are_live_and_empty_where_one_side_is(
    saved: openpyxl.Workbook, live: dict[tuple[str, str], str], frames: dict[str, pl.DataFrame]
) -> None:
    verdicts = below(saved, "Liquidations", "Verdict")
    assert sorted(verdicts) == ["differs", *["not_booked"] * 3]
    place = verdicts.index("differs")
    rows = frames["liquidations"].sort("position", "episode", "number")
    for name in ("quantity", "price", "repaid", "fee", "insurance_fund", "returned"):
        shown = below(saved, "Liquidations", heading(f"{name}_difference"))
        assert [value or None for number, value in enumerate(shown) if number != place] == [None] * 3
        assert shown[place] == pytest.approx(float(rows[f"{name}_difference"][place]), abs=1e-15)
    head = header_of(saved, "Liquidations")
    letter = get_column_letter([cell.value for cell in saved["Liquidations"][head]].index("Fee difference") + 1)
    assert ("Liquidations", f"{letter}{head + 1}") in live
    assert below(saved, "Liquidations", "Fee difference (exact)")[place] == "-0.0545"
    assert below(saved, "Liquidations", "Explanation") == rows["explanation"].to_list()


def test_margins_after_changes_are_live_and_drawn(
    saved: openpyxl.Workbook, drawn: dict[str, dict[str, Element]], frames: dict[str, pl.DataFrame]
) -> None:
    log = frames["margin_changes"].sort("position", "episode", "event_number", "part")
    assert below(saved, "Margin changes", "Margin after") == floats(log["margin_after"])
    assert below(saved, "Margin changes", "Verdict") == log["verdict"].cast(pl.String).to_list()
    changes = drawn["desk:BTC-USDT:USDT, life 1"]
    own = log.filter(pl.col("position") == "desk:BTC-USDT:USDT")
    for name, one in (
        ("margin after (USDT, left)", "margin_after"),
        ("margin ratio after (right)", "margin_ratio_after"),
    ):
        assert read(saved, cells(changes[name], "c:val")) == floats(own[one])
    assert "Drawn: 1 of 1 lives" in saved["Margin changes"]["A2"].value


def test_what_is_simulated_begins_at_a_moment_and_names_no_file(
    saved: openpyxl.Workbook, live: dict[tuple[str, str], str], frames: dict[str, pl.DataFrame]
) -> None:
    head = header_of(saved, "Simulated ledger")
    headings = [cell.value for cell in saved["Simulated ledger"][head]]
    assert not {"Input", "Row"} & set(headings)
    rows = frames["simulated_ledger"].sort("position", "time", maintain_order=True)
    assert below(saved, "Simulated ledger", "Base opening") == floats(rows["base_opening"])
    assert below(saved, "Simulated ledger", "Base closing") == floats(rows["base_closing"])
    letters = {name: get_column_letter(headings.index(name) + 1) for name in ("Base opening", "Base closing")}
    is_live = [("Simulated ledger", f"{letter}{head + 1}") in live for letter in letters.values()]
    assert is_live == [False, True]


def test_derivatives_have_live_measures_and_openings(
    saved: openpyxl.Workbook, live: dict[tuple[str, str], str], frames: dict[str, pl.DataFrame]
) -> None:
    rows = frames["derivative_positions"].sort("position", "episode")
    for name in ("margin_ratio", "liquidation_price", "floating_pnl", "entry_price", "position_size"):
        shown = [value or None for value in below(saved, "Derivatives", heading(name))]
        assert shown == [value or None for value in floats(rows[name])]
    course = frames["derivative_ledger"].sort("position", "event_number", "part")
    assert below(saved, "Derivative ledger", "Contracts opening") == floats(course["contracts_opening"])
    opening = live["Derivative ledger", "G8"]
    assert opening == "=IF(AND(B8=1,C8=1),0,I7)"


def test_the_sign_off_counts_what_is_due_and_what_is_not_right(
    saved: openpyxl.Workbook, frames: dict[str, pl.DataFrame]
) -> None:
    due = [word for name in ("risk", "derivative_positions") for word in frames[name]["status"].drop_nulls()]
    expected = {
        "At or below the alert ratio": sum(word not in ("normal", "not_graded") for word in due),
        "At or below the liquidation ratio": sum(word in ("orders_cancelled", "partial", "full") for word in due),
        "Liquidations that do not agree": 4,
        "Changes of margin that are refused": frames["margin_changes"].filter(pl.col("verdict") == "refused").height,
    }
    counted = {row[0].value: row[1].value for row in saved["Sign-off"].iter_rows(max_col=2)}
    assert counted.items() >= expected.items()
    assert expected["At or below the liquidation ratio"] == 2


@pytest.mark.libreoffice
@pytest.mark.usefixtures("libreoffice")
def test_the_workbook_verifies_whole_and_with_detail_in_files(book: Path, frames: dict[str, pl.DataFrame]) -> None:
    cut = book.with_name("cut.xlsx")
    files = write_workbook(frames, cut, detail_rows=3)
    assert {"Status changes", "Margin changes", "Derivative ledger"} <= set(files["part"])
    for found in verify([book, cut], None, book.parent):
        assert found.findings.is_empty(), found.findings.head(3)


def test_without_a_row_only_risk_is_left(tmp_path: Path, frames: dict[str, pl.DataFrame]) -> None:
    empty = {name: frames[name].clear() for name in (*RISK_FRAMES, *DERIVATIVE_FRAMES)}
    write_workbook(frames | empty, tmp_path / "book.xlsx")
    assert [name for name in values(tmp_path / "book.xlsx").sheetnames if name in DESCRIPTIONS] == ["Risk"]


def test_frames_of_risk_are_there_all_or_none(tmp_path: Path, frames: dict[str, pl.DataFrame]) -> None:
    some = {name: frame for name, frame in frames.items() if name != "lives"}
    with pytest.raises(LedgerError, match="lives: not the frame"):
        write_workbook(some, tmp_path / "book.xlsx")
    none = {name: frame for name, frame in frames.items() if name not in (*RISK_FRAMES, *DERIVATIVE_FRAMES)}
    write_workbook(none, tmp_path / "book.xlsx")
    assert not set(values(tmp_path / "book.xlsx").sheetnames) & set(DESCRIPTIONS)
