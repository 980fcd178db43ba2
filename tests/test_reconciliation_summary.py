"""What a reconciliation says on the terminal."""

from decimal import Decimal

import polars as pl
from test_reconciliation_sheets import LB, LONG, all_frames, frame_of

from ledger.money import MONEY
from ledger.reconciliation.columns import BREAK_CAUSES, BREAKS
from reports.commands.reconciliation_summary import reconciliation_told


def told(**changed: pl.DataFrame) -> list[str]:
    return list(reconciliation_told({**all_frames(), **changed}))


def one_break(parts: str, figure: str = "margin", difference: str = "12.5", **columns: pl.Expr) -> list[str]:
    """What is said of one break with these parts: place, cause, amount, certainty."""
    frames = {
        "breaks": frame_of(
            f"B-1 LB {figure} USDT 100 87.5 {difference}",
            "break_id position figure unit ledger exchange difference",
            BREAKS,
        ),
        "break_causes": frame_of(
            parts, "place cause amount certainty", BREAK_CAUSES, break_id=pl.lit("B-1"), **columns
        ),
    }
    return list(reconciliation_told(frames))[:-1]


def test_a_break_is_said_in_one_line() -> None:
    hypothesis = pl.when(pl.col("place") == "1").then(pl.lit("fill 6239 of 2025-01-03 is missing"))
    lines = "1 missing_fill 12.4 proved\n2 unexplained 0.1 unexplained"
    assert one_break(lines, hypothesis=hypothesis) == [
        f"margin of {LB} is 12.5 USDT too high: fill 6239 of 2025-01-03 is missing (12.4); unexplained 0.1"
    ]
    assert one_break(lines, figure="liability_shown", hypothesis=hypothesis) == [
        f"liability of {LB} is 12.5 USDT too low: fill 6239 of 2025-01-03 is missing (12.4); unexplained 0.1"
    ]


def test_amounts_are_said_in_the_direction_of_the_break() -> None:
    assert one_break("1 price -13 fits\n2 sign 0.5 fits", difference="-12.5") == [
        f"margin of {LB} is 12.5 USDT too low:",
        "    the ledger has another price (13); the ledger has the opposite side or sign (-0.5)",
    ]


def test_ambiguity_is_said_as_or() -> None:
    (line,) = one_break("1 quantity 12.5 ambiguous", alternatives=pl.lit("price; sign"))
    assert line.endswith(": the ledger has another quantity, or price, or sign (12.5)")
    (line,) = one_break("1 quantity 12.5 ambiguous", alternatives=pl.lit("fill 7, twice"))
    assert line.endswith(", or fill 7, twice (12.5)")


def test_a_break_without_a_cause_is_unexplained() -> None:
    said = [f"margin of {LB} is 12.5 USDT too high: unexplained"]
    assert one_break("1 unexplained 12.5 unexplained") == one_break("1 unexplained 0 unexplained") == said


def test_long_causes_stand_on_a_second_line_and_many_are_counted() -> None:
    lines = "\n".join(f"{place} missing_fill 1 fits" for place in range(1, 8))
    what, why = one_break(lines, hypothesis=pl.lit(LONG))
    assert what.endswith("too high:")
    assert why.startswith("    The rate of the hour before")
    assert why.endswith("; and 3 more parts")


def test_a_position_of_one_side_is_said() -> None:
    text = "\n".join(told())
    assert "base leg of hedge:BTC-USDT:USDT is only at the exchange (-1 BTC):" in text


def test_a_break_of_a_position_that_one_side_lacks_goes_by_the_verdict() -> None:
    frames = all_frames()
    both = pl.col("ledger", "exchange").fill_null(0)
    breaks = frames["breaks"].with_columns(both, break_id=pl.lit("B-2")).slice(1, 1)
    assert any("is only at the exchange (-1 BTC)" in line for line in told(breaks=breaks))
    ours = (
        pl.when(pl.col("break_id") == "B-2").then(pl.lit("only_in_ledger")).otherwise(pl.col("verdict").cast(pl.String))
    )
    comparison = frames["comparison"].with_columns(ours.cast(frames["comparison"]["verdict"].dtype).alias("verdict"))
    assert any("is only in the ledger (0 BTC)" in line for line in told(breaks=breaks, comparison=comparison))


def test_at_most_twenty_breaks_are_told() -> None:
    breaks = all_frames()["breaks"]
    many = pl.concat([breaks] * 10).with_columns(break_id=pl.int_range(30).cast(pl.String))
    lines = told(breaks=many)
    assert sum("unexplained" in line and " of " in line for line in lines[:-1]) == 20
    assert "... and 10 more breaks; all of them are in breaks, their causes in break_causes" in lines
    told_of = [line for line in lines if line.startswith(("liability", "base leg"))]
    assert sum(line.startswith("liability") for line in told_of) == 10  # the material ones
    assert sum(line.startswith("base leg of hedge") for line in told_of) == 5
    positions = [line.split(" of ")[1].split(" ")[0] for line in told_of]
    assert positions == sorted(positions)


def test_sources_and_exceptions_are_told() -> None:
    lines = told()
    assert any("bills.csv" in line and "│" in line for line in lines)
    assert any(line.startswith("FAIL: bills.csv, balance chain, main USDT: @Row 3") for line in lines)
    assert "note: bills.csv, unclassified, main: Types 99/999, =1+1." in lines
    heads = next(line for line in lines if "events in common" in line)
    assert "matched" in heads
    assert "events only at exchange" in heads


def test_the_last_line_is_the_verdict() -> None:
    frames = all_frames()
    assert told()[-1] == (
        "NOT RECONCILED: 3 breaks, 1 material, 2 not fully explained, 1 ambiguous, 1 control of the files failed."
    )
    clean = frames["certificate"].filter(pl.col("outcome") != "fail")
    matched = frames["comparison"].filter(pl.col("verdict") == "matched")
    good = {"breaks": frames["breaks"].clear(), "certificate": clean, "comparison": matched}
    assert told(**good)[-1] == "RECONCILED: 2 figures of 1 position agree, no breaks."
    assert told(**good | {"comparison": matched.clear()})[-1].startswith("NOTHING COMPARED")
    failing = frames["checks"].with_columns(failures=pl.lit(1, pl.UInt64))
    assert told(**good, checks=failing)[-1].startswith("NOT RECONCILED: 1 failure of the check")


def test_a_terminal_obeys_nothing_of_a_file() -> None:
    escape = "\x1b]0;owned\x07\u202e[bold]x[/bold]"
    said = one_break("1 quantity 12.5 ambiguous", hypothesis=pl.lit(escape), alternatives=pl.lit(escape))
    frames = all_frames()
    certificate = frames["certificate"].with_columns(
        pl.lit(escape).alias(name) for name in ("file", "subject", "finding")
    )
    text = "".join(said) + "".join(told(certificate=certificate))
    assert not set("\x1b\x07\u202e") & set(text)
    assert "[bold]x[/bold]" in text


def test_amounts_are_told_to_the_last_digit() -> None:
    tiny = pl.lit("0.000000000000000001").cast(MONEY)
    breaks = all_frames()["breaks"].tail(1).with_columns(difference=tiny)
    line = next(line for line in told(breaks=breaks) if "too high" in line)
    assert f"{Decimal('0.000000000000000001'):f} ETH too high" in line


def test_what_became_of_breaks_since_the_run_before_is_said() -> None:
    reviews = all_frames()["reviews"]
    assert "3 breaks: 1 new, 2 carried on, 1 resolved" in told()
    parameters = all_frames()["parameters"]
    before = parameters.head(1).with_columns(name=pl.lit("reconcile.previous"), value=pl.lit("may\x1b.xlsx"))
    assert told(parameters=before)[-2] == r"3 breaks: 1 new, 2 carried on, 1 resolved since may\x1b.xlsx"
    assert told(parameters=before, reviews=reviews.clear())[-2].startswith("0 breaks: none new, none resolved since")
    first = reviews.filter(pl.col("state") == "open").with_columns(change=pl.lit("new", reviews.schema["change"]))
    assert not [line for line in told(reviews=first) if line.startswith("3 breaks: ")]
