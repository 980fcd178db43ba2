"""Workbooks spoilt on purpose, cell by cell, in their XML: as no program would, and as a careless hand might."""

import re
from collections.abc import Callable
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile

import openpyxl
from openpyxl.utils import get_column_letter

HEADER_ROW = 6
Change = Callable[[str], str]


def rewrite(source: Path, target: Path, changes: dict[str, Change]) -> Path:
    """A copy of a workbook in which some parts of the file are changed; a part given as "" is new."""
    with ZipFile(source) as old, ZipFile(target, "w", ZIP_DEFLATED) as new:
        for name in old.namelist():
            content = old.read(name)
            if name in changes:
                before = content.decode("utf-8")
                content = changes[name](before).encode("utf-8")
                assert content.decode("utf-8") != before, f"{name} is as it was"
            new.writestr(name, content)
        for name in set(changes) - set(old.namelist()):
            new.writestr(name, changes[name](""))
    return target


def part(book: Path, sheet: str) -> str:
    """The part of the file that has a sheet."""
    with ZipFile(book) as archive:
        names = re.findall(r'<sheet name="([^"]*)"', archive.read("xl/workbook.xml").decode("utf-8"))
    return f"xl/worksheets/sheet{names.index(sheet) + 1}.xml"


def cell(place: str, change: Change) -> Change:
    """A change of one cell's XML."""

    def changed(text: str) -> str:
        found = re.search(rf'<c r="{place}"[^>]*?(?:/>|>.*?</c>)', text)
        assert found, f"there is no cell {place}"
        return text[: found.start()] + change(found.group()) + text[found.end() :]

    return changed


def both(*changes: Change) -> Change:
    """One change after another."""

    def changed(text: str) -> str:
        for change in changes:
            text = change(text)
        return text

    return changed


def value(new: str) -> Change:
    """Another saved value."""
    return lambda xml: re.sub("<v>.*?</v>", f"<v>{new}</v>", xml)


def formula(old: str, new: str) -> Change:
    """Another formula: `old` in it replaced."""
    return lambda xml: re.sub("<f>.*?</f>", lambda found: found.group().replace(old, new), xml)


def constant(xml: str) -> str:
    """The saved value in place of the formula."""
    return re.sub("<f>.*?</f>", "", xml)


def text(new: str) -> Change:
    """Another text."""
    return lambda xml: re.sub("(<t[^>]*>).*?</t>", rf"\g<1>{new}</t>", xml)


class Places:
    """Where the cells under a heading are."""

    def __init__(self, book: Path) -> None:
        self.saved = openpyxl.load_workbook(book, data_only=True)

    def cell(self, sheet: str, heading: str, number: int, header: int = HEADER_ROW) -> str:
        """The cell of the row of this number, from 1 on, under a heading."""
        return f"{self.letter(sheet, heading, header)}{header + number}"

    def letter(self, sheet: str, heading: str, header: int = HEADER_ROW) -> str:
        """The letter of the column under a heading."""
        headings = [one.value for one in self.saved[sheet][header]]
        return get_column_letter(headings.index(heading) + 1)

    def find(self, sheet: str, *texts: str) -> int:
        """The first row whose first cells say this."""
        for row in self.saved[sheet].iter_rows():
            if [one.value for one in row[: len(texts)]] == list(texts):
                return int(row[0].row)
        raise AssertionError(f"{sheet} has no row {texts}")

    def value(self, sheet: str, place: str) -> object:
        """The saved value of a cell."""
        return self.saved[sheet][place].value
