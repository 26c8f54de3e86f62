"""Data health: everything odd about the data, with the money it touches and what to do. Page, command, API, badge."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal

from billing.core.health import LEVELS, TOPICS, Finding, Level, Topic, sorted_findings
from billing.core.money import ZERO
from billing.models import DailyUsage
from billing.queries.default_workspace import default_workspaces_by_two_names
from billing.queries.usage import usage_days
from costgov.queries.health.imports import import_findings
from costgov.queries.health.mappings import mapping_findings
from costgov.queries.health.months import month_findings
from costgov.queries.health.sources import source_findings
from costgov.queries.health.usage import usage_findings
from costgov.queries.health.workspaces import workspace_findings

TOPIC_WORDS: dict[Topic, str] = {
    "prices": "Prices and models",
    "classes": "Classes",
    "sources": "Sources and days",
    "imports": "Files",
    "months": "Months",
    "mappings": "Mappings",
}
LEVEL_WORDS: dict[Level, tuple[str, str]] = {
    "error": ("Error", "Figures are wrong or incomplete until it is mended"),
    "warning": ("Warning", "Figures may be wrong or incomplete"),
    "note": ("Note", "Worth knowing"),
}


@dataclass(frozen=True, slots=True)
class TopicFindings:
    """Findings of one topic, errors first, then by money."""

    topic: Topic
    title: str
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class DataHealth:
    """What is odd about the data of days [start, end). `usd` None: no usage at all."""

    as_of: datetime
    start: date | None
    end: date | None
    usd: Decimal | None
    findings: tuple[Finding, ...]
    errors: int
    warnings: int
    notes: int

    def count(self, level: Level) -> int:
        return {"error": self.errors, "warning": self.warnings, "note": self.notes}[level]

    def only(self, *, level: str = "", topic: str = "") -> tuple[TopicFindings, ...]:
        """Findings by topic, those with the worst first, of one level or topic where asked."""
        kept = [one for one in self.findings if level in ("", one.level) and topic in ("", one.topic)]
        groups = [TopicFindings(name, TOPIC_WORDS[name], tuple(_of(kept, name))) for name in TOPICS]
        order = {name: place for place, name in enumerate(dict.fromkeys(one.topic for one in kept))}
        return tuple(sorted((item for item in groups if item.findings), key=lambda item: order[item.topic]))


def data_health(*, as_of: datetime) -> DataHealth:
    """Every finding about the data as it is now, errors first, then by the money they touch."""
    days = usage_days()
    found: list[Finding] = []
    total: Decimal | None = None
    if days is not None:
        usage, total = usage_findings(start=days[0], end=days[1] + timedelta(days=1), as_of=as_of)
        found += usage
    likely = default_workspaces_by_two_names()
    found += source_findings(as_of=as_of, usd_per_day=_per_day(total), likely=likely)
    found += workspace_findings(likely)
    found += import_findings(as_of=as_of)
    found += month_findings(as_of=as_of)
    found += mapping_findings()
    ordered = sorted_findings(found)
    counts = {level: sum(one.level == level for one in ordered) for level in LEVELS}
    return DataHealth(
        as_of=as_of,
        start=days[0] if days else None,
        end=days[1] + timedelta(days=1) if days else None,
        usd=total,
        findings=ordered,
        errors=counts["error"],
        warnings=counts["warning"],
        notes=counts["note"],
    )


def _of(findings: Sequence[Finding], topic: Topic) -> list[Finding]:
    return [one for one in findings if one.topic == topic]


def _per_day(total: Decimal | None) -> Decimal:
    """What a day with usage costs on average."""
    days = DailyUsage.objects.values("date").distinct().count() if total else 0
    return total / days if total and days else ZERO
