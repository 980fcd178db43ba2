"""The sheets of what was handed in: Certificate, Control totals, Adjustments, Unclassified."""

from collections.abc import Sequence
from dataclasses import replace

import polars as pl

from ledger.columns import LEDGER, Column
from ledger.reconciliation.columns import ADJUSTMENT_COMMENTS
from ledger.statements.columns import CERTIFICATE, STATEMENTS, SUMS
from reports.cells.by_group import write_sheet
from reports.cells.fields import Field, Placed
from reports.cells.tables import Book
from reports.sheets.reconciliation_fields import BAD, GOOD, OPEN, grouped, mark_words, prose

CERTIFICATE_SHEET, SUMS_SHEET = "Certificate", "Control totals"
ADJUSTMENTS_SHEET, UNCLASSIFIED_SHEET = "Adjustments", "Unclassified"
_CERTIFICATE_GROUPS = {
    "Control": ("file", "control", "subject"),
    "Result": ("outcome", "tested", "exceptions", "largest_difference", "finding"),
    "Source": ("source",),
}
_SUMS_GROUPS = {
    "Rows": ("file", "meaning", "stated_type", "currency", "rows"),
    "Sums": ("size", "change", "account_change", "fee", "interest"),
    "Source": ("source",),
}
_ADJUSTMENT_GROUPS = {
    "Adjustment": ("position", "time", "kind", "reason", "comment", "event_id"),
    "Changes of the position": ("base_change", "quote_change", "margin_change"),
    "Changes of the account": ("account_base", "account_quote"),
    "As recorded": ("side", "quantity", "price", "fee", "fee_currency", "interest"),
    "Source": ("input", "row", "event_number", "part"),
}
_ROW_GROUPS = {
    "Row": ("meaning", "stated_type", "time", "row_id", "account", "instrument"),
    "Why": ("no_event_because",),
    "Amounts": ("currency", "size", "change", "account_change", "fee", "fee_currency", "interest"),
    "Trade": ("order_id", "trade_id", "side", "price"),
    "Source": ("layout", "input", "row"),
}
_ORIGIN = (
    Column("input", pl.UInt16, "", "Input file, as numbered on the sheet About.", "exchange file"),
    Column("row", pl.UInt32, "", "Row of that file.", "exchange file"),
    Column("no_event_because", pl.String, "", "Why the row gives no event.", "exchange file"),
)
"""Columns that statements have once they are put to events, of which the sheet shows those that are there."""
_OUTCOMES = {"ok": GOOD, "note": OPEN, "fail": BAD}
_LEGS = ("leg", "liquidation_leg")
_ALL_FILES = "all files together"
_ABOUT = {
    CERTIFICATE_SHEET: "Whether what was handed in is complete: one row per file and control.",
    SUMS_SHEET: "Control totals by file, meaning, stated type and currency, to be added up again in the file.",
    ADJUSTMENTS_SHEET: "What was posted by hand: every row of the ledger that has a reason.",
    UNCLASSIFIED_SHEET: "Rows of the exchange's files that give no event, as what they are is not known or their other"
    " half is missing.",
}


def certificate_fields(frame: pl.DataFrame) -> tuple[Field, ...]:
    """The fields of the sheet Certificate; without the largest difference where no control has one."""
    fields = prose(grouped(CERTIFICATE, _CERTIFICATE_GROUPS, beside=("largest_difference",)), ["finding"])
    nothing = frame["largest_difference"].is_null().all()
    return tuple(_named_file(one) for one in fields if not (nothing and one.name == "largest_difference"))


def write_certificate(book: Book, name: str, frame: pl.DataFrame, fields: Sequence[Field]) -> Placed:
    """Write a sheet of the certificate; the frame has the columns CERTIFICATE and at most a sheet's rows."""
    placed, sheet = write_sheet(book, name, frame, fields, note=_told(frame), repeated=2)
    mark_words(book, sheet, placed.range("Outcome", other_sheet=False), _OUTCOMES)
    return placed


def sum_fields(_: pl.DataFrame) -> tuple[Field, ...]:
    """The fields of the sheet Control totals."""
    return tuple(_named_file(one) for one in grouped(SUMS, _SUMS_GROUPS))


def write_sums(book: Book, name: str, frame: pl.DataFrame, fields: Sequence[Field]) -> Placed:
    """Write a sheet of control totals; the frame has the columns SUMS and at most a sheet's rows."""
    return write_sheet(book, name, frame, fields, note=_ABOUT[SUMS_SHEET], repeated=2)[0]


def adjusted(ledger: pl.DataFrame, comments: pl.DataFrame) -> pl.DataFrame:
    """The rows of the ledger that were posted by hand, those with a reason, and the comment of each."""
    by_hand = ledger.filter(pl.col("reason").fill_null("") != "")
    return by_hand.join(comments.select("event_id", "comment"), on="event_id", how="left", maintain_order="left")


def adjustment_fields(_: pl.DataFrame) -> tuple[Field, ...]:
    """The fields of the sheet Adjustments, for rows of the ledger."""
    return tuple(prose(grouped((*LEDGER, *ADJUSTMENT_COMMENTS[1:2]), _ADJUSTMENT_GROUPS), ["reason", "comment"]))


def write_adjustments(book: Book, name: str, frame: pl.DataFrame, fields: Sequence[Field]) -> Placed:
    """Write a sheet of manual adjustments; the frame has the columns LEDGER and at most a sheet's rows."""
    return write_sheet(book, name, frame, fields, note=_ABOUT[ADJUSTMENTS_SHEET], repeated=2)[0]


def left_open(statements: pl.DataFrame) -> pl.DataFrame:
    """The rows that are unclassified, and legs that belong to no event where the frame has its column event_id."""
    found = pl.col("meaning") == "unclassified"
    if "event_id" in statements.columns:
        found |= pl.col("meaning").is_in(_LEGS) & pl.col("event_id").is_null()
    return statements.filter(found)


def row_fields(frame: pl.DataFrame) -> tuple[Field, ...]:
    """The fields of the sheet Unclassified: those that the frame has."""
    known = {one.name: one for one in (*_ORIGIN, *STATEMENTS) if one.name in frame.columns}
    groups = {group: [name for name in names if name in known] for group, names in _ROW_GROUPS.items()}
    return tuple(prose(grouped(list(known.values()), groups), ["no_event_because"]))


def write_rows(book: Book, name: str, frame: pl.DataFrame, fields: Sequence[Field]) -> Placed:
    """Write a sheet of rows left open; at most a sheet's rows."""
    return write_sheet(book, name, frame, fields, note=_ABOUT[UNCLASSIFIED_SHEET], repeated=2)[0]


def _told(certificate: pl.DataFrame) -> str:
    counts = dict(certificate["outcome"].cast(pl.String).value_counts().iter_rows())
    said = ", ".join(f"{counts.get(word, 0):,} {word}" for word in _OUTCOMES)
    return f"{_ABOUT[CERTIFICATE_SHEET]} {said}. A note is no failure."


def _named_file(one: Field) -> Field:
    """The name of the file; a row of no file is of all of them."""
    return replace(one, values=one.values.fill_null(_ALL_FILES)) if one.name == "file" else one
