"""Mappings that match nothing: a name mistyped, a key gone, a table that never came again."""

from collections.abc import Iterable
from datetime import date

from django.db.models import Max, Min

from billing.core.health import Finding
from billing.core.words import channel_name
from billing.models import CostCentreMapping, DailyUsage
from billing.queries.column_mappings import kept_mappings
from costgov.queries.health.words import link, some
from routing.queries.classes import class_mappings

_Usage = tuple[str, str, str, str, date, date]


def mapping_findings() -> list[Finding]:
    return [*_classes(), *_cost_centres(), *_columns()]


def _classes() -> list[Finding]:
    rows = class_mappings()
    if not rows:
        return []
    used = _keys()
    idle = [
        row
        for row in rows
        if not any(
            _matches((row.channel, row.workspace, row.api_key), key) and _while(row.valid_from, row.valid_to, *key[4:])
            for key in used
        )
    ]
    if not idle:
        return []
    names = some([f"{_place(row.channel, row.workspace, row.api_key)} → {row.request_class}" for row in idle])
    return [
        Finding(
            level="note",
            topic="mappings",
            key="class-mappings",
            title=f"{len(idle)} class {'mappings match' if len(idle) > 1 else 'mapping matches'} no usage",
            text=f"{names}.",
            remedy="Correct the name, or remove what is gone.",
            link=link("classes"),
            action="Open Classes",
        )
    ]


def _cost_centres() -> list[Finding]:
    rows = list(CostCentreMapping.objects.select_related("cost_centre"))
    if not rows:
        return []
    used = _keys(with_class=True)
    idle = [
        row
        for row in rows
        if not any(
            _matches((row.channel, row.workspace, row.api_key), key)
            and row.request_class in ("", key[3])
            and _while(row.valid_from, row.valid_to, *key[4:])
            for key in used
        )
    ]
    if not idle:
        return []
    names = some([f"{_place(row.channel, row.workspace, row.api_key)} → {row.cost_centre.code}" for row in idle])
    return [
        Finding(
            level="note",
            topic="mappings",
            key="cost-centre-mappings",
            title=f"{len(idle)} cost centre {'mappings match' if len(idle) > 1 else 'mapping matches'} no usage",
            text=f"{names}.",
            remedy="Correct the name, or end what is gone.",
            link=link("cost-centres") or link("showback"),
            action="Open cost centres",
        )
    ]


def _columns() -> list[Finding]:
    idle = [item.name for item in kept_mappings() if item.imports == 0]
    if not idle:
        return []
    return [
        Finding(
            level="note",
            topic="mappings",
            key="column-mappings",
            title=f"{len(idle)} column {'mappings have' if len(idle) > 1 else 'mapping has'} read no file",
            text=f"{some(idle)}.",
            remedy="Import a table with such a header, or delete the mapping.",
            link=link("column-mappings"),
            action="Open column mappings",
        )
    ]


def _keys(*, with_class: bool = False) -> list[_Usage]:
    """What usage is told apart by, with its first and last day."""
    names = ["channel", "workspace", "api_key", *(["request_class"] if with_class else [])]
    rows = DailyUsage.objects.values_list(*names).annotate(first=Min("date"), last=Max("date"))
    return [(row[0], row[1], row[2], row[3] if with_class else "", row[-2], row[-1]) for row in rows]


def _matches(wanted: Iterable[str], key: _Usage) -> bool:
    return all(want in ("", have) for want, have in zip(wanted, key[:3], strict=True))


def _while(start: date | None, end: date | None, first: date, last: date) -> bool:
    return (start is None or start <= last) and (end is None or first < end)


def _place(channel: str, workspace: str, api_key: str) -> str:
    told = [name for name in (channel_name(channel), workspace, api_key) if name]
    return " / ".join(told) or "anything"
