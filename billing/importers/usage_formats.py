"""The usage formats, and which of them a file is."""

from pathlib import Path
from typing import Final

from billing.importers.anthropic_admin_usage import AnthropicAdminUsage
from billing.importers.base import BucketFormat, Head, ImportRefused, RequestFormat, read_head
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
    listing = "; ".join(f"{item.name} ({item.title})" for item in FORMATS)
    named = next((item for item in FORMATS if item.name == format_name), None)
    if format_name and named is None:
        raise ImportRefused.because(file_name, f"there is no format {format_name!r}", f"Choose one of: {listing}")
    head = read_head(path, file_name)
    if named is not None:
        return named, head
    claiming = [item for item in FORMATS if item.claims(head)]
    if len(claiming) > 1:
        names = " and ".join(item.name for item in claiming)
        raise ImportRefused.because(
            file_name, f"two formats claim the file: {names}", "Say which one with --format, or in the form"
        )
    if not claiming:
        raise ImportRefused.because(
            file_name,
            "none of the known formats recognises the file",
            f"Known are: {listing}. If it is one of them, say which with --format; its beginning may be cut off",
        )
    return claiming[0], head
