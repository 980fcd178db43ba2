"""The rates file: which rate of interest is in force from when, for which account, instrument and currency."""

from collections.abc import Mapping
from pathlib import Path

import polars as pl

from ledger.cells import Reason
from ledger.columns import schema
from ledger.events import RULES
from ledger.feeds import Feed, canonical, read_feed
from ledger.interest.columns import RATES
from ledger.refusals import BadInput
from ledger.rules import Rule

RATES_SCHEMA = pl.Schema([*schema(RATES).items(), ("row", pl.UInt32)])
"""Rates: the columns of RATES and the row of the file."""

_INSTRUMENT, _CURRENCY = pl.col("instrument"), pl.col("currency")

RATE_RULES: Mapping[str, Rule] = {
    "time_is_plausible": RULES["time_is_plausible"],
    "account_is_plain": RULES["account_is_plain"],
    "instrument_is_a_pair": RULES["instrument_is_a_pair"],
    "pair_has_two_currencies": RULES["pair_has_two_currencies"],
    "currency_is_a_code": RULES["currency_is_a_code"],
    "rate_is_a_share": Rule(
        "rate",
        "A rate of interest is a share: at least zero and below one.",
        "Write 4 % as 0.04.",
        (pl.col("rate") >= 0) & (pl.col("rate") < 1),
    ),
    "rate_has_a_scope": Rule(
        "currency",
        "A rate is for an instrument, a currency, or one currency of an instrument.",
        "Name at least one of the two.",
        _INSTRUMENT.is_not_null() | _CURRENCY.is_not_null(),
    ),
    "currency_is_in_pair": Rule(
        "currency",
        "The currency owed is one of the instrument's two.",
        "Mend the currency, or leave the instrument empty.",
        _INSTRUMENT.str.starts_with(_CURRENCY + "-") | _INSTRUMENT.str.ends_with("-" + _CURRENCY),
    ),
    "rate_is_given_once": Rule(
        "time",
        "An account, instrument and currency have one rate from one time on; an earlier row gives it.",
        "Keep one of the rows: the one of your account and its tier.",
        pl.struct("time", "account", "instrument", "currency").is_first_distinct(),
    ),
}
"""Every rule of the rates file."""

_NO_TIME = Reason(
    "A rate needs the time from which it is in force; the exchange's answer does not say.",
    "Add a column ts with the time of the answer, in milliseconds since 1970.",
)


def _exchange(title: str, known_by: tuple[set[str], ...], unit: str, time: str, currency: str, rate: str) -> Feed:
    """A list of an exchange's rates for currencies, all of one unit."""
    return Feed(
        title=title,
        known_by=tuple(frozenset(names) for names in known_by),
        names={"time": time, "currency": currency, "rate": rate},
        needs=(time, currency, rate),
        values={"unit": pl.lit(unit)},
        missing={time: _NO_TIME},
    )


FEEDS = (
    _exchange("OKX interest rate", ({"ccy", "interestRate"},), "hourly", "ts", "ccy", "interestRate"),
    _exchange("OKX loan quota", ({"ccy", "rate"}, {"basic"}), "daily", "ts", "ccy", "rate"),
    _exchange(
        "Binance interest rate history",
        ({"asset", "dailyInterestRate"},),
        "daily",
        "timestamp",
        "asset",
        "dailyInterestRate",
    ),
    canonical(RATES, ("time", "rate", "unit"), known_by=("rate", "unit")),
)
"""The layouts that are read, the most particular first."""


def read_rates(path: str | Path) -> pl.DataFrame:
    """The rates of a CSV, Parquet, NDJSON or JSON file: a frame of RATES_SCHEMA in the order of the file.

    Raises BadInput with all refusals.
    """
    found = read_feed(Path(path), FEEDS, RATES, RATE_RULES)
    if found.refusals.height:
        raise BadInput(found.refusals)
    return found.rows.select(RATES_SCHEMA.names())
