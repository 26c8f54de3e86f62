"""Make a forecast and keep it: what a sizing rests on, and what later months are held against."""

from datetime import date, datetime

from django.contrib.auth.models import AbstractBaseUser
from django.db import transaction

from audit import operations as audit
from audit.roles import Right, require
from billing.core.scenarios import BASE, Scenario
from billing.models import Forecast
from billing.queries.forecasts import pack_paths
from costgov.jsonout import plain
from costgov.queries.forecast import PAGE_PATHS, prepare_forecast, run_forecast


def make_forecast(
    *,
    actor: AbstractBaseUser | None,
    as_of: datetime,
    start: date | None = None,
    months: int = 12,
    paths: int = PAGE_PATHS,
    scenario: Scenario = BASE,
    rollout_start: date | None = None,
    is_demo: bool = False,
) -> Forecast:
    """Forecast `months` months from `start` (default: the first of next month) and save it with its paths.

    The same inputs give the forecast already saved. Raises Forbidden, ForecastRefused (too little history, a start in
    the past), NoBaseline.
    """
    require(actor, Right.MAKE_FORECAST)
    prepared = prepare_forecast(
        as_of=as_of, start=start, months=months, paths=paths, scenario=scenario, rollout_start=rollout_start
    )
    existing = Forecast.objects.filter(inputs_hash=prepared.inputs_hash).first()
    if existing is not None:
        return existing
    view, sampled = run_forecast(prepared)
    with transaction.atomic():
        forecast, created = Forecast.objects.get_or_create(
            inputs_hash=prepared.inputs_hash,
            defaults={
                "cutoff_date": prepared.inputs.cutoff,
                "created_by_id": actor.pk if actor is not None else None,
                "created_at": as_of,
                "scenario": {"name": scenario.name, "text": scenario.text},
                "inputs": prepared.described,
                "result": plain(view),
                "paths": pack_paths(sampled),
            },
        )
        if created:
            total = view.optimised.total
            audit.record(
                actor=actor,
                action="forecast.made",
                object_type="forecast",
                object_id=forecast.pk,
                object_label=f"{view.start} to {view.end}, {scenario.name}",
                after={
                    "inputs_hash": prepared.inputs_hash,
                    "cutoff": view.cutoff.isoformat(),
                    "paths": paths,
                    "optimised_mean_usd": format(total.mean_usd, "f"),
                },
                as_of=as_of,
                is_demo=is_demo,
            )
    return forecast
