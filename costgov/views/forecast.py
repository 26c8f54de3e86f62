"""The Forecast page: spend of the coming months under three policies; keeping a forecast for later."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final
from urllib.parse import urlencode

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import path, reverse

from audit.roles import Right, may, require
from billing.core.scenarios import LIST_CUT, LIST_RISE, Scenario
from billing.core.words import signed
from billing.queries.books import price_scenarios
from billing.queries.forecasts import KeptForecast, kept_forecasts
from costgov import charts
from costgov.operations.forecast import make_forecast
from costgov.pages import BadQuery, cached, choice, now, page
from costgov.queries.forecast import prepare_forecast, run_forecast
from costgov.queries.forecast_alternatives import Alternative, alternatives
from costgov.queries.forecast_inputs import ForecastRefused
from costgov.queries.forecast_view import ForecastView, PolicyForecast, SpreadUsd
from costgov.queries.recommendation import NoBaseline
from costgov.templatetags.costgov_format import datefmt, month, pct, usd0
from costgov.timespan import only
from routing.queries.classes import class_slugs

HORIZONS: Final = (("12", "12 months"), ("24", "24 months"), ("36", "36 months"))
GROWTH: Final = (("measured", "As measured"), ("stops", "Stops"), ("20", "+20%"))
PRICES: Final = (("unchanged", "Unchanged"), ("cut", "−33%"), ("rise", "+10%"))
ROLLOUT: Final = (("0", "On time"), ("1", "+1 month"), ("3", "+3 months"))
TITLES: Final = {"baseline": "Uniform", "current": "Current policy", "optimised": "Optimised"}
LEAST_COVERAGE: Final = 0.7
DRAWN: Final = {"0.025", "0.1", "0.5", "0.9", "0.975"}
PARAMETERS: Final = ("months", "growth", "prices", "book", "rollout", "off")
Rows = list[list[str | None]]


@dataclass(frozen=True, slots=True)
class Asked:
    """What the address asks for."""

    months: int
    scenario: Scenario
    values: dict[str, str]


@dataclass(frozen=True, slots=True)
class YearRow:
    """Sums of twelve months (or of what is left of them) under each policy, from the paths."""

    label: str
    baseline: SpreadUsd
    current: SpreadUsd
    optimised: SpreadUsd

    @property
    def saving_usd(self) -> Decimal:
        return self.current.mean_usd - self.optimised.mean_usd


@dataclass(frozen=True, slots=True)
class ForecastPage:
    """The page with its drawings, and the tables that say the same. `view` None: `refusal` says why."""

    view: ForecastView | None
    refusal: str
    lacks_baseline: bool
    years: tuple[YearRow, ...]
    few_tries: str
    how_inputs: list[tuple[str, str]]
    alternatives: tuple[Alternative, ...]
    fan: charts.Figure | None
    fan_summary: str
    fan_rows: Rows
    hindsight: charts.Figure | None
    hindsight_summary: str
    hindsight_rows: Rows


def forecast_page(request: HttpRequest) -> HttpResponse:
    """GET: the forecast the address asks for. POST: keep it, with its paths."""
    only(request, PARAMETERS)
    asked = read_query(request)
    as_of = now()
    if request.method == "POST":
        return _keep(request, asked, as_of)
    value = cached(
        "forecast",
        lambda: build_page(asked, as_of),
        today=as_of.date(),
        months=asked.months,
        scenario=asked.scenario.name,
    )
    kept = kept_forecasts(limit=5)
    return page(
        request,
        "costgov/forecast.html",
        value,
        nav="forecast",
        as_of=as_of,
        asked=asked.values,
        months=asked.months,
        horizons=HORIZONS,
        growth=GROWTH,
        prices=PRICES,
        rollout=ROLLOUT,
        classes=sorted(class_slugs()),
        books=price_scenarios(),
        price_month=asked.scenario.price_from_month,
        kept=kept,
        kept_now=_same(kept, value.view),
        may_keep=may(request.user, Right.MAKE_FORECAST),  # type: ignore[arg-type]
        scenario_links=[(row, _link(row, asked)) for row in value.alternatives],
        fan_columns=["Month", "Uniform, median", "Current", "Optimised", "80% band", "95% band", "Is"],
        hindsight_columns=["Month", "Band from", "Band to", "Happened", "Inside"],
    )


def read_query(request: HttpRequest) -> Asked:
    """Horizon and scenario from the address. Raises BadQuery for a value it does not know."""
    values = {
        "months": choice(request, "months", [key for key, _ in HORIZONS], "12"),
        "growth": choice(request, "growth", [key for key, _ in GROWTH], "measured"),
        "prices": choice(request, "prices", [key for key, _ in PRICES], "unchanged"),
        "rollout": choice(request, "rollout", [key for key, _ in ROLLOUT], "0"),
        "off": request.GET.get("off", ""),
        "book": request.GET.get("book", ""),
    }
    if values["book"] and values["book"] not in price_scenarios():
        raise BadQuery(f"?book={values['book']} is no kept what-if price book: choose one from the list, or none.")
    if values["off"] and values["off"] not in class_slugs():
        raise BadQuery(f"?off={values['off']} is no registered class: choose one from the list, or none.")
    months = int(values["months"])
    scenario = Scenario(
        planned_growth=0.2 if values["growth"] == "20" else None,
        growth_stops=values["growth"] == "stops",
        price_factor={"unchanged": 1.0, "cut": LIST_CUT, "rise": LIST_RISE}[values["prices"]],
        price_from_month=13 if months > 12 else months // 2 + 1,
        rollout_delay_months=int(values["rollout"]),
        switched_off=(values["off"],) if values["off"] else (),
        price_scenario=values["book"],
    )
    return Asked(months, scenario, values)


def build_page(asked: Asked, as_of: datetime) -> ForecastPage:
    """Compute the forecast and draw it; a refusal is a page too."""
    try:
        prepared = prepare_forecast(as_of=as_of, months=asked.months, scenario=asked.scenario)
    except (ForecastRefused, NoBaseline) as reason:
        lacks = isinstance(reason, NoBaseline)
        return ForecastPage(None, str(reason), lacks, (), "", [], (), None, "", [], None, "", [])
    view, _ = run_forecast(prepared)
    return ForecastPage(
        view=view,
        refusal="",
        lacks_baseline=False,
        years=_years(view),
        few_tries=_few_tries(view),
        how_inputs=_how_inputs(view),
        alternatives=alternatives(prepared) if asked.scenario.is_base else (),
        fan=_fan(view),
        fan_summary=_fan_summary(view),
        fan_rows=_fan_rows(view),
        hindsight=_hindsight(view),
        hindsight_summary=_hindsight_summary(view),
        hindsight_rows=[
            [
                month(row.month),
                usd0(row.low_usd),
                usd0(row.high_usd),
                usd0(row.actual_usd),
                "yes" if row.is_inside else "no",
            ]
            for row in view.hindsight
        ],
    )


# -- keeping -----------------------------------------------------------------------------------------------------


def _keep(request: HttpRequest, asked: Asked, as_of: datetime) -> HttpResponse:
    require(request.user, Right.MAKE_FORECAST)  # type: ignore[arg-type]
    try:
        kept = make_forecast(
            actor=request.user,  # type: ignore[arg-type]
            as_of=as_of,
            months=asked.months,
            scenario=asked.scenario,
        )
    except (ForecastRefused, NoBaseline) as reason:
        messages.error(request, str(reason))
    else:
        messages.success(
            request, f"Forecast {kept.pk} is kept with its sample paths, from usage to {datefmt(kept.cutoff_date)}."
        )
    return redirect(f"{reverse('forecast')}?{request.GET.urlencode()}" if request.GET else reverse("forecast"))


def _same(kept: tuple[KeptForecast, ...], view: ForecastView | None) -> KeptForecast | None:
    return next((row for row in kept if view is not None and row.inputs_hash == view.inputs_hash), None)


def _link(row: Alternative, asked: Asked) -> str:
    chosen = {"months": "24" if row.last > 12 and asked.months <= 12 else str(asked.months)}
    if row.scenario == "growth-stops":
        chosen["growth"] = "stops"
    elif row.scenario.startswith("rollout"):
        chosen["rollout"] = "3"
    else:
        chosen["prices"] = "cut"
    return "?" + urlencode(chosen)


# -- drawings and their tables -------------------------------------------------------------------------------------


def _years(view: ForecastView) -> tuple[YearRow, ...]:
    count = len(view.optimised.years)
    rows = [
        YearRow(
            f"Year {i + 1}" if count > 1 else f"{view.months} months", *(policy.years[i] for policy in view.policies)
        )
        for i in range(count)
    ]
    if count > 1:
        rows.append(YearRow(f"{view.months} months", *(policy.total for policy in view.policies)))
    return tuple(rows)


def _few_tries(view: ForecastView) -> str:
    """What the backtest cannot say yet; '' when every horizon has been tried and held."""
    untried = [str(row.weeks) for row in view.accuracy if not row.tries]
    narrow = [row for row in view.accuracy if row.coverage_80 is not None and row.coverage_80 < LEAST_COVERAGE]
    parts = []
    if untried:
        parts.append(f"{' and '.join(untried)} weeks ahead could not be tried yet: the history is too short.")
    parts += [
        f"{row.weeks} weeks ahead the 80% band held only {pct(row.coverage_80, 0)} of the time: expect surprises there."
        for row in narrow
    ]
    return " ".join(parts)


def _how_inputs(view: ForecastView) -> list[tuple[str, str]]:
    return [
        (
            "Volumes",
            "level and damped growth per class from whole weeks, growth drawn towards that of all classes",
        ),
        ("Uniform", f"every class on {view.baseline_name}, no batch, caching only where its client caches by itself"),
        ("Current", "the last 28 days re-priced, per unit of volume: shares, caching and batch as they happened"),
        ("Optimised", "the active policy plus proven moves and levers of the recommendation, rolled out in stages"),
        ("History", f"{datefmt(view.history_from)} to {datefmt(view.cutoff)}"),
        ("Policy", view.policy or "none in force"),
        ("Standard error of the mean", usd0(view.optimised.total.standard_error_usd)),
        ("Inputs", view.inputs_hash[:12]),
    ]


def _fan(view: ForecastView) -> charts.Figure:
    past = [row.month for row in view.history]
    spent = [row.spent_usd for row in view.history]
    panels = [
        charts.FanPanel(
            policy="uniform" if policy.policy == "baseline" else policy.policy,
            title=_title(view, policy),
            detail=f"{_short(policy.total.mean_usd)} in {view.months} months, 80%: "
            f"{_short(policy.total.p10_usd)} to {_short(policy.total.p90_usd)}",
            history_months=past,
            history_usd=[row.baseline_usd for row in view.history] if policy.policy == "baseline" else spent,
            months=[row.start for row in view.rows],
            quantiles={
                float(p): values
                for p, values in policy.quantiles_usd.items()
                if p in {"0.025", "0.1", "0.5", "0.9", "0.975"}
            },
            repriced=policy.policy == "baseline",
        )
        for policy in view.policies
    ]
    return charts.fan(panels, view.cutoff)


def _title(view: ForecastView, policy: PolicyForecast) -> str:
    return f"All on {view.baseline_name}" if policy.policy == "baseline" else TITLES[policy.policy]


def _short(value: Decimal) -> str:
    """Two decimals of a million or whole thousands: what a panel's head has room for."""
    return signed(value / 10**6, 2, "$", " M") if value >= 999_500 else signed(value / 10**3, 0, "$", " k")


def _fan_summary(view: ForecastView) -> str:
    parts = [
        f"{_title(view, policy)}: {usd0(policy.total.mean_usd)}, 80% between {usd0(policy.total.p10_usd)} and "
        f"{usd0(policy.total.p90_usd)}, 95% between {usd0(policy.p025_usd)} and {usd0(policy.p975_usd)}"
        for policy in view.policies
    ]
    return f"Sum of {view.months} months, estimate. " + ". ".join(parts) + "."


def _fan_rows(view: ForecastView) -> Rows:
    rows: Rows = [
        [month(row.month), usd0(row.baseline_usd), usd0(row.spent_usd), None, None, None, "known"]
        for row in view.history
    ]
    for i, row in enumerate(view.rows):
        baseline, current, optimised = (policy.quantiles_usd for policy in view.policies)
        rows.append(
            [
                _month_name(row.start),
                usd0(baseline["0.5"][i]),
                usd0(current["0.5"][i]),
                usd0(optimised["0.5"][i]),
                f"{usd0(optimised['0.1'][i])}–{usd0(optimised['0.9'][i])}",
                f"{usd0(optimised['0.025'][i])}–{usd0(optimised['0.975'][i])}",
                "estimate",
            ]
        )
    return rows


def _month_name(start: object) -> str:
    return month(start) if getattr(start, "day", 1) == 1 else datefmt(start)


def _hindsight(view: ForecastView) -> charts.Figure | None:
    rows = [charts.Hindsight(row.month, row.low_usd, row.high_usd, row.actual_usd) for row in view.hindsight]
    return charts.hindsight(rows, months_before=0) if rows else None


def _hindsight_rows(view: ForecastView) -> Rows:
    return [
        [
            month(row.month),
            usd0(row.low_usd),
            usd0(row.high_usd),
            usd0(row.actual_usd),
            "yes" if row.is_inside else "no",
        ]
        for row in view.hindsight
    ]


def _hindsight_summary(view: ForecastView) -> str:
    if not view.hindsight:
        return ""
    inside = sum(row.is_inside for row in view.hindsight)
    return (
        f"{inside} of {len(view.hindsight)} months ({pct(inside / len(view.hindsight), 0)}) lay inside the 80% band "
        "forecast from the days before them. Both at today's cost per request, so that only volume is judged."
    )


urlpatterns = [path("forecast/", forecast_page, name="forecast")]
