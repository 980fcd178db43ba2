"""OKX files as the tests write and read them."""

import csv
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import polars as pl

from ledger.feeds import FileRows, read_files
from ledger.statements.columns import SNAPSHOTS, STATEMENTS
from ledger.statements.layouts import LAYOUTS
from ledger.statements.rules import SNAPSHOT_RULES, STATEMENT_RULES

FIXTURES = Path(__file__).parents[1] / "fixtures"
RECORDS = FIXTURES / "records"
PUBLISHED = FIXTURES / "exchange" / "okx"

Row = dict[str, str]
RULES = {STATEMENTS: STATEMENT_RULES, SNAPSHOTS: SNAPSHOT_RULES}

BILL: Row = {
    "instType": "MARGIN",
    "billId": "623950854533513220",
    "type": "2",
    "subType": "1",
    "ts": "1695033476167",
    "balChg": "0",
    "posBalChg": "0.999",
    "bal": "10.5",
    "posBal": "0.999",
    "sz": "1",
    "px": "27105.9",
    "ccy": "BTC",
    "pnl": "0",
    "fee": "-0.001",
    "mgnMode": "isolated",
    "instId": "BTC-USDT",
    "ordId": "623950854525124608",
    "execType": "T",
    "interest": "0",
    "tag": "",
    "fillTime": "1695033476166",
    "tradeId": "586760148",
    "clOrdId": "",
    "fillIdxPx": "27104.1",
    "fillMarkPx": "",
    "fillPxVol": "",
    "fillPxUsd": "",
    "fillMarkVol": "",
    "fillFwdPx": "",
}
HISTORY = (
    "id,Order id,Time,Trade Type,Symbol,Action,Amount,Trading Unit,Filled Price,PnL,Fee,Fee Unit,"
    "Position Change,Position Balance,Balance Change,Balance,Balance Unit"
)
PREAMBLE = "UID:123456,Account Type:Main,Time Zone:"


def read(tmp_path: Path, *paths: Path, forced: str | None = None) -> list[FileRows]:
    folder = tmp_path / "unpacked"
    folder.mkdir(exist_ok=True)
    return read_files(paths, LAYOUTS, RULES, folder, forced)


def good(tmp_path: Path, path: Path) -> list[dict[str, object]]:
    """The rows of a file of one layout, without the columns that are empty."""
    file = read(tmp_path, path)[0]
    assert file.refusals.height == 0, file.refusals.rows()
    rows = pl.concat([part.rows for part in file.parts])
    return [{name: cell for name, cell in row.items() if cell is not None} for row in rows.rows(named=True)]


def refused(tmp_path: Path, path: Path) -> list[tuple[object, ...]]:
    return read(tmp_path, path)[0].refusals.select("row", "column", "value").rows()


def as_csv(path: Path, *rows: Row) -> Path:
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def as_json(path: Path, *rows: Mapping[str, object]) -> Path:
    path.write_text(json.dumps({"code": "0", "data": rows, "msg": ""}), encoding="utf-8")
    return path


def as_history(path: Path, *rows: str, header: str = HISTORY, zone: str = "UTC+8") -> Path:
    path.write_text("\n".join([PREAMBLE + zone, header, *rows]) + "\n", encoding="utf-8")
    return path


def amounts(**texts: str) -> dict[str, Decimal]:
    return {name: Decimal(text) for name, text in texts.items()}


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)
