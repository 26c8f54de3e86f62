"""Savings by how sure they are: proven, unproven and realised, never added to one another (methods.md §8)."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from itertools import pairwise

from billing.core.money import round_usd
from billing.core.periods import next_month
from billing.models import BillingPeriod
from billing.queries.prices import price_book
from costgov.queries.recommendation import (
    ClassRow,
    RecommendationView,
    order_free_usd,
    recommended_report,
    view_of,
)
from costgov.queries.saving_scope import SavingScope, saving_scope
from costgov.queries.spend import SpendReport, current_costs, spend
from routing.core.measured_saving import MeasuredSaving
from routing.core.rounded_sides import rounded_sides
from routing.queries.recommendation import MODELS_IN_A_SENTENCE, WINDOW_DAYS, RecommendationReport
from routing.queries.served_baseline import served_baselines

CLOSED_MONTHS = 6
ZERO = Decimal(0)
FOR_QUALITY = ("restore_quality", "avoid_failures")  # moves that may cost money
NO_ARMS = (
    "Not measured: no decision records with a held-back arm are held. A rollout stage below 100% keeps one; "
    "about 1,500 conversations in it measure the saving to ± 10%."
)


class NoSuchPeriod(LookupError):
    """A period nothing is realised in; the message lists those there are."""


@dataclass(frozen=True, slots=True)
class RealisedRow:
    """One class in a period; cents that add up. baseline − saving + price change = list cost of the days.

    `served_usd` and `baseline_usd` are at the list prices of the period's last day. `is_assumed`: the tokens on the
    baseline model are assumed; then the saving lies between `low_usd` and `high_usd`, where an end is known.
    """

    request_class: str
    title: str
    units: Decimal
    unit_name: str
    baseline_usd: Decimal
    served_usd: Decimal
    saving_usd: Decimal
    price_change_usd: Decimal
    list_usd: Decimal
    source: str
    is_assumed: bool
    low_usd: Decimal | None
    high_usd: Decimal | None


@dataclass(frozen=True, slots=True)
class RealisedUnknown:
    """A class whose realised saving cannot be said, with the reason and its list cost (None = unpriced)."""

    request_class: str
    title: str
    reason: str
    list_usd: Decimal | None


@dataclass(frozen=True, slots=True)
class Realised:
    """What happened on days [start, end) against the same requests on the baseline model.

    The sums are those of the rows. `prices_on`: the day whose list prices both sides carry. `key` names the period in
    addresses: `28d` or a month.
    """

    key: str
    start: date
    end: date
    is_closed: bool
    prices_on: date
    baseline_model: str
    rows: tuple[RealisedRow, ...]
    unknown: tuple[RealisedUnknown, ...]
    baseline_usd: Decimal
    served_usd: Decimal
    saving_usd: Decimal
    measured_usd: Decimal
    assumed_usd: Decimal
    price_change_usd: Decimal
    list_usd: Decimal

    @property
    def share(self) -> float | None:
        return float(self.saving_usd / self.baseline_usd) if self.baseline_usd else None


@dataclass(frozen=True, slots=True)
class SavingKinds:
    """The recommendation's saving a month by how sure it is; the kinds are apart.

    proven + unproven + decided − quality = `total_usd`. `proven_usd` and `unproven_usd` are still to be won;
    `decided_usd` is what the policy in force does already; `quality_usd` is what moves for quality cost, no saving.
    `waiting_usd`: what missing evidence could add, the best model of each class; in none of the sums.
    """

    proven_usd: Decimal
    unproven_usd: Decimal
    decided_usd: Decimal
    total_usd: Decimal
    waiting_usd: Decimal
    waiting_classes: int
    unproven: tuple["UnprovenRow", ...] = ()
    quality_usd: Decimal = ZERO
    quality: tuple["QualityRow", ...] = ()


@dataclass(frozen=True, slots=True)
class UnprovenRow:
    """A recommended change that is not fully shown, what it saves a month, and what is not shown about it."""

    request_class: str
    title: str
    model: str
    saving_usd_per_month: Decimal
    why: str


@dataclass(frozen=True, slots=True)
class QualityRow:
    """A recommended move that costs money: it restores quality or avoids failures. `why`: what is not shown of it."""

    request_class: str
    title: str
    incumbent: str
    model: str
    move: str
    reason: str
    cost_usd_per_month: Decimal
    why: str


@dataclass(frozen=True, slots=True)
class WaterfallRow:
    """One class in cents of the window: baseline − Σ saved = recommended; `saved_usd` in the order of the levers."""

    request_class: str
    title: str
    model: str
    baseline_usd: Decimal
    saved_usd: tuple[Decimal, ...]
    recommended_usd: Decimal


@dataclass(frozen=True, slots=True)
class Waterfall:
    """Baseline → routed → cached → batched in cents of the window [start, end), class by class and in total.

    Rows and columns sum: baseline − Σ saved = recommended in each row and in the total, which is the sum of the rows.
    `order_free_usd`: the same saving split by lever whatever the order (Shapley), in cents with the same sum.
    """

    start: date
    end: date
    baseline_model: str
    levers: tuple[str, ...]
    rows: tuple[WaterfallRow, ...]
    baseline_usd: Decimal
    saved_usd: tuple[Decimal, ...]
    recommended_usd: Decimal
    order_free_usd: tuple[Decimal, ...]


@dataclass(frozen=True, slots=True)
class Savings:
    """Everything about savings as of one moment. `shown`: the period looked at, among `periods`.

    `scope`: the spend the figures are of. `waterfall` and `kinds` are None where no class has a figure: then nothing
    is known of what can be saved, which is not 0; `scope.note` says what to do.
    """

    recommendation: RecommendationView
    scope: SavingScope
    waterfall: Waterfall | None
    kinds: SavingKinds | None
    periods: tuple[Realised, ...]
    shown: Realised
    measured: MeasuredSaving | None = None
    measured_note: str = field(default=NO_ARMS)


def savings(*, as_of: datetime, period: str = "") -> Savings:
    """Proven and unproven for the 28 whole days before `as_of`; realised for those and for the last closed months.

    Raises NoBaseline, NoSuchPeriod.
    """
    report = recommended_report(as_of=as_of)
    view = view_of(report)
    periods = tuple(
        _realised(report, key=key, start=start, end=end, is_closed=is_closed)
        for key, start, end, is_closed in _periods(as_of)
    )
    shown = next((each for each in periods if each.key == (period or "28d")), None)
    if shown is None:
        raise NoSuchPeriod(f"no realised saving for {period!r}: use one of {', '.join(each.key for each in periods)}")
    is_known = bool(view.classes)
    return Savings(
        recommendation=view,
        scope=saving_scope(view),
        waterfall=waterfall(view) if is_known else None,
        kinds=saving_kinds(view) if is_known else None,
        periods=periods,
        shown=shown,
    )


def saving_kinds(view: RecommendationView) -> SavingKinds:
    """The saving a month of a recommendation by how sure it is."""
    not_in_force = [row for row in view.classes if not row.is_in_force]
    quality = [row for row in not_in_force if row.move in FOR_QUALITY and row.saving_usd_per_month < 0]
    open_rows = [row for row in not_in_force if row not in quality]
    unproven = [row for row in open_rows if not row.is_proven]
    best: dict[str, Decimal] = {}
    for gap in view.missing_evidence:
        best[gap.request_class] = max(best.get(gap.request_class, ZERO), round_usd(gap.saving_usd_per_month))
    return SavingKinds(
        proven_usd=_sum(row.saving_usd_per_month for row in open_rows if row.is_proven),
        unproven_usd=_sum(row.saving_usd_per_month for row in unproven),
        decided_usd=_sum(row.saving_usd_per_month for row in view.classes if row.is_in_force),
        total_usd=view.saving_usd_per_month,
        waiting_usd=_sum(best.values()),
        waiting_classes=len(best),
        unproven=tuple(
            UnprovenRow(row.request_class, row.title, row.target, row.saving_usd_per_month, why_unproven(row))
            for row in unproven
        ),
        quality_usd=-_sum(row.saving_usd_per_month for row in quality),
        quality=tuple(
            QualityRow(
                request_class=row.request_class,
                title=row.title,
                incumbent=row.incumbent,
                model=row.target,
                move=row.move,
                reason=row.reason,
                cost_usd_per_month=-row.saving_usd_per_month,
                why=why_unproven(row),
            )
            for row in quality
        ),
    )


def why_unproven(row: ClassRow) -> str:
    """What is not shown about a recommended row, in words; '' where all is."""
    reasons = []
    if row.target != row.incumbent:
        if row.target_verdict.status != "clears" or row.target_verdict.stale:
            reasons.append("an owner's exception allows it, its evals do not show it yet")
        if row.is_assumed:
            reasons.append("tokens are assumed")
    if row.reuse_is_assumed:
        reasons.append("reuse of prompts is assumed")
    return "; ".join(reasons)


def _periods(as_of: datetime) -> list[tuple[str, date, date, bool]]:
    end = as_of.date()
    found = [("28d", end - timedelta(days=WINDOW_DAYS), end, False)]
    closed = BillingPeriod.objects.filter(state=BillingPeriod.State.CLOSED, month__lt=end, closed_at__lte=as_of)
    for month in closed.order_by("-month").values_list("month", flat=True)[:CLOSED_MONTHS]:
        found.append((f"{month:%Y-%m}", month, next_month(month), True))
    return found


def _realised(report: RecommendationReport, *, key: str, start: date, end: date, is_closed: bool) -> Realised:
    on = end - timedelta(days=1)
    current = current_costs(start=start, end=end, on=on)
    report_of_days = spend(start=start, end=end, book=price_book())
    billed = {row.group["class"]: row for row in report_of_days.rows}
    is_unpriced = any(row.unpriced_tok for row in report_of_days.rows)
    by_model = spend(start=start, end=end, by=("class", "model"), book=price_book()) if is_unpriced else None
    known, unknown = [], []
    for each in served_baselines(report, start=start, end=end, on=on, current=current):
        cost, row = current.get(each.request_class), billed.get(each.request_class)
        list_usd = row.cost_usd if row is not None and not row.unpriced_tok else None
        if cost is None or cost.cost_usd is None or list_usd is None:
            reason = _unpriced_text(each.request_class, by_model)
            unknown.append(RealisedUnknown(each.request_class, each.title, reason, None))
        elif each.cost_usd is None:
            unknown.append(RealisedUnknown(each.request_class, each.title, each.source, list_usd))
        else:
            known.append((each, each.cost_usd, cost.cost_usd, list_usd))
    baseline, served, listed = rounded_sides(
        [
            {each.request_class: usd for each, usd, *_ in known},
            {each.request_class: usd for each, _, usd, _ in known},
            {each.request_class: usd for each, *_, usd in known},
        ]
    )
    rows = []
    for each, *_ in known:
        slug = each.request_class
        rows.append(
            RealisedRow(
                request_class=slug,
                title=each.title,
                units=each.units,
                unit_name=each.unit_name,
                baseline_usd=baseline[slug],
                served_usd=served[slug],
                saving_usd=baseline[slug] - served[slug],
                price_change_usd=listed[slug] - served[slug],
                list_usd=listed[slug],
                source=each.source,
                is_assumed=each.source.startswith("assumed"),
                low_usd=None if each.low_usd is None else round_usd(each.low_usd) - served[slug],
                high_usd=None if each.high_usd is None else round_usd(each.high_usd) - served[slug],
            )
        )
    rows.sort(key=lambda row: (-row.saving_usd, row.request_class))
    return Realised(
        key=key,
        start=start,
        end=end,
        is_closed=is_closed,
        prices_on=on,
        baseline_model=report.baseline_model,
        rows=tuple(rows),
        unknown=tuple(unknown),
        baseline_usd=_sum(row.baseline_usd for row in rows),
        served_usd=_sum(row.served_usd for row in rows),
        saving_usd=_sum(row.saving_usd for row in rows),
        measured_usd=_sum(row.saving_usd for row in rows if not row.is_assumed),
        assumed_usd=_sum(row.saving_usd for row in rows if row.is_assumed),
        price_change_usd=_sum(row.price_change_usd for row in rows),
        list_usd=_sum(row.list_usd for row in rows),
    )


def _unpriced_text(request_class: str, by_model: SpendReport | None) -> str:
    """Which models of a class have usage without a price of its day; of the last day alone, the Prices page tells."""
    rows = by_model.rows if by_model is not None else ()
    models = sorted({row.group["model"] for row in rows if row.group["class"] == request_class and row.unpriced_tok})
    which = f" on {', '.join(models)}" if 0 < len(models) <= MODELS_IN_A_SENTENCE else ""
    return f"part of its usage{which} is unpriced: see the Prices page"


def _sum(amounts: Iterable[Decimal]) -> Decimal:
    return sum(amounts, ZERO)


@dataclass(frozen=True, slots=True)
class StepRow:
    """One class of the waterfall in cents of the window: baseline − routed − cached − batched = recommended."""

    request_class: str
    title: str
    target: str
    baseline_usd: Decimal
    saved_usd: tuple[Decimal, ...]
    recommended_usd: Decimal
    row: ClassRow


def class_steps(view: RecommendationView) -> tuple[StepRow, ...]:
    """The waterfall class by class, rounded as realised savings are: equal baselines are equal cents."""
    sides = [{row.request_class: row.steps.uniform_cost_usd for row in view.classes}]
    for number in range(len(view.levers)):
        before = sides[-1]
        sides.append(
            {row.request_class: before[row.request_class] - row.steps.parts[number].saving_usd for row in view.classes}
        )
    cents = rounded_sides(sides)
    return tuple(
        StepRow(
            request_class=row.request_class,
            title=row.title,
            target=row.target,
            baseline_usd=cents[0][row.request_class],
            saved_usd=tuple(before[row.request_class] - after[row.request_class] for before, after in pairwise(cents)),
            recommended_usd=cents[-1][row.request_class],
            row=row,
        )
        for row in view.classes
    )


def waterfall(view: RecommendationView) -> Waterfall:
    """The steps of a recommendation in cents that add up, as page, command and API show them."""
    rows = tuple(
        WaterfallRow(
            step.request_class, step.title, step.target, step.baseline_usd, step.saved_usd, step.recommended_usd
        )
        for step in class_steps(view)
    )
    saved = tuple(_sum(row.saved_usd[number] for row in rows) for number in range(len(view.levers)))
    recommended = _sum(row.recommended_usd for row in rows)
    order_free = order_free_usd(view, _sum(saved))
    return Waterfall(
        start=view.start,
        end=view.end,
        baseline_model=view.baseline_model,
        levers=view.levers,
        rows=rows,
        baseline_usd=recommended + _sum(saved),
        saved_usd=saved,
        recommended_usd=recommended,
        order_free_usd=tuple(order_free[lever] for lever in view.levers),
    )
