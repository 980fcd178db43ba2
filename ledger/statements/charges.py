"""Interest of a position, each charge once: bills and accrued-interest files state the same charges."""

from datetime import timedelta

import polars as pl

from ledger.money import MONEY, ZERO
from ledger.statements.merging import LAST_DIGIT, ROUNDED

ACCRUED = "okx-interest"
TOLERANCE = timedelta(minutes=5)
"""How far apart two files may date the same charge."""

_KEY = ["account", "instrument", "currency"]


def charges(rows: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The rows of interest with `amount`, each charge once, and what stands for those left out (number, fill).

    A row of accrued interest and a bill of the same account, instrument, currency and amount within five minutes are
    one charge, of which the bill stands. Where the bill's file has 8 decimals, the accrued amount counts if it agrees.
    """
    amount = pl.coalesce(*(_unsigned(name) for name in ("interest", "change", "account_change", "size")), ZERO)
    interest = rows.filter(pl.col("meaning") == "interest").with_columns(amount=amount)
    accrued = interest.filter(pl.col("layout") == ACCRUED)
    booked = interest.filter((pl.col("layout") == "okx-bills") | (pl.col("layout") == ROUNDED))
    if accrued.is_empty() or booked.is_empty():
        return interest, pl.DataFrame(schema={"number": pl.Int64, "fill": pl.Int64})
    exact = _same(accrued, booked, [*_KEY, "amount"])
    rest = accrued.filter(~pl.col("number").is_in(exact["number"].implode()))
    rounded = booked.filter(pl.col("layout") == ROUNDED)
    near = _same(rest, rounded, _KEY).filter((pl.col("amount") - pl.col("amount_booked")).abs() < LAST_DIGIT)
    finer = near.select("amount", number="fill")
    kept = interest.filter(~pl.col("number").is_in(pl.concat([exact["number"], near["number"]]).implode()))
    kept = kept.join(finer, on="number", how="left", maintain_order="left", suffix="_finer")
    kept = kept.with_columns(amount=pl.coalesce("amount_finer", "amount")).drop("amount_finer")
    return kept, pl.concat([exact.select("number", "fill"), near.select("number", "fill")])


def _same(accrued: pl.DataFrame, booked: pl.DataFrame, by: list[str]) -> pl.DataFrame:
    """Rows of accrued interest beside the nearest bill that can be the same charge, each bill once."""
    bills = booked.sort("time", "number").select(*by, "time", fill="number", amount_booked="amount")
    found = accrued.sort("time", "number").join_asof(
        bills, on="time", by=by, strategy="nearest", tolerance=TOLERANCE, check_sortedness=False
    )
    return found.filter(pl.col("fill").is_not_null()).unique("fill", keep="first", maintain_order=True)


def _unsigned(name: str) -> pl.Expr:
    return pl.when(pl.col(name) != ZERO).then(pl.col(name).abs()).cast(MONEY)
