"""The settlement leg: the one that is not in the margin currency. The position is closed while it is zero."""

from typing import Any

import polars as pl

from ledger.flows import result, settlement
from ledger.money import MONEY, SCALE, ZERO, divide, from_units, since
from ledger.ordering import order_of


def settlement_path(flows: pl.DataFrame, spot_first: bool) -> pl.DataFrame:
    """The settlement leg before and after each event, in the order the events happened.

    One row per event of `flows` (see `flows.with_flows`); `place` is its row there. Only these few narrow columns are
    put in order here; the wide rows follow once, when the parts are known. `settlement_left` is what of a fill does
    not reach the position, `left_*` its quantity, value and fee where they are not simply the whole rest.
    """
    order = order_of(flows)
    path = flows.select("position_number", "is_trade", "never_opens", settlement_flow=settlement("{leg}_flow"))
    path = path.with_row_index("place") if order is None else path[order].with_columns(place=order)
    path = (
        path.with_row_index("step")
        .with_columns(is_first=pl.col("position_number").ne_missing(pl.col("position_number").shift(1)))
        .with_columns(start=pl.when("is_first").then("step").forward_fill())
    )
    if not spot_first:
        return _with_resets(path.with_columns(pl.lit(None, MONEY).alias(name) for name in _LEFT[2:]))
    return path.join(_spot_parts(beside_events(path, flows)), on="step", how="left", maintain_order="left").pipe(
        _accumulate
    )


def beside_events(path: pl.DataFrame, flows: pl.DataFrame) -> pl.DataFrame:
    """The rows of a path with the columns of their events beside them, found by `place`."""
    events = flows.select(pl.exclude(path.columns))
    in_place = path.height == flows.height and path["place"].is_sorted()
    return path.hstack(events if in_place else events[path["place"]])


def is_crossing() -> pl.Expr:
    """True where a fill is larger than what closes the position."""
    before, after = pl.col("settlement_before"), pl.col("settlement_before") + pl.col("settlement_flow")
    return pl.col("is_trade") & (((before > 0) & (after < 0)) | ((before < 0) & (after > 0)))


def _with_resets(path: pl.DataFrame) -> pl.DataFrame:
    """The path where a fill that never opens leaves what it has beyond the close to the account.

    Which fills do so depends only on the fills before them. So guess (all of them), follow the path that gives, see
    on it which ones bring the leg to zero, and take that as the next guess, until the guess is what is seen. Then it
    is the answer, for a first wrong guess would have been seen; and each turn mends at least the first wrong guess
    of every position. Where such fills mostly close, one turn is enough.
    """
    flow, before, after = pl.col("settlement_flow"), pl.col("settlement_before"), pl.col("settlement_after")
    candidate = pl.col("is_trade") & pl.col("never_opens")
    reaches_zero = ((before > 0) & (after <= 0)) | ((before < 0) & (after >= 0))
    restarts = pl.col("is_first") | pl.col("guess").shift(1, fill_value=False)
    guessed = path.with_columns(guess=candidate, total=flow.cum_sum())
    while True:
        followed = (
            guessed.with_columns(restart=pl.when(restarts).then("step").forward_fill())
            .with_columns(settlement_after=since("restart", "settlement_flow", "total"))
            .with_columns(settlement_before=after - flow)
            .with_columns(seen=candidate & reaches_zero)
        )
        if followed["seen"].equals(followed["guess"]):
            break
        guessed = followed.with_columns(guess="seen")
    return followed.with_columns(
        settlement_left=pl.when(pl.col("guess") & (after != 0)).then(after),
        settlement_after=pl.when("guess").then(ZERO).otherwise(after),
    ).drop("guess", "seen", "restart", "total")


def _accumulate(path: pl.DataFrame) -> pl.DataFrame:
    kept = pl.col("settlement_flow") - pl.col("settlement_left").fill_null(ZERO)
    return (
        path.with_columns(kept=kept, total=kept.cum_sum())
        .with_columns(settlement_after=since("start", "kept", "total"))
        .with_columns(settlement_before=pl.col("settlement_after") - kept)
        .drop("kept", "total")
    )


_LEFT = ["step", "settlement_left", "left_quantity", "left_value", "left_fee"]


def _spot_parts(rows: pl.DataFrame) -> pl.DataFrame:
    """What crossing fills trade as spot before they open the opposite position: one row per crossing fill.

    `rows` are all events in order. What is traded as spot depends on what the closed position leaves and decides
    where the next one starts: there is no closed form, and this is the one place where the replay walks row by row.
    It does so in integer units.
    """
    found = []
    standing = held = 0
    for row in rows.select(*_WALKED_FLAGS, *_WALKED_AMOUNTS).iter_rows(named=True):
        if row["is_first"]:
            standing = held = 0
        flow = row["settlement_flow"]
        crosses = row["is_trade"] and standing * flow < 0 and abs(flow) > abs(standing)
        if crosses and row["never_opens"]:
            found.append((row["step"], standing + flow, None, None, None))
            standing = held = 0
        elif crosses:
            *part, held = _spot_part(row, standing, held)
            found.append((row["step"], *part))
            standing += flow - part[0]
        else:
            standing += flow
            held = held + row["result_flow"] if standing else 0
    units = pl.DataFrame(found, schema=dict.fromkeys(_LEFT, pl.Int128) | {"step": pl.UInt32}, orient="row")
    return units.with_columns(from_units(pl.col(_LEFT[1:])))


_WALKED_FLAGS = (
    pl.col("step", "is_first", "is_trade", "never_opens", "margin_is_base"),
    settlement("fee_in_{leg}").alias("fee_in_settlement"),
    result("fee_in_{leg}").alias("fee_in_result"),
)
_WALKED_AMOUNTS = (
    pl.col("settlement_flow", "quantity", "value", "price", "fee").to_physical(),
    result("{leg}_flow").to_physical().alias("result_flow"),
)


def _spot_part(row: dict[str, Any], standing: int, held: int) -> tuple[int, int, int, int, int]:
    """The part of a crossing fill that is traded as spot before the opposite position opens (overfill=spot_first).

    `standing` and `held` are the settlement and the result leg before the fill. Returns the part's net settlement
    flow, quantity, value and fee, and the result leg of the position that opens, all in integer units. The part is
    nothing unless the fill gives away the margin currency and the closed position leaves some of it.
    """
    unit = 10**SCALE
    whole, closing, fee = abs(row["settlement_flow"]), abs(standing), row["fee"]
    receives = row["settlement_flow"] > 0
    close_fee = divide(fee * closing, whole)
    correction = close_fee if row["fee_in_settlement"] else 0
    settled = closing + (correction if receives else -correction)
    if row["margin_is_base"]:
        gross, paid = row["quantity"], min(row["quantity"], divide(settled * unit, row["price"]))
    else:
        gross, paid = row["value"], min(row["value"], divide(settled * row["price"], unit))
    close_flow = (-paid if receives else paid) - (close_fee if row["fee_in_result"] else 0)
    available, rest, rest_net = held + close_flow, gross - paid, whole - closing
    if not receives or available <= 0 or rest <= 0:
        return 0, 0, 0, 0, row["result_flow"] - close_flow
    taken = min(available, rest)
    net = divide(rest_net * taken, rest)
    if net == rest_net:  # what would remain is too small to move the settlement leg
        taken = rest
    left_fee = divide((fee - close_fee) * net, rest_net)
    left_gross = net + (left_fee if row["fee_in_settlement"] else 0)
    quantity, value = (taken, left_gross) if row["margin_is_base"] else (left_gross, taken)
    left_flow = -taken - (left_fee if row["fee_in_result"] else 0)
    return net, quantity, value, left_fee, row["result_flow"] - close_flow - left_flow
