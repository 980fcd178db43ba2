"""The measures of orders that are only asked about; see `ledger.measures` for how they are read."""

from typing import Any

from ledger.measures import larger


def order_fee(quantity: Any, order_value: Any, is_buy: Any, fee_rate: Any) -> Any:
    """Fee of the order in the currency it receives: base of a buy, quote of a sell."""
    return (quantity * is_buy + order_value * (1 - is_buy)) * fee_rate


def order_value(quantity: Any, price: Any) -> Any:
    """Quantity at the price."""
    return quantity * price


def largest_reduce_only(quantity: Any, pending_quantity: Any) -> Any:
    """Largest quantity that a further reduce-only order may have, beside those that are pending."""
    return larger(quantity - pending_quantity, 0)
