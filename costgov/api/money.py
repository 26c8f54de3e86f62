"""What Claude costs: prices, usage imports, forecasts, commitments."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from rest_framework import serializers
from rest_framework.exceptions import NotFound
from rest_framework.request import Request
from rest_framework.response import Response

from billing.core.sizing_record import SizingRecord
from billing.core.terms import parse_terms
from billing.importers.records import INPUT_INCLUDES_CACHE, SWITCHES
from billing.models import Forecast, Import
from billing.operations.imports import ImportOptions, ImportOutcome
from billing.operations.source_settings import BadAnswer, read_answers
from billing.operations.upkeep import DeletedImport
from billing.queries.commitments import KeptTerms, SizingSummary, all_terms, kept_terms, sizing_record, sizing_summaries
from billing.queries.forecasts import latest_forecast
from billing.queries.import_pages import ImportDetail, ImportRow, import_detail, import_rows
from billing.queries.price_list import PriceList, price_list
from costgov.api.base import EMPTY_FILE, ApiView, actor_of, endpoint
from costgov.jsonin import read
from costgov.operations.commitments import save_terms, size_commitment
from costgov.operations.forecast import make_forecast
from costgov.operations.usage import delete_import, start_usage_import
from costgov.pages import now, today
from costgov.queries.forecast_view import ForecastView

USAGE, PRICES, AHEAD = "Usage and spend", "Prices", "Forecast and commitments"


class PricesQuery(serializers.Serializer[Any]):
    on = serializers.DateField(required=False, help_text="A UTC day; default: today.")
    service_tier = serializers.CharField(required=False, default="standard")
    geo = serializers.CharField(required=False, default="global")
    speed = serializers.CharField(required=False, default="standard")
    everything = serializers.BooleanField(required=False, default=False, help_text="Also models not offered any more.")


class UsageFileInput(serializers.Serializer[Any]):
    file = serializers.FileField(
        error_messages={"empty": EMPTY_FILE},
        help_text="Log, LiteLLM payloads, usage report, cost report or bill (also .gz, .zst).",
    )
    format = serializers.CharField(required=False, default="", allow_blank=True, help_text="Empty: found out.")
    source = serializers.CharField(  # type: ignore[assignment]  # declared fields are taken off the class
        required=False, default="", allow_blank=True, max_length=120
    )
    replace = serializers.BooleanField(required=False, default=False)
    good_rows = serializers.BooleanField(required=False, default=False)
    all_rows = serializers.BooleanField(
        required=False, default=False, help_text="Of a bill: also the rows of other services than Claude."
    )
    input_includes_cache = serializers.ChoiceField(
        INPUT_INCLUDES_CACHE.choices,
        required=False,
        help_text="Of traces whose file does not prove it: whether input contains cached tokens. The source remembers.",
    )
    at = serializers.CharField(
        required=False,
        max_length=40,
        help_text="Of batch results and bare answers, which hold no times: when they were made, with its zone.",
    )

    def validate_at(self, value: str) -> str:
        try:
            return read_answers({"at": value}).get("at", "")
        except BadAnswer as error:
            raise serializers.ValidationError(f"{error}.") from error


class ForecastInput(serializers.Serializer[Any]):
    start = serializers.DateField(required=False, help_text="First day; default: the first of next month.")
    months = serializers.IntegerField(required=False, default=12, min_value=1, max_value=24)


class TermsInput(serializers.Serializer[Any]):
    terms = serializers.DictField(help_text="A document of costgov.terms/1.")
    name = serializers.CharField(required=False, default="", allow_blank=True, max_length=120)


class SizingInput(serializers.Serializer[Any]):
    terms_id = serializers.IntegerField(min_value=1, help_text="Kept terms: see GET /terms.")
    include_very_short = serializers.BooleanField(
        required=False, default=False, help_text="Also classes with less than four weeks of history."
    )


@dataclass(frozen=True, slots=True)
class SavedForecast:
    """A kept forecast: it stands for the day it was made."""

    id: int
    created_at: datetime
    result: ForecastView


class PricesView(ApiView):
    @endpoint(summary="Prices in force on a day", tag=PRICES, query=PricesQuery, answers=PriceList)
    def get(self, request: Request) -> Response:
        """List prices in USD, and what usage has none."""
        asked = self.asked(PricesQuery)
        return Response(price_list(**{"on": today(), **asked}))


class ImportsView(ApiView):
    @endpoint(summary="Imports of usage and costs, newest first", tag=USAGE, answers=tuple[ImportRow, ...])
    def get(self, request: Request) -> Response:
        """The latest fifty files with their state and what they brought."""
        return Response(import_rows())

    @endpoint(
        summary="Import a file of usage or costs",
        tag=USAGE,
        scope="usage:write",
        body=UsageFileInput,
        answers=ImportOutcome,
        status=202,
    )
    def post(self, request: Request) -> Response:
        """Queue a file for import; whether it holds usage or costs is found out. The same bytes again change nothing
        (`is_repeat`). Ask `GET /imports/{id}` how it went."""
        asked = self.given(UsageFileInput)
        upload = asked.pop("file")
        answers = {switch.name: asked.pop(switch.name) for switch in SWITCHES if switch.name in asked}
        outcome = start_usage_import(
            actor=actor_of(request),
            upload=upload,
            file_name=upload.name,
            as_of=now(),
            options=ImportOptions(**asked, answers=answers),
        )
        return Response(outcome, status=202)


class ImportView(ApiView):
    @endpoint(summary="One import", tag=USAGE, answers=ImportDetail, refusals=(404,))
    def get(self, request: Request, import_id: int) -> Response:
        """State, progress, what it brought, and what was wrong with it."""
        found = import_detail(import_id=import_id)
        if found is None:
            raise NotFound(f"There is no import {import_id}.")
        return Response(found)

    @endpoint(
        summary="Delete what an import brought",
        tag=USAGE,
        scope="usage:write",
        answers=DeletedImport,
        refusals=(404, 409),
    )
    def delete(self, request: Request, import_id: int) -> Response:
        """Remove everything one finished usage import brought; hours and days are counted anew. Administrators only.

        Refused for usage of a closed month, and where retention forgot part of it.
        """
        try:
            return Response(delete_import(actor=actor_of(request), import_id=import_id, as_of=now()))
        except Import.DoesNotExist as error:
            raise NotFound(f"There is no import {import_id}.") from error


class ForecastApi(ApiView):
    @endpoint(summary="The latest forecast", tag=AHEAD, answers=SavedForecast, refusals=(404,))
    def get(self, request: Request) -> Response:
        """Spend under the uniform baseline, the current policy and the optimised one; all of it an estimate.

        The newest one kept without a scenario, whatever months it covers: sizing an offer keeps one of its year.
        `start` and `end` say which; POST for others.
        """
        row = latest_forecast()
        if row is None:
            raise NotFound("No forecast was made yet: POST here, or open the Forecast page.")
        return Response(_saved(row))

    @endpoint(
        summary="Make a forecast",
        tag=AHEAD,
        scope="forecast:write",
        body=ForecastInput,
        answers=SavedForecast,
        status=201,
        refusals=(409,),
    )
    def post(self, request: Request) -> Response:
        """Forecast some months and keep it. The same inputs give the forecast already kept. Takes some seconds."""
        row = make_forecast(actor=actor_of(request), as_of=now(), **self.given(ForecastInput))
        return Response(_saved(row), status=201)


class TermsView(ApiView):
    @endpoint(summary="Kept terms, newest first", tag=AHEAD, answers=tuple[KeptTerms, ...])
    def get(self, request: Request) -> Response:
        """Every offer that was kept."""
        return Response(all_terms())

    @endpoint(summary="Keep terms", tag=AHEAD, scope="forecast:write", body=TermsInput, answers=KeptTerms, status=201)
    def post(self, request: Request) -> Response:
        """Keep an offer. The same content again is the offer already kept."""
        asked = self.given(TermsInput)
        row = save_terms(actor=actor_of(request), terms=parse_terms(asked["terms"]), name=asked["name"], as_of=now())
        return Response(kept_terms(terms_id=row.pk), status=201)


class SizingsView(ApiView):
    @endpoint(summary="Commitment sizings, newest first", tag=AHEAD, answers=tuple[SizingSummary, ...])
    def get(self, request: Request) -> Response:
        """Every sizing with what it recommends."""
        return Response(sizing_summaries())

    @endpoint(
        summary="Size a commitment",
        tag=AHEAD,
        scope="forecast:write",
        body=SizingInput,
        answers=SizingRecord,
        status=201,
        refusals=(404, 409),
    )
    def post(self, request: Request) -> Response:
        """Size kept terms on a forecast of their year under the three policies. Takes some seconds."""
        row = size_commitment(actor=actor_of(request), as_of=now(), **self.given(SizingInput))
        return Response(sizing_record(sizing_id=row.pk), status=201)


class SizingView(ApiView):
    @endpoint(summary="One commitment sizing", tag=AHEAD, answers=SizingRecord, refusals=(404,))
    def get(self, request: Request, sizing_id: int) -> Response:
        """Every offer under every policy, the recommended one, and what the sizing rests on."""
        return Response(sizing_record(sizing_id=sizing_id))


def _saved(row: Forecast) -> SavedForecast:
    return SavedForecast(row.pk, row.created_at, read(ForecastView, row.result))
