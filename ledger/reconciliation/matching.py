"""Events of the ledger and of the exchange side by side: which both have, which differ, which only one has."""

from collections.abc import Sequence

import polars as pl

from ledger.interest.columns import EARLY
from ledger.money import MONEY, ZERO, in_digits
from ledger.ordering import position_name
from ledger.reconciliation.columns import CAUSES, FOUND, MATCHES

_CAUSE = pl.Enum(list(CAUSES))
_TRADES = ("fill", "liquidation", "opening")
_COMPARED = ("time", "kind", "mode", "side", "quantity", "price", "value", "fee", "fee_currency", "amount", "currency")
_AMOUNTS = ("quantity", "price", "value", "fee", "amount")
_ROUNDED = pl.lit("0.000000015").cast(MONEY)
"""How far an amount of a source that rounds at 8 decimals may be off: two roundings, and a little."""
_VALUE_ROUNDED = pl.lit("1e-8").cast(MONEY)  # the exchange books a value with 8 decimals or more
RATIOS = (24, 365, 8760)
"""What a rate in another unit makes of a charge: hourly, daily and annual rates (rules.md 3 [V])."""


def comparable(events: pl.DataFrame, ledger: pl.DataFrame | None = None, coarse: Sequence[int] = ()) -> pl.DataFrame:
    """The events with `position`, `sort` (fill, interest, ...) and every amount as it counts, so that equal is equal.

    The value is what was booked or else quantity x price; no fee is a fee of zero; the amount of a fill is the margin
    that it records, or what the replayed `ledger` says that it posted `by_formula`. Events of `coarse` inputs have
    whole seconds and 8 decimals, and are equal to what rounds to them.
    """
    kind = pl.col("kind")
    is_trade = kind.is_in(_TRADES)
    known = events.with_columns(
        position=position_name(),
        second=pl.col("time").dt.truncate("1s"),
        quantity_rounded=pl.col("quantity").round(7),
        is_coarse=pl.col("input").is_in(coarse).fill_null(value=False),
        sort=pl.when(kind.is_in(["fill", "liquidation"])).then(pl.lit("trade")).otherwise(kind.cast(pl.String)),
        value=pl.when(is_trade).then(pl.coalesce("value", pl.col("quantity") * pl.col("price"))),
        fee=pl.when(kind.is_in(["fill", "liquidation"])).then(pl.col("fee").fill_null(ZERO)),
        currency=pl.when(kind == "interest")
        .then("currency")
        .when(kind == "adjustment")
        .then("currency")
        .otherwise("margin_currency"),
    ).with_columns(fee_currency=pl.when(pl.col("fee") != 0).then("fee_currency"))
    is_fill = kind == "fill"
    if ledger is None:
        stated = pl.when(is_fill).then("amount").otherwise(pl.col("amount").fill_null(ZERO))  # fills alone state none
        return known.with_columns(by_formula=pl.lit(value=False), amount=stated)
    posted = (
        ledger.filter(pl.col("initial_margin").is_not_null())
        .group_by("position", "event_id")
        .agg(pl.col("initial_margin").sum().alias("posted"))
    )
    joined = known.join(posted, on=["position", "event_id"], how="left", maintain_order="left")
    return joined.with_columns(
        by_formula=is_fill & pl.col("amount").is_null(), amount=pl.coalesce("amount", "posted").fill_null(ZERO)
    ).drop("posted")


def matched(ledger: pl.DataFrame, exchange: pl.DataFrame) -> pl.DataFrame:
    """One row per event of either side, both from `comparable`: the ledger's columns, the exchange's with `_x`.

    Events are put together by identifier, then by all they say, then by time, then by all but the time; the n-th of
    its like goes to the n-th. `found` says what came of it, `cause` what the difference is, `differs_in` in words.
    """
    left = ledger.select(*_KEPT).with_row_index("ledger_number")
    right = exchange.select(*_KEPT).with_row_index("exchange_number")
    pairs: list[pl.DataFrame] = []
    for keys in _ROUNDS:
        found = _together(left, right, keys)
        pairs.append(found)
        left = left.join(found, on="ledger_number", how="anti", maintain_order="left")
        right = right.join(found, on="exchange_number", how="anti", maintain_order="left")
    together = pl.concat(pairs)
    every = ledger.select(*_KEPT).with_row_index("ledger_number").join(together, on="ledger_number", how="left")
    both = every.join(
        exchange.select(*_KEPT).with_row_index("exchange_number").select(pl.all().name.suffix("_x")),
        left_on="exchange_number",
        right_on="exchange_number_x",
        how="full",
        coalesce=True,
    )
    return both.with_columns(_found()).pipe(_with_causes)


_KEPT = (
    "position",
    "account",
    "sort",
    "event_id",
    *_COMPARED,
    "by_formula",
    "second",
    "quantity_rounded",
    "is_coarse",
    "reason",
    "input",
    "row",
    "sequence",
)
_SAID = ("side", "quantity", "price", "value", "fee", "amount", "currency")
_ROUNDS: tuple[tuple[str, ...], ...] = (
    ("event_id",),
    ("time", *_SAID),
    ("second", "side", "price", "quantity_rounded"),
    ("moment", "side", "quantity"),
    ("moment", "side", "price"),
    ("moment",),
    _SAID,
)


def _together(left: pl.DataFrame, right: pl.DataFrame, keys: tuple[str, ...]) -> pl.DataFrame:
    """Numbers of the events that have the keys in common."""
    by = ["position", "sort", *keys, "turn"]
    sides = []
    for side, number in ((left, "ledger_number"), (right, "exchange_number")):
        moment = (
            pl.when(pl.col("sort") == "interest").then((pl.col("time") + EARLY).dt.truncate("1h")).otherwise("time")
        )
        keyed = side.with_columns(moment=moment)
        keyed = keyed.with_columns(turn=pl.int_range(pl.len()).over("position", "sort", *keys))
        sides.append(keyed.select(number, *by))
    return sides[0].join(sides[1], on=by, how="inner", nulls_equal=True).select("ledger_number", "exchange_number")


def _differs(column: str) -> pl.Expr:
    one, other = pl.col(column), pl.col(f"{column}_x")
    differs: pl.Expr = one.ne_missing(other)
    if column == "time":
        return differs & ~(pl.col("is_coarse_x") & (pl.col("second") == pl.col("second_x"))).fill_null(value=False)
    if column in _AMOUNTS:
        rounds = (one - other).abs() <= _ROUNDED * pl.when(pl.lit(column == "value")).then(
            1 + pl.col("price")
        ).otherwise(1)
        differs &= ~(pl.col("is_coarse_x") & rounds).fill_null(value=False)
    if column != "amount":
        return differs
    # Whether a fill posts margin by the formula depends on what is open, which an earlier difference may have changed.
    follows = pl.col("by_formula") & ((pl.col("amount") == 0) | (pl.col("amount_x") == 0))
    return differs & ~follows & ~((pl.col("sort") == "trade") & pl.col("amount_x").is_null())


def _found() -> pl.Expr:
    names = pl.Enum(FOUND)
    differs = pl.any_horizontal(_differs(column) for column in _COMPARED)
    return (
        pl.when(pl.col("exchange_number").is_null())
        .then(pl.lit("only_in_ledger", names))
        .when(pl.col("ledger_number").is_null())
        .then(pl.lit("only_at_exchange", names))
        .when(differs)
        .then(pl.lit("differs", names))
        .otherwise(pl.lit("in_common", names))
        .alias("found")
    )


def _with_causes(both: pl.DataFrame) -> pl.DataFrame:
    account = pl.coalesce("account", "account_x")
    ends = {"ledger_end": pl.col("time").max().over(account), "exchange_end": pl.col("time_x").max().over(account)}
    said = pl.when(pl.col("sort") != "trade").then("amount").alias("said")  # margin posted depends on what is open
    alike = ["position", "sort", "time", "side", "quantity", "price", "currency", said]
    repeated = pl.col("event_id").is_not_null() & (pl.len().over(alike) > 1)
    known = both.with_columns(repeated=repeated, **ends)
    cause = (
        pl.when(pl.col("found") == "only_in_ledger")
        .then(_only_in_ledger())
        .when(pl.col("found") == "only_at_exchange")
        .then(_only_at_exchange())
        .when(pl.col("found") == "differs")
        .then(_difference())
    )
    words = pl.concat_list(_said(column) for column in _COMPARED).list.drop_nulls().list.join("; ")
    return known.with_columns(cause=cause, differs_in=pl.when(pl.col("found") == "differs").then(words)).drop(
        "repeated"
    )


def _is(name: str) -> pl.Expr:
    return pl.lit(name, _CAUSE)


def _only_in_ledger() -> pl.Expr:
    sort = pl.col("sort")
    return (
        pl.when(pl.col("reason").is_not_null())
        .then(_is("adjustment"))
        .when(pl.col("time") > pl.col("exchange_end"))
        .then(_is("cut_off"))
        .when(sort == "opening")
        .then(_is("opening_balance"))
        .when((sort == "trade") & pl.col("repeated"))
        .then(_is("duplicate_fill"))
        .when(sort == "trade")
        .then(_is("extra_fill"))
        .when(sort == "interest")
        .then(_is("extra_interest"))
        .when(sort == "margin")
        .then(_is("margin_change_extra"))
        .otherwise(_is("other"))
    )


def _only_at_exchange() -> pl.Expr:
    sort = pl.col("sort_x")
    return (
        pl.when(pl.col("time_x") > pl.col("ledger_end"))
        .then(_is("cut_off"))
        .when(pl.col("kind_x") == "liquidation")
        .then(_is("liquidation"))
        .when(sort == "opening")
        .then(_is("opening_balance"))
        .when(sort == "trade")
        .then(_is("missing_fill"))
        .when(sort == "interest")
        .then(_is("missing_interest"))
        .when(sort == "margin")
        .then(_is("margin_change_missing"))
        .otherwise(_is("other"))
    )


def _difference() -> pl.Expr:
    """The first cause that applies, the graver ones first."""
    amount, stated, interest = pl.col("amount"), pl.col("amount_x"), pl.col("sort") == "interest"
    return (
        pl.when(_differs("kind"))
        .then(_is("liquidation"))
        .when(_differs("side") | (_differs("amount") & (amount == -stated)))
        .then(_is("sign"))
        .when(_differs("quantity"))
        .then(_is("quantity"))
        .when(_differs("price"))
        .then(_is("price"))
        .when(_differs("fee") & (pl.col("fee") == 0))
        .then(_is("fee_not_deducted"))
        .when(_differs("fee_currency"))
        .then(_is("fee_currency"))
        .when(_differs("fee"))
        .then(_is("fee_amount"))
        .when(_differs("value") & ((pl.col("value") - pl.col("value_x")).abs() <= _VALUE_ROUNDED))
        .then(_is("venue_digits"))
        .when(_differs("value"))
        .then(_is("price"))
        .when(_differs("amount") & interest & in_other_unit(amount, stated))
        .then(_is("rate_unit"))
        .when(_differs("amount") & interest & rounded_otherwise(amount, stated))
        .then(_is("interest_rounding"))
        .when(_differs("amount") & interest)
        .then(_is("interest_amount"))
        .when(_differs("amount"))
        .then(_is("margin_amount"))
        .when(_differs("mode"))
        .then(_is("mode"))
        .when(_differs("time"))
        .then(_is("cut_off"))
        .otherwise(_is("other"))
    )


def in_other_unit(amount: pl.Expr, stated: pl.Expr) -> pl.Expr:
    """Whether two charges are apart by what a rate in another unit makes of one of them."""
    near = [
        (one - other * ratio).abs() * 1000 < one.abs()
        for ratio in RATIOS
        for one, other in ((amount, stated), (stated, amount))
    ]
    return pl.any_horizontal(near) & (amount != 0) & (stated != 0)


def rounded_otherwise(amount: pl.Expr, stated: pl.Expr) -> pl.Expr:
    """Whether two charges are the same one, rounded in another way or to fewer decimals."""
    same = []
    for decimals in range(8, 17):
        unit = pl.lit(f"1e-{decimals}").cast(MONEY)
        coarse = (amount.round(decimals) == amount) | (stated.round(decimals) == stated)
        same.append(coarse & ((amount - stated).abs() <= unit))
    return pl.any_horizontal(same)


def _said(column: str) -> pl.Expr:
    """A column in which the two differ, with both values."""

    def shown(name: str) -> pl.Expr:
        text = pl.col(name).dt.strftime("%Y-%m-%d %H:%M:%S%.3f") if column == "time" else pl.col(name).cast(pl.String)
        text = in_digits(text) if column in _AMOUNTS else text
        return text.fill_null("nothing")

    return pl.when(_differs(column)).then(
        pl.format("{} {} for {}", pl.lit(column), shown(column), shown(f"{column}_x"))
    )


def matches_frame(both: pl.DataFrame) -> pl.DataFrame:
    """The frame MATCHES of what `matched` gives, in order of position and time."""
    return (
        both.with_columns(
            position=pl.coalesce("position", "position_x"),
            kind=pl.coalesce("kind", "kind_x"),
            time=pl.coalesce("time", "time_x"),
            ledger_event_id="event_id",
            exchange_event_id="event_id_x",
            ledger_input="input",
            ledger_row="row",
            exchange_input="input_x",
            exchange_row="row_x",
        )
        .sort("position", "time", "ledger_number", "exchange_number", maintain_order=True)
        .select(pl.col(column.name).cast(column.dtype) for column in MATCHES)
    )
