"""The same table written as a workbook by several programs: `python -m bench.workbook_writers WRITER ROWS.parquet OUT`.

Twelve amounts, four texts and four formulas in a row; all but openpyxl, which cannot, write the formulas' values too.
Each prints a JSON object with the size of the file.
"""

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl

from ledger.columns import Column
from ledger.money import MONEY

AMOUNTS = tuple(f"amount_{letter}" for letter in "abcdefghijkl")
TEXTS = ("position", "event", "kind", "comment")
FORMULAS = {
    "sum": ("A{row}+B{row}", pl.col("amount_a") + pl.col("amount_b")),
    "difference": ("C{row}-D{row}", pl.col("amount_c") - pl.col("amount_d")),
    "change": ("A{row}-E{row}+F{row}", pl.col("amount_a") - pl.col("amount_e") + pl.col("amount_f")),
    "larger": ("MAX(G{row},H{row})", pl.max_horizontal("amount_g", "amount_h")),
}
FORMAT = "#,##0.00000000_);[Red](#,##0.00000000);0.00000000_)"
TITLES = (*AMOUNTS, *TEXTS, *FORMULAS)
FIRST_ROW = 2
CHUNK_ROWS = 10_000


def make(rows: int, path: Path) -> None:
    """Write the rows as Parquet: exact amounts with up to 8 decimals, of both signs, and text."""
    number = pl.int_range(rows).alias("number")
    amounts = [
        ((pl.col("number") * (7_919 + 2 * place)) % 2_000_003 - 1_000_001).cast(MONEY) / pl.lit("100000").cast(MONEY)
        for place in range(len(AMOUNTS))
    ]
    texts = (
        pl.format("account-{}:BTC-USDT:USDT", pl.col("number") % 1_000),
        pl.format("event-{}", "number"),
        pl.when(pl.col("number") % 3 == 0).then(pl.lit("interest")).otherwise(pl.lit("fill")),
        pl.format("row {} of the file, <as it was> & checked", "number"),
    )
    columns = {name: one.alias(name) for name, one in zip((*AMOUNTS, *TEXTS), (*amounts, *texts), strict=True)}
    pl.select(number).lazy().select(*columns.values()).sink_parquet(path, row_group_size=50_000)


def ours(source: Path, out: Path) -> None:
    """The project's own writer, with a table object, as for every sheet."""
    from reports.cells.fields import Field, field
    from reports.cells.tables import new_book, write_table

    fields = [field(Column(name, MONEY, "", "", "")) for name in AMOUNTS]
    fields += [field(Column(name, pl.String, "", "", "")) for name in TEXTS]
    fields += [
        Field(name, "amount", _float(value), "", "", "", formula=text) for name, (text, value) in FORMULAS.items()
    ]
    with new_book(out) as book:
        write_table(book, book.sheet("Rows"), "Rows", fields, pl.scan_parquet(source), top=1)


def xlsxwriter(source: Path, out: Path) -> None:
    """XlsxWriter in constant memory, cell by cell."""
    from xlsxwriter import Workbook

    with Workbook(str(out), {"constant_memory": True}) as book:
        sheet = book.add_worksheet("Rows")
        shown, text = book.add_format({"num_format": FORMAT, "bottom": 1}), book.add_format({"bottom": 1})
        sheet.write_row(0, 0, TITLES)
        formulas = [formula for formula, _ in FORMULAS.values()]
        first_text, first_formula = len(AMOUNTS), len(AMOUNTS) + len(TEXTS)
        for row, record in enumerate(_records(source), FIRST_ROW):
            for column in range(first_text):
                sheet.write_number(row - 1, column, record[column], shown)
            for column in range(first_text, first_formula):
                sheet.write_string(row - 1, column, record[column], text)
            for column, formula in enumerate(formulas, first_formula):
                sheet.write_formula(row - 1, column, "=" + formula.format(row=row), shown, record[column])


def openpyxl(source: Path, out: Path) -> None:
    """Openpyxl, write-only, with a named style per cell."""
    from openpyxl import Workbook
    from openpyxl.cell import WriteOnlyCell
    from openpyxl.styles import Border, NamedStyle, Side

    book = Workbook(write_only=True)
    border = Border(bottom=Side(style="thin"))
    book.add_named_style(NamedStyle("shown", number_format=FORMAT, border=border))
    book.add_named_style(NamedStyle("told", border=border))
    sheet = book.create_sheet("Rows")
    sheet.append(TITLES)
    formulas = [formula for formula, _ in FORMULAS.values()]
    first_text, first_formula = len(AMOUNTS), len(AMOUNTS) + len(TEXTS)
    styles = ["told" if first_text <= column < first_formula else "shown" for column in range(len(TITLES))]
    for row, record in enumerate(_records(source), FIRST_ROW):
        values = [*record[:first_formula], *("=" + formula.format(row=row) for formula in formulas)]
        cells = []
        for value, style in zip(values, styles, strict=True):
            cell = WriteOnlyCell(sheet, value)
            cell.style = style
            cells.append(cell)
        sheet.append(cells)
    book.save(out)


WRITERS: dict[str, Callable[[Path, Path], None]] = {"ours": ours, "xlsxwriter": xlsxwriter, "openpyxl": openpyxl}


def _records(source: Path) -> Iterator[tuple[Any, ...]]:
    """The values of each row, from chunks that are read as the own writer reads them."""
    amounts = [_float(pl.col(name)) for name in AMOUNTS]
    live = [_float(value).alias(name) for name, (_, value) in FORMULAS.items()]
    for part in (
        pl.scan_parquet(source)
        .select(*amounts, *TEXTS, *live)
        .collect_batches(chunk_size=CHUNK_ROWS, maintain_order=True)
    ):
        yield from part.iter_rows()


def _float(amount: pl.Expr) -> pl.Expr:
    return amount.cast(pl.String).cast(pl.Float64)


def main(arguments: list[str]) -> None:
    """Make the rows (`make ROWS FILE`) or write them with a writer (`WRITER FILE OUT`)."""
    work, first, second = arguments
    if work == "make":
        make(int(first), Path(second))
        return
    WRITERS[work](Path(first), Path(second))
    print(json.dumps({"bytes": Path(second).stat().st_size}))


if __name__ == "__main__":
    main(sys.argv[1:])
