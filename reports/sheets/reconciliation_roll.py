"""The sheet Roll-forward: opening, changes and closing of each balance, tied to the last rows of the ledger."""

from collections.abc import Sequence
from dataclasses import replace

import polars as pl

from ledger.reconciliation.columns import ROLL_FORWARD
from reports.cells.by_group import write_sheet
from reports.cells.fields import Field, Placed, Tables
from reports.cells.tables import Book, mark_results
from reports.sheets.checks import HERE, TOLERANCE
from reports.sheets.reconciliation_fields import EXACT_GROUP, grouped, in_row, live
from reports.sheets.reference import WORKBOOK_PARAMETERS

ROLL_SHEET = "Roll-forward"
_FLOWS = (
    "opening",
    "bought",
    "sold",
    "fees",
    "interest",
    "margin_posted",
    "margin_changed",
    "adjustments",
    "released",
)
_GROUPS = {
    "Balance": ("position", "balance", "currency"),
    "Opening and changes": _FLOWS,
    "Closing": ("closing",),
}
_LEDGER_CLOSINGS = {"base_leg": "base_closing", "quote_leg": "quote_closing", "margin": "margin_closing"}
_ABOUT = (
    "Opening and changes add up to the closing, each with the sign with which it moves the balance. Each closing is"
    " held against that of the last row of its position on the sheet Ledger."
)


def beside_ledger(frame: pl.DataFrame, ledger: Tables) -> pl.DataFrame:
    """The roll-forward, with the closing of each position's last row in `ledger` and a link to its cell.

    Adds the columns ledger_closing (money) and link (text); both are empty where the ledger has no such position.
    """
    found = pl.concat([_closings(placed, part) for placed, part in ledger])
    last = found.unique(["position", "balance"], keep="last", maintain_order=True)
    keys = frame.with_columns(pl.col("balance").cast(pl.String))
    joined = keys.join(last, on=["position", "balance"], how="left", maintain_order="left")
    return frame.with_columns(joined["ledger_closing"], joined["link"])


def roll_fields(rows: pl.DataFrame, linked: bool = True) -> tuple[Field, ...]:
    """The fields of the sheet for the rows `beside_ledger`.

    The ledger's closings are links, each row its own; if not `linked` they are values: where several sheets are needed,
    or the ledger is in a file beside the workbook.
    """
    fields = grouped(ROLL_FORWARD, _GROUPS, beside=("closing",))
    cell = in_row(fields)
    # One after another, not SUM: so a spreadsheet takes what is left beyond its digits for the zero that it is.
    formulas = {"closing": ("+".join(cell[name] for name in _FLOWS), "+".join(_FLOWS))}
    fields = live(fields, formulas, closing=_FLOWS)
    behind = next(n for n, one in enumerate(fields) if one.group == EXACT_GROUP)
    fields.insert(behind, _link(rows) if linked else replace(_link(rows), formulas=(), said="recorded, not a link"))
    return (*fields[: behind + 1], _tied(fields), *fields[behind + 1 :])


def write_roll_forward(book: Book, name: str, frame: pl.DataFrame, fields: Sequence[Field]) -> Placed:
    """Write a sheet of the roll-forward; the frame is that of `beside_ledger`, with at most a sheet's rows."""
    placed, sheet = write_sheet(book, name, frame, fields, note=_ABOUT, repeated=2)
    if any(one.heading == "Tied" for one in fields):
        mark_results(book, sheet, placed.range("Tied", other_sheet=False))
    return placed


def _closings(placed: Placed, part: pl.DataFrame) -> pl.DataFrame:
    """Position, balance, ledger_closing and link: the last row of each position in this part of the ledger."""
    last = part.with_row_index("at", placed.first).group_by("position", maintain_order=True).last()
    letters = {one.name: placed.letter(one.heading) for one in placed.fields if one.kind != "exact"}
    return pl.concat(
        last.select(
            "position",
            pl.lit(balance).alias("balance"),
            pl.col(name).alias("ledger_closing"),
            pl.format(f"'{placed.sheet}'!{letters[name]}{{}}", "at").alias("link"),
        )
        for balance, name in _LEDGER_CLOSINGS.items()
    )


def _link(rows: pl.DataFrame) -> Field:
    return Field(
        "Ledger's closing",
        "amount",
        pl.col("ledger_closing").cast(pl.String).cast(pl.Float64),
        "currency",
        "Closing of the balance in the last row of the position on the sheet Ledger; empty: it has none.",
        HERE,
        name="ledger_closing",
        group="Closing",
        formulas=tuple(rows["link"].fill_null('""')),
        words="closing of the position's last row on the sheet Ledger",
    )


def _tied(fields: Sequence[Field]) -> Field:
    """OK where roll-forward and ledger agree, as far as the digits of a spreadsheet tell."""
    cell = in_row(fields)
    closing, link = cell["closing"], cell["ledger_closing"]
    scale = "+".join(f"ABS({cell[name]})" for name in _FLOWS)
    agrees = f"ABS({closing}-{link})<={TOLERANCE}*({scale})"
    tolerance = float(WORKBOOK_PARAMETERS[0]["value"])
    apart = (pl.col("closing") - pl.col("ledger_closing")).abs().cast(pl.String).cast(pl.Float64)
    size = pl.sum_horizontal(pl.col(name).cast(pl.Float64).abs() for name in _FLOWS)
    result = pl.when(apart.is_null()).then(pl.lit("no row")).when(apart <= tolerance * size).then(pl.lit("OK"))
    return Field(
        "Tied",
        "result",
        result.otherwise(pl.lit("FAIL")),
        "",
        "OK when the closing is the ledger's, within the digits of a spreadsheet; no row: the ledger has none.",
        HERE,
        group="Closing",
        formula=f'IF({link}="","no row",IF({agrees},"OK","FAIL"))',
        words=f'IF(ABS(closing-ledger\'s closing)<={TOLERANCE}*(sum of the absolute opening and changes),"OK","FAIL")',
    )
