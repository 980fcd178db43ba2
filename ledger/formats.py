"""CSV, Parquet, NDJSON and JSON files as batches of raw rows: cells as the file has them, nothing interpreted."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from ledger.cells import check_types
from ledger.containers import is_packed, unpacked
from ledger.csv_files import csv_batches, csv_names
from ledger.json_files import (
    Record,
    is_one_record,
    json_batches,
    json_names,
    json_records,
    ndjson_batches,
    ndjson_names,
    ndjson_records,
)
from ledger.refusals import refuse_file
from ledger.tables import (
    CONTROL,
    CONTROL_REMEDY,
    HAS_CONTROL,
    IS_TOO_LONG,
    LONGEST_CELL,
    TOO_LONG_REMEDY,
    UTF_16,
    RawBatch,
    Source,
    Table,
    refusals_frame,
)

_BROKEN = (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError)
_PACKED = (".gz", ".zip")
_SNIFFED = 2**16


@dataclass(frozen=True)
class _Format:
    names: Callable[[Source], list[str]]
    batches: Callable[[Source, Table, int], Iterator[RawBatch]]
    records: Callable[[Source], Iterator[Record]] | None = None


@dataclass(frozen=True)
class OpenedFile:
    """A file that is there, unpacked if it was packed, with the functions that read its format; they raise BadInput.

    `records` is nothing where a file is a table: then it has one layout.
    """

    source: Source
    format: _Format

    def names(self) -> list[str]:
        """Names of the columns; of NDJSON the keys of the first record, of JSON those of all."""
        return self.format.names(self.source)

    def batches(self, table: Table, batch_rows: int) -> Iterator[RawBatch]:
        """The rows in order, at most `batch_rows` at a time."""
        return self.format.batches(self.source, table, batch_rows)

    def records(self) -> Iterator[Record] | None:
        """The records of NDJSON and JSON, whatever their keys."""
        return self.format.records(self.source) if self.format.records else None


def raw_batches(path: Path, table: Table, batch_rows: int) -> Iterator[RawBatch]:
    """The rows of a file in order, at most `batch_rows` at a time. Raises BadInput if it is no such table."""
    with opened(path) as file:
        yield from file.batches(table, batch_rows)


def column_names(path: Path) -> list[str]:
    """Names of a file's columns, to tell what it is; of NDJSON the keys of the first record. Raises BadInput."""
    with opened(path) as file:
        return file.names()


@contextmanager
def opened(path: Path, folder: Path | None = None, any_name: bool = False) -> Iterator[OpenedFile]:
    """A file, to be read while it is open. Raises BadInput when it is none, or reading it shows that it is damaged.

    What is packed is unpacked into `folder`, or one of its own, and removed afterwards. The format is the one of the
    name; where the file may have `any_name`, or is packed, the one of the content.
    """
    file, plain = str(path), path
    with ExitStack() as stack:
        try:
            _refuse_no_file(path, file)
            suffix = path.suffix.lower()
            if not any_name and suffix not in (*_FORMATS, *_PACKED):
                rule = "The format of the file is not known."
                raise refuse_file(file, rule, f"Use {', '.join([*_FORMATS, *_PACKED])}.")
            if any_name or suffix in _PACKED or is_packed(path):
                place = folder or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="unpacked_")))
                plain = unpacked(path, place)
            if plain != path:
                stack.callback(plain.unlink)
            by_name = not any_name and plain == path and suffix in _FORMATS
            name = suffix if by_name else _sniffed(plain, file)
            yield OpenedFile(Source(plain, file), _FORMATS[name])
        except PermissionError:
            raise refuse_file(file, "The file may not be read.", "Ask its owner for the right to read it.") from None
        except _BROKEN as error:
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            reason = reason.replace(str(plain), file)
            raise refuse_file(file, f"The file is damaged or cut off: {reason}.", "Export or copy it again.") from error


def _refuse_no_file(path: Path, file: str) -> None:
    if path.is_dir():
        raise refuse_file(file, "The input is a folder.", "Name the files in it.")
    if not path.exists():
        raise refuse_file(file, "The file does not exist.", "Check its name.")
    if not path.is_file():
        raise refuse_file(file, "The input is no ordinary file.", "Copy what it gives into a file.")
    if path.stat().st_size == 0:
        raise refuse_file(file, "The file is empty.", "Export it again.")


def _sniffed(path: Path, file: str) -> str:
    """The format that the content of a file has, as the ending of a name."""
    with path.open("rb") as stream:
        start = stream.read(_SNIFFED)
    if start.startswith(b"PAR1"):
        return ".parquet"
    if start.startswith(UTF_16):
        raise refuse_file(file, "The file is not in UTF-8 but in UTF-16.", "Save it as UTF-8.")
    text = start.decode("utf-8-sig", errors="replace").lstrip()
    if text.startswith("<"):
        raise refuse_file(file, "The file is a web page, not data.", "Download the file itself again.")
    if not text.startswith(("{", "[")):
        return ".csv"
    first, _, others = text.partition("\n")
    is_lines = is_one_record(first) and (path.suffix in (".ndjson", ".jsonl") or others.strip() != "")
    return ".ndjson" if is_lines else ".json"


# --- Parquet ------------------------------------------------------------------------------------------------


def _parquet_schema(source: Source) -> pl.Schema:
    with source.path.open("rb") as stream:
        if stream.read(4) != b"PAR1":
            raise refuse_file(source.file, "The file is not a Parquet file.", "Name it after its format.")
    return pl.scan_parquet(source.path, glob=False).collect_schema()


def _parquet(source: Source, table: Table, batch_rows: int) -> Iterator[RawBatch]:
    schema = _parquet_schema(source)
    table.check_names(source.file, schema.names())
    check_types(source.file, schema, table.columns)
    rows = pl.scan_parquet(source.path, glob=False).select(pl.len()).collect().item()
    numbered = pl.scan_parquet(source.path, glob=False, row_index_name="row", row_index_offset=1)
    known = numbered.select("row", *(name for name in schema if name in table.known))
    for start in range(0, rows, batch_rows):
        frame = known.slice(start, batch_rows).collect()
        refused = _texts_refused(frame, source.file) if table.is_plain else refusals_frame([])
        yield RawBatch(frame.join(refused, on="row", how="anti", maintain_order="left"), refused)


def _texts_refused(frame: pl.DataFrame, file: str) -> pl.DataFrame:
    """Refusals of cells that are too long or have control characters."""
    found = []
    for name in frame.select(pl.col(pl.String)).columns:
        long = frame.filter(pl.col(name).str.len_bytes() > LONGEST_CELL).select("row", pl.col(name).str.slice(0, 40))
        found += [(file, row, name, text + " ...", IS_TOO_LONG, TOO_LONG_REMEDY) for row, text in long.rows()]
        odd = frame.filter(pl.col(name).str.contains(rf"[{CONTROL}\n\r]")).select("row", pl.col(name).str.slice(0, 200))
        found += [(file, row, name, ascii(text), HAS_CONTROL, CONTROL_REMEDY) for row, text in odd.rows()]
    return refusals_frame(sorted(found, key=lambda refusal: refusal[1]))


_FORMATS = {
    ".csv": _Format(csv_names, csv_batches),
    ".parquet": _Format(lambda source: _parquet_schema(source).names(), _parquet),
    ".ndjson": _Format(ndjson_names, ndjson_batches, ndjson_records),
    ".jsonl": _Format(ndjson_names, ndjson_batches, ndjson_records),
    ".json": _Format(json_names, json_batches, json_records),
}
