"""Small layouts for the tests of reading: as those of exchanges are, with fewer columns."""

import polars as pl

from ledger.columns import TIME, Column
from ledger.feeds import Feed
from ledger.money import MONEY

MOVEMENTS = (
    Column("time", TIME, "UTC", "", "test"),
    Column("row_id", pl.String, "", "", "test"),
    Column("instrument", pl.String, "", "", "test"),
    Column("currency", pl.String, "", "", "test"),
    Column("change", MONEY, "", "", "test"),
    Column("fee", MONEY, "", "", "test"),
    Column("zone", pl.String, "", "", "test"),
    Column("note", pl.String, "", "", "test"),
)
POSITIONS = (
    Column("time", TIME, "UTC", "", "test"),
    Column("instrument", pl.String, "", "", "test"),
    Column("floating_pnl", MONEY, "", "", "test"),
    Column("borrowed", MONEY, "", "", "test"),
)

BILLS_FEED = Feed(
    name="bills",
    gives=MOVEMENTS,
    title="bills",
    known_by=(frozenset({"billId", "subType"}),),
    names={"time": "ts", "row_id": "billId", "instrument": "instId", "currency": "ccy", "change": "posBalChg"},
    needs=("ts", "billId"),
    also={"fee": MONEY, "sz": MONEY, "ordId": pl.String, "mgnMode": pl.String, "@UID": pl.String},
    values={"fee": -pl.col("fee"), "note": pl.coalesce("@UID", "mgnMode")},
)
TRADES_FEED = Feed(
    name="trades",
    gives=MOVEMENTS,
    title="trades",
    known_by=(frozenset({"symbol", "isBuyer", "commission"}),),
    names={"time": "time", "row_id": "id", "instrument": "symbol", "currency": "commissionAsset", "fee": "commission"},
    needs=("time", "id"),
)
POSITIONS_FEED = Feed(
    name="positions",
    gives=POSITIONS,
    title="positions",
    known_by=(frozenset({"posId", "upl"}),),
    names={"time": "uTime", "instrument": "instId", "floating_pnl": "upl"},
    needs=("posId",),
    also={"posId": pl.String, "baseAsset.borrowed": MONEY},
    values={"borrowed": pl.col("baseAsset.borrowed")},
)
HISTORY_FEED = Feed(
    name="history",
    gives=MOVEMENTS,
    title="trading history",
    known_by=(frozenset({"id", "Order id", "Trade Type"}),),
    names={"time": "Time", "row_id": "id", "instrument": "Symbol", "currency": "Balance Unit", "fee": "Fee"},
    needs=("id", "Time"),
    also={"Time": pl.String, "@Time Zone": pl.String, "@UID": pl.String, "@Account Type": pl.String},
    values={
        "time": pl.col("Time").str.to_datetime("%Y-%m-%d %H:%M:%S", strict=False).dt.replace_time_zone("UTC"),
        "zone": pl.col("@Time Zone"),
        "note": pl.format("{}/{}", pl.col("@UID").fill_null("-"), pl.col("@Account Type").fill_null("-")),
    },
)
UNITS_FEED = Feed(
    name="units",
    gives=MOVEMENTS,
    title="two units",
    known_by=(frozenset({"id", "Amount", "Unit (2)"}),),
    names={"row_id": "id", "currency": "Unit (2)", "note": "Unit"},
    needs=("id",),
)
FEEDS = (BILLS_FEED, TRADES_FEED, POSITIONS_FEED, HISTORY_FEED, UNITS_FEED)
