"""What is asked of interest in a run over files: to compute it, or to compare it with what was charged."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl

from ledger.columns import TIME
from ledger.interest.accrual import Accrual
from ledger.interest.matching import last_moment
from ledger.interest.policy import InterestPolicy
from ledger.interest.rates import Rates
from ledger.interest.rates_file import read_rates
from ledger.interest.reperformance import Reperformance
from ledger.interest.rows import read_interest_rows
from ledger.interest.terms import Terms
from ledger.policies import Policies
from ledger.refusals import REFUSAL_SCHEMA, BadInput
from ledger.steps import Step

_FIRST, _LAST = datetime(1970, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class InterestRequest:
    """The policy, a file of rates, the begin of the roll-forward; and what was charged, to compare with.

    `rows` names files of the exchange's interest rows, of which `account` is the account where they name none. It is
    nothing where interest is to be computed, and empty where the interest among the events is what was charged.
    """

    policy: InterestPolicy
    rates: Path | None = None
    rows: Sequence[Path] | None = None
    account: str | None = None
    begin: datetime | None = None

    def files(self) -> list[Path | None]:
        """Every file that is read; nothing in place of one that is not given."""
        return [self.rates, *(self.rows or [])]

    def parameters(self) -> list[dict[str, str]]:
        """One row per choice: name, value, description, source."""
        begin = "" if self.begin is None else self.begin.isoformat()
        about = "Begin of the roll-forward; empty: the first event."
        chosen = {"name": "interest.from", "value": begin, "description": about, "source": "run"}
        return [
            {
                "name": "interest.policy",
                "value": self.policy.name,
                "description": "How interest is charged.",
                "source": self.policy.source,
            },
            *self.policy.rows(),
            chosen,
        ]

    def read(self, number: int) -> "InterestInput":
        """The files, numbered from `number` on; raises BadInput with the refusals of all of them."""
        found = InterestInput(self, number)
        refusals = []
        if self.rates is not None:
            try:
                rates = read_rates(self.rates)
                found.rates = Rates(rates, str(self.rates))
                found.files.append((self.rates, rates.height, [rates["time"].min(), rates["time"].max()]))
            except BadInput as bad:
                refusals.append(bad.refusals)
        try:
            rows = read_interest_rows(self.rows or [], self.account)
            offset = number + len(found.files) - 1
            found.rows = rows.rows.with_columns(pl.col("input") + pl.lit(offset, pl.UInt16))
            for place, path in enumerate(self.rows or [], start=offset + 1):
                own = found.rows.filter(pl.col("input") == place)["time"]
                found.files.append((path, own.len(), [own.min(), own.max()]))
        except BadInput as bad:
            refusals.append(bad.refusals)
        if refusals:
            raise BadInput(pl.concat([REFUSAL_SCHEMA.to_frame(), *refusals]))
        return found


@dataclass
class InterestInput:
    """What was read: rates, rows of interest (ROWS_SCHEMA), and of each file its rows and times.

    `first` is the number of the first file.
    """

    request: InterestRequest
    first: int = 1
    rates: Rates | None = None
    rows: pl.DataFrame = field(default_factory=pl.DataFrame)
    files: list[tuple[Path, int, list[Any]]] = field(default_factory=list)

    def names(self) -> dict[int, str]:
        """The files of rows by the numbers the rows have."""
        rows = self.request.rows or []
        last = len(self.files) + self.first - 1
        return {last - len(rows) + place: str(path) for place, path in enumerate(rows, start=1)}

    def step(self, policies: Policies, last_event: datetime, as_at: datetime | None) -> Step:
        """The step of the run, for charges up to `as_at`, or else as far as the rows go, or the events."""
        last = self.rows["time"].max() if self.rows.height else None
        until = as_at or (last_moment(last) if isinstance(last, datetime) else last_event)
        asked = self.request
        if asked.rows is None:
            terms = Terms(asked.policy, self.rates or Rates.none(), until)
            return Accrual(terms, policies, asked.begin)
        rows = self._in_period(as_at) if asked.rows else None
        return Reperformance(asked.policy, self.rates, rows, policies, until, asked.begin, as_at)

    def _in_period(self, as_at: datetime | None) -> pl.DataFrame:
        """The rows of the period that is asked for: of others nothing is said."""
        begin = self.request.begin or _FIRST
        return self.rows.filter(pl.col("time").is_between(pl.lit(begin, TIME), pl.lit(as_at or _LAST, TIME)))
