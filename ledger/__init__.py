"""Exact, auditable accounting for isolated spot-margin positions.

    import ledger
    book = ledger.replay(ledger.read_events(["events.csv"]), marks=ledger.read_marks("marks.csv"))
    book.ledger, book.postings, book.positions, book.history, book.checks

Every amount is a decimal with 18 places. See `ledger.columns` for the columns of each frame, `ledger.Policies` for
the open questions of the rules and their defaults.
"""

from ledger.book import Book, replay
from ledger.columns import FRAMES, Column
from ledger.derivatives.records import measure_records
from ledger.derivatives.replay import replay_derivatives
from ledger.files import read_events, replay_files
from ledger.marks import read_marks
from ledger.policies import Policies
from ledger.reconciliation.breaks import Tolerances
from ledger.reconciliation.request import ReconcileRequest
from ledger.reconciliation.run import reconcile_files
from ledger.refusals import BadInput, LedgerError, PolicyError
from ledger.request import Request
from ledger.risk.closing import closing_orders
from ledger.risk.orders import check_orders
from ledger.risk.policies import RiskPolicies
from ledger.risk.request import RiskRequest
from ledger.risk.tiers_file import read_tiers

__all__ = [
    "FRAMES",
    "BadInput",
    "Book",
    "Column",
    "LedgerError",
    "Policies",
    "PolicyError",
    "ReconcileRequest",
    "Request",
    "RiskPolicies",
    "RiskRequest",
    "Tolerances",
    "check_orders",
    "closing_orders",
    "measure_records",
    "read_events",
    "read_marks",
    "read_tiers",
    "reconcile_files",
    "replay",
    "replay_derivatives",
    "replay_files",
]
