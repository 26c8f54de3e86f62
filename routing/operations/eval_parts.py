"""What each eval run holds of each model, in sums: kept beside its cases so that nobody reads them again."""

from collections.abc import Sequence

from django.db import connection

_PARTS = """
INSERT INTO routing_evalrunpart (run_id, model, model_raw, prompt_version, mode, results, scored, passed, score_sum,
                                 first_at, last_at, last_scored_at)
SELECT run_id, model, model_raw, prompt_version, mode, count(*), count(score), count(*) FILTER (WHERE score = 1),
       coalesce(sum(score), 0), min(run_at), max(run_at), max(run_at) FILTER (WHERE score IS NOT NULL)
FROM routing_evalcase WHERE run_id = ANY(%s) GROUP BY run_id, model, model_raw, prompt_version, mode
"""


def write_parts(run_ids: Sequence[int]) -> None:
    """Sum up the cases of new runs. Inside the transaction that wrote them; once for each run."""
    with connection.cursor() as cursor:
        cursor.execute(_PARTS, [list(run_ids)])
