"""What the cases of classes took and cost, summed in the database for every pair of models: no result is read."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.db import connection, transaction
from django.db.utils import DataError

from routing.core.case_sums import (
    TOKEN_KINDS,
    TOKEN_PAIRS,
    WHOLE_NUMBERS,
    CaseSums,
    ClassCosts,
    Numbers,
    PairSums,
    Told,
)
from routing.core.evidence import suite_filter
from routing.core.evidence_parts import RunPart
from routing.models import EvalCase, EvalRun, EvalRunPart
from routing.queries.gathering import Asked, in_chunks, parts_of_runs, runs_of_classes

_ROWS_AT_ONCE = 2_000
_TOKENS = ("uncached_input_tok", "cache_read_tok", "cache_write_5m_tok", "cache_write_1h_tok", "output_tok")
_COLUMNS = ("class_no", "suite_no", "cand_no", "run_id", "model", "raw")


def _statement(whole: str) -> str:
    """`whole`: the type of a case's token sums, whose products must fit in it.

    Groups are of cases that tell the same on the same models ("what"). A case is a suite with its version and a sample.
    """
    sums = ", ".join(f"(sum({each}) FILTER (WHERE is_full))::{whole} AS t{at}" for at, each in enumerate(_TOKENS))
    tokens = ", ".join(f"sum(t{at})" for at in range(TOKEN_KINDS))
    products = ", ".join(f"sum(t{one} * t{two})" for one, two in TOKEN_PAIRS)
    mixed = ", ".join(f"sum(rest_usd * t{at})" for at in range(TOKEN_KINDS))
    return f"""
        WITH sel AS (
            SELECT * FROM unnest(%(class_no)s::int[], %(suite_no)s::int[], %(cand_no)s::int[], %(run_id)s::bigint[],
                %(model)s::text[], %(raw)s::text[]) AS t(class_no, suite_no, cand_no, run_id, model, model_raw)
        ), results AS (
            SELECT s.class_no, s.suite_no, s.cand_no, c.sample_id COLLATE "C" AS sample_id, c.cost_usd,
                   {", ".join(f"c.{each}" for each in _TOKENS)},
                   num_nulls({", ".join(f"c.{each}" for each in _TOKENS)}) = 0 AS is_full
            FROM sel s JOIN routing_evalcase c
                ON c.run_id = s.run_id AND c.model = s.model AND c.model_raw = s.model_raw
            WHERE c.run_at < %(as_of)s AND (c.output_tok IS NOT NULL OR c.cost_usd IS NOT NULL)
        ), per_case AS (
            SELECT class_no, suite_no, sample_id, cand_no, count(*) FILTER (WHERE is_full) AS full_results,
                   count(cost_usd) FILTER (WHERE NOT is_full) AS rest, count(cost_usd) AS stated, {sums},
                   sum(cost_usd) FILTER (WHERE NOT is_full) AS rest_usd, sum(cost_usd) AS stated_usd
            FROM results GROUP BY 1, 2, 3, 4
        ), told AS (
            SELECT *, string_agg(cand_no || ':' || (full_results > 0)::int || ':' || (stated > 0)::int, ' ') OVER (
                       PARTITION BY class_no, suite_no, sample_id ORDER BY cand_no
                       ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING) COLLATE "C" AS what
            FROM per_case WHERE full_results > 0 OR stated > 0
        )
        SELECT class_no, what, cand_no, full_results, rest, stated, count(*), {tokens}, {products}, sum(rest_usd),
               sum(stated_usd), sum(rest_usd * rest_usd), sum(stated_usd * stated_usd), {mixed}
        FROM told GROUP BY class_no, what, cand_no, full_results, rest, stated
    """  # noqa: S608 - our own text


_FAST, _WIDE = _statement("bigint"), _statement("numeric")


def gathered_costs(
    *, asked: Mapping[str, Asked], as_of: datetime, named: Callable[[str, str], str]
) -> dict[str, ClassCosts]:
    """Sums of classes by slug over all results, of any epoch, of suites that count: run before `as_of`, none set aside.

    `asked`: the metric does not matter here.
    """
    runs = runs_of_classes(asked, as_of)
    found: dict[str, ClassCosts] = {}
    for some in in_chunks(asked, runs):
        parts = parts_of_runs([run for slug in some for run in runs[slug]], named)
        own = {}
        for slug in some:
            counts = suite_filter(asked[slug].suites)
            every = (part for run in runs[slug] for part in parts.get(run.pk, ()))
            own[slug] = [part for part in every if part.first_at < as_of and counts(part.suite, part.suite_version)]
        found |= _summed(own, as_of)
    return found


def models_in_evals(*, as_of: datetime, named: Callable[[str, str], str]) -> set[str]:
    """Every model some result is of, in any suite: run before `as_of`, in a run that was not set aside by then."""
    runs = EvalRun.objects.filter(is_live=False).exclude(set_aside_at__lte=as_of)
    parts = EvalRunPart.objects.filter(run__in=runs, first_at__lt=as_of)
    bare = EvalCase.objects.filter(run__in=runs.filter(parts__isnull=True), run_at__lt=as_of)
    return {
        named(raw, model)
        for rows in (parts, bare)
        for raw, model in rows.order_by().values_list("model_raw", "model").distinct()
    }


def _summed(parts: Mapping[str, Sequence[RunPart]], as_of: datetime) -> dict[str, ClassCosts]:
    """Sums of classes over the results of some parts."""
    slugs = list(parts)
    models = {slug: sorted({part.candidate for part in parts[slug]}) for slug in slugs}
    asked = {**_selection(slugs, parts, models), "as_of": as_of}
    if not asked["class_no"]:
        return {slug: ClassCosts() for slug in slugs}
    try:
        with transaction.atomic():
            return _classes(slugs, models, _rows(_FAST, asked))
    except DataError:  # a product of token counts beyond 64 bits
        return _classes(slugs, models, _rows(_WIDE, asked))


def _selection(
    slugs: Sequence[str], parts: Mapping[str, Sequence[RunPart]], models: Mapping[str, Sequence[str]]
) -> dict[str, list[Any]]:
    """The parts as columns, each run and model once: a case's results count in whatever mode and prompt they are."""
    suites: dict[tuple[str, str], int] = {}
    rows = {
        (
            at,
            suites.setdefault((part.suite, part.suite_version), len(suites)),
            models[slug].index(part.candidate),
            part.run_id,
            part.model,
            part.candidate_raw,
        )
        for at, slug in enumerate(slugs)
        for part in parts[slug]
    }
    return {name: [row[place] for row in sorted(rows)] for place, name in enumerate(_COLUMNS)}


def _rows(statement: str, asked: Mapping[str, Any]) -> Iterator[tuple[Any, ...]]:
    """Rows of the statement by class, few at a time: there are as many as cases may differ in what they tell."""
    with transaction.atomic(), connection.chunked_cursor() as cursor:
        with connection.cursor() as settings:
            settings.execute("SET LOCAL work_mem = '128MB'; SET LOCAL jit = off; SET LOCAL cursor_tuple_fraction = 1")
        cursor.execute(statement, asked)
        while rows := cursor.fetchmany(_ROWS_AT_ONCE):
            yield from rows


def _classes(
    slugs: Sequence[str], models: Mapping[str, Sequence[str]], rows: Iterable[tuple[Any, ...]]
) -> dict[str, ClassCosts]:
    held = {slug: PairSums() for slug in slugs}
    for at, what, place, full, rest, stated, *numbers in rows:
        names = models[slugs[at]]
        held[slugs[at]].add(_told(what, names), names[place], CaseSums(full, rest, stated, _numbers(numbers)))
    return {slug: sums.costs() for slug, sums in held.items()}


def _told(what: str, models: Sequence[str]) -> dict[str, Told]:
    """`"0:1:1 2:0:1"` → what the cases tell on the first and on the third model."""
    parts = (each.split(":") for each in what.split(" "))
    return {models[int(place)]: Told(tokens == "1", stated == "1") for place, tokens, stated in parts}


def _numbers(row: Sequence[Any]) -> Numbers:
    whole = (0 if value is None else int(value) for value in row[:WHOLE_NUMBERS])
    return (*whole, *(Decimal(0) if value is None else value for value in row[WHOLE_NUMBERS:]))
