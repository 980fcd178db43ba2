"""The workbook that a new one replaces: refused if somebody saved it meanwhile, kept beside it if anybody ever did."""

import hashlib
import shutil
import warnings
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import openpyxl  # type: ignore[import-untyped]

from ledger.refusals import BadInput, LedgerError
from ledger.statements.workbook_cells import refuse_foreign, told
from reports.cells.tables import FIXED_DATE


@dataclass(frozen=True)
class Target:
    """Where a workbook will be written, and the hash of what stood there before the work; empty where nothing did."""

    path: Path
    sha256: str

    @classmethod
    def of(cls, path: Path) -> "Target":
        """The place as it is now."""
        return cls(path, _hash(path))

    def make_room(self) -> Path | None:
        """Keep a copy of what is about to be replaced if somebody has saved it since it was written; where it is.

        Own sheets, notes and colours are in no frame, so only a copy keeps them. Raises LedgerError where the file
        is no longer the one that stood there before the work, and OSError.
        """
        if _hash(self.path) != self.sha256:
            raise LedgerError(
                f"{self.path}: was saved or moved while this run was working, so it is not replaced; run again"
            )
        if not self.sha256 or not _is_saved_by_hand(self.path):
            return None
        for number in count(1):
            copy = self.path.with_name(f"{self.path.stem}.before{'' if number == 1 else f'-{number}'}.xlsx")
            try:
                with self.path.open("rb") as old, copy.open("xb") as new:
                    shutil.copyfileobj(old, new)
            except FileExistsError:
                continue
            return copy
        return None


def kept_sentence(copy: Path) -> str:
    """What the terminal says of a copy."""
    return f"Kept {copy}: the workbook as it was saved; own sheets, notes and colours are not carried on."


def _hash(path: Path) -> str:
    if not path.is_file():
        return ""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _is_saved_by_hand(path: Path) -> bool:
    """Whether a workbook was saved by another program: it then has another date than those that we write."""
    try:
        refuse_foreign(path)
        with told(path), path.open("rb") as stream, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of styles and extensions that do not matter here
            properties = openpyxl.load_workbook(stream, read_only=True, keep_links=False).properties
    except BadInput:
        return False  # no workbook
    return bool(properties.modified != FIXED_DATE)
