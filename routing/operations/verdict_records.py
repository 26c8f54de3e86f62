"""Write down verdicts that changed, open work items for what that asks of people, resolve those that are over."""

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from django.db import transaction

from billing.queries.series import ModelName, model_name, model_names
from routing.core.verdicts import Verdict
from routing.core.watching import Item, Seen, drift_item, is_drift, is_worth_recording, seen, standing_items
from routing.models import ClassEvidence, EvalImport, RequestClass, VerdictRecord, WorkItem
from routing.operations.judging_lock import lock_judging
from routing.operations.monitors import settle_monitors
from routing.queries.evidence import ClassVerdicts
from routing.queries.kept_evidence import kept_verdicts, numbers_for
from routing.queries.serving import serving_models


@dataclass(frozen=True, slots=True)
class Recorded:
    """How many verdicts were written down, and work items opened and resolved."""

    verdicts: int
    opened: int
    resolved: int


@transaction.atomic
def record_verdicts(
    *, as_of: datetime, slugs: Collection[str] | None = None, eval_import: EvalImport | None = None
) -> Recorded:
    """Judge classes (all, or those named) and keep what changed since they were last judged. Safe to call again.
    Their live samples are looked at too, which alarms and changes no verdict.

    After each import, when a run is set aside or a bar changes, and daily, because evidence ages by itself.
    """
    lock_judging()
    rows = RequestClass.objects.all() if slugs is None else RequestClass.objects.filter(slug__in=list(slugs))
    classes = {row.slug: row for row in rows}
    serving = serving_models(slugs=classes, as_of=as_of)
    judged = kept_verdicts(incumbents=serving, as_of=as_of, slugs=classes)
    keeper = _Keeper(as_of, eval_import, model_names(), _latest(list(classes.values())), _open_items(classes.values()))
    for slug, row in classes.items():
        keeper.keep(row, judged[slug])
    _keep_numbers(judged)
    done = keeper.finish()
    opened, resolved = settle_monitors(classes=list(classes.values()), as_of=as_of, eval_import=eval_import)
    return Recorded(done.verdicts, done.opened + opened, done.resolved + resolved)


def _keep_numbers(judged: Mapping[str, ClassVerdicts]) -> None:
    """Beside the evidence, what was computed from it: whoever asks next has only to read."""
    changed = []
    for row in ClassEvidence.objects.filter(request_class__slug__in=list(judged)).select_related("request_class"):
        numbers = numbers_for(judged[row.request_class.slug].verdicts.values())
        if row.summary.get("numbers") != numbers:
            row.summary["numbers"] = numbers
            changed.append(row)
    ClassEvidence.objects.bulk_update(changed, ["summary"], batch_size=100)


def _latest(classes: Collection[RequestClass]) -> dict[tuple[int, str], VerdictRecord]:
    found = (
        VerdictRecord.objects.filter(request_class__in=classes)
        .order_by("request_class_id", "model", "-id")
        .distinct("request_class_id", "model")
    )
    return {(row.request_class_id, row.model): row for row in found}


def _open_items(classes: Collection[RequestClass]) -> dict[tuple[int, str, str], WorkItem]:
    kinds = (WorkItem.Kind.VERDICT_CHANGED, WorkItem.Kind.WENT_STALE, WorkItem.Kind.BELOW_BAR)
    found = WorkItem.objects.filter(request_class__in=classes, closed_at=None, kind__in=kinds)
    return {(row.request_class_id, row.model, row.kind): row for row in found}


class _Keeper:
    """Compares what classes show now with what was written down last."""

    def __init__(
        self,
        as_of: datetime,
        eval_import: EvalImport | None,
        names: dict[str, ModelName],
        latest: Mapping[tuple[int, str], VerdictRecord],
        items: dict[tuple[int, str, str], WorkItem],
    ) -> None:
        self.as_of = as_of
        self.eval_import = eval_import
        self.names = names
        self.latest = latest
        self.items = items
        self.records: list[VerdictRecord] = []
        self.opened: list[WorkItem] = []
        self.resolved: list[WorkItem] = []

    def keep(self, row: RequestClass, judged: ClassVerdicts) -> None:
        gone = {model for class_id, model in self.latest if class_id == row.pk} - judged.verdicts.keys()
        for model in sorted({*judged.verdicts, *gone}):
            self._keep(row, model, judged.of(model), serves=model == judged.incumbent)

    def _keep(self, row: RequestClass, model: str, verdict: Verdict, *, serves: bool) -> None:
        held = self.latest.get((row.pk, model))
        before = _seen(held) if held is not None else None
        now = seen(verdict, serves=serves, bar_version=row.bar_version)
        if is_worth_recording(before, now):
            self.records.append(self._record(row, model, verdict, before, now))
        name = model_name(self.names, model).name
        # What was so before and is not open was closed by somebody: it must not come back until it has been over.
        known = {item.kind for item in standing_items(name, before)} if before is not None else set()
        wanted: dict[str, Item] = {
            item.kind: item
            for item in standing_items(name, now, _stale_text(verdict))
            if item.kind not in known or (row.pk, model, item.kind) in self.items
        }
        changed = WorkItem.Kind.VERDICT_CHANGED.value
        open_item = self.items.get((row.pk, model, changed))
        if open_item is not None:
            first = open_item.details.get("before", {})
            if first.get("status") != now.status and first.get("bar_version") == now.bar_version:
                wanted["verdict_changed"] = drift_item(name, Seen(**first), now)
        elif before is not None and is_drift(before, now):
            wanted["verdict_changed"] = drift_item(name, before, now)
        for kind in (changed, WorkItem.Kind.WENT_STALE.value, WorkItem.Kind.BELOW_BAR.value):
            self._settle(row, model, kind, wanted.get(kind), before, now)

    def _settle(
        self, row: RequestClass, model: str, kind: str, item: Item | None, before: Seen | None, now: Seen
    ) -> None:
        """Open what should be open, bring an open one up to date, resolve one that is over."""
        held = self.items.get((row.pk, model, kind))
        if held is not None and item is None:
            held.closed_at, held.resolved_itself = self.as_of, True
            held.closing_note = f"Resolved by itself: {now.text}."
            held.save(update_fields=["closed_at", "resolved_itself", "closing_note"])
            self.resolved.append(held)
        elif held is not None and item is not None:
            if held.text != item.text:
                held.text, held.remedy = item.text, item.remedy
                held.details = {**held.details, "after": asdict(now)}
                held.save(update_fields=["text", "remedy", "details"])
        elif item is not None:
            self.opened.append(
                WorkItem(
                    request_class=row,
                    model=model,
                    kind=kind,
                    text=item.text,
                    remedy=item.remedy,
                    concerns=_concerns(row, now),
                    opened_at=self.as_of,
                    details={
                        "before": asdict(before) if before is not None else None,
                        "after": asdict(now),
                        "eval_import": self.eval_import.pk if self.eval_import is not None else None,
                    },
                )
            )

    def _record(self, row: RequestClass, model: str, verdict: Verdict, before: Seen | None, now: Seen) -> VerdictRecord:
        return VerdictRecord(
            request_class=row,
            model=model,
            at=self.as_of,
            previous_status=before.status if before is not None else "",
            reason=verdict.reason,
            eval_import=self.eval_import,
            **asdict(now),
        )

    def finish(self) -> Recorded:
        VerdictRecord.objects.bulk_create(self.records)
        WorkItem.objects.bulk_create(self.opened)
        return Recorded(len(self.records), len(self.opened), len(self.resolved))


def _seen(row: VerdictRecord) -> Seen:
    return Seen(**{name: getattr(row, name) for name in Seen.__dataclass_fields__})


def _concerns(row: RequestClass, now: Seen) -> str:
    """The owner of its quality; where traffic runs on it, who owns its spend too."""
    quality = row.quality_owner or "engineers"
    return f"{quality}, {row.spend_owner or 'procurement'}" if now.serves else quality


def _stale_text(verdict: Verdict) -> str:
    blocking: Any = [reason.text for reason in verdict.stale_reasons if reason.blocks]
    return "; ".join(blocking)
