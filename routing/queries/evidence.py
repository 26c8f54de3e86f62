"""Evidence and verdicts of classes: eval results as values, judged as of an instant."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import cast

from billing.core.models import canonical_model
from billing.queries.imports import model_aliases
from routing.core.evidence import CaseResult, Evidence, Metric
from routing.core.verdicts import Standard, Verdict, judge, judge_class, line_of
from routing.models import EvalCase, RequestClass

_CASE_FIELDS = (
    "sample_id",
    "model",
    "run_at",
    "score",
    "prompt_version",
    "repeat",
    "model_raw",
    "error",
    "uncached_input_tok",
    "cache_read_tok",
    "cache_write_5m_tok",
    "cache_write_1h_tok",
    "output_tok",
    "cost_usd",
    "latency_ms",
    "mode",
    "graded_score",
    "attempts",
    "run__eval_import_id",
)


@dataclass(frozen=True, slots=True)
class ClassVerdicts:
    """Verdict of every candidate of a class that ever had a case, of its plan, and of what serves it now."""

    slug: str
    title: str
    bar: float
    tolerance: float
    line: float
    alpha: float
    note: str
    incumbent: str | None
    verdicts: Mapping[str, Verdict]

    def of(self, model: str) -> Verdict:
        """Verdict of a model; *no evidence* for one without a case."""
        found = self.verdicts.get(model)
        return found or judge(Evidence(model, ()), bar=self.bar, tolerance=self.tolerance, alpha=self.alpha)

    @property
    def of_incumbent(self) -> Verdict:
        return self.of(self.incumbent or "")


def case_results(*, slugs: Iterable[str] | None = None, as_of: datetime) -> dict[str, list[CaseResult]]:
    """Every eval result run before `as_of`, by class, its model under the name held now (as usage is counted).

    Runs that somebody set aside by then are left out.
    """
    rows = EvalCase.objects.filter(run_at__lt=as_of).exclude(run__set_aside_at__lt=as_of)
    if slugs is not None:
        rows = rows.filter(run__request_class__slug__in=list(slugs))
    found: dict[str, list[CaseResult]] = defaultdict(list)
    named, model, raw = names_held(), _CASE_FIELDS.index("model"), _CASE_FIELDS.index("model_raw")
    for slug, suite, version, *values in rows.order_by("id").values_list(
        "run__request_class__slug", "run__suite", "run__suite_version", *_CASE_FIELDS
    ):
        values[model] = named(values[raw], values[model])
        fields = (suite, version, *values[:5], slug, *values[5:])
        found[slug].append(CaseResult(*fields))
    return dict(found)


def names_held() -> Callable[[str, str], str]:
    """The canonical model a raw name means by the register as it is now, else the name given beside it."""
    aliases = model_aliases()
    known: dict[str, str] = {}

    def named(raw: str, otherwise: str) -> str:
        model = known.get(raw)
        if model is None:
            found = canonical_model(raw, aliases)
            model = known[raw] = found.model if found.is_known else otherwise
        return model

    return named


def class_verdicts(
    *,
    results: Mapping[str, list[CaseResult]],
    incumbents: Mapping[str, str],
    as_of: datetime,
    slugs: Iterable[str] | None = None,
) -> dict[str, ClassVerdicts]:
    """Verdicts of every registered class (or of `slugs`), from `case_results` and each class's incumbent."""
    classes = RequestClass.objects.all()
    if slugs is not None:
        classes = classes.filter(slug__in=list(slugs))
    return {row.slug: _judged(row, results.get(row.slug, []), incumbents.get(row.slug), as_of) for row in classes}


def _judged(row: RequestClass, results: list[CaseResult], incumbent: str | None, as_of: datetime) -> ClassVerdicts:
    return ClassVerdicts(
        slug=row.slug,
        title=row.title,
        bar=float(row.bar),
        tolerance=float(row.tolerance),
        line=line_of(row.bar, row.tolerance),
        alpha=float(row.alpha),
        note=row.note,
        incumbent=incumbent,
        verdicts=judge_class(
            results,
            incumbent=incumbent,
            plan=row.plan_candidates,
            bar=row.bar,
            tolerance=row.tolerance,
            alpha=row.alpha,
            as_of=as_of,
            max_age_days=row.max_age_days,
            min_cases=row.min_cases,
            standard=cast(Standard, row.standard),
            margin=row.margin,
            suites=row.suites,
            metric=cast(Metric, row.metric),
        ),
    )
