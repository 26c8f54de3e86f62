"""Before a run is moved or an eval import deleted: what it holds, and what else that touches."""

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Q, Sum

from billing.queries.series import ModelName, model_name, model_names
from costgov.queries.eval_imports import ImportRow, import_state
from costgov.queries.eval_run_pages import RunPage, run_page
from routing.core.evidence import rule_matches
from routing.models import EvalImport, EvalRun, EvalRunPart, EvalSuiteRule, RequestClass, VerdictRecord
from routing.queries.evidence import names_held
from routing.queries.work_items import VerdictChange, verdict_changes

_MOST_FILES = 5


@dataclass(frozen=True, slots=True)
class MoveView:
    """A run that may be moved. `classes`: the others it can be moved to, as (id, title, results of its suite there).

    `rule`: the pattern of the suite rule that later files of this suite follow, and `rule_title` the class it names;
    '' = no rule matches.
    """

    page: RunPage
    classes: tuple[tuple[str, str, int], ...]
    rule: str
    rule_slug: str
    rule_title: str


@dataclass(frozen=True, slots=True)
class GoingLine:
    """What goes of one run and model. `is_all`: nothing else is held of that model in that class."""

    run_id: int
    slug: str
    class_title: str
    suite: str
    suite_version: str
    model: str
    name: str
    tier: str
    results: int
    passed: int
    without_verdict: int
    is_all: bool
    set_aside: bool


@dataclass(frozen=True, slots=True)
class DeletionView:
    """What deleting an import takes away, and what stays.

    `later`: files imported after it that left out results as already there; where those were of this file they are
    gone with it. `records`: verdicts written down because of it, which stay.
    """

    row: ImportRow
    lines: tuple[GoingLine, ...]
    runs: int
    results: int
    classes: tuple[tuple[str, str], ...]
    later: tuple[tuple[int, str, int], ...]
    later_count: int
    records: int


def move_view(*, run_id: int) -> MoveView:
    """Raises UnknownRun."""
    page = run_page(run_id=run_id)
    run = page.run
    same_suite = dict(
        EvalRun.objects.filter(suite=run.suite)
        .exclude(pk=run_id)
        .order_by()
        .values("request_class__slug")
        .annotate(results=Sum("results"))
        .values_list("request_class__slug", "results")
    )
    others = RequestClass.objects.exclude(slug=run.slug).order_by("title", "slug").values_list("slug", "title")
    rules = EvalSuiteRule.objects.select_related("request_class")
    rule = next((row for row in rules if rule_matches(row.pattern, run.suite)), None)
    return MoveView(
        page=page,
        classes=tuple((slug, title, same_suite.get(slug, 0)) for slug, title in others),
        rule=rule.pattern if rule is not None else "",
        rule_slug=rule.request_class.slug if rule is not None else "",
        rule_title=rule.request_class.title if rule is not None else "",
    )


def deletion_view(*, import_id: int) -> DeletionView | None:
    """None where there is no such import."""
    row = import_state(import_id=import_id)
    if row is None:
        return None
    runs = list(EvalRun.objects.filter(eval_import_id=import_id).select_related("request_class").order_by("pk"))
    names, named = model_names(), names_held()
    elsewhere = {
        (class_id, named(raw, held))
        for class_id, raw, held in EvalRunPart.objects.filter(
            Q(run__request_class_id__in=[run.request_class_id for run in runs]) & ~Q(run__eval_import_id=import_id)
        )
        .order_by()
        .values_list("run__request_class_id", "model_raw", "model")
        .distinct()
    }
    later = EvalImport.objects.filter(pk__gt=import_id, state=EvalImport.State.DONE, duplicates__gt=0).order_by("pk")
    return DeletionView(
        row=row,
        lines=tuple(line for run in runs for line in _going(run, elsewhere, names)),
        runs=len(runs),
        results=sum(run.results for run in runs),
        classes=tuple(sorted({(run.request_class.slug, run.request_class.title) for run in runs})),
        later=tuple(later.values_list("pk", "file_name", "duplicates")[:_MOST_FILES]),
        later_count=later.count(),
        records=VerdictRecord.objects.filter(eval_import_id=import_id).count(),
    )


def _going(run: EvalRun, elsewhere: set[tuple[int, str]], names: dict[str, ModelName]) -> list[GoingLine]:
    named = names_held()
    sums: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
    for part in EvalRunPart.objects.filter(run=run):
        held = sums[named(part.model_raw, part.model)]
        for at, more in enumerate((part.results, part.passed, part.results - part.scored)):
            held[at] += more
    return [
        GoingLine(
            run_id=run.pk,
            slug=run.request_class.slug,
            class_title=run.request_class.title,
            suite=run.suite,
            suite_version=run.suite_version,
            model=model,
            name=model_name(names, model).name,
            tier=model_name(names, model).tier,
            results=results,
            passed=passed,
            without_verdict=without,
            is_all=(run.request_class_id, model) not in elsewhere,
            set_aside=run.set_aside_at is not None,
        )
        for model, (results, passed, without) in sorted(sums.items())
    ]


def changes_at(*, slugs: tuple[str, ...], at: datetime) -> tuple[VerdictChange, ...]:
    """The verdicts of classes that were written down at one instant: what a step of that instant did to them."""
    return tuple(change for slug in slugs for change in verdict_changes(slug=slug, most=100) if change.at == at)
