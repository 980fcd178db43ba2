"""The commands `import`, `reconcile` and `adjustments` from the outside: exit codes, words, what is left on disk."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import openpyxl
import polars as pl
import pytest
from click.testing import CliRunner

from ledger.columns import FRAMES, schema
from ledger.reconciliation.columns import RECONCILIATION_FRAMES
from ledger.statements.columns import STATEMENT_FRAMES
from reports.command_line import main
from reports.frames import read_frames

FIXTURES = Path(__file__).parents[1] / "fixtures"
DEMO, BAD, RECORDS = FIXTURES / "demo" / "reconcile", FIXTURES / "bad_exchange", FIXTURES / "records"
HOUSE = (DEMO / "house.csv", DEMO / "adjustments.xlsx")
BILLS, INTEREST, POSITIONS, CLOSED = (
    DEMO / name for name in ("bills-2025-q1.zip", "interest.json", "positions.json", "positions-history.json")
)
HOSTILE = [case["file"] for case in csv.DictReader((BAD / "expected.csv").read_text(encoding="utf-8").splitlines())]
ALL_FRAMES = {**FRAMES, **STATEMENT_FRAMES, **RECONCILIATION_FRAMES}
IMPORTED = {"events", "snapshots", "tiers", "inputs", *STATEMENT_FRAMES}
PLANTED = {
    "desk:BTC-USDT:BTC": "missing_fill",
    "desk:ETH-USDT:USDT": "fee_not_deducted",
    "desk:SOL-USDT:SOL": "rate_unit",
    "desk:XRP-USDT:USDT": "margin_change_missing",
    "desk:ETH-BTC:ETH": "quantity",
}
LIABILITY = "-20000966.0227737993648251"
FORMULA = '=HYPERLINK("http://example.com","x")'


def run(*arguments):
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert "Traceback" not in result.output
    return result


def listing(folder):
    """Every file below a folder, with its content."""
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def refused(tmp_path, *arguments):
    """Run it with --out and --report; it is refused, says what it says, and leaves nothing."""
    before = listing(tmp_path)
    report = () if arguments[0] == "import" else ("--report", tmp_path / "books.xlsx")
    result = run(*arguments, "--out", tmp_path / "books", *report)
    assert result.exit_code == 2, result.output
    assert listing(tmp_path) == before
    assert not (tmp_path / "books").exists()
    return result.stderr


@pytest.fixture(scope="module")
def books(tmp_path_factory):
    """The demo's reconciliation: its folder, and what was said."""
    folder = tmp_path_factory.mktemp("reconciled")
    exchange = (BILLS, INTEREST, POSITIONS, CLOSED)
    given = ("--ledger", *HOUSE, "--exchange", *exchange, "--marks", DEMO / "marks.csv")
    result = run("reconcile", *given, "--out", folder / "books", "--report", folder / "books.xlsx")
    assert (result.exit_code, result.stderr) == (1, "")
    return folder, result.stdout


# What it finds


def test_every_planted_mistake_is_named_and_nothing_else(books):
    frames = read_frames(books[0] / "books")
    parts = frames["break_causes"].join(frames["breaks"].select("break_id", "position"), on="break_id")
    named = parts.filter(pl.col("cause") != "venue_digits").select("position", "cause").unique()
    assert sorted(map(tuple, named.cast(pl.String).rows())) == sorted(PLANTED.items())
    assert set(parts.filter(pl.col("cause") != "venue_digits")["certainty"].cast(pl.String)) == {"proved"}
    assert frames["breaks"].filter(pl.col("unexplained") != 0).is_empty()
    assert frames["breaks"]["ambiguous"].any() is False


def test_what_was_posted_by_hand_agrees_and_stands_apart(books):
    frames = read_frames(books[0] / "books")
    by_hand = frames["ledger"].filter(pl.col("reason").is_not_null())
    assert by_hand.select("position", "kind", "reason").rows() == [
        ("desk:LTC-USDT:USDT", "interest", "missing_interest")
    ]
    rolled = frames["roll_forward"].filter(pl.col("adjustments") != 0)
    assert rolled.select("position", "balance").rows() == [("desk:LTC-USDT:USDT", "quote_leg")]
    assert f"{rolled['adjustments'].item().normalize():f}" == "-0.1035023805136879"
    assert frames["comparison"].filter(pl.col("position") == "desk:LTC-USDT:USDT")["break_id"].null_count() == 17


def test_it_says_what_is_wrong_in_plain_words(books):
    for words in (
        "bills-2025-q1.zip",
        "the ledger lacks the buy of 0.25 at 79600",
        "liability of desk:BTC-USDT:BTC is 19900 USDT too low",
        "NOT RECONCILED: 42 breaks",
        f"Wrote {books[0] / 'books.xlsx'}",
    ):
        assert words in books[1], words


def test_the_frames_are_the_documented_ones(books):
    folder = books[0] / "books"
    assert {file.name for file in folder.iterdir()} == {f"{name}.parquet" for name in ALL_FRAMES}
    for name, columns in ALL_FRAMES.items():
        assert pl.read_parquet(folder / f"{name}.parquet").schema == schema(columns), name


def test_the_workbook_has_the_sheets_of_a_reconciliation(books):
    saved = openpyxl.load_workbook(books[0] / "books.xlsx", read_only=True)
    assert {"Checks", "Lead", "Comparison", "Breaks", "Break causes", "Events", "Adjustments", "Certificate"} <= set(
        saved.sheetnames
    )


def test_a_ledger_of_the_exchange_s_own_bills_reconciles(tmp_path):
    given = ("--ledger", BILLS, "--exchange", BILLS, POSITIONS, INTEREST)
    result = run("reconcile", *given, "--out", tmp_path / "books")
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[-1].startswith("RECONCILED: ")
    assert read_frames(tmp_path / "books")["breaks"].is_empty()


def test_files_in_another_order_and_a_later_run_give_the_same_breaks(books, tmp_path):
    given = ("--exchange", CLOSED, POSITIONS, INTEREST, BILLS, "--ledger", *reversed(HOUSE))
    assert run("reconcile", *given, "--out", tmp_path / "books").exit_code == 1
    one, other = (read_frames(folder)["breaks"] for folder in (books[0] / "books", tmp_path / "books"))
    assert one.equals(other)


# Options


def test_csv_holds_the_same_and_gives_the_same_workbook(books, tmp_path):
    folder, out = books[0], tmp_path / "books"
    given = ("--ledger", *HOUSE, "--exchange", BILLS, INTEREST, POSITIONS, CLOSED, "--marks", DEMO / "marks.csv")
    assert run("reconcile", *given, "--out", out, "--format", "csv").exit_code == 1
    assert {file.name for file in out.iterdir()} == {f"{name}.csv" for name in ALL_FRAMES}
    text, binary = read_frames(out), read_frames(folder / "books")
    for name in ALL_FRAMES:
        assert text[name].equals(binary[name]), name
    assert run("report", out, tmp_path / "books.xlsx").exit_code == 1
    assert (tmp_path / "books.xlsx").read_bytes() == (folder / "books.xlsx").read_bytes()


def test_as_at_stops_both_sides_there(tmp_path):
    given = ("--ledger", *HOUSE, "--exchange", BILLS, INTEREST, "--as-at", "2025-03-10T09:15:00Z")
    result = run("reconcile", *given, "--out", tmp_path / "books")
    assert result.exit_code == 0, result.output  # the first mistake is of 09:20
    frames = read_frames(tmp_path / "books")
    assert f"{frames['ledger']['time'].max():%H:%M}" == "09:10"
    assert f"{frames['comparison']['time'].max():%H:%M}" <= "09:15"
    assert frames["parameters"].filter(pl.col("name") == "as_at")["value"].item() == "2025-03-10T09:15:00+00:00"


def test_a_time_needs_a_zone(tmp_path):
    assert "no zone" in refused(tmp_path, "reconcile", "--ledger", *HOUSE, "--as-at", "2025-03-10")


def test_materiality_marks_breaks_and_hides_none(tmp_path):
    given = ("--ledger", *HOUSE, "--exchange", BILLS, POSITIONS, "--materiality", "1000", "--materiality", "ETH=0.5")
    assert run("reconcile", *given, "--out", tmp_path / "books").exit_code == 1
    breaks = read_frames(tmp_path / "books")["breaks"]
    assert breaks.height == 42
    amounts = breaks.filter(pl.col("figure").is_in(["assets_shown", "liability_shown", "margin"]))
    for row in amounts.iter_rows(named=True):
        least = 0.5 if row["unit"] == "ETH" else 1000
        assert row["material"] == (abs(row["difference"]) >= least), row


def test_a_tolerance_makes_a_difference_no_break(tmp_path):
    given = ("--ledger", *HOUSE, "--exchange", POSITIONS, "--tolerance", "margin=5000")
    run("reconcile", *given, "--out", tmp_path / "books")
    frames = read_frames(tmp_path / "books")
    margins = frames["comparison"].filter(pl.col("figure") == "margin")
    assert set(margins["verdict"].cast(pl.String)) == {"matched"}
    assert frames["parameters"].filter(pl.col("name") == "reconcile.tolerance.margin")["value"].item() == "5000"
    assert frames["breaks"].height > 0


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("--tolerance", "profit=1", "choose a figure from"),
        ("--tolerance", "margin=-1", "at least 0"),
        ("--materiality", "USDT=a lot", "give a number"),
        ("--materiality", "1e-19", "give a number"),
        ("--leverage", "0", "at least 1"),
        ("--leverage", "NaN", "give a number"),
        ("--from", "okx", "choose a layout from okx-fills"),
        ("--from", "other.csv=okx-bills", "none of the files given"),
        ("--policy", "overfill=sideways", "choose one of reverse, spot_first"),
        ("--mode", "older", "'old', 'new'"),
    ],
)
def test_options_are_checked_before_anything_is_read(tmp_path, option, value, words):
    assert words in refused(tmp_path, "reconcile", "--ledger", "nowhere.csv", option, value)


@pytest.mark.parametrize("name", ["books.csv", "books", "nowhere/books.xlsx"])
def test_a_workbook_needs_its_suffix_and_a_folder(tmp_path, name):
    given = ("--ledger", *HOUSE, "--exchange", POSITIONS, "--out", tmp_path / "books")
    result = run("reconcile", *given, "--report", tmp_path / name)
    assert result.exit_code == 2
    assert str(tmp_path / name) in result.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("given", [("--ledger", "--exchange", POSITIONS), ("--ledger", *HOUSE, "--exchange")])
def test_an_option_without_a_file_is_told(tmp_path, given):
    assert "needs the name of a file" in refused(tmp_path, "reconcile", *given)


def test_layouts_are_listed():
    result = run("import", "--layouts")
    assert result.exit_code == 0
    names = [line.split()[0] for line in result.stdout.splitlines()]
    assert len(set(names)) == len(names)
    assert {"okx-bills", "okx-positions", "okx-trading-history", "binance-trades", "events"} <= set(names)
    trades = next(line for line in result.stdout.splitlines() if line.startswith("binance-trades"))
    assert "margin trades" in trades


def test_a_layout_may_be_given_for_one_file_or_for_all(tmp_path):
    given = ("import", BILLS, INTEREST, "--out", tmp_path / "read")
    assert run(*given, "--from", f"{BILLS}=okx-bills", "--from", f"{INTEREST}=okx-interest").exit_code == 0
    recognised = listing(tmp_path / "read")
    assert run(*given).exit_code == 0
    assert listing(tmp_path / "read") == recognised
    assert run("import", BILLS, "--from", "okx-bills", "--out", tmp_path / "bills").exit_code == 0
    said = refused(tmp_path, "import", BILLS, INTEREST, "--from", "okx-bills")
    assert f"{INTEREST}, column billId" in said
    assert str(BILLS) not in said


# Import


def test_import_writes_events_and_what_every_row_is(tmp_path):
    result = run("import", BILLS, POSITIONS, "--account", "desk", "--out", tmp_path / "read")
    assert result.exit_code == 0, result.output
    assert {file.name for file in (tmp_path / "read").iterdir()} == {f"{name}.parquet" for name in IMPORTED}
    events = pl.read_parquet(tmp_path / "read" / "events.parquet")
    assert dict(events["kind"].cast(pl.String).value_counts().rows()) == {"fill": 16, "interest": 23, "margin": 1}
    assert f"{events.height} events" in result.stdout
    assert pl.read_parquet(tmp_path / "read" / "snapshots.parquet").height == 6
    assert run("replay", tmp_path / "read" / "events.parquet", "--out", tmp_path / "books").exit_code == 0


def test_import_needs_files_and_a_folder(tmp_path):
    for given in (("import", BILLS), ("import", "--out", tmp_path / "read")):
        assert run(*given).exit_code == 2
    assert list(tmp_path.iterdir()) == []


def test_a_missing_bill_makes_the_exit_code_one(tmp_path):
    import zipfile

    with zipfile.ZipFile(BILLS) as packed:
        head, *rows = packed.read("bills-2025-q1.csv").decode().splitlines()
    (tmp_path / "bills.csv").write_text("\n".join([head, *rows[:20], *rows[21:]]))
    result = run("import", tmp_path / "bills.csv", "--out", tmp_path / "read")
    assert result.exit_code == 1, result.output
    assert "FAIL" in result.stdout


@pytest.mark.parametrize(
    ("name", "code", "words"),
    [
        ("bills", 1, ("outside", "no concern of an isolated spot-margin position", "0 events")),
        ("fills", 0, ("fill", "outside", "currency the margin")),
        ("interest", 0, ("interest", "7")),
        ("positions", 0, ("-99.9998177776581948", "mode old inferred", "-0.113791")),
        ("positions_futures", 0, ("ETH-USD-210430: no isolated spot-margin position",)),
    ],
)
def test_published_records_go_in_as_they_are(tmp_path, name, code, words):
    result = run("import", RECORDS / f"{name}.json", "--out", tmp_path / "read")
    assert (result.exit_code, result.stderr) == (code, "")
    for word in words:
        assert word in result.stdout, word


def test_published_interest_gives_events_once_its_position_is_known(tmp_path):
    given = ("import", RECORDS / "interest.json", "--margin-currency", "quote", "--out", tmp_path / "read")
    assert run(*given).exit_code == 0
    events = pl.read_parquet(tmp_path / "read" / "events.parquet")
    stated = [each["record"]["interest"] for each in json.loads((RECORDS / "interest.json").read_text())]
    assert sorted(f"{amount.normalize():f}" for amount in events["amount"]) == sorted(stated)


# Refusals


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_refused_and_leave_nothing(tmp_path, name):
    said = refused(tmp_path, "reconcile", "--ledger", *HOUSE, "--exchange", BAD / name)
    assert str(BAD / name) in said
    said = refused(tmp_path, "import", BILLS, BAD / name)
    assert str(BAD / name) in said


def test_refusals_of_several_files_are_told_at_once(tmp_path):
    bad = tmp_path / "house.csv"
    bad.write_text((DEMO / "house.csv").read_text().replace("fill,buy,10,2000,", "fill,buy,10,-2000,"))
    given = ("--ledger", bad, "--exchange", BAD / "two_files.zip", BAD / "thousands.csv", tmp_path / "nothing.json")
    result = run("reconcile", *given, "--out", tmp_path / "books", "--refusals", tmp_path / "refused.csv")
    assert result.exit_code == 2
    assert sorted(file.name for file in tmp_path.iterdir()) == ["house.csv", "refused.csv"]
    rows = list(csv.DictReader((tmp_path / "refused.csv").read_text().splitlines()))
    assert list(rows[0]) == ["file", "row", "column", "value", "rule", "remedy"]
    places = {(Path(row["file"]).name, row["row"], row["column"], row["value"]) for row in rows}
    assert places == {
        ("house.csv", "2", "price", "-2000"),
        ("two_files.zip", "", "", ""),
        ("thousands.csv", "3", "sz", "1,000.5"),
        ("nothing.json", "", "", ""),
    }
    for row in rows:
        assert row["rule"] in result.stderr
        assert row["remedy"] in result.stderr
    assert "Refused: 4. Nothing was written." in result.stderr


def test_refused_input_leaves_the_books_of_before(books, tmp_path):
    given = ("reconcile", "--ledger", DEMO / "house.csv", "--exchange", POSITIONS, "--out", tmp_path / "books")
    assert run(*given, "--report", tmp_path / "books.xlsx").exit_code == 1
    before = listing(tmp_path)
    bad = ("--ledger", DEMO / "house.csv", "--exchange", BAD / "cut_off.json", "--out", tmp_path / "books")
    assert run("reconcile", *bad, "--report", tmp_path / "books.xlsx").exit_code == 2
    assert listing(tmp_path) == before


def test_a_ledger_without_events_is_refused(tmp_path):
    for name in ("bills", "positions"):
        said = refused(tmp_path, "reconcile", "--ledger", RECORDS / f"{name}.json", "--exchange", POSITIONS)
        assert "no event of an isolated spot-margin position" in said


# Digits and formulas


def exact_world(folder, liability=LIABILITY):
    """A ledger that owes just this, and a snapshot that states it."""
    head = "time,event_id,account,instrument,mode,margin_currency,kind,side,quantity,price,leverage,amount,currency\n"
    opened = "2025-03-10T08:10:00Z,one,main,BTC-USDT,new,USDT,fill,buy,200.00966,100000,5,,\n"
    charged = "2025-03-10T09:00:00Z,two,main,BTC-USDT,new,USDT,interest,,,,,0.0227737993648251,USDT\n"
    (folder / "house.csv").write_text(head + opened + charged)
    position = {
        "instType": "MARGIN",
        "mgnMode": "isolated",
        "instId": "BTC-USDT",
        "posId": "1",
        "posCcy": "BTC",
        "pos": "200.00966",
        "liabCcy": "USDT",
        "liab": liability,
        "ccy": "USDT",
        "margin": "4000193.2",
        "avgPx": "100000",
        "lever": "5",
        "cTime": "1741594200000",
        "uTime": "1741597200000",
    }
    (folder / "positions.json").write_text(json.dumps({"code": "0", "msg": "", "data": [position]}))
    return ("--ledger", folder / "house.csv", "--exchange", folder / "positions.json")


def column(path, sheet, heading):
    """The cells below a heading of a sheet."""
    rows = list(openpyxl.load_workbook(path, data_only=True)[sheet].iter_rows(values_only=True))
    top = next(number for number, row in enumerate(rows) if heading in row)
    place = rows[top].index(heading)
    return [row[place] for row in rows[top + 1 :]]


def test_a_liability_survives_to_its_last_digit(tmp_path):
    given = exact_world(tmp_path)
    result = run("reconcile", *given, "--out", tmp_path / "books", "--report", tmp_path / "books.xlsx")
    assert result.exit_code == 0, result.output
    for heading in ("Ledger (exact)", "Exchange (exact)"):
        assert LIABILITY in column(tmp_path / "books.xlsx", "Comparison", heading)
        assert column(tmp_path / "books.xlsx", "Lead", heading).count(LIABILITY) == 1, heading


def test_the_last_digit_off_is_a_break(tmp_path):
    given = exact_world(tmp_path, LIABILITY[:-1] + "2")
    result = run("reconcile", *given, "--out", tmp_path / "books", "--report", tmp_path / "books.xlsx")
    assert result.exit_code == 1
    assert "liability of main:BTC-USDT:USDT is 0.0000000000000001 USDT too low" in result.stdout
    assert column(tmp_path / "books.xlsx", "Breaks", "Difference (exact)") == ["0.0000000000000001"]


def test_text_like_a_formula_never_becomes_one(tmp_path):
    house = list(csv.DictReader((DEMO / "house.csv").read_text().splitlines()))
    for number, row in enumerate(house):
        row["event_id"] = f"{FORMULA}{number}"
    with (tmp_path / "house.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(house[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(house)
    book = openpyxl.load_workbook(DEMO / "adjustments.xlsx")
    for row in book["Adjustments"].iter_rows(min_row=2):
        for cell in row:
            if "adjustment-" in str(cell.value) or "Reviewer" in str(cell.value):
                cell.value, cell.data_type = f"+{FORMULA}", "s"
    book.save(tmp_path / "adjustments.xlsx")
    given = ("--ledger", tmp_path / "house.csv", tmp_path / "adjustments.xlsx", "--exchange", BILLS, POSITIONS)
    result = run("reconcile", *given, "--out", tmp_path / "books", "--report", tmp_path / "books.xlsx")
    assert result.exit_code == 1, result.output
    saved = openpyxl.load_workbook(tmp_path / "books.xlsx")
    cells = [cell for sheet in saved for row in sheet.iter_rows() for cell in row if "HYPERLINK" in str(cell.value)]
    assert {"Events", "Ledger", "Break causes", "Adjustments"} <= {cell.parent.title for cell in cells}
    for cell in cells:
        assert cell.data_type == "s", cell
        assert cell.quotePrefix or str(cell.value)[0] not in "=+-@", cell


# Adjustments


def test_the_template_of_adjustments_is_written_and_read(tmp_path):
    result = run("adjustments", tmp_path / "adjustments.xlsx")
    assert (result.exit_code, result.stderr) == (0, "")
    sheet = openpyxl.load_workbook(tmp_path / "adjustments.xlsx")["Adjustments"]
    assert "reason" in [cell.value for cell in sheet[1]]
    given = ("--ledger", DEMO / "house.csv", tmp_path / "adjustments.xlsx", "--exchange", POSITIONS)
    result = run("reconcile", *given, "--out", tmp_path / "books")
    assert result.exit_code == 1, result.output  # an empty template adds nothing


def test_a_template_is_put_over_no_file(tmp_path):
    (tmp_path / "mine.xlsx").write_text("mine")
    for name in ("mine.xlsx", "mine.csv", "nowhere/mine.xlsx"):
        result = run("adjustments", tmp_path / name)
        assert result.exit_code == 2, name
        assert str(tmp_path / name) in result.stderr
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("mine.xlsx", "mine")]


# As a process, and the demo's files


def test_a_process_of_its_own(tmp_path):
    program = [sys.executable, "-c", "from reports.command_line import main; main()", "reconcile"]
    given = ["--ledger", "house.csv", "adjustments.xlsx", "--exchange", "positions.json", "--out", "books"]
    for name in (*HOUSE, POSITIONS):
        (tmp_path / name.name).write_bytes(name.read_bytes())
    environment = os.environ | {"PYTHONPATH": str(FIXTURES.parent)}
    done = subprocess.run(
        [*program, *given], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (1, "")
    assert "NOT RECONCILED" in done.stdout
    assert {file.name for file in tmp_path.iterdir()} == {"house.csv", "adjustments.xlsx", "positions.json", "books"}


def test_the_demo_s_files_are_those_of_its_script(tmp_path):
    names = {path.name for path in DEMO.iterdir() if path.is_file()} - {"make.py", "README.md"}
    script = (
        "import sys, runpy, pathlib; sys.path.insert(0, sys.argv[2]); found = runpy.run_path(sys.argv[1]);"
        "found['main'].__globals__['HERE'] = pathlib.Path(sys.argv[3]); found['main']()"
    )
    arguments = [str(DEMO / "make.py"), str(Path(__file__).parent), str(tmp_path)]
    subprocess.run([sys.executable, "-c", script, *arguments], check=True)
    assert {path.name for path in tmp_path.iterdir()} == names
    for name in names:
        assert (tmp_path / name).read_bytes() == (DEMO / name).read_bytes(), name
