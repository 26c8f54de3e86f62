"""The demo organisation: its stories, and its figures against a separate slow reading of its source files."""

import hashlib
import json
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise

import pytest

from audit.models import AuditEntry
from billing.models import CommitmentSizing, Import
from billing.queries.commitments import sizing_record
from billing.queries.imports import request_store, stored_imports
from costgov.demo.eval_files import EVAL_FILES
from costgov.demo.live_files import LIVE_CLASS, LIVE_FILES, LIVE_SUITE
from costgov.demo.organisation import CLASSES, PLANNED
from costgov.demo.people import PEOPLE
from costgov.demo.usage_files import usage_files
from costgov.models import User
from costgov.queries.recommendation import recommendation_view
from costgov.queries.savings import class_steps, savings
from costgov.queries.spend import spend
from costgov.templatetags.costgov_format import usd
from routing.models import Activation, ChangeRequest, EvalImport, EvalRun, RequestClass, VerdictRecord, WorkItem
from routing.queries.kept_evidence import kept_verdicts
from routing.queries.monitors import monitors
from tests.demo import AS_OF, LAST, Demo, demo, demo_copy
from tests.scenarios.demo_oracle import RATES, Usage, eval_sums, read

__all__ = ["demo", "demo_copy"]
pytestmark = pytest.mark.xdist_group("demo")

SINCE = "2026-10-25"  # the 28 days before the demo's end
OPUS_45, OPUS_46, HAIKU = "claude-opus-4-5", "claude-opus-4-6", "claude-haiku-4-5"
SONNET_45, SONNET_46 = "claude-sonnet-4-5", "claude-sonnet-4-6"
CLEARS, SHORT, UNDECIDED, NONE = "clears", "falls_short", "not_enough_evidence", "no_evidence"


@dataclass(frozen=True)
class Sources:
    """What the generated files hold, read slowly, and their hashes."""

    usage: Usage
    evals: dict
    hashes: dict


def test_the_invented_offer_is_sized_on_the_optimised_spend(demo):
    sizing = CommitmentSizing.objects.select_related("terms", "created_by").get()
    assert (sizing.terms.name, str(sizing.created_by)) == ("Invented offer (demo)", "paula")
    assert sizing.terms.document["start"] == "2027-01-01"
    record = sizing_record(sizing_id=sizing.pk)
    # The story of the product: what fits the bill before routing is too much after it.
    assert record.sizing.policy("baseline").best.name == "T2"
    assert record.sizing.policy("optimised").best.name == "T1"
    assert record.sizing.routing.value_usd > 0


@pytest.fixture(scope="session")
def sources(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    usage, hashes, texts = Usage(), {}, []
    for file in usage_files(LAST):
        path = file.write(folder, LAST)
        hashes[path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
        read(path, usage)
        path.unlink()
    for evals in sorted(EVAL_FILES, key=lambda item: -item.days_before):
        path = evals.write(folder, LAST)
        hashes[path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
        if not evals.set_aside:
            texts.append((path.name, path.read_text()))
    for live in LIVE_FILES:
        path = live.write(folder, LAST)
        hashes[path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return Sources(usage, eval_sums(texts), hashes)


@pytest.fixture
def view(demo):
    return recommendation_view(as_of=AS_OF, baseline_model=OPUS_45)


# --- what was loaded --------------------------------------------------------------------------------------------------


def test_the_imported_files_are_the_generated_ones(demo, sources):
    imported = dict(Import.objects.filter(kind="usage").values_list("file_name", "sha256")) | dict(
        EvalImport.objects.values_list("file_name", "sha256")
    )
    assert imported == sources.hashes


def test_it_has_eight_months_and_at_most_1_2_million_requests(demo, sources):
    report = spend(by=("origin",))
    assert (report.start, report.end) == (LAST - timedelta(days=252), LAST)
    logged = sum(
        Import.objects.filter(format__in=["messages_api_log", "litellm_payload"]).values_list("accepted", flat=True)
    )
    assert logged == sources.usage.rows <= 1_200_000
    assert set(Import.objects.values_list("state", flat=True)) == {"done"}


def test_it_spends_tens_of_thousands_a_month(demo):
    last_28_days = spend(start=LAST - timedelta(days=28), end=LAST)
    assert 20_000 < last_28_days.total.cost_usd < 90_000


def test_a_small_part_is_unpriced_and_unclassified(demo):
    report = spend(by=("class", "model"))
    assert {row.model for row in report.unpriced} == {"claude-labs-preview"}
    tokens = sum(
        getattr(report.total, f"{kind}_tok") for kind in ("uncached_input", "cache_read", "cache_write_5m", "output")
    )
    assert 0 < report.total.unpriced_tok < tokens / 100
    assert 0 < report.unclassified.cost_usd < report.total.cost_usd / 100


def test_every_class_says_what_is_assumed(demo):
    notes = dict(RequestClass.objects.values_list("slug", "note"))
    assert set(notes) == {row.slug for row in CLASSES} | {"general", PLANNED.slug}
    assert all("drawn for the demo" in note for slug, note in notes.items() if slug != PLANNED.slug)
    generated = {PLANNED.slug, "chat-assistant", "long-document-chat", "summarisation-jobs", "record-extraction"}
    assert {slug for slug, note in notes.items() if "generated for the demo" in note} == generated


def test_the_past_went_through_the_operations_as_demo(demo):
    """Every audit entry of the load is marked; both policies were approved by another person than their author."""
    unmarked = AuditEntry.objects.filter(is_demo=False).exclude(action="prices.seeded")
    assert list(unmarked.values_list("action", flat=True)) == []
    changes = ChangeRequest.objects.order_by("activations__sequence")
    found = [
        (change.policy_version.version, change.activations.get().activated_at.date(), change.author.username)
        for change in changes
    ]
    assert found == [(1, LAST - timedelta(days=194), "erin"), (2, LAST - timedelta(days=126), "erin")]
    for change in changes:
        approval = change.approvals.get()
        assert approval.approver.username == "emil"
        assert change.proposed_at < approval.approved_at < change.activations.get().activated_at


def test_eval_runs_lie_at_most_30_days_before_the_decision_they_serve(demo):
    """Decisions: the two activations, and the recommendation of today."""
    decided = [row.activated_at for row in Activation.objects.all()] + [AS_OF]
    for file in EVAL_FILES:
        run_at = file.run_at(LAST)
        assert any(timedelta(0) < at - run_at <= timedelta(days=30) for at in decided), file.label


def test_logged_facts_give_the_class_the_gateway_recorded(demo):
    """The rules of the active policy, evaluated on the facts of LiteLLM's records, name the recorded class."""
    from gateway.engine import compile_policy

    policy = compile_policy(Activation.objects.get(sequence=2).policy_version.document)
    store = request_store()
    with store.engine("test") as engine:
        files = ", ".join(f"'{name}'" for name in store.files(stored_imports()))
        rows = engine.query(
            f"SELECT request_class, class_origin, facts, count(*) FROM read_parquet([{files}]) GROUP BY ALL"
        )
    assert {origin for _, origin, _, _ in rows} == {"decision", "policy"}
    assert sum(count for *_, count in rows) > 100_000
    for request_class, _, facts, _ in rows:
        assert policy.classify(json.loads(facts))[1] == request_class


@pytest.mark.parametrize("person", PEOPLE, ids=lambda person: person.username)
def test_everybody_can_log_in(demo, client, person):
    assert len(person.password) >= 12
    assert client.login(username=person.username, password=person.password)


# --- the stories ------------------------------------------------------------------------------------------------------

STORIES = [
    # class, now on, recommended, move, {model: verdict}
    ("agentic-coding", OPUS_45, OPUS_46, "save", {OPUS_45: CLEARS, OPUS_46: CLEARS, SONNET_45: UNDECIDED}),
    ("coding-subagent", OPUS_46, HAIKU, "save", {HAIKU: CLEARS, SONNET_46: UNDECIDED}),
    ("ide-completion", OPUS_45, OPUS_45, "keep", dict.fromkeys((OPUS_45, OPUS_46, SONNET_46, HAIKU), UNDECIDED)),
    ("chat-assistant", OPUS_45, SONNET_46, "save", {OPUS_45: CLEARS, SONNET_46: CLEARS, HAIKU: SHORT}),
    ("long-document-chat", OPUS_45, SONNET_46, "save", {OPUS_45: CLEARS, SONNET_46: CLEARS, HAIKU: CLEARS}),
    ("summarisation-jobs", SONNET_46, HAIKU, "save", {SONNET_46: CLEARS, HAIKU: CLEARS}),
    ("record-extraction", HAIKU, SONNET_46, "restore_quality", {HAIKU: SHORT, SONNET_46: CLEARS, OPUS_45: CLEARS}),
    ("ticket-classification", OPUS_45, OPUS_45, "keep", dict.fromkeys((OPUS_45, SONNET_46, HAIKU), NONE)),
    ("reasoning-analytics", OPUS_45, OPUS_46, "save", {OPUS_45: CLEARS, OPUS_46: CLEARS}),
]


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story[0])
def test_story(view, story):
    request_class, now_on, recommended, move, verdicts = story
    row = view.row(request_class)
    assert (row.incumbent, row.target, row.move) == (now_on, recommended, move)
    found = {option.model: option.verdict.status for option in row.options}
    assert {model: found.get(model, NONE) for model in verdicts} == verdicts


def _option(row, model):
    return next(option for option in row.options if option.model == model)


def test_opus_46_costs_0_43_times_as_much_per_task_and_sonnet_45_more(view):
    row = view.row("agentic-coding")
    old, new, sonnet = (_option(row, model).unit_cost_usd for model in (OPUS_45, OPUS_46, SONNET_45))
    assert float(new / old) == pytest.approx(0.43, abs=0.001)
    assert sonnet > new


def test_ide_completion_has_nine_distinct_cases(view):
    assert {option.verdict.cases for option in view.row("ide-completion").options} <= {0, 9}
    assert view.row("ide-completion").target_verdict.cases == 9


def test_one_hour_caching_loses_money_for_long_documents(view):
    row = view.row("long-document-chat")
    five_minutes, one_hour = row.caching_reasons
    assert "5-minute caching pays" in five_minutes and "1-hour caching loses money" in one_hour
    assert row.caching == "5m"


@pytest.mark.parametrize("request_class", ["summarisation-jobs", "record-extraction", "ticket-classification"])
def test_batch_saves_where_work_can_wait(view, request_class):
    row = view.row(request_class)
    assert row.batch_share == 1
    assert next(part.saving_usd for part in row.steps.parts if part.lever == "batch") > 0


def test_record_extraction_cleared_when_it_was_moved(demo):
    """As of the decision, Haiku 4.5 cleared on extraction@1; today's suite shows it below the line."""
    change = ChangeRequest.objects.get(activations__sequence=2)
    frozen = next(row for row in change.evidence["classes"] if row["request_class"] == "record-extraction")
    assert (frozen["incumbent"], frozen["target"]) == (OPUS_45, HAIKU)
    assert frozen["target_verdict"]["status"] == "clears"


def test_bars_ask_for_the_line_for_no_worse_than_what_serves_and_for_both(view):
    standards = {row.slug: row.standard for row in RequestClass.objects.all()}
    assert standards["agentic-coding"] == "absolute"
    assert (standards["chat-assistant"], standards["summarisation-jobs"]) == ("both", "not_worse")
    for request_class in ("chat-assistant", "summarisation-jobs"):
        verdict = view.row(request_class).target_verdict
        assert (verdict.status, verdict.standard) == (CLEARS, standards[request_class])
        assert "on 450 cases run on both" in verdict.reason
        assert "shown to be worse by less than 5 points" in verdict.reason


def test_stale_evidence_holds_back_a_move_that_would_pay(view):
    haiku = _option(view.row("long-document-chat"), HAIKU)
    assert haiku.verdict.stale and haiku.verdict.status == CLEARS
    gap = next(row for row in view.missing_evidence if row.request_class == "long-document-chat")
    assert (gap.model, gap.saving_usd > 0) == (HAIKU, True)


def test_a_cheap_check_lets_a_cascade_pay_and_a_dear_one_loses(printed):
    found = {row["request_class"]: row["cascade"] for row in printed["classes"] if row["cascade"]}
    assert {name: row["outcome"] for name, row in found.items()} == {
        "chat-assistant": "worth_an_eval",
        "long-document-chat": "loses",
    }
    chat = found["chat-assistant"]
    # 379 of 450 cheap answers are good: 0.95 of these and 0.10 of the others are accepted.
    assert chat["accepted_share"] == pytest.approx(379 / 450 * 0.95 + 71 / 450 * 0.10)
    assert chat["accepted_share"] > chat["break_even_share"] and Decimal(chat["saving_usd_per_month"]) > 0
    assert found["long-document-chat"]["break_even_share"] > 1


def test_what_somebody_has_to_look_at_is_open(demo):
    """Drift and service below the bar since extraction@2, a run whose grader failed, and evidence that grew old."""
    items = WorkItem.objects.filter(closed_at=None).values_list("request_class__slug", "kind", "model")
    assert sorted(items) == [
        ("chat-assistant", "run_looks_broken", ""),
        ("long-document-chat", "went_stale", HAIKU),
        ("record-extraction", "below_bar", HAIKU),
        ("record-extraction", "verdict_changed", HAIKU),
    ]
    # The first run of what serves grew old before its cases were run again, 14 days before the end.
    over = WorkItem.objects.exclude(closed_at=None).values_list("request_class__slug", "kind", "model")
    assert list(over) == [("chat-assistant", "went_stale", OPUS_45)]
    assert set(WorkItem.objects.exclude(closed_at=None).values_list("resolved_itself", flat=True)) == {True}
    broken = EvalRun.objects.exclude(findings=[])
    assert [(run.request_class.slug, run.run_at.date()) for run in broken] == [
        ("chat-assistant", LAST - timedelta(days=3))
    ]
    assert "scored 12.7% on 450 cases" in broken.get().findings[0]["text"]


def test_graded_texts_are_judged_by_their_mean_and_the_old_rubric_is_set_aside(demo):
    """320 texts on two models: one clears a line of 0.83, the other is too near to it; no request was ever sent."""
    found = kept_verdicts(incumbents={}, as_of=AS_OF, slugs=[PLANNED.slug])[PLANNED.slug]
    assert found.asked.metric == "mean_score" and found.line == pytest.approx(0.83)
    told = {model: (v.status, round(v.passes, 2), v.cases) for model, v in found.verdicts.items()}
    assert told == {SONNET_46: ("clears", 285.85, 320), HAIKU: ("not_enough_evidence", 262.75, 320)}
    aside = EvalRun.objects.get(set_aside_at__isnull=False)
    assert (aside.request_class.slug, aside.results, str(aside.set_aside_by)) == (PLANNED.slug, 320, "erin")
    assert "last year's rubric" in aside.set_aside_reason
    seen = VerdictRecord.objects.filter(request_class__slug=PLANNED.slug, model=SONNET_46).order_by("pk")
    assert [row.status for row in seen] == ["not_enough_evidence", "no_evidence", "clears"]
    assert PLANNED.slug not in {row.group["class"] for row in spend(by=("class",)).rows}


def test_live_samples_are_watched_and_raise_no_alarm(demo):
    """Nine weeks of 56 requests, apart from evals: every one is held against the line, graded or counted."""
    runs = EvalRun.objects.filter(suite=LIVE_SUITE)
    assert (runs.count(), set(runs.values_list("is_live", "request_class__slug"))) == (9, {(True, LIVE_CLASS)})
    found = monitors(as_of=AS_OF)
    assert set(found) == {LIVE_CLASS}
    stretches = [each for month in found[LIVE_CLASS].months for each in month.stretches]
    assert {(each.model, each.line, each.alarm) for each in stretches} == {(OPUS_45, 0.93, None)}
    left_out = sum(month.left_out for month in found[LIVE_CLASS].months)
    assert left_out > 0 and sum(each.samples for each in stretches) + left_out == 9 * 56
    assert not any(month.others or month.repeats for month in found[LIVE_CLASS].months)


def test_the_broken_run_repeats_cases_and_adds_no_evidence(view):
    for model, passes in ((OPUS_45, 444), (SONNET_46, 438)):
        verdict = _option(view.row("chat-assistant"), model).verdict
        assert (verdict.passes, verdict.cases) == (passes, 450)


# --- figures against the source files -------------------------------------------------------------------------------


def _exactly(amount: str) -> Fraction:
    return Fraction(Decimal(amount))


def test_spend_equals_the_sums_over_the_source_files(demo_copy, sources):
    """Total, by class and model, and by day: to the last decimal."""
    done = demo_copy.manage("spend", "--by", "class,model", "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert _exactly(report["total"]["cost_usd"]) == sources.usage.cost()
    found = {(row["group"]["class"], row["group"]["model"]): row for row in report["rows"]}
    wanted = {(request_class, model) for _, request_class, model in sources.usage.tokens}
    assert set(found) == wanted
    for (request_class, model), row in found.items():
        assert _exactly(row["cost_usd"]) == sources.usage.cost(request_class=request_class, model=model)
        tokens = [counts for key, counts in sources.usage.tokens.items() if key[1:] == (request_class, model)]
        assert row["output_tok"] == sum(counts["output"] for counts in tokens)
        assert row["cache_read_tok"] == sum(counts["read"] for counts in tokens)
        assert row["uncached_input_tok"] == sum(counts["input"] for counts in tokens)
        if model not in RATES:
            assert row["unpriced_tok"] == sum(sum(counts.values()) for counts in tokens)


def test_spend_by_day_equals_the_sums_over_the_source_files(demo_copy, sources):
    done = demo_copy.manage("spend", "--by", "day", "--json")
    rows = json.loads(done.stdout)["rows"]
    assert len(rows) == 252
    for row in rows:
        day = row["group"]["day"]
        assert _exactly(row["cost_usd"]) == sources.usage.cost(days=(day, day + "~"))


BATCH = Fraction(1, 2)  # of every token kind, for all models here


def _unit(model: str, counts: dict[str, Fraction]) -> Fraction:
    return sum((counts[kind] * RATES[model][kind] for kind in counts), Fraction(0)) / 1_000_000


def _expected(request_class: str, sources: Sources) -> dict[str, Fraction]:
    """Cost of the window for each lever set, from the files alone (methods.md §2, §8.2)."""
    _, window = sources.usage.window(request_class, SINCE)
    counts = {kind: Fraction(count) for kind, count in window.items()}
    if request_class == "agentic-coding":  # own caching; cost per task measured on both models
        uniform = _unit(OPUS_45, counts)
        sums = sources.evals
        routed = uniform * sums["swe-bench", OPUS_46]["cost"] / sums["swe-bench", OPUS_45]["cost"]
        return _levers(uniform, routed)
    if request_class == "reasoning-analytics":
        uniform = _unit(OPUS_45, counts)
        sums = sources.evals
        routed = uniform * sums["swt-bench", OPUS_46]["cost"] / sums["swt-bench", OPUS_45]["cost"]
        return _levers(uniform, routed)
    if request_class == "coding-subagent":  # own caching; tokens measured on both models
        ours, theirs = sources.evals["bashkit", HAIKU], sources.evals["bashkit", OPUS_46]
        more_in, more_out = ours["input"] / theirs["input"], ours["output"] / theirs["output"]
        scaled = {kind: count * (more_out if kind == "output" else more_in) for kind, count in counts.items()}
        return _levers(_unit(OPUS_45, counts), _unit(HAIKU, scaled))
    target = {row[0]: row[2] for row in STORIES}[request_class]
    if request_class == "long-document-chat":
        prefix = counts["input"] * Fraction("0.979294")
        hits = Fraction("0.287087")

        def cached(model: str) -> Fraction:
            rates = RATES[model]
            price = rates["write_5m"] * (1 - hits) + rates["read"] * hits
            return _unit(model, counts) + prefix * (price - rates["input"]) / 1_000_000

        return _levers(_unit(OPUS_45, counts), _unit(target, counts), cached(OPUS_45), cached(target))
    uniform, routed = _unit(OPUS_45, counts), _unit(target, counts)
    waits = request_class in {"summarisation-jobs", "record-extraction", "ticket-classification"}
    return _levers(uniform, routed, batch=BATCH if waits else Fraction(1))


def _levers(uniform, routed, uniform_cached=None, routed_cached=None, batch=Fraction(1)) -> dict[str, Fraction]:
    uniform_cached = uniform if uniform_cached is None else uniform_cached
    routed_cached = routed if routed_cached is None else routed_cached
    return {
        "none": uniform,
        "routing": routed,
        "caching": uniform_cached,
        "batch": uniform * batch,
        "routing+caching": routed_cached,
        "routing+batch": routed * batch,
        "caching+batch": uniform_cached * batch,
        "routing+caching+batch": routed_cached * batch,
    }


@pytest.fixture(scope="session")
def printed(demo_copy: Demo) -> dict:
    done = demo_copy.manage("recommend", "--baseline", OPUS_45, "--json")
    assert done.returncode == 0, done.stderr
    found: dict = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("request_class", [story[0] for story in STORIES])
def test_recommendation_equals_an_independent_computation(printed, sources, request_class):
    row = next(row for row in printed["classes"] if row["request_class"] == request_class)
    expected = _expected(request_class, sources)
    assert set(row["steps"]["costs"]) == set(expected)
    for levers, cost in row["steps"]["costs"].items():
        assert abs(_exactly(cost) - expected[levers]) <= Fraction(1, 2_000_000), (
            levers
        )  # rounded once, to a micro-dollar
    assert _exactly(row["current_cost_usd"]) == sources.usage.cost(days=(SINCE, "9"), request_class=request_class)
    requests, _ = sources.usage.window(request_class, SINCE)
    assert _exactly(row["units"]) == requests


def test_the_savings_of_every_kind_add_up_on_the_demo(demo):
    found = savings(as_of=AS_OF)
    kinds, shown = found.kinds, found.shown
    assert kinds is not None and found.waterfall is not None
    assert kinds.proven_usd + kinds.unproven_usd + kinds.decided_usd - kinds.quality_usd == kinds.total_usd
    assert kinds.quality_usd == sum(row.cost_usd_per_month for row in kinds.quality)
    scope = found.scope
    assert scope.covered_usd + scope.unsolved_usd + scope.unregistered_usd + scope.unclassified_usd == scope.spend_usd
    assert shown.saving_usd == shown.baseline_usd - shown.served_usd == sum(row.saving_usd for row in shown.rows)
    assert shown.saving_usd == shown.measured_usd + shown.assumed_usd
    # One quantity, one figure: the window's baseline as realised and as the waterfall begins, class by class too.
    assert (shown.baseline_usd, shown.served_usd, shown.saving_usd) == (
        Decimal("28862.12"), Decimal("28174.89"), Decimal("687.23")
    )  # fmt: skip
    waterfall = found.waterfall
    assert waterfall.baseline_usd == shown.baseline_usd
    assert waterfall.saved_usd == (Decimal("15768.92"), Decimal("214.92"), Decimal("246.33"))
    begins = {row.request_class: row.baseline_usd for row in waterfall.rows}
    assert begins == {row.request_class: row.baseline_usd for row in shown.rows}
    on_baseline = [row for row in shown.rows if row.source.startswith("measured")]
    assert on_baseline and all(row.saving_usd == 0 for row in on_baseline)
    steps = class_steps(found.recommendation)
    total = found.recommendation.total
    for number, part in enumerate(total.parts):
        assert sum(step.saved_usd[number] for step in steps) == part.saving_usd.quantize(Decimal("0.01"))
    assert sum(step.recommended_usd for step in steps) == total.recommended_cost_usd.quantize(Decimal("0.01"))


def test_command_page_and_api_say_the_same_savings(demo, printed, client, settings):
    """`manage.py recommend`, the API and the page: one value, to the cent."""
    settings.COSTGOV_AS_OF = AS_OF
    client.force_login(User.objects.get(username="victor"))
    assert client.get("/api/v1/recommendation").json() == printed
    page = client.get("/savings/").content.decode()
    for part in printed["total"]["parts"]:
        assert usd(Decimal(part["saving_usd"])) in page and usd(Decimal(part["shapley_usd"])) in page
    for name in ("uniform_cost_usd", "recommended_cost_usd"):
        assert usd(Decimal(printed["total"][name])) in page
    shown = client.get("/api/v1/savings").json()["shown"]
    assert usd(Decimal(shown["saving_usd"])) in page
    assert (shown["measured_usd"], "if the baseline model takes the tokens assumed." in page) == ("0.00", True)


def test_parts_sum_exactly_to_the_total_difference(printed):
    total = printed["total"]
    for steps in (total, *(row["steps"] for row in printed["classes"])):
        difference = Decimal(steps["uniform_cost_usd"]) - Decimal(steps["recommended_cost_usd"])
        assert [part["lever"] for part in steps["parts"]] == ["routing", "caching", "batch"]
        assert sum(Decimal(part["saving_usd"]) for part in steps["parts"]) == difference
        assert sum(Decimal(part["shapley_usd"]) for part in steps["parts"]) == difference
    for levers in total["costs"]:
        assert Decimal(total["costs"][levers]) == sum(
            Decimal(row["steps"]["costs"][levers]) for row in printed["classes"]
        )
    saved = [total["costs"][levers] for levers in ("none", "routing", "routing+caching", "routing+caching+batch")]
    assert [Decimal(part["saving_usd"]) for part in total["parts"]] == [
        Decimal(before) - Decimal(after) for before, after in pairwise(saved)
    ]
    assert Decimal(printed["saving_usd"]) == Decimal(printed["current_cost_usd"]) - Decimal(saved[-1])
