"""manage.py policy check|diff POLICY.json: what is to be said about a document, and what it would change."""

import json
import sys
from argparse import ArgumentParser
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand
from django.utils import timezone

from gateway.document import PolicyError, parse_document, validate_document
from routing.core.policy_diff import PolicyDiff
from routing.queries.changes import diff_to_in_force
from routing.queries.policy_check import PolicyFinding, check_policy
from routing.queries.policy_evidence import check_moves

_WORDS = {"block": "BLOCKS", "warn": "careful", "inform": "note"}


class Command(BaseCommand):
    help = "Check a policy document, or show what it changes against the active policy. Changes nothing."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("step", choices=["check", "diff"])
        parser.add_argument("file", type=Path, metavar="POLICY.json")
        parser.add_argument("--environment", default="prod", help="whose active policy to compare with (default: prod)")
        parser.add_argument("--json", action="store_true", help="one JSON document on standard output")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            document = _read(options["file"])
        except (OSError, PolicyError) as error:
            self.stderr.write(str(error))
            sys.exit(2)
        if options["step"] == "check":
            self._check(document, options["json"])
        else:
            self._diff(document, options["environment"], options["json"])

    def _check(self, document: Mapping[str, Any], as_json: bool) -> None:
        as_of = getattr(settings, "COSTGOV_AS_OF", None) or timezone.now()
        findings = check_policy(document=document, on=as_of.date())
        blocks = any(item.level == "block" for item in findings)
        if not blocks:
            findings += check_moves(document=document, as_of=as_of)
        if as_json:
            self.stdout.write(json.dumps({"ok": not blocks, "findings": [asdict(item) for item in findings]}))
        else:
            self.stdout.write("\n".join(_line(item) for item in findings) or "Nothing to say: the document is fine.")
        if blocks:
            self.stderr.write("The document cannot be proposed as it is.")
            sys.exit(2)

    def _diff(self, document: Mapping[str, Any], environment: str, as_json: bool) -> None:
        problems = validate_document(document)
        if problems:
            self.stderr.write(str(PolicyError(problems)))
            sys.exit(2)
        found = diff_to_in_force(document=document, environment=environment)
        self.stdout.write(json.dumps(asdict(found)) if as_json else _table(found, environment))


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; check the path")
    return parse_document(path.read_bytes())


def _line(item: PolicyFinding) -> str:
    return f"{_WORDS[item.level]:<8} {item.title}: {item.detail}"


def _table(found: PolicyDiff, environment: str) -> str:
    against = found.against or f"nothing (no policy is active in {environment})"
    if found.is_empty:
        return f"No difference to {against}."
    lines = [f"Against {against}:"]
    lines += [f"  {row.request_class}: {row.before} → {row.after}" for row in found.assignments]
    lines += [f"  rule {row.rule} {row.kind}: {row.before or '–'} → {row.after or '–'}" for row in found.rules]
    lines += [f"  {row.setting}: {row.before} → {row.after}" for row in found.settings]
    return "\n".join(lines)
