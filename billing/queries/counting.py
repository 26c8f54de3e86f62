"""Hourly rows of every source as the counting rule wants them, and where logs say more than the provider."""
# ruff: noqa: S608 - table and column names are constants of this module

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import Final

from django.db import connection

from billing.core.counting import DayRow, Excess, LogScope, ReportOfDay, chosen_reports, count_day, left_out
from billing.core.usage import COUNTERS, DEFAULT_WORKSPACE, UNTOLD, TokenCounts, UsageKey
from billing.importers.generic_csv import SUMS_NAME
from billing.importers.usage_formats import FORMATS_WITH_KEY_NAMES, FORMATS_WITH_OWN_KEYS, report_rank
from billing.models import USAGE_KEY_FIELDS, Import, UsageRollup, UsageSource
from billing.queries.imports import model_aliases

ORGANISATION: Final = "organisation"
DEFAULT_WORKSPACE_ID: Final = "default_workspace"


@dataclass(frozen=True, slots=True)
class CountedWith:
    """A setting of a source that says how its rows are counted, not how its files are read."""

    name: str
    title: str
    question: str
    how: str


COUNTED_WITH: Final = (
    CountedWith(
        ORGANISATION,
        "Organisation",
        "whose usage is it, where its rows do not say?",
        "Only needed with several organisations of the provider: reports of one compete, reports of two both count. "
        "Take the organisation's id from the Console, the same for every source of it",
    ),
    CountedWith(
        DEFAULT_WORKSPACE_ID,
        "Id of the default workspace",
        "which id does the default workspace have?",
        "Some reports call the default workspace by its id, others by no name: with the id they are one workspace. "
        "It holds for every source",
    ),
)


@dataclass(frozen=True, slots=True)
class DayToCount:
    """What sources say about one UTC day of one channel."""

    day: date
    channel: str
    logs: tuple[DayRow, ...]
    reports: tuple[ReportOfDay, ...]


def log_scopes() -> dict[int, LogScope]:
    """What the logs of each source speak for."""
    return {source.pk: _scope(source) for source in UsageSource.objects.all()}


def days_to_count(days: Sequence[date]) -> Iterator[DayToCount]:
    """The rows of some days, ascending, by day and channel. All of them are in memory at once: give a few days."""
    requests = set(UsageSource.objects.filter(grain=UsageSource.Grain.REQUEST).values_list("pk", flat=True))
    ranks, partial, named, said = _ranks(), _partial(), sources_with_key_names(), said_of_sources()
    by_day: dict[tuple[date, str], tuple[list[DayRow], dict[_ReportKey, list[DayRow]], dict[_ReportKey, int]]]
    by_day = defaultdict(lambda: ([], defaultdict(list), defaultdict(int)))
    for day, source_id, hours, latest, told, counts, number in _hours_by_day(days):
        key = said.key(source_id, told)
        logs, reports, latest_of = by_day[day, key.channel]
        row = DayRow(source_id, key, counts, number)
        if source_id in requests:
            logs.append(row)
        else:
            place = (source_id, hours, "" if key.organisation in UNTOLD else key.organisation)
            reports[place].append(row)
            latest_of[place] = max(latest_of[place], latest)
    for (day, channel), (logs, reports, latest_of) in sorted(by_day.items(), key=lambda item: item[0]):
        candidates = [
            ReportOfDay(
                source_id,
                hours,
                latest_of[source_id, hours, organisation],
                tuple(rows),
                ranks.get(source_id, 0),
                organisation,
                is_whole=source_id not in partial,
                has_key_ids=source_id not in named,
            )
            for (source_id, hours, organisation), rows in sorted(reports.items())
        ]
        yield DayToCount(day, channel, tuple(logs), tuple(candidates))


_ReportKey = tuple[int, int, str]  # source, hours of a bucket, organisation


@dataclass(frozen=True, slots=True)
class Said:
    """What people said of sources: whose usage it is where rows do not name it; which workspace is the default one."""

    organisations: Mapping[int, str]
    default_workspaces: frozenset[str]

    def key(self, source_id: int, told: UsageKey) -> UsageKey:
        if told.workspace in self.default_workspaces:
            told = replace(told, workspace=DEFAULT_WORKSPACE)
        if told.organisation in UNTOLD and (organisation := self.organisations.get(source_id)):
            told = replace(told, organisation=organisation)
        return told


def said_of_sources() -> Said:
    rows = list(UsageSource.objects.values_list("pk", "settings"))
    organisations = {pk: str((held or {}).get(ORGANISATION) or "") for pk, held in rows}
    default = {str((held or {}).get(DEFAULT_WORKSPACE_ID) or "") for _, held in rows}
    return Said(organisations, frozenset(default - {""}))


def logs_above_reports() -> list[tuple[date, Excess]]:
    """Every place where logs exceed the provider's report of the day by more than the tolerance, now."""
    scopes, found = log_scopes(), []
    for day in _days_with_both():
        for item in days_to_count([day]):
            _, above = count_day(item.logs, chosen_reports(item.reports), scopes, lambda key: "")
            found += [(day, excess) for excess in above]
    return found


def reports_of_nobody() -> list[tuple[date, ReportOfDay]]:
    """Reports that name no organisation on days when several others do: they count nothing (`left_out`)."""
    reports = UsageSource.objects.filter(grain=UsageSource.Grain.BUCKET)
    said = {str((held or {}).get(ORGANISATION) or "") for held in reports.values_list("settings", flat=True)}
    rows = UsageRollup.objects.filter(source_id__in=reports.values_list("pk", flat=True))
    told = set(rows.values_list("organisation", flat=True).distinct())
    if len((said | told) - UNTOLD) < 2:
        return []
    days = days_with_usage()
    return [(item.day, one) for day in days for item in days_to_count([day]) for one in left_out(item.reports)]


def _ranks() -> dict[int, int]:
    """How far the reports of each source go before those of others: a gateway's sums come after the provider's."""
    done = Import.objects.filter(state=Import.State.DONE).exclude(source__grain=UsageSource.Grain.REQUEST)
    found: dict[int, int] = {}
    for source_id, name in done.values_list("source_id", "format").distinct():
        if source_id is not None:
            found[source_id] = max(found.get(source_id, 0), report_rank(name))
    return found


def _partial() -> frozenset[int]:
    """Sources whose reports may tell a part only: sums of a gateway, tables of one's own."""
    done = Import.objects.filter(state=Import.State.DONE).exclude(source__grain=UsageSource.Grain.REQUEST)
    rows = done.values_list("source_id", "format").distinct()
    return frozenset(one for one, name in rows if one is not None and (name == SUMS_NAME or report_rank(name) == 0))


def sources_with_key_names() -> frozenset[int]:
    """Sources with reports whose workspaces and API keys are names."""
    done = Import.objects.filter(state=Import.State.DONE, format__in=FORMATS_WITH_KEY_NAMES)
    return frozenset(pk for pk in done.values_list("source_id", flat=True) if pk is not None)


def days_with_usage() -> list[date]:
    """UTC days with hourly rows of any source."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT DISTINCT (bucket_start AT TIME ZONE 'UTC')::date AS day "
            f"FROM {UsageRollup._meta.db_table} ORDER BY day"
        )
        return [row[0] for row in cursor.fetchall()]


def _days_with_both() -> list[date]:
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT (r.bucket_start AT TIME ZONE 'UTC')::date AS day FROM {UsageRollup._meta.db_table} r "
            f"JOIN {UsageSource._meta.db_table} s ON s.id = r.source_id GROUP BY day "
            "HAVING bool_or(s.grain = 'request') AND bool_or(s.grain <> 'request') ORDER BY day"
        )
        return [row[0] for row in cursor.fetchall()]


def has_own_keys(source: UsageSource, *, format_name: str = "") -> bool:
    """Keys of a gateway or a tracing tool are its own; other logs name the provider's; a mapped table says which.

    `format_name`: the format of a file about to be its next.
    """
    if (source.settings or {}).get("own_keys") == "yes" or format_name in FORMATS_WITH_OWN_KEYS:
        return True
    return (
        source.pk is not None
        and source.imports.filter(state=Import.State.DONE, format__in=FORMATS_WITH_OWN_KEYS).exists()
    )


def _scope(source: UsageSource) -> LogScope:
    return LogScope(not has_own_keys(source), tuple((str(one), str(other)) for one, other in source.scope))


def _hours_by_day(days: Sequence[date]) -> Iterable[tuple[date, int, int, int, UsageKey, TokenCounts, int | None]]:
    # Hourly rows keep the name known at import; what counts takes the aliases held now, so an alias added later holds.
    aliases = model_aliases()
    keys = ", ".join(USAGE_KEY_FIELDS)
    sums = ", ".join(f"sum({name})::int8" for name in COUNTERS)
    # An unknown number of requests in one hour makes the day's number unknown.
    requests = "CASE WHEN bool_or(requests IS NULL) THEN NULL ELSE sum(requests)::int8 END"
    if not days:
        return
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT (bucket_start AT TIME ZONE 'UTC')::date AS day, source_id, bucket_hours, max(latest_import_id), "
            f"{keys}, {sums}, {requests} FROM {UsageRollup._meta.db_table} "
            "WHERE bucket_start >= %s AND bucket_start < %s AND (bucket_start AT TIME ZONE 'UTC')::date = ANY(%s) "
            f"GROUP BY day, source_id, bucket_hours, {keys}",
            [_midnight(days[0]), _midnight(days[-1]) + timedelta(days=1), list(days)],
        )
        width = len(USAGE_KEY_FIELDS)
        for day, source_id, hours, latest, *rest in cursor.fetchall():
            names = dict(zip(USAGE_KEY_FIELDS, rest[:width], strict=True))
            key = UsageKey(**{**names, "model": aliases.get(names["model"], names["model"])})
            yield day, source_id, hours, latest, key, TokenCounts(*rest[width:-1]), rest[-1]


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)
