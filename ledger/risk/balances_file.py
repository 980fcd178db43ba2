"""The balances file: what an account has free to be used from when, for checks of margin and leverage changes."""

from collections.abc import Mapping
from pathlib import Path

import polars as pl

from ledger.columns import schema
from ledger.events import RULES, bounded
from ledger.feeds import canonical, read_feed
from ledger.refusals import BadInput
from ledger.risk.columns import BALANCES
from ledger.rules import Rule

REQUIRED = ("time", "account", "currency", "available")
"""Columns that a file must have and a row must fill. The others may be absent, which is the same as empty."""

_SINGLE, _MULTI = "single_currency", "multi_currency"
_MODE = pl.col("account_mode").fill_null(_SINGLE)
_EQUITIES = ("adjusted_equity", "hold_equity")


def _of_multi_currency(column: str) -> dict[str, Rule]:
    """An equity that accounts of several currencies have, and no others."""
    return {
        f"{column}_is_of_multi_currency": Rule(
            column,
            f"Only an account in multi_currency mode has {column}; elsewhere it would be ignored.",
            "Leave it empty, or state account_mode multi_currency.",
            (_MODE == _MULTI) | pl.col(column).is_null(),
        ),
        f"{column}_is_needed": Rule(
            column,
            f"An account in multi_currency mode needs {column}.",
            "Fill it in, or state account_mode single_currency.",
            (_MODE == _SINGLE) | pl.col(column).is_not_null(),
        ),
        f"{column}_is_of_the_account": Rule(
            column,
            f"An account has one {column} at one time, whatever the currency; an earlier row states another.",
            "State the same amount in all rows of the account and time.",
            pl.col(column) == pl.col(column).drop_nulls().first().over("time", "account"),
        ),
    }


BALANCE_RULES: Mapping[str, Rule] = {
    "time_is_plausible": RULES["time_is_plausible"],
    "account_is_plain": RULES["account_is_plain"],
    "currency_is_a_code": RULES["currency_is_a_code"],
    **{f"{name}_is_bounded": bounded(name) for name in ("available", *_EQUITIES)},
    "hold_equity_is_not_negative": Rule(
        "hold_equity", "Equity held by orders is not negative.", "Give its size.", pl.col("hold_equity") >= 0
    ),
    "available_is_not_negative": Rule(
        "available",
        "Only an account in multi_currency mode can have less than nothing available in a currency.",
        "Check the sign, or state account_mode multi_currency.",
        (_MODE == _MULTI) | (pl.col("available") >= 0),
    ),
    "account_has_one_mode": Rule(
        "account_mode",
        "An account has one mode at one time; an earlier row states another (empty: single_currency).",
        "State the same mode in all rows of the account and time.",
        _MODE.eq(_MODE.first().over("time", "account")),
    ),
    **{name: rule for column in _EQUITIES for name, rule in _of_multi_currency(column).items()},
    "balance_is_given_once": Rule(
        "time",
        "An account has one balance in a currency from one time on; an earlier row gives it.",
        "Keep one of the rows.",
        pl.struct("time", "account", "currency").is_first_distinct(),
    ),
}
"""Every rule of the balances file (rules 5 [O])."""

FEEDS = (canonical(BALANCES, REQUIRED, known_by=tuple(schema(BALANCES))),)
"""The layouts that are read."""


def read_balances(path: str | Path) -> pl.DataFrame:
    """The balances of a CSV, Parquet, NDJSON or JSON file: a frame of BALANCES in the order of the file.

    An account mode that is not stated is single_currency. Raises BadInput with all refusals.
    """
    found = read_feed(Path(path), FEEDS, BALANCES, BALANCE_RULES)
    if found.refusals.height:
        raise BadInput(found.refusals)
    return found.rows.select(schema(BALANCES).names()).with_columns(pl.col("account_mode").fill_null(_SINGLE))
