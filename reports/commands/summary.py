"""What a replay says on the terminal: counts, the open positions, the checks."""

from collections.abc import Iterator
from pathlib import Path

import polars as pl
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ledger.explain import plain, read_frame

_SHOWN = 20
_OPEN = {
    "position": "position",
    "direction": "",
    "base_leg": "base leg",
    "quote_leg": "quote leg",
    "margin": "margin",
    "floating_pnl": "floating PnL",
    "margin_ratio": "margin ratio",
    "liquidation_price": "liquidation price",
}


def summary(folder: Path, checks: pl.DataFrame) -> Iterator[str]:
    """Lines of text about the frames in `folder` and their `checks` (columns CHECKS)."""
    inputs = read_frame(folder, "inputs").collect()
    parts = read_frame(folder, "ledger").select(pl.len()).collect().item()
    postings = read_frame(folder, "postings").select(pl.len()).collect().item()
    positions = read_frame(folder, "positions").select("status", *_OPEN, "episode", "mark_price")
    status = positions.select("status").collect().to_series()
    is_open = (status == "open").sum()
    read = inputs.filter(pl.col("first_time").is_not_null())["rows"].sum()
    episodes = status.len()
    yield f"{read:,} input rows -> {parts:,} ledger rows, {postings:,} postings, {episodes:,} position episodes"
    yield f"{is_open:,} open, {episodes - is_open:,} closed; frames in {folder}"
    if is_open:
        unmarked = positions.filter(pl.col("status") == "open", pl.col("mark_price").is_null()).select(pl.len())
        without = unmarked.collect().item()
        if without:
            yield f"{without:,} open positions have no mark price: their measures are empty"
        yield from rendered(_open_positions(positions, int(is_open)))
    yield from rendered(_checks(checks))
    failed = checks.filter(pl.col("failures") > 0).height
    untested = checks.filter(pl.col("rows_tested") == 0).height
    holding = f"{checks.height - failed - untested} of {checks.height} checks hold."
    yield " ".join(
        [holding, *([f"{failed} FAIL."] if failed else []), *([f"{untested} not tested."] if untested else [])]
    )


def _open_positions(positions: pl.LazyFrame, count: int) -> Table:
    caption = f"first {_SHOWN} of {count:,} open positions" if count > _SHOWN else None
    table = Table(*_OPEN.values(), title="Open positions", caption=caption)
    for row in positions.filter(pl.col("status") == "open").head(_SHOWN).collect().iter_rows(named=True):
        cells = [f"{row['position']}#{row['episode']}", row["direction"]]
        cells += [plain(row[name]) for name in ("base_leg", "quote_leg", "margin")]
        cells += [
            short(row["floating_pnl"]),
            percent(row["margin_ratio"]),
            short(row["liquidation_price"]),
        ]
        table.add_row(*(Text(cell) for cell in cells))
    return table


def _checks(checks: pl.DataFrame) -> Table:
    table = Table("check", "rows", "failures", "largest residual", "", title="Checks")
    for row in checks.iter_rows(named=True):
        verdict = (
            "FAIL at " + str(row["first_failure"]) if row["failures"] else "OK" if row["rows_tested"] else "not tested"
        )
        cells = (
            row["check"],
            f"{row['rows_tested']:,}",
            f"{row['failures']:,}",
            plain(row["largest_residual"]),
            verdict,
        )
        table.add_row(*(Text(cell) for cell in cells))
    return table


def short(amount: object) -> str:
    """Eight decimals for the eye; the frames hold all of them."""
    return "" if amount is None else f"{amount:,.8f}".rstrip("0").rstrip(".")


def percent(ratio: object) -> str:
    """A ratio in per cent with two decimals, for the eye."""
    return "" if ratio is None else f"{ratio:.2%}"


def rendered(table: Table) -> Iterator[str]:
    """A table as lines of text."""
    console = Console(width=200)
    with console.capture() as captured:
        console.print(table)
    yield from (line.rstrip() for line in captured.get().splitlines())
