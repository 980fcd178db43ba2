"""The completeness certificate: what was handed in, and what shows that nothing of it is missing or counts twice."""

from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl

from ledger.columns import schema
from ledger.money import ZERO
from ledger.statements.chains import ACCOUNT_KEYS, BILLS, POSITION_KEYS, account_links, beginnings, position_links
from ledger.statements.columns import CERTIFICATE, CONTROLS, SUMS
from ledger.statements.legs import LEG_MEANINGS
from ledger.statements.merging import LAST_DIGIT, Merged
from ledger.statements.transactions import Transactions

Window = tuple[datetime | None, datetime | None]
ALL_FILES = "all files"

_HOUR = 3_600_000_000  # microseconds
_EARLY = pl.duration(seconds=5)  # an hour's charge may be booked a little before it
_AMOUNTS = ("size", "change", "account_change", "fee", "interest")


def certificate(
    files: pl.DataFrame,
    rows: pl.DataFrame,
    merged: Merged,
    transactions: Transactions,
    window: Window = (None, None),
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The frames CERTIFICATE and SUMS of the exchange's files.

    `files` has `input` and `file`; `rows` (ROWS_SCHEMA) are all rows read, `merged` each of them once; `window` is
    what the replay covers. A control of one file stands under its number, one of all files together under none.
    """
    names = {number: Path(file).name for number, file in files.select("input", "file").iter_rows()}
    positions, account = position_links(merged.rows), account_links(merged.rows)
    proved = positions.height > 0 and not positions["broken"].any()
    found = [
        *_rows(rows, merged),
        *_repeated(rows, merged, names),
        *_id_gaps(merged.rows, transactions),
        *_hour_gaps(transactions, names, proved),
        *_chain(positions, POSITION_KEYS, "positions", "fail", names),
        *_chain(account, ACCOUNT_KEYS, "the account", _account_outcome(merged.rows), names),
        *_beginning(beginnings(positions), names),
        *_sizes(rows),
        *_paired(merged.rows, transactions, names),
        *_unclassified(rows),
        *_coverage(rows, window),
    ]
    for finding in found:
        finding["file"] = names.get(finding["source"], ALL_FILES if finding["source"] is None else "")
    order = [pl.col("source").fill_null(0), pl.col("control").cast(pl.Enum(CONTROLS)).to_physical()]
    frame = pl.DataFrame(found, schema=schema(CERTIFICATE)).sort(order, maintain_order=True)
    return frame, sums_of(rows, names)


def sums_of(rows: pl.DataFrame, names: dict[int, str]) -> pl.DataFrame:
    """Control totals (SUMS) of each file as it was read, by meaning, stated type and currency."""
    keys = ["input", "meaning", "stated_type", "currency"]
    # the streaming engine notices a sum that leaves the type
    sums = rows.lazy().group_by(keys).agg(pl.len().alias("rows"), pl.col(_AMOUNTS).sum())
    totals = sums.collect(engine="streaming").with_columns(
        source="input", file=pl.col("input").replace_strict(names or {0: ""}, default="", return_dtype=pl.String)
    )
    expected = schema(SUMS)
    return totals.select(expected.names()).cast(expected).sort("source", "meaning", "stated_type", "currency")


# --- findings -----------------------------------------------------------------------------------------------


def _finding(
    source: int | None,
    control: str,
    tested: int,
    exceptions: int,
    outcome: str,
    text: str,
    subject: str | None = None,
    largest: Decimal | None = None,
) -> dict[str, Any]:
    return {
        "source": source,
        "control": control,
        "subject": subject,
        "tested": tested,
        "exceptions": exceptions,
        "largest_difference": largest,
        "outcome": outcome,
        "finding": text,
    }


def _sources(rows: pl.DataFrame) -> Iterable[tuple[int | None, pl.DataFrame]]:
    """The rows of each file, then all; of one file alone only once more."""
    numbers = rows["input"].unique(maintain_order=True)
    for number in numbers:
        yield number, rows if len(numbers) == 1 else rows.filter(pl.col("input") == number)
    yield None, rows


def _count(number: int, one: str, many: str | None = None) -> str:
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def _amount(value: Decimal | None) -> str:
    text = f"{value or Decimal(0):f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _place(number: int, row: int, names: dict[int, str]) -> str:
    return f"row {row} of {names.get(number, f'file {number}')}"


def _by_currency(rows: pl.DataFrame, *amounts: str) -> str:
    """The sums of the amounts by currency, in words."""
    total = pl.sum_horizontal(pl.col(name).fill_null(ZERO).sum() for name in amounts)
    sums = rows.group_by("currency", maintain_order=True).agg(total.alias("total")).sort("currency")
    return ", ".join(f"{_amount(total)} {currency or '(no currency)'}" for currency, total in sums.iter_rows())


# --- rows, duplicates, overlaps -----------------------------------------------------------------------------


def _rows(rows: pl.DataFrame, merged: Merged) -> list[dict[str, Any]]:
    found = []
    for source, part in _sources(rows):
        counts = part.group_by("meaning").len().sort("meaning").iter_rows()
        kinds = ", ".join(f"{count:,} {meaning}" for meaning, count in counts) or "no movement at all"
        once = f"; {_count(merged.rows.height, 'row')} when each counts once" if source is None else ""
        found.append(_finding(source, "rows", part.height, 0, "ok", f"{_count(part.height, 'row')}: {kinds}{once}."))
    return found


def _repeated(rows: pl.DataFrame, merged: Merged, names: dict[int, str]) -> list[dict[str, Any]]:
    """Rows that stand twice in one file, which is wrong, and rows that files share, which is no matter."""
    inside = pl.col("input") == pl.col("standing_input")
    found = []
    for source, part in _sources(rows):
        of_source = pl.lit(True) if source is None else pl.col("input") == source
        twice, shared = merged.repeated.filter(of_source & inside), merged.repeated.filter(of_source & ~inside)
        text = "No row stands twice in a file."
        if twice.height:
            first = twice.row(0, named=True)
            text = f"{_count(twice.height, 'row')} left out: {_place(first['input'], first['row'], names)} says again "
            text += f"what row {first['standing_row']} says."
        outcome = "fail" if twice.height else "ok"
        found.append(_finding(source, "duplicates", part.height, twice.height, outcome, text))
        text = "No row stands in another file too."
        if shared.height:
            first = shared.row(0, named=True)
            text = f"{_count(shared.height, 'row')} also in another file, counted once: the first is "
            text += f"{_place(first['input'], first['row'], names)}, which is "
            text += f"{_place(first['standing_input'], first['standing_row'], names)}."
        outcome = "note" if shared.height else "ok"
        found.append(_finding(source, "overlap", part.height, shared.height, outcome, text))
    return found


# --- gaps ---------------------------------------------------------------------------------------------------


def _id_gaps(rows: pl.DataFrame, transactions: Transactions) -> list[dict[str, Any]]:
    """Identifiers jump, but the two legs of a fill have consecutive ones: a leg alone shows that one is missing."""
    legs = rows.filter(pl.col("meaning").is_in(LEG_MEANINGS) & pl.col("layout").is_in(BILLS))
    alone = legs.join(transactions.alone, on=["input", "row"], how="semi", maintain_order="left")
    found = []
    for source, part in _sources(legs):
        lone = alone if source is None else alone.filter(pl.col("input") == source)
        text = "Identifiers jump by nature; each leg has the other one of its fill."
        if lone.height:
            text = f"{_count(lone.height, 'leg')} without the other leg of the fill, whose identifier is the next "
            text += f"or the one before: the first is {lone['row_id'][0]}, row {lone['row'][0]}."
        found.append(_finding(source, "id_gaps", part.height, lone.height, "note" if lone.height else "ok", text))
    return found


def _hour_gaps(transactions: Transactions, names: dict[int, str], proved: bool) -> list[dict[str, Any]]:
    """Full hours at which a position owed something and nothing was charged, between its first and last charge.

    Where the balances prove that no row is missing (`proved`), the exchange did not charge: a note, and no failure.
    """
    # a charge counts for its hour, however late within it it was booked
    is_charge = pl.col("meaning") == "interest"
    moment = pl.when(is_charge).then((pl.col("time") + _EARLY).dt.truncate("1h")).otherwise("time")
    course = transactions.path.with_columns(moment=moment.dt.timestamp("us"), is_charge=is_charge)
    course = course.with_columns(
        charges_so_far=pl.col("is_charge").cum_sum().over("position"),
        charges=pl.col("is_charge").sum().over("position"),
    )
    after = pl.col("moment").shift(-1).over("position")
    inside = (pl.col("charges_so_far") > 0) & (pl.col("charges_so_far") < pl.col("charges"))
    hours = (after - 1) // _HOUR - pl.col("moment") // _HOUR
    gaps = course.with_columns(hours=pl.when(inside & (pl.col("owed") > ZERO)).then(hours.clip(lower_bound=0)))
    charged, missed = int(course["is_charge"].sum()), int(gaps["hours"].sum() or 0)
    if not missed:
        text = (
            f"{_count(charged, 'charge')} of interest; no full hour with a liability lacks one."
            if charged
            else ("No interest is charged in these files.")
        )
        return [_finding(None, "hour_gaps", charged, 0, "ok", text)]
    found = []
    for (position,), part in gaps.filter(pl.col("hours") > 0).group_by("position", maintain_order=True):
        first, hours_missed = part.row(0, named=True), int(part["hours"].sum())
        text = f"{_count(hours_missed, 'full hour')} with a liability and without a charge, between two charges: the "
        text += f"first follows {_place(first['input'], first['row'], names)} of {first['time']:%Y-%m-%d %H:%M}."
        tested = course.filter((pl.col("position") == position) & pl.col("is_charge")).height
        text += " The balances show that no row is missing." if proved else ""
        outcome = "note" if proved else "fail"
        found.append(_finding(None, "hour_gaps", tested, hours_missed, outcome, text, subject=str(position)))
    return found


def _account_outcome(rows: pl.DataFrame) -> str:
    """What a break in the account's balances is: where bills were asked for positions alone, no failure of them."""
    return "note" if rows.filter(pl.col("meaning") == "outside").is_empty() else "fail"


def _chain(
    links: pl.DataFrame, keys: tuple[str, ...], whose: str, broken_outcome: str, names: dict[int, str]
) -> list[dict[str, Any]]:
    broken = links.filter("broken")
    failing = broken.select("series").unique()
    sound = links.join(failing, on="series", how="anti")
    rounded = sound.filter("rounded")
    subject = f"balances of {whose}"
    text = f"Each balance of {whose} is the one before plus the change."
    if sound.is_empty():
        text = f"No two rows of {whose} state balances that follow each other."
    elif rounded.height:
        text = f"Each balance of {whose} is the one before plus the change, but for rounding at 8 decimals in "
        text += f"{_count(rounded.height, 'row')}."
    largest = rounded.select(pl.col("missing").abs().max()).item() if rounded.height else None
    outcome = "note" if rounded.height else "ok"
    found = []
    if not (sound.is_empty() and broken.height):
        found.append(_finding(None, "balance_chain", sound.height, rounded.height, outcome, text, subject, largest))
    links_of = dict(links.group_by("series").len().iter_rows())
    for _, part in broken.group_by("series", maintain_order=True):
        first = part.row(0, named=True)
        tested = links_of[first["series"]]
        subject = f"balances of {whose}: " + ":".join(str(first[key]) for key in keys)
        text = f"{_place(first['input_before'], first['row_before'], names)} ({first['row_id_before']}) leaves "
        text += f"{_amount(first['balance_before'])}; {_place(first['input'], first['row'], names)} ({first['row_id']})"
        text += f" changes it by {_amount(first['change'])} to {_amount(first['balance'])}: between the two, "
        text += f"{_amount(first['missing'])} {first['currency']} is missing."
        if broken_outcome == "note":
            text += " The files have rows of isolated positions only, so that other movements are not in them."
        largest = part.select(pl.col("missing").abs().max()).item()
        found.append(_finding(None, "balance_chain", tested, part.height, broken_outcome, text, subject, largest))
    return found


# --- amounts ------------------------------------------------------------------------------------------------


def _sizes(rows: pl.DataFrame) -> list[dict[str, Any]]:
    """Size and fee of a leg make its change; what went past the position to the account counts with it."""
    change = pl.col("change")
    fee = pl.when(pl.col("fee_currency") == pl.col("currency")).then("fee").fill_null(ZERO)
    own = ((change + fee).abs() - pl.col("size")).abs()
    whole = ((change + pl.col("account_change").fill_null(ZERO) + fee).abs() - pl.col("size")).abs()
    legs = rows.filter(pl.col("meaning").is_in(LEG_MEANINGS) & (change != ZERO) & pl.col("size").is_not_null())
    legs = legs.with_columns(apart=pl.min_horizontal(own, whole))
    found = []
    for source, part in _sources(legs):
        off = part.filter(pl.col("apart") != ZERO)
        large = off.filter(pl.col("apart") > LAST_DIGIT)
        largest = off.select(pl.col("apart").max()).item() if off.height else None
        text, outcome = "Size and fee of each leg make its change.", "ok"
        if large.height:
            first, outcome = large.row(0, named=True), "fail"
            text = f"{_count(large.height, 'leg')} whose size and fee do not make the change: the first is row "
            text += f"{first['row']} ({first['row_id']}), by {_amount(first['apart'])} {first['currency']}."
        elif off.height:
            outcome = "note"
            text = f"Size and fee of each leg make its change, but for rounding in {_count(off.height, 'row')}."
        found.append(_finding(source, "sizes", part.height, off.height, outcome, text, largest=largest))
    return found


def _paired(rows: pl.DataFrame, transactions: Transactions, names: dict[int, str]) -> list[dict[str, Any]]:
    legs = rows.filter(pl.col("meaning").is_in(LEG_MEANINGS))
    alone = legs.join(transactions.alone, on=["input", "row"], how="semi", maintain_order="left")
    if alone.is_empty():
        return [_finding(None, "paired_legs", legs.height, 0, "ok", "Each leg is one of the two of a fill.")]
    place = _place(alone["input"][0], alone["row"][0], names)
    text = f"{_count(alone.height, 'leg')} without the other leg of the fill, and so no part of any event: "
    text += f"{_by_currency(alone, 'change')} in sum; the first is {place} ({alone['row_id'][0]})."
    return [_finding(None, "paired_legs", legs.height, alone.height, "fail", text)]


def _unclassified(rows: pl.DataFrame) -> list[dict[str, Any]]:
    """Rows of an unknown type are kept and reported; they fail where they move anything."""
    found = []
    for source, part in _sources(rows):
        unknown = part.filter(pl.col("meaning") == "unclassified")
        text, outcome = "Every type and sub-type is known.", "ok"
        if unknown.height:
            moved = unknown.select(pl.any_horizontal((pl.col("change", "account_change") != ZERO).any())).item()
            outcome = "fail" if moved else "note"
            types = ", ".join(unknown["stated_type"].fill_null("none").unique().sort().head(5))
            text = f"{_count(unknown.height, 'row')} of unknown type ({types}), in no event. Changes of positions: "
            text += f"{_by_currency(unknown, 'change')}; of the account: {_by_currency(unknown, 'account_change')}."
        found.append(_finding(source, "unclassified", part.height, unknown.height, outcome, text))
    return found


def _beginning(first: pl.DataFrame, names: dict[int, str]) -> list[dict[str, Any]]:
    """Whether each position's rows begin where it is flat: else what it held before them is in no row."""
    inside = first.filter(pl.col("opening") != ZERO)
    largest = inside["opening"].abs().max()
    text = f"{_count(first.height, 'balance')} of positions begin{'s' * (first.height == 1)} at zero."
    if inside.height:
        row = inside.row(0, named=True)
        which = f"{_amount(row['opening'])} {row['currency']} of {row['account']}:{row['instrument']}"
        text = (
            f"{_count(inside.height, 'balance')} of positions began before the first row: {which} stood there before"
            f" {_place(row['input'], row['row'], names)}. Give the rows before it, or a snapshot with --opening."
        )
    outcome = "fail" if inside.height else "ok"
    size = largest if isinstance(largest, Decimal) else None
    return [_finding(None, "beginning", first.height, inside.height, outcome, text, largest=size)]


def _coverage(rows: pl.DataFrame, window: Window) -> list[dict[str, Any]]:
    """From when to when a file has rows, against what the replay covers."""
    start, end = window
    found = []
    for source, part in _sources(rows):
        first, last = part.select(first=pl.col("time").min(), last=pl.col("time").max()).row(0)
        if first is None:
            found.append(_finding(source, "coverage", 0, 0, "ok", "No rows."))
            continue
        inside = part.filter((pl.col("time") >= (start or first)) & (pl.col("time") <= (end or last))).height
        late = [] if start is None or first <= start else [f"it begins after {start:%Y-%m-%d %H:%M}"]
        late += [] if end is None or last >= end else [f"it ends before {end:%Y-%m-%d %H:%M}"]
        spans = f"From {first:%Y-%m-%d %H:%M:%S} to {last:%Y-%m-%d %H:%M:%S} UTC."
        gap = f" Of the replay's window, {' and '.join(late)}." if late else ""
        outcome = "note" if late else "ok"
        found.append(_finding(source, "coverage", part.height, part.height - inside, outcome, spans + gap))
    return found
