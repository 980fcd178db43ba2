"""What the sheets of risk share: columns of a registry by group with live formulas, colours, charts above a table."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ledger.columns import Column
from ledger.money import MONEY
from ledger.risk.columns import STATUSES
from reports.cells.fields import Field, Placed
from reports.cells.formulas import cells, in_words
from reports.cells.tables import COLUMN_MARGIN, PAGE_WIDTH, PRINT_SCALE
from reports.sheets.reconciliation_fields import BAD, GOOD, OPEN, grouped, in_row, live

WORKINGS = "Workings"
STATUS_LOOKS: dict[str, dict[str, Any]] = {
    "not_graded": OPEN,
    "normal": GOOD,
    "alert": OPEN,
    **dict.fromkeys(STATUSES[3:], BAD),
}
"""Colours of the statuses: those behind `alert` are at or below the ratio of a liquidation."""
AT_OR_BELOW_LIQUIDATION = STATUSES[3:]
AT_OR_BELOW_ALERT = STATUSES[2:]
"""The statuses of a position whose ratio is at or below that of the liquidation, or that of the alert."""


def shown(
    columns: Sequence[Column],
    groups: Mapping[str, Sequence[str]],
    *,
    empties: Collection[str] = (),
    beside: Sequence[str] = (),
    left_out: Collection[str] = (),
) -> list[Field]:
    """The fields of all columns by group, the rest as workings, with a live formula where one is computed.

    A formula shows nothing where a cell it reads is empty: that of a column named in `empties`, or a computed one.
    Amounts named in `beside` have their exact text next to them, all others behind; columns `left_out` have no field.
    """
    there = [column for column in columns if column.name not in left_out]
    chosen = {name for names in groups.values() for name in names}
    rest = [column.name for column in there if column.name not in chosen]
    fields = grouped(there, {**groups, WORKINGS: rest}, beside)
    fields = [replace(one, kind="percent") if one.kind == "rate" else one for one in fields]
    cell = in_row(fields)
    found = cells(there, cell.__getitem__, set(empties))
    by_name = {column.name: column for column in there}
    words = {name: in_words(column) for name, column in by_name.items()}
    formulas = {name: (one.formula, words[name]) for name, one in found.items()}
    amounts = {column.name for column in there if column.dtype == MONEY}
    made_of = {name: tuple(read for read in by_name[name].parameters if read in amounts) for name in formulas}
    return live(fields, formulas, **made_of)


def not_added(fields: Sequence[Field], names: Collection[str]) -> list[Field]:
    """The fields, those named left out of the tie-out: they are states at several times, or limits, not flows."""
    return [replace(one, adds_up=False) if one.name in names else one for one in fields]


def print_below_charts(sheet: Any, placed: Placed, widths: Sequence[float], not_printed: Collection[str]) -> None:
    """Print the charts and the columns on one page across, but for groups that are for the screen; `widths` as fitted.

    The groups that are not printed are the last ones.
    """
    pairs = zip(widths, placed.fields, strict=True)
    printed = [width + COLUMN_MARGIN for width, one in pairs if one.group not in not_printed]
    sheet.print_area(0, 0, max(placed.first, placed.last) - 1, len(printed) - 1)
    sheet.set_print_scale(int(PRINT_SCALE * min(1, PAGE_WIDTH / sum(printed))))
    sheet.repeat_rows(placed.first - 5, placed.first - 2)
