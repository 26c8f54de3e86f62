"""The monitor of graded live samples: does what serves a class still reach its line, month by month (methods.md §3.5).

A class bets against the line with a wealth of 1 from the first of each month (UTC) on: ln E⁻ of the samples of the
model that serves it, looked at after each of them. It raises an alarm where the wealth reaches 20. When another model
begins to serve or the bar asks for another line, the bet starts anew with what is left of the wealth, never with more
than before: so all stretches of a month together raise a false alarm in at most 5% of the months of a class, and no
alarm on a model rests on samples of another. Nothing here is evidence for a verdict.
"""

import math
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from billing.core.words import percent, percent_as_set
from routing.core.bars import Bar
from routing.core.evalues import MIN_CASES, log_e_short_path, log_threshold
from routing.core.evidence import Metric
from routing.core.watching import Item

ALPHA = 0.05
ALARM_AT = log_threshold(ALPHA)  # 2.995732
LEAST_OF_A_MONTH = MIN_CASES  # a later month of fewer samples does not answer an alarm
NO_LINE = (
    "This class asks only whether another model is worse than the one that serves it. The one that serves has nothing "
    "to be held against, so its live samples are counted and raise no alarm. A bar with a line would be watched."
)


@dataclass(frozen=True, slots=True)
class LiveSample:
    """The grade of one request that was served. `model` is canonical. `score` 0 … 1, None = no verdict (an error);
    `graded_score`: the grade beside a pass or fail."""

    suite: str
    sample_id: str
    model: str
    run_at: datetime
    score: float | None
    graded_score: float | None = None
    repeat: str = ""


@dataclass(frozen=True, slots=True)
class InForce:
    """What serves a class (None = not known) and what its bar asks, from an instant on."""

    begins: datetime
    model: str | None
    bar: Bar


@dataclass(frozen=True, slots=True)
class Alarm:
    """The sample that raised it, and what was known then, that sample included."""

    at: datetime
    suite: str
    sample_id: str
    samples: int
    passes: float


@dataclass(frozen=True, slots=True)
class Stretch:
    """Samples of one model under one line within a month. `passes`: sum of the scores.

    `log_e`: ln E⁻ after the last sample; `highest` is the largest it ever was, `needed` what raises the alarm: ln 20,
    more where earlier stretches of the month used wealth up.
    """

    model: str
    line: float
    metric: Metric
    bar_version: int
    first_at: datetime
    last_at: datetime
    samples: int
    passes: float
    log_e: float
    highest: float
    needed: float
    alarm: Alarm | None

    @property
    def rate(self) -> float:
        return self.passes / self.samples


@dataclass(frozen=True, slots=True)
class MonitoredMonth:
    """One month of live samples of a class, the stretches in the order of time.

    Counted in no stretch: `left_out` samples without a verdict, `repeats` later results of a sample already seen,
    `others` samples of models that did not serve then, `without_line` those graded while the bar asked for no line.
    """

    begins: datetime
    stretches: tuple[Stretch, ...]
    left_out: int = 0
    repeats: int = 0
    others: int = 0
    without_line: int = 0

    @property
    def ends(self) -> datetime:
        return month_after(self.begins)

    @property
    def key(self) -> str:
        """'2026-11'"""
        return f"{self.begins:%Y-%m}"

    def samples_of(self, model: str) -> int:
        return sum(each.samples for each in self.stretches if each.model == model)

    def alarm_on(self, model: str) -> Stretch | None:
        """The first stretch of a model that raised one."""
        return next((each for each in self.stretches if each.model == model and each.alarm is not None), None)


@dataclass(frozen=True, slots=True)
class StandingAlarm:
    """An alarm on the model that serves which nothing has answered yet."""

    month: MonitoredMonth
    stretch: Stretch
    alarm: Alarm


def month_of(instant: datetime) -> datetime:
    """The first of its month, 00:00 UTC."""
    at = instant.astimezone(UTC)
    return datetime(at.year, at.month, 1, tzinfo=UTC)


def month_after(begins: datetime) -> datetime:
    return datetime(begins.year + begins.month // 12, begins.month % 12 + 1, 1, tzinfo=UTC)


def month_before(begins: datetime) -> datetime:
    return datetime(begins.year - (begins.month == 1), (begins.month - 2) % 12 + 1, 1, tzinfo=UTC)


def monitored_months(samples: Iterable[LiveSample], in_force: Sequence[InForce]) -> tuple[MonitoredMonth, ...]:
    """Every month with samples, rising. `in_force` rises too; what was so before its first entry is not known.

    A sample is a suite and an id on a model. Its first score counts, in the order of the times of the results and not
    of the files that brought them, so neither the order of files nor how samples are split over them matters.
    """
    months: dict[datetime, _Month] = defaultdict(_Month)
    begins = [each.begins for each in in_force]
    scored: set[tuple[str, str, str]] = set()
    unscored: dict[tuple[str, str, str], datetime] = {}
    for row in sorted(samples, key=_order):
        key = (row.model, row.suite, row.sample_id)
        month = months[month_of(row.run_at)]
        if key in scored:
            month.repeats += 1
            continue
        if row.score is None:
            unscored.setdefault(key, row.run_at)
            continue
        at = bisect_right(begins, row.run_at) - 1
        state = in_force[at] if at >= 0 else None
        if state is None or state.model != row.model:
            month.others += 1
        elif not state.bar.asks_for_line:
            month.without_line += 1
        else:
            month.add(row, state)
        scored.add(key)
    left_out = Counter(month_of(at) for key, at in unscored.items() if key not in scored)
    return tuple(months[at].monitored(at, left_out[at]) for at in sorted(months))


def standing_alarm(
    months: Sequence[MonitoredMonth], *, model: str | None, bar: Bar, as_of: datetime
) -> StandingAlarm | None:
    """The newest alarm on the model that serves, unless something has answered it.

    Answers: another model serves; a later month of at least 30 of its samples ended without an alarm; the class's
    owner lowered the line, changed what is measured, or asks for no line any more.
    """
    if model is None or not bar.asks_for_line:
        return None
    for month in sorted(months, key=lambda each: each.begins, reverse=True):
        found = month.alarm_on(model)
        if found is not None and found.alarm is not None:
            is_asked = found.metric == bar.metric and bar.line >= found.line
            return StandingAlarm(month, found, found.alarm) if is_asked else None
        if month.ends <= as_of and month.samples_of(model) >= LEAST_OF_A_MONTH:
            return None
    return None


def alarm_item(name: str, standing: StandingAlarm, *, before: str, policy_version: int | None) -> Item:
    """The work item of an alarm. `name`: the model; `before`: the one that served before it, '' = none is known."""
    alarm, stretch = standing.alarm, standing.stretch
    text = (
        f"{name} serves this class and its live samples of {standing.month.begins:%B %Y} are below the line: "
        f"{passed_text(alarm.passes, alarm.samples)} when the alarm was raised on {alarm.at.day} {alarm.at:%b %Y}, "
        f"line {percent_as_set(stretch.line)}. A model at the line raises one in at most 5% of months."
    )
    if before and policy_version is not None:
        remedy = f"Propose a rollback to {before}, which policy version {policy_version} sent this class to."
    elif before:
        remedy = f"Propose a rollback to {before}, which served this class before."
    else:
        remedy = "Propose a move to a model that clears the bar: no model is known that served this class before."
    return Item("monitor_alarm", text, f"{remedy} Look at the failing samples first. The verdict from evals stays.")


def passed_text(passes: float, samples: int) -> str:
    """'61 of 80 passed (76.3%)'; a sum of grades with one place."""
    if not samples:
        return "no sample"
    if passes == int(passes):
        return f"{int(passes):,} of {samples:,} passed ({percent(passes / samples)})"
    return f"{passes:,.1f} of {samples:,} ({percent(passes / samples)})"


def _order(row: LiveSample) -> tuple[datetime, str, str, str, str, float, float]:
    """Total, so that it depends on nothing but the samples. Of two results of one moment the worse counts first."""
    score = math.inf if row.score is None else row.score
    graded = math.inf if row.graded_score is None else row.graded_score
    return (row.run_at, row.suite, row.sample_id, row.model, row.repeat, score, graded)


@dataclass(slots=True)
class _Run:
    """Samples in a row under the same model and line, as they are collected."""

    model: str
    line: float
    metric: Metric
    bar_version: int
    rows: list[LiveSample] = field(default_factory=list)

    def stretch(self, wealth: float) -> Stretch:
        """`wealth`: ln of what the month has left when it begins, at most 0."""
        scores = [_value(row, self.metric) for row in self.rows]
        path = log_e_short_path(scores, self.line)
        needed = ALARM_AT - wealth
        at = next((place for place, value in enumerate(path) if value >= needed), None)
        return Stretch(
            model=self.model,
            line=self.line,
            metric=self.metric,
            bar_version=self.bar_version,
            first_at=self.rows[0].run_at,
            last_at=self.rows[-1].run_at,
            samples=len(scores),
            passes=math.fsum(scores),
            log_e=float(path[-1]),
            highest=float(path.max()),
            needed=needed,
            alarm=None if at is None else self._alarm(at, math.fsum(scores[: at + 1])),
        )

    def _alarm(self, at: int, passes: float) -> Alarm:
        row = self.rows[at]
        return Alarm(row.run_at, row.suite, row.sample_id, at + 1, passes)


@dataclass(slots=True)
class _Month:
    """A month while it is collected."""

    repeats: int = 0
    others: int = 0
    without_line: int = 0
    runs: list[_Run] = field(default_factory=list)

    def add(self, row: LiveSample, state: InForce) -> None:
        line, metric = state.bar.line, state.bar.metric
        last = self.runs[-1] if self.runs else None
        if last is None or (last.model, last.line, last.metric) != (row.model, line, metric):
            last = _Run(row.model, line, metric, state.bar.version)
            self.runs.append(last)
        last.rows.append(row)

    def monitored(self, begins: datetime, left_out: int) -> MonitoredMonth:
        stretches: list[Stretch] = []
        wealth = 0.0
        for run in self.runs:
            found = run.stretch(wealth)
            stretches.append(found)
            wealth += min(0.0, found.log_e)
        return MonitoredMonth(begins, tuple(stretches), left_out, self.repeats, self.others, self.without_line)


def _value(row: LiveSample, metric: Metric) -> float:
    value = row.graded_score if metric == "mean_score" and row.graded_score is not None else row.score
    assert value is not None
    return value
