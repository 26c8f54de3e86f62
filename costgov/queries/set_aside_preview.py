"""What setting a run aside, or counting it again, would change: judged exactly as it would be, and taken back."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from django.db import transaction

from billing.queries.series import ModelName, model_name
from costgov.queries.class_lines import quality_facts
from costgov.queries.recommendation import NoBaseline, RecommendationView, recommendation_view
from costgov.queries.savings import SavingKinds, saving_kinds
from routing.core.verdicts import Verdict
from routing.models import EvalRun
from routing.queries.evidence import ClassVerdicts


@dataclass(frozen=True, slots=True)
class VerdictStep:
    """The verdict on one model of the class as it is and as it would be. Rates are shares in 0..1."""

    model: str
    name: str
    tier: str
    serves: bool
    status_before: str
    stale_before: bool
    rate_before: float | None
    cases_before: int
    status_after: str
    stale_after: bool
    rate_after: float | None
    cases_after: int
    needed_after: int | None

    @property
    def changes(self) -> bool:
        return (self.status_before, self.stale_before) != (self.status_after, self.stale_after)

    @property
    def moves(self) -> bool:
        """Whether its evidence is another, the verdict the same or not."""
        return self.changes or (self.cases_before, self.rate_before) != (self.cases_after, self.rate_after)


@dataclass(frozen=True, slots=True)
class SavingStep:
    """A kind of saving of the whole estate a month, as it is and as it would be; estimates."""

    kind: str
    before_usd: Decimal
    after_usd: Decimal

    @property
    def change_usd(self) -> Decimal:
        return self.after_usd - self.before_usd


@dataclass(frozen=True, slots=True)
class TargetStep:
    """A class whose recommended model would be another; names as people write them, '' = nothing is recommended."""

    slug: str
    title: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class SetAsidePreview:
    """What a step on a run does. `verdicts`: of its class, what serves first. `no_money`: why savings are not known."""

    run_id: int
    sets_aside: bool
    verdicts: tuple[VerdictStep, ...]
    savings: tuple[SavingStep, ...]
    targets: tuple[TargetStep, ...]
    no_money: str = ""

    @property
    def changed(self) -> tuple[VerdictStep, ...]:
        return tuple(row for row in self.verdicts if row.changes)

    @property
    def saving_changes(self) -> bool:
        return any(row.change_usd for row in self.savings)


@dataclass(frozen=True, slots=True)
class _State:
    """The class and the recommendation at one of the two."""

    verdicts: ClassVerdicts
    names: dict[str, ModelName]
    view: RecommendationView | None
    no_money: str


def set_aside_preview(*, run_id: int, as_of: datetime, sets_aside: bool | None = None) -> SetAsidePreview | None:
    """What would follow from setting the run aside, or counting it again; default: what it is not. Nothing is kept.

    None where there is nothing to ask: no such run, it is so already, or it holds live samples, which are no evidence.
    """
    run = EvalRun.objects.select_related("request_class").filter(pk=run_id, is_live=False).first()
    if run is None:
        return None
    is_aside = run.set_aside_at is not None
    if is_aside == sets_aside:
        return None
    sets_aside = not is_aside
    slug = run.request_class.slug
    before = _state(slug, as_of)
    # The same questions over the runs as they would be: what is kept of evidence is known by its runs, so it is
    # gathered anew here, and nothing of this transaction stays.
    with transaction.atomic():
        EvalRun.objects.filter(pk=run_id).update(**_step_as_kept(sets_aside, as_of))
        after = _state(slug, as_of)
        transaction.set_rollback(True)
    return SetAsidePreview(
        run_id=run_id,
        sets_aside=sets_aside,
        verdicts=_verdicts(before, after),
        savings=_savings(before.view, after.view),
        targets=_targets(before, after),
        no_money=before.no_money or after.no_money,
    )


def _step_as_kept(sets_aside: bool, as_of: datetime) -> dict[str, Any]:
    """The columns of a run set aside just before `as_of`, or counted again."""
    if sets_aside:
        return {"set_aside_at": as_of - timedelta(seconds=1), "set_aside_reason": "asked what it would change"}
    return {"set_aside_at": None, "set_aside_by": None, "set_aside_reason": ""}


def _state(slug: str, as_of: datetime) -> _State:
    facts = quality_facts(as_of=as_of, slug=slug)
    view, reason = None, ""
    try:
        view = recommendation_view(as_of=as_of)
    except NoBaseline as error:
        reason = str(error)
    return _State(facts.verdicts[slug], facts.names, view, reason)


def _verdicts(before: _State, after: _State) -> tuple[VerdictStep, ...]:
    models = {*before.verdicts.verdicts, *after.verdicts.verdicts}
    rows = [_step(model, before, before.verdicts.of(model), after.verdicts.of(model)) for model in models]
    return tuple(sorted(rows, key=lambda row: (not row.serves, row.name, row.model)))


def _step(model: str, state: _State, before: Verdict, after: Verdict) -> VerdictStep:
    named = model_name(state.names, model)
    return VerdictStep(
        model=model,
        name=named.name,
        tier=named.tier,
        serves=model == state.verdicts.incumbent,
        status_before=before.status,
        stale_before=before.stale,
        rate_before=before.pass_rate,
        cases_before=before.cases,
        status_after=after.status,
        stale_after=after.stale,
        rate_after=after.pass_rate,
        cases_after=after.cases,
        needed_after=after.cases_needed,
    )


def _savings(before: RecommendationView | None, after: RecommendationView | None) -> tuple[SavingStep, ...]:
    if before is None or after is None:
        return ()
    old, new = saving_kinds(before), saving_kinds(after)
    return tuple(SavingStep(kind, *_amounts(old, new, name)) for kind, name in _KINDS)


_KINDS = (
    ("Proven", "proven_usd"),
    ("Unproven", "unproven_usd"),
    ("In force", "decided_usd"),
    ("Cost of quality", "quality_usd"),
)


def _amounts(old: SavingKinds, new: SavingKinds, name: str) -> tuple[Decimal, Decimal]:
    return getattr(old, name), getattr(new, name)


def _targets(before: _State, after: _State) -> tuple[TargetStep, ...]:
    if before.view is None or after.view is None:
        return ()
    titles = {row.request_class: row.title for view in (before.view, after.view) for row in view.classes}
    old, new = _models(before.view), _models(after.view)

    def name(model: str) -> str:
        return model_name(before.names, model).name if model else ""

    return tuple(
        TargetStep(slug, title, name(old.get(slug, "")), name(new.get(slug, "")))
        for slug, title in titles.items()
        if old.get(slug) != new.get(slug)
    )


def _models(view: RecommendationView) -> Mapping[str, str]:
    return {row.request_class: row.target for row in view.classes}
