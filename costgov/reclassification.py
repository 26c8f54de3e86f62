"""Classify stored usage again in the background: one at a time, with an answer a page can show."""

from dataclasses import dataclass
from uuid import uuid4

from celery import current_app
from celery.result import AsyncResult
from django.contrib.auth.models import AbstractBaseUser
from django.core.cache import cache

from audit.roles import Right, require

_KEY = "costgov:reclassify"
_AT_MOST_SECONDS = 3600


@dataclass(frozen=True, slots=True)
class Reclassification:
    """How it goes: running, done (with the number of requests and report rows changed), failed or unknown."""

    task_id: str
    state: str
    changed: int | None = None


def start_reclassification(*, actor: AbstractBaseUser) -> str:
    """Queue it and return its task id; while one runs, that one's (a double click). Raises Forbidden."""
    require(actor, Right.IMPORT_USAGE)
    running = cache.get(_KEY)
    if running and reclassification(task_id=running).state == "running":
        return str(running)
    task_id = f"reclassify-{uuid4()}"
    cache.set(_KEY, task_id, _AT_MOST_SECONDS)
    # By name: views come to us, and views and tasks do not know each other.
    current_app.send_task("costgov.reclassify_usage", kwargs={"actor_id": actor.pk}, task_id=task_id)
    return task_id


def reclassification(*, task_id: str) -> Reclassification:
    """The state of one. Results are kept for a day; afterwards only the audit trail tells."""
    result = AsyncResult(task_id)
    if result.state == "SUCCESS":
        return Reclassification(task_id, "done", int(result.result))
    if result.state in {"FAILURE", "REVOKED"}:
        return Reclassification(task_id, "failed")
    return Reclassification(task_id, "running" if cache.get(_KEY) == task_id else "unknown")
