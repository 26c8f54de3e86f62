"""Move a run that was filed under the wrong class to the class its cases belong to; moving it back undoes that."""

from datetime import datetime

from django.contrib.auth.models import AbstractBaseUser
from django.db import transaction

from audit.roles import Right, require
from routing.models import EvalImport, EvalRun, RequestClass
from routing.operations.eval_findings import look_again, settle_broken_runs
from routing.operations.eval_runs import MOST_REASON, RunRefused, facts_of, locked_run, named, record_step
from routing.operations.evidence_changed import evidence_changed
from routing.operations.judging_lock import lock_judging


@transaction.atomic
def move_run(
    *, actor: AbstractBaseUser | None, run_id: int, slug: str, reason: str, as_of: datetime, seen: str = ""
) -> EvalRun:
    """File a run under the class `slug`: it is evidence there as if its file had said so, and none where it was.

    Verdicts and work items of both classes follow at once. A case keeps the place its import has: where the class has
    the same case of a later file, that one becomes the repeat. `seen`: the class whoever asks saw it under, '' = not
    said. Raises RunRefused (no such run or class, no reason, moved meanwhile, its import not ended), Forbidden.
    """
    require(actor, Right.JUDGE_EVIDENCE)
    said = reason.strip()
    if not said:
        raise RunRefused("Say why this run is moved: the verdicts of two classes rest on it.")
    if len(said) > MOST_REASON:
        raise RunRefused(f"The reason has {len(said):,} characters; at most {MOST_REASON:,} are kept.")
    run = locked_run(run_id)
    old = run.request_class
    target = RequestClass.objects.filter(slug=slug).first()
    if target is None:
        raise RunRefused(f"There is no class {slug[:80]!r}: register it first, or see the list of classes.")
    if not EvalImport.objects.filter(pk=run.eval_import_id, state=EvalImport.State.DONE).exists():
        raise RunRefused(f"The file of {named(run)} is still being imported: wait until it has ended.")
    if seen and seen != old.slug:
        raise RunRefused(
            f"{named(run)} is filed under {old.title} by now, not under the class you saw it in: look again before you "
            "move it."
        )
    if target.pk == old.pk:
        raise RunRefused(f"{named(run)} is filed under {old.title} already: nothing to move.")
    before = facts_of(run)
    home = run.filed_under_id or old.pk
    run.request_class = target
    if home == target.pk:
        run.filed_under, run.moved_at, run.moved_by, run.move_reason = None, None, None, ""
    else:
        run.filed_under_id, run.moved_at, run.move_reason = home, as_of, said
        run.moved_by_id = actor.pk if actor is not None else None
    lock_judging()
    run.save(update_fields=["request_class", "filed_under", "moved_at", "moved_by", "move_reason"])
    settle_broken_runs(old.pk, as_of=as_of)
    look_again(run, as_of=as_of)
    evidence_changed(slugs=sorted({old.slug, target.slug}), as_of=as_of)
    record_step(actor, run, "evals.run_moved", as_of, before=before, after=facts_of(run), note=said)
    return run
