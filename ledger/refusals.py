"""Bad input as data: every refusal is a row that says where, what, why and what to do."""

from collections.abc import Sequence

import polars as pl

REFUSAL_SCHEMA = pl.Schema(
    {
        "file": pl.String,
        "row": pl.UInt32,
        "column": pl.String,
        "value": pl.String,
        "rule": pl.String,
        "remedy": pl.String,
    }
)
"""One row per refused value. `row` counts as a spreadsheet does: the header of a CSV file is row 1, the first
record of a Parquet, NDJSON or JSON file is row 1. It is empty when the whole file is refused."""


class LedgerError(Exception):
    """What a user can mend: the command line prints it and exits with 2."""


class PolicyError(LedgerError):
    """A policy that does not exist or a value it does not take; `problems` lists all of them."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = list(problems)


class BadInput(LedgerError):
    """Input that cannot be accounted for; `refusals` is a frame of `REFUSAL_SCHEMA` with all of it.

    `more_may_follow` is whether rules of whole positions are judged only once all rows can be read.
    """

    def __init__(self, refusals: pl.DataFrame, more_may_follow: bool = True) -> None:
        super().__init__(f"{refusals.height} value{'s' if refusals.height != 1 else ''} refused")
        self.refusals = refusals
        self.more_may_follow = more_may_follow and refusals["row"].is_not_null().any()


def refuse_file(file: str, rule: str, remedy: str, column: str | None = None, value: str | None = None) -> BadInput:
    """A refusal of a whole file."""
    return BadInput(pl.DataFrame([[file, None, column, value, rule, remedy]], schema=REFUSAL_SCHEMA, orient="row"))
