"""How tables of somebody's own are read: kept mappings."""

from typing import Any

from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing.core.column_mapping import parse_mapping
from billing.operations.column_mappings import save_mapping
from billing.queries.column_mappings import KeptMapping, kept_mapping, kept_mappings
from costgov.api.base import ApiView, actor_of, endpoint
from costgov.pages import now

USAGE = "Usage and spend"


class MappingInput(serializers.Serializer[Any]):
    mapping = serializers.DictField(help_text="A document of costgov.column_mapping/1.")


class ColumnMappingsApi(ApiView):
    @endpoint(summary="Column mappings, by name", tag=USAGE, answers=tuple[KeptMapping, ...])
    def get(self, request: Request) -> Response:
        """Every kept mapping with its document and how many files were read with it."""
        return Response(kept_mappings())

    @endpoint(
        summary="Keep a column mapping",
        tag=USAGE,
        scope="usage:write",
        body=MappingInput,
        answers=KeptMapping,
        status=201,
    )
    def post(self, request: Request) -> Response:
        """Keep how a table with this header is read, in place of an earlier mapping of it. `manage.py column_mapping
        FILE` writes a document to begin with."""
        document = self.given(MappingInput)["mapping"]
        row = save_mapping(actor=actor_of(request), mapping=parse_mapping(document), as_of=now())
        return Response(kept_mapping(mapping_id=row.pk), status=201)
