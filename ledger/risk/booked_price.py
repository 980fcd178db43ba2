"""What was due of a full liquidation at the price at which it is booked: the mark, or the bankruptcy price (rules 6).

Either price is right. The trade, the realised PnL and what is left go with it; the liability and its fee do not.
"""

import polars as pl

from ledger.money import ZERO
from ledger.risk.liquidation_amounts import computed

_LONG, _BASE_MARGIN = pl.col("is_long") == 1, pl.col("margin_is_base") == 1
_PRICE = pl.col("price_due")


def on_booked_price(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows of a comparison with the amounts due at the price that they are compared with, `price_due`.

    That is the mark; of a full one that is booked in full the bankruptcy price, where what is booked is nearer to it
    (`at_bankruptcy`); and of one that is not booked what was due. With base margin a value in quote is traded, so
    that the quantity goes with the price; with quote margin a quantity. What is left at the bankruptcy price is the
    insurance fund's: nothing but the fee is lacking. `rows` has the due half of LIQUIDATIONS, is_due, is_booked,
    step_due, step_booked, price_booked, value_due and fee_in_margin. Raises BadInput where a value does not fit.
    """
    both = pl.col("is_due") & pl.col("is_booked")
    full = both & (pl.col("step_due") == "full") & (pl.col("step_booked") == "full")
    away = [(pl.col("price_booked") - pl.col(name)).abs() for name in ("bankruptcy_price", "due_mark")]
    rows = rows.with_columns(
        is_full=full.fill_null(value=False), at_bankruptcy=(full & (away[0] < away[1])).fill_null(value=False)
    )
    price = pl.when("at_bankruptcy").then("bankruptcy_price").when(both).then("due_mark").otherwise("price_due")
    return _moved(rows.with_columns(price_due=price))


def _moved(rows: pl.DataFrame) -> pl.DataFrame:
    """The amounts due at the bankruptcy price, where that is the one; each side is computed on its own rows only."""
    moves = pl.col("at_bankruptcy")
    in_base, in_quote = moves & _BASE_MARGIN, moves & ~_BASE_MARGIN
    # LB and SQ owe what settles: they give of the margin's currency for it, and for the fee; LQ and SB receive it.
    gives = _LONG == _BASE_MARGIN
    traded_before = pl.when(_BASE_MARGIN).then("quantity_due").otherwise("value_due")
    priced = computed(
        rows,
        traded=pl.coalesce(
            pl.when(in_base).then("value_due") / _PRICE, pl.when(in_quote).then("quantity_due") * _PRICE
        ),
        fee_then=pl.coalesce(
            pl.when(in_base & gives).then("fee_due") / _PRICE,
            pl.when(in_quote & gives).then("fee_due") * _PRICE,
            pl.when(moves).then("fee_due"),
        ),
    )
    change = (pl.col("traded") - traded_before) * pl.when(gives).then(-1).otherwise(1)
    left = pl.col("insurance_fund_due") + pl.col("returned_due") + change
    returned = pl.when(pl.col("returned_due") > 0).then(pl.max_horizontal(left, ZERO)).otherwise(ZERO)
    profit = pl.col("realised_pnl_due") + change + pl.col("fee_then") - pl.col("fee_in_margin")
    new = {
        "quantity_due": pl.when(in_base).then("traded").otherwise("quantity_due"),
        "realised_pnl_due": profit,
        "insurance_fund_due": left - returned,
        "returned_due": returned,
    }
    return priced.with_columns(pl.when(moves).then(amount).otherwise(name).alias(name) for name, amount in new.items())
