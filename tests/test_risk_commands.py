"""The command `risk` from the outside: what it says and writes of the demo's files, and what it refuses."""

import hashlib
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner

from ledger.columns import FRAMES
from ledger.derivatives.columns import DERIVATIVE_FRAMES
from ledger.risk.columns import RISK_FRAMES
from reports.command_line import main
from reports.frames import read_frames

FIXTURES = Path(__file__).parents[1] / "fixtures"
DEMO, RECORDS = FIXTURES / "demo" / "risk", FIXTURES / "records"
SPOT = (DEMO / "events.csv", "--marks", DEMO / "marks.csv", "--tiers", DEMO / "tiers.csv")
CONTRACTS = ("--contracts", DEMO / "contracts.csv", "--derivatives", DEMO / "futures.csv")


def run(*arguments):
    return CliRunner().invoke(main, ["risk", *map(str, arguments)], catch_exceptions=False)


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    folder = tmp_path_factory.mktemp("risk") / "books"
    result = run(*SPOT, "--balances", DEMO / "balances.csv", *CONTRACTS, "--out", folder)
    return result, read_frames(folder)


def test_the_demo_is_told(done):
    result, frames = done
    assert (result.exit_code, result.stderr) == (1, "")
    assert set(frames) == {*FRAMES, *RISK_FRAMES, *DERIVATIVE_FRAMES}
    for line in (
        "Of 5 open positions: 3 normal, 1 alert, 1 full",
        "rules:BTC-EUR:EUR#1, differs: due in part at 29000 at 2025-03-01 03:00, booked at 03:07 (7 min later);",
        "missed:BTC-USDT:BTC#1, not booked: due in full at 25237.5 at 2025-03-02 05:15",
        "leverage 10 is above 8, the maximum of tier 2, for a liability of 40 BTC",
        "97566 USDT is needed, and 40000 is available",
    ):
        assert line in result.stdout
    failed = frames["checks"].filter(pl.col("failures") > 0)["check"].to_list()
    assert failed == ["liquidations_agree", "margin_changes_are_allowed"]


def test_the_example_of_the_rules_comes_out_of_the_files(done):
    rules = done[1]["risk_spans"].filter(position="rules:BTC-EUR:EUR", status="partial").row(0, named=True)
    assert [f"{rules['margin_ratio']:.2%}", f"{rules['mark_price']:f}"] == ["74.16%", "29000.000000000000000000"]
    due = done[1]["liquidations"].filter(position="rules:BTC-EUR:EUR").row(0, named=True)
    assert (due["tier_before"], due["tier_after"], due["repaid_due"]) == (2, 1, 10.5)


def test_a_liquidation_at_the_mark_that_made_it_due_crossed_the_thresholds_then(done):
    gone = done[1]["risk"].filter(position="gone:BTC-USDT:USDT").row(0, named=True)
    due = done[1]["liquidations"].filter(position="gone:BTC-USDT:USDT").row(0, named=True)
    assert due["verdict"] == "agrees"
    assert gone["cancelled_at"] == gone["full_at"] == gone["lowest_at"] == due["booked_at"]
    assert gone["lowest_ratio"] == due["ratio_before"]


def test_parts_of_an_input_that_are_events_are_counted_as_such(done):
    assert "24 input rows -> " in done[0].stdout
    numbers = dict(done[1]["inputs"].select("input", "rows").rows())
    assert done[1]["derivative_ledger"]["input"].unique().to_list() == [max(numbers)]


def test_an_as_at_statement_says_what_was_known_then(tmp_path):
    result = run(*SPOT, "--as-at", "2025-03-01T03:00:00Z", "--out", tmp_path / "books", "--format", "csv")
    assert result.exit_code == 1  # due, and not booked by then
    risk = read_frames(tmp_path / "books")["risk"]
    assert risk.select("position", "status", "mark_price").rows() == [("rules:BTC-EUR:EUR", "partial", 29_000)]
    before = run(*SPOT, "--as-at", "2025-03-01T02:45:00Z", "--out", tmp_path / "before")
    assert before.exit_code == 0
    assert "Of 1 open positions: 1 alert" in before.stdout


def test_derivatives_alone_give_a_book(tmp_path):
    result = run(
        *CONTRACTS, "--marks", DEMO / "marks.csv", "--out", tmp_path / "books", "--report", tmp_path / "b.xlsx"
    )
    assert (result.exit_code, (tmp_path / "b.xlsx").is_file()) == (1, True)
    assert "Of 2 open positions: 1 normal, 1 full" in result.stdout
    assert "Liquidations due or booked: 2 not booked" in result.stdout


def test_records_of_an_exchange_are_measured_again(tmp_path):
    for out in ("figures.parquet", "figures.csv") * 2:
        arguments = ["records", str(RECORDS / "positions_futures.json"), "--out", str(tmp_path / out)]
        result = CliRunner().invoke(main, arguments, catch_exceptions=False)
        assert (result.exit_code, "inverse long ETH" in result.stdout) == (0, True)
    assert pl.read_parquet(tmp_path / "figures.parquet").height == 6


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "give event files"),
        ((DEMO / "events.csv",), "--out names the folder"),
        ((DEMO / "events.csv", "--derivatives", DEMO / "futures.csv", "--out", "x"), "--derivatives needs --contracts"),
        (
            (DEMO / "events.csv", "--contracts", DEMO / "contracts.csv", "--out", "x"),
            "--contracts is for --derivatives",
        ),
        ((DEMO / "events.csv", "--policy", "steps_spot=0", "--out", "x"), "steps_spot=0: give a whole number from 1"),
        ((DEMO / "events.csv", "--policy", "steps=1", "--out", "x"), "write NAME=VALUE with one of overfill"),
        ((DEMO / "events.csv", "--report", "x.pdf", "--out", "x"), "ends with .xlsx"),
    ],
)
def test_what_cannot_be_done_is_said_and_nothing_written(tmp_path, monkeypatch, arguments, says):
    monkeypatch.chdir(tmp_path)
    result = run(*arguments)
    assert result.exit_code == 2
    assert says in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_refusals_of_all_files_are_listed_together(tmp_path):
    bad = {
        "events.csv": "time,event_id,account,instrument,mode,margin_currency,kind,side,quantity,price,leverage\n"
        "2025-01-01T00:00:00Z,a,main,BTC-USDT,new,USDT,fill,buy,-1,100,10\n",
        "marks.csv": "instrument,mark_price\nBTC-USDT,0\n",
        "tiers.csv": "instrument,tier,largest_base_loan,maintenance_rate\nBTC-USDT,1,10,3\n",
        "balances.csv": "time,account,currency,available\n2025-01-01T00:00:00Z,main,USDT,much\n",
        "futures.csv": "time,event_id,account,instrument,kind\n2025-01-01T00:00:00Z,b,main,X,fill\n",
        "contracts.csv": "instrument,instrument_class,face_value,base_currency,quote_currency\nX,linear,0,BTC,USDT\n",
    }
    for name, text in bad.items():
        (tmp_path / name).write_text(text)
    options = [word for name in ("marks", "tiers", "balances", "contracts") for word in (f"--{name}", f"{name}.csv")]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        result = run("events.csv", *options, "--derivatives", "futures.csv", "--out", "books")
    assert result.exit_code == 2
    assert all(f"{name}, row 2, column" in result.stderr for name in bad)
    assert not (tmp_path / "books").exists()


def test_a_file_that_is_read_is_not_replaced(tmp_path):
    (tmp_path / "tiers.csv").write_bytes((DEMO / "tiers.csv").read_bytes())
    result = run(*SPOT[:3], "--tiers", tmp_path / "tiers.csv", "--out", tmp_path, "--format", "csv")
    assert result.exit_code == 2
    assert "tiers.csv: is read, and has the name of a frame" in result.stderr
    assert (tmp_path / "tiers.csv").read_bytes() == (DEMO / "tiers.csv").read_bytes()


def test_a_run_without_risk_leaves_no_frame_of_an_earlier_one(tmp_path):
    out = tmp_path / "books"
    run(*SPOT, *CONTRACTS, "--out", out)
    run(*SPOT, *CONTRACTS, "--out", out, "--format", "csv")
    assert {file.suffix for file in out.iterdir()} == {".csv"}
    assert {file.stem for file in out.iterdir()} == {*FRAMES, *RISK_FRAMES, *DERIVATIVE_FRAMES}
    events = [str(DEMO / "events.csv"), "--out", str(out)]
    CliRunner().invoke(main, ["replay", *events], catch_exceptions=False)
    assert {file.stem for file in out.iterdir()} == set(FRAMES)


def test_the_demo_files_are_what_make_writes(tmp_path):
    names = ("events.csv", "marks.csv", "tiers.csv", "balances.csv", "contracts.csv", "futures.csv")
    module = {"__name__": "__main__", "__file__": str(tmp_path / "make.py")}
    exec((DEMO / "make.py").read_text(), module)
    digests = [
        [hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names] for folder in (tmp_path, DEMO)
    ]
    assert digests[0] == digests[1]


OWN = {
    "events.csv": (
        "time,event_id,account,instrument,mode,margin_currency,kind,side,quantity,price,leverage\n"
        "2025-01-01T00:00:00Z,a1,a,BTC-USDT,new,USDT,fill,buy,1,100000,10\n"
        "2025-01-01T00:00:00Z,b1,b,ETH-USDT,new,USDT,fill,buy,1,3000,10\n"
    ),
    "marks.csv": (
        "time,instrument,mark_price\n2025-01-01T00:00:00Z,BTC-USDT,100000\n2025-01-01T00:00:00Z,ETH-USDT,3000\n"
        "2025-01-03T00:00:00Z,ETH-USDT,3000\n"
    ),
    "tiers.csv": (
        "instrument,valid_from,tier,largest_base_loan,largest_quote_loan,maintenance_rate\n"
        "BTC-USDT,2025-01-01T00:00:00Z,1,100,10000000,0.03\nBTC-USDT,2025-01-02T00:00:00Z,1,100,10000000,0.5\n"
        "ETH-USDT,2025-01-01T00:00:00Z,1,100,10000000,0.03\n"
    ),
}


def of_own_files(folder, *arguments, **texts):
    for name, text in (OWN | {f"{name}.csv": text for name, text in texts.items()}).items():
        (folder / name).write_text(text)
    files = (folder / "events.csv", "--marks", folder / "marks.csv", "--tiers", folder / "tiers.csv")
    result = run(*files, "--out", folder / "books", *arguments)
    return result, read_frames(folder / "books")


def test_tiers_that_come_after_the_last_mark_count_in_a_statement_at_a_later_time(tmp_path):
    result, frames = of_own_files(tmp_path, "--as-at", "2025-01-02T12:00:00Z")
    assert result.exit_code == 1
    failed = frames["checks"].filter(pl.col("failures") > 0)["check"].to_list()
    assert failed == ["liquidations_agree"]
    risk = frames["risk"].filter(account="a").row(0, named=True)
    assert (risk["status"], f"{risk['full_at']:%m-%d %H}", f"{risk['stated_at']:%m-%d %H}") == (
        "full",
        "01-02 00",
        "01-02 12",
    )
    assert risk["margin_ratio"] == frames["positions"].filter(account="a")["margin_ratio"].item()
    assert frames["risk_spans"].filter(position=risk["position"], status="full")["until_time"].to_list() == [None]


def test_a_position_without_a_mark_or_a_rate_fails_the_run_and_says_why(tmp_path):
    marks = "time,instrument,mark_price\n2025-01-01T00:00:00Z,BTC-USDT,100000\n"
    result, frames = of_own_files(tmp_path, "--as-at", "2025-01-01T12:00:00Z", marks=marks)
    assert result.exit_code == 1
    failed = frames["checks"].filter(pl.col("failures") > 0).row(0, named=True)
    assert (failed["check"], failed["rows_tested"]) == ("every_position_is_graded", 2)
    assert failed["first_failure"] == "b:ETH-USDT:USDT 1 no mark of ETH-USDT"
    assert frames["risk"]["why_not_graded"].to_list() == [None, "no mark of ETH-USDT"]
