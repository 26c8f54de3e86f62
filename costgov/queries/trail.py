"""The audit trail as people read it: who did what to which object, with what changed."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.core.paginator import Page, Paginator
from django.urls import NoReverseMatch, reverse

from audit.models import AuditEntry
from audit.queries import entries

PER_PAGE = 50
_LONGEST = 300
# Object type: (word, name of its page, what the address is made from)
_OBJECTS: dict[str, tuple[str, str]] = {
    "change_request": ("Change", "change-detail"),
    "policy_version": ("Policy version", "policy-version"),
    "request_class": ("Class", "class-detail"),
    "estate_constraints": ("Constraints", ""),
    "import": ("Usage import", "import-detail"),
    "eval_import": ("Eval import", "eval-import"),
    "eval_run": ("Eval run", "eval-run"),
    "eval_suite_rule": ("Suite rule", ""),
    "work_item": ("Work item", ""),
    "commitment_sizing": ("Commitment sizing", "sizing"),
    "commitment_terms": ("Terms", "terms"),
    "forecast": ("Forecast", ""),
    "price": ("Price", ""),
    "model": ("Model", ""),
    "demo": ("Demo data", ""),
    "organisation": ("Organisation", ""),
    "user": ("Person", ""),
    "api_token": ("API token", ""),
}


@dataclass(frozen=True, slots=True)
class FieldChange:
    """One field of an object before and after; '' where it had or has no value."""

    field: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class TrailLine:
    """One entry. `recorded_at` differs from `at` where the entry tells of an earlier time (a demo's past)."""

    id: int
    at: datetime
    recorded_at: datetime
    who: str
    what: str
    action: str
    object_type: str
    object_id: str
    object_word: str
    object_label: str
    href: str
    note: str
    changes: tuple[FieldChange, ...]
    is_demo: bool


@dataclass(frozen=True, slots=True)
class Choice:
    """An option of a filter, with how many entries it has in all."""

    value: str
    label: str
    count: int


@dataclass(frozen=True, slots=True)
class TrailPage:
    """One page of the trail under its filters; `count` entries match, `in_all` exist."""

    lines: tuple[TrailLine, ...]
    page_obj: Page
    count: int
    in_all: int
    demo_count: int
    objects: tuple[Choice, ...]
    actions: tuple[Choice, ...]
    people: tuple[Choice, ...]
    object_type: str
    object_id: str
    action: str
    person: str
    first_at: datetime | None

    @property
    def is_filtered(self) -> bool:
        return bool(self.object_type or self.object_id or self.action or self.person)


def trail_page(
    *, object_type: str = "", object_id: str = "", action: str = "", person: str = "", number: int = 1
) -> TrailPage:
    """Entries, newest first, fifty a page; a page number beyond the last shows the last."""
    rows = entries(object_type=object_type or None, object_id=object_id or None)
    if action:
        rows = rows.filter(action=action)
    if person:
        rows = rows.filter(actor_name=person)
    found = Paginator(rows, PER_PAGE).get_page(number)
    facts = list(AuditEntry.objects.order_by().values_list("object_type", "action", "actor_name", "is_demo"))
    return TrailPage(
        lines=tuple(_line(row) for row in found.object_list),
        page_obj=found,
        count=found.paginator.count,
        in_all=len(facts),
        demo_count=sum(is_demo for *_, is_demo in facts),
        objects=_choices((fact[0] for fact in facts), _object_word),
        actions=_choices((fact[1] for fact in facts), action_words),
        people=_choices((fact[2] for fact in facts), str),
        object_type=object_type,
        object_id=object_id,
        action=action,
        person=person,
        first_at=AuditEntry.objects.order_by("at").values_list("at", flat=True).first(),
    )


def action_words(action: str) -> str:
    """policy.approved → Policy approved."""
    return action.replace(".", " ").replace("_", " ").capitalize()


def field_changes(before: Any, after: Any) -> tuple[FieldChange, ...]:
    """Fields that differ, in the order in which they were recorded. Values that are no object are one field."""
    old, new = _as_fields(before), _as_fields(after)
    names = list(dict.fromkeys([*new, *old]))
    return tuple(
        FieldChange(name.replace("_", " "), _said(old.get(name)), _said(new.get(name)))
        for name in names
        if old.get(name) != new.get(name)
    )


def _as_fields(value: Any) -> Mapping[str, Any]:
    if value is None:
        return {}
    return value if isinstance(value, Mapping) else {"value": value}


def _said(value: Any) -> str:
    """A JSON value in words; long ones are cut, the API has them whole."""
    if value is None or value == "" or value == [] or value == {}:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list) and all(isinstance(item, str | int | float) for item in value):
        said = ", ".join(map(str, value))
    elif isinstance(value, list | dict):
        said = json.dumps(value, ensure_ascii=False)
    else:
        said = str(value)
    return said if len(said) <= _LONGEST else f"{said[: _LONGEST - 1]}…"


def _line(row: AuditEntry) -> TrailLine:
    return TrailLine(
        id=row.pk,
        at=row.at,
        recorded_at=row.recorded_at,
        who=row.actor_name,
        what=action_words(row.action),
        action=row.action,
        object_type=row.object_type,
        object_id=row.object_id,
        object_word=_object_word(row.object_type),
        object_label=row.object_label,
        href=_href(row),
        note=row.note,
        changes=field_changes(row.before, row.after),
        is_demo=row.is_demo,
    )


def _object_word(object_type: str) -> str:
    known = _OBJECTS.get(object_type)
    return known[0] if known is not None else object_type.replace("_", " ").capitalize()


def _href(row: AuditEntry) -> str:
    """The page of the object, '' where there is none."""
    _, name = _OBJECTS.get(row.object_type, ("", ""))
    if not name:
        return ""
    try:
        return reverse(name, args=[row.object_id])
    except NoReverseMatch:
        return ""


def _choices(values: Any, words: Any) -> tuple[Choice, ...]:
    counts: dict[str, int] = {}
    for value in values:
        counts[value] = counts.get(value, 0) + 1
    return tuple(sorted((Choice(value, words(value), count) for value, count in counts.items()), key=_by_label))


def _by_label(choice: Choice) -> str:
    return choice.label.lower()
