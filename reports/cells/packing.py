"""From the draft of a workbook to the workbook: the bodies of its tables are put into the XML of the sheets.

The draft has everything but the bodies. In the first row of each it has a pattern row instead: an empty cell per style
of the body, from which the numbers of the styles are read. Its tables end with that row, and are stretched.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from zipfile import ZIP64_LIMIT, ZIP_DEFLATED, ZipFile

from xlsxwriter.utility import xl_cell_to_rowcol, xl_rowcol_to_cell  # type: ignore[import-untyped]

from ledger.progress import Progress, silent
from reports.cells.bodies import Body

COMPRESSION = 1
"""Level of zlib: 6 takes three times as long for files that are a seventh smaller."""
_STYLE = re.compile(r'<c r="[A-Z]+\d+"(?: s="(\d+)")?/>')
_CELL = re.compile(r'<c r="([A-Z]+\d+)"')
_DIMENSION = re.compile(r'<dimension ref="([A-Z]+\d+)(?::[A-Z]+\d+)?"/>')
_TABLE_NAME = re.compile(r' displayName="([^"]*)"')
_TABLE_CELLS = re.compile(r' ref="([A-Z]+\d+:[A-Z]+)\d+"')


def pack(draft: Path, path: Path, bodies: Mapping[int, Sequence[Body]], progress: Progress = silent) -> None:
    """Copy the draft to `path` with the bodies in place, which are given by the number of their sheet, from 1 on.

    The same draft and bodies give the same bytes. Raises ValueError where other cells stand in the rows of a body.
    """
    done, total = 0, sum(body.rows for found in bodies.values() for body in found)
    of_sheets = {f"xl/worksheets/sheet{number}.xml": found for number, found in bodies.items()}
    last_rows = {body.table: body.placed.last for found in bodies.values() for body in found}
    with ZipFile(draft) as source, ZipFile(path, "w", ZIP_DEFLATED, compresslevel=COMPRESSION) as target:
        for name in source.namelist():
            content, is_long = source.read(name), False
            pieces: Iterable[bytes] = [content]
            if name in of_sheets:
                sheet = _sheet(content.decode("utf-8"), of_sheets[name])
                pieces = _ahead(sheet.pieces())
                # The long form of an entry makes a spreadsheet program offer a repair: only what needs it has it.
                is_long = 2 * sheet.size() > ZIP64_LIMIT
            elif name.startswith("xl/tables/"):
                pieces = [_stretched(content.decode("utf-8"), last_rows).encode("utf-8")]
            with target.open(name, "w", force_zip64=is_long) as stream:
                for piece in pieces:
                    stream.write(piece)
            done += sum(body.rows for body in of_sheets.get(name, ()))
            progress("Writing", done, total)


@dataclass(frozen=True)
class _Sheet:
    """The XML of a sheet: its bodies, each with the numbers of its styles, and the text around them."""

    around: Sequence[str]
    bodies: Sequence[tuple[Body, Sequence[str]]]

    def pieces(self) -> Iterator[bytes]:
        """The XML from beginning to end."""
        yield self.around[0].encode("utf-8")
        for (body, styles), text in zip(self.bodies, self.around[1:], strict=True):
            yield from body.xml(styles)
            yield text.encode("utf-8")

    def size(self) -> int:
        """About how many bytes it is."""
        return sum(body.size(styles) for body, styles in self.bodies)


def _sheet(xml: str, bodies: Sequence[Body]) -> _Sheet:
    """The sheet of a draft, cut at the pattern rows of its bodies."""
    around, found = [], []
    for body in sorted(bodies, key=lambda body: body.placed.first):
        first = body.placed.first
        row = re.search(rf'<row r="{first}"[^>]*>(.*?)</row>', xml)
        styles = _STYLE.findall(row.group(1)) if row else []
        if not row or len(_CELL.findall(row.group(1))) != len(styles):
            raise ValueError(f"sheet {body.placed.sheet}: row {first} is no pattern row")
        around.append(xml[: row.start()])
        found.append((body, [style or "0" for style in styles]))
        xml = xml[row.end() :]
        behind = re.search(r'<row r="(\d+)"', xml)
        if behind and int(behind.group(1)) <= body.placed.last:
            raise ValueError(f"sheet {body.placed.sheet}: row {behind.group(1)} belongs to a table")
    around.append(xml)
    around[0] = _DIMENSION.sub(rf'<dimension ref="\1:{_last_cell(around, bodies)}"/>', around[0], count=1)
    return _Sheet(around, found)


def _last_cell(around: Sequence[str], bodies: Sequence[Body]) -> str:
    """The cell in the last row and column of all that is on the sheet."""
    corners = [xl_cell_to_rowcol(cell) for text in around for cell in _CELL.findall(text)]
    corners += [(body.placed.last - 1, len(body.placed.fields) - 1) for body in bodies]
    rows, columns = zip(*corners, strict=True)
    return str(xl_rowcol_to_cell(max(rows), max(columns)))


def _stretched(xml: str, last_rows: Mapping[str, int]) -> str:
    """The XML of a table, down to the last row of its body."""
    name = _TABLE_NAME.search(xml)
    return _TABLE_CELLS.sub(rf' ref="\g<1>{last_rows[name.group(1)]}"', xml) if name else xml


def _ahead(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """The same pieces, each of them made while the one before is compressed."""
    with ThreadPoolExecutor(1) as maker:
        coming = maker.submit(next, pieces, None)
        while (piece := coming.result()) is not None:
            coming = maker.submit(next, pieces, None)
            yield piece
