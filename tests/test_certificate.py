"""The completeness certificate: each control on rows where it holds and on rows where it does not."""

from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from random import Random

import exchange_files
import exchange_truth
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statement_rows import START, frame, interest, legs, margin, opened

from ledger.columns import schema
from ledger.statements.certificate import certificate
from ledger.statements.columns import CERTIFICATE, SUMS
from ledger.statements.merging import merged
from ledger.statements.reading import read_statements
from ledger.statements.transactions import Defaults, events_of

RECORDS = Path(__file__).parent.parent / "fixtures" / "records"
FILES = pl.DataFrame(
    [(1, "deep/one.json"), (2, "two.csv")], schema={"input": pl.UInt16, "file": pl.String}, orient="row"
)


def frames_of(*rows, window=(None, None)):
    given_rows = frame(*rows)
    once = merged(given_rows)
    return certificate(FILES, given_rows, once, events_of(once.rows, Defaults(leverage=Decimal(3))), window)


def findings(*rows, window=(None, None)):
    return frames_of(*rows, window=window)[0].rows(named=True)


def finding(control, *rows, source=None, window=(None, None), subject=None):
    (found,) = (
        row
        for row in findings(*rows, window=window)
        if (row["control"], row["source"]) == (control, source) and (subject is None or subject in row["subject"])
    )
    return found


def outcome(control, *rows, **where):
    found = finding(control, *rows, **where)
    return found["tested"], found["exceptions"], found["outcome"]


def chained(*rows):
    """The rows with the balances of position and account that follow from their changes."""
    balances, account, full = {}, {}, []
    for row in rows:
        currency = row["currency"]
        balances[currency] = balances.get(currency, 0) + Decimal(str(row["change"]))
        account[currency] = account.get(currency, 1000) + Decimal(str(row.get("account_change") or 0))
        stated = {"balance": balances[currency], "account_balance": account[currency]}
        full.append({"account_change": 0, **row, **stated})
    return full


CLEAN = [*opened(), interest(103, "0.1", minute=60), interest(104, "0.1", minute=120)]


def test_a_clean_history_has_no_exception():
    rows = chained(*CLEAN)
    found, sums = frames_of(*rows)
    assert found.schema == schema(CERTIFICATE)
    assert sums.schema == schema(SUMS)
    assert found["outcome"].to_list() == ["ok"] * found.height
    assert found["exceptions"].sum() == 0
    assert finding("rows", *rows)["finding"].startswith("5 rows: 2 leg, 2 interest, 1 margin_posted")
    assert {row["file"] for row in found.rows(named=True)} == {"all files", "one.json"}


def test_the_sums_are_those_of_the_rows():
    _, sums = frames_of(*CLEAN, CLEAN[-1] | {"input": 2})
    assert sums["rows"].sum() == 6
    charged = sums.filter(pl.col("meaning") == "interest")
    assert charged.select("source", "file", "rows", "interest", "change").rows() == [
        (1, "one.json", 2, Decimal("0.2"), Decimal("-0.2")),
        (2, "two.csv", 1, Decimal("0.1"), Decimal("-0.1")),
    ]


def test_a_row_twice_in_a_file_is_an_exception():
    rows = [*CLEAN, CLEAN[-1]]
    assert outcome("duplicates", *rows) == (6, 1, "fail")
    assert finding("duplicates", *rows)["finding"] == ("1 row left out: row 6 of one.json says again what row 5 says.")
    assert outcome("overlap", *rows) == (6, 0, "ok")


def test_what_files_share_is_no_exception():
    rows = [*CLEAN, CLEAN[-1] | {"input": 2, "row": 1}]
    assert outcome("overlap", *rows) == (6, 1, "note")
    assert outcome("overlap", *rows, source=2) == (1, 1, "note")
    assert outcome("overlap", *rows, source=1) == (5, 0, "ok")
    assert outcome("duplicates", *rows) == (6, 0, "ok")
    assert "row 5 of one.json" in finding("overlap", *rows)["finding"]


# --- the balance chain --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("lost", "amount"), [(2, "-10000"), (3, "-0.1"), (4, "-0.1")])
def test_a_lost_row_breaks_the_chain(lost, amount):
    rows = chained(*CLEAN, *legs(200, "buy", 1, 100, order="o9", trade="t9", minute=121))
    missing = rows.pop(lost)
    found = finding("balance_chain", *rows, subject=f"positions: main:BTC-USDT:{missing['currency']}")
    assert (found["exceptions"], found["outcome"]) == (1, "fail")
    assert found["largest_difference"] == abs(Decimal(str(missing["change"])))
    assert f"{amount} {missing['currency']} is missing" in found["finding"]


def test_a_break_names_both_rows():
    rows = chained(*CLEAN)
    del rows[3]
    text = finding("balance_chain", *rows, subject="positions: main:BTC-USDT:USDT")["finding"]
    assert text == (
        "row 3 of one.json (102) leaves -9000; row 4 of one.json (104) changes it by -0.1 to -9000.2: "
        "between the two, -0.1 USDT is missing."
    )


def test_identifiers_order_the_chain_whatever_the_order_of_the_file():
    rows = [row | {"row": place} for place, row in enumerate(chained(*CLEAN)[::-1], start=1)]
    assert outcome("balance_chain", *rows, subject="positions") == (3, 0, "ok")


def test_rounding_at_eight_decimals_is_a_note():
    rows = [row | {"layout": "okx-trading-history"} for row in chained(*CLEAN)]
    rows[-1]["balance"] += Decimal("0.00000001")
    found = finding("balance_chain", *rows, subject="positions")
    assert (found["exceptions"], found["outcome"], found["largest_difference"]) == (1, "note", Decimal("0.00000001"))
    rows[-1]["layout"] = rows[-2]["layout"] = "okx-bills"
    assert outcome("balance_chain", *rows, subject="positions: ")[2] == "fail"


def test_spot_rows_and_rows_without_balances_are_no_part_of_the_chain():
    spot = {"meaning": "outside", "currency": "USDT", "change": 0, "balance": 0}
    rows = [*chained(*CLEAN)[:4], spot | {"row_id": "150"}, CLEAN[-1]]
    assert outcome("balance_chain", *rows, subject="positions") == (2, 0, "ok")
    assert outcome("balance_chain", *CLEAN, subject="positions") == (0, 0, "ok")


def test_a_broken_account_is_a_note_where_only_positions_were_asked_for():
    rows = chained(*CLEAN)
    rows[-1]["account_balance"] += 5
    found = finding("balance_chain", *rows, subject="the account: ")
    assert (found["outcome"], found["largest_difference"]) == ("note", 5)
    spot = {"meaning": "outside", "row_id": "150", "currency": "BTC", "account_change": 1, "account_balance": 9}
    assert finding("balance_chain", *rows, spot, subject="the account: main:USDT")["outcome"] == "fail"


def test_published_bills_years_apart_do_not_chain(tmp_path):
    found, _ = read_statements([RECORDS / "bills.json"], Defaults(), tmp_path).certificate()
    broken = found.filter(pl.col("exceptions") > 0).rows(named=True)
    assert [(row["control"], row["subject"], row["outcome"]) for row in broken] == [
        ("balance_chain", "balances of the account: main:USDT", "fail")
    ]
    assert "2.9968121033080283 USDT is missing" in broken[0]["finding"]


# --- other controls -----------------------------------------------------------------------------------------


def test_a_leg_alone_is_reported_with_its_amount():
    rows = CLEAN[:2] + CLEAN[3:]
    assert outcome("paired_legs", *rows) == (1, 1, "fail")
    assert "0.0999 BTC in sum" in finding("paired_legs", *rows)["finding"]
    assert outcome("id_gaps", *rows, source=1) == (1, 1, "note")


@pytest.mark.parametrize(
    ("off", "layout", "expected"),
    [
        ("0.00000001", "okx-trading-history", "note"),
        ("0.00000002", "okx-trading-history", "fail"),
        ("5", "okx-bills", "fail"),
    ],
)
def test_size_and_fee_make_the_change(off, layout, expected):
    rows = [row | {"layout": layout} for row in CLEAN]
    rows[1] = rows[1] | {"size": Decimal("0.1") + Decimal(off)}
    found = finding("sizes", *rows)
    assert (found["tested"], found["exceptions"], found["outcome"]) == (2, 1, expected)
    assert found["largest_difference"] == Decimal(off)


def test_what_a_leg_leaves_to_the_account_is_of_its_size():
    rows = [dict(row) for row in CLEAN]
    rows[1] |= {"change": "0.0899", "account_change": "0.01"}
    assert outcome("sizes", *rows) == (2, 0, "ok")


@pytest.mark.parametrize(("change", "expected"), [(0, "note"), (5, "fail")])
def test_unknown_types_are_reported_with_their_amounts(change, expected):
    strange = {"meaning": "unclassified", "stated_type": "2/9999", "currency": "USDT", "account_change": change}
    found = finding("unclassified", *CLEAN, strange | {"row_id": "999", "minute": 130})
    assert (found["exceptions"], found["outcome"]) == (1, expected)
    assert "2/9999" in found["finding"]
    assert f"of the account: {change} USDT" in found["finding"]


def test_an_hour_without_a_charge_is_reported():
    rows = [*opened(), *(interest(103 + hour, "0.1", minute=60 * hour) for hour in (1, 2, 4, 7))]
    found = finding("hour_gaps", *rows)
    assert (found["tested"], found["exceptions"], found["outcome"]) == (4, 3, "fail")
    assert (found["subject"], "row 5 of one.json" in found["finding"]) == ("main:BTC-USDT:USDT", True)
    assert finding("hour_gaps", *chained(*rows))["outcome"] == "note"


def test_an_hour_without_a_liability_needs_no_charge():
    close = legs(200, "sell", "0.0999", 101_000, order="o2", trade="t2", minute=90)
    again = [row | {"order_id": "o3", "minute": 200} for row in opened(300)]
    again[1]["trade_id"] = again[2]["trade_id"] = "t3"
    rows = [*opened(), interest(103, "0.1", minute=60), *close, *again, interest(400, "0.1", minute=240)]
    assert outcome("hour_gaps", *rows) == (2, 0, "ok")


@pytest.mark.parametrize("second", [-3, 0, 200])
def test_a_charge_a_little_early_or_late_is_of_its_hour(second):
    rows = [*opened(), *(interest(103 + hour, "0.1", minute=60 * hour, second=second) for hour in (1, 2, 3))]
    assert outcome("hour_gaps", *rows) == (3, 0, "ok")


def test_the_coverage_is_held_against_the_window():
    assert outcome("coverage", *CLEAN, window=(START, START + timedelta(minutes=120))) == (5, 0, "ok")
    found = finding("coverage", *CLEAN, window=(START - timedelta(days=1), START + timedelta(minutes=61)))
    assert (found["exceptions"], found["outcome"]) == (1, "note")
    assert "it begins after 2024-12-31 00:00" in found["finding"]
    assert "ends before" not in found["finding"]


def test_no_rows_give_no_exception():
    found, sums = frames_of()
    assert found["exceptions"].sum() == 0
    assert sums.is_empty()


# --- whole histories ----------------------------------------------------------------------------------------


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.booleans(), st.booleans())
def test_whole_histories_are_complete_and_a_lost_row_is_seen(tmp_path_factory, seed, leftovers, plain):
    random, folder = Random(seed), tmp_path_factory.mktemp("files")
    happened = exchange_truth.history(random, positions=2, events=(3, 25), leftovers=leftovers, plain=plain)["events"]
    bills = exchange_files.bills(happened)
    path = folder / "bills"
    content = exchange_files.trading_history if plain else exchange_files.archive
    exchange_files.write(path, content(bills))
    found, _ = read_statements([path], Defaults(), folder).certificate()
    assert found.filter((pl.col("outcome") == "fail") | (pl.col("exceptions") > 0)).is_empty()
    last = {(row["instId"], row["ccy"]): row["billId"] for row in bills}
    first = {(row["instId"], row["ccy"]): row["billId"] for row in bills[::-1]}
    inner = [row for row in bills if row["billId"] not in {*last.values(), *first.values()} and row["posBalChg"]]
    if inner:
        lost = random.choice(inner)
        exchange_files.write(path, content([row for row in bills if row is not lost]))
        found, _ = read_statements([path], Defaults(leverage=Decimal(3)), folder).certificate()
        broken = found.filter((pl.col("control") == "balance_chain") & (pl.col("outcome") == "fail"))
        assert f"{lost['instId']}:{lost['ccy']}" in "".join(broken["subject"])


def test_margin_rows_alone_are_counted():
    rows = [margin(1, "margin_posted", 5), margin(2, "margin_returned", 5, code="333", minute=1)]
    assert finding("rows", *rows)["finding"].startswith("2 rows: 1 margin_posted, 1 margin_returned")
