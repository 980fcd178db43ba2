"""Interest of isolated margin loans: computed, re-performed against the exchange's rows, and explained.

rates, policy ─┐
liability path ┴─> charging moments ─> charges ─> ledger ─> roll-forward
exchange's rows ──────────────────────────┴─> differences ─> causes
"""
