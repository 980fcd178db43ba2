"""`python -m bench risk`: ten thousand positions graded at every hour of a year, against joining them with marks."""

import json
import random
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any

import click

from bench.measure import Run, machine, python, run
from bench.results import Report

POSITIONS, HOURS, INSTRUMENTS = 10_000, 8_760, 50
EVENTS_EACH = 6
START = datetime(2024, 1, 1, tzinfo=UTC)
PROGRAMS = {
    "grade": "this project: states, statuses, first crossings",
    "command": "`margin-ledger risk`: the whole command, from the files to all frames",
    "floor": "floor: read the same, join positions and marks, one comparison",
}


@dataclass(frozen=True)
class Result:
    """The medians of one program; `moments` are the positions' events and marks it looked at."""

    program: str
    moments: int
    seconds: float
    cpu_seconds: float
    peak_bytes: float
    times_floor: float

    def measured(self) -> dict[str, Any]:
        """Everything."""
        return {**vars(self), "title": PROGRAMS[self.program]}


def measure(folder: Path, positions: int, hours: int, repeat: int) -> list[Result]:
    """Every program once per round, in turn; raises RuntimeError where they do not look at the same moments."""
    run(python("bench.risk", "make", positions, hours, folder))
    rounds = [{name: _run(name, folder) for name in PROGRAMS} for _ in range(repeat)]
    moments = {name: rounds[0][name].answer["moments"] for name in PROGRAMS}
    if len(set(moments.values())) > 1:
        raise RuntimeError(f"the programs looked at other moments: {moments}")

    def middle(program: str, figure: Callable[[Run], float]) -> float:
        return median(figure(done[program]) for done in rounds)

    return [
        Result(
            program=name,
            moments=moments[name],
            seconds=middle(name, lambda done: done.seconds),
            cpu_seconds=middle(name, lambda done: done.cpu_seconds),
            peak_bytes=middle(name, lambda done: done.peak_bytes),
            times_floor=middle(name, lambda done: done.seconds) / middle("floor", lambda done: done.seconds),
        )
        for name in PROGRAMS
    ]


def _run(program: str, folder: Path) -> Run:
    shutil.rmtree(folder / "out", ignore_errors=True)
    (folder / "out").mkdir()
    return run(python("bench.risk", program, folder), prints_json=True)


# --- the programs ---------------------------------------------------------------------------------------------


def make(positions: int, hours: int, folder: Path) -> None:
    """Write the ledger of positions that are opened in the first week, hourly marks that wander, and tiers."""
    import polars as pl

    import ledger
    from ledger.columns import EVENTS, MARKS, schema
    from ledger.money import MONEY
    from ledger.ordering import index_positions
    from ledger.risk.columns import TIERS

    rng = random.Random(7)
    cents = {f"B{number}-USDT": list(_walk(rng, hours)) for number in range(INSTRUMENTS)}
    marks = [
        (name, START + timedelta(hours=hour), f"{price / 100:.2f}")
        for name, prices in cents.items()
        for hour, price in enumerate(prices)
    ]
    plain = {"instrument": pl.String, "time": schema(MARKS)["time"], "mark_price": pl.String}
    frame = pl.DataFrame(marks, schema=plain, orient="row").cast({"mark_price": MONEY})
    frame.write_parquet(folder / "marks.parquet")
    rows = [event for number in range(positions) for event in _events(rng, number, cents)]
    types = {name: dtype for name, dtype in schema(EVENTS).items() if name in rows[0]}
    texts = {name: pl.String if dtype == MONEY else dtype for name, dtype in types.items()}
    events = pl.DataFrame(rows, schema=texts).cast(types)
    events.write_parquet(folder / "events.parquet")
    ledger.replay(events).ledger.write_parquet(folder / "ledger.parquet")
    index_positions(events).write_parquet(folder / "index.parquet")
    tiers = [
        {"instrument": name, "tier": tier, "largest_base_loan": 3 * tier, "largest_quote_loan": 30_000 * tier}
        | {"maintenance_rate": f"0.0{1 + tier}", "maximum_leverage": 10}
        for name in cents
        for tier in range(1, 9)
    ]
    empty = {name: pl.lit(None, dtype) for name, dtype in schema(TIERS).items() if name not in tiers[0]}
    known = pl.DataFrame(tiers).with_columns(**empty).cast(dict(schema(TIERS)))  # type: ignore[arg-type]
    known.select(schema(TIERS).names()).write_parquet(folder / "tiers.parquet")


def _walk(rng: random.Random, hours: int) -> Iterator[int]:
    """Prices in cents, one per hour."""
    price = rng.uniform(2_000, 50_000)
    for _ in range(hours):
        yield max(1, round(price * 100))
        price *= 1 + rng.gauss(0, 0.004)


def _events(rng: random.Random, number: int, cents: dict[str, list[int]]) -> Iterator[dict[str, Any]]:
    """A position of one of the eight cases: opened between two marks, and more margin from time to time."""
    name = list(cents)[number % INSTRUMENTS]
    hours = len(cents[name])
    margin_currency = name.split("-")[number // INSTRUMENTS % 2]
    begin, leverage = rng.randrange(max(1, min(168, hours // 8))), rng.randint(2, 10)
    of_position = {"account": f"a{number}", "instrument": name, "margin_currency": margin_currency, "mode": "new"}
    blank = dict.fromkeys(("side", "quantity", "price", "leverage", "amount", "currency"))
    for event in range(EVENTS_EACH):
        hour = begin + event * (hours - begin) // EVENTS_EACH
        time = START + timedelta(hours=hour, minutes=rng.randint(1, 59))
        what: dict[str, Any] = {"kind": "margin", "amount": "0.001", "currency": margin_currency}
        if event == 0:
            what = {
                "kind": "fill",
                "side": rng.choice(("buy", "sell")),
                "quantity": f"{rng.randint(1, 20_000) / 1000:.3f}",
                "price": f"{cents[name][hour] / 100:.2f}",
                "leverage": str(leverage),
            }
        yield {**of_position, **blank, **what, "time": time, "event_id": f"{number}-{event}"}


def grade(folder: Path) -> None:
    """From the stored ledger, marks and tiers to stored stretches and first crossings."""
    import polars as pl

    from ledger.risk import grading
    from ledger.risk.policies import RiskPolicies
    from ledger.risk.states import spot_states

    read = {name: pl.read_parquet(folder / f"{name}.parquet") for name in ("ledger", "index", "marks", "tiers")}
    states = spot_states(read["ledger"], read["index"], read["marks"], read["tiers"], RiskPolicies())
    graded = grading.grade(states, read["marks"], RiskPolicies())
    graded.spans.write_parquet(folder / "out" / "risk_spans.parquet", compression="lz4")
    graded.lives.write_parquet(folder / "out" / "lives.parquet")
    crossed = graded.lives.select(pl.col("alert_at", "cancelled_at", "partial_at", "full_at").count())
    found = {"moments": int(graded.lives["graded"].sum()), "spans": graded.spans.height, **crossed.row(0, named=True)}
    print(json.dumps(found))


def command(folder: Path) -> None:
    """The command with the same events, marks and tiers as files: every frame of a run with risk, and its checks."""
    import polars as pl
    from click.testing import CliRunner

    from reports.command_line import main

    files = [str(folder / f"{name}.parquet") for name in ("events", "marks", "tiers")]
    arguments = ["risk", files[0], "--marks", files[1], "--tiers", files[2], "--out", str(folder / "out" / "books")]
    done = CliRunner().invoke(main, arguments, catch_exceptions=False)
    if done.exit_code not in (0, 1):  # 1: liquidations were due and none is booked
        raise RuntimeError(done.output)
    risk = pl.read_parquet(folder / "out" / "books" / "risk.parquet", columns=["graded"])
    print(json.dumps({"moments": int(risk["graded"].sum()), "exit_code": done.exit_code}))


def floor(folder: Path) -> None:
    """Read the same, join the open positions with their marks, and compare each mark with the opening price."""
    import polars as pl

    events = pl.scan_parquet(folder / "ledger.parquet")
    opened = events.filter(pl.col("action") == "open").select("position", opened="time", opened_at="price")
    whose = opened.join(pl.scan_parquet(folder / "index.parquet").select("position", "instrument"), on="position")
    marked = whose.join(pl.scan_parquet(folder / "marks.parquet"), on="instrument").filter(
        pl.col("time") > pl.col("opened")
    )
    below = (pl.col("mark_price") <= pl.col("opened_at")).sum()
    counted = marked.select(marks=pl.len(), below=below).collect(engine="streaming").row(0, named=True)
    moments = counted["marks"] + events.select(pl.len()).collect().item()
    print(json.dumps({"moments": moments, "below": counted["below"]}))


# --- showing --------------------------------------------------------------------------------------------------

SHOWN: tuple[tuple[str, Callable[[Result], str]], ...] = (
    ("Work", lambda r: PROGRAMS[r.program]),
    ("Moments", lambda r: f"{r.moments:,}"),
    ("Seconds", lambda r: f"{r.seconds:.2f}"),
    ("CPU\nseconds", lambda r: f"{r.cpu_seconds:.2f}"),
    ("Peak\nGB", lambda r: f"{r.peak_bytes / 1e9:.2f}"),
    ("/ floor", lambda r: f"{r.times_floor:.1f}"),
    ("Aim", lambda r: "<= 3, < 2 GB" if r.program == "grade" else ""),
)
"""Heading and text of each column."""

EXPLANATION = f"""\
Positions of all four cases in {INSTRUMENTS} instruments, open for most of a year of hourly marks, with {EVENTS_EACH}
events each, and tiers by liability. Each program is a process of its own, start-up and reading included. All look at
the same moments, events and marks alike, which is checked.

- *this project*: the states of every position from its stored ledger, the status at every moment compared exactly, the
  stretches of each status with their lowest ratio, and the first alert and liquidations, written as Parquet.
- *the command*: replay, postings, positions, history, the same grading, the liquidations that were due and their
  simulation, margin changes, lives, and all checks.
- *floor*: the same files read, positions joined with marks in a streaming query, and one comparison of prices; it
  writes nothing."""


def report_of(results: list[Result], facts: dict[str, str]) -> Report:
    """The table, and everything measured."""
    rows = [[text(result) for _, text in SHOWN] for result in results]
    return Report([heading for heading, _ in SHOWN], rows, EXPLANATION, [one.measured() for one in results], facts)


@click.command()
@click.option("--smoke", is_flag=True, help="Few positions and marks, one round: does it all work?")
@click.option("--repeat", default=3, show_default=True, type=click.IntRange(1), help="Rounds.")
@click.option("--markdown", type=click.Path(path_type=Path), help="Write the table as Markdown.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write all numbers as JSON.")
def risk(*, smoke: bool, repeat: int, markdown: Path | None, json_file: Path | None) -> None:
    """Measure grading of positions at every mark of a year. Files go to the temporary folder."""
    positions, hours, rounds = (POSITIONS // 50, HOURS // 50, 1) if smoke else (POSITIONS, HOURS, repeat)
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        results = measure(Path(folder), positions, hours, rounds)
    report = report_of(results, machine())
    report.show()
    report.write(markdown, json_file)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["make", count, length, target]:
            make(int(count), int(length), Path(target))
        case ["grade", target]:
            grade(Path(target))
        case ["command", target]:
            command(Path(target))
        case ["floor", target]:
            floor(Path(target))
