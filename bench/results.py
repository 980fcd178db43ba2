"""What a measurement found, and how it is shown: on a terminal, as Markdown and as JSON."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass
class Result:
    """The medians of one shape. Rates are events per second; a peer that was left out has none."""

    shape: str
    title: str
    events: int
    engine_rate: float
    engine_all_rate: float
    process_seconds: float
    process_cpu_seconds: float
    process_peak_bytes: float
    floor_seconds: float
    sample_events: int
    peer_rates: dict[str, float]

    @property
    def process_rate(self) -> float:
        """Events per second of the whole process, Parquet to Parquet."""
        return self.events / self.process_seconds

    @property
    def times_floor(self) -> float:
        """How many times as long as the floor the process takes."""
        return self.process_seconds / self.floor_seconds

    def times_peer(self, peer: str) -> float | None:
        """How many times as many events a second as the peer the whole process does."""
        rate = self.peer_rates.get(peer)
        return self.process_rate / rate if rate else None


def _faster(peer: str, pattern: str) -> Callable[[Result], str]:
    def text(result: Result) -> str:
        times = result.times_peer(peer)
        return "-" if times is None else pattern.format(times)

    return text


COLUMNS: tuple[tuple[str, str, Callable[[Result], str]], ...] = (
    ("Shape", "aim", lambda r: f"{r.shape}: {r.title}"),
    ("Events", "", lambda r: f"{r.events:,}"),
    ("Engine, ledger\nM events/s", ">= 2.0", lambda r: f"{r.engine_rate / 1e6:.2f}"),
    ("Engine, all\nM events/s", "", lambda r: f"{r.engine_all_rate / 1e6:.2f}"),
    ("Process\nseconds", "", lambda r: f"{r.process_seconds:.2f}"),
    ("CPU\nseconds", "", lambda r: f"{r.process_cpu_seconds:.2f}"),
    ("Peak\nGB", "< 3", lambda r: f"{r.process_peak_bytes / 1e9:.2f}"),
    ("Floor\nseconds", "", lambda r: f"{r.floor_seconds:.2f}"),
    ("Process\n/ floor", "<= 3", lambda r: f"{r.times_floor:.1f}"),
    ("Faster than\nDecimal loop", ">= 4", _faster("decimal", "{:.1f} x")),
    ("Faster than\nhledger", "", _faster("hledger", "{:.0f} x")),
    ("Faster than\nledger-cli", ">= 30", _faster("ledger-cli", "{:.0f} x")),
)
"""Heading, aim and text of each column."""

EXPLANATION = """\
Medians of one run, in which the programs took turns.

- *Engine, ledger*: typed events in memory to the ledger, ordering included; *all*: on to postings, positions
  and checks.
- *Process*: `margin-ledger replay`, Parquet in, Parquet out, start-up included.
- *Floor*: a process that reads the same events and writes as many rows of the same width: the replay's own.
- *Decimal loop*: the loop alone, without reading or writing, on a smaller file of the same shape. In the same
  run its balances are compared with the engine's, digit by digit.
- *hledger*, *ledger-cli*: printing the balances from the postings of that smaller file.
- *Faster than*: events per second of the whole process, against those of the peer."""


@dataclass(frozen=True)
class Report:
    """A table as text, what its columns mean, and all that was measured. A heading may have a line break."""

    headings: list[str]
    rows: list[list[str]]
    explanation: str
    measured: list[dict[str, Any]]
    machine: dict[str, str]

    def show(self) -> None:
        """Show the table on the terminal; its last row, the aims, stands apart."""
        from rich.console import Console
        from rich.table import Table

        table = Table(caption=self._facts)
        for index, heading in enumerate(self.headings):
            table.add_column(heading, justify="left" if index == 0 else "right")
        for cells in self.rows[:-1]:
            table.add_row(*cells)
        table.add_section()
        table.add_row(*self.rows[-1])
        console = Console()
        # Into a file or a pipe the table is not squeezed into the 80 columns of a terminal that is not there.
        (console if console.is_terminal else Console(width=170)).print(table)

    def write(self, markdown: Path | None, json_file: Path | None) -> None:
        """Write the table and what its columns mean as Markdown, and all that was measured as JSON, where asked for."""
        if markdown:
            markdown.write_text(self._markdown(), encoding="utf-8")
        if json_file:
            found = {"machine": self.machine, "results": self.measured}
            json_file.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")

    @property
    def _facts(self) -> str:
        return ", ".join(f"{name} {value}" for name, value in self.machine.items())

    def _markdown(self) -> str:
        headings = [heading.replace("\n", " ") for heading in self.headings]
        lines = [headings, ["---", *["---:"] * (len(headings) - 1)], *self.rows]
        table = "\n".join("| " + " | ".join(cells) + " |" for cells in lines)
        return f"{table}\n\nMachine: {self._facts}.\n\n{self.explanation}\n"


def report_of(results: list[Result], machine: dict[str, str]) -> Report:
    """The table of a replay's measurements, the aims last, and everything measured, with the ratios."""
    measured: list[dict[str, Any]] = [
        {
            **asdict(result),
            "process_rate": result.process_rate,
            "times_floor": result.times_floor,
            "times_peers": {peer: result.times_peer(peer) for peer in result.peer_rates},
        }
        for result in results
    ]
    rows = [[text(result) for _, _, text in COLUMNS] for result in results] + [[aim for _, aim, _ in COLUMNS]]
    return Report([heading for heading, _, _ in COLUMNS], rows, EXPLANATION, measured, machine)
