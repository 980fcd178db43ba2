"""The columns of the frames of a reconciliation."""

import polars as pl

from ledger.columns import KINDS, TIME, Column
from ledger.money import MONEY

FOUND = ("in_common", "differs", "only_in_ledger", "only_at_exchange")
VERDICTS = ("matched", "break", "only_in_ledger", "only_at_exchange", "not_compared")
CERTAINTY = ("proved", "fits", "guessed", "ambiguous", "unexplained")

STATES = ("open", "resolved")
CHANGES = ("new", "carried on", "amount changed", "come back", "resolved", "resolved before", "not compared")
"""What became of a break since the run before."""
STATUSES = ("open", "in review", "accepted", "corrected", "disputed")
SETTLED = ("accepted", "corrected")
"""The statuses of breaks that are done with, at the amount that they have."""
"""What becomes of a break, in a reviewer's words; the first is that of a break which nobody has looked at."""

CAUSES = {
    "liquidation": "The exchange liquidated, and the ledger does not say so, or the other way round.",
    "missing_fill": "The exchange has a fill that the ledger lacks.",
    "extra_fill": "The ledger has a fill that the exchange does not have.",
    "duplicate_fill": "The ledger has a fill twice.",
    "sign": "The ledger has the opposite side or sign.",
    "quantity": "The ledger has another quantity.",
    "price": "The ledger has another price.",
    "opening_balance": "The two sides begin with different balances.",
    "adjustment": "A manual adjustment in the ledger that the exchange does not know.",
    "fee_not_deducted": "The ledger lacks the fee of a fill.",
    "fee_currency": "The ledger has the fee in another currency.",
    "fee_amount": "The ledger has another fee.",
    "margin_change_missing": "The exchange changed the margin, and the ledger lacks it.",
    "margin_change_extra": "The ledger has a change of margin that the exchange does not have.",
    "margin_amount": "The ledger has another amount of margin.",
    "missing_interest": "The exchange charged interest that the ledger lacks.",
    "extra_interest": "The ledger has interest that the exchange did not charge.",
    "rate_unit": "The ledger charges interest at a rate in another unit.",
    "interest_amount": "The ledger has another amount of interest.",
    "interest_rounding": "The ledger rounds interest otherwise.",
    "mode": "The two sides show the position in different modes.",
    "cut_off": "The two sides stop at different times.",
    "venue_digits": "The exchange prints fewer digits.",
    "other": "An event differs in another way.",
    "unexplained": "What no hypothesis explains.",
}
"""Every cause a part of a break can have, the gravest first, and what it means."""

MATCHES = (
    Column("found", pl.Enum(FOUND), "", "On which side the event stands.", "reconciliation"),
    Column("position", pl.String, "", "account:instrument:margin currency.", "rules 1"),
    Column("kind", pl.Enum(KINDS), "", "Kind of the event.", "event"),
    Column("time", TIME, "UTC", "When it happened; the ledger's time where both have it.", "event"),
    Column("ledger_event_id", pl.String, "", "Its identifier in the ledger.", "event"),
    Column("exchange_event_id", pl.String, "", "Its identifier at the exchange.", "event"),
    Column("differs_in", pl.String, "", "Columns in which the two differ, both values.", "reconciliation"),
    Column("cause", pl.Enum(list(CAUSES)), "", "What the difference is.", "reconciliation"),
    Column("ledger_input", pl.UInt16, "", "Input file of the ledger's event.", "event"),
    Column("ledger_row", pl.UInt32, "", "Row of that file.", "event"),
    Column("exchange_input", pl.UInt16, "", "Input file of the exchange's event.", "event"),
    Column("exchange_row", pl.UInt32, "", "Row of that file.", "event"),
)
"""One row per event of either side, where the exchange's files have events."""

COMPARISON = (
    Column("position", pl.String, "", "account:instrument:margin currency.", "rules 1"),
    Column("time", TIME, "UTC", "Moment at which the two are compared.", "reconciliation"),
    Column(
        "stated_by", pl.String, "", "What the exchange's figure is from: a snapshot, or its events.", "reconciliation"
    ),
    Column("figure", pl.String, "", "Column of the positions frame that is compared.", "reconciliation"),
    Column("unit", pl.String, "", "Currency, or unit of the figure.", "reconciliation"),
    Column("ledger", MONEY, "unit", "The ledger's figure.", "ledger"),
    Column("exchange", MONEY, "unit", "The exchange's figure.", "exchange file"),
    Column("difference", MONEY, "unit", "Ledger less exchange.", "reconciliation"),
    Column("tolerance", MONEY, "unit", "Largest difference that is no break.", "parameters"),
    Column("verdict", pl.Enum(VERDICTS), "", "Whether the two agree.", "reconciliation"),
    Column("material", pl.Boolean, "", "Whether the difference reaches the materiality asked for.", "parameters"),
    Column("break_id", pl.String, "", "The break it belongs to.", "reconciliation"),
    Column("note", pl.String, "", "What was inferred, or why nothing is compared.", "reconciliation"),
    Column("input", pl.UInt16, "", "Input file of the exchange's figure.", "exchange file"),
    Column("row", pl.UInt32, "", "Row of that file.", "exchange file"),
)
"""One row per position, moment and figure."""

BREAKS = (
    Column("break_id", pl.String, "", "Stable name of the break: the same in every run.", "reconciliation"),
    Column("position", pl.String, "", "account:instrument:margin currency.", "rules 1"),
    Column("figure", pl.String, "", "Column of the positions frame that differs.", "reconciliation"),
    Column("stated_by", pl.String, "", "What the exchange's figure is from.", "reconciliation"),
    Column("unit", pl.String, "", "Currency, or unit of the figure.", "reconciliation"),
    Column("ledger", MONEY, "unit", "The ledger's figure at the last moment.", "ledger"),
    Column("exchange", MONEY, "unit", "The exchange's figure then.", "exchange file"),
    Column("difference", MONEY, "unit", "Ledger less exchange.", "reconciliation"),
    Column("explained", MONEY, "unit", "Sum of the parts that have a cause.", "reconciliation"),
    Column("unexplained", MONEY, "unit", "The rest.", "reconciliation"),
    Column("causes", pl.String, "", "The causes in words, the largest part first.", "reconciliation"),
    Column("ambiguous", pl.Boolean, "", "Whether other causes explain it equally well.", "reconciliation"),
    Column("material", pl.Boolean, "", "Whether it reaches the materiality asked for.", "parameters"),
    Column(
        "first_seen",
        TIME,
        "UTC",
        "First moment at which the two differ; told by events: the time of the first event that differs.",
        "reconciliation",
    ),
    Column("last_seen", TIME, "UTC", "Last moment at which they were compared and differed.", "reconciliation"),
)
"""One row per position and figure that differs, as at the last moment at which it does."""

REVIEWS = (
    Column("break_id", pl.String, "", "Stable name of the break: the same in every run.", "reconciliation"),
    Column("position", pl.String, "", "account:instrument:margin currency.", "rules 1"),
    Column("figure", pl.String, "", "Column of the positions frame that differs.", "reconciliation"),
    Column("stated_by", pl.String, "", "What the exchange's figure is from.", "reconciliation"),
    Column("unit", pl.String, "", "Currency, or unit of the figure.", "reconciliation"),
    Column("difference", MONEY, "unit", "Ledger less exchange, when it was last seen.", "reconciliation"),
    Column(
        "difference_before",
        MONEY,
        "unit",
        "The difference in the workbook of the run before, at which its status was given; empty for a new break.",
        "reconciliation",
    ),
    Column(
        "state",
        pl.Enum(STATES),
        "",
        "Resolved where this run compared the figure, when it was last seen or later, and found that it agrees.",
        "reconciliation",
    ),
    Column(
        "change",
        pl.Enum(CHANGES),
        "",
        "Since the run before: new, carried on, amount changed (it was settled at another one, and is open again),"
        " come back (it was resolved), resolved, resolved before that, or not compared by this run.",
        "reconciliation",
    ),
    Column("first_seen", TIME, "UTC", "First moment at which any run saw the two differ.", "reconciliation"),
    Column("last_seen", TIME, "UTC", "Last moment at which they were compared and differed.", "reconciliation"),
    Column(
        "resolved_at", TIME, "UTC", "End of the first run that found it agrees; empty while open.", "reconciliation"
    ),
    Column("days_open", pl.Float64, "days", "From first seen to resolved, or to the end of the run.", "reconciliation"),
    Column("owner", pl.String, "", "Who follows the break up.", "reviewer"),
    Column("status", pl.Enum(STATUSES), "", f"What becomes of it: {', '.join(STATUSES)}.", "reviewer"),
    Column("comment", pl.String, "", "What was found out, and what was done.", "reviewer"),
)
"""One row per break that this run or an earlier one has reported, with what reviewers wrote down about it."""

BREAK_CAUSES = (
    Column("break_id", pl.String, "", "The break.", "reconciliation"),
    Column("place", pl.UInt32, "", "Place of the part; the parts add up to the break's difference.", "reconciliation"),
    Column("cause", pl.Enum(list(CAUSES)), "", "Name of the cause.", "reconciliation"),
    Column("amount", MONEY, "unit", "Part of the difference that it makes.", "reconciliation"),
    Column(
        "certainty",
        pl.Enum(CERTAINTY),
        "",
        "proved: the exchange's rows show it; fits: replayed, it gives the exchange's balances; guessed: so does an"
        " amount chosen to fit; ambiguous: others do as well; unexplained.",
        "reconciliation",
    ),
    Column("alternatives", pl.String, "", "Other causes that explain it equally well.", "reconciliation"),
    Column("hypothesis", pl.String, "", "What was replayed, in words.", "reconciliation"),
    Column("ledger_input", pl.UInt16, "", "Input file of the ledger's event.", "event"),
    Column("ledger_row", pl.UInt32, "", "Row of that file.", "event"),
    Column("exchange_input", pl.UInt16, "", "Input file of the exchange's event.", "event"),
    Column("exchange_row", pl.UInt32, "", "Row of that file.", "event"),
)
"""One row per break and cause, the unexplained rest among them."""

ROLL_FORWARD = (
    Column("position", pl.String, "", "account:instrument:margin currency.", "rules 1"),
    Column("balance", pl.Enum(["base_leg", "quote_leg", "margin"]), "", "Balance of the position.", "rules 1"),
    Column("currency", pl.String, "", "Currency of the amounts.", "rules 1"),
    Column("opening", MONEY, "currency", "Balance carried in by an opening balance.", "ledger"),
    Column("bought", MONEY, "currency", "Received by fills, before fees.", "ledger"),
    Column("sold", MONEY, "currency", "Given by fills.", "ledger"),
    Column("fees", MONEY, "currency", "Fees taken from the balance.", "ledger"),
    Column("interest", MONEY, "currency", "Interest charged into the balance.", "ledger"),
    Column("margin_posted", MONEY, "currency", "Initial margin posted.", "ledger"),
    Column("margin_changed", MONEY, "currency", "Margin added, less what was taken out.", "ledger"),
    Column("adjustments", MONEY, "currency", "Manual adjustments, of any kind.", "ledger"),
    Column(
        "released",
        MONEY,
        "currency",
        "Returned to the account, paid by the margin, or left to the insurance fund.",
        "ledger",
    ),
    Column("closing", MONEY, "currency", "Balance at the end.", "ledger"),
)
"""One row per position and balance; opening and changes add up to the closing. Amounts have the sign with which they
move the balance."""

LEAD = (
    Column("account", pl.String, "", "Account of the positions.", "event"),
    Column("account_class", pl.Enum(["assets", "liability", "margin"]), "", "Class of balances.", "rules 8"),
    Column("currency", pl.String, "", "Currency of the amounts.", "rules 8"),
    Column("ledger", MONEY, "currency", "Balance of the ledger without manual adjustments.", "ledger"),
    Column("adjustments", MONEY, "currency", "Manual adjustments among it.", "ledger"),
    Column("exchange", MONEY, "currency", "What the exchange states of the positions compared.", "exchange file"),
    Column("difference", MONEY, "currency", "Ledger and adjustments less exchange.", "reconciliation"),
    Column("positions", pl.UInt32, "positions", "Positions that are compared.", "reconciliation"),
)
"""One row per account, class of balances and currency, of the positions that both sides have."""

ADJUSTMENT_COMMENTS = (
    Column("event_id", pl.String, "", "The adjustment.", "event"),
    Column("comment", pl.String, "", "Who adjusted it, and why.", "adjustments file"),
    Column("input", pl.UInt16, "", "Input file of the adjustment.", "adjustments file"),
    Column("row", pl.UInt32, "", "Row of that file.", "adjustments file"),
)
"""One row per manual adjustment that has a comment."""

RECONCILIATION_FRAMES = {
    "matches": MATCHES,
    "comparison": COMPARISON,
    "breaks": BREAKS,
    "break_causes": BREAK_CAUSES,
    "reviews": REVIEWS,
    "roll_forward": ROLL_FORWARD,
    "lead": LEAD,
    "adjustment_comments": ADJUSTMENT_COMMENTS,
}
"""The frames a reconciliation gives besides those of the replay and of the exchange's files, by name."""
