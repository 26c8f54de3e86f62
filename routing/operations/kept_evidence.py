"""Keep the evidence of classes beside their runs: in the transaction that changes those, and again where it is old."""

from collections.abc import Collection
from datetime import datetime

from django.db import transaction

from routing.models import ClassEvidence, RequestClass
from routing.operations.judging_lock import lock_judging
from routing.queries.bars import bar_of
from routing.queries.case_costs import gathered_costs
from routing.queries.evidence import names_held
from routing.queries.gathering import gathered
from routing.queries.kept_evidence import (
    ALL_TIME,
    asked_of,
    costs_document_of,
    document_of,
    fingerprint_of,
    runs_that_count,
)


@transaction.atomic
def keep_evidence(*, as_of: datetime, slugs: Collection[str] | None = None) -> int:
    """Gather and keep the evidence of classes (all, or those named) whose kept one does not hold any more.

    Returns how many were gathered. All results are in it, also those dated ahead: readers check its newest one.
    """
    lock_judging()
    rows = RequestClass.objects.all() if slugs is None else RequestClass.objects.filter(slug__in=list(slugs))
    classes = {row.slug: row for row in rows}
    asked = {slug: asked_of(bar_of(row)) for slug, row in classes.items()}
    runs = runs_that_count(classes, ALL_TIME)
    prints = {slug: fingerprint_of(runs[slug], asked[slug]) for slug in classes}
    whole = ClassEvidence.objects.filter(request_class__in=classes.values(), costs__isnull=False)
    kept = dict(whole.values_list("request_class__slug", "fingerprint"))
    old = {slug: asked[slug] for slug in classes if kept.get(slug) != prints[slug]}
    named = names_held()
    costs = gathered_costs(asked=old, as_of=ALL_TIME, named=named)
    for slug, found in gathered(asked=old, as_of=ALL_TIME, named=named).items():
        ClassEvidence.objects.update_or_create(
            request_class=classes[slug],
            defaults={
                "fingerprint": prints[slug],
                "summary": document_of(found),
                "costs": costs_document_of(costs[slug], found),
                "computed_at": as_of,
            },
        )
    return len(old)
