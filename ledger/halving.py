"""The same history told differently: a sample of positions, replayed alone, with fills cut in two."""

import polars as pl

from ledger.checks import split_check
from ledger.policies import Policies
from ledger.replay import ledger_of, replay_parts

SAMPLE_ROWS = 20_000
_HALVED = ("quantity", "value", "fee")


def halving_check(
    events: pl.DataFrame, index: pl.DataFrame, ledger: pl.DataFrame, policies: Policies
) -> list[pl.DataFrame]:
    """The finding for the smallest positions, up to `SAMPLE_ROWS` events; none where every position is larger.

    Splitting one fill in two at the same price changes no balance, nor do other positions (rules.md 8). `events` are
    those of `ordering.with_positions`, `ledger` is their ledger. Under `spot_first` it need not hold: of a fill that is
    cut just where it closes the position, the second half finds no position and opens one.
    """
    sizes = events["position_number"].value_counts(name="rows").sort("rows", "position_number")
    chosen = sizes.filter(pl.col("rows").cum_sum() <= SAMPLE_ROWS)["position_number"]
    if chosen.is_empty() or policies.overfill == "spot_first":
        return []
    sample = events.filter(pl.col("position_number").is_in(chosen.implode()))
    names = index["position"].gather(chosen)
    retold = ledger_of(replay_parts(cut_in_two(sample), policies), index, policies)
    return [split_check(ledger.filter(pl.col("position").is_in(names.implode())), retold)]


def cut_in_two(events: pl.DataFrame) -> pl.DataFrame:
    """The events with each fill in two halves, one after the other, where halves are exact.

    Left whole: what a half would change by rounding alone (more than 9 decimals in the quantity, 8 in the price, 16
    in the fee), values and initial margins as recorded, and fills that must find a position to reduce.
    """
    exact = pl.all_horizontal(_has_decimals("quantity", 9), _has_decimals("price", 8), _has_decimals("fee", 16))
    at_price = (pl.col("value") == pl.col("quantity") * pl.col("price")).fill_null(value=True)
    may_open = ~pl.col("reduce_only").fill_null(value=False)
    cut = (pl.col("kind") == "fill") & may_open & pl.col("amount").is_null() & exact & at_price
    halves = events.with_columns(
        pl.when(cut).then(pl.col(name) / 2).otherwise(pl.col(name)).alias(name) for name in _HALVED
    )
    copies = events.select(pl.when(cut).then(2).otherwise(1)).to_series()
    return halves[_repeated(copies)]


def _repeated(copies: pl.Series) -> pl.Series:
    rows = pl.DataFrame({"copies": copies}).with_row_index("place")
    return rows.select(pl.col("place").repeat_by("copies")).explode("place").to_series()


def _has_decimals(name: str, places: int) -> pl.Expr:
    return (pl.col(name).round(places) == pl.col(name)).fill_null(value=True)
