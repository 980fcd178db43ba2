"""Loans to measure interest on: a file of events and a file of rates, the same on every run.

Every position is opened in the first hour, increased at a third of its time and reduced at two thirds; it stays open
to the end, so that each full hour is one charge. Even positions are long and owe the quote currency, odd ones are
short and owe the base currency; the rate of each currency owed changes every hour.
"""

import sys
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl

from bench.shapes import MARKETS, QUOTE, START_MICROSECONDS
from ledger.columns import EVENTS, schema
from ledger.money import MONEY

BEGIN = datetime(2025, 1, 1, tzinfo=UTC)
HOUR = 3_600_000_000
"""Microseconds."""
STEPS = {
    "number": [0, 1, 2],
    "share": ["1", "0.5", "0.4"],
    "leverage": ["3", None, None],
    "forward": [True, True, False],
}
"""Opened, increased, reduced: the share of the position's size, and whether in the direction it holds."""
SIZES = ("0.25", "3.5", "71", "98000")


@dataclass(frozen=True)
class Group:
    """Positions that are open for the same number of hours."""

    positions: int
    hours: int


@dataclass(frozen=True)
class Loans:
    """What is measured on: groups of positions, all open at the end; the policy; the stages, and whether the command.

    The stages are those of `interest_stages`.
    """

    name: str
    title: str
    groups: tuple[Group, ...]
    stages: tuple[str, ...] = ("engine", "accrue", "loops")
    policy: str = "okx"
    has_process: bool = False

    @property
    def hours(self) -> int:
        """Hours from the first event to the cut-off."""
        return max(group.hours for group in self.groups)

    @property
    def positions(self) -> int:
        """Positions of all groups."""
        return sum(group.positions for group in self.groups)

    @property
    def until(self) -> datetime:
        """The cut-off: the moment of the last charge."""
        return BEGIN + timedelta(hours=self.hours)

    def tiny(self) -> "Loans":
        """The same with a 200th of the positions and a tenth of the hours."""
        groups = (Group(max(1, part.positions // 200), part.hours // 10) for part in self.groups)
        return replace(self, groups=tuple(groups))


SHAPES = {
    loans.name: loans
    for loans in (
        Loans("many", "10,000 positions x 720 hours", (Group(10_000, 720),), has_process=True),
        Loans("few", "100 positions x 8,760 hours", (Group(100, 8_760),)),
        Loans("one", "one position x 43,800 hours", (Group(1, 43_800),), has_process=True),
        Loans("skew", "1,990 positions x 100 hours, 10 x 20,000", (Group(10, 20_000), Group(1_990, 100))),
        Loans("simple", "many, by binance_isolated", (Group(10_000, 720),), ("engine", "loops"), "binance_isolated"),
        Loans("again", "1,000 x 720 rows of the exchange", (Group(1_000, 720),), ("reperform",)),
    )
}


def write_loans(loans: Loans, folder: Path) -> None:
    """Write `events.parquet`, canonical events in order of time, and `rates.csv` into a folder."""
    begins = [loans.hours - group.hours for group in loans.groups for _ in range(group.positions)]
    positions = (
        pl.LazyFrame({"begin": begins}, schema={"begin": pl.Int64})
        .with_row_index("position")
        .with_columns(pl.col("position").cast(pl.Int64), hours=loans.hours - pl.col("begin"))
    )
    (
        positions.join(pl.LazyFrame(STEPS), how="cross")
        .with_columns(_circumstances())
        .sort("time", "position")
        .with_row_index("row")
        .select(_events())
        .cast(schema(EVENTS))
        .sink_parquet(folder / "events.parquet")
    )
    _rates(loans).write_csv(folder / "rates.csv")


def _circumstances() -> list[pl.Expr]:
    """What the position's number and the place in its history decide. A wobble adds up to 1 %."""
    position, number = pl.col("position"), pl.col("number")
    market = position // 2 % len(MARKETS)
    price, size = (
        market.replace_strict(range(len(MARKETS)), list(texts), return_dtype=pl.String).cast(MONEY)
        for texts in ((level for _, level in MARKETS), SIZES)
    )
    wobble = 1_000_000 + (number * 7_919 + position * 104_729) % 9_973
    exact = wobble.cast(MONEY) * pl.lit("0.000001").cast(MONEY)
    # In the course of an hour: no fill is at the moment of a charge.
    moment = (pl.col("begin") + pl.col("hours") * number // 3) * HOUR + (1 + position * 7_919 % 3_599) * 1_000_000
    return [
        (START_MICROSECONDS + moment).alias("time"),
        market.replace_strict(range(len(MARKETS)), [base for base, _ in MARKETS]).alias("base"),
        (position // 8 % 2 == 1).alias("margin_is_base"),
        ((position % 2 == 0) == pl.col("forward")).alias("is_buy"),
        (price * exact).alias("price"),
        (size * pl.col("share").cast(MONEY) * exact).alias("quantity"),
    ]


def _events() -> list[pl.Expr]:
    """The canonical columns, in their order; the fee is in the currency received."""
    rate, worth = pl.lit("0.001").cast(MONEY), pl.col("quantity") * pl.col("price")
    made = {
        "time": pl.from_epoch("time", time_unit="us").dt.replace_time_zone("UTC"),
        "event_id": pl.format("event-{}", "row"),
        "account": pl.format("account-{}", "position"),
        "instrument": pl.format("{}-{}", "base", pl.lit(QUOTE)),
        "mode": pl.lit("new"),
        "margin_currency": pl.when("margin_is_base").then("base").otherwise(pl.lit(QUOTE)),
        "kind": pl.lit("fill"),
        "side": pl.when("is_buy").then(pl.lit("buy")).otherwise(pl.lit("sell")),
        "fee": pl.when("is_buy").then("quantity").otherwise(worth) * rate,
        "fee_currency": pl.when("is_buy").then("base").otherwise(pl.lit(QUOTE)),
        "reduce_only": pl.lit(value=False),
    }
    given = ("quantity", "price", "leverage")
    return [
        (pl.col(column.name) if column.name in given else made.get(column.name, pl.lit(None))).alias(column.name)
        for column in EVENTS
    ]


def _rates(loans: Loans) -> pl.DataFrame:
    """An hourly rate of some 2 % a year for every currency owed, in force from each full hour on."""
    shorts = min(loans.positions // 2, len(MARKETS))
    currencies = [QUOTE, *(base for base, _ in MARKETS[:shorts])]
    hours = pl.DataFrame({"hour": pl.int_range(loans.hours + 1, eager=True)})
    owed = pl.DataFrame({"currency": currencies}).with_row_index("number")
    steps = 2_000 + (pl.col("hour") * 7_919 + pl.col("number") * 104_729) % 997
    return hours.join(owed, how="cross", maintain_order="left_right").select(
        time=pl.from_epoch(START_MICROSECONDS + pl.col("hour") * HOUR, time_unit="us").dt.to_string(
            "%Y-%m-%dT%H:%M:%SZ"
        ),
        currency="currency",
        rate=(steps.cast(MONEY) * pl.lit("1e-9").cast(MONEY)).cast(pl.Decimal(38, 9)).cast(pl.String),
        unit=pl.lit("hourly"),
    )


if __name__ == "__main__":
    target, is_tiny, *names = sys.argv[1:]
    for shape in (SHAPES[name] for name in names):
        Path(target, shape.name).mkdir()
        write_loans(shape.tiny() if int(is_tiny) else shape, Path(target, shape.name))
