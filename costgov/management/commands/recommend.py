"""manage.py recommend: the cheapest policy that clears every bar, and what each lever saves."""

import sys
from argparse import ArgumentParser
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from django.core.management.base import BaseCommand

from billing.core.words import percent, signed
from costgov.jsonout import dumps
from costgov.pages import now
from costgov.queries.recommendation import ClassRow, NoBaseline, RecommendationView, recommendation_view
from costgov.queries.savings import Waterfall, waterfall
from routing.core.levers import LEVERS, Lever


class Command(BaseCommand):
    help = "Recommend a model per class from measured quality and cost; report the saving by lever."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--baseline", default="", help="model of the uniform counterfactual (default: Settings)")
        parser.add_argument("--levers", default=",".join(LEVERS), help="comma separated: routing,caching,batch")
        parser.add_argument("--as-of", type=date.fromisoformat, help="a UTC day, as 2026-11-22 (default: today)")
        parser.add_argument("--json", action="store_true", help="one JSON document on standard output")

    def handle(self, *args: Any, **options: Any) -> None:
        named = [name.strip() for name in options["levers"].split(",") if name.strip()]
        unknown = sorted(set(named) - set(LEVERS))
        if unknown or not named:
            wrong = f"unknown {', '.join(unknown)}" if unknown else "names no lever"
            self.stderr.write(f"--levers {options['levers']}: {wrong}; use some of {', '.join(LEVERS)}")
            sys.exit(2)
        levers: list[Lever] = [lever for lever in LEVERS if lever in named]
        day = options["as_of"]
        as_of = datetime(day.year, day.month, day.day, tzinfo=UTC) if day else now()
        try:
            view = recommendation_view(as_of=as_of, baseline_model=options["baseline"], levers=levers)
        except NoBaseline as error:
            self.stderr.write(str(error))
            sys.exit(2)
        self.stdout.write(dumps(view, indent=True).decode() if options["json"] else _table(view))


def _table(view: RecommendationView) -> str:
    head = f"{view.start} to {view.end} (28 whole days before the second), uniform baseline {view.baseline_model}"
    if not view.classes:
        unsolved = [f"not solved: {row.request_class}: {row.reason}" for row in view.unsolved]
        said = "Nothing is recommended:" if unsolved else f"Nothing is recommended: {_NO_CLASS}"
        return "\n".join([head, said, *unsolved])
    lines = [
        head,
        f"{'class':<24} {'now on':<20} {'recommended':<20} {'saves now':>12}  why",
    ]
    lines += [
        f"{row.request_class:<24} {row.incumbent:<20} {row.target:<20} {signed(row.saving_usd, 2):>12}  {row.reason}"
        for row in view.classes
    ]
    lines += ["", *_waterfall(waterfall(view)), ""]
    lines += [
        f"{part.lever:<8} {signed(part.saving_usd, 6):>14} usd in this order, {signed(part.shapley_usd, 6):>14} usd "
        "whatever the order"
        for part in view.total.parts
    ]
    lines.append(
        f"recommended {signed(view.total.recommended_cost_usd, 6)} usd; now {signed(view.current_cost_usd, 6)} usd"
    )
    limits = view.limits
    if limits is not None and limits.problem:
        lines.append(f"limits of the whole estate are not kept: {limits.problem}")
    elif limits is not None:
        lines.append(f"limits of the whole estate cost {signed(limits.cost_usd_per_month, 2)} usd a month")
        lines += [f"  {each.text}: {signed(each.usd_per_month, 2)} usd a month" for each in limits.binding]
    lines += [
        f"split: {row.request_class}: {percent(row.target_share)} on {row.target}, the rest on {row.split_with}"
        for row in view.classes
        if row.split_with
    ]
    lines += [
        f"{row.request_class}: the switch starts with a cold cache: at most {signed(row.cold_cache_usd, 2)} usd once"
        for row in view.classes
        if row.cold_cache_usd is not None
    ]
    lines += [line for row in view.classes for line in _losing(row)]
    lines += [
        f"{row.request_class}: cascade {'recommended' if row.cascade.is_recommended else 'not recommended'}: "
        f"{row.cascade.reason}{_a_month(row.cascade.loss_usd_per_month)}"
        for row in view.classes
        if row.cascade is not None
    ]
    lines += [f"not solved: {row.request_class}: {row.reason}" for row in view.unsolved]
    lines += [
        f"evidence missing: {row.request_class} on {row.model}: {row.verdict_text}, "
        f"worth {signed(row.saving_usd, 2)} usd"
        for row in view.missing_evidence
    ]
    return "\n".join(lines)


_NO_CLASS = "no class is registered. Register one on the Classes page, or import evals with --create-classes."


def _losing(row: ClassRow) -> list[str]:
    """Levers that are not recommended as they lose money, and how much."""
    lines = [
        f"{row.request_class}: {option.reason}{_a_month(option.loss_usd_per_month)}"
        for option in row.caching_options
        if option.loss_usd_per_month is not None
    ]
    if row.batch_loss_usd_per_month is not None:
        lines.append(f"{row.request_class}: {row.batch_reason}{_a_month(row.batch_loss_usd_per_month)}")
    return lines


def _a_month(loss_usd: Decimal | None) -> str:
    return "" if loss_usd is None else f"; {signed(loss_usd, 2)} usd a month more"


_STEP = {"routing": "routed", "caching": "cached", "batch": "batched"}


def _waterfall(found: Waterfall) -> list[str]:
    """Cents that add up along rows and columns: the figures of the Savings page and of GET /api/v1/savings."""
    names = [_STEP[lever] for lever in found.levers]
    head = f"{'waterfall, usd':<24} {'baseline':>14}" + "".join(f"{name:>14}" for name in names)
    rows = [(row.request_class, row.baseline_usd, row.saved_usd, row.recommended_usd) for row in found.rows]
    rows.append(("all classes", found.baseline_usd, found.saved_usd, found.recommended_usd))
    return [
        f"{head}{'recommended':>14}",
        *(
            f"{name:<24} {signed(baseline, 2):>14}"
            + "".join(f"{signed(-usd, 2):>14}" for usd in saved)
            + f"{signed(recommended, 2):>14}"
            for name, baseline, saved, recommended in rows
        ),
    ]
