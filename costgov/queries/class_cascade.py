"""The cascade of one class: as it is stated, and what it or another would do."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from billing.queries.prices import release_facts
from billing.queries.series import model_name, model_names
from costgov.queries.cascades import CascadeRow, cascade_shown
from costgov.queries.class_page import UnknownClass
from costgov.queries.recommendation import recommended_report
from routing.core.cascade_plan import CascadePlan, parse_plan
from routing.core.evidence import suite_filter
from routing.models import RequestClass


@dataclass(frozen=True, slots=True)
class ClassCascade:
    """The cascade of a class: as stated (`document`, empty = none), and what it would do.

    `row` None with `why`: nothing is stated, or the class cannot be costed. `tried`: the document is not stated yet.
    `cheap`, `strong`: what may be named, canonical model → its name. `suites`: those with results on the class that are
    not evidence, so that a check's verdicts may be among them.
    """

    slug: str
    title: str
    document: Mapping[str, Any]
    row: CascadeRow | None
    why: str
    tried: bool
    target: str
    models: Mapping[str, str]
    suites: tuple[str, ...]


def class_cascade(*, slug: str, as_of: datetime, tried: CascadePlan | None = None) -> ClassCascade:
    """The stated cascade of a class, or what another would do. Raises UnknownClass, NoBaseline."""
    registered = RequestClass.objects.filter(slug=slug).first()
    if registered is None:
        raise UnknownClass(f"There is no class {slug!r}. It may have been renamed; search the list of classes.")
    report = recommended_report(as_of=as_of)
    found = next((row for row in report.recommendation.classes if row.request_class == slug), None)
    plan = tried or parse_plan(registered.cascade)
    row = None if plan is None or found is None else cascade_shown(plan, found, report)
    unsolved = {each.request_class: each.reason for each in report.recommendation.unsolved}
    why = "" if found is not None else f"the class cannot be costed: {unsolved.get(slug, 'it has no usage')}"
    counts = suite_filter(report.verdicts[slug].asked.suites)
    suites = {(each.suite, each.suite_version) for each in report.facts.estate.results.get(slug, [])}
    names = model_names()
    return ClassCascade(
        slug=slug,
        title=registered.title,
        document=registered.cascade if tried is None else tried.as_document(),
        row=row,
        why=why,
        tried=tried is not None,
        target="" if found is None else found.target,
        models={model: model_name(names, model).name for model in sorted(release_facts())},
        suites=tuple(sorted({suite for suite, version in suites if not counts(suite, version)})),
    )
