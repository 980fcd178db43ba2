"""Measurements of the ledger against what the same machine can do otherwise: `python -m bench`."""
