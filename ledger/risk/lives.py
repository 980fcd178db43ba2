"""The position history: each life of a position from its opening over its peak to its end (rules 2, 6)."""

import polars as pl

from ledger.columns import FLAG, schema
from ledger.measures import liability_shown, ratio
from ledger.money import MONEY
from ledger.risk.columns import ENDINGS, LIQUIDATED, LIVES

_HOW = pl.Enum(ENDINGS)
_LIFE = ("position", "episode")
_OPENS = pl.col("action").is_in(["open", "increase"])
_REDUCES = pl.col("action").is_in(["reduce", "close"])
_PAID_IN = pl.col("action").is_in(["margin", "leverage"])
_BY_LIQUIDATION = pl.col("kind") == "liquidation"
_IS_CLOSED = pl.col("action") == "close"
_READ = (
    *_LIFE,
    *("event_number", "time", "kind", "action", "direction", "mode", "quantity", "value", "fee", "fee_currency"),
    *("interest", "initial_margin", "entry_price", "realised_pnl", "margin_change", "insurance_fund"),
    *("base_closing", "quote_closing", "account_base", "account_quote"),
)
"""Columns of the ledger that say something of a life."""
_AT_THE_END = (
    *("mode", "direction", "event_number", "time", "kind", "action"),
    *("entry_price", "realised_pnl", "account_base", "account_quote"),
)
"""Of these a life has what its last row says."""


def lives_of(ledger: pl.DataFrame, index: pl.DataFrame, graded_lives: pl.DataFrame | None = None) -> pl.DataFrame:
    """One row per life of the positions of a ledger, in its order (columns LIVES).

    `index` comes from `ordering.index_positions`. `graded_lives` has a row per life with position, episode and
    lowest_ratio (see `grading.grade`); without it no lowest ratio is stated. What a fill did before and after a
    close is in the life of each part; what went to no position at all is in none. A position that nothing has been
    opened in has no life.
    """
    known = index.select("position", "account", "instrument", "margin_currency", "margin_is_base", *_CURRENCIES)
    live = ledger.select(_READ).filter(pl.col("direction").is_not_null())
    live = live.join(known, on="position", how="left", maintain_order="left").with_columns(
        life=(pl.col("action") == "open").cum_sum(), is_long=(pl.col("direction") == "long").cast(FLAG)
    )
    live = live.with_columns(liability=liability_shown(*_OF_LIABILITY).cast(MONEY))
    lives = live.group_by("life", maintain_order=True).agg(
        pl.col(*_LIFE, "account", "instrument", "margin_currency", "margin_is_base").first(),
        pl.col(*_AT_THE_END).last(),
        *_sums(),
        opened=pl.col("time").first(),
        opened_by=pl.col("event_number").first(),
        peak_liability=pl.col("liability").min(),
        peak_at=pl.col("time").get(pl.col("liability").arg_min()),
        was_reduced=(pl.col("action") == "reduce").any(),
        was_liquidated=_BY_LIQUIDATION.any(),
    )
    lives = _with_lowest_ratio(lives.with_columns(**_ends()), graded_lives)
    return lives.select(pl.col(name).cast(dtype) for name, dtype in schema(LIVES).items())


_CURRENCIES = ("base_currency", "quote_currency")
_OF_LIABILITY = tuple(map(pl.col, ("base_closing", "quote_closing", "is_long")))


def _sums() -> list[pl.Expr]:
    """What the parts of a life add up to; each is below the bound of all amounts of a position (`ledger.money`)."""
    fees = {f"fees_{leg}": _summed("fee", pl.col("fee_currency") == pl.col(f"{leg}_currency")) for leg in _LEGS}
    sums = {
        "opened_quantity": _summed("quantity", _OPENS),
        "closed_quantity": _summed("quantity", _REDUCES),
        "closed_value": _summed("value", _REDUCES),
        "liquidated_quantity": _summed("quantity", _REDUCES & _BY_LIQUIDATION),
        "margin_posted": _summed("initial_margin", _OPENS),
        "margin_added": _summed("margin_change", _PAID_IN),
        "interest_charged": pl.col("interest").sum(),
        "insurance_fund": pl.col("insurance_fund").sum(),
    }
    return [total.alias(name) for name, total in (sums | fees).items()]


_LEGS = ("base", "quote")


def _summed(amount: str, of: pl.Expr) -> pl.Expr:
    return pl.col(amount).filter(of).sum()


def _ends() -> dict[str, pl.Expr]:
    """How each life ended and with what; a life that is not closed has neither result nor return."""
    next_opened = pl.when(pl.col("position").shift(-1) == pl.col("position")).then(pl.col("opened_by").shift(-1))
    how = (
        pl.when(_IS_CLOSED & _BY_LIQUIDATION)
        .then(pl.lit("liquidated", _HOW))
        .when("was_liquidated")
        .then(pl.lit("partly_liquidated", _HOW))
        .when(_IS_CLOSED & (next_opened == pl.col("event_number")))
        .then(pl.lit("reversed", _HOW))
        .when(_IS_CLOSED)
        .then(pl.lit("closed", _HOW))
        .when("was_reduced")
        .then(pl.lit("reduced", _HOW))
        .otherwise(pl.lit("open", _HOW))
    )
    received = pl.when("margin_is_base").then("account_base").otherwise("account_quote")
    return {
        "how": how,
        "label": pl.when("was_liquidated").then(pl.lit(LIQUIDATED)),
        "closed": pl.when(_IS_CLOSED).then("time"),
        "exit_price": ratio(pl.col("closed_value"), pl.col("closed_quantity")),
        "returned": pl.when(_IS_CLOSED).then(received),
    }


def _with_lowest_ratio(lives: pl.DataFrame, graded_lives: pl.DataFrame | None) -> pl.DataFrame:
    if graded_lives is None:
        return lives.with_columns(lowest_ratio=pl.lit(None))
    lowest = graded_lives.select(*_LIFE, "lowest_ratio")
    return lives.join(lowest, on=_LIFE, how="left", maintain_order="left")
