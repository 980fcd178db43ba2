"""The Parameters and Glossary sheets: every constant once, and what every column means."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

import polars as pl

from ledger.columns import EVENTS, FRAMES, PARAMETERS, Column
from reports.formulas import in_words
from reports.sheets import NOTE, Book, fit_columns, write_table
from reports.sheets_checks import HERE, TOLERANCE
from reports.sheets_fields import Field, Placed, field, heading

_NUMBER = re.compile(r"[+-]?\d{1,20}(\.\d{1,18})?")
_NAME = re.compile(r"[A-Za-z]+(_[A-Za-z]+)+")
"""Names a cell can be given: with an underscore and no digit, none can be taken for a cell's address."""

WORKBOOK_PARAMETERS = (
    {
        "name": TOLERANCE,
        "value": "0.000000000001",
        "description": "Largest difference of a control total from the engine's, as a share of the"
        " absolute amounts."
        " A spreadsheet's numbers have 15 digits; their sums lose a little more.",
        "source": "this workbook",
    },
)


def with_workbook_parameters(parameters: pl.DataFrame) -> pl.DataFrame:
    """The run's parameters and the workbook's own, in the schema PARAMETERS."""
    return pl.concat([parameters, pl.DataFrame(list(WORKBOOK_PARAMETERS), schema=parameters.schema)])


def parameter_fields() -> tuple[Field, ...]:
    """The fields of the parameters: the value as text, and as a number with a name where it is one."""
    name, value, description, source = (field(column) for column in PARAMETERS)
    description = replace(description, kind="prose")
    is_number = pl.col("value").str.contains(f"^{_NUMBER.pattern}$")
    number = Field(
        "Number",
        "plain",
        pl.when(is_number).then(pl.col("value")).cast(pl.Float64),
        "",
        "The value as a number; formulas read it by the parameter's name.",
        "this workbook",
    )
    return (name, value, number, description, source)


def write_parameters(book: Book, frame: pl.DataFrame) -> Placed:
    """Write the sheet and name the cells of the numbers; the frame has the columns PARAMETERS."""
    sheet = book.sheet("Parameters")
    fields = parameter_fields()
    fit_columns(sheet, fields, frame)
    book.text(sheet, 0, 0, "Parameters", bold=True, font_size=14)
    book.text(sheet, 1, 0, "The only place a constant lives: policies of the run and what formulas read.", **NOTE)
    placed = write_table(book, sheet, "Parameters_list", fields, frame, top=4)
    for row, (name, value) in enumerate(frame.select("name", "value").iter_rows(), placed.first):
        if _NAME.fullmatch(name or "") and _NUMBER.fullmatch(value or ""):
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
