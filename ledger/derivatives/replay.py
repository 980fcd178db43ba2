"""The straight line of derivatives: events and contracts -> ledger -> postings -> states -> grading -> positions."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import polars as pl

from ledger.checks import combined
from ledger.columns import schema
from ledger.derivatives.booked import compare, liquidation_check
from ledger.derivatives.checks import ledger_checks, position_checks
from ledger.derivatives.columns import DERIVATIVE_LIQUIDATIONS
from ledger.derivatives.course import ledger_of, parts_of, with_positions
from ledger.derivatives.files import typed_contracts, typed_derivative_events
from ledger.derivatives.liquidation import due_steps
from ledger.derivatives.positions import lives_of, valued
from ledger.derivatives.postings import posting_amounts, postings_of
from ledger.derivatives.segments import segments_of
from ledger.derivatives.sequence_rules import sequence_refusals, size_refusals
from ledger.derivatives.states import contract_states, tiers_of_contracts
from ledger.policies import Policies
from ledger.refusals import BadInput
from ledger.risk.grading import Graded, grade
from ledger.risk.policies import RiskPolicies
from ledger.risk.statement import with_booked
from ledger.sequence_rules import order_refusals


@dataclass(frozen=True)
class DerivativeBook:
    """What a replay of contract positions gives.

    `ledger`, `postings` and `positions` have the columns of DERIVATIVE_FRAMES, `spans` RISK_SPANS, `liquidations_due`
    (those that are booked beside them) DERIVATIVE_LIQUIDATIONS, `checks` CHECKS.
    """

    ledger: pl.DataFrame
    postings: pl.DataFrame
    positions: pl.DataFrame
    spans: pl.DataFrame
    liquidations_due: pl.DataFrame
    checks: pl.DataFrame

    def frames(self) -> dict[str, pl.DataFrame]:
        """The frames of DERIVATIVE_FRAMES, by name."""
        return {
            "derivative_ledger": self.ledger,
            "derivative_postings": self.postings,
            "derivative_positions": self.positions,
            "derivative_liquidations": self.liquidations_due,
        }


def replay_derivatives(
    events: pl.DataFrame,
    contracts: pl.DataFrame,
    marks: pl.DataFrame | None = None,
    tiers: pl.DataFrame | None = None,
    policies: RiskPolicies | None = None,
    as_at: datetime | None = None,
    files: Mapping[int, str] | None = None,
) -> DerivativeBook:
    """The book of derivative events: columns DERIVATIVE_EVENTS, absent ones empty; `input` and `row` are optional.

    `contracts` (columns CONTRACTS) says what a contract is; `marks` (columns MARKS) and `tiers` (columns TIERS) value
    and grade the positions; `as_at`, a time with a zone, leaves later events and marks out; `files` names the inputs by
    number. Raises BadInput with all refusals: of rows by themselves, or else of the course of their positions.
    """
    policies = policies or RiskPolicies()
    known = typed_contracts(contracts)
    typed = typed_derivative_events(events, files)
    if as_at is not None:
        typed = typed.filter(pl.col("time") <= as_at)
    placed = with_positions(typed, known)
    _refuse(pl.concat([size_refusals(placed, files or {}), order_refusals(placed, files or {}, Policies())]))
    parts = parts_of(placed, policies)
    _refuse(sequence_refusals(parts, files or {}))
    ledger = ledger_of(parts)
    amounts = posting_amounts(ledger)
    lives = lives_of(ledger, placed, known)
    own_tiers = tiers_of_contracts(tiers, known)
    states = contract_states(ledger, lives, marks, own_tiers, policies, as_at)
    graded = grade(states, marks, policies, as_at)
    segments = segments_of(ledger, lives, graded.lives, marks, own_tiers, policies, as_at)
    due = due_steps(segments, marks, own_tiers, policies)
    liquidations = compare(due, segments, ledger, lives, marks, own_tiers, policies)
    crossed = Graded(graded.spans, _with_booked(graded.lives, liquidations))
    positions = valued(lives, crossed, marks, own_tiers, policies, as_at)
    findings = [
        *ledger_checks(ledger, amounts, typed),
        *position_checks(positions, marks),
        liquidation_check(liquidations),
    ]
    return DerivativeBook(
        ledger,
        postings_of(amounts),
        positions,
        graded.spans,
        liquidations.select(schema(DERIVATIVE_LIQUIDATIONS).names()),
        combined(findings),
    )


def _with_booked(lives: pl.DataFrame, liquidations: pl.DataFrame) -> pl.DataFrame:
    """The graded lives with what was due at the very mark at which it is booked (see `risk.statement.with_booked`)."""
    step = pl.when("is_full").then(pl.lit("full")).otherwise(pl.lit("partial"))
    return with_booked(lives, liquidations.filter("is_own").with_columns(step=step))


def _refuse(refusals: pl.DataFrame) -> None:
    if refusals.height:
        raise BadInput(refusals)
