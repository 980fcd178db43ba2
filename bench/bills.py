"""Bills of an account as OKX's quarterly archive has them, the positions at their end, and a house ledger with errors.

The history is that of `bench.shapes`: positions that walk through a cycle, here with interest at every full hour. It is
replayed by the ledger itself, and the rows of the replay are written as bills, so that files and ledger agree by
construction: this measures speed, and proves nothing about the rules. Amounts are decimals throughout.
"""

import json
import sys
from dataclasses import dataclass
from pathlib import Path

import polars as pl

import ledger
from bench.shapes import START_MICROSECONDS, Shape, Step, write_events
from ledger.columns import EVENTS, MARKS, TIME, schema
from ledger.money import MONEY, ZERO

HOUR, MINUTE = 3_600_000_000, 60_000_000
FIRST_BILL = 623_950_854_533_513_219
STARTING = 10**9
"""What the account has of every currency before the history."""


def _hours(count: int, *, forward: bool = True) -> list[Step]:
    return [Step("interest", "0.00001", forward=forward)] * count


CYCLE = (
    Step("fill", "1.0", leverage="10"),
    *_hours(6),
    Step("fill", "0.5"),
    *_hours(4),
    Step("fill", "0.4", forward=False),
    *_hours(5),
    Step("margin", "0.02"),
    Step("fill", "0.6"),
    *_hours(5),
    Step("fill", "0.6", forward=False),
    *_hours(4),
    Step("fill", "2.1", forward=False),  # 1.1 held: closes, and opens 1.0 the other way
    *_hours(6, forward=False),
    Step("fill", "0.4"),
    *_hours(5, forward=False),
    Step("margin", "-0.01"),
    Step("fill", "0.5", forward=False),
    *_hours(5, forward=False),
    Step("fill", "1.2", reduce_only=True),  # 1.1 held: closes, the rest of the order is a leftover
)
"""40 hours of interest; every fill stands between two full hours."""


@dataclass(frozen=True)
class Account:
    """How much there is: positions, and events of each, of which every position has up to 21 fewer: all end open."""

    positions: int = 2_000
    events_each: int = 387
    broken: int = 1_000
    """Positions of the house ledger that have an error."""


FULL, TINY = Account(), Account(positions=40, events_each=132, broken=20)

BILLS = (
    *("instType", "billId", "subType", "ts", "balChg", "posBalChg", "bal", "posBal", "sz", "px", "ccy", "pnl", "fee"),
    *("mgnMode", "instId", "ordId", "execType", "interest", "tag", "fillTime", "tradeId", "clOrdId", "fillIdxPx"),
    *("fillMarkPx", "fillPxVol", "fillPxUsd", "fillMarkVol", "fillFwdPx"),
)
"""The 28 columns of the quarterly archive, in the order of its documentation."""
AMOUNTS = ("balChg", "posBalChg", "bal", "posBal", "sz", "px", "pnl", "fee", "interest")


def write_account(account: Account, folder: Path) -> None:
    """Write `bills.csv`, `positions.json` and `house.csv` (canonical events with one error in some positions)."""
    events = _events(account, folder / "events.parquet")
    marks = _marks(events)
    book = ledger.replay(events, marks=marks)
    bills = _bills(book.ledger, events)
    _archive(bills).write_csv(folder / "bills.csv")
    last = book.positions.filter(pl.col("status") == "open").join(
        events.group_by("instrument").agg(until=pl.col("time").max()), on="instrument", maintain_order="left"
    )
    records = [_record(row) for row in last.iter_rows(named=True)]
    (folder / "positions.json").write_text(json.dumps({"code": "0", "msg": "", "data": records}), encoding="utf-8")
    _house(events, account.broken).write_csv(folder / "house.csv", datetime_format="%Y-%m-%dT%H:%M:%S%.6fZ")


# --- the history ----------------------------------------------------------------------------------------------


def _events(account: Account, file: Path) -> pl.DataFrame:
    """Canonical events in order: one account, an instrument for each position, interest on the hour."""
    shape = Shape("bills", "", account.positions, account.events_each, CYCLE)
    write_events(shape, file)
    events = pl.read_parquet(file)
    file.unlink()
    position = pl.int_range(pl.len()) % account.positions
    index = pl.int_range(pl.len()) // account.positions
    number = position.cast(pl.String)

    def own(name: str) -> pl.Expr:
        return pl.when(pl.col(name) == "USDT").then(name).otherwise(pl.col(name) + number).alias(name)

    events = events.with_columns(
        *(own(name) for name in ("margin_currency", "fee_currency", "currency")),
        account=pl.lit("main"),
        instrument=pl.col("instrument").str.strip_suffix("-USDT") + number + "-USDT",
        kind=pl.col("kind").cast(pl.String).replace("liquidation", "fill"),
        time=_times(index, position),
    ).filter(index < account.events_each - position % 22)
    ordered = events.sort("time", maintain_order=True).with_row_index("number")
    return ordered.with_columns(event_id=pl.format("event-{}", "number")).drop("number").cast(schema(EVENTS))


def _times(index: pl.Expr, position: pl.Expr) -> pl.Expr:
    """Interest at the full hours of the cycle, the rest 10 to 50 minutes after the last of them."""
    hours, minutes, count, since = [], [], 0, 0
    for step in CYCLE:
        is_charge = step.kind == "interest"
        count, since = (count + 1, 0) if is_charge else (count, since + 10)
        hours.append(count)
        minutes.append(since)
    place = index % len(CYCLE)
    charges = index // len(CYCLE) * (count + 1)
    hour = charges + place.replace_strict(range(len(CYCLE)), hours, return_dtype=pl.Int64)
    minute = place.replace_strict(range(len(CYCLE)), minutes, return_dtype=pl.Int64)
    apart = pl.when(minute > 0).then(position * 1_000).otherwise(0)
    return pl.from_epoch(START_MICROSECONDS + hour * HOUR + minute * MINUTE + apart, time_unit="us").cast(TIME)


def _marks(events: pl.DataFrame) -> pl.DataFrame:
    """The last price of each instrument as its mark, and rates of a tier."""
    prices = events.filter(pl.col("price").is_not_null()).group_by("instrument").agg(mark_price=pl.col("price").last())
    return prices.with_columns(
        time=events["time"].min(),
        maintenance_rate=pl.lit("0.03").cast(MONEY),
        liquidation_fee_rate=pl.lit("0.0015").cast(MONEY),
    ).select(pl.col(column.name).cast(column.dtype) for column in MARKS if column.name in (*_MARKED, "instrument"))


_MARKED = ("time", "mark_price", "maintenance_rate", "liquidation_fee_rate")


# --- bills ----------------------------------------------------------------------------------------------------


def _bills(rows: pl.DataFrame, events: pl.DataFrame) -> pl.DataFrame:
    """The bills in the order they were booked, amounts as decimals."""
    happened = _happened(rows, events)
    fills = happened.filter(pl.col("kind") == "fill")
    closes = fills.filter("closes")
    is_new, loses = pl.col("mode") == "new", pl.col("pnl_of_close") < 0
    others = [
        _rows(happened.filter(pl.col("kind") == "interest"), 0, "9", "currency", -pl.col("amount"), size="amount"),
        _rows(
            happened.filter(pl.col("kind") == "margin"),
            0,
            pl.when(pl.col("amount") < 0).then(pl.lit("161")).otherwise(pl.lit("160")),
            "currency",
            pl.col("amount"),
            -pl.col("amount"),
        ),
        _rows(
            fills.filter(pl.col("posted").is_not_null()),
            pl.when("closes").then(5).otherwise(0),
            pl.when(is_new).then(pl.lit("332")).otherwise(pl.lit("200")),
            "margin_currency",
            pl.col("posted"),
            -pl.col("posted"),
        ),
        _rows(closes.filter(is_new & loses), 3, "334", "margin_currency", ZERO, size=-pl.col("pnl_of_close")),
        _rows(
            closes,
            4,
            pl.when(is_new).then(pl.lit("333")).otherwise(pl.lit("202")),
            "margin_currency",
            -pl.col("back"),
            pl.col("back"),
        ),
    ]
    booked = pl.concat([*_legs(fills), *others]).sort("event", "place")
    account = (pl.col("balChg").cum_sum().over("ccy") + pl.lit(STARTING)).alias("bal")
    return booked.with_columns(account, posBal=pl.col("posBalChg").cum_sum().over("instId", "ccy"))


def _happened(rows: pl.DataFrame, events: pl.DataFrame) -> pl.DataFrame:
    """Each event once, with what all its ledger rows did."""
    left, closing = pl.col("action") == "leftover", pl.col("action") == "close"
    done = rows.group_by("event_id").agg(
        worth=pl.col("value").sum(),
        left_base=pl.col("account_base").filter(left).sum(),
        left_quote=pl.col("account_quote").filter(left).sum(),
        posted=pl.col("initial_margin").drop_nulls().first(),
        closes=closing.any(),
        pnl_of_close=pl.col("realised_pnl").filter(closing).first(),
        back=(pl.col("account_base") + pl.col("account_quote")).filter(closing).first(),
    )
    pair = pl.col("instrument").str.split_exact("-", 1)
    numbered = events.with_row_index("event").with_columns(
        base=pair.struct.field("field_0"), quote=pair.struct.field("field_1"), order=pl.col("event") * 3 + 7
    )
    return numbered.join(done, on="event_id", maintain_order="left")


def _legs(fills: pl.DataFrame) -> list[pl.DataFrame]:
    """The leg in base currency and the leg in quote currency of each fill."""
    buys, found = pl.col("side") == "buy", []
    for currency, size, receives in (("base", pl.col("quantity"), buys), ("quote", pl.col("worth"), ~buys)):
        paid = pl.when(pl.col("fee_currency") == pl.col(currency)).then("fee").otherwise(ZERO)
        outside = pl.col(f"left_{currency}")
        signed = pl.when(receives).then(size).otherwise(-size)
        code = pl.when(receives).then(pl.lit("1")).otherwise(pl.lit("2"))
        place = pl.when(receives).then(1).otherwise(2)
        found.append(_rows(fills, place, code, currency, signed - paid - outside, outside, size, -paid, is_trade=True))
    return found


def _rows(
    events: pl.DataFrame,
    place: pl.Expr | int,
    code: pl.Expr | str,
    currency: str,
    change: pl.Expr,
    account_change: pl.Expr = ZERO,
    size: pl.Expr | str | None = None,
    fee: pl.Expr = ZERO,
    is_trade: bool = False,
) -> pl.DataFrame:
    """One bill for each of the events; the account's balance and the position's come later."""
    milliseconds = pl.col("time").dt.timestamp("ms").cast(pl.String)
    order = pl.when(pl.col("kind") == "fill").then((pl.col("order") + FIRST_BILL).cast(pl.String))
    amounts = {
        "balChg": account_change,
        "posBalChg": change,
        "sz": size if isinstance(size, str) else change.abs() if size is None else size,
        "px": pl.when(pl.lit(is_trade)).then("price"),
        "pnl": pl.when(~pl.lit(is_trade)).then("pnl_of_close"),
        "fee": fee,
        "interest": pl.when(pl.col("kind") == "interest").then("amount").otherwise(ZERO),
    }
    made = events.with_columns(place=pl.lit(place) if isinstance(place, int) else place)
    return made.select(
        pl.col("event").cast(pl.Int64),
        pl.col("place").cast(pl.Int64),
        *(
            (pl.col(value) if isinstance(value, str) else value).cast(MONEY).alias(name)
            for name, value in amounts.items()
        ),
        instType=pl.lit("MARGIN"),
        billId=(pl.col("event").cast(pl.Int64) * 8 + pl.col("place") + FIRST_BILL).cast(pl.String),
        subType=pl.lit(code) if isinstance(code, str) else code,
        ts=milliseconds,
        ccy=currency,
        mgnMode=pl.lit("isolated"),
        instId="instrument",
        ordId=order,
        execType=pl.when(pl.lit(is_trade)).then(pl.lit("T")),
        fillTime=pl.when(pl.lit(is_trade)).then(milliseconds),
        tradeId=pl.when(pl.lit(is_trade)).then((pl.col("event") + 100_000).cast(pl.String)),
    )


def _archive(bills: pl.DataFrame) -> pl.DataFrame:
    """The bills as text in the columns of the archive, newest first."""
    known = bills.reverse().with_columns(_text(name) for name in AMOUNTS)
    return known.select(pl.col(name) if name in known.columns else pl.lit("").alias(name) for name in BILLS)


def _text(name: str) -> pl.Expr:
    """An amount as an exchange prints it: without zeros at its end."""
    return pl.col(name).cast(pl.String).str.strip_chars_end("0").str.strip_suffix(".").alias(name)


# --- what the exchange states, and a house ledger with errors ----------------------------------------------------


def _record(row: dict[str, object]) -> dict[str, str]:
    """A position as the API has it."""
    is_long = row["is_long"] == 1
    owned, owed = ("base_currency", "quote_currency") if is_long else ("quote_currency", "base_currency")
    shown = f"{row['assets_shown_' + str(row['mode'])]:f}"
    opened, until = row["opened"], row["until"]
    return {
        "instType": "MARGIN",
        "mgnMode": "isolated",
        "instId": str(row["instrument"]),
        "pos": shown,
        "availPos": shown,
        "posCcy": str(row[owned]),
        "liab": f"{row['liability_shown']:f}",
        "liabCcy": str(row[owed]),
        "ccy": str(row["margin_currency"]),
        "margin": f"{row['margin']:f}",
        "interest": "0",
        "avgPx": f"{row['entry_price']:f}",
        "markPx": f"{row['mark_price']:f}",
        "mmr": f"{row['maintenance_margin']:f}",
        "mgnRatio": f"{row['margin_ratio']:f}",
        "liqPx": "" if row["liquidation_price"] is None else f"{row['liquidation_price']:f}",
        "upl": f"{row['floating_pnl']:f}",
        "uplRatio": f"{row['floating_pnl_ratio']:f}",
        "cTime": str(int(opened.timestamp() * 1000)),  # type: ignore[attr-defined]
        "uTime": str(int(until.timestamp() * 1000)),  # type: ignore[attr-defined]
    }


ERRORS = ("fill is missing", "fee is not deducted", "price has a slip", "quantity has a slip", "margin is typed as 1")


def _house(events: pl.DataFrame, broken: int) -> pl.DataFrame:
    """The events, with one error in the last fill that increases each of the first positions."""
    opens = pl.col("leverage").is_not_null()
    lives = events.with_columns(life=opens.cum_sum().over("instrument"))
    is_last_life = pl.col("life") == pl.col("life").max().over("instrument")
    increases = (pl.col("side") == pl.col("side").first().over("instrument", "life")) & is_last_life & ~opens
    known = lives.with_columns(increases=increases.fill_null(value=False))
    last = pl.col("event_id") == pl.col("event_id").filter("increases").last().over("instrument")
    number = pl.col("instrument").str.extract("([0-9]+)-USDT").cast(pl.Int64)
    error = pl.when(last.fill_null(value=False) & (number < broken)).then(number % len(ERRORS)).otherwise(-1)
    known = known.with_columns(error=error)
    ten, one = (pl.lit(text).cast(MONEY) for text in ("10", "1"))
    return (
        known.with_columns(
            fee=pl.when(pl.col("error") == 1).then(ZERO).otherwise("fee"),
            price=pl.when(pl.col("error") == 2).then(pl.col("price") * ten).otherwise("price"),
            quantity=pl.when(pl.col("error") == 3).then(pl.col("quantity") * ten).otherwise("quantity"),
            amount=pl.when(pl.col("error") == 4).then(one).otherwise("amount"),
            currency=pl.when(pl.col("error") == 4).then("margin_currency").otherwise("currency"),
        )
        .filter(pl.col("error") != 0)
        .select(schema(EVENTS).keys())
    )


if __name__ == "__main__":
    write_account(TINY if sys.argv[1] == "tiny" else FULL, Path(sys.argv[2]))
