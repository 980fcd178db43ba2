"""The course of contract positions: what each event does, and the ledger of it (rules 7 and 8).

    events -> contracts before and after -> parts (a fill that turns a net position is split) -> balances -> ledger

Open questions, as they are decided here: margin of contracts that a fill closes is released in proportion [D], the
funding within it too, and PnL and fee of that fill go to the account; a partial liquidation releases nothing, its PnL
and fee are the margin's [D]; funding is a recorded event that moves the margin of the position (two real records [V];
policy `funding`), and while there is no position the account; an option that is bought is paid in full, of one that is
sold the margin is the recorded one (two real records [V]: no formula is known).
"""

import polars as pl

from ledger.columns import DIRECTIONS, schema
from ledger.derivatives.columns import DERIVATIVE_ACTIONS, DERIVATIVE_KINDS, DERIVATIVE_LEDGER
from ledger.money import MONEY, ZERO, divide, from_units, proportion, since, units
from ledger.risk.policies import RiskPolicies

_before, _after, _flow = pl.col("contracts_before"), pl.col("contracts_after"), pl.col("flow")
_kind, _is_trade = pl.col("kind"), pl.col("is_trade")
_PAYS_IN = _kind.is_in(("margin", "leverage"))
_ONE = pl.lit(1).cast(MONEY)


def with_positions(events: pl.DataFrame, contracts: pl.DataFrame) -> pl.DataFrame:
    """The events with their contract and their position beside them, sorted by position, in the order of the files.

    One row per event: `position` (account:instrument:side), `position_number`, and of the contract `contract_size`,
    `is_inverse`, `is_option`, `settle_currency`, which are empty where the contract is not known.
    """
    known = contracts.select(
        "instrument",
        "settle_currency",
        contract_size=pl.col("face_value") * pl.col("multiplier"),
        is_inverse=pl.col("instrument_class") == "inverse",
        is_option=pl.col("instrument_class") == "option",
    )
    named = events.with_columns(pl.col("position_side").fill_null("net")).with_columns(
        position=pl.concat_str("account", "instrument", "position_side", separator=":")
    )
    placed = named.join(known, on="instrument", how="left", maintain_order="left").sort("position", maintain_order=True)
    number = pl.col("position").ne_missing(pl.col("position").shift(1)).cast(pl.UInt32).cum_sum()
    return placed.with_columns(position_number=number - 1)


def parts_of(events: pl.DataFrame, policies: RiskPolicies | None = None) -> pl.DataFrame:
    """One row per part of an event, in order, with its contracts before and after and what it does.

    `events` comes from `with_positions`; within a position they are put in the order of time, file and row. The policy
    `funding` says whether funding moves the margin of an open position or the account.
    """
    in_margin = pl.lit((policies or RiskPolicies()).funding == "margin")
    signed = pl.when(pl.col("side") == "buy").then("quantity").otherwise(-pl.col("quantity"))
    size = pl.col("quantity") * pl.col("contract_size")
    path = (
        events.sort("position_number", "time", "input", "row", maintain_order=True)
        .with_row_index("step")
        .with_columns(
            pl.col("fee").fill_null(ZERO),
            is_trade=_kind.is_in(("fill", "liquidation")),
            flow=signed.fill_null(ZERO),
            value=pl.when("is_inverse").then(size / pl.col("price")).otherwise(size * pl.col("price")),
            is_first=pl.col("position_number").ne_missing(pl.col("position_number").shift(1)),
            part=pl.lit(1, pl.UInt8),
        )
        .with_columns(start=pl.when("is_first").then("step").forward_fill(), total=_flow.cum_sum())
        .with_columns(
            contracts_after=since("start", "flow", "total"), event_number=pl.col("step") - pl.col("start") + 1
        )
        .with_columns(contracts_before=_after - _flow)
    )
    judged = _judged(_split(path))
    funds_margin = in_margin & (_kind == "funding") & (_before != 0)
    return _with_margins(judged.with_columns(funds_margin=funds_margin.fill_null(value=False)))


def _split(path: pl.DataFrame) -> pl.DataFrame:
    """The path with each fill that turns a net position round in two: quantity, value and fee in proportion."""
    turns = (_kind == "fill") & (pl.col("position_side") == "net") & (_before * _after < 0)
    turns = turns & (_before.sign() * _after.sign() < 0)
    path = path.with_columns(turns=turns.fill_null(value=False))
    crossing = path.filter("turns")
    if crossing.is_empty():
        return path
    closed = crossing["contracts_before"].abs()
    first = crossing.with_columns(
        quantity=closed,
        contracts_after=ZERO,
        **{
            name: proportion(crossing[name].abs(), closed, crossing["quantity"]) * _sign_of(crossing[name])
            for name in ("value", "fee")
        },
    )
    rest = [(crossing[name] - first[name]).alias(name) for name in ("quantity", "value", "fee")]
    second = crossing.with_columns(*rest, contracts_before=ZERO, part=pl.lit(2, pl.UInt8))
    return pl.concat([path.filter(~pl.col("turns")), first, second]).sort("step", "part")


def _sign_of(amounts: pl.Series) -> pl.Series:
    return pl.select(pl.when(amounts < 0).then(-1).otherwise(1).cast(MONEY)).to_series()


def _judged(parts: pl.DataFrame) -> pl.DataFrame:
    """What each part does to the contracts of its position."""
    against = _is_trade & (_before != 0) & (_before.sign() != _flow.sign())
    return parts.with_columns(
        opens=_is_trade & (_before == 0),
        posts=_is_trade & ~against,
        closes=against & (_after == 0),
        reduces=against & (_after != 0),
    )


def _with_margins(parts: pl.DataFrame) -> pl.DataFrame:
    """Leverage in force, margin posted, the life of the position; then the balances that each part leaves."""
    first_part = pl.col("is_first") & (pl.col("part") == 1)
    stated = pl.when(first_part).then(pl.col("leverage").fill_null(ZERO)).otherwise("leverage").forward_fill()
    opened = pl.col("opens").cast(pl.UInt32).cum_sum()
    times = pl.when("is_option").then(pl.when(_after > 0).then(_ONE)).otherwise("leverage")
    known = parts.with_columns(
        leverage=pl.when(stated > 0).then(stated).otherwise(pl.when("is_option").then(_ONE)),
        episode=opened - pl.when(first_part).then(opened - pl.col("opens").cast(pl.UInt32)).forward_fill(),
    ).with_columns(margin_formula=pl.when("posts").then(pl.col("value") / times))
    recorded = pl.when(_kind == "fill").then("amount")
    known = known.with_columns(initial_margin=pl.when("posts").then(pl.coalesce(recorded, "margin_formula")))
    return known.hstack(_balances(known))


def _balances(parts: pl.DataFrame) -> pl.DataFrame:
    """Value at entry and margin after each part, and the value at entry it released.

    What is released in proportion is rounded, and the next part starts from the rounded figure: there is no closed
    form, so this walks row by row, in integer units.
    """
    liquidates = _kind == "liquidation"
    gain = pl.when((_before > 0) == pl.col("is_inverse").fill_null(value=False)).then(-1).otherwise(1)
    paid_in = pl.when(_PAYS_IN | pl.col("funds_margin")).then("amount").fill_null(ZERO)
    left = pl.when(liquidates).then("amount").fill_null(ZERO)
    rows = parts.select(
        ((pl.col("is_first") & (pl.col("part") == 1)) | pl.col("opens")).alias("begins"),
        pl.col("posts", "closes", "reduces"),
        liquidates,
        gain.alias("gain"),
        units(pl.col("value").fill_null(ZERO)),
        units(pl.col("initial_margin").fill_null(ZERO)),
        units(paid_in).alias("paid_in"),
        units(pl.col("fee") + left).alias("cost"),
        units(pl.col("quantity").fill_null(ZERO)),
        units(_before.abs()),
    )
    found = []
    entry = margin = 0
    for begins, posts, closes, reduces, liquidated, sign, value, posted, paid, cost, quantity, held in rows.iter_rows():
        released = 0
        if begins:
            entry, margin = 0, 0
        if posts:
            entry, margin = entry + value, margin + posted
        elif closes:
            entry, margin, released = 0, 0, entry
        elif reduces:
            released = divide(entry * quantity, held)
            freed = divide(margin * quantity, held)
            margin += sign * (value - released) - cost if liquidated else -freed
            entry -= released
        margin += paid
        found.append((entry, margin, released))
    names = ("entry_value", "margin", "entry_released")
    counts = pl.DataFrame(found, schema=dict.fromkeys(names, pl.Int128), orient="row")
    return counts.select(from_units(pl.col(name)).alias(name) for name in names)


def ledger_of(parts: pl.DataFrame) -> pl.DataFrame:
    """The ledger (columns DERIVATIVE_LEDGER): one row per event part.

    Closings come from the walk over the balances, changes and the account from the flows of the event: that
    opening + change = closing, and that the postings balance, is a proof.
    """
    closed = pl.col("closes") | pl.col("reduces")
    same = pl.col("position_number") == pl.col("position_number").shift(1)
    gain = pl.when((_before > 0) == pl.col("is_inverse")).then(-1).otherwise(1).cast(MONEY)
    liquidated = closed & (_kind == "liquidation")
    known = parts.with_columns(
        **{f"{name}_opening": pl.when(same).then(pl.col(name).shift(1)).otherwise(ZERO) for name in _WALKED},
        realised_pnl=pl.when(closed).then((pl.col("value") - pl.col("entry_released")) * gain),
        funding=pl.when(_kind == "funding").then("amount"),
        to_account=pl.when(liquidated).then(pl.col("amount").fill_null(ZERO)),
        paid_in=pl.when(_PAYS_IN).then(pl.col("amount").fill_null(ZERO)).otherwise(ZERO),
        funded=pl.when("funds_margin").then("amount").otherwise(ZERO),
    )
    result = pl.col("realised_pnl").fill_null(ZERO) - pl.col("fee")
    in_part = liquidated & pl.col("reduces")
    released = pl.when(closed & ~in_part).then(pl.col("margin_opening") - pl.col("margin")).otherwise(ZERO)
    kept = pl.when(in_part).then(result - pl.col("to_account")).otherwise(ZERO)
    taken_over = liquidated & pl.col("closes")
    insured = pl.when(taken_over).then(released + result - pl.col("to_account")).otherwise(ZERO)
    posted = pl.col("initial_margin").fill_null(ZERO) + pl.col("paid_in")
    by_flows = released - posted + result + pl.col("funding").fill_null(ZERO) - pl.col("funded")
    return known.with_columns(
        action=_action(),
        direction=_direction(),
        entry_price=_entry_price(),
        contracts_opening=_before,
        contracts_change=pl.when(pl.col("side") == "buy")
        .then("quantity")
        .otherwise(-pl.col("quantity"))
        .fill_null(ZERO),
        contracts_closing=_after,
        entry_value_change=pl.when("posts").then("value").otherwise(-pl.col("entry_released")),
        entry_value_closing="entry_value",
        margin_change=posted - released + kept + pl.col("funded"),
        margin_closing="margin",
        account_change=pl.when(liquidated).then("to_account").otherwise(by_flows),
        insurance_fund=insured,
        fee=pl.when("is_trade").then("fee"),
    ).select(*schema(DERIVATIVE_LEDGER))


_WALKED = ("entry_value", "margin")


def _entry_price() -> pl.Expr:
    """As `measures.entry_price`, for a ledger row; of a part that closes the position, the one before it."""
    entry = pl.when("closes").then("entry_value_opening").otherwise("entry_value")
    size = pl.when("closes").then(_before).otherwise(_after).abs() * pl.col("contract_size")
    linear = entry / pl.when(size > 0).then(size)
    return pl.when("is_inverse").then(size / pl.when(entry > 0).then(entry)).otherwise(linear)


def _action() -> pl.Expr:
    names = pl.Enum(DERIVATIVE_ACTIONS)
    action = pl.col("kind").cast(pl.Enum(DERIVATIVE_KINDS)).cast(pl.String).cast(names, strict=False)
    action = pl.when("posts").then(pl.lit("increase", names)).otherwise(action)
    for flag, name in (("reduces", "reduce"), ("opens", "open"), ("closes", "close")):
        action = pl.when(flag).then(pl.lit(name, names)).otherwise(action)
    return action


def _direction() -> pl.Expr:
    names = pl.Enum(DIRECTIONS)
    standing = pl.when(_before != 0).then(_before).otherwise(_after)
    long = pl.when(standing > 0).then(pl.lit("long", names)).otherwise(pl.lit("short", names))
    return pl.when(standing != 0).then(long)
