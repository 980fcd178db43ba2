"""Which charge each of the exchange's rows is for: they name no position, and some come late, twice or for nothing."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

import polars as pl

from ledger.columns import TIME
from ledger.interest.columns import EARLY, LATE
from ledger.interest.rows import ROWS_SCHEMA

_LOAN = ["position", "currency"]


@dataclass(frozen=True)
class Matched:
    """Rows of the exchange (ROWS_SCHEMA, and `number`) put to charges and to positions.

    `booked` are those of charges that are due, with `due`, the row of the charge, in this order; a charge can have
    several. `others` are those of no such charge, with `position` and `cause`.
    """

    booked: pl.DataFrame
    others: pl.DataFrame


def with_account(rows: pl.DataFrame, index: pl.DataFrame) -> pl.DataFrame:
    """The rows, of which those that name no account have the only one that holds positions of their instrument."""
    holders = index.group_by("instrument").agg(only=pl.col("account").unique())
    holders = holders.filter(pl.col("only").list.len() == 1).with_columns(pl.col("only").list.first())
    found = rows.join(holders, on="instrument", how="left", maintain_order="left")
    return found.with_columns(account=pl.coalesce("account", "only")).drop("only")


def last_moment(last: datetime) -> datetime:
    """Up to when rows tell what was charged: the last one, or the full hour it is a little before."""
    return max(last, (last + EARLY).replace(minute=0, second=0, microsecond=0))


def coverage(rows: pl.DataFrame, begin: datetime | None, end: datetime | None) -> pl.DataFrame:
    """From when to when the rows tell what an account was charged: columns account, `covered_from`, `covered_to`.

    That is from its first row to its last one, or the times asked for.
    """
    spans = rows.drop_nulls(["account", "instrument"]).group_by("account", maintain_order=True)
    asked = {"covered_from": pl.lit(begin, TIME), "covered_to": pl.lit(end, TIME)}
    return spans.agg(
        covered_from=pl.coalesce(asked["covered_from"], pl.col("time").min()),
        covered_to=pl.coalesce(asked["covered_to"], pl.col("time").max()),
    )


def recorded_rows(events: pl.DataFrame, index: pl.DataFrame) -> pl.DataFrame:
    """The interest among events (see `ordering.with_positions`) as rows of the exchange, which know their position."""
    own = events.filter(pl.col("kind") == "interest")
    whose = index.select("account", "instrument", of_position="position")[own["position_number"]]
    named = own.select("time", "currency", "input", "row", row_id="event_id", interest="amount").hstack(whose)
    absent = [pl.lit(None, dtype).alias(name) for name, dtype in ROWS_SCHEMA.items() if name not in named.columns]
    return named.with_columns(absent).select(*ROWS_SCHEMA, "of_position").sort("time", maintain_order=True)


def matched(rows: pl.DataFrame, due: pl.DataFrame, path: pl.DataFrame) -> Matched:
    """The rows put to the charges due (see `dues.dues`) of positions on a path (see `moments.liability_path`).

    A row is for the charge of its moment, or one a little before or after it; `of_position` may say of which
    position. Where both positions of an account and instrument owe, see `_one_position`. `due` has its `liability` and
    what is `computed` by the policy.
    """
    positions = path.select("position", "account", "instrument").unique(maintain_order=True)
    candidates = rows.join(positions, on=["account", "instrument"], maintain_order="left")
    if "of_position" in rows.columns:
        candidates = candidates.filter(pl.col("position") == pl.col("of_position")).drop("of_position")
    numbered = due.select("position", "currency", "time", owed="liability", fair="computed").with_row_index("due")
    exact = _of_the_moment(candidates, numbered)
    late = candidates.join(exact, on="number", how="anti", maintain_order="left")
    after = _a_little_off(late, numbered, "backward", LATE)
    early = late.join(after, on="number", how="anti", maintain_order="left")
    found = pl.concat([exact, after, _a_little_off(early, numbered, "forward", EARLY)])
    one = _one_position(found)
    booked = one.filter(~pl.col("is_open")).drop("is_open").sort("due", "number")
    unclear = one.filter("is_open").drop("is_open", "due").with_columns(cause=pl.lit("which_position"))
    rest = candidates.join(found, on="number", how="anti", maintain_order="left")
    return Matched(booked, pl.concat([_for_nothing(rest, path), unclear]).sort("number"))


def _of_the_moment(candidates: pl.DataFrame, due: pl.DataFrame) -> pl.DataFrame:
    """Rows booked at the very moment of a charge; several charges of one moment take the rows one by one."""
    keys = [*_LOAN, "time"]
    turn = pl.int_range(pl.len(), dtype=pl.UInt32).over(keys)
    return (
        candidates.with_columns(turn=turn)
        .join(due.with_columns(turn=turn), on=[*keys, "turn"], maintain_order="left")
        .drop("turn")
    )


def _a_little_off(
    candidates: pl.DataFrame, due: pl.DataFrame, strategy: Literal["backward", "forward"], by: timedelta
) -> pl.DataFrame:
    """Rows booked a little after (`backward`) or before a charge is due."""
    found = candidates.sort("time", maintain_order=True).join_asof(
        due.sort("time", maintain_order=True),
        on="time",
        by=_LOAN,
        tolerance=by,
        strategy=strategy,
        check_sortedness=False,
    )
    return found.filter(pl.col("due").is_not_null())


def _one_position(found: pl.DataFrame) -> pl.DataFrame:
    """Each row with one position: whose liability is nearest to what it states, then whose charge is nearest.

    Rows that fit several positions equally well go to one each, if there are as many; else each `is_open`.
    """
    off = (pl.coalesce(pl.col("liability"), "owed") - pl.col("owed")).abs()
    near = found.with_columns(off=off, off_charge=(pl.col("interest") - pl.col("fair")).abs())
    for distance in ("off", "off_charge"):
        near = near.filter(pl.col(distance) == pl.col(distance).min().over("number"))
    near = near.sort("number", "due").with_columns(
        fits=pl.len().over("number"), first=pl.col("due").min().over("number")
    )
    tied = pl.struct("first", "fits", "interest", "liability")
    near = near.with_columns(
        place=pl.int_range(pl.len()).over("number"),
        turn=(pl.col("number").rank("dense").over(tied) - 1).cast(pl.Int64),
        rows=pl.col("number").n_unique().over(tied),
    )
    chosen = near.filter(pl.col("place") == pl.min_horizontal("turn", pl.col("fits") - 1))
    is_open = (pl.col("fits") > 1) & (pl.col("rows") != pl.col("fits"))
    return chosen.with_columns(is_open=is_open).drop(
        "off", "off_charge", "fits", "first", "place", "turn", "rows", "owed", "fair"
    )


def _for_nothing(rows: pl.DataFrame, path: pl.DataFrame) -> pl.DataFrame:
    """Rows of no charge, with the position that owed their currency last, and whether it owes at that time."""
    owing = path.filter(pl.col("owed") > 0).select("position", "currency", "time", "to_time", last="time")
    ahead = rows.sort("time", maintain_order=True).join_asof(
        owing.sort("time", maintain_order=True), on="time", by=_LOAN, check_sortedness=False
    )
    owes = (pl.col("time") <= pl.col("to_time")).fill_null(value=False)
    return (
        ahead.with_columns(
            cause=pl.when(owes).then(pl.lit("charged_between")).otherwise(pl.lit("charged_after_repayment"))
        )
        .sort("number", pl.col("last"), descending=[False, True], nulls_last=True, maintain_order=True)
        .unique("number", keep="first", maintain_order=True)
        .drop("to_time", "last")
    )
