"""Work items of classes: what is opened for runs that look broken, and closing one with a note."""

from datetime import datetime

from django.contrib.auth.models import AbstractBaseUser
from django.db import transaction

from audit import operations as audit
from audit.roles import Right, require
from routing.models import WorkItem

MOST_NOTE = 2_000


class ItemRefused(Exception):
    """An item that cannot be closed; the message says why and what to do."""


@transaction.atomic
def close_work_item(*, actor: AbstractBaseUser | None, item_id: int, note: str, as_of: datetime) -> WorkItem:
    """Close an item with what came of it. What it was about opens another only after it has been over.

    Raises ItemRefused (no such item, no note, closed already), Forbidden.
    """
    require(actor, Right.JUDGE_EVIDENCE)
    said = note.strip()
    if not said:
        raise ItemRefused("Say what came of it: a note is what others find later.")
    if len(said) > MOST_NOTE:
        raise ItemRefused(f"The note has {len(said):,} characters; at most {MOST_NOTE:,} are kept.")
    item = WorkItem.objects.select_for_update(of=("self",)).select_related("request_class").filter(pk=item_id).first()
    if item is None:
        raise ItemRefused(f"There is no work item number {item_id}.")
    if item.closed_at is not None:
        raise ItemRefused(f"Work item {item_id} was closed on {item.closed_at:%d %b %Y} already: {item.closing_note}")
    item.closed_at, item.closed_by_id, item.closing_note = as_of, actor.pk if actor is not None else None, said
    item.save(update_fields=["closed_at", "closed_by", "closing_note"])
    audit.record(
        actor=actor,
        action="work_item.closed",
        object_type="work_item",
        object_id=item.pk,
        object_label=f"{item.request_class.slug}: {item.get_kind_display()}",
        before={"text": item.text, "opened_at": item.opened_at.isoformat()},
        after={"note": said},
        note=said,
        as_of=as_of,
    )
    return item
