"""manage.py forecast: spend of the coming months under three policies, with its uncertainty."""

import sys
from argparse import ArgumentParser
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from django.core.management.base import BaseCommand

from billing.core.scenarios import UnknownScenario, parse_scenario
from billing.core.words import percent, signed
from billing.queries.forecasts import forecast_result
from costgov.jsonout import dumps
from costgov.operations.forecast import make_forecast
from costgov.pages import now
from costgov.queries.forecast import PAGE_PATHS
from costgov.queries.forecast_inputs import ForecastRefused
from costgov.queries.recommendation import NoBaseline
from routing.queries.classes import class_slugs

_LABELS = {"baseline": "uniform baseline", "current": "current policy", "optimised": "optimised"}


class Command(BaseCommand):
    help = "Forecast spend under the uniform baseline, the current and the optimised policy, and keep it."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--scenario",
            default="base",
            help="base, growth-stops, growth:0.2, list-33, list+10@7, prices:NAME, rollout+3, off:CLASS; "
            "several with commas",
        )
        parser.add_argument("--horizon", type=int, default=12, metavar="MONTHS", help="1 to 60 (default: 12)")
        parser.add_argument("--from", dest="start", help="first day, YYYY-MM-DD (default: the first of next month)")
        parser.add_argument("--paths", type=int, default=PAGE_PATHS, help="simulated futures (default: 2000)")
        parser.add_argument("--as-of", type=date.fromisoformat, help="a UTC day, as 2026-11-22 (default: today)")
        parser.add_argument("--json", action="store_true", help="one JSON document on standard output")

    def handle(self, *args: Any, **options: Any) -> None:
        day = options["as_of"]
        as_of = datetime(day.year, day.month, day.day, tzinfo=UTC) if day else now()
        try:
            forecast = make_forecast(
                actor=None,
                as_of=as_of,
                start=date.fromisoformat(options["start"]) if options["start"] else None,
                months=options["horizon"],
                paths=options["paths"],
                scenario=parse_scenario(options["scenario"], months=options["horizon"], classes=sorted(class_slugs())),
            )
        except (ForecastRefused, NoBaseline, UnknownScenario, ValueError) as error:
            self.stderr.write(str(error))
            sys.exit(2)
        result = forecast_result(forecast.pk)
        self.stdout.write(dumps(result, indent=True).decode() if options["json"] else _table(result))


def _table(result: dict[str, Any]) -> str:
    """The saved result for people: sums, months, how far to trust it."""

    def usd(text: str) -> str:
        return signed(Decimal(text), 0)

    policies = {row["policy"]: row for row in result["policies"]}
    lines = [
        f"Forecast {result['id']}, {result['start']} to {result['end']} (end not included), estimate at list prices",
        f"usage known to {result['cutoff']}; {result['paths']} paths; scenario: {result['scenario_text']}; "
        f"history: {result['grade']}; baseline {result['baseline_model']}",
        f"{'sum of all months, usd':<24}{'mean':>14}{'P10':>14}{'P50':>14}{'P90':>14}",
    ]
    for name, row in policies.items():
        total = row["total"]
        figures = "".join(f"{usd(total[key]):>14}" for key in ("mean_usd", "p10_usd", "p50_usd", "p90_usd"))
        lines.append(f"{_LABELS[name]:<24}{figures}")
    lines.append(f"{'month (means)':<24}{'uniform':>14}{'current':>14}{'optimised':>14}   80% band, optimised")
    lines += [
        f"{row['start']:<24}{usd(row['baseline_usd']):>14}{usd(row['current_usd']):>14}{usd(row['optimised_usd']):>14}"
        f"   {usd(row['low_usd'])} to {usd(row['high_usd'])}"
        for row in result["rows"]
    ]
    difference = result["difference"]
    lines.append(
        f"current less optimised {usd(difference['total_usd'])}: approved {usd(difference['approved_usd'])}, "
        f"proven but not approved {usd(difference['proven_usd'])}"
    )
    for row in result["accuracy"]:
        if row["tries"]:
            lines.append(
                f"backtest {row['weeks']:>2} weeks ahead: median error {percent(row['median_error'])}, 80% band held "
                f"{percent(row['coverage_80'], 0)} of {row['tries']} overlapping tries"
            )
    if result["unpriced_tok"]:
        lines.append(f"not in it: {result['unpriced_tok']:,} tokens of the last 28 days without a price")
    lines += [f"not forecast: {row['title']}: {row['reason']}" for row in result["left_out"]]
    return "\n".join(lines)
