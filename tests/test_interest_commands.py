"""The commands `interest ...` from the outside: exit codes, words, files."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from test_command_line import run

FIXTURES = Path(__file__).parents[1] / "fixtures"
DEMO, BAD, RECORDS = FIXTURES / "demo" / "interest", FIXTURES / "bad_interest", FIXTURES / "records"
CASES = list(csv.DictReader((BAD / "expected.csv").read_text().splitlines()))
FRAMES = ("interest", "interest_causes", "interest_roll")
WITH_EVENTS = ("--events", DEMO / "events.csv", "--rates", DEMO / "rates.csv")


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    out = tmp_path_factory.mktemp("compared") / "books"
    return out, run("interest", "reperform", DEMO / "record.json", DEMO / "desk.csv", *WITH_EVENTS, "--out", out)


def test_breaks_give_exit_code_1_and_are_named(compared):
    out, result = compared
    assert (result.exit_code, result.stderr) == (1, "")
    for words in ("missing_hour", "-0.110880715177918", "rate_unit", "2.2543085837804452", "unexplained", "38 follows"):
        assert words in result.stdout, words
    assert {f"{name}.parquet" for name in FRAMES} <= {file.name for file in out.iterdir()}


def test_agreement_gives_exit_code_0(tmp_path):
    result = run("interest", "reperform", RECORDS / "interest.json", "--out", tmp_path / "out")
    assert (result.exit_code, result.stderr) == (0, "")
    assert "7 charges: 7 agree" in result.stdout


def test_report_writes_the_interest_sheets(compared, tmp_path):
    import openpyxl

    assert run("report", compared[0], tmp_path / "books.xlsx").exit_code == 1
    names = openpyxl.load_workbook(tmp_path / "books.xlsx", read_only=True).sheetnames
    assert {"Interest", "Interest causes", "Interest per day", "Interest roll-forward"} <= set(names)


def test_explain_leads_to_the_exchanges_row(compared):
    result = run("explain", compared[0], "example-desk:ETH-USDT:USDT")
    assert "desk.csv row 2" in result.stdout


def test_accrue_computes_and_explains_where_a_charge_comes_from(tmp_path):
    out = tmp_path / "books"
    asked = ("--rates", DEMO / "rates.csv", "--as-at", "2025-03-01T14:37:00Z", "--out", out)
    result = run("interest", "accrue", DEMO / "events.csv", *asked)
    assert (result.exit_code, result.stderr) == (0, "")
    interest = pl.read_parquet(out / "interest.parquet")
    assert dict(interest["currency"].value_counts().rows()) == {"USDT": 14, "BTC": 7}
    assert interest["rate_row"].null_count() == 0
    roll = pl.read_parquet(out / "interest_roll.parquet").row(by_predicate=pl.col("currency") == "USDT", named=True)
    assert roll["liability_closing"] == roll["borrowed"] + roll["interest_charged"]
    assert roll["accrued_closing"] > 0
    assert "interest frame row" in run("explain", out, "example-desk:ETH-USDT:USDT").stdout


def test_a_replay_afterwards_leaves_no_interest_behind(compared, tmp_path):
    out = tmp_path / "books"
    run("interest", "accrue", DEMO / "events.csv", "--rates", DEMO / "rates.csv", "--out", out)
    run("replay", DEMO / "events.csv", "--out", out)
    assert not list(out.glob("interest*"))


def test_csv_frames_hold_the_same(compared, tmp_path):
    from reports.frames import read_frames

    asked = ("--out", tmp_path / "books", "--format", "csv")
    run("interest", "reperform", DEMO / "record.json", DEMO / "desk.csv", *WITH_EVENTS, *asked)
    text, binary = read_frames(tmp_path / "books"), read_frames(compared[0])
    for name in FRAMES:
        assert text[name].equals(binary[name]), name


def test_identify_says_it_in_words():
    result = run("interest", "identify", RECORDS / "interest.json")
    assert (result.exit_code, result.stderr) == (0, "")
    for words in ("rounding: up at 16 decimals (7 of 7)", "compounding: yes (6 of 6)", "shipped policy: okx (7 of 7)"):
        assert words in result.stdout


def test_identify_with_breaks_names_them(tmp_path):
    rows = (DEMO / "record.json", DEMO / "desk.csv")
    result = run("interest", "identify", *rows, *WITH_EVENTS, "--out", tmp_path / "fits.csv")
    assert result.exit_code == 1
    for words in ("up at 16 decimals (51 of 53)", "stale_rate", "2025-03-02 03:00", "cannot be told"):
        assert words in result.stdout
    assert pl.read_csv(tmp_path / "fits.csv").columns == ["property", "value", "explained", "tested", "verdict"]


def test_a_policy_of_ones_own(tmp_path):
    policy = tmp_path / "desk.toml"
    fields = ('grid = "on_the_hour"', "compounding = false", 'rounding = "half_even"', "decimals = 8", 'source = "us"')
    policy.write_text("\n".join(["[desk]", *fields]))
    asked = ("--rates", DEMO / "rates.csv", "--interest-policy", policy, "--out", tmp_path / "books")
    assert run("interest", "accrue", DEMO / "events.csv", *asked).exit_code == 0
    parameters = dict(pl.read_parquet(tmp_path / "books" / "parameters.parquet").select("name", "value").iter_rows())
    assert parameters["interest.policy"] == "desk"
    assert parameters["interest.rounding"] == "half_even"
    computed = pl.read_parquet(tmp_path / "books" / "interest.parquet")["computed"]
    assert computed.cast(pl.String).str.ends_with("0" * 10).all()


def test_a_wrong_policy_is_told_with_its_place(tmp_path):
    policy = tmp_path / "desk.toml"
    policy.write_text('[desk]\ngrid = "sometimes"\ncompounding = false\nrounding = "up"\ndecimals = 8\nsorce = "x"\n')
    asked = ("--rates", DEMO / "rates.csv", "--interest-policy", policy, "--out", tmp_path / "books")
    result = run("interest", "accrue", DEMO / "events.csv", *asked)
    assert result.exit_code == 2
    for words in ("desk.grid", "sometimes", "desk.sorce", "desk.source", "Nothing was written"):
        assert words in result.stderr
    assert not (tmp_path / "books").exists()
    unknown = run("interest", "accrue", DEMO / "events.csv", *asked[:3], "okex", *asked[4:])
    assert "okex: not among the shipped policies: okx" in unknown.stderr


def test_a_missing_rate_is_told_with_loan_and_time(tmp_path):
    rates = tmp_path / "rates.csv"
    rates.write_text("time,currency,rate,unit\n2025-03-01T12:00:00Z,USDT,0.000001,hourly\n")
    result = run("interest", "accrue", DEMO / "events.csv", "--rates", rates, "--out", tmp_path / "books")
    assert result.exit_code == 2
    assert "USDT owed by example-desk ETH-USDT at 2025-03-01T01:00:00.000000Z" in result.stderr
    assert "BTC owed by record-interest BTC-USDT" in result.stderr
    assert not (tmp_path / "books").exists()


@pytest.mark.parametrize("case", CASES, ids=[case["file"] for case in CASES])
def test_broken_files_leave_nothing_behind(case, tmp_path):
    file, out = BAD / case["file"], tmp_path / "books"
    if case["file"].startswith("rates"):
        result = run("interest", "accrue", DEMO / "events.csv", "--rates", file, "--out", out)
    else:
        result = run("interest", "reperform", file, "--out", out)
    assert result.exit_code == 2
    assert case["file"] in result.stderr
    assert case["fragment"] in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_all_that_is_wrong_with_all_files_is_told_at_once(tmp_path):
    rates, rows = tmp_path / "rates.csv", tmp_path / "rows.csv"
    rates.write_text("time,currency,rate,unit\n2025-03-01T12:00:00Z,USDT,-1,hourly\n")
    rows.write_text("time,currency,interest\n2025-03-01T12:00:00,USDT,1\n")
    asked = ("--events", FIXTURES / "bad_input" / "no_zone.csv", "--rates", rates, "--out", tmp_path / "books")
    result = run("interest", "reperform", rows, *asked)
    assert result.exit_code == 2
    for name in ("rates.csv", "rows.csv", "no_zone.csv"):
        assert name in result.stderr


@pytest.mark.parametrize("command", ["accrue", "reperform", "identify"])
def test_help_has_examples(command):
    result = run("interest", command, "--help")
    assert result.exit_code == 0
    assert f"margin-ledger interest {command} " in result.stdout


def test_what_makes_no_sense_is_refused(tmp_path):
    assert run("interest", "identify").exit_code == 2
    alone = run(
        "interest", "reperform", RECORDS / "interest.json", "--as-at", "2025-01-01T00:00:00Z", "--out", tmp_path
    )
    assert alone.exit_code == 2
    assert "--as-at: only with --events" in alone.stderr


def test_the_command_runs_as_a_program(tmp_path):
    code = "import sys; from reports.command_line import main; main(sys.argv[1:])"
    asked = ("interest", "reperform", RECORDS / "interest.json", "--out", tmp_path / "out")
    arguments = [sys.executable, "-c", code, *map(str, asked)]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False, env=dict(os.environ))
    assert (done.returncode, done.stderr) == (0, "")
