"""How good the answers are, and what follows: classes, verdicts, eval imports, the recommendation."""

from datetime import datetime
from typing import Any

from rest_framework import serializers
from rest_framework.exceptions import NotFound
from rest_framework.request import Request
from rest_framework.response import Response

from costgov.api.base import EMPTY_FILE, ApiView, actor_of, endpoint
from costgov.operations.evals import bring_evals
from costgov.pages import looked_back_to, now
from costgov.queries.class_lines import ClassLines
from costgov.queries.class_page import ClassPage
from costgov.queries.eval_imports import ImportDetail, ImportRow, eval_import, eval_imports
from costgov.queries.evals import Quality, quality
from costgov.queries.recommendation import RecommendationView
from costgov.shown import class_shown, classes_shown, quality_shown, recommendation_shown
from routing.core.eval_columns import ColumnsError, EvalColumns, parse_eval_columns
from routing.importers import ReadOptions
from routing.models import EvalImport
from routing.operations.eval_deletion import DeletedEvals, delete_eval_import
from routing.operations.evals import EvalImportResult, Said

CLASSES, EVALS, RECOMMENDATION = "Classes", "Evals", "Recommendation"


class DaysQuery(serializers.Serializer[Any]):
    days = serializers.IntegerField(
        required=False, default=182, min_value=1, max_value=1098, help_text="Length of the series, up to yesterday."
    )


class QualityQuery(serializers.Serializer[Any]):
    as_of = serializers.DateTimeField(required=False, help_text="Cases before this moment count; default: now.")

    def validate_as_of(self, value: datetime) -> datetime:
        try:
            return looked_back_to(value)
        except ValueError as error:
            raise serializers.ValidationError(str(error)) from error

    def get_fields(self) -> dict[str, Any]:
        slug = serializers.CharField(required=False, help_text="One class only, by its name.")
        return {"class": slug, **super().get_fields()}


class RecommendationQuery(serializers.Serializer[Any]):
    baseline = serializers.CharField(
        required=False, default="", help_text="Model savings are counted against; default: the organisation's."
    )


class DeletionInput(serializers.Serializer[Any]):
    reason = serializers.CharField(max_length=2_000, help_text="Why; kept with the import and the audit.")


class EvalFileInput(serializers.Serializer[Any]):
    file = serializers.FileField(
        error_messages={"empty": EMPTY_FILE}, help_text="Results as an eval tool writes them, or our CSV."
    )
    format = serializers.CharField(required=False, default="", allow_blank=True, help_text="Empty: found out.")
    request_class = serializers.CharField(
        required=False, default="", allow_blank=True, help_text="For results that name no class."
    )
    suite = serializers.CharField(required=False, default="", allow_blank=True, max_length=255)
    run_at = serializers.DateTimeField(required=False, help_text="For files that name no time.")
    model = serializers.CharField(
        required=False, default="", allow_blank=True, max_length=255, help_text="For files that name none."
    )
    mode = serializers.CharField(
        required=False, default="", allow_blank=True, max_length=64, help_text="Its settings, e.g. thinking."
    )
    scorer = serializers.CharField(
        required=False, default="", allow_blank=True, max_length=255, help_text="Where a file has several."
    )
    metric = serializers.CharField(
        required=False, default="", allow_blank=True, max_length=255, help_text="Where a file has several."
    )
    columns = serializers.JSONField(
        required=False, default=None, help_text="What the columns of a table mean (costgov.eval_columns/1)."
    )
    create_classes = serializers.BooleanField(required=False, default=False)
    good_rows = serializers.BooleanField(required=False, default=False)


def _columns(document: object) -> EvalColumns | None:
    if document is None:
        return None
    try:
        return parse_eval_columns(document)
    except ColumnsError as error:
        raise serializers.ValidationError({"columns": [str(error)]}) from error


class ClassesView(ApiView):
    @endpoint(summary="Every class, money beside quality", tag=CLASSES, answers=ClassLines, refusals=(409,))
    def get(self, request: Request) -> Response:
        """The last 28 whole days: spend, the model that serves, its verdict, and what could be saved."""
        return Response(classes_shown())


class ClassView(ApiView):
    @endpoint(summary="One class", tag=CLASSES, query=DaysQuery, answers=ClassPage, refusals=(404,))
    def get(self, request: Request, slug: str) -> Response:
        """Models against the bar, levers, history, rules and mappings of a class."""
        return Response(class_shown(slug=slug, days=self.asked(DaysQuery)["days"]))


class QualityView(ApiView):
    @endpoint(summary="Verdict per class and model", tag=EVALS, query=QualityQuery, answers=Quality, refusals=(404,))
    def get(self, request: Request) -> Response:
        """Clears, falls short, not enough evidence or no evidence, with interval, line and cases."""
        asked = self.asked(QualityQuery)
        as_of, slug = asked.get("as_of"), asked.get("class")
        return Response(quality_shown(slug=slug) if as_of is None else quality(as_of=as_of, slug=slug))


class EvalsView(ApiView):
    @endpoint(summary="Eval imports, newest first", tag=EVALS, answers=tuple[ImportRow, ...])
    def get(self, request: Request) -> Response:
        """The latest fifty files with results."""
        return Response(eval_imports())

    @endpoint(
        summary="Import eval results",
        tag=EVALS,
        scope="evals:write",
        body=EvalFileInput,
        answers=EvalImportResult,
        status=201,
    )
    def post(self, request: Request) -> Response:
        """Save every result of a file, or none and say why. The same bytes again change nothing (`is_repeat`).

        A file of more than 8 MB is read by a worker: the answer is 202 with `state` "queued", and `GET /evals/{id}`
        tells how it went.
        """
        asked = self.given(EvalFileInput)
        outcome = bring_evals(
            actor=actor_of(request),
            upload=asked["file"],
            as_of=now(),
            said=Said(
                format_name=asked["format"] or None,
                options=ReadOptions(
                    run_at=asked.get("run_at"),
                    **{name: asked[name] for name in ("request_class", "suite", "model", "mode", "scorer", "metric")},
                    columns=_columns(asked["columns"]),
                ),
                create_classes=asked["create_classes"],
                good_rows=asked["good_rows"],
            ),
        )
        return Response(outcome, status=202 if outcome.state in {"queued", "running"} else 201)


class EvalView(ApiView):
    @endpoint(summary="One eval import", tag=EVALS, answers=ImportDetail, refusals=(404,))
    def get(self, request: Request, import_id: int) -> Response:
        """What the file brought per class, suite and model, and what could not be read."""
        found = eval_import(import_id=import_id)
        if found is None:
            raise NotFound(f"There is no import of eval results number {import_id}.")
        return Response(found)


class DeleteEvalView(ApiView):
    @endpoint(
        summary="Delete what an eval import brought",
        tag=EVALS,
        scope="evals:write",
        body=DeletionInput,
        answers=DeletedEvals,
        refusals=(404, 409),
    )
    def post(self, request: Request, import_id: int) -> Response:
        """Remove every result of one file; verdicts follow at once, those written down stay. Administrators only.

        The same bytes imported again take their old place in the order of imports.
        """
        reason = self.given(DeletionInput)["reason"]
        try:
            gone = delete_eval_import(actor=actor_of(request), import_id=import_id, reason=reason, as_of=now())
        except EvalImport.DoesNotExist as error:
            raise NotFound(f"There is no import of eval results number {import_id}.") from error
        return Response(gone)


class RecommendationApi(ApiView):
    @endpoint(
        summary="The recommended model per class",
        tag=RECOMMENDATION,
        query=RecommendationQuery,
        answers=RecommendationView,
        refusals=(409,),
    )
    def get(self, request: Request) -> Response:
        """The cheapest admissible model per class with the saving by lever; the parts sum exactly to the total."""
        return Response(recommendation_shown(baseline_model=self.asked(RecommendationQuery)["baseline"]))
