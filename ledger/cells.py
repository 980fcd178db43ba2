"""From a raw cell to a typed value, column by column, without a float and without a silent rounding.

Each column has an expression that is quick and strict: it gives nothing where it is not sure. What it leaves
open is judged value by value in Python: that finds the exact value after all ("0E-8") or a reason against it.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import polars as pl

from ledger.columns import TIME, Column
from ledger.money import LARGEST, LARGEST_DIGITS, MONEY, SCALE
from ledger.refusals import refuse_file
from ledger.rules import Refused

_PLAIN_AMOUNT = rf"^-?[0-9]{{1,{LARGEST_DIGITS}}}(\.[0-9]{{1,{SCALE}}})?$"
_MOMENT = r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-5][0-9]"
_ZONE = r"(Z|[+-][0-9]{2}:[0-9]{2})$"
_UTC = "+00:00"
_ISO_TIME = rf"^{_MOMENT}(\.[0-9]{{1,6}})?{_ZONE}"


@dataclass(frozen=True)
class Reason:
    """Why a value is refused, and what to do about it."""

    rule: str
    remedy: str


# --- expressions: nothing where the value cannot be taken as it stands --------------------------------------


def typed(column: Column, raw: pl.DataType) -> pl.Expr:
    """The column's value from a raw one of type `raw`; empty where it cannot be taken as it stands."""
    cell = pl.col(column.name)
    if column.dtype == MONEY:
        value = _amount(cell, raw)
    elif column.dtype == TIME:
        value = _time(cell, raw)
    elif column.dtype == pl.Boolean:
        value = _flag(cell, raw)
    elif column.dtype == pl.String:
        value = pl.when(cell.cast(pl.String) != "").then(cell.cast(pl.String))
    else:
        value = cell.cast(pl.String).cast(column.dtype, strict=False)
    return value.alias(column.name)


def _amount(cell: pl.Expr, raw: pl.DataType) -> pl.Expr:
    amount = cell.cast(MONEY, strict=False)
    exact = cell.str.contains(_PLAIN_AMOUNT) if isinstance(raw, pl.String) else amount.abs() < LARGEST
    return pl.when(exact).then(amount)


def _time(cell: pl.Expr, raw: pl.DataType) -> pl.Expr:
    if isinstance(raw, pl.Datetime):
        whole = cell.dt.timestamp("ns") % 1000 == 0 if raw.time_unit == "ns" else pl.lit(True)
        return pl.when(whole).then(cell.dt.convert_time_zone("UTC").cast(TIME))
    if not isinstance(raw, pl.String):
        return cell.cast(pl.Int64, strict=False).cast(pl.Datetime("ms", "UTC")).cast(TIME)
    text = cell.str.replace(" ", "T", literal=True)
    moment = text.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f%#z", time_unit="us", time_zone="UTC", strict=False)
    epoch = cell.cast(pl.Int64, strict=False).cast(pl.Datetime("ms", "UTC")).cast(TIME)
    is_epoch = cell.str.len_bytes() == 13  # an ISO time is longer, and 13 bytes of another text are no integer
    return (
        pl.when(is_epoch & (epoch.dt.epoch("ms") >= 10**12)).then(epoch).when(cell.str.contains(_ISO_TIME)).then(moment)
    )


def _flag(cell: pl.Expr, raw: pl.DataType) -> pl.Expr:
    if isinstance(raw, pl.Boolean):
        return cell
    words = {"true": True, "1": True, "false": False, "0": False}
    return cell.cast(pl.String).str.to_lowercase().replace_strict(words, default=None, return_dtype=pl.Boolean)


# --- judges: the value after all, or the reason why not -----------------------------------------------------

_PLAIN = "Write it as a plain number, for example -1234.56 or 1e-7."
_AMOUNT_FORMS = (
    (r"\s.*|.*\s", Reason("An amount has no blanks around it.", "Remove the blanks.")),
    (
        r"(?i)[+-]?(nan|inf|infinity)",
        Reason("An amount is a finite number; NaN and infinity are not.", "Mend it at its source."),
    ),
    (
        r"-?[0-9.]*,[0-9.,]*",
        Reason("An amount has a point before its decimals and no separators of thousands.", _PLAIN),
    ),
    (
        r"(?!-?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$).*",
        Reason("An amount is a decimal number.", _PLAIN),
    ),
    (r".*[eE][+-]?[0-9]{7,}", Reason("An amount's exponent has at most 6 digits.", _PLAIN)),
)
_TOO_LARGE = Reason(f"An amount has at most {LARGEST_DIGITS} digits before the point.", "Check its unit.")
_TOO_FINE = Reason(
    f"An amount has at most {SCALE} decimals; more would be rounded silently.", "Round it at its source."
)

_TIME_FORMS = (
    (
        _MOMENT + r"(\.[0-9]+)?",
        Reason("A time states its zone.", "Add Z for UTC, or an offset such as +08:00."),
    ),
    (
        _MOMENT + r"\.[0-9]{7,}" + _ZONE,
        Reason("A time has at most 6 decimals of a second.", "Round it to microseconds at its source."),
    ),
    (
        r"-?[0-9]+",
        Reason("A time given as a number counts milliseconds since 1970, with 13 digits.", "Check its unit."),
    ),
    (
        r"[0-9]{4}-[0-9]{2}-[0-9]{2}",
        Reason("A time has a date and a time of day.", "Write it as 2024-05-01T12:00:00Z."),
    ),
)
_NO_TIME = Reason("A time is an ISO 8601 date and time that exists.", "Write it as 2024-05-01T12:00:00Z.")


def _form(text: str, forms: tuple[tuple[str, Reason], ...]) -> Reason | None:
    """The reason beside the first form that the text has."""
    return next((reason for form, reason in forms if re.fullmatch(form, text, re.DOTALL)), None)


def judge_amount(text: str) -> Decimal | Reason:
    """The exact amount of a text in plain or exponent notation, or why it is refused."""
    malformed = _form(text, _AMOUNT_FORMS)
    if malformed:
        return malformed
    sign, digits, exponent = Decimal(text).as_tuple()
    written = "".join(map(str, digits)).lstrip("0")
    significant = written.rstrip("0")
    power = int(exponent) + len(written) - len(significant)
    if significant and len(significant) + power > LARGEST_DIGITS:
        return _TOO_LARGE
    if significant and -power > SCALE:
        return _TOO_FINE
    return Decimal(f"{'-' if sign else ''}{significant}e{power}") if significant else Decimal(0)


def judge_time(text: str) -> Reason:
    """Why a time is refused."""
    return _form(text, _TIME_FORMS) or _NO_TIME


def judge_flag(text: str) -> Reason:
    """Why a flag is refused."""
    return Reason("It is true or false, 1 or 0, or empty for false.", "Choose one of them.")


def _judge_word(words: tuple[str, ...]) -> Callable[[str], Reason]:
    reason = Reason(f"It is one of: {', '.join(words)}.", "Choose one of them, in small letters.")
    return lambda _text: reason


def judge(column: Column) -> Callable[[str], Any]:
    """The judge of a column's values."""
    if column.dtype == MONEY:
        return judge_amount
    if column.dtype == TIME:
        return judge_time
    if column.dtype == pl.Boolean:
        return judge_flag
    return _judge_word(tuple(column.dtype.categories))


# --- whole tables -------------------------------------------------------------------------------------------


def check_types(file: str, schema: pl.Schema, columns: tuple[Column, ...]) -> None:
    """Refuse a file (BadInput) of which a column's type cannot give the values exactly."""
    for column in columns:
        raw = schema.get(column.name, pl.Null())
        remedy = _type_remedy(column, raw)
        if remedy:
            raise refuse_file(file, f"The column cannot be read from the type {raw}.", remedy, column.name)


def _type_remedy(column: Column, raw: pl.DataType) -> str | None:
    if isinstance(raw, (pl.String, pl.Null)):
        return None
    words = isinstance(raw, (pl.Categorical, pl.Enum))
    if column.dtype == MONEY:
        exact = raw.is_integer() or (isinstance(raw, pl.Decimal) and raw.scale <= SCALE)
        return None if exact else f"Store decimals of at most {SCALE} places, or text; floats have lost digits."
    if column.dtype == TIME:
        zoned = raw == pl.Int64() or (isinstance(raw, pl.Datetime) and raw.time_zone is not None)
        return None if zoned else "Store timestamps with a zone, epoch milliseconds, or text."
    if column.dtype == pl.Boolean:
        return None if isinstance(raw, pl.Boolean) or raw.is_integer() else "Store booleans, or text."
    if column.dtype == pl.String:
        return None if words or raw.is_integer() else "Store text."
    return None if words else "Store text."


def type_table(raw: pl.DataFrame, columns: tuple[Column, ...]) -> tuple[pl.DataFrame, list[Refused]]:
    """A raw table with all `columns` typed, and the cells refused, which are left empty.

    `raw` may lack columns: they come out empty. Other columns of `raw` are kept.
    """
    given = [column for column in columns if column.name in raw.columns]
    absent = [pl.lit(None, dtype=column.dtype).alias(column.name) for column in columns if column not in given]
    table = raw.with_columns(typed(column, raw.schema[column.name]) for column in given).with_columns(absent)
    refused: list[Refused] = []
    for column in given:
        if table[column.name].null_count() > raw[column.name].null_count():
            mended, reasons = _mend(column, table[column.name], raw[column.name].cast(pl.String))
            table = table.with_columns(mended)
            refused += reasons
    return table, refused


def _mend(column: Column, value: pl.Series, text: pl.Series) -> tuple[pl.Series, list[Refused]]:
    """The values with those filled in that the judge finds, and what it refuses."""
    open_texts = text.filter(value.is_null() & (text != "")).unique().sort()
    verdicts = {open_text: judge(column)(open_text) for open_text in open_texts}
    found = {open_text: verdict for open_text, verdict in verdicts.items() if not isinstance(verdict, Reason)}
    if found:
        amounts = pl.Series(list(found.values()), dtype=MONEY)
        value = value.fill_null(text.replace_strict(pl.Series(list(found)), amounts, default=None))
    refused = []
    for reason in dict.fromkeys(verdict for verdict in verdicts.values() if isinstance(verdict, Reason)):
        texts = [open_text for open_text, verdict in verdicts.items() if verdict == reason]
        rows = text.is_in(texts).fill_null(False)
        refused.append(Refused(column.name, reason.rule, reason.remedy, rows))
    return value, refused


def empty_cells(raw: pl.DataFrame, required: tuple[str, ...]) -> list[Refused]:
    """Rows that leave a required column empty."""
    refused = []
    for column in required:
        rows = (raw[column].cast(pl.String).fill_null("") == "").alias(column)
        if rows.any():
            refused.append(Refused(column, f"Every row needs {column}.", "Fill it in.", rows))
    return refused


def mixed_zones(raw: pl.DataFrame, table: pl.DataFrame, first_zone: str | None) -> tuple[list[Refused], str | None]:
    """Rows whose time is in another zone than the first of the file; and that zone, once it is known."""
    if raw.schema.get("time") != pl.String:
        return [], first_zone
    if first_zone in (None, _UTC) and raw.height and raw["time"].fill_null("").str.ends_with("Z").all():
        return [], _UTC
    zone = pl.col("time").str.extract(_ZONE).fill_null("epoch")
    zones = raw.select(zone=pl.when(table["time"].is_not_null()).then(zone))["zone"].replace("Z", _UTC)
    found = zones.drop_nulls()
    if found.is_empty():
        return [], first_zone
    first_zone = first_zone or str(found[0])
    others = (zones != first_zone).fill_null(False)
    rule = "All times of one file are in one zone; this one is in another than the first."
    refused = [Refused("time", rule, "Convert all times of the file to UTC.", others)] if others.any() else []
    return refused, first_zone
