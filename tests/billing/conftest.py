"""Imports in a store of their own, and everything they may have left."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from django.db import connection

from billing.operations.imports import ImportOptions, ImportOutcome, import_file
from billing.store import NO_PLAN, ClassifyPlan

AS_OF = datetime(2026, 11, 23, 12, tzinfo=UTC)
ImportIt = Callable[..., ImportOutcome]


@pytest.fixture
def var(settings: Any, tmp_path: Path) -> Path:
    """An empty COSTGOV_VAR: request store, waiting uploads, temporary files."""
    folder = tmp_path / "var"
    folder.mkdir()
    settings.COSTGOV_VAR = folder
    return folder


@pytest.fixture
def import_it(db: None, var: Path) -> ImportIt:
    """Import a file now, with options by name."""

    def run(path: Path, *, plan: ClassifyPlan = NO_PLAN, **options: Any) -> ImportOutcome:
        return import_file(actor=None, path=path, as_of=AS_OF, options=ImportOptions(**options), plan=plan)

    return run


def everything(var: Path, *, without: tuple[str, ...] = ()) -> dict[str, Any]:
    """Number of rows of every table, and every file below COSTGOV_VAR with its size."""
    tables = [name for name in connection.introspection.table_names() if name not in without]
    found: dict[str, Any] = {}
    with connection.cursor() as cursor:
        for name in tables:
            cursor.execute(f'SELECT count(*) FROM "{name}"')
            found[name] = cursor.fetchone()[0]
    found |= {str(path.relative_to(var)): path.stat().st_size for path in var.rglob("*") if path.is_file()}
    return found
