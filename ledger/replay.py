"""The replay: from the events of whole positions to the ledger, as column operations on exact decimals.

A position is two signed legs and a margin (rules.md 1). The leg that is not in the margin currency is the
*settlement leg*: the position is closed when it returns to zero. The other one is the *result leg*: what is then left
of it is the realised PnL. All eight cases are the same replay.

    flows -> settlement path -> parts (a fill that crosses zero is split) -> margin -> balances -> entry price -> ledger
"""

import polars as pl

from ledger.columns import ACTIONS, DIRECTIONS, LEDGER, schema
from ledger.entry_price import with_entry_price
from ledger.flows import result, with_flows
from ledger.money import ZERO, since
from ledger.overfill import SPLIT_READS, split_fills
from ledger.policies import Policies
from ledger.settlement import beside_events, is_crossing, settlement_path


def replay_parts(events: pl.DataFrame, policies: Policies) -> pl.DataFrame:
    """Every part of every event with all that the ledger and the refusals need, in order.

    `events` holds all events of whole positions in file order, with what `ordering.with_positions` adds.
    """
    flows = with_flows(events)
    path = settlement_path(flows, spot_first=policies.overfill == "spot_first")
    return in_parts(flows, path).pipe(with_margin).pipe(with_balances).pipe(with_entry_price, policies)


def in_parts(flows: pl.DataFrame, path: pl.DataFrame) -> pl.DataFrame:
    """One row per event part: what each fill does, and fills that cross zero split."""
    before, after, is_trade = pl.col("settlement_before"), pl.col("settlement_after"), pl.col("is_trade")
    known = path.with_columns(
        event_number=pl.col("step") - pl.col("start") + 1,
        part=pl.lit(1, pl.UInt8),
        is_split=is_crossing(),
        closes=is_trade & (before != 0) & (after == 0),
        opens=is_trade & (before == 0) & (after != 0),
        increases=is_trade & (before != 0) & ((before < 0) == (pl.col("settlement_flow") < 0)),
        is_leftover=pl.lit(value=False),
    )
    crossed, whole = known.filter("is_split"), flows
    if crossed.is_empty():
        return beside_events(known.select(_PATH), whole)
    parts = split_fills(beside_events(crossed, flows.select(SPLIT_READS))).select(*_PATH, *_OF_PART).collect()
    # An event's columns are gathered once, by narrow rows that know the event and where the amounts of the part are.
    amounts = pl.concat([whole.select(_OF_PART), parts.select(_OF_PART)], rechunk=True)
    placed = parts.select(*_PATH, amounts_place=pl.int_range(pl.len(), dtype=pl.UInt32) + flows.height)
    unsplit = known.filter(~pl.col("is_split")).select(*_PATH, amounts_place="place")
    narrow = pl.concat([unsplit, placed], rechunk=True)
    key = narrow.select(pl.col("step").cast(pl.UInt64) * 4 + pl.col("part")).to_series()
    narrow = narrow[key.arg_sort()]
    return beside_events(narrow, whole.drop(_OF_PART)).hstack(amounts[narrow["amounts_place"]])


_OF_PART = ("quantity", "value", "fee", "cost", "base_flow", "quote_flow")
_PATH = (
    "step",
    "place",
    "is_first",
    "event_number",
    "part",
    "settlement_before",
    "settlement_after",
    "is_split",
    "closes",
    "opens",
    "increases",
    "is_leftover",
)


def with_margin(parts: pl.DataFrame) -> pl.DataFrame:
    """Margin posted by opening and increasing, added or taken out; the life of the position each part belongs to."""
    first_part = pl.col("is_first") & (pl.col("part") == 1)
    stated = pl.when(first_part).then(pl.col("leverage").fill_null(ZERO)).otherwise("leverage").forward_fill()
    return (
        parts.with_row_index("part_number")
        .with_columns(
            posts=pl.col("opens") | pl.col("increases"),
            leverage=pl.when(stated > 0).then(stated),
            opened=pl.col("opens").cast(pl.UInt32).cum_sum(),
            # Before the first opening nothing flows, so that any row will do to count from.
            life=pl.when("opens").then("part_number").forward_fill().fill_null(0),
        )
        .with_columns(
            episode=pl.col("opened") - pl.when(first_part).then(pl.col("opened") - pl.col("opens")).forward_fill(),
            margin_formula=pl.when(pl.col("posts") & ~_IS_OPENING).then(
                pl.when("margin_is_base").then("quantity").otherwise("value") / pl.col("leverage")
            ),
        )
        .with_columns(initial_margin=pl.when("posts").then(pl.coalesce("amount", "margin_formula")))
    )


def with_balances(parts: pl.DataFrame) -> pl.DataFrame:
    """Both legs and the margin since the position opened; in a closing part before anything is released.

    A left-over part moves the account and no balance of the position.
    """
    reaches = ~pl.col("is_leftover")
    paid_in = pl.col("kind").is_in(["margin", "leverage"])
    moved = pl.when("posts").then("initial_margin").otherwise(pl.when(paid_in).then("amount")).fill_null(ZERO)
    return (
        parts.with_columns(
            base_kept=pl.when(reaches).then("base_flow").otherwise(ZERO),
            quote_kept=pl.when(reaches).then("quote_flow").otherwise(ZERO),
            margin_kept=moved,
            added_quantity=pl.when("posts").then("quantity").otherwise(ZERO),
            added_cost=pl.when("posts").then("cost").otherwise(ZERO),
        )
        .with_columns(pl.col(f"{balance}_kept").cum_sum().alias(f"{balance}_total") for balance in _BALANCES)
        .with_columns(
            since("life", f"{balance}_kept", f"{balance}_total").alias(f"{balance}_life") for balance in _BALANCES
        )
        .with_columns(result_life=result("{leg}_life"))
    )


def ledger_of(parts: pl.DataFrame, positions: pl.DataFrame, policies: Policies) -> pl.DataFrame:
    """The ledger (columns LEDGER): one row per event part.

    `parts` comes from `replay_parts`, `positions` from `ordering.index_positions`. Closings come from the running
    balances, changes from the flows: that opening + change = closing is a proof, not a definition.
    """
    closes, margin_is_base = pl.col("closes"), pl.col("margin_is_base")
    back = pl.col("result_life") + pl.col("margin_life")
    insured = _insured(back, policies)
    return (
        parts.lazy()
        .with_columns(
            position=positions["position"].gather(parts["position_number"]),
            action=_action(),
            direction=_direction(),
            price=pl.when("is_trade").then("price"),
            fee=pl.when("is_trade").then("fee"),
            insurance_fund=insured,
            to_account=pl.when(closes)
            .then(back - insured)
            .when(~_IS_OPENING)
            .then(-pl.col("margin_kept"))
            .otherwise(ZERO),
            realised_pnl=pl.when(closes).then("result_life"),
            base_released=pl.when(closes & margin_is_base).then("base_life").otherwise(ZERO),
            quote_released=pl.when(closes & ~margin_is_base).then("quote_life").otherwise(ZERO),
            margin_released=pl.when(closes).then("margin_life").otherwise(ZERO),
            **{f"{balance}_opening": _opening(balance) for balance in _BALANCES},
            **{f"{balance}_closing": _closing(balance) for balance in _BALANCES},
        )
        .with_columns(
            **{f"{balance}_change": pl.col(f"{balance}_kept") - pl.col(f"{balance}_released") for balance in _BALANCES},
            account_base=_account("base", margin_is_base),
            account_quote=_account("quote", ~margin_is_base),
        )
        .select(*schema(LEDGER))
        .collect()
    )


_BALANCES = ("base", "quote", "margin")
_IS_OPENING = pl.col("kind") == "opening"


def _opening(balance: str) -> pl.Expr:
    before = pl.col(f"{balance}_life") - pl.col(f"{balance}_kept")
    return pl.when(pl.col("settlement_before") != 0).then(before).otherwise(ZERO)


def _closing(balance: str) -> pl.Expr:
    return pl.when(pl.col("settlement_after") != 0).then(f"{balance}_life").otherwise(ZERO)


def _account(leg: str, is_result: pl.Expr) -> pl.Expr:
    """What the account receives in the leg's currency: margin and result, or a part that reaches no position."""
    left_over = pl.when("is_leftover").then(f"{leg}_flow").otherwise(ZERO)
    return pl.when(is_result).then(left_over + pl.col("to_account")).otherwise(left_over)


def _insured(back: pl.Expr, policies: Policies) -> pl.Expr:
    """What a full liquidation leaves to the insurance fund: all but what the account gets.

    That is the amount that the record gives it, or else what the policy does; a lack is paid by the fund either way,
    for the loss is capped at the margin (rules.md 6 [S]).
    """
    left = pl.max_horizontal(back, ZERO) if policies.liquidation_residual == "account" else ZERO
    taken_over = pl.col("closes") & (pl.col("kind") == "liquidation")
    return pl.when(taken_over).then(back - pl.coalesce("amount", left)).otherwise(ZERO)


def _action() -> pl.Expr:
    names = pl.Enum(ACTIONS)
    action = pl.col("kind").cast(pl.String).cast(names, strict=False)
    action = pl.when("is_trade").then(pl.lit("reduce", names)).otherwise(action)
    for flag, name in (("increases", "increase"), ("opens", "open"), ("closes", "close"), ("is_leftover", "leftover")):
        action = pl.when(flag).then(pl.lit(name, names)).otherwise(action)
    return action


def _direction() -> pl.Expr:
    names = pl.Enum(DIRECTIONS)
    before, after = pl.col("settlement_before"), pl.col("settlement_after")
    standing = pl.when(before != 0).then(before).otherwise(after)
    direction = pl.when((standing > 0) != pl.col("margin_is_base")).then(pl.lit("long", names))
    return pl.when(standing != 0).then(direction.otherwise(pl.lit("short", names)))
