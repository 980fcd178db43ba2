"""A sheet as LibreOffice prints it: `python -m reports.picture BOOK.xlsx SHEET OUT.png [PAGE [HEIGHT]]`."""

import re
import subprocess
import sys
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory

from reports import libreoffice


def convert(book: Path, kind: str, folder: Path) -> Path:
    """Convert one workbook, every formula recalculated; as `reports.libreoffice.convert` does with several."""
    return libreoffice.convert([book], kind, folder)[0]


def render(book: Path, sheet: str, picture: Path, page: int = 1, height: int = 0) -> None:
    """Render a printed page of one sheet as PNG, cut to its upper `height` points if given.

    Raises ValueError when the workbook has no such sheet.
    """
    with TemporaryDirectory() as folder:
        alone = Path(folder) / "sheet.xlsx"
        _only(book, sheet, alone)
        pages = convert(alone, "pdf", Path(folder))
        which = ["-png", "-r", "110", "-f", str(page), "-l", str(page), "-singlefile"]
        cut = ["-x", "0", "-y", "0", "-W", "0", "-H", str(height)] if height else []
        subprocess.run(["pdftoppm", *which, *cut, str(pages), str(picture.with_suffix(""))], check=True)


def _only(book: Path, sheet: str, out: Path) -> None:
    """A copy of the workbook in which all other sheets are hidden: those are not printed."""
    with zipfile.ZipFile(book) as source, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as target:
        for name in source.namelist():
            content = source.read(name)
            if name == "xl/workbook.xml":
                content = _hide_others(content.decode("utf-8"), sheet).encode("utf-8")
            target.writestr(name, content)


def _hide_others(text: str, sheet: str) -> str:
    names = re.findall(r'<sheet name="([^"]*)"', text)
    if sheet not in names:
        raise ValueError(f"no sheet {sheet}; there are {', '.join(names)}")
    for name in names:
        if name != sheet:
            text = text.replace(f'<sheet name="{name}"', f'<sheet name="{name}" state="hidden"')
    # Hidden or not, LibreOffice prints a sheet that has a print area.
    area = rf'<definedName name="_xlnm.Print_Area" localSheetId="(?!{names.index(sheet)}")[^>]*>[^<]*</definedName>'
    text = re.sub(area, "", text)
    return text.replace("<workbookView ", f'<workbookView activeTab="{names.index(sheet)}" ', 1)


def main(arguments: list[str]) -> int:
    """The command line; 2 when the arguments are wrong."""
    if len(arguments) not in (3, 4, 5):
        print(__doc__, file=sys.stderr)
        return 2
    book, sheet, picture, *numbers = arguments
    render(Path(book), sheet, Path(picture), *map(int, numbers))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
