"""What was charged beside what was due: charge by charge, each difference with the part that earlier ones carry."""

from dataclasses import dataclass

import polars as pl

from ledger.columns import schema
from ledger.interest.causes import cause_of_charge, summed
from ledger.interest.columns import EARLY, INTEREST, LATE
from ledger.interest.dues import charge_if, with_charges
from ledger.interest.policy import InterestPolicy
from ledger.interest.rates import Rates
from ledger.money import MONEY, ZERO


def with_recorded(due: pl.DataFrame, booked: pl.DataFrame, policy: InterestPolicy) -> pl.DataFrame:
    """The charges due with what the exchange charged, and what was owed by its own charges so far.

    `due` comes from `dues.dues`; `booked` has the exchange's rows (ROWS_SCHEMA) with `due`, the row of the charge that
    each is for, in the order they were booked. A charge has the first of its rows: `charged`, `stated_liability`,
    `stated_rate`, `booked`, `row_id`, `input`, `source_row`; `recorded` is the sum of all of them. `recorded_liability`
    is what the charge should be on after the charges before; `other_liability` is that under the other way to count,
    simple where the policy compounds.
    """
    first = booked.unique("due", keep="first", maintain_order=True).select(
        "due",
        charged="interest",
        stated_liability="liability",
        stated_rate="rate",
        stated_unit="unit",
        booked="time",
        row_id="row_id",
        input="input",
        source_row="row",
    )
    sums = booked.group_by("due").agg(recorded=pl.col("interest").sum())
    found = (
        due.with_row_index("due")
        .join(first, on="due", how="left", maintain_order="left")
        .join(sums, on="due", how="left", maintain_order="left")
        .with_columns(pl.col("recorded").fill_null(ZERO))
    )
    return with_recorded_liability(found, policy)


def with_recorded_liability(due: pl.DataFrame, policy: InterestPolicy) -> pl.DataFrame:
    """`recorded_liability` and `other_liability` from `level`, `repaid_so_far` and `recorded`."""
    is_first = pl.col("loan").is_first_distinct()
    repaid = pl.col("repaid_so_far") - pl.when(is_first).then("repaid_so_far").otherwise(
        pl.col("repaid_so_far").shift(1)
    )
    earlier = pl.when(is_first).then(ZERO).otherwise(pl.col("recorded").shift(1))
    net = earlier - repaid
    found = (
        due.with_columns(before=_since_first(earlier, is_first), net=_since_first(net, is_first))
        .with_columns(owed=pl.max_horizontal(pl.col("level") + pl.col("before"), ZERO))
        .with_columns(unpaid=pl.col("net") - pl.min_horizontal(pl.col("net").cum_min().over("loan"), ZERO))
        .with_columns(principal=pl.max_horizontal(pl.col("owed") - pl.col("unpaid"), ZERO))
    )
    own, other = ("owed", "principal") if policy.compounding else ("principal", "owed")
    return found.with_columns(
        recorded_liability=pl.coalesce("fixed", own), other_liability=pl.coalesce("fixed", other)
    ).drop("before", "net", "owed", "unpaid", "principal")


def _since_first(amount: pl.Expr, is_first: pl.Expr) -> pl.Expr:
    """The sum since the first charge of the loan, that one included."""
    total = amount.cum_sum()
    return total - pl.when(is_first).then(total - amount).forward_fill()


def covered(due: pl.DataFrame, coverage: pl.DataFrame, has_rates: bool) -> pl.DataFrame:
    """The charges due with `is_covered`, without those after the rows end (see `matching.coverage`).

    Where only rows tell the rates, those of accounts without rows are left out, too.
    """
    found = due.join(coverage, on="account", how="left" if has_rates else "inner", maintain_order="left")
    since, to = pl.col("covered_from"), pl.col("covered_to")
    return (
        found.filter(to.is_null() | (pl.col("time") <= to + EARLY))
        .with_columns(is_covered=(pl.col("time") >= since - LATE).fill_null(value=False))
        .drop("covered_from", "covered_to")
    )


def with_assumed(due: pl.DataFrame, policy: InterestPolicy) -> pl.DataFrame:
    """The charges due with `assumed`: what is taken as charged where the rows tell nothing of it."""
    if due["is_covered"].all():
        return due.with_columns(assumed=pl.lit(None, MONEY))
    found = with_charges(due, policy)
    assumed = pl.when(~pl.col("is_covered") & pl.col("charged").is_null()).then("computed")
    found = found.with_columns(assumed=assumed).with_columns(
        recorded=pl.col("recorded") + pl.col("assumed").fill_null(ZERO)
    )
    return with_recorded_liability(found.drop("liability", "computed"), policy)


def with_lost_rows(due: pl.DataFrame, policy: InterestPolicy) -> pl.DataFrame:
    """The charges due with what is known of those without a row: `lost` is what was charged all the same.

    A gap between two rows was charged where the later row, by the liability it states or else by its charge, fits
    only a debt that has grown in the gap; it was not (`is_uncharged`) where it fits only one that has not. What was
    lost is owed, so `recorded` has it, too. `due` comes from `with_recorded`, with its rates.
    """
    gaps, found = None, due
    while True:
        before, gaps = gaps, _gaps(found, policy)
        if before is not None and gaps.equals(before):
            return found.hstack(gaps)
        recorded = pl.col("recorded") + gaps["lost"].fill_null(0)
        found = with_recorded_liability(due.with_columns(recorded=recorded), policy)


def _gaps(due: pl.DataFrame, policy: InterestPolicy) -> pl.DataFrame:
    """For each charge what was `lost`, and whether it `is_uncharged`: empty and false where nothing tells."""
    has_row = pl.col("charged").is_not_null() | pl.col("assumed").is_not_null()
    is_first = pl.col("loan").is_first_distinct()
    debt = pl.coalesce("stated_liability", "recorded_liability") + pl.col("recorded")
    gaps = (
        due.with_columns(
            gap=(has_row.shift(1, fill_value=True) | is_first).cum_sum(),
            debt=pl.when(is_first).then(ZERO).otherwise(debt.shift(1)),
            level_before=pl.when(is_first).then(ZERO).otherwise(pl.col("level").shift(1)),
        )
        .with_columns(pl.col("debt", "level_before").first().over("gap"), is_gap=(pl.len().over("gap") > 1))
        .with_columns(has_end=has_row.any().over("gap"))
        .filter("is_gap", "has_end")
    )
    if gaps.is_empty() or not policy.compounding:
        return due.select("due", lost=pl.lit(None, MONEY), is_uncharged=pl.lit(value=False)).drop("due")
    known = _if_charged_or_not(gaps, policy)
    is_end, stated = has_row & pl.col("is_gap"), pl.col("stated_liability")
    if_charged = pl.when(stated.is_null()).then(pl.col("charged") == pl.col("computed"))
    if_not = pl.when(stated.is_null()).then(pl.col("charged") == pl.col("if_uncharged"))
    known = known.with_columns(
        fits_charged=is_end & if_charged.otherwise(stated == pl.col("liability")),
        fits_uncharged=is_end & if_not.otherwise(stated == pl.col("uncharged")),
    ).with_columns(pl.col("fits_charged", "fits_uncharged").any().over("gap"))
    told = known.filter(~has_row).select(
        "due",
        lost=pl.when(pl.col("fits_charged") & ~pl.col("fits_uncharged")).then("computed"),
        is_uncharged=pl.col("fits_uncharged") & ~pl.col("fits_charged"),
    )
    found = due.select("due").join(told, on="due", how="left", maintain_order="left")
    return found.select("lost", pl.col("is_uncharged").fill_null(value=False))


def _if_charged_or_not(gaps: pl.DataFrame, policy: InterestPolicy) -> pl.DataFrame:
    """The charges from before a gap to its end, on a debt that grows in it, and on one that does not."""
    level = pl.col("level") - pl.col("level_before") + pl.col("debt")
    grown = gaps.with_columns(level=level, loan=pl.col("gap").rle_id())
    charged = with_charges(grown.drop("liability", "computed", strict=False), policy)
    both = charged.with_columns(uncharged=pl.max_horizontal("level", ZERO))
    return both.with_columns(if_uncharged=charge_if(both, "uncharged", policy))


@dataclass(frozen=True)
class Comparison:
    """The frames INTEREST and INTEREST_CAUSES."""

    interest: pl.DataFrame
    causes: pl.DataFrame


def compared(due: pl.DataFrame, others: pl.DataFrame, policy: InterestPolicy, rates: Rates) -> Comparison:
    """The rows of INTEREST for the charges that were due and those that were not, and why they differ.

    `due` comes from `with_lost_rows`, with the charges by the policy. `others` are rows of the exchange for which no
    charge is due, or whose charge has its row already: ROWS_SCHEMA with `position` and `cause`.
    """
    known = _with_causes(_differences(due, policy), policy, rates)
    entries = [
        known.select(*_ENTRY, cause=pl.lit("carried_forward"), amount="carried"),
        known.select(*_ENTRY, cause="basis_cause", amount="by_basis"),
        known.select(*_ENTRY, cause="charge_cause", amount="by_charge"),
        others.select(*_ENTRY, "cause", amount="interest"),
    ]
    return Comparison(_in_order([_of_due(known), _of_others(others)]), summed(entries))


def without_due(others: pl.DataFrame) -> Comparison:
    """The comparison of rows of the exchange for which nothing was due; see `compared`."""
    return Comparison(_in_order([_of_others(others)]), summed([others.select(*_ENTRY, "cause", amount="interest")]))


_ENTRY = ("position", "currency", "time")


def _differences(due: pl.DataFrame, policy: InterestPolicy) -> pl.DataFrame:
    """Each difference in its three parts: carried from before, by another liability, by the charge itself."""
    known = due.with_columns(
        on_recorded=charge_if(due, "recorded_liability", policy), on_stated=charge_if(due, "stated_liability", policy)
    )
    stated = pl.coalesce("on_stated", "on_recorded")
    expected = pl.when(pl.col("charged").is_null()).then("on_recorded").otherwise(stated)
    return known.with_columns(
        carried=pl.col("on_recorded") - pl.col("computed"),
        by_basis=expected - pl.col("on_recorded"),
        by_charge=pl.coalesce("charged", "assumed", ZERO) - expected,
    )


def _with_causes(known: pl.DataFrame, policy: InterestPolicy, rates: Rates) -> pl.DataFrame:
    """The differences with `basis_cause`, `charge_cause` and `note`."""
    unlike = known.filter(pl.col("charged").is_not_null(), pl.col("by_charge") != 0).with_columns(
        basis=pl.coalesce("stated_liability", "recorded_liability")
    )
    reasons = unlike.select("due").hstack(cause_of_charge(unlike, policy, rates))
    other_way = "simple_interest" if policy.compounding else "compound_interest"
    counted = pl.when(pl.col("stated_liability") == pl.col("other_liability")).then(pl.lit(other_way))
    unclear = pl.when("is_uncharged").then(pl.lit("missing_hour")).otherwise(pl.lit("missing_hour or lost_row"))
    lacking = pl.when(pl.col("lost").is_not_null()).then(pl.lit("lost_row")).otherwise(unclear)
    is_missing = pl.col("charged").is_null() & pl.col("assumed").is_null() & (pl.col("by_charge") != 0)
    return known.join(reasons, on="due", how="left", maintain_order="left").with_columns(
        basis_cause=pl.when(pl.col("by_basis") != 0).then(counted.otherwise(pl.lit("other_liability"))),
        charge_cause=pl.when(is_missing).then(lacking).otherwise("cause"),
    )


def _of_due(known: pl.DataFrame) -> pl.DataFrame:
    """The charges that were due as rows of INTEREST."""
    is_assumed = pl.col("assumed").is_not_null()
    differs = ~is_assumed & (pl.col("charged").fill_null(ZERO) != pl.col("computed"))
    is_missing = pl.col("charged").is_null() & (pl.col("computed") != 0)
    status = pl.when(is_assumed).then(pl.lit("accrued")).when(is_missing).then(pl.lit("missing"))
    follows = (pl.col("by_basis") == 0) & (pl.col("by_charge") == 0)
    status = status.when(differs).then(pl.when(follows).then(pl.lit("follows")).otherwise(pl.lit("differs")))
    causes = pl.concat_str("basis_cause", "charge_cause", separator="; ", ignore_nulls=True)
    return known.with_columns(
        charged=pl.when(~is_assumed).then(pl.col("charged").fill_null(ZERO)),
        status=status.otherwise(pl.lit("agrees")),
        cause=pl.when(causes != "").then(causes).when(differs).then(pl.lit("carried_forward")),
        row="source_row",
    )


def _of_others(others: pl.DataFrame) -> pl.DataFrame:
    """Rows for which nothing is due as rows of INTEREST."""
    status = pl.col("cause").replace_strict(_STATUS_OF, default="extra")
    return others.select(
        *("position", "time", "currency", "cause", "row_id", "input", "row"),
        charge=pl.lit("period"),
        computed=ZERO,
        charged="interest",
        carried=ZERO,
        status=status,
        stated_liability="liability",
        stated_rate="rate",
        booked="time",
    )


_STATUS_OF = {"doubled_hour": "duplicate", "no_position": "unattributed", "which_position": "unattributed"}


def _in_order(parts: list[pl.DataFrame]) -> pl.DataFrame:
    """Rows of INTEREST by position, currency and time, with their differences."""
    expected = schema(INTEREST)
    both = []
    for part in parts:
        absent = [pl.lit(None, dtype).alias(name) for name, dtype in expected.items() if name not in part.columns]
        both.append(part.with_columns(absent).cast(dict(expected)).select(*expected))  # type: ignore[arg-type]
    rows = pl.concat(both)
    order = rows.select(pl.arg_sort_by("position", "currency", "time", maintain_order=True, nulls_last=True))
    own = pl.col("charged") - pl.col("computed")
    total = own.fill_null(ZERO).cum_sum()
    begins = pl.struct("position", "currency").rle_id().is_first_distinct()
    return rows[order.to_series()].with_columns(
        difference=own,
        own_difference=own - pl.col("carried"),
        cumulative_difference=total - pl.when(begins).then(total - own.fill_null(ZERO)).forward_fill(),
    )
