"""What the ledger is measured against, besides the Decimal loop: the floor, hledger and ledger-cli.

Run as a module these are the child processes of a measurement: `floor`, `journal`, `compare` and `height`.
"""

import json
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path

import polars as pl

from ledger.interest.columns import INTEREST_FRAMES
from ledger.output import COMPRESSION

OUTPUTS = ("ledger", "postings", "positions", "checks", *INTEREST_FRAMES)
ROWS_AT_ONCE = 1_000_000
JOURNAL_TOOLS = {"hledger": "hledger", "ledger-cli": "ledger"}


def installed_tools() -> dict[str, str]:
    """The journal programs found on this machine: name and path."""
    found = {name: shutil.which(program) for name, program in JOURNAL_TOOLS.items()}
    return {name: path for name, path in found.items() if path}


def journal_command(tool: str, journal: Path) -> list[str]:
    """Print the balance of every account of the journal."""
    return [installed_tools()[tool], "-f", str(journal), "balance"]


def floor(events: Path, outputs: Path, target: Path) -> dict[str, float]:
    """Read the events and write as many rows of the same width as the command wrote: the command's own output.

    Fetching those rows is no work a floor would have: `seconds_outside` says how long it took.
    """
    events_height = pl.read_parquet(events).height
    outside = 0.0
    for name in OUTPUTS:
        if not (outputs / f"{name}.parquet").exists():
            continue
        source = pl.scan_parquet(outputs / f"{name}.parquet")
        for offset in range(0, source.select(pl.len()).collect().item(), ROWS_AT_ONCE):
            before = time.perf_counter()
            rows = source.slice(offset, ROWS_AT_ONCE).collect()
            outside += time.perf_counter() - before
            rows.write_parquet(target / f"{name}-{offset}.parquet", compression=COMPRESSION)
    return {"events": events_height, "seconds_outside": outside}


def write_journal(outputs: Path, journal: Path) -> dict[str, float]:
    """The postings as a journal both programs read: one transaction per event, accounts per position."""
    line = pl.format("    {}:{}  {} {}", "position", "posting_account", "amount", "currency")
    transactions = (
        pl.scan_parquet(outputs / "postings.parquet")
        .with_columns(pl.col("position").str.replace_all(":", "/"))
        .group_by("event_id", maintain_order=True)
        .agg(lines=line)
        .select(pl.format("2025-01-01 {}\n{}\n", "event_id", pl.col("lines").list.join("\n")))
        .collect()
        .to_series()
    )
    journal.write_text("\n".join(transactions), encoding="utf-8")
    return {"transactions": len(transactions)}


def height(file: Path) -> dict[str, float]:
    """Rows of a Parquet file."""
    return {"rows": pl.scan_parquet(file).select(pl.len()).collect().item()}


def compare(balances: Path, outputs: Path) -> dict[str, float]:
    """Hold each episode's balances of the Decimal loop against the engine's; raises where a digit differs."""
    theirs = pl.read_parquet(balances).sort("position", "episode")
    amounts = [name for name in theirs.columns if name not in ("position", "episode")]
    ours = pl.read_parquet(outputs / "positions.parquet").sort("position", "episode").select(theirs.columns)
    theirs = theirs.cast(ours.schema)
    if not ours.equals(theirs):
        joined = ours.join(theirs, on=["position", "episode"], how="full", suffix="_loop", coalesce=True)
        differs = pl.any_horizontal(pl.col(name).ne_missing(pl.col(f"{name}_loop")) for name in amounts)
        raise ValueError(f"engine and Decimal loop differ:\n{joined.filter(differs).head(5).to_dicts()}")
    return {"episodes": ours.height}


if __name__ == "__main__":
    works: dict[str, Callable[..., dict[str, float]]] = {
        "floor": floor,
        "journal": write_journal,
        "compare": compare,
        "height": height,
    }
    print(json.dumps(works[sys.argv[1]](*map(Path, sys.argv[2:]))))
