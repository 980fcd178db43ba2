"""The open questions of the liquidation rules (rules.md 6), each a named choice with its default and its source."""

import dataclasses
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from ledger.policies import Choices, choice
from ledger.refusals import PolicyError


@dataclass(frozen=True)
class RiskPolicies(Choices):
    """One field per policy of risk and liquidation. `RiskPolicies.parse(["liquidation=all_at_once"])` reads text."""

    alert_ratio: Decimal = choice("3", "Margin ratio up to which the exchange alerts (1 = 100 %).", "rules.md 6 [O]")
    liquidation_ratio: Decimal = choice(
        "1", "Margin ratio up to which orders are cancelled, and then the position liquidated.", "rules.md 6 [O]"
    )
    recheck: Literal["same_mark", "next_mark"] = choice(
        "same_mark",
        "After the orders of a position are cancelled its ratio is looked at again at once, or at the next mark.",
        "rules.md 6 [S]; when the exchange looks again is not stated [?]",
    )
    liquidation: Literal["by_tier", "all_at_once"] = choice(
        "by_tier",
        "A position above the lowest tiers is liquidated in part, tier by tier, or always wholly.",
        "rules.md 6 [S,O]; one source document says there is no partial liquidation in isolated mode",
    )
    steps_spot: Decimal = choice("1", "Tiers that a partial liquidation of spot margin goes down.", "rules.md 6 [S,O]")
    steps_contract: Decimal = choice(
        "2", "Tiers that a partial liquidation of a perpetual or a future goes down.", "rules.md 6 [S,O]"
    )
    steps_option: Decimal = choice("1", "Tiers that a partial liquidation of an option goes down.", "rules.md 6 [S,O]")
    full_tier_spot: Decimal = choice("1", "Highest tier at which spot margin is liquidated wholly.", "rules.md 6 [S,O]")
    full_tier_contract: Decimal = choice(
        "2", "Highest tier at which a perpetual or a future is liquidated wholly.", "rules.md 6 [S,O]"
    )
    full_tier_option: Decimal = choice("1", "Highest tier at which an option is liquidated wholly.", "rules.md 6 [?]")
    partial_fee: Literal["none", "charged"] = choice(
        "none",
        "Whether a partial liquidation costs the liquidation fee of what it repays, or nothing beside its price.",
        "rules.md 6: the example's ratio after the step leaves no room for a fee [S]",
    )
    liquidation_fee_rate: Decimal = choice(
        "0.001",
        "Taker fee rate of a liquidation, where the marks state none for the instrument.",
        "rules.md 4: 0.1 % in one real record, 0.15 % in another [V]",
    )

    funding: Literal["margin", "account"] = choice(
        "margin",
        "Funding of an isolated contract moves the margin of its position, or the account; without a position the"
        " account.",
        "two real records [V]",
    )

    def __post_init__(self) -> None:
        """Turn text into the field's type; raises PolicyError naming every wrong value."""
        problems = []
        try:
            super().__post_init__()
        except PolicyError as error:
            problems = list(error.problems)
        numbers = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        known = {name: number for name, number in numbers.items() if isinstance(number, Decimal)}
        for name in (*_STEPS, *_FULL_TIERS):
            if name in known and not (1 <= known[name] <= _TIERS_MAX and known[name] % 1 == 0):
                problems.append(f"policy {name}={known[name]}: give a whole number from 1 to {_TIERS_MAX:,}")
        if known.get("liquidation_fee_rate", Decimal(0)) >= 1:
            problems.append(f"policy liquidation_fee_rate={self.liquidation_fee_rate}: write 0.1 % as 0.001")
        ratio, alert = known.get("liquidation_ratio"), known.get("alert_ratio")
        if ratio is not None and (ratio <= 0 or (alert is not None and ratio > alert)):
            problems.append(
                f"policy liquidation_ratio={ratio}: give a number above zero and at most alert_ratio"
                f" ({self.alert_ratio})"
            )
        if problems:
            raise PolicyError(problems)


_TIERS_MAX = 10_000
_STEPS = ("steps_spot", "steps_contract", "steps_option")
_FULL_TIERS = ("full_tier_spot", "full_tier_contract", "full_tier_option")
