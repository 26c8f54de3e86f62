"""p50 and p95 of the Overview and of a class page on the demo, beside an empty view.

    python bench/pages.py [--requests 300] [--json]

The empty view has the same middleware, log-in and base template and shows nothing. All are asked in turn in one
process, through the whole of Django. Warm: the figures of the current data version are in the cache. Cold: they are
not, as after an import (the first person to look pays). Budget: p95 of the warm Overview at most 8 times that of the
empty view.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

BUDGET = 8.0
COLD_REQUESTS = 10
EMPTY, OVERVIEW, CLASS_PAGE = "/bench-empty/", "/", "/classes/agentic-coding/"


def percentiles(seconds: list[float]) -> dict[str, float]:
    """p50 and p95 in milliseconds."""
    cuts = statistics.quantiles(seconds, n=20, method="inclusive")
    return {"p50_ms": cuts[9] * 1000, "p95_ms": cuts[18] * 1000, "requests": len(seconds)}


def child(requests: int) -> None:
    """In a process with the demo loaded: ask, measure, print one JSON document."""
    import django

    django.setup()
    from django.contrib.auth import get_user_model
    from django.core.cache import cache
    from django.http import HttpRequest, HttpResponse
    from django.shortcuts import render
    from django.test import Client, override_settings
    from django.urls import path

    from costgov import urls

    def empty(request: HttpRequest) -> HttpResponse:
        return render(request, "base.html")

    urls.urlpatterns.append(path(EMPTY.lstrip("/"), empty))
    with override_settings(ALLOWED_HOSTS=["testserver"]):
        client = Client()
        client.force_login(get_user_model().objects.get(username="victor"))

        def ask(address: str) -> tuple[float, int]:
            begun = time.perf_counter()
            answer = client.get(address)
            took = time.perf_counter() - begun
            if answer.status_code != 200:
                raise SystemExit(f"{address} answered {answer.status_code}")
            return took, len(answer.content)

        figures: dict[str, Any] = {"cpus": os.cpu_count()}
        for address in (EMPTY, OVERVIEW, CLASS_PAGE):  # compile templates, open connections
            figures[address] = {"bytes": ask(address)[1]}
        cold: dict[str, list[float]] = {OVERVIEW: [], CLASS_PAGE: []}
        for _ in range(COLD_REQUESTS):
            for address, seconds in cold.items():
                _forget(cache.clear)
                client.force_login(get_user_model().objects.get(username="victor"))
                seconds.append(ask(address)[0])
        for address in (OVERVIEW, CLASS_PAGE):
            ask(address)
        warm: dict[str, list[float]] = {EMPTY: [], OVERVIEW: [], CLASS_PAGE: []}
        for _ in range(requests):
            for address, seconds in warm.items():
                seconds.append(ask(address)[0])
    for address, seconds in warm.items():
        figures[address]["warm"] = percentiles(seconds)
    for address, seconds in cold.items():
        figures[address]["cold"] = percentiles(seconds)
    figures["ratio_p95"] = figures[OVERVIEW]["warm"]["p95_ms"] / figures[EMPTY]["warm"]["p95_ms"]
    print(json.dumps(figures))


def _forget(clear: Callable[[], Any]) -> None:
    """Everything a new process on new data would not know."""
    from routing.core import decisions

    clear()
    decisions._measured.cache_clear()
    decisions._measured_tally.cache_clear()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=300, help="warm requests of each page")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(options.requests)
        return
    from bench.services import own_services, run

    with own_services() as environment:
        begun = time.perf_counter()
        print("loading the demo …", file=sys.stderr)
        run(["manage.py", "demo", "--json"], environment)
        loaded = time.perf_counter() - begun
        output = run(["bench/pages.py", "--child", "--requests", str(options.requests)], environment)
    figures = json.loads(output.strip().splitlines()[-1])
    figures["demo_seconds"] = loaded
    if options.json:
        print(json.dumps(figures))
        return
    print(f"demo loaded in {loaded:.1f} s; {figures['cpus']} cores; one process, pages asked in turn")
    for address, title in ((EMPTY, "empty view"), (OVERVIEW, "Overview"), (CLASS_PAGE, "class page")):
        page = figures[address]
        for state in ("warm", "cold"):
            if state in page:
                row = page[state]
                print(
                    f"{title:12} {state}  p50 {row['p50_ms']:8.1f} ms  p95 {row['p95_ms']:8.1f} ms"
                    f"  ({row['requests']} requests, {page['bytes'] / 1000:,.0f} kB)"
                )
    word = "within" if figures["ratio_p95"] <= BUDGET else "ABOVE"
    print(f"Overview / empty view at p95, warm: {figures['ratio_p95']:.1f}x, {word} the budget of {BUDGET:.0f}x")


if __name__ == "__main__":
    main()
