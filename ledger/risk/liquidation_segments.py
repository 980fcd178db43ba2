"""The segments of a life: it is cut at its recorded liquidations, so that each of them ends one.

What was due in a segment is held against the liquidation that ends it. A segment is told like a life of its own: the
rows of the ledger that say something of a moment, with the number of the segment in place of the episode.
"""

from collections.abc import Sequence
from datetime import timedelta

import polars as pl

from ledger.columns import TIME
from ledger.history import LEDGER_COLUMNS
from ledger.money import ZERO

LOOK_AHEAD = timedelta(days=1)
"""How long after a recorded liquidation its position is looked at as if it stood, to see whether it was early [D]."""
_LIFE = ("position", "episode")
_BALANCES = ("base_closing", "quote_closing", "margin_closing")
_KEPT = ("mode", "leverage", "entry_price")
"""What the ledger says of a position besides its balances, and a liquidation does not change."""
_NOT_BOOKED = (pl.lit(None, pl.UInt32).alias("booked_event"), pl.lit(None, TIME).alias("booked_at"))


def segments_of(ledger: pl.DataFrame) -> pl.DataFrame:
    """The rows of a ledger by segment (see `cut_at_liquidations`): LEDGER_COLUMNS, mode, leverage, entry_price."""
    live = ledger.filter(pl.col("direction").is_not_null()).select(*LEDGER_COLUMNS, "kind", *_KEPT)
    return cut_at_liquidations(live, _BALANCES).drop("kind")


def cut_at_liquidations(live: pl.DataFrame, balances: Sequence[str]) -> pl.DataFrame:
    """The rows of lives (position, episode, event_number, time, kind, action, `balances`) with their `segment`.

    A segment begins with the opening of the life or with a recorded liquidation in part, and ends with the next
    recorded liquidation, with the close of the life, or not. `booked_event` is the event of the liquidation that ends
    it, and `booked_at` its time, on that row only. That row is a close, and stands where the unchanged position is no
    longer looked at: at the next event of the position, or LOOK_AHEAD later. So a mark of the liquidation's own time,
    and the marks after it, find the position as it was before.
    """
    times = live.select("position", "time").unique(maintain_order=True)
    following = pl.when(pl.col("position").shift(-1) == pl.col("position")).then(pl.col("time").shift(-1))
    live = live.join(
        times.with_columns(following=following), on=["position", "time"], how="left", maintain_order="left"
    )
    liquidates, closes = pl.col("kind") == "liquidation", pl.col("action") == "close"
    begins = pl.any_horizontal(pl.col(name).ne_missing(pl.col(name).shift(1)) for name in _LIFE)
    live = live.with_columns(segment=(begins | (liquidates & ~closes)).cast(pl.UInt32).cum_sum())
    ends = live.filter(liquidates).with_columns(
        segment=pl.when(closes).then("segment").otherwise(pl.col("segment") - 1).cast(pl.UInt32),
        booked_event="event_number",
        booked_at="time",
        time=pl.min_horizontal(pl.col("time") + LOOK_AHEAD, "following"),
        action=pl.lit("close").cast(live["action"].dtype),
        **dict.fromkeys(balances, ZERO),
    )
    others = live.filter(~(liquidates & closes)).with_columns(*_NOT_BOOKED)
    return pl.concat([others, ends], how="diagonal").sort("segment", maintain_order=True).drop("following")


def continued(reduced: pl.DataFrame, segments: pl.DataFrame) -> pl.DataFrame:
    """The positions as liquidations in part leave them, by segment: the same columns as `segments_of` gives.

    `reduced` has segment, position, episode, event_number, time, the balances after the step, `direction` and what a
    liquidation does not change. A position stands until its life is closed in the ledger.
    """
    stands = reduced.with_columns(*_NOT_BOOKED, action=pl.lit("open").cast(segments["action"].dtype)).select(
        segments.columns
    )
    closed = segments.filter(
        pl.col("action") == "close",
        pl.col("booked_event").is_null(),
        pl.col("segment").is_in(reduced["segment"].implode()),
    )
    return pl.concat([stands, closed]).sort("segment", maintain_order=True)


def told(segments: pl.DataFrame) -> pl.DataFrame:
    """The segments as lives: the columns of a ledger that say something of a moment."""
    return segments.with_columns(episode="segment").select(LEDGER_COLUMNS)
