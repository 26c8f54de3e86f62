"""The quality bar of a class: read it with its versions, try another, set it."""

from typing import Any

from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from costgov.api.base import ApiView, actor_of, endpoint
from costgov.pages import now
from costgov.queries.class_bar import ClassBar, class_bar
from routing.core.bars import METRICS, STANDARDS
from routing.core.evalues import MIN_CASES
from routing.operations.bars import set_bar

TAG = "Classes"


def _share(help_text: str, **options: Any) -> serializers.DecimalField:
    return serializers.DecimalField(
        max_digits=9, decimal_places=6, min_value=0, max_value=1, required=False, help_text=help_text, **options
    )


class BarInput(serializers.Serializer[Any]):
    """What is not given stays as it is."""

    bar = _share("Share of cases that should pass, above 0 and below 1.")
    tolerance = _share("Line = bar − tolerance.")
    alpha = _share("Chance of a wrong verdict, shared by the models that compete.")
    metric = serializers.ChoiceField(choices=METRICS, required=False)
    standard = serializers.ChoiceField(
        choices=STANDARDS, required=False, help_text="Against the line, the model that serves, or both."
    )
    margin = _share("By how much a model may be worse than the one that serves.", allow_null=True)
    min_cases = serializers.IntegerField(required=False, min_value=MIN_CASES, max_value=1_000_000)
    max_age_days = serializers.IntegerField(required=False, min_value=1, max_value=3_650)
    suites = serializers.ListField(
        child=serializers.CharField(max_length=255),
        required=False,
        help_text="Suites that count; * and ? stand for any text, name@2 for one version; [] = all of the class.",
    )
    plan = serializers.ListField(
        child=serializers.CharField(max_length=128),
        required=False,
        help_text="Models that share alpha; [] = every model that ever had a case.",
    )
    version = serializers.IntegerField(
        required=False, help_text="Of the bar you read: another one in force is refused (409)."
    )
    reason = serializers.CharField(
        required=False, default="", allow_blank=True, max_length=500, help_text="Why; kept with the version."
    )
    is_trial = serializers.BooleanField(
        required=False, default=False, help_text="Say what this bar would do, and set nothing."
    )


class ClassBarApi(ApiView):
    @endpoint(summary="The quality bar of a class", tag=TAG, answers=ClassBar, refusals=(404,))
    def get(self, request: Request, slug: str) -> Response:
        """What is asked of a model now, and every version with who set it, when, why and what changed."""
        return Response(class_bar(slug=slug, as_of=now()))

    @endpoint(
        summary="Set the quality bar of a class",
        tag=TAG,
        scope="policy:write",
        body=BarInput,
        answers=ClassBar,
        status=201,
        refusals=(404, 409),
    )
    def post(self, request: Request, slug: str) -> Response:
        """A new version with these facts changed; the same bar again adds none. `is_trial` shows its effect instead."""
        given = self.given(BarInput)
        about = {name: given.pop(name, None) for name in ("version", "reason", "is_trial")}
        if about["is_trial"]:
            return Response(class_bar(slug=slug, as_of=now(), tried=given))
        class_bar(slug=slug, as_of=now())
        set_bar(
            actor=actor_of(request),
            slug=slug,
            facts=given,
            reason=about["reason"] or "",
            version=about["version"],
            as_of=now(),
        )
        return Response(class_bar(slug=slug, as_of=now()), status=201)
