"""The frames of risk of some whole positions: from their ledger, the marks and the tiers to what was due, and when."""

from dataclasses import dataclass
from datetime import datetime

import polars as pl

from ledger.columns import schema
from ledger.derivatives.replay import DerivativeBook, replay_derivatives
from ledger.policies import Policies
from ledger.risk.booked import compare, liquidation_checks
from ledger.risk.columns import RISK_FRAMES, TIERS
from ledger.risk.grading import grade, grading_checks
from ledger.risk.lives import lives_of
from ledger.risk.margin_changes import margin_change_checks, margin_changes
from ledger.risk.request import RiskInput
from ledger.risk.simulation import simulate
from ledger.risk.statement import graded_check, risk_of, with_booked
from ledger.risk.states import latest, spot_states

PER_POSITION = [name for name in RISK_FRAMES if name != "tiers"]
"""The frames that come with the positions; tiers are as they were read."""


@dataclass(frozen=True)
class RiskRun:
    """What the positions of a run are held against: tiers, balances and policies, the marks, and the end.

    Without `as_at` positions are stated at the last time that is known of them and in the marks.
    """

    asked: RiskInput
    marks: pl.DataFrame | None
    as_at: datetime | None
    policies: Policies

    def frames(
        self, ledger: pl.DataFrame, index: pl.DataFrame, positions: pl.DataFrame, history: pl.DataFrame
    ) -> tuple[dict[str, pl.DataFrame], list[pl.DataFrame]]:
        """The frames PER_POSITION of whole positions, and the findings of their checks.

        `ledger` has the columns LEDGER, `positions` POSITIONS, `history` HISTORY; `index` is of all positions.
        """
        marks, tiers, policies = self.marks, self.asked.tiers, self.asked.policies
        end = self.as_at or latest(ledger["time"], marks)
        states = spot_states(ledger, index, marks, tiers, policies, end)
        graded = grade(states, marks, policies, end)
        simulated = simulate(ledger, index, marks, tiers, policies, self.policies, end, graded)
        liquidations = compare(simulated, ledger, index, marks, tiers, policies)
        lives = with_booked(graded.lives, liquidations)
        changes = margin_changes(ledger, index, marks, tiers, self.asked.balances, policies, end)
        risk = risk_of(positions, lives, marks, tiers, policies, end)
        frames = {
            "risk": risk,
            "risk_spans": graded.spans,
            "liquidations": liquidations,
            "simulated_ledger": simulated.ledger,
            "simulated_postings": simulated.postings,
            "margin_changes": changes,
            "lives": lives_of(ledger, index, lives),
        }
        findings = [
            graded_check(risk, marks),
            *grading_checks(graded, history, policies),
            *liquidation_checks(liquidations, simulated, index),
            *margin_change_checks(changes, ledger),
        ]
        return frames, findings

    def tiers(self) -> pl.DataFrame:
        """The tiers that were read (columns TIERS)."""
        return schema(TIERS).to_frame() if self.asked.tiers is None else self.asked.tiers

    def derivatives(self) -> DerivativeBook | None:
        """The book of the derivatives, where there are any. Raises BadInput with all refusals of their course."""
        events, contracts = self.asked.events, self.asked.contracts
        if events is None or contracts is None:
            return None
        asked = self.asked
        return replay_derivatives(events, contracts, self.marks, asked.tiers, asked.policies, self.as_at, asked.names)
