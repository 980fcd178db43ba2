"""The balances file: what is read, in every format, and every row that is refused with what is wrong with it."""

import json
from datetime import UTC, datetime
from decimal import Decimal

import polars as pl
import pytest

from ledger import BadInput
from ledger.columns import schema
from ledger.risk.balances_file import BALANCE_RULES, read_balances
from ledger.risk.columns import BALANCES

NAMES = [column.name for column in BALANCES]
GOOD = {"time": "2025-01-01T00:00:00Z", "account": "main", "currency": "USDT", "available": "1200.5"}
MULTI = {**GOOD, "account_mode": "multi_currency", "adjusted_equity": "9000", "hold_equity": "0"}
READ = (datetime(2025, 1, 1, tzinfo=UTC), "main", "USDT", Decimal("1200.5"), "single_currency", None, None)
READ_MULTI = (*READ[:4], "multi_currency", Decimal(9000), Decimal(0))


def csv_of(folder, rows):
    """A file of these rows, with the columns that any of them has."""
    names = [name for name in NAMES if any(name in row for row in rows)]
    lines = [",".join(names), *(",".join(row.get(name, "") for name in names) for row in rows)]
    path = folder / "balances.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def refused(path):
    with pytest.raises(BadInput) as bad:
        read_balances(path)
    return bad.value.refusals


def write_json(path, rows):
    path.write_text(json.dumps(rows), encoding="utf-8")


def write_lines(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def write_parquet(path, rows):
    pl.DataFrame(rows).with_columns(pl.col("time").str.to_datetime(time_zone="UTC")).write_parquet(path)


@pytest.mark.parametrize(
    ("name", "write"), [("b.json", write_json), ("b.ndjson", write_lines), ("b.parquet", write_parquet)]
)
def test_every_format_gives_the_same_rows(tmp_path, name, write):
    rows = [dict.fromkeys(NAMES) | GOOD, {**MULTI, "account": "second"}]
    write(tmp_path / name, rows)
    found = read_balances(tmp_path / name)
    assert found.schema == schema(BALANCES)
    assert found.rows() == [READ, (READ_MULTI[0], "second", *READ_MULTI[2:])]
    assert found.equals(read_balances(csv_of(tmp_path, [GOOD, rows[1]])))


def test_columns_that_may_be_absent_are_empty_and_the_account_then_has_one_currency(tmp_path):
    assert read_balances(csv_of(tmp_path, [GOOD])).rows() == [READ]


@pytest.mark.parametrize(
    "row",
    [
        {**GOOD, "available": "0"},
        {**GOOD, "account_mode": "single_currency"},
        {**MULTI, "available": "-3"},
        {**MULTI, "adjusted_equity": "-3"},
    ],
    ids=str,
)
def test_at_the_bounds(tmp_path, row):
    assert read_balances(csv_of(tmp_path, [row])).height == 1


@pytest.mark.parametrize(
    ("change", "column", "words"),
    [
        ({"available": ""}, "available", "Every row needs available"),
        ({"available": "-0.1"}, "available", "less than nothing"),
        ({"available": "100000000000000000"}, "available", "digits before the point"),
        ({"available": "1200 USDT"}, "available", "decimal number"),
        ({"time": ""}, "time", "Every row needs time"),
        ({"time": "2025-01-01"}, "time", ""),
        ({"time": "2001-01-01T00:00:00Z"}, "time", "2009"),
        ({"account": ""}, "account", "Every row needs account"),
        ({"account": " main"}, "account", "blank"),
        ({"currency": "usdt"}, "currency", "capital letters"),
        ({"account_mode": "portfolio"}, "account_mode", "single_currency, multi_currency"),
        ({"hold_equity": "1"}, "hold_equity", "Only an account in multi_currency mode"),
        ({"adjusted_equity": "1"}, "adjusted_equity", "Only an account in multi_currency mode"),
        ({"account_mode": "multi_currency", "hold_equity": "1"}, "adjusted_equity", "needs adjusted_equity"),
        ({"account_mode": "multi_currency", "adjusted_equity": "1"}, "hold_equity", "needs hold_equity"),
        ({**MULTI, "hold_equity": "-1"}, "hold_equity", "not negative"),
    ],
    ids=str,
)
def test_a_row_is_refused_once_with_what_is_wrong(tmp_path, change, column, words):
    path = csv_of(tmp_path, [{**GOOD, "account": "other"}, {**GOOD, **change}])
    (row,) = refused(path).rows(named=True)
    assert (row["file"], row["row"], row["column"]) == (str(path), 3, column)
    assert (row["value"] or "") == change.get(column, "")
    assert words in row["rule"]
    assert row["remedy"]


@pytest.mark.parametrize(
    ("second", "columns"),
    [
        (GOOD, ["time"]),
        ({**GOOD, "available": "7"}, ["time"]),
        ({**MULTI, "currency": "BTC"}, ["account_mode"]),
    ],
    ids=str,
)
def test_rows_that_contradict_an_earlier_one(tmp_path, second, columns):
    found = refused(csv_of(tmp_path, [GOOD, second]))
    assert (found["row"].to_list(), found["column"].to_list()) == ([3] * len(columns), columns)


def test_an_account_of_several_currencies_has_one_equity_at_a_time(tmp_path):
    other = {**MULTI, "currency": "BTC", "adjusted_equity": "9001", "hold_equity": "1"}
    found = refused(csv_of(tmp_path, [MULTI, other]))
    assert found.select("row", "column", "value").rows() == [(3, "adjusted_equity", "9001"), (3, "hold_equity", "1")]
    later = {**other, "time": "2025-01-01T00:00:00.000001Z"}
    assert read_balances(csv_of(tmp_path, [MULTI, later])).height == 2


def test_all_that_is_wrong_is_told_at_once(tmp_path):
    rows = [{**GOOD, "available": ""}, {**GOOD, "currency": "usdt", "account_mode": "cross"}, GOOD, GOOD]
    found = refused(csv_of(tmp_path, rows)).select("row", "column").rows()
    assert found == [(2, "available"), (3, "account_mode"), (3, "currency"), (4, "time"), (5, "time")]


def test_other_files_are_refused_whole(tmp_path):
    path = tmp_path / "b.csv"
    path.write_text("time,account,currency,avail\n", encoding="utf-8")
    assert set(refused(path)["column"]) == {"avail", "available"}
    path.write_text("side,quantity\nbuy,1\n", encoding="utf-8")
    assert "no known file" in refused(path)["rule"].item()
    path.write_text("", encoding="utf-8")
    assert refused(path)["row"].to_list() == [None]


def test_each_rule_says_what_to_do():
    assert all(rule.sentence.endswith(".") and rule.remedy.endswith(".") for rule in BALANCE_RULES.values())
