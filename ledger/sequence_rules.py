"""What only the course of a position can show to be wrong: refusals that need the balances before the event."""

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from ledger.money import ZERO
from ledger.policies import Policies
from ledger.refusals import REFUSAL_SCHEMA


@dataclass(frozen=True)
class SequenceRule:
    """A sentence that must hold for every event; `broken` is true where it does not."""

    column: str
    rule: str
    remedy: str
    broken: pl.Expr


def _is(*kinds: str) -> pl.Expr:
    return pl.col("kind").is_in(kinds)


def _event_posts() -> pl.Expr:
    """True on the first part of an event of which any part, of at most three, opens or increases."""
    later = (pl.col("posts").shift(-n) & (pl.col("step").shift(-n) == pl.col("step")) for n in (1, 2))
    return pl.any_horizontal(pl.col("posts"), *(part.fill_null(value=False) for part in later))


_FLAT = pl.col("settlement_before") == 0
_LONG = (pl.col("settlement_before") > 0) != pl.col("margin_is_base")
_SIGN_OF_SIDE = pl.when(pl.col("buys") != pl.col("margin_is_base")).then(1).otherwise(-1)
_GROSS = (
    pl.when("margin_is_base")
    .then(pl.when("buys").then(-pl.col("value")).otherwise("value"))
    .otherwise(pl.when("buys").then("quantity").otherwise(-pl.col("quantity")))
)
_NET = pl.when("margin_is_base").then("quote_flow").otherwise("base_flow")

_RULES = (
    SequenceRule(
        "reduce_only",
        "A reduce-only fill needs an open position to reduce.",
        "Include the fills that opened the position, or clear reduce_only.",
        _is("fill") & pl.col("never_opens") & _FLAT & ~pl.col("is_leftover"),
    ),
    SequenceRule(
        "kind",
        "A liquidation needs an open position.",
        "Include the fills that opened the position.",
        _is("liquidation") & _FLAT & ~pl.col("is_leftover"),
    ),
    SequenceRule(
        "kind",
        "An opening balance starts a position; there is one already.",
        "Remove it, or the events before it.",
        _is("opening") & ~_FLAT & (pl.col("part") == 1),
    ),
    SequenceRule(
        "kind",
        "An opening balance has something to settle: its leg that is not in the margin currency has the side's sign.",
        "Give both legs as the exchange states them, or leave the row out.",
        _is("opening") & _FLAT & (pl.col("settlement_after").sign() != _SIGN_OF_SIDE),
    ),
    SequenceRule(
        "amount",
        "An adjustment changes an open position's balances; it cannot close or turn it.",
        "Post the fill that does, with a reason.",
        _is("adjustment") & ~_FLAT & (pl.col("settlement_before").sign() != pl.col("settlement_after").sign()),
    ),
    SequenceRule(
        "side",
        "A reduce-only fill or a liquidation must go against the position.",
        "Turn the side round, or clear reduce_only if the fill increased the position.",
        pl.col("increases") & pl.col("never_opens"),
    ),
    SequenceRule(
        "kind",
        "Interest, margin and adjustments belong to an open position.",
        "Include the fills that opened the position (at the same time, the order of the files decides), or remove it.",
        _is("interest", "margin", "adjustment") & _FLAT,
    ),
    SequenceRule(
        "amount",
        "A leverage change moves margin only while the position is open.",
        "Leave amount empty, or include the fills that opened the position.",
        _is("leverage") & _FLAT & (pl.col("amount").fill_null(ZERO) != 0),
    ),
    SequenceRule(
        "currency",
        "Interest is charged in the currency of the liability: quote for a long, base for a short.",
        "Give the currency the position owes, or the account, instrument and margin currency the interest belongs to.",
        _is("interest") & ~_FLAT & (pl.col("amount_in_base") == _LONG),
    ),
    SequenceRule(
        "amount",
        "The margin of a position cannot fall below zero.",
        "Check the sign and the size of the amount, and that earlier margin events are included.",
        _is("margin", "leverage") & (pl.col("margin_life") < 0) & ~_FLAT,
    ),
    SequenceRule(
        "leverage",
        "A fill that opens or increases a position needs a leverage or its recorded initial margin.",
        "Give leverage on this or an earlier event of the position, or amount on this fill.",
        pl.col("posts") & pl.col("initial_margin").is_null() & ~pl.col("never_opens"),
    ),
    SequenceRule(
        "amount",
        "Only a fill that opens or increases a position posts initial margin.",
        "Leave amount empty on fills that reduce or close.",
        _is("fill") & (pl.col("part") == 1) & ~_event_posts() & (pl.col("amount").fill_null(ZERO) != 0),
    ),
    SequenceRule(
        "mode",
        "The mode cannot change while the position is open.",
        "Give all events of one life of the position the same mode.",
        ~_FLAT & (pl.col("part") == 1) & (pl.col("mode") != pl.col("mode").shift(1)) & ~pl.col("is_first"),
    ),
    SequenceRule(
        "fee",
        "A fee is smaller than what the fill receives.",
        "Check fee and fee_currency.",
        _is("fill", "liquidation")
        & (pl.col("part") == 1)
        & ~pl.col("is_split")
        & ((_NET == 0) | ((_NET < 0) != (_GROSS < 0))),
    ),
)
_BACKWARDS = SequenceRule(
    "time",
    "The time of a position goes backwards in the file.",
    "Sort the file by time, or run with --policy time_order=sort.",
    (pl.col("position_number") == pl.col("position_number").shift(1))
    & (pl.col("input") == pl.col("input").shift(1))
    & (pl.col("time") < pl.col("time").shift(1)),
)


_REPEATED = SequenceRule(
    "event_id",
    "An event_id stands once in all input.",
    "Remove the repeated event, or give different events different identifiers.",
    ~pl.col("event_id").is_first_distinct(),
)


def sequence_refusals(parts: pl.DataFrame, files: Mapping[int, str]) -> pl.DataFrame:
    """The refusals (REFUSAL_SCHEMA) that the replayed `parts` show; empty when there are none.

    `files` names the input files by number.
    """
    return _refusals(parts, _RULES, files)


def order_refusals(events: pl.DataFrame, files: Mapping[int, str], policies: Policies) -> pl.DataFrame:
    """The refusals for events whose time goes backwards within a position and a file.

    `events` comes from `ordering.with_positions`, which keeps the order of the files.
    """
    if policies.time_order == "sort":
        return REFUSAL_SCHEMA.to_frame()
    return _refusals(events, (_BACKWARDS,), files)


def repeated_refusals(events: pl.DataFrame, files: Mapping[int, str]) -> pl.DataFrame:
    """The refusals for every event whose identifier an earlier row, in the order of the files, has already."""
    if events["event_id"].n_unique() == events.height:
        return REFUSAL_SCHEMA.to_frame()
    return _refusals(events, (_REPEATED,), files)


def _refusals(rows: pl.DataFrame, rules: tuple[SequenceRule, ...], files: Mapping[int, str]) -> pl.DataFrame:
    broken = rows.select(rule.broken.fill_null(value=False).alias(str(number)) for number, rule in enumerate(rules))
    counts = broken.sum().row(0)
    found = [
        rows.filter(broken.to_series(number)).select(
            file=pl.col("input").replace_strict(dict(files), default="events", return_dtype=pl.String),
            row="row",
            column=pl.lit(rule.column),
            value=_value_of(rule.column),
            rule=pl.lit(rule.rule),
            remedy=pl.lit(rule.remedy),
        )
        for number, (rule, count) in enumerate(zip(rules, counts, strict=True))
        if count
    ]
    return pl.concat([REFUSAL_SCHEMA.to_frame(), *found])


def _value_of(column: str) -> pl.Expr:
    if column == "currency":
        return pl.when("amount_in_base").then(pl.lit("base currency")).otherwise(pl.lit("quote currency"))
    if column == "reduce_only":
        return pl.lit("true")
    return pl.col(column).cast(pl.String)


def broken_courses(parts: pl.DataFrame) -> pl.Series:
    """Numbers of the positions of which an event breaks one of the rules, in any order."""
    broken = pl.any_horizontal(rule.broken.fill_null(value=False) for rule in _RULES)
    return parts.with_columns(is_broken=broken).filter("is_broken")["position_number"].unique()
