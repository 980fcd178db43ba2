"""The ledger against the exchange: positions compared, differences as breaks, breaks explained by causes.

both sides read -> events side by side -> corrections that the exchange's events prove
                -> ledger replayed     -> compared with snapshots and with the corrected events -> breaks
breaks -> hypotheses searched and replayed -> parts of each break, one replayed step after the other
"""

from ledger.reconciliation.breaks import Tolerances
from ledger.reconciliation.request import ReconcileRequest
from ledger.reconciliation.run import reconcile_files

__all__ = ["ReconcileRequest", "Tolerances", "reconcile_files"]
