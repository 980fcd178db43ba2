"""Interest of isolated margin loans: computed, re-performed against the exchange's rows, and explained.

    events ──> liability path ──> moments due ──> rates ──> charges ──> among the events, replayed
                                       │                       │
    exchange's rows ──> matching ──────┴──> what was charged ──┴──> comparison ──> causes

`accrual.accrue` computes what is due, `reperformance.reperform` takes what was charged, both for whole positions;
`loans.reperform_rows` needs no events. `identification.identify` finds the policy. `request` and `run` do it for files.
"""
