"""The measures of an open position: one function per column, named like it, its parameters being other columns.

A function here is only `+ - * /` and the three helpers below. Given Polars expressions it is a Polars expression;
given fractions it is an exact number; given the cells of a sheet it is a formula (see `reports`). So the frame, the
sheet, the glossary and the tests read the same definition. All eight cases (long or short, base or quote currency as
margin, old or new mode) are the same expression on two signed legs (rules.md 1 and 4).
"""

from fractions import Fraction
from functools import singledispatch
from typing import Any

import polars as pl

from ledger.money import LARGEST


@singledispatch
def larger(first: Any, second: Any) -> Any:
    """The larger of two numbers."""
    return max(first, second)


@larger.register
def _(first: pl.Expr, second: Any) -> pl.Expr:
    return pl.max_horizontal(first, second)


@singledispatch
def ratio(numerator: Any, denominator: Any) -> Any:
    """The quotient, or nothing where the denominator is zero."""
    return Fraction(numerator) / Fraction(denominator) if numerator is not None and denominator else None


@ratio.register
def _(numerator: pl.Expr, denominator: pl.Expr) -> pl.Expr:
    return numerator / pl.when(_fits(numerator, denominator)).then(denominator)


@singledispatch
def positive_ratio(numerator: Any, denominator: Any) -> Any:
    """The quotient, or nothing unless numerator and denominator are both above zero."""
    return Fraction(numerator) / Fraction(denominator) if numerator > 0 and denominator > 0 else None


@positive_ratio.register
def _(numerator: pl.Expr, denominator: pl.Expr) -> pl.Expr:
    exists = (numerator > 0) & (denominator > 0) & _fits(numerator, denominator)
    return numerator / pl.when(exists).then(denominator)


def _fits(numerator: pl.Expr, denominator: pl.Expr) -> pl.Expr:
    """True where the quotient is below 10**17, as every amount is: one over the dust of a leg has no meaning."""
    fits: pl.Expr = numerator.abs() / LARGEST < denominator.abs()
    return fits


# --- the corkscrew: opening + change = closing -----------------------------------------------------------------


def base_closing(base_opening: Any, base_change: Any) -> Any:
    """Base leg after the event: above zero an asset, below zero a liability."""
    return base_opening + base_change


def quote_closing(quote_opening: Any, quote_change: Any) -> Any:
    """Quote leg after the event: above zero an asset, below zero a liability."""
    return quote_opening + quote_change


def margin_closing(margin_opening: Any, margin_change: Any) -> Any:
    """Margin of the position after the event."""
    return margin_opening + margin_change


def not_booked(total: Any, left_out: Any, booked: Any) -> Any:
    """Sum as read, less what was left out and what the ledger has of it; anything but zero is a mistake."""
    return total - left_out - booked


# --- what the exchange displays ---------------------------------------------------------------------------------


def assets_shown_new(base_leg: Any, quote_leg: Any, is_long: Any) -> Any:
    """Assets as the new mode displays them: the leg above zero of the position's direction, never the margin."""
    return larger(base_leg, 0) * is_long + larger(quote_leg, 0) * (1 - is_long)


def assets_shown_old(assets_shown_new: Any, margin: Any, is_long: Any, margin_is_base: Any) -> Any:
    """Assets as the old mode displays them: with the margin when both are the same currency."""
    return assets_shown_new + margin * (is_long * margin_is_base + (1 - is_long) * (1 - margin_is_base))


def liability_shown(base_leg: Any, quote_leg: Any, is_long: Any) -> Any:
    """The liability as the exchange displays it, zero or negative, without interest not yet charged."""
    return 0 - larger(0 - quote_leg, 0) * is_long - larger(0 - base_leg, 0) * (1 - is_long)


# --- at a mark price --------------------------------------------------------------------------------------------


def base_owed(base_leg: Any, base_interest: Any) -> Any:
    """Base leg less the interest accrued in base and not yet charged."""
    return base_leg - base_interest


def quote_owed(quote_leg: Any, quote_interest: Any) -> Any:
    """Quote leg less the interest accrued in quote and not yet charged."""
    return quote_leg - quote_interest


def margin_price(mark_price: Any, margin_is_base: Any) -> Any:
    """Price of one unit of the margin currency: the mark price, or 1 when the margin is quote currency."""
    return mark_price * margin_is_base + (1 - margin_is_base)


def net_value(base_owed: Any, quote_owed: Any, mark_price: Any) -> Any:
    """Both legs at the mark price, without the margin."""
    return base_owed * mark_price + quote_owed


def liability_value(base_owed: Any, quote_owed: Any, mark_price: Any) -> Any:
    """What is owed, interest included, at the mark price."""
    return larger(0 - base_owed, 0) * mark_price + larger(0 - quote_owed, 0)


def floating_pnl(net_value: Any, margin_price: Any) -> Any:
    """Profit or loss if the legs were settled at the mark price."""
    return net_value / margin_price


def floating_pnl_ratio(floating_pnl: Any, initial_margin: Any) -> Any:
    """Floating PnL as a share of the initial margin (1 = 100 %)."""
    return ratio(floating_pnl, initial_margin)


def maintenance_margin(liability_value: Any, maintenance_rate: Any, margin_price: Any) -> Any:
    """Margin the position must keep: the liability times the tier's maintenance rate."""
    return liability_value * maintenance_rate / margin_price


def liquidation_fee(liability_value: Any, maintenance_rate: Any, liquidation_fee_rate: Any, margin_price: Any) -> Any:
    """Fee a liquidation would cost: charged on the liability with its maintenance margin."""
    return liability_value * ((1 + maintenance_rate) * liquidation_fee_rate) / margin_price


def requirement_rate(maintenance_rate: Any, liquidation_fee_rate: Any) -> Any:
    """Maintenance margin and liquidation fee together, as a share of the liability."""
    return maintenance_rate + (1 + maintenance_rate) * liquidation_fee_rate


def equity_value(net_value: Any, margin: Any, margin_price: Any) -> Any:
    """Floating PnL and margin together, at the mark price."""
    return net_value + margin * margin_price


def margin_ratio(equity_value: Any, liability_value: Any, requirement_rate: Any) -> Any:
    """Floating PnL plus margin over maintenance margin plus liquidation fee (1 = 100 % = liquidation)."""
    return ratio(ratio(equity_value, liability_value), requirement_rate)


def liquidation_price(
    base_owed: Any, quote_owed: Any, margin: Any, margin_is_base: Any, is_long: Any, requirement_rate: Any
) -> Any:
    """Mark price at which the margin ratio is exactly 1; nothing where no such price exists."""
    quote_needed = larger(0 - quote_owed, 0) * requirement_rate - quote_owed - margin * (1 - margin_is_base)
    base_left = base_owed + margin * margin_is_base - larger(0 - base_owed, 0) * requirement_rate
    direction = 2 * is_long - 1
    return positive_ratio(quote_needed * direction, base_left * direction)


def bankruptcy_price(base_owed: Any, quote_owed: Any, margin: Any, margin_is_base: Any, is_long: Any) -> Any:
    """Mark price at which the legs have eaten the margin; nothing where no such price exists."""
    quote_needed = 0 - quote_owed - margin * (1 - margin_is_base)
    base_left = base_owed + margin * margin_is_base
    direction = 2 * is_long - 1
    return positive_ratio(quote_needed * direction, base_left * direction)
