"""LibreOffice at work without a window: workbooks converted, every formula recalculated."""

import subprocess
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

_ALWAYS = """<?xml version="1.0" encoding="UTF-8"?>
<oor:items xmlns:oor="http://openoffice.org/2001/registry" xmlns:xs="http://www.w3.org/2001/XMLSchema">
<item oor:path="/org.openoffice.Office.Calc/Formula/Load"><prop oor:name="OOXMLRecalcMode" oor:op="fuse">\
<value>0</value></prop></item>
</oor:items>
"""
"""Settings of a profile that recalculates on load: left to itself, LibreOffice shows the values that were saved."""


def convert(books: Sequence[Path], kind: str, folder: Path) -> list[Path]:
    """Convert workbooks in one run; gives the new files in `folder`, each named like its workbook, in their order.

    The profile is made for the run, so that runs at the same time do not meet. Raises ValueError when two workbooks
    have the same name, FileNotFoundError when LibreOffice is not installed, RuntimeError when a file is not made.
    """
    made = [folder / f"{book.stem}.{kind}" for book in books]
    if len(set(made)) != len(made):
        raise ValueError("two workbooks have the same name: one would replace the other")
    with TemporaryDirectory() as profile:
        settings = Path(profile) / "user" / "registrymodifications.xcu"
        settings.parent.mkdir()
        settings.write_text(_ALWAYS, encoding="utf-8")
        program = ["soffice", f"-env:UserInstallation={Path(profile).as_uri()}", "--headless"]
        arguments = ["--convert-to", kind, "--outdir", str(folder), *map(str, books)]
        done = subprocess.run([*program, *arguments], capture_output=True, text=True, check=False)
    missing = [str(book) for book, file in zip(books, made, strict=True) if not file.is_file()]
    if done.returncode or missing:
        said = done.stderr.strip() or done.stdout.strip()
        raise RuntimeError(f"LibreOffice could not convert {', '.join(missing or map(str, books))}: {said}")
    return made
