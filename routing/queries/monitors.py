"""Monitors of graded live samples per class: what each month showed, and the alarms that are open."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Q

from routing.core.bars import Bar
from routing.core.monitor import (
    NO_LINE,
    LiveSample,
    MonitoredMonth,
    StandingAlarm,
    monitored_months,
    month_before,
    month_of,
    standing_alarm,
)
from routing.models import EvalCase, EvalRun, RequestClass, WorkItem
from routing.queries.bars import bar_histories
from routing.queries.evidence import names_held
from routing.queries.in_force import in_force

MONTHS_SHOWN = 6
_AFTER = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class OpenAlarm:
    """An open work item of an alarm. `month`: '2026-11'."""

    item_id: int
    slug: str
    model: str
    month: str
    text: str
    remedy: str


@dataclass(frozen=True, slots=True)
class ClassMonitor:
    """What live samples show of a class. `model`: what serves it at the as-of instant, None = not known. `months` rise;
    `standing`: the alarm on it that nothing has answered. `no_line` says why nothing can raise one, '' = it can."""

    slug: str
    model: str | None
    asked: Bar
    months: tuple[MonitoredMonth, ...]
    standing: StandingAlarm | None
    no_line: str


def monitors(
    *, as_of: datetime, slugs: Collection[str] | None = None, months: int = MONTHS_SHOWN, since: datetime | None = None
) -> dict[str, ClassMonitor]:
    """Of every class that ever had live samples (or of those of `slugs`), over the month of `as_of` and those before:
    `months` of them, or back to that of `since`. Runs set aside by then do not count."""
    begins = month_of(as_of)
    for _ in range(months - 1):
        begins = month_before(begins)
    begins = min(begins, month_of(since)) if since is not None else begins
    rows = list(RequestClass.objects.filter(pk__in=_with_samples(slugs, as_of)))
    if not rows:
        return {}
    bars = bar_histories(rows)
    states = in_force(bars=bars, since=begins, until=as_of + _AFTER)
    samples = _samples(rows, as_of)
    found = {}
    for row in rows:
        asked, model = bars[row.slug].at(as_of), states[row.slug][-1].model
        shown = tuple(
            month for month in monitored_months(samples.get(row.slug, ()), states[row.slug]) if month.begins >= begins
        )
        found[row.slug] = ClassMonitor(
            slug=row.slug,
            model=model,
            asked=asked,
            months=shown,
            standing=standing_alarm(shown, model=model, bar=asked, as_of=as_of),
            no_line="" if asked.asks_for_line else NO_LINE,
        )
    return found


def open_alarms(*, as_of: datetime, slug: str | None = None) -> dict[tuple[str, str], OpenAlarm]:
    """Alarms whose work item was open at an instant, by class and model."""
    rows = WorkItem.objects.filter(
        Q(closed_at=None) | Q(closed_at__gt=as_of), kind=WorkItem.Kind.MONITOR_ALARM, opened_at__lte=as_of
    ).select_related("request_class")
    if slug is not None:
        rows = rows.filter(request_class__slug=slug)
    return {
        (row.request_class.slug, row.model): OpenAlarm(
            row.pk, row.request_class.slug, row.model, row.details.get("month", ""), row.text, row.remedy
        )
        for row in rows.order_by("pk")
    }


def _with_samples(slugs: Collection[str] | None, as_of: datetime) -> Sequence[int]:
    rows = EvalRun.objects.filter(is_live=True).exclude(set_aside_at__lte=as_of)
    if slugs is not None:
        rows = rows.filter(request_class__slug__in=list(slugs))
    return list(rows.order_by().values_list("request_class_id", flat=True).distinct())


def _samples(rows: Collection[RequestClass], as_of: datetime) -> Mapping[str, Sequence[LiveSample]]:
    """All there ever were: a sample counts once for ever, so earlier months decide what is new."""
    cases = EvalCase.objects.filter(run__is_live=True, run__request_class__in=rows, run_at__lt=as_of)
    found: dict[str, list[LiveSample]] = defaultdict(list)
    named = names_held()
    for slug, suite, sample_id, raw, model, run_at, score, graded, repeat in (
        cases.exclude(run__set_aside_at__lte=as_of)
        .order_by()
        .values_list(
            "run__request_class__slug", "run__suite", "sample_id", "model_raw", "model", "run_at", "score",
            "graded_score", "repeat",
        )
        .iterator(chunk_size=10_000)
    ):  # fmt: skip
        found[slug].append(LiveSample(suite, sample_id, named(raw, model), run_at, score, graded, repeat))
    return found
