"""Open the work item of an alarm of live samples, keep it up to date, resolve it when it is over."""

from collections.abc import Collection
from dataclasses import asdict
from datetime import UTC, datetime

from billing.queries.series import ModelName, model_name, model_names
from routing.core.monitor import StandingAlarm, alarm_item, month_of, passed_text
from routing.models import EvalImport, EvalRun, RequestClass, WorkItem
from routing.queries.in_force import served_before
from routing.queries.monitors import ClassMonitor, monitors

_KIND = WorkItem.Kind.MONITOR_ALARM
_MONTHS = 2  # an alarm of the last days of a month may be brought in the next one


def settle_monitors(
    *, classes: Collection[RequestClass], as_of: datetime, eval_import: EvalImport | None = None
) -> tuple[int, int]:
    """Evaluate the monitors of classes; how many alarms were opened and resolved. Safe to call again.

    Inside the transaction that judges. An alarm somebody closed does not come back for the same month.
    """
    open_ones = {
        row.request_class_id: row
        for row in WorkItem.objects.filter(request_class__in=classes, kind=_KIND, closed_at=None).order_by("-pk")
    }
    if not open_ones and not EvalRun.objects.filter(is_live=True, request_class__in=classes).exists():
        return 0, 0
    since = min((_month(row) for row in open_ones.values()), default=None)
    found = monitors(as_of=as_of, slugs=[row.slug for row in classes], months=_MONTHS, since=since)
    names = model_names()
    opened = resolved = 0
    for row in classes:
        monitor = found.get(row.slug)
        standing = monitor.standing if monitor is not None else None
        held = open_ones.get(row.pk)
        if held is not None and (standing is None or standing.stretch.model != held.model):
            _resolve(held, monitor, names, as_of)
            resolved, held = resolved + 1, None
        if standing is not None:
            opened += _open(row, held, standing, names, as_of, eval_import)
    return opened, resolved


def _open(
    row: RequestClass,
    held: WorkItem | None,
    standing: StandingAlarm,
    names: dict[str, ModelName],
    as_of: datetime,
    eval_import: EvalImport | None,
) -> int:
    """1 if an item was opened; one that is open is brought up to date."""
    model, key = standing.stretch.model, standing.month.key
    if held is None and _was_answered(row, model, key):
        return 0
    back = served_before(slug=row.slug, model=model, as_of=as_of)
    item = alarm_item(
        model_name(names, model).name,
        standing,
        before=model_name(names, back.model).name if back is not None else "",
        policy_version=back.policy_version if back is not None else None,
    )
    details = {
        "month": key,
        "line": standing.stretch.line,
        "bar_version": standing.stretch.bar_version,
        "alarm": {**asdict(standing.alarm), "at": standing.alarm.at.isoformat()},
        "rollback_model": back.model if back is not None else "",
        "rollback_policy": back.policy if back is not None else "",
        "rollback_version": back.policy_version if back is not None else None,
        "eval_import": eval_import.pk if eval_import is not None else None,
    }
    if held is not None:
        if (held.text, held.remedy) != (item.text, item.remedy):
            details["eval_import"] = details["eval_import"] or held.details.get("eval_import")
            held.text, held.remedy, held.details = item.text, item.remedy, details
            held.save(update_fields=["text", "remedy", "details"])
        return 0
    quality = row.quality_owner or "engineers"
    WorkItem.objects.create(
        request_class=row,
        model=model,
        kind=_KIND,
        text=item.text,
        remedy=item.remedy,
        concerns=f"{quality}, {row.spend_owner or 'procurement'}",
        opened_at=as_of,
        details=details,
    )
    return 1


def _was_answered(row: RequestClass, model: str, key: str) -> bool:
    """Whether somebody closed the alarm of this month: what they said of it holds."""
    rows = WorkItem.objects.filter(request_class=row, model=model, kind=_KIND, closed_at__isnull=False)
    return rows.filter(details__month=key, resolved_itself=False).exists()


def _resolve(held: WorkItem, monitor: ClassMonitor | None, names: dict[str, ModelName], as_of: datetime) -> None:
    held.closed_at, held.resolved_itself = as_of, True
    held.closing_note = f"Resolved by itself: {_why(held, monitor, names)}."
    held.save(update_fields=["closed_at", "resolved_itself", "closing_note"])


def _why(held: WorkItem, monitor: ClassMonitor | None, names: dict[str, ModelName]) -> str:
    """What answered an alarm, in words."""
    if monitor is None:
        return "its live samples are set aside"
    if monitor.model != held.model:
        now = f"{model_name(names, monitor.model).name} serves the class now" if monitor.model else "nothing serves it"
        return f"{now}, {model_name(names, held.model).name} no longer does" if monitor.model else now
    if not monitor.asked.asks_for_line:
        return "the bar asks for no line any more"
    begins = _month(held)
    alarmed = next((month.alarm_on(held.model) for month in monitor.months if month.begins == begins), None)
    if alarmed is None:
        return "later files or runs set aside changed which samples count, and no alarm is left"
    if alarmed.metric != monitor.asked.metric or monitor.asked.line < alarmed.line:
        return "the bar was changed since"
    for month in reversed(monitor.months):
        mine = [each for each in month.stretches if each.model == held.model]
        if month.begins > begins and mine:
            passed = passed_text(sum(each.passes for each in mine), sum(each.samples for each in mine))
            return f"{month.begins:%B %Y} ended without an alarm, {passed}"
    return "no alarm is left"


def _month(row: WorkItem) -> datetime:
    key = row.details.get("month")
    return datetime.strptime(f"{key}-01", "%Y-%m-%d").replace(tzinfo=UTC) if key else month_of(row.opened_at)
