"""The workbook: what LibreOffice recalculates, what other readers read, and what it must never do."""

import re
import zipfile
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import openpyxl
import polars as pl
import pytest

from ledger.columns import (
    CHECKS,
    FRAMES,
    INPUT_SUMS,
    INPUTS,
    LEDGER,
    MARK_FIGURES,
    PARAMETERS,
    POSITIONS,
    POSTINGS,
    schema,
)
from ledger.history import history_of
from ledger.input_sums import Booked
from ledger.ordering import POSITION_KEY, index_positions
from ledger.refusals import LedgerError
from reports import workbook
from reports.frames import read_frames
from reports.picture import convert, render
from reports.workbook import write_workbook

HEADER_ROW = 6
SHEETS = ["About", "Sign-off", "Checks", "Positions", "Over time", "Ledger", "Parameters", "Manifest", "Glossary"]
LB, SQ, LQ = "main:BTC-USDT:BTC", "main:ETH-USDT:USDT", "hedge:BTC-USDT:USDT"

# LB opens 1 BTC, is charged interest and sells half. SQ (old mode) opens, adds margin and is charged
# interest. LQ is the overfill of rules 2: long 1 BTC at 100,000, sell 2 at 125,000.
EVENT_COLUMNS = (
    "position event_number part episode kind action direction mode side quantity price value fee fee_currency"
    " leverage initial_margin entry_price realised_pnl"
)
EVENTS = """
LB 1 1 1 fill     open     long  new buy  1   100000 100000 0.001 BTC  10 0.1   100000 -
LB 2 1 1 interest interest long  new -    -   -      -      -     -    10 -     100000 -
LB 3 1 1 fill     reduce   long  new sell 0.5 110000 55000  55    USDT 10 -     100000 -
SQ 1 1 1 fill     open     short old sell 10  2500   25000  25    USDT 5  5000  2500   -
SQ 2 1 1 margin   margin   short old -    -   -      -      -     -    5  -     2500   -
SQ 3 1 1 interest interest short old -    -   -      -      -     -    5  -     2500   -
LQ 1 1 1 fill     open     long  new buy  1   100000 100000 0     BTC  10 10000 100000 -
LQ 2 1 1 fill     close    long  new sell 1   125000 125000 0     USDT 10 -     -      25000
LQ 2 2 2 fill     open     short new sell 1   125000 125000 0     USDT 10 12500 125000 -
"""
FLOW_COLUMNS = "base_change quote_change margin_change account_base account_quote"
FLOWS = """
0.999             -100000 0.1    -0.1 0
0                 -0.0123 0      0    0
-0.5              54945   0      0    0
-10               24975   5000   0    -5000
0                 0       250.5  0    -250.5
-0.00012345678901 0       0      0    0
1                 -100000 10000  0    -10000
-1                100000  -10000 0    35000
-1                125000  12500  0    -12500
"""
LIFE_COLUMNS = (
    "position episode mode direction status base_leg quote_leg margin initial_margin entry_price"
    " interest_charged realised_pnl returned mark_price maintenance_rate liquidation_fee_rate"
)
LIVES = """
LB 1 new long  open     0.499             -45055.0123 0.1    0.1   100000 0.0123 - - 95000  0.03 0.0015
SQ 1 old short open     -10.00012345678901 24975      5250.5 5000  2500   0.0001 - - 2600.5 0.04 0.0001
LQ 1 new long  reversed 0                 0           0      10000 100000 0  25000 35000 -  -    -
LQ 2 new short open     -1                125000      12500  12500 125000 0      - - 95000  0.03 0.0015
"""
NAMES = {"LB": LB, "SQ": SQ, "LQ": LQ}
START = datetime(2026, 11, 1, 14, 55, 0, 123000, tzinfo=UTC)


def rows(text: str, names: str) -> pl.DataFrame:
    """A frame of text from lines of words; `-` is nothing."""
    lines = [line.split() for line in text.split("\n") if line]
    records = [[None if word == "-" else NAMES.get(word, word) for word in line] for line in lines]
    return pl.DataFrame(records, schema=dict.fromkeys(names.split(), pl.String), orient="row")


def typed(frame: pl.DataFrame, columns: tuple) -> pl.DataFrame:
    """The frame with all columns of the registry: given ones cast, computed ones computed, others empty."""
    for column in columns:
        if column.name in frame.columns:
            frame = frame.with_columns(pl.col(column.name).cast(column.dtype))
        elif column.formula is None:
            frame = frame.with_columns(pl.lit(None, column.dtype).alias(column.name))
    for column in columns:
        if column.formula is not None:
            frame = frame.with_columns(column.expression())
    return frame.select(schema(columns).names())


def ledger_frame() -> pl.DataFrame:
    frame = pl.concat([rows(EVENTS, EVENT_COLUMNS), rows(FLOWS, FLOW_COLUMNS)], how="horizontal")
    changes = [pl.col(f"{balance}_change").cast(pl.Decimal(38, 18)) for balance in ("base", "quote", "margin")]
    openings = [
        (change.cum_sum() - change).over("position").alias(change.meta.output_name().replace("change", "opening"))
        for change in changes
    ]
    hours = pl.duration(hours=pl.col("event_number").cast(pl.Int64))
    origin = pl.concat_str("position", pl.lit(":"), "event_number").alias("event_id")
    frame = frame.with_columns(*openings, origin, pl.lit(START).alias("time") + hours)
    frame = frame.with_columns(input=pl.lit("1"), row=pl.int_range(2, pl.len() + 2), insurance_fund=pl.lit("0"))
    return typed(frame, LEDGER)


def positions_frame() -> pl.DataFrame:
    frame = rows(LIVES, LIFE_COLUMNS)
    key = pl.col("position").str.split(":").list
    instrument = key.get(1).str.split("-").list
    frame = frame.with_columns(
        account=key.get(0),
        instrument=key.get(1),
        base_currency=instrument.get(0),
        quote_currency=instrument.get(1),
        margin_currency=key.get(2),
        opened=pl.lit(START),
        closed=pl.when(pl.col("status") != "open").then(pl.lit(START)),
        events=pl.lit("3"),
        base_interest=pl.lit("0"),
        quote_interest=pl.lit("0"),
        is_long=(pl.col("direction") == "long").cast(pl.Int8),
        margin_is_base=(key.get(2) == instrument.get(0)).cast(pl.Int8),
    )
    return typed(frame, POSITIONS)


def history_frame(ledger: pl.DataFrame) -> pl.DataFrame:
    """The moments of the ledger, at the marks of the positions."""
    keys = pl.DataFrame([name.split(":") for name in (LB, SQ, LQ)], schema=POSITION_KEY, orient="row")
    figures = [column.name for column in MARK_FIGURES]
    marks = positions_frame().select("instrument", *figures).drop_nulls().unique(maintain_order=True)
    return history_of(ledger, index_positions(keys), marks)


def sums_frame(ledger: pl.DataFrame) -> pl.DataFrame:
    """The control sums of a file of events of which the ledger has everything."""
    names = pl.DataFrame({"position": [LB, SQ, LQ]}).with_columns(
        base_currency=pl.col("position").str.extract(":(.*)-"),
        quote_currency=pl.lit("USDT"),
        margin_currency=pl.col("position").str.extract(":([A-Z]+)$"),
    )
    booked = Booked()
    booked.add(ledger, names)
    rows = booked.frame().with_columns(rows=pl.lit(3), total="booked", absolute_total=pl.col("booked").abs())
    order = ["column", "kind", "currency"]
    return typed(rows.with_columns(left_out=pl.lit("0")), INPUT_SUMS).filter(pl.col("booked") != 0).sort(order)


def made_up_frames() -> dict[str, pl.DataFrame]:
    """Small consistent frames, as a replay would give them."""
    ledger = ledger_frame()
    checks = {
        "check": ["opening + change = closing", "postings balance", "recorded initial margin"],
        "description": ["Each balance.", "Per currency and event.", "Within the tolerance of the formula."],
        "rows_tested": ["27", "18", "4"],
        "failures": ["0", "0", "0"],
        "largest_residual": ["0", "0", "0.00024"],
        "tolerance": ["0", "0", "0.001"],
    }
    parameters = [
        ["overfill", "reverse", "What the rest of an order does.", "rules 2 [S]"],
        ["initial_margin_tolerance", "0.001", "Largest relative difference.", "rules 2 [V]"],
        ["as_at", "2026-11-01T18:00:00.000Z", "Time of the balances.", "run"],
    ]
    inputs = {
        "input": ["1"],
        "file": ["fills.csv"],
        "bytes": ["1234"],
        "sha256": ["9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"],
        "rows": [str(ledger.height)],
        "first_time": [START],
        "last_time": [START],
    }
    posting = {"position": [LB], "episode": ["1"], "posting_account": ["assets"], "amount": ["0.999"]}
    return {
        "ledger": ledger,
        "postings": typed(pl.DataFrame(posting), POSTINGS),
        "positions": positions_frame(),
        "checks": typed(pl.DataFrame(checks), CHECKS),
        "parameters": pl.DataFrame(parameters, schema=schema(PARAMETERS), orient="row"),
        "inputs": typed(pl.DataFrame(inputs), INPUTS),
        "input_sums": sums_frame(ledger),
        "history": history_frame(ledger),
    }


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("book") / "ledger.xlsx"
    write_workbook(made_up_frames(), path)
    return path


def formulas(path: Path) -> dict[tuple[str, str], str]:
    """Every formula of a workbook by sheet and cell."""
    book = openpyxl.load_workbook(path)
    cells = (cell for sheet in book for row in sheet.iter_rows() for cell in row)
    return {(cell.parent.title, cell.coordinate): cell.value for cell in cells if cell.data_type == "f"}


def values(path: Path) -> openpyxl.Workbook:
    """The workbook with the values its formulas were saved with."""
    return openpyxl.load_workbook(path, data_only=True)


def column(book: openpyxl.Workbook, sheet: str, heading: str, header: int = HEADER_ROW) -> list:
    """The cells under a heading."""
    headings = [cell.value for cell in book[sheet][header]]
    return [row[headings.index(heading)].value for row in book[sheet].iter_rows(min_row=header + 1)]


def differences(path: Path, folder: Path) -> list[tuple]:
    """Formulas whose saved value is not what LibreOffice computes."""
    saved, computed = values(path), values(convert(path, "xlsx", folder))
    found = []
    for (sheet, cell), formula in formulas(path).items():
        one, other = saved[sheet][cell].value, computed[sheet][cell].value
        # Sums of the tie-out lose what their tolerance allows, a difference what its operands cannot tell; all else
        # agrees to 13 digits.
        read = [saved[sheet][name].value for name in re.findall(r"(?<![!$])\b[A-Z]{1,2}[0-9]+\b", formula)]
        lost = 1e-15 * max([0, *map(size_of, read)])
        allowed = max(lost, 1e-13 * max(abs(one), abs(other), 1e-3)) if is_number(one, other) else 0
        apart = abs(one - other) > allowed if is_number(one, other) else one != other
        if apart:
            found.append((sheet, cell, formula, one, other))
    return found


def size_of(value: object) -> float:
    """The size of a cell's number; a date's is that of its days."""
    return 50_000 if isinstance(value, datetime) else abs(value) if isinstance(value, int | float) else 0


def is_number(*candidates: object) -> bool:
    return all(isinstance(candidate, int | float) for candidate in candidates)


def test_sheets_stand_in_order(book: Path) -> None:
    assert openpyxl.load_workbook(book).sheetnames == SHEETS


@pytest.mark.libreoffice
@pytest.mark.usefixtures("libreoffice")
def test_another_program_recalculates_every_formula_to_the_saved_value(book: Path, tmp_path: Path) -> None:
    assert len(formulas(book)) > 200
    assert differences(book, tmp_path) == []


@pytest.mark.wrong_frames
@pytest.mark.libreoffice
@pytest.mark.usefixtures("libreoffice")
def test_a_wrong_saved_value_is_found(tmp_path: Path) -> None:
    frames = made_up_frames()
    wrong = pl.col("margin_ratio") + pl.lit("0.000000001").cast(pl.Decimal(38, 18))
    frames["positions"] = frames["positions"].with_columns(wrong)
    write_workbook(frames, tmp_path / "wrong.xlsx")
    assert len(differences(tmp_path / "wrong.xlsx", tmp_path / "recalculated")) == 3


@pytest.mark.libreoffice
@pytest.mark.usefixtures("libreoffice")
def test_a_changed_number_fails_the_tie_out_and_the_whole(tmp_path: Path) -> None:
    write_workbook(made_up_frames(), tmp_path / "book.xlsx")
    changed = openpyxl.load_workbook(tmp_path / "book.xlsx")
    sheet = changed["Ledger"]
    headings = [cell.value for cell in sheet[HEADER_ROW]]
    sheet.cell(HEADER_ROW + 4, headings.index("Base change") + 1).value = 0.9991
    changed.save(tmp_path / "changed.xlsx")
    computed = values(convert(tmp_path / "changed.xlsx", "xlsx", tmp_path / "recalculated"))
    assert computed["Checks"]["B3"].value == "FAIL"
    assert computed["About"]["B4"].value == "FAIL"


def test_a_failing_check_is_shown_as_failing(tmp_path: Path) -> None:
    frames = made_up_frames()
    frames["checks"] = frames["checks"].with_columns(failures=pl.Series([0, 1, 0], dtype=pl.UInt64))
    write_workbook(frames, tmp_path / "book.xlsx")
    saved = values(tmp_path / "book.xlsx")
    assert column(saved, "Checks", "Result", header=6)[:3] == ["OK", "FAIL", "OK"]
    assert saved["Checks"]["B3"].value == "FAIL"


def test_no_formula_shows_an_error_or_uses_another_function(book: Path) -> None:
    saved = values(book)
    allowed = {"IF", "AND", "OR", "MAX", "MIN", "ABS", "SUM", "SUMIFS", "COUNTIFS"}
    for (sheet, cell), formula in formulas(book).items():
        assert not str(saved[sheet][cell].value).startswith("#")
        assert set(re.findall(r"([A-Z]+)\(", formula)) <= allowed


def test_other_readers_read_the_same(book: Path) -> None:
    for sheet, name in (("Positions", "positions"), ("Ledger", "ledger")):
        read = pl.read_excel(book, sheet_name=sheet, read_options={"header_row": HEADER_ROW - 1})
        frame = made_up_frames()[name].sort("position", "episode" if name == "positions" else "event_number")
        assert read["Position"].to_list() == frame["position"].to_list() == column(values(book), sheet, "Position")
        for heading in (heading for heading in read.columns if heading.endswith("(exact)")):
            exact = read[heading].cast(pl.String).to_list()
            assert exact == column(values(book), sheet, heading)
        margin = read["Margin (exact)" if name == "positions" else "Margin closing (exact)"]
        expected = frame["margin" if name == "positions" else "margin_closing"]
        assert [Decimal(text) for text in margin.cast(pl.String)] == expected.to_list()


def test_every_row_of_the_frames_is_on_the_sheets_without_gaps(book: Path) -> None:
    saved, frames = values(book), made_up_frames()
    for sheet, name in (("Positions", "positions"), ("Ledger", "ledger")):
        assert len(column(saved, sheet, "Position")) == frames[name].height
        assert None not in column(saved, sheet, "Position")
    where = column(saved, "Glossary", "Where", header=4)
    assert None not in where
    for sheet in ("Positions", "Ledger"):
        headings = {cell.value for cell in saved[sheet][HEADER_ROW]}
        listed = column(saved, "Glossary", "Heading", header=4)
        assert headings == {heading for heading, one in zip(listed, where, strict=True) if one == sheet}


def test_every_column_of_the_frames_is_in_the_glossary(book: Path) -> None:
    saved = values(book)
    where, names = column(saved, "Glossary", "Where", header=4), column(saved, "Glossary", "Column", header=4)
    for frame, columns in FRAMES.items():
        places = [n for n, w in zip(names, where, strict=True) if w.lower().split(" (")[0].startswith(frame[:5])]
        named = {"inputs": "Manifest, inputs", "input_sums": "Manifest, sums", "history": "Over time"}.get(frame)
        places += [n for n, w in zip(names, where, strict=True) if w == named]
        assert {one.name for one in columns} <= set(places)


def test_the_same_frames_give_the_same_bytes(book: Path, tmp_path: Path) -> None:
    again = tmp_path / "again.xlsx"
    write_workbook(made_up_frames(), again)
    assert again.read_bytes() == book.read_bytes()
    with zipfile.ZipFile(again) as archive:
        assert {entry.date_time[0] for entry in archive.infolist()} == {1980}


def test_dangerous_text_stays_text(tmp_path: Path) -> None:
    texts = {
        "=1+1": "=1+1",
        "+cmd|' /C calc'!A0": "+cmd|' /C calc'!A0",
        "-2+3": "-2+3",
        "@SUM(A1)": "@SUM(A1)",
        "a\x00b\x1bc\nd": r"a\x00b\x1bc\x0ad",
        "<r><t>x</t></r>": "<r><t>x</t></r>",
        "{row} {}": "{row} {}",
        "https://example.org": "https://example.org",
        "x" * 40_000: "x" * 32_000 + "... (40000 characters)",
    }
    frames = made_up_frames()
    frames["ledger"] = frames["ledger"].with_columns(event_id=pl.Series(list(texts)))
    path = tmp_path / "book.xlsx"
    write_workbook(frames, path)
    saved = openpyxl.load_workbook(path)
    headings = [cell.value for cell in saved["Ledger"][HEADER_ROW]]
    cells = [row[headings.index("Event ID")] for row in saved["Ledger"].iter_rows(min_row=HEADER_ROW + 1)]
    assert {cell.data_type for cell in cells} == {"s"}
    assert sorted(cell.value for cell in cells) == sorted(texts.values())
    assert [cell.quotePrefix for cell in cells] == [cell.value[0] in "=+-@" for cell in cells]


@pytest.mark.libreoffice
@pytest.mark.usefixtures("libreoffice")
def test_a_long_ledger_goes_on_on_further_sheets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workbook, "SHEET_ROWS_MAX", HEADER_ROW + 4)
    path = tmp_path / "book.xlsx"
    frames = made_up_frames()
    write_workbook({**frames, "history": frames["history"].head(1)}, path)
    names = ["Ledger 1", "Ledger 2", "Ledger 3"]
    assert openpyxl.load_workbook(path).sheetnames == [
        *SHEETS[: SHEETS.index("Ledger")],
        *names,
        *SHEETS[SHEETS.index("Ledger") + 1 :],
    ]
    saved = values(path)
    rows = [row for name in names for row in column(saved, name, "Event ID")]
    assert len(rows) == made_up_frames()["ledger"].height
    assert max(saved[name].max_row for name in names) == HEADER_ROW + 4
    first = {name: formulas(path)[name, "G7"] for name in names}
    assert first["Ledger 1"] == "=IF(AND(B7=1,C7=1),0,I6)"
    assert first["Ledger 2"] == "=IF(AND(B7=1,C7=1),0,'Ledger 1'!I10)"
    tied = list(zip(column(saved, "Checks", "Sheet", 14), column(saved, "Checks", "Column", 14), strict=True))
    assert [(name, "rows") in tied for name in names] == [True] * 3
    found = differences(path, tmp_path / "recalculated")
    # What a line of the tie-out is apart by is within its tolerance, which the next columns say.
    assert [one for one in found if not (one[0] == "Checks" and one[1][0] == "E")] == []


def test_nothing_is_left_behind_when_writing_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "book.xlsx"
    target.write_bytes(b"the one before")
    monkeypatch.setattr(workbook, "write_glossary", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_workbook(made_up_frames(), target)
    assert [path.name for path in tmp_path.iterdir()] == ["book.xlsx"]
    assert target.read_bytes() == b"the one before"


def test_a_missing_folder_and_foreign_frames_are_refused(tmp_path: Path) -> None:
    frames = made_up_frames()
    with pytest.raises(LedgerError, match="cannot be written"):
        write_workbook(frames, tmp_path / "nowhere" / "book.xlsx")
    with pytest.raises(LedgerError, match="positions: not the frame of a replay"):
        write_workbook({**frames, "positions": frames["positions"].drop("margin")}, tmp_path / "book.xlsx")
    with pytest.raises(LedgerError, match="checks: empty"):
        write_workbook({**frames, "checks": frames["checks"].clear()}, tmp_path / "book.xlsx")


def test_empty_ledger_and_positions_make_a_workbook(tmp_path: Path) -> None:
    frames = made_up_frames()
    for name in ("ledger", "positions", "history", "inputs"):
        frames[name] = frames[name].clear()
    write_workbook(frames, tmp_path / "book.xlsx")
    assert values(tmp_path / "book.xlsx")["Checks"]["B3"].value == "OK"


@pytest.mark.parametrize("ending", ["parquet", "csv"])
def test_frames_are_read_as_they_were_written(tmp_path: Path, ending: str) -> None:
    frames = made_up_frames()
    for name, frame in frames.items():
        getattr(frame, f"write_{ending}")(tmp_path / f"{name}.{ending}")
    read = read_frames(tmp_path)
    for name, frame in frames.items():
        assert read[name].equals(frame)
        assert read[name].schema == frame.schema


def test_frames_that_no_replay_wrote_are_refused(tmp_path: Path) -> None:
    for name, frame in made_up_frames().items():
        frame.write_csv(tmp_path / f"{name}.csv")
    (tmp_path / "checks.csv").rename(tmp_path / "other.csv")
    with pytest.raises(LedgerError, match=r"checks.*missing"):
        read_frames(tmp_path)
    (tmp_path / "other.csv").rename(tmp_path / "checks.csv")
    text = (tmp_path / "positions.csv").read_text()
    for wrong, message in (
        (text.replace("-10.000123456789010000", "-10.00012345678901000012"), "cannot be read"),
        (text.replace("-10.000123456789010000", "ten"), "cannot be read"),
        (text.replace("base_leg", "base"), "column base_leg is missing"),
        ("", "cannot be read"),
    ):
        (tmp_path / "positions.csv").write_text(wrong)
        with pytest.raises(LedgerError, match=message):
            read_frames(tmp_path)
    (tmp_path / "positions.parquet").write_bytes(b"PAR1 broken")
    with pytest.raises(LedgerError, match="cannot be read"):
        read_frames(tmp_path)


@pytest.mark.libreoffice
@pytest.mark.usefixtures("libreoffice")
def test_a_sheet_becomes_a_picture(book: Path, tmp_path: Path) -> None:
    render(book, "Positions", tmp_path / "positions.png")
    assert (tmp_path / "positions.png").read_bytes()[:4] == b"\x89PNG"
    with pytest.raises(ValueError, match="no sheet Lead; there are About"):
        render(book, "Lead", tmp_path / "lead.png")
