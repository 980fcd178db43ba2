"""`margin-ledger verify`: what is sound is proved, whoever saved it; what was tampered with is named with its cell."""

import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import chdir
from decimal import Decimal
from pathlib import Path

import openpyxl
import polars as pl
import pytest
from click.testing import CliRunner, Result
from workbook_damage import Change, Places, both, cell, constant, formula, part, rewrite, text, value

from reports.command_line import main
from reports.frames import read_frames
from reports.libreoffice import convert
from reports.verification.cells import open_book
from reports.verification.run import Verification, verify
from reports.workbook import write_workbook

pytestmark = [pytest.mark.libreoffice, pytest.mark.usefixtures("libreoffice")]
DEMOS = ("demo", "interest", "reconciliation")


def run(*arguments: object) -> Result:
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the demo: three workbooks, their inputs, and the frames of their runs."""
    out = tmp_path_factory.mktemp("demo")
    with chdir(out):
        run("demo")
    return out


def book(folder: Path, demo: str = "reconciliation") -> Path:
    return folder / f"spot-margin-{demo}.xlsx"


def outcomes(found: Verification) -> dict[str, str]:
    return {one.check: one.outcome for one in found.results}


def named(found: Verification) -> set[tuple[str, str]]:
    """Check and cell of every finding."""
    return {(row["check"], f"{row['sheet']}!{row['cell']}") for row in found.findings.iter_rows(named=True)}


# What is sound


@pytest.fixture(scope="module")
def saved_again(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's workbooks as LibreOffice saves them."""
    out = tmp_path_factory.mktemp("again")
    convert([book(folder, demo) for demo in DEMOS], "xlsx", out)
    return out


def test_sound_workbooks_hold_as_they_were_written_and_saved_again(folder: Path, saved_again: Path) -> None:
    found = verify([*(book(folder, demo) for demo in DEMOS), *(book(saved_again, demo) for demo in DEMOS)], folder)
    for one in found:
        assert one.findings.is_empty(), one.findings.head(3)
        assert set(outcomes(one).values()) <= {"OK", "note"}
    told = [next(result.told for result in one.results if result.check == "recalculated") for one in found]
    assert told[:3] == told[3:]
    assert all(re.match("saved values of [0-9,]{3,} formulas", words) for words in told)


def test_frames_give_the_same_workbook(folder: Path, saved_again: Path) -> None:
    frames = folder / "spot-margin-reconciliation" / "books"
    for workbook in (book(folder), book(saved_again)):
        (found,) = verify([workbook], folder, frames)
        assert found.findings.is_empty(), found.findings.head(3)
        assert outcomes(found)["frames"] == "OK"


def test_what_a_reviewer_does_breaks_nothing(folder: Path, tmp_path: Path) -> None:
    places = Places(book(folder))
    status = places.cell("Breaks", "Status", 1)
    reviewed = rewrite(
        book(folder),
        tmp_path / "reviewed.xlsx",
        {
            part(book(folder), "Breaks"): cell(status, text("accepted")),
            part(book(folder), "Comparison"): both(swapped_rows(8, 9), hidden_row(10)),
            part(book(folder), "Ledger"): shared_formulas(places.letter("Ledger", "Base closing")),
            **extra_sheet(),
        },
    )
    (after,) = verify([convert([reviewed], "xlsx", tmp_path / "saved")[0]], folder)
    assert after.findings.is_empty(), after.findings.head(3)
    assert "not of this tool, and not verified: My notes" in {one.check: one for one in after.results}["sheets"].told
    assert len(openpyxl.load_workbook(reviewed).sheetnames) == len(openpyxl.load_workbook(book(folder)).sheetnames) + 1


def swapped_rows(one: int, other: int) -> Change:
    """Two rows of a table in the other order, as sorting leaves them: their formulas read their own rows."""

    def moved(row: str, old: int, new: int) -> str:
        return re.sub(rf"(?<=[A-Z]){old}\b", str(new), row).replace(f'<row r="{old}"', f'<row r="{new}"')

    def changed(xml: str) -> str:
        first, second = (re.search(f'<row r="{n}".*?</row>', xml).group() for n in (one, other))
        return xml.replace(first + second, moved(second, other, one) + moved(first, one, other))

    return changed


def hidden_row(number: int) -> Change:
    return lambda xml: xml.replace(f'<row r="{number}"', f'<row r="{number}" hidden="1"')


def shared_formulas(letter: str) -> Change:
    """The formulas of a column as Excel writes those that were filled down: one, and the others refer to it."""

    def changed(xml: str) -> str:
        first, *others = re.findall(rf'<c r="{letter}\d+"[^>]*><f>.*?</f>', xml)
        places = re.findall(rf'<c r="({letter}\d+)"[^>]*><f>', xml)
        leading = first.replace("<f>", f'<f t="shared" ref="{places[0]}:{places[-1]}" si="3">')
        for one in others:
            xml = xml.replace(one, re.sub("<f>.*</f>", '<f t="shared" si="3"/>', one))
        return xml.replace(first, leading)

    return changed


def extra_sheet() -> dict[str, Change]:
    """The parts of a sheet that a reviewer has added behind the others."""
    main_space = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    kind = "http://schemas.openxmlformats.org/officeDocument/2006/relationships/worksheet"
    content = "application/vnd.openxmlformats-officedocument.spreadsheetml.worksheet+xml"
    return {
        "xl/worksheets/sheet99.xml": lambda _: (
            f'<worksheet xmlns="{main_space}"><sheetData><row r="1"><c r="A1"><f>1/0</f><v>3</v></c></row></sheetData>'
            "</worksheet>"
        ),
        "xl/workbook.xml": lambda xml: xml.replace(
            "</sheets>", '<sheet name="My notes" sheetId="99" r:id="rId999"/></sheets>'
        ),
        "xl/_rels/workbook.xml.rels": lambda xml: xml.replace(
            "</Relationships>",
            f'<Relationship Id="rId999" Type="{kind}" Target="worksheets/sheet99.xml"/></Relationships>',
        ),
        "[Content_Types].xml": lambda xml: xml.replace(
            "</Types>", f'<Override PartName="/xl/worksheets/sheet99.xml" ContentType="{content}"/></Types>'
        ),
    }


# What was tampered with: each case is what is done, and what must be named


def _of(sheet: str, heading: str, number: int, change: Change) -> Callable[[Places], tuple[str, str, Change]]:
    return lambda places: (sheet, places.cell(sheet, heading, number), change)


def _one_more_in_the_15th_digit(xml: str) -> str:
    number = Decimal(re.search("<v>(.*?)</v>", xml).group(1))
    return value(f"{number + Decimal((0, (1,), number.adjusted() - 14)):f}")(xml)


TAMPERED: dict[str, tuple[Callable[[Places], tuple[str, str, Change]], set[str]]] = {
    "a wrong saved value": (_of("Ledger", "Base closing", 3, value("0.4996")), {"recalculated", "engine"}),
    "a wrong formula with the right value": (
        _of("Ledger", "Base closing", 4, formula("+", "-")),
        {"recalculated", "formulas"},
    ),
    "a formula that is another, with the same result": (
        _of("Ledger", "Base closing", 5, formula("+", "*1+")),
        {"formulas"},
    ),
    "a wrong formula with its own value": (
        _of("Ledger", "Base closing", 4, lambda xml: value("0.6995")(formula("+", "-")(xml))),
        {"formulas", "engine"},
    ),
    "a constant typed over a formula": (_of("Ledger", "Quote closing", 2, constant), {"formulas"}),
    "a changed exact text": (_of("Ledger", "Base change (exact)", 7, text("19.99")), {"engine", "exact texts"}),
    "an exact text that is none": (_of("Ledger", "Base change (exact)", 7, text("1.998E1")), {"engine", "exact texts"}),
    "a changed recorded number": (_of("Ledger", "Base change", 7, value("19.99")), {"engine", "recalculated"}),
    "an emptied number": (_of("Ledger", "Margin change", 1, lambda xml: re.sub("<v>.*</v>", "", xml)), {"engine"}),
    "a formula where a value was": (
        _of("Ledger", "Base change", 7, lambda xml: xml.replace("<v>", "<f>9.99*2</f><v>")),
        {"formulas"},
    ),
    "an error": (
        _of(
            "Comparison",
            "Difference",
            2,
            lambda xml: '<c r="G8" t="e"><f>IF(OR(E8="",F8=""),"",E8/0)</f><v>#DIV/0!</v></c>',
        ),
        {"recalculated", "formulas"},
    ),
    "a function that must not be": (
        _of("Comparison", "Difference", 2, formula("E8-F8", "E8-F8+0*NOW()")),
        {"formulas"},
    ),
    "another workbook": (_of("Comparison", "Difference", 2, formula("E8-F8", "E8-F8+0*[1]Sheet!A1")), {"formulas"}),
}


def _small_difference(places: Places) -> tuple[str, str, Change]:
    """The smallest difference that is not nothing, one more in its 15th digit."""
    sheet, letter = "Comparison", places.letter("Comparison", "Difference")
    rows = range(7, places.saved[sheet].max_row + 1)
    numbers = {row: places.value(sheet, f"{letter}{row}") for row in rows}
    row = min((row for row in rows if isinstance(numbers[row], float) and numbers[row]), key=lambda r: abs(numbers[r]))
    assert abs(numbers[row]) < 1e-6 < max(abs(number) for number in numbers.values() if isinstance(number, float))
    return sheet, f"{letter}{row}", _one_more_in_the_15th_digit


TAMPERED["the 15th digit of a small amount"] = (_small_difference, {"engine"})


def test_every_cell_that_was_tampered_with_is_named(folder: Path, tmp_path: Path) -> None:
    """All cases are verified in one run, each a workbook of its own."""
    places, cells, books = Places(book(folder)), [], []
    for number, (case, _) in enumerate(TAMPERED.values()):
        sheet, place, change = case(places)
        cells.append(f"{sheet}!{place}")
        changes = {part(book(folder), sheet): cell(place, change)}
        books.append(rewrite(book(folder), tmp_path / f"{number}.xlsx", changes))
    number, exact = (places.letter("Ledger", heading) for heading in ("Base change", "Base change (exact)"))
    for case, place, found in zip(TAMPERED, cells, verify(books, folder), strict=True):
        expected = TAMPERED[case][1]
        assert expected <= {check for check, _ in named(found)}, (case, found.findings)
        assert outcomes(found)["formulas"] == ("FAIL" if "formulas" in expected else "OK"), case
        # An exact text that is another stands as what is expected of the number beside it.
        assert {place, place.replace(exact, number)} & {where for _, where in named(found)}, (case, found.findings)


def test_a_number_and_its_exact_text_changed_together_miss_the_total(folder: Path, tmp_path: Path) -> None:
    places = Places(book(folder))
    number, exact = (places.cell("Ledger", heading, 14) for heading in ("Base change", "Base change (exact)"))
    changes = both(cell(number, value("12.988")), cell(exact, text("12.988")))
    spoilt = rewrite(book(folder), tmp_path / "spoilt.xlsx", {part(book(folder), "Ledger"): changes})
    (found,) = verify([spoilt], folder)
    line = places.find("Checks", "Ledger", "Base change")
    assert ("exact texts", f"Checks!F{line}") in named(found)
    assert "do not come to the engine's total" in str(
        found.findings.filter(pl.col("check") == "exact texts")["problem"][0]
    )


def test_sheets_and_rows_that_were_tampered_with_are_named(folder: Path, tmp_path: Path) -> None:
    """A row gone, two numbers swapped, a total changed, the master check typed over, a sheet and a heading renamed."""
    source, places = book(folder), Places(book(folder))
    line = places.find("Checks", "Ledger", "Base change")
    numbers = [places.cell("Ledger", "Base change", number) for number in (1, 4)]
    changes: dict[str, dict[str, Change]] = {
        "row": {part(source, "Ledger"): lambda xml: re.sub('<row r="20".*?</row>', "", xml)},
        "swapped": {part(source, "Ledger"): both(cell(numbers[0], value("-0.2")), cell(numbers[1], value("0.4995")))},
        "total": {part(source, "Checks"): cell(f"F{line}", text("12345"))},
        "master": {part(source, "Checks"): cell("B3", lambda xml: value("OK")(constant(xml)))},
        "sheet": {"xl/workbook.xml": lambda xml: xml.replace('name="Events"', 'name="Happenings"')},
        "heading": {part(source, "Events"): cell("C6", value("0"))},
    }
    books = [rewrite(source, tmp_path / f"{name}.xlsx", change) for name, change in changes.items()]
    found = dict(zip(changes, verify(books, folder), strict=True))
    problems = {name: one.findings["problem"].to_list() for name, one in found.items()}
    assert "the exact texts of Ledger, rows, do not come to the engine's total" in problems["row"]
    assert {("engine", f"Ledger!{place}") for place in numbers} <= named(found["swapped"])
    assert {("exact texts", f"Checks!F{line}"), ("engine", f"Checks!D{line}")} <= named(found["total"])
    assert {"the master check is no formula", "not what the lines of Checks come to"} <= set(problems["master"])
    for name in ("sheet", "heading"):
        assert outcomes(found[name])["sheets"] == "FAIL"
        assert any("Events" in problem for problem in problems[name])


def _every_row_adds_up(xml: str) -> str:
    """A whole column of formulas replaced by others, which all agree with each other and with their values."""
    return re.sub(r'(<f>IF\(H\d+="","",IF\()ABS\(.*?,"OK","FAIL"\)\)</f>', r'\g<1>1=1,"OK","FAIL"))</f>', xml)


def test_a_column_that_was_changed_as_a_whole_is_caught_by_the_frames(folder: Path, tmp_path: Path) -> None:
    source = book(folder)
    changed = rewrite(source, tmp_path / "changed.xlsx", {part(source, "Breaks"): _every_row_adds_up})
    (found,) = verify([changed], folder, folder / "spot-margin-reconciliation" / "books")
    assert {check for check, _ in named(found)} == {"frames", "formulas"}
    cells = {where for _, where in named(found)}
    letter = Places(source).letter("Breaks", "Adds up")
    assert {f"Breaks!{letter}7", f"Breaks!{letter}8"} <= cells


def _glossary(places: Places, where: str, heading: str, words: str) -> Change:
    """The Glossary made to say something else of a column."""
    return cell(f"D{places.find('Glossary', where, heading)}", text(words))


def _typed_over(new: str) -> Change:
    """A saved value in place of a formula."""
    return lambda xml: value(new)(constant(xml))


def _column(places: Places, sheet: str, heading: str, rows: range, change: Change) -> Change:
    letter = places.letter(sheet, heading)
    return both(*(cell(f"{letter}{row}", change) for row in rows))


def _spoilt_wholly(places: Places) -> dict[str, tuple[dict[str, Change], set[tuple[str, str]]]]:
    """Workbooks whose parts agree with each other though they say what is not so; what must be named of each."""
    line, count = places.find("Checks", "Ledger", "Base change"), places.find("Sign-off", "Checks that fail")
    master, file = places.find("Sign-off", "Result of all checks"), places.find("Manifest", 1)
    days, seen = (places.letter("Breaks", heading) for heading in ("Days open", "First seen"))
    tied = _column(places, "Roll-forward", "Tied", range(7, 10), constant)
    no_days = lambda xml: value("0")(re.sub("<f>.*?</f>", "<f>ageing_at-ageing_at</f>", xml))  # noqa: E731
    gone = both(
        *(cell(f"{c}{r}", lambda xml: re.sub(r' t="[^"]*">.*', "/>", xml)) for r in _told(places) for c in "AB")
    )
    exact = places.cell("Ledger", "Time (ISO)", 2)
    agrees = places.find("Checks", "exchange_agrees")
    return {
        "a count of the sign-off": ({"Sign-off": cell(f"B{count}", _typed_over("0"))}, {("front pages", f"B{count}")}),
        "the result on About": ({"About": cell("B4", _typed_over("OK"))}, {("front pages", "B4")}),
        "the result on Sign-off": (
            {"Sign-off": cell(f"B{master}", formula("'Checks'!$B$3", 'IF(1=1,"FAIL","OK")'))},
            {("front pages", f"B{master}")},
        ),
        "a Glossary that allows constants": (
            {"Glossary": _glossary(places, "Roll-forward", "Tied", "recorded"), "Roll-forward": tied},
            {("glossary", "")},
        ),
        "a Glossary that leaves a sheet out": (
            {"Glossary": gone},
            {("glossary", ""), ("exact texts", f"B{line}")},
        ),
        "a column of another formula": (
            {"Breaks": _column(places, "Breaks", "Days open", range(7, places.saved["Breaks"].max_row + 1), no_days)},
            {("formulas", f"{days}8")},
        ),
        "a first row that reads another": (
            {"Breaks": cell(f"{days}7", formula(f"{seen}7", f"{seen}8"))},
            {("formulas", f"{days}7")},
        ),
        "a sum that reads the engine's": (
            {"Checks": cell(f"C{line}", lambda xml: re.sub("<f>.*?</f>", f"<f>D{line}</f>", xml))},
            {("exact texts", f"C{line}")},
        ),
        "a line that is gone": (
            {"Checks": cell(f"A{line}", text("Ledgers"))},
            {("exact texts", ""), ("exact texts", f"B{line}")},
        ),
        "an input that is gone": ({"Manifest": cell(f"A{file}", value("99"))}, {("inputs", "")}),
        "failures that are denied": ({"Checks": cell(f"D{agrees}", value("0"))}, {("result", f"row {agrees}")}),
        "a time that is another": (
            {"Ledger": cell(exact, text("2020-01-01T00:00:00.000Z"))},
            {("engine", places.cell("Ledger", "Time", 2))},
        ),
        "a break of another figure": (
            {"Breaks": cell(places.cell("Breaks", "Figure", 1), text("equity"))},
            {("engine", places.cell("Breaks", "Break ID", 1))},
        ),
        "a hidden sheet": (
            {"xl/workbook.xml": lambda xml: xml.replace('<sheet name="Breaks"', '<sheet state="hidden" name="Breaks"')},
            {("sheets", "")},
        ),
    }


def _told(places: Places) -> list[int]:
    """The rows of the Glossary that tell of the sheet Ledger."""
    return [row[0].row for row in places.saved["Glossary"].iter_rows() if row[0].value == "Ledger"]


def _packed(cases: dict[str, tuple[dict[str, Change], set[tuple[str, str]]]]) -> list[list[str]]:
    """Cases that go into one workbook: they change other sheets, and other things must be named of each."""
    packs: list[list[str]] = []
    for case, (changes, expected) in cases.items():
        fits = (
            pack
            for pack in packs
            if all(changes.keys().isdisjoint(cases[one][0]) and expected.isdisjoint(cases[one][1]) for one in pack)
        )
        pack = next(fits, None)
        if pack is None:
            packs.append([case])
        else:
            pack.append(case)
    return packs


def test_a_workbook_is_not_believed_where_it_speaks_of_itself(folder: Path, tmp_path: Path) -> None:
    source, places = book(folder), Places(book(folder))
    cases, books = _spoilt_wholly(places), []
    packs = _packed(cases)
    for number, pack in enumerate(packs):
        changes = {one: change for case in pack for one, change in cases[case][0].items()}
        parts = {one if one.endswith(".xml") else part(source, one): change for one, change in changes.items()}
        books.append(rewrite(source, tmp_path / f"{number}.xlsx", parts))
    assert len(packs) < len(cases) / 2
    for pack, found in zip(packs, verify(books, folder), strict=True):
        where = {(row["check"], row["cell"] or "") for row in found.findings.iter_rows(named=True)}
        for case in pack:
            assert cases[case][1] <= where, (case, found.findings)


def test_a_reviewed_workbook_is_that_of_its_frames(folder: Path, tmp_path: Path) -> None:
    """What follows from an entry, such as the number of open breaks, is recalculated, and not held to the frames."""
    status = cell(Places(book(folder)).cell("Breaks", "Status", 1), text("accepted"))
    reviewed = rewrite(book(folder), tmp_path / "reviewed.xlsx", {part(book(folder), "Breaks"): status})
    saved = convert([reviewed], "xlsx", tmp_path / "saved")
    (found,) = verify(saved, folder, folder / "spot-margin-reconciliation" / "books")
    assert found.findings.is_empty(), found.findings


def test_a_sheet_in_parts_holds(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reports.workbook.SHEET_ROWS_MAX", 20)
    write_workbook(read_frames(folder / "spot-margin-reconciliation" / "books"), tmp_path / "parts.xlsx")
    monkeypatch.undo()
    (found,) = verify([tmp_path / "parts.xlsx"], folder)
    assert found.findings.is_empty(), found.findings


def test_values_that_were_not_saved_are_told_once_a_sheet(folder: Path, tmp_path: Path) -> None:
    openpyxl.load_workbook(book(folder)).save(tmp_path / "bare.xlsx")
    (found,) = verify([tmp_path / "bare.xlsx"], folder)
    missing = found.findings.filter(pl.col("problem").str.contains("open the workbook in a spreadsheet and save it"))
    assert missing["sheet"].is_unique().all()
    assert {"Ledger", "Checks", "Positions"} <= set(missing["sheet"])
    assert found.findings.filter(pl.col("check") == "recalculated").height == missing.height
    assert outcomes(found)["engine"] == outcomes(found)["formulas"] == "OK"


# Files


def test_inputs_are_held_against_the_manifest(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # the demo may have left its files in the folder of the checkout
    books = []
    for name in ("without", "beside", "changed"):
        (tmp_path / name).mkdir()
        books.append(Path(shutil.copy(book(folder), tmp_path / name)))
        if name != "without":
            shutil.copytree(folder / "spot-margin-reconciliation", tmp_path / name / "spot-margin-reconciliation")
    changed = tmp_path / "changed" / "spot-margin-reconciliation" / "house.csv"
    changed.write_text(changed.read_text().replace("9.99", "9.98"))
    without, beside, other = verify(books)
    assert [outcomes(one)["inputs"] for one in (without, beside, other)] == ["note", "OK", "FAIL"]
    assert without.findings.is_empty()
    assert beside.findings.is_empty()
    assert other.findings["problem"].to_list() == [f"{changed}: is not the file that was read; its content is another"]


def test_files_beside_are_there_and_come_to_their_totals(folder: Path, tmp_path: Path) -> None:
    frames, books = read_frames(folder / "spot-margin-demo"), []
    for name in ("sound", "changed", "missing"):
        (tmp_path / name).mkdir()
        books.append(tmp_path / name / "large.xlsx")
        write_workbook(frames, books[-1], detail_rows=10)
    sound, changed, missing = (path.with_name("large.ledger.parquet") for path in books)
    pl.read_parquet(changed).reverse().write_parquet(changed)
    missing.unlink()
    assert sound.is_file()
    found = verify(books, folder)
    assert [outcomes(one)["files beside"] for one in found] == ["OK", "FAIL", "FAIL"]
    (problem,) = found[1].findings["problem"]
    assert problem.startswith("large.ledger.parquet: is not the file that was written with this workbook")
    (problem,) = found[2].findings["problem"]
    assert problem == "large.ledger.parquet: is missing; it has rows of Ledger and belongs beside the workbook"
    (again,) = verify(books[:1], folder, folder / "spot-margin-demo")
    assert again.findings.is_empty(), again.findings.head(3)
    assert outcomes(again)["frames"] == "OK"


# The command


def test_the_command_says_what_it_proved(folder: Path, tmp_path: Path) -> None:
    result = run("verify", book(folder), "--inputs", folder, "--out", tmp_path / "cells.csv")
    assert (result.exit_code, result.stderr) == (0, "")
    assert re.search(r"OK    recalculated  saved values of [0-9,]+ formulas", result.stdout)
    assert "note  result        the workbook says FAIL of all its checks: see the sheet Checks" in result.stdout
    assert pl.read_csv(tmp_path / "cells.csv").is_empty()


def test_the_command_names_cells_and_writes_them_all(folder: Path, tmp_path: Path) -> None:
    source = book(folder)
    letter = Places(source).letter("Ledger", "Base change")
    changes = both(*(cell(f"{letter}{row}", value("7.25")) for row in range(7, 33)))
    spoilt = rewrite(source, tmp_path / "spoilt.xlsx", {part(source, "Ledger"): changes})
    result = run("verify", spoilt, "--inputs", folder, "--out", tmp_path / "cells.csv")
    assert result.exit_code == 1
    assert "FAIL  engine" in result.stdout
    assert f"Ledger!{letter}7: saved 7.25, exact 0.4995: not the exact amount beside it" in result.stdout
    rest = int(
        re.search(r"and ([0-9,]+) more; --out CELLS.csv writes them all", result.stdout).group(1).replace(",", "")
    )
    cells = pl.read_csv(tmp_path / "cells.csv", infer_schema=False)
    assert cells.height == 20 + rest
    assert cells.columns == ["workbook", "check", "sheet", "cell", "saved", "expected", "formula", "problem"]
    assert set(cells["workbook"]) == {str(spoilt)}


def _refusals(folder: Path, tmp_path: Path) -> Iterator[tuple[Path, str]]:
    source = book(folder)
    yield tmp_path / "absent.xlsx", "there is no such file"
    (tmp_path / "text.xlsx").write_text("no workbook")
    yield tmp_path / "text.xlsx", "it is no .xlsx workbook, or a damaged one"
    (tmp_path / "half.xlsx").write_bytes(source.read_bytes()[:50_000])
    yield tmp_path / "half.xlsx", "it is no .xlsx workbook, or a damaged one"
    (tmp_path / "locked.xlsx").write_bytes(b"\xd0\xcf\x11\xe0" + bytes(100))
    yield tmp_path / "locked.xlsx", "it is locked with a password"
    openpyxl.Workbook().save(tmp_path / "other.xlsx")
    yield tmp_path / "other.xlsx", "this is no workbook of margin-ledger"
    cut = rewrite(source, tmp_path / "cut.xlsx", {part(source, "Ledger"): lambda xml: xml[: len(xml) // 2]})
    yield cut, "a sheet breaks off"
    yield tmp_path, "Is a directory"


def test_what_is_no_workbook_of_this_tool_is_refused(folder: Path, tmp_path: Path) -> None:
    for path, words in _refusals(folder, tmp_path):
        result = run("verify", path)
        assert result.exit_code == 2, path
        assert words in result.stderr, result.stderr
        assert str(path) in result.stderr
        assert "Traceback" not in result.stderr


def test_one_that_cannot_be_read_does_not_stop_the_others(folder: Path, tmp_path: Path) -> None:
    result = run("verify", tmp_path / "absent.xlsx", book(folder, "demo"), "--inputs", folder)
    assert result.exit_code == 2
    assert "absent.xlsx: there is no such file" in result.stderr
    assert "OK    recalculated" in result.stdout
    result = run("verify", book(folder), "--out", tmp_path / "nowhere" / "cells.csv")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "cells.csv: cannot be written (there is no folder" in result.stderr


def test_without_libreoffice_nothing_is_proved(folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    result = run("verify", book(folder))
    assert result.exit_code == 2
    assert "LibreOffice (soffice) is not installed" in result.stderr


def test_frames_are_those_of_one_workbook(folder: Path, tmp_path: Path) -> None:
    result = run("verify", book(folder), book(folder, "demo"), "--frames", folder)
    assert (result.exit_code, "give the one workbook" in result.stderr) == (2, True)
    result = run("verify", book(folder), "--inputs", tmp_path / "nowhere")
    assert (result.exit_code, "there is no such folder" in result.stderr) == (2, True)


# Reading


@pytest.mark.filterwarnings("ignore:Unable to read chart")
@pytest.mark.parametrize("demo", DEMOS)
def test_cells_are_read_as_another_reader_reads_them(folder: Path, saved_again: Path, demo: str) -> None:
    for workbook in (book(folder, demo), book(saved_again, demo)):
        formulas, values = openpyxl.load_workbook(workbook), openpyxl.load_workbook(workbook, data_only=True)
        saved = open_book(workbook)
        assert list(saved.sheets) == formulas.sheetnames
        for sheet in saved.sheets:
            cells = pl.concat(saved.cells(sheet))
            for row, column, own, words, number in cells.select(
                "row", "column", "formula", "text", "number"
            ).iter_rows():
                other = formulas[sheet].cell(row, column)
                assert (other.value if other.data_type == "f" else None) == (own and f"={own}")
                if number is not None and not other.is_date:
                    assert values[sheet].cell(row, column).value == pytest.approx(number, rel=1e-15)
                elif words:
                    assert values[sheet].cell(row, column).value == words
