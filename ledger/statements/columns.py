"""The columns of what an exchange states, as `ledger.columns` has those of the replay."""

import polars as pl

from ledger.columns import DIRECTIONS, MODES, SIDES, TIME, Column
from ledger.interest.columns import UNITS
from ledger.money import MONEY

MEANINGS = (
    "fill",  # a whole fill in one row
    "leg",  # one of the two rows of a fill
    "liquidation",  # a whole liquidation in one row
    "liquidation_leg",  # one of the two rows of a liquidation or of a forced trade
    "interest",  # interest charged into the liability
    "margin_posted",  # margin that an order brings in
    "margin_returned",  # margin that a close gives back
    "margin_loss",  # the loss of a close, taken from the margin
    "margin_added",  # margin added by itself
    "margin_removed",  # margin taken out by itself
    "borrowing",  # a loan taken out by itself: no balance of the position changes in sum
    "repayment",  # a loan repaid by itself
    "fee",  # a fee in a row of its own
    "outside",  # known, and no concern of an isolated spot-margin position
    "unclassified",  # type or sub-type unknown
)
CONTROLS = (
    "rows",
    "duplicates",
    "overlap",
    "id_gaps",
    "hour_gaps",
    "balance_chain",
    "beginning",
    "sizes",
    "paired_legs",
    "unclassified",
    "coverage",
)
OUTCOMES = ("ok", "fail", "note")

STATEMENTS = (
    Column("time", TIME, "UTC", "When the exchange booked it.", "exchange file"),
    Column("row_id", pl.String, "", "The exchange's identifier of the row.", "exchange file"),
    Column("account", pl.String, "", "Account of the row.", "exchange file"),
    Column("instrument", pl.String, "", "Base and quote currency, or another instrument's name.", "exchange file"),
    Column("layout", pl.String, "", "Layout of the file the row comes from.", "exchange file"),
    Column("stated_type", pl.String, "", "Type and sub-type as the file gives them.", "exchange file"),
    Column("meaning", pl.Enum(MEANINGS), "", "What the row is to a position.", "exports 1.2 [I]"),
    Column("order_id", pl.String, "", "Order the row belongs to.", "exchange file"),
    Column("trade_id", pl.String, "", "Trade the row belongs to.", "exchange file"),
    Column("side", pl.Enum(SIDES), "", "Side of a whole fill; of a leg, buy received and sell gave.", "exchange file"),
    Column("currency", pl.String, "", "Currency of the amounts of the row.", "exchange file"),
    Column("size", MONEY, "currency", "Size of the row without sign, before the fee.", "exchange file"),
    Column("price", MONEY, "quote per base", "Price of the trade.", "exchange file"),
    Column("value", MONEY, "quote", "Quote value of a whole fill, where the file states it.", "exchange file"),
    Column("fee", MONEY, "fee_currency", "Fee paid; a rebate is negative.", "exchange file"),
    Column("fee_currency", pl.String, "", "Currency of the fee.", "exchange file"),
    Column("change", MONEY, "currency", "Signed change of the position's balance, net of fee.", "exchange file"),
    Column("balance", MONEY, "currency", "Balance of the position after the row.", "exchange file"),
    Column("account_change", MONEY, "currency", "Signed change of the account, net of fee.", "exchange file"),
    Column("account_balance", MONEY, "currency", "Balance of the account after the row.", "exchange file"),
    Column("realised_pnl", MONEY, "currency", "Realised PnL as stated.", "exchange file"),
    Column("interest", MONEY, "currency", "Interest charged.", "exchange file"),
    Column("rate", MONEY, "share of liability per unit", "Rate of interest stated.", "exchange file"),
    Column("unit", pl.Enum(list(UNITS)), "", "Unit of the rate.", "exchange file"),
    Column("liability", MONEY, "currency", "Liability the interest was charged on.", "exchange file"),
)
"""One row per row of a file of movements."""

SNAPSHOTS = (
    Column("time", TIME, "UTC", "When the exchange last changed what it states; empty: not known.", "exchange file"),
    Column("account", pl.String, "", "Account of the position.", "exchange file"),
    Column("instrument", pl.String, "", "Base and quote currency, or another instrument's name.", "exchange file"),
    Column("layout", pl.String, "", "Layout of the file the row comes from.", "exchange file"),
    Column("is_isolated_margin", pl.Boolean, "", "Whether it is an isolated spot-margin position.", "exchange file"),
    Column("status", pl.Enum(["open", "closed"]), "", "Whether the position is open.", "exchange file"),
    Column("direction", pl.Enum(DIRECTIONS), "", "long or short; empty: not stated.", "exchange file"),
    Column("mode", pl.Enum(MODES), "", "Mode of the figures; empty: to be inferred.", "exchange file"),
    Column("margin_currency", pl.String, "", "Currency of the margin; empty: to be inferred.", "exchange file"),
    Column("opened", TIME, "UTC", "When the position was opened.", "exchange file"),
    Column("closed", TIME, "UTC", "When it was closed.", "exchange file"),
    Column("assets_shown", MONEY, "asset's currency", "Assets as displayed.", "exchange file"),
    Column("liability_shown", MONEY, "liability's currency", "Liability, zero or negative.", "exchange file"),
    Column("interest", MONEY, "liability's currency", "Interest accrued and not yet charged.", "exchange file"),
    Column("margin", MONEY, "margin currency", "Margin of the position.", "exchange file"),
    Column("entry_price", MONEY, "quote per base", "Average entry price.", "exchange file"),
    Column("leverage", MONEY, "times", "Leverage.", "exchange file"),
    Column("mark_price", MONEY, "quote per base", "Mark price of the figures.", "exchange file"),
    Column("floating_pnl", MONEY, "margin currency", "Floating PnL; a double of the exchange.", "exchange file"),
    Column("floating_pnl_ratio", MONEY, "share of initial margin", "Floating PnL as a share.", "exchange file"),
    Column("maintenance_margin", MONEY, "margin currency", "Maintenance margin, an amount.", "exchange file"),
    Column("margin_ratio", MONEY, "1 = 100 %", "Margin ratio; a double of the exchange.", "exchange file"),
    Column("liquidation_price", MONEY, "quote per base", "Liquidation price; a double.", "exchange file"),
    Column("realised_pnl", MONEY, "margin currency", "Realised PnL of a closed position.", "exchange file"),
    Column("base_net", MONEY, "base", "Base owned less base owed, interest included.", "exchange file"),
    Column("quote_net", MONEY, "quote", "Quote owned less quote owed, interest included.", "exchange file"),
)
"""One row per position that an exchange states, open or closed. `base_net` and `quote_net` stand where an exchange
keeps balances by currency and no margin apart (Binance); the other amounts are then empty."""

SUMS = (
    Column("source", pl.UInt16, "", "Input file, as numbered in the inputs frame.", "certificate"),
    Column("file", pl.String, "", "Name of the file.", "certificate"),
    Column("meaning", pl.Enum(MEANINGS), "", "What the rows are to a position.", "certificate"),
    Column("stated_type", pl.String, "", "Type and sub-type as the file gives them.", "certificate"),
    Column("currency", pl.String, "", "Currency of the amounts.", "certificate"),
    Column("rows", pl.UInt64, "rows", "Rows.", "certificate"),
    Column("size", MONEY, "currency", "Sum of the sizes.", "certificate"),
    Column("change", MONEY, "currency", "Sum of the changes of positions.", "certificate"),
    Column("account_change", MONEY, "currency", "Sum of the changes of the account.", "certificate"),
    Column("fee", MONEY, "currency", "Sum of the fees paid.", "certificate"),
    Column("interest", MONEY, "currency", "Sum of the interest.", "certificate"),
)
"""One row per file, meaning, stated type and currency: control totals that anyone can add up in the file."""

CERTIFICATE = (
    Column("source", pl.UInt16, "", "Input file; empty: all files together.", "certificate"),
    Column("file", pl.String, "", "Name of the file.", "certificate"),
    Column("control", pl.Enum(CONTROLS), "", "What was tested.", "certificate"),
    Column("subject", pl.String, "", "Account, instrument or currency that was tested.", "certificate"),
    Column("tested", pl.UInt64, "rows", "Rows the control looked at.", "certificate"),
    Column("exceptions", pl.UInt64, "rows", "Rows on which it does not hold.", "certificate"),
    Column("largest_difference", MONEY, "as the rows", "Largest difference found.", "certificate"),
    Column("outcome", pl.Enum(OUTCOMES), "", "ok, fail, or a note that is no failure.", "certificate"),
    Column("finding", pl.String, "", "The result in words, with the first exception's file row.", "certificate"),
)
"""One row per file and control: that what was handed in is complete, in the order of the files."""

PLACED = (
    Column("input", pl.UInt16, "", "Input file, as numbered in the inputs frame.", "exchange file"),
    Column("row", pl.UInt32, "", "Row of that file.", "exchange file"),
    Column("event_id", pl.String, "", "Event of the ledger that the row is part of.", "certificate"),
    Column("no_event_because", pl.String, "", "Why the row gives no event.", "certificate"),
)
"""What became of a statement."""

STATEMENT_FRAMES = {"statements": (*STATEMENTS, *PLACED), "statement_sums": SUMS, "certificate": CERTIFICATE}
"""The frames that exchange files give, by name."""

IMPORT_FRAMES = ("events", "snapshots", "tiers")
"""Further frames of an import, by name."""
