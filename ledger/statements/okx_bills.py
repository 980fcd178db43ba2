"""OKX bills: the answers of /account/bills and /account/bills-archive, and the quarterly archive CSV (exports 1).

Two rows, of consecutive billId, are one fill: subType 1 is the leg received, 2 the leg given. posBalChg and posBal are
of the position, balChg and bal of the account, both net of the fee, which is negative where it was charged. The archive
has no `type` and names its columns in any order.
"""

import polars as pl

from ledger.feeds import Feed
from ledger.money import MONEY
from ledger.statements.columns import STATEMENTS
from ledger.statements.okx_subtypes import TYPES, meaning_of, side_of, size_of

_type, _subtype, _change = pl.col("type"), pl.col("subType"), pl.col("posBalChg")
_instrument_type, _margin_mode, _instrument = pl.col("instType"), pl.col("mgnMode"), pl.col("instId")

IS_INTEREST = (_type == "7").fill_null(False) | _subtype.is_in(["9", "14"]).fill_null(False)
"""Whether a bill is one of interest: type 7 interest deduction; subType 9 of market loans, 14 of VIP loans."""

_INTEREST = ("interest", "posBalChg", "balChg")  # where a bill has the interest, the best first


def _meaning() -> pl.Expr:
    """What a bill is to an isolated spot-margin position."""
    known = pl.coalesce(
        meaning_of(_subtype, _change),
        pl.when(_type == "7").then(pl.lit("interest")),
        pl.when(_subtype.is_null() & _type.is_in(TYPES) & (_instrument_type != "MARGIN")).then(pl.lit("outside")),
    )
    of_others = (_instrument_type != "MARGIN").fill_null(False) | (_margin_mode != "isolated").fill_null(False)
    of_account = (known == "interest") & _instrument.is_null()
    # what tells a spot trade from one on margin is instType alone
    unplaced = (known != "outside") & (_instrument.is_null() | (_instrument_type.is_null() & (known == "leg")))
    # a position is moved by what should be no concern of it
    strange = (known == "outside") & (_instrument_type == "MARGIN").fill_null(False) & (_change != 0).fill_null(False)
    return (
        pl.when(known.is_null())
        .then(pl.lit("unclassified"))
        .when(of_others | of_account)
        .then(pl.lit("outside"))
        .when(unplaced | strange)
        .then(pl.lit("unclassified"))
        .otherwise(known)
    )


FEED = Feed(
    name="okx-bills",
    gives=STATEMENTS,
    title="OKX bills",
    known_by=(frozenset({"billId", "subType"}), frozenset({"billId", "type"})),
    names={
        "time": "ts",
        "row_id": "billId",
        "instrument": "instId",
        "order_id": "ordId",
        "trade_id": "tradeId",
        "currency": "ccy",
        "size": "sz",
        "price": "px",
        "balance": "posBal",
        "account_balance": "bal",
        "realised_pnl": "pnl",
        "interest": "interest",
    },
    needs=("ts", "billId"),
    also={
        "instType": pl.String,
        "type": pl.String,
        "subType": pl.String,
        "mgnMode": pl.String,
        "posBalChg": MONEY,
        "balChg": MONEY,
        "fee": MONEY,
    },
    values={
        "layout": pl.lit("okx-bills"),
        "stated_type": _type.fill_null("") + "/" + _subtype.fill_null(""),
        "meaning": _meaning(),
        "side": side_of(_subtype, _change),
        "fee": -pl.col("fee"),
        "fee_currency": pl.when(pl.col("fee") != 0).then(pl.col("ccy")),
        "change": _change,
        "account_change": pl.col("balChg"),
        "interest": pl.when(IS_INTEREST)
        .then(pl.coalesce(*(size_of(pl.col(name)) for name in _INTEREST), *_INTEREST))
        .otherwise(size_of(pl.col("interest"))),
    },
)
"""The layout of bills in JSON and CSV. `type` is given as `2/1`, as `/1` where the file has no type."""
