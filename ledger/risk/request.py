"""What is asked of risk in a run over files: with which tiers, balances, derivatives and policies."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl

from ledger.derivatives.files import read_contracts, read_derivative_events
from ledger.positions import Rates
from ledger.refusals import REFUSAL_SCHEMA, BadInput
from ledger.risk.balances_file import read_balances
from ledger.risk.policies import RiskPolicies
from ledger.risk.rates import with_rates
from ledger.risk.tiers_file import read_tiers


@dataclass(frozen=True)
class RiskRequest:
    """The tiers of the exchange, the balances of the accounts, derivatives (each may be absent), and the policies.

    `derivatives` names files of events of isolated contracts, and `contracts` the file that says how large these are.
    """

    tiers: Path | None = None
    balances: Path | None = None
    policies: RiskPolicies = field(default_factory=RiskPolicies)
    contracts: Path | None = None
    derivatives: Sequence[Path] = ()

    def files(self) -> list[Path | None]:
        """Every file that is read; nothing in place of one that is not given."""
        return [self.tiers, self.balances, self.contracts, *self.derivatives]

    def parameters(self) -> list[dict[str, str]]:
        """One row per policy: name, value, description, source."""
        return self.policies.rows()

    def read(self, number: int) -> "RiskInput":
        """What the files hold, numbered from `number` on; raises BadInput with the refusals of all of them."""
        found = RiskInput(self.policies)
        refusals = [REFUSAL_SCHEMA.to_frame()]
        tables: tuple[tuple[str, Path | None, Callable[[Path], pl.DataFrame]], ...] = (
            ("tiers", self.tiers, read_tiers),
            ("balances", self.balances, read_balances),
            ("contracts", self.contracts, read_contracts),
        )
        for name, path, read in tables:
            if path is None:
                continue
            try:
                rows = read(path)
            except BadInput as bad:
                refusals.append(bad.refusals)
                continue
            setattr(found, name, rows)
            found.files.append((path, rows.height, []))
        try:
            events = read_derivative_events(self.derivatives)
        except BadInput as bad:
            refusals.append(bad.refusals)
        else:
            found.add_events(events, self.derivatives, number)
        if any(refused.height for refused in refusals):
            raise BadInput(pl.concat(refusals))
        return found


@dataclass
class RiskInput:
    """What was read: tiers (columns TIERS), balances (BALANCES), contracts (CONTRACTS), events (DERIVATIVE_EVENTS).

    `files` has the rows and times of each file, `names` the files of events by the numbers that these have.
    """

    policies: RiskPolicies
    tiers: pl.DataFrame | None = None
    balances: pl.DataFrame | None = None
    contracts: pl.DataFrame | None = None
    events: pl.DataFrame | None = None
    files: list[tuple[Path, int, list[Any]]] = field(default_factory=list)
    names: dict[int, str] = field(default_factory=dict)

    def add_events(self, events: pl.DataFrame, paths: Sequence[Path], number: int) -> None:
        """The events of derivatives, whose files follow those that were read so far; `number` is that of the first."""
        if not paths:
            return
        offset = number + len(self.files) - 1
        for place, path in enumerate(paths, start=1):
            times = events.filter(pl.col("input") == place)["time"]
            self.files.append((path, times.len(), [times.min(), times.max()]))
            self.names[place + offset] = str(path)
        self.events = events.with_columns(pl.col("input") + pl.lit(offset, pl.UInt16))

    def rates(self) -> Rates:
        """What fills the rates that the marks do not state."""
        return partial(with_rates, tiers=self.tiers, policies=self.policies)
