"""From figures side by side to breaks with stable names, and from replayed steps to the parts of each break."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import polars as pl

from ledger.columns import schema
from ledger.money import MONEY, ZERO, in_digits
from ledger.reconciliation.columns import BREAK_CAUSES, BREAKS, CAUSES, COMPARISON, VERDICTS
from ledger.reconciliation.corrections import Corrections
from ledger.reconciliation.figures import NET, SNAPSHOT, figures_of
from ledger.reconciliation.states import measured, states_at
from ledger.statements.inference import DOUBLE, LAST_DIGIT

_VERDICT = pl.Enum(VERDICTS)
VENUE_DECIMALS = 16
"""Decimals of the exchange's amounts."""
_LAST_PLACE = pl.lit("0.000000000000000099").cast(MONEY)  # less than one in the last of them


@dataclass(frozen=True)
class Tolerances:
    """How far two figures may be apart: doubles in proportion to the numbers they come from, amounts not at all, but
    for the last digit that the exchange prints where the ledger has more (rules.md 9).

    `figures` gives single figures an absolute tolerance instead, `materiality` the difference from which on a break
    is material, in the figure's unit; per currency in `by_currency`.
    """

    relative: Decimal = DOUBLE
    figures: dict[str, Decimal] = field(default_factory=dict)
    materiality: Decimal = Decimal(0)
    by_currency: dict[str, Decimal] = field(default_factory=dict)

    def of(self) -> pl.Expr:
        """The tolerance of a row with `figure`, `stated` and `size`."""
        near = pl.lit(self.relative).cast(MONEY) * pl.max_horizontal("size", pl.col("stated").abs()) + LAST_DIGIT
        finer = pl.col("ours").round(VENUE_DECIMALS) != pl.col("ours")
        allowed = pl.when(pl.col("size").is_not_null()).then(near).when(finer).then(_LAST_PLACE).otherwise(ZERO)
        for figure, tolerance in self.figures.items():
            allowed = pl.when(pl.col("figure") == figure).then(pl.lit(tolerance).cast(MONEY)).otherwise(allowed)
        return allowed

    def material(self) -> pl.Expr:
        """Whether the difference of a row counts."""
        least = pl.lit(self.materiality).cast(MONEY)
        for currency, amount in self.by_currency.items():
            least = pl.when(pl.col("unit") == currency).then(pl.lit(amount).cast(MONEY)).otherwise(least)
        return pl.col("difference").abs() >= least


def compared(moments: pl.DataFrame, history: pl.DataFrame, tolerances: Tolerances) -> pl.DataFrame:
    """The frame COMPARISON of the moments (MOMENT_SCHEMA) and the ledger's history (see `states.running`)."""
    beside = states_at(history, moments)
    is_open = (pl.col("base_leg") != 0) | (pl.col("quote_leg") != 0)
    is_stated = pl.any_horizontal((pl.col(f"{name}_stated") != 0).fill_null(value=False) for name in ("base", "quote"))
    by_snapshot = pl.col("stated_by").is_in([SNAPSHOT, NET])
    known = beside.with_columns(
        in_ledger=is_open.fill_null(value=False), at_exchange=is_stated | ~by_snapshot | pl.col("base_stated").is_null()
    )
    states = measured(known.pipe(read_as_stated))
    keys = ("position", "account", "time", "stated_by", "opened", "note", "input", "row", "in_ledger", "at_exchange")
    figures = figures_of(states, *keys).filter(pl.col("stated").is_not_null())
    ours = pl.when(pl.col("size").is_null() & ~_is_double()).then(pl.col("ours").fill_null(ZERO)).otherwise("ours")
    rows = figures.with_columns(ledger=ours, exchange="stated").with_columns(
        difference=pl.col("ledger") - pl.col("exchange"), tolerance=tolerances.of()
    )
    is_break = pl.col("difference").abs() > pl.col("tolerance")
    by_snapshot = pl.col("stated_by").is_in([SNAPSHOT, NET])
    verdict = (
        pl.when(pl.col("ledger").is_null())
        .then(pl.lit("not_compared", _VERDICT))
        .when(~is_break)
        .then(pl.lit("matched", _VERDICT))
        .when(by_snapshot & ~pl.col("in_ledger"))
        .then(pl.lit("only_at_exchange", _VERDICT))
        .when(by_snapshot & ~pl.col("at_exchange"))
        .then(pl.lit("only_in_ledger", _VERDICT))
        .otherwise(pl.lit("break", _VERDICT))
    )
    told = rows.with_columns(verdict=verdict, material=is_break & tolerances.material())
    told = told.with_columns(break_id=pl.when(pl.col("verdict").is_in(BROKEN)).then(break_ids(told)))
    return told.select(pl.col(column.name).cast(column.dtype) for column in COMPARISON)


BROKEN = ("break", "only_in_ledger", "only_at_exchange")
"""Verdicts that are breaks."""
_DOUBLES = (
    "entry_price",
    "floating_pnl",
    "floating_pnl_ratio",
    "maintenance_margin",
    "margin_ratio",
    "liquidation_price",
    "realised_pnl",
)


def _is_double() -> pl.Expr:
    return pl.col("figure").is_in(_DOUBLES)


def read_as_stated(states: pl.DataFrame) -> pl.DataFrame:
    """The states, flat ones with the direction and margin currency that the exchange's figures are read with."""
    flat = (pl.col("base_leg").fill_null(ZERO) == 0) & (pl.col("quote_leg").fill_null(ZERO) == 0)
    return states.with_columns(
        is_long=pl.when(flat).then(pl.coalesce("is_long_stated", "is_long")).otherwise("is_long"),
        margin_is_base=pl.coalesce("margin_is_base", "margin_is_base_stated"),
    )


def break_ids(rows: pl.DataFrame) -> pl.Series:
    """A name per row made of what the break is about, and of nothing that another run would change.

    `rows` has `position`, `figure`, `stated_by`; where one of them is empty there is no name.
    """
    parts = rows.select(pl.concat_str("position", "figure", "stated_by", separator="|")).to_series()
    unique = parts.drop_nulls().unique()
    names = ["B" + hashlib.sha256(text.encode()).hexdigest()[:10] for text in unique]
    return parts.replace_strict(unique, pl.Series(names, dtype=pl.String), return_dtype=pl.String)


NOT_SEARCHED = "not searched: too many positions with too many events are off; mend those with a cause, and run again"
"""What is said of a break whose position was beyond the search, see `investigation.beyond_search`."""


def parts_of(
    comparison: pl.DataFrame,
    moments: pl.DataFrame,
    corrections: Corrections,
    stepped: pl.DataFrame,
    not_searched: Sequence[str] = (),
) -> pl.DataFrame:
    """The frame BREAK_CAUSES: of each break at its last moment what each step of corrections takes away, and the rest.

    `stepped` comes from `corrections.stepwise`. The parts of a break add up to its difference: each is the figure
    before a step less the figure after it. Of positions `not_searched`, the rest says so.
    """
    last = _last_broken(comparison)
    after = _after_steps(last, moments, stepped)
    amounts = _differences(last, after)
    causes = _causes_of_steps(corrections, stepped)
    with_causes = amounts.join(causes, on=["position", "step"], how="left", maintain_order="left")
    rest = amounts.group_by("break_id", maintain_order=True).agg(explained=pl.col("amount").sum())
    rest = last.join(rest, on="break_id", how="left", maintain_order="left").with_columns(
        amount=pl.col("difference") - pl.col("explained").fill_null(ZERO)
    )
    is_digits = pl.col("amount").abs() <= pl.col("tolerance")
    rest = rest.filter(pl.col("amount") != 0).with_columns(
        cause=pl.when(is_digits).then(pl.lit("venue_digits")).otherwise(pl.lit("unexplained")),
        certainty=pl.when(is_digits).then(pl.lit("fits")).otherwise(pl.lit("unexplained")),
        hypothesis=pl.when(is_digits)
        .then(pl.lit("the exchange prints fewer digits"))
        .when(pl.col("position").is_in(not_searched))
        .then(pl.lit(NOT_SEARCHED))
        .otherwise(pl.lit("nothing that was tried explains it")),
        step=pl.lit(2**31, pl.UInt32),
    )
    every = pl.concat([_columns(with_causes.filter(pl.col("amount") != 0)), _columns(rest)])
    every = every.sort("break_id", "step", maintain_order=True)
    numbered = every.with_columns(place=pl.int_range(1, pl.len() + 1, dtype=pl.UInt32).over("break_id"))
    return numbered.select(pl.col(column.name).cast(column.dtype) for column in BREAK_CAUSES)


def _columns(rows: pl.DataFrame) -> pl.DataFrame:
    wanted: dict[str, Any] = {**schema(BREAK_CAUSES), "step": pl.UInt32}
    absent = [pl.lit(None, dtype).alias(name) for name, dtype in wanted.items() if name not in rows.columns]
    return rows.with_columns(absent).select(pl.col(name).cast(dtype) for name, dtype in wanted.items())


def _last_broken(comparison: pl.DataFrame) -> pl.DataFrame:
    broken = comparison.filter(pl.col("break_id").is_not_null())
    return broken.sort("time", maintain_order=True).unique("break_id", keep="last", maintain_order=True)


def _after_steps(last: pl.DataFrame, moments: pl.DataFrame, stepped: pl.DataFrame) -> pl.DataFrame:
    """The figures at the last moment of each break, after each step: `break_id`, `step`, `figure`, `ours`."""
    keys = ["position", "time", "stated_by", "input", "row"]
    asked = moments.join(last.select(*keys, "break_id", "figure"), on=keys, nulls_equal=True)
    steps = stepped.select("position", "step").unique()
    every = asked.join(steps, on="position").with_columns(key=pl.format("{} {}", "position", "step"))
    history = stepped.with_columns(position=pl.format("{} {}", "position", "step")).drop("step", "variant")
    states = states_at(history, every.with_columns(own="position", position="key").drop("key"))
    figures = figures_of(measured(read_as_stated(states)), "break_id", "step", "own", pl.col("figure").alias("asked"))
    return figures.filter(pl.col("figure") == pl.col("asked")).drop("asked")


def _differences(last: pl.DataFrame, after: pl.DataFrame) -> pl.DataFrame:
    """What each step takes away from each break: `break_id`, `position`, `step`, `amount`."""
    ours = pl.when(_is_double()).then("ours").otherwise(pl.col("ours").fill_null(ZERO))
    steps = after.filter(pl.col("step") > 0).select("break_id", "step", value=ours, position="own")
    before = last.select("break_id", step=pl.lit(0, pl.UInt32), value="ledger", position="position")
    ordered = pl.concat([before, steps]).sort("break_id", "step")
    known = ordered.with_columns(pl.col("value").forward_fill().over("break_id"))
    amount = pl.col("value").shift(1).over("break_id").fill_null(ZERO) - pl.col("value")
    return known.with_columns(amount=amount).filter(pl.col("step") > 0).drop("value")


_GRAVITY = {cause: place for place, cause in enumerate(CAUSES)}


def _causes_of_steps(corrections: Corrections, stepped: pl.DataFrame) -> pl.DataFrame:
    """One row per position and step that was replayed, with its cause.

    A step that breaks the course of its position has no history: it is told together with the next that has one. Of
    several causes in one step the gravest is named, and the others stand beside it, for nothing tells them apart.
    """
    replayed = stepped.select("position", "step").unique().filter(pl.col("step") > 0).with_columns(told="step")
    steps = (
        corrections.steps.with_row_index("place")
        .sort("step")
        .join_asof(replayed.sort("step"), on="step", by="position", strategy="forward", check_sortedness=False)
    )
    gravity = pl.col("cause").cast(pl.String).replace_strict(_GRAVITY, return_dtype=pl.Int64)
    ordered = steps.filter(pl.col("told").is_not_null()).with_columns(gravity=gravity).sort("gravity", "place")
    several, mixed = pl.len() > 1, pl.col("cause").n_unique() > 1
    own = pl.col("alternatives").drop_nulls().unique(maintain_order=True)
    beside = pl.col("cause").cast(pl.String).unique(maintain_order=True).slice(1)
    return ordered.group_by("position", step="told", maintain_order=True).agg(
        cause=pl.col("cause").first(),
        certainty=pl.when(mixed).then(pl.lit("ambiguous")).otherwise(pl.col("certainty").cast(pl.String).first()),
        alternatives=pl.concat([beside, own]).str.join(" or ").replace("", None),
        hypothesis=pl.when(several)
        .then(pl.format("{} events together, the first: {}", pl.len(), pl.col("hypothesis").first()))
        .otherwise(pl.col("hypothesis").first()),
        ledger_input=pl.col("ledger_input").first(),
        ledger_row=pl.col("ledger_row").first(),
        exchange_input=pl.col("exchange_input").first(),
        exchange_row=pl.col("exchange_row").first(),
    )


def breaks_of(comparison: pl.DataFrame, parts: pl.DataFrame) -> pl.DataFrame:
    """The frame BREAKS: one row per break, as at the last moment at which it is one."""
    seen = (
        comparison.filter(pl.col("break_id").is_not_null())
        .group_by("break_id")
        .agg(first_seen=pl.col("time").min(), last_seen=pl.col("time").max())
    )
    unexplained = pl.col("cause") == "unexplained"
    sums = (
        parts.with_columns(size=pl.col("amount").abs())
        .sort("break_id", "size", descending=[False, True])
        .group_by("break_id")
        .agg(
            explained=pl.col("amount").filter(~unexplained).sum(),
            unexplained=pl.col("amount").filter(unexplained).sum(),
            causes=_in_words().unique(maintain_order=True).str.join("; "),
            ambiguous=(pl.col("certainty") == "ambiguous").any() | pl.col("alternatives").is_not_null().any(),
        )
    )
    last = _last_broken(comparison)
    known = last.join(seen, on="break_id", how="left", maintain_order="left")
    known = known.join(sums, on="break_id", how="left", maintain_order="left").sort("position", "figure", "break_id")
    return known.select(pl.col(column.name).cast(column.dtype) for column in BREAKS)


def _in_words() -> pl.Expr:
    cause = pl.col("cause").cast(pl.String)
    either = (
        pl.when(pl.col("alternatives").is_not_null())
        .then(pl.format("{} or {}", cause, "alternatives"))
        .otherwise(cause)
    )
    return pl.format("{} {}", either, in_digits(pl.col("amount")))
