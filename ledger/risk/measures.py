"""The measures of risk: one function per column, named like it; see `ledger.measures` for how they are read."""

from typing import Any

from ledger.measures import ratio


def distance_to_liquidation(liquidation_price: Any, mark_price: Any) -> Any:
    """How far the mark is from the liquidation price, as a share of the mark; below zero for a long."""
    return ratio(liquidation_price - mark_price, mark_price)


def margin_after(margin_before: Any, amount: Any) -> Any:
    """Margin after the change."""
    return margin_before + amount


def quantity_difference(quantity_booked: Any, quantity_due: Any) -> Any:
    """Quantity booked less quantity due."""
    return quantity_booked - quantity_due


def price_difference(price_booked: Any, price_due: Any) -> Any:
    """Price booked less price due."""
    return price_booked - price_due


def repaid_difference(repaid_booked: Any, repaid_due: Any) -> Any:
    """Liability repaid as booked, less as due."""
    return repaid_booked - repaid_due


def fee_difference(fee_booked: Any, fee_due: Any) -> Any:
    """Fee booked less fee due."""
    return fee_booked - fee_due


def realised_pnl_difference(realised_pnl_booked: Any, realised_pnl_due: Any) -> Any:
    """Realised PnL booked, less as due."""
    return realised_pnl_booked - realised_pnl_due


def insurance_fund_difference(insurance_fund_booked: Any, insurance_fund_due: Any) -> Any:
    """Contribution to the insurance fund as booked, less as due."""
    return insurance_fund_booked - insurance_fund_due


def returned_difference(returned_booked: Any, returned_due: Any) -> Any:
    """What came back to the account as booked, less as due."""
    return returned_booked - returned_due
