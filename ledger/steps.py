"""What can be done between reading events and replaying them."""

from collections.abc import Iterator
from typing import Protocol

import polars as pl


class Step(Protocol):
    """A step between the events and their replay, and what is left of it when the ledger is there."""

    frame_names: tuple[str, ...]
    """Frames that the step gives besides those of the replay."""

    def pieces(self, events: pl.DataFrame, index: pl.DataFrame) -> Iterator[pl.DataFrame]:
        """The events in pieces of whole positions, few enough for each to fit in memory."""

    def among(self, events: pl.DataFrame, index: pl.DataFrame) -> pl.DataFrame:
        """The events of a piece as they are replayed, in order."""

    def traced(self, ledger: pl.DataFrame) -> pl.DataFrame:
        """The ledger of that piece, with the file and row that each event comes from."""

    def frames(self, ledger: pl.DataFrame, index: pl.DataFrame) -> tuple[dict[str, pl.DataFrame], list[pl.DataFrame]]:
        """The frames of the step for that piece, and the findings of their checks."""

    def unclaimed(self) -> tuple[dict[str, pl.DataFrame], list[pl.DataFrame]]:
        """The rows of the frames that belong to no position, and the findings of their checks."""
