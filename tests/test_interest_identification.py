"""Which policy explains an exchange's rows: counted, never guessed; ties shown as ties."""

from decimal import Decimal
from pathlib import Path

import interest_histories
import pytest
from interest_detection import in_one_year, write
from test_interest_reperformance import HOURS, chain, charge

from ledger.interest.policy import shipped_policies
from ledger.interest.request import InterestRequest
from ledger.interest.run import identify_files
from ledger.policies import Policies

RECORDS = Path(__file__).parents[1] / "fixtures" / "records"
POLICIES = shipped_policies()


def identified(rows, policy="okx", events=(), rates=None):
    return identify_files(InterestRequest(POLICIES[policy], rates, rows), events, Policies())


def judged(found, name):
    """Value: rows explained, rows that can tell, verdict."""
    fits = found.fits.filter(found.fits["property"] == name)
    return {row["value"]: (row["explained"], row["tested"], row["verdict"]) for row in fits.iter_rows(named=True)}


@pytest.mark.parametrize("start", sorted(POLICIES))
def test_seven_real_rows_name_rounding_up_at_16_decimals_and_compounding(start):
    found = identified([RECORDS / "interest.json"], start)
    rounding = judged(found, "rounding")
    assert rounding["up at 16 decimals"] == (7, 7, "best")
    assert rounding["half_even at 16 decimals"] == (3, 7, "rejected")
    assert [value for value, counts in rounding.items() if counts[2] != "rejected"] == ["up at 16 decimals"]
    assert judged(found, "compounding") == {"yes": (6, 6, "best"), "no": (0, 6, "rejected")}
    assert judged(found, "timing")["at full hours"] == (7, 7, "best")
    assert judged(found, "shipped policy")["okx"] == (7, 7, "best")
    assert (found.comparison.interest["difference"] == 0).all()


def test_documented_rows_of_two_exchanges():
    okx = identified([RECORDS / "interest_documented.json"])
    assert judged(okx, "rounding")["up at 16 decimals"] == (2, 3, "best")
    binance = identified([RECORDS / "interest_binance.json"], "binance_isolated")
    assert judged(binance, "rounding")["up at 8 decimals"] == (2, 2, "best")
    assert judged(binance, "rate")["as stated, daily"] == (2, 2, "best")
    assert judged(binance, "compounding") == {"yes": (0, 0, "not tested"), "no": (0, 0, "not tested")}


def test_rows_that_need_no_rounding_tie(tmp_path):
    write(tmp_path / "rows.csv", [charge(HOURS[1], "20000")])
    rounding = judged(identified([tmp_path / "rows.csv"]), "rounding")
    assert rounding["up at 16 decimals"] == rounding["half_even at 8 decimals"] == (1, 1, "tied")
    assert rounding["down at 2 decimals" if "down at 2 decimals" in rounding else "down at 4 decimals"][2] == "tied"


def test_simple_interest_is_told_from_compound(tmp_path):
    write(tmp_path / "rows.csv", chain(HOURS[:9], compounding=False))
    found = identified([tmp_path / "rows.csv"])
    assert judged(found, "compounding") == {"no": (8, 8, "best"), "yes": (0, 8, "rejected")}
    assert not found.policy.compounding
    assert (found.comparison.interest["difference"] == 0).all()


def test_a_rate_in_another_unit_is_told(tmp_path):
    rows = chain(HOURS[:9], rate="0.00000112")
    for row in rows:
        row["rate"] = f"{Decimal(row['rate']) * 24:f}"
    write(tmp_path / "rows.csv", rows)
    rate = judged(identified([tmp_path / "rows.csv"]), "rate")
    assert rate["as stated, daily"][2] == "best"
    assert rate["as stated, hourly"] == (0, 9, "rejected")


@pytest.mark.parametrize("policy", sorted(POLICIES))
def test_with_events_the_timing_is_told(tmp_path, policy):
    stories = [in_one_year(interest_histories.history(seed, POLICIES[policy].model_dump())) for seed in range(8)]
    for part in ("events", "rows", "rates"):
        write(tmp_path / f"{part}.csv", [row for story in stories for row in story[part]])
    found = identified([tmp_path / "rows.csv"], policy, [tmp_path / "events.csv"], tmp_path / "rates.csv")
    assert judged(found, "shipped policy")[policy][2] == "best"
    best = [value for value, counts in judged(found, "timing").items() if counts[2] in ("best", "tied")]
    assert any(value.startswith(POLICIES[policy].grid) for value in best)
    own = f"{POLICIES[policy].rounding} at {POLICIES[policy].decimals} decimals"
    assert judged(found, "rounding")[own][2] in ("best", "tied")


def test_two_mistakes_in_many_rows_are_counted_not_smoothed(tmp_path):
    rows = chain(HOURS[:12])
    rows[4]["interest"] = f"{Decimal(rows[4]['interest']) + Decimal('1e-7'):f}"
    write(tmp_path / "rows.csv", rows)
    assert judged(identified([tmp_path / "rows.csv"]), "rounding")["up at 16 decimals"] == (11, 12, "best")
