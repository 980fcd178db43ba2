"""Loans as the exchange's rows alone tell them, where no events are given: what was due between the first and the last.

The liability that a row states, less that of the row before and its interest, is what was borrowed or repaid between.
"""

from collections.abc import Mapping

import polars as pl

from ledger.columns import TIME
from ledger.interest.columns import CHARGES, EARLY, LATE
from ledger.interest.comparison import Comparison, compared, with_assumed, with_lost_rows, with_recorded
from ledger.interest.dues import with_charges, with_rates
from ledger.interest.moments import HOUR
from ledger.interest.policy import InterestPolicy
from ledger.interest.rates import SCOPE, Rates
from ledger.money import MONEY, ZERO
from ledger.refusals import REFUSAL_SCHEMA, BadInput

_CHARGE = pl.Enum(CHARGES)
_LONGEST_GAP = 24 * 366
"""Periods: after a longer gap nothing is known of what was owed in it."""


def reperform_rows(
    rows: pl.DataFrame, policy: InterestPolicy, rates: Rates | None, files: Mapping[int, str]
) -> tuple[Comparison, pl.DataFrame]:
    """What the exchange charged by its rows (ROWS_SCHEMA), beside what was due on the liabilities they state.

    Also the charges due with all that is known of each, as `comparison.compared` takes them. `files` names the inputs.
    Raises BadInput where a row states no liability, or a rate is missing.
    """
    _refuse_unstated(rows, files)
    placed = _placed(rows, policy)
    told = placed.filter("is_placed", pl.struct("position", "slot", "charge").is_first_distinct())
    in_force = rates or Rates.stated(rows)
    breaks = jumps = pl.Series(dtype=pl.UInt32)
    while True:
        due = _due(told, policy, breaks, jumps)
        known = with_recorded(due, _booked(placed, due), policy)
        known = with_charges(with_lost_rows(with_assumed(with_rates(known, in_force, policy), policy), policy), policy)
        ends = _open_gaps(known).filter(~pl.col("number").is_in(jumps.implode()))
        if ends.is_empty():
            break
        breaks = pl.concat([breaks, ends.filter(~pl.col("is_plausible"))["number"]])
        jumps = pl.concat([jumps, ends.filter("is_plausible")["number"]])
    # Of a gap in which the debt grew by about as much as was due nothing is sure but that.
    known = known.with_columns(is_uncharged=pl.col("is_uncharged") & ~_before_one_of(jumps))
    others = placed.join(told.select("number"), on="number", how="anti", maintain_order="left").with_columns(
        cause=pl.when("is_placed").then(pl.lit("doubled_hour")).otherwise(pl.lit("charged_between"))
    )
    return compared(known, others, policy, in_force), known


def _refuse_unstated(rows: pl.DataFrame, files: Mapping[int, str]) -> None:
    unstated = rows.filter(pl.col("liability").is_null())
    if unstated.height:
        named = pl.col("input").replace_strict(dict(files), default="rows", return_dtype=pl.String)
        refusals = unstated.select(
            file=named,
            row="row",
            column=pl.lit("liability"),
            value=pl.lit(None, pl.String),
            rule=pl.lit("A row that states no liability can be compared only with events."),
            remedy=pl.lit("Give the events of the positions with --events."),
        )
        raise BadInput(refusals.cast(dict(REFUSAL_SCHEMA)))  # type: ignore[arg-type]


def _placed(rows: pl.DataFrame, policy: InterestPolicy) -> pl.DataFrame:
    """The rows by loan and moment: `position` (the loan's name), `slot` (the moment due) and `charge`.

    `total` is what all rows of one moment charge; `is_placed` is false where a row comes at no moment of the grid.
    """
    period = policy.period_hours * HOUR
    on_clock = pl.lit(not policy.counts_from_borrowing)
    slot = ((pl.col("time") + EARLY).to_physical() // period * period).cast(TIME)
    is_due = pl.when(on_clock).then(pl.col("time") - slot <= LATE).otherwise(pl.lit(value=True))
    charge = pl.when(is_due).then(pl.lit("period", _CHARGE)).otherwise(pl.lit("first_period", _CHARGE))
    return (
        rows.with_row_index("number")
        .with_columns(
            position=pl.concat_str(
                pl.col("account").fill_null("?"), pl.col("instrument").fill_null("*"), "currency", separator=":"
            ),
            slot=pl.when(is_due & on_clock).then(slot).otherwise("time"),
            charge=charge,
            is_placed=is_due | policy.charges_first_period,
        )
        .pipe(_several_loans)
        .sort("position", "slot", "number", maintain_order=True)
        .with_columns(total=pl.col("interest").sum().over("position", "slot", "charge"))
    )


def _several_loans(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows with loans of one instrument apart, the largest first: rows of one moment that state other liabilities.

    A row whose liability is that of another one, or what that one leaves, is of the same loan charged once more.
    """
    ordered = rows.sort("position", "slot", "charge", "liability", descending=[False, False, False, True])
    same = pl.struct("position", "slot", "charge").rle_id()
    larger, liability = pl.col("liability").shift(1), pl.col("liability")
    is_other = (larger != liability) & (larger != liability + pl.col("interest"))
    ordered = ordered.with_columns(moment=same).with_columns(
        other=(is_other & (pl.col("moment") == pl.col("moment").shift(1))).fill_null(value=False)
    )
    loan = pl.col("other").cast(pl.Int32).cum_sum().over("moment")
    name = pl.when(loan > 0).then(pl.format("{} ({})", "position", loan + 1)).otherwise("position")
    return ordered.with_columns(position=name).drop("moment", "other")


def _due(told: pl.DataFrame, policy: InterestPolicy, breaks: pl.Series, jumps: pl.Series) -> pl.DataFrame:
    """The charges due (see `dues.dues`): those of rows, which keep their `number`, and those in the gaps between."""
    period = policy.period_hours * HOUR
    is_first = pl.struct("position", "charge").rle_id().is_first_distinct()
    apart = (pl.col("slot") - pl.col("slot").shift(1)).dt.total_microseconds()
    total, stated = pl.col("total"), pl.col("liability")
    rows = told.with_columns(
        missing=pl.when(~is_first & (apart % period == 0)).then(apart // period - 1).otherwise(0).fill_null(0),
        flow=stated - (stated + total).shift(1) if policy.compounding else stated - stated.shift(1),
        is_simple=(stated == stated.shift(1)) & (total.shift(1) > 0),
    )
    is_gap = (pl.col("missing") > 0) & ~pl.col("number").is_in(jumps.implode())
    begins = is_first | pl.col("number").is_in(breaks.implode()) | (pl.col("missing") > _LONGEST_GAP)
    begins |= pl.col("charge") == "first_period"
    if not policy.compounding:
        begins |= pl.col("flow") != 0
    grown = pl.when(is_gap | (pl.col("is_simple") & policy.compounding)).then(ZERO).otherwise("flow")
    rows = rows.with_columns(begins=begins).with_columns(
        episode=pl.col("begins").cum_sum().cast(pl.UInt32),
        grown=pl.when("begins").then(stated).otherwise(grown).cast(MONEY),
    )
    rows = rows.with_columns(level=pl.col("grown").cum_sum().over("episode"))
    gaps = (
        rows.with_columns(before=pl.col("slot").shift(1).to_physical(), level=pl.col("level") - pl.col("grown"))
        .filter(pl.col("missing") > 0, ~pl.col("begins"))
        .with_columns(turn=pl.int_ranges(1, pl.col("missing") + 1))
        .explode("turn")
        .with_columns(slot=(pl.col("before") + pl.col("turn") * period).cast(TIME), number=pl.lit(None, pl.UInt32))
    )
    columns = ["number", "position", "episode", *SCOPE, "slot", "charge", "level", "liability"]
    together = pl.concat([rows.select(columns), gaps.select(columns)]).sort("episode", "slot", maintain_order=True)
    is_first_period = pl.col("charge") == "first_period"
    return together.select(
        *columns[:6],
        "charge",
        "level",
        time="slot",
        rate_time="slot",
        fixed=pl.when(is_first_period).then("liability"),
        repaid_so_far=ZERO,
        is_covered=pl.lit(value=True),
        after=pl.lit(None, pl.UInt32),
        loan=pl.col("episode").rle_id(),
    )


def _booked(placed: pl.DataFrame, due: pl.DataFrame) -> pl.DataFrame:
    """The rows with `due`, the row of the charge each is for."""
    places = due.select("position", "charge", slot="time").with_row_index("due")
    found = placed.filter("is_placed").join(places, on=["position", "charge", "slot"], maintain_order="left")
    return found.sort("due", "number")


def _open_gaps(known: pl.DataFrame) -> pl.DataFrame:
    """The rows after gaps of which nothing tells whether they were charged, for policies that compound.

    `is_plausible` where the liability has grown in the gap by about as much as was due (half of it to twice).
    """
    has_row = pl.col("charged").is_not_null()
    is_open = ~has_row & pl.col("lost").is_null() & ~pl.col("is_uncharged")
    due = pl.when(~has_row).then("computed").otherwise(ZERO)
    grown = pl.col("stated_liability") - pl.col("recorded_liability")
    return (
        known.with_columns(gap=has_row.shift(1, fill_value=True).cum_sum(), is_open=is_open)
        .with_columns(is_open=pl.col("is_open").any().over("gap"), due=due.sum().over("gap"), grown=grown)
        .filter("is_open", has_row, grown != 0)
        .select(
            "number",
            is_plausible=(pl.col("grown") * 2 >= pl.col("due")) & (pl.col("grown") <= pl.col("due") * 2),
        )
    )


def _before_one_of(numbers: pl.Series) -> pl.Expr:
    """True for charges without a row whose next row is one of these."""
    following = pl.col("number").backward_fill()
    return pl.col("number").is_null() & following.is_in(numbers.implode())
