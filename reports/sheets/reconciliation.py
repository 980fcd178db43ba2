"""The sheets of a reconciliation: which there are, where each stands, and writing them in their order."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from math import fsum
from typing import Any

import polars as pl

from ledger.columns import schema
from ledger.reconciliation.columns import ADJUSTMENT_COMMENTS, RECONCILIATION_FRAMES
from ledger.statements.columns import STATEMENT_FRAMES
from reports.cells.fields import Field, Placed, Tables, place, without_number
from reports.cells.tables import AGREES, DIFFERS, FOLLOWS, Book
from reports.sheets import reconciliation_ages as ages
from reports.sheets import reconciliation_breaks as breaks
from reports.sheets import reconciliation_causes as causes
from reports.sheets import reconciliation_comparison as comparison
from reports.sheets import reconciliation_earlier as earlier
from reports.sheets import reconciliation_lead as lead
from reports.sheets import reconciliation_roll as roll
from reports.sheets import statements
from reports.sheets.checks import exact_total
from reports.sheets.ledger import in_order, ledger_fields
from reports.sheets.reconciliation_fields import TO_FILL_IN

Cut = Callable[[str, pl.DataFrame, Sequence[Field]], Tables]
"""Cuts a frame into what fits a sheet, and says where each part will stand."""

DESCRIPTIONS = {
    lead.LEAD_SHEET: "Ledger, adjustments, exchange and difference by account, class of balances and currency.",
    roll.ROLL_SHEET: "Opening, changes and closing of each balance, tied to the ledger.",
    comparison.COMPARISON_SHEET: "Every figure of ledger and exchange side by side, with the verdict.",
    causes.BY_CAUSE: "Charts and counts: how often each cause is named, how sure it is, and how old breaks are.",
    breaks.BREAKS_SHEET: "Every break: what it comes to, what explains it, and what becomes of it.",
    earlier.EARLIER_SHEET: "Breaks of earlier runs that are resolved, or were not compared, and what reviewers wrote.",
    breaks.PARTS_SHEET: "The causes of every break, with the part of the difference that each makes.",
    comparison.EVENTS_SHEET: "Events that one side lacks, or has otherwise.",
    statements.ADJUSTMENTS_SHEET: "What was posted by hand, and why.",
    statements.CERTIFICATE_SHEET: "Whether the exchange's files are complete: every control, and what it found.",
    statements.SUMS_SHEET: "Rows and sums of the exchange's files, by meaning, type and currency.",
    statements.UNCLASSIFIED_SHEET: "Rows of the exchange's files that give no event, with their amounts.",
}
"""What each sheet is, for the index on About."""

COLOURS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("matched", "what agrees, or is proved: green, and says so", AGREES),
    ("note", "what is only noted, not compared or ambiguous: yellow, and says so", FOLLOWS),
    ("break", "what does not agree: orange, and says how", DIFFERS),
    ("open", "yours to fill in: framed, the only cells of a protected sheet that take entries", TO_FILL_IN),
)
"""Samples of the colours of these sheets, for About."""


@dataclass(frozen=True)
class ReconciliationParts:
    """Where the sheets of a reconciliation stand; each is empty where its frame is not there."""

    lead: Tables = ()
    roll: Tables = ()
    comparison: Tables = ()
    by_cause: Tables = ()
    by_age: Tables = ()
    breaks: Tables = ()
    earlier: Tables = ()
    parts: Tables = ()
    events: Tables = ()
    adjustments: Tables = ()
    certificate: Tables = ()
    sums: Tables = ()
    unclassified: Tables = ()
    events_note: str = ""

    @property
    def before_positions(self) -> Tables:
        """The sheets between Checks and Positions."""
        return (*self.lead, *self.roll)

    @property
    def after_positions(self) -> Tables:
        """The sheet between Positions and Interest."""
        return self.comparison

    @property
    def before_ledger(self) -> Tables:
        """The sheets between Interest and Ledger."""
        return (*self.by_cause, *self.breaks, *self.earlier, *self.parts, *self.events, *self.adjustments)

    @property
    def after_ledger(self) -> Tables:
        """The sheets between Ledger and Parameters."""
        return (*self.certificate, *self.sums, *self.unclassified)

    @property
    def all(self) -> Tables:
        """Every sheet of a reconciliation."""
        return (*self.before_positions, *self.after_positions, *self.before_ledger, *self.after_ledger)


def reconciliation_parts(frames: Mapping[str, pl.DataFrame], ledger: Tables, cut: Cut) -> ReconciliationParts:
    """Where the sheets will stand: one for each frame that is there and has rows; that of breaks also without.

    `ledger` is where the sheets of the ledger stand, `cut` cuts a frame into what fits a sheet.
    """

    def sheet(name: str, rows: pl.DataFrame | None, fields: Callable[[pl.DataFrame], Sequence[Field]]) -> Tables:
        return cut(name, rows, fields(rows)) if rows is not None and rows.height else ()

    reviewed = _breaks(frames, cut)
    matches = frames.get("matches", pl.DataFrame())
    comments = frames.get("adjustment_comments", pl.DataFrame(schema=schema(ADJUSTMENT_COMMENTS)))
    by_hand = statements.adjusted(frames["ledger"], comments) if _has(frames) else None
    rows = frames.get("statements")
    return ReconciliationParts(
        lead=sheet(lead.LEAD_SHEET, frames.get("lead"), lead.lead_fields),
        roll=_roll(frames.get("roll_forward"), ledger, frames["ledger"], cut),
        comparison=sheet(comparison.COMPARISON_SHEET, frames.get("comparison"), comparison.comparison_fields),
        **reviewed,
        events=_events(matches, cut),
        events_note=comparison.counted(matches) if matches.height else "",
        adjustments=sheet(statements.ADJUSTMENTS_SHEET, by_hand, statements.adjustment_fields),
        certificate=sheet(statements.CERTIFICATE_SHEET, frames.get("certificate"), statements.certificate_fields),
        sums=sheet(statements.SUMS_SHEET, frames.get("statement_sums"), statements.sum_fields),
        unclassified=sheet(
            statements.UNCLASSIFIED_SHEET, None if rows is None else statements.left_open(rows), statements.row_fields
        ),
    )


def write_reconciliation(book: Book, found: ReconciliationParts, tables: Tables) -> None:
    """Write those sheets of `found` that are in `tables`, for example `found.before_positions`, where they stand."""
    writers: dict[str, Callable[..., Placed]] = {
        lead.LEAD_SHEET: lead.write_lead,
        roll.ROLL_SHEET: roll.write_roll_forward,
        comparison.COMPARISON_SHEET: comparison.write_comparison,
        breaks.BREAKS_SHEET: breaks.write_breaks,
        breaks.PARTS_SHEET: breaks.write_parts,
        earlier.EARLIER_SHEET: earlier.write_earlier,
        comparison.EVENTS_SHEET: partial(comparison.write_events, note=found.events_note),
        statements.ADJUSTMENTS_SHEET: statements.write_adjustments,
        statements.CERTIFICATE_SHEET: statements.write_certificate,
        statements.SUMS_SHEET: statements.write_sums,
        statements.UNCLASSIFIED_SHEET: statements.write_rows,
    }
    for placed, frame in tables:
        name = without_number(placed.sheet)
        if name == causes.BY_CAUSE:
            causes.write_by_cause(book, frame, placed, found.by_age)
        else:
            writers[name](book, placed.sheet, frame, placed.fields)


def break_lines(found: ReconciliationParts) -> list[pl.DataFrame]:
    """The lines that tie parts to the differences of breaks, and ages to breaks, to go below `tie_out_lines`."""
    if not (found.breaks and found.parts):
        return []
    by_age = [ages.age_line(placed, counts, found.breaks) for placed, counts in found.by_age]
    amounts = pl.concat([frame["amount"] for _, frame in found.parts])
    differences = pl.concat([frame["difference"].drop_nulls() for _, frame in found.breaks])
    scale = Decimal(exact_total(amounts.abs())) + Decimal(exact_total(differences.abs()))
    line = {
        "sheet": found.parts[0][0].sheet,
        "column": f"Amount, against the differences of the sheet {breaks.BREAKS_SHEET}",
        "formula": "+".join(f"SUM({placed.range('Amount')})" for placed, _ in found.parts),
        "added": fsum(amounts.cast(pl.String).cast(pl.Float64)),
        "total": exact_total(differences),
        "scale": f"{scale:f}",
    }
    return [pl.DataFrame([line]), *by_age]


def _has(frames: Mapping[str, pl.DataFrame]) -> bool:
    return any(name in frames for name in (*RECONCILIATION_FRAMES, *STATEMENT_FRAMES))


def _breaks(frames: Mapping[str, pl.DataFrame], cut: Cut) -> dict[str, Tables]:
    """Breaks, their parts and earlier breaks; without a break there are neither parts nor causes and ages to count."""
    if not {"breaks", "break_causes", "reviews"} <= set(frames):
        return {}
    broken, rows = breaks.numbered(frames["breaks"], frames["break_causes"], frames["reviews"])
    gone = earlier.earlier(frames["reviews"])
    parts = cut(breaks.PARTS_SHEET, rows, breaks.part_fields()) if rows.height else ()
    placed = cut(breaks.BREAKS_SHEET, broken, breaks.break_fields(broken, parts))
    found = {
        "breaks": placed,
        "earlier": cut(earlier.EARLIER_SHEET, gone, earlier.earlier_fields(gone)) if gone.height else (),
        "parts": parts,
    }
    counted = causes.cause_counts(rows)
    if counted.height:
        by_cause = place(causes.BY_CAUSE, causes.cause_fields(parts), counted.height, causes.top_row(counted.height))
        counts = ages.age_counts(broken)
        by_age = place(causes.BY_CAUSE, ages.age_fields(placed), counts.height, by_cause.last + 4)
        found |= {"by_cause": ((by_cause, counted),), "by_age": ((by_age, counts),)}
    return found


def _roll(frame: pl.DataFrame | None, ledger: Tables, rows_of_ledger: pl.DataFrame, cut: Cut) -> Tables:
    """The roll-forward; one that needs several sheets has no links, as each row's link is its own.

    Nor has one without a ledger to link to, whose rows are in a file beside the workbook.
    """
    if frame is None or frame.is_empty():
        return ()
    if not ledger:
        beside = [(Placed("Ledger", ledger_fields(), 1, rows_of_ledger.height), in_order(rows_of_ledger))]
        return cut(roll.ROLL_SHEET, *_unlinked(roll.beside_ledger(frame, beside)))
    rows = roll.beside_ledger(frame, ledger)
    linked = cut(roll.ROLL_SHEET, rows, roll.roll_fields(rows))
    return linked if len(linked) == 1 else cut(roll.ROLL_SHEET, *_unlinked(rows))


def _unlinked(rows: pl.DataFrame) -> tuple[pl.DataFrame, Sequence[Field]]:
    return rows, roll.roll_fields(rows, linked=False)


def _events(matches: pl.DataFrame, cut: Cut) -> Tables:
    return cut(comparison.EVENTS_SHEET, comparison.apart(matches), comparison.event_fields()) if matches.height else ()
