"""Every registered format under hostile files, through the real import: refused in words and nothing kept, or exact.

A format needs nothing but a sample below tests/importers/*/samples to be tried here. COSTGOV_FUZZ multiplies the number
of tries (1 in a usual run).
"""

import itertools
import os
import re
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from django.db import connection, transaction
from django.test import override_settings

from billing.core.usage import COUNTERS
from billing.importers.base import ImportRefused
from billing.importers.cost_formats import COST_FORMATS
from billing.importers.formats import ALL_FORMATS, identify_any
from billing.models import USAGE_KEY_FIELDS, CostReportLine, Import, UsageRollup
from billing.operations.imports import COSTS, USAGE, ImportOptions, ImportOutcome, import_file
from tests.billing import hostile

AS_OF = datetime(2026, 11, 25, tzinfo=UTC)
TRIES = int(os.environ.get("COSTGOV_FUZZ", "1"))
COST_NAMES = {item.name for item in COST_FORMATS}
GENERIC = {"generic_csv"}  # needs a mapping of columns: tried with its own samples


@cache
def samples() -> dict[str, Path]:
    """The smallest sample of every format."""
    found: dict[str, Path] = {}
    for path in sorted(hostile.SAMPLES.glob("*/samples/*")):
        if path.name.endswith(".expected.json"):
            continue
        try:
            name = identify_any(path, file_name=path.name).name
        except ImportRefused:
            continue
        if name not in found or path.stat().st_size < found[name].stat().st_size:
            found[name] = path
    return found


NAMES = sorted(item.name for item in ALL_FORMATS if item.name not in GENERIC)


def answers_for(name: str) -> list[dict[str, str]]:
    """Every way to answer what a format asks."""
    fmt = next(item for item in ALL_FORMATS if item.name == name)
    switches = getattr(fmt, "switches", ())
    choices = [switch.choices or ("2026-11-09T10:00:00Z",) for switch in switches]
    return [
        dict(zip((switch.name for switch in switches), picked, strict=True)) for picked in itertools.product(*choices)
    ]


class Tries:
    """Imports that are undone one by one."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name, self.folder, self.number = name, folder, 0
        self.kind = COSTS if name in COST_NAMES else USAGE
        self.sample = samples()[name]
        self.file_name = self.sample.name
        self.tables = [table for table in connection.introspection.table_names() if table != Import._meta.db_table]
        self.before = self.everything()
        # The format by name, so that its own reader meets the file, with the answers that fit the sample.
        self.options = ImportOptions(format=name)
        for answers in answers_for(name):
            self.options = ImportOptions(format=name, answers=answers)
            if not isinstance(self.run(self.sample.read_bytes()), ImportRefused):
                break

    def everything(self) -> tuple[Any, ...]:
        """Rows of every table but the imports', and the files of the request store."""
        counts = ", ".join(f'(SELECT count(*) FROM "{table}")' for table in self.tables)
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT {counts}")
            held = cursor.fetchone()
        return held, sorted(str(path) for path in self.folder.rglob("*.parquet"))

    def run(self, data: bytes, *, detect: bool = False) -> tuple[ImportOutcome, Any] | ImportRefused:
        """Import and undo. Every refusal names the file and a remedy and leaves nothing behind."""
        self.number += 1
        path = self.folder / f"{self.number}-{self.file_name}"
        path.write_bytes(data)
        options = ImportOptions(answers=self.options.answers) if detect else self.options
        with transaction.atomic():
            try:
                outcome = import_file(
                    actor=None, path=path, as_of=AS_OF, options=options, file_name=self.file_name, kind=self.kind
                )
                return outcome, self.held()
            except ImportRefused as refusal:
                self.check_refused(refusal)
                return refusal
            finally:
                transaction.set_rollback(True)
                path.unlink()
                shutil.rmtree(self.folder / "var", ignore_errors=True)

    def check_refused(self, refusal: ImportRefused) -> None:
        assert refusal.file.startswith(self.file_name) and str(refusal).startswith(self.file_name), refusal.file
        assert refusal.problems and refusal.count >= 1
        for problem in refusal.problems:
            assert problem.message and problem.remedy, problem
            assert "not foreseen" not in problem.message and "internal error" not in problem.message, problem
            assert len(str(problem)) < 2_500, len(str(problem))
        assert self.everything() == self.before
        assert Import.objects.latest("pk").state == "failed"

    def held(self) -> Any:
        """What was imported, without ids: hourly usage, and cost lines."""
        hours = UsageRollup.objects.values_list(
            "bucket_start", "bucket_hours", *USAGE_KEY_FIELDS, *COUNTERS, "requests"
        )
        lines = CostReportLine.objects.values_list(
            "period_start", "period_end", "amount", "currency", "category", "cost_type", "token_kind", "model",
            "workspace", "quantity", "list_amount", "contracted_amount", "effective_amount", "description",
        )  # fmt: skip
        return sorted(hours, key=repr), sorted(lines, key=repr)


def counted(held: Any) -> tuple[int, Decimal]:
    """All units of usage, and all money as stated."""
    hours, lines = held
    width = len(COUNTERS)
    return sum(sum(row[-1 - width : -1]) for row in hours), sum((row[2] for row in lines), Decimal(0))


@pytest.fixture
def tries(request: pytest.FixtureRequest, db: None, tmp_path: Path) -> Iterator[Tries]:
    with override_settings(COSTGOV_VAR=tmp_path / "var"):
        yield Tries(request.param, tmp_path)


each_format = pytest.mark.parametrize("tries", NAMES, indirect=True)


def test_every_format_has_a_sample():
    missing = set(NAMES) - set(samples())
    assert not missing, f"put a sample that {missing} claims below tests/importers/*/samples"


@each_format
def test_hostile_files(tries: Tries) -> None:
    data = tries.sample.read_bytes()
    first = tries.run(data)
    assert not isinstance(first, ImportRefused), first
    _, good = first
    assert any(counted(good)) and not isinstance(tries.run(data, detect=True), ImportRefused)
    for what, variant in hostile.same_content(data):
        found = tries.run(variant)
        assert not isinstance(found, ImportRefused), (what, str(found))
        assert found[1] == good, what
    seed = NAMES.index(tries.name)
    for what, variant in hostile.broken(data, seed, TRIES):
        found = tries.run(variant, detect=what.startswith(("UTF", "flip 0", "cut 0")))
        if isinstance(found, ImportRefused):
            continue
        assert what.startswith(("flip", "cut", "Latin-1", "a NUL at the end")), (what, "was imported")
        if what.startswith("cut") and tries.kind == USAGE:
            assert counted(found[1])[0] <= counted(good)[0], what
    for what, field, was_number, variant in hostile.changed_values(data, seed, 4 * TRIES):
        found = tries.run(variant)
        if isinstance(found, ImportRefused):
            # A place in words, unless it is the whole file that holds nothing now, or cannot be parsed at all.
            place = any(problem.line is not None or problem.field for problem in found.problems)
            assert place or re.search("holds no|nested|recursion", str(found)), (what, field, str(found))
        elif was_number and what not in hostile.MAY_BE_MEANT:
            # It was imported: then this number is not one that is counted.
            assert counted(found[1]) == counted(good), (what, field)
