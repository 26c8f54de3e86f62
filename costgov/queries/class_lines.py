"""The table of classes: money and quality of each class beside each other, as of an instant."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from decimal import Decimal

from billing.core.pricebook import PriceBook
from billing.queries.prices import price_book
from billing.queries.profiles import served_usage
from billing.queries.series import ModelName, model_name, model_names
from billing.queries.usage_sums import usage_sums
from costgov.queries.recommendation import ClassRow, NoBaseline, RecommendationView, recommendation_view
from costgov.queries.spend import SpendRow, spend
from routing.core.verdicts import Verdict
from routing.models import RequestClass
from routing.queries.evidence import ClassVerdicts
from routing.queries.incumbents import ActivePolicy, active_policy, incumbents
from routing.queries.kept_evidence import kept_verdicts
from routing.queries.monitors import OpenAlarm, open_alarms
from routing.queries.recommendation import WINDOW_DAYS

PROD = "prod"


@dataclass(frozen=True, slots=True)
class ClassLine:
    """One class in the window. Rates are shares; `change` is relative to the window before, None where unknown.
    `line` None where the class asks for a comparison alone.

    The verdict is that of the model that serves the class now; `live_alarm`: why it is below the bar by its live
    samples, '' = no alarm is open. `saving_usd` is an estimate per month.
    """

    slug: str
    title: str
    owner: str
    note: str
    model_id: str
    model: str
    tier: str
    other_models: int
    spend_usd: Decimal | None
    spend_before_usd: Decimal | None
    change: float | None
    requests: int | None
    unpriced_tok: int
    value: float | None
    lower: float | None
    upper: float | None
    cases: int
    line: float | None
    bar: float
    verdict: str
    verdict_text: str
    more_cases: int | None
    stale: bool
    saving_usd: Decimal | None
    saving_note: str
    stale_text: str = ""
    live_alarm: str = ""

    @property
    def has_traffic(self) -> bool:
        return self.spend_usd is not None


@dataclass(frozen=True, slots=True)
class ClassLines:
    """Every registered class, dearest first, with what the lines were made from."""

    start: date
    end: date
    lines: tuple[ClassLine, ...]
    recommendation: RecommendationView | None
    no_recommendation: str

    def of(self, slug: str) -> ClassLine | None:
        return next((line for line in self.lines if line.slug == slug), None)


@dataclass(frozen=True, slots=True)
class QualityFacts:
    """Evidence read once for the verdicts and the time axes of a page."""

    policy: ActivePolicy | None
    verdicts: Mapping[str, ClassVerdicts]
    names: dict[str, ModelName]


def window(as_of: datetime) -> tuple[date, date, date]:
    """Start of the window before, start and end of the last 28 whole days."""
    end = as_of.date()
    start = end - timedelta(days=WINDOW_DAYS)
    return start - timedelta(days=WINDOW_DAYS), start, end


def quality_facts(*, as_of: datetime, slug: str | None = None) -> QualityFacts:
    """Verdict of every model of every class (or of one), from evidence that is kept, however many cases there are."""
    _, start, end = window(as_of)
    policy = active_policy(environment=PROD, as_of=as_of)
    slugs = [slug] if slug is not None else list(RequestClass.objects.values_list("slug", flat=True))
    serving = incumbents(policy=policy, usage=served_usage(start=start, end=end), slugs=slugs)
    return QualityFacts(policy, kept_verdicts(incumbents=serving, as_of=as_of, slugs=slugs), model_names())


def class_lines(*, as_of: datetime, facts: QualityFacts | None = None, book: PriceBook | None = None) -> ClassLines:
    """Every class with spend, verdict and saving. Savings are those of `recommendation_view`, never computed here."""
    before, start, end = window(as_of)
    known = facts or quality_facts(as_of=as_of)
    prices = book or price_book()
    recommendation: RecommendationView | None = None
    reason = ""
    try:
        recommendation = recommendation_view(as_of=as_of)
    except NoBaseline as error:
        reason = str(error)
    now_rows = _by_class(start, end, prices)
    rows_before = _by_class(before, start, prices)
    models = _models_by_class(start, end, prices)
    alarms = open_alarms(as_of=as_of)
    lines = [
        _line(
            registered,
            known.verdicts[registered.slug],
            (now_rows.get(registered.slug), rows_before.get(registered.slug)),
            recommendation,
            known.names,
            models[registered.slug],
        )
        for registered in RequestClass.objects.all()
    ]
    lines = [_with_alarm(line, alarms) for line in lines]
    lines.sort(key=lambda line: (-(line.spend_usd if line.spend_usd is not None else Decimal(-1)), line.slug))
    return ClassLines(start, end, tuple(lines), recommendation, reason)


def _with_alarm(line: ClassLine, alarms: Mapping[tuple[str, str], OpenAlarm]) -> ClassLine:
    """*Below the bar* as long as an alarm of live samples is open on what serves; the rate stays that of evals."""
    alarm = alarms.get((line.slug, line.model_id))
    if alarm is None:
        return line
    return replace(line, verdict="falls_short", verdict_text="Below the bar (live samples)", live_alarm=alarm.text)


def _models_by_class(start: date, end: date, book: PriceBook) -> Counter[str]:
    """How many models serve each class."""
    sums = usage_sums(start=start, end=end, by=("class", "model"), book=book)
    labels = sums.codes[0].labels
    return Counter(labels[code] for code in sums.groups.values[0].tolist())


def _by_class(start: date, end: date, book: PriceBook) -> dict[str, SpendRow]:
    return {row.group["class"]: row for row in spend(start=start, end=end, by=("class",), book=book).rows}


def _line(
    registered: RequestClass,
    verdicts: ClassVerdicts,
    rows: tuple[SpendRow | None, SpendRow | None],
    recommendation: RecommendationView | None,
    names: dict[str, ModelName],
    models: int,
) -> ClassLine:
    row, before = rows
    incumbent = verdicts.incumbent or ""
    verdict: Verdict = verdicts.of_incumbent
    named = model_name(names, incumbent) if incumbent else ModelName("", "")
    advised = recommendation.row(registered.slug) if recommendation is not None else None
    priced = not any(each.unpriced_tok for each in rows if each is not None)
    return ClassLine(
        slug=registered.slug,
        title=registered.title,
        owner=registered.quality_owner,
        note=registered.note,
        model_id=incumbent,
        model=named.name,
        tier=named.tier,
        other_models=max(models - 1, 0),
        spend_usd=row.cost_usd if row is not None else None,
        spend_before_usd=before.cost_usd if before is not None else None,
        change=relative_change(row, before) if priced else None,
        requests=row.requests if row is not None else None,
        unpriced_tok=row.unpriced_tok if row is not None else 0,
        value=verdict.pass_rate,
        lower=verdict.lower,
        upper=verdict.upper if verdict.cases else None,
        cases=verdict.cases,
        line=verdicts.shown_line,
        bar=verdicts.bar,
        verdict=verdict.status,
        verdict_text=verdict.text,
        more_cases=verdict.cases_needed,
        stale=verdict.stale,
        saving_usd=_saving_available(advised) if advised is not None else None,
        saving_note=_saving_note(advised, names) if advised is not None else "",
        stale_text=verdict.stale_text,
    )


def _saving_available(advised: ClassRow) -> Decimal:
    """Nothing where the policy in force does what is recommended: it is decided, and not to be claimed again."""
    return Decimal(0) if advised.is_in_force else advised.saving_usd_per_month


def _saving_note(advised: ClassRow, names: dict[str, ModelName]) -> str:
    """Where the saving comes from, if from a move; a move that restores quality says so."""
    if advised.is_in_force:
        return "in force" if abs(advised.saving_usd_per_month) >= 1 else ""
    if advised.target == advised.incumbent:
        return "reuse of prompts assumed" if advised.reuse_is_assumed else ""
    name = model_name(names, advised.target).name
    if advised.move == "restore_quality":
        return f"quality restored by {name}"
    return f"on {name}{', tokens assumed' if advised.is_assumed else ''}"


def relative_change(row: SpendRow | None, before: SpendRow | None) -> float | None:
    """Change of the priced cost against the window before; None where there was none."""
    if row is None or before is None or not before.cost_usd:
        return None
    return float(row.cost_usd / before.cost_usd - 1)
