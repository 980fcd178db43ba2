"""CSV, Parquet, NDJSON and JSON files as batches of raw rows: cells as the file has them, nothing interpreted."""

import csv
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from ledger.cells import check_types
from ledger.json_files import json_batches, json_names, ndjson_batches, ndjson_names
from ledger.refusals import refuse_file
from ledger.tables import UTF_16, RawBatch, Table, refusals_frame

_BROKEN = (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError)


@dataclass(frozen=True)
class _Format:
    names: Callable[[Path], list[str]]
    batches: Callable[[Path, Table, int], Iterator[RawBatch]]


def raw_batches(path: Path, table: Table, batch_rows: int) -> Iterator[RawBatch]:
    """The rows of a file in order, at most `batch_rows` at a time. Raises BadInput if it is no such table."""
    with _readable(path) as file_format:
        yield from file_format.batches(path, table, batch_rows)


def column_names(path: Path) -> list[str]:
    """Names of a file's columns, to tell what it is; of NDJSON the keys of the first record. Raises BadInput."""
    with _readable(path) as file_format:
        return file_format.names(path)


@contextmanager
def _readable(path: Path) -> Iterator[_Format]:
    """The format of a file; raises BadInput when it is no file, and when reading it shows that it is damaged."""
    file = str(path)
    if path.is_dir():
        raise refuse_file(file, "The input is a folder.", "Name the files in it.")
    if not path.exists():
        raise refuse_file(file, "The file does not exist.", "Check its name.")
    if path.suffix.lower() not in _FORMATS:
        raise refuse_file(file, "The format of the file is not known.", f"Use {', '.join(_FORMATS)}.")
    try:
        if path.stat().st_size == 0:
            raise refuse_file(file, "The file is empty.", "Export it again.")
        yield _FORMATS[path.suffix.lower()]
    except _BROKEN as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise refuse_file(file, f"The file is damaged or cut off: {reason}.", "Export or copy it again.") from error


# --- Parquet ------------------------------------------------------------------------------------------------


def _parquet_schema(path: Path) -> pl.Schema:
    with path.open("rb") as stream:
        if stream.read(4) != b"PAR1":
            raise refuse_file(str(path), "The file is not a Parquet file.", "Name it after its format.")
    return pl.scan_parquet(path, glob=False).collect_schema()


def _parquet(path: Path, table: Table, batch_rows: int) -> Iterator[RawBatch]:
    schema = _parquet_schema(path)
    table.check_names(str(path), schema.names())
    check_types(str(path), schema, table.columns)
    rows = pl.scan_parquet(path, glob=False).select(pl.len()).collect().item()
    numbered = pl.scan_parquet(path, glob=False, row_index_name="row", row_index_offset=1)
    known = numbered.select("row", *(name for name in schema if name in table.names))
    for start in range(0, rows, batch_rows):
        yield RawBatch(known.slice(start, batch_rows).collect(), refusals_frame([]))


# --- CSV ----------------------------------------------------------------------------------------------------


def _csv(path: Path, table: Table, batch_rows: int) -> Iterator[RawBatch]:
    header = _csv_header(path)
    table.check_names(str(path), header)
    ragged = _ragged_rows(path, len(header))
    scan = pl.scan_csv(
        path,
        schema=dict.fromkeys(header, pl.String),
        truncate_ragged_lines=True,  # those rows are refused by `_ragged_rows`
        row_index_name="row",
        row_index_offset=2,
        glob=False,
    )
    known = [name for name in header if name in table.names]
    first = True
    for frame in scan.collect_batches(chunk_size=batch_rows, maintain_order=True):
        filled = frame.filter(pl.any_horizontal(pl.exclude("row").is_not_null()))
        rows = filled if not ragged.height else filled.join(ragged, on="row", how="anti", maintain_order="left")
        yield RawBatch(rows.select("row", *known), ragged if first else ragged.clear())
        first = False


def _csv_header(path: Path) -> list[str]:
    """Names in the first row; raises BadInput when the file is no text in UTF-8 with commas."""
    file = str(path)
    with path.open("rb") as stream:
        line = stream.readline()
    if line.startswith(UTF_16) or b"\x00" in line:
        raise refuse_file(file, "The file is not in UTF-8 but in UTF-16 or binary.", "Save it as CSV UTF-8.")
    try:
        text = line.decode("utf-8-sig").rstrip("\r\n")
    except UnicodeDecodeError:
        raise refuse_file(file, "The header is not in UTF-8.", "Save it as CSV UTF-8.") from None
    if "\r" in text:
        raise refuse_file(file, "Lines end in a bare carriage return.", "Save it with line feeds.")
    names = next(csv.reader([text]), [])
    if len(names) == 1 and any(separator in names[0] for separator in ";\t|"):
        raise refuse_file(file, "The columns are not separated by commas.", "Save it with commas.")
    return names


def _ragged_rows(path: Path, width: int) -> pl.DataFrame:
    """Refusals of rows with more or fewer cells than the header: Polars cuts or fills them in silence."""
    line = pl.col("line")
    commas = line.str.count_matches(",", literal=True)
    regular = (commas == width - 1) & ~line.str.contains('"', literal=True) | (line.str.len_bytes() <= 1)
    try:
        if pl.scan_lines(path, glob=False).select(regular.all()).collect(engine="streaming").item():
            return refusals_frame([])
    except pl.exceptions.ComputeError:
        pass  # not UTF-8: the slow way says so
    found = []
    remedy = "Give every row as many cells as the header; put quotes around a cell with a comma in it."
    number = 0
    with path.open(encoding="utf-8-sig", newline="") as stream:
        try:
            for number, cells in enumerate(csv.reader(stream, strict=True), start=1):
                if cells and len(cells) != width:
                    rule = f"The row has {'more' if len(cells) > width else 'fewer'} cells than the header."
                    found.append((str(path), number, None, f"{len(cells)} cells for {width}", rule, remedy))
        except UnicodeDecodeError:
            rule, remedy = "The file has bytes that are not UTF-8.", "Save it as CSV UTF-8."
            raise refuse_file(str(path), rule, remedy) from None
        except csv.Error as error:
            rule = f"Quotes are not closed or out of place, in the row after row {number}: {error}."
            raise refuse_file(str(path), rule, "Close the quotes; double a quote inside a cell.") from None
    return refusals_frame(found)


_FORMATS = {
    ".csv": _Format(_csv_header, _csv),
    ".parquet": _Format(lambda path: _parquet_schema(path).names(), _parquet),
    ".ndjson": _Format(ndjson_names, ndjson_batches),
    ".jsonl": _Format(ndjson_names, ndjson_batches),
    ".json": _Format(json_names, json_batches),
}
