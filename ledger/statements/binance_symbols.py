"""What all Binance layouts share: symbols parted into a pair, times in UTC without a zone, amounts with a unit."""

import polars as pl

from ledger.columns import TIME
from ledger.money import LARGEST_DIGITS, MONEY, SCALE
from ledger.rules import Rule

QUOTES = (
    *("FDUSD",),
    *("USDT", "USDC", "USDP", "USDS", "USD1", "TUSD", "BUSD", "XUSD", "EURI"),
    *("IDRT", "BIDR", "BKRW", "BVND", "GYEN", "DOGE"),
    *("DAI", "PAX", "UST", "VAI"),
    *("ARS", "AUD", "BRL", "COP", "CZK", "EUR", "GBP", "JPY", "MXN", "NGN", "PLN", "RON", "RUB", "TRY", "UAH", "ZAR"),
    *("BNB", "BTC", "DOT", "ETH", "SOL", "TRX", "XMR", "XRP"),
)
"""Currencies that symbols of Binance end in, longest first: quoteAsset of its exchange information, as
github.com/BittyTax/BittyTax (parsers/binance.py) lists those of downloaded files, and USD1 and XUSD of 2025."""

PARTED = {"BTCAEUR": "BTC-AEUR", "ETHAEUR": "ETH-AEUR", "EURAEUR": "EUR-AEUR"}
"""Symbols that the list cannot part: AEUR is a quote currency of these alone, and ADAEUR is ADA-EUR."""

_QUOTE_AT_END = rf"^(.+?)({'|'.join(QUOTES)})$"  # the shortest base, which leaves the longest quote
_GROUPED = r"[1-9][0-9]{0,2}(,[0-9]{3}){1,5}"
_AMOUNT = rf"^-?([0-9]{{1,{LARGEST_DIGITS}}}|{_GROUPED})(\.[0-9]{{1,{SCALE}}})?$"
_MOMENT = r"^(20)?[0-9]{2}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-5][0-9](\.[0-9]{1,6})?$"


def pair(symbol: str, named: pl.Expr) -> pl.Expr:
    """BASE-QUOTE of a column of symbols such as LTCUSDT; a symbol that cannot be parted stays as it is.

    What follows a blank is a remark. `named` is a currency of the same row. Where it is one end of the symbol and the
    other end, or itself, is a known quote currency, that decides: BNBUPUSDT is not BNB-UPUSDT because the fee was in
    BNB. Otherwise the longest known quote currency does, and `named` alone at the very last.
    """
    text = pl.col(symbol).str.extract(r"^(\S+)")
    first = named + "-" + text.str.strip_prefix(named)
    last = text.str.strip_suffix(named) + "-" + named
    is_first, is_last = text.str.starts_with(named), text.str.ends_with(named)
    return (
        pl.when(text.is_in(list(PARTED)))
        .then(text.replace(PARTED))
        .when(is_first & text.str.strip_prefix(named).is_in(QUOTES))
        .then(first)
        .when(is_last & named.is_in(QUOTES))
        .then(last)
        .when(text.str.contains(_QUOTE_AT_END))
        .then(text.str.replace(_QUOTE_AT_END, "$1-$2"))
        .when(is_first)
        .then(first)
        .when(is_last)
        .then(last)
        .otherwise(text)
    )


def base(instrument: pl.Expr) -> pl.Expr:
    """The base currency of BASE-QUOTE; nothing where it is not parted."""
    return instrument.str.extract(r"^([^-]+)-")


def quote(instrument: pl.Expr) -> pl.Expr:
    """The quote currency of BASE-QUOTE; nothing where it is not parted."""
    return instrument.str.extract(r"-([^-]+)$")


def amount(text: pl.Expr) -> pl.Expr:
    """The exact amount of a text, which may have commas between thousands; nothing where it is none.

    0,1 is none: a comma before the decimals would make a number a thousand times too large.
    """
    plain = text.str.replace_all(",", "", literal=True)
    return pl.when(text.str.contains(_AMOUNT)).then(plain.cast(MONEY, strict=False))


def utc_moment(column: str) -> pl.Expr:
    """The moment of a column of texts in UTC that say no zone; nothing where it is none.

    Such are `2021-03-23 18:23:25`, the same with two digits of the year, and epoch times in seconds or milliseconds:
    ten digits of milliseconds would lie in 1970. The documentation of transfers has them in seconds.
    """
    text = pl.col(column)
    plain = text.str.replace("T", " ", literal=True).str.replace(r"(Z|\+00:00)$", "")
    full = pl.when(plain.str.contains(r"^[0-9]{2}-")).then("20" + plain).otherwise(plain)
    moment = full.str.to_datetime("%Y-%m-%d %H:%M:%S%.f", time_unit="us", strict=False).dt.replace_time_zone("UTC")
    count = text.cast(pl.Int64, strict=False)
    milliseconds = pl.when(text.str.len_bytes() == 10).then(count * 1000).otherwise(count)
    epoch = milliseconds.cast(pl.Datetime("ms", "UTC")).cast(TIME)
    return (
        pl.when(text.str.contains(r"^[0-9]{10}([0-9]{3})?$")).then(epoch).when(plain.str.contains(_MOMENT)).then(moment)
    )


def given(column: str, noun: str, form: str) -> Rule:
    """The rule that a column which is read from text came out as a value; `form` shows how it is written."""
    remedy = "Export the file again, and do not save it from a spreadsheet."
    return Rule(column, f"{noun} is written as {form}.", remedy, pl.col(column).is_not_null())


TIME_IS_READ = given("time", "A time in UTC", "2021-03-23 18:23:25")

SYMBOL_HAS_ASSET = Rule(
    "instrument",
    "An isolatedSymbol is the asset and the other currency, one after the other.",
    "Export the file again.",
    pl.col("instrument").str.starts_with(pl.col("currency") + "-")
    | pl.col("instrument").str.ends_with("-" + pl.col("currency")),
)
"""The rule that what is owed is one of the two currencies of the symbol."""
