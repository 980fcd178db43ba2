"""The ledger against the exchange: positions compared, differences as breaks, breaks explained by causes."""
