"""`python -m bench`: the ledger against a floor, a Decimal loop and two journal programs, in one run.

`python -m bench interest` measures interest, `python -m bench reconcile` reconciliation, `python -m bench risk` the
grading of positions at every mark, `python -m bench workbook` the writing of workbooks.
"""

import tempfile
from pathlib import Path

import click

from bench.interest import interest
from bench.measure import machine
from bench.peers import installed_tools
from bench.reconcile import reconcile
from bench.results import report_of
from bench.risk import risk
from bench.rounds import measure
from bench.shapes import SHAPES
from bench.workbook import workbook

ORDINARY = [name for name in SHAPES if name != "wide"]
PEERS = ("decimal", "hledger", "ledger-cli")
SMOKE_FACTOR = 200


@click.group(invoke_without_command=True)
@click.option("--smoke", is_flag=True, help="Tiny files, one round: does it all work?")
@click.option("--shapes", multiple=True, type=click.Choice(list(SHAPES)), help="Only these; may be repeated.")
@click.option("--wide", is_flag=True, help="Also 10,000,000 events: needs 10 GB of disk and some minutes.")
@click.option("--repeat", default=3, show_default=True, type=click.IntRange(1), help="Rounds per shape.")
@click.option("--peer", "peers", multiple=True, type=click.Choice([*PEERS, "none"]), help="Only these peers.")
@click.option("--markdown", type=click.Path(path_type=Path), help="Write the table as Markdown.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write all numbers as JSON.")
@click.pass_context
def main(
    context: click.Context,
    *,
    smoke: bool,
    shapes: tuple[str, ...],
    wide: bool,
    repeat: int,
    peers: tuple[str, ...],
    markdown: Path | None,
    json_file: Path | None,
) -> None:
    """Measure the ledger and what it is compared with, shape by shape. Files go to the temporary folder."""
    if context.invoked_subcommand:
        return
    names = [*(shapes or ORDINARY), *(["wide"] if wide and "wide" not in shapes else [])]
    present = _present(peers or PEERS)
    results = []
    for name in names:
        click.echo(f"measuring {name}", err=True)
        with tempfile.TemporaryDirectory(prefix="bench-") as folder:
            shape = SHAPES[name].smaller(SMOKE_FACTOR) if smoke else SHAPES[name]
            results.append(measure(shape, Path(folder), present, 1 if smoke else repeat))
    report = report_of(results, machine())
    report.show()
    report.write(markdown, json_file)


def _present(peers: tuple[str, ...]) -> list[str]:
    """The peers asked for that this machine has; names the others."""
    wanted = [peer for peer in peers if peer != "none"]
    absent = [peer for peer in wanted if peer != "decimal" and peer not in installed_tools()]
    for peer in absent:
        click.echo(f"{peer} is not installed: left out", err=True)
    return [peer for peer in wanted if peer not in absent]


main.add_command(interest)
main.add_command(reconcile)
main.add_command(risk)
main.add_command(workbook)

if __name__ == "__main__":
    main()
