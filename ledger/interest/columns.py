"""The columns of the interest frames, as `ledger.columns` has those of the replay."""

from datetime import timedelta
from typing import Any

import polars as pl

from ledger.columns import TIME, Column
from ledger.money import MONEY

UNITS = {"hourly": 1, "4-hourly": 4, "daily": 24, "annual": 8760}
"""Hours that a rate of each unit is for: rules.md 3 [V]; four hours are a rollover period."""
LATE = timedelta(minutes=5)
EARLY = timedelta(seconds=5)
"""So much later, or earlier, than it is due a charge may be booked."""
RATE_UNITS = (*UNITS, "once")
CHARGES = ("period", "first_period", "opening_fee")
STATUSES = ("accrued", "agrees", "follows", "differs", "missing", "extra", "duplicate", "unattributed")
VERDICTS = ("best", "tied", "rejected", "not tested")


def difference(charged: Any, computed: Any) -> Any:
    """What the exchange charged less what the policy gives; empty where nothing is compared."""
    return charged - computed


def own_difference(difference: Any, carried: Any) -> Any:
    """The difference that began with this charge, without what earlier ones carry forward."""
    return difference - carried


def liability_closing(liability_opening: Any, borrowed: Any, interest_charged: Any, repaid: Any) -> Any:
    """What is owed at the end of the period."""
    return liability_opening + borrowed + interest_charged - repaid


def interest_for_period(interest_charged: Any, accrued_opening: Any, accrued_closing: Any) -> Any:
    """Interest that belongs to the period: charged in it, less what had run before, and what has run since."""
    return interest_charged - accrued_opening + accrued_closing


def _computed(formula: Any, unit: str, source: str) -> Column:
    return Column(formula.__name__, MONEY, unit, formula.__doc__.splitlines()[0], source, formula)


RATES = (
    Column("time", TIME, "UTC", "From when the rate is in force, until the next one.", "rates file"),
    Column("account", pl.String, "", "Account the rate is for; empty: every account.", "rates file"),
    Column("instrument", pl.String, "", "Instrument the rate is for; empty: every one.", "rates file"),
    Column("currency", pl.String, "", "Currency owed; empty: both of the instrument.", "rates file"),
    Column("rate", MONEY, "share of liability per unit", "Rate of interest; zero or more.", "rules 3 [O]"),
    Column("unit", pl.Enum(list(UNITS)), "", "hourly, 4-hourly, daily or annual; never assumed.", "rules 3 [V]"),
)
"""One row per rate and the time it takes effect."""

INTEREST_ROWS = (
    Column("time", TIME, "UTC", "When the exchange booked the charge.", "exchange"),
    Column("row_id", pl.String, "", "The exchange's identifier of the row, where it has one.", "exchange"),
    Column("account", pl.String, "", "Account; empty where the file does not say.", "exchange"),
    Column("instrument", pl.String, "", "Base and quote currency; empty for loans of the whole account.", "exchange"),
    Column("currency", pl.String, "", "Currency of the liability and of the interest.", "exchange"),
    Column("interest", MONEY, "currency", "Interest charged.", "exchange"),
    Column("rate", MONEY, "share of liability per unit", "Rate as printed; may be rounded.", "exchange"),
    Column("unit", pl.Enum(list(UNITS)), "", "Unit of that rate: hourly in the feeds of OKX.", "rules 3 [V]"),
    Column("liability", MONEY, "currency", "Liability before the charge, as stated.", "exchange"),
)
"""One row per charge that the exchange reports."""

INTEREST = (
    Column("position", pl.String, "", "account:instrument:margin currency; without events, of the loan.", "rules 1"),
    Column("episode", pl.UInt32, "", "Life of the position, counted from 1.", "rules 1"),
    Column("time", TIME, "UTC", "When the charge was due; of an extra one, when it was booked.", "rules 3 [O]"),
    Column("charge", pl.Enum(CHARGES), "", "A period's charge, the first one at a borrowing, or a fee.", "policy"),
    Column("currency", pl.String, "", "Currency owed, in which interest is charged.", "rules 3 [V]"),
    Column("liability", MONEY, "currency", "Liability that the computed charge is on.", "rules 3 [V]"),
    Column("rate", MONEY, "share of liability per unit", "Rate in force.", "rates file"),
    Column("rate_unit", pl.Enum(RATE_UNITS), "", "Unit of the rate.", "rates file"),
    Column("rate_row", pl.UInt32, "", "Row of the rates file; empty: the rate the exchange's row states.", "run"),
    Column("computed", MONEY, "currency", "Interest by the policy, on a liability free of errors.", "rules 3 [V]"),
    Column("charged", MONEY, "currency", "Interest the exchange charged; empty where nothing is compared.", "exchange"),
    _computed(difference, "currency", "rules 3"),
    Column("cumulative_difference", MONEY, "currency", "Sum of the position's differences so far.", "rules 3"),
    Column("carried", MONEY, "currency", "Part of the difference that earlier ones carry forward.", "rules 3 [D]"),
    _computed(own_difference, "currency", "rules 3 [D]"),
    Column("status", pl.Enum(STATUSES), "", "What comparing says; follows: differs only by what is carried.", "run"),
    Column("cause", pl.String, "", "Why they differ; causes that explain it equally well stand side by side.", "run"),
    Column("note", pl.String, "", "What the cause was seen by; of a reconciliation what the ledger has, too.", "run"),
    Column("stated_liability", MONEY, "currency", "Liability the exchange's row states.", "exchange"),
    Column("stated_rate", MONEY, "share of liability per unit", "Rate the exchange's row states.", "exchange"),
    Column("booked", TIME, "UTC", "When the exchange booked the charge.", "exchange"),
    Column("row_id", pl.String, "", "The exchange's identifier of the row.", "exchange"),
    Column("input", pl.UInt16, "", "File of the exchange's row.", "run"),
    Column("row", pl.UInt32, "", "Row of that file.", "run"),
)
"""One row per charge that was due, was charged, or both."""

INTEREST_CAUSES = (
    Column("position", pl.String, "", "account:instrument:margin currency; without events, of the loan.", "rules 1"),
    Column("currency", pl.String, "", "Currency of the amount.", "rules 3"),
    Column("cause", pl.String, "", "Cause, or the causes that cannot be told apart.", "run"),
    Column("charges", pl.UInt32, "charges", "Charges it explains.", "run"),
    Column("amount", MONEY, "currency", "Its part of the whole difference.", "run"),
    Column("first_time", TIME, "UTC", "First charge it explains.", "run"),
    Column("last_time", TIME, "UTC", "Last charge it explains.", "run"),
    Column("description", pl.String, "", "What the cause means.", "run"),
)
"""One row per position, currency and cause; the amounts add up to the whole difference."""

INTEREST_ROLL = (
    Column("position", pl.String, "", "account:instrument:margin currency.", "rules 1"),
    Column("currency", pl.String, "", "Currency owed.", "rules 3"),
    Column("from_time", TIME, "UTC", "Begin of the period; empty: from the first event.", "run"),
    Column("to_time", TIME, "UTC", "End of the period, the cut-off.", "run"),
    Column("liability_opening", MONEY, "currency", "What was owed at the begin.", "ledger"),
    Column("borrowed", MONEY, "currency", "What fills added to the liability.", "ledger"),
    Column("interest_charged", MONEY, "currency", "Interest charged into the liability.", "ledger"),
    Column("repaid", MONEY, "currency", "What fills and closings took off it.", "ledger"),
    _computed(liability_closing, "currency", "rules 8"),
    Column("accrued_opening", MONEY, "currency", "Interest run but not charged at the begin.", "rules 3 [D]"),
    Column("accrued_closing", MONEY, "currency", "Interest run but not charged at the cut-off.", "rules 3 [D]"),
    _computed(interest_for_period, "currency", "rules 3 [D]"),
)
"""One row per position and currency owed in the period."""

INTEREST_DAILY = (
    Column("currency", pl.String, "", "Currency owed, in which interest is charged.", "rules 3"),
    Column("day", TIME, "UTC", "Day of the charges; a charge at midnight belongs to the day that begins.", "run"),
    Column("charges", pl.UInt32, "charges", "Charges of the day, of all positions.", "run"),
    Column("computed", MONEY, "currency", "Interest by the policy, of all charges of the day.", "rules 3"),
    Column("charged", MONEY, "currency", "Interest charged on the day; empty where nothing is compared.", "exchange"),
    Column("difference", MONEY, "currency", "Sum of the day's differences; empty where nothing is compared.", "run"),
)
"""One row per currency and day with charges."""

INTEREST_FITS = (
    Column("property", pl.String, "", "Property of a policy: rounding, compounding, timing, rate.", "run"),
    Column("value", pl.String, "", "Value that was tried.", "run"),
    Column("explained", pl.UInt32, "rows", "Rows it explains to the last digit.", "run"),
    Column("tested", pl.UInt32, "rows", "Rows that can tell.", "run"),
    Column("verdict", pl.Enum(VERDICTS), "", "best, tied with others, or rejected.", "run"),
)
"""One row per value of each property of a policy that was tried on the exchange's rows."""

INTEREST_FRAMES: dict[str, tuple[Column, ...]] = {
    "interest": INTEREST,
    "interest_causes": INTEREST_CAUSES,
    "interest_roll": INTEREST_ROLL,
}
"""The frames that interest adds to those of a replay, by name."""
