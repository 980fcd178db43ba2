"""The command from the outside: its exit codes, its words, and what it leaves on disk."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import openpyxl
import polars as pl
import pytest
from click.testing import CliRunner

import ledger
from ledger.columns import FRAMES, schema
from reports.command_line import main

FIXTURES = Path(__file__).parents[1] / "fixtures"
DEMO, BAD = FIXTURES / "demo", FIXTURES / "bad_input"
CASES = list(csv.DictReader((BAD / "expected.csv").read_text().splitlines()))


def run(*arguments):
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.fixture(scope="module")
def books(tmp_path_factory):
    folder = tmp_path_factory.mktemp("books")
    result = run("replay", DEMO / "events.csv", "--marks", DEMO / "marks.csv", "--out", folder / "books")
    assert (result.exit_code, result.stderr) == (0, "")
    return folder / "books"


def test_replay_writes_the_frames_of_the_registry(books):
    assert sorted(file.name for file in books.iterdir()) == sorted(f"{name}.parquet" for name in FRAMES)
    for name, columns in FRAMES.items():
        assert pl.read_parquet(books / f"{name}.parquet").schema == schema(columns)


def test_csv_and_parquet_hold_the_same(books, tmp_path):
    from reports.frames import read_frames

    out = tmp_path / "books"
    run("replay", DEMO / "events.csv", "--marks", DEMO / "marks.csv", "--out", out, "--format", "csv")
    assert {file.suffix for file in out.iterdir()} == {".csv"}
    text, binary = read_frames(out), read_frames(books)
    for name in FRAMES:
        assert text[name].equals(binary[name]), name


def test_the_last_format_replaces_the_one_before(tmp_path):
    run("replay", DEMO / "events.csv", "--out", tmp_path / "books", "--format", "csv")
    (tmp_path / "books" / "notes.txt").write_text("mine")
    run("replay", DEMO / "events.csv", "--out", tmp_path / "books")
    assert {file.suffix for file in (tmp_path / "books").iterdir()} == {".parquet", ".txt"}


def test_as_at_stops_there(tmp_path):
    run("replay", DEMO / "events.csv", "--out", tmp_path / "books", "--as-at", "2025-01-01T12:00:00+00:00")
    positions = pl.read_parquet(tmp_path / "books" / "positions.parquet")
    lq = positions.filter(pl.col("account") == "example-lq").row(0, named=True)
    assert (lq["status"], f"{lq['quote_leg'].normalize():f}") == ("open", "-100000")


def test_explain_leads_back_to_file_and_row(books):
    result = run("explain", books, "example-lq:BTC-USDC:USDC")
    assert result.exit_code == 0
    for words in (
        "realised PnL 25000 USDC",
        "events.csv row 24",
        "account                                   35000 USDC",
    ):
        assert words in result.stdout, words
    later = run("explain", books, "example-lq:BTC-USDC:USDC#2", "--at", "2025-01-02T12:00:00Z")
    assert "open short" in later.stdout
    assert "margin short" not in later.stdout


def test_explain_names_the_positions_there_are(books):
    result = run("explain", books, "nobody:BTC-USDT:USDT")
    assert result.exit_code == 2
    assert "example-fall:BTC-USDC:BTC" in result.stderr


def test_report_writes_a_workbook(books, tmp_path):
    assert run("report", books, tmp_path / "books.xlsx").exit_code == 0
    names = openpyxl.load_workbook(tmp_path / "books.xlsx").sheetnames
    assert names == [
        "About",
        "Sign-off",
        "Checks",
        "Positions",
        "Over time",
        "Ledger",
        "Parameters",
        "Manifest",
        "Glossary",
    ]


def test_report_of_a_folder_without_frames(tmp_path):
    result = run("report", tmp_path, tmp_path / "books.xlsx")
    assert result.exit_code == 2
    assert not (tmp_path / "books.xlsx").exists()


def test_a_failing_check_makes_the_exit_code_one(tmp_path):
    rows = (DEMO / "events.csv").read_text().replace("329800", "229800")
    (tmp_path / "events.csv").write_text(rows)
    result = run("replay", tmp_path / "events.csv", "--out", tmp_path / "books")
    assert result.exit_code == 1
    assert "initial_margin_as_formula" in result.stdout
    assert "1 FAIL" in result.stdout
    assert run("report", tmp_path / "books", tmp_path / "books.xlsx").exit_code == 1


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["file"])
def test_broken_input_is_refused_and_leaves_nothing(case, tmp_path):
    given = [BAD / case["file"]]
    if case["file"].startswith("marks_"):
        given = [DEMO / "events.csv", "--marks", *given]
    for policy in case["policy"].split():
        given += ["--policy", policy]
    result = run("replay", *given, "--out", tmp_path / "books", "--refusals", tmp_path / "refused.csv")
    assert result.exit_code == 2
    assert "Traceback" not in result.output
    assert [file.name for file in tmp_path.iterdir()] == ["refused.csv"]
    refused = list(csv.DictReader((tmp_path / "refused.csv").read_text().splitlines()))
    found = [row for row in refused if (row["column"], row["row"]) == (case["column"], case["row"])]
    assert found, refused
    assert any(case["fragment"].lower() in row["rule"].lower() for row in found)
    assert all(row["file"] and row["rule"] and row["remedy"] for row in refused)
    assert found[0]["rule"] in result.stderr


def test_all_problems_are_told_at_once(tmp_path):
    head, *rows = (DEMO / "events.csv").read_text().splitlines()
    rows[0] = rows[0].replace("20000", "0")
    rows[3] = rows[3].replace("0.0000000061038192", "NaN")
    (tmp_path / "events.csv").write_text("\n".join([head, *rows, rows[5]]))
    result = run("replay", tmp_path / "events.csv", "--marks", BAD / "nothing.csv", "--out", tmp_path / "books")
    assert result.exit_code == 2
    for words in ("row 2, column price", "row 5, column amount", "row 30, column event_id", "nothing.csv"):
        assert words in result.stderr, words


def test_a_bad_row_does_not_hide_what_is_wrong_with_other_positions(tmp_path):
    head, *rows = (DEMO / "events.csv").read_text().splitlines()
    bad = [row.replace("20000", "0") for row in rows]
    bad.append("2025-01-05T00:00:00Z,late,example-sb,BTC-USDC,new,base,margin,,,,,,,,1,BTC")
    bad.append("2022-07-08T00:00:00Z,hidden,record-interest,BTC-USDT,new,USDT,margin,,,,,,,,1,USDT")
    (tmp_path / "events.csv").write_text("\n".join([head, *bad]))
    result = run("replay", tmp_path / "events.csv", "--out", tmp_path / "books")
    assert result.exit_code == 2
    assert "row 2, column price" in result.stderr
    assert "row 30, column kind" in result.stderr  # margin for a position that is closed
    assert "row 31" not in result.stderr  # of this position a row could not be read


def test_events_in_memory_are_judged_like_those_of_files():
    events = ledger.read_events([DEMO / "events.csv"])
    emptied = [events.with_columns(pl.col(name).shift(1)) for name in ("account", "time")]
    for name, broken in zip(
        ("account", "time", "price"), [*emptied, events.with_columns(price=-pl.col("price"))], strict=True
    ):
        with pytest.raises(ledger.BadInput) as bad:
            ledger.replay(broken)
        assert set(bad.value.refusals["column"]) == {name}


def test_policies_are_checked(tmp_path):
    given = ("replay", DEMO / "events.csv", "--out", tmp_path / "books")
    result = run(*given, "--policy", "overfill=sideways", "--policy", "entry_price=net_remaining")
    assert result.exit_code == 2
    assert "choose one of reverse, spot_first" in result.stderr
    assert run(*given, "--policy", "overfill=spot_first").exit_code == 0


def test_a_time_needs_a_zone(tmp_path):
    result = run("replay", DEMO / "events.csv", "--out", tmp_path / "books", "--as-at", "2025-01-01")
    assert result.exit_code == 2
    assert "no zone" in result.stderr


def test_without_events_there_is_nothing_to_replay(tmp_path):
    head = (DEMO / "events.csv").read_text().splitlines()[0]
    (tmp_path / "events.csv").write_text(head + "\n")
    for given in ((tmp_path / "events.csv",), (DEMO / "events.csv", "--as-at", "2020-01-01T00:00:00Z")):
        result = run("replay", *given, "--out", tmp_path / "deep" / "books")
        assert result.exit_code == 2
        assert "There is no event to replay." in result.stderr
    assert not (tmp_path / "deep").exists()


def test_a_ledger_changed_by_hand_is_not_reported(tmp_path):
    run("replay", DEMO / "events.csv", "--out", tmp_path / "books", "--format", "csv")
    ledger = pl.read_csv(tmp_path / "books" / "ledger.csv", infer_schema=False)
    changed = ledger.with_columns(
        base_closing=pl.when(pl.int_range(pl.len()) == 3).then(pl.lit("2.000000000000000000")).otherwise("base_closing")
    )
    changed.write_csv(tmp_path / "books" / "ledger.csv")
    result = run("report", tmp_path / "books", tmp_path / "books.xlsx")
    assert result.exit_code == 2
    assert "changed since its replay" in result.stderr
    assert not (tmp_path / "books.xlsx").exists()


def test_refusals_that_cannot_be_written(tmp_path):
    where = tmp_path / "nowhere" / "refused.csv"
    result = run("replay", BAD / "empty.csv", "--out", tmp_path / "books", "--refusals", where)
    assert result.exit_code == 2
    assert str(where) in result.stderr


def test_a_damaged_frame_is_told(books, tmp_path):
    for file in books.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes()[:900])
    assert run("explain", tmp_path, "example-lq:BTC-USDC:USDC").exit_code == 2


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "books").write_text("a file")
    result = run("replay", DEMO / "events.csv", "--out", tmp_path / "books")
    assert result.exit_code == 2
    assert (tmp_path / "books").read_text() == "a file"


@pytest.mark.parametrize("size", [1, 7, 10])
def test_batches_do_not_change_the_books(books, tmp_path, monkeypatch, size):
    monkeypatch.setattr("ledger.files.BATCH_EVENTS", size)
    monkeypatch.setattr("ledger.spool.HELD_EVENTS", size)
    run("replay", DEMO / "events.csv", "--marks", DEMO / "marks.csv", "--out", tmp_path / "books")
    for name in ("ledger", "postings", "positions"):
        one, other = (pl.read_parquet(folder / f"{name}.parquet") for folder in (books, tmp_path / "books"))
        assert one.equals(other), name


def test_files_in_another_order_give_the_same_ledger(books, tmp_path):
    head, *rows = (DEMO / "events.csv").read_text().splitlines()
    for name, part in (("a", rows[::2]), ("b", rows[1::2])):
        (tmp_path / f"{name}.csv").write_text("\n".join([head, *part]))
    run("replay", tmp_path / "b.csv", tmp_path / "a.csv", "--out", tmp_path / "books")
    one, other = (
        pl.read_parquet(folder / "ledger.parquet").drop("input", "row") for folder in (books, tmp_path / "books")
    )
    assert one.equals(other)


def test_the_console_command_runs_the_demo(tmp_path):
    command = [sys.executable, "-c", "from reports.command_line import main; main()", "demo"]
    environment = os.environ | {"PYTHONPATH": str(FIXTURES.parent)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "12 of 12 checks hold." in done.stdout
    names = ("demo", "interest", "reconciliation", "risk")
    written = {f"spot-margin-{name}{suffix}" for name in names for suffix in ("", ".xlsx")}
    assert {file.name for file in tmp_path.iterdir()} == written


@pytest.fixture
def events():
    return (DEMO / "events.csv").read_text()


def test_a_file_that_is_read_is_never_replaced_or_removed(tmp_path, events):
    (tmp_path / "ledger.csv").write_text(events)
    result = run("replay", tmp_path / "ledger.csv", "--out", tmp_path)
    assert (result.exit_code, (tmp_path / "ledger.csv").read_text()) == (2, events)
    assert "ledger.csv: is read, and has the name of a frame in the folder that is written" in result.stderr


def test_a_file_that_no_run_wrote_is_not_replaced(tmp_path, events):
    (tmp_path / "house.csv").write_text(events)
    (tmp_path / "positions.csv").write_text("mine")
    result = run("replay", tmp_path / "house.csv", "--out", tmp_path)
    assert (result.exit_code, (tmp_path / "positions.csv").read_text()) == (2, "mine")
    assert "positions.csv: is not of an earlier run" in result.stderr


def test_events_in_the_folder_of_the_frames_stay(tmp_path, events):
    (tmp_path / "events.csv").write_text(events)
    assert [run("replay", tmp_path / "events.csv", "--out", tmp_path).exit_code for _ in range(2)] == [0, 0]
    assert (tmp_path / "events.csv").read_text() == events
