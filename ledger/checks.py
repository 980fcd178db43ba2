"""The invariants of rules.md 8 as named checks: frames in, one row per check out, for the sheet and the exit code."""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from fractions import Fraction
from typing import Any

import polars as pl

from ledger.columns import CHECKS, DISPLAY, MEASURES, schema
from ledger.money import MONEY, ZERO
from ledger.policies import Policies
from ledger.postings import imbalances

DESCRIPTIONS = {
    "postings_balance": "The postings of every event part sum to zero in every currency.",
    "opening_plus_change_is_closing": "Opening + change = closing for each balance of every ledger row.",
    "opening_is_previous_closing": "Each opening is the previous closing of the same position.",
    "flat_means_all_zero": "Where the settlement leg is zero, both legs and the margin are.",
    "every_event_once": "Every event is in the ledger once; quantities and fees of all parts add up to the input's.",
    "inputs_are_booked": "What was read of each file, less what was left out, is in the ledger to the last digit.",
    "initial_margin_as_formula": "A recorded initial margin agrees with quantity / leverage within the tolerance.",
    "splitting_fills_changes_nothing": "A sample of positions replayed alone, with fills cut in two, ends the same.",
    "mode_changes_display_only": "Old and new mode display the same assets but for the margin.",
    "ratio_is_one_at_liquidation": "At the liquidation price equity is exactly what is required.",
    "mirror_gives_same_ratio": "Base and quote swapped, price inverted: same ratio, inverse liquidation price.",
    "history_agrees": "The last moment of each life over time has the liability, equity and margin ratio of Positions.",
    "every_position_is_graded": "Every open position has a mark and a maintenance rate: its status is known.",
    "grades_agree": "At each moment over time the status by threshold price is the status by the margin ratio.",
    "statuses_in_order": "The statuses of each life follow one another without gap or overlap.",
    "liquidations_agree": "Each liquidation that was due is booked as it was due, and no other one is booked.",
    "simulated_postings_balance": "The postings of the liquidations that were due sum to zero in every currency.",
    "margin_changes_add_up": "Each change of margin begins where the one before it ended, and ends as the ledger does.",
    "margin_changes_are_allowed": "No change of margin or leverage is one that the rules refuse.",
    "interest_is_on_what_is_owed": "Each computed charge is on what the ledger owes when it is charged.",
    "interest_roll_forward_closes": "Opening + borrowed + interest - repaid is what the ledger owes at the end.",
    "interest_differences_add_up": "Causes and what is unexplained add up to all that was charged less computed.",
    "interest_agrees": "The exchange charged what the policy gives, charge by charge.",
    "balances_roll_forward": "Opening, purchases, sales, fees, interest, margin and adjustments give each closing.",
    "files_are_complete": "No control of the completeness certificate fails.",
    "events_agree": "Every event of the exchange's files is in the ledger as it is there, and the other way round.",
    "positions_are_compared": "Every position that the ledger has open at the end is compared with the exchange's.",
    "exchange_agrees": "Ledger and exchange agree, figure by figure, within the tolerances.",
    "breaks_add_up": "The parts of every break, what is unexplained among them, add up to its difference.",
    "earlier_breaks_are_compared": "Every open break of the run before is compared again, or is settled.",
}
_BALANCES = ("base", "quote", "margin")
_LAST_PLACE = "0.000000000000000001"


def finding(name: str, where: pl.DataFrame, residuals: pl.Series, tolerance: str = "0") -> pl.DataFrame:
    """One row of CHECKS: `residuals` are the differences found (empty where nothing was tested).

    `where` has a row for each residual whose columns name the place.
    """
    sizes = residuals.abs()
    wrong = sizes > pl.Series([tolerance]).cast(MONEY)
    place = where.filter(wrong).head(1)
    return pl.DataFrame(
        {
            "check": [name],
            "description": [DESCRIPTIONS[name]],
            "rows_tested": [residuals.len() - residuals.null_count()],
            "failures": [int(wrong.sum() or 0)],
            "largest_residual": [sizes.max()],
            "tolerance": [tolerance],
            "first_failure": [" ".join(str(value) for value in place.row(0)) if place.height else None],
        },
        schema=schema(CHECKS) | {"tolerance": pl.String},
    ).with_columns(pl.col("tolerance").cast(MONEY), pl.col("largest_residual").fill_null(ZERO))


def combined(findings: Iterable[pl.DataFrame]) -> pl.DataFrame:
    """The checks of all batches as one row per check, in the order of `DESCRIPTIONS`."""
    order = {name: number for number, name in enumerate(DESCRIPTIONS)}
    return (
        pl.concat([pl.DataFrame(schema=schema(CHECKS)), *findings])
        .group_by("check", maintain_order=True)
        .agg(
            pl.col("description").first(),
            pl.col("rows_tested", "failures").sum(),
            pl.col("largest_residual").max(),
            pl.col("tolerance").first(),
            pl.col("first_failure").drop_nulls().first(),
        )
        .sort(pl.col("check").replace_strict(order))
        .select(*schema(CHECKS))
    )


def ledger_checks(ledger: pl.DataFrame, events: pl.DataFrame, policies: Policies) -> list[pl.DataFrame]:
    """The findings for the ledger of whole positions; `events` are the typed events that were replayed."""
    where = ledger.select("position", "event_id", "part")
    return [
        *balance_checks(ledger),
        _completeness(ledger, events),
        finding("initial_margin_as_formula", where, _margin_difference(ledger), str(policies.initial_margin_tolerance)),
    ]


def balance_checks(ledger: pl.DataFrame) -> list[pl.DataFrame]:
    """The findings that the ledger alone gives: also for one that was stored and read again."""
    where = ledger.select("position", "event_id", "part")
    return [
        finding("opening_plus_change_is_closing", where, _largest(ledger, *map(_corkscrew, _BALANCES))),
        finding("opening_is_previous_closing", where, _largest(ledger, *map(_gap, _BALANCES))),
        finding("flat_means_all_zero", where, _flatness(ledger)),
    ]


def posting_checks(amounts: pl.DataFrame) -> list[pl.DataFrame]:
    """The findings for the postings; `amounts` comes from `postings.posting_amounts`."""
    where = amounts.select("position", "event_id", "part")
    return [finding("postings_balance", where, _largest(imbalances(amounts), pl.all()))]


def position_checks(positions: pl.DataFrame) -> list[pl.DataFrame]:
    """The findings for valued positions (columns POSITIONS)."""
    where = positions.select("position", "episode")
    mirrored = _open_with_ratio(positions).head(_MIRROR_SAMPLE)
    return [
        finding("mode_changes_display_only", where, _display(positions)),
        finding("ratio_is_one_at_liquidation", where, _at_liquidation(positions), _LAST_PLACE),
        finding("mirror_gives_same_ratio", mirrored.select("position", "episode"), _mirror(mirrored)),
    ]


def history_check(history: pl.DataFrame, positions: pl.DataFrame) -> pl.DataFrame:
    """The finding for the moments (columns HISTORY) of the same positions: liability, equity and ratio as they end.

    1 stands for an episode without a moment, and for a figure that is there on one side only. Tiers that come into
    force after the last moment change the ratio at the end: ratios are compared where the maintenance rate is the same.
    """
    key = ["position", "episode"]
    last = history.filter(
        pl.any_horizontal(pl.col(name) != pl.col(name).shift(-1) for name in key).fill_null(value=True)
    )
    both = positions.join(last, on=key, how="left", suffix="_last", maintain_order="left")
    apart = [
        pl.when(pl.col(name).is_null() == pl.col(f"{name}_last").is_null())
        .then((pl.col(name) - pl.col(f"{name}_last")).fill_null(ZERO))
        .otherwise(pl.lit(1).cast(MONEY))
        .alias(name)
        for name in ("liability_shown", "equity_value", "margin_ratio")
    ]
    same_rate = pl.col("maintenance_rate").eq_missing(pl.col("maintenance_rate_last"))
    apart[-1] = pl.when(same_rate).then(apart[-1]).otherwise(ZERO)
    return finding("history_agrees", both.select(key), _largest(both, *apart))


def split_check(whole: pl.DataFrame, in_halves: pl.DataFrame) -> pl.DataFrame:
    """The finding for a sample replayed again with fills cut in two: two ledgers of the same positions.

    The legs must agree exactly. A margin by formula is a quotient, so each cut may move it by its last place.
    """
    ends = [
        ledger.group_by("position", maintain_order=True).agg(
            pl.col("base_closing", "quote_closing", "margin_closing").last(), rows=pl.len()
        )
        for ledger in (whole, in_halves)
    ]
    both = ends[0].join(ends[1], on="position", how="full", suffix="_halves", coalesce=True)
    slack = pl.col("rows_halves").cast(MONEY) * pl.lit(_LAST_PLACE).cast(MONEY)
    differences = both.select(
        *((pl.col(f"{leg}_closing") - pl.col(f"{leg}_closing_halves")).abs() for leg in ("base", "quote")),
        ((pl.col("margin_closing") - pl.col("margin_closing_halves")).abs() - slack).clip(lower_bound=0),
    )
    return finding("splitting_fills_changes_nothing", both.select("position"), _largest(differences, pl.all()))


def _largest(rows: pl.DataFrame, *differences: pl.Expr) -> pl.Series:
    """The largest absolute difference of each row."""
    sizes = rows.select(expression.abs() for expression in differences)
    return sizes.select(residual=pl.max_horizontal(pl.all())).to_series()


def _corkscrew(balance: str) -> pl.Expr:
    difference = pl.col(f"{balance}_opening") + pl.col(f"{balance}_change") - pl.col(f"{balance}_closing")
    return difference.alias(balance)


def _gap(balance: str) -> pl.Expr:
    same = pl.col("position") == pl.col("position").shift(1)
    previous = pl.when(same).then(pl.col(f"{balance}_closing").shift(1)).otherwise(ZERO)
    return (pl.col(f"{balance}_opening") - previous).alias(balance)


def _flatness(ledger: pl.DataFrame) -> pl.Series:
    """What opening and change leave where a part ends flat; 1 where a position that is open has nothing."""
    is_flat = (ledger["action"] == "close") | ledger["direction"].is_null()
    ends = _largest(ledger, *(pl.col(f"{name}_opening") + pl.col(f"{name}_change") for name in _BALANCES))
    return pl.select(pl.when(is_flat).then(ends).otherwise((ends == 0).cast(pl.Int8).cast(MONEY))).to_series()


def _completeness(ledger: pl.DataFrame, events: pl.DataFrame) -> pl.DataFrame:
    """One residual: events without a first part, or quantity and fees that the parts have more or less of."""
    missing = int((ledger["part"] == 1).sum()) - events.height
    quantity, fee = (_total(ledger, name) - _total(events, name) for name in ("quantity", "fee"))
    residual = pl.Series([max(abs(missing), abs(quantity), abs(fee))], dtype=MONEY, strict=False)
    row = finding("every_event_once", pl.DataFrame({"place": ["all events"]}), residual)
    return row.with_columns(rows_tested=pl.lit(events.height, pl.UInt64))


def _total(frame: pl.DataFrame, name: str) -> Decimal:
    return Decimal(str(frame[name].sum()))  # `Series.sum` checks for overflow, a grouped sum would not


def _margin_difference(ledger: pl.DataFrame) -> pl.Series:
    """Recorded against computed initial margin, as a share of the computed one; a million stands for any more."""
    difference = (pl.col("initial_margin") - pl.col("margin_formula")).abs()
    floor = pl.max_horizontal("margin_formula", difference / 10**6, pl.lit(_LAST_PLACE).cast(MONEY))
    return ledger.select(difference / pl.when(pl.col("margin_formula").is_not_null()).then(floor)).to_series()


def _display(positions: pl.DataFrame) -> pl.Series:
    with_margin = pl.when(pl.col("is_long") == pl.col("margin_is_base")).then("margin").otherwise(ZERO)
    return positions.select(pl.col("assets_shown_old") - pl.col("assets_shown_new") - with_margin).to_series()


_TO_EQUITY = ("margin_price", "net_value", "liability_value", "equity_value")
"""What changes with the price on the way to equity; other measures divide by a price, which can be rounded to zero."""


def _at_liquidation(positions: pl.DataFrame) -> pl.Series:
    """Equity less what is required, at the liquidation price, over the sum of what a last place can weigh.

    The price is rounded at the last place and multiplies quantities; it is the quotient of amounts that are rounded
    at the last place and that it multiplies; and each product rounds once more.
    """
    there = positions.with_columns(mark_price="liquidation_price")
    for column in MEASURES:
        if column.name in _TO_EQUITY:
            there = there.with_columns(column.expression())
    weight = pl.col("base_owed").abs() + pl.col("margin") + pl.col("liquidation_price") + 5
    difference = pl.col("equity_value") - pl.col("liability_value") * pl.col("requirement_rate")
    return there.select(difference / weight).to_series()


_MIRROR_SAMPLE = 1_000
"""Positions looked at in exact fractions: enough to prove the expressions, few enough to take no time."""


def _open_with_ratio(positions: pl.DataFrame) -> pl.DataFrame:
    return positions.filter(pl.col("margin_ratio").is_not_null(), pl.col("liquidation_price").is_not_null())


def _mirror(positions: pl.DataFrame) -> pl.Series:
    differences = []
    for row in positions.iter_rows(named=True):
        mirrored = row | {
            "base_leg": row["quote_leg"],
            "quote_leg": row["base_leg"],
            "base_interest": row["quote_interest"],
            "quote_interest": row["base_interest"],
            "mark_price": 1 / Fraction(row["mark_price"]),
            "is_long": 1 - row["is_long"],
            "margin_is_base": 1 - row["margin_is_base"],
        }
        here, there = exact_measures(row), exact_measures(mirrored)
        same = here["margin_ratio"] == there["margin_ratio"]
        inverse = here["liquidation_price"] * there["liquidation_price"] == 1
        differences.append(0 if same and inverse else 1)
    return pl.Series(differences, dtype=pl.Int64).cast(MONEY)


def exact_measures(row: Mapping[str, Any]) -> dict[str, Any]:
    """Every measure of one position in exact fractions; `row` holds its balances, mark price and rates."""
    numbers = (int, Decimal, Fraction)
    values: dict[str, Any] = {name: Fraction(value) for name, value in row.items() if isinstance(value, numbers)}
    for column in (*DISPLAY, *MEASURES):
        values[column.name] = column.of(values.__getitem__)
    return values
