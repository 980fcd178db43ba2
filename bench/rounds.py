"""The rounds of a measurement: every program once per round, in turn, so that none has the better hour."""

import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from bench.measure import Run, python, run
from bench.peers import journal_command
from bench.results import Result
from bench.shapes import Shape

SAMPLE_EVENTS = 20_000
START_COMMAND = "from reports.command_line import main; main()"


@dataclass(frozen=True)
class Files:
    """The files of one shape: the events, a smaller sample for slow peers, and what replaying them gave."""

    events: Path
    outputs: Path
    sample: Path
    sample_outputs: Path
    journal: Path
    balances: Path
    scratch: Path


def measure(shape: Shape, folder: Path, peers: list[str], repeat: int) -> Result:
    """Measure one shape in an empty folder; raises RuntimeError where a program fails or disagrees."""
    files = _prepare(shape, folder)
    rounds = [_round(files, peers) for _ in range(repeat)]
    if "decimal" in peers:
        run(python("bench.peers", "compare", files.balances, files.sample_outputs))
    return _summarise(shape, files, rounds, peers)


def _prepare(shape: Shape, folder: Path) -> Files:
    """Write the events of the shape and of its sample, replay both, and write the sample's journal."""
    factor = shape.events // SAMPLE_EVENTS
    names = ("sample.parquet", "sample") if factor > 1 else ("events.parquet", "outputs")
    files = Files(
        events=folder / "events.parquet",
        outputs=folder / "outputs",
        sample=folder / names[0],
        sample_outputs=folder / names[1],
        journal=folder / "sample.journal",
        balances=folder / "balances.parquet",
        scratch=folder / "scratch",
    )
    _write(shape, files.events)
    _replay(files.events, files.outputs)
    if factor > 1:
        _write(shape.smaller(factor), files.sample)
        _replay(files.sample, files.sample_outputs)
    run(python("bench.peers", "journal", files.sample_outputs, files.journal))
    return files


def _write(shape: Shape, events: Path) -> None:
    run(python("bench.shapes", shape.name, shape.positions, shape.events_each, events))


def _replay(events: Path, outputs: Path) -> Run:
    """The command as a user runs it, into a folder that does not exist yet."""
    shutil.rmtree(outputs, ignore_errors=True)
    return run([sys.executable, "-c", START_COMMAND, "replay", str(events), "--out", str(outputs)])


def _round(files: Files, peers: list[str]) -> dict[str, Run]:
    """Every program once."""
    done = {
        "engine": run(python("bench.engine", files.events, 1), prints_json=True),
        "process": _replay(files.events, files.outputs),
    }
    files.scratch.mkdir()
    done["floor"] = run(python("bench.peers", "floor", files.events, files.outputs, files.scratch), prints_json=True)
    shutil.rmtree(files.scratch)
    for peer in peers:
        if peer == "decimal":
            done[peer] = run(python("bench.decimal_loop", files.sample, files.balances), prints_json=True)
        else:
            done[peer] = run(journal_command(peer, files.journal))
    return done


def _summarise(shape: Shape, files: Files, rounds: list[dict[str, Run]], peers: list[str]) -> Result:
    """The medians over the rounds."""

    def middle(program: str, figure: Callable[[Run], float]) -> float:
        return median(figure(done[program]) for done in rounds)

    events, sample_events = (
        run(python("bench.peers", "height", file), prints_json=True).answer["rows"]
        for file in (files.events, files.sample)
    )
    seconds = {peer: middle(peer, lambda done: done.answer.get("seconds", done.seconds)) for peer in peers}
    return Result(
        shape=shape.name,
        title=shape.title,
        events=events,
        engine_rate=events / middle("engine", lambda done: median(done.answer["ledger"])),
        engine_all_rate=events / middle("engine", lambda done: median(done.answer["all"])),
        process_seconds=middle("process", lambda done: done.seconds),
        process_cpu_seconds=middle("process", lambda done: done.cpu_seconds),
        process_peak_bytes=middle("process", lambda done: done.peak_bytes),
        floor_seconds=middle("floor", lambda done: done.seconds - done.answer["seconds_outside"]),
        sample_events=sample_events,
        peer_rates={peer: sample_events / taken for peer, taken in seconds.items()},
    )
