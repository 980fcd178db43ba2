"""The events of positions whose course is known: their columns, identifiers and modes."""

import polars as pl

from ledger.money import MONEY, ZERO
from ledger.statements.margin_currency import MARGIN_MEANINGS, POSTING, Defaults, modes
from ledger.statements.margins import amounts_of_fills


def with_events(
    moves: pl.DataFrame, path: pl.DataFrame, margins: pl.DataFrame, placed: pl.DataFrame, defaults: Defaults
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The events, with `number`, in the order they happened, and what was inferred of their positions.

    `moves` are fills and interest, `path` is their course (`margins.with_path`), `placed` what becomes of `margins`.
    """
    path = path.filter(pl.col("number") >= 0)
    rows = _with_life(margins, path)
    life_modes = modes(rows, path, defaults)
    own = placed.filter(pl.col("reason").is_null() & pl.col("fill").is_null()).select("number", moved="amount")
    changes = rows.join(own, on="number").with_columns(amount="moved")
    course = ["number", "life", "left", "posts"]
    beside = pl.concat([path.select(course), changes.select("number", "life")], how="diagonal").sort("number")
    every = pl.concat([moves, changes.select(c for c in moves.columns if c in changes.columns)], how="diagonal")
    every = every.sort("number").hstack(beside.drop("number"))
    key = ["position_number", "life"]
    every = every.join(life_modes, on=key, how="left", maintain_order="left")
    every = every.join(amounts_of_fills(placed), on="number", how="left", maintain_order="left")
    every = every.join(_returned(margins, placed), on="number", how="left", maintain_order="left")
    names = pl.concat(
        [frame.select("position_number", "position", "margin_currency", "currency_from") for frame in (moves, margins)]
    ).unique("position_number", keep="any")
    inferred = life_modes.drop("life").unique().join(names, on="position_number").sort("position", "mode", "mode_from")
    return _with_ids(every.with_columns(**_columns(defaults))), inferred


def _with_life(margins: pl.DataFrame, path: pl.DataFrame) -> pl.DataFrame:
    """The margin rows with the life that each belongs to: margin posted while flat is of the one that it opens."""
    rows = margins.sort("number").join_asof(
        path.select("position_number", "number", "life", "after").sort("number"),
        on="number",
        by="position_number",
        check_sortedness=False,
    )
    opens = (pl.col("after").fill_null(ZERO) == ZERO) & pl.col("meaning").is_in(POSTING)
    return rows.with_columns(life=pl.col("life").fill_null(0) + opens.cast(pl.UInt32)).drop("after")


def _columns(defaults: Defaults) -> dict[str, pl.Expr]:
    meaning, states_margin = pl.col("meaning"), pl.col("states_margin").fill_null(value=False)
    is_fill, is_margin = meaning == "fill", meaning.is_in(MARGIN_MEANINGS)
    posted = pl.when(states_margin).then(pl.col("posted").fill_null(ZERO))
    amount = (
        pl.when(is_fill)
        .then(posted)
        .when(meaning == "liquidation")
        .then("returned")
        .when(meaning == "interest")
        .then(-pl.col("amount"))
        .otherwise("amount")
    )
    leverage = pl.lit(defaults.leverage, dtype=MONEY) if defaults.leverage is not None else pl.lit(None, dtype=MONEY)
    return {
        "kind": pl.when(is_margin).then(pl.lit("margin")).otherwise(meaning),
        "amount": amount,
        "currency": pl.when(meaning == "interest")
        .then("currency")
        .otherwise(pl.when(amount.is_not_null()).then("margin_currency")),
        "leverage": pl.when(is_fill & ~states_margin).then(leverage),
        "reduce_only": is_fill & pl.col("left").is_not_null(),
        "reason": pl.lit(None, dtype=pl.String),
    }


def _returned(margins: pl.DataFrame, placed: pl.DataFrame) -> pl.DataFrame:
    """What each close gave back to the account: what a liquidation does not leave to the insurance fund."""
    rows = margins.filter(pl.col("meaning") == "margin_returned").join(
        placed.select("number", "closed_by"), on="number"
    )
    back = pl.coalesce(pl.when(pl.col("account_change") != ZERO).then("account_change"), "amount")
    sums = rows.drop_nulls("closed_by").group_by("closed_by").agg(returned=back.sum().cast(MONEY))
    return sums.filter(pl.col("returned") > ZERO).select("returned", number="closed_by")


def _with_ids(events: pl.DataFrame) -> pl.DataFrame:
    """The events with identifiers that stand once: the exchange's, or else what, where and when."""
    moment = pl.col("time").dt.timestamp("ms").cast(pl.String)
    what = [pl.col(name).cast(pl.String).fill_null("") for name in ("kind", "account", "instrument", "currency")]
    given = pl.coalesce("row_id", pl.when(pl.col("kind") == "fill").then("trade_id"))
    events = events.with_columns(event_id=pl.coalesce(given, pl.concat_str([*what, moment], separator=":")))
    if events["event_id"].n_unique() == events.height:
        return events
    again = pl.col("event_id").is_duplicated()
    place = pl.concat_str("event_id", "instrument", "account", separator=":")
    events = events.with_columns(event_id=pl.when(again).then(place).otherwise("event_id"))
    nth = pl.int_range(1, pl.len() + 1).over("event_id").cast(pl.String)
    return events.with_columns(event_id=pl.when(nth == "1").then("event_id").otherwise(pl.col("event_id") + "/" + nth))


def course(moves: pl.DataFrame, path: pl.DataFrame) -> pl.DataFrame:
    """Whether each position owes anything after each move: the leg below zero since it was last flat, as `owed`.

    Where a fill closed one position and opened the next, what the first left of its result leg is counted in, so that
    the amount is only a measure of whether something is owed.
    """
    was_flat = (pl.col("before") == ZERO) | (pl.col("number") < 0)
    is_long = pl.when(pl.col("after") != ZERO).then((pl.col("after") > ZERO) != pl.col("margin_is_base"))
    key = ["position_number", "stretch"]
    legs = {leg: pl.col(f"{leg}_flow").cum_sum().over(key) for leg in ("base", "quote")}
    owed = pl.when(is_long).then(-pl.col("quote_leg")).when(~is_long).then(-pl.col("base_leg")).otherwise(ZERO)
    known = (
        path.with_columns(stretch=was_flat.cast(pl.UInt32).cum_sum())
        .with_columns(**{f"{leg}_leg": value for leg, value in legs.items()})
        .filter(pl.col("number") >= 0)
        .select("number", "position_number", owed=owed)
    )
    what = moves.select("number", "position", "time", "meaning", "input", "row")
    return known.join(what, on="number", how="left", maintain_order="left").drop("number", "position_number")
