"""Write eval results as they are read, in batches, by COPY: a file of a million cases never lies in memory whole."""

from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.db import connection
from django.db.models import Q

from routing.core.evidence import CaseResult
from routing.models import EvalImport, EvalRun, EvalRunPart, RequestClass
from routing.operations.eval_parts import write_parts

BATCH = 20_000
_COLUMNS = (
    "sample_id", "repeat", "prompt_version", "mode", "model", "model_raw", "run_at", "score", "graded_score",
    "attempts", "error", "uncached_input_tok", "cache_read_tok", "cache_write_5m_tok", "cache_write_1h_tok",
    "output_tok", "cost_usd", "latency_ms",
)  # fmt: skip
_LIST = ", ".join(_COLUMNS)
_TABLE = "routing_evalcase"
_WAITING = "routing_evals_waiting"  # temporary: results that may repeat what an earlier file brought
_NULL = r"\N"
_ESCAPED = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})
_SCORES: Mapping[float | None, str] = {None: _NULL, 1.0: "1", 0.0: "0"}
_NEW_ONES = """
    WITH waiting AS (
        SELECT w.*, r.request_class_id AS class_id, r.suite, r.suite_version, r.is_live, md5(ROW({w})::text) AS what,
               row_number() OVER (
                   PARTITION BY r.request_class_id, r.suite, r.suite_version, md5(ROW({w})::text)) AS nth
        FROM {waiting} w JOIN routing_evalrun r ON r.id = w.run_id
    ), span AS (
        SELECT min(run_at) AS first_at, max(run_at) AS last_at FROM {waiting}
    ), saved AS (
        SELECT known.class_id, r.suite, r.suite_version, r.is_live, md5(ROW({c})::text) AS what,
               count(*) AS held
        FROM span, routing_evalrun r JOIN {table} c ON c.run_id = r.id
             CROSS JOIN LATERAL (VALUES (r.request_class_id), (r.filed_under_id)) AS known (class_id)
        WHERE r.eval_import_id <> %s AND c.run_at BETWEEN span.first_at AND span.last_at
          AND known.class_id IN (SELECT DISTINCT class_id FROM waiting)
        GROUP BY 1, 2, 3, 4, 5
    )
    INSERT INTO {table} (run_id, {columns})
    SELECT run_id, {columns} FROM waiting LEFT JOIN saved USING (class_id, suite, suite_version, is_live, what)
    WHERE nth > coalesce(held, 0)
""".format(  # noqa: S608 - our own names
    w=", ".join(f"w.{name}" for name in _COLUMNS),
    c=", ".join(f"c.{name}" for name in _COLUMNS),
    waiting=_WAITING,
    table=_TABLE,
    columns=_LIST,
)
_RUN_SUMS = """
    UPDATE routing_evalrun r SET results = p.results, left_out = p.results - p.scored, run_at = p.last_at
    FROM (SELECT run_id, sum(results) AS results, sum(scored) AS scored, max(last_at) AS last_at
          FROM routing_evalrunpart WHERE run_id = ANY(%s) GROUP BY run_id) p
    WHERE r.id = p.run_id
"""
_Key = tuple[int, str, str]


class CaseWriter:
    """Takes results one by one and saves them as runs of one import. Inside a transaction; `finish` comes last.

    A result equal in every value to one of an earlier file is not saved again (docs/decisions/eval-files.md). Only
    where an earlier run of the class spans the time of a batch can there be one: those results wait in a temporary
    table and are compared at the end; all others go straight to their place. A run that was moved holds them for the
    class its file named too: a growing export must not bring them there again. `is_live`: whether the cases of a suite
    are samples of live traffic, which are compared with such alone.
    """

    def __init__(self, row: EvalImport, is_live: Callable[[str], bool] = lambda suite: False) -> None:
        self.row = row
        self.is_live = is_live
        self.read = 0
        self.tool = ""
        self._lines: dict[_Key, list[str]] = {}
        self._times: dict[int, tuple[datetime, datetime]] = {}
        self._held = 0
        self._runs: dict[_Key, int] = {}
        self._spans: dict[int, list[tuple[datetime, datetime]]] = {}
        self._is_waiting = False
        self._said: tuple[datetime | None, str] = (None, "")

    def add(self, result: CaseResult, model: str, request_class: RequestClass) -> None:
        """One more result, its model under the name held now."""
        key = (request_class.pk, result.suite, result.suite_version)
        at = result.run_at
        if at is not self._said[0]:
            self._said = (at, at.isoformat())
        lines = self._lines.get(key)
        if lines is None:
            lines = self._lines[key] = []
        lines.append(_line(result, model, self._said[1]))
        first, last = self._times.get(key[0], (at, at))
        if at <= first or at >= last:
            self._times[key[0]] = (min(first, at), max(last, at))
        self.read += 1
        self._held += 1
        if self._held >= BATCH:
            self.flush()

    def flush(self) -> None:
        """Send what was taken."""
        straight: list[_Key] = []
        waiting: list[_Key] = []
        for key in self._lines:
            (waiting if self._may_be_known(key[0]) else straight).append(key)
        with connection.cursor() as cursor:
            if waiting and not self._is_waiting:
                cursor.execute(f"DROP TABLE IF EXISTS {_WAITING}")
                cursor.execute(
                    f"CREATE TEMPORARY TABLE {_WAITING} ON COMMIT DROP AS "  # noqa: S608 - our names
                    f"SELECT run_id, {_LIST} FROM {_TABLE} WHERE false"
                )
                self._is_waiting = True
            for keys, table in ((straight, _TABLE), (waiting, _WAITING)):
                if keys:
                    self._copy(cursor, keys, table)
        self._lines, self._times, self._held = {}, {}, 0

    def finish(self) -> list[EvalRun]:
        """The runs that were saved, summed up; runs that brought nothing new are none."""
        self.flush()
        with connection.cursor() as cursor:
            if self._is_waiting:
                cursor.execute("SET LOCAL work_mem = '128MB'")
                cursor.execute(_NEW_ONES, [self.row.pk])
                cursor.execute(f"DROP TABLE {_WAITING}")
            ids = list(self._runs.values())
            write_parts(ids)
            cursor.execute(_RUN_SUMS, [ids])
        EvalRun.objects.filter(pk__in=ids, parts=None).delete()
        EvalRun.objects.filter(pk__in=ids).update(tool=self.tool[:128])
        return list(EvalRun.objects.filter(pk__in=ids).select_related("request_class").order_by("pk"))

    def _may_be_known(self, class_id: int) -> bool:
        """Whether an earlier run of the class holds results of the time of this batch."""
        spans = self._spans.get(class_id)
        if spans is None:
            filed = Q(run__request_class_id=class_id) | Q(run__filed_under_id=class_id)
            earlier = EvalRunPart.objects.filter(filed).exclude(run__eval_import=self.row)
            spans = self._spans[class_id] = list(earlier.order_by().values_list("first_at", "last_at").distinct())
        first, last = self._times[class_id]
        return any(begun <= last and ended >= first for begun, ended in spans)

    def _copy(self, cursor: Any, keys: list[_Key], table: str) -> None:
        new = [key for key in keys if key not in self._runs]
        rows = [
            EvalRun(
                eval_import=self.row,
                request_class_id=class_id,
                suite=suite,
                suite_version=version,
                run_at=self._times[class_id][1],
                is_live=self.is_live(suite),
            )
            for class_id, suite, version in new
        ]
        for key, run in zip(new, EvalRun.objects.bulk_create(rows), strict=True):
            self._runs[key] = run.pk
        with cursor.copy(f"COPY {table} (run_id, {_LIST}) FROM STDIN") as copy:
            for key in keys:
                run_id = f"{self._runs[key]}\t"
                copy.write("".join([run_id + line for line in self._lines[key]]))


def _line(result: CaseResult, model: str, run_at: str) -> str:
    """A row of COPY's text form, without its run."""
    score = result.score
    return (
        f"{_text(result.sample_id)}\t{_text(result.repeat)}\t{_text(result.prompt_version)}\t{_text(result.mode)}\t"
        f"{_text(model)}\t{_text(result.candidate_raw)}\t{run_at}\t"
        f"{_SCORES[score] if score in _SCORES else repr(score)}\t{_number(result.graded_score)}\t"
        f"{_number(result.attempts)}\t{_text(result.error)}\t"
        f"{_number(result.uncached_input_tok)}\t{_number(result.cache_read_tok)}\t"
        f"{_number(result.cache_write_5m_tok)}\t{_number(result.cache_write_1h_tok)}\t{_number(result.output_tok)}\t"
        f"{_number(result.cost_usd)}\t{_number(result.latency_ms)}\n"
    )


def _text(value: str) -> str:
    return value if value.isprintable() and "\\" not in value else value.translate(_ESCAPED)


def _number(value: float | Decimal | None) -> str:
    return _NULL if value is None else str(value)
