"""What is saved and what could be: proven, unproven and realised savings, and the evals worth running."""

from typing import Any

from rest_framework import serializers
from rest_framework.exceptions import NotFound
from rest_framework.request import Request
from rest_framework.response import Response

from costgov.api.base import ApiView, endpoint
from costgov.queries.evidence_needed import EvidenceNeeded, ModelOutlook, UnknownModel
from costgov.queries.savings import NoSuchPeriod, Savings
from costgov.shown import evidence_needed_shown, model_outlook_shown, savings_shown

TAG = "Recommendation"


class PeriodQuery(serializers.Serializer[Any]):
    period = serializers.CharField(
        required=False, default="", help_text="28d (default) or a closed month, as 2026-09: what was realised in it."
    )


class SavingsApi(ApiView):
    @endpoint(
        summary="Proven, unproven and realised savings",
        tag=TAG,
        query=PeriodQuery,
        answers=Savings,
        refusals=(404, 409),
    )
    def get(self, request: Request) -> Response:
        """The three kinds apart: what the evidence shows, what rests on assumptions, and what has happened."""
        try:
            return Response(savings_shown(period=self.asked(PeriodQuery)["period"]))
        except NoSuchPeriod as error:
            raise NotFound(str(error)) from error


class EvidenceNeededApi(ApiView):
    @endpoint(summary="Evals worth running, by money", tag=TAG, answers=EvidenceNeeded, refusals=(409,))
    def get(self, request: Request) -> Response:
        """Cheaper models that lack evidence or whose evidence is stale: what each would save and costs to decide."""
        return Response(evidence_needed_shown())


class ModelOutlookApi(ApiView):
    @endpoint(summary="What a model could save", tag=TAG, answers=ModelOutlook, refusals=(404, 409))
    def get(self, request: Request, model: str) -> Response:
        """Per class: the saving if the model cleared its bar, the cases that takes and what they cost to run."""
        try:
            return Response(model_outlook_shown(model=model))
        except UnknownModel as error:
            raise NotFound(str(error)) from error
