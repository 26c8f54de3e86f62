"""The usage formats, and which of them a file is."""

from pathlib import Path
from typing import Final

from billing.importers.anthropic_admin_usage import AnthropicAdminUsage
from billing.importers.base import BucketFormat, Head, RequestFormat, read_head
from billing.importers.identify import claiming_format, named_format
from billing.importers.litellm_payload import LiteLLMPayload
from billing.importers.messages_api_log import MessagesApiLog
from billing.importers.records import RecordFormat

UsageFormat = RequestFormat | RecordFormat | BucketFormat
REQUEST_FORMATS: Final[tuple[RequestFormat, ...]] = (MessagesApiLog(), LiteLLMPayload())
RECORD_FORMATS: Final[tuple[RecordFormat, ...]] = ()
BUCKET_FORMATS: Final[tuple[BucketFormat, ...]] = (AnthropicAdminUsage(),)
FORMATS: Final[tuple[UsageFormat, ...]] = (*REQUEST_FORMATS, *RECORD_FORMATS, *BUCKET_FORMATS)


def format_names() -> tuple[str, ...]:
    return tuple(item.name for item in FORMATS)


def identify(path: Path, *, file_name: str, format_name: str = "") -> tuple[UsageFormat, Head]:
    """The one format that claims a file, or the one asked for. Raises ImportRefused when none or several do."""
    named = named_format(FORMATS, file_name=file_name, format_name=format_name)
    head = read_head(path, file_name)
    return named or claiming_format(FORMATS, head, file_name=file_name), head
