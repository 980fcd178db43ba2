"""Replaying what might have been: the events of a position, with some taken out and others put in.

Every variant of a position is a position of its own in one replay, so that many cost little more than one.
"""

from dataclasses import dataclass
from typing import Any

import polars as pl

from ledger.columns import EVENTS, MODES, schema
from ledger.ordering import index_positions, with_positions
from ledger.policies import Policies
from ledger.reconciliation.states import HISTORY_SCHEMA, running
from ledger.replay import ledger_of, replay_parts
from ledger.sequence_rules import broken_courses

MOST_EVENTS = 1_000_000
"""Events of variants that are replayed together."""
VARIANT_SCHEMA: dict[str, Any] = {"variant": pl.UInt32, "position": pl.String, "mode_instead": pl.Enum(MODES)}
REMOVED_SCHEMA: dict[str, Any] = {"variant": pl.UInt32, "event_id": pl.String}
ADDED_SCHEMA: dict[str, Any] = {"variant": pl.UInt32, **schema(EVENTS), "sequence": pl.Int64}
_SCHEMA: dict[str, Any] = {
    **{name: dtype for name, dtype in HISTORY_SCHEMA.items() if name != "position"},
    "variant": pl.UInt32,
}
_DIGITS = 9  # of a variant's number, which is the account of its events


@dataclass(frozen=True)
class Edits:
    """What each variant changes: events `removed` (REMOVED_SCHEMA) and `added` (ADDED_SCHEMA).

    `variants` (VARIANT_SCHEMA) has one row each, with the position it is a variant of, and a mode where all its
    events are taken to be in that one. `sequence` orders the events of one time.
    """

    variants: pl.DataFrame
    removed: pl.DataFrame
    added: pl.DataFrame


def histories(events: pl.DataFrame, edits: Edits, policies: Policies) -> pl.DataFrame:
    """The running states (see `states.running`) of every variant, in the column `variant`, without `position`.

    `events` has the columns EVENTS, `position` and `sequence`. Variants whose course breaks a rule (a reduce of
    nothing, a margin below zero) have no history.
    """
    found = [_history(events, batch, policies) for batch in _batches(events, edits)]
    return pl.concat([pl.DataFrame(schema=_SCHEMA), *found])


def _history(events: pl.DataFrame, edits: Edits, policies: Policies) -> pl.DataFrame:
    typed = _variant_events(events, edits)
    index = index_positions(typed)
    parts = replay_parts(with_positions(typed, index), policies)
    broken = index["position"].gather(broken_courses(parts))
    states = running(ledger_of(parts, index, policies), index).filter(~pl.col("position").is_in(broken.implode()))
    number = pl.col("position").str.slice(0, _DIGITS).cast(pl.UInt32)
    return states.with_columns(variant=number).drop("position")


def _variant_events(events: pl.DataFrame, edits: Edits) -> pl.DataFrame:
    """The events of every variant, whose number is their account, in the order they happened."""
    columns = ["variant", "mode_instead", *schema(EVENTS), "sequence"]
    kept = edits.variants.join(events, on="position").join(edits.removed, on=["variant", "event_id"], how="anti")
    added = edits.added.join(edits.variants, on="variant")
    return (
        pl.concat([kept.select(columns), added.select(columns)])
        .sort("variant", "time", "sequence", maintain_order=True)
        .with_columns(
            mode=pl.coalesce("mode_instead", "mode"),
            account=pl.col("variant").cast(pl.String).str.zfill(_DIGITS),
            input=pl.lit(0, pl.UInt16),
            row=pl.int_range(1, pl.len() + 1, dtype=pl.UInt32),
        )
        .select(*schema(EVENTS), "input", "row")
    )


def _batches(events: pl.DataFrame, edits: Edits) -> list[Edits]:
    """The edits in batches of few enough events."""
    counts = events.group_by("position").len("events")
    sizes = edits.variants.join(counts, on="position", how="left", maintain_order="left")["events"].fill_null(0)
    numbered = edits.variants.with_columns(batch=sizes.cum_sum() // MOST_EVENTS)
    return [
        Edits(
            variants,
            edits.removed.join(variants, on="variant", how="semi", maintain_order="left"),
            edits.added.join(variants, on="variant", how="semi", maintain_order="left"),
        )
        for variants in numbered.partition_by("batch", include_key=False, maintain_order=True)
    ]
