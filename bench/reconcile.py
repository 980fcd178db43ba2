"""`python -m bench reconcile`: a million bills imported and reconciled, against a floor and a plain loop."""

import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import click

from bench.measure import Run, machine, python, run
from bench.results import Report
from bench.rounds import START_COMMAND

RECONCILED, BREAKS = 0, 1


@dataclass(frozen=True)
class Program:
    """One process to measure: what it does, its command by the folder of the files, and the exit code it is to have."""

    name: str
    title: str
    command: Callable[[Path], list[str]]
    code: int = RECONCILED


def _ledger(*words: str) -> Callable[[Path], list[str]]:
    """The command as a user runs it; words that end like a file are files of the folder."""

    def command(folder: Path) -> list[str]:
        given = [str(folder / word) if word.endswith((".csv", ".json")) else word for word in words]
        return [sys.executable, "-c", START_COMMAND, *given, "--out", str(folder / "out")]

    return command


def _beside(work: str) -> Callable[[Path], list[str]]:
    return lambda folder: python("bench.bill_loops", work, folder / "bills.csv", folder / "out")


PROGRAMS = (
    Program("import", "import: read, paired, certified", _ledger("import", "bills.csv")),
    Program(
        "one",
        "reconcile: bills, and the positions of the exchange",
        _ledger("reconcile", "--ledger", "bills.csv", "--exchange", "positions.json"),
    ),
    Program(
        "both",
        "reconcile: the same bills on both sides, and positions",
        _ledger("reconcile", "--ledger", "bills.csv", "--exchange", "bills.csv", "positions.json"),
    ),
    Program(
        "broken",
        "explain: a house ledger with one error in 1,000 positions, and positions",
        _ledger("reconcile", "--ledger", "house.csv", "--exchange", "positions.json"),
        BREAKS,
    ),
    Program("floor", "floor: the bills' columns from CSV to Parquet", _beside("floor")),
    Program("loop", "plain Python: csv and Decimal, balances alone", _beside("loop")),
)


@dataclass(frozen=True)
class Result:
    """The medians of one program."""

    program: Program
    bills: int
    seconds: float
    cpu_seconds: float
    peak_bytes: float
    floor_seconds: float
    loop_seconds: float

    def measured(self) -> dict[str, Any]:
        """Everything, with the ratios."""
        return {
            "program": self.program.name,
            "title": self.program.title,
            "bills": self.bills,
            "seconds": self.seconds,
            "cpu_seconds": self.cpu_seconds,
            "peak_bytes": self.peak_bytes,
            "times_floor": self.seconds / self.floor_seconds,
            "times_loop": self.seconds / self.loop_seconds,
        }


def measure(folder: Path, repeat: int) -> list[Result]:
    """Every program once per round, in turn; raises RuntimeError where one fails or does not find what it should."""
    rounds = [{program.name: _run(program, folder) for program in PROGRAMS} for _ in range(repeat)]
    bills = int(rounds[0]["loop"].answer["bills"])

    def middle(name: str, figure: Callable[[Run], float]) -> float:
        return median(figure(done[name]) for done in rounds)

    def seconds(name: str) -> float:
        return middle(name, lambda done: done.seconds)

    return [
        Result(
            program=program,
            bills=bills,
            seconds=seconds(program.name),
            cpu_seconds=middle(program.name, lambda done: done.cpu_seconds),
            peak_bytes=middle(program.name, lambda done: done.peak_bytes),
            floor_seconds=seconds("floor"),
            loop_seconds=seconds("loop"),
        )
        for program in PROGRAMS
    ]


def _run(program: Program, folder: Path) -> Run:
    shutil.rmtree(folder / "out", ignore_errors=True)
    is_beside = program.name in ("floor", "loop")
    if is_beside:
        (folder / "out").mkdir()
    done = run(program.command(folder), prints_json=is_beside, code=program.code)
    shutil.rmtree(folder / "out")
    return done


# --- showing --------------------------------------------------------------------------------------------------

AIMS = {"one": "< 20"}
COLUMNS: tuple[tuple[str, Callable[[Result], str]], ...] = (
    ("Work", lambda r: r.program.title),
    ("Bills", lambda r: f"{r.bills:,}" if r.program.name != "broken" else "-"),
    ("Seconds", lambda r: f"{r.seconds:.2f}"),
    ("Aim", lambda r: AIMS.get(r.program.name, "")),
    ("CPU\nseconds", lambda r: f"{r.cpu_seconds:.2f}"),
    ("Peak\nGB", lambda r: f"{r.peak_bytes / 1e9:.2f}"),
    ("/ floor", lambda r: f"{r.seconds / r.floor_seconds:.1f}"),
    ("/ plain loop", lambda r: f"{r.seconds / r.loop_seconds:.2f}"),
)
"""Heading and text of each column."""

EXPLANATION = """\
Two thousand positions of one account, as OKX's quarterly archive has them: CSV, 28 columns, newest first; fills as two
legs, interest at every full hour, margin posted, added and returned; all open at the end, in both modes and margins.
The bills and the positions are written from a replay by this very ledger, so that they agree by construction.

- *import*: `margin-ledger import`; *reconcile*: `margin-ledger reconcile`; Parquet out, start-up included.
- *explain*: the ledger is the house's, with one error in 1,000 positions; the exchange gives its positions and no
  events, so that every break is searched for its cause.
- *floor*: a process that reads the same columns and writes them as Parquet.
- *plain Python*: a `csv` and `Decimal` loop that adds up balances by position and currency, and nothing else."""


def report_of(results: list[Result], facts: dict[str, str]) -> Report:
    """The table, and everything measured."""
    rows = [[text(result) for _, text in COLUMNS] for result in results]
    headings = [heading for heading, _ in COLUMNS]
    return Report(headings, rows, EXPLANATION, [result.measured() for result in results], facts)


@click.command()
@click.option("--smoke", is_flag=True, help="Tiny files, one round: does it all work?")
@click.option("--repeat", default=1, show_default=True, type=click.IntRange(1), help="Rounds.")
@click.option("--markdown", type=click.Path(path_type=Path), help="Write the table as Markdown.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write all numbers as JSON.")
def reconcile(*, smoke: bool, repeat: int, markdown: Path | None, json_file: Path | None) -> None:
    """Measure import and reconciliation of a million bills. Files go to the temporary folder."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        run(python("bench.bills", "tiny" if smoke else "full", folder))
        results = measure(Path(folder), 1 if smoke else repeat)
    report = report_of(results, machine())
    report.show()
    report.write(markdown, json_file)
