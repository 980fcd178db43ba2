"""What would have to change in the ledger's events to make them those of the exchange, one step at a time."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from ledger.columns import EVENTS, MODES, TIME, schema
from ledger.money import in_digits
from ledger.policies import Policies
from ledger.reconciliation.columns import CAUSES, CERTAINTY
from ledger.reconciliation.hypotheses import Hypothesis
from ledger.reconciliation.variants import ADDED_SCHEMA, VARIANT_SCHEMA, Edits, histories

_CORRECTION: dict[str, Any] = {
    "position": pl.String,
    "step": pl.UInt32,
    "time": TIME,
    "cause": pl.Enum(list(CAUSES)),
    "certainty": pl.Enum(CERTAINTY),
    "alternatives": pl.String,
    "hypothesis": pl.String,
    "removed_id": pl.String,
    "added_id": pl.String,
    "mode_instead": pl.Enum(MODES),
    "ledger_input": pl.UInt16,
    "ledger_row": pl.UInt32,
    "exchange_input": pl.UInt16,
    "exchange_row": pl.UInt32,
}
CORRECTION_SCHEMA = pl.Schema(_CORRECTION)
"""One row per correction; those of one `step` of a position are made together. `added_id` names an event of
Corrections.added."""

_MOST_STEPS, _MOST_REPLAYED = 60, 3_000_000
"""Steps of one position that are told apart, and events that are replayed for them; beyond, steps are put together."""
_ADDED = [pl.col(name).cast(dtype) for name, dtype in ADDED_SCHEMA.items()]
_ONLY_MODE = r"^mode [a-z]+ for [a-z]+$"


@dataclass(frozen=True)
class Corrections:
    """`steps` (CORRECTION_SCHEMA) and the events they put in, `added` (EVENTS, `sequence`, `added_id`)."""

    steps: pl.DataFrame
    added: pl.DataFrame

    def and_then(self, more: "Corrections") -> "Corrections":
        """These corrections and then others: the steps of each position are counted on."""
        last = self.steps.group_by("position").agg(last=pl.col("step").max())
        later = more.steps.join(last, on="position", how="left", maintain_order="left")
        later = later.with_columns(step=(pl.col("step") + pl.col("last").fill_null(0)).cast(pl.UInt32))
        return Corrections(
            pl.concat([self.steps, later.select(CORRECTION_SCHEMA.names())]), pl.concat([self.added, more.added])
        )


def no_corrections() -> Corrections:
    """None."""
    added: dict[str, Any] = {
        **{name: dtype for name, dtype in ADDED_SCHEMA.items() if name != "variant"},
        "added_id": pl.String,
    }
    return Corrections(CORRECTION_SCHEMA.to_frame(), pl.DataFrame(schema=added))


def evident(both: pl.DataFrame, ledger: pl.DataFrame, exchange: pl.DataFrame) -> Corrections:
    """The corrections that the exchange's own events ask for; `both` comes from `matching.matched`.

    `ledger` and `exchange` are the events of the sides with `position` and `sequence`, numbered as `both` says. Where
    all that differs is the mode, one correction says so for the whole position.
    """
    differ = both.filter(pl.col("found") != "in_common")
    modal = pl.col("differs_in").str.contains(_ONLY_MODE).fill_null(value=False)
    single = differ.filter(~modal).with_columns(position=pl.coalesce("position", "position_x"))
    single = single.with_columns(moment=pl.coalesce("time_x", "time")).sort("position", "moment", maintain_order=True)
    of_mode = (
        differ.filter(modal)
        .group_by("position", maintain_order=True)
        .agg(
            time=pl.col("time").first(),
            mode_instead=pl.col("mode_x").first(),
            count=pl.len(),
            ledger_input=pl.col("input").first(),
            ledger_row=pl.col("row").first(),
            exchange_input=pl.col("input_x").first(),
            exchange_row=pl.col("row_x").first(),
        )
    )
    modes = of_mode.with_columns(
        step=pl.lit(1, pl.UInt32),
        cause=pl.lit("mode"),
        certainty=pl.lit("proved"),
        hypothesis=pl.format("{} of its events are in mode {} at the exchange", "count", "mode_instead"),
    )
    numbered = single.with_columns(
        step=pl.int_range(1, pl.len() + 1, dtype=pl.UInt32).over("position")
        + pl.col("position").is_in(of_mode["position"].implode()).cast(pl.UInt32),
        certainty=pl.lit("proved"),
        alternatives=_alternatives(),
        hypothesis=_words(),
        removed_id=pl.col("event_id"),
        added_id=pl.when(pl.col("exchange_number").is_not_null()).then(
            pl.format("exchange {}", pl.col("exchange_number"))
        ),
        ledger_input="input",
        ledger_row="row",
        exchange_input="input_x",
        exchange_row="row_x",
        time="moment",
    )
    steps = pl.concat([correction_steps(modes), correction_steps(numbered)]).sort(
        "position", "step", maintain_order=True
    )
    return Corrections(steps, _added(numbered, ledger, exchange))


def _alternatives() -> pl.Expr:
    """A single event beyond the other side's end can be one that is missing, as well as a matter of cut-off."""
    alone = pl.len().over("position", "found", "cause") == 1
    kinds = {"trade": "fill", "interest": "interest", "margin": "margin_change"}
    sort = pl.coalesce("sort", "sort_x").replace_strict(kinds, default="other", return_dtype=pl.String)
    is_margin = sort == "margin_change"
    missing = pl.when(is_margin).then(pl.lit("margin_change_missing")).otherwise("missing_" + sort)
    extra = pl.when(is_margin).then(pl.lit("margin_change_extra")).otherwise("extra_" + sort)
    known = sort != "other"
    return (
        pl.when((pl.col("cause") == "cut_off") & alone & known & (pl.col("found") == "only_at_exchange"))
        .then(missing)
        .when((pl.col("cause") == "cut_off") & alone & known & (pl.col("found") == "only_in_ledger"))
        .then(extra)
    )


def _words() -> pl.Expr:
    """What the correction is, in words."""

    def event(suffix: str) -> pl.Expr:
        def of(name: str) -> pl.Expr:
            return pl.col(f"{name}{suffix}").cast(pl.String)

        def amount(name: str) -> pl.Expr:
            return in_digits(of(name))

        trade = pl.format("{} of {} at {}", of("side"), amount("quantity"), amount("price"))
        other = pl.format("{} of {} {}", of("kind"), amount("amount"), of("currency"))
        what = pl.coalesce(pl.when(pl.col(f"sort{suffix}").is_in(["trade", "opening"])).then(trade), other, of("kind"))
        return pl.format("{} ({})", what, of("event_id"))

    return (
        pl.when(pl.col("found") == "only_at_exchange")
        .then(pl.format("the ledger lacks the {}", event("_x")))
        .when(pl.col("found") == "only_in_ledger")
        .then(pl.format("the exchange does not have the {}", event("")))
        .otherwise(pl.format("the {}: {}", event(""), "differs_in"))
    )


def correction_steps(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows in the columns of CORRECTION_SCHEMA, those that are absent empty."""
    absent = [pl.lit(None, dtype).alias(name) for name, dtype in CORRECTION_SCHEMA.items() if name not in rows.columns]
    return rows.with_columns(absent).select(pl.col(name).cast(dtype) for name, dtype in CORRECTION_SCHEMA.items())


def _added(numbered: pl.DataFrame, ledger: pl.DataFrame, exchange: pl.DataFrame) -> pl.DataFrame:
    """The exchange's events as the ledger would have them: what the exchange does not state is the ledger's."""
    own = ledger.with_row_index("ledger_number").select(
        "ledger_number", "sequence", leverage_own="leverage", amount_own="amount", reduce_only_own="reduce_only"
    )
    known = numbered.filter(pl.col("added_id").is_not_null()).select("ledger_number", "exchange_number", "added_id")
    joined = known.join(
        exchange.drop("sequence").with_row_index("exchange_number"), on="exchange_number", maintain_order="left"
    )
    joined = joined.join(own, on="ledger_number", how="left", maintain_order="left")
    placed = _placed(joined, ledger)
    return placed.with_columns(
        event_id=pl.col("added_id"),
        leverage=pl.coalesce("leverage", "leverage_own"),
        amount=pl.coalesce("amount", "amount_own"),
        reduce_only=pl.coalesce("reduce_only_own", "reduce_only"),
    ).select(*schema(EVENTS), "sequence", "added_id")


def _placed(added: pl.DataFrame, ledger: pl.DataFrame) -> pl.DataFrame:
    """The events with their `sequence` among the ledger's: interest first at its moment, the rest last."""
    before = ledger.select("position", "time", last="sequence").sort("time", "last")
    early = pl.when(pl.col("kind") == "interest").then(pl.col("time") - pl.duration(microseconds=1)).otherwise("time")
    found = (
        added.with_row_index("place")
        .with_columns(moment=early)
        .sort("moment")
        .join_asof(
            before, left_on="moment", right_on="time", by="position", strategy="backward", check_sortedness=False
        )
    )
    place = pl.coalesce("sequence", pl.col("last") + 1, 0)
    return found.sort("place").with_columns(sequence=place.cast(pl.Int64)).drop("place")


def assumed(position: str, answers: Sequence[tuple[Sequence[Hypothesis], str]]) -> Corrections:
    """The corrections of a search: answers in order, each with the causes that would do as well."""
    steps, added = [], []
    for step, (answer, alternatives) in enumerate(answers, start=1):
        for number, part in enumerate(answer):
            added_id = f"{position} {step} {number}" if part.added else None
            source = part.removed or {}
            steps.append(
                {
                    "position": position,
                    "step": step,
                    "time": part.time,
                    "cause": part.cause,
                    "certainty": "ambiguous" if alternatives else "guessed" if part.guesses else "fits",
                    "alternatives": alternatives or None,
                    "hypothesis": part.words,
                    "removed_id": source.get("event_id"),
                    "added_id": added_id,
                    "ledger_input": source.get("input"),
                    "ledger_row": source.get("row"),
                }
            )
            if part.added:
                added.append({**part.added, "event_id": added_id, "added_id": added_id})
    empty = no_corrections()
    names = empty.added.columns
    rows = [{name: row.get(name) for name in names} for row in added]
    return Corrections(
        pl.DataFrame(steps, schema=CORRECTION_SCHEMA), pl.DataFrame(rows, schema=empty.added.schema, orient="row")
    )


def grouped(corrections: Corrections, events: pl.DataFrame) -> Corrections:
    """The corrections with few enough steps for each position: where there are many, some are made together."""
    counts = events.group_by("position").agg(events=pl.len())
    steps = corrections.steps.join(counts, on="position", how="left", maintain_order="left")
    allowed = (_MOST_REPLAYED // pl.col("events").fill_null(1).clip(1)).clip(1, _MOST_STEPS)
    last = pl.col("step").max().over("position")
    together = (pl.col("step") - 1) * allowed // last + 1
    step = pl.when(last > allowed).then(together).otherwise("step").cast(pl.UInt32)
    return Corrections(steps.with_columns(step=step).select(CORRECTION_SCHEMA.names()), corrections.added)


def stepwise(corrections: Corrections, events: pl.DataFrame, policies: Policies) -> pl.DataFrame:
    """The histories (see `variants.histories`) after each step, with `position` and `step`, 0 being the ledger's own.

    `events` has EVENTS, `position` and `sequence` of the positions. A step that breaks the course of its position has
    no history.
    """
    last = corrections.steps.group_by("position", maintain_order=True).agg(last=pl.col("step").max())
    every = last.with_columns(step=pl.int_ranges(0, pl.col("last") + 1, dtype=pl.UInt32)).explode("step")
    variants = every.drop("last").with_row_index("variant")
    pairs = variants.join(corrections.steps, on="position", suffix="_made").filter(
        pl.col("step_made") <= pl.col("step")
    )
    mode = pairs.filter(pl.col("mode_instead").is_not_null()).group_by("variant").agg(pl.col("mode_instead").last())
    edits = Edits(
        variants.join(mode, on="variant", how="left", maintain_order="left").select(*VARIANT_SCHEMA),
        pairs.filter(pl.col("removed_id").is_not_null()).select("variant", event_id="removed_id"),
        pairs.join(corrections.added, on="added_id").select(
            pl.col(name).cast(dtype) for name, dtype in ADDED_SCHEMA.items()
        ),
    )
    return histories(events, edits, policies).join(variants, on="variant", how="left", maintain_order="left")
