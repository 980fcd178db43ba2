"""What the engine makes of orders: each is filled on a copy of its position's events, which no other order sees.

A copy has only the events since the position was last closed between two events: what came before moves no balance of
the life that stands. The leverage in force, which does outlast a close, is put into the copied events.
"""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from decimal import Decimal

import polars as pl

from ledger.book import replay_batch
from ledger.cells import empty_cells
from ledger.columns import LEDGER, schema
from ledger.events import REQUIRED, rules_for
from ledger.money import INTEGER_DIGITS
from ledger.ordering import POSITION_KEY, index_positions, typed_events, with_positions
from ledger.policies import Policies
from ledger.reading import EVENTS_SCHEMA
from ledger.refusals import REFUSAL_SCHEMA, BadInput, refuse_file
from ledger.replay import ledger_of, replay_parts
from ledger.rules import broken_rules, refusals_of
from ledger.sequence_rules import repeated_refusals, sequence_refusals

LATEST = datetime(2100, 12, 31, tzinfo=UTC)
"""When an order without a time is placed: after all that the files hold."""
FILL, EARLIER_FILL = 65_535, 65_534
"""Inputs of the fill that is asked about, and of orders filled before it: later than every file of one time."""
_ASKED = "order"
_TOGETHER = 250_000
"""Rows replayed together, unless one order has more."""


def replayed(
    events: pl.DataFrame, policies: Policies, files: Mapping[int, str] | None = None
) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """The typed events (EVENTS, `input`, `row`), their ledger (LEDGER) and the index of their positions.

    `files` names the inputs by number. Raises BadInput with all refusals, as `ledger.replay` does.
    """
    names = dict(files or {})
    typed = typed_events(events)
    empty = empty_cells(typed, REQUIRED)
    _refuse(refusals_of("events", typed, empty + broken_rules(typed, rules_for(policies), empty)))
    _refuse(repeated_refusals(typed, names))
    index = index_positions(typed)
    batch = replay_batch(with_positions(typed, index), index, policies, names, sample=False)
    _refuse(batch.refusals)
    return typed, batch.ledger, index


def standing_events(events: pl.DataFrame, ledger: pl.DataFrame) -> pl.DataFrame:
    """The events beside the state they leave, in the order of the positions' courses.

    Columns: those of the events, and `chain` (numbers the stretches of a position between two closes), `is_open`,
    `mode_in_force`, `leverage_in_force` after the event. `ledger` is theirs.
    """
    last = pl.col("event_id").ne_missing(pl.col("event_id").shift(-1))
    is_open = pl.col("action").is_in(["close", "leftover"]).not_() & pl.col("direction").is_not_null()
    states = ledger.filter(last).select(
        "event_id",
        is_open=is_open,
        leverage_in_force="leverage",
        chain=(~is_open).cast(pl.UInt32).cum_sum() + is_open.cast(pl.UInt32),
    )
    states_of = states.join(events, on="event_id", how="left", maintain_order="left")
    return states_of.with_columns(mode_in_force=pl.when("is_open").then("mode"))


def state_at(orders: pl.DataFrame, standing: pl.DataFrame) -> pl.DataFrame:
    """The orders in their order with `chain`, `mode_in_force` and `leverage_in_force` at their `moment`.

    `chain` is empty where nothing is open then. `standing` comes from `standing_events`.
    """
    at = standing.select(*POSITION_KEY, "time", "is_open", "chain", "mode_in_force", "leverage_in_force")
    found = (
        orders.sort("moment", maintain_order=True)
        .join_asof(
            at.sort("time", maintain_order=True),
            left_on="moment",
            right_on="time",
            by=POSITION_KEY,
            check_sortedness=False,
            coalesce=True,
        )
        .sort("number")
    )
    return found.with_columns(chain=pl.when("is_open").then("chain")).drop("is_open")


def slices(orders: pl.DataFrame, standing: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """The orders in their order, so many at a time that the events they find are few enough to be held in memory."""
    key = ["chain", *POSITION_KEY]
    sizes = orders.select(key).join(standing.group_by(key).len(), on=key, how="left", maintain_order="left")["len"]
    found = sizes.fill_null(0).cast(pl.UInt64) + 1
    for _, piece in orders.group_by((found.cum_sum() - found) // _TOGETHER, maintain_order=True):
        yield piece


def copies(orders: pl.DataFrame, standing: pl.DataFrame) -> pl.DataFrame:
    """The events that an order finds, one row per order and event, under the order's number as their account.

    `orders` come from `state_at`; `standing` from `standing_events`.
    """
    wanted = orders.filter(pl.col("chain").is_not_null()).select("number", "moment", "chain", *POSITION_KEY)
    posts = pl.col("kind").is_in(["fill", "opening"])
    return (
        wanted.join(standing, on=["chain", *POSITION_KEY], how="inner", maintain_order="left_right")
        .filter(pl.col("time") <= pl.col("moment"))
        .with_columns(
            account=pl.col("number").cast(pl.String),
            leverage=pl.when(posts).then("leverage_in_force").otherwise("leverage"),
        )
        .select(EVENTS_SCHEMA.names())
    )


def fills_of(orders: pl.DataFrame, standing: pl.DataFrame) -> pl.DataFrame:
    """The orders as fills (EVENTS, `input`, `row`): not before any event that they find.

    `row` is the order's number.
    """
    latest = standing["time"].max()
    now = pl.min_horizontal("moment", pl.lit(latest or LATEST, orders.schema["moment"]))
    base, quote = (pl.col("instrument").str.splitn("-", 2).struct.field(f"field_{leg}") for leg in (0, 1))
    fills = orders.with_columns(
        time=now,
        event_id=pl.format("order {}", "number"),
        account=pl.col("number").cast(pl.String),
        kind=pl.lit("fill"),
        fee_currency=pl.when(pl.col("side") == "buy").then(base).otherwise(quote),
        input=pl.lit(FILL, pl.UInt16),
        row=pl.col("number").cast(pl.UInt32),
    )
    return in_schema(fills, EVENTS_SCHEMA)


def in_schema(rows: pl.DataFrame, types: pl.Schema) -> pl.DataFrame:
    """The columns of a schema in their types; those that the rows lack are empty."""
    absent = [pl.lit(None, dtype).alias(name) for name, dtype in types.items() if name not in rows.columns]
    return rows.with_columns(absent).select(pl.col(name).cast(dtype) for name, dtype in types.items())


def replayed_apart(events: pl.DataFrame, policies: Policies) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The ledger rows (LEDGER) of the fills asked about, and what is wrong with which of them (REFUSAL_SCHEMA).

    `events` has those of positions told apart by account; the fills have FILL as their input. One that is refused has
    rows in the ledger all the same, and moves no other. Raises BadInput where amounts are too large to be added up.
    """
    ledgers, refusals = [schema(LEDGER).to_frame()], [REFUSAL_SCHEMA.to_frame()]
    for piece in _pieces(events):
        index = index_positions(piece)
        parts = replay_parts(with_positions(piece, index), policies)
        refusals.append(sequence_refusals(parts, {FILL: _ASKED}).filter(pl.col("file") == _ASKED))
        ledgers.append(ledger_of(parts, index, policies).filter(pl.col("input") == FILL))
    return pl.concat(ledgers), pl.concat(refusals)


def _pieces(events: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """The events of whole accounts, so few at a time that no running total can leave the money type."""
    traded = pl.col("quantity") * pl.col("price")
    largest = (
        events.select(pl.max_horizontal(pl.col("quantity", "value", "fee", "amount").abs(), traded)).to_series().max()
    )
    room = 10**INTEGER_DIGITS // (8 * (int(largest) + 1)) if isinstance(largest, Decimal) else _TOGETHER
    sizes = events.group_by("account", maintain_order=True).len()
    if int(sizes["len"].max() or 0) > room:  # type: ignore[arg-type]
        rule = "The amounts of a position and an order on it must sum to less than 10^20."
        raise refuse_file("orders", rule, "Check their units.")
    before = pl.col("len").cum_sum() - pl.col("len")
    placed = sizes.select("account", piece=before // min(room, _TOGETHER))
    for _, rows in events.join(placed, on="account", how="left", maintain_order="left").group_by(
        "piece", maintain_order=True
    ):
        yield rows.drop("piece")


def _refuse(refusals: pl.DataFrame) -> None:
    if refusals.height:
        raise BadInput(refusals)
