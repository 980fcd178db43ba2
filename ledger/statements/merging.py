"""Files that overlap, as one history: each row of the exchange once, wherever it stands and however often."""

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from ledger.columns import schema
from ledger.money import MONEY, ZERO
from ledger.refusals import REFUSAL_SCHEMA, BadInput
from ledger.statements.columns import STATEMENTS

ROWS_SCHEMA = pl.Schema([*schema(STATEMENTS).items(), ("input", pl.UInt16), ("row", pl.UInt32)])
"""Rows of exchange files: the columns of STATEMENTS, the number of the file and the row in it."""

REPEATED_SCHEMA = pl.Schema(
    {
        "input": pl.UInt16,
        "row": pl.UInt32,
        "row_id": pl.String,
        "standing_input": pl.UInt16,
        "standing_row": pl.UInt32,
    }
)
"""Rows left out because another one says the same: where they stand, and where the one stands that counts."""

ROUNDED = "okx-trading-history"
"""The layout whose amounts are rounded at 8 decimals, each by itself."""

LAST_DIGIT = pl.lit("0.00000001").cast(MONEY)

_FAMILY = pl.when(pl.col("layout") == ROUNDED).then(pl.lit("okx-bills")).otherwise("layout")
_AMOUNTS = [column.name for column in STATEMENTS if column.dtype == MONEY]
_WORDS = ["instrument", "side", "currency"]
_SAME_MOMENT = pl.duration(seconds=2)  # Trading History has whole seconds


@dataclass(frozen=True)
class Merged:
    """`rows` (ROWS_SCHEMA) has each row once, in the order of the files; `repeated` (REPEATED_SCHEMA) what is out."""

    rows: pl.DataFrame
    repeated: pl.DataFrame


def merged(rows: pl.DataFrame, files: Mapping[int, str] | None = None) -> Merged:
    """Each row of overlapping files once.

    A row with an identifier is the same as another of its account and family of layouts that has it too: bills, their
    archive and Trading History share identifiers. One without counts as often as in the file that has it most often.
    Of two copies the one with all decimals stands. `files` names the files by number.
    Raises BadInput where copies contradict each other.
    """
    known = rows.with_columns(family=_FAMILY)
    has_id = pl.col("row_id").is_not_null()
    with_id, without = known.filter(has_id), known.filter(~has_id)
    if with_id["row_id"].n_unique() == with_id.height and without.is_empty():
        return Merged(rows.select(ROWS_SCHEMA.names()), REPEATED_SCHEMA.to_frame())
    kept, out = _by_identifier(with_id, files or {})
    kept_like, out_like = _by_content(without)
    together = pl.concat([kept, kept_like]).sort("input", "row")
    return Merged(together.select(ROWS_SCHEMA.names()), pl.concat([out, out_like]).sort("input", "row"))


def id_order(column: str = "row_id") -> list[pl.Expr]:
    """Sort keys that order identifiers as numbers: the shorter first, then by text. Rows without one come first."""
    number = pl.col(column).cast(pl.UInt64, strict=False)
    is_number = number.is_not_null() & ~pl.col(column).str.starts_with("0")
    text = pl.when(~is_number).then(column)
    return [pl.col(column).str.len_bytes().fill_null(0), number.fill_null(0), text.fill_null("")]


def _by_identifier(rows: pl.DataFrame, files: Mapping[int, str]) -> tuple[pl.DataFrame, pl.DataFrame]:
    key = ["account", "family", "row_id"]
    is_copy = rows["row_id"].is_duplicated()
    if is_copy.any():  # without an identifier twice the whole key need not be looked at
        is_copy &= rows.select(pl.struct(key).is_duplicated()).to_series()
    if not is_copy.any():
        return rows, REPEATED_SCHEMA.to_frame()
    single, copies = rows.filter(~is_copy), rows.filter(is_copy)
    copies = copies.sort(pl.col("layout") == ROUNDED, "input", "row")
    standing = copies.unique(key, keep="first", maintain_order=True)
    others = copies.join(standing.select("input", "row"), on=["input", "row"], how="anti")
    facing = others.join(standing, on=key, how="left", nulls_equal=True, suffix="_standing", maintain_order="left")
    _refuse_contradictions(facing, files)
    out = facing.select(
        "input", "row", "row_id", standing_input=pl.col("input_standing"), standing_row=pl.col("row_standing")
    )
    return pl.concat([single, standing]), out


def _refuse_contradictions(facing: pl.DataFrame, files: Mapping[int, str]) -> None:
    """Refuse copies that state something else than the row that stands; what only one of them states is no matter."""
    rounded = (pl.col("layout") == ROUNDED) != (pl.col("layout_standing") == ROUNDED)
    moment = (pl.col("time") - pl.col("time_standing")).abs() >= _SAME_MOMENT
    differs = {"time": moment} | {name: pl.col(name) != pl.col(f"{name}_standing") for name in _WORDS}
    for name in _AMOUNTS:
        apart = (pl.col(name) - pl.col(f"{name}_standing")).abs()
        differs[name] = pl.when(rounded).then(apart >= LAST_DIGIT).otherwise(apart != ZERO)
    found = []
    marks = facing.select(holds.fill_null(value=False).alias(name) for name, holds in differs.items())
    for name in (name for name in differs if marks[name].any()):
        for row in facing.filter(marks[name]).iter_rows(named=True):
            place = f"row {row['row_standing']} of {_file(files, row['input_standing'])}"
            rule = f"An identifier belongs to one row; {place} has {row['row_id']} too, with {_text(row, name)}."
            value = _plain(row[name])
            found.append((_file(files, row["input"]), row["row"], name, value, rule, "Keep the row that is right."))
    if found:
        raise BadInput(pl.DataFrame(found, schema=REFUSAL_SCHEMA, orient="row"))


def _by_content(rows: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Rows without an identifier; the n-th of its like in one file is the n-th of its like in another."""
    like = [name for name in rows.columns if name not in ("layout", "row_id", "input", "row")]
    numbered = rows.sort("input", "row").with_columns(nth=pl.int_range(pl.len()).over("input", *like))
    first = [pl.col(name).first().over(*like, "nth").alias(f"standing_{name}") for name in ("input", "row")]
    numbered = numbered.with_columns(first)
    stands = (pl.col("input") == pl.col("standing_input")) & (pl.col("row") == pl.col("standing_row"))
    kept = numbered.filter(stands).drop("nth", "standing_input", "standing_row")
    return kept, numbered.filter(~stands).select(REPEATED_SCHEMA.names())


def _file(files: Mapping[int, str], number: int) -> str:
    return files.get(number, f"file {number}")


def _text(row: dict[str, object], name: str) -> str:
    return f"{name.replace('_', ' ')} {_plain(row[f'{name}_standing'])}"


def _plain(value: object) -> str:
    return f"{value:f}".rstrip("0").rstrip(".") if hasattr(value, "as_tuple") else str(value)
