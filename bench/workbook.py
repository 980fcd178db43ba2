"""`python -m bench workbook`: the same 20 columns written by this project, by XlsxWriter and by openpyxl."""

import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import click

from bench.measure import Run, machine, python, run
from bench.results import Report

WRITERS = {
    "ours": "this project",
    "xlsxwriter": "XlsxWriter, constant memory",
    "openpyxl": "openpyxl, write-only, named styles",
}
COLUMNS = 20
ROWS, ROWS_MANY = 100_000, 1_000_000
SMOKE_FACTOR = 200


@dataclass(frozen=True)
class Result:
    """The medians of one writer and number of rows; `times_ours` where this project wrote the same rows."""

    writer: str
    rows: int
    seconds: float
    cpu_seconds: float
    peak_bytes: float
    file_bytes: float
    times_ours: float

    def measured(self) -> dict[str, Any]:
        """Everything."""
        return {**vars(self), "title": WRITERS[self.writer]}


def measure(folder: Path, rows: int, writers: list[str], repeat: int) -> list[Result]:
    """Every writer once per round, in turn; raises RuntimeError where one fails."""
    source = folder / "rows.parquet"
    run(python("bench.workbook_writers", "make", rows, source))
    rounds = [{writer: _run(writer, source, folder / "out") for writer in writers} for _ in range(repeat)]

    def middle(writer: str, figure: Callable[[Run], float]) -> float:
        return median(figure(done[writer]) for done in rounds)

    return [
        Result(
            writer=writer,
            rows=rows,
            seconds=middle(writer, lambda done: done.seconds),
            cpu_seconds=middle(writer, lambda done: done.cpu_seconds),
            peak_bytes=middle(writer, lambda done: done.peak_bytes),
            file_bytes=middle(writer, lambda done: done.answer["bytes"]),
            times_ours=middle(writer, lambda done: done.seconds) / middle("ours", lambda done: done.seconds),
        )
        for writer in writers
    ]


def _run(writer: str, source: Path, out: Path) -> Run:
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    return run(python("bench.workbook_writers", writer, source, out / "book.xlsx"), prints_json=True)


# --- showing --------------------------------------------------------------------------------------------------

AIMS = {
    ("ours", ROWS): "< 400 MB",
    ("ours", ROWS_MANY): "< 60 s",
    ("xlsxwriter", ROWS): ">= 2 x",
    ("openpyxl", ROWS): ">= 5 x",
}
SHOWN: tuple[tuple[str, Callable[[Result], str]], ...] = (
    ("Writer", lambda r: WRITERS[r.writer]),
    ("Rows", lambda r: f"{r.rows:,}"),
    ("Seconds", lambda r: f"{r.seconds:.2f}"),
    ("CPU\nseconds", lambda r: f"{r.cpu_seconds:.2f}"),
    ("Peak\nMB", lambda r: f"{r.peak_bytes / 1e6:.0f}"),
    ("File\nMB", lambda r: f"{r.file_bytes / 1e6:.1f}"),
    ("Microseconds\na cell", lambda r: f"{r.seconds / r.rows / COLUMNS * 1e6:.2f}"),
    ("Time against\nours", lambda r: f"{r.times_ours:.1f} x"),
    ("Aim", lambda r: AIMS.get((r.writer, r.rows), "")),
)
"""Heading and text of each column."""

EXPLANATION = """\
The same cells by every writer, each in a process of its own, start-up and reading the rows included: rows of 12 exact
amounts with number formats, 4 texts and 4 formulas, from Parquet read 10,000 rows at a time. This project and
XlsxWriter write the formulas' values beside them, openpyxl cannot; this project alone makes a table of the rows."""


def report_of(results: list[Result], facts: dict[str, str]) -> Report:
    """The table, and everything measured."""
    rows = [[text(result) for _, text in SHOWN] for result in results]
    return Report([heading for heading, _ in SHOWN], rows, EXPLANATION, [one.measured() for one in results], facts)


@click.command()
@click.option("--smoke", is_flag=True, help="Few rows, one round: does it all work?")
@click.option("--repeat", default=3, show_default=True, type=click.IntRange(1), help="Rounds.")
@click.option("--markdown", type=click.Path(path_type=Path), help="Write the table as Markdown.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write all numbers as JSON.")
def workbook(*, smoke: bool, repeat: int, markdown: Path | None, json_file: Path | None) -> None:
    """Measure writing workbooks against XlsxWriter and openpyxl. Files go to the temporary folder."""
    factor, rounds = (SMOKE_FACTOR, 1) if smoke else (1, repeat)
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        results = measure(Path(folder), ROWS // factor, list(WRITERS), rounds)
        results += measure(Path(folder), ROWS_MANY // factor, ["ours"], rounds)
    report = report_of(results, machine())
    report.show()
    report.write(markdown, json_file)
