"""The roll-forward of every balance of every position, and the lead schedule over accounts and currencies."""

import polars as pl

from ledger.checks import finding
from ledger.money import ZERO
from ledger.reconciliation.columns import LEAD, ROLL_FORWARD
from ledger.reconciliation.figures import SNAPSHOT
from ledger.reconciliation.states import running, states_at

_CHANGES = (
    *("opening", "bought", "sold", "fees", "interest", "margin_posted", "margin_changed", "adjustments", "released"),
)


def roll_forward(ledger: pl.LazyFrame, index: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The frame ROLL_FORWARD of a ledger, and the finding that openings and changes give the closings.

    `index` comes from `ordering.index_positions`. The changes come from the flows of the events, the closing is the
    ledger's last: that they agree is tested, not arranged.
    """
    names = index.select("position", "base_currency", "quote_currency", "margin_currency", "margin_is_base")
    known = ledger.join(names.lazy(), on="position", how="left", maintain_order="left")
    parts = [_leg(known, "base"), _leg(known, "quote"), _margin(known)]
    rows = pl.concat([part.collect(engine="streaming") for part in parts]).sort("position", "balance")
    total = pl.sum_horizontal(_CHANGES)
    off = rows.select(total - pl.col("closing")).to_series()
    frame = rows.select(pl.col(column.name).cast(column.dtype) for column in ROLL_FORWARD)
    return frame, finding("balances_roll_forward", frame.select("position", "balance"), off)


def _leg(known: pl.LazyFrame, leg: str) -> pl.LazyFrame:
    """The roll-forward of one leg. A part that is left over reaches no balance."""
    reaches, plain = pl.col("action") != "leftover", pl.col("reason").is_null()
    traded = pl.col("kind").is_in(["fill", "liquidation"]) & reaches & plain
    amount = pl.col("quantity") if leg == "base" else pl.col("value")
    receives = pl.col("side") == ("buy" if leg == "base" else "sell")
    owes = pl.col("direction") == ("short" if leg == "base" else "long")
    fee = pl.when(pl.col("fee_currency") == pl.col(f"{leg}_currency")).then("fee")
    interest = pl.when((pl.col("kind") == "interest") & owes).then("interest")
    closes = pl.col("action") == "close"
    traded_here = pl.when(receives).then(amount).otherwise(-amount) - fee.fill_null(ZERO)
    back = pl.when(closes).then(-(pl.col(f"{leg}_opening") + traded_here)).otherwise(ZERO)
    change = pl.col(f"{leg}_change")
    return known.group_by("position", currency=f"{leg}_currency").agg(
        balance=pl.lit(f"{leg}_leg"),
        opening=_sum(change, (pl.col("kind") == "opening") & plain),
        bought=_sum(amount, traded & receives),
        sold=-_sum(amount, traded & ~receives),
        fees=-_sum(fee, traded),
        interest=-_sum(interest, plain),
        margin_posted=ZERO,
        margin_changed=ZERO,
        adjustments=_sum(pl.when(closes).then(traded_here).otherwise(change), ~plain),
        released=_sum(back, closes),
        closing=pl.col(f"{leg}_closing").last(),
    )


def _margin(known: pl.LazyFrame) -> pl.LazyFrame:
    plain, closes = pl.col("reason").is_null(), pl.col("action") == "close"
    kind, change = pl.col("kind"), pl.col("margin_change")
    return known.group_by("position", currency="margin_currency").agg(
        balance=pl.lit("margin"),
        opening=_sum(change, (kind == "opening") & plain),
        bought=ZERO,
        sold=ZERO,
        fees=ZERO,
        interest=ZERO,
        margin_posted=_sum(pl.col("initial_margin"), plain & (kind != "opening")),
        margin_changed=_sum(change, plain & kind.is_in(["margin", "leverage"])),
        adjustments=_sum(change, ~plain & ~closes),
        released=-_sum(pl.col("margin_opening"), closes),
        closing=pl.col("margin_closing").last(),
    )


def _sum(amount: pl.Expr, where: pl.Expr) -> pl.Expr:
    return pl.when(where).then(amount).otherwise(ZERO).fill_null(ZERO).sum()


def lead(
    moments: pl.DataFrame, ledger: pl.DataFrame, index: pl.DataFrame, history: pl.DataFrame | None = None
) -> pl.DataFrame:
    """The frame LEAD of the positions that both sides have, each at the last snapshot of it.

    `ledger` has the rows of those positions; adjustments are those of the life that is open then. `history` is what
    `states.running` makes of the ledger, where the caller has it.
    """
    of_snapshots = moments.filter(pl.col("stated_by") == SNAPSHOT).sort("time", maintain_order=True)
    last = of_snapshots.unique("position", keep="last", maintain_order=True)
    plain = running(ledger, index) if history is None else history
    read = ["position", "time", "episode", "reason", "base_change", "quote_change", "margin_change"]
    until = last.select("position", until="time")
    past = ledger.select(read).join(until, on="position").filter(pl.col("time") <= pl.col("until"))
    of_life = pl.col("episode") == pl.col("episode").last().over("position")
    by_hand = past.filter(of_life).filter(pl.col("reason").is_not_null())
    sums = by_hand.group_by("position").agg(pl.col("base_change", "quote_change", "margin_change").sum())
    states = states_at(plain, last).join(sums, on="position", how="left", maintain_order="left")
    is_open = (pl.col("base_leg") != 0) | (pl.col("quote_leg") != 0)
    rows = [
        states.select(
            "account",
            account_class=_class(f"{name}_leg", f"{name}_stated") if name != "margin" else pl.lit("margin"),
            currency=f"{name}_currency",
            whole=pl.col(f"{name}_leg" if name != "margin" else "margin").fill_null(ZERO),
            adjustments=pl.when(is_open).then(f"{name}_change").fill_null(ZERO),
            exchange=pl.col(f"{name}_stated").fill_null(ZERO),
        )
        for name in ("base", "quote", "margin")
    ]
    summed = (
        pl.concat(rows)
        .lazy()
        .group_by("account", "account_class", "currency")
        .agg(pl.col("whole", "adjustments", "exchange").sum(), positions=pl.len())
        .with_columns(ledger=pl.col("whole") - pl.col("adjustments"), difference=pl.col("whole") - pl.col("exchange"))
        .collect(engine="streaming")  # which notices a sum that leaves the type
    )
    ordered = summed.select(pl.col(column.name).cast(column.dtype) for column in LEAD)
    return ordered.sort("account", "account_class", "currency")


def _class(leg: str, stated: str) -> pl.Expr:
    """assets or liability, by what the leg is to the exchange, or else to the ledger."""
    sign = pl.when(pl.col(stated).fill_null(ZERO) != 0).then(stated).otherwise(leg)
    return pl.when(sign < 0).then(pl.lit("liability")).otherwise(pl.lit("assets"))
