"""On what terms interest is charged."""

from dataclasses import dataclass
from datetime import datetime

from ledger.interest.policy import InterestPolicy
from ledger.interest.rates import Rates


@dataclass(frozen=True)
class Terms:
    """Policy, rates, and the time up to which charges are due (with a zone, that moment included)."""

    policy: InterestPolicy
    rates: Rates
    until: datetime
