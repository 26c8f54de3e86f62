"""Set a broken eval run aside, or count it again: it stays visible, and adds or stops adding evidence."""

from datetime import datetime
from typing import Any

from django.contrib.auth.models import AbstractBaseUser
from django.db import transaction

from audit import operations as audit
from audit.roles import Right, require
from routing.models import EvalRun
from routing.operations.eval_findings import settle_broken_runs
from routing.operations.evidence_changed import evidence_changed
from routing.operations.judging_lock import lock_judging

MOST_REASON = 2_000


class RunRefused(Exception):
    """A run that cannot be set aside or counted again; the message names it, why and the remedy."""


@transaction.atomic
def set_aside(
    *, actor: AbstractBaseUser | None, run_id: int, reason: str, as_of: datetime, is_demo: bool = False
) -> EvalRun:
    """From `as_of` on the run is no evidence; verdicts of its class follow at once. Undone by `count_again`.

    Raises RunRefused (no such run, no reason, set aside already), Forbidden.
    """
    require(actor, Right.JUDGE_EVIDENCE)
    said = reason.strip()
    if not said:
        raise RunRefused("Say why this run is set aside: whoever reads the verdict must know what is left out.")
    if len(said) > MOST_REASON:
        raise RunRefused(f"The reason has {len(said):,} characters; at most {MOST_REASON:,} are kept.")
    run = locked_run(run_id)
    if run.set_aside_at is not None:
        raise RunRefused(f"{named(run)} was set aside on {run.set_aside_at:%d %b %Y} already: {run.set_aside_reason}")
    lock_judging()
    run.set_aside_at, run.set_aside_by_id, run.set_aside_reason = as_of, actor.pk if actor is not None else None, said
    run.save(update_fields=["set_aside_at", "set_aside_by", "set_aside_reason"])
    settle_broken_runs(run.request_class_id, as_of=as_of)
    evidence_changed(slugs=[run.request_class.slug], as_of=as_of)
    record_step(actor, run, "evals.run_set_aside", as_of, after=facts_of(run), note=said, is_demo=is_demo)
    return run


@transaction.atomic
def count_again(*, actor: AbstractBaseUser | None, run_id: int, as_of: datetime) -> EvalRun:
    """Take back `set_aside`: the run is evidence as if it had never been set aside. Raises RunRefused, Forbidden."""
    require(actor, Right.JUDGE_EVIDENCE)
    run = locked_run(run_id)
    if run.set_aside_at is None:
        raise RunRefused(f"{named(run)} counts already: nothing to take back.")
    before = facts_of(run)
    run.set_aside_at, run.set_aside_by, run.set_aside_reason = None, None, ""
    run.save(update_fields=["set_aside_at", "set_aside_by", "set_aside_reason"])
    evidence_changed(slugs=[run.request_class.slug], as_of=as_of)
    record_step(actor, run, "evals.run_counted_again", as_of, before=before, note=before["reason"])
    return run


def locked_run(run_id: int) -> EvalRun:
    """The run, until the commit for nobody else to change. Raises RunRefused where there is none."""
    # Without its class: a row that was moved while we waited would be lost from a join.
    found = EvalRun.objects.select_for_update().filter(pk=run_id).first()
    if found is None:
        raise RunRefused(f"There is no eval run number {run_id}: see the runs of the class for those there are.")
    return found


def named(run: EvalRun) -> str:
    """'Run 7 (triage@1, 09 Nov 2026)'."""
    return f"Run {run.pk} ({run.suite}@{run.suite_version}, {run.run_at:%d %b %Y})"


def facts_of(run: EvalRun) -> dict[str, Any]:
    """What the audit entry of a step says of the run."""
    return {
        "class": run.request_class.slug,
        "suite": f"{run.suite}@{run.suite_version}",
        "run_at": run.run_at.isoformat(),
        "results": run.results,
        "reason": run.set_aside_reason,
    }


def record_step(actor: AbstractBaseUser | None, run: EvalRun, action: str, as_of: datetime, **said: Any) -> None:
    audit.record(
        actor=actor,
        action=action,
        object_type="eval_run",
        object_id=run.pk,
        object_label=named(run),
        as_of=as_of,
        **said,
    )
