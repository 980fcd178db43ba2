"""Control sums of inputs: against a plain re-adding of the files, and against the ledger."""

from collections import defaultdict
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import frame, histories

from ledger.columns import INPUT_SUMS, KINDS, schema
from ledger.files import Request, replay_files
from ledger.input_sums import TIES, AsRead, Booked, booked_check, input_sums
from ledger.interest.policy import find_policy
from ledger.interest.request import InterestRequest
from ledger.ordering import index_positions, with_positions
from ledger.policies import Policies
from ledger.reconciliation.request import ReconcileRequest
from ledger.reconciliation.run import reconcile_files
from ledger.refusals import LedgerError
from ledger.replay import ledger_of, replay_parts

DEMO = Path(__file__).parent.parent / "fixtures" / "demo"
TRADES = ("fill", "liquidation", "opening")
COLUMNS = ("quantity", "value", "fee", "amount")
EXAMPLES = 25
SPOT_FIRST = Policies(overfill="spot_first")


def added_up(events: list[dict]) -> dict[tuple, tuple[int, Fraction, Fraction]]:
    """Rows, sum and absolute sum by input, column, kind and currency, one number after the other."""
    found: dict[tuple, list] = defaultdict(lambda: [0, Fraction(0), Fraction(0)])
    for event in events:
        base, quote = event["instrument"].split("-")
        currencies = (base, quote, event["fee_currency"], event["currency"] or event["margin_currency"])
        for column, currency in zip(COLUMNS, currencies, strict=True):
            amount = event[column]
            if column == "value" and event["kind"] in TRADES and amount is None:
                amount = half_even(event["quantity"] * event["price"])
            if amount is not None:
                sums = found[event["input"], column, event["kind"], currency]
                sums[0], sums[1], sums[2] = sums[0] + 1, sums[1] + amount, sums[2] + abs(amount)
    return {key: tuple(sums) for key, sums in found.items()}


def half_even(amount: Fraction) -> Fraction:
    """Rounded at the 18th place."""
    return Fraction(round(amount * 10**18), 10**18)


def as_read(sums: pl.DataFrame) -> dict[tuple, tuple[int, Fraction, Fraction]]:
    """The same of the frame."""
    columns = ("input", "column", "kind", "currency", "rows", "total", "absolute_total")
    return {row[:4]: (row[4], Fraction(row[5]), Fraction(row[6])) for row in sums.select(columns).iter_rows()}


def sums_of(events: pl.DataFrame, policies: Policies, as_at: datetime | None = None) -> pl.DataFrame:
    """The frame of events in memory."""
    read, booked = AsRead(), Booked()
    is_late = pl.lit(value=False) if as_at is None else pl.col("time") > as_at
    for part in events.iter_slices(15):
        read.add(part, is_late)
    kept = events.filter(~is_late)
    index = index_positions(kept)
    if kept.height:
        placed = with_positions(kept, index)
        ledger = ledger_of(replay_parts(placed, policies), index, policies)
        for part in ledger.iter_slices(15):
            booked.add(part, index)
    return input_sums(read, booked)


@settings(max_examples=EXAMPLES)
@given(histories(), st.sampled_from([Policies(), SPOT_FIRST]))
def test_sums_are_those_of_a_plain_adding_up_and_all_are_in_the_ledger(events: list[dict], policies: Policies) -> None:
    sums = sums_of(frame(events), policies)
    assert sums.schema == schema(INPUT_SUMS)
    assert as_read(sums) == added_up(events)
    assert sums["not_booked"].drop_nulls().abs().sum() in (0, None)
    assert sums["left_out"].abs().sum() == 0
    assert booked_check(sums)["failures"].item() == 0


@settings(max_examples=EXAMPLES)
@given(histories(), st.randoms(use_true_random=False))
def test_what_comes_after_the_as_at_time_is_left_out_and_said(events: list[dict], random) -> None:
    as_at = random.choice(events)["time"]
    sums = sums_of(frame(events), Policies(), as_at)
    late = added_up([event for event in events if event["time"] > as_at])
    assert as_read(sums) == added_up(events)
    left = {
        row[:4]: Fraction(row[4]) for row in sums.select("input", "column", "kind", "currency", "left_out").iter_rows()
    }
    assert {key: amount for key, amount in left.items() if amount} == {
        key: total for key, (_, total, _) in late.items() if total
    }
    assert booked_check(sums)["failures"].item() == 0


@settings(max_examples=EXAMPLES)
@given(histories(events=12))
def test_an_event_lost_doubled_or_changed_is_found(events: list[dict]) -> None:
    whole = frame(events)
    read, booked = AsRead(), Booked()
    index = index_positions(whole)
    ledger = ledger_of(replay_parts(with_positions(whole, index), Policies()), index, Policies())
    booked.add(ledger, index)
    read.add(pl.concat([whole, whole.head(1)]))
    first = whole.row(0, named=True)
    tied = any(first["kind"] in tie.kinds and first[tie.column] for tie in TIES)
    assert booked_check(input_sums(read, booked))["failures"].item() > 0 or not tied


def test_the_order_of_batches_does_not_matter() -> None:
    events = pl.DataFrame(
        {
            "input": [2, 1, 1],
            "kind": ["fill", "fill", "margin"],
            "instrument": ["BTC-USDT", "ETH-USDT", "ETH-USDT"],
            "margin_currency": ["USDT", "USDT", "USDT"],
            "quantity": ["1.5", "2", None],
            "price": ["10", "3", None],
            "value": [None, "6.1", None],
            "fee": ["-0.1", None, None],
            "fee_currency": ["OKB", None, None],
            "amount": [None, None, "-7"],
            "currency": [None, None, None],
        },
        schema_overrides={"input": pl.UInt16, "currency": pl.String, "kind": pl.Enum(KINDS)},
    ).with_columns(pl.col("quantity", "price", "value", "fee", "amount").cast(pl.Decimal(38, 18)))
    forwards, backwards = AsRead(), AsRead()
    forwards.add(events)
    for place in (2, 1, 0):
        backwards.add(events[place : place + 1])
    expected = [
        (1, "quantity", "fill", "ETH", 1, Decimal(2), Decimal(2)),
        (1, "value", "fill", "USDT", 1, Decimal("6.1"), Decimal("6.1")),
        (1, "amount", "margin", "USDT", 1, Decimal(-7), Decimal(7)),
        (2, "quantity", "fill", "BTC", 1, Decimal("1.5"), Decimal("1.5")),
        (2, "value", "fill", "USDT", 1, Decimal(15), Decimal(15)),
        (2, "fee", "fill", "OKB", 1, Decimal("-0.1"), Decimal("0.1")),
    ]
    for read in (forwards, backwards):
        sums = input_sums(read, Booked())
        assert [(*key, *values) for key, values in as_read(sums).items()] == expected
        # The ledger has nothing of it: every sum is missing.
        assert booked_check(sums)["failures"].item() == 6


def test_sums_that_no_amount_can_hold_are_refused() -> None:
    events = frame([]).clear()
    row = {"input": 1, "kind": "fill", "instrument": "X-Y", "margin_currency": "Y", "quantity": "9" * 17, "price": "1"}
    large = pl.concat(
        [events, pl.DataFrame([row]).cast({"quantity": pl.Decimal(38, 18)}, strict=False)], how="diagonal_relaxed"
    )
    many = pl.concat([large.select(events.columns).cast(dict(events.schema))] * 1_001)
    read = AsRead()
    read.add(many)
    with pytest.raises(LedgerError, match=r"add up to 10\^20 or more"):
        read.frame()


@pytest.mark.parametrize("as_at", [None, datetime(2025, 1, 31, tzinfo=UTC)])
def test_a_replay_writes_the_sums_and_the_check(tmp_path: Path, as_at: datetime | None) -> None:
    checks = replay_files(Request([DEMO / "events.csv"], as_at=as_at), tmp_path / "books")
    sums = pl.read_parquet(tmp_path / "books" / "input_sums.parquet")
    check = checks.filter(pl.col("check") == "inputs_are_booked")
    assert check["rows_tested"].item() == sums["booked"].count() > 0
    assert check["failures"].item() == 0


def test_interest_that_is_computed_is_not_tied(tmp_path: Path) -> None:
    interest = InterestRequest(find_policy("okx"), DEMO / "interest" / "rates.csv")
    events = DEMO / "interest" / "events.csv"
    checks = replay_files(Request([events], interest=interest), tmp_path / "books")
    sums = pl.read_parquet(tmp_path / "books" / "input_sums.parquet")
    assert checks.filter(pl.col("check") == "inputs_are_booked")["failures"].item() == 0
    assert sums.filter(pl.col("kind") == "interest")["booked"].null_count() == (sums["kind"] == "interest").sum()


def test_a_reconciliation_has_the_sums_of_the_ledgers_files(tmp_path: Path) -> None:
    folder = DEMO / "reconcile"
    ledger = [folder / "house.csv", folder / "adjustments.xlsx"]
    exchange = [folder / name for name in ("bills-2025-q1.zip", "interest.json", "positions.json")]
    checks = reconcile_files(ReconcileRequest(ledger, exchange), tmp_path / "books")
    sums = pl.read_parquet(tmp_path / "books" / "input_sums.parquet")
    assert checks.filter(pl.col("check") == "inputs_are_booked")["failures"].item() == 0
    assert set(sums["input"]) == {1, 2}
    house = pl.read_csv(folder / "house.csv", infer_schema=False)
    traded = house.filter(pl.col("kind") == "fill").select(pl.col("quantity").cast(pl.Decimal(38, 18)).sum()).item()
    of_house = sums.filter((pl.col("input") == 1) & (pl.col("column") == "quantity"))
    assert of_house["total"].sum() == traded


def test_what_lies_before_the_opening_balances_is_left_out(tmp_path: Path) -> None:
    folder = DEMO / "reconcile"
    bills = folder / "bills-2025-q1.zip"
    request = ReconcileRequest([bills], [folder / "positions.json"], opening=[folder / "positions.json"])
    reconcile_files(request, tmp_path / "books")
    sums = pl.read_parquet(tmp_path / "books" / "input_sums.parquet")
    assert sums.filter(pl.col("left_out") != 0).height > 0
    assert sums["not_booked"].drop_nulls().abs().sum() == 0
