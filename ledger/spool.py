"""Events on their way from files to the replay: held in memory while they are few, else on disk by position."""

from collections.abc import Iterator
from pathlib import Path

import polars as pl

from ledger.ordering import POSITION_KEY, index_positions, position_name, with_positions
from ledger.reading import EVENTS_SCHEMA

HELD_EVENTS = 1_000_000
"""Events kept in memory before they go to disk."""
_ROW_GROUP = 50_000

BATCH_EVENTS = 250_000
"""Events replayed together, unless one position has more: few enough that memory is used again, not asked for."""


class Spool:
    """Collects batches of typed events in file order and gives them back in batches of whole positions.

    `folder` receives the files when there are more than `HELD_EVENTS` events.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._waiting: list[pl.DataFrame] = []
        self._files: list[Path] = []
        self._counts: list[pl.DataFrame] = []
        self._hashes: list[pl.Series] = []

    def add(self, events: pl.DataFrame) -> None:
        """Take the next batch of typed events."""
        if events.is_empty():
            return
        self._counts.append(events.group_by(POSITION_KEY).len("events"))
        self._hashes.append(events["event_id"].hash())
        self._waiting.append(events)
        if sum(batch.height for batch in self._waiting) > HELD_EVENTS:
            self._to_disk()

    def index(self) -> pl.DataFrame:
        """One row per position (see `ordering.index_positions`), with the count of its `events`."""
        if not self._counts:
            return index_positions(pl.DataFrame(schema=dict.fromkeys(POSITION_KEY, pl.String))).with_columns(
                events=pl.lit(0, pl.UInt32)
            )
        counts = pl.concat(self._counts).group_by(POSITION_KEY).agg(pl.col("events").sum())
        return index_positions(counts).join(counts, on=POSITION_KEY, how="left", maintain_order="left")

    def repeated(self) -> pl.DataFrame:
        """All events whose identifier stands more than once, in file order; found by hash, proved by the text."""
        hashes = pl.concat(self._hashes) if self._hashes else pl.Series(dtype=pl.UInt64)
        if hashes.n_unique() == hashes.len():
            return EVENTS_SCHEMA.to_frame()
        doubtful = hashes.filter(hashes.is_duplicated()).unique().implode()
        suspects = [batch.filter(pl.col("event_id").hash().is_in(doubtful)) for batch in self._stored()]
        return pl.concat(suspects).filter(pl.col("event_id").is_duplicated()).sort("input", "row")

    def batches(self, index: pl.DataFrame, size: int) -> Iterator[pl.DataFrame]:
        """The events, with what `index` says of their positions, in batches of whole positions.

        A batch has at most `size` events, or one account and instrument; positions follow each other by name, the
        events of one stand in file order.
        """
        number = pl.col("position_number")
        pairs = index.group_by(pl.struct("account", "instrument").rle_id(), maintain_order=True).agg(
            first=number.first(), last=number.last(), events=pl.col("events").sum()
        )
        taken = batch_ranges(pairs["events"].to_list(), size)
        ranges = [(pairs["first"][first], pairs["last"][last]) for first, last in taken]
        if self._files:
            self._to_disk()
            stored = pl.scan_parquet(self._files)
            for first, last in ranges:
                low, high = (pl.lit(index["position"][number]) for number in (first, last))
                chosen = stored.filter(pl.col("position").is_between(low, high))
                yield with_positions(chosen.drop("position").collect(), index[first : last + 1])
        elif self._waiting:
            placed = with_positions(pl.concat(self._waiting), index)
            start = 0
            for first, last in ranges:
                length = int(index["events"][first : last + 1].sum())
                yield placed[start : start + length]
                start += length

    def _stored(self) -> Iterator[pl.DataFrame]:
        for file in self._files:
            yield pl.read_parquet(file).drop("position")
        yield from self._waiting

    def _to_disk(self) -> None:
        if not self._waiting:
            return
        file = self._folder / f"events_{len(self._files):06}.parquet"
        events = pl.concat(self._waiting).with_columns(position_name().alias("position"))
        # Sorted by position, so that a batch of positions is read from few row groups.
        events.sort("position", maintain_order=True).write_parquet(file, compression="lz4", row_group_size=_ROW_GROUP)
        self._files.append(file)
        self._waiting.clear()


def batch_ranges(counts: list[int], size: int) -> list[tuple[int, int]]:
    """First and last of the consecutive things that are taken together, at most `size` by their counts, or one."""
    ranges: list[tuple[int, int]] = []
    held = 0
    for number, count in enumerate(counts):
        if ranges and held + count <= size:
            ranges[-1], held = (ranges[-1][0], number), held + count
        else:
            ranges.append((number, number))
            held = count
    return ranges
