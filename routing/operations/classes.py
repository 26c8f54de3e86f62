"""The register of classes: bars, owners, reuse facts, and which bucketed usage belongs to which class."""

from datetime import date, datetime
from decimal import Decimal
from typing import Any

from django.contrib.auth.models import AbstractBaseUser
from django.core.exceptions import ValidationError
from django.db import transaction

from audit import operations as audit
from audit.roles import Right, require
from billing.queries.prices import release_facts
from routing.core.bars import Bar, bar_changes
from routing.models import BAR_FIELDS, ClassMapping, RequestClass
from routing.operations.bars import ClassRefused as ClassRefused
from routing.operations.bars import changed_bar, check_of_cascade, check_version, keep_version
from routing.operations.evidence_changed import evidence_changed
from routing.queries.bars import bar_of

FACTS = (
    "title",
    "quality_owner",
    "spend_owner",
    *BAR_FIELDS,
    "latency",
    "batchable_share",
    "keeps_own_caching",
    "reuse",
    "allowed_models",
    "required_geo",
    "is_protected",
    "failure_usd",
    "note",
)


@transaction.atomic
def save_class(
    *,
    actor: AbstractBaseUser | None,
    slug: str,
    facts: dict[str, Any],
    as_of: datetime,
    reason: str = "",
    bar_version: int | None = None,
    is_demo: bool = False,
) -> RequestClass:
    """Register a class or change its facts; unknown facts and impossible bars are refused, all at once.

    A bar that changes becomes its next version, with `reason`. `bar_version`: of the bar the person read; BarOutdated
    where another is in force.
    """
    require(actor, Right.EDIT_CLASSES)
    unknown = sorted(set(facts) - set(FACTS))
    if unknown:
        raise ClassRefused(f"{slug}: unknown facts {', '.join(unknown)}; known are {', '.join(FACTS)}.")
    row = RequestClass.objects.select_for_update(no_key=True).filter(slug=slug).first()
    before = _facts(row) if row is not None else None
    held = bar_of(row) if row is not None else None
    if row is not None:
        check_version(row, bar_version)
    row = row or RequestClass(slug=slug, title=slug)
    asked = {"plan" if name == "plan_candidates" else name: facts[name] for name in BAR_FIELDS if name in facts}
    bar = changed_bar(held or Bar(), asked, slug=slug)
    for name, value in facts.items():
        if name not in BAR_FIELDS:
            setattr(row, name, value)
    try:
        row.full_clean()
    except ValidationError as error:
        raise ClassRefused(f"{slug}: " + "; ".join(_explain(error))) from error
    except (ValueError, ArithmeticError) as error:
        raise ClassRefused(f"{slug}: {error}.") from error
    _check_reuse(slug, row.reuse)
    _check_allowed(slug, row.allowed_models, before)
    is_other_bar = held is None or bool(bar_changes(held, bar))
    if is_other_bar:
        check_of_cascade(row, bar)
        keep_version(row, held, bar, actor=actor, reason=reason, as_of=as_of)
    row.save()
    if is_other_bar and held is not None:
        evidence_changed(slugs=[slug], as_of=as_of)
    row.refresh_from_db()  # 0.95 as given is 0.950000 as stored: compare like with like
    after = _facts(row)
    if after != before:
        audit.record(
            actor=actor,
            action="class.registered" if before is None else "class.changed",
            object_type="request_class",
            object_id=slug,
            object_label=row.title,
            before=before,
            after=after,
            note=reason.strip(),
            as_of=as_of,
            is_demo=is_demo,
        )
    return row


@transaction.atomic
def map_usage(
    *,
    actor: AbstractBaseUser | None,
    slug: str,
    as_of: datetime,
    channel: str = "",
    workspace: str = "",
    api_key: str = "",
    valid_from: date | None = None,
    valid_to: date | None = None,
    is_demo: bool = False,
) -> ClassMapping:
    """Say which class the bucketed usage of a workspace and api key belongs to, on days [valid_from, valid_to).

    '' = any, None = open. A mapping of the same key from the same day is replaced. Raises ClassRefused, Forbidden.
    """
    require(actor, Right.EDIT_CLASSES)
    request_class = _registered(slug)
    key = {"channel": channel, "workspace": workspace, "api_key": api_key, "valid_from": valid_from}
    if not (channel or workspace or api_key):
        raise ClassRefused(f"{slug}: a mapping must name a channel, a workspace or an api key.")
    if valid_from is not None and valid_to is not None and valid_from >= valid_to:
        raise ClassRefused(f"{slug}: the mapping ends on {valid_to}, but starts on {valid_from}: end it later.")
    mapping = ClassMapping.objects.filter(**key).select_related("request_class").first()
    before = _mapping(mapping) if mapping is not None else None
    mapping = mapping or ClassMapping(**key)
    mapping.request_class, mapping.valid_to = request_class, valid_to
    mapping.save()
    after = _mapping(mapping)
    if after != before:
        audit.record(
            actor=actor,
            action="class.mapped" if before is None else "class.remapped",
            object_type="request_class",
            object_id=slug,
            object_label=request_class.title,
            before=before,
            after=after,
            as_of=as_of,
            is_demo=is_demo,
        )
    return mapping


@transaction.atomic
def unmap_usage(*, actor: AbstractBaseUser | None, slug: str, mapping_id: int, as_of: datetime) -> None:
    """Take back a mapping. Labels already given stay until usage is reclassified. Raises ClassRefused, Forbidden."""
    require(actor, Right.EDIT_CLASSES)
    request_class = _registered(slug)
    mapping = ClassMapping.objects.filter(pk=mapping_id, request_class=request_class).first()
    if mapping is None:
        raise ClassRefused(f"{slug}: it has no mapping number {mapping_id} (any more). Reload the page.")
    before = _mapping(mapping)
    mapping.delete()
    audit.record(
        actor=actor,
        action="class.unmapped",
        object_type="request_class",
        object_id=slug,
        object_label=request_class.title,
        before=before,
        as_of=as_of,
    )


def _check_reuse(slug: str, reuse: Any) -> None:
    """Reuse facts are priced later: refuse here what could not be."""
    if not isinstance(reuse, dict):
        raise ClassRefused(f"{slug}: reuse is {reuse!r}: give an object of facts, or leave it empty.")
    for name in ("prefix_share", "hit_share_5m", "hit_share_1h"):
        share = reuse.get(name)
        if share is not None and not 0 <= _number(slug, name, share) <= 1:
            raise ClassRefused(f"{slug}: reuse.{name} is {share}: it is a share, from 0 to 1.")
    prefix = reuse.get("prefix_tok")
    if prefix is not None and _number(slug, "prefix_tok", prefix) < 0:
        raise ClassRefused(f"{slug}: reuse.prefix_tok is {prefix}: a number of tokens is 0 or more.")


def _check_allowed(slug: str, allowed: Any, before: dict[str, Any] | None) -> None:
    if not isinstance(allowed, list) or not all(isinstance(each, str) for each in allowed):
        raise ClassRefused(f"{slug}: allowed_models is {allowed!r}: give a list of models, or leave it empty.")
    new = set(allowed) - set(before["allowed_models"] if before is not None else ())
    strangers = sorted(new - set(release_facts())) if new else []
    if strangers:
        raise ClassRefused(f"{slug}: it cannot allow {', '.join(strangers)}: add the model on the Prices page first.")


def _number(slug: str, name: str, value: Any) -> Decimal:
    try:
        found = Decimal(str(value))
    except ArithmeticError as error:
        raise ClassRefused(f"{slug}: reuse.{name} is {value!r}: give a number or leave it out.") from error
    if not found.is_finite():
        raise ClassRefused(f"{slug}: reuse.{name} is {value!r}: give a finite number or leave it out.")
    return found


def _registered(slug: str) -> RequestClass:
    found = RequestClass.objects.filter(slug=slug).first()
    if found is None:
        raise ClassRefused(f"{slug}: no such class is registered. Register it first.")
    return found


def _mapping(row: ClassMapping) -> dict[str, Any]:
    return {
        "class": row.request_class.slug,
        "channel": row.channel,
        "workspace": row.workspace,
        "api_key": row.api_key,
        "valid_from": row.valid_from.isoformat() if row.valid_from else None,
        "valid_to": row.valid_to.isoformat() if row.valid_to else None,
    }


def _facts(row: RequestClass) -> dict[str, Any]:
    names = (*FACTS, "bar_version")
    return {name: str(value) if isinstance(value := getattr(row, name), Decimal) else value for name in names}


def _explain(error: ValidationError) -> list[str]:
    if hasattr(error, "message_dict"):
        return [f"{field}: {' '.join(messages)}" for field, messages in error.message_dict.items()]
    return list(error.messages)
