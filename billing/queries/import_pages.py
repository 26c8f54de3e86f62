"""Imports, their sources and what is odd about the data, as the Imports pages show them."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import Any, Final

from django.db.models import Count, Max, Min, Q
from django.db.models.functions import TruncDate

from billing.importers.format_guide import GUIDE
from billing.importers.formats import ALL_FORMATS
from billing.importers.generic_csv import SUMS_NAME
from billing.importers.records import SWITCHES
from billing.importers.usage_formats import BUCKET_FORMATS, RECORD_FORMATS
from billing.models import Import, UsageRollup, UsageSource
from billing.queries.cost_imports import CostsBrought, cost_days, costs_brought
from billing.queries.counting import COUNTED_WITH
from billing.queries.imports import KINDS, read_steadily, recent_imports, request_store
from billing.queries.uploads import why_refused

TITLES: Final[Mapping[str, str]] = {item.name: item.what for item in GUIDE} | {
    "messages_api_log": "Request log",
    "litellm_payload": "LiteLLM payloads",
    "litellm_spend_logs": "LiteLLM spend logs",
    "litellm_daily": "LiteLLM daily tables",
    "messages_batch_results": "Batch results",
    "messages_api_objects": "Messages API answers",
    "messages_api_stream": "Messages API streams",
    "claude_code_events": "Claude Code events",
    "otel_genai_spans": "OpenTelemetry spans",
    "langfuse_observations": "Langfuse observations",
    "helicone_requests": "Helicone requests",
    "anthropic_admin_usage": "Admin usage report",
    "anthropic_analytics_usage": "Analytics usage",
    "console_usage_csv": "Console usage download",
    "anthropic_admin_cost": "Admin cost report",
    "anthropic_analytics_cost": "Analytics cost",
    "anthropic_enterprise_cost": "Enterprise cost report",
    "console_cost_csv": "Console cost download",
    "focus": "FOCUS bill",
    "aws_cur": "AWS bill",
    "google_billing": "Google Cloud bill",
    "generic_csv": "Table of your own",
    "generic_csv_sums": "Table of your own",
}
_CONFLICT: Final = "--replace"
MODELS_SHOWN: Final = 200
VALUES_SHOWN: Final = 3
_BUCKETED: Final = frozenset({SUMS_NAME, *(item.name for item in BUCKET_FORMATS)})
_REMEMBERED: Final = tuple(switch for switch in SWITCHES if not switch.is_of_file)
_ASKING: Final = {item.name: item.switches for item in RECORD_FORMATS}


@dataclass(frozen=True, slots=True)
class ImportRow:
    """One file of usage or costs (`kind`). Counts are None until its end; `days` are its first and last UTC day."""

    id: int
    file_name: str
    state: str
    format: str
    source: str
    who: str
    created_at: datetime
    finished_at: datetime | None
    size_bytes: int
    accepted: int | None
    duplicates: int | None
    rejected: int | None
    failed_requests: int | None
    days: tuple[date, date] | None
    progress_share: float
    progress_note: str
    remarks: int
    kind: str = "usage"
    why: str = ""
    """Of a refused file, what was wrong first, in a clause."""

    @property
    def is_running(self) -> bool:
        """It waits or runs: its figures will change."""
        return self.state in (Import.State.QUEUED, Import.State.RUNNING)

    @property
    def progress_percent(self) -> int:
        return round(100 * self.progress_share)

    @property
    def unit(self) -> str:
        """What is counted: requests of a log, rows of a report, lines of a cost report or bill."""
        if self.kind == "costs":
            return "lines"
        return "rows" if self.format in _BUCKETED else "requests"

    @property
    def unit_of_accepted(self) -> str:
        """The unit after the number of accepted ones: 1 request, 2 requests."""
        return self.unit.removesuffix("s") if self.accepted == 1 else self.unit


@dataclass(frozen=True, slots=True)
class ModelBrought:
    """What a file brought for one model; requests None = a report does not say."""

    model: str
    requests: int | None
    tokens: int


@dataclass(frozen=True, slots=True)
class ProblemGroup:
    """Rows that are wrong in the same way: where, the first few of their values, and what to do about all of them."""

    field: str
    message: str
    remedy: str
    lines: tuple[int, ...]
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ImportDetail:
    """One import with what it brought, what was wrong, and how to try again."""

    row: ImportRow
    format_title: str
    sha256: str
    started_at: datetime | None
    seconds: float | None
    attempts: int
    choices: tuple[str, ...]
    brought: tuple[ModelBrought, ...]
    findings: tuple[str, ...]
    problems: tuple[Mapping[str, Any], ...]
    error: str
    has_conflict: bool
    again: Mapping[str, str]
    question: str = ""
    """Name of the setting that the file needs and cannot tell (billing/importers/records.py)."""
    costs: CostsBrought | None = None

    @property
    def alike(self) -> tuple[ProblemGroup, ...]:
        """The problems, equal ones together, in the order in which they were met. Line 0 = of the file as a whole."""
        groups: dict[tuple[str, str, str], list[Mapping[str, Any]]] = {}
        for problem in self.problems:
            key = (str(problem.get("field") or ""), str(problem["message"]), str(problem["remedy"]))
            groups.setdefault(key, []).append(problem)
        return tuple(
            ProblemGroup(
                *key,
                lines=tuple(dict.fromkeys(int(one["line"]) for one in found if one.get("line"))),
                values=tuple(dict.fromkeys(str(one["value"]) for one in found if one.get("value")))[:VALUES_SHOWN],
            )
            for key, found in groups.items()
        )

    @property
    def place_word(self) -> str:
        """What the numbers of its problems count: a Parquet file has rows and no lines."""
        return "Row" if any(problem.get("unit") == "row" for problem in self.problems) else "Line"


@dataclass(frozen=True, slots=True)
class SourceAnswer:
    """What a source's files do not tell; value '' = nobody has said it yet."""

    name: str
    title: str
    question: str
    how: str
    choices: tuple[str, ...]
    value: str


@dataclass(frozen=True, slots=True)
class SourceRow:
    """Where usage or costs come from. `gaps` are stretches of days without a row of usage, first and last day."""

    name: str
    is_request_level: bool
    channel: str
    scope: str
    imports: int
    formats: tuple[str, ...]
    days: tuple[date, date] | None
    gaps: tuple[tuple[date, date], ...]
    id: int = 0
    answers: tuple[SourceAnswer, ...] = ()
    holds_costs: bool = False


def import_rows(*, limit: int = 50) -> tuple[ImportRow, ...]:
    """The latest imports, newest first."""
    return tuple(_row(item) for item in recent_imports(limit=limit))


def import_row(*, import_id: int) -> ImportRow | None:
    item = _found(import_id)
    return _row(item) if item is not None else None


def import_detail(*, import_id: int) -> ImportDetail | None:
    item = _found(import_id)
    if item is None:
        return None
    row = _row(item)
    options = item.options or {}
    again = {name: str(options[name]) for name in ("format", "source") if options.get(name)}
    again |= {"all_rows": "1"} if options.get("all_rows") else {}
    again |= {str(name): str(value) for name, value in (options.get("answers") or {}).items()}
    asked = {switch.name for switch in SWITCHES}
    fields = [str(problem.get("field", "")) for problem in item.problems] if item.state == Import.State.FAILED else []
    return ImportDetail(
        row=row,
        format_title=next((one.title for one in ALL_FORMATS if one.name == item.format), TITLES.get(item.format, "")),
        sha256=item.sha256,
        started_at=item.started_at,
        seconds=(item.finished_at - item.started_at).total_seconds()
        if item.finished_at and item.started_at and item.state != Import.State.CANCELLED
        else None,
        attempts=item.attempts,
        choices=tuple(
            words
            for name, words in (
                ("replace", "this file wins"),
                ("good_rows", "only its good rows"),
                ("all_rows", "rows of other services too"),
            )
            if options.get(name)
        ),
        brought=_brought(item),
        findings=tuple(item.findings),
        problems=tuple(item.problems),
        error=item.error,
        has_conflict=any(_CONFLICT in str(problem.get("remedy", "")) for problem in item.problems),
        again=again,
        costs=costs_brought(item),
        question=next((name for name in fields if name in asked and not item.rejected), ""),
    )


def source_rows() -> tuple[SourceRow, ...]:
    """Every source, by name."""
    sources = UsageSource.objects.annotate(
        done=Count("imports", filter=Q(imports__state=Import.State.DONE)),
    ).order_by("name")
    formats: dict[int, set[str]] = defaultdict(set)
    asking: dict[int, set[str]] = defaultdict(set)
    for source_id, name in Import.objects.filter(state=Import.State.DONE).values_list("source_id", "format").distinct():
        if source_id is not None:
            formats[source_id].add(TITLES.get(name, name))
            asking[source_id] |= {switch.name for switch in _ASKING.get(name, ())}
    days = {**cost_days(), **_days_of_sources()}
    return tuple(
        SourceRow(
            name=source.name,
            is_request_level=source.grain == UsageSource.Grain.REQUEST,
            channel=source.channel,
            scope=_scope_words(source),
            imports=source.done,
            formats=tuple(sorted(formats[source.pk])),
            days=(found[0], found[-1]) if (found := days.get(source.pk, [])) else None,
            gaps=gaps(found) if source.grain != UsageSource.Grain.COST else (),
            id=source.pk,
            answers=_answers(source, asking[source.pk]),
            holds_costs=source.grain == UsageSource.Grain.COST,
        )
        for source in sources
    )


def _answers(source: UsageSource, asking: set[str]) -> tuple[SourceAnswer, ...]:
    """Answers that matter to a source: those its formats ask for, and those it holds."""
    return tuple(
        SourceAnswer(
            switch.name,
            switch.title,
            switch.question,
            switch.how,
            switch.choices,
            str(source.settings.get(switch.name) or ""),
        )
        for switch in _REMEMBERED
        if switch.name in asking or source.settings.get(switch.name)
    ) + tuple(
        SourceAnswer(each.name, each.title, each.question, each.how, (), str(source.settings.get(each.name) or ""))
        for each in COUNTED_WITH
        if source.grain != UsageSource.Grain.COST
    )


def gaps(days: Iterable[date]) -> tuple[tuple[date, date], ...]:
    """Stretches without a day between the first and the last, each with both ends.

    >>> gaps([date(2026, 11, 1), date(2026, 11, 2), date(2026, 11, 5)])
    ((datetime.date(2026, 11, 3), datetime.date(2026, 11, 4)),)
    """
    known = sorted(set(days))
    one = timedelta(days=1)
    return tuple((before + one, after - one) for before, after in pairwise(known) if after - before > one)


def _found(import_id: int) -> Import | None:
    return Import.objects.filter(kind__in=KINDS, pk=import_id).select_related("source", "created_by").first()


def _row(item: Import) -> ImportRow:
    counted = item.state in (Import.State.DONE, Import.State.FAILED)
    done = item.state == Import.State.DONE
    period = None
    if item.period_start is not None and item.period_end is not None:
        # A log's end is the instant of its last request, a report's the end of its last bucket, which is outside.
        last = item.period_end - timedelta(microseconds=1) if item.period_end > item.period_start else item.period_end
        period = (item.period_start.astimezone(UTC).date(), last.astimezone(UTC).date())
    return ImportRow(
        id=item.pk,
        file_name=item.file_name,
        state=str(item.state),
        format=item.format,
        source=item.source.name if item.source else str((item.options or {}).get("source") or ""),
        who=item.created_by.get_username() if item.created_by else "",
        created_at=item.created_at,
        finished_at=item.finished_at,
        size_bytes=item.size_bytes,
        accepted=item.accepted if done else None,
        duplicates=item.duplicates if done else None,
        rejected=item.rejected if counted else None,
        failed_requests=item.failed_requests if done and item.kind == "usage" else None,
        days=period,
        progress_share=item.progress_share,
        progress_note=item.progress_note,
        remarks=len(item.findings),
        kind=item.kind,
        why=why_refused(item),
    )


def _brought(item: Import) -> tuple[ModelBrought, ...]:
    if item.state != Import.State.DONE or item.source is None:
        return ()
    if item.source.grain == UsageSource.Grain.REQUEST:
        with request_store().engine(f"page-{item.pk}") as engine:
            models = read_steadily(lambda stored: engine.summary(stored[0]).models if stored else (), only=[item.pk])
        return _largest([ModelBrought(model, int(requests), int(tokens)) for model, requests, tokens in models])
    sums: dict[str, int] = defaultdict(int)
    for model, *counts in UsageRollup.objects.filter(latest_import=item).values_list(
        "model", "uncached_input_tok", "cache_read_tok", "cache_write_5m_tok", "cache_write_1h_tok", "output_tok"
    ):
        sums[model] += sum(counts)
    return _largest([ModelBrought(model, None, tokens) for model, tokens in sorted(sums.items()) if tokens])


def _largest(models: Sequence[ModelBrought]) -> tuple[ModelBrought, ...]:
    """All where they are few; else the largest, and the others in one row, so that the sum stays whole."""
    if len(models) <= MODELS_SHOWN:
        return tuple(models)
    ordered = sorted(models, key=lambda row: (-row.tokens, row.model))
    shown, rest = ordered[:MODELS_SHOWN], ordered[MODELS_SHOWN:]
    known = [row.requests for row in rest if row.requests is not None]
    requests = sum(known) if len(known) == len(rest) else None
    return (*shown, ModelBrought(f"({len(rest):,} other models)", requests, sum(row.tokens for row in rest)))


def _days_of_sources() -> dict[int, list[date]]:
    found: dict[int, list[date]] = defaultdict(list)
    rows = UsageRollup.objects.annotate(day=TruncDate("bucket_start", tzinfo=UTC)).values_list("source_id", "day")
    for source_id, day in rows.distinct().order_by("source_id", "day"):
        found[source_id].append(day)
    return found


def _scope_words(source: UsageSource) -> str:
    if source.grain != UsageSource.Grain.REQUEST:
        return "the organisation, as the provider reports it"
    if not source.scope:
        return "the keys its rows name, else the whole channel"
    pairs = [(str(workspace), str(key)) for workspace, key in source.scope]
    return "; ".join(f"workspace {workspace or 'any'}, API key {key or 'any'}" for workspace, key in pairs)


def imported_period() -> tuple[date, date] | None:
    """First and last day with any imported usage."""
    ends = UsageRollup.objects.aggregate(first=Min("bucket_start"), last=Max("bucket_start"))
    if ends["first"] is None:
        return None
    return ends["first"].astimezone(UTC).date(), ends["last"].astimezone(UTC).date()
