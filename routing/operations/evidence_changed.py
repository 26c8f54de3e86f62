"""What follows when the evidence of classes changed: verdicts are judged again, and work items follow them."""

from collections.abc import Collection
from datetime import datetime

from django.db import transaction

from audit.operations import bump_data_version
from routing.models import EvalImport
from routing.operations.kept_evidence import keep_evidence
from routing.operations.verdict_records import Recorded, record_verdicts


def evidence_changed(*, slugs: Collection[str], as_of: datetime, eval_import: EvalImport | None = None) -> None:
    """Call inside the transaction that changed runs or bars of these classes, before its audit entry."""
    if slugs:
        keep_evidence(slugs=slugs, as_of=as_of)
        record_verdicts(slugs=slugs, as_of=as_of, eval_import=eval_import)


@transaction.atomic
def judge_again(*, as_of: datetime) -> Recorded:
    """Judge every class: evidence ages by itself, and results dated ahead begin to count. Safe to call again."""
    keep_evidence(as_of=as_of)
    done = record_verdicts(as_of=as_of)
    if done.verdicts or done.opened or done.resolved:
        bump_data_version()
    return done
