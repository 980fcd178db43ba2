"""Isolated derivatives (rules 7): a second table of rules beside spot margin, on rows and columns of the same kind.

    events, contracts ──> course: parts, ledger ──> postings ──> checks
                                       │
    marks, tiers ──────────────────> states ──> ledger.risk.grading ──> positions, spans, liquidations due

`replay.replay_derivatives` is that line; `files` reads what it takes. `records.measure_records` needs none of it: it
re-computes the figures of an exchange's own position records, spot margin among them.
"""
