"""Grading moment by moment, in fractions and plain loops: the table of rules 4 with its four cases written out.

It shares no line with the product, and no idea either: no thresholds, no blocks, no signed legs.
"""

from fractions import Fraction

ORDER = ("not_graded", "normal", "alert", "orders_cancelled", "partial", "full")


def ratio_of(case, assets, liability, margin, mark, rate, fee):
    """The margin ratio of rules 4: `case` is LB, LQ, SB or SQ, assets without margin; nothing where nothing is owed."""
    if case in ("LB", "SB"):
        pnl = assets - liability / mark if case == "LB" else assets / mark - liability
    else:
        pnl = assets * mark - liability if case == "LQ" else assets - liability * mark
    if case == "LB":
        maintenance = liability * rate / mark
        cost = liability * (1 + rate) * fee / mark
    elif case == "SQ":
        maintenance = liability * rate * mark
        cost = liability * (1 + rate) * fee * mark
    else:
        maintenance = liability * rate
        cost = liability * (1 + rate) * fee
    return (pnl + margin) / (maintenance + cost) if maintenance + cost else None


def liquidation_price_of(case, assets, liability, margin, rate, fee):
    """The liquidation price of rules 4."""
    burdened = liability * (1 + rate) * (1 + fee)
    if case == "LB":
        return burdened / (assets + margin)
    if case == "LQ":
        return (burdened - margin) / assets
    if case == "SB":
        return assets / (burdened - margin)
    return (assets + margin) / burdened


def moments_of(life, marks, as_at=None):
    """The moments of a life: (time, mark price or None, state, time of the mark or None). `life` lists states by time:
    dicts with from_time, until_time and instrument; `marks` are (instrument, time or None, price), in any order."""
    found = []
    for state in life:
        begin, end = state["from_time"], state["until_time"]
        if as_at is not None and begin > as_at:
            continue
        own = [(time, price) for instrument, time, price in marks if instrument == state["instrument"]]
        own = [(time, price) for time, price in own if time is None or as_at is None or time <= as_at]
        early = [(time, price) for time, price in own if time is None or time <= begin]
        timed = sorted((one for one in early if one[0] is not None), key=lambda one: one[0])
        marked, in_force = timed[-1] if timed else (early[-1] if early else (None, None))
        found.append((begin, in_force, state, marked))
        for time, price in sorted(
            (one for one in own if one[0] is not None and one[0] > begin), key=lambda one: one[0]
        ):
            if end is None or time < end:
                found.append((time, price, state, time))
    return found


def graded(life, marks, ratio, policies, as_at=None):
    """The moments of a life with status and ratio: (time, price, state, status, ratio), by rules 6.

    `ratio(state, price)` gives the ratio, nothing where nothing is owed, "unknown" without a rate. `policies` has
    alert_ratio, liquidation_ratio and recheck: with next_mark the orders are cancelled until another mark comes.
    """
    rows, cancelled_by = [], "nothing"
    for time, price, state, marked in moments_of(life, marks, as_at):
        known = "unknown" if price is None else ratio(state, Fraction(price))
        is_due = False
        if known == "unknown":
            status, known = "not_graded", None
        elif known is None or known > Fraction(policies.alert_ratio):
            status = "normal"
        elif known > Fraction(policies.liquidation_ratio):
            status = "alert"
        else:
            is_due = True
            status = "full" if state["is_full"] else "partial"
            if cancelled_by == "nothing":
                cancelled_by = marked
            if policies.recheck == "next_mark" and cancelled_by == marked:
                status = "orders_cancelled"
        if not is_due:
            cancelled_by = "nothing"
        rows.append((time, price, state, status, known))
    return rows


def spans_of(rows):
    """Stretches of one status, as dicts named like the columns of the frame."""
    spans = []
    for time, price, state, status, ratio in rows:
        if not spans or spans[-1]["status"] != status:
            if spans:
                spans[-1]["until_time"] = time
            spans.append(
                {"status": status, "from_time": time, "until_time": None, "mark_price": price, "tier": state["tier"]}
                | {"margin_ratio": ratio, "lowest_ratio": None, "lowest_at": None, "graded": 0}
            )
        span = spans[-1]
        span["graded"] += 1
        if ratio is not None and (span["lowest_ratio"] is None or ratio < span["lowest_ratio"]):
            span["lowest_ratio"], span["lowest_at"] = ratio, time
    if spans:
        spans[-1]["until_time"] = rows[-1][2]["until_time"]
    return spans


def crossings_of(rows, policies):
    """The first moments of a life, and its lowest ratio."""
    reached = {"alert_at": policies.alert_ratio, "cancelled_at": policies.liquidation_ratio}
    found = {
        name: next((time for time, *_, ratio in rows if ratio is not None and ratio <= Fraction(k)), None)
        for name, k in reached.items()
    }
    for status in ("partial", "full"):
        found[f"{status}_at"] = next((row[0] for row in rows if row[3] == status), None)
    ratios = [row[4] for row in rows if row[4] is not None]
    found["lowest_ratio"] = min(ratios, default=None)
    found["lowest_at"] = next((row[0] for row in rows if row[4] is not None and row[4] == found["lowest_ratio"]), None)
    found["graded"] = sum(row[3] != "not_graded" for row in rows)
    return found
