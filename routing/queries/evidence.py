"""Evidence and verdicts of classes: eval results as values, judged as of an instant."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from billing.core.models import canonical_model
from billing.queries.imports import model_aliases
from routing.core.bars import Bar, BarHistory
from routing.core.evidence import CaseResult, Evidence
from routing.core.verdicts import Verdict, judge
from routing.models import EvalCase

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
    """Verdict of every candidate of a class that ever had a case, of its plan, and of what serves it now.

    `asked`: the bar in force at the as-of instant, by which all of them were judged. `bar`, `tolerance`, `line` and
    `alpha` are of it. `bars`: every version, for looking further back.
    """

    slug: str
    title: str
    bar: float
    tolerance: float
    line: float
    alpha: float
    note: str
    incumbent: str | None
    verdicts: Mapping[str, Verdict]
    asked: Bar
    bars: BarHistory

    def of(self, model: str) -> Verdict:
        """Verdict of a model; *no evidence* for one without a case."""
        found = self.verdicts.get(model)
        return found or self.without_a_case(model, self.asked)

    def without_a_case(self, model: str, asked: Bar) -> Verdict:
        """What a bar says of a model nothing was run on."""
        return judge(
            Evidence(model),
            bar=asked.bar,
            tolerance=asked.tolerance,
            alpha=asked.alpha,
            min_cases=asked.min_cases,
            standard=asked.standard,
            margin=asked.margin,
            is_incumbent=model == self.incumbent,
            metric=asked.metric,
            bar_version=asked.version,
        )

    @property
    def shown_line(self) -> float | None:
        """The line to draw; None where a comparison alone is asked for."""
        return self.line if self.asked.asks_for_line else None

    @property
    def of_incumbent(self) -> Verdict:
        return self.of(self.incumbent or "")


def case_results(
    *,
    slugs: Iterable[str] | None = None,
    as_of: datetime,
    raw_names: Iterable[str] | None = None,
    shared_with: Iterable[str] | None = None,
) -> dict[str, list[CaseResult]]:
    """Every eval result run before `as_of`, by class, its model under the name held now (as usage is counted).

    Runs that somebody set aside by then are left out, and so are samples of live traffic. `raw_names`: only models
    the files spell so. `shared_with`: only of samples that models spelt so have a result of in these classes.
    """
    rows = EvalCase.objects.filter(run_at__lt=as_of, run__is_live=False).exclude(run__set_aside_at__lte=as_of)
    slugs = None if slugs is None else list(slugs)
    if slugs is not None:
        rows = rows.filter(run__request_class__slug__in=slugs)
    if raw_names is not None:
        rows = rows.filter(model_raw__in=list(raw_names))
    if shared_with is not None:
        there = EvalCase.objects.filter(model_raw__in=list(shared_with))
        if slugs is not None:
            there = there.filter(run__request_class__slug__in=slugs)
        rows = rows.filter(sample_id__in=there.values("sample_id"))
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
