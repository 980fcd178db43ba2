"""Which rate is in force: for whom, from when, and in which unit."""

from datetime import timedelta
from fractions import Fraction
from itertools import pairwise
from random import Random

import interest_histories
import interest_oracle
import oracle
import polars as pl
import pytest
from exact import event, rows_of
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from interest_tables import HOUR, START, accrued_book, charges_of, policy, rate, rates_frame, write_csv

from ledger import BadInput
from ledger.columns import TIME
from ledger.interest.columns import UNITS
from ledger.interest.rates import Rates
from ledger.interest.rates_file import RATES_SCHEMA, read_rates

LOANS = [
    {"account": account, "instrument": f"{base}-{quote}", "currency": currency}
    for account in ("main", "second")
    for base, quote in (("BTC", "USDT"), ("ETH", "BTC"))
    for currency in (base, quote)
]
SCOPES = sorted(
    {
        (account, instrument, currency)
        for loan in LOANS
        for account in (None, loan["account"])
        for instrument in (None, loan["instrument"])
        for currency in (None, loan["currency"])
        if instrument or currency
    },
    key=str,
)
NAMES = ("account", "instrument", "currency")
BUY = event(10, side="buy", quantity="1", price="1000", leverage="10")
SPECIFIC = [
    {"currency": "USDT"},
    {"instrument": "BTC-USDT"},
    {"instrument": "BTC-USDT", "currency": "USDT"},
    {"account": "main", "currency": "USDT"},
    {"account": "main", "instrument": "BTC-USDT"},
    {"account": "main", "instrument": "BTC-USDT", "currency": "USDT"},
]
"""From the least to the most specific."""


def asked(rates, loans, numbers, times, required=True):
    """The rate in force for each loan of these numbers at these times."""
    frame = pl.DataFrame(loans, schema=dict.fromkeys(NAMES, pl.String))
    return Rates(rates_frame(rates), "rates.csv").in_force(
        frame, pl.Series(numbers, dtype=pl.UInt32), pl.Series(times, dtype=TIME), required
    )


def loan_of(whose):
    """A loan as the oracle asks for its rate."""
    loan = interest_oracle.new_loan(whose["account"], whose["instrument"], "USDT")
    loan["position"]["direction"] = "long" if whose["instrument"].endswith(whose["currency"]) else "short"
    return loan


def by_the_oracle(rates, whose, time):
    try:
        return interest_oracle.rate_for(loan_of(whose), rates, interest_oracle.POLICY, time)
    except oracle.RefusedError:
        return None


def table(random, rows):
    """Rates of random scopes and times; no two for the same scope and time."""
    found = {}
    for _ in range(rows):
        scope, minute = random.choice(SCOPES), random.randint(0, 12) * 20
        value = Fraction(random.randint(0, 10**6), 10**9)
        given = dict(zip(NAMES, scope, strict=True)) | {"unit": random.choice(list(UNITS))}
        found[scope, minute] = rate(START + timedelta(minutes=minute), value, **given)
    return random.sample(list(found.values()), len(found))


@settings(max_examples=60)
@given(st.integers(0, 2**32))
def test_the_rate_in_force_is_the_most_specific_one_and_of_these_the_latest(seed):
    random = Random(seed)
    rates = table(random, random.randint(1, 25))
    loans = random.sample(LOANS, random.randint(1, len(LOANS)))
    numbers = [random.randrange(len(loans)) for _ in range(60)]
    times = [START + timedelta(minutes=random.randint(-20, 260), microseconds=random.randint(-1, 1)) for _ in numbers]
    found = rows_of(asked(rates, loans, numbers, times, required=False))
    for row, number, time in zip(found, numbers, times, strict=True):
        wanted = by_the_oracle(rates, loans[number], time)
        told = wanted and {"rate": wanted["rate"], "unit": wanted["unit"], "rate_row": rates.index(wanted) + 2}
        assert row == (told or dict.fromkeys(row)), (loans[number], time)


@settings(max_examples=30)
@given(st.integers(0, 2**32))
def test_where_no_rate_is_in_force_each_loan_and_its_first_time_are_named(seed):
    random = Random(seed)
    rates = table(random, random.randint(1, 4))
    numbers = [number for number in range(len(LOANS)) for _ in range(5)]
    times = [START + timedelta(minutes=random.randint(-20, 260)) for _ in numbers]
    lacking = {}
    for number, time in zip(numbers, times, strict=True):
        if by_the_oracle(rates, LOANS[number], time) is None:
            lacking[number] = min(time, lacking.get(number, time))
    assume(lacking)
    with pytest.raises(BadInput) as refused:
        asked(rates, LOANS, numbers, times)
    wanted = [
        "{currency} owed by {account} {instrument} at ".format(**LOANS[number]) + f"{time:%Y-%m-%dT%H:%M:%S.%f}Z"
        for number, time in lacking.items()
    ]
    rows = refused.value.refusals
    assert (rows["value"].to_list(), set(rows["file"]), set(rows["column"])) == (wanted, {"rates.csv"}, {"rate"})


@pytest.mark.parametrize("rates", [[], [rate(START, "0.1", currency="DOGE")]], ids=["no rate", "another currency"])
def test_a_table_that_has_nothing_for_the_loan(rates):
    found = asked(rates, LOANS, [0, 1], [START, START], required=False)
    assert found.null_count().row(0) == (2, 2, 2)
    with pytest.raises(BadInput):
        asked(rates, LOANS, [0, 1], [START, START])


# Through a computation: a loan of 1000 USDT from 00:10


def charged(rates, hours=3, fields=None):
    return charges_of(accrued_book([BUY], rates, fields or policy("okx"), START + hours * HOUR).interest)


def shares(rates, hours=3):
    """Which part of what is owed each hour's charge is, by its rate."""
    return [charge["rate"] for charge in charged(rates, hours)]


@pytest.mark.parametrize(("less", "more"), list(pairwise(SPECIFIC)), ids=str)
def test_a_more_specific_rate_wins_from_its_own_time_on(less, more):
    """... whichever changed last, and wherever the rows stand."""
    rates = [
        rate(START, "0.00001", **less),
        rate(START + timedelta(minutes=90), "0.00002", **more),
        rate(START + timedelta(minutes=150), "0.00003", **less),
    ]
    wanted = [Fraction(1, 10**5), Fraction(2, 10**5), Fraction(2, 10**5)]
    assert shares(rates) == shares(rates[::-1]) == wanted


@pytest.mark.parametrize(
    "other",
    [
        {"account": "second", "currency": "USDT"},
        {"instrument": "ETH-USDT"},
        {"instrument": "ETH-USDT", "currency": "USDT"},
        {"currency": "BTC"},
        {"instrument": "BTC-USDT", "currency": "BTC"},
        {"account": "second", "instrument": "BTC-USDT", "currency": "USDT"},
    ],
    ids=str,
)
def test_a_rate_of_others_does_not_count(other):
    own = rate(START, "0.00001", currency="USDT")
    assert charged([own, rate(START, "0.5", **other)]) == charged([own])


@pytest.mark.parametrize(("unit", "hours"), UNITS.items())
def test_a_rate_of_any_unit_is_charged_by_the_hour(unit, hours):
    exact = charged([rate(START, Fraction("0.00001") * hours, currency="USDT", unit=unit)])
    hourly = charged([rate(START, "0.00001", currency="USDT")])
    assert [charge["computed"] for charge in exact] == [charge["computed"] for charge in hourly]
    assert {(charge["rate"], charge["rate_unit"]) for charge in exact} == {(Fraction("0.00001") * hours, unit)}


@pytest.mark.parametrize(("unit", "hours"), UNITS.items())
def test_a_quotient_is_not_rounded_before_it_is_charged(unit, hours):
    """A rate of one unit of the 18th decimal by the year would be nothing by the hour."""
    value, quantity = Fraction(1, 10**18), Fraction(10**15)
    events = [event(10, side="buy", quantity=quantity, price="1", leverage="10")]
    book = accrued_book(events, [rate(START, value, currency="USDT", unit=unit)], policy("okx"), START + HOUR)
    wanted = interest_oracle.rounded(quantity * value / hours, "up", 16)
    assert [Fraction(amount) for amount in book.interest["computed"]] == [wanted]


def history(seed):
    told = interest_histories.history(seed, policy("okx"))
    until = interest_histories.moment(told["until"])
    return interest_histories.oracle_events(told), interest_histories.oracle_rates(told), until


def computed(events, rates, until, fields):
    """Charges and ledger, without the numbers of rows."""
    book = accrued_book(events, rates, fields, until)
    return charges_of(book.interest), book.ledger.drop("row")


@pytest.mark.parametrize("name", ["okx", "kraken"])
@settings(max_examples=3)
@given(seed=st.integers(0, 2**32))
def test_splitting_rates_in_time_and_their_order_change_nothing(name, seed):
    random = Random(seed)
    events, rates, until = history(seed % 1_000)
    split, times = list(rates), {(each["time"], each["currency"]) for each in rates}
    for each in rates:
        following = [other["time"] for other in rates
                     if other["currency"] == each["currency"] and other["time"] > each["time"]]  # fmt: skip
        seconds = int((min(following, default=until + HOUR) - each["time"]).total_seconds())
        later = each["time"] + timedelta(seconds=random.randrange(1, seconds))
        if (later, each["currency"]) not in times and random.random() < 0.5:
            split.append(each | {"time": later})
    charges, ledger = computed(events, rates, until, policy(name))
    assert charges
    for changed in (split, random.sample(rates, len(rates)), random.sample(split, len(split))):
        other, rows = computed(events, changed, until, policy(name))
        assert other == charges
        assert rows.equals(ledger)


# The file


def test_a_rates_file_is_read_exactly(tmp_path):
    rates = table(Random(1), 40)
    path = write_csv(tmp_path / "rates.csv", rates, [name for name in RATES_SCHEMA if name != "row"])
    found = read_rates(path)
    assert found.schema == RATES_SCHEMA
    wanted = [{**each, "row": row} for row, each in enumerate(rates, start=2)]
    assert [{**row, "time": row["time"]} for row in rows_of(found)] == wanted
    assert found.drop("row").equals(rates_frame(rates).drop("row"))


REFUSED = {
    "a negative rate": ({"rate": "-0.00001"}, "rate", "at least zero"),
    "a rate in per cent": ({"rate": "1"}, "rate", "below one"),
    "no unit": ({"unit": ""}, "unit", "without a known unit"),
    "a unit of its own": ({"unit": "monthly"}, "unit", "without a known unit"),
    "no scope": ({"currency": "", "account": "main"}, "currency", "for an instrument, a currency"),
    "a currency outside the pair": ({"instrument": "ETH-BTC"}, "currency", "one of the instrument's two"),
    "no time": ({"time": ""}, "time", "time"),
    "no rate": ({"rate": ""}, "rate", "rate"),
}


@pytest.mark.parametrize(("changes", "column", "words"), REFUSED.values(), ids=REFUSED)
def test_a_row_of_rates_is_refused(changes, column, words, tmp_path):
    row = {"time": "2024-01-01T00:00:00Z", "currency": "USDT", "rate": "0.00001", "unit": "hourly"}
    names = ("time", "account", "instrument", "currency", "rate", "unit")
    with pytest.raises(BadInput) as refused:
        read_rates(write_csv(tmp_path / "rates.csv", [row, row | {"time": "2024-01-02T00:00:00Z"} | changes], names))
    found = refused.value.refusals.row(0, named=True)
    assert (found["column"], found["row"]) == (column, 3)
    assert words in found["rule"]
