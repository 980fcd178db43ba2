"""How an exchange charges: every policy of the family tried on its rows, with how many of them each one explains.

Nothing is claimed beyond the count: values that explain the same rows are tied, and rows that cannot tell are not
counted.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import polars as pl

from ledger.columns import schema
from ledger.interest.causes import other_roundings
from ledger.interest.columns import EARLY, INTEREST_FITS, LATE, RATE_UNITS, UNITS
from ledger.interest.comparison import Comparison
from ledger.interest.dues import charge_if
from ledger.interest.policy import PERIODS, InterestPolicy, shipped_policies

Reperform = Callable[[InterestPolicy], tuple[Comparison, pl.DataFrame]]
"""Compares the rows under a policy: the comparison, and the charges due with what is known of each."""

_GRIDS = ("on_the_hour", "first_hour_at_borrow", "part_hour_rounds_up", "rollover")


@dataclass(frozen=True)
class Identified:
    """The counts (columns INTEREST_FITS), the policy of the best values, and the comparison under it."""

    fits: pl.DataFrame
    policy: InterestPolicy
    comparison: Comparison


def identify(reperform: Reperform, start: InterestPolicy, has_events: bool) -> Identified:
    """How many rows each value of each property explains.

    Where values tie, that of `start` counts if it is among them, else the first. Without events nobody knows when a
    loan began: then `has_events` is false, and of the timing only the full hours are told.
    """
    if not has_events:
        start = start.model_copy(update={"period_hours": _rhythm(reperform(start)[1], start)})
    # Under compounding both kinds of links can be seen: see `loans`.
    links = [*_compounding(reperform(start.model_copy(update={"compounding": True}))[1])]
    best = _with_best(start, "compounding", _judged(links))
    best = _with_best(best, "rounding", _judged(_roundings(reperform(best)[1], best)))
    comparison, due = reperform(best)
    tries = [*_roundings(due, best), *links, *_rates(due, best)]
    tries += [*(_timing(reperform, best) if has_events else _hours(due)), *_shipped(reperform)]
    for shipped in shipped_policies().values():
        other = reperform(shipped)[0]
        if (comparison.interest["difference"] != 0).any() and (other.interest["difference"] == 0).all():
            best, comparison = shipped, other
    frames = [_judged([one for one in tries if one[0] == name]) for name in dict.fromkeys(one[0] for one in tries)]
    return Identified(pl.concat(frames).select(*schema(INTEREST_FITS)), best, comparison)


Try = tuple[str, str, int, int]
"""Property, value, rows explained, rows that can tell."""


def _charged(due: pl.DataFrame) -> pl.DataFrame:
    """The charges that have a row, with `basis`, what each is on as far as is known."""
    found = due.filter(pl.col("charged").is_not_null(), pl.col("charge") != "opening_fee")
    return found.with_columns(basis=pl.coalesce("stated_liability", "recorded_liability"))


def _roundings(due: pl.DataFrame, policy: InterestPolicy) -> Iterator[Try]:
    rows = _charged(due)
    for rounding, decimals in [(policy.rounding, policy.decimals), *other_roundings(policy)]:
        other = policy.model_copy(update={"rounding": rounding, "decimals": decimals})
        explained = int((charge_if(rows, "basis", other) == rows["charged"]).sum())
        yield "rounding", f"{rounding} at {decimals} decimals", explained, rows.height


def _compounding(due: pl.DataFrame) -> Iterator[Try]:
    """Links between two charges of a loan with no event between them, by the liability the later one states.

    `due` is of a policy that compounds: `recorded_liability` has the interest charged before, `other_liability` not.
    """
    same = (pl.col("loan") == pl.col("loan").shift(1)) & (pl.col("level") == pl.col("level").shift(1))
    differs = pl.col("recorded_liability") != pl.col("other_liability")
    links = due.filter(same, differs, pl.col("stated_liability").is_not_null(), pl.col("fixed").is_null())
    for value, column in (("yes", "recorded_liability"), ("no", "other_liability")):
        yield "compounding", value, int((links["stated_liability"] == links[column]).sum()), links.height


def _rhythm(due: pl.DataFrame, policy: InterestPolicy) -> int:
    """Hours between most rows of a loan and the next, where a policy can have so many."""
    booked = due.filter(pl.col("booked").is_not_null())
    hours = booked.select((pl.col("booked").diff().over("position").dt.total_minutes() + 30) // 60).to_series()
    most = hours.drop_nulls().mode()
    return most.min() if most.len() and most.min() in PERIODS else policy.period_hours  # type: ignore[return-value]


def _hours(due: pl.DataFrame) -> Iterator[Try]:
    """Rows booked at a full hour, or a little off it."""
    booked = due["booked"].drop_nulls()
    late = booked - (booked + EARLY).dt.truncate("1h")
    at_hours = int((late <= LATE).sum())
    yield "timing", "at full hours", at_hours, booked.len()
    yield "timing", "between full hours", booked.len() - at_hours, booked.len()


def _rates(due: pl.DataFrame, policy: InterestPolicy) -> Iterator[Try]:
    """The rate the rows state, taken in every unit; and the one the comparison takes."""
    rows = _charged(due)
    same_unit = pl.col("rate_unit").cast(pl.String) == pl.col("stated_unit").cast(pl.String)
    same = (pl.col("rate") == pl.col("stated_rate")) & same_unit
    if not rows.select(same.fill_null(value=False).all()).item():
        in_force = int((charge_if(rows, "basis", policy) == rows["charged"]).sum())
        yield "rate", "of the rates file, or in full", in_force, rows.height
    stated = rows.filter(pl.col("stated_rate").is_not_null())
    for unit in UNITS:
        taken = stated.with_columns(rate_unit=pl.lit(unit, pl.Enum(RATE_UNITS)))
        explained = int((charge_if(taken, "basis", policy, "stated_rate") == stated["charged"]).sum())
        yield "rate", f"as stated, {unit}", explained, stated.height


def _timing(reperform: Reperform, policy: InterestPolicy) -> Iterator[Try]:
    """Rows that come when a charge is due, of all rows and all charges due that have no row."""
    for grid in _GRIDS:
        period = 4 if grid == "rollover" else 1
        other = policy.model_copy(update={"grid": grid, "period_hours": period, "opening_fee": 0})
        comparison, due = reperform(other)
        on_time = int(due["charged"].is_not_null().sum())
        unmet = comparison.interest["status"].is_in(["missing", "extra"])
        yield "timing", grid if period == 1 else f"{grid} every {period} hours", on_time, on_time + int(unmet.sum())


def _shipped(reperform: Reperform) -> Iterator[Try]:
    """Rows that each shipped policy gives to the last digit on the liability the exchange held."""
    for name, policy in shipped_policies().items():
        compared = ~pl.col("status").is_in(["unattributed", "missing", "accrued"])
        interest = reperform(policy)[0].interest.filter(compared)
        agrees = int((interest["own_difference"] == 0).sum())
        yield "shipped policy", name, agrees, interest.height


def _judged(tries: list[Try] | Iterator[Try]) -> pl.DataFrame:
    """The values of one property, the best first; the share of rows decides."""
    columns = ["property", "value", "explained", "tested"]
    counts = {"explained": pl.UInt32, "tested": pl.UInt32}
    fits = pl.DataFrame(list(tries), schema=columns, orient="row").cast(counts)  # type: ignore[arg-type]
    missed = pl.col("tested") - pl.col("explained")
    is_best = (pl.col("explained") > 0) & (missed == missed.filter(pl.col("explained") > 0).min())
    is_best &= pl.col("explained") == pl.col("explained").filter(is_best).max()
    verdict = (
        pl.when(pl.col("tested") == 0)
        .then(pl.lit("not tested"))
        .when(is_best)
        .then(pl.when(is_best.sum() > 1).then(pl.lit("tied")).otherwise(pl.lit("best")))
        .otherwise(pl.lit("rejected"))
    )
    order = pl.col("verdict").replace_strict({"best": 0, "tied": 0, "rejected": 1, "not tested": 2})
    judged = fits.with_columns(verdict=verdict).sort(
        order, pl.col("explained"), descending=[False, True], maintain_order=True
    )
    return judged.cast({"verdict": schema(INTEREST_FITS)["verdict"]})


def _with_best(policy: InterestPolicy, name: str, fits: pl.DataFrame) -> InterestPolicy:
    """The policy with the best value of a property; with its own where that is among those that tie."""
    best = fits.filter(pl.col("verdict").is_in(["best", "tied"]))["value"].to_list()
    compounds = "yes" if policy.compounding else "no"
    own = f"{policy.rounding} at {policy.decimals} decimals" if name == "rounding" else compounds
    if not best or own in best:
        return policy
    if name == "compounding":
        return policy.model_copy(update={"name": "", "compounding": best[0] == "yes"})
    rounding, _, decimals, _ = best[0].split()
    return policy.model_copy(update={"name": "", "rounding": rounding, "decimals": int(decimals)})
