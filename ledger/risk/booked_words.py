"""What a comparison of liquidations says in words: one sentence per row, with every digit of its amounts."""

from collections.abc import Mapping, Sequence

import polars as pl

from ledger.money import in_digits
from ledger.risk.policies import RiskPolicies

_UNITS = (("d", 86_400_000_000), ("h", 3_600_000_000), ("min", 60_000_000))
_SECOND = 1_000_000
_OF_THE_LOAN = {"repaid": "repaid", "fee": "fee"}
_OF_THE_MARGIN = {"realised_pnl": "realised PnL", "insurance_fund": "insurance fund"}


def explanation(policies: RiskPolicies) -> pl.Expr:
    """The sentence of each row of a comparison (see `booked.compare`, whose columns it reads)."""
    due = pl.format("due {} at {} at {}", _of_step("step"), in_digits(pl.col("due_mark")), _time("due_at"))
    booked = pl.format("booked at {}", _time("booked_at"))
    delay = pl.col("booked_at") - pl.col("due_at")
    later = pl.format("{} ({} later)", _booked_at(), _span(delay))
    after = pl.when(delay == pl.duration()).then(pl.lit("booked then")).otherwise(later)
    compared = pl.concat_str(due, pl.lit(", "), after, _taken_over(), _differences())
    is_later = (pl.col("step_number") > 1) & ~pl.col("is_missed")
    left_out = pl.when(is_later).then(pl.lit("; what is recorded after the first is left out"))
    limit = in_digits(pl.lit(str(policies.liquidation_ratio)))
    above = pl.format("the ratio at the mark {} was {}, above {}", *_mark_and_ratio(), limit)
    cancels = pl.format("the ratio at the mark {} was {}, and only cancelled its orders", *_mark_and_ratio())
    is_above = pl.col("booked_ratio") > policies.liquidation_ratio
    why_not = pl.when(is_above).then(above).when(is_above.is_null()).then(pl.lit("nothing was owed")).otherwise(cancels)
    missing = pl.when(pl.col("booked_mark").is_null()).then(pl.lit("no mark price")).otherwise(pl.lit("no rate"))
    return (
        pl.when(pl.col("verdict") == "not_booked")
        .then(pl.concat_str(due, pl.lit(", not booked"), _missed(), left_out.fill_null("")))
        .when(pl.col("verdict") == "not_graded")
        .then(pl.format("{}; {} is known of then", booked, missing))
        .when(pl.col("verdict") == "not_due")
        .then(pl.format("{}; {}: none was due", booked, why_not))
        .when(pl.col("verdict") == "early")
        .then(pl.format("{}, {} before it was {}{}", booked, _span(-delay), due, _differences()))
        .otherwise(compared)
    )


def _mark_and_ratio() -> tuple[pl.Expr, pl.Expr]:
    return in_digits(pl.col("booked_mark")), in_digits(pl.col("booked_ratio"))


def _missed() -> pl.Expr:
    """Until when a missed one was due, and how often that happened again before it was booked or left out."""
    again, last = pl.col("missed_again"), _time("missed_until")
    once = pl.format("; due once more, from {}", last)
    often = pl.format("; due {} more times, the last from {}", again, last)
    times = pl.when(again == 1).then(once).when(again > 1).then(often).otherwise(pl.lit(""))
    over = pl.format(", no longer due at {}{}", _time("over"), times)
    return pl.when("is_missed").then(over).otherwise(pl.lit(""))


def _taken_over() -> pl.Expr:
    """At which of the two prices a full liquidation is booked."""
    is_one = pl.col("is_full") & (pl.col("price_difference") == 0)
    price = pl.when("at_bankruptcy").then(pl.lit(" at the bankruptcy price")).otherwise(pl.lit(" at the mark"))
    return pl.when(is_one).then(price).otherwise(pl.lit(""))


def _differences() -> pl.Expr:
    """What is booked less what was due, of each figure that is not the same."""
    step = pl.when(pl.col("step_booked") != pl.col("step_due")).then(
        pl.format("; booked {}, not {}", _of_step("step_booked"), _of_step("step_due"))
    )
    no_fee = pl.when(pl.col("fee_booked").is_null()).then(pl.lit("; the fee is booked in another currency"))
    parts = (
        step,
        _quantity(),
        _price(),
        *_each(_OF_THE_LOAN, "liability_currency"),
        *_each(_OF_THE_MARGIN, "margin_currency"),
        _returned(),
        no_fee,
    )
    return pl.concat_str([pl.coalesce(part, pl.lit("")) for part in parts])


def _quantity() -> pl.Expr:
    """How the quantity differs, and how much of what is booked the position did not have."""
    differs = pl.format("; quantity differs by {} {}", in_digits(pl.col("quantity_difference")), _code(0))
    beyond = pl.format(", {} {} of it beyond the position", in_digits(pl.col("beyond")), _code(0))
    extra = pl.when(pl.col("beyond") > 0).then(beyond).otherwise(pl.lit(""))
    return pl.when(pl.col("quantity_difference") != 0).then(pl.concat_str(differs, extra))


def _price() -> pl.Expr:
    """How the price differs from the mark; of a full one from the bankruptcy price, too."""
    differs = pl.format("; price differs by {} {}", in_digits(pl.col("price_difference")), _code(1))
    neither = pl.format("; booked at {}: {}", in_digits(pl.col("price_booked")), _away("due_mark", "mark"))
    also = pl.concat_str(neither, pl.lit(", "), _away("bankruptcy_price", "bankruptcy price"))
    sentence = pl.when("is_full").then(pl.coalesce(also, neither)).otherwise(differs)
    return pl.when(pl.col("price_difference") != 0).then(sentence)


def _away(name: str, called: str) -> pl.Expr:
    """How far the price is from another one."""
    difference = pl.col("price_booked") - pl.col(name)
    side = pl.when(difference < 0).then(pl.lit("below")).otherwise(pl.lit("above"))
    return pl.format(
        f"{{}} {{}} {{}} the {called} {{}}", in_digits(difference.abs()), _code(1), side, in_digits(pl.col(name))
    )


def _returned() -> pl.Expr:
    """What the account got beside what was due: the record wins (rules 6)."""
    got, wanted = in_digits(pl.col("returned_booked")), in_digits(pl.col("returned_due"))
    sentence = pl.format("; {} {} came back to the account, not {}", got, pl.col("margin_currency"), wanted)
    return pl.when(pl.col("returned_difference") != 0).then(sentence)


def _of_step(name: str) -> pl.Expr:
    return pl.when(pl.col(name) == "full").then(pl.lit("in full")).otherwise(pl.lit("in part"))


def _each(figures: Mapping[str, str], unit: str) -> Sequence[pl.Expr]:
    found = []
    for figure, called in figures.items():
        difference = pl.col(f"{figure}_difference")
        sentence = pl.format(f"; {called} differs by {{}} {{}}", in_digits(difference), pl.col(unit))
        found.append(pl.when(difference != 0).then(sentence))
    return found


def _code(place: int) -> pl.Expr:
    """The base currency of the instrument (0), or its quote currency (1)."""
    return pl.col("instrument").str.split("-").list.get(place, null_on_oob=True)


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
