"""The sheets of a reconciliation: what they show, what LibreOffice recalculates, and the chart."""

import re
import zipfile
from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path

import openpyxl
import polars as pl
import pytest
from openpyxl.utils.datetime import to_excel
from test_interest_sheets import interest_frames
from test_workbook import HEADER_ROW, LB, START, column, formulas, made_up_frames, typed, values

from ledger.columns import PARAMETERS, schema
from ledger.money import MONEY
from ledger.reconciliation.breaks import break_ids
from ledger.reconciliation.columns import (
    ADJUSTMENT_COMMENTS,
    BREAK_CAUSES,
    BREAKS,
    COMPARISON,
    LEAD,
    MATCHES,
    RECONCILIATION_FRAMES,
    ROLL_FORWARD,
)
from ledger.reconciliation.reviews import ageing_parameter, reviews_of
from ledger.refusals import LedgerError
from ledger.statements.columns import CERTIFICATE, STATEMENT_FRAMES, SUMS
from reports.cells.tables import new_book
from reports.frames import read_frames
from reports.picture import convert
from reports.sheets import reconciliation_breaks as sheets_reconciliation_breaks
from reports.sheets.checks import tie_out_lines, write_checks
from reports.sheets.ledger import in_order, ledger_fields, write_ledger
from reports.sheets.reconciliation import DESCRIPTIONS, break_lines, reconciliation_parts, write_reconciliation
from reports.sheets.reference import WORKBOOK_PARAMETERS, with_workbook_parameters, write_parameters
from reports.workbook import parts, write_workbook

# The chart that LibreOffice writes again is more than openpyxl can read; the one of the workbook it can.
pytestmark = pytest.mark.filterwarnings("ignore:Unable to read chart")

LQ, SQ = "hedge:BTC-USDT:USDT", "main:ETH-USDT:USDT"
SHEETS = list(DESCRIPTIONS)
AGEING_AT = START + timedelta(days=7)
COMMAND = "=cmd|' /C calc'!A0"
LONG = "The rate of the hour before was taken, and the charge rounded up at the sixteenth decimal. " * 6

LEAD_LINES = """
main  assets    BTC  0.499                     0     0.499                     0
main  liability USDT -20000966.0227737993648251 12.5 -20000953.5227737993648251 0
main  margin    BTC  0.1                       -0.05 0.05                      0
main  margin    USDT 5250.5                    0     5250.500000000000000001   -0.000000000000000001
hedge liability BTC  -1                        0     -1.2                      0.2
hedge margin    USDT 12500                     0     -                         -
"""
ROLL_LINES = """
LB base_leg  BTC  0 1     -0.5    -0.001 0                 0    0     0  0      0.499
LB quote_leg USDT 0 54945 -100000 0      -0.0123           0    0     0  0      -45055.0123
LB margin    BTC  0 0     0       0      0                 0.1  0     0  0      0.1
SQ base_leg  ETH  0 0     -10     0      -0.00012345678901 0    0     0  0      -10.00012345678901
SQ margin    USDT 0 0     0       0      0                 5000 250.5 0  0      5250.5
XX margin    USDT 7 0     0       0      0                 0    0     -7 0      0
"""
COMPARISON_LINES = """
LB liability_shown   USDT -20000966.0227737993648251 -20000978.5227737993648251 12.5 0 break            yes B-1 -
LB margin            BTC  0.1          0.1                    0                     0     matched          no  -   -
LB floating_pnl      BTC  -0.035263287 -0.0352632869999999    -0.0000000000000001   0.001 matched          no  -   -
SQ liquidation_price -    2713.9       -                      -                     -     not_compared     no  -   note
LQ base_leg          BTC  -            -1                     1                     0     only_at_exchange yes B-2 -
SQ base_leg          ETH  -10.5        -10.500000000000000001 0.000000000000000001  0     break            no  B-3 -
"""
BREAK_LINES = """
1e5   LB liability_shown USDT -20000966.0227737993648251 -20000978.5227737993648251 12.5 12.4 0.1 no  yes
100000 LQ base_leg       BTC  -                          -1                         1    1    0   yes no
B*    SQ base_leg        ETH  -10.5 -10.500000000000000001 0.000000000000000001 0 0.000000000000000001 no no
"""
PART_LINES = """
100000 1 quantity         1                    ambiguous
100000 2 unexplained      0                    unexplained
1e5    1 missing_fill     12.4                 proved
1e5    2 missing_interest 0.0001               fits
1e5    3 extra_interest   -0.0001              fits
1e5    4 unexplained      0.1                  unexplained
B*     1 unexplained      0.000000000000000001 unexplained
"""
NAMES = {"LB": LB, "SQ": SQ, "LQ": LQ, "XX": "gone:BTC-USDT:USDT"}


def frame_of(lines: str, names: str, columns: tuple, **more: pl.Expr) -> pl.DataFrame:
    """A frame of the registry from lines of words; `-` is nothing, yes and no are flags."""
    words = [[None if word == "-" else NAMES.get(word, word) for word in line.split()] for line in lines.split("\n")]
    frame = pl.DataFrame([line for line in words if line], schema=dict.fromkeys(names.split(), pl.String), orient="row")
    flags = [name for name in ("material", "ambiguous") if name in frame.columns]
    return typed(frame.with_columns(*(pl.col(name) == "yes" for name in flags)).with_columns(**more), columns)


def reconciliation_frames() -> dict[str, pl.DataFrame]:
    """Small frames with negative, tiny and huge amounts, long texts, and texts that look like formulas."""
    frames = plain_frames()
    return {**frames, "reviews": reviewed(frames["breaks"])}


def plain_frames() -> dict[str, pl.DataFrame]:
    """The same without what reviewers wrote."""
    time = pl.lit(START)
    roll = (
        "position balance currency opening bought sold fees interest margin_posted margin_changed adjustments"
        " released closing"
    )
    hypothesis = pl.when(pl.col("place") == "1").then(pl.lit(COMMAND)).otherwise(pl.lit(LONG))
    return {
        "lead": frame_of(
            LEAD_LINES,
            "account account_class currency ledger adjustments exchange difference",
            LEAD,
            positions=pl.lit(2),
        ),
        "roll_forward": frame_of(ROLL_LINES, roll, ROLL_FORWARD),
        "comparison": frame_of(
            COMPARISON_LINES,
            "position figure unit ledger exchange difference tolerance verdict material break_id note",
            COMPARISON,
            time=time,
            stated_by=pl.lit("snapshot"),
            input=pl.lit(2),
            row=pl.int_range(1, pl.len() + 1),
            note=pl.when(pl.col("note").is_not_null()).then(pl.lit(LONG)),
        ),
        "breaks": frame_of(
            BREAK_LINES,
            "break_id position figure unit ledger exchange difference explained unexplained ambiguous material",
            BREAKS,
            stated_by=pl.lit("snapshot"),
            causes=pl.lit("A fill is missing (12.4), interest is missing (0.0001) and charged twice (-0.0001)."),
            first_seen=time,
            last_seen=time,
        ),
        "break_causes": frame_of(
            PART_LINES,
            "break_id place cause amount certainty",
            BREAK_CAUSES,
            hypothesis=hypothesis,
            alternatives=pl.when(pl.col("certainty") == "ambiguous").then(pl.lit("price, sign")),
            exchange_input=pl.lit(2),
            exchange_row=pl.lit(17),
        ),
        "matches": matches_frame(),
        **statement_frames(),
    }


def reviewed(breaks: pl.DataFrame) -> pl.DataFrame:
    """The reviews of breaks of which two were there before and one is gone."""
    gone = breaks.tail(1).with_columns(figure=pl.lit("margin"))
    gone = gone.with_columns(break_id=break_ids(gone))
    earlier = pl.col("first_seen", "last_seen") - pl.duration(days=40, hours=5)
    before = reviews_of(
        pl.concat([breaks.head(2), gone]).with_columns(earlier),
        None,
        pl.DataFrame(schema=schema(COMPARISON)),
        START - timedelta(days=20),
    )
    written = pl.lit(LONG.strip() + "\nSee _x0041_.")
    agrees = {"position": gone["position"], "figure": "margin", "stated_by": gone["stated_by"], "verdict": "matched"}
    agreeing = pl.DataFrame({**agrees, "time": AGEING_AT})
    agreeing = agreeing.with_columns(
        pl.lit(None, dtype).alias(name) for name, dtype in schema(COMPARISON).items() if name not in agreeing.columns
    )
    return reviews_of(
        breaks,
        before.with_columns(
            owner=pl.lit("=Ann"),
            status=pl.when(pl.col("break_id") == "1e5").then(pl.lit("accepted")).otherwise("status"),
            comment=pl.when(pl.col("break_id") != "1e5").then(written),
        ),
        agreeing,
        AGEING_AT,
    )


def matches_frame() -> pl.DataFrame:
    found = ["in_common"] * 3 + ["only_at_exchange", "only_in_ledger", "differs"]
    frame = pl.DataFrame({"found": found, "position": [LB, SQ, LQ, LB, SQ, LQ]}).with_columns(
        kind=pl.lit("fill"),
        time=pl.lit(START),
        ledger_event_id=pl.when(pl.col("found") != "only_at_exchange").then(pl.lit("-7+1")),
        exchange_event_id=pl.when(pl.col("found") != "only_in_ledger").then(pl.lit("623950854533513219")),
        differs_in=pl.when(pl.col("found") == "differs").then(pl.lit("price: 26,978.5 and 26,987.5; " * 8)),
        cause=pl.when(pl.col("found") == "differs").then(pl.lit("price")),
        ledger_input=pl.lit(1),
        ledger_row=pl.lit(1_000_000),
    )
    return typed(frame, MATCHES)


def statement_frames() -> dict[str, pl.DataFrame]:
    amount = "-20000966.0227737993648251"
    statements = pl.DataFrame(
        {
            "time": [START] * 3,
            "row_id": ["623950854533513219", "7", "8"],
            "account": ["main"] * 3,
            "instrument": ["BTC-USDT"] * 3,
            "layout": ["okx-bills"] * 3,
            "stated_type": ["2/1", "99/999", "=1+1"],
            "meaning": ["leg", "unclassified", "unclassified"],
            "currency": ["USDT"] * 3,
            "change": ["-5", amount, "0.000000000000000001"],
            "event_id": ["623950854533513219", None, None],
        }
    )
    certificate = {
        "source": [None, 1, 1],
        "file": [None, "bills.csv", "bills.csv"],
        "control": ["coverage", "balance_chain", "unclassified"],
        "subject": ["main", "main USDT", "main"],
        "tested": [3, 3, 3],
        "exceptions": [0, 1, 2],
        "largest_difference": ["0", "12.500000000000000001", "20000966.0227737993648251"],
        "outcome": ["ok", "fail", "note"],
        "finding": ["From 2024-05-01 to 2024-05-02.", "@Row 3 does not follow row 2. " * 5, "Types 99/999, =1+1."],
    }
    sums = {
        "source": [1],
        "file": ["bills.csv"],
        "meaning": ["unclassified"],
        "stated_type": ["99/999"],
        "currency": ["USDT"],
        "rows": [1],
        "change": [amount],
    }
    return {
        "statements": typed(statements, STATEMENT_FRAMES["statements"]),
        "certificate": typed(pl.DataFrame(certificate, strict=False), CERTIFICATE),
        "statement_sums": typed(pl.DataFrame(sums), SUMS),
    }


def all_frames() -> dict[str, pl.DataFrame]:
    frames = {**made_up_frames(), **reconciliation_frames()}
    by_hand = pl.when(pl.col("event_number") == 2).then(pl.lit("+missing, see mail of 3 May")).alias("reason")
    ledger = frames["ledger"].with_columns(by_hand)
    posted = ledger.filter(pl.col("reason").is_not_null()).head(1)
    said = posted.select("event_id", comment=pl.lit("=approved by the desk"), input="input", row="row")
    comments = said.cast(dict(schema(ADJUSTMENT_COMMENTS)))
    aged = pl.DataFrame([ageing_parameter(AGEING_AT)], schema=schema(PARAMETERS))
    parameters = pl.concat([frames["parameters"], aged])
    return {**frames, "ledger": ledger, "adjustment_comments": comments, "parameters": parameters}


def write_book(frames: Mapping[str, pl.DataFrame], path: Path) -> None:
    """A workbook of the sheets of a reconciliation, the ledger they lead to, and what their formulas need."""
    with new_book(path) as book:
        ledger = parts("Ledger", in_order(frames["ledger"]), ledger_fields())
        found = reconciliation_parts(frames, ledger, parts)
        lines = pl.concat([tie_out_lines([*found.all, *ledger]), *break_lines(found)])
        write_checks(book, frames["checks"], lines, float(WORKBOOK_PARAMETERS[0]["value"]))
        for tables in (found.before_positions, found.after_positions, found.before_ledger):
            write_reconciliation(book, found, tables)
        before = None
        for placed, frame in ledger:
            before = write_ledger(book, placed.sheet, frame, placed.fields, before)
        write_reconciliation(book, found, found.after_ledger)
        write_parameters(book, with_workbook_parameters(frames["parameters"]))


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("reconciliation") / "reconciliation.xlsx"
    write_book(all_frames(), path)
    return path


def differing(path: Path, folder: Path) -> list[tuple]:
    """Formulas that LibreOffice computes otherwise, by more than a number of the row's size can hold."""
    saved, computed = values(path), values(convert(path, "xlsx", folder))
    found = []
    for (sheet, cell), formula in formulas(path).items():
        one, other = (book[sheet][cell].value for book in (saved, computed))
        if isinstance(one, int | float) and isinstance(other, int | float):
            row = [c.value for c in saved[sheet][saved[sheet][cell].row]]
            row = [to_excel(value) if isinstance(value, datetime) else value for value in row]
            numbers = [value for value in row if isinstance(value, int | float)]
            if abs(one - other) > 1e-14 * max(map(abs, numbers)):
                found.append((sheet, cell, formula, one, other))
        elif (one or None) != (other or None):
            found.append((sheet, cell, formula, one, other))
    return found


def test_each_frame_has_its_sheet_in_order(book: Path) -> None:
    names = [name for name in SHEETS if name not in ("Certificate", "Control totals", "Unclassified")]
    behind = ["Ledger", "Certificate", "Control totals", "Unclassified", "Parameters"]
    assert openpyxl.load_workbook(book).sheetnames == ["Checks", *names, *behind]


@pytest.mark.libreoffice
@pytest.mark.usefixtures("libreoffice")
def test_another_program_recalculates_every_formula(book: Path, tmp_path: Path) -> None:
    live = {sheet for sheet, _ in formulas(book)}
    assert {"Lead", "Roll-forward", "Comparison", "Breaks by cause", "Breaks"} <= live
    assert differing(book, tmp_path) == []
    assert values(book)["Checks"]["B3"].value == "OK"


@pytest.mark.parametrize(
    ("sheet", "name", "columns"),
    [
        ("Lead", "lead", LEAD),
        ("Roll-forward", "roll_forward", ROLL_FORWARD),
        ("Comparison", "comparison", COMPARISON),
        ("Breaks", "breaks", BREAKS),
        ("Certificate", "certificate", CERTIFICATE),
        ("Control totals", "statement_sums", SUMS),
    ],
)
def test_every_figure_is_shown_as_it_is(book: Path, sheet: str, name: str, columns: tuple) -> None:
    saved, frame = values(book), reconciliation_frames()[name]
    for one in columns:
        heading = one.name.capitalize().replace("_", " ").replace(" id", " ID")
        shown = column(saved, sheet, heading)[: frame.height]
        if one.dtype == MONEY:
            assert [None if cell in (None, "") else cell for cell in shown] == [
                None if amount is None else float(amount) for amount in frame[one.name]
            ], one.name
            exact = column(saved, sheet, f"{heading} (exact)")[: frame.height]
            assert [None if text is None else Decimal(text) for text in exact] == frame[one.name].to_list()
        elif one.dtype == pl.Boolean:
            assert [cell == "yes" for cell in shown] == frame[one.name].to_list()
        elif one.unit != "UTC" and one.name != "file":
            assert shown == frame[one.name].to_list(), one.name


def test_the_largest_liability_survives_to_its_last_digit(book: Path) -> None:
    saved = values(book)
    for sheet in ("Lead", "Comparison", "Breaks"):
        assert "-20000966.0227737993648251" in column(saved, sheet, "Ledger (exact)")
    for sheet in ("Control totals", "Unclassified"):
        assert "-20000966.0227737993648251" in column(saved, sheet, "Change (exact)")


def test_what_would_say_nothing_is_left_out(tmp_path: Path) -> None:
    frames = all_frames()
    frames["lead"] = frames["lead"].filter(pl.col("account") == "main")
    nothing = pl.lit(None, MONEY).alias("largest_difference")
    frames["certificate"] = frames["certificate"].with_columns(nothing)
    write_workbook(frames, tmp_path / "book.xlsx")
    saved = values(tmp_path / "book.xlsx")
    assert "Lead_totals" not in saved["Lead"].tables
    assert "all accounts" not in column(saved, "Lead", "Account")
    headings = [cell.value for cell in saved["Certificate"][HEADER_ROW]]
    assert not [heading for heading in headings if heading.startswith("Largest")]


def test_totals_of_the_lead_leave_out_what_the_exchange_does_not_state(book: Path) -> None:
    rows = [[cell.value for cell in row] for row in values(book)["Lead"].iter_rows(min_row=HEADER_ROW + 1)]
    totals = [(row[1], row[2], row[4], row[7], row[9]) for row in rows if row[0] == "all accounts"]
    assert totals == [
        ("assets", "BTC", 0.499, 0, "agrees"),
        ("liability", "BTC", -1, 0.2, "differs"),
        ("liability", "USDT", -20000966.022773799, 0, "agrees"),
        ("margin", "BTC", 0.1, 0, "agrees"),
        ("margin", "USDT", 5250.5, -1e-18, "differs"),
    ]
    assert [row[9] for row in rows[:6]] == ["agrees"] * 3 + ["differs"] * 2 + ["not stated"]


def test_closings_lead_to_the_last_rows_of_the_ledger(book: Path) -> None:
    saved, found = values(book), formulas(book)
    headings = [cell.value for cell in saved["Roll-forward"][HEADER_ROW]]
    link = openpyxl.utils.get_column_letter(headings.index("Ledger's closing") + 1)
    ledger = [cell.value for cell in saved["Ledger"][HEADER_ROW]]
    base = openpyxl.utils.get_column_letter(ledger.index("Base closing") + 1)
    assert found["Roll-forward", f"{link}7"] == f"='Ledger'!{base}12"
    assert column(saved, "Ledger", "Position")[12 - HEADER_ROW - 1] == LB
    assert column(saved, "Roll-forward", "Tied") == ["OK"] * 5 + ["no row"]


def test_a_closing_that_is_not_the_ledgers_fails(tmp_path: Path) -> None:
    frames = all_frames()
    wrong = [pl.col(name) + pl.lit("0.00001").cast(MONEY) for name in ("released", "closing")]
    frames["roll_forward"] = frames["roll_forward"].with_columns(wrong)
    write_book(frames, tmp_path / "book.xlsx")
    assert column(values(tmp_path / "book.xlsx"), "Roll-forward", "Tied") == ["FAIL"] * 5 + ["no row"]


def test_parts_are_found_by_number_whatever_the_identifiers_look_like(book: Path) -> None:
    saved = values(book)
    assert column(saved, "Breaks", "Break") == [1, 2, 3]
    assert column(saved, "Breaks", "Adds up") == ["OK"] * 3
    assert column(saved, "Break causes", "Break") == [1, 1, 1, 1, 2, 2, 3]
    assert column(saved, "Break causes", "Break ID") == ["1e5"] * 4 + ["100000"] * 2 + ["B*"]
    explained = next(text for place, text in formulas(book).items() if place[0] == "Breaks" and "<>unexpl" in text)
    assert re.fullmatch(
        r"=SUMIFS\('Break causes'!\$\w\$7:\$\w\$13,'Break causes'!\$A\$7:\$A\$13,A7,'Break causes'!.*\)", explained
    )


def test_parts_that_do_not_add_up_fail_the_break_and_the_whole(tmp_path: Path) -> None:
    frames = all_frames()
    frames["break_causes"] = frames["break_causes"].filter(pl.col("cause") != "quantity")
    frames["breaks"] = frames["breaks"].with_columns(
        explained=pl.when(pl.col("break_id") == "100000").then(pl.lit("0").cast(MONEY)).otherwise("explained")
    )
    write_book(frames, tmp_path / "book.xlsx")
    saved = values(tmp_path / "book.xlsx")
    assert column(saved, "Breaks", "Adds up") == ["OK", "FAIL", "OK"]
    assert saved["Checks"]["B3"].value == "FAIL"


@pytest.mark.libreoffice
@pytest.mark.usefixtures("libreoffice")
def test_a_changed_part_reaches_its_break_the_chart_and_the_whole(book: Path, tmp_path: Path) -> None:
    changed = openpyxl.load_workbook(book)
    headings = [cell.value for cell in changed["Break causes"][HEADER_ROW]]
    for heading, value in (("Amount", 12), ("Cause", "unexplained")):
        changed["Break causes"].cell(HEADER_ROW + 1, headings.index(heading) + 1).value = value
    changed.save(tmp_path / "changed.xlsx")
    computed = values(convert(tmp_path / "changed.xlsx", "xlsx", tmp_path / "recalculated"))
    assert column(computed, "Breaks", "Adds up") == ["FAIL", "OK", "OK"]
    assert column(computed, "Breaks", "Explained") == [0, 1, 0]
    assert computed["Checks"]["B3"].value == "FAIL"
    header = next(row for row in range(1, 100) if computed["Breaks by cause"].cell(row, 1).value == "Cause")
    assert column(computed, "Breaks by cause", "Parts", header)[:5] == [3, 1, 0, 1, 1]


def test_a_reviewer_can_type_into_three_columns_and_no_others(tmp_path: Path) -> None:
    write_book(all_frames(), tmp_path / "book.xlsx")
    sheet = openpyxl.load_workbook(tmp_path / "book.xlsx")["Breaks"]
    assert sheet.protection.sheet
    headings = [cell.value for cell in sheet[HEADER_ROW]]
    for row in sheet.iter_rows(min_row=HEADER_ROW + 1):
        open_cells = {heading for heading, cell in zip(headings, row, strict=True) if not cell.protection.locked}
        assert open_cells == {"Owner", "Status", "Comment"}
    assert {
        cell.value for cell in next(zip(*sheet.iter_rows(min_row=7, min_col=headings.index("Status") + 1), strict=True))
    } == {"accepted", "open"}
    rules = {rule.type: rule for rule in sheet.data_validations.dataValidation}
    assert rules["list"].formula1 == '"open,in review,accepted,corrected,disputed"'


def test_causes_are_counted_and_drawn(book: Path) -> None:
    saved = values(book)
    header = next(row for row in range(1, 100) if saved["Breaks by cause"].cell(row, 1).value == "Cause")
    shown = [column(saved, "Breaks by cause", name, header) for name in ("Cause", "Parts", "Proved", "Unexplained")]
    assert list(zip(*shown, strict=True))[:5] == [
        ("unexplained", 2, 0, 2),
        ("extra_interest", 1, 0, 0),
        ("missing_fill", 1, 1, 0),
        ("missing_interest", 1, 0, 0),
        ("quantity", 1, 0, 0),
    ]
    with zipfile.ZipFile(book) as archive:
        charts = [archive.read(name).decode() for name in archive.namelist() if "charts/chart" in name]
    assert len(charts) == 2
    places = re.findall(r"<c:f>'Breaks by cause'!\$(\w)\$(\d+):\$\w\$(\d+)</c:f>", charts[0])
    assert places == [(letter, str(header + 1), str(header + 5)) for value in "CDEFG" for letter in ("A", value)]


def test_only_events_that_are_not_alike_are_listed(book: Path) -> None:
    saved = values(book)
    assert sorted(column(saved, "Events", "Found")) == ["differs", "only_at_exchange", "only_in_ledger"]
    said = "3 in common, 1 differs, 1 only in ledger, 1 only at exchange. Those in common are not listed."
    assert said in [cell.value for cell in saved["Events"][2]]


def test_adjustments_are_the_rows_with_a_reason(book: Path) -> None:
    saved = values(book)
    by_hand = all_frames()["ledger"].filter(pl.col("reason").is_not_null())
    assert sorted(column(saved, "Adjustments", "Event ID")) == sorted(by_hand["event_id"].to_list())
    assert "=approved by the desk" in column(saved, "Adjustments", "Comment")


def test_rows_without_an_event_are_listed(book: Path, tmp_path: Path) -> None:
    assert column(values(book), "Unclassified", "Stated type") == ["99/999", "=1+1"]
    frames = all_frames()
    frames["statements"] = frames["statements"].with_columns(
        event_id=pl.lit(None, pl.String), input=1, row=2, no_event_because=pl.lit(COMMAND)
    )
    write_book(frames, tmp_path / "book.xlsx")
    saved = values(tmp_path / "book.xlsx")
    assert column(saved, "Unclassified", "Meaning") == ["leg", "unclassified", "unclassified"]
    assert column(saved, "Unclassified", "Row") == [2, 2, 2]
    assert column(saved, "Unclassified", "No event because") == [COMMAND] * 3


def test_dangerous_text_stays_text_and_long_text_is_cut(tmp_path: Path) -> None:
    frames = all_frames()
    long = pl.when(pl.col("place") == 2).then(pl.lit("x" * 5_000)).otherwise("hypothesis").alias("hypothesis")
    frames["break_causes"] = frames["break_causes"].with_columns(long)
    write_book(frames, tmp_path / "book.xlsx")
    saved = openpyxl.load_workbook(tmp_path / "book.xlsx")
    cells = [cell for sheet in saved if sheet.title != "Ledger" for row in sheet.iter_rows() for cell in row]
    dangerous = [cell for cell in cells if cell.value in (COMMAND, "=1+1", "-7+1", "+missing, see mail of 3 May")]
    assert len(dangerous) == 3 + 1 + 2 + 4
    assert {(cell.data_type, cell.quotePrefix) for cell in dangerous} == {("s", True)}
    assert "x" * 1_500 + "... (5000 characters)" in column(saved, "Break causes", "Hypothesis")
    assert max(line.height or 0 for sheet in saved for line in sheet.row_dimensions.values()) < 409


@pytest.mark.parametrize("name", [*RECONCILIATION_FRAMES, *STATEMENT_FRAMES])
def test_a_frame_that_is_not_there_has_no_sheet(tmp_path: Path, name: str) -> None:
    frames = all_frames()
    together = {"breaks", "break_causes", "reviews"}
    left_out = together if name in together else {name}
    write_book({one: frame for one, frame in frames.items() if one not in left_out}, tmp_path / "book.xlsx")
    names = set(openpyxl.load_workbook(tmp_path / "book.xlsx").sheetnames)
    gone = {
        "matches": {"Events"},
        "comparison": {"Comparison"},
        **{one: {"Breaks", "Earlier breaks", "Break causes", "Breaks by cause"} for one in together},
        "roll_forward": {"Roll-forward"},
        "lead": {"Lead"},
        "adjustment_comments": set(),
        "statements": {"Unclassified"},
        "statement_sums": {"Control totals"},
        "certificate": {"Certificate"},
    }
    assert set(SHEETS) - names == gone[name]


def test_a_replay_alone_has_none_of_these_sheets(tmp_path: Path) -> None:
    frames = made_up_frames()
    write_book({**frames, "ledger": all_frames()["ledger"].with_columns(reason=None)}, tmp_path / "book.xlsx")
    assert openpyxl.load_workbook(tmp_path / "book.xlsx").sheetnames == ["Checks", "Ledger", "Parameters"]


def test_without_breaks_the_sheet_says_so(tmp_path: Path) -> None:
    frames = {name: frame.clear() if "break" in name else frame for name, frame in all_frames().items()}
    write_book(frames, tmp_path / "book.xlsx")
    saved = values(tmp_path / "book.xlsx")
    assert any(str(cell.value).startswith("No breaks") for cell in saved["Breaks"][2])
    assert not {"Break causes", "Breaks by cause"} & set(saved.sheetnames)
    assert saved["Checks"]["B3"].value == "OK"


@pytest.mark.libreoffice
@pytest.mark.usefixtures("libreoffice")
def test_parts_on_several_sheets_are_summed_over_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reports.workbook.SHEET_ROWS_MAX", HEADER_ROW + 4)
    write_book(all_frames(), tmp_path / "book.xlsx")
    saved = values(tmp_path / "book.xlsx")
    assert {"Break causes 1", "Break causes 2", "Roll-forward 2", "Lead 2", "Ledger 3"} <= set(saved.sheetnames)
    assert column(saved, "Roll-forward 1", "Tied")[0] == "OK"
    assert differing(tmp_path / "book.xlsx", tmp_path / "recalculated") == []
    assert saved["Checks"]["B3"].value == "OK"


def test_sums_over_too_many_parts_are_values(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sheets_reconciliation_breaks, "LIVE_WORK_MAX", 10)
    write_book(all_frames(), tmp_path / "book.xlsx")
    assert not [
        text for (sheet, _), text in formulas(tmp_path / "book.xlsx").items() if "SUMIFS" in text and sheet == "Breaks"
    ]
    assert column(values(tmp_path / "book.xlsx"), "Breaks", "Explained") == [12.4, 1, 0]


@pytest.mark.parametrize("rule", ["OR", "AND", "verdict", ""])
def test_a_difference_is_live_only_where_the_formula_says_what_the_frame_does(tmp_path: Path, rule: str) -> None:
    lines = {
        "OR": ["1 - - matched", "2 1 1 matched"],
        "AND": ["1 - 1 only_in_ledger", "- - - not_compared"],
        "verdict": ["1 - 1 only_in_ledger", "1 2 - not_compared", "- 1 -1 only_at_exchange"],
        "": ["1 - 1 only_in_ledger", "1 - - matched"],
    }[rule]
    frame = frame_of("\n".join(lines), "ledger exchange difference verdict", COMPARISON, position=pl.lit(LB))
    write_book({**all_frames(), "comparison": frame}, tmp_path / "book.xlsx")
    live = [text for (sheet, _), text in formulas(tmp_path / "book.xlsx").items() if sheet == "Comparison"]
    assert len(live) == (len(lines) if rule else 0)
    assert all(text.startswith(f"=IF({rule}(") or (rule == "verdict" and '"not_compared"' in text) for text in live)


def test_formulas_use_only_what_every_program_has(book: Path) -> None:
    saved = values(book)
    allowed = {"IF", "AND", "OR", "ABS", "SUM", "SUMIFS", "COUNTIFS"}
    for (sheet, cell), formula in formulas(book).items():
        assert not str(saved[sheet][cell].value).startswith("#")
        assert set(re.findall(r"([A-Z]+)\(", formula)) <= allowed


def interest_too() -> dict[str, pl.DataFrame]:
    return {**all_frames(), **interest_frames()}


@pytest.fixture(scope="module")
def whole_book(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("whole") / "book.xlsx"
    write_workbook(interest_too(), path)
    return path


def test_the_whole_workbook_has_every_sheet_in_its_order(whole_book: Path) -> None:
    assert openpyxl.load_workbook(whole_book).sheetnames == [
        *("About", "Sign-off", "Checks", "Lead", "Roll-forward", "Positions", "Over time", "Comparison"),
        *("Interest per day", "Interest causes", "Interest roll-forward", "Interest"),
        *("Breaks by cause", "Breaks", "Earlier breaks", "Break causes", "Events", "Adjustments", "Ledger"),
        *("Certificate", "Control totals", "Unclassified", "Parameters", "Manifest", "Glossary"),
    ]
    saved = values(whole_book)
    assert saved["Checks"]["B3"].value == "OK"
    about = [cell.value for row in saved["About"].iter_rows() for cell in row]
    assert set(DESCRIPTIONS.values()) <= set(about)
    where = column(saved, "Glossary", "Where", header=4)
    assert set(DESCRIPTIONS) <= set(where)


@pytest.mark.libreoffice
@pytest.mark.usefixtures("libreoffice")
def test_the_whole_workbook_is_recalculated_to_what_it_shows(whole_book: Path, tmp_path: Path) -> None:
    assert [one for one in differing(whole_book, tmp_path) if not (one[0] == "Checks" and one[1][0] == "E")] == []


@pytest.mark.parametrize("ending", ["parquet", "csv"])
def test_each_frame_that_is_there_is_read(tmp_path: Path, ending: str) -> None:
    frames = all_frames()
    for name, frame in frames.items():
        getattr(frame, f"write_{ending}")(tmp_path / f"{name}.{ending}")
    assert set(read_frames(tmp_path)) == set(frames)
    assert all(frame.equals(frames[name]) for name, frame in read_frames(tmp_path).items())
    (tmp_path / f"lead.{ending}").unlink()
    with pytest.raises(LedgerError, match=r"lead.*missing"):
        read_frames(tmp_path)


def test_breaks_without_their_causes_are_refused(tmp_path: Path) -> None:
    frames = all_frames()
    del frames["break_causes"]
    with pytest.raises(LedgerError, match="break_causes: not the frame of a replay"):
        write_workbook(frames, tmp_path / "book.xlsx")


def test_the_same_reconciliation_gives_the_same_bytes(whole_book: Path, tmp_path: Path) -> None:
    write_workbook(interest_too(), tmp_path / "again.xlsx")
    assert (tmp_path / "again.xlsx").read_bytes() == whole_book.read_bytes()
