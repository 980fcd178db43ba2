"""What Breaks and Earlier breaks share: what reviewers fill in, and how long a break is or was open."""

from dataclasses import replace
from typing import Any

import polars as pl

from ledger.reconciliation.columns import REVIEWS, STATUSES
from reports.cells.fields import ENTRY, LONG_ENTRY, Field, Placed
from reports.sheets.checks import HERE
from reports.sheets.reconciliation_fields import DAYS
from reports.sheets.reference import AGE_LIMITS, AGEING_AT

ENTRIES = {"owner": 100, "status": 0, "comment": 2_000}
"""What reviewers fill in, and how many characters it may have; the status is one of a list."""
AGE_BAND = "Age band"
_BANDS: tuple[tuple[str | None, str | None], ...] = tuple(zip([None, *AGE_LIMITS], [*AGE_LIMITS, None], strict=True))
"""The lower and upper limit of each band of age, by the names of the parameters."""


def as_entries(fields: list[Field]) -> list[Field]:
    """The fields, those of ENTRIES as cells that a reviewer fills in."""
    kinds = dict.fromkeys(ENTRIES, ENTRY) | {"comment": LONG_ENTRY}
    said = "yours to fill in"
    return [replace(one, kind=kinds[one.name], said=said, source=HERE) if one.name in kinds else one for one in fields]


def allow_entries(sheet: Any, placed: Placed) -> None:
    """Let the cells of ENTRIES take only what the next run can read: a status of the list, texts of bounded length."""
    for column in (column for column in REVIEWS if column.name in ENTRIES):
        heading, longest = column.name.capitalize(), ENTRIES[column.name]
        rule: dict[str, Any] = {"error_title": heading}
        if longest:
            said = f"At most {longest:,} characters."
            rule |= {"validate": "length", "criteria": "<=", "value": longest, "error_message": said}
        else:
            rule |= {
                "validate": "list",
                "source": list(STATUSES),
                "input_title": "Status of the break",
                "input_message": "Choose one from the list.",
                "error_message": "Choose one of: " + ", ".join(STATUSES) + ".",
            }
        sheet.data_validation(placed.range(heading, other_sheet=False), rule)


def days_open(one: Field, first: str, until: str) -> Field:
    """The field of the column days_open, live: from the cell `first` to `until`, or to AGEING_AT where that is empty.

    It is empty where there is no first one.
    """
    end, said = until, AGEING_AT
    if until != AGEING_AT:
        end, said = (f'IF({cell}="",{AGEING_AT},{cell})' for cell in (until, "resolved_at"))
    words = f'IF(first_seen="","",{said}-first_seen)'
    return replace(one, kind=DAYS, formula=f'IF({first}="","",{end}-{first})', words=words)


def age_band(days: str) -> Field:
    """The band of age of the days in the cell `days`, live from the limits among the parameters."""
    formula = _label_formula(_BANDS[-1])
    words = formula
    for band in reversed(_BANDS[:-1]):
        formula = f"IF({days}<={band[1]},{_label_formula(band)},{formula})"
        words = f"IF(days_open<={band[1]},{_label_formula(band)},{words})"
    known = pl.col("days_open")
    word = pl.lit(_label(_BANDS[-1]))
    for band in reversed(_BANDS[:-1]):
        word = pl.when(known <= AGE_LIMITS[str(band[1])]).then(pl.lit(_label(band))).otherwise(word)
    return Field(
        AGE_BAND,
        "text",
        pl.when(known.is_not_null()).then(word),
        "",
        "Band of age of the days open; its limits are on the sheet Parameters.",
        HERE,
        formula=f'IF({days}="","",{formula})',
        words=words,
    )


def bands() -> pl.DataFrame:
    """One row per band of age, the youngest first: its words (`band`), and the formula that makes them (`formula`)."""
    return pl.DataFrame({"band": [_label(band) for band in _BANDS], "formula": [_label_formula(b) for b in _BANDS]})


def _label(band: tuple[str | None, str | None]) -> str:
    """The words of a band, with the limits as they are shipped."""
    lower, upper = (None if name is None else AGE_LIMITS[name] for name in band)
    if lower is None:
        return f"up to {upper} days"
    return f"over {lower} days" if upper is None else f"over {lower} to {upper} days"


def _label_formula(band: tuple[str | None, str | None]) -> str:
    """The same words as a formula that reads the limits."""
    lower, upper = band
    if lower is None:
        return f'"up to "&{upper}&" days"'
    return f'"over "&{lower}&" days"' if upper is None else f'"over "&{lower}&" to "&{upper}&" days"'
