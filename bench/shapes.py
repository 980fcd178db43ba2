"""Event files to measure with: made by column operations alone, the same bytes of meaning on every run.

A position walks through a cycle of steps again and again. The cycle is valid by construction: it opens,
reduces never more than it holds, is charged interest only while open, and closes completely before it starts
again. Odd positions walk it mirrored (short first) and every second pair has its margin in base currency: all
four cases, in both modes.
"""

import sys
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl

from ledger.columns import EVENTS, schema
from ledger.money import MONEY

START_MICROSECONDS = 1_735_689_600_000_000  # 2025-01-01T00:00Z
MARKETS = (("BTC", "64123.4"), ("ETH", "3321.07"), ("SOL", "148.913"), ("DOGE", "0.10847"))
QUOTE = "USDT"
HOURS_20_IN_MICROSECONDS = 72_000_000_000


@dataclass(frozen=True)
class Step:
    """One step of the cycle.

    `forward` is true in the direction the cycle starts with: for a fill its side, for interest the direction
    held. `share` times the position's size is the quantity of a fill, or the amount of another event.
    """

    kind: str
    share: str | None
    forward: bool = True
    leverage: str | None = None
    reduce_only: bool = False


MIXED = (
    Step("fill", "1.0", leverage="10"),
    Step("interest", "0.00001"),
    Step("fill", "0.5"),
    Step("fill", "0.3"),
    Step("interest", "0.00001"),
    Step("fill", "0.4", forward=False),
    Step("margin", "0.02"),
    Step("fill", "0.6"),
    Step("fill", "0.1"),
    Step("fill", "0.6", forward=False),
    Step("fill", "2.5", forward=False, leverage="5"),  # 1.5 held: closes, and opens 1.0 the other way
    Step("interest", "0.00001", forward=False),
    Step("fill", "0.7", forward=False),
    Step("fill", "0.4"),
    Step("interest", "0.00001", forward=False),
    Step("margin", "-0.01"),
    Step("fill", "0.5", forward=False),
    Step("leverage", None, leverage="8"),
    Step("fill", "0.6"),
    Step("fill", "2.0", reduce_only=True),  # 1.2 held: closes, the rest of the order is a leftover
)
"""65 % fills, 20 % interest, 15 % margin and leverage; a flip and a close with a leftover in 20 events."""


def flipping_steps() -> tuple[Step, ...]:
    """Fifty fills: one more of the same side after every flip, and at the end a close.

    Fees and prices shift what a flip leaves by about 1 % each time; the close keeps that from adding up.
    """
    opening = Step("fill", "1.0", leverage="10")
    pairs = [
        (Step("fill", "3.0", forward=flip % 2 == 0), Step("fill", "1.0", forward=flip % 2 == 0))
        for flip in range(1, 25)
    ]
    fills = [opening, Step("fill", "1.0"), *(fill for pair in pairs for fill in pair)]
    return (*fills[:-1], Step("fill", "6.0", forward=False, reduce_only=True))


@dataclass(frozen=True)
class Shape:
    """A file of events. With `skewed` the k-th position has about 1/k^1.5 of the events of the first."""

    name: str
    title: str
    positions: int
    events_each: int
    steps: tuple[Step, ...] = MIXED
    skewed: bool = False

    @property
    def events(self) -> int:
        """Events of the file; a skewed one has a few more or less."""
        return self.positions * self.events_each

    def smaller(self, factor: int) -> "Shape":
        """The same shape with fewer events, fewer positions first."""
        positions = max(1, self.positions // factor)
        events_each = self.events_each // max(1, factor * positions // self.positions)
        return replace(self, positions=positions, events_each=events_each)


SHAPES = {
    shape.name: shape
    for shape in (
        Shape("many", "10,000 positions x 100 events", 10_000, 100),
        Shape("few", "10 positions x 100,000 events", 10, 100_000),
        Shape("one", "one position x 1,000,000 events", 1, 1_000_000),
        Shape(
            "skew",
            "heavy skew: 10,000 positions, one with 380,000, most with a few",
            10_000,
            100,
            skewed=True,
        ),
        Shape("flip", "a flip at every second fill: 1,000 x 1,000", 1_000, 1_000, flipping_steps()),
        Shape("wide", "100,000 positions x 100 events", 100_000, 100),
    )
}


def write_events(shape: Shape, path: Path) -> None:
    """Write the shape's events in order of time, positions interleaved, as canonical events in Parquet."""
    rows = _skewed_rows(shape) if shape.skewed else _even_rows(shape)
    steps = pl.LazyFrame(shape.steps).with_row_index("step")
    (
        rows.with_columns(step=pl.col("index") % len(shape.steps))
        .join(steps, on="step", how="left", maintain_order="left")
        .with_columns(_circumstances(len(shape.steps)))
        .with_columns(_what_is_traded())
        .with_columns(_amounts())
        .select(_events())
        .cast(schema(EVENTS))
        .sink_parquet(path)
    )


def _even_rows(shape: Shape) -> pl.LazyFrame:
    """Columns row, position, index (of the event in the position) and time: the positions take turns."""
    row = pl.col("row")
    return (
        pl.LazyFrame({"row": pl.int_range(shape.events, eager=True)})
        .with_columns(position=row % shape.positions, index=row // shape.positions)
        .with_columns(time=START_MICROSECONDS + row * 1_000)
    )


def _skewed_rows(shape: Shape) -> pl.LazyFrame:
    """The same columns; every position is spread over the same 20 hours."""
    weights = [rank**-1.5 for rank in range(1, shape.positions + 1)]
    counts = [max(1, round(shape.events * weight / sum(weights))) for weight in weights]
    spread = pl.col("index") * (HOURS_20_IN_MICROSECONDS // pl.col("count")) + pl.col("position")
    return (
        pl.LazyFrame({"position": range(shape.positions), "count": counts})
        .with_columns(index=pl.int_ranges("count"))
        .explode("index", empty_as_null=False)
        .with_columns(time=START_MICROSECONDS + spread)
        .sort("time", maintain_order=True)
        .with_row_index("row")
    )


def _circumstances(cycle: int) -> list[pl.Expr]:
    """What the position's number and the place in its history decide. A wobble adds up to 1 %."""
    position, index = pl.col("position"), pl.col("index")
    level, size = (
        (position // 8 % 4).replace_strict(range(4), list(texts), return_dtype=pl.String).cast(MONEY)
        for texts in ((level for _, level in MARKETS), ("0.25", "3.5", "71", "98000"))
    )
    wobble = (index * 7919 + position * 104_729) % 9_973
    return [
        (position // 8 % 4).replace_strict(range(4), [base for base, _ in MARKETS]).alias("base"),
        (position // 2 % 2 == 1).alias("margin_is_base"),
        ((position % 2 == 0) == pl.col("forward")).alias("is_forward_long"),
        size.alias("size"),
        (_one_plus(wobble, "0.000001") * _one_plus(index // cycle * 37 % 101, "0.001") * level).alias("price"),
        _one_plus(wobble * 31 % 9_967, "0.000001").alias("wobble"),
    ]


def _one_plus(count: pl.Expr, unit: str) -> pl.Expr:
    return pl.lit("1").cast(MONEY) + count.cast(MONEY) * pl.lit(unit).cast(MONEY)


def _what_is_traded() -> list[pl.Expr]:
    """Side and quantity of fills, `traded` of everything: size x share, with many digits."""
    is_fill = pl.col("kind") == "fill"
    is_last = (pl.col("position") % 8 == 5) & pl.col("reduce_only")
    side = pl.when(pl.col("is_forward_long")).then(pl.lit("buy")).otherwise(pl.lit("sell"))
    traded = pl.col("size") * pl.col("share").cast(MONEY) * pl.col("wobble")
    return [
        is_fill.alias("is_fill"),
        pl.when(is_last).then(pl.lit("liquidation")).otherwise("kind").alias("kind"),
        pl.when(is_fill).then(side).alias("side"),
        traded.alias("traded"),
    ]


def _amounts() -> list[pl.Expr]:
    """The fee, in the currency received (one in eleven a rebate), and amounts of interest and margin."""
    is_buy = pl.col("side") == "buy"
    rate = pl.when(pl.col("row") % 11 == 0).then(pl.lit("-0.0002")).otherwise(pl.lit("0.001")).cast(MONEY)
    worth = pl.col("traded") * pl.col("price")
    has_amount = pl.col("kind").is_in(["interest", "margin"])
    is_in_base = pl.when(pl.col("kind") == "interest").then(~pl.col("is_forward_long")).otherwise("margin_is_base")
    return [
        pl.when("is_fill").then(pl.when(is_buy).then("traded").otherwise(worth) * rate).alias("fee"),
        pl.when("is_fill").then(pl.when(is_buy).then("base").otherwise(pl.lit(QUOTE))).alias("fee_currency"),
        pl.when(has_amount).then(pl.when(is_in_base).then("traded").otherwise(worth)).alias("amount"),
        pl.when(has_amount).then(pl.when(is_in_base).then("base").otherwise(pl.lit(QUOTE))).alias("currency"),
    ]


def _events() -> list[pl.Expr]:
    """The canonical columns, in their order."""
    made = {
        "time": pl.from_epoch("time", time_unit="us").dt.replace_time_zone("UTC"),
        "event_id": pl.format("event-{}", "row"),
        "account": pl.format("account-{}", "position"),
        "instrument": pl.format("{}-{}", "base", pl.lit(QUOTE)),
        "mode": pl.when(pl.col("position") // 4 % 2 == 0).then(pl.lit("new")).otherwise(pl.lit("old")),
        "margin_currency": pl.when("margin_is_base").then("base").otherwise(pl.lit(QUOTE)),
        "quantity": pl.when("is_fill").then("traded"),
        "price": pl.when("is_fill").then("price"),
        "reduce_only": pl.when("is_fill").then("reduce_only"),
        "value": pl.lit(None),  # quantity x price
        "reason": pl.lit(None),
    }
    return [made.get(column.name, pl.col(column.name)).alias(column.name) for column in EVENTS]


if __name__ == "__main__":
    name, positions, events_each, target = sys.argv[1:]
    write_events(replace(SHAPES[name], positions=int(positions), events_each=int(events_each)), Path(target))
