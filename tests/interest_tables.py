"""Interest for tests: plain rows in, plain rows out, for the engine and for the oracle.

Events, rates and policies are dicts as `oracle`, `interest_oracle` and `strategies` have them: amounts are fractions,
times are datetimes. `accrued_book` gives what the engine makes of them in memory, `files` writes them as CSV.
"""

import csv
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from pathlib import Path

import interest_oracle
import oracle
import polars as pl
import strategies
from exact import rows_of

import ledger
from ledger.book import replay_batch
from ledger.checks import combined
from ledger.columns import EVENTS, LEDGER
from ledger.interest.accrual import Accrual
from ledger.interest.policy import InterestPolicy, shipped_policies
from ledger.interest.rates import Rates
from ledger.interest.rates_file import RATES_SCHEMA
from ledger.interest.terms import Terms
from ledger.ordering import index_positions, typed_events, with_positions

SHIPPED = {name: policy.model_dump(exclude_defaults=True) for name, policy in shipped_policies().items()}
"""The shipped policies as dicts."""
POSITION_KEY = ("account", "instrument", "margin_currency")
RATE = {"account": None, "instrument": None, "currency": None, "unit": "hourly"}
CHARGE = ("position", "episode", "time", "charge", "currency", "liability", "rate", "rate_unit", "computed")
_OF_FILES = {"event_id", "input", "row"}
LEDGER_COLUMNS = [column.name for column in LEDGER]
OF_INTEREST = [name for name in LEDGER_COLUMNS if name not in _OF_FILES]
START = datetime(2024, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


def policy(name="okx", **changes):
    """A shipped policy with changes, as a dict."""
    return SHIPPED[name] | changes


def checked(fields):
    """The policy of a dict, as the package takes it."""
    return InterestPolicy(**{"name": "test", **fields})


def rate(time, value, **given):
    """A rate in force from a time on; hourly and for nothing in particular unless said otherwise."""
    return {**RATE, "time": time, "rate": Fraction(value), **given}


def rates_frame(rates):
    """The rates as a rates file gives them."""
    rows = [{**each, "rate": strategies.text(each["rate"]), "row": row} for row, each in enumerate(rates, start=2)]
    texts = {name: pl.String if isinstance(dtype, pl.Decimal) else dtype for name, dtype in RATES_SCHEMA.items()}
    return pl.DataFrame(rows, schema=texts).cast(dict(RATES_SCHEMA))


@dataclass
class AccruedBook:
    """What the engine gives, as frames."""

    events: pl.DataFrame
    ledger: pl.DataFrame
    index: pl.DataFrame
    interest: pl.DataFrame
    roll: pl.DataFrame
    checks: pl.DataFrame

    def failures(self):
        """The checks that fail, but for recorded margins: histories record any."""
        checks = self.checks.filter(pl.col("check") != "initial_margin_as_formula")
        return checks.filter(pl.col("failures") > 0)["check"].to_list()


def accrued_book(events, rates, fields, until, policies=(), begin=None):
    """Interest computed up to `until`: the steps of a run over files, in memory. Raises BadInput."""
    replay = ledger.Policies.parse(list(policies))
    typed = typed_events(strategies.frame([event for event in events if event["time"] <= until]))
    index = index_positions(typed)
    step = Accrual(Terms(checked(fields), Rates(rates_frame(rates)), until), replay, begin)
    together = step.among(with_positions(typed, index), index)
    batch = replay_batch(together, index, replay, {})
    if batch.refusals.height:
        raise ledger.BadInput(batch.refusals)
    frames, findings = step.frames(batch.ledger, index)
    checks = combined([*batch.findings, *findings])
    return AccruedBook(together, batch.ledger, index, frames["interest"], frames["interest_roll"], checks)


def charges_of(interest):
    """The charges of a frame, with the columns the oracle has."""
    return rows_of(interest.select(CHARGE))


def in_order(charges):
    """Charges or rows by position, those of each as they stand."""
    return sorted(charges, key=lambda charge: charge["position"])


def ledger_rows(rows):
    """The rows by their place; of interest nothing that says which file it comes from."""
    found = {(row["position"], row["event_number"], row["part"]): row for row in rows}
    return {
        place: {name: row[name] for name in (OF_INTEREST if row["kind"] == "interest" else LEDGER_COLUMNS)}
        for place, row in found.items()
    }


def first_difference(engine, expected):
    """The first rows that differ between two lists, with the columns in which they do; None where there is none."""
    for number, (one, other) in enumerate(zip(engine, expected, strict=False)):
        if one != other:
            return number, {name: (one.get(name), other[name]) for name in other if one.get(name) != other[name]}, other
    return None if len(engine) == len(expected) else (len(engine), len(expected))


def expected_roll(rows, until, begin=None):
    """The roll-forward by position and currency, from the rows of the oracle: opening, borrowed, interest, repaid."""
    found = {}
    for row in rows:
        if row["direction"] is None:
            continue
        long = row["direction"] == "long"
        leg = "quote" if long else "base"
        before, after = (max(Fraction(0), -row[f"{leg}_{when}"]) for when in ("opening", "closing"))
        names = ("liability_opening", "borrowed", "interest_charged", "repaid")
        instrument = row["position"].split(":")[1]
        currency = instrument.split("-")[1 if long else 0]
        loan = found.setdefault((row["position"], currency), dict.fromkeys(names, Fraction(0)))
        interest = row["interest"] or Fraction(0)
        grown = after - before - interest
        if begin is not None and row["time"] <= begin:
            loan["liability_opening"] += after - before
        elif row["time"] <= until:
            loan["interest_charged"] += interest
            loan["borrowed"] += max(Fraction(0), grown)
            loan["repaid"] += max(Fraction(0), -grown)
    return {key: loan for key, loan in found.items() if any(loan.values())}


# Histories whose events fit a position with interest


def fitting(events, rates, fields, policies=oracle.DEFAULTS):
    """The events that the state of their position allows, interest included; the others are dropped."""
    loans, kept = {}, []
    for event in sorted(events, key=lambda event: (event["time"], event["input"], event["row"])):
        key = tuple(event[name] for name in POSITION_KEY)
        loan = loans.get(key) or interest_oracle.new_loan(*key, policies)
        after = happened(loan, event, rates, fields)
        if after:
            loans[key] = after
            kept.append(event)
    return kept


def happened(loan, event, rates, fields):
    """The loan after an event, or None where its state does not allow it."""
    after = loan | {"position": dict(loan["position"]), "charges": [], "rows": []}
    if event["kind"] == "interest":
        return after
    try:
        interest_oracle.charge_before(after, event["time"], rates, fields)
        interest_oracle.happen(after, event, rates, fields)
    except oracle.RefusedError:
        return None
    return after if strategies._is_sound(after["position"], after["rows"]) else None


def lived(random, rates, fields, policies=oracle.DEFAULTS, *, events=40, positions=3):
    """Events that fit what each position then is, interest included: some close it or repay its debt exactly.

    Most steps are hours; many events stand on a full hour, and many share their moment.
    """
    books = [strategies._book(random, key) for key in random.sample(strategies.KEYS, positions)]
    loans = {book["key"]: interest_oracle.new_loan(*book["key"], policies) for book in books}
    time, rows, file, done = START, {1: 1, 2: 1}, 1, []
    for number in range(events):
        book = random.choice(books)
        step = random.choice((0, 0, 0, 1, 600, 3600, 3600, 7200, 7 * 3600, 1234))
        moment = time + timedelta(seconds=step)
        if random.random() < 0.3:
            moment = max(time, moment.replace(minute=0, second=0))
        place = random.choice((1, 2)) if moment > time else random.choice((file, 2))
        # What the event is made for has been charged all that is due before it.
        trial = loans[book["key"]] | {"charges": [], "rows": []}
        trial["position"] = dict(trial["position"])
        interest_oracle.charge_before(trial, moment, rates, fields)
        event = strategies._event(random, book | {"position": trial["position"]})
        event |= {"time": moment, "event_id": f"event-{number}", "input": place, "row": rows[place] + 1}
        if not strategies._is_plausible(event):
            continue
        after = happened(loans[book["key"]], event, rates, fields)
        if after is None:
            continue
        loans[book["key"]] = after
        book["position"] = after["position"]
        time, file = moment, place
        rows[file] += 1
        done.append(event)
    return done


# Files


def write_csv(path, rows, names):
    """A CSV file of dicts: times as ISO 8601, amounts as exact text, nothing as an empty cell."""
    with Path(path).open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, names, extrasaction="ignore")
        writer.writeheader()
        writer.writerows({name: _cell(row.get(name)) for name in names} for row in rows)
    return Path(path)


def _cell(value):
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, bool):
        return str(value).lower()
    return strategies.text(value) if isinstance(value, Fraction) else value


def files(folder, events, rates):
    """Paths of a CSV file of events per `input`, and of one with the rates."""
    inputs = sorted({event["input"] for event in events})
    names = [column.name for column in EVENTS]
    paths = [
        write_csv(
            folder / f"events{number}.csv",
            sorted((event for event in events if event["input"] == number), key=lambda event: event["row"]),
            names,
        )
        for number in inputs
    ]
    return paths, write_csv(folder / "rates.csv", rates, [name for name in RATES_SCHEMA if name != "row"])


def frames_in(folder):
    """Every Parquet frame in a folder, by name."""
    return {file.stem: pl.read_parquet(file) for file in sorted(Path(folder).glob("*.parquet"))}
