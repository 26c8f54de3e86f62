"""Background work: each task takes ids, keyword-only, and makes one domain call."""

import structlog
from celery import shared_task
from django.utils import timezone

from billing.importers.base import ImportRefused
from billing.operations.imports import ImportBusy, unfinished_imports
from costgov.operations import usage

logger = structlog.get_logger(__name__)


@shared_task(name="costgov.import_usage_file", acks_late=True)
def import_usage_file(*, import_id: int) -> str:
    """Carry out one queued import. A refusal is an answer, written in the import, not a failure of the task."""
    try:
        return usage.run_queued_import(import_id=import_id, as_of=timezone.now()).state
    except ImportRefused as refusal:
        logger.info("usage import refused", import_id=import_id, problems=refusal.count)
        return "failed"
    except ImportBusy:
        return "busy"


@shared_task(name="costgov.requeue_unfinished_imports")
def requeue_unfinished_imports() -> list[int]:
    """Queue again every unfinished import that nobody works on; called at worker start and each minute."""
    ids = unfinished_imports()
    for import_id in ids:
        import_usage_file.delay(import_id=import_id)
    return ids
