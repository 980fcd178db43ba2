"""Recorded liquidations held against those that were due: each with a verdict, the differences and a sentence.

A recorded liquidation ends a segment of its life (`liquidation_segments`), and is compared with what was due first in
the run of due moments in which it is booked (`booked_runs`). A run that was over before it is a row of its own.
"""

import polars as pl

from ledger.checks import finding
from ledger.columns import FLAG
from ledger.money import MONEY, ZERO
from ledger.postings import imbalances, posting_amounts
from ledger.risk.booked_price import on_booked_price
from ledger.risk.booked_words import explanation
from ledger.risk.columns import LIQUIDATED, LIQUIDATION_VERDICTS, LIQUIDATIONS, STEPS
from ledger.risk.liquidation import at_mark
from ledger.risk.policies import RiskPolicies
from ledger.risk.simulation import Simulated, marks_at

_KEY = ["position", "episode", "booked_event"]
_LONG, _BASE_MARGIN = pl.col("is_long") == 1, pl.col("margin_is_base") == 1
_ALSO_BOOKED = (
    *("instrument", "instrument_class", "is_long", "margin_is_base", "liability_currency", "margin_currency"),
    *("side", "bankruptcy_price", "ratio_before", "tier_before"),
)
"""What both sides know: that of the moment it was due counts, or else that of the booking."""
_COMPARED = ("quantity", "price", "repaid", "fee", "realised_pnl", "insurance_fund", "returned")


def compare(
    simulated: Simulated,
    ledger: pl.DataFrame,
    index: pl.DataFrame,
    marks: pl.DataFrame | None,
    tiers: pl.DataFrame | None,
    policies: RiskPolicies,
) -> pl.DataFrame:
    """One row per liquidation that was due, or is booked, or both (columns LIQUIDATIONS), in order of the lives.

    `simulated` comes from `simulation.simulate` for the same ledger (columns LEDGER), marks and tiers. Verdicts:
    not_graded (no mark, or no rate, when it was booked), not_due (none was due when it was booked, by its own state and
    the mark in force), early (due only after it, within LOOK_AHEAD), not_booked, differs (the step or a figure of it is
    not exactly what was due), late (the same, booked after it was due), agrees. A liquidation in part is due at the
    mark, a full one at the bankruptcy price or at the mark [S]: what was due is at the one that is nearer to what is
    booked (see `booked_price.on_booked_price`); of a full one that is not booked, price_due is the bankruptcy price and
    the rest at the mark. Raises BadInput when a value at a mark does not fit the money type.
    """
    booked = at_booking(_booked(ledger, index), marks, tiers, policies)
    both = simulated.due.drop("event_id").with_columns(is_due=True).join(booked, on=_KEY, how="full", coalesce=True)
    rows = both.with_columns(
        pl.col("is_due", "is_booked").fill_null(value=False),
        *(pl.when("is_due").then(name).otherwise(f"{name}_right").alias(name) for name in _ALSO_BOOKED),
        ends_with=pl.coalesce("ends_with", "booked_event"),
        step_due="step",
        label=pl.lit(LIQUIDATED),
    ).with_columns(step=pl.coalesce("step_due", "step_booked"))
    rows = on_booked_price(rows).with_columns(direction=pl.when(_LONG).then(pl.lit("long")).otherwise(pl.lit("short")))
    rows = rows.sort("position", "episode", "ends_with", "segment", "step_number", nulls_last=True)
    rows = rows.with_columns(number=pl.int_range(1, pl.len() + 1).over("position", "episode"))
    for column in LIQUIDATIONS:
        if column.formula is not None:
            rows = rows.with_columns(column.expression())
    rows = rows.with_columns(verdict=_verdict()).with_columns(explanation=explanation(policies))
    in_order = ledger.select(position=pl.col("position").unique(maintain_order=True)).with_row_index("place")
    rows = rows.join(in_order, on="position", how="left", maintain_order="left").sort("place", maintain_order=True)
    return rows.select(pl.col(column.name).cast(column.dtype) for column in LIQUIDATIONS)


def liquidation_checks(liquidations: pl.DataFrame, simulated: Simulated, index: pl.DataFrame) -> list[pl.DataFrame]:
    """The findings liquidations_agree and simulated_postings_balance.

    `liquidations` comes from `compare`: a row fails unless it agrees or is late only. `index` comes from
    `ordering.index_positions`.
    """
    fails = ~pl.col("verdict").cast(pl.String).is_in(("agrees", "late"))
    amounts = posting_amounts(simulated.ledger, index)
    lacking = imbalances(amounts).select(pl.max_horizontal(pl.all().abs())).to_series()
    return [
        finding(
            "liquidations_agree",
            liquidations.select("position", "episode", "number"),
            liquidations.select(fails.cast(pl.Int64).cast(MONEY)).to_series(),
        ),
        finding("simulated_postings_balance", amounts.select("position", "event_id", "part"), lacking),
    ]


def at_booking(
    booked: pl.DataFrame, marks: pl.DataFrame | None, tiers: pl.DataFrame | None, policies: RiskPolicies
) -> pl.DataFrame:
    """The recorded liquidations with the mark in force (`booked_mark`), and ratio and tier before them."""
    rows = marks_at(booked.with_columns(time="booked_at"), marks)
    rows = rows.with_columns(
        known_maintenance_rate="stated_maintenance_rate", liquidation_fee_rate="stated_liquidation_fee_rate"
    )
    return at_mark(rows, tiers, policies).with_columns(
        tier_before="tier",
        ratio_before="margin_ratio",
        booked_mark="mark_price",
        booked_ratio="margin_ratio",
        is_graded=pl.col("mark_price").is_not_null() & pl.col("requirement_rate").is_not_null(),
    )


def _booked(ledger: pl.DataFrame, index: pl.DataFrame) -> pl.DataFrame:
    """One row per recorded liquidation: the state before it and its booked half of LIQUIDATIONS.

    Of a liquidation that is larger than its position quantity and fee are of all of it, and `beyond` is the quantity
    left over, which reaches the account only; the rest is of the part that closes the position.
    """
    event = ["position", "event_number"]
    liquidations = ledger.filter(pl.col("kind") == "liquidation").with_columns(
        whole_quantity=pl.col("quantity").sum().over(event), whole_fee=pl.col("fee").sum().over(event)
    )
    parts = liquidations.filter(pl.col("direction").is_not_null())
    names = index.select(
        "position",
        "instrument",
        "base_currency",
        "quote_currency",
        "margin_currency",
        margin_is_base=pl.col("margin_is_base").cast(FLAG),
    )
    rows = parts.join(names, on="position", how="left", maintain_order="left").rename({"event_number": "booked_event"})
    rows = rows.with_columns(is_long=(pl.col("direction") == "long").cast(FLAG))
    rows = rows.with_columns(
        liability_currency=pl.when(_LONG).then("quote_currency").otherwise("base_currency"),
        owed_opening=pl.when(_LONG).then("quote_opening").otherwise("base_opening"),
        owed_closing=pl.when(_LONG).then("quote_closing").otherwise("base_closing"),
    )
    closes = pl.col("action") == "close"
    own_fee = (pl.col("fee_currency") == pl.col("liability_currency")) | (pl.col("fee") == 0)
    return rows.select(
        *_KEY,
        "event_id",
        *("instrument", "is_long", "margin_is_base", "liability_currency", "margin_currency"),
        "side",
        is_booked=pl.lit(value=True),
        booked_at="time",
        instrument_class=pl.lit("spot_margin"),
        step_booked=pl.when(closes).then(pl.lit("full")).otherwise(pl.lit("partial")).cast(pl.Enum(STEPS)),
        base_leg="base_opening",
        quote_leg="quote_opening",
        margin="margin_opening",
        base_interest=ZERO,
        quote_interest=ZERO,
        quantity_booked="whole_quantity",
        beyond=pl.col("whole_quantity") - pl.col("quantity"),
        price_booked="price",
        fee_booked=pl.when(own_fee.fill_null(value=True)).then(pl.col("whole_fee").fill_null(ZERO)),
        repaid_booked=pl.min_horizontal("owed_closing", ZERO) - pl.min_horizontal("owed_opening", ZERO),
        realised_pnl_booked=pl.col("realised_pnl") + _fee_in_margin(),
        insurance_fund_booked=pl.when(closes).then("insurance_fund"),
        returned_booked=pl.when(closes).then(pl.when(_BASE_MARGIN).then("account_base").otherwise("account_quote")),
    )


def _fee_in_margin() -> pl.Expr:
    """The fee of a recorded liquidation in margin currency, at its price; one in a third currency is not in the PnL."""
    fee = pl.col("fee").fill_null(ZERO)
    in_base, in_quote = (pl.col("fee_currency") == pl.col(f"{leg}_currency") for leg in ("base", "quote"))
    from_quote, from_base = pl.when(in_quote & _BASE_MARGIN).then(fee), pl.when(in_base & ~_BASE_MARGIN).then(fee)
    same = pl.when((in_base & _BASE_MARGIN) | (in_quote & ~_BASE_MARGIN)).then(fee)
    return pl.coalesce(same, from_quote / pl.col("price"), from_base * pl.col("price"), ZERO)


def _verdict() -> pl.Expr:
    """The verdict; of several that hold, the first of these lines."""
    name = pl.Enum(LIQUIDATION_VERDICTS)
    apart = [pl.col(f"{what}_booked").ne_missing(pl.col(f"{what}_due")) for what in _COMPARED]
    is_early = pl.col("due_at") > pl.col("booked_at")
    lines = (
        (~pl.col("is_booked"), "not_booked"),
        (~pl.col("is_graded") & (~pl.col("is_due") | is_early), "not_graded"),
        (~pl.col("is_due"), "not_due"),
        (is_early, "early"),
        (pl.any_horizontal(pl.col("step_due") != pl.col("step_booked"), *apart), "differs"),
        (pl.col("booked_at") > pl.col("due_at"), "late"),
    )
    verdict = pl.lit("agrees", name)
    for holds, word in reversed(lines):
        verdict = pl.when(holds).then(pl.lit(word, name)).otherwise(verdict)
    return verdict
