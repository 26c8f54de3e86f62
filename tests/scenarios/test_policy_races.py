"""Two tabs at the same moment: proposals, approvals and activations on real, concurrent connections."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
from django.db import connection

from costgov.models import User
from costgov.operations.policies import propose_draft
from costgov.queries.policies import draft_page
from routing.models import Activation, Approval, ChangeRequest
from routing.operations.policies import PolicyRefused, activate, approve
from tests.demo import Demo, own_demo

__all__ = ["own_demo"]

pytestmark = pytest.mark.xdist_group("demo")


def at_once(*calls: Callable[[], Any]) -> list[Any]:
    """Start all calls together; what each gave, or the refusal it met."""
    barrier = Barrier(len(calls))

    def run(call: Callable[[], Any]) -> Any:
        barrier.wait()
        try:
            return call()
        except PolicyRefused as refusal:
            return refusal
        finally:
            connection.close()

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(run, calls))


def test_two_tabs_make_one_change_one_approval_and_one_sequence(own_demo: Demo):
    erin, emil, ada = (User.objects.get(username=name) for name in ("erin", "emil", "ada"))
    draft = draft_page(as_of=own_demo.as_of)
    shown: dict[str, Any] = {
        "made_at": draft.made_at,
        "content_hash": draft.content_hash,
        "evidence_hash": draft.evidence_hash,
    }
    before = ChangeRequest.objects.count()

    def propose() -> int:
        return propose_draft(actor=erin, title="Both tabs", as_of=own_demo.as_of, **shown).pk

    assert len(set(at_once(*[propose] * 4))) == 1
    assert ChangeRequest.objects.count() == before + 1
    change = ChangeRequest.objects.latest("pk")

    def approving(who: User) -> Callable[[], Any]:
        return lambda: approve(
            actor=who,
            change_request_id=change.pk,
            content_hash=change.policy_version.content_hash,
            evidence_hash=change.evidence_hash,
            as_of=own_demo.as_of,
        )

    answers = at_once(approving(emil), approving(ada), approving(emil), approving(ada))
    refused = [answer for answer in answers if isinstance(answer, PolicyRefused)]
    assert Approval.objects.filter(change_request=change).count() == 1
    assert len(refused) == 2  # the other person's two tabs: the change is approved already
    assert "only one in review is approved" in str(refused[0])

    sequence = Activation.objects.order_by("-sequence")[0].sequence
    calls = [lambda: activate(actor=emil, change_request_id=change.pk, as_of=own_demo.as_of).sequence] * 4
    assert at_once(*calls) == [sequence + 1] * 4
    assert Activation.objects.filter(change_request=change).count() == 1
