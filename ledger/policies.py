"""The open questions of the accounting rules, each a named choice with its default and its source."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any, Literal, Self, get_args, get_type_hints

from ledger.money import LARGEST, LARGEST_DIGITS, SCALE
from ledger.refusals import PolicyError


def choice(default: str, description: str, source: str) -> Any:
    """A field of Choices: its default, what it decides and where that is stated."""
    return field(default=default, metadata={"description": description, "source": source})


@dataclass(frozen=True)
class Choices:
    """Named choices: a field is one of some words, or a number of zero or more, and a frozen dataclass has them all."""

    def __post_init__(self) -> None:
        """Turn text into the field's type; raises PolicyError naming every wrong value."""
        problems = []
        for option in dataclasses.fields(self):
            value = getattr(self, option.name)
            allowed = get_args(get_type_hints(type(self))[option.name])
            if allowed and value not in allowed:
                problems.append(f"policy {option.name}={value}: choose one of {', '.join(allowed)}")
            elif not allowed:
                problems += self._read_number(option.name, value)
        if problems:
            raise PolicyError(problems)

    def _read_number(self, name: str, value: Any) -> list[str]:
        try:
            number = Decimal(value)
        except (InvalidOperation, TypeError, ValueError):
            number = Decimal("NaN")
        if not (number.is_finite() and 0 <= number < LARGEST and number == round(number, SCALE)):
            bounds = f"of zero or more, with at most {LARGEST_DIGITS} digits before the point and {SCALE} behind it"
            return [f"policy {name}={value}: give a number {bounds}, for example 0.001"]
        object.__setattr__(self, name, number)
        return []

    @classmethod
    def parse(cls, assignments: Sequence[str]) -> Self:
        """The choices of `name=value` texts; raises PolicyError that lists every unknown name and wrong value."""
        found: Self = parsed(assignments, (cls,))[0]
        return found

    def rows(self) -> list[dict[str, str]]:
        """One row per policy: name, value, description, source."""
        return [
            {
                "name": option.name,
                "value": str(getattr(self, option.name)),
                "description": option.metadata["description"],
                "source": option.metadata["source"],
            }
            for option in dataclasses.fields(self)
        ]


@dataclass(frozen=True)
class Policies(Choices):
    """One field per policy. `Policies.parse(["overfill=spot_first"])` reads them from text."""

    overfill: Literal["reverse", "spot_first"] = choice(
        "reverse",
        "What the rest of an order does after it closed the position: open the opposite one at once, or first trade"
        " the assets left over from the closed one as spot.",
        "rules.md 2 [S]; spot_first after an API note [O]",
    )
    entry_price: Literal["cumulative_opened", "net_remaining"] = choice(
        "cumulative_opened",
        "Average over all opening fills of the position, or over the quantity that remains.",
        "rules.md 2 [O, second hand]",
    )
    liquidation_residual: Literal["insurance_fund", "account"] = choice(
        "insurance_fund",
        "Who receives what a full liquidation leaves, unless the event records what the account gets; what it lacks is"
        " paid by the insurance fund.",
        "rules.md 6 [S]",
    )
    fee_outside_pair: Literal["keep_apart", "refuse"] = choice(
        "keep_apart",
        "A fee in a third currency is paid by the account and touches no leg, or is refused as an input error.",
        "rules.md 2 [V]",
    )
    time_order: Literal["strict", "sort"] = choice(
        "strict",
        "Refuse a file in which the time of a position goes backwards, or sort it by time (ties keep file order).",
        "canonical events [D]",
    )
    initial_margin_tolerance: Decimal = choice(
        "0.001",
        "Largest relative difference between a recorded initial margin and quantity / leverage.",
        "rules.md 2 [V]: one real record differs by 0.024 %",
    )


def parsed(assignments: Sequence[str], kinds: Sequence[type[Choices]]) -> list[Any]:
    """The choices of each kind, from `name=value` texts of all of them together.

    Raises PolicyError that lists every unknown name and every wrong value.
    """
    owners = {option.name: kind for kind in kinds for option in dataclasses.fields(kind)}
    chosen: dict[str, str] = {}
    problems = []
    for assignment in assignments:
        name, equals, value = assignment.partition("=")
        if not equals or name not in owners:
            problems.append(f"policy {assignment}: write NAME=VALUE with one of {', '.join(owners)}")
        elif name in chosen:
            problems.append(f"policy {name}: given twice")
        else:
            chosen[name] = value
    found = []
    for kind in kinds:
        try:
            found.append(kind(**{name: value for name, value in chosen.items() if owners[name] is kind}))
        except PolicyError as error:
            problems += error.problems
    if problems:
        raise PolicyError(problems)
    return found
