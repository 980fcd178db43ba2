"""From numbered events back to the files and rows they come from."""

from collections.abc import Iterator

import polars as pl

from ledger.columns import LEDGER, schema


class Sources:
    """A step of the run that gives every row of the ledger the file and row its event comes from.

    The replay reads file and row as the order of events of one moment. Here the order is known, and files may run
    backwards; so events are numbered, and the ledger is told afterwards where they stand.
    """

    frame_names: tuple[str, ...] = ()

    def __init__(self, events: pl.DataFrame) -> None:
        self._input, self._row = events["input"], events["row"]

    def pieces(self, events: pl.DataFrame, index: pl.DataFrame) -> Iterator[pl.DataFrame]:
        """The batch as it is."""
        yield events

    def among(self, events: pl.DataFrame, index: pl.DataFrame) -> pl.DataFrame:
        """The events as they are."""
        return events

    def traced(self, ledger: pl.DataFrame) -> pl.DataFrame:
        """The ledger with the file and row of each event."""
        place = ledger["row"] - 1
        return ledger.with_columns(input=self._input.gather(place), row=self._row.gather(place)).select(*schema(LEDGER))

    def frames(self, ledger: pl.DataFrame, index: pl.DataFrame) -> tuple[dict[str, pl.DataFrame], list[pl.DataFrame]]:
        """None."""
        return {}, []

    def unclaimed(self) -> tuple[dict[str, pl.DataFrame], list[pl.DataFrame]]:
        """None."""
        return {}, []

    def told(self, refusals: pl.DataFrame, names: dict[int, str]) -> pl.DataFrame:
        """Refusals of numbered events, with the file and row of each."""
        place = refusals["row"].fill_null(1) - 1
        files = self._input.gather(place).replace_strict(names, default="", return_dtype=pl.String)
        known = refusals["row"].is_not_null()
        return refusals.with_columns(
            file=pl.when(known).then(files).otherwise("file"), row=pl.when(known).then(self._row.gather(place))
        )
