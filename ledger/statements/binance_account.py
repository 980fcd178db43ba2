"""Binance: the balances of isolated margin accounts, one for each symbol."""

import polars as pl

from ledger.feeds import Feed
from ledger.money import MONEY, ZERO
from ledger.rules import Rule
from ledger.statements.columns import SNAPSHOTS

_NAME = "binance-account"
_SIDES = ("baseAsset", "quoteAsset")
_AMOUNTS = ("borrowed", "free", "interest", "locked", "netAsset", "totalAsset")


def _amount(side: str, name: str) -> pl.Expr:
    return pl.col(f"{side}.{name}")


def _net(side: str) -> pl.Expr:
    """What is owned less what is owed, with the interest owed."""
    total = pl.coalesce(_amount(side, "totalAsset"), _amount(side, "free") + _amount(side, "locked"))
    owed = _amount(side, "borrowed").fill_null(ZERO) + _amount(side, "interest").fill_null(ZERO)
    return pl.coalesce(_amount(side, "netAsset"), total - owed)


def _owes(side: str) -> pl.Expr:
    owed = (_amount(side, name).fill_null(ZERO) for name in ("borrowed", "interest"))
    return pl.any_horizontal(*(amount > 0 for amount in owed))


def _of_the_owed(name: str) -> pl.Expr:
    """The amount of the currency that is owed; nothing where none is, or both are."""
    base, quote = (_amount(side, name).fill_null(ZERO) for side in _SIDES)
    return pl.when(_OWES_BASE & ~_OWES_QUOTE).then(base).when(_OWES_QUOTE & ~_OWES_BASE).then(quote)


def _net_is_given(column: str, side: str) -> Rule:
    return Rule(
        column,
        f"The {side} of an account has netAsset, totalAsset, or free and locked.",
        "Ask the exchange again, and keep its answer.",
        pl.col(column).is_not_null(),
    )


_OWES_BASE, _OWES_QUOTE = (_owes(side) for side in _SIDES)
_IS_EMPTY = pl.all_horizontal(_amount(side, name).fill_null(ZERO) == 0 for side in _SIDES for name in _AMOUNTS)

FEED = Feed(
    name=_NAME,
    title="Binance isolated margin account",
    gives=SNAPSHOTS,
    known_by=(frozenset({"baseAsset.asset", "quoteAsset.asset"}),),
    names={"mark_price": "indexPrice"},
    needs=("baseAsset.asset", "quoteAsset.asset"),
    also={
        **{f"{side}.asset": pl.String for side in _SIDES},
        **{f"{side}.{name}": MONEY for side in _SIDES for name in _AMOUNTS},
    },
    values={
        "layout": pl.lit(_NAME),
        "instrument": pl.format("{}-{}", *(_amount(side, "asset") for side in _SIDES)),
        "is_isolated_margin": pl.lit(True),
        # An account for a symbol exists whether or not anything is in it.
        "status": pl.when(_IS_EMPTY).then(pl.lit("closed")).otherwise(pl.lit("open")),
        "direction": pl.when(_OWES_QUOTE & ~_OWES_BASE)
        .then(pl.lit("long"))
        .when(_OWES_BASE & ~_OWES_QUOTE)
        .then(pl.lit("short")),
        "liability_shown": -_of_the_owed("borrowed"),
        "interest": _of_the_owed("interest"),
        "base_net": _net("baseAsset"),
        "quote_net": _net("quoteAsset"),
    },
    rules={
        "base_net_is_given": _net_is_given("base_net", "baseAsset"),
        "quote_net_is_given": _net_is_given("quote_net", "quoteAsset"),
    },
)
"""GET /sapi/v1/margin/isolated/account. The answer has no time, no mode and no margin apart: what is free and locked
holds it. Its marginLevel and liquidatePrice are defined otherwise than the ledger's, so these stay empty; so does what
is assets here: the two net balances are what can be compared."""
