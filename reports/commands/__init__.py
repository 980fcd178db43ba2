"""The commands of `margin-ledger`, and what they say on the screen."""
