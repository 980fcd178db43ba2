"""The control sums on the Manifest sheet: of each input as it was read, beside what the sheet Ledger has of it."""

from collections.abc import Mapping
from dataclasses import replace

import polars as pl

from ledger.columns import INPUT_SUMS, Column
from ledger.input_sums import TIES, Term, Tie
from ledger.money import MONEY
from reports.cells.fields import Field, Placed, Tables, exact, field, heading, letter
from reports.sheets.checks import HERE, TOLERANCE
from reports.sheets.reconciliation_fields import LIVE_WORK_MAX

_LIKE_A_NUMBER = "^[0-9]+(E[0-9]+)?$"
"""Codes of currencies that a spreadsheet's criterion would take for a number."""


def sum_fields(sums: pl.DataFrame, ledger: Tables, first: int) -> tuple[Field, ...]:
    """The fields of the control sums, whose rows begin in row `first`.

    What the ledger has is live where `ledger` says where it stands.
    """
    columns = {column.name: column for column in INPUT_SUMS}
    order = ("input", "column", "kind", "currency", "total", "booked")
    fields: list[Field] = []
    for name in order:
        fields += _with_exact(columns[name])
    fields += [_tied(), field(columns["rows"]), field(columns["not_booked"])]
    for name in ("left_out", "absolute_total"):
        fields += _with_exact(columns[name])
    fields += [exact(columns["not_booked"]), _where()]
    cell = {one.name: letter(fields, one.heading) + "{row}" for one in fields if one.kind != "exact" and one.name}
    formulas = {"not_booked": _not_booked(cell), "tied": _tied_formula(cell)}
    shown = [_live(one, formulas, columns) for one in fields]
    return tuple(_summed(one, sums, ledger, cell, first) for one in shown)


def _with_exact(column: Column) -> list[Field]:
    one = field(column)
    if column.name == "column":
        return [replace(one, kind="prose")]
    return [one, exact(column)] if column.dtype == MONEY else [one]


def _live(one: Field, formulas: Mapping[str, tuple[str, str]], columns: Mapping[str, Column]) -> Field:
    if one.kind == "exact" or one.name not in formulas:
        return one
    formula, words = formulas[one.name]
    made_of = ("absolute_total",) if one.name in columns else ()
    return replace(one, formula=formula, words=words, made_of=made_of)


def _not_booked(cell: Mapping[str, str]) -> tuple[str, str]:
    """What is left beyond the digits of a spreadsheet's sums is the zero that it is."""
    text = 'IF({booked}="","",IF(ABS({rest})<={tolerance}*{absolute_total},0,{rest}))'
    names = {name: name for name in cell}
    return tuple(  # type: ignore[return-value]
        text.format(rest="({total}-{left_out}-{booked})".format(**at), tolerance=TOLERANCE, **at)
        for at in (cell, names)
    )


def _tied_formula(cell: Mapping[str, str]) -> tuple[str, str]:
    text = 'IF({booked}="","not tied",IF({not_booked}=0,"OK","FAIL"))'
    return text.format(**cell), text.format(**{name: name for name in cell})


def _tied() -> Field:
    rest = pl.col("not_booked")
    result = pl.when(rest.is_null()).then(pl.lit("not tied")).when(rest == 0).then(pl.lit("OK"))
    meaning = (
        "OK when the ledger has what was read and not left out, within the digits of a spreadsheet; not tied: the"
        " ledger has it otherwise."
    )
    return Field("Tied out", "result", result.otherwise(pl.lit("FAIL")), "", meaning, HERE, name="tied")


def _where() -> Field:
    """Where the ledger has a sum, in words."""
    said = pl.lit("Not as such: it is held against a formula.")
    for tie in TIES:
        of_tie = (pl.col("column") == tie.column) & pl.col("kind").is_in(tie.kinds)
        said = pl.when(of_tie).then(pl.lit(tie.words)).otherwise(said)
    untied = pl.col("booked").is_null() & (pl.col("kind") == "interest")
    said = pl.when(untied).then(pl.lit("See the sheet Interest, where it is computed.")).otherwise(said)
    return Field(
        "In the ledger as",
        "prose",
        said,
        "",
        "Columns of the sheet Ledger that add up to it, by file, kind and currency.",
        HERE,
    )


def _summed(one: Field, sums: pl.DataFrame, ledger: Tables, cell: Mapping[str, str], first: int) -> Field:
    """What the ledger has, as live sums, each row its own."""
    if one.name != "booked" or one.kind == "exact" or not ledger:
        return one
    rows = sums.select("column", pl.col("kind").cast(pl.String), pl.col("booked").is_null()).iter_rows()
    formulas = tuple(
        '""' if is_empty else _sum_of(_tie(column, kind), ledger, cell).format(row=row)
        for row, (column, kind, is_empty) in enumerate(rows, first)
    )
    words = "SUMIFS(the column of the sheet Ledger, by input, kind and currency)"
    return replace(one, formulas=formulas, words=words, made_of=("absolute_total",))


def _tie(column: str, kind: str) -> Tie:
    return next(tie for tie in TIES if tie.column == column and kind in tie.kinds)


def _sum_of(tie: Tie, ledger: Tables, cell: Mapping[str, str]) -> str:
    """The sum over all sheets of the ledger, with `{row}` for the row of the criteria."""
    text = ""
    for placed, _ in ledger:
        for term in tie.terms:
            where = f"{placed.range('Input')},{cell['input']},{placed.range('Kind')},{cell['kind']}"
            total = f"SUMIFS({placed.range(heading(term.name))},{where},{_in_currency(placed, term, cell['currency'])})"
            text += f"{'-' if term.sign < 0 else '+'}{total}"
    return text.removeprefix("+")


def _in_currency(placed: Placed, term: Term, currency: str) -> str:
    """The criterion of a currency: of the fee, or of a leg in the position's name, `account:BASE-QUOTE:MARGIN`."""
    patterns = {"base": f'"*:"&{currency}&"-*"', "quote": f'"*-"&{currency}&":*"', "margin": f'"*:"&{currency}'}
    if term.leg == "fee":
        return f"{placed.range('Fee currency')},{currency}"
    return f"{placed.range('Position')},{patterns[term.leg]}"


def can_be_live(sums: pl.DataFrame, ledger: Tables) -> bool:
    """Whether sums by currency are sure and not too much work for a spreadsheet."""
    rows = sum(frame.height for _, frame in ledger)
    if not rows or rows * sums.height > LIVE_WORK_MAX:
        return False
    positions = pl.concat([frame["position"].unique() for _, frame in ledger])
    accounts = positions.str.replace(r":[^:]*:[^:]*$", "").str.to_uppercase()
    # Such an account could be taken for a currency by the criterion that looks for one in the position's name.
    unsure = accounts.str.contains(":") | accounts.str.extract("-([^-]*)$").is_in(sums["currency"].implode())
    codes = ~sums["currency"].fill_null("0").str.contains(_LIKE_A_NUMBER)
    return bool(codes.all() and not unsure.any())
