"""Interest of rows alone, and the identification of a policy, over files; see `ledger.files` for runs with events."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import polars as pl

from ledger.checks import combined
from ledger.columns import INPUTS, PARAMETERS, schema
from ledger.files import read_events
from ledger.inputs import file_facts
from ledger.interest.checks import comparison_checks
from ledger.interest.comparison import Comparison
from ledger.interest.identification import Identified, identify
from ledger.interest.loans import reperform_rows
from ledger.interest.matching import coverage, last_moment, recorded_rows, with_account
from ledger.interest.policy import InterestPolicy
from ledger.interest.reperformance import reperform
from ledger.interest.request import InterestRequest
from ledger.ordering import index_positions, with_positions
from ledger.output import complete_or_nothing, write_frame
from ledger.policies import Policies
from ledger.refusals import refuse_file


def reperform_files(request: InterestRequest, folder: Path, suffix: str = "parquet") -> pl.DataFrame:
    """Compare the exchange's rows with what was due on the liabilities they state; returns the checks.

    Writes the frames interest, interest_causes, checks, inputs and parameters to `folder`, or nothing: raises BadInput
    with all refusals.
    """
    read = request.read(1)
    comparison, _ = reperform_rows(read.rows, request.policy, read.rates, read.names())
    checks = combined(comparison_checks(comparison.interest, comparison.causes))
    inputs = [file_facts(number, *file) for number, file in enumerate(read.files, start=1)]
    frames = {
        "interest": comparison.interest,
        "interest_causes": comparison.causes,
        "checks": checks,
        "inputs": pl.DataFrame(inputs, schema=schema(INPUTS)),
        "parameters": pl.DataFrame(request.parameters(), schema=schema(PARAMETERS)),
    }
    with complete_or_nothing(folder, request.files()) as ready:
        for name, frame in frames.items():
            write_frame(frame, ready / f"{name}.{suffix}")
    return checks


def identify_files(request: InterestRequest, events: Sequence[Path], policies: Policies) -> Identified:
    """How the exchange charged, by its rows, and by the events where there are any; see `identification.identify`.

    Everything is held in memory. Raises BadInput with all refusals.
    """
    read = request.read(1)
    if not events:
        return identify(
            lambda policy: reperform_rows(read.rows, policy, read.rates, read.names()), request.policy, has_events=False
        )
    typed = read_events(events, policies)
    index = index_positions(typed)
    placed = with_positions(typed, index)
    rows = with_account(read.rows, index) if request.rows else recorded_rows(placed, index)
    rows = rows.with_row_index("number")
    until, covers = rows["time"].max(), coverage(rows, None, None)
    if not isinstance(until, datetime):
        raise refuse_file(str(events[0]), "There is no interest to look at.", "Give the exchange's rows of interest.")

    def compare(policy: InterestPolicy) -> tuple[Comparison, pl.DataFrame]:
        done = reperform(
            placed, index, rows, policies, policy=policy, rates=read.rates, until=last_moment(until), covers=covers
        )
        return done.comparison, done.due

    return identify(compare, request.policy, has_events=True)
