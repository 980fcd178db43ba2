"""The measures of a contract position: one function per column, named like it (rules 7).

A position in contracts is two legs and a margin, as one in spot margin is (`ledger.measures`, which says how these
functions are read). Linear: N of base against the value at entry in quote. Inverse: N of quote against the value at
entry in base. Options are linear in their premium [D]. What differs from spot margin is on what the rates are
charged: on the size of the position, not on a liability, and the fee has no (1 + r).

An option that is sold keeps its margin apart from its PnL: the margin alone stands against what buying it back costs,
and against rates charged on its size, not on its value (two real records [V]). One that is bought is paid in full:
nothing is required of it, and it is never liquidated.
"""

from typing import Any

from ledger.measures import positive_ratio, ratio

# --- the corkscrew: opening + change = closing -----------------------------------------------------------------


def contracts_closing(contracts_opening: Any, contracts_change: Any) -> Any:
    """Contracts after the event: above zero long, below zero short."""
    return contracts_opening + contracts_change


def entry_value_closing(entry_value_opening: Any, entry_value_change: Any) -> Any:
    """Value at entry of the contracts that remain after the event."""
    return entry_value_opening + entry_value_change


# --- what the position is --------------------------------------------------------------------------------------


def position_size(contracts: Any, face_value: Any, multiplier: Any, is_long: Any) -> Any:
    """Size of the position, N: contracts without their sign x face value x multiplier."""
    return contracts * (2 * is_long - 1) * (face_value * multiplier)


def entry_price(position_size: Any, entry_value: Any, is_inverse: Any) -> Any:
    """Average entry price over the remaining contracts: of an inverse contract the harmonic one."""
    return ratio(
        entry_value * (1 - is_inverse) + position_size * is_inverse,
        position_size * (1 - is_inverse) + entry_value * is_inverse,
    )


def base_leg(position_size: Any, entry_value: Any, is_long: Any, is_inverse: Any) -> Any:
    """Leg in base: the size of a linear contract, the value at entry of an inverse one; below zero of a short."""
    return (position_size * (1 - is_inverse) + entry_value * is_inverse) * (2 * is_long - 1)


def quote_leg(position_size: Any, entry_value: Any, is_long: Any, is_inverse: Any) -> Any:
    """Leg in quote: the value at entry of a linear contract, the size of an inverse one; below zero of a long."""
    return (entry_value * (1 - is_inverse) + position_size * is_inverse) * (1 - 2 * is_long)


def margin_formula(entry_value: Any, leverage: Any, is_option: Any) -> Any:
    """Initial margin by the formula, value at entry / leverage; of an option its premium, whatever the leverage."""
    return ratio(entry_value, leverage * (1 - is_option) + is_option)


def _sold(is_option: Any, is_long: Any) -> Any:
    """1 for an option that is sold: its margin is kept apart from its PnL."""
    return is_option * (1 - is_long)


# --- at a mark price -------------------------------------------------------------------------------------------


def settle_price(mark_price: Any, is_inverse: Any) -> Any:
    """Price of one unit of the settle currency: the mark price of an inverse contract, else 1."""
    return mark_price * is_inverse + (1 - is_inverse)


def net_value(base_leg: Any, quote_leg: Any, mark_price: Any) -> Any:
    """Both legs at the mark price, without the margin."""
    return base_leg * mark_price + quote_leg


def exposure_value(position_size: Any, mark_price: Any, is_inverse: Any, is_option: Any, is_long: Any) -> Any:
    """What the rates are charged on: size at the mark price; of a sold option its size, of a bought one nothing."""
    return position_size * (mark_price * (1 - is_inverse) * (1 - is_option) + is_inverse + _sold(is_option, is_long))


def floating_pnl(net_value: Any, settle_price: Any) -> Any:
    """Profit or loss if the position were closed at the mark price."""
    return net_value / settle_price


def floating_pnl_ratio(floating_pnl: Any, margin_formula: Any) -> Any:
    """Floating PnL as a share of the initial margin of what remains, of an option of its premium (1 = 100 %)."""
    return ratio(floating_pnl, margin_formula)


def maintenance_margin(
    exposure_value: Any, maintenance_rate: Any, mark_price: Any, is_option: Any, settle_price: Any
) -> Any:
    """Margin the position must keep: the tier's rate on its value; of a sold option its size x (rate + mark)."""
    return exposure_value * (maintenance_rate + mark_price * is_option) / settle_price


def liquidation_fee(exposure_value: Any, liquidation_fee_rate: Any, settle_price: Any) -> Any:
    """Fee a liquidation would cost: charged on the value alone, of a sold option on its size."""
    return exposure_value * liquidation_fee_rate / settle_price


def requirement_rate(maintenance_rate: Any, liquidation_fee_rate: Any) -> Any:
    """Maintenance margin and liquidation fee together, as a share of what they are charged on."""
    return maintenance_rate + liquidation_fee_rate


def equity_value(net_value: Any, margin: Any, settle_price: Any, is_option: Any, is_long: Any) -> Any:
    """Floating PnL and margin together, at the mark price; of a sold option the margin alone."""
    return net_value * (1 - _sold(is_option, is_long)) + margin * settle_price


def margin_ratio(equity_value: Any, exposure_value: Any, requirement_rate: Any, mark_price: Any, is_option: Any) -> Any:
    """Floating PnL plus margin over maintenance margin plus liquidation fee (1 = 100 % = liquidation)."""
    return ratio(ratio(equity_value, exposure_value), requirement_rate + mark_price * is_option)


def liquidation_price(
    base_leg: Any,
    quote_leg: Any,
    position_size: Any,
    margin: Any,
    is_inverse: Any,
    is_long: Any,
    is_option: Any,
    requirement_rate: Any,
) -> Any:
    """Mark price at which the margin ratio is exactly 1; nothing where no such price exists, as of a bought option."""
    required = position_size * requirement_rate
    quote_needed = required * (is_inverse + _sold(is_option, is_long)) - quote_leg * (1 - _sold(is_option, is_long))
    quote_needed = quote_needed - margin * (1 - is_inverse)
    base_left = base_leg + margin * is_inverse - required * (1 - is_inverse) * (1 - is_option)
    direction = 2 * is_long - 1
    return positive_ratio(quote_needed * direction * (1 - is_option * is_long), base_left * direction)


def liquidation_price_shown(liquidation_price: Any, tick: Any, is_long: Any) -> Any:
    """Liquidation price as the exchange shows it: one tick nearer to the mark."""
    return liquidation_price + tick * (2 * is_long - 1)


def bankruptcy_price(base_leg: Any, quote_leg: Any, margin: Any, is_inverse: Any, is_long: Any, is_option: Any) -> Any:
    """Mark price at which the loss has eaten the margin, or buying a sold option back has; nothing where none is."""
    quote_needed = 0 - quote_leg * (1 - _sold(is_option, is_long)) - margin * (1 - is_inverse)
    base_left = base_leg + margin * is_inverse
    direction = 2 * is_long - 1
    return positive_ratio(quote_needed * direction * (1 - is_option * is_long), base_left * direction)


def option_value(base_leg: Any, mark_price: Any, is_option: Any) -> Any:
    """Value of an option position: size x mark price x multiplier, below zero of a short; zero of other contracts."""
    return base_leg * mark_price * is_option
