"""The tiers file: an exchange's answer, its announcements, or tables of our own, as tiers in force from a time on."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import polars as pl

from ledger.columns import TIME
from ledger.feeds import Feed
from ledger.formats import OpenedFile, opened
from ledger.json_files import Problem, Record, record_batches
from ledger.layout import places, recognised
from ledger.refusals import REFUSAL_SCHEMA, BadInput, refuse_file
from ledger.risk import tiers_announcements
from ledger.risk.tiers import KEY, TIERS_SCHEMA, expanded
from ledger.risk.tiers_announcements import announced, is_announcement, shown
from ledger.risk.tiers_rules import CELLS, typed_tiers
from ledger.statements import okx_tiers
from ledger.tables import RawBatch, refusals_frame

_BATCH_ROWS = 1_000_000
_OWN = Feed(
    title="our own",
    known_by=(frozenset({"tier", "maintenance_rate"}),),
    names={column.name: column.name for column in CELLS},
    needs=("instrument", "tier", "maintenance_rate"),
    ignores_others=False,
)
_API = replace(
    okx_tiers.FEED,
    names={**okx_tiers.FEED.names, "tier": "tier", "valid_from": "valid_from", "stated_by": "stated_by"},
    also={"instFamily": pl.String, "uly": pl.String, "ts": TIME},
)
_FEEDS = (_API, _OWN)
_KNOWN = "Give the exchange's answer, announcements with tables such as BTC-USDT_after, or rows of our own columns."


def read_tiers(path: str | Path) -> pl.DataFrame:
    """The tiers of a CSV, Parquet, NDJSON or JSON file, packed or not: a frame of TIERS, one row per tier.

    A file is one of three, or in JSON a list that mixes the first two: the exchange's answer (`okx_tiers`), its
    announcements (`tiers_announcements`), or rows with columns of TIERS, of which an instrument, a tier, a maintenance
    rate and a limit must be given. A rate is a share (0.03) or a percentage (3%). A last row "4+" whose values are
    "+25" stands for all tiers that follow (`tiers.expanded`). Where two statements of an instrument's tiers are
    in force from the same time, the later in the file counts, wholly. In order of instrument, time and tier.
    Raises BadInput with all refusals.
    """
    path = Path(path)
    with opened(path) as file:
        records = file.records()
        part = _from_table(path, file) if records is None else None
        sorted_out = _Sorted(str(path)) if records is None else _sorted_out(str(path), list(records))
    parts = [part] if part is not None else sorted_out.parts()
    found = [typed_tiers(part.raw, str(path)) for part in parts]
    refusals = [
        _placed(pl.concat([part.refusals, refused]), part.feed, sorted_out.where())
        for part, (_, refused) in zip(parts, found, strict=True)
    ]
    refused = pl.concat([refusals_frame(sorted_out.problems), *refusals])
    if refused.height:
        raise BadInput(refused.sort("row", maintain_order=True))
    if not any(rows.height for rows, _ in found):
        raise refuse_file(str(path), "The file has no tiers.", _KNOWN)
    return _in_force(found)


def _in_force(found: Sequence[tuple[pl.DataFrame, pl.DataFrame]]) -> pl.DataFrame:
    """Of the tables of all layouts those that count, with all their tiers."""
    columns = [*TIERS_SCHEMA, "source", "by_size", "is_open"]
    every = pl.concat([rows.select(columns) for rows, _ in found])
    latest = every.filter(pl.col("source") == pl.col("source").max().over(KEY))
    tables = latest.with_columns(table=pl.struct(KEY).rank("dense").cast(pl.UInt32))
    tiers = expanded(tables).sort("instrument", "valid_from", "by_size", "tier", nulls_last=False)
    return tiers.select(pl.col(name).cast(dtype) for name, dtype in TIERS_SCHEMA.items())


# --- raw rows -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Part:
    """The raw rows of one layout under the names of TIERS, with `row` and `source`; refusals by the same `row`."""

    feed: Feed
    raw: pl.DataFrame
    refusals: pl.DataFrame


@dataclass
class _Sorted:
    """The records of a JSON file by layout, numbered anew, and of each number where it stands."""

    file: str
    problems: list[tuple[Any, ...]] = field(default_factory=list)
    records: dict[str, list[Record]] = field(default_factory=dict)
    known: list[tuple[int, int, str | None, int, str | None]] = field(default_factory=list)
    feeds: dict[str, Feed] = field(default_factory=dict)

    def add(self, feed: Feed, record: Any, row: int, place: str | None, source: int, stated_by: str | None) -> None:
        """Take a record that stands in `row` of the file, or within it at `place`."""
        number = len(self.known) + 1
        self.known.append((number, row, place, source, stated_by))
        self.feeds[feed.title] = feed
        self.records.setdefault(feed.title, []).append((number, record, []))

    def refuse(self, row: int, problems: Sequence[Problem]) -> None:
        """Take what is wrong with a record of the file by itself."""
        self.problems += [(self.file, row, *problem) for problem in problems]

    def where(self) -> pl.DataFrame:
        """One row per record: its number `row`, where it stands, which source it is of, and what states it."""
        names = {"row": pl.UInt32, "file_row": pl.UInt32, "place": pl.String, "source": pl.UInt32, "by": pl.String}
        return pl.DataFrame(self.known, schema=names, orient="row")

    def parts(self) -> list[_Part]:
        """The raw rows of each layout."""
        return [self._part(self.feeds[title], records) for title, records in self.records.items()]

    def _part(self, feed: Feed, records: list[Record]) -> _Part:
        batches = list(record_batches(records, self.file, feed.table(CELLS), _BATCH_ROWS))
        part = _part(feed, batches)
        told = part.raw.join(self.where().drop("file_row", "place"), on="row", how="left", maintain_order="left")
        stated = pl.coalesce("by", "stated_by")
        return replace(part, raw=told.with_columns(stated_by=stated))


def _sorted_out(file: str, records: list[Record]) -> _Sorted:
    """The records of a JSON file: of announcements their rows, of an answer that is kept with its source its records.

    Records that stand side by side without a source of their own are one source.
    """
    found, source, was_plain = _Sorted(file), 0, False
    for row, record, problems in records:
        wrapped = isinstance(record, dict) and isinstance(record.get("record"), list)
        is_plain = not wrapped and not is_announcement(record)
        source += not (is_plain and was_plain)
        was_plain = is_plain
        if problems:
            found.refuse(row, problems)
        elif wrapped:
            for number, inner in enumerate(record["record"]):
                _take(found, inner, row, f"record[{number}]", source, _text(record.get("source")))
        elif is_plain:
            _take(found, record, row, None, source, None)
        else:
            told = announced(record)
            found.refuse(row, told.problems)
            for place, cells in told.rows.items():
                found.add(tiers_announcements.FEED, cells, row, place, source, None)
    return found


def _take(found: _Sorted, record: Any, row: int, place: str | None, source: int, stated_by: str | None) -> None:
    """A record of the exchange's answer or of our own, or its refusal."""
    feed = places([record], _FEEDS)[0]
    if feed is None:
        value = shown(", ".join(record) if isinstance(record, dict) else record)
        found.refuse(row, [(place, value, "The record is neither a tier nor an announcement of tiers.", _KNOWN)])
    else:
        found.add(_FEEDS[feed], record, row, place, source, stated_by)


def _from_table(path: Path, file: OpenedFile) -> _Part:
    """The rows of a CSV or Parquet file. Raises BadInput when they are of no known layout."""
    feed = recognised(path, file.names(), _FEEDS)
    part = _part(feed, list(file.batches(feed.table(CELLS), _BATCH_ROWS)))
    return replace(part, raw=part.raw.with_columns(source=pl.lit(1, pl.UInt32)))


def _part(feed: Feed, batches: Sequence[RawBatch]) -> _Part:
    """Raw rows of one layout with our names; of the exchange's answer the family where no instrument is named."""
    nothing = pl.DataFrame(schema={"row": pl.UInt32})
    raw = pl.concat([batch.frame for batch in batches]) if batches else nothing
    names = {theirs: ours for ours, theirs in feed.names.items() if theirs in raw.columns}
    raw = raw.rename(names)
    raw = raw.with_columns(pl.lit(None, pl.String).alias(name) for name in feed.names if name not in raw.columns)
    if feed is _API:
        feed, raw = _of_answer(raw)
    texts = [column.name for column in CELLS if column.name != "valid_from" and column.name in raw.columns]
    raw = raw.with_columns(pl.col(texts).cast(pl.String))
    refusals = pl.concat([REFUSAL_SCHEMA.to_frame(), *(batch.refusals for batch in batches)])
    return _Part(feed, raw, refusals)


def _of_answer(raw: pl.DataFrame) -> tuple[Feed, pl.DataFrame]:
    """Rows of the exchange's answer: of a family where no instrument is named, from the time `ts` where it is added."""
    given = [name for name in ("instrument", "instFamily", "uly") if name in raw.columns]
    raw = raw.with_columns(
        instrument=pl.coalesce(pl.when(pl.col(name) != "").then(name) for name in given),
        stated_by=pl.coalesce("stated_by", pl.lit(_API.title)),
    )
    if "ts" not in raw.columns or raw["valid_from"].null_count() < raw.height:
        return _API, raw
    return replace(_API, names={**_API.names, "valid_from": "ts"}), raw.with_columns(valid_from="ts")


def _placed(refusals: pl.DataFrame, feed: Feed, where: pl.DataFrame) -> pl.DataFrame:
    """The refusals with the names of the file's columns; those of JSON with the place of the record in it."""
    column = pl.col("column").replace(dict(feed.names))
    named = refusals.with_columns(column=column)
    if where.is_empty():
        return named
    placed = named.join(where, on="row", how="left", maintain_order="left")
    within = pl.concat_str("place", "column", separator=".", ignore_nulls=True)
    is_within = pl.col("place").is_not_null()
    return placed.with_columns(
        row=pl.coalesce("file_row", "row"), column=pl.when(is_within).then(within).otherwise("column")
    ).select(REFUSAL_SCHEMA.names())


def _text(value: Any) -> str | None:
    return shown(value) if isinstance(value, str) else None
