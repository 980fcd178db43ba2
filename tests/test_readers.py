"""The sample workbook in the eyes of the programs people read it with: each sees the same numbers."""

from pathlib import Path

import openpyxl
import pandas
import polars as pl
import pytest
from openpyxl.utils import get_column_letter, range_boundaries

SAMPLE = Path(__file__).parents[1] / "reports" / "samples" / "spot-margin-reconciliation.xlsx"


def tables():
    """Sheet, cells and columns of numbers, by heading, of every table: what stands there for who only takes values."""
    found = []
    for sheet in openpyxl.load_workbook(SAMPLE, data_only=True).worksheets:
        for table in sheet.tables.values():
            left, top, right, bottom = range_boundaries(table.ref)
            rows = sheet.iter_rows(min_row=top, max_row=bottom, min_col=left, max_col=right, values_only=True)
            headings, *cells = rows
            columns = {
                heading: [None if value == "" else value for value in values]
                for heading, values in zip(headings, zip(*cells, strict=True), strict=True)
            }
            numbers = {heading: values for heading, values in columns.items() if is_numeric(values)}
            found.append((sheet.title, (left, top, right, bottom), numbers))
    return found


def is_numeric(values):
    known = [value for value in values if value is not None]
    return bool(known) and all(isinstance(value, int | float) for value in known)


TABLES = tables()


def test_there_is_something_to_read():
    assert len(TABLES) > 20
    assert sum(len(values) for _, _, numbers in TABLES for values in numbers.values()) > 4_000


@pytest.mark.parametrize(("sheet", "where", "numbers"), TABLES, ids=[sheet for sheet, *_ in TABLES])
def test_polars_and_pandas_read_the_same_numbers(sheet, where, numbers):
    left, top, right, bottom = where
    cells = f"{get_column_letter(left)}:{get_column_letter(right)}"
    options = {"header_row": top - 1, "n_rows": bottom - top, "use_columns": cells}
    by_polars = pl.read_excel(SAMPLE, sheet_name=sheet, engine="calamine", read_options=options, drop_empty_rows=False)
    by_pandas = pandas.read_excel(SAMPLE, sheet_name=sheet, header=top - 1, nrows=bottom - top, usecols=cells)
    for heading, values in numbers.items():
        assert as_numbers(by_polars[heading].to_list()) == values, f"{heading}, by Polars"
        assert as_numbers(by_pandas[heading].to_list()) == values, f"{heading}, by pandas"


def as_numbers(values):
    """Numbers, dates as the numbers that they are in a spreadsheet, and nothing where there is nothing."""
    return [None if value in (None, "") or pandas.isna(value) else value for value in values]
