"""The log of margin changes: worked examples, verdicts at their bounds, and random histories against fractions."""

from datetime import UTC, datetime, timedelta
from fractions import Fraction
from itertools import groupby
from random import Random

import oracle
import polars as pl
import pytest
import strategies
from exact import event, rows_of, run
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from oracle_measures import measures

from ledger import BadInput
from ledger.columns import MARKS, schema
from ledger.ordering import index_positions
from ledger.risk.columns import BALANCES, MARGIN_CHANGE_LOG, TIERS
from ledger.risk.margin_changes import margin_change_checks, margin_changes
from ledger.risk.policies import RiskPolicies

START = datetime(2024, 1, 1, tzinfo=UTC)
BUY = {"side": "buy", "quantity": "1", "price": "100", "leverage": "10"}
SELL = {"side": "sell", "quantity": "1", "price": "104"}
RATE, FEE = Fraction("0.04"), Fraction("0.001")
ONE = "0.000000000000000001"


def at(minute):
    return None if minute is None else START + timedelta(minutes=minute)


def frame(columns, rows):
    """A typed frame of rows that may lack columns; amounts are text or fractions."""
    types = schema(columns)
    texts = {name: pl.String if isinstance(dtype, pl.Decimal) else dtype for name, dtype in types.items()}
    plain = {name: [_plain(row.get(name)) for row in rows] for name in types}
    return pl.DataFrame(plain, schema=texts).cast(types)


def _plain(value):
    return strategies.text(value) if isinstance(value, Fraction) else value


def marks_of(*marks, instrument="BTC-USDT", **stated):
    """Marks at minutes (or at no time): pairs of minute and price."""
    return frame(
        MARKS,
        [{"instrument": instrument, "time": at(minute), "mark_price": price, **stated} for minute, price in marks],
    )


def tiers_of(*limits, instrument="BTC-USDT", since=None):
    """Tiers with one limit for both currencies, a maintenance rate and a maximum leverage."""
    return frame(
        TIERS,
        [
            {
                "instrument": instrument,
                "valid_from": at(since),
                "tier": number,
                "largest_base_loan": limit,
                "largest_quote_loan": limit,
                "maintenance_rate": rate,
                "maximum_leverage": leverage,
            }
            for number, (limit, rate, leverage) in enumerate(limits, start=1)
        ],
    )


def balance_of(*amounts, currency="USDT", account="main"):
    """What is available from minutes on: pairs of minute and amount."""
    rows = [{"time": at(minute), "available": amount} for minute, amount in amounts]
    return frame(BALANCES, [{**row, "account": account, "currency": currency} for row in rows])


def numbered(*events):
    return [event(number, **values) for number, values in enumerate(events, start=1)]


def log_of(events, marks=None, tiers=None, balances=None, as_at=None, **policies):
    ledger, index = run(events).ledger, index_positions(strategies.frame(events))
    return margin_changes(ledger, index, marks, tiers, balances, RiskPolicies(**policies), as_at)


def logged(*events, **given):
    """The rows of the log of these events."""
    return rows_of(log_of(numbered(*events), **given))


def told(rows, *names):
    return [tuple(row[name] for name in names) for row in rows]


def ratio(equity, liability, rate=RATE):
    return oracle.rounded(Fraction(equity) / Fraction(liability) / (rate + (1 + rate) * FEE))


# Worked examples


def test_a_change_of_margin_before_and_after():
    """Long with quote margin: 1 BTC bought at 100 with 10x, 5 USDT added at mark 95 and 2 taken out at mark 104."""
    added, taken = {"kind": "margin", "amount": "5"}, {"kind": "margin", "amount": "-2"}
    marks = marks_of((2, "95"), (3, "104"), maintenance_rate="0.04", liquidation_fee_rate="0.001")
    rows = logged(BUY, added, taken, marks=marks, balances=balance_of((0, "50")))
    assert told(rows, "change", "margin_before", "amount", "margin_after", "mark_price") == [
        ("posted", 0, 10, 10, None),
        ("added", 10, 5, 15, 95),
        ("reduced", 15, -2, 13, 104),
    ]
    assert told(rows, "equity_before", "equity_after", "margin_ratio_before", "margin_ratio_after") == [
        (None, None, None, None),
        (5, 10, ratio(5, 100), ratio(10, 100)),
        (19, 17, ratio(19, 100), ratio(17, 100)),
    ]
    assert told(rows, "liquidation_price_before", "liquidation_price_after") == [
        (None, None),
        (Fraction("94.104"), Fraction("89.104")),
        (Fraction("89.104"), Fraction("91.104")),
    ]
    assert told(rows, "verdict", "available") == [("not_checked", 50), ("allowed", 50), ("allowed", 50)]
    assert told(rows[1:], "event_id", "event_number", "part", "time", "direction") == [
        ("2", 2, 1, at(2), "long"),
        ("3", 3, 1, at(3), "long"),
    ]


def test_the_example_of_the_rules_with_margin_added():
    """SQ with 110.5 BTC owed against 3,299,800 USDT, at 29,000: 74.16 %; another 36,000 bring it above 81 %."""
    opening = {"kind": "opening", "side": "sell", "quantity": "110.5", "price": "29000"}
    opening |= {"value": "3299800", "amount": "0"}
    marks = marks_of((0, "29000"), maintenance_rate="0.04", liquidation_fee_rate="0.0001")
    rows = logged(opening, {"kind": "margin", "amount": "36000"}, marks=marks)
    required = Fraction("128180") + Fraction("333.268")
    found = told(rows, "equity_after", "liquidation_price_after", "margin_ratio_after")
    assert [(equity, round(price, 4)) for equity, price, _ in found] == [
        (95_300, Fraction("28711.0168")),
        (131_300, round((3_299_800 + 36_000) / (Fraction("110.5") * Fraction("1.04") * Fraction("1.0001")), 4)),
    ]
    assert [round(share, 15) for _, _, share in found] == [round(equity / required, 15) for equity, _, _ in found]
    assert round(found[0][2], 4) == Fraction("0.7416")


@pytest.mark.parametrize(
    ("margin_currency", "side", "equities"),
    [("BTC", "buy", ("0.1", "0.3")), ("BTC", "sell", ("0.1", "0.3")), ("USDT", "sell", ("10", "10.2"))],
)
def test_margin_in_either_currency_and_direction(margin_currency, side, equities):
    opening = {**BUY, "side": side, "margin_currency": margin_currency}
    added = {"kind": "margin", "amount": "0.2", "margin_currency": margin_currency}
    rows = logged(opening, added, marks=marks_of((0, "100")))
    assert told(rows, "equity_after", "margin_currency") == [(Fraction(one), margin_currency) for one in equities]


def test_what_a_fill_posts_and_what_a_close_gives_back():
    """Posted by opening and increasing; a close and a part that is left over are no change."""
    reversing = {**SELL, "quantity": "3", "leverage": "5"}
    rows = logged(BUY, {**BUY, "leverage": "20"}, {**SELL, "quantity": "0.5"}, reversing, {**BUY, "quantity": "9"})
    names = ("event_id", "part", "episode", "change", "margin_before", "amount", "leverage_before", "leverage_after")
    assert told(rows, *names) == [
        ("1", 1, 1, "posted", 0, 10, None, 10),
        ("2", 1, 1, "posted", 10, 5, 10, 20),
        ("4", 2, 2, "posted", 0, Fraction("31.2"), None, 5),
        ("5", 2, 3, "posted", 0, 75, None, 10),
    ]


def test_a_leverage_is_compared_with_the_one_before_it_in_the_ledger():
    flat = {"kind": "leverage", "leverage": "4"}
    kinds = [{"kind": "leverage", "leverage": number, "amount": paid} for number, paid in (("20", "-5"), ("5", "3"))]
    kinds += [{"kind": "leverage", "leverage": "5", "amount": paid} for paid in (None, "0", "2")]
    rows = logged(flat, {**BUY, "leverage": None}, *kinds)
    assert told(rows, "change", "leverage_before", "leverage_after", "amount") == [
        ("posted", None, 4, 25),
        ("leverage_raised", 4, 20, -5),
        ("leverage_lowered", 20, 5, 3),
        ("leverage_kept", 5, 5, 0),
        ("leverage_kept", 5, 5, 0),
        ("leverage_kept", 5, 5, 2),
    ]


@pytest.mark.parametrize(
    ("paid", "change"), [("-1", "leverage_raised"), ("1", "leverage_lowered"), (None, "leverage_kept")]
)
def test_a_leverage_that_was_not_stated_before_counts_by_what_it_moves(paid, change):
    opening = {**BUY, "leverage": None, "amount": "10"}
    rows = logged(opening, {"kind": "leverage", "leverage": "5", "amount": paid}, tiers=tiers_of(("900", "0.03", "4")))
    assert told(rows, "change", "leverage_before", "leverage_after") == [("posted", None, None), (change, None, 5)]
    assert [row["rule"] for row in rows] == [
        "no leverage is stated",
        "leverage 5 is above 4, the maximum of tier 1, for a liability of 100 USDT",
    ]


def test_the_last_mark_and_balance_up_to_the_time_count():
    added = {"kind": "margin", "amount": "1"}
    marks = pl.concat([marks_of((2, "90"), (None, "80")), marks_of((3, "70"), instrument="ETH-USDT")])
    balances = pl.concat([balance_of((2, "9"), (3, "8")), balance_of((0, "7"), currency="BTC")])
    rows = logged(BUY, added, added, marks=marks, balances=balances)
    assert told(rows, "mark_price", "available") == [(80, None), (90, 9), (90, 8)]
    (row,) = logged(BUY, marks=marks, balances=balance_of((0, "7"), account="second"))
    assert row["available"] is None


def test_each_side_has_the_rate_of_its_own_tier():
    tiers = tiers_of(("100", "0.03", "10"), ("200", "0.04", "5"), ("300", "0.05", "2"))
    rows = logged(BUY, BUY, marks=marks_of((0, "100")), tiers=tiers)
    assert told(rows, "tier", "maximum_leverage") == [(1, 10), (2, 5)]
    assert told(rows, "margin_ratio_before", "margin_ratio_after") == [
        (None, ratio(10, 100, Fraction("0.03"))),
        (ratio(10, 100, Fraction("0.03")), ratio(20, 200, Fraction("0.04"))),
    ]


def test_rows_after_the_as_at_time_are_left_out():
    rows = log_of(numbered(BUY, {"kind": "margin", "amount": "1"}), as_at=at(1))
    assert rows.height == 1


def test_without_a_position_there_is_no_change():
    found = log_of(numbered({"kind": "leverage", "leverage": "5"}), marks_of((0, "1")))
    assert (found.height, found.schema) == (0, schema(MARGIN_CHANGE_LOG))


def test_a_value_that_does_not_fit_is_bad_input():
    large = {**BUY, "quantity": "90000000000000000", "price": "1"}
    with pytest.raises(BadInput):
        log_of(numbered(large), marks_of((0, "90000000000000000")))


# Verdicts at their bounds


def verdict(rows):
    return rows[-1]["verdict"], rows[-1]["rule"]


@pytest.mark.parametrize(
    ("leverage", "quantity", "expected"),
    [
        ("10", "1", None),
        ("5", "2", None),
        ("10.0000001", "1", "leverage 10.0000001 is above 10, the maximum of tier 1, for a liability of 100 USDT"),
        ("10", "1.01", "leverage 10 is above 5, the maximum of tier 2, for a liability of 101 USDT"),
        ("1", "2.01", "a liability of 201 USDT is above the last tier, 2"),
    ],
)
@pytest.mark.parametrize("change", ["posted", "leverage_raised"])
def test_the_size_fits_the_maximum_leverage_of_its_tier(leverage, quantity, expected, change):
    tiers = tiers_of(("100", "0.03", "10"), ("200", "0.04", "5"))
    before = {**BUY, "quantity": quantity, "leverage": "1"}
    raised = [before, {"kind": "leverage", "leverage": leverage}]
    rows = logged(*([{**before, "leverage": leverage}] if change == "posted" else raised), tiers=tiers)
    if leverage != "1":
        assert rows[-1]["change"] == change
        assert verdict(rows) == ("refused" if expected else "allowed", expected)
    else:
        assert verdict(rows[:1]) == ("refused", expected)


def test_of_a_short_the_liability_is_in_base():
    tiers = tiers_of(("100", "0.03", "9"))
    (row,) = logged({**BUY, "side": "sell"}, tiers=tiers)
    assert row["rule"] == "leverage 10 is above 9, the maximum of tier 1, for a liability of 1 BTC"


@pytest.mark.parametrize(("available", "expected"), [("5", "allowed"), ("4.999999999999999999", "refused")])
@pytest.mark.parametrize(
    "change", [{"kind": "margin", "amount": "5"}, {"kind": "leverage", "leverage": "6", "amount": "5"}]
)
def test_the_account_covers_what_is_added(available, expected, change):
    rule = None if expected == "allowed" else "5 USDT is needed, and 4.999999999999999999 is available"
    assert verdict(logged(BUY, change, balances=balance_of((0, available)))) == (expected, rule)


@pytest.mark.parametrize("kind", [{"kind": "margin"}, {"kind": "leverage", "leverage": "20"}], ids=str)
@pytest.mark.parametrize(("more", "expected"), [("0", "refused"), (ONE, "allowed"), (f"-{ONE}", "refused")])
def test_the_ratio_stays_above_that_of_liquidation(kind, more, expected):
    """At 10 % of 100 USDT, 4.104 is required: taking out 5.896 is one unit too much."""
    amount = strategies.text(Fraction(more) - Fraction("5.896"))
    given = {"marks": marks_of((0, "100"), maintenance_rate="0.04"), "tiers": tiers_of(("100", "0.03", "20"))}
    found = verdict(logged(BUY, {**kind, "amount": amount}, **given, liquidation_fee_rate="0.001"))
    # too near to 1 to be told from it in 18 decimals
    assert found == (expected, None if expected == "allowed" else "the margin ratio would be 1, not above 1")


def test_the_ratio_is_held_against_the_policy():
    marks = marks_of((0, "100"), maintenance_rate="0.04")
    taken = {"kind": "margin", "amount": "-1.792"}
    assert verdict(logged(BUY, taken, marks=marks, liquidation_ratio="2"))[0] == "refused"
    assert verdict(logged(BUY, taken, marks=marks, liquidation_ratio="1.999"))[0] == "allowed"


def test_where_nothing_is_owed_margin_may_be_taken_out():
    repaid = {**SELL, "quantity": "0.8", "price": "125"}
    rows = logged(BUY, repaid, {"kind": "margin", "amount": "-9"}, marks=marks_of((0, "1"), maintenance_rate="0.04"))
    assert (rows[-1]["margin_ratio_after"], verdict(rows)) == (None, ("allowed", None))


@pytest.mark.parametrize(
    ("events", "given", "lacking"),
    [
        ([BUY], {}, "no tier of the liability is known"),
        ([BUY], {"tiers": tiers_of(("900", "0.03", "9"), since=5)}, "no tier of the liability is known"),
        ([BUY], {"tiers": tiers_of(("900", "0.03", "9"), instrument="ETH-USDT")}, "no tier of the liability is known"),
        ([BUY], {"tiers": tiers_of(("900", "0.03", None))}, "tier 1 states no maximum leverage"),
        (
            [{**BUY, "leverage": None, "amount": "9"}],
            {"tiers": tiers_of(("900", "0.03", "9"))},
            "no leverage is stated",
        ),
        ([BUY, {"kind": "margin", "amount": "1"}], {}, "no available balance of the account is known"),
        ([BUY, {"kind": "margin", "amount": "-1"}], {}, "no mark price is known"),
        ([BUY, {"kind": "margin", "amount": "-1"}], {"marks": marks_of((0, "9"))}, "no maintenance rate is known"),
        (
            [BUY, {"kind": "leverage", "leverage": "20", "amount": "-1"}],
            {},
            "no tier of the liability is known; no mark price is known",
        ),
        (
            [{"kind": "opening", "side": "buy", "quantity": "1", "price": "1", "value": "-1", "amount": "1"}],
            {"tiers": tiers_of(("900", "0.03", "9"))},
            "it was posted before the ledger begins",
        ),
    ],
)
def test_what_cannot_be_checked_says_what_is_missing(events, given, lacking):
    assert verdict(logged(*events, **given)) == ("not_checked", lacking)


def test_what_is_refused_counts_before_what_is_missing():
    raised = {"kind": "leverage", "leverage": "20", "amount": "-1"}
    found = verdict(logged(BUY, raised, tiers=tiers_of(("900", "0.03", "10"))))
    assert found == ("refused", "leverage 20 is above 10, the maximum of tier 1, for a liability of 100 USDT")


def test_what_needs_no_check_is_allowed():
    for change in ({"kind": "margin", "amount": "0"}, {"kind": "leverage", "leverage": "10"}):
        assert verdict(logged(BUY, change)) == ("allowed", None)


def test_a_lower_leverage_without_an_amount_needs_what_it_lacks():
    lower = {"kind": "leverage", "leverage": "4"}
    assert verdict(logged(BUY, lower)) == ("not_checked", "no available balance of the account is known")
    assert verdict(logged(BUY, lower, balances=balance_of((0, "15")))) == ("allowed", None)
    less = verdict(logged(BUY, lower, balances=balance_of((0, "14.999999999999999999"))))
    assert less == ("refused", "15 USDT is needed, and 14.999999999999999999 is available")


# Findings


def findings(log, ledger):
    return {row["check"]: row for row in rows_of(pl.concat(margin_change_checks(log, ledger)))}


def _is(event_id):
    return (pl.col("event_id") == event_id).cast(pl.Int8)


def test_a_log_that_lacks_a_change_or_has_another_does_not_add_up():
    events = numbered(BUY, {"kind": "margin", "amount": "5"}, {"kind": "margin", "amount": "-1"}, SELL, BUY)
    ledger, log = run(events).ledger, log_of(events)
    good = findings(log, ledger)["margin_changes_add_up"]
    assert (good["rows_tested"], good["failures"]) == (5, 0)
    for wrong, place, size in (
        (log.filter(pl.col("event_id") != "2"), "main:BTC-USDT:USDT 2 1", 5),
        (log.with_columns(margin_after=pl.col("margin_after") + _is("3")), None, 1),
        (log.with_columns(margin_before=pl.col("margin_before") + _is("5")), None, 1),
    ):
        found = findings(wrong, ledger)["margin_changes_add_up"]
        assert found["failures"] > 0
        assert found["largest_residual"] == size
        assert found["first_failure"] == place or place is None


def test_a_refused_change_is_a_finding_and_one_that_is_not_checked_is_not_tested():
    events = numbered(BUY, {"kind": "margin", "amount": "5"}, {"kind": "margin", "amount": "50"})
    ledger, log = run(events).ledger, log_of(events, balances=balance_of((0, "5")))
    found = findings(log, ledger)["margin_changes_are_allowed"]
    assert (found["rows_tested"], found["failures"], found["first_failure"]) == (2, 1, "main:BTC-USDT:USDT 3 1")


# Random histories against fractions

SCALES = [(Fraction("100000"), Fraction(1)), (Fraction("0.07"), Fraction("12345.678")), (Fraction(1), Fraction(1))]
ROOM = 10**16
TINY = Fraction(1, 10**15)
"""A liability worth less than this is rounded too much for its ratio to be compared."""
LADDER = (("0.5", "0.03", "125"), ("50", "0.04", "7.5"), ("5000", "0.05", "5"), ("200000", "0.1", "3"))


def random_case(seed):
    """Events of moderate amounts, and marks, tiers and balances for some of them."""
    random = Random(seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(strategies, "SCALES", SCALES)
        events = strategies.history(random, events=30, positions=2)
    times = sorted({one["time"] for one in events})
    marks, balances = [], []
    for name in ("BTC-USDT", "LTC-BTC"):
        prices = [one["price"] for one in events if one["instrument"] == name and one["price"]]
        for time in random.sample(times, random.randint(0, len(times))) if prices else []:
            stated = random.choice((None, Fraction("0.02")))
            price = random.choice(prices) * random.choice((1, Fraction("0.9"), Fraction("1.1")))
            marks.append(
                {"instrument": name, "time": time, "mark_price": oracle.rounded(price), "maintenance_rate": stated}
            )
    for account, currency in ((account, name) for account in ("main", "second") for name in ("BTC", "LTC", "USDT")):
        amounts = [one["amount"] for one in events if one["kind"] in ("margin", "leverage") and one["amount"]]
        for time in random.sample(times, random.randint(0, len(times))) if amounts else []:
            amount = random.choice(amounts) + random.choice((0, 0, -strategies.DUST))
            balances.append({"time": time, "account": account, "currency": currency, "available": amount})
    tiers = [[tiers_of(*LADDER, instrument=name) for name in random.sample(("BTC-USDT", "LTC-BTC"), 1)], None]
    return events, marks, balances, random.choice(tiers)


def wanted(events, marks, balances, tiers):
    """The log as a walk through the oracle's rows gives it: the exact figures of each change, and its verdict."""
    rows, _ = oracle.replay(events)
    rows.sort(key=lambda row: row["position"])
    for _, position in groupby(rows, key=lambda row: row["position"]):
        leverage = None
        for row in position:
            posts = row["action"] in ("open", "increase")
            if row["direction"] and (posts or row["kind"] in ("margin", "leverage")):
                yield change_of(row, None if row["action"] == "open" else leverage, marks, balances, tiers)
            leverage = row["leverage"]


def change_of(row, leverage_before, marks, balances, tiers):
    account, instrument, currency = row["position"].split(":")
    mark = last([one for one in marks if one["instrument"] == instrument], row["time"])
    fund = last([one for one in balances if (one["account"], one["currency"]) == (account, currency)], row["time"])
    amount = row["margin_closing"] - row["margin_opening"]
    change = named(row, leverage_before, amount)
    table = tiers is not None and tiers[0]["instrument"][0] == instrument
    found = {"event_id": row["event_id"], "part": row["part"], "change": change, "amount": amount}
    found |= {"available": fund and fund["available"], "mark_price": mark and mark["mark_price"]}
    found["after"] = figures(row, "closing", mark, table)
    found["before"] = None if row["action"] == "open" else figures(row, "opening", mark, table)
    found["tier"], found["maximum_leverage"] = tier_for(row, "closing", table)[:2]
    found["verdict"] = verdict_of(found, row, leverage_before, mark, fund, tier_for(row, "closing", table))
    return found


def last(rows, time):
    found = [row for row in rows if row["time"] <= time]
    return max(found, key=lambda row: row["time"]) if found else None


def named(row, before, amount):
    if row["action"] in ("open", "increase"):
        return "posted"
    if row["kind"] == "margin":
        return "reduced" if amount < 0 else "added"
    rise = row["leverage"] - before if before is not None else -amount
    return "leverage_raised" if rise > 0 else "leverage_lowered" if rise < 0 else "leverage_kept"


def tier_for(row, when, table):
    """Number, maximum leverage, rate, and whether more is owed than the last tier allows."""
    if not table:
        return None, None, None, False
    owed = max(-row[f"base_{when}"], -row[f"quote_{when}"], Fraction(0))
    for number, (limit, rate, leverage) in enumerate(LADDER, start=1):
        if owed <= Fraction(limit) or number == len(LADDER):
            return number, Fraction(leverage), Fraction(rate), owed > Fraction(limit)
    raise ValueError("no tier")


def figures(row, when, mark, table):
    """Equity, ratio and liquidation price by the published table; nothing of a side where both legs are owed."""
    base, quote, margin = (row[f"{leg}_{when}"] for leg in ("base", "quote", "margin"))
    is_long, in_base = row["direction"] == "long", row["position"].endswith(row["position"].split(":")[1].split("-")[0])
    assets, liability = (base, -quote) if is_long else (quote, -base)
    rate = mark["maintenance_rate"] if mark and mark["maintenance_rate"] is not None else tier_for(row, when, table)[2]
    if mark is None or rate is None or assets < 0:
        return None
    case = ("L" if is_long else "S") + ("B" if in_base else "Q")
    found = measures(case, assets, margin, liability, mark=mark["mark_price"], rate=rate, fee_rate=FEE)
    share = found["margin_ratio"] if liability > 0 else None
    value = liability * (1 if is_long else mark["mark_price"])
    return found["floating_pnl"] + margin, share, found["liquidation_price"], value


def verdict_of(found, row, leverage_before, mark, fund, tier):
    """The branches of rules 5, in words of their own; None where too little is owed."""
    if row["kind"] == "opening":
        return "not_checked"
    answers, change = [], found["change"]
    _, maximum, _, is_above = tier
    if change in ("posted", "leverage_raised") or (row["kind"] == "leverage" and leverage_before is None):
        if is_above:
            answers.append("refused")
        elif maximum is None or row["leverage"] is None:
            answers.append("not_checked")
        else:
            answers.append("refused" if row["leverage"] > maximum else "allowed")
    needed = found["amount"]
    if change == "leverage_lowered" and needed == 0:
        _, instrument, currency = row["position"].split(":")
        own = row["base_closing"] if instrument.startswith(f"{currency}-") else row["quote_closing"]
        needed = abs(own) / row["leverage"] - row["margin_opening"]
    if change != "posted" and needed > 0:
        answers.append("not_checked" if fund is None else "refused" if fund["available"] < needed else "allowed")
    if change != "posted" and found["amount"] < 0:
        if mark is None or (mark["maintenance_rate"] is None and tier[2] is None):
            answers.append("not_checked")
        elif found["after"] is None or 0 < found["after"][3] < TINY:
            return None
        else:
            answers.append("refused" if found["after"][1] is not None and found["after"][1] <= 1 else "allowed")
    return "refused" if "refused" in answers else "not_checked" if "not_checked" in answers else "allowed"


def near(found, exact, scale):
    """Whether a figure that was rounded on its way is the exact one; none where there is none, or it has no room."""
    if exact is None or found is None:
        return exact is found or (found is None and abs(exact) > ROOM)
    return abs(found - exact) <= (abs(exact) + 1) * scale


@settings(max_examples=25)
@given(st.integers(0, 2**32))
def test_the_log_is_that_of_a_walk_in_fractions(seed):
    events, marks, balances, tiers = random_case(seed)
    assume(events)
    joined = None if tiers is None else pl.concat(tiers)
    log = rows_of(log_of(events, frame(MARKS, marks), joined, frame(BALANCES, balances)))
    expected = list(wanted(events, marks, balances, tiers))
    assert len(log) == len(expected)
    for row, exact in zip(log, expected, strict=True):
        same = [name for name in exact if name not in ("before", "after", "verdict")]
        assert {name: row[name] for name in same} == {name: exact[name] for name in same}
        assert exact["verdict"] in (None, row["verdict"])
        assert (row["verdict"] == "allowed") == (row["rule"] is None)
        for side in ("before", "after"):
            if exact[side] is not None:
                equity, share, price, value = exact[side]
                scale = Fraction(1, 10**13) if value <= 0 or value > 1 else Fraction(1, 10**13) / value
                assert near(row[f"equity_{side}"], equity, Fraction(1, 10**13))
                assert near(row[f"margin_ratio_{side}"], share, scale) or 0 < value < TINY
                assert near(row[f"liquidation_price_{side}"], price, scale) or 0 < value < TINY


@settings(max_examples=15)
@given(strategies.histories(events=30))
def test_the_log_of_any_history_adds_up(events):
    ledger, log = run(events).ledger, log_of(events)
    found = findings(log, ledger)["margin_changes_add_up"]
    assert (found["failures"], found["rows_tested"]) == (0, ledger["direction"].count())
    is_change = pl.col("action").is_in(["open", "increase", "margin", "leverage"]) & pl.col("direction").is_not_null()
    assert log.select("event_id", "part").equals(ledger.filter(is_change).select("event_id", "part"))


@settings(max_examples=8)
@given(strategies.histories(events=20), st.randoms(use_true_random=False))
def test_other_positions_change_nothing(events, random):
    log = log_of(events)
    name = random.choice(log["position"].to_list() or [None])
    assume(name)
    own = [one for one in events if f"{one['account']}:{one['instrument']}:{one['margin_currency']}" == name]
    assert log_of(own).equals(log.filter(pl.col("position") == name))
