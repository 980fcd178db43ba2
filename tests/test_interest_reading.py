"""Interest rows and rates of every layout give the same columns; every broken file is refused with its own words."""

import csv
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest

from ledger.columns import MARKS
from ledger.formats import column_names, raw_batches
from ledger.interest.columns import INTEREST_ROWS, RATES
from ledger.interest.rates_file import FEEDS as RATE_FEEDS
from ledger.interest.rates_file import RATE_RULES, RATES_SCHEMA, read_rates
from ledger.interest.rows import FEEDS, ROW_RULES, ROWS_SCHEMA, read_interest_rows
from ledger.marks import read_marks
from ledger.refusals import REFUSAL_SCHEMA, BadInput
from ledger.tables import Table

FIXTURES = Path(__file__).parents[1] / "fixtures"
BROKEN = FIXTURES / "bad_interest"
EXPECTED = list(csv.DictReader((BROKEN / "expected.csv").read_text(encoding="utf-8").splitlines()))

Row = dict[str, object]

OWN: Row = {
    "time": "2024-05-01T12:00:00Z",
    "currency": "USDT",
    "interest": "0.5",
    "instrument": "BTC-USDT",
    "rate": "0.00024",
    "unit": "daily",
    "liability": "20000966.0227737993648251",
}
ACCRUED: Row = {
    "type": "2",
    "ccy": "BTC",
    "instId": "BTC-USDT",
    "mgnMode": "isolated",
    "interest": "0.0000000061038473",
    "interestRate": "0.00000115",
    "liab": "-0.0053076932456129",
    "totalLiab": "",
    "ts": "1714564800000",
}
BILL: Row = {
    "billId": "623950854533513219",
    "ccy": "USDT",
    "instId": "BTC-USDT",
    "type": "7",
    "subType": "9",
    "ts": "1714564800000",
    "interest": "-0.25",
    "posBalChg": "-0.26",
    "balChg": "-0.27",
    "mgnMode": "isolated",
    "sz": "0",
}
BINANCE: Row = {
    "txId": "1352286576452864727",
    "interestAccuredTime": "1714564800000",
    "asset": "USDT",
    "principal": "45.3313",
    "interest": "0.00024995",
    "interestRate": "0.00013233",
    "type": "ON_BORROW",
    "isolatedSymbol": "BNBUSDT",
}
RATE: Row = {"time": "2024-05-01T12:00:00Z", "currency": "USDT", "rate": "0.00024", "unit": "daily"}


def write(path: Path, *rows: Row) -> Path:
    """Rows in the format of the file's name."""
    if path.suffix == ".csv":
        with path.open("w", encoding="utf-8", newline="") as stream:
            writer = csv.DictWriter(stream, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    elif path.suffix == ".parquet":
        pl.DataFrame(rows).write_parquet(path)
    elif path.suffix == ".ndjson":
        path.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    else:
        path.write_text(json.dumps(rows), encoding="utf-8")
    return path


def rows_of(path: Path, *rows: Row) -> list[Row]:
    return read_interest_rows([write(path, *rows)]).rows.rows(named=True)


def refusals(paths: Sequence[Path]) -> list[tuple[object, ...]]:
    with pytest.raises(BadInput) as caught:
        read_interest_rows(paths)
    assert caught.value.refusals.schema == REFUSAL_SCHEMA
    return caught.value.refusals.select("file", "row", "column", "value").rows()


# --- layouts ------------------------------------------------------------------------------------------------

NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)
READ = {
    "own": (
        OWN,
        {
            "row_id": None,
            "instrument": "BTC-USDT",
            "currency": "USDT",
            "interest": Decimal("0.5"),
            "rate": Decimal("0.00024"),
            "unit": "daily",
            "liability": Decimal("20000966.0227737993648251"),
        },
    ),
    "accrued": (
        ACCRUED,
        {
            "row_id": None,
            "instrument": "BTC-USDT",
            "currency": "BTC",
            "interest": Decimal("0.0000000061038473"),
            "rate": Decimal("0.00000115"),
            "unit": "hourly",
            "liability": Decimal("0.0053076932456129"),
        },
    ),
    "bills": (
        BILL,
        {
            "row_id": "623950854533513219",
            "instrument": "BTC-USDT",
            "currency": "USDT",
            "interest": Decimal("0.25"),
            "rate": None,
            "unit": None,
            "liability": None,
        },
    ),
    "binance": (
        BINANCE,
        {
            "row_id": "1352286576452864727",
            "instrument": "BNB-USDT",
            "currency": "USDT",
            "interest": Decimal("0.00024995"),
            "rate": Decimal("0.00013233"),
            "unit": "daily",
            "liability": Decimal("45.3313"),
        },
    ),
}


@pytest.mark.parametrize("suffix", ["csv", "parquet", "ndjson", "json"])
@pytest.mark.parametrize("layout", READ)
def test_every_layout_is_read_from_every_format(tmp_path: Path, layout: str, suffix: str) -> None:
    row, expected = READ[layout]
    path = write(tmp_path / f"rows.{suffix}", row)
    found = read_interest_rows([path])
    assert found.rows.schema == ROWS_SCHEMA
    assert (found.left_out, found.repeated) == (0, 0)
    place = {"input": 1, "row": 2 if suffix == "csv" else 1}
    assert found.rows.row(0, named=True) == {"time": NOON, "account": None, **expected, **place}


def test_the_real_rows_are_read_as_they_were_published() -> None:
    path = FIXTURES / "records" / "interest.json"
    records = [entry["record"] for entry in json.loads(path.read_text(encoding="utf-8"))]
    rows = read_interest_rows([path], "main").rows
    assert rows["row"].to_list() == [7, 6, 5, 4, 3, 2, 1]
    assert rows["time"].is_sorted()
    for row in rows.iter_rows(named=True):
        record = records[row["row"] - 1]
        stated = [Decimal(record[name]) for name in ("interest", "interestRate", "liab")]
        assert [row["interest"], row["rate"], row["liability"]] == stated
    assert rows["account"].unique().to_list() == ["main"]
    assert rows["unit"].unique().to_list() == ["hourly"]


@pytest.mark.parametrize(
    "answer",
    [
        {"code": "0", "data": [ACCRUED], "msg": ""},
        {"code": 0, "data": [ACCRUED]},
        {"rows": [ACCRUED], "total": 1},
        [ACCRUED],
        [{"source": "docs", "record": ACCRUED, "check": None}],
    ],
)
@pytest.mark.parametrize("start", [b"", b"\xef\xbb\xbf", b" \n"])
def test_an_answer_is_read_as_it_came(tmp_path: Path, answer: object, start: bytes) -> None:
    path = tmp_path / "answer.JSON"
    path.write_bytes(start + json.dumps(answer).encode())
    assert read_interest_rows([path]).rows["interest"].to_list() == [Decimal("0.0000000061038473")]


def test_numbers_of_json_keep_all_their_digits(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    text = '[{"txId":1352286576452864727,"interestAccuredTime":1714564800000,"asset":"USDT","nested":{"a":[1]},'
    path.write_text(text + '"principal":10000966.0227737993648251,"interest":6.1038473e-9}]', encoding="utf-8")
    row = read_interest_rows([path]).rows.row(0, named=True)
    assert row["row_id"] == "1352286576452864727"
    assert row["liability"] == Decimal("10000966.0227737993648251")
    assert row["interest"] == Decimal("0.0000000061038473")
    assert (row["rate"], row["unit"], row["instrument"]) == (None, None, None)


@pytest.mark.parametrize("text", ["[]", '{"code":"0","data":[],"msg":""}'])
def test_an_answer_without_rows_is_no_mistake(tmp_path: Path, text: str) -> None:
    (tmp_path / "empty.json").write_text(text, encoding="utf-8")
    assert read_interest_rows([tmp_path / "empty.json"]).rows.height == 0
    assert read_rates(tmp_path / "empty.json").schema == RATES_SCHEMA
    assert read_interest_rows([]).rows.schema == ROWS_SCHEMA


def test_a_file_of_a_header_has_no_rows(tmp_path: Path) -> None:
    (tmp_path / "header.csv").write_text(",".join(BILL) + "\n", encoding="utf-8")
    assert read_interest_rows([tmp_path / "header.csv"]).rows.height == 0


@pytest.mark.parametrize(
    ("changes", "instrument"),
    [
        ({"instId": "", "mgnMode": ""}, None),
        ({"instId": "", "mgnMode": "cross"}, None),
        ({"instId": "BTC-USDT", "mgnMode": "cross"}, None),
        ({"instId": "BTC-USDT", "mgnMode": ""}, "BTC-USDT"),
    ],
)
def test_a_loan_of_the_whole_account_has_no_instrument(tmp_path: Path, changes: Row, instrument: str | None) -> None:
    assert rows_of(tmp_path / "rows.csv", {**ACCRUED, **changes})[0]["instrument"] == instrument


@pytest.mark.parametrize(
    ("symbol", "asset", "instrument"),
    [
        ("BTCUSDT", "BTC", "BTC-USDT"),
        ("BTCUSDT", "USDT", "BTC-USDT"),
        ("1INCHUSDT", "1INCH", "1INCH-USDT"),
        ("", "BTC", None),
    ],
)
def test_a_symbol_is_parted_at_the_asset(tmp_path: Path, symbol: str, asset: str, instrument: str | None) -> None:
    rows = rows_of(tmp_path / "rows.json", {**BINANCE, "isolatedSymbol": symbol, "asset": asset})
    assert rows[0]["instrument"] == instrument


@pytest.mark.parametrize(
    ("changes", "interest"),
    [
        ({}, "0.25"),
        ({"interest": "0.25"}, "0.25"),
        ({"interest": "0"}, "0.26"),
        ({"interest": "", "posBalChg": "0.00"}, "0.27"),
        ({"interest": "", "posBalChg": "", "balChg": "0"}, "0"),
    ],
)
def test_the_interest_of_a_bill_is_the_best_that_it_states(tmp_path: Path, changes: Row, interest: str) -> None:
    assert rows_of(tmp_path / "bills.csv", {**BILL, **changes})[0]["interest"] == Decimal(interest)


def test_bills_of_another_kind_are_left_out_unread_and_counted(tmp_path: Path) -> None:
    bills = [
        BILL,
        {**BILL, "billId": "2", "type": "2", "subType": "1", "posBalChg": "whatever", "ccy": ""},
        {**BILL, "billId": "3", "type": "", "subType": "14"},
        {**BILL, "billId": "4", "type": "", "subType": ""},
        {**BILL, "billId": "5", "type": "7", "subType": "10"},
    ]
    found = read_interest_rows([write(tmp_path / "bills.csv", *bills)])
    assert found.rows["row"].to_list() == [2, 4, 6]
    assert (found.left_out, found.repeated) == (2, 0)
    quarterly = write(tmp_path / "quarterly.csv", *({k: v for k, v in bill.items() if k != "type"} for bill in bills))
    assert read_interest_rows([quarterly]).rows["row"].to_list() == [2, 4]


def test_an_account_that_the_file_names_is_kept(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.csv", {**OWN, "account": "sub"}, {**OWN, "account": ""})
    assert sorted(read_interest_rows([path], "main").rows["account"]) == ["main", "sub"]
    assert read_interest_rows([path]).rows["account"].null_count() == 1


# --- several files ------------------------------------------------------------------------------------------


def hours(row: Row, *numbers: int) -> list[Row]:
    return [{**row, "ts": str(1714564800000 + 3_600_000 * number)} for number in numbers]


def test_rows_are_oldest_first_and_know_their_place(tmp_path: Path) -> None:
    newest = write(tmp_path / "a.csv", *hours(ACCRUED, 5, 4, 1))
    other = write(tmp_path / "b.json", *hours(ACCRUED, 3, 2))
    rows = read_interest_rows([newest, other]).rows
    assert rows.select("input", "row").rows() == [(1, 4), (2, 2), (2, 1), (1, 3), (1, 2)]


@pytest.mark.parametrize(
    ("first", "second", "count"),
    [
        ((1, 2, 3), (3, 2, 4), 4),
        ((1, 1, 2), (2,), 3),  # an hour charged twice stays visible
        ((1, 1, 2), (1, 2, 2), 4),
        ((1,), (1, 1), 2),
        ((1, 2), (1, 2), 2),
    ],
)
def test_an_overlap_of_files_counts_once(
    tmp_path: Path, first: tuple[int, ...], second: tuple[int, ...], count: int
) -> None:
    paths = [
        write(tmp_path / "a.csv", *hours(ACCRUED, *first)),
        write(tmp_path / "b.json", *hours(ACCRUED, *second)),
    ]
    found = read_interest_rows(paths)
    assert found.rows.height == count
    assert found.repeated == len(first) + len(second) - count
    assert found.rows["time"].to_list() == read_interest_rows(paths[::-1]).rows["time"].to_list()


@pytest.mark.parametrize("change", [{"interest": "1"}, {"liab": "1"}, {"ccy": "USDT"}, {"instId": "BTC-USDC"}])
def test_rows_that_differ_are_no_overlap(tmp_path: Path, change: Row) -> None:
    paths = [write(tmp_path / "a.csv", ACCRUED), write(tmp_path / "b.csv", {**ACCRUED, **change})]
    assert read_interest_rows(paths).rows.height == 2


def test_a_row_with_an_identifier_counts_once(tmp_path: Path) -> None:
    other = {**BILL, "billId": "7"}
    paths = [
        write(tmp_path / "a.json", other, BILL, other),
        write(tmp_path / "b.csv", BILL, {**BILL, "billId": "8", "instId": ""}),
    ]
    found = read_interest_rows(paths)
    assert found.rows.select("input", "row_id").rows() == [(1, "7"), (1, BILL["billId"]), (2, "8")]
    assert found.repeated == 2


@pytest.mark.parametrize("change", [{"interest": "0.3"}, {"ts": "1714568400000"}, {"instId": ""}, {"ccy": "BTC"}])
def test_an_identifier_with_another_content_is_refused(tmp_path: Path, change: Row) -> None:
    paths = [write(tmp_path / "a.json", BILL), write(tmp_path / "b.csv", {**BILL, **change})]
    assert refusals(paths) == [(str(paths[1]), 2, "billId", BILL["billId"])]


def test_accounts_have_identifiers_of_their_own(tmp_path: Path) -> None:
    row = {**OWN, "row_id": "1", "account": "a"}
    assert len(rows_of(tmp_path / "rows.csv", row, {**row, "account": "b", "interest": "9"})) == 2


# --- broken input -------------------------------------------------------------------------------------------


def refusals_of(case: dict[str, str]) -> pl.DataFrame:
    path = BROKEN / case["file"]
    with pytest.raises(BadInput) as caught:
        read_rates(path) if path.name.startswith("rates_") else read_interest_rows([path])
    return caught.value.refusals


@pytest.mark.parametrize("case", EXPECTED, ids=lambda case: case["file"])
def test_a_broken_file_is_refused_where_it_is_broken(case: dict[str, str]) -> None:
    found = refusals_of(case)
    assert found.schema == REFUSAL_SCHEMA
    assert found.height == 1, found.rows()
    refusal = found.row(0, named=True)
    assert refusal["file"] == str(BROKEN / case["file"])
    assert (refusal["column"] or "") == case["column"]
    assert str(refusal["row"] or "") == case["row"]
    assert case["fragment"] in refusal["rule"]
    assert refusal["remedy"]


def test_the_index_names_every_broken_file() -> None:
    files = {path.name for path in BROKEN.iterdir() if path.is_file()}
    assert {case["file"] for case in EXPECTED} == files - {"README.md", "make.py", "expected.csv"}


def test_every_rule_refuses_a_broken_file() -> None:
    said: dict[bool, set[str]] = {True: set(), False: set()}
    for case in EXPECTED:
        said[case["file"].startswith("rates_")].update(refusals_of(case)["rule"])
    for feeds, rules, rates in ((FEEDS, ROW_RULES, False), (RATE_FEEDS, RATE_RULES, True)):
        every = [*rules.values(), *(rule for feed in feeds for rule in feed.rules.values())]
        for rule in every:
            assert rule.column in rule.reads
            assert rule.sentence in said[rates], rule.sentence


def test_the_refusals_of_all_files_are_listed(tmp_path: Path) -> None:
    paths = [
        write(tmp_path / "a.csv", {**ACCRUED, "ccy": "", "liab": "x"}, {**ACCRUED, "interest": "-1"}),
        tmp_path / "absent.json",
        write(tmp_path / "b.json", {**BINANCE, "isolatedSymbol": "X"}, BINANCE),
        write(tmp_path / "c.json", {**BINANCE, "interest": "7"}),
    ]
    assert refusals(paths) == [
        (str(paths[0]), 2, "liab", "x"),
        (str(paths[0]), 2, "ccy", None),
        (str(paths[0]), 3, "interest", "-1"),
        (str(paths[1]), None, None, None),
        (str(paths[2]), 1, "isolatedSymbol", "X"),
        (str(paths[3]), 1, "txId", BINANCE["txId"]),
    ]


def test_a_float_is_refused_by_the_name_that_the_file_gives_it(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.parquet", {**ACCRUED, "liab": 0.5})
    assert refusals([path]) == [(str(path), None, "liab", None)]


def test_broken_lines_of_ndjson_are_refused_each(tmp_path: Path) -> None:
    path = tmp_path / "rows.ndjson"
    path.write_text("{\n" + json.dumps(ACCRUED) + "\n[]\n", encoding="utf-8")
    assert [row for _, row, _, _ in refusals([path])] == [1, 3]


# --- rates --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["csv", "parquet", "ndjson", "json"])
@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (RATE, ("USDT", Decimal("0.00024"), "daily")),
        ({**RATE, "unit": "4-hourly"}, ("USDT", Decimal("0.00024"), "4-hourly")),
        (
            {"ccy": "BTC", "interestRate": "0.00000115", "ts": "1714564800000", "avail": "1"},
            ("BTC", Decimal("0.00000115"), "hourly"),
        ),
        (
            {"ccy": "BTC", "rate": "0.0000276", "quota": "1", "ts": "1714564800000"},
            ("BTC", Decimal("0.0000276"), "daily"),
        ),
        (
            {"asset": "BTC", "dailyInterestRate": "0.00025", "timestamp": "1714564800000", "vipLevel": "1"},
            ("BTC", Decimal("0.00025"), "daily"),
        ),
    ],
)
def test_rates_are_read_from_every_format(tmp_path: Path, row: Row, expected: tuple[object, ...], suffix: str) -> None:
    rates = read_rates(write(tmp_path / f"rates.{suffix}", row))
    assert rates.schema == RATES_SCHEMA
    assert rates.row(0) == (NOON, None, None, *expected, 2 if suffix == "csv" else 1)


def test_rates_keep_the_order_of_the_file_and_have_scopes_of_their_own(tmp_path: Path) -> None:
    rows = [
        {**RATE, "instrument": "BTC-USDT", "account": ""},
        {**RATE, "instrument": "", "account": "main"},
        {**RATE, "instrument": "BTC-USDT", "account": "main", "currency": ""},
        {**RATE, "instrument": "BTC-USDT", "account": "main", "currency": "BTC"},
        {**RATE, "instrument": "", "account": "", "rate": "0"},
        {**RATE, "instrument": "", "account": "", "time": "2024-05-01T11:00:00Z"},
    ]
    rates = read_rates(str(write(tmp_path / "rates.csv", *rows)))
    assert rates["row"].to_list() == [2, 3, 4, 5, 6, 7]
    assert rates["account"].to_list() == [None, "main", "main", "main", None, None]
    assert rates["rate"].to_list()[4] == 0


def test_a_loan_quota_as_it_came_is_refused_for_want_of_a_time(tmp_path: Path) -> None:
    answer = {"code": "0", "data": [{"basic": [{"ccy": "BTC", "quota": "1", "rate": "0.1"}], "vip": []}]}
    path = tmp_path / "quota.json"
    path.write_text(json.dumps(answer), encoding="utf-8")
    with pytest.raises(BadInput) as caught:
        read_rates(path)
    assert "A rate needs the time" in caught.value.refusals["rule"][0]


def test_the_frames_have_the_columns_of_the_registry() -> None:
    assert ROWS_SCHEMA.names() == [*(column.name for column in INTEREST_ROWS), "input", "row"]
    assert RATES_SCHEMA.names() == [*(column.name for column in RATES), "row"]


# --- JSON documents as tables -------------------------------------------------------------------------------


def test_marks_are_read_from_json_and_a_misspelt_key_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "marks.json", {"instrument": "A-B", "mark_price": "1.50"})
    assert read_marks(path)["mark_price"].to_list() == [Decimal("1.5")]
    write(path, {"instrument": "A-B", "mark_price": "1", "mark_prise": "1"})
    with pytest.raises(BadInput) as caught:
        read_marks(path)
    assert caught.value.refusals.select("row", "column").rows() == [(1, "mark_prise")]


@pytest.mark.parametrize("suffix", ["csv", "parquet", "ndjson", "json"])
def test_other_columns_are_left_unread_where_the_table_says_so(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path / f"a.{suffix}", {"instrument": "A-B", "other": "x"}, {"instrument": "C-D", "other": "y"})
    assert column_names(path) == ["instrument", "other"]
    table = Table(MARKS, ("instrument",), ignores_others=True)
    batches = list(raw_batches(path, table, 1))
    frames = [batch.frame for batch in batches if batch.frame.height]
    assert [frame["instrument"].to_list() for frame in frames] in ([["A-B"], ["C-D"]], [["A-B", "C-D"]])
    assert all("other" not in frame.columns for frame in frames)
    assert not any(batch.refusals.height for batch in batches)


@pytest.mark.parametrize(
    "text",
    [
        r'{"code":"1","msg":"\ud800"}',
        r'[{"\ud800":1,"\ud800":2}]',
        r'["\ud800"]',
        r'[{"instrument":"A-B","\ud800":"\ud800"}]',
        r'[{"instrument":"\ud800"}]',
    ],
)
def test_half_characters_are_refused_and_can_be_shown(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(BadInput) as caught:
        read_marks(path)
    assert caught.value.refusals.write_csv()


def test_rows_whose_sums_could_leave_the_money_type_are_refused(tmp_path):
    file = tmp_path / "rows.csv"
    many = [f"2024-05-01T00:00:{second:02}Z,USDT,{9 * 10**16}" for second in range(60)] * 20
    file.write_text("\n".join(["time,currency,interest", *many]))
    with pytest.raises(BadInput) as refused:
        read_interest_rows([file])
    assert "10^20" in refused.value.refusals["rule"].item()
