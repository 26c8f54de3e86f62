"""Spend by anything, as JSON, CSV, a workbook or FOCUS."""

from datetime import date, timedelta
from typing import Any

from django.http import HttpResponse
from django.http.response import HttpResponseBase
from rest_framework import serializers
from rest_framework.request import Request

from billing.queries.books import BASES, LIST
from billing.queries.usage_sums import TIME_DIMENSIONS
from costgov.api.base import ApiView, endpoint
from costgov.jsonout import dumps
from costgov.pages import cached, today
from costgov.queries.spend import SPEND_DIMENSIONS, SpendReport, spend

SPEND = "Usage and spend"
DEFAULT_ROWS, MOST_ROWS = 5_000, 1_000_000
NONE = "(none)"
FILTERS = tuple(name for name in SPEND_DIMENSIONS if name not in TIME_DIMENSIONS)


class SpendQuery(serializers.Serializer[Any]):
    by = serializers.CharField(
        required=False, default="class", help_text=f"Comma separated: some of {', '.join(sorted(SPEND_DIMENSIONS))}."
    )
    to = serializers.DateField(required=False, help_text="The day after the last; default: after the last with usage.")
    basis = serializers.ChoiceField(BASES, required=False, default=LIST, help_text="List prices, or under contracts.")
    prices = serializers.CharField(required=False, default="", allow_blank=True, help_text="Name of what-if prices.")
    limit = serializers.IntegerField(
        required=False,
        default=DEFAULT_ROWS,
        min_value=1,
        max_value=MOST_ROWS,
        help_text="At most so many rows; the others are summed in `rest`, and `row_count` says how many there are.",
    )

    def get_fields(self) -> dict[str, Any]:
        # "from" and "class" are words of Python and cannot be attributes
        start = serializers.DateField(required=False, help_text="First UTC day; default: the first with usage.")
        said = "Only usage with this value; (none) = without one."
        only = {name: serializers.CharField(required=False, help_text=said) for name in FILTERS}
        return {"from": start, **super().get_fields(), **only}

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if "from" in attrs and "to" in attrs and attrs["from"] >= attrs["to"]:
            raise serializers.ValidationError(
                f"from {attrs['from']} must be before to {attrs['to']}; 'to' is not in it."
            )
        return attrs


def asked_spend(asked: dict[str, Any]) -> dict[str, Any]:
    """Checked parameters as what `spend` takes."""
    start, end = asked.get("from"), asked.get("to")
    if start is not None and end is None:
        end = max(today(), start + timedelta(days=1))
    return {
        "start": start,
        "end": end,
        "by": tuple(name.strip() for name in asked["by"].split(",") if name.strip()),
        "where": {name: "" if asked[name] == NONE else asked[name] for name in FILTERS if name in asked},
        "basis": asked["basis"],
        "scenario": asked["prices"],
    }


class SpendView(ApiView):
    @endpoint(summary="Spend by any dimensions", tag=SPEND, query=SpendQuery, answers=SpendReport)
    def get(self, request: Request) -> HttpResponseBase:
        """Cost of days [from, to) at list prices, under the contracts (`basis`) or at what-if prices (`prices`), with
        unpriced and unclassified usage beside it. The rows and `rest` sum exactly to the total; where only the prompt
        length is missing, `lowest_usd` and `highest_usd` bound it. Any dimension but a time is a filter too."""
        asked = self.asked(SpendQuery)
        wanted = asked_spend(asked)
        # Kept as the bytes that are sent: reading thousands of rows back would take longer than summing them.
        body = cached(
            "api-spend", lambda: dumps(spend(**wanted, limit=asked["limit"])), **_key(wanted), limit=asked["limit"]
        )
        return HttpResponse(body, content_type="application/json")


def _key(wanted: dict[str, Any]) -> dict[str, Any]:
    where = wanted["where"]
    return {**wanted, "where": sorted(where.items()), "end": wanted["end"] or date.max}
