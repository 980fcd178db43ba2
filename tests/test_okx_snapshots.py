"""Positions, closed positions and tiers of OKX come out right to the last digit; and every rule refuses a row."""

import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from okx_files import RECORDS, Row, amounts, as_json, at, good, read, refused

from ledger.columns import schema
from ledger.risk.columns import TIERS
from ledger.rules import broken_rules
from ledger.statements.columns import SNAPSHOTS, STATEMENTS
from ledger.statements.rules import SNAPSHOT_RULES, STATEMENT_RULES

# --- positions and tiers ------------------------------------------------------------------------------------


def test_published_positions_come_out_to_the_last_digit(tmp_path: Path) -> None:
    long, short = good(tmp_path, RECORDS / "positions.json")
    common = {"layout": "okx-positions", "is_isolated_margin": True, "status": "open", "input": 1}
    assert long == {
        **common,
        "time": at("2024-08-27 07:10:32.153"),
        "instrument": "BTC-USDT",
        "direction": "long",
        "margin_currency": "BTC",
        "opened": at("2024-08-27 06:30:25.685"),
        "row": 1,
        **amounts(
            assets_shown="0.00190433573",
            liability_shown="-99.9998177776581948",
            interest="0",
            margin="0.000317654",
            entry_price="62961.4",
            leverage="5",
            mark_price="62891.9",
            floating_pnl="-0.0000033452492717",
            floating_pnl_ratio="-0.0105311101755551",
            maintenance_margin="0.0000318005395854",
            margin_ratio="9.404143929947395",
            liquidation_price="53615.448336593756",
        ),
    }
    assert short == {
        **common,
        "instrument": "LTC-USDT",
        "direction": "short",
        "margin_currency": "USDT",
        "opened": at("2023-01-15 16:25:27.171"),
        "row": 2,
        **amounts(
            assets_shown="12.00358728382",
            liability_shown="-0.113791",
            interest="0",
            margin="2.002266436",
            entry_price="87.98",
            leverage="5",
            mark_price="87.81",
            maintenance_margin="0.4995993855",
            margin_ratio="3.903466055555656",
            liquidation_price="100.31430948814871",
        ),
    }


def test_a_position_of_another_product_is_kept_and_told_apart(tmp_path: Path) -> None:
    (row,) = good(tmp_path, RECORDS / "positions_futures.json")
    assert (row["instrument"], row["is_isolated_margin"], row["margin"]) == (
        "ETH-USD-210430",
        False,
        Decimal("0.0003896645377994"),
    )
    assert not row.keys() & {"direction", "margin_currency", "mark_price"}  # its mark has a remark in the text


def position(**changes: object) -> dict[str, object]:
    record = json.loads((RECORDS / "positions.json").read_text(encoding="utf-8"))[0]["record"]
    return {**record, **changes}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("9.4041439299473951234567", "9.404143929947395123"),
        ("1.25e-7", "0.000000125"),
        ("0.0000000000000000005", "0"),
        ("0.0000000000000000015", "0.000000000000000002"),
        ("", None),
    ],
)
def test_doubles_are_rounded_half_even_where_they_do_not_fit(tmp_path: Path, text: str, value: str | None) -> None:
    (row,) = good(tmp_path, as_json(tmp_path / "a.json", position(mgnRatio=text)))
    assert row.get("margin_ratio") == (Decimal(value) if value else None)


@pytest.mark.parametrize(
    ("changes", "column"),
    [
        ({"mgnRatio": "high"}, "mgnRatio"),
        ({"upl": "NaN"}, "upl"),
        ({"liab": "much"}, "liab"),
        ({"instId": "BTCUSDT"}, "instId"),
        ({"pos": "-1"}, "pos"),
        ({"lever": "0.5"}, "lever"),
        ({"cTime": "1"}, "cTime"),
    ],
)
def test_a_position_that_cannot_be_right_is_refused(tmp_path: Path, changes: Row, column: str) -> None:
    found = refused(tmp_path, as_json(tmp_path / "a.json", position(), position(**changes)))
    assert [(row, name) for row, name, _ in found] == [(2, column)]


def test_what_is_no_open_isolated_position_is_not_compared(tmp_path: Path) -> None:
    records = [position(mgnMode="cross"), position(pos="0", margin="5"), position(instType="SWAP", pos="-3")]
    rows = good(
        tmp_path, as_json(tmp_path / "a.json", *records, position(closeOrderAlgo=[{"algoId": "1"}], posCcy="X"))
    )
    assert [row["is_isolated_margin"] for row in rows] == [False, False, False, True]
    assert "direction" not in rows[3]


def closed(**changes: str) -> Row:
    record = {
        "instType": "MARGIN",
        "instId": "BTC-USDT",
        "mgnMode": "isolated",
        "type": "2",
        "cTime": "1654177169995",
        "uTime": "1654177174419",
        "openAvgPx": "29783.8999999995535393",
        "closeAvgPx": "29786.5999999789081085",
        "posId": "452587086133239818",
        "openMaxPos": "1",
        "closeTotalPos": "1",
        "realizedPnl": "",
        "pnl": "0.0011",
        "direction": "long",
        "lever": "10.0",
        "ccy": "USDT",
    }
    return {**record, **changes}


def test_a_closed_position_has_its_times_price_and_result(tmp_path: Path) -> None:
    changes: list[Row] = [{}, {"type": "1"}, {"instType": "SWAP", "instId": "BTC-USDT-SWAP", "realizedPnl": "7"}]
    rows = good(tmp_path, as_json(tmp_path / "a.json", *(closed(**more) for more in changes)))
    assert rows[0] == {
        "time": at("2022-06-02 13:39:34.419"),
        "instrument": "BTC-USDT",
        "layout": "okx-positions-history",
        "is_isolated_margin": True,
        "status": "closed",
        "direction": "long",
        "margin_currency": "USDT",
        "opened": at("2022-06-02 13:39:29.995"),
        "closed": at("2022-06-02 13:39:34.419"),
        "input": 1,
        "row": 1,
        **amounts(entry_price="29783.8999999995535393", leverage="10", realised_pnl="0.0011"),
    }
    assert (rows[1]["status"], rows[1].get("closed")) == ("open", None)
    assert (rows[2]["is_isolated_margin"], rows[2].get("direction"), rows[2]["realised_pnl"]) == (False, None, 7)


def test_published_tiers_come_out_right(tmp_path: Path) -> None:
    record = json.loads((RECORDS / "tiers.json").read_text(encoding="utf-8"))[0]["record"]
    (file,) = read(tmp_path, as_json(tmp_path / "tiers.json", *record))
    assert file.refusals.height == 0
    assert file.parts[0].rows.select(column.name for column in TIERS).rows() == [
        (
            *("BTC-USDT", None, 1),
            *(Decimal(text) for text in ("0", "50", "50", "500000", "0.03", "0.1", "10")),
            "OKX position tiers",
        )
    ]


@pytest.mark.parametrize(
    ("changes", "column"), [({"tier": "first"}, "tier"), ({"mmr": "3"}, "mmr"), ({"baseMaxLoan": "-1"}, "baseMaxLoan")]
)
def test_a_tier_that_cannot_be_right_is_refused(tmp_path: Path, changes: Row, column: str) -> None:
    record = json.loads((RECORDS / "tiers.json").read_text(encoding="utf-8"))[0]["record"][0]
    found = refused(tmp_path, as_json(tmp_path / "tiers.json", record, {**record, **changes}))
    assert [(row, name) for row, name, _ in found] == [(2, column)]


# --- rules --------------------------------------------------------------------------------------------------

NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)
LEG = {
    "time": NOON,
    "row_id": "7",
    "order_id": "8",
    "trade_id": "9",
    "account": "main",
    "instrument": "BTC-USDT",
    "meaning": "leg",
    "side": "buy",
    "currency": "BTC",
    "size": Decimal(1),
    "price": Decimal(100),
    "fee_currency": "BTC",
    "change": Decimal(1),
}
INTEREST = {**LEG, "meaning": "interest", "interest": Decimal(1), "rate": Decimal("0.1"), "unit": "daily"}
POSITION = {
    "time": NOON,
    "account": "main",
    "instrument": "BTC-USDT",
    "is_isolated_margin": True,
    "opened": NOON,
    "closed": NOON,
    "assets_shown": Decimal(1),
    "margin": Decimal(1),
    "interest": Decimal(0),
    "leverage": Decimal(1),
}
FILL = {**LEG, "meaning": "fill"}
YEAR_1999 = datetime(1999, 5, 1, tzinfo=UTC)
BROKEN_MOVEMENTS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "time_is_known": (LEG, {"time": None}),
    "time_is_plausible": (LEG, {"time": YEAR_1999}),
    "row_id_is_plain": (LEG, {"row_id": "7\u200b"}),
    "row_id_has_all_digits": (LEG, {"row_id": "6.2E+17"}),
    "order_id_is_plain": (LEG, {"order_id": " 8"}),
    "order_id_has_all_digits": (LEG, {"order_id": "6E17"}),
    "trade_id_is_plain": (LEG, {"trade_id": "9\n"}),
    "trade_id_has_all_digits": (LEG, {"trade_id": "58676.01e+4"}),
    "account_is_plain": (LEG, {"account": "main "}),
    "instrument_is_plain": (LEG, {"instrument": " BTC-USDT", "meaning": "outside"}),
    "instrument_is_a_pair": (LEG, {"instrument": "BTCUSDT"}),
    "pair_has_two_currencies": (LEG, {"instrument": "BTC-BTC"}),
    "currency_is_plain": (LEG, {"currency": "BTC ", "meaning": "outside"}),
    "currency_is_a_code": (LEG, {"currency": "btc"}),
    "fee_currency_is_a_code": (LEG, {"fee_currency": "okb"}),
    "currency_is_given": (LEG, {"currency": None}),
    "side_is_given": (FILL, {"side": None}),
    "size_is_given": (FILL, {"size": None}),
    "price_is_given": (FILL, {"price": None}),
    "leg_has_an_amount": (LEG, {"change": None, "size": None}),
    "interest_has_an_amount": (INTEREST, {"interest": None, "change": None}),
    "size_is_not_negative": (LEG, {"size": Decimal(-1)}),
    "price_is_not_negative": (LEG, {"price": Decimal(-1)}),
    "interest_is_not_negative": (INTEREST, {"interest": Decimal(-1)}),
    "rate_is_not_negative": (INTEREST, {"rate": Decimal(-1)}),
    "rate_has_a_unit": (INTEREST, {"unit": None}),
    "liability_is_not_negative": (INTEREST, {"liability": Decimal(-1)}),
}
BROKEN_POSITIONS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "time_is_plausible": (POSITION, {"time": YEAR_1999}),
    "opening_is_plausible": (POSITION, {"opened": YEAR_1999}),
    "closing_is_not_before_opening": (POSITION, {"closed": datetime(2024, 4, 1, tzinfo=UTC)}),
    "account_is_plain": (POSITION, {"account": " main"}),
    "instrument_is_plain": (POSITION, {"instrument": "BTC-USD-SWAP ", "is_isolated_margin": False}),
    "instrument_is_given": (POSITION, {"instrument": None}),
    "instrument_is_a_pair": (POSITION, {"instrument": "BTC-USDT-SWAP"}),
    "pair_has_two_currencies": (POSITION, {"instrument": "USDT-USDT"}),
    "assets_are_not_negative": (POSITION, {"assets_shown": Decimal(-1)}),
    "margin_is_not_negative": (POSITION, {"margin": Decimal(-1)}),
    "interest_is_not_negative": (POSITION, {"interest": Decimal(-1)}),
    "leverage_is_at_least_one": (POSITION, {"leverage": Decimal("0.5")}),
}


@pytest.mark.parametrize(
    ("columns", "rules", "cases"),
    [(STATEMENTS, STATEMENT_RULES, BROKEN_MOVEMENTS), (SNAPSHOTS, SNAPSHOT_RULES, BROKEN_POSITIONS)],
)
def test_each_rule_refuses_the_row_that_breaks_it_and_no_other(
    columns: Any, rules: Any, cases: dict[str, tuple[dict[str, Any], dict[str, Any]]]
) -> None:
    assert list(cases) == list(rules)
    for name, (row, change) in cases.items():
        frame = pl.DataFrame([row, {**row, **change}], schema=schema(columns))
        found = broken_rules(frame, rules, [])
        assert [(cells.column, cells.sentence, cells.rows.to_list()) for cells in found] == [
            (rules[name].column, rules[name].sentence, [False, True])
        ], name


@pytest.mark.parametrize("instrument", ["A-BA", "AB-A", "ABC-ABD", "A-B", "1INCH-USDT"])
def test_pairs_of_two_currencies_are_taken(instrument: str) -> None:
    frame = pl.DataFrame([{**LEG, "instrument": instrument}], schema=schema(STATEMENTS))
    assert broken_rules(frame, STATEMENT_RULES, []) == []
