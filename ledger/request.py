"""What is asked of a replay of files."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import polars as pl

from ledger.columns import PARAMETERS, schema
from ledger.interest.request import InterestRequest
from ledger.policies import Policies
from ledger.risk.request import RiskRequest


@dataclass(frozen=True)
class Request:
    """What to replay and how: event files, an optional marks file, policies, and the time to stop at.

    `interest` asks to compute interest, or to compare what was charged; nothing: recorded interest is replayed. `risk`
    asks for statuses, liquidations due, the log of margin changes and the position history.
    """

    events: Sequence[Path]
    marks: Path | None = None
    policies: Policies = Policies()
    as_at: datetime | None = None
    interest: InterestRequest | None = None
    risk: RiskRequest | None = None

    def files(self) -> list[Path | None]:
        """Every file that is read; nothing in place of one that is not given."""
        asked = [one.files() for one in (self.interest, self.risk) if one is not None]
        return [*self.events, self.marks, *(path for files in asked for path in files)]

    def names(self) -> dict[int, str]:
        """The event files by the numbers the events have."""
        return {number: str(path) for number, path in enumerate(self.events, start=1)}

    def parameters(self) -> pl.DataFrame:
        """One row per parameter and policy of the run (columns PARAMETERS)."""
        chosen = {
            "name": "as_at",
            "value": "" if self.as_at is None else self.as_at.isoformat(),
            "description": "Events after this time are left out; empty: all events count.",
            "source": "run",
        }
        asked = [one.parameters() for one in (self.interest, self.risk) if one is not None]
        rows = [chosen, *self.policies.rows(), *(row for group in asked for row in group)]
        return pl.DataFrame(rows, schema=schema(PARAMETERS))
