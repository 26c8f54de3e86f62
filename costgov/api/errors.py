"""One shape for every refusal of the API: {"error": {"code", "message"}} with the status that says what kind it is."""

from typing import Any

import structlog
from django.core.exceptions import ObjectDoesNotExist
from django.core.exceptions import PermissionDenied as DjangoPermissionDenied
from django.http import Http404
from rest_framework.exceptions import APIException
from rest_framework.response import Response
from rest_framework.views import exception_handler, set_rollback

from audit.roles import Forbidden
from billing.core.column_mapping import MappingError
from billing.core.documents import DocumentRefused
from billing.core.terms import TermsRefused
from billing.importers.base import ImportRefused
from billing.operations.reconciliation import PeriodRefused
from billing.operations.upkeep import DeletionRefused
from billing.queries.books import UnknownPrices
from billing.queries.commitments import NoSuchSizing
from billing.store import StoreUnreachable
from costgov.operations.commitments import SizingRefused
from costgov.operations.usage import NoSuchPolicy
from costgov.pages import BadQuery
from costgov.queries.class_page import UnknownClass
from costgov.queries.forecast_inputs import ForecastRefused
from costgov.queries.recommendation import NoBaseline
from costgov.queries.spend import UnknownDimension
from costgov.refusals import NoRoomForUpload
from gateway.engine import PolicyError
from routing.importers.bad_rows import count_of, rows_of
from routing.importers.base import EvalImportError
from routing.operations.bars import BarOutdated, ClassRefused
from routing.operations.constraints import ConstraintsRefused
from routing.operations.eval_deletion import EvalDeletionRefused
from routing.operations.eval_runs import RunRefused
from routing.operations.policies import PolicyRefused
from routing.operations.suite_rules import RuleRefused
from routing.operations.work_items import ItemRefused
from routing.queries.bundles import NothingActive
from routing.queries.changes import NoSuchChange

logger = structlog.get_logger(__name__)
# Expected refusals of the domain: each says in words what to do.
_REFUSALS: tuple[tuple[type[Exception], int, str], ...] = (
    (Forbidden, 403, "forbidden"),
    (NothingActive, 404, "nothing_active"),
    (NoSuchChange, 404, "not_found"),
    (NoSuchPolicy, 404, "not_found"),
    (NoSuchSizing, 404, "not_found"),
    (UnknownClass, 404, "not_found"),
    (ObjectDoesNotExist, 404, "not_found"),
    (PolicyError, 400, "invalid_policy"),
    (PolicyRefused, 409, "refused"),
    (ConstraintsRefused, 400, "invalid"),
    (BarOutdated, 409, "outdated"),
    (ClassRefused, 400, "invalid"),
    (RunRefused, 409, "refused"),
    (EvalDeletionRefused, 409, "refused"),
    (ItemRefused, 409, "refused"),
    (RuleRefused, 400, "invalid"),
    (DeletionRefused, 409, "refused"),
    (NoBaseline, 409, "no_baseline"),
    (ForecastRefused, 409, "refused"),
    (SizingRefused, 409, "refused"),
    (PeriodRefused, 409, "refused"),
    (MappingError, 400, "invalid_mapping"),
    (TermsRefused, 400, "invalid_terms"),
    (ImportRefused, 400, "refused_file"),
    (EvalImportError, 400, "refused_file"),
    (UnknownDimension, 400, "invalid"),
    (UnknownPrices, 400, "invalid"),
    (DocumentRefused, 400, "invalid"),
    (BadQuery, 400, "invalid"),
    (StoreUnreachable, 503, "store_unreachable"),
    (NoRoomForUpload, 507, "no_room"),
)


def answer(error: Exception, context: dict[str, Any]) -> Response:
    """Every exception as an answer; one nobody expected is logged and says nothing of the inside."""
    response = exception_handler(error, context)
    if response is not None:
        response.data = {"error": _of_framework(error, response.data)}
        return response
    set_rollback()
    for kind, status, code in _REFUSALS:
        if isinstance(error, kind):
            body: dict[str, Any] = {"code": code, "message": str(error)}
            if isinstance(error, PolicyError):
                body["findings"] = [
                    {"path": item.path, "message": str(item).partition(": ")[2]} for item in error.findings
                ]
            if isinstance(error, EvalImportError):
                body |= {"count": count_of(error), "problems": [row.as_document() for row in rows_of(error)]}
            return Response({"error": body}, status=status)
    logger.error("API request failed", path=context["request"].path, exc_info=error)
    message = "This is a fault of the server, not of your request. It is in its log."
    return Response({"error": {"code": "internal", "message": message}}, status=500)


def _of_framework(error: Exception, data: Any) -> dict[str, Any]:
    if isinstance(error, Http404):
        return {"code": "not_found", "message": str(error) or "There is no such thing."}
    if isinstance(error, DjangoPermissionDenied):
        return {"code": "permission_denied", "message": str(error) or "You may not do this."}
    detail = data.get("detail") if isinstance(data, dict) else None
    code = error.default_code if isinstance(error, APIException) else "error"
    if detail is not None:
        return {"code": code, "message": str(detail)}
    fields = data if isinstance(data, dict) else {"input": data}
    first = "; ".join(f"{name}: {_first(problems)}" for name, problems in fields.items())
    return {"code": code, "message": f"The input cannot be used. {first}", "fields": fields}


def _first(problems: Any) -> str:
    if isinstance(problems, list) and problems:
        return _first(problems[0])
    if isinstance(problems, dict) and problems:
        name, inner = next(iter(problems.items()))
        return f"{name}: {_first(inner)}"
    return str(problems)
