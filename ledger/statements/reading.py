"""Exchange files, canonical events and adjustments read together: all that they state, or every refusal of all."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl

from ledger.columns import EVENTS, INPUTS, Column, schema
from ledger.events import rules_for
from ledger.feeds import Feed, FeedRows, FileRows, read_files
from ledger.inputs import file_facts
from ledger.money import INTEGER_DIGITS, MONEY
from ledger.policies import Policies
from ledger.progress import Progress, silent
from ledger.reading import EVENTS_SCHEMA
from ledger.refusals import REFUSAL_SCHEMA, BadInput
from ledger.risk.columns import TIERS
from ledger.rules import Rule
from ledger.statements.adjustments import COMMENTS_SCHEMA, read_adjustments
from ledger.statements.certificate import Window, certificate
from ledger.statements.columns import SNAPSHOTS, STATEMENTS
from ledger.statements.layouts import CANONICAL, LAYOUTS
from ledger.statements.merging import ROWS_SCHEMA, Merged, merged
from ledger.statements.rules import SNAPSHOT_RULES, STATEMENT_RULES
from ledger.statements.transactions import Defaults, Transactions, events_of

WORKBOOK = ".xlsx"
SNAPSHOTS_SCHEMA = pl.Schema([*schema(SNAPSHOTS).items(), ("input", pl.UInt16), ("row", pl.UInt32)])
TIERS_SCHEMA = pl.Schema([*schema(TIERS).items(), ("input", pl.UInt16), ("row", pl.UInt32)])

_SCHEMAS = {STATEMENTS: ROWS_SCHEMA, SNAPSHOTS: SNAPSHOTS_SCHEMA, EVENTS: EVENTS_SCHEMA, TIERS: TIERS_SCHEMA}
_margin_currency, _pair = pl.col("margin_currency"), pl.col("instrument").str.splitn("-", 2)
_CANONICAL = replace(
    CANONICAL,
    values={
        "margin_currency": pl.when(_margin_currency == "base")
        .then(_pair.struct.field("field_0"))
        .when(_margin_currency == "quote")
        .then(_pair.struct.field("field_1"))
        .otherwise(_margin_currency),
        "reduce_only": pl.col("reduce_only").fill_null(value=False),
    },
)
_LAYOUTS = tuple(_CANONICAL if feed is CANONICAL else feed for feed in LAYOUTS)


@dataclass(frozen=True)
class Statements:
    """What files of one side state.

    `read` are all rows of movements (ROWS_SCHEMA), `merged` each of them once, `transactions` what events they are.
    `snapshots` (SNAPSHOTS, `input`, `row`) are positions stated, `events` (EVENTS, `input`, `row`) canonical events
    and manual adjustments in the order of the files, with `comments` (COMMENTS_SCHEMA), `tiers` (TIERS, `input`,
    `row`) tiers. `files` (columns INPUTS) has the facts of every file, `layouts` the titles of the layouts in it.
    """

    read: pl.DataFrame
    merged: Merged
    transactions: Transactions
    snapshots: pl.DataFrame
    events: pl.DataFrame
    comments: pl.DataFrame
    tiers: pl.DataFrame
    files: pl.DataFrame
    layouts: Mapping[int, tuple[str, ...]]

    @property
    def rows(self) -> pl.DataFrame:
        """Each row of the movements once."""
        return self.merged.rows

    def certificate(self, window: Window = (None, None)) -> tuple[pl.DataFrame, pl.DataFrame]:
        """The frames CERTIFICATE and SUMS of the files, against the window of the replay."""
        return certificate(self.files, self.read, self.merged, self.transactions, window)


def read_statements(
    paths: Sequence[Path],
    defaults: Defaults,
    folder: Path,
    forced: Mapping[Path, str] | None = None,
    account: str | None = None,
    progress: Progress = silent,
    first_number: int = 1,
    policies: Policies | None = None,
    not_asked: Sequence[str] = (),
) -> Statements:
    """Read the files of one side, numbered from `first_number`: of any layout, packed or not; .xlsx are adjustments.

    What is packed is unpacked into `folder`. `forced` names the layout of files where it is not to be recognised;
    `account` is that of rows that name none. A margin currency that snapshots state counts before `defaults`.
    What only the caller can say is asked for, but for what `not_asked` names (margin_currency, leverage).
    Raises BadInput with all refusals of all files; where each row is good, of what they are together.
    """
    rules = {STATEMENTS: STATEMENT_RULES, SNAPSHOTS: SNAPSHOT_RULES, EVENTS: rules_for(policies or Policies())}
    defaults = replace(defaults, account=account or defaults.account)
    parts, comments, done = list[FileRows](), [COMMENTS_SCHEMA.to_frame()], 0
    for number, path in enumerate(paths, start=first_number):
        if path.suffix.lower() == WORKBOOK:
            part, notes = _workbook(path, number, policies)
            comments.append(notes)
        else:
            part = _file(path, number, folder, (forced or {}).get(path), rules)
        parts.append(part)
        done += sum(rows.rows.height + rows.left_out for rows in part.parts)
        progress("Reading", done, 0)
    _raise(pl.concat([REFUSAL_SCHEMA.to_frame(), *(part.refusals for part in parts)]))
    names = {part.number: str(part.path) for part in parts}
    read, snapshots, events, tiers = (_together(parts, columns, defaults.account) for columns in _SCHEMAS)
    _raise(_too_large(read, names))
    once = merged(read, names)
    progress("Pairing", 0, once.rows.height)
    found = events_of(once.rows, _with_snapshots(defaults, snapshots), names)
    _raise(found.refusals.filter(~pl.col("column").is_in(not_asked).fill_null(value=False)))
    progress("Pairing", once.rows.height, once.rows.height)
    return Statements(
        read=read,
        merged=once,
        transactions=found,
        snapshots=snapshots,
        events=events,
        comments=pl.concat(comments),
        tiers=tiers,
        files=pl.DataFrame([_facts(part) for part in parts], schema=schema(INPUTS)),
        layouts={part.number: tuple(rows.feed.title for rows in part.parts if rows.feed) for part in parts},
    )


def _file(
    path: Path,
    number: int,
    folder: Path,
    forced: str | None,
    rules: Mapping[tuple[Column, ...], Mapping[str, Rule]],
) -> FileRows:
    part = read_files([path], _LAYOUTS, rules, folder, forced)[0]
    own_number = pl.lit(number, dtype=pl.UInt16).alias("input")
    numbered = tuple(replace(rows, rows=rows.rows.with_columns(own_number)) for rows in part.parts)
    return replace(part, number=number, parts=numbered)


def _workbook(path: Path, number: int, policies: Policies | None) -> tuple[FileRows, pl.DataFrame]:
    found = read_adjustments(path, number, policies)
    part = FeedRows(_ADJUSTMENTS, found.events, found.refusals)
    return FileRows(path, number, (part,), found.refusals), found.comments


_ADJUSTMENTS = Feed(
    name="adjustments", gives=EVENTS, title="manual adjustments", known_by=(), names=CANONICAL.names, needs=()
)


def _together(parts: Sequence[FileRows], columns: tuple[Column, ...], account: str) -> pl.DataFrame:
    """The rows of all files that have these columns, in the order of the files."""
    expected = _SCHEMAS[columns]
    found = [rows.rows for part in parts for rows in part.parts if rows.feed is not None and rows.feed.gives is columns]
    frame = pl.concat([expected.to_frame(), *(rows.select(expected.names()) for rows in found)])
    return frame.with_columns(pl.col("account").fill_null(pl.lit(account))) if "account" in expected else frame


def _with_snapshots(defaults: Defaults, snapshots: pl.DataFrame) -> Defaults:
    """The defaults with the margin currencies of positions that snapshots state, where they state one for each."""
    key = ["account", "instrument"]
    stated = snapshots.filter(pl.col("is_isolated_margin") & pl.col("margin_currency").is_not_null())
    single = (
        stated.group_by(key).agg(pl.col("margin_currency").unique()).filter(pl.col("margin_currency").list.len() == 1)
    )
    known = {
        (account, instrument): codes[0]
        for account, instrument, codes in single.select(*key, "margin_currency").iter_rows()
    }
    return replace(defaults, margin_currencies={**defaults.margin_currencies, **known})


def _too_large(rows: pl.DataFrame, names: Mapping[int, str]) -> pl.DataFrame:
    """A refusal where the sums of the rows could leave the money type: grouped sums would wrap around in silence."""
    amounts = [name for name, dtype in ROWS_SCHEMA.items() if dtype == MONEY]
    largest = rows.select(pl.max_horizontal(pl.col(amounts).abs().max())).item() if rows.height else None
    if not isinstance(largest, Decimal) or int(largest) * rows.height < 10**INTEGER_DIGITS:
        return REFUSAL_SCHEMA.to_frame()
    for name in amounts:
        found = rows.filter(pl.col(name).abs() == largest)
        if found.height:
            row = found.row(0, named=True)
            rule = "The amounts of all rows must sum to less than 10^20; this is the largest."
            cells = (names.get(row["input"], ""), row["row"], name, f"{largest:f}", rule, "Check its unit.")
            return pl.DataFrame([cells], schema=REFUSAL_SCHEMA, orient="row")
    return REFUSAL_SCHEMA.to_frame()


def _facts(part: FileRows) -> dict[str, Any]:
    count = sum(rows.rows.height + rows.left_out for rows in part.parts)
    times = [rows.rows["time"] for rows in part.parts if "time" in rows.rows.columns and rows.rows.height]
    known = [moment for column in times for moment in (column.min(), column.max())]
    return file_facts(part.number, part.path, count, known)


def _raise(refusals: pl.DataFrame) -> None:
    if refusals.height:
        raise BadInput(refusals)
