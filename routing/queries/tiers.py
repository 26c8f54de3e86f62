"""Quality of model tiers and of classes week by week (methods.md §3.6)."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Protocol

from billing.queries.named_models import OTHERS
from billing.queries.series import DayOfUsage
from routing.core.bars import BarHistory
from routing.core.evalues import log_threshold, lower_bound_scores, upper_bound_scores
from routing.core.evidence import Evidence
from routing.core.tiers import TierPair, TierQuality, tier_pairs, tier_quality
from routing.core.traffic import tokenizer_factor

ALPHA = 0.05
WEEK = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class TierWeek:
    """A tier in the week [start, end). `cases`: distinct cases behind it. `weighed_by`: requests or input tokens."""

    start: date
    end: date
    quality: TierQuality
    cases: int
    weighed_by: str


@dataclass(frozen=True, slots=True)
class TierSeries:
    tier: str
    weeks: tuple[TierWeek, ...]

    @property
    def latest(self) -> TierWeek | None:
        """The last week with evidence."""
        return next((week for week in reversed(self.weeks) if week.quality.value is not None), None)


@dataclass(frozen=True, slots=True)
class ClassWeek:
    """What the model that served a class most in the week [start, end) had shown by its end.

    `line`: of the bar in force then; None where it asked for a comparison with the model that serves alone.
    """

    start: date
    end: date
    model: str
    pass_rate: float | None
    lower: float | None
    upper: float | None
    cases: int
    line: float | None = None


class History(Protocol):
    """What a class had shown before an instant, by candidate; the same value where nothing changed in between."""

    def at(self, instant: datetime) -> Mapping[str, Evidence]: ...


@dataclass
class _Served:
    """Sums of one (class, model) pair in one week."""

    requests: int | None = 0
    input_tok: int = 0


_Pair = tuple[str, str]
_Shown = tuple[_Pair, Evidence, float | None]


def week_instants(*, start: date, end: date) -> list[datetime]:
    """The instants evidence is asked for by `tier_series` and `class_weeks`."""
    return [midnight(each) for each in week_ends(start=start, end=end)]


def week_ends(*, start: date, end: date) -> list[date]:
    """Ends of the whole weeks in [start, end), counted back from `end`, oldest first; a part of a week is left out."""
    count = (end - start).days // 7
    return [end - WEEK * back for back in range(count - 1, -1, -1)]


def tier_series(
    *,
    usage: Iterable[DayOfUsage],
    histories: Mapping[str, History],
    bars: Mapping[str, BarHistory],
    tiers: Mapping[str, str],
    generations: Mapping[str, int | None],
    start: date,
    end: date,
    untold: Collection[str] = (),
) -> tuple[TierSeries, ...]:
    """The summary of every tier that served anything, for each whole week of [start, end).

    `histories` (evidence at the end of each week) and `bars` by class, `tiers` and `generations` (of tokenizers) by
    model. Suites, metric and line of a week are those of the bar in force at its end. Unclassified usage has no
    evidence: it lowers the covered share. Weights are requests; for a tier with a model in `untold` (some of its
    history has no request counts) input tokens on one tokenizer, in every week: the two units cannot be added, and a
    change of unit would look like a change of quality.
    """
    ends = week_ends(start=start, end=end)
    weeks = _by_week(usage, ends)
    names = sorted({tiers.get(model, "other") for week in weeks.values() for _, model in week})
    scale = {
        model: float(tokenizer_factor(generations, _oldest_tokenizer(generations), model)) for model in generations
    }
    unknown = {model for week in weeks.values() for (_, model), row in week.items() if row.requests is None}
    by_tokens = {tiers.get(model, "other") for model in {*unknown, *untold}}
    bounds = _Bounds()
    series: dict[str, list[TierWeek]] = {tier: [] for tier in names}
    for week_end in ends:
        instant = midnight(week_end)
        found = {slug: histories[slug].at(instant) for slug, _ in weeks[week_end] if slug in histories}
        lines = {slug: line_at(bars[slug], instant) for slug, _ in weeks[week_end] if slug in bars}
        for tier in names:
            served = {pair: row for pair, row in weeks[week_end].items() if tiers.get(pair[1], "other") == tier}
            shown = [
                (pair, found.get(pair[0], {}).get(pair[1]) or Evidence(pair[1], ()), lines.get(pair[0]))
                for pair in sorted(served)
            ]
            by_requests = tier not in by_tokens
            weights = {
                pair: float(row.requests or 0) if by_requests else row.input_tok / scale.get(pair[1], 1.0)
                for pair, row in served.items()
            }
            series[tier].append(
                TierWeek(
                    start=week_end - WEEK,
                    end=week_end,
                    quality=tier_quality(bounds.weighed(shown, weights)),
                    cases=sum(evidence.cases for _, evidence, _ in shown),
                    weighed_by="requests" if by_requests else "input tokens",
                )
            )
    return tuple(TierSeries(tier, tuple(weeks)) for tier, weeks in series.items())


def line_at(bars: BarHistory, instant: datetime) -> float | None:
    """The line a class held its models to; None where its bar asked for a comparison alone."""
    bar = bars.at(instant)
    return bar.line if bar.asks_for_line else None


class _Bounds:
    """Intervals of the pairs of a tier, found once for each set of evidence: most weeks bring no new case."""

    def __init__(self) -> None:
        self._held: dict[tuple[tuple[int, float | None], ...], tuple[TierPair, ...]] = {}

    def weighed(self, shown: Sequence[_Shown], weights: Mapping[_Pair, float]) -> list[TierPair]:
        key = tuple((id(evidence), line) for _, evidence, line in shown if evidence.cases)
        if key not in self._held:
            rows = [(1.0, evidence, line) for _, evidence, line in shown if evidence.cases]
            self._held[key] = tier_pairs(rows, alpha=ALPHA)
        bounded = iter(self._held[key])
        return [
            replace(next(bounded), weight=weights[pair])
            if evidence.cases
            else TierPair(weights[pair], None, None, None, line)
            for pair, evidence, line in shown
        ]


def class_weeks(
    *,
    usage: Iterable[DayOfUsage],
    history: History,
    bars: BarHistory,
    start: date,
    end: date,
) -> tuple[ClassWeek, ...]:
    """The pass rate of one class week by week, of the model that served it most, by the bar in force at its end.

    L and U are at the bar's own alpha.
    """
    ends = week_ends(start=start, end=end)
    weeks = _by_week(usage, ends)
    bounds: dict[tuple[int, float], tuple[float, float]] = {}
    found = []
    for week_end in ends:
        model, instant = _most_served(weeks[week_end]), midnight(week_end)
        evidence = history.at(instant).get(model) if model else None
        line, alpha = line_at(bars, instant), float(bars.at(instant).alpha)
        if evidence is None or not evidence.cases:
            found.append(ClassWeek(week_end - WEEK, week_end, model, None, None, None, 0, line))
            continue
        key = (id(evidence), alpha)
        if key not in bounds:
            scores, threshold = evidence.scores, log_threshold(alpha)
            bounds[key] = (lower_bound_scores(scores, threshold), upper_bound_scores(scores, threshold))
        low, high = bounds[key]
        rate = evidence.passes / evidence.cases
        found.append(ClassWeek(week_end - WEEK, week_end, model, rate, low, high, evidence.cases, line))
    return tuple(found)


def _by_week(usage: Iterable[DayOfUsage], ends: Sequence[date]) -> dict[date, dict[_Pair, _Served]]:
    weeks: dict[date, dict[_Pair, _Served]] = {end: defaultdict(_Served) for end in ends}
    for row in usage:
        if not ends or not ends[0] - WEEK <= row.on < ends[-1]:
            continue
        week_end = ends[-1] - WEEK * ((ends[-1] - row.on - timedelta(days=1)).days // 7)
        pair = weeks[week_end][row.request_class, row.model]
        pair.requests = None if pair.requests is None or row.requests is None else pair.requests + row.requests
        pair.input_tok += row.input_tok
    return weeks


def _most_served(week: Mapping[_Pair, _Served]) -> str:
    """Model with most requests (most input tokens where requests are unknown), ties to the first by name; '' = none."""
    known = all(row.requests is not None for row in week.values())
    weights = {model: (row.requests or 0) if known else row.input_tok for (_, model), row in week.items()}
    if len(weights) > 1:
        weights.pop(OTHERS, None)  # many small models are not the one that served
    return min(weights, key=lambda model: (-weights[model], model), default="")


def _oldest_tokenizer(generations: Mapping[str, int | None]) -> str:
    known = {model: generation for model, generation in generations.items() if generation is not None}
    return min(known, key=lambda model: (known[model], model), default="")


def midnight(day: date) -> datetime:
    """Cases dated up to the last day of a week were run before this instant."""
    return datetime.combine(day, time.min, UTC)
