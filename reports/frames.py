"""The frames of a run, read from its folder, each with exactly the columns of the registry."""

from collections.abc import Callable, Mapping
from pathlib import Path

import polars as pl

from ledger.columns import FRAMES, TIME, Column, schema
from ledger.derivatives.columns import DERIVATIVE_FRAMES
from ledger.interest.columns import INTEREST_FRAMES
from ledger.money import INTEGER_DIGITS, MONEY, SCALE
from ledger.reconciliation.columns import RECONCILIATION_FRAMES
from ledger.refusals import LedgerError
from ledger.risk.columns import RISK_FRAMES
from ledger.statements.columns import STATEMENT_FRAMES

_ENDINGS = (".parquet", ".csv")
_MONEY_TEXT = rf"^-?\d{{1,{INTEGER_DIGITS}}}(\.\d{{1,{SCALE}}})?$"


def read_frames(directory: Path) -> dict[str, pl.DataFrame]:
    """The frames a replay wrote to a directory, as Parquet or CSV, with exactly the schemas of FRAMES.

    Those of interest, risk, derivatives and a reconciliation are read too if any is there. Amounts in CSV are cast from
    text.
    Raises LedgerError when a file is missing, cannot be read or was not written by a replay.
    """
    wanted = wanted_frames(lambda name: any((directory / f"{name}{ending}").is_file() for ending in _ENDINGS))
    return {name: _read_frame(directory, name, columns) for name, columns in wanted.items()}


def refuse_other_frames(frames: Mapping[str, pl.DataFrame]) -> None:
    """Raise LedgerError where these are not the frames of a run, those of each group all or none, or prove nothing."""
    for name, columns in wanted_frames(lambda name: name in frames).items():
        if name not in frames or frames[name].schema != schema(columns):
            raise LedgerError(f"{name}: not the frame of a replay; give the frames that replay returned")
    if frames["checks"].is_empty():
        raise LedgerError("checks: empty; a workbook without a check would prove nothing")


def wanted_frames(is_there: Callable[[str], bool]) -> dict[str, tuple[Column, ...]]:
    """The frames a workbook is made of: those of a replay, and each group of others of which one is there."""
    groups = (INTEREST_FRAMES, {**STATEMENT_FRAMES, **RECONCILIATION_FRAMES}, RISK_FRAMES, DERIVATIVE_FRAMES)
    return FRAMES | {name: columns for group in groups if any(map(is_there, group)) for name, columns in group.items()}


def _read_frame(directory: Path, name: str, columns: tuple[Column, ...]) -> pl.DataFrame:
    readers: dict[str, Callable[[Path, tuple[Column, ...]], pl.DataFrame]] = {
        ".parquet": lambda path, _: pl.read_parquet(path),
        ".csv": _read_csv,
    }
    for ending, read in readers.items():
        path = directory / f"{name}{ending}"
        if path.is_file():
            try:
                frame = read(path, columns)
            except (pl.exceptions.PolarsError, OSError) as error:
                raise LedgerError(f"{path}: cannot be read as what a replay writes ({_first_line(error)})") from error
            if frame.schema != schema(columns):
                raise LedgerError(f"{path}: {_difference(frame.schema, columns)}; run replay again")
            return frame
    raise LedgerError(f"{directory / name}.parquet (or .csv): missing; give the folder that replay wrote with --out")


def _read_csv(path: Path, columns: tuple[Column, ...]) -> pl.DataFrame:
    frame = pl.read_csv(path, infer_schema=False)
    if frame.columns != [column.name for column in columns]:
        return frame
    return frame.select(_from_text(column) for column in columns)


def _from_text(column: Column) -> pl.Expr:
    """A CSV column in its own type; raises a Polars error at a value that is not of that type."""
    text = pl.col(column.name)
    if column.dtype == MONEY:
        # More digits than the type has would be rounded without a word: such text is no amount of ours.
        return pl.when(text.str.contains(_MONEY_TEXT)).then(text).otherwise(text + "?").cast(MONEY)
    if column.dtype == TIME:
        return text.str.to_datetime(time_unit="us", time_zone="UTC", strict=True)
    if column.dtype == pl.Boolean:
        return text.replace_strict({"true": True, "false": False}, return_dtype=pl.Boolean)
    return text.cast(column.dtype)


def _difference(found: pl.Schema, columns: tuple[Column, ...]) -> str:
    expected = schema(columns)
    missing = [name for name in expected if name not in found]
    if missing:
        return f"column {missing[0]} is missing"
    for name, dtype in expected.items():
        if found[name] != dtype:
            return f"column {name} is {found[name]}, not {dtype}"
    strange = [name for name in found if name not in expected]
    return f"column {strange[0]} is not one of a replay" if strange else "the columns are in another order"


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
