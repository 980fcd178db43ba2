"""The sheet Lead: what the ledger comes to against the exchange, by account, class of balances and currency."""

from dataclasses import replace

import polars as pl

from ledger.reconciliation.columns import LEAD
from reports.cells.by_group import table_name
from reports.cells.fields import Field, Placed
from reports.cells.tables import Book, fit_columns, write_table
from reports.sheets.checks import HERE
from reports.sheets.reconciliation_fields import (
    BAD,
    GOOD,
    LIVE_DECIMALS_MAX,
    LIVE_WORK_MAX,
    OPEN,
    grouped,
    in_row,
    live,
    mark_words,
)

LEAD_SHEET = "Lead"
_LEAD_GROUPS = {
    "Balance": ("account", "account_class", "currency", "positions"),
    "Ledger, adjusted": ("ledger", "adjustments"),
    "Exchange": ("exchange",),
    "Difference": ("difference",),
}
_SUMMED = ("positions", "ledger", "adjustments", "exchange", "difference")
_ALL_ACCOUNTS = "all accounts"
_OUTCOMES = {"agrees": GOOD, "differs": BAD, "not stated": OPEN}
_ABOUT_LEAD = (
    "Ledger + adjustments - exchange = difference, of the positions that both sides have; the outcome is by the exact"
    " amounts."
)


def lead_fields(frame: pl.DataFrame) -> tuple[Field, ...]:
    """The fields of the sheet Lead; the difference is live where the exchange states all."""
    fields = [
        replace(one, decimals_max=LIVE_DECIMALS_MAX) if one.name == "difference" and one.kind == "amount" else one
        for one in grouped(LEAD, _LEAD_GROUPS, beside=("difference",))
    ]
    cell = in_row(fields)
    if frame.select((pl.col("exchange").is_null() == pl.col("difference").is_null()).all()).item():
        formula = f'IF({cell["exchange"]}="","",{cell["ledger"]}+{cell["adjustments"]}-{cell["exchange"]})'
        words = 'IF(exchange="","",ledger+adjustments-exchange)'
        fields = live(fields, {"difference": (formula, words)}, difference=("ledger", "adjustments", "exchange"))
    behind = next(n for n, one in enumerate(fields) if one.group == "Exact amounts")
    fields.insert(behind, replace(_outcome(), group="Difference"))
    return tuple(fields)


def _outcome() -> Field:
    difference = pl.col("difference")
    stated = pl.when(difference == 0).then(pl.lit("agrees")).otherwise(pl.lit("differs"))
    word = pl.when(difference.is_null()).then(pl.lit("not stated")).otherwise(stated)
    meaning = "Whether the exact difference is zero; not stated: the exchange gives no figure."
    return Field("Outcome", "result", word, "", meaning, HERE)


def write_lead(book: Book, name: str, frame: pl.DataFrame, fields: tuple[Field, ...]) -> Placed:
    """Write a sheet of the lead; below the lines of several accounts, if it holds them all, stand their totals."""
    sheet = book.sheet(name)
    fit_columns(sheet, fields, frame)
    longest: int = frame.select(pl.col("account").str.len_chars().max().fill_null(0)).item()
    sheet.set_column(0, 0, max(len(_ALL_ACCOUNTS) + 4, min(60, longest + 4)))
    book.title(sheet, LEAD_SHEET, _ABOUT_LEAD)
    placed = write_table(book, sheet, table_name(name), fields, frame, top=3, bands=True)
    tables = [placed]
    totals = _totals(frame)
    has_several = frame["account"].n_unique() > 1
    if name == LEAD_SHEET and has_several and 0 < totals.height * frame.height <= LIVE_WORK_MAX:
        top = placed.last + 4
        note = "Totals by class and currency, live: the lines above that the exchange states."
        book.text(sheet, top - 2, 0, note, bold=True, font_size=12)
        tables.append(write_table(book, sheet, "Lead_totals", _total_fields(placed), totals, top=top))
    for table in tables:
        mark_words(book, sheet, table.range("Outcome", other_sheet=False), _OUTCOMES)
    sheet.freeze_panes(6, 3)
    sheet.fit_to_pages(1, 0)
    sheet.repeat_rows(2, 5)
    return placed


def _totals(frame: pl.DataFrame) -> pl.DataFrame:
    """One row per class and currency: the sums of the lines that the exchange states."""
    stated = frame.filter(pl.col("difference").is_not_null())
    differs = (pl.col("difference") != 0).any().alias("differs")
    found = stated.group_by("account_class", "currency").agg(pl.col(_SUMMED).sum(), differs)
    return found.sort("account_class", "currency").with_columns(account=pl.lit(_ALL_ACCOUNTS))


def _total_fields(lines: Placed) -> tuple[Field, ...]:
    """The fields of the lines under the same headings, each amount the sum of the lines of its class and currency."""
    outcomes = lines.range("Outcome", False)
    same = f"{lines.range('Account class', False)},B{{row}},{lines.range('Currency', False)},C{{row}},{outcomes}"

    def summed(one: Field) -> Field:
        if one.heading == "Outcome":
            word = pl.when("differs").then(pl.lit("differs")).otherwise(pl.lit("agrees"))
            return replace(one, values=word, formula=f'IF(COUNTIFS({same},"differs")>0,"differs","agrees")')
        if one.kind == "exact" or one.name not in _SUMMED:
            return one
        return replace(one, formula=f'SUMIFS({lines.range(one.heading, False)},{same},"<>not stated")', made_of=())

    return tuple(summed(one) for one in lines.fields)
