"""What is to be said about a policy document before anybody approves it."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Literal

from billing.queries.prices import release_facts, routable_models
from gateway.document import validate_document
from gateway.engine import CompiledPolicy
from routing.queries.classes import class_slugs

RETIRES_SOON = timedelta(days=90)
Level = Literal["block", "warn", "inform"]


@dataclass(frozen=True, slots=True)
class PolicyFinding:
    """One finding: `block` = cannot be proposed, `warn` = look at it, `inform`. `path`: JSON pointer."""

    level: Level
    kind: str
    path: str
    title: str
    detail: str


def check_policy(
    *, document: Mapping[str, Any], on: date, also_registered: Collection[str] = ()
) -> tuple[PolicyFinding, ...]:
    """Every finding about a document, worst first: problems of the document, rules that cannot match, models that
    retire within 90 days of `on`. `also_registered`: classes that will be registered with it."""
    problems = validate_document(
        document,
        allowed_models=routable_models(on=on),
        registered_classes=class_slugs() | set(also_registered),
    )
    if problems:
        return tuple(
            PolicyFinding("block", "invalid", item.path, f"At {item.path or '/'}", str(item).partition(": ")[2])
            for item in problems
        )
    return (*_unreachable(document), *_retiring(document, on))


def _unreachable(document: Mapping[str, Any]) -> list[PolicyFinding]:
    positions = {rule["id"]: index for index, rule in enumerate(document["rules"])}
    return [
        PolicyFinding(
            "block",
            "unreachable",
            f"/rules/{positions[rule]}",
            f"Rule {rule} can never match",
            "Its own conditions contradict each other. Correct or remove it.",
        )
        for rule in CompiledPolicy(document).unreachable_rules
    ]


def _retiring(document: Mapping[str, Any], on: date) -> list[PolicyFinding]:
    releases = release_facts()
    findings = []
    for slug, assignment in sorted(document["assignments"].items()):
        model = assignment["target"]["model"]
        retires_on = releases[model].retires_on if model in releases else None
        if retires_on is not None and on < retires_on <= on + RETIRES_SOON:
            findings.append(
                PolicyFinding(
                    "warn",
                    "retiring",
                    f"/assignments/{slug}/target/model",
                    f"{model} retires on {retires_on.day} {retires_on:%b %Y}",
                    f"{slug} needs another model before then: {(retires_on - on).days} days left.",
                )
            )
    return findings
