"""What the ledger says of positions at given moments: balances, flows so far, and the measures at a mark price."""

from typing import Any

import polars as pl

from ledger.columns import DIRECTIONS, DISPLAY, FLAG, MEASURES, MODES, TIME
from ledger.money import MONEY, ZERO

_RUNNING = ("account_base", "account_quote", "interest_base", "interest_quote", "fee_outside")
_OF_LIFE = ("initial_margin",)
_READ = [
    *("position", "time", "kind", "mode", "direction", "episode", "entry_price", "account_base", "account_quote"),
    "interest",
    *("initial_margin", "fee", "fee_currency", "base_closing", "quote_closing", "margin_closing"),
]

_HISTORY: dict[str, Any] = {
    "position": pl.String,
    "time": TIME,
    "mode": pl.Enum(MODES),
    "direction": pl.Enum(DIRECTIONS),
    "entry_price": MONEY,
    "account_base": MONEY,
    "account_quote": MONEY,
    "initial_margin": MONEY,
    "interest_base": MONEY,
    "interest_quote": MONEY,
    "fees_outside": MONEY,
    "base_leg": MONEY,
    "quote_leg": MONEY,
    "margin": MONEY,
    "margin_is_base": FLAG,
    "is_long": FLAG,
    "is_brought_forward": pl.Boolean,
}
HISTORY_SCHEMA = pl.Schema(_HISTORY)
"""The state of a position after all events of one time, with what has flowed since its first event."""


def running(ledger: pl.DataFrame, positions: pl.DataFrame) -> pl.DataFrame:
    """The last ledger row of each position and time (HISTORY_SCHEMA), with what has flowed so far.

    `positions` comes from `ordering.index_positions`. Flows of the account, `interest_base`, `interest_quote` and
    `fees_outside` (in third currencies) are summed since the first event, `initial_margin` since the opening.
    """
    # few columns, and keys that are numbers: wide rows and names are several times slower to join and to group
    names = positions.select("position", "base_currency", "quote_currency", "margin_is_base").with_row_index("number")
    known = ledger.select(_READ).join(names, on="position", how="left", maintain_order="left")
    in_pair = (pl.col("fee_currency") == pl.col("base_currency")) | (pl.col("fee_currency") == pl.col("quote_currency"))
    is_long = (pl.col("direction") == "long").fill_null(value=False)
    flows = known.with_columns(
        fee_outside=pl.when(pl.col("fee_currency").is_not_null() & ~in_pair).then("fee").fill_null(ZERO),
        account_base=pl.col("account_base").fill_null(ZERO),
        account_quote=pl.col("account_quote").fill_null(ZERO),
        interest_base=pl.when(~is_long).then("interest").fill_null(ZERO),
        interest_quote=pl.when(is_long).then("interest").fill_null(ZERO),
        is_brought_forward=pl.col("kind") == "opening",
        initial_margin=pl.col("initial_margin").fill_null(ZERO),
    )
    summed = flows.with_columns(
        *(pl.col(name).cum_sum().over("number").alias(name) for name in _RUNNING),
        *(pl.col(name).cum_sum().over("number", "episode").alias(name) for name in _OF_LIFE),
        is_brought_forward=pl.col("is_brought_forward").cum_max().over("number", "episode"),
    )
    named = summed.with_columns(
        fees_outside="fee_outside",
        base_leg="base_closing",
        quote_leg="quote_closing",
        margin="margin_closing",
        is_long=is_long,
    )
    last = (
        named.select("number", "time", place=pl.int_range(pl.len()))
        .group_by("number", "time")
        .agg(pl.col("place").last())
    )
    return named[last["place"].sort()].select(pl.col(name).cast(dtype) for name, dtype in HISTORY_SCHEMA.items())


def states_at(history: pl.DataFrame, moments: pl.DataFrame) -> pl.DataFrame:
    """The moments (columns `position`, `time`, any others) with the state of the ledger at each, beside them.

    `history` comes from `running`. Where a position has no event yet, its balances are empty.
    """
    numbered = moments.with_row_index("moment_number")
    joined = numbered.sort("time").join_asof(
        history.sort("time", maintain_order=True), on="time", by="position", strategy="backward", check_sortedness=False
    )
    return joined.sort("moment_number").drop("moment_number")


def measured(states: pl.DataFrame) -> pl.DataFrame:
    """The states with what is displayed and the measures at `mark_price`, `maintenance_rate`, `liquidation_fee_rate`.

    Interest not yet charged is what the exchange states, `stated_interest`, since the ledger has only charges.
    """
    owed_in_base = pl.col("is_long") == 0
    interest = pl.col("stated_interest").fill_null(ZERO)
    known = states.with_columns(
        base_interest=pl.when(owed_in_base).then(interest).otherwise(ZERO),
        quote_interest=pl.when(owed_in_base).then(ZERO).otherwise(interest),
    )
    for column in (*DISPLAY, *MEASURES):
        known = known.with_columns(column.expression())
    return known
