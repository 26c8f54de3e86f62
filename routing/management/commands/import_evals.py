"""manage.py import_evals: eval results of files, whole or not at all."""

import json
import sys
from argparse import ArgumentParser
from dataclasses import asdict
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand
from django.utils import timezone

from routing.importers.base import EvalImportError
from routing.operations.classes import ClassRefused
from routing.operations.evals import import_evals


class Command(BaseCommand):
    help = "Import eval results (promptfoo JSON, plain CSV). A file with a bad case is refused whole."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
        parser.add_argument("--format", help="name of the format; found out by itself when left out")
        parser.add_argument("--class", dest="default_class", default="", help="class of cases that name none")
        parser.add_argument("--map", type=Path, help='JSON file {"suite": "class"} for cases that name no class')
        parser.add_argument("--create-classes", action="store_true", help="register unknown classes, default bar")
        parser.add_argument("--json", action="store_true", help="one JSON document on standard output")

    def handle(self, *args: Any, **options: Any) -> None:
        outcomes = []
        try:
            suite_classes = json.loads(options["map"].read_text()) if options["map"] else {}
            for path in options["files"]:
                if not path.is_file():
                    raise EvalImportError(file=str(path), message="no such file", remedy="Check the path.")
                outcomes.append(
                    import_evals(
                        actor=None,
                        path=path,
                        as_of=timezone.now(),
                        format_name=options["format"],
                        default_class=options["default_class"],
                        suite_classes=suite_classes,
                        create_classes=options["create_classes"],
                    )
                )
        except (EvalImportError, ClassRefused, json.JSONDecodeError) as error:
            self.stderr.write(str(error))
            sys.exit(2)
        if options["json"]:
            self.stdout.write(json.dumps([asdict(outcome) for outcome in outcomes], default=str))
            return
        for outcome in outcomes:
            words = "imported before, nothing changed" if outcome.is_repeat else outcome.format
            self.stdout.write(
                f"{outcome.file_name}: {outcome.cases} results, {outcome.left_out} left out ({words}); "
                f"classes {', '.join(outcome.classes)}; models {', '.join(outcome.models)}"
            )
