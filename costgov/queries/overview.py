"""The Overview: what is spent, whether quality holds, what could be saved, and what is not known."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal

from audit.queries import data_version
from billing.core.money import sum_usd
from billing.core.pricebook import PriceBook
from billing.core.usage_table import OtherUnpriced
from billing.queries.prices import price_book, price_version, release_facts
from billing.queries.series import daily_usage, models_without_request_counts
from billing.queries.usage import UnpricedUsage, usage_days
from costgov.queries.class_lines import (
    PROD,
    ClassLine,
    ClassLines,
    QualityFacts,
    class_lines,
    quality_facts,
    relative_change,
    window,
)
from costgov.queries.spend import SpendReport, Unclassified, spend
from routing.models import Activation, ChangeRequest
from routing.queries.past_evidence import past_evidence
from routing.queries.tiers import TierSeries, tier_series, week_instants

COMPARABLE_SHARE = 0.95


@dataclass(frozen=True, slots=True)
class TierDay:
    """Spend of one UTC day by model tier, usd. None = usage without any price, or a day not imported; no tier is 0."""

    on: date
    by_tier: dict[str, Decimal | None]
    total_usd: Decimal | None


@dataclass(frozen=True, slots=True)
class ActivationMark:
    """A policy that became active."""

    on: date
    policy: str
    version: int
    sequence: int
    title: str


@dataclass(frozen=True, slots=True)
class WaitingChange:
    """A change request in review."""

    id: int
    title: str
    author: str
    proposed_at: datetime


@dataclass(frozen=True, slots=True)
class SavingSummary:
    """What the recommendation would save a month; estimates. `restore_usd`: cost of moves that restore quality.

    What the policy in force does already is not in it: `decided_usd` is what that would have saved these 28 days.
    `unsure_usd`: the part of it that rests on exceptions or on assumed tokens or reuse. `share_of_spend`: of all spend.
    `unproven_usd`: the most that models without enough evidence could add, one model a class.
    """

    usd_per_month: Decimal
    unsure_usd: Decimal
    share_of_spend: float | None
    moves: int
    restore_usd: Decimal
    restores: int
    decided_usd: Decimal
    unproven_usd: Decimal
    unproven_classes: int

    @property
    def sure_usd(self) -> Decimal:
        """Moves whose quality and cost are shown, and caching and batch on the same model."""
        return self.usd_per_month - self.unsure_usd


@dataclass(frozen=True, slots=True)
class PerRequest:
    """Cost of a request over the usage whose requests are known; `spend_share` says how much of the spend that is."""

    usd: Decimal
    requests: int
    spend_share: float


@dataclass(frozen=True, slots=True)
class Standing:
    """How many classes with traffic stand where. `holding` + `below` + `undecided` + `no_evidence` = `classes`."""

    classes: int
    holding: int
    below: int
    undecided: int
    no_evidence: int
    stale: int
    without_traffic: int


@dataclass(frozen=True, slots=True)
class Overview:
    """Days [start, end) are drawn; figures are of the 28 whole days [window_start, window_end) and those before.

    `change` compares what has a price in both; what has none stands beside it in `unpriced`.
    """

    as_of: datetime
    start: date
    end: date
    before_start: date
    window_start: date
    window_end: date
    first_usage_day: date | None
    latest_usage_day: date | None
    spend_usd: Decimal
    spend_before_usd: Decimal | None
    change: float | None
    per_request: PerRequest | None
    per_request_before: PerRequest | None
    unpriced: tuple[UnpricedUsage, ...]
    unpriced_tok: int
    unpriced_models: tuple[str, ...]
    unpriced_rest: OtherUnpriced | None
    unclassified: Unclassified
    standing: Standing
    saving: SavingSummary | None
    no_saving: str
    classes: tuple[ClassLine, ...]
    unregistered_usd: Decimal
    days: tuple[TierDay, ...]
    tiers: tuple[TierSeries, ...]
    activations: tuple[ActivationMark, ...]
    waiting: tuple[WaitingChange, ...]
    policy: str
    baseline_model: str
    price_version: str
    data_version: int

    @property
    def has_usage(self) -> bool:
        return self.latest_usage_day is not None

    @property
    def missing_days(self) -> int:
        """Whole days at the end of the window that no usage reaches."""
        if self.latest_usage_day is None:
            return 0
        return max((self.window_end - self.latest_usage_day).days - 1, 0)

    @property
    def unpriced_count(self) -> int:
        """How many models have no price for some of their usage."""
        return len(self.unpriced_models) + (self.unpriced_rest.models if self.unpriced_rest is not None else 0)

    @property
    def unpriced_words(self) -> str:
        """Their names; beyond four the first three and how many more."""
        if self.unpriced_count <= 4:
            return ", ".join(self.unpriced_models)
        return f"{', '.join(self.unpriced_models[:3])} and {self.unpriced_count - 3:,} more models"

    @property
    def per_request_change(self) -> float | None:
        """Change of the cost of a request; None unless both windows tell (nearly) all their requests: a part of the
        usage is another mix of work, and would compare coding with chat."""
        if self.per_request is None or self.per_request_before is None:
            return None
        if min(self.per_request.spend_share, self.per_request_before.spend_share) < COMPARABLE_SHARE:
            return None
        return float(self.per_request.usd / self.per_request_before.usd - 1)


def overview(*, as_of: datetime, start: date, end: date) -> Overview:
    """Everything the Overview shows. Days [start, end) set the time axis only: the figures are of the last 28 days."""
    before_start, window_start, window_end = window(as_of)
    held = usage_days()
    facts = quality_facts(as_of=as_of)
    book = price_book()
    lines = class_lines(as_of=as_of, facts=facts, book=book)
    by = ("class", "model", "origin", "source")
    now_spend = spend(start=window_start, end=window_end, by=by, book=book, is_folded=True)
    earlier = spend(start=before_start, end=window_start, by=by, book=book, is_folded=True)
    has_before = bool(earlier.rows)
    registered = {line.slug for line in lines.lines}
    return Overview(
        as_of=as_of,
        start=start,
        end=end,
        before_start=before_start,
        window_start=window_start,
        window_end=window_end,
        first_usage_day=held[0] if held else None,
        latest_usage_day=held[1] if held else None,
        spend_usd=now_spend.total.cost_usd,
        spend_before_usd=earlier.total.cost_usd if has_before else None,
        change=relative_change(now_spend.total, earlier.total) if has_before else None,
        per_request=_per_request(now_spend),
        per_request_before=_per_request(earlier),
        unpriced=now_spend.unpriced,
        unpriced_tok=now_spend.total.unpriced_tok,
        unpriced_models=tuple(sorted({row.model or "no model named" for row in now_spend.unpriced})),
        unpriced_rest=now_spend.unpriced_rest,
        unclassified=now_spend.unclassified,
        standing=_standing(lines.lines),
        saving=_saving(lines, now_spend.total.cost_usd),
        no_saving=lines.no_recommendation,
        classes=lines.lines,
        unregistered_usd=sum_usd(
            row.cost_usd for row in now_spend.rows if row.group["class"] and row.group["class"] not in registered
        ),
        days=tier_days(start=start, end=end, held=held, book=book),
        tiers=_tiers(facts, start, last_drawn(end, held), as_of),
        activations=activation_marks(start=start, end=end, as_of=as_of),
        waiting=waiting_changes(),
        policy=f"{facts.policy.name}@{facts.policy.version}" if facts.policy is not None else "",
        baseline_model=lines.recommendation.baseline_model if lines.recommendation is not None else "",
        price_version=price_version(),
        data_version=data_version(),
    )


def tier_days(
    *, start: date, end: date, held: tuple[date, date] | None, book: PriceBook | None = None
) -> tuple[TierDay, ...]:
    """Spend by tier of every day. Inside the days that hold usage a tier without any is 0; outside nothing is known."""
    report = spend(start=start, end=end, by=("day", "tier"), book=book)
    rows = {(row.group["day"], row.group["tier"]): row for row in report.rows}
    tiers = sorted({tier for _, tier in rows})
    found = []
    for offset in range((end - start).days):
        on = start + timedelta(days=offset)
        if held is None or not held[0] <= on <= held[1]:
            found.append(TierDay(on, dict.fromkeys(tiers), None))
            continue
        by_tier: dict[str, Decimal | None] = {}
        for tier in tiers:
            row = rows.get((on.isoformat(), tier))
            only_unpriced = row is not None and not row.cost_usd and row.unpriced_tok
            by_tier[tier] = None if only_unpriced else row.cost_usd if row is not None else Decimal(0)
        found.append(TierDay(on, by_tier, sum_usd(usd for usd in by_tier.values() if usd is not None)))
    return tuple(found)


def activation_marks(*, start: date, end: date, as_of: datetime, environment: str = PROD) -> tuple[ActivationMark, ...]:
    """Activations on days [start, end) up to `as_of`, oldest first."""
    rows = (
        Activation.objects.filter(environment=environment, activated_at__lte=as_of)
        .filter(activated_at__date__gte=start, activated_at__date__lte=end)
        .select_related("policy_version", "change_request")
        .order_by("sequence")
    )
    return tuple(
        ActivationMark(
            on=row.activated_at.date(),
            policy=row.policy_version.policy,
            version=row.policy_version.version,
            sequence=row.sequence,
            title=row.change_request.title if row.change_request is not None else "",
        )
        for row in rows
    )


def waiting_changes() -> tuple[WaitingChange, ...]:
    """Change requests in review, oldest first: what somebody has to look at."""
    rows = ChangeRequest.objects.filter(state=ChangeRequest.State.IN_REVIEW).select_related("author")
    return tuple(
        WaitingChange(row.pk, row.title, row.author.get_username(), row.proposed_at)
        for row in rows.order_by("proposed_at", "pk")
    )


def waiting_count() -> int:
    """How many change requests wait for an approval: the badge beside Policies."""
    return ChangeRequest.objects.filter(state=ChangeRequest.State.IN_REVIEW).count()


def last_drawn(end: date, held: tuple[date, date] | None) -> date:
    """Where weeks are counted back from: the end of the period, or of the usage where that is earlier."""
    return end if held is None else min(end, held[1] + timedelta(days=1))


def _tiers(facts: QualityFacts, start: date, end: date, as_of: datetime) -> tuple[TierSeries, ...]:
    releases = release_facts()
    bars = {slug: row.bars for slug, row in facts.verdicts.items()}
    return tier_series(
        usage=daily_usage(start=start, end=end),
        histories=past_evidence(bars=bars, instants=week_instants(start=start, end=end), as_of=as_of),
        bars=bars,
        tiers={model: row.tier for model, row in releases.items()},
        generations={model: row.tokenizer_generation for model, row in releases.items()},
        untold=models_without_request_counts(),
        start=start,
        end=end,
    )


def _per_request(report: SpendReport) -> PerRequest | None:
    counted = [row for row in report.rows if row.requests is not None and not row.unpriced_tok]
    requests = sum(row.requests or 0 for row in counted)
    cost = sum_usd(row.cost_usd for row in counted)
    if not requests or not cost:
        return None
    return PerRequest(cost / requests, requests, float(cost / report.total.cost_usd))


def _standing(lines: Sequence[ClassLine]) -> Standing:
    served = [line for line in lines if line.has_traffic]
    counts = {status: sum(line.verdict == status for line in served) for status in _STATUSES}
    return Standing(
        classes=len(served),
        holding=counts["clears"],
        below=counts["falls_short"],
        undecided=counts["not_enough_evidence"],
        no_evidence=counts["no_evidence"],
        stale=sum(line.stale for line in served),
        without_traffic=len(lines) - len(served),
    )


_STATUSES = ("clears", "falls_short", "not_enough_evidence", "no_evidence")


def _saving(lines: ClassLines, spend_usd: Decimal) -> SavingSummary | None:
    view = lines.recommendation
    if view is None or not view.classes:
        return None
    available = [row for row in view.classes if not row.is_in_force]
    restored = [row for row in available if row.move == "restore_quality"]
    best: dict[str, Decimal] = {}
    for gap in view.missing_evidence:
        best[gap.request_class] = max(best.get(gap.request_class, Decimal(0)), gap.saving_usd_per_month)
    return SavingSummary(
        usd_per_month=sum_usd(row.saving_usd_per_month for row in available),
        unsure_usd=sum_usd(row.saving_usd_per_month for row in available if not row.is_proven),
        share_of_spend=float(sum_usd(row.saving_usd for row in available) / spend_usd) if spend_usd else None,
        moves=sum(row.move == "save" for row in available),
        restore_usd=sum_usd(-row.saving_usd_per_month for row in restored),
        restores=len(restored),
        decided_usd=sum_usd(row.saving_usd_per_month for row in view.classes if row.is_in_force),
        unproven_usd=sum_usd(best.values()),
        unproven_classes=len(best),
    )
