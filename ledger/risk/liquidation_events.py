"""The liquidations that were due as events, replayed by the engine: the ledger and the postings they would have."""

import polars as pl

from ledger.book import replay_batch
from ledger.columns import EVENTS, LEDGER, POSTINGS, schema
from ledger.ordering import POSITION_KEY, index_positions, typed_events, with_positions
from ledger.policies import Policies
from ledger.postings import posting_amounts, postings_of
from ledger.refusals import BadInput

_LONG = pl.col("is_long") == 1
_OF_TRADES = ("time", "segment", *POSITION_KEY[1:], "mode")


def replayed(steps: pl.DataFrame, index: pl.DataFrame, policies: Policies) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The ledger (LEDGER and `segment`, `step_number`) and the postings (POSTINGS) of steps of liquidations.

    `steps` has the steps of each segment in order: what `liquidation.steps_at` gives, the balances before each step as
    `base_before` and so on, segment, step_number (counted through the segment), event_id, position, episode,
    event_number, time, mark_price, is_long, mode, leverage and entry_price. Each segment is replayed from an opening
    balance: the state at its first step. Interest not yet charged is charged by an event before a full liquidation.
    The opening balances are no rows of the result; event numbers go on from that of the state. `index` comes from
    `ordering.index_positions`. Raises BadInput where the amounts are too large to be replayed together.
    """
    known = steps.join(index.select("position", *POSITION_KEY), on="position", how="left", maintain_order="left")
    known = known.with_columns(segment=pl.col("segment").cast(pl.String))
    first = known.filter(pl.col("segment").is_first_distinct())
    events = pl.concat([_openings(first), _charges(known), _liquidations(known)], how="diagonal_relaxed").sort(
        "segment", "order", maintain_order=True
    )
    # The segment stands in the account's place, so that each is a position of its own.
    typed = typed_events(events.rename({"segment": "account"}).with_columns(reduce_only=pl.lit(value=False)))
    typed = typed.cast(dict(schema(EVENTS)))  # type: ignore[arg-type]
    own = index_positions(typed)
    ledger = _named(_ledger_of(with_positions(typed, own), own, policies), own, known, events)
    rows = ledger.select(schema(LEDGER).names())
    return ledger, postings_of(posting_amounts(rows, index)).select(schema(POSTINGS).names())


def _ledger_of(events: pl.DataFrame, own: pl.DataFrame, policies: Policies) -> pl.DataFrame:
    """The ledger of the events, of fewer segments at a time where all of them are too large to be replayed together."""
    batch = replay_batch(events, own, policies, {}, sample=False)
    if not batch.refusals.height:
        return batch.ledger
    numbers = events["position_number"].unique().sort()
    if numbers.len() < 2:
        raise BadInput(batch.refusals)
    is_first = pl.col("position_number") < numbers[numbers.len() // 2]
    return pl.concat(_ledger_of(events.filter(half), own, policies) for half in (is_first, ~is_first))


def _openings(first: pl.DataFrame) -> pl.DataFrame:
    """The state of each segment before its first step, as a balance brought forward."""
    sign = pl.when(_LONG).then(1).otherwise(-1)
    return first.select(
        *_OF_TRADES,
        "leverage",
        order=pl.lit(0, pl.Int64),
        kind=pl.lit("opening"),
        side=pl.when(_LONG).then(pl.lit("buy")).otherwise(pl.lit("sell")),
        quantity=pl.col("base_before") * sign,
        price="entry_price",
        value=-pl.col("quote_before") * sign,
        amount="margin_before",
        event_id=pl.concat_str("event_id", pl.lit(" state")),
    )


def _charges(steps: pl.DataFrame) -> pl.DataFrame:
    interest = pl.when(_LONG).then("quote_interest_before").otherwise("base_interest_before")
    base, quote = (pl.col("instrument").str.split("-").list.get(place) for place in (0, 1))
    return steps.filter((pl.col("step") == "full") & (interest > 0)).select(
        *_OF_TRADES,
        order=pl.col("step_number").cast(pl.Int64) * 2 - 1,
        kind=pl.lit("interest"),
        amount=interest,
        currency=pl.when(_LONG).then(quote).otherwise(base),
        event_id=pl.concat_str("event_id", pl.lit(" interest")),
    )


def _liquidations(steps: pl.DataFrame) -> pl.DataFrame:
    base, quote = (pl.col("instrument").str.split("-").list.get(place) for place in (0, 1))
    return steps.select(
        *_OF_TRADES,
        "event_id",
        order=pl.col("step_number").cast(pl.Int64) * 2,
        kind=pl.lit("liquidation"),
        side=pl.col("side").cast(pl.String),
        quantity="quantity_due",
        price="mark_price",
        value="value_due",
        fee="fee_due",
        fee_currency=pl.when(_LONG).then(quote).otherwise(base),
    )


def _named(ledger: pl.DataFrame, own: pl.DataFrame, steps: pl.DataFrame, events: pl.DataFrame) -> pl.DataFrame:
    """The rows of the ledger but the opening balances, under the names of the positions whose segments they are."""
    of_segment = steps.filter(pl.col("segment").is_first_distinct()).select(
        "segment", real="position", life="episode", before="event_number"
    )
    of_event = events.select("event_id", step_number=(pl.col("order") + 1) // 2)
    known = ledger.filter(pl.col("kind") != "opening").join(
        own.select("position", segment="account"), on="position", how="left", maintain_order="left"
    )
    known = known.join(of_segment, on="segment", how="left", maintain_order="left")
    known = known.join(of_event, on="event_id", how="left", maintain_order="left")
    return known.with_columns(
        pl.col("segment").cast(pl.UInt32),
        pl.col("step_number").cast(pl.UInt32),
        position="real",
        episode="life",
        event_number=(pl.col("before") + pl.col("event_number") - 1).cast(pl.UInt32),
        input=pl.lit(None, pl.UInt16),
        row=pl.lit(None, pl.UInt32),
    ).sort("segment", "event_number", "part", maintain_order=True)
