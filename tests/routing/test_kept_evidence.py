"""Evidence gathered by the database and kept equals evidence found from every case, after whatever happens to runs."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from billing.models import ModelAlias, ModelRelease
from routing.core import decisions
from routing.core.class_summary import as_document, of_document
from routing.core.evidence import cases_of_epoch
from routing.models import ClassEvidence, EvalCase, EvalImport, EvalRun, RequestClass
from routing.operations.bars import set_bar
from routing.operations.classes import save_class
from routing.operations.eval_parts import write_parts
from routing.operations.evidence_changed import judge_again
from routing.operations.kept_evidence import keep_evidence
from routing.queries.bars import bar_histories
from routing.queries.evidence import case_results, names_held
from routing.queries.gathering import Asked, gathered
from routing.queries.kept_evidence import class_summaries, kept_verdicts
from routing.queries.past_evidence import past_evidence
from tests.slow_evidence import EvidenceHistory, class_verdicts

pytestmark = pytest.mark.django_db
NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
RAW = (
    "claude-haiku-4-5",
    "claude-haiku-4-5-20251001",
    "claude-haiku-4-5-20260301",
    "claude-opus-4-8",
    "claude-sonnet-5",
)
CANONICAL = {raw: raw.removesuffix("-20251001").removesuffix("-20260301") for raw in RAW}

results = st.fixed_dictionaries(
    {
        "suite": st.sampled_from(["triage", "triage-hard"]),
        "version": st.sampled_from(["1", "2", "10"]),
        "sample": st.sampled_from(["a", "b", "c", "É", "a b"]),
        "raw": st.sampled_from(RAW),
        "hours": st.integers(0, 6),
        "score": st.sampled_from([None, 0.0, 1.0, 0.1, 0.7]),
        "graded": st.sampled_from([None, None, 0.3, 1.0]),
        "prompt": st.sampled_from(["", "", "p1", "p2"]),
        "mode": st.sampled_from(["", "", "thinking=1024"]),
        "tokens": st.sampled_from([None, 100, 140]),
    }
)
plain_results = st.fixed_dictionaries(
    {
        "suite": st.just("triage"),
        "version": st.just("1"),
        "sample": st.sampled_from(["a", "b", "c", "d", "e"]),
        "raw": st.sampled_from([RAW[0], RAW[3], RAW[4]]),
        "hours": st.integers(0, 6),
        "score": st.sampled_from([None, 0.0, 1.0, 1.0]),
        "graded": st.none(),
        "prompt": st.just(""),
        "mode": st.just(""),
        "tokens": st.sampled_from([100, 140]),
    }
)
files = st.lists(st.one_of(results, plain_results), min_size=1, max_size=25) | st.lists(
    plain_results, min_size=1, max_size=40
)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("import"), files),
        st.tuples(st.just("aside"), st.integers(0, 20)),
        st.tuples(st.just("again"), st.integers(0, 20)),
        st.tuples(st.just("delete"), st.integers(0, 20)),
        st.tuples(st.just("move"), st.integers(0, 20)),
        st.tuples(
            st.just("bar"), st.sampled_from([((), "pass_rate"), (("triage",), "mean_score"), (("*@2",), "pass_rate")])
        ),
    ),
    min_size=1,
    max_size=7,
)


def bring(number: int, slug: str, rows: list[dict[str, Any]]) -> None:
    """Save a file's results as an import does: a run of each suite version, with its sums."""
    file = EvalImport.objects.create(
        file_name=f"{number}.csv", sha256=f"{number:064x}", format="csv", imported_at=NOON, cases=len(rows)
    )
    request_class = RequestClass.objects.get(slug=slug)
    for suite, version in sorted({(row["suite"], row["version"]) for row in rows}):
        own = [row for row in rows if (row["suite"], row["version"]) == (suite, version)]
        run = EvalRun.objects.create(
            eval_import=file, request_class=request_class, suite=suite, suite_version=version, run_at=NOON,
            results=len(own),
        )  # fmt: skip
        EvalCase.objects.bulk_create(
            EvalCase(
                run=run, sample_id=row["sample"], model=CANONICAL[row["raw"]], model_raw=row["raw"],
                run_at=NOON + timedelta(hours=row["hours"]), score=row["score"], graded_score=row["graded"],
                prompt_version=row["prompt"], mode=row["mode"], uncached_input_tok=row["tokens"], cache_read_tok=0,
                cache_write_5m_tok=0, cache_write_1h_tok=0,
            )
            for row in own
        )  # fmt: skip
        write_parts([run.pk])


def take(step: str, value: Any, number: int) -> None:
    if step == "import":
        bring(number, f"class-{number % 2}", value)
        return
    if step == "bar":
        suites, metric = value
        facts = {"suites": list(suites), "metric": metric}
        set_bar(actor=None, slug="class-0", facts=facts, reason="another", as_of=NOON + timedelta(hours=number))
        return
    if step == "delete":
        found = list(EvalImport.objects.order_by("pk"))
        if found:
            found[value % len(found)].delete()
        return
    runs = list(EvalRun.objects.order_by("pk"))
    if not runs:
        return
    run = runs[value % len(runs)]
    if step == "aside":
        run.set_aside_at, run.set_aside_reason = NOON + timedelta(hours=value % 9), "broken"
    elif step == "again":
        run.set_aside_at, run.set_aside_reason = None, ""
    elif step == "move":
        run.request_class = RequestClass.objects.get(slug="class-1")
    run.save()


def check(as_of: datetime) -> None:
    asked = {row.slug: Asked(tuple(row.suites), row.metric) for row in RequestClass.objects.all()}  # type: ignore[arg-type]
    every = case_results(slugs=asked, as_of=as_of)
    kept = class_summaries(asked=asked, as_of=as_of)
    live = gathered(asked=asked, as_of=as_of, named=names_held())
    for slug, each in asked.items():
        assert of_document(as_document(kept[slug])) == kept[slug]
        for incumbent in (None, *{CANONICAL[raw] for raw in RAW}):
            expected = cases_of_epoch(every.get(slug, []), incumbent=incumbent, suites=each.suites, metric=each.metric)
            assert kept[slug].evidence(incumbent) == expected
            assert live[slug].summary.evidence(incumbent) == expected
    incumbents = {"class-0": RAW[3]}
    assert kept_verdicts(incumbents=incumbents, as_of=as_of) == class_verdicts(
        results=every, incumbents=incumbents, as_of=as_of
    )


def check_past(as_of: datetime) -> None:
    bars = bar_histories(list(RequestClass.objects.all()))
    every = case_results(as_of=as_of)
    instants = [NOON + timedelta(hours=hours) for hours in (-1, 0, 1, 3, 6, 8, 24)]
    past = past_evidence(bars=bars, instants=instants, as_of=as_of)
    for slug, history in bars.items():
        slow = EvidenceHistory(every.get(slug, []), history)
        for instant in instants:
            assert past[slug].at(instant) == slow.at(instant)


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(taken=steps, hours=st.integers(0, 12))
def test_kept_evidence_equals_that_of_every_case(taken, hours):
    with transaction.atomic():
        for slug in ("class-0", "class-1"):
            save_class(actor=None, slug=slug, facts={"title": slug}, as_of=NOON)
        for number, (step, value) in enumerate(taken):
            take(step, value, number)
            keep_evidence(as_of=NOON)
            check(NOON + timedelta(days=2))
        check_past(NOON + timedelta(days=2))
        check(NOON + timedelta(hours=hours))
        check_past(NOON + timedelta(hours=hours))
        transaction.set_rollback(True)


def test_what_is_kept_is_used_and_gathered_once():
    save_class(actor=None, slug="class-0", facts={"title": "c"}, as_of=NOON)
    bring(
        2,
        "class-0",
        [
            {
                "suite": "triage",
                "version": "1",
                "sample": f"s{n}",
                "raw": RAW[0],
                "hours": 0,
                "score": float(n > 2),
                "graded": None,
                "prompt": "",
                "mode": "",
                "tokens": 100,
            }
            for n in range(40)
        ],
    )
    assert keep_evidence(as_of=NOON) == 1
    assert keep_evidence(as_of=NOON) == 0, "nothing changed"
    EvalCase.objects.all().update(score=0.0)  # nobody does this; what is kept is read, not the cases
    later = NOON + timedelta(days=1)
    asked = {"class-0": Asked()}
    assert class_summaries(asked=asked, as_of=later)["class-0"].evidence(None)[RAW[0]].passes == 37
    assert class_summaries(asked=asked, as_of=NOON)["class-0"].evidence(None) == {}, "the past is gathered"
    assert ClassEvidence.objects.get().summary["patterns"] == [[0, 3], [1, 37]]


def test_another_name_for_a_model_is_seen():
    save_class(actor=None, slug="class-0", facts={"title": "c"}, as_of=NOON)
    row = {
        "suite": "triage",
        "version": "1",
        "sample": "s",
        "raw": "house-model",
        "hours": 0,
        "score": 1.0,
        "graded": None,
        "prompt": "",
        "mode": "",
        "tokens": 100,
    }
    CANONICAL["house-model"] = "house-model"
    bring(2, "class-0", [row])
    keep_evidence(as_of=NOON)
    later = NOON + timedelta(days=1)
    assert list(class_summaries(asked={"class-0": Asked()}, as_of=later)["class-0"].evidence(None)) == ["house-model"]
    release = ModelRelease.objects.create(
        canonical_id="claude-house-1", display_name="Claude House 1", family="house", tier="other"
    )
    ModelAlias.objects.create(alias="house-model", release=release)
    assert list(class_summaries(asked={"class-0": Asked()}, as_of=later)["class-0"].evidence(None)) == [
        "claude-house-1"
    ]


def test_numbers_are_kept_with_the_evidence_and_read_in_a_process_that_never_judged():
    save_class(actor=None, slug="class-0", facts={"title": "c"}, as_of=NOON)
    row = {"suite": "triage", "version": "1", "raw": RAW[0], "hours": 0, "graded": None, "prompt": "", "mode": ""}
    rows = [{**row, "tokens": 100, "sample": f"s{n}", "score": float(n > 2)} for n in range(200)]
    bring(2, "class-0", rows)
    later = NOON + timedelta(days=1)
    judge_again(as_of=later)
    expected = kept_verdicts(incumbents={}, as_of=later)
    ((counts, numbers),) = ClassEvidence.objects.get().summary["numbers"]
    assert counts[:3] == [197, 200, 0.93] and numbers == decisions.numbers_of(*counts)
    decisions._measured.cache_clear()
    decisions._known.clear()
    assert kept_verdicts(incumbents={}, as_of=later) == expected
    assert set(decisions._known) == {tuple(counts)}


def test_weeks_without_a_new_result_share_what_is_kept_and_read_no_case():
    save_class(actor=None, slug="class-0", facts={"title": "c"}, as_of=NOON - timedelta(days=40))
    row = {"suite": "triage", "version": "1", "raw": RAW[0], "hours": 0, "graded": None, "prompt": "", "mode": ""}
    bring(2, "class-0", [{**row, "tokens": 100, "sample": f"s{n}", "score": float(n > 2)} for n in range(40)])
    bring(3, "class-0", [{**row, "tokens": 100, "sample": "later", "score": 1.0, "hours": 24 * 15}])
    keep_evidence(as_of=NOON)
    as_of = NOON + timedelta(days=30)
    bars = bar_histories(list(RequestClass.objects.all()))
    weeks = [NOON + timedelta(days=days) for days in (-7, 0, 7, 14, 21, 28)]
    with CaptureQueriesContext(connection) as asked:
        found = past_evidence(bars=bars, instants=weeks, as_of=as_of)["class-0"]
    assert sum("JOIN routing_evalcase" in query["sql"] for query in asked.captured_queries) == 1, "of two equal weeks"
    shown = [found.at(week) for week in weeks]
    assert shown[0] == shown[1] == {}
    assert shown[2] is shown[3] and shown[2][RAW[0]].cases == 40
    assert shown[4] is shown[5] and shown[4][RAW[0]].cases == 41
