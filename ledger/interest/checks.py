"""What must hold of interest: findings for the Checks sheet and the exit code, as `ledger.checks` has them."""

import polars as pl

from ledger.checks import finding
from ledger.interest.policy import InterestPolicy
from ledger.money import ZERO


def accrual_checks(
    interest: pl.DataFrame, rows: pl.DataFrame, roll: pl.DataFrame, policy: InterestPolicy
) -> list[pl.DataFrame]:
    """The findings for computed interest: frames INTEREST and INTEREST_ROLL, and `moments.liability_rows`."""
    charged = interest.filter(pl.col("computed") > 0).select("position", "time", "liability", "charge", "computed")
    borrowed = pl.when(pl.col("kind") != "interest").then("borrowed").forward_fill()
    booked = rows.with_columns(borrowed_before=borrowed).filter(pl.col("kind") == "interest")
    unpaid = pl.min_horizontal(pl.col("unpaid") - pl.col("interest"), "before")
    owed = pl.col("before") if policy.compounding else pl.col("before") - unpaid
    compared = charged.hstack(booked.select("interest", "borrowed_before", owed=owed))
    basis = pl.when(pl.col("charge") == "period").then("owed").otherwise("borrowed_before")
    off = pl.max_horizontal((pl.col("liability") - basis).abs(), (pl.col("computed") - pl.col("interest")).abs())
    where = compared.select("position", "time")
    return [
        finding("interest_is_on_what_is_owed", where, compared.select(off.alias("off")).to_series()),
        roll_check(roll, rows),
    ]


def roll_check(roll: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame:
    """The finding that opening and flows end with what the ledger owes at the last row of the period."""
    loan = ["position", "currency"]
    inside = rows.filter(pl.col("time") <= roll["to_time"].max()) if roll.height else rows.clear()
    last = inside.unique("position", keep="last", maintain_order=True).filter(pl.col("owed") > 0)
    both = roll.join(last.select(*loan, "owed"), on=loan, how="full", coalesce=True, maintain_order="left_right")
    flows = pl.col("liability_opening") + pl.col("borrowed") + pl.col("interest_charged") - pl.col("repaid")
    owed, closing = pl.col("owed").fill_null(ZERO), pl.col("liability_closing").fill_null(ZERO)
    off = pl.max_horizontal((flows.fill_null(ZERO) - owed).abs(), (closing - owed).abs())
    return finding("interest_roll_forward_closes", both.select(loan), both.select(off.alias("off")).to_series())


def comparison_checks(interest: pl.DataFrame, causes: pl.DataFrame) -> list[pl.DataFrame]:
    """The findings for frames INTEREST and INTEREST_CAUSES: that the causes add up, and that charges agree."""
    loan = ["position", "currency"]
    whole = interest.group_by(loan, maintain_order=True).agg(pl.col("difference").sum())
    named = causes.group_by(loan, maintain_order=True).agg(pl.col("amount").sum())
    both = whole.join(named, on=loan, how="full", coalesce=True, maintain_order="left_right")
    off = both.select(pl.col("difference").fill_null(ZERO) - pl.col("amount").fill_null(ZERO)).to_series()
    return [
        finding("interest_differences_add_up", both.select(loan), off),
        finding("interest_agrees", interest.select("position", "time", "cause"), interest["difference"]),
    ]
