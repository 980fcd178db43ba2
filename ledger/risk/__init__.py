"""Risk of open positions: tiers, statuses over time, liquidations due and booked, changes of margin, open checks."""
