"""A file that somebody else may write, rotate or delete while it is read."""

import hashlib
from pathlib import Path

FileState = tuple[int, int, int]


def state_of(path: Path) -> FileState | None:
    """What changes when a file is written: inode, size, time. None for a directory."""
    told = path.stat()
    return None if path.is_dir() else (told.st_ino, told.st_size, told.st_mtime_ns)


def is_another(path: Path, before: FileState, digest: str, size: int) -> bool:
    """Whether a file no longer begins with the bytes of this digest, as after a log was rotated.

    Its rows would stand under the digest of a file that nobody has read, and that file would be taken for known. One
    that only grew is no other: what was added is known by its ids when the whole file comes.
    """
    if not path.is_file():
        return False  # read already: deleting it changes nothing
    if state_of(path) == before:
        return False
    held, left = hashlib.sha256(), size
    with path.open("rb") as file:
        while left and (part := file.read(min(left, 1 << 20))):
            held.update(part)
            left -= len(part)
    return held.hexdigest() != digest
