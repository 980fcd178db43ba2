"""Which position an event belongs to, and the order in which a position's events happened."""

import polars as pl

from ledger.columns import EVENTS, schema

POSITION_KEY = ["account", "instrument", "margin_currency"]


def typed_events(events: pl.DataFrame) -> pl.DataFrame:
    """Every column of EVENTS in its type, and where each row stands (`input`, `row`).

    Events built in Python have no file: their row is their place in the frame. Columns that are absent are empty.
    """
    expected = schema(EVENTS)
    absent = [pl.lit(None, dtype=dtype).alias(name) for name, dtype in expected.items() if name not in events.columns]
    source = []
    if "input" not in events.columns:
        source.append(pl.lit(0, dtype=pl.UInt16).alias("input"))
    if "row" not in events.columns:
        source.append(pl.int_range(1, pl.len() + 1, dtype=pl.UInt32).alias("row"))
    return events.with_columns(*absent, *source).select(*expected, "input", "row")


def index_positions(keys: pl.DataFrame) -> pl.DataFrame:
    """One row per position, sorted by name; the row number is the position's number.

    `keys` holds the columns account, instrument and margin_currency, repeated or not. The result adds
    `position` (the name), `position_number`, `base_currency`, `quote_currency` and `margin_is_base`.
    """
    currencies = pl.col("instrument").str.split_exact("-", 1)
    return (
        keys.select(POSITION_KEY)
        .unique()
        .with_columns(
            position=position_name(),
            base_currency=currencies.struct.field("field_0"),
            quote_currency=currencies.struct.field("field_1"),
        )
        .with_columns(margin_is_base=pl.col("margin_currency") == pl.col("base_currency"))
        .sort("position")
        .with_row_index("position_number")
    )


def position_name() -> pl.Expr:
    """The name of an event's position."""
    return pl.concat_str(POSITION_KEY, separator=":")


def with_positions(events: pl.DataFrame, index: pl.DataFrame) -> pl.DataFrame:
    """The events with what `index` (see `index_positions`) says of them, brought together by position.

    The events of one position keep the order of the files.
    """
    found = index.select(*POSITION_KEY, "position_number", "base_currency", "quote_currency", "margin_is_base")
    placed = events.join(found, on=POSITION_KEY, how="left", maintain_order="left").drop(POSITION_KEY)
    if placed["position_number"].is_sorted():
        return placed
    # Sorting one narrow column and gathering is several times cheaper than sorting the wide frame.
    return placed[placed.select(pl.arg_sort_by("position_number", maintain_order=True)).to_series()]


def order_of(events: pl.DataFrame) -> pl.Series | None:
    """Row numbers of the events of `with_positions` in the order they happened; nothing where they stand in it.

    The order is: position, time, then the order in which the files were given and the rows stand in them.
    """
    before = {name: pl.col(name).shift(1) for name in ("position_number", "time", "input")}
    same = pl.col("position_number") == before["position_number"]
    later = (pl.col("time") > before["time"]) | (
        (pl.col("time") == before["time"]) & (pl.col("input") >= before["input"])
    )
    if events.select((~same | later).fill_null(value=True).all()).item():
        return None
    keys = ["position_number", "time", "input", "row"]
    return events.select(pl.arg_sort_by(keys, maintain_order=True)).to_series()
