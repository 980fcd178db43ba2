"""Tiers files of every layout come out right to the last digit."""

import csv
import gzip
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from ledger.risk.tiers import TIERS_SCHEMA
from ledger.risk.tiers_file import read_tiers

SAMPLE = Path(__file__).parents[1] / "fixtures" / "records" / "tiers.json"
FIGURES = ("largest_base_loan", "largest_quote_loan", "maintenance_rate", "minimum_initial_rate", "maximum_leverage")
CHANGE = datetime(2023, 6, 8, 8, tzinfo=UTC)


Cells = Mapping[str, Any]

ANSWER: Cells = {
    "baseMaxLoan": "50",
    "imr": "0.1",
    "instId": "BTC-USDT",
    "maxLever": "10",
    "maxSz": "50",
    "minSz": "0",
    "mmr": "0.03",
    "optMgnFactor": "0",
    "quoteMaxLoan": "500000",
    "tier": "1",
    "uly": "",
    "instFamily": "",
}
OWN: Cells = {
    "instrument": "BTC-USDT",
    "valid_from": "2024-05-01T00:00:00Z",
    "tier": "1",
    "largest_base_loan": "25",
    "largest_quote_loan": "500000",
    "maintenance_rate": "3%",
    "minimum_initial_rate": "10%",
    "maximum_leverage": "10",
}
SECOND: Cells = {
    **OWN,
    "tier": "2",
    "largest_base_loan": "50",
    "largest_quote_loan": "1000000",
    "maintenance_rate": "0.04",
    "minimum_initial_rate": "0.125",
    "maximum_leverage": "8",
}
OPEN: Cells = {
    **OWN,
    "tier": "3+",
    "largest_base_loan": "+25 per tier",
    "largest_quote_loan": "+500000",
    "maintenance_rate": "+20%",
    "minimum_initial_rate": "+0.2",
    "maximum_leverage": "1/imr",
}
ROWS = [[1, 25, 500000, "3%", "10%", "10"], [2, 50, 1000000, "4%", "11%", "9.09"]]
SOURCE = "https://example.com/tiers-2023-10-27"


def write(path: Path, *rows: Cells) -> Path:
    """Rows in the format of the file's name."""
    if path.suffix == ".csv":
        with path.open("w", encoding="utf-8", newline="") as stream:
            writer = csv.DictWriter(stream, list(dict.fromkeys(name for row in rows for name in row)))
            writer.writeheader()
            writer.writerows(rows)
    elif path.suffix == ".ndjson":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    else:
        path.write_text(json.dumps(rows), encoding="utf-8")
    return path


def figures(tiers: pl.DataFrame, instrument: str, since: datetime | None, tier: int) -> tuple[Any, ...]:
    (found,) = (
        row
        for row in tiers.rows(named=True)
        if (row["instrument"], row["valid_from"], row["tier"]) == (instrument, since, tier)
    )
    return tuple(found[name] for name in FIGURES)


def amounts(*texts: str) -> tuple[Decimal, ...]:
    return tuple(map(Decimal, texts))


# --- good files -----------------------------------------------------------------------------------------------


def test_the_published_tables_are_read_whole() -> None:
    tiers = read_tiers(SAMPLE)
    assert tiers.schema == TIERS_SCHEMA
    tables = tiers.group_by("instrument", "valid_from", maintain_order=True).agg(pl.col("tier").max(), rows=pl.len())
    assert tables.filter(pl.col("tier") != pl.col("rows")).is_empty()
    assert tables.drop("rows").rows() == [
        ("AAVE-USDT", datetime(2023, 10, 27, tzinfo=UTC), 53),
        ("BERA-USDT", datetime(2025, 9, 30, tzinfo=UTC), 91),
        ("BTC-USDC", None, 53),
        ("BTC-USDC", datetime(2023, 7, 31, tzinfo=UTC), 83),
        ("BTC-USDT", None, 91),
        ("BTC-USDT", CHANGE, 83),
        ("ETH-BTC", None, 1),
        ("ETH-USDT", None, 91),
        ("ETH-USDT", CHANGE, 83),
    ]
    assert tiers["stated_by"].null_count() == 0


@pytest.mark.parametrize(
    ("instrument", "since", "tier", "expected"),
    [
        ("BTC-USDT", None, 1, ("25", "500000", "0.03", "0.1", "10")),
        ("BTC-USDT", None, 3, ("75", "1500000", "0.05", "0.12", "8.33")),
        ("BTC-USDT", None, 4, ("100", "2000000", "0.06", "0.13", "7.69")),
        ("BTC-USDT", None, 91, ("2275", "45500000", "0.93", "1", "1")),
        ("BTC-USDT", CHANGE, 2, ("70", "2000000", "0.0625", "0.125", "8")),
        ("BTC-USDT", CHANGE, 4, ("140", "4000000", "0.11", "0.21", "4.76")),
        ("BTC-USDT", CHANGE, 83, ("2905", "83000000", "0.9", "1", "1")),
        ("AAVE-USDT", datetime(2023, 10, 27, tzinfo=UTC), 4, ("320", "25000", "0.06", "0.51", "1.96")),
        ("BERA-USDT", datetime(2025, 9, 30, tzinfo=UTC), 91, ("557600", "1619000", "0.93", "1", "1")),
        ("ETH-BTC", None, 1, ("125", "5", "0.03", "0.1", "10")),
    ],
)
def test_published_tiers_have_their_figures(
    instrument: str, since: datetime | None, tier: int, expected: Sequence[str]
) -> None:
    assert figures(read_tiers(SAMPLE), instrument, since, tier) == amounts(*expected)


def test_the_answer_of_the_exchange_is_read(tmp_path: Path) -> None:
    path = tmp_path / "tiers.json"
    swap = {**ANSWER, "instId": "", "instFamily": "BTC-USDT", "baseMaxLoan": "", "quoteMaxLoan": "", "maxSz": "5000"}
    path.write_text(json.dumps({"code": "0", "data": [swap, ANSWER], "msg": ""}), encoding="utf-8")
    loan, size = read_tiers(path).rows(named=True)
    assert tuple(loan.values()) == (
        *("BTC-USDT", None, 1),
        *amounts("0", "50", "50", "500000", "0.03", "0.1", "10"),
        "OKX position tiers",
    )
    assert (size["instrument"], size["largest_base_loan"], size["largest_size"]) == ("BTC-USDT", None, 5000)
    (late,) = read_tiers(write(path, {**ANSWER, "ts": "1714564800000"}))["valid_from"].to_list()
    assert late == datetime(2024, 5, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize("name", ["tiers.csv", "tiers.ndjson", "tiers.json", "tiers.parquet", "tiers.csv.gz"])
def test_tables_of_our_own_are_read_in_any_order_and_format(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    plain = write(tmp_path / "plain.csv", OPEN, SECOND, OWN)
    if path.suffix == ".parquet":
        pl.read_csv(plain, infer_schema=False).with_columns(
            pl.col("valid_from").str.to_datetime(time_unit="us", time_zone="UTC")
        ).write_parquet(path)
    elif path.suffix == ".gz":
        path.write_bytes(gzip.compress(plain.read_bytes()))
    else:
        write(path, OPEN, SECOND, OWN)
    tiers = read_tiers(path)
    assert tiers["valid_from"].unique().to_list() == [datetime(2024, 5, 1, tzinfo=UTC)]
    assert tiers.select("tier", *FIGURES).rows() == [
        (1, *amounts("25", "500000", "0.03", "0.1", "10")),
        (2, *amounts("50", "1000000", "0.04", "0.125", "8")),
        (3, *amounts("75", "1500000", "0.24", "0.325", "3.07")),
        (4, *amounts("100", "2000000", "0.44", "0.525", "1.9")),
        (5, *amounts("125", "2500000", "0.64", "0.725", "1.37")),
        (6, *amounts("150", "3000000", "0.84", "0.925", "1.08")),
    ]


def test_a_frame_that_was_written_is_read_again(tmp_path: Path) -> None:
    tiers = read_tiers(SAMPLE)
    tiers.write_parquet(tmp_path / "tiers.parquet")
    tiers.write_csv(tmp_path / "tiers.csv", datetime_format="%Y-%m-%dT%H:%M:%S%.6fZ")
    assert read_tiers(tmp_path / "tiers.parquet").equals(tiers)
    assert read_tiers(tmp_path / "tiers.csv").equals(tiers)


def test_the_later_of_two_statements_counts_wholly(tmp_path: Path) -> None:
    first = {"source": SOURCE, "BTC-USDT_before": ROWS}
    (only,) = read_tiers(write(tmp_path / "a.json", first, {"source": "answer", "record": [ANSWER]})).rows(named=True)
    assert (only["tier"], only["largest_base_loan"], only["stated_by"]) == (1, 50, "answer")
    both = read_tiers(write(tmp_path / "b.json", ANSWER, first))
    assert both.select("tier", "largest_base_loan", "largest_size").rows() == [(1, 25, None), (2, 50, None)]


@pytest.mark.parametrize(
    ("source", "valid_from", "expected"),
    [
        ("see https://a.b/x (effective 2023-06-08 08:00-10:00 UTC)", None, "2023-06-08T08:00:00+00:00"),
        ("https://a.b/x-2023-06-02 (effective 2023-06-08 08:00 UTC)", None, "2023-06-08T08:00:00+00:00"),
        ("effective 2023-06-08", None, "2023-06-08T00:00:00+00:00"),
        ("https://a.b/x-2023-07-24 (31 Jul 2023)", None, "2023-07-31T00:00:00+00:00"),
        ("https://a.b/x-2023-10-27", None, "2023-10-27T00:00:00+00:00"),
        ("https://a.b/x-20250926/ and more", None, "2025-09-26T00:00:00+00:00"),
        ("https://a.b/x-2023-10-27", "2024-01-01T16:00:00+08:00", "2024-01-01T08:00:00+00:00"),
    ],
)
def test_what_an_announcement_changes_is_in_force_from_its_time(
    tmp_path: Path, source: str, valid_from: str | None, expected: str
) -> None:
    record = {"source": source, "X-Y_after": ROWS, "X-Y_before_tier1": ROWS[0]}
    told = record if valid_from is None else {**record, "valid_from": valid_from}
    tiers = read_tiers(write(tmp_path / "tiers.ndjson", told))
    assert tiers.select("valid_from", "tier").rows() == [
        (None, 1),
        *((datetime.fromisoformat(expected), tier) for tier in (1, 2)),
    ]


def test_columns_of_an_announcement_may_stand_in_another_order(tmp_path: Path) -> None:
    record = {"source": SOURCE, "columns": ["mmr", "tier", "max_borrow_quote"], "X-Y_before": [["2%", 1, 10]]}
    (tier,) = read_tiers(write(tmp_path / "tiers.json", record)).rows(named=True)
    assert [tier[name] for name in FIGURES] == [None, 10, Decimal("0.02"), None, None]
