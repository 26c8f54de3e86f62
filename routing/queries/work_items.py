"""Work items and the records of verdicts, as pages, commands and the API show them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Count, F, Q, QuerySet

from billing.queries.series import ModelName, model_name, model_names
from routing.core.bars import Bar
from routing.models import VerdictRecord, WorkItem
from routing.queries.bars import bar_of, bars_by_version

MOST_SHOWN = 500


@dataclass(frozen=True, slots=True)
class WorkItemRow:
    """One thing about a class somebody has to look at, or had to.

    `before`, `after`: the evidence then and now (status, passes, cases, lower, upper …), None where there is none.
    `run_ids`: runs that look broken. `rollback_policy`, `rollback_version`: what an alarm
    proposes to go back to. `closed_by` is '' while it is open; `resolved_itself`: nobody had to close it.
    """

    id: int
    slug: str
    class_title: str
    model: str
    name: str
    kind: str
    kind_text: str
    text: str
    remedy: str
    concerns: str
    before: Mapping[str, Any] | None
    after: Mapping[str, Any] | None
    run_ids: tuple[int, ...]
    import_id: int | None
    opened_at: datetime
    closed_at: datetime | None
    closed_by: str
    closing_note: str
    resolved_itself: bool
    rollback_policy: str = ""
    rollback_version: int | None = None

    @property
    def is_open(self) -> bool:
        return self.closed_at is None


@dataclass(frozen=True, slots=True)
class WorkItems:
    """Items, open ones first, newest first; `open_count` over all of the selection, `hidden` beyond those listed."""

    items: tuple[WorkItemRow, ...]
    open_count: int
    closed_count: int
    hidden: int


@dataclass(frozen=True, slots=True)
class VerdictChange:
    """A verdict as it was written down, newest first. Rates are shares in 0..1; `lower` None before 30 cases.

    `line` None where the bar of then asked for a comparison alone; `margin`: how much worse a model might be, None
    where none was asked for. `difference` to what served then, and its bounds: None as well where no case was run on
    both.
    """

    at: datetime
    slug: str
    class_title: str
    model: str
    name: str
    status: str
    previous_status: str
    stale: bool
    serves: bool
    passes: float
    cases: int
    line: float | None
    lower: float | None
    upper: float
    margin: float | None
    difference: float | None
    difference_lower: float | None
    difference_upper: float | None
    bar_version: int
    epoch: str
    reason: str
    import_id: int | None


def work_items(
    *, slug: str = "", model: str = "", kind: str = "", with_closed: bool = False, most: int = MOST_SHOWN
) -> WorkItems:
    """Items of all classes, or of one class, model or kind."""
    rows = _selected(slug, model, kind)
    counts = rows.order_by().aggregate(open=Count("id", filter=Q(closed_at=None)), all=Count("id"))
    listed = counts["all"] if with_closed else counts["open"]
    names = model_names()
    found = [_row(row, names) for row in _listed(rows, with_closed=with_closed)[:most]]
    return WorkItems(tuple(found), counts["open"], counts["all"] - counts["open"], listed - len(found))


def every_work_item(
    *, slug: str = "", model: str = "", kind: str = "", with_closed: bool = False
) -> Iterator[WorkItemRow]:
    """The items that `work_items` lists, without its bound: read as they are handed out."""
    names = model_names()
    for row in _listed(_selected(slug, model, kind), with_closed=with_closed).iterator(chunk_size=2_000):
        yield _row(row, names)


def _selected(slug: str, model: str, kind: str) -> QuerySet[WorkItem]:
    named = {"request_class__slug": slug, "model": model, "kind": kind}
    rows = WorkItem.objects.select_related("request_class", "closed_by")
    return rows.filter(**{field: value for field, value in named.items() if value})


def _listed(rows: QuerySet[WorkItem], *, with_closed: bool) -> QuerySet[WorkItem]:
    shown = rows if with_closed else rows.filter(closed_at=None)
    return shown.order_by(F("closed_at").desc(nulls_first=True), "-opened_at", "-id")


def work_item(*, item_id: int) -> WorkItemRow | None:
    """One item; None where there is none of that number."""
    row = WorkItem.objects.select_related("request_class", "closed_by").filter(pk=item_id).first()
    return _row(row, model_names()) if row is not None else None


def _row(row: WorkItem, names: dict[str, ModelName]) -> WorkItemRow:
    return WorkItemRow(
        id=row.pk,
        slug=row.request_class.slug,
        class_title=row.request_class.title,
        model=row.model,
        name=model_name(names, row.model).name if row.model else "",
        kind=row.kind,
        kind_text=row.get_kind_display(),
        text=row.text,
        remedy=row.remedy,
        concerns=row.concerns,
        before=row.details.get("before"),
        after=row.details.get("after"),
        run_ids=tuple(row.details.get("runs", ())),
        import_id=row.details.get("eval_import"),
        opened_at=row.opened_at,
        closed_at=row.closed_at,
        closed_by=row.closed_by.get_username() if row.closed_by is not None else "",
        closing_note=row.closing_note,
        resolved_itself=row.resolved_itself,
        rollback_policy=row.details.get("rollback_policy", ""),
        rollback_version=row.details.get("rollback_version"),
    )


def open_item_count() -> int:
    """How many items are open, of all classes."""
    return WorkItem.objects.filter(closed_at=None).count()


def open_items_by_class() -> dict[str, int]:
    """How many items are open, per class that has one."""
    found = WorkItem.objects.filter(closed_at=None).order_by().values("request_class__slug").annotate(count=Count("id"))
    return {row["request_class__slug"]: row["count"] for row in found}


def verdict_changes(
    *, slug: str = "", model: str = "", import_id: int | None = None, most: int = MOST_SHOWN
) -> tuple[VerdictChange, ...]:
    """What verdicts were over time, newest first: of a class, of one of its models, or those one import changed."""
    rows = VerdictRecord.objects.select_related("request_class")
    if slug:
        rows = rows.filter(request_class__slug=slug)
    if model:
        rows = rows.filter(model=model)
    if import_id is not None:
        rows = rows.filter(eval_import=import_id)
    names = model_names()
    shown = list(rows[:most])
    bars = bars_by_version({row.request_class for row in shown})
    return tuple(
        _verdict_change(row, names, bars.get((row.request_class_id, row.bar_version)) or bar_of(row.request_class))
        for row in shown
    )


def _verdict_change(row: VerdictRecord, names: dict[str, ModelName], asked: Bar) -> VerdictChange:
    return VerdictChange(
        at=row.at,
        slug=row.request_class.slug,
        class_title=row.request_class.title,
        model=row.model,
        name=model_name(names, row.model).name,
        status=row.status,
        previous_status=row.previous_status,
        stale=row.stale,
        serves=row.serves,
        passes=row.passes,
        cases=row.cases,
        line=row.line if asked.asks_for_line else None,
        lower=row.lower,
        upper=row.upper,
        margin=None if asked.margin is None or asked.standard == "absolute" else float(asked.margin),
        difference=row.difference,
        difference_lower=row.difference_lower,
        difference_upper=row.difference_upper,
        bar_version=row.bar_version,
        epoch=row.epoch,
        reason=row.reason,
        import_id=row.eval_import_id,
    )
