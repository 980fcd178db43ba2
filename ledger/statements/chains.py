"""What the exchange's balances prove: that no row is missing between two others, row by row."""

import polars as pl

from ledger.money import MONEY, ZERO
from ledger.statements.merging import ROUNDED, id_order

BILLS = ("okx-bills", ROUNDED)
"""Layouts whose rows state the balance after them, under identifiers that increase."""

ROUNDING = pl.lit("0.000000015").cast(MONEY)
"""Three amounts, each rounded at 8 decimals, differ from their sum by less."""

POSITION_KEYS, ACCOUNT_KEYS = ("account", "instrument", "currency"), ("account", "currency")


_OF_ROW = ("row_id", "input", "row", "change", "balance", "layout")


def position_links(rows: pl.DataFrame) -> pl.DataFrame:
    """Each row of an isolated position beside the one before it, see `_links`."""
    ours = rows.filter((pl.col("meaning") != "outside") & pl.col("instrument").is_not_null())
    return _links(ours, POSITION_KEYS, "change", "balance")


def beginnings(links: pl.DataFrame) -> pl.DataFrame:
    """The first row of each series of `position_links`: `row`, `input`, and `opening`, what stood there before it.

    Only balances that go on from row to row are believed.
    """
    first = links.unique(POSITION_KEYS, keep="first", maintain_order=True).filter(~pl.col("broken"))
    opening = pl.col("balance_before") - pl.col("change_before")
    known = first.select(*POSITION_KEYS, "layout_before", row="row_before", input="input_before", opening=opening)
    rounded = (pl.col("layout_before") == ROUNDED) & (pl.col("opening").abs() <= ROUNDING)
    return known.with_columns(opening=pl.when(rounded).then(ZERO).otherwise("opening"))


def account_links(rows: pl.DataFrame) -> pl.DataFrame:
    """Each row of an account beside the one before it, see `_links`."""
    return _links(rows, ACCOUNT_KEYS, "account_change", "account_balance")


def _in_order(stated: pl.DataFrame) -> pl.DataFrame:
    """The rows by series, and by identifier in each: as numbers where the identifiers are, which is faster."""
    identifiers = stated.select(
        "series", number=pl.col("row_id").cast(pl.UInt64, strict=False), length=pl.col("row_id").str.len_bytes()
    )
    if identifiers["number"].null_count() or identifiers["length"].n_unique() > 1:
        return stated.sort("series", *id_order())
    return stated[identifiers.select(pl.arg_sort_by("series", "number", maintain_order=True)).to_series()]


def _links(rows: pl.DataFrame, keys: tuple[str, ...], change: str, balance: str) -> pl.DataFrame:
    """Rows that follow another of the same keys, in the order of their identifiers, as the exchange booked them.

    Columns: the keys, `input`, `row`, `row_id`, `change`, `balance`, the same of the row before with the ending
    `_before`, `missing` (what lies between the two balances besides the change), `broken`, and `rounded`, true where
    what is missing is no more than rounding at 8 decimals makes. Rows that state no balance, or that no balance and
    no change (spot), are no part of it.
    """
    states = pl.col(change).is_not_null() & pl.col(balance).is_not_null() & pl.col("row_id").is_not_null()
    moves = (pl.col(change) != ZERO) | (pl.col(balance) != ZERO)
    stated = rows.filter(pl.col("layout").is_in(BILLS) & states & moves).select(
        *keys, "row_id", "input", "row", "layout", change=change, balance=balance
    )
    series = stated.select(keys).unique().sort(keys).with_row_index("series")
    stated = _in_order(stated.join(series, on=list(keys), how="left", nulls_equal=True))
    before = [pl.col(name).shift(1).alias(f"{name}_before") for name in _OF_ROW]
    rounded = (pl.col("layout") == ROUNDED) | (pl.col("layout_before") == ROUNDED)
    return (
        stated.with_columns(*before, is_link=pl.col("series") == pl.col("series").shift(1))
        .filter("is_link")
        .with_columns(missing=pl.col("balance") - pl.col("balance_before") - pl.col("change"))
        .with_columns(rounded=rounded & (pl.col("missing") != ZERO) & (pl.col("missing").abs() <= ROUNDING))
        .with_columns(broken=(pl.col("missing") != ZERO) & ~pl.col("rounded"))
    )
