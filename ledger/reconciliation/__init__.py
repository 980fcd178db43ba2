"""The ledger against the exchange: positions compared, differences as breaks, breaks explained by causes.

both sides read -> events side by side -> corrections that the exchange's events prove
                -> ledger replayed     -> compared with snapshots and with the corrected events -> breaks
charges of both sides, with rates -> interest re-performed beside the ledger
breaks -> hypotheses searched and replayed -> parts of each break, one replayed step after the other
"""
