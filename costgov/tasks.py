"""Background work: each task takes ids, keyword-only, and makes one domain call."""

from typing import Any

import structlog
from celery import Task, shared_task
from django.contrib.auth import get_user_model
from django.core.cache import cache
from django.utils import timezone

from billing.importers.base import ImportRefused
from billing.operations.compaction import compact_store, sweep_store
from billing.operations.imports import ImportBusy, sweep_leftovers, unfinished_imports
from costgov.operations import commitments, usage
from costgov.operations.commitments import SizingRefused
from costgov.pages import now
from costgov.sizing_jobs import PROGRESS
from routing.operations.eval_queue import (
    EvalImportBusy,
    run_eval_import,
    sweep_eval_uploads,
    unfinished_eval_imports,
)
from routing.operations.evidence_changed import judge_again

logger = structlog.get_logger(__name__)
_REQUEUE_SECONDS = 600


@shared_task(name="costgov.import_usage_file", acks_late=True)
def import_usage_file(*, import_id: int) -> str:
    """Carry out one queued import. A refusal is an answer, written in the import, not a failure of the task."""
    try:
        return usage.run_queued_import(import_id=import_id, as_of=now()).state
    except ImportRefused as refusal:
        logger.info("usage import refused", import_id=import_id, problems=refusal.count)
        return "failed"
    except ImportBusy:
        return "busy"


@shared_task(name="costgov.import_eval_file", acks_late=True)
def import_eval_file(*, import_id: int) -> str:
    """Carry out one queued import of eval results. A refusal is written in the import."""
    try:
        return run_eval_import(import_id=import_id, as_of=now())
    except EvalImportBusy:
        return "busy"


@shared_task(name="costgov.requeue_unfinished_imports")
def requeue_unfinished_imports(*, at_start: bool = False) -> list[int]:
    """Queue again every unfinished import that nobody works on; called at worker start and each minute.

    An import that only waits its turn behind a long one is queued again once in ten minutes, not each minute.
    """
    ids = [
        import_id
        for import_id in unfinished_imports()
        if cache.add(f"costgov:requeued:{import_id}", 1, _REQUEUE_SECONDS) or at_start
    ]
    for import_id in ids:
        import_usage_file.delay(import_id=import_id)
    for import_id in unfinished_eval_imports():
        if cache.add(f"costgov:requeued-evals:{import_id}", 1, _REQUEUE_SECONDS) or at_start:
            import_eval_file.delay(import_id=import_id)
    return ids


@shared_task(name="costgov.sweep_leftovers")
def sweep_import_leftovers() -> int:
    """Delete uploaded files whose import has ended or never began."""
    at = timezone.now()  # beside the times of files, which know no frozen clock
    return sweep_leftovers(as_of=at) + sweep_eval_uploads(as_of=at)


@shared_task(name="costgov.tidy_request_store", acks_late=True)
def tidy_request_store() -> dict[str, int]:
    """Make many small files one, then delete what nobody reads. Never forgets anything: retention is a command."""
    done = compact_store(as_of=now())
    return {"files_before": done.files_before, "files_after": done.files_after, "deleted": sweep_store()}


@shared_task(name="costgov.reclassify_usage", acks_late=True)
def reclassify_usage(*, actor_id: int) -> int:
    """Classify stored usage again; the number of requests and report rows whose class changed."""
    return sum(usage.reclassify(actor=get_user_model().objects.get(pk=actor_id), as_of=now()))


@shared_task(name="costgov.size_commitment", acks_late=True, bind=True)
def size_commitment(self: Task, *, actor_id: int, terms_id: int, include_very_short: bool = False) -> dict[str, Any]:
    """Size kept terms; the number of the sizing, or why there is none. A refusal is an answer, not a failure."""
    try:
        sizing = commitments.size_commitment(
            actor=get_user_model().objects.get(pk=actor_id),
            as_of=now(),
            terms_id=terms_id,
            include_very_short=include_very_short,
            progress=lambda note: self.update_state(state=PROGRESS, meta={"note": note}),
        )
    except SizingRefused as refused:
        return {"sizing_id": None, "refused": str(refused)}
    return {"sizing_id": sizing.pk, "refused": ""}


@shared_task(name="costgov.record_verdicts", acks_late=True)
def record_changed_verdicts() -> dict[str, int]:
    """Evidence ages without an import: what changed is written down, work items are opened and resolved."""
    done = judge_again(as_of=now())
    return {"verdicts": done.verdicts, "opened": done.opened, "resolved": done.resolved}
