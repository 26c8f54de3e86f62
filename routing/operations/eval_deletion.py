"""Delete what an eval import brought. Its entry stays, with what went in sums, and so do the verdicts written down."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.contrib.auth.models import AbstractBaseUser
from django.db import connection, transaction

from audit import operations as audit
from audit.roles import Right, require
from routing.models import EvalImport, EvalRun, EvalRunPart
from routing.operations.eval_findings import settle_broken_runs
from routing.operations.eval_runs import MOST_REASON
from routing.operations.evidence_changed import evidence_changed
from routing.operations.judging_lock import lock_judging


class EvalDeletionRefused(Exception):
    """An import that cannot be deleted; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class DeletedEvals:
    """What went: runs and results, and the classes whose verdicts were judged again."""

    import_id: int
    file_name: str
    runs: int
    results: int
    classes: tuple[str, ...]


@transaction.atomic
def delete_eval_import(*, actor: AbstractBaseUser | None, import_id: int, reason: str, as_of: datetime) -> DeletedEvals:
    """Remove every run and result of a file, also of runs that were moved; verdicts and work items follow at once.

    The entry stays with the state *deleted* and keeps its place in the order of imports: the same bytes imported again
    take that place, so that nobody's rerun becomes the first score by deleting what came before and bringing it back
    (docs/decisions/first-score-counts.md). Results that later files also held were left out of those and go too.
    Raises Forbidden, EvalImport.DoesNotExist, EvalDeletionRefused (no reason, not ended, brought nothing, deleted).
    """
    require(actor, Right.DELETE_DATA)
    said = reason.strip()
    if not said:
        raise EvalDeletionRefused("Say why this import is deleted: whoever misses its results must find out.")
    if len(said) > MOST_REASON:
        raise EvalDeletionRefused(f"The reason has {len(said):,} characters; at most {MOST_REASON:,} are kept.")
    # Its key stays free: whoever moves a run of it looks at that when they commit, and may hold the run we wait for.
    row = EvalImport.objects.select_for_update(no_key=True).get(pk=import_id)
    _check_deletable(row)
    ids = [run.pk for run in EvalRun.objects.select_for_update().filter(eval_import=row).order_by("pk")]
    lock_judging()  # after the runs: whoever sets one aside holds it and waits for this lock
    runs = list(EvalRun.objects.filter(pk__in=ids).select_related("request_class").order_by("pk"))
    went = sums_of(runs)
    _delete(runs)
    slugs = sorted({run.request_class.slug for run in runs})
    for class_id in sorted({run.request_class_id for run in runs}):
        settle_broken_runs(class_id, as_of=as_of)
    row.state, row.deleted_at, row.deletion_reason = EvalImport.State.DELETED, as_of, said
    row.deleted_by_id, row.deleted_runs = actor.pk if actor is not None else None, went
    row.save(update_fields=["state", "deleted_at", "deleted_by", "deletion_reason", "deleted_runs"])
    evidence_changed(slugs=slugs, as_of=as_of)
    done = DeletedEvals(row.pk, row.file_name, len(runs), sum(run.results for run in runs), tuple(slugs))
    audit.record(
        actor=actor,
        action="evals.import_deleted",
        object_type="eval_import",
        object_id=row.pk,
        object_label=row.file_name,
        before={"sha256": row.sha256, "cases": row.cases, "runs": went[:100]},
        after={"state": row.state, "runs": done.runs, "results": done.results, "classes": slugs},
        note=said,
        as_of=as_of,
    )
    return done


def _check_deletable(row: EvalImport) -> None:
    name = f"Import {row.pk} ({row.file_name})"
    if not row.is_finished:
        raise EvalDeletionRefused(f"{name} is still being imported: cancel it, or wait until it has ended.")
    if row.state == EvalImport.State.DELETED:
        who = row.deleted_by.get_username() if row.deleted_by is not None else "a command"
        raise EvalDeletionRefused(
            f"{name} was deleted on {row.deleted_at:%d %b %Y} by {who} already: {row.deletion_reason}"
        )
    if row.state != EvalImport.State.DONE:
        raise EvalDeletionRefused(f"{name} was {row.get_state_display().lower()}: nothing of it was kept.")


def sums_of(runs: Sequence[EvalRun]) -> list[dict[str, Any]]:
    """What runs hold, a line per run and model, as it is kept after they are gone."""
    by_id = {run.pk: run for run in runs}
    found: dict[tuple[int, str], dict[str, Any]] = {}
    for part in EvalRunPart.objects.filter(run_id__in=list(by_id)).order_by("run_id", "model", "pk"):
        run = by_id[part.run_id]
        line = found.setdefault(
            (part.run_id, part.model),
            {
                "class": run.request_class.slug,
                "suite": f"{run.suite}@{run.suite_version}",
                "run_at": run.run_at.isoformat(),
                "model": part.model,
                "results": 0,
                "scored": 0,
                "passed": 0,
            },
        )
        for name in ("results", "scored", "passed"):
            line[name] += getattr(part, name)
    return list(found.values())


def _delete(runs: Sequence[EvalRun]) -> None:
    ids = [run.pk for run in runs]
    with connection.cursor() as cursor:  # a million rows are not read to be deleted
        cursor.execute("DELETE FROM routing_evalcase WHERE run_id = ANY(%s)", [ids])
    EvalRun.objects.filter(pk__in=ids).delete()
