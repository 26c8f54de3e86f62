"""The case for a policy: what it does to each class, what that saves, and how good the evidence is.

From a recommendation, fresh or frozen into a change: the same value either way.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from billing.core.money import round_usd
from billing.queries.series import ModelName, model_name, model_names
from costgov.jsonin import Unreadable, read
from costgov.model_words import in_words
from costgov.queries.recommendation import (
    ClassRow,
    MissingRow,
    OptionRow,
    RecommendationView,
    UnsolvedRow,
    VerdictRow,
    order_free_usd,
    per_month,
    per_month_in_cents,
)

_LEVER_WORDS = {"routing": "Routing", "caching": "Caching", "batch": "Batch"}


@dataclass(frozen=True, slots=True)
class MoveRow:
    """What happens to one class. Money is an estimate per month at today's prices; None = no claim is made."""

    request_class: str
    title: str
    note: str
    is_move: bool
    before: str
    before_tier: str
    after: str
    after_tier: str
    levers: str
    cost_share: float | None
    now_usd: Decimal | None
    after_usd: Decimal | None
    saving_usd: Decimal | None
    change: float | None
    reason: str
    is_assumed: bool
    reuse_is_assumed: bool
    is_proven: bool


@dataclass(frozen=True, slots=True)
class EvidenceRow:
    """How good a model is at a class, and what part it plays in the change."""

    request_class: str
    title: str
    note: str
    model: str
    tier: str
    part: str
    verdict: VerdictRow


@dataclass(frozen=True, slots=True)
class LeverStep:
    """One step of the way from the uniform baseline to the recommendation; cents that sum exactly.

    `cost_usd`: the bill a month after this step. `shapley_usd`: the same total split without an order.
    """

    label: str
    cost_usd: Decimal
    saving_usd: Decimal | None
    shapley_usd: Decimal | None


@dataclass(frozen=True, slots=True)
class MissingEvidence:
    """A cheaper model that only lacks cases, and what proving it is worth a month."""

    request_class: str
    title: str
    model: str
    tier: str
    cases_needed: int | None
    verdict_text: str
    saving_usd: Decimal


@dataclass(frozen=True, slots=True)
class Case:
    """The case for a policy, from a recommendation (fresh or frozen). Money per month, estimates."""

    recommendation: RecommendationView
    baseline: str
    now_usd: Decimal
    after_usd: Decimal
    saving_usd: Decimal
    saving_share: float | None
    proven_usd: Decimal
    unproven_usd: Decimal
    moves: tuple[MoveRow, ...]
    evidence: tuple[EvidenceRow, ...]
    steps: tuple[LeverStep, ...]
    missing: tuple[MissingEvidence, ...]
    unsolved: tuple[UnsolvedRow, ...]
    is_what_is_recommended: bool

    @property
    def moved(self) -> tuple[MoveRow, ...]:
        return tuple(row for row in self.moves if row.is_move)

    @property
    def notes(self) -> tuple[tuple[str, str], ...]:
        """(class, what is to be known about it), for classes that have a note."""
        return tuple((row.title, row.note) for row in self.moves if row.note)

    @property
    def proven_moves(self) -> int:
        return sum(row.is_proven for row in self.moved)

    @property
    def proven_share(self) -> float:
        return float(self.proven_usd / self.saving_usd) if self.saving_usd > 0 else 0.0

    @property
    def proven_percent(self) -> float:
        return round(100 * self.proven_share, 1)

    @property
    def unproven_percent(self) -> float:
        return round(100 - self.proven_percent, 1)


def frozen_case(evidence: Mapping[str, Any], document: Mapping[str, Any]) -> tuple[Case | None, str]:
    """The case frozen into a change, or None and why there is none."""
    try:
        view = read(RecommendationView, evidence)
    except Unreadable as error:
        missing = evidence.get("missing")
        return None, str(missing) if missing else f"The evidence of this change is not a recommendation ({error})."
    return case_of(view, document), ""


def case_of(view: RecommendationView, document: Mapping[str, Any]) -> Case:
    """What a document does to each class, by the figures of a recommendation.

    A saving is claimed only where the document gives a class what is recommended: model, caching and batch.
    """
    names = model_names()
    targets = {slug: assignment["target"]["model"] for slug, assignment in document["assignments"].items()}
    followed = {
        row.request_class: _follows(row, document["assignments"].get(row.request_class), view.levers)
        for row in view.classes
    }
    saving = round_usd(view.saving_usd_per_month)
    now_by_class = per_month_in_cents({row.request_class: row.current_cost_usd for row in view.classes}, view.days)
    now = sum(now_by_class.values(), Decimal(0))
    moves = tuple(
        _move(
            row,
            targets.get(row.request_class),
            view,
            names,
            now=now_by_class[row.request_class],
            is_recommended=followed[row.request_class],
        )
        for row in view.classes
    )
    unproven = sum((row.saving_usd for row in moves if row.saving_usd and not row.is_proven), Decimal(0))
    return Case(
        recommendation=view,
        baseline=model_name(names, view.baseline_model).name,
        now_usd=now,
        after_usd=now - saving,
        saving_usd=saving,
        saving_share=float(saving / now) if now else None,
        proven_usd=saving - unproven,
        unproven_usd=unproven,
        moves=moves,
        evidence=_evidence(view, targets, names),
        steps=lever_steps(view, after_usd=now - saving),
        missing=tuple(_missing(row, view, names) for row in view.missing_evidence),
        unsolved=view.unsolved,
        is_what_is_recommended=all(followed.values()),
    )


def lever_steps(view: RecommendationView, *, after_usd: Decimal) -> tuple[LeverStep, ...]:
    """The bill a month after each lever, rounded once per level: the savings are differences of what is shown,
    so they sum to the whole exactly."""
    level = round_usd(per_month(view.total.uniform_cost_usd, view.days))
    order_free = order_free_usd(view, level - after_usd)
    steps = [LeverStep("uniform", level, None, None)]
    cost = view.total.uniform_cost_usd
    for index, part in enumerate(view.total.parts):
        cost -= part.saving_usd
        is_last = index == len(view.total.parts) - 1
        below = after_usd if is_last else round_usd(per_month(cost, view.days))
        steps.append(LeverStep(_LEVER_WORDS[part.lever], below, level - below, order_free[part.lever]))
        level = below
    return tuple(steps)


# -- parts -----------------------------------------------------------------------------------------------------


def _follows(row: ClassRow, assignment: Mapping[str, Any] | None, levers: tuple[str, ...]) -> bool:
    """Whether an assignment is what the recommendation says of the class."""
    if assignment is None:
        return False
    target = assignment["target"]
    cache = target.get("cache", {})
    ttl = cache.get("ttl", "5m") if cache.get("mode") == "auto" else ""
    wanted_ttl = row.caching if "caching" in levers and row.caching in {"5m", "1h"} else ""
    in_batch = target.get("batch", "no") == "preferred"
    return (
        (target["model"] or row.incumbent) == row.target
        and ttl == wanted_ttl
        and in_batch == ("batch" in levers and row.batch_share > 0)
    )


def _move(
    row: ClassRow,
    target: str | None,
    view: RecommendationView,
    names: dict[str, ModelName],
    *,
    now: Decimal,
    is_recommended: bool,
) -> MoveRow:
    model = target or row.incumbent
    before, after = model_name(names, row.incumbent), model_name(names, model)
    saving = round_usd(row.saving_usd_per_month) if is_recommended else None
    verdict = _verdict_of(row, model)
    return MoveRow(
        request_class=row.request_class,
        title=row.title,
        note=row.note,
        is_move=model != row.incumbent,
        before=before.name,
        before_tier=before.tier,
        after=after.name,
        after_tier=after.tier,
        levers=_lever_words(row) if is_recommended else "",
        cost_share=float(row.current_cost_usd / view.current_cost_usd) if view.current_cost_usd else None,
        now_usd=now,
        after_usd=now - saving if saving is not None else None,
        saving_usd=saving,
        change=float(-saving / now) if saving is not None and now else None,
        reason=in_words(row.reason, names) if is_recommended else _otherwise(row, model, names),
        is_assumed=row.is_assumed and is_recommended,
        reuse_is_assumed=row.reuse_is_assumed and is_recommended,
        is_proven=(
            model == row.incumbent or (verdict is not None and verdict.status == "clears" and not row.is_assumed)
        )
        and not (row.reuse_is_assumed and is_recommended),
    )


def _otherwise(row: ClassRow, model: str, names: dict[str, ModelName]) -> str:
    if model != row.target:
        return f"Not what was recommended: that is {model_name(names, row.target).name}"
    levers = _lever_words(row)
    return f"Without what was recommended: {levers}" if levers else "With settings that were not recommended"


def _lever_words(row: ClassRow) -> str:
    words = {"5m": ["5-minute caching"], "1h": ["1-hour caching"], "own": ["its own caching"]}.get(row.caching, [])
    if row.batch_share > 0:
        words = [*words, f"{row.batch_share * 100:.0f}% in batch"]
    return ", ".join(words)


def _verdict_of(row: ClassRow, model: str) -> VerdictRow | None:
    return next((option.verdict for option in row.options if option.model == model), None)


def _evidence(
    view: RecommendationView, targets: Mapping[str, str | None], names: dict[str, ModelName]
) -> tuple[EvidenceRow, ...]:
    """Per class: what it gets, what serves it now, and cheaper models whose cases do not suffice yet."""
    rows = []
    wanted = {(gap.request_class, gap.model) for gap in view.missing_evidence}
    for row in view.classes:
        target = targets.get(row.request_class) or row.incumbent
        chosen = [option for option in row.options if option.model in {target, row.incumbent}]
        chosen += [
            option
            for option in row.options
            if (row.request_class, option.model) in wanted and option.verdict.cases and option not in chosen
        ]
        order = {target: 0, row.incumbent: 1}
        for option in sorted(chosen, key=lambda option: (order.get(option.model, 2), option.model)):
            rows.append(_evidence_row(row, option, target, names))
    return tuple(rows)


def _evidence_row(row: ClassRow, option: OptionRow, target: str, names: dict[str, ModelName]) -> EvidenceRow:
    if option.model == target:
        part = "Stays" if target == row.incumbent else "Takes over"
    else:
        part = "Serves now" if option.model == row.incumbent else "Cheaper, not proven"
    return EvidenceRow(
        request_class=row.request_class,
        title=row.title,
        note=row.note,
        model=model_name(names, option.model).name,
        tier=option.tier,
        part=part,
        verdict=option.verdict,
    )


def _missing(gap: MissingRow, view: RecommendationView, names: dict[str, ModelName]) -> MissingEvidence:
    row, shown = view.row(gap.request_class), model_name(names, gap.model)
    return MissingEvidence(
        request_class=gap.request_class,
        title=row.title if row is not None else gap.request_class,
        model=shown.name,
        tier=shown.tier,
        cases_needed=gap.cases_needed,
        verdict_text=gap.verdict_text,
        saving_usd=round_usd(gap.saving_usd_per_month),
    )
