"""An independent oracle of liquidations: one position, step by step, moment by moment, in exact fractions.

It is written from the published rules by case (LB, LQ, SB, SQ): `assets`, `debt` and `margin`, as in `oracle`, whose
rows it reads. It shares no line and no idea with the package, where all cases are two legs and all positions columns.
"""

from bisect import bisect_right
from datetime import timedelta
from fractions import Fraction
from itertools import groupby

from oracle import rounded
from oracle_measures import measures

ZERO = Fraction(0)
DEFAULTS = {"liquidation": "by_tier", "recheck": "same_mark", "partial_fee": "none", "steps": 1, "full_tier": 1}
LOOK_AHEAD = timedelta(days=1)


def tier_of(case, debt, table):
    """Number of the tier; `table` has a dict per tier: base, quote (largest loans) and rate. None without a table."""
    if not table:
        return None
    limit = {"L": "quote", "S": "base"}[case[0]]
    covering = [number for number, tier in enumerate(table, start=1) if debt <= tier[limit]]
    return covering[0] if covering else len(table)


def ratio(case, state, mark, rate, fee_rate):
    """The published margin ratio of a state (assets, debt, margin, interest)."""
    owed = state["debt"] + state["interest"]
    if owed <= 0:
        return None
    return measures(case, state["assets"], state["margin"], owed, mark=mark, rate=rate, fee_rate=fee_rate)[
        "margin_ratio"
    ]


def steps(case, state, mark, table, fee_rate, rate=None, policies=DEFAULTS):
    """The steps of a liquidation at a mark: (list of dicts, state after them or None when it is over).

    `rate` is that of no tier, where there is no table.
    """
    found, state = [], dict(state)
    while True:
        number = tier_of(case, state["debt"], table)
        own = table[number - 1]["rate"] if number else rate
        before = ratio(case, state, mark, own, fee_rate)
        common = {"tier_before": number, "ratio_before": before, "side": "sell" if case[0] == "L" else "buy"}
        part = None
        if policies["liquidation"] != "all_at_once" and number is not None and number > policies["full_tier"]:
            part = _part(case, state, mark, table, max(1, number - policies["steps"]), fee_rate, policies)
        if part is None:
            found.append(common | _whole(case, state, mark, own, fee_rate))
            return found, None
        amounts, state = part
        after = tier_of(case, state["debt"], table)
        left = ratio(case, state, mark, table[after - 1]["rate"], fee_rate)
        found.append(common | amounts | {"step": "partial", "tier_after": after, "ratio_after": left})
        if left > 1:
            return found, state


def _part(case, state, mark, table, target, fee_rate, policies):
    """Down to the limit of a tier: amounts and the state after it, or None where the assets do not pay for it."""
    repaid = state["debt"] - table[target - 1]["quote" if case[0] == "L" else "base"]
    fee = rounded(repaid * fee_rate) if policies["partial_fee"] == "charged" else ZERO
    if case in ("LB", "LQ"):
        value, quantity = repaid + fee, rounded((repaid + fee) / mark)
        spent = quantity
    else:
        quantity, value = repaid + fee, rounded((repaid + fee) * mark)
        spent = value
    if repaid <= 0 or state["assets"] - spent <= 0:
        return None
    amounts = {"quantity_due": quantity, "value_due": value, "price_due": mark, "repaid_due": repaid, "fee_due": fee}
    return amounts, state | {"assets": state["assets"] - spent, "debt": state["debt"] - repaid}


def _whole(case, state, mark, rate, fee_rate):
    """A full liquidation by the closing table (rules 2), with the fee of rules 4."""
    assets, margin, owed = state["assets"], state["margin"], state["debt"] + state["interest"]
    fee = rounded(owed * rounded((1 + rate) * fee_rate))
    if case == "LB":
        repay, fee_in_margin = rounded(owed / mark), rounded(fee / mark)
        quantity, value, profit = repay + fee_in_margin, owed + fee, assets - repay
    elif case == "LQ":
        quantity, value, fee_in_margin = assets, rounded(assets * mark), fee
        profit = value - owed
    elif case == "SB":
        quantity, value, fee_in_margin = rounded(assets / mark), assets, fee
        profit = quantity - owed
    else:
        repay, fee_in_margin = rounded(owed * mark), rounded(fee * mark)
        quantity, value, profit = owed + fee, repay + fee_in_margin, assets - repay
    price = measures(case, assets, margin, owed, mark=mark, rate=rate, fee_rate=fee_rate)["bankruptcy_price"]
    return {
        "step": "full",
        "tier_after": None,
        "ratio_after": None,
        "quantity_due": quantity,
        "value_due": value,
        "price_due": mark if price is None else rounded(price),
        "repaid_due": owed,
        "fee_due": fee,
        "fee_in_margin": fee_in_margin,
        "realised_pnl_due": profit,
        "left_due": profit + margin - fee_in_margin,
    }


# --- a whole history ----------------------------------------------------------------------------------------------


def due_of(rows, marks, table, fee_rate, policies=DEFAULTS):
    """Every step that was due in the rows of `oracle.replay`, life by life: dicts with position, episode, due_at, ...

    `marks` are (time, price) in order, of the one instrument.
    """
    live = [row for row in rows if row["direction"] and row["action"] != "leftover"]
    live.sort(key=lambda row: (row["position"], row["event_number"], row["part"]))
    found = []
    for position, of_position in groupby(live, key=lambda row: row["position"]):
        events = list(of_position)
        for episode, life in groupby(events, key=lambda row: row["episode"]):
            for segment in _segments(list(life), events):
                named = {"position": position, "episode": episode}
                found += [named | step for step in _walk(segment, marks, table, fee_rate, policies)]
    return found


def _segments(life, events):
    """Lists of states with the end of the last one: cut at the recorded liquidations."""
    states = [row for row, later in zip(life, [*life[1:], None], strict=True) if _is_last_part(row, later)]
    segments, current = [], None
    for row in states:
        over = row["action"] == "close"
        if row["kind"] == "liquidation" or over:
            booked = row["kind"] == "liquidation"
            current |= {"booked": booked, "end": _looked_at_until(row, events) if booked else row["time"]}
            current["booked_at"] = row["time"]
            segments.append(current)
            current = None
        if not over:
            current = current or {"case": _case(row), "states": [], "booked": False, "end": None}
            current["states"].append(row)
    return segments + ([current] if current else [])


def _is_last_part(row, later):
    return later is None or later["event_number"] != row["event_number"]


def _looked_at_until(row, events):
    later = [other["time"] for other in events if other["time"] > row["time"]]
    return min([row["time"] + LOOK_AHEAD, *later])


def _case(row):
    base = row["position"].split(":")[1].split("-")[0]
    return {"long": "L", "short": "S"}[row["direction"]] + ("B" if row["position"].split(":")[2] == base else "Q")


def _state(case, row):
    legs = row["base_closing"], row["quote_closing"]
    assets, owed = legs if case[0] == "L" else legs[::-1]
    return {"assets": assets, "debt": -owed, "margin": row["margin_closing"], "interest": ZERO}


def _walk(segment, marks, table, fee_rate, policies):
    """The steps due in a segment: of the first run that was missed, and of the one that counts (see `_runs`)."""
    moments = _moments(segment, marks)
    runs = _runs(segment["case"], moments, marks, table, fee_rate, policies)
    if segment["booked"]:
        here = max(place for place, moment in enumerate(moments) if moment[0] <= segment["booked_at"])
        missed = [run for run in runs if run["last"] < here]
    else:
        missed = runs[:-1]
    found = []
    for run in missed[:1]:
        again = {
            "is_missed": 1,
            "missed_again": len(missed) - 1,
            "missed_until": moments[missed[-1]["acts"]][0],
            "over": moments[run["last"] + 1][0],
        }
        found += [again | step for step in _steps_at(segment, moments[run["acts"]], table, fee_rate, policies)[0]]
    for run in runs[len(missed) :][:1]:
        taken, reduced = _steps_at(segment, moments[run["acts"]], table, fee_rate, policies)
        found += [{"is_missed": 0} | step for step in (taken[:1] if segment["booked"] else taken)]
        if not segment["booked"]:
            found += _with_marks_alone(segment, moments[run["acts"]][0], reduced, marks, table, fee_rate, policies)
    return found


def _with_marks_alone(segment, since, state, marks, table, fee_rate, policies):
    """The steps due of what a liquidation in part left, at the marks that follow."""
    found = []
    while state is not None:
        moments = [(time, price, state) for time, price in _between(marks, since, segment["end"])]
        runs = _runs(segment["case"], moments, marks, table, fee_rate, policies)
        if not runs:
            break
        since = moments[runs[0]["acts"]][0]
        taken, state = _steps_at(segment, moments[runs[0]["acts"]], table, fee_rate, policies)
        found += [{"is_missed": 0} | step for step in taken]
    return found


def _steps_at(segment, moment, table, fee_rate, policies):
    time, price, state = moment
    taken, reduced = steps(segment["case"], state, price, table, fee_rate, policies=policies)
    return [{"due_at": time, "due_mark": price} | step for step in taken], reduced


def _runs(case, moments, marks, table, fee_rate, policies):
    """Runs of moments that are due, one after the other: the places at which one acts, and of its last one.

    Where the ratio is looked at again, that is at the first moment of the run with a later mark than its first one had.
    """
    due = [price is not None and _is_due(case, state, price, table, fee_rate) for _, price, state in moments]
    runs = [[place for place, _ in run] for is_due, run in groupby(enumerate(due), key=lambda one: one[1]) if is_due]
    times, found = [time for time, _ in marks], []
    for run in runs:
        in_force = [bisect_right(times, moments[place][0]) for place in run]
        waits = policies["recheck"] == "next_mark"
        acts = [place for place, mark in zip(run, in_force, strict=True) if not waits or mark > in_force[0]]
        found += [{"acts": acts[0], "last": run[-1]}] if acts else []
    return found


def _moments(segment, marks):
    """Each state of a segment when it begins, at the mark in force, and at every mark until it ends."""
    found, states = [], segment["states"]
    for row, later in zip(states, [*states[1:], None], strict=True):
        state = _state(segment["case"], row)
        known = [price for time, price in marks if time <= row["time"]]
        found.append((row["time"], known[-1] if known else None, state))
        until = later["time"] if later else segment["end"]
        found += [(time, price, state) for time, price in _between(marks, row["time"], until)]
    return found


def _between(marks, after, until):
    return [(time, price) for time, price in marks if time > after and (until is None or time < until)]


def _is_due(case, state, price, table, fee_rate):
    rate = table[tier_of(case, state["debt"], table) - 1]["rate"]
    found = ratio(case, state, price, rate, fee_rate)
    return found is not None and found <= 1
