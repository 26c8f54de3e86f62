"""manage.py frontier: what each point of quality costs the whole estate."""

import sys
from argparse import ArgumentParser
from datetime import UTC, date, datetime
from typing import Any

from django.core.management.base import BaseCommand

from billing.core.words import percent, signed
from costgov.jsonout import dumps
from costgov.pages import now
from costgov.queries.estate import FrontierView, frontier_view
from costgov.queries.recommendation import NoBaseline


class Command(BaseCommand):
    help = "Corners of the cost-quality frontier of the estate, and the move that leads to each."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--as-of", type=date.fromisoformat, help="a UTC day, as 2026-11-22 (default: today)")
        parser.add_argument("--json", action="store_true", help="one JSON document on standard output")

    def handle(self, *args: Any, **options: Any) -> None:
        day = options["as_of"]
        as_of = datetime(day.year, day.month, day.day, tzinfo=UTC) if day else now()
        try:
            view = frontier_view(as_of=as_of)
        except NoBaseline as error:
            self.stderr.write(str(error))
            sys.exit(2)
        self.stdout.write(dumps(view, indent=True).decode() if options["json"] else _table(view))


def _table(view: FrontierView) -> str:
    lines = [
        f"{view.start} to {view.end}, estimates a month; mean pass rate over {percent(view.rated_share)} of volume",
        f"{'usd a month':>14} {'quality':>9} {'usd a point':>12}  move",
    ]
    for corner in view.corners:
        move = f"{corner.request_class}: {corner.before} → {corner.after}" if corner.request_class else "cheapest"
        slope = "" if corner.usd_per_point is None else signed(corner.usd_per_point, 2)
        lines.append(f"{signed(corner.cost_usd_per_month, 2):>14} {percent(corner.quality, 2):>9} {slope:>12}  {move}")
    if not view.corners:
        lines.append("no class is rated: a pass rate from 30 cases of every model that may serve it is needed")
    for point in view.points:
        rate = point.why if point.quality is None else percent(point.quality, 2)
        lines.append(f"{signed(point.cost_usd_per_month, 2):>14} {rate:>9}  {point.name}")
    if view.if_cleared and view.if_cleared[0].cost_usd_per_month < view.corners[0].cost_usd_per_month:
        first = view.if_cleared[0]
        lines.append(
            f"if everything without evidence cleared, the cheapest would cost {signed(first.cost_usd_per_month, 2)} "
            f"at {percent(first.quality, 2)}"
        )
    lines += [f"not rated: {title}" for title in view.unrated]
    return "\n".join(lines)
