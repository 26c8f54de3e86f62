"""Models: give a name its meaning, place a model in a tier."""

from dataclasses import dataclass
from datetime import UTC, datetime

from django.contrib.auth.models import AbstractBaseUser
from django.db import connection, transaction

from audit import operations as audit
from audit.roles import Right, require
from billing.core.models import MODEL_TIERS, canonical_model, model_family, name_forms
from billing.models import ModelAlias, ModelRelease, UsageRollup
from billing.operations.import_lease import MERGE_LOCK
from billing.operations.rollups import ClassOfKey, recount_days
from billing.queries.imports import model_aliases


class ModelRefused(ValueError):
    """A name or a tier that cannot be taken; `field` says which, the message what to do."""

    def __init__(self, field: str, message: str) -> None:
        self.field = field
        super().__init__(message)


@dataclass(frozen=True, slots=True)
class AliasAdded:
    """A new name of a model. `days`: how many days of usage were counted again under it."""

    alias: str
    model: str
    days: int


@transaction.atomic
def add_alias(
    *, actor: AbstractBaseUser | None, alias: str, model: str, as_of: datetime, class_of_key: ClassOfKey
) -> AliasAdded:
    """Let a name mean a registered model, for usage of the past and of later imports.

    Days whose usage bears the name are counted again. Raises Forbidden, ModelRefused.
    """
    require(actor, Right.EDIT_PRICES)
    forms = name_forms(alias)
    if not forms:
        raise ModelRefused("alias", "Give the name as the usage spells it, e.g. opus-latest.")
    name = forms[0]
    release = ModelRelease.objects.filter(canonical_id=model.strip()).first()
    if release is None:
        raise ModelRefused("model", f"{model or 'An empty name'} is no registered model: choose one of the list.")
    known = canonical_model(name, names) if (names := model_aliases()) else None
    if known is not None and known.is_known:
        raise ModelRefused("alias", f"{name} means {known.model} already: a name keeps its meaning.")
    ModelAlias.objects.create(alias=name, release=release)
    days = _count_again(name, class_of_key)
    audit.record(
        actor=actor,
        action="model.alias_added",
        object_type="model",
        object_id=release.canonical_id,
        object_label=release.display_name,
        as_of=as_of,
        after={"alias": name, "model": release.canonical_id, "days_counted_again": days},
    )
    return AliasAdded(name, release.canonical_id, days)


def _count_again(name: str, class_of_key: ClassOfKey) -> int:
    # The lock of imports: a merge that began under the old names must not finish over the new count.
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [MERGE_LOCK])
    starts = UsageRollup.objects.filter(model=name).values_list("bucket_start", flat=True)
    days = {start.astimezone(UTC).date() for start in starts.iterator(chunk_size=5_000)}
    recount_days(days=days, class_of_key=class_of_key)
    return len(days)


@transaction.atomic
def place_model(*, actor: AbstractBaseUser | None, model: str, tier: str, as_of: datetime) -> ModelRelease:
    """Put a model in a tier, registering it where nobody has yet. Raises Forbidden, ModelRefused."""
    require(actor, Right.EDIT_PRICES)
    if tier not in MODEL_TIERS:
        raise ModelRefused("tier", f"{tier} is no tier: choose one of {', '.join(MODEL_TIERS)}.")
    named = canonical_model(model, model_aliases())
    if not named.model or named.model.startswith("("):
        raise ModelRefused("model", "Name the model, as the usage spells it.")
    release = ModelRelease.objects.select_for_update().filter(canonical_id=named.model).first()
    before = {"tier": release.tier} if release is not None else None
    if release is None:
        release = ModelRelease.objects.create(
            canonical_id=named.model,
            display_name=named.model,
            family=model_family(named.model),
            tier=tier,
            source=f"placed by {actor.get_username()}" if actor is not None else "placed by the system",
            checked_on=as_of.date(),
        )
    elif release.tier == tier:
        return release
    else:
        release.tier = tier
        release.save(update_fields=["tier"])
    audit.record(
        actor=actor,
        action="model.placed",
        object_type="model",
        object_id=release.canonical_id,
        object_label=release.display_name,
        as_of=as_of,
        before=before,
        after={"tier": tier},
    )
    return release
