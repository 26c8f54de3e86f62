"""Members of an Inspect `.eval` file: a ZIP whose members are deflated or, in recent versions, Zstandard (method 93).

The zipfile module reads method 93 from Python 3.14 on only; here the frame is read by the zstandard package. Sizes are
bounded before and while unpacking: a small file must not fill the memory.
"""

import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import zstandard

from routing.importers.base import EvalImportError

MAX_MEMBERS = 1_000_000
MAX_MEMBER = 128 << 20  # one sample with its events
MAX_TOTAL = 8 << 30
ZSTANDARD = 93
_LOCAL_HEADER = 30
_ENCRYPTED = 1
_REMEDY = "Copy the log again; inspect log convert --to json writes it in another form"
_DAMAGED = (zipfile.BadZipFile, struct.error, EOFError, zlib.error, zstandard.ZstdError, NotImplementedError, OSError)


class Archive:
    """Reads members of an open ZIP, one at a time, within the bounds."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self.archive = archive
        self.members = {info.filename: info for info in archive.infolist()}
        self.left = MAX_TOTAL
        if len(self.members) > MAX_MEMBERS:
            raise EvalImportError(
                f"holds {len(self.members):,} members, at most {MAX_MEMBERS:,} are read", remedy=_REMEDY
            )

    @property
    def samples(self) -> list[str]:
        """Names of the samples, in the order of the file."""
        return [name for name in self.members if name.startswith("samples/") and name.endswith(".json")]

    def read(self, name: str) -> bytes:
        """Content of a member. Raises EvalImportError where it is too large, locked, packed otherwise or damaged."""
        info = self.members[name]
        if info.file_size > MAX_MEMBER:
            raise _too_large(name)
        if info.flag_bits & _ENCRYPTED:
            raise EvalImportError("is encrypted", remedy="Unpack it first", field=name)
        try:
            content = self._unpacked(info)
        except EvalImportError:
            raise
        except (*_DAMAGED, ValueError) as error:  # ValueError: a place before the beginning of the file
            raise EvalImportError("is damaged", remedy=_REMEDY, field=name) from error
        self.left -= len(content)
        if self.left < 0:
            raise EvalImportError(f"unfolds to more than {MAX_TOTAL >> 30} GiB", remedy="Split the evaluation")
        return content

    def _unpacked(self, info: zipfile.ZipInfo) -> bytes:
        if info.compress_type == ZSTANDARD:
            content = _zstandard(self._packed(info), info.filename)
            if len(content) != info.file_size or zlib.crc32(content) != info.CRC:
                raise zipfile.BadZipFile("the checksum differs")
            return content
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            problem = f"is packed by method {info.compress_type}; stored, deflate and Zstandard are read"
            raise EvalImportError(problem, remedy=_REMEDY, field=info.filename)
        with self.archive.open(info) as member:
            content = member.read(MAX_MEMBER + 1)
        if len(content) > MAX_MEMBER:
            raise _too_large(info.filename)
        return content

    def _packed(self, info: zipfile.ZipInfo) -> bytes:
        file = self.archive.fp
        if file is None or info.compress_size > MAX_MEMBER:
            raise _too_large(info.filename)
        file.seek(info.header_offset)
        header = file.read(_LOCAL_HEADER)
        if header[:4] != b"PK\x03\x04":
            raise zipfile.BadZipFile("no member at this place")
        name_length, extra_length = struct.unpack("<HH", header[26:30])
        file.seek(name_length + extra_length, 1)
        return file.read(info.compress_size)


@contextmanager
def open_archive(path: Path) -> Iterator[Archive]:
    try:
        archive = zipfile.ZipFile(path)
    except (*_DAMAGED, ValueError) as error:
        raise EvalImportError("is no whole ZIP file (truncated?)", remedy=_REMEDY, file=path.name) from error
    with archive:
        try:
            members = Archive(archive)
        except EvalImportError as error:
            raise error.at(file=path.name) from error
        yield members


def _zstandard(packed: bytes, name: str) -> bytes:
    reader = zstandard.ZstdDecompressor(max_window_size=1 << 27).stream_reader(packed, read_across_frames=True)
    content = bytearray()
    while chunk := reader.read(1 << 20):
        content += chunk
        if len(content) > MAX_MEMBER:
            raise _too_large(name)
    return bytes(content)


def _too_large(name: str) -> EvalImportError:
    remedy = "Run with --no-log-samples events left out, or --log-level warning, so that a sample stays small"
    return EvalImportError(f"is larger than {MAX_MEMBER >> 20} MiB", remedy=remedy, field=name)
