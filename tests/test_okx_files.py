"""OKX files of every layout come out right to the last digit: bills, fills, interest; all layouts."""

import json
import random
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest
from okx_files import BILL, RECORDS, Row, amounts, as_csv, as_json, at, good, read, refused

from ledger.statements.columns import MEANINGS
from ledger.statements.layouts import LAYOUTS, NAMES
from ledger.statements.okx_subtypes import CODES_BY_NAME, OTHER_NAMES, SUBTYPES

# --- bills --------------------------------------------------------------------------------------------------


def test_published_bills_come_out_to_the_last_digit(tmp_path: Path) -> None:
    first, second, third = good(tmp_path, RECORDS / "bills.json")
    common = {"layout": "okx-bills", "meaning": "outside", "currency": "USDT", "input": 1}
    still = amounts(change="0", balance="0", realised_pnl="0")
    assert first == {
        **common,
        **still,
        "time": at("2023-09-18 10:37:56.167"),
        "row_id": "623950854533513219",
        "instrument": "BTC-USDT",
        "stated_type": "2/1",
        "order_id": "623950854525124608",
        "trade_id": "586760148",
        "side": "buy",
        "fee_currency": "USDT",
        "row": 1,
        **amounts(
            size="0.021955779",
            price="27105.9",
            fee="0.000021955779",
            account_change="0.021933823221",
            account_balance="8694.2179403378290202",
        ),
    }
    assert second == {
        **common,
        **still,
        "time": at("2022-08-18 11:30:27.133"),
        "row_id": "480458475865288808",
        "instrument": "ADA-USDT",
        "stated_type": "2/1",
        "order_id": "480458475835928579",
        "side": "buy",
        "fee_currency": "USDT",
        "row": 2,
        **amounts(
            size="0.000054131",
            fee="0.000000054131",
            account_change="0.000054076869",
            account_balance="2.9969481109768481",
        ),
    }
    assert third == {
        **common,
        **still,
        "time": at("2021-05-06 04:36:11.196"),
        "row_id": "310394313544966151",
        "instrument": "LTC-USDT",
        "stated_type": "2/2",
        "order_id": "310394313519800320",
        "side": "sell",
        "row": 3,
        **amounts(
            size="664.26795866",
            fee="0",
            account_change="-664.2679586599999802",
            account_balance="0.0000819307998198",
        ),
    }
    for row in (first, second):
        assert row["account_change"] == row["size"] - row["fee"]  # type: ignore[operator]


def test_the_archive_says_the_same_in_any_order_of_its_columns(tmp_path: Path) -> None:
    gave = {**BILL, "billId": "623950854533513221", "subType": "2", "ccy": "USDT", "posBalChg": "-27105.9", "fee": "0"}
    expected = good(tmp_path, as_json(tmp_path / "bills.json", BILL, gave))
    assert [row["meaning"] for row in expected] == ["leg", "leg"]
    for seed in range(5):
        columns = [name for name in BILL if name != "type"]
        random.Random(seed).shuffle(columns)
        rows = [{name: bill[name] for name in columns} for bill in (BILL, gave)]
        found = good(tmp_path, as_csv(tmp_path / "archive.csv", *rows))
        assert [row.pop("stated_type") for row in found] == ["/1", "/2"]
        assert found == [
            {**{name: cell for name, cell in row.items() if name != "stated_type"}, "row": number}
            for number, row in enumerate(expected, start=2)
        ]


def test_the_fewest_columns_of_an_archive_are_enough(tmp_path: Path) -> None:
    fewest = ("billId", "ts", "ccy", "instId", "instType", "subType", "balChg", "posBalChg", "pnl", "fee")
    (row,) = good(tmp_path, as_csv(tmp_path / "archive.csv", {name: BILL[name] for name in fewest}))
    assert (row["meaning"], row["side"], row["change"]) == ("leg", "buy", Decimal("0.999"))
    assert "size" not in row


def test_long_amounts_and_identifiers_keep_all_digits(tmp_path: Path) -> None:
    long = {**BILL, "posBal": "-20000966.0227737993648251", "billId": "99999999999999999999"}
    text = json.dumps([long]).replace('"-20000966.0227737993648251"', "-20000966.0227737993648251")
    (tmp_path / "bills.json").write_text(text, encoding="utf-8")
    for path in (tmp_path / "bills.json", as_csv(tmp_path / "bills.csv", long)):
        (row,) = good(tmp_path, path)
        assert str(row["balance"]).rstrip("0") == "-20000966.0227737993648251"
        assert row["row_id"] == "99999999999999999999"


def test_the_table_of_subtypes_is_one_to_one() -> None:
    codes = [line.code for line in SUBTYPES]
    assert len(set(codes)) == len(codes)
    assert codes == sorted(codes, key=int)
    assert len(CODES_BY_NAME) == len(SUBTYPES) + len(OTHER_NAMES)
    assert set(OTHER_NAMES.values()) <= set(codes)
    for line in SUBTYPES:
        assert line.meaning in MEANINGS, line
        assert line.source, line


AGREED = {
    "leg": "1 2",
    "liquidation_leg": "102 103 106 107 108 110 111 114 115 224 225",
    "interest": "9 14",
    "margin_posted": "332 200",
    "margin_returned": "333 202",
    "margin_loss": "334",
    "margin_added": "160 162 201",
    "margin_removed": "161 203",
    "borrowing": "210 212",
    "repayment": "16 17 211 213",
    "unclassified": "4001 px 99999",
}


@pytest.mark.parametrize(
    ("code", "meaning"), [(code, name) for name, codes in AGREED.items() for code in codes.split()]
)
def test_a_bill_of_an_isolated_position_has_its_meaning(tmp_path: Path, code: str, meaning: str) -> None:
    archive = {name: cell for name, cell in BILL.items() if name != "type"}
    for bill in (archive, {**archive, "mgnMode": ""}):
        assert good(tmp_path, as_csv(tmp_path / "bills.csv", {**bill, "subType": code}))[0]["meaning"] == meaning


@pytest.mark.parametrize(
    ("changes", "meaning"),
    [
        ({"instType": "SPOT"}, "outside"),
        ({"instType": "SWAP", "instId": "BTC-USDT-SWAP", "subType": "3"}, "outside"),
        ({"mgnMode": "cross"}, "outside"),
        ({"mgnMode": "cash"}, "outside"),
        ({"subType": "306"}, "unclassified"),  # a known sub-type that should not change a position, and does
        ({"subType": "306", "posBalChg": "0"}, "outside"),
        ({"subType": "108", "posBalChg": "0"}, "outside"),
        ({"subType": "225", "posBalChg": ""}, "outside"),
        ({"instType": "", "mgnMode": "", "instId": "", "type": "1", "subType": "11", "posBalChg": "0"}, "outside"),
        ({"instType": "", "mgnMode": ""}, "unclassified"),  # spot or margin: nothing says which
        ({"instType": "", "mgnMode": "", "type": "7", "subType": "9", "interest": "0.1"}, "interest"),
        ({"instType": "", "mgnMode": "", "type": "6", "subType": "332"}, "margin_posted"),
        ({"type": "7", "subType": "9", "instId": ""}, "outside"),  # a loan of the account
        ({"type": "7", "subType": ""}, "interest"),
        ({"type": "7", "subType": "4001"}, "interest"),
        ({"type": "6", "subType": "332", "instId": ""}, "unclassified"),
        ({"type": "4001", "subType": "4001", "instType": "SPOT"}, "unclassified"),
        ({"subType": "", "instType": "SPOT"}, "outside"),
        ({"subType": "", "type": "2"}, "unclassified"),
    ],
)
def test_what_is_no_concern_of_a_position_is_outside(tmp_path: Path, changes: Row, meaning: str) -> None:
    assert good(tmp_path, as_json(tmp_path / "bills.json", {**BILL, **changes}))[0]["meaning"] == meaning


@pytest.mark.parametrize(
    ("code", "change", "side"),
    [
        ("1", "-5", "buy"),
        ("2", "5", "sell"),
        ("106", "5", "buy"),
        ("106", "-5", "sell"),
        ("107", "", "sell"),
        ("110", "-5", "sell"),
        ("111", "0", "sell"),
        ("333", "5", None),
    ],
)
def test_the_side_of_a_leg_is_that_of_its_change_in_a_liquidation(
    tmp_path: Path, code: str, change: str, side: str | None
) -> None:
    (row,) = good(tmp_path, as_json(tmp_path / "bills.json", {**BILL, "subType": code, "posBalChg": change}))
    assert row.get("side") == side


@pytest.mark.parametrize(
    ("changes", "interest"),
    [
        ({"interest": "-0.25", "posBalChg": "-0.26"}, "0.25"),
        ({"interest": "0", "posBalChg": "-0.26"}, "0.26"),
        ({"interest": "", "posBalChg": "0", "balChg": "-0.27"}, "0.27"),
        ({"interest": "0", "posBalChg": "0", "balChg": "0"}, "0"),
    ],
)
def test_interest_of_a_bill_is_the_best_that_it_states(tmp_path: Path, changes: Row, interest: str) -> None:
    bill = {**BILL, "type": "7", "subType": "9", "fee": "0", **changes}
    assert good(tmp_path, as_json(tmp_path / "bills.json", bill))[0]["interest"] == Decimal(interest)


def test_a_rebate_is_a_negative_fee(tmp_path: Path) -> None:
    (row,) = good(tmp_path, as_json(tmp_path / "bills.json", {**BILL, "fee": "0.0002"}))
    assert (row["fee"], row["fee_currency"]) == (Decimal("-0.0002"), "BTC")


@pytest.mark.parametrize(
    ("changes", "column"),
    [
        ({"billId": "6.2395E+17"}, "billId"),
        ({"ordId": "6.2395E+17"}, "ordId"),
        ({"tradeId": " 5"}, "tradeId"),
        ({"ccy": "usdt"}, "ccy"),
        ({"ccy": ""}, "ccy"),
        ({"instId": "BTC-USDT-SWAP"}, "instId"),
        ({"instId": "BTC-BTC"}, "instId"),
        ({"sz": "-1"}, "sz"),
        ({"px": "-1"}, "px"),
        ({"ts": "1695033476"}, "ts"),
        ({"ts": "0995033476167"}, "ts"),
        ({"ts": ""}, "ts"),
        ({"posBalChg": "1,000"}, "posBalChg"),
        ({"fee": "free"}, "fee"),
        ({"posBal": "123456789012345678"}, "posBal"),
    ],
)
def test_a_bill_that_cannot_be_right_is_refused_where_it_is_wrong(tmp_path: Path, changes: Row, column: str) -> None:
    found = refused(tmp_path, as_json(tmp_path / "bills.json", BILL, {**BILL, **changes}))
    assert [(row, name) for row, name, _ in found] == [(2, column)]


def test_what_is_outside_may_be_of_any_instrument_and_currency(tmp_path: Path) -> None:
    changes = {"instType": "OPTION", "instId": "BTC-USD-210430-50000-C", "ccy": "usd", "subType": "172", "px": "-1"}
    assert good(tmp_path, as_json(tmp_path / "bills.json", {**BILL, **changes}))[0]["meaning"] == "outside"


# --- fills and interest -------------------------------------------------------------------------------------


def test_a_published_fill_comes_out_to_the_last_digit(tmp_path: Path) -> None:
    file = read(tmp_path, RECORDS / "fills.json")[0]
    assert file.refusals.height == 0
    (row,) = pl.concat([part.rows for part in file.parts]).filter(layout="okx-fills").rows(named=True)
    assert {name: cell for name, cell in row.items() if cell is not None} == {
        "time": at("2024-02-22 07:36:13.362"),
        "row_id": "680800019754098688",
        "instrument": "BTC-USDT",
        "layout": "okx-fills",
        "stated_type": "SPOT/1",
        "meaning": "outside",
        "order_id": "680800019749904384",
        "trade_id": "744876980",
        "side": "buy",
        "currency": "BTC",
        "fee_currency": "BTC",
        "input": 1,
        "row": 1,
        **amounts(size="0.00192834", price="51858", fee="0.00000192834"),
    }


def test_a_fill_on_margin_is_a_fill_known_by_its_bill_or_its_trade(tmp_path: Path) -> None:
    record = json.loads((RECORDS / "fills.json").read_text(encoding="utf-8"))[0]["record"]
    changes: list[Row] = [{}, {"billId": ""}, {"instType": ""}, {"instType": "SWAP", "instId": "BTC-USDT-SWAP"}]
    rows = good(tmp_path, as_json(tmp_path / "a.json", *({**record, "instType": "MARGIN", **more} for more in changes)))
    assert [row["meaning"] for row in rows] == ["fill", "fill", "unclassified", "outside"]
    assert [row["row_id"] for row in rows[:2]] == ["680800019754098688", "744876980"]
    assert "currency" not in rows[3]


def test_published_interest_comes_out_to_the_last_digit(tmp_path: Path) -> None:
    records = [entry["record"] for entry in json.loads((RECORDS / "interest.json").read_text(encoding="utf-8"))]
    for record, row in zip(records, good(tmp_path, RECORDS / "interest.json"), strict=True):
        assert row == {
            "time": datetime.fromtimestamp(int(record["ts"]) // 1000, UTC),
            "instrument": "BTC-USDT",
            "layout": "okx-interest",
            "meaning": "interest",
            "currency": "BTC",
            "unit": "hourly",
            "input": 1,
            "row": row["row"],
            **amounts(interest=record["interest"], rate=record["interestRate"], liability=record["liab"]),
        }


def test_interest_on_loans_of_the_account_is_outside(tmp_path: Path) -> None:
    rows = good(tmp_path, RECORDS / "interest_documented.json")
    assert [(row["meaning"], row.get("stated_type")) for row in rows] == [
        ("outside", "1"),
        ("outside", "1"),
        ("interest", None),
    ]
    record = json.loads((RECORDS / "interest.json").read_text(encoding="utf-8"))[0]["record"]
    assert good(tmp_path, as_json(tmp_path / "a.json", {**record, "mgnMode": "cross"}))[0]["meaning"] == "outside"


# --- all layouts --------------------------------------------------------------------------------------------


def test_layouts_fill_columns_that_exist_and_have_the_agreed_names() -> None:
    for layout in LAYOUTS:
        ours = {column.name for column in layout.gives}
        assert {*layout.names, *layout.values} <= ours, layout.title
    assert {name for name in NAMES if name.startswith("okx")} == {
        *("okx-bills", "okx-trading-history", "okx-funding-history", "okx-fills", "okx-interest", "okx-positions"),
        *("okx-positions-history", "okx-tiers"),
    }


@pytest.mark.parametrize(
    ("record", "layout"),
    [
        ("bills.json", ["okx-bills"]),
        ("interest.json", ["okx-interest"]),
        ("positions.json", ["okx-positions"]),
        ("positions_futures.json", ["okx-positions"]),
        ("fills.json", ["okx-fills", "binance-trades"]),
        ("interest_binance.json", ["binance-interest"]),
    ],
)
def test_a_published_file_is_known_by_its_content(tmp_path: Path, record: str, layout: list[str]) -> None:
    (file,) = read(tmp_path, RECORDS / record)
    assert [part.feed.name for part in file.parts if part.feed] == layout
    assert file.refusals.height == 0
