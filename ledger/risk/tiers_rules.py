"""From the cells of a tiers file to tiers: percentages and steps read, and every rule of a row and of a table."""

from collections.abc import Mapping
from dataclasses import replace

import polars as pl

from ledger.cells import empty_cells, type_table
from ledger.money import MONEY, ZERO, units
from ledger.risk.columns import TIERS
from ledger.risk.tiers import BY_SIZE, LIMITS, STEPPED, further_tiers, inverse
from ledger.rules import Refused, Rule, broken_rules, refusals_of

CELLS = tuple(replace(column, dtype=pl.String()) if column.name == "tier" else column for column in TIERS)
"""The columns of a file: as those of TIERS, but that a tier may be `4+`."""
TABLE = ("source", "instrument", "by_size", "valid_from")
"""What the rows of one table have in common."""
MOST_TIERS = 1000
"""No table goes on beyond so many tiers: its steps are a mistake."""

_RATES = ("maintenance_rate", "minimum_initial_rate")
_INVERSE = "1/imr"
_PERCENT, _PER_TIER = r"\s*%$", r"\s+per tier$"
_LARGEST_STEP = 10**14  # so that MOST_TIERS of them fit the money type
_PRINTED = pl.lit("0.00005").cast(MONEY)  # half the last digit of a rate that is printed as 6.67 %
_READABLE = "A rate is a share such as 0.03, or a percentage such as 3%."

_is_open, _tier = pl.col("is_open"), pl.col("tier")


def typed_tiers(raw: pl.DataFrame, file: str) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The rows that are good, and the refusals of the others.

    `raw` has the cells of one layout under the names of TIERS, as text (`valid_from` and `stated_by` as they are), and
    `row` and `source`, which tells those apart that state tables of their own. The rows have the columns of TIERS,
    `source`, `row`, `by_size`, `is_open` (the row says what each further tier adds) and `table`, in order of the file.
    Rules of a table are asked where none of its rows is refused by itself.
    """
    given = raw.with_columns(
        pl.lit(None, pl.String).alias(column.name) for column in TIERS if column.name not in raw.columns
    )
    rows, refused = _typed(given)
    refused += empty_cells(given, ("instrument", "tier", "maintenance_rate"))
    refused += broken_rules(rows, ROW_RULES, refused)
    refusals = refusals_of(file, given, refused)
    spoiled = rows.join(refusals.select("row").unique(), on="row", how="semi").select("source", "instrument")
    lost = spoiled.filter(pl.col("instrument").is_null()).select("source")
    whole = rows.join(
        spoiled.unique(), on=["source", "instrument"], how="anti", maintain_order="left", nulls_equal=True
    )
    whole = whole.join(lost.unique(), on="source", how="anti", maintain_order="left")
    whole = _with_tables(whole)
    own = given.join(whole.select("row"), on="row", how="semi", maintain_order="left")
    broken = refusals_of(file, own, broken_rules(whole, TABLE_RULES, []))
    good = whole.join(broken.select("row"), on="row", how="anti", maintain_order="left")
    return good, pl.concat([refusals, broken])


# --- cells ----------------------------------------------------------------------------------------------------


def _typed(raw: pl.DataFrame) -> tuple[pl.DataFrame, list[Refused]]:
    """The cells with their types, flags of how they are written beside them, and the cells that cannot be read."""
    amounts = [column for column in TIERS if column.dtype == MONEY]
    texts = {column.name: pl.col(column.name).fill_null("") for column in amounts}
    flags = {f"{name}_is_step": texts[name].str.starts_with("+") for name in STEPPED}
    flags |= {f"{name}_is_percent": texts[name].str.contains(_PERCENT) for name in _RATES}
    flags["leverage_is_inverse"] = texts["maximum_leverage"] == _INVERSE
    plain = {name: texts[name].str.strip_prefix("+").str.replace(_PER_TIER, "") for name in STEPPED}
    plain |= {name: plain[name].str.replace(_PERCENT, "") for name in _RATES}
    plain["maximum_leverage"] = texts["maximum_leverage"].replace(_INVERSE, "")
    opens = pl.col("tier").fill_null("").str.ends_with("+")
    number = pl.col("tier").str.extract(r"^([0-9]{1,5})\+?$").cast(pl.UInt16, strict=False)
    cells = raw.with_columns(**flags, **plain, is_open=opens, tier=number)
    rows, refused = type_table(cells, tuple(column for column in TIERS if column.name != "tier"))
    refused = [replace(one, sentence=_READABLE) if one.column in _RATES else one for one in refused]
    hundredth = pl.lit("0.01").cast(MONEY)
    shares = {
        name: pl.when(f"{name}_is_percent").then(pl.col(name) * hundredth).otherwise(name).alias(name)
        for name in _RATES
    }
    odd = {
        f"{name}_is_cut": pl.col(f"{name}_is_percent") & (units(pl.col(name)) % pl.lit(100, pl.Int128) != 0)
        for name in _RATES
    }
    rows = rows.with_columns(**odd, **shares)
    of_rate = pl.when(~pl.col("is_open")).then(inverse("minimum_initial_rate"))  # a step is no rate
    leverage = pl.when("leverage_is_inverse").then(of_rate).otherwise("maximum_leverage")
    return rows.with_columns(leverage.alias("maximum_leverage"), by_size=BY_SIZE), refused


def _with_tables(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows with the number of their table, and what stands in the tier before."""
    rows = rows.with_columns(table=pl.struct(TABLE).rank("dense").cast(pl.UInt32))
    before = ("tier", "is_open", "maximum_leverage", *STEPPED)
    order = ["tier", "row"]
    return rows.with_columns(
        *(pl.col(name).shift().over("table", order_by=order).alias(f"{name}_before") for name in before),
        further=further_tiers(),
    )


# --- the rules of a row ---------------------------------------------------------------------------------------


def _words(name: str) -> str:
    return name.replace("_", " ")


def _step_rules(name: str) -> dict[str, Rule]:
    """A step stands in an open row, and nowhere else."""
    is_step, is_given = pl.col(f"{name}_is_step"), pl.col(name).is_not_null()
    return {
        f"{name}_is_no_step": Rule(
            name,
            "Only the last row of a table, its tier written as 4+, adds to the tier before it.",
            "Write the value itself, without a plus sign.",
            _is_open | ~is_step,
        ),
        f"{name}_is_a_step": Rule(
            name,
            "In a row such as 4+ every value is what each further tier adds.",
            "Write it as +25.",
            ~_is_open | is_step | ~is_given,
        ),
    }


def _limit_rules(name: str) -> dict[str, Rule]:
    rule, remedy = "A limit of a tier is not negative, nor without measure.", "Mend it at its source."
    is_small = pl.col(name) < pl.lit(_LARGEST_STEP).cast(MONEY)
    return {
        f"{name}_is_not_negative": Rule(name, rule, remedy, pl.col(name) >= ZERO),
        f"{name}_step_is_small": Rule(name, rule, remedy, ~_is_open | is_small),
    }


def _share_rules(name: str, sentence: str, is_below: pl.Expr) -> dict[str, Rule]:
    """The bounds of a rate; a step may be zero."""
    remedy = "Write 3 % as 0.03 or 3%."
    return {
        f"{name}_is_a_share": Rule(name, sentence, remedy, (pl.col(name) >= ZERO) & is_below),
        f"{name}_is_above_zero": Rule(name, sentence, remedy, _is_open | (pl.col(name) > ZERO)),
    }


def _exact_rule(name: str) -> Rule:
    rule = "A percentage has at most 16 decimals; more would be rounded silently."
    return Rule(name, rule, "Round it at its source.", ~pl.col(f"{name}_is_cut"))


_rate, _initial, _leverage = (pl.col(name) for name in (*_RATES, "maximum_leverage"))
_one = pl.lit(1).cast(MONEY)

ROW_RULES: Mapping[str, Rule] = {
    "instrument_is_a_name": Rule(
        "instrument",
        "An instrument, or a family of them, is codes of capital letters and digits with a dash between.",
        "Write it as BTC-USDT, or BTC-USDT-SWAP.",
        pl.col("instrument").str.contains("^[A-Z0-9_]{1,20}(-[A-Z0-9_]{1,20}){1,4}$"),
    ),
    "valid_from_is_plausible": Rule(
        "valid_from",
        "A time lies in the years 2009 to 2100.",
        "Check its unit: epoch times count milliseconds.",
        pl.col("valid_from").dt.year().is_between(2009, 2100),
    ),
    "tier_is_a_number": Rule(
        "tier",
        "A tier is a whole number from 1; the last row may stand for all further ones, as 4+.",
        "Write 1, 2, 3 ...",
        _tier.is_not_null() & (_tier > 0),
    ),
    "open_tier_is_further": Rule(
        "tier",
        "A row such as 4+ adds to the tier before it, so that it is never the first.",
        "State tier 1.",
        ~_is_open | (_tier > 1),
    ),
    **{name: rule for column in STEPPED for name, rule in _step_rules(column).items()},
    "leverage_is_no_step": Rule(
        "maximum_leverage",
        "In a row such as 4+ the largest leverage is that of the initial rate.",
        "Leave it empty, or write 1/imr.",
        ~_is_open | _leverage.is_null(),
    ),
    **{f"{name}_is_exact": _exact_rule(name) for name in _RATES},
    **_share_rules("maintenance_rate", "A maintenance rate is a share: above zero and below one.", _rate < _one),
    **_share_rules("minimum_initial_rate", "An initial rate is a share: above zero and at most one.", _initial <= _one),
    "leverage_is_a_multiple": Rule(
        "maximum_leverage", "A largest leverage is at least 1.", "Write 10 for 10x.", _leverage >= _one
    ),
    "leverage_fits_initial_rate": Rule(
        "maximum_leverage",
        "A largest leverage is at most 1 / smallest initial rate.",
        "Mend one of the two.",
        _is_open
        | (_leverage <= inverse("minimum_initial_rate") + pl.lit("0.01").cast(MONEY))
        | (_leverage * (_initial - _PRINTED) <= _one),
    ),
    **{name: rule for column in ("smallest_size", *LIMITS) for name, rule in _limit_rules(column).items()},
    "a_limit_is_given": Rule(
        LIMITS[0],
        "A tier has a limit: of the loan in base or in quote, or of the size.",
        "State at least one.",
        pl.any_horizontal(pl.col(name).is_not_null() for name in LIMITS),
    ),
    "sizes_are_a_range": Rule(
        "largest_size",
        "The largest size of a tier is not below its smallest.",
        "Mend one of the two.",
        _is_open | (pl.col("largest_size") >= pl.col("smallest_size")),
    ),
}
"""Every rule of a row of tiers."""


# --- the rules of a table -------------------------------------------------------------------------------------


def _before(name: str) -> pl.Expr:
    return pl.col(f"{name}_before")


def _order_rule(name: str) -> Rule:
    rule = f"The {_words(name)} does not fall from tier to tier."
    follows = _is_open | _before("is_open") | (pl.col(name) >= _before(name))
    return Rule(name, rule, "Mend this tier, or the one before.", follows)


def _stated_rule(name: str, when: pl.Expr) -> Rule:
    alike = pl.col(name).is_null() == _before(name).is_null()
    rule = f"The {_words(name)} is stated in all tiers of a table, or in none."
    return Rule(name, rule, "Fill it in, or leave it empty everywhere.", ~when | alike | _before("tier").is_null())


TABLE_RULES: Mapping[str, Rule] = {
    "tier_is_given_once": Rule(
        "tier",
        "A table has each tier once.",
        "Keep one of the rows, or say from when each is in force in valid_from.",
        pl.struct("table", "tier").is_first_distinct(),
    ),
    "tiers_have_no_gap": Rule(
        "tier",
        "The tiers of a table are counted from 1 without a gap.",
        "Add the tiers that are missing.",
        (_tier.cast(pl.Int32) - _before("tier").fill_null(0).cast(pl.Int32) <= 1),
    ),
    "open_tier_is_last": Rule(
        "tier",
        "Only the last row of a table stands for all further tiers.",
        "Remove the rows after it, or its plus sign.",
        ~_before("is_open"),
    ),
    **{f"{name}_does_not_fall": _order_rule(name) for name in STEPPED},
    "leverage_does_not_rise": Rule(
        "maximum_leverage",
        "The largest leverage does not rise from tier to tier.",
        "Mend this tier, or the one before.",
        _is_open | (_leverage <= _before("maximum_leverage")),
    ),
    **{f"{name}_is_in_all": _stated_rule(name, pl.lit(value=True)) for name in LIMITS},
    "initial_rate_is_in_all": _stated_rule("minimum_initial_rate", _is_open),
    "steps_come_to_an_end": Rule(
        "maintenance_rate",
        f"What a row such as 4+ adds brings the rates to 100 % within {MOST_TIERS:,} tiers.",
        "Add more to a rate, or state each tier.",
        ~_is_open | pl.col("further").is_between(0, MOST_TIERS).fill_null(value=False),
    ),
}
"""Every rule of a table of tiers; columns `..._before` are those of the tier before."""
