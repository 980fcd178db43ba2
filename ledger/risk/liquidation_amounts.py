"""The amounts of one step of a liquidation, in each of the four cases (rules.md 2, 4 and 6).

A long owes quote and sells base, a short owes base and buys it: the fee of either is in the currency owed, which is
the one received. The settlement leg, the one that is not in margin currency, comes to exactly zero in a full
liquidation (rules.md 2, closing table).
"""

import polars as pl

from ledger.money import MONEY, ZERO
from ledger.refusals import refuse_file
from ledger.risk.policies import RiskPolicies

_MARK, _LONG, _BASE_MARGIN = pl.col("mark_price"), pl.col("is_long") == 1, pl.col("margin_is_base") == 1


def with_partial_amounts(rows: pl.DataFrame, policies: RiskPolicies) -> pl.DataFrame:
    """The rows with what brings the liability down to `largest_loan`, traded at the mark, and whether it can be.

    Adds repaid_due and fee_due (in the currency owed), quantity_due (base), value_due (quote), price_due and
    `is_possible`: there is something to repay, and assets are left after it. Interest not yet charged is not repaid
    (rules.md 2 [D]). The fee is a policy.
    """
    owed = -pl.when(_LONG).then("quote_leg").otherwise("base_leg")
    rate = pl.col("liquidation_fee_rate") if policies.partial_fee == "charged" else ZERO
    sized = rows.with_columns(repaid_due=owed - pl.col("largest_loan"), price_due=_MARK)
    sized = sized.with_columns(fee_due=pl.col("repaid_due") * rate)
    traded = pl.col("repaid_due") + pl.col("fee_due")
    # What the assets cannot pay for is not computed, for it need not fit the money type.
    sold = pl.when(_LONG & (traded < pl.col("base_leg") * _MARK)).then(traded)
    bought = pl.when(~_LONG).then(traded)
    sized = computed(
        sized,
        quantity_due=pl.coalesce(sold / _MARK, bought),
        value_due=pl.coalesce(sold, bought * _MARK),
    )
    base_left, quote_left = pl.col("base_leg") - pl.col("quantity_due"), pl.col("quote_leg") - pl.col("value_due")
    left = pl.when(_LONG).then(base_left).otherwise(quote_left)
    moves = pl.all_horizontal(pl.col("repaid_due", "quantity_due", "value_due") > 0)
    return sized.with_columns(is_possible=(moves & (left > 0)).fill_null(value=False))


def with_full_amounts(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows with the amounts of a full liquidation; the balances are zero after it.

    `rows` has the measures of the registry. Taken over at the bankruptcy price (price_due; the mark where no such
    price exists), the trader loses the margin and no more: realised_pnl_due + margin - fee_in_margin = left_due, which
    is not the trader's but as the policy on what is left says. realised_pnl_due is the floating PnL at the mark,
    fee_due is the liability x (1 + r) x t in the currency owed (rules.md 4).
    """
    owed = pl.max_horizontal(-pl.when(_LONG).then("quote_owed").otherwise("base_owed"), ZERO)
    fee_share = (1 + pl.col("maintenance_rate")) * pl.col("liquidation_fee_rate")
    sized = rows.with_columns(repaid_due=owed).with_columns(fee_due=pl.col("repaid_due") * fee_share)
    # What settles is owed by LB and SQ, and is the assets of LQ and SB; only the other leg needs the mark.
    owes_settlement = _LONG == _BASE_MARGIN
    converted = computed(sized, fee_in_margin=_converted("fee_due", owes_settlement).fill_null(pl.col("fee_due")))
    settled = pl.when(owes_settlement).then("repaid_due").when(_LONG).then("base_owed").otherwise("quote_owed")
    converted = computed(converted.with_columns(settled=settled), exchanged=_converted("settled"))
    result_leg = pl.when(_BASE_MARGIN).then("base_owed").otherwise("quote_owed")
    realised = result_leg + pl.when(owes_settlement).then(-pl.col("exchanged")).otherwise("exchanged")
    left = realised + pl.col("margin") - pl.col("fee_in_margin")
    # The fee of a settlement leg that is owed is bought with it, and it costs its part of the other leg.
    gross = pl.col("settled") + pl.when(owes_settlement).then("fee_due").otherwise(ZERO)
    other = pl.col("exchanged") + pl.when(owes_settlement).then("fee_in_margin").otherwise(ZERO)
    return converted.with_columns(
        step=pl.lit("full"),
        price_due=pl.coalesce("bankruptcy_price", _MARK),
        quantity_due=pl.when(_BASE_MARGIN).then(other).otherwise(gross),
        value_due=pl.when(_BASE_MARGIN).then(gross).otherwise(other),
        realised_pnl_due=realised,
        left_due=left,
        **dict.fromkeys(("base_leg", "quote_leg", "margin", "base_interest", "quote_interest"), ZERO),
    )


def _converted(name: str, where: pl.Expr | None = None) -> pl.Expr:
    """An amount of settlement currency in margin currency at the mark; empty where it is not asked for.

    Each side is computed on its own rows only, for the other's need not fit the money type.
    """
    asked = pl.lit(value=True) if where is None else where
    in_quote, in_base = (pl.when(asked & side).then(name) for side in (_BASE_MARGIN, ~_BASE_MARGIN))
    return pl.coalesce(in_quote / _MARK, in_base * _MARK)


def computed(rows: pl.DataFrame, **columns: pl.Expr) -> pl.DataFrame:
    """The rows with these columns; raises BadInput where one does not fit the money type."""
    try:
        return rows.with_columns(**{name: column.cast(MONEY) for name, column in columns.items()})
    except (pl.exceptions.InvalidOperationError, pl.exceptions.ComputeError) as problem:
        raise refuse_file(
            "marks", "the value of a position at its mark price has more than 20 digits", "check the mark prices"
        ) from problem
