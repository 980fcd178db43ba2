"""The command `records`: the figures of an exchange's own position records, computed again."""

import sys
from pathlib import Path

import click

from reports.commands.terminal import BREAKS, FILE, OK, REFUSALS, errors_told
from reports.commands.whatif_options import refuse_out, tell_lines, write_out


@click.command()
@click.argument("positions", type=FILE)
@click.option("--out", type=FILE, metavar="FILE", help="Write every figure to this file: .csv or .parquet.")
@REFUSALS
def records(positions: Path, out: Path | None, refusals: Path | None) -> None:
    """Compute the figures of an exchange's position records again: PnL, maintenance margin, ratio, liquidation price.

    POSITIONS is the answer of OKX to /account/positions, or published records: isolated spot margin, perpetuals,
    futures and options. What a record does not state (mode, rates, size of a contract) is inferred from its figures,
    and said; a figure that only gave a rate is not counted as agreeing.

    \b
    Examples:
      margin-ledger records positions.json
      margin-ledger records positions.json --out figures.csv

    Exit codes: 0 no figure differs, 1 one does, 2 bad input.
    """
    with errors_told(refusals):
        from ledger.derivatives.records import measure_records
        from reports.commands.risk_summary import records_told

        refuse_out(out, [positions])
        found = measure_records(positions)
        write_out(found, out)
        tell_lines(records_told(found))
        sys.exit(BREAKS if (found["verdict"] == "differs").any() else OK)
