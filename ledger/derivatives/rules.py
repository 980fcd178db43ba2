"""The rules of a row of the contracts, and of a row of the derivative events."""

from collections.abc import Mapping

import polars as pl

from ledger.events import RULES, bounded, needed, unused
from ledger.money import LARGEST, LARGEST_DIGITS, MONEY
from ledger.rules import Rule

_NAME = "[A-Za-z0-9][A-Za-z0-9_.-]{0,59}"
_kind, _class = pl.col("kind"), pl.col("instrument_class")
_trades = ("fill", "liquidation")


MOST = pl.lit(LARGEST).cast(MONEY)


def bounded_product(first: pl.Expr, second: pl.Expr) -> pl.Expr:
    """The product of amounts above zero, or MOST where it would be larger and the type might not hold it."""
    fits = first <= MOST / pl.max_horizontal(second, pl.lit(1).cast(MONEY))
    return pl.when(fits).then(pl.when(fits).then(first) * second).otherwise(pl.when(first.is_not_null()).then(MOST))


def _positive(column: str) -> Rule:
    return Rule(column, f"A {column} is above zero.", "Check its sign and unit.", pl.col(column) > 0)


_IS_NAMED = Rule(
    "instrument",
    "A contract's name has letters, digits and dashes.",
    "Write it as the exchange does, for example BTC-USD-SWAP.",
    pl.col("instrument").str.contains(f"^{_NAME}$"),
)

CONTRACT_RULES: Mapping[str, Rule] = {
    "instrument_is_named": _IS_NAMED,
    **{
        f"{name}_is_a_code": Rule(
            name,
            "A currency is a code of 1 to 20 capital letters and digits.",
            "Write the code, for example USDT.",
            pl.col(name).str.contains("^[A-Z0-9]{1,20}$"),
        )
        for name in ("base_currency", "quote_currency", "settle_currency")
    },
    **{f"{name}_is_positive": _positive(name) for name in ("face_value", "multiplier", "tick", "lot")},
    **{f"{name}_is_bounded": bounded(name) for name in ("face_value", "multiplier", "tick", "lot")},
    "size_is_bounded": Rule(
        "multiplier",
        f"Face value times multiplier is above zero, and has at most {LARGEST_DIGITS} digits before the point.",
        "Check their units.",
        bounded_product(pl.col("face_value"), pl.col("multiplier")).is_between(0, LARGEST, closed="none"),
    ),
    "settle_currency_fits": Rule(
        "settle_currency",
        "A linear contract is settled in quote, an inverse one in base.",
        "Mend the settle currency or the class.",
        pl.when(_class == "linear")
        .then(pl.col("settle_currency") == pl.col("quote_currency"))
        .when(_class == "inverse")
        .then(pl.col("settle_currency") == pl.col("base_currency")),
    ),
    "contract_is_given_once": Rule(
        "instrument", "A contract stands once.", "Keep one of the rows.", pl.col("instrument").is_first_distinct()
    ),
}
"""Every rule of the contracts."""

EVENT_RULES: Mapping[str, Rule] = {
    "time_is_plausible": RULES["time_is_plausible"],
    "event_id_is_plain": RULES["event_id_is_plain"],
    "account_is_plain": RULES["account_is_plain"],
    "instrument_is_named": _IS_NAMED,
    **{f"{name}_is_bounded": bounded(name) for name in ("quantity", "price", "fee", "amount", "leverage")},
    "quantity_is_positive": _positive("quantity"),
    "price_is_positive": _positive("price"),
    "leverage_is_at_least_one": RULES["leverage_is_at_least_one"],
    **{f"{name}_is_needed": needed(name, _trades) for name in ("side", "quantity", "price")},
    "amount_is_needed": needed("amount", ("funding", "margin")),
    "leverage_is_needed": needed("leverage", ("leverage",)),
    **{f"{name}_is_unused": unused(name, _trades) for name in ("side", "quantity", "price")},
    "fee_is_unused": unused("fee", _trades, pl.col("fee") == 0),
    "leverage_is_unused": unused("leverage", ("fill", "leverage")),
    "amount_is_not_negative": Rule(
        "amount",
        "A recorded initial margin and what a liquidation left to the account are not negative.",
        "Give its size; only funding, margin and leverage may take something out.",
        ~_kind.is_in(_trades) | (pl.col("amount") >= 0),
    ),
    "event_id_is_given_once": Rule(
        "event_id",
        "An event_id stands once in all input.",
        "Remove the repeated event, or give different events different identifiers.",
        pl.col("event_id").is_first_distinct(),
    ),
}
"""Every rule of a derivative event that needs no other row but for its identifier."""
