"""Evidence of classes gathered by the database: cases are counted where they lie instead of read one by one.

For any instant, so the past is looked at in the same way. Only cases with several results that are not simply passed
and failed in one file are read (`routing.core.evidence` says how they count).
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from django.db import connection, transaction
from django.db.models import Count, Max, Min, Q

from routing.core.class_summary import ClassSummary, summarised
from routing.core.evidence import CaseResult, Metric, suite_filter
from routing.core.evidence_parts import RunPart, parts_of_epoch
from routing.models import EvalCase, EvalRun, EvalRunPart, RequestClass

MOST_RESULTS_AT_ONCE = 2_000_000  # of classes gathered in one statement; its memory grows with them
_NO_ANSWER = "-"
# A case of several results that are not simply passed and failed in one file.
_IS_REPEATED = """
    count(*) {over} > 1 AND NOT (min(batch) {over} = max(batch) {over}
        AND bool_and(value IS NULL OR value IN (0, 1)) {over}
        AND bool_and((value IS NULL) = (score IS NULL)) {over})
"""
_SELECTED = f"""
    sel AS (
        SELECT * FROM unnest(%(class_no)s::int[], %(suite_no)s::int[], %(cand_no)s::int[], %(run_id)s::bigint[],
            %(batch)s::int[], %(model)s::text[], %(raw)s::text[], %(prompt)s::text[], %(mode)s::text[],
            %(since)s::timestamptz[], %(by_grade)s::bool[]
        ) AS t(class_no, suite_no, cand_no, run_id, batch, model, model_raw, prompt_version, mode, since, by_grade)
    ), results AS (
        SELECT s.class_no, s.suite_no, s.cand_no, s.batch, c.sample_id COLLATE "C" AS sample_id, c.score,
               CASE WHEN s.by_grade AND c.graded_score IS NOT NULL THEN c.graded_score ELSE c.score END AS value, c.id
        FROM sel s JOIN routing_evalcase c ON c.run_id = s.run_id AND c.model = s.model AND c.model_raw = s.model_raw
            AND c.prompt_version = s.prompt_version AND c.mode = s.mode
        WHERE c.run_at < %(as_of)s AND (s.since IS NULL OR c.run_at >= s.since)
    ), per_case AS (
        SELECT class_no, suite_no, sample_id, cand_no,
               CASE WHEN count(*) = 1 THEN min(value) ELSE sum(value) / nullif(count(value), 0) END AS score,
               {_IS_REPEATED.format(over="")} AS is_repeated
        FROM results GROUP BY 1, 2, 3, 4
    )
"""  # noqa: S608 - our own text
_PATTERNS = f"""
    WITH {_SELECTED}, patterns AS (
        SELECT class_no, bool_or(is_repeated) AS is_repeated,
               string_agg(cand_no || ':' || coalesce(score::text, '{_NO_ANSWER}'), ' ') AS pattern
        FROM per_case GROUP BY class_no, suite_no, sample_id
    )
    SELECT class_no, CASE WHEN is_repeated THEN '' ELSE pattern END, count(*) FROM patterns GROUP BY 1, 2
"""  # noqa: S608 - our own text
# By windows and not by joining the cases found to the results again: how many those are the planner cannot know, and on
# a guess of one it compares each with every result.
_REPEATED = f"""
    WITH {_SELECTED}, flagged AS (
        SELECT r.*, count(*) OVER w > 1 AND NOT (min(batch) OVER w = max(batch) OVER w
                   AND bool_and(value IS NULL OR value IN (0, 1)) OVER w
                   AND bool_and((value IS NULL) = (score IS NULL)) OVER w) AS is_repeated
        FROM results r WINDOW w AS (PARTITION BY class_no, suite_no, sample_id, cand_no)
    ), marked AS (
        SELECT f.*, bool_or(is_repeated) OVER (PARTITION BY class_no, suite_no, sample_id) AS is_wanted FROM flagged f
    )
    SELECT r.class_no, r.suite_no, r.cand_no, r.batch, r.sample_id, c.run_at, c.score, c.graded_score,
           c.uncached_input_tok, c.cache_read_tok, c.cache_write_5m_tok, c.cache_write_1h_tok
    FROM marked r JOIN routing_evalcase c ON c.id = r.id WHERE r.is_wanted
"""  # noqa: S608 - our own text


@dataclass(frozen=True, slots=True)
class Asked:
    """What a class counts: patterns of suites (() = all) and whether by grade."""

    suites: tuple[str, ...] = ()
    metric: Metric = "pass_rate"


@dataclass(frozen=True, slots=True)
class Gathered:
    """The evidence of one class as of an instant, with what it was made from.

    `run_ids`: every run that counts, rising. `names`: (raw name, name beside it) → candidate, as held now. `newest_at`:
    of all results there are, also those run at the instant or later; None = there is none.
    """

    summary: ClassSummary
    run_ids: tuple[int, ...]
    names: Mapping[tuple[str, str], str]
    newest_at: datetime | None


def parts_that_count(
    *, slug: str, asked: Asked, as_of: datetime, named: Callable[[str, str], str]
) -> dict[str, Sequence[RunPart]]:
    """The parts of runs that make up the latest epoch of a class, by candidate; () for one with history only."""
    runs = runs_of_classes([slug], as_of)[slug]
    return _class_parts(slug, asked, runs, parts_of_runs(runs, named), as_of).current


def results_by_suite(*, slug: str, as_of: datetime) -> dict[tuple[str, str], int]:
    """How many results of each suite (name, version) a class has that were run before `as_of`."""
    runs = {run.pk: run for run in runs_of_classes([slug], as_of)[slug]}
    rows = EvalCase.objects.filter(run_id__in=list(runs), run_at__lt=as_of).order_by().values("run_id")
    found: dict[tuple[str, str], int] = defaultdict(int)
    for run_id, count in rows.annotate(results=Count("pk")).values_list("run_id", "results"):
        found[runs[run_id].suite, runs[run_id].version] += count
    return dict(found)


def gathered(
    *,
    asked: Mapping[str, Asked],
    as_of: datetime,
    named: Callable[[str, str], str],
    set_aside_by: datetime | None = None,
) -> dict[str, Gathered]:
    """Evidence of classes by slug, from all results run before `as_of` in runs not set aside by then.

    `set_aside_by`: another instant for the latter.
    """
    runs = runs_of_classes(asked, set_aside_by or as_of)
    found: dict[str, Gathered] = {}
    for some in in_chunks(asked, runs):
        found |= _gathered({slug: asked[slug] for slug in some}, runs, as_of, named)
    return found


@dataclass(frozen=True, slots=True)
class RunFacts:
    pk: int
    suite: str
    version: str
    batch: int


def runs_of_classes(slugs: Collection[str], as_of: datetime) -> dict[str, list[RunFacts]]:
    """Runs of classes that count and are not set aside by then, as they were made; [] for a class without any."""
    classes = dict(RequestClass.objects.filter(slug__in=list(slugs)).values_list("pk", "slug"))
    found: dict[str, list[RunFacts]] = {slug: [] for slug in slugs}
    rows = EvalRun.objects.filter(request_class_id__in=list(classes), is_live=False).exclude(set_aside_at__lte=as_of)
    for pk, class_id, suite, version, batch in rows.order_by("pk").values_list(
        "pk", "request_class_id", "suite", "suite_version", "eval_import_id"
    ):
        found[classes[class_id]].append(RunFacts(pk, suite, version, batch))
    return found


@dataclass(slots=True)
class _ClassParts:
    """A class while it is gathered."""

    slug: str
    asked: Asked
    totals: dict[str, int]
    current: dict[str, Sequence[RunPart]]
    run_ids: tuple[int, ...]
    names: dict[tuple[str, str], str]
    newest_at: datetime | None

    @property
    def candidates(self) -> list[str]:
        return sorted(self.current)


def in_chunks(asked: Collection[str], runs: Mapping[str, Sequence[RunFacts]]) -> Iterator[list[str]]:
    """Classes whose results are gathered together: as many as the memory of one statement allows."""
    sizes: dict[int, int] = dict(
        EvalRun.objects.filter(pk__in=[run.pk for slug in asked for run in runs[slug]]).values_list("pk", "results")
    )
    chunk: list[str] = []
    held = 0
    for slug in asked:
        size = sum(sizes.get(run.pk, 0) for run in runs[slug])
        if chunk and held + size > MOST_RESULTS_AT_ONCE:
            yield chunk
            chunk, held = [], 0
        chunk.append(slug)
        held += size
    if chunk:
        yield chunk


def _gathered(
    asked: Mapping[str, Asked],
    runs: Mapping[str, Sequence[RunFacts]],
    as_of: datetime,
    named: Callable[[str, str], str],
) -> dict[str, Gathered]:
    parts = parts_of_runs([run for slug in asked for run in runs[slug]], named)
    classes = [_class_parts(slug, each, runs[slug], parts, as_of) for slug, each in asked.items()]
    patterns, repeated = _counted(classes, as_of)
    return {
        each.slug: Gathered(
            summary=summarised(
                totals=each.totals,
                parts=each.current,
                patterns=patterns[at],
                repeated=repeated[at],
                metric=each.asked.metric,
            ),
            run_ids=each.run_ids,
            names=each.names,
            newest_at=each.newest_at,
        )
        for at, each in enumerate(classes)
    }


def parts_of_runs(runs: Sequence[RunFacts], named: Callable[[str, str], str]) -> dict[int, list[RunPart]]:
    """The parts of runs, by run; of runs whose parts were never kept, summed up now."""
    by_id = {run.pk: run for run in runs}
    fields = ("run_id", "model", "model_raw", "prompt_version", "mode")
    sums = ("results", "first_at", "last_at", "last_scored_at")
    found: dict[int, list[RunPart]] = {}
    rows = list(EvalRunPart.objects.filter(run_id__in=list(by_id)).values_list(*fields, *sums))
    missing = by_id.keys() - {row[0] for row in rows}
    if missing:
        rows += (
            EvalCase.objects.filter(run_id__in=list(missing))
            .order_by()
            .values(*fields)
            .annotate(**_SUMS)
            .values_list(*fields, *sums)
        )
    for run_id, model, raw, prompt, mode, results, first, last, scored in rows:
        run = by_id[run_id]
        found.setdefault(run_id, []).append(
            RunPart(
                run_id=run_id,
                batch=run.batch,
                suite=run.suite,
                suite_version=run.version,
                candidate=named(raw, model),
                model=model,
                candidate_raw=raw,
                prompt_version=prompt,
                mode=mode,
                results=results,
                first_at=first,
                last_at=last,
                last_scored_at=scored,
            )
        )
    return found


_SUMS: dict[str, Any] = {
    "results": Count("pk"),
    "first_at": Min("run_at"),
    "last_at": Max("run_at"),
    "last_scored_at": Max("run_at", filter=Q(score__isnull=False)),
}


def _class_parts(
    slug: str, asked: Asked, runs: Sequence[RunFacts], parts: Mapping[int, Sequence[RunPart]], as_of: datetime
) -> _ClassParts:
    counts = suite_filter(asked.suites)
    own = [part for run in runs for part in parts.get(run.pk, ())]
    listed = [part for part in own if counts(part.suite, part.suite_version)]
    whole = [part for part in listed if part.last_at < as_of]
    across = [part for part in listed if part.first_at < as_of <= part.last_at]
    known = [*whole, *_recounted(across, None, as_of)]
    totals: dict[str, int] = defaultdict(int)
    for part in known:
        totals[part.candidate] += part.results
    return _ClassParts(
        slug=slug,
        asked=asked,
        totals=totals,
        current=parts_of_epoch(known, lambda some, start: _recounted(some, start, as_of)),
        run_ids=tuple(run.pk for run in runs),
        names={(part.candidate_raw, part.model): part.candidate for part in own},
        newest_at=max((part.last_at for part in own), default=None),
    )


def _recounted(parts: Sequence[RunPart], start: datetime | None, end: datetime) -> list[RunPart]:
    """Parts with their results of [start, end) only."""
    found = []
    for part in parts:
        rows = EvalCase.objects.filter(
            run_id=part.run_id,
            model=part.model,
            model_raw=part.candidate_raw,
            prompt_version=part.prompt_version,
            mode=part.mode,
            run_at__lt=end,
        )
        since = max((each for each in (start, part.since) if each is not None), default=None)
        sums = (rows if since is None else rows.filter(run_at__gte=since)).aggregate(**_SUMS)
        if sums["results"]:
            found.append(replace(part, since=since, **sums))
    return found


_Patterns = list[list[tuple[dict[int, float | None], int]]]


def _counted(classes: Sequence[_ClassParts], as_of: datetime) -> tuple[_Patterns, list[list[CaseResult]]]:
    """Patterns of every class with their counts, and all results of the cases that have several."""
    patterns: _Patterns = [[] for _ in classes]
    repeated: list[list[CaseResult]] = [[] for _ in classes]
    suites: list[tuple[str, str]] = []
    if not any(each.current.values() for each in classes):
        return patterns, repeated
    selected = _selection(classes, as_of, suites)
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL work_mem = '128MB'; SET LOCAL jit = off")
        cursor.execute(_PATTERNS, selected)
        with_repeats = set()
        for at, pattern, count in cursor.fetchall():
            if pattern:
                patterns[at].append((_scores(pattern), count))
            else:
                with_repeats.add(at)
        if with_repeats:
            cursor.execute(_REPEATED, _only(selected, with_repeats))
            for at, suite_no, place, batch, sample_id, run_at, score, graded, *tokens in cursor:
                name = classes[at].candidates[place]
                suite, version = suites[suite_no]
                repeated[at].append(
                    CaseResult(
                        suite=suite,
                        suite_version=version,
                        sample_id=sample_id,
                        candidate=name,
                        run_at=run_at,
                        score=score,
                        graded_score=graded,
                        batch=batch,
                        uncached_input_tok=tokens[0],
                        cache_read_tok=tokens[1],
                        cache_write_5m_tok=tokens[2],
                        cache_write_1h_tok=tokens[3],
                    )
                )
    return patterns, repeated


def _selection(classes: Sequence[_ClassParts], as_of: datetime, suites: list[tuple[str, str]]) -> dict[str, Any]:
    """What the statements are asked: the parts that count, as columns. `suites` is filled: the name of each number.

    A case is a suite and a sample id, whatever the version: the number is of the name alone.
    """
    columns: dict[str, list[Any]] = {name: [] for name in _COLUMNS}
    numbers: dict[str, int] = {}
    for at, each in enumerate(classes):
        for place, name in enumerate(each.candidates):
            for part in each.current[name]:
                if part.suite not in numbers:
                    numbers[part.suite] = len(suites)
                    suites.append((part.suite, part.suite_version))
                values = (
                    at,
                    numbers[part.suite],
                    place,
                    part.run_id,
                    part.batch,
                    part.model,
                    part.candidate_raw,
                    part.prompt_version,
                    part.mode,
                    part.since,
                    each.asked.metric == "mean_score",
                )
                for column, value in zip(_COLUMNS, values, strict=True):
                    columns[column].append(value)
    return {**columns, "as_of": as_of}


_COLUMNS = (
    "class_no", "suite_no", "cand_no", "run_id", "batch", "model", "raw", "prompt", "mode", "since", "by_grade",
)  # fmt: skip


def _only(selected: Mapping[str, Any], classes: Collection[int]) -> dict[str, Any]:
    kept = [row for row, at in enumerate(selected["class_no"]) if at in classes]
    return {**selected, **{column: [selected[column][row] for row in kept] for column in _COLUMNS}}


def _scores(pattern: str) -> dict[int, float | None]:
    """`"0:1 2:-"` → {0: 1.0, 2: None}"""
    found: dict[int, float | None] = {}
    for each in pattern.split(" "):
        place, _, score = each.partition(":")
        found[int(place)] = None if score == _NO_ANSWER else float(score)
    return found
