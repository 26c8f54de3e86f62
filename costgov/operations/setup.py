"""The first minutes of an installation: its first administrator and its name."""

from datetime import datetime

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.db import connection, transaction

from audit import operations as audit
from audit.roles import Right, Role, require
from billing.models import Organisation
from costgov.models import User

_SETUP_LOCK = 0x5E7


class AlreadySetUp(Exception):
    """Somebody created the first administrator already (perhaps in another tab)."""


def is_set_up() -> bool:
    return get_user_model().objects.exists()


@transaction.atomic
def create_first_administrator(
    *, username: str, password: str, email: str, organisation_name: str, as_of: datetime
) -> User:
    """The first user, an admin, and the organisation's name. Raises AlreadySetUp when any user exists."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_SETUP_LOCK])
    if is_set_up():
        raise AlreadySetUp("An administrator exists already. Log in, or ask them for an account.")
    user = User.objects.create_user(username=username, email=email, password=password, is_staff=True)
    user.groups.add(Group.objects.get(name=Role.ADMIN))
    Organisation.objects.update_or_create(pk=1, defaults={"name": organisation_name})
    audit.record(
        actor=user,
        action="installation.set_up",
        object_type="organisation",
        object_id=1,
        object_label=organisation_name,
        as_of=as_of,
    )
    return user


@transaction.atomic
def save_organisation(
    *,
    actor: User | None,
    name: str,
    baseline_model: str,
    as_of: datetime,
    notice: str | None = None,
    is_demo: bool = False,
) -> Organisation:
    """Name and uniform baseline model of the organisation."""
    require(actor, Right.EDIT_ORGANISATION)
    row, _ = Organisation.objects.select_for_update().get_or_create(pk=1, defaults={"name": name})
    before = {"name": row.name, "baseline_model": row.baseline_model}
    row.name, row.baseline_model = name, baseline_model
    if notice is not None:
        row.notice = notice
    row.save()
    audit.record(
        actor=actor,
        action="organisation.changed",
        object_type="organisation",
        object_id=1,
        object_label=name,
        before=before,
        after={"name": name, "baseline_model": baseline_model},
        as_of=as_of,
        is_demo=is_demo,
    )
    return row


@transaction.atomic
def create_user(
    *, actor: User | None, username: str, password: str, role: Role, as_of: datetime, is_demo: bool = False
) -> User:
    """An account with one role. A second call with the same name changes nothing."""
    require(actor, Right.EDIT_ORGANISATION)
    user, is_new = User.objects.get_or_create(username=username)
    if is_new:
        user.set_password(password)
        user.is_staff = role == Role.ADMIN
        user.save()
        user.groups.add(Group.objects.get(name=role))
        audit.record(
            actor=actor,
            action="user.created",
            object_type="user",
            object_id=user.pk,
            object_label=username,
            after={"role": role},
            as_of=as_of,
            is_demo=is_demo,
        )
    return user
