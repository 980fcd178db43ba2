"""Tiers as an exchange announces them: an object with a list of rows per instrument, before and after a change."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import polars as pl

from ledger.cells import type_table
from ledger.columns import TIME, Column
from ledger.json_files import Problem
from ledger.layout import Feed

_COLUMNS = ("tier", "max_borrow_base", "max_borrow_quote", "mmr", "min_imr", "max_lever")
_OTHERS = ("source", "columns", "valid_from")
_TABLE = re.compile(r"([A-Z0-9_]+(?:-[A-Z0-9_]+)+)_(before|after)(_tier1)?")
_EFFECTIVE = re.compile(r"effective ([0-9]{4}-[0-9]{2}-[0-9]{2})(?: ([0-9]{2}:[0-9]{2})(?:-[0-9]{2}:[0-9]{2})? UTC)?")
_DAY = re.compile(r"\(([0-9]{1,2}) ([A-Z][a-z]{2}) ([0-9]{4})\)")
_IN_ADDRESS = re.compile(r"(20[0-9]{2})(-?)([0-9]{2})\2([0-9]{2})/?$")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_VALID_FROM = Column("valid_from", TIME, "", "", "")
_REFUSED = "2009-01-01T00:00:00Z"  # a time in place of one that is refused, so that the tiers themselves are judged

FEED = Feed(
    title="announced tiers",
    known_by=(),
    names={
        **{name: name for name in ("instrument", "valid_from", "tier")},
        "largest_base_loan": "max_borrow_base",
        "largest_quote_loan": "max_borrow_quote",
        "maintenance_rate": "mmr",
        "minimum_initial_rate": "min_imr",
        "maximum_leverage": "max_lever",
        "stated_by": "source",
    },
    needs=("tier", "mmr"),
    ignores_others=False,
)
"""The rows of an announcement, as `Announced.rows` gives them."""


@dataclass(frozen=True)
class Announced:
    """An announcement's rows by their place in it (`BTC-USDT_after[2]`), and what is wrong with it."""

    rows: Mapping[str, dict[str, Any]]
    problems: Sequence[Problem]


def is_announcement(record: Any) -> bool:
    """Whether a record of JSON is an announcement: it has a table of an instrument."""
    return isinstance(record, dict) and any(_TABLE.fullmatch(name) for name in record)


def announced(record: dict[str, Any]) -> Announced:
    """The rows of an announcement with the columns of FEED.

    A table `..._before` is in force from the beginning. One `..._after` is so from `valid_from` or, without it, from
    what `source` says: the begin of a window "effective 2023-06-08 08:00-10:00 UTC", a day "(31 Jul 2023)", or a date
    at the end of the address.
    """
    rows: dict[str, dict[str, Any]] = {}
    problems = list(_unknown(record))
    columns = record.get("columns", list(_COLUMNS))
    if not isinstance(columns, list) or [name for name in columns if name not in _COLUMNS]:
        remedy = f"Choose from: {', '.join(_COLUMNS)}."
        return Announced({}, [*problems, ("columns", shown(columns), "The columns are not all known.", remedy)])
    source = shown(given) if isinstance(given := record.get("source"), str) else given
    tables = [(name, *found.groups()) for name in record if (found := _TABLE.fullmatch(name))]
    since = None
    if any(when == "after" for _, _, when, _ in tables):
        since, wrong = _since(record)
        problems += wrong
    for name, instrument, when, is_one in tables:
        same = {"instrument": instrument, "source": source, "valid_from": since if when == "after" else None}
        table = [record[name]] if is_one else record[name]
        if not isinstance(table, list):
            problems.append((name, shown(table), "A table of tiers is a list of rows.", "Write one list per tier."))
            continue
        for number, cells in enumerate(table):
            place = name if is_one else f"{name}[{number}]"
            if not isinstance(cells, list) or len(cells) != len(columns):
                rule = f"A row of tiers is a list of {len(columns)} values."
                problems.append((place, shown(cells), rule, f"Give: {', '.join(columns)}."))
                continue
            rows[place] = same | dict(zip(columns, cells, strict=True))
    return Announced(rows, problems)


def _unknown(record: dict[str, Any]) -> Iterator[Problem]:
    for name, value in record.items():
        if name not in _OTHERS and not _TABLE.fullmatch(name):
            remedy = f"Remove it, or write {', '.join(_OTHERS)}, or an instrument with _before or _after."
            yield shown(name), shown(value), "The key is not known; a misspelt one would be ignored.", remedy


def _since(record: dict[str, Any]) -> tuple[str, list[Problem]]:
    """From when what comes after the change is in force, and why that is not known."""
    given = record.get("valid_from")
    if given not in (None, ""):
        cell = pl.DataFrame({"row": [1], "valid_from": [str(given)]})
        refused = type_table(cell, (_VALID_FROM,))[1]
        return _REFUSED if refused else str(given), [
            ("valid_from", shown(given), wrong.sentence, wrong.remedy) for wrong in refused
        ]
    source = str(record.get("source") or "")
    found = _stated(source)
    if found is None:
        rule = "What an announcement changes needs the time from which it is in force; its source names none."
        return _REFUSED, [("valid_from", shown(source), rule, "Add valid_from, for example 2023-06-08T08:00:00Z.")]
    return found.isoformat(), []


def _stated(source: str) -> datetime | None:
    """The time that the source of an announcement states."""
    if found := _EFFECTIVE.search(source):
        date, time = found.groups()
        return _moment(*map(int, date.split("-")), *map(int, (time or "00:00").split(":")))
    if (found := _DAY.search(source)) and found.group(2) in _MONTHS:
        day, month, year = found.groups()
        return _moment(int(year), _MONTHS.index(month) + 1, int(day))
    if found := _IN_ADDRESS.search(source.partition(" ")[0]):
        return _moment(*map(int, found.group(1, 3, 4)))
    return None


def _moment(*parts: int) -> datetime | None:
    try:
        return datetime(*parts, tzinfo=UTC)  # type: ignore[arg-type, misc]
    except ValueError:
        return None


def shown(value: Any) -> str:
    """A value as a refusal can show it: a text as it stands unless it has half characters, which no UTF-8 has."""
    is_text = isinstance(value, str) and not any("\ud800" <= character <= "\udfff" for character in value)
    return (value if is_text else ascii(value))[:200]
