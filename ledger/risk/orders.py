"""Open checks: may an order be placed, what does it need, and how does the position stand after it (rules 1, 2, 5)."""

from collections.abc import Mapping

import polars as pl

from ledger.columns import DISPLAY, FLAG, MARKS, MEASURES, schema
from ledger.money import MONEY, ZERO
from ledger.policies import Policies
from ledger.positions import measured
from ledger.reading import EVENTS_SCHEMA
from ledger.refusals import LedgerError
from ledger.risk import order_measures
from ledger.risk.columns import BALANCES
from ledger.risk.margin_changes import in_force
from ledger.risk.order_columns import EFFECTS, ORDER_CHECKS, PRICES
from ledger.risk.order_replay import (
    EARLIER_FILL,
    LATEST,
    copies,
    fills_of,
    replayed,
    replayed_apart,
    slices,
    standing_events,
    state_at,
)
from ledger.risk.order_rules import judged
from ledger.risk.orders_file import completed, refuse_broken
from ledger.risk.policies import RiskPolicies
from ledger.risk.rates import with_rates
from ledger.risk.tiers import TIER_COLUMNS, tier_of

_EFFECT, _PRICED = pl.Enum(EFFECTS), pl.Enum(PRICES)
_CHECKS = schema(ORDER_CHECKS)
_COMPUTED = tuple(column for column in (*DISPLAY, *MEASURES) if column.name in _CHECKS)
_FLOWS = ("account_base", "account_quote")
_SUMS = ("value", "fee", *_FLOWS)
_TIER = ("tier", "maximum_leverage", "above_tiers")


def check_orders(
    orders: pl.DataFrame,
    tiers: pl.DataFrame | None = None,
    balances: pl.DataFrame | None = None,
    marks: pl.DataFrame | None = None,
    policies: RiskPolicies | None = None,
    replay_policies: Policies | None = None,
    events: pl.DataFrame | None = None,
    *,
    in_sequence: bool = False,
    files: Mapping[int, str] | None = None,
) -> pl.DataFrame:
    """One row per order, in order (columns ORDER_CHECKS), each judged as if it were filled whole at its price.

    `orders` has the columns ORDERS; `tiers` TIERS, `balances` BALANCES, `marks` MARKS, of each of which the last row up
    to the order's time is in force; `events` has EVENTS, those up to the order's time count (`files` names their
    inputs by number). The position after is that of the engine. What cannot be checked is told, not guessed.

    Each order is judged by itself: no other one takes of the balance or moves its position. `in_sequence`, which takes
    orders of one moment, has every accepted one filled before the next is looked at, and the account's balances moved
    by it; the equities of a multi-currency account, in a currency of their own, stay as they are stated.

    Raises BadInput for orders and events that break a rule of a row, and events that break one of their course.
    """
    policies, replay_policies = policies or RiskPolicies(), replay_policies or Policies()
    orders = completed(orders)
    refuse_broken(orders, "orders")
    if in_sequence and orders["time"].n_unique() > 1:
        raise LedgerError("orders: in sequence they stand at one moment; leave time empty, or give all the same")
    known = EVENTS_SCHEMA.to_frame() if events is None else events
    standing = standing_events(*replayed(known, replay_policies, files)[:2])
    asked = _placed(orders, standing)
    asked = _known(asked, balances, marks)
    if asked.is_empty():
        return _CHECKS.to_frame()
    checks = _checked(asked, None, standing, tiers, policies, replay_policies)
    while in_sequence:  # each turn mends at least the first wrong guess of which orders are filled before
        again = _checked(asked, checks, standing, tiers, policies, replay_policies)
        if again.equals(checks):
            break
        checks = again
    return checks.select(*_CHECKS)


def _placed(orders: pl.DataFrame, standing: pl.DataFrame) -> pl.DataFrame:
    """The orders with their `number`, their `moment`, and what their position has at it where they do not say."""
    moment = pl.col("time").fill_null(pl.lit(LATEST))
    numbered = orders.with_row_index("number", offset=1).with_columns(moment=moment)
    legs = pl.col("instrument").str.splitn("-", 2).struct
    fee_rate = pl.col("fee_rate")
    known = state_at(numbered, standing).with_columns(
        stated_mode="mode",
        mode=pl.coalesce("mode", "mode_in_force", pl.lit("new", orders.schema["mode"])),
        leverage=pl.coalesce("leverage", "leverage_in_force"),
        base_currency=legs.field("field_0"),
        quote_currency=legs.field("field_1"),
        fee_rate_taken=fee_rate.is_null(),
        fee_rate=fee_rate.fill_null(ZERO),
    )
    is_buy = (pl.col("side") == "buy").cast(FLAG)
    value = order_measures.order_value(pl.col("quantity"), pl.col("price"))
    fee = order_measures.order_fee(pl.col("quantity"), value, is_buy, pl.col("fee_rate"))
    return known.with_columns(fee=fee.cast(MONEY))


def _known(asked: pl.DataFrame, balances: pl.DataFrame | None, marks: pl.DataFrame | None) -> pl.DataFrame:
    """The orders with the balances of their account and the mark of their instrument at their moment."""
    stated = asked["time"]
    rows = asked.with_columns(time="moment")
    rows = in_force(rows, marks, MARKS, ("instrument",))
    rows = in_force(rows.with_columns(currency="margin_currency"), balances, BALANCES, ("account", "currency"))
    modes = schema(BALANCES)["account_mode"]
    multi = pl.col("adjusted_equity").is_not_null() | pl.col("hold_equity").is_not_null()
    mode = pl.when(multi).then(pl.lit("multi_currency", modes)).otherwise(pl.lit("single_currency", modes))
    return rows.with_columns(
        time=stated,
        account_mode=pl.when(pl.col("available").is_not_null()).then(mode),
        priced_at=pl.when(pl.col("mark_price").is_null())
        .then(pl.lit("order_price", _PRICED))
        .otherwise(pl.lit("mark", _PRICED)),
        mark_price=pl.coalesce("mark_price", "price"),
    )


def _checked(
    asked: pl.DataFrame,
    guess: pl.DataFrame | None,
    standing: pl.DataFrame,
    tiers: pl.DataFrame | None,
    policies: RiskPolicies,
    replay_policies: Policies,
) -> pl.DataFrame:
    """The checks of all orders, where those that a `guess` accepts are filled before the ones that follow them."""
    earlier = None if guess is None else _earlier(asked, guess)
    asked = asked if earlier is None else _in_mode_of(earlier, asked)
    ledger, refusals = _filled(asked, earlier, standing, replay_policies)
    asked = asked if earlier is None else _paid_before(earlier, asked)
    after = _after(asked.drop("fee"), ledger, refusals)
    rated = with_rates(after.with_columns(time="moment"), tiers, policies).with_columns(time=after["time"])
    limited = rated.drop("tier").hstack(_limits(after, tiers))
    is_open = pl.col("direction").is_not_null()
    limited = limited.with_columns(pl.when(is_open).then(name).alias(name) for name in (*_TIER, "priced_at"))
    rates = ("mark_price", "maintenance_rate", "liquidation_fee_rate")
    limited = limited.with_columns(pl.when(is_open).then(name).alias(name) for name in rates)
    valued = measured(limited, _COMPUTED)
    return judged(valued, policies)


def _filled(
    asked: pl.DataFrame, earlier: pl.DataFrame | None, standing: pl.DataFrame, policies: Policies
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The ledger rows of the orders as fills, and what the engine refuses of them; some orders at a time."""
    fills, found = fills_of(asked, standing), []
    for piece in slices(asked, standing):
        own = piece.select("number", row=pl.col("number").cast(pl.UInt32))
        events = [copies(piece, standing), fills.join(own, on="row", how="semi", maintain_order="left")]
        if earlier is not None:
            before = earlier.join(own, on="number", how="semi", maintain_order="left")
            events.insert(1, _fills_before(before, fills))
        found.append(replayed_apart(pl.concat(events), policies))
    return pl.concat(ledger for ledger, _ in found), pl.concat(refusals for _, refusals in found)


def _after(asked: pl.DataFrame, ledger: pl.DataFrame, refusals: pl.DataFrame) -> pl.DataFrame:
    """The orders with what the engine makes of them: effect, need, flows of the account, balances of the position.

    Where the engine refuses an order all of that is empty, and `engine_rules` says why.
    """
    said = refusals.group_by("row", maintain_order=True).agg(engine_rules=pl.col("rule").unique(maintain_order=True))
    said = said.with_columns(pl.col("engine_rules").list.join(" "))
    actions = pl.col("action").cast(pl.String)
    opens, closes = (actions == "open").any(), (actions == "close").any()
    effect = (
        pl.when(opens & closes).then(pl.lit("reverse")).when(closes).then(pl.lit("close")).otherwise(actions.first())
    )
    stands = actions.last().is_in(["open", "increase", "reduce"])
    filled = (
        ledger.group_by("row", maintain_order=True)
        .agg(
            effect=effect,
            leaves_over=(actions == "leftover").any(),
            need=pl.col("initial_margin").fill_null(ZERO).sum(),
            leverage_then=pl.col("leverage").last(),
            realised_pnl=pl.col("realised_pnl").drop_nulls().first(),
            direction=pl.when(stands).then(pl.col("direction").last()),
            entry_price=pl.when(stands).then(pl.col("entry_price").last()),
            base_leg=pl.col("base_closing").last(),
            quote_leg=pl.col("quote_closing").last(),
            margin=pl.col("margin_closing").last(),
            **{name: pl.col(name).fill_null(ZERO).sum() for name in _SUMS},
        )
        .join(said, on="row", how="anti")
    )
    found = asked.join(filled, left_on="number", right_on="row", how="left", maintain_order="left")
    found = found.join(said, left_on="number", right_on="row", how="left", maintain_order="left")
    is_open = pl.col("direction").is_not_null()
    return found.with_columns(
        effect=pl.col("effect").cast(_EFFECT),
        leverage=pl.coalesce("leverage", "leverage_then"),
        fee_currency=pl.when(pl.col("side") == "buy").then("base_currency").otherwise("quote_currency"),
        is_long=pl.when(is_open).then((pl.col("direction") == "long").cast(FLAG)),
        margin_is_base=pl.when(is_open).then((pl.col("margin_currency") == pl.col("base_currency")).cast(FLAG)),
        base_interest=pl.when(is_open).then(ZERO),
        quote_interest=pl.when(is_open).then(ZERO),
    )


def _limits(after: pl.DataFrame, tiers: pl.DataFrame | None) -> pl.DataFrame:
    """The tier of each order's liability after it, its largest leverage, and whether the liability is beyond all.

    A tier that states no largest leverage has the one of its smallest initial margin rate.
    """
    owed = {f"{leg}_loan": pl.max_horizontal(-pl.col(f"{leg}_leg"), ZERO).fill_null(ZERO) for leg in ("base", "quote")}
    loans = after.select("instrument", time="moment", **owed)
    found = TIER_COLUMNS.to_frame().clear(after.height) if tiers is None else tier_of(loans, tiers)
    rate = pl.col("tier_minimum_initial_rate")
    by_rate = pl.lit(1).cast(MONEY) / pl.when(rate > 0).then(rate)
    return found.select("tier", "above_tiers", maximum_leverage=pl.coalesce("tier_maximum_leverage", by_rate))


# --- in sequence ------------------------------------------------------------------------------------------------


def _earlier(asked: pl.DataFrame, guess: pl.DataFrame) -> pl.DataFrame:
    """One row per order and accepted order before it: both numbers, whose they are, what the earlier one moved."""
    whose = asked.select("number", "account", "instrument", "margin_currency")
    names = (
        "number",
        "account",
        "instrument",
        "margin_currency",
        "base_currency",
        "quote_currency",
        "mode",
        "direction",
    )
    known = guess.filter(pl.col("verdict") == "accepted")
    accepted = known.select(pl.col(*names, *_FLOWS).name.prefix("earlier_"))
    both = whose.join_where(accepted, pl.col("account") == pl.col("earlier_account"))
    return both.filter(pl.col("earlier_number") < pl.col("number")).sort("number", "earlier_number")


def _of_position(earlier: pl.DataFrame) -> pl.DataFrame:
    """Those rows of `_earlier` that are of the same position."""
    return earlier.filter(pl.col(name) == pl.col(f"earlier_{name}") for name in ("instrument", "margin_currency"))


def _in_mode_of(earlier: pl.DataFrame, asked: pl.DataFrame) -> pl.DataFrame:
    """The orders, those that state no mode in that of the position as the last order before them leaves it."""
    stands = pl.col("earlier_direction").last().is_not_null()
    mode = pl.when(stands).then(pl.col("earlier_mode").last()).otherwise(pl.lit("new", asked.schema["mode"]))
    left = _of_position(earlier).group_by("number", maintain_order=True).agg(mode_left=mode)
    known = asked.join(left, on="number", how="left", maintain_order="left")
    return known.with_columns(mode=pl.coalesce("stated_mode", "mode_left", "mode")).drop("mode_left")


def _fills_before(earlier: pl.DataFrame, fills: pl.DataFrame) -> pl.DataFrame:
    """The fills of accepted orders of the same position, under the number of each order that follows them."""
    wanted = _of_position(earlier).select("number", row=pl.col("earlier_number").cast(pl.UInt32))
    found = wanted.join(fills, on="row", how="left", maintain_order="left")
    account, place = pl.col("number").cast(pl.String), pl.lit(EARLIER_FILL, pl.UInt16)
    return found.with_columns(account=account, input=place).select(fills.columns)


def _paid_before(earlier: pl.DataFrame, asked: pl.DataFrame) -> pl.DataFrame:
    """The orders with what those accepted before them moved in the currency of their margin taken into `available`."""
    currency = pl.col("margin_currency")
    flow = (
        pl.when(currency == pl.col("earlier_base_currency"))
        .then("earlier_account_base")
        .when(currency == pl.col("earlier_quote_currency"))
        .then("earlier_account_quote")
    )
    moved = earlier.group_by("number").agg(moved=flow.otherwise(ZERO).sum())
    known = asked.join(moved, on="number", how="left", maintain_order="left")
    available = pl.col("available") + pl.col("moved").fill_null(ZERO)
    return known.with_columns(available=available).drop("moved")
