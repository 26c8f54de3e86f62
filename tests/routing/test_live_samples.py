"""Live samples from import to work item: kept apart from evidence, whatever the files, until something answers."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import permutations
from pathlib import Path

import pytest

from audit.models import AuditEntry
from costgov.queries.evals import quality
from routing.models import ClassEvidence, EvalCase, EvalImport, EvalRun, RequestClass, WorkItem
from routing.operations.bars import set_bar
from routing.operations.classes import save_class
from routing.operations.eval_runs import count_again, set_aside
from routing.operations.evals import import_evals
from routing.operations.evidence_changed import judge_again
from routing.operations.suite_rules import set_suite_rule
from routing.operations.work_items import close_work_item
from routing.queries.bars import bar_histories
from routing.queries.evidence import case_results
from routing.queries.in_force import in_force, served_before
from routing.queries.incumbents import active_policies
from routing.queries.monitors import monitors, open_alarms
from routing.queries.serving import serving_models
from routing.queries.work_items import work_items
from tests.costgov import small_world as world
from tests.costgov.small_world import use

pytestmark = pytest.mark.django_db
HAIKU, OPUS = "claude-haiku-4-5", "claude-opus-4-8"
NOVEMBER = datetime(2026, 11, 1, tzinfo=UTC)
AS_OF = datetime(2026, 11, 24, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture(autouse=True)
def classify() -> RequestClass:
    """Served by Haiku since October, by usage alone."""
    found = save_class(
        actor=None, slug="classify", facts={"title": "Classify", "quality_owner": "support-eng"}, as_of=NOVEMBER - DAY
    )
    set_suite_rule(actor=None, pattern="live*", slug="classify", is_live=True, as_of=NOVEMBER - DAY)
    served(date(2026, 9, 1), date(2027, 1, 20), HAIKU)
    return found


def served(start: date, end: date, model: str, requests: int = 100) -> None:
    for number in range((end - start).days):
        use(start + number * DAY, model, "classify", requests, (1_000, 100))


def load(
    folder: Path,
    passed: Sequence[bool | None],
    *,
    begins: datetime = NOVEMBER,
    suite: str = "live",
    model: str = HAIKU,
    first: int = 0,
    at: datetime = AS_OF,
    slug: str = "",
):
    """Samples one an hour; None = the grader failed."""
    rows = []
    for number, flag in enumerate(passed):
        run_at = begins + number * timedelta(hours=1)
        verdict, error = ("", "timeout") if flag is None else (str(flag).lower(), "")
        rows.append(f"{suite},{slug},r-{first + number},{model},{run_at:%Y-%m-%dT%H:%M:%SZ},{verdict},{error}")
    path = folder / f"{suite}-{begins:%m%d%H}-{first}-{len(rows)}-{model}.csv"
    path.write_text("\n".join(["suite,request_class,sample_id,model,run_at,passed,error", *rows, ""]))
    return import_evals(actor=None, path=path, as_of=at)


def bad(count: int = 60, each: int = 3) -> list[bool | None]:
    return [number % each != 0 for number in range(count)]


GOOD: list[bool | None] = [True] * 60


def alarms() -> list[WorkItem]:
    return list(WorkItem.objects.filter(kind="monitor_alarm").order_by("pk"))


# --- kept apart -------------------------------------------------------------------------------------------------------


def test_live_samples_are_no_evidence(tmp_path):
    load(tmp_path, [True] * 100, suite="core", slug="classify")
    before = quality(as_of=AS_OF, slug="classify").classes[0]
    kept = ClassEvidence.objects.get().summary
    load(tmp_path, bad(), suite="live-nightly@3")
    load(tmp_path, bad(), model=OPUS, first=500, slug="classify")
    after = quality(as_of=AS_OF, slug="classify").classes[0]
    assert [(row.model, row.cases, row.candidates, row.status) for row in after.models] == [
        (row.model, row.cases, row.candidates, row.status) for row in before.models
    ], "neither a case nor a competing model more"
    assert {row.suite for row in case_results(as_of=AS_OF)["classify"]} == {"core"}
    assert ClassEvidence.objects.get().summary == kept
    judge_again(as_of=AS_OF + DAY)
    assert ClassEvidence.objects.get().summary == kept


def test_a_broken_grader_of_live_samples_looks_broken_to_nobody(tmp_path):
    outcome = load(tmp_path, [None, True] * 30)
    assert outcome.findings == () and EvalRun.objects.get().findings == []
    load(tmp_path, [True] * 60, suite="core", slug="classify")
    outcome = load(tmp_path, [False] * 60, first=200, begins=NOVEMBER + 9 * DAY, suite="core", slug="classify")
    assert outcome.findings, "evals are still looked at"


def test_only_the_first_rule_that_matches_says_so(tmp_path):
    set_suite_rule(actor=None, pattern="live*", slug="classify", position=1, as_of=AS_OF)
    set_suite_rule(actor=None, pattern="live-evals", slug="classify", position=0, as_of=AS_OF)
    load(tmp_path, GOOD, suite="live-evals")
    load(tmp_path, GOOD, suite="lively", slug="classify")
    assert dict(EvalRun.objects.values_list("suite", "is_live")) == {"live-evals": False, "lively": True}


def test_what_was_imported_stays_what_it_was(tmp_path):
    load(tmp_path, bad(), suite="graded", slug="classify")
    set_suite_rule(actor=None, pattern="graded", slug="classify", position=0, is_live=True, as_of=AS_OF)
    assert not EvalRun.objects.get().is_live
    # Set aside and exported again, they are live samples: the rows are compared with such alone.
    set_aside(actor=None, run_id=EvalRun.objects.get().pk, reason="These are live samples", as_of=AS_OF)
    outcome = load(tmp_path, [*bad(), True], suite="graded", slug="classify")
    assert (outcome.cases, outcome.duplicates) == (61, 0)
    outcome = load(tmp_path, [*bad(), True, True], suite="graded", slug="classify")
    assert (outcome.cases, outcome.duplicates) == (1, 61)
    assert len(alarms()) == 1


def test_a_rule_keeps_what_nobody_changes():
    rule = set_suite_rule(actor=None, pattern="live*", slug="classify", position=3, as_of=AS_OF)
    assert (rule.is_live, rule.position) == (True, 3)
    rule = set_suite_rule(actor=None, pattern="live*", slug="classify", is_live=False, as_of=AS_OF)
    assert not rule.is_live
    entry = AuditEntry.objects.filter(action="evals.suite_rule_set").latest("pk")
    assert entry.before is not None and entry.after is not None
    assert (entry.before["is_live"], entry.after["is_live"]) == (True, False)


# --- the alarm --------------------------------------------------------------------------------------------------------


def test_an_alarm_opens_one_item(tmp_path):
    load(tmp_path, bad(30))
    load(tmp_path, bad(30), begins=NOVEMBER + 5 * DAY, first=100)
    (item,) = alarms()
    assert (item.model, item.concerns) == (HAIKU, "support-eng, procurement")
    assert item.details["month"] == "2026-11"
    assert item.details["alarm"] == {
        "at": "2026-11-01T09:00:00+00:00", "suite": "live", "sample_id": "r-9", "samples": 10, "passes": 6.0,
    }  # fmt: skip
    assert "6 of 10 passed (60.0%) when the alarm was raised on 1 Nov 2026, line 93%" in item.text
    assert "no model is known that served this class before" in item.remedy
    (shown,) = work_items(kind="monitor_alarm").items
    assert (shown.kind_text, shown.rollback_version) == ("Live samples below the line", None)
    found = open_alarms(as_of=AS_OF)[("classify", HAIKU)]
    assert (found.item_id, found.month) == (item.pk, "2026-11")
    assert open_alarms(as_of=AS_OF - DAY) == {} and open_alarms(as_of=AS_OF, slug="other") == {}


def test_neither_the_order_of_files_nor_their_cut_matters(tmp_path):
    """Three files in every order, and all of it in one: the same months."""
    parts = [(bad(20), NOVEMBER, 0), (GOOD[:20], NOVEMBER + 2 * DAY, 20), (bad(20), NOVEMBER + 4 * DAY, 40)]
    shown = []
    for number, order in enumerate(permutations(parts)):
        folder = tmp_path / str(number)
        folder.mkdir()
        for passed, begins, first in order:
            load(folder, passed, begins=begins, first=first)
        shown.append(monitors(as_of=AS_OF)["classify"].months)
        for table in (WorkItem, EvalCase, EvalRun, EvalImport):
            table.objects.all().delete()
    assert all(months == shown[0] for months in shown)
    assert shown[0][0].stretches[0].alarm is not None


def test_an_alarm_of_last_month_is_not_missed(tmp_path):
    """The file of the last days of a month comes in the next."""
    load(tmp_path, bad(), begins=datetime(2026, 11, 28, tzinfo=UTC), at=datetime(2026, 12, 2, tzinfo=UTC))
    (item,) = alarms()
    assert item.details["month"] == "2026-11"
    # Months later nothing is opened for it anew.
    close_work_item(actor=None, item_id=item.pk, note="Known", as_of=datetime(2026, 12, 3, tzinfo=UTC))
    judge_again(as_of=datetime(2026, 12, 4, tzinfo=UTC))
    judge_again(as_of=datetime(2027, 1, 4, tzinfo=UTC))
    assert len(alarms()) == 1


def test_closed_by_somebody_it_comes_back_next_month_only(tmp_path):
    load(tmp_path, bad())
    (item,) = alarms()
    close_work_item(actor=None, item_id=item.pk, note="Known: rollback is under way", as_of=AS_OF)
    assert open_alarms(as_of=AS_OF + DAY) == {}
    load(tmp_path, bad(), begins=NOVEMBER + 12 * DAY, first=100, at=AS_OF + DAY)
    assert len(alarms()) == 1
    december = datetime(2026, 12, 1, tzinfo=UTC)
    load(tmp_path, bad(), begins=december, first=200, at=december + 5 * DAY)
    assert [each.details["month"] for each in alarms()] == ["2026-11", "2026-12"]


def test_a_later_good_month_resolves_it(tmp_path):
    load(tmp_path, bad())
    december = datetime(2026, 12, 1, tzinfo=UTC)
    load(tmp_path, GOOD, begins=december, first=200, at=december + 9 * DAY)
    assert alarms()[0].closed_at is None
    judge_again(as_of=datetime(2026, 12, 31, 23, tzinfo=UTC))
    assert alarms()[0].closed_at is None
    judge_again(as_of=datetime(2027, 1, 1, 1, tzinfo=UTC))
    (item,) = alarms()
    assert item.resolved_itself
    assert item.closing_note == ("Resolved by itself: December 2026 ended without an alarm, 60 of 60 passed (100.0%).")


def test_an_alarm_of_long_ago_stays_until_it_is_answered(tmp_path):
    """Months beyond those looked at for new alarms are looked at while an item is open."""
    load(tmp_path, bad())
    judge_again(as_of=datetime(2027, 1, 15, tzinfo=UTC))
    assert alarms()[0].closed_at is None


def test_another_model_that_serves_resolves_it(tmp_path):
    load(tmp_path, bad())
    served(date(2026, 11, 10), date(2027, 1, 20), OPUS, requests=500)
    judge_again(as_of=AS_OF + DAY)
    (item,) = alarms()
    assert item.closing_note.startswith("Resolved by itself: ") and item.closing_note.endswith("no longer does.")


def test_a_lower_line_resolves_it(tmp_path):
    load(tmp_path, bad())
    facts = {"bar": Decimal("0.60")}
    set_bar(actor=None, slug="classify", facts=facts, reason="Drafts only", as_of=AS_OF + DAY)
    (item,) = alarms()
    assert item.closing_note == "Resolved by itself: the bar was changed since."


def test_a_run_set_aside_takes_its_samples_and_its_alarm(tmp_path):
    load(tmp_path, bad())
    run = EvalRun.objects.get()
    set_aside(actor=None, run_id=run.pk, reason="The grader asked the wrong question", as_of=AS_OF + DAY)
    (item,) = alarms()
    assert item.closing_note == "Resolved by itself: its live samples are set aside."
    assert monitors(as_of=AS_OF + DAY) == {} and monitors(as_of=AS_OF)["classify"].standing is not None
    count_again(actor=None, run_id=run.pk, as_of=AS_OF + 2 * DAY)
    assert [each.closed_at is None for each in alarms()] == [False, True]


def test_a_class_that_only_compares_is_told_so(tmp_path, classify):
    facts = {"standard": "not_worse", "margin": Decimal("0.05")}
    set_bar(actor=None, slug="classify", facts=facts, reason="As good as what serves", as_of=NOVEMBER)
    load(tmp_path, bad())
    found = monitors(as_of=AS_OF)["classify"]
    assert found.no_line.startswith("This class asks only whether another model is worse")
    assert (found.months[0].stretches, found.months[0].without_line, alarms()) == ((), 60, [])


def test_judging_twice_changes_nothing(tmp_path):
    load(tmp_path, bad())
    judge_again(as_of=AS_OF)
    assert judge_again(as_of=AS_OF).opened == 0
    assert len(alarms()) == 1


# --- what served when -------------------------------------------------------------------------------------------------


def assignments(model: str, basis_points: int | None = None) -> dict[str, object]:
    rollout = {} if basis_points is None else {"rollout": {"basis_points": basis_points}}
    return {"classify": {"target": {"model": model}, **rollout}}


def test_what_served_is_what_pages_said_at_every_instant(classify):
    """Usage that turns over within weeks, a policy that observes, one that rolls out, one that settles."""
    served(date(2026, 10, 20), date(2026, 12, 20), OPUS, requests=300)
    author = world.people()["eva"]
    steps = [
        (1, OPUS, None, "observe", NOVEMBER + 9.5 * DAY),
        (2, HAIKU, None, "enforce", NOVEMBER + 12.4 * DAY),
        (3, OPUS, 2_500, "enforce", NOVEMBER + 16.2 * DAY),
        (4, OPUS, 10_000, "enforce", NOVEMBER + 21.7 * DAY),
    ]
    for version, model, share, mode, at in steps:
        world.policy(author, version, assignments(model, share), at, active=True, mode=mode)
    until = NOVEMBER + 29 * DAY
    found = in_force(bars=bar_histories([classify]), since=NOVEMBER - 20 * DAY, until=until)["classify"]
    assert [each.begins for each in found] == sorted({each.begins for each in found})
    seen = set()
    for hours in range(0, 24 * 48, 7):
        at = NOVEMBER - 19 * DAY + timedelta(hours=hours)
        expected = serving_models(slugs=["classify"], as_of=at).get("classify")
        assert [each for each in found if each.begins <= at][-1].model == expected, at
        seen.add(expected)
    assert seen == {HAIKU, OPUS}
    assert [each.version for each in active_policies(environment="prod", as_of=until)] == [1, 2, 3, 4]


def test_where_a_class_would_go_back_to(classify):
    author = world.people()["eva"]
    assert served_before(slug="classify", model=HAIKU, as_of=AS_OF) is None
    world.policy(author, 1, assignments(HAIKU), NOVEMBER, active=True)
    assert served_before(slug="classify", model=HAIKU, as_of=AS_OF) is None, "nothing else was ever in use"
    served(date(2026, 10, 1), date(2026, 10, 30), OPUS, requests=900)
    found = served_before(slug="classify", model=HAIKU, as_of=AS_OF)
    assert found is not None and (found.model, found.policy, found.policy_version) == (OPUS, "", None)
    world.policy(author, 2, assignments(OPUS), NOVEMBER + 5 * DAY, active=True)
    world.policy(author, 3, assignments(HAIKU, 5_000), NOVEMBER + 6 * DAY, active=True)
    world.policy(author, 4, assignments(HAIKU), NOVEMBER + 7 * DAY, active=True)
    found = served_before(slug="classify", model=HAIKU, as_of=AS_OF)
    assert found is not None and (found.model, found.policy, found.policy_version) == (OPUS, "claude-prod", 2)
