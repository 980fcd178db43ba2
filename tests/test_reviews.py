"""Breaks from run to run: what is carried on, aged, resolved, and comes back."""

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.columns import schema
from ledger.reconciliation.breaks import break_ids
from ledger.reconciliation.columns import BREAKS, COMPARISON, MATCHES, REVIEWS, STATUSES
from ledger.reconciliation.reviews import (
    ageing_parameter,
    compared_again,
    has_entry,
    last_of,
    refuse_other_run,
    reviews_of,
    since_events,
)
from ledger.refusals import BadInput

FIRST = datetime(2025, 1, 1, 12, tzinfo=UTC)


def day(number: float) -> datetime:
    return FIRST + timedelta(days=number)


def broken(seen: dict[str, tuple[float, float]], difference: str = "1.5") -> pl.DataFrame:
    """Breaks by name with the days on which each was first and last seen."""
    rows = [
        {
            "break_id": name_of(name),
            "position": f"main:BTC-USDT:{name}",
            "figure": "margin",
            "stated_by": "snapshot",
            "unit": "USDT",
            "difference": Decimal(difference),
            "first_seen": day(first),
            "last_seen": day(last),
        }
        for name, (first, last) in seen.items()
    ]
    return pl.DataFrame(rows, schema=schema(BREAKS))


def name_of(name: str) -> str:
    """The name that every run gives the break that the tests call `name`."""
    about = {"position": [f"main:BTC-USDT:{name}"], "figure": ["margin"], "stated_by": ["snapshot"]}
    return str(break_ids(pl.DataFrame(about)).item())


def agreeing(names: dict[str, float], verdict: str = "matched") -> pl.DataFrame:
    """The comparison of the figures of breaks by name, each on a day, all with this verdict."""
    rows = [
        {
            "position": f"main:BTC-USDT:{name}",
            "figure": "margin",
            "stated_by": "snapshot",
            "time": day(at),
            "verdict": verdict,
        }
        for name, at in names.items()
    ]
    return pl.DataFrame(rows, schema=schema(COMPARISON))


NOTHING = agreeing({})


def entered(reviews: pl.DataFrame, name: str, owner: str | None, status: str, comment: str | None) -> pl.DataFrame:
    """The reviews with what a reviewer wrote about one break."""
    own = pl.col("break_id") == name_of(name)
    return reviews.with_columns(
        owner=pl.when(own).then(pl.lit(owner)).otherwise("owner"),
        status=pl.when(own).then(pl.lit(status, pl.Enum(STATUSES))).otherwise("status"),
        comment=pl.when(own).then(pl.lit(comment)).otherwise("comment"),
    )


def row(reviews: pl.DataFrame, name: str) -> dict:
    return reviews.row(by_predicate=pl.col("break_id") == name_of(name), named=True)


def test_the_first_run_has_only_new_breaks_that_nobody_has_looked_at() -> None:
    reviews = reviews_of(broken({"B1": (0, 3), "B2": (2.25, 3)}), None, NOTHING, day(10))
    assert reviews.schema == schema(REVIEWS)
    assert reviews["break_id"].to_list() == [name_of("B1"), name_of("B2")]
    assert set(reviews["change"]) == {"new"}
    assert set(reviews["state"]) == set(reviews["status"]) == {"open"}
    assert reviews["days_open"].to_list() == [10, 7.75]
    assert not reviews.select(has_entry()).to_series().any()
    assert reviews["owner"].null_count() == reviews["comment"].null_count() == reviews["resolved_at"].null_count() == 2


def test_what_reviewers_wrote_is_carried_on_and_the_earlier_first_time_counts() -> None:
    before = reviews_of(broken({"B1": (0, 3), "B2": (5, 6)}), None, NOTHING, day(6))
    before = entered(before, "B1", "Ann", "disputed", "=ask\nthe exchange")
    before = entered(before, "B2", None, "in review", None)
    reviews = reviews_of(broken({"B2": (1, 9), "B1": (4, 9), "B3": (9, 9)}, "1.5"), before, NOTHING, day(10))
    one, two, three = (row(reviews, name) for name in ("B1", "B2", "B3"))
    assert (one["owner"], one["status"], one["comment"]) == ("Ann", "disputed", "=ask\nthe exchange")
    assert (two["owner"], two["status"], two["comment"]) == (None, "in review", None)
    assert [each["change"] for each in (one, two, three)] == ["carried on", "carried on", "new"]
    assert [each["first_seen"] for each in (one, two, three)] == [day(0), day(1), day(9)]
    assert [each["days_open"] for each in (one, two, three)] == [10, 9, 1]
    assert (one["difference"], one["last_seen"]) == (Decimal("1.5"), day(9))
    assert reviews.filter(has_entry())["break_id"].to_list() == [name_of("B1"), name_of("B2")]


def test_a_break_that_is_gone_is_resolved_once_and_comes_back_as_old_as_it_was() -> None:
    first = entered(reviews_of(broken({"B1": (0, 3)}), None, NOTHING, day(3)), "B1", "Ann", "corrected", "booked")
    second = reviews_of(broken({}), first, agreeing({"B1": 3}), day(7))
    gone = row(second, "B1")
    assert (gone["state"], gone["change"], gone["resolved_at"], gone["days_open"]) == (
        "resolved",
        "resolved",
        day(7),
        7,
    )
    assert (gone["owner"], gone["status"], gone["comment"], gone["difference"]) == ("Ann", "corrected", "booked", 1.5)
    third = reviews_of(broken({}), second, NOTHING, day(20))
    still = row(third, "B1")
    assert (still["change"], still["resolved_at"], still["days_open"]) == ("resolved before", day(7), 7)
    fourth = reviews_of(broken({"B1": (25, 30)}, "-3"), third, NOTHING, day(30))
    back = row(fourth, "B1")
    assert (back["state"], back["change"], back["resolved_at"]) == ("open", "come back", None)
    assert (back["first_seen"], back["last_seen"], back["days_open"], back["difference"]) == (day(0), day(30), 30, -3)
    assert (back["owner"], back["status"], back["comment"]) == ("Ann", "open", "booked")
    assert back["difference_before"] == 1.5


def test_none_is_resolved_before_it_was_last_seen() -> None:
    before = reviews_of(broken({"B1": (0, 8)}), None, NOTHING, day(8))
    assert row(reviews_of(broken({}), before, agreeing({"B1": 8}), day(5)), "B1")["resolved_at"] == day(8)


def test_the_order_of_rows_in_the_workbook_does_not_matter() -> None:
    before = reviews_of(broken({f"B{n}": (n, n) for n in range(9)}), None, NOTHING, day(9))
    now = broken({"B3": (3, 9), "B7": (7, 9)})
    assert reviews_of(now, before, NOTHING, day(9)).equals(reviews_of(now, before.reverse(), NOTHING, day(9)))


def test_times_of_another_zone_are_told_in_utc() -> None:
    there = day(2.5).astimezone(timezone(timedelta(hours=8)))
    assert ageing_parameter(there)["value"] == "2025-01-04T00:00:00.000000Z"
    before = reviews_of(broken({"B1": (0, 1)}), None, NOTHING, there)
    reviews = reviews_of(broken({}), before, agreeing({"B1": 2}), there)
    assert row(reviews, "B1")["resolved_at"] == day(2.5)
    assert row(reviews, "B1")["days_open"] == 2.5


def test_the_last_time_of_several_frames_counts() -> None:
    frames = [pl.DataFrame({"time": [day(n), None]}, schema={"time": pl.Datetime("us", "UTC")}) for n in (3, 1)]
    assert last_of(*frames, frames[0].clear()) == day(3)


def named(reviews: pl.DataFrame) -> pl.DataFrame:
    """The reviews with `name`, as the tests call each break."""
    return reviews.with_columns(name=pl.col("position").str.split(":").list.last())


@given(
    runs=st.lists(st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 40)), min_size=1, max_size=6),
    compared=st.booleans(),
    notes=st.dictionaries(st.sampled_from("abcdef"), st.text(min_size=1, max_size=20)),
)
def test_over_any_runs_no_break_and_no_entry_is_lost(
    runs: list[dict[str, int]], compared: bool, notes: dict[str, str]
) -> None:
    reviews, seen, written = None, dict[str, int](), dict[str, str]()
    for number, run in enumerate(runs):
        end = 50 + number
        was = {} if reviews is None else dict(named(reviews).select("name", "state").iter_rows())
        agree = agreeing({name: end for name in seen if name not in run and compared})
        reviews = reviews_of(broken({name: (first, end) for name, first in run.items()}), reviews, agree, day(end))
        for name, first in run.items():
            seen[name] = min(first, seen.get(name, first))
        assert dict(named(reviews).select("name", "first_seen").iter_rows()) == {n: day(f) for n, f in seen.items()}
        assert set(named(reviews).filter(pl.col("state") == "open")["name"]) == (set(run) if compared else set(seen))
        commented = named(reviews).filter(pl.col("comment").is_not_null())
        assert dict(commented.select("name", "comment").iter_rows()) == written
        for name, change in named(reviews).select("name", "change").iter_rows():
            assert change == expected(was.get(name), name in run, compared)
        for name in set(notes) & set(seen):
            reviews = entered(reviews, name, None, "open", notes[name])
            written[name] = notes[name]


def expected(was: str | None, is_there: bool, compared: bool) -> str:
    """What became of a break, by its state in the run before."""
    if is_there:
        return {None: "new", "open": "carried on", "resolved": "come back"}[was]
    return {"open": "resolved" if compared else "not compared", "resolved": "resolved before"}[str(was)]


@pytest.mark.parametrize("status", ["accepted", "corrected"])
def test_a_settled_status_is_for_the_amount_it_was_given_for(status: str) -> None:
    before = reviews_of(broken({"B1": (0, 3)}, "0.05"), None, NOTHING, day(3))
    before = entered(before, "B1", "Ann", status, "immaterial")
    same = row(reviews_of(broken({"B1": (0, 5)}, "0.05"), before, NOTHING, day(5)), "B1")
    assert (same["status"], same["change"], same["difference_before"]) == (status, "carried on", Decimal("0.05"))
    other = row(reviews_of(broken({"B1": (0, 5)}, "57.5"), before, NOTHING, day(5)), "B1")
    assert (other["status"], other["change"], other["difference_before"]) == ("open", "amount changed", Decimal("0.05"))
    assert (other["owner"], other["comment"], other["first_seen"]) == ("Ann", "immaterial", day(0))


@pytest.mark.parametrize(
    ("comparison", "change"),
    [
        (NOTHING, "not compared"),
        (agreeing({"B2": 9}), "not compared"),
        (agreeing({"B1": 2}), "not compared"),
        (agreeing({"B1": 9}, "not_compared"), "not compared"),
        (agreeing({"B1": 3}), "resolved"),
    ],
)
def test_only_what_is_compared_and_agrees_is_resolved(comparison: pl.DataFrame, change: str) -> None:
    before = entered(reviews_of(broken({"B1": (0, 3)}), None, NOTHING, day(3)), "B1", "Ann", "in review", None)
    reviews = reviews_of(broken({}), before, comparison, day(9))
    found = row(reviews, "B1")
    is_open = change == "not compared"
    assert (found["change"], found["state"]) == (change, "open" if is_open else "resolved")
    assert (found["resolved_at"], found["days_open"], found["owner"]) == (None if is_open else day(9), 9, "Ann")
    check = compared_again(reviews).row(0, named=True)
    assert (check["rows_tested"], check["failures"]) == (1, int(is_open))
    settled = reviews_of(broken({}), entered(before, "B1", None, "accepted", None), comparison, day(9))
    assert compared_again(settled)["failures"].item() == 0
    again = row(reviews_of(broken({}), reviews, agreeing({"B1": 12}), day(12)), "B1")
    assert again["change"] == ("resolved" if is_open else "resolved before")


def test_a_workbook_of_a_later_run_or_of_other_positions_is_refused() -> None:
    before = reviews_of(broken({"B1": (0, 3)}), None, NOTHING, day(3))
    refuse_other_run(before, "old.xlsx", agreeing({"B1": 3}), day(3))
    refuse_other_run(before.clear(), "old.xlsx", NOTHING, day(3))
    unseen = before.with_columns(position=pl.lit(r"a\x202eb:BTC-USDT:B1"))
    refuse_other_run(unseen, "old.xlsx", NOTHING, day(3))
    for comparison, end, words in ((agreeing({"B1": 1}), 2, "later run"), (agreeing({"B2": 3}), 3, "None of its")):
        with pytest.raises(BadInput) as refused:
            refuse_other_run(before, "old.xlsx", comparison, day(end))
        assert words in refused.value.refusals["rule"].item()
        assert refused.value.refusals["file"].item() == "old.xlsx"


def test_breaks_of_events_are_as_old_as_the_first_event_that_differs() -> None:
    breaks = broken({"B1": (5, 5), "B2": (5, 5), "B3": (5, 5)}).with_columns(
        stated_by=pl.Series(["events", "snapshot", "events"])
    )
    rows = [("in_common", "B1", 0), ("differs", "B1", 2), ("only_in_ledger", "B1", 1), ("only_at_exchange", "B2", 1)]
    matches = pl.DataFrame(
        [{"found": found, "position": f"main:BTC-USDT:{name}", "time": day(at)} for found, name, at in rows],
        schema=schema(MATCHES),
    )
    assert since_events(breaks, matches)["first_seen"].to_list() == [day(1), day(5), day(5)]
