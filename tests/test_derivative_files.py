"""The files of derivatives: a small book from them, and every refusal of bad ones."""

from fractions import Fraction
from pathlib import Path

import polars as pl
import pytest
from exact import FIXTURES, rows_of
from test_derivative_replay import frame

from ledger.derivatives.files import read_contracts, read_derivative_events
from ledger.derivatives.replay import replay_derivatives
from ledger.marks import read_marks
from ledger.refusals import BadInput
from ledger.risk.columns import TIERS

FOLDER = FIXTURES / "derivatives"


def tiers():
    rows = pl.read_csv(FOLDER / "tiers.csv", infer_schema=False).to_dicts()
    return frame([row | {"tier": int(row["tier"])} for row in rows], TIERS)


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "file.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_book_of_four_contracts_from_files():
    events = read_derivative_events([FOLDER / "events.csv"])
    book = replay_derivatives(
        events, read_contracts(FOLDER / "contracts.csv"), read_marks(FOLDER / "marks.csv"), tiers()
    )
    failed = {row["check"]: row["failures"] for row in rows_of(book.checks) if row["failures"]}
    assert failed == {"liquidations_agree": 3}
    rows = {(row["position"], row["episode"]): row for row in rows_of(book.positions)}
    long = rows["main:BTC-USDT-SWAP:net", 1]
    assert (long["how"], long["realised_pnl"], long["funding"], long["fees"]) == (
        "reversed",
        900,
        Fraction("-4.5"),
        Fraction("45.45"),
    )
    assert rows["main:BTC-USDT-SWAP:net", 2]["contracts"] == -50
    future = rows["main:ETH-USD-210430:net", 1]
    assert round(future["margin_ratio"], 12) == round(Fraction("11.731726509588816"), 12)
    assert round(future["liquidation_price_shown"], 11) == round(Fraction("2352.8496681818233"), 11)
    option = rows["main:BTC-USD-260327-60000-C:net", 1]
    assert (option["option_value"], option["margin"], option["settle_currency"]) == (
        Fraction("0.006"),
        Fraction("0.005"),
        "BTC",
    )
    steps = [(row["position"], row["step"], row["quantity_due"]) for row in rows_of(book.liquidations_due)]
    assert steps == [
        ("main:BTC-USD-SWAP:long", "pair", 60),
        ("main:BTC-USD-SWAP:short", "pair", 60),
        ("main:BTC-USDT-SWAP:net", "partial", 150),
    ]
    assert events["input"].unique().to_list() == [1]


@pytest.mark.parametrize(
    ("header", "row", "column"),
    [
        ("", "X,linear,0,BTC,USDT", "face_value"),
        ("", "X,spot_margin,1,BTC,USDT", "instrument_class"),
        ("", "X Y,linear,1,BTC,USDT", "instrument"),
        ("", "X,linear,1,btc,USDT", "base_currency"),
        (",settle_currency", "X,linear,1,BTC,USDT,BTC", "settle_currency"),
        (",settle_currency", "X,inverse,1,BTC,USD,USD", "settle_currency"),
        (",tick", "X,linear,1,BTC,USDT,-1", "tick"),
        (",multiplier", "X,linear,1e16,BTC,USDT,1e16", "multiplier"),
        (",multiplier", "X,linear,1e-16,BTC,USDT,1e-16", "multiplier"),
    ],
)
def test_a_contract_that_cannot_be_is_refused(tmp_path, header, row, column):
    path = written(tmp_path, f"instrument,instrument_class,face_value,base_currency,quote_currency{header}\n{row}\n")
    with pytest.raises(BadInput) as refused:
        read_contracts(path)
    assert refused.value.refusals.select("row", "column").rows() == [(2, column)]


def test_all_refusals_of_all_files_are_listed(tmp_path):
    header = "time,event_id,account,instrument,kind,amount\n"
    path = written(tmp_path, f"{header}2025-01-01,a,main,X,funding,1\n2025-01-01T00:00:00Z,b,main,X,fund,\n")
    with pytest.raises(BadInput) as refused:
        read_derivative_events([path, tmp_path / "none.csv"])
    found = refused.value.refusals.select("row", "column").rows()
    assert found == [(2, "time"), (3, "kind"), (None, None)]


def test_marks_of_contracts_need_no_pair_but_a_price(tmp_path):
    with pytest.raises(BadInput) as refused:
        read_marks(written(tmp_path, "instrument,mark_price\nETH-USD-210430,0\n"))
    assert refused.value.refusals["column"].to_list() == ["mark_price"]


def test_an_event_of_two_files_stands_once():
    twice = read_derivative_events([FOLDER / "events.csv", FOLDER / "events.csv"])
    with pytest.raises(BadInput) as refused:
        replay_derivatives(twice, read_contracts(FOLDER / "contracts.csv"), files={1: "first", 2: "second"})
    assert refused.value.refusals["file"].to_list() == ["second"] * 8


def test_no_events_give_empty_frames():
    events = read_derivative_events([FOLDER / "events.csv"]).clear()
    book = replay_derivatives(events, read_contracts(FOLDER / "contracts.csv"), None)
    assert [book.ledger.height, book.postings.height, book.positions.height, book.liquidations_due.height] == [0] * 4
    assert book.checks["failures"].sum() == 0
