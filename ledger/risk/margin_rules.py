"""What the rules say to a change of margin or leverage that is recorded (rules 5)."""

from dataclasses import dataclass

import polars as pl

from ledger.money import MONEY, in_digits
from ledger.risk.columns import CHANGE_VERDICTS
from ledger.risk.lines import with_lines
from ledger.risk.liquidation import is_due
from ledger.risk.policies import RiskPolicies

_VERDICT = pl.Enum(CHANGE_VERDICTS)
_CHANGE, _AMOUNT = pl.col("change"), pl.col("amount")
_IS_POSTED = _CHANGE == "posted"
_IS_BROUGHT_FORWARD = pl.col("kind") == "opening"
_LEVERAGE, _MAXIMUM = pl.col("leverage_after"), pl.col("maximum_leverage")
_NONE = pl.lit(None, pl.String)
_TAKES_OUT = ~_IS_POSTED & (_AMOUNT < 0)
_OWN_LEG = pl.when(pl.col("margin_is_base") == 1).then("base_closing").otherwise("quote_closing").abs()
"""The leg in margin currency: what the initial margin is a share of."""


@dataclass(frozen=True)
class _Rule:
    """Whether a change is asked; what it then lacks to be judged, as text; and what refuses it. Empty: nothing."""

    asked: pl.Expr
    lacks: pl.Expr
    refuses: pl.Expr


def verdicts(changes: pl.DataFrame, policies: RiskPolicies) -> pl.DataFrame:
    """The changes with `verdict` and `rule` (rules 5 [S]), of which each is asked what concerns it.

    - Margin posted by a fill, and a leverage that rises or had not been stated: it is at most the maximum leverage of
      the tier of the liability after the change, and there is a tier for that.
    - Margin added, whether by hand or by a lower leverage: the account has it available. Where a lower leverage is
      recorded without an amount, that is the leg in margin currency over the leverage, less the margin [D]. The balance
      counts as it is stated, whatever the account has spent since.
    - Margin taken out, whether by hand or by a higher leverage: the margin ratio after it is above the policy's
      `liquidation_ratio`, compared exactly. Where nothing is required there is no ratio to keep.

    One that is refused by any of these is `refused`; else one for which something is lacking is `not_checked`.
    `changes` has the columns of the log, and those that `margin_changes` adds to it on the way.
    """
    changes = _with_dues(changes, policies)
    rules = (_of_tier(), _of_balance(), _of_ratio(policies), _of_brought_forward())
    refused, lacking = (
        pl.concat_str([pl.when(rule.asked).then(text) for rule, text in texts], separator="; ", ignore_nulls=True)
        for texts in ([(rule, rule.refuses) for rule in rules], [(rule, rule.lacks) for rule in rules])
    )
    told = changes.with_columns(refused=refused, lacking=lacking)
    is_refused, is_lacking = pl.col("refused") != "", pl.col("lacking") != ""
    allowed, no, not_checked = (pl.lit(verdict, _VERDICT) for verdict in CHANGE_VERDICTS)
    return told.with_columns(
        verdict=pl.when(is_refused).then(no).when(is_lacking).then(not_checked).otherwise(allowed),
        rule=pl.when(is_refused).then("refused").when(is_lacking).then("lacking"),
    )


def _of_tier() -> _Rule:
    is_new = _CHANGE.is_in(["leverage_lowered", "leverage_kept"]) & pl.col("leverage_before").is_null()
    owed = pl.when(pl.col("is_long") == 1).then("quote_loan").otherwise("base_loan")
    currency = pl.when(pl.col("is_long") == 1).then("quote_currency").otherwise("base_currency")
    liability = pl.format("a liability of {} {}", in_digits(owed), currency)
    return _Rule(
        (_IS_POSTED & ~_IS_BROUGHT_FORWARD) | (_CHANGE == "leverage_raised") | is_new,
        pl.when(pl.col("tier").is_null())
        .then(pl.lit("no tier of the liability is known"))
        .when(_LEVERAGE.is_null())
        .then(pl.lit("no leverage is stated"))
        .when(_MAXIMUM.is_null())
        .then(pl.format("tier {} states no maximum leverage", "tier")),
        pl.when("above_tiers")
        .then(pl.format("{} is above the last tier, {}", liability, "tier"))
        .when(_LEVERAGE > _MAXIMUM)
        .then(
            pl.format(
                "leverage {} is above {}, the maximum of tier {}, for {}",
                in_digits(_LEVERAGE),
                in_digits(_MAXIMUM),
                "tier",
                liability,
            )
        ),
    )


def _of_balance() -> _Rule:
    available = pl.col("available")
    is_lowered = (_CHANGE == "leverage_lowered") & (_AMOUNT == 0)
    needed = pl.when(is_lowered).then(_OWN_LEG / _LEVERAGE - pl.col("margin_before")).otherwise(_AMOUNT)
    return _Rule(
        ~_IS_POSTED & (needed > 0),
        pl.when(available.is_null()).then(pl.lit("no available balance of the account is known")),
        pl.when(available < needed).then(
            pl.format(
                "{} {} is needed, and {} is available", in_digits(needed), "margin_currency", in_digits(available)
            )
        ),
    )


def _of_ratio(policies: RiskPolicies) -> _Rule:
    ratio, limit = pl.col("margin_ratio_after"), pl.lit(policies.liquidation_ratio, MONEY)
    return _Rule(
        _TAKES_OUT,
        pl.when(pl.col("mark_price").is_null())
        .then(pl.lit("no mark price is known"))
        .when(pl.col("maintenance_rate").is_null())
        .then(pl.lit("no maintenance rate is known")),
        pl.when("is_due").then(
            pl.format("the margin ratio would be {}, not above {}", in_digits(ratio), in_digits(limit))
        ),
    )


def _with_dues(changes: pl.DataFrame, policies: RiskPolicies) -> pl.DataFrame:
    """The changes with `is_due`: that a position would be liquidated after margin is taken out of it."""
    asked = changes.with_row_index("place").filter(_TAKES_OUT).drop_nulls(["mark_price", "maintenance_rate"])
    after = {"base_closing": "base_owed", "quote_closing": "quote_owed", "margin_after": "margin"}
    lines = with_lines(asked.select("mark_price", "margin_is_base", "requirement_rate", *after).rename(after))
    due = asked.select("place", is_due=is_due(lines, policies))
    placed = changes.with_row_index("place").join(due, on="place", how="left", maintain_order="left")
    return placed.drop("place")


def _of_brought_forward() -> _Rule:
    return _Rule(_IS_BROUGHT_FORWARD, pl.lit("it was posted before the ledger begins"), _NONE)
