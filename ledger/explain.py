"""How a balance came to be: the ledger rows of one position, each with its postings and the input row behind it."""

import re
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl

from ledger.columns import FRAMES, schema
from ledger.derivatives.columns import DERIVATIVE_FRAMES
from ledger.interest.columns import INTEREST_FRAMES
from ledger.refusals import LedgerError
from ledger.risk.columns import RISK_FRAMES

_EPISODE = re.compile(r"#[0-9]{1,9}$")
_BALANCES = ("base", "quote", "margin")


def read_frame(folder: Path, name: str) -> pl.LazyFrame:
    """One frame of a replay (see `FRAMES`) from its folder, Parquet or CSV. Raises LedgerError when it is not there."""
    columns = schema({**FRAMES, **INTEREST_FRAMES, **RISK_FRAMES, **DERIVATIVE_FRAMES}[name])
    if (folder / f"{name}.parquet").is_file():
        return pl.scan_parquet(folder / f"{name}.parquet")
    if (folder / f"{name}.csv").is_file():
        text = pl.scan_csv(folder / f"{name}.csv", infer_schema=False)
        return text.with_columns(_typed(column, dtype) for column, dtype in columns.items())
    raise LedgerError(f"{folder}: holds no {name}.parquet or {name}.csv; name the folder a replay has written")


def _typed(column: str, dtype: pl.DataType) -> pl.Expr:
    if isinstance(dtype, pl.Datetime):
        return pl.col(column).str.to_datetime(time_unit="us", time_zone="UTC")
    return pl.col(column).cast(dtype)


def explain(folder: Path, position: str, at: datetime | None = None) -> Iterator[str]:
    """Lines of text: every event of the position (`NAME` or `NAME#EPISODE`) up to `at`, from opening to closing.

    Raises LedgerError when the folder holds no such position.
    """
    name, _, episode = position.rpartition("#") if _EPISODE.search(position) else (position, "", "")
    wanted = pl.col("position") == name
    if episode:
        wanted &= pl.col("episode") == int(episode)
    rows = read_frame(folder, "ledger").filter(wanted)
    rows = rows if at is None else rows.filter(pl.col("time") <= at)
    ledger = rows.collect()
    if ledger.is_empty():
        raise LedgerError(_unknown(folder, position))
    postings = read_frame(folder, "postings").filter(pl.col("position") == name).collect()
    posted = postings.partition_by("event_number", "part", as_dict=True)
    files = dict(read_frame(folder, "inputs").select("input", "file").collect().iter_rows())
    index = read_frame(folder, "positions").filter(pl.col("position") == name).collect()
    currencies = index.row(0, named=True) if index.height else {}
    for row in ledger.iter_rows(named=True):
        yield from _event(row, posted.get((row["event_number"], row["part"])), files, currencies)


def _event(
    row: dict[str, Any], postings: pl.DataFrame | None, files: dict[int, str], currencies: dict[str, Any]
) -> Iterator[str]:
    source = f"{files.get(row['input'], 'interest frame')} row {row['row']}"
    part = f" part {row['part']}" if row["action"] in ("close", "leftover", "open") and row["part"] > 1 else ""
    yield f"{row['time']:%Y-%m-%d %H:%M:%S.%f} UTC  {_deed(row)}"
    yield f"    event {row['event_id']}{part}, {source}"
    for balance in _BALANCES:
        opening, change, closing = (row[f"{balance}_{moment}"] for moment in ("opening", "change", "closing"))
        if opening or change or closing:
            sign = "-" if change < 0 else "+"
            currency = currencies.get(f"{balance}_currency", balance)
            yield f"    {balance:6} {plain(opening)} {sign} {plain(abs(change))} = {plain(closing)} {currency}"
    if row["realised_pnl"] is not None:
        yield f"    realised PnL {plain(row['realised_pnl'])} {currencies.get('margin_currency', '')}"
    lines = [] if postings is None else postings.select("posting_account", "currency", "amount").rows()
    for account, currency, amount in lines:
        yield f"      {account:14} {plain(amount):>32} {currency}"
    yield ""


def _deed(row: dict[str, Any]) -> str:
    deed = " ".join(word for word in (row["action"], row["direction"]) if word)
    if row["kind"] in ("fill", "liquidation"):
        deed += f": {row['kind']}, {row['side']} {plain(row['quantity'])} at {plain(row['price'])}"
        if row["fee"]:
            deed += f", fee {plain(row['fee'])} {row['fee_currency']}"
    return deed


def _unknown(folder: Path, position: str) -> str:
    names = read_frame(folder, "positions").select("position").unique().sort("position").head(10).collect()
    known = ", ".join(names["position"].to_list()) or "none"
    return f"{position}: not in {folder} at that time; positions there begin with: {known}"


def plain(amount: Decimal) -> str:
    """The amount with all its digits and no exponent or trailing zero."""
    text = f"{amount:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
