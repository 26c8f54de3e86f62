"""The cascade of one class: as it is stated, and what it or another would do."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from billing.queries.prices import release_facts
from billing.queries.series import model_name, model_names
from costgov.queries.cascades import CascadeRow, cascade_shown
from costgov.queries.class_page import UnknownClass
from costgov.queries.recommendation import NoBaseline, recommended_report
from routing.core.cascade_plan import CascadePlan, parse_plan
from routing.core.evidence import suite_filter
from routing.models import RequestClass
from routing.queries.gathering import results_by_suite
from routing.queries.recommendation import RecommendationReport


@dataclass(frozen=True, slots=True)
class ClassCascade:
    """The cascade of a class: as stated (`document`, empty = none), and what it would do.

    `row` None: nothing is stated, or `why` says what keeps it from being costed. `tried`: the document is not stated
    yet. `models`: what may be named, canonical model → its name. `suites`: those with results on the class that are not
    evidence, so that a check's verdicts may be among them.
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
    """The stated cascade of a class, or what another would do. Raises UnknownClass."""
    registered = RequestClass.objects.filter(slug=slug).first()
    if registered is None:
        raise UnknownClass(f"There is no class {slug!r}. It may have been renamed; search the list of classes.")
    report, why = _report(as_of)
    return _of_class(registered, report, why, _named_models(), tried)


def stated_cascades(*, as_of: datetime) -> tuple[ClassCascade, ...]:
    """Every class with a stated cascade, by title."""
    stated = RequestClass.objects.exclude(cascade={}).order_by("title", "slug")
    report, why = _report(as_of) if stated else (None, "")
    names = _named_models()
    return tuple(_of_class(registered, report, why, names, None) for registered in stated)


def _report(as_of: datetime) -> tuple[RecommendationReport | None, str]:
    """The recommendation, or why there is none: a cascade can be stated and taken back without one."""
    try:
        return recommended_report(as_of=as_of), ""
    except NoBaseline as reason:
        return None, str(reason).rstrip(".")


def _named_models() -> Mapping[str, str]:
    names = model_names()
    return {model: model_name(names, model).name for model in sorted(release_facts())}


def _of_class(
    registered: RequestClass,
    report: RecommendationReport | None,
    why: str,
    models: Mapping[str, str],
    tried: CascadePlan | None,
) -> ClassCascade:
    slug, plan = registered.slug, tried or parse_plan(registered.cascade)
    found, suites = None, set[str]()
    if report is not None:
        found = next((row for row in report.recommendation.classes if row.request_class == slug), None)
        if found is None:
            unsolved = {each.request_class: each.reason for each in report.recommendation.unsolved}
            why = f"the class cannot be costed: {unsolved.get(slug, 'it has no usage')}"
        counts = suite_filter(report.verdicts[slug].asked.suites)
        held = results_by_suite(slug=slug, as_of=report.facts.estate.as_of)
        suites = {suite for suite, version in held if not counts(suite, version)}
    return ClassCascade(
        slug=slug,
        title=registered.title,
        document=registered.cascade if tried is None else tried.as_document(),
        row=None if plan is None or found is None or report is None else cascade_shown(plan, found, report),
        why=why,
        tried=tried is not None,
        target="" if found is None else found.target,
        models=models,
        suites=tuple(sorted(suites)),
    )
