"""Files of any layout become rows of ours, each refused cell is named, and no broken file gets through."""

import csv
import gzip
import io
import json
import subprocess
import sys
import tempfile
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest
from exchange_feeds import BILLS_FEED, FEEDS, MOVEMENTS, POSITIONS, TRADES_FEED
from hypothesis import given
from hypothesis import strategies as st

from ledger.columns import Column
from ledger.feeds import FileRows, read_files
from ledger.formats import raw_batches
from ledger.refusals import REFUSAL_SCHEMA, BadInput
from ledger.rules import Rule
from ledger.tables import Table

FIXTURES = Path(__file__).parents[1] / "fixtures"
BROKEN = FIXTURES / "bad_exchange"
EXPECTED = list(csv.DictReader((BROKEN / "expected.csv").read_text(encoding="utf-8").splitlines()))

BILL = {"billId": "1", "subType": "1", "ts": "1695033476167", "posBalChg": "0.021933823221", "fee": "-0.000021955779"}
BILL |= {"ccy": "BTC", "instId": "BTC-USDT", "mgnMode": "isolated", "sz": "1", "ordId": "7", "tag": ""}
TRADE = {"symbol": "LTCUSDT", "id": 249817193, "time": 1661357046275, "isBuyer": False, "commission": "0.01991256"}
POSITION = {"posId": "9", "upl": "-0.0000033452492717", "instId": "BTC-USDT", "uTime": "1695033476167"}
PREAMBLE = "UID:123456,Account Type:Main,Time Zone:UTC+5:30"
HISTORY = "id,Order id,Time,Trade Type,Symbol,Fee,Balance Unit\n1,2,2025-10-20 10:44:26,Margin,BTC-EUR,0E-8,BTC\n"


def read(path: Path, forced: str | None = None, rules: dict[str, Rule] | None = None) -> FileRows:
    folder = path.parent / "unpacked"
    folder.mkdir(exist_ok=True)
    found = read_files([path], FEEDS, {MOVEMENTS: rules or {}}, folder, forced)[0]
    assert list(folder.iterdir()) == []
    return found


def put(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def table(*rows: dict[str, str], end: str = "\n", quotes: bool = False) -> str:
    cells = [list(rows[0]), *(row.values() for row in rows)]
    return "".join(",".join(f'"{cell}"' if quotes else cell for cell in row) + end for row in cells)


def rows_of(path: Path, forced: str | None = None) -> pl.DataFrame:
    found = read(path, forced)
    assert found.refusals.rows() == []
    assert len(found.parts) == 1
    return found.parts[0].rows


def refused(path: Path, forced: str | None = None) -> list[tuple[object, ...]]:
    return read(path, forced).refusals.select("row", "column", "value", "rule").rows()


# --- tables -------------------------------------------------------------------------------------------------


def test_a_table_becomes_rows_of_ours(tmp_path: Path) -> None:
    rows = rows_of(put(tmp_path / "bills.csv", table(BILL, {**BILL, "billId": "2", "fee": ""})))
    assert rows.columns == [*(column.name for column in MOVEMENTS), "row", "input"]
    assert rows.schema["input"] == pl.UInt16
    assert rows.schema["row"] == pl.UInt32
    assert rows["row"].to_list() == [2, 3]
    assert rows["time"][0] == datetime(2023, 9, 18, 10, 37, 56, 167000, tzinfo=UTC)
    assert rows["fee"].to_list() == [Decimal("0.000021955779"), None]
    assert rows["note"].to_list() == ["isolated"] * 2


@pytest.mark.parametrize(
    "text",
    [
        table(BILL, end="\r\n"),
        table(BILL, quotes=True),
        table(BILL, end="\r\n", quotes=True),
        "\ufeff" + table(BILL),
        "\ufeff" + table(BILL, quotes=True),
        table(BILL) + "\n\n\n",
        table(BILL, end="\r\n") + "\r\n,,,,,,,,,,\r\n",
        table(BILL).rstrip("\n"),
        table(dict(reversed(BILL.items()))),
        table(BILL).replace("billId", "\ufeffbillId"),
        table({**BILL, "tag": "a,\tb"}, quotes=True),
        table({**BILL, "tag": 'say ""a"", b'}, quotes=True),
        table({**BILL, "tag": "two\r\nlines"}, quotes=True),
        table({**BILL, "type": "2", "": "x"}),
    ],
)
def test_what_programs_make_of_a_table_reads_the_same(tmp_path: Path, text: str) -> None:
    plain = rows_of(put(tmp_path / "plain.csv", table(BILL)))
    assert rows_of(put(tmp_path / "made.csv", text)).equals(plain)


def test_a_blank_line_counts_as_a_row_and_a_row_of_unread_cells_is_not_blank(tmp_path: Path) -> None:
    path = put(
        tmp_path / "bills.csv", table(BILL) + "\n" + table({**dict.fromkeys(BILL, ""), "tag": "x"}).split("\n")[1]
    )
    assert refused(path) == [
        (4, "ts", None, "Every row needs ts."),
        (4, "billId", None, "Every row needs billId."),
    ]


def test_a_header_alone_has_no_rows(tmp_path: Path) -> None:
    assert rows_of(put(tmp_path / "a.csv", ",".join(BILL))).height == 0
    assert rows_of(put(tmp_path / "b.csv", PREAMBLE + "\n" + HISTORY.splitlines()[0] + "\n")).height == 0


def test_names_in_other_capitals_are_the_same_names(tmp_path: Path) -> None:
    path = put(tmp_path / "a.csv", HISTORY.replace("id,Order id", "ID,Order ID").replace("Trade Type", "trade type"))
    assert rows_of(path)["row_id"].to_list() == ["1"]
    both = put(tmp_path / "b.csv", "id,ID,Order id,Time,Trade Type\n1,2,3,2025-10-20 10:44:26,Margin\n")
    assert rows_of(both)["row_id"].to_list() == ["1"]


def test_of_two_columns_of_a_name_the_second_is_numbered(tmp_path: Path) -> None:
    rows = rows_of(put(tmp_path / "a.csv", "id,Amount,Unit,Fee,Unit\n1,2,BTC,3,USDT\n"))
    assert rows.select("note", "currency").rows() == [("BTC", "USDT")]
    twice = put(tmp_path / "b.csv", table(BILL).replace("tag", "ordId"))
    assert refused(twice) == [(None, "ordId", None, "The column is given more than once.")]


def test_cells_that_are_read_are_the_only_ones_typed(tmp_path: Path) -> None:
    path = put(tmp_path / "a.csv", table({**BILL, "px": "no number", "tag": "=cmd|'/c calc'!A1"}))
    assert rows_of(path).height == 1


_PIECES = ("a", "bb", ",", '"', '""', "\n", "\r\n", " ", '"x"', '"y,z"', ',"', '",', '"\n', "\ufeff", "\u00e9")


@given(
    st.lists(st.sampled_from(_PIECES), max_size=25).map("".join),
    st.sampled_from(["", "UID:1,Time Zone:UTC\n", "\n"]),
    st.booleans(),
)
def test_a_table_is_read_as_the_csv_module_reads_it_or_refused(body: str, preamble: str, is_plain: bool) -> None:
    columns = tuple(Column(name, pl.String, "", "", "test") for name in "abc")
    text = f"{preamble}a,b,c\n{body}"
    with tempfile.TemporaryDirectory() as folder:
        path = put(Path(folder) / "a.csv", text)
        try:
            batches = list(raw_batches(path, Table(columns, ("a",), True, is_plain), 3))
        except BadInput:
            return
    wrong = {row for batch in batches for row in batch.refusals["row"]}
    empty = pl.DataFrame(schema={"row": pl.UInt32, "a": pl.String, "b": pl.String, "c": pl.String})
    frames = pl.concat([empty, *(batch.frame for batch in batches)]).with_columns(pl.col(pl.String).fill_null(""))
    below = preamble.count("\n") + 1
    rows = enumerate(csv.reader(io.StringIO(text, newline=""), strict=True), start=1)
    assert frames.rows() == [
        (number, *cells) for number, cells in rows if number > below and any(cells) and number not in wrong
    ]


# --- preambles ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("preamble", "zone", "note", "row"),
    [
        ("", None, "-/-", 2),
        (PREAMBLE + "\n", "UTC+5:30", "123456/Main", 3),
        (PREAMBLE + ",,,,\r\n", "UTC+5:30", "123456/Main", 3),
        ("\ufeff" + PREAMBLE + "\n", "UTC+5:30", "123456/Main", 3),
        (
            "\ufeff\ufeffUID:123456,\ufeffAccount Type:Main,\ufeffTime Zone:UTC+5:30\n\ufeff",
            "UTC+5:30",
            "123456/Main",
            3,
        ),
        ('"UID:123456","Account Type:Main","Time Zone:UTC+5:30"\n', "UTC+5:30", "123456/Main", 3),
        ("UID : 123456, Account Type: Main , Time Zone: UTC+5:30\n", "UTC+5:30", "123456/Main", 3),
        ("UID:123456\nAccount Type:Main\n\nTime Zone:UTC+5:30\n\n", "UTC+5:30", "123456/Main", 7),
        ("UID,123456,Trading account,,,\n", None, "123456/Trading account", 3),
        ("\ufeffUID,\ufeff123456,Trading account,,,\n\ufeff", None, "123456/Trading account", 3),
        ("Time Zone:UTC\n", "UTC", "-/-", 3),
        ("\n\n", None, "-/-", 4),
    ],
)
def test_what_a_preamble_says_is_in_every_row(
    tmp_path: Path, preamble: str, zone: str | None, note: str, row: int
) -> None:
    rows = rows_of(put(tmp_path / "a.csv", preamble + HISTORY + HISTORY.splitlines()[1] + "\n"))
    assert rows.select("zone", "note", "row").rows() == [(zone, note, row), (zone, note, row + 1)]
    assert rows["fee"].to_list() == [0, 0]


def test_rows_below_a_preamble_are_counted_from_the_top_when_they_are_refused(tmp_path: Path) -> None:
    path = put(tmp_path / "a.csv", PREAMBLE + "\n" + HISTORY + '"1","2"\n"3",4,2025,x,"a\x02",,\n3,4,,x,y,word,BTC\n')
    assert [place[:2] for place in refused(path)] == [(4, None), (5, "Symbol"), (6, "Fee"), (6, "Time")]


# --- JSON ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a.json", "a.txt", "a", "a.csv", "a.json.gz", "a.gz"])
@pytest.mark.parametrize(
    "answer",
    [
        [BILL, BILL],
        {"code": "0", "data": [BILL, BILL], "msg": ""},
        {"rows": [BILL, BILL], "total": 2},
        {"assets": [BILL, BILL], "totalAssetOfBtc": "0"},
    ],
)
def test_a_document_is_known_by_its_content(tmp_path: Path, name: str, answer: object) -> None:
    content = json.dumps(answer, indent=1).encode()
    path = put(tmp_path / name, gzip.compress(content) if name.endswith("gz") else b"\xef\xbb\xbf" + content)
    assert rows_of(path).select("row", "row_id").rows() == [(1, "1"), (2, "1")]


@pytest.mark.parametrize("name", ["a.ndjson", "a.jsonl", "a.json", "a.txt", "a.csv"])
def test_lines_of_json_are_known_by_their_content(tmp_path: Path, name: str) -> None:
    path = put(tmp_path / name, "\ufeff" + json.dumps(BILL) + "\r\n\r\n" + json.dumps(BILL))
    assert rows_of(path)["row"].to_list() == [1, 3]


@pytest.mark.parametrize("suffix", ["json", "ndjson"])
def test_one_file_may_mix_layouts(tmp_path: Path, suffix: str) -> None:
    records = [BILL, TRADE, POSITION, BILL]
    text = json.dumps(records) if suffix == "json" else "\n".join(map(json.dumps, records))
    found = read(put(tmp_path / f"a.{suffix}", text))
    assert found.refusals.rows() == []
    assert [(part.feed.name, part.rows["row"].to_list()) for part in found.parts if part.feed] == [
        ("bills", [1, 4]),
        ("trades", [2]),
        ("positions", [3]),
    ]
    assert found.parts[1].rows["row_id"].to_list() == ["249817193"]
    assert [column.name for column in POSITIONS] == found.parts[2].rows.columns[:4]


def test_the_published_fills_are_two_layouts() -> None:
    fills = replace(BILLS_FEED, name="fills", known_by=(frozenset({"fillPx", "fillSz"}),))
    path = FIXTURES / "records" / "fills.json"
    found = read_files([path], (fills, TRADES_FEED), {}, path.parent)[0]
    assert [part.feed.name for part in found.parts if part.feed] == ["fills", "trades"]
    assert found.parts[1].rows["time"][0] == datetime(2022, 8, 24, 16, 4, 6, 275000, tzinfo=UTC)


def test_a_record_goes_to_the_layout_whose_columns_it_has_filled(tmp_path: Path) -> None:
    both = {**TRADE, "billId": "", "subType": None}
    found = read(put(tmp_path / "a.json", json.dumps([both, BILL, {**BILL, "subType": ""}])))
    assert [(part.feed.name, part.rows["row"].to_list()) for part in found.parts if part.feed] == [
        ("bills", [2, 3]),
        ("trades", [1]),
    ]


def test_what_is_nested_has_dotted_names(tmp_path: Path) -> None:
    deep = {**POSITION, "baseAsset": {"borrowed": 1.50, "asset": "BTC"}, "quoteAsset": {}}
    assert rows_of(put(tmp_path / "a.json", json.dumps([deep, POSITION])))["borrowed"].to_list() == [
        Decimal("1.5"),
        None,
    ]
    deeper = {**POSITION, "baseAsset": {"borrowed": {"a": 1}}}
    assert [place[:2] for place in refused(put(tmp_path / "b.json", json.dumps([deeper, deep])))] == [
        (1, "baseAsset.borrowed")
    ]


def test_no_records_are_no_mistake(tmp_path: Path) -> None:
    for text in ("[]", '{"code":"0","data":[]}'):
        found = read(put(tmp_path / "a.json", text))
        assert (found.parts, found.refusals.height) == ((), 0)


# --- a forced layout, several files -------------------------------------------------------------------------


def test_a_layout_can_be_forced(tmp_path: Path) -> None:
    path = put(tmp_path / "a.csv", table({"billId": "1", "ts": "1695033476167"}))
    assert "no known file" in str(refused(path)[0][3])
    assert rows_of(path, "bills")["row_id"].to_list() == ["1"]
    record = put(tmp_path / "a.json", json.dumps([{"billId": "1", "ts": "1695033476167"}, TRADE]))
    assert refused(record, "bills") == [
        (2, "ts", None, "Every row needs ts."),
        (2, "billId", None, "Every row needs billId."),
    ]
    assert refused(path, "trades") == [
        (None, "time", None, "The column is required."),
        (None, "id", None, "The column is required."),
    ]
    assert refused(path, "other")[0][3] == "There is no layout other."


def test_files_are_numbered_and_every_refusal_is_listed(tmp_path: Path) -> None:
    paths = [
        put(tmp_path / "a.csv", table({**BILL, "fee": "x"}, BILL)),
        tmp_path / "absent.csv",
        put(tmp_path / "c.json", json.dumps([{**BILL, "sz": "x"}, POSITION, {"a": "b"}, {**POSITION, "upl": "y"}])),
    ]
    told: list[tuple[str, int, int]] = []
    found = read_files(paths, FEEDS, {}, tmp_path, None, lambda *said: told.append(said))
    assert [file.number for file in found] == [1, 2, 3]
    assert [file.path for file in found] == paths
    assert [part.rows["input"].to_list() for file in found for part in file.parts] == [[1], [], [3]]
    places = [row for file in found for row in file.refusals.select("file", "row", "column").rows()]
    assert places == [
        (str(paths[0]), 2, "fee"),
        (str(paths[1]), None, None),
        (str(paths[2]), 1, "sz"),
        (str(paths[2]), 3, None),
        (str(paths[2]), 4, "upl"),
    ]
    assert told == [("Reading", 1, 0), ("Reading", 1, 0), ("Reading", 2, 0)]


def test_rules_are_those_of_the_columns_that_a_layout_gives(tmp_path: Path) -> None:
    rule = Rule("currency", "Only ETH.", "Change it.", pl.col("currency") == "ETH")
    path = put(tmp_path / "a.csv", table(BILL))
    found = read(path, rules={"only_eth": rule})
    assert found.refusals.rows() == [(str(path), 2, "ccy", "BTC", "Only ETH.", "Change it.")]


# --- broken input -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", EXPECTED, ids=lambda case: case["file"])
def test_a_broken_file_is_refused_where_it_is_broken(case: dict[str, str], tmp_path: Path) -> None:
    path = BROKEN / case["file"]
    found = read_files([path], FEEDS, {}, tmp_path)[0]
    assert list(tmp_path.iterdir()) == []
    assert found.refusals.schema == REFUSAL_SCHEMA
    assert found.refusals.height == 1, found.refusals.rows()
    refusal = found.refusals.row(0, named=True)
    assert refusal["file"] == str(path)
    assert (refusal["column"] or "") == case["column"]
    assert str(refusal["row"] or "") == case["row"]
    assert case["fragment"] in refusal["rule"]
    assert refusal["remedy"]
    assert str(tmp_path) not in refusal["rule"]
    assert found.refusals.write_csv()


def test_the_index_names_every_broken_file_and_the_script_writes_them(tmp_path: Path) -> None:
    files = {path.name for path in BROKEN.iterdir() if path.is_file()} - {"README.md", "make.py", "expected.csv"}
    assert {case["file"] for case in EXPECTED} == files
    (tmp_path / "make.py").write_bytes((BROKEN / "make.py").read_bytes())
    subprocess.run([sys.executable, tmp_path / "make.py"], check=True)
    for name in (*files, "expected.csv"):
        if not name.endswith((".gz", ".zip", ".xlsx")):  # what is packed depends on the version of the packer
            assert (tmp_path / name).read_bytes() == (BROKEN / name).read_bytes()


@pytest.mark.parametrize("column", ["ordId", "tag"])
@pytest.mark.parametrize("quotes", [False, True])
def test_ten_megabytes_in_a_cell_are_refused(tmp_path: Path, column: str, quotes: bool) -> None:
    for cell in ("x" * 10_000_000, "a,b\n" * 2_500_000) if quotes else ("x" * 10_000_000,):
        path = put(tmp_path / "a.csv", table(BILL, {**BILL, column: cell}, quotes=quotes))
        [(row, name, value, rule)] = refused(path)
        assert (row, name, rule) == (3, column, "A cell has at most 64 KiB.")
        assert len(str(value)) < 100


def test_ten_megabytes_in_a_text_of_json_are_refused(tmp_path: Path) -> None:
    for suffix, lines in (("json", False), ("ndjson", True)):
        records = [BILL, {**BILL, "tag": "x" * 10_000_000}]
        text = "\n".join(map(json.dumps, records)) if lines else json.dumps(records)
        assert [place[:2] for place in refused(put(tmp_path / f"a.{suffix}", text))] == [(2, "tag")]


def test_odd_texts_of_parquet_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pl.DataFrame([BILL, {**BILL, "ordId": "a\x00"}, {**BILL, "ccy": "x" * 70_000}]).write_parquet(path)
    assert [place[:2] for place in refused(path)] == [(2, "ordId"), (3, "ccy")]


def test_a_header_without_end_is_refused(tmp_path: Path) -> None:
    assert "header does not end" in str(refused(put(tmp_path / "a.csv", "x" * 3_000_000))[0][3])


def test_a_file_of_many_columns_is_read(tmp_path: Path) -> None:
    wide = BILL | {f"c{number}": "" for number in range(5_000)}
    assert rows_of(put(tmp_path / "a.csv", table(wide, wide))).height == 2
    text = table(wide, wide) + "1,2\n"
    assert [place[:2] for place in refused(put(tmp_path / "b.csv", text))] == [(4, None)]


def test_a_misspelt_column_is_named_in_the_remedy(tmp_path: Path) -> None:
    found = read(put(tmp_path / "a.csv", table(BILL).replace("subType", "subtipe")))
    assert "nearest to bills, but lacks subType" in found.refusals["remedy"][0]


@pytest.mark.parametrize("name", ["bills.csv", "bills.json"])
def test_a_file_cut_off_anywhere_never_raises(tmp_path: Path, name: str) -> None:
    content = (
        table(BILL, BILL, quotes=True) if name.endswith("csv") else json.dumps({"code": "0", "data": [BILL, BILL]})
    )
    for cut in range(1, len(content), 3):
        found = read(put(tmp_path / name, content[:cut]))
        assert found.refusals.height or found.parts[0].rows.height <= 2
