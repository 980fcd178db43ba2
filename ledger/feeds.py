"""Files of several layouts, told apart by the names of their columns, as rows with columns of our own."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl

from ledger.cells import Reason, empty_cells, mixed_zones, type_table
from ledger.columns import Column
from ledger.formats import OpenedFile, opened
from ledger.interest.columns import UNITS
from ledger.json_files import Record, keys_of, record_batches
from ledger.layout import Feed, canonical, nearest, places, recognised
from ledger.refusals import REFUSAL_SCHEMA, BadInput, refuse_file
from ledger.rules import Refused, Rule, broken_rules, refusals_of
from ledger.tables import IS_MISSING, RawBatch, Table, refusals_frame

__all__ = ["NO_UNIT", "Feed", "FeedRows", "FileRows", "canonical", "read_feed", "read_files"]

_BATCH_ROWS = 1_000_000
_SHOWN = 200  # characters of a refused value
NO_UNIT = Reason(
    "A rate without a known unit is an input error: a guess would be wrong 24-fold or 8760-fold.",
    f"Give each rate its unit: {', '.join(UNITS)}.",
)


@dataclass(frozen=True)
class FeedRows:
    """The good rows of a file, columns of ours and `row`; all its refusals; how many rows are of another kind."""

    feed: Feed | None
    rows: pl.DataFrame
    refusals: pl.DataFrame
    left_out: int = 0


@dataclass(frozen=True)
class FileRows:
    """What a file holds: a part for each layout in it, whose rows have the columns it gives, `input` and `row`.

    `number` is that of the file, from 1, and stands in `input`; `refusals` are all of the file.
    """

    path: Path
    number: int
    parts: tuple[FeedRows, ...]
    refusals: pl.DataFrame


def read_feed(path: Path, feeds: tuple[Feed, ...], columns: tuple[Column, ...], rules: Mapping[str, Rule]) -> FeedRows:
    """The rows of a file in its order, in `columns` and `row`. What is wrong is in `refusals`; nothing is raised."""
    feed = None
    try:
        with opened(path) as file:
            feed = recognised(path, file.names(), feeds)
            batches = list(file.batches(feed.table(columns), _BATCH_ROWS))
    except BadInput as bad:
        refusals = _explained(bad.refusals, feed) if feed else bad.refusals
        return FeedRows(feed, _schema(columns).to_frame(), refusals)
    return _typed(path, feed, batches, columns, rules)


def _schema(columns: tuple[Column, ...]) -> pl.Schema:
    return pl.Schema({**{column.name: column.dtype for column in columns}, "row": pl.UInt32})


def _typed(
    path: Path, feed: Feed, batches: Sequence[RawBatch], columns: tuple[Column, ...], rules: Mapping[str, Rule]
) -> FeedRows:
    """Raw rows of one layout as rows of ours."""
    table = feed.table(columns)
    nothing = pl.DataFrame(schema={"row": pl.UInt32, **dict.fromkeys(table.required, pl.String)})
    given = pl.concat([batch.frame for batch in batches]) if batches else nothing
    raw = _kept(given, feed, table)
    typed, refused = type_table(raw, table.columns)
    rows = typed.select(*(feed.value(column) for column in columns), "row")
    refusals = refusals_of(str(path), raw, refused + _broken(raw, rows, feed, rules, refused))
    good = rows.join(refusals, on="row", how="anti", maintain_order="left") if refusals.height else rows
    every = pl.concat([*(batch.refusals for batch in batches), refusals]).sort("row", maintain_order=True)
    return FeedRows(feed, good, _explained(every, feed), given.height - raw.height)


def _kept(raw: pl.DataFrame, feed: Feed, table: Table) -> pl.DataFrame:
    if feed.keeps is None:
        return raw
    asked = tuple(column for column in table.columns if column.name in feed.keeps.meta.root_names())
    kept = type_table(raw, asked)[0].select(feed.keeps.fill_null(False)).to_series()
    return raw.filter(kept)


def _broken(
    raw: pl.DataFrame, rows: pl.DataFrame, feed: Feed, rules: Mapping[str, Rule], refused: list[Refused]
) -> list[Refused]:
    """What is refused besides cells that have no value of their type, in columns of the file."""
    empty = empty_cells(raw, feed.needs)
    time = feed.names.get("time")
    zones = mixed_zones(raw.select(time=time), rows, None)[0] if time in raw.columns and "time" in rows.columns else []
    before = [*(feed.ours(cells) for cells in refused + empty), *zones]
    broken = zones + broken_rules(rows, {**feed.rules, **rules}, before)
    return empty + [feed.theirs(cells) for cells in broken]


def _explained(refusals: pl.DataFrame, feed: Feed) -> pl.DataFrame:
    """The refusals, with the reason for a needed column where one is missing, and for a unit in any case."""
    column, rule = pl.col("column"), pl.col("rule")
    shown = pl.col("value").str.len_chars() > _SHOWN
    refusals = refusals.with_columns(
        value=pl.when(shown).then(pl.col("value").str.slice(0, _SHOWN) + " ...").otherwise("value")
    )
    absent = (rule == IS_MISSING) | (rule == pl.format("Every row needs {}.", column))
    reasons = [(name, reason, absent) for name, reason in feed.missing.items()]
    reasons += [(feed.names["unit"], NO_UNIT, pl.lit(True))] if "unit" in feed.names else []
    for name, reason, holds in reasons:
        says = holds & (column == name)
        refusals = refusals.with_columns(
            rule=pl.when(says).then(pl.lit(reason.rule)).otherwise(rule),
            remedy=pl.when(says).then(pl.lit(reason.remedy)).otherwise("remedy"),
        )
    return refusals


# --- several files, several layouts -------------------------------------------------------------------------


def read_files(
    paths: Sequence[Path],
    feeds: tuple[Feed, ...],
    rules: Mapping[tuple[Column, ...], Mapping[str, Rule]],
    folder: Path,
    forced: str | None = None,
    progress: Callable[[str, int, int], None] = lambda stage, done, total: None,
) -> list[FileRows]:
    """All rows of files of any name, format and layout, packed or not; nothing is raised, refusals are in the parts.

    A table has one layout. Each record of JSON goes to the first feed of whose columns `known_by` it has all filled.
    `rules` are those of the columns that feeds give, besides their own. What is packed is unpacked into `folder`, and
    removed again. `forced` is the name of the layout of all files. `progress` is told the rows read so far.
    """
    found = []
    done = 0
    for number, path in enumerate(paths, start=1):
        found.append(_read_file(Path(path), number, feeds, rules, folder, forced))
        done += sum(part.rows.height + part.left_out for part in found[-1].parts)
        progress("Reading", done, 0)
    return found


def _read_file(
    path: Path,
    number: int,
    feeds: tuple[Feed, ...],
    rules: Mapping[tuple[Column, ...], Mapping[str, Rule]],
    folder: Path,
    forced: str | None,
) -> FileRows:
    try:
        chosen = _chosen(path, feeds, forced)
        with opened(path, folder, any_name=True) as file:
            parts, lost = _parts(path, file, chosen, forced is not None)
    except BadInput as bad:
        return FileRows(path, number, (), bad.refusals)
    typed = [_typed(path, feed, batches, feed.gives, rules.get(feed.gives, {})) for feed, batches in parts]
    numbered = tuple(
        replace(part, rows=part.rows.with_columns(pl.lit(number, dtype=pl.UInt16).alias("input"))) for part in typed
    )
    refusals = pl.concat([REFUSAL_SCHEMA.to_frame(), lost, *(part.refusals for part in typed)])
    return FileRows(path, number, numbered, refusals.sort("row", nulls_last=False, maintain_order=True))


def _chosen(path: Path, feeds: tuple[Feed, ...], forced: str | None) -> tuple[Feed, ...]:
    """The feeds of the name that is forced, or all."""
    chosen = feeds if forced is None else tuple(feed for feed in feeds if feed.name == forced)
    if not chosen:
        names = ", ".join(dict.fromkeys(feed.name for feed in feeds))
        raise refuse_file(str(path), f"There is no layout {forced}.", f"Choose from: {names}.")
    return chosen


_Parts = list[tuple[Feed, list[RawBatch]]]


def _parts(path: Path, file: OpenedFile, feeds: tuple[Feed, ...], is_forced: bool) -> tuple[_Parts, pl.DataFrame]:
    """The raw rows of a file by layout, and the refusals of those that have none. Raises BadInput."""
    records = file.records()
    if records is not None:
        return _shared_out(path, list(records), feeds, is_forced)
    try:
        feed = recognised(path, file.names(), feeds)
    except BadInput:
        if not is_forced:
            raise
        feed = feeds[0]  # which says what columns are missing
    batches = list(file.batches(feed.table(feed.gives), _BATCH_ROWS))
    return [(feed, batches)], refusals_frame([])


def _shared_out(
    path: Path, records: list[Record], feeds: tuple[Feed, ...], is_forced: bool
) -> tuple[_Parts, pl.DataFrame]:
    """Records by layout, and refusals of those of none; BadInput where all are."""
    found: Sequence[int | None] = places([record for _, record, _ in records], feeds)
    if is_forced:
        found = [place or 0 for place in found]
    known = sorted({place for place in found if place is not None})
    if len(known) == 1:
        found = known * len(found)  # a record that lacks what tells its layout is one like the others
    keys = keys_of(record for _, record, _ in records)
    if keys and not known:
        raise refuse_file(str(path), "The keys are those of no known file.", nearest(set(keys), feeds))
    shared: dict[int | None, list[Record]] = {place: [] for place in (*known, None)}
    for place, record in zip(found, records, strict=True):
        shared[place].append(record)
    lost = [refusal for record in shared.pop(None) for refusal in _lost(path, record)]
    parts = [(feeds[place], _batches(path, feeds[place], own)) for place, own in shared.items() if place is not None]
    return parts, refusals_frame(lost)


def _batches(path: Path, feed: Feed, records: list[Record]) -> list[RawBatch]:
    table, keys = feed.table(feed.gives), keys_of(record for _, record, _ in records)
    if keys:  # else no record is one, and each is refused
        table.check_names(str(path), [name for name in table.names if name in keys])
    return list(record_batches(records, str(path), table, _BATCH_ROWS))


def _lost(path: Path, record: Record) -> list[tuple[str | int | None, ...]]:
    """Refusals of a record of no known layout: for what is wrong with it by itself, or else for that."""
    row, value, problems = record
    if not problems:
        shown = ", ".join(value) if isinstance(value, dict) else ascii(value)
        rule = "The record is of no known layout."
        problems = [(None, shown[:_SHOWN], rule, "Give it in a file of its own, and name its layout.")]
    return [(str(path), row, *problem) for problem in problems]
