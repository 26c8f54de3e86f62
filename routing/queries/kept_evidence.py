"""Evidence that is kept beside the runs it comes from, so that a verdict need not count cases again.

What is kept holds only while the runs that count, the suites and metric of the bar and the names of models are those
it was made from; its fingerprint says so. For anything else, and for the past, evidence is gathered anew: slower, the
same.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from django.db import connection

from routing.core import case_sums
from routing.core.bars import Bar, judge_evidence_by
from routing.core.case_sums import ClassCosts
from routing.core.class_summary import ClassSummary, as_document, of_document
from routing.core.decisions import numbers_of, remember
from routing.core.evalues import MIN_CASES, log_threshold
from routing.core.verdicts import Verdict
from routing.models import ClassEvidence, RequestClass
from routing.queries.bars import bar_histories
from routing.queries.case_costs import gathered_costs
from routing.queries.evidence import ClassVerdicts, names_held
from routing.queries.freshness import model_changes
from routing.queries.gathering import Asked, Gathered, gathered

ALL_TIME = datetime(9999, 1, 1, tzinfo=UTC)
_FORM = 1  # of the summary as JSON: another one is made anew
_RUNS = """
    SELECT c.slug, md5(coalesce(string_agg(r.id::text, ',' ORDER BY r.id), ''))
    FROM routing_requestclass c
    LEFT JOIN routing_evalrun r ON r.request_class_id = c.id AND NOT r.is_live
        AND (r.set_aside_at IS NULL OR r.set_aside_at > %s)
    WHERE c.slug = ANY(%s) GROUP BY c.slug
"""


def class_summaries(*, asked: Mapping[str, Asked], as_of: datetime) -> dict[str, ClassSummary]:
    """Evidence of classes by slug as of an instant: what is kept where it holds, else gathered."""
    named = names_held()
    runs = runs_that_count(asked, as_of)
    found: dict[str, ClassSummary] = {}
    rows = ClassEvidence.objects.filter(request_class__slug__in=list(asked))
    for slug, fingerprint, document in rows.values_list("request_class__slug", "fingerprint", "summary"):
        if fingerprint == fingerprint_of(runs[slug], asked[slug]) and _holds(document, as_of, named):
            found[slug] = of_document(document)
            for counts, numbers in document.get("numbers", ()):
                remember(tuple(counts), numbers)
    missing = {slug: each for slug, each in asked.items() if slug not in found and slug in runs}
    if missing:
        found |= {slug: each.summary for slug, each in gathered(asked=missing, as_of=as_of, named=named).items()}
    return found


def kept_costs(*, asked: Mapping[str, Asked], as_of: datetime) -> dict[str, ClassCosts]:
    """What the cases of classes by slug took and cost as of an instant: what is kept where it holds, else summed."""
    named = names_held()
    runs = runs_that_count(asked, as_of)
    found: dict[str, ClassCosts] = {}
    rows = ClassEvidence.objects.filter(request_class__slug__in=list(asked))
    for slug, fingerprint, document in rows.values_list("request_class__slug", "fingerprint", "costs"):
        if document is None or fingerprint != fingerprint_of(runs[slug], asked[slug]):
            continue
        if _holds(document, as_of, named):
            found[slug] = case_sums.of_document(document)
    missing = {slug: each for slug, each in asked.items() if slug not in found and slug in runs}
    return found | (gathered_costs(asked=missing, as_of=as_of, named=named) if missing else {})


def kept_verdicts(
    *, incumbents: Mapping[str, str], as_of: datetime, slugs: Iterable[str] | None = None
) -> dict[str, ClassVerdicts]:
    """Verdicts of every registered class (or of `slugs`), each by its bar in force at `as_of`; no result is read."""
    rows = RequestClass.objects.all()
    if slugs is not None:
        rows = rows.filter(slug__in=list(slugs))
    classes = list(rows)
    bars, changes = bar_histories(classes), model_changes(as_of=as_of)
    held = {row.slug: bars[row.slug].at(as_of) for row in classes}
    summaries = class_summaries(asked={slug: asked_of(bar) for slug, bar in held.items()}, as_of=as_of)
    found = {}
    for row in classes:
        bar, incumbent = held[row.slug], incumbents.get(row.slug)
        evidence = summaries[row.slug].evidence(incumbent)
        found[row.slug] = ClassVerdicts(
            slug=row.slug,
            title=row.title,
            bar=float(bar.bar),
            tolerance=float(bar.tolerance),
            line=bar.line,
            alpha=float(bar.alpha),
            note=row.note,
            incumbent=incumbent,
            verdicts=judge_evidence_by(bar, evidence, incumbent=incumbent, as_of=as_of, changes=changes),
            asked=bar,
            bars=bars[row.slug],
        )
    return found


def asked_of(bar: Bar) -> Asked:
    return Asked(tuple(bar.suites), bar.metric)


def runs_that_count(slugs: Iterable[str], as_of: datetime) -> dict[str, str]:
    """A digest of the runs of each class that are not set aside by then."""
    with connection.cursor() as cursor:
        cursor.execute(_RUNS, [as_of, list(slugs)])
        return dict(cursor.fetchall())


def fingerprint_of(runs: str, asked: Asked) -> str:
    parts = json.dumps([_FORM, runs, list(asked.suites), asked.metric])
    return hashlib.sha256(parts.encode()).hexdigest()


def document_of(found: Gathered) -> dict[str, Any]:
    """What is kept of gathered evidence."""
    return {**as_document(found.summary), **_made_from(found)}


def costs_document_of(costs: ClassCosts, found: Gathered) -> dict[str, Any]:
    """What is kept of sums that were gathered with this evidence."""
    return {**case_sums.as_document(costs), **_made_from(found)}


def _made_from(found: Gathered) -> dict[str, Any]:
    return {
        "names": [[raw, model, name] for (raw, model), name in sorted(found.names.items())],
        "newest_at": found.newest_at.isoformat() if found.newest_at is not None else None,
    }


def numbers_for(verdicts: Iterable[Verdict]) -> list[list[Any]]:
    """The counts of verdicts with what they were found to show: their bounds take longer than reading everything.

    Of passes and failures against a line; grades and comparisons are computed again.
    """
    found = []
    for each in verdicts:
        if each.cases and each.passes == int(each.passes):
            threshold = log_threshold(each.alpha, each.candidates)
            counts = (each.passes, each.cases, each.line, threshold, max(each.min_cases, MIN_CASES))
            found.append([list(counts), numbers_of(*counts)])
    return found


def _holds(document: Mapping[str, Any], as_of: datetime, named: Callable[[str, str], str]) -> bool:
    """Whether it is of before `as_of` as a whole, and models go by the same names."""
    newest = document["newest_at"]
    if newest is not None and datetime.fromisoformat(newest) >= as_of:
        return False
    return all(named(raw, model) == name for raw, model, name in document["names"])
