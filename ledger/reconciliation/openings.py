"""Opening balances: where the history of a position is cut off, a snapshot says with what it begins."""

from datetime import datetime

import polars as pl

from ledger.columns import EVENTS, TIME, schema
from ledger.money import ZERO
from ledger.ordering import POSITION_KEY
from ledger.refusals import REFUSAL_SCHEMA, BadInput
from ledger.statements.columns import SNAPSHOTS
from ledger.statements.inference import with_readings

_LATER = "Give the time at which the snapshot was taken, or leave --opening-at out."
_EVENTS = pl.Schema([*schema(EVENTS).items(), ("input", pl.UInt16), ("row", pl.UInt32)])


def opening_events(
    snapshots: pl.DataFrame, events: pl.DataFrame, at: datetime | None, names: dict[int, str]
) -> pl.DataFrame:
    """One event of kind `opening` (EVENTS, `input`, `row`) per open isolated position of `snapshots`.

    It stands at the time `at`, or else at the snapshot's own. Margin currency and mode are those stated, else those
    of the position in `events`, else inferred from the figures. Raises BadInput where a snapshot has no time, no
    direction, or no amounts for the legs.
    """
    known = snapshots.filter(pl.col("is_isolated_margin") & (pl.col("status") == "open")).with_row_index("snapshot")
    known = known.with_columns(stated_time="time", time=pl.coalesce(pl.lit(at, TIME), "time")).join(
        _of_events(events), on=["account", "instrument"], how="left", maintain_order="left"
    )
    _refuse(known, names)
    wanted = [*schema(SNAPSHOTS), "snapshot", "known_margin", "known_mode", "input", "row"]
    legs = with_readings(known.select(wanted))
    price = pl.coalesce(
        pl.when(pl.col("entry_price") > 0).then("entry_price"), pl.col("quote_leg").abs() / pl.col("base_leg").abs()
    )
    is_long = pl.col("is_long") == 1
    return legs.with_columns(
        event_id=pl.format("opening {}:{}:{}", "account", "instrument", "margin_currency"),
        kind=pl.lit("opening"),
        side=pl.when(is_long).then(pl.lit("buy")).otherwise(pl.lit("sell")),
        quantity=pl.when(is_long).then("base_leg").otherwise(-pl.col("base_leg")),
        value=pl.when(is_long).then(-pl.col("quote_leg")).otherwise("quote_leg"),
        price=price,
        fee=None,
        fee_currency=None,
        reduce_only=False,
        amount=pl.col("margin").fill_null(ZERO),
        currency="margin_currency",
        reason=None,
    ).select(pl.col(name).cast(dtype) for name, dtype in _EVENTS.items())


def _of_events(events: pl.DataFrame) -> pl.DataFrame:
    """What the events say of each instrument: margin currency where they know but one, and the first mode."""
    one = pl.col("margin_currency").n_unique() == 1
    return events.group_by("account", "instrument").agg(
        known_margin=pl.when(one).then(pl.col("margin_currency").first()), known_mode=pl.col("mode").first()
    )


def _refuse(snapshots: pl.DataFrame, names: dict[int, str]) -> None:
    problems = (
        ("time", "An opening balance needs a time.", "Give --opening-at TIME."),
        ("direction", "An opening balance needs a direction.", "Give a positions file of an exchange that states it."),
        ("assets_shown", "An opening balance needs the assets.", "Ask the exchange for the positions again."),
        ("liability_shown", "An opening balance needs the liability.", "Ask the exchange for the positions again."),
        ("margin", "An opening balance needs the margin.", "Ask the exchange for the positions again."),
    )
    found = [
        _refused(snapshots.filter(pl.col(column).is_null()), names, column, rule, remedy)
        for column, rule, remedy in problems
    ]
    early = snapshots.filter(pl.col("time") < pl.col("stated_time"))
    found.append(
        _refused(early, names, "time", "The opening balances are from before the snapshot's last change.", _LATER)
    )
    whole = snapshots.drop_nulls([column for column, *_ in problems])
    twice = whole.filter(~pl.struct("account", "instrument", "margin_currency", "direction").is_first_distinct())
    rule = "An earlier row states the same position; an opening balance is given once."
    found.append(_refused(twice, names, "instrument", rule, "Give the snapshots of one moment."))
    refusals = pl.concat([REFUSAL_SCHEMA.to_frame(), *found])
    if refusals.height:
        raise BadInput(refusals)


def _refused(rows: pl.DataFrame, names: dict[int, str], column: str, rule: str, remedy: str) -> pl.DataFrame:
    return rows.select(
        file=pl.col("input").replace_strict(names, default="", return_dtype=pl.String),
        row="row",
        column=pl.lit(column),
        value=pl.lit(None, pl.String),
        rule=pl.lit(rule),
        remedy=pl.lit(remedy),
    )


def refuse_straddling(events: pl.DataFrame, openings: pl.DataFrame, names: dict[int, str]) -> None:
    """Raise BadInput for positions without an opening balance that have events before and after the last of them.

    When the snapshots were taken is not known, so nor is what of such a position came after.
    """
    last = openings["time"].max()
    others = events.join(openings, on=POSITION_KEY, how="anti").with_columns(late=pl.col("time") > pl.lit(last, TIME))
    both = others.filter(pl.col("late").n_unique().over(POSITION_KEY) > 1, pl.col("late"))
    first = both.unique(POSITION_KEY, keep="first", maintain_order=True)
    rule = "The position is not in the snapshot to begin with, and has events before and after the last change in it."
    refusals = _refused(first, names, "time", rule, "Give --opening-at TIME: when the snapshot was taken.")
    if refusals.height:
        raise BadInput(refusals)


def after_openings(events: pl.DataFrame, openings: pl.DataFrame) -> pl.DataFrame:
    """The events after the opening balances: what happened before is in the balances, or was closed by then."""
    last = openings["time"].max()
    own = openings.select(*POSITION_KEY, opened_at="time")
    known = events.join(own, on=POSITION_KEY, how="left", maintain_order="left")
    return known.filter(pl.col("time") > pl.coalesce("opened_at", pl.lit(last, TIME))).drop("opened_at")
