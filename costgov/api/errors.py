"""One shape for every refusal of the API: {"error": {"code", "message"}} with the status that says what kind it is."""

from typing import Any

from rest_framework.exceptions import APIException
from rest_framework.response import Response
from rest_framework.views import exception_handler


def answer(error: Exception, context: dict[str, Any]) -> Response | None:
    response = exception_handler(error, context)
    if response is None:
        return None
    code = error.default_code if isinstance(error, APIException) else "not_found"
    detail = response.data.get("detail") if isinstance(response.data, dict) else None
    body: dict[str, Any] = {"code": code, "message": str(detail) if detail else "The input cannot be used."}
    if detail is None:
        body["fields"] = response.data
    response.data = {"error": body}
    return response
