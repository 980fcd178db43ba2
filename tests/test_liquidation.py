"""The steps of a liquidation at one mark: worked examples, all cases against the oracle, and what never happens."""

from datetime import UTC, datetime
from fractions import Fraction

import liquidation_oracle
import oracle
import polars as pl
import pytest
from exact import fractions, read
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import text

from ledger.columns import schema
from ledger.money import MONEY
from ledger.refusals import BadInput
from ledger.risk.columns import TIERS
from ledger.risk.liquidation import BALANCES, LIQUIDATION_STEPS, steps_at
from ledger.risk.policies import RiskPolicies

EXAMPLES = read("rules", "liquidation.json")
NOW = datetime(2025, 3, 1, 3, tzinfo=UTC)
CASES = ("LB", "LQ", "SB", "SQ")
TABLE = [
    {"base": Fraction(50), "quote": Fraction(5_000), "rate": Fraction(3, 100)},
    {"base": Fraction(100), "quote": Fraction(10_000), "rate": Fraction(5, 100)},
    {"base": Fraction(150), "quote": Fraction(15_000), "rate": Fraction(6, 100)},
    {"base": Fraction(400), "quote": Fraction(40_000), "rate": Fraction(8, 100)},
]
"""An invented table, for marks about 100."""
FEE_RATE = Fraction(15, 10_000)


def tiers_of(table, instrument="BTC-USDT"):
    """A table of the oracle as a frame of TIERS; nothing for an empty one."""
    if not table:
        return None
    rows = [
        {
            "instrument": instrument,
            "tier": number,
            "largest_base_loan": text(tier["base"]),
            "largest_quote_loan": text(tier["quote"]) if "quote" in tier else None,
            "maintenance_rate": text(tier["rate"]),
        }
        for number, tier in enumerate(table, start=1)
    ]
    columns = [pl.col(name) if name in rows[0] else pl.lit(None).alias(name) for name in schema(TIERS)]
    return pl.DataFrame(rows).select(columns).cast(dict(schema(TIERS)))


def position(case, mark, assets, debt, margin, interest=0, rate=None, fee_rate=FEE_RATE):
    """A position at a mark as `steps_at` reads it."""
    base, quote = (assets, -debt) if case[0] == "L" else (-debt, assets)
    own = "quote_interest" if case[0] == "L" else "base_interest"
    amounts = dict.fromkeys(BALANCES, Fraction(0))
    amounts |= {"base_leg": base, "quote_leg": quote, "margin": margin, own: interest}
    amounts |= {"mark_price": mark, "liquidation_fee_rate": fee_rate}
    flags = {"is_long": int(case[0] == "L"), "margin_is_base": int(case[1] == "B")}
    named = {"instrument": "BTC-USDT", "instrument_class": "spot_margin", "time": NOW}
    rate = None if rate is None else text(Fraction(rate))
    return {name: text(Fraction(value)) for name, value in amounts.items()} | flags | named | {"maintenance_rate": rate}


def frame(positions):
    money = (*BALANCES, "mark_price", "liquidation_fee_rate", "maintenance_rate")
    types = dict.fromkeys(money, pl.String) | {"is_long": pl.Int8, "margin_is_base": pl.Int8}
    return pl.DataFrame(positions, schema_overrides=types).with_columns(
        pl.col(money).cast(MONEY), pl.col("time").cast(pl.Datetime("us", "UTC"))
    )


def steps(positions, table=TABLE, policies=()):
    found = steps_at(frame(positions), tiers_of(table), RiskPolicies.parse(list(policies)))
    assert found.schema == pl.Schema(LIQUIDATION_STEPS)
    return [fractions(row) for row in found.iter_rows(named=True)]


def figures(values):
    return {
        name: Fraction(value) if isinstance(value, str) and name not in ("step", "side") else value
        for name, value in values.items()
    }


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example["title"])
def test_example(example):
    given = figures(example["position"])
    case, mark = example["case"], given["mark_price"]
    legs = (given["base_leg"], -given["quote_leg"]) if case[0] == "L" else (given["quote_leg"], -given["base_leg"])
    row = position(
        case,
        mark,
        *legs,
        given["margin"],
        given["base_interest"] + given["quote_interest"],
        given.get("maintenance_rate"),
        given["liquidation_fee_rate"],
    )
    table = [
        {"base": Fraction(tier["largest_base_loan"]), "rate": Fraction(tier["maintenance_rate"])}
        for tier in example["tiers"]
    ]
    found = steps([row], table)
    wanted = [figures(step) for step in example["steps"]]
    assert [{name: step[name] for name in expected} for step, expected in zip(found, wanted, strict=True)] == wanted
    assert {name: round(found[0][name], 4) for name in example["printed"]} == figures(example["printed"])


# --- against the oracle -------------------------------------------------------------------------------------------


def drawn(random):
    """A position near its end, as (case, mark, state), that is due in no table or in TABLE."""
    case, mark = random.choice(CASES), Fraction(random.randint(5_000, 20_000), 100)
    debt = Fraction(random.randint(1, 45_000), 100) * (mark if case[0] == "L" else 1)
    worth = debt / mark if case[0] == "L" else debt * mark
    state = {
        "assets": oracle.rounded(worth * Fraction(random.randint(600, 1_150), 1_000)),
        "debt": oracle.rounded(debt),
        "margin": oracle.rounded((worth if case in ("LB", "SQ") else debt) * Fraction(random.randint(0, 200), 1_000)),
        "interest": oracle.rounded(debt * random.choice((0, 0, Fraction(1, 1_000)))),
    }
    return case, mark, state


@st.composite
def due_positions(draw):
    random = draw(st.randoms(use_true_random=False))
    found = [drawn(random) for _ in range(12)]
    return [
        (case, mark, state)
        for case, mark, state in found
        if liquidation_oracle.ratio(
            case,
            state,
            mark,
            TABLE[liquidation_oracle.tier_of(case, state["debt"], TABLE) - 1]["rate"],
            FEE_RATE,
        )
        <= 1
    ]


POLICIES = (
    (),
    ("partial_fee=charged",),
    ("steps_spot=2", "full_tier_spot=2"),
    ("full_tier_spot=3",),
    ("liquidation=all_at_once",),
)
WORDS = {"steps_spot": "steps", "full_tier_spot": "full_tier"}


def oracle_policies(policies):
    pairs = (text.split("=") for text in policies)
    chosen = {WORDS.get(name, name): int(value) if value.isdigit() else value for name, value in pairs}
    return liquidation_oracle.DEFAULTS | chosen


def checked(found, wanted):
    """The steps of the engine hold what the oracle says; ratios, which divide, to the last places."""
    for step, expected in zip(found, wanted, strict=True):
        for name, value in expected.items():
            if name in ("ratio_before", "ratio_after") and value is not None:
                assert abs(step[name] - value) < Fraction(1, 10**15)
            else:
                assert step[name] == value, name


@pytest.mark.parametrize("policies", POLICIES, ids=lambda names: " ".join(names) or "default")
@settings(max_examples=6)
@given(positions=due_positions())
def test_steps_are_those_of_the_oracle(positions, policies):
    rows = [position(case, mark, **state) for case, mark, state in positions]
    if not rows:
        return
    found = steps(rows, policies=policies)
    wanted = [
        liquidation_oracle.steps(case, state, mark, TABLE, FEE_RATE, policies=oracle_policies(policies))[0]
        for case, mark, state in positions
    ]
    assert [len(own) for own in wanted] == [sum(step["place"] == place for step in found) for place in range(len(rows))]
    checked(found, [step for own in wanted for step in own])


@settings(max_examples=8)
@given(positions=due_positions())
def test_what_never_happens(positions):
    """No more steps than tiers, each down; one in part ends it only above the threshold; legs keep their sides."""
    rows = [position(case, mark, **state) for case, mark, state in positions]
    if not rows:
        return
    found = steps(rows)
    for place in range(len(rows)):
        own = [step for step in found if step["place"] == place]
        tiers = [step["tier_before"] for step in own]
        assert len(own) <= len(TABLE)
        assert tiers == sorted(set(tiers), reverse=True)
        assert [step["step_number"] for step in own] == list(range(1, len(own) + 1))
        assert all(step["step"] == "partial" and step["ratio_after"] <= 1 for step in own[:-1])
        last = own[-1]
        assert last["step"] == "full" or last["ratio_after"] > 1
        for step in own:
            assert min(step["quantity_due"], step["value_due"], step["repaid_due"]) > 0
        if last["step"] == "full":
            margin = Fraction(rows[place]["margin"])
            assert last["realised_pnl_due"] + margin - last["fee_in_margin"] - last["left_due"] == 0
            assert {last[name] for name in BALANCES} == {0}


@pytest.mark.parametrize("case", CASES)
def test_without_tiers_it_is_full_at_the_rate_in_force(case):
    state = {"assets": Fraction(100), "debt": Fraction(99), "margin": Fraction(3), "interest": Fraction(0)}
    if case[0] == "L":
        state |= {"debt": Fraction(9_900), "margin": Fraction(3) if case[1] == "B" else Fraction(300)}
    else:
        state |= {"assets": Fraction(10_000), "margin": Fraction(3) if case[1] == "B" else Fraction(300)}
    rate = Fraction(4, 100)
    found = steps([position(case, Fraction(100), **state, rate=rate)], table=None)
    wanted, after = liquidation_oracle.steps(case, state, Fraction(100), None, FEE_RATE, rate=rate)
    checked(found, wanted)
    assert (len(found), after) == (1, None)


def test_a_rate_that_the_marks_state_counts_in_every_tier():
    """SQ of 110 at a stated 4 %: at the rate of tier 1 it would stop, at the stated one it is liquidated wholly."""
    row = position(
        "SQ", 29_000, Fraction(2_999_800), Fraction(110), Fraction(300_000), Fraction(1, 2), "0.04", "0.0001"
    )
    table = [{"base": Fraction(100), "rate": Fraction(3, 100)}, {"base": Fraction(1000), "rate": Fraction(4, 100)}]
    assert [step["step"] for step in steps([row], table)] == ["partial"]
    stated = frame([row]).with_columns(stated_maintenance_rate="maintenance_rate")
    found = steps_at(stated, tiers_of(table), RiskPolicies())
    assert found["step"].to_list() == ["partial", "full"]
    assert found["ratio_before"].to_list()[1] == found["ratio_after"].to_list()[0] < 1


def test_steps_of_contracts_and_options_have_policies_of_their_own():
    """At tier 3: spot margin goes down to 2, contracts to 1, options to 2."""
    row = position("SQ", 100, Fraction(12_000), Fraction(120), Fraction(100))
    targets = []
    for name in ("spot_margin", "linear", "inverse", "option"):
        first = steps([row | {"instrument_class": name}])[0]
        targets.append(Fraction(120) - first["repaid_due"])
    assert targets == [100, 50, 50, 100]


def test_assets_that_do_not_pay_for_a_step_are_liquidated_wholly():
    row = position("LQ", 100, Fraction(1), Fraction(12_000), Fraction(100))
    assert [step["step"] for step in steps([row])] == ["full"]


def test_above_the_last_tier_it_comes_down_from_the_last():
    row = position("SB", 100, Fraction(50_100), Fraction(500), Fraction(1))
    first = steps([row])[0]
    assert (first["tier_before"], first["tier_after"], first["repaid_due"]) == (4, 3, 350)


def test_ratio_exactly_at_the_threshold_after_a_step_goes_on():
    """After the step equity is exactly what is required: at most 100 % is liquidated again, one unit more is not."""
    table = [
        {"base": Fraction(100), "rate": Fraction(1, 100)},
        {"base": Fraction(200), "rate": Fraction(2, 100)},
        {"base": Fraction(300), "rate": Fraction(4, 100)},
    ]
    # 250 owed at 100: a step repays 50 and leaves 200 of debt, worth 20,000, which require 400 without a fee.
    unit = Fraction(1, 10**18)
    for more, kinds in ((0, ["partial", "partial"]), (unit, ["partial"])):
        row = position("SQ", 100, Fraction(25_000), Fraction(250), Fraction(400) + more, fee_rate=0)
        assert [step["step"] for step in steps([row], table)] == kinds


def test_a_value_that_does_not_fit_is_refused():
    row = position("SQ", 10**16, Fraction(10**6), Fraction(10**6), Fraction(1), rate=Fraction(4, 100))
    with pytest.raises(BadInput):
        steps([row], table=None)


def test_nothing_due_gives_no_steps():
    row = position("SQ", 100, Fraction(100), Fraction(1), Fraction(1))
    assert steps_at(frame([row]).clear(), tiers_of(TABLE), RiskPolicies()).height == 0
