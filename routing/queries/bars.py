"""Bars of classes: what each asks now, asked at any instant before, and who changed it."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from routing.core.bars import Bar, BarChange, BarHistory, bar_changes
from routing.models import QualityBar, RequestClass


@dataclass(frozen=True, slots=True)
class BarVersion:
    """One version of a bar: what it asks, who set it and why, and what changed against the version before."""

    version: int
    asked: Bar
    set_at: datetime
    set_by: str
    reason: str
    changes: tuple[BarChange, ...]
    is_in_force: bool


def bar_of(row: RequestClass) -> Bar:
    """The bar in force now, as the class holds it."""
    return _bar(row, row.bar_version)


def bar_histories(rows: Sequence[RequestClass]) -> dict[str, BarHistory]:
    """Every version of the bars of classes, by slug. The newest is the class's own."""
    found: dict[int, list[tuple[datetime, Bar]]] = defaultdict(list)
    for each in QualityBar.objects.filter(request_class__in=rows).order_by("version"):
        found[each.request_class_id].append((each.set_at, _bar(each, each.version)))
    return {row.slug: BarHistory(tuple(found.get(row.pk, ())), bar_of(row)) for row in rows}


def bars_by_version(rows: Collection[RequestClass]) -> dict[tuple[int, int], Bar]:
    """Every version of the bars of classes, by the class's key and the version; the one in force is the class's own."""
    kept = QualityBar.objects.filter(request_class__in={row.pk for row in rows})
    found = {(each.request_class_id, each.version): _bar(each, each.version) for each in kept}
    return found | {(row.pk, row.bar_version): bar_of(row) for row in rows}


def bar_versions(row: RequestClass) -> tuple[BarVersion, ...]:
    """Every version of a class's bar, the newest first."""
    kept = list(QualityBar.objects.filter(request_class=row).select_related("set_by").order_by("version"))
    found = []
    before: Bar | None = None
    for each in kept:
        bar = _bar(each, each.version)
        found.append(
            BarVersion(
                version=each.version,
                asked=bar,
                set_at=each.set_at,
                set_by=each.set_by.get_username() if each.set_by is not None else "",
                reason=each.reason,
                changes=bar_changes(before, bar) if before is not None else (),
                is_in_force=each.version == row.bar_version,
            )
        )
        before = bar
    return tuple(reversed(found))


def _bar(row: RequestClass | QualityBar, version: int) -> Bar:
    return Bar(
        bar=_as_given(row.bar),
        tolerance=_as_given(row.tolerance),
        alpha=_as_given(row.alpha),
        max_age_days=row.max_age_days,
        metric=row.metric,  # type: ignore[arg-type]  # the database holds these words only
        standard=row.standard,  # type: ignore[arg-type]
        margin=None if row.margin is None else _as_given(row.margin),
        min_cases=row.min_cases,
        suites=tuple(row.suites),
        plan=tuple(row.plan_candidates),
        version=version,
    )


def _as_given(share: Decimal | str) -> Decimal:
    """0.95 where 0.950000 is stored."""
    return Decimal(f"{Decimal(share).normalize():f}")
