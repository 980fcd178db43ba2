"""NDJSON and JSON files as batches of raw rows: texts as they stand, numbers with all their digits."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import polars as pl

from ledger.refusals import refuse_file
from ledger.tables import UTF_16, RawBatch, Table, refusals_frame

_JSON_BATCH_ROWS = 100_000  # Python objects take ten times the memory of columns
_LISTS = ("data", "rows")  # keys under which exchanges answer with a list

_Parsed = tuple[int, dict[str, str | None], list[tuple[Any, ...]]]  # row, cells, or the problems with them


def ndjson_batches(path: Path, table: Table, batch_rows: int) -> Iterator[RawBatch]:
    """The records of an NDJSON file, one a line; see `formats.raw_batches`."""
    return _json_batches(_ndjson_records(path, table), str(path), table, batch_rows)


def _ndjson_records(path: Path, table: Table) -> Iterator[_Parsed]:
    with path.open("rb") as stream:
        for number, line in enumerate(stream, start=1):
            if number == 1 and line.startswith(UTF_16):
                raise refuse_file(str(path), "The file is not in UTF-8 but in UTF-16.", "Save it as UTF-8.")
            if line.strip():
                yield number, *_json_record(line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line, table)


def ndjson_names(path: Path) -> list[str]:
    """The keys of the first record."""
    with path.open(encoding="utf-8-sig", errors="replace") as stream:
        for line in stream:
            try:
                record = _JSON.decode(line)
            except (ValueError, RecursionError):
                continue  # refused when it is read
            if isinstance(record, dict):
                return list(record)
    return []


def json_batches(path: Path, table: Table, batch_rows: int) -> Iterator[RawBatch]:
    """The records of a JSON document: a list of objects, or the one in an answer of an exchange."""
    records = _document(path)
    found = _keys(records)
    if found:  # unknown keys are refused with their rows
        table.check_names(str(path), [name for name in table.names if name in found])
    parsed = ((number, *_json_texts(record, table)) for number, record in enumerate(records, start=1))
    yield from _json_batches(parsed, str(path), table, batch_rows)


def json_names(path: Path) -> list[str]:
    """The keys of all records."""
    return _keys(_document(path))


def _keys(records: list[Any]) -> list[str]:
    return list(dict.fromkeys(name for record in records if isinstance(record, dict) for name in record))


def _document(path: Path) -> list[Any]:
    """The records of a JSON document, those of published samples without their wrapping. Raises BadInput."""
    file = str(path)
    content = path.read_bytes()
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
