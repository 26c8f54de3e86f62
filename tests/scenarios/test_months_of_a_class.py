"""Half a year of one class: evals arrive monthly, a verdict is reached, policy moves the class, drift takes it back.

Everything goes through the operations people use; dates are given, so every look back must find what was so then.
"""

import json
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from django.core.cache import cache

from audit.operations import bump_data_version
from costgov.models import User
from costgov.operations.policies import propose_again, propose_draft
from costgov.queries.evals import quality
from costgov.queries.policies import draft_hashes
from costgov.queries.recommendation import ClassRow, draft_view, recommendation_view
from routing.models import Activation, ChangeRequest, PolicyVersion, WorkItem
from routing.operations.evals import import_evals
from routing.operations.policies import activate, approve
from routing.operations.verdict_records import record_verdicts
from routing.operations.work_items import close_work_item
from routing.queries.bundles import bundle
from tests.costgov import policy_world
from tests.costgov import small_world as world
from tests.costgov.small_world import HAIKU, OPUS, SONNET

pytestmark = pytest.mark.django_db

JULY, AUGUST, SEPTEMBER, OCTOBER = (datetime(2026, month, 1, 10, tzinfo=UTC) for month in (7, 8, 9, 10))
DAY = timedelta(days=1)
MONTHLY = 60
FAILED = {1: (7,), 2: (65, 90), 3: (131,)}  # of Haiku, by month: numbers of cases


class Months:
    """The people, their files and what they look at."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.people = policy_world.people()

    @property
    def lena(self) -> User:
        return self.people["lena"]

    def evals(self, name: str, at: datetime, suite: str, passed: dict[str, dict[int, bool]]) -> Any:
        """A CSV as a script writes it: per model the cases and whether they passed."""
        lines = [
            f"{suite},ticket-{case:03},{model},{str(flag).lower()},{at:%Y-%m-%dT%H:%M:%SZ},triage"
            for model, cases in passed.items()
            for case, flag in cases.items()
        ]
        path = self.folder / f"{name}.csv"
        path.write_text("\n".join(["suite,sample_id,model,passed,run_at,request_class", *lines, ""]))
        return import_evals(actor=self.lena, path=path, as_of=at + timedelta(hours=1))

    def month(self, number: int, at: datetime) -> Any:
        """Sixty new cases on both models; Opus passes all but one of its first sixty."""
        cases = range((number - 1) * MONTHLY, number * MONTHLY)
        return self.evals(
            f"month-{number}", at, "tickets@1",
            {OPUS: {case: case != 3 for case in cases}, HAIKU: {case: case not in FAILED[number] for case in cases}},
        )  # fmt: skip

    def verdict(self, model: str, at: datetime) -> str:
        row = quality(as_of=at, slug="triage").classes[0]
        return next((each.text for each in row.models if each.model == model), "No evidence")

    def decide(self, change: ChangeRequest, at: datetime) -> Activation:
        version = change.policy_version
        approve(
            actor=self.people["tomas"], change_request_id=change.pk, content_hash=version.content_hash,
            evidence_hash=change.evidence_hash, as_of=at,
        )  # fmt: skip
        return activate(actor=self.lena, change_request_id=change.pk, as_of=at + timedelta(hours=1))

    def propose_recommended(self, title: str, at: datetime) -> ChangeRequest:
        content_hash, evidence_hash = draft_hashes(draft_view(as_of=at))
        return propose_draft(
            actor=self.lena, made_at=at, content_hash=content_hash, evidence_hash=evidence_hash, title=title, as_of=at
        )


def use(start: date, end: date, model: str) -> None:
    """100 requests a day of 2,000 + 300 tokens in `triage`, 50 of `drafting` on Sonnet."""
    for number in range((end - start).days):
        on = start + number * DAY
        world.use(on, model, "triage", 100, (200_000, 30_000))
        world.use(on, SONNET, "drafting", 50, (50_000, 40_000))
    bump_data_version()


def recommended(at: datetime) -> ClassRow:
    row = recommendation_view(as_of=at).row("triage")
    assert row is not None
    return row


def serving(at: datetime) -> str:
    """What gateways are told, as they read it."""
    document = json.loads(bundle(environment="prod", as_of=at).body)["policy"]
    return str(document["assignments"]["triage"]["target"]["model"])


@pytest.fixture
def months(tmp_path: Path) -> Months:
    cache.clear()
    made = Months(tmp_path)
    world.organisation()
    world.models()
    world.prices()
    world.classes()
    use(date(2026, 6, 1), date(2026, 9, 5), OPUS)
    return made


def test_half_a_year_of_a_class(months: Months) -> None:
    # July: too little to say. Nothing is recommended on it, and the first policy writes down what runs.
    assert months.verdict(HAIKU, JULY) == "No evidence"
    months.month(1, JULY)
    assert months.verdict(HAIKU, JULY + DAY).startswith("Not enough evidence · ")
    row = recommended(JULY + DAY)
    assert (row.incumbent, row.target) == (OPUS, OPUS)
    first = months.decide(months.propose_recommended("Write down what runs", JULY + 2 * DAY), JULY + 3 * DAY)
    assert (first.sequence, serving(JULY + 4 * DAY)) == (1, OPUS)

    # August: more cases, not yet enough. The failed case of July is run again and passes: that is no evidence.
    months.month(2, AUGUST)
    before = months.verdict(HAIKU, AUGUST + DAY)
    assert before.startswith("Not enough evidence · ")
    months.evals("again", AUGUST + DAY, "tickets@1", {HAIKU: {7: True}})
    assert months.verdict(HAIKU, AUGUST + 2 * DAY) == before

    # September: 176 of 180 clear. That is progress and asks nobody for anything; the move is recommended.
    months.month(3, SEPTEMBER)
    assert months.verdict(HAIKU, SEPTEMBER + DAY) == "Clears the bar"
    assert not WorkItem.objects.exists()
    row = recommended(SEPTEMBER + DAY)
    assert (row.target, row.move) == (HAIKU, "save")
    assert row.saving_usd == Decimal("39.20")  # 2,800 requests at 0.0175 on Opus and 0.0035 on Haiku
    change = months.propose_recommended("Triage to Haiku", SEPTEMBER + 2 * DAY)
    frozen = next(each for each in change.evidence["classes"] if each["request_class"] == "triage")
    assert (frozen["target_verdict"]["status"], frozen["target_verdict"]["passes"]) == ("clears", 176)
    months.decide(change, SEPTEMBER + 3 * DAY)
    assert serving(SEPTEMBER + 4 * DAY) == HAIKU
    use(date(2026, 9, 5), date(2026, 10, 8), HAIKU)

    # October: the tickets changed, and with them the suite. Haiku falls short; somebody is told, twice for two things.
    drifted = {case: case % 5 > 0 for case in range(120)}
    months.evals("october", OCTOBER, "tickets@2", {HAIKU: drifted, OPUS: {case: case != 50 for case in range(120)}})
    assert months.verdict(HAIKU, OCTOBER + DAY) == "Below the bar"
    items = {item.kind: item for item in WorkItem.objects.filter(closed_at=None)}
    assert set(items) == {"verdict_changed", "below_bar"}
    assert "Clears the bar (97.8%, 176 of 180 cases) became Below the bar (80.0%, 96 of 120 cases)" in (
        items["verdict_changed"].text
    )
    row = recommended(OCTOBER + DAY)
    assert (row.target, row.move) == (OPUS, "restore_quality")
    assert row.saving_usd < 0

    # The way back: the first version again, by the same rules.
    back = propose_again(
        actor=months.lena, policy_version_id=PolicyVersion.objects.get(version=1).pk, title="Back to Opus",
        as_of=OCTOBER + 5 * DAY,
    )  # fmt: skip
    returned = months.decide(back, OCTOBER + 6 * DAY)
    assert (returned.sequence, returned.policy_version.version) == (3, 1)
    assert serving(OCTOBER + 7 * DAY) == OPUS
    use(date(2026, 10, 8), date(2026, 11, 8), OPUS)

    # At night the class is no longer served below its bar; that the verdict changed stays until somebody has looked.
    record_verdicts(as_of=datetime(2026, 11, 8, 1, tzinfo=UTC))
    (left,) = WorkItem.objects.filter(closed_at=None)
    assert left.kind == "verdict_changed"
    assert WorkItem.objects.get(kind="below_bar").resolved_itself
    close_work_item(
        actor=months.lena, item_id=left.pk, note="Rolled back; new tickets are harder.",
        as_of=datetime(2026, 11, 8, 9, tzinfo=UTC),
    )  # fmt: skip
    record_verdicts(as_of=datetime(2026, 11, 9, 1, tzinfo=UTC))
    assert not WorkItem.objects.filter(closed_at=None).exists()

    # Looked back at, every month says what it said.
    assert months.verdict(HAIKU, AUGUST + DAY) == before
    assert months.verdict(HAIKU, SEPTEMBER + DAY) == "Clears the bar"
    assert months.verdict(HAIKU, datetime(2026, 11, 9, tzinfo=UTC)) == "Below the bar"
    assert [serving(at) for at in (AUGUST, SEPTEMBER + 10 * DAY, OCTOBER + 10 * DAY)] == [OPUS, HAIKU, OPUS]
