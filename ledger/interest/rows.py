"""The interest that an exchange charged, from its own files: accrued interest, bills, interest history.

Each feed is one description below; no other module knows an exchange's names.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import polars as pl

from ledger.columns import schema
from ledger.events import RULES
from ledger.interest.columns import INTEREST_ROWS
from ledger.feeds import NO_UNIT, Feed, FeedRows, canonical, read_feed
from ledger.money import INTEGER_DIGITS, MONEY, ZERO
from ledger.refusals import REFUSAL_SCHEMA, BadInput
from ledger.rules import Rule

ROWS_SCHEMA = pl.Schema([*schema(INTEREST_ROWS).items(), ("input", pl.UInt16), ("row", pl.UInt32)])
"""Rows of interest: the columns of INTEREST_ROWS, the number of the file and the row in it."""

_CONTENT = ("time", "account", "instrument", "currency", "interest", "liability")


@dataclass(frozen=True)
class InterestRows:
    """`rows` has ROWS_SCHEMA, oldest first; rows of one time are in the order of the files.

    `left_out` counts rows that are no interest, `repeated` rows that stand in `rows` once already.
    """

    rows: pl.DataFrame
    left_out: int
    repeated: int


# --- rules --------------------------------------------------------------------------------------------------


def _not_negative(column: str, noun: str, remedy: str) -> Rule:
    return Rule(column, f"{noun} is not negative.", remedy, pl.col(column) >= 0)


ROW_RULES: Mapping[str, Rule] = {
    "time_is_plausible": RULES["time_is_plausible"],
    "row_id_is_plain": Rule(
        "row_id",
        "An identifier has no blank at its ends and no invisible character.",
        "Remove blanks, line breaks, byte order marks and control characters.",
        pl.col("row_id").str.contains(r"^[^\p{C}\s]([^\p{C}]*[^\p{C}\s])?$"),
    ),
    "row_id_has_all_digits": Rule(
        "row_id",
        "An identifier has all its digits; a spreadsheet has rounded this one.",
        "Export the file again, and do not save it from a spreadsheet.",
        ~pl.col("row_id").str.contains(r"^[0-9](\.[0-9]+)?[eE]\+?[0-9]+$"),
    ),
    "account_is_plain": RULES["account_is_plain"],
    "instrument_is_a_pair": RULES["instrument_is_a_pair"],
    "pair_has_two_currencies": RULES["pair_has_two_currencies"],
    "currency_is_a_code": RULES["currency_is_a_code"],
    "interest_is_given": Rule(
        "interest", "A row of interest has an amount.", "Export the file again.", pl.col("interest").is_not_null()
    ),
    "interest_is_not_negative": _not_negative(
        "interest", "Interest", "Give a charge without a sign, and leave out what is none."
    ),
    "rate_is_not_negative": _not_negative("rate", "A rate", "Mend it at its source."),
    "rate_has_a_unit": Rule(
        "unit", NO_UNIT.rule, NO_UNIT.remedy, pl.col("rate").is_null() | pl.col("unit").is_not_null()
    ),
    "liability_is_not_negative": _not_negative("liability", "A liability", "Give what is owed without a sign."),
}
"""Every rule of a row of interest; its amounts are bounded by their type."""


# --- feeds --------------------------------------------------------------------------------------------------


def _unit(unit: str, rate: str) -> pl.Expr:
    return pl.when(pl.col(rate).is_not_null()).then(pl.lit(unit))


def _size(column: str) -> pl.Expr:
    """The amount without its sign; empty where it is zero."""
    return pl.when(pl.col(column) != 0).then(pl.col(column).abs())


_OKX_INSTRUMENT = pl.when(pl.col("mgnMode").fill_null("isolated") != "cross").then(pl.col("instId"))
_CHANGES = ("interest", "posBalChg", "balChg")  # where a bill has the interest, the best first
_ASSET, _SYMBOL = pl.col("asset"), pl.col("isolatedSymbol")

_OKX_BILLS = Feed(
    title="OKX bills",
    known_by=(frozenset({"billId", "subType"}), frozenset({"billId", "type"})),
    names={"time": "ts", "row_id": "billId", "instrument": "instId", "currency": "ccy", "interest": "interest"},
    needs=("ts", "billId", "ccy"),
    also={"type": pl.String, "subType": pl.String, "mgnMode": pl.String, "posBalChg": MONEY, "balChg": MONEY},
    values={
        "instrument": _OKX_INSTRUMENT,
        "interest": pl.coalesce(*(_size(name) for name in _CHANGES), *_CHANGES),
    },
    # 7: interest deduction; 9: of market loans, 14: of VIP loans
    keeps=(pl.col("type") == "7") | pl.col("subType").is_in(["9", "14"]),
)

_BINANCE_HISTORY = Feed(
    title="Binance interest history",
    known_by=(frozenset({"interestAccuredTime"}),),
    names={
        "time": "interestAccuredTime",
        "row_id": "txId",
        "instrument": "isolatedSymbol",
        "currency": "asset",
        "interest": "interest",
        "rate": "interestRate",
        "liability": "principal",
    },
    needs=("interestAccuredTime", "asset", "interest"),
    values={
        "instrument": pl.when(_SYMBOL.str.starts_with(_ASSET))
        .then(_ASSET + "-" + _SYMBOL.str.strip_prefix(_ASSET))
        .when(_SYMBOL.str.ends_with(_ASSET))
        .then(_SYMBOL.str.strip_suffix(_ASSET) + "-" + _ASSET)
        .otherwise(_SYMBOL),
        "unit": _unit("daily", "interestRate"),
    },
    rules={
        "symbol_has_the_asset": Rule(
            "instrument",
            "An isolatedSymbol is the asset and the other currency, one after the other.",
            "Export the file again.",
            pl.col("instrument").str.contains("-", literal=True),
        )
    },
)

_OKX_ACCRUED = Feed(
    title="OKX interest accrued",
    known_by=(frozenset({"ccy", "interestRate"}), frozenset({"ccy", "liab"})),
    names={
        "time": "ts",
        "instrument": "instId",
        "currency": "ccy",
        "interest": "interest",
        "rate": "interestRate",
        "liability": "liab",
    },
    needs=("ts", "ccy", "interest"),
    also={"mgnMode": pl.String},
    values={
        "instrument": _OKX_INSTRUMENT,
        "unit": _unit("hourly", "interestRate"),
        "liability": pl.col("liab").abs(),
    },
)

_NEEDS = ("time", "currency", "interest")
FEEDS = (_OKX_BILLS, _BINANCE_HISTORY, _OKX_ACCRUED, canonical(INTEREST_ROWS, _NEEDS, known_by=("interest",)))
"""The layouts that are read, the most particular first."""


# --- reading ------------------------------------------------------------------------------------------------


def read_interest_rows(paths: Sequence[Path], account: str | None = None) -> InterestRows:
    """The interest in CSV, Parquet, NDJSON or JSON files, each of any of the layouts; they may overlap.

    `account` is that of rows that name none. A row with an identifier counts once wherever it stands. One without
    counts as often as in the file that has it most often: a charge that one file lists twice stays twice.
    Raises BadInput with the refusals of all files.
    """
    parts = [read_feed(Path(path), FEEDS, INTEREST_ROWS, ROW_RULES) for path in paths]
    numbered = [
        part.rows.with_columns(pl.lit(number, dtype=pl.UInt16).alias("input"))
        for number, part in enumerate(parts, start=1)
    ]
    rows = pl.concat([ROWS_SCHEMA.to_frame(), *(frame.select(ROWS_SCHEMA.names()) for frame in numbered)])
    rows = rows.with_columns(pl.col("account").fill_null(pl.lit(account, dtype=pl.String)))
    refusals = pl.concat(
        [REFUSAL_SCHEMA.to_frame(), *(part.refusals for part in parts), _contradictions(rows, paths, parts)]
    )
    if refusals.height:
        raise BadInput(refusals)
    _refuse_too_large(rows, paths)
    once = _once(rows).sort("time", "input", "row")
    return InterestRows(once, sum(part.left_out for part in parts), rows.height - once.height)


def _refuse_too_large(rows: pl.DataFrame, paths: Sequence[Path]) -> None:
    """Refuse rows whose sums could leave the money type: grouped sums would wrap around in silence."""
    sizes = rows.select(pl.max_horizontal("interest", "liability").fill_null(ZERO)).to_series()
    largest = sizes.max()
    if not isinstance(largest, Decimal) or int(largest) * rows.height < 10**INTEGER_DIGITS:
        return
    row = rows.row(sizes.arg_max() or 0, named=True)
    rule = "The amounts of all rows must sum to less than 10^20; this is the largest."
    cells = (str(paths[row["input"] - 1]), row["row"], None, f"{largest:f}", rule, "Check its unit.")
    raise BadInput(pl.DataFrame([cells], schema=REFUSAL_SCHEMA, orient="row"))


def _contradictions(rows: pl.DataFrame, paths: Sequence[Path], parts: Sequence[FeedRows]) -> pl.DataFrame:
    """Refusals of rows that have an identifier in common with an earlier row, and nothing else."""
    key, content = ["account", "row_id"], pl.struct(pl.exclude("row_id", "input", "row"))
    marked = rows.filter(pl.col("row_id").is_not_null()).with_columns(
        differs=content.ne_missing(content.first().over(key)),
        first_input=pl.col("input").first().over(key),
        first_row=pl.col("row").first().over(key),
    )
    found = []
    for row in marked.filter("differs").iter_rows(named=True):
        feed = parts[row["input"] - 1].feed
        place = f"row {row['first_row']} of {paths[row['first_input'] - 1]}"
        rule = f"An identifier belongs to one row; {place} has the same one and says something else."
        column = feed.names["row_id"] if feed else "row_id"
        remedy = "Keep the row that is right."
        found.append((str(paths[row["input"] - 1]), row["row"], column, row["row_id"], rule, remedy))
    return pl.DataFrame(found, schema=REFUSAL_SCHEMA, orient="row")


def _once(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows without those that an overlap of files repeats; of each the first is kept."""
    named = pl.col("row_id").is_not_null()
    time_in_file = pl.int_range(pl.len()).over("input", *_CONTENT)  # the n-th of its like in one file
    with_id = rows.filter(named).unique(["account", "row_id"], keep="first", maintain_order=True)
    without = rows.filter(~named).with_columns(time_in_file=time_in_file)
    without = without.unique([*_CONTENT, "time_in_file"], keep="first", maintain_order=True)
    return pl.concat([with_id, without.drop("time_in_file")])
