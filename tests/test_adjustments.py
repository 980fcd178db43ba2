"""Manual adjustments: the template comes back as events, digits are kept, and what a spreadsheet hides is refused."""

import zipfile
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import openpyxl
import pytest

from ledger.columns import EVENTS, KINDS, MODES, SIDES
from ledger.files import read_events
from ledger.reading import EVENTS_SCHEMA
from ledger.refusals import REFUSAL_SCHEMA, LedgerError
from ledger.statements.adjustments import (
    ADJUSTMENTS,
    ADJUSTMENTS_REQUIRED,
    COMMENTS_SCHEMA,
    MAPPING,
    SHEET,
    Adjustments,
    read_adjustments,
)
from ledger.statements.workbook_cells import COLUMNS_MAX, LARGEST_BYTES, ROWS_MAX, TEXT_LENGTH_MAX
from reports.adjustment_template import write_template

Row = dict[str, Any]

MARGIN: Row = {
    "time": "2024-05-01T12:00:00Z",
    "event_id": "adjustment-1",
    "account": "main",
    "instrument": "BTC-USDT",
    "mode": "new",
    "margin_currency": "quote",
    "kind": "adjustment",
    "amount": "-20000966.0227737993648251",
    "currency": "USDT",
    "reason": "missing_interest",
    "comment": "J. Doe: two rows are missing\nsee ticket 17",
}
FIRST = 2
"""The row of the first adjustment where the headings are in row 1."""


def saved(path: Path, *rows: Row, change: Callable[[openpyxl.Workbook], None] | None = None, **options: Any) -> Path:
    """A workbook with these adjustments; `change` may do to it what a person could."""
    book = openpyxl.Workbook()
    page = book.active
    page.title = options.get("sheet", SHEET)
    headings = options.get("headings", tuple(MARGIN))
    for row_number, row in enumerate((dict(zip(headings, headings, strict=True)), *rows), start=1):
        for column, name in enumerate(headings, start=1):
            page.cell(row_number, column).value = row.get(name)
    if change:
        change(book)
    book.save(path)
    return path


def read(path: Path) -> Adjustments:
    found = read_adjustments(path, 3)
    assert found.events.schema == EVENTS_SCHEMA
    assert found.comments.schema == COMMENTS_SCHEMA
    assert found.refusals.schema == REFUSAL_SCHEMA
    assert found.events.height == found.comments.height
    return found


def good(path: Path) -> list[Row]:
    found = read(path)
    assert found.refusals.is_empty(), found.refusals.to_dicts()
    return found.events.rows(named=True)


def refused(path: Path) -> list[tuple[Any, ...]]:
    """Row, column and value of what is refused; every refusal says where, why and what to do."""
    found = read(path).refusals
    assert found.height
    for row in found.rows(named=True):
        assert row["file"].startswith(str(path))
        assert row["rule"].endswith(".")
        assert row["remedy"].endswith(".")
    return found.select("row", "column", "value").rows()


def rule(path: Path) -> str:
    """The sentence of the only refusal."""
    return str(read(path).refusals["rule"].item())


# --- what is read -------------------------------------------------------------------------------------------


def test_an_adjustment_becomes_an_event_with_all_its_digits(tmp_path: Path) -> None:
    found = read(saved(tmp_path / "a.xlsx", MARGIN))
    event = {name: value for name, value in found.events.row(0, named=True).items() if value is not None}
    assert event == {
        **{name: value for name, value in MARGIN.items() if name != "comment"},
        "time": datetime(2024, 5, 1, 12, tzinfo=UTC),
        "margin_currency": "USDT",
        "amount": Decimal("-20000966.0227737993648251"),
        "reduce_only": False,
        "input": 3,
        "row": FIRST,
    }
    comment = {"event_id": "adjustment-1", "comment": MARGIN["comment"], "input": 3, "row": FIRST}
    assert found.comments.row(0, named=True) == comment


def test_the_same_as_csv_is_canonical_events(tmp_path: Path) -> None:
    names = [name for name in MARGIN if name != "comment"]
    path = tmp_path / "a.csv"
    path.write_text(f"{','.join(names)}\n{','.join(MARGIN[name] for name in names)}\n", encoding="utf-8")
    from_sheet = read(saved(tmp_path / "a.xlsx", MARGIN)).events
    assert read_events([path]).drop("input").equals(from_sheet.drop("input"))


def test_a_missing_fill_may_be_posted_by_hand(tmp_path: Path) -> None:
    fill = {**MARGIN, "kind": "fill", "side": "buy", "quantity": "0.1", "price": "60000", "amount": "600"}
    event = good(saved(tmp_path / "a.xlsx", fill, headings=tuple(fill)))[0]
    assert (event["kind"], event["side"], event["quantity"]) == ("fill", "buy", Decimal("0.1"))
    assert event["reason"] == "missing_interest"


@pytest.mark.parametrize(
    ("heading", "cell", "moment"),
    [
        ("time (UTC)", datetime(2024, 5, 1, 12, 0, 1), datetime(2024, 5, 1, 12, 0, 1, tzinfo=UTC)),
        ("time (utc)", "2024-05-01 12:00:01", datetime(2024, 5, 1, 12, 0, 1, tzinfo=UTC)),
        ("time (UTC)", "2024-05-01T20:00:01+08:00", datetime(2024, 5, 1, 12, 0, 1, tzinfo=UTC)),
        ("time", "2024-05-01T12:00:01Z", datetime(2024, 5, 1, 12, 0, 1, tzinfo=UTC)),
        ("time", 1714564801000, datetime(2024, 5, 1, 12, 0, 1, tzinfo=UTC)),
    ],
)
def test_a_time_is_text_or_a_date_in_utc(tmp_path: Path, heading: str, cell: object, moment: datetime) -> None:
    headings = (heading, *tuple(MARGIN)[1:])
    path = saved(tmp_path / "a.xlsx", {**MARGIN, heading: cell}, headings=headings)
    assert good(path)[0]["time"] == moment


@pytest.mark.parametrize("cell", [datetime(2024, 5, 1, 12), "2024-05-01 12:00:00"])
def test_a_date_without_zone_is_refused_with_the_way_to_give_one(tmp_path: Path, cell: object) -> None:
    path = saved(tmp_path / "a.xlsx", {**MARGIN, "time": cell})
    assert refused(path)[0][:2] == (FIRST, "time")
    assert "(UTC)" in read(path).refusals["remedy"].item()


@pytest.mark.parametrize(
    ("cell", "amount"),
    [("0.000000000000000001", "0.000000000000000001"), (-0.1, "-0.1"), (1e-7, "0.0000001"), (12345678, "12345678")],
)
def test_a_short_number_may_be_a_number(tmp_path: Path, cell: object, amount: str) -> None:
    assert good(saved(tmp_path / "a.xlsx", {**MARGIN, "amount": cell}))[0]["amount"] == Decimal(amount)


@pytest.mark.parametrize("cell", [20000966.022773799, 1234567.89012345, 123456789012345678])
def test_a_number_with_as_many_digits_as_a_spreadsheet_keeps_is_refused(tmp_path: Path, cell: float) -> None:
    path = saved(tmp_path / "a.xlsx", {**MARGIN, "amount": cell})
    assert refused(path)[0][:2] == (FIRST, "amount")
    assert "apostrophe" in read(path).refusals["remedy"].item()


def test_every_problem_of_every_row_is_named_once(tmp_path: Path) -> None:
    spoiled = {**MARGIN, "amount": 20000966.022773799, "mode": "newest", "event_id": "b", "reason": None}
    path = saved(tmp_path / "a.xlsx", spoiled, MARGIN, {**MARGIN, "event_id": "c", "comment": "", "kind": "fil"})
    assert sorted(refused(path), key=str) == [
        (2, "amount", "20000966.0227738"),
        (2, "mode", "newest"),
        (2, "reason", None),
        (4, "comment", None),
        (4, "kind", "fil"),
    ]
    assert read(path).events["event_id"].to_list() == ["adjustment-1"]


# --- headings and mapping -----------------------------------------------------------------------------------

OWN = {"Booked at (UTC)": "time", "Ref": "event_id", "Why": "reason", "Note": "comment", "Sum": "amount"}
DESK = {own: MARGIN[ours] for own, ours in OWN.items()} | {
    name: value for name, value in MARGIN.items() if name not in OWN.values()
}


def with_mapping(*lines: tuple[Any, Any]) -> Callable[[openpyxl.Workbook], None]:
    def change(book: openpyxl.Workbook) -> None:
        page = book.create_sheet(MAPPING)
        for line in lines:
            page.append(list(line))

    return change


def test_a_desks_own_sheet_is_read_with_a_mapping(tmp_path: Path) -> None:
    lines = [("canonical column", "column of the sheet"), *((ours, own) for own, ours in OWN.items())]
    desk = {**DESK, "Desk": "a column that is not mapped"}
    options = {"headings": tuple(desk), "sheet": "Journal"}
    mapped = read(saved(tmp_path / "a.xlsx", desk, change=with_mapping(*lines), **options))
    assert mapped.refusals.is_empty()
    assert mapped.events.equals(read(saved(tmp_path / "b.xlsx", MARGIN)).events)


def test_a_refusal_names_the_column_of_the_sheet(tmp_path: Path) -> None:
    change = with_mapping(*((ours, own) for own, ours in OWN.items()))
    path = saved(tmp_path / "a.xlsx", {**DESK, "Sum": "1,5"}, change=change, headings=tuple(DESK))
    assert refused(path) == [(FIRST, "Sum", "1,5")]
    assert read(path).refusals["file"].item() == f"{path}, sheet {SHEET}"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (("amont", "Sum"), (2, "canonical column", "amont")),
        (("amount", "Summ"), (2, "column of the sheet", "Summ")),
        (("time", "Sum"), (2, "column of the sheet", "Sum")),
        (("amount", "=A1"), (2, None, "=A1")),
    ],
)
def test_a_mapping_that_names_nothing_is_refused(
    tmp_path: Path, line: tuple[str, str], expected: tuple[object, ...]
) -> None:
    change = with_mapping(("time", "Booked at (UTC)"), line)
    assert expected in refused(saved(tmp_path / "a.xlsx", DESK, change=change, headings=tuple(DESK)))


@pytest.mark.parametrize(
    ("headings", "column", "words"),
    [
        ((*MARGIN, "quantitty"), "quantitty", "not known"),
        (tuple(name for name in MARGIN if name != "reason"), "reason", "required"),
        (tuple(name for name in MARGIN if name != "comment"), "comment", "required"),
        ((*MARGIN, "time (UTC)"), "time", "more than once"),
        ((*MARGIN, "currency"), "currency", "more than once"),
    ],
)
def test_a_wrong_heading_is_refused(tmp_path: Path, headings: tuple[str, ...], column: str, words: str) -> None:
    book = openpyxl.Workbook()
    book.active.append(headings)
    book.save(tmp_path / "a.xlsx")
    found = read(tmp_path / "a.xlsx").refusals.filter(column=column)
    assert words in found["rule"].item()


# --- what a spreadsheet can hide ----------------------------------------------------------------------------


def put(place: str, value: object, kind: str | None = None) -> Callable[[openpyxl.Workbook], None]:
    def change(book: openpyxl.Workbook) -> None:
        book.active[place] = value
        if kind:
            book.active[place].data_type = kind

    return change


AMOUNT, COMMENT, TIME = "H2", "K2", "A2"


@pytest.mark.parametrize("place", [AMOUNT, COMMENT, TIME])
@pytest.mark.parametrize("formula", ["=1+1", "=cmd|' /C calc'!A0", '=HYPERLINK("http://example.org","x")'])
def test_a_formula_is_refused_wherever_it_stands(tmp_path: Path, place: str, formula: str) -> None:
    path = saved(tmp_path / "a.xlsx", MARGIN, change=put(place, formula))
    assert [row[2] for row in refused(path)] == [formula]
    assert "formula" in rule(path)


@pytest.mark.parametrize("text", ["=cmd|' /C calc'!A0", "+1+1", "@SUM(A1)", "=1+1", "<r>x</r>", "-"])
def test_text_that_looks_like_a_formula_is_text(tmp_path: Path, text: str) -> None:
    found = read(saved(tmp_path / "a.xlsx", MARGIN, change=put(COMMENT, text, "s")))
    assert found.refusals.is_empty()
    assert found.comments["comment"].item() == text


@pytest.mark.parametrize("error", ["#REF!", "#DIV/0!", "#N/A", "#VALUE!", "#NAME?", "#NUM!", "#NULL!"])
@pytest.mark.parametrize("kind", ["e", "s"])
@pytest.mark.parametrize("place", [TIME, AMOUNT, COMMENT])
def test_an_error_of_the_spreadsheet_is_refused(tmp_path: Path, error: str, kind: str, place: str) -> None:
    path = saved(tmp_path / "a.xlsx", MARGIN, change=put(place, error, kind))
    assert [row[2] for row in refused(path)] == [error]
    assert "error of the spreadsheet" in rule(path)


def test_merged_cells_are_refused_in_each_of_them(tmp_path: Path) -> None:
    second = {**MARGIN, "event_id": "adjustment-2"}
    path = saved(tmp_path / "a.xlsx", MARGIN, second, change=lambda book: book.active.merge_cells("J2:J3"))
    assert [row[:2] for row in refused(path)] == [(2, "reason"), (3, "reason")]


def test_merged_cells_of_a_remark_do_not_matter(tmp_path: Path) -> None:
    remark = {"time": "# kept by the desk since 2024"}
    path = saved(tmp_path / "a.xlsx", remark, MARGIN, change=lambda book: book.active.merge_cells("A2:K2"))
    assert [row["row"] for row in good(path)] == [3]


def test_a_hidden_sheet_is_not_read(tmp_path: Path) -> None:
    def hide(book: openpyxl.Workbook) -> None:
        book.active.sheet_state = "hidden"
        book.create_sheet("Notes").append(["nothing"])
        book.create_sheet("More").append(["nothing"])
        book.active = 1

    path = saved(tmp_path / "a.xlsx", MARGIN, change=hide)
    assert refused(path) == [(None, None, "Notes, More")]
    assert "visible" in rule(path)


@pytest.mark.parametrize("state", ["hidden", "veryHidden"])
def test_a_hidden_sheet_beside_the_adjustments_changes_nothing(tmp_path: Path, state: str) -> None:
    def add(book: openpyxl.Workbook) -> None:
        book.create_sheet("Other").append(["=1+1"])
        book["Other"].sheet_state = state

    assert len(good(saved(tmp_path / "a.xlsx", MARGIN, change=add))) == 1


@pytest.mark.parametrize("character", ["\ufeff", "\u202e", "\x7f", "\u200b"])
def test_a_comment_has_no_invisible_character(tmp_path: Path, character: str) -> None:
    path = saved(tmp_path / "a.xlsx", {**MARGIN, "comment": f"paid{character}twice"})
    assert [row[:2] for row in refused(path)] == [(FIRST, "comment")]


def test_a_long_cell_is_refused_and_shown_short(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.xlsx", {**MARGIN, "comment": "x" * (TEXT_LENGTH_MAX + 1)})
    value = refused(path)[0][2]
    assert len(value) < 120
    assert str(TEXT_LENGTH_MAX) in rule(path)


def test_a_sheet_with_cells_far_away_is_refused(tmp_path: Path) -> None:
    far = saved(tmp_path / "far.xlsx", MARGIN, change=put("A1048576", "x"))
    wide = saved(tmp_path / "wide.xlsx", MARGIN, change=put("XFD1", "x"))
    assert str(ROWS_MAX) in rule(far)
    assert str(COLUMNS_MAX) in rule(wide)


# --- files that are no workbooks ----------------------------------------------------------------------------


def test_files_that_are_no_workbook_are_refused_in_plain_words(tmp_path: Path) -> None:
    csv = tmp_path / "renamed.xlsx"
    csv.write_text("time,event_id\n", encoding="utf-8")
    old = tmp_path / "old.xls"
    old.write_bytes(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(512))
    locked = tmp_path / "locked.xlsx"
    locked.write_bytes(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(512) + "EncryptedPackage".encode("utf-16-le"))
    other = tmp_path / "other.xlsx"
    with zipfile.ZipFile(other, "w") as archive:
        archive.writestr("mimetype", "application/vnd.oasis.opendocument.spreadsheet")
    empty = tmp_path / "empty.xlsx"
    empty.write_bytes(b"")
    rules = {path.name: rule(path) for path in (csv, old, locked, other, empty, tmp_path / "absent.xlsx")}
    assert rules == {
        "renamed.xlsx": "The file is not an Excel workbook.",
        "old.xls": "The workbook is in the old format of Excel (.xls).",
        "locked.xlsx": "The workbook has a password.",
        "other.xlsx": "The file is not an Excel workbook.",
        "empty.xlsx": "The file is not an Excel workbook.",
        "absent.xlsx": "The file does not exist.",
    }


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.99])
def test_a_workbook_cut_off_is_refused(tmp_path: Path, share: float) -> None:
    whole = saved(tmp_path / "a.xlsx", MARGIN).read_bytes()
    path = tmp_path / "cut.xlsx"
    path.write_bytes(whole[: int(len(whole) * share)])
    assert "damaged or cut off" in rule(path)


def rebuilt(path: Path, target: Path, change: Callable[[str, bytes], bytes]) -> Path:
    """A workbook with other bytes in its parts."""
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in source.namelist():
            archive.writestr(name, change(name, source.read(name)))
    return target


def test_a_workbook_with_broken_parts_is_refused(tmp_path: Path) -> None:
    whole = saved(tmp_path / "a.xlsx", MARGIN)
    with zipfile.ZipFile(whole) as archive:
        names = archive.namelist()
    for number, part in enumerate(name for name in names if name.endswith("sheet1.xml") or "sharedStrings" in name):
        broken = rebuilt(
            whole, tmp_path / f"{number}.xlsx", lambda name, data, part=part: data[:50] if name == part else data
        )
        assert "damaged or cut off" in rule(broken)


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "bomb.xlsx"
    with zipfile.ZipFile(saved(path, MARGIN), "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/media/a.bin", bytes(LARGEST_BYTES))
    assert path.stat().st_size < 1_000_000
    assert "MiB" in rule(path)


def test_entities_of_the_document_do_not_expand(tmp_path: Path) -> None:
    levels = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 10))
    header = f'<?xml version="1.0"?><!DOCTYPE worksheet [<!ENTITY e0 "x">{levels}]>'.encode()

    def change(name: str, data: bytes) -> bytes:
        if not name.endswith("sheet1.xml"):
            return data
        body = data.split(b"?>", 1)[-1] if data.startswith(b"<?xml") else data
        return header + body.replace(b"</sheetData>", b'<row r="3"><c r="A3" t="str"><v>&e9;</v></c></row></sheetData>')

    found = read(rebuilt(saved(tmp_path / "a.xlsx", MARGIN), tmp_path / "b.xlsx", change))
    assert found.refusals.height
    assert all(len(value or "") < 1000 for value in found.refusals["value"])


# --- the template -------------------------------------------------------------------------------------------


def template(path: Path) -> openpyxl.Workbook:
    write_template(path)
    return openpyxl.load_workbook(path)


def test_the_template_as_it_is_holds_no_adjustment(tmp_path: Path) -> None:
    write_template(tmp_path / "a.xlsx")
    assert good(tmp_path / "a.xlsx") == []


def test_a_filled_in_template_is_read(tmp_path: Path) -> None:
    book = template(tmp_path / "a.xlsx")
    page = book[SHEET]
    for column, cell in enumerate(page[1], start=1):
        page.cell(4, column).value = MARGIN.get(cell.value.removesuffix(" (UTC)"))
    book.save(tmp_path / "b.xlsx")
    assert [(row["event_id"], row["row"], row["amount"]) for row in good(tmp_path / "b.xlsx")] == [
        ("adjustment-1", 4, Decimal(MARGIN["amount"]))
    ]


def test_the_example_of_the_template_would_be_read_if_it_were_none(tmp_path: Path) -> None:
    book = template(tmp_path / "a.xlsx")
    page = book[SHEET]
    page["A3"].value = page["A3"].value.split(": ")[-1]
    book.save(tmp_path / "b.xlsx")
    assert [row["kind"] for row in good(tmp_path / "b.xlsx")] == ["adjustment"]


def test_the_template_has_every_column_its_meaning_and_text_cells(tmp_path: Path) -> None:
    book = template(tmp_path / "a.xlsx")
    page = book[SHEET]
    assert [cell.value for cell in page[1]] == ["time (UTC)", *(column.name for column in ADJUSTMENTS[1:])]
    meanings = [cell.value.removeprefix("# ") for cell in page[2]]
    assert meanings == [column.description for column in ADJUSTMENTS]
    assert {dimension.number_format for dimension in page.column_dimensions.values()} == {"@"}
    lists = {
        str(area.sqref).split(":")[0][0]: area.formula1.strip('"') for area in page.data_validations.dataValidation
    }
    assert {*KINDS} | {*MODES} | {*SIDES} <= {word for words in lists.values() for word in words.split(",")}
    explained = {row[0].value for row in book["Explanation"].iter_rows()}
    assert {column.name for column in EVENTS[1:]} | {"comment", "missing_fill"} <= explained
    assert {"reason", "comment"} <= {*ADJUSTMENTS_REQUIRED}


def test_the_template_is_the_same_each_time_and_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    write_template(tmp_path / "a.xlsx")
    write_template(tmp_path / "b.xlsx")
    assert (tmp_path / "a.xlsx").read_bytes() == (tmp_path / "b.xlsx").read_bytes()
    with pytest.raises(LedgerError, match="cannot be written"):
        write_template(tmp_path / "absent" / "a.xlsx")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.xlsx", "b.xlsx"]
