"""Manual adjustments: a sheet of an Excel workbook in, canonical events out.

    sheet Adjustments -> [sheet Mapping: names of columns] -> texts -> types and rules of canonical events -> events

The same adjustments in CSV are canonical events with a `reason`: the ordinary reader takes them.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from ledger.cells import empty_cells
from ledger.columns import EVENTS, Column
from ledger.events import REQUIRED
from ledger.policies import Policies
from ledger.reading import EVENTS_SCHEMA, typed_batch
from ledger.refusals import BadInput, refuse_file
from ledger.rules import Refused, refusals_of
from ledger.statements.workbook_cells import Cells, Problem, Sheet, read_sheets, shown
from ledger.tables import RawBatch, refusals_frame

SHEET, MAPPING = "Adjustments", "Mapping"
REMARK = "# "
"""A row whose first filled cell begins so is a remark: meanings, examples, notes."""

COMMENT = Column("comment", pl.String, "", "Who adjusts, and why.", "manual adjustment")
ADJUSTMENTS = (*EVENTS, COMMENT)
"""The columns of the sheet."""
ADJUSTMENTS_REQUIRED = (*REQUIRED, "reason", "comment")
"""Columns that every adjustment fills, whatever its kind."""

COMMENTS_SCHEMA = pl.Schema({"event_id": pl.String, "comment": pl.String, "input": pl.UInt16, "row": pl.UInt32})

_NAMES = tuple(column.name for column in ADJUSTMENTS)
_IN_UTC = re.compile(r"\s*\(\s*UTC\s*\)\s*$", re.IGNORECASE)
_UTC_WORD = re.compile(r"\bUTC\b", re.IGNORECASE)
_WITHOUT_ZONE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?")
_ERRORS = ("#REF!", "#N/A", "#VALUE!", "#DIV/0!", "#NAME?", "#NUM!", "#NULL!", "#SPILL!", "#CALC!")

_Places = dict[str, int]  # canonical column -> number of the sheet's column
_Found = tuple[int | None, str | None, str | None, str, str]  # row, column, value, rule, remedy


@dataclass(frozen=True)
class Adjustments:
    """`events` has EVENTS_SCHEMA, `comments` COMMENTS_SCHEMA, both in the order of the sheet and without the rows
    that are refused; `refusals` has REFUSAL_SCHEMA, all of them, with the columns of the sheet."""

    events: pl.DataFrame
    comments: pl.DataFrame
    refusals: pl.DataFrame


def read_adjustments(path: Path, number: int, policies: Policies | None = None) -> Adjustments:
    """The adjustments of an .xlsx file; `number` is that of the file among all inputs.

    Raises nothing for bad input: what is wrong is in `refusals`.
    """
    try:
        sheets = read_sheets(path)
        sheet = _sheet(path, sheets)
        file = f"{path}, sheet {sheet.name}"
        header = _header(file, sheet)
        places = _places(path, sheet, header, sheets.get(MAPPING))
        return _typed(file, sheet, header, places, number, policies or Policies())
    except BadInput as bad:
        return Adjustments(EVENTS_SCHEMA.to_frame(), COMMENTS_SCHEMA.to_frame(), bad.refusals)


# --- where things stand -------------------------------------------------------------------------------------


def _sheet(path: Path, sheets: dict[str, Sheet]) -> Sheet:
    """The sheet named Adjustments, or the only one besides the mapping."""
    others = [sheet for name, sheet in sheets.items() if name != MAPPING]
    if SHEET in sheets:
        return sheets[SHEET]
    if len(others) == 1:
        return others[0]
    found = ", ".join(sheet.name for sheet in others) or "none"
    rule = f"The workbook has no visible sheet {SHEET}, and not one sheet only."
    raise refuse_file(str(path), rule, f"Name the sheet {SHEET}; show it if it is hidden.", value=found)


def _filled(sheet: Sheet) -> list[tuple[int, Cells]]:
    """The rows that are no remarks."""
    return [(row, cells) for row, cells in sheet.rows.items() if not shown(cells[min(cells)]).startswith(REMARK)]


def _header(file: str, sheet: Sheet) -> Cells:
    rows = _filled(sheet)
    if not rows:
        raise refuse_file(file, "The sheet is empty.", f"Name its columns in the first row: {', '.join(_NAMES)}.")
    row, cells = rows[0]
    bad = [(row, None, cell.value, cell.rule, cell.remedy) for cell in cells.values() if isinstance(cell, Problem)]
    if bad:
        raise _refused(file, bad)
    return {column: shown(cell).strip() for column, cell in cells.items()}


def _places(path: Path, sheet: Sheet, header: Cells, mapping: Sheet | None) -> _Places:
    """The column of the sheet for each canonical one. Raises BadInput with all columns that are wrong."""
    file, found = f"{path}, sheet {sheet.name}", list[_Found]()
    titles = {column: shown(title) for column, title in header.items()}
    mapped = _mapped(f"{path}, sheet {MAPPING}", mapping, set(titles.values())) if mapping else {}
    own = {title: _IN_UTC.sub("", title) for title in titles.values() if title not in mapped.values()}
    named = {**{name: title for title, name in own.items()}, **mapped}
    every = [own.get(title, title) for title in titles.values()]
    for name in dict.fromkeys(every):
        if every.count(name) > 1:
            found.append((None, name, None, "The column is given more than once.", "Keep one of them."))
    known = {name: title for name, title in named.items() if name in _NAMES}
    for title in titles.values():
        if mapping is None and own[title] not in known:
            rule = "The column is not known; a misspelt one would be ignored."
            remedy = f"Remove it, choose from: {', '.join(_NAMES)}, or say on a sheet {MAPPING} what it is."
            found.append((None, title, None, rule, remedy))
    for name in ADJUSTMENTS_REQUIRED:
        if name not in known:
            found.append((None, name, None, "The column is required.", f"Add it, or map it on a sheet {MAPPING}."))
    if found:
        raise _refused(file, found)
    numbers = {title: column for column, title in titles.items()}
    return {name: numbers[title] for name, title in known.items()}


def _mapped(file: str, mapping: Sheet, titles: set[str]) -> dict[str, str]:
    """Canonical column -> title of the sheet's column, as the sheet Mapping has them in its first two columns."""
    result, found = dict[str, str](), list[_Found]()
    for row, cells in _filled(mapping):
        ours, theirs = shown(cells.get(1)).strip(), shown(cells.get(2)).strip()
        problems = [cell for cell in cells.values() if isinstance(cell, Problem)]
        found += [(row, None, cell.value, cell.rule, cell.remedy) for cell in problems]
        if problems or (not result and ours not in _NAMES and theirs not in titles):
            continue  # the headings of the mapping
        if ours not in _NAMES:
            remedy = f"Choose from: {', '.join(_NAMES)}."
            found.append((row, "canonical column", ours, "The first column names a canonical column.", remedy))
        elif theirs not in titles:
            remedy = f"Write it as in the header of the sheet {SHEET}."
            found.append((row, "column of the sheet", theirs, "The second column names one of the sheet.", remedy))
        elif ours in result or theirs in result.values():
            found.append((row, "column of the sheet", theirs, "A column is mapped once.", "Keep one of the two rows."))
        else:
            result[ours] = theirs
    if found:
        raise _refused(file, found)
    return result


# --- what the cells say -------------------------------------------------------------------------------------


def _typed(file: str, sheet: Sheet, header: Cells, places: _Places, number: int, policies: Policies) -> Adjustments:
    titles = {name: shown(header[column]) for name, column in places.items()}
    in_utc = _UTC_WORD.search(titles["time"]) is not None
    texts, found = list[dict[str, str | int | None]](), list[_Found]()
    rows = _filled(sheet)[1:]
    for row, cells in rows:
        problems = _problems(cells, places)
        found += [(row, titles[name], cell.value, cell.rule, cell.remedy) for name, cell in problems.items()]
        read = {name: None if name in problems else shown(cells.get(column)) or None for name, column in places.items()}
        texts.append({"row": row, **read, "time": _time(read["time"], in_utc)})
    raw = pl.DataFrame(texts, schema={"row": pl.UInt32, **dict.fromkeys(places, pl.String)})
    broken = refusals_frame([(file, *problem) for problem in found])
    batch, _ = typed_batch(RawBatch(raw.drop("comment"), broken.clear()), file, number, policies, None)
    typed = _by_title(pl.concat([refusals_of(file, raw, _comments_missing(raw)), batch.refusals]), titles)
    # a refused cell is empty to what comes after it, and would be refused again for that
    once = pl.concat([broken, typed]).unique(["row", "column"], keep="first", maintain_order=True)
    refusals = once.sort("row", maintain_order=True)
    events = batch.events.join(refusals, on="row", how="anti", maintain_order="left")
    comments = events.select("event_id", "input", "row").join(raw.select("row", "comment"), on="row", how="left")
    return Adjustments(events, comments.select(COMMENTS_SCHEMA.names()), refusals)


def _problems(cells: Cells, places: _Places) -> dict[str, Problem]:
    """The cells of a row that are refused, by canonical column."""
    found = {}
    for name, column in places.items():
        cell = cells.get(column)
        if isinstance(cell, Problem):
            found[name] = cell
        elif cell in _ERRORS:
            found[name] = Problem(cell, "The cell shows an error of the spreadsheet.", "Fill in the value.")
    return found


def _time(text: str | None, in_utc: bool) -> str | None:
    """A time without a zone is in UTC where the heading of its column says so; a date in a cell never has one."""
    return f"{text}Z" if text and in_utc and _WITHOUT_ZONE.fullmatch(text) else text


def _comments_missing(raw: pl.DataFrame) -> list[Refused]:
    """Rows without a reason or a comment, and comments with what cannot be seen."""
    hidden = raw["comment"].str.contains(r"[\p{C}--[\n\r\t]]").fill_null(value=False)
    remedy = "Remove control characters and byte order marks."
    refused = empty_cells(raw, ("reason", "comment"))
    return [*refused, Refused("comment", "A comment has no invisible character.", remedy, hidden)]


def _by_title(refusals: pl.DataFrame, titles: dict[str, str]) -> pl.DataFrame:
    """The refusals with the columns as the sheet names them, and what to do about a time without a zone."""
    needs_zone = pl.col("rule") == "A time states its zone."
    remedy = 'Write "(UTC)" behind the heading of its column if it is UTC, or add an offset such as +08:00 to each.'
    return refusals.with_columns(
        column=pl.col("column").replace(titles),
        remedy=pl.when(needs_zone).then(pl.lit(remedy)).otherwise("remedy"),
    )


def _refused(file: str, found: Sequence[_Found]) -> BadInput:
    return BadInput(refusals_frame([(file, *problem) for problem in found]))
