"""How many planted errors of interest are named, and with what amount: 560 random histories of eight kinds of error.

`python tests/interest_detection.py` prints the table that the README has.
"""

import csv
import sys
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import polars as pl

sys.path.insert(0, str(Path(__file__).parent))

import interest_histories

from ledger.files import Request, replay_files
from ledger.interest.policy import shipped_policies
from ledger.interest.request import InterestRequest

SEEDS = 70
END = datetime(2025, 6, 1, tzinfo=UTC)
NAMED = {
    "dropped_hour": "missing_hour",
    "doubled_hour": "doubled_hour",
    "daily_rate_as_hourly": "rate_unit",
    "stale_rate": "stale_rate",
    "simple_interest": "simple_interest",
    "rounding_changed": "rounding",
    "charged_after_repayment": "charged_after_repayment",
    "row_missing": "lost_row",
}
"""Which cause names each kind of error."""


@dataclass
class Found:
    """Of so many histories: those whose error is named alone, named as one of several, and with its exact amount."""

    histories: int
    named: int
    tied: int
    amount: int
    unexplained: int


def compare(stories, policy_name, *, with_rates=True):
    """The checks and the frames interest, interest_causes and interest_roll for stories of the generator."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for part in ("events", "rows", "rates"):
            write(folder / f"{part}.csv", [row for story in stories for row in in_one_year(story)[part]])
        policy = shipped_policies()[policy_name]
        asked = InterestRequest(policy, folder / "rates.csv" if with_rates else None, [folder / "rows.csv"])
        checks = replay_files(Request([folder / "events.csv"], interest=asked), folder / "out")
        frames = ("interest", "interest_causes", "interest_roll")
        return checks, *(pl.read_parquet(folder / "out" / f"{frame}.parquet") for frame in frames)


def detection(kind, policy_name="okx", seeds=SEEDS, *, with_liability=True, with_rates=True):
    """What is found of the errors of one kind, in so many histories."""
    fields = shipped_policies()[policy_name].model_dump()
    stories = [interest_histories.planted(seed, kind, fields, with_liability=with_liability) for seed in range(seeds)]
    _, _, causes, _ = compare(stories, policy_name, with_rates=with_rates)
    found = Found(seeds, 0, 0, 0, 0)
    for story in stories:
        own = causes.filter(
            pl.col("position").str.starts_with(story["account"] + ":"),
            pl.col("amount") != 0,
            pl.col("cause") != "carried_forward",
        )
        names, amount = own["cause"].to_list(), sum(own["amount"].to_list(), Decimal(0))
        found.named += names == [NAMED[kind]]
        found.tied += names != [NAMED[kind]] and any(NAMED[kind] in cause.split(" or ") for cause in names)
        found.amount += amount == story["truth"]["amount"]
        found.unexplained += "unexplained" in names
    return found


def in_one_year(story):
    """The story moved by whole hours, so that all end at about the same time."""
    by = (END - interest_histories.moment(story["until"])) // timedelta(hours=1) * timedelta(hours=1)

    def moved(row):
        return row | {"time": (interest_histories.moment(row["time"]) + by).strftime("%Y-%m-%dT%H:%M:%S.%fZ")}

    return {part: [moved(row) for row in story[part]] for part in ("events", "rows", "rates")}


def write(path, rows):
    """Rows as CSV, amounts with all their digits."""
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows({name: text(value) for name, value in row.items()} for row in rows)


def text(value):
    """A cell."""
    if isinstance(value, Decimal):
        return f"{value:f}"
    return {None: "", True: "true", False: "false"}.get(value, value) if not isinstance(value, str) else value


def table(found):
    """The README's table of what is found of each kind."""
    head = "| error planted | cause named | histories | named alone | named among ties | exact amount | unexplained |"
    rows = [head, "| --- | --- | ---: | ---: | ---: | ---: | ---: |"]
    for kind, one in found.items():
        counts = (one.histories, one.named, one.tied, one.amount, one.unexplained)
        rows.append(f"| {kind.replace('_', ' ')} | `{NAMED[kind]}` | {' | '.join(map(str, counts))} |")
    return "\n".join(rows)


if __name__ == "__main__":
    print(table({kind: detection(kind) for kind in NAMED}))
