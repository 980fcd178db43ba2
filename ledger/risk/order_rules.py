"""What the rules say to an order: each sentence beside when it holds, as columns over the order checks (rules 5)."""

from collections.abc import Sequence

import polars as pl

from ledger.money import ZERO, in_digits
from ledger.risk.order_columns import ORDER_VERDICTS
from ledger.risk.policies import RiskPolicies

_VERDICT = pl.Enum(ORDER_VERDICTS)
_POSTS = pl.col("effect").is_in(["open", "increase", "reverse"])
_MULTI = pl.col("account_mode") == "multi_currency"


def _amount(name: str) -> pl.Expr:
    return in_digits(pl.col(name))


def _owed() -> pl.Expr:
    """The liability after the order, with its currency, as text."""
    long = pl.col("direction") == "long"
    amount = pl.when(long).then(-pl.col("quote_leg")).otherwise(-pl.col("base_leg"))
    currency = pl.when(long).then("quote_currency").otherwise("base_currency")
    return pl.format("{} {}", in_digits(pl.max_horizontal(amount, ZERO)), currency)


def _refusing() -> list[tuple[pl.Expr, pl.Expr]]:
    """When an order is refused, and why; all but what the engine refuses."""
    need, available = pl.col("need"), pl.col("available")
    leverage, maximum = pl.col("leverage"), pl.col("maximum_leverage")
    return [
        (
            leverage > maximum,
            pl.format(
                "Leverage {} is above {}, the largest of tier {}, in which a liability of {} falls.",
                *(_amount("leverage"), _amount("maximum_leverage"), "tier", _owed()),
            ),
        ),
        (
            pl.col("above_tiers"),
            pl.format("A liability of {} is beyond the last tier, {}.", _owed(), "tier"),
        ),
        (
            available < need,
            pl.format(
                "The available balance, {} {}, is below the initial margin, {} {}.",
                *(_amount("available"), "margin_currency", _amount("need"), "margin_currency"),
            ),
        ),
        (
            _MULTI & (pl.col("adjusted_equity") < pl.col("hold_equity")),
            pl.format(
                "The adjusted equity, {}, is below the equity held by pending orders, {}.",
                *(_amount("adjusted_equity"), _amount("hold_equity")),
            ),
        ),
    ]


def _missing() -> list[tuple[pl.Expr, pl.Expr]]:
    """What is missing to check an order that posts margin."""
    tier = pl.col("tier")
    return [
        (
            pl.col("available").is_null(),
            pl.format("Not known: the balance of {} in {}.", "account", "margin_currency"),
        ),
        (
            _MULTI & pl.any_horizontal(pl.col("adjusted_equity", "hold_equity").is_null()),
            pl.format("Not known: adjusted equity and hold equity of {}.", "account"),
        ),
        (tier.is_null(), pl.format("Not known: the tiers of {}.", "instrument")),
        (
            tier.is_not_null() & pl.col("maximum_leverage").is_null(),
            pl.format("Not known: the largest leverage of tier {}.", "tier"),
        ),
        (pl.col("leverage").is_null(), pl.lit("Not known: the leverage.")),
    ]


def _notes(policies: RiskPolicies) -> list[tuple[pl.Expr, pl.Expr]]:
    """What was taken for granted, or is worth knowing."""
    ratio = pl.col("margin_ratio")
    low = [(policies.alert_ratio, "an alert"), (policies.liquidation_ratio, "a liquidation")]
    alert, due = (
        (ratio <= limit, pl.format("Its margin ratio would be {}: " + what + " would be due.", _amount("margin_ratio")))
        for limit, what in low
    )
    return [
        (pl.col("fee_rate_taken"), pl.lit("Fee taken as zero.")),
        (
            pl.col("direction").is_not_null() & (pl.col("priced_at") == "order_price"),
            pl.lit("No mark price: valued at the order's price."),
        ),
        (pl.col("leaves_over"), pl.lit("What it trades beyond the close goes to the account.")),
        (alert[0] & ~due[0], alert[1]),
        due,
    ]


def judged(rows: pl.DataFrame, policies: RiskPolicies) -> pl.DataFrame:
    """The rows with `verdict`, `rule` (all that refuse; else all that is missing to check) and `note`.

    An order that only reduces needs nothing, and only the engine can refuse it. One that opens or increases needs its
    initial margin in the available balance, in a multi-currency account adjusted equity not below hold equity as well
    [O], and a leverage and a liability that the tier after it allows. What an order closes comes back too late to be
    available for what it opens. What the engine refuses stands in `engine_rules`.
    """
    refusing = [
        pl.col("engine_rules"),
        *(pl.when(_POSTS & when).then(says) for when, says in _refusing()),
    ]
    missing = [pl.when(_POSTS & when).then(says) for when, says in _missing()]
    notes = [pl.when(when).then(says) for when, says in _notes(policies)]
    told = rows.with_columns(
        refusing=_sentences(refusing), missing=_sentences(missing), note=_sentences(notes).replace("", None)
    )
    is_refused, lacks = pl.col("refusing") != "", pl.col("missing") != ""
    verdict = pl.when(is_refused).then(pl.lit("refused")).when(lacks).then(pl.lit("not_checked"))
    rule = pl.when(is_refused).then("refusing").when(lacks).then("missing")
    return told.with_columns(verdict=verdict.otherwise(pl.lit("accepted")).cast(_VERDICT), rule=rule)


def _sentences(parts: Sequence[pl.Expr]) -> pl.Expr:
    return pl.concat_str(parts, separator=" ", ignore_nulls=True)
