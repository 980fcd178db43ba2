"""Good files of every format give the same typed events; every broken file is refused with its own words."""

import csv
import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest

from ledger.cells import Reason, judge_amount
from ledger.columns import EVENTS, KINDS, MARKS, schema
from ledger.events import PAIR_FEE_RULES, REQUIRED, RULES, Events, PairFeeEvents
from ledger.marks import read_marks
from ledger.money import MONEY
from ledger.policies import Policies
from ledger.reading import EVENTS_SCHEMA, Batch, read_batches
from ledger.refusals import REFUSAL_SCHEMA, BadInput

BROKEN = Path(__file__).parents[1] / "fixtures" / "bad_input"
EXPECTED = list(csv.DictReader((BROKEN / "expected.csv").read_text(encoding="utf-8").splitlines()))
READING = [case for case in EXPECTED if case["stage"] == "reading"]

NAMES = [column.name for column in EVENTS]


def record(time: str, event_id: str, kind: str, **cells: str) -> dict[str, str]:
    position = {"account": "main", "instrument": "BTC-USDT", "mode": "new", "margin_currency": "USDT"}
    given = {"time": time, "event_id": event_id, "kind": kind, **position, **cells}
    return {name: given.get(name, "") for name in NAMES}


FILL = {"side": "buy", "quantity": "1.50", "price": "60000", "fee": "-0.00000000", "leverage": "10"}
SALE = {"side": "sell", "quantity": "1e-7", "price": "5E3", "fee": "0E-8", "leverage": "3.5"}
LAST = {
    "side": "sell",
    "quantity": "12345678901234567",
    "price": "0.000000000000000001",
    "fee_currency": "USDC",
}
ETHER = {"instrument": "ETH-BTC", "mode": "old", "margin_currency": "base", "account": "sub-account"}
OPENING = {"side": "buy", "quantity": "2", "price": "500.25", "value": "1000.5", "amount": "0"}
PAID, TAKEN = "20000966.0227737993648251", "-20000966.0227737993648251"
RECORDS = [
    record(
        "2024-05-01T12:00:00Z",
        "a1",
        "fill",
        **{**FILL, "margin_currency": "quote"},
        reduce_only="TRUE",
        amount="9000",
        currency="USDT",
    ),
    record("2024-05-01T12:00:00.123Z", "a 2", "fill", **SALE, **ETHER, fee_currency="ETH", reduce_only="FALSE"),
    record(
        "2024-05-01 12:00:01.000001Z",
        "a3",
        "interest",
        fee="0",
        reduce_only="0",
        amount=PAID,
        currency="USDT",
    ),
    record("2024-05-01T12:00:02Z", "=a4", "margin", account="münchen", amount=TAKEN),
    record("2024-05-01T12:00:03+00:00", "a5", "leverage", leverage="20"),
    record(
        "2024-05-01T12:00:04Z",
        "a6",
        "liquidation",
        **LAST,
        instrument="1INCH-USDT",
        margin_currency="1INCH",
        fee="-0.000000000000000001",
        reduce_only="1",
    ),
    record("2024-05-01T12:00:05Z", "a7", "opening", **{**OPENING, "value": "-1000.5"}, leverage="5"),
    record("2024-05-01T12:00:06Z", "a8", "adjustment", amount="-1e-8", currency="BTC", reason="=ROUNDING 1"),
]


def read(path: Path, *policies: str, batch_rows: int = 1_000_000) -> Batch:
    """All batches of a file as one."""
    batches = list(read_batches(path, 7, Policies.parse(list(policies)), batch_rows))
    return Batch(
        pl.concat([batch.events for batch in batches]),
        pl.concat([batch.refusals for batch in batches]),
        sum(batch.rows for batch in batches),
    )


def write_csv(path: Path, names: list[str] = NAMES, end: str = "\n", quotes: int = csv.QUOTE_MINIMAL) -> Path:
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator=end, quoting=quotes)
        writer.writerows([names, *([record[name] for name in names] for record in RECORDS)])
    return path


@pytest.fixture
def events(tmp_path: Path) -> pl.DataFrame:
    batch = read(write_csv(tmp_path / "events.csv"))
    assert batch.refusals.rows() == []
    assert batch.rows == len(RECORDS)
    return batch.events


# --- good input ---------------------------------------------------------------------------------------------


def test_a_csv_file_becomes_typed_events(events: pl.DataFrame) -> None:
    assert events.schema == EVENTS_SCHEMA
    assert events["row"].to_list() == [2, 3, 4, 5, 6, 7, 8, 9]
    assert events["input"].unique().to_list() == [7]
    assert events["margin_currency"].to_list() == ["USDT", "ETH", "USDT", "USDT", "USDT", "1INCH", "USDT", "USDT"]
    assert events["reduce_only"].to_list() == [True, False, False, False, False, True, False, False]
    assert events["quantity"][:2].to_list() == [Decimal("1.5"), Decimal("1e-7")]
    assert events["price"].to_list()[:2] == [60000, 5000]
    assert events["fee"].to_list() == [0, 0, 0, None, None, Decimal("-1e-18"), None, None]
    assert events["amount"].to_list()[2:4] == [
        Decimal("20000966.0227737993648251"),
        Decimal("-20000966.0227737993648251"),
    ]
    assert events["time"].to_list()[1:3] == [
        datetime(2024, 5, 1, 12, 0, 0, 123000, tzinfo=UTC),
        datetime(2024, 5, 1, 12, 0, 1, 1, tzinfo=UTC),
    ]


@pytest.mark.parametrize("batch_rows", [1, 2, 1_000_000])
def test_batches_add_up_to_the_file(events: pl.DataFrame, tmp_path: Path, batch_rows: int) -> None:
    path = write_csv(tmp_path / "events.csv")
    assert read(path, batch_rows=batch_rows).events.equals(events)
    assert max(batch.rows for batch in read_batches(path, 7, Policies(), batch_rows)) <= batch_rows


def test_what_spreadsheet_programs_write_is_read(events: pl.DataFrame, tmp_path: Path) -> None:
    path = write_csv(tmp_path / "EVENTS.CSV", end="\r\n", quotes=csv.QUOTE_ALL)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert read(path).events.equals(events)


def test_columns_come_in_any_order_and_optional_ones_may_be_absent(events: pl.DataFrame, tmp_path: Path) -> None:
    assert read(write_csv(tmp_path / "turned.csv", NAMES[::-1])).events.equals(events)
    path = tmp_path / "few.csv"
    path.write_text(",".join(REQUIRED) + "\n2024-05-01T12:00:00Z,a,main,BTC-USDT,new,base,fill\n", encoding="utf-8")
    assert set(read(path).refusals["column"]) == {"side", "quantity", "price"}


def test_blank_lines_count_as_rows_but_are_skipped(events: pl.DataFrame, tmp_path: Path) -> None:
    path = write_csv(tmp_path / "events.csv")
    path.write_text(path.read_text(encoding="utf-8").replace("\n", "\n\n"), encoding="utf-8")
    batch = read(path)
    assert batch.events.drop("row").equals(events.drop("row"))
    assert batch.events["row"].to_list() == list(range(3, 18, 2))


def test_a_cell_with_a_comma_is_one_cell(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "events.csv")
    path.write_text(path.read_text(encoding="utf-8").replace("sub-account", '"sub,account"'), encoding="utf-8")
    assert read(path).events["account"][1] == "sub,account"


def test_a_comma_in_quotes_does_not_make_up_for_a_missing_cell(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "events.csv")
    text = path.read_text(encoding="utf-8").replace("sub-account,ETH-BTC", '"sub,account"')
    path.write_text(text, encoding="utf-8")
    assert read(path).refusals.select("row", "value").rows() == [(3, "17 cells for 18")]


@pytest.mark.parametrize("suffix", ["ndjson", "jsonl"])
def test_ndjson_gives_the_same_events(events: pl.DataFrame, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"events.{suffix}"
    path.write_text("\n".join(json.dumps(record) for record in RECORDS), encoding="utf-8")
    batch = read(path)
    assert batch.events.drop("row").equals(events.drop("row"))
    assert batch.events["row"].to_list() == list(range(1, 9))


def test_numbers_and_flags_of_json_keep_their_digits(tmp_path: Path) -> None:
    record = {**RECORDS[0], "time": "EPOCH", "quantity": "Q", "reduce_only": True, "amount": None, "fee": "F"}
    text = json.dumps(record).replace('"EPOCH"', "1714564800123").replace('"F"', "-0.0")
    path = tmp_path / "events.ndjson"
    path.write_text(text.replace('"Q"', "10000966.0227737993648251"), encoding="utf-8")
    event = read(path).events.row(0, named=True)
    assert event["quantity"] == Decimal("10000966.0227737993648251")
    assert event["time"] == datetime(2024, 5, 1, 12, 0, 0, 123000, tzinfo=UTC)
    assert event["reduce_only"] is True


def as_parquet(events: pl.DataFrame, path: Path, **columns: pl.Expr) -> Path:
    events.drop("input", "row").with_columns(**columns).write_parquet(path)
    return path


@pytest.mark.parametrize(
    "columns",
    [
        {},
        {"time": pl.col("time").dt.convert_time_zone("Asia/Shanghai")},
        {"time": pl.col("time").cast(pl.Datetime("ns", "UTC"))},
        {"quantity": pl.col("quantity").cast(pl.String), "amount": pl.col("amount").cast(pl.String)},
        {
            "leverage": pl.col("leverage").cast(pl.Decimal(20, 1)),
            "reduce_only": pl.col("reduce_only").cast(pl.Int8),
        },
        {"mode": pl.col("mode").cast(pl.String), "account": pl.col("account").cast(pl.Categorical)},
    ],
)
def test_parquet_gives_the_same_events(events: pl.DataFrame, tmp_path: Path, columns: dict[str, pl.Expr]) -> None:
    batch = read(as_parquet(events, tmp_path / "events.parquet", **columns), batch_rows=4)
    assert batch.events.drop("row").equals(events.drop("row"))
    assert batch.events["row"].to_list() == list(range(1, 9))


def test_parquet_times_may_be_epoch_milliseconds(events: pl.DataFrame, tmp_path: Path) -> None:
    path = as_parquet(events, tmp_path / "events.parquet", time=pl.col("time").dt.epoch("ms"))
    assert read(path).events["time"].to_list() == events["time"].dt.truncate("1ms").to_list()


def test_times_with_an_offset_are_converted(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "events.csv")
    text = path.read_text(encoding="utf-8").replace("+00:00", "Z").replace("Z,", "+08:00,")
    path.write_text(text, encoding="utf-8")
    assert read(path).events["time"][0] == datetime(2024, 5, 1, 4, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("0E-8", "0"),
        ("0e400", "0"),
        ("-0", "0"),
        ("1e-18", "0.000000000000000001"),
        ("1.5E3", "1500"),
        ("100000000000000000000e-18", "100"),
        ("0.1000000000000000000000", "0.1"),
        ("00000000000000000000001", "1"),
        (".5", "0.5"),
        ("5.", "5"),
        ("-99999999999999999.999999999999999999", "-99999999999999999.999999999999999999"),
    ],
)
def test_amounts_that_are_exact_are_taken(text: str, amount: str, tmp_path: Path) -> None:
    verdict = judge_amount(text)
    assert verdict == Decimal(amount)
    path = write_csv(tmp_path / "events.csv")
    path.write_text(path.read_text(encoding="utf-8").replace("-20000966.0227737993648251", text), encoding="utf-8")
    assert read(path).events["amount"][3] == Decimal(amount)


@pytest.mark.parametrize("text", ["1e-19", "1e17", "1e999999999999", "+1", "1_000", "١", "1e", "-", ".", "1\n", "--1"])
def test_amounts_that_are_not_exact_are_refused(text: str) -> None:
    assert isinstance(judge_amount(text), Reason)


# --- broken input -------------------------------------------------------------------------------------------


def refusals_of(case: dict[str, str]) -> pl.DataFrame:
    if not case["file"].startswith("marks_"):
        return read(BROKEN / case["file"], *case["policy"].split()).refusals
    with pytest.raises(BadInput) as caught:
        read_marks(BROKEN / case["file"])
    return caught.value.refusals


@pytest.mark.parametrize("case", READING, ids=lambda case: case["file"])
def test_a_broken_file_is_refused_where_it_is_broken(case: dict[str, str]) -> None:
    refusals = refusals_of(case)
    assert refusals.schema == REFUSAL_SCHEMA
    assert refusals.height == 1, refusals.rows()
    refusal = refusals.row(0, named=True)
    assert refusal["file"] == str(BROKEN / case["file"])
    assert (refusal["column"] or "") == case["column"]
    assert str(refusal["row"] or "") == case["row"]
    assert case["fragment"] in refusal["rule"]
    assert refusal["remedy"]


def test_every_broken_file_has_words_of_its_own() -> None:
    words = [refusals_of(case).select("column", "value", "rule").row(0) for case in READING]
    assert len(set(words)) == len(words)


def test_the_index_names_every_broken_file() -> None:
    files = {path.name for path in BROKEN.iterdir() if path.is_file()}
    assert {case["file"] for case in EXPECTED} == files - {"README.md", "make.py", "expected.csv"}
    assert len(EXPECTED) >= 45


@pytest.mark.parametrize(
    "case", [case for case in EXPECTED if case["stage"] == "replay"], ids=lambda case: case["file"]
)
def test_what_only_the_replay_refuses_is_good_row_by_row(case: dict[str, str]) -> None:
    batch = read(BROKEN / case["file"], *case["policy"].split())
    assert batch.refusals.rows() == []
    assert batch.events.height == batch.rows > 0


def test_all_mistakes_are_listed_each_once(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "events.csv")
    text = path.read_text(encoding="utf-8")
    text = text.replace("1.50,60000", "x,-1").replace("ETH-BTC,old", "ETHBTC,").replace("interest", "rent") + "a,b\n"
    path.write_text(text, encoding="utf-8")
    batch = read(path)
    assert batch.refusals.select("row", "column").rows() == [
        (2, "quantity"),
        (2, "price"),
        (3, "mode"),
        (3, "instrument"),
        (4, "kind"),
        (10, None),
    ]
    assert batch.events["row"].to_list() == [5, 6, 7, 8, 9]
    assert batch.rows == 9


def test_all_columns_of_a_wrong_header_are_listed(tmp_path: Path) -> None:
    path = tmp_path / "events.csv"
    path.write_text("time,fees,fees,side,side\n", encoding="utf-8")
    columns = read(path).refusals["column"].to_list()
    assert columns == ["fees", "side", *REQUIRED[1:]]


@pytest.mark.parametrize("name", ["absent.csv", "folder.csv", "absent.xlsx"])
def test_what_is_no_file_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder.csv").mkdir()
    assert read(tmp_path / name).refusals.height == 1


def test_a_file_name_is_no_pattern(events: pl.DataFrame, tmp_path: Path) -> None:
    assert read(as_parquet(events, tmp_path / "e[1]*.parquet")).rows == len(RECORDS)
    assert read(write_csv(tmp_path / "e[1]*.csv")).events.equals(events)


def test_a_damaged_parquet_file_never_raises(events: pl.DataFrame, tmp_path: Path) -> None:
    content = as_parquet(events, tmp_path / "good.parquet").read_bytes()
    path = tmp_path / "bad.parquet"
    for cut in range(0, len(content), 97):
        path.write_bytes(content[:cut])
        assert read(path).refusals.height == 1


def test_zones_are_compared_over_all_batches(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "events.csv")
    path.write_text(path.read_text(encoding="utf-8").replace("+00:00", "+01:00"), encoding="utf-8")
    assert read(path, batch_rows=2).refusals.select("row", "column").rows() == [(6, "time")]


# --- the schema ---------------------------------------------------------------------------------------------


def test_the_schema_agrees_with_the_registry_of_columns() -> None:
    assert Events.create_empty().schema == schema(EVENTS)
    nullable = {name for name, column in Events.columns().items() if column.nullable}
    assert nullable == {column.name for column in EVENTS} - {*REQUIRED, "reduce_only"}


def test_every_rule_blames_a_column_that_it_reads() -> None:
    for rule in (*RULES.values(), *PAIR_FEE_RULES.values()):
        assert rule.column in rule.reads
        assert rule.reads <= set(NAMES)


# One row that breaks each rule, as changes to a good event; a rule without such a row fails the test below.
BREAKS: dict[str, tuple[int, dict[str, object]]] = {
    "time_is_plausible": (0, {"time": datetime(2008, 12, 31, tzinfo=UTC)}),
    "event_id_is_plain": (0, {"event_id": "a\u200b"}),
    "account_is_plain": (0, {"account": " main"}),
    "instrument_is_a_pair": (0, {"instrument": "btc-USDT"}),
    "pair_has_two_currencies": (0, {"instrument": "USDT-USDT"}),
    "margin_currency_is_in_pair": (1, {"margin_currency": "TH"}),
    "quantity_is_bounded": (0, {"quantity": Decimal("1e17")}),
    "price_is_bounded": (0, {"price": Decimal("1e17")}),
    "fee_is_bounded": (0, {"fee": Decimal("-1e17"), "fee_currency": "X"}),
    "leverage_is_bounded": (0, {"leverage": Decimal("1e17")}),
    "amount_is_bounded": (3, {"amount": Decimal("-1e17")}),
    "quantity_is_positive": (0, {"quantity": Decimal(0)}),
    "price_is_positive": (0, {"price": Decimal(-1)}),
    "leverage_is_at_least_one": (4, {"leverage": Decimal(0)}),
    "fee_currency_is_a_code": (1, {"fee_currency": "eth"}),
    "currency_is_a_code": (3, {"currency": "USD$"}),
    "side_is_needed": (5, {"side": None}),
    "quantity_is_needed": (0, {"quantity": None}),
    "price_is_needed": (5, {"price": None}),
    "leverage_is_needed": (4, {"leverage": None}),
    "amount_is_needed": (3, {"amount": None}),
    "currency_is_needed": (2, {"currency": None}),
    "side_is_unused": (2, {"side": "buy"}),
    "quantity_is_unused": (3, {"quantity": Decimal(1)}),
    "price_is_unused": (4, {"price": Decimal(1)}),
    "fee_is_unused": (2, {"fee": Decimal(1)}),
    "fee_currency_is_unused": (3, {"fee_currency": "USDT"}),
    "leverage_is_unused": (5, {"leverage": Decimal(5)}),
    "reduce_only_is_unused": (4, {"reduce_only": True}),
    "value_is_bounded": (0, {"quantity": Decimal("1e13"), "price": Decimal("1e4")}),
    "value_is_not_zero": (0, {"quantity": Decimal("5e-10"), "price": Decimal("1e-9")}),
    "fee_has_currency": (5, {"fee_currency": None}),
    "fee_is_below_fill": (1, {"fee": Decimal("-0.0005"), "fee_currency": "BTC"}),
    "amount_is_not_negative": (0, {"amount": Decimal(-1)}),
    "interest_is_in_pair": (2, {"currency": "SDT"}),
    "amount_is_in_margin_currency": (0, {"currency": "BTC"}),
    "fee_is_in_pair": (5, {}),
    "value_is_positive": (0, {"value": Decimal(0)}),
    "value_is_needed": (6, {"value": None}),
    "reason_is_needed": (7, {"reason": None}),
    "reason_is_plain": (0, {"reason": "a\tb"}),
    "value_is_unused": (3, {"value": Decimal(1)}),
    "booked_value_is_bounded": (0, {"value": Decimal("1e17")}),
}


@pytest.mark.parametrize("name", [*RULES, *PAIR_FEE_RULES])
def test_every_rule_refuses_a_row_that_breaks_it_alone(events: pl.DataFrame, name: str) -> None:
    row, changes = BREAKS[name]
    good = events.drop("input", "row")[row]
    bad = good.with_columns(pl.lit(value, dtype=good.schema[column]).alias(column) for column, value in changes.items())
    model = PairFeeEvents if name in PAIR_FEE_RULES else Events
    _, failure = model.filter(bad)
    assert name in failure.counts()
    if name not in PAIR_FEE_RULES:
        assert Events.is_valid(good)


def test_the_largest_and_smallest_values_are_good(events: pl.DataFrame) -> None:
    largest, smallest = Decimal("99999999999999999.999999999999999999"), Decimal("0.000000000000000001")
    good = events.drop("input", "row")[[0]]
    for quantity, price in (
        (largest, 1),
        (1, largest),
        (largest, smallest),
        (smallest, largest),
        (smallest, 1),
    ):
        row = good.with_columns(
            quantity=pl.lit(quantity, dtype=MONEY),
            price=pl.lit(price, dtype=MONEY),
            fee=pl.lit(0, dtype=MONEY),
        )
        assert Events.is_valid(row)
    assert not Events.is_valid(
        good.with_columns(quantity=pl.lit(largest, dtype=MONEY), price=pl.lit(largest, dtype=MONEY))
    )


def test_the_largest_negative_values_are_refused_without_overflow(events: pl.DataFrame) -> None:
    good, huge = events.drop("input", "row")[[0]], Decimal("99999999999999999999")
    for quantity, price in ((-huge, huge), (huge, -huge), (-huge, -huge), (huge, huge)):
        row = good.with_columns(quantity=pl.lit(quantity, dtype=MONEY), price=pl.lit(price, dtype=MONEY))
        assert not Events.is_valid(row)


def test_every_kind_is_among_the_good_rows(events: pl.DataFrame) -> None:
    assert set(events["kind"]) == set(KINDS)


# --- marks --------------------------------------------------------------------------------------------------


def test_marks_are_read_from_every_format(tmp_path: Path) -> None:
    text = "instrument,mark_price,maintenance_rate\nBTC-USDT,29000.10,0.04\nETH-BTC,0E0,\n".replace("0E0", "5E-2")
    (tmp_path / "marks.csv").write_text(text, encoding="utf-8")
    marks = read_marks(tmp_path / "marks.csv")
    assert marks.schema == schema(MARKS)
    assert marks.rows() == [
        ("BTC-USDT", None, Decimal("29000.1"), Decimal("0.04"), None),
        ("ETH-BTC", None, Decimal("0.05"), None, None),
    ]
    marks.write_parquet(tmp_path / "marks.parquet")
    assert read_marks(tmp_path / "marks.parquet").equals(marks)
    lines = '{"instrument":"BTC-USDT","mark_price":29000.10,"maintenance_rate":0.04}\n'
    lines += '{"instrument":"ETH-BTC","mark_price":5E-2}'
    (tmp_path / "marks.ndjson").write_text(lines, encoding="utf-8")
    assert read_marks(tmp_path / "marks.ndjson").equals(marks)


def test_an_instrument_has_marks_at_several_times(tmp_path: Path) -> None:
    text = "time,instrument,mark_price\n2024-05-01T12:00:00Z,A-B,1\n2024-05-01T13:00:00Z,A-B,2\n"
    (tmp_path / "marks.csv").write_text(text, encoding="utf-8")
    assert read_marks(tmp_path / "marks.csv")["mark_price"].to_list() == [1, 2]


def test_all_wrong_marks_are_listed(tmp_path: Path) -> None:
    text = "time,instrument,mark_price,liquidation_fee_rate\n,A-B,-1,1\n,ab,x,\n,A-B,2,\n,,3,\n"
    (tmp_path / "marks.csv").write_text(text, encoding="utf-8")
    with pytest.raises(BadInput) as caught:
        read_marks(tmp_path / "marks.csv")
    assert caught.value.refusals.select("row", "column").rows() == [
        (2, "mark_price"),
        (2, "liquidation_fee_rate"),
        (3, "mark_price"),
        (3, "instrument"),
        (4, "instrument"),
        (5, "instrument"),
    ]


def test_marks_that_are_no_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput):
        read_marks(tmp_path / "absent.csv")
