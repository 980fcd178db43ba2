"""A change of margin or leverage that is only asked about: as an event after those of the position (rules 5)."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

import polars as pl

from ledger.measures import positive_ratio
from ledger.money import MONEY, ZERO
from ledger.policies import Policies
from ledger.positions import positions_of
from ledger.reading import EVENTS_SCHEMA
from ledger.refusals import BadInput, LedgerError
from ledger.risk.margin_changes import margin_changes
from ledger.risk.order_replay import FILL, in_schema, replayed
from ledger.risk.policies import RiskPolicies

PROPOSED = "proposed change"
"""Event of the change, and what a refusal of the engine calls its file."""
_NAMED = 5


@dataclass(frozen=True)
class Proposal:
    """A change of the position `name` (NAME or NAME#EPISODE): margin added (below zero: taken out), or a leverage."""

    name: str
    margin: Decimal | None = None
    leverage: Decimal | None = None


@dataclass(frozen=True)
class ProposedChange:
    """`log` has the columns MARGIN_CHANGE_LOG and one row; none where the engine refuses it, which `refusal` says."""

    log: pl.DataFrame
    refusal: str | None


def proposed_change(
    proposal: Proposal,
    events: pl.DataFrame,
    *,
    marks: pl.DataFrame | None = None,
    tiers: pl.DataFrame | None = None,
    balances: pl.DataFrame | None = None,
    policies: RiskPolicies | None = None,
    replay_policies: Policies | None = None,
    as_at: datetime | None = None,
    files: Mapping[int, str] | None = None,
) -> ProposedChange:
    """What the rules say to the change, made at `as_at`; without it, after all that the files hold.

    `events` has the columns EVENTS (`files` names their inputs by number), `marks` MARKS, `tiers` TIERS, `balances`
    BALANCES. A lower leverage adds the margin that the opening fills of the life would have posted at it beyond what
    they have posted; a higher one takes nothing out, as the rules do not say that anything is given back [D].

    Raises BadInput for events that are refused without the change, LedgerError for a position that is not open.
    """
    policies, replay_policies = policies or RiskPolicies(), replay_policies or Policies()
    events = events if as_at is None else events.filter(pl.col("time") <= as_at)
    typed, ledger, index = replayed(events, replay_policies, files)
    position = _open_position(positions_of(ledger, index), proposal.name)
    event = _event(proposal, position, ledger, _moment(as_at, typed, marks, balances))
    names = {**(files or {}), FILL: PROPOSED}
    try:
        _, ledger, index = replayed(pl.concat([typed, event]), replay_policies, names)
    except BadInput as bad:
        return ProposedChange(pl.DataFrame(), " ".join(bad.refusals["rule"].unique(maintain_order=True)))
    log = margin_changes(ledger, index, marks, tiers, balances, policies)
    return ProposedChange(log.filter(pl.col("event_id") == PROPOSED), None)


def _open_position(positions: pl.DataFrame, name: str) -> dict[str, object]:
    """The open life of that name."""
    names = pl.concat_str("position", pl.lit("#"), "episode")
    is_open = positions.filter(pl.col("status") == "open")
    found = is_open.filter((pl.col("position") == name) | (names == name))
    if found.is_empty():
        known = ", ".join(is_open["position"].head(_NAMED)) or "none"
        raise LedgerError(f"{name}: no such position is open then; open positions begin with: {known}")
    return found.row(0, named=True)


def _moment(
    as_at: datetime | None, events: pl.DataFrame, marks: pl.DataFrame | None, balances: pl.DataFrame | None
) -> datetime | None:
    """The time asked for, or the last one of the files."""
    times = [frame["time"].max() for frame in (events, marks, balances) if frame is not None]
    return as_at or max(time for time in times if isinstance(time, datetime))


def _event(
    proposal: Proposal, position: dict[str, object], ledger: pl.DataFrame, moment: datetime | None
) -> pl.DataFrame:
    """The change as an event (EVENTS, `input`, `row`)."""
    values = {name: position[name] for name in ("account", "instrument", "margin_currency", "mode")}
    values |= {"time": moment, "event_id": PROPOSED, "currency": position["margin_currency"], "reduce_only": False}
    values |= {"kind": "margin", "input": FILL, "row": 1}
    row = in_schema(pl.DataFrame([values]), EVENTS_SCHEMA)
    if proposal.leverage is None:
        return row.with_columns(amount=pl.lit(proposal.margin, MONEY))
    life = ledger.filter(
        pl.col("position") == position["position"],
        pl.col("episode") == position["episode"],
        pl.col("direction").is_not_null(),
    )
    missing = _missing_margin(life, proposal.leverage, is_base=bool(position["margin_is_base"]))
    return row.with_columns(
        missing.alias("amount"),
        kind=pl.lit("leverage", EVENTS_SCHEMA["kind"]),
        leverage=pl.lit(proposal.leverage, MONEY),
    )


def _missing_margin(life: pl.DataFrame, leverage: Decimal, *, is_base: bool) -> pl.Series:
    """What the opening fills of a life would have posted at a lower leverage, beyond what they have."""
    posted = life.filter(pl.col("action").is_in(["open", "increase"]))
    amount = pl.col("quantity" if is_base else "value").abs().sum()
    wanted = positive_ratio(amount, pl.lit(leverage, MONEY))
    missing = posted.select(amount=wanted - pl.col("initial_margin").sum())["amount"]
    stated = life["leverage"][-1]
    if stated is not None and stated <= leverage:
        return missing.clip(upper_bound=0) * 0
    return missing.to_frame().select(pl.max_horizontal("amount", ZERO)).to_series()
