"""Dear figures, kept until anything changes, for pages and the API alike."""

from datetime import date, timedelta

from costgov.pages import cached, now, today
from costgov.queries.class_lines import ClassLines, class_lines
from costgov.queries.class_page import ClassPage, class_page
from costgov.queries.estate import ConstraintsView, FrontierView, constraints_view, frontier_view
from costgov.queries.evals import Quality, quality
from costgov.queries.evidence_needed import EvidenceNeeded, ModelOutlook, evidence_needed, model_outlook
from costgov.queries.overview import Overview, overview
from costgov.queries.policies import DraftPage, draft_page
from costgov.queries.recommendation import RecommendationView, recommendation_view
from costgov.queries.reconciliation import MonthList, MonthView, month_list, month_view
from costgov.queries.savings import Savings, savings


def draft_shown() -> DraftPage:
    """The recommended draft of today. Raises NoBaseline."""
    return cached("policy-draft", lambda: draft_page(as_of=now()), day=today())


def recommendation_shown(*, baseline_model: str = "") -> RecommendationView:
    """The recommendation of today, against a baseline (default: the organisation's). Raises NoBaseline."""
    return cached(
        "recommendation",
        lambda: recommendation_view(as_of=now(), baseline_model=baseline_model),
        day=today(),
        baseline=baseline_model,
    )


def savings_shown(*, period: str = "") -> Savings:
    """Proven, unproven and realised savings of today. Raises NoBaseline, NoSuchPeriod."""
    return cached("savings", lambda: savings(as_of=now(), period=period), day=today(), period=period)


def constraints_shown() -> ConstraintsView:
    """The constraints of the estate and what they cost, as of today."""
    return cached("constraints", lambda: constraints_view(as_of=now()), day=today())


def frontier_shown() -> FrontierView:
    """Cost and quality of the estate, as of today. Raises NoBaseline."""
    return cached("frontier", lambda: frontier_view(as_of=now()), day=today())


def evidence_needed_shown() -> EvidenceNeeded:
    """The evals worth running, as of today. Raises NoBaseline."""
    return cached("evidence-needed", lambda: evidence_needed(as_of=now()), day=today())


def model_outlook_shown(*, model: str) -> ModelOutlook:
    """What a model could save, as of today. Raises NoBaseline, UnknownModel."""
    return cached("model-outlook", lambda: model_outlook(model=model, as_of=now()), day=today(), model=model)


def classes_shown() -> ClassLines:
    """Every class with money and quality, as of today."""
    return cached("api-classes", lambda: class_lines(as_of=now()), day=today())


def overview_shown(*, start: date, end: date) -> Overview:
    """The Overview of today with days [start, end) drawn."""
    return cached("overview", lambda: overview(as_of=now(), start=start, end=end), day=today(), start=start, end=end)


def class_shown(*, slug: str, days: int) -> ClassPage:
    """One class with series of some days, as of today. Raises UnknownClass."""
    start = today() - timedelta(days=days)
    return cached(
        "api-class",
        lambda: class_page(slug=slug, as_of=now(), start=start, end=today(), lines=classes_shown()),
        day=today(),
        slug=slug,
        days=days,
    )


def quality_shown(*, slug: str | None = None) -> Quality:
    """Verdicts as of now, of every class or of one. Raises UnknownClass."""
    return cached("api-quality", lambda: quality(as_of=now(), slug=slug), day=today(), slug=slug or "")


def months_shown() -> MonthList:
    """Every month and where it stands today."""
    return cached("months", lambda: month_list(as_of=now()), day=today())


def month_shown(*, month: date) -> MonthView:
    """One month as of today, by its first day. Raises NoSuchMonth."""
    return cached("month", lambda: month_view(month=month, as_of=now()), day=today(), month=month)
