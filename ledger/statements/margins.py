"""Where margin rows belong: to the fill that they open, to a close, or to the position as a change by itself."""

import polars as pl

from ledger.columns import TIME
from ledger.money import MONEY, ZERO
from ledger.settlement import settlement_path
from ledger.statements.margin_currency import POSTING, RETURNING, TAKEOVER, TELLING

TRADES = ("fill", "liquidation")
_EPOCH = pl.lit(0).cast(TIME)
_ORDER = ["position_number", "order_id"]
_NEAREST_TWO = 2


def with_path(moves: pl.DataFrame, openings: pl.DataFrame) -> pl.DataFrame:
    """The course of each position: a narrow row for each of the `moves`, fills and interest, sorted by position and
    number, with the settlement leg `before` and `after` it, what it `left` over, and whether it `crosses` zero,
    `posts` margin or `closes`; `life` counts openings from flat, and both flows stand beside.

    `openings` are balances from before the files (position_number, amount). A fill for which its order posted no
    margin opens nothing, where the position's margin rows name their orders: what of it is more than closes the
    position goes to the account.
    """
    narrow = _flows(moves)
    first = narrow.join(openings, on="position_number").unique("position_number", keep="any")
    in_base = pl.col("margin_is_base")
    first = first.with_columns(
        number=pl.lit(-1, pl.Int64),
        is_trade=pl.lit(value=False),
        never_opens=pl.lit(value=False),
        order_id=pl.lit(None, pl.String),
        base_flow=pl.when(in_base).then(ZERO).otherwise("amount"),
        quote_flow=pl.when(in_base).then("amount").otherwise(ZERO),
    )
    narrow = by_position(pl.concat([narrow, first.select(narrow.columns)]))
    same_moment = narrow.with_columns(  # they are in order already
        time=_EPOCH, input=pl.lit(0, pl.UInt16), row=pl.lit(0, pl.UInt32)
    )
    path = settlement_path(same_moment, spot_first=False)
    path = path if path["place"].is_sorted() else path.sort("place")
    before, after, left = path["settlement_before"], path["settlement_after"], path["settlement_left"]
    was, now, is_trade = pl.col("before"), pl.col("after"), pl.col("is_trade")
    crosses = (was != ZERO) & (now != ZERO) & ((was > ZERO) != (now > ZERO))
    grows = (now != ZERO) & ((was == ZERO) | (now.abs() > was.abs()))
    return narrow.with_columns(before=before, after=after, left=left).with_columns(
        crosses=is_trade & crosses,
        posts=is_trade & (crosses | grows),
        closes=is_trade & (was != ZERO) & (crosses | (now == ZERO)),
        life=(is_trade & (was == ZERO) & (now != ZERO)).cast(pl.UInt32).cum_sum().over("position_number"),
    )


def _flows(moves: pl.DataFrame) -> pl.DataFrame:
    """What each fill and each charge moves, in few columns."""
    buys = pl.col("side") == "buy"
    base = pl.when(buys).then("quantity").otherwise(-pl.col("quantity"))
    quote = pl.when(buys).then(-pl.col("value")).otherwise("value")
    is_trade, flows = pl.col("meaning").is_in(TRADES), {}
    is_base = pl.col("margin_currency") == pl.col("base_currency")
    # a balance that is stated after the fill shows that it closed nothing
    stays = pl.when(is_base).then("quote_balance").otherwise("base_balance").fill_null(ZERO) != ZERO
    for leg, gross in (("base", base), ("quote", quote)):
        currency = pl.col(f"{leg}_currency")
        fee = pl.when(pl.col("fee_currency") == currency).then("fee").fill_null(ZERO)
        charged = pl.when(pl.col("currency") == currency).then("amount").fill_null(ZERO)
        flows[f"{leg}_flow"] = pl.when(is_trade).then(gross - fee).otherwise(charged).fill_null(ZERO)
    return moves.select(
        "position_number",
        "number",
        "order_id",
        is_trade=is_trade,
        never_opens=(pl.col("meaning") == "liquidation") | (is_trade & pl.col("is_unposted") & ~stays),
        margin_is_base=is_base,
        **flows,
    )


def by_position(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows sorted by `position_number` and `number`: as one key, which is several times faster than as two."""
    key = rows.select(pl.col("position_number").cast(pl.Int64) * 2**32 + pl.col("number")).to_series()
    return rows if key.is_sorted() else rows[key.arg_sort()]


def opening_balances(rows: pl.DataFrame) -> pl.DataFrame:
    """What a position's settlement leg was before its first row, where the rows say: columns `position_number`,
    `amount`.

    Only balances that go on from row to row are believed: with a first row alone, nothing shows what they count.
    """
    stated = rows.filter(pl.col("balance").is_not_null() & (pl.col("change") != ZERO)).sort("number")
    first = stated.group_by("position_number", maintain_order=True).head(_NEAREST_TWO)
    goes_on = pl.col("balance").last() == pl.col("balance").first() + pl.col("change").last()
    opening = pl.col("balance").first() - pl.col("change").first()
    found = first.group_by("position_number", maintain_order=True).agg(
        amount=opening, believed=goes_on & (pl.len() == _NEAREST_TWO)
    )
    return found.filter(pl.col("believed") & (pl.col("amount") != ZERO)).select("position_number", "amount")


def placed_margin(margins: pl.DataFrame, path: pl.DataFrame) -> pl.DataFrame:
    """Each margin row with `fill` (number of the fill it belongs to), or `amount` as an event by itself, or `reason`.

    `margins` have `position_number`, `number`, `meaning`, `order_id`, `currency`, `margin_currency` and an unsigned
    `amount`; `path` is that of `with_path`. Posted margin is that of the next fill of its order which opens or
    increases the position, or else of the last such one; without an order, and while the position is flat, that of
    its next fill. What a close gives back or takes is evidence of the close (`is_evidence`), by the fill `closed_by`:
    the replay returns what is left by itself. Everything else changes the margin.
    """
    margins = margins.sort("number")
    fills = path.filter("is_trade").select("position_number", "order_id", "number", "posts", "closes").sort("number")
    rows = _state(margins, path)
    rows = _found(rows, fills.filter("posts"), "posting", "forward", _ORDER)
    rows = _found(rows, fills.filter("posts"), "posted_before", "backward", _ORDER)
    rows = _found(rows, fills.filter("closes"), "closing", "forward", _ORDER)
    rows = _found(rows, fills.filter("closes"), "closed_before", "backward", _ORDER)
    rows = _found(rows, fills.filter("posts"), "next_fill", "forward", ["position_number"])
    meaning, flat = pl.col("meaning"), pl.col("is_flat")
    of_order = pl.coalesce("posting", "posted_before")
    next_fill = pl.when("is_flat").then("next_fill")
    fill = (
        pl.when(meaning == "margin_posted")
        .then(pl.coalesce(of_order, next_fill))
        .when(meaning == "margin_added")
        .then(next_fill)
    )
    close = pl.coalesce("closing", "closed_before")
    is_evidence = meaning.is_in([*RETURNING, TAKEOVER]) & (close.is_not_null() | flat)
    reason = (
        pl.when(pl.col("amount") == ZERO)
        .then(pl.lit("states no amount"))
        .when((meaning != TAKEOVER) & (pl.col("currency") != pl.col("margin_currency")))
        .then(pl.lit("in another currency than the margin of its position"))
        .when(is_evidence)
        .then(pl.lit("evidence of a close, which returns what is left by itself"))
        .when(meaning == TAKEOVER)
        .then(pl.lit("a takeover while the position stays open, and no leg of a fill"))
        .when(fill.is_null() & flat)
        .then(pl.lit("margin while no position was open, and no fill follows"))
    )
    sign = pl.when(meaning.is_in(POSTING)).then(pl.col("amount")).otherwise(-pl.col("amount"))
    return rows.select(
        "number",
        fill=pl.when(reason.is_null()).then(fill),
        amount=pl.when(reason.is_null()).then(sign),
        reason=reason,
        is_evidence=is_evidence,
        closed_by=pl.when(is_evidence).then(pl.coalesce(close, pl.when("is_flat").then("last_trade"))),
    )


def with_margin_rows(moves: pl.DataFrame, margins: pl.DataFrame) -> pl.DataFrame:
    """`moves` with `states_margin`, whether their position has margin rows, and `is_unposted`, see `with_path`."""
    posted = margins.filter(pl.col("meaning").is_in(POSTING))
    named = posted.filter(pl.col("meaning") == "margin_posted").group_by("position_number")
    names_orders = named.agg(names_orders=pl.col("order_id").is_not_null().all())
    orders = posted.filter(pl.col("order_id").is_not_null()).select(_ORDER).unique().with_columns(is_posted=True)
    states = margins.filter(pl.col("meaning").is_in(TELLING)).select("position_number").unique()
    return (
        moves.join(states.with_columns(states_margin=True), on="position_number", how="left", maintain_order="left")
        .join(names_orders, on="position_number", how="left", maintain_order="left")
        .join(orders, on=_ORDER, how="left", maintain_order="left")
        .with_columns(pl.col("states_margin", "is_posted", "names_orders").fill_null(value=False))
        .with_columns(is_unposted=pl.col("names_orders") & ~pl.col("is_posted") & pl.col("order_id").is_not_null())
        .drop("names_orders", "is_posted")
    )


def _state(margins: pl.DataFrame, path: pl.DataFrame) -> pl.DataFrame:
    """The margin rows with whether the position was flat, its life so far and the last trade before."""
    known = path.with_columns(last_trade=pl.when("is_trade").then("number"))
    known = known.select(
        "position_number",
        "number",
        "after",
        "life",
        last_trade=pl.col("last_trade").forward_fill().over("position_number"),
    )
    rows = margins.join_asof(
        known.sort("number"), on="number", by="position_number", strategy="backward", check_sortedness=False
    )
    return rows.with_columns(is_flat=pl.col("after").fill_null(ZERO) == ZERO)


def _found(rows: pl.DataFrame, fills: pl.DataFrame, name: str, strategy: str, by: list[str]) -> pl.DataFrame:
    """The nearest of the fills after or before each row, of the same position, or of the same order of it."""
    known = fills.select(*by, "number", found="number").drop_nulls(by)
    found = rows.select(*by, "number").join_asof(
        known,
        on="number",
        by=by,
        strategy="forward" if strategy == "forward" else "backward",
        check_sortedness=False,
    )
    return rows.with_columns(found["found"].alias(name))


def amounts_of_fills(placed: pl.DataFrame) -> pl.DataFrame:
    """The margin that each fill posts: columns `number`, `posted`."""
    of_fill = placed.filter(pl.col("fill").is_not_null())
    return of_fill.group_by("fill").agg(posted=pl.col("amount").sum().cast(MONEY)).rename({"fill": "number"})
