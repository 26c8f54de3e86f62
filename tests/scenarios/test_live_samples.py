"""Three months of live samples: a move, a good month, a bad one with an alarm, the way back, and a month of calm.

Everything goes through the operations people use; evals and verdicts stay what they are throughout.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from django.core.cache import cache

from costgov.operations.policies import propose_again
from costgov.queries.evals import eval_matrix, quality
from routing.models import EvalRun, PolicyVersion, WorkItem
from routing.operations.evals import import_evals
from routing.operations.evidence_changed import judge_again
from routing.operations.suite_rules import set_suite_rule
from routing.queries.monitors import monitors
from tests.costgov import small_world as world
from tests.costgov.small_world import HAIKU, OPUS
from tests.scenarios.test_months_of_a_class import Months, serving, use

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)


def at(month: int, day: int, hour: int = 10) -> datetime:
    return datetime(2026, month, day, hour, tzinfo=UTC)


class Gateway:
    """A grader beside the gateway: it looks at some requests and sends a file a week."""

    def __init__(self, months: Months) -> None:
        self.months = months
        self.sent = 0

    def week(self, begins: datetime, passed: Sequence[bool], model: str) -> None:
        rows = ["suite,sample_id,model,passed,run_at"]
        for number, flag in enumerate(passed):
            run_at = begins + number * timedelta(hours=2)
            rows.append(f"live-triage,req-{self.sent:06},{model},{str(flag).lower()},{run_at:%Y-%m-%dT%H:%M:%SZ}")
            self.sent += 1
        path = self.months.folder / f"live-{self.sent}.csv"
        path.write_text("\n".join([*rows, ""]))
        import_evals(actor=self.months.lena, path=path, as_of=begins + 7 * DAY)


def passing(each: int, count: int = 50) -> list[bool]:
    """One in `each` fails."""
    return [number % each != each - 1 for number in range(count)]


@pytest.fixture
def months(tmp_path: Path) -> Months:
    cache.clear()
    made = Months(tmp_path)
    world.organisation()
    world.models()
    world.prices()
    world.classes()
    use(at(5, 1).date(), at(7, 6).date(), OPUS)
    use(at(7, 6).date(), at(10, 8).date(), HAIKU)
    return made


def test_three_months_of_live_samples(months: Months) -> None:
    months.decide(months.propose_recommended("Write down what runs", at(6, 20)), at(6, 21))
    for number in (1, 2, 3):
        months.month(number, at(7, 1))
    assert months.verdict(HAIKU, at(7, 2)) == "Clears the bar"
    months.decide(months.propose_recommended("Triage to Haiku", at(7, 2)), at(7, 5))
    assert serving(at(7, 6)) == HAIKU
    set_suite_rule(actor=months.lena, pattern="live-*", slug="triage", is_live=True, as_of=at(7, 5))
    before = quality(as_of=at(7, 6), slug="triage").classes[0]

    # July: four good weeks. They are live samples, and nothing else.
    gateway = Gateway(months)
    for week in range(4):
        gateway.week(at(7, 6) + week * 7 * DAY, passing(25), HAIKU)
    july = quality(as_of=at(8, 3), slug="triage").classes[0]
    assert [(row.model, row.cases, row.status) for row in july.models] == [
        (row.model, row.cases, row.status) for row in before.models
    ]
    assert {run.is_live for run in EvalRun.objects.filter(suite="live-triage")} == {True}
    assert not EvalRun.objects.filter(suite="live-triage").exclude(findings=[]).exists()
    assert eval_matrix(as_of=at(8, 3), with_money=False).results == 360, "three months of 60 cases on two models"
    (month,) = monitors(as_of=at(8, 1))["triage"].months
    (stretch,) = month.stretches
    assert (stretch.samples, stretch.passes, stretch.alarm) == (200, 192.0, None)
    assert not WorkItem.objects.exists()

    # August: the requests changed. The first week is not bad enough, the second raises the alarm.
    gateway.week(at(8, 3), passing(10), HAIKU)
    assert not WorkItem.objects.exists()
    gateway.week(at(8, 10), passing(3), HAIKU)
    (item,) = WorkItem.objects.all()
    assert (item.kind, item.model, item.opened_at) == ("monitor_alarm", HAIKU, at(8, 17))
    assert item.text.startswith("Haiku 4-5 serves this class and its live samples of August 2026 are below the")
    assert item.remedy.startswith("Propose a rollback to Opus 4-5, which policy version 1 sent this class to.")
    assert item.details["rollback_version"] == 1
    # The evidence is what it was; the class is below its bar as long as the alarm is open.
    august = quality(as_of=at(8, 18), slug="triage").classes[0]
    serves = august.of(HAIKU)
    assert serves is not None and (serves.status, serves.text) == ("clears", "Clears the bar")
    assert serves.alarm is not None and serves.alarm.item_id == item.pk and serves.shown_status == "falls_short"
    assert eval_matrix(as_of=at(8, 18), with_money=False).below == ("Ticket triage",)
    assert eval_matrix(as_of=at(8, 16), with_money=False).below == ()
    judge_again(as_of=at(8, 18, 1))
    gateway.week(at(8, 17), passing(3), HAIKU)
    assert WorkItem.objects.count() == 1, "more bad samples open nothing more"

    # The way back. At night the alarm is over: what it is about no longer serves.
    first = PolicyVersion.objects.get(version=1)
    back = propose_again(actor=months.lena, policy_version_id=first.pk, title="Back to Opus", as_of=at(8, 24))
    months.decide(back, at(8, 25))
    assert serving(at(8, 26)) == OPUS
    judge_again(as_of=at(8, 26, 1))
    item.refresh_from_db()
    assert item.resolved_itself and item.closed_at == at(8, 26, 1)
    assert item.closing_note == ("Resolved by itself: Opus 4-5 serves the class now, Haiku 4-5 no longer does.")
    assert eval_matrix(as_of=at(8, 27), with_money=False).below == ()
    gateway.week(at(8, 25, 12), passing(50), OPUS)
    shown = monitors(as_of=at(9, 2))["triage"]
    month = next(each for each in shown.months if each.key == "2026-08")
    haiku, opus = month.stretches
    assert haiku.alarm is not None and (opus.model, opus.alarm) == (OPUS, None)
    assert opus.needed == pytest.approx(2.995732, abs=1e-6), "what Haiku won is not held against Opus"

    # September: calm. Late samples of Haiku are of a model that does not serve.
    for week in range(4):
        gateway.week(at(9, 1) + week * 7 * DAY, passing(40), OPUS)
    gateway.week(at(9, 8), passing(2), HAIKU)
    judge_again(as_of=at(10, 1, 1))
    kinds = set(WorkItem.objects.filter(closed_at=None).values_list("kind", flat=True))
    assert kinds == {"went_stale"}, "the evals of July, which live samples keep no fresher"
    september = monitors(as_of=at(10, 1, 1))["triage"].months[-1]
    assert (september.key, september.others) == ("2026-09", 50)
    assert [(each.model, each.samples, each.alarm) for each in september.stretches] == [(OPUS, 200, None)]
    # Looked back at, every day says what it said.
    august = quality(as_of=at(8, 18), slug="triage").classes[0]
    assert august.of(HAIKU).shown_status == "falls_short"  # type: ignore[union-attr]
