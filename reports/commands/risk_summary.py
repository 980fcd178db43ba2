"""What a run with risk says on the terminal: statuses, liquidations due and booked, changes the rules refuse."""

from collections.abc import Iterator
from pathlib import Path

import polars as pl
from rich.table import Table
from rich.text import Text

from ledger.explain import plain, read_frame
from ledger.risk.columns import STATUSES
from reports.commands.summary import percent, rendered, short

_SHOWN = 20
_TOLD = (
    *("position", "episode", "status", "tier", "mark_price", "margin_ratio", "liquidation_price"),
    *("alert_at", "cancelled_at", "lowest_ratio", "lowest_at"),
)
_JUDGED = ("position", "episode", "verdict", "explanation")
_ORDER = {status: number for number, status in enumerate(STATUSES)}


def risk_told(folder: Path) -> Iterator[str]:
    """Lines about the frames `risk`, `liquidations` and `margin_changes` in a folder."""
    yield from _contracts(folder)
    risk = _lives(folder)
    is_open = risk.filter(pl.col("status").is_not_null())
    if is_open.height:
        counts = dict(is_open["status"].value_counts().rows())
        told = ", ".join(f"{counts[status]:,} {status.replace('_', ' ')}" for status in STATUSES if status in counts)
        yield f"Of {is_open.height:,} open positions: {told}"
    crossed = risk.filter(pl.col("alert_at").is_not_null() | pl.col("status").is_not_null())
    if crossed.height:
        yield from rendered(_statuses(crossed))
    judged = [read_frame(folder, name).select(_JUDGED) for name in _present(folder, "liquidations")]
    yield from _liquidations(pl.concat(judged).collect())
    yield from _changes(read_frame(folder, "margin_changes").collect())


def _contracts(folder: Path) -> Iterator[str]:
    """How much there is of derivatives."""
    if len(_present(folder, "positions")) > 1:
        names = ("derivative_ledger", "derivative_postings", "derivative_positions")
        rows, postings, lives = (read_frame(folder, name).select(pl.len()).collect().item() for name in names)
        yield f"Derivatives: {rows:,} ledger rows, {postings:,} postings, {lives:,} lives of positions"


def _lives(folder: Path) -> pl.DataFrame:
    """What is told of each life: of spot margin, and of derivatives where there are any."""
    names = ["risk", *_present(folder, "positions")[1:]]
    return pl.concat([read_frame(folder, name).select(_TOLD) for name in names]).collect()


def _present(folder: Path, name: str) -> list[str]:
    """The names of a frame of spot margin, and of that of derivatives where there are any."""
    return [name, *([f"derivative_{name}"] if any(folder.glob(f"derivative_{name}.*")) else [])]


def _statuses(rows: pl.DataFrame) -> Table:
    """The worst lives first: those that are open, then those that crossed a threshold."""
    worst = pl.col("status").cast(pl.String).replace_strict(_ORDER, default=-1, return_dtype=pl.Int8)
    ranked = rows.sort(worst, "lowest_ratio", descending=[True, False], nulls_last=True)
    more = f"first {_SHOWN} of {rows.height:,}; all of them: frame risk" if rows.height > _SHOWN else None
    headings = (
        "position",
        "status",
        "margin ratio",
        "lowest",
        "at",
        "mark",
        "liquidation price",
        "tier",
        "alert since",
    )
    table = Table(
        *headings, "100 % since", title="Risk: open positions, and lives that crossed a threshold", caption=more
    )
    for row in ranked.head(_SHOWN).iter_rows(named=True):
        cells = (
            f"{row['position']}#{row['episode']}",
            "closed" if row["status"] is None else row["status"].replace("_", " "),
            percent(row["margin_ratio"]),
            percent(row["lowest_ratio"]),
            _time(row["lowest_at"]),
            short(row["mark_price"]),
            short(row["liquidation_price"]),
            "" if row["tier"] is None else str(row["tier"]),
            _time(row["alert_at"]),
            _time(row["cancelled_at"]),
        )
        table.add_row(*(Text(cell) for cell in cells))
    return table


def _liquidations(rows: pl.DataFrame) -> Iterator[str]:
    """A line for each liquidation that was due or is booked, those that agree last."""
    if rows.is_empty():
        return
    rows = rows.sort(pl.col("verdict").is_in(["agrees", "late"]), maintain_order=True)
    counts = ", ".join(
        f"{number:,} {verdict.replace('_', ' ')}" for verdict, number in rows["verdict"].value_counts(sort=True).rows()
    )
    yield f"Liquidations due or booked: {counts}"
    for row in rows.head(_SHOWN).iter_rows(named=True):
        yield f"  {row['position']}#{row['episode']}, {row['verdict'].replace('_', ' ')}: {row['explanation']}"
    if rows.height > _SHOWN:
        yield f"  ... and {rows.height - _SHOWN:,} more: frames liquidations, derivative_liquidations"


def _changes(rows: pl.DataFrame) -> Iterator[str]:
    """A line for each change of margin or leverage that the rules refuse."""
    if rows.is_empty():
        return
    refused = rows.filter(pl.col("verdict") == "refused")
    unchecked = rows.filter(pl.col("verdict") == "not_checked").height
    yield f"Changes of margin and leverage: {rows.height:,}, {refused.height:,} refused, {unchecked:,} not checked"
    for row in refused.head(_SHOWN).iter_rows(named=True):
        what = f"{row['change'].replace('_', ' ')} {plain(row['amount'])} {row['margin_currency']}"
        yield f"  {row['position']}#{row['episode']} {_time(row['time'])}, {row['event_id']}: {what}: {row['rule']}"
    if refused.height > _SHOWN:
        yield f"  ... and {refused.height - _SHOWN:,} more: frame margin_changes"


def records_told(rows: pl.DataFrame) -> Iterator[str]:
    """Lines about the frame POSITION_RECORDS: figures of each record, stated and computed, and what was inferred."""
    for (record,), own in rows.group_by("record", maintain_order=True):
        first = own.row(0, named=True)
        named = [first["instrument"], first["instrument_class"], first["direction"], first["margin_currency"]]
        table = Table(
            "figure",
            "stated",
            "computed",
            "difference",
            "",
            "note",
            title=f"Record {record}: " + " ".join(filter(None, named)),
        )
        for row in own.filter(pl.col("figure").is_not_null()).iter_rows(named=True):
            amounts = ["" if row[name] is None else plain(row[name]) for name in ("stated", "computed", "difference")]
            table.add_row(*(Text(cell or "") for cell in (row["figure"], *amounts, row["verdict"], row["note"])))
        yield from rendered(table)
        if first["inferred"]:
            yield f"  {first['inferred']}"
    counts = rows.filter(pl.col("figure").is_not_null())["verdict"].value_counts(sort=True)
    yield "Figures: " + (", ".join(f"{number:,} {verdict}" for verdict, number in counts.rows()) or "none")


def _time(time: object) -> str:
    return "" if time is None else f"{time:%Y-%m-%d %H:%M:%S}".removesuffix(":00")
