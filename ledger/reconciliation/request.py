"""What to reconcile and how."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl

from ledger.inputs import file_facts
from ledger.interest.request import InterestRequest
from ledger.policies import Policies
from ledger.reconciliation.breaks import Tolerances
from ledger.statements.margin_currency import Defaults


@dataclass(frozen=True)
class ReconcileRequest:
    """The files of both sides, and what neither says.

    `ledger` are the files that the ledger is rebuilt from, `exchange` those that say what the exchange has; both may
    be of any layout. `opening` are snapshots to begin with, at `opening_at` or their own time; `snapshot_at`
    is when the exchange's snapshots were taken, else each counts from its last change. `account` is that of
    rows that name none, `defaults` has margin currency, mode and leverage where files do not state them. `layouts`
    names the layout of files where it is not to be recognised. `interest` asks to re-perform the interest
    by its policy and rates; what was charged comes from the files of both sides. `previous` has the
    breaks of the run before and what reviewers wrote about them (columns REVIEWS), read from `previous_file`.
    """

    ledger: Sequence[Path]
    exchange: Sequence[Path]
    opening: Sequence[Path] = ()
    opening_at: datetime | None = None
    snapshot_at: datetime | None = None
    account: str | None = None
    defaults: Defaults = field(default_factory=Defaults)
    layouts: Mapping[Path, str] = field(default_factory=dict)
    marks: Path | None = None
    policies: Policies = field(default_factory=Policies)
    tolerances: Tolerances = field(default_factory=Tolerances)
    as_at: datetime | None = None
    interest: InterestRequest | None = None
    previous: pl.DataFrame | None = None
    previous_file: Path | None = None

    def files(self) -> list[Path | None]:
        """Every file that is read; nothing in place of one that is not given."""
        interest = self.interest.files() if self.interest else []
        return [*self.ledger, *self.exchange, *self.opening, self.marks, *interest]

    def parameters(self) -> list[dict[str, str]]:
        """One row per choice: name, value, description, source."""
        tolerances = self.tolerances
        materiality = {"": tolerances.materiality, **tolerances.by_currency}
        chosen: list[tuple[str, Any, str]] = [
            ("account", self.account or "", "Account of rows that name none; empty: the ledger's only one, or main."),
            ("margin_currency", self.defaults.margin_currency or "", "Margin currency where no file states one."),
            ("mode", self.defaults.mode or "", "Mode where no file states one; empty: new."),
            ("leverage", self.defaults.leverage or "", "Leverage where no file states a margin."),
            ("snapshot_at", "" if self.snapshot_at is None else self.snapshot_at.isoformat(), "Time of the snapshots."),
            ("opening_at", "" if self.opening_at is None else self.opening_at.isoformat(), "Time of opening balances."),
            ("tolerance.doubles", tolerances.relative, "Of the exchange's doubles, relative to what they come from."),
            ("previous", self.previous_file or "", "Workbook of the run before, whose reviews are carried on."),
            ("previous_sha256", self._previous_hash(), "Hash of that workbook as it was read."),
            *(
                (f"tolerance.{figure}", amount, "Largest difference of this figure that is no break.")
                for figure, amount in tolerances.figures.items()
            ),
            *(
                (f"materiality.{currency}".rstrip("."), amount, "Differences from this amount on are material.")
                for currency, amount in materiality.items()
            ),
        ]
        return [
            {"name": f"reconcile.{name}", "value": _plain(value), "description": description, "source": "run"}
            for name, value, description in chosen
        ]

    def _previous_hash(self) -> str:
        return "" if self.previous_file is None else str(file_facts(0, self.previous_file, 0, [])["sha256"])


def _plain(value: Any) -> str:
    """A value as text, a number without an exponent."""
    return f"{value:f}" if isinstance(value, Decimal) else str(value)
