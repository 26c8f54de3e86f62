"""What-if price books: keep, change and delete them. They price nothing real, so nobody approves them."""

from datetime import datetime

from django.contrib.auth.models import AbstractBaseUser
from django.db import transaction

from audit import operations as audit
from audit.roles import Right, require
from billing.core.price_scenarios import PriceScenario, ScenarioRefused, scenario_document
from billing.models import PriceScenario as StoredScenario


@transaction.atomic
def save_price_scenario(
    *,
    actor: AbstractBaseUser | None,
    scenario: PriceScenario,
    as_of: datetime,
    scenario_id: int | None = None,
    is_demo: bool = False,
) -> StoredScenario:
    """Keep a scenario, or change the kept one of that id. Raises Forbidden, ScenarioRefused."""
    require(actor, Right.EDIT_PRICES)
    document = scenario_document(scenario)
    row = _locked(scenario_id) if scenario_id is not None else None
    if StoredScenario.objects.filter(name=scenario.title).exclude(pk=row.pk if row is not None else 0).exists():
        raise ScenarioRefused([f"title: there is a scenario {scenario.title!r} already; give another name."])
    before = row.document if row is not None else None
    if row is None:
        row = StoredScenario.objects.create(
            name=scenario.title,
            document=document,
            created_by_id=actor.pk if actor is not None else None,
            created_at=as_of,
        )
    elif before != document:
        row.name, row.document = scenario.title, document
        row.save(update_fields=["name", "document"])
    if before != document:
        audit.record(
            actor=actor,
            action="price_scenario.changed" if before is not None else "price_scenario.created",
            object_type="price_scenario",
            object_id=row.pk,
            object_label=row.name,
            before=before,
            after=document,
            as_of=as_of,
            is_demo=is_demo,
        )
    return row


@transaction.atomic
def delete_price_scenario(*, actor: AbstractBaseUser | None, scenario_id: int, as_of: datetime) -> str:
    """Delete a scenario; forecasts made with it keep their figures. Returns its name. Raises as saving does."""
    require(actor, Right.EDIT_PRICES)
    row = _locked(scenario_id)
    audit.record(
        actor=actor,
        action="price_scenario.deleted",
        object_type="price_scenario",
        object_id=row.pk,
        object_label=row.name,
        before=row.document,
        as_of=as_of,
    )
    row.delete()
    return row.name


def _locked(scenario_id: int) -> StoredScenario:
    row = StoredScenario.objects.select_for_update().filter(pk=scenario_id).first()
    if row is None:
        raise ScenarioRefused(["This scenario is not there any more: it was deleted. Reload the page."])
    return row
