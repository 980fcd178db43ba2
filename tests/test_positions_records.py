"""Real records, reproduced: positions from their own numbers and from their fills, interest row by row.

How a record of fixtures/records/positions.json reads: `pos` is the asset shown (of a short in quote), `liab`
is negative, `mmr` is an amount. What the record does not say is in `fits`: mode, direction, margin currency
and both rates. Amounts are compared to the last digit the venue prints. Its prices and ratios are doubles and
compared relative to 1e-13: the last digit printed of `uplRatio` is already off by one.
"""

from fractions import Fraction

import polars as pl
import pytest
from exact import event, read, rows_of, run
from strategies import text

from ledger.columns import DISPLAY, MEASURES
from ledger.money import MONEY

RECORDS = read("records", "positions.json")
DOUBLE = Fraction(1, 10**13)
FLAGS = ("is_long", "margin_is_base")
COLUMNS = {
    "mmr": "maintenance_margin",
    "upl": "floating_pnl",
    "uplRatio": "floating_pnl_ratio",
    "mgnRatio": "margin_ratio",
    "liqPx": "liquidation_price",
}
"""The venue's name of a figure, and ours."""


def named(entry):
    return entry["record"]["instId"]


every_record = pytest.mark.parametrize("entry", RECORDS, ids=named)


def balances(entry):
    """Legs, margin, mark and rates of a record, by the names of the columns."""
    record, fits = entry["record"], entry["fits"]
    is_long, margin_is_base = fits["direction"] == "long", fits["margin_currency"] == "base"
    margin, liability = Fraction(record["margin"]), Fraction(record["liab"])
    assets = Fraction(record["pos"])
    if fits["mode"] == "old" and is_long == margin_is_base:
        assets -= margin
    interest = Fraction(record["interest"] or 0)
    return {
        "base_leg": assets if is_long else liability,
        "quote_leg": liability if is_long else assets,
        "margin": margin,
        "base_interest": Fraction(0) if is_long else interest,
        "quote_interest": interest if is_long else Fraction(0),
        "initial_margin": margin,
        "is_long": Fraction(is_long),
        "margin_is_base": Fraction(margin_is_base),
        "mark_price": Fraction(record["markPx"]),
        "maintenance_rate": Fraction(fits["mmr_rate"]),
        "liquidation_fee_rate": Fraction(fits["liquidation_fee_rate"]),
    }


def by_fractions(entry):
    values = balances(entry)
    for column in (*DISPLAY, *MEASURES):
        values[column.name] = column.of(values.__getitem__)
    return values


def by_columns(entry):
    given = {name: [text(value)] for name, value in balances(entry).items()}
    frame = pl.DataFrame(given).cast(MONEY).cast(dict.fromkeys(FLAGS, pl.Int8))
    for column in (*DISPLAY, *MEASURES):
        frame = frame.with_columns(column.expression())
    return rows_of(frame)[0]


def agrees(name, computed, printed):
    """Whether a computed figure is the venue's: a double to 1e-13, an amount to the last printed digit."""
    if name in ("mgnRatio", "liqPx", "uplRatio"):
        return abs(computed / Fraction(printed) - 1) <= DOUBLE
    decimals = len(printed.partition(".")[2])
    return round(computed * 10**decimals) == Fraction(printed) * 10**decimals


@pytest.mark.parametrize("evaluate", [by_fractions, by_columns])
@every_record
def test_measures_of_the_record(entry, evaluate):
    """Every figure the record carries."""
    record, computed = entry["record"], evaluate(entry)
    carried = {name: column for name, column in COLUMNS.items() if record.get(name)}
    assert {"mmr", "mgnRatio", "liqPx"} <= carried.keys()
    wrong = {
        name: (float(computed[column]), record[name])
        for name, column in carried.items()
        if not agrees(name, computed[column], record[name])
    }
    assert wrong == {}


@every_record
def test_shown_as_in_the_record(entry):
    record, computed = entry["record"], by_fractions(entry)
    shown = computed[f"assets_shown_{entry['fits']['mode']}"]
    assert (shown, computed["liability_shown"]) == (Fraction(record["pos"]), Fraction(record["liab"]))


FILLS = {
    "BTC-USDT": [
        {
            "side": "buy",
            "quantity": "0.00158827",
            "price": "62961.4",
            "fee": "0.00000158827",
            "fee_currency": "BTC",
        },
        {"kind": "interest", "amount": "0.0001149996581948", "currency": "USDT"},
    ],
    "LTC-USDT": [
        {
            "side": "sell",
            "quantity": "0.113791",
            "price": "87.98",
            "fee": "0.01001133218",
            "fee_currency": "USDT",
        },
    ],
}
"""What must have happened before the record was taken; leverage 5, and nothing else."""


@pytest.mark.parametrize("entry", [entry for entry in RECORDS if named(entry) in FILLS], ids=named)
def test_fills_replayed_give_the_record(entry):
    record, fits = entry["record"], entry["fits"]
    instrument = record["instId"]
    common = {
        "instrument": instrument,
        "mode": fits["mode"],
        "margin_currency": record["ccy"],
        "leverage": "5",
    }
    steps = [
        event(number, **({**common, **given} if number == 1 else {**common, "leverage": None, **given}))
        for number, given in enumerate(FILLS[instrument], start=1)
    ]
    (position,) = rows_of(run(steps).positions)
    expected = balances(entry)
    for name in ("base_leg", "quote_leg", "margin", "is_long", "margin_is_base"):
        assert position[name] == expected[name], name
    assert position[f"assets_shown_{fits['mode']}"] == Fraction(record["pos"])
    assert position["liability_shown"] == Fraction(record["liab"])
    assert position["entry_price"] == Fraction(record["avgPx"])


def test_hourly_interest_of_a_short():
    """Each row's `liab` is what the hour's interest is charged on; the file has the newest row first."""
    hours = [entry["record"] for entry in reversed(read("records", "interest.json"))]
    sold = {"side": "sell", "quantity": hours[0]["liab"], "price": "20000", "leverage": "5"}
    charged = [{"kind": "interest", "amount": hour["interest"], "currency": "BTC"} for hour in hours]
    rows = rows_of(run([event(number, **given) for number, given in enumerate([sold, *charged], start=1)]).ledger)
    assert len(rows) == 8
    assert [-row["base_opening"] for row in rows[1:]] == [Fraction(hour["liab"]) for hour in hours]
    assert -rows[-1]["base_closing"] == Fraction(hours[-1]["liab"]) + Fraction(hours[-1]["interest"])
