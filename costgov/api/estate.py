"""The estate as a whole: constraints and the frontier of cost and quality."""

from typing import Any

from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from costgov.api.base import ApiView, actor_of, endpoint
from costgov.pages import now
from costgov.queries.estate import ConstraintsView, FrontierView
from costgov.shown import constraints_shown, frontier_shown
from routing.core.coupling import Limits
from routing.operations.constraints import set_constraints

TAG = "Recommendation"


def _share(help_text: str) -> serializers.DecimalField:
    return serializers.DecimalField(
        max_digits=9, decimal_places=6, min_value=0, max_value=1, required=False, default=None, allow_null=True,
        help_text=help_text,
    )  # fmt: skip


class ConstraintsInput(serializers.Serializer[Any]):
    quality_floor = _share("Least mean pass rate, 0 to 1; null lifts it.")
    move_share = _share("Most of all requests that may move at once, 0 to 1; null lifts it.")
    model_caps = serializers.DictField(
        child=serializers.DecimalField(max_digits=9, decimal_places=6, min_value=0, max_value=1),
        required=False,
        default=dict,
        help_text="Model → its most share of all requests, 0 to 1.",
    )
    reason = serializers.CharField(max_length=500, help_text="Why; kept with the version.")


class ConstraintsApi(ApiView):
    @endpoint(summary="Constraints of the estate", tag=TAG, answers=ConstraintsView)
    def get(self, request: Request) -> Response:
        """Every version, the newest (in force) first, and what it costs a month against the choice without it."""
        return Response(constraints_shown())

    @endpoint(
        summary="Set the constraints of the estate",
        tag=TAG,
        scope="policy:write",
        body=ConstraintsInput,
        answers=ConstraintsView,
        status=201,
    )
    def post(self, request: Request) -> Response:
        """A new version with all of these and no others. The same as in force adds none."""
        given = self.given(ConstraintsInput)
        limits = Limits(given["quality_floor"], given["move_share"], given["model_caps"])
        set_constraints(actor=actor_of(request), limits=limits, reason=given["reason"], as_of=now())
        return Response(constraints_shown(), status=201)


class FrontierApi(ApiView):
    @endpoint(summary="Cost and quality of the estate", tag=TAG, answers=FrontierView, refusals=(409,))
    def get(self, request: Request) -> Response:
        """Corners of the frontier with the move to each, and where the baseline and today's policy stand."""
        return Response(frontier_shown())
