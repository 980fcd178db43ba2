"""The invariants of rules 8 on contract positions, as `ledger.checks` has those of spot margin: frames to findings."""

from decimal import Decimal

import polars as pl

from ledger.checks import finding
from ledger.derivatives.columns import DERIVATIVE_MEASURES
from ledger.derivatives.postings import imbalances
from ledger.money import MONEY

BALANCES = ("contracts", "entry_value", "margin")
_LAST_PLACE = "0.000000000000000001"
_TO_EQUITY = ("settle_price", "net_value", "exposure_value", "equity_value")


def ledger_checks(ledger: pl.DataFrame, amounts: pl.DataFrame, events: pl.DataFrame) -> list[pl.DataFrame]:
    """The findings of a derivative ledger, its posting amounts and the events it is of."""
    where = ledger.select("position", "event_id", "part")
    return [
        finding("postings_balance", where, imbalances(amounts)),
        finding("opening_plus_change_is_closing", where, _largest(ledger, [_corkscrew(n) for n in BALANCES])),
        finding("opening_is_previous_closing", where, _largest(ledger, [_gap(n) for n in BALANCES])),
        finding("flat_means_all_zero", where, _flatness(ledger)),
        _completeness(ledger, events),
    ]


def position_checks(positions: pl.DataFrame, marks: pl.DataFrame | None) -> list[pl.DataFrame]:
    """The findings of positions (columns DERIVATIVE_POSITIONS); without `marks` none is to be graded."""
    where = positions.select("position", "episode")
    is_missed = (pl.col("status") == "not_graded") if marks is not None else pl.lit(None, pl.Boolean)
    missed = positions.select(is_missed.cast(pl.Int8).cast(MONEY).alias("missed")).to_series()
    return [
        finding("ratio_is_one_at_liquidation", where, _at_liquidation(positions), _LAST_PLACE),
        finding("every_position_is_graded", where, missed),
    ]


def _largest(rows: pl.DataFrame, differences: list[pl.Expr]) -> pl.Series:
    return rows.select(residual=pl.max_horizontal(one.abs() for one in differences)).to_series()


def _corkscrew(name: str) -> pl.Expr:
    return pl.col(f"{name}_opening") + pl.col(f"{name}_change") - pl.col(f"{name}_closing")


def _gap(name: str) -> pl.Expr:
    same = pl.col("position") == pl.col("position").shift(1)
    return pl.col(f"{name}_opening") - pl.when(same).then(pl.col(f"{name}_closing").shift(1)).otherwise(0)


def _flatness(ledger: pl.DataFrame) -> pl.Series:
    """What opening and change leave where a part ends without contracts."""
    ends = _largest(ledger, [pl.col(f"{name}_opening") + pl.col(f"{name}_change") for name in BALANCES])
    is_flat = (ledger["action"] == "close") | ledger["direction"].is_null()
    return pl.select(pl.when(is_flat).then(ends).otherwise(0).cast(ends.dtype)).to_series()


def _completeness(ledger: pl.DataFrame, events: pl.DataFrame) -> pl.DataFrame:
    """One residual: events without a first part, or contracts and fees that the parts have more or less of."""
    missing = int((ledger["part"] == 1).sum()) - events.height
    sums = [abs(_total(ledger, name) - _total(events, name)) for name in ("quantity", "fee")]
    residual = pl.Series([max(abs(missing), *sums)], dtype=ledger.schema["fee"], strict=False)
    row = finding("every_event_once", pl.DataFrame({"place": ["all events"]}), residual)
    return row.with_columns(rows_tested=pl.lit(events.height, pl.UInt64))


def _total(frame: pl.DataFrame, name: str) -> Decimal:
    return Decimal(str(frame[name].sum()))  # `Series.sum` checks for overflow


def _at_liquidation(positions: pl.DataFrame) -> pl.Series:
    """Equity less what is required, at the liquidation price, over the sum of what a last place can weigh."""
    there = positions.with_columns(mark_price="liquidation_price")
    for column in DERIVATIVE_MEASURES:
        if column.name in _TO_EQUITY:
            there = there.with_columns(column.expression())
    weight = pl.col("base_leg").abs() + pl.col("margin") + pl.col("liquidation_price") + 5
    rate = pl.col("requirement_rate") + pl.col("mark_price") * pl.col("is_option")
    difference = pl.col("equity_value") - pl.col("exposure_value") * rate
    return there.select(difference / weight).to_series()
