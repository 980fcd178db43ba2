"""The files of derivatives: contracts and events, read with every refusal of all of them."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import polars as pl

from ledger.cells import empty_cells
from ledger.columns import Column, schema
from ledger.derivatives.columns import CONTRACTS, DERIVATIVE_EVENTS
from ledger.derivatives.rules import CONTRACT_RULES, EVENT_RULES
from ledger.feeds import canonical, read_feed
from ledger.refusals import REFUSAL_SCHEMA, BadInput
from ledger.rules import Refused, Rule, broken_rules, refusals_of

NEEDED = {
    "contracts": ("instrument", "instrument_class", "face_value", "base_currency", "quote_currency"),
    "derivative events": ("time", "event_id", "account", "instrument", "kind"),
}
"""Columns that each must have and each row must fill, by what a refusal calls them. The others may be absent."""


def read_contracts(path: str | Path) -> pl.DataFrame:
    """The contracts (columns CONTRACTS) of a CSV, Parquet, NDJSON or JSON file. Raises BadInput with all refusals."""
    return with_defaults(_read(Path(path), "contracts", CONTRACTS, CONTRACT_RULES).drop("row"))


def read_derivative_events(paths: Sequence[str | Path]) -> pl.DataFrame:
    """The events (columns DERIVATIVE_EVENTS, `input`, `row`) of files, numbered from 1 in their order.

    Raises BadInput with the refusals of all files. That an event_id stands once in all of them is said by the replay.
    """
    found, refused = [pl.DataFrame(schema=_schema(DERIVATIVE_EVENTS))], [REFUSAL_SCHEMA.to_frame()]
    for number, path in enumerate(paths, start=1):
        try:
            rows = _read(Path(path), "derivative events", DERIVATIVE_EVENTS, EVENT_RULES)
        except BadInput as bad:
            refused.append(bad.refusals)
            continue
        found.append(rows.with_columns(input=pl.lit(number, pl.UInt16)).select(found[0].columns))
    if any(part.height for part in refused):
        raise BadInput(pl.concat(refused))
    return pl.concat(found)


def _schema(columns: tuple[Column, ...]) -> pl.Schema:
    return pl.Schema([*schema(columns).items(), ("input", pl.UInt16), ("row", pl.UInt32)])


def _read(path: Path, what: str, columns: tuple[Column, ...], rules: Mapping[str, Rule]) -> pl.DataFrame:
    found = read_feed(path, (canonical(columns, NEEDED[what], known_by=NEEDED[what][-1:]),), columns, rules)
    if found.refusals.height:
        raise BadInput(found.refusals)
    return found.rows


# --- frames made in Python ----------------------------------------------------------------------------------


def typed_contracts(contracts: pl.DataFrame) -> pl.DataFrame:
    """Contracts in their types, absent columns empty, then `with_defaults`. Raises BadInput with all refusals."""
    return with_defaults(_checked(contracts, "contracts", CONTRACTS, CONTRACT_RULES).drop("input", "row"))


def typed_derivative_events(events: pl.DataFrame, files: Mapping[int, str] | None = None) -> pl.DataFrame:
    """Events in their types with `input` and `row`, absent columns empty. Raises BadInput with all refusals.

    `files` names the inputs by number.
    """
    return _checked(events, "derivative events", DERIVATIVE_EVENTS, EVENT_RULES, files or {})


def with_defaults(contracts: pl.DataFrame) -> pl.DataFrame:
    """The contracts with what an empty cell stands for: multiplier 1, the settle currency of the class, own tiers."""
    inverse = pl.col("instrument_class") == "inverse"
    settle = pl.when(inverse).then("base_currency").otherwise("quote_currency")
    return contracts.with_columns(
        pl.col("multiplier").fill_null(1),
        pl.col("settle_currency").fill_null(settle),
        pl.col("tier_family").fill_null(pl.col("instrument")),
    )


def _checked(
    rows: pl.DataFrame,
    what: str,
    columns: tuple[Column, ...],
    rules: Mapping[str, Rule],
    files: Mapping[int, str] | None = None,
) -> pl.DataFrame:
    expected = schema(columns)
    absent = [pl.lit(None, dtype=dtype).alias(name) for name, dtype in expected.items() if name not in rows.columns]
    place = [] if "input" in rows.columns else [pl.lit(0, pl.UInt16).alias("input")]
    place += [] if "row" in rows.columns else [pl.int_range(1, pl.len() + 1, dtype=pl.UInt32).alias("row")]
    typed = rows.with_columns(*absent, *place).select(*expected, "input", "row").cast(expected)
    empty = empty_cells(typed, NEEDED[what])
    refused = empty + broken_rules(typed, rules, empty)
    if refused:
        named = {number: (files or {}).get(number, what) for number in typed["input"].unique().sort()}
        raise BadInput(pl.concat(_of_file(name, typed, number, refused) for number, name in named.items()))
    return typed


def _of_file(name: str, typed: pl.DataFrame, number: int, refused: list[Refused]) -> pl.DataFrame:
    """The refusals of the rows of one input."""
    own = typed["input"] == number
    return refusals_of(name, typed.filter(own), [replace(cells, rows=cells.rows.filter(own)) for cells in refused])
