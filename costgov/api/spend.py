"""Spend by anything, as JSON, CSV, a workbook or FOCUS."""

from collections.abc import Callable
from datetime import date, timedelta
from typing import Any, TypeVar

from django.http import HttpResponse
from django.http.response import HttpResponseBase
from rest_framework import serializers
from rest_framework.request import Request

from billing.queries.books import BASES, LIST, UnknownPrices
from billing.queries.usage import usage_days
from billing.queries.usage_sums import TIME_DIMENSIONS
from costgov.api.base import ApiView, endpoint
from costgov.downloads import streamed
from costgov.focus_file import focus_answer
from costgov.jsonout import dumps
from costgov.pages import cached, today
from costgov.queries.spend import (
    NO_USAGE,
    SPEND_DIMENSIONS,
    SpendReport,
    UnknownDimension,
    spend,
    spend_period,
    spend_rows,
)
from costgov.queries.spend_change import SpendChange, month_before, spend_change
from costgov.queries.spend_tables import spend_rows_table

T = TypeVar("T")
SPEND = "Usage and spend"
DEFAULT_ROWS, MOST_ROWS = 2_000, 1_000_000
NONE = "(none)"
FILTERS = tuple(name for name in SPEND_DIMENSIONS if name not in TIME_DIMENSIONS)


class SpendQuery(serializers.Serializer[Any]):
    by = serializers.CharField(
        required=False, default="class", help_text=f"Comma separated: some of {', '.join(sorted(SPEND_DIMENSIONS))}."
    )
    to = serializers.DateField(required=False, help_text="The day after the last; default: after the last with usage.")
    basis = serializers.ChoiceField(BASES, required=False, default=LIST, help_text="List prices, or under contracts.")
    prices = serializers.CharField(required=False, default="", allow_blank=True, help_text="Name of what-if prices.")
    format = serializers.ChoiceField(
        ["json", "csv", "xlsx", "focus"],
        required=False,
        default="json",
        help_text="csv, xlsx: every row as a file. focus: the period as FOCUS 1.2 rows, whatever `by` says.",
    )
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
        "where": _where(asked),
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
        if asked["format"] == "focus":
            return _focus(wanted)
        if asked["format"] != "json":
            return streamed(spend_rows_table(_answered(lambda: spend_rows(**wanted))), asked["format"])
        # Kept as the bytes that are sent: reading thousands of rows back would take longer than summing them.
        body = cached(
            "api-spend",
            lambda: dumps(_answered(lambda: spend(**wanted, limit=asked["limit"]))),
            **_key(wanted),
            limit=asked["limit"],
        )
        return HttpResponse(body, content_type="application/json")


class ChangeQuery(SpendQuery):
    """The two periods; by default the period before: the calendar month before a whole month, else as many days."""

    to = serializers.DateField(help_text="The day after the last.")
    against_from = serializers.DateField(required=False, help_text="First day of the period before.")
    against_to = serializers.DateField(required=False, help_text="The day after its last.")

    def get_fields(self) -> dict[str, Any]:
        kept = super().get_fields()
        kept["from"] = serializers.DateField(help_text="First UTC day.")
        return {name: field for name, field in kept.items() if name not in ("format", "limit", "prices")}


class SpendChangeView(ApiView):
    @endpoint(summary="Why spend changed", tag=SPEND, query=ChangeQuery, answers=SpendChange)
    def get(self, request: Request) -> HttpResponseBase:
        """The change of spend between two periods, split into volume, mix and price effects that sum to it exactly.
        Usage without a price is in no effect and stands beside them."""
        asked = self.asked(ChangeQuery)
        before = month_before(asked["from"], asked["to"])
        wanted = {
            "start": asked["from"],
            "end": asked["to"],
            "before_start": asked.get("against_from", before[0]),
            "before_end": asked.get("against_to", before[1]),
            "by": tuple(name.strip() for name in asked["by"].split(",") if name.strip()),
            "where": _where(asked),
            "basis": asked["basis"],
        }
        body = cached(
            "api-spend-change",
            lambda: dumps(_answered(lambda: spend_change(**wanted))),
            **{**wanted, "where": sorted(wanted["where"].items())},
        )
        return HttpResponse(body, content_type="application/json")


def _answered(ask: Callable[[], T]) -> T:
    """What `ask` answers; a question that cannot be asked is bad input."""
    try:
        return ask()
    except (UnknownDimension, UnknownPrices):
        raise
    except ValueError as error:
        raise serializers.ValidationError(f"{str(error)[0].upper()}{str(error)[1:]}.") from error


def _where(asked: dict[str, Any]) -> dict[str, str]:
    return {name: "" if asked[name] == NONE else asked[name] for name in FILTERS if name in asked}


def _focus(wanted: dict[str, Any]) -> HttpResponseBase:
    if wanted["where"]:
        raise serializers.ValidationError({next(iter(wanted["where"])): ["A FOCUS file holds all usage of a period."]})
    if wanted["start"] is None and usage_days() is None:
        raise serializers.ValidationError(NO_USAGE)
    start, end = _answered(lambda: spend_period(wanted["start"], wanted["end"]))
    return focus_answer(start, end)


def _key(wanted: dict[str, Any]) -> dict[str, Any]:
    where = wanted["where"]
    return {**wanted, "where": sorted(where.items()), "end": wanted["end"] or date.max}
