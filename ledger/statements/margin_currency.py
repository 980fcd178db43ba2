"""Which position of an instrument a row belongs to: its margin currency and its mode, from the rows on margin."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal

import polars as pl

PAIR = ["account", "instrument"]
POSTING, RETURNING = ("margin_posted", "margin_added"), ("margin_returned", "margin_loss")
TELLING = (*POSTING, "margin_removed", *RETURNING)
TAKEOVER = "takeover"
"""What the insurance fund takes or pays when it settles a position: it tells no margin currency."""
MARGIN_MEANINGS = (*TELLING, TAKEOVER)

_IN_PAIR = (pl.col("currency") == pl.col("base_currency")) | (pl.col("currency") == pl.col("quote_currency"))
# exports 1.2: 332-334 are the new mode's transfers of margin, 200-203 the old mode's; the names are those of
# Trading History for the same sub-types
_NEW = r"(^|/)(332|333|334)$|isolated margin position$"
_OLD = r"(^|/)(200|201|202|203)$|(?i)(system|manual|manually) transfer (in|out)$"


@dataclass(frozen=True)
class Defaults:
    """What the caller says where the files do not.

    `margin_currency` is base, quote or a code; `margin_currencies` what is known of single positions from elsewhere
    (a snapshot, the other side), by account and instrument. `account` is that of rows that name none.
    """

    account: str = "main"
    margin_currency: str | None = None
    mode: str | None = None
    leverage: Decimal | None = None
    margin_currencies: Mapping[tuple[str, str], str] = field(default_factory=dict)


def with_margin_currency(items: pl.DataFrame, defaults: Defaults) -> pl.DataFrame:
    """The items with `margin_currency`, empty where nothing tells it, and `currency_from`, what tells it.

    `items` are fills, interest and margin rows in the order they were booked, with `number`, `meaning`, `order_id`,
    `side`, `currency`, `base_currency` and `quote_currency`. An instrument whose margin rows are all in one currency
    is one position; one with both is two, and each row goes to the one that the margin rows of its order name.
    """
    told = items.filter(pl.col("meaning").is_in(TELLING) & _IN_PAIR)
    found = told.group_by(PAIR).agg(
        told=pl.col("currency").first(), currencies=pl.col("currency").n_unique(), margin_rows=pl.len()
    )
    items = items.join(found, on=PAIR, how="left", maintain_order="left")
    several = items.filter(pl.col("currencies") > 1)
    single = items.filter(pl.col("currencies").fill_null(1) == 1).with_columns(
        margin_currency=pl.coalesce("told", _default(items, defaults)),
        currency_from=pl.when(pl.col("told").is_not_null()).then(pl.lit("margin rows")).otherwise(pl.lit("default")),
    )
    if several.is_empty():
        return single.drop("told", "currencies")
    chosen = _of_several(several).with_columns(currency_from=pl.lit("margin rows of its order, or what was open"))
    return pl.concat([single, chosen.select(single.columns)]).drop("told", "currencies")


def _default(items: pl.DataFrame, defaults: Defaults) -> pl.Expr:
    """What the caller says: of the position, or else of all; nothing where that is no currency of the pair."""
    currency = defaults.margin_currency
    code = {"base": pl.col("base_currency"), "quote": pl.col("quote_currency")}.get(
        currency or "", pl.lit(currency, dtype=pl.String)
    )
    if defaults.margin_currencies:
        known = {f"{account}:{instrument}": code for (account, instrument), code in defaults.margin_currencies.items()}
        named = pl.concat_str(PAIR, separator=":").replace_strict(known, default=None, return_dtype=pl.String)
        code = pl.coalesce(named, code)
    return pl.when((code == pl.col("base_currency")) | (code == pl.col("quote_currency"))).then(code)


def _of_several(items: pl.DataFrame) -> pl.DataFrame:
    """The margin currency where an instrument has a position in either.

    A row goes where the margin rows of its order say. Without them it goes to the position that is open; where both
    are, interest to the one that owes its currency and a fill to the one that it reduces; else to the last one told.
    """
    is_margin = pl.col("meaning").is_in(TELLING)
    orders = items.filter(is_margin & _IN_PAIR & pl.col("order_id").is_not_null())
    order_key = [*PAIR, "order_id"]
    orders = orders.group_by(order_key).agg(
        of_order=pl.col("currency").sort_by("number").first(),
        posts=pl.col("meaning").is_in(POSTING).any(),
    )
    items = items.sort("number").join(orders, on=order_key, how="left", maintain_order="left")
    items = items.with_columns(own=pl.when(is_margin & _IN_PAIR).then("currency").otherwise("of_order"))
    opening = pl.col("meaning").is_in(["fill", "liquidation"]) & pl.col("posts").fill_null(value=False)
    columns = {}
    for leg in ("base", "quote"):
        is_own = pl.col("own") == pl.col(f"{leg}_currency")
        opens = pl.when(is_margin & is_own).then(~pl.col("meaning").is_in(RETURNING))
        columns[f"{leg}_open"] = opens.forward_fill().over(PAIR).fill_null(value=False)
        columns[f"{leg}_side"] = pl.when(opening & is_own).then("side").forward_fill().over(PAIR)
    last = pl.col("own").forward_fill().over(PAIR)
    items = items.with_columns(**columns, last=pl.coalesce(last, pl.col("own").backward_fill().over(PAIR)))
    return items.with_columns(margin_currency=pl.coalesce("own", _open_one(), "last"))


def _open_one() -> pl.Expr:
    owes_quote = pl.col("currency") == pl.col("quote_currency")
    of_interest = pl.when(owes_quote).then(pl.lit("buy")).otherwise(pl.lit("sell"))
    against = pl.when(pl.col("side") == "buy").then(pl.lit("sell")).otherwise(pl.lit("buy"))
    wanted = pl.when(pl.col("meaning") == "interest").then(of_interest).otherwise(against)
    fits = {leg: (pl.col(f"{leg}_side").cast(pl.String) == wanted).fill_null(value=False) for leg in ("base", "quote")}
    both = pl.col("base_open") & pl.col("quote_open")
    base = pl.when(both).then(fits["base"] & ~fits["quote"]).otherwise(pl.col("base_open") & ~pl.col("quote_open"))
    quote = pl.when(both).then(fits["quote"] & ~fits["base"]).otherwise(pl.col("quote_open") & ~pl.col("base_open"))
    return pl.when(base).then("base_currency").when(quote).then("quote_currency")


def modes(margins: pl.DataFrame, lives: pl.DataFrame, defaults: Defaults) -> pl.DataFrame:
    """The mode of each of the `lives` (position_number, life), and `mode_from`, what tells it.

    A life is a stretch from flat to flat, within which the mode cannot change. `margins` are the margin rows with
    their life. A life whose rows do not tell has the mode of the one before, or else of the next.
    """
    key, stated = ["position_number", "life"], pl.col("stated_type")
    told = pl.when(stated.str.contains(_NEW)).then(pl.lit("new")).when(stated.str.contains(_OLD)).then(pl.lit("old"))
    first = margins.sort("number").select(*key, told=told).drop_nulls("told").unique(key, keep="first")
    every = pl.concat([lives.select(key), margins.select(key)]).unique().sort(key)
    every = every.join(first, on=key, how="left", maintain_order="left")
    known = pl.coalesce("told", pl.col("told").forward_fill().over(key[0]), pl.col("told").backward_fill().over(key[0]))
    untold = pl.lit("default" if defaults.mode else "nothing: taken for new")
    return every.select(
        *key,
        mode=pl.coalesce(known, pl.lit(defaults.mode, dtype=pl.String), pl.lit("new")),
        mode_from=pl.when(known.is_not_null()).then(pl.lit("margin rows")).otherwise(untold),
    )
