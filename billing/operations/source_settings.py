"""Answers to what files do not tell: given with a file, remembered on its source, changed there by people."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from django.contrib.auth.models import AbstractBaseUser
from django.db import connection, transaction

from audit import operations as audit
from audit.roles import Right, require
from billing.core.usage import DEFAULT_WORKSPACE, NOT_GROUPED
from billing.importers.base import ImportRefused, sound
from billing.importers.records import SWITCHES, Learned, Switch, Unanswered
from billing.models import Import, UsageSource
from billing.operations.import_lease import MERGE_LOCK
from billing.operations.rollups import ClassOfKey, recount_days
from billing.queries.column_mappings import is_read_with_today
from billing.queries.counting import COUNTED_WITH, days_with_usage

READ_WITH: Final = "read_with"
REMEMBERED: Final = tuple(switch for switch in SWITCHES if not switch.is_of_file)
_LONGEST: Final = 120


class BadAnswer(ValueError):
    """A setting that does not exist, or a value it cannot have; the message says what is accepted."""


def read_answers(given: Mapping[str, str]) -> dict[str, str]:
    """Answers in their usual form, empty ones left out. Raises BadAnswer.

    >>> read_answers({"input_includes_cache": "Yes", "at": ""})
    {'input_includes_cache': 'yes'}
    """
    known = {switch.name: switch for switch in SWITCHES}
    found = {}
    for name, value in given.items():
        if not value.strip():
            continue
        if name not in known:
            raise BadAnswer(f"there is no setting {name[:40]!r}; there are {', '.join(known)}")
        try:
            found[name] = known[name].read(value)
        except ValueError as error:
            raise BadAnswer(str(error)) from error
    return found


def settings_for(
    switches: Sequence[Switch], source: UsageSource, given: Mapping[str, str], *, file_name: str
) -> dict[str, str]:
    """What a format is told about one file: its source's answers and those given with it.

    Raises ImportRefused where they contradict each other: one source is read one way.
    """
    try:
        answers = read_answers(given)
    except BadAnswer as error:
        raise ImportRefused.because(file_name, str(error), "Correct the answer and import the file again") from error
    found = {}
    for switch in switches:
        held = str(source.settings.get(switch.name) or "") if not switch.is_of_file else ""
        said = answers.get(switch.name, "")
        if held and said and held != said:
            raise ImportRefused.because(
                file_name,
                f"source {source.name!r} says {held}",
                "Leave the answer out, change it for the source on the Imports page, or give the files another source",
                field=switch.name,
                value=said,
            )
        if held or said:
            found[switch.name] = said or held
    return found


def refusal_of(unanswered: Unanswered, source: UsageSource, *, file_name: str) -> ImportRefused:
    """The question as a refusal."""
    return ImportRefused(file_name, [unanswered.problem(source.name)])


def remember(source: UsageSource, read_with: Mapping[str, str], *, learned: Sequence[Learned]) -> list[str]:
    """Keep on the source what its file was read with. Returns what to tell about it. Call inside the transaction."""
    kept = {switch.name for switch in REMEMBERED}
    new = {name: value for name, value in read_with.items() if name in kept and source.settings.get(name) != value}
    if not new:
        return []
    source.settings = {**source.settings, **new}
    source.save(update_fields=["settings"])
    because = {item.name: item.because for item in learned}
    titles = {switch.name: switch.title for switch in REMEMBERED}
    return [
        f"{titles[name]}: {value}, "
        + (f"found out from the file ({because[name]})" if name in because else "as was said")
        + f"; remembered for source {source.name}."
        for name, value in new.items()
    ]


def is_read_alike(held: Import) -> bool:
    """Whether an import would be read the same way today: its source's answers may have been changed since."""
    read_with = (held.options or {}).get(READ_WITH) or {}
    settings: Mapping[str, Any] = held.source.settings if held.source is not None else {}
    return all(settings.get(name, value) == value for name, value in read_with.items()) and is_read_with_today(
        held.options or {}
    )


def set_source_setting(
    *,
    actor: AbstractBaseUser | None,
    source_id: int,
    name: str,
    value: str,
    as_of: datetime,
    class_of_key: ClassOfKey = lambda channel, workspace, api_key, day: "",
) -> UsageSource:
    """Change an answer of a source; '' forgets it. Files imported before keep their reading unless imported again.

    What says how rows are counted (COUNTED_WITH) holds at once: every day whose hours are kept is counted anew.
    Raises Forbidden, BadAnswer, UsageSource.DoesNotExist.
    """
    require(actor, Right.IMPORT_USAGE)
    counted_with = {item.name for item in COUNTED_WITH}
    if name in counted_with:
        answer = sound(value).strip()
        if len(answer) > _LONGEST or answer in (NOT_GROUPED, DEFAULT_WORKSPACE):
            raise BadAnswer(f"{name}: give the id as the provider writes it, at most {_LONGEST} characters")
    elif name in {switch.name for switch in REMEMBERED}:
        answer = read_answers({name: value}).get(name, "")
    else:
        known = ", ".join([*(item.name for item in REMEMBERED), *(item.name for item in COUNTED_WITH)])
        raise BadAnswer(f"a source has no setting {name[:40]!r}; it has {known}")
    with transaction.atomic():
        source = UsageSource.objects.select_for_update().get(pk=source_id)
        before = str(source.settings.get(name) or "")
        if before == answer:
            return source
        source.settings = {key: item for key, item in source.settings.items() if key != name}
        if answer:
            source.settings[name] = answer
        source.save(update_fields=["settings"])
        if name in counted_with:
            # The lock of imports: one that began before must not finish over the new count.
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_xact_lock(%s)", [MERGE_LOCK])
            recount_days(days=days_with_usage(), class_of_key=class_of_key)
        audit.record(
            actor=actor,
            action="usage.source_setting_changed",
            object_type="usage_source",
            object_id=source.pk,
            object_label=source.name,
            as_of=as_of,
            before={name: before or None},
            after={name: answer or None},
        )
    return source
