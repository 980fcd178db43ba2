"""What the inputs frame says of a file."""

import hashlib
from pathlib import Path
from typing import Any


def file_facts(number: int, path: Path, rows: int, times: list[Any]) -> dict[str, Any]:
    """One row of INPUTS: number, name, size, hash, rows, and the first and last of `times`."""
    known, seen = path.is_file(), [time for time in times if time is not None]
    return {
        "input": number,
        "file": str(path),
        "bytes": path.stat().st_size if known else 0,
        "sha256": _sha256(path) if known else "",
        "rows": rows,
        "first_time": min(seen, default=None),
        "last_time": max(seen, default=None),
    }


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
