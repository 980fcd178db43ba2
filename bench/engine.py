"""The engine alone, without files: typed events to the ledger, and on to postings, positions and checks.

Run as a module: `python -m bench.engine EVENTS REPEAT` prints the seconds of each repetition.
"""

import json
import sys
import time
from collections.abc import Callable

import polars as pl

import ledger
from ledger.ordering import index_positions, typed_events, with_positions
from ledger.replay import ledger_of, replay_parts


def only_ledger(events: pl.DataFrame) -> pl.DataFrame:
    """Typed events in file order to the ledger: positions found, events ordered, every part accounted for."""
    policies, index = ledger.Policies(), index_positions(events)
    return ledger_of(replay_parts(with_positions(events, index), policies), index, policies)


def main(events_file: str, repeat: int) -> dict[str, list[float]]:
    """Seconds of each repetition, the two stages in turn, after one run that does not count."""
    events = typed_events(pl.read_parquet(events_file))
    stages: dict[str, Callable[[pl.DataFrame], object]] = {"ledger": only_ledger, "all": ledger.replay}
    taken: dict[str, list[float]] = {name: [] for name in stages}
    for repetition in range(repeat + 1):
        for name, stage in stages.items():
            started = time.perf_counter()
            stage(events)
            if repetition:
                taken[name].append(time.perf_counter() - started)
    return taken


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], int(sys.argv[2]))))
