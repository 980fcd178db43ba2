"""Binance: the statement of all accounts, one row for each change of a balance."""

import polars as pl

from ledger.feeds import Feed
from ledger.rules import Rule
from ledger.statements.binance_symbols import TIME_IS_READ, pair, utc_moment
from ledger.statements.columns import STATEMENTS

OPERATIONS = {
    # seen in files of isolated accounts (github.com/BittyTax/BittyTax/issues/347) and in the parser that came of it
    "Buy": "leg",
    "Sell": "leg",
    "Fee": "fee",
    "Transaction Buy": "leg",
    "Transaction Spend": "leg",
    "Transaction Sold": "leg",
    "Transaction Revenue": "leg",
    "Transaction Fee": "fee",
    "Isolated Margin Loan": "borrowing",
    "Isolated Margin Repayment": "repayment",
    "Transfer Between Main Account/Futures and Margin Account": "margin",
    # earlier and other words for the same
    "Margin Loan": "borrowing",
    "Margin Repayment": "repayment",
    "Transaction Related": "leg",
    # github.com/marco-eckstein/binance-transaction-history-docs
    "transfer_in": "margin",
    "transfer_out": "margin",
    "BNB Fee Deduction": "fee",
    "Isolated Margin Liquidation": "liquidation_leg",
    # known by name from other public parsers [I]
    "Margin Fee": "fee",
    "Isolated Margin Liquidation - Fee": "fee",
}
"""What an operation of an isolated account is to a position; `margin`: added or removed, as the sign says. Any other
is unclassified."""

_NAME = "binance-statement"
_KNOWN = {operation.lower(): meaning for operation, meaning in OPERATIONS.items()}
_CHANGE, _REMARK = pl.col("Change"), pl.col("Remark")
_IS_ISOLATED = pl.col("Account").str.to_lowercase().str.replace_all(" ", "", literal=True) == "isolatedmargin"
_MEANING = (
    pl.col("Operation")
    .str.to_lowercase()
    .replace_strict(_KNOWN, default="unclassified", return_dtype=pl.String)
    .replace("margin", "margin_removed")
)
_IS_FEE, _IS_LEG = _IS_ISOLATED & (_MEANING == "fee"), _IS_ISOLATED & _MEANING.is_in(["leg", "liquidation_leg"])
_NAMED = pair("Remark", pl.col("Coin"))
_HAS_COIN = _NAMED.str.starts_with(pl.col("Coin") + "-") | _NAMED.str.ends_with("-" + pl.col("Coin"))

FEED = Feed(
    name=_NAME,
    title="Binance statement",
    gives=STATEMENTS,
    known_by=(frozenset({"UTC_Time", "Operation", "Change"}),),
    names={"time": "UTC_Time", "currency": "Coin", "size": "Change"},
    needs=("UTC_Time", "Account", "Operation", "Coin", "Change"),
    also=dict.fromkeys(("UTC_Time", "Account", "Operation", "Remark"), pl.String),
    values={
        "time": utc_moment("UTC_Time"),
        "layout": pl.lit(_NAME),
        # No remark that was seen names a pair. Where it is one, and the coin is in it, it can mean nothing else.
        "instrument": pl.when(_IS_ISOLATED & _REMARK.str.contains("^[A-Z0-9]{5,40}$") & _HAS_COIN).then(_NAMED),
        "stated_type": pl.format("{}/{}", pl.col("Account"), pl.col("Operation")),
        "meaning": pl.when(~_IS_ISOLATED)
        .then(pl.lit("outside"))
        .when((_MEANING == "margin_removed") & (_CHANGE >= 0))
        .then(pl.lit("margin_added"))
        .otherwise(_MEANING),
        # Of a buy both rows may be called Buy, of a sale both Sell: the sign tells what was received.
        "side": pl.when(_IS_LEG & (_CHANGE > 0)).then(pl.lit("buy")).when(_IS_LEG).then(pl.lit("sell")),
        "size": _CHANGE.abs(),
        "fee": pl.when(_IS_FEE).then(-_CHANGE),
        "fee_currency": pl.when(_IS_FEE).then("Coin"),
        "change": pl.when(_IS_ISOLATED).then(_CHANGE),
        "account_change": pl.when(~_IS_ISOLATED).then(_CHANGE),
    },
    rules={
        "time_is_read": TIME_IS_READ,
        "change_is_given": Rule(
            "size", "Every row changes a balance.", "Export the file again.", pl.col("size").is_not_null()
        ),
    },
)
"""`[User_ID,]UTC_Time,Account,Operation,Coin,Change,Remark`. Rows have no identifier and no pair, and the legs and fee
of one trade are rows of one time: they prove balances, and give no fills. Only the isolated accounts concern us."""
