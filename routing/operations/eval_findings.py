"""Look at new runs for what is broken about them, keep the findings, and open a work item on their class."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import asdict
from datetime import datetime

from django.db import connection

from routing.core.run_checks import Finding, ModelOfRun, findings_of_run
from routing.models import EvalRun, EvalRunPart, WorkItem
from routing.operations.judging_lock import lock_judging

_MOST_SAID = 20
_MODELS = """
    SELECT run_id, model, count(*), count(score), coalesce(sum(score), 0), coalesce(bool_and(score IN (0, 1)), true),
           sum(hashtext(sample_id)::bigint)::text
    FROM (SELECT run_id, model, sample_id, CASE WHEN count(*) = 1 THEN min(score) ELSE avg(score) END AS score
          FROM routing_evalcase WHERE run_id = ANY(%s) GROUP BY run_id, model, sample_id COLLATE "C", sample_id) cases
    GROUP BY run_id, model
"""
_ITEMS = """
    SELECT run_id, count(DISTINCT sample_id COLLATE "C") FROM routing_evalcase WHERE run_id = ANY(%s) GROUP BY run_id
"""


def flag_runs(runs: Sequence[EvalRun], *, as_of: datetime) -> tuple[str, ...]:
    """What looks broken about the new runs of an import, as sentences; kept with each run. Inside its transaction.

    Samples of live traffic are not looked at: each model serves other requests, at a rate that may change.
    """
    runs = [run for run in runs if not run.is_live]
    if not runs:
        return ()
    by_run, differing = _models_of([run.pk for run in runs])
    items = _items_of(differing)
    earlier = _earlier(runs)
    said: list[str] = []
    flagged: dict[int, list[EvalRun]] = defaultdict(list)
    for run in runs:
        models = by_run[run.pk]
        findings = findings_of_run(
            models,
            items=items.get(run.pk, max(own.items for own in models.values())),
            earlier={model: earlier[run.pk, model] for model in models if (run.pk, model) in earlier},
        )
        if findings:
            run.findings = [asdict(finding) for finding in findings]
            flagged[run.request_class_id].append(run)
            said += [_sentence(run, finding) for finding in findings]
    EvalRun.objects.bulk_update([run for some in flagged.values() for run in some], ["findings"])
    if flagged:
        lock_judging()  # before the items: whoever holds them while it judges takes it first
    for some in flagged.values():
        if counting := [run for run in some if run.set_aside_at is None]:
            _open_item(counting, as_of)
    return tuple(said[:_MOST_SAID])


def look_again(run: EvalRun, *, as_of: datetime) -> None:
    """Flag a run anew, under the class it was moved to: it is compared with other runs there."""
    run.findings = []
    run.save(update_fields=["findings"])
    flag_runs([run], as_of=as_of)


def _sentence(run: EvalRun, finding: Finding) -> str:
    return f"{run.request_class.slug}, {run.suite}@{run.suite_version}: {finding.text}. {finding.remedy}."


def _models_of(run_ids: Collection[int]) -> tuple[dict[int, dict[str, ModelOfRun]], set[int]]:
    """What runs hold of each model, and the runs whose models did not run the same cases (by a sum over their ids)."""
    modes: dict[tuple[int, str], set[str]] = defaultdict(set)
    parts = EvalRunPart.objects.filter(run_id__in=list(run_ids)).order_by()
    for run_id, model, mode in parts.values_list("run_id", "model", "mode").distinct():
        modes[run_id, model].add(mode)
    found: dict[int, dict[str, ModelOfRun]] = defaultdict(dict)
    sets: dict[int, set[tuple[int, str]]] = defaultdict(set)
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL work_mem = '128MB'")
        cursor.execute(_MODELS, [list(run_ids)])
        for run_id, model, items, scored, total, is_pass_fail, ids in cursor.fetchall():
            sets[run_id].add((items, ids))
            own = ModelOfRun(items, scored, total, is_pass_fail, tuple(sorted(modes[run_id, model])))
            found[run_id][model] = own
    differing = {run_id for run_id, each in sets.items() if len(each) > 1}
    return {run_id: dict(sorted(models.items())) for run_id, models in found.items()}, differing


def _items_of(run_ids: Collection[int]) -> dict[int, int]:
    if not run_ids:
        return {}
    with connection.cursor() as cursor:
        cursor.execute(_ITEMS, [list(run_ids)])
        return dict(cursor.fetchall())


def _earlier(runs: Sequence[EvalRun]) -> dict[tuple[int, str], tuple[str, ModelOfRun]]:
    """Per new run and model the earlier run it is compared with: the largest of the same class, suite and version, in
    the same modes, that is neither set aside nor looks broken itself."""
    own = {(run.request_class_id, run.suite, run.suite_version): run.pk for run in runs}
    new = [run.pk for run in runs]
    wanted: dict[tuple[int, str], set[tuple[str, str]]] = defaultdict(set)
    for run_id, model, mode, prompt in EvalRunPart.objects.filter(run_id__in=new).values_list(
        "run_id", "model", "mode", "prompt_version"
    ):
        wanted[run_id, model].add((mode, prompt))
    best: dict[tuple[int, str], tuple[int, int, str]] = {}
    rows = (
        EvalRunPart.objects.filter(
            run__request_class_id__in=list({run.request_class_id for run in runs}),
            run__set_aside_at=None,
            run__is_live=False,
            run__findings=[],
            run__eval_import_id__lt=max(run.eval_import_id for run in runs),
        )
        .exclude(run_id__in=new)
        .values_list(
            "run_id", "run__request_class_id", "run__suite", "run__suite_version", "run__run_at", "model", "mode",
            "prompt_version", "scored",
        )
    )  # fmt: skip
    for run_id, class_id, suite, version, run_at, model, mode, prompt, scored in rows:
        pk = own.get((class_id, suite, version))
        if pk is None or wanted.get((pk, model)) != {(mode, prompt)}:
            continue
        if scored > best.get((pk, model), (0, 0, ""))[0]:
            best[pk, model] = (scored, run_id, f"run {run_id} of {run_at.day} {run_at:%b %Y}")
    held = _models_of({run_id for _, run_id, _ in best.values()})[0] if best else {}
    return {key: (name, held[run_id][key[1]]) for key, (_, run_id, name) in best.items() if key[1] in held[run_id]}


def _open_item(runs: Sequence[EvalRun], as_of: datetime) -> None:
    """One open item per class: later runs that look broken are added to it."""
    request_class = runs[0].request_class
    item = WorkItem.objects.filter(
        request_class=request_class, model="", kind=WorkItem.Kind.RUN_LOOKS_BROKEN, closed_at=None
    ).first()
    item = item or WorkItem(
        request_class=request_class,
        kind=WorkItem.Kind.RUN_LOOKS_BROKEN,
        opened_at=as_of,
        concerns=request_class.quality_owner or "engineers",
        remedy="Look at each run: set it aside if it is broken, else close this item with what you found.",
        details={"runs": []},
    )
    ids = [*item.details.get("runs", []), *(run.pk for run in runs)]
    item.details = {**item.details, "runs": ids, "eval_import": runs[0].eval_import_id}
    item.text = _text(len(ids), ids[0], runs[0])
    item.save()


def _text(count: int, first_id: int, run: EvalRun) -> str:
    what = f"{count:,} runs look broken" if count > 1 else f"Run {first_id} looks broken"
    return f"{what}: {run.suite}@{run.suite_version}: {run.findings[0]['text']}."


def settle_broken_runs(request_class_id: int, *, as_of: datetime) -> None:
    """Bring the item of a class's broken runs up to date: resolve it once none of them counts there any more.

    Inside the transaction that set one aside, moved or deleted it.
    """
    lock_judging()
    item = WorkItem.objects.filter(
        request_class_id=request_class_id, kind=WorkItem.Kind.RUN_LOOKS_BROKEN, closed_at=None
    ).first()
    if item is None:
        return
    named: list[int] = item.details.get("runs", [])
    here = {run.pk: run for run in EvalRun.objects.filter(pk__in=named, request_class_id=request_class_id)}
    left = [pk for pk in named if pk in here]
    counting = [here[pk] for pk in left if here[pk].set_aside_at is None]
    if not counting:
        how = "set aside" if len(left) == len(named) else "set aside, moved or deleted"
        item.closed_at, item.resolved_itself = as_of, True
        item.closing_note = f"Resolved by itself: every run it names is {how}."
        item.save(update_fields=["closed_at", "resolved_itself", "closing_note"])
    elif len(left) < len(named):
        item.details = {**item.details, "runs": left, "eval_import": counting[-1].eval_import_id}
        item.text = _text(len(left), left[0], counting[-1])
        item.save(update_fields=["details", "text"])
