"""Planted breaks on a small sample: none stays silent, clean histories give none, and the parts add up.

The rates on a large sample are printed by `exchange_detection.py`.
"""

from pathlib import Path

import exchange_detection
import exchange_files
import exchange_truth
import polars as pl
import pytest
from exchange_detection import EACH, IN_TURN, SETTINGS, of_one, planted_world, reconciled, world

from ledger import BadInput, ReconcileRequest, reconcile_files
from ledger.reconciliation import investigation

POSITIONS = 6

every_setting = pytest.mark.parametrize("setting", SETTINGS)


def adds_up(result):
    """Whether the parts of each break add up to its difference, the unexplained part among them."""
    parts = result.causes.group_by("break_id").agg(total=pl.col("amount").sum())
    both = result.breaks.join(parts, on="break_id", how="left")
    left = result.causes.filter(pl.col("cause") == "unexplained").group_by("break_id").agg(left=pl.col("amount").sum())
    both = both.join(left, on="break_id", how="left")
    whole = both.select(
        (pl.col("total") == pl.col("difference")).all(),
        (pl.col("explained") + pl.col("unexplained") == pl.col("difference")).all(),
        (pl.col("left").fill_null(0) == pl.col("unexplained")).all(),
    )
    return all(whole.row(0)) and result.breaks["break_id"].is_unique().all()


@every_setting
@pytest.mark.parametrize("seed", range(3))
def test_a_clean_history_has_no_break(setting, seed):
    events = world(seed, setting, POSITIONS)
    result = reconciled(events, events, setting, seed)
    assert result.breaks.to_dicts() == []
    if setting == "bills":
        assert result.matches["found"].unique().to_list() == ["in_common"]


@pytest.mark.parametrize("setting", ["snapshots", "snapshot"])
def test_a_ledger_that_goes_on_after_the_snapshot_has_no_break(setting):
    events = world(7, setting, POSITIONS)
    earlier = [event for event in events if event["time"] <= events[len(events) * 2 // 3]["time"]]
    assert reconciled(earlier, events, setting).breaks.to_dicts() == []


@every_setting
@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("cause", [EACH, "cut_off", None])
def test_no_planted_break_stays_silent(setting, seed, cause):
    events, ledger, planted = planted_world(seed, cause, setting, positions=2 * len(IN_TURN) if cause == EACH else 8)
    result = reconciled(events, ledger, setting, seed)
    assert planted
    assert [one for one in planted if not of_one(result, one).detected] == []
    assert set(result.breaks["position"].to_list()) <= {one["position"] for one in planted}
    assert adds_up(result)
    if setting == "bills" and cause:
        found = [(one["cause"], one["detail"], of_one(result, one)) for one in planted]
        assert [one for one in found if not one[2].alone + one[2].among] == []


@pytest.mark.parametrize(("cause", "setting"), [("mode", "snapshot"), ("margin_change_missing", "bills")])
def test_the_rates_are_those_of_the_readme(cause, setting):
    text = (Path(__file__).parents[1] / "README.md").read_text()
    rows = [line for line in text.splitlines() if line.startswith(f"| {cause.replace('_', ' ')} | ")]
    shown = [part.strip() for part in rows[0].split("|")[2:-1]]
    assert shown[SETTINGS.index(setting)] == exchange_detection.cell(exchange_detection.detection(cause, setting))


def test_a_history_given_twice_on_one_side_is_refused(tmp_path):
    events = world(1, "bills", 3)
    house = exchange_files.write(tmp_path / "house.csv", exchange_files.house_ledger(events))
    bills = exchange_files.write(tmp_path / "bills.csv", exchange_files.archive(exchange_files.bills(events)))
    request = ReconcileRequest(ledger=[house, bills], exchange=[bills], account=exchange_truth.ACCOUNT)
    with pytest.raises(BadInput) as caught:
        reconcile_files(request, tmp_path / "out")
    rules = caught.value.refusals["rule"]
    assert rules.str.contains("it would count twice").all()
    assert not (tmp_path / "out").exists()


def test_what_is_beyond_the_search_says_so(monkeypatch):
    events, ledger, planted = planted_world(0, "price", "snapshot", positions=4)
    monkeypatch.setattr(investigation, "MOST_TOGETHER", 1)
    result = reconciled(events, ledger, "snapshot")
    said = result.causes.filter(pl.col("cause") == "unexplained")["hypothesis"].str.starts_with("not searched")
    assert len(planted) > 1
    assert said.any()


def test_a_search_of_the_last_events_says_that_it_is_one(monkeypatch):
    events, ledger, _ = planted_world(0, "price", "snapshot", positions=4)
    monkeypatch.setattr(investigation, "MOST_SEARCHED", 8)
    causes = reconciled(events, ledger, "snapshot").causes.filter(
        ~pl.col("cause").is_in(["unexplained", "venue_digits"])
    )
    assert causes["alternatives"].drop_nulls().str.contains("before the last 8 events").any()


def test_the_table_has_a_row_for_each_cause():
    assert exchange_detection.table({"mode": exchange_detection.Found(planted=1)}).count("\n") == 2
