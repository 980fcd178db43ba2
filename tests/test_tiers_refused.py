"""Broken tiers files: every rule refuses a row with its own words, and all problems are listed with their place."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest
from test_tiers_file import ANSWER, OPEN, OWN, ROWS, SECOND, Cells, write

from ledger.refusals import REFUSAL_SCHEMA, BadInput
from ledger.risk.tiers_file import read_tiers


def refused(path: Path) -> list[tuple[Any, ...]]:
    with pytest.raises(BadInput) as caught:
        read_tiers(path)
    found = caught.value.refusals
    assert found.schema == REFUSAL_SCHEMA
    assert found.filter(pl.any_horizontal(pl.col("file", "rule", "remedy").fill_null("") == "")).is_empty()
    assert found["file"].unique().to_list() == [str(path)]
    return found.select("row", "column", "value", "rule").rows()


@pytest.mark.parametrize(
    ("column", "value", "words"),
    [
        ("instrument", "btc-usdt", "codes of capital letters"),
        ("instrument", "", "Every row needs instrument"),
        ("valid_from", "2024-05-01", "date and a time of day"),
        ("valid_from", "1980-05-01T00:00:00Z", "2009 to 2100"),
        ("tier", "two", "whole number from 1"),
        ("tier", "0", "whole number from 1"),
        ("tier", "2.0", "whole number from 1"),
        ("tier", "", "Every row needs tier"),
        ("maintenance_rate", "3", "a share"),
        ("maintenance_rate", "0", "a share"),
        ("maintenance_rate", "100%", "a share"),
        ("maintenance_rate", "three %", "a percentage such as 3%"),
        ("maintenance_rate", "4%%", "a percentage such as 3%"),
        ("maintenance_rate", "4.12345678901234567%", "at most 16 decimals"),
        ("maintenance_rate", "", "Every row needs maintenance_rate"),
        ("maintenance_rate", "+4%", "Only the last row"),
        ("minimum_initial_rate", "10", "a share"),
        ("minimum_initial_rate", "101%", "a share"),
        ("maximum_leverage", "0.5", "at least 1"),
        ("maximum_leverage", "8.02", "at most 1 / smallest initial rate"),
        ("maximum_leverage", "10x", "decimal number"),
        ("largest_base_loan", "-1", "not negative"),
        ("largest_base_loan", "50%", "decimal number"),
        ("largest_base_loan", "+25 per tier", "Only the last row"),
        ("tier", "1", "each tier once"),
        ("tier", "3", "without a gap"),
        ("largest_base_loan", "24.9", "does not fall"),
        ("largest_base_loan", "", "in all tiers of a table"),
        ("largest_quote_loan", "499999", "does not fall"),
        ("maintenance_rate", "2%", "does not fall"),
    ],
)
def test_every_rule_of_a_row_and_of_a_table_names_it(tmp_path: Path, column: str, value: str, words: str) -> None:
    (found,) = refused(write(tmp_path / "tiers.csv", OWN, {**SECOND, column: value}))
    assert found[:2] == (3, column)
    assert (found[2] or "") == value
    assert words in found[3]


@pytest.mark.parametrize(
    ("changes", "column", "words"),
    [
        ({"largest_base_loan": "25"}, "largest_base_loan", "each further tier adds"),
        ({"largest_base_loan": "+-25"}, "largest_base_loan", "not negative"),
        ({"largest_base_loan": "+1e15"}, "largest_base_loan", "without measure"),
        ({"largest_base_loan": ""}, "largest_base_loan", "in all tiers"),
        ({"minimum_initial_rate": ""}, "minimum_initial_rate", "in all tiers"),
        ({"maximum_leverage": "3"}, "maximum_leverage", "that of the initial rate"),
        ({"maintenance_rate": "+0", "minimum_initial_rate": "+0"}, "maintenance_rate", "within 1,000 tiers"),
        ({"maintenance_rate": "+0.0001%", "minimum_initial_rate": "+0"}, "maintenance_rate", "within 1,000 tiers"),
        ({"tier": "4+"}, "tier", "without a gap"),
        ({"tier": "1+"}, "tier", "never the first"),
    ],
)
def test_every_rule_of_a_table_that_goes_on_names_it(tmp_path: Path, changes: Cells, column: str, words: str) -> None:
    (found,) = refused(write(tmp_path / "tiers.csv", OWN, SECOND, {**OPEN, **changes}))
    assert found[:2] == (4, column)
    assert words in found[3]


def test_a_table_goes_on_after_its_last_row_only(tmp_path: Path) -> None:
    (found,) = refused(write(tmp_path / "tiers.csv", OWN, {**OPEN, "tier": "2+"}, {**SECOND, "tier": "3"}))
    assert (found[0], found[1]) == (4, "tier")
    assert "Only the last row" in found[3]


def test_limits_need_one_and_sizes_are_a_range(tmp_path: Path) -> None:
    none = {**OWN, "largest_base_loan": "", "largest_quote_loan": ""}
    (found,) = refused(write(tmp_path / "tiers.csv", none))
    assert (found[1], found[3][:16]) == ("largest_base_loan", "A tier has a lim")
    (found,) = refused(write(tmp_path / "sizes.csv", {**none, "smallest_size": "5", "largest_size": "4"}))
    assert found[1:3] == ("largest_size", "4")


def test_leverage_does_not_rise(tmp_path: Path) -> None:
    (found,) = refused(write(tmp_path / "tiers.csv", {**OWN, "maximum_leverage": "5"}, SECOND))
    assert found == (3, "maximum_leverage", "8", "The largest leverage does not rise from tier to tier.")


def test_all_problems_of_all_records_are_listed_with_their_place(tmp_path: Path) -> None:
    good, *_ = ROWS
    answer = {"source": "answer", "record": [{**ANSWER, "mmr": "3"}, {"other": 1}]}
    told = {
        "source": "nowhere",
        "X-Y_before": [good, [2, 50, 10]],
        "X-Y_after": [good],
        "Z-Y_before": [good, [2, 50, 1000000, "4 percent", "11%", "9.09"]],
        "W-Y_before": "none",
        "note": "?",
    }
    odd = {"source": "s", "columns": ["a"], "X-Y_after": []}
    found = refused(write(tmp_path / "tiers.json", ANSWER, answer, told, odd))
    assert [(row, column) for row, column, _, _ in found] == [
        (2, "record[1]"),
        (2, "record[0].mmr"),
        *((3, column) for column in ("note", "valid_from", "X-Y_before[1]", "W-Y_before", "Z-Y_before[1].mmr")),
        (4, "columns"),
    ]


@pytest.mark.parametrize(
    ("text", "column", "words"),
    [
        ("[]", None, "no tiers"),
        ('[{"source": "x"}]', None, "neither a tier nor an announcement"),
        ('[{"source": "https://a.b/x-2023-13-45", "X-Y_after": [[1, 1, 1, "3%", "10%", "10"]]}]', "valid_from", "time"),
        ('[{"source": "x", "valid_from": "soon", "X-Y_after": [[1, 1, 1, "3%", "10%", "10"]]}]', "valid_from", "ISO"),
        ('[{"source": "\\ud800", "X-Y_after": [[1, 1, 1, "3%", "10%", "10"]]}]', "valid_from", "names none"),
        ('[{"source": "x", "X-Y_before": [[1, 1, 1, [3], "10%", "10"]]}]', "X-Y_before[0].mmr", "a text, a number"),
        ('{"code": "50011", "msg": "Too Many Requests", "data": []}', "code", "answer that it failed"),
    ],
)
def test_a_file_without_tiers_is_refused(tmp_path: Path, text: str, column: str | None, words: str) -> None:
    path = tmp_path / "tiers.json"
    path.write_text(text, encoding="utf-8")
    (found,) = refused(path)
    assert found[1] == column
    assert words in found[3]


def test_files_that_are_no_table_of_tiers_are_refused(tmp_path: Path) -> None:
    misspelt = refused(write(tmp_path / "a.csv", {**OWN, "largest_loan": "3"}))
    assert [(row, column) for row, column, _, _ in misspelt] == [(None, "largest_loan")]
    assert "no known file" in refused(write(tmp_path / "b.csv", {"a": "1", "b": "2"}))[0][3]
    assert "does not exist" in refused(tmp_path / "none.csv")[0][3]
    header = tmp_path / "c.csv"
    header.write_text(",".join(OWN) + "\n", encoding="utf-8")
    assert "no tiers" in refused(header)[0][3]
