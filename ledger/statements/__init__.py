"""What the exchange states: its files as rows, the rows as canonical events, and proof that none is missing.

    files -> layouts (renamed, cast, mapped) -> statements -> merged -> certificate
                                                            -> canonical events

Only the modules that describe a layout know an exchange's names.
"""
