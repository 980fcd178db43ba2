"""Position records of an exchange, re-computed from their own numbers: published ones, and made-up ones."""

import json
from fractions import Fraction
from pathlib import Path

import derivative_oracle as oracle
import pytest
from exact import FIXTURES, rows_of
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.columns import schema
from ledger.derivatives.records import POSITION_RECORDS, measure_records, measured_records
from ledger.refusals import BadInput

FIGURES = {
    "margin_formula",
    "floating_pnl",
    "floating_pnl_ratio",
    "maintenance_margin",
    "margin_ratio",
    "liquidation_price",
}
AMOUNTS = {"margin_formula": "margin", "floating_pnl": "upl", "maintenance_margin": "mmr"}


def written(tmp_path: Path, content: object, name: str = "positions.json") -> Path:
    path = tmp_path / name
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def verdicts(frame):
    return {row["figure"]: row["verdict"] for row in frame.iter_rows(named=True)}


def future():
    """The published record of an inverse future."""
    (sample,) = json.loads((FIXTURES / "records" / "positions_futures.json").read_text(encoding="utf-8"))
    return dict(sample["record"])


def test_the_published_future_comes_out_to_its_last_digit():
    found = measure_records(FIXTURES / "records" / "positions_futures.json")
    assert found.schema == schema(POSITION_RECORDS)
    assert verdicts(found) == dict.fromkeys(FIGURES, "agrees") | {"floating_pnl": "not_compared"}
    rows = {row["figure"]: row for row in rows_of(found)}
    assert rows["floating_pnl"]["note"] == "the mark is taken from it"
    assert rows["liquidation_price"]["note"] == "one tick of 0.01 nearer to the mark"
    words = found["inferred"][0]
    for said in ("inverse", "the mark is no number", "mark 2565.656 from the PnL", "maintenance 0.008", "fee 0.0005"):
        assert said in words
    assert all(abs(row["relative"]) < Fraction(1, 10**10) for row in rows.values())


def test_published_spot_positions_agree():
    found = measure_records(FIXTURES / "records" / "positions.json")
    assert set(found["verdict"]) == {"agrees"}
    assert found["instrument_class"].unique().to_list() == ["spot_margin"]
    assert found["record"].to_list() == [1] * 5 + [2] * 3
    assert "maintenance 0.02, liquidation fee 0.001" in found["inferred"][0]
    assert found["margin_currency"].unique(maintain_order=True).to_list() == ["BTC", "USDT"]


def test_the_mark_of_a_spot_position_is_taken_from_its_pnl_too():
    spot = json.loads((FIXTURES / "records" / "positions.json").read_text(encoding="utf-8"))[0]["record"]
    cells = {name: value for name, value in spot.items() if value} | {"markPx": "about 62,000"}
    found = measured_records([(1, cells)])
    assert "mark 62891.9 from the PnL; mode old inferred" in found["inferred"][0]
    assert verdicts(found).pop("floating_pnl") == "not_compared"
    assert {verdict for name, verdict in verdicts(found).items() if name != "floating_pnl"} == {"agrees"}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"ctVal": ""}, "contract size 10 from margin x leverage"),
        ({"ctVal": "", "markPx": "2565.656", "lever": ""}, "contract size 10 from PnL"),
        ({"ctVal": "", "markPx": "", "lever": "", "notionalUsd": "10.01"}, "contract size 10 from notional value"),
        ({"ctVal": "10", "ccy": "ETH"}, "inverse"),
        ({"markPx": "2353.849"}, "the stated mark 2353.849 contradicts the PnL; mark 2565.656 from the PnL"),
        ({"markPx": ""}, "mark 2565.656 from the PnL"),
        ({"posSide": "net"}, "inverse"),
    ],
)
def test_what_a_record_leaves_out_is_inferred_and_said(tmp_path, changes, said):
    found = measure_records(written(tmp_path, {"code": "0", "data": [future() | changes]}))
    assert said in found["inferred"][0]
    others = {
        name: verdict for name, verdict in verdicts(found).items() if name not in ("floating_pnl", "margin_formula")
    }
    assert set(others.values()) == {"agrees"}


@pytest.mark.parametrize(
    ("figure", "name", "factor"),
    [
        ("margin_ratio", "mgnRatio", "1.0001"),
        ("maintenance_margin", "mmr", "1.00013"),
        ("liquidation_price", "liqPx", "1.00001"),
        ("floating_pnl_ratio", "uplRatio", "0.99"),
    ],
)
def test_a_figure_that_is_wrong_differs_and_no_other_does(tmp_path, figure, name, factor):
    record = future() | {"markPx": "2565.656"}
    record[name] = str(round(float(record[name]) * float(factor), 16))
    found = verdicts(measure_records(written(tmp_path, [record])))
    assert found == dict.fromkeys(FIGURES, "agrees") | {figure: "differs"}


def test_margin_that_was_added_is_no_difference():
    found = measured_records([(1, future() | {"markPx": "2565.656", "margin": "0.0005", "mgnRatio": "", "liqPx": ""})])
    assert verdicts(found)["margin_formula"] == "not_compared"
    assert "some was added or taken out" in found["note"].to_list()[0]


@st.composite
def records(draw):
    """A record made up by the published formulas, its doubles printed as an exchange prints them, and the truth."""
    kind, side = draw(st.sampled_from(["linear", "inverse"])), draw(st.sampled_from(["long", "short"]))
    face = Fraction(draw(st.sampled_from(["0.01", "0.1", "1", "10"] if kind == "linear" else ["10", "100"])))
    entry = Fraction(draw(st.integers(20_000, 900_000)), 10)
    mark = entry * Fraction(draw(st.integers(900, 1100)), 1000)
    mark = Fraction(round(mark * 10) + (1 if round(mark * 10) == round(entry * 10) else 0), 10)
    pos, lever = draw(st.integers(1, 5000)), draw(st.integers(2, 8))
    rate, fee = (
        Fraction(draw(st.integers(4, 60)), 1000),
        Fraction(draw(st.sampled_from(["0.0005", "0.0002", "0.00045"]))),
    )
    size = pos * face
    value = size * entry if kind == "linear" else size / entry
    margin = Fraction(printed(value / lever))
    figures = oracle.measures(kind, side, size, value, margin, mark=mark, rate=rate, fee_rate=fee)
    exact = figures["liquidation_price"]
    is_net = draw(st.booleans())
    record = {
        "instType": "SWAP",
        "instId": "BTC-USDT-SWAP" if kind == "linear" else "BTC-USD-SWAP",
        "ccy": "USDT" if kind == "linear" else "BTC",
        "mgnMode": "isolated",
        "posSide": "net" if is_net else side,
        "pos": str(-pos if is_net and side == "short" else pos),
        "avgPx": printed(entry),
        "lever": str(lever),
        "margin": printed(margin),
        "markPx": printed(mark),
        "upl": printed(figures["floating_pnl"]),
        "uplRatio": printed(figures["floating_pnl"] * lever / value),
        "mmr": printed(figures["maintenance_margin"]),
        "mgnRatio": printed(figures["margin_ratio"]),
        "liqPx": printed(exact + (Fraction("0.1") if side == "long" else -Fraction("0.1"))) if exact else "",
        "imr": "",
        "last": "",
    }
    return record, side, rate, fee


def printed(value):
    """The double of a number with at most 16 decimals, as the exchange prints it."""
    return f"{float(value):.16f}".rstrip("0").rstrip(".") if abs(value) < 1 else repr(float(value)).removesuffix(".0")


@settings(max_examples=40, deadline=None)
@given(records())
def test_records_made_up_by_the_rules_agree_and_their_terms_are_found(made_up):
    record, side, rate, fee = made_up
    found = measured_records([(1, {name: value for name, value in record.items() if value})])
    assert set(found["verdict"]) == {"agrees"}, found.to_dicts()
    assert found["direction"][0] == side
    words = found["inferred"][0]
    assert f"maintenance {float(rate):g}" in words
    assert f"liquidation fee {float(fee):g}" in words


WORDS = st.sampled_from(
    ["", "0", "-1", "1e-30", "1e16", "99999999999999999999", "NaN", "inf", "word", "0.5", "-0.0001", "12"]
)
NAMES = st.sampled_from(
    (
        *("pos", "avgPx", "lever", "margin", "markPx", "upl", "uplRatio", "mmr", "mgnRatio", "liqPx", "ctVal"),
        *("posSide", "ccy", "instType", "liab", "posCcy", "notionalUsd", "instId", "interest", "optVal"),
    )
)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from([0, 1, 2]), st.dictionaries(NAMES, WORDS, max_size=5))
def test_no_record_stops_the_others(which, changes):
    spot = json.loads((FIXTURES / "records" / "positions.json").read_text(encoding="utf-8"))
    record = [future(), spot[0]["record"], spot[1]["record"]][which]
    cells = {name: value for name, value in (record | changes).items() if value}
    found = measured_records([(1, {"instId": "X", **cells})])
    assert found.height
    assert found.schema == schema(POSITION_RECORDS)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"mgnMode": "cross"}, "the margin is not isolated but cross"),
        ({"pos": "0"}, "no position"),
        ({"avgPx": ""}, "no avgPx"),
        ({"margin": ""}, "no margin"),
        ({"ctVal": "", "lever": "", "margin": "0.017"}, "the contract size is not stated"),
        ({"upl": ""}, "no mark"),
    ],
)
def test_what_cannot_be_compared_says_why(tmp_path, changes, said):
    found = measure_records(written(tmp_path, [future() | changes]))
    assert set(found["verdict"]) == {"not_compared"}
    assert f"not compared: {said}" in found["inferred"][0]


def test_records_may_stand_in_csv_and_bad_files_are_refused(tmp_path):
    header = "instType,instId,mgnMode,posSide,pos,ctVal,avgPx,lever,margin,upl,mmr"
    row = "FUTURES,ETH-USD-210430,isolated,long,1,10 USD,2566.31,10,0.0003896645377994,-0.0000009932766034"
    row += ",0.0000311811092368"
    found = measure_records(written(tmp_path, f"{header}\n{row}\n", "positions.csv"))
    assert verdicts(found)["maintenance_margin"] == "agrees"
    for content in ("{", "[1]", '[{"instId": "BTC"}]', '[{"instId": "", "pos": "1"}]'):
        with pytest.raises(BadInput):
            measure_records(written(tmp_path, content))
