"""The Overview as JSON: the same value as the page."""

from datetime import timedelta

from rest_framework.request import Request
from rest_framework.response import Response

from costgov.api.base import ApiView, endpoint
from costgov.api.quality import DaysQuery
from costgov.pages import today
from costgov.queries.overview import Overview
from costgov.shown import overview_shown


class OverviewApi(ApiView):
    @endpoint(summary="Spend and quality in one view", tag="Overview", query=DaysQuery, answers=Overview)
    def get(self, request: Request) -> Response:
        """Spend of 28 whole days against the 28 before, by tier and class, beside pass rates and savings."""
        start = today() - timedelta(days=self.asked(DaysQuery)["days"])
        return Response(overview_shown(start=start, end=today()))
