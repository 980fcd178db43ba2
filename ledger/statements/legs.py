"""Two rows that are the two legs of one fill, as that fill."""

from dataclasses import dataclass

import polars as pl

from ledger.money import MONEY, ZERO

ORDER_KEY = ["account", "instrument", "order_id"]
LEG_MEANINGS = ("leg", "liquidation_leg")
WHOLE_MEANINGS = ("fill", "liquidation")

_REMEMBERED = ["number", "time", "row_id", "order_id", "trade_id", "account", "instrument", "layout", "input", "row"]
_FILL_COLUMNS = [
    *_REMEMBERED,
    "is_liquidation",
    "side",
    "quantity",
    "value",
    "price",
    "fee",
    "fee_currency",
    "base_balance",
    "quote_balance",
]


@dataclass(frozen=True)
class Fills:
    """`fills` has one row per fill; `of_leg` says which fill a leg belongs to (number, fill); `alone` those of none.

    `number` is the place of a row in the order in which rows were booked.
    """

    fills: pl.DataFrame
    of_leg: pl.DataFrame
    alone: pl.DataFrame


def fills_of_legs(rows: pl.DataFrame) -> Fills:
    """Pair the legs among `rows`, which are in the order they were booked and numbered.

    The two legs have account, instrument, order and trade in common. Where no trade is stated, they are consecutive
    rows of the order, or else the n-th received and the n-th given of the order; never is it the time that pairs.
    """
    legs = _with_gross(rows.filter(pl.col("meaning").is_in(LEG_MEANINGS)))
    pairable = legs.filter((pl.col("is_base") | pl.col("is_quote")) & pl.col("received").is_not_null())
    side_by_side = _neighbours(pairable)
    rest = _without(pairable, side_by_side)
    consecutive = _neighbours(rest.sort(*ORDER_KEY, "id_number", "number"))
    rest = _without(rest, consecutive)
    pairs = pl.concat([side_by_side, consecutive, _nth_with_nth(rest)])
    fills = _fills(legs, pairs)
    number_of = pairs.select("first", "second", fill=_fill_number(legs, pairs))
    of_leg = pl.concat([number_of.select("fill", number=pl.col(side)) for side in ("first", "second")])
    alone = legs.filter(~pl.col("number").is_in(of_leg["number"].implode()))
    return Fills(fills, of_leg.select("number", "fill"), alone.select("number"))


def booked_change() -> pl.Expr:
    """The signed change that a leg brings, net of its fee: of the position, and of the account what it left over."""
    change = pl.when(pl.col("change") != ZERO).then("change")
    fee = pl.when(pl.col("fee_currency") == pl.col("currency")).then("fee").fill_null(ZERO)
    whole = change + pl.col("account_change").fill_null(ZERO)
    is_whole = ((whole + fee).abs() == pl.col("size")) & (whole.sign() == change.sign())
    return pl.when(is_whole).then(whole).otherwise(change)


def whole_fills(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows that are whole fills, in the columns of `Fills.fills`."""
    whole = rows.filter(pl.col("meaning").is_in(WHOLE_MEANINGS))
    return _priced(
        whole.with_columns(
            is_liquidation=pl.col("meaning") == "liquidation",
            quantity="size",
            fee=pl.col("fee").fill_null(ZERO),
            base_balance=pl.lit(None, MONEY),
            quote_balance=pl.lit(None, MONEY),
        )
    ).select(_FILL_COLUMNS)


def _with_gross(legs: pl.DataFrame) -> pl.DataFrame:
    """The legs with what they moved before the fee: what was booked wins over the size that is stated.

    What of a fill went to the account, as more than the position needed, is of the fill too where its size says so.
    """
    change = booked_change()
    own_fee = pl.when(pl.col("fee_currency") == pl.col("currency")).then("fee").fill_null(ZERO)
    sign = pl.when(change > ZERO).then(pl.lit("buy")).when(change < ZERO).then(pl.lit("sell"))
    return legs.with_columns(
        received=pl.coalesce(sign, pl.col("side").cast(pl.String)) == "buy",
        is_base=pl.col("currency") == pl.col("base_currency"),
        is_quote=pl.col("currency") == pl.col("quote_currency"),
        fee=pl.col("fee").fill_null(ZERO),
        net=change.abs(),
        gross=pl.coalesce((change + own_fee).abs(), "size"),
        id_number=pl.col("row_id").cast(pl.UInt64, strict=False),
    )


def _neighbours(legs: pl.DataFrame) -> pl.DataFrame:
    """Pairs of rows that stand next to each other: of the same trade, or, without one, with consecutive identifiers."""

    def same(name: str) -> pl.Expr:
        return pl.col(name).eq_missing(pl.col(name).shift(1))

    follows = (pl.col("id_number") - pl.col("id_number").shift(1) == 1) & _agree("shift")
    joined = pl.when(pl.col("trade_id").is_null()).then(follows).otherwise(True) & same("trade_id")
    opposite = (pl.col("received") != pl.col("received").shift(1)) & (pl.col("is_base") != pl.col("is_base").shift(1))
    linked = pl.all_horizontal(*(same(name) for name in ORDER_KEY), joined, opposite).fill_null(value=False)
    # Of a chain of linked rows the first two are a pair, then the next two: every second link counts.
    run = pl.col("place") - pl.when(~pl.col("linked")).then("place").forward_fill()
    return (
        legs.with_columns(linked=linked, place=pl.int_range(pl.len()))
        .with_columns(counts=pl.col("linked") & (run % 2 == 1), before=pl.col("number").shift(1))
        .filter("counts")
        .select(first="before", second="number")
    )


def _nth_with_nth(legs: pl.DataFrame) -> pl.DataFrame:
    """Pairs of the n-th leg received and the n-th given of an order and trade that can be one fill by their amounts."""
    key = [*ORDER_KEY, "trade_id"]
    named = legs.filter(pl.col("order_id").is_not_null() | pl.col("trade_id").is_not_null())
    numbered = named.sort("number").with_columns(nth=pl.int_range(pl.len()).over(*key, "received"))
    received, given = numbered.filter("received"), numbered.filter(~pl.col("received"))
    both = received.join(given, on=[*key, "nth"], nulls_equal=True, suffix="_other").filter(
        pl.col("is_base") != pl.col("is_base_other")
    )
    fits = both.filter(_agree("other") | pl.col("trade_id").is_not_null())
    return fits.select(
        first=pl.min_horizontal("number", "number_other"), second=pl.max_horizontal("number", "number_other")
    )


def _agree(other: str) -> pl.Expr:
    """Whether two legs can be one fill: the same price, and the amounts are to each other as the price says.

    Only a sieve against legs of different fills, so that rough numbers do; no amount comes of it.
    """

    def facing(name: str) -> pl.Expr:
        return pl.col(name).shift(1) if other == "shift" else pl.col(f"{name}_other")

    price = pl.coalesce("price", facing("price"))
    base = pl.when("is_base").then("gross").otherwise(facing("gross")).cast(pl.Float64)
    quote = pl.when("is_base").then(facing("gross")).otherwise("gross").cast(pl.Float64)
    expected = base * price.cast(pl.Float64)
    rounding = 2e-8 * (1 + price.cast(pl.Float64)) + 1e-4 * expected
    same_price = (pl.col("price") == facing("price")).fill_null(value=True)
    return same_price & ((expected - quote).abs() <= rounding).fill_null(value=True)


def _without(legs: pl.DataFrame, pairs: pl.DataFrame) -> pl.DataFrame:
    taken = pl.concat([pairs["first"], pairs["second"]])
    return legs.filter(~pl.col("number").is_in(taken.implode())) if taken.len() else legs


def _fill_number(legs: pl.DataFrame, pairs: pl.DataFrame) -> pl.Series:
    """A fill is as late as the later of its legs; the first row of two that are booked at once stands for both."""
    # `first` is booked before `second` or, where only their identifiers were compared, at another time.
    times = legs.select("number", "time")
    early, late = pairs.select(pl.min_horizontal(pl.all())).to_series(), pairs.max_horizontal()
    at_once = _beside(times, early)["time"] == _beside(times, late)["time"]
    return early.zip_with(at_once, late).alias("fill")


def _fills(legs: pl.DataFrame, pairs: pl.DataFrame) -> pl.DataFrame:
    first, second = _beside(legs, pairs["first"]), _beside(legs, pairs["second"])
    facing = first.hstack(second.select(pl.all().name.suffix("_second")))
    base = {name: pl.when("is_base").then(name).otherwise(f"{name}_second") for name in _OF_LEG}
    quote = {name: pl.when("is_base").then(f"{name}_second").otherwise(name) for name in _OF_LEG}
    fills = facing.select(
        _fill_number(legs, pairs).alias("number"),
        pl.max_horizontal("time", "time_second").alias("time"),
        *(_smaller_id(name) for name in ("row_id", "input", "row")),
        *(pl.coalesce(name, f"{name}_second").alias(name) for name in ("order_id", "trade_id", "price")),
        "account",
        "instrument",
        "layout",
        is_liquidation=(pl.col("meaning") == "liquidation_leg") | (pl.col("meaning_second") == "liquidation_leg"),
        **{f"base_{name}": value for name, value in base.items()},
        **{f"quote_{name}": value for name, value in quote.items()},
    )
    return _priced(_with_fee(fills)).select(_FILL_COLUMNS)


_OF_LEG = ("gross", "net", "fee", "fee_currency", "received", "balance")


def _smaller_id(name: str) -> pl.Expr:
    length, longer = pl.col("row_id").str.len_bytes(), pl.col("row_id_second").str.len_bytes()
    smaller = (length < longer) | ((length == longer) & (pl.col("row_id") <= pl.col("row_id_second")))
    return pl.when(smaller.fill_null(value=True)).then(name).otherwise(f"{name}_second").alias(name)


def _with_fee(fills: pl.DataFrame) -> pl.DataFrame:
    """The one fee of the fill: of the leg received, or else of the other. A second one stays in its leg's amount."""
    buys, charged = pl.col("base_received"), {leg: pl.col(f"{leg}_fee") != ZERO for leg in ("base", "quote")}
    of_base = (buys & (charged["base"] | ~charged["quote"])) | (~buys & charged["base"] & ~charged["quote"])
    quantity = pl.when(of_base | ~charged["base"]).then("base_gross")
    value = pl.when(~of_base | ~charged["quote"]).then("quote_gross")
    fee = pl.when(of_base).then("base_fee").otherwise("quote_fee")
    currency = pl.when(of_base).then("base_fee_currency").otherwise("quote_fee_currency")
    return fills.with_columns(
        side=pl.when(buys).then(pl.lit("buy")).otherwise(pl.lit("sell")).cast(pl.Enum(["buy", "sell"])),
        quantity=quantity.otherwise(pl.coalesce("base_net", "base_gross")),
        value=value.otherwise(pl.coalesce("quote_net", "quote_gross")),
        fee=fee,
        fee_currency=pl.when(fee != ZERO).then(currency),
    )


def _priced(fills: pl.DataFrame) -> pl.DataFrame:
    """The fills with a price: the one stated, or else the quotient, where that fits the type."""
    quantity, value, price = pl.col("quantity"), pl.col("value"), pl.col("price")
    stated = pl.when(price > ZERO).then(price)
    fits = quantity > value * pl.lit("1e-17").cast(MONEY)
    divisor = pl.when(stated.is_null() & fits).then(quantity)
    return fills.with_columns(price=pl.coalesce(stated, value / divisor))


def _beside(legs: pl.DataFrame, numbers: pl.Series) -> pl.DataFrame:
    """The legs of these numbers, in their order; `legs` is sorted by number."""
    return legs[legs["number"].search_sorted(numbers)]
