"""The segments of lives of contract positions, as `ledger.risk.liquidation_segments` cuts those of spot margin.

A life is cut at its recorded liquidations, so that each of them ends a segment, and what was due first in a segment is
held against the one that ends it. A partial step that is due several times at one mark may so be booked as several.
"""

from dataclasses import dataclass
from datetime import datetime

import polars as pl

from ledger.derivatives.states import contract_states
from ledger.risk.grading import grade
from ledger.risk.liquidation_segments import cut_at_liquidations
from ledger.risk.policies import RiskPolicies

_LIFE = ["position", "episode"]
_WHERE = ["account", "instrument"]


@dataclass(frozen=True)
class Segments:
    """The segments of some lives: what they are, their states, and what grading says of each.

    `table` has one row per segment: segment, position, episode, began_at, after_liquidation (a liquidation in part
    began it), booked_event and booked_at (of the liquidation that ends it, if one does). `states` are those of
    `states.contract_states` and `lives` those of `grading.grade`, with the segment in place of the episode.
    """

    table: pl.DataFrame
    states: pl.DataFrame
    lives: pl.DataFrame


def segments_of(
    ledger: pl.DataFrame,
    lives: pl.DataFrame,
    graded_lives: pl.DataFrame,
    marks: pl.DataFrame | None,
    tiers: pl.DataFrame | None,
    policies: RiskPolicies,
    as_at: datetime | None,
) -> Segments:
    """The segments of the lives of which a liquidation was due or is booked, and of all beside them in hedge mode.

    `ledger` has the columns DERIVATIVE_LEDGER, `lives` comes from `positions.lives_of`, `graded_lives` from grading
    them. Raises BadInput when a product does not fit the money type.
    """
    asked = _worth_it(ledger, lives, graded_lives)
    live = ledger.filter(pl.col("direction").is_not_null())
    rows = cut_at_liquidations(live.join(asked, on=_LIFE, how="semi", maintain_order="left"), ["contracts_closing"])
    table = rows.group_by("segment", maintain_order=True).agg(
        pl.col("position", "episode").first(),
        began_at=pl.col("time").first(),
        after_liquidation=(pl.col("kind") == "liquidation").first(),
        booked_event=pl.col("booked_event").max(),
        booked_at=pl.col("booked_at").max(),
    )
    known = lives.join(table.select("segment", *_LIFE), on=_LIFE, how="inner", maintain_order="left")
    states = contract_states(_told(rows), _told(known), marks, tiers, policies, as_at)
    return Segments(table, states, grade(states, marks, policies, as_at).lives)


def _told(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows with the segment in place of the episode: a segment is told like a life."""
    return rows.with_columns(episode="segment").drop("segment")


def _worth_it(ledger: pl.DataFrame, lives: pl.DataFrame, graded_lives: pl.DataFrame) -> pl.DataFrame:
    """The lives (position, episode) of accounts and contracts of which a liquidation was due or is booked."""
    due = graded_lives.filter(pl.col("cancelled_at").is_not_null()).select(_LIFE)
    booked = ledger.filter(pl.col("kind") == "liquidation").select(_LIFE)
    own = lives.join(pl.concat([due, booked]).unique(), on=_LIFE, how="semi").select(_WHERE).unique()
    return lives.join(own, on=_WHERE, how="semi", maintain_order="left").select(_LIFE)
