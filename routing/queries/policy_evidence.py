"""What the evidence of today says about the moves of a policy document, by the bars in force."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from routing.models import ClassException
from routing.queries.evidence import ClassVerdicts
from routing.queries.kept_evidence import kept_verdicts
from routing.queries.policy_check import PolicyFinding
from routing.queries.serving import serving_models


def check_moves(
    *, document: Mapping[str, Any], as_of: datetime, frozen_bars: Mapping[str, int] | None = None
) -> tuple[PolicyFinding, ...]:
    """Findings about every class the document sends elsewhere than what serves it now: a model that falls short of its
    bar, stale evidence, or none that shows it. An owner's exception in force is said instead.

    `frozen_bars`: version of each class's bar that a proposal's evidence was judged by; a newer one is a finding, also
    where the verdict is the same. Nothing blocks: people may approve what they see.
    """
    targets = {
        slug: model
        for slug, assignment in document["assignments"].items()
        if (model := (assignment.get("target") or {}).get("model"))
    }
    serving = serving_models(slugs=sorted(targets), as_of=as_of)
    moved = {slug: model for slug, model in targets.items() if serving.get(slug) not in (None, model)}
    asked = sorted({*moved, *(frozen_bars or {})} & targets.keys())
    if not asked:
        return ()
    verdicts = kept_verdicts(incumbents=serving, as_of=as_of, slugs=asked)
    day = as_of.date()
    excepted = ClassException.objects.filter(request_class__slug__in=asked, valid_from__lte=day, valid_to__gt=day)
    allowed = {(row.request_class.slug, row.model): row for row in excepted.select_related("request_class", "owner")}
    findings = []
    for slug in asked:
        found = verdicts.get(slug)
        if found is None:  # a class nobody registered: the check of the document says so
            continue
        path = f"/assignments/{slug}/target/model"
        model = targets[slug]
        if slug in moved and (slug, model) in allowed:
            exception = allowed[slug, model]
            findings.append(
                PolicyFinding(
                    "inform",
                    "exception",
                    path,
                    f"{found.title}: {model} by an exception of {exception.owner.get_username()}",
                    f"It may serve until {exception.valid_to.day} {exception.valid_to:%b %Y} without clearing the bar.",
                )
            )
        elif slug in moved:
            findings += _about(found, model, path)
        findings += _about_bar(found, (frozen_bars or {}).get(slug), path)
    return tuple(findings)


def _about(found: ClassVerdicts, model: str, path: str) -> list[PolicyFinding]:
    """What speaks against moving a class to a model; nothing where it clears on fresh evidence."""
    verdict, asked = found.of(model), f"asked: {found.asked.asked}, version {found.asked.version} of the bar"
    if verdict.status == "falls_short":
        title, kind = f"{found.title}: {model} is shown to be below the bar", "below_bar"
    elif verdict.status != "clears":
        title, kind = f"{found.title}: {model} is not shown to clear the bar", "not_shown"
    elif verdict.stale:
        title, kind = f"{found.title}: the evidence on {model} is stale", "stale_evidence"
        return [PolicyFinding("warn", kind, path, title, f"No new move may start on it: {verdict.stale_text}.")]
    else:
        return []
    return [PolicyFinding("warn", kind, path, title, f"{verdict.reason[:1].upper()}{verdict.reason[1:]} ({asked}).")]


def _about_bar(found: ClassVerdicts, frozen: int | None, path: str) -> list[PolicyFinding]:
    if not frozen or frozen == found.asked.version:
        return []
    return [
        PolicyFinding(
            "warn",
            "bar_changed",
            path,
            f"{found.title}: its bar was changed since this was proposed",
            f"The evidence here was judged by version {frozen}; version {found.asked.version} asks: "
            f"{found.asked.asked}. Propose it again to see what the bar of today says.",
        )
    ]
