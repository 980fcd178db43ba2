"""Interest as a plain Python loop: position after position and hour after hour, over integers and over Decimals.

The loops do what one would write without columns: look the hour's rate up in a list, take its share of what is owed,
round it up, add it. They keep the charges and nothing else, and share no code with the engine.
"""

from collections.abc import Callable, Sequence
from decimal import ROUND_UP, Context, Decimal, localcontext
from typing import Any, NamedTuple

ONE = 10**18
"""Integer amounts and rates count units of 10**-18."""
EXACT = Context(prec=60)


class Stretch(NamedTuple):
    """From one fill to the next: what the fill adds to the debt (below zero: repays), and the hours charged after it.

    `hour` is the full hour before the fill; hours are counted from the first rate on.
    """

    change: Any
    hour: int
    last: int


class Loan(NamedTuple):
    """The debt of one position, which never falls to zero, and the hourly rates of its currency by the hour."""

    rates: Sequence[Any]
    stretches: list[Stretch]


def compounding(loans: list[Loan]) -> list[int]:
    """On what is owed at each full hour, up at the 16th place."""
    charges = []
    step = 100
    divisor = ONE * step
    for rates, stretches in loans:
        owed = 0
        for change, hour, last in stretches:
            owed += change
            for number in range(hour + 1, last + 1):
                charge = -(-owed * rates[number] // divisor) * step
                owed += charge
                charges.append(charge)
    return charges


def compounding_decimals(loans: list[Loan]) -> list[Decimal]:
    """The same with amounts and rates as `Decimal`."""
    charges = []
    step = Decimal("1e-16")
    with localcontext(EXACT):
        for rates, stretches in loans:
            owed = Decimal(0)
            for change, hour, last in stretches:
                owed += change
                for number in range(hour + 1, last + 1):
                    charge = (owed * rates[number]).quantize(step, ROUND_UP)
                    owed += charge
                    charges.append(charge)
    return charges


def compounding_rows(loans: list[Loan]) -> dict[str, list[int]]:
    """The charges of `compounding` as columns, with all that makes each: loan, hour, what is owed, and the rate."""
    kept: tuple[list[int], ...] = ([], [], [], [], [])
    of_loan, of_hour, of_owed, of_rate, charges = (column.append for column in kept)
    step = 100
    divisor = ONE * step
    for loan, (rates, stretches) in enumerate(loans):
        owed = 0
        for change, hour, last in stretches:
            owed += change
            for number in range(hour + 1, last + 1):
                rate = rates[number]
                charge = -(-owed * rate // divisor) * step
                of_loan(loan)
                of_hour(number)
                of_owed(owed)
                of_rate(rate)
                charges(charge)
                owed += charge
    return dict(zip(("loan", "hour", "owed", "rate", "charge"), kept, strict=True))


def simple(loans: list[Loan]) -> list[int]:
    """What is borrowed is charged an hour at once; then on what is owed without interest, up at the 8th place."""
    charges = []
    step = 10**10
    divisor = ONE * step
    for rates, stretches in loans:
        owed = unpaid = 0
        for change, hour, last in stretches:
            owed += change
            if change > 0:
                charge = -(-change * rates[hour] // divisor) * step
                owed += charge
                unpaid += charge
                charges.append(charge)
            else:
                unpaid = max(0, unpaid + change)
            for number in range(hour + 1, last + 1):
                charge = -(-(owed - unpaid) * rates[number] // divisor) * step
                owed += charge
                unpaid += charge
                charges.append(charge)
    return charges


def simple_decimals(loans: list[Loan]) -> list[Decimal]:
    """The same with amounts and rates as `Decimal`."""
    charges = []
    step, zero = Decimal("1e-8"), Decimal(0)
    with localcontext(EXACT):
        for rates, stretches in loans:
            owed = unpaid = zero
            for change, hour, last in stretches:
                owed += change
                if change > 0:
                    charge = (change * rates[hour]).quantize(step, ROUND_UP)
                    owed += charge
                    unpaid += charge
                    charges.append(charge)
                else:
                    unpaid = max(zero, unpaid + change)
                for number in range(hour + 1, last + 1):
                    charge = ((owed - unpaid) * rates[number]).quantize(step, ROUND_UP)
                    owed += charge
                    unpaid += charge
                    charges.append(charge)
    return charges


LOOPS: dict[str, dict[str, Callable[[list[Loan]], Any]]] = {
    "okx": {"integer": compounding, "decimal": compounding_decimals, "rows": compounding_rows},
    "binance_isolated": {"integer": simple, "decimal": simple_decimals},
}
"""The loops by policy."""


def in_decimals(loans: list[Loan]) -> list[Loan]:
    """Loans over integers as loans over Decimals."""
    with localcontext(EXACT):
        known: dict[int, list[Decimal]] = {}  # the rates of a currency are one list, as they are for integers
        for rates, _ in loans:
            known.setdefault(id(rates), [Decimal(rate) / ONE for rate in rates])
        return [
            Loan(known[id(rates)], [Stretch(Decimal(change) / ONE, *hours) for change, *hours in stretches])
            for rates, stretches in loans
        ]
