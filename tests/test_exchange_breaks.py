"""What is planted is something a ledger can hold, changes what it says it changes, and has the causes' names."""

from random import Random

import exchange_breaks
import exchange_events
import exchange_files
import exchange_truth
import oracle
import pytest
from exact import rows_of

import ledger
from ledger.files import read_events
from ledger.reconciliation.columns import CAUSES

LEGS = ("base_leg", "quote_leg", "margin")


def planted(seed, causes):
    """The first history from a seed on that has room for the causes, what was planted, and the history."""
    for attempt in range(200):
        random = Random(f"{seed} {attempt} {causes}")
        events = exchange_truth.history(random, events=(10, 60))["events"]
        found = exchange_breaks.plant(random, events, exchange_events.name_of(events[0]), causes)
        if found:
            return found, events
    raise AssertionError(f"no room for {causes}")


def test_causes_are_those_of_the_registry():
    assert set(exchange_breaks.PLANTERS) <= set(CAUSES)


@pytest.mark.parametrize("cause", exchange_breaks.PLANTERS)
def test_a_break_of_each_cause_replays_to_what_it_says(tmp_path, cause):
    for seed in range(6):
        found, events = planted(seed, [cause])
        (one,) = found["planted"]
        path = exchange_files.write(tmp_path / f"{seed}.csv", exchange_files.house_ledger(found["events"]))
        position = rows_of(ledger.replay(read_events([path])).positions)[-1]
        true = exchange_breaks.outcome(events, one["position"])
        assert {leg: position[leg] for leg in LEGS} == {leg: true[leg] + one["effect"][leg] for leg in LEGS}
        assert any(one["effect"].values())


@pytest.mark.parametrize("seed", range(8))
def test_effects_of_several_breaks_add_up(seed):
    random = Random(seed)
    causes = random.sample(sorted(exchange_breaks.PLANTERS), random.randint(2, 5))
    found, events = planted(seed, causes)
    position = exchange_events.name_of(events[0])
    true, ends = (exchange_breaks.outcome(each, position) for each in (events, found["events"]))
    assert [one["cause"] for one in found["planted"]] == causes
    for name, amount in true.items():
        assert ends[name] == amount + sum(one["effect"][name] for one in found["planted"])


def test_other_positions_stay():
    random = Random(1)
    events = exchange_truth.history(random, positions=3, events=(20, 40))["events"]
    position = exchange_events.name_of(events[0])
    found = exchange_breaks.plant(random, events, position, ["missing_fill"])
    ends, true = exchange_events.states(found["events"]), exchange_events.states(events)
    assert {name for name in true if oracle.balances(true[name]) != oracle.balances(ends[name])} <= {position}


def test_bills_of_what_the_ledger_lacks_are_gone():
    found, events = planted(3, ["missing_fill"])
    rows = exchange_files.bills(events)
    kept = exchange_breaks.ledger_bills(rows, found["events"])
    assert {row["event_id"] for row in rows} - {row["event_id"] for row in kept} == {found["planted"][0]["event_id"]}
