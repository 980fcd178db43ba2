"""Computed interest equals the oracle's to the last unit: every charge, and every row of the ledger it leads to."""

from datetime import datetime, timedelta
from fractions import Fraction
from functools import cache
from random import Random

import interest_histories
import interest_oracle
import oracle
import polars as pl
import pytest
import strategies
from exact import event, oracle_policies, read, rows_of
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from interest_tables import (
    HOUR,
    SHIPPED,
    START,
    accrued_book,
    charges_of,
    checked,
    files,
    first_difference,
    fitting,
    frames_in,
    in_order,
    ledger_rows,
    lived,
    policy,
    rate,
)

import ledger
from ledger.files import Request, replay_files
from ledger.interest import charging, moments
from ledger.interest.columns import INTEREST_FRAMES
from ledger.interest.request import InterestRequest

CASES = read("interest", "cases.json")
CHARGED = [case for case in CASES if "refused" not in case]
REFUSED = [case for case in CASES if "refused" in case]
SIDE_BY_SIDE, ONE_BY_ONE = 1, 10**9
"""Below how many loans each is walked by itself."""
UNTIL = START + timedelta(days=9)
HARSH_UNTIL = START + timedelta(days=4, minutes=17)
VARIANTS = {
    "okx events first": policy("okx", same_moment="events_first"),
    "okx simple": policy("okx", compounding=False),
    "okx every 4 hours": policy("okx", period_hours=4),
    "okx every 24 hours, events first": policy("okx", period_hours=24, same_moment="events_first"),
    "okx with an opening fee": policy("okx", opening_fee="0.0005"),
    "okx simple with an opening fee": policy("okx", opening_fee="0.0005", compounding=False),
    "okx at the rate of the borrowing": policy("okx", rate_of="borrowing"),
    "binance events first": policy("binance_isolated", same_moment="events_first"),
    "binance compounding": policy("binance_isolated", compounding=True),
    "binance with an opening fee": policy("binance_isolated", opening_fee="0.0005"),
    "bitget events first": policy("bitget", same_moment="events_first"),
    "bitget compounding, rate of the borrowing": policy("bitget", compounding=True, rate_of="borrowing"),
    "kraken compounding": policy("kraken", compounding=True),
    "kraken events first": policy("kraken", same_moment="events_first", rate_of="charge"),
    "kraken every hour, no fee": policy("kraken", period_hours=1, opening_fee="0.0"),
}
ROUNDINGS = {
    f"{rounding} at {decimals}": policy("okx", rounding=rounding, decimals=decimals, compounding=decimals != 8)
    for rounding in ("up", "down", "half_up", "half_even")
    for decimals in (4, 8, 17)
}


def exactly(fields):
    """The policy as the oracle takes it."""
    return {**fields, "opening_fee": Fraction(fields.get("opening_fee", 0))}


def agrees(events, rates, fields, until, expected, policies=(), ways=(SIDE_BY_SIDE, ONE_BY_ONE)):
    """The engine gives these charges and rows, whether loans are stepped side by side or walked one by one."""
    charges, rows = expected
    for few in ways:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(charging, "FEW_LOANS", few)
            book = accrued_book(events, rates, fields, until, policies)
        assert first_difference(in_order(charges_of(book.interest)), in_order(charges)) is None
        found, wanted = ledger_rows(rows_of(book.ledger)), ledger_rows(rows)
        places = [at for at in sorted(found.keys() | wanted.keys()) if found.get(at) != wanted.get(at)]
        assert [(at, found.get(at), wanted.get(at)) for at in places[:1]] == []
        assert book.failures() == []


# Histories of many loans


def many(fields, seeds):
    """Events and rates of many histories, and what the oracle makes of them; they begin within four days."""
    return _many(tuple(fields.items()), seeds)


@cache
def _many(fields, seeds):
    fields = dict(fields)
    whole = events, rates, charges, rows = [], [], [], []
    for seed in (day + 330 * number for number in range(seeds // 4) for day in range(4)):
        told = interest_histories.history(seed, exactly(fields))
        own = interest_histories.oracle_events(told), interest_histories.oracle_rates(told)
        found = interest_oracle.accrue(*own, exactly(fields), UNTIL)
        for rows_so_far, part in zip(whole, (*own, *found), strict=True):
            rows_so_far.extend(part)
    return [each | {"row": row} for row, each in enumerate(events, start=1)], rates, (charges, rows)


@pytest.mark.parametrize("name", SHIPPED)
def test_histories_under_the_shipped_policies(name):
    events, rates, expected = many(policy(name), 24)
    agrees(events, rates, policy(name), UNTIL, with_places(expected, events))
    assert {charge["currency"] for charge in expected[0]} == {"USDT", "BTC", "ETH", "LTC"}


@pytest.mark.parametrize("fields", VARIANTS.values(), ids=VARIANTS)
def test_histories_under_variants(fields):
    events, rates, expected = many(fields, 8)
    agrees(events, rates, fields, UNTIL, with_places(expected, events), ways=[ONE_BY_ONE])


@pytest.mark.parametrize("fields", ROUNDINGS.values(), ids=ROUNDINGS)
def test_histories_under_each_rounding(fields):
    events, rates, expected = many(fields, 4)
    agrees(events, rates, fields, UNTIL, with_places(expected, events), ways=[SIDE_BY_SIDE])


def with_places(expected, events, header=0):
    """The rows of the oracle with the rows that events have in the common file, below a header or not."""
    charges, rows = expected
    places = {each["event_id"]: each["row"] + header for each in events}
    return charges, [row | {"row": places.get(row["event_id"])} for row in rows]


# The harsh ones: fills that close, flip, overfill, liquidate; several at one moment


HARSH = {
    "okx": (policy("okx"), ()),
    "binance_isolated": (policy("binance_isolated"), ()),
    "okx events first, spot first": (policy("okx", same_moment="events_first"), ("overfill=spot_first",)),
    "bitget, fund to account": (policy("bitget"), ("liquidation_residual=account",)),
    "kraken compounding": (policy("kraken", compounding=True), ()),
}
harsh = pytest.mark.parametrize(("fields", "policies"), HARSH.values(), ids=HARSH)
bounded = settings(max_examples=3, deadline=None, suppress_health_check=list(HealthCheck))


def sizeable(random):
    """Rates of up to a percent an hour for every currency, each changing a few times, in any unit."""
    rates = []
    for currency in ("BTC", "USDT", "LTC"):
        for number in range(random.randint(1, 6)):
            unit, hours = random.choice(list(interest_oracle.HOURS.items()))
            value = min(Fraction(random.randint(0, 10_000), 10**6) * hours, Fraction(99, 100))
            time = START - HOUR + (number > 0) * timedelta(minutes=random.randint(1, 4_000), microseconds=number)
            rates.append(rate(time, value, currency=currency, unit=unit))
    return rates


def compared(histories, rates, fields, policies, way):
    """Several histories in one run, each in accounts of its own."""
    events = [
        each
        | {"account": f"{each['account']}-{number}", "event_id": f"{number}-{each['event_id']}"}
        | {"row": 1000 * number + each["row"]}
        for number, history in enumerate(histories)
        for each in history
    ]
    expected = interest_oracle.accrue(events, rates, exactly(fields), HARSH_UNTIL, oracle_policies(policies))
    assume(expected[1] and sum(abs(row["quote_change"]) + abs(row["base_change"]) for row in expected[1]) < 10**18)
    agrees(events, rates, fields, HARSH_UNTIL, expected, policies, [way])


def beside_interest(random, rates, fields, policies):
    """A history without its interest, stretched over days, of which the position allows each event."""
    events = strategies.history(random, events=40, positions=3, policies=policies)
    stretch = random.choice((60, 97, 600))
    without = [each for each in events if each["kind"] != "interest"]
    stretched = [each | {"time": START + (each["time"] - START) * stretch} for each in without]
    return fitting(stretched, rates, fields, policies)


@harsh
@bounded
@given(seed=st.integers(0, 2**32), way=st.sampled_from((SIDE_BY_SIDE, ONE_BY_ONE)))
def test_any_history(fields, policies, seed, way):
    """`beside_interest`: fills that closed a position exactly leave its interest owed; `lived`: they close that too."""
    random = Random(seed)
    rates, replay = sizeable(random), oracle_policies(policies)
    lives = (beside_interest, lived) * 2
    compared([life(random, rates, exactly(fields), replay) for life in lives], rates, fields, policies, way)


def test_the_harsh_histories_have_every_action():
    rates = sizeable(Random(5))
    rows = []
    for seed in range(5):
        events = lived(Random(seed), rates, exactly(policy("okx")), events=60)
        rows += interest_oracle.accrue(events, rates, policy("okx"), START + timedelta(days=9))[1]
    assert {row["action"] for row in rows} == {
        *("open", "increase", "reduce", "close", "leftover", "interest", "margin", "leverage", "adjustment")
    }
    after_interest = [row for row in rows if row["action"] == "close" and row["realised_pnl"]]
    assert len(after_interest) > 30


# Worked cases


def titled(cases):
    return pytest.mark.parametrize("case", cases, ids=lambda case: case["title"])


def moment(text):
    return datetime.fromisoformat(text)


def told(case):
    """Events, rates, policy and cut-off of a worked case."""
    events = [event(number, **given) for number, given in enumerate(map(timed, case["events"]), start=1)]
    rates = [rate(moment(given["time"]), given["rate"]) | {**given, **numbers(given)} for given in case["rates"]]
    chosen = case["policy"] if isinstance(case["policy"], dict) else {"name": case["policy"]}
    fields = policy(chosen["name"], **{name: value for name, value in chosen.items() if name != "name"})
    return events, rates, fields, moment(case["until"])


def timed(given):
    return {**given, "time": moment(given["time"])}


def numbers(given):
    return {"time": moment(given["time"]), "rate": Fraction(given["rate"])}


def replayed(folder, events, rates, fields, until, **request):
    """The frames of a run over files."""
    paths, table = files(folder, events, rates)
    asked = InterestRequest(checked(fields), table, **request)
    checks = replay_files(Request(paths, as_at=until, interest=asked), folder / "books")
    return frames_in(folder / "books"), checks


def wanted(charge):
    amounts = {name: Fraction(charge[name]) for name in ("liability", "computed")}
    return {"time": moment(charge["time"]), "charge": charge["charge"], **amounts}


@titled(CHARGED)
def test_worked_case(case, tmp_path):
    frames, checks = replayed(tmp_path, *told(case))
    charges = [wanted(charge) for charge in case["charges"]]
    assert rows_of(frames["interest"].select("time", "charge", "liability", "computed")) == charges
    rows = rows_of(frames["ledger"])
    assert [row["action"] for row in rows] == case.get("actions", [row["action"] for row in rows])
    last = {name: Fraction(value) for name, value in case.get("last", {}).items()}
    assert {name: rows[-1][name] for name in last} == last
    assert checks["failures"].sum() == 0


@titled(CHARGED)
def test_oracle_agrees_with_the_worked_case(case):
    events, rates, fields, until = told(case)
    charges, rows = interest_oracle.accrue(events, rates, exactly(fields), until)
    expected = [wanted(charge) for charge in case["charges"]]
    assert [{name: charge[name] for name in expected[0]} for charge in charges] == expected if expected else not charges
    assert [row["action"] for row in rows] == case.get("actions", [row["action"] for row in rows])


@titled(REFUSED)
def test_worked_case_is_refused(case, tmp_path):
    with pytest.raises(ledger.BadInput) as refused:
        replayed(tmp_path, *told(case))
    row = refused.value.refusals.row(0, named=True)
    assert (row["column"], row["row"]) == (case["refused"]["column"], case["refused"]["row"])
    said = " ".join(str(value) for value in row.values())
    assert [words for words in case["refused"]["words"] if words not in said] == []
    assert not (tmp_path / "books").exists()


def test_the_seven_hours_are_those_of_the_record():
    case = next(case for case in CASES if case["title"].startswith("seven consecutive hours"))
    records = [entry["record"] for entry in reversed(read("records", "interest.json"))]
    told_by_record = [(int(row["ts"]), row["liab"], row["interest"]) for row in records]
    assert [
        (int(moment(charge["time"]).timestamp()) * 1000, charge["liability"], charge["computed"])
        for charge in case["charges"]
    ] == told_by_record


def test_frames_and_checks_of_a_run_over_files(tmp_path):
    frames, checks = replayed(tmp_path, *told(CHARGED[1]))
    assert {name for name in INTEREST_FRAMES if name not in frames} == set()
    assert all(frames[name].columns == [column.name for column in columns] for name, columns in INTEREST_FRAMES.items())
    tested = checks.filter(pl.col("check").str.starts_with("interest_"))
    assert dict(tested.select("check", "rows_tested").rows()) == {
        "interest_is_on_what_is_owed": 1,
        "interest_roll_forward_closes": 1,
    }
    charge = frames["interest"].row(0, named=True)
    assert (charge["status"], charge["rate_row"], charge["charged"], charge["row"]) == ("accrued", 2, None, None)
    leads_to_charges(frames)


def test_without_a_cut_off_charges_end_with_the_last_event(tmp_path):
    """Rates that are known for later do not put off the cut-off."""
    events, rates, fields, _ = told(CHARGED[1])
    later = [*rates, rate(events[-1]["time"] + 100 * HOUR, "0.00002", currency="USDT")]
    last = event(9, **timed({"time": "2024-05-01T16:10:00Z", "kind": "leverage", "leverage": "5"}))
    frames, _ = replayed(tmp_path, [events[0], last], later, fields, None)
    assert frames["interest"]["time"].to_list() == [moment("2024-05-01T15:00:00Z"), moment("2024-05-01T16:00:00Z")]
    assert frames["interest_roll"]["to_time"].to_list() == [moment("2024-05-01T16:10:00Z")]


# What changes nothing


def same(book, other):
    assert first_difference(charges_of(book.interest), charges_of(other.interest)) is None
    assert ledger_rows(rows_of(book.ledger)) == ledger_rows(rows_of(other.ledger))


def own_charges(book, account):
    mine = pl.col("position").str.starts_with(f"{account}:")
    return rows_of(book.interest.filter(mine).drop("row")), rows_of(book.ledger.filter(mine).drop("row", "input"))


@pytest.mark.parametrize("name", SHIPPED)
def test_other_positions_change_nothing(name):
    fields = policy(name)
    events, rates, _ = many(fields, 8)
    together = accrued_book(events, rates, fields, UNTIL)
    for account in ("account-1", "account-331"):
        alone = [each for each in events if each["account"] == account]
        own_rates = [each for each in rates if each["account"] == account]
        book = accrued_book(alone, own_rates, fields, UNTIL)
        assert book.interest.height > 5
        mine, apart = own_charges(together, account), own_charges(book, account)
        for one, other in zip(mine, apart, strict=True):
            assert [row | {"rate_row": None} for row in one] == [row | {"rate_row": None} for row in other]


@pytest.mark.parametrize("name", ["okx", "bitget"])
def test_the_order_of_rows_and_files_changes_nothing(name):
    """Events of different moments may stand in any row of any file."""
    fields = policy(name)
    events, rates, _ = many(fields, 8)
    shuffled = Random(3).sample(events, len(events))
    moved = [each | {"row": row, "input": 1 + row % 2} for row, each in enumerate(shuffled, start=1)]
    book, other = accrued_book(events, rates, fields, UNTIL), accrued_book(moved, rates, fields, UNTIL)
    assert first_difference(charges_of(book.interest), charges_of(other.interest)) is None
    assert book.ledger.drop("row", "input").equals(other.ledger.drop("row", "input"))


@pytest.mark.parametrize("changes", [{}, {"same_moment": "events_first"}, {"compounding": False}], ids=str)
def test_splitting_a_fill_changes_no_charge_on_the_hour(changes):
    fields = policy("okx", **changes)
    events, rates, _ = many(fields, 8)
    halves = []
    for each in events:
        fill = each["kind"] == "fill" and each["side"] is not None and not each["reduce_only"]
        if not fill:
            halves.append(each)
            continue
        # Half of the quantity is exact at 18 decimals, and so is half of the fee's and the value's even units.
        half = {name: each[name] and oracle.rounded(each[name] / 2) for name in ("quantity", "fee", "amount")}
        rest = {name: each[name] and each[name] - half[name] for name in half}
        halves += [each | half, each | rest | {"event_id": each["event_id"] + "-rest"}]
    split = [each | {"row": row} for row, each in enumerate(halves, start=1)]
    book, other = accrued_book(events, rates, fields, UNTIL), accrued_book(split, rates, fields, UNTIL)
    assert len(split) > len(events)
    assert first_difference(charges_of(book.interest), charges_of(other.interest)) is None


@pytest.mark.parametrize("name", ["okx", "binance_isolated"])
def test_recorded_interest_makes_no_difference(name):
    fields = policy(name)
    events, rates, _ = many(fields, 8)
    recorded = [
        each | {"kind": "interest", "amount": Fraction(7), "currency": each["margin_currency"]}
        | dict.fromkeys(("side", "quantity", "price", "fee", "fee_currency", "leverage"))
        | {"event_id": each["event_id"] + "-interest", "time": each["time"] + timedelta(minutes=number % 90)}
        | {"row": len(events) + number, "reduce_only": False}
        for number, each in enumerate(events, start=1)
    ]  # fmt: skip
    same(accrued_book(events, rates, fields, UNTIL), accrued_book(events + recorded, rates, fields, UNTIL))


def leads_to_charges(frames):
    """The row of an interest row in the ledger is the number of its charge in the interest frame."""
    booked = frames["ledger"].filter(pl.col("kind") == "interest")
    charges = frames["interest"][booked["row"].cast(pl.Int64) - 1]
    assert booked["input"].null_count() == booked.height > 0
    assert booked.select("position", "time", "interest").equals(charges.select("position", "time", interest="computed"))


@pytest.mark.parametrize("name", ["okx", "kraken"])
def test_pieces_and_files_give_the_same_as_one_piece(name, tmp_path, monkeypatch):
    fields = policy(name)
    events, rates, expected = many(fields, 16)
    monkeypatch.setattr(moments, "_PIECE", 500)
    frames, checks = replayed(tmp_path, events, rates, fields, UNTIL)
    assert first_difference(in_order(charges_of(frames["interest"])), in_order(expected[0])) is None
    rows = ledger_rows(rows_of(frames["ledger"]))
    assert rows == ledger_rows(with_places(expected, events, header=1)[1])
    leads_to_charges(frames)
    assert checks["failures"].sum() == 0


def test_every_charge_has_an_event_id_of_its_own():
    twice = [
        event(10, side="sell", quantity="1", price="100", leverage="10"),
        event(10, side="sell", quantity="1", price="100") | {"event_id": "second", "row": 11},
    ]
    rates = [rate(START, "0.00001", currency="BTC")]
    book = accrued_book(twice, rates, policy("binance_isolated", opening_fee="0.001"), START + 2 * HOUR)
    assert book.interest.height == 6
    assert book.ledger["event_id"].is_unique().all()
