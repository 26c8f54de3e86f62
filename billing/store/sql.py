"""Values of ours as SQL text: quoted names of files, instants, lists."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path


def text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def quoted(path: Path | str) -> str:
    return text(str(path))


def listed(files: Iterable[str]) -> str:
    return "[" + ", ".join(text(name) for name in files) + "]"


def instant(at: datetime) -> str:
    return f"TIMESTAMP '{at.replace(tzinfo=None).isoformat(sep=' ')}'"


def any_of(conditions: Sequence[str]) -> str:
    return "(" + " OR ".join(conditions) + ")"
