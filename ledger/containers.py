"""Files that come packed: gzip, and zip with one data file. What could harm whoever unpacks it is refused."""

import errno
import gzip
import lzma
import stat
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO

from ledger.refusals import BadInput, refuse_file

LARGEST_BYTES = 4 * 2**30
"""An archive is not unpacked beyond this size ..."""
LARGEST_RATIO = 100
"""... nor beyond this multiple of its own size. Exports of exchanges shrink to a tenth or a twentieth ..."""
ALWAYS_TAKEN = 64 * 2**20
"""... but short files may repeat themselves more: up to this size no ratio counts."""

_CHUNK = 2**20
_ZIP = (b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08")
_GZIP = b"\x1f\x8b"
_FOREIGN = {
    b"7z\xbc\xaf\x27\x1c": "a 7-Zip archive",
    b"Rar!\x1a\x07": "a RAR archive",
    b"\xfd7zXZ\x00": "an xz file",
    b"\x28\xb5\x2f\xfd": "a Zstandard file",
    b"BZh91AY&SY": "a bzip2 file",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook",
    b"%PDF-": "a PDF document",
}
_TAR, _TAR_PLACE = b"ustar", 257
_COMPANIONS = (".DS_Store", "Thumbs.db", "desktop.ini")  # what desktops put beside the files that a user packs
_BROKEN = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,
    OSError,
    NotImplementedError,  # a compression that this Python cannot undo
    RuntimeError,
    ValueError,
)


def is_packed(path: Path) -> bool:
    """Whether a file is gzip or zip by its first bytes, whatever its name says."""
    return _start(path).startswith((*_ZIP, _GZIP))


def unpacked(path: Path, folder: Path) -> Path:
    """The plain file in a container, as a new file in `folder`; a file that is none is given back as it is.

    Nothing of the archive decides where that is: its name is made up here. The caller removes it; where the archive
    is refused (BadInput), nothing is left of it.
    """
    start, file = _start(path), str(path)
    _refuse_foreign(file, start)
    if not start.startswith((*_ZIP, _GZIP)):
        return path
    if path.is_symlink():
        raise refuse_file(file, "The archive is a symbolic link.", "Name the file that it points to.")
    with _told(file):
        if start.startswith(_GZIP):
            with gzip.open(path) as packed:
                return _copied(packed, path, folder, path.stem if path.suffix.lower() == ".gz" else path.name)
        with zipfile.ZipFile(path) as archive:
            member = _only_member(file, archive)
            with archive.open(member) as stream:
                return _copied(stream, path, folder, member.filename)


def _start(path: Path) -> bytes:
    with path.open("rb") as stream:
        return stream.read(512)


def _refuse_foreign(file: str, start: bytes) -> None:
    """Refuse what is neither text nor a container that is read."""
    kind = next((kind for magic, kind in _FOREIGN.items() if start.startswith(magic)), None)
    if start[_TAR_PLACE:].startswith(_TAR):
        kind = "a tar archive"
    if kind:
        raise refuse_file(file, f"The file is {kind}.", "Give the data file itself, or a .zip or .gz with it alone.")


@contextmanager
def _told(file: str) -> Iterator[None]:
    """What goes wrong while an archive is unpacked, in plain words."""
    try:
        yield
    except BadInput:
        raise
    except _BROKEN as error:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise refuse_file(file, "The disk has no room to unpack the archive.", "Make room.") from None
        if isinstance(error, NotImplementedError):
            remedy = "Pack it again as an ordinary zip, or unpack it."
            raise refuse_file(file, "The archive is packed in a way that is not read.", remedy) from None
        reason = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
        rule = f"The archive is damaged or cut off: {reason}."
        raise refuse_file(file, rule, "Download or copy it again.") from None


def _only_member(file: str, archive: zipfile.ZipFile) -> zipfile.ZipInfo:
    """The one data file of a zip archive; BadInput where there is not exactly one that can be taken."""
    members = [member for member in archive.infolist() if not _is_companion(member)]
    names = [member.filename for member in members]
    if "[Content_Types].xml" in names:
        raise refuse_file(file, "The file is a workbook, not a data file.", "Save the sheet as CSV UTF-8.")
    for member in members:
        _refuse_member(file, member)
    if len(members) != 1:
        shown = f": {', '.join(map(ascii, names[:3]))}{', ...' if len(names) > 3 else ''}" if names else ""
        rule = f"The archive holds {len(names) or 'no'} files{shown}; it may hold one."
        raise refuse_file(file, rule, "Unpack it, and give the files one by one.")
    return members[0]


def _is_companion(member: zipfile.ZipInfo) -> bool:
    path = PurePosixPath(member.filename)
    return member.is_dir() or path.parts[:1] == ("__MACOSX",) or path.name in _COMPANIONS


def _refuse_member(file: str, member: zipfile.ZipInfo) -> None:
    name, kind = member.filename, stat.S_IFMT(member.external_attr >> 16)
    leaves = name.startswith("/") or ".." in PurePosixPath(name).parts or "\\" in name or name[1:2] == ":"
    shown = ascii(name[:200])
    if leaves:
        rule = f"A file in the archive names a place outside of it: {shown}."
        raise refuse_file(file, rule, "Do not trust this archive; export it again.", value=shown)
    if kind not in (0, stat.S_IFREG):
        rule = f"{shown} in the archive is {'a symbolic link' if kind == stat.S_IFLNK else 'no ordinary file'}."
        raise refuse_file(file, rule, "Pack the data file itself.", value=shown)
    if member.flag_bits & 0x1:
        rule = f"{shown} in the archive is encrypted."
        raise refuse_file(file, rule, "Unpack it with its password, and give the file.", value=shown)


def _copied(stream: IO[bytes] | gzip.GzipFile, path: Path, folder: Path, name: str) -> Path:
    """What `stream` gives, as a file in `folder` with the ending of `name`; nothing stays if it is refused."""
    suffix = PurePosixPath(name).suffix.lower()
    suffix = suffix if suffix[1:].isascii() and suffix[1:].isalnum() and len(suffix) < 12 else ""
    with tempfile.NamedTemporaryFile(dir=folder, prefix="unpacked_", suffix=suffix, delete=False) as target:
        try:
            _copy(stream, target, path)
        except BaseException:
            target.close()
            Path(target.name).unlink()
            raise
    return Path(target.name)


def _copy(stream: IO[bytes] | gzip.GzipFile, target: IO[bytes], path: Path) -> None:
    file, written = str(path), 0
    most = min(LARGEST_BYTES, max(ALWAYS_TAKEN, LARGEST_RATIO * path.stat().st_size))
    while chunk := stream.read(_CHUNK):
        if not written:
            _refuse_nested(file, chunk)
        written += len(chunk)
        if written > most:
            rule = f"The archive unpacks to more than {most:,} bytes, out of proportion to its own size."
            raise refuse_file(file, rule, "Do not trust this archive; if it is good, unpack it and give the file.")
        target.write(chunk)
    if not written:
        raise refuse_file(file, "The file in the archive is empty.", "Export it again.")


def _refuse_nested(file: str, start: bytes) -> None:
    if start.startswith((*_ZIP, _GZIP)):
        raise refuse_file(file, "The archive holds another archive.", "Unpack the outer one, and give the inner one.")
    _refuse_foreign(file, start)
