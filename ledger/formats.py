"""CSV, Parquet, NDJSON and JSON files as batches of raw rows: cells as the file has them, nothing interpreted."""

import csv
import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl

from ledger.cells import check_types
from ledger.columns import Column
from ledger.refusals import REFUSAL_SCHEMA, BadInput, refuse_file

_BROKEN = (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError)
_JSON_BATCH_ROWS = 100_000  # Python objects take ten times the memory of columns
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")
_LISTS = ("data", "rows")  # keys under which exchanges answer with a list

IS_MISSING = "The column is required."


@dataclass(frozen=True)
class RawBatch:
    """`frame` has the columns of the file and `row` (UInt32), without the rows in `refusals`."""

    frame: pl.DataFrame
    refusals: pl.DataFrame


@dataclass(frozen=True)
class Table:
    """What columns a file may and must have. Others are refused, or left unread where `ignores_others` says so."""

    columns: tuple[Column, ...]
    required: tuple[str, ...]
    ignores_others: bool = False

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names of all columns."""
        return tuple(column.name for column in self.columns)

    def check_names(self, file: str, found: list[str]) -> None:
        """Refuse a file (BadInput, naming every column) with unknown, repeated or missing columns."""
        problems = []
        for name in dict.fromkeys(found):
            if name not in self.names and (not self.ignores_others or name == "row"):  # `row` is the number of a row
                rule = "The column is not known; a misspelt one would be ignored."
                problems.append((name, rule, f"Remove it, or choose from: {', '.join(self.names)}."))
            elif found.count(name) > 1:
                problems.append((name, "The column is given more than once.", "Keep one of them."))
        for name in self.required:
            if name not in found:
                problems.append((name, IS_MISSING, "Add it."))
        if problems:
            rows = [(file, None, name, None, rule, remedy) for name, rule, remedy in problems]
            raise BadInput(pl.DataFrame(rows, schema=REFUSAL_SCHEMA, orient="row"))


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


def _refusals(rows: list[tuple[Any, ...]]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=REFUSAL_SCHEMA, orient="row")


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
        yield RawBatch(known.slice(start, batch_rows).collect(), _refusals([]))


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
    if line.startswith(_UTF_16) or b"\x00" in line:
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
            return _refusals([])
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
    return _refusals(found)


# --- NDJSON and JSON ----------------------------------------------------------------------------------------

_Parsed = tuple[int, dict[str, str | None], list[tuple[Any, ...]]]  # row, cells, or the problems with them


def _ndjson(path: Path, table: Table, batch_rows: int) -> Iterator[RawBatch]:
    return _json_batches(_ndjson_records(path, table), str(path), table, batch_rows)


def _ndjson_records(path: Path, table: Table) -> Iterator[_Parsed]:
    with path.open("rb") as stream:
        for number, line in enumerate(stream, start=1):
            if number == 1 and line.startswith(_UTF_16):
                raise refuse_file(str(path), "The file is not in UTF-8 but in UTF-16.", "Save it as UTF-8.")
            if line.strip():
                yield number, *_json_record(line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line, table)


def _ndjson_names(path: Path) -> list[str]:
    with path.open(encoding="utf-8-sig", errors="replace") as stream:
        for line in stream:
            try:
                record = _JSON.decode(line)
            except (ValueError, RecursionError):
                continue  # refused when it is read
            if isinstance(record, dict):
                return list(record)
    return []


def _json(path: Path, table: Table, batch_rows: int) -> Iterator[RawBatch]:
    records = _document(path)
    found = _keys(records)
    if found:  # unknown keys are refused with their rows
        table.check_names(str(path), [name for name in table.names if name in found])
    parsed = ((number, *_json_texts(record, table)) for number, record in enumerate(records, start=1))
    yield from _json_batches(parsed, str(path), table, batch_rows)


def _json_names(path: Path) -> list[str]:
    return _keys(_document(path))


def _keys(records: list[Any]) -> list[str]:
    return list(dict.fromkeys(name for record in records if isinstance(record, dict) for name in record))


def _document(path: Path) -> list[Any]:
    """The records of a JSON document, those of published samples without their wrapping. Raises BadInput."""
    file = str(path)
    content = path.read_bytes()
    if content.startswith(_UTF_16):
        raise refuse_file(file, "The file is not in UTF-8 but in UTF-16.", "Save it as UTF-8.")
    try:
        text = content.decode("utf-8-sig")
        document = _JSON.decode(text)
    except UnicodeDecodeError:
        raise refuse_file(file, "The file has bytes that are not UTF-8.", "Save it as UTF-8.") from None
    except _RepeatedKeyError as error:
        rule = "The key is given more than once in one object."
        raise refuse_file(file, rule, "Keep one of them.", _shown(str(error))) from None
    except json.JSONDecodeError as error:
        if error.pos >= len(text.rstrip()) or error.msg.startswith("Unterminated string"):
            raise refuse_file(file, "The JSON is cut off.", "Export or copy it again.") from None
        rule = f"The file is not JSON: {error.msg}, line {error.lineno}, column {error.colno}."
        raise refuse_file(file, rule, "Export it again; name a file with one object a line .ndjson.") from None
    except RecursionError:
        raise refuse_file(file, "The JSON is nested too deep.", "Write a list of objects.") from None
    return [_unwrapped(record) for record in _records(file, document)]


def _records(file: str, document: Any) -> list[Any]:
    """The list in a document, which may be an exchange's answer as it came."""
    if isinstance(document, list):
        return document
    answer = document if isinstance(document, dict) else {}
    code = str(answer.get("code") or "0")
    if code.strip("0"):
        message = _shown(f"code {code}, {answer.get('msg') or 'no message'}").rstrip(".")
        rule = f"The file is the exchange's answer that it failed: {message}."
        raise refuse_file(file, rule, "Ask the exchange again, and keep its answer.", "code", _shown(code))
    found = [answer[key] for key in _LISTS if isinstance(answer.get(key), list)]
    if len(found) != 1:
        rule = "The JSON is neither a list of objects nor an object with one list of them under data or rows."
        raise refuse_file(file, rule, "Save the exchange's answer as it came, or a list of objects.")
    return list(found[0])


def _unwrapped(record: Any) -> Any:
    wrapped = isinstance(record, dict) and "source" in record and isinstance(record.get("record"), dict)
    return record["record"] if wrapped else record


def _json_batches(parsed: Iterable[_Parsed], file: str, table: Table, batch_rows: int) -> Iterator[RawBatch]:
    limit = min(batch_rows, _JSON_BATCH_ROWS)
    records: list[dict[str, str | None]] = []
    numbers: list[int] = []
    refused: list[tuple[Any, ...]] = []
    for number, record, problems in parsed:
        refused += [(file, number, *problem) for problem in problems]
        if not problems:
            records.append(record)
            numbers.append(number)
        if len(records) + len(refused) >= limit:
            yield _json_batch(records, numbers, refused, table)
            records, numbers, refused = [], [], []
    yield _json_batch(records, numbers, refused, table)


def _json_batch(
    records: list[dict[str, str | None]], numbers: list[int], refused: list[tuple[Any, ...]], table: Table
) -> RawBatch:
    cells = {name: [record.get(name) for record in records] for name in table.names}
    schema = {"row": pl.UInt32, **dict.fromkeys(table.names, pl.String)}
    return RawBatch(pl.DataFrame({"row": numbers, **cells}, schema=schema), _refusals(refused))


class _RepeatedKeyError(ValueError):
    pass


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record = dict(pairs)
    if len(record) < len(pairs):
        names = [name for name, _ in pairs]
        raise _RepeatedKeyError(next(name for name in names if names.count(name) > 1))
    return record


_JSON = json.JSONDecoder(parse_float=str, parse_int=str, parse_constant=str, object_pairs_hook=_object)


def _start(line: bytes) -> str:
    return line[:200].decode("utf-8", "replace").strip()


def _json_record(line: bytes, table: Table) -> tuple[dict[str, str | None], list[tuple[Any, ...]]]:
    """One line as texts, numbers with all their digits; or the problems: column, value, rule, remedy."""
    try:
        record = _JSON.decode(line.decode("utf-8"))
    except _RepeatedKeyError as error:
        return {}, [(_shown(str(error)), _start(line), "The key is given more than once.", "Keep one of them.")]
    except (ValueError, RecursionError):
        return {}, [(None, _start(line), "The line is not JSON.", "Write one object a line, in UTF-8.")]
    if not isinstance(record, dict):
        return {}, [(None, _start(line), "The line is not a JSON object.", "Write one object a line.")]
    return _json_texts(record, table)


def _json_texts(record: Any, table: Table) -> tuple[dict[str, str | None], list[tuple[Any, ...]]]:
    """A record's cells as texts, or its problems."""
    if not isinstance(record, dict):
        start = record if isinstance(record, str) else json.dumps(record)
        return {}, [(None, _shown(start[:200]), "The record is not a JSON object.", "Write a list of objects.")]
    texts, problems = {}, []
    for name, value in record.items():
        if name not in table.names and table.ignores_others:
            continue
        if name not in table.names:
            rule = "The key is not a known column; a misspelt one would be ignored."
            problems.append(
                (_shown(name), _shown(str(value)), rule, f"Remove it, or choose from: {', '.join(table.names)}.")
            )
        elif isinstance(value, (dict, list)):
            problems.append((name, json.dumps(value), "A value is a text, a number or a flag.", "Do not nest it."))
        elif isinstance(value, str) and not _is_text(value):
            problems.append((name, ascii(value), "A text has no half characters.", "Write it in UTF-8."))
        else:
            texts[name] = str(value).lower() if isinstance(value, bool) else value
    return texts, problems


def _shown(text: str) -> str:
    """A text as a refusal can show it."""
    return text if _is_text(text) else ascii(text)


def _is_text(value: str) -> bool:
    """Whether a text can be written in UTF-8: a lone surrogate, as JSON escapes allow it, can not."""
    return value.isascii() or not any("\ud800" <= character <= "\udfff" for character in value)


_FORMATS = {
    ".csv": _Format(_csv_header, _csv),
    ".parquet": _Format(lambda path: _parquet_schema(path).names(), _parquet),
    ".ndjson": _Format(_ndjson_names, _ndjson),
    ".jsonl": _Format(_ndjson_names, _ndjson),
    ".json": _Format(_json_names, _json),
}
