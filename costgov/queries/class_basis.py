"""What a class rests on: its eval suites, the usage mapped to it, and its owners' exceptions."""

from dataclasses import dataclass
from datetime import date, datetime, timedelta

from django.db.models import Count, Max, Min, Q

from routing.core.evidence import suite_filter
from routing.models import ClassException, EvalRun, RequestClass
from routing.queries.evidence import ClassVerdicts, names_held
from routing.queries.gathering import parts_that_count
from routing.queries.kept_evidence import asked_of


@dataclass(frozen=True, slots=True)
class SuiteRow:
    """Results of one suite version for the class. `is_current`: part of the epoch that counts. `counts`: the bar counts
    the suite at all."""

    suite: str
    version: str
    results: int
    without_verdict: int
    models: int
    first_run_at: datetime
    latest_run_at: datetime
    files: int
    stale: bool
    is_current: bool
    counts: bool


@dataclass(frozen=True, slots=True)
class MappingRow:
    channel: str
    workspace: str
    api_key: str
    valid_from: date | None
    valid_to: date | None
    in_force: bool


@dataclass(frozen=True, slots=True)
class ExceptionRow:
    """An owner's dated permission to use a model that has not cleared the bar."""

    model: str
    reason: str
    owner: str
    valid_to: date


def suites_of(row: RequestClass, verdicts: ClassVerdicts, as_of: datetime) -> tuple[SuiteRow, ...]:
    """Suite versions with results, newest first. Current are those in some model's latest epoch."""
    parts = parts_that_count(slug=row.slug, asked=asked_of(verdicts.asked), as_of=as_of, named=names_held())
    current = {(part.suite, part.suite_version) for own in parts.values() for part in own}
    found = (
        EvalRun.objects.filter(request_class=row, is_live=False, cases__run_at__lt=as_of)
        .values("suite", "suite_version")
        .annotate(
            results=Count("cases"),
            without_verdict=Count("cases", filter=Q(cases__score__isnull=True)),
            models=Count("cases__model", distinct=True),
            first=Min("cases__run_at"),
            latest=Max("cases__run_at"),
            files=Count("eval_import", distinct=True),
        )
        .order_by("-latest", "suite")
    )
    oldest = as_of - timedelta(days=verdicts.asked.max_age_days)
    counts = suite_filter(verdicts.asked.suites)
    return tuple(
        SuiteRow(
            suite=each["suite"],
            version=each["suite_version"],
            results=each["results"],
            without_verdict=each["without_verdict"],
            models=each["models"],
            first_run_at=each["first"],
            latest_run_at=each["latest"],
            files=each["files"],
            stale=each["latest"] < oldest,
            is_current=(each["suite"], each["suite_version"]) in current,
            counts=counts(each["suite"], each["suite_version"]),
        )
        for each in found
    )


def mappings_of(row: RequestClass, on: date) -> tuple[MappingRow, ...]:
    return tuple(
        MappingRow(
            channel=each.channel,
            workspace=each.workspace,
            api_key=each.api_key,
            valid_from=each.valid_from,
            valid_to=each.valid_to,
            in_force=(each.valid_from is None or each.valid_from <= on)
            and (each.valid_to is None or on < each.valid_to),
        )
        for each in row.mappings.order_by("workspace", "api_key", "valid_from")
    )


def exceptions_of(row: RequestClass, on: date) -> tuple[ExceptionRow, ...]:
    rows = ClassException.objects.filter(request_class=row, valid_from__lte=on, valid_to__gt=on)
    return tuple(
        ExceptionRow(each.model, each.reason, each.owner.get_username(), each.valid_to)
        for each in rows.select_related("owner").order_by("valid_to")
    )
