"""The About sheet: what the workbook is, its period and result, how to read it, where things are."""

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from reports.cells.fields import without_number
from reports.cells.tables import AGREES, DIFFERS, EXACT, FOLLOWS, LIVE, Book, mark_results
from reports.sheets.checks import MASTER
from reports.sheets.manifest import MANIFEST_SHEET
from reports.sheets.reconciliation import COLOURS as RECONCILIATION_COLOURS
from reports.sheets.reconciliation import DESCRIPTIONS
from reports.sheets.risk import COLOURS as RISK_COLOURS
from reports.sheets.risk import DESCRIPTIONS as RISK_DESCRIPTIONS
from reports.sheets.risk_tested import statuses_told
from reports.sheets.sign_off import SIGN_OFF_SHEET

_WIDTHS = (26, 14, 104)
_PURPOSE = "Assets, liability and margin of each isolated spot-margin position, event by event, to file and row."
_HOW_TO_READ = (
    "Begin with Checks: every line must say OK. Positions has one row per life of a position; Ledger shows"
    " how it"
    " came to be.",
    "Numbers have the 15 digits of a spreadsheet. The amounts that count are the exact ones, as text, to"
    " the last digit.",
    "Formulas are live. They use only + - * / &, IF, AND, OR, MAX, MIN, ABS, ROUND, SUM, SUMIFS, COUNTIFS.",
    "All times are UTC. A currency is that of the column's unit: base and quote as in the instrument,"
    " margin currency"
    " as in the position's name.",
    "Sheets are protected without a password, so that nothing changes by accident; filters work.",
)
_HOW_TO_READ_BREAKS = (
    "Lead has ledger against exchange in a few lines. Events has what one side lacks or has otherwise; Breaks has every"
    " figure that differs, and why.",
)
_COLOURS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("1,234.50", "recorded: a value from the input or the run", {}),
    ("1,234.50", "live formula: shaded blue, and its column says so", LIVE),
    ("1234.500000000000000001", "exact text: grey, aligned right, headed (exact)", EXACT),
    ("(1,234.50)", "negative: red and in brackets", {"font_color": "#FF0000"}),
    ("OK", "a check that holds: green, and says OK", AGREES),
    ("FAIL", "a check that does not hold: orange, and says FAIL", DIFFERS),
)
_INTEREST_COLOURS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("agrees", "a charge that was charged as computed: green, and says agrees", AGREES),
    ("follows", "a charge that differs only by what earlier ones carry forward: yellow, and says follows", FOLLOWS),
    ("differs", "any other charge that was not as computed: orange, and says how", DIFFERS),
)
SHEETS = {
    SIGN_OFF_SHEET: "What the workbook says in a few lines; conclusion, names and dates to fill in.",
    "Checks": "The engine's checks, the tie-out of this workbook to the engine, one result over all.",
    "Positions": "Old and new display side by side, balances, measures at the mark price.",
    "Over time": "Charts and figures: liability and margin ratio of each life of a position over time.",
    "Interest per day": "Charts and sums: interest computed and charged, by currency and day.",
    "Interest causes": "Why what was charged differs from what was computed, with the amount of each cause.",
    "Interest roll-forward": "Opening, flows and closing of each liability; the interest that belongs to the period.",
    "Interest": "Every charge of interest: computed, charged, the difference and its cause.",
    "Ledger": "Opening, change and closing of every balance for every part of an event.",
    "Parameters": "Policies of the run and every constant a formula reads.",
    MANIFEST_SHEET: "Input files with hashes and control sums, held against the ledger; rows of every sheet.",
    "Glossary": "Meaning, unit, formula and source of every column.",
    **DESCRIPTIONS,
    **RISK_DESCRIPTIONS,
}


def write_about(
    book: Book, frames: Mapping[str, pl.DataFrame], sheets: list[str], result: str, beside: list[str]
) -> None:
    """Write the sheet, which prints on one page.

    `sheets` names the others in their order, `result` is the master cell's value, `beside` says what is in files.
    """
    sheet = book.sheet("About", landscape=False)
    for column, width in enumerate(_WIDTHS):
        sheet.set_column(column, column, width)
    book.title(sheet, "Spot margin ledger", _PURPOSE)
    row = _write_facts(book, sheet, facts(frames), beside, result, 3)
    row = _write_index(book, sheet, sheets, row + 1)
    colours = (
        *_COLOURS,
        *(_INTEREST_COLOURS if "interest" in frames else ()),
        *(RISK_COLOURS if RISK_DESCRIPTIONS.keys() & sheets else ()),
        *(RECONCILIATION_COLOURS if DESCRIPTIONS.keys() & sheets else ()),
    )
    _write_reading(book, sheet, row + 1, bool(DESCRIPTIONS.keys() & sheets), colours)
    sheet.fit_to_pages(1, 1)


def facts(frames: Mapping[str, pl.DataFrame]) -> dict[str, str]:
    """Period, as-at time and size of the run, as text by label."""
    times = frames["ledger"].select(first=pl.col("time").min(), last=pl.col("time").max())
    first, last = times.select(pl.all().dt.strftime("%Y-%m-%dT%H:%M:%S%.3fZ")).row(0)
    stated = frames["parameters"].filter((pl.col("name") == "as_at") & (pl.col("value").str.len_chars() > 0))
    as_at = stated["value"][0] if stated.height else f"{last} (the last event)" if last else "no events"
    positions = frames["positions"]
    names = positions["position"].n_unique()
    lives, still_open = positions.height, positions.filter(pl.col("status") == "open").height
    found = {
        "Period": f"{first} to {last}" if first else "no events",
        "As at": as_at,
        "Time zone": "UTC",
        "Positions and lives": f"{names:,} positions, {lives:,} lives (episodes), {still_open:,} open",
        "Rows of the ledger": f"{frames['ledger'].height:,}, from {frames['inputs'].height:,} files: see Manifest",
    }
    if "interest" in frames:
        found["Charges of interest"] = _interest_fact(frames["interest"])
    graded = [frames[name]["status"] for name in ("risk", "derivative_positions") if name in frames]
    return found | ({"Risk of open positions": statuses_told(graded)} if graded else {})


def _interest_fact(interest: pl.DataFrame) -> str:
    compared = interest["charged"].count()
    agreeing = interest.filter(pl.col("status") == "agrees").height
    result = f"{compared} compared with what was charged, {agreeing} agree" if compared else "computed, not compared"
    return f"{interest.height} charges of {interest['position'].n_unique()} positions; {result}"


def _write_facts(book: Book, sheet: Any, lines: Mapping[str, str], beside: list[str], result: str, top: int) -> int:
    book.text(sheet, top, 0, "Result of all checks", bold=True)
    sheet.write_formula(top, 1, f"={MASTER}", book.style(bold=True, border=1, align="center", **LIVE), result)
    mark_results(book, sheet, f"$B${top + 1}")
    every = [*lines.items(), *(("Not on a sheet", text) for text in beside)]
    for row, (label, text) in enumerate(every, top + 1):
        book.text(sheet, row, 0, label, bold=True)
        book.text(sheet, row, 1, text)
    return top + 1 + len(every)


def _write_index(book: Book, sheet: Any, sheets: list[str], top: int) -> int:
    book.text(sheet, top, 0, "Sheets", bold=True, font_size=12)
    link = book.style(font_color="#0563C1", underline=1)
    for row, name in enumerate(sheets, top + 1):
        sheet.write_url(row, 0, f"internal:'{name}'!A1", link, name)
        book.text(sheet, row, 1, SHEETS[without_number(name)])
    return top + 1 + len(sheets)


def _write_reading(
    book: Book, sheet: Any, top: int, is_reconciled: bool, colours: Sequence[tuple[str, str, dict[str, Any]]]
) -> None:
    book.text(sheet, top, 0, "How to read it", bold=True, font_size=12)
    sentences = (*_HOW_TO_READ[:1], *(_HOW_TO_READ_BREAKS if is_reconciled else ()), *_HOW_TO_READ[1:])
    for row, text in enumerate(sentences, top + 1):
        book.text(sheet, row, 0, text)
    top += len(sentences) + 2
    book.text(sheet, top, 0, "Colours", bold=True, font_size=12)
    for row, (sample, meaning, look) in enumerate(colours, top + 1):
        book.text(sheet, row, 0, sample, **{"border": 1, "border_color": "#D9D9D9", **look})
        book.text(sheet, row, 1, meaning, indent=1)
