"""The exchange's interest done again: real rows, planted errors, attribution, what the rows alone tell."""

import csv
from decimal import Decimal
from pathlib import Path

import interest_histories
import polars as pl
import pytest
from interest_detection import NAMED, compare, detection, table, write

import ledger
from ledger.files import Request, replay_files
from ledger.interest.loans import reperform_rows
from ledger.interest.policy import shipped_policies
from ledger.interest.request import InterestRequest
from ledger.interest.rows import read_interest_rows
from ledger.interest.run import reperform_files

FIXTURES = Path(__file__).parents[1] / "fixtures"
RECORDS, DEMO = FIXTURES / "records", FIXTURES / "demo" / "interest"
README = Path(__file__).parents[1] / "README.md"
POLICIES = shipped_policies()
OKX = POLICIES["okx"]
HOURS = [f"2024-05-01T{hour:02}:00:00Z" for hour in range(24)]


def alone(path, policy=OKX):
    """The comparison of rows alone."""
    return reperform_rows(read_interest_rows([path]).rows, policy, None, {1: str(path)})[0]


def causes_of(comparison):
    return {row["cause"]: (row["charges"], row["amount"]) for row in comparison.causes.iter_rows(named=True)}


def named(causes):
    """The causes with an amount, but for what is carried."""
    return {name: found for name, found in causes.items() if found[1] and name != "carried_forward"}


# --- real rows ----------------------------------------------------------------------------------------------------


def test_seven_real_rows_are_exact():
    interest = alone(RECORDS / "interest.json").interest
    assert interest["status"].to_list() == ["agrees"] * 7
    assert interest["computed"].sum() == Decimal("0.0000000427267836")


def test_documented_rows_are_charged_at_the_full_quotient_of_a_printed_rate():
    found = alone(RECORDS / "interest_documented.json")
    usdt = found.interest.filter(pl.col("currency") == "USDT")
    assert usdt["status"].to_list() == ["agrees", "agrees"]
    assert usdt["rate_unit"].to_list() == ["daily", "daily"]


def test_a_row_that_no_rule_gives_stays_unexplained():
    found = alone(RECORDS / "interest_documented.json")
    row = found.interest.filter(pl.col("currency") == "ZIL").row(0, named=True)
    assert (row["status"], row["cause"], row["difference"]) == ("differs", "unexplained", Decimal("1e-16"))
    assert "parts rounded up one by one" in row["note"]


def test_binance_rows_are_rounded_up_at_8_decimals():
    found = alone(RECORDS / "interest_binance.json", POLICIES["binance_isolated"])
    assert found.interest["status"].to_list() == ["agrees", "agrees"]


# --- histories ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", sorted(POLICIES))
@pytest.mark.parametrize("stated", [True, False], ids=["stated", "unstated"])
def test_a_right_exchange_gives_no_break(policy, stated):
    fields = POLICIES[policy].model_dump()
    stories = [interest_histories.history(seed, fields, with_liability=stated) for seed in range(40)]
    checks, interest, causes, _ = compare(stories, policy)
    assert checks["failures"].sum() == 0
    assert set(interest["status"]) <= {"agrees", "accrued"}
    assert interest["charged"].is_not_null().sum() == sum(len(story["rows"]) for story in stories)
    assert causes["amount"].sum() == 0


def test_a_right_exchange_gives_no_break_at_the_rates_it_states():
    stories = [interest_histories.history(seed, OKX.model_dump()) for seed in range(40)]
    assert compare(stories, "okx", with_rates=False)[0]["failures"].sum() == 0


@pytest.fixture(scope="module")
def detected():
    return {kind: detection(kind) for kind in NAMED}


@pytest.mark.parametrize("kind", NAMED)
def test_every_planted_error_is_named_with_its_amount(detected, kind):
    found = detected[kind]
    assert found.named + found.tied == found.amount == found.histories
    assert found.unexplained == 0
    assert found.tied <= found.histories // 4


def test_the_readme_has_the_rates_of_detection(detected):
    assert table(detected) in README.read_text()


@pytest.mark.parametrize("policy", ["binance_isolated", "bitget", "kraken"])
def test_errors_of_other_exchanges_are_named(policy):
    for kind in interest_histories.kinds(POLICIES[policy].model_dump()):
        found = detection(kind, policy, seeds=12)
        assert found.named + found.tied == 12, kind


def test_errors_are_named_where_rows_state_no_liability():
    for kind in ("dropped_hour", "daily_rate_as_hourly", "row_missing", "simple_interest"):
        found = detection(kind, seeds=12, with_liability=False)
        assert (found.named + found.tied, found.amount) == (12, 12), kind


def test_the_named_amounts_add_up_to_the_whole_difference():
    stories = [interest_histories.planted(seed, kind, OKX.model_dump()) for seed, kind in enumerate([*NAMED] * 5)]
    checks, interest, causes, _ = compare(stories, "okx")
    failing = checks.filter(pl.col("failures") > 0)["check"].to_list()
    assert failing == ["interest_agrees"]
    for key in interest.select("position", "currency").unique().iter_rows():
        same = (pl.col("position") == key[0]) & (pl.col("currency") == key[1])
        own = causes.filter(same)
        assert own["amount"].sum() == interest.filter(same)["difference"].sum()
        assert "unexplained" in own["cause"].to_list()


# --- the demo's story ---------------------------------------------------------------------------------------------


def run(folder, rows, events=DEMO / "events.csv", rates=DEMO / "rates.csv", **asked):
    """The frames of a comparison with events, by name."""
    request = InterestRequest(OKX, rates, rows, **asked)
    replay_files(Request([events], interest=request), folder)
    return {file.stem: pl.read_parquet(file) for file in folder.iterdir()}


def test_the_demo_names_the_five_mistakes(tmp_path):
    frames = run(tmp_path / "books", [DEMO / "record.json", DEMO / "desk.csv"])
    causes = {row["cause"]: row for row in frames["interest_causes"].iter_rows(named=True) if row["amount"]}
    hours = {name: f"{row['first_time']:%d %H:%M}" for name, row in causes.items() if row["charges"] == 1}
    assert hours == {
        "missing_hour": "01 07:00",
        "doubled_hour": "01 15:00",
        "stale_rate": "02 03:00",
        "rate_unit": "02 09:00",
        "charged_after_repayment": "03 00:00",
    }
    assert causes.keys() - hours.keys() == {"carried_forward"}
    status = dict(frames["interest"]["status"].value_counts().rows())
    assert status == {"agrees": 13, "follows": 38, "differs": 2, "missing": 1, "duplicate": 1, "extra": 1}


def test_the_ledger_leads_to_the_exchanges_rows(tmp_path):
    frames = run(tmp_path / "books", [DEMO / "record.json", DEMO / "desk.csv"])
    booked = frames["ledger"].filter(pl.col("kind") == "interest")
    files = dict(frames["inputs"].select("input", "file").iter_rows())
    lines = list(csv.DictReader((DEMO / "desk.csv").read_text().splitlines()))
    for row in booked.filter(pl.col("position").str.starts_with("example-desk")).iter_rows(named=True):
        assert files[row["input"]].endswith("desk.csv")
        assert Decimal(lines[row["row"] - 2]["interest"]) == row["interest"]


def test_the_story_files_are_what_the_story_makes(tmp_path, monkeypatch):
    import runpy

    before = {name: (DEMO / name).read_bytes() for name in ("events.csv", "rates.csv", "record.json", "desk.csv")}
    runpy.run_path(str(DEMO / "make.py"), run_name="__main__")
    assert {name: (DEMO / name).read_bytes() for name in before} == before


# --- attribution --------------------------------------------------------------------------------------------------


EVENT = {"instrument": "BTC-USDT", "mode": "new", "kind": "fill", "side": "buy", "fee": None, "fee_currency": None}


def fill(time, margin_currency, quantity, account="main", **changes):
    event = {"time": time, "event_id": f"{account} {margin_currency} {time}", "account": account, "price": "20000"}
    event |= {"margin_currency": margin_currency, "quantity": quantity, "leverage": "5", "reduce_only": False}
    return {**EVENT, **event, **changes}


def charge(time, liability, *, rate="0.000001", stated=True, **changes):
    interest = (Decimal(liability) * Decimal(rate)).quantize(Decimal("1e-16"), "ROUND_CEILING")
    row = {"time": time, "account": None, "instrument": "BTC-USDT", "currency": "USDT", "interest": f"{interest:f}"}
    row |= {"rate": rate if stated else None, "unit": "hourly" if stated else None}
    return {**row, "liability": liability if stated else None, **changes}


def books(folder, events, rows, rate="0.000001", **asked):
    write(folder / "events.csv", events)
    write(folder / "rows.csv", rows)
    write(folder / "rates.csv", [{"time": HOURS[0], "currency": "USDT", "rate": rate, "unit": "hourly"}])
    return run(folder / "books", [folder / "rows.csv"], folder / "events.csv", folder / "rates.csv", **asked)


def test_rows_go_to_the_position_whose_liability_they_state(tmp_path):
    events = [fill("2024-05-01T00:10:00Z", "BTC", "1"), fill("2024-05-01T00:20:00Z", "USDT", "3")]
    rows = [charge(HOURS[1], "60000"), charge(HOURS[1], "20000")]
    frames = books(tmp_path, events, rows)
    found = dict(frames["interest"].select("position", "charged").iter_rows())
    assert found == {"main:BTC-USDT:BTC": Decimal("0.02"), "main:BTC-USDT:USDT": Decimal("0.06")}


def test_rows_without_a_liability_go_to_the_position_whose_charge_they_are(tmp_path):
    events = [fill("2024-05-01T00:10:00Z", "BTC", "1"), fill("2024-05-01T00:20:00Z", "USDT", "3")]
    rows = [charge(HOURS[1], "60000", stated=False), charge(HOURS[1], "20000", stated=False)]
    assert books(tmp_path, events, rows)["interest"]["status"].to_list() == ["agrees", "agrees"]


def test_equal_rows_go_to_equal_positions_one_each_and_a_single_one_is_left_open(tmp_path):
    events = [fill("2024-05-01T00:10:00Z", "BTC", "1"), fill("2024-05-01T00:20:00Z", "USDT", "1")]
    both = [charge(HOURS[1], "20000"), charge(HOURS[1], "20000")]
    assert books(tmp_path, events, both)["interest"]["status"].to_list() == ["agrees", "agrees"]
    frames = books(tmp_path, events, both[:1])
    open_rows = frames["interest"].filter(pl.col("status") == "unattributed")
    assert open_rows["cause"].to_list() == ["which_position"]
    assert frames["checks"].filter(pl.col("check") == "interest_differences_add_up")["failures"].item() == 0


def test_an_old_position_keeps_its_rows_beside_a_new_one_of_nearly_the_same_size(tmp_path):
    owed, rows = Decimal(20000), []
    for time in HOURS[1:12]:
        row = charge(time, f"{owed:f}", rate="0.001")
        rows.append(row)
        owed += Decimal(row["interest"])
    rows += [charge(HOURS[11], "20200", rate="0.001")]
    events = [fill("2024-05-01T00:10:00Z", "BTC", "1"), fill("2024-05-01T10:20:00Z", "USDT", "1.01")]
    frames = books(tmp_path, events, rows, rate="0.001")
    assert set(frames["interest"]["status"]) == {"agrees"}


def test_rows_without_an_account_need_it_where_several_hold_the_instrument(tmp_path):
    events = [fill("2024-05-01T00:10:00Z", "BTC", "1"), fill("2024-05-01T00:20:00Z", "BTC", "3", "other")]
    rows = [charge(HOURS[1], "20000")]
    frames = books(tmp_path, events, rows)
    assert frames["interest"].filter(pl.col("charged") > 0)["cause"].to_list() == ["which_position"]
    frames = books(tmp_path, events, rows, account="main")
    assert frames["interest"].filter(pl.col("charged") > 0).select("position", "status").rows() == [
        ("main:BTC-USDT:BTC", "agrees")
    ]


def test_rows_of_no_position_are_told(tmp_path):
    rows = [charge(HOURS[1], "20000"), charge(HOURS[1], "5", instrument="ETH-USDT", account="main")]
    frames = books(tmp_path, [fill("2024-05-01T00:10:00Z", "BTC", "1")], rows)
    assert frames["interest"].filter(pl.col("status") == "unattributed")["cause"].to_list() == ["no_position"]


def test_a_row_a_little_late_is_for_its_hour_and_one_later_is_not(tmp_path):
    rows = [charge("2024-05-01T01:00:03.250Z", "20000"), charge("2024-05-01T01:30:00Z", "20000.02")]
    frames = books(tmp_path, [fill("2024-05-01T00:10:00Z", "BTC", "1")], rows)
    assert frames["interest"].select("status", "cause").rows() == [("agrees", None), ("extra", "charged_between")]


@pytest.mark.parametrize("last", ["2024-05-01T02:59:59.997Z", "2024-05-01T03:00:00.250Z"])
def test_a_row_some_milliseconds_off_is_for_its_hour(tmp_path, last):
    rows = chain(HOURS[1:4])
    rows[2]["time"] = last
    frames = books(tmp_path, [fill("2024-05-01T00:10:00Z", "BTC", "1")], rows)
    assert frames["interest"]["status"].to_list() == ["agrees"] * 3
    assert alone(tmp_path / "rows.csv").interest["status"].to_list() == ["agrees"] * 3


def test_nothing_is_compared_outside_the_rows(tmp_path):
    rows = [charge(HOURS[5], "20000.0800001200000801"), charge(HOURS[6], "20000.1000002000002002")]
    frames = books(tmp_path, [fill("2024-05-01T00:10:00Z", "BTC", "1")], rows)
    assert frames["interest"]["status"].to_list() == ["accrued"] * 4 + ["agrees"] * 2


def test_interest_among_the_events_is_compared_without_rows(tmp_path):
    events = [fill("2024-05-01T00:10:00Z", "BTC", "1")]
    events += [
        {**dict.fromkeys(events[0]), "time": time, "event_id": time, "account": "main", "instrument": "BTC-USDT"}
        | {"mode": "new", "margin_currency": "BTC", "kind": "interest", "reduce_only": False}
        | {"amount": amount, "currency": "USDT"}
        for time, amount in ((HOURS[1], "0.02"), (HOURS[2], "0.03"))
    ]
    events[0] |= {"amount": None, "currency": None}
    write(tmp_path / "events.csv", events)
    write(tmp_path / "rates.csv", [{"time": HOURS[0], "currency": "USDT", "rate": "0.000001", "unit": "hourly"}])
    frames = run(tmp_path / "books", [], tmp_path / "events.csv", tmp_path / "rates.csv")
    assert frames["interest"]["status"].to_list() == ["agrees", "differs"]
    assert frames["interest"]["difference"].to_list() == [0, Decimal("0.00999998")]


def test_a_printed_rate_of_the_rates_file_is_named(tmp_path):
    rows = [charge(HOURS[1], "20000", rate="0.0000040833333333", interest="0.0816666666666667")]
    frames = books(tmp_path, [fill("2024-05-01T00:10:00Z", "BTC", "1")], rows, rate="0.0000040833333333")
    assert frames["interest"]["cause"].to_list() == ["cut_rate"]


def test_bills_state_neither_rate_nor_liability(tmp_path):
    bill = {"billId": "1", "ccy": "USDT", "instId": "BTC-USDT", "subType": "9", "ts": "1714525200000", "type": "7"}
    write(tmp_path / "bills.csv", [bill | {"interest": "0.02", "balChg": "0", "posBalChg": "-0.02"}])
    write(tmp_path / "events.csv", [fill("2024-05-01T00:10:00Z", "BTC", "1")])
    write(tmp_path / "rates.csv", [{"time": HOURS[0], "currency": "USDT", "rate": "0.000001", "unit": "hourly"}])
    frames = run(tmp_path / "books", [tmp_path / "bills.csv"], tmp_path / "events.csv", tmp_path / "rates.csv")
    assert frames["interest"].select("status", "row_id").rows() == [("agrees", "1")]


# --- rows alone ---------------------------------------------------------------------------------------------------


def chain(hours, *, liability="20000", rate="0.000001", skip=(), compounding=True):
    """Rows of an exchange that charges right, but for the hours it skips."""
    owed, rows = Decimal(liability), []
    for time in hours:
        row = charge(time, f"{owed:f}", rate=rate)
        if time not in skip:
            rows.append(row)
            owed += Decimal(row["interest"]) * compounding
    return rows


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (chain(HOURS[:9]), {}),
        (chain(HOURS[:9], skip=HOURS[3:5]), {"missing_hour": 2}),
        ([row for row in chain(HOURS[:9]) if row["time"] not in HOURS[3:5]], {"lost_row": 2}),
        (chain(HOURS[:9], compounding=False), {"simple_interest": 8}),
        (chain(HOURS[:4]) + chain(HOURS[4:9], liability="7000"), {}),
        (chain(HOURS[:4]) + chain(HOURS[6:9], liability="7000"), {}),
        ([*chain(HOURS[:4]), charge("2024-05-01T03:20:00Z", "20000")], {"charged_between": 1}),
        ([*chain(HOURS[:3]), chain(HOURS[:3])[-1]], {"doubled_hour": 1}),
        (chain(HOURS[:6]) + chain(HOURS[:6], liability="7000"), {}),
        (chain(HOURS[:4]) + chain([HOURS[4]], liability="20000.0800001200000801", rate="0.000007"), {}),
    ],
    ids=["right", "not_charged", "lost", "simple", "repaid", "repaid_in_a_gap", "between", "doubled", "two", "spike"],
)
def test_what_rows_alone_tell(tmp_path, rows, expected):
    write(tmp_path / "rows.csv", rows)
    found = named(causes_of(alone(tmp_path / "rows.csv")))
    assert {name: count for name, (count, _) in found.items()} == expected


def test_a_debt_grown_by_about_what_was_due_is_a_tie(tmp_path):
    rows = [row for row in chain(HOURS[:9]) if row["time"] != HOURS[4]]
    for row in rows[4:]:
        row["liability"] = f"{Decimal(row['liability']) + Decimal('0.004'):f}"
        row["interest"] = charge(row["time"], row["liability"])["interest"]
    write(tmp_path / "rows.csv", rows)
    assert list(named(causes_of(alone(tmp_path / "rows.csv")))) == ["missing_hour or lost_row"]


def test_a_stated_rate_in_another_unit_is_seen_by_its_neighbours(tmp_path):
    rows = chain(HOURS[:4]) + chain([HOURS[4]], liability="20000.0800001200000801", rate="0.000024")
    rows += chain(HOURS[5:9], liability=f"{sum(map(Decimal, (rows[-1]['liability'], rows[-1]['interest']))):f}")
    write(tmp_path / "rows.csv", rows)
    assert list(named(causes_of(alone(tmp_path / "rows.csv")))) == ["rate_unit"]


def test_rows_without_a_liability_need_events(tmp_path):
    write(tmp_path / "rows.csv", [charge(HOURS[1], "20000") | {"liability": None}])
    with pytest.raises(ledger.BadInput) as refused:
        alone(tmp_path / "rows.csv")
    row = refused.value.refusals.row(0, named=True)
    assert (row["row"], row["column"]) == (2, "liability")
    assert "--events" in row["remedy"]


def test_rows_without_a_rate_need_rates(tmp_path):
    write(tmp_path / "rows.csv", [charge(HOURS[1], "20000", rate="0.1") | {"rate": None, "unit": None}])
    with pytest.raises(ledger.BadInput, match="refused"):
        alone(tmp_path / "rows.csv")


def test_a_comparison_of_rows_alone_is_written_whole_or_not_at_all(tmp_path):
    checks = reperform_files(InterestRequest(OKX, rows=[RECORDS / "interest.json"]), tmp_path / "out")
    assert checks["failures"].sum() == 0
    written = sorted(file.stem for file in (tmp_path / "out").iterdir())
    assert written == ["checks", "inputs", "interest", "interest_causes", "parameters"]
    (tmp_path / "bad.csv").write_text("time,currency,interest\n2024-05-01T01:00:00Z,usdt,1\n")
    with pytest.raises(ledger.BadInput):
        reperform_files(InterestRequest(OKX, rows=[tmp_path / "bad.csv"]), tmp_path / "other")
    assert not (tmp_path / "other").exists()


# --- what a reviewer broke ----------------------------------------------------------------------------------------


def test_nothing_due_and_nothing_charged_is_nothing(tmp_path):
    events = [
        fill("2024-05-01T00:10:00Z", "BTC", "1"),
        fill("2024-05-01T00:50:00Z", "BTC", "1.1", side="sell", reduce_only=True),
    ]
    frames = books(tmp_path, events, [charge(HOURS[1], "5", instrument="ETH-USDT", account="other")])
    assert frames["interest"]["status"].to_list() == ["unattributed"]
    (tmp_path / "rows.json").write_text('{"code": "0", "data": []}')
    assert alone(tmp_path / "rows.json").interest.is_empty()


def test_loans_after_the_rows_end_are_left_out(tmp_path):
    other = {"instrument": "AAA-USDT"}
    events = [
        fill("2024-05-01T00:30:00Z", "AAA", "1", **other),
        fill("2024-05-01T00:31:00Z", "BTC", "1"),
        fill("2024-05-01T02:30:00Z", "AAA", "1.1", side="sell", reduce_only=True, **other),
        fill("2024-05-01T06:30:00Z", "AAA", "1", **other),
    ]
    rows = [row | other for row in chain(HOURS[1:3])] + chain(HOURS[1:6])
    assert set(books(tmp_path, events, rows)["interest"]["status"]) == {"agrees"}


def test_rows_outside_the_period_asked_for_are_left_out(tmp_path):
    rows = chain(HOURS[1:7])
    write(tmp_path / "events.csv", [fill("2024-05-01T00:10:00Z", "BTC", "1")])
    write(tmp_path / "rows.csv", rows)
    write(tmp_path / "rates.csv", [{"time": HOURS[0], "currency": "USDT", "rate": "0.000001", "unit": "hourly"}])
    as_at = interest_histories.moment("2024-05-01T04:30:00Z")
    begin = interest_histories.moment("2024-05-01T02:30:00Z")
    asked = InterestRequest(OKX, tmp_path / "rates.csv", [tmp_path / "rows.csv"], begin=begin)
    request = Request([tmp_path / "events.csv"], as_at=as_at, interest=asked)
    assert replay_files(request, tmp_path / "out")["failures"].sum() == 0
    interest = pl.read_parquet(tmp_path / "out" / "interest.parquet")
    assert interest["status"].to_list() == ["accrued", "accrued", "agrees", "agrees"]


def test_rows_of_loans_of_the_whole_account_are_compared_by_themselves(tmp_path):
    cross = [row | {"instrument": None, "account": "main"} for row in chain(HOURS[1:9], liability="500")]
    frames = books(tmp_path, [fill("2024-05-01T00:10:00Z", "BTC", "1")], chain(HOURS[1:4]) + cross)
    assert frames["interest"]["status"].to_list() == ["agrees"] * 11
    assert frames["interest"]["position"].unique().sort().to_list() == ["main:*:USDT", "main:BTC-USDT:BTC"]


def test_a_stale_rate_of_another_unit_is_named(tmp_path):
    rows = chain(HOURS[1:4])
    owed = f"{Decimal(rows[-1]['liability']) + Decimal(rows[-1]['interest']):f}"
    write(tmp_path / "events.csv", [fill("2024-05-01T00:10:00Z", "BTC", "1")])
    write(tmp_path / "rows.csv", [*rows, charge(HOURS[4], owed)])
    rates = [{"time": HOURS[0], "currency": "USDT", "rate": "0.000001", "unit": "hourly"}]
    rates += [{"time": HOURS[4], "currency": "USDT", "rate": "0.000048", "unit": "daily"}]
    write(tmp_path / "rates.csv", rates)
    frames = run(tmp_path / "books", [tmp_path / "rows.csv"], tmp_path / "events.csv", tmp_path / "rates.csv")
    assert frames["interest"]["cause"].to_list() == [None, None, None, "stale_rate"]


def test_borrowings_of_one_moment_keep_their_rows(tmp_path):
    binance = POLICIES["binance_isolated"]
    events = [fill("2024-05-01T00:10:00Z", "BTC", "1"), fill("2024-05-01T00:20:00Z", "USDT", "3")]
    events += [fill("2024-05-01T01:02:00Z", "USDT", "1", event_id="more")]
    for name, rows in (
        ("events", events),
        ("rates", [{"time": HOURS[0], "currency": "USDT", "rate": "0.000001", "unit": "hourly"}]),
    ):
        write(tmp_path / f"{name}.csv", rows)
    request = InterestRequest(binance, tmp_path / "rates.csv")
    as_at = interest_histories.moment(HOURS[4])
    replay_files(Request([tmp_path / "events.csv"], as_at=as_at, interest=request), tmp_path / "accrued")
    accrued = pl.read_parquet(tmp_path / "accrued" / "interest.parquet")
    rows = [
        {"time": row["time"].isoformat(), "account": "main", "instrument": "BTC-USDT", "currency": "USDT"}
        | {"interest": row["computed"], "liability": row["liability"]}
        for row in accrued.iter_rows(named=True)
    ]
    write(tmp_path / "rows.csv", rows)
    asked = InterestRequest(binance, tmp_path / "rates.csv", [tmp_path / "rows.csv"])
    assert replay_files(Request([tmp_path / "events.csv"], interest=asked), tmp_path / "out")["failures"].sum() == 0
