"""OKX interest accrued: the answer of /account/interest-accrued (exports 3), one row per charge.

interestRate is hourly, liab is what was owed before the charge. Rows have no identifier. Loans of the whole account,
without an instrument or of cross margin, are outside.
"""

import polars as pl

from ledger.feeds import Feed
from ledger.statements.columns import STATEMENTS

_instrument, _margin_mode = pl.col("instId"), pl.col("mgnMode")

OF_A_POSITION = pl.when(_margin_mode.fill_null("isolated") != "cross").then(_instrument)
"""The instrument of interest on an isolated position; empty for a loan of the whole account."""

FEED = Feed(
    name="okx-interest",
    gives=STATEMENTS,
    title="OKX interest accrued",
    known_by=(frozenset({"ccy", "interestRate"}), frozenset({"ccy", "liab"})),
    names={
        "time": "ts",
        "instrument": "instId",
        "stated_type": "type",
        "currency": "ccy",
        "interest": "interest",
        "rate": "interestRate",
        "liability": "liab",
    },
    needs=("ts", "ccy", "interest"),
    also={"mgnMode": pl.String},
    values={
        "layout": pl.lit("okx-interest"),
        "meaning": pl.when(OF_A_POSITION.is_not_null()).then(pl.lit("interest")).otherwise(pl.lit("outside")),
        "unit": pl.when(pl.col("interestRate").is_not_null()).then(pl.lit("hourly")),
        "liability": pl.col("liab").abs(),
    },
)
"""The layout of interest accrued."""
