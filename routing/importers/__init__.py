"""Readers of eval-result files: one file per format behind `base.EvalImporter`."""

from pathlib import Path

from routing.importers.base import (
    NO_OPTIONS,
    About,
    EvalImporter,
    EvalImportError,
    ReadOptions,
    RejectedRow,
    all_or_nothing,
)
from routing.importers.deepeval import DeepEval
from routing.importers.files import HEAD_BYTES, read_head
from routing.importers.inspect_log import InspectLog
from routing.importers.junit import JUnit
from routing.importers.lm_eval import LmEval
from routing.importers.mapped_csv import MappedCsv
from routing.importers.openai_evals import OpenAiEvals
from routing.importers.plain_csv import PlainCsv
from routing.importers.promptfoo import Promptfoo, is_promptfoo_csv

IMPORTERS: tuple[EvalImporter, ...] = (
    Promptfoo(),
    InspectLog(),
    DeepEval(),
    LmEval(),
    OpenAiEvals(),
    JUnit(),
    PlainCsv(),
    MappedCsv(),
)

__all__ = [
    "HEAD_BYTES",
    "IMPORTERS",
    "NO_OPTIONS",
    "About",
    "EvalImportError",
    "EvalImporter",
    "ReadOptions",
    "RejectedRow",
    "all_or_nothing",
    "detect",
    "importer_for",
    "importer_named",
]


def importer_for(path: Path, format_name: str | None, options: ReadOptions = NO_OPTIONS) -> EvalImporter:
    """The reader of a file: the one that is named, that of tables where a mapping is given, else the one detected."""
    if format_name:
        return importer_named(format_name)
    return importer_named(MappedCsv().name) if options.columns is not None else detect(path, options=options)


def importer_named(name: str) -> EvalImporter:
    """The reader of a format by its name. Raises EvalImportError listing the formats for an unknown one."""
    for importer in IMPORTERS:
        if importer.name == name:
            return importer
    raise EvalImportError("is not a format of eval results", remedy=_formats(IMPORTERS), field="format", value=name)


def detect(
    path: Path, importers: tuple[EvalImporter, ...] = IMPORTERS, options: ReadOptions = NO_OPTIONS
) -> EvalImporter:
    """The one format that claims the file. Raises EvalImportError for an empty file, none, or more than one."""
    head = read_head(path)
    if not head.strip():
        size = "is empty (0 bytes)" if not head else "holds only blanks"
        raise EvalImportError(size, remedy="Export it again", file=path.name)
    name = options.named(path)
    claims = [importer for importer in importers if importer.detects(head, name)]
    if len(claims) > 1:
        names = ", ".join(importer.name for importer in claims)
        raise EvalImportError(f"is claimed by {names}", remedy="Say which with --format", file=path.name)
    if claims:
        return claims[0]
    if _is_utf16(head):
        remedy = "Save it as UTF-8 (as 'CSV UTF-8' in Excel, with iconv -f UTF-16 -t UTF-8)"
        raise EvalImportError("is text in UTF-16", remedy=remedy, file=path.name)
    if is_promptfoo_csv(head):
        problem = "is promptfoo's CSV, which names no model and no cost"
        raise EvalImportError(problem, remedy="Export promptfoo eval --output results.json", file=path.name)
    raise EvalImportError("is no known format of eval results", remedy=_formats(importers), file=path.name)


def _is_utf16(head: bytes) -> bool:
    """By its mark, or by every other byte being zero, as in Latin text without one."""
    zeros = head[0:40:2].count(0), head[1:40:2].count(0)
    return head.startswith((b"\xff\xfe", b"\xfe\xff")) or (min(zeros) == 0 and max(zeros) > 8)


def _formats(importers: tuple[EvalImporter, ...]) -> str:
    return "Formats: " + "; ".join(f"{importer.name} ({importer.description})" for importer in importers)
