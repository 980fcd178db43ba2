"""NDJSON and JSON files as batches of raw rows: texts as they stand, numbers with all their digits."""

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

import polars as pl

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

LARGEST_DOCUMENT = 2**30
"""A JSON document must be read whole, and takes ten times its size in memory."""
_JSON_BATCH_ROWS = 100_000  # Python objects take ten times the memory of columns
_LISTS = ("data", "rows", "assets")  # keys under which exchanges answer with a list
_CONTROL = re.compile(f"[{CONTROL}]")
_CONTROL_OR_BREAK = re.compile(f"[{CONTROL}\\n\\r]")

Problem = tuple[str | None, str | None, str, str]
"""Column, value, rule and remedy of what is wrong with a record."""
Record = tuple[int, Any, list[Problem]]
"""Row of the file, what stands there, and what is wrong with it: then it is no record."""
_Parsed = tuple[int, dict[str, str | None], list[Problem]]  # row, cells, or the problems with them


def ndjson_batches(source: Source, table: Table, batch_rows: int) -> Iterator[RawBatch]:
    """The records of an NDJSON file, one a line; see `formats.raw_batches`."""
    return record_batches(ndjson_records(source), source.file, table, batch_rows)


def ndjson_records(source: Source) -> Iterator[Record]:
    """The records of an NDJSON file, by line; empty lines count but are left out. Raises BadInput."""
    with source.path.open("rb") as stream:
        for number, line in enumerate(stream, start=1):
            if number == 1 and line.startswith(UTF_16):
                raise refuse_file(source.file, "The file is not in UTF-8 but in UTF-16.", "Save it as UTF-8.")
            if line.strip():
                yield number, *_json_record(line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line)


def ndjson_names(source: Source) -> list[str]:
    """The keys of the first record."""
    with source.path.open(encoding="utf-8-sig", errors="replace") as stream:
        for line in stream:
            try:
                record = _JSON.decode(line)
            except (ValueError, RecursionError):
                continue  # refused when it is read
            if isinstance(record, dict):
                return list(record)
    return []


def is_one_record(line: str) -> bool:
    """Whether a line is a whole JSON object."""
    try:
        return isinstance(_JSON.decode(line), dict)
    except (ValueError, RecursionError):
        return False


def json_batches(source: Source, table: Table, batch_rows: int) -> Iterator[RawBatch]:
    """The records of a JSON document: a list of objects, or the one in an answer of an exchange."""
    records = list(json_records(source))
    found = keys_of(record for _, record, _ in records)
    if found:  # unknown keys are refused with their rows
        table.check_names(source.file, [name for name in table.names if name in found])
    yield from record_batches(records, source.file, table, batch_rows)


def json_records(source: Source) -> Iterator[Record]:
    """The records of a JSON document, the first one is row 1. Raises BadInput."""
    return ((number, record, []) for number, record in enumerate(_document(source), start=1))


def record_batches(records: Iterable[Record], file: str, table: Table, batch_rows: int) -> Iterator[RawBatch]:
    """Records as raw rows with the columns of a table."""
    parsed = ((row, *(_json_texts(record, table) if not bad else ({}, bad))) for row, record, bad in records)
    return _json_batches(parsed, file, table, batch_rows)


def json_names(source: Source) -> list[str]:
    """The keys of all records."""
    return keys_of(_document(source))


def flattened(record: dict[str, Any]) -> dict[str, Any]:
    """The record with what is nested in it under dotted names beside it: `baseAsset.borrowed`."""
    if dict not in map(type, record.values()):
        return record
    nested = {
        f"{name}.{inner}": value
        for name, objects in record.items()
        if isinstance(objects, dict)
        for inner, value in flattened(objects).items()
    }
    return record | nested


def keys_of(records: Iterable[Any]) -> list[str]:
    """The keys of all records, those of what is nested with dots."""
    shapes = dict.fromkeys(tuple(flattened(record)) for record in records if isinstance(record, dict))
    return list(dict.fromkeys(name for names in shapes for name in names))


def _document(source: Source) -> list[Any]:
    """The records of a JSON document, those of published samples without their wrapping. Raises BadInput."""
    file = source.file
    if source.path.stat().st_size > LARGEST_DOCUMENT:
        rule = f"A JSON document has at most {LARGEST_DOCUMENT:,} bytes; it must be read whole."
        raise refuse_file(file, rule, "Give it in parts, or with one object a line.")
    content = source.path.read_bytes()
    if content.startswith(UTF_16):
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
        rule = "The JSON is neither a list of objects nor an object with one list of them under data, rows or assets."
        raise refuse_file(file, rule, "Save the exchange's answer as it came, or a list of objects.")
    return list(found[0])


def _unwrapped(record: Any) -> Any:
    wrapped = isinstance(record, dict) and "source" in record and isinstance(record.get("record"), dict)
    return record["record"] if wrapped else record


def _json_batches(parsed: Iterable[_Parsed], file: str, table: Table, batch_rows: int) -> Iterator[RawBatch]:
    limit = min(batch_rows, _JSON_BATCH_ROWS)
    records: list[dict[str, str | None]] = []
    numbers: list[int] = []
    refused: list[tuple[str | int | None, ...]] = []
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
    records: list[dict[str, str | None]], numbers: list[int], refused: list[tuple[str | int | None, ...]], table: Table
) -> RawBatch:
    cells = {name: [record.get(name) for record in records] for name in table.names}
    schema = {"row": pl.UInt32, **dict.fromkeys(table.names, pl.String)}
    return RawBatch(pl.DataFrame({"row": numbers, **cells}, schema=schema), refusals_frame(refused))


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


def _json_record(line: bytes) -> tuple[Any, list[Problem]]:
    """The object of one line, or the problems with it."""
    try:
        record = _JSON.decode(line.decode("utf-8"))
    except _RepeatedKeyError as error:
        return None, [(_shown(str(error)), _start(line), "The key is given more than once.", "Keep one of them.")]
    except (ValueError, RecursionError):
        return None, [(None, _start(line), "The line is not JSON.", "Write one object a line, in UTF-8.")]
    if not isinstance(record, dict):
        return None, [(None, _start(line), "The line is not a JSON object.", "Write one object a line.")]
    return record, []


def _json_texts(record: Any, table: Table) -> tuple[dict[str, str | None], list[Problem]]:
    """A record's cells as texts, numbers with all their digits; or its problems."""
    if not isinstance(record, dict):
        start = record if isinstance(record, str) else json.dumps(record)
        return {}, [(None, _shown(start[:200]), "The record is not a JSON object.", "Write a list of objects.")]
    cells = flattened(record) if table.ignores_others else record
    if table.ignores_others and _are_plain(cells):
        return cells, []
    texts: dict[str, str | None] = {}
    problems: list[Problem] = []
    for name, value in cells.items():
        problem = _problem(name, value, table)
        if problem:
            problems.append(problem)
        elif name in table.known:
            texts[name] = str(value).lower() if isinstance(value, bool) else value
    return texts, problems


def _are_plain(cells: dict[str, Any]) -> bool:
    """Whether all values are texts with which nothing can be wrong: seen at once, as most records are so."""
    if {*map(type, cells.values())} != {str}:
        return False
    text = "".join(cells.values())
    return len(text) <= LONGEST_CELL and text.isprintable()


def _problem(name: str, value: Any, table: Table) -> Problem | None:
    """What is wrong with one value of a record."""
    if isinstance(value, str) and table.is_plain:
        if len(value) > LONGEST_CELL:
            return _shown(name), _shown(value[:40]) + " ...", IS_TOO_LONG, TOO_LONG_REMEDY
        if not value.isprintable() and (_CONTROL_OR_BREAK if name in table.known else _CONTROL).search(value):
            return _shown(name), ascii(value[:200]), HAS_CONTROL, CONTROL_REMEDY
    if name not in table.known:
        rule = "The key is not a known column; a misspelt one would be ignored."
        remedy = f"Remove it, or choose from: {', '.join(table.names)}."
        return None if table.ignores_others else (_shown(name), _shown(str(value)), rule, remedy)
    if isinstance(value, (dict, list)):
        return name, json.dumps(value)[:200], "A value is a text, a number or a flag.", "Do not nest it."
    if isinstance(value, str) and not _is_text(value):
        return name, ascii(value), "A text has no half characters.", "Write it in UTF-8."
    return None


def _shown(text: str) -> str:
    """A text as a refusal can show it."""
    return text if _is_text(text) else ascii(text)


def _is_text(value: str) -> bool:
    """Whether a text can be written in UTF-8: a lone surrogate, as JSON escapes allow it, can not."""
    return value.isascii() or not any("\ud800" <= character <= "\udfff" for character in value)
