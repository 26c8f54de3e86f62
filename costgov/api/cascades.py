"""The cascade of a class: what is stated, what it would do, and stating one."""

from typing import Any

from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from costgov.api.base import ApiView, actor_of, endpoint
from costgov.pages import now
from costgov.queries.class_cascade import ClassCascade, class_cascade, stated_cascades
from routing.operations.cascades import checked_cascade, set_cascade

TAG = "Classes"


class CascadeInput(serializers.Serializer[Any]):
    cascade = serializers.DictField(
        help_text="cheap and check_usd; good_accepted and bad_accepted (0 to 1) or check_suite; also strong, "
        "evaluated_as, source. Empty removes it."
    )
    reason = serializers.CharField(max_length=500, help_text="Why; kept in the audit trail.")


class CascadeTrial(serializers.Serializer[Any]):
    cascade = serializers.DictField(help_text="As for stating one.")


class CascadesApi(ApiView):
    @endpoint(summary="Stated cascades", tag=TAG, answers=tuple[ClassCascade, ...])
    def get(self, request: Request) -> Response:
        """Every class with a stated cascade, by title, and what each would do."""
        return Response(stated_cascades(as_of=now()))


class ClassCascadeApi(ApiView):
    @endpoint(summary="Cascade of a class", tag=TAG, answers=ClassCascade, refusals=(404,))
    def get(self, request: Request, slug: str) -> Response:
        """Cost, quality and break-even against the strong model alone, and whether it is recommended."""
        return Response(class_cascade(slug=slug, as_of=now()))

    @endpoint(
        summary="State the cascade of a class",
        tag=TAG,
        scope="policy:write",
        body=CascadeInput,
        answers=ClassCascade,
        status=201,
        refusals=(404,),
    )
    def post(self, request: Request, slug: str) -> Response:
        """In place of the one before. Nothing is routed by it: a policy still names one model per class."""
        given = self.given(CascadeInput)
        actor = actor_of(request)
        set_cascade(actor=actor, slug=slug, document=given["cascade"], reason=given["reason"], as_of=now())
        return Response(class_cascade(slug=slug, as_of=now()), status=201)


class CascadeTrialApi(ApiView):
    @endpoint(summary="Try a cascade for a class", tag=TAG, body=CascadeTrial, answers=ClassCascade, refusals=(404,))
    def post(self, request: Request, slug: str) -> Response:
        """What it would do; nothing is stated."""
        plan = checked_cascade(slug=slug, document=self.given(CascadeTrial)["cascade"])
        return Response(class_cascade(slug=slug, as_of=now(), tried=plan))
