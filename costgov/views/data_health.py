"""Data health: what is odd about the data, sorted by the money it touches, each with what to do."""

from dataclasses import dataclass

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import path
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from billing.core.health import LEVELS, TOPICS
from costgov.health import current_health
from costgov.pages import choice, page
from costgov.queries.health import LEVEL_WORDS, TOPIC_WORDS, DataHealth, TopicFindings


@dataclass(frozen=True, slots=True)
class LevelChoice:
    """One level of the filter: how many findings it has."""

    value: str
    word: str
    meaning: str
    count: int


@dataclass(frozen=True)
class HealthPage:
    health: DataHealth
    groups: tuple[TopicFindings, ...]
    levels: tuple[LevelChoice, ...]
    topics: tuple[tuple[str, str], ...]
    level: str
    topic: str
    shown: int


@require_safe
def data_health_page(request: HttpRequest) -> HttpResponse:
    health = current_health()
    level = choice(request, "level", ["", *LEVELS], "")
    topic = choice(request, "topic", ["", *TOPICS], "")
    groups = health.only(level=level, topic=topic)
    present = {one.topic for one in health.findings}
    view = HealthPage(
        health=health,
        groups=groups,
        levels=tuple(LevelChoice(name, *LEVEL_WORDS[name], health.count(name)) for name in LEVELS),
        topics=tuple((name, TOPIC_WORDS[name]) for name in TOPICS if name in present or name == topic),
        level=level,
        topic=topic,
        shown=sum(len(group.findings) for group in groups),
    )
    return page(request, "costgov/data_health.html", view, nav="data-health", as_of=health.as_of)


@never_cache
@require_safe
def badge(request: HttpRequest) -> HttpResponse:
    """The number of errors beside the menu entry, asked for by pages that do not know it yet."""
    return render(request, "costgov/_health_badge.html", {"errors": current_health().errors})


urlpatterns = [
    path("data-health/", data_health_page, name="data-health"),
    path("data-health/badge/", badge, name="data-health-badge"),
]
