"""Policies over HTTP: the draft, changes from proposal to activation, versions. The same steps as on the pages."""

from typing import Any

from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from costgov.api.base import ApiView, actor_of, endpoint
from costgov.operations.policies import propose_document, propose_draft
from costgov.pages import now
from costgov.queries.policies import (
    ChangePage,
    DraftPage,
    PoliciesPage,
    VersionPage,
    change_page,
    policies_page,
    version_page,
)
from costgov.queries.recommendation import NoBaseline
from costgov.shown import draft_shown
from routing.operations import policies as operations
from routing.queries.changes import ChangeRow, changes, environment_of_change

TAG = "Policies"


class ProposeInput(serializers.Serializer[Any]):
    """Either `document`, or the three values of the draft that was read."""

    title = serializers.CharField(max_length=200)
    note = serializers.CharField(required=False, allow_blank=True, default="")
    document = serializers.DictField(required=False, help_text="A policy document of costgov.policy/1.")
    made_at = serializers.DateTimeField(required=False)
    content_hash = serializers.RegexField(r"^[0-9a-f]{64}$", required=False)
    evidence_hash = serializers.RegexField(r"^[0-9a-f]{64}$", required=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        given = {name for name in ("made_at", "content_hash", "evidence_hash") if name in attrs}
        if "document" in attrs and given:
            raise serializers.ValidationError("Give a document, or the values of the draft; not both.")
        if "document" not in attrs and len(given) < 3:
            raise serializers.ValidationError(
                "Give a document, or made_at, content_hash and evidence_hash of the draft you read."
            )
        return attrs


class ApproveInput(serializers.Serializer[Any]):
    content_hash = serializers.RegexField(r"^[0-9a-f]{64}$", help_text="Of the document that was read.")
    evidence_hash = serializers.RegexField(r"^[0-9a-f]{64}$", help_text="Of the evidence that was read.")
    comment = serializers.CharField(required=False, allow_blank=True, default="")


class RejectInput(serializers.Serializer[Any]):
    comment = serializers.CharField(help_text="Why; its author reads this.")


class VersionQuery(serializers.Serializer[Any]):
    policy = serializers.CharField(required=False, default="", help_text="Name of the policy, if there are several.")


class PoliciesView(ApiView):
    @endpoint(summary="What is in force, proposed, recommended, past", tag=TAG, answers=PoliciesPage)
    def get(self, request: Request) -> Response:
        """The policies of prod."""
        try:
            return Response(policies_page(as_of=now(), draft=draft_shown()))
        except NoBaseline as reason:
            return Response(policies_page(as_of=now(), draft=None, no_draft=str(reason)))


class DraftView(ApiView):
    @endpoint(summary="The recommended draft", tag=TAG, answers=DraftPage, refusals=(409,))
    def get(self, request: Request) -> Response:
        """The recommended policy with its evidence. Propose it by repeating `made_at`, `content_hash` and
        `evidence_hash`: nobody proposes what changed meanwhile."""
        return Response(draft_shown())


class ChangesView(ApiView):
    @endpoint(summary="Changes, newest first", tag=TAG, answers=tuple[ChangeRow, ...])
    def get(self, request: Request) -> Response:
        """Every change of prod, open or closed."""
        return Response(changes())

    @endpoint(
        summary="Propose a change",
        tag=TAG,
        scope="policy:write",
        body=ProposeInput,
        answers=ChangePage,
        status=201,
        refusals=(409,),
    )
    def post(self, request: Request) -> Response:
        """Put the draft that was read, or a document of your own, up for review. The evidence is frozen with it."""
        asked, actor = self.given(ProposeInput), actor_of(request)
        self.need_environment("prod")
        if "document" in asked:
            change = propose_document(actor=actor, as_of=now(), **asked)
        else:
            change = propose_draft(actor=actor, as_of=now(), **asked)
        return Response(change_page(change_id=change.pk, reader=actor, as_of=now()), status=201)


class ChangeView(ApiView):
    @endpoint(summary="One change with its frozen evidence", tag=TAG, answers=ChangePage, refusals=(404,))
    def get(self, request: Request, change_id: int) -> Response:
        """The change as proposed, what it would change in force now, its approvals and what happened."""
        return Response(change_page(change_id=change_id, reader=actor_of(request), as_of=now()))


class StepView(ApiView):
    """One step of a change; the answer is the change after it."""

    def _done(self, request: Request, change_id: int) -> Response:
        return Response(change_page(change_id=change_id, reader=actor_of(request), as_of=now()))


class ApproveView(StepView):
    @endpoint(
        summary="Approve a change",
        tag=TAG,
        scope="policy:write",
        body=ApproveInput,
        answers=ChangePage,
        refusals=(404, 409),
    )
    def post(self, request: Request, change_id: int) -> Response:
        """Approve exactly the document and evidence that were read: their hashes are repeated. Not by the author."""
        asked = self.given(ApproveInput)
        self.need_environment(environment_of_change(change_id=change_id))
        operations.approve(actor=actor_of(request), change_request_id=change_id, as_of=now(), **asked)
        return self._done(request, change_id)


class RejectView(StepView):
    @endpoint(
        summary="Reject a change",
        tag=TAG,
        scope="policy:write",
        body=RejectInput,
        answers=ChangePage,
        refusals=(404, 409),
    )
    def post(self, request: Request, change_id: int) -> Response:
        """Close an open change, saying why."""
        asked = self.given(RejectInput)
        self.need_environment(environment_of_change(change_id=change_id))
        operations.reject(actor=actor_of(request), change_request_id=change_id, as_of=now(), **asked)
        return self._done(request, change_id)


class CancelView(StepView):
    @endpoint(summary="Take a change back", tag=TAG, scope="policy:write", answers=ChangePage, refusals=(404, 409))
    def post(self, request: Request, change_id: int) -> Response:
        """Close an open change without a verdict."""
        self.need_environment(environment_of_change(change_id=change_id))
        operations.cancel(actor=actor_of(request), change_request_id=change_id, as_of=now())
        return self._done(request, change_id)


class ActivateView(StepView):
    @endpoint(
        summary="Activate an approved change",
        tag=TAG,
        scope="policy:write",
        answers=ChangePage,
        refusals=(404, 409),
    )
    def post(self, request: Request, change_id: int) -> Response:
        """Put it in force under the next sequence number; gateways take it at their next poll."""
        self.need_environment(environment_of_change(change_id=change_id))
        operations.activate(actor=actor_of(request), change_request_id=change_id, as_of=now())
        return self._done(request, change_id)


class VersionView(ApiView):
    @endpoint(summary="One version of a policy", tag=TAG, query=VersionQuery, answers=VersionPage, refusals=(404,))
    def get(self, request: Request, version: int) -> Response:
        """The immutable document, in words and as it is, with what it would change in force."""
        asked = self.asked(VersionQuery)
        return Response(version_page(version=version, policy=asked["policy"], as_of=now()))
