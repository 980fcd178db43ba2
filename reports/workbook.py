"""From a replay's folder to the workbook: read the frames, lay out the sheets, write the file in one go."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl
from xlsxwriter import Workbook  # type: ignore[import-untyped]

from ledger.columns import FRAMES, TIME, Column, schema
from ledger.interest.columns import INTEREST_FRAMES, INTEREST_ROWS, RATES
from ledger.money import INTEGER_DIGITS, MONEY, SCALE
from ledger.reconciliation.columns import RECONCILIATION_FRAMES
from ledger.refusals import LedgerError
from ledger.statements.columns import STATEMENT_FRAMES
from reports import sheets
from reports.sheets import Book
from reports.sheets_about import input_fields, write_about
from reports.sheets_checks import (
    causes_line,
    check_fields,
    overall,
    tie_out_fields,
    tie_out_lines,
    write_checks,
)
from reports.sheets_fields import Field, Placed, Tables, place, without_number
from reports.sheets_interest import InterestParts, interest_parts, write_interest
from reports.sheets_ledger import in_order, ledger_fields, write_ledger
from reports.sheets_positions import position_fields, write_positions
from reports.sheets_reconciliation import ReconciliationParts, break_lines, reconciliation_parts, write_reconciliation
from reports.sheets_reference import (
    WORKBOOK_PARAMETERS,
    glossary,
    glossary_fields,
    parameter_fields,
    with_workbook_parameters,
    write_glossary,
    write_parameters,
)

SHEET_ROWS_MAX = 1_048_576
"""Rows a sheet takes, headings included; a longer frame goes on on the next sheet."""
_TABLE_TOP = 3
_HEADER_ROWS = 6
_FIXED_DATE = datetime(2000, 1, 1)
_ENDINGS = (".parquet", ".csv")
_MONEY_TEXT = rf"^-?\d{{1,{INTEGER_DIGITS}}}(\.\d{{1,{SCALE}}})?$"


def read_frames(directory: Path) -> dict[str, pl.DataFrame]:
    """The frames a replay wrote to a directory, as Parquet or CSV, with exactly the schemas of FRAMES.

    Those of interest and of a reconciliation are read too if any is there. Amounts in CSV are cast from text.
    Raises LedgerError when a file is missing, cannot be read or was not written by a replay.
    """
    wanted = _wanted(lambda name: any((directory / f"{name}{ending}").is_file() for ending in _ENDINGS))
    return {name: _read_frame(directory, name, columns) for name, columns in wanted.items()}


def write_workbook(frames: Mapping[str, pl.DataFrame], path: Path) -> None:
    """Write the workbook of a replay; `frames` are those of FRAMES, and of interest or reconciliation all or none.

    The file appears only when it is complete, and the same frames give the same bytes. Raises LedgerError
    when a frame is not one of a replay or the file cannot be written.
    """
    for name, columns in _wanted(lambda name: name in frames).items():
        if name not in frames or frames[name].schema != schema(columns):
            raise LedgerError(f"{name}: not the frame of a replay; give the frames that replay returned")
    if frames["checks"].is_empty():
        raise LedgerError("checks: empty; a workbook without a check would prove nothing")
    try:
        # In the same folder, so that the last step is a rename and never a copy.
        with TemporaryDirectory(prefix=".workbook-", dir=path.parent) as folder:
            draft = Path(folder) / path.name
            _write_draft(frames, draft)
            draft.replace(path)
    except OSError as error:
        raise LedgerError(f"{path}: cannot be written ({error.strerror or error})") from error


def _wanted(is_there: Callable[[str], bool]) -> dict[str, tuple[Column, ...]]:
    """The frames a workbook is made of: those of a replay, and each group of others of which one is there."""
    groups = (INTEREST_FRAMES, {**STATEMENT_FRAMES, **RECONCILIATION_FRAMES})
    return FRAMES | {name: columns for group in groups if any(map(is_there, group)) for name, columns in group.items()}


def parts(name: str, frame: pl.DataFrame, fields: Sequence[Field]) -> list[tuple[Placed, pl.DataFrame]]:
    """The frame cut into what fits a sheet, and where each part will stand: on `Ledger`, or `Ledger 1`..."""
    room = SHEET_ROWS_MAX - _HEADER_ROWS
    cuts = [frame] if frame.height <= room else list(frame.iter_slices(room))
    names = [name] if len(cuts) == 1 else [f"{name} {number}" for number in range(1, len(cuts) + 1)]
    return [(place(n, fields, cut.height, _TABLE_TOP, bands=True), cut) for n, cut in zip(names, cuts, strict=True)]


def _write_draft(frames: Mapping[str, pl.DataFrame], path: Path) -> None:
    longest = max(frame.height for name, frame in frames.items() if name != "postings")
    streaming = longest > sheets.LONG_TABLE_ROWS
    options = {
        "constant_memory": streaming,
        "tmpdir": str(path.parent),
        "default_format_properties": dict(sheets.LOOK),
    }
    workbook = Workbook(str(path), options)
    workbook.use_zip64()
    workbook.set_properties(
        {
            "title": "Spot margin ledger",
            "subject": "Assets, liability and margin of isolated spot-margin positions",
            "category": "Accounting",
            "comments": "Written by spot-margin-ledger from the frames of one replay.",
            "created": _FIXED_DATE,
        }
    )
    _write_sheets(Book(workbook, streaming), frames)
    workbook.close()


def _write_sheets(book: Book, frames: Mapping[str, pl.DataFrame]) -> None:
    """Where everything will stand is settled first: the sheets in front point to those behind."""
    positions = frames["positions"].sort("position", "episode", maintain_order=True)
    ledger = in_order(frames["ledger"])
    position_parts = parts("Positions", positions, position_fields(positions))
    interest = interest_parts(frames, parts)
    ledger_parts = parts("Ledger", ledger, ledger_fields())
    reconciled = reconciliation_parts(frames, ledger_parts, parts)
    lines = _lines(position_parts, interest, ledger_parts, reconciled)
    tolerance = float(WORKBOOK_PARAMETERS[0]["value"])
    in_order_of_book = (
        *reconciled.before_positions,
        *position_parts,
        *reconciled.after_positions,
        *interest.all,
        *reconciled.before_ledger,
        *ledger_parts,
        *reconciled.after_ledger,
    )
    names = [placed.sheet for placed, _ in in_order_of_book]

    result = overall(frames["checks"], lines, tolerance)
    write_about(book, frames, ["Checks", *names, "Parameters", "Glossary"], result)
    write_checks(book, frames["checks"], lines, tolerance)
    write_reconciliation(book, reconciled, reconciled.before_positions)
    for placed, frame in position_parts:
        write_positions(book, placed.sheet, frame, placed.fields)
    write_reconciliation(book, reconciled, reconciled.after_positions)
    write_interest(book, interest)
    write_reconciliation(book, reconciled, reconciled.before_ledger)
    before: Placed | None = None
    for placed, frame in ledger_parts:
        before = write_ledger(book, placed.sheet, frame, placed.fields, before)
    write_reconciliation(book, reconciled, reconciled.after_ledger)
    write_parameters(book, with_workbook_parameters(frames["parameters"]))
    others = [placed for placed, _ in reconciled.all]
    listed = [*others, position_parts[0][0], *interest.first_of_each(), ledger_parts[0][0]]
    also = {"rates (input)": RATES, "interest rows (input)": INTEREST_ROWS} if "interest" in frames else {}
    write_glossary(book, glossary(_all_fields(listed, lines, tolerance), also))


def _lines(positions: Tables, interest: InterestParts, ledger: Tables, reconciled: ReconciliationParts) -> pl.DataFrame:
    """The lines of the tie-out; where there are causes of differences or parts of breaks, one more ties them."""
    lines = tie_out_lines([*positions, *interest.all, *ledger, *reconciled.all])
    more = [causes_line(interest.causes, interest.detail)] if interest.causes else []
    return pl.concat([lines, *more, *break_lines(reconciled)])


def _all_fields(listed: Sequence[Placed], lines: pl.DataFrame, tolerance: float) -> dict[str, Sequence[Field]]:
    return {
        "About, inputs": input_fields(),
        "Checks": check_fields(),
        "Checks, tie-out": tie_out_fields(lines, tolerance),
        **{without_number(placed.sheet): placed.fields for placed in listed},
        "Parameters": parameter_fields(),
        "Glossary": glossary_fields(),
    }


def _read_frame(directory: Path, name: str, columns: tuple[Column, ...]) -> pl.DataFrame:
    readers: dict[str, Callable[[Path, tuple[Column, ...]], pl.DataFrame]] = {
        ".parquet": lambda path, _: pl.read_parquet(path),
        ".csv": _read_csv,
    }
    for ending, read in readers.items():
        path = directory / f"{name}{ending}"
        if path.is_file():
            try:
                frame = read(path, columns)
            except (pl.exceptions.PolarsError, OSError) as error:
                raise LedgerError(f"{path}: cannot be read as what a replay writes ({_first_line(error)})") from error
            if frame.schema != schema(columns):
                raise LedgerError(f"{path}: {_difference(frame.schema, columns)}; run replay again")
            return frame
    raise LedgerError(f"{directory / name}.parquet (or .csv): missing; give the folder that replay wrote with --out")


def _read_csv(path: Path, columns: tuple[Column, ...]) -> pl.DataFrame:
    frame = pl.read_csv(path, infer_schema=False)
    if frame.columns != [column.name for column in columns]:
        return frame
    return frame.select(_from_text(column) for column in columns)


def _from_text(column: Column) -> pl.Expr:
    """A CSV column in its own type; raises a Polars error at a value that is not of that type."""
    text = pl.col(column.name)
    if column.dtype == MONEY:
        # More digits than the type has would be rounded without a word: such text is no amount of ours.
        return pl.when(text.str.contains(_MONEY_TEXT)).then(text).otherwise(text + "?").cast(MONEY)
    if column.dtype == TIME:
        return text.str.to_datetime(time_unit="us", time_zone="UTC", strict=True)
    if column.dtype == pl.Boolean:
        return text.replace_strict({"true": True, "false": False}, return_dtype=pl.Boolean)
    return text.cast(column.dtype)


def _difference(found: pl.Schema, columns: tuple[Column, ...]) -> str:
    expected = schema(columns)
    missing = [name for name in expected if name not in found]
    if missing:
        return f"column {missing[0]} is missing"
    for name, dtype in expected.items():
        if found[name] != dtype:
            return f"column {name} is {found[name]}, not {dtype}"
    strange = [name for name in found if name not in expected]
    return f"column {strange[0]} is not one of a replay" if strange else "the columns are in another order"


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
