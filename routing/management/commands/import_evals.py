"""manage.py import_evals: eval results of files; every file is imported, or none."""

import json
import sys
from argparse import ArgumentParser
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand
from django.db import transaction
from django.utils import timezone

from routing.core.eval_columns import ColumnsError, EvalColumns, parse_eval_columns
from routing.importers import IMPORTERS, EvalImportError, ReadOptions
from routing.importers.bad_rows import EvalRowsRefused
from routing.operations.evals import EvalImportResult, import_evals


class Command(BaseCommand):
    help = (
        f"Import eval results ({', '.join(each.name for each in IMPORTERS)}). A file with a bad row is refused whole, "
        "and so are the files named with it, unless --good-rows."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
        parser.add_argument("--format", help=f"{', '.join(each.name for each in IMPORTERS)}; found out when left out")
        parser.add_argument("--class", dest="default_class", default="", help="class of cases that name none")
        parser.add_argument("--suite", default="", help="suite of files that name none")
        parser.add_argument("--run-at", help="time of the run for files that say none, as 2026-11-09T10:00:00Z")
        parser.add_argument("--model", default="", help="model of files that name none (lm-eval samples, JUnit)")
        parser.add_argument("--mode", default="", help="its settings where the file says none, e.g. thinking")
        parser.add_argument("--scorer", default="", help="which scorer judges where a file has several")
        parser.add_argument("--metric", default="", help="which metric judges where a file has several")
        parser.add_argument("--columns", type=Path, metavar="FILE", help="JSON file saying what a table's columns mean")
        parser.add_argument("--map", type=Path, help='JSON file {"suite": "class"} for cases that name no class')
        parser.add_argument("--create-classes", action="store_true", help="register unknown classes, default bar")
        parser.add_argument("--good-rows", action="store_true", help="import the good rows, list the bad ones")
        parser.add_argument("--json", action="store_true", help="one JSON document on standard output")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            outcomes = _import_all(options)
        except EvalImportError as error:
            self.stderr.write("\n".join(_refusal(error)))
            sys.exit(2)
        if options["json"]:
            found = {"imports": [asdict(outcome) for outcome in outcomes]}
            self.stdout.write(json.dumps(found, default=_iso))
            return
        for outcome in outcomes:
            for line in _lines(outcome):
                self.stdout.write(line)


@transaction.atomic
def _import_all(options: dict[str, Any]) -> list[EvalImportResult]:
    suite_classes = _suite_classes(options["map"]) if options["map"] else {}
    read_options = ReadOptions(
        run_at=_run_at(options["run_at"]) if options["run_at"] else None,
        request_class=options["default_class"],
        suite=options["suite"],
        model=options["model"],
        mode=options["mode"],
        scorer=options["scorer"],
        metric=options["metric"],
        columns=_columns(options["columns"]) if options["columns"] else None,
    )
    outcomes = []
    for path in options["files"]:
        if not path.is_file():
            raise EvalImportError("no such file", remedy="Check the path", file=str(path))
        outcomes.append(
            import_evals(
                actor=None,
                path=path,
                as_of=timezone.now(),
                format_name=options["format"],
                options=read_options,
                suite_classes=suite_classes,
                create_classes=options["create_classes"],
                good_rows=options["good_rows"],
            )
        )
    return outcomes


def _columns(path: Path) -> EvalColumns:
    try:
        return parse_eval_columns(_json_file(path, "See docs/guide/evals.md, tables of your own"))
    except ColumnsError as error:
        raise EvalImportError(str(error).rstrip("."), remedy="Correct the mapping", file=str(path)) from error


def _suite_classes(path: Path) -> dict[str, str]:
    remedy = 'Write {"suite": "class", …}, the suite without its @version'
    found = _json_file(path, remedy)
    if not isinstance(found, dict) or not all(isinstance(slug, str) and slug for slug in found.values()):
        raise EvalImportError("does not map suites to classes", remedy=remedy, file=str(path))
    return found


def _json_file(path: Path, remedy: str) -> object:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise EvalImportError(f"cannot be read ({error.strerror})", remedy="Check the path", file=str(path)) from error
    except json.JSONDecodeError as error:
        problem = f"is not JSON ({error.msg})"
        raise EvalImportError(problem, remedy=remedy, file=str(path), line=error.lineno) from error
    except UnicodeDecodeError as error:
        raise EvalImportError("is not UTF-8", remedy=remedy, file=str(path)) from error


def _run_at(text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        remedy = "Write ISO 8601, for example 2026-11-09T10:00:00Z"
        raise EvalImportError("is not a time", remedy=remedy, field="--run-at", value=text) from error
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found


def _refusal(error: EvalImportError) -> list[str]:
    """Every bad row that is kept, a line each, and how many there are."""
    if not isinstance(error, EvalRowsRefused):
        return [str(error)]
    kept = len(error.rows)
    many = "s" if error.count > 1 else ""
    rest = f", of which the first {kept:,} are listed" if error.count > kept else ""
    last = f"{error.file}: {error.count:,} bad row{many}{rest}; nothing was imported."
    return [*(str(row) for row in error.rows), f"{last} Mend the file, or add --good-rows."]


def _lines(outcome: EvalImportResult) -> list[str]:
    words = outcome.format
    if outcome.is_repeat:
        words = f"imported before on {outcome.earlier_at:%d %b %Y}, nothing changed"
    counts = [f"{outcome.cases:,} results", f"{outcome.left_out:,} left out (no verdict)"]
    counts += [f"{outcome.duplicates:,} already there"] if outcome.duplicates else []
    counts += [f"{outcome.rejected:,} refused"] if outcome.rejected else []
    first = (
        f"{outcome.file_name}: {', '.join(counts)} ({words}); classes {', '.join(outcome.classes)}; "
        f"models {', '.join(outcome.models)}"
    )
    notes = [f"  refused: {reason}" for reason in outcome.rejected_rows]
    return [first, *notes, *(f"  note: {warning}" for warning in outcome.warnings)]


def _iso(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")
