"""The Parameters and Glossary sheets: every constant once, and what every column means."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from importlib.metadata import PackageNotFoundError, version

import polars as pl

from ledger.columns import EVENTS, FRAMES, PARAMETERS, Column
from ledger.money import LARGEST
from ledger.risk.policies import RiskPolicies
from reports.cells.fields import Field, Placed, field, heading, serial
from reports.cells.formulas import LARGEST_AMOUNT, in_words
from reports.cells.tables import NOTE, Book, fit_columns, write_table
from reports.sheets.checks import HERE, TOLERANCE

_NUMBER = re.compile(r"[+-]?\d{1,20}(\.\d{1,18})?")
_NAME = re.compile(r"[A-Za-z]+(_[A-Za-z]+)+")
"""Names a cell can be given: with an underscore and no digit, none can be taken for a cell's address."""
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?Z")
"""A time in UTC, whose number is that of a spreadsheet's date."""
AGEING_AT = "ageing_at"
"""The run's parameter up to which breaks are aged."""
VERSION = "program_version"

_PARAMETERS_TOP = 4

RATIOS = ("alert_ratio", "liquidation_ratio")
"""Margin ratios at which something happens: charts draw lines at them."""

WORKBOOK_PARAMETERS = (
    {
        "name": TOLERANCE,
        "value": "0.000000000001",
        "description": "Largest difference of a control total from the engine's, as a share of the"
        " absolute amounts."
        " A spreadsheet's numbers have 15 digits; their sums lose a little more.",
        "source": "this workbook",
    },
    {
        "name": LARGEST_AMOUNT,
        "value": str(LARGEST),
        "description": "Every amount is below it; a quotient that is not, such as a price over dust, is left out.",
        "source": "this workbook",
    },
    *(policy for policy in RiskPolicies().rows() if policy["name"] in RATIOS),
)
"""The constants of the workbook; of the ratios, those of the run count where it has them among its policies."""

AGE_LIMITS = {"ageing_days_new": 7, "ageing_days_recent": 30, "ageing_days_old": 90}
"""Up to how many days a break is in which band of age; a break that is older is in the last one."""


def with_workbook_parameters(parameters: pl.DataFrame, detail_rows: int | None = None) -> pl.DataFrame:
    """The run's parameters and the workbook's own, in the schema PARAMETERS; those of ages where breaks are aged.

    `detail_rows` is the number of rows above which detail goes to a file beside the workbook.
    """
    is_aged, given = AGEING_AT in parameters["name"], set(parameters["name"])
    limits = [*_detail_limit(detail_rows), *(_age_limits() if is_aged else [])]
    own = [*(one for one in WORKBOOK_PARAMETERS if one["name"] not in given), *limits, _version()]
    return pl.concat([parameters, pl.DataFrame(own, schema=parameters.schema)])


def _detail_limit(rows: int | None) -> list[dict[str, str]]:
    if rows is None:
        return []
    description = (
        "Rows of a sheet of detail above which they go to a Parquet file beside the workbook, named on Manifest."
    )
    return [{"name": "detail_rows", "value": str(rows), "description": description, "source": "this workbook"}]


def program_version() -> str:
    """The version of this program, as it was installed."""
    try:
        return version("spot-margin-ledger")
    except PackageNotFoundError:
        return "not installed"


def _version() -> dict[str, str]:
    description = "Version of the program that wrote this workbook."
    return {"name": VERSION, "value": program_version(), "description": description, "source": "this workbook"}


def _age_limits() -> list[dict[str, str]]:
    description = "Days up to which a break is in this band of age; the words of the bands follow from it."
    return [
        {"name": name, "value": str(days), "description": description, "source": "this workbook"}
        for name, days in AGE_LIMITS.items()
    ]


def parameter_fields() -> tuple[Field, ...]:
    """The fields of the parameters: the value as text, and as a number with a name where it is one or a time in UTC."""
    name, value, description, source = (field(column) for column in PARAMETERS)
    description, source = replace(description, kind="prose"), replace(source, kind="prose")
    is_number = pl.col("value").str.contains(f"^{_NUMBER.pattern}$")
    is_time = pl.col("value").str.contains(f"^{_TIME.pattern}$")
    time = pl.when(is_time).then(pl.col("value")).str.strip_chars_end("Z").str.to_datetime(time_unit="us", strict=False)
    number = Field(
        "Number",
        "plain",
        pl.when(is_number).then(pl.col("value")).cast(pl.Float64).fill_null(serial(time)),
        "",
        "The value as a number, a time as a spreadsheet's date; formulas read it by the parameter's name.",
        "this workbook",
    )
    return (name, value, number, description, source)


def ratio_limits(parameters: pl.DataFrame) -> dict[str, Decimal]:
    """The margin ratios of alert and liquidation by name; `parameters` are those of the run, or of the workbook."""
    values = dict(with_workbook_parameters(parameters).select("name", "value").iter_rows())
    return {name: Decimal(values[name]) for name in RATIOS}


def parameter_cell(parameters: pl.DataFrame, name: str) -> str:
    """The cell of a parameter's number, as another sheet names it; `parameters` as `write_parameters` takes them."""
    row = _PARAMETERS_TOP + 1 + parameters["name"].to_list().index(name)
    return f"'Parameters'!$C${row}"


def write_parameters(book: Book, frame: pl.DataFrame) -> Placed:
    """Write the sheet and name the cells of the numbers; the frame has the columns PARAMETERS."""
    sheet = book.sheet("Parameters")
    fields = parameter_fields()
    fit_columns(sheet, fields, frame)
    book.text(sheet, 0, 0, "Parameters", bold=True, font_size=14)
    book.text(sheet, 1, 0, "The only place a constant lives: policies of the run and what formulas read.", **NOTE)
    placed = write_table(book, sheet, "Parameters_list", fields, frame, top=_PARAMETERS_TOP)
    for row, (name, value) in enumerate(frame.select("name", "value").iter_rows(), placed.first):
        is_read = _NUMBER.fullmatch(value or "") or _TIME.fullmatch(value or "")
        if _NAME.fullmatch(name or "") and is_read:
            book.workbook.define_name(name, f"='Parameters'!$C${row}")
    sheet.freeze_panes(4, 1)
    sheet.fit_to_pages(1, 0)
    sheet.repeat_rows(3)
    return placed


def glossary(sheets: Mapping[str, Sequence[Field]], also: Mapping[str, Sequence[Column]]) -> pl.DataFrame:
    """One row per column of each sheet, and of each frame that is on no sheet; `also` names more of those.

    Columns: where, heading, column, kind, unit, meaning, formula, source.
    """
    rows = [_of_field(sheet, one) for sheet, fields in sheets.items() for one in fields]
    apart = {"events (input)": EVENTS, "postings (frame)": FRAMES["postings"], **also}
    rows += [_of_column(where, column) for where, columns in apart.items() for column in columns]
    return pl.DataFrame(rows)


def glossary_fields() -> tuple[Field, ...]:
    """The fields of the glossary itself."""
    meanings = {
        "where": "Sheet, or frame that is on no sheet.",
        "heading": "Heading of the column.",
        "column": "Name of the column in the frames; empty where the sheet alone has it.",
        "cells": "Recorded values, live formulas or exact amounts as text.",
        "unit": "Currency or unit of the values.",
        "meaning": "What the column says.",
        "formula": "How it is computed, in column names.",
        "source": "Where the rule comes from.",
    }
    prose = ("meaning", "formula")
    return tuple(
        Field(heading(name), "prose" if name in prose else "text", pl.col(name), "", meaning, "this workbook")
        for name, meaning in meanings.items()
    )


def write_glossary(book: Book, frame: pl.DataFrame) -> Placed:
    """Write the sheet from the frame `glossary` gives."""
    sheet = book.sheet("Glossary")
    fields = glossary_fields()
    fit_columns(sheet, fields, frame, widest=55)
    book.title(sheet, "Glossary", _SOURCES)
    placed = write_table(book, sheet, "Glossary_list", fields, frame, top=4)
    sheet.freeze_panes(4, 2)
    sheet.fit_to_pages(1, 0)
    sheet.repeat_rows(3)
    return placed


_SOURCES = (
    "Sources name the accounting rules and how sure they are: [O] the exchange's own pages, [V] verified"
    " on real"
    " records, [S] stated by the source documents only, [D] derived."
)


def _of_field(sheet: str, one: Field) -> dict[str, str]:
    name = "" if one.source == HERE else one.name
    row = {"where": sheet, "heading": one.heading, "column": name, "cells": one.how, "unit": one.unit}
    return {**row, "meaning": one.meaning, "formula": one.words, "source": one.source}


def _of_column(where: str, column: Column) -> dict[str, str]:
    row = {
        "where": where,
        "heading": heading(column.name),
        "column": column.name,
        "cells": "",
        "unit": column.unit,
    }
    return {**row, "meaning": column.description, "formula": in_words(column), "source": column.source}
