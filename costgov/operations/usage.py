"""Import usage with its classes: billing does the importing, routing's policies say what a request is."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from functools import lru_cache, partial
from itertools import pairwise
from pathlib import Path
from typing import IO, Any, NamedTuple

from celery import current_app
from django.contrib.auth.models import AbstractBaseUser
from django.db import transaction

from audit import operations as audit
from audit.roles import Right, require
from billing.core.column_mapping import ColumnMapping
from billing.importers.base import ImportRefused
from billing.models import ColumnMapping as KeptMapping
from billing.models import UsageSource
from billing.operations import column_mappings, source_settings, upkeep
from billing.operations import imports as billing_imports
from billing.operations.import_many import import_files, passes
from billing.operations.imports import ImportOptions, ImportOutcome
from billing.operations.relabelling import relabel_buckets, relabel_requests
from billing.operations.upkeep import DeletedImport
from billing.store import ClassifyPeriod, ClassifyPlan
from gateway.engine import compile_policy
from gateway.facts import normalise_facts
from routing.queries.classes import MappedClass, class_mappings, class_slugs
from routing.queries.policies import activations_with_documents, policy_document

ENVIRONMENT = "prod"
_FIRST = datetime(1970, 1, 2, tzinfo=UTC)
_END = datetime(9000, 1, 1, tzinfo=UTC)


class NoSuchPolicy(LookupError):
    """There is no policy of that version; the message says what to do."""


class Reclassified(NamedTuple):
    """How many requests, and rows of reports, have another class now."""

    requests: int
    report_rows: int


def classify_plan() -> ClassifyPlan:
    """The class rule (architecture.md §4) as plain values: policies by their time, registered slugs, mappings."""
    active, mappings = activations_with_documents(environment=ENVIRONMENT), class_mappings()
    before = _before_policies(mappings, until=active[0].valid_from if active else _END)
    periods = (_period(item.document, item.version, item.valid_from, item.valid_to) for item in active)
    return ClassifyPlan(class_slugs(), (*before, *periods), _class_of_key(mappings))


def import_usage(
    *,
    actor: AbstractBaseUser | None,
    path: Path,
    as_of: datetime,
    options: ImportOptions | None = None,
    file_name: str = "",
    is_demo: bool = False,
) -> ImportOutcome:
    """Import a file now. Raises ImportRefused, Forbidden."""
    return billing_imports.import_file(
        actor=actor,
        path=path,
        as_of=as_of,
        options=options,
        plan=classify_plan(),
        file_name=file_name,
        is_demo=is_demo,
    )


def import_usage_files(
    *,
    actor: AbstractBaseUser | None,
    files: Sequence[tuple[Path, str]],
    as_of: datetime,
    options: ImportOptions | None = None,
    is_demo: bool = False,
) -> Iterator[tuple[str, ImportOutcome | ImportRefused]]:
    """Import files (path, name to show) now, in their order, small ones together: what came of each, by its name.

    Every file is an import of its own: a refused one leaves the others alone. Raises Forbidden.
    """
    plan = classify_plan()
    chosen = options or ImportOptions()
    for part in passes(files):
        taken = import_files(actor=actor, files=part, as_of=as_of, options=chosen, plan=plan, is_demo=is_demo)
        for place, (path, name) in enumerate(part):
            if (outcome := taken.get(place)) is not None:
                yield name, outcome
                continue
            try:
                yield (
                    name,
                    billing_imports.import_file(
                        actor=actor, path=path, as_of=as_of, options=chosen, plan=plan, file_name=name, is_demo=is_demo
                    ),
                )
            except ImportRefused as refusal:
                yield name, refusal


def import_costs(
    *,
    actor: AbstractBaseUser | None,
    path: Path,
    as_of: datetime,
    options: ImportOptions | None = None,
    file_name: str = "",
    is_demo: bool = False,
) -> ImportOutcome:
    """Import a cost report or bill now; a directory is one delivery. Raises ImportRefused, Forbidden."""
    return billing_imports.import_file(
        actor=actor,
        path=path,
        as_of=as_of,
        options=options,
        plan=classify_plan(),
        file_name=file_name,
        is_demo=is_demo,
        kind=billing_imports.COSTS,
    )


def start_usage_import(
    *,
    actor: AbstractBaseUser | None,
    upload: IO[bytes],
    file_name: str,
    as_of: datetime,
    options: ImportOptions | None = None,
) -> ImportOutcome:
    """Save an upload and queue its import for a worker. Raises Forbidden."""
    return billing_imports.start_import(
        actor=actor, upload=upload, file_name=file_name, as_of=as_of, options=options, enqueue=_enqueue
    )


def describe_table(
    *,
    actor: AbstractBaseUser | None,
    import_id: int,
    mapping: ColumnMapping,
    as_of: datetime,
    seen: str | None = None,
) -> KeptMapping:
    """Keep a mapping and queue the waiting table's import. Raises MappingError, NotWaiting, Forbidden."""
    return column_mappings.describe_table(
        actor=actor, import_id=import_id, mapping=mapping, as_of=as_of, enqueue=_enqueue, seen=seen
    )


def run_queued_import(*, import_id: int, as_of: datetime) -> ImportOutcome:
    """What the task calls. Raises ImportRefused, ImportBusy."""
    return billing_imports.run_import(import_id=import_id, as_of=as_of, plan=classify_plan())


def delete_import(*, actor: AbstractBaseUser | None, import_id: int, as_of: datetime) -> DeletedImport:
    """Remove what one usage import brought. Raises Forbidden, Import.DoesNotExist, DeletionRefused."""
    return upkeep.delete_import(
        actor=actor, import_id=import_id, as_of=as_of, class_of_key=_class_of_key(class_mappings())
    )


def set_source_setting(
    *, actor: AbstractBaseUser | None, source_id: int, name: str, value: str, as_of: datetime
) -> UsageSource:
    """Change what is said of a source. Raises Forbidden, BadAnswer, UsageSource.DoesNotExist."""
    return source_settings.set_source_setting(
        actor=actor,
        source_id=source_id,
        name=name,
        value=value,
        as_of=as_of,
        class_of_key=_class_of_key(class_mappings()),
    )


def reclassify(
    *,
    actor: AbstractBaseUser | None,
    as_of: datetime,
    start: date | None = None,
    end: date | None = None,
    policy_version: int | None = None,
) -> Reclassified:
    """Give stored requests of days [start, end) the class of a named policy, reports that of today's mappings.

    Recorded decisions and registered class tags stay. Without a version the policy now active is taken. Before the
    first activation there is none, and tags and mappings alone decide, of requests too: usage imported before its class
    was registered must reach the class, or no first policy could ever be recommended. Raises NoSuchPolicy, Forbidden.
    """
    require(actor, Right.IMPORT_USAGE)
    named = _named_policy(policy_version)
    since = datetime(start.year, start.month, start.day, tzinfo=UTC) if start else _FIRST
    until = datetime(end.year, end.month, end.day, tzinfo=UTC) if end else _END
    version, mappings = named[0] if named is not None else None, class_mappings()
    periods = (
        (_period(named[1], named[0], since, until),) if named is not None else _before_policies(mappings, until=_END)
    )
    plan = ClassifyPlan(class_slugs(), periods, _class_of_key(mappings))
    with transaction.atomic():
        changed = relabel_requests(plan=plan, period=(since, until))
        buckets = relabel_buckets(plan=plan, period=(since, until))
        audit.record(
            actor=actor,
            action="usage.reclassified",
            object_type="policy_version",
            object_id=version if version is not None else "",
            as_of=as_of,
            after={
                "policy_version": version,
                "from": start.isoformat() if start else None,
                "to": end.isoformat() if end else None,
                "requests_changed": changed,
                "report_rows_changed": buckets,
            },
        )
    return Reclassified(changed, buckets)


def _named_policy(version: int | None) -> tuple[int, Mapping[str, Any]] | None:
    """The policy of that version, else the active one; None where no policy was ever active."""
    if version is None:
        active = activations_with_documents(environment=ENVIRONMENT)
        return (active[-1].version, active[-1].document) if active else None
    document = policy_document(version=version)
    if document is None:
        raise NoSuchPolicy(f"There is no policy version {version}: see the Policy page for those that exist.")
    return version, document


def _period(
    document: Mapping[str, Any], version: int, valid_from: datetime, valid_to: datetime | None
) -> ClassifyPeriod:
    policy = compile_policy(document)
    fields = set(policy.used_fields)
    if "model_family" in fields:
        fields.add("model")  # the family is derived from the model where the log does not tell it

    @lru_cache(maxsize=65_536)
    def cached(facts: tuple[tuple[str, Any], ...]) -> tuple[str | None, str]:
        return policy.classify(dict(facts))

    def classify(raw: Mapping[str, Any]) -> tuple[str | None, str]:
        return cached(tuple(sorted(normalise_facts(raw).items())))

    return ClassifyPeriod(valid_from, valid_to, tuple(sorted(fields)), classify, version)


def _before_policies(mappings: list[MappedClass], *, until: datetime) -> tuple[ClassifyPeriod, ...]:
    """Requests of a time without a policy go by the mapping of their workspace and key, as reports do.

    Else usage that is known from logs alone, without tags, would have no class, and no first policy could be drafted.
    """
    if not mappings:
        return ()
    days = {day for row in mappings for day in (row.valid_from, row.valid_to) if day is not None}
    starts = (datetime(day.year, day.month, day.day, tzinfo=UTC) for day in days)
    cuts = [_FIRST, *sorted(start for start in starts if _FIRST < start < until), until]
    class_of = _class_of_key(mappings)
    return tuple(
        ClassifyPeriod(begin, end, ("workspace", "api_key"), partial(_mapped, class_of, begin.date()), 0)
        for begin, end in pairwise(cuts)
    )


def _mapped(
    class_of: Callable[[str, str, str, date], str], day: date, facts: Mapping[str, Any]
) -> tuple[str | None, str]:
    """A mapping of one channel only is of reports: the facts of a request do not tell theirs."""
    return None, class_of("", str(facts["workspace"] or ""), str(facts["api_key"] or ""), day)


def _class_of_key(mappings: list[MappedClass]) -> Callable[[str, str, str, date], str]:
    @lru_cache(maxsize=65_536)
    def class_of(channel: str, workspace: str, api_key: str, day: date) -> str:
        return next((row.request_class for row in mappings if row.covers(channel, workspace, api_key, day)), "")

    return class_of


def _enqueue(import_id: int) -> None:
    # By name: tasks call operations, never the reverse.
    current_app.send_task("costgov.import_usage_file", kwargs={"import_id": import_id})
