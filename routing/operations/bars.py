"""Set the quality bar of a class: every change is a version of its own, with who set it and why."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from django.contrib.auth.models import AbstractBaseUser
from django.db import transaction

from audit import operations as audit
from audit.roles import Right, require
from billing.queries.prices import release_facts
from routing.core.bars import METRICS, STANDARDS, Bar, bar_changes
from routing.core.cascade_plan import parse_plan
from routing.core.evidence import suite_filter
from routing.models import QualityBar, RequestClass
from routing.operations.evidence_changed import evidence_changed
from routing.queries.bars import bar_of

_SHARES = ("bar", "tolerance", "alpha", "margin")
_COUNTS = ("max_age_days", "min_cases")
_LISTS = ("suites", "plan")
BAR_FACTS = (*_SHARES, *_COUNTS, "metric", "standard", *_LISTS)
_COLUMN = {"plan": "plan_candidates"}
_MOST_DAYS, _MOST_CASES, _LONGEST = 3_650, 1_000_000, 255


class ClassRefused(Exception):
    """Facts that cannot be saved; the message names field, value and remedy."""


class BarOutdated(ClassRefused):
    """Somebody changed the bar since it was read; the message says who, when and what to do."""


def changed_bar(before: Bar, facts: Mapping[str, Any], *, slug: str) -> Bar:
    """A bar with some facts changed, not saved. Raises ClassRefused with everything that is wrong."""
    unknown = sorted(set(facts) - set(BAR_FACTS))
    wrong = [f"unknown facts {', '.join(unknown)}; known are {', '.join(BAR_FACTS)}"] if unknown else []
    values: dict[str, Any] = {name: getattr(before, name) for name in (*BAR_FACTS, "version")}
    for name, given in facts.items():
        if name in unknown:
            continue
        try:
            values[name] = _read(name, given)
        except ValueError as error:
            wrong.append(str(error))
    bar = Bar(**values)
    if not wrong:
        wrong += bar.problems
        wrong += _strangers(bar, before)
    if wrong:
        raise ClassRefused(f"{slug}: {'; '.join(wrong)}.")
    return bar


def check_of_cascade(row: RequestClass, bar: Bar) -> None:
    """Raises ClassRefused where the suite that judges the check of a stated cascade would count as answers."""
    plan = parse_plan(row.cascade)
    if plan is None or not plan.check_suite:
        return
    name, _, version = plan.check_suite.partition("@")
    if suite_filter(bar.suites)(name, version or "1"):
        raise ClassRefused(
            f"{row.slug}: suite {plan.check_suite} judges the check of its cascade and would be taken for answers: "
            "name the suites that count, without this one."
        )


@transaction.atomic
def set_bar(
    *,
    actor: AbstractBaseUser | None,
    slug: str,
    facts: Mapping[str, Any],
    reason: str,
    as_of: datetime,
    version: int | None = None,
    is_demo: bool = False,
) -> QualityBar:
    """Change some facts of a class's bar; what is not named stays. The same bar again adds no version.

    `version`: of the bar the person read; another one in force means that somebody was faster. Raises Forbidden,
    ClassRefused (BarOutdated where somebody was faster).
    """
    require(actor, Right.EDIT_CLASSES)
    row = RequestClass.objects.select_for_update(no_key=True).filter(slug=slug).first()
    if row is None:
        raise ClassRefused(f"{slug}: no such class is registered. Register it first.")
    check_version(row, version)
    before = bar_of(row)
    bar = changed_bar(before, facts, slug=slug)
    if not bar_changes(before, bar):
        return _current(row, as_of)
    check_of_cascade(row, bar)
    if not reason.strip():
        raise ClassRefused(f"{slug}: say why the bar changes: whoever reads a verdict must know what it was judged by.")
    kept = keep_version(row, before, bar, actor=actor, reason=reason, as_of=as_of)
    row.save(update_fields=[*(_COLUMN.get(name, name) for name in BAR_FACTS), "bar_version"])
    evidence_changed(slugs=[slug], as_of=as_of)
    audit.record(
        actor=actor,
        action="class.bar_set",
        object_type="request_class",
        object_id=slug,
        object_label=row.title,
        before=bar_facts(before),
        after=bar_facts(bar_of(row)),
        note=kept.reason,
        as_of=as_of,
        is_demo=is_demo,
    )
    return kept


def keep_version(
    row: RequestClass, before: Bar | None, bar: Bar, *, actor: AbstractBaseUser | None, reason: str, as_of: datetime
) -> QualityBar:
    """Put a bar into the class (not saved yet) and keep it as the next version. `before` None = the class is new.

    A class from before bars were kept gets its old one as a version first.
    """
    if before is not None and not QualityBar.objects.filter(request_class=row).exists():
        _keep(row, before, before.version, actor=None, reason="As it was before versions were kept.", as_of=as_of)
    for name in BAR_FACTS:
        value = getattr(bar, name)
        setattr(row, _COLUMN.get(name, name), list(value) if name in _LISTS else value)
    row.bar_version = 1 if before is None else before.version + 1
    if row.pk is None:
        row.save()
    return _keep(row, bar, row.bar_version, actor=actor, reason=reason, as_of=as_of)


def check_version(row: RequestClass, version: int | None) -> None:
    """Raises BarOutdated unless the bar in force is the version that was read; None = nobody read one."""
    if version is None or version == row.bar_version:
        return
    latest = QualityBar.objects.filter(request_class=row).select_related("set_by").order_by("-version").first()
    who = latest.set_by.get_username() if latest is not None and latest.set_by is not None else "the system"
    when = f" on {latest.set_at:%d %b %Y, %H:%M} UTC" if latest is not None else ""
    raise BarOutdated(
        f"{row.slug}: nothing was saved. You read version {version} of the bar, and {who} set version "
        f"{row.bar_version}{when}. Open the class again and change that one."
    )


def bar_facts(bar: Bar) -> dict[str, Any]:
    """A bar as the audit keeps it: shares as text, with its version."""
    found: dict[str, Any] = {"bar_version": bar.version}
    for name in BAR_FACTS:
        value = getattr(bar, name)
        kept = f"{value.normalize():f}" if isinstance(value, Decimal) else list(value) if name in _LISTS else value
        found[_COLUMN.get(name, name)] = kept
    return found


def _current(row: RequestClass, as_of: datetime) -> QualityBar:
    """The version in force, kept now where it never was."""
    held = QualityBar.objects.filter(request_class=row, version=row.bar_version).first()
    if held is not None:
        return held
    return _keep(
        row, bar_of(row), row.bar_version, actor=None, reason="As it was before versions were kept.", as_of=as_of
    )


def _keep(
    row: RequestClass, bar: Bar, version: int, *, actor: AbstractBaseUser | None, reason: str, as_of: datetime
) -> QualityBar:
    return QualityBar.objects.create(
        request_class=row,
        version=version,
        **{_COLUMN.get(name, name): _stored(name, getattr(bar, name)) for name in BAR_FACTS},
        reason=reason.strip(),
        set_by=actor,  # type: ignore[misc]  # the one user model
        set_at=as_of,
    )


def _stored(name: str, value: Any) -> Any:
    return list(value) if name in _LISTS else value


def _read(name: str, value: Any) -> Any:
    """A fact as a bar holds it. Raises ValueError in words for one that cannot be read."""
    if name in _SHARES:
        return None if value is None and name == "margin" else _share(name, value)
    if name in _COUNTS:
        return _count(name, value)
    if name in _LISTS:
        found = _texts(name, value)
        return tuple(sorted(found)) if name == "plan" else found
    known = METRICS if name == "metric" else STANDARDS
    if value not in known:
        raise ValueError(f"{name} is {value!r}: choose one of {', '.join(known)}")
    return value


def _share(name: str, value: Any) -> Decimal:
    try:
        found = Decimal(str(value))
    except InvalidOperation as error:
        raise ValueError(f"{name} is {value!r}: give a share as a number, e.g. 0.95") from error
    if isinstance(value, bool) or not found.is_finite():
        raise ValueError(f"{name} is {value!r}: give a share as a number, e.g. 0.95")
    return found


def _count(name: str, value: Any) -> int:
    most = _MOST_DAYS if name == "max_age_days" else _MOST_CASES
    if isinstance(value, bool) or not isinstance(value, int) or value > most:
        raise ValueError(f"{name} is {value!r}: give a whole number up to {most:,}")
    return value


def _texts(name: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not all(isinstance(each, str) for each in value):
        raise ValueError(f"{name} is {value!r}: give a list of names")
    found = tuple(dict.fromkeys(each.strip() for each in value))
    if any(not each or len(each) > _LONGEST for each in found):
        raise ValueError(f"{name} has an empty name or one of more than {_LONGEST} characters: leave it out")
    return found


def _strangers(bar: Bar, before: Bar) -> list[str]:
    """Models of the plan that nobody knows, but those that were planned already."""
    unknown = set(bar.plan) - set(before.plan)
    if not unknown:
        return []
    named = sorted(unknown - set(release_facts()))
    return [f"the plan names {', '.join(named)}: add the model on the Prices page first"] if named else []
