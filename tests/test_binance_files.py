"""What Binance published is read figure by figure; symbols, times and amounts come out right or are refused."""

import csv
import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest

from ledger.feeds import Feed, FileRows, read_files
from ledger.statements import binance_account as account
from ledger.statements import binance_interest as interest
from ledger.statements import binance_loans as loans
from ledger.statements import binance_statement as statement
from ledger.statements import binance_trades as trades
from ledger.statements import binance_transfers as transfers
from ledger.statements.binance_symbols import PARTED, QUOTES, amount, pair, utc_moment
from ledger.statements.columns import MEANINGS, SNAPSHOTS, STATEMENTS
from ledger.statements.layouts import LAYOUTS
from ledger.statements.rules import SNAPSHOT_RULES, STATEMENT_RULES

FIXTURES = Path(__file__).parents[1] / "fixtures"
BINANCE = FIXTURES / "exchange" / "binance"
FEEDS: tuple[Feed, ...] = (
    interest.FEED,
    *trades.FEEDS,
    transfers.FEED,
    loans.FEED,
    statement.FEED,
    account.FEED,
)

Row = dict[str, object]


def read(path: Path, folder: Path) -> FileRows:
    rules = {STATEMENTS: STATEMENT_RULES, SNAPSHOTS: SNAPSHOT_RULES}
    return read_files([path], FEEDS, rules, folder)[0]


def rows_of(path: Path, folder: Path) -> list[Row]:
    """The rows of a file in its order, without columns that are empty."""
    found = read(path, folder)
    assert found.refusals.is_empty(), found.refusals.to_dicts()
    rows = [row for part in found.parts for row in part.rows.iter_rows(named=True)]
    rows.sort(key=lambda row: row["row"])
    return [{name: value for name, value in row.items() if value is not None} for row in rows]


def refusals_of(path: Path, folder: Path) -> list[tuple[object, ...]]:
    return read(path, folder).refusals.select("row", "column", "value").rows()


def write(path: Path, *rows: Row) -> Path:
    if path.suffix == ".json":
        path.write_text(json.dumps(rows), encoding="utf-8")
        return path
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def money(row: Row, *names: str) -> dict[str, str]:
    """Amounts of a row as plain text; empty ones are left out."""
    return {name: f"{row[name].normalize():f}" for name in names if isinstance(row.get(name), Decimal)}


# --- published records --------------------------------------------------------------------------------------


def test_the_published_trade_of_an_isolated_account(tmp_path: Path) -> None:
    fill = rows_of(BINANCE / "trades.json", tmp_path)[0]
    assert fill == {
        "time": datetime(2022, 8, 24, 16, 4, 6, 275_000, tzinfo=UTC),
        "row_id": "LTC-USDT:249817193",
        "instrument": "LTC-USDT",
        "layout": "binance-trades",
        "stated_type": "isolated",
        "meaning": "fill",
        "order_id": "3010475065",
        "trade_id": "249817193",
        "side": "sell",
        "currency": "LTC",
        "size": Decimal("0.348"),
        "price": Decimal("57.22"),
        "value": Decimal("19.91256"),
        "fee": Decimal("0.01991256"),
        "fee_currency": "USDT",
        "input": 1,
        "row": 1,
    }
    assert fill["size"] * fill["price"] == fill["value"]  # type: ignore[operator]
    cross = rows_of(BINANCE / "trades_cross.json", tmp_path)[0]
    assert (cross["meaning"], cross["stated_type"], cross["instrument"]) == ("outside", "cross", "BNB-BTC")
    assert money(cross, "size", "price", "fee") == {"size": "3", "price": "0.02", "fee": "0.00006"}


def test_the_mixed_sample_has_the_same_trade_as_its_second_record(tmp_path: Path) -> None:
    rules = {STATEMENTS: STATEMENT_RULES, SNAPSHOTS: SNAPSHOT_RULES}
    found = read_files([FIXTURES / "records" / "fills.json"], LAYOUTS, rules, tmp_path)[0]
    assert found.refusals.is_empty()
    assert [part.feed.name for part in found.parts if part.feed] == ["okx-fills", "binance-trades"]
    second = read(BINANCE / "trades.json", tmp_path).parts[0].rows
    assert found.parts[1].rows.drop("row").equals(second.drop("row"))
    assert found.parts[1].rows["row"].item() == 2


def test_published_rows_of_downloaded_trades(tmp_path: Path) -> None:
    rows = rows_of(BINANCE / "trade_history.csv", tmp_path)
    told = [(row["instrument"], row["side"], row["fee_currency"], row["row"]) for row in rows]
    assert told == [
        ("DOGE-EUR", "buy", "DOGE", 2),
        ("DOGE-BTC", "sell", "BTC", 3),
        ("BTC-USDT", "buy", "BTC", 4),
        ("SOL-BUSD", "sell", "BUSD", 5),
    ]
    assert [money(row, "price", "size", "value", "fee") for row in rows] == [
        {"price": "0.31031", "size": "500", "value": "155.155", "fee": "0.5"},
        {"price": "0.00001006", "size": "200", "value": "0.002012", "fee": "0.00000201"},
        {"price": "28931.88", "size": "0.002001", "value": "32.51329432", "fee": "0.00000102"},
        {"price": "110.03", "size": "0.18", "value": "19.8054", "fee": "0.0198054"},
    ]
    assert rows[0]["time"] == datetime(2021, 6, 5, 16, 36, 56, tzinfo=UTC)
    assert {row["meaning"] for row in rows} == {"fill"}


def test_published_rows_of_older_downloaded_trades(tmp_path: Path) -> None:
    sold, bought = rows_of(BINANCE / "trade_history_older.csv", tmp_path)
    assert (sold["instrument"], sold["side"], sold["fee_currency"]) == ("AST-BTC", "sell", "BTC")
    assert money(sold, "price", "size", "value", "fee") == {
        "price": "0.00001426",
        "size": "263",
        "value": "0.00375038",
        "fee": "0.00000375",
    }
    assert (bought["instrument"], bought["side"], bought["fee_currency"]) == ("XLM-ETH", "buy", "XLM")
    assert bought["time"] == datetime(2018, 1, 20, 16, 59, 59, tzinfo=UTC)


def test_the_published_statement_of_an_isolated_account_adds_up(tmp_path: Path) -> None:
    rows = rows_of(BINANCE / "statement.csv", tmp_path)
    told = [(row["meaning"], row.get("side"), row["currency"]) for row in rows]
    assert told == [
        ("margin_added", None, "USDT"),
        ("fee", None, "THETA"),
        ("leg", "sell", "USDT"),
        ("leg", "buy", "THETA"),
        ("margin_removed", None, "THETA"),
        ("margin_removed", None, "USDT"),
        ("outside", None, "BTC"),
    ]
    assert all("instrument" not in row for row in rows)
    assert rows[1]["fee"] == Decimal("0.0007")
    for currency in ("USDT", "THETA"):  # the account is empty again
        assert sum(row["change"] for row in rows if row["currency"] == currency) == 0  # type: ignore[misc]
    assert money(rows[6], "change", "account_change", "size") == {"account_change": "0.05", "size": "0.05"}
    assert rows[6]["stated_type"] == "Funding/Transfer Between Main and Funding Wallet"


def test_a_statement_without_user_and_without_isolated_margin(tmp_path: Path) -> None:
    rows = rows_of(BINANCE / "statement_all_accounts.csv", tmp_path)
    assert [row["meaning"] for row in rows] == ["outside"] * 5
    assert not any(name in row for row in rows for name in ("change", "fee", "side"))


def test_published_interest_of_an_isolated_loan(tmp_path: Path) -> None:
    first, second, cross = rows_of(BINANCE / "interest.json", tmp_path)
    assert money(first, "interest", "rate", "liability") == {
        "interest": "0.00004782",
        "rate": "0.0002",
        "liability": "5.73824",
    }
    assert (first["instrument"], first["currency"], first["unit"]) == ("GALA-USDT", "USDT", "daily")
    assert round(Decimal("5.73824") * Decimal("0.0002") / 24, 8) == first["interest"]
    assert (first["time"], second["time"]) == tuple(datetime(2022, 3, 31, hour, tzinfo=UTC) for hour in (5, 4))
    assert [row["meaning"] for row in (first, second, cross)] == ["interest", "interest", "outside"]
    assert cross["row_id"] == "1352286576452864727"


def test_the_published_repayment(tmp_path: Path) -> None:
    row = rows_of(BINANCE / "loans.json", tmp_path)[0]
    assert (row["meaning"], row["stated_type"], row["instrument"]) == ("repayment", "AUTO/CONFIRMED", "BNB-USDT")
    assert (row["size"], row["currency"], row["row_id"]) == (14, "BNB", "2970933056")
    assert row["time"] == datetime(2019, 7, 18, 8, 23, 24, tzinfo=UTC)


def test_the_published_transfers(tmp_path: Path) -> None:
    into, between, cross = rows_of(BINANCE / "transfers.json", tmp_path)
    assert (into["meaning"], into["change"], into["currency"]) == ("margin_added", Decimal("0.1"), "BNB")
    assert "instrument" not in into
    assert into["time"] == datetime(2019, 8, 27, 9, 36, 57, tzinfo=UTC)
    assert (between["meaning"], between["instrument"], between["change"]) == ("margin_removed", "BNB-USDT", -5)
    assert (cross["meaning"], "change" in cross) == ("outside", False)


def test_the_published_accounts(tmp_path: Path) -> None:
    rows = rows_of(BINANCE / "account.json", tmp_path)
    told = [(row["instrument"], row["status"], row["base_net"], row["quote_net"], row["mark_price"]) for row in rows]
    assert told == [
        ("ETH-BTC", "open", Decimal("0.00027211"), 0, Decimal("0.06720756")),
        ("1INCH-USDT", "open", 0, 11, Decimal("0.59280767")),
        ("BTC-USDT", "closed", 0, 0, 10_000),
    ]
    empty = {"time", "mode", "margin", "margin_currency", "liability_shown", "liquidation_price", "margin_ratio"}
    assert not any(empty & row.keys() for row in rows)
    assert all(row["is_isolated_margin"] for row in rows)


# --- symbols, times, amounts --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("symbol", "named", "expected"),
    [
        ("LTCUSDT", "USDT", "LTC-USDT"),
        ("LTCUSDT (truncated)", "USDT", "LTC-USDT"),
        ("LTCUSDT", "BNB", "LTC-USDT"),
        ("BNBUSDT", "BNB", "BNB-USDT"),
        ("BNBUPUSDT", "BNB", "BNBUP-USDT"),
        ("TUSDT", "T", "T-USDT"),
        ("BTCUSDT", "T", "BTC-USDT"),
        ("BTCTUSD", "BTC", "BTC-TUSD"),
        ("BTCFDUSD", None, "BTC-FDUSD"),
        ("1INCHUSDT", "1INCH", "1INCH-USDT"),
        ("ADAEUR", "BNB", "ADA-EUR"),
        ("EURAEUR", None, "EUR-AEUR"),
        ("USDCUSDT", None, "USDC-USDT"),
        ("USDTTRY", None, "USDT-TRY"),
        ("BTCDAI", "DAI", "BTC-DAI"),
        ("ABCXYZ", "XYZ", "ABC-XYZ"),
        ("ABCXYZ", "ABC", "ABC-XYZ"),
        ("ABCXYZ", None, "ABCXYZ"),
        (None, "BTC", None),
    ],
)
def test_a_symbol_is_parted(symbol: str | None, named: str | None, expected: str | None) -> None:
    frame = pl.DataFrame({"symbol": [symbol], "named": [named]}, schema={"symbol": pl.String, "named": pl.String})
    assert frame.select(pair("symbol", pl.col("named"))).item() == expected


def test_the_table_of_quote_currencies_is_longest_first_and_each_once() -> None:
    assert list(QUOTES) == sorted(dict.fromkeys(QUOTES), key=lambda quote: -len(quote))
    assert all(symbol == parted.replace("-", "") for symbol, parted in PARTED.items())


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2021-03-23 18:23:25", datetime(2021, 3, 23, 18, 23, 25, tzinfo=UTC)),
        ("21-03-23 18:23:25", datetime(2021, 3, 23, 18, 23, 25, tzinfo=UTC)),
        ("2021-03-23T18:23:25.5Z", datetime(2021, 3, 23, 18, 23, 25, 500_000, tzinfo=UTC)),
        ("1566898617", datetime(2019, 8, 27, 9, 36, 57, tzinfo=UTC)),
        ("1566898617123", datetime(2019, 8, 27, 9, 36, 57, 123_000, tzinfo=UTC)),
        ("05/04/2021 10:57", None),  # as a spreadsheet has left it: April or May
        ("2021-02-30 18:23:25", None),
        ("2021-03-23 18:23:25+08:00", None),
        ("1921-03-23 18:23:25", None),
        ("44278.76", None),
        ("15668986171", None),
        ("", None),
        (None, None),
    ],
)
def test_a_time_without_zone_is_utc(text: str | None, moment: datetime | None) -> None:
    assert pl.DataFrame({"time": [text]}, schema={"time": pl.String}).select(utc_moment("time")).item() == moment


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("28,931.8800000000", "28931.88"),
        ("1,234,567", "1234567"),
        ("-0.5", "-0.5"),
        ("0,1", None),
        ("0,100", None),
        ("1,00", None),
        ("1.2.3", None),
        ("1e5", None),
        ("", None),
        ("123456789012345678", None),
        ("0.1234567890123456789", None),
    ],
)
def test_an_amount_may_have_commas_between_thousands_only(text: str, expected: str | None) -> None:
    found = pl.DataFrame({"text": [text]}).select(amount(pl.col("text"))).item()
    assert found == (Decimal(expected) if expected else None)


# --- rows that must be told apart ---------------------------------------------------------------------------

TRADE: Row = json.loads((BINANCE / "trades.json").read_text(encoding="utf-8"))[0]["record"]
HISTORY: Row = {
    "Date(UTC)": "2021-06-05 16:36:56",
    "Pair": "1INCHUSDT",
    "Side": "BUY",
    "Price": "3",
    "Executed": "0.51INCH",
    "Amount": "1.5USDT",
    "Fee": "0.00051INCH",
}
LOAN: Row = json.loads((BINANCE / "loans.json").read_text(encoding="utf-8"))["rows"][0]
STATED: Row = {
    "UTC_Time": "21-03-23 18:23:25",
    "Account": "Isolated Margin",
    "Operation": "Isolated Margin Loan",
    "Coin": "USDT",
    "Change": "100",
    "Remark": "",
}


def test_trades_of_two_symbols_with_one_number_are_two_rows(tmp_path: Path) -> None:
    path = write(tmp_path / "a.json", TRADE, {**TRADE, "symbol": "ETHUSDT"})
    assert [row["row_id"] for row in rows_of(path, tmp_path)] == ["LTC-USDT:249817193", "ETH-USDT:249817193"]


def test_a_trade_that_does_not_say_isolated_is_outside(tmp_path: Path) -> None:
    spot = {name: value for name, value in TRADE.items() if name != "isIsolated"}
    assert rows_of(write(tmp_path / "a.json", spot), tmp_path)[0]["meaning"] == "outside"


@pytest.mark.parametrize(
    ("changes", "size", "fee", "fee_currency"),
    [
        ({}, "0.5", "0.0005", "1INCH"),
        ({"Fee": "0.0015USDT"}, "0.5", "0.0015", "USDT"),
        ({"Fee": "0.00001BNB"}, "0.5", "0.00001", "BNB"),
        ({"Executed": "1,000.51INCH", "Amount": "1.5"}, "1000.5", "0.0005", "1INCH"),
    ],
)
def test_a_unit_may_begin_with_a_digit(tmp_path: Path, changes: Row, size: str, fee: str, fee_currency: str) -> None:
    row = rows_of(write(tmp_path / "a.csv", {**HISTORY, **changes}), tmp_path)[0]
    found = (row["instrument"], row["size"], row["fee"], row["fee_currency"])
    assert found == ("1INCH-USDT", Decimal(size), Decimal(fee), fee_currency)


@pytest.mark.parametrize(
    ("changes", "meaning"),
    [
        ({}, "repayment"),
        ({"interest": "0"}, "borrowing"),
        ({"interest": "0", "type": "REPAY"}, "repayment"),
        ({"interest": "0", "type": "BNB_AUTO_REPAY"}, "repayment"),
        ({"status": "PENDING"}, "outside"),
        ({"status": "FAILED"}, "outside"),
        ({"isolatedSymbol": ""}, "outside"),
    ],
)
def test_a_loan_counts_when_it_is_confirmed_and_isolated(tmp_path: Path, changes: Row, meaning: str) -> None:
    assert rows_of(write(tmp_path / "a.json", {**LOAN, **changes}), tmp_path)[0]["meaning"] == meaning


def test_an_older_loan_has_the_principal_only(tmp_path: Path) -> None:
    older = {"asset": "BNB", "principal": "0.84624403", "timestamp": 1555056425000, "txId": 12807067523}
    row = rows_of(write(tmp_path / "a.json", {**older, "status": "CONFIRMED", "isolatedSymbol": "BNBUSDT"}), tmp_path)[
        0
    ]
    assert (row["meaning"], row["size"]) == ("borrowing", Decimal("0.84624403"))


@pytest.mark.parametrize(
    ("changes", "meaning", "instrument"),
    [
        ({}, "borrowing", None),
        ({"Account": "IsolatedMargin"}, "borrowing", None),
        ({"Account": "Cross Margin"}, "outside", None),
        ({"Operation": "Isolated Margin Repayment", "Change": "-100"}, "repayment", None),
        ({"Operation": "transfer_in"}, "margin_added", None),
        ({"Operation": "BNB Fee Deduction", "Change": "-1"}, "fee", None),
        ({"Operation": "Isolated Margin Liquidation", "Change": "-1"}, "liquidation_leg", None),
        ({"Operation": "Mystery Bonus Program"}, "unclassified", None),
        ({"Remark": "LTCUSDT"}, "borrowing", "LTC-USDT"),
        ({"Remark": "LTCBTC"}, "borrowing", None),
        ({"Remark": "Withdraw fee is included"}, "borrowing", None),
    ],
)
def test_an_operation_has_a_meaning(tmp_path: Path, changes: Row, meaning: str, instrument: str | None) -> None:
    row = rows_of(write(tmp_path / "a.csv", {**STATED, **changes}), tmp_path)[0]
    assert (row["meaning"], row.get("instrument")) == (meaning, instrument)


def test_every_operation_of_the_table_has_a_known_meaning() -> None:
    assert set(statement.OPERATIONS.values()) <= {*MEANINGS, "margin"}


@pytest.mark.parametrize(
    ("base", "quote", "expected"),
    [
        (
            {"borrowed": "0", "interest": "0", "free": "1.5", "locked": "0.5"},
            {"borrowed": "100", "interest": "0.25", "free": "40", "locked": "0"},
            ("long", "-100", "0.25", "2", "-60.25"),
        ),
        (
            {"borrowed": "2", "interest": "0.001", "free": "0", "locked": "0"},
            {"borrowed": "0", "interest": "0", "totalAsset": "300"},
            ("short", "-2", "0.001", "-2.001", "300"),
        ),
        (
            {"borrowed": "2", "interest": "0", "netAsset": "-1"},
            {"borrowed": "1", "interest": "0", "netAsset": "3"},
            (None, None, None, "-1", "3"),
        ),
    ],
)
def test_an_account_has_what_is_left_of_each_currency(
    tmp_path: Path, base: Row, quote: Row, expected: tuple[str | None, ...]
) -> None:
    path = tmp_path / "a.json"
    record = {"baseAsset": {"asset": "LTC", **base}, "quoteAsset": {"asset": "USDT", **quote}, "indexPrice": "60"}
    path.write_text(json.dumps({"assets": [record]}), encoding="utf-8")
    row = rows_of(path, tmp_path)[0]
    amounts = (row.get(name) for name in ("liability_shown", "interest", "base_net", "quote_net"))
    found = (row.get("direction"), *(None if amount is None else amount for amount in amounts))
    assert found == (expected[0], *(None if text is None else Decimal(text) for text in expected[1:]))


@pytest.mark.parametrize(
    ("row", "changes", "refused"),
    [
        (HISTORY, {"Date(UTC)": "05/06/2021 16:36"}, (2, "Date(UTC)", "05/06/2021 16:36")),
        (HISTORY, {"Executed": "0,51INCH"}, (2, "Executed", "0,51INCH")),
        (HISTORY, {"Side": "HOLD"}, (2, "Side", "HOLD")),
        (HISTORY, {"Fee": ""}, (2, "Fee", None)),
        (STATED, {"UTC_Time": "23.03.2021 18:23"}, (2, "UTC_Time", "23.03.2021 18:23")),
        (STATED, {"Change": "1,5"}, (2, "Change", "1,5")),
        (STATED, {"Coin": ""}, (2, "Coin", None)),
    ],
)
def test_a_cell_that_says_no_value_is_refused(
    tmp_path: Path, row: Row, changes: Row, refused: tuple[object, ...]
) -> None:
    assert refused in refusals_of(write(tmp_path / "a.csv", {**row, **changes}), tmp_path)


@pytest.mark.parametrize(
    ("row", "changes", "refused"),
    [
        (TRADE, {"symbol": "ABCXYZ", "commissionAsset": "BNB"}, (1, "symbol", "ABCXYZ")),
        (TRADE, {"id": "2.49E+08"}, (1, "id", "2.49E+08")),
        (TRADE, {"time": "2022-08-24 16:04:06"}, (1, "time", "2022-08-24 16:04:06")),
        (TRADE, {"isBuyer": "maybe"}, (1, "isBuyer", "maybe")),
        (LOAN, {"isolatedSymbol": "ETHBTC"}, (1, "isolatedSymbol", "ETHBTC")),
        (LOAN, {"amount": "1e-30"}, (1, "amount", "1e-30")),
    ],
)
def test_a_record_that_says_no_value_is_refused(
    tmp_path: Path, row: Row, changes: Row, refused: tuple[object, ...]
) -> None:
    assert refused in refusals_of(write(tmp_path / "a.json", {**row, **changes}), tmp_path)
