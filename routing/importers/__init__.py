"""Readers of eval-result files: one file per format behind `base.EvalImporter`."""

from pathlib import Path

from routing.importers.base import (
    NO_OPTIONS,
    EvalImporter,
    EvalImportError,
    ReadOptions,
    RejectedRow,
    all_or_nothing,
)
from routing.importers.plain_csv import PlainCsv
from routing.importers.promptfoo import Promptfoo

IMPORTERS: tuple[EvalImporter, ...] = (Promptfoo(), PlainCsv())
HEAD_BYTES = 1 << 18

__all__ = [
    "IMPORTERS",
    "NO_OPTIONS",
    "EvalImportError",
    "EvalImporter",
    "ReadOptions",
    "RejectedRow",
    "all_or_nothing",
    "detect",
    "importer_named",
]


def importer_named(name: str) -> EvalImporter:
    """The reader of a format by its name. Raises EvalImportError listing the formats for an unknown one."""
    for importer in IMPORTERS:
        if importer.name == name:
            return importer
    raise EvalImportError("is not a format of eval results", remedy=_formats(IMPORTERS), field="format", value=name)


def detect(path: Path, importers: tuple[EvalImporter, ...] = IMPORTERS) -> EvalImporter:
    """The one format that claims the file. Raises EvalImportError for an empty file, none, or more than one."""
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    if not head.strip():
        size = "is empty (0 bytes)" if not head else "holds only blanks"
        raise EvalImportError(size, remedy="Export it again", file=path.name)
    claims = [importer for importer in importers if importer.detects(head, path.name)]
    if len(claims) > 1:
        names = ", ".join(importer.name for importer in claims)
        raise EvalImportError(f"is claimed by {names}", remedy="Say which with --format", file=path.name)
    if not claims:
        raise EvalImportError("is no known format of eval results", remedy=_formats(importers), file=path.name)
    return claims[0]


def _formats(importers: tuple[EvalImporter, ...]) -> str:
    return "Formats: " + "; ".join(f"{importer.name} ({importer.description})" for importer in importers)
