"""The roll-forward adds up for any history, column by column; the lead schedule is the sum of its positions."""

from collections import Counter
from fractions import Fraction

import exchange_files
import oracle
import polars as pl
import pytest
import strategies
from exact import event, oracle_policies, rows_of, run
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ledger import ReconcileRequest, reconcile_files
from ledger.ordering import index_positions
from ledger.reconciliation.columns import ROLL_FORWARD
from ledger.reconciliation.roll_forward import roll_forward

COLUMNS = [column.name for column in ROLL_FORWARD]
CHANGES = COLUMNS[COLUMNS.index("opening") : COLUMNS.index("closing")]
LEGS = {"base": ("base_leg", "buy"), "quote": ("quote_leg", "sell")}
POLICIES = ((), ("overfill=spot_first",), ("liquidation_residual=account",))
costly = settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))


# The roll-forward


def rolled(events, policies=()):
    """The frame ROLL_FORWARD of a replay, by position and balance, and the finding of its check."""
    result = run(events, policies)
    frame, finding = roll_forward(result.ledger.lazy(), index_positions(strategies.frame(events)))
    return {(row["position"], row["balance"]): row for row in rows_of(frame)}, finding


def expected(events, policies=()):
    """The same from the oracle's rows: each change of a balance in the column of its sort, without the zeros."""
    sums, closing = {}, {}
    for row in oracle.replay(events, oracle_policies(policies))[0]:
        for balance in ("base_leg", "quote_leg", "margin"):
            name = balance.removesuffix("_leg")
            sums.setdefault((row["position"], balance), Counter())
            closing[row["position"], balance] = row[f"{name}_closing"]
        for balance, sort, amount in _moved(row):
            sums[row["position"], balance][sort] += amount
    return {key: {sort: amount for sort, amount in counter.items() if amount} for key, counter in sums.items()}, closing


def _moved(row):
    """(balance, column, amount) of all that an event part moves; what a close releases is what is then left."""
    if row["action"] == "leftover":
        return []
    found = []
    base, quote = row["position"].split(":")[1].split("-")
    for leg, currency in (("base", base), ("quote", quote)):
        balance, receiving = LEGS[leg]
        amount = row["quantity"] if leg == "base" else row["value"]
        if row["kind"] == "opening":
            found.append((balance, "opening", amount if row["side"] == receiving else -amount))
        elif amount is not None:
            found.append((balance, "bought", amount) if row["side"] == receiving else (balance, "sold", -amount))
            found.append((balance, "fees", -row["fee"] if row["fee_currency"] == currency else 0))
        elif row["kind"] == "interest" and row[f"{leg}_change"]:
            found.append((balance, "interest", -row["interest"]))
        elif row["kind"] == "adjustment":
            found.append((balance, "adjustments", row[f"{leg}_change"]))
    posted = row["initial_margin"] or 0
    found.append(("margin", "opening" if row["kind"] == "opening" else "margin_posted", posted))
    if row["kind"] in ("margin", "leverage"):
        found.append(("margin", "margin_changed", row["margin_change"]))
    if row["reason"]:
        found = [(balance, "adjustments", amount) for balance, _, amount in found]
    if row["action"] == "close":
        for balance in ("base_leg", "quote_leg", "margin"):
            moved = sum(amount for name, _, amount in found if name == balance)
            found.append((balance, "released", -row[f"{balance.removesuffix('_leg')}_opening"] - moved))
    return found


def agrees(events, policies=()):
    frame, finding = rolled(events, policies)
    assert finding["failures"].to_list() == [0]
    sums, closing = expected(events, policies)
    assert frame.keys() == sums.keys()
    for key, row in frame.items():
        assert sum(row[name] for name in CHANGES) == row["closing"] == closing[key]
        assert {name: row[name] for name in CHANGES if row[name]} == sums[key]


@pytest.mark.parametrize("policies", POLICIES, ids=str)
@costly
@given(data=st.data())
def test_any_history_rolls_forward(policies, data):
    agrees(data.draw(strategies.histories(oracle_policies(policies))), policies)


BUY = {"side": "buy", "quantity": "1", "price": "100", "leverage": "10"}
SELL = {"side": "sell", "quantity": "1", "price": "100"}
OPENING = {"kind": "opening", "side": "buy", "quantity": "2", "value": "150", "price": "90", "amount": "30"}
FEE = {"fee": "0.001", "fee_currency": "BTC"}
BY_HAND = {"reason": "write_off"}
HISTORIES = {
    "a reversal": [BUY, {**SELL, "quantity": "3"}],
    "a reversal by hand": [BUY, {**SELL, "quantity": "3", **BY_HAND}],
    "a leftover": [BUY, {**SELL, "quantity": "1.5", "reduce_only": True}],
    "a liquidation with a residual": [BUY, {**SELL, "kind": "liquidation", "price": "95", "amount": "2"}],
    "a liquidation in two parts": [
        {**BUY, **FEE, "quantity": "2"},
        {**SELL, "kind": "liquidation"},
        {**SELL, "kind": "liquidation", "quantity": "0.999"},
    ],
    "an opening that is reversed": [OPENING, {**SELL, "quantity": "3", "leverage": "5"}],
    "an opening by hand": [{**OPENING, **BY_HAND}, SELL],
    "an opening after a close": [BUY, SELL, OPENING],
    "adjustments of both legs": [
        BUY,
        {"kind": "adjustment", "amount": "0.25", "currency": "BTC", **BY_HAND},
        {"kind": "adjustment", "amount": "-0.00000001", "currency": "USDT", **BY_HAND},
    ],
    "an adjustment and a close": [
        BUY,
        {"kind": "adjustment", "amount": "0.25", "currency": "BTC", **BY_HAND},
        {**SELL, "quantity": "1.25"},
    ],
    "interest and margin by hand": [
        BUY,
        {"kind": "interest", "amount": "0.5", "currency": "USDT", **BY_HAND},
        {"kind": "interest", "amount": "0.25", "currency": "USDT"},
        {"kind": "margin", "amount": "3", **BY_HAND},
        {"kind": "margin", "amount": "-1"},
        {"kind": "leverage", "leverage": "5", "amount": "10"},
    ],
}


@pytest.mark.parametrize("margin_currency", ["USDT", "BTC"])
@pytest.mark.parametrize("steps", HISTORIES.values(), ids=HISTORIES)
def test_it_rolls_forward(steps, margin_currency):
    agrees([event(number, **{"margin_currency": margin_currency, **step}) for number, step in enumerate(steps, 1)])


def test_each_column_of_a_small_history_by_hand():
    steps = [
        OPENING,
        {**BUY, **FEE},
        {"kind": "interest", "amount": "0.5", "currency": "USDT"},
        {"kind": "margin", "amount": "4"},
        {"kind": "margin", "amount": "1", "reason": "margin_change_missing"},
        {"kind": "adjustment", "amount": "0.25", "currency": "USDT", **BY_HAND},
        {**SELL, "price": "120", "reason": "missing_fill"},
    ]
    frame, _ = rolled([event(number, **step) for number, step in enumerate(steps, 1)])
    whole = {
        balance: {name: Fraction(row[name]) for name in (*CHANGES, "closing") if row[name]}
        for (_, balance), row in frame.items()
    }
    assert whole == {
        "base_leg": {
            "opening": 2,
            "bought": 1,
            "fees": Fraction("-0.001"),
            "adjustments": -1,
            "closing": Fraction("1.999"),
        },
        "quote_leg": {
            "opening": -150,
            "sold": -100,
            "interest": Fraction("-0.5"),
            "adjustments": Fraction("120.25"),
            "closing": Fraction("-130.25"),
        },
        "margin": {"opening": 30, "margin_posted": 10, "margin_changed": 4, "adjustments": 1, "closing": 45},
    }


# The lead schedule


def record(instrument, pos, liability, margin, minute, *, currency="USDT"):
    """A long at the exchange, with what a positions file needs; `minute` is that of its last event."""
    base, quote = instrument.split("-")
    moment = str(1_704_067_200_000 + 60_000 * minute)  # as `exact.event` counts
    amounts = {"pos": pos, "liab": liability, "margin": margin, "interest": "", "avgPx": "100", "markPx": "100"}
    kind = {"instType": "MARGIN", "mgnMode": "isolated", "instId": instrument, "ccy": currency}
    others = dict.fromkeys(("lever", "upl", "uplRatio", "mmr", "mgnRatio", "liqPx", "posId", "realizedPnl"), "")
    return {**others, **amounts, **kind, "posCcy": base, "liabCcy": quote, "uTime": moment, "cTime": moment}


def lead_of(folder, steps, records):
    """The frame LEAD of a ledger of these events, by class of balances and currency."""
    events = [event(number, **step) for number, step in enumerate(steps, 1)]
    house = exchange_files.write(folder / "ledger.csv", exchange_files.house_ledger(events, with_value=False))
    stated = exchange_files.write(folder / "positions.json", exchange_files.answer(records))
    reconcile_files(ReconcileRequest(ledger=[house], exchange=[stated]), folder / "out")
    rows = rows_of(pl.read_parquet(folder / "out" / "lead.parquet"))
    names = ("ledger", "adjustments", "exchange", "difference", "positions")
    for row in rows:
        assert row["account"] == "main"
        assert row["ledger"] + row["adjustments"] - row["exchange"] == row["difference"]
    return {(row["account_class"], row["currency"]): tuple(row[name] for name in names) for row in rows}


LTC = {"instrument": "LTC-USDT"}


def test_the_lead_schedule_sums_the_positions(tmp_path):
    steps = [
        BUY,
        {**BUY, **LTC, "quantity": "4"},
        {"kind": "adjustment", "amount": "-0.5", "currency": "USDT", **BY_HAND},
        {"kind": "adjustment", "amount": "0.25", "currency": "LTC", **LTC, **BY_HAND},
        {"kind": "margin", "amount": "3", **LTC, **BY_HAND},
        {"kind": "interest", "amount": "2", "currency": "USDT", **LTC},
    ]
    records = [record("BTC-USDT", "1", "-101", "10", 3), record("LTC-USDT", "4.5", "-402", "43", 6)]
    assert lead_of(tmp_path, steps, records) == {
        ("assets", "BTC"): (1, 0, 1, 0, 1),
        ("assets", "LTC"): (4, Fraction("0.25"), Fraction("4.5"), Fraction("-0.25"), 1),
        ("liability", "USDT"): (-502, Fraction("-0.5"), -503, Fraction("0.5"), 2),
        ("margin", "USDT"): (50, 3, 53, 0, 2),
    }


def test_a_fill_by_hand_is_an_adjustment_of_both_legs(tmp_path):
    steps = [BUY, {**BUY, "quantity": "2", "price": "110", "reason": "missing_fill"}]
    assert lead_of(tmp_path, steps, [record("BTC-USDT", "3", "-320", "32", 2)]) == {
        ("assets", "BTC"): (1, 2, 3, 0, 1),
        ("liability", "USDT"): (-100, -220, -320, 0, 1),
        ("margin", "USDT"): (10, 22, 32, 0, 1),
    }


def test_adjustments_after_the_snapshot_are_not_in_it(tmp_path):
    late = {"kind": "adjustment", "amount": "-0.5", "currency": "USDT", **BY_HAND}
    found = lead_of(tmp_path, [BUY, late], [record("BTC-USDT", "1", "-100", "10", 1)])
    assert found["liability", "USDT"] == (-100, 0, -100, 0, 1)


def test_adjustments_of_a_position_that_was_closed_are_not_among_the_next_one(tmp_path):
    steps = [
        BUY,
        {"kind": "adjustment", "amount": "-0.5", "currency": "USDT", **BY_HAND},
        {"kind": "margin", "amount": "3", **BY_HAND},
        SELL,
        BUY,
    ]
    assert lead_of(tmp_path, steps, [record("BTC-USDT", "1", "-100", "10", 5)]) == {
        ("assets", "BTC"): (1, 0, 1, 0, 1),
        ("liability", "USDT"): (-100, 0, -100, 0, 1),
        ("margin", "USDT"): (10, 0, 10, 0, 1),
    }
