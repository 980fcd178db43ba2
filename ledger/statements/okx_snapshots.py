"""What the layouts of OKX positions, open and closed, have in common."""

from collections.abc import Iterable, Mapping

import polars as pl

from ledger.money import LARGEST, MONEY
from ledger.rules import Rule

IS_ISOLATED_MARGIN = ((pl.col("instType") == "MARGIN") & (pl.col("mgnMode") == "isolated")).fill_null(False)
"""Whether a position is one of isolated spot margin."""

_NO_NUMBER = pl.lit(10 * LARGEST).cast(MONEY)  # beyond every amount: `are_numbers` refuses it

_base = pl.col("instId").str.extract("^([^-]+)-[^-]+$")
_quote = pl.col("instId").str.extract("^[^-]+-([^-]+)$")


def side_of_asset(currency: pl.Expr) -> pl.Expr:
    """long where the position's asset is base, short where it is quote (rules.md 4); empty where it is neither."""
    return pl.when(currency == _base).then(pl.lit("long")).when(currency == _quote).then(pl.lit("short"))


def in_pair(currency: pl.Expr) -> pl.Expr:
    """Whether a currency is one of the instrument's two."""
    return (currency == _base) | (currency == _quote)


def figure(name: str) -> pl.Expr:
    """A double of the exchange, rounded to the money type; empty where it is empty.

    Where a position is to be compared, a text that is no number comes out beyond all amounts, so that it is refused.
    """
    number = pl.col(name).str.strip_chars().cast(MONEY, strict=False)
    is_text = IS_ISOLATED_MARGIN & number.is_null() & (pl.col(name) != "")
    return pl.when(is_text.fill_null(False)).then(_NO_NUMBER).otherwise(number)


def are_numbers(columns: Iterable[str]) -> Mapping[str, Rule]:
    """The rules that the figures in these columns of ours are numbers."""
    return {
        f"{column}_is_a_number": Rule(
            column,
            "A figure of a position is a decimal number, and has at most 17 digits before the point.",
            "Ask the exchange again, and keep its answer.",
            pl.col(column).abs() < LARGEST,
        )
        for column in columns
    }
