"""Why a charge differs: one mistake at a time is tried, and a mistake that gives the charge to the last digit named.

Mistakes that give it equally well are named side by side; where none does, the difference is unexplained.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from decimal import Decimal

import polars as pl

from ledger.columns import TIME, schema
from ledger.interest.columns import INTEREST_CAUSES
from ledger.interest.dues import RATE_UNIT, charge_if
from ledger.interest.policy import InterestPolicy
from ledger.interest.rates import SCOPE, Rates
from ledger.interest.stated_rates import exact_rates
from ledger.money import SCALE, ZERO, units

CAUSES: Mapping[str, str] = {
    "missing_hour": "No charge for a period in which something was owed.",
    "lost_row": "Charged, for the later liability has it, but its row is not among the exchange's.",
    "doubled_hour": "The same period charged once more.",
    "charged_after_repayment": "Charged though nothing was owed.",
    "charged_between": "Charged though no period ended.",
    "no_position": "Charged for an account, instrument and currency of which no position ever owed.",
    "which_position": "Charged for one of several positions, and nothing tells which; --account names the account.",
    "stale_rate": "The rate of an earlier or later period.",
    "rate_unit": "The rate taken in the wrong unit.",
    "cut_rate": "The rate in full, of which the rates file has a quotient that is cut off.",
    "other_rate": "The rate the exchange's row states, which is not the one of the rates file.",
    "simple_interest": "Charged without interest on the interest charged before.",
    "compound_interest": "Charged on the interest charged before, too.",
    "rounding": "Rounded in another way.",
    "other_liability": "Charged on the liability the row states, which is not what the ledger owes.",
    "carried_forward": "Follows from earlier differences, which compounding carries on.",
    "unexplained": "No single mistake that is known gives this amount.",
}
"""Every cause, with what it means."""

_FACTORS = {
    (24, 1): "24 times the rate: a daily rate taken as hourly",
    (1, 24): "a 24th of the rate: an hourly rate taken as daily",
    (365, 1): "365 times the rate: an annual rate taken as daily",
    (1, 365): "a 365th of the rate: a daily rate taken as annual",
    (8760, 1): "8760 times the rate: an annual rate taken as hourly",
    (1, 8760): "an 8760th of the rate: an hourly rate taken as annual",
}
_PERIODS_BACK = (*range(1, 25), -1)
"""How far the rate may be behind: a day; or ahead by one."""
_ROUNDINGS = ("up", "down", "half_up", "half_even")

Tried = tuple[str, str, pl.Series]
"""A cause, its note, and the charge it gives in each row."""


def tried(rows: pl.DataFrame, policy: InterestPolicy, rates: Rates) -> Iterator[Tried]:
    """Every single mistake, with the charge it would have given.

    `rows` are charges due (see `comparison.with_recorded`) with `basis`, what each was on.
    """
    for rounding, decimals in other_roundings(policy):
        other = policy.model_copy(update={"rounding": rounding, "decimals": decimals})
        yield "rounding", f"{rounding} at {decimals} decimals", charge_if(rows, "basis", other)
    for periods in _PERIODS_BACK:
        behind = _at_the_rate_before(rows, rates, timedelta(hours=periods * policy.period_hours))
        note = (
            "the rate of the next period"
            if periods < 0
            else f"the rate of {periods} period{'s' * (periods > 1)} before"
        )
        yield "stale_rate", note, charge_if(behind, "basis", policy, "other")
    for (times, per), note in _FACTORS.items():
        yield "rate_unit", note, charge_if(rows, "basis", policy, times=times, per=per)
    in_full = exact_rates(rows["rate"], rows["rate_unit"].cast(pl.String).replace("once", None))
    if not in_full["rate"].equals(rows["rate"]):
        full = rows.with_columns(other="rate", rate_unit=in_full["unit"].cast(pl.String).cast(RATE_UNIT))
        full = full.with_columns(other=pl.when(in_full["rate"] != rows["rate"]).then(in_full["rate"]))
        yield "cut_rate", "the quotient of a daily or annual rate in full", charge_if(full, "basis", policy, "other")
    stated = rows.with_columns(other="stated_rate", rate_unit=_taken_as(pl.col("stated_unit")))
    yield "other_rate", "the rate the row states", charge_if(stated, "basis", policy, "other")
    other_way = "simple_interest" if policy.compounding else "compound_interest"
    yield other_way, "the liability counted the other way", charge_if(rows, "other_liability", policy)


def _at_the_rate_before(rows: pl.DataFrame, rates: Rates, span: timedelta) -> pl.DataFrame:
    """The rows with `other`, the rate in force so much earlier in its own unit, where it is another one."""
    places = pl.int_range(rows.height, dtype=pl.UInt32, eager=True)
    then = rates.in_force(rows.select(SCOPE), places, rows["rate_time"] - span).select(other="rate", unit="unit")
    unit = _taken_as(pl.col("unit"))
    differs = (pl.col("other") != pl.col("rate")) | (unit != pl.col("rate_unit"))
    return rows.hstack(then).with_columns(other=pl.when(differs).then("other"), rate_unit=unit)


def _taken_as(unit: pl.Expr) -> pl.Expr:
    """A unit among those of charges; any will do where there is no rate."""
    return unit.cast(pl.String).cast(RATE_UNIT).fill_null(pl.lit("once", RATE_UNIT))


def other_roundings(policy: InterestPolicy) -> Iterator[tuple[str, int]]:
    """Every rounding but the policy's own: the nearest numbers of decimals first."""
    every = [(rounding, decimals) for decimals in range(4, 19) for rounding in _ROUNDINGS]
    every.remove((policy.rounding, policy.decimals))
    yield from sorted(every, key=lambda one: abs(one[1] - policy.decimals))


def cause_of_charge(rows: pl.DataFrame, policy: InterestPolicy, rates: Rates) -> pl.DataFrame:
    """Columns `cause` and `note` for charges that are not what their liability and rate give."""
    if rows.is_empty():
        return pl.DataFrame(schema={"cause": pl.String, "note": pl.String})
    found: dict[str, pl.Series] = {}
    for cause, note, charge in tried(rows, policy, rates):
        fits = (charge == rows["charged"]).fill_null(value=False)
        before = found.get(cause)
        noted = pl.select(pl.when(fits).then(pl.lit(note))).to_series()
        found[cause] = noted if before is None else pl.select(pl.coalesce(before, noted)).to_series()
    # The rate of another row is the better explanation where the row states that rate, too.
    for better in ("stale_rate", "rate_unit"):
        if "other_rate" in found:
            found["other_rate"] = pl.select(pl.when(found[better].is_null()).then(found["other_rate"])).to_series()
    notes = pl.DataFrame([note.alias(cause) for cause, note in found.items()])
    names = [pl.when(pl.col(cause).is_not_null()).then(pl.lit(cause)) for cause in notes.columns]
    both = notes.select(cause=_side_by_side(names), note=_side_by_side([pl.col(cause) for cause in notes.columns]))
    is_open = pl.col("cause") == ""
    return both.hstack(rows.select("by_charge")).select(
        cause=pl.when(is_open).then(pl.lit("unexplained")).otherwise("cause"),
        note=pl.when(is_open).then(_last_places(policy)).otherwise("note"),
    )


def _last_places(policy: InterestPolicy) -> pl.Expr:
    """What a difference of very few units of the last decimal could come from; no more than that."""
    count = (units(pl.col("by_charge")) // 10 ** (SCALE - policy.decimals)).cast(pl.Int64)
    few = (policy.rounding == "up") & pl.col("by_charge").is_between(0, 5 * Decimal(10) ** -policy.decimals)
    note = pl.format("{} of the last decimal too much: parts rounded up one by one could give that", count)
    return pl.when(few).then(note)


def _side_by_side(texts: Sequence[pl.Expr]) -> pl.Expr:
    return pl.concat_str(texts, separator=" or ", ignore_nulls=True)


def summed(entries: list[pl.DataFrame]) -> pl.DataFrame:
    """The causes (columns INTEREST_CAUSES) from their parts: position, currency, time, cause, amount.

    What is unexplained has its line even where it is nothing.
    """
    parts = pl.concat(entries)
    loans = parts.select("position", "currency").unique(maintain_order=True)
    rest = loans.with_columns(cause=pl.lit("unexplained"), amount=ZERO, time=pl.lit(None, TIME))
    order = {cause: place for place, cause in enumerate(CAUSES)}
    named = pl.col("cause").str.split(" or ")
    meanings = named.list.eval(pl.element().replace_strict(CAUSES, return_dtype=pl.String))
    return (
        pl.concat([parts.filter(pl.col("amount") != 0), rest.select(parts.columns)])
        .group_by("position", "currency", "cause", maintain_order=True)
        .agg(
            charges=pl.col("time").count().cast(pl.UInt32),
            amount=pl.col("amount").sum(),
            first_time=pl.col("time").min(),
            last_time=pl.col("time").max(),
        )
        .with_columns(description=meanings.list.join(" Or: "))
        .sort("position", "currency", named.list.first().replace_strict(order, return_dtype=pl.Int64), "cause")
        .select(*schema(INTEREST_CAUSES))
    )
