"""Shared by all tests: what random tests draw, what needs LibreOffice, and a copy of every workbook that tests write.

`MARGIN_LEDGER_KEEP_WORKBOOKS=DIR` keeps every workbook, each once, with the files beside it, as DIR/HASH/NAME.xlsx, and
the name of the test that wrote it. Then `margin-ledger verify DIR/*/*.xlsx` proves them. Tests that write workbooks of
frames that are wrong on purpose have the mark wrong_frames.
"""

import hashlib
import os
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

_QUIET = [HealthCheck.too_slow, HealthCheck.data_too_large]
settings.register_profile("default", deadline=None, derandomize=True, suppress_health_check=_QUIET)
settings.register_profile("explore", deadline=None, max_examples=2_000, suppress_health_check=_QUIET)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))

_KEPT = os.environ.get("MARGIN_LEDGER_KEEP_WORKBOOKS")


_LONGEST = ("test_verify.py", "test_detection.py", "test_interest_reperformance.py")
"""Files whose tests take longest. They begin first, so that no worker is left alone with one of them at the end."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest tests first, all others in their order."""
    items.sort(key=lambda item: _LONGEST.index(item.path.name) if item.path.name in _LONGEST else len(_LONGEST))


@pytest.fixture
def libreoffice() -> None:
    """Skips where LibreOffice is absent, unless the environment says that it must be there."""
    if shutil.which("soffice") is None:
        if os.environ.get("MARGIN_LEDGER_REQUIRE_LIBREOFFICE") == "1":
            pytest.fail("LibreOffice (soffice) is required here and is not installed")
        pytest.skip("LibreOffice (soffice) is not installed: nothing recalculates the workbook")


def _keep(workbook: Path, folder: Path) -> None:
    """A copy of a workbook and of the files beside it, under the hash of the workbook."""
    target = folder / hashlib.sha256(workbook.read_bytes()).hexdigest()[:16]
    target.mkdir(parents=True, exist_ok=True)
    for file in (workbook, *workbook.parent.glob(f"{workbook.stem}.*.parquet")):
        shutil.copyfile(file, target / file.name)
    (target / "test.txt").write_text(os.environ.get("PYTEST_CURRENT_TEST", ""))


if _KEPT:
    from reports import workbook as _workbook

    _put_in_place, _writes_wrong_ones = _workbook.put_in_place, False

    def _put_and_keep(drafts: Path, path: Path) -> None:
        _put_in_place(drafts, path)
        if not _writes_wrong_ones:
            _keep(path, Path(str(_KEPT)))

    _workbook.put_in_place = _put_and_keep

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(item: pytest.Item) -> None:
        """Before any fixture of a test writes a workbook: whether that is wrong on purpose."""
        global _writes_wrong_ones  # noqa: PLW0603 - a hook has no other place for it
        _writes_wrong_ones = item.get_closest_marker("wrong_frames") is not None
