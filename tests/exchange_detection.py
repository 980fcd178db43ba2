"""How many planted breaks are found, named, and explained to the last digit: random histories, cause by cause.

`python tests/exchange_detection.py` prints the tables that the README has. In setting `bills` the exchange gives its
bills, its interest and its positions; in `snapshots` its positions after every few events; in `snapshot` its
positions at the end and nothing else.
"""

import sys
import tempfile
from dataclasses import dataclass, fields
from decimal import Decimal
from pathlib import Path
from random import Random

import polars as pl

sys.path.insert(0, str(Path(__file__).parent))

import exchange_breaks
import exchange_files
import exchange_snapshots
import exchange_truth
from exchange_events import name_of

from ledger import ReconcileRequest, reconcile_files

SETTINGS = ("bills", "snapshots", "snapshot")
WORLDS, POSITIONS, EVENTS = 2, 16, (10, 40)
EVERY = 6
"""Events of a position from one snapshot of it to the next."""
SILENT = ("venue_digits", "unexplained")
"""Causes that name nothing that was planted."""
LONELY = ("cut_off", "mode")
"""Causes that are not planted beside others: one takes the others away, the other touches every event."""

EACH = "each"
IN_TURN = tuple(name for name in exchange_breaks.PLANTERS if name != "cut_off")


@dataclass
class Found:
    """Of so many planted breaks: those seen, named with nothing that was not planted, named among such, exact.

    `unexplained` counts those in whose position something is left unexplained.
    """

    planted: int = 0
    detected: int = 0
    alone: int = 0
    among: int = 0
    exact: int = 0
    unexplained: int = 0

    def add(self, other):
        for field in fields(self):
            setattr(self, field.name, getattr(self, field.name) + getattr(other, field.name))


@dataclass(frozen=True)
class Reconciled:
    """The frames of one reconciliation."""

    breaks: pl.DataFrame
    causes: pl.DataFrame
    matches: pl.DataFrame


def world(seed, setting, positions=POSITIONS, events=EVENTS):
    """The events of an account; where only snapshots tell of them, all positions are open at the end."""
    ends_open = None if setting == "bills" else True
    return exchange_truth.history(Random(seed), positions=positions, events=events, ends_open=ends_open)["events"]


def exchange_side(folder, events, setting, seed):
    """The exchange's files in a setting; the archive and the API's answer take turns."""
    if setting == "bills":
        rows = exchange_files.bills(events)
        packed = (".csv", ".csv.gz", ".zip")[seed // 2 % 3]
        name, content = (
            ("bills.json", exchange_files.answer(exchange_files.bill_records(rows)))
            if seed % 2
            else (f"bills{packed}", exchange_files.archive(rows))
        )
        given = {
            name: content,
            "interest.json": exchange_files.answer(exchange_files.interest_records(events)),
            "closed.json": exchange_files.answer(exchange_snapshots.closed_records(events)),
            "positions.json": exchange_files.answer(exchange_snapshots.position_records(events)),
        }
    else:
        records = _snapshots(events) if setting == "snapshots" else exchange_snapshots.position_records(events)
        given = {"positions.json": exchange_files.answer(records)}
    return [
        exchange_files.write(folder / name, content) for name, content in given.items() if '"data": []' not in content
    ]


def _snapshots(events):
    """Records of each position after every few events of it, and at the end."""
    counts, records = {}, []
    for event in events:
        counts[name_of(event)] = counts.get(name_of(event), 0) + 1
        if counts[name_of(event)] % EVERY == 0:
            own = [other for other in events if name_of(other) == name_of(event)]
            records += exchange_snapshots.position_records(own, event["time"])
    records += exchange_snapshots.position_records(events)
    return list({(record["posId"], record["uTime"]): record for record in records}.values())


def reconciled(events, ledger, setting, seed=0):
    """The reconciliation of a ledger's events with the exchange's files of the true ones."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        house = exchange_files.write(folder / "ledger.csv", exchange_files.house_ledger(ledger))
        request = ReconcileRequest(
            ledger=[house], exchange=exchange_side(folder, events, setting, seed), account=exchange_truth.ACCOUNT
        )
        reconcile_files(request, folder / "out")
        return Reconciled(*(_frame(folder / "out", frame) for frame in ("breaks", "break_causes", "matches")))


def _frame(folder, name):
    path = folder / f"{name}.parquet"
    return pl.read_parquet(path) if path.exists() else pl.DataFrame()


def planted_world(seed, cause, setting, *, positions=POSITIONS):
    """The events of a world, the ledger's copy with a break of a cause wherever there is room, and what was planted.

    Cause None plants one to five breaks of different causes in each position, cause EACH one of another cause in each.
    """
    events, random = world(seed, setting, positions), Random(f"{seed} {cause}")
    if cause == "cut_off":
        last = events[len(events) * random.randint(50, 90) // 100]
        return events, *exchange_breaks.cut_off(events, last["time"]).values()
    ledger, planted = events, []
    for number, position in enumerate(sorted({name_of(event) for event in events})):
        found = _planted(random, ledger, position, IN_TURN[number % len(IN_TURN)] if cause == EACH else cause)
        if found and (setting == "bills" or any(one["seen_in"] == "state" for one in found["planted"])):
            ledger = found["events"]
            planted += found["planted"]
    return events, ledger, planted


def _planted(random, ledger, position, cause):
    """A break of the cause; without one, one to five of different causes, or fewer where there is no room."""
    if cause:
        return exchange_breaks.plant(random, ledger, position, [cause])
    several = [name for name in exchange_breaks.PLANTERS if name not in LONELY]
    count = random.randint(1, 5)
    drawn = (random.sample(several, max(1, count - turn // 4)) for turn in range(20))
    return next(filter(None, (exchange_breaks.plant(random, ledger, position, each) for each in drawn)), None)


def detection(cause, setting, worlds=WORLDS, positions=POSITIONS):
    """What is found of breaks of a cause, in so many worlds of so many positions each."""
    found = Found()
    for seed in range(worlds):
        events, ledger, planted = planted_world(seed, cause, setting, positions=positions)
        result = reconciled(events, ledger, setting, seed)
        for one in planted:
            found.add(of_one(result, one, planted))
    return found


def mixed_detection(setting, worlds=WORLDS, positions=POSITIONS):
    """What is found where each position has one to five breaks of different causes, by cause."""
    found = {}
    for seed in range(worlds):
        events, ledger, planted = planted_world(seed, None, setting, positions=positions)
        result = reconciled(events, ledger, setting, seed)
        for one in planted:
            found.setdefault(one["cause"], Found()).add(of_one(result, one, planted))
    return dict(sorted(found.items()))


def of_one(result, one, planted=()):
    """What is found of one planted break; `planted` are all, of which others may be in the same position."""
    breaks = result.breaks.filter(pl.col("position") == one["position"])
    parts = result.causes.filter(pl.col("break_id").is_in(breaks["break_id"].implode()), pl.col("amount") != 0)
    matches = result.matches
    if matches.width:
        matches = matches.filter(pl.col("position") == one["position"], pl.col("cause").is_not_null())
    causes = {*parts["cause"].to_list(), *(matches["cause"].to_list() if matches.width else ())} - set(SILENT)
    others = " ".join(parts["alternatives"].drop_nulls().to_list())
    named, own = one["cause"] in causes, {one["cause"]}
    own |= {other["cause"] for other in planted if other["position"] == one["position"]}
    alone = named and causes <= own and not others
    return Found(
        planted=1,
        detected=int(breaks.height > 0 or matches.height > 0),
        alone=int(alone),
        among=int(not alone and (named or one["cause"] in others)),
        exact=int(named and _amounts_agree(breaks, parts, one)),
        unexplained=int(bool((breaks["unexplained"] != 0).any())),
    )


def _amounts_agree(breaks, parts, one):
    """Whether what the cause makes of the position's balances is what was planted, to the last digit."""
    effects = {name: Decimal(exchange_files.text(one["effect"][name])) for name in exchange_breaks.BALANCES}
    stated = parts.filter(pl.col("cause") == one["cause"]).group_by("break_id").agg(amount=pl.col("amount").sum())
    sums = breaks.filter(pl.col("figure").is_in(list(effects))).join(stated, on="break_id", how="left")
    return all(
        amount == effects[figure] for figure, amount in sums.select("figure", pl.col("amount").fill_null(0)).rows()
    )


def table(found):
    """A Markdown table of what is found of each cause."""
    head = "| break planted | breaks | detected | named alone | named among others | exact amount | unexplained rest |"
    rows = [head, "| --- | ---: | ---: | ---: | ---: | ---: | ---: |"]
    for cause, one in found.items():
        counts = (one.planted, one.detected, one.alone, one.among, one.exact, one.unexplained)
        rows.append(f"| {(cause or 'none').replace('_', ' ')} | {' | '.join(map(str, counts))} |")
    return "\n".join(rows)


def clean(setting, worlds=WORLDS, positions=POSITIONS):
    """Positions of histories without a break, and the breaks and matches that are reported all the same."""
    compared = false = 0
    for seed in range(worlds):
        events = world(1000 + seed, setting, positions)
        result = reconciled(events, events, setting, seed)
        compared += len({name_of(event) for event in events})
        differing = result.matches.filter(pl.col("found") != "in_common").height if result.matches.width else 0
        false += result.breaks.height + differing
    return compared, false


TITLES = {
    "bills": "bills, interest and positions",
    "snapshots": "positions every few events",
    "snapshot": "positions at the end",
}
"""What the exchange gives in each setting, as the README has it."""


def published(found):
    """A Markdown table: for each cause and setting the breaks named alone, among others, of those planted; exact."""
    causes = list(dict.fromkeys(cause for one in found.values() for cause in one))
    rows = [
        f"| break planted | {' | '.join(TITLES[setting] for setting in found)} |",
        "| --- |" + " ---: |" * len(found),
    ]
    for cause in causes:
        cells = (cell(one.get(cause, Found())) for one in found.values())
        rows.append(f"| {cause.replace('_', ' ')} | {' | '.join(cells)} |")
    return "\n".join(rows)


def cell(one):
    """Counts of one cause in one setting."""
    return f"{one.alone} + {one.among} of {one.planted}, {one.exact} exact" if one.planted else ""


if __name__ == "__main__":
    alone = {each: {cause: detection(cause, each) for cause in exchange_breaks.PLANTERS} for each in SETTINGS}
    mixed = {each: mixed_detection(each) for each in SETTINGS}
    for title, found in (("One break in a position:", alone), ("One to five in each position:", mixed)):
        planted, detected = (
            sum(getattr(one, name) for of in found.values() for one in of.values()) for name in ("planted", "detected")
        )
        print(f"{title} {detected:,} of {planted:,} seen.\n\n{published(found)}\n")
    positions, false = (sum(counts) for counts in zip(*(clean(each) for each in SETTINGS), strict=True))
    print(f"Without a break: {positions} positions, {false} breaks reported.")
