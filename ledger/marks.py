"""The marks file: at which price, and with which rates, positions are valued."""

from collections.abc import Mapping
from pathlib import Path

import polars as pl

from ledger.cells import empty_cells, mixed_zones, type_table
from ledger.columns import MARKS, schema
from ledger.formats import raw_batches
from ledger.money import LARGEST, LARGEST_DIGITS
from ledger.refusals import BadInput
from ledger.rules import Rule, broken_rules, refusals_of
from ledger.tables import Table

_TABLE = Table(MARKS, required=("instrument", "mark_price"))
_BATCH_ROWS = 1_000_000


def _rate(column: str) -> Rule:
    return Rule(
        column,
        f"A {column} is a share: at least zero and below one.",
        "Write 4 % as 0.04.",
        (pl.col(column) >= 0) & (pl.col(column) < 1),
    )


MARK_RULES: Mapping[str, Rule] = {
    "instrument_is_named": Rule(
        "instrument",
        "An instrument is BASE-QUOTE, or that with the rest of a contract's name, in capital letters and digits.",
        "Write it as BTC-USDT, or BTC-USDT-SWAP.",
        pl.col("instrument").str.contains("^[A-Z0-9]{1,20}-[A-Z0-9_]{1,20}(-[A-Z0-9.]{1,20}){0,3}$"),
    ),
    "mark_price_is_positive": Rule(
        "mark_price", "A mark price is above zero.", "Leave the row out.", pl.col("mark_price") > 0
    ),
    "mark_price_is_bounded": Rule(
        "mark_price",
        f"An amount has at most {LARGEST_DIGITS} digits before the point.",
        "Check its unit.",
        pl.col("mark_price") < LARGEST,
    ),
    "maintenance_rate_is_a_share": _rate("maintenance_rate"),
    "liquidation_fee_rate_is_a_share": _rate("liquidation_fee_rate"),
    "mark_is_given_once": Rule(
        "instrument",
        "An instrument has one mark for one time.",
        "Keep one of the rows.",
        pl.struct("instrument", "time").is_first_distinct(),
    ),
}
"""Every rule of the marks."""


def read_marks(path: str | Path) -> pl.DataFrame:
    """The marks of a CSV, Parquet or NDJSON file: a frame of MARKS in the order of the file.

    Raises BadInput with all refusals. Only `instrument` and `mark_price` are required columns.
    """
    batches = list(raw_batches(Path(path), _TABLE, _BATCH_ROWS))
    empty = pl.DataFrame(schema={"row": pl.UInt32, **dict.fromkeys(_TABLE.required, pl.String)})
    raw = pl.concat([batch.frame for batch in batches]) if batches else empty
    table, refused = type_table(raw, MARKS)
    refused += mixed_zones(raw, table, None)[0] + empty_cells(raw, _TABLE.required)
    refused += broken_rules(table, MARK_RULES, refused)
    refusals = [*(batch.refusals for batch in batches), refusals_of(str(path), raw, refused)]
    if any(part.height for part in refusals):
        raise BadInput(pl.concat(refusals).sort("row", maintain_order=True))
    return table.select(schema(MARKS).names())
