"""The Overview: the first page after log-in."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from django.http import HttpRequest, HttpResponse
from django.urls import path

from costgov import charts
from costgov.charts.parts import Value, trailing_mean
from costgov.pages import cached, now, page
from costgov.queries.overview import ActivationMark, Overview, TierDay
from costgov.shown import overview_shown
from costgov.templatetags.costgov_format import datefmt, pct, rate_range, usd
from costgov.templatetags.costgov_ui import whisker_scale
from costgov.timespan import CHOICES, PARAMETERS, only, timespan
from costgov.views.classes import notes_of
from routing.queries.tiers import TierSeries, TierWeek

SPARK_DAYS = 28
Row = list[str]


@dataclass(frozen=True, slots=True)
class OverviewPage:
    """The Overview with its drawings, and the tables that say the same."""

    view: Overview
    spend_chart: charts.Figure | None
    spend_summary: str
    spend_columns: Row
    spend_rows: list[Row]
    quality_chart: charts.Figure | None
    quality_summary: str
    quality_columns: Row
    quality_rows: list[Row]
    spark: list[float | None]
    axis: tuple[float, float]
    notes: list[tuple[str, list[str]]]


def overview_page(request: HttpRequest) -> HttpResponse:
    as_of = now()
    only(request, PARAMETERS)
    span = timespan(request, today=as_of.date())
    value = cached(
        "overview-page",
        lambda: build_page(overview_shown(start=span.start, end=span.end)),
        today=as_of.date(),
        start=span.start,
        end=span.end,
    )
    if not value.view.has_usage:
        return page(request, "costgov/overview_empty.html", value, nav="overview")
    return page(
        request,
        "costgov/overview.html",
        value,
        nav="overview",
        as_of=value.view.as_of,
        periods=CHOICES,
        chosen=span.chosen,
        below=[line.title for line in value.view.classes if line.has_traffic and line.verdict == "falls_short"],
    )


def build_page(view: Overview) -> OverviewPage:
    """Figures and tables from the values; no clock, no database."""
    drawn = _known_days(view.days)
    first, last = (drawn[0].on, drawn[-1].on) if drawn else (view.start, view.end - timedelta(days=1))
    marks = [(mark.on, f"Policy v{mark.version}") for mark in view.activations]
    tiers = [series for tier in charts.TIERS for series in view.tiers if series.tier == tier and series.latest]
    return OverviewPage(
        view=view,
        spend_chart=_spend_chart(drawn, marks),
        spend_summary=spend_summary(drawn, view.activations),
        spend_columns=["Day", *(charts.TIERS[tier].label for tier in _tiers_of(drawn)), "All tiers"],
        spend_rows=[
            [datefmt(day.on), *(usd(day.by_tier.get(tier)) for tier in _tiers_of(drawn)), usd(day.total_usd)]
            for day in reversed(drawn)
        ],
        quality_chart=charts.quality_panels([tier_panel(series) for series in tiers], first, last, marks)
        if tiers
        else None,
        quality_summary=quality_summary(tiers),
        quality_columns=["Week to", "Tier", "Pass rate", "Interval", "Line", "Cases", "Evidence for"],
        quality_rows=[quality_row(series.tier, week) for series in tiers for week in reversed(series.weeks)],
        spark=trailing_mean([day.total_usd for day in drawn])[-SPARK_DAYS:],
        axis=whisker_scale([bound for line in view.classes for bound in (line.lower, line.value, line.line)]),
        notes=notes_of(view.classes),
    )


def _known_days(days: Sequence[TierDay]) -> list[TierDay]:
    """Without the days before the first and after the last that hold usage."""
    known = [index for index, day in enumerate(days) if day.total_usd is not None]
    return list(days[known[0] : known[-1] + 1]) if known else []


def _tiers_of(days: Sequence[TierDay]) -> list[str]:
    return [tier for tier in charts.TIERS if any(tier in day.by_tier for day in days)]


def _spend_chart(days: Sequence[TierDay], marks: Sequence[tuple[date, str]]) -> charts.Figure | None:
    if not any(day.total_usd for day in days):
        return None
    series: dict[str, list[Value]] = {tier: [day.by_tier.get(tier) for day in days] for tier in _tiers_of(days)}
    return charts.spend_by_tier([day.on for day in days], series, marks)


def spend_summary(days: Sequence[TierDay], activations: Sequence[ActivationMark]) -> str:
    """The spend chart in a sentence: its two ends as weekly means."""
    if len(days) < 14:
        return f"{len(days)} days of usage; the picture needs two weeks to say where spend is going."
    first, last = _mean(days[:7]), _mean(days[-7:])
    word = "rose" if last > first else "fell"
    if abs(last - first) < 0.01 * max(first, 0.01):
        said = f"Spend stayed at about {usd(last, 0)} a day."
    else:
        said = f"Spend {word} from {usd(first, 0)} to {usd(last, 0)} a day ({_places(days)})."
    number = len(activations)
    if not number:
        return f"{said} No policy became active in this period."
    return f"{said} {number} {'policy' if number == 1 else 'policies'} became active, dotted."


def _places(days: Sequence[TierDay]) -> str:
    return f"mean of the first and of the last week, {datefmt(days[0].on)} to {datefmt(days[-1].on)}"


def _mean(days: Sequence[TierDay]) -> float:
    known = [float(day.total_usd) for day in days if day.total_usd is not None]
    return sum(known) / len(known) if known else 0.0


def tier_panel(series: TierSeries) -> charts.TierQuality:
    """A panel of the quality chart; one level line where the mark is the same all along."""
    marks = {week.quality.line for week in series.weeks if week.quality.line is not None}
    level = next(iter(marks)) if len({round(mark, 9) for mark in marks}) == 1 else None
    points = [
        charts.RatePoint(
            on=week.end - timedelta(days=1),
            value=week.quality.value,
            low=week.quality.low,
            high=week.quality.high,
            cases=week.cases,
            line=None if level is not None else week.quality.line,
        )
        for week in series.weeks
    ]
    return charts.TierQuality(series.tier, level, points, coverage_text(series))


def quality_summary(tiers: Sequence[TierSeries]) -> str:
    """The last week of every panel in words. A tier has no verdict: only classes have."""
    said = []
    for series in tiers:
        week = series.latest
        assert week is not None
        quality = week.quality
        until = "" if week is series.weeks[-1] else f" until {datefmt(week.end - timedelta(days=1))}"
        said.append(
            f"{charts.TIERS[series.tier].label} {pct(quality.value)}{until} "
            f"({rate_range(quality.low, quality.high)}, line {pct(quality.line)})"
        )
    units = " or ".join(sorted({week.weighed_by for series in tiers for week in series.weeks[-1:]}))
    return f"{'; '.join(said)}. Weighted by {units}; only classes have a verdict." if said else ""


def quality_row(tier: str, week: TierWeek) -> Row:
    quality = week.quality
    return [
        datefmt(week.end - timedelta(days=1)),
        charts.TIERS[tier].label,
        pct(quality.value),
        rate_range(quality.low, quality.high),
        pct(quality.line),
        f"{week.cases:,}",
        _covered(week),
    ]


def coverage_text(series: TierSeries) -> str:
    """How much of a tier its panel speaks for, in its last week with evidence."""
    week = series.latest
    if week is None:
        return ""
    return f"evidence for {_covered(week)}"


def _covered(week: TierWeek) -> str:
    """The share with evidence, never rounded up to all."""
    share = week.quality.covered_share
    said = "all" if share >= 0.9995 else "over 99% of" if share >= 0.995 else f"{pct(share, 0)} of"
    return f"{said} {week.weighed_by}"


urlpatterns = [path("", overview_page, name="overview")]
