"""Live samples of a class by month, as its page shows them."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from billing.queries.series import ModelName, model_name
from routing.core.monitor import Alarm, Stretch, month_of
from routing.queries.monitors import OpenAlarm, monitors, open_alarms


@dataclass(frozen=True, slots=True)
class LiveStretch:
    """Samples of one model under one line in a month. `rate` and `line` are shares; `highest` of `needed`: how far the
    evidence against the model went at most, in ln E⁻."""

    month: datetime
    is_running: bool
    model: str
    name: str
    tier: str
    samples: int
    passes: float
    rate: float
    line: float
    highest: float
    needed: float
    alarm: Alarm | None


@dataclass(frozen=True, slots=True)
class UncountedMonth:
    """Samples of a month that are in no stretch, by why."""

    month: datetime
    left_out: int
    repeats: int
    others: int
    without_line: int


@dataclass(frozen=True, slots=True)
class LiveSamples:
    """Newest month first. `open_alarm`: the work item that is open on what serves the class. `no_line`: why nothing is
    watched, '' = it is. `samples`: those of this month that were held against the line."""

    stretches: tuple[LiveStretch, ...]
    uncounted: tuple[UncountedMonth, ...]
    open_alarm: OpenAlarm | None
    no_line: str
    samples: int


def live_samples(*, slug: str, names: Mapping[str, ModelName], as_of: datetime) -> LiveSamples | None:
    """What live samples show of a class; None where it never had any."""
    monitor = monitors(as_of=as_of, slugs=[slug]).get(slug)
    if monitor is None:
        return None
    this = month_of(as_of)
    months = tuple(reversed(monitor.months))
    stretches = tuple(
        _stretch(each, month.begins, month.begins == this, names) for month in months for each in month.stretches[::-1]
    )
    uncounted = tuple(
        UncountedMonth(month.begins, month.left_out, month.repeats, month.others, month.without_line)
        for month in months
        if month.left_out or month.repeats or month.others or month.without_line
    )
    alarm = open_alarms(as_of=as_of, slug=slug).get((slug, monitor.model or ""))
    counted = sum(each.samples for each in stretches if each.is_running)
    return LiveSamples(stretches, uncounted, alarm, monitor.no_line, counted)


def _stretch(found: Stretch, month: datetime, is_running: bool, names: Mapping[str, ModelName]) -> LiveStretch:
    named = model_name(dict(names), found.model)
    return LiveStretch(
        month=month,
        is_running=is_running,
        model=found.model,
        name=named.name,
        tier=named.tier,
        samples=found.samples,
        passes=found.passes,
        rate=found.rate,
        line=found.line,
        highest=max(found.highest, 0.0),
        needed=found.needed,
        alarm=found.alarm,
    )
