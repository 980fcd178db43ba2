"""Packed files read as plain ones; hostile archives are refused in plain words and leave nothing behind."""

import gzip
import io
import os
import tempfile
import zipfile
from pathlib import Path

import polars as pl
import pytest
from exchange_feeds import FEEDS

from ledger import containers
from ledger.containers import unpacked
from ledger.feeds import read_files
from ledger.formats import column_names, raw_batches
from ledger.policies import Policies
from ledger.reading import read_batches
from ledger.refusals import BadInput
from ledger.tables import Table

CSV = b"billId,subType,ts,instId\n1,2,1695033476167,BTC-USDT\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "unpacked"
    folder.mkdir()
    return folder


def zipped(content: bytes, name: str = "bills.csv", packing: int = zipfile.ZIP_DEFLATED, **others: bytes) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", packing) as archive:
        archive.writestr(name, content)
        for other, data in others.items():
            archive.writestr(other, data)
    return target.getvalue()


def put(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def rows(path: Path, folder: Path) -> int:
    found = read_files([path], FEEDS, {}, folder)[0]
    assert found.refusals.rows() == []
    assert list(folder.iterdir()) == []
    return sum(part.rows.height for part in found.parts)


def refusal(path: Path, folder: Path) -> str:
    found = read_files([path], FEEDS, {}, folder)[0]
    assert list(folder.iterdir()) == []
    assert found.parts == ()
    assert found.refusals["file"].to_list() == [str(path)]
    assert found.refusals["remedy"][0]
    return str(found.refusals["rule"][0])


# --- good archives ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["bills.csv", "bills.csv.gz", "BILLS.ZIP", "bills", "bills.xlsx", "bills.json"])
@pytest.mark.parametrize(
    "content",
    [
        CSV,
        gzip.compress(CSV),
        gzip.compress(CSV[:30]) + gzip.compress(CSV[30:]),
        zipped(CSV),
        zipped(CSV, "2024/quarter 1/bills"),
        zipped(CSV, "\u00fc\u4e2d.csv"),
        zipped(CSV, packing=zipfile.ZIP_STORED),
        zipped(CSV, packing=zipfile.ZIP_BZIP2),
        zipped(CSV, packing=zipfile.ZIP_LZMA),
        zipped(CSV, **{"__MACOSX/._bills.csv": b"x", ".DS_Store": b"x", "Thumbs.db": b"x"}),
    ],
    ids=["plain", "gzip", "members", "zip", "folders", "letters", "stored", "bzip2", "lzma", "desktop"],
)
def test_what_a_file_is_does_not_depend_on_its_name(tmp_path: Path, folder: Path, name: str, content: bytes) -> None:
    assert rows(put(tmp_path / name, content), folder) == 1


def test_a_plain_file_is_not_copied(tmp_path: Path, folder: Path) -> None:
    path = put(tmp_path / "a.csv", CSV)
    assert unpacked(path, folder) == path
    assert list(folder.iterdir()) == []


def test_the_name_in_an_archive_does_not_decide_where_it_goes(tmp_path: Path, folder: Path) -> None:
    copy = unpacked(put(tmp_path / "a.zip", zipped(CSV, "deep/down/bills.CSV")), folder)
    assert (copy.parent, copy.suffix) == (folder, ".csv")
    assert copy.read_bytes() == CSV
    odd = unpacked(put(tmp_path / "b.zip", zipped(CSV, "bills.c s;v")), folder)
    assert (odd.parent, odd.suffix) == (folder, "")


EVENTS = b"time,event_id,account,instrument,mode,margin_currency,kind,side,quantity,price,leverage\n"
EVENTS += b"2024-05-01T12:00:00Z,a,main,BTC-USDT,new,base,fill,buy,1,2,3\n"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("events.csv.gz", gzip.compress(EVENTS)),
        ("events.gz", gzip.compress(EVENTS)),
        ("events.zip", zipped(EVENTS, "events.csv")),
        ("events.csv", zipped(EVENTS, "events.csv")),
        ("events.zip", EVENTS),
        ("events.ndjson.gz", gzip.compress(b'{"time":"2024-05-01T12:00:00Z"}')),
    ],
)
def test_events_may_be_packed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: Path, name: str, content: bytes
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    path = put(tmp_path / name, content)
    [batch] = read_batches(path, 1, Policies())
    good = (
        EVENTS in (content, *(gzip.decompress(content) for _ in range(content[:2] == b"\x1f\x8b"))) or b"PK" in content
    )
    assert (batch.events.height, batch.refusals.height) == ((1, 0) if good else (0, 6))
    assert set(batch.refusals["file"]) <= {str(path)}
    assert column_names(path)[0] == "time"
    assert list(folder.iterdir()) == []


def test_an_archive_that_is_left_half_read_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    batches = raw_batches(put(tmp_path / "a.zip", zipped(EVENTS)), Table((), (), ignores_others=True), 1)
    next(batches)
    assert list(folder.iterdir())
    batches.close()
    assert list(folder.iterdir()) == []


# --- hostile archives ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["gz", "zip"])
def test_an_archive_that_unpacks_without_end_is_refused(tmp_path: Path, folder: Path, suffix: str) -> None:
    content = CSV + bytes(80 * 2**20)
    path = put(tmp_path / f"a.{suffix}", gzip.compress(content, 1) if suffix == "gz" else zipped(content))
    assert "unpacks to more than 67,108,864 bytes" in refusal(path, folder)


def test_an_archive_that_lies_about_its_size_is_cut_where_it_lies(tmp_path: Path, folder: Path) -> None:
    good, size = zipped(CSV * 10_000), (len(CSV) * 10_000).to_bytes(4, "little")
    path = put(tmp_path / "a.zip", good.replace(size, (100).to_bytes(4, "little")))
    assert "damaged or cut off" in refusal(path, folder)


@pytest.mark.parametrize(("ratio", "taken", "largest"), [(2, 10, 10**9), (1000, 10, 1000), (1000, 10**9, 1000)])
def test_size_and_ratio_are_both_limited(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, ratio: int, taken: int, largest: int
) -> None:
    path = put(tmp_path / "a.gz", gzip.compress(CSV + CSV.splitlines()[1] * 100))
    monkeypatch.setattr(containers, "LARGEST_RATIO", ratio)
    monkeypatch.setattr(containers, "ALWAYS_TAKEN", taken)
    monkeypatch.setattr(containers, "LARGEST_BYTES", largest)
    assert "out of proportion" in refusal(path, folder)


@pytest.mark.parametrize("content", [gzip.compress(CSV), zipped(CSV)])
def test_a_link_to_an_archive_is_refused_and_one_to_a_table_is_not(
    tmp_path: Path, folder: Path, content: bytes
) -> None:
    link = tmp_path / "link.csv"
    link.symlink_to(put(tmp_path / "packed", content))
    assert "a symbolic link" in refusal(link, folder)
    table = tmp_path / "table.csv"
    table.symlink_to(put(tmp_path / "plain.csv", CSV))
    assert rows(table, folder) == 1


def test_what_is_no_file_is_refused_without_waiting(tmp_path: Path, folder: Path) -> None:
    os.mkfifo(tmp_path / "pipe.csv")
    assert "no ordinary file" in refusal(tmp_path / "pipe.csv", folder)
    assert "folder" in refusal(folder, folder)
    (tmp_path / "nowhere").symlink_to(tmp_path / "absent")
    assert "does not exist" in refusal(tmp_path / "nowhere", folder)
    assert "no ordinary file" in refusal(Path("/dev/zero"), folder)
    assert "name too long" in refusal(tmp_path / ("x" * 300), folder)


@pytest.mark.parametrize("content", [gzip.compress(CSV * 3), zipped(CSV * 3)], ids=["gzip", "zip"])
def test_a_damaged_archive_never_raises_and_gives_nothing_else(tmp_path: Path, folder: Path, content: bytes) -> None:
    path = tmp_path / "a"
    for cut in range(1, len(content)):
        found = read_files([put(path, content[:cut])], FEEDS, {}, folder)[0]
        assert found.refusals.height == 1
        assert list(folder.iterdir()) == []
    for place in range(len(content)):
        path.write_bytes(content[:place] + bytes([content[place] ^ 0xFF]) + content[place + 1 :])
        found = read_files([path], FEEDS, {}, folder)[0]
        assert found.refusals.height or [part.rows["row_id"].to_list() for part in found.parts] == [["1"] * 3]
        assert list(folder.iterdir()) == []


def test_a_full_disk_is_named(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(containers, "_copy", full)
    assert "no room to unpack" in refusal(put(tmp_path / "a.gz", gzip.compress(CSV)), folder)


def test_refusals_name_the_file_that_was_given(tmp_path: Path, folder: Path) -> None:
    path = put(tmp_path / "a.csv.gz", gzip.compress(CSV + b"1,2\n"))
    refusals = read_files([path], FEEDS, {}, folder)[0].refusals
    assert refusals.select("file", "row").rows() == [(str(path), 3)]
    parquet = io.BytesIO()
    pl.DataFrame({"billId": ["1"]}).write_parquet(parquet)
    broken = put(tmp_path / "b.zip", zipped(parquet.getvalue()[:-20]))
    with pytest.raises(BadInput) as caught:
        list(raw_batches(broken, Table((), ()), 1))
    assert str(tmp_path / "b.zip") == caught.value.refusals["file"][0]
