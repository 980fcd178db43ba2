"""OKX web exports come out right to the last digit in every version of their header, in the zone they name."""

import json
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import pytest
from okx_files import HISTORY, PUBLISHED, RECORDS, amounts, as_history, at, good, refused

SPOT_PAIR = json.loads((RECORDS / "trading_history_rows.json").read_text(encoding="utf-8"))[0]["rows"]


def test_a_published_pair_of_legs_comes_out_to_the_last_digit(tmp_path: Path) -> None:
    received, given = good(tmp_path, as_history(tmp_path / "history.csv", *SPOT_PAIR, zone="UTC+2"))
    common = {
        "time": at("2025-10-20 08:44:26"),
        "instrument": "BTC-EUR",
        "layout": "okx-trading-history",
        "meaning": "outside",
        "order_id": "2968046098831663104",
        "input": 1,
        **amounts(price="95264.8", change="0", balance="0", realised_pnl="0"),
    }
    assert received == {
        **common,
        "row_id": "2968046098898771968",
        "stated_type": "Spot/Buy",
        "side": "buy",
        "currency": "BTC",
        "fee_currency": "BTC",
        "row": 3,
        **amounts(size="0.06436375", fee="0.00016091", account_change="0.06420284", account_balance="0.12011841"),
    }
    assert given == {
        **common,
        "row_id": "2968046098898771969",
        "stated_type": "Spot/Sell",
        "side": "sell",
        "currency": "EUR",
        "row": 4,
        **amounts(size="6131.599771", fee="0", account_change="-6131.599771", account_balance="0.09340798"),
    }


def test_published_rows_of_22_columns_and_of_a_conversion_come_out_right(tmp_path: Path) -> None:
    rows = json.loads((RECORDS / "trading_history_rows.json").read_text(encoding="utf-8"))[1]["rows"]
    header = HISTORY + ",Filled_price-USD,Pnl-USD,Fee-USD,Balance-USD,Balance_change-USD"
    (row,) = good(tmp_path, as_history(tmp_path / "history.csv", *rows, header=header, zone="UTC0"))
    assert row == {
        "time": at("2026-07-06 04:09:33"),
        "row_id": "3717152364831481856",
        "instrument": "TAO-USDC-CONVERT",
        "layout": "okx-trading-history",
        "stated_type": "Spot/",
        "meaning": "outside",
        "order_id": "3717152364697264128",
        "currency": "TAO",
        "input": 1,
        "row": 3,
        **amounts(
            size="0.00506778",
            price="209.68861305",
            fee="0",
            change="0",
            balance="0",
            account_change="-0.00506778",
            account_balance="0",
            realised_pnl="0",
        ),
    }


def test_published_rows_of_19_columns_come_out_right(tmp_path: Path) -> None:
    rows = good(tmp_path, PUBLISHED / "trading_history_19_columns.csv")
    names = ("row_id", "currency", "size", "fee", "account_change")
    assert [tuple(str(row[name]) for name in names[:2]) for row in rows] == [
        ("647848550172581894", "USDT"),
        ("647669143671791638", "BTC"),
        ("647669143671791639", "USDT"),
        ("597524845211287598", "USDT"),
        ("597524845211287596", "BTC"),
    ]
    stated = ("0 0 -1851.73462424", "0.04902691 0 -0.04902691", "1853.217198 1.48257376 1851.73462424")
    stated += ("718.40213 0.5747217 717.8274083", "0.02378815 0 -0.02378815")
    assert [[row[name] for name in names[2:]] for row in rows] == [
        [Decimal(text) for text in texts.split()] for texts in stated
    ]
    assert {row["meaning"] for row in rows} == {"outside"}
    assert rows[3]["time"] == at("2023-07-07 13:30:24")


def test_a_published_order_of_six_fills_adds_up(tmp_path: Path) -> None:
    rows = good(tmp_path, PUBLISHED / "trading_history_17_columns.csv")
    assert len(rows) == 12
    sums = {unit: [row for row in rows if row["currency"] == unit] for unit in ("ADA", "EUR")}
    assert sum(row["account_change"] for row in sums["ADA"]) == Decimal("-6608.9101")
    assert sum(row["fee"] for row in sums["EUR"]) == Decimal("9.49950318")
    assert all(row["account_change"] == row["size"] - row["fee"] for row in sums["EUR"])
    missed = {}
    for unit, held in sums.items():
        chain = sorted(held, key=lambda row: int(str(row["row_id"])))
        steps = pairwise(chain)
        missed[unit] = {
            after["account_balance"] - before["account_balance"] - after["account_change"] for before, after in steps
        }
    assert missed == {"ADA": {0}, "EUR": {0, Decimal("1e-8")}}  # balances too are rounded by themselves


def test_the_header_of_15_columns_has_its_last_unit(tmp_path: Path) -> None:
    header = (
        "id,Order id,Time,Trade Type,Instrument,Type,Amount,Unit,PL,Fee,Position Change,Position Balance,"
        "Balance Change,Balance,Unit"
    )
    row = "301,201,2022-03-01 12:00:00,Margin,BTC-USDT,Buy,0.5,cont,0,-0.0005,0.4995,0.4995,0,1.25,BTC"
    (found,) = good(tmp_path, as_history(tmp_path / "a.csv", row, header=header, zone="UTC+8"))
    assert found == {
        "time": at("2022-03-01 04:00:00"),
        "row_id": "301",
        "instrument": "BTC-USDT",
        "layout": "okx-trading-history",
        "stated_type": "Margin/Buy",
        "meaning": "leg",
        "order_id": "201",
        "side": "buy",
        "currency": "BTC",
        "fee_currency": "BTC",
        "input": 1,
        "row": 3,
        **amounts(
            size="0.5",
            fee="0.0005",
            change="0.4995",
            balance="0.4995",
            account_change="0",
            account_balance="1.25",
            realised_pnl="0",
        ),
    }


@pytest.mark.parametrize(
    "time", ["2021-03-01 20:00:00", "2021-03-01 20:00:00 CST", "Mon Mar 01 20:00:00 CST 2021", "2021-03-01T12:00:00Z"]
)
def test_the_header_of_6_columns_is_in_chinas_time(tmp_path: Path, time: str) -> None:
    path = tmp_path / "a.csv"
    path.write_text(
        f"time,type,size,balance,fee,currency\n{time},buy,0.5,1.5,-0.0005,BTC\n{time},sell,-100,0,0,USDT\n"
        f"{time},rebate,1,1,0,USDT\n",
        encoding="utf-8",
    )
    rows = good(tmp_path, path)
    assert [(row["time"], row["meaning"], row["size"]) for row in rows] == [
        (at("2021-03-01 12:00:00"), "outside", Decimal("0.5")),
        (at("2021-03-01 12:00:00"), "outside", 100),
        (at("2021-03-01 12:00:00"), "unclassified", 1),
    ]
    assert (rows[0]["fee"], rows[0]["fee_currency"]) == (Decimal("0.0005"), "BTC")


@pytest.mark.parametrize(
    ("zone", "hour"),
    [
        ("UTC+8", "02:00"),
        ("UTC0", "10:00"),
        ("UTC", "10:00"),
        ("UTC-5", "15:00"),
        ("UTC+5:30", "04:30"),
        ("UTC-3:30", "13:30"),
        ("UTC+08:00", "02:00"),
        ("UTC+14", "20:00"),
        ("GMT+1", "09:00"),
        ("", "10:00"),
    ],
)
def test_times_are_in_the_zone_of_the_preamble(tmp_path: Path, zone: str, hour: str) -> None:
    row = "1,1,2024-05-01 10:00:00,Transfer,,Transfer in,0,cont,0,0,0,USDT,0,0,5,5,USDT"
    (found,) = good(tmp_path, as_history(tmp_path / "a.csv", row, zone=zone))
    day = "2024-04-30" if zone == "UTC+14" else "2024-05-01"
    assert found["time"] == at(f"{day} {hour}:00")


@pytest.mark.parametrize(("time", "zone"), [("2024-05-01 10:00:00", "UTC+25"), ("2024-05-01 10:00:00", "Mars")])
def test_a_zone_that_is_none_is_refused(tmp_path: Path, time: str, zone: str) -> None:
    row = f"1,1,{time},Transfer,,Transfer in,0,cont,0,0,0,USDT,0,0,5,5,USDT"
    assert refused(tmp_path, as_history(tmp_path / "a.csv", row, zone=zone)) == [(3, "Time", time)]


@pytest.mark.parametrize("time", ["01.05.2024 10:00", "2024-02-30 10:00:00", "45413.41"])
def test_a_time_that_is_none_is_refused(tmp_path: Path, time: str) -> None:
    row = f"1,1,{time},Transfer,,Transfer in,0,cont,0,0,0,USDT,0,0,5,5,USDT"
    assert refused(tmp_path, as_history(tmp_path / "a.csv", row)) == [(3, "Time", time)]


@pytest.mark.parametrize(
    ("kind", "action", "symbol", "meaning"),
    [
        ("Margin", "Buy", "BTC-USDT", "leg"),
        ("Margin", "sell", "BTC-USDT", "leg"),
        ("Isolated margin", "Sell", "BTC-USDT", "leg"),
        ("Cross margin", "Sell", "BTC-USDT", "outside"),
        ("Margin", "Interest deduction for Market loans", "BTC-USDT", "interest"),
        ("Margin", "Interest deduction", "BTC-USDT", "interest"),
        ("Margin", "Margin transfer in isolated margin position", "BTC-USDT", "margin_posted"),
        ("Margin", "Manual margin increase", "BTC-USDT", "margin_added"),
        ("Margin", "Liquidation sell", "BTC-USDT", "liquidation_leg"),
        ("Margin", "Auto repay of quick margin", "BTC-USDT", "repayment"),
        ("Margin", "Something new", "BTC-USDT", "unclassified"),
        ("Margin", "", "BTC-USDT", "unclassified"),
        ("Margin", "Buy", "", "unclassified"),
        ("Margin", "Interest deduction", "", "outside"),
        ("Margin", "Manual borrow", "BTC-USDT", "unclassified"),  # should not change a position, and does
        ("Interest deduction", "", "BTC-USDT", "interest"),
        ("Margin transfer", "Manual margin decrease", "BTC-USDT", "margin_removed"),
        ("Liquidation", "Liquidation long", "BTC-USDT-SWAP", "outside"),
        ("Spot", "Buy", "BTC-USDT", "outside"),
        ("Spot", "", "BTC-USDT-CONVERT", "outside"),
        ("Swap", "Funding fee income", "BTC-USDT-SWAP", "outside"),
        ("Transfer", "", "", "outside"),
        ("Lottery", "Buy", "BTC-USDT", "unclassified"),
    ],
)
def test_a_row_of_the_web_export_has_its_meaning(
    tmp_path: Path, kind: str, action: str, symbol: str, meaning: str
) -> None:
    row = f"7,8,2024-05-01 10:00:00,{kind},{symbol},{action},1.5,BTC,100,0,0E-8,USDT,-1.50000001,0,0,3,USDT"
    (found,) = good(tmp_path, as_history(tmp_path / "a.csv", row))
    assert found["meaning"] == meaning
    assert found["stated_type"] == f"{kind}/{action}"
    assert (found["size"], found["change"]) == (Decimal("1.5"), Decimal("-1.50000001"))
    assert found.get("interest") == (Decimal("1.50000001") if meaning == "interest" else None)


def test_an_identifier_that_a_spreadsheet_rounded_is_refused(tmp_path: Path) -> None:
    row = "2.96805E+18,8,2024-05-01 10:00:00,Spot,BTC-USDT,Buy,1,BTC,1,0,0,USDT,0,0,0,3,USDT"
    assert refused(tmp_path, as_history(tmp_path / "a.csv", row)) == [(3, "id", "2.96805E+18")]


@pytest.mark.parametrize(
    ("header", "row"),
    [
        ("id,Time,Type,Amount,Before Balance,After Balance,Symbol", "7,{},Deposit,5,0E-18,5,USDT"),
        ("id,Time,Type,Amount,Before Balance,After Balance,Fee,Symbol", "7,{},Deposit,5,0E-18,5,0,USDT"),
        ("id,,Time,Type,Amount,Before Balance,After Balance,Fee,Symbol", "7,,{},Deposit,5,0E-18,5,0,USDT"),
    ],
)
def test_funding_history_is_outside_in_each_version(tmp_path: Path, header: str, row: str) -> None:
    line = row.format("2024-05-01 10:00:00")
    (found,) = good(tmp_path, as_history(tmp_path / "a.csv", line, header=header))
    assert (found["meaning"], found["stated_type"], found["currency"]) == ("outside", "Deposit", "USDT")
    assert (found["account_change"], found["time"]) == (5, at("2024-05-01 02:00:00"))


def test_published_rows_of_the_funding_account_come_out_right(tmp_path: Path) -> None:
    rows = good(tmp_path, PUBLISHED / "funding_history.csv")
    assert [(row["size"], row["account_change"]) for row in rows] == [
        (Decimal("0.01147863"), Decimal("-0.01147863")),
        (Decimal("0.0001"), Decimal("0.0001")),
    ]
