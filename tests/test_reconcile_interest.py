"""`reconcile --rates`: interest re-performed within a reconciliation, with the charges of both sides' files."""

import csv
import json
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import exchange_detection
import exchange_events
import exchange_files
import exchange_truth
import interest_detection
import interest_histories
import polars as pl
import pytest
from test_command_line import run

from ledger import ReconcileRequest, reconcile_files
from ledger.columns import schema
from ledger.files import Request, replay_files
from ledger.interest.columns import INTEREST_FRAMES
from ledger.interest.policy import shipped_policies
from ledger.interest.request import InterestRequest
from ledger.statements.margin_currency import Defaults
from reports.frames import read_frames

DEMO = Path(__file__).parents[1] / "fixtures" / "demo" / "reconcile"
HOUSE = (DEMO / "house.csv", DEMO / "adjustments.xlsx")
BILLS, STATED, POSITIONS, CLOSED, RATES = (
    DEMO / name
    for name in ("bills-2025-q1.zip", "interest.json", "positions.json", "positions-history.json", "rates.csv")
)
OKX = shipped_policies()["okx"]
NINE = datetime(2025, 3, 1, 9, tzinfo=UTC)


@pytest.fixture(scope="module")
def books(tmp_path_factory):
    """The demo's reconciliation with rates: its frames, and what was said."""
    folder = tmp_path_factory.mktemp("reconciled")
    exchange = (BILLS, STATED, POSITIONS, CLOSED)
    result = run("reconcile", "--ledger", *HOUSE, "--exchange", *exchange, "--rates", RATES, "--out", folder / "books")
    assert (result.exit_code, result.stderr) == (1, "")
    return read_frames(folder / "books"), result.stdout


def failures(checks):
    """Failures of each check of interest."""
    return {name: count for name, count in checks.select("check", "failures").rows() if name.startswith("interest_")}


def causes(frames):
    """The causes of each position that come to something, but for what is carried."""
    found = frames["interest_causes"].filter((pl.col("amount") != 0) & (pl.col("cause") != "carried_forward"))
    return sorted(found.select("position", "cause", "charges").rows())


# The demo


def test_charges_agree_but_where_the_ledger_owes_something_else(books):
    frames, said = books
    assert dict(frames["interest"]["status"].value_counts().rows()) == {"agrees": 19, "differs": 4}
    assert causes(frames) == [
        ("desk:BTC-USDT:BTC", "other_liability", 3),  # the missing fill
        ("desk:ETH-BTC:ETH", "other_liability", 1),  # the typing error
    ]
    assert failures(frames["checks"]) == {
        "interest_roll_forward_closes": 0,
        "interest_differences_add_up": 0,
        "interest_agrees": 4,
    }
    assert "23 charges: 19 agree, 4 differs" in said
    assert "4 charges of interest other than what is due on the ledger's liability" in said


def test_the_house_s_wrong_rate_is_told_beside_the_charge_that_is_right(books):
    noted = books[0]["interest"].filter(pl.col("note").is_not_null())
    assert noted.select("position", "time", "status", "note").rows() == [
        (
            "desk:SOL-USDT:SOL",
            datetime(2025, 3, 10, 10, tzinfo=UTC),
            "agrees",
            "the ledger has 0.0576004608, 24 times the rate: a daily rate taken as hourly",
        )
    ]


def test_each_charge_leads_to_its_row_and_its_rate(books):
    frames, _ = books
    files = {row["input"]: Path(row["file"]) for row in frames["inputs"].iter_rows(named=True)}
    assert list(files) == list(range(1, 8))
    assert (files[4], files[7]) == (STATED, RATES)
    records = json.loads(STATED.read_text())["data"]
    rates = list(csv.DictReader(RATES.read_text().splitlines()))
    for row in frames["interest"].iter_rows(named=True):
        assert files[row["input"]] == STATED
        record = records[row["row"] - 1]
        assert (row["charged"], row["stated_liability"]) == (Decimal(record["interest"]), Decimal(record["liab"]))
        assert int(row["booked"].timestamp() * 1000) == int(record["ts"])
        assert row["position"].split(":")[1] == record["instId"]
        rate = rates[row["rate_row"] - 2]
        assert (rate["currency"], Decimal(rate["rate"])) == (row["currency"], row["rate"])


def test_the_roll_forward_is_that_of_the_ledger(books):
    frames, _ = books
    rolled = {row["position"]: row for row in frames["interest_roll"].iter_rows(named=True)}
    own = frames["ledger"].filter(pl.col("kind") == "interest")
    for position, row in rolled.items():
        assert row["interest_charged"] == sum(own.filter(pl.col("position") == position)["interest"])
        assert row["to_time"] == datetime(2025, 3, 10, 12, 10, tzinfo=UTC)
    assert rolled["desk:SOL-USDT:SOL"]["liability_closing"] == Decimal("200.1640013568006145")


def test_the_choice_stands_among_the_parameters(books):
    chosen = dict(books[0]["parameters"].select("name", "value").rows())
    assert (chosen["interest.policy"], chosen["interest.rounding"]) == ("okx", "up")


def test_bills_alone_tell_the_charges(tmp_path):
    given = ("--ledger", *HOUSE, "--exchange", BILLS, "--rates", RATES)
    assert run("reconcile", *given, "--out", tmp_path / "books").exit_code == 1
    interest = read_frames(tmp_path / "books")["interest"]
    assert interest.height == 23
    assert set(interest["input"]) == {3}
    assert interest["row"].n_unique() == 23
    assert interest["stated_liability"].null_count() == 23


def test_without_charges_of_the_exchange_those_of_the_ledger_are_compared(tmp_path):
    given = ("--ledger", *HOUSE, "--exchange", POSITIONS, "--rates", RATES)
    assert run("reconcile", *given, "--out", tmp_path / "books").exit_code == 1
    frames = read_frames(tmp_path / "books")
    assert set(frames["interest"]["input"]) == {1, 2}
    assert ("desk:SOL-USDT:SOL", "rate_unit", 1) in causes(frames)
    assert frames["interest"]["note"].drop_nulls().str.starts_with("the ledger has").any() is False


def test_a_ledger_of_the_exchange_s_own_files_agrees_and_is_exit_code_0(tmp_path):
    given = ("--ledger", BILLS, "--exchange", BILLS, POSITIONS, STATED, "--rates", RATES)
    result = run("reconcile", *given, "--out", tmp_path / "books")
    assert result.exit_code == 0, result.output
    assert "23 charges: 23 agree" in result.stdout
    assert result.stdout.splitlines()[-1].startswith("RECONCILED: ")


def test_an_exchange_that_charges_another_rate_is_exit_code_1_though_all_reconciles(tmp_path):
    (tmp_path / "rates.csv").write_text(RATES.read_text().replace("0.000004", "0.000003"))
    given = ("--ledger", BILLS, "--exchange", BILLS, POSITIONS, STATED, "--rates", tmp_path / "rates.csv")
    result = run("reconcile", *given, "--out", tmp_path / "books")
    assert result.exit_code == 1
    frames = read_frames(tmp_path / "books")
    assert frames["breaks"].is_empty()
    assert causes(frames) == [("main:XRP-USDT:USDT", "other_rate", 4)]


def test_without_rates_there_is_nothing_of_interest(tmp_path):
    given = ("--ledger", BILLS, "--exchange", BILLS, STATED, "--out", tmp_path / "books")
    assert run("reconcile", *given).exit_code == 0
    assert not {f"{name}.parquet" for name in INTEREST_FRAMES} & {file.name for file in (tmp_path / "books").iterdir()}
    refused = run("reconcile", *given, "--interest-policy", "okx")
    assert refused.exit_code == 2
    assert "only with --rates" in refused.stderr


def test_as_at_leaves_later_charges_out(tmp_path):
    given = ("--ledger", *HOUSE, "--exchange", BILLS, STATED, "--rates", RATES, "--as-at", "2025-03-10T10:30:00Z")
    run("reconcile", *given, "--out", tmp_path / "books")
    frames = read_frames(tmp_path / "books")
    assert set(frames["interest"]["time"].dt.hour()) == {9, 10}
    assert set(frames["interest_roll"]["to_time"]) == {datetime(2025, 3, 10, 10, 30, tzinfo=UTC)}


def test_one_workbook_has_the_sheets_of_both(tmp_path):
    import openpyxl

    given = ("--ledger", *HOUSE, "--exchange", BILLS, STATED, POSITIONS, "--rates", RATES, "--format", "csv")
    assert run("reconcile", *given, "--out", tmp_path / "books", "--report", tmp_path / "books.xlsx").exit_code == 1
    names = openpyxl.load_workbook(tmp_path / "books.xlsx", read_only=True).sheetnames
    assert {"Interest per day", "Interest causes", "Interest roll-forward", "Interest", "Breaks", "Lead"} <= set(names)


# Examples by hand


FILL = {
    "account": "main",
    "instrument": "BTC-USDT",
    "mode": "new",
    "margin_currency": "USDT",
    "kind": "fill",
    "time": "2025-03-01T08:10:00Z",
    "event_id": "f1",
    "side": "buy",
    "quantity": "1",
    "price": "40000",
    "leverage": "5",
}


def by_hand(folder, charged, *, events=(FILL,), positions=(), rate="0.00001", **asked):
    """The frames of a reconciliation; `charged` are hour, interest, liability, and the instrument if another one."""
    names = list(dict.fromkeys(name for event in events for name in event))
    interest_detection.write(folder / "house.csv", [{name: event.get(name) for name in names} for event in events])
    keys = ("ts", "interest", "liab", "instId")
    records = [
        dict(zip(keys, (hour(row[0]), *row[1:3], *(row[3:] or ["BTC-USDT"])), strict=True))
        | {"ccy": "USDT", "mgnMode": "isolated", "interestRate": rate, "type": "2"}
        for row in charged
    ]
    (folder / "interest.json").write_text(json.dumps({"code": "0", "data": records}))
    (folder / "rates.csv").write_text(f"time,currency,rate,unit\n2025-01-01T00:00:00Z,USDT,{rate},hourly\n")
    given = {"defaults": Defaults("main", "quote"), "account": "main", **asked}
    interest = InterestRequest(OKX, folder / "rates.csv")
    exchange = [folder / "interest.json", *positions]
    reconcile_files(ReconcileRequest([folder / "house.csv"], exchange, interest=interest, **given), folder / "books")
    return read_frames(folder / "books")


def hour(number):
    """Milliseconds of an hour of the day."""
    return str(int(NINE.replace(hour=number).timestamp() * 1000))


def test_two_hours_by_hand(tmp_path):
    frames = by_hand(tmp_path, [(9, "0.4", "40000"), (10, "0.500004", "40000.4")])
    rows = frames["interest"].select("computed", "charged", "difference", "status").rows()
    assert rows == [
        (Decimal("0.4"), Decimal("0.4"), 0, "agrees"),
        (Decimal("0.400004"), Decimal("0.500004"), Decimal("0.1"), "differs"),
    ]
    assert frames["interest"]["note"].to_list() == ["the ledger has none", "the ledger has none"]


def test_a_missing_hour_is_missing_and_not_a_row_of_the_ledger(tmp_path):
    booked = FILL | {"kind": "interest", "time": "2025-03-01T10:00:00Z", "event_id": "i1"}
    booked |= {"amount": "0.400004", "currency": "USDT"} | dict.fromkeys(("side", "quantity", "price", "leverage"))
    charged = [(9, "0.4", "40000"), (11, "0.400004", "40000.4")]
    frames = by_hand(tmp_path, charged, events=(FILL, booked))
    rows = frames["interest"].select("status", "cause", "note").rows()
    assert rows[1] == ("missing", "missing_hour", "the ledger has 0.400004, as is due")
    assert [row[0] for row in rows] == ["agrees", "missing", "follows"]


def test_a_charge_of_a_position_that_the_ledger_does_not_have(tmp_path):
    frames = by_hand(tmp_path, [(9, "0.4", "40000"), (9, "0.1", "10000", "ETH-USDT")])
    stray = frames["interest"].filter(pl.col("status") == "unattributed")
    assert stray.select("cause", "charged", "input", "row").rows() == [("no_position", Decimal("0.1"), 2, 2)]
    assert failures(frames["checks"])["interest_agrees"] == 1


def test_accounts_without_charges_of_the_exchange_are_those_of_the_ledger(tmp_path):
    other = FILL | {"account": "second", "event_id": "f2"}
    booked = other | {"kind": "interest", "time": "2025-03-01T09:00:00Z", "event_id": "i2"}
    booked |= {"amount": "0.7", "currency": "USDT"} | dict.fromkeys(("side", "quantity", "price", "leverage"))
    frames = by_hand(tmp_path, [(9, "0.4", "40000")], events=(FILL, other, booked))
    rows = frames["interest"].select("position", "charged", "status", "input", "row").rows()
    assert rows == [
        ("main:BTC-USDT:USDT", Decimal("0.4"), "agrees", 2, 1),
        ("second:BTC-USDT:USDT", Decimal("0.7"), "differs", 1, 4),
    ]


# Random histories


@pytest.mark.parametrize("seed", range(4))
def test_charges_of_a_clean_world_agree_to_the_last_digit(seed, tmp_path):
    events = exchange_detection.world(seed, "bills", positions=1)
    rates = {(event["time"], event["currency"]): event["rate"] for event in events if event["kind"] == "interest"}
    lines = [f"{time:%Y-%m-%dT%H:%M:%SZ},{currency},{_text(rate)},hourly" for (time, currency), rate in rates.items()]
    (tmp_path / "rates.csv").write_text("\n".join(["time,currency,rate,unit", *lines]) + "\n")
    house = exchange_files.write(tmp_path / "ledger.csv", exchange_files.house_ledger(events))
    request = ReconcileRequest(
        [house],
        exchange_detection.exchange_side(tmp_path, events, "bills", seed),
        account=exchange_truth.ACCOUNT,
        interest=InterestRequest(OKX, tmp_path / "rates.csv"),
    )
    checks = reconcile_files(request, tmp_path / "books")
    interest = read_frames(tmp_path / "books")["interest"]
    charged = sum(event["kind"] == "interest" for event in events)
    assert dict(interest["status"].value_counts().rows()) == {"agrees": charged}
    assert checks["failures"].sum() == 0


def _text(amount):
    return f"{Decimal(amount.numerator) / Decimal(amount.denominator):f}"


@pytest.mark.parametrize("kind", interest_histories.kinds(OKX.model_dump()))
def test_planted_errors_are_named_as_they_are_by_reperform(kind, tmp_path):
    story = interest_histories.planted(3, kind, OKX.model_dump())
    charges = tmp_path / "interest.json"
    charges.write_text(exchange_files.answer(list(map(_accrued, story["rows"]))))
    for part in ("events", "rates"):
        interest_detection.write(tmp_path / f"{part}.csv", story[part])
    rates, account = tmp_path / "rates.csv", story["account"]
    asked = InterestRequest(OKX, rates, [charges], account)
    replay_files(Request([tmp_path / "events.csv"], interest=asked), tmp_path / "alone")
    request = ReconcileRequest(
        [tmp_path / "events.csv"],
        [charges],
        account=account,
        defaults=Defaults(account, story["margin_currency"]),
        interest=InterestRequest(OKX, rates),
    )
    reconcile_files(request, tmp_path / "within")
    alone, within = read_frames(tmp_path / "alone"), read_frames(tmp_path / "within")
    named = ["position", "time", "computed", "charged", "difference", "status", "cause"]
    until = within["interest"]["time"].max()
    assert (
        within["interest"].select(named).rows()
        == alone["interest"].filter(pl.col("time") <= until).select(named).rows()
    )
    assert within["interest_causes"].equals(alone["interest_causes"])
    assert interest_detection.NAMED[kind] in {
        name for cause in within["interest_causes"]["cause"] for name in cause.split(" or ")
    }


def _accrued(row):
    """A row of the generator as the exchange has it."""
    rate = Fraction(row["rate"]) / {"hourly": 1, "daily": 24, "annual": 8760}[row["unit"]]
    printed = f"{Decimal(rate.numerator) / Decimal(rate.denominator):.16f}"
    moment = interest_histories.moment(row["time"])
    stated = {"ccy": row["currency"], "instId": row["instrument"], "mgnMode": "isolated", "type": "2"}
    amounts = {"interest": f"{row['interest']:f}", "liab": f"{row['liability']:f}", "interestRate": printed}
    return {**stated, **amounts, "ts": str(exchange_events.milliseconds(moment))}


# Refusals


def test_bad_rates_are_refused_with_all_that_is_wrong_in_other_files(tmp_path):
    (tmp_path / "rates.csv").write_text("time,currency,rate,unit\n2025-03-10T00:00:00Z,USDT,2,\nsoon,BTC,0.1,hourly\n")
    (tmp_path / "marks.csv").write_text("instrument,mark_price\nBTC-USDT,-1\n")
    (tmp_path / "house.csv").write_text((DEMO / "house.csv").read_text().replace("2025-03-10T07:45:00Z", "later"))
    given = ("--ledger", tmp_path / "house.csv", "--exchange", BILLS, "--marks", tmp_path / "marks.csv")
    result = run("reconcile", *given, "--rates", tmp_path / "rates.csv", "--out", tmp_path / "books")
    assert result.exit_code == 2
    for words in ("house.csv", "later", "marks.csv", "A mark price is above zero", "rates.csv", "without a known unit"):
        assert words in result.stderr, words
    assert not (tmp_path / "books").exists()


def test_a_rate_that_is_missing_is_asked_for(tmp_path):
    (tmp_path / "rates.csv").write_text("time,currency,rate,unit\n2025-03-10T00:00:00Z,USDT,0.0000115,hourly\n")
    given = ("--ledger", *HOUSE, "--exchange", BILLS, STATED, "--rates", tmp_path / "rates.csv")
    result = run("reconcile", *given, "--out", tmp_path / "books")
    assert result.exit_code == 2
    for currency in ("BTC", "SOL", "XRP"):
        assert f"{currency} owed by desk" in result.stderr
    assert not (tmp_path / "books").exists()


def test_an_unknown_policy_is_refused(tmp_path):
    given = ("--ledger", *HOUSE, "--exchange", BILLS, "--rates", RATES, "--interest-policy", "mine")
    result = run("reconcile", *given, "--out", tmp_path / "books")
    assert result.exit_code == 2
    assert "mine: not among the shipped policies" in result.stderr


@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_the_frames_are_the_documented_ones(suffix, tmp_path):
    given = ("--ledger", *HOUSE, "--exchange", BILLS, "--rates", RATES, "--format", suffix)
    run("reconcile", *given, "--out", tmp_path / "books")
    frames = read_frames(tmp_path / "books")
    for name, columns in INTEREST_FRAMES.items():
        assert frames[name].schema == schema(columns), name
