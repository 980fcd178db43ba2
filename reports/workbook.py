"""From the frames of a run to the workbook: lay out the sheets, then write them in one go."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl

from ledger.interest.columns import INTEREST_ROWS, RATES
from ledger.progress import Progress, silent
from ledger.refusals import LedgerError
from ledger.risk.columns import BALANCES
from reports.cells.fields import Field, Placed, Tables, place, without_number
from reports.cells.tables import Book, new_book
from reports.detail import (
    DETAIL_ROWS,
    FILES_SCHEMA,
    FRAMES_BY_SHEET,
    Beside,
    Cutter,
    beside_lines,
    put_in_place,
    refuse_foreign,
    sentences,
    write_beside,
)
from reports.frames import refuse_other_frames, wanted_frames
from reports.sheets.about import facts, write_about
from reports.sheets.checks import (
    causes_line,
    check_fields,
    checks_parts,
    overall,
    part_totals,
    tie_out_fields,
    tie_out_lines,
    write_checks,
)
from reports.sheets.history import history_parts, limits_of, write_history
from reports.sheets.interest import InterestParts, interest_parts, write_interest
from reports.sheets.ledger import in_order, ledger_fields, write_ledger
from reports.sheets.manifest import MANIFEST_SHEET, Manifest, manifest_parts, write_manifest
from reports.sheets.positions import position_fields, write_positions
from reports.sheets.reconciliation import ReconciliationParts, break_lines, reconciliation_parts, write_reconciliation
from reports.sheets.reference import (
    WORKBOOK_PARAMETERS,
    glossary,
    glossary_fields,
    parameter_fields,
    ratio_limits,
    with_workbook_parameters,
    write_glossary,
    write_parameters,
)
from reports.sheets.risk import RiskParts, risk_parts, write_risk
from reports.sheets.sign_off import SIGN_OFF_SHEET, Tested, sign_off_fields, write_sign_off

SHEET_ROWS_MAX = 1_048_576
"""Rows a sheet takes, headings included; a longer frame goes on on the next sheet."""
_TABLE_TOP = 3
_HEADER_ROWS = 6
_PROPERTIES = {
    "title": "Spot margin ledger",
    "subject": "Assets, liability and margin of isolated spot-margin positions",
    "category": "Accounting",
    "comments": "Written by spot-margin-ledger from the frames of one replay.",
}


def write_workbook(
    frames: Mapping[str, pl.DataFrame],
    path: Path,
    detail_rows: int = DETAIL_ROWS,
    progress: Progress = silent,
    before_replacing: Callable[[], None] = lambda: None,
) -> pl.DataFrame:
    """Write the workbook of a replay; `frames` are those of FRAMES, and of each further group all or none.

    Detail of more than `detail_rows` rows goes to Parquet files beside it, of which one row each is returned
    (`detail.FILES_SCHEMA`). All files appear when they are complete, or none, and the same frames give the same bytes.
    Once they are, `before_replacing` is called; what it raises leaves everything as it was.
    Raises LedgerError when a frame is not one of a replay or a file cannot be written.
    """
    refuse_other_frames(frames)
    try:
        refuse_foreign(path)
        # In the same folder, so that the last step is a rename and never a copy.
        with TemporaryDirectory(prefix=".workbook-", dir=path.parent) as folder:
            layout = _laid_out(frames, detail_rows)
            files = write_beside(layout.beside, Path(folder), path.stem)
            with new_book(Path(folder) / path.name, progress, **_PROPERTIES) as book:
                _write_sheets(book, frames, layout, files, detail_rows)
            before_replacing()
            put_in_place(Path(folder), path)
        return files
    except OSError as error:
        raise LedgerError(f"{path}: cannot be written ({error.strerror or error})") from error


def described(
    frames: Mapping[str, pl.DataFrame], detail_rows: int = DETAIL_ROWS
) -> tuple[dict[str, Sequence[Field]], pl.DataFrame]:
    """The fields of each sheet as a workbook of these frames has them, and its tie-out (`checks.tie_out_lines`)."""
    layout = _laid_out(frames, detail_rows)
    totals = beside_lines(layout.beside)
    files = pl.DataFrame(schema=FILES_SCHEMA)
    manifest = manifest_parts(frames, layout.in_order, layout.ledger, files, totals)
    lines = _lines(frames, layout, manifest, totals)
    return _all_fields(layout, manifest, lines, float(WORKBOOK_PARAMETERS[0]["value"])), lines


def parts(
    name: str, frame: pl.DataFrame, fields: Sequence[Field], top: int = _TABLE_TOP
) -> list[tuple[Placed, pl.DataFrame]]:
    """The frame cut into what fits a sheet, and where each part will stand: on `Ledger`, or `Ledger 1`...

    The first part begins in row `top`.
    """
    room = SHEET_ROWS_MAX - _HEADER_ROWS
    first = max(1, room - (top - _TABLE_TOP))
    cuts = [frame[:first], *(frame[first:].iter_slices(room) if frame.height > first else ())]
    names = [name] if len(cuts) == 1 else [f"{name} {number}" for number in range(1, len(cuts) + 1)]
    tops = [top, *[_TABLE_TOP] * (len(cuts) - 1)]
    placed = [place(n, fields, cut.height, t, bands=True) for n, cut, t in zip(names, cuts, tops, strict=True)]
    return list(zip(placed, cuts, strict=True))


@dataclass(frozen=True)
class _Layout:
    """Where the tables of frames will stand; what goes to files beside the workbook is nowhere."""

    positions: Tables
    history: Tables
    interest: InterestParts
    ledger: Tables
    reconciled: ReconciliationParts
    risk: RiskParts
    beside: tuple[Beside, ...]

    @property
    def in_order(self) -> Tables:
        """All tables in the order of their sheets."""
        return (
            *self.reconciled.before_positions,
            *self.positions,
            *self.history,
            *self.risk.after_over_time,
            *self.reconciled.after_positions,
            *self.interest.all,
            *self.reconciled.before_ledger,
            *self.ledger,
            *self.reconciled.after_ledger,
            *self.risk.before_parameters,
        )

    def fields(self) -> dict[str, tuple[Field, ...]]:
        """The fields of each sheet, for the glossary."""
        own = (*self.positions, *self.history, *self.risk.all, *self.interest.all, *self.ledger)
        tables = [placed for placed, _ in (*self.reconciled.all, *own)]
        ages = {f"{placed.sheet}, by age": placed.fields for placed, _ in self.reconciled.by_age}
        statuses = {f"{placed.sheet}, by status": placed.fields for placed, _ in self.risk.by_status}
        return {without_number(placed.sheet): placed.fields for placed in tables} | ages | statuses


def _laid_out(frames: Mapping[str, pl.DataFrame], detail_rows: int) -> _Layout:
    """Where everything will stand is settled first: the sheets in front point to those behind."""
    cut = Cutter(parts, detail_rows)
    positions = frames["positions"].sort("position", "episode", maintain_order=True)
    ledger = cut("Ledger", in_order(frames["ledger"]), ledger_fields())
    return _Layout(
        positions=cut("Positions", positions, position_fields(positions)),
        history=history_parts(frames, cut),
        interest=interest_parts(frames, cut),
        ledger=ledger,
        reconciled=reconciliation_parts(frames, ledger, cut),
        risk=risk_parts(frames, ratio_limits(frames["parameters"]), cut),
        beside=tuple(cut.beside),
    )


def _write_sheets(
    book: Book, frames: Mapping[str, pl.DataFrame], layout: _Layout, files: pl.DataFrame, detail_rows: int
) -> None:
    """The sheets in their order; `files` (`detail.FILES_SCHEMA`) are beside the workbook."""
    totals = beside_lines(layout.beside)
    manifest = manifest_parts(frames, layout.in_order, layout.ledger, files, totals)
    lines = _lines(frames, layout, manifest, totals)
    tolerance = float(WORKBOOK_PARAMETERS[0]["value"])
    result = overall(frames["checks"], lines, tolerance)
    names = [SIGN_OFF_SHEET, "Checks", *dict.fromkeys(placed.sheet for placed, _ in layout.in_order)]
    about, notes = facts(frames), sentences(files, detail_rows)
    write_about(book, frames, [*names, "Parameters", MANIFEST_SHEET, "Glossary"], result, notes)
    write_sign_off(book, about, _tested(frames, layout, manifest, lines, tolerance), result)
    write_checks(book, frames["checks"], lines, tolerance)
    write_reconciliation(book, layout.reconciled, layout.reconciled.before_positions)
    for placed, frame in layout.positions:
        write_positions(book, placed.sheet, frame, placed.fields)
    parameters = with_workbook_parameters(frames["parameters"], detail_rows)
    write_history(book, layout.history, limits_of(parameters))
    write_risk(book, layout.risk, layout.risk.after_over_time, ratio_limits(parameters))
    write_reconciliation(book, layout.reconciled, layout.reconciled.after_positions)
    write_interest(book, layout.interest)
    write_reconciliation(book, layout.reconciled, layout.reconciled.before_ledger)
    before: Placed | None = None
    for placed, frame in layout.ledger:
        before = write_ledger(book, placed.sheet, frame, placed.fields, before)
    write_reconciliation(book, layout.reconciled, layout.reconciled.after_ledger)
    write_risk(book, layout.risk, layout.risk.before_parameters, ratio_limits(parameters))
    write_parameters(book, parameters)
    write_manifest(book, manifest)
    also = {"rates (input)": RATES, "interest rows (input)": INTEREST_ROWS} if "interest" in frames else {}
    also |= {"balances (input)": BALANCES} if "risk" in frames else {}
    of_frames = wanted_frames(lambda name: name in frames)
    files_beside = [FRAMES_BY_SHEET[one.part] for one in layout.beside]
    also |= {f"{name} (file beside)": of_frames[name] for name in files_beside}
    write_glossary(book, glossary(_all_fields(layout, manifest, lines, tolerance), also))


def _lines(
    frames: Mapping[str, pl.DataFrame], layout: _Layout, manifest: Manifest, totals: pl.DataFrame
) -> pl.DataFrame:
    """The lines of the tie-out: of every sheet, of all parts of one together, of files beside, and of what must agree.

    Where there are causes of differences or parts of breaks, one more ties them.
    """
    lines = tie_out_lines([*layout.in_order, *manifest.tied])
    interest = layout.interest
    beside = [one.frame for one in layout.beside if one.part == "Interest"]
    charges = [*(frame for _, frame in interest.detail), *beside]
    more = [causes_line(interest.causes, charges)] if interest.causes else []
    return pl.concat([lines, part_totals(lines), manifest.linked(totals), *more, *break_lines(layout.reconciled)])


def _tested(
    frames: Mapping[str, pl.DataFrame], layout: _Layout, manifest: Manifest, lines: pl.DataFrame, tolerance: float
) -> Tested:
    """The tables that say whether something is right, for the sign-off."""
    checks, tie_out = checks_parts(frames["checks"], lines, tolerance)
    return Tested(
        checks=((checks, frames["checks"]),),
        tie_out=((tie_out, lines),),
        lead=layout.reconciled.lead,
        roll=layout.reconciled.roll,
        positions=layout.positions,
        interest=layout.interest.detail,
        breaks=layout.reconciled.breaks,
        earlier=layout.reconciled.earlier,
        certificate=layout.reconciled.certificate,
        risk=layout.risk,
        ledger=layout.ledger,
        manifest=manifest.results,
        has_breaks="breaks" in frames,
        beside=tuple(one.part for one in layout.beside),
    )


def _all_fields(
    layout: _Layout, manifest: Manifest, lines: pl.DataFrame, tolerance: float
) -> dict[str, Sequence[Field]]:
    return {
        SIGN_OFF_SHEET: sign_off_fields(),
        "Checks": check_fields(),
        "Checks, tie-out": tie_out_fields(lines, tolerance),
        **layout.fields(),
        "Parameters": parameter_fields(),
        **{f"{MANIFEST_SHEET}, {one.name}": one.placed.fields for one in manifest.sections},
        "Glossary": glossary_fields(),
    }
