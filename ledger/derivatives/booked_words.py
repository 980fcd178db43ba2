"""What a comparison of liquidations of contracts says in words: a sentence per row, with every digit of its amounts."""

import polars as pl

from ledger.money import in_digits
from ledger.risk.policies import RiskPolicies


def explanation(policies: RiskPolicies) -> pl.Expr:
    """The sentence of each row of a comparison (see `booked.compare`, whose columns it reads)."""
    due = pl.format("due {} at {} at {}", _of_step("step"), in_digits(pl.col("due_mark")), _time("due_at"))
    booked = pl.format("booked at {}", _time("booked_at"))
    then = pl.when(pl.col("booked_at") == pl.col("due_at")).then(pl.lit("booked then")).otherwise(booked)
    compared = pl.concat_str(due, pl.lit(", "), then, _taken_over(), _differences(), _to_account())
    left_out = pl.when(pl.col("step_number") > 1).then(pl.lit("; what is recorded after the first is left out"))
    ratio, limit = in_digits(pl.col("booked_ratio")), in_digits(pl.lit(str(policies.liquidation_ratio)))
    above = pl.format("the ratio at the mark {} was {}, above {}", in_digits(pl.col("booked_mark")), ratio, limit)
    why_not = pl.when(pl.col("booked_ratio").is_null()).then(pl.lit("nothing was required")).otherwise(above)
    missing = pl.when(pl.col("booked_mark").is_null()).then(pl.lit("no mark price")).otherwise(pl.lit("no rate"))
    return (
        pl.when(pl.col("verdict") == "not_booked")
        .then(pl.concat_str(due, pl.lit(", not booked"), left_out.fill_null("")))
        .when(pl.col("verdict") == "not_graded")
        .then(pl.format("{}; {} is known of then", booked, missing))
        .when(pl.col("verdict") == "not_due")
        .then(pl.concat_str(booked, pl.lit("; "), why_not, pl.lit(": none was due"), _to_account()))
        .when(pl.col("verdict") == "early")
        .then(pl.concat_str(booked, pl.lit(", before it was "), due, _to_account()))
        .otherwise(compared)
    )


def _of_step(name: str) -> pl.Expr:
    return (
        pl.when(pl.col(name) == "full")
        .then(pl.lit("in full"))
        .when(pl.col(name) == "pair")
        .then(pl.lit("in part, long against short,"))
        .otherwise(pl.lit("in part"))
    )


def _time(name: str) -> pl.Expr:
    """The time, to the minute where that is all of it."""
    return pl.col(name).dt.strftime("%Y-%m-%d %H:%M:%S%.f").str.strip_suffix(":00")


def _taken_over() -> pl.Expr:
    """At which of the two prices a full liquidation is booked."""
    at_bankruptcy = pl.when("at_bankruptcy").then(pl.lit(" at the bankruptcy price")).otherwise(pl.lit(""))
    return pl.when("at_due_mark").then(pl.lit(" at the mark")).otherwise(at_bankruptcy)


def _differences() -> pl.Expr:
    """What is booked less what was due, of each figure that is not the same."""
    other_step = (pl.col("step_booked") != pl.col("step_due")) & (pl.col("step_due") != "pair")
    step = pl.when(other_step).then(pl.format("; booked {}, not {}", _of_step("step_booked"), _of_step("step_due")))
    quote = pl.col("instrument").str.split("-").list.get(1, null_on_oob=True).fill_null("")
    units = {"quantity": pl.lit("contracts"), "price": quote, "fee": pl.col("settle_currency")}
    parts = [step]
    for figure, unit in units.items():
        difference = pl.col(f"{figure}_difference")
        told = pl.format(f"; {figure} differs by {{}} {{}}", in_digits(difference), unit)
        parts.append(pl.when(difference != 0).then(told))
    return pl.concat_str([pl.coalesce(part, pl.lit("")) for part in parts])


def _to_account() -> pl.Expr:
    """Whether more, or of a pair less, goes to the account than is left."""
    more, told = pl.col("more_left"), "; {} {} {} than is left goes to the account"
    word = pl.when(more > 0).then(pl.lit("more")).otherwise(pl.lit("less"))
    return (
        pl.when(more.is_not_null())
        .then(pl.format(told, in_digits(more.abs()), "settle_currency", word))
        .otherwise(pl.lit(""))
    )
