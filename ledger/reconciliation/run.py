"""A whole reconciliation: files in; ledger, comparison, breaks and what explains them out."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl

from ledger.checks import combined, finding
from ledger.columns import INPUTS, PARAMETERS, TIME, schema
from ledger.files import SpooledRun
from ledger.input_sums import AsRead, Booked, booked_check, input_sums
from ledger.inputs import file_facts
from ledger.money import MONEY
from ledger.ordering import index_positions
from ledger.output import complete_or_nothing, write_frame
from ledger.progress import Progress, silent
from ledger.reading import EVENTS_SCHEMA
from ledger.reconciliation import reviews
from ledger.reconciliation.breaks import breaks_of, compared, parts_of
from ledger.reconciliation.columns import ADJUSTMENT_COMMENTS, COMPARISON, MATCHES
from ledger.reconciliation.corrections import Corrections, stepwise
from ledger.reconciliation.evidence import Evidence, evidence_of
from ledger.reconciliation.figures import EVENTS as BY_EVENTS
from ledger.reconciliation.figures import SNAPSHOT
from ledger.reconciliation.interest import InterestBeside, reperformance_of
from ledger.reconciliation.investigation import beyond_search, investigated, mislabelled
from ledger.reconciliation.matching import matches_frame
from ledger.reconciliation.moments import (
    closed_moments,
    not_in_snapshots,
    refuse_contradictions,
    since_openings,
    snapshot_moments,
)
from ledger.reconciliation.request import ReconcileRequest
from ledger.reconciliation.roll_forward import lead, roll_forward
from ledger.reconciliation.sides import Sides, read_sides
from ledger.reconciliation.sources import Sources
from ledger.reconciliation.states import running
from ledger.refusals import REFUSAL_SCHEMA, BadInput, refuse_file
from ledger.request import Request
from ledger.run_inputs import RunInputs
from ledger.spool import Spool
from ledger.statements.certificate import Window
from ledger.statements.chains import beginnings, position_links
from ledger.statements.importing import statement_frames
from ledger.steps import Step


def reconcile_files(
    request: ReconcileRequest, folder: Path, suffix: str = "parquet", progress: Progress = silent
) -> pl.DataFrame:
    """Reconcile files and write all frames to `folder`; returns the checks.

    Frames are those of a replay, of the exchange's files (STATEMENT_FRAMES) and of the reconciliation
    (RECONCILIATION_FRAMES), and where it is asked for those of interest (INTEREST_FRAMES). Raises BadInput with all
    refusals; then it leaves the folder as it was.
    """
    with complete_or_nothing(folder, request.files()) as ready:
        work = ready.parent
        sides = read_sides(request, work, progress)
        if sides.ledger_events.is_empty():
            raise refuse_file(
                str(next(iter(request.ledger), "")),
                "The files have no event of an isolated spot-margin position to replay.",
                "Check the files, the layout (--from) and the as-at time.",
            )
        inputs = _inputs(request, sides)
        run = _replayed(request, sides, ready, suffix, progress)
        ledger = pl.scan_parquet(run.ledger)
        index = index_positions(sides.ledger_events)
        frames, findings = _reconciled(request, sides, ledger, index, progress)
        ageing_at = request.as_at or reviews.last_of(sides.ledger_events, sides.exchange_events, frames["comparison"])
        frames["reviews"] = reviews.reviews_of(frames["breaks"], request.previous, frames["comparison"], ageing_at)
        if request.previous is not None:
            reviews.refuse_other_run(request.previous, str(request.previous_file), frames["comparison"], ageing_at)
            findings.append(reviews.compared_again(frames["reviews"]))
        for name, frame in frames.items():
            write_frame(frame, ready / f"{name}.{suffix}")
        sums = _sums(sides, run.spooled.booked)
        checks = combined([*run.findings, *findings, booked_check(sums)])
        run.spooled.keep_ledger(ready, suffix)
        write_frame(checks, ready / f"checks.{suffix}")
        write_frame(_parameters(request, ageing_at), ready / f"parameters.{suffix}")
        write_frame(inputs, ready / f"inputs.{suffix}")
        write_frame(sums, ready / f"input_sums.{suffix}")
    return checks


# --- the ledger ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Replayed:
    spooled: SpooledRun
    findings: list[pl.DataFrame]

    @property
    def ledger(self) -> Path:
        return self.spooled.ledger


def _replayed(request: ReconcileRequest, sides: Sides, ready: Path, suffix: str, progress: Progress) -> _Replayed:
    """The frames of the replay, written; raises BadInput that names files and rows."""
    events = sides.ledger_events
    sources = Sources(events)
    spool = Spool(ready.parent)
    numbered = events.with_columns(
        input=pl.lit(0, pl.UInt16), row=pl.int_range(1, pl.len() + 1, dtype=pl.UInt32)
    ).select(EVENTS_SCHEMA.names())
    spool.add(numbered)
    repeated = spool.repeated()
    asked = Request(list(request.ledger), request.marks, request.policies, request.as_at)
    step: Step = sources
    if sides.interest is not None:
        done = reperformance_of(sides, sides.interest, request.policies, request.as_at)
        step = InterestBeside(sources, done, sides.interest.request.policy)
    run = SpooledRun(asked, spool, RunInputs(sides.marks, step), progress)
    try:
        run.refuse_repeated(repeated)
        findings = run.write(ready, suffix)
    except BadInput as bad:
        told = sources.told(bad.refusals, sides.names)
        raise BadInput(pl.concat([_cut_off(sides), told])) from None
    return _Replayed(run, findings)


def _cut_off(sides: Sides) -> pl.DataFrame:
    """Refusals that say where rows begin inside a position, which explains why the events after them do not replay."""
    if sides.openings.height:
        return REFUSAL_SCHEMA.to_frame()
    inside = beginnings(position_links(sides.ledger.rows)).filter(pl.col("opening") != 0)
    return inside.select(
        file=pl.col("input").replace_strict(sides.names, default="", return_dtype=pl.String),
        row="row",
        column=pl.lit("posBal"),
        value=pl.format("{} {}", "opening", "currency"),
        rule=pl.lit("The position held this before the first row of the files: they begin in the middle of it."),
        remedy=pl.lit("Give the rows before it too, or begin with a snapshot: --opening FILE."),
    )


# --- the comparison -----------------------------------------------------------------------------------------


def _reconciled(
    request: ReconcileRequest, sides: Sides, ledger: pl.LazyFrame, index: pl.DataFrame, progress: Progress
) -> tuple[dict[str, pl.DataFrame], list[pl.DataFrame]]:
    """The frames of the reconciliation, and the findings of their checks."""
    rows = ledger.collect()
    history = running(rows, index)
    progress("Comparing", 0, 0)
    evidence = evidence_of(sides, rows, history, request.policies)
    moments = _moments(request, sides, history, index, evidence)
    comparison = compared(moments, history, request.tolerances)
    progress("Explaining", 0, 0)
    parts = _explained(request, sides, comparison, moments, evidence, progress)
    matches = matches_frame(evidence.both) if evidence.both.height else pl.DataFrame(schema=schema(MATCHES))
    breaks = reviews.since_events(breaks_of(comparison, parts), matches)
    rolled, roll_finding = roll_forward(ledger, index)
    frames = {
        "matches": matches,
        "comparison": pl.concat([comparison, _not_compared(sides, evidence)]),
        "breaks": breaks,
        "break_causes": parts,
        "roll_forward": rolled,
        "adjustment_comments": sides.ledger.comments.select(schema(ADJUSTMENT_COMMENTS).names()),
        "lead": lead(moments, rows, index, history),
        **statement_frames({_OURS: sides.ledger, _THEIRS: sides.exchange}, _window(sides)),
    }
    frames["certificate"] = _beginnings_told(frames["certificate"], sides)
    return frames, [roll_finding, *_findings(frames, history)]


def _moments(
    request: ReconcileRequest, sides: Sides, history: pl.DataFrame, index: pl.DataFrame, evidence: Evidence
) -> pl.DataFrame:
    """Every moment at which the two sides are compared."""
    end = _end(sides)
    snapshots = sides.exchange.snapshots
    if request.snapshot_at is not None:
        snapshots = snapshots.with_columns(time=pl.lit(request.snapshot_at, TIME))
    if request.as_at is not None:
        snapshots = snapshots.filter(pl.col("time").is_null() | (pl.col("time") <= request.as_at))
    if sides.openings.height:
        snapshots = since_openings(snapshots, sides.openings)
    stated = snapshot_moments(snapshots, history, index, request.account, end)
    refuse_contradictions(stated, sides.names)
    absent = not_in_snapshots(stated, snapshots, history, index, end)
    return pl.concat([stated, absent, closed_moments(snapshots, index), evidence.moments])


def _end(sides: Sides) -> datetime:
    """The time of the last event of either side."""
    times = pl.concat([sides.ledger_events["time"], sides.exchange_events["time"]])
    return times.max()  # type: ignore[return-value]


def _explained(
    request: ReconcileRequest,
    sides: Sides,
    comparison: pl.DataFrame,
    moments: pl.DataFrame,
    evidence: Evidence,
    progress: Progress,
) -> pl.DataFrame:
    """The parts of every break: what the exchange's events prove, then what a search of hypotheses finds."""
    broken = comparison.filter(pl.col("break_id").is_not_null())["position"].unique().implode()
    steps = evidence.corrections.steps.filter(pl.col("position").is_in(broken))
    proved = Corrections(steps, evidence.corrections.added)
    events = sides.ledger_events.filter(pl.col("position").is_in(broken))
    snapshots = moments.filter((pl.col("stated_by") == SNAPSHOT) & pl.col("position").is_in(broken))
    corrected = _corrected(events, proved)
    modes = mislabelled(snapshots, corrected)
    beyond = beyond_search(corrected, snapshots)
    alone = evidence.alone["position"].unique()
    asked = snapshots.filter(
        ~pl.col("position").is_in(pl.concat([alone, pl.Series(beyond, dtype=pl.String)]).implode())
    )
    end: datetime = sides.ledger_events["time"].max()  # type: ignore[assignment]
    searched = modes.and_then(investigated(corrected, asked, end, request.policies, progress))
    corrections = proved.and_then(searched)
    stepped = stepwise(corrections, events, request.policies)
    last = corrections.steps.group_by("position").agg(step=pl.col("step").max() + 1)
    by_itself = evidence.alone.join(last, on="position").with_columns(variant=pl.lit(0, pl.UInt32))
    stepped = pl.concat([stepped, by_itself.select(stepped.columns)])
    return parts_of(comparison, moments, corrections, stepped, beyond)


def _corrected(events: pl.DataFrame, corrections: Corrections) -> pl.DataFrame:
    """The events as the corrections make them."""
    mode = corrections.steps.filter(pl.col("mode_instead").is_not_null()).select("position", "mode_instead")
    own = corrections.steps.filter(pl.col("added_id").is_not_null()).select("position", "added_id")
    added = own.join(corrections.added, on="added_id").with_columns(
        input=pl.lit(None, pl.UInt16), row=pl.lit(None, pl.UInt32)
    )
    kept = events.join(
        corrections.steps.select("position", event_id="removed_id").drop_nulls(),
        on=["position", "event_id"],
        how="anti",
        maintain_order="left",
    )
    every = pl.concat([kept, added.select(events.columns)]).join(mode, on="position", how="left", maintain_order="left")
    return (
        every.with_columns(mode=pl.coalesce("mode_instead", "mode"))
        .drop("mode_instead")
        .sort("time", "sequence", maintain_order=True)
    )


# --- the rest -----------------------------------------------------------------------------------------------


def _not_compared(sides: Sides, evidence: Evidence) -> pl.DataFrame:
    """Rows of COMPARISON for what the exchange states, or has events of, and nothing can be compared with."""
    others = sides.exchange.snapshots.filter(~pl.col("is_isolated_margin")).with_columns(
        position=pl.concat_str("account", "instrument", pl.col("margin_currency").fill_null(""), separator=":"),
        stated_by=pl.lit(SNAPSHOT),
        figure=pl.lit("position"),
        note=pl.lit("no isolated spot-margin position"),
    )
    untold = evidence.untold.with_columns(stated_by=pl.lit(BY_EVENTS), figure=pl.lit("balances"))
    told, wanted = [], schema(COMPARISON)
    for rows in (others, untold):
        known = rows.with_columns(verdict=pl.lit("not_compared"), material=pl.lit(value=False))
        absent = [pl.lit(None, dtype).alias(name) for name, dtype in wanted.items() if name not in known.columns]
        told.append(
            known.with_columns(absent).select(pl.col(name).cast(dtype) for name, dtype in schema(COMPARISON).items())
        )
    return pl.concat(told)


_OURS, _THEIRS = "of the ledger", "of the exchange"


def _beginnings_told(certificate: pl.DataFrame, sides: Sides) -> pl.DataFrame:
    """That rows begin inside a position is no failure of the exchange's side, nor where opening balances are given."""
    known = pl.col("file").str.ends_with(_THEIRS) | pl.lit(sides.openings.height > 0)
    is_known = (pl.col("control") == "beginning") & (pl.col("outcome") == "fail") & known
    note = pl.lit("note", certificate.schema["outcome"])
    return certificate.with_columns(outcome=pl.when(is_known).then(note).otherwise("outcome"))


def _window(sides: Sides) -> Window:
    """From the first event of the ledger to its last."""
    times = sides.ledger_events["time"]
    return times.min(), times.max()  # type: ignore[return-value]


def _findings(frames: dict[str, pl.DataFrame], history: pl.DataFrame) -> list[pl.DataFrame]:
    comparison, certificate = frames["comparison"], frames["certificate"]
    tested = comparison.filter(pl.col("difference").is_not_null())
    off = tested.select(pl.when(pl.col("break_id").is_not_null()).then("difference").otherwise(pl.lit(0).cast(MONEY)))
    fails = certificate.select(pl.when(pl.col("outcome") == "fail").then(1).otherwise(0).cast(MONEY)).to_series()
    is_open = (pl.col("base_leg") != 0) | (pl.col("quote_leg") != 0)
    open_now = (
        history.sort("time", maintain_order=True).unique("position", keep="last").filter(is_open).sort("position")
    )
    seen = pl.col("position").is_in(tested["position"].unique().implode())
    unseen = open_now.select("position", off=pl.when(~seen).then(1).otherwise(0).cast(MONEY))
    if tested.is_empty() and not unseen["off"].sum():
        nothing = pl.DataFrame({"position": ["no figure stands on both sides"], "off": [1]})
        unseen = pl.concat([unseen, nothing.cast({"off": MONEY})])
    matches = frames["matches"]
    apart = matches.select(pl.when(pl.col("found") != "in_common").then(1).otherwise(0).cast(MONEY)).to_series()
    sums = frames["break_causes"].group_by("break_id").agg(pl.col("amount").sum())
    added = frames["breaks"].join(sums, on="break_id", how="left", maintain_order="left")
    lacking = added.select(pl.col("difference") - pl.col("amount").fill_null(pl.lit(0).cast(MONEY))).to_series()
    return [
        finding("files_are_complete", certificate.select("file", "control", "subject"), fails),
        finding("events_agree", matches.select("position", "kind", "time"), apart),
        finding("positions_are_compared", unseen.select("position"), unseen["off"]),
        finding("exchange_agrees", tested.select("position", "figure", "time"), off.to_series()),
        finding("breaks_add_up", added.select("break_id", "position", "figure"), lacking),
    ]


def _inputs(request: ReconcileRequest, sides: Sides) -> pl.DataFrame:
    """The frame INPUTS of all files."""
    inputs = pl.concat([sides.ledger.files, sides.exchange.files])
    openings = sides.openings["time"].to_list()
    others: list[tuple[Path, int, list[Any]]] = [(path, len(openings), openings) for path in request.opening]
    if request.marks is not None and sides.marks is not None:
        others.append((request.marks, sides.marks.height, []))
    if sides.interest is not None:
        others += sides.interest.files
    facts = [file_facts(inputs.height + place, *file) for place, file in enumerate(others, start=1)]
    return pl.concat([inputs, pl.DataFrame(facts, schema=schema(INPUTS))])


def _sums(sides: Sides, booked: Booked) -> pl.DataFrame:
    """The frame INPUT_SUMS of the events that the ledger's files gave; the exchange's have theirs in statement_sums."""
    files = sides.ledger
    events = [sides.openings, files.transactions.events, files.events]
    stated = pl.concat([each.select(EVENTS_SCHEMA.names()) for each in events])
    place = ["input", "row", "event_id"]
    read = AsRead()
    read.add(stated.join(sides.ledger_events, on=place, how="semi"))
    read.add(stated.join(sides.ledger_events, on=place, how="anti"), pl.lit(value=True))
    return input_sums(read, booked)


def _parameters(request: ReconcileRequest, ageing_at: datetime) -> pl.DataFrame:
    run = Request(list(request.ledger), request.marks, request.policies, request.as_at, request.interest)
    replayed = run.parameters()
    chosen = [reviews.ageing_parameter(ageing_at), *request.parameters()]
    return pl.concat([replayed, pl.DataFrame(chosen, schema=schema(PARAMETERS))])
