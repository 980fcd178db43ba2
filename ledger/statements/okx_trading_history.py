"""OKX web exports: "Trading History" in its five headers, and "Funding History" (exports 2).

id is the billId of the API. Amount has no sign; Fee is negative where it was charged; Balance Change and Position
Change are signed and net of it. Every amount is rounded at 8 decimals by itself, the balances too: size less fee may
miss the change by 1e-8, and so may a chain of balances. Times are in the zone that the preamble names, UTC where it
names none, whatever the name of the file says. The files do not say whether margin is isolated or cross: a Trade Type
that is not plainly cross is taken to be isolated.
"""

import polars as pl

from ledger.feeds import Feed
from ledger.money import MONEY
from ledger.statements.columns import STATEMENTS
from ledger.statements.okx_subtypes import CODES_BY_NAME, meaning_of, side_of, size_of
from ledger.statements.okx_times import ZONE, moment

_MARGIN = ("margin", "isolated margin", "margin isolated", "isolated")
_BY_TYPE = {  # rows that the export may name by the type of the bill, exports 1.1; without an Action, what they are
    "interest deduction": "interest",
    "margin transfer": None,
    "liquidation": None,
    "forced repayment": None,
    "clawback": None,
    "quick margin": None,
}
_OUTSIDE = (
    *("spot", "transfer", "swap", "perpetual", "futures", "expiry futures", "option", "options", "cross margin"),
    *("margin cross", "cross", "convert", "easy convert", "one-click repay", "simple trade", "block trade", "spread"),
    *("spread trading", "structured products", "system token conversion", "strategy transfer", "ddh", "adl"),
    *("delivery", "funding fee", "funding", "borrowing", "repay", "loans", "move position", "settlement"),
    *("copy trading", "trading bot", "earn", "events"),
)
"""Trade Types in small letters; Spot, Transfer and Swap were seen in files [R], the rest are names of bills [O]."""

_trade_type = pl.col("Trade Type").str.to_lowercase()


def _meaning(action: pl.Expr, symbol: pl.Expr, change: pl.Expr) -> pl.Expr:
    """What a row is to an isolated spot-margin position, by Trade Type and Action."""
    by_type = _trade_type.replace_strict(_BY_TYPE, default=None, return_dtype=pl.String)
    known = pl.when(action.is_null()).then(by_type).otherwise(meaning_of(_code(action), change))
    is_derivative = ~symbol.str.contains("^[^-]+-[^-]+$").fill_null(True)
    of_account = (known == "interest") & symbol.is_null()
    strange = (known == "outside") & (change != 0).fill_null(False)  # moves what it should be no concern of
    return (
        pl.when(_trade_type.is_in(_OUTSIDE) | (_trade_type.is_in(list(_BY_TYPE)) & is_derivative))
        .then(pl.lit("outside"))
        .when(~_trade_type.is_in([*_MARGIN, *_BY_TYPE]) | known.is_null() | strange)
        .then(pl.lit("unclassified"))
        .when(of_account)
        .then(pl.lit("outside"))
        .when(symbol.is_null() & (known != "outside"))
        .then(pl.lit("unclassified"))
        .otherwise(known)
    )


def _code(action: pl.Expr) -> pl.Expr:
    """The code of the sub-type that an action names; empty where none is known by that name."""
    return action.str.to_lowercase().replace_strict(CODES_BY_NAME, default=None, return_dtype=pl.String)


def _history(
    title: str, known_by: set[str], symbol: str, action: str, pnl: str, unit: str, fee_unit: str, price: str | None
) -> Feed:
    """One version of the header, by the names in which versions differ."""
    position, balance, amount = (pl.col(name) for name in ("Position Change", "Balance Change", "Amount"))
    named, fee = pl.col(action), pl.col("Fee")
    is_interest = _meaning(named, pl.col(symbol), position) == "interest"
    names = {
        "time": "Time",
        "row_id": "id",
        "instrument": symbol,
        "order_id": "Order id",
        "currency": unit,
        "size": "Amount",
        "change": "Position Change",
        "balance": "Position Balance",
        "account_change": "Balance Change",
        "account_balance": "Balance",
        "realised_pnl": pnl,
    }
    return Feed(
        name="okx-trading-history",
        gives=STATEMENTS,
        title=title,
        known_by=(frozenset(known_by),),
        names=names | ({"price": price} if price else {}),
        needs=("id", "Time", "Trade Type"),
        also={"Time": pl.String, ZONE: pl.String, "Trade Type": pl.String, action: pl.String, "Fee": MONEY}
        | ({fee_unit: pl.String} if fee_unit != unit else {}),
        values={
            "time": moment(pl.col("Time"), pl.col(ZONE)),
            "layout": pl.lit("okx-trading-history"),
            "stated_type": pl.col("Trade Type").fill_null("") + "/" + named.fill_null(""),
            "meaning": _meaning(named, pl.col(symbol), position),
            "side": side_of(_code(named), position),
            "fee": -fee,
            "fee_currency": pl.when(fee != 0).then(pl.col(fee_unit)),
            "interest": pl.when(is_interest).then(pl.coalesce(size_of(position), size_of(balance), amount.abs())),
        },
    )


_SECOND_UNIT = "Unit (2)"  # how the second of two columns of one name is offered

CURRENT = _history(
    "OKX Trading History",  # v3, v4 and v4+ have all the columns that are read, under the same names
    {"id", "Order id", "Trade Type", "Symbol", "Action", "Balance Unit"},
    symbol="Symbol",
    action="Action",
    pnl="PnL",
    unit="Balance Unit",
    fee_unit="Fee Unit",
    price="Filled Price",
)
SECOND = _history(
    "OKX Trading History of 15 columns",  # the last of two columns Unit is that of Fee, Balance and Balance Change
    {"id", "Order id", "Trade Type", "Instrument", "PL"},
    symbol="Instrument",
    action="Type",
    pnl="PL",
    unit=_SECOND_UNIT,
    fee_unit=_SECOND_UNIT,
    price=None,
)

_type = pl.col("type").str.to_lowercase()

FIRST = Feed(
    name="okx-trading-history",
    gives=STATEMENTS,
    title="OKX trading history of 6 columns",
    known_by=(frozenset({"time", "type", "size", "balance", "fee", "currency"}),),
    names={"time": "time", "currency": "currency", "size": "size", "account_balance": "balance"},
    needs=("time", "type", "size", "currency"),
    also={"time": pl.String, ZONE: pl.String, "type": pl.String, "fee": MONEY},
    values={
        "time": moment(pl.col("time"), pl.col(ZONE), otherwise="UTC+8"),  # CST is China's: Asia/Shanghai
        "layout": pl.lit("okx-trading-history"),
        "stated_type": "/" + pl.col("type"),
        # the export of an account without margin: it names neither instrument nor order [R bittytax]
        "meaning": pl.when(_type.is_in(["buy", "sell", "transfer in", "transfer out"]))
        .then(pl.lit("outside"))
        .otherwise(pl.lit("unclassified")),
        "side": pl.when(_type.is_in(["buy", "sell"])).then(_type),
        "size": pl.col("size").abs(),
        "fee": -pl.col("fee"),
        "fee_currency": pl.when(pl.col("fee") != 0).then(pl.col("currency")),
    },
)

FUNDING = Feed(
    name="okx-funding-history",
    gives=STATEMENTS,
    title="OKX Funding History",
    known_by=(frozenset({"id", "Time", "Type", "Before Balance", "After Balance"}),),
    names={"time": "Time", "row_id": "id", "stated_type": "Type", "currency": "Symbol", "size": "Amount"},
    needs=("id", "Time", "Type", "Amount"),
    also={"Time": pl.String, ZONE: pl.String, "Fee": MONEY},
    values={
        "time": moment(pl.col("Time"), pl.col(ZONE)),
        "layout": pl.lit("okx-funding-history"),
        "meaning": pl.lit("outside"),
        "size": pl.col("Amount").abs(),
        # its balances are those of the funding account: they are no part of the trading account's chain
        "account_change": pl.col("Amount"),
        "fee": pl.col("Fee").abs(),
        "fee_currency": pl.when(pl.col("Fee") != 0).then(pl.col("Symbol")),
    },
)

FEEDS = (CURRENT, SECOND, FIRST, FUNDING)
"""The layouts of the web exports."""
