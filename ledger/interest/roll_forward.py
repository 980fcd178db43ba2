"""The interest of a period: what was owed, borrowed, charged and repaid, and what has run since the last charge."""

from datetime import datetime

import polars as pl

from ledger.columns import TIME, schema
from ledger.interest.charging import charge_on
from ledger.interest.columns import INTEREST_ROLL, UNITS
from ledger.interest.moments import HOUR
from ledger.interest.rates import SCOPE
from ledger.interest.terms import Terms
from ledger.money import MONEY, ZERO, from_units, units

_LOAN = ["position", "currency"]


def roll_forward(rows: pl.DataFrame, terms: Terms, begin: datetime | None) -> pl.DataFrame:
    """The roll-forward (columns INTEREST_ROLL) of the period after `begin` and up to the terms' end.

    One row per position and currency in which it ever owed up to then; `rows` comes from `moments.liability_rows`.
    Without `begin` the period starts with opening balances, whenever they are carried in, and nothing else.
    """
    until = pl.col("time") <= terms.until
    before = pl.col("kind") == "opening" if begin is None else pl.col("time") <= begin
    inside = until & ~before
    flows = {"borrowed": "borrowed", "interest_charged": "interest", "repaid": "repaid"}
    totals = (
        rows.filter(until)
        .group_by(_LOAN, maintain_order=True)
        .agg(
            _total(pl.col("borrowed") + pl.col("interest") - pl.col("repaid"), before).alias("liability_opening"),
            *(_total(pl.col(flow), inside).alias(name) for name, flow in flows.items()),
        )
        .filter(pl.any_horizontal(pl.col("liability_opening", *flows) != 0))
    )
    opening = accrued(rows if begin else rows.clear(), terms, begin or terms.until)
    closing = accrued(rows, terms, terms.until)
    found = _with(_with(totals, opening, "accrued_opening"), closing, "accrued_closing").with_columns(
        from_time=pl.lit(begin, TIME), to_time=pl.lit(terms.until, TIME)
    )
    computed = [column.expression() for column in INTEREST_ROLL if column.formula]
    return found.with_columns(computed).select(*schema(INTEREST_ROLL))


def _total(amount: pl.Expr, where: pl.Expr) -> pl.Expr:
    return pl.when(where).then(amount).otherwise(ZERO).sum()


def _with(totals: pl.DataFrame, run: pl.DataFrame, name: str) -> pl.DataFrame:
    """The totals with interest that has run: nothing where nothing is owed, empty where no rate is known."""
    both = totals.join(run.with_columns(stands=pl.lit(value=True)), on=_LOAN, how="left", maintain_order="left")
    amount = pl.when("stands").then("accrued").otherwise(ZERO)
    return both.with_columns(amount.alias(name)).drop("accrued", "stands")


def accrued(rows: pl.DataFrame, terms: Terms, moment: datetime) -> pl.DataFrame:
    """Interest that has run by a moment and is not charged yet: columns position, currency, accrued [D].

    What is owed at the moment, times its rate, for the time since the later of the last charging moment and the begin
    of the debt; an hour is taken in proportion. Zero where periods are paid in advance, empty where no rate is known.
    `rows` comes from `moments.liability_rows`.
    """
    policy, now = terms.policy, pl.lit(moment, TIME)
    standing = rows.filter(pl.col("time") <= moment).unique("position", keep="last", maintain_order=True)
    standing = standing.filter(pl.col("owed") > 0)
    if policy.charges_first_period or standing.is_empty():
        return standing.select(*_LOAN, accrued=ZERO)
    period = policy.period_hours * HOUR
    start = pl.col("spell").to_physical() if policy.counts_from_borrowing else pl.lit(0, pl.Int64)
    last = start + (now.to_physical() - start) // period * period
    elapsed = (now.to_physical() - pl.max_horizontal(last, pl.col("spell").to_physical())).cast(pl.Int128)
    basis = pl.col("owed") if policy.compounding else pl.col("owed") - pl.min_horizontal("owed", "unpaid")
    when = pl.col("spell") if policy.rate_of == "borrowing" else now
    places = pl.int_range(standing.height, dtype=pl.UInt32, eager=True)
    rates = terms.rates.in_force(standing.select(SCOPE), places, standing.select(when.alias("time")).to_series())
    parts = standing.select("position", "currency", basis=units(basis), elapsed=elapsed).hstack(rates)
    charge = charge_on(
        parts["basis"],
        parts.select(units(pl.col("rate")).fill_null(0) * pl.col("elapsed")).to_series(),
        parts.select(pl.col("unit").replace_strict(UNITS, return_dtype=pl.Int128).fill_null(1) * HOUR).to_series(),
        policy,
    )
    amount = pl.when(pl.col("rate").is_not_null()).then(from_units(pl.lit(charge)))
    return parts.select("position", "currency", accrued=amount.cast(MONEY))
