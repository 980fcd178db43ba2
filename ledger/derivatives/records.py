"""Measures of an exchange's own position records, re-computed from the record's numbers (rules 4 and 7).

The numbers of a record are those of its exchange: positions in spot margin, futures and perpetuals stand in one file.
What it does not state (the rates of its tier, a mark, the size of a contract) is inferred from its figures, and said.
"""

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any

import polars as pl

from ledger.columns import DIRECTIONS, Column, schema
from ledger.derivatives.record_contracts import read_contract
from ledger.derivatives.record_figures import VERDICTS, Cells, Figure, plain
from ledger.derivatives.record_instruments import contradiction, direction, instrument_class, settle_currency
from ledger.derivatives.record_spot import is_spot, read_spot, spot_direction
from ledger.feeds import Feed, read_feed
from ledger.money import LARGEST, MONEY
from ledger.refusals import BadInput
from ledger.risk.columns import CLASSES

POSITION_RECORDS = (
    Column("record", pl.UInt32, "", "Row of the file.", "exchange file"),
    Column("instrument", pl.String, "", "Pair or contract.", "exchange file"),
    Column("instrument_class", pl.Enum(CLASSES), "", "Class of the instrument.", "rules 7"),
    Column("direction", pl.Enum(DIRECTIONS), "", "long or short; empty: no position.", "exchange file"),
    Column("margin_currency", pl.String, "", "Currency of margin and PnL.", "exchange file"),
    Column("figure", pl.String, "", "Figure that is compared; empty: the record has none.", "rules 4, 7"),
    Column("stated", MONEY, "as the figure", "As the record states it.", "exchange file"),
    Column("computed", MONEY, "as the figure", "As the rules give it, rounded here only.", "rules 4, 7"),
    Column("difference", MONEY, "as the figure", "Computed less stated.", "rules 9"),
    Column("relative", MONEY, "share of stated", "The difference as a share of what is stated.", "rules 9"),
    Column("verdict", pl.Enum(VERDICTS), "", f"{', '.join(VERDICTS)}; taken: it gave its own rate.", "rules 9 [V]"),
    Column("note", pl.String, "", "What is to be said of the figure.", "rules 7"),
    Column("inferred", pl.String, "", "What of the record was inferred, and from what.", "rules 4, 7"),
)
"""One row per record and figure that it states, in the order of the file; one of a record that states none."""

_NAMES = (
    *("instType", "instId", "mgnMode", "posSide", "pos", "posCcy", "ccy", "ctVal", "ctValCcy", "ctMult", "ctType"),
    *("tickSz", "avgPx", "lever", "margin", "mgnRatio", "mmr", "liqPx", "upl", "uplRatio", "markPx", "liab", "liabCcy"),
    *("interest", "notionalUsd", "optVal", "fundingFee", "last", "idxPx"),
)
_FEED = Feed(
    name="okx-position-records",
    title="OKX positions",
    known_by=(frozenset({"instId", "pos"}),),
    names={},
    needs=("instId", "pos"),
    also=dict.fromkeys(_NAMES, pl.String),
    values={f"cell_{name}": pl.col(name) for name in _NAMES},
)
_CELLS = tuple(Column(f"cell_{name}", pl.String, "", "", "exchange file") for name in _NAMES)


def measure_records(path: str | Path) -> pl.DataFrame:
    """The figures of the position records in a file, stated and computed (columns POSITION_RECORDS).

    The file is the exchange's answer, a list of records, or published samples {source, record}; as JSON, NDJSON or CSV.
    What cannot be compared says why. Raises BadInput where the file has no records, or a row that cannot be read.
    """
    found = read_feed(Path(path), (_FEED,), _CELLS, {})
    if found.refusals.height:
        raise BadInput(found.refusals)
    return measured_records(
        (
            row["row"],
            {name: row[f"cell_{name}"].strip() for name in _NAMES if (row[f"cell_{name}"] or "").strip()},
        )
        for row in found.rows.iter_rows(named=True)
    )


def measured_records(records: Iterable[tuple[int, Cells]]) -> pl.DataFrame:
    """As `measure_records`, for records that are read already: each with its row."""
    rows = [row for number, cells in records for row in _rows(number, cells)]
    types = schema(POSITION_RECORDS)
    texts = {name: pl.String if dtype == MONEY else dtype for name, dtype in types.items()}
    return pl.DataFrame(rows, schema=texts, orient="row").cast(types)


def _rows(number: int, cells: Cells) -> list[tuple[Any, ...]]:
    spot = is_spot(cells)
    side = spot_direction(cells) if spot else direction(cells)
    currency = cells.get("ccy")
    kind: str | None = "spot_margin" if spot else instrument_class(cells)
    figures: list[Figure] = []
    if "instId" not in cells:
        kind, words = None, "not compared: no instId"
    elif cells.get("mgnMode", "isolated") != "isolated":
        words = f"not compared: the margin is not isolated but {cells['mgnMode']}"
    elif contradiction(cells) and not spot:
        words = f"not compared: {contradiction(cells)}"
    elif side is None and not spot:
        words = "not compared: no position"
    else:
        figures, words, currency = _read(cells, spot)
    place = (number, cells.get("instId"), kind, side, currency)
    return [(*place, *_figure(figure), words) for figure in figures or [Figure("", None, None)]]


def _read(cells: Cells, spot: bool) -> tuple[list[Figure], str, str | None]:
    """The figures of an isolated position, what was inferred, and the margin currency."""
    try:
        if not spot:
            return *read_contract(cells), settle_currency(cells)
        return read_spot(cells)
    except (ArithmeticError, pl.exceptions.PolarsError, BadInput):
        return [], "not compared: what its numbers give together is no amount", cells.get("ccy")


def _figure(figure: Figure) -> tuple[str | None, ...]:
    stated, computed = figure.stated, figure.computed
    if computed is not None and abs(computed) >= LARGEST:
        computed = None
    difference = computed - stated if computed is not None and stated is not None else None
    relative = difference / abs(stated) if difference is not None and stated else None
    amounts = (stated, computed, difference, _bounded(relative))
    texts = [plain(amount) if amount is not None else None for amount in amounts]
    return (figure.name or None, *texts, figure.verdict, figure.note)


def _bounded(share: Fraction | None) -> Fraction | None:
    return share if share is not None and abs(share) < LARGEST else None
