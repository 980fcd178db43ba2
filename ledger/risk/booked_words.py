"""What a comparison of liquidations says in words: one sentence per row, with every digit of its amounts."""

from collections.abc import Sequence

import polars as pl

from ledger.money import in_digits
from ledger.risk.policies import RiskPolicies

_UNITS = (("d", 86_400_000_000), ("h", 3_600_000_000), ("min", 60_000_000))
_SECOND = 1_000_000
_DIFFERENCES = {
    "quantity": "base_code",
    "price": "quote_code",
    "repaid": "liability_currency",
    "fee": "liability_currency",
}


def explanation(policies: RiskPolicies) -> pl.Expr:
    """The sentence of each row of a comparison (see `booked.compare`, whose columns it reads)."""
    due = pl.format("due {} at {} at {}", _of_step("step"), in_digits(pl.col("due_mark")), _time("due_at"))
    booked = pl.format("booked at {}", _time("booked_at"))
    delay = pl.col("booked_at") - pl.col("due_at")
    later = pl.format("{} ({} later)", _booked_at(), _span(delay))
    after = pl.when(delay == pl.duration()).then(pl.lit("booked then")).otherwise(later)
    compared = pl.concat_str(due, pl.lit(", "), after, _taken_over(), _differences())
    left_out = pl.when(pl.col("step_number") > 1).then(pl.lit("; what is recorded after the first is left out"))
    ratio = in_digits(pl.col("booked_ratio"))
    limit = in_digits(pl.lit(str(policies.liquidation_ratio)))
    above = pl.format("the ratio at the mark {} was {}, above {}", in_digits(pl.col("booked_mark")), ratio, limit)
    why_not = pl.when(pl.col("booked_ratio").is_null()).then(pl.lit("nothing was owed")).otherwise(above)
    missing = pl.when(pl.col("booked_mark").is_null()).then(pl.lit("no mark price")).otherwise(pl.lit("no rate"))
    return (
        pl.when(pl.col("verdict") == "not_booked")
        .then(pl.concat_str(due, pl.lit(", not booked"), left_out.fill_null("")))
        .when(pl.col("verdict") == "not_graded")
        .then(pl.format("{}; {} is known of then", booked, missing))
        .when(pl.col("verdict") == "not_due")
        .then(pl.format("{}; {}: none was due", booked, why_not))
        .when(pl.col("verdict") == "early")
        .then(pl.format("{}, {} before it was {}", booked, _span(-delay), due))
        .otherwise(compared)
    )


def _taken_over() -> pl.Expr:
    """At which of the two prices a full liquidation is booked."""
    return (
        pl.when("at_due_mark")
        .then(pl.lit(" at the mark"))
        .when("at_bankruptcy")
        .then(pl.lit(" at the bankruptcy price"))
        .otherwise(pl.lit(""))
    )


def _differences() -> pl.Expr:
    """What is booked less what was due, of each figure that is not the same."""
    step = pl.when(pl.col("step_booked") != pl.col("step_due")).then(
        pl.format("; booked {}, not {}", _of_step("step_booked"), _of_step("step_due"))
    )
    no_fee = pl.when(pl.col("fee_booked").is_null()).then(pl.lit("; the fee is booked in another currency"))
    return pl.concat_str([pl.coalesce(part, pl.lit("")) for part in (step, *_each(_DIFFERENCES), no_fee)])


def _of_step(name: str) -> pl.Expr:
    return pl.when(pl.col(name) == "full").then(pl.lit("in full")).otherwise(pl.lit("in part"))


def _each(figures: dict[str, str]) -> Sequence[pl.Expr]:
    base, quote = (pl.col("instrument").str.split("-").list.get(place, null_on_oob=True) for place in (0, 1))
    units = {"base_code": base, "quote_code": quote}
    found = []
    for figure, unit in figures.items():
        difference = pl.col(f"{figure}_difference")
        sentence = pl.format(
            "; {} differs by {} {}", pl.lit(figure), in_digits(difference), units.get(unit, pl.col(unit))
        )
        found.append(pl.when(difference != 0).then(sentence))
    return found


def _time(name: str) -> pl.Expr:
    """The time, to the minute where that is all of it."""
    return pl.col(name).dt.strftime("%Y-%m-%d %H:%M:%S%.f").str.strip_suffix(":00")


def _booked_at() -> pl.Expr:
    """When it was booked: without the date where that is the one when it was due."""
    same_day = pl.col("booked_at").dt.date() == pl.col("due_at").dt.date()
    return pl.format(
        "booked at {}", pl.when(same_day).then(_time("booked_at").str.slice(11)).otherwise(_time("booked_at"))
    )


def _span(duration: pl.Expr) -> pl.Expr:
    """A length of time as days, hours, minutes and seconds, without those that are zero."""
    rest = duration.dt.total_microseconds()
    parts = []
    for unit, size in _UNITS:
        count = rest // size
        parts.append(pl.when(count > 0).then(pl.format(f"{{}} {unit}", count)))
        rest = rest % size
    seconds, fraction = (rest // _SECOND).cast(pl.String), (rest % _SECOND).cast(pl.String).str.zfill(6)
    second = (
        pl.when(rest % _SECOND == 0)
        .then(seconds)
        .otherwise(pl.format("{}.{}", seconds, fraction.str.strip_chars_end("0")))
    )
    parts.append(pl.when(rest > 0).then(pl.format("{} s", second)))
    return pl.concat_str(parts, separator=" ", ignore_nulls=True)
