"""When interest is charged, and on what: the liability of each position between its events, cut at the moments due."""

from collections.abc import Iterator
from datetime import datetime, timedelta

import polars as pl

from ledger.columns import TIME
from ledger.interest.columns import CHARGES
from ledger.interest.policy import InterestPolicy
from ledger.money import ZERO
from ledger.spool import batch_ranges

_CHARGE = pl.Enum(CHARGES)
HOUR = 3_600_000_000
"""Microseconds."""
_PIECE = 500_000
"""Charging moments that are worked on together, unless one position has more."""


def liability_rows(ledger: pl.DataFrame, index: pl.DataFrame) -> pl.DataFrame:
    """What each position owes after each ledger row, and what the row added and took: one row per row of the ledger.

    `ledger` has the columns LEDGER, whole positions in order; `index` comes from `ordering.index_positions`. `balance`
    is the liability leg turned round: what is `owed`, or a surplus below zero; `before` is what was owed. `borrowed`,
    `interest` and `repaid` are what the row did to it, the sums `interest_so_far` and `repaid_so_far` are since the
    position opened. `unpaid` is the interest still owed where repayments pay interest first. `spell` is when the debt
    that stands began.
    """
    is_long = pl.col("direction") == "long"
    currencies = index.select("position", "account", "instrument", "base_currency", "quote_currency").lazy()
    is_first = pl.col("is_first")
    net = pl.col("interest") - pl.col("repaid")
    return (
        ledger.lazy()
        .select(
            *("position", "episode", "row", "time", "kind", "direction"),
            interest=pl.col("interest").fill_null(ZERO),
            balance=-pl.when(is_long).then("quote_closing").otherwise("base_closing"),
            before=-pl.when(is_long).then("quote_opening").otherwise("base_opening"),
            is_first=pl.struct("position", "episode").rle_id().is_first_distinct(),
        )
        .with_columns(owed=pl.max_horizontal("balance", ZERO), before=pl.max_horizontal("before", ZERO))
        .with_columns(grown=pl.col("owed") - pl.col("before") - pl.col("interest"))
        .with_columns(borrowed=pl.max_horizontal("grown", ZERO), repaid=pl.max_horizontal(-pl.col("grown"), ZERO))
        .with_columns(
            interest_so_far=_since(is_first, "interest"),
            repaid_so_far=_since(is_first, "repaid"),
            net=net.cum_sum() - pl.when(is_first).then(net.cum_sum() - net).forward_fill(),
            life=is_first.cum_sum(),
            begins=(pl.col("owed") > 0) & ((pl.col("owed").shift(1, fill_value=ZERO) == 0) | is_first),
        )
        .with_columns(
            unpaid=pl.col("net") - pl.min_horizontal(pl.col("net").cum_min().over("life"), ZERO),
            spell=pl.when("begins").then("time").forward_fill(),
        )
        .join(currencies, on="position", how="left", maintain_order="left")
        .with_columns(currency=pl.when(is_long).then("quote_currency").otherwise("base_currency"))
        .drop("direction", "is_first", "grown", "net", "life", "begins", "base_currency", "quote_currency")
        .collect()
    )


def _since(is_first: pl.Expr, amount: str) -> pl.Expr:
    """The sum of an amount since the first row of the same life."""
    total = pl.col(amount).cum_sum()
    return total - pl.when(is_first).then(total - pl.col(amount)).forward_fill()


def liability_path(rows: pl.DataFrame, until: datetime, policy: InterestPolicy) -> pl.DataFrame:
    """From one event to the next: the rows of `liability_rows` that are not interest, each with how long it stands.

    It stands until `to_time`: the position's next event, or the end `until`. `level` is what would be owed had no
    interest been charged since the position opened; below zero it is a surplus.
    """
    end = until + timedelta(microseconds=policy.same_moment == "events_first")
    same = pl.col("position") == pl.col("position").shift(-1)
    return rows.filter(pl.col("kind") != "interest").with_columns(
        to_time=pl.when(same).then(pl.col("time").shift(-1)).otherwise(pl.lit(end, TIME)),
        level=pl.col("balance") - pl.col("interest_so_far"),
    )


def moments_due(path: pl.DataFrame, policy: InterestPolicy) -> pl.DataFrame:
    """One row per charge that is due, position after position and in the order they happen.

    `place` is the row of `path` (see `liability_path`) after which it is due; `fixed` is the amount borrowed where the
    charge is on that alone. `rate_time` is the moment whose rate counts.
    """
    placed = path.with_row_index("place")
    at_once = ["first_period"] * policy.charges_first_period + ["opening_fee"] * (policy.opening_fee > 0)
    parts = [*(_at_borrowing(placed, charge) for charge in at_once), _periods(placed, policy)]
    due = pl.concat(parts)
    if len(parts) > 1:
        due = due[due.select(pl.arg_sort_by("place", maintain_order=True)).to_series()]
    if policy.rate_of == "charge":
        return due.with_columns(rate_time="time")
    return due.with_columns(rate_time=path["spell"].gather(due["place"]))


def _periods(placed: pl.DataFrame, policy: InterestPolicy) -> pl.DataFrame:
    """The charges at the end of each period, on what is owed then."""
    period = policy.period_hours * HOUR
    start = pl.col("spell").to_physical() if policy.counts_from_borrowing else pl.lit(0, pl.Int64)
    begin, end = pl.col("time").to_physical() - start, pl.col("to_time").to_physical() - start
    if policy.same_moment == "charge_first":
        first, last = begin // period + 1, end // period
    else:
        first, last = -(-begin // period), -(-end // period) - 1
    if policy.counts_from_borrowing:
        first = pl.max_horizontal(first, 1)
    return (
        placed.lazy()
        .filter(pl.col("owed") > 0)
        .select("place", start=start, first=first, last=last)
        .filter(pl.col("last") >= pl.col("first"))
        .select("place", "start", number=pl.int_ranges("first", pl.col("last") + 1))
        .explode("number")
        .select(
            "place",
            time=(pl.col("start") + pl.col("number") * period).cast(TIME),
            charge=pl.lit("period", _CHARGE),
            fixed=pl.lit(None, placed.schema["borrowed"]),
        )
        .collect()
    )


def _at_borrowing(placed: pl.DataFrame, charge: str) -> pl.DataFrame:
    """The charges on what each row borrows, at once."""
    borrowing = placed.filter(pl.col("borrowed") > 0)
    return borrowing.select("place", "time", charge=pl.lit(charge, _CHARGE), fixed="borrowed")


def pieces(
    events: pl.DataFrame, index: pl.DataFrame, until: datetime, policy: InterestPolicy
) -> Iterator[pl.DataFrame]:
    """The events of whole positions (see `ordering.with_positions`) in pieces with so many charging moments at most.

    Positions of one account and instrument stay together: rows of interest name no more than these.
    """
    span = pl.lit(until, TIME).to_physical() - pl.col("time").min().to_physical()
    periods = (span // (policy.period_hours * HOUR)).clip(0) + pl.len().cast(pl.Int64)
    pair = index.select(pl.struct("account", "instrument").rle_id()).to_series()
    per_position = events.group_by("position_number", maintain_order=True).agg(rows=pl.len(), periods=periods)
    counts = (
        per_position.with_columns(pair=pair.gather(per_position["position_number"]))
        .group_by("pair", maintain_order=True)
        .agg(pl.col("rows", "periods").sum())
    )
    start = 0
    for first, last in batch_ranges(counts["periods"].to_list(), _PIECE):
        length = int(counts["rows"][first : last + 1].sum())
        yield events[start : start + length]
        start += length
