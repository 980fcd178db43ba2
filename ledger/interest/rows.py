"""The interest that an exchange charged, from its own files: accrued interest, bills, interest history.

The layouts of the exchanges are those of `ledger.statements`; here stands what is read of them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path

import polars as pl

from ledger.columns import schema
from ledger.events import RULES
from ledger.feeds import NO_UNIT, FeedRows, canonical, read_feed
from ledger.interest.columns import INTEREST_ROWS
from ledger.money import INTEGER_DIGITS, ZERO
from ledger.refusals import REFUSAL_SCHEMA, BadInput
from ledger.rules import Rule
from ledger.statements import binance_interest, okx_bills, okx_interest
from ledger.statements.rules import all_digits, not_negative, plain

ROWS_SCHEMA = pl.Schema([*schema(INTEREST_ROWS).items(), ("input", pl.UInt16), ("row", pl.UInt32)])
"""Rows of interest: the columns of INTEREST_ROWS, the number of the file and the row in it."""

_CONTENT = ("time", "account", "instrument", "currency", "interest", "liability")


@dataclass(frozen=True)
class InterestRows:
    """`rows` has ROWS_SCHEMA, oldest first; rows of one time are in the order of the files.

    `left_out` counts rows that are no interest, `repeated` rows that stand in `rows` once already.
    """

    rows: pl.DataFrame
    left_out: int
    repeated: int


# --- rules --------------------------------------------------------------------------------------------------


ROW_RULES: Mapping[str, Rule] = {
    "time_is_plausible": RULES["time_is_plausible"],
    "row_id_is_plain": plain("row_id"),
    "row_id_has_all_digits": all_digits("row_id"),
    "account_is_plain": RULES["account_is_plain"],
    "instrument_is_a_pair": RULES["instrument_is_a_pair"],
    "pair_has_two_currencies": RULES["pair_has_two_currencies"],
    "currency_is_a_code": RULES["currency_is_a_code"],
    "interest_is_given": Rule(
        "interest", "A row of interest has an amount.", "Export the file again.", pl.col("interest").is_not_null()
    ),
    "interest_is_not_negative": not_negative(
        "interest", "Interest", "Give a charge without a sign, and leave out what is none."
    ),
    "rate_is_not_negative": not_negative("rate", "A rate", "Mend it at its source."),
    "rate_has_a_unit": Rule(
        "unit", NO_UNIT.rule, NO_UNIT.remedy, pl.col("rate").is_null() | pl.col("unit").is_not_null()
    ),
    "liability_is_not_negative": not_negative("liability", "A liability", "Give what is owed without a sign."),
}
"""Every rule of a row of interest; its amounts are bounded by their type."""


# --- feeds --------------------------------------------------------------------------------------------------


_OKX_BILLS = replace(
    okx_bills.FEED,
    needs=("ts", "billId", "ccy"),
    values={**okx_bills.FEED.values, "instrument": okx_interest.OF_A_POSITION},
    keeps=okx_bills.IS_INTEREST,
)
_OKX_ACCRUED = replace(okx_interest.FEED, values={**okx_interest.FEED.values, "instrument": okx_interest.OF_A_POSITION})

_NEEDS = ("time", "currency", "interest")
FEEDS = (_OKX_BILLS, binance_interest.FEED, _OKX_ACCRUED, canonical(INTEREST_ROWS, _NEEDS, known_by=("interest",)))
"""The layouts that are read, the most particular first."""


# --- reading ------------------------------------------------------------------------------------------------


def read_interest_rows(paths: Sequence[Path], account: str | None = None) -> InterestRows:
    """The interest in CSV, Parquet, NDJSON or JSON files, each of any of the layouts; they may overlap.

    `account` is that of rows that name none. A row with an identifier counts once wherever it stands. One without
    counts as often as in the file that has it most often: a charge that one file lists twice stays twice.
    Raises BadInput with the refusals of all files.
    """
    parts = [read_feed(Path(path), FEEDS, INTEREST_ROWS, ROW_RULES) for path in paths]
    numbered = [
        part.rows.with_columns(pl.lit(number, dtype=pl.UInt16).alias("input"))
        for number, part in enumerate(parts, start=1)
    ]
    rows = pl.concat([ROWS_SCHEMA.to_frame(), *(frame.select(ROWS_SCHEMA.names()) for frame in numbered)])
    rows = rows.with_columns(pl.col("account").fill_null(pl.lit(account, dtype=pl.String)))
    refusals = pl.concat(
        [REFUSAL_SCHEMA.to_frame(), *(part.refusals for part in parts), _contradictions(rows, paths, parts)]
    )
    if refusals.height:
        raise BadInput(refusals)
    _refuse_too_large(rows, paths)
    once = _once(rows).sort("time", "input", "row")
    return InterestRows(once, sum(part.left_out for part in parts), rows.height - once.height)


def _refuse_too_large(rows: pl.DataFrame, paths: Sequence[Path]) -> None:
    """Refuse rows whose sums could leave the money type: grouped sums would wrap around in silence."""
    sizes = rows.select(pl.max_horizontal("interest", "liability").fill_null(ZERO)).to_series()
    largest = sizes.max()
    if not isinstance(largest, Decimal) or int(largest) * rows.height < 10**INTEGER_DIGITS:
        return
    row = rows.row(sizes.arg_max() or 0, named=True)
    rule = "The amounts of all rows must sum to less than 10^20; this is the largest."
    cells = (str(paths[row["input"] - 1]), row["row"], None, f"{largest:f}", rule, "Check its unit.")
    raise BadInput(pl.DataFrame([cells], schema=REFUSAL_SCHEMA, orient="row"))


def _contradictions(rows: pl.DataFrame, paths: Sequence[Path], parts: Sequence[FeedRows]) -> pl.DataFrame:
    """Refusals of rows that have an identifier in common with an earlier row, and nothing else."""
    key, content = ["account", "row_id"], pl.struct(pl.exclude("row_id", "input", "row"))
    marked = rows.filter(pl.col("row_id").is_not_null()).with_columns(
        differs=content.ne_missing(content.first().over(key)),
        first_input=pl.col("input").first().over(key),
        first_row=pl.col("row").first().over(key),
    )
    found = []
    for row in marked.filter("differs").iter_rows(named=True):
        feed = parts[row["input"] - 1].feed
        place = f"row {row['first_row']} of {paths[row['first_input'] - 1]}"
        rule = f"An identifier belongs to one row; {place} has the same one and says something else."
        column = feed.names["row_id"] if feed else "row_id"
        remedy = "Keep the row that is right."
        found.append((str(paths[row["input"] - 1]), row["row"], column, row["row_id"], rule, remedy))
    return pl.DataFrame(found, schema=REFUSAL_SCHEMA, orient="row")


def _once(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows without those that an overlap of files repeats; of each the first is kept."""
    named = pl.col("row_id").is_not_null()
    time_in_file = pl.int_range(pl.len()).over("input", *_CONTENT)  # the n-th of its like in one file
    with_id = rows.filter(named).unique(["account", "row_id"], keep="first", maintain_order=True)
    without = rows.filter(~named).with_columns(time_in_file=time_in_file)
    without = without.unique([*_CONTENT, "time_in_file"], keep="first", maintain_order=True)
    return pl.concat([with_id, without.drop("time_in_file")])
