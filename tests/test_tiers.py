"""Which tier a liability, or a size, falls in, and tables that go on; compared with loops that know no frame."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import ROUND_DOWN, Decimal
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.columns import TIME
from ledger.money import MONEY
from ledger.risk.tiers import TIER_COLUMNS, TIERS_SCHEMA, expanded, limits_of, tier_of

CHANGE = datetime(2023, 6, 8, 8, tzinfo=UTC)
UNIT = Decimal("1e-18")
Cells = tuple[str | None, ...]

BEFORE = [("25", "500000", "0.03", "0.1", "10"), ("50", "1000000", "0.04", "0.11", "9.09")]
AFTER = [("35", "1000000", "0.03", "0.1", "10"), ("70", "2000000", "0.0625", "0.125", "8")]


def number(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)


def table(rows: Sequence[Cells], instrument: str = "BTC-USDT", since: datetime | None = None) -> pl.DataFrame:
    """Tiers of loans: limits in base and quote, maintenance and initial rate, leverage."""
    names = ("largest_base_loan", "largest_quote_loan", "maintenance_rate", "minimum_initial_rate", "maximum_leverage")
    cells = [
        {
            "instrument": instrument,
            "valid_from": since,
            "tier": place,
            **dict(zip(names, map(number, row), strict=True)),
        }
        for place, row in enumerate(rows, start=1)
    ]
    return pl.DataFrame(cells, schema=TIERS_SCHEMA)


def sizes(limits: Sequence[str], instrument: str) -> pl.DataFrame:
    """Tiers of size; the maintenance rate is 1 % times the tier."""
    cells = [
        {
            "instrument": instrument,
            "tier": place,
            "largest_size": Decimal(limit),
            "maintenance_rate": Decimal(place) / 100,
        }
        for place, limit in enumerate(limits, start=1)
    ]
    return pl.DataFrame(cells, schema=TIERS_SCHEMA)


def asked(*rows: tuple[Any, ...], instrument: str = "BTC-USDT") -> pl.DataFrame:
    """States: time, loan in base, loan in quote."""
    cells = [(instrument, time, Decimal(base), Decimal(quote)) for time, base, quote in rows]
    schema = {"instrument": pl.String, "time": TIME, "base_loan": MONEY, "quote_loan": MONEY}
    return pl.DataFrame(cells, schema=schema, orient="row")


def sized(*rows: tuple[str, str]) -> pl.DataFrame:
    """States of contracts: instrument and size."""
    cells = [(name, CHANGE, Decimal(0), Decimal(0), Decimal(size)) for name, size in rows]
    schema = {"instrument": pl.String, "time": TIME, "base_loan": MONEY, "quote_loan": MONEY, "size": MONEY}
    return pl.DataFrame(cells, schema=schema, orient="row")


TIERS = pl.concat([table(BEFORE), table(AFTER, since=CHANGE)])


# --- the tier of a liability ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("base", "quote", "tier", "above"),
    [
        ("0", "0", 1, False),
        ("25", "0", 1, False),
        (str(25 + UNIT), "0", 2, False),
        ("50", "0", 2, False),
        (str(50 + UNIT), "0", 2, True),
        ("0", "500000", 1, False),
        ("0", "500000.000000000000000001", 2, False),
        ("25", "1000000", 2, False),
        ("26", "1", 2, False),
        ("1", "1000001", 2, True),
    ],
)
def test_a_limit_is_inclusive_and_the_higher_tier_counts(base: str, quote: str, tier: int, above: bool) -> None:
    found = tier_of(asked((None, base, quote)), TIERS).row(0, named=True)
    assert (found["tier"], found["above_tiers"]) == (tier, above)
    rates = [found[f"tier_{name}"] for name in ("maintenance_rate", "minimum_initial_rate", "maximum_leverage")]
    assert rates == [Decimal(text) for text in BEFORE[tier - 1][2:]]


@pytest.mark.parametrize(
    ("time", "rate"),
    [
        (None, "0.04"),
        (CHANGE - timedelta(microseconds=1), "0.04"),
        (CHANGE, "0.0625"),
        (CHANGE + timedelta(days=900), "0.0625"),
    ],
)
def test_the_latest_table_that_is_valid_counts(time: datetime | None, rate: str) -> None:
    assert tier_of(asked((time, "40", "0")), TIERS)["tier_maintenance_rate"].item() == Decimal(rate)


def test_nothing_is_said_where_no_table_is_in_force() -> None:
    late = table(AFTER, since=CHANGE)
    early = asked((CHANGE - timedelta(days=1), "1", "0"), (None, "1", "0"))
    for found in (tier_of(early, late), tier_of(asked((CHANGE, "1", "0"), instrument="X-Y"), TIERS)):
        assert found.select(TIER_COLUMNS.names()).null_count().row(0) == (found.height,) * 5
    assert tier_of(early, TIERS.clear())["tier"].to_list() == [None, None]
    assert tier_of(early.clear(), TIERS).schema == {**early.schema, **TIER_COLUMNS}


def test_a_currency_without_a_limit_gives_no_tier_once_it_is_owed() -> None:
    only_base = table([("25", None, "0.03", None, None), ("50", None, "0.04", None, None)])
    found = tier_of(asked((None, "30", "0"), (None, "0", "1"), (None, "30", "1")), only_base)
    assert found["tier"].to_list() == [2, None, None]
    assert found["tier_maximum_leverage"].null_count() == 3


def test_rows_keep_their_order_and_their_other_columns() -> None:
    rows = asked((CHANGE, "40", "0"), (None, "1", "0"), (CHANGE, "1", "0")).with_columns(
        what=pl.Series(list("cab")), tier=9
    )
    found = tier_of(rows, TIERS)
    assert found["what"].to_list() == list("cab")
    assert found["tier"].to_list() == [2, 1, 1]


def test_contracts_go_by_their_size_or_that_of_their_family_and_never_by_loans() -> None:
    tiers = pl.concat([TIERS, sizes(["10", "20"], "BTC-USDT"), sizes(["7"], "ETH-USDT-SWAP")])
    rows = sized(("BTC-USDT-SWAP", "10"), ("BTC-USDT-250328", "10.5"), ("ETH-USDT-SWAP", "8"), ("ETH-USDT-250328", "1"))
    assert tier_of(rows, tiers).select("tier", "above_tiers").rows() == [
        (1, False),
        (2, False),
        (1, True),
        (None, None),
    ]
    spot = rows.with_columns(pl.lit(None, MONEY).alias("size"), instrument=pl.lit("ETH-USDT-SWAP"))
    assert tier_of(spot, tiers)["tier"].null_count() == 4
    beside = pl.concat([asked((None, "26", "0")), sized(("BTC-USDT-SWAP", "1"))], how="diagonal")
    assert tier_of(beside, tiers)["tier_maintenance_rate"].to_list() == [Decimal("0.04"), Decimal("0.01")]


def test_limits_are_those_of_the_tier_that_is_asked_for() -> None:
    tiers = pl.concat([TIERS, sizes(["10", "20"], "ETH-USDT")])
    rows = pl.DataFrame(
        {
            "instrument": ["BTC-USDT", "BTC-USDT", "ETH-USDT-SWAP", "BTC-USDT"],
            "time": [CHANGE, None] * 2,
            "tier": [2, 1, 2, 3],
        },
        schema={"instrument": pl.String, "time": TIME, "tier": pl.UInt16},
    )
    limits = ("largest_base_loan", "largest_quote_loan", "largest_size", "maintenance_rate")
    expected = [
        ("70", "2000000", None, "0.0625"),
        ("25", "500000", None, "0.03"),
        (None, None, "20", "0.02"),
        (None, None, None, None),
    ]
    assert limits_of(rows, tiers).select(limits).rows() == [tuple(map(number, row)) for row in expected]
    both = rows.head(1).with_columns(tier=pl.lit(1, pl.UInt16), size=pl.lit("5").cast(MONEY))
    assert limits_of(both, pl.concat([TIERS, sizes(["3"], "BTC-USDT")]))["largest_size"].to_list() == [3]


AMOUNTS = st.integers(0, 10**20).map(lambda units: units * Decimal("1e-17"))
RISING = st.lists(AMOUNTS, min_size=1, max_size=6).map(sorted)


def oracle(limits: Sequence[tuple[Decimal, Decimal]], base: Decimal, quote: Decimal) -> tuple[int, bool]:
    """The tier and whether the loan is above the last, by counting."""
    tiers = []
    for place, loan in enumerate((base, quote)):
        tier = 1
        for limit in limits:
            if loan > limit[place]:
                tier += 1
        tiers.append(tier)
    highest = max(tiers)
    return min(highest, len(limits)), highest > len(limits)


@settings(max_examples=40)
@given(bases=RISING, quotes=RISING, loans=st.lists(st.tuples(AMOUNTS, AMOUNTS), min_size=1, max_size=8))
def test_tiers_are_those_of_the_loop_and_never_fall_as_the_loan_grows(
    bases: list[Decimal], quotes: list[Decimal], loans: list[tuple[Decimal, Decimal]]
) -> None:
    limits = list(zip(bases, quotes, strict=False))
    tiers = table([(str(base), str(quote), "0.03", None, None) for base, quote in limits])
    every = [*loans, *limits, *((base + UNIT, quote) for base, quote in limits)]
    found = tier_of(asked(*((None, str(base), str(quote)) for base, quote in every)), tiers)
    assert found.select("tier", "above_tiers").rows() == [oracle(limits, *loan) for loan in every]
    for name, other in (("base_loan", "quote_loan"), ("quote_loan", "base_loan")):
        along = tier_of(found.sort(name).with_columns(pl.col(other).first()), tiers)
        assert along["tier"].is_sorted()


# --- tables that go on ----------------------------------------------------------------------------------------


def going_on(*rows: Cells) -> pl.DataFrame:
    """The tiers of a table whose last row is what each further tier adds."""
    tiers = table(rows)
    is_open = pl.int_range(pl.len()) == pl.len() - 1
    return expanded(tiers.with_columns(table=pl.lit(1, pl.UInt32), is_open=is_open)).select(TIERS_SCHEMA.names())


def continued(rows: Sequence[Cells]) -> list[tuple[Decimal | None, ...]]:
    """The same by a loop: limits and rates added, the leverage cut off at two decimals."""
    *stated, step = [tuple(map(number, row)) for row in rows]
    while True:
        base, quote, rate, initial = (
            None if last is None else last + (more or 0) for last, more in zip(stated[-1][:4], step[:4], strict=True)
        )
        if rate >= 1 or (initial is not None and initial > 1):
            return stated
        cut = None if initial is None else (1 / initial).quantize(Decimal("0.01"), ROUND_DOWN)
        stated.append((base, quote, rate, initial, cut))


@pytest.mark.parametrize(
    ("rows", "tiers"),
    [
        ([*BEFORE, ("25", "500000", "0.01", "0.01", None)], 91),
        ([("5", "1", "0.15", "0.5", "2"), ("5", "1", "0.01", "0.01", None)], 51),
        ([("5", None, "0.9", None, None), ("5", None, "0.05", None, None)], 2),
        ([("5", None, "0.9", None, None), ("5", None, "0.1", None, None)], 1),
        ([("5", "7", "0.5", "0.97", "1.03"), ("5", "7", "0", "0.015", None)], 3),
        ([("5", "7", "0.5", "1", "1"), ("5", "7", "0.01", "0.01", None)], 1),
    ],
)
def test_further_tiers_end_before_a_rate_is_out_of_bounds(rows: list[Cells], tiers: int) -> None:
    found = going_on(*rows)
    columns = (
        "largest_base_loan",
        "largest_quote_loan",
        "maintenance_rate",
        "minimum_initial_rate",
        "maximum_leverage",
    )
    assert found["tier"].to_list() == list(range(1, tiers + 1))
    assert found.select(columns).rows() == continued(rows)


def test_a_leverage_that_is_lower_than_the_rate_asks_for_is_kept() -> None:
    found = going_on(("5", "7", "0.5", "0.2", "2"), ("5", "7", "0.1", "0.2", None))
    assert found["maximum_leverage"].to_list() == [2, 2, Decimal("1.66"), Decimal("1.25"), 1]
