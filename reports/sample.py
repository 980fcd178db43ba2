"""The sample workbook and pictures of its sheets: `python -m reports.sample` makes them again, `--check` finds drift.

The workbooks are those of the reconciliation demo and, in a folder of its own, of the risk demo. Each picture is the
first printed page of a sheet; the second folder has those of sheets that the first lacks. SHA256SUMS says from which
workbook pictures were taken; they depend on the fonts of a machine, too, and are not compared themselves.
"""

import hashlib
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from reports.libreoffice import convert

FOLDER = Path(__file__).parent / "samples"
BOOK = "spot-margin-reconciliation.xlsx"
RISK_BOOK = "spot-margin-risk.xlsx"
SUMS = "SHA256SUMS"
_RESOLUTION = "110"
_DEMO = "from reports.command_line import main; main(['demo'])"


def make(folder: Path) -> list[Path]:
    """Write the workbooks, pictures of their sheets, and the hashes of both to the folders; returns the files.

    What an earlier run left there is removed. Raises FileNotFoundError when LibreOffice is not installed.
    """
    with TemporaryDirectory() as work:
        _demonstrate(Path(work))
        books = [(Path(work) / name, place) for name, place in _places(folder).items()]
        made, shown = [], list[str]()
        for book, place in books:
            made += _made(book, place, without=shown)
            shown += _sheets(book)
    return made


def _places(folder: Path) -> dict[str, Path]:
    """The workbooks, and the folder of each."""
    return {BOOK: folder, RISK_BOOK: folder / "risk"}


def _made(book: Path, folder: Path, without: Sequence[str]) -> list[Path]:
    """The workbook, pictures of its sheets but for those named, and their hashes, in the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    pages = convert([book], "pdf", book.parent)[0]
    for old in (*folder.glob("*.png"), *folder.glob("*.xlsx")):
        old.unlink()
    made = [folder / book.name, *_pictures(pages, [one for one in _sheets(book) if one not in without], folder)]
    made[0].write_bytes(book.read_bytes())
    sums = [f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}" for file in made]
    (folder / SUMS).write_text("\n".join(sums) + "\n", encoding="utf-8")
    return [*made, folder / SUMS]


def drift(folder: Path) -> list[str]:
    """What is no longer as the demo makes it, or not as it was made together: one sentence each; nothing: no drift."""
    found = []
    with TemporaryDirectory() as work:
        _demonstrate(Path(work))
        for name, place in _places(folder).items():
            found += _not_as_made(place)
            members = _apart(place / name, Path(work) / name) if (place / name).is_file() else []
            found += [f"{name}: {member} is not what the demo writes now" for member in members]
    return found


def _not_as_made(folder: Path) -> list[str]:
    """What is in the folder, or is not, against its list of hashes."""
    found = []
    lines = (folder / SUMS).read_text(encoding="utf-8").splitlines()
    recorded = {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
    present = {file.name for file in folder.iterdir() if file.is_file()} - {SUMS}
    for name in sorted(present ^ set(recorded)):
        found.append(f"{name}: {'is not listed in' if name in present else 'is missing, but listed in'} {SUMS}")
    for name in sorted(present & set(recorded)):
        if hashlib.sha256((folder / name).read_bytes()).hexdigest() != recorded[name]:
            found.append(f"{name}: is not the file that {SUMS} lists")
    return found


def _demonstrate(folder: Path) -> None:
    """Run the demo in a folder, so that the paths in its workbooks are always the same."""
    here = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    subprocess.run([sys.executable, "-c", _DEMO], cwd=folder, env=here, check=True, capture_output=True)


def _apart(one: Path, other: Path) -> list[str]:
    """Members that differ; how they are packed may depend on the machine."""
    with zipfile.ZipFile(one) as first, zipfile.ZipFile(other) as second:
        names = [*first.namelist(), *(name for name in second.namelist() if name not in first.namelist())]
        both = set(first.namelist()) & set(second.namelist())
        return [name for name in names if name not in both or first.read(name) != second.read(name)]


def _sheets(book: Path) -> list[str]:
    with zipfile.ZipFile(book) as archive:
        return re.findall(r'<sheet name="([^"]*)"', archive.read("xl/workbook.xml").decode("utf-8"))


def _pictures(pages: Path, sheets: Sequence[str], folder: Path) -> list[Path]:
    """A picture of the first page of each sheet, whose name stands at the right or alone in every page's head."""
    done = subprocess.run(["pdftotext", "-layout", str(pages), "-"], capture_output=True, text=True, check=True)
    heads = [page.strip().splitlines()[0] if page.strip() else "" for page in done.stdout.split("\f")]
    made = []
    for place, sheet in enumerate(sheets, 1):
        named = re.compile(rf"(.*  )?{re.escape(sheet)}")
        page = next(number for number, head in enumerate(heads, 1) if named.fullmatch(head))
        name = folder / f"{place:02}-{sheet.lower().replace(' ', '-')}"
        number = str(page)
        what = ["-png", "-r", _RESOLUTION, "-f", number, "-l", number, "-singlefile"]
        subprocess.run(["pdftoppm", *what, str(pages), str(name)], check=True)
        made.append(name.with_suffix(".png"))
    return made


def main(arguments: Sequence[str]) -> int:
    """The command line: 0 made, or no drift; 1 drift; 2 wrong arguments."""
    if not arguments:
        for file in make(FOLDER):
            print(f"Wrote {file}")
        return 0
    if list(arguments) != ["--check"]:
        print(__doc__, file=sys.stderr)
        return 2
    found = drift(FOLDER)
    print("\n".join([*found, "Make them again: python -m reports.sample"]) if found else "The samples are up to date.")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
