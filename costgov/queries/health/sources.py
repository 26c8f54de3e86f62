"""Sources that are late, days and hours without data, days told twice, logs above the provider's report."""
# ruff: noqa: S608 - table and column names are constants of this module

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Final

from django.db import connection

from billing.core.default_workspace import Cell, LikelyDefault
from billing.core.health import Finding, day_count, days_behind, is_stale, is_steady, unusual_gaps, usual_days
from billing.core.periods import Period
from billing.models import DailyUsage, Import, UsageRollup, UsageSource
from billing.queries.counting import logs_above_reports, reports_of_nobody
from billing.queries.imports import model_aliases
from costgov.queries.health.words import day_words, link, some
from costgov.templatetags.costgov_format import integer, period_text

_SHOWN: Final = 6
_DEFAULT_FIRST: Final = (
    "First settle whether this is the default workspace (the warning that it may count twice). Else: "
)
_HOURS_SHOWN: Final = timedelta(days=60)


@dataclass(frozen=True, slots=True)
class _Covered:
    """The buckets of one source: hours or days."""

    source: UsageSource
    periods: tuple[Period, ...]

    @property
    def last(self) -> date:
        return (max(one.end for one in self.periods) - timedelta(microseconds=1)).date()


def source_findings(*, as_of: datetime, usd_per_day: Decimal, likely: Sequence[LikelyDefault]) -> list[Finding]:
    """Findings about where usage comes from. `usd_per_day`: what a day costs on average, to say what a gap may hide.

    `likely`: workspaces that may be the default one, of which another finding speaks.
    """
    held = _covered()
    return [
        *_stale(held, as_of),
        *_gaps(held, usd_per_day),
        *_two_reports(),
        *_nobodys(),
        *_two_logs(),
        *_above(likely),
    ]


def _covered() -> list[_Covered]:
    buckets: dict[int, list[Period]] = defaultdict(list)
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT source_id, bucket_hours, bucket_start FROM {UsageRollup._meta.db_table} GROUP BY 1, 2, 3"
        )
        for source_id, hours, start in cursor.fetchall():
            at = start.astimezone(UTC)
            buckets[source_id].append(Period(at, at + timedelta(hours=hours)))
    return [
        _Covered(source, tuple(buckets[source.pk]))
        for source in UsageSource.objects.order_by("name")
        if source.pk in buckets
    ]


def _stale(held: Sequence[_Covered], as_of: datetime) -> list[Finding]:
    delivered: dict[int, set[date]] = defaultdict(set)
    rows = Import.objects.filter(state=Import.State.DONE, source__isnull=False)
    for source_id, at in rows.values_list("source_id", "created_at"):
        delivered[source_id].add(at.astimezone(UTC).date())
    today, found = as_of.astimezone(UTC).date(), []
    for one in held:
        days = delivered[one.source.pk]
        if not is_stale(one.last, days, today=today):
            continue
        usual = usual_days(days)
        rhythm = (
            f"It was delivered every {usual} days" if usual and usual > 1 else "It was delivered every day"
            if usual else "How often it comes is not known yet"
        )  # fmt: skip
        behind = days_behind(one.last, today=today)
        found.append(
            Finding(
                level="warning",
                topic="sources",
                key=f"stale:{one.source.name}",
                title=f"{one.source.name} ends {behind} days ago, on {day_words(one.last)}",
                text=f"{rhythm}. Whatever was used since is in no figure of its own.",
                remedy="Import what came since; where the source has ended for good, its days stay as they are.",
                first=one.last + timedelta(days=1),
                last=today - timedelta(days=1),
                link=link("imports"),
                action="Open Imports",
            )
        )
    return found


def _gaps(held: Sequence[_Covered], usd_per_day: Decimal) -> list[Finding]:
    """Days missing, and hours where a source has nearly all of them. A gap matters where no other source fills it."""
    found = []
    counted = set(DailyUsage.objects.values_list("date", flat=True).distinct())
    for one in held:
        days = [Period.day(day) for day in sorted({day for period in one.periods for day in period.each_day()})]
        missing = list(unusual_gaps(days))
        if missing:
            lost = [day for gap in missing for day in gap.each_day() if day not in counted]
            count = sum(day_count(gap) for gap in missing)
            shown = some([period_text(*_ends(gap)) for gap in missing])
            found.append(
                Finding(
                    level="warning" if lost else "note",
                    topic="sources",
                    key=f"gap:{one.source.name}",
                    title=f"{one.source.name} has nothing on {count} {'days' if count > 1 else 'day'}",
                    text=f"Missing between its first and last day: {shown}. "
                    + (
                        f"{len(lost)} of them {'have' if len(lost) > 1 else 'has'} no usage from any source; "
                        "an average day stands beside each as an estimate."
                        if lost
                        else "Another source has these days, so spend is whole."
                    ),
                    remedy="If there was traffic, import the missing files.",
                    usd=(usd_per_day * len(lost)).quantize(Decimal("0.01")) if lost else None,
                    is_estimate=bool(lost),
                    first=_ends(missing[0])[0],
                    last=_ends(missing[-1])[1],
                    link=link("imports"),
                    action="Open Imports",
                )
            )
        found += _hours(one)
    return found


def _hours(one: _Covered) -> list[Finding]:
    if not is_steady(one.periods):
        return []
    missing = [gap for gap in unusual_gaps(one.periods) if gap.end - gap.start < timedelta(days=1)]
    if not missing:
        return []
    hours = sum((gap.end - gap.start) // timedelta(hours=1) for gap in missing)
    shown = some([f"{gap.start:%d %b %Y %H:%M} to {gap.end:%H:%M}" for gap in missing])
    return [
        Finding(
            level="note",
            topic="sources",
            key=f"hours:{one.source.name}",
            title=f"{one.source.name} lacks {hours} {'hours' if hours > 1 else 'hour'} of days it has",
            text=f"It has nearly every other hour. Missing: {shown} (UTC).",
            remedy="Look whether the export was cut, or the gateway stood still.",
            first=missing[0].start.date(),
            last=missing[-1].start.date(),
            link=link("imports"),
            action="Open Imports",
        )
    ]


def _two_reports() -> list[Finding]:
    """Days that two provider reports tell: one counts, and which."""
    table, sources = UsageRollup._meta.db_table, UsageSource._meta.db_table
    told: dict[tuple[str, date], set[str]] = defaultdict(set)
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT r.channel, (r.bucket_start AT TIME ZONE 'UTC')::date AS day, s.name FROM {table} r "
            f"JOIN {sources} s ON s.id = r.source_id WHERE s.grain = 'bucket' GROUP BY 1, 2, 3"
        )
        for channel, day, name in cursor.fetchall():
            told[channel, day].add(name)
    double = {place: names for place, names in told.items() if len(names) > 1}
    if not double:
        return []
    counts: dict[tuple[str, date], set[str]] = defaultdict(set)
    rows = DailyUsage.objects.filter(origin__in=["report", "remainder"], date__in={day for _, day in double})
    for channel, day, name in rows.values_list("channel", "date", "source__name").distinct():
        counts[channel, day].add(name)
    by_group: dict[tuple[str, tuple[str, ...]], dict[date, set[str]]] = defaultdict(dict)
    for (channel, day), names in double.items():
        if names <= counts[channel, day]:
            continue  # of several organisations: each counts
        by_group[channel, tuple(sorted(names))][day] = counts[channel, day]
    found = []
    for (channel, pair), days in sorted(by_group.items()):
        wins = {name: sum(name in kept for kept in days.values()) for name in pair}
        said = ", ".join(f"{name} on {integer(count)}" for name, count in wins.items() if count) or "logs alone on all"
        found.append(
            Finding(
                level="note",
                topic="sources",
                key=f"twice:{channel}:{'|'.join(pair)}",
                title=f"{' and '.join(pair)} tell the same {len(days)} {'days' if len(days) > 1 else 'day'}",
                text=f"One of them counts on each day: {said}. The others serve to compare.",
                remedy="Nothing if they tell the same usage. If they are of two organisations, say for each source "
                "whose it is (Imports, Organisation): then both count.",
                first=min(days),
                last=max(days),
                link=link("imports"),
                action="Open Imports",
            )
        )
    return found


def _nobodys() -> list[Finding]:
    """Reports that name no organisation on days when several others do: they count nothing."""
    names = dict(UsageSource.objects.values_list("pk", "name"))
    by_source: dict[int, dict[date, int]] = defaultdict(dict)
    for day, item in reports_of_nobody():
        tokens = sum(row.counts.total_tok for row in item.rows)
        by_source[item.source][day] = by_source[item.source].get(day, 0) + tokens
    return [
        Finding(
            level="warning",
            topic="sources",
            key=f"nobodys:{names[source]}",
            title=f"{names[source]} does not count on {len(days)} {'day' if len(days) == 1 else 'days'}: whose is it?",
            text="Several organisations have reports of these days, and this one names none: it could be any of "
            "theirs, and counting it could count usage twice.",
            remedy="Say whose it is (Imports, Organisation).",
            tokens=sum(days.values()),
            first=min(days),
            last=max(days),
            link=link("imports"),
            action="Open Imports",
        )
        for source, days in sorted(by_source.items())
    ]


def _two_logs() -> list[Finding]:
    """Two logs of the same key and model on one day, and no report to check them against: perhaps the same requests."""
    with connection.cursor() as cursor:
        cursor.execute(
            "WITH told AS (SELECT date, channel, workspace, api_key, model, source_id FROM "
            f"{DailyUsage._meta.db_table} WHERE origin = 'log' GROUP BY 1, 2, 3, 4, 5, 6), "
            f"reported AS (SELECT DISTINCT (r.bucket_start AT TIME ZONE 'UTC')::date AS date, r.channel "
            f"FROM {UsageRollup._meta.db_table} r JOIN {UsageSource._meta.db_table} s ON s.id = r.source_id "
            "WHERE s.grain = 'bucket') "
            "SELECT a.source_id, b.source_id, count(DISTINCT a.date), min(a.date), max(a.date) FROM told a "
            "JOIN told b USING (date, channel, workspace, api_key, model) "
            "WHERE a.source_id < b.source_id AND NOT EXISTS "
            "(SELECT 1 FROM reported x WHERE x.date = a.date AND x.channel = a.channel) GROUP BY 1, 2"
        )
        rows = cursor.fetchall()
    names = dict(UsageSource.objects.values_list("pk", "name"))
    return [
        Finding(
            level="warning",
            topic="sources",
            key=f"logs:{names[one]}:{names[other]}",
            title=f"{names[one]} and {names[other]} log the same keys and models on {days} days",
            text="Both count. Requests with the same id count once; where the two give them ids of their own, the same "
            "request counts twice, and no provider's report of these days would show it.",
            remedy="Import the provider's usage report of these days, or keep one of the logs.",
            first=first,
            last=last,
            link=link("imports"),
            action="Open Imports",
        )
        for one, other, days, first, last in rows
    ]


def _above(likely: Sequence[LikelyDefault]) -> list[Finding]:
    """What a report tells of the default workspace by no name is no sign of a wrong log: it is told there."""
    by_place: dict[tuple[str, str], list[tuple[date, int, int]]] = defaultdict(list)
    aliases = model_aliases() if likely else {}
    fitting: dict[tuple[str, str], set[Cell]] = defaultdict(set)
    for one in likely:
        fitting[one.channel, one.workspace] |= one.cells
    also: set[str] = set()
    for day, item in logs_above_reports():
        cells = fitting.get((item.channel, item.workspace), set())
        if (day, aliases.get(item.model, item.model)) in cells:
            continue
        if cells:
            also.add(item.place)
        by_place[item.place, item.model].append((day, item.logged, item.reported))
    found = []
    for (place, model), places in by_place.items():
        day, logged, reported = max(places, key=lambda item: item[1] - item[2])
        days = sorted({one for one, _, _ in places})
        found.append(
            Finding(
                level="warning",
                topic="sources",
                key=f"above:{place}:{model}",
                title=f"Logs say more than the provider's report for {model or 'all models'} on {len(days)} "
                f"{'day' if len(days) == 1 else 'days'}",
                text=f"Most on {day_words(day)}: {integer(logged)} logged, {integer(reported)} reported ({place}). "
                "The logs count.",
                remedy=(_DEFAULT_FIRST if place in also else "")
                + "Look for a log imported under another organisation, one written twice, or a report fetched before "
                "the day was over.",
                tokens=sum(max(0, one - other) for _, one, other in places),
                first=days[0],
                last=days[-1],
                link=link("imports"),
                action="Open Imports",
            )
        )
    found.sort(key=lambda one: -(one.tokens or 0))
    return found


def _ends(gap: Period) -> tuple[date, date]:
    return gap.start.date(), (gap.end - timedelta(microseconds=1)).date()
