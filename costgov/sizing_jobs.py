"""Size a commitment in the background: one at a time per offer, with progress and an answer a page can show."""

from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from celery.result import AsyncResult
from django.contrib.auth.models import AbstractBaseUser
from django.core.cache import cache

from audit.roles import Right, require

PROGRESS = "PROGRESS"
_AT_MOST_SECONDS = 300  # longer than any sizing; a killed worker blocks a new try for no longer


@dataclass(frozen=True, slots=True)
class SizingJob:
    """How one goes: running (with what it does), done (with the sizing), refused (with why), failed or unknown."""

    state: str
    note: str = ""
    sizing_id: int | None = None


def start_sizing(*, actor: AbstractBaseUser, terms_id: int, include_very_short: bool = False) -> None:
    """Queue it; while one for these terms runs (a double click), nothing more. Raises Forbidden."""
    from costgov.tasks import size_commitment

    require(actor, Right.SIZE_COMMITMENT)
    if sizing_job(terms_id=terms_id).state == "running":
        return
    task_id = f"size-commitment-{uuid4()}"
    cache.set(_key(terms_id), task_id, _AT_MOST_SECONDS)
    size_commitment.apply_async(
        kwargs={"actor_id": actor.pk, "terms_id": terms_id, "include_very_short": include_very_short}, task_id=task_id
    )


def sizing_job(*, terms_id: int) -> SizingJob:
    """The newest job of these terms. Jobs are forgotten after five minutes; sizings are kept for good."""
    task_id = cache.get(_key(terms_id))
    if not task_id:
        return SizingJob("unknown")
    result = AsyncResult(task_id)
    state, info = result.state, result.info
    if state == "SUCCESS":
        answer: dict[str, Any] = info
        if answer["sizing_id"] is None:
            return SizingJob("refused", str(answer["refused"]))
        return SizingJob("done", sizing_id=int(answer["sizing_id"]))
    if state in {"FAILURE", "REVOKED"}:
        return SizingJob("failed")
    return SizingJob("running", str(info["note"]) if state == PROGRESS else "Waiting for a worker")


def _key(terms_id: int) -> str:
    return f"costgov:sizing:{terms_id}"
