"""What must hold of the rows that are read from the workbook of an earlier run."""

from datetime import UTC, datetime

import polars as pl

from ledger.columns import TIME
from ledger.reconciliation.breaks import break_ids
from ledger.reconciliation.columns import STATES
from ledger.refusals import REFUSAL_SCHEMA
from ledger.rules import Rule
from reports.cells.texts import UNSEEN
from reports.sheets.reconciliation_reviews import ENTRIES

_ESCAPED = r"\x"
_SECOND = 1_000_000  # microseconds
_NAME_PARTS = ("position", "figure", "stated_by")
_NOT_SORTED = "Sort whole rows, never single columns; put the columns of the break back as they were written."


def beside(name: str) -> str:
    """The name of a time as the date beside its ISO text."""
    return f"{name}_date"


_TIMES = ("first_seen", "last_seen", "resolved_at")
BESIDE = tuple(map(beside, _TIMES))
"""The dates, as texts, that stand beside times of REVIEWS."""


def rules_of(as_at: datetime | None) -> dict[str, Rule]:
    """The rules for columns of REVIEWS, and BESIDE; `as_at` is the end of the run to come."""
    rules = {
        "identified": Rule(
            "break_id",
            "An entry belongs to a break, and the row has no break ID.",
            "Move the entry to the row of its break.",
            pl.col("break_id").is_not_null(),
        ),
        "named": Rule("break_id", "The break ID is not that of its position and figure.", _NOT_SORTED, is_own_id()),
        "aged": Rule("first_seen", "A break was first seen at some time.", _NOT_SORTED, _is_given("first_seen")),
        "placed": Rule(
            "state",
            f"It is one of: {', '.join(STATES)}.",
            _NOT_SORTED,
            _is_given("state"),
        ),
        "gone": Rule(
            "resolved_at",
            "What is resolved was so at some time.",
            _NOT_SORTED,
            _is_given("resolved_at") | (pl.col("state") != STATES[1]),
        ),
        **{f"{name}_same": _same_date(name) for name in _TIMES},
        **{f"{name}_short": _short(name, longest) for name, longest in ENTRIES.items() if longest},
        **{f"{name}_seen": _seen(name) for name, longest in ENTRIES.items() if longest},
    }
    if as_at is not None:
        rules["earlier"] = Rule(
            "last_seen",
            "The break was seen after the end of this run (--as-at): the workbook is that of a later run.",
            "Give the workbook of the run before this one, or a later --as-at.",
            pl.col("last_seen") <= pl.lit(as_at.astimezone(UTC), TIME),
        )
    return rules


def same_break(rows: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """One row per break, and refusals of those that stand on several rows with different entries.

    `rows` has columns of REVIEWS, and `file` and `row`. Of rows with the same entries the first one counts.
    """
    known = rows.filter(pl.col("break_id").is_not_null())
    is_apart = pl.struct(list(ENTRIES)).n_unique().over("break_id") > 1
    refused = known.filter(is_apart).select(
        file="file",
        row="row",
        column=pl.lit("break_id"),
        value="break_id",
        rule=pl.format(
            "The break stands on {} rows, and owner, status or comment are not the same.", pl.len().over("break_id")
        ),
        remedy=pl.lit("Keep one of the rows."),
    )
    once = known.unique("break_id", keep="first", maintain_order=True)
    return once, refused.select(REFUSAL_SCHEMA.names())


def is_own_id() -> pl.Expr:
    """Whether the name is that of the row's position and figure, which it is made of.

    A position with a character that a cell cannot hold stands there with its code, and so cannot tell.
    """
    own = pl.struct(_NAME_PARTS).map_batches(
        lambda parts: break_ids(parts.struct.unnest()), return_dtype=pl.String, is_elementwise=True
    )
    cannot_tell = pl.col("position").str.contains(_ESCAPED, literal=True).fill_null(value=False)
    return cannot_tell | pl.col("break_id").is_null() | (pl.col("break_id") == own).fill_null(value=False)


def _is_given(name: str) -> pl.Expr:
    return pl.col(name).is_not_null() | pl.col("break_id").is_null()


def _same_date(name: str) -> Rule:
    """The ISO text is that of the date beside it, to the second; programs save dates with less than its digits."""
    shown = pl.col(beside(name))
    days = (shown.cast(pl.Float64, strict=False) - 25_569) * 86_400_000_000
    date = pl.coalesce(
        shown.str.to_datetime("%Y-%m-%d %H:%M:%S%.f", time_unit="us", strict=False),
        days.cast(pl.Int64, strict=False).cast(pl.Datetime("us")),
    ).dt.replace_time_zone("UTC")
    apart = (date - pl.col(name)).dt.total_microseconds().abs()
    same = (apart <= _SECOND).fill_null(value=False) | pl.col(name).is_null()
    rule = "The ISO text is not that of the date beside it, and so is not as it was written."
    return Rule(name, rule, "Put both back as they were written.", same)


def _short(name: str, longest: int) -> Rule:
    rule = f"It has at most {longest:,} characters."
    return Rule(name, rule, "Shorten it; keep what is longer in a document, and name that.", _length(name) <= longest)


def _length(name: str) -> pl.Expr:
    return pl.col(name).str.len_chars()


def _seen(name: str) -> Rule:
    """What could not be written again as it is."""
    hidden = "".join(character for character in UNSEEN if character not in "\n\t")
    rule = "It has no characters that cannot be seen."
    return Rule(name, rule, "Delete them, or type it again.", ~pl.col(name).str.contains(f"[{hidden}]"))
