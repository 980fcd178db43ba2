"""What closes each open position now: the reduce-only order, its cost or proceeds, and what comes back (rules 2)."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import polars as pl

from ledger.columns import MARKS, MODES, TIME, schema
from ledger.money import LARGEST, MONEY, ZERO, in_digits
from ledger.policies import Policies
from ledger.positions import measured
from ledger.reading import EVENTS_SCHEMA
from ledger.refusals import LedgerError
from ledger.risk.closing_quantity import in_lots, needed_quantity
from ledger.risk.margin_changes import in_force
from ledger.risk.order_columns import CLOSES, PRICES
from ledger.risk.order_measures import order_fee, order_value
from ledger.risk.order_replay import FILL, LATEST, in_schema, replayed_apart

_CLOSES = schema(CLOSES)
_COMPUTED = tuple(column for column in CLOSES if column.formula is not None)
_PRICED = pl.Enum(PRICES)
_BEFORE = datetime(2100, 1, 1, tzinfo=UTC)
_NO_FEE = Decimal(0)
_READ = (
    *("position", "episode", "account", "instrument", "base_currency", "quote_currency", "margin_currency", "mode"),
    *("direction", "base_leg", "quote_leg", "margin", "base_interest", "quote_interest", "margin_is_base"),
)
"""Columns of a position that say how it is closed."""


def closing_orders(
    positions: pl.DataFrame,
    marks: pl.DataFrame | None = None,
    price: Decimal | Mapping[str, Decimal] | None = None,
    fee_rate: Decimal = _NO_FEE,
    lot_sizes: Mapping[str, Decimal] | None = None,
    pending: Mapping[str, Decimal] | None = None,
    as_at: datetime | None = None,
) -> pl.DataFrame:
    """One row per open life of `positions` (columns POSITIONS), in order: what closes it now (columns CLOSES).

    It is closed at `price` (one for all, or by instrument), else at the last mark of its instrument up to `as_at`
    (`marks` has columns MARKS). `fee_rate` is a share of what is received; `lot_sizes` has the smallest step of a
    quantity by instrument, to which it is rounded up; `pending` the quantity of pending reduce-only orders by position.
    The close also pays interest that is accrued and not yet charged. Every amount is that of the engine, which replays
    the position's balances and a reduce-only fill; without a price, all of that is empty and `note` says so, as it does
    where the close would lose more than the margin (rules 6: a liquidation comes first).

    Raises LedgerError for a fee rate, lot size, price or pending quantity that is none.
    """
    _refuse_amounts(fee_rate, price, lot_sizes or {}, pending or {})
    is_open = positions.filter(pl.col("status") == "open").select(_READ).with_row_index("number", offset=1)
    if is_open.is_empty():
        return _CLOSES.to_frame()
    priced = _priced(is_open, marks, price, as_at)
    asked = _ordered(priced, fee_rate, lot_sizes or {}, pending or {})
    ready = asked.filter(pl.col("quantity").is_not_null())
    ledger, refusals = replayed_apart(pl.concat([_openings(ready), _fills(ready)]), Policies())
    if refusals.height:
        raise LedgerError(f"positions: row {refusals['row'][0]}: {refusals['rule'][0]}")
    return in_schema(_with_amounts(asked, ledger), _CLOSES)


def _refuse_amounts(
    fee_rate: Decimal,
    price: Decimal | Mapping[str, Decimal] | None,
    lot_sizes: Mapping[str, Decimal],
    pending: Mapping[str, Decimal],
) -> None:
    prices = price if isinstance(price, Mapping) else {} if price is None else {"all": price}
    problems = [] if abs(fee_rate) < 1 else [f"fee rate {fee_rate}: give a share below one; write 0.1 % as 0.001"]
    for what, amounts in (("price", prices), ("lot size", lot_sizes)):
        wrong = {name: amount for name, amount in amounts.items() if not 0 < amount < LARGEST}
        problems += [f"{what} {amount} of {name}: give a number above zero" for name, amount in wrong.items()]
    wrong = {name: amount for name, amount in pending.items() if not 0 <= amount < LARGEST}
    problems += [f"pending {amount} of {name}: give a quantity of zero or more" for name, amount in wrong.items()]
    if problems:
        raise LedgerError("\n".join(problems))


def _priced(
    rows: pl.DataFrame,
    marks: pl.DataFrame | None,
    price: Decimal | Mapping[str, Decimal] | None,
    as_at: datetime | None,
) -> pl.DataFrame:
    """The rows with the `price` at which each is closed, and where it comes from (`priced_at`)."""
    given = pl.lit(price, MONEY) if isinstance(price, Decimal) else _amounts(pl.col("instrument"), price or {})
    moment = pl.lit(as_at or LATEST, TIME)
    rows = in_force(rows.with_columns(time=moment), marks, MARKS, ("instrument",))
    source = pl.when(given.is_not_null()).then(pl.lit("given", _PRICED))
    return rows.with_columns(
        price=pl.coalesce(given, "mark_price"),
        priced_at=source.when(pl.col("mark_price").is_not_null()).then(pl.lit("mark", _PRICED)),
    )


def _amounts(key: pl.Expr, amounts: Mapping[str, Decimal]) -> pl.Expr:
    """The amount of each row's key; empty where there is none."""
    known = pl.Series(list(amounts.values()), dtype=MONEY)
    return key.replace_strict(pl.Series(list(amounts), dtype=pl.String), known, default=None, return_dtype=MONEY)


def _ordered(
    rows: pl.DataFrame, fee_rate: Decimal, lot_sizes: Mapping[str, Decimal], pending: Mapping[str, Decimal]
) -> pl.DataFrame:
    """The rows with the order that closes each: side, quantity, value, fee; and the balances it finds."""
    margin_is_base = pl.col("margin_is_base") == 1
    buys = pl.col("direction") == "short"
    rows = rows.with_columns(
        base_leg=pl.col("base_leg") - pl.col("base_interest"),
        quote_leg=pl.col("quote_leg") - pl.col("quote_interest"),
        fee_rate=pl.lit(fee_rate, MONEY),
        lot_size=_amounts(pl.col("instrument"), lot_sizes),
        pending_quantity=_amounts(pl.col("position"), pending).fill_null(ZERO),
        side=pl.when(buys).then(pl.lit("buy")).otherwise(pl.lit("sell")),
        fee_currency=pl.when(buys).then("base_currency").otherwise("quote_currency"),
        note=pl.when(pl.col("price").is_null()).then(pl.format("No price of {} is known.", "instrument")),
    )
    settlement = pl.when(margin_is_base).then("quote_leg").otherwise("base_leg")
    needed = needed_quantity(settlement, pl.col("price"), pl.col("fee_rate"), margin_is_base=margin_is_base)
    rows = rows.with_columns(needed_quantity=pl.when(pl.col("price").is_not_null()).then(needed))
    rows = rows.with_columns(quantity=in_lots(pl.col("needed_quantity"), pl.col("lot_size")))
    too_large = (pl.col("quantity") >= LARGEST) | (pl.col("quantity") / LARGEST * pl.col("price") >= 1)
    unknown = pl.col("price").is_not_null() & (pl.col("quantity").is_null() | too_large)
    rows = rows.with_columns(
        note=pl.when(unknown).then(pl.lit("At this price the quantity or its value is too large.")).otherwise("note"),
        **{name: pl.when(~unknown).then(name) for name in ("needed_quantity", "quantity")},
    )
    value = order_value(pl.col("quantity"), pl.col("price"))
    return rows.with_columns(
        fee=order_fee(pl.col("quantity"), value, buys.cast(pl.Int8), pl.col("fee_rate")).cast(MONEY)
    )


def _openings(rows: pl.DataFrame) -> pl.DataFrame:
    """The balances of each row as an opening balance of a position of its own."""
    buys = pl.col("direction") == "long"
    return _events(
        rows.with_columns(
            time=pl.lit(_BEFORE, TIME),
            kind=pl.lit("opening"),
            side=pl.when(buys).then(pl.lit("buy")).otherwise(pl.lit("sell")),
            quantity=pl.when(buys).then(pl.col("base_leg")).otherwise(-pl.col("base_leg")),
            value=pl.when(buys).then(-pl.col("quote_leg")).otherwise(pl.col("quote_leg")),
            price=pl.lit(1).cast(MONEY),  # the entry price, which no balance depends on
            amount="margin",
            currency="margin_currency",
            input=0,
        ).drop("fee", "fee_currency")
    )


def _fills(rows: pl.DataFrame) -> pl.DataFrame:
    """The closing order of each row as a fill of that position."""
    now = pl.lit(_BEFORE + timedelta(days=1), TIME)
    return _events(rows.with_columns(time=now, kind=pl.lit("fill"), reduce_only=True, input=FILL))


def _events(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows as events (EVENTS, `input`, `row`), each row's number in place of its account."""
    named = rows.with_columns(
        account=pl.col("number").cast(pl.String),
        event_id=pl.format("{} {}", "kind", "number"),
        mode=pl.coalesce(pl.col("mode").cast(pl.String), pl.lit(MODES[-1])),
        row="number",
    )
    return in_schema(named, EVENTS_SCHEMA).with_columns(pl.col("reduce_only").fill_null(value=False))


def _with_amounts(asked: pl.DataFrame, ledger: pl.DataFrame) -> pl.DataFrame:
    """The orders with what the engine makes of them: PnL, fee, what comes back and what is left over."""
    left = pl.col("action") == "leftover"
    amounts = ledger.group_by("row", maintain_order=True).agg(
        fee=pl.col("fee").sum(),
        realised_pnl=pl.col("realised_pnl").drop_nulls().first(),
        **{f"account_{leg}": pl.col(f"account_{leg}").sum() for leg in ("base", "quote")},
        **{f"leftover_{leg}": pl.when(left).then(f"account_{leg}").otherwise(ZERO).sum() for leg in ("base", "quote")},
    )
    found = asked.drop("fee").join(amounts, left_on="number", right_on="row", how="left", maintain_order="left")
    base, quote = (pl.col(f"account_{leg}") - pl.col(f"leftover_{leg}") for leg in ("base", "quote"))
    found = found.with_columns(returned=pl.when(pl.col("margin_is_base") == 1).then(base).otherwise(quote))
    lacks = pl.format(
        "This loses {} {} beyond the margin: before that price a liquidation would have taken it over.",
        in_digits(-pl.col("returned")),
        "margin_currency",
    )
    found = found.with_columns(note=pl.when(pl.col("returned") < 0).then(lacks).otherwise("note"))
    known = pl.when(pl.col("quantity").is_not_null())
    return measured(found, _COMPUTED).with_columns(known.then("largest_reduce_only").alias("largest_reduce_only"))
