"""Equity and requirement of a spot-margin position as straight lines in the mark price: what its ratio is made of."""

import polars as pl

from ledger.money import ZERO


def with_lines(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows with equity_slope, equity_constant, requirement_slope and requirement_constant (rules 4, in quote).

    At any mark the margin ratio is (equity_slope x mark + equity_constant) / (requirement_slope x mark +
    requirement_constant). `rows` has one row per state of a position: base_owed, quote_owed, margin, margin_is_base and
    requirement_rate. A requirement is rounded once, as every product is (rules 9).
    """
    in_base = pl.col("margin_is_base")
    owed = {leg: pl.max_horizontal(-pl.col(f"{leg}_owed"), ZERO) for leg in ("base", "quote")}
    return rows.with_columns(
        equity_slope=pl.col("base_owed") + pl.col("margin") * in_base,
        equity_constant=pl.col("quote_owed") + pl.col("margin") * (1 - in_base),
        requirement_slope=owed["base"] * pl.col("requirement_rate"),
        requirement_constant=owed["quote"] * pl.col("requirement_rate"),
    )
