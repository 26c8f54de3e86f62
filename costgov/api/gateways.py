"""What gateways and low-volume clients call: the bundle of an environment, and a decision."""

from typing import Any

import structlog
from django.http import HttpResponse
from django.http.response import HttpResponseBase
from django.utils.cache import get_conditional_response
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from costgov.api.base import ApiView, endpoint
from costgov.api.shapes import ERROR_REF
from costgov.pages import now
from gateway.engine import Decision, unchanged
from gateway.facts import normalise_facts
from routing.queries.bundles import NothingActive, bundle, policy_in_force

logger = structlog.get_logger(__name__)
ADAPTER = "costgov-decide/1"


class BundleView(ApiView):
    @extend_schema(
        operation_id="get_bundle",
        summary="The policy bundle of an environment",
        description=(
            "The approved policy in force, under a sequence number that only grows. Poll with If-None-Match: 304 while "
            "nothing changed. Refuse a lower sequence than you hold.\n\nScope: `bundle:read`."
        ),
        tags=["Gateways"],
        parameters=[
            OpenApiParameter("If-None-Match", OpenApiTypes.STR, OpenApiParameter.HEADER, description="The ETag held.")
        ],
        responses={
            200: OpenApiResponse(
                {"type": "object", "additionalProperties": {}}, description="The bundle; its ETag is in the header."
            ),
            304: OpenApiResponse(description="Nothing changed since that ETag."),
            401: OpenApiResponse(ERROR_REF, description="No token, or one that is unknown, expired or revoked."),
            403: OpenApiResponse(ERROR_REF, description="The token lacks the scope or the environment."),
            404: OpenApiResponse(ERROR_REF, description="Unknown environment, or nothing is active there yet."),
        },
        extensions={"x-scope": "bundle:read"},
    )
    def get(self, request: Request, environment: str) -> HttpResponseBase:
        found = bundle(environment=environment, as_of=now())
        response = HttpResponse(found.body, content_type="application/json")
        conditional = get_conditional_response(request._request, etag=found.etag, response=response)
        answer: HttpResponseBase = conditional if conditional is not None else response
        answer["ETag"] = found.etag
        answer["Cache-Control"] = "no-cache"
        return answer

    get.scope = "bundle:read"  # type: ignore[attr-defined]


class StickyField(serializers.DictField):
    child = serializers.CharField(allow_blank=True, max_length=512)


class DecideInput(serializers.Serializer[Any]):
    environment = serializers.CharField(max_length=32)
    facts = serializers.DictField(required=False, help_text="Facts about the request; unknown ones are ignored.")
    sticky = StickyField(required=False, help_text="Keys that keep a caller in one arm: conversation, user, api_key.")
    requested = serializers.CharField(max_length=256, help_text="The model the caller asked for.")
    bypass = serializers.CharField(required=False, allow_blank=True, max_length=256)


class DecideView(ApiView):
    @endpoint(
        summary="Decide one request",
        tag="Gateways",
        scope="decide",
        body=DecideInput,
        answers=dict,
    )
    def post(self, request: Request) -> Response:
        """The decision record for the facts of one request, with the `patch` on it. Whatever goes wrong leaves the
        request unchanged and is named in `reason`: a request never fails because of this."""
        asked = self.given(DecideInput)
        decision = _decide(asked)
        return Response({**decision.as_record(), "patch": decision.patch, "advice": decision.advice})


def _decide(asked: dict[str, Any]) -> Decision:
    place = {"requested": asked["requested"], "environment": asked["environment"], "adapter": ADAPTER}
    try:
        found = policy_in_force(environment=asked["environment"], as_of=now())
    except NothingActive:
        return unchanged("no_bundle", **place)
    except Exception as error:  # the contract: never fail a request because of costgov
        logger.error("decide failed", exc_info=error)
        return unchanged(f"error:{type(error).__name__}", **place)
    return found.policy.decide(
        normalise_facts(asked.get("facts", {})),
        sticky=asked.get("sticky", {}),
        sequence=found.sequence,
        kill_switch=found.kill_switch,
        bypass=asked.get("bypass"),
        **place,
    )
