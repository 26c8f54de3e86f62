"""What is odd about the data."""

from rest_framework.request import Request
from rest_framework.response import Response

from costgov.api.base import ApiView, endpoint
from costgov.health import current_health
from costgov.queries.health import DataHealth


class DataHealthApi(ApiView):
    @endpoint(summary="Data health: everything odd about the data", tag="Usage and spend", answers=DataHealth)
    def get(self, request: Request) -> Response:
        """Findings, errors first, then by the money they touch: unpriced and unclassified usage, late sources, gaps,
        days told twice, refused files, months without report or invoice, each with its remedy."""
        return Response(current_health())
