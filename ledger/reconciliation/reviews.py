"""Breaks from run to run: what reviewers wrote is carried on, breaks are aged, and those found to agree resolved."""

from datetime import UTC, datetime

import polars as pl

from ledger.checks import finding
from ledger.columns import TIME, schema
from ledger.money import MONEY
from ledger.reconciliation.breaks import break_ids
from ledger.reconciliation.columns import CHANGES, REVIEWS, SETTLED, STATES, STATUSES
from ledger.reconciliation.figures import EVENTS
from ledger.refusals import refuse_file

_CHANGE = {word: pl.lit(word, pl.Enum(CHANGES)) for word in CHANGES}
_OPEN, _RESOLVED = (pl.lit(word, pl.Enum(STATES)) for word in STATES)
_NOT_LOOKED_AT = pl.lit(STATUSES[0], pl.Enum(STATUSES))
_DAY = 86_400_000_000  # microseconds
_CODE = r"\x"
"""What a character that no cell can hold begins with, in a position as a workbook gives it back."""


def reviews_of(
    breaks: pl.DataFrame, previous: pl.DataFrame | None, comparison: pl.DataFrame, ageing_at: datetime
) -> pl.DataFrame:
    """The frame REVIEWS: one row per break of this run (BREAKS) and of the runs before it (`previous`, REVIEWS).

    A break is known by its name. What reviewers wrote is taken over as it is, and first seen is the earlier time of
    both. Only a status that settles a break holds for nothing but the amount it was given for: at another one,
    and for a break that comes back, it is open again. A break that this run does not have is resolved at `ageing_at`,
    the end of this run, where the COMPARISON has its figure at or after it was last seen, in agreement; what was not
    compared stays open.
    """
    before = pl.DataFrame(schema=schema(REVIEWS)) if previous is None else previous
    ordered = ("position", "figure", "break_id")
    gone = _gone(breaks, before, _agreeing(comparison), ageing_at)
    reviews = pl.concat([_open(breaks, before).sort(ordered), gone.sort(ordered)])
    until = pl.col("resolved_at").fill_null(_time(ageing_at))
    days = (until - pl.col("first_seen")).dt.total_microseconds() / _DAY
    return reviews.with_columns(days_open=days).select(schema(REVIEWS).names())


def refuse_other_run(previous: pl.DataFrame, file: str, comparison: pl.DataFrame, ageing_at: datetime) -> None:
    """Refuse (BadInput) the reviews (REVIEWS) of the workbook `file` where they are not of a run before this one.

    That is so if no position of theirs is in the COMPARISON, or one of their times is after `ageing_at`, the end
    of this run.
    """
    last = previous.select(pl.max_horizontal(pl.col("last_seen", "resolved_at").max())).item()
    if last is not None and last > ageing_at:
        rule = f"It is that of a later run: it knows of {last:%Y-%m-%d %H:%M:%S} UTC, and this run ends before that."
        raise refuse_file(file, rule, "Give the workbook of the run before this one, or the files up to now.")
    cannot_tell = previous["position"].str.contains(_CODE, literal=True).any()
    known = previous["position"].is_in(comparison["position"].unique().implode()).any()
    if previous.height and not known and not cannot_tell:
        rule = f"None of its positions is compared by this run, as {previous['position'][0]} is not."
        raise refuse_file(file, rule, "Give the workbook of the run before this one, of the same account.")


def compared_again(reviews: pl.DataFrame) -> pl.DataFrame:
    """The finding `earlier_breaks_are_compared` of the breaks (REVIEWS) that were open in the run before."""
    was_open = ~pl.col("change").cast(pl.String).is_in(["new", "come back", "resolved before"])
    earlier = reviews.filter(was_open)
    fails = (pl.col("change") == "not compared") & ~is_settled()
    off = earlier.select(pl.when(fails).then(1).otherwise(0).cast(MONEY)).to_series()
    return finding("earlier_breaks_are_compared", earlier.select("position", "figure", "stated_by"), off)


def since_events(breaks: pl.DataFrame, matches: pl.DataFrame) -> pl.DataFrame:
    """The BREAKS, those told by events first seen when the first event of their position (MATCHES) differs.

    Events are compared only as they stand at the end; but that they differ is known of each of them.
    """
    first = matches.filter(pl.col("found") != "in_common").group_by("position").agg(differs_at=pl.col("time").min())
    by_event = pl.min_horizontal("first_seen", "differs_at")
    return (
        breaks.join(first, on="position", how="left", maintain_order="left")
        .with_columns(first_seen=pl.when(pl.col("stated_by") == EVENTS).then(by_event).otherwise("first_seen"))
        .drop("differs_at")
    )


def last_of(*frames: pl.DataFrame) -> datetime:
    """The last of the times (column `time`) of frames of which at least one has one."""
    return pl.concat([frame["time"] for frame in frames]).max()  # type: ignore[return-value]


def ageing_parameter(ageing_at: datetime) -> dict[str, str]:
    """The row of PARAMETERS for the time up to which breaks are aged, in UTC."""
    return {
        "name": "ageing_at",
        "value": f"{ageing_at.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%fZ}",
        "description": "Time up to which breaks are aged: as at, or the last event or comparison.",
        "source": "run",
    }


def has_entry() -> pl.Expr:
    """Whether a reviewer wrote anything down about the break of a row of REVIEWS."""
    written = pl.col("owner").is_not_null() | pl.col("comment").is_not_null()
    return written | (pl.col("status") != STATUSES[0])


def is_settled() -> pl.Expr:
    """Whether the break of a row of REVIEWS is done with by its status."""
    return pl.col("status").cast(pl.String).is_in(SETTLED).fill_null(value=False)


def _open(breaks: pl.DataFrame, before: pl.DataFrame) -> pl.DataFrame:
    """The breaks of this run, each with what is known of it."""
    known = before.select(
        *("break_id", "owner", "status", "comment"),
        was="state",
        seen_before="first_seen",
        difference_before="difference",
    )
    beside = breaks.join(known, on="break_id", how="left", maintain_order="left")
    was_resolved = pl.col("was") == STATES[1]
    is_other = is_settled() & pl.col("difference").ne_missing(pl.col("difference_before"))
    change = (
        pl.when(pl.col("was").is_null())
        .then(_CHANGE["new"])
        .when(was_resolved)
        .then(_CHANGE["come back"])
        .when(is_other)
        .then(_CHANGE["amount changed"])
        .otherwise(_CHANGE["carried on"])
    )
    opened = is_other | (is_settled() & was_resolved) | pl.col("status").is_null()
    return _reviews(
        beside,
        state=_OPEN,
        change=change,
        first_seen=pl.min_horizontal("first_seen", "seen_before"),
        resolved_at=pl.lit(None, TIME),
        status=pl.when(opened).then(_NOT_LOOKED_AT).otherwise("status"),
    )


def _gone(breaks: pl.DataFrame, before: pl.DataFrame, agreeing: pl.DataFrame, ageing_at: datetime) -> pl.DataFrame:
    """The breaks of earlier runs that this one does not have; `agreeing` says when their figures agreed last."""
    was_resolved = pl.col("state") == STATES[1]
    agrees = (pl.col("agreed_at") >= pl.col("last_seen")).fill_null(value=False)
    resolved_now = pl.max_horizontal(_time(ageing_at), "last_seen")
    rows = before.join(breaks, on="break_id", how="anti", maintain_order="left")
    return _reviews(
        rows.join(agreeing, on="break_id", how="left", maintain_order="left"),
        difference_before=pl.lit(None, MONEY),
        state=pl.when(was_resolved | agrees).then(_RESOLVED).otherwise(_OPEN),
        change=pl.when(was_resolved)
        .then(_CHANGE["resolved before"])
        .when(agrees)
        .then(_CHANGE["resolved"])
        .otherwise(_CHANGE["not compared"]),
        resolved_at=pl.when(was_resolved).then("resolved_at").when(agrees).then(resolved_now),
    )


def _agreeing(comparison: pl.DataFrame) -> pl.DataFrame:
    """`break_id` a break of a figure would have, and `agreed_at`, the last moment at which the figure agrees.

    By the name, as a position with a character that no cell can hold is read back otherwise.
    """
    about = ("position", "figure", "stated_by")
    last = comparison.filter(pl.col("verdict") == "matched").group_by(about).agg(agreed_at=pl.col("time").max())
    return last.select(break_ids(last).alias("break_id"), "agreed_at")


def _time(moment: datetime) -> pl.Expr:
    return pl.lit(moment.astimezone(UTC), TIME)


def _reviews(rows: pl.DataFrame, **changed: pl.Expr) -> pl.DataFrame:
    """The rows with these changes, as REVIEWS has them; how long each was open is not known yet."""
    return rows.with_columns(**changed, days_open=pl.lit(None, pl.Float64)).select(
        pl.col(name).cast(dtype) for name, dtype in schema(REVIEWS).items()
    )
