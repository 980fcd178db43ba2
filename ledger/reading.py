"""From event files to typed events: batch by batch, every refused value listed, nothing ever half read."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from ledger.cells import empty_cells, mixed_zones, type_table
from ledger.columns import EVENTS, schema
from ledger.events import REQUIRED, rules_for, schema_for
from ledger.formats import raw_batches
from ledger.ordering import POSITION_KEY
from ledger.policies import Policies
from ledger.refusals import BadInput
from ledger.rules import broken_rules, refusals_of
from ledger.tables import RawBatch, Table

EVENTS_SCHEMA = pl.Schema([*schema(EVENTS).items(), ("input", pl.UInt16), ("row", pl.UInt32)])
"""Typed events: the canonical columns, the number of the file and the row in it."""

_TABLE = Table(EVENTS, REQUIRED)


@dataclass(frozen=True)
class Batch:
    """Some consecutive rows of one file.

    `events` has EVENTS_SCHEMA in the order of the file, without the rows that are refused; `refusals` has
    REFUSAL_SCHEMA, all of them; `rows` counts the rows of the file in this batch. `spoiled` names the positions of
    refused rows (columns POSITION_KEY), empty cells where a row does not say; it is nothing where rows are missing.
    """

    events: pl.DataFrame
    refusals: pl.DataFrame
    rows: int
    spoiled: pl.DataFrame | None = None


def read_batches(path: Path, number: int, policies: Policies, batch_rows: int = 1_000_000) -> Iterator[Batch]:
    """The events of a CSV, Parquet or NDJSON file, at most `batch_rows` at a time.

    Raises nothing for bad input: a file that cannot be read at all gives one batch of refusals without a row.
    """
    first_zone: str | None = None
    try:
        for raw in raw_batches(path, _TABLE, batch_rows):
            batch, first_zone = typed_batch(raw, str(path), number, policies, first_zone)
            yield batch
    except BadInput as bad:
        yield Batch(EVENTS_SCHEMA.to_frame(), bad.refusals, 0)


def typed_batch(
    raw: RawBatch, file: str, number: int, policies: Policies, first_zone: str | None
) -> tuple[Batch, str | None]:
    """Raw rows as typed events and refusals, and the zone of the first time, which those of a file share."""
    rows = raw.frame.height + raw.refusals["row"].n_unique()
    table, refused = type_table(raw.frame, EVENTS)
    foreign, first_zone = mixed_zones(raw.frame, table, first_zone)
    table = table.with_columns(pl.col("reduce_only").fill_null(False), pl.lit(number, dtype=pl.UInt16).alias("input"))
    events = _with_margin_code(table).select(EVENTS_SCHEMA.names())
    if not (refused or foreign) and schema_for(policies).is_valid(events.drop("input", "row")):
        return Batch(events, raw.refusals, rows), first_zone
    refused += foreign + empty_cells(raw.frame, REQUIRED)
    refused += broken_rules(events, rules_for(policies), refused)
    refusals = refusals_of(file, raw.frame, refused)
    spoiled = None if raw.refusals.height else events.join(refusals, on="row", how="semi").select(POSITION_KEY)
    events = events.join(refusals, on="row", how="anti", maintain_order="left")
    every = pl.concat([raw.refusals, refusals]).sort("row", maintain_order=True)
    return Batch(events, every, rows, spoiled), first_zone


def _with_margin_code(table: pl.DataFrame) -> pl.DataFrame:
    """The table with the margin currency as a code, whether it was given as one or as `base` or `quote`."""
    given = pl.col("margin_currency")
    instruments = table.select(instrument=pl.col("instrument").drop_nulls().unique())["instrument"]
    base, quote = (
        pl.col("instrument").replace_strict(instruments, instruments.str.extract(leg), default=None)
        for leg in ("^(.*?)-", "-(.*)$")
    )
    code = pl.when(given == "base").then(base).when(given == "quote").then(quote).otherwise(given)
    return table.with_columns(margin_currency=code)
