"""The estate as a whole: what its constraints cost, and what each point of quality costs (methods.md §4.3–4.4)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from decimal import Decimal
from typing import Literal

from billing.core.money import CENT, round_usd
from billing.queries.series import model_name, model_names
from costgov.queries.recommendation import LimitsRow, NoBaseline, limits_row, per_month, recommended_report
from routing.core.coupling import Limits
from routing.core.options import Candidate, ClassProblem
from routing.core.recommendation import EstateFrontier, estate_frontier, recommend
from routing.queries.constraints import ConstraintsVersion, constraints_versions
from routing.queries.recommendation import RecommendationReport

PointKind = Literal["baseline", "current", "recommended"]
_WAITS = {"no_evidence", "not_enough_evidence"}


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A model and its share of the volume of the window, as served now."""

    model: str
    name: str
    share: Decimal


@dataclass(frozen=True, slots=True)
class ConstraintsView:
    """What the estate has to keep and what that does. `effect` None = nothing is set, or nothing can be recommended.

    `versions`: newest first; the first is in force. `cost_usd_per_month`: of the recommendation within them.
    """

    versions: tuple[ConstraintsVersion, ...]
    effect: LimitsRow | None
    cost_usd_per_month: Decimal | None
    quality: float | None
    moved_share: float | None
    models: tuple[ServedModel, ...]
    unit_name: str
    no_recommendation: str = ""


@dataclass(frozen=True, slots=True)
class Corner:
    """A policy on the frontier, and the one move that leads to it from the corner before.

    Cost a month and its rise are estimates. `usd_per_point`: a month, for one point more of mean quality.
    """

    cost_usd_per_month: Decimal
    quality: float
    request_class: str
    title: str
    before: str
    after: str
    usd_per_point: Decimal | None


@dataclass(frozen=True, slots=True)
class FrontierPoint:
    """A policy that is not chosen along the frontier. `quality` None where the rate of a model is not known (`why`)."""

    kind: PointKind
    name: str
    cost_usd_per_month: Decimal
    quality: float | None
    why: str = ""


@dataclass(frozen=True, slots=True)
class TradeOffs:
    """What better costs and what cheaper gives up, against the recommended policy; usd a month, shares of quality.

    `better`: the next better corner (None = none), `better_usd` dearer and `better_quality` better than the recommended
    policy; `is_one_move`: its move is all that differs. `best_…`: the best that may serve now. `point_usd`: the least
    that a whole point more costs, None where none can be had. `saved_usd`, `lost_quality`: the cheapest that may serve,
    0 where that is recommended. `if_cleared_…`: the cheapest if everything that only lacks evidence cleared, None where
    nothing does; unknown rates are then the line.
    """

    better: Corner | None
    better_usd: Decimal
    better_quality: float
    is_one_move: bool
    best_usd: Decimal
    best_quality: float
    point_usd: Decimal | None
    saved_usd: Decimal
    lost_quality: float
    if_cleared_saved_usd: Decimal | None
    if_cleared_quality: float | None


@dataclass(frozen=True, slots=True)
class FrontierView:
    """Cost and quality of the estate. Quality is the volume-weighted pass rate over the rated classes.

    `if_cleared`: the frontier if every model without enough evidence cleared its bar; a rate that is not known is then
    taken to be the line. `unrated`: titles of the classes left out of the mean, but not of the cost. `trade_offs`: None
    where the frontier or the quality of what is recommended is not known.
    """

    start: date
    end: date
    baseline_model: str
    corners: tuple[Corner, ...]
    points: tuple[FrontierPoint, ...]
    if_cleared: tuple[Corner, ...]
    unrated: tuple[str, ...]
    rated_share: float
    unit_name: str
    trade_offs: TradeOffs | None

    def point(self, kind: PointKind) -> FrontierPoint:
        return next(point for point in self.points if point.kind == kind)


def constraints_view(*, as_of: datetime, tried: Limits | None = None) -> ConstraintsView:
    """What is set, and what it does to the recommendation; with `tried` what those limits would do instead."""
    versions = constraints_versions(as_of=as_of)
    try:
        report = recommended_report(as_of=as_of)
    except NoBaseline as reason:
        return ConstraintsView(versions, None, None, None, None, (), "request", str(reason))
    found = report.recommendation
    if tried is not None:
        found = recommend(report.facts.problems, levers=found.levers, unsolved=found.unsolved, limits=tried)
    coupled = found.coupled
    quality, moved = (None, None) if coupled is None else (coupled.quality, coupled.moved_share)
    if coupled is None and found.classes:  # nothing is limited: a limit nobody reaches tells the same figures
        free = recommend(report.facts.problems, levers=found.levers, limits=Limits(move_share=Decimal(1))).coupled
        quality, moved = (None, None) if free is None else (free.quality, free.moved_share)
    cost = sum((row.recommended_cost_usd for row in found.classes), Decimal(0))
    return ConstraintsView(
        versions=versions,
        effect=limits_row(coupled, report.days),
        cost_usd_per_month=round_usd(per_month(cost, report.days)) if found.classes else None,
        quality=quality,
        moved_share=moved,
        models=_served_models(report),
        unit_name=_unit_name(report),
        no_recommendation="" if found.classes else "no class has usage, prices and a baseline",
    )


def frontier_view(*, as_of: datetime) -> FrontierView:
    """The cost–quality frontier of the estate. Raises NoBaseline."""
    report = recommended_report(as_of=as_of)
    problems, levers = report.facts.problems, report.recommendation.levers
    found = estate_frontier(problems, levers=levers)
    rated = [problem for problem in problems if problem.request_class not in found.unrated]
    shown = [_if_cleared(problem, report, is_rated=problem in rated) for problem in problems]
    corners, points = _corners(found, report), _points(report, rated)
    if_cleared = _corners(estate_frontier(shown, levers=levers), report)
    recommended = next(point for point in points if point.kind == "recommended")
    return FrontierView(
        start=report.start,
        end=report.end,
        baseline_model=report.baseline_model,
        corners=corners,
        points=points,
        if_cleared=if_cleared,
        unrated=tuple(report.verdicts[slug].title for slug in found.unrated),
        rated_share=found.rated_share,
        unit_name=_unit_name(report),
        trade_offs=trade_offs(recommended, corners, if_cleared),
    )


_SAME = 1e-9  # shares of quality; corners and points are sums of the same rates in another order


def trade_offs(
    recommended: FrontierPoint, corners: Sequence[Corner], if_cleared: Sequence[Corner] = ()
) -> TradeOffs | None:
    """What one more point of quality costs from the recommended policy, and what spending less gives up."""
    quality, usd = recommended.quality, recommended.cost_usd_per_month
    if quality is None or not corners:
        return None
    above = [number for number, corner in enumerate(corners) if corner.quality > quality + _SAME]
    better = corners[above[0]] if above else None
    before = corners[above[0] - 1] if above and above[0] else None
    whole = [corner for corner in corners if corner.quality > quality + 0.01 - _SAME]
    cheapest = corners[0] if corners[0].cost_usd_per_month < usd - CENT else None
    waits = if_cleared[0] if if_cleared and if_cleared[0].cost_usd_per_month < corners[0].cost_usd_per_month else None
    return TradeOffs(
        better=better,
        better_usd=better.cost_usd_per_month - usd if better is not None else Decimal(0),
        better_quality=better.quality - quality if better is not None else 0.0,
        is_one_move=before is not None
        and abs(before.cost_usd_per_month - usd) <= CENT
        and abs(before.quality - quality) <= _SAME,
        best_usd=corners[-1].cost_usd_per_month - usd if above else Decimal(0),
        best_quality=corners[-1].quality - quality if above else 0.0,
        point_usd=whole[0].cost_usd_per_month - usd if whole else None,
        saved_usd=usd - cheapest.cost_usd_per_month if cheapest is not None else Decimal(0),
        lost_quality=quality - cheapest.quality if cheapest is not None else 0.0,
        if_cleared_saved_usd=usd - waits.cost_usd_per_month if waits is not None else None,
        if_cleared_quality=waits.quality if waits is not None else None,
    )


def _corners(found: EstateFrontier, report: RecommendationReport) -> tuple[Corner, ...]:
    rows = []
    for number, corner in enumerate(found.corners):
        dearer = None
        if number:
            previous = found.corners[number - 1]
            dearer = (corner.cost_usd - previous.cost_usd) / ((corner.quality - previous.quality) * 100)
        rows.append(
            Corner(
                cost_usd_per_month=_month(corner.cost_usd, report),
                quality=corner.quality,
                request_class=corner.request_class,
                title=report.verdicts[corner.request_class].title if corner.request_class else "",
                before=corner.before,
                after=corner.after,
                usd_per_point=None if dearer is None else _month(dearer, report),
            )
        )
    return tuple(rows)


def _points(report: RecommendationReport, rated: Sequence[ClassProblem]) -> tuple[FrontierPoint, ...]:
    classes = report.recommendation.classes
    by_class = {row.request_class: row for row in classes}
    uniform = {problem.request_class: {report.baseline_model: Decimal(1)} for problem in rated}
    served = {problem.request_class: _served_mix(problem, report) for problem in rated}
    chosen: dict[str, dict[str, Decimal]] = {}
    for problem in rated:
        row = by_class[problem.request_class]
        chosen[row.request_class] = {row.target: row.target_share}
        if row.split_with:
            chosen[row.request_class][row.split_with] = 1 - row.target_share
    costs: tuple[tuple[PointKind, str, Decimal, Mapping[str, Mapping[str, Decimal]]], ...] = (
        ("baseline", f"Everything on {report.baseline_model}", report.recommendation.costs[frozenset()], uniform),
        ("current", "As served now", sum((row.current_cost_usd for row in classes), Decimal(0)), served),
        ("recommended", "Recommended", sum((row.recommended_cost_usd for row in classes), Decimal(0)), chosen),
    )
    return tuple(
        FrontierPoint(kind, name, _month(float(cost), report), *_mean_quality(rated, shares, report))
        for kind, name, cost, shares in costs
    )


def _mean_quality(
    rated: Sequence[ClassProblem], shares: Mapping[str, Mapping[str, Decimal]], report: RecommendationReport
) -> tuple[float | None, str]:
    """Volume-weighted mean over the rated classes, or why there is none."""
    total, weight, unknown = 0.0, 0.0, []
    for problem in rated:
        volume = float(problem.units if problem.volume is None else problem.volume)
        known = {candidate.model: candidate.quality for candidate in problem.candidates}
        rates = [(float(share), known.get(model)) for model, share in shares[problem.request_class].items()]
        if any(rate is None for share, rate in rates if share):
            unknown.append(report.verdicts[problem.request_class].title)
            continue
        total += volume * sum(share * (rate or 0.0) for share, rate in rates)
        weight += volume
    if unknown:
        return None, f"no pass rate from 30 cases in {', '.join(unknown)}"
    return (total / weight, "") if weight else (None, "no class is rated")


def _served_mix(problem: ClassProblem, report: RecommendationReport) -> dict[str, Decimal]:
    """Share of the class's requests (input tokens where they are not counted) that each model served in the window."""
    rows = report.facts.by_class[problem.request_class]
    by_requests = all(row.requests is not None for row in rows)
    served = {row.model: Decimal((row.requests or 0) if by_requests else row.input_tok) for row in rows}
    total = sum(served.values(), Decimal(0))
    return {model: count / total for model, count in served.items()} if total else {problem.incumbent: Decimal(1)}


def _served_models(report: RecommendationReport) -> tuple[ServedModel, ...]:
    """Every model that serves or could be capped, the largest share first."""
    names, shares, total = model_names(), dict[str, Decimal](), Decimal(0)
    for problem in report.facts.problems:
        volume = problem.units if problem.volume is None else problem.volume
        total += volume
        for model, share in _served_mix(problem, report).items():
            shares[model] = shares.get(model, Decimal(0)) + volume * share
        for candidate in problem.candidates:
            if not candidate.refusal:
                shares.setdefault(candidate.model, Decimal(0))
    found = [ServedModel(model, model_name(names, model).name, share / total) for model, share in shares.items()]
    return tuple(sorted(found, key=lambda row: (-row.share, row.name)))


def _if_cleared(problem: ClassProblem, report: RecommendationReport, *, is_rated: bool) -> ClassProblem:
    """The class if everything cleared that only lacks evidence. One that is not rated stays so: the mean must be
    over the same classes."""
    line = report.verdicts[problem.request_class].line

    def cleared(candidate: Candidate) -> Candidate:
        quality = candidate.quality if is_rated else None
        waits = candidate.verdict in _WAITS or (candidate.verdict == "clears" and candidate.is_stale)
        if not waits:
            return replace(candidate, quality=quality)
        rate = None if not is_rated else line if quality is None else quality
        return replace(candidate, verdict="clears", is_stale=False, quality=rate)

    return replace(problem, candidates=tuple(cleared(candidate) for candidate in problem.candidates))


def _unit_name(report: RecommendationReport) -> str:
    """What the classes are weighed by."""
    by_requests = all(problem.unit_name == "request" for problem in report.facts.problems)
    return "request" if by_requests else "million input tokens"


def _month(usd: float, report: RecommendationReport) -> Decimal:
    return round_usd(per_month(Decimal(str(usd)), report.days))
