"""The cells of a workbook as it was saved, by whichever program: formula and saved value of each, sheet by sheet.

Readers of workbooks give either formulas or saved values: this gives both, in one pass.
"""

import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from posixpath import join, normpath
from xml.etree.ElementTree import Element, ParseError, fromstring, iterparse
from zipfile import BadZipFile, ZipFile

import polars as pl
from polars.exceptions import PolarsError

from ledger.refusals import LedgerError
from reports.verification.xml import read_cells

_MAIN = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"
_DOCUMENT = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}"
_PACKAGE = "{http://schemas.openxmlformats.org/package/2006/relationships}"
_SEEN = "visible"
_OLD_OR_ENCRYPTED = b"\xd0\xcf\x11\xe0"


@dataclass(frozen=True)
class SavedBook:
    """A workbook as it was saved: the parts of its sheets by name, in their order, and what it says of itself.

    `names` has the defined names. `is_as_written` is whether no program has calculated and saved it since it was
    written: it still asks to be recalculated on load. `outside` names the parts that lead out of it or run in it,
    `open_styles` has the numbers of the styles of cells that take entries though their sheet is protected.
    """

    path: Path
    sheets: dict[str, str]
    texts: pl.Series
    names: dict[str, str]
    is_as_written: bool
    outside: tuple[str, ...]
    hidden: tuple[str, ...]
    open_styles: frozenset[str]

    def cells(self, sheet: str) -> Iterator[pl.DataFrame]:
        """The cells of a sheet (columns CELLS), some thousands of rows at a time.

        Raises LedgerError where the sheet is damaged.
        """
        with _told(self.path), ZipFile(self.path) as archive, archive.open(self.sheets[sheet]) as part:
            yield from read_cells(part, self.texts, self.open_styles)


def open_book(path: Path) -> SavedBook:
    """Read what a workbook has beside its cells.

    Raises LedgerError where it is missing, no workbook, damaged, or locked with a password.
    """
    with _told(path):
        with path.open("rb") as file:
            if file.read(4) == _OLD_OR_ENCRYPTED:
                problem = "it is locked with a password, or an old .xls file"
                raise LedgerError(f"{path}: {problem}; save it as .xlsx without a password")
        with ZipFile(path) as archive:
            book = fromstring(archive.read("xl/workbook.xml"))
            links = _targets(archive, "xl/_rels/workbook.xml.rels")
            calculation = book.find(f"{_MAIN}calcPr")
            return SavedBook(
                path,
                {one.get("name", ""): links[one.get(f"{_DOCUMENT}id", "")] for one in book.iter(f"{_MAIN}sheet")},
                _shared_texts(archive),
                {one.get("name", ""): one.text or "" for one in book.iter(f"{_MAIN}definedName")},
                calculation is not None and calculation.get("fullCalcOnLoad") in ("1", "true"),
                tuple(n for n in archive.namelist() if "externalLinks/" in n or n.endswith("vbaProject.bin")),
                tuple(one.get("name", "") for one in book.iter(f"{_MAIN}sheet") if one.get("state", _SEEN) != _SEEN),
                _open_styles(fromstring(archive.read("xl/styles.xml"))),
            )


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Damage of a file in plain words."""
    try:
        yield
    except FileNotFoundError as error:
        raise LedgerError(f"{path}: there is no such file") from error
    except OSError as error:
        raise LedgerError(f"{path}: cannot be read ({error.strerror or error})") from error
    except (BadZipFile, ParseError, zlib.error, KeyError, ValueError, EOFError, RuntimeError, PolarsError) as error:
        problem = f"it is no .xlsx workbook, or a damaged one ({str(error).splitlines()[0]})"
        raise LedgerError(f"{path}: {problem}; take another copy, or write it again") from error


def _targets(archive: ZipFile, part: str) -> dict[str, str]:
    """Where the relations of the workbook lead, by their identifiers."""
    return {
        one.get("Id", ""): normpath(join("xl", one.get("Target", ""))).lstrip("/")
        if not one.get("Target", "").startswith("/")
        else one.get("Target", "").lstrip("/")
        for one in fromstring(archive.read(part)).iter(f"{_PACKAGE}Relationship")
    }


def _shared_texts(archive: ZipFile) -> pl.Series:
    """The texts that cells name by their number."""
    name = "xl/sharedStrings.xml"
    texts: list[str] = []
    if name in archive.namelist():
        with archive.open(name) as part:
            for _, one in iterparse(part):
                if one.tag == f"{_MAIN}si":
                    texts.append(_plain(one))
                    one.clear()
    return pl.Series("texts", texts, pl.String)


def _open_styles(styles: Element) -> frozenset[str]:
    """The numbers of the styles whose cells are not locked."""
    looks = styles.findall(f"{_MAIN}cellXfs/{_MAIN}xf")
    locks = [look.find(f"{_MAIN}protection") for look in looks]
    is_open = [lock is not None and lock.get("locked") in ("0", "false") for lock in locks]
    return frozenset(str(number) for number, unlocked in enumerate(is_open) if unlocked)


def _plain(one: Element) -> str:
    """The text of an element, without the looks of its pieces and without what is read aloud."""
    pieces = [*one.findall(f"{_MAIN}t"), *one.findall(f"{_MAIN}r/{_MAIN}t")]
    return "".join(piece.text or "" for piece in pieces)
