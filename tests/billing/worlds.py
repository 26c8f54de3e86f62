"""What an installation counts, as plain values; and throw-away installations for property tests."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django.db import transaction
from django.test import override_settings

from billing.core.usage import COUNTERS
from billing.models import USAGE_KEY_FIELDS, DailyUsage, UsageRollup

Row = tuple[Any, ...]


def rollup_rows() -> list[Row]:
    """Hourly rows of every source, without the ids of their imports."""
    names = ("source__name", "bucket_start", "bucket_hours", *USAGE_KEY_FIELDS, *COUNTERS, "requests")
    return sorted(UsageRollup.objects.values_list(*names, "failed_requests"), key=repr)


def daily_rows() -> list[Row]:
    """What counts, by day."""
    names = ("source__name", "origin", "date", *USAGE_KEY_FIELDS, *COUNTERS, "requests")
    return sorted(DailyUsage.objects.values_list(*names), key=repr)


def state() -> tuple[list[Row], list[Row]]:
    return rollup_rows(), daily_rows()


def daily_sums(*names: str) -> dict[Row, tuple[int, ...]]:
    """Counters of counted usage by some of its columns; groups without any are left out."""
    sums: dict[Row, list[int]] = {}
    for row in DailyUsage.objects.values_list(*names, *COUNTERS):
        held = sums.setdefault(row[: len(names)], [0] * len(COUNTERS))
        for i, count in enumerate(row[len(names) :]):
            held[i] += count
    return {key: tuple(counts) for key, counts in sums.items() if any(counts)}


@contextmanager
def throw_away_installation() -> Iterator[Path]:
    """An empty store and a database that forgets: for the examples of a property test. Yields a folder for files."""
    with tempfile.TemporaryDirectory() as name, override_settings(COSTGOV_VAR=Path(name) / "var"), transaction.atomic():
        folder = Path(name) / "files"
        folder.mkdir()
        yield folder
        transaction.set_rollback(True)
