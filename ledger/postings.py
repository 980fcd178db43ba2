"""Balanced double-entry postings: a reading of the ledger in which every event sums to zero in every currency.

An amount is the change of the account it stands on. What the position gains in assets, margin or less debt, others
lose: the trader's account, the market (`counterparty`), the insurance fund; fees and interest are costs. Changes of
assets and liability come from the balances, all else from the flows of the event, so that a sum of zero is a proof.
"""

import polars as pl

from ledger.columns import ACCOUNTS, POSTINGS, schema
from ledger.money import ZERO

_KEYS = ("position", "episode", "event_number", "part", "event_id")


def posting_amounts(ledger: pl.DataFrame | pl.LazyFrame, positions: pl.DataFrame) -> pl.DataFrame:
    """One row per ledger row, one column `account@leg` per possible posting; leg is base, quote, margin or third.

    The currencies of the legs stand beside as `base_currency`, `quote_currency`, `margin_currency`, `fee_currency`.
    """
    names = positions.select("position", "base_currency", "quote_currency", "margin_currency")
    known = ledger.lazy().join(names.lazy(), on="position", how="left", maintain_order="left")
    in_base = pl.col("fee_currency") == pl.col("base_currency")
    in_quote = pl.col("fee_currency") == pl.col("quote_currency")
    fee, interest = pl.col("fee").fill_null(ZERO), pl.col("interest").fill_null(ZERO)
    long = pl.col("direction") == "long"
    bought = pl.when(pl.col("side") == "buy").then("quantity").otherwise(-pl.col("quantity")).fill_null(ZERO)
    paid = pl.when(pl.col("side") == "buy").then("value").otherwise(-pl.col("value")).fill_null(ZERO)
    third = pl.when(in_base | in_quote).then(ZERO).otherwise(fee)
    opens, adjusts = pl.col("kind") == "opening", pl.col("kind") == "adjustment"
    traded = {"base": -bought, "quote": paid}
    margin_change = pl.col("margin_closing") - pl.col("margin_opening")
    return known.select(
        *_KEYS,
        "base_currency",
        "quote_currency",
        "margin_currency",
        "fee_currency",
        **{f"{account}@{leg}": _part_of(leg, account) for leg in ("base", "quote") for account in _SIDES},
        **{
            "account@base": pl.col("account_base"),
            "account@quote": pl.col("account_quote"),
            "margin@margin": margin_change,
            "interest@base": pl.when(long).then(ZERO).otherwise(interest),
            "interest@quote": pl.when(long).then(interest).otherwise(ZERO),
            "fees@base": pl.when(in_base).then(fee).otherwise(ZERO),
            "fees@quote": pl.when(in_quote).then(fee).otherwise(ZERO),
            **{f"counterparty@{leg}": pl.when(opens).then(ZERO).otherwise(traded[leg]) for leg in traded},
            **{f"brought_forward@{leg}": pl.when(opens).then(traded[leg]).otherwise(ZERO) for leg in traded},
            "brought_forward@margin": pl.when(opens).then(-margin_change).otherwise(ZERO),
            **{f"adjustments@{leg}": pl.when(adjusts).then(-pl.col(f"{leg}_change")).otherwise(ZERO) for leg in traded},
            "insurance_fund@margin": pl.col("insurance_fund"),
            "account@third": -third,
            "fees@third": third,
        },
    ).collect()


_SIDES = ("assets", "liability")


def _part_of(leg: str, account: str) -> pl.Expr:
    """The change of the assets (what a leg has above zero) or of the liability (what it has below)."""
    bound = pl.max_horizontal if account == "assets" else pl.min_horizontal
    return bound(f"{leg}_closing", ZERO) - bound(f"{leg}_opening", ZERO)


def imbalances(amounts: pl.DataFrame) -> pl.DataFrame:
    """What each event part lacks to balance, per leg: columns `base`, `quote`, `third`; all zero when it balances."""
    in_margin = pl.sum_horizontal(column for column in amounts.columns if column.endswith("@margin"))
    margin_is_base = pl.col("margin_currency") == pl.col("base_currency")
    legs = {
        leg: pl.sum_horizontal(column for column in amounts.columns if column.endswith(f"@{leg}"))
        for leg in ("base", "quote", "third")
    }
    return amounts.select(
        base=legs["base"] + pl.when(margin_is_base).then(in_margin).otherwise(ZERO),
        quote=legs["quote"] + pl.when(margin_is_base).then(ZERO).otherwise(in_margin),
        third=legs["third"],
    )


def postings_of(amounts: pl.DataFrame) -> pl.DataFrame:
    """The postings (columns POSTINGS): one row per amount that is not zero, those of an event part together."""
    columns = [column for column in amounts.columns if "@" in column]
    rows = amounts.lazy().with_row_index("ledger_row")
    lines = [rows.select(_line(column)).filter(pl.col("amount") != 0) for column in columns]
    # Few columns are filtered and put in order; what the ledger row says is gathered beside them once. Gathering
    # from one chunk is several times faster than from many.
    found = pl.concat(lines).collect().rechunk()
    found = found[found.select(pl.arg_sort_by("ledger_row", maintain_order=True)).to_series()]
    return amounts.select(_KEYS).rechunk()[found["ledger_row"]].hstack(found).select(*schema(POSTINGS))


def _line(column: str) -> list[pl.Expr]:
    account, leg = column.split("@")
    currency = "fee_currency" if leg == "third" else f"{leg}_currency"
    return [
        pl.col("ledger_row"),
        pl.lit(account, pl.Enum(ACCOUNTS)).alias("posting_account"),
        pl.col(currency).alias("currency"),
        pl.col(column).alias("amount"),
    ]
