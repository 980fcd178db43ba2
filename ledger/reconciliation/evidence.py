"""What the exchange's own events show: where the two sides differ, and what the exchange's events come to."""

from dataclasses import dataclass

import polars as pl

from ledger.interest.columns import EARLY
from ledger.ordering import index_positions
from ledger.policies import Policies
from ledger.reconciliation.corrections import Corrections, evident, grouped, no_corrections, stepwise
from ledger.reconciliation.figures import EVENTS
from ledger.reconciliation.matching import comparable, matched
from ledger.reconciliation.moments import MOMENT_SCHEMA, event_moments
from ledger.reconciliation.sides import WHOLE, Sides
from ledger.reconciliation.variants import ADDED_SCHEMA, REMOVED_SCHEMA, VARIANT_SCHEMA, Edits, histories
from ledger.statements.merging import ROUNDED


@dataclass(frozen=True)
class Evidence:
    """`both` has the events of both sides put together, `corrections` what would make the ledger's the exchange's.

    `moments` (MOMENT_SCHEMA) state what the exchange's events come to, of the positions that they tell all of; `untold`
    (`position`, `time`, `note`) are the others. `alone` is the history of the exchange's events by themselves, of
    positions of which the ledger, corrected, cannot be replayed.
    """

    both: pl.DataFrame
    corrections: Corrections
    moments: pl.DataFrame
    untold: pl.DataFrame
    alone: pl.DataFrame


def evidence_of(sides: Sides, ledger: pl.DataFrame, history: pl.DataFrame, policies: Policies) -> Evidence:
    """What the exchange's events show of the replayed `ledger` and its `history` (see `states.running`)."""
    untold = pl.DataFrame(schema={"position": pl.String, "time": history.schema["time"], "note": pl.String})
    if sides.exchange_events.is_empty():
        return Evidence(pl.DataFrame(), no_corrections(), MOMENT_SCHEMA.to_frame(), untold, history.clear())
    both, corrections = _side_by_side(sides, ledger)
    at_once = Corrections(corrections.steps.with_columns(step=pl.lit(1, pl.UInt32)), corrections.added)
    corrected = stepwise(at_once, sides.ledger_events, policies).filter(pl.col("step") == 1).select(history.columns)
    differ = corrections.steps["position"].unique()
    refused = differ.filter(~differ.is_in(corrected["position"].unique().implode()))
    alone = _alone(sides.exchange_events, refused, policies).select(history.columns)
    same = history.filter(~pl.col("position").is_in(differ.implode()))
    coverage = _coverage(sides, differ)
    whole = coverage.filter(pl.col("note").is_null())
    theirs = pl.concat([same, corrected, alone])
    replayed = pl.col("position").is_in(theirs["position"].unique().implode())
    moments = event_moments(theirs, whole.filter(replayed).drop("note"))
    note = pl.coalesce(
        "note", pl.lit("the exchange's events cannot be replayed on the ledger: too much of it is missing")
    )
    others = coverage.filter(pl.col("note").is_not_null() | ~replayed).with_columns(note=note)
    return Evidence(both, corrections, moments, others.select(untold.columns), alone)


def _side_by_side(sides: Sides, ledger: pl.DataFrame) -> tuple[pl.DataFrame, Corrections]:
    """The events of both sides put together, and what would make the ledger's the exchange's.

    Of the ledger only those count that the exchange's files can tell of: their accounts and kinds, from the first on.
    """
    ours = comparable(sides.ledger_events, ledger)
    rows = sides.exchange.rows
    rounded = rows.filter(pl.col("layout") == ROUNDED)["input"].unique().to_list()
    theirs = comparable(sides.exchange_events, coarse=rounded)
    begins = theirs.group_by("account").agg(begin=pl.col("time").min() - EARLY)
    of_accounts = ours.join(begins, on="account", how="inner", maintain_order="left")
    sorts = [sort for sort in sides.covered if sort != "opening" or (theirs["sort"] == sort).any()]
    told = of_accounts.filter(pl.col("sort").is_in(sorts) & (pl.col("time") >= pl.col("begin")))
    both = matched(told, theirs)
    own = sides.ledger_events.join(
        told.select("event_id", "position"), on=["event_id", "position"], how="semi", maintain_order="left"
    )
    return both, grouped(evident(both, own, sides.exchange_events), sides.ledger_events)


def _alone(events: pl.DataFrame, positions: pl.Series, policies: Policies) -> pl.DataFrame:
    """The history of the exchange's events of the positions, by themselves; nothing of those that do not replay."""
    variants = pl.DataFrame({"position": positions}).with_row_index("variant").with_columns(mode_instead=None)
    edits = Edits(
        variants.select(pl.col(name).cast(dtype) for name, dtype in VARIANT_SCHEMA.items()),
        pl.DataFrame(schema=REMOVED_SCHEMA),
        pl.DataFrame(schema=ADDED_SCHEMA),
    )
    found = histories(events, edits, policies)
    return found.join(variants.select("variant", "position"), on="variant", how="left", maintain_order="left")


def _coverage(sides: Sides, differ: pl.Series) -> pl.DataFrame:
    """The positions that the exchange's events tell of, or differ in, and until when; `note` says what is left out."""
    key = ["account", "instrument", "margin_currency"]
    every = index_positions(pl.concat([side.select(key) for side in (sides.ledger_events, sides.exchange_events)]))
    told = pl.concat([sides.exchange_events["position"].unique(), differ]).unique().implode()
    spans = sides.exchange_events.group_by("account").agg(begin=pl.col("time").min(), time=pl.col("time").max())
    own = sides.ledger_events.filter(pl.col("kind") != "opening")
    first = own.group_by("position").agg(first=pl.col("time").min())
    known = every.filter(pl.col("position").is_in(told)).join(spans, on="account", how="inner", maintain_order="left")
    known = known.join(first, on="position", how="left", maintain_order="left")
    kinds = ", ".join(sides.covered)
    begins_late = pl.col("first") < pl.col("begin") - EARLY
    late = pl.format(
        "the exchange's events begin at {}, the ledger's before", pl.col("begin").dt.strftime("%Y-%m-%d %H:%M:%S")
    )
    note = pl.when(pl.lit(not set(sides.covered) >= WHOLE)).then(pl.lit(f"the exchange's files tell of {kinds} alone"))
    return known.with_columns(note=note.when(begins_late).then(late), stated_by=pl.lit(EVENTS))
