"""The average entry price, for display only: no balance depends on it (rules.md 2)."""

import polars as pl

from ledger.money import SCALE, ZERO, divide, from_units, since
from ledger.policies import Policies


def with_entry_price(parts: pl.DataFrame, policies: Policies) -> pl.DataFrame:
    """Adds `entry_price`, the average entry price after each event, under the policy `entry_price`."""
    if policies.entry_price == "net_remaining":
        return parts.with_columns(_over_remaining(parts))
    held = (pl.col("settlement_before") != 0) | (pl.col("settlement_after") != 0)
    return (
        parts.with_columns(quantity_total=pl.col("added_quantity").cum_sum(), cost_total=pl.col("added_cost").cum_sum())
        .with_columns(
            opened_quantity=since("life", "added_quantity", "quantity_total"),
            opened_cost=since("life", "added_cost", "cost_total"),
        )
        .with_columns(
            entry_price=pl.col("opened_cost") / pl.when(held & (pl.col("opened_quantity") > 0)).then("opened_quantity")
        )
    )


def _over_remaining(parts: pl.DataFrame) -> pl.Series:
    """The average over what remains: each opening fill averages its price with the entry price so far.

    Each step rounds, and the next one starts from the rounded figure: there is no closed form, so this policy walks
    row by row, in integer units.
    """
    reduces = pl.col("is_trade") & ~pl.col("posts") & ~pl.col("is_leftover")
    columns = parts.select(
        "opens",
        (pl.col("settlement_before") != 0) | (pl.col("settlement_after") != 0),
        pl.col("added_quantity", "added_cost").to_physical(),
        pl.when(reduces).then("quantity").otherwise(ZERO).to_physical(),
    )
    entries: list[int | None] = []
    remaining, entry = 0, None
    for opens, held, quantity, cost, reduced in columns.iter_rows():
        if opens:
            remaining, entry = 0, None
        remaining = max(remaining - reduced, 0)
        if quantity:
            entry = divide(remaining * (entry or 0) + cost * 10**SCALE, remaining + quantity)
            remaining += quantity
        entries.append(entry if held else None)
    units = pl.DataFrame({"entry_price": pl.Series(entries, dtype=pl.Int128)})
    return units.select(from_units(pl.col("entry_price"))).to_series()
