"""The round trip of reviews: workbooks as people save them are read back exactly, or refused in plain words."""

import zipfile
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import openpyxl
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_reconcile_commands import LIABILITY, exact_world, run
from test_reconciliation_sheets import AGEING_AT, LONG, all_frames, plain_frames, reviewed, write_book
from test_workbook import HEADER_ROW, LB, START, column, made_up_frames, values

from ledger.columns import schema
from ledger.reconciliation.breaks import break_ids
from ledger.reconciliation.columns import BREAKS, COMPARISON, REVIEWS, STATUSES
from ledger.reconciliation.reviews import has_entry, reviews_of
from ledger.refusals import BadInput, LedgerError
from reports.cells.texts import UNSEEN
from reports.picture import convert
from reports.previous import read_previous, refuse_loss
from reports.previous_kept import Target
from reports.workbook import write_workbook

NOTHING = pl.DataFrame(schema=schema(COMPARISON))
KEPT = ["break_id", "position", "figure", "stated_by", "unit", "difference", "state", "first_seen", "last_seen"]
KEPT += ["resolved_at", "owner", "status", "comment"]
TEXTS = [
    "=SUM(A1:A9)",
    "+1 call\nback\ttoday",
    "@all: see 'ticket' \"17\" <r>&amp;</r>",
    " blanks around ",
    "Größe 会計 🧾 👩‍💻 e\u0301",
    "_x0041_ and _x005F_x0041_",
    "1e5",
    "x" * 2_000,
]


def with_real_names() -> dict[str, pl.DataFrame]:
    """The made-up frames with breaks that are named as every run names them."""
    frames = all_frames()
    breaks = plain_frames()["breaks"]
    breaks = breaks.with_columns(break_id=break_ids(breaks))
    names = dict(zip(frames["breaks"]["break_id"], breaks["break_id"], strict=True))
    for name in ("break_causes", "comparison"):
        frames[name] = frames[name].with_columns(pl.col("break_id").replace(names))
    first = breaks["break_id"][0]
    reviews = reviewed(breaks.with_columns(pl.col("break_id").replace(first, "1e5")))
    reviews = reviews.with_columns(pl.col("break_id").replace("1e5", first))
    return {**frames, "breaks": breaks, "reviews": reviews}


def commented(texts: list[str], owners: list[str] | None = None, position: str = LB) -> dict[str, pl.DataFrame]:
    """A break for each text, which a reviewer wrote about it."""
    count = len(texts)
    figures = [f"figure_{number}" for number in range(count)]
    breaks = pl.DataFrame({"figure": figures}).with_columns(
        position=pl.lit(position), stated_by=pl.lit("snapshot"), first_seen=pl.lit(START), last_seen=pl.lit(START)
    )
    absent = [pl.lit(None, dtype).alias(name) for name, dtype in schema(BREAKS).items() if name not in breaks.columns]
    breaks = breaks.with_columns(absent).with_columns(break_id=break_ids(breaks), material=pl.lit(value=True))
    breaks = breaks.select(pl.col(name).cast(dtype) for name, dtype in schema(BREAKS).items())
    reviews = reviews_of(breaks, None, NOTHING, AGEING_AT)
    order = {name: number for number, name in enumerate(figures)}
    place = reviews["figure"].replace_strict(order, return_dtype=pl.Int64)
    written = reviews.with_columns(
        comment=pl.Series(texts, dtype=pl.String)[place],
        owner=pl.Series(owners, dtype=pl.String)[place] if owners else pl.lit(None, pl.String),
    )
    frames = all_frames()
    return {**frames, "breaks": breaks, "break_causes": frames["break_causes"].clear(), "reviews": written}


def kept(reviews: pl.DataFrame) -> pl.DataFrame:
    return reviews.select(KEPT).sort("break_id")


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("previous") / "book.xlsx"
    write_book(with_real_names(), path)
    return path


def edited(book: Path, path: Path, edit: Callable[[openpyxl.Workbook], None]) -> Path:
    """The workbook as another program saves it, without any computed value, after `edit`."""
    opened = openpyxl.load_workbook(book)
    edit(opened)
    opened.save(path)
    return path


def cell(opened: openpyxl.Workbook, heading: str, row: int = HEADER_ROW + 1, sheet: str = "Breaks"):
    headings = [one.value for one in opened[sheet][HEADER_ROW]]
    return opened[sheet].cell(row, headings.index(heading) + 1)


def refusals(path: Path, **given: object) -> list[dict]:
    with pytest.raises(BadInput) as refused:
        read_previous(path, **given)
    return refused.value.refusals.to_dicts()


# What comes back


def test_all_that_reviewers_wrote_comes_back(book: Path) -> None:
    reviews = with_real_names()["reviews"]
    read = read_previous(book)
    assert read.schema == schema(REVIEWS)
    assert kept(read).equals(kept(reviews))
    assert read.filter(has_entry()).height == 3


@pytest.mark.parametrize("name", ["openpyxl", "LibreOffice"])
@pytest.mark.libreoffice
@pytest.mark.usefixtures("libreoffice")
def test_other_programs_may_save_it(tmp_path: Path, name: str) -> None:
    # LibreOffice itself turns _x0041_ into A when it saves
    texts = [text for text in TEXTS if name != "LibreOffice" or "_x0041_" not in text]
    frames = commented(texts, [text[:100] for text in texts])
    write_book(frames, tmp_path / "book.xlsx")
    if name == "LibreOffice":
        saved = convert(tmp_path / "book.xlsx", "xlsx", tmp_path / "again")
    else:
        saved = edited(tmp_path / "book.xlsx", tmp_path / "again.xlsx", lambda opened: None)
    assert kept(read_previous(saved)).equals(kept(frames["reviews"]))


def test_rows_may_be_sorted_and_columns_moved_and_notes_written_beside(book: Path, tmp_path: Path) -> None:
    def edit(opened: openpyxl.Workbook) -> None:
        sheet = opened["Breaks"]
        rows = [[one.value for one in row] for row in sheet.iter_rows(min_row=HEADER_ROW)]
        head, *body = [[None, *reversed(row)] for row in rows]
        del opened["Breaks"]
        fresh = opened.create_sheet("Breaks")
        for row in (["Reviewed in May"], [], [], head, [], *reversed(body), ["Total", 3]):
            fresh.append(row)
        for row in fresh.iter_rows():
            for one in row:
                one.data_type = "s" if isinstance(one.value, str) and "Ann" in one.value else one.data_type

    read = read_previous(edited(book, tmp_path / "book.xlsx", edit))
    assert kept(read).equals(kept(with_real_names()["reviews"]))


def test_numbers_dates_and_flags_are_taken_as_their_text(book: Path, tmp_path: Path) -> None:
    def edit(opened: openpyxl.Workbook) -> None:
        cell(opened, "Comment").value = 17
        cell(opened, "Owner").value = True
        cell(opened, "Comment", HEADER_ROW + 2).value = 0.25
        cell(opened, "Owner", HEADER_ROW + 2).value = 123456789012345
        cell(opened, "Comment", HEADER_ROW + 3).value = START.replace(tzinfo=None, microsecond=0)
        cell(opened, "Status", HEADER_ROW + 3).value = None
        cell(opened, "Owner", HEADER_ROW + 3).value = " \n"

    read = read_previous(edited(book, tmp_path / "book.xlsx", edit))
    entries = read.filter(pl.col("state") == "open").select("owner", "comment", "status")
    assert entries.rows() == [
        ("TRUE", "17", "accepted"),
        ("123456789012345", "0.25", "open"),
        (None, "2026-11-01 14:55:00", "open"),
    ]


def test_parts_of_a_long_sheet_are_read_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reports.workbook.SHEET_ROWS_MAX", HEADER_ROW + 3)
    frames = commented(TEXTS)
    write_book(frames, tmp_path / "book.xlsx")
    assert {"Breaks 1", "Breaks 2", "Breaks 3"} <= set(openpyxl.load_workbook(tmp_path / "book.xlsx").sheetnames)
    assert kept(read_previous(tmp_path / "book.xlsx")).equals(kept(frames["reviews"]))


def test_a_workbook_without_breaks_has_none_to_carry_on(tmp_path: Path) -> None:
    frames = all_frames()
    for name in ("breaks", "break_causes", "reviews"):
        frames[name] = frames[name].clear()
    write_book(frames, tmp_path / "book.xlsx")
    assert read_previous(tmp_path / "book.xlsx").is_empty()


def test_a_position_that_no_cell_can_show_is_carried_on_by_its_break_id(tmp_path: Path) -> None:
    frames = commented(["mine"], position="a\u202eb_x0041_:BTC-USDT:USDT")
    write_book(frames, tmp_path / "book.xlsx")
    read = read_previous(tmp_path / "book.xlsx")
    assert read.select("break_id", "comment").equals(frames["reviews"].select("break_id", "comment"))
    assert read["position"].to_list() == [r"a\x202eb\x5fx0041\x5f:BTC-USDT:USDT"]


seen = st.characters(exclude_categories=["Cs"], exclude_characters=[c for c in UNSEEN if c not in "\n\t"])
written = st.text(seen, min_size=1, max_size=60).filter(str.strip)


@settings(max_examples=10)
@given(texts=st.lists(written | st.sampled_from(TEXTS), min_size=1, max_size=80))
def test_any_text_comes_back_exactly(tmp_path_factory: pytest.TempPathFactory, texts: list[str]) -> None:
    path = tmp_path_factory.mktemp("any") / "book.xlsx"
    frames = commented(texts, [text[:100] for text in texts])
    write_book(frames, path)
    assert kept(read_previous(path)).equals(kept(frames["reviews"]))


# What is refused


@pytest.mark.parametrize(
    ("heading", "value", "words"),
    [
        ("Status", "done", "It is one of: open, in review, accepted, corrected, disputed."),
        ("Status", "Accepted", "It is one of: open"),
        ("Status", "=A1", "not a formula"),
        ("Comment", "=1+1", "not a formula"),
        ("Owner", "#REF!", "an error of the spreadsheet"),
        ("Owner", "x" * 101, "at most 100 characters"),
        ("Comment", "x" * 2_001, "at most 2,000 characters"),
        ("Comment", "abc\u202edef", "cannot be seen"),
        ("Break ID", "B0123456789", "not that of its position and figure"),
        ("Break ID", "17", "not that of its position and figure"),
        ("Figure", "assets_shown", "not that of its position and figure"),
        ("Break ID", None, "has no break ID"),
        ("First seen (ISO)", "yesterday", "ISO 8601"),
        ("First seen (ISO)", None, "first seen at some time"),
        ("First seen (ISO)", "2020-01-01T00:00:00.000Z", "not that of the date beside it"),
        ("Last seen (ISO)", "2026-11-01T14:55:02.000Z", "not that of the date beside it"),
        ("Difference (exact)", "a lot", "decimal number"),
    ],
)
def test_a_cell_that_cannot_be_read_is_named(book: Path, tmp_path: Path, heading: str, value: str, words: str) -> None:
    row = HEADER_ROW + (2 if heading == "Break ID" else 1)

    def edit(opened: openpyxl.Workbook) -> None:
        cell(opened, heading, row).value = value

    path = edited(book, tmp_path / "book.xlsx", edit)
    (found,) = refusals(path)
    assert (found["file"], found["row"]) == (f"{path}, sheet Breaks", row)
    assert found["column"] == ("Break ID" if heading == "Figure" else heading)
    assert words in found["rule"]
    assert found["remedy"]
    assert len(found["value"] or "") < 120


def test_all_problems_are_told_at_once(book: Path, tmp_path: Path) -> None:
    def edit(opened: openpyxl.Workbook) -> None:
        cell(opened, "Status").value = "done"
        cell(opened, "Owner").value = "=A1"
        cell(opened, "Owner", HEADER_ROW + 2).value = "x" * 200
        cell(opened, "Resolved at (ISO)", sheet="Earlier breaks").value = None
        cell(opened, "Comment", HEADER_ROW + 9).value = "whose is this?"

    found = refusals(edited(book, tmp_path / "book.xlsx", edit))
    places = [(one["file"].rpartition(" sheet ")[2], one["row"], one["column"]) for one in found]
    assert sorted(places) == [
        ("Breaks", 7, "Owner"),
        ("Breaks", 7, "Status"),
        ("Breaks", 8, "Owner"),
        ("Breaks", 15, "Break ID"),
        ("Earlier breaks", 7, "Resolved at (ISO)"),
    ]


@pytest.mark.parametrize("comment", ["another one", None])
def test_a_break_on_two_rows_is_refused_unless_they_say_the_same(book: Path, tmp_path: Path, comment: str) -> None:
    def edit(opened: openpyxl.Workbook) -> None:
        sheet = opened["Breaks"]
        for one in sheet[HEADER_ROW + 1]:
            sheet.cell(HEADER_ROW + 20, one.column).value = one.value
            sheet.cell(HEADER_ROW + 20, one.column).data_type = one.data_type
        cell(opened, "Comment", HEADER_ROW + 20).value = comment

    path = edited(book, tmp_path / "book.xlsx", edit)
    if comment is None:
        assert kept(read_previous(path)).equals(kept(read_previous(book)))
        return
    found = refusals(path)
    assert [one["row"] for one in found] == [HEADER_ROW + 1, HEADER_ROW + 20]
    assert all("on 2 rows" in one["rule"] for one in found)


@pytest.mark.parametrize("value", [START.replace(tzinfo=None, year=2020), None, 43_831.5, "yesterday"])
def test_a_date_beside_its_text_may_not_be_moved_either(book: Path, tmp_path: Path, value: object) -> None:
    path = edited(book, tmp_path / "book.xlsx", lambda opened: setattr(cell(opened, "First seen"), "value", value))
    (found,) = refusals(path)
    assert (found["row"], found["column"]) == (HEADER_ROW + 1, "First seen (ISO)")
    assert "not that of the date beside it" in found["rule"]


@pytest.mark.parametrize("sheet", ["Breaks", "Earlier breaks"])
def test_rows_that_were_deleted_are_missed(book: Path, tmp_path: Path, sheet: str) -> None:
    path = edited(book, tmp_path / "book.xlsx", lambda opened: opened[sheet].delete_rows(HEADER_ROW + 1))
    (found,) = refusals(path)
    assert found["file"] == f"{path}, sheet {sheet}"
    said = {"Breaks": "2 of the 3 breaks", "Earlier breaks": "0 of the 1 breaks"}[sheet]
    assert said in found["rule"]


def test_a_sheet_that_was_deleted_is_missed(book: Path, tmp_path: Path) -> None:
    (found,) = refusals(edited(book, tmp_path / "book.xlsx", lambda opened: opened.remove(opened["Earlier breaks"])))
    assert "0 of the 1 breaks" in found["rule"]


def test_breaks_under_another_name_are_refused(tmp_path: Path) -> None:
    write_workbook(made_up_frames() | with_real_names(), tmp_path / "whole.xlsx")

    def rename(opened: openpyxl.Workbook) -> None:
        opened["Breaks"].title = "Breaks Q1"

    def copy(opened: openpyxl.Workbook) -> None:
        opened.copy_worksheet(opened["Breaks"]).title = "Breaks (2)"

    for edit, name in ((rename, "Breaks Q1"), (copy, "Breaks (2)")):
        path = edited(tmp_path / "whole.xlsx", tmp_path / "book.xlsx", edit)
        (found,) = refusals(path)
        assert found["file"] == f"{path}, sheet {name}"
        assert "not called as such a sheet is" in found["rule"]
        with pytest.raises(BadInput):
            refuse_loss(path, None)


@pytest.mark.parametrize("how", ["missing", "twice", "no heading"])
def test_headings_must_stand_there_once(book: Path, tmp_path: Path, how: str) -> None:
    def edit(opened: openpyxl.Workbook) -> None:
        if how == "missing":
            cell(opened, "Owner").offset(-1, 0).value = "Who"
        elif how == "twice":
            cell(opened, "Causes").offset(-1, 0).value = "Owner"
        else:
            cell(opened, "Break ID").offset(-1, 0).value = "ID"

    words = {"missing": "is missing", "twice": "more than once", "no heading": "no heading Break ID"}
    (found,) = refusals(edited(book, tmp_path / "book.xlsx", edit))
    assert words[how] in found["rule"]


def test_a_workbook_of_a_later_run_is_refused(book: Path) -> None:
    found = refusals(book, as_at=START - timedelta(days=1))
    assert {one["column"] for one in found} == {"Last seen (ISO)"}
    assert all("--as-at" in one["rule"] for one in found)


def test_what_is_no_workbook_of_a_reconciliation_is_refused(book: Path, tmp_path: Path) -> None:
    other = openpyxl.Workbook()
    other.save(tmp_path / "other.xlsx")
    (tmp_path / "text.xlsx").write_text("Break ID,Owner")
    (tmp_path / "cut.xlsx").write_bytes(book.read_bytes()[:3_000])
    (tmp_path / "locked.xlsx").write_bytes(b"\xd0\xcf\x11\xe0" + "EncryptedPackage".encode("utf-16-le"))
    words = {
        "other.xlsx": "no sheet Breaks",
        "text.xlsx": "not an Excel workbook",
        "cut.xlsx": "damaged",
        "locked.xlsx": "password",
        "none.xlsx": "does not exist",
    }
    for name, said in words.items():
        (found,) = refusals(tmp_path / name)
        assert said in found["rule"], name
        assert str(tmp_path / name) in found["file"]


# Entries are never lost


def test_only_a_workbook_whose_entries_are_carried_on_is_replaced(book: Path, tmp_path: Path) -> None:
    reviews = with_real_names()["reviews"]
    refuse_loss(tmp_path / "none.xlsx", None)
    refuse_loss(book, reviews)
    refuse_loss(book, None, kept_from=book)
    other = reviews.with_columns(comment=pl.lit("something else"))
    for known in (None, other, reviews.clear()):
        with pytest.raises(BadInput) as refused:
            refuse_loss(book, known)
        (found,) = refused.value.refusals.to_dicts()
        assert "3 breaks" in found["rule"]
        assert f"--previous {book}" in found["remedy"]


def test_a_file_without_entries_is_replaced(tmp_path: Path) -> None:
    frames = with_real_names()
    (tmp_path / "text.xlsx").write_text("mine")
    openpyxl.Workbook().save(tmp_path / "other.xlsx")
    write_book({**frames, "reviews": reviews_of(frames["breaks"], None, NOTHING, AGEING_AT)}, tmp_path / "new.xlsx")
    for name in ("text.xlsx", "other.xlsx", "new.xlsx"):
        refuse_loss(tmp_path / name, None)


def test_a_workbook_that_cannot_be_read_is_not_replaced(book: Path, tmp_path: Path) -> None:
    (tmp_path / "cut.xlsx").write_bytes(book.read_bytes()[:3_000])
    (tmp_path / "locked.xlsx").write_bytes(b"\xd0\xcf\x11\xe0" + "EncryptedPackage".encode("utf-16-le"))
    edited(book, tmp_path / "bad.xlsx", lambda opened: setattr(cell(opened, "Status"), "value", "done"))
    for name in ("cut.xlsx", "locked.xlsx", "bad.xlsx"):
        with pytest.raises(BadInput) as refused:
            refuse_loss(tmp_path / name, None)
        assert "would be replaced" in refused.value.refusals["rule"][0]


# The commands


def world(folder: Path, last_digit: str) -> tuple:
    return exact_world(folder, LIABILITY[:-1] + last_digit)


def typed_in(path: Path, **entries: object) -> None:
    """What a reviewer types into the first row of Breaks."""
    opened = openpyxl.load_workbook(path)
    for heading, value in entries.items():
        one = cell(opened, heading)
        one.value, one.data_type = value, "f" if value == "=1+1" else "s"
    opened.save(path)


def test_three_generations_of_one_workbook(tmp_path: Path) -> None:
    report, out = tmp_path / "books.xlsx", tmp_path / "books"
    given = ("--out", out, "--report", report)
    first = run("reconcile", *world(tmp_path, "2"), *given)
    assert "since" not in first.stdout
    seen = column(values(report), "Breaks", "First seen (ISO)")
    typed_in(report, Owner="Ann", Status="in review", Comment="asked\nthe exchange")
    second = run("reconcile", *world(tmp_path, "3"), *given, "--previous", report)
    assert second.exit_code == 1, second.output
    assert f"1 break: 1 carried on since {report}" in second.stdout
    saved = values(report)
    assert column(saved, "Breaks", "Owner") == ["Ann"]
    assert column(saved, "Breaks", "Status") == ["in review"]
    assert column(saved, "Breaks", "Comment") == ["asked\nthe exchange"]
    assert column(saved, "Breaks", "Change") == ["carried on"]
    assert column(saved, "Breaks", "First seen (ISO)") == seen
    third = run("reconcile", *world(tmp_path, LIABILITY[-1]), *given, "--previous", report)
    assert third.exit_code == 0, third.output
    assert f"0 breaks: 1 resolved since {report}" in third.stdout
    assert column(values(report), "Earlier breaks", "Comment") == ["asked\nthe exchange"]
    assert column(values(report), "Earlier breaks", "Difference (exact)") == ["0.0000000000000002"]
    fourth = run("reconcile", *world(tmp_path, "2"), *given, "--previous", report)
    assert "1 break: 1 come back since" in fourth.stdout, fourth.output
    assert column(values(report), "Breaks", "Owner") == ["Ann"]
    assert column(values(report), "Breaks", "First seen (ISO)") == seen
    assert "Earlier breaks" not in values(report).sheetnames


def test_the_same_run_gives_the_same_bytes_also_from_its_folder(tmp_path: Path) -> None:
    files = world(tmp_path, "2")
    run("reconcile", *files, "--out", tmp_path / "old", "--report", tmp_path / "old.xlsx")
    typed_in(tmp_path / "old.xlsx", Owner="=Ann", Comment=f'{LONG}\n"so, what"\n\n;')
    again = ("--previous", tmp_path / "old.xlsx")
    for name in ("one", "two"):
        done = run("reconcile", *files, *again, "--out", tmp_path / name, "--report", tmp_path / f"{name}.xlsx")
        assert done.exit_code == 1, done.output
    assert (tmp_path / "one.xlsx").read_bytes() == (tmp_path / "two.xlsx").read_bytes()
    assert run("report", tmp_path / "one", tmp_path / "report.xlsx").exit_code == 1
    assert (tmp_path / "report.xlsx").read_bytes() == (tmp_path / "one.xlsx").read_bytes()
    text = ("--format", "csv", "--out", tmp_path / "text")
    assert run("reconcile", *files, *again, *text).exit_code == 1
    assert run("report", tmp_path / "text", tmp_path / "text.xlsx").exit_code == 1
    assert (tmp_path / "text.xlsx").read_bytes() == (tmp_path / "one.xlsx").read_bytes()
    # the same command once more: what the workbook has is what the earlier one had
    assert run("reconcile", *files, *again, "--out", tmp_path / "one", "--report", tmp_path / "one.xlsx").exit_code == 1
    assert run("report", tmp_path / "one", tmp_path / "one.xlsx").exit_code == 1
    chosen = pl.read_parquet(tmp_path / "one" / "parameters.parquet").filter(pl.col("name").str.contains("previous"))
    assert chosen["value"][0] == str(tmp_path / "old.xlsx")
    assert len(chosen["value"][1]) == 64


def test_entries_are_not_replaced_and_nothing_is_done(tmp_path: Path) -> None:
    files = world(tmp_path, "2")
    report = tmp_path / "books.xlsx"
    run("reconcile", *files, "--out", tmp_path / "books", "--report", report)
    run("reconcile", *files, "--out", tmp_path / "books", "--report", report)  # nobody has written anything yet
    typed_in(report, Status="accepted")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    for asked in (
        ("reconcile", *files, "--out", tmp_path / "new", "--report", report),
        ("report", tmp_path / "books", report),
    ):
        refused = run(*asked)
        assert refused.exit_code == 2
        assert f"--previous {report}" in refused.stderr
        assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    carried = run("reconcile", *files, "--out", tmp_path / "books", "--report", report, "--previous", report)
    assert carried.exit_code == 1, carried.output


def test_a_bad_workbook_is_refused_before_any_work(tmp_path: Path) -> None:
    files = world(tmp_path, "2")
    run("reconcile", *files, "--out", tmp_path / "books", "--report", tmp_path / "old.xlsx")
    typed_in(tmp_path / "old.xlsx", Status="done", Comment="=1+1")
    refused = run("reconcile", *files, "--out", tmp_path / "new", "--previous", tmp_path / "old.xlsx")
    assert refused.exit_code == 2
    assert "Refused: 2. Nothing was written." in refused.stderr
    assert f"{tmp_path / 'old.xlsx'}, sheet Breaks, row 7, column Status: 'done'" in refused.stderr
    assert not (tmp_path / "new").exists()


def test_statuses_are_those_of_the_list(book: Path) -> None:
    with zipfile.ZipFile(book) as archive:
        sheets = [archive.read(name).decode() for name in archive.namelist() if "worksheets/sheet" in name]
    assert sum(",".join(STATUSES) in sheet for sheet in sheets) == 2


def test_a_signed_workbook_is_never_replaced(tmp_path: Path) -> None:
    book = tmp_path / "books.xlsx"
    write_workbook(made_up_frames(), book)
    refuse_loss(book, None)  # as it was written nothing is filled in
    signed = openpyxl.load_workbook(book)
    sheet = signed["Sign-off"]
    entry = next(cell for row in sheet.iter_rows() for cell in row if not cell.protection.locked)
    entry.value = "not reconciled"
    signed.save(book)
    for kept_from in (None, book):
        with pytest.raises(BadInput) as refused:
            refuse_loss(book, None, kept_from)
        assert f"is signed: {entry.coordinate} of its sheet Sign-off" in refused.value.refusals["rule"][0]


def test_what_somebody_saved_is_kept_beside(tmp_path: Path) -> None:
    report, out = tmp_path / "books.xlsx", tmp_path / "books"
    given = (*world(tmp_path, "2"), "--out", out, "--report", report)
    assert "Kept" not in run("reconcile", *given).stdout
    assert "Kept" not in run("reconcile", *given, "--previous", report).stdout  # as it was written
    assert not list(tmp_path.glob("*.before*"))
    for name in ("books.before.xlsx", "books.before-2.xlsx"):
        opened = openpyxl.load_workbook(report)
        opened.create_sheet("My notes")["A1"] = "mine"
        opened.save(report)
        saved = report.read_bytes()
        done = run("reconcile", *given, "--previous", report)
        assert done.exit_code == 1, done.output
        assert f"Kept {tmp_path / name}: " in done.stdout
        assert (tmp_path / name).read_bytes() == saved
        assert "My notes" not in values(report).sheetnames


@pytest.mark.parametrize("before", [b"", b"as it was"])
def test_what_was_saved_during_the_run_is_not_replaced(tmp_path: Path, before: bytes) -> None:
    path = tmp_path / "book.xlsx"
    if before:
        path.write_bytes(before)
    target = Target.of(path)
    assert target.make_room() is None
    path.write_bytes(b"meanwhile")
    with pytest.raises(LedgerError, match="while this run was working"):
        write_workbook(made_up_frames(), path, before_replacing=target.make_room)
    assert path.read_bytes() == b"meanwhile"
    assert [one.name for one in tmp_path.iterdir()] == ["book.xlsx"]


def test_an_accepted_break_of_another_amount_is_open_again(tmp_path: Path) -> None:
    report = tmp_path / "books.xlsx"
    given = ("--out", tmp_path / "books", "--report", report)
    run("reconcile", *world(tmp_path, "2"), *given)
    typed_in(report, Owner="Ann", Status="accepted", Comment="immaterial")
    done = run("reconcile", *world(tmp_path, "3"), *given, "--previous", report)
    assert f"1 break: 1 amount changed since {report}" in done.stdout, done.output
    saved = values(report)
    assert column(saved, "Breaks", "Status") == ["open"]
    assert column(saved, "Breaks", "Comment") == ["immaterial"]
    assert column(saved, "Breaks", "Difference before (exact)") == ["0.0000000000000001"]


def test_what_this_run_does_not_compare_is_not_resolved(tmp_path: Path) -> None:
    report = tmp_path / "books.xlsx"
    ledger, *_ = files = world(tmp_path, "2")
    run("reconcile", *files, "--out", tmp_path / "books", "--report", report)
    assert ledger == "--ledger"
    house = files[1]
    alone = ("--ledger", house, "--exchange", house, "--out", tmp_path / "new", "--report", tmp_path / "new.xlsx")
    done = run("reconcile", *alone, "--previous", report)
    assert done.exit_code == 1, done.output
    assert "1 earlier open break not compared" in done.stdout
    saved = values(tmp_path / "new.xlsx")
    assert column(saved, "Earlier breaks", "Change") == ["not compared"]
    assert column(saved, "Earlier breaks", "State") == ["open"]
    signs = {row[0].value: row[1].value for row in saved["Sign-off"].iter_rows(max_col=2)}
    assert (signs["Open breaks"], signs["Earlier breaks not compared"], signs["Breaks resolved by now"]) == (1, 1, 0)
    again = run("reconcile", *files, "--out", tmp_path / "books", "--previous", tmp_path / "new.xlsx")
    assert "1 break: 1 carried on" in again.stdout, again.output


def test_a_refusal_of_a_workbook_says_nothing_of_positions(tmp_path: Path) -> None:
    files = world(tmp_path, "2")
    run("reconcile", *files, "--out", tmp_path / "books", "--report", tmp_path / "old.xlsx")
    typed_in(tmp_path / "old.xlsx", Status="done")
    refused = run("reconcile", *files, "--out", tmp_path / "new", "--previous", tmp_path / "old.xlsx")
    assert refused.exit_code == 2
    assert "judged as a whole" not in refused.stderr
