"""What a reconciliation says on the terminal: what was read and compared, each break in plain words, a verdict."""

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

import polars as pl
from rich.table import Table
from rich.text import Text

from ledger.columns import PARAMETERS, schema
from ledger.explain import plain
from ledger.reconciliation.columns import CAUSES, CHANGES, FOUND, VERDICTS
from reports.commands.interest_summary import differences_told
from reports.commands.summary import rendered

_SHOWN = 20
_PARTS_SHOWN = 4
_TEXT = 160
"""Characters of a text that are shown; the frames have all of it."""
_LINE = 120
"""Characters of a line; a break that needs more says its causes on a second one."""
_FIGURES = {
    "assets_shown": "assets",
    "liability_shown": "liability",
    "floating_pnl": "floating PnL",
    "floating_pnl_ratio": "floating PnL ratio",
    "realised_pnl": "realised PnL",
}
"""Figures whose words are not those of the column's name."""
_NEGATIVE = ("liability_shown",)
"""Figures that are stated below zero: one that is too high is nearer to zero, so too little of it."""


_FIRST = ("liability_shown", "assets_shown", "margin", "base_leg", "quote_leg")
"""Figures that say most of a position, in this order; the others follow."""


def reconciliation_told(frames: Mapping[str, pl.DataFrame]) -> Iterator[str]:
    """Lines about the frames of a reconciliation, of interest and of files, inputs and checks, as many as are there."""
    if "certificate" in frames:
        yield from _sources(frames.get("inputs"), frames["certificate"])
    if "comparison" in frames or "matches" in frames:
        yield from _positions(frames.get("matches"), frames.get("comparison"))
    if "breaks" in frames:
        yield from _breaks(frames["breaks"], frames["break_causes"], frames.get("comparison"))
    if "reviews" in frames:
        yield from _carried_on(frames["reviews"], frames.get("parameters"))
    if "interest" in frames:
        yield from differences_told(frames["interest"], frames["interest_causes"])
    yield _verdict(frames)


def _sources(inputs: pl.DataFrame | None, certificate: pl.DataFrame) -> Iterator[str]:
    """What was read, file by file, with the outcome of its controls; then every exception, failures first."""
    counts = certificate.group_by("source", "file", maintain_order=True).agg(
        (pl.col("outcome") == word).sum().alias(word) for word in ("ok", "note", "fail")
    )
    if inputs is not None:
        name = pl.col("file").str.extract(r"([^/\\]+)$")
        files = inputs.select("rows", "first_time", "last_time", source="input", name=name)
        counts = files.join(counts, on="source", how="full", coalesce=True, maintain_order="left_right")
        counts = counts.with_columns(file=pl.coalesce("file", "name"), **_no_controls()).drop("name")
    table = Table("file", "rows", "first", "last", "controls ok", "notes", "failures", title="What was read")
    for row in counts.head(_SHOWN).iter_rows(named=True):
        rows = "" if row.get("rows") is None else f"{row['rows']:,}"
        cells = [
            row["file"] or "all files together",
            rows,
            _minute(row.get("first_time")),
            _minute(row.get("last_time")),
        ]
        table.add_row(*map(_cell, cells), *(f"{row[word]:,}" for word in ("ok", "note", "fail")))
    if counts.height > _SHOWN:
        table.caption = f"first {_SHOWN} of {counts.height:,} files"
    yield from rendered(table)
    found = certificate.filter(pl.col("outcome") != "ok").sort(pl.col("outcome") != "fail", maintain_order=True)
    for row in found.head(_SHOWN).iter_rows(named=True):
        word = "FAIL" if row["outcome"] == "fail" else "note"
        where = ", ".join(_words(text) for text in (row["file"], row["control"], row["subject"]) if text)
        said = row["finding"] or "no finding"
        yield f"{word}: {where}: {_printable(said) if word == 'FAIL' else _short(said)}"
    if found.height > _SHOWN:
        yield f"... and {found.height - _SHOWN:,} more, in certificate"


def _no_controls() -> dict[str, pl.Expr]:
    """Files of positions have no rows that move anything, and so no controls."""
    return {word: pl.col(word).fill_null(0) for word in ("ok", "note", "fail")}


def imported_told(frames: Mapping[str, pl.DataFrame]) -> Iterator[str]:
    """Lines about the frames that an import gives: files, what their rows are, positions stated, events."""
    yield from _sources(frames["inputs"], frames["certificate"])
    kinds = (
        frames["statements"]
        .group_by("meaning", "stated_type", maintain_order=True)
        .agg(
            rows=pl.len(),
            events=pl.col("event_id").is_not_null().sum(),
            why=pl.col("no_event_because").drop_nulls().first(),
        )
    )
    table = Table("meaning", "type in the file", "rows", "in events", "why not", title="What the rows are")
    for row in kinds.head(_SHOWN).iter_rows(named=True):
        cells = (row["meaning"], row["stated_type"] or "", f"{row['rows']:,}", f"{row['events']:,}", row["why"] or "")
        table.add_row(*map(_cell, cells))
    if kinds.height:
        yield from rendered(table)
    if kinds.height > _SHOWN:
        yield f"... and {kinds.height - _SHOWN:,} more types, in statements"
    snapshots = frames["snapshots"]
    for row in snapshots.head(_SHOWN).iter_rows(named=True):
        yield _snapshot_told(row)
    if snapshots.height > _SHOWN:
        yield f"... and {snapshots.height - _SHOWN:,} more positions, in snapshots"


def _snapshot_told(row: Mapping[str, Any]) -> str:
    """A position as it is stated, and what was inferred."""
    name = _printable(f"{row['account']}: {row['instrument']}")
    if not row["is_isolated_margin"]:
        return f"position {name}: no isolated spot-margin position"
    figures = [row["status"], row["direction"] or ""]
    amounts = (
        ("assets", "assets_shown", ""),
        ("liability", "liability_shown", ""),
        ("margin", "margin", row["margin_currency"]),
    )
    figures += [
        f"{word} {plain(row[name])} {unit or ''}".strip() for word, name, unit in amounts if row[name] is not None
    ]
    figures += [row["inferred"]] if row["inferred"] else []
    return f"position {name}: {', '.join(filter(None, figures))}"


def _positions(matches: pl.DataFrame | None, comparison: pl.DataFrame | None) -> Iterator[str]:
    """One row per position: events in common or not, figures compared; those that do not agree stand first."""
    frames = []
    if matches is not None:
        frames.append(_counted(matches, "found", FOUND, "events"))
    if comparison is not None:
        frames.append(_counted(comparison, "verdict", VERDICTS, "figure"))
    found = (
        pl.concat(frames, how="diagonal").group_by("position", maintain_order=True).agg(pl.exclude("position").sum())
    )
    if found.is_empty():
        return
    agreeing = ("events in_common", "figure matched", "figure not_compared")
    apart = [name for name in found.columns if name not in ("position", *agreeing)]
    found = found.sort(pl.sum_horizontal(apart) == 0, maintain_order=True)
    headings = [
        name for name in found.columns if name in agreeing[:2] or found[name].dtype == pl.String or found[name].sum()
    ]
    table = Table(*(_words(name.removeprefix("figure ")) for name in headings), title="Positions")
    for row in found.head(_SHOWN).select(headings).iter_rows():
        table.add_row(_cell(row[0]), *(f"{count:,}" for count in row[1:]))
    if found.height > _SHOWN:
        table.caption = f"first {_SHOWN} of {found.height:,} positions"
    yield from rendered(table)


def _counted(frame: pl.DataFrame, column: str, words: tuple[str, ...], what: str) -> pl.DataFrame:
    """Rows of each position by the word in a column."""
    counts = [(pl.col(column) == word).sum().cast(pl.Int64).alias(f"{what} {word}") for word in words]
    return frame.group_by("position", maintain_order=True).agg(counts)


def _breaks(breaks: pl.DataFrame, causes: pl.DataFrame, comparison: pl.DataFrame | None) -> Iterator[str]:
    """Each break in one line or two, position by position; where there are too many, each position has its turn."""
    shown = _chosen(breaks)
    parts = causes.filter(pl.col("break_id").is_in(shown["break_id"].implode())).sort("place", maintain_order=True)
    by_break = parts.partition_by("break_id", as_dict=True)
    verdicts = _verdicts(comparison)
    for row in shown.iter_rows(named=True):
        own = by_break.get((row["break_id"],))
        what, why = _what(row, verdicts.get(row["break_id"], "")), _why(row, [] if own is None else own.to_dicts())
        if len(what) + len(why) + 2 <= _LINE:
            yield f"{what}: {why}"
        else:
            yield f"{what}:"
            yield f"    {why}"
    if breaks.height > _SHOWN:
        yield f"... and {breaks.height - _SHOWN:,} more breaks; all of them are in breaks, their causes in break_causes"


def _carried_on(reviews: pl.DataFrame, parameters: pl.DataFrame | None) -> Iterator[str]:
    """How many breaks are new, carried on and gone since the run before, where there was one."""
    known = pl.DataFrame(schema=schema(PARAMETERS)) if parameters is None else parameters
    before = known.filter((pl.col("name") == "reconcile.previous") & (pl.col("value") != ""))["value"]
    counts = dict(reviews["change"].cast(pl.String).value_counts().iter_rows())
    if before.is_empty() and not counts.keys() - {"new"}:
        return
    told = ", ".join(f"{counts[word]:,} {word}" for word in CHANGES if word in counts and word != "resolved before")
    still = reviews.filter(pl.col("state") == "open", pl.col("change") != "not compared").height
    since = f" since {_printable(before[0])}" if before.len() else ""
    yield f"{still:,} break{'s' * (still != 1)}: {told or 'none new, none resolved'}{since}"


def _chosen(breaks: pl.DataFrame) -> pl.DataFrame:
    """The breaks to tell: material ones first, then the first of every position, then the second..."""
    weight = pl.col("figure").replace_strict({name: n for n, name in enumerate(_FIRST)}, default=len(_FIRST))
    ranked = breaks.with_row_index("place").sort("position", weight, "place").with_row_index("listed")
    turns = ranked.with_columns(turn=pl.int_range(pl.len()).over("position", "material"))
    by_turn = turns.sort(~pl.col("material").fill_null(value=False), "turn", "listed")
    return by_turn.head(_SHOWN).sort("listed")


def _verdicts(comparison: pl.DataFrame | None) -> dict[str, str]:
    """The verdict of each break at its last moment, by the identifier of the break."""
    if comparison is None:
        return {}
    last = comparison.filter(pl.col("break_id").is_not_null()).sort("time", maintain_order=True)
    return dict(last.select("break_id", pl.col("verdict").cast(pl.String)).iter_rows())


def _what(row: dict[str, Any], verdict: str) -> str:
    """Which figure of which position is how far off."""
    figure = _FIGURES.get(row["figure"], _words(row["figure"]))
    source = ", by the exchange's events," if row["stated_by"] == "events" else ""
    name = f"{figure} of {_printable(row['position'])}{source} {'are' if figure == 'assets' else 'is'}"
    unit = "" if row["unit"] in (None, "", "share") else f" {_printable(row['unit'])}"
    if verdict == "only_at_exchange" or row["ledger"] is None:
        return f"{name} only at the exchange ({_amount(row['exchange'])}{unit})"
    if verdict == "only_in_ledger" or row["exchange"] is None:
        return f"{name} only in the ledger ({_amount(row['ledger'])}{unit})"
    if not row["difference"]:
        return f"{name} not the exchange's"
    too_high = (row["difference"] > 0) != (row["figure"] in _NEGATIVE)
    return f"{name} {plain(abs(row['difference']))}{unit} too {'high' if too_high else 'low'}"


def _amount(amount: Decimal | None) -> str:
    return "no figure" if amount is None else plain(amount)


def _why(row: dict[str, Any], parts: list[dict[str, Any]]) -> str:
    """The causes and the part of the difference that each makes; a minus says that it works the other way."""
    way = -1 if (row["difference"] or 0) < 0 else 1
    parts = [part for part in parts if part["cause"] != "unexplained" or part["amount"]]
    if not parts:
        return "unexplained"
    if len(parts) == 1 and parts[0]["cause"] == "unexplained":
        return "unexplained"
    told = [_part(part, plain((part["amount"] or Decimal(0)) * way)) for part in parts]
    if len(told) > _PARTS_SHOWN:
        told = [*told[:_PARTS_SHOWN], f"and {len(told) - _PARTS_SHOWN} more parts"]
    return "; ".join(told)


def _part(part: dict[str, Any], amount: str) -> str:
    if part["cause"] == "unexplained":
        return f"unexplained {amount}"
    said = _short(part["hypothesis"] or "").rstrip(".")
    if not said:
        meaning = CAUSES[part["cause"]].rstrip(".")
        said = meaning[:1].lower() + meaning[1:]
    return f"{said}{_or(part['alternatives'])} ({amount})"


def _or(alternatives: str | None) -> str:
    """What else explains it as well: names of causes one by one, any other text as it is."""
    if not alternatives:
        return ""
    names = [name.strip() for name in alternatives.replace(";", ",").split(",") if name.strip()]
    if names and all(name in CAUSES for name in names):
        return "".join(f", or {_words(name)}" for name in names)
    return f", or {_short(alternatives)}"


def _verdict(frames: Mapping[str, pl.DataFrame]) -> str:
    """The last line: reconciled or not, and what is left to look at."""
    problems = [*_problems(frames)]
    comparison = frames.get("comparison")
    compared = 0 if comparison is None else comparison.filter(pl.col("verdict") != "not_compared").height
    if problems:
        return f"NOT RECONCILED: {', '.join(problems)}."
    if not compared:
        return "NOTHING COMPARED: no figure stands on both sides."
    positions = comparison["position"].n_unique() if comparison is not None else 0
    one = compared == 1
    return (
        f"RECONCILED: {compared:,} figure{'' if one else 's'} of {positions:,} position{'s' * (positions != 1)}"
        f" agree{'s' * one}, no breaks."
    )


def _problems(frames: Mapping[str, pl.DataFrame]) -> Iterator[str]:
    breaks = frames.get("breaks")
    if breaks is not None and breaks.height:
        yield f"{breaks.height:,} break{'s' * (breaks.height > 1)}"
        yield f"{breaks['material'].sum():,} material"
        unexplained = breaks.filter(pl.col("unexplained") != 0).height
        if unexplained:
            yield f"{unexplained:,} not fully explained"
        ambiguous = breaks["ambiguous"].sum()
        if ambiguous:
            yield f"{ambiguous:,} ambiguous"
    certificate = frames.get("certificate")
    failed = 0 if certificate is None else certificate.filter(pl.col("outcome") == "fail").height
    if failed:
        yield f"{failed:,} control{'s' * (failed > 1)} of the files failed"
    checks = frames.get("checks")
    if checks is not None:
        for row in checks.filter(pl.col("failures") > 0, ~pl.col("check").is_in(_TOLD)).iter_rows(named=True):
            many = row["failures"] > 1
            failures = (f"failure{'s' * many} of the check {_words(row['check'])}",) * 2
            yield f"{row['failures']:,} {_FAILED.get(row['check'], failures)[many]}"


_TOLD = ("exchange_agrees", "files_are_complete")
"""Checks that fail where there are breaks or controls that fail, which are counted already."""
_FAILED = {
    "earlier_breaks_are_compared": ("earlier open break not compared", "earlier open breaks not compared"),
    "interest_agrees": (
        "charge of interest other than what is due on the ledger's liability",
        "charges of interest other than what is due on the ledger's liability",
    ),
    "events_agree": (
        "event that the two sides do not have alike",
        "events that the two sides do not have alike",
    ),
    "positions_are_compared": (
        "open position of the ledger that the exchange's files do not state",
        "open positions of the ledger that the exchange's files do not state",
    ),
}


def _words(name: str) -> str:
    return _printable(name).replace("_", " ")


def _cell(text: str) -> Text:
    return Text(_printable(text))


def _printable(text: str) -> str:
    """Text that a terminal shows and does not obey: what cannot be seen is written as its code."""
    return "".join(one if one.isprintable() else f"\\x{ord(one):02x}" for one in text)


def _short(text: str) -> str:
    shown = _printable(text.strip())
    return shown if len(shown) <= _TEXT else f"{shown[:_TEXT].rstrip()} [...]"


def _minute(time: Any) -> str:
    return f"{time:%Y-%m-%d %H:%M}" if time else ""
