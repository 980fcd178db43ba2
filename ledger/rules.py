"""Rules about a row, as data: what must hold, which column is to blame, what to do."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import polars as pl

from ledger.refusals import REFUSAL_SCHEMA


@dataclass(frozen=True)
class Rule:
    """`holds` is true or empty on a good row. A broken one is reported with the rest."""

    column: str
    sentence: str
    remedy: str
    holds: pl.Expr

    @cached_property
    def reads(self) -> frozenset[str]:
        """Columns the rule reads."""
        return frozenset(self.holds.meta.root_names())


@dataclass(frozen=True)
class Refused:
    """Cells of one column refused for one reason; `rows` is the mask of their rows."""

    column: str
    sentence: str
    remedy: str
    rows: pl.Series


def broken_rules(frame: pl.DataFrame, rules: Mapping[str, Rule], before: list[Refused]) -> list[Refused]:
    """What the rules refuse in a typed frame, besides what was refused `before`.

    A rule is not asked about a row in which a cell that it reads is refused already, before or by a rule
    about that cell alone: one mistake is reported once.
    """
    known: dict[str, pl.Series] = {}
    for refused in before:
        known[refused.column] = known.get(refused.column, False) | refused.rows
    broken = []
    for rule in sorted(rules.values(), key=lambda rule: len(rule.reads) > 1):
        fails = frame.select(fails=~rule.holds.fill_null(True)).to_series()
        for column in rule.reads & known.keys():
            fails &= ~known[column]
        if fails.any():
            broken.append(Refused(rule.column, rule.sentence, rule.remedy, fails))
            if len(rule.reads) == 1:
                known[rule.column] = known.get(rule.column, False) | fails
    return broken


def refusals_of(file: str, raw: pl.DataFrame, refused: list[Refused]) -> pl.DataFrame:
    """A frame of REFUSAL_SCHEMA in the order of the rows. `raw` has the file's own cells, and `row`."""
    parts = [
        raw.filter(cells.rows).select(
            file=pl.lit(file),
            row="row",
            column=pl.lit(cells.column),
            value=pl.col(cells.column).cast(pl.String) if cells.column in raw.columns else pl.lit(None, pl.String),
            rule=pl.lit(cells.sentence),
            remedy=pl.lit(cells.remedy),
        )
        for cells in refused
    ]
    return pl.concat([REFUSAL_SCHEMA.to_frame(), *parts]).sort("row", maintain_order=True)
