"""`python -m bench interest`: interest computed and compared, against a floor and plain Python loops, in one run."""

import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import click

from bench.interest_shapes import SHAPES, Loans
from bench.measure import Run, machine, python, run
from bench.results import Report
from bench.rounds import START_COMMAND

SECONDS = 1.0
"""In memory, passes are repeated until they have taken so long."""
LOOPS = ("integer", "rows", "decimal")


@dataclass
class Result:
    """The medians of one shape. A stage that is not measured on it has none."""

    loans: Loans
    charges: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    loop_charges: int = 0
    loop_seconds: dict[str, float] = field(default_factory=dict)
    cpu_seconds: float | None = None
    peak_bytes: float | None = None

    def rate(self, stage: str) -> float | None:
        """Charges per second of a stage."""
        return self.charges / self.seconds[stage] if stage in self.seconds else None

    def times_loop(self, loop: str, stage: str = "engine") -> float | None:
        """How many times as many charges a second as a plain loop a stage does."""
        rate = self.rate(stage)
        return rate * self.loop_seconds[loop] / self.loop_charges if rate and loop in self.loop_seconds else None

    @property
    def times_floor(self) -> float | None:
        """How many times as long as the floor the command takes."""
        return self.seconds["process"] / self.seconds["floor"] if "floor" in self.seconds else None

    def measured(self) -> dict[str, Any]:
        """Everything, with rates and ratios."""
        return {
            "shape": self.loans.name,
            "title": self.loans.title,
            "policy": self.loans.policy,
            "charges": self.charges,
            "seconds": self.seconds,
            "rates": {stage: self.rate(stage) for stage in self.seconds},
            "process_cpu_seconds": self.cpu_seconds,
            "process_peak_bytes": self.peak_bytes,
            "times_floor": self.times_floor,
            "loop_charges": self.loop_charges,
            "loop_rates": {loop: self.loop_charges / taken for loop, taken in self.loop_seconds.items()},
            "times_loops": {loop: self.times_loop(loop) for loop in self.loop_seconds},
            "accrue_times_loops": {loop: self.times_loop(loop, "accrue") for loop in self.loop_seconds},
        }


# --- measuring ------------------------------------------------------------------------------------------------


def measure(loans: Loans, folder: Path, repeat: int, seconds: float) -> Result:
    """Measure one shape, whose files are in the folder; raises RuntimeError where a program fails or disagrees."""
    rounds = [_round(loans, folder, seconds) for _ in range(repeat)]

    def middle(figure: Callable[[Round], float]) -> float:
        return median(map(figure, rounds))

    def middle_of(stage: str, figure: str) -> float:
        return middle(lambda done: done.stages[stage][figure])

    result = Result(loans)
    timed = [name for name in loans.stages if name != "loops"]
    counts = {rounds[0].stages[name]["charges"] for name in timed}
    if len(counts) != 1:
        raise RuntimeError(f"{loans.name}: the stages differ in how many charges there are: {counts}")
    result.charges = counts.pop()
    for name in timed:
        result.seconds[name] = middle_of(name, "seconds")
    found = rounds[0].stages.get("loops", {})
    result.loop_charges = found.get("charges", 0)
    for loop in [loop for loop in LOOPS if loop in found]:
        result.loop_seconds[loop] = middle_of("loops", loop)
    if loans.has_process:
        result.seconds["process"] = middle(lambda done: done.process.seconds)
        result.seconds["floor"] = middle(lambda done: done.floor.seconds - done.floor.answer["seconds_outside"])
        result.cpu_seconds = middle(lambda done: done.process.cpu_seconds)
        result.peak_bytes = middle(lambda done: done.process.peak_bytes)
    return result


@dataclass(frozen=True)
class Round:
    """Every program once: what each stage answered; what the command and the floor beside it took."""

    stages: dict[str, dict[str, Any]]
    process: Run
    floor: Run


def _round(loans: Loans, folder: Path, seconds: float) -> Round:
    arguments = (folder, loans.name, loans.until.isoformat(), seconds, *loans.stages)
    stages = run(python("bench.interest_stages", *arguments), prints_json=True).answer
    none = Run(0, 0, 0, {})
    return Round(stages, *(_process(loans, folder) if loans.has_process else (none, none)))


def _process(loans: Loans, folder: Path) -> tuple[Run, Run]:
    """The command as a user runs it, into a folder that does not exist yet; and a floor beside it."""
    events, outputs, scratch = folder / "events.parquet", folder / "outputs", folder / "scratch"
    options = ["--rates", folder / "rates.csv", "--interest-policy", loans.policy]
    options += ["--as-at", loans.until.isoformat(), "--out", outputs]
    command = [sys.executable, "-c", START_COMMAND, "interest", "accrue", events, *options]
    process = run([str(word) for word in command])
    scratch.mkdir()
    floor = run(python("bench.peers", "floor", events, outputs, scratch), prints_json=True)
    shutil.rmtree(scratch)
    shutil.rmtree(outputs)
    return process, floor


# --- showing --------------------------------------------------------------------------------------------------


def _millions(stage: str, pattern: str = "{:.2f}") -> Callable[[Result], str]:
    return lambda result: _text(result.rate(stage), pattern, 1e6)


def _times(loop: str) -> Callable[[Result], str]:
    return lambda result: _text(result.times_loop(loop), "{:.2f} x")


def _text(value: float | None, pattern: str, unit: float = 1) -> str:
    return "-" if value is None else pattern.format(value / unit)


COLUMNS: tuple[tuple[str, str, Callable[[Result], str]], ...] = (
    ("Shape", "aim", lambda r: f"{r.loans.name}: {r.loans.title}"),
    ("Charges", "", lambda r: f"{r.charges:,}"),
    ("Engine\nM rows/s", ">= 1.0", _millions("engine")),
    ("Accrual\nM rows/s", "", _millions("accrue")),
    ("Compared\nM rows/s", "", _millions("reperform", "{:.3f}")),
    ("Process\nseconds", "one: < 2", lambda r: _text(r.seconds.get("process"), "{:.2f}")),
    ("CPU\nseconds", "", lambda r: _text(r.cpu_seconds, "{:.2f}")),
    ("Peak\nGB", "", lambda r: _text(r.peak_bytes, "{:.2f}", 1e9)),
    ("Floor\nseconds", "", lambda r: _text(r.seconds.get("floor"), "{:.2f}")),
    ("Process\n/ floor", "", lambda r: _text(r.times_floor, "{:.1f}")),
    ("Engine /\ninteger loop", "", _times("integer")),
    ("Engine / loop\nthat keeps rows", "", _times("rows")),
    ("Engine /\nDecimal loop", "", _times("decimal")),
)
"""Heading, aim and text of each column."""

EXPLANATION = """\
Every position is open to the end, with three fills; the rate of every currency changes hourly. A row is one charge.

- *Engine*: from the ledger of the events alone to every charge with its rate and what it is on, in memory.
- *Accrual*: from the events to the events with every charge among them; all is replayed until nothing changes.
- *Compared*: as many rows of the exchange, as CSV, re-performed from file to file; all of them agree.
- *Process*: `margin-ledger interest accrue`, Parquet and CSV in, Parquet out, start-up included.
- *Floor*: a process that reads the same events and writes as many rows of the same width: the command's own.
- *Integer loop*, *Decimal loop*: plain Python with whole numbers or `decimal.Decimal`, in memory, on the first
  million charges. They keep the amounts alone; the *loop that keeps rows* also keeps, as columns of the same types,
  the loan, the hour, what is owed and the rate. In the same run every charge is compared, digit by digit.
- *Engine / loop*: charges per second of the engine, against those of the loop; below 1 the loop is faster."""


def report_of(results: list[Result], facts: dict[str, str]) -> Report:
    """The table, the aims last, and everything measured."""
    rows = [[text(result) for _, _, text in COLUMNS] for result in results] + [[aim for _, aim, _ in COLUMNS]]
    headings = [heading for heading, _, _ in COLUMNS]
    return Report(headings, rows, EXPLANATION, [result.measured() for result in results], facts)


@click.command()
@click.option("--smoke", is_flag=True, help="Tiny files, one round: does it all work?")
@click.option("--shapes", multiple=True, type=click.Choice(list(SHAPES)), help="Only these; may be repeated.")
@click.option("--repeat", default=1, show_default=True, type=click.IntRange(1), help="Rounds per shape.")
@click.option("--markdown", type=click.Path(path_type=Path), help="Write the table as Markdown.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write all numbers as JSON.")
def interest(
    *, smoke: bool, shapes: tuple[str, ...], repeat: int, markdown: Path | None, json_file: Path | None
) -> None:
    """Measure interest, shape by shape. Files go to the temporary folder."""
    results = []
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        chosen = [SHAPES[name].tiny() if smoke else SHAPES[name] for name in shapes or SHAPES]
        run(python("bench.interest_shapes", folder, int(smoke), *(loans.name for loans in chosen)))
        for loans in chosen:
            click.echo(f"measuring {loans.name}", err=True)
            results.append(measure(loans, Path(folder, loans.name), 1 if smoke else repeat, 0 if smoke else SECONDS))
    report = report_of(results, machine())
    report.show()
    report.write(markdown, json_file)
