"""p50 and p95 of the Overview, a class page and the eval matrix, beside an empty view.

    python bench/pages.py [--requests 300] [--estates 50x5x400,200x10x400] [--json]

The empty view has the same middleware, log-in and base template and shows nothing. All are asked in turn in one
process, through the whole of Django. Warm: the figures of the current data version are in the cache. Cold: they are
not, as after an import (the first person to look pays). Budget: p95 of the warm Overview at most 8 times that of the
empty view.

The matrix is asked on the demo and then on estates of so many classes, models and cases of each, with all of its parts:
the first page, a later page, one verdict, one model, one class by name, and the download. Budget: p95 of each, warm,
at most 200 ms. With very many results the first look does not wait for what missing evidence is worth; that is asked
once the page is shown. Budget: 2 s. A recommendation alone is measured from evidence that is kept, and from results.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import sys
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

BUDGET = 8.0
COLD_REQUESTS = 10
EMPTY, OVERVIEW, CLASS_PAGE = "/bench-empty/", "/", "/classes/agentic-coding/"
MATRIX_BUDGET_MS = 200.0
MATRIX = ("/evals/", "/evals/?page=2", "/evals/?verdict=falls_short&sort=rate", "/evals/?model=serves&sort=verdict",
          "/evals/?q=00", "/download/evals.csv")  # fmt: skip


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


def matrix_child(estate: str, requests: int) -> None:
    """In a process with the demo loaded: build an estate ('' = none), ask the matrix, print one JSON document."""
    import django

    django.setup()
    from django.contrib.auth import get_user_model
    from django.core.cache import cache
    from django.test import Client, override_settings
    from django.utils import timezone

    figures: dict[str, Any] = {"estate": estate or "demo", "pages": {}}
    if estate:
        from bench.matrix_estate import build

        classes, models, cases = (int(part) for part in estate.split("x"))
        begun = time.perf_counter()
        figures["results"] = build(
            prefix=f"e{classes}", classes=classes, models=models, cases=cases, as_of=timezone.now()
        )
        figures["built_seconds"] = time.perf_counter() - begun
    with override_settings(ALLOWED_HOSTS=["testserver"]):
        client = Client()

        def ask(address: str) -> float:
            begun = time.perf_counter()
            answer = client.get(address)
            held = answer.getvalue()
            took = time.perf_counter() - begun
            if answer.status_code != 200:
                raise SystemExit(f"{address} answered {answer.status_code}")
            figures["pages"].setdefault(address, {})["bytes"] = len(held)
            return took

        cold = []
        for _ in range(3):
            _forget(cache.clear)
            client.force_login(get_user_model().objects.get(username="victor"))
            cold.append(ask(MATRIX[0]))
        figures["cold_s"] = statistics.median(cold)
        computing = time.process_time()
        figures["money_s"] = ask("/evals/money/")
        figures["money_cpu_s"] = time.process_time() - computing
        figures["recommend"] = _recommend(timezone.now())
        figures["memory_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        seconds: dict[str, list[float]] = {address: [] for address in MATRIX}
        for _ in range(requests):
            for address, taken in seconds.items():
                taken.append(ask(address))
    for address, taken in seconds.items():
        figures["pages"][address] |= percentiles(taken)
    print(json.dumps(figures))


def _recommend(as_of: datetime) -> dict[str, float]:
    """Seconds of a recommendation alone: from what is kept, and when all of that is gathered anew."""
    from costgov.queries.recommendation import recommendation_view
    from routing.models import ClassEvidence

    def measured(name: str) -> dict[str, float]:
        begun, computing = time.perf_counter(), time.process_time()
        recommendation_view(as_of=as_of)
        took, computed = time.perf_counter() - begun, time.process_time() - computing
        return {f"{name}_s": took, f"{name}_cpu_s": computed}

    figures = measured("kept")
    held = list(ClassEvidence.objects.all())
    ClassEvidence.objects.all().delete()
    figures |= measured("gathered")
    ClassEvidence.objects.bulk_create(held)
    return figures


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
    parser.add_argument(
        "--estates", default="50x5x400,200x10x400", help="classes x models x cases of each, for the matrix"
    )
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--matrix-child", default=None, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.matrix_child is not None:
        matrix_child(options.matrix_child, options.requests)
        return
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
        matrices = []
        for estate in ("", *(each for each in options.estates.split(",") if each)):
            print(f"asking the eval matrix of {estate or 'the demo'} …", file=sys.stderr)
            asked = ["bench/pages.py", "--matrix-child", estate, "--requests", str(options.requests)]
            matrices.append(json.loads(run(asked, environment).strip().splitlines()[-1]))
    figures = json.loads(output.strip().splitlines()[-1])
    figures["matrix"] = matrices
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
    for matrix in figures["matrix"]:
        print(
            f"eval matrix, {matrix['estate']}: first look after an import {matrix['cold_s']:.2f} s, "
            f"then what the evidence is worth {matrix['money_s']:.2f} s ({matrix['money_cpu_s']:.2f} s of this process)"
        )
        alone = matrix["recommend"]
        print(
            f"  a recommendation alone {alone['kept_s']:.2f} s ({alone['kept_cpu_s']:.2f} s of this process), with all "
            f"evidence gathered anew {alone['gathered_s']:.2f} s ({alone['gathered_cpu_s']:.2f} s); "
            f"most memory {matrix['memory_mb']:,.0f} MB"
        )
        for address, row in matrix["pages"].items():
            if "p50_ms" not in row:
                continue
            met = "within" if row["p95_ms"] <= MATRIX_BUDGET_MS else "ABOVE"
            print(
                f"  {address:44} p50 {row['p50_ms']:7.1f} ms  p95 {row['p95_ms']:7.1f} ms  {met} "
                f"{MATRIX_BUDGET_MS:.0f} ms  ({row['requests']} requests, {row['bytes'] / 1000:,.0f} kB)"
            )
    word = "within" if figures["ratio_p95"] <= BUDGET else "ABOVE"
    print(f"Overview / empty view at p95, warm: {figures['ratio_p95']:.1f}x, {word} the budget of {BUDGET:.0f}x")


if __name__ == "__main__":
    main()
