"""Verdicts of 200 classes × 10 models from five million case results: after an import, and where nothing is kept.

    python bench/verdicts_at_scale.py [--results 5000000] [--classes 200] [--json]

Target: one second after import, in a process that has just started. Beside it: what it takes to keep the evidence of
every class (an import pays it for its own classes only), and the floor, one aggregate over the cases in the database.
"""

import argparse
import json
import os
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bench.services import own_services, run  # noqa: E402 - found through the path above

AS_OF = datetime(2026, 11, 24, tzinfo=UTC)
_FILL = """
    INSERT INTO routing_evalcase (run_id, sample_id, repeat, prompt_version, mode, model, model_raw, run_at, score,
                                  error, uncached_input_tok, cache_read_tok, cache_write_5m_tok, cache_write_1h_tok,
                                  output_tok)
    SELECT %s, 'S-' || n, '', '', '', 'claude-model-' || m, 'claude-model-' || m, '2026-11-09T10:00:00Z',
           CASE WHEN draw < 0.003 THEN NULL WHEN draw < 0.9 + 0.008 * m THEN 1 ELSE 0 END,
           CASE WHEN draw < 0.003 THEN 'timeout' ELSE '' END, 1000, 0, 0, 0, 100
    FROM (SELECT n, m, random() AS draw FROM generate_series(1, %s) n, generate_series(0, 9) m) drawn
"""


def child_fill(results: int, classes: int) -> None:
    import django

    django.setup()
    from django.db import connection, transaction

    from routing.models import EvalImport, EvalRun
    from routing.operations.classes import save_class
    from routing.operations.eval_parts import write_parts

    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT setseed(0.5)")
        file = EvalImport.objects.create(file_name="all", sha256="0" * 64, format="csv", imported_at=AS_OF)
        for number in range(classes):
            row = save_class(actor=None, slug=f"class-{number}", facts={"title": f"Class {number}"}, as_of=AS_OF)
            run_row = EvalRun.objects.create(
                eval_import=file, request_class=row, suite=f"suite-{number}", run_at=AS_OF, results=results // classes
            )
            cursor.execute(_FILL, [run_row.pk, results // classes // 10])
            write_parts([run_row.pk])
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    _report(results, time.perf_counter())


def child_floor(results: int, classes: int) -> None:
    import django

    django.setup()
    from django.db import connection

    with connection.cursor() as cursor:
        begun = time.perf_counter()
        cursor.execute("SELECT run_id, model, count(score), sum(score) FROM routing_evalcase GROUP BY 1, 2")
        _report(len(cursor.fetchall()), begun)


def child_keep(results: int, classes: int) -> None:
    import django

    django.setup()
    from routing.operations.evidence_changed import judge_again

    begun = time.perf_counter()
    judge_again(as_of=AS_OF)
    _report(results, begun)


def child_verdicts(results: int, classes: int) -> None:
    import django

    django.setup()
    from routing.queries.kept_evidence import kept_verdicts

    begun = time.perf_counter()
    found = kept_verdicts(incumbents={}, as_of=AS_OF)
    _report(sum(len(each.verdicts) for each in found.values()), begun)


def _report(rows: int, begun: float) -> None:
    print(json.dumps({"rows": rows, "seconds": time.perf_counter() - begun}))


def measured(results: int, classes: int) -> dict[str, Any]:
    """Seconds of each step, every one in a process of its own."""
    with own_services() as environment:

        def child(kind: str) -> dict[str, Any]:
            words = [str(Path(__file__)), "--child", kind, "--results", str(results), "--classes", str(classes)]
            shown: dict[str, Any] = json.loads(run(words, environment).strip().splitlines()[-1])
            return shown

        child("fill")
        floor, keep = child("floor"), child("keep")
        verdicts = min((child("verdicts") for _ in range(3)), key=lambda one: float(one["seconds"]))
    if verdicts["rows"] != classes * 10:
        raise SystemExit(f"{verdicts['rows']} verdicts instead of {classes * 10}")
    return {"floor": floor, "keep": keep, "verdicts": verdicts}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=int, default=5_000_000)
    parser.add_argument("--classes", type=int, default=200)
    parser.add_argument("--json", action="store_true", help="one JSON document")
    parser.add_argument("--child", choices=["fill", "floor", "keep", "verdicts"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        children = {"fill": child_fill, "floor": child_floor, "keep": child_keep, "verdicts": child_verdicts}
        children[options.child](options.results, options.classes)
        return
    figures = measured(options.results, options.classes)
    if options.json:
        print(json.dumps({"cores": os.cpu_count(), "load": os.getloadavg(), **figures}))
        return
    print(f"{options.results:,} results, {options.classes} × 10 verdicts, load {os.getloadavg()[0]:.1f}")
    print(f"  verdicts from what is kept         {figures['verdicts']['seconds']:8.2f} s   target 1 s")
    print(f"  gather, judge and keep all of it   {figures['keep']['seconds']:8.2f} s")
    print(f"  floor: one aggregate in PostgreSQL {figures['floor']['seconds']:8.2f} s")


if __name__ == "__main__":
    main()
