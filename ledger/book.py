"""The straight line for events in memory: events -> ledger -> postings -> positions -> history -> checks."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

import polars as pl

from ledger.cells import empty_cells
from ledger.checks import combined, history_check, ledger_checks, position_checks, posting_checks
from ledger.events import REQUIRED, rules_for, schema_for
from ledger.halving import halving_check
from ledger.history import history_of
from ledger.money import INTEGER_DIGITS, ZERO
from ledger.ordering import index_positions, typed_events, with_positions
from ledger.policies import Policies
from ledger.positions import positions_of, valued
from ledger.postings import posting_amounts, postings_of
from ledger.refusals import REFUSAL_SCHEMA, BadInput
from ledger.replay import ledger_of, replay_parts
from ledger.rules import broken_rules, refusals_of
from ledger.sequence_rules import order_refusals, repeated_refusals, sequence_refusals

IN_MEMORY = "events"
"""What a refusal calls events that come from no file."""


@dataclass(frozen=True)
class Book:
    """What a replay gives: five frames, whose columns `ledger.columns.FRAMES` describes."""

    ledger: pl.DataFrame
    postings: pl.DataFrame
    positions: pl.DataFrame
    history: pl.DataFrame
    checks: pl.DataFrame


@dataclass(frozen=True)
class Batch:
    """The ledger of some whole positions and the findings of its checks; or the refusals that prevent one."""

    ledger: pl.DataFrame
    findings: list[pl.DataFrame]
    refusals: pl.DataFrame


def replay(
    events: pl.DataFrame,
    policies: Policies | None = None,
    marks: pl.DataFrame | None = None,
    as_at: datetime | None = None,
) -> Book:
    """The book of typed events: columns EVENTS, of which absent ones are empty; `input` and `row` are optional.

    `marks` (columns MARKS) values the positions; `as_at`, a time with a zone, leaves later events out. Raises
    BadInput with all refusals: of rows by themselves, or else of the course of their positions.
    """
    policies = policies or Policies()
    typed = typed_events(events)
    _refuse(_row_refusals(typed, policies))
    _refuse(repeated_refusals(typed, {}))
    if as_at is not None:
        typed = typed.filter(pl.col("time") <= as_at)
    index = index_positions(typed)
    batch = replay_batch(with_positions(typed, index), index, policies, {})
    _refuse(batch.refusals)
    amounts = posting_amounts(batch.ledger, index)
    positions = valued(positions_of(batch.ledger, index), marks, as_at)
    history = history_of(batch.ledger, index, marks, as_at)
    findings = [*batch.findings, *posting_checks(amounts), *position_checks(positions)]
    findings.append(history_check(history, positions))
    return Book(batch.ledger, postings_of(amounts), positions, history, combined(findings))


def replay_batch(
    events: pl.DataFrame,
    index: pl.DataFrame,
    policies: Policies,
    files: Mapping[int, str],
    sample: bool = True,
) -> Batch:
    """The ledger of all events of whole positions, as `ordering.with_positions` gives them.

    `index` comes from `ordering.index_positions`, `files` names the inputs by number; `sample` says whether to
    replay a sample a second time for the check of split fills.
    """
    too_large = _size_refusals(events, files)
    if too_large.height:
        return Batch(pl.DataFrame(), [], too_large)
    parts = replay_parts(events, policies)
    refusals = pl.concat([order_refusals(events, files, policies), sequence_refusals(parts, files)])
    if refusals.height:
        return Batch(pl.DataFrame(), [], refusals)
    ledger = ledger_of(parts, index, policies)
    findings = ledger_checks(ledger, events, policies)
    return Batch(ledger, findings + (halving_check(events, index, ledger, policies) if sample else []), refusals)


def _row_refusals(events: pl.DataFrame, policies: Policies) -> pl.DataFrame:
    if schema_for(policies).is_valid(events.drop("input", "row")):
        return REFUSAL_SCHEMA.to_frame()
    empty = empty_cells(events, REQUIRED)
    return refusals_of(IN_MEMORY, events, empty + broken_rules(events, rules_for(policies), empty))


def _size_refusals(events: pl.DataFrame, files: Mapping[int, str]) -> pl.DataFrame:
    """A refusal where the running totals of a batch could leave the money type.

    Every total is at most the sum of all absolute amounts, and that is at most the count of rows times the largest.
    A leg can take a value, a fee and a release, and the two parts of a split fill: four times is enough.
    """
    traded = pl.col("quantity") * pl.col("price")
    sizes = events.select(
        pl.max_horizontal(pl.col("quantity", "value", "fee", "amount").abs(), traded).fill_null(ZERO).alias("largest")
    )["largest"]
    largest = sizes.max()
    if not isinstance(largest, Decimal) or int(largest) * events.height * 4 < 10**INTEGER_DIGITS:
        return REFUSAL_SCHEMA.to_frame()
    row = events.row(sizes.arg_max() or 0, named=True)
    return pl.DataFrame(
        {
            "file": [files.get(row["input"], IN_MEMORY)],
            "row": [row["row"]],
            "column": ["quantity" if row["quantity"] is not None else "amount"],
            "value": [str(row["quantity"] if row["quantity"] is not None else row["amount"])],
            "rule": ["The amounts of positions replayed together must sum to less than 10^20; this is the largest."],
            "remedy": ["Check its unit."],
        },
        schema=REFUSAL_SCHEMA,
    )


def _refuse(refusals: pl.DataFrame) -> None:
    if refusals.height:
        raise BadInput(refusals)
