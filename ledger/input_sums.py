"""Control sums of the events as they were read, and what the ledger has of each: nothing is lost, nothing added.

Sums are by input file, column, kind of event and currency. They are taken from each batch as it is read, before
anything is done to it, and again from the ledger; the two meet in one frame, and one check holds them together.
"""

from dataclasses import dataclass, field

import polars as pl

from ledger.checks import finding
from ledger.columns import INPUT_SUMS, schema
from ledger.events import TRADES
from ledger.money import ZERO
from ledger.refusals import LedgerError

_KEY = ["input", "column", "kind", "currency"]
_AMOUNTS = ("quantity", "value", "fee", "amount")
_CURRENCIES = {"quantity": "base", "value": "quote", "fee": "fee_currency", "amount": "amount_currency"}


@dataclass(frozen=True)
class Term:
    """A column of the ledger, with the leg (base, quote, margin) or `fee` whose currency it has, and its sign."""

    name: str
    leg: str
    sign: int = 1


@dataclass(frozen=True)
class Tie:
    """Where the ledger has a column of events of some kinds: the sum of `terms`, by file, kind and currency."""

    column: str
    kinds: tuple[str, ...]
    terms: tuple[Term, ...]
    words: str


TIES = (
    Tie("quantity", TRADES, (Term("quantity", "base"),), "Quantity"),
    Tie("value", TRADES, (Term("value", "quote"),), "Value"),
    Tie("fee", TRADES, (Term("fee", "fee"),), "Fee"),
    Tie(
        "amount",
        ("interest",),
        (Term("base_change", "base", -1), Term("quote_change", "quote", -1)),
        "Base change and Quote change, with the opposite sign",
    ),
    Tie("amount", ("margin", "leverage", "opening"), (Term("margin_change", "margin"),), "Margin change"),
    Tie(
        "amount",
        ("adjustment",),
        (Term("base_change", "base"), Term("quote_change", "quote")),
        "Base change and Quote change",
    ),
)
"""Where each sum stands in the ledger. A recorded initial margin and a liquidation's residual stand nowhere as such:
they are held against a formula, and decide what goes to the insurance fund."""

_LEGS = {leg: f"{leg}_currency" for leg in ("base", "quote", "margin", "fee")}
_TOO_LARGE = "the amounts of the input add up to 10^20 or more of one currency; check their units"
_TERMS = tuple(dict.fromkeys(term.name for tie in TIES for term in tie.terms))


@dataclass
class AsRead:
    """Sums of events, batch by batch, as they were read."""

    _parts: list[pl.DataFrame] = field(default_factory=list)
    _are_too_large: bool = False

    def add(self, events: pl.DataFrame, is_left_out: pl.Expr | None = None) -> None:
        """Take typed events (EVENTS_SCHEMA); those of which `is_left_out` is true do not go to the ledger.

        Raises nothing: where sums are too large, `frame` does, so that what a replay refuses is told first, by row.
        """
        try:
            self._parts += _sums_as_read(events, is_left_out)
        except LedgerError:
            self._are_too_large = True

    def frame(self) -> pl.DataFrame:
        """One row per input, column, kind and currency: rows, total, absolute_total and left_out.

        Raises LedgerError where an amount of money cannot hold a sum.
        """
        if self._are_too_large:
            raise LedgerError(_TOO_LARGE)
        wanted = {name: dtype for name, dtype in schema(INPUT_SUMS).items() if name in _READ}
        parts = pl.concat([pl.DataFrame(schema=wanted), *self._parts])
        return _checked(parts.lazy().group_by(_KEY).agg(pl.col(*(name for name in _READ if name not in _KEY)).sum()))


_READ = (*_KEY, "rows", "total", "absolute_total", "left_out")


@dataclass
class Booked:
    """The same sums of the ledger, batch by batch, as it is made."""

    _parts: list[pl.DataFrame] = field(default_factory=list)

    def add(self, ledger: pl.DataFrame, index: pl.DataFrame) -> None:
        """Take rows of the ledger (columns LEDGER); `index` says what the currencies of their positions are."""
        keys = ["input", "kind", "position", "fee_currency"]
        sums = _checked(ledger.lazy().group_by(keys).agg(pl.col(_TERMS).sum()))
        known = sums.join(
            index.select("position", "base_currency", "quote_currency", "margin_currency"), on="position", how="left"
        )
        self._parts += [_booked_as(known, tie, term) for tie in TIES for term in tie.terms]

    def frame(self) -> pl.DataFrame:
        """One row per input, column, kind and currency of which the ledger has something: booked."""
        wanted = {name: schema(INPUT_SUMS)[name] for name in (*_KEY, "booked")}
        parts = pl.concat([pl.DataFrame(schema=wanted), *self._parts])
        return _checked(parts.lazy().group_by(_KEY).agg(pl.col("booked").sum()))


def input_sums(read: AsRead, booked: Booked, not_tied: tuple[str, ...] = ()) -> pl.DataFrame:
    """The frame INPUT_SUMS: what was read beside what the ledger has of it.

    `booked` is empty where the ledger has no such sum (see TIES), and for the kinds `not_tied`: of interest that is
    computed or compared, the ledger has what was computed or charged. What only the ledger has stands with no rows.
    """
    tied = pl.any_horizontal(
        (pl.col("column") == tie.column) & pl.col("kind").is_in([kind for kind in tie.kinds if kind not in not_tied])
        for tie in TIES
    )
    in_ledger = booked.frame().filter(pl.col("booked") != 0, tied)
    joined = read.frame().join(in_ledger, on=_KEY, how="full", coalesce=True, nulls_equal=True)
    numbers = ("total", "absolute_total", "left_out")
    known = joined.with_columns(
        pl.col("rows").fill_null(0),
        *(pl.col(name).fill_null(ZERO) for name in numbers),
        booked=pl.when(tied).then(pl.col("booked").fill_null(ZERO)),
    )
    computed = [column.expression() for column in INPUT_SUMS if column.formula]
    place = pl.col("column").replace_strict({name: place for place, name in enumerate(_AMOUNTS)})
    return known.with_columns(computed).sort("input", place, "kind", "currency").select(*schema(INPUT_SUMS))


def booked_check(sums: pl.DataFrame) -> pl.DataFrame:
    """The finding that every sum that was read is in the ledger, to the last digit (frame INPUT_SUMS)."""
    return finding("inputs_are_booked", sums.select(_KEY), sums["not_booked"])


def _sums_as_read(events: pl.DataFrame, is_left_out: pl.Expr | None) -> list[pl.DataFrame]:
    """The sums of a batch of events, one frame per column."""
    legs = pl.col("instrument").str.split_exact("-", 1)
    keys = ["input", "kind", "instrument", "fee_currency", "amount_currency", "is_left_out"]
    amounts = {name: pl.col(name) for name in _AMOUNTS} | {"value": pl.coalesce("value", _product())}
    sums = _checked(
        events.lazy()
        .with_columns(
            amount_currency=pl.coalesce("currency", "margin_currency"),
            is_left_out=pl.lit(value=False) if is_left_out is None else is_left_out.fill_null(value=False),
        )
        .select(*keys, **amounts)
        .group_by(keys)
        .agg(
            *(pl.col(name).sum().alias(f"total_{name}") for name in _AMOUNTS),
            *(pl.col(name).abs().sum().alias(f"absolute_{name}") for name in _AMOUNTS),
            *(pl.col(name).count().cast(pl.UInt64).alias(f"rows_{name}") for name in _AMOUNTS),
        )
    ).with_columns(base=legs.struct.field("field_0"), quote=legs.struct.field("field_1"))
    return [sums.select(_sums_of(name)).filter(pl.col("rows") > 0) for name in _AMOUNTS]


def _product() -> pl.Expr:
    return pl.col("quantity") * pl.col("price")


def _sums_of(name: str) -> list[pl.Expr]:
    """The rows of the frame for one column of the events."""
    total = pl.col(f"total_{name}")
    return [
        pl.col("input"),
        pl.lit(name).alias("column"),
        pl.col("kind"),
        pl.col(_CURRENCIES[name]).alias("currency"),
        pl.col(f"rows_{name}").alias("rows"),
        total.alias("total"),
        pl.col(f"absolute_{name}").alias("absolute_total"),
        pl.when("is_left_out").then(total).otherwise(ZERO).alias("left_out"),
    ]


def _booked_as(sums: pl.DataFrame, tie: Tie, term: Term) -> pl.DataFrame:
    """What one column of the ledger has of the sums that a tie is about."""
    return sums.filter(pl.col("kind").is_in(tie.kinds)).select(
        "input",
        pl.lit(tie.column).alias("column"),
        "kind",
        currency=_LEGS[term.leg],
        booked=pl.col(term.name) * term.sign,
    )


def _checked(sums: pl.LazyFrame) -> pl.DataFrame:
    """Sums by group; this engine raises where one leaves the money type, and does not wrap around."""
    try:
        return sums.collect(engine="streaming")
    except pl.exceptions.ComputeError as error:
        raise LedgerError(_TOO_LARGE) from error
