"""The Sign-off sheet: what the workbook says, by formula, and cells to fill in: who, when, and what is concluded."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import polars as pl

from ledger.reconciliation.columns import SETTLED, STATES
from reports.cells.counts import ABOVE_ZERO, BELOW_ZERO, Count, count, rows_of
from reports.cells.fields import Field, Tables
from reports.cells.tables import BAND, HEADING, LIVE, Book, mark_results
from reports.sheets.checks import HERE, MASTER
from reports.sheets.reconciliation_fields import BAD, GOOD, TO_FILL_IN, mark_words
from reports.sheets.risk import RiskParts
from reports.sheets.risk_tested import risk_areas, risk_counts

SIGN_OFF_SHEET = "Sign-off"
CONCLUSIONS = ("reconciled", "reconciled with accepted breaks", "not reconciled", "more work needed")
ROLES = ("Prepared by", "Reviewed by", "Approved by")
_WIDTHS = (34, 12, 10, 66, 20, 42)
_ENTRY = {"locked": False, "border": 1, "text_wrap": True, "align": "left", **TO_FILL_IN}
_NAME_MAX, _REMARK_MAX = 100, 1_000
_NOTE = "What this workbook says, by formula, and what you conclude from it. Framed cells are yours to fill in."
_LOOK, _FINE = "LOOK", "OK"
_TIED = "control totals that do not tie to the engine"
_NEITHER = "Breaks are open: neither reconciled nor reconciled with accepted breaks can be concluded."
_NOT_RECONCILED = "Not every check says OK: reconciled cannot be concluded. See the sheet Checks."
_ACCEPTED_ONLY = (
    "Not every check says OK, but no break is open: reconciled cannot be concluded, with accepted breaks it can where"
    " the checks that fail are those of the breaks."
)
_NOTHING = "Nothing on these sheets stands against the conclusion reconciled."
_CONTRADICTS = "CONTRADICTION: what the workbook says above does not allow this conclusion."


@dataclass(frozen=True)
class Area:
    """A part of the workbook to sign off: the sheet to go to, exceptions found on it, and what those are."""

    name: str
    link: str
    exceptions: Count
    counted: str


@dataclass(frozen=True)
class Tested:
    """The tables that say whether something is right; those that a workbook does not have are empty.

    `beside` names the sheets whose rows are in files beside the workbook.
    """

    checks: Tables
    tie_out: Tables
    lead: Tables = ()
    roll: Tables = ()
    positions: Tables = ()
    interest: Tables = ()
    breaks: Tables = ()
    earlier: Tables = ()
    certificate: Tables = ()
    risk: RiskParts = field(default_factory=RiskParts)
    ledger: Tables = ()
    manifest: Tables = ()
    has_breaks: bool = False
    beside: tuple[str, ...] = ()

    @property
    def open_breaks(self) -> Count:
        """Breaks that are neither accepted nor corrected, those of earlier runs that were not compared among them."""
        return self._unsettled() + self._not_compared

    @property
    def _not_compared(self) -> Count:
        """Breaks of earlier runs that this one did not compare, and that are neither accepted nor corrected."""
        return _unsettled(self.earlier, ("State", STATES[0]))

    def _unsettled(self, *conditions: tuple[str, str]) -> Count:
        return _unsettled(self.breaks, *conditions)

    def counts(self) -> dict[str, Count]:
        """What is counted at the top of the sheet, by its label."""
        found = {
            "Checks that fail": count(self.checks, ("Result", "FAIL")),
            "Control totals that fail": count(self.tie_out, ("Tied out", "FAIL")),
        }
        if self.has_breaks:
            unexplained = [self._unsettled(("Unexplained", sign)) for sign in (ABOVE_ZERO, BELOW_ZERO)]
            found |= {
                "Breaks": rows_of(self.breaks),
                "Open breaks": self.open_breaks,
                "Open breaks that are material": self._unsettled(("Material", "yes")),
                "Open breaks not all explained": unexplained[0] + unexplained[1],
            }
        if self.earlier:
            found |= {
                "Earlier breaks not compared": self._not_compared,
                "Breaks resolved by now": count(self.earlier, ("State", STATES[1])),
            }
        if self.certificate:
            found["Controls of completeness that fail"] = count(self.certificate, ("Outcome", "fail"))
        return found | risk_counts(self.risk)

    def areas(self) -> list[Area]:
        """What is to be signed off, sheet by sheet."""
        fails = count(self.checks, ("Result", "FAIL")) + count(self.tie_out, ("Tied out", "FAIL"))
        closings = count(self.roll, ("Tied", "FAIL"))
        manifest = count(self.manifest, ("Tied out", "FAIL"))
        return [
            Area("Checks", "Checks", fails, "checks, and control totals of all sheets, that fail"),
            *self._area("Lead", self.lead, Count(), ""),
            *self._area("Roll-forward", self.roll, closings, "closings that are not the ledger's"),
            *self._area("Positions", self.positions, Count(), ""),
            *(one for area in risk_areas(self.risk) for one in self._area(*area)),
            *self._area("Interest", self.interest, *self._interest()),
            *self._area("Breaks", self.breaks, self._unsettled(), "open breaks"),
            *self._area("Earlier breaks", self.earlier, self._not_compared, "open breaks that were not compared"),
            *self._area("Ledger", self.ledger, Count(), ""),
            Area("Manifest", "Manifest", manifest, "sums that the ledger has not as read; sheets that lack rows"),
        ]

    def _interest(self) -> tuple[Count, str]:
        """Charges that differ, or where these are in a file, whether the check of them fails."""
        if not self.interest:
            fails = count(self.checks, ("Check", "interest_agrees"), ("Result", "FAIL"))
            return fails, "the check interest_agrees where it fails"
        differing = rows_of(self.interest)
        for word in ("agrees", "follows", "accrued"):
            differing -= count(self.interest, ("Status", word))
        return differing, "charges that differ by themselves"

    def _area(self, name: str, tables: Tables, found: Count, counted: str) -> list[Area]:
        """The area of a sheet, with its lines of the tie-out; nothing where there is no such sheet."""
        if not tables and name not in self.beside:
            return []
        sheets = list(dict.fromkeys([*(placed.sheet for placed, _ in tables), name]))
        lines = [count(self.tie_out, ("Sheet", sheet), ("Tied out", "FAIL")) for sheet in sheets]
        link = tables[0][0].sheet if tables else "Manifest"
        said = f"{counted}; {_TIED}" if counted else _TIED
        return [Area(name if tables else f"{name} (in a file)", link, sum(lines, start=found), said)]


def _unsettled(breaks: Tables, *conditions: tuple[str, str]) -> Count:
    """How many breaks are neither accepted nor corrected, of those with these words."""
    every = count(breaks, *conditions) if conditions else rows_of(breaks)
    for status in SETTLED:
        every -= count(breaks, *conditions, ("Status", status))
    return every


def write_sign_off(book: Book, facts: Mapping[str, str], tested: Tested, master: str) -> None:
    """Write the sheet, which prints on one page; `facts` are texts by label, `master` the value of the master cell."""
    sheet = book.sheet(SIGN_OFF_SHEET)
    for column, width in enumerate(_WIDTHS):
        sheet.set_column(column, column, width)
    book.title(sheet, SIGN_OFF_SHEET, _NOTE)
    row, standing = _write_facts(book, sheet, facts, tested, master)
    row = _write_areas(book, sheet, tested.areas(), row + 1)
    _write_entries(book, sheet, row + 1, standing)
    sheet.freeze_panes(1, 0)
    sheet.fit_to_pages(1, 1)


def sign_off_fields() -> tuple[Field, ...]:
    """The columns of the areas, for the glossary."""
    live, entry = "live formula, own in each row", "yours to fill in"
    columns = (
        ("Area", "Sheet that is signed off, with a link.", "recorded"),
        ("Exceptions", "What was found on it, counted.", live),
        ("Result", f"{_FINE} where there is none, else {_LOOK}.", live),
        ("What is counted", "What the exceptions are.", "recorded"),
        ("Tick mark, initials", "That it was looked at, and by whom.", entry),
        ("Remark", "What was done about it.", entry),
    )
    nothing = pl.lit(None, pl.String)
    return tuple(Field(name, "text", nothing, "", meaning, HERE, said=said) for name, meaning, said in columns)


@dataclass(frozen=True)
class _Standing:
    """The cells that a conclusion is held against."""

    master: str
    open_breaks: str


def _write_facts(
    book: Book, sheet: Any, facts: Mapping[str, str], tested: Tested, master: str
) -> tuple[int, _Standing]:
    """What the workbook says; gives the next free row (from 0), and the cells that decide."""
    _heading(book, sheet, 3, "What the workbook says")
    row = 4
    for label, text in facts.items():
        book.text(sheet, row, 0, label, bold=True)
        book.text(sheet, row, 1, text)
        row += 1
    book.text(sheet, row, 0, "Result of all checks", bold=True)
    sheet.write_formula(row, 1, f"={MASTER}", book.style(bold=True, border=1, align="center", **LIVE), master)
    mark_results(book, sheet, f"$B${row + 1}")
    cells = {"master": f"$B${row + 1}", "Open breaks": "0"}
    row += 1
    for label, found in tested.counts().items():
        book.text(sheet, row, 0, label, bold=True)
        sheet.write_formula(row, 1, f"={found.formula}", book.style(num_format="#,##0", border=1, **LIVE), found.value)
        cells[label] = f"$B${row + 1}"
        row += 1
    standing = _Standing(cells["master"], cells["Open breaks"])
    text = _verdict(master, tested.open_breaks.value, tested.has_breaks)
    formula = _verdict_formula(standing, tested.has_breaks)
    sheet.write_formula(row, 0, f"={formula}", book.style(bold=True), text)
    looks = dict.fromkeys((_NEITHER, _NOT_RECONCILED, _ACCEPTED_ONLY), BAD) | {_NOTHING: GOOD}
    _mark_row(book, sheet, row, looks)
    return row + 1, standing


def _mark_row(book: Book, sheet: Any, row: int, looks: Mapping[str, dict[str, Any]]) -> None:
    """Colour a whole row by what its first cell says."""
    for sentence, look in looks.items():
        style = book.workbook.add_format(look)
        rule = {"type": "formula", "criteria": f'=$A${row + 1}="{sentence}"', "format": style}
        sheet.conditional_format(row, 0, row, len(_WIDTHS) - 1, rule)


def _verdict(master: str, open_breaks: int, has_breaks: bool) -> str:
    if open_breaks:
        return _NEITHER
    if master != "OK":
        return _ACCEPTED_ONLY if has_breaks else _NOT_RECONCILED
    return _NOTHING


def _verdict_formula(standing: _Standing, has_breaks: bool) -> str:
    if not has_breaks:
        return f'IF({standing.master}="OK","{_NOTHING}","{_NOT_RECONCILED}")'
    rest = f'IF({standing.master}="OK","{_NOTHING}","{_ACCEPTED_ONLY}")'
    return f'IF({standing.open_breaks}>0,"{_NEITHER}",{rest})'


def _write_areas(book: Book, sheet: Any, areas: Sequence[Area], top: int) -> int:
    _heading(book, sheet, top, "Sheet by sheet")
    for column, one in enumerate(sign_off_fields()):
        book.text(sheet, top + 1, column, one.heading, **HEADING)
    link = book.style(font_color="#0563C1", underline=1, border=1, border_color="#D9D9D9")
    live = {"border": 1, "border_color": "#D9D9D9", **LIVE}
    for row, area in enumerate(areas, top + 2):
        sheet.write_url(row, 0, f"internal:'{area.link}'!A1", link, area.name)
        sheet.write_formula(
            row, 1, f"={area.exceptions.formula}", book.style(num_format="#,##0", **live), area.exceptions.value
        )
        result = _LOOK if area.exceptions.value else _FINE
        style = book.style(bold=True, align="center", **live)
        sheet.write_formula(row, 2, f'=IF(B{row + 1}=0,"{_FINE}","{_LOOK}")', style, result)
        book.text(sheet, row, 3, area.counted, text_wrap=True, border=1, border_color="#D9D9D9")
        for column in (4, 5):
            _entry(book, sheet, row, column, _REMARK_MAX)
    last = top + 2 + len(areas)
    mark_words(book, sheet, f"$C${top + 3}:$C${last}", {_FINE: GOOD, _LOOK: BAD})
    return last


def _write_entries(book: Book, sheet: Any, top: int, standing: _Standing) -> None:
    _heading(book, sheet, top, "Conclusion")
    row = top + 1
    sheet.set_row(row, 20)
    book.text(sheet, row, 0, "Conclusion", bold=True)
    sheet.write_blank(row, 3, None, book.style(**_ENTRY))
    rule = {"validate": "list", "source": list(CONCLUSIONS), "error_message": "Choose one of the list."}
    sheet.data_validation(row, 3, row, 3, {**rule, "input_title": "Conclusion", "input_message": "Choose one."})
    cell = f"$D${row + 1}"
    never = f'AND({cell}="{CONCLUSIONS[0]}",OR({standing.master}<>"OK",{standing.open_breaks}>0))'
    not_yet = f'AND({cell}="{CONCLUSIONS[1]}",{standing.open_breaks}>0)'
    formula = f'=IF(OR({never},{not_yet}),"{_CONTRADICTS}","")'
    sheet.write_formula(row, 4, formula, book.style(bold=True), "")
    mark_words(book, sheet, f"$E${row + 1}", {_CONTRADICTS: BAD})
    book.text(sheet, row + 1, 0, "Remarks", bold=True)
    sheet.set_row(row + 1, 60)
    _entry(book, sheet, row + 1, 3, _REMARK_MAX)
    row += 3
    for column, text in enumerate(("Who", "", "", "Name", "Date", "Signature")):
        book.text(sheet, row, column, text, **BAND)
    for place, role in enumerate(ROLES, start=row + 1):
        sheet.set_row(place, 28)
        book.text(sheet, place, 0, role, bold=True)
        _entry(book, sheet, place, 3, _NAME_MAX)
        sheet.write_blank(place, 4, None, book.style(**_ENTRY, num_format="yyyy-mm-dd"))
        day = {"validate": "date", "criteria": ">=", "value": date(2000, 1, 1)}
        sheet.data_validation(place, 4, place, 4, {**day, "error_message": "A date, for example 2026-01-31."})
        _entry(book, sheet, place, 5, _NAME_MAX)


def _entry(book: Book, sheet: Any, row: int, column: int, length: int) -> None:
    """A cell for a text of at most so many characters."""
    sheet.write_blank(row, column, None, book.style(**_ENTRY))
    rule = {"validate": "length", "criteria": "<=", "value": length}
    sheet.data_validation(row, column, row, column, {**rule, "error_message": f"At most {length:,} characters."})


def _heading(book: Book, sheet: Any, row: int, text: str) -> None:
    book.text(sheet, row, 0, text, bold=True, font_size=12)
