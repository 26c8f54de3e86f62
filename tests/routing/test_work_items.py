"""Verdicts written down as imports leave them, the work items that opens, and runs set aside."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group

from audit.models import AuditEntry
from audit.roles import Forbidden
from routing.models import EvalRun, RequestClass, VerdictRecord, WorkItem
from routing.operations.bars import set_bar
from routing.operations.classes import save_class
from routing.operations.eval_runs import RunRefused, count_again, set_aside
from routing.operations.evals import import_evals
from routing.operations.suite_rules import RuleRefused, remove_suite_rule, set_suite_rule
from routing.operations.verdict_records import record_verdicts
from routing.operations.work_items import ItemRefused, close_work_item
from routing.queries.eval_runs import run_lines, suite_rules
from routing.queries.evidence import case_results
from routing.queries.work_items import open_items_by_class, verdict_changes, work_items
from tests.costgov.small_world import use
from tests.slow_evidence import class_verdicts

pytestmark = pytest.mark.django_db
AS_OF = datetime(2026, 11, 24, tzinfo=UTC)
HAIKU, OPUS = "claude-haiku-4-5", "claude-opus-4-8"


@pytest.fixture(autouse=True)
def classify() -> RequestClass:
    return save_class(
        actor=None, slug="classify", facts={"title": "Classify", "quality_owner": "support-eng"}, as_of=AS_OF
    )


def user(role: str):
    found = get_user_model().objects.create_user(f"{role}-1")
    found.groups.add(Group.objects.get(name=role))
    return found


def load(
    folder: Path, passed: int, cases: int, *, model: str = HAIKU, first: int = 0, day: int = 9, at=AS_OF, **options
):
    """A file of cases `first` … of which the first `passed` pass, run on a day of November."""
    rows = [
        f"triage,classify,T-{first + n},{model},2026-11-{day:02}T10:00:00Z,{'true' if n < passed else 'false'}"
        for n in range(cases)
    ]
    path = folder / f"{model}-{day}-{first}.csv"
    path.write_text("\n".join(["suite,request_class,sample_id,model,run_at,passed", *rows]) + "\n")
    return import_evals(actor=None, path=path, as_of=at, **options)


def status(model: str = HAIKU, at: datetime = AS_OF) -> str:
    results = case_results(slugs=["classify"], as_of=at)
    return class_verdicts(results=results, incumbents={}, as_of=at, slugs=["classify"])["classify"].of(model).status


def test_a_first_decision_is_written_down_and_is_no_drift(tmp_path):
    outcome = load(tmp_path, 200, 200)
    row = VerdictRecord.objects.get()
    assert (row.status, row.previous_status, row.cases, row.passes) == ("clears", "", 200, 200)
    assert row.eval_import_id == outcome.import_id and row.bar_version == 1 and row.line == 0.93
    assert not WorkItem.objects.exists()


def test_more_cases_that_say_the_same_write_nothing(tmp_path):
    load(tmp_path, 200, 200)
    load(tmp_path, 50, 50, first=200, day=10)
    assert VerdictRecord.objects.count() == 1
    assert record_verdicts(as_of=AS_OF).verdicts == 0


def test_drift_opens_an_item_that_resolves_when_the_verdict_returns(tmp_path):
    load(tmp_path, 200, 200)
    load(tmp_path, 60, 100, first=200, day=12)  # 260 of 300
    assert status() == "falls_short"
    item, broken = work_items().items
    assert broken.kind == "run_looks_broken", "it scored 60 % where the run before scored 100 %"
    assert (item.kind, item.slug, item.model, item.concerns) == ("verdict_changed", "classify", HAIKU, "support-eng")
    assert item.before is not None and item.after is not None
    assert item.before["cases"] == 200 and item.after["passes"] == 260
    assert "Clears the bar (100.0%, 200 of 200 cases) became Below the bar (86.7%, 260 of 300 cases)" in item.text
    assert open_items_by_class() == {"classify": 2}
    bad = EvalRun.objects.latest("id")
    set_aside(actor=None, run_id=bad.pk, reason="The grader was down", as_of=AS_OF)
    assert status() == "clears"
    closed = work_items(with_closed=True).items
    assert all(each.resolved_itself and each.closed_at == AS_OF and not each.is_open for each in closed)
    assert len(closed) == 2
    assert [(row.previous_status, row.status) for row in verdict_changes(slug="classify")] == [
        ("falls_short", "clears"),
        ("clears", "falls_short"),
        ("", "clears"),
    ]


def test_another_change_while_it_is_open_tells_both_ends(tmp_path):
    load(tmp_path, 200, 200)
    load(tmp_path, 60, 100, first=200, day=12)
    load(tmp_path, 900, 900, first=300, day=13)  # 1160 of 1200
    assert status() == "clears", "the verdict returned"
    load(tmp_path, 0, 60, first=1200, day=14)  # 1160 of 1260: 92.1%
    assert status() == "not_enough_evidence"
    opened, closed = work_items(with_closed=True, kind="verdict_changed").items
    assert opened.before is not None and opened.after is not None
    assert opened.is_open and opened.before["cases"] == 1200 and opened.after["cases"] == 1260
    assert closed.resolved_itself


def test_a_bar_that_is_raised_is_recorded_and_is_no_drift(tmp_path, classify):
    load(tmp_path, 196, 200)
    set_bar(actor=None, slug=classify.slug, facts={"bar": "0.98"}, reason="Complaints", as_of=AS_OF)
    record_verdicts(as_of=AS_OF)
    assert VerdictRecord.objects.latest("id").status == "not_enough_evidence"
    assert not WorkItem.objects.exists()


def test_evidence_that_ages_opens_an_item_and_new_cases_close_it(tmp_path):
    load(tmp_path, 200, 200)
    later = AS_OF + timedelta(days=100)
    assert record_verdicts(as_of=later).opened == 1
    (item,) = work_items().items
    assert item.kind == "went_stale" and "allows 90 days" in item.text
    assert record_verdicts(as_of=later + timedelta(days=1)).opened == 0
    close_work_item(actor=user("engineer"), item_id=item.id, note="Planned for March", as_of=later)
    assert record_verdicts(as_of=later + timedelta(days=2)).opened == 0, "it was answered: it must not come back"
    path = tmp_path / "later.csv"
    path.write_text(
        "suite,request_class,sample_id,model,run_at,passed\n"
        f"triage,classify,T-900,{HAIKU},{later:%Y-%m-%d}T10:00:00Z,true\n"
    )
    import_evals(actor=None, path=path, as_of=later + timedelta(days=3))
    assert not VerdictRecord.objects.latest("id").stale
    assert record_verdicts(as_of=later + timedelta(days=200)).opened == 1, "stale anew"


def test_closing_needs_a_note_a_right_and_an_open_item(tmp_path):
    load(tmp_path, 200, 200)
    load(tmp_path, 60, 100, first=200, day=12)
    item_id = WorkItem.objects.get(kind="verdict_changed").pk
    with pytest.raises(ItemRefused, match="what came of it"):
        close_work_item(actor=None, item_id=item_id, note="  ", as_of=AS_OF)
    with pytest.raises(Forbidden):
        close_work_item(actor=user("procurement"), item_id=item_id, note="x", as_of=AS_OF)
    closed = close_work_item(actor=user("engineer"), item_id=item_id, note="Prompt fixed", as_of=AS_OF)
    assert closed.closing_note == "Prompt fixed" and AuditEntry.objects.filter(action="work_item.closed").count() == 1
    with pytest.raises(ItemRefused, match="closed on"):
        close_work_item(actor=None, item_id=item_id, note="again", as_of=AS_OF)
    with pytest.raises(ItemRefused, match="no work item"):
        close_work_item(actor=None, item_id=0, note="x", as_of=AS_OF)


def test_a_run_set_aside_counts_again_as_if_nothing_had_been(tmp_path):
    load(tmp_path, 200, 200)
    run = EvalRun.objects.get()
    engineer = user("engineer")
    set_aside(actor=engineer, run_id=run.pk, reason="Wrong prompts", as_of=AS_OF)
    assert status() == "no_evidence"
    assert status(at=AS_OF - timedelta(seconds=1)) == "clears", "earlier it was evidence"
    (line,) = run_lines(slug="classify", only_set_aside=True)
    assert (line.set_aside_by, line.set_aside_reason) == ("engineer-1", "Wrong prompts")
    assert "No evidence" in WorkItem.objects.get().text
    with pytest.raises(RunRefused, match="already"):
        set_aside(actor=engineer, run_id=run.pk, reason="x", as_of=AS_OF)
    count_again(actor=engineer, run_id=run.pk, as_of=AS_OF)
    assert status() == "clears" and run_lines(only_set_aside=True) == ()
    with pytest.raises(RunRefused, match="counts already"):
        count_again(actor=engineer, run_id=run.pk, as_of=AS_OF)
    actions = list(AuditEntry.objects.filter(object_type="eval_run").values_list("action", flat=True))
    assert sorted(actions) == ["evals.run_counted_again", "evals.run_set_aside"]


@pytest.mark.parametrize(
    ("reason", "run_id", "words"), [("", None, "Say why"), ("x" * 2001, None, "2,001"), ("x", 0, "no eval run")]
)
def test_what_cannot_be_set_aside_is_refused(tmp_path, reason, run_id, words):
    load(tmp_path, 3, 3)
    with pytest.raises(RunRefused, match=words):
        set_aside(actor=None, run_id=EvalRun.objects.get().pk if run_id is None else run_id, reason=reason, as_of=AS_OF)
    with pytest.raises(Forbidden):
        set_aside(actor=user("viewer"), run_id=EvalRun.objects.get().pk, reason="x", as_of=AS_OF)


def test_rules_map_suites_in_their_order():
    first = set_suite_rule(actor=None, pattern="triage-*", slug="classify", as_of=AS_OF)
    set_suite_rule(actor=None, pattern="*", slug="classify", as_of=AS_OF)
    set_suite_rule(actor=None, pattern="triage-hard", slug="classify", position=0, as_of=AS_OF)
    assert [(row.pattern, row.position) for row in suite_rules()] == [("triage-*", 0), ("triage-hard", 0), ("*", 1)]
    assert set_suite_rule(actor=None, pattern="triage-*", slug="classify", as_of=AS_OF).pk == first.pk
    assert AuditEntry.objects.filter(action="evals.suite_rule_set").count() == 3, "the same again changes nothing"
    remove_suite_rule(actor=None, rule_id=first.pk, as_of=AS_OF)
    assert len(suite_rules()) == 2
    with pytest.raises(RuleRefused, match="no rule number"):
        remove_suite_rule(actor=None, rule_id=first.pk, as_of=AS_OF)


@pytest.mark.parametrize(
    ("pattern", "slug", "words"),
    [
        ("", "classify", "empty"),
        ("triage@2", "classify", "version"),
        ("t", "nothing", "Registered: classify"),
        ("a\tb", "classify", "nobody sees"),
    ],
)
def test_rules_nobody_can_keep_are_refused(pattern, slug, words):
    with pytest.raises(RuleRefused, match=words):
        set_suite_rule(actor=None, pattern=pattern, slug=slug, as_of=AS_OF)


def test_the_model_that_serves_and_falls_short_is_an_item(tmp_path):
    use(AS_OF.date() - timedelta(days=1), OPUS, "classify", 100, (200_000, 30_000))
    load(tmp_path, 100, 200, model=OPUS)
    (item,) = work_items().items
    assert item.kind == "below_bar" and item.concerns == "support-eng, procurement"
    load(tmp_path, 4000, 4000, model=OPUS, first=200, day=11)
    assert [row.kind for row in work_items(with_closed=True).items if row.resolved_itself] == ["below_bar"]
