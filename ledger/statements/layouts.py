"""All layouts of files that can be given, in the order in which they are recognised: the most particular first."""

from ledger.columns import EVENTS
from ledger.events import REQUIRED
from ledger.feeds import Feed
from ledger.statements import (
    binance_account,
    binance_interest,
    binance_loans,
    binance_statement,
    binance_trades,
    binance_transfers,
    okx_bills,
    okx_fills,
    okx_interest,
    okx_positions,
    okx_positions_history,
    okx_tiers,
    okx_trading_history,
)

CANONICAL = Feed(
    name="events",
    gives=EVENTS,
    title="canonical events",
    known_by=(frozenset({"event_id", "kind"}),),
    names={column.name: column.name for column in EVENTS},
    needs=REQUIRED,
    ignores_others=False,
)
"""Canonical events, and manual adjustments as CSV: a column that is misspelt is refused."""

LAYOUTS: tuple[Feed, ...] = (
    okx_fills.FEED,  # fills have a billId and a subType too
    okx_bills.FEED,
    okx_positions_history.FEED,
    okx_positions.FEED,  # positions have ccy and liab too
    okx_tiers.FEED,
    okx_interest.FEED,
    *okx_trading_history.FEEDS,
    binance_account.FEED,
    *binance_trades.FEEDS,
    binance_interest.FEED,
    binance_loans.FEED,
    binance_transfers.FEED,
    binance_statement.FEED,
    CANONICAL,
)
"""Every layout; `read_files` takes the first that fits, or the one whose name is given."""

NAMES = tuple(dict.fromkeys(layout.name for layout in LAYOUTS))
"""Names of the layouts, for the option --from."""
