"""Cost centres, and which usage each carries from which day on. Every change is audited."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from django.contrib.auth.models import AbstractBaseUser
from django.core.exceptions import ValidationError
from django.db import transaction

from audit import operations as audit
from audit.roles import Right, require
from billing.core.showback import FIELDS, Rule, same_place
from billing.importers.cost_centre_files import CentreLine
from billing.models import CostCentre, CostCentreMapping


class CostCentreRefused(Exception):
    """A cost centre or mapping that cannot be kept; the message names field, value and remedy."""


@dataclass(frozen=True, slots=True)
class CentresImported:
    """What a file changed."""

    centres_new: int
    centres_changed: int
    mappings_new: int
    mappings_changed: int
    unchanged: int


@transaction.atomic
def save_cost_centre(
    *,
    actor: AbstractBaseUser | None,
    code: str,
    as_of: datetime,
    name: str = "",
    team: str = "",
    owner: str = "",
    is_demo: bool = False,
) -> CostCentre:
    """Register a cost centre, or change its facts. Raises CostCentreRefused, Forbidden."""
    require(actor, Right.EDIT_COST_CENTRES)
    row = CostCentre.objects.select_for_update().filter(code=code.strip()).first()
    before = _facts(row) if row is not None else None
    row = row or CostCentre(code=code.strip())
    row.name, row.team, row.owner = name.strip() or row.name or row.code, team.strip(), owner.strip()
    try:
        row.full_clean()
    except ValidationError as error:
        said = "; ".join(f"{field}: {' '.join(texts)}" for field, texts in error.message_dict.items())
        raise CostCentreRefused(f"{code or '(no code)'}: {said}") from error
    row.save()
    after = _facts(row)
    if after != before:
        _record(actor, "cost_centre.registered" if before is None else "cost_centre.changed", row, before, after, as_of,
                is_demo)  # fmt: skip
    return row


@transaction.atomic
def map_costs(
    *,
    actor: AbstractBaseUser | None,
    code: str,
    as_of: datetime,
    channel: str = "",
    workspace: str = "",
    api_key: str = "",
    request_class: str = "",
    valid_from: date | None = None,
    valid_to: date | None = None,
    is_demo: bool = False,
) -> CostCentreMapping:
    """Let a cost centre carry usage on days [valid_from, valid_to). '' = any, None = open.

    A mapping of the same usage from the same day is replaced. Raises CostCentreRefused, also where another cost centre
    already carries exactly this usage on some of these days: end that mapping first.
    """
    require(actor, Right.EDIT_COST_CENTRES)
    centre = _centre(code)
    if valid_from is not None and valid_to is not None and valid_from >= valid_to:
        raise CostCentreRefused(f"{code}: the mapping ends on {valid_to}, but starts on {valid_from}: end it later.")
    key = {
        "channel": channel.strip(),
        "workspace": workspace.strip(),
        "api_key": api_key.strip(),
        "request_class": request_class.strip(),
        "valid_from": valid_from,
    }
    row = CostCentreMapping.objects.select_for_update(of=("self",)).filter(**key).select_related("cost_centre").first()
    before = mapping_facts(row) if row is not None else None
    row = row or CostCentreMapping(**key, created_at=as_of)
    row.cost_centre, row.valid_to = centre, valid_to
    if before is None:
        row.created_by_id = actor.pk if actor is not None else None
    _check_overlap(row)
    row.save()
    after = mapping_facts(row)
    if after != before:
        action = "cost_centre.mapped" if before is None else "cost_centre.remapped"
        _record(actor, action, centre, before, after, as_of, is_demo)
    return row


@transaction.atomic
def unmap_costs(*, actor: AbstractBaseUser | None, mapping_id: int, as_of: datetime, on: date | None = None) -> None:
    """Take back a mapping, or let it end before the day `on`. Raises CostCentreRefused, Forbidden."""
    require(actor, Right.EDIT_COST_CENTRES)
    found = CostCentreMapping.objects.select_for_update(of=("self",)).select_related("cost_centre")
    row = found.filter(pk=mapping_id).first()
    if row is None:
        raise CostCentreRefused(f"There is no mapping number {mapping_id} (any more). Reload the page.")
    before = mapping_facts(row)
    if on is None:
        row.delete()
        _record(actor, "cost_centre.unmapped", row.cost_centre, before, None, as_of)
        return
    if row.valid_from is not None and on <= row.valid_from:
        raise CostCentreRefused(f"The mapping starts on {row.valid_from}: end it later, or remove it.")
    row.valid_to = on
    row.save()
    _record(actor, "cost_centre.remapped", row.cost_centre, before, mapping_facts(row), as_of)


@transaction.atomic
def import_cost_centres(
    *, actor: AbstractBaseUser | None, lines: Sequence[CentreLine], as_of: datetime, is_demo: bool = False
) -> CentresImported:
    """Everything a file says, or nothing of it; what is held already stays. Raises CostCentreRefused with the line."""
    require(actor, Right.EDIT_COST_CENTRES)
    codes = dict(CostCentre.objects.values_list("code", "pk"))
    tally = {"new": 0, "changed": 0, "mapped": 0, "remapped": 0, "same": 0}
    for line in lines:
        try:
            held = CostCentre.objects.filter(code=line.code).first()
            facts = _facts(held) if held is not None else None
            given = {"name": line.name, "team": line.team, "owner": line.owner}
            kept = {name: value or (facts or {}).get(name, "") for name, value in given.items()}
            saved = save_cost_centre(actor=actor, code=line.code, as_of=as_of, is_demo=is_demo, **kept)
            changed = facts != _facts(saved)
            tally["new"] += line.code not in codes and changed
            tally["changed"] += line.code in codes and changed
            mapped = _import_mapping(actor, line, as_of, is_demo) if line.maps else "same"
            tally[mapped] += bool(line.maps) and mapped != "same"
            tally["same"] += not changed and mapped == "same"
        except CostCentreRefused as error:
            raise CostCentreRefused(f"line {line.line}: {error}") from error
    return CentresImported(tally["new"], tally["changed"], tally["mapped"], tally["remapped"], tally["same"])


def _import_mapping(actor: AbstractBaseUser | None, line: CentreLine, as_of: datetime, is_demo: bool) -> str:
    key = {name: getattr(line, name) for name in FIELDS}
    held = CostCentreMapping.objects.filter(**key, valid_from=line.valid_from).select_related("cost_centre").first()
    before = mapping_facts(held) if held is not None else None
    row = map_costs(
        actor=actor,
        code=line.code,
        as_of=as_of,
        valid_from=line.valid_from,
        valid_to=line.valid_to,
        is_demo=is_demo,
        **key,
    )
    if before is None:
        return "mapped"
    return "same" if mapping_facts(row) == before else "remapped"


def _centre(code: str) -> CostCentre:
    row = CostCentre.objects.filter(code=code.strip()).first()
    if row is None:
        raise CostCentreRefused(f"There is no cost centre {code!r}: register it first.")
    return row


def _check_overlap(row: CostCentreMapping) -> None:
    """Two cost centres for the same usage on the same day: neither wins."""
    key = {name: getattr(row, name) for name in FIELDS}
    others = CostCentreMapping.objects.filter(**key).exclude(pk=row.pk).select_related("cost_centre")
    mine = _rule(row)
    for other in (_rule(other) for other in others):
        if same_place([mine, other]):
            until = other.valid_to or "further notice"
            raise CostCentreRefused(
                f"{other.cost_centre} carries {other.words} from {other.valid_from or 'the start'} until {until}: "
                "end that mapping first, or begin this one when it ends."
            )


def _rule(row: CostCentreMapping) -> Rule:
    named = {name: getattr(row, name) for name in FIELDS}
    return Rule(row.cost_centre.code, **named, valid_from=row.valid_from, valid_to=row.valid_to)


def _facts(row: CostCentre) -> dict[str, str]:
    return {"name": row.name, "team": row.team, "owner": row.owner}


def mapping_facts(row: CostCentreMapping) -> dict[str, Any]:
    """What the audit trail keeps of a mapping."""
    return {
        "cost_centre": row.cost_centre.code,
        **{name: getattr(row, name) for name in FIELDS},
        "valid_from": row.valid_from.isoformat() if row.valid_from else None,
        "valid_to": row.valid_to.isoformat() if row.valid_to else None,
    }


def _record(
    actor: AbstractBaseUser | None,
    action: str,
    row: CostCentre,
    before: Any,
    after: Any,
    as_of: datetime,
    is_demo: bool = False,
) -> None:
    audit.record(
        actor=actor,
        action=action,
        object_type="cost_centre",
        object_id=row.code,
        object_label=row.name,
        before=before,
        after=after,
        as_of=as_of,
        is_demo=is_demo,
    )
