"""The invariants of rules.md 8 as properties of any history."""

from collections import Counter
from fractions import Fraction

import polars as pl
import strategies
from exact import event, rows_of, run
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

BALANCES = ("base", "quote", "margin")
costly = settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))


# Of the whole ledger


@costly
@given(strategies.histories())
def test_postings_sum_to_zero_per_currency_and_event(events):
    sums = Counter()
    for posting in rows_of(run(events).postings):
        sums[posting["event_id"], posting["currency"]] += posting["amount"]
    assert not any(sums.values())


@costly
@given(strategies.histories())
def test_opening_plus_change_is_closing_and_the_next_opening(events):
    standing = {}
    for row in rows_of(run(events).ledger):
        opening, change, closing = (
            [row[f"{name}_{moment}"] for name in BALANCES] for moment in ("opening", "change", "closing")
        )
        assert opening == standing.get(row["position"], [0, 0, 0])
        assert closing == [before + moved for before, moved in zip(opening, change, strict=True)]
        standing[row["position"]] = closing


@costly
@given(strategies.histories())
def test_flat_if_and_only_if_every_balance_is_zero(events):
    for row in rows_of(run(events).ledger):
        base, quote = row["position"].split(":")[1].split("-")
        settlement = "quote" if row["position"].endswith(f":{base}") else "base"
        assert row["position"].endswith((f":{base}", f":{quote}"))
        closings = [row[f"{name}_closing"] for name in BALANCES]
        assert (row[f"{settlement}_closing"] == 0) == (closings == [0, 0, 0])
        assert (row["action"] in ("close", "leftover") or row["direction"] is None) == (closings == [0, 0, 0])


@costly
@given(strategies.histories())
def test_mode_changes_displayed_assets_only(events):
    old, new = (run([{**given, "mode": mode} for given in events]) for mode in ("old", "new"))
    for frame in ("ledger", "positions"):
        assert getattr(old, frame).drop("mode").equals(getattr(new, frame).drop("mode"))
    assert old.postings.equals(new.postings)
    for row in rows_of(old.positions):
        same_currency = row["is_long"] == row["margin_is_base"]
        assert row["assets_shown_old"] - row["assets_shown_new"] == (row["margin"] if same_currency else 0)


@costly
@given(strategies.histories(positions=4), st.integers(0, 3))
def test_other_positions_change_nothing(events, chosen):
    assume(events)
    keys = sorted({_key(given) for given in events})
    key = keys[chosen % len(keys)]
    alone = run([given for given in events if _key(given) == key]).ledger
    together = run(events).ledger
    assert together.filter(pl.col("position") == ":".join(key)).equals(alone)


def _key(given):
    return given["account"], given["instrument"], given["margin_currency"]


@costly
@given(strategies.histories(positions=4), st.randoms(use_true_random=False))
def test_file_order_changes_nothing(events, random):
    """Each position's events in a file of their own: whichever file comes first, the ledger is the same."""
    keys = sorted({_key(given) for given in events})
    ledgers = []
    for _ in range(2):
        numbers = dict(zip(keys, random.sample(range(1, len(keys) + 1), len(keys)), strict=True))
        placed = [{**given, "input": numbers[_key(given)], "row": row} for row, given in enumerate(events, start=2)]
        ledgers.append(run(placed).ledger.drop("input"))
    assert ledgers[0].equals(ledgers[1])


# Of the fills


COARSE = st.integers(1, 400).map(lambda number: Fraction(number, 100))
DYADIC = st.sampled_from([Fraction(2) ** power for power in range(-4, 5)])
STEPS = st.lists(
    st.tuples(st.sampled_from(["buy", "sell"]), COARSE, DYADIC, st.sampled_from(["0", "0.001", "-0.0002"])),
    min_size=1,
    max_size=12,
)


def traded(steps, margin_currency):
    """Fills of one position with the fee in the currency received; amounts have few digits."""
    events = []
    for number, (side, quantity, price, rate) in enumerate(steps, start=1):
        received = (quantity, "BTC") if side == "buy" else (quantity * price, "USDT")
        fee = {"fee": received[0] * Fraction(rate), "fee_currency": received[1]}
        fill = {
            "side": side,
            "quantity": quantity,
            "price": price,
            "leverage": 10,
            "margin_currency": margin_currency,
        }
        events.append(event(number, **fill, **fee))
    return events


def mirrored(given):
    """The same fill seen from the other currency: what was bought is the price of what is sold."""
    swap = {"BTC": "USDT", "USDT": "BTC"}
    return {
        **given,
        "side": {"buy": "sell", "sell": "buy"}[given["side"]],
        "quantity": given["quantity"] * given["price"],
        "price": 1 / given["price"],
        "fee_currency": swap[given["fee_currency"]],
        "margin_currency": swap[given["margin_currency"]],
    }


@costly
@given(STEPS, st.sampled_from(["BTC", "USDT"]), st.sampled_from(["reverse", "spot_first"]))
def test_mirror_swaps_the_legs(steps, margin_currency, overfill):
    """Swap base and quote, price and 1 / price, buy and sell: the same ledger with its legs swapped.

    Prices are powers of two, so that every product and every reciprocal is exact on both sides.
    """
    events = traded(steps, margin_currency)
    original, mirror = (
        rows_of(run(seen, [f"overfill={overfill}"]).ledger) for seen in (events, [mirrored(given) for given in events])
    )
    for row, image in zip(original, mirror, strict=True):
        assert (row["action"], row["realised_pnl"]) == (image["action"], image["realised_pnl"])
        assert [row["quantity"], row["value"], row["fee"]] == [
            image["value"],
            image["quantity"],
            image["fee"],
        ]
        assert row["margin_closing"] == image["margin_closing"]
        for name in ("{}_closing", "{}_change", "account_{}"):
            swapped = [image[name.format(leg)] for leg in ("quote", "base")]
            assert [row[name.format(leg)] for leg in ("base", "quote")] == swapped


@costly
@given(STEPS, st.sampled_from(["BTC", "USDT"]))
def test_a_fill_in_two_halves_changes_no_balance(steps, margin_currency):
    """Halves of these amounts are representable: the roundings of whole and halves meet the same digits."""
    events = traded(steps, margin_currency)
    halves = [
        {
            **given,
            "event_id": f"{given['event_id']}{half}",
            "row": 2 * given["row"] + number,
            **_halved(given),
        }
        for given in events
        for number, half in enumerate("ab")
    ]
    assert _standing(events) == _standing(halves)


def _halved(given):
    return {"quantity": given["quantity"] / 2, "fee": given["fee"] / 2}


def _standing(events):
    """Balances after each moment, and what account, fees and interest have moved up to then."""
    result, moved = {}, Counter()
    for row in rows_of(run(events).ledger):
        moved.update({name: row[name] for name in ("account_base", "account_quote", "fee", "quantity", "value")})
        result[row["time"]] = [row[f"{name}_closing"] for name in BALANCES], dict(moved)
    return result
