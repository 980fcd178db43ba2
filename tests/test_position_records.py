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
from ledger.derivatives.record_figures import plain
from ledger.derivatives.records import POSITION_RECORDS, measure_records, measured_records
from ledger.refusals import BadInput
from reports.commands.risk_summary import records_told

NAMED = {
    "upl": "floating_pnl",
    "uplRatio": "floating_pnl_ratio",
    "mmr": "maintenance_margin",
    "mgnRatio": "margin_ratio",
    "liqPx": "liquidation_price",
}
FIGURES = {"margin_formula", *NAMED.values()}


def written(tmp_path: Path, content: object, name: str = "positions.json") -> Path:
    path = tmp_path / name
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def verdicts(frame):
    return {row["figure"]: row["verdict"] for row in frame.iter_rows(named=True)}


def read(name):
    return json.loads((FIXTURES / "records" / name).read_text(encoding="utf-8"))


def future():
    """The published record of an inverse future."""
    return dict(read("positions_futures.json")[0]["record"])


def spot():
    """The published record of a spot long with base margin."""
    return {name: value for name, value in read("positions.json")[0]["record"].items() if value}


def swap(which=0):
    """A published record of a perpetual: two shorts, then a long with its funding."""
    return dict(read("positions_contracts.json")[which]["record"])


def times(record, name, factor):
    """The record with one figure multiplied."""
    changed = plain(Fraction(record[name]) * Fraction(factor))
    return record | {name: changed}


def measured(cells):
    return measured_records([(1, {name: value for name, value in cells.items() if value})])


def test_the_published_future_comes_out_to_its_last_digit():
    found = measure_records(FIXTURES / "records" / "positions_futures.json")
    assert found.schema == schema(POSITION_RECORDS)
    assert verdicts(found) == dict.fromkeys(FIGURES, "agrees") | {"floating_pnl": "taken"}
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
    assert "maintenance 0.02; liquidation fee 0.001" in found["inferred"][0]
    assert found["margin_currency"].unique(maintain_order=True).to_list() == ["BTC", "USDT"]


def test_the_mark_of_a_spot_position_is_taken_from_its_pnl_too():
    found = measured(spot() | {"markPx": "about 62,000"})
    assert "mark 62891.9 from the PnL; mode old inferred" in found["inferred"][0]
    found = verdicts(found)
    assert (found.pop("floating_pnl"), set(found.values())) == ("taken", {"agrees"})
    assert verdicts(measured(future() | {"markPx": "-2565.656"}))["floating_pnl"] == "taken"


def test_published_contracts_and_a_spot_short_agree():
    assert all(sample["source"].startswith("https://github.com/") for sample in read("positions_contracts.json"))
    found = measure_records(FIXTURES / "records" / "positions_contracts.json")
    assert set(found["verdict"]) == {"agrees"}
    assert found.group_by("record", maintain_order=True).len()["len"].to_list() == [6, 6, 6, 3]
    assert "mode old inferred; maintenance 0.08; liquidation fee 0.001" in found["inferred"][-1]


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
    others = verdicts(found)
    for name in ("floating_pnl", "margin_formula", *(["floating_pnl_ratio"] if changes.get("lever") == "" else [])):
        others.pop(name)
    assert set(others.values()) == {"agrees"}


FACTORS = ("1.25", "0.9", "1.01", "1.0001", "-1", "2")


@pytest.mark.parametrize("record", [future() | {"markPx": "2565.656"}, swap(), swap(1), swap(2), spot()])
@pytest.mark.parametrize("name", ["mgnRatio", "liqPx", "upl", "uplRatio"])
def test_a_figure_that_is_wrong_differs(record, name):
    for factor in FACTORS:
        found = verdicts(measured(times(record, name, factor)))
        assert found[NAMED[name]] == "differs", (name, factor)


@pytest.mark.parametrize("record", [future() | {"markPx": "2565.656"}, swap(), swap(2), spot()])
def test_a_maintenance_margin_that_is_wrong_does_not_agree(record):
    for factor in FACTORS:
        found = verdicts(measured(times(record, "mmr", factor)))
        assert found.pop("maintenance_margin") in ("differs", "taken")
        assert set(found.values()) == {"agrees"}
    found = measured(times(record, "mmr", "1.25"))
    assert verdicts(found)["maintenance_margin"] == "differs"
    assert "from margin ratio and liquidation price" in found["inferred"][0]


def test_a_record_of_spot_margin_that_contradicts_itself_still_tells_its_mode():
    for name in ("mgnRatio", "mmr"):
        for factor in ("1.25", "-1"):
            found = measured(times(spot(), name, factor))
            assert found["inferred"][0].startswith("mode old inferred")
            assert found["inferred"][0].endswith("the stated figures do not all follow from each other")
            assert verdicts(found)[NAMED[name]] == "differs"


def test_a_figure_that_only_gives_its_own_rate_is_no_proof():
    for record in (swap(), spot(), future() | {"markPx": "2565.656"}):
        for price in ("", "12345.678"):
            found = verdicts(measured(record | {"liqPx": price}))
            assert (found["maintenance_margin"], found["margin_ratio"]) == ("taken", "taken")
            assert found.get("liquidation_price", "differs") == "differs"
    (row,) = [row for row in rows_of(measured(times(swap(2), "mmr", "1.01"))) if row["figure"] == "maintenance_margin"]
    assert (row["verdict"], "they are no usual ones" in row["note"]) == ("taken", True)


@pytest.mark.parametrize("off", ["5", "2", "1", "-0.2", "0.3", "50"])
def test_a_tick_is_as_fine_as_the_prices_of_the_record(off):
    record = swap() | {"liqPx": plain(Fraction(swap()["liqPx"]) - Fraction(off))}
    assert verdicts(measured(record))["liquidation_price"] == "differs"


def test_a_liquidation_price_near_zero_is_compared_by_the_numbers_it_comes_from():
    """A published long without leverage: the price is what is left of 60,000 less 60,000."""
    amounts = {"avgPx": "60346.5", "margin": "995.5680960124100264", "markPx": "60349.6", "pos": "16.5", "lever": "1"}
    stated = {"upl": "0.051149999999976", "uplRatio": "0.0000513700048883", "mmr": "3.9830736"}
    prices = {"mgnRatio": "222.18893603782877", "liqPx": "9.180497851849454"}
    record = {"instType": "SWAP", "instId": "BTC-USDT-SWAP", "ccy": "USDT", "posSide": "long"}
    funded = record | amounts | stated | prices | {"fundingFee": "-0.1491539875899736"}
    assert set(verdicts(measured(funded)).values()) == {"agrees"}
    without = verdicts(measured(funded | {"fundingFee": ""}))
    assert (without.pop("margin_formula"), set(without.values())) == ("not_compared", {"agrees"})
    assert verdicts(measured(funded | {"fundingFee": "-0.15"}))["margin_formula"] == "differs"


@pytest.mark.parametrize("factor", ["2", "10", "0.5", "1.25", "0.1"])
def test_a_leverage_that_is_wrong_differs(factor):
    for which in (0, 2):
        found = verdicts(measured(times(swap(which), "lever", factor)))
        assert found.pop("floating_pnl_ratio") == "differs"
        assert found.pop("margin_formula") == ("differs" if which == 2 else "not_compared")
        assert set(found.values()) == {"agrees"}


def test_margin_that_was_added_is_no_difference():
    found = measured(future() | {"markPx": "2565.656", "margin": "0.0005", "mgnRatio": "", "liqPx": ""})
    assert verdicts(found)["margin_formula"] == "not_compared"
    assert "some added or taken out" in found["note"].to_list()[0]


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
    funding = Fraction(draw(st.sampled_from(["0", "0.0123456789", "-0.0034567"]))) * value / lever
    margin = Fraction(printed(value / lever + funding))
    figures = oracle.measures(kind, side, size, value, margin, mark=mark, rate=rate, fee_rate=fee)
    exact = figures["liquidation_price"]
    is_net = draw(st.booleans())
    record = {
        "instType": "SWAP",
        "instId": ("BTC-USDT" if kind == "linear" else "BTC-USD") + draw(st.sampled_from(["-SWAP", "-240329"])),
        "ccy": "USDT" if kind == "linear" else "BTC",
        "mgnMode": "isolated",
        "posSide": "net" if is_net else side,
        "pos": str(-pos if is_net and side == "short" else pos),
        "avgPx": printed(entry),
        "lever": str(lever),
        "margin": printed(margin),
        "fundingFee": plain(margin - value / lever),
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
    found = measured(record)
    assert set(found["verdict"]) == {"agrees"}, found.to_dicts()
    assert found["direction"][0] == side
    words = found["inferred"][0]
    assert f"maintenance {float(rate):g}" in words
    assert f"liquidation fee {float(fee):g}" in words


@settings(max_examples=20, deadline=None)
@given(
    st.sampled_from(["short", "long"]),
    st.integers(1, 500),
    st.integers(100, 3000),
    st.integers(10**14, 3 * 10**15),
    st.sampled_from(["0.03", "0.05", "0.075"]),
)
def test_options_agree_but_for_rates_that_nothing_confirms(side, contracts, entry, mark, rate):
    size, price, premium = contracts * Fraction("0.01"), Fraction(mark, 10**16), Fraction(entry, 10_000)
    terms = {"mark": price, "rate": Fraction(rate), "fee_rate": Fraction("0.0003")}
    margin = Fraction(printed(size * (price + Fraction("0.1")))) if side == "short" else Fraction(0)
    figures = oracle.measures("option", side, size, size * premium, margin, **terms)
    sign = 1 if side == "long" else -1
    record = {"instType": "OPTION", "instId": "BTC-USD-240830-55000-C", "ccy": "BTC", "posSide": "net"}
    record |= {"pos": str(sign * contracts), "avgPx": plain(premium), "markPx": plain(price)}
    record |= {"optVal": printed(sign * size * price), "upl": printed(figures["floating_pnl"])}
    record |= {"uplRatio": printed(figures["floating_pnl"] / (size * premium))}
    if side == "short":
        record |= {"margin": plain(margin), "mmr": printed(figures["maintenance_margin"])}
        record |= {"mgnRatio": printed(figures["margin_ratio"])}
    agree = dict.fromkeys(("floating_pnl", "floating_pnl_ratio", "option_value"), "agrees")
    rates = {"margin_formula": "not_compared", "maintenance_margin": "taken", "margin_ratio": "taken"}
    assert verdicts(measured(record)) == agree | (rates if side == "short" else {})
    for name in {"mmr", "mgnRatio", "upl", "uplRatio"} & {name for name in record if record[name] != "0"}:
        assert "differs" in verdicts(measured(times(record, name, "1.25"))).values()


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
@given(st.sampled_from(range(4)), st.dictionaries(NAMES, WORDS, max_size=5))
def test_no_record_stops_the_others(which, changes):
    record = [future(), spot(), read("positions.json")[1]["record"], swap(2)][which]
    found = measured(record | changes)
    assert found.height
    assert found.schema == schema(POSITION_RECORDS)
    assert list(records_told(found))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"mgnMode": "cross"}, "the margin is not isolated but cross"),
        ({"pos": "0"}, "no position"),
        ({"avgPx": ""}, "no avgPx"),
        ({"margin": ""}, "no margin"),
        ({"ctVal": "", "lever": "", "margin": "0.017"}, "the contract size is not stated"),
        ({"upl": ""}, "no mark"),
        ({"pos": "-1", "posSide": "long"}, "posSide long contradicts pos -1"),
    ],
)
def test_what_cannot_be_compared_says_why(tmp_path, changes, said):
    found = measure_records(written(tmp_path, [future() | changes]))
    assert set(found["verdict"]) == {"not_compared"}
    assert f"not compared: {said}" in found["inferred"][0]


def test_a_record_without_an_instrument_says_so_and_is_told():
    for record in (future(), spot()):
        found = measured(record | {"instId": ""})
        assert found["inferred"].to_list() == ["not compared: no instId"]
        assert "not compared: no instId" in "\n".join(records_told(found))


def test_figures_that_nothing_is_computed_for_are_told_as_they_are_stated():
    told = "\n".join(records_told(measured(future() | {"margin": ""})))
    assert "2352.8496681818233" in told
    assert "Figures: 5 not_compared" in told


def test_records_may_stand_in_csv_and_bad_files_are_refused(tmp_path):
    header = "instType,instId,mgnMode,posSide,pos,ctVal,avgPx,lever,margin,upl,mmr"
    row = "FUTURES,ETH-USD-210430,isolated,long,1,10 USD,2566.31,10,0.0003896645377994,-0.0000009932766034"
    row += ",0.0000311811092368"
    found = measure_records(written(tmp_path, f"{header}\n{row}\n", "positions.csv"))
    assert verdicts(found)["margin_formula"] == "agrees"
    for content in ("{", "[1]", '[{"instId": "BTC"}]', '[{"instId": "", "pos": "1"}]'):
        with pytest.raises(BadInput):
            measure_records(written(tmp_path, content))
