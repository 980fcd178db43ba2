"""The workbook of an earlier run: what reviewers wrote on Breaks and Earlier breaks, read back as it is.

    sheets -> texts by heading -> types -> rules -> one row per break (columns REVIEWS)

People sort, filter and move columns, and save with another program: so cells are found by their headings, and only
values are taken. Nothing is guessed, and all that is wrong is told at once.
"""

import warnings
from collections.abc import Iterator
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any

import openpyxl  # type: ignore[import-untyped]
import polars as pl
from openpyxl.utils.escape import unescape  # type: ignore[import-untyped]

from ledger.cells import type_table
from ledger.columns import TIME, Column, schema
from ledger.money import MONEY
from ledger.reconciliation.columns import REVIEWS, STATES, STATUSES
from ledger.reconciliation.reviews import has_entry
from ledger.refusals import REFUSAL_SCHEMA, BadInput, refuse_file
from ledger.rules import broken_rules, refusals_of
from ledger.statements.workbook_cells import OLD, Problem, no_value, refuse_foreign, told
from ledger.tables import refusals_frame
from reports.cells.fields import exact, field, iso_time
from reports.previous_rules import BESIDE, beside, rules_of, same_break
from reports.previous_written import HEADER_WITHIN, REVIEWED, missing_rows, refuse_renamed
from reports.sheets.reconciliation_breaks import BREAKS_SHEET
from reports.sheets.reconciliation_earlier import EARLIER_SHEET
from reports.sheets.reconciliation_reviews import ENTRIES
from reports.sheets.sign_off import SIGN_OFF_SHEET

_NOT_READ = ("difference_before", "change", "days_open")
_COLUMNS = tuple(column for column in REVIEWS if column.name not in _NOT_READ)
_EARLIER_ONLY = ("state", "resolved_at", beside("resolved_at"))
"""Columns that are on Earlier breaks only: what is on Breaks is open."""
_SHOWN = 80

_Found = tuple[str, int | None, str | None, str | None, str, str]  # file, row, column, value, rule, remedy


def read_previous(path: Path, as_at: datetime | None = None) -> pl.DataFrame:
    """The breaks of the workbook at `path` and what reviewers wrote about them (columns REVIEWS), a row per break.

    What only a run knows (`difference_before`, `change`, `days_open`) is left empty. `as_at` is the end of the run
    that carries them on.
    Raises BadInput with every cell that is wrong, or where the file is no workbook of a reconciliation.
    """
    read = _read(path, as_at)
    if read is None:
        rule = f"The workbook has no sheet {BREAKS_SHEET}: it is not that of a reconciliation."
        raise refuse_file(str(path), rule, "Give a workbook that `margin-ledger reconcile --report` wrote.")
    return read


def refuse_loss(target: Path, kept: pl.DataFrame | None, kept_from: Path | None = None) -> None:
    """Refuse (BadInput) to replace a workbook that is signed, or in which reviewers wrote what the new one lacks.

    `kept` are the reviews that the new workbook has (columns REVIEWS), `kept_from` the workbook they were read from.
    A file that is no workbook of a reconciliation has none.
    """
    if not target.is_file():
        return
    with target.open("rb") as stream:
        if not stream.read(4).startswith((b"PK", OLD)):
            return
    signed = _signed(target)
    if signed:
        rule = f"The workbook that would be replaced is signed: {signed} of its sheet {SIGN_OFF_SHEET} is filled in."
        raise refuse_file(str(target), rule, "Write to another name: what is signed stays as it is.")
    if kept_from is not None and kept_from.exists() and target.samefile(kept_from):
        return
    try:
        found = _read(target)
    except BadInput as bad:
        rule = "The workbook that would be replaced may have entries of reviewers, and cannot be read."
        first = refuse_file(str(target), rule, "Mend it, move it away, or write to another name.")
        raise BadInput(pl.concat([first.refusals, bad.refusals]), more_may_follow=False) from None
    if found is None:
        return
    entries = found.filter(has_entry())
    known = pl.DataFrame(schema=schema(REVIEWS)) if kept is None else kept
    lost = entries.join(known, on=["break_id", *ENTRIES], how="anti", nulls_equal=True, maintain_order="left")
    if lost.height:
        rule = (
            f"The workbook has entries of reviewers (owner, status or comment) for {lost.height:,} breaks"
            f" that the new one would not have; the first is of {lost['break_id'][0]}."
        )
        remedy = f"Carry them on: reconcile ... --previous {target}; or write to another name."
        raise refuse_file(str(target), rule, remedy)


def _signed(path: Path) -> str:
    """The first cell of the Sign-off sheet that was filled in; empty where there is none, or no such workbook."""
    try:
        refuse_foreign(path)
        with told(path), path.open("rb") as stream, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of styles and extensions that do not matter here
            book = openpyxl.load_workbook(stream, read_only=True, keep_links=False)
            rows = book[SIGN_OFF_SHEET].iter_rows() if SIGN_OFF_SHEET in book.sheetnames else ()
            filled = (cell for row in rows for cell in row if cell.value is not None and not cell.protection.locked)
            return next((str(cell.coordinate) for cell in filled), "")
    except BadInput:
        return ""  # what cannot be read is refused where its reviews are looked for


# --- sheets -> texts ----------------------------------------------------------------------------------------


def _read(path: Path, as_at: datetime | None = None) -> pl.DataFrame | None:
    """The reviews of a workbook; None where it has no sheet of breaks. Raises BadInput."""
    refuse_foreign(path)
    with told(path), path.open("rb") as stream, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of styles and extensions that do not matter here
        book = openpyxl.load_workbook(stream, read_only=True, keep_links=False)
        refuse_renamed(str(path), book, {_HEADINGS[name] for name in ("break_id", *ENTRIES)})
        names = [name for name in book.sheetnames if REVIEWED.fullmatch(name)]
        if not any(name.startswith(BREAKS_SHEET) for name in names):
            return None
        sheets = {name: _texts(f"{path}, sheet {name}", name, book[name].iter_rows()) for name in names}
        written = missing_rows(str(path), book, [(name, texts) for name, (texts, _) in sheets.items()])
    tables, refusals = list[pl.DataFrame](), [written]
    for name, (texts, found) in sheets.items():
        table, refused = _typed(f"{path}, sheet {name}", texts, as_at)
        tables.append(table)
        # a cell that is no value is empty to what comes after it, and would be refused again for that
        refusals.append(pl.concat([found, refused]).unique(["row", "column"], keep="first", maintain_order=True))
    reviews, repeated = same_break(pl.concat(tables))
    problems = pl.concat([REFUSAL_SCHEMA.to_frame(), *refusals, _by_heading(repeated)])
    if problems.height:
        raise BadInput(problems, more_may_follow=False)
    return reviews.select(
        pl.col(name) if name in reviews.columns else pl.lit(None, dtype).alias(name)
        for name, dtype in schema(REVIEWS).items()
    )


def _texts(file: str, name: str, rows: Iterator[Any]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The rows of a sheet as texts, columns of `_COLUMNS` and `row`; and the cells that are no values, refused."""
    places, top = _places(file, rows, name.startswith(EARLIER_SHEET))
    texts, found = list[tuple[Any, ...]](), list[_Found]()
    for row, cells in enumerate(rows, start=top + 1):
        read = [_text(cells[place]) if place < len(cells) else None for place in places.values()]
        for column, text in zip(places, read, strict=True):
            if isinstance(text, Problem):
                found.append((file, row, _HEADINGS[column], text.value, text.rule, text.remedy))
        if any(text is not None for text in read):
            texts.append((row, *(None if isinstance(text, Problem) else text for text in read)))
    columns = {"row": pl.UInt32, **dict.fromkeys(places, pl.String)}
    frame = pl.DataFrame(texts, schema=columns, orient="row")
    if name.startswith(BREAKS_SHEET):
        frame = frame.with_columns(pl.lit(None, pl.String).alias("resolved_at"), state=pl.lit(STATES[0]))
        frame = frame.with_columns(pl.lit(None, pl.String).alias(beside("resolved_at")))
    return frame.filter(_says_something(frame)), refusals_frame(found)


def _places(file: str, rows: Iterator[Any], is_earlier: bool) -> tuple[dict[str, int], int]:
    """The place of each column among the cells of a row, and the row of the headings; raises BadInput."""
    wanted = _HEADINGS if is_earlier else {n: said for n, said in _HEADINGS.items() if n not in _EARLIER_ONLY}
    lines = ([str(cell.value or "").strip() for cell in cells] for cells in islice(rows, HEADER_WITHIN))
    top, headings = next((one for one in enumerate(lines, 1) if wanted["break_id"] in one[1]), (0, list[str]()))
    if not top:
        rule = f"The sheet has no heading {wanted['break_id']}: it is not one that this program wrote."
        raise refuse_file(file, rule, "Give a workbook that `margin-ledger reconcile --report` wrote.")
    found = list[_Found]()
    for heading in wanted.values():
        if headings.count(heading) != 1:
            rule = "The column is missing." if heading not in headings else "The column stands there more than once."
            found.append((file, top, heading, None, rule, "Put the headings back as they were written."))
    if found:
        raise BadInput(refusals_frame(found))
    return {name: headings.index(heading) for name, heading in wanted.items()}, top


def _text(cell: Any) -> str | Problem | None:
    """What a cell says, as text; nothing where it is empty, a problem where it is a formula or an error."""
    value = cell.value
    if value is None:
        return None
    if cell.data_type in ("f", "e"):
        return no_value(cell)
    if isinstance(value, bool):
        return str(value).upper()
    if isinstance(value, float) and value.is_integer():
        return f"{value:.0f}"
    if isinstance(value, str):
        plain = str(unescape(value)).replace("\r\n", "\n").replace("\r", "\n")
        return plain if plain.strip() else None
    return str(value)


def _says_something(frame: pl.DataFrame) -> pl.Expr:
    """Whether a row is of a break, or has an entry; a total or a note below the table is not read."""
    return pl.any_horizontal(pl.col(name).is_not_null() for name in ("break_id", *ENTRIES))


# --- texts -> types and rules -------------------------------------------------------------------------------


def _typed(file: str, texts: pl.DataFrame, as_at: datetime | None) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The rows with their types, their `file` and `row`; and what is refused of them."""
    entered = texts.with_columns(status=pl.col("status").str.strip_chars().fill_null(STATUSES[0]))
    table, refused = type_table(entered, _COLUMNS)
    names = [column.name for column in _COLUMNS]
    table = table.select(pl.lit(file).alias("file"), "row", *names, *BESIDE)
    broken = broken_rules(table, rules_of(as_at), refused)
    shown = texts.with_columns(_shortened(name) for name in texts.columns if name != "row")
    refusals = refusals_of(file, shown, [*refused, *broken])
    return table, _by_heading(refusals)


def _shortened(name: str) -> pl.Expr:
    """A text as it is shown in a refusal."""
    text = pl.col(name)
    short = pl.format("{}... ({} characters)", text.str.head(_SHOWN), text.str.len_chars())
    return pl.when(text.str.len_chars() > _SHOWN).then(short).otherwise(text).alias(name)


def _by_heading(refusals: pl.DataFrame) -> pl.DataFrame:
    return refusals.with_columns(pl.col("column").replace(_HEADINGS))


def _heading(column: Column) -> str:
    """The heading of the cells that have the value to its last digit."""
    of = exact if column.dtype == MONEY else iso_time if column.dtype == TIME else field
    return of(column).heading


_TIMES = tuple(column for column in _COLUMNS if column.dtype == TIME)
_HEADINGS = {column.name: _heading(column) for column in _COLUMNS} | {
    beside(column.name): field(column).heading for column in _TIMES
}
