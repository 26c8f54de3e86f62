"""An estate of many classes and models with evidence and usage, written by the database itself. Needs Django set up.

Every class is served by one of the models and has one run, on all models, of so many distinct cases. Rates of passing
are spread so that every verdict occurs. Figures are made up; only their number matters here.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from django.db import connection, transaction

_CASES = """
INSERT INTO routing_evalcase (run_id, sample_id, repeat, prompt_version, mode, model, model_raw, run_at, score, error,
    uncached_input_tok, cache_read_tok, cache_write_5m_tok, cache_write_1h_tok, output_tok, cost_usd, latency_ms)
SELECT r.id, 'case-' || n, '', '', '', m.name, m.name, r.run_at,
       ((n * 7919 + r.id * 104729 + m.place * 1299709) %% 1000 < 995 - 35 * m.place - (r.id %% 60))::int,
       '', 900 + n %% 200, 0, 0, 0, 200 + n %% 50, 0.001 * m.place + 0.0001 * (n %% 10), 400 + n %% 300
FROM routing_evalrun r, unnest(%s::text[]) WITH ORDINALITY AS m(name, place), generate_series(1, %s) AS n
WHERE r.eval_import_id = %s
"""


def build(*, prefix: str, classes: int, models: int, cases: int, as_of: datetime) -> int:
    """Write the estate beside what is there; returns the number of results. Raises ValueError for too few models."""
    from audit.operations import bump_data_version
    from billing.models import DailyUsage, ModelRelease, Price, UsageSource
    from routing.models import EvalImport, EvalRun, RequestClass
    from routing.operations.eval_parts import write_parts
    from routing.operations.kept_evidence import keep_evidence

    priced = Price.objects.order_by().values_list("model", flat=True).distinct()
    names = sorted(ModelRelease.objects.filter(canonical_id__in=priced).values_list("canonical_id", flat=True))[:models]
    if len(names) < models:
        raise ValueError(f"only {len(names)} models have a price; {models} were asked for")
    at = as_of - timedelta(days=3)
    with transaction.atomic():
        made = RequestClass.objects.bulk_create(
            RequestClass(
                slug=f"{prefix}-{n:03}", title=f"{prefix.title()} {n:03}", quality_owner=f"Team {n % 12}", bar="0.95"
            )
            for n in range(classes)
        )
        file = EvalImport.objects.create(
            file_name=f"{prefix}.csv",
            sha256=prefix.rjust(64, "0"),
            format="csv",
            imported_at=at,
            cases=classes * models * cases,
        )
        runs = EvalRun.objects.bulk_create(
            EvalRun(eval_import=file, request_class=row, suite=row.slug, run_at=at, results=models * cases)
            for row in made
        )
        with connection.cursor() as cursor:
            cursor.execute(_CASES, [names, cases, file.pk])
        write_parts([run.pk for run in runs])
        source, _ = UsageSource.objects.get_or_create(name="bench", defaults={"grain": "request"})
        day = datetime(as_of.year, as_of.month, as_of.day, tzinfo=UTC).date()
        DailyUsage.objects.bulk_create(
            DailyUsage(
                date=day - timedelta(days=back), source=source, origin="log", channel="anthropic",
                model=names[n % models], service_tier="standard", prompt_length_band="0-200k", geo="global",
                speed="standard", request_class=row.slug, requests=1000 + n, uncached_input_tok=900_000,
                output_tok=200_000,
            )
            for n, row in enumerate(made)
            for back in range(1, 29)
        )  # fmt: skip
        keep_evidence(as_of=as_of)
        bump_data_version()
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    return classes * models * cases
