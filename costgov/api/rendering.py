"""The one JSON form (costgov.jsonout) as a DRF renderer."""

from collections.abc import Mapping
from typing import Any

from rest_framework import renderers

from costgov.jsonout import dumps


class JSONRenderer(renderers.BaseRenderer):
    media_type = "application/json"
    format = "json"
    charset = None

    def render(
        self, data: Any, accepted_media_type: str | None = None, renderer_context: Mapping[str, Any] | None = None
    ) -> bytes:
        return b"" if data is None else dumps(data)
