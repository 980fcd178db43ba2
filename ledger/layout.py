"""What a layout of files is, as data; and which of several a file, or a record of JSON, has."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import polars as pl

from ledger.cells import Reason
from ledger.columns import Column
from ledger.json_files import flattened
from ledger.refusals import refuse_file
from ledger.rules import Refused, Rule
from ledger.tables import Table

_NEAR = 0.5  # share of a layout's columns that makes a file look like it
_LISTED = 6  # of so many layouts a refusal lists the columns


@dataclass(frozen=True)
class Feed:
    """One layout, known by any of the sets of columns in `known_by`; `name` is its short one, to choose it by.

    `gives` are the columns of ours that it fills. `names` says which column of the file one of ours comes from; a
    refusal names that one. `values` has those of ours that are computed, from typed columns of the file: those of
    `names` and those that are read besides, `also`, whose type counts where a column stands in both. The file's columns
    are those of its header, a second one of a name as `Unit (2)`; cells of a preamble as `@Time Zone`; and what is
    nested in JSON as `baseAsset.borrowed`. Rows for which `keeps` is not true are left out unread. `missing` explains
    why a needed column is needed.
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
    name: str = ""
    gives: tuple[Column, ...] = ()

    def table(self, columns: tuple[Column, ...]) -> Table:
        """The columns of the file that are read, with the types of ours or those of `also`."""
        own = [replace(column, name=self.names[column.name]) for column in columns if column.name in self.names]
        also = [Column(name, dtype, "", "", self.title) for name, dtype in self.also.items()]
        read = {column.name: column for column in (*reversed(own), *also)}
        order = dict.fromkeys(column.name for column in (*own, *also))
        return Table(tuple(read[name] for name in order), self.needs, self.ignores_others, is_plain=True)

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
        value = self.values.get(refused.column)
        roots = [name for name in value.meta.root_names() if name[:1] != "@"] if value is not None else []
        return replace(refused, column=self.names.get(refused.column, (*roots, refused.column)[0]))


def canonical(columns: tuple[Column, ...], needs: tuple[str, ...], known_by: tuple[str, ...]) -> Feed:
    """The layout with columns of our own; as in events, one that is misspelt is refused."""
    return Feed(
        title="our own",
        known_by=tuple(frozenset([name]) for name in known_by),
        names={column.name: column.name for column in columns},
        needs=needs,
        ignores_others=False,
    )


def recognised(path: Path, found: list[str], feeds: tuple[Feed, ...]) -> Feed:
    """The first feed whose columns a file has, spelled as they are or, failing that, in other capitals."""
    if not found:
        return feeds[-1]  # nothing in it, or nothing that can be read
    names, small = set(found), {name.lower() for name in found}
    for feed in feeds:
        if any(known <= names for known in feed.known_by):
            return feed
    for feed in feeds:
        if feed.ignores_others and any({name.lower() for name in known} <= small for known in feed.known_by):
            return feed
    raise refuse_file(str(path), "The columns are those of no known file.", nearest(names, feeds))


def nearest(names: set[str], feeds: tuple[Feed, ...]) -> str:
    """What file to give instead: the one that it is nearest to, or all."""
    lacks = [(feed, {*known, *feed.needs}) for feed in feeds for known in feed.known_by]
    feed, needs = max(lacks, key=lambda pair: len(pair[1] & names) / len(pair[1]))
    if len(needs & names) >= _NEAR * len(needs):
        return f"It is nearest to {feed.title}, but lacks {', '.join(sorted(needs - names))}. Export it again."
    if len(feeds) > _LISTED:
        return f"Give one of: {', '.join(feed.title for feed in feeds)}; if it is one of them, name its layout."
    known = "; ".join(f"{feed.title}: {', '.join(sorted({*feed.known_by[0], *feed.needs}))}" for feed in feeds)
    return f"Give one with these columns. {known}."


def places(records: Iterable[Any], feeds: tuple[Feed, ...]) -> list[int | None]:
    """For each record the number of its feed: the first of whose columns it has all filled, or else all at all."""
    fits: dict[tuple[str, ...], list[tuple[int, frozenset[str]]]] = {}
    found = []
    for record in records:
        cells = flattened(record) if isinstance(record, dict) else {}
        names = tuple(cells)
        if names not in fits:
            has = set(names)
            fits[names] = [(place, some) for place, feed in enumerate(feeds) for some in feed.known_by if some <= has]
        filled = (place for place, some in fits[names] if not any(cells[name] in (None, "") for name in some))
        found.append(next(filled, fits[names][0][0] if fits[names] else None))
    return found
