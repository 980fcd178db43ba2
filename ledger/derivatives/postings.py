"""Balanced double entry of contract positions: the PnL and funding of one side are another's (`counterparty`)."""

import polars as pl

from ledger.columns import ACCOUNTS, schema
from ledger.derivatives.columns import DERIVATIVE_POSTINGS
from ledger.money import ZERO

_KEYS = ("position", "episode", "event_number", "part", "event_id")
_ACCOUNTS = ("account", "margin", "fees", "insurance_fund", "counterparty")


def posting_amounts(ledger: pl.DataFrame) -> pl.DataFrame:
    """One row per row of the derivative ledger, one column per posting account; all amounts in `settle_currency`.

    The change of the margin comes from its balances, all else from the flows, so that a sum of zero is a proof.
    """
    earned = pl.col("realised_pnl").fill_null(ZERO) + pl.col("funding").fill_null(ZERO)
    return ledger.select(
        *_KEYS,
        "settle_currency",
        account="account_change",
        margin=pl.col("margin_closing") - pl.col("margin_opening"),
        fees=pl.col("fee").fill_null(ZERO),
        insurance_fund="insurance_fund",
        counterparty=-earned,
    )


def imbalances(amounts: pl.DataFrame) -> pl.Series:
    """What each ledger row lacks to balance; zero when it does."""
    return amounts.select(lacks=pl.sum_horizontal(_ACCOUNTS)).to_series()


def postings_of(amounts: pl.DataFrame) -> pl.DataFrame:
    """The postings (columns DERIVATIVE_POSTINGS): one row per amount that is not zero, in the order of the ledger."""
    accounts = pl.Enum(ACCOUNTS)
    rows = amounts.with_row_index("ledger_row")
    lines = [
        rows.select(
            "ledger_row",
            *_KEYS,
            posting_account=pl.lit(account, accounts),
            currency="settle_currency",
            amount=account,
        ).filter(pl.col("amount") != 0)
        for account in _ACCOUNTS
    ]
    return pl.concat(lines).sort("ledger_row", maintain_order=True).select(*schema(DERIVATIVE_POSTINGS))
