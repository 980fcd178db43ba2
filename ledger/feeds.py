"""Files of several layouts, told apart by the names of their columns, as rows with columns of our own."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import polars as pl

from ledger.cells import Reason, empty_cells, mixed_zones, type_table
from ledger.columns import Column
from ledger.formats import column_names, raw_batches
from ledger.interest.columns import UNITS
from ledger.refusals import BadInput, refuse_file
from ledger.rules import Refused, Rule, broken_rules, refusals_of
from ledger.tables import IS_MISSING, Table

_BATCH_ROWS = 1_000_000
NO_UNIT = Reason(
    "A rate without a known unit is an input error: a guess would be wrong 24-fold or 8760-fold.",
    f"Give each rate its unit: {', '.join(UNITS)}.",
)


@dataclass(frozen=True)
class Feed:
    """One layout, known by any of the sets of columns in `known_by`.

    `names` says which column of the file a column of ours comes from; a refusal names that one. `values` has those of
    ours that are computed, from typed columns of the file: those of `names` and those that are read besides, `also`.
    Rows for which `keeps` is not true are left out unread. `missing` explains why a needed column is needed.
    """

    title: str
    known_by: tuple[frozenset[str], ...]
    names: Mapping[str, str]
    needs: tuple[str, ...]
    also: Mapping[str, Any] = field(default_factory=dict)
    values: Mapping[str, pl.Expr] = field(default_factory=dict)
    keeps: pl.Expr | None = None
    rules: Mapping[str, Rule] = field(default_factory=dict)
    missing: Mapping[str, Reason] = field(default_factory=dict)
    ignores_others: bool = True

    def table(self, columns: tuple[Column, ...]) -> Table:
        """The columns of the file that are read, with the types of ours."""
        own = [replace(column, name=self.names[column.name]) for column in columns if column.name in self.names]
        also = [Column(name, dtype, "", "", self.title) for name, dtype in self.also.items()]
        return Table((*own, *also), self.needs, self.ignores_others)

    def value(self, column: Column) -> pl.Expr:
        """A column of ours from the typed columns of the file."""
        if column.name in self.values:
            value = self.values[column.name]
        else:
            value = pl.col(self.names[column.name]) if column.name in self.names else pl.lit(None)
        return value.cast(column.dtype).alias(column.name)

    def ours(self, refused: Refused) -> Refused:
        """A refusal of a file's column as one of the column of ours that comes from it."""
        own = {root: name for name, value in self.values.items() for root in value.meta.root_names()}
        own |= {name: our_name for our_name, name in self.names.items()}
        return replace(refused, column=own.get(refused.column, refused.column))

    def theirs(self, refused: Refused) -> Refused:
        """A refusal of a column of ours as one of the file's column that it comes from."""
        return replace(refused, column=self.names.get(refused.column, refused.column))


@dataclass(frozen=True)
class FeedRows:
    """The good rows of a file, columns of ours and `row`; all its refusals; how many rows are of another kind."""

    feed: Feed | None
    rows: pl.DataFrame
    refusals: pl.DataFrame
    left_out: int = 0


def canonical(columns: tuple[Column, ...], needs: tuple[str, ...], known_by: tuple[str, ...]) -> Feed:
    """The layout with columns of our own; as in events, one that is misspelt is refused."""
    return Feed(
        title="our own",
        known_by=tuple(frozenset([name]) for name in known_by),
        names={column.name: column.name for column in columns},
        needs=needs,
        ignores_others=False,
    )


def read_feed(path: Path, feeds: tuple[Feed, ...], columns: tuple[Column, ...], rules: Mapping[str, Rule]) -> FeedRows:
    """The rows of a file in its order, in `columns` and `row`. What is wrong is in `refusals`; nothing is raised."""
    empty = pl.DataFrame(schema={**{column.name: column.dtype for column in columns}, "row": pl.UInt32})
    try:
        feed = _recognised(path, feeds)
    except BadInput as bad:
        return FeedRows(None, empty, bad.refusals)
    table = feed.table(columns)
    try:
        batches = list(raw_batches(path, table, _BATCH_ROWS))
    except BadInput as bad:
        return FeedRows(feed, empty, _explained(bad.refusals, feed))
    nothing = pl.DataFrame(schema={"row": pl.UInt32, **dict.fromkeys(table.required, pl.String)})
    given = pl.concat([batch.frame for batch in batches]) if batches else nothing
    raw = _kept(given, feed, table)
    typed, refused = type_table(raw, table.columns)
    rows = typed.select(*(feed.value(column) for column in columns), "row")
    refusals = refusals_of(str(path), raw, refused + _broken(raw, rows, feed, rules, refused))
    good = rows.join(refusals, on="row", how="anti", maintain_order="left")
    every = pl.concat([*(batch.refusals for batch in batches), refusals]).sort("row", maintain_order=True)
    return FeedRows(feed, good, _explained(every, feed), given.height - raw.height)


def _recognised(path: Path, feeds: tuple[Feed, ...]) -> Feed:
    names = set(column_names(path))
    if not names:
        return feeds[-1]  # nothing in it, or nothing that can be read
    for feed in feeds:
        if any(known <= names for known in feed.known_by):
            return feed
    known = "; ".join(f"{feed.title}: {', '.join(sorted({*feed.known_by[0], *feed.needs}))}" for feed in feeds)
    raise refuse_file(str(path), "The columns are those of no known file.", f"Give one with these columns. {known}.")


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
    zones = mixed_zones(raw.select(time=feed.names["time"]), rows, None)[0]
    before = [*(feed.ours(cells) for cells in refused + empty), *zones]
    broken = zones + broken_rules(rows, {**feed.rules, **rules}, before)
    return empty + [feed.theirs(cells) for cells in broken]


def _explained(refusals: pl.DataFrame, feed: Feed) -> pl.DataFrame:
    """The refusals, with the reason for a needed column where one is missing, and for a unit in any case."""
    column, rule = pl.col("column"), pl.col("rule")
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
