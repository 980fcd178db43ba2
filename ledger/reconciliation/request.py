"""What to reconcile and how."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

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
    names the layout of files where it is not to be recognised.
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


def _plain(value: Any) -> str:
    """A value as text, a number without an exponent."""
    return f"{value:f}" if isinstance(value, Decimal) else str(value)
