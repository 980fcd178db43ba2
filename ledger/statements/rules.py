"""The rules of a row that an exchange's file states, whatever its layout: movements, and positions.

Amounts are bounded by their type already (`ledger.cells`). Rows that are no concern of an isolated spot-margin position
may name instruments and currencies of any shape: nothing is computed from them.
"""

from collections.abc import Mapping

import polars as pl

from ledger.events import RULES
from ledger.interest.columns import UNITS
from ledger.rules import Rule

_NOT_OURS = ("outside", "unclassified")
_WHOLE = ("fill", "liquidation")
_LEGS = ("leg", "liquidation_leg")

_meaning, _currency, _instrument = (pl.col(name) for name in ("meaning", "currency", "instrument"))
_IS_OURS = ~_meaning.is_in(_NOT_OURS)


# --- rules by column ----------------------------------------------------------------------------------------


def plain(column: str) -> Rule:
    """An identifier without blanks at its ends and without invisible characters."""
    return Rule(
        column,
        "An identifier has no blank at its ends and no invisible character.",
        "Remove blanks, line breaks, byte order marks and control characters.",
        pl.col(column).str.contains(r"^[^\p{C}\s]([^\p{C}]*[^\p{C}\s])?$"),
    )


def all_digits(column: str) -> Rule:
    """An identifier that no spreadsheet has turned into a number such as 6.2E+17."""
    return Rule(
        column,
        "An identifier has all its digits; a spreadsheet has rounded this one.",
        "Export the file again, and do not save it from a spreadsheet.",
        ~pl.col(column).str.contains(r"^[0-9]+(\.[0-9]+)?[eE]\+?[0-9]+$"),
    )


def not_negative(column: str, noun: str, remedy: str) -> Rule:
    """An amount without a sign."""
    return Rule(column, f"{noun} is not negative.", remedy, pl.col(column) >= 0)


def _only_ours(rule: Rule) -> Rule:
    """The rule for rows that concern a position."""
    return Rule(rule.column, rule.sentence, rule.remedy, ~_IS_OURS | rule.holds)


def _needed(column: str, meanings: tuple[str, ...], noun: str) -> Rule:
    words = " or ".join(meanings)
    return Rule(
        column,
        f"A row that is {words} needs {noun}.",
        "Export the file again with all its columns.",
        ~_meaning.is_in(meanings) | pl.col(column).is_not_null(),
    )


_half = (_instrument.str.len_bytes() - 1) // 2
_TWO_CURRENCIES = Rule(
    "instrument",
    RULES["pair_has_two_currencies"].sentence,
    RULES["pair_has_two_currencies"].remedy,
    # of a pair, both halves are the same only where the dash is in the middle; five times as quick as parting it
    (_instrument.str.len_bytes() % 2 == 0) | (_instrument.str.head(_half) != _instrument.str.tail(_half)),
)
_FEE_CURRENCY = Rule(
    "fee_currency",
    RULES["fee_currency_is_a_code"].sentence,
    RULES["fee_currency_is_a_code"].remedy,
    (pl.col("fee_currency") == _currency) | RULES["fee_currency_is_a_code"].holds,  # of the row's own: said there
)


# --- movements ----------------------------------------------------------------------------------------------

STATEMENT_RULES: Mapping[str, Rule] = {
    "time_is_known": Rule(
        "time",
        "A time is a date and a time of day that exist, in a zone such as UTC+8.",
        "Export the file again; write times as 2024-05-01 12:00:00.",
        pl.col("time").is_not_null(),
    ),
    "time_is_plausible": RULES["time_is_plausible"],
    "row_id_is_plain": plain("row_id"),
    "row_id_has_all_digits": all_digits("row_id"),
    "order_id_is_plain": plain("order_id"),
    "order_id_has_all_digits": all_digits("order_id"),
    "trade_id_is_plain": plain("trade_id"),
    "trade_id_has_all_digits": all_digits("trade_id"),
    "account_is_plain": RULES["account_is_plain"],
    "instrument_is_plain": plain("instrument"),
    "instrument_is_a_pair": _only_ours(RULES["instrument_is_a_pair"]),
    "pair_has_two_currencies": _only_ours(_TWO_CURRENCIES),
    "currency_is_plain": plain("currency"),
    "currency_is_a_code": _only_ours(RULES["currency_is_a_code"]),
    "fee_currency_is_a_code": _only_ours(_FEE_CURRENCY),
    "currency_is_given": Rule(
        "currency",
        "A row of a position names the currency of its amounts.",
        "Export the file again with all its columns.",
        ~_IS_OURS | _meaning.is_in(_WHOLE) | _currency.is_not_null(),
    ),
    "side_is_given": _needed("side", _WHOLE, "a side"),
    "size_is_given": _needed("size", _WHOLE, "a quantity"),
    "price_is_given": _needed("price", _WHOLE, "a price"),
    "leg_has_an_amount": Rule(
        "change",
        "A leg of a fill has an amount: a change of the position's balance, or a size.",
        "Export the file again with all its columns.",
        ~_meaning.is_in(_LEGS) | pl.col("change").is_not_null() | pl.col("size").is_not_null(),
    ),
    "interest_has_an_amount": Rule(
        "interest",
        "A row of interest has an amount.",
        "Export the file again.",
        (_meaning != "interest") | pl.col("interest").is_not_null() | pl.col("change").is_not_null(),
    ),
    "size_is_not_negative": not_negative("size", "A size", "Give what was moved without a sign."),
    "price_is_not_negative": _only_ours(not_negative("price", "A price", "Mend it at its source.")),
    "interest_is_not_negative": _only_ours(not_negative("interest", "Interest", "Mend it at its source.")),
    "rate_is_not_negative": _only_ours(not_negative("rate", "A rate", "Mend it at its source.")),
    "rate_has_a_unit": Rule(
        "unit",
        "A rate without a known unit is an input error: a guess would be wrong 24-fold or 8760-fold.",
        f"Give each rate its unit: {', '.join(UNITS)}.",
        pl.col("rate").is_null() | pl.col("unit").is_not_null(),
    ),
    "liability_is_not_negative": not_negative("liability", "A liability", "Give what is owed without a sign."),
}
"""Every rule of a movement. Rows that are outside or unclassified need neither a pair nor a currency's code."""


# --- positions ----------------------------------------------------------------------------------------------

_IS_COMPARED = pl.col("is_isolated_margin").fill_null(False)


def _only_compared(rule: Rule) -> Rule:
    """The rule for isolated spot-margin positions."""
    return Rule(rule.column, rule.sentence, rule.remedy, ~_IS_COMPARED | rule.holds)


SNAPSHOT_RULES: Mapping[str, Rule] = {
    "time_is_plausible": RULES["time_is_plausible"],
    "opening_is_plausible": Rule(
        "opened",
        RULES["time_is_plausible"].sentence,
        RULES["time_is_plausible"].remedy,
        pl.col("opened").is_between(pl.datetime(2009, 1, 1, time_zone="UTC"), pl.datetime(2101, 1, 1, time_zone="UTC")),
    ),
    "closing_is_not_before_opening": Rule(
        "closed",
        "A position is closed after it was opened.",
        "Export the file again.",
        pl.col("closed") >= pl.col("opened"),
    ),
    "account_is_plain": RULES["account_is_plain"],
    "instrument_is_plain": plain("instrument"),
    "instrument_is_given": Rule(
        "instrument",
        "A position names its instrument.",
        "Export the file again.",
        ~_IS_COMPARED | _instrument.is_not_null(),
    ),
    "instrument_is_a_pair": _only_compared(RULES["instrument_is_a_pair"]),
    "pair_has_two_currencies": _only_compared(_TWO_CURRENCIES),
    "assets_are_not_negative": _only_compared(
        not_negative("assets_shown", "What a position shows as assets", "Mend it at its source.")
    ),
    "margin_is_not_negative": _only_compared(not_negative("margin", "A margin", "Mend it at its source.")),
    "interest_is_not_negative": _only_compared(not_negative("interest", "Interest", "Mend it at its source.")),
    "leverage_is_at_least_one": _only_compared(RULES["leverage_is_at_least_one"]),
}
"""Every rule of a stated position; those that are not compared need no pair."""
